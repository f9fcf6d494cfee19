"""Repositories by rsync, as the fallback: what RRDP does not bring, and everything where there is no RRDP.

Each module is fetched into a folder where the last fetch still lies, so that only differences travel (daemons.rsync says under which bounds). What came is
taken in by name and place as what RRDP brings. rsync has no moment at which all of a repository is as it was at one time; so a fetch may catch it
between two states, which its manifests then show to validators.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnix.daemons import rsync
from nnix.hosts.namespace import NamespaceHost
from nnix.planes.trust.archive import OBJECT_OCTETS_MAX, Archive
from nnix.planes.trust.mirror.reasons import Reason, Rejected
from nnix.planes.trust.mirror.uris import HOST, PATH_OCTETS_MAX, SEGMENT, rsync_path

MODULE = re.compile(rf"rsync://({HOST}(?:/{SEGMENT})+)/")
FINDINGS_MAX = 20


def fetched_by_rsync(
    modules: Sequence[str],
    places: Sequence[str],
    work: Path,
    archive: Archive,
    findings: list[str],
    *,
    octets_max: int,
    objects_max: int,
    seconds_max: float,
) -> dict[str, str]:
    """The tree below all `modules`. What cannot be taken goes into `findings`. Raises Rejected."""
    made: dict[str, str] = {}
    octets = left_out = 0
    for uri in modules:
        found = MODULE.fullmatch(uri)
        if found is None:
            raise Rejected(Reason.BAD_URI, f"{uri!r} is no rsync URI of a folder")
        _run(f"{found[1]}/", work, seconds_max)
        for below, file in _files(work / found[1], found[1]):
            facts = file.stat(follow_symlinks=False)
            try:
                if facts.st_size > OBJECT_OCTETS_MAX:
                    raise Rejected(Reason.TOO_LARGE, f"rsync://{below}: {facts.st_size} octets")
                path = rsync_path(f"rsync://{below}", places)
            except Rejected as error:
                left_out += 1
                if left_out <= FINDINGS_MAX:
                    findings.append(str(error))
                continue
            octets += facts.st_size
            if octets > octets_max:
                raise Rejected(Reason.TOO_LARGE, f"{uri}: more than {octets_max} octets")
            if len(made) >= objects_max:
                raise Rejected(Reason.TOO_MANY, f"{uri}: more than {objects_max} objects")
            made[path] = archive.keep(Path(file.path).read_bytes())
    return made


def one_by_rsync(path: str, work: Path, octets_max: int, seconds_max: float) -> bytes:
    """The single object at `path`. Raises Rejected."""
    file = work / path
    file.unlink(missing_ok=True)
    _run(path, work, seconds_max)
    if file.is_symlink() or not file.is_file() or file.stat().st_size > octets_max:
        raise Rejected(Reason.RSYNC, f"rsync://{path}: nothing came, or more than {octets_max} octets")
    return file.read_bytes()


def _run(source: str, work: Path, seconds_max: float) -> None:
    """Fetch HOST/MODULE/…, to where it says below `work`."""
    work.mkdir(parents=True, exist_ok=True)
    host = NamespaceHost("mirror", None, work)
    result = asyncio.run(rsync.fetched(host, str(work), source, source, seconds_max=seconds_max))
    if result.status == 124:
        raise Rejected(Reason.SLOW, f"rsync://{source}: it did not end within {seconds_max:g} s")
    if result.status != 0:
        lines = result.err.strip().splitlines()
        raise Rejected(Reason.RSYNC, f"rsync://{source}: {lines[0][:200] if lines else f'status {result.status}'}")


def _files(folder: Path, above: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Plain files. Hidden names are rsync's own, of transfers that were cut off; what lies too deep to be an object is not looked at."""
    queue: list[tuple[str | Path, str]] = [(folder, above)]
    while queue:
        place, path = queue.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                below = f"{path}/{entry.name}"
                if entry.name.startswith(".") or len(below) > PATH_OCTETS_MAX:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    queue.append((entry.path, below))
                elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    yield below, entry
