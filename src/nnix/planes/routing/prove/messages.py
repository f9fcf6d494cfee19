"""BGP messages as octets (RFC 4271, with four-octet ASNs, RFC 6793; multiprotocol, RFC 4760; roles, RFC 9234; several paths to
a prefix, RFC 7911): written and read.

Only what a member's router says to a route server and hears from it. Attributes are read once for equal octets, since a route server tells
two hundred members the same.

Where both sides have agreed on ADD-PATH, a path identifier stands before each prefix. Nothing in an UPDATE tells so, therefore who reads one says
in which families they stand; a prefix then is one of several paths, told apart by that number, and stays apart from prefixes without one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from nnix.planes.routing.naming import Family
from nnix.planes.routing.prove.route import Address, Prefix, Route, Segment

MARKER = b"\xff" * 16
HEADER_OCTETS, MESSAGE_OCTETS_MAX = 19, 4096
OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE_REFRESH = 1, 2, 3, 4, 5
ORIGIN, AS_PATH, NEXT_HOP, MED, STANDARD, MP_REACH, MP_UNREACH, EXTENDED, LARGE, OTC = 1, 2, 3, 4, 8, 14, 15, 16, 32, 35
AS_TRANS = 23456
CAPABILITY_MULTIPROTOCOL, CAPABILITY_ROUTE_REFRESH, CAPABILITY_NEXT_HOP, CAPABILITY_ROLE = 1, 2, 5, 9
CAPABILITY_FOUR_OCTETS, CAPABILITY_ADD_PATH = 65, 69
RS_CLIENT = 2  # RFC 9234, 4.1
TAKES, SENDS = 1, 2  # several paths, as one who says it of itself (RFC 7911, 4); both is 3
NUMBER_OCTETS = 4  # of a path identifier (RFC 7911, 3)
ROLE_MISMATCH = (2, 11)  # RFC 9234, 4.2
TOO_MANY_PREFIXES = (6, 1)  # RFC 4486, 4
ADMINISTRATIVE_SHUTDOWN = (6, 2)


class Malformed(Exception):
    """Octets that are no BGP message."""


def message(kind: int, body: bytes = b"") -> bytes:
    return MARKER + struct.pack("!HB", HEADER_OCTETS + len(body), kind) + body


def taken(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Whole messages at the head of `buffer`, (type, body), which are taken off it. Raises Malformed."""
    at = 0
    while len(buffer) - at >= HEADER_OCTETS:
        length = buffer[at + 16] << 8 | buffer[at + 17]
        if length < HEADER_OCTETS:
            raise Malformed(f"a message of {length} octets")
        if len(buffer) - at < length:
            break
        yield buffer[at + 18], bytes(buffer[at + HEADER_OCTETS : at + length])
        at += length
    del buffer[:at]


# --- OPEN -------------------------------------------------------------------------------------------------------------


class Opened(NamedTuple):
    """What the other side said of itself. `role` is None where it named none; `several` is whether it TAKES and SENDS several paths, by family."""

    asn: int
    hold_time_seconds: int
    router_id: IPv4Address
    families: frozenset[Family]
    role: int | None
    several: Mapping[Family, int] = MappingProxyType({})


def open_message(
    asn: int, router_id: IPv4Address, families: Iterable[Family], *, hold_time_seconds: int, role: int | None, several: int = 0
) -> bytes:
    """Of a session that carries `families`; where both, IPv4 comes with IPv6 next hops (RFC 8950). `several`: TAKES and SENDS, in each of them."""
    carried = sorted(families)
    capabilities = b"".join(struct.pack("!BBHBB", CAPABILITY_MULTIPROTOCOL, 4, 1 if family == 4 else 2, 0, 1) for family in carried)
    if len(carried) > 1:
        capabilities += struct.pack("!BBHHH", CAPABILITY_NEXT_HOP, 6, 1, 1, 2)
    capabilities += struct.pack("!BBI", CAPABILITY_FOUR_OCTETS, 4, asn) + bytes([CAPABILITY_ROUTE_REFRESH, 0])
    if role is not None:
        capabilities += bytes([CAPABILITY_ROLE, 1, role])
    if several:
        paths = b"".join(struct.pack("!HBB", 1 if family == 4 else 2, 1, several) for family in carried)
        capabilities += bytes([CAPABILITY_ADD_PATH, len(paths)]) + paths
    options = bytes([2, len(capabilities)]) + capabilities
    head = struct.pack("!BHH4sB", 4, asn if asn < 65536 else AS_TRANS, hold_time_seconds, router_id.packed, len(options))
    return message(OPEN, head + options)


def opened(body: bytes) -> Opened:
    """Raises Malformed."""
    try:
        _, asn, hold, router_id, size = struct.unpack("!BHH4sB", body[:10])
        families: set[Family] = set()
        role: int | None = None
        several: dict[Family, int] = {}
        options = body[10 : 10 + size]
        while options:
            kind, length = options[0], options[1]
            value, options = options[2 : 2 + length], options[2 + length :]
            while kind == 2 and value:
                code, octets = value[0], value[1]
                what, value = value[2 : 2 + octets], value[2 + octets :]
                if code == CAPABILITY_MULTIPROTOCOL and what[3] == 1:
                    families.add(4 if what[1] == 1 else 6)
                elif code == CAPABILITY_FOUR_OCTETS:
                    asn = struct.unpack("!I", what)[0]
                elif code == CAPABILITY_ROLE:
                    role = what[0]
                elif code == CAPABILITY_ADD_PATH:
                    for afi, safi, mode in struct.iter_unpack("!HBB", what):
                        if afi in (1, 2) and safi == 1 and mode in (TAKES, SENDS, TAKES | SENDS):  # any other is passed over (RFC 7911, 4)
                            several[4 if afi == 1 else 6] = mode
    except (struct.error, IndexError) as error:
        raise Malformed(f"an OPEN: {error}") from None
    return Opened(asn, hold, IPv4Address(router_id), frozenset(families), role, several)


# --- UPDATE -----------------------------------------------------------------------------------------------------------


class Attributes(NamedTuple):
    """The attributes of an UPDATE, and what it carries of IPv6 (whose prefixes stand among the attributes)."""

    path: tuple[Segment, ...] = ()
    next_hop: Address | None = None
    standard: frozenset[tuple[int, int]] = frozenset()
    extended: frozenset[int] = frozenset()
    large: frozenset[tuple[int, int, int]] = frozenset()
    med: int | None = None
    otc: int | None = None
    origin: int = 0

    @classmethod
    def of(cls, route: Route) -> Attributes:
        return cls(route.path, route.next_hop, route.standard, route.extended, route.large, route.med, route.otc, route.origin)

    def route(self, prefix: Prefix) -> Route:
        if self.next_hop is None:
            raise Malformed(f"{prefix} without a next hop")
        return Route(prefix, self.path, self.next_hop, self.standard, self.extended, self.large, self.med, self.otc, self.origin)


class Path(NamedTuple):
    """One of several paths to a prefix, by the identifier that its sender gave it (RFC 7911, 3)."""

    prefix: Prefix
    number: int


class Update(NamedTuple):
    """What an UPDATE says; of families with path identifiers, in paths."""

    withdrawn: tuple[Prefix, ...]
    reached: tuple[Prefix, ...]
    attributes: Attributes
    withdrawn_paths: tuple[Path, ...] = ()
    reached_paths: tuple[Path, ...] = ()


def _attribute(flags: int, code: int, value: bytes) -> bytes:
    return struct.pack("!BBH", flags | 0x10, code, len(value)) + value


def _written(prefix: Prefix, number: int | None) -> bytes:
    octets = (prefix.length + 7) // 8
    plain = bytes([prefix.length]) + (prefix.address >> (prefix.bits - 8 * octets)).to_bytes(octets, "big")
    return plain if number is None else number.to_bytes(NUMBER_OCTETS, "big") + plain


def _prefixes(data: bytes, family: Family) -> tuple[Prefix, ...]:
    found: list[Prefix] = []
    at, width = 0, 32 if family == 4 else 128
    while at < len(data):
        length = data[at]
        octets = (length + 7) // 8
        if length > width or at + 1 + octets > len(data):
            raise Malformed("a prefix that does not end")
        found.append(Prefix(family, int.from_bytes(data[at + 1 : at + 1 + octets], "big") << (width - 8 * octets), length))
        at += 1 + octets
    return tuple(found)


def _paths(data: bytes, family: Family) -> tuple[Path, ...]:
    """Prefixes with path identifiers."""
    found: list[Path] = []
    at = 0
    while at < len(data):
        begins = at + NUMBER_OCTETS
        if begins >= len(data):
            raise Malformed("a path identifier without a prefix")
        ends = begins + 1 + (data[begins] + 7) // 8
        [prefix] = _prefixes(data[begins:ends], family)
        found.append(Path(prefix, int.from_bytes(data[at:begins], "big")))
        at = ends
    return tuple(found)


def announcing(route: Route, prefixes: Iterable[Prefix] = (), number: int | None = None) -> bytes:
    """UPDATE messages that announce `route`; with `prefixes`, those instead of its own, as many messages as they need. `number` is the path identifier,
    where ADD-PATH is agreed on."""
    segments = b""
    for run in _runs(route.path):
        asns = sorted(run) if isinstance(run, frozenset) else run
        segments += bytes([1 if isinstance(run, frozenset) else 2, len(asns)]) + b"".join(struct.pack("!I", asn) for asn in asns)
    shared = _attribute(0x40, ORIGIN, bytes([route.origin])) + _attribute(0x40, AS_PATH, segments)
    if route.med is not None:
        shared += _attribute(0x80, MED, struct.pack("!I", route.med))
    if route.standard:
        shared += _attribute(0xC0, STANDARD, b"".join(struct.pack("!HH", *each) for each in sorted(route.standard)))
    if route.extended:
        shared += _attribute(0xC0, EXTENDED, b"".join(struct.pack("!Q", each) for each in sorted(route.extended)))
    if route.large:
        shared += _attribute(0xC0, LARGE, b"".join(struct.pack("!III", *each) for each in sorted(route.large)))
    if route.otc is not None:
        shared += _attribute(0xC0, OTC, struct.pack("!I", route.otc))
    written = [_written(each, number) for each in prefixes or (route.prefix,)]
    room = MESSAGE_OCTETS_MAX - HEADER_OCTETS - len(shared) - 64
    if room < 17 + NUMBER_OCTETS:
        raise Malformed(f"{route.prefix}: its attributes are longer than a message may be")
    messages = b""
    while written:
        size = count = 0
        while count < len(written) and size + len(written[count]) <= room:
            size, count = size + len(written[count]), count + 1
        part, written = b"".join(written[:count]), written[count:]
        hop = route.next_hop.packed
        if route.next_hop.version == 4:
            attributes = shared + _attribute(0x40, NEXT_HOP, hop)
            messages += message(UPDATE, struct.pack("!HH", 0, len(attributes)) + attributes + part)
        else:
            attributes = shared + _attribute(
                0x80, MP_REACH, struct.pack("!HBB", 1 if route.prefix.family == 4 else 2, 1, len(hop)) + hop + b"\0" + part
            )
            messages += message(UPDATE, struct.pack("!HH", 0, len(attributes)) + attributes)
    return messages


def _runs(path: tuple[Segment, ...]) -> Iterator[list[int] | frozenset[int]]:
    """A path as segments of at most 255 (RFC 4271, 4.3)."""
    sequence: list[int] = []
    for each in path:
        if isinstance(each, frozenset) or len(sequence) == 255:
            if sequence:
                yield sequence
            sequence = []
        if isinstance(each, frozenset):
            yield each
        else:
            sequence.append(each)
    if sequence:
        yield sequence


def withdrawing(prefixes: Iterable[Prefix], number: int | None = None) -> bytes:
    """UPDATE messages that withdraw `prefixes`, or of each the path with this `number`."""
    messages = b""
    for prefix in prefixes:
        data = _written(prefix, number)
        if prefix.family == 4:
            messages += message(UPDATE, struct.pack("!H", len(data)) + data + b"\0\0")
        else:
            attributes = _attribute(0x80, MP_UNREACH, struct.pack("!HB", 2, 1) + data)
            messages += message(UPDATE, struct.pack("!HH", 0, len(attributes)) + attributes)
    return messages


def updated(body: bytes, numbered: Container[Family] = ()) -> Update:
    """What an UPDATE says; in `numbered` families each prefix comes with a path identifier. Raises Malformed."""
    if not numbered:
        return Update(*_updated(body, _prefixes))

    def reading(data: bytes, family: Family) -> tuple[Prefix | Path, ...]:
        return _paths(data, family) if family in numbered else _prefixes(data, family)

    withdrawn, reached, attributes = _updated(body, reading)
    return Update(
        tuple(each for each in withdrawn if isinstance(each, Prefix)),
        tuple(each for each in reached if isinstance(each, Prefix)),
        attributes,
        tuple(each for each in withdrawn if isinstance(each, Path)),
        tuple(each for each in reached if isinstance(each, Path)),
    )


T = TypeVar("T")
Reading = Callable[[bytes, Family], tuple[T, ...]]
"""what stands in a field of prefixes"""


def _updated(body: bytes, reading: Reading[T]) -> tuple[tuple[T, ...], tuple[T, ...], Attributes]:
    """(withdrawn, reached, attributes). Raises Malformed."""
    try:
        size = body[0] << 8 | body[1]
        withdrawn = reading(body[2 : 2 + size], 4) if size else ()
        start = 4 + size
        length = body[start - 2] << 8 | body[start - 1]
        attributes, unreached, reached = _read(body[start : start + length], reading)
        reached += reading(body[start + length :], 4)
    except (struct.error, IndexError, ValueError) as error:
        raise Malformed(f"an UPDATE: {error}") from None
    return withdrawn + unreached, reached, attributes


def _read(data: bytes, reading: Reading[T]) -> tuple[Attributes, tuple[T, ...], tuple[T, ...]]:
    """(attributes, prefixes withdrawn among them, prefixes reached)."""
    shared: list[bytes] = []
    unreached: tuple[T, ...] = ()
    reached: tuple[T, ...] = ()
    hop = b""
    at = 0
    while at < len(data):
        flags, code = data[at], data[at + 1]
        length, skip = (data[at + 2] << 8 | data[at + 3], 4) if flags & 0x10 else (data[at + 2], 3)
        value = data[at + skip : at + skip + length]
        if code == MP_REACH:
            hop = value[4 : 4 + value[3]]
            reached = reading(value[5 + value[3] :], 4 if value[1] == 1 else 6)
        elif code == MP_UNREACH:
            unreached = reading(value[3:], 4 if value[1] == 1 else 6)
        else:
            shared.append(data[at : at + skip + length])
        at += skip + length
    return _attributes(b"".join(shared), hop[:16] if len(hop) > 4 else hop), unreached, reached


@lru_cache(maxsize=1 << 16)
def _attributes(data: bytes, hop: bytes) -> Attributes:
    found = Attributes(next_hop=IPv6Address(hop) if len(hop) == 16 else IPv4Address(hop) if hop else None)
    at = 0
    while at < len(data):
        flags, code = data[at], data[at + 1]
        length, skip = (data[at + 2] << 8 | data[at + 3], 4) if flags & 0x10 else (data[at + 2], 3)
        value = data[at + skip : at + skip + length]
        at += skip + length
        if code == ORIGIN:
            found = found._replace(origin=value[0])
        elif code == AS_PATH:
            found = found._replace(path=tuple(_path(value)))
        elif code == NEXT_HOP:
            found = found._replace(next_hop=IPv4Address(value))
        elif code == MED:
            found = found._replace(med=struct.unpack("!I", value)[0])
        elif code == STANDARD:
            found = found._replace(standard=frozenset(struct.iter_unpack("!HH", value)))
        elif code == EXTENDED:
            found = found._replace(extended=frozenset(each for (each,) in struct.iter_unpack("!Q", value)))
        elif code == LARGE:
            found = found._replace(large=frozenset(struct.iter_unpack("!III", value)))
        elif code == OTC:
            found = found._replace(otc=struct.unpack("!I", value)[0])
    return found


def _path(value: bytes) -> Iterator[Segment]:
    while value:
        asns = struct.unpack(f"!{value[1]}I", value[2 : 2 + 4 * value[1]])
        if value[0] == 1:
            yield frozenset(asns)
        else:
            yield from asns
        value = value[2 + 4 * value[1] :]
