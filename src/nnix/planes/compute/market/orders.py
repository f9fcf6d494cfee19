"""What a clearing clears: sells and buys in plain numbers, with everything in them that the exchange knows of the network.

From the book to orders is where the network gets its price. For each alternative of a bid and each site that has such devices it is asked whether the
pools there have the assurance, whether there is a way from the bid's port within its latency, whether the links on it have the rate left, and what
moving the data costs. What cannot be delivered is set aside under a reason, and its limit is lowered by what the transfer costs: a bundle in a cheap pool at
the far end competes with a dear one beside the data for what it is really worth.

A member does not trade with itself: bids are kept away from products in which their own member sells.

Orders are put in an order of their own content, refined with what they refer to (colour refinement), so that neither the sequence in which they came in
nor the names of sites, members and orders have a say. Names decide only between orders that nothing but the name tells apart.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import chain
from types import MappingProxyType
from typing import Any

from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.allocate import TAGS
from nnix.planes.compute.kinds import Bid, Deal, Offer, Pool
from nnix.planes.compute.kinds import hour_number as number
from nnix.planes.compute.market.record import Asked
from nnix.planes.compute.rules import market_of
from nnix.planes.compute.wanted import alternatives, unfilled
from nnix.planes.fabric.kinds import Circuit, Port
from nnix.planes.routing.kinds import Session

REFINED_TIMES = 3


Reach = Mapping[tuple[str, str], Any]
"""(site, site) → something with `latency_us` and `links`, as the fabric plane's reach() has it"""


Place = tuple[str, str, str]
"""bid, site, device"""


class Aside(StrEnum):
    """Why an alternative could not be delivered at a site, whatever it paid."""

    OVER = "its hours are over, or farther ahead than is traded"
    OWN = "its member sells there itself"
    ASSURANCE = "the assurance level is too low"
    NO_PORT = "the pool has no port, so no circuit can end there"
    PORT_TAKEN = "a port without tags is in use: the end of another circuit, of a session, or of a gateway's cable"
    NO_TAG = "a tagged port at which its circuit would end has no tag left"
    SAME_PORT = "its circuit would end at the port where it begins"
    NO_WAY = "no way leads there"
    TOO_FAR = "the latency is above the bid's limit"
    RATE = "a port or a link on the way has not so much capacity left"
    LATE = "the data would not be there before the hours are over"
    CONTRACT = "the contract under which its data may be read ends before the hours are over"
    FEW = "there are not so many lots in one of the hours"
    DEAR = "even the cheapest lots and the transfer cost more than the limit"
    REFUSED = "what would follow from it is refused by the rules"
    BESIDE = "what would follow from it is refused by the rules, beside other deals of this clearing"


@dataclass(frozen=True, slots=True)
class Sell:
    """Lots for sale at one site: how many in each hour from `start` on, each for no less than `ask` fen."""

    offer: str
    pool: str
    seller: str
    site: str
    device: str
    ask: int
    start: int
    lots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Want:
    """One thing that would content a buyer: devices in each of some hours in a row at one site, for at most `limit` fen of which `transfer` go to the
    network. Its circuit takes `rate` bit/s on `links` (and on tagged ports, `port/NAME`), and one of the circuits for which each port in `ends` has room."""

    site: str
    device: str
    devices: int
    start: int
    hours: int
    limit: int
    transfer: int
    rate: int
    links: tuple[str, ...]
    ends: tuple[str, ...] = ()

    @property
    def worth(self) -> int:
        """Fen that are left for lots."""
        return self.limit - self.transfer

    def cells(self) -> Iterator[Cell]:
        """The products that it takes."""
        return ((self.site, self.device, hour) for hour in range(self.start, self.start + self.hours))


Cell = tuple[str, str, int]
"""a product: site, device, hour"""


@dataclass(frozen=True, slots=True)
class Buy:
    """A bid: at most one of its wants, whole."""

    bid: str
    buyer: str
    wants: tuple[Want, ...]


@dataclass(frozen=True)
class Orders:
    """All that a clearing is given. free: bit/s left on each link, and on tagged ports that some want uses. dark: links that were not up. room: circuits that may still end at each port that some want needs.
    aside: (bid, site, device, reason). It is about hours from `first` on and before `end`; with `begin_before` only about what begins before that."""

    instant: str
    sells: tuple[Sell, ...]
    buys: tuple[Buy, ...]
    free: Mapping[str, int] = field(default_factory=dict)
    room: Mapping[str, int] = field(default_factory=dict)
    aside: tuple[tuple[str, str, str, str], ...] = ()
    first: int = 0
    end: int = 0
    begin_before: int | None = None
    dark: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As JSON."""
        ways = sorted({want.links for buy in self.buys for want in buy.wants})
        way_of = {way: index for index, way in enumerate(ways)}
        return {
            "instant": self.instant,
            "first": self.first,
            "end": self.end,
            "begin_before": self.begin_before,
            "sells": [{**asdict(each), "lots": list(each.lots)} for each in self.sells],
            "ways": [list(way) for way in ways],
            "buys": [
                {"bid": each.bid, "buyer": each.buyer, "wants": [_row(want, way_of[want.links]) for want in each.wants]}
                for each in self.buys
            ],
            "free": dict(sorted(self.free.items())),
            "room": dict(sorted(self.room.items())),
            "dark": list(self.dark),
            "aside": [dict(zip(("bid", "site", "device", "why"), each, strict=True)) for each in self.aside],
        }

    def supply(self) -> dict[Cell, list[tuple[int, int]]]:
        """product → (ask, lots) of what is for sale, cheapest first."""
        steps: dict[Cell, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for sell in self.sells:
            for hour, lots in enumerate(sell.lots, sell.start):
                if lots:
                    steps[sell.site, sell.device, hour][sell.ask] += lots
        return {cell: sorted(asks.items()) for cell, asks in steps.items()}


def _row(want: Want, way: int) -> list[Any]:
    return [
        *Asked(want.site, want.device, want.devices, want.start, want.hours, want.limit, want.transfer, want.rate, way, list(want.ends))
    ]


def cheapest(steps: Sequence[tuple[int, int]], devices: int) -> int | None:
    """Fen for so many lots, taken from the cheapest on; None when there are fewer."""
    cost = 0
    for ask, lots in steps:
        taken = min(lots, devices)
        cost, devices = cost + taken * ask, devices - taken
        if not devices:
            return cost
    return None


# --- from the book ------------------------------------------------------------------------------------------------------


def orders(
    snapshot: Snapshot,
    reach: Reach,
    free: Mapping[str, int],
    instant: str,
    first: int,
    end: int,
    begin_before: int | None = None,
    dark: AbstractSet[str] = frozenset(),
    refused: Mapping[Place, Aside] = MappingProxyType({}),
) -> Orders:
    """What stands in the book for the hours from `first` on and before `end`. A bid that has a deal is filled.

    dark: links without which `reach` is. refused: of what deals would not be admitted, and why.
    begin_before: spot. Only what begins before that hour is cleared; a bid that can wait for all of its wants is left alone.
    """
    sells = tuple(for_sale(snapshot, first, end))
    selling = {each.pool for each in sells}
    own = {(each.seller, each.site, each.device) for each in sells}
    links = set(free)
    free = {**free, **_free_at_ports(snapshot)}
    room = _room(snapshot)
    found: list[Buy] = []
    aside: list[tuple[str, str, str, str]] = []
    for bid in unfilled(snapshot):
        wants: dict[Want, None] = {}
        waits = set_aside = False
        for want, undeliverable in _wants(bid, snapshot, selling, reach, first, end, room):
            if begin_before is not None and want.start >= begin_before:
                waits = True
                continue
            reasons = (
                Aside.OWN if (str(bid.member), want.site, want.device) in own else None,
                undeliverable,
                Aside.RATE if any(free.get(link, 0) < want.rate for link in want.links) else None,
                refused.get((bid.name, want.site, want.device)),
            )
            why = next((each for each in reasons if each is not None), None)
            if why is None:
                wants[want] = None
            else:
                set_aside = True
                aside.append((bid.name, want.site, want.device, why.value))
        if wants or set_aside or not waits:
            found.append(Buy(bid.name, str(bid.member), tuple(wants)))
    used = {link for buy in found for want in buy.wants for link in want.links}
    left = {link: bits for link, bits in free.items() if link in used | links}
    ends = {port: room[port] for buy in found for want in buy.wants for port in want.ends}
    return feasible(
        Orders(instant, sells, tuple(found), left, ends, tuple(dict.fromkeys(aside)), first, end, begin_before, tuple(sorted(dark)))
    )


def for_sale(snapshot: Snapshot, first: int, end: int) -> Iterator[Sell]:
    """What deals have left of each offer, in the hours from `first` on and before `end`."""
    sold: dict[tuple[str, str], int] = defaultdict(int)
    for deal in snapshot.of(Deal):
        for hour in deal.hours:
            sold[deal.offer, hour] += deal.devices
    by_number = {(offer, number(hour)): lots for (offer, hour), lots in sold.items()}
    for offer in snapshot.of(Offer):
        pool = snapshot.at(offer.pool)
        start, stop = max(first, number(offer.start)), min(end, number(offer.end))
        lots = tuple(offer.lots - by_number.get((offer.name, hour), 0) for hour in range(start, stop))
        if any(lots):
            yield Sell(offer.name, pool.name, str(pool.member), str(pool.site), pool.device, int(offer.ask), start, lots)


def _wants(
    bid: Bid, snapshot: Snapshot, selling: set[str], reach: Reach, first: int, end: int, room: Mapping[str, int]
) -> Iterator[tuple[Want, Aside | None]]:
    """Every want of a bid at every site that has such devices, with the reason why it cannot be.

    Lots of one product are alike, so they may come from any pool that sells it: what hinders one of them hinders the want, and each may be an end of the circuit.
    """
    fee = int(market_of(snapshot).transfer)
    here = snapshot.at(bid.port).site if bid.port is not None else None
    gigabytes = bid.data.gigabytes if bid.data is not None else 0
    contract = snapshot.at(bid.data.contract) if bid.data is not None and bid.data.contract is not None else None
    readable_until = number(contract.until) if contract is not None else None
    for each in alternatives(bid):
        there: dict[tuple[str, str], list[Pool]] = defaultdict(list)
        for pool in snapshot.of(Pool):
            if each.is_of(pool):
                there[str(pool.site), pool.device].append(pool)
        for (site, device), alike in sorted(there.items()):
            pools = [pool for pool in alike if pool.name in selling] or alike
            way = reach.get((str(here), site)) if here is not None else None
            links = tuple(sorted(way.links)) if way is not None else ()
            rate = int(bid.rate) if here is not None else 0
            transfer = gigabytes * fee * len(links)
            names = tuple(
                dict.fromkeys(port for port in (bid.port, *(pool.port for pool in pools)) if port is not None and here is not None)
            )
            ends = [snapshot.at(port) for port in names]
            links += tuple(port.id for port in ends if port.tagged)
            hindered = (_undeliverable(bid, pool, here, way, snapshot, room) for pool in pools)
            why = next((reason for reason in hindered if reason is not None), None)
            starts = range(max(each.start, first), min(each.latest, end - each.hours) + 1)
            if not starts:
                yield (
                    Want(site, device, each.devices, each.start, each.hours, each.limit, transfer, rate, links, tuple(map(str, names))),
                    Aside.OVER,
                )
            for start in starts:
                late = rate and gigabytes * 8 * 10**9 > rate * 3600 * (start - first + each.hours)
                want = Want(site, device, each.devices, start, each.hours, each.limit, transfer, rate, links, tuple(map(str, names)))
                unread = readable_until is not None and start + each.hours > readable_until
                yield want, why or (Aside.LATE if late else Aside.CONTRACT if unread else None)


def _free_at_ports(snapshot: Snapshot) -> dict[str, int]:
    """port id → bit/s that circuits over a tagged port leave on it."""
    left = {port.id: int(port.committed or port.speed) for port in snapshot.of(Port) if port.tagged}
    for circuit in snapshot.of(Circuit):
        for end in circuit.ends:
            port = snapshot.at(end)
            if port.over is not None and (trunk := f"port/{port.over}") in left:
                left[trunk] -= int(circuit.capacity if circuit.capacity is not None else port.committed or port.speed)
    return {port: max(0, rate) for port, rate in left.items()}


def _room(snapshot: Snapshot) -> dict[str, int]:
    """port → circuits that may still end there: as many as it has tags left, or one where it is not tagged, and
    nothing else is there yet: frames without tags are of one circuit, of one session, or of the tunnels to a gateway."""
    used = {str(end) for circuit in snapshot.of(Circuit) for end in circuit.ends}
    used |= {str(session.port) for session in snapshot.of(Session)} | {port.name for port in snapshot.of(Port) if port.gateway is not None}
    tags: dict[str, set[int]] = defaultdict(set)
    for port in snapshot.of(Port):
        if port.over is not None and port.vlan is not None:
            tags[port.over].add(port.vlan)
    return {port.name: len(TAGS) - len(tags[port.name]) if port.tagged else int(port.name not in used) for port in snapshot.of(Port)}


def _undeliverable(bid: Bid, pool: Pool, here: str | None, way: Any, snapshot: Snapshot, room: Mapping[str, int]) -> Aside | None:
    if pool.assurance < bid.assurance:
        return Aside.ASSURANCE
    if here is None or bid.port is None:
        return None
    if pool.port is None:
        return Aside.NO_PORT
    ports: tuple[Port, ...] = (snapshot.at(bid.port), snapshot.at(pool.port))
    if ports[0] is ports[1]:
        return Aside.SAME_PORT
    full = next((port for port in ports if not room[port.name]), None)
    if full is not None:
        return Aside.NO_TAG if full.tagged else Aside.PORT_TAKEN
    if way is None:
        return Aside.NO_WAY
    if bid.latency_max is not None and way.latency_us > int(bid.latency_max):
        return Aside.TOO_FAR
    if any(bid.rate > (port.committed or port.speed) for port in ports):
        return Aside.RATE
    return None


def feasible(given: Orders) -> Orders:
    """`given` without wants that the supply can never fill, or never at their limit, and in the order of their content."""
    supply = given.supply()
    aside = list(given.aside)
    buys = []
    for buy in given.buys:
        kept = []
        for want in buy.wants:
            costs = [cheapest(supply.get(cell, ()), want.devices) for cell in want.cells()]
            total = 0
            for cost in costs:
                if cost is None:
                    aside.append((buy.bid, want.site, want.device, Aside.FEW.value))
                    break
                total += cost
            else:
                if total > want.worth:
                    aside.append((buy.bid, want.site, want.device, Aside.DEAR.value))
                else:
                    kept.append(want)
        buys.append(replace(buy, wants=tuple(kept)))
    return in_order(replace(given, buys=tuple(buys), aside=tuple(sorted(set(aside)))))


# --- an order that no name decides --------------------------------------------------------------------------------------


def _label(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def in_order(given: Orders) -> Orders:
    """The same orders by content: each label says what an order is, then what those are that it stands with, three times over."""
    sites: dict[str, str] = {}
    devices: dict[str, str] = {}
    members: dict[str, str] = {}
    links: dict[str, str] = {name: _label(bits) for name, bits in given.free.items()}
    ports: dict[str, str] = {name: _label(circuits) for name, circuits in given.room.items()}
    sold: list[str] = [""] * len(given.sells)
    bought: list[str] = [""] * len(given.buys)
    for _ in range(REFINED_TIMES):
        sold = [_label(s.ask, s.start, s.lots, sites.get(s.site), devices.get(s.device), members.get(s.seller)) for s in given.sells]
        bought = [
            _label(
                members.get(b.buyer),
                sorted(
                    (
                        *(w.devices, w.start, w.hours, w.limit, w.transfer, w.rate, sites.get(w.site, ""), devices.get(w.device, "")),
                        sorted(links.get(link, "") for link in w.links),
                        sorted(ports.get(port, "") for port in w.ends),
                    )
                    for w in b.wants
                ),
            )
            for b in given.buys
        ]
        near: dict[str, dict[str, list[Any]]] = {kind: defaultdict(list) for kind in ("site", "device", "member", "link", "port")}
        for link, bits in given.free.items():
            near["link"][link].append(("free", str(bits)))
        for port, circuits in given.room.items():
            near["port"][port].append(("room", str(circuits)))
        for sell, label in zip(given.sells, sold, strict=True):
            for kind, name in (("site", sell.site), ("device", sell.device), ("member", sell.seller)):
                near[kind][name].append(("sells", label))
        for buy, label in zip(given.buys, bought, strict=True):
            near["member"][buy.buyer].append(("buys", label))
            for want in buy.wants:
                on = (("link", link) for link in want.links), (("port", port) for port in want.ends)
                for kind, name in (("site", want.site), ("device", want.device), *chain(*on)):
                    near[kind][name].append(("wanted", label, want.limit, want.start, want.hours, want.devices))
        sites, devices, members, links, ports = ({name: _label(sorted(each)) for name, each in around.items()} for around in near.values())

    def by_label(names: tuple[str, ...], labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(sorted(names, key=lambda name: (labels.get(name, ""), name)))

    def wants(buy: Buy) -> tuple[Want, ...]:
        return tuple(
            sorted(
                (replace(w, links=by_label(w.links, links), ends=by_label(w.ends, ports)) for w in buy.wants),
                key=lambda w: (
                    w.start,
                    w.hours,
                    w.devices,
                    w.limit,
                    w.transfer,
                    w.rate,
                    sites[w.site],
                    devices[w.device],
                    sorted(links.get(link, "") for link in w.links),
                    sorted(ports.get(port, "") for port in w.ends),
                    w.site,
                    w.device,
                ),
            )
        )

    return replace(
        given,
        sells=tuple(each for _, _, each in sorted(zip(sold, (s.offer for s in given.sells), given.sells, strict=True))),
        buys=tuple(
            replace(each, wants=wants(each)) for _, _, each in sorted(zip(bought, (b.bid for b in given.buys), given.buys, strict=True))
        ),
        aside=tuple(sorted(given.aside)),
    )
