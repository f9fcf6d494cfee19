"""Is a published clearing right? Asked of the record alone, without a solver, by code that has only the format in common with what made it.

    C1  the record is what its digest says                     C6  every filled bid gets one of its wants, whole, within its limit
    C2  nothing but the fields of the format stands in it      C7  buyers pay what sellers receive, to the fen
    C3  no lot is sold that was not for sale, nor twice        C8  every other bid is rejected, under a reason that the prices bear out
    C4  one price for each product that changed hands          C9  no link or port carries more than it had free
    C5  no sell below its ask; none left out below the price   C10 nobody trades with itself
    C11 welfare, bound and gap are what inputs and duals give

The bound: whatever prices one puts on products and links, no set of trades is worth more than what all would gain at these prices, each for himself. So the
duals need not be believed, only added up. That the inputs are what stood in the book is for the ledger to say; `nnix compute verify` compares them.

A record has ten thousand wants and as many lots to be counted, so they are counted as columns: a product is one number (its place, then its hour), and what
stands at products in a row is the difference of two sums (Ladder). Where a sum could outgrow 64 bits, the same columns hold Python's numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, count
from typing import Any

import numpy as np

from nnix.planes.compute.market.record import (
    FIELDS,
    FORMAT,
    NOT_WHOLE,
    NOTHING,
    OUTBID,
    WANT,
    WANT_HOURS_MAX,
    WOULD_LOSE,
    Asked,
    digest_of,
)

Product = tuple[str, str, int]
Place = tuple[str, str]
"""site, device"""
Fields = Mapping[str, Sequence[Any]]
"""of all wants, by the names in WANT"""
NUMBERS = ("devices", "start", "hours", "limit", "transfer", "rate", "way")
"""those that are whole numbers"""
Column = Any
"""an array of NumPy: of int64, or of Python's numbers"""
HOURS = 1 << 27
"""of a place that keys have room for; the last hour of the year 9999, where calendars end (RFC 3339), is half of it"""


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
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as broken:
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
    wants = [want for buy in buys.values() for want in buy["wants"]]
    if set(map(len, wants)) - {len(WANT)}:
        yield Fault("C2", f"a want has not the fields {', '.join(WANT)}")
        return
    flat = list(chain.from_iterable(wants))
    by_field: Fields = {field: flat[place :: len(WANT)] for place, field in enumerate(WANT)}
    unreadable = [*_wants(by_field, inputs["ways"]), *_numbers(record, sells)]
    yield from unreadable
    if unreadable:
        return
    accepted = {bid: number for bid, number in record["accepted"].items() if bid in buys and _within(number, buys[bid])}
    for bid in record["accepted"]:
        if bid not in accepted:
            yield Fault("C6", f"bid {bid} is filled with what it did not ask for")
    columns = Columns.of(record, sells, buys, by_field)
    prices = Ladder(columns.keys(record["prices"]), columns.whole(row["fen"] for row in record["prices"]))
    for key in prices.twice():
        yield Fault("C4", f"{columns.spelled(key)} has two prices")
    won = np.array([columns.first[bid] + number for bid, number in accepted.items()], np.intp)
    filled = Filled(tuple(accepted), won)
    trades = Trades.of(record["deals"], columns, filled)
    yield from _lots(record["deals"], columns, filled, trades)
    yield from _buyers(columns, filled, trades, prices)
    yield from _sellers(columns, trades, prices)
    yield from _rejected(record, columns, filled, prices)
    yield from _links(inputs, [wants[row] for row in won])
    yield from _worth(record, columns, filled, trades)


def _within(number: Any, buy: Mapping[str, Any]) -> bool:
    return type(number) is int and 0 <= number < len(buy["wants"])


def spelled(product: Product) -> str:
    """In words."""
    return f"{product[1]} at {product[0]}, hour {product[2]}"


# --- can it be added up at all? -----------------------------------------------------------------------------------------


def _wants(by_field: Fields, ways: Sequence[Sequence[str]]) -> Iterator[Fault]:
    """C2. Whole numbers, a way that is there, and so many hours as can be counted."""
    if type(ways) is not list or not all(type(way) is list for way in ways):
        yield Fault("C2", "its ways are no lists of links")
        return
    for field in NUMBERS:
        if set(map(type, by_field[field])) - {int} or min(by_field[field], default=1) < (field == "hours"):
            yield Fault("C2", f"{field} of a want is no whole number, or below what it can be")
            return
    if (hours := max(by_field["hours"], default=1)) > WANT_HOURS_MAX:
        yield Fault("C2", f"a bid wants {hours} hours in a row")
    if (start := max(by_field["start"], default=0)) > HOURS - WANT_HOURS_MAX:
        yield Fault("C2", f"a bid wants hour {start}, which no calendar has")
    if max(by_field["way"], default=-1) >= len(ways) or set(map(type, by_field["ends"])) - {list}:
        yield Fault("C2", "a want has a way that is none, or no list of ports")


def _numbers(record: Mapping[str, Any], sells: Mapping[str, Any]) -> Iterator[Fault]:
    """C2. Whole numbers that are not negative, wherever something is added up: a bound with a negative dual would prove nothing."""
    duals, deals, prices = record["duals"], record["deals"], record["prices"]
    hours = [
        *(row["hour"] for row in prices),
        *(row["hour"] for row in duals["products"]),
        *(sell["start"] + len(sell["lots"]) for sell in sells.values()),
        *chain.from_iterable(deal["hours"] for deal in deals),
    ]
    counted: list[Any] = [
        *(sell["ask"] for sell in sells.values()),
        *chain.from_iterable(sell["lots"] for sell in sells.values()),
        *(sell["start"] for sell in sells.values()),
        *(deal["devices"] for deal in deals),
        *(row["fen"] for row in prices),
        *(row["millifen"] for row in duals["products"]),
        *duals["links"].values(),
        *record["inputs"]["free"].values(),
        *record["inputs"]["room"].values(),
        *hours,
        record["welfare"],
        record["bound"],
    ]
    if set(map(type, counted)) - {int} or min(counted) < 0:
        wrong = next(each for each in counted if type(each) is not int or each < 0)
        yield Fault("C2", f"{wrong!r} stands where a whole number belongs")
    elif max(hours, default=0) > HOURS - WANT_HOURS_MAX:
        yield Fault("C2", f"hour {max(hours)} is one which no calendar has")


# --- columns ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Columns:
    """The inputs. A key is the number of a place times HOURS, and the hour.

    Of wants, in the sequence of the buys: `key` of the first hour, `hours`, `devices`, `worth` (limit less transfer), `transfer`, `rate`, `way`; `first` row of
    each buy, `many` of each. Of lots, in the sequence of the sells: `at` which product, `lots`, `ask`, `seller` (number of the sell), which begins at `begins`; `opens` is
    its first key, `start` its first hour.
    """

    places: Mapping[Place, int]
    exact: type
    buys: Mapping[str, Any]
    first: Mapping[str, int]
    many: Column
    key: Column
    hours: Column
    devices: Column
    worth: Column
    transfer: Column
    rate: Column
    way: Column
    sells: Sequence[Any]
    opens: Column
    start: Column
    begins: Column
    at: Column
    seller: Column
    lots: Column
    ask: Column

    @classmethod
    def of(cls, record: Mapping[str, Any], sells: Mapping[str, Any], buys: Mapping[str, Any], by_field: Fields) -> Columns:
        """Of a record in which whole numbers stand where they belong."""
        exact = _exact(record, sells.values(), by_field)
        places: defaultdict[Place, int] = defaultdict(count().__next__)  # numbered as they are met
        where = np.array(list(map(places.__getitem__, zip(by_field["site"], by_field["device"], strict=True))), np.int64)
        transfer: Column = np.array(by_field["transfer"], exact)
        many = [len(buy["wants"]) for buy in buys.values()]
        start = np.array([sell["start"] for sell in sells.values()], np.int64)
        opens = np.array([places[sell["site"], sell["device"]] for sell in sells.values()], np.int64) * HOURS + start
        lengths = np.array([len(sell["lots"]) for sell in sells.values()], np.intp)
        begins = np.cumsum(lengths) - lengths
        seller = np.repeat(np.arange(len(sells)), lengths)
        return cls(
            places=places,
            exact=exact,
            buys=buys,
            first=dict(zip(buys, accumulate(many, initial=0), strict=False)),
            many=np.array(many, np.intp),
            key=where * HOURS + np.array(by_field["start"], np.int64),
            hours=np.array(by_field["hours"], np.int64),
            devices=np.array(by_field["devices"], exact),
            worth=np.array(by_field["limit"], exact) - transfer,
            transfer=transfer,
            rate=np.array(by_field["rate"], exact),
            way=np.array(by_field["way"], np.intp),
            sells=list(sells.values()),
            opens=opens,
            start=start,
            begins=begins,
            at=(opens - begins)[seller] + np.arange(len(seller)),
            seller=seller,
            lots=np.array(list(chain.from_iterable(sell["lots"] for sell in sells.values())), exact),
            ask=np.array([sell["ask"] for sell in sells.values()], exact)[seller],
        )

    def keys(self, rows: Iterable[Mapping[str, Any]]) -> Column:
        """Of what stands in rows with site, device and hour."""
        return np.array([self.places[row["site"], row["device"]] * HOURS + row["hour"] for row in rows], np.int64)

    def whole(self, numbers: Iterable[int]) -> Column:
        return np.array(list(numbers), self.exact)

    def spelled(self, key: int) -> str:
        """In words."""
        return spelled((*next(place for place, number in self.places.items() if number == key // HOURS), int(key % HOURS)))


def _exact(record: Mapping[str, Any], sells: Iterable[Any], wants: Fields) -> type:
    """What columns are made of: int64 where no product and no sum that is formed of them can outgrow it, Python's numbers otherwise."""
    devices = sum(sum(sell["lots"]) for sell in sells) + sum(wants["devices"])
    devices += sum(deal["devices"] * (1 + len(deal["hours"])) for deal in record["deals"])
    fen = sum(sell["ask"] * (1 + len(sell["lots"])) for sell in sells) + sum(row["fen"] for row in record["prices"])
    millifen = 1000 * fen + sum(row["millifen"] for row in record["duals"]["products"])
    longest = max(map(len, record["inputs"]["ways"]), default=0)
    moved = (1 + max(wants["rate"], default=0)) * (1 + longest * sum(record["duals"]["links"].values()))
    most = 1000 * (sum(wants["limit"]) + sum(wants["transfer"])) + (1 + devices) * (1 + millifen) + moved
    return np.int64 if most < 1 << 62 else object


class Ladder:
    """Figures by key, to be looked up, and summed over hours in a row; nothing where there is none."""

    def __init__(self, keys: Column, figures: Column) -> None:
        order = np.argsort(keys, kind="stable")
        self.keys, self._figures = keys[order], figures[order]
        self._sums = np.concatenate((np.zeros(1, figures.dtype), np.cumsum(self._figures)))

    def twice(self) -> list[int]:
        """Keys that have two figures."""
        return sorted({*self.keys[1:][self.keys[1:] == self.keys[:-1]].tolist()})

    def steps(self, keys: Column, hours: Column) -> tuple[Column, Column]:
        """Where the figures of so many hours from each key on begin, and where they end."""
        return np.searchsorted(self.keys, keys), np.searchsorted(self.keys, keys + hours)

    def summed(self, keys: Column, hours: Column) -> Column:
        """Of so many hours from each key on."""
        begin, end = self.steps(keys, hours)
        return self._sums[end] - self._sums[begin]

    def at(self, keys: Column, otherwise: int) -> Column:
        """At each key, or what is said `otherwise`."""
        found = np.full(len(keys), otherwise, self._figures.dtype)
        begin, end = self.steps(keys, 1)
        found[begin < end] = self._figures[begin[begin < end]]
        return found


@dataclass(frozen=True, slots=True)
class Filled:
    """Bids that are filled, and the row of the want that each gets."""

    bids: tuple[str, ...]
    rows: Column


@dataclass(frozen=True, slots=True)
class Trades:
    """Deals between a bid that is filled and an offer that there is, hour by hour.

    `bid`: number among those filled; `sell`, `devices`, `key`; `lot`: which of the lots, where the offer has that hour (`there`). `taken`: from each of the lots.
    """

    bid: Column
    sell: Column
    devices: Column
    key: Column
    lot: Column
    there: Column
    taken: Column

    @classmethod
    def of(cls, deals: Sequence[Mapping[str, Any]], columns: Columns, filled: Filled) -> Trades:
        """Deals of others are left out: `_lots` names them."""
        sells = {sell["offer"]: number for number, sell in enumerate(columns.sells)}
        bids = {bid: number for number, bid in enumerate(filled.bids)}
        known = [deal for deal in deals if deal["offer"] in sells and deal["bid"] in bids]
        hours = np.array([len(deal["hours"]) for deal in known], np.intp)
        bid = np.repeat(np.array([bids[deal["bid"]] for deal in known], np.intp), hours)
        sell = np.repeat(np.array([sells[deal["offer"]] for deal in known], np.intp), hours)
        devices = np.repeat(columns.whole(deal["devices"] for deal in known), hours)
        nth = np.array(list(chain.from_iterable(deal["hours"] for deal in known)), np.int64) - columns.start[sell]
        lot = columns.begins[sell] + nth
        there = (nth >= 0) & (lot < np.append(columns.begins, len(columns.lots))[sell + 1])
        taken: Column = np.zeros(len(columns.lots), columns.exact)
        np.add.at(taken, lot[there], devices[there])
        return cls(bid, sell, devices, columns.opens[sell] + nth, lot, there, taken)


# --- trades -------------------------------------------------------------------------------------------------------------


def _lots(deals: Sequence[Mapping[str, Any]], columns: Columns, filled: Filled, trades: Trades) -> Iterator[Fault]:
    """C3 and C10: deals are made of lots that were for sale, once, and not one's own."""
    sellers, bids = {sell["offer"]: sell["seller"] for sell in columns.sells}, set(filled.bids)
    for deal in deals:
        bid, offer, devices, hours = deal["bid"], deal["offer"], deal["devices"], deal["hours"]
        if offer not in sellers or bid not in bids:
            yield Fault("C3", f"a deal of bid {bid} with offer {offer}, of which one was not part of it")
            continue
        if devices < 1 or len(set(hours)) != len(hours):
            yield Fault("C3", f"a deal of bid {bid} about {devices} devices in {len(hours)} hours")
        if sellers[offer] == columns.buys[bid]["buyer"]:
            yield Fault("C10", f"{sellers[offer]} buys from itself, by bid {bid} and offer {offer}")
    over = {(int(sell), int(key % HOURS)) for sell, key in zip(trades.sell[~trades.there], trades.key[~trades.there], strict=True)}
    over |= {(int(columns.seller[lot]), int(columns.at[lot] % HOURS)) for lot in np.flatnonzero(trades.taken > columns.lots)}
    for sell, hour in sorted(over):
        yield Fault("C3", f"offer {columns.sells[sell]['offer']} sells more lots in hour {hour} than it had")


def _buyers(columns: Columns, filled: Filled, trades: Trades, prices: Ladder) -> Iterator[Fault]:
    """C4, C6 and C7: each filled bid gets its want, at prices that are there and within its limit; what is paid is received."""
    rows = filled.rows
    keys, hours, devices = columns.key[rows], columns.hours[rows], columns.devices[rows]
    nth = trades.key - keys[trades.bid]
    asked = (nth >= 0) & (nth < hours[trades.bid])
    begins = np.cumsum(hours) - hours
    gets: Column = np.zeros(int(hours.sum()), columns.exact)
    np.add.at(gets, (begins[trades.bid] + nth)[asked & trades.there], trades.devices[asked & trades.there])
    of = np.repeat(np.arange(len(rows)), hours)
    for bid in sorted({*of[gets != devices[of]].tolist()}):
        yield Fault(
            "C6", f"bid {filled.bids[bid]} does not get the lots that it bought, in each hour from {columns.spelled(keys[bid])}, on"
        )
    for bid, key in sorted({*zip(trades.bid[~asked].tolist(), trades.key[~asked].tolist(), strict=True)}):
        yield Fault("C6", f"bid {filled.bids[bid]} gets {columns.spelled(key)}, which it did not buy")
    begin, end = prices.steps(keys, hours)
    for bid in np.flatnonzero(end - begin < hours):
        yield Fault("C4", f"what bid {filled.bids[bid]} bought has no price")
    traded = np.zeros(len(prices.keys) + 1, np.int64)
    np.add.at(traded, begin, 1)
    np.add.at(traded, end, -1)
    for key in prices.keys[np.cumsum(traded)[:-1] == 0].tolist():
        yield Fault("C4", f"{columns.spelled(key)} has a price and no trade")
    paid = devices * prices.summed(keys, hours)
    for bid in np.flatnonzero(paid > columns.worth[rows]):
        limit = columns.worth[rows][bid] + columns.transfer[rows][bid]
        yield Fault("C6", f"bid {filled.bids[bid]} pays {paid[bid] + columns.transfer[rows][bid]} fen, above its limit of {limit}")
    received = int((trades.devices * prices.at(trades.key, 0))[trades.there].sum())
    if int(paid.sum()) != received:
        yield Fault("C7", f"buyers pay {int(paid.sum())} fen and sellers receive {received}")


def _sellers(columns: Columns, trades: Trades, prices: Ladder) -> Iterator[Fault]:
    """C5. What has no price counts as -1 fen, which is below every ask."""
    price = prices.at(columns.at, -1)
    left = columns.lots - trades.taken
    for lot in np.flatnonzero((trades.taken > 0) & (price < columns.ask)):
        offer, fen = columns.sells[columns.seller[lot]]["offer"], price[lot] if price[lot] >= 0 else "no"
        yield Fault("C5", f"offer {offer} sells at {fen} fen in hour {columns.at[lot] % HOURS}, below its ask of {columns.ask[lot]}")
    for lot in np.flatnonzero((left > 0) & (price > columns.ask)):
        offer, hour = columns.sells[columns.seller[lot]]["offer"], columns.at[lot] % HOURS
        yield Fault(
            "C5",
            f"offer {offer} asks {columns.ask[lot]} fen in hour {hour}, below the price of {price[lot]}, and has {left[lot]} lots left",
        )


def _rejected(record: Mapping[str, Any], columns: Columns, filled: Filled, prices: Ladder) -> Iterator[Fault]:
    """C8. A product without a trade counts with its lowest ask; a bid outbid has no want that gains, one that was not whole has."""
    rejected = record["rejected"]
    if set(rejected) != set(columns.buys) - set(filled.bids):
        yield Fault("C8", "not every bid is either filled or rejected")
    offered = columns.lots > 0
    keys, which = np.unique(columns.at[offered], return_inverse=True)
    figures = prices.at(keys, -1)
    lowest: Column = np.full(len(keys), columns.ask.max(initial=0), columns.exact)
    np.minimum.at(lowest, which, columns.ask[offered])
    ladder = Ladder(keys, np.where(figures < 0, lowest, figures))
    banned = {each["bid"] for each in record["banned"]}
    rows = np.flatnonzero(np.repeat(np.array([bid in rejected for bid in columns.buys], bool), columns.many))
    gains = np.zeros(len(columns.key) + 1, bool)
    gains[rows] = columns.worth[rows] > columns.devices[rows] * ladder.summed(columns.key[rows], columns.hours[rows])
    for bid, why in rejected.items():
        wants = columns.buys[bid]["wants"] if bid in columns.buys else []
        begin = columns.first.get(bid, 0)
        gained = gains[begin : begin + len(wants)].any()
        right = NOTHING if not wants else NOT_WHOLE if gained else WOULD_LOSE if bid in banned else OUTBID
        if why != right:
            yield Fault("C8", f"bid {bid} is rejected as {why!r}; by the prices it is {right!r}")


def _links(inputs: Mapping[str, Any], accepted: Iterable[Sequence[Any]]) -> Iterator[Fault]:
    free, room = inputs["free"], inputs["room"]
    carried: dict[str, int] = defaultdict(int)
    ends: dict[str, int] = defaultdict(int)
    for want in map(Asked._make, accepted):
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


def _worth(record: Mapping[str, Any], columns: Columns, filled: Filled, trades: Trades) -> Iterator[Fault]:
    """C11. What trades are worth is what the bids give beyond transfer, less the asks of the very lots that were sold."""
    welfare = int(columns.worth[filled.rows].sum()) - int((columns.ask * trades.taken).sum())
    if welfare != record["welfare"]:
        yield Fault("C11", f"the trades are worth {welfare} fen, not {record['welfare']}")
    products = record["duals"]["products"]
    duals = Ladder(columns.keys(products), columns.whole(row["millifen"] for row in products))
    if duals.twice():
        yield Fault("C11", "a product has two duals")
    bound = _bound(duals, record["duals"]["links"], record["inputs"], columns)
    if bound != record["bound"]:
        yield Fault("C11", f"the duals prove a bound of {bound} fen, not of {record['bound']}")
    gap = -(-(bound - welfare) * 10**6 // bound) if bound else 0
    if gap != record["gap_ppm"] or gap < 0:
        yield Fault("C11", f"the gap is {gap} ppm, not {record['gap_ppm']}")


def _bound(duals: Ladder, links: Mapping[str, int], inputs: Mapping[str, Any], columns: Columns) -> int:
    """Fen, rounded up: what all buyers and all sellers would gain at the duals as prices, each for himself, and what links would earn."""
    bound: int = sum(price * inputs["free"].get(link, 0) // 10**6 + 1 for link, price in links.items())
    gains = columns.worth * 1000 - columns.devices * duals.summed(columns.key, columns.hours)
    for link, price in links.items():
        over = np.array([way.count(link) for way in inputs["ways"]], np.int64)[columns.way]
        gains -= over * (price * columns.rate // 10**6)
    if len(gains):
        of_each = np.maximum.reduceat(gains, (np.cumsum(columns.many) - columns.many)[columns.many > 0])
        bound += int(np.maximum(of_each, 0).sum())
    bound += int((columns.lots * np.maximum(duals.at(columns.at, 0) - columns.ask * 1000, 0)).sum())
    return -(-bound // 1000)
