"""Before it happens: which of the exchange's own routes change their validity when VRPs go or come.

Origin validation (RFC 6811) asks of a route two numbers: how many VRPs cover its prefix, and how many of these match (name its origin, allow its length).
One matches: Valid. None, but one covers: Invalid. None covers: NotFound. Both numbers are kept for every route, so a change is a subtraction
or an addition on the routes below the VRPs that change, and nothing else is looked at.

Routes are sorted like VRPs are, by address and then by length, so the routes below a VRP are one stretch of rows. Where it begins and ends is found once
for all VRPs. After that a ROA of a few prefixes among 700,000 routes is judged in tens of microseconds.

What is judged is what *would* be; nothing is changed, and the route servers are not asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnix.planes.trust.payloads import (
    ASN_MASK,
    FAMILY_SHIFT,
    HIGH,
    LENGTH_SHIFT,
    LONGEST_SHIFT,
    LOW,
    OCTET,
    REST,
    Indices,
    Network,
    Numbers,
    Vrp,
    row_of,
    vrp_of,
)

Counts = NDArray[np.int32]
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
PAIRS_AT_ONCE = 4_000_000


class Validity(IntEnum):
    """RFC 6811, section 2."""

    NOT_FOUND = 0
    VALID = 1
    INVALID = 2

    def __str__(self) -> str:
        return ("NotFound", "Valid", "Invalid")[self]


class Route(NamedTuple):
    """A route that a member announces. `origin` is 0 where the path ends in an AS_SET: no VRP can match it."""

    prefix: Network
    origin: int
    member: str


class Turn(NamedTuple):
    """A route whose validity would change."""

    route: Route
    before: Validity
    after: Validity

    def __str__(self) -> str:
        return f"{self.route.prefix} of AS{self.route.origin} ({self.route.member}): {self.before} → {self.after}"


@dataclass(frozen=True)
class Consequence:
    """What a change would do: the rows of routes whose validity changes, and from what to what."""

    rows: Indices
    before: NDArray[np.int8]
    after: NDArray[np.int8]
    _routes: Routes

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def counts(self) -> Mapping[tuple[Validity, Validity], int]:
        return Counter((Validity(a), Validity(b)) for a, b in zip(self.before.tolist(), self.after.tolist(), strict=True))

    @property
    def broken(self) -> int:
        """Routes that would be Invalid and are not: those that route servers would throw out."""
        return int((self.after == Validity.INVALID).sum())

    def turns(self) -> tuple[Turn, ...]:
        return tuple(
            Turn(self._routes.route(row), Validity(a), Validity(b))
            for row, a, b in zip(self.rows.tolist(), self.before.tolist(), self.after.tolist(), strict=True)
        )


class Routes:
    """Routes in rows like VRPs'; each member's announcement is a row."""

    def __init__(self, routes: Iterable[Route]) -> None:
        given = list(routes)
        names = sorted({each.member for each in given})
        number = {name: index for index, name in enumerate(names)}
        rows = np.array([row_of(Vrp(each.prefix, 0, each.origin)) for each in given], dtype=np.uint64).reshape(-1, 3)
        self._set(rows, np.array([number[each.member] for each in given], dtype=np.int32), names)

    @classmethod
    def of_rows(cls, rows: Numbers, members: NDArray[np.int32], names: Sequence[str]) -> Routes:
        """Of rows that are made already, not necessarily sorted."""
        made = cls(())
        made._set(rows, members, names)
        return made

    def _set(self, rows: Numbers, members: NDArray[np.int32], names: Sequence[str]) -> None:
        family = rows[:, REST] >> FAMILY_SHIFT
        order = np.lexsort((rows[:, REST], rows[:, LOW], rows[:, HIGH], family))
        self.rows, self.members, self.names = np.ascontiguousarray(rows[order]), members[order], tuple(names)
        self.split = int(np.searchsorted(family[order], 6))
        self.high = np.ascontiguousarray(self.rows[:, HIGH])
        self.lengths = (self.rows[:, REST] >> LENGTH_SHIFT & OCTET).astype(np.int64)
        self.origins = (self.rows[:, REST] & ASN_MASK).astype(np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def route(self, row: int) -> Route:
        prefix, _, origin = vrp_of(self.rows[row].tolist())
        return Route(prefix, origin, self.names[self.members[row]])

    def below(self, vrps: Numbers) -> tuple[Indices, Indices]:
        """For each VRP where the routes at or below its prefix begin and end."""
        begin, end = np.zeros(len(vrps), dtype=np.intp), np.zeros(len(vrps), dtype=np.intp)
        family = vrps[:, REST] >> FAMILY_SHIFT
        length = vrps[:, REST] >> LENGTH_SHIFT & OCTET
        for number, start, stop in ((4, 0, self.split), (6, self.split, len(self.rows))):
            mine = np.flatnonzero((family == number) & (length <= (32 if number == 4 else 64)))
            high, size = vrps[mine, HIGH], length[mine]
            last = high | np.where(size == 0, ALL, (np.uint64(1) << (np.uint64(64) - np.maximum(size, np.uint64(1)))) - np.uint64(1))
            last = np.where(size == 64, high, last)
            column = self.high[start:stop]
            begin[mine] = np.searchsorted(column, high, "left") + start
            end[mine] = np.searchsorted(column, last, "right") + start
        for index in np.flatnonzero((family == 6) & (length > 64)).tolist():  # a handful in the whole world
            begin[index], end[index] = self._deep(vrps[index])
        return self._at_least(begin, end, length.astype(np.int64)), end

    def _at_least(self, begin: Indices, end: Indices, length: NDArray[np.int64]) -> Indices:
        """`begin` past the routes of the same address that are shorter than the VRP: they lie above it, not below."""
        begin = begin.copy()
        while True:
            here = np.flatnonzero(begin < end)
            above = here[self.lengths[begin[here]] < length[here]]
            if not above.size:
                return begin
            begin[above] += 1

    def _deep(self, row: Numbers) -> tuple[int, int]:
        high, low, rest = map(int, row)
        start = self.split + int(np.searchsorted(self.high[self.split :], np.uint64(high), "left"))
        stop = self.split + int(np.searchsorted(self.high[self.split :], np.uint64(high), "right"))
        lows = self.rows[start:stop, LOW]
        last = low + (1 << (128 - (rest >> 48 & 0xFF))) - 1
        return start + int(np.searchsorted(lows, np.uint64(low), "left")), start + int(np.searchsorted(lows, np.uint64(last), "right"))


class Forecast:
    """Routes and VRPs, each route with how many VRPs cover and match it."""

    def __init__(self, routes: Routes, vrps: Numbers) -> None:
        self.routes, self.vrps = routes, vrps
        self._begin, self._end = routes.below(vrps)
        self.covering = self._covered()
        self.matching = self._matched()

    def _covered(self) -> Counts:
        """Each VRP adds one to a stretch of routes: ups and downs are summed along."""
        steps = np.bincount(self._begin, minlength=len(self.routes) + 1) - np.bincount(self._end, minlength=len(self.routes) + 1)
        return np.cumsum(steps)[:-1].astype(np.int32)

    def _matched(self) -> Counts:
        """Over VRPs in stretches that are not too long to be written out."""
        found = np.zeros(len(self.routes), dtype=np.int32)
        sizes = self._end - self._begin
        order = np.flatnonzero(sizes > 0)
        cuts = np.searchsorted(np.cumsum(sizes[order]), np.arange(PAIRS_AT_ONCE, int(sizes.sum()), PAIRS_AT_ONCE)).tolist()
        for start, stop in pairwise([0, *cuts, len(order)]):
            chosen = order[start:stop]
            rows, matches = self._pairs(self.vrps[chosen], self._begin[chosen], self._end[chosen])
            found += np.bincount(rows[matches], minlength=len(self.routes)).astype(np.int32)
        return found

    def _pairs(self, vrps: Numbers, begin: Indices, end: Indices) -> tuple[Indices, NDArray[np.bool_]]:
        """Every (route, VRP above it) as the route's row, and whether they match."""
        whose, rows = _spread(begin, end)
        origins, longest = (vrps[:, REST] & ASN_MASK).astype(np.int64), (vrps[:, REST] >> LONGEST_SHIFT & OCTET).astype(np.int64)
        named = (self.routes.origins[rows] == origins[whose]) & (origins[whose] != 0)  # AS0 names nobody (RFC 6483, 4)
        return rows, named & (self.routes.lengths[rows] <= longest[whose])

    @cached_property
    def validity(self) -> NDArray[np.int8]:
        """Of each route, as things stand."""
        return _validity(self.covering, self.matching)

    def without(self, gone: Indices) -> Consequence:
        """The VRPs in the rows `gone` are no more."""
        return self._turned([(self.vrps[gone], self._begin[gone], self._end[gone], -1)])

    def changed(self, gone: Indices, come: Numbers) -> Consequence:
        """The VRPs in the rows `gone` are no more, and `come` are there besides. Those that are there already change nothing."""
        fresh = come[self._at(come) < 0]
        return self._turned([(self.vrps[gone], self._begin[gone], self._end[gone], -1), (fresh, *self.routes.below(fresh), 1)])

    def lapse(self, row: int, expires: NDArray[np.int64]) -> tuple[int, Validity] | None:
        """When the route in `row` stops being Valid if nothing is renewed, seconds since 1970, and what it is then. None where it is not Valid now."""
        above = np.flatnonzero((self._begin <= row) & (row < self._end))
        named = (self.vrps[above, REST] & ASN_MASK).astype(np.int64) == self.routes.origins[row]
        matching = above[named & (self.routes.lengths[row] <= (self.vrps[above, REST] >> LONGEST_SHIFT & OCTET).astype(np.int64))]
        if not len(matching) or self.routes.origins[row] == 0:
            return None
        until = int(expires[matching].max())
        return until, Validity.INVALID if bool((expires[above] > until).any()) else Validity.NOT_FOUND

    def at(self, row: Numbers) -> int | None:
        """The row in which a VRP stands."""
        found = self._at(row.reshape(1, 3))
        return int(found[0]) if found[0] >= 0 else None

    def _at(self, vrps: Numbers) -> Indices:
        """The row in which each of `vrps` stands, -1 where it does not."""
        found = np.full(len(vrps), -1, dtype=np.intp)
        family = vrps[:, REST] >> FAMILY_SHIFT
        for number, start, stop in ((4, 0, self._split), (6, self._split, len(self.vrps))):
            mine = np.flatnonzero(family == number)
            column = self._high[start:stop]
            left, right = (np.searchsorted(column, vrps[mine, HIGH], side) + start for side in ("left", "right"))
            whose, rows = _spread(left, right)
            same = (self.vrps[rows] == vrps[mine[whose]]).all(axis=1)
            found[mine[whose[same]]] = rows[same]
        return found

    @cached_property
    def _high(self) -> Numbers:
        """The upper halves by themselves: NumPy copies a column that it searches, unless its numbers lie side by side."""
        return np.ascontiguousarray(self.vrps[:, HIGH])

    @cached_property
    def _split(self) -> int:
        """Where IPv6 begins."""
        return int(np.searchsorted(self.vrps[:, REST] >> FAMILY_SHIFT, 6))

    def _turned(self, changes: Sequence[tuple[Numbers, Indices, Indices, int]]) -> Consequence:
        rows, covering, matching = [], [], []
        for vrps, begin, end, sign in changes:
            touched = np.flatnonzero(end > begin)
            if touched.size:
                below, matches = self._pairs(vrps[touched], begin[touched], end[touched])
                rows.append(below)
                covering.append(np.full(len(below), sign, dtype=np.int32))
                matching.append(np.where(matches, sign, 0).astype(np.int32))
        if not rows:
            return Consequence(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.int8), np.empty(0, dtype=np.int8), self.routes)
        touched, which = np.unique(np.concatenate(rows), return_inverse=True)
        covered = self.covering[touched] + np.bincount(which, np.concatenate(covering), len(touched)).astype(np.int32)
        matched = self.matching[touched] + np.bincount(which, np.concatenate(matching), len(touched)).astype(np.int32)
        before, after = _validity(self.covering[touched], self.matching[touched]), _validity(covered, matched)
        turned = before != after
        return Consequence(touched[turned], before[turned], after[turned], self.routes)

    # --- by whom and when ---

    def members(self, consequence: Consequence | None = None) -> dict[str, Counter[Validity]]:
        """member → its routes by validity, as they are or as they would be."""
        validity = self.validity.copy()
        if consequence is not None:
            validity[consequence.rows] = consequence.after
        found: dict[str, Counter[Validity]] = {name: Counter() for name in self.routes.names}
        keys, counts = np.unique(self.routes.members.astype(np.int64) * 3 + validity, return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            found[self.routes.names[key // 3]][Validity(key % 3)] = count
        return found

    def expired(self, expires: NDArray[np.int64], moment: int) -> Consequence:
        """At `moment`, if nothing is renewed until then. `expires` is of each VRP."""
        return self.without(np.flatnonzero(expires <= moment))


def _spread(begin: Indices, end: Indices) -> tuple[Indices, Indices]:
    """Every row of many stretches, and which stretch it is of."""
    sizes = end - begin
    whose = np.repeat(np.arange(len(begin)), sizes)
    return whose, np.arange(len(whose)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(begin, sizes)


def _validity(covering: Counts, matching: Counts) -> NDArray[np.int8]:
    return np.where(matching > 0, Validity.VALID, np.where(covering > 0, Validity.INVALID, Validity.NOT_FOUND)).astype(np.int8)
