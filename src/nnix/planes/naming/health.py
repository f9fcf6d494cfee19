"""Whether a node of an anycast service should announce its prefix: a judgement of what was seen, and a table.

What is seen of each zone at the node is judged by `complaints`: it must answer, with authority, with the serial that its gate has (or one
that is not older for long), with signatures that still live a while, and with keys that the model knows. Signatures are looked at where
they are asked for anyway: SOA, NS and DNSKEY of the apex. What expires first there is all that a client could trip over at once.

A node that is ill leaves, unless it is the last. `TABLE` says it event by event, like the figure in a standard:

              well for a while              ill                 its turn, and others are there
    OUT ──▶ PROVING ──────────▶ IN ◀────────────▶ ILL ──────────────────────────────────▶ OUT
                                ▲                  │ no other is there
                                └──── LAST ◀───────┘          (OUT ─▶ LAST too, when the others have gone and it can answer at all)

Nodes that fall ill together (an expired zone everywhere) must not leave together: each waits for its turn, which is longer for each, and
then looks whether there is still another. Whoever hears no route server does not know that, and stays as it is.

Pure: standard library only, since it also runs on machines that have no nnix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

SERIAL_HALF = 2**31


class State(StrEnum):
    """Where a node stands. IN, ILL and LAST are announced."""

    OUT = "out"
    PROVING = "proving"
    IN = "in"
    ILL = "ill"
    LAST = "last"


ANNOUNCED = frozenset({State.IN, State.ILL, State.LAST})

TABLE: Mapping[tuple[State, str], State] = {
    (State.OUT, "well"): State.PROVING,
    (State.OUT, "ill"): State.OUT,
    (State.OUT, "alone"): State.LAST,
    (State.OUT, "deaf"): State.OUT,
    (State.PROVING, "well"): State.PROVING,
    (State.PROVING, "proved"): State.IN,
    (State.PROVING, "ill"): State.OUT,
    (State.PROVING, "alone"): State.LAST,
    (State.PROVING, "deaf"): State.OUT,
    (State.IN, "well"): State.IN,
    (State.IN, "ill"): State.ILL,
    (State.IN, "alone"): State.LAST,
    (State.IN, "deaf"): State.ILL,
    (State.ILL, "well"): State.IN,
    (State.ILL, "ill"): State.ILL,
    (State.ILL, "turn"): State.OUT,
    (State.ILL, "alone"): State.LAST,
    (State.ILL, "deaf"): State.ILL,
    (State.LAST, "well"): State.IN,
    (State.LAST, "ill"): State.ILL,
    (State.LAST, "alone"): State.LAST,
    (State.LAST, "deaf"): State.LAST,
}


@dataclass(frozen=True, slots=True)
class Wants:
    """What is wanted of a zone."""

    origin: str
    lag_seconds_max: float
    life_seconds_min: float
    anchors: tuple[str, ...] = ()
    algorithms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ZoneSeen:
    """What a node said of a zone. `keys` are the DS of its DNSKEY (tag, algorithm, 2, SHA-256); `expires` is the first end of a signature, in Unix
    seconds; `gate_serial` what the gate had then, None where it did not say."""

    answers: bool
    authoritative: bool = False
    serial: int | None = None
    gate_serial: int | None = None
    expires: int | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What a node remembers from one look to the next. Times are seconds of one clock."""

    state: State
    since: float
    bad_looks: int = 0
    behind_since: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a node is."""

    ill_checks: int = 3
    well_seconds: float = 5.0
    turn_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Around:
    """What is heard of the others: how many announce the prefix, or None where no route server is heard, and then `deaf` says why."""

    others: int | None
    deaf: str = ""


def older(serial: int, than: int) -> bool:
    """Whether `serial` is before `than` (RFC 1982, 3.2). Two that are half the circle apart are not comparable: then neither is older."""
    return 0 < (than - serial) % 2**32 < SERIAL_HALF


def complaints(wants: Wants, seen: ZoneSeen, behind_seconds: float, now: float) -> tuple[str, ...]:
    """What is wrong with a zone at this node, in words. Empty when all is well. `now` is Unix time."""
    if not seen.answers:
        return (f"{wants.origin}: no answer",)
    found = []
    if not seen.authoritative or seen.serial is None:
        found.append(f"{wants.origin}: no authority")
    if (
        seen.serial is not None
        and seen.gate_serial is not None
        and older(seen.serial, seen.gate_serial)
        and behind_seconds > wants.lag_seconds_max
    ):
        found.append(f"{wants.origin}: serial {seen.serial}, and the gate has had {seen.gate_serial} for {behind_seconds:.0f} s")
    if seen.expires is not None and seen.expires - now < wants.life_seconds_min:
        left = seen.expires - now
        found.append(f"{wants.origin}: signatures {f'end in {left:.0f} s' if left > 0 else 'have expired'}")
    if wants.anchors and not set(wants.anchors) & set(seen.keys):
        found.append(
            f"{wants.origin}: none of its keys is an anchor ({'; '.join(wants.anchors)})" if seen.keys else f"{wants.origin}: no DNSKEY"
        )
    if strange := sorted({int(key.split()[1]) for key in seen.keys} - set(wants.algorithms)) if wants.algorithms else []:
        found.append(f"{wants.origin}: signed with algorithm {', '.join(map(str, strange))}")
    return tuple(found)


def judge(
    memory: Memory, wants: Sequence[Wants], seen: Mapping[str, ZoneSeen], around: Around, pace: Pace, *, clock: float, now: float
) -> tuple[Memory, tuple[str, ...]]:
    """What the node does next, and what is wrong in words. `clock` counts steadily, `now` is Unix time. Pure."""
    behind = {
        each.origin: memory.behind_since.get(each.origin, clock)
        for each in wants
        if (zone := seen.get(each.origin)) is not None
        and zone.serial is not None
        and zone.gate_serial is not None
        and older(zone.serial, zone.gate_serial)
    }
    wrong = tuple(
        words
        for each in wants
        for words in complaints(each, seen.get(each.origin, ZoneSeen(False)), clock - behind.get(each.origin, clock), now)
    )
    bad_looks = memory.bad_looks + 1 if wrong else 0
    answers = any(each.answers and each.authoritative for each in seen.values())
    ill = bad_looks >= pace.ill_checks or (bool(wrong) and memory.state not in ANNOUNCED)
    state = TABLE[memory.state, event(memory, ill, answers, around, pace, clock)]
    since = memory.since if state is memory.state else clock
    return replace(memory, state=state, since=since, bad_looks=bad_looks, behind_since=behind), wrong


def event(memory: Memory, ill: bool, answers: bool, around: Around, pace: Pace, clock: float) -> str:
    """The one thing that happened, for the table."""
    waited = clock - memory.since
    if not ill:
        return "proved" if memory.state is State.PROVING and waited >= pace.well_seconds else "well"
    if around.others is None:
        return "deaf"
    if around.others == 0 and (memory.state in ANNOUNCED or answers):
        return "alone"  # one that was out comes back for that only if it can answer anything
    return "turn" if memory.state is State.ILL and waited >= pace.turn_seconds else "ill"
