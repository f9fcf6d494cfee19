"""The inputs of a clearing, held against the book that it was made of: orders, ways, what was free, and every reason for which something was set aside.

Its proof (market/verify.py) says that it is right if these were its inputs. Here it is said whether they were. The book is read anew, and ways are looked for
anew, by code that has nothing in common with what clears: the links that were up then stand in the record.

What nobody recorded is believed: that just those links were not up, and that links carried more than was sold on them, where the record has less left on a
link than circuits leave. And a deal that a rule refused only beside others is not tried again, since those others may not have been filled in the end.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from nnix.cli.clearing import SPOT_HOURS
from nnix.cli.root import ALL_PLANES
from nnix.kernel.change import admit
from nnix.kernel.resource import Ref
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.allocate import TAGS
from nnix.planes.compute.derive import named
from nnix.planes.compute.kinds import Bid, Deal, DealState, Offer, Pool, hour_named, hour_number
from nnix.planes.compute.market.orders import Aside, cheapest
from nnix.planes.compute.market.record import wants_of
from nnix.planes.compute.rules import market_of
from nnix.planes.compute.wanted import Alternative, alternatives
from nnix.planes.fabric.frr import cost
from nnix.planes.fabric.kinds import Circuit, Link, Port
from nnix.planes.members.kinds import Money
from nnix.planes.routing.kinds import Session

Way = tuple[int, frozenset[str]]
"""microseconds, and names of links"""


@dataclass(frozen=True)
class Known:
    """What a book and the inputs of a clearing say together.

    ways: (site, site) → way. supply: (site, device, hour) → (ask, lots). selling: pools with a sell. pools: (site, device) → of which its lots may come.
    sold: bit/s that circuits were sold on each link. room: circuits that may still end at each port. free: bit/s, of tagged ports by the book and of links by
    the inputs.
    """

    book: Snapshot
    first: int
    ways: Mapping[tuple[str, str], Way]
    supply: Mapping[tuple[str, str, int], Sequence[tuple[int, int]]]
    selling: frozenset[str]
    pools: Mapping[tuple[str, str], Sequence[Pool]]
    sold: Mapping[str, int]
    room: Mapping[str, int]
    free: Mapping[str, int]

    def ends(self, bid: Bid, site: str, device: str) -> list[Port]:
        """Ports at which a circuit to any of these pools would end."""
        if bid.port is None:
            return []
        names = dict.fromkeys((str(bid.port), *(str(each.port) for each in self.pools.get((site, device), ()) if each.port is not None)))
        return [self.book.at(Ref.to(Port, name)) for name in names]

    def way(self, bid: Bid, site: str) -> Way | None:
        """From the bid's port; of no links for who needs no circuit, None where no way leads."""
        return (0, frozenset()) if bid.port is None else self.ways.get((str(self.book.at(bid.port).site), site))

    def transfer(self, bid: Bid, way: Way) -> int:
        """Fen for moving its data."""
        return (bid.data.gigabytes if bid.data is not None else 0) * int(market_of(self.book).transfer) * len(way[1])


def orders_differ(book: Snapshot, inputs: Mapping[str, Any]) -> list[str]:
    """What differs between the inputs of a clearing and the book: altered, invented or left out."""
    first, end, begin_before = inputs.get("first"), inputs.get("end"), inputs.get("begin_before")
    if type(first) is not int or type(end) is not int or not inputs["instant"].startswith(hour_named(first)[:-1]):
        return ["it does not say for which hours it was made, or for others than those from its instant on"]
    if begin_before not in (None, first + SPOT_HOURS) or not first < end <= first + market_of(book).forward_hours_max:
        return ["it was made for hours that no clearing is made for"]
    known = _known(book, inputs, first)
    return [
        *_network_differs(known, inputs),
        *_offers_differ(book, inputs, first, end),
        *_bids_differ(known, inputs, end, begin_before),
    ]


def _known(book: Snapshot, inputs: Mapping[str, Any], first: int) -> Known:
    supply: dict[tuple[str, str, int], list[tuple[int, int]]] = defaultdict(list)
    for sell in inputs["sells"]:
        for hour, lots in enumerate(sell["lots"], sell["start"]):
            supply[sell["site"], sell["device"], hour].append((sell["ask"], lots))
    ways = {
        (here, site): way
        for here in {end for link in book.of(Link) for end in (str(link.a), str(link.b))} | {str(port.site) for port in book.of(Port)}
        for site, way in ways_from(book, here, frozenset(inputs["dark"])).items()
    }
    selling = frozenset(each["pool"] for each in inputs["sells"])
    alike: dict[tuple[str, str], list[Pool]] = defaultdict(list)
    for pool in book.of(Pool):
        alike[str(pool.site), pool.device].append(pool)
    return Known(
        book=book,
        first=first,
        ways=ways,
        supply={cell: sorted(steps) for cell, steps in supply.items()},
        selling=selling,
        pools={product: [each for each in pools if each.name in selling] or pools for product, pools in alike.items()},
        sold=_sold_on(book, ways),
        room=_room(book),
        free={**inputs["free"], **_free_on_ports(book)},
    )


# --- the network --------------------------------------------------------------------------------------------------------


def ways_from(book: Snapshot, here: str, dark: frozenset[str]) -> dict[str, Way]:
    """site → the shortest ways there by OSPF's costs, without links that are dark: all their links, and how long the slowest takes."""
    around: dict[str, list[tuple[str, Link]]] = defaultdict(list)
    for link in book.of(Link):
        if link.name not in dark and link.a != link.b:
            around[link.a].append((str(link.b), link))
            around[link.b].append((str(link.a), link))
    nearest = {here: 0}
    found: dict[str, Way] = {here: (0, frozenset())}
    waiting, done = [(0, here)], set[str]()
    while waiting:
        far, site = heapq.heappop(waiting)
        if site in done:
            continue
        done.add(site)
        slowest, links = found[site]
        for other, link in around[site]:
            total = far + cost(int(link.latency))
            if total > nearest.get(other, total):
                continue
            longer, more = slowest + int(link.latency), links | {link.name}
            if total == nearest.get(other):
                longer, more = max(longer, found[other][0]), more | found[other][1]
            nearest[other], found[other] = total, (longer, more)
            heapq.heappush(waiting, (total, other))
    return found


def _sold_on(book: Snapshot, ways: Mapping[tuple[str, str], Way]) -> dict[str, int]:
    """link → bit/s that circuits over it were sold for."""
    sold: dict[str, int] = defaultdict(int)
    for circuit in book.of(Circuit):
        ports = [book.at(end) for end in circuit.ends]
        rate = int(circuit.capacity) if circuit.capacity is not None else min(int(port.committed or port.speed) for port in ports)
        at = list(dict.fromkeys(str(port.site) for port in ports))
        legs = pairwise([at[0], *map(str, circuit.via), at[1]]) if len(at) == 2 else combinations(at, 2)
        for link in frozenset[str]().union(*(ways[leg][1] for leg in legs if leg in ways)):
            sold[link] += rate
    return sold


def _room(book: Snapshot) -> dict[str, int]:
    """port → circuits that may still end there. One without tags has room for one, where no circuit, no session and no gateway's cable is there."""
    used = {str(end) for circuit in book.of(Circuit) for end in circuit.ends} | {str(each.port) for each in book.of(Session)}
    used |= {each.name for each in book.of(Port) if each.gateway is not None}
    tags = Counter(cable for cable, _ in {(str(each.over), each.vlan) for each in book.of(Port) if each.over is not None})
    return {each.name: len(TAGS) - tags[each.name] if each.tagged else int(each.name not in used) for each in book.of(Port)}


def _free_on_ports(book: Snapshot) -> dict[str, int]:
    """tagged port, by id → bit/s that circuits over it leave."""
    used = Counter[str]()
    for circuit in book.of(Circuit):
        for port in map(book.at, circuit.ends):
            if port.over is not None:
                used[f"port/{port.over}"] += int(circuit.capacity if circuit.capacity is not None else port.committed or port.speed)
    return {port.id: max(0, int(port.committed or port.speed) - used[port.id]) for port in book.of(Port) if port.tagged}


def _network_differs(known: Known, inputs: Mapping[str, Any]) -> Iterator[str]:
    """What is free on links is at most what circuits leave; on ports, and as room for circuits, just that."""
    book = known.book
    capacity = {link.name: int(link.capacity) for link in book.of(Link)}
    ports = _free_on_ports(book)
    for name in sorted(set(inputs["dark"]) - set(capacity)):
        yield f"link {name} was not up, and there is none"
    for name in sorted(set(capacity) - set(inputs["free"])):
        yield f"it does not say what is free on link {name}"
    for name, bits in inputs["free"].items():
        if name in capacity:
            if bits > max(0, capacity[name] - known.sold.get(name, 0)):
                yield f"{bits} bit/s are not free on link {name}: circuits were sold {known.sold.get(name, 0)} of {capacity[name]}"
        elif bits != known.free[name] or name not in ports:
            yield f"{bits} bit/s are not what is free on {name}"
    for name, circuits in inputs["room"].items():
        if circuits != known.room.get(name):
            yield f"port {name} has no room for {circuits} circuits"


def sold_of(book: Snapshot) -> Counter[tuple[str, int]]:
    """(offer, hour) → lots that deals have of it."""
    sold: Counter[tuple[str, int]] = Counter()
    for deal in book.of(Deal):
        for hour in deal.hours:
            sold[str(deal.offer), hour_number(hour)] += deal.devices
    return sold


# --- orders -------------------------------------------------------------------------------------------------------------


def _offers_differ(book: Snapshot, inputs: Mapping[str, Any], first: int, end: int) -> Iterator[str]:
    """Each offer with lots left is a sell, word for word, and nothing else is."""
    sold = sold_of(book)
    stood: dict[str, Mapping[str, Any]] = {}
    for offer in book.of(Offer):
        pool, start = book.at(offer.pool), max(first, hour_number(offer.start))
        lots = [offer.lots - sold[offer.name, hour] for hour in range(start, min(end, hour_number(offer.end)))]
        if any(lots):
            about = {"pool": pool.name, "seller": str(pool.member), "site": str(pool.site), "device": pool.device}
            stood[offer.name] = {"offer": offer.name, **about, "ask": int(offer.ask), "start": start, "lots": lots}
    sells = {each["offer"]: each for each in inputs["sells"]}
    for name in sorted(set(stood) | set(sells)):
        if name not in sells:
            yield f"offer {name} stood in the book and was left out"
        elif sells[name] != stood.get(name):
            yield f"offer {name} did not stand so in the book"


def _bids_differ(known: Known, inputs: Mapping[str, Any], end: int, begin_before: int | None) -> Iterator[str]:
    """Each bid without a deal is a buy of its member, and each alternative at each site is a want as it was asked, or was set aside for a reason that is true."""
    book, first = known.book, known.first
    filled = {str(each.bid) for each in book.of(Deal)}
    aside: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in inputs["aside"]:
        aside[row["bid"], row["site"], row["device"]].add(row["why"])
    buys = {each["bid"]: each for each in inputs["buys"]}
    for name in sorted(set(buys) - {each.name for each in book.of(Bid)}):
        yield f"bid {name} did not stand in the book"
    for bid in book.of(Bid):
        asked = list(alternatives(bid))
        buy = buys.get(bid.name)
        if buy is None:
            if bid.name not in filled and (begin_before is None or any(each.start < begin_before for each in asked)):
                yield f"bid {bid.name} stood in the book and was left out"
            continue
        if bid.name in filled or buy["buyer"] != bid.member:
            yield f"bid {bid.name} of {buy['buyer']} did not stand so in the book"
        wanted: dict[tuple[Any, ...], set[int]] = defaultdict(set)
        for want in wants_of(inputs, buy):
            wanted[want["site"], want["device"], want["devices"], want["hours"], want["limit"]].add(want["start"])
            each = next((each for each in asked if _is(each, want, first, end, begin_before)), None)
            if each is None:
                yield f"bid {bid.name} did not ask for {want['devices']} of {want['device']} at {want['site']} so"
            elif wrong := _way_differs(known, bid, want):
                yield f"bid {bid.name} at {want['site']}: {wrong}"
            elif hindered := true_of(known, bid, each, want["site"], want["start"]):
                yield f"bid {bid.name} at {want['site']} was let in, and {min(hindered).value}"
        for each in asked:
            starts = range(max(each.start, first), min(each.latest, end - each.hours, (begin_before or end) - 1) + 1)
            for site, device in sorted({(str(pool.site), pool.device) for pool in book.of(Pool) if each.is_of(pool)}):
                there = wanted.get((site, device, each.devices, each.hours, each.limit), set())
                why = aside[bid.name, site, device]
                if not all(_borne_out(known, bid, each, site, start, why) for start in starts if start not in there):
                    yield f"bid {bid.name} asked for {each.devices} of {device} at {site}, which was left out"


def _is(each: Alternative, want: Mapping[str, Any], first: int, end: int, begin_before: int | None) -> bool:
    """Whether a want is this alternative, in the hours that the clearing is about."""
    in_time = first <= want["start"] <= end - want["hours"] and (begin_before is None or want["start"] < begin_before)
    asked = each.allows(want["devices"], want["hours"], want["start"]) and each.site in (None, want["site"])
    return in_time and asked and (each.device, each.limit) == (want["device"], want["limit"])


def _borne_out(known: Known, bid: Bid, asked: Alternative, site: str, start: int, why: set[str]) -> bool:
    """Whether one of the reasons that were given is one."""
    if Aside.BESIDE in why:
        return True
    return bool(why & true_of(known, bid, asked, site, start)) or (Aside.REFUSED in why and _refused(known, bid, asked, site, start))


def true_of(known: Known, bid: Bid, asked: Alternative, site: str, start: int) -> set[Aside]:
    """Every reason for which an alternative could not be delivered at a site from an hour on, by the book, the sells and what was free."""
    pools, ends, way = known.pools.get((site, asked.device), ()), known.ends(bid, site, asked.device), known.way(bid, site)
    rate = int(bid.rate) if bid.port is not None else 0
    gigabytes, contract = (0, None) if bid.data is None else (bid.data.gigabytes, bid.data.contract)
    hours = range(start, start + asked.hours)
    costs = [cheapest(known.supply.get((site, asked.device, hour), ()), asked.devices) for hour in hours]
    narrow = [known.free.get(link, 0) < rate for link in (way[1] if way is not None else ())]
    narrow += [known.free.get(port.id, rate) < rate or int(port.committed or port.speed) < rate for port in ends]
    full = [port for port in ends if not known.room[port.name]]
    holds = {
        Aside.FEW: None in costs,
        Aside.DEAR: way is not None and sum(each or 0 for each in costs) + known.transfer(bid, way) > asked.limit,
        Aside.OWN: any(each.member == bid.member for each in pools if each.name in known.selling),
        Aside.ASSURANCE: any(each.assurance < bid.assurance for each in pools),
        Aside.NO_PORT: bid.port is not None and any(each.port is None for each in pools),
        Aside.SAME_PORT: bid.port is not None and any(each.port == bid.port for each in pools),
        Aside.PORT_TAKEN: any(not port.tagged for port in full),
        Aside.NO_TAG: any(port.tagged for port in full),
        Aside.NO_WAY: way is None,
        Aside.TOO_FAR: way is not None and bid.port is not None and bid.latency_max is not None and way[0] > int(bid.latency_max),
        Aside.RATE: any(narrow),
        Aside.LATE: rate > 0 and gigabytes * 8 * 10**9 > rate * 3600 * (start - known.first + asked.hours),
        Aside.CONTRACT: contract is not None and start + asked.hours > hour_number(known.book.at(contract).until),
    }
    return {reason for reason, is_so in holds.items() if is_so}


def _refused(known: Known, bid: Bid, asked: Alternative, site: str, start: int) -> bool:
    """Whether a rule of the exchange refuses to fill the bid so from the cheapest offers; tried on the book, with deals that are over let go."""
    book = known.book
    left = Counter(
        {(each.name, hour): each.lots for each in book.of(Offer) for hour in range(hour_number(each.start), hour_number(each.end))}
    )
    left.subtract(sold_of(book))
    there = [each for each in book.of(Offer) if book.at(each.pool) in known.pools.get((site, asked.device), ())]
    taken: dict[tuple[str, int], list[int]] = defaultdict(list)
    for hour in range(start, start + asked.hours):
        needed = asked.devices
        for each in sorted(there, key=lambda each: (int(each.ask), each.name)):
            if lots := min(max(0, left[each.name, hour]), needed):
                taken[each.name, lots].append(hour)
                needed -= lots
    trial = [
        Deal(
            name=named(bid.name, str(index)),
            bid=Ref.to(Bid, bid.name),
            offer=Ref.to(Offer, offer),
            pool=book.at(Ref.to(Offer, offer)).pool,
            devices=lots,
            hours=tuple(map(hour_named, hours)),
            prices=(book.at(Ref.to(Offer, offer)).ask,) * len(hours),
            transfer=Money(known.transfer(bid, known.way(bid, site) or (0, frozenset())) if index == 1 else 0),
        )
        for index, ((offer, lots), hours) in enumerate(taken.items(), 1)
    ]
    over = [
        each.changed(state="released", pool_vlan=None, port_vlan=None)
        for each in book.where(Deal, state=DealState.RESERVED)
        if hour_number(each.hours[-1]) < known.first
    ]
    try:
        admit(ALL_PLANES, book.declared.replaced([*over, *trial]), book)
    except Refused:
        return True
    return False


def _way_differs(known: Known, bid: Bid, want: Mapping[str, Any]) -> str:
    """What is wrong with the network in a want: links that lead there, ports at its ends, rate, transfer."""
    way = known.way(bid, want["site"])
    links = {each for each in want["links"] if not each.startswith("port/")}
    if way is None or links != way[1]:
        return "its links do not lead there" if bid.port is not None else "it needs no links"
    ends = known.ends(bid, want["site"], want["device"])
    if {each for each in want["links"] if each.startswith("port/")} != {each.id for each in ends if each.tagged}:
        return "its circuit ends at other tagged ports"
    if set(want["ends"]) != {each.name for each in ends}:
        return "its circuit ends at other ports"
    if want["rate"] != (int(bid.rate) if bid.port is not None else 0):
        return f"it takes {want['rate']} bit/s"
    if want["transfer"] != known.transfer(bid, way):
        return f"transfer is not {want['transfer']} fen"
    return ""
