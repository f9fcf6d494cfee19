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

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nnix.planes.compute.market.record import FIELDS, FORMAT, NOT_WHOLE, NOTHING, OUTBID, WANT_HOURS_MAX, WOULD_LOSE, digest_of

Product = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and which check found it."""

    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


def faults(record: Any) -> tuple[Fault, ...]:
    """Everything that is wrong with a clearing; empty when all is well. Never raises, whatever the record is."""
    try:
        return tuple(_all(record))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as broken:
        return (Fault("C2", f"it cannot be read: {type(broken).__name__} {broken}"),)


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
    for buy in buys.values():
        for want in buy["wants"]:
            if type(want["hours"]) is not int or not 1 <= want["hours"] <= WANT_HOURS_MAX:
                yield Fault("C2", f"bid {buy['bid']} wants {want['hours']!r} hours in a row")
                return
    yield from _numbers(record, sells, buys)
    prices: dict[Product, int] = {}
    for row in record["prices"]:
        product = row["site"], row["device"], row["hour"]
        if product in prices:
            yield Fault("C4", f"{_spelled(product)} has two prices")
        prices[product] = row["fen"]
    accepted = {bid: buys[bid]["wants"][number] for bid, number in record["accepted"].items() if bid in buys and _within(number, buys[bid])}
    for bid in record["accepted"]:
        if bid not in accepted:
            yield Fault("C6", f"bid {bid} is filled with what it did not ask for")
    yield from _lots(record, sells, buys, accepted, prices)
    yield from _buyers(accepted, prices)
    yield from _sellers(record, sells, prices)
    yield from _rejected(record, buys, accepted, sells, prices)
    yield from _links(inputs["free"], accepted)
    yield from _worth(record, sells, buys, accepted)


def _within(number: Any, buy: Mapping[str, Any]) -> bool:
    return type(number) is int and 0 <= number < len(buy["wants"])


def _spelled(product: Product) -> str:
    return f"{product[1]} at {product[0]}, hour {product[2]}"


def _products(want: Mapping[str, Any]) -> Iterator[Product]:
    return ((want["site"], want["device"], hour) for hour in range(want["start"], want["start"] + want["hours"]))


def _numbers(record: Mapping[str, Any], sells: Mapping[str, Any], buys: Mapping[str, Any]) -> Iterator[Fault]:
    """Whole numbers that are not negative, wherever something is added up: a bound with a negative dual would prove nothing."""
    counted: list[Any] = [each["ask"] for each in sells.values()]
    for sell in sells.values():
        counted += sell["lots"]
    for buy in buys.values():
        for want in buy["wants"]:
            counted += [want[field] for field in ("devices", "hours", "limit", "transfer", "rate")]
    counted += [row["fen"] for row in record["prices"]]
    counted += [row["millifen"] for row in record["duals"]["products"]]
    counted += [*record["duals"]["links"].values(), *record["inputs"]["free"].values(), record["welfare"], record["bound"]]
    for each in counted:
        if type(each) is not int or each < 0:
            yield Fault("C2", f"{each!r} stands where a whole number belongs")
            return


def _lots(
    record: Mapping[str, Any], sells: Mapping[str, Any], buys: Mapping[str, Any], accepted: Mapping[str, Any], prices: Mapping[Product, int]
) -> Iterator[Fault]:
    """C3, C4, C6, C7, C10: deals are made of lots that were for sale, and give each filled bid its want."""
    sold: dict[tuple[str, int], int] = defaultdict(int)
    got: dict[tuple[str, str, str, int], int] = defaultdict(int)
    received = paid = 0
    for deal in record["deals"]:
        sell = sells.get(deal["offer"])
        if sell is None or deal["bid"] not in accepted:
            yield Fault("C3", f"a deal of bid {deal['bid']} with offer {deal['offer']}, of which one was not part of it")
            continue
        if type(deal["devices"]) is not int or deal["devices"] < 1 or len(set(deal["hours"])) != len(deal["hours"]):
            yield Fault("C3", f"a deal of bid {deal['bid']} about {deal['devices']} devices in {len(deal['hours'])} hours")
        if sell["seller"] == buys[deal["bid"]]["buyer"]:
            yield Fault("C10", f"{sell['seller']} buys from itself, by bid {deal['bid']} and offer {deal['offer']}")
        for hour in deal["hours"]:
            sold[deal["offer"], hour] += deal["devices"]
            got[deal["bid"], sell["site"], sell["device"], hour] += deal["devices"]
            received += deal["devices"] * prices.get((sell["site"], sell["device"], hour), 0)
    for (offer, hour), lots in sold.items():
        index = hour - sells[offer]["start"]
        if not 0 <= index < len(sells[offer]["lots"]) or lots > sells[offer]["lots"][index]:
            yield Fault("C3", f"{lots} lots of offer {offer} are sold in hour {hour}, more than it had")
    wanted: dict[tuple[str, str, str, int], int] = {}
    for bid, want in accepted.items():
        for product in _products(want):
            wanted[(bid, *product)] = want["devices"]
            paid += want["devices"] * prices.get(product, 0)
    for key in sorted(set(wanted) | set(got)):
        if wanted.get(key, 0) != got.get(key, 0):
            yield Fault("C6", f"bid {key[0]} gets {got.get(key, 0)} lots of {_spelled(key[1:])}, and bought {wanted.get(key, 0)}")
    traded = {key[1:] for key in wanted}
    for product in sorted(traded ^ set(prices)):
        yield Fault("C4", f"{_spelled(product)} has {'no price' if product in traded else 'a price and no trade'}")
    if paid != received:
        yield Fault("C7", f"buyers pay {paid} fen and sellers receive {received}")


def _buyers(accepted: Mapping[str, Any], prices: Mapping[Product, int]) -> Iterator[Fault]:
    for bid, want in accepted.items():
        paid = want["transfer"] + want["devices"] * sum(prices.get(product, 0) for product in _products(want))
        if paid > want["limit"]:
            yield Fault("C6", f"bid {bid} pays {paid} fen, above its limit of {want['limit']}")


def _sellers(record: Mapping[str, Any], sells: Mapping[str, Any], prices: Mapping[Product, int]) -> Iterator[Fault]:
    sold: dict[tuple[str, int], int] = defaultdict(int)
    for deal in record["deals"]:
        for hour in deal["hours"]:
            sold[deal["offer"], hour] += deal["devices"]
    for name, sell in sells.items():
        for index, lots in enumerate(sell["lots"]):
            hour = sell["start"] + index
            price = prices.get((sell["site"], sell["device"], hour))
            gone = sold.get((name, hour), 0)
            if gone and (price is None or price < sell["ask"]):
                yield Fault("C5", f"offer {name} sells at {price} fen in hour {hour}, below its ask of {sell['ask']}")
            if price is not None and price > sell["ask"] and gone < lots:
                yield Fault(
                    "C5", f"offer {name} asks {sell['ask']} fen in hour {hour}, below the price of {price}, and has {lots - gone} lots left"
                )


def _rejected(
    record: Mapping[str, Any], buys: Mapping[str, Any], accepted: Mapping[str, Any], sells: Mapping[str, Any], prices: Mapping[Product, int]
) -> Iterator[Fault]:
    """C8. A product without a trade counts with its lowest ask; a bid outbid has no want that gains, one that was not whole has."""
    if set(record["rejected"]) != set(buys) - set(accepted):
        yield Fault("C8", "not every bid is either filled or rejected")
    lowest: dict[Product, int] = {}
    for sell in sells.values():
        for index, lots in enumerate(sell["lots"]):
            product = sell["site"], sell["device"], sell["start"] + index
            if lots:
                lowest[product] = min(sell["ask"], lowest.get(product, sell["ask"]))
    banned = {each["bid"] for each in record["banned"]}
    for bid, why in record["rejected"].items():
        wants = buys[bid]["wants"] if bid in buys else []
        gains = any(
            want["limit"] - want["transfer"] > want["devices"] * sum(prices.get(each, lowest.get(each, 0)) for each in _products(want))
            for want in wants
        )
        right = NOTHING if not wants else NOT_WHOLE if gains else WOULD_LOSE if bid in banned else OUTBID
        if why != right:
            yield Fault("C8", f"bid {bid} is rejected as {why!r}; by the prices it is {right!r}")


def _links(free: Mapping[str, int], accepted: Mapping[str, Any]) -> Iterator[Fault]:
    carried: dict[str, int] = defaultdict(int)
    ends: dict[str, int] = defaultdict(int)
    for want in accepted.values():
        for link in want["links"]:
            carried[link] += want["rate"]
        for port in want["alone"]:
            ends[port] += 1
    for port, circuits in sorted(ends.items()):
        if circuits > 1:
            yield Fault("C9", f"port {port} would be the end of {circuits} circuits, and has no tags to tell them apart")
    for link, rate in sorted(carried.items()):
        if rate > free.get(link, 0):
            yield Fault("C9", f"{link} would carry {rate} bit/s and has {free.get(link, 0)} free")


def _worth(record: Mapping[str, Any], sells: Mapping[str, Any], buys: Mapping[str, Any], accepted: Mapping[str, Any]) -> Iterator[Fault]:
    """C11. What trades are worth is what the bids give beyond transfer, less the asks of the very lots that were sold."""
    welfare = sum(want["limit"] - want["transfer"] for want in accepted.values())
    for deal in record["deals"]:
        if deal["offer"] in sells:
            welfare -= sells[deal["offer"]]["ask"] * deal["devices"] * len(deal["hours"])
    if welfare != record["welfare"]:
        yield Fault("C11", f"the trades are worth {welfare} fen, not {record['welfare']}")
    dual = {(row["site"], row["device"], row["hour"]): row["millifen"] for row in record["duals"]["products"]}
    if len(dual) != len(record["duals"]["products"]):
        yield Fault("C11", "a product has two duals")
    links = record["duals"]["links"]
    free = record["inputs"]["free"]
    bound = sum(price * free.get(link, 0) // 10**6 + 1 for link, price in links.items())
    for buy in buys.values():
        best = 0
        for want in buy["wants"]:
            lots = _summed(dual, want) * want["devices"]
            way = sum(links.get(link, 0) * want["rate"] // 10**6 for link in want["links"]) if links else 0
            best = max(best, (want["limit"] - want["transfer"]) * 1000 - lots - way)
        bound += best
    for sell in sells.values():
        site, device, ask = sell["site"], sell["device"], sell["ask"] * 1000
        for hour, lots in enumerate(sell["lots"], sell["start"]):
            price = dual.get((site, device, hour), 0)
            if price > ask:
                bound += lots * (price - ask)
    bound = -(-bound // 1000)
    if bound != record["bound"]:
        yield Fault("C11", f"the duals prove a bound of {bound} fen, not of {record['bound']}")
    gap = -(-(bound - welfare) * 10**6 // bound) if bound else 0
    if gap != record["gap_ppm"] or gap < 0:
        yield Fault("C11", f"the gap is {gap} ppm, not {record['gap_ppm']}")


def _summed(dual: Mapping[Product, int], want: Mapping[str, Any]) -> int:
    """The duals of a want's hours together."""
    site, device, start = want["site"], want["device"], want["start"]
    if want["hours"] == 1:
        return dual.get((site, device, start), 0)
    return sum(dual.get((site, device, hour), 0) for hour in range(start, start + want["hours"]))
