"""Repositories by rsync, as the fallback: what RRDP does not bring, and everything where there is no RRDP.

The program `rsync` fetches each module into a folder of its own, where the last fetch still lies, so that only differences travel. It may
bring plain files and folders and nothing else: no links, devices, owners or modes; no file larger than an object may be; and it is stopped when its time is
over. A server may still send as many files as fit into that time: give the mirror a file system of its own. What it brought is taken in by name and place as what RRDP brings. rsync has no moment at which all of a repository is as it was at one
time; so a fetch may catch a repository between two states, which its manifests then show to validators.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnix.planes.trust.archive import OBJECT_OCTETS_MAX, Archive
from nnix.planes.trust.mirror.reasons import Reason, Rejected
from nnix.planes.trust.mirror.uris import HOST, SEGMENT, rsync_path

MODULE = re.compile(rf"rsync://({HOST}(?:/{SEGMENT})+)/")
SILENCE_SECONDS = 30
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
        place = work / found[1]
        place.mkdir(parents=True, exist_ok=True)
        _run(uri, place, seconds_max)
        for below, file in _files(place, found[1]):
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


def one_by_rsync(uri: str, file: Path, octets_max: int, seconds_max: float) -> bytes:
    """A single object, fetched into `file`. Raises Rejected."""
    file.unlink(missing_ok=True)
    _rsync([f"--max-size={octets_max}"], uri, str(file), file.with_name(f".{file.name}.err"), seconds_max)
    try:
        if file.is_symlink():
            raise OSError
        return file.read_bytes()
    except OSError:
        raise Rejected(Reason.RSYNC, f"{uri}: nothing came, or more than {octets_max} octets") from None


def _run(uri: str, place: Path, seconds_max: float) -> None:
    words = ["--recursive", "--delete", "--times", "--chmod=D755,F644", f"--max-size={OBJECT_OCTETS_MAX}"]
    _rsync(words, uri, f"{place}/", place.parent / f".{place.name}.err", seconds_max)


def _rsync(words: Sequence[str], uri: str, to: str, complaints: Path, seconds_max: float) -> None:
    argv = [
        "prlimit", f"--fsize={2 * OBJECT_OCTETS_MAX}", "--", "rsync", "--no-links", "--no-devices", "--no-specials", "--no-motd",
        f"--contimeout={SILENCE_SECONDS}", f"--timeout={SILENCE_SECONDS}", *words, "--", uri, to,
    ]  # fmt: skip
    with complaints.open("wb") as said:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)
        except FileNotFoundError:
            raise Rejected(Reason.RSYNC, "the program prlimit is not installed (package util-linux)") from None
        try:
            status = process.wait(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise Rejected(Reason.SLOW, f"{uri}: it did not end within {seconds_max:g} s") from None
    if status != 0:
        lines = complaints.read_bytes()[:4096].decode(errors="replace").strip().splitlines()
        raise Rejected(Reason.RSYNC, f"{uri}: {lines[0][:200] if lines else f'status {status}'}")


def _files(folder: Path, above: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Plain files. Hidden names are rsync's own, of transfers that were cut off."""
    queue: list[tuple[str | Path, str]] = [(folder, above)]
    while queue:
        place, path = queue.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                below = f"{path}/{entry.name}"
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    queue.append((entry.path, below))
                elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    yield below, entry


def daemon_config(folder: Path, repositories: Sequence[str], led_home: dict[str, str], *, chroot: bool) -> str:
    """rsyncd.conf that serves, read only: each repository as the module of its name, and, for names that are led home (docs/mirror.md),
    each of `led_home`, module → folder. `current` leads to one generation, which a connection keeps to its end."""
    lines = [
        f"use chroot = {'yes' if chroot else 'no'}", "read only = yes", "list = yes", "max connections = 100", "timeout = 300",
        "reverse lookup = no", "munge symlinks = no", "refuse options = checksum delete", "max verbosity = 1", "log file = /dev/null",
        *(("uid = nobody", "gid = nogroup") if chroot else ()),
    ]  # fmt: skip
    modules = {each: folder / each / "current" for each in repositories} | {name: folder / path for name, path in led_home.items()}
    for name, path in modules.items():
        lines += [f"[{name}]", f"path = {path}"]
    return "\n".join(lines) + "\n"
