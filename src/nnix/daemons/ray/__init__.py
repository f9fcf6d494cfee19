"""Ray (https://ray.io), embedded: a program of our own holds it, since Ray is a library before it is a daemon (foreman.py).

So it is driven like all of our programs (daemons/program.py), by settings in JSON:

    {"cpus": 2, "port": 6379, "resources": {"device": 8}}

`port` is the first of seven in a row, all on loopback. Ray comes from Python's package index and not from Debian, so the machine needs a python3
that has it; one that lacks it is refused before anything is touched. Started anew, it loses what ran in it; the job agent starts that again.

Never use `ray stop` on a machine with more than one Ray: it ends all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nnix.daemons.program import ProgramDriver

HERE = Path(__file__).parent
RAY = ProgramDriver(
    "ray",
    "nnix.daemons.ray.foreman",
    # With packages of their own around it: this Python may have nnix itself, and would look there.
    {
        "nnix/__init__.py": HERE.parent.parent / "__init__.py",
        "nnix/daemons/__init__.py": HERE.parent / "__init__.py",
        "nnix/daemons/ray/__init__.py": HERE.parent / "__init__.py",
        "nnix/daemons/ray/foreman.py": HERE / "foreman.py",
    },
    farewell='rm -rf "/tmp/nnix-ray-$(printf %s "$here" | sha256sum | cut -c1-12)"',
    needs=("ray",),
    interpreter=f"{sys.prefix}/bin/python3",
)
