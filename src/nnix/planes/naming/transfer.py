"""A zone on its way, watched message by message: where the transfer ends, and what its DNSKEY set is in the end (RFC 5936, RFC 1995).

A whole transfer (AXFR) is what stands between two SOAs of one serial. An incremental one (IXFR) begins with the new SOA, then for each step
the old SOA and what is taken away, the newer SOA and what is added, and ends with the new SOA once more; its set is what the receiver had,
changed by that. An answer to IXFR may be either.

What is seen here has to be what Knot sees, or a zone could pass that was not looked at. Knot ends a whole transfer, and a step of an incremental one, at an SOA of any name
and class, and it takes a DNSKEY of any class for one of the zone's. Neither belongs into a zone (RFC 1035, 5.2 and 3.2.4), so a transfer with such a
record is refused.

Of a zone of millions of records only those are looked at that matter: each message is gone along from type to type, and taken apart where it holds an SOA, a
DNSKEY or a signature over one. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from nnix.planes.naming.ask import DNSKEY, IN, RRSIG, SOA, Unreadable, name_at

AXFR, IXFR, NSEC3, NSEC3PARAM = 252, 251, 50, 51
KEYS_MAX = 64
ITERATIONS_MAX = 150  # beyond which no resolver that we know of believes a proof
COVERS_KEYS = DNSKEY.to_bytes(2, "big")
TYPE_CLASS_LENGTH = struct.Struct("!HH4xH")


class Stage(StrEnum):
    """Where in a transfer one is."""

    OPENED = "opened"
    WHOLE = "whole"
    TAKING = "taking away"
    ADDING = "adding"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Query:
    """What a secondary asks of its primary. `serial` is what it has, None where it did not say."""

    number: int
    name: str
    type: int
    serial: int | None = None


def query_of(message: bytes) -> Query:
    """Raises Unreadable for what is not one question."""
    try:
        number, flags, questions, _, authority, _ = struct.unpack_from("!6H", message)
        if flags & 0x8000 or questions != 1:
            raise Unreadable("no question")
        name, end = name_at(message, 12)
        kind = struct.unpack_from("!H", message, end)[0]
        serial = next((s for _, t, s, _ in _records(message, end + 4, authority) if t == SOA), None)
    except (struct.error, IndexError):
        raise Unreadable("cut short") from None
    return Query(number, name, kind, serial)


@dataclass(slots=True)
class Watch:
    """The state of one transfer. `keys` and `signatures` are what the receiver has before it, and what it will have after."""

    query: Query
    keys: set[bytes] = field(default_factory=set)
    signatures: set[bytes] = field(default_factory=set)
    stage: Stage = Stage.OPENED
    serial: int | None = None
    seen: int = 0
    refused: bool = False

    def take(self, message: bytes) -> bool:
        """One message of the answer; whether it is the last one. Raises Unreadable."""
        try:
            number, flags, questions, answers = struct.unpack_from("!4H", message)
            if number != self.query.number or not flags & 0x8000:
                raise Unreadable("an answer to another question")
            if flags & 15:
                self.refused = True  # by the primary itself: there is nothing to watch
                return True
            here = 12
            for _ in range(questions):
                here = name_at(message, here)[1] + 4
            matters = _matters(message, here, answers)
            if self.stage is not Stage.OPENED and not matters:
                self.seen += answers
                return False
            for owner, kind, serial, rdata in _records(message, here, answers):
                self._record(owner, kind, serial, rdata)
                self.seen += 1
        except (struct.error, IndexError):
            raise Unreadable("cut short") from None
        if self.seen == 1 and self.query.type == IXFR and self.serial == self.query.serial:
            self.stage = Stage.DONE  # nothing new
        return self.stage is Stage.DONE

    def _record(self, owner: str, kind: int, serial: int | None, rdata: bytes) -> None:
        if self.stage is Stage.DONE:
            raise Unreadable("more after its end")
        if kind == SOA:
            if owner != self.query.name:
                raise Unreadable(f"an SOA of {owner}")
            self._boundary(serial)
            return
        if self.serial is None:
            raise Unreadable("it does not begin with the zone's SOA")
        if self.seen == 1:
            self._becomes_whole()
        if owner != self.query.name or kind not in (DNSKEY, RRSIG):
            return
        if kind == RRSIG and rdata[:2] != COVERS_KEYS:
            return
        records = self.keys if kind == DNSKEY else self.signatures
        if self.stage is Stage.TAKING:
            records.discard(rdata)
        elif len(records) < KEYS_MAX:
            records.add(rdata)
        else:
            raise Unreadable(f"more than {KEYS_MAX} keys, or signatures over them")

    def _boundary(self, serial: int | None) -> None:
        if self.serial is None:
            self.serial = serial
        elif self.seen == 1 and (self.query.type == AXFR or serial == self.serial):
            self._becomes_whole()
            self.stage = Stage.DONE
        elif self.stage is Stage.OPENED:
            self.stage = Stage.TAKING
        elif self.stage is Stage.TAKING:
            self.stage = Stage.ADDING
        elif self.stage is Stage.ADDING:
            self.stage = Stage.DONE if serial == self.serial else Stage.TAKING
        elif serial == self.serial:
            self.stage = Stage.DONE
        else:
            raise Unreadable("two SOAs in a whole zone")

    def _becomes_whole(self) -> None:
        self.stage = Stage.WHOLE
        self.keys.clear()
        self.signatures.clear()


def _matters(message: bytes, here: int, count: int) -> bool:
    """Whether any of the records is an SOA, a DNSKEY or a signature over one. An NSEC3 costs whoever validates the zone as many hashes for each name as it says, and Knot goes by
    what NSEC3PARAM says, whether there is an NSEC3 or not; the number stands at the same place in both (RFC 5155, 3.2 and 4.2). Raises Unreadable, struct.error, IndexError."""
    found = False
    for _ in range(count):
        while 0 < (length := message[here]) < 0x40:
            here += 1 + length
        if 0 < length < 0xC0:
            raise Unreadable("a label of an unknown kind")
        here += 2 if length else 1
        kind, group, octets = TYPE_CLASS_LENGTH.unpack_from(message, here)
        if group != IN:
            raise Unreadable(f"a record of class {group}")
        here += 10 + octets
        if kind in (NSEC3, NSEC3PARAM) and (times := int.from_bytes(message[here - octets + 2 : here - octets + 4])) > ITERATIONS_MAX:
            raise Unreadable(
                f"an {'NSEC3' if kind == NSEC3 else 'NSEC3PARAM'} of {times} iterations, more than {ITERATIONS_MAX} (RFC 9276, 3.2)"
            )
        found = found or kind in (SOA, DNSKEY) or (kind == RRSIG and message[here - octets : here - octets + 2] == COVERS_KEYS)
    if here > len(message):
        raise Unreadable("a record longer than its message")
    return found


def _records(message: bytes, here: int, count: int) -> Iterator[tuple[str, int, int | None, bytes]]:
    """(owner, type, serial of an SOA, rdata) of each. Raises Unreadable, struct.error, IndexError."""
    for _ in range(count):
        owner, here = name_at(message, here)
        kind, group, _, length = struct.unpack_from("!HHIH", message, here)
        here += 10
        if here + length > len(message):
            raise Unreadable("a record longer than its message")
        if group != IN:
            raise Unreadable(f"a record of class {group}")
        serial = None
        if kind == SOA:
            _, middle = name_at(message, here)
            _, end = name_at(message, middle)
            serial = struct.unpack_from("!I", message, end)[0]
        yield owner, kind, serial, message[here : here + length]
        here += length
