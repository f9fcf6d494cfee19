"""Records (RFC 8210, 12): what one table of a cache holds, as the router will hold it.

Validation paths, trust anchors and expiry times matter to the relying party and not to a router, to which a VRP is the tuple
of prefix, length, maximum and origin, whatever number of ROAs says so (RFC 8210, 5.6). A set holds each once; of one customer's
ASPAs it holds the union (8210bis, 5.12). The relying party's own set, in the order of prefixes and with a digest, is in
planes/trust/payloads.py.

VRPs are by far the most, half a million to a million, so they are no objects: one row of octets each, 10 for IPv4 and 22 for
IPv6, in the order address, maximum, length, origin. Compared as octets, rows sort as 8210bis, 11.2 wants them: read from the
end, a more specific prefix comes before the one that covers it, and what belongs to one prefix stands together. 700,000 VRPs
are 8 MB. Router keys and ASPAs are few, and are tuples.

`added` and `removed` are set algebra on sorted rows. Rows are immutable for everyone who holds a set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.bytes_]
ROW4, ROW6 = np.dtype("S10"), np.dtype("S22")
FIELDS4 = np.dtype([("address", "V4"), ("length_max", "u1"), ("length", "u1"), ("asn", "V4")])
FIELDS6 = np.dtype([("address", "V16"), ("length_max", "u1"), ("length", "u1"), ("asn", "V4")])

RouterKeyRow = tuple[bytes, bytes, int]  # SKI, SubjectPublicKeyInfo, AS: sorted as 8210bis, 11.2.2 wants them
AspaRow = tuple[int, tuple[int, ...]]  # customer, providers ascending
Row = TypeVar("Row", RouterKeyRow, AspaRow)


def no_rows(dtype: np.dtype[Any]) -> Rows:
    return np.empty(0, dtype)


@dataclass(frozen=True, eq=False)
class Records:
    """A set of VRPs, router keys and ASPAs, each part sorted and without doubles. Made by `records`; equal when all parts are."""

    v4: Rows = field(default_factory=lambda: no_rows(ROW4))
    v6: Rows = field(default_factory=lambda: no_rows(ROW6))
    keys: tuple[RouterKeyRow, ...] = ()
    aspas: tuple[AspaRow, ...] = ()

    @property
    def vrps(self) -> int:
        return len(self.v4) + len(self.v6)

    def __len__(self) -> int:
        return self.vrps + len(self.keys) + len(self.aspas)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and (
            self.keys == other.keys
            and self.aspas == other.aspas
            and np.array_equal(self.v4, other.v4)
            and np.array_equal(self.v6, other.v6)
        )

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the set: equal for equal sets, wherever they came from."""
        sha = hashlib.sha256()
        for part in (self.v4.tobytes(), self.v6.tobytes(), repr(self.keys).encode(), repr(self.aspas).encode()):
            sha.update(len(part).to_bytes(8, "big") + part)
        return sha.hexdigest()


@dataclass(frozen=True)
class Change:
    """What leads from one set to another. An ASPA whose providers changed stands in both, with its old providers in `removed`."""

    added: Records
    removed: Records

    def __len__(self) -> int:
        return len(self.added) + len(self.removed)


def records(v4: Rows, v6: Rows, keys: Iterable[RouterKeyRow] = (), aspas: Iterable[AspaRow] = ()) -> Records:
    """A set of rows in any order, with doubles or without. ASPAs of one customer become one, with all their providers.

    AS0 means that there is no provider; beside another it says nothing, and goes (8210bis, 5.12).
    """
    union: dict[int, set[int]] = {}
    for customer, providers in aspas:
        union.setdefault(customer, set()).update(providers)
    return Records(
        _each_once(v4),
        _each_once(v6),
        tuple(sorted(set(keys))),
        tuple((customer, tuple(sorted(found - {0} or found))) for customer, found in sorted(union.items()) if found),
    )


MARK4 = bytes((192, 0, 0, 8, 32, 32)) + bytes(4)
MARK6 = bytes.fromhex("20010db8") + b"\xff" * 12 + bytes((128, 128)) + bytes(4)
"""VRPs of AS0 for the dummy address (RFC 7600, 7) and the last one for documentation (RFC 3849), which nobody may announce: whoever finds
these covered has data. BIRD drops what is no host's address, so the last address there is would not do"""


def marked(found: Records) -> Records:
    """`found` and the marks."""
    return _with(found, Records(np.array([MARK4], ROW4), np.array([MARK6], ROW6)))


def any_length(found: Records) -> Records:
    """`found`, with every VRP allowing all more specifics of its prefix."""
    parts = []
    for rows, octets, longest in ((found.v4, 4, 32), (found.v6, 16, 128)):
        bare = np.frombuffer(rows.tobytes(), np.uint8).reshape(len(rows), octets + 6).copy()
        bare[:, octets] = longest
        parts.append(_each_once(np.frombuffer(bare.tobytes(), rows.dtype)))
    return Records(parts[0], parts[1], found.keys, found.aspas)


def change(old: Records, new: Records) -> Change:
    """What must be added to `old` and removed from it to get `new`."""
    return Change(less(new, old), less(old, new))


def joined(steps: Sequence[Change]) -> Change:
    """Changes that follow one another as one: what came and went again is in neither part (8210bis, 5.3).

    Looked at once, whatever their number. Raises ValueError where one adds what is there already, or removes what is not.
    """
    parts: list[tuple[Any, Any]] = [
        _rows_joined([each.added.v4 for each in steps], [each.removed.v4 for each in steps], ROW4),
        _rows_joined([each.added.v6 for each in steps], [each.removed.v6 for each in steps], ROW6),
        _few_joined([each.added.keys for each in steps], [each.removed.keys for each in steps]),
        _few_joined([each.added.aspas for each in steps], [each.removed.aspas for each in steps]),
    ]
    return Change(Records(*(added for added, _ in parts)), Records(*(removed for _, removed in parts)))


def changed(old: Records, by: Change) -> Records:
    """`old` after the change."""
    return _with(less(old, by.removed), by.added)


def _each_once(rows: Rows) -> Rows:
    if not len(rows):
        return rows
    ordered = np.sort(rows, kind="stable")
    keep = np.ones(len(ordered), bool)
    keep[1:] = ordered[1:] != ordered[:-1]
    return ordered[keep]


def less(one: Records, other: Records) -> Records:
    """What of `one` is not in `other`."""
    keys, aspas = frozenset(other.keys), frozenset(other.aspas)
    return Records(
        _rows_less(one.v4, other.v4),
        _rows_less(one.v6, other.v6),
        tuple(each for each in one.keys if each not in keys),
        tuple(each for each in one.aspas if each not in aspas),
    )


def _rows_joined(added: list[Rows], removed: list[Rows], dtype: np.dtype[Any]) -> tuple[Rows, Rows]:
    """What came in all, and what went. A row comes and goes by turns, so the first and the last of its turns say all."""
    turns = [each for pair in zip(added, removed, strict=True) for each in pair]
    rows = np.concatenate([no_rows(dtype), *turns])
    if not len(rows):
        return rows, rows
    comes = np.repeat(np.arange(len(turns)) % 2 == 0, [len(each) for each in turns])
    order = np.argsort(rows, kind="stable")
    rows, comes = rows[order], comes[order]
    again = rows[1:] == rows[:-1]
    if (again & (comes[1:] == comes[:-1])).any():
        raise ValueError("a row comes or goes twice in a row")
    first, last = np.concatenate(([True], ~again)), np.concatenate((~again, [True]))
    begins, ends = comes[first], comes[last]
    rows = rows[first]
    return rows[begins & ends], rows[~begins & ~ends]


def _few_joined(added: list[tuple[Row, ...]], removed: list[tuple[Row, ...]]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """The same of rows that are tuples."""
    turns: dict[Row, tuple[bool, bool]] = {}
    for came, went in zip(added, removed, strict=True):
        for comes, each in ((comes, each) for comes, some in ((True, came), (False, went)) for each in some):
            begins, before = turns.get(each, (comes, not comes))
            if before == comes:
                raise ValueError("a row comes or goes twice in a row")
            turns[each] = (begins, comes)
    return tuple(sorted(each for each, seen in turns.items() if all(seen))), tuple(
        sorted(each for each, seen in turns.items() if not any(seen))
    )


def _with(one: Records, other: Records) -> Records:
    return Records(
        _each_once(np.concatenate((one.v4, other.v4))),
        _each_once(np.concatenate((one.v6, other.v6))),
        tuple(sorted({*one.keys, *other.keys})),
        tuple(sorted({*one.aspas, *other.aspas})),
    )


def _rows_less(one: Rows, other: Rows) -> Rows:
    """Rows of `one` that are not in `other`; both sorted, each row once."""
    if not len(one) or not len(other):
        return one
    at = np.searchsorted(other, one)
    at[at == len(other)] = 0
    missing: Rows = one[other[at] != one]
    return missing
