"""The clearing as a mixed-integer programme, and HiGHS, which solves it.

    maximise    Σ worth · x  -  Σ ask · y
    each buy      Σ x of its wants ≤ 1                     x whole: a bundle is bought or not
    each product  Σ devices · x  -  Σ y ≤ 0                y ≤ lots: a sell is sold in any part
    each link     Σ rate · x ≤ what is free on it
    each port     Σ x ≤ circuits for which it has room     one, where they are not told apart by tags
    each cut      x + Σ z ≤ hours                          z whole: whether a product sells lots at such an ask, or dearer ones; y ≤ lots · z

A cut says of one want that it would lose if all of its products sold lots that dear, since all lots of a product have one price: then it is not bought. It
takes nothing away but that, so other trades around the want stay possible. Cuts are made where a solution broke them (clear.py).

Lots of one product at one ask are one column. With x whole, the best y is whole as well, so it need not be asked for.

The duals of the relaxation (x in parts) prove how good a solution is: whatever prices one puts on products and links, no set of trades is worth more than
what all buyers and all sellers would gain at these prices, each for himself (weak duality). So a bound needs no faith in the solver.

The relaxation is nearly whole itself, so it does most of the work. Wants that would cost much more at the duals than they are worth are in no good solution;
the programme is solved over those that would not (the core), from the relaxation rounded, and ends where the proved gap is small enough. What the core leaves
out costs no proof: the bound is that of all wants.

Large programmes end at the root of the search tree, with cutting planes and the heuristics there: all that a tree of 200 nodes found in twelve seconds more was
less than a thousandth.

One thread, a fixed seed, and limits by nodes instead of by the clock: the same programme gives the same answer on any machine. The clock is a fuse only, and
a clearing that blew it says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from nnix.planes.compute.market.orders import Cell, Orders, Want

MILLI = 1000
MEGA = 10**6
WORTH_BITS = 30
"""The solver's tolerances are absolute, so where something is worth more fen than this many bits hold, it is given all worths in a larger unit, a power of two"""


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try: a gap at which to stop, and what is added to it for each product, nodes of the search tree times wants, wants in the core, and a fuse.

    Each product has an ask at which it is sold in part, and a bundle that does not fit whole beside it: so with the products grows what nobody can prove by the
    relaxation, and it is no use to search for longer.
    """

    gap: float = 2e-4
    gap_of_product: float = 2.5e-6
    nodes_wants: int = 10_000
    core: int = 1200
    fuse_seconds: float = 600.0


@dataclass(frozen=True)
class Relaxed:
    """The solution in parts: how much of each want is bought, what each gains at the duals beyond the best of its buy, and what all of it is worth."""

    parts: Sequence[float]
    gains: Sequence[float]
    worth: float
    row_duals: Sequence[float]


@dataclass(frozen=True)
class Duals:
    """Prices that prove a bound: thousandths of a fen for a lot of each product, and for each Mbit/s of each link."""

    products: Mapping[Cell, int]
    links: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Cut:
    """A want, by number, that is not bought where each of its products sells lots at this ask or dearer ones."""

    want: int
    asks: tuple[tuple[Cell, int], ...]


class Programme:
    """The programme of some orders. `wants`: (buy, want) of each x, by number."""

    def __init__(self, orders: Orders) -> None:
        self.wants: list[tuple[int, Want]] = [(index, want) for index, buy in enumerate(orders.buys) for want in buy.wants]
        self.supply = orders.supply()
        self._steps = [(cell, ask, lots) for cell, steps in self._in_order(orders) for ask, lots in steps]
        self._rows: dict[tuple[Any, ...], int] = {}
        starts, indices, values = [0], list[int](), list[float]()
        busiest: dict[str, int] = {}
        calling: dict[str, set[int]] = {}
        for buy, want in self.wants:
            for link in want.links:
                busiest[link] = busiest.get(link, 0) + want.rate
            for port in want.ends:
                calling.setdefault(port, set()).add(buy)
        tight = {link for link, rate in busiest.items() if rate > orders.free.get(link, 0)}
        crowded = {port for port, buys in calling.items() if len(buys) > orders.room.get(port, 0)}
        for buy, want in self.wants:
            entries: list[tuple[tuple[Any, ...], float]] = [(("product", *cell), float(want.devices)) for cell in want.cells()]
            entries += [(("link", link), want.rate / MEGA) for link in want.links if link in tight and want.rate]
            entries += [(("port", port), 1.0) for port in want.ends if port in crowded]
            entries.append((("buy", buy), 1.0))
            self._column(entries, indices, values)
            starts.append(len(indices))
        for cell, _, _ in self._steps:
            self._column([(("product", *cell), -1.0)], indices, values)
            starts.append(len(indices))
        self._matrix = (np.array(starts, np.int32), np.array(indices, np.int32), np.array(values, np.float64))
        worths = [float(want.worth) for _, want in self.wants] + [-float(ask) for _, ask, _ in self._steps]
        self._unit = 2.0 ** max(0, math.frexp(max(map(abs, worths), default=0.0))[1] - WORTH_BITS)
        self._costs = np.array(worths) / self._unit
        self._most = np.array([1.0] * len(self.wants) + [float(lots) for _, _, lots in self._steps])
        self._limits = np.zeros(len(self._rows))
        for row, index in self._rows.items():
            if row[0] == "buy":
                self._limits[index] = 1.0
            elif row[0] == "port":
                self._limits[index] = float(orders.room.get(row[1], 0))
            elif row[0] == "link":
                self._limits[index] = orders.free.get(row[1], 0) / MEGA

    def _in_order(self, orders: Orders) -> list[tuple[Cell, list[tuple[int, int]]]]:
        """Products in the order in which sells, and those in wants, come first: by content, as orders are."""
        first: dict[Cell, None] = {}
        for sell in orders.sells:
            first.update(((sell.site, sell.device, hour), None) for hour in range(sell.start, sell.start + len(sell.lots)))
        return [(cell, self.supply[cell]) for cell in first if cell in self.supply]

    def _column(self, entries: Sequence[tuple[tuple[Any, ...], float]], indices: list[int], values: list[float]) -> None:
        for row, value in entries:
            indices.append(self._rows.setdefault(row, len(self._rows)))
            values.append(value)

    def spelled(self) -> tuple[list[float], ...]:
        """All numbers that the solver is given: the matrix by column, worths, most of each column, limits of rows."""
        return tuple(each.tolist() for each in (*self._matrix, self._costs, self._most, self._limits))

    def _solver(self, left_out: frozenset[int], *, whole: bool) -> Any:
        import highspy

        class Silent(highspy.Highs):
            """It sets up its callbacks while it is made, and prints a banner then, into what may have to be JSON, before one could ask it not to."""

            def enableCallbacks(self) -> None:
                self.silent()
                super().enableCallbacks()  # type: ignore[no-untyped-call]

        solver: Any = Silent()  # type: ignore[no-untyped-call]
        for option, value in (("threads", 1), ("random_seed", 1), ("parallel", "off")):
            solver.setOptionValue(option, value)
        most = self._most.copy()
        most[list(left_out)] = 0.0
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self._costs), len(self._rows)
        lp.sense_ = highspy.ObjSense.kMaximize
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = self._costs, np.zeros(len(self._costs)), most
        lp.row_lower_, lp.row_upper_ = np.full(len(self._rows), -highspy.kHighsInf), self._limits
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = self._matrix
        if whole:
            kinds = [highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous]
            lp.integrality_ = [kinds[0]] * len(self.wants) + [kinds[1]] * len(self._steps)
        solver.passModel(lp)
        return solver

    def _cut(self, solver: Any, cuts: Sequence[Cut]) -> None:
        """Tell the solver, with a column z for each product and ask that the cuts speak of."""
        import highspy

        columns: dict[tuple[Cell, int], int] = {}
        no_less = -highspy.kHighsInf
        for level in dict.fromkeys(chain.from_iterable(cut.asks for cut in cuts)):
            columns[level] = column = solver.getNumCol()
            solver.addCol(0.0, 0.0, 1.0, 0, np.array([], np.int32), np.array([]))
            solver.changeColIntegrality(column, highspy.HighsVarType.kInteger)
            for number, (cell, ask, lots) in enumerate(self._steps, len(self.wants)):
                if cell == level[0] and ask >= level[1]:
                    solver.addRow(no_less, 0.0, 2, np.array([number, column], np.int32), np.array([1.0, -float(lots)]))
        for cut in cuts:
            row = np.array([cut.want, *(columns[level] for level in cut.asks)], np.int32)
            solver.addRow(no_less, float(len(cut.asks)), len(row), row, np.ones(len(row)))

    def relaxed(self) -> Relaxed:
        """With x in parts, and without cuts."""
        solver = self._solver(frozenset(), whole=False)
        solver.run()
        found, count = solver.getSolution(), len(self.wants)
        gains, duals = ([each * self._unit for each in column] for column in (found.col_dual[:count], found.row_dual))
        return Relaxed(found.col_value[:count], gains, solver.getInfo().objective_function_value * self._unit, duals)

    def duals(self, relaxed: Relaxed) -> Duals:
        """Those of the relaxation, rounded to whole thousandths: any prices that are not negative prove a bound, so rounding loses nothing but a little of it."""
        products: dict[Cell, int] = {}
        links: dict[str, int] = {}
        for row, index in self._rows.items():
            price = max(0, round(abs(relaxed.row_duals[index]) * MILLI))
            if row[0] == "product":
                products[row[1], row[2], row[3]] = price
            elif row[0] == "link" and price:
                links[row[1]] = price
        return Duals(products, links)

    def rounded(self, relaxed: Relaxed) -> list[int]:
        """Buys in the order in which the relaxation would fill them: whole ones first, then by what is missing, then by what they would lose at the duals."""
        best: dict[int, tuple[float, float, int]] = {}
        for number, (buy, _) in enumerate(self.wants):
            key = (-round(relaxed.parts[number], 6), -round(relaxed.gains[number], 3), number)
            best[buy] = min(key, best.get(buy, key))
        return sorted(best, key=lambda buy: best[buy])

    def solved(self, start: Sequence[int], cuts: Sequence[Cut], relaxed: Relaxed, effort: Effort) -> tuple[list[int], bool]:
        """(numbers of the wants that are bought, whether the fuse blew), from the solution `start` on, which is kept where nothing better is found; it must keep
        to the cuts."""
        import highspy

        by_gain = sorted(
            range(len(self.wants)), key=lambda number: (relaxed.parts[number] < 1e-9, -round(relaxed.gains[number], 3), number)
        )
        core = {*by_gain[: effort.core], *start}
        solver = self._solver(frozenset(range(len(self.wants))) - core, whole=True)
        self._cut(solver, cuts)
        gap = effort.gap + effort.gap_of_product * len(self.supply)
        solver.setOptionValue("mip_rel_gap", gap)
        solver.setOptionValue("mip_max_nodes", max(1, effort.nodes_wants // len(self.wants)))
        solver.setOptionValue("objective_target", relaxed.worth * (1 - gap) / self._unit)
        solver.setOptionValue("time_limit", effort.fuse_seconds)
        if start:
            chosen = np.array(sorted(start), np.int32)
            solver.setSolution(len(chosen), chosen, np.ones(len(chosen)))
        solver.run()
        blown = solver.getModelStatus() == highspy.HighsModelStatus.kTimeLimit
        values = solver.getSolution().col_value
        if not len(values):
            return sorted(start), blown
        return [number for number in range(len(self.wants)) if values[number] > 0.5], blown
