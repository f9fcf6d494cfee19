"""nnix: the open operating system of an Internet exchange.

Read `kernel` first (what a change is and what became of it), then `planes` (one folder for each thing that members
exchange), then `hosts` and `daemons` (where and by what it runs). `lab` is a whole exchange on one machine, `cli` the
command and the composition root.
"""

__version__ = "0.1.0"
