"""A clearing: which bids are filled, at one price for each product, so that nobody loses and no fen is left over.

    greedy     bids by what they give for a device-hour, each into the want that gains most: a start, and what other markets have for an end
    HiGHS      the best set of trades from there on (model.py), until the gap is small
    repair     a bundle that counts on lots cheaper than the last one sold may have no price at which it gains, since all lots of a product have one
               price. Whoever loses at the lowest possible prices is taken out, and what it leaves is filled greedily. Where that costs more than the solver
               left open, the programme is solved again without the very combinations that made somebody lose (cuts)
    prices     those of the relaxation's duals, held between the last ask that was sold and the first that was not; lowered where a winner would lose

Then every sell below the price is sold out, none above it sells, and every winner pays no more than its limit. Buyers pay what sellers receive, to the fen,
since both are the same lots at the same price. Among those rejected there may be bids that would have gained at the prices (their bundle did not fit
whole): that is the price of one price for all, and they are told so.

Everything here is a pure function of the orders, which are in an order that no name decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from nnix.planes.compute.market.model import MEGA, MILLI, Cut, Duals, Effort, Programme
from nnix.planes.compute.market.orders import Buy, Cell, Orders, Want
from nnix.planes.compute.market.record import NOT_WHOLE, NOTHING, OUTBID, WOULD_LOSE

SOLVED_TIMES = 4
"""at most; on drawn markets of 1,000 bids one to three were enough"""
ENOUGH = Effort()


@dataclass(frozen=True)
class Clearing:
    """What came of some orders.

    won: (number of the buy, its want). prices: of products that changed hands. sold: by number of the sell, lots in each of its hours. bound: no set of
    trades is worth more, in fen, as `duals` prove; welfare: what these are worth. banned: wants of which somebody would have lost, by (buy, want).
    """

    orders: Orders
    won: tuple[tuple[int, Want], ...]
    prices: Mapping[Cell, int]
    sold: tuple[tuple[int, ...], ...]
    duals: Duals
    welfare: int
    bound: int
    rejected: Mapping[str, str]
    rounds: int = 1
    banned: tuple[tuple[int, Want], ...] = ()
    cut_short: bool = False

    @property
    def gap_ppm(self) -> int:
        """How far from the best this is at most, in parts per million, rounded up."""
        return -(-(self.bound - self.welfare) * 10**6 // self.bound) if self.bound else 0


class Stock:
    """Lots that are left, by product, cheapest first; capacity on links, and room for circuits at ports."""

    def __init__(self, orders: Orders) -> None:
        self._steps = {cell: [[ask, lots] for ask, lots in steps] for cell, steps in orders.supply().items()}
        self._free = dict(orders.free)
        self._room = dict(orders.room)

    def cost(self, want: Want) -> int | None:
        """What its lots would cost at their asks; None where there are not enough, nor capacity, nor room."""
        if any(self._free[link] < want.rate for link in want.links) or not all(self._room[port] for port in want.ends):
            return None
        total = 0
        for cell in want.cells():
            needed = want.devices
            for ask, lots in self._steps.get(cell, ()):
                taken = min(lots, needed)
                total, needed = total + taken * ask, needed - taken
                if not needed:
                    break
            else:
                return None
        return total

    def take(self, want: Want) -> None:
        """Cheapest first."""
        for cell in want.cells():
            needed = want.devices
            steps = self._steps[cell]
            while needed:
                taken = min(steps[0][1], needed)
                steps[0][1] -= taken
                needed -= taken
                if not steps[0][1]:
                    del steps[0]
        for link in want.links:
            self._free[link] -= want.rate
        for port in want.ends:
            self._room[port] -= 1


def greedy(
    orders: Orders, buys: Iterable[int], banned: Set[tuple[int, Want]] = frozenset(), kept: Sequence[tuple[int, Want]] = ()
) -> list[tuple[int, Want]]:
    """Buys in the order given, each into the want that gains most at what is left; none that gains nothing, nor one that is banned. What is `kept` stays."""
    stock = Stock(orders)
    won = list(kept)
    for _, want in kept:
        stock.take(want)
    filled = {number for number, _ in kept}
    for number in buys:
        best: tuple[int, Want] | None = None
        for want in orders.buys[number].wants if number not in filled else ():
            cost = stock.cost(want) if not banned or (number, want) not in banned else None
            if cost is not None and want.worth > cost and (best is None or want.worth - cost > best[0]):
                best = want.worth - cost, want
        if best is not None:
            stock.take(best[1])
            won.append((number, best[1]))
    return sorted(won, key=lambda pair: pair[0]) if kept else won


def by_value(orders: Orders) -> list[int]:
    """Numbers of buys, by the most that they give for a device-hour."""

    def value(buy: Buy) -> float:
        return max((want.worth / (want.devices * want.hours) for want in buy.wants), default=0.0)

    return sorted(range(len(orders.buys)), key=lambda number: (-value(orders.buys[number]), number))


def demand_of(won: Iterable[tuple[int, Want]]) -> dict[Cell, int]:
    """product → lots."""
    found: dict[Cell, int] = defaultdict(int)
    for _, want in won:
        for cell in want.cells():
            found[cell] += want.devices
    return dict(found)


def welfare_of(orders: Orders, won: Iterable[tuple[int, Want]]) -> int:
    """What trades are worth: the limits of those who buy, less transfer, less the cheapest asks for as many lots."""
    trades = list(won)
    supply = orders.supply()
    total = sum(want.worth for _, want in trades)
    for cell, needed in demand_of(trades).items():
        left = needed
        for ask, lots in supply[cell]:
            taken = min(lots, left)
            total, left = total - taken * ask, left - taken
    return total


def last_asks(orders: Orders, won: Iterable[tuple[int, Want]]) -> dict[Cell, tuple[int, int | None]]:
    """product → (the highest ask that is sold, the lowest that is not sold out; None where all are)."""
    supply = orders.supply()
    found: dict[Cell, tuple[int, int | None]] = {}
    for cell, needed in demand_of(won).items():
        left, last = needed, 0
        above: int | None = None
        for ask, lots in supply[cell]:
            if left:
                last = ask
            if lots > left:
                above = ask
                break
            left -= lots
        found[cell] = last, above
    return found


def bound_of(orders: Orders, duals: Duals) -> int:
    """What no set of trades can be worth more than, in fen: what everybody would gain at the duals as prices, rounded up."""
    total = sum(price * (orders.free.get(link, 0)) // MEGA + 1 for link, price in duals.links.items())
    for buy in orders.buys:
        gains = [want.worth * MILLI - _at(duals, want) for want in buy.wants]
        total += max(0, max(gains, default=0))
    for sell in orders.sells:
        for hour, lots in enumerate(sell.lots, sell.start):
            total += lots * max(0, duals.products.get((sell.site, sell.device, hour), 0) - sell.ask * MILLI)
    return -(-total // MILLI)


def _at(duals: Duals, want: Want) -> int:
    """What a want costs at the duals, in thousandths of a fen; its share of links rounded down, which can only raise the bound."""
    lots = sum(duals.products.get(cell, 0) for cell in want.cells()) * want.devices
    return lots + sum(duals.links.get(link, 0) * want.rate // MEGA for link in want.links)


def clear(orders: Orders, effort: Effort = ENOUGH) -> Clearing:
    """The clearing of `orders`, which must be in order (orders.in_order)."""
    programme = Programme(orders)
    numbers = {pair: number for number, pair in enumerate(programme.wants)}
    duals = Duals({}, {})
    won: list[tuple[int, Want]] = []
    lost: set[tuple[int, Want]] = set()
    cut_short = False
    rounds = 0
    if programme.wants:
        relaxed = programme.relaxed()
        duals = programme.duals(relaxed)
        order = programme.rounded(relaxed)
        cuts: list[Cut] = []
        tried = [without_losers(orders, greedy(orders, each), order) for each in (by_value(orders), order)]
        while rounds < SOLVED_TIMES:
            rounds += 1
            won, lost = max(tried, key=lambda each: welfare_of(orders, each[0]))
            chosen, blown = programme.solved([numbers[pair] for pair in won], cuts, relaxed, effort)
            cut_short = cut_short or blown
            solved = [programme.wants[number] for number in chosen]
            tried = [(won, lost), without_losers(orders, solved, order)]
            worth, repaired = welfare_of(orders, solved), max(welfare_of(orders, each) for each, _ in tried)
            if (worth - repaired) * 2 <= relaxed.worth - worth:  # another round could win back less than nobody knows anyway
                break
            cuts += _cuts(orders, programme, solved)
        won, lost = max(tried, key=lambda each: welfare_of(orders, each[0]))
        lost = {*lost, *(programme.wants[cut.want] for cut in cuts)}.difference(won)
    prices = _prices(orders, won, duals)
    forbidden = tuple(pair for pair in programme.wants if pair in lost)
    return Clearing(
        orders=orders,
        won=tuple(won),
        prices=prices,
        sold=_sold(orders, won),
        duals=duals,
        welfare=welfare_of(orders, won),
        bound=bound_of(orders, duals),
        rejected=_rejected(orders, won, prices, forbidden),
        rounds=rounds,
        banned=forbidden,
        cut_short=cut_short,
    )


def without_losers(
    orders: Orders, won: list[tuple[int, Want]], order: Sequence[int]
) -> tuple[list[tuple[int, Want]], set[tuple[int, Want]]]:
    """(`won` without those who would lose at the lowest possible prices, what they leave filled greedily in `order`; the wants that were taken out).

    Of those who lose in one product only the one who loses most is taken out before prices are looked at again: without it the others may gain. What would lose
    for one buy would for every other that wants the very same in its place, so they are not tried one after the other.
    """
    banned: set[tuple[int, Want]] = set()
    alike: dict[Want, list[int]] = defaultdict(list)
    while losers := _losers(orders, won):
        if not alike:
            for number, buy in enumerate(orders.buys):
                for want in buy.wants:
                    alike[want].append(number)
        touched: set[Cell] = set()
        filled = set(won)
        for pair in losers:
            if touched.isdisjoint(pair[1].cells()):
                banned.update({pair, *((number, pair[1]) for number in alike[pair[1]])}.difference(filled - {pair}))
                touched.update(pair[1].cells())
        won = greedy(orders, order, banned, [pair for pair in won if pair not in banned])
    return won, banned


def _losers(orders: Orders, won: Sequence[tuple[int, Want]]) -> list[tuple[int, Want]]:
    """Who would pay more than its limit at the lowest possible prices, whoever would lose most first."""
    lowest = {cell: last for cell, (last, _) in last_asks(orders, won).items()}
    losses = [(want.worth - paid(want, lowest), number, want) for number, want in won]
    return [(number, want) for gain, number, want in sorted(losses, key=lambda each: each[:2]) if gain < 0]


def _cuts(orders: Orders, programme: Programme, won: Sequence[tuple[int, Want]]) -> Iterator[Cut]:
    """For each winner that loses: its products sell lots at asks so high that together they are too dear. Each ask is lowered as far as that stays true, product
    by product, so that one cut forbids as much as it can."""
    supply = orders.supply()
    last = last_asks(orders, won)
    numbers = {pair: number for number, pair in enumerate(programme.wants)}
    for pair in _losers(orders, won):
        want = pair[1]
        asks = {cell: last[cell][0] for cell in want.cells()}
        for cell in want.cells():
            too_dear = want.worth // want.devices - sum(asks.values()) + asks[cell]  # more than this
            asks[cell] = min(ask for ask, _ in supply[cell] if ask > too_dear)
        yield Cut(numbers[pair], tuple(asks.items()))


def paid(want: Want, prices: Mapping[Cell, int]) -> int:
    """Fen for its lots."""
    return want.devices * sum(prices[cell] for cell in want.cells())


def _prices(orders: Orders, won: Sequence[tuple[int, Want]], duals: Duals) -> dict[Cell, int]:
    """From the duals, within what sells allow; then lowered for each winner that would lose. Lowering harms no other winner, so one pass is enough."""
    lowest: dict[Cell, int] = {}
    prices: dict[Cell, int] = {}
    for cell, (last, above) in last_asks(orders, won).items():
        wished = duals.products.get(cell, 0) // MILLI
        lowest[cell] = last
        prices[cell] = max(last, wished if above is None else min(above, wished))
    for _, want in won:
        excess = paid(want, prices) - want.worth
        if excess > 0:
            room = paid(want, prices) - paid(want, lowest)
            for cell in want.cells():
                prices[cell] = lowest[cell] + (prices[cell] - lowest[cell]) * (room - excess) // room
    return prices


def _sold(orders: Orders, won: Iterable[tuple[int, Want]]) -> tuple[tuple[int, ...], ...]:
    """Lots of each sell in each of its hours: the cheapest first, equals in their order."""
    left = demand_of(won)
    sold = [[0] * len(sell.lots) for sell in orders.sells]
    for number in sorted(range(len(orders.sells)), key=lambda each: (orders.sells[each].ask, each)):
        sell = orders.sells[number]
        for index, lots in enumerate(sell.lots):
            cell = sell.site, sell.device, sell.start + index
            taken = min(lots, left.get(cell, 0))
            if taken:
                sold[number][index] = taken
                left[cell] -= taken
    return tuple(map(tuple, sold))


def _rejected(
    orders: Orders, won: Sequence[tuple[int, Want]], prices: Mapping[Cell, int], banned: Sequence[tuple[int, Want]]
) -> dict[str, str]:
    """bid → why it is not filled. Products that did not change hands count with their cheapest lots."""
    supply = orders.supply()
    filled = {number for number, _ in won}
    lost = {number for number, _ in banned}
    found = {}
    for number, buy in enumerate(orders.buys):
        if number in filled:
            continue
        if not buy.wants:
            found[buy.bid] = NOTHING
            continue
        gains = any(
            want.worth > want.devices * sum(prices.get(cell, supply[cell][0][0] if cell in supply else 0) for cell in want.cells())
            for want in buy.wants
        )
        found[buy.bid] = WOULD_LOSE if number in lost and not gains else NOT_WHOLE if gains else OUTBID
    return found
