"""PDUs: the words that a router and a cache exchange (RFC 6810, RFC 8210, draft-ietf-sidrops-8210bis-25).

Every PDU begins with version, type, two octets that mean something else in each type, and its length. A PDU is a value here;
`encode` spells it, `decode` reads one from the front of a buffer.

`decode` trusts no length. Each type has the lengths that it can have in each version, and nothing else is waited for: a peer
that claims four gigabytes is told so after eight octets. What is reserved must be zero when sent and is ignored when received
(8210bis, 5). A prefix with bits beyond its length, a maximum below the length and an ASPA that announces no provider are
corrupt, since to guess what was meant would be to invent a VRP.

Version 2 is a draft still, and its ASPA PDU has had several layouts under one version number. This is that of revision -25, which
FORT 1.7.0 sends and BIRD from 2.16 reads: the flags stand in the header, there is no address family and no count of providers.
StayRTR 0.5.1 calls revision -10 version 2; that is another protocol.

Nothing here knows what a PDU leads to; see `session`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

VERSIONS = (0, 1, 2)
HEADER = struct.Struct(">BBHI")
PDU_OCTETS_MAX = 65_535  # 8210bis, 5.1
SKI_OCTETS = 20
PROVIDERS_MAX = (PDU_OCTETS_MAX - 12) // 4


class PduType(IntEnum):
    """RFC 8210, 14; ASPA: 8210bis, 14."""

    SERIAL_NOTIFY = 0
    SERIAL_QUERY = 1
    RESET_QUERY = 2
    CACHE_RESPONSE = 3
    IPV4_PREFIX = 4
    IPV6_PREFIX = 6
    END_OF_DATA = 7
    CACHE_RESET = 8
    ROUTER_KEY = 9
    ERROR_REPORT = 10
    ASPA = 11


class ErrorCode(IntEnum):
    """RFC 8210, 12; 9 to 11: 8210bis, 12. All but NO_DATA_AVAILABLE end the session."""

    CORRUPT_DATA = 0
    INTERNAL_ERROR = 1
    NO_DATA_AVAILABLE = 2
    INVALID_REQUEST = 3
    UNSUPPORTED_VERSION = 4
    UNSUPPORTED_PDU_TYPE = 5
    WITHDRAWAL_OF_UNKNOWN = 6
    DUPLICATE_ANNOUNCEMENT = 7
    UNEXPECTED_VERSION = 8  # not in version 0
    ASPA_PROVIDER_LIST = 9  # from version 2
    TRANSPORT_FAILED = 10
    ORDERING = 11


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds: how often a router asks, how soon it asks again after a failure, how long it keeps data without an answer (RFC 8210, 6)."""

    refresh_seconds: int = 3600
    retry_seconds: int = 600
    expire_seconds: int = 7200


# RFC 8210, 6: the least and the most of each.
REFRESH_RANGE, RETRY_RANGE, EXPIRE_RANGE = (1, 86_400), (1, 7_200), (600, 172_800)


@dataclass(frozen=True, slots=True)
class SerialNotify:
    version: int
    session: int
    serial: int


@dataclass(frozen=True, slots=True)
class SerialQuery:
    version: int
    session: int
    serial: int


@dataclass(frozen=True, slots=True)
class ResetQuery:
    version: int


@dataclass(frozen=True, slots=True)
class CacheResponse:
    version: int
    session: int


@dataclass(frozen=True, slots=True)
class Prefix:
    """One VRP. `address` has 4 octets or 16, and says the family with that."""

    version: int
    announce: bool
    address: bytes
    length: int
    length_max: int
    asn: int


@dataclass(frozen=True, slots=True)
class EndOfData:
    """`intervals` is None in version 0, which has none."""

    version: int
    session: int
    serial: int
    intervals: Intervals | None


@dataclass(frozen=True, slots=True)
class CacheReset:
    version: int


@dataclass(frozen=True, slots=True)
class RouterKey:
    """A BGPsec router's key; `spki` is its SubjectPublicKeyInfo in DER."""

    version: int
    announce: bool
    ski: bytes
    asn: int
    spki: bytes


@dataclass(frozen=True, slots=True)
class Aspa:
    """All providers of a customer, ascending; an announcement replaces, a withdrawal has none (8210bis, 5.12)."""

    version: int
    announce: bool
    customer: int
    providers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """`culprit` is the PDU that was at fault, or as much of it as was received; empty when none was."""

    version: int
    code: int
    culprit: bytes
    text: str


Pdu = SerialNotify | SerialQuery | ResetQuery | CacheResponse | Prefix | EndOfData | CacheReset | RouterKey | Aspa | ErrorReport


class Malformed(Exception):
    """The octets at the front of the buffer are no PDU; there is no way to tell where the next one begins."""

    def __init__(self, code: ErrorCode, text: str, culprit: bytes) -> None:
        super().__init__(text)
        self.code, self.text, self.culprit = code, text, culprit


# type → the least and the most octets that one can have, by version. A type without a row for a version does not exist there.
_EVERYWHERE: dict[PduType, tuple[int, int]] = {
    PduType.SERIAL_NOTIFY: (12, 12),
    PduType.SERIAL_QUERY: (12, 12),
    PduType.RESET_QUERY: (8, 8),
    PduType.CACHE_RESPONSE: (8, 8),
    PduType.IPV4_PREFIX: (20, 20),
    PduType.IPV6_PREFIX: (32, 32),
    PduType.CACHE_RESET: (8, 8),
    PduType.ERROR_REPORT: (16, PDU_OCTETS_MAX),
}
LENGTHS: dict[int, dict[PduType, tuple[int, int]]] = {
    0: {**_EVERYWHERE, PduType.END_OF_DATA: (12, 12)},
    1: {**_EVERYWHERE, PduType.END_OF_DATA: (24, 24), PduType.ROUTER_KEY: (33, PDU_OCTETS_MAX)},
    2: {**_EVERYWHERE, PduType.END_OF_DATA: (24, 24), PduType.ROUTER_KEY: (33, PDU_OCTETS_MAX), PduType.ASPA: (12, PDU_OCTETS_MAX)},
}


def encode(pdu: Pdu) -> bytes:
    """The octets of `pdu`. Raises ValueError for one that its version does not have, or that is too long."""
    kind, middle, body = _SPELLED[type(pdu)](pdu)
    length = HEADER.size + len(body)
    least, most = LENGTHS[pdu.version].get(kind, (1, 0))
    if not least <= length <= most:
        raise ValueError(f"no {kind.name} of {length} octets in version {pdu.version}")
    return HEADER.pack(pdu.version, kind, middle, length) + body


def decode(buffer: bytes | bytearray | memoryview) -> tuple[Pdu, int] | None:
    """The PDU at the front of `buffer` and its length; None while it is not all there. Raises Malformed.

    Of an Error Report the version is not judged, as a peer that speaks another one reports with its own (RFC 8210, 7).
    """
    if len(buffer) < HEADER.size:
        return None
    version, number, middle, length = HEADER.unpack_from(buffer)
    head = bytes(buffer[: HEADER.size])
    try:
        kind = PduType(number)
    except ValueError:
        raise Malformed(ErrorCode.UNSUPPORTED_PDU_TYPE, f"there is no PDU type {number}", head) from None
    known = LENGTHS.get(version, LENGTHS[VERSIONS[-1]])
    if kind not in known:
        raise Malformed(ErrorCode.UNSUPPORTED_PDU_TYPE, f"version {version} has no {kind.name} PDU", head)
    least, most = known[kind]
    if not least <= length <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise Malformed(ErrorCode.CORRUPT_DATA, f"{kind.name} with a length of {length} instead of {wanted}", head)
    if len(buffer) < length:
        return None
    whole = bytes(buffer[:length])
    return _READ[kind](version, middle, whole), length


def _prefix(pdu: Prefix) -> tuple[PduType, int, bytes]:
    kind = PduType.IPV4_PREFIX if len(pdu.address) == 4 else PduType.IPV6_PREFIX
    return kind, 0, struct.pack(">BBBx", pdu.announce, pdu.length, pdu.length_max) + pdu.address + struct.pack(">I", pdu.asn)


def _end_of_data(pdu: EndOfData) -> tuple[PduType, int, bytes]:
    body = struct.pack(">I", pdu.serial)
    if pdu.intervals is not None:
        body += struct.pack(">III", pdu.intervals.refresh_seconds, pdu.intervals.retry_seconds, pdu.intervals.expire_seconds)
    return PduType.END_OF_DATA, pdu.session, body


def _error_report(pdu: ErrorReport) -> tuple[PduType, int, bytes]:
    text = pdu.text.encode()
    body = struct.pack(">I", len(pdu.culprit)) + pdu.culprit + struct.pack(">I", len(text)) + text
    return PduType.ERROR_REPORT, pdu.code, body


_SPELLED: dict[type[Pdu], Callable[..., tuple[PduType, int, bytes]]] = {
    SerialNotify: lambda pdu: (PduType.SERIAL_NOTIFY, pdu.session, struct.pack(">I", pdu.serial)),
    SerialQuery: lambda pdu: (PduType.SERIAL_QUERY, pdu.session, struct.pack(">I", pdu.serial)),
    ResetQuery: lambda pdu: (PduType.RESET_QUERY, 0, b""),
    CacheResponse: lambda pdu: (PduType.CACHE_RESPONSE, pdu.session, b""),
    Prefix: _prefix,
    EndOfData: _end_of_data,
    CacheReset: lambda pdu: (PduType.CACHE_RESET, 0, b""),
    RouterKey: lambda pdu: (PduType.ROUTER_KEY, pdu.announce << 8, pdu.ski + struct.pack(">I", pdu.asn) + pdu.spki),
    Aspa: lambda pdu: (PduType.ASPA, pdu.announce << 8, struct.pack(f">{1 + len(pdu.providers)}I", pdu.customer, *pdu.providers)),
    ErrorReport: _error_report,
}


def _number(whole: bytes, at: int) -> int:
    return int.from_bytes(whole[at : at + 4], "big")


def _read_prefix(version: int, _: int, whole: bytes) -> Prefix:
    flags, length, length_max = whole[8:11]
    address = whole[12:-4]
    bits = len(address) * 8
    if not length <= length_max <= bits:
        raise Malformed(ErrorCode.CORRUPT_DATA, f"a prefix of length {length} to {length_max}", whole)
    if int.from_bytes(address, "big") & ((1 << (bits - length)) - 1):
        raise Malformed(ErrorCode.CORRUPT_DATA, f"a prefix with bits beyond its length of {length}", whole)
    return Prefix(version, bool(flags & 1), address, length, length_max, _number(whole, len(whole) - 4))


def _read_end_of_data(version: int, session: int, whole: bytes) -> EndOfData:
    intervals = Intervals(_number(whole, 12), _number(whole, 16), _number(whole, 20)) if version else None
    return EndOfData(version, session, _number(whole, 8), intervals)


def _read_router_key(version: int, middle: int, whole: bytes) -> RouterKey:
    return RouterKey(version, bool(middle >> 8 & 1), whole[8:28], _number(whole, 28), whole[32:])


def _read_aspa(version: int, middle: int, whole: bytes) -> Aspa:
    if len(whole) % 4:
        raise Malformed(ErrorCode.CORRUPT_DATA, f"an ASPA with a length of {len(whole)}", whole)
    customer, *providers = struct.unpack(f">{len(whole) // 4 - 2}I", whole[8:])
    announce = bool(middle >> 8 & 1)
    if announce != bool(providers):
        text = "an ASPA announced without providers" if announce else "an ASPA withdrawn with providers"
        raise Malformed(ErrorCode.ASPA_PROVIDER_LIST, text, whole)
    if any(one >= other for one, other in pairwise(providers)) or (len(providers) > 1 and providers[0] == 0):
        raise Malformed(ErrorCode.ASPA_PROVIDER_LIST, "ASPA providers that do not ascend, or AS0 beside others", whole)
    return Aspa(version, announce, customer, tuple(providers))


def _read_error_report(version: int, code: int, whole: bytes) -> ErrorReport:
    culprit_octets = _number(whole, 8)
    text_at = 12 + culprit_octets
    if text_at + 4 > len(whole) or text_at + 4 + _number(whole, text_at) != len(whole):
        raise Malformed(ErrorCode.CORRUPT_DATA, "an Error Report whose parts do not add up to its length", whole)
    return ErrorReport(version, code, whole[12:text_at], whole[text_at + 4 :].decode("utf-8", "replace"))


_READ: dict[PduType, Callable[[int, int, bytes], Pdu]] = {
    PduType.SERIAL_NOTIFY: lambda version, session, whole: SerialNotify(version, session, _number(whole, 8)),
    PduType.SERIAL_QUERY: lambda version, session, whole: SerialQuery(version, session, _number(whole, 8)),
    PduType.RESET_QUERY: lambda version, _, whole: ResetQuery(version),
    PduType.CACHE_RESPONSE: lambda version, session, whole: CacheResponse(version, session),
    PduType.IPV4_PREFIX: _read_prefix,
    PduType.IPV6_PREFIX: _read_prefix,
    PduType.END_OF_DATA: _read_end_of_data,
    PduType.CACHE_RESET: lambda version, _, whole: CacheReset(version),
    PduType.ROUTER_KEY: _read_router_key,
    PduType.ERROR_REPORT: _read_error_report,
    PduType.ASPA: _read_aspa,
}
