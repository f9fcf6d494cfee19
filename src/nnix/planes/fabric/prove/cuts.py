"""Who is cut off: which sites no longer reach the rest of the exchange.

What is left after a failure falls into parts. The exchange is the part with the most ports (of equals the one with the hub, else the one with the
first site); all other sites are lost. A member is cut off when all sites where it has a port are lost. Lost sites may still reach one another:
who needs no more than that, as a circuit does, is judged by the parts beside the exchange.

For pairs, most second failures change nothing: in what the first one left, only bridges and articulation points part anything. One
depth-first search after each first failure finds all of them (Tarjan 1972; Hopcroft and Tarjan, Algorithm 447), and only for those the parts are found anew.
A failure of several links at once has no such test and is looked at each time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from nnix.planes.fabric.prove.network import Failure, Network, bits


class Left(NamedTuple):
    """What is left: `lost` are sites that are no longer part of the exchange, dead ones among them; `apart` the parts in which those
    that stand still reach one another. All of them are bits of sites."""

    lost: int
    apart: tuple[int, ...] = ()


def parts(net: Network, dead_sites: int, dead_links: int) -> list[int]:
    """The connected parts of what is left, the exchange's first."""
    left = net.everywhere & ~dead_sites
    found = []
    while left:
        first = left & -left
        part = queue = first
        while queue:
            low = queue & -queue
            queue ^= low
            for other, link in net.around[low.bit_length() - 1]:
                bit = 1 << other
                if bit & left and not bit & part and not dead_links >> link & 1:
                    part |= bit
                    queue |= bit
        found.append(part)
        left &= ~part
    if len(found) > 1:
        found.sort(key=lambda part: (-_ports(net, part), -(part & net.hub), part & -part))
    return found


def remains(net: Network, failure: Failure) -> Left:
    """What `failure` leaves."""
    return _left(net, parts(net, failure.sites, failure.links))


def lost(net: Network, failure: Failure) -> int:
    """The sites that are no longer part of the exchange, dead ones among them."""
    return remains(net, failure).lost


def _left(net: Network, found: Sequence[int]) -> Left:
    return Left(net.everywhere & ~found[0], tuple(found[1:])) if found else Left(net.everywhere)


class Homes:
    """Members by where they are, so that those cut off are found without asking every member."""

    def __init__(self, homes: Mapping[str, int]) -> None:
        self._members: dict[int, list[str]] = defaultdict(list)
        for member, where in sorted(homes.items()):
            self._members[where].append(member)
        self._at: dict[int, list[int]] = defaultdict(list)
        for where in self._members:
            for site in bits(where):
                self._at[site].append(where)
        self._counts: dict[int, int] = {}

    def _inside(self, sites: int) -> Iterator[int]:
        for site in bits(sites):
            # each set of sites once, at the first of them
            yield from (where for where in self._at.get(site, ()) if not where & ~sites and where & -where == 1 << site)

    def cut_off(self, sites: int) -> tuple[str, ...]:
        """Members all of whose ports are at `sites`, by name."""
        return tuple(sorted(member for where in self._inside(sites) for member in self._members[where]))

    def count(self, sites: int) -> int:
        """How many those are."""
        known = self._counts.get(sites)
        if known is None:
            known = self._counts[sites] = sum(len(self._members[where]) for where in self._inside(sites))
        return known


def remains_of_pairs(net: Network, found: Sequence[Failure]) -> Iterator[tuple[int, Left, list[Left]]]:
    """For each failure i but the last: (i, what it leaves alone, what it leaves with each later one), exactly."""
    for first, one in enumerate(found[:-1]):
        left = parts(net, one.sites, one.links)
        alone = _left(net, left)
        cut_sites, cut_links = cut_elements(net, one.sites, one.links)
        # by how many ports the exchange is larger than the next part: one without so many can leave it, and it stays the largest
        ahead = _ports(net, left[0]) - _ports(net, left[1]) if len(left) > 1 else sum(net.ports) + 1
        row = []
        for other in found[first + 1 :]:
            sites, links = other.sites & ~one.sites, other.links & ~one.links
            if not sites and not links & (links - 1) and not links & cut_links:  # one link or none
                row.append(alone)
            elif sites and _one_site(net, other, sites) and not sites & cut_sites and _ports(net, sites) < ahead:
                row.append(Left(alone.lost | sites, tuple(kept for part in alone.apart if (kept := part & ~sites))))
            else:
                row.append(_left(net, parts(net, one.sites | other.sites, one.links | other.links)))
        yield first, alone, row


def _ports(net: Network, sites: int) -> int:
    return sum(net.ports[site] for site in bits(sites))


def _one_site(net: Network, failure: Failure, sites: int) -> bool:
    """Whether a failure is that of one site and nothing else."""
    if sites & (sites - 1):
        return False
    links = 0
    for _, link in net.around[sites.bit_length() - 1]:
        links |= 1 << link
    return links == failure.links


def cut_elements(net: Network, dead_sites: int, dead_links: int) -> tuple[int, int]:
    """(articulation points, bridges) of what is left: the sites, and the links, whose loss parts something more."""
    cut_sites = cut_links = 0
    seen = [0] * len(net.sites)  # when the search came to a site, from 1
    low = [0] * len(net.sites)  # the earliest that it or what hangs below it sees, besides the link it was entered by
    clock = 0
    for root in range(len(net.sites)):
        if seen[root] or dead_sites >> root & 1:
            continue
        clock += 1
        seen[root] = low[root] = clock
        branches = 0
        path = [(root, -1, iter(net.around[root]))]
        while path:
            here, entered, rest = path[-1]
            for other, link in rest:
                if link == entered or dead_links >> link & 1 or dead_sites >> other & 1:
                    continue
                if seen[other]:
                    low[here] = min(low[here], seen[other])
                    continue
                clock += 1
                seen[other] = low[other] = clock
                path.append((other, link, iter(net.around[other])))
                break
            else:
                path.pop()
                if not path:
                    continue
                above = path[-1][0]
                low[above] = min(low[above], low[here])
                if low[here] > seen[above]:
                    cut_links |= 1 << entered
                if above == root:
                    branches += 1
                elif low[here] >= seen[above]:
                    cut_sites |= 1 << above
        if branches > 1:
            cut_sites |= 1 << root
    return cut_sites, cut_links
