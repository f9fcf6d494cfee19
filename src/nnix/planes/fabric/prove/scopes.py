"""Circuits that must stay within a level, under every two failures at once.

No single failure takes such a circuit out, or it would have been refused; two may. Most pairs change nothing: only a failure that touches the
ways of a leg changes them, and a second one only what the first has left. So from the ways after each single failure that of a pair is mostly
known, and a new search is made only where the first failure touches the ways and the second the ways around it: some hundred times for a leg, where
there are 180,000 pairs.

Frames stay inside when every site and every link of all equally short ways is of the scope (levels.py); which those are is known beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnix.planes.fabric.levels import beyond, distances, scope, ways
from nnix.planes.fabric.prove.circuits import Circuits
from nnix.planes.fabric.prove.network import Failure, Network, bits
from nnix.planes.members.kinds import Level

Way = tuple[int, int]
"""bits of sites and of links"""


@dataclass(frozen=True, slots=True)
class _Leg:
    """From site `a` to site `b`, for a circuit; the sites and links that are beyond its scope. normal: the ways with nothing failed."""

    circuit: int
    a: int
    b: int
    beyond: Way
    normal: Way


class Scopes:
    """Which circuits leave their scope, for every two of `found`."""

    def __init__(self, net: Network, circuits: Circuits, found: Sequence[Failure]) -> None:
        self._net, self._found = net, found
        self._legs = [
            self._leg(number, a, b, within)
            for number in circuits.scoped
            for a, b in circuits.legs(number)
            if (within := circuits.all[number].within) is not None
        ]
        self._by_site, self._by_link = [0] * len(net.sites), [0] * len(net.links)
        for index, each in enumerate(found if self._legs else ()):
            for site in bits(each.sites):
                self._by_site[site] |= 1 << index
            for link in bits(each.links):
                self._by_link[link] |= 1 << index
        self._alone: dict[tuple[int, int], Way] = {}  # (leg, failure) → its ways
        self._touching: dict[Way, int] = {}

    def alone(self, index: int) -> int:
        """The circuits that failure `index` takes out, as bits."""
        found = 0
        for number, leg in enumerate(self._legs):
            if self._outside(leg, self._after(number, index)):
                found |= 1 << leg.circuit
        return found

    def row(self, first: int) -> list[int]:
        """The same for failure `first` with each later one."""
        after = len(self._found) - first - 1
        out = [0] * after
        for number, leg in enumerate(self._legs):
            with_first = self._after(number, first)
            changed = [first + 1 + each for each in bits(self._touched_by(with_first) >> (first + 1))]
            bit = 1 << leg.circuit
            if self._outside(leg, with_first):
                kept = set(range(first + 1, len(self._found))).difference(changed)
                for each in kept:
                    out[each - first - 1] |= bit
            for each in changed:
                if self._outside(leg, self._both(number, first, each)):
                    out[each - first - 1] |= bit
        return out

    def _leg(self, number: int, a: int, b: int, within: Level) -> _Leg:
        sites, links = self._net.sites, self._net.links
        far = sum(1 << index for index, site in enumerate(sites) if beyond(scope((sites[a], site)), within))
        wide = sum(1 << index for index, link in enumerate(links) if link.level is not None and beyond(link.level, within))
        return _Leg(number, a, b, (far, wide), self._ways(a, b, 0, 0))

    def _after(self, number: int, index: int) -> Way:
        known = self._alone.get((number, index))
        if known is None:
            leg, failure = self._legs[number], self._found[index]
            known = self._ways(leg.a, leg.b, failure.sites, failure.links) if _touches(failure, leg.normal) else leg.normal
            self._alone[number, index] = known
        return known

    def _both(self, number: int, first: int, second: int) -> Way:
        """The ways after two failures, the second of which touches those that the first leaves."""
        leg, one, other = self._legs[number], self._found[first], self._found[second]
        if not _touches(one, leg.normal):
            alone = self._after(number, second)
            if not _touches(one, alone):
                return alone
        return self._ways(leg.a, leg.b, one.sites | other.sites, one.links | other.links)

    def _ways(self, a: int, b: int, dead_sites: int, dead_links: int) -> Way:
        return ways(self._net, a, distances(self._net, b, dead_sites, dead_links, until=a), dead_links)

    def _touched_by(self, way: Way) -> int:
        """The failures that touch `way`, as bits of their numbers."""
        known = self._touching.get(way)
        if known is None:
            known = 0
            for site in bits(way[0]):
                known |= self._by_site[site]
            for link in bits(way[1]):
                known |= self._by_link[link]
            self._touching[way] = known
        return known

    @staticmethod
    def _outside(leg: _Leg, way: Way) -> bool:
        return bool(way[0] & leg.beyond[0] or way[1] & leg.beyond[1])


def _touches(failure: Failure, way: Way) -> bool:
    return bool(failure.sites & way[0] or failure.links & way[1])
