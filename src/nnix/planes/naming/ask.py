"""A question to a name server, and what of the answer says how it is: no library, since it runs on machines that have no nnix.

Only what is needed: one question, EDNS with DO (RFC 6891, RFC 4035), UDP and after a truncation TCP, and of the answer the SOA's serial, the ends
of signatures, and the DS (RFC 4509) of each DNSKEY. Lengths and pointers (RFC 1035, 4.1.4) are checked, as an answer may come from
anybody; what cannot be read is no answer.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

SOA, NS, RRSIG, DNSKEY = 6, 2, 46, 48
IN = 1
PAYLOAD_OCTETS = 1232  # DNS flag day 2020
HEADER = struct.Struct("!6H")
ANSWER, AUTHORITY_FLAG, TRUNCATED = 0x8000, 0x0400, 0x0200
POINTERS_MAX = 64
DOTTED, ESCAPED, LABEL = re.compile(rb"[.\\]"), re.compile(rb"\\(.)", re.S), re.compile(rb"(?:\\.|[^.\\])+", re.S)


class Unreadable(ValueError):
    """Not a DNS message that answers the question."""


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record of an answer. `owner` and names are lower case, with the last dot."""

    owner: str
    type: int
    rdata: bytes
    start: int  # of the rdata in the message, for names inside that are compressed


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer section, with its header's word on authority and its response code."""

    code: int
    authoritative: bool
    records: tuple[Record, ...]
    message: bytes

    @property
    def serial(self) -> int | None:
        """Of the SOA in the answer. Raises Unreadable."""
        for each in self.records:
            if each.type == SOA:
                try:
                    _, end = name_at(self.message, each.start)
                    _, end = name_at(self.message, end)
                    return int(struct.unpack_from("!I", self.message, end)[0])
                except (struct.error, IndexError) as error:
                    raise Unreadable(f"cut short: {error}") from None
        return None

    @property
    def expires(self) -> int | None:
        """When the first signature of the answer ends, in Unix seconds (the 32 bits of RFC 4034, 3.1.5, taken as they are until 2106)."""
        ends = [int(struct.unpack_from("!I", each.rdata, 8)[0]) for each in self.records if each.type == RRSIG and len(each.rdata) >= 18]
        return min(ends) if ends else None

    @property
    def keys(self) -> tuple[str, ...]:
        """The DS of each key that is a secure entry point: `tag algorithm 2 digest`."""
        found = []
        for each in self.records:
            if each.type == DNSKEY and len(each.rdata) > 4 and each.rdata[1] & 1:
                digest = hashlib.sha256(wire(each.owner) + each.rdata).hexdigest().upper()
                found.append(f"{key_tag(each.rdata)} {each.rdata[3]} 2 {digest}")
        return tuple(found)


def ask(address: str, name: str, type_: int, *, port: int = 53, source: str | None = None, timeout_seconds: float = 1.0) -> Reply:
    """Ask one server. Raises OSError when nothing came (TimeoutError among them), Unreadable for what is no answer."""
    number = secrets.randbelow(65536)
    question = wire(name) + struct.pack("!2H", type_, IN)
    query = HEADER.pack(number, 0, 1, 0, 0, 1) + question + b"\0" + struct.pack("!HHIH", 41, PAYLOAD_OCTETS, 0x8000, 0)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(timeout_seconds)
        if source:
            asking.bind((source, 0))
        asking.connect((address, port))
        asking.send(query)
        message = asking.recv(65535)
    if len(message) >= 12 and HEADER.unpack_from(message)[1] & TRUNCATED:
        message = _over_tcp(family, address, port, source, query, timeout_seconds)
    return read(message, number, question)


def _over_tcp(family: int, address: str, port: int, source: str | None, query: bytes, timeout_seconds: float) -> bytes:
    with socket.socket(family, socket.SOCK_STREAM) as asking:
        asking.settimeout(timeout_seconds)
        if source:
            asking.bind((source, 0))
        asking.connect((address, port))
        asking.sendall(struct.pack("!H", len(query)) + query)
        try:
            return framed(asking, time.monotonic() + timeout_seconds)[2:]
        except EOFError:
            raise Unreadable("the connection ended early") from None


def framed(peer: socket.socket, until: float) -> bytes:
    """One message with its length before it (RFC 1035, 4.2.2), all of it by `until` on the monotonic clock, however it drips. Raises EOFError when the other side
    has closed the connection; OSError, as TimeoutError when the time is over."""
    head = _exactly(peer, 2, until)
    return head + _exactly(peer, int.from_bytes(head, "big"), until)


def _exactly(peer: socket.socket, octets: int, until: float) -> bytes:
    got = bytearray()
    while len(got) < octets:
        if (left := until - time.monotonic()) <= 0:
            raise TimeoutError
        peer.settimeout(left)
        if not (more := peer.recv(octets - len(got))):
            raise EOFError
        got += more
    return bytes(got)


def read(message: bytes, number: int, question: bytes) -> Reply:
    """The answer to our question. Raises Unreadable."""
    try:
        got, flags, questions, answers, _, _ = HEADER.unpack_from(message)
        if got != number or not flags & ANSWER or questions != 1:
            raise Unreadable("not an answer to this question")
        name, end = name_at(message, 12)
        if wire(name) + message[end : end + 4] != question.lower():
            raise Unreadable("an answer to another question")
        return Reply(flags & 15, bool(flags & AUTHORITY_FLAG), tuple(_records(message, end + 4, answers)), message)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Unreadable(f"cut short: {error}") from None


def _records(message: bytes, start: int, count: int) -> Iterator[Record]:
    for _ in range(count):
        owner, start = name_at(message, start)
        type_, _, _, length = struct.unpack_from("!HHIH", message, start)
        start += 10
        if start + length > len(message):
            raise Unreadable("a record longer than its message")
        yield Record(owner, type_, message[start : start + length], start)
        start += length


def name_at(message: bytes, start: int) -> tuple[str, int]:
    """The name at `start`, and where what follows begins. A dot inside of a label is `\\.` (RFC 1035, 5.1), or one label would pass for two. Raises Unreadable for
    pointers that go forward or in circles, and IndexError for a name that is cut off."""
    labels: list[bytes] = []
    end, here = -1, start
    for _ in range(POINTERS_MAX + 128):
        length = message[here]
        if length & 0xC0 == 0xC0:
            target = (length & 0x3F) << 8 | message[here + 1]
            end = here + 2 if end < 0 else end
            if target >= here:
                raise Unreadable("a name that points forward")
            here = target
        elif length & 0xC0:
            raise Unreadable("a label of an unknown kind")
        elif length == 0:
            return b"".join([each + b"." for each in labels] or [b"."]).decode("latin-1"), here + 1 if end < 0 else end
        else:
            label = message[here + 1 : here + 1 + length].lower()
            labels.append(label.replace(b"\\", b"\\\\").replace(b".", b"\\.") if DOTTED.search(label) else label)
            here += 1 + length
    raise Unreadable("a name without end")


def wire(name: str) -> bytes:
    """A name in wire form, lower case (RFC 4034, 6.2)."""
    labels = [ESCAPED.sub(rb"\1", label) for label in LABEL.findall(name.encode("latin-1").lower())]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def key_tag(rdata: bytes) -> int:
    """Of a DNSKEY (RFC 4034, appendix B)."""
    total = sum(octet << 8 if index % 2 == 0 else octet for index, octet in enumerate(rdata))
    return (total + (total >> 16)) & 0xFFFF
