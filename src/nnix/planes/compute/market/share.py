"""Who gets whose lots: a clearing says how many lots each sell sells, and here they become deals.

A job wants its devices in one pool, so each buy is put whole into the pool where it leaves least over, the largest buys first; only where no pool has so many
left is it spread over several. Nothing here changes what anybody pays: all lots of a product have one price.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nnix.planes.compute.market.orders import Orders, Want


@dataclass(frozen=True, slots=True)
class Share:
    """Devices from one sell, in some hours, for one buy; sell and buy by number."""

    buy: int
    sell: int
    devices: int
    hours: tuple[int, ...]


def shares(orders: Orders, won: Sequence[tuple[int, Want]], sold: Sequence[Sequence[int]]) -> tuple[Share, ...]:
    """All of them, by buy and sell."""
    left: dict[int, dict[int, int]] = {
        number: {sell.start + index: lots for index, lots in enumerate(sold[number]) if lots} for number, sell in enumerate(orders.sells)
    }
    pools: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, sell in enumerate(orders.sells):
        pools[sell.site, sell.device][sell.pool].append(number)
    found: list[Share] = []
    for buy, want in sorted(won, key=lambda each: (-each[1].devices * each[1].hours, each[0])):
        hours = range(want.start, want.start + want.hours)
        there = list(pools[want.site, want.device].values())
        room = [min(sum(left[sell].get(hour, 0) for sell in sells) for hour in hours) for sells in there]
        fits = [index for index, devices in enumerate(room) if devices >= want.devices]
        best = min(fits, key=lambda index: room[index]) if fits else None
        chosen = (
            there[best]
            if best is not None
            else [sell for index in sorted(range(len(there)), key=lambda i: -room[i]) for sell in there[index]]
        )
        taken: dict[tuple[int, int], list[int]] = defaultdict(list)
        for hour in hours:
            for seller, devices in _taken(left, chosen, hour, want.devices):
                taken[seller, devices].append(hour)
        found += [Share(buy, seller, devices, tuple(each)) for (seller, devices), each in taken.items()]
    return tuple(sorted(found, key=lambda each: (each.buy, each.sell, each.hours)))


def _taken(left: dict[int, dict[int, int]], sells: Sequence[int], hour: int, devices: int) -> Iterator[tuple[int, int]]:
    """(sell, lots) that make up `devices`. Raises ValueError where the sells have not sold so many."""
    for sell in sells:
        lots = min(left[sell].get(hour, 0), devices)
        if lots:
            left[sell][hour] -= lots
            devices -= lots
            yield sell, lots
    if devices:
        raise ValueError(f"{devices} lots of hour {hour} were bought and not sold")
