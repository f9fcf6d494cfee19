"""A zone on its way, watched message by message: where the transfer ends, and what its DNSKEY set is in the end (RFC 5936, RFC 1995).

A whole transfer (AXFR) is what stands between two SOAs of one serial. An incremental one (IXFR) begins with the new SOA, then for each step
the old SOA and what is taken away, the newer SOA and what is added, and ends with the new SOA once more; its set is what the receiver had,
changed by that. An answer to IXFR may be either.

Of a zone of millions of records only those are looked at that matter: a message is taken apart when the octets of an SOA's, a DNSKEY's or its
signature's type and class occur in it at all. They may occur by chance, which costs time, but no record is missed for it. Pure.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from nnix.planes.naming.ask import DNSKEY, IN, RRSIG, SOA, Unreadable, name_at

AXFR, IXFR = 252, 251
KEYS_MAX = 64
MATTERS = re.compile(rb"\0\x06\0\x01|\0\x30\0\x01|\0\x2e\0\x01.{6}\0\x30", re.S)


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
            if self.stage is not Stage.OPENED and not MATTERS.search(message):
                self.seen += answers
                return False
            here = 12
            for _ in range(questions):
                here = name_at(message, here)[1] + 4
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
        if kind == SOA and owner == self.query.name:
            self._boundary(serial)
            return
        if self.serial is None:
            raise Unreadable("it does not begin with the zone's SOA")
        if self.seen == 1:
            self._becomes_whole()
        if owner != self.query.name or kind not in (DNSKEY, RRSIG):
            return
        if kind == RRSIG and rdata[:2] != DNSKEY.to_bytes(2, "big"):
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


def _records(message: bytes, here: int, count: int) -> Iterator[tuple[str, int, int | None, bytes]]:
    """(owner, type, serial of an SOA, rdata) of each. Raises Unreadable, struct.error, IndexError."""
    for _ in range(count):
        owner, here = name_at(message, here)
        kind, group, _, length = struct.unpack_from("!HHIH", message, here)
        here += 10
        if here + length > len(message):
            raise Unreadable("a record longer than its message")
        serial = None
        if kind == SOA and group == IN:
            _, middle = name_at(message, here)
            _, end = name_at(message, middle)
            serial = struct.unpack_from("!I", message, end)[0]
        yield owner, kind if group == IN else 0, serial, message[here : here + length]
        here += length
