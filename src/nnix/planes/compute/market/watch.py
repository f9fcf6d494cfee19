"""Surveillance of the market: what a supervisor would ask about, with the evidence.

    cornering      one buyer holds a large part of the lots of a product that were on offer, so that others find none
    self-dealing   a member buys its own lots, through whatever bid
    wash trades    two members sell each other lots of one type of device for hours that lie close together: volume without purpose
    price spikes   a product's price is far above what it cost in the hours before

A finding is a question, not a verdict: it names deals, which lead to bids, offers and the clearing. Pure: from deals in a snapshot, and from nothing else, so that
whoever has the ledger comes to the same findings.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.kinds import Deal, Offer, hour_named, hour_number
from nnix.planes.compute.rules import market_of

WASH_HOURS = 24
"""two sales the other way round within a day"""
HISTORY_MIN = 3
"""earlier prices of a product, before one can be called high"""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What is to be asked about: of what sort, who, which product, in words, and the deals."""

    sort: str
    members: tuple[str, ...]
    product: str
    says: str
    deals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trade:
    """One hour of a deal: lots of a product, from whom, to whom, at what price."""

    deal: str
    site: str
    device: str
    hour: int
    lots: int
    fen: int
    seller: str
    buyer: str

    @property
    def product(self) -> str:
        return f"{self.device} at {self.site}"


def trades(snapshot: Snapshot) -> list[Trade]:
    """All that was ever traded and still stands in the model, by hour and deal."""
    found = []
    for deal in snapshot.of(Deal):
        pool, bid = snapshot.at(deal.pool), snapshot.at(deal.bid)
        for hour, price in zip(deal.hours, deal.prices, strict=True):
            found.append(
                Trade(
                    deal.name, str(pool.site), pool.device, hour_number(hour), deal.devices, int(price), str(pool.member), str(bid.member)
                )
            )
    return sorted(found, key=lambda each: (each.hour, each.deal))


def suspicions(snapshot: Snapshot) -> tuple[Suspicion, ...]:
    """Every finding, by sort."""
    known = trades(snapshot)
    return (*_cornering(snapshot, known), *_self_dealing(known), *_wash(known), *_spikes(snapshot, known))


def _cornering(snapshot: Snapshot, known: Sequence[Trade]) -> Iterator[Suspicion]:
    """Over all hours of a product together: one hour alone is easily one buyer's."""
    offered: dict[tuple[str, str, int], int] = defaultdict(int)
    for offer in snapshot.of(Offer):
        pool = snapshot.at(offer.pool)
        for hour in range(hour_number(offer.start), hour_number(offer.end)):
            offered[str(pool.site), pool.device, hour] += offer.lots
    held: dict[tuple[str, str], dict[str, list[Trade]]] = defaultdict(lambda: defaultdict(list))
    for trade in known:
        held[trade.site, trade.device][trade.buyer].append(trade)
    limit = market_of(snapshot).corner_percent
    for (site, device), buyers in sorted(held.items()):
        hours = {trade.hour for each in buyers.values() for trade in each}
        there = sum(offered[site, device, hour] for hour in hours)
        for buyer, mine in sorted(buyers.items()):
            lots = sum(trade.lots for trade in mine)
            others = any(name != buyer for name in buyers)
            if there and 100 * lots >= limit * there and (others or len(hours) > 1):
                says = f"{buyer} holds {lots} of the {there} lots that were on offer in the {len(hours)} hours in which any were traded"
                yield Suspicion("cornering", (buyer,), f"{device} at {site}", says, _deals(mine))


def _self_dealing(known: Sequence[Trade]) -> Iterator[Suspicion]:
    mine: dict[tuple[str, str], list[Trade]] = defaultdict(list)
    for trade in known:
        if trade.seller == trade.buyer:
            mine[trade.buyer, trade.product].append(trade)
    for (member, product), found in sorted(mine.items()):
        says = f"{member} bought {sum(trade.lots for trade in found)} lots from itself"
        yield Suspicion("self-dealing", (member,), product, says, _deals(found))


def _wash(known: Sequence[Trade]) -> Iterator[Suspicion]:
    """Pairs that sold each other one type of device."""
    sold: dict[tuple[str, str, str], list[Trade]] = defaultdict(list)
    for trade in known:
        sold[trade.seller, trade.buyer, trade.device].append(trade)
    for (one, other, device), there in sorted(sold.items()):
        back = sold.get((other, one, device), [])
        if one < other and back:
            near = [(a, b) for a in there for b in back if abs(a.hour - b.hour) <= WASH_HOURS]
            if near:
                both = [*(a for a, _ in near), *(b for _, b in near)]
                says = f"{one} and {other} sold {device} to each other within {WASH_HOURS} hours"
                yield Suspicion("wash trades", (one, other), device, says, _deals(both))


def _spikes(snapshot: Snapshot, known: Sequence[Trade]) -> Iterator[Suspicion]:
    """Against the median of the product's earlier hours, each hour counted once."""
    by_hour: dict[tuple[str, str], dict[int, list[Trade]]] = defaultdict(lambda: defaultdict(list))
    for trade in known:
        by_hour[trade.site, trade.device][trade.hour].append(trade)
    limit = market_of(snapshot).spike_percent
    for (site, device), hours in sorted(by_hour.items()):
        before: list[int] = []
        for hour, found in sorted(hours.items()):
            price = max(trade.fen for trade in found)
            if len(before) >= HISTORY_MIN:
                usual = statistics.median(before)
                if 100 * (price - usual) >= limit * usual:
                    says = f"{price} fen at {hour_named(hour)}, where the median of {len(before)} earlier hours is {usual:g} fen"
                    yield Suspicion(
                        "price spike", tuple(sorted({trade.buyer for trade in found})), f"{device} at {site}", says, _deals(found)
                    )
            before.append(price)


def _deals(found: Sequence[Trade]) -> tuple[str, ...]:
    return tuple(sorted({trade.deal for trade in found}))
