"""What was fetched, published under our own name: RRDP with a session and serials of our own, and folders for rsync.

All that is published of one repository stands in its folder:

    record                       what is in force: session, serial, files, checkpoint; everything else counts only when it is named here
    SESSION/SERIAL/*.xml         snapshots and deltas; their names cannot be guessed, so no cache knows them before they are whole
    trees/SESSION-SERIAL/HOST/…  the objects as hard links into the archive
    current                      leads to one of the trees; what rsync serves
    index-ROOT                   the tree as lines

A publication writes new files beside the old, and puts them in force by renaming the record over the former: then, in the same moment, the notification,
the checkpoint and all files are new. A crash or power cut before leaves the old, since all that the record names is flushed to the disk first; what it left lying is
swept away by the next publication. Files of the former
record go on being served, for those who have just read its notification.

As many deltas are offered as are asked for, and never more octets of them than the snapshot has (RFC 8182, 3.3.2).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nnix.planes.trust.archive import Archive
from nnix.planes.trust.mirror import rrdp, tree
from nnix.planes.trust.mirror.following import put


@dataclass(frozen=True)
class File:
    """A file of ours; `path` is relative to the repository's folder."""

    path: str
    digest: str
    octets: int


@dataclass(frozen=True)
class Record:
    """What is in force. `deltas` by the serial that they lead to; `former` are files and trees of the record before."""

    session: str
    serial: int
    root: str
    objects: int
    index: str
    tree: str
    snapshot: File
    deltas: Mapping[int, File]
    note: str = ""
    former: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[File, ...]:
        return (self.snapshot, *self.deltas.values())

    def notification(self, base: str) -> bytes:
        """As found at `base`/notification.xml; `base` is an https URI without a slash at its end."""
        links = {serial: rrdp.Link(f"{base}/{each.path}", each.digest) for serial, each in self.deltas.items()}
        snapshot = rrdp.Link(f"{base}/{self.snapshot.path}", self.snapshot.digest)
        return rrdp.spelled_notification(rrdp.Notification(self.session, self.serial, snapshot, links))


def read_record(folder: Path) -> Record | None:
    """The record in force; None where there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / "record").read_bytes())
        found["snapshot"] = File(**found["snapshot"])
        found["deltas"] = {int(serial): File(**each) for serial, each in found["deltas"].items()}
        found["former"] = tuple(found["former"])
        return Record(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(frozen=True)
class Press:
    """Publishes. `mint` makes names that nobody can guess, `session` makes sessions (RFC 8182, 3.3.1: random UUIDs)."""

    folder: Path
    archive: Archive
    deltas_max: int
    mint: Callable[[], str]
    session: Callable[[], str]

    def publish(self, name: str, now_tree: tree.Tree, note: Callable[[Record], str]) -> Record:
        """Put `now_tree` in force as the next serial, or the same serial when it is as it was; `note` makes the checkpoint. Raises Lost, OSError."""
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        former = self._sound(place)
        self._swept(place, former)
        root = tree.root(now_tree).hex()
        made = former if former is not None and former.root == root else self._next(place, former, now_tree, root)
        made = replace(made, note=note(made))
        if made.root != (former.root if former else ""):
            self.archive.flush()  # all that the record names, before the record does
        put(place / "record", json.dumps(asdict(made)).encode())
        self._lead(place, made)
        if made.root != (former.root if former else ""):
            self._swept(place, made)
        return made

    def _next(self, place: Path, former: Record | None, now_tree: tree.Tree, root: str) -> Record:
        session = former.session if former else self.session()
        serial = former.serial + 1 if former else 1
        within = f"{session}/{serial}"
        (place / within).mkdir(parents=True, exist_ok=True)
        snapshot = self._file(
            place, f"{within}/snapshot-{self.mint()}.xml", "snapshot", session, serial, tree.difference({}, now_tree, self.archive.get)
        )
        deltas: dict[int, File] = {}
        if former is not None:
            before = tree.read((place / former.index).read_bytes())
            told = tree.difference(before, now_tree, self.archive.get)
            newest = self._file(place, f"{within}/delta-{self.mint()}.xml", "delta", session, serial, told)
            deltas = _bounded({**former.deltas, serial: newest}, self.deltas_max, snapshot.octets)
        put(place / f"index-{root}", tree.index(now_tree))
        laid = f"trees/{session}-{serial}"
        (place / laid).mkdir(parents=True, exist_ok=True)
        self.archive.lay(sorted(now_tree.items()), place / laid)
        kept = (*(each.path for each in former.files), former.tree) if former else ()
        return Record(session, serial, root, len(now_tree), f"index-{root}", laid, snapshot, deltas, former=kept)

    def _file(self, place: Path, path: str, kind: str, session: str, serial: int, told: Iterable[rrdp.Change]) -> File:
        digest, octets = hashlib.sha256(), 0
        with (place / path).open("wb", buffering=1 << 20) as file:
            for piece in rrdp.spelled(kind, session, serial, told):
                digest.update(piece)
                octets += len(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        return File(path, digest.hexdigest(), octets)

    def _sound(self, place: Path) -> Record | None:
        """The record in force, if all that it names is there; else a session is begun anew, as after any loss (RFC 8182, 3.3.1)."""
        found = read_record(place)
        if found is None or not (place / found.index).is_file() or not (place / found.tree).is_dir():
            return None
        for each in found.files:
            try:
                if (place / each.path).stat().st_size != each.octets:
                    return None
            except OSError:
                return None
        return found

    def _lead(self, place: Path, made: Record) -> None:
        """`current` leads to the tree in force."""
        current = place / "current"
        if not current.is_symlink() or str(current.readlink()) != made.tree:
            fresh = place / ".current"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(made.tree)
            fresh.replace(current)

    def _swept(self, place: Path, record: Record | None) -> None:
        """Remove what neither the record in force names nor the one before it."""
        named = {"record", "current"}
        if record is not None:
            named |= {record.index, record.tree, *record.former, *(each.path for each in record.files)}
        needed = {"/".join(parts[:depth]) for parts in (each.split("/") for each in named) for depth in range(1, len(parts) + 1)}
        _sweep_below(place, place, needed, named)


def _sweep_below(folder: Path, place: Path, needed: set[str], named: set[str]) -> None:
    for each in folder.iterdir():
        path = str(each.relative_to(place))
        if path in needed:
            if path not in named and each.is_dir() and not each.is_symlink():
                _sweep_below(each, place, needed, named)
        elif each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            with suppress(OSError):
                each.unlink()


def _bounded(deltas: Mapping[int, File], count_max: int, octets_max: int) -> dict[int, File]:
    """The newest deltas, without a gap, within the bounds."""
    chosen: dict[int, File] = {}
    octets = 0
    for serial in sorted(deltas, reverse=True):
        octets += deltas[serial].octets
        if len(chosen) >= count_max or octets > octets_max or (chosen and serial + 1 not in chosen):
            break
        chosen[serial] = deltas[serial]
    return dict(sorted(chosen.items()))
