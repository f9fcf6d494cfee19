"""The fabric as a graph: sites, the links between them, who is where, and what may fail.

Sites and links are numbered by name, and sets of them are the bits of a whole number: the union, the difference and the question
"is all of this lost?" are then one step each, whatever the size. The cost of a link is the one that frr.py tells OSPF.

What may fail alone: a link; a site (its links with it); a carrier's hand-off at a site (the carrier's presence there, so the links
leased from it that end there); a carrier as a whole (all its links and hand-offs); a gateway (the one cable over which a member's gateway is
handed circuits by VNI); a route reflector. Reflectors stand at the backbone connect points and only tell switches of one another: what
is registered goes on being forwarded without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric import frr
from nnix.planes.fabric.kinds import Circuit, Link, Port, PortState
from nnix.planes.members.kinds import Site, SiteRole

CONNECTED = (PortState.PRODUCTION, PortState.DRAINED)  # drained for an hour is not gone


class Part(StrEnum):
    """What can fail."""

    LINK = "link"
    SITE = "site"
    HAND_OFF = "hand-off"
    CARRIER = "carrier"
    GATEWAY = "gateway"
    REFLECTOR = "route-reflector"


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that fails: its name (`link/hz-nb`, `hand-off/unicom@hangzhou`), and the bits of sites and links that die with it.

    `hand_offs`: (carrier, site) that are gone; `gateways`: names of ports whose gateway is. The links of a dead site are among `links`.
    """

    part: Part
    of: str
    sites: int
    links: int
    hand_offs: tuple[tuple[str, str], ...] = ()
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """The graph. `ends`, `costs`: by link. `around[s]`: (the other site, the link) of every link at site s. `ports[s]`: how many are there.

    `homes`: member → the bits of sites where it has a port that is free for LANs; the ends of circuits are not. `gateways`: names of the ports
    that have one. `hub`: the hub's bit, 0 without one.
    """

    sites: tuple[Site, ...]
    links: tuple[Link, ...]
    ends: tuple[tuple[int, int], ...]
    costs: tuple[int, ...]
    around: tuple[tuple[tuple[int, int], ...], ...]
    ports: tuple[int, ...]
    homes: Mapping[str, int]
    gateways: tuple[str, ...]
    hub: int

    @property
    def everywhere(self) -> int:
        """All sites."""
        return (1 << len(self.sites)) - 1

    def number(self, site: str) -> int:
        """Where a site stands in `sites`; -1 for an unknown name."""
        return next((index for index, each in enumerate(self.sites) if each.name == site), -1)

    def named(self, sites: int) -> tuple[str, ...]:
        """The names of a set of sites."""
        return tuple(self.sites[index].name for index in bits(sites))


def bits(numbers: int) -> Iterator[int]:
    """The members of a set, ascending."""
    while numbers:
        low = numbers & -numbers
        yield low.bit_length() - 1
        numbers ^= low


def cost(link: Link) -> int:
    """What OSPF is told of a link."""
    return frr.cost(int(link.latency))


def private(snapshot: Snapshot) -> frozenset[str]:
    """Names of the ports that lead to no LAN: ends of circuits, cables to gateways, and what is handed over them."""
    ends = {str(end) for circuit in snapshot.of(Circuit) for end in circuit.ends}
    return frozenset(ends | {port.name for port in snapshot.of(Port) if port.gateway is not None or port.over is not None})


def dark(snapshot: Snapshot, port: Port) -> Port | None:
    """What keeps `port` out of service by declaration: its own state, or that of the cable on which it is handed over. None where nothing does."""
    cable = snapshot.get(Port, port.over) if port.over is not None else port
    if cable is None or port.state not in CONNECTED:
        return port
    return cable if cable.state not in CONNECTED else None


def serves(circuit: Circuit, ends: int) -> bool:
    """Whether a circuit with so many ends in service is in service itself: a wire with both, a group with any two."""
    return ends > 1 and (ends == len(circuit.ends) or len(circuit.ends) > 2)


def network(snapshot: Snapshot) -> Network:
    """The graph of `snapshot`. Links from a site to itself, which the rules refuse, are left out."""
    sites = snapshot.of(Site)
    number = {site.name: index for index, site in enumerate(sites)}
    links = tuple(each for each in snapshot.of(Link) if each.a != each.b and each.a in number and each.b in number)
    ends = tuple((number[each.a], number[each.b]) for each in links)
    around: list[list[tuple[int, int]]] = [[] for _ in sites]
    for index, (a, b) in enumerate(ends):
        around[a].append((b, index))
        around[b].append((a, index))
    ports, homes, elsewhere = [0] * len(sites), dict[str, int](), private(snapshot)
    for port in snapshot.of(Port):
        if port.state in CONNECTED and port.site in number:
            ports[number[port.site]] += 1
            if port.name not in elsewhere:
                homes[port.member] = homes.get(port.member, 0) | 1 << number[port.site]
    return Network(
        sites=sites,
        links=links,
        ends=ends,
        costs=tuple(map(cost, links)),
        around=tuple(map(tuple, around)),
        ports=tuple(ports),
        homes=homes,
        gateways=tuple(port.name for port in snapshot.of(Port) if port.gateway is not None and port.state in CONNECTED),
        hub=sum(1 << index for index, site in enumerate(sites) if site.role is SiteRole.HUB),
    )


def failures(net: Network) -> tuple[Failure, ...]:
    """Everything that may fail alone: sites first, then links, hand-offs, carriers, gateways and reflectors, each by name."""
    found = [Failure(Part.SITE, site.id, 1 << index, _set(link for _, link in net.around[index])) for index, site in enumerate(net.sites)]
    found += [Failure(Part.LINK, link.id, 0, 1 << index) for index, link in enumerate(net.links)]
    leased: dict[str, int] = {}
    handed: dict[tuple[str, str], int] = {(carrier, site.name): 0 for site in net.sites for carrier in site.carriers}
    for index, link in enumerate(net.links):
        if link.carrier is not None:
            leased[link.carrier] = leased.get(link.carrier, 0) | 1 << index
            for end in (link.a, link.b):
                handed[link.carrier, end] = handed.get((link.carrier, end), 0) | 1 << index
    found += [
        Failure(Part.HAND_OFF, f"hand-off/{carrier}@{site}", 0, links, ((carrier, site),))
        for (carrier, site), links in sorted(handed.items())
    ]
    for carrier in sorted({*leased, *(carrier for carrier, _ in handed)}):
        gone = tuple(each for each in sorted(handed) if each[0] == carrier)
        found.append(Failure(Part.CARRIER, f"carrier/{carrier}", 0, leased.get(carrier, 0), gone))
    found += [Failure(Part.GATEWAY, f"gateway/{name}", 0, 0, gateways=(name,)) for name in net.gateways]
    found += [Failure(Part.REFLECTOR, f"route-reflector/{site.name}", 0, 0) for site in net.sites if site.role is SiteRole.BACKBONE]
    return tuple(found)


def together(*several: Failure) -> Failure:
    """Several failures at once, as one; its part is that of the first."""
    sites = links = 0
    for each in several:
        sites, links = sites | each.sites, links | each.links
    gone = tuple(sorted({hand_off for each in several for hand_off in each.hand_offs}))
    dark = tuple(sorted({gateway for each in several for gateway in each.gateways}))
    return Failure(several[0].part, " + ".join(each.of for each in several), sites, links, gone, dark)


def _set(numbers: Iterable[int]) -> int:
    found = 0
    for each in numbers:
        found |= 1 << each
    return found
