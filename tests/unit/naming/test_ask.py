"""Reading answers of name servers: what a good one says, and that no bad one gets through."""

from __future__ import annotations

import socket
import struct
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnix.planes.naming.ask import DNSKEY, HEADER, RRSIG, SOA, Reply, Unreadable, framed, key_tag, name_at, read, wire

QUESTION = wire("lab.") + struct.pack("!2H", SOA, 1)
RDATA = b"\x02ns\xc0\x0c" + b"\x0ahostmaster\xc0\x0c" + struct.pack("!5I", 2026082201, 1800, 900, 604800, 86400)


def record(type_: int, rdata: bytes) -> bytes:
    return b"\xc0\x0c" + struct.pack("!HHIH", type_, 1, 300, len(rdata)) + rdata


def message(*records: bytes, number: int = 7, flags: int = 0x8400, question: bytes = QUESTION) -> bytes:
    return HEADER.pack(number, flags, 1, len(records), 0, 0) + question + b"".join(records)


def test_serial_authority_and_the_first_end_of_a_signature_are_read() -> None:
    """With compressed names in the SOA."""
    signature = struct.pack("!HBBIIIH", SOA, 13, 1, 300, 1_900_000_000, 1_700_000_000, 5) + wire("lab.") + bytes(64)
    sooner = struct.pack("!HBBIIIH", SOA, 13, 1, 300, 1_800_000_000, 1_700_000_000, 5) + wire("lab.") + bytes(64)
    reply = read(message(record(SOA, RDATA), record(RRSIG, signature), record(RRSIG, sooner)), 7, QUESTION)
    assert (reply.serial, reply.authoritative, reply.code, reply.expires) == (2026082201, True, 0, 1_800_000_000)


def test_the_ds_of_a_key_is_that_of_the_root() -> None:
    """KSK 20326 of the root, and its DS as IANA publishes it (root-anchors.xml)."""
    import base64

    key = base64.b64decode(
        "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5"
        "LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLY"
        "A4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU="
    )
    rdata = struct.pack("!HBB", 257, 3, 8) + key
    assert key_tag(rdata) == 20326
    reply = read(
        HEADER.pack(7, 0x8400, 1, 1, 0, 0) + wire(".") + struct.pack("!2H", DNSKEY, 1) + b"\0" + record(DNSKEY, rdata)[2:],
        7,
        wire(".") + struct.pack("!2H", DNSKEY, 1),
    )
    assert reply.keys == ("20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        message(record(SOA, RDATA), number=8),
        message(record(SOA, RDATA), flags=0x0400),
        message(record(SOA, RDATA), question=wire("other.") + struct.pack("!2H", SOA, 1)),
        message(record(SOA, RDATA))[:-1],
        message(b"\xc0\xff" + record(SOA, RDATA)[2:]),
        HEADER.pack(7, 0x8400, 1, 1, 0, 0) + b"\xc0\x0c",
        HEADER.pack(7, 0x8400, 1, 0, 0, 0) + b"\x40a\0" + struct.pack("!2H", SOA, 1),
    ],
    ids=["empty", "another number", "a question", "another question", "cut short", "points forward", "points at itself", "unknown label"],
)
def test_what_is_no_answer_is_refused(bad: bytes) -> None:
    """By one exception, which the herald takes for no answer."""
    with pytest.raises(Unreadable):
        read(bad, 7, QUESTION)


@given(st.binary(max_size=200), st.booleans())
def test_no_message_makes_the_reader_stumble(rubbish: bytes, behind_a_head: bool) -> None:
    """Random octets, alone and behind a good head: an answer or Unreadable, and its parts likewise."""
    text = HEADER.pack(7, 0x8400, 1, 3, 0, 0) + QUESTION + rubbish if behind_a_head else rubbish
    try:
        reply: Reply = read(text, 7, QUESTION)
    except Unreadable:
        return
    assert reply.expires is None or reply.expires >= 0
    assert isinstance(reply.keys, tuple)
    try:
        assert reply.serial is None or 0 <= reply.serial < 2**32
    except Unreadable:
        return


@pytest.mark.parametrize("cut", [b"", b"\x03ab", b"\xc0", b"\x01a\xc0"])
def test_a_name_that_is_cut_off_is_no_worse_than_a_message_that_is(cut: bytes) -> None:
    with pytest.raises(IndexError):
        name_at(b"\0" + cut, 1)


def test_names_are_lower_case_and_end_where_they_end() -> None:
    """With a pointer, what follows begins after the pointer."""
    text = wire("lab.") + b"\x03WWW\xc0\x00"
    assert name_at(text, 5) == ("www.lab.", 11)
    assert name_at(text, 0) == ("lab.", 5)


def test_a_dot_in_a_label_is_not_one_between_labels() -> None:
    """RFC 1035, 5.1; or one label would pass for two."""
    one, two = b"\x06co\\.Uk\0", b"\x02co\x02uk\0"
    assert (name_at(one, 0)[0], name_at(two, 0)[0]) == (r"co\\\.uk.", "co.uk.")
    assert (wire(r"co\\\.uk."), wire("co.uk.")) == (one.lower(), two)
    assert name_at(b"\x01\xc4\0", 0)[0] == "\xc4."  # names have no case beyond ASCII (RFC 4343, 2)


def test_a_server_that_drips_over_tcp_is_no_answer_when_the_time_is_over() -> None:
    """The herald asks once a second, and must not wait for an octet now and then."""
    ours, theirs = socket.socketpair()
    done = threading.Event()

    def drip() -> None:
        while not done.wait(0.05):
            theirs.sendall(b"x")

    with ours, theirs:
        dripping = threading.Thread(target=drip)
        dripping.start()
        with pytest.raises(TimeoutError):
            framed(ours, time.monotonic() + 0.3)
        done.set()
        dripping.join()
