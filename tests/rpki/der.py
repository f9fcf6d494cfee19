"""DER, written by hand: what a certificate authority would never sign must be writable too.

Libraries refuse to write a wrong object, which is right for them and useless here. Lengths are definite and shortest; everything else is the
caller's affair (ITU-T X.690).
"""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network

SEQUENCE, SET = 0x30, 0x31


def tlv(tag: int, *parts: bytes) -> bytes:
    """Tag, shortest definite length, and the parts one after the other."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, *parts)


def set_of(*parts: bytes) -> bytes:
    """Sorted, as DER wants it."""
    return tlv(SET, *sorted(parts))


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True))


def boolean(value: bool) -> bytes:
    return tlv(0x01, b"\xff" if value else b"\0")


def octets(value: bytes) -> bytes:
    return tlv(0x04, value)


def bits(value: bytes, unused: int = 0) -> bytes:
    return tlv(0x03, bytes((unused,)), value)


def null() -> bytes:
    return tlv(0x05)


def printable(text: str) -> bytes:
    return tlv(0x13, text.encode())


def ia5(text: str) -> bytes:
    return tlv(0x16, text.encode())


def uri(text: str) -> bytes:
    """GeneralName, uniformResourceIdentifier."""
    return tlv(0x86, text.encode())


def explicit(number: int, *parts: bytes) -> bytes:
    return tlv(0xA0 | number, *parts)


def implicit(number: int, content: bytes) -> bytes:
    """A primitive value under a context tag."""
    return tlv(0x80 | number, content)


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        out += bytes(reversed(groups))
    return tlv(0x06, bytes(out))


def generalized(moment: datetime) -> bytes:
    return tlv(0x18, f"{moment:%Y%m%d%H%M%S}Z".encode())


def time(moment: datetime) -> bytes:
    """UTCTime through 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5)."""
    return tlv(0x17, f"{moment:%y%m%d%H%M%S}Z".encode()) if moment.year < 2050 else generalized(moment)


def prefix_bits(network: Network) -> bytes:
    """RFC 3779, 2.2.3.8: the significant bits of a prefix, and no more."""
    size = network.prefixlen
    return bits(network.network_address.packed[: (size + 7) // 8], -size % 8)
