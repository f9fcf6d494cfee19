"""How far traffic between two sites reaches: its level, normally and after each single failure.

The level of a path is the smallest scope that contains all sites on it: one city, one province, one country, else cross-border. A link that
declares a larger level of its own (a line between two cities of one province, led through another) widens every path over it. Where several
ways are equally short, each packet may take any of them, so all of them count.

A failure can only change paths that it touches, so only those are looked at: what must stay in a province or a country is refused if any of them
would take it out, and the failure is named.
"""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.prove.network import Failure, Network, bits, failures, network
from nnix.planes.members.kinds import Level, Site

ORDER = (Level.CITY, Level.PROVINCE, Level.NATIONAL, Level.CROSS_BORDER)
FAR = 2**62


@dataclass(frozen=True, slots=True)
class Reach:
    """The way between two sites: its level, and the sites on it from the one to the other (of all equally short ways, by distance).

    failure: after which failure; None normally. level is None, and path empty, where no way is left.
    """

    failure: str | None
    level: Level | None
    path: tuple[str, ...]


def scope(sites: Iterable[Site]) -> Level:
    """The smallest scope that contains all of `sites` (at least one). Without a province, only one city is known to be one province."""
    first, *rest = sites
    found = Level.CITY
    for each in rest:
        if each.country != first.country:
            return Level.CROSS_BORDER
        if each.province != first.province or (each.province is None and each.city != first.city):
            found = Level.NATIONAL
        elif each.city != first.city:
            found = wider(found, Level.PROVINCE)
    return found


def beyond(level: Level, within: Level) -> bool:
    """Whether a level is a larger scope than another."""
    return ORDER.index(level) > ORDER.index(within)


def wider(*levels: Level) -> Level:
    """The largest of several levels."""
    return max(levels, key=ORDER.index)


# Rules ask for one circuit after the other, and proofs again; the ways of one snapshot are the same for all of them, and it never changes.
_last: list[tuple[weakref.ref[Snapshot], Levels]] = []


def levels(snapshot: Snapshot) -> Levels:
    """The levels of `snapshot`, kept for whoever asks next."""
    if not _last or _last[0][0]() is not snapshot:
        _last[:] = [(weakref.ref(snapshot), Levels(snapshot))]
    return _last[0][1]


class Levels:
    """The levels of one snapshot. Raises LookupError for a site that is not there."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._net: Network = network(snapshot)
        self._failures = failures(self._net)
        self._distances: dict[tuple[int, int, int], list[int]] = {}

    def normal(self, a: str, b: str) -> Reach:
        """The way with nothing failed."""
        return self.reach(self._number(a), self._number(b), None)

    def after_each(self, a: str, b: str) -> Iterator[Reach]:
        """The way after each failure that changes it, but for those of a and b themselves."""
        one, other = self._number(a), self._number(b)
        sites, links = self._ways(one, other, 0, 0)
        for failure in self._failures:
            if (failure.links & links or failure.sites & sites) and not failure.sites & (1 << one | 1 << other):
                yield self.reach(one, other, failure)

    def _number(self, name: str) -> int:
        found = self._net.number(name)
        if found < 0:
            raise LookupError(f"there is no site {name}")
        return found

    def reach(self, a: int, b: int, failure: Failure | None) -> Reach:
        """The way after `failure` (None: normally) between two sites, by their numbers in the network."""
        sites, links = self._ways(a, b, 0, 0)
        dead_sites = dead_links = 0
        if failure is not None and (failure.sites & sites or failure.links & links):
            dead_sites, dead_links = failure.sites, failure.links
            sites, links = self._ways(a, b, dead_sites, dead_links)
        named = failure.of if failure else None
        if not sites:
            return Reach(named, None, ())
        distance = self._distance(b, dead_sites, dead_links)
        path = sorted(bits(sites), key=lambda site: (-distance[site], site))
        declared = (level for link in bits(links) if (level := self._net.links[link].level) is not None)
        level = wider(scope(self._net.sites[site] for site in path), *declared)
        return Reach(named, level, tuple(self._net.sites[site].name for site in path))

    def _ways(self, a: int, b: int, dead_sites: int, dead_links: int) -> tuple[int, int]:
        """(sites, links) of all shortest ways from a to b, as bits; none where there is no way."""
        return ways(self._net, a, self._distance(b, dead_sites, dead_links), dead_links)

    def _distance(self, to: int, dead_sites: int, dead_links: int) -> list[int]:
        """The cost from every site to `to` (Dijkstra)."""
        known = self._distances.get((to, dead_sites, dead_links))
        if known is not None:
            return known
        found = distances(self._net, to, dead_sites, dead_links)
        self._distances[to, dead_sites, dead_links] = found
        return found


def distances(net: Network, to: int, dead_sites: int, dead_links: int, until: int = -1) -> list[int]:
    """The cost from every site to `to` (Dijkstra); FAR where there is no way. until: enough when all that is no farther than this site is known."""
    found = [FAR] * len(net.sites)
    queue = [(0, to)]
    found[to] = 0
    while queue:
        cost, here = heapq.heappop(queue)
        if cost > found[here]:
            continue
        if here == until:
            break
        for other, link in net.around[here]:
            farther = cost + net.costs[link]
            if farther < found[other] and not dead_links >> link & 1 and not dead_sites >> other & 1:
                found[other] = farther
                heapq.heappush(queue, (farther, other))
    return found


def ways(net: Network, a: int, distance: Sequence[int], dead_links: int) -> tuple[int, int]:
    """(sites, links) of all shortest ways from `a` to where `distance` is 0, as bits; none where there is no way."""
    if distance[a] == FAR:
        return 0, 0
    sites, links, queue = 1 << a, 0, [a]
    while queue:
        here = queue.pop()
        for other, link in net.around[here]:
            if not dead_links >> link & 1 and distance[here] == distance[other] + net.costs[link]:
                links |= 1 << link
                if not sites >> other & 1:
                    sites |= 1 << other
                    queue.append(other)
    return sites, links


def widened(snapshot: Snapshot, a: str, b: str, within: Level) -> list[Reach]:
    """What takes traffic between two sites out of `within`: first the normal state, if it does, then every single failure that would.

    Empty when it always stays. A failure that leaves no way takes nothing anywhere. Raises LookupError for an unknown site.
    """
    known = levels(snapshot)
    return [each for each in (known.normal(a, b), *known.after_each(a, b)) if each.level is not None and beyond(each.level, within)]
