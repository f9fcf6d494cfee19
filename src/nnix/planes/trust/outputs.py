"""What validators write, read into payloads; and the one document that is served.

rpki-client (-c -j) and FORT both write their VRPs as CSV, a line each, `AS13335,1.0.0.0/24,24[,anchor,expires]`. 723,000 lines are read column by
column with NumPy, some twenty times as fast as line by line. What a line holds is checked wherever a number is made of it: a document with one line that is no VRP
is refused whole, since a validator that writes nonsense is not to be believed in the rest.

ASPAs and router keys are few, and stand in JSON: rpki-client 8.2 calls ASPAs `provider_authorizations`, by address family; since 8.5 they are
`aspas`. FORT 1.5 and 1.6 know no ASPA.

What is served is the JSON that rpki-client and Routinator write (`roas`, `aspas`, `bgpsec_keys`), because everything that takes VRPs reads it:
`planes.routing`, StayRTR, OpenBGPD's tools. It carries no times but that of the validation, so that the same conclusions are the same lines.
"""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnix.planes.trust.payloads import HIGH, LOW, REST, Indices, Numbers, Payloads, RouterKey, canonical

ANCHORS_MAX = 64
ROUTER_KEY_OCTETS_MAX = 4096
KEY_ID = re.compile(r"[0-9A-Fa-f]{40}")
ALL_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
ZEROS, NIBBLES, HIGH_BITS, ABOVE_NINE = (np.uint64(each * 0x0101010101010101) for each in (0x30, 0x0F, 0x80, 0x46))
ROWS_AT_ONCE = 20_000


class Unreadable(ValueError):
    """A validator's output that is not what it should be. The message says where."""


@dataclass(frozen=True)
class Found:
    """VRPs below one trust anchor. `expires`: seconds since 1970 for each row, 0 where the validator does not say."""

    rows: Numbers
    expires: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Concluded:
    """What one validator concluded: VRPs by trust anchor; ASPAs and router keys of all."""

    anchors: Mapping[str, Found]
    aspas: Mapping[int, frozenset[int]] = field(default_factory=dict)
    router_keys: frozenset[RouterKey] = frozenset()


def csv_vrps(content: bytes, columns: int) -> tuple[Numbers, NDArray[np.int64], list[str], Indices]:
    """A CSV with a head line and `columns` columns: rows as they stand; the fifth column (0 where there is none); the names in the fourth, and
    which of them each row has. Raises Unreadable."""
    head = content.find(b"\n") + 1
    if not head or not content.startswith(b"ASN,"):
        raise Unreadable("no head line: ASN,…")
    if len(content) == head:
        return np.empty((0, 3), dtype=np.uint64), np.empty(0, dtype=np.int64), [], np.empty(0, dtype=np.intp)
    if not content.endswith(b"\n"):
        raise Unreadable("the last line has no end")
    text = content[head:] + bytes(8)
    data, windows = np.frombuffer(text, dtype=np.uint8, count=len(text) - 8), _windows(text)
    ends = np.flatnonzero(data == 0x0A)
    starts = np.concatenate([[0], ends[:-1] + 1])
    every_comma = np.flatnonzero(data == 0x2C)
    if len(every_comma) != (columns - 1) * len(ends):
        raise Unreadable(f"not every line has {columns} columns")
    commas = every_comma.reshape(-1, columns - 1)
    if (commas[:, 0] < starts).any() or (commas[:, -1] > ends).any():
        raise Unreadable(f"not every line has {columns} columns")
    if (data[starts] != 0x41).any() or (data[starts + 1] != 0x53).any():
        raise Unreadable("a line does not begin with AS")
    asn = _numbers(windows, starts + 2, commas[:, 0], 10)
    if (asn > 0xFFFFFFFF).any():
        raise Unreadable("an AS number beyond 32 bits")
    longest = _numbers(windows, commas[:, 1] + 1, commas[:, 2] if columns > 3 else ends, 3)
    slashes = np.flatnonzero(data == 0x2F)
    if len(slashes) != len(ends) or (slashes < commas[:, 0]).any() or (slashes > commas[:, 1]).any():
        raise Unreadable("not every line has one prefix")
    length = _numbers(windows, slashes + 1, commas[:, 1], 3)
    is_v6 = np.zeros(len(ends), dtype=bool)
    is_v6[np.searchsorted(ends, np.flatnonzero(data == 0x3A))] = True
    rows = np.empty((len(ends), 3), dtype=np.uint64)
    dots = np.flatnonzero(data == 0x2E)
    if len(dots) != 3 * int((~is_v6).sum()):  # ::ffff:192.0.2.0/120 has some as well
        dots = dots[~is_v6[np.searchsorted(ends, dots)]]
    _addresses_v4(dots, windows, np.flatnonzero(~is_v6), commas[:, 0] + 1, slashes, rows)
    _addresses_v6(text, np.flatnonzero(is_v6), commas[:, 0] + 1, slashes, rows)
    family = np.where(is_v6, 6, 4).astype(np.uint64)
    most = np.where(is_v6, 128, 32).astype(np.uint64)
    if ((length > longest) | (longest > most)).any():
        raise Unreadable("a maximum length that is none")
    if _host_bits(rows, length.astype(np.int64)).any():
        raise Unreadable("a prefix with bits beyond its length")
    rows[:, REST] = family << np.uint64(56) | length << np.uint64(48) | longest << np.uint64(40) | asn
    if columns < 5:
        return rows, np.zeros(len(ends), dtype=np.int64), [""], np.zeros(len(ends), dtype=np.intp)
    expires = _numbers(windows, commas[:, 3] + 1, ends, 11).astype(np.int64)
    return rows, expires, *_words(text, commas[:, 2] + 1, commas[:, 3])


def _windows(content: bytes) -> NDArray[np.uint64]:
    """The eight octets that begin at each octet of `content`, as one number, the first of them lowest. Eight more octets must follow."""
    return np.ndarray((len(content) - 8,), dtype="<u8", buffer=content, strides=(1,))


def _words(content: bytes, starts: Indices, ends: Indices) -> tuple[list[str], Indices]:
    """The different words between `starts` and `ends`, and which of them each is."""
    sizes = ends - starts
    if (sizes < 1).any() or (sizes > 63).any():
        raise Unreadable("a trust anchor without a name")
    windows = _windows(content)
    keys = [sizes.astype(np.uint64)]
    for offset in range(0, int(sizes.max()), 8):
        spare = np.clip(offset + 8 - sizes, 0, 8).astype(np.uint64) * np.uint64(8)
        kept = np.where(spare == 64, np.uint64(0), ALL_ONES >> np.minimum(spare, np.uint64(63)))
        keys.append(windows[np.minimum(starts + offset, len(windows) - 1)] & kept)
    which = np.full(len(starts), -1, dtype=np.intp)
    words: list[str] = []
    left = np.arange(len(starts))
    while left.size:  # they are few: each is met once, and then known by comparison
        if len(words) == ANCHORS_MAX:
            raise Unreadable(f"more than {ANCHORS_MAX} trust anchors")
        first = left[0]
        same = np.logical_and.reduce([key[left] == key[first] for key in keys])
        which[left[same]] = len(words)
        words.append(content[starts[first] : ends[first]].decode(errors="replace"))
        left = left[~same]
    return words, which


def _numbers(windows: NDArray[np.uint64], starts: Indices, ends: Indices, digits_max: int) -> Numbers:
    """Decimal numbers between `starts` and `ends`. Raises Unreadable for anything else, or for more digits."""
    sizes = ends - starts
    if (sizes < 1).any() or (sizes > digits_max).any():
        raise Unreadable(f"a number that has no digit, or more than {digits_max}")
    if digits_max <= 8:
        return _eight_digits(windows[starts], sizes)
    found = _eight_digits(windows[np.maximum(starts, ends - 8)], np.minimum(sizes, 8))
    long = np.flatnonzero(sizes > 8)
    found[long] += _eight_digits(windows[starts[long]], sizes[long] - 8) * np.uint64(10**8)
    return found


def _eight_digits(octets: Numbers, sizes: Indices) -> Numbers:
    """The number that the first `sizes` octets spell, at most eight: digits are summed in pairs, then fours, then all at once."""
    shift = (8 - sizes).astype(np.uint64) * np.uint64(8)
    digits = (octets << shift) | (ZEROS & ~(ALL_ONES << shift))
    if (((digits + ABOVE_NINE) | (digits - ZEROS)) & HIGH_BITS).any():
        raise Unreadable("a number with something else than digits")
    digits = (digits & NIBBLES) * np.uint64(2561) >> np.uint64(8)
    digits = (digits & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
    summed: Numbers = (digits & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> np.uint64(32)
    return summed


def _addresses_v4(every_dot: Indices, windows: NDArray[np.uint64], lines: Indices, starts: Indices, ends: Indices, rows: Numbers) -> None:
    if len(every_dot) != 3 * len(lines):
        raise Unreadable("an IPv4 address that has not three dots")
    dots = every_dot.reshape(-1, 3)
    starts, ends = starts[lines], ends[lines]
    if len(lines) and ((dots[:, 0] < starts) | (dots[:, 2] > ends)).any():
        raise Unreadable("an IPv4 address that has not three dots")
    address = np.zeros(len(lines), dtype=np.uint64)
    for begin, end in zip((starts, *(dots[:, k] + 1 for k in range(3))), (*(dots[:, k] for k in range(3)), ends), strict=True):
        octet = _numbers(windows, begin, end, 3)
        if (octet > 255).any():
            raise Unreadable("an IPv4 address with an octet above 255")
        address = address << np.uint64(8) | octet
    rows[lines, HIGH], rows[lines, LOW] = address << np.uint64(32), 0


def _addresses_v6(content: bytes, lines: Indices, starts: Indices, ends: Indices, rows: Numbers) -> None:
    pton, v6 = socket.inet_pton, socket.AF_INET6
    try:
        packed = b"".join([pton(v6, content[a:b].decode()) for a, b in zip(starts[lines].tolist(), ends[lines].tolist(), strict=True)])
    except (OSError, ValueError):
        raise Unreadable("an IPv6 address that is none") from None
    rows[lines, :REST] = np.frombuffer(packed, dtype=">u8").reshape(-1, 2)


def _host_bits(rows: Numbers, length: NDArray[np.int64]) -> NDArray[np.bool_]:
    def beyond(column: NDArray[np.uint64], kept: NDArray[np.int64]) -> NDArray[np.bool_]:
        spare = (64 - np.clip(kept, 0, 64)).astype(np.uint64)
        mask = np.where(spare == 64, np.uint64(0xFFFFFFFFFFFFFFFF), (np.uint64(1) << np.minimum(spare, np.uint64(63))) - np.uint64(1))
        return np.asarray((column & mask) != 0)

    return beyond(rows[:, HIGH], length) | beyond(rows[:, LOW], length - 64)


def from_rpki_client(csv: bytes, document: bytes) -> Concluded:
    """Of the files `csv` and `json`. Raises Unreadable."""
    rows, expires, names, which = csv_vrps(csv, 5)
    anchors = {}
    for index, name in enumerate(names):
        mine = np.flatnonzero(which == index)
        ordered, order = canonical(rows[mine])
        anchors[name] = Found(ordered, expires[mine][order])
    tail = document.rfind(b'"bgpsec_keys"')
    if tail < 0:
        raise Unreadable("the JSON has no bgpsec_keys")
    try:
        found: dict[str, Any] = json.loads(b"{" + document[tail:], object_pairs_hook=each_once)
        keys = frozenset(RouterKey(_asn(each["asn"]), _key_id(each["ski"]), _public_key(each["pubkey"])) for each in found["bgpsec_keys"])
        listed = found.get("aspas")
        if listed is None:
            listed = [each for family in found.get("provider_authorizations", {}).values() for each in family]
        aspas: dict[int, frozenset[int]] = {}
        for each in listed:
            customer = _asn(each["customer_asid"])
            aspas[customer] = aspas.get(customer, frozenset()) | _providers(each["providers"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"the JSON cannot be read: {error}") from None
    return Concluded(anchors, aspas, keys)


def from_fort(outputs: Mapping[str, tuple[bytes, bytes]]) -> Concluded:
    """By trust anchor, of what --output.roa and --output.bgpsec name, in CSV. Raises Unreadable."""
    anchors, keys = {}, set()
    for name, (csv, router_csv) in outputs.items():
        rows, expires, _, _ = csv_vrps(csv, 3)
        ordered, order = canonical(rows)
        anchors[name] = Found(ordered, expires[order])
        for line in router_csv.decode(errors="replace").splitlines()[1:]:
            parts = line.split(",")
            try:
                asn, key_id = _asn(int(_digits(parts[0].removeprefix("AS")))), _key_id(_octets(parts[1]).hex())
                keys.add(RouterKey(asn, key_id, _public_key(base64.b64encode(_octets(parts[2])).decode())))
            except (ValueError, IndexError):
                raise Unreadable(f"no router key: {line[:80]}") from None
    return Concluded(anchors, {}, frozenset(keys))


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. With a name twice it says two things, and readers differ in which of them they take (RFC 8259, 4). Raises ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object with a name twice")
    return found


def _providers(value: Any) -> frozenset[int]:
    """None at all is no ASPA (8210bis, 5.12; who has no provider names AS0). Raises ValueError."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"no list of providers: {value!r:.40}")
    return frozenset(map(_asn, value))


def _digits(text: str) -> str:
    """int() takes more for a number: 1_000, other alphabets' digits, blanks. Raises ValueError."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError("no digits")
    return text


def _asn(value: Any) -> int:
    """JSON has numbers that are no AS numbers, such as 1.5, 1e999 and true. Raises ValueError."""
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise ValueError(f"no AS number: {value!r:.40}")
    return value


def _key_id(value: Any) -> str:
    """Raises ValueError."""
    if not isinstance(value, str) or not KEY_ID.fullmatch(value):
        raise ValueError(f"no subject key identifier: {value!r:.40}")
    return value.upper()


def _public_key(value: Any) -> str:
    """Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"no public key: {value!r:.40}")
    if not 0 < len(base64.b64decode(value, validate=True)) <= ROUTER_KEY_OCTETS_MAX:
        raise ValueError(f"a public key that is empty, or has more than {ROUTER_KEY_OCTETS_MAX} octets")
    return value


def _octets(text: str) -> bytes:
    """FORT writes URL-safe base64 without its padding."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


# --- what is served ----------------------------------------------------------------------------------------------------


def served(payloads: Payloads, at: datetime) -> bytes:
    """The document that routing and routers are given, validated `at`; a line each."""
    roas = ",\n".join([*_spelled_v4(payloads.vrps[payloads.v4]), *_spelled_v6(payloads.vrps[payloads.v6])])
    aspas = ",\n".join(
        json.dumps({"customer_asid": customer, "providers": sorted(providers)}) for customer, providers in sorted(payloads.aspas.items())
    )
    keys = ",\n".join(json.dumps({"asn": each.asn, "ski": each.key_id, "pubkey": each.public_key}) for each in sorted(payloads.router_keys))
    head = json.dumps({"buildtime": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "vrps": len(payloads)})
    return f'{{"metadata": {head},\n"roas": [\n{roas}\n],\n"aspas": [\n{aspas}\n],\n"bgpsec_keys": [\n{keys}\n]}}\n'.encode()


def _spelled_v4(rows: Numbers) -> Iterator[str]:
    """Rows as JSON, many at once: one format string for all of them costs a fraction of one for each."""
    line = '{"asn": %d, "prefix": "%d.%d.%d.%d/%d", "maxLength": %d}'
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        high, rest = part[:, HIGH], part[:, REST]
        octets = [high >> np.uint64(shift) & np.uint64(255) for shift in (56, 48, 40, 32)]
        columns = [rest & np.uint64(0xFFFFFFFF), *octets, rest >> np.uint64(48) & np.uint64(255), rest >> np.uint64(40) & np.uint64(255)]
        yield ",\n".join([line] * len(part)) % tuple(np.column_stack(columns).ravel().tolist())


def _spelled_v6(rows: Numbers) -> Iterator[str]:
    ntop, v6 = socket.inet_ntop, socket.AF_INET6
    packed = rows[:, :REST].astype(">u8").tobytes()
    if len(rows):
        yield ",\n".join(
            [
                f'{{"asn": {rest & 0xFFFFFFFF}, "prefix": "{ntop(v6, packed[16 * index : 16 * index + 16])}/{rest >> 48 & 255}", '
                f'"maxLength": {rest >> 40 & 255}}}'
                for index, rest in enumerate(rows[:, REST].tolist())
            ]
        )
