"""Ways between sites as the underlay would take them: how long, over which links, and what is left on each.

For those who place something with the network in mind (the compute market): a pure function of a snapshot, and of what was seen to be out of service. Where
several ways are equally short, frames may take any of them: then the latency is that of the slowest, and all of their links count.

What is left on a link is its capacity without what circuits over it were sold for and without what it was measured to carry, whichever of the two is more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Circuit
from nnix.planes.fabric.levels import FAR, distances, ways
from nnix.planes.fabric.prove.network import Network, bits, network


@dataclass(frozen=True, slots=True)
class Way:
    """From one site to another: microseconds one way, and the names of all links that frames may take."""

    latency_us: int
    links: tuple[str, ...]


def reach(snapshot: Snapshot, dark: frozenset[str] = frozenset()) -> dict[tuple[str, str], Way]:
    """(site, site) → way, with the links named in `dark` out of service. Sites that do not reach one another are left out; a site reaches itself."""
    net = network(snapshot)
    dead = sum(1 << index for index, each in enumerate(net.links) if each.name in dark)
    found: dict[tuple[str, str], Way] = {}
    for to, site in enumerate(net.sites):
        distance = distances(net, to, 0, dead)
        for start, other in enumerate(net.sites):
            if distance[start] != FAR:
                used = ways(net, start, distance, dead)[1]
                names = tuple(net.links[link].name for link in bits(used))
                found[other.name, site.name] = Way(_slowest(net, start, distance, used), names)
    return found


def _slowest(net: Network, start: int, distance: list[int], used: int) -> int:
    """Microseconds of the slowest of the shortest ways from `start` to where the distance is 0."""
    longest = {start: 0}
    for here in sorted((site for site in range(len(net.sites)) if distance[site] != FAR), key=lambda site: -distance[site]):
        for other, link in net.around[here]:
            if here in longest and used >> link & 1 and distance[here] == distance[other] + net.costs[link]:
                longest[other] = max(longest.get(other, 0), longest[here] + int(net.links[link].latency))
    return max((time for site, time in longest.items() if distance[site] == 0), default=0)


def free(snapshot: Snapshot, known: Mapping[tuple[str, str], Way], load: Mapping[str, float] | None = None) -> dict[str, int]:
    """link → bit/s that are left on it each way. `known`: as reach() gave it; `load`: bit/s that links were measured to carry, the busier way."""
    net = network(snapshot)
    sold: dict[str, int] = defaultdict(int)
    for circuit in snapshot.of(Circuit):
        ports = [snapshot.at(end) for end in circuit.ends]
        rate = int(circuit.capacity if circuit.capacity is not None else min(port.committed or port.speed for port in ports))
        sites = list(dict.fromkeys(str(port.site) for port in ports))
        legs = pairwise((sites[0], *map(str, circuit.via), *sites[1:])) if len(sites) == 2 else combinations(sites, 2)
        used = {link for leg in legs if leg in known for link in known[leg].links}
        for link in used:
            sold[link] += rate
    measured = load or {}
    return {each.name: max(0, int(each.capacity) - max(sold[each.name], int(measured.get(each.name, 0)))) for each in net.links}
