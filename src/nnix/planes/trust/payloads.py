"""What a relying party concludes: VRPs, ASPAs and router keys, in one canonical form that can be compared, stored and named by a digest.

A VRP (RFC 6811, 2) says that an origin AS may announce a prefix and its more specifics down to a maximum length. Some 723,000 of them are
the whole world's, and two sets of that size are compared at every run, so they are held as one array of three 64-bit numbers a row:

    high, low    the prefix's address; an IPv4 address is the upper half of `high`, so that prefixes nest alike in both families
    rest         family 8 bits, length 8, maximum length 8, nothing 8, origin 32

Rows are sorted, IPv4 before IPv6, then by address, then by `rest`: within a family a prefix comes before everything inside it, and everything
inside it follows without a gap. Each row stands once. So equal sets are equal bytes, whoever computed them and in which order.

Deliberately not here: when a VRP expires and which trust anchor vouches for it. Both are told of a VRP and are no part of it: a certificate that
was renewed changes nothing that a router should hear of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Network = IPv4Network | IPv6Network
Numbers = NDArray[np.uint64]
Indices = NDArray[np.intp]

HIGH, LOW, REST = 0, 1, 2
FAMILY_SHIFT, LENGTH_SHIFT, LONGEST_SHIFT = np.uint64(56), np.uint64(48), np.uint64(40)
OCTET, ASN_MASK = np.uint64(0xFF), np.uint64(0xFFFFFFFF)
STRETCH, STEPS_MAX = 2048, 5_000
MAGIC = b"nnix payloads 1\n"


class Vrp(NamedTuple):
    """`origin` may announce `prefix` and its more specifics up to `length_max`."""

    prefix: Network
    length_max: int
    origin: int

    def __str__(self) -> str:
        return (
            f"{self.prefix}-{self.length_max} AS{self.origin}"
            if self.length_max != self.prefix.prefixlen
            else f"{self.prefix} AS{self.origin}"
        )


class RouterKey(NamedTuple):
    """A BGPsec router key (RFC 8209): subject key identifier in upper-case hexadecimal, public key in base64."""

    asn: int
    key_id: str
    public_key: str


class Damaged(ValueError):
    """Bytes that are no payloads of ours. The message says why."""


def rest_of(family: int, length: int, longest: int, origin: int) -> int:
    return family << 56 | length << 48 | longest << 40 | origin


def row_of(vrp: Vrp) -> tuple[int, int, int]:
    """(high, low, rest) of one VRP."""
    address = int(vrp.prefix.network_address)
    high, low = (address << 32, 0) if vrp.prefix.version == 4 else (address >> 64, address & 0xFFFFFFFFFFFFFFFF)
    return high, low, rest_of(vrp.prefix.version, vrp.prefix.prefixlen, vrp.length_max, vrp.origin)


def rows_of(vrps: Iterable[Vrp]) -> Numbers:
    """Canonical rows of `vrps`."""
    found = np.array([row_of(each) for each in vrps], dtype=np.uint64).reshape(-1, 3)
    return canonical(found)[0]


def vrp_of(row: Iterable[int]) -> Vrp:
    """The VRP that a row stands for."""
    high, low, rest = map(int, row)
    length, longest, origin = rest >> 48 & 0xFF, rest >> 40 & 0xFF, rest & 0xFFFFFFFF
    prefix: Network = IPv4Network((high >> 32, length)) if rest >> 56 == 4 else IPv6Network((high << 64 | low, length))
    return Vrp(prefix, longest, origin)


def canonical(rows: Numbers) -> tuple[Numbers, Indices]:
    """`rows` sorted, each once; and which of the given rows each of them is (the first of equals)."""
    v6 = (rows[:, REST] >> FAMILY_SHIFT) == 6
    order = np.concatenate(
        [
            _sorted(rows, np.flatnonzero(~v6), (REST, HIGH)),
            _sorted(rows, np.flatnonzero(v6), (REST, LOW, HIGH)),
        ]
    )
    ordered = rows[order]
    fresh = np.ones(len(ordered), dtype=bool)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.ascontiguousarray(ordered[fresh]), order[fresh]


def _sorted(rows: Numbers, chosen: Indices, keys: tuple[int, ...]) -> Indices:
    part = rows[chosen]
    return chosen[np.lexsort([part[:, key] for key in keys])]


def both(a: Numbers, b: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For canonical `a` and `b`: which rows of `a` are in `b`, and which of `b` are in `a`."""
    in_a, in_b = np.ones(len(a), dtype=bool), np.ones(len(b), dtype=bool)
    i = j = steps = 0
    while i < len(a) and j < len(b) and steps <= STEPS_MAX:  # as a rule they hardly differ: go along both, a stretch at a time
        size = min(STRETCH, len(a) - i, len(b) - j)
        different = (a[i : i + size] != b[j : j + size]).any(axis=1)
        equal = int(different.argmax()) if different.any() else size
        i, j, steps = i + equal, j + equal, steps + (equal < size)
        if equal < size:
            if _order(a[i]) < _order(b[j]):
                in_a[i] = False
                i += 1
            else:
                in_b[j] = False
                j += 1
    if steps <= STEPS_MAX:
        in_a[i:] = in_b[j:] = False
        return in_a, in_b
    return _both_sorted(a, b)


def _order(row: Numbers) -> tuple[int, int, int, int]:
    high, low, rest = row.tolist()
    return rest >> 56, high, low, rest


def _both_sorted(a: Numbers, b: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The same for sets that differ much: sorted together, so that equals stand side by side."""
    merged = np.concatenate([a, b])
    v6 = (merged[:, REST] >> FAMILY_SHIFT) == 6
    in_a, in_b = np.zeros(len(a), dtype=bool), np.zeros(len(b), dtype=bool)
    for chosen, keys in ((np.flatnonzero(~v6), (REST, HIGH)), (np.flatnonzero(v6), (REST, LOW, HIGH))):
        order = _sorted(merged, chosen, keys)
        ordered = merged[order]
        twins = np.flatnonzero((ordered[1:] == ordered[:-1]).all(axis=1))
        first, second = order[twins], order[twins + 1]  # the sort is stable: of equals, the one of `a` comes first
        in_a[first] = True
        in_b[second - len(a)] = True
    return in_a, in_b


@dataclass(frozen=True)
class Payloads:
    """A canonical set. `aspas` maps a customer AS to its providers."""

    vrps: Numbers = field(default_factory=lambda: np.empty((0, 3), dtype=np.uint64))
    aspas: dict[int, frozenset[int]] = field(default_factory=dict)
    router_keys: frozenset[RouterKey] = frozenset()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Payloads) and self.digest == other.digest

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.vrps)

    def __iter__(self) -> Iterator[Vrp]:
        return map(vrp_of, self.vrps.tolist())

    @cached_property
    def _split(self) -> int:
        return int(np.searchsorted(self.vrps[:, REST] >> FAMILY_SHIFT, 6))

    @property
    def v4(self) -> slice:
        """Where the IPv4 rows stand."""
        return slice(0, self._split)

    @property
    def v6(self) -> slice:
        """Where the IPv6 rows stand."""
        return slice(self._split, None)

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it at all."""
        return not len(self.vrps) and not self.aspas and not self.router_keys

    @cached_property
    def content(self) -> bytes:
        """The canonical bytes: a line of JSON with ASPAs and router keys, then the rows, big-endian."""
        head = {
            "aspas": [[customer, sorted(providers)] for customer, providers in sorted(self.aspas.items())],
            "router_keys": [list(each) for each in sorted(self.router_keys)],
            "vrps": len(self.vrps),
        }
        return MAGIC + json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.vrps.astype(">u8").tobytes()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over `content`."""
        return hashlib.sha256(self.content).hexdigest()

    @classmethod
    def of(cls, content: bytes) -> Payloads:
        """Read canonical bytes back. Raises Damaged."""
        if not content.startswith(MAGIC):
            raise Damaged("these are no payloads")
        end = content.find(b"\n", len(MAGIC))
        try:
            head = json.loads(content[len(MAGIC) : end])
            rows = np.frombuffer(content, dtype=">u8", offset=end + 1).astype(np.uint64).reshape(-1, 3)
            found = cls(
                rows,
                {customer: frozenset(providers) for customer, providers in head["aspas"]},
                frozenset(RouterKey(*each) for each in head["router_keys"]),
            )
            if head["vrps"] != len(rows):
                raise ValueError(f"{len(rows)} rows instead of {head['vrps']}")
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"the payloads cannot be read: {error}") from None
        return found


# --- prefixes that overlap -----------------------------------------------------------------------------------------------


def _masks(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], Numbers, Numbers]:
    """`lengths` that occur, and for each what is left of `high` and of `low` in an address of that length."""
    whole = [((1 << 128) - 1) >> (128 - each) << (128 - each) for each in lengths.tolist()]
    high, low = ([each >> 64 for each in whole], [each & 0xFFFFFFFFFFFFFFFF for each in whole])
    return lengths, np.array(high, dtype=np.uint64), np.array(low, dtype=np.uint64)


class Table:
    """Canonical rows, asked which of them overlap a prefix. Within a family all that lies inside a prefix is one run of rows."""

    def __init__(self, rows: Numbers) -> None:
        self.rows = rows
        split = int(np.searchsorted(rows[:, REST] >> FAMILY_SHIFT, 6))
        self._spans = {4: (0, split), 6: (split, len(rows))}
        self._high = np.ascontiguousarray(rows[:, HIGH])
        self.lengths = (rows[:, REST] >> LENGTH_SHIFT & OCTET).astype(np.int64)
        self.longest = (rows[:, REST] >> LONGEST_SHIFT & OCTET).astype(np.int64)
        self.origins = (rows[:, REST] & ASN_MASK).astype(np.int64)
        self._masks = {family: _masks(np.unique(self.lengths[start:end])) for family, (start, end) in self._spans.items()}

    def _where(self, family: int, high: int, side: str) -> int:
        start, end = self._spans[family]
        return start + int(np.searchsorted(self._high[start:end], np.uint64(high), side=side))  # type: ignore[call-overload]

    def inside(self, family: int, high: int, low: int, length: int) -> Indices:
        """Rows whose prefix is that prefix or lies inside it."""
        if length <= (32 if family == 4 else 64):
            last = high | ((1 << (64 - length)) - 1)
            run = np.arange(self._where(family, high, "left"), self._where(family, last, "right"))
            return run[self.lengths[run] >= length]
        run = np.arange(self._where(family, high, "left"), self._where(family, high, "right"))
        span = 1 << (128 - length)
        lows = self.rows[run, LOW]
        inside: Indices = run[(self.lengths[run] >= length) & (lows >= np.uint64(low)) & (lows <= np.uint64(low + span - 1))]
        return inside

    def covering(self, family: int, high: int, low: int, length: int) -> Indices:
        """Rows whose prefix contains that prefix, itself not among them."""
        start, end = self._spans[family]
        lengths, high_masks, low_masks = self._masks[family]
        count = int(np.searchsorted(lengths, length))
        highs, lows = high_masks[:count] & np.uint64(high), low_masks[:count] & np.uint64(low)
        column = self._high[start:end]
        lefts, rights = np.searchsorted(column, highs, "left") + start, np.searchsorted(column, highs, "right") + start
        found = [np.empty(0, dtype=np.intp)]
        for each in np.flatnonzero(lefts < rights):
            run = np.arange(lefts[each], rights[each])
            found.append(run[(self.lengths[run] == lengths[each]) & (self.rows[run, LOW] == lows[each])])
        return np.concatenate(found)

    def overlapping(self, family: int, high: int, low: int, length: int) -> Indices:
        return np.concatenate([self.inside(family, high, low, length), self.covering(family, high, low, length)])


def prefix_of(row: Iterable[int]) -> tuple[int, int, int, int]:
    """(family, high, low, length) of a row: how a Table is asked."""
    high, low, rest = map(int, row)
    return rest >> 56, high, low, rest >> 48 & 0xFF


def key_of(prefix: Network) -> tuple[int, int, int, int]:
    """(family, high, low, length) of a prefix."""
    return prefix_of(row_of(Vrp(prefix, prefix.prefixlen, 0)))
