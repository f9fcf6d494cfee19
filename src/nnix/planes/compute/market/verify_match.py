"""Is a published match of the continuous book right? Asked of its record alone, by code that has only the format in common with what matched.

    M1  the record is what its digest says                      M4  a bid is filled whole, once
    M2  nothing but the fields of the format stands in it,      M5  the price is that of the order which was there first
        in whole numbers, and no order twice                    M6  nobody trades with itself
    M3  no lot is sold that did not stand there, nor twice      M7  price, then time: who got what of whom, and in which sequence

The first six look at what was done, each fill for itself. The seventh does it again: orders are let in one by one as they arrived, and what changes hands
then has to be what was published. That leaves no room: by price and time there is one outcome.

What the record cannot say is whether these orders stood in the book, when they arrived, and whether others stood there that met as well. That is for the ledger
to say; `nnix compute verify` compares them.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnix.planes.compute.market.record import MATCH_FIELDS, MATCH_FORMAT, digest_of
from nnix.planes.compute.market.verify import Fault, Product, collected, spelled

Row = Mapping[str, Any]

ASK_NUMBERS, BID_NUMBERS = ("entry", "fen", "offered", "lots"), ("entry", "fen", "lots")


def match_faults(record: Any) -> tuple[Fault, ...]:
    """Everything that is wrong with a match; empty when all is well. Never raises, whatever the record is."""
    return collected(_all, record, "M2")


def _all(record: Mapping[str, Any]) -> Iterator[Fault]:
    if set(record) != set(MATCH_FIELDS) or record["format"] != MATCH_FORMAT or set(record["inputs"]) != {"instant", "products"}:
        yield Fault("M2", f"its fields are {', '.join(sorted(record))}")
        return
    if digest_of(record) != record["digest"]:
        yield Fault("M1", "was altered: its content has another digest")
    stood: dict[Product, Row] = {product_of(each): each for each in record["inputs"]["products"]}
    if len(stood) != len(record["inputs"]["products"]):
        yield Fault("M2", "the book of a product stands in it twice")
    if wrong := next(_misshapen(record, stood), None):
        yield wrong
        return
    fills: dict[Product, list[Row]] = defaultdict(list)
    for fill in record["fills"]:
        fills[product_of(fill)].append(fill)
    for product in sorted(set(fills) ^ set(stood)):
        yield Fault("M3", f"{spelled(product)}: {'nothing stood there' if product in fills else 'nothing changed hands'}")
    for product in sorted(set(fills) & set(stood)):
        asks = {each["offer"]: each for each in stood[product]["asks"]}
        bids = {each["bid"]: each for each in stood[product]["bids"]}
        yield from _fills(product, fills[product], asks, bids)
        published = [(each["bid"], each["offer"], each["lots"], each["fen"]) for each in fills[product]]
        if published != replayed(list(asks.values()), list(bids.values())):
            yield Fault("M7", f"{spelled(product)}: let in as they arrived, these orders get something else of one another")


def product_of(row: Row) -> Product:
    """Site, device and hour."""
    return row["site"], row["device"], row["hour"]


def _misshapen(record: Mapping[str, Any], stood: Mapping[Product, Row]) -> Iterator[Fault]:
    """Orders that stand there twice, and what is no whole number of one or more: what is added up below would prove nothing."""
    numbers: list[Any] = [fill[field] for fill in record["fills"] for field in ("lots", "fen")]
    for product, book in stood.items():
        for side, name, fields in (("asks", "offer", ASK_NUMBERS), ("bids", "bid", BID_NUMBERS)):
            if len({each[name] for each in book[side]}) != len(book[side]):
                yield Fault("M2", f"{spelled(product)}: an order stands there twice")
            numbers += [each[field] for each in book[side] for field in fields]
        if any(each["lots"] > each["offered"] for each in book["asks"]):
            yield Fault("M2", f"{spelled(product)}: an offer has more lots left than it began with")
    if (bad := next((each for each in numbers if type(each) is not int or each < 0), None)) is not None:
        yield Fault("M2", f"{bad!r} stands where a whole number belongs")


def _fills(product: Product, fills: Sequence[Row], asks: Mapping[str, Row], bids: Mapping[str, Row]) -> Iterator[Fault]:
    """M3 to M6."""
    where = spelled(product)
    sold: Counter[str] = Counter()
    got: Counter[str] = Counter()
    for fill in fills:
        ask, bid = asks.get(fill["offer"]), bids.get(fill["bid"])
        if ask is None or bid is None:
            yield Fault("M3", f"{where}: bid {fill['bid']} and offer {fill['offer']} trade, of which one did not stand there")
            continue
        sold[fill["offer"]] += fill["lots"]
        got[fill["bid"]] += fill["lots"]
        was_first = (ask["entry"], 0) < (bid["entry"], 1)
        if fill["fen"] != (ask["fen"] if was_first else bid["fen"]) or ask["fen"] > bid["fen"]:
            yield Fault(
                "M5", f"{where}: bid {fill['bid']} of {bid['fen']} fen and offer {fill['offer']} of {ask['fen']} trade at {fill['fen']}"
            )
        if ask["seller"] == bid["buyer"]:
            yield Fault("M6", f"{where}: {bid['buyer']} buys from itself, by bid {fill['bid']} and offer {fill['offer']}")
    for offer, lots in sorted(sold.items()):
        if lots > asks[offer]["lots"]:
            yield Fault("M3", f"{where}: {lots} lots of offer {offer} are sold, and {asks[offer]['lots']} stood there")
    for bid_name, lots in sorted(got.items()):
        if lots != bids[bid_name]["lots"]:
            yield Fault("M4", f"{where}: bid {bid_name} gets {lots} lots, and bought {bids[bid_name]['lots']}")


def replayed(asks: Sequence[Row], bids: Sequence[Row]) -> list[tuple[str, str, int, int]]:
    """(bid, offer, lots, fen) of all that changes hands, in that sequence, as these orders of one product arrive one after the other.

    An order arrives with its ledger entry; of one entry offers first, then the better price, the larger order, the name.
    """
    arriving = [((ask["entry"], 0, ask["fen"], -ask["offered"], ask["offer"]), ask) for ask in asks]
    arriving += [((bid["entry"], 1, -bid["fen"], -bid["lots"], bid["bid"]), bid) for bid in bids]
    arriving.sort(key=lambda each: each[0])
    shelf: list[tuple[int, int]] = []  # (fen, place in `arriving`) of offers with lots left, the cheapest first
    queue: list[tuple[int, int]] = []  # (-fen, place in `arriving`) of bids that wait, the highest first
    left: dict[int, int] = {}
    done: list[tuple[str, str, int, int]] = []
    for place, ((_, is_bid, *_), order) in enumerate(arriving):
        if is_bid:
            insort(queue, (-order["fen"], place))
            trying = [place]
        else:
            insort(shelf, (order["fen"], place))
            left[place] = order["lots"]
            trying = [waiting for fen, waiting in queue if -fen >= order["fen"]]
        for waiting in trying:
            bid = arriving[waiting][1]
            taken: list[tuple[int, int]] = []
            short = bid["lots"]
            for fen, offer in shelf:
                if not short or fen > bid["fen"]:
                    break
                if arriving[offer][1]["seller"] != bid["buyer"]:
                    taken.append((offer, min(left[offer], short)))
                    short -= taken[-1][1]
            if short or not taken:
                continue
            queue.remove((-bid["fen"], waiting))
            for offer, lots in taken:
                ask = arriving[offer][1]
                left[offer] -= lots
                if not left[offer]:
                    shelf.remove((ask["fen"], offer))
                done.append((bid["bid"], ask["offer"], lots, ask["fen"] if offer < waiting else bid["fen"]))
    return done
