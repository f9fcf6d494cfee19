"""The nnix command. `main` is its entry point; `root` puts the system together.

Every command that reads prints a table for people and, with --json, the same facts for programs. Exit status: 0 done,
1 refused or not so, 2 wrong use, 3 the world disagrees with the model.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script."""
    from nnix.cli.command import run

    run()
