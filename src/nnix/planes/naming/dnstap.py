"""dnstap, read: what name servers say of each question and answer (https://dnstap.info), as NSD, Knot and Unbound write it to a Unix socket.

Two layers. Frame Streams puts messages one after another, each behind its length; a length of zero announces a control frame. A daemon
that connects says READY with its content type, is told ACCEPT, says START, then sends data until STOP, which is answered by FINISH. The data frames
are protocol buffers, of which only what is counted here is read: fields are numbers, unknown ones are passed over, so that a
newer daemon is understood.

A peer is a daemon of the same machine, and still nothing it sends is believed: lengths are held against what is there, a frame that is
too long ends the connection, one that cannot be read is counted as that.

Standard library only, since it also runs on machines that have no nnix. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

CONTENT_TYPE = b"protobuf:dnstap.Dnstap"
FRAME_OCTETS_MAX = 2 * 65535 + 4096  # a question, an answer, and what is said about them
CONTROL_OCTETS_MAX = 512
ACCEPT, START, STOP, READY, FINISH = 1, 2, 3, 4, 5
CONTENT_FIELD = 1


class Unreadable(ValueError):
    """Not what it says it is."""


class Kind(IntEnum):
    """Message.Type. A node is asked (AUTH), a resolver is asked (CLIENT) and asks (RESOLVER)."""

    AUTH_QUERY = 1
    AUTH_RESPONSE = 2
    RESOLVER_QUERY = 3
    RESOLVER_RESPONSE = 4
    CLIENT_QUERY = 5
    CLIENT_RESPONSE = 6


UDP = frozenset({1, 5})
"""SocketProtocol: UDP, DNSCrypt over UDP; all others are streams"""


class Message(NamedTuple):
    """One question or answer. Times are Unix seconds, 0 where the daemon did not say; addresses are 4 or 16 octets, or empty."""

    kind: int
    protocol: int
    asker: bytes
    asker_port: int
    server: bytes
    server_port: int
    asked_at: float
    answered_at: float
    query: bytes
    response: bytes
    zone: bytes


@dataclass(slots=True)
class Stream:
    """One connection's state: octets in, data frames out, and `replies` for the peer."""

    pending: bytearray
    replies: bytearray
    started: bool = False
    finished: bool = False

    @classmethod
    def fresh(cls) -> Stream:
        return cls(bytearray(), bytearray())

    def feed(self, octets: bytes) -> Iterator[memoryview]:
        """The data frames that are whole now. They are valid until the next one is asked for. Raises Unreadable."""
        self.pending += octets
        whole = bytes(self.pending)
        view, here, end = memoryview(whole), 0, len(whole)
        try:
            while end - here >= 4 and not self.finished:
                length = int.from_bytes(whole[here : here + 4], "big")
                if length:
                    if not self.started:
                        raise Unreadable("data before START")
                    if length > FRAME_OCTETS_MAX:
                        raise Unreadable(f"a frame of {length} octets")
                    if end - here < 4 + length:
                        break
                    here += 4 + length
                    yield view[here - length : here]
                    continue
                if end - here < 8:
                    break
                length = int.from_bytes(whole[here + 4 : here + 8], "big")
                if not 4 <= length <= CONTROL_OCTETS_MAX:
                    raise Unreadable(f"a control frame of {length} octets")
                if end - here < 8 + length:
                    break
                self._control(whole[here + 8 : here + 8 + length])
                here += 8 + length
        finally:
            del self.pending[:here]

    def _control(self, frame: bytes) -> None:
        what = int.from_bytes(frame[:4], "big")
        if what in (READY, START) and CONTENT_TYPE not in _content_types(frame[4:]):
            raise Unreadable("no dnstap in what it offers")
        if what == READY:
            self.replies += _controlling(ACCEPT)
        elif what == START:
            self.started = True
        elif what == STOP:
            self.replies += _controlling(FINISH)
            self.finished = True
        else:
            raise Unreadable(f"a control frame of kind {what}")


def _content_types(fields: bytes) -> list[bytes]:
    found, here = [], 0
    while here + 8 <= len(fields):
        kind, length = struct.unpack_from("!II", fields, here)
        if here + 8 + length > len(fields):
            raise Unreadable("a field longer than its control frame")
        if kind == CONTENT_FIELD:
            found.append(fields[here + 8 : here + 8 + length])
        here += 8 + length
    return found


def _controlling(kind: int) -> bytes:
    field = struct.pack("!II", CONTENT_FIELD, len(CONTENT_TYPE)) + CONTENT_TYPE if kind == ACCEPT else b""
    return struct.pack("!III", 0, 4 + len(field), kind) + field


def message(frame: memoryview | bytes) -> Message:
    """The message in a data frame. Raises Unreadable."""
    outer = _fields(frame, 0, len(frame))
    inner = outer.get(14)
    if not isinstance(inner, tuple) or outer.get(15, 1) != 1:
        raise Unreadable("no message")
    found = _fields(frame, *inner)

    def number(field: int) -> int:
        value = found.get(field, 0)
        if not isinstance(value, int):
            raise Unreadable(f"field {field} is no number")
        return value

    def octets(field: int, most: int) -> bytes:
        value = found.get(field)
        if value is None:
            return b""
        if not isinstance(value, tuple) or value[1] - value[0] > most:
            raise Unreadable(f"field {field} has not the octets that it should have")
        return bytes(frame[value[0] : value[1]])

    return Message(
        number(1),
        number(3),
        octets(4, 16),
        number(6),
        octets(5, 16),
        number(7),
        number(8) + number(9) / 1e9,
        number(12) + number(13) / 1e9,
        octets(10, 65535),
        octets(14, 65535),
        octets(11, 255),
    )


def _fields(data: memoryview | bytes, here: int, end: int) -> dict[int, int | tuple[int, int]]:
    """field → its number, or where its octets begin and end; the last of several. Raises Unreadable."""
    found: dict[int, int | tuple[int, int]] = {}
    try:
        while here < end:
            tag = data[here]
            here += 1
            if tag > 127:
                tag, here = _varint(data, here - 1)
            form = tag & 7
            if form == 0:
                value = data[here]
                here += 1
                if value > 127:
                    value, here = _varint(data, here - 1)
                found[tag >> 3] = value
            elif form == 2:
                length = data[here]
                here += 1
                if length > 127:
                    length, here = _varint(data, here - 1)
                found[tag >> 3] = (here, here + length)
                here += length
            elif form == 5:
                found[tag >> 3] = int.from_bytes(data[here : here + 4], "little")
                here += 4
            elif form == 1:
                here += 8
            else:
                raise Unreadable(f"wire type {form}")
    except IndexError:
        raise Unreadable("cut short") from None
    if here != end:
        raise Unreadable("cut short")
    return found


def _varint(data: memoryview | bytes, here: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = data[here]
        here += 1
        value |= (octet & 127) << shift
        if octet < 128:
            return value, here
        shift += 7
        if shift > 63:
            raise Unreadable("a number without end")
