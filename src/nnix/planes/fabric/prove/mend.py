"""What to build so that a failure no longer cuts anybody off, and what it costs.

For every part that a failure parts from the exchange, the cheapest new link is the shortest one from it to what remains: the cost of a
fibre grows with its length. The length is the great circle between the sites' coordinates; ways of real fibres are longer, by much
the same factor everywhere. A site that died cannot be mended by a link: its own members need a port at a second one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from nnix.kernel.resource import BitRate
from nnix.planes.fabric.prove.cuts import parts
from nnix.planes.fabric.prove.network import Failure, Network, bits
from nnix.planes.members.kinds import Site

EARTH_KM = 6371.0088  # mean radius (IUGG)
GIGABIT = 10**9


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link to add. `kilometres` is None where a site has no coordinates, `fen` where no price was given."""

    a: str
    b: str
    capacity: BitRate
    kilometres: float | None
    fen: int | None
    removes: tuple[str, ...] = ()

    def __str__(self) -> str:
        length = "length unknown: coordinates are missing" if self.kilometres is None else f"{self.kilometres:.0f} km"
        price = "" if self.fen is None else f", {self.fen} fen"
        return f"add a Link {self.a} – {self.b} of {self.capacity} ({length}{price})"


def kilometres(a: Site, b: Site) -> float | None:
    """The great circle between two sites, by the haversine formula; None when one has no coordinates."""
    if a.latitude is None or a.longitude is None or b.latitude is None or b.longitude is None:
        return None
    north, south = math.radians(a.latitude), math.radians(b.latitude)
    half = math.sin((north - south) / 2) ** 2
    half += math.cos(north) * math.cos(south) * math.sin(math.radians(a.longitude - b.longitude) / 2) ** 2
    return 2 * EARTH_KM * math.asin(min(1.0, math.sqrt(half)))


def mends(net: Network, failure: Failure, fen_per_km_gigabit: int | None = None) -> tuple[NewLink, ...]:
    """A new link for each part with ports that `failure` parts from the exchange; empty when it parts none."""
    main, *others = parts(net, failure.sites, failure.links) or [0]
    found = []
    for part in others:
        if not any(net.ports[site] for site in bits(part)):
            continue
        _, a, b = min((_length(net.sites[a], net.sites[b]), a, b) for a in bits(part) for b in bits(main))
        severed = [link for site in bits(part) for _, link in net.around[site] if failure.links >> link & 1]
        capacity = max((net.links[link].capacity for link in severed), default=BitRate(100 * GIGABIT))
        length = kilometres(net.sites[a], net.sites[b])
        fen = None if length is None or fen_per_km_gigabit is None else round(length * fen_per_km_gigabit * capacity / GIGABIT)
        found.append(NewLink(net.sites[a].name, net.sites[b].name, BitRate(capacity), length, fen))
    return tuple(found)


def removes(net: Network, new: NewLink, points: Iterable[Failure]) -> tuple[str, ...]:
    """Which of several failures cut nobody off behind them any more once `new` is there."""
    a, b = 1 << net.number(new.a), 1 << net.number(new.b)
    found = []
    for failure in points:
        with_ports = [part for part in parts(net, failure.sites, failure.links) if any(net.ports[site] for site in bits(part))]
        if len(with_ports) == 2 and any(part & a for part in with_ports) and any(part & b and not part & a for part in with_ports):
            found.append(failure.of)
    return tuple(found)


def _length(a: Site, b: Site) -> float:
    length = kilometres(a, b)
    return math.inf if length is None else length
