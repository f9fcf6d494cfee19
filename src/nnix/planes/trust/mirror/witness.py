"""What a checkpoint is worth, to somebody who remembers what was said before.

A signature says who speaks. Only memory says whether he told others something else (a fork: two trees for one serial, of ours or of the origin's), or says
again what was true once (a replay). So each checkpoint that is verified is remembered, and the next one is held against all that
are; those of several operators can be held against one another, because each names the origin's serial that it mirrors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from nnix.planes.trust.mirror.checkpoint import Checkpoint, Malformed, parsed
from nnix.planes.trust.mirror.following import Past, State, put

REMEMBERED_MAX = 10_000


class Verdict(StrEnum):
    """FRESH: newer than all before. AGAIN: as known. SESSION: the mirror has begun anew, which it should not do often."""

    FRESH = "fresh"
    AGAIN = "again"
    SESSION = "new-session"
    REPLAY = "replay"
    FORK = "fork"


BAD = frozenset({Verdict.REPLAY, Verdict.FORK})


@dataclass(frozen=True)
class Judged:
    """A verdict in words; `against` is the checkpoint that it contradicts or repeats."""

    verdict: Verdict
    words: str
    against: Checkpoint | None = None


def judged(this: Checkpoint, before: Iterable[Checkpoint]) -> Judged:
    """`this` against all that was said `before`, by anybody, oldest first. A fork weighs more than a replay."""
    same: Checkpoint | None = None
    newest: Checkpoint | None = None
    for each in before:
        if each.origin == this.origin:
            if (each.session, each.serial) == (this.session, this.serial) and (each.root, each.size) != (this.root, this.size):
                return Judged(Verdict.FORK, f"two trees for serial {this.serial} of {this.origin}", each)
            if each == this:
                same = each
            if newest is None or each.at > newest.at or (each.at == newest.at and each.serial > newest.serial):
                newest = each
        if each.fetched == this.fetched and "-" not in this.fetched and (each.root, each.size) != (this.root, this.size):
            uri, _, serial = this.fetched
            return Judged(Verdict.FORK, f"two trees for serial {serial} of {uri}: {each.origin} and {this.origin} differ", each)
    if newest is None:
        return Judged(Verdict.FRESH, f"the first of {this.origin}")
    if this == newest:
        return Judged(Verdict.AGAIN, "the newest that is known", same)
    if this.at < newest.at or (this.session == newest.session and this.serial < newest.serial):
        return Judged(
            Verdict.REPLAY,
            f"of {this.at:%Y-%m-%d %H:%M:%S}, serial {this.serial}; {newest.at:%Y-%m-%d %H:%M:%S}, serial {newest.serial} is known",
            newest,
        )
    if this.session != newest.session:
        return Judged(Verdict.SESSION, f"session {this.session} after {newest.session}", newest)
    return Judged(Verdict.FRESH, f"serial {this.serial} after {newest.serial}", newest)


class Memory:
    """The checkpoints that were verified, in one file, oldest first."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> tuple[Checkpoint, ...]:
        """Raises Malformed for a memory that was damaged: without it no fork can be seen."""
        try:
            texts = json.loads(self.file.read_text())
            return tuple(parsed(each.encode()) for each in texts)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise Malformed(f"{self.file} cannot be read, so a fork could not be seen: {error}") from None

    def add(self, this: Checkpoint) -> None:
        """A checkpoint of a contradiction is remembered as well: it is the proof."""
        known = self.read()
        if this not in known:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            put(self.file, json.dumps([each.text().decode() for each in (*known, this)[-REMEMBERED_MAX:]]).encode())


def vouches(this: Checkpoint, state: State | None) -> str:
    """Why we cannot co-sign `this` from what we mirrored of the same origin; empty: we had the same objects."""
    if state is None:
        return "nothing of that origin is mirrored here"
    uri, session, serial = this.fetched
    if state.uri != uri:
        return f"it was fetched from {uri}, and here from {state.uri}"
    mine = Past(session if session != "-" else "", int(serial) if serial.isdigit() else 0, this.root.hex(), this.size)
    if mine in state.past:
        return ""
    other = next((each for each in state.past if (each.session, each.serial) == (mine.session, mine.serial) and mine.session), None)
    if other:
        return f"a fork: serial {serial} of {uri} had {other.size} objects with the root {other.root[:16]}… here, and {this.size} with {this.root.hex()[:16]}… there"
    return f"serial {serial} of {uri} was not seen here"


def shown(this: Checkpoint) -> Mapping[str, Any]:
    """For programs."""
    return {
        "origin": this.origin,
        "objects": this.size,
        "root": this.root.hex(),
        "session": this.session,
        "serial": this.serial,
        "time": this.at.astimezone(UTC).isoformat(),
        "from": list(this.fetched),
    }


def moment(now: datetime) -> datetime:
    """As checkpoints can say it."""
    return now.astimezone(UTC).replace(microsecond=0)
