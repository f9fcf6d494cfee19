"""A router of the tests' own: it reads octets by hand, believes nothing, and holds plain Python sets.

It shares no code with the cache, so that the two can disagree. It is stricter than routers are: the order of 8210bis, 11.2,
zero in what is reserved, no announcement of what it has, no withdrawal of what it has not.
"""

from __future__ import annotations

import struct
from typing import Any

Vrp = tuple[int, bytes, int, int, int]  # family, address, length, maximum, origin
Key = tuple[bytes, bytes, int]


class Protest(Exception):
    """What a router would end the session for."""


class Shadow:
    """A router that speaks `version`. `say()` is its next query; `hear()` takes whole answers."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.session: int | None = None
        self.serial: int | None = None
        self.vrps: set[Vrp] = set()
        self.keys: set[Key] = set()
        self.aspas: dict[int, tuple[int, ...]] = {}
        self.resets = self.partials = 0

    def say(self) -> bytes:
        if self.session is None or self.serial is None:
            return struct.pack(">BBHI", self.version, 2, 0, 8)
        return struct.pack(">BBHII", self.version, 1, self.session, 12, self.serial)

    def hear(self, octets: bytes) -> bool:
        """Whether the router is in step now; False when it has to ask for everything."""
        head, body = octets[:8], octets[8:]
        version, kind, session, length = struct.unpack(">BBHI", head)
        if version != self.version or length != 8:
            raise Protest(f"answer begins with {head.hex()}")
        if kind == 8:
            self.session = None
            self.resets += 1
            if body:
                raise Protest("more after a Cache Reset")
            return False
        if kind != 3:
            raise Protest(f"PDU type {kind} instead of a Cache Response")
        if self.session is None:
            self.vrps, self.keys, self.aspas = set(), set(), {}
        elif session != self.session:
            raise Protest(f"session {session} instead of {self.session}")
        else:
            self.partials += 1
        self.session = session
        order: list[tuple[object, ...]] = []
        while body:
            version, kind, middle, length = struct.unpack(">BBHI", body[:8])
            pdu, body = body[:length], body[length:]
            if version != self.version or len(pdu) != length:
                raise Protest(f"PDU {pdu.hex()}")
            if kind == 7:
                self._end(pdu, middle, length, body)
                if order != sorted(order):
                    raise Protest("not in the order of 8210bis, 11.2")
                return True
            order.append(self._payload(kind, middle, length, pdu))
        raise Protest("no End of Data")

    def _end(self, pdu: bytes, session: int, length: int, rest: bytes) -> None:
        if session != self.session or length != (24 if self.version else 12) or rest:
            raise Protest(f"End of Data {pdu.hex()}")
        (self.serial,) = struct.unpack(">I", pdu[8:12])

    def _payload(self, kind: int, middle: int, length: int, pdu: bytes) -> tuple[object, ...]:
        if kind in (4, 6):
            return self._prefix(kind, middle, length, pdu)
        if middle & 0xFEFF:
            raise Protest(f"reserved octets are not zero: {pdu.hex()}")
        if kind == 9 and self.version >= 1:
            ski, (asn,), spki = pdu[8:28], struct.unpack(">I", pdu[28:32]), pdu[32:]
            self._toggle(self.keys, (ski, spki, asn), bool(middle))
            return kind, not middle, ski, spki, asn
        if kind == 11 and self.version >= 2:
            customer, *providers = struct.unpack(f">{length // 4 - 2}I", pdu[8:])
            if bool(middle) != bool(providers) or providers != sorted(set(providers)) or (0 in providers and len(providers) > 1):
                raise Protest(f"ASPA {pdu.hex()}")
            if middle and self.aspas.get(customer) == tuple(providers):
                raise Protest(f"ASPA of {customer} announced as it was")
            if not middle and customer not in self.aspas:
                raise Protest(f"withdrawal of an unknown ASPA: {customer}")
            self.aspas.pop(customer, None)
            if middle:
                self.aspas[customer] = tuple(providers)
            return kind, not middle, customer
        raise Protest(f"PDU type {kind} in version {self.version}")

    def _prefix(self, kind: int, middle: int, length: int, pdu: bytes) -> tuple[object, ...]:
        octets = 4 if kind == 4 else 16
        flags, bits, longest, pad = pdu[8:12]
        address, (asn,) = pdu[12 : 12 + octets], struct.unpack(">I", pdu[12 + octets :])
        if length != 16 + octets or middle or pad or flags > 1 or not bits <= longest <= octets * 8:
            raise Protest(f"prefix {pdu.hex()}")
        self._toggle(self.vrps, (kind, address, bits, longest, asn), bool(flags))
        key = (int.from_bytes(address, "big"), longest, bits, asn)
        return (kind, False, *(-each for each in key)) if flags else (kind, True, *key)

    def _toggle(self, held: set[Any], what: Any, announce: bool) -> None:
        if announce == (what in held):
            raise Protest(f"{'announcement of what it has' if announce else 'withdrawal of what it has not'}: {what}")
        if announce:
            held.add(what)
        else:
            held.remove(what)
