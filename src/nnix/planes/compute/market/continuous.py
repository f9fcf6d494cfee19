"""The continuous book: standard lots change hands between clearings, by price and then by time, as in any limit order book.

A standard lot is what needs no clearing, since nothing has to fit together and no network is in it: devices of one type, at a site that is named, for one
hour. So a bid for standard lots has one alternative of one hour that cannot wait, and neither data nor a port. Everything else waits for the clearing. An offer
is for standard lots in each of its hours.

    the book     each product (site, device, hour) has its own
    time         the ledger's sequence: the entry that put an order there, or last altered it. Of orders that one change brought, offers come first
    a bid        takes the cheapest asks that its price reaches, of equals the earlier one
    an offer     is taken by the bids that reach its ask, the highest first, of equals the earlier one
    the price    of two orders, that of the one which was there first

A bid is whole or not at all here as well (`compute.bid-filled-whole`): its price is its limit by its devices, rounded down to the fen, and where the asks that this
price reaches have not lots enough, it waits and is passed by. Of an offer any part is sold, and the rest stands. Nobody trades with itself: a bid passes its
own member's offers by.

Time is replayed: orders are let in one by one as they came, whenever this is asked. So it makes no difference whether it was asked after each of them or
once after all (as long as none was withdrawn or cleared meanwhile), nor in which order they are handed in.

Names decide only between orders of one change, at one price, of one size. Deliberately not here: parts of bids, and the network.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nnix.kernel.resource import Ref
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.derive import named
from nnix.planes.compute.kinds import Bid, Deal, Offer, Pool, hour_named
from nnix.planes.compute.market.orders import Cell, for_sale
from nnix.planes.compute.market.record import MATCH_FORMAT, digest_of
from nnix.planes.compute.wanted import alternatives, unfilled
from nnix.planes.members.kinds import Money


@dataclass(frozen=True, slots=True)
class Ask:
    """What is left of an offer in one hour, each lot for no less than `fen`. entry: where in the ledger it came in. offered: as many lots as it began with, so
    that what was sold of it does not change its place."""

    entry: int
    offer: str
    pool: str
    seller: str
    fen: int
    offered: int
    lots: int

    @property
    def arrival(self) -> tuple[int, int, int, int, str]:
        """A lower one was there first."""
        return self.entry, 0, self.fen, -self.offered, self.offer

    @property
    def rank(self) -> tuple[Any, ...]:
        """A lower one is sold first."""
        return self.fen, self.arrival


@dataclass(frozen=True, slots=True)
class Call:
    """A bid for standard lots, all of them for no more than `fen` each."""

    entry: int
    bid: str
    buyer: str
    fen: int
    lots: int

    @property
    def arrival(self) -> tuple[int, int, int, int, str]:
        """A lower one was there first."""
        return self.entry, 1, -self.fen, -self.lots, self.bid

    @property
    def rank(self) -> tuple[Any, ...]:
        """A lower one buys first."""
        return -self.fen, self.arrival


@dataclass(frozen=True, slots=True)
class Fill:
    """Lots of an ask that went to a call, at `fen` each."""

    call: Call
    ask: Ask
    lots: int
    fen: int


@dataclass
class Side:
    """Both sides of one product's book."""

    asks: list[Ask] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


# --- matching: one product ----------------------------------------------------------------------------------------------


def matched(asks: Iterable[Ask], calls: Iterable[Call]) -> tuple[Fill, ...]:
    """What changes hands as these orders come in one after the other, in the order in which it does. All are of one product."""
    left: dict[Ask, int] = {}
    waiting: list[Call] = []
    fills: list[Fill] = []
    orders: list[Ask | Call] = [*asks, *calls]
    for order in sorted(orders, key=lambda each: each.arrival):
        if isinstance(order, Ask):
            left[order] = order.lots
            # Lots only become fewer, so nobody else can have something now that could not be had before.
            tried = sorted((each for each in waiting if each.fen >= order.fen), key=lambda each: each.rank)
        else:
            waiting.append(order)
            tried = [order]
        for call in tried:
            found = _whole(call, left)
            for fill in found:
                left[fill.ask] -= fill.lots
            if found:
                waiting.remove(call)
                fills += found
    return tuple(fills)


def _whole(call: Call, left: Mapping[Ask, int]) -> tuple[Fill, ...]:
    """All lots of a call from the best asks that it reaches; empty where they have not so many."""
    needed, found = call.lots, list[Fill]()
    reached = (ask for ask, lots in left.items() if lots and ask.fen <= call.fen and ask.seller != call.buyer)
    for ask in sorted(reached, key=lambda each: each.rank):
        lots = min(left[ask], needed)
        found.append(Fill(call, ask, lots, ask.fen if ask.arrival < call.arrival else call.fen))
        needed -= lots
        if not needed:
            return tuple(found)
    return ()


# --- from the book, and back --------------------------------------------------------------------------------------------


def standing(snapshot: Snapshot, came: Mapping[str, int], first: int, end: int) -> dict[Cell, Side]:
    """product → what stands there of standard lots; asks only in the hours from `first` on and before `end`. came: id of an order → its entry in the ledger."""
    found: dict[Cell, Side] = defaultdict(Side)
    for sell in for_sale(snapshot, first, end):
        offer = snapshot.at(Ref.to(Offer, sell.offer))
        for hour, lots in enumerate(sell.lots, sell.start):
            if lots:
                ask = Ask(came[offer.id], offer.name, sell.pool, sell.seller, sell.ask, offer.lots, lots)
                found[sell.site, sell.device, hour].asks.append(ask)
    assurance = {(str(pool.site), pool.device): pool.assurance for pool in snapshot.of(Pool)}
    for bid in unfilled(snapshot):
        cell = _standard(bid)
        if cell is None or bid.assurance > assurance.get(cell[:2], 0):
            continue
        (wanted,) = alternatives(bid)
        found[cell].calls.append(Call(came[bid.id], bid.name, str(bid.member), wanted.limit // wanted.devices, wanted.devices))
    return found


def _standard(bid: Bid) -> Cell | None:
    """The product of a bid for standard lots; None for any other bid."""
    if bid.data is not None or bid.port is not None:
        return None
    match list(alternatives(bid)):
        case [only] if only.site is not None and only.hours == 1 and only.start == only.latest:
            return only.site, only.device, only.start
    return None


@dataclass(frozen=True)
class Match:
    """What came of a book: fills by product, those without any left out; and what stood there."""

    instant: str
    books: Mapping[Cell, Side]
    fills: Mapping[Cell, Sequence[Fill]]

    def record(self) -> dict[str, Any]:
        """As it is published: what stood there of each product in which something changed hands, each side as it arrived, and who got what of whom."""
        record = {
            "format": MATCH_FORMAT,
            "inputs": {
                "instant": self.instant,
                "products": [
                    {
                        **_spelled(cell),
                        "asks": [asdict(each) for each in sorted(self.books[cell].asks, key=lambda each: each.arrival)],
                        "bids": [asdict(each) for each in sorted(self.books[cell].calls, key=lambda each: each.arrival)],
                    }
                    for cell in sorted(self.fills)
                ],
            },
            "fills": [
                {**_spelled(cell), "bid": each.call.bid, "offer": each.ask.offer, "lots": each.lots, "fen": each.fen}
                for cell, fills in sorted(self.fills.items())
                for each in fills
            ],
        }
        return {**record, "digest": digest_of(record)}

    def deals(self) -> Iterator[Deal]:
        """One for each fill. No clearing made them."""
        so_far: Counter[str] = Counter()
        for cell, fills in sorted(self.fills.items()):
            for each in fills:
                so_far[each.call.bid] += 1
                yield Deal(
                    name=named(each.call.bid, str(so_far[each.call.bid])),
                    bid=Ref.to(Bid, each.call.bid),
                    offer=Ref.to(Offer, each.ask.offer),
                    pool=Ref.to(Pool, each.ask.pool),
                    devices=each.lots,
                    hours=(hour_named(cell[2]),),
                    prices=(Money(each.fen),),
                )


def _spelled(cell: Cell) -> dict[str, Any]:
    return dict(zip(("site", "device", "hour"), cell, strict=True))


def meets(snapshot: Snapshot, first: int, end: int) -> bool:
    """Whether a match would find anything. When orders came in has no say in that."""
    books = standing(snapshot, defaultdict(int), first, end)
    return any(_whole(call, {ask: ask.lots for ask in side.asks}) for side in books.values() for call in side.calls)


def match(snapshot: Snapshot, came: Mapping[str, int], instant: str, first: int, end: int) -> Match:
    """The match of all that stands in the book for the hours from `first` on and before `end`."""
    books = standing(snapshot, came, first, end)
    found = ((cell, matched(side.asks, side.calls)) for cell, side in books.items())
    return Match(instant, books, {cell: fills for cell, fills in found if fills})
