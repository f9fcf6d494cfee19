"""Whether a node of an anycast service should announce its prefix: a judgement of what was seen, and a table.

What is seen of each zone at the node is judged by `complaints`: it must answer, with authority, with the serial that its gate has (or one
that is not older for long), with signatures that still live a while, and with keys that the model knows. Signatures are looked at where
they are asked for anyway: SOA, NS and DNSKEY of the apex. What expires first there is all that a client could trip over at once.

All zones of a node share one announcement, so a node does not leave the others' askers alone for what its leaving cannot mend (`excused`): a
zone of which its gate has no version either, and one that is new here and still on its way.

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
    seconds; `gate_serial` what the gate had then, None where it did not say. `lacks`: it answered, and has no version of it; `gate_lacks`: nor has the gate."""

    answers: bool
    authoritative: bool = False
    serial: int | None = None
    gate_serial: int | None = None
    expires: int | None = None
    keys: tuple[str, ...] = ()
    lacks: bool = False
    gate_lacks: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What a node remembers from one look to the next. Times are seconds of one clock. `had` are the zones that it has answered for."""

    state: State
    since: float
    bad_looks: int = 0
    behind_since: Mapping[str, float] = field(default_factory=dict)
    had: frozenset[str] = frozenset()


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
        return (
            f"{wants.origin}: {'no version of it' if seen.lacks else 'no answer'}{', nor has the gate one' if seen.gate_lacks else ''}",
        )
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
    looked = {each.origin: seen.get(each.origin, ZoneSeen(False)) for each in wants}
    behind = {
        origin: memory.behind_since.get(origin, clock)
        for origin, zone in looked.items()
        if _behind(zone, known=origin in memory.behind_since)
    }
    waited = {origin: clock - since for origin, since in behind.items()}
    found = {each.origin: complaints(each, looked[each.origin], waited.get(each.origin, 0.0), now) for each in wants}
    wrong = tuple(words for each in found.values() for words in each)
    serves = any(each.answers for each in looked.values())
    faults = [
        each.origin
        for each in wants
        if found[each.origin] and not (serves and excused(each, looked[each.origin], memory, waited.get(each.origin, 0.0)))
    ]
    bad_looks = memory.bad_looks + 1 if faults else 0
    answers = any(each.answers and each.authoritative for each in seen.values())
    ill = bad_looks >= pace.ill_checks or (bool(faults) and memory.state not in ANNOUNCED)
    state = TABLE[memory.state, event(memory, ill, answers, around, pace, clock)]
    since = memory.since if state is memory.state else clock
    had = memory.had | {origin for origin, zone in looked.items() if zone.answers}
    return replace(memory, state=state, since=since, bad_looks=bad_looks, behind_since=behind, had=had), wrong


def _behind(zone: ZoneSeen, *, known: bool) -> bool:
    """Whether the node is behind its gate. A look at which either of them said nothing tells nothing, so what was known stays: else a question lost now and then
    would make every lag a new one."""
    if zone.gate_serial is None:
        return known and not zone.gate_lacks
    return zone.lacks or (known if zone.serial is None else older(zone.serial, zone.gate_serial))


def excused(wants: Wants, seen: ZoneSeen, memory: Memory, behind_seconds: float) -> bool:
    """Whether what is wrong with a zone is no reason to leave. What the gate has no version of either, the other nodes most likely lack as well: one registry that
    does not answer would else take the sites from all the others. And what an announced node has not had yet may take as long to come as a newer serial."""
    if not seen.lacks:
        return False
    return seen.gate_lacks or (memory.state in ANNOUNCED and wants.origin not in memory.had and behind_seconds <= wants.lag_seconds_max)


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
