"""The broom: what is left of a lab when its state was lost or a removal was cut short.

It looks for namespaces by their prefix, ends every process inside, and removes them. Processes are found by the namespace
that they are in, never by name.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nnix.lab.wires import left_behind

PATIENCE_SECONDS = 3.0


def sweep(prefix: str, homes: Path) -> list[str]:
    """Remove every namespace with `prefix`, the processes inside, and the hosts' folders; what could not be removed, in words."""
    failures = []
    namespaces = left_behind(prefix)
    inodes = {path.stat().st_ino for path in namespaces}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (pids := list(_inside(inodes))) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    failures += [f"process {pid} does not end" for pid in _inside(inodes)]
    if namespaces:
        lines = "".join(f"netns del {path.name}\n" for path in namespaces)
        done = subprocess.run(["ip", "-force", "-batch", "-"], input=lines, text=True, capture_output=True, check=False)
        if done.returncode:
            failures.append(done.stderr.strip())
    shutil.rmtree(homes, ignore_errors=True)
    return failures


def _inside(inodes: set[int]) -> Iterator[int]:
    """Processes whose network namespace is one of `inodes`."""
    if not inodes:
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "ns/net").stat().st_ino in inodes:
                    yield int(entry.name)
