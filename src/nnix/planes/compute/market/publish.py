"""From a clearing to its record, and to the deals that it makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from nnix.kernel.resource import Ref
from nnix.planes.compute.derive import named
from nnix.planes.compute.kinds import Bid, Deal, Offer, Pool, hour_named
from nnix.planes.compute.market.clear import Clearing
from nnix.planes.compute.market.record import FORMAT, digest_of, in_order
from nnix.planes.compute.market.share import Share, shares
from nnix.planes.members.kinds import Money


def published(clearing: Clearing) -> dict[str, Any]:
    """The record of a clearing (record.py says what stands in it)."""
    orders = clearing.orders
    record: dict[str, Any] = {
        "format": FORMAT,
        "inputs": orders.record(),
        "accepted": {orders.buys[number].bid: orders.buys[number].wants.index(want) for number, want in clearing.won},
        "deals": [
            {"bid": orders.buys[each.buy].bid, "offer": orders.sells[each.sell].offer, "devices": each.devices, "hours": list(each.hours)}
            for each in shares(orders, clearing.won, clearing.sold)
        ],
        "prices": [
            {"site": site, "device": device, "hour": hour, "fen": fen} for (site, device, hour), fen in sorted(clearing.prices.items())
        ],
        "rejected": dict(sorted(clearing.rejected.items())),
        "duals": {
            "products": [
                {"site": site, "device": device, "hour": hour, "millifen": price}
                for (site, device, hour), price in sorted(clearing.duals.products.items())
            ],
            "links": dict(sorted(clearing.duals.links.items())),
        },
        "welfare": clearing.welfare,
        "bound": clearing.bound,
        "gap_ppm": clearing.gap_ppm,
        "rounds": clearing.rounds,
        "banned": [{"bid": orders.buys[buy].bid, "want": orders.buys[buy].wants.index(want)} for buy, want in clearing.banned],
        "cut_short": clearing.cut_short,
    }
    in_sequence: dict[str, Any] = in_order({**record, "digest": digest_of(record)})
    return in_sequence


def deals(clearing: Clearing, digest: str) -> Iterator[Deal]:
    """A deal for each bid and offer that came together. What the buyer pays for moving data is on the first of a bid."""
    orders = clearing.orders
    transfers = {buy: want.transfer for buy, want in clearing.won}
    so_far: Counter[int] = Counter()
    for each in shares(orders, clearing.won, clearing.sold):
        so_far[each.buy] += 1
        yield _deal(clearing, each, so_far[each.buy], transfers[each.buy], digest)


def _deal(clearing: Clearing, share: Share, index: int, transfer: int, digest: str) -> Deal:
    buy, sell = clearing.orders.buys[share.buy], clearing.orders.sells[share.sell]
    return Deal(
        name=named(buy.bid, str(index)),
        bid=Ref.to(Bid, buy.bid),
        offer=Ref.to(Offer, sell.offer),
        pool=Ref.to(Pool, sell.pool),
        devices=share.devices,
        hours=tuple(map(hour_named, share.hours)),
        prices=tuple(Money(clearing.prices[sell.site, sell.device, hour]) for hour in share.hours),
        transfer=Money(transfer if index == 1 else 0),
        clearing=digest,
    )
