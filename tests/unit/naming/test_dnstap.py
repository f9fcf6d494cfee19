"""dnstap as daemons write it, and as somebody who means harm would."""

from __future__ import annotations

import random
import struct

import pytest

from nnix.planes.naming.dnstap import CONTENT_TYPE, FRAME_OCTETS_MAX, Kind, Stream, Unreadable, message


def control(kind: int, content: bytes = CONTENT_TYPE) -> bytes:
    field = struct.pack("!II", 1, len(content)) + content if content else b""
    return struct.pack("!III", 0, 4 + len(field), kind) + field


def data(frame: bytes) -> bytes:
    return struct.pack("!I", len(frame)) + frame


def varint(number: int) -> bytes:
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    return bytes([*octets, number])


def field(number: int, value: int | bytes, *, fixed: bool = False) -> bytes:
    if fixed:
        assert isinstance(value, int)
        return varint(number << 3 | 5) + struct.pack("<I", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tapped(kind: Kind = Kind.AUTH_QUERY, **more: int | bytes) -> bytes:
    """A frame as NSD writes it, with what `more` says instead."""
    known: dict[str, tuple[int, int | bytes]] = {
        "family": (2, 1),
        "protocol": (3, 1),
        "asker": (4, bytes([192, 0, 2, 1])),
        "server": (5, bytes([192, 0, 2, 53])),
        "port": (6, 4242),
        "seconds": (8, 1_795_670_000),
        "query": (10, b"\x12\x34" + bytes(10)),
    }
    known |= {name: (known[name][0], value) for name, value in more.items()}
    inner = field(1, kind) + b"".join(field(*each) for each in known.values()) + field(9, 500_000_000, fixed=True)
    return field(1, b"ns") + field(14, inner) + field(15, 1)


def test_the_handshake_and_what_follows_whichever_way_it_is_cut() -> None:
    """READY is answered by ACCEPT, STOP by FINISH; a frame is given when it is whole, be it that its octets come one by one."""
    talk = control(4) + control(2) + data(tapped()) + data(tapped(port=9)) + control(3, b"")
    for step in (1, 7, len(talk)):
        stream, ports = Stream.fresh(), []
        for start in range(0, len(talk), step):
            ports += [message(frame).asker_port for frame in stream.feed(talk[start : start + step])]
        assert ports == [4242, 9]
        assert bytes(stream.replies) == control(1) + control(5, b"")
        assert stream.finished


def test_a_message_is_read_and_what_is_not_known_passed_over() -> None:
    """Times to the nanosecond; fields of a newer dnstap do no harm."""
    found = message(tapped() + field(99, b"new") + field(98, 7))
    assert (found.kind, found.protocol, found.asker, found.server, found.asked_at) == (
        1,
        1,
        b"\xc0\0\2\1",
        b"\xc0\0\2\x35",
        1_795_670_000.5,
    )


@pytest.mark.parametrize(
    "octets",
    [
        data(tapped()),
        control(2, b"protobuf:something.Else"),
        control(4, b""),
        control(77),
        struct.pack("!II", 0, 0xFFFFFFFF),
        control(2) + struct.pack("!I", FRAME_OCTETS_MAX + 1),
        struct.pack("!IIIII", 0, 12, 2, 1, 500),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["no-start", "other-content", "no-content", "unknown-control", "huge-control", "huge-frame", "field-beyond", "http"],
)
def test_who_does_not_keep_to_frame_streams_is_cut_off(octets: bytes) -> None:
    with pytest.raises(Unreadable):
        list(Stream.fresh().feed(octets))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff" * 40,
        field(14, b"")[:1],
        field(15, 2) + field(14, b""),
        tapped(asker=bytes(17)),
        tapped(asker=5),
        tapped(seconds=b"now"),
        tapped()[:-30],
        field(14, b"\x0b"),
        field(14, 3),
    ],
)
def test_a_frame_that_is_no_message_is_unreadable_and_nothing_else(frame: bytes) -> None:
    with pytest.raises(Unreadable):
        message(frame)


def test_octets_at_random_never_do_worse_than_unreadable() -> None:
    """A thousand frames that were damaged at one to five places."""
    chance = random.Random(7)
    for _ in range(1000):
        damaged = bytearray(tapped())
        for _ in range(chance.randint(1, 5)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            message(bytes(damaged))
        except Unreadable:
            continue
