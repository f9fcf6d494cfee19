"""Is a published clearing right? Asked of the record alone, without a solver, by code that has only the format in common with what made it.

    C1  the record is what its digest says                     C6  every filled bid gets one of its wants, whole, within its limit
    C2  nothing but the fields of the format stands in it      C7  buyers pay what sellers receive, to the fen
    C3  no lot is sold that was not for sale, nor twice        C8  every other bid is rejected, under a reason that the prices bear out
    C4  one price for each product that changed hands          C9  no link or port carries more than it had free
    C5  no sell below its ask; none left out below the price   C10 nobody trades with itself
    C11 welfare, bound and gap are what inputs and duals give

The bound: whatever prices one puts on products and links, no set of trades is worth more than what all would gain at these prices, each for himself. So the
duals need not be believed, only added up. That the inputs are what stood in the book is for the ledger to say; `nnix compute verify` compares them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from nnix.planes.compute.market.record import FIELDS, FORMAT, NOT_WHOLE, NOTHING, OUTBID, WANT, WANT_HOURS_MAX, WOULD_LOSE, Asked, digest_of

Product = tuple[str, str, int]
ByHour = Mapping[tuple[str, str], Mapping[int, int]]
"""(site, device) → hour → a figure"""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and which check found it."""

    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


def faults(record: Any) -> tuple[Fault, ...]:
    """Everything that is wrong with a clearing; empty when all is well. Never raises, whatever the record is."""
    return collected(_all, record, "C2")


def collected(check: Callable[[Any], Iterable[Fault]], record: Any, unreadable: str) -> tuple[Fault, ...]:
    """What `check` finds in a record; a fault called `unreadable` alone where the record is so that it stumbles."""
    try:
        return tuple(check(record))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as broken:
        return (Fault(unreadable, f"it cannot be read: {type(broken).__name__} {broken}"),)


def _all(record: Mapping[str, Any]) -> Iterator[Fault]:
    if set(record) != set(FIELDS) or record["format"] != FORMAT:
        yield Fault("C2", f"its fields are {', '.join(sorted(record))}")
        return
    if digest_of(record) != record["digest"]:
        yield Fault("C1", "was altered: its content has another digest")
    inputs = record["inputs"]
    sells = {each["offer"]: each for each in inputs["sells"]}
    buys = {each["bid"]: each for each in inputs["buys"]}
    if len(sells) != len(inputs["sells"]) or len(buys) != len(inputs["buys"]):
        yield Fault("C2", "an order stands in the inputs twice")
    unreadable = [*_wants(buys, inputs["ways"]), *_numbers(record, sells)]
    yield from unreadable
    if unreadable:
        return
    prices: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row in record["prices"]:
        there = prices[row["site"], row["device"]]
        if row["hour"] in there:
            yield Fault("C4", f"{spelled((row['site'], row['device'], row['hour']))} has two prices")
        there[row["hour"]] = row["fen"]
    accepted = {
        bid: Asked(*buys[bid]["wants"][number]) for bid, number in record["accepted"].items() if bid in buys and _within(number, buys[bid])
    }
    for bid in record["accepted"]:
        if bid not in accepted:
            yield Fault("C6", f"bid {bid} is filled with what it did not ask for")
    yield from _lots(record, sells, buys, accepted, prices)
    yield from _rejected(record, buys, accepted, sells, prices)
    yield from _links(inputs, accepted)
    yield from _worth(record, sells, buys, accepted)


def _within(number: Any, buy: Mapping[str, Any]) -> bool:
    return type(number) is int and 0 <= number < len(buy["wants"])


def spelled(product: Product) -> str:
    """In words."""
    return f"{product[1]} at {product[0]}, hour {product[2]}"


# --- can it be added up at all? -----------------------------------------------------------------------------------------


def _wants(buys: Mapping[str, Any], ways: Sequence[Sequence[str]]) -> Iterator[Fault]:
    """C2. Each has the fields of the format, whole numbers, a way that is there, and so many hours as can be counted."""
    if type(ways) is not list or not all(type(way) is list for way in ways):
        yield Fault("C2", "its ways are no lists of links")
        return
    wants = [want for buy in buys.values() for want in buy["wants"]]
    if set(map(len, wants)) - {len(WANT)}:
        yield Fault("C2", f"a want has not the fields {', '.join(WANT)}")
        return
    columns = dict(zip(WANT, zip(*wants, strict=True), strict=False))  # none where there is no want
    for field in ("devices", "start", "hours", "limit", "transfer", "rate", "way"):
        column = columns.get(field, (1,))
        if set(map(type, column)) != {int} or min(column) < (field == "hours"):
            yield Fault("C2", f"{field} of a want is no whole number, or below what it can be")
            return
    if max(columns.get("hours", (1,))) > WANT_HOURS_MAX:
        yield Fault("C2", f"a bid wants {max(columns['hours'])} hours in a row")
    if max(columns.get("way", (-1,))) >= len(ways) or set(map(type, columns.get("ends", ([],)))) != {list}:
        yield Fault("C2", "a want has a way that is none, or no list of ports")


def _numbers(record: Mapping[str, Any], sells: Mapping[str, Any]) -> Iterator[Fault]:
    """C2. Whole numbers that are not negative, wherever something is added up: a bound with a negative dual would prove nothing."""
    duals = record["duals"]
    counted: list[Any] = [each["ask"] for each in sells.values()]
    for sell in sells.values():
        counted += sell["lots"]
        counted.append(sell["start"])
    for row in record["prices"]:
        counted += (row["hour"], row["fen"])
    for row in duals["products"]:
        counted += (row["hour"], row["millifen"])
    counted += [
        *duals["links"].values(),
        *record["inputs"]["free"].values(),
        *record["inputs"]["room"].values(),
        record["welfare"],
        record["bound"],
    ]
    if set(map(type, counted)) - {int} or min(counted) < 0:
        wrong = next(each for each in counted if type(each) is not int or each < 0)
        yield Fault("C2", f"{wrong!r} stands where a whole number belongs")


class Ladder:
    """Figures by product, to be summed over hours in a row; nothing where there is none."""

    def __init__(self, figures: ByHour) -> None:
        self._steps: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        self._unbroken: dict[tuple[str, str], tuple[int, list[int]]] = {}
        for where, by_hour in figures.items():
            hours = sorted(by_hour)
            sums = [0, *accumulate(map(by_hour.__getitem__, hours))]
            self._steps[where] = hours, sums
            if hours and hours[-1] - hours[0] == len(hours) - 1:
                self._unbroken[where] = hours[0], sums

    def summed(self, site: str, device: str, start: int, hours: int) -> int:
        """Of the hours from `start` on."""
        where = site, device
        if where in self._unbroken:  # nearly all: hours need not be looked for
            first, sums = self._unbroken[where]
            if first <= start and start + hours - first < len(sums):
                return sums[start + hours - first] - sums[start - first]
        if where not in self._steps:
            return 0
        known, sums = self._steps[where]
        begin = bisect_left(known, start)
        return sums[bisect_left(known, start + hours, begin)] - sums[begin]


# --- trades -------------------------------------------------------------------------------------------------------------


def _lots(
    record: Mapping[str, Any], sells: Mapping[str, Any], buys: Mapping[str, Any], accepted: Mapping[str, Asked], prices: ByHour
) -> Iterator[Fault]:
    """C3 to C7, C10: deals are made of lots that were for sale, and give each filled bid its want; what is paid, and what is received."""
    left = {offer: list(sell["lots"]) for offer, sell in sells.items()}
    got: dict[tuple[str, str, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    received = 0
    for deal in record["deals"]:
        bid, offer, devices, hours = deal["bid"], deal["offer"], deal["devices"], deal["hours"]
        sell = sells.get(offer)
        if sell is None or bid not in accepted:
            yield Fault("C3", f"a deal of bid {bid} with offer {offer}, of which one was not part of it")
            continue
        if type(devices) is not int or devices < 1 or len(set(hours)) != len(hours):
            yield Fault("C3", f"a deal of bid {bid} about {devices} devices in {len(hours)} hours")
        if sell["seller"] == buys[bid]["buyer"]:
            yield Fault("C10", f"{sell['seller']} buys from itself, by bid {bid} and offer {offer}")
        lots, start = left[offer], sell["start"]
        gets, fen = got[bid, sell["site"], sell["device"]], prices.get((sell["site"], sell["device"]), {})
        for hour in hours:
            if not 0 <= hour - start < len(lots) or lots[hour - start] < devices:
                yield Fault("C3", f"offer {offer} sells more lots in hour {hour} than it had")
                continue
            lots[hour - start] -= devices
            gets[hour] += devices
            received += devices * fen.get(hour, 0)
    yield from _buyers(accepted, got, prices, received)
    yield from _sellers(sells, left, prices)


def _buyers(
    accepted: Mapping[str, Asked], got: Mapping[tuple[str, str, str], Mapping[int, int]], prices: ByHour, received: int
) -> Iterator[Fault]:
    ladder = Ladder(prices)
    all_paid = 0
    untraded = {where: set(fen) for where, fen in prices.items()}
    for bid, want in accepted.items():
        where = want.site, want.device
        hours = range(want.start, want.start + want.hours)
        if got.get((bid, *where), {}) != dict.fromkeys(hours, want.devices):
            yield Fault("C6", f"bid {bid} does not get the {want.devices} lots of {want.device} at {want.site} in each hour that it bought")
        if not prices.get(where, {}).keys() >= set(hours):
            yield Fault("C4", f"what bid {bid} bought has no price")
        untraded.get(where, set()).difference_update(hours)
        paid = want.devices * ladder.summed(*where, want.start, want.hours)
        all_paid += paid
        if paid + want.transfer > want.limit:
            yield Fault("C6", f"bid {bid} pays {paid + want.transfer} fen, above its limit of {want.limit}")
    for bid, site, device in got.keys() - {(bid, want.site, want.device) for bid, want in accepted.items()}:
        yield Fault("C6", f"bid {bid} gets {device} at {site}, which it did not buy")
    for (site, device), left in untraded.items():
        for hour in sorted(left):
            yield Fault("C4", f"{spelled((site, device, hour))} has a price and no trade")
    if all_paid != received:
        yield Fault("C7", f"buyers pay {all_paid} fen and sellers receive {received}")


def _sellers(sells: Mapping[str, Any], left: Mapping[str, Sequence[int]], prices: ByHour) -> Iterator[Fault]:
    highest = {where: max(fen.values()) for where, fen in prices.items()}
    for name, sell in sells.items():
        ask, where = sell["ask"], (sell["site"], sell["device"])
        if left[name] == sell["lots"] and highest.get(where, 0) <= ask:
            continue  # sold nothing, and had not to
        there = prices.get(where, {})
        for hour, (lots, unsold) in enumerate(zip(sell["lots"], left[name], strict=True), sell["start"]):
            price = there.get(hour)
            if unsold < lots and (price is None or price < ask):
                yield Fault("C5", f"offer {name} sells at {price} fen in hour {hour}, below its ask of {ask}")
            if unsold and price is not None and price > ask:
                yield Fault("C5", f"offer {name} asks {ask} fen in hour {hour}, below the price of {price}, and has {unsold} lots left")


def _rejected(
    record: Mapping[str, Any], buys: Mapping[str, Any], accepted: Mapping[str, Asked], sells: Mapping[str, Any], prices: ByHour
) -> Iterator[Fault]:
    """C8. A product without a trade counts with its lowest ask; a bid outbid has no want that gains, one that was not whole has."""
    if set(record["rejected"]) != set(buys) - set(accepted):
        yield Fault("C8", "not every bid is either filled or rejected")
    figures: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for sell in sells.values():
        ask, there = sell["ask"], figures[sell["site"], sell["device"]]
        for hour, lots in enumerate(sell["lots"], sell["start"]):
            if lots and there.get(hour, ask) >= ask:
                there[hour] = ask
    for where, fen in prices.items():
        figures[where].update(fen)
    ladder = Ladder(figures)
    banned = {each["bid"] for each in record["banned"]}
    for bid, why in record["rejected"].items():
        wants = buys[bid]["wants"] if bid in buys else []
        gains = any(
            limit - transfer > devices * ladder.summed(site, device, start, hours)
            for site, device, devices, start, hours, limit, transfer, *_ in wants
        )
        right = NOTHING if not wants else NOT_WHOLE if gains else WOULD_LOSE if bid in banned else OUTBID
        if why != right:
            yield Fault("C8", f"bid {bid} is rejected as {why!r}; by the prices it is {right!r}")


def _links(inputs: Mapping[str, Any], accepted: Mapping[str, Asked]) -> Iterator[Fault]:
    free, room = inputs["free"], inputs["room"]
    carried: dict[str, int] = defaultdict(int)
    ends: dict[str, int] = defaultdict(int)
    for want in accepted.values():
        for link in inputs["ways"][want.way]:
            carried[link] += want.rate
        for port in want.ends:
            ends[port] += 1
    for port, circuits in sorted(ends.items()):
        if circuits > room.get(port, 0):
            yield Fault("C9", f"port {port} would be the end of {circuits} circuits, and has room for {room.get(port, 0)}")
    for link, rate in sorted(carried.items()):
        if rate > free.get(link, 0):
            yield Fault("C9", f"{link} would carry {rate} bit/s and has {free.get(link, 0)} free")


# --- what it is worth ---------------------------------------------------------------------------------------------------


def _worth(record: Mapping[str, Any], sells: Mapping[str, Any], buys: Mapping[str, Any], accepted: Mapping[str, Asked]) -> Iterator[Fault]:
    """C11. What trades are worth is what the bids give beyond transfer, less the asks of the very lots that were sold."""
    welfare = sum(want.limit - want.transfer for want in accepted.values())
    for deal in record["deals"]:
        if deal["offer"] in sells:
            welfare -= sells[deal["offer"]]["ask"] * deal["devices"] * len(deal["hours"])
    if welfare != record["welfare"]:
        yield Fault("C11", f"the trades are worth {welfare} fen, not {record['welfare']}")
    duals: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row in record["duals"]["products"]:
        if row["hour"] in duals[row["site"], row["device"]]:
            yield Fault("C11", "a product has two duals")
        duals[row["site"], row["device"]][row["hour"]] = row["millifen"]
    bound = _bound(duals, record["duals"]["links"], record["inputs"], sells.values(), buys.values())
    if bound != record["bound"]:
        yield Fault("C11", f"the duals prove a bound of {bound} fen, not of {record['bound']}")
    gap = -(-(bound - welfare) * 10**6 // bound) if bound else 0
    if gap != record["gap_ppm"] or gap < 0:
        yield Fault("C11", f"the gap is {gap} ppm, not {record['gap_ppm']}")


def _bound(duals: ByHour, links: Mapping[str, int], inputs: Mapping[str, Any], sells: Iterable[Any], buys: Iterable[Any]) -> int:
    """Fen, rounded up: what all buyers and all sellers would gain at the duals as prices, each for himself, and what links would earn."""
    bound: int = sum(price * inputs["free"].get(link, 0) // 10**6 + 1 for link, price in links.items())
    dear = [[links[link] for link in way if link in links] for way in inputs["ways"]]
    ladder = Ladder(duals)
    for buy in buys:
        best = 0
        for site, device, devices, start, hours, limit, transfer, rate, way, _ in buy["wants"]:
            most = (limit - transfer) * 1000
            if most > best:
                gains = most - devices * ladder.summed(site, device, start, hours)
                if gains > best:
                    best = max(best, gains - sum(price * rate // 10**6 for price in dear[way]))
        bound += best
    highest = {where: max(by_hour.values()) for where, by_hour in duals.items()}
    for sell in sells:
        where, ask = (sell["site"], sell["device"]), sell["ask"] * 1000
        if highest.get(where, 0) > ask:
            there = duals[where]
            for hour, lots in enumerate(sell["lots"], sell["start"]):
                price = there.get(hour, 0)
                if price > ask:
                    bound += lots * (price - ask)
    return -(-bound // 1000)
