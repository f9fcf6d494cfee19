"""Where things run: one interface, `kernel.world.Host`, and three machines behind it.

`namespace.py`  a network namespace on this machine; the lab's routers and members.
`ssh.py`        a machine over SSH; production.
`paper.py`      a machine that exists on paper, remembers everything and fails on purpose; tests of what comes above.

All three keep one contract (`tests/lab/test_hosts_contract.py` holds them to it), so that nothing above this layer asks
which of them it has. The contract is small on purpose: run a command to its end, follow one that has none, write files, read files. What belongs to
one daemon (starting, asking, reaping) is built from these three in `nnix.daemons`, never here.

Two promises deserve words. *Whole or not at all*: a file is written beside its place and renamed into it, so a reader sees
the old or the new one, and being killed leaves at most a stray `.name.new`, which the next write replaces. Nothing is
fsynced: after a power cut the loop compares and writes again, which it must do anyhow. *Only below home*: every path is
relative to the machine's `home` and is refused when it would lead out of it.

Commands see one environment everywhere: `LC_ALL=C`, so that daemons' words can be read by programs; the sbin folders in
`PATH`, which a plain login lacks; `/` as working folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from nnix.kernel.world import Failed

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# How a command is followed: it is killed when standard input ends, which it does when its reader goes, however he goes.
FOLLOWED = '"$@" </dev/null & exec >/dev/null 2>&1; read -r _; kill -9 $!'
LINES_OCTETS = 65536

STATUS_TIME_UP = 124  # as timeout(1) says it
STATUS_NOT_FOUND = 127  # as sh(1) says it


class Lines:
    """Octets that come in pieces, as whole lines."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, piece: bytes) -> list[str]:
        """The lines that `piece` completes."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return [line.decode(errors="replace") for line in whole]


def below_home(host: str, path: str) -> PurePosixPath:
    """`path` as a path below a host's home. Raises Failed for one that is absolute, empty, or leads out of it."""
    pure = PurePosixPath(path)
    if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts or pure == PurePosixPath("."):
        raise Failed(f"{host}: {path!r} is no path below the home folder")
    return pure


def parents_first(paths: Iterable[PurePosixPath]) -> list[PurePosixPath]:
    """The folders that `paths` stand in, each once, outer before inner, without home itself."""
    found = {parent for path in paths for parent in path.parents if parent != PurePosixPath(".")}
    return sorted(found, key=lambda folder: len(folder.parts))


def checked_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """`argv` as commands can take it. Raises ValueError for an empty one, or one with a NUL: no machine could run it."""
    if not argv or any("\0" in word for word in argv):
        raise ValueError(f"cannot be a command: {list(argv)!r}")
    return tuple(argv)
