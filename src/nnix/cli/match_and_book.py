"""A match of the continuous book, held against the book in which its orders stood, and against the deals that were made of it.

Its proof (market/verify_match.py) says that it is right if these were the orders, and arrived so. Here it is said whether they were: each product that it speaks
of stood in the book like this, in no other did orders meet, and the change after it made just its deals.

Orders that came in with it are newer than the book, and were brought by that change. A match that was not carried out, since something ended in between, made no
deals; what came with it the ledger does not know, and it is believed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnix.cli.clearing_and_book import sold_of
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.kinds import Bid, Deal, Offer, Pool, hour_named, hour_number
from nnix.planes.compute.market.verify import Product, spelled
from nnix.planes.compute.market.verify_match import product_of, replayed
from nnix.planes.compute.rules import market_of
from nnix.planes.compute.wanted import alternatives

Sides = dict[str, list[dict[str, Any]]]
"""asks and bids of a product, as a record has them"""
SIDES = {"asks": "offer", "bids": "bid"}


@dataclass(frozen=True)
class Stood:
    """The book as it was after entry `change`, with the entry at which each order came, by id; and the entry of the match."""

    book: Snapshot
    came: Mapping[str, int]
    change: int
    match: int


def match_differs(stood: Stood, put: Sequence[Resource], record: Mapping[str, Any]) -> Iterator[str]:
    """What differs between a match, the book, and what the change after it `put` into the model."""
    told = {product_of(each): each for each in record["inputs"]["products"]}
    newer = {
        f"{name}/{row[name]}": row["entry"]
        for book in told.values()
        for side, name in SIDES.items()
        for row in book[side]
        if row["entry"] > stood.change
    }
    book, came = stood.book, dict(stood.came)
    believed = set(newer)
    made = [each for each in put if isinstance(each, Deal) and each.clearing is None and each.id not in book]
    if made:
        fresh = {each.id: each for each in put if isinstance(each, Offer | Bid)}
        if set(newer) - set(fresh) or len(set(newer.values())) > 1 or any(entry > stood.match for entry in newer.values()):
            yield f"{', '.join(sorted(newer))} did not come in with it"
        book, believed = book.replaced(fresh.values()), set()
        came |= dict.fromkeys(fresh, next(iter(newer.values()), stood.match))
        yield from _deals_differ(book, made, record)
    first = hour_number(f"{record['inputs']['instant'][:13]}Z")
    there = _standing(book, came, first, first + market_of(book).forward_hours_max)
    for product in sorted({*there, *told}):
        sides = {
            side: [row for row in there.get(product, {}).get(side, ()) if f"{name}/{row[name]}" not in believed]
            for side, name in SIDES.items()
        }
        if product not in told:
            if replayed(sides["asks"], sides["bids"]):
                yield f"{spelled(product)}: orders met there, and were left out"
            continue
        for side, name in SIDES.items():
            known = [row for row in told[product][side] if f"{name}/{row[name]}" not in believed]
            if sorted(known, key=lambda row: str(row[name])) != sorted(sides[side], key=lambda row: str(row[name])):
                yield f"{spelled(product)}: other {side} stood in the book"


def _deals_differ(book: Snapshot, made: Sequence[Deal], record: Mapping[str, Any]) -> Iterator[str]:
    pools = {each.name: str(each.pool) for each in book.of(Offer)}
    published: Counter[tuple[Any, ...]] = Counter(
        (each["bid"], each["offer"], pools.get(each["offer"]), each["lots"], (hour_named(each["hour"]),), (each["fen"],), 0)
        for each in record["fills"]
    )
    carried_out: Counter[tuple[Any, ...]] = Counter(
        (each.bid, each.offer, each.pool, each.devices, each.hours, tuple(map(int, each.prices)), int(each.transfer)) for each in made
    )
    for bid, offer, *_ in sorted((published - carried_out) + (carried_out - published), key=str):
        yield f"the deal of bid {bid} with offer {offer} is not the one that was published"


def _standing(book: Snapshot, came: Mapping[str, int], first: int, end: int) -> dict[Product, Sides]:
    """What stands of standard lots: offers with lots left in the hours from `first` on and before `end`, bids of one alternative that can be had nowhere else and
    at no other hour."""
    found: dict[Product, Sides] = defaultdict(lambda: {side: [] for side in SIDES})
    sold = sold_of(book)
    for offer in book.of(Offer):
        pool = book.at(offer.pool)
        ask = {"entry": came[offer.id], "offer": offer.name, "pool": pool.name, "seller": str(pool.member), "fen": int(offer.ask)}
        for at in range(max(first, hour_number(offer.start)), min(end, hour_number(offer.end))):
            lots = offer.lots - sold[offer.name, at]
            if lots:
                found[str(pool.site), pool.device, at]["asks"].append({**ask, "offered": offer.lots, "lots": lots})
    filled = {str(each.bid) for each in book.of(Deal)}
    for bid in book.of(Bid):
        wanted = list(alternatives(bid))
        if bid.name in filled or bid.port is not None or bid.data is not None or len(wanted) != 1:
            continue
        only = wanted[0]
        assured = {pool.assurance for pool in book.of(Pool) if only.is_of(pool)}
        if only.site is None or (only.hours, only.latest) != (1, only.start) or bid.assurance > min(assured, default=0):
            continue
        call = {"entry": came[bid.id], "bid": bid.name, "buyer": str(bid.member), "fen": only.limit // only.devices, "lots": only.devices}
        found[only.site, only.device, only.start]["bids"].append(call)
    return found
