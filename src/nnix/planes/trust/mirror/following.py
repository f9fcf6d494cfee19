"""One repository, from its last good state to the next.

What to do is decided from two values, the state we hold and the notification that was found (`way`); then files are fetched, and only
when all of them were as promised does a new state take the place of the old, in one rename. Whatever happens before leaves the last good state in force:

    deltas      the serials from ours to theirs, in order, each by its hash
    snapshot    where deltas do not lead from us to them, contradict what they were (RFC 9697), or one of them was rejected
    rsync       where RRDP was rejected altogether, and the repository has it
    held        where that failed, too: the last good state, and the reasons

A repository that was full and says that it is empty is held as well: it may be so, but it never was yet when a server said it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from nnix.planes.trust.archive import Archive
from nnix.planes.trust.mirror import rrdp, tree
from nnix.planes.trust.mirror.https import CHUNK_OCTETS, UNCHANGED, Web
from nnix.planes.trust.mirror.reasons import Reason, Rejected
from nnix.planes.trust.mirror.rsync import fetched_by_rsync
from nnix.planes.trust.mirror.uris import PLACE

DELTAS_APPLIED_MAX = 1_000
PAST_MAX = 1_000
RRDP, RSYNC = "rrdp", "rsync"


@dataclass(frozen=True)
class Source:
    """Where a repository is fetched from, and how much of it. `rrdp` and `rsync` are its notification's URI and the URIs of its modules."""

    name: str
    rrdp: str | None
    rsync: tuple[str, ...]
    places: tuple[str, ...]
    octets_max: int
    objects_max: int
    seconds_max: float


@dataclass(frozen=True)
class Past:
    """What the tree was at a serial of the origin's, so that statements of other mirrors about it can be judged."""

    session: str
    serial: int
    root: str
    size: int


@dataclass(frozen=True)
class State:
    """The last good state. `index` names the file with the tree; `deltas` and `snapshot` are hashes as the notification had them."""

    by: str
    uri: str
    session: str
    serial: int
    index: str
    objects: int
    root: str
    at: str
    snapshot: str = ""
    deltas: Mapping[int, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    past: tuple[Past, ...] = ()


class Standing(StrEnum):
    """What came of following a repository once."""

    FRESH = "fresh"
    UNCHANGED = "unchanged"
    HELD = "held"
    LOST = "lost"


@dataclass(frozen=True)
class Followed:
    """`how` says by which way; `findings` what was rejected on it. `state` is None when there is nothing, and never was."""

    standing: Standing
    how: str
    state: State | None
    findings: tuple[str, ...]
    octets: int


@dataclass(frozen=True)
class Deltas:
    """The way by deltas: serial → link, in order. None of them: nothing changed."""

    links: Mapping[int, rrdp.Link]


@dataclass(frozen=True)
class Snapshot:
    """The way by the snapshot, and why."""

    why: str


def way(state: State | None, found: rrdp.Notification, uri: str) -> Deltas | Snapshot:
    """How to come from `state` to what was found (RFC 8182, 3.4.1; RFC 9697). Raises Rejected for a serial that went back."""
    if state is None or state.by != RRDP or state.uri != uri:
        return Snapshot("nothing is held by RRDP yet")
    if state.session != found.session:
        return Snapshot(f"another session than {state.session}")
    if found.serial < state.serial:
        raise Rejected(Reason.SERIAL_BACK, f"serial {found.serial} after {state.serial}, in one session")
    for serial, digest in state.deltas.items():
        if serial in found.deltas and found.deltas[serial].digest != digest:
            return Snapshot(f"the delta for serial {serial} is another one than it was: the session has come apart")
    if found.serial == state.serial:
        if found.snapshot.digest != state.snapshot:
            return Snapshot(f"another snapshot for serial {found.serial} than there was")
        return Deltas({})
    if found.serial - state.serial > DELTAS_APPLIED_MAX or state.serial + 1 not in found.deltas:
        return Snapshot(f"no delta from serial {state.serial}")
    return Deltas({serial: found.deltas[serial] for serial in range(state.serial + 1, found.serial + 1)})


class Kept:
    """The last good states of repositories, a folder each: the record `state`, and the index that it names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> State | None:
        """None where there is none that is whole: then a repository is fetched anew."""
        place = self.folder / name
        try:
            record: dict[str, Any] = json.loads((place / "state").read_text())
            record["deltas"] = {int(serial): digest for serial, digest in record["deltas"].items()}
            record["past"] = tuple(Past(**each) for each in record["past"])
            state = State(**record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return state if (place / state.index).is_file() else None

    def objects(self, name: str, state: State) -> dict[str, str]:
        return tree.read((self.folder / name / state.index).read_bytes())

    def forget(self, name: str) -> None:
        """The next fetch takes all of it anew."""
        (self.folder / name / "state").unlink(missing_ok=True)

    def write(self, name: str, state: State, now_tree: tree.Tree | None) -> State:
        """Put `state` in force, with its tree where that is a new one. Until the last rename the former is in force."""
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        if now_tree is not None:
            root = tree.root(now_tree).hex()
            past = [each for each in state.past if (each.session, each.serial) != (state.session, state.serial)]
            past.append(Past(state.session, state.serial, root, len(now_tree)))
            state = replace(state, index=f"index-{root}", objects=len(now_tree), root=root, past=tuple(past[-PAST_MAX:]))
            put(place / state.index, tree.index(now_tree))
            os.sync()  # the objects that the index names, before the state names the index
        put(place / "state", json.dumps(asdict(state)).encode())
        for each in place.iterdir():
            if each.name not in ("state", state.index):
                with suppress(OSError):
                    each.unlink()
        return state


def put(path: Path, content: bytes) -> None:
    """Whole or not at all, also after a power cut."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # before anything is removed that the former content named
    finally:
        os.close(folder)


@dataclass(frozen=True)
class Follower:
    """Follows repositories. `work` is a folder for files that are being fetched."""

    web: Web
    archive: Archive
    kept: Kept
    work: Path

    def follow(self, source: Source, now: datetime) -> Followed:
        """Once. Never raises for what comes from outside; OSError when our own disk fails."""
        self.work.mkdir(parents=True, exist_ok=True)
        findings: list[str] = []
        state = self._fitting(source, self.kept.read(source.name), findings)
        octets = [0]
        until = time.monotonic() + source.seconds_max
        if source.rrdp is not None:
            try:
                return self._by_rrdp(source, source.rrdp, state, now, until, findings, octets)
            except Rejected as error:
                findings.append(str(error))
        if source.rsync:
            try:
                return self._by_rsync(source, state, now, findings)
            except Rejected as error:
                findings.append(str(error))
        standing = Standing.HELD if state is not None else Standing.LOST
        return Followed(standing, f"as of {state.at}" if state else "nothing was ever held", state, tuple(findings), octets[0])

    def _fitting(self, source: Source, state: State | None, findings: list[str]) -> State | None:
        """`state`; as one that comes from no URI, so that all is fetched anew, where it has objects outside of places that were declared otherwise since, or
        where the archive has lost some. A server that answers "unchanged" would else leave both as they are for ever."""
        if state is None:
            return None
        held = self.kept.objects(source.name, state)
        outside = [path for path in held if not path.startswith(source.places)]
        lost = [path for path, digest in held.items() if not self.archive.has(digest)]
        for paths, words in ((outside, "that are held lie outside of its places by now"), (lost, "are gone from the archive")):
            if paths:
                findings.append(f"{len(paths)} objects {words}, such as rsync://{paths[0]}; all is fetched anew")
        return replace(state, uri="", tags={}) if outside or lost else state

    def _by_rrdp(
        self, source: Source, uri: str, state: State | None, now: datetime, until: float, findings: list[str], octets: list[int]
    ) -> Followed:
        file = self.work / f"{source.name}.notification"
        tags = state.tags if state is not None and state.by == RRDP and state.uri == uri else None
        got = self.web.get(uri, file, rrdp.NOTIFICATION_OCTETS_MAX, until, tags)
        octets[0] += got.octets
        if got is UNCHANGED and state is not None:
            return Followed(Standing.UNCHANGED, f"serial {state.serial}", state, (), octets[0])
        found = rrdp.notification(_chunks(file), uri)
        chosen = way(state, found, uri)
        now_tree: dict[str, str] | None = None
        how = f"serial {found.serial}"
        if isinstance(chosen, Deltas) and state is not None:
            try:
                now_tree, how = self._deltas(source, state, chosen, found, until, octets)
            except Rejected as error:
                findings.append(str(error))
                chosen = Snapshot("a delta was rejected")
        if isinstance(chosen, Snapshot):
            how = f"snapshot of serial {found.serial}: {chosen.why}"
            told = self._told(source, found.snapshot, "snapshot", found, found.serial, until, octets)
            now_tree = tree.unpacked(told, self.archive.keep)
        _not_emptied(state, now_tree)
        fresh = State(
            RRDP, uri, found.session, found.serial, state.index if state else "", state.objects if state else 0,
            state.root if state else "", f"{now:%Y-%m-%dT%H:%M:%SZ}", found.snapshot.digest,
            {serial: each.digest for serial, each in found.deltas.items()}, got.tags, state.past if state else (),
        )  # fmt: skip
        fresh = self.kept.write(source.name, fresh, now_tree)
        standing = Standing.UNCHANGED if now_tree is None else Standing.FRESH
        return Followed(standing, how, fresh, tuple(findings), octets[0])

    def _deltas(
        self, source: Source, state: State, chosen: Deltas, found: rrdp.Notification, until: float, octets: list[int]
    ) -> tuple[dict[str, str] | None, str]:
        if not chosen.links:
            return None, f"serial {found.serial}"
        made = self.kept.objects(source.name, state)
        for serial, link in chosen.links.items():
            made = tree.applied(made, self._told(source, link, "delta", found, serial, until, octets), self.archive.keep)
            if len(made) > source.objects_max:
                raise Rejected(Reason.TOO_MANY, f"more than {source.objects_max} objects")
        return made, f"deltas from serial {state.serial} to {found.serial}"

    def _told(
        self, source: Source, link: rrdp.Link, kind: str, found: rrdp.Notification, serial: int, until: float, octets: list[int]
    ) -> Iterator[rrdp.Change]:
        """What the file behind `link` says; it is not looked into before its hash was seen to be right. Raises Rejected."""
        file = self.work / f"{source.name}.{kind}"
        got = self.web.get(link.uri, file, source.octets_max, until)
        octets[0] += got.octets
        if got.digest != link.digest:
            raise Rejected(Reason.HASH, f"{link.uri} is {got.digest[:12]}…; the notification says {link.digest[:12]}…")
        yield from rrdp.changes(_chunks(file), kind, found.session, serial, source.places, source.objects_max)

    def _by_rsync(self, source: Source, state: State | None, now: datetime, findings: list[str]) -> Followed:
        made = fetched_by_rsync(source.rsync, source.places, self.work / f"{source.name}.rsync", self.archive, findings,
                                octets_max=source.octets_max, objects_max=source.objects_max, seconds_max=source.seconds_max)  # fmt: skip
        tree.layable(made)
        _not_emptied(state, made)
        same = state is not None and state.root == tree.root(made).hex()
        fresh = State(RSYNC, source.rsync[0], "", 0, "", 0, "", f"{now:%Y-%m-%dT%H:%M:%SZ}", past=state.past if state else ())
        fresh = self.kept.write(source.name, fresh, made)
        return Followed(Standing.UNCHANGED if same else Standing.FRESH, "rsync", fresh, tuple(findings), 0)


def _not_emptied(state: State | None, made: tree.Tree | None) -> None:
    if made is not None and not made and state is not None and state.objects:
        raise Rejected(Reason.EMPTY, f"no object at all, where there were {state.objects}")


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_OCTETS):
            yield chunk


def places(given: Sequence[str]) -> tuple[str, ...]:
    """rsync URIs of folders as beginnings of paths. Raises ValueError."""
    made = []
    for each in given:
        place = each.removeprefix("rsync://").rstrip("/") + "/"
        if not PLACE.fullmatch(place):
            raise ValueError(f"{each!r} is no rsync URI of a folder")
        made.append(place)
    return tuple(made)
