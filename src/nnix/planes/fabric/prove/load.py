"""What every link carries, after no failure, one or two.

A Forwarding is the state of the underlay after certain failures: who reaches whom over which links, and their load. It says what links carry
after further failures without becoming another one, so that the second failures of all pairs start from the first instead of from nothing.

What members send over LANs depends on the sites that are lost, what circuits carry on the strands that are dead: both together say what is
sent from site to site.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnix.planes.fabric.prove.circuits import Circuits
from nnix.planes.fabric.prove.network import Network, bits
from nnix.planes.fabric.prove.spread import FAR, spread
from nnix.planes.fabric.prove.traffic import Matrix

PLAIN_MAX = 60_000
"""targets to look at, above which compiling pays: plain Python needs about 50 µs for each"""

Loads = NDArray[np.float64]
"""bit/s by case and arc: arc 2l is link l from its `a` to its `b`, arc 2l+1 the way back"""


@cache
def _compiled() -> Callable[..., None]:
    import numba  # seconds to import and to compile (once: the result is kept on disk), so only for those who need it

    made: Callable[..., None] = numba.njit(cache=True)(spread)
    return made


@dataclass(frozen=True, slots=True)
class _Demand:
    """What is sent when `lost` sites and `dead` strands are: bit/s by target and site, and which targets get any. carried: of members over LANs;
    private: what circuits add, by target and site."""

    lost: int
    dead: int
    carried: float
    private: NDArray[np.float64]
    rates: Any
    wanted: Any


class Forwarding:
    """The underlay after failures."""

    def __init__(self, net: Network, matrix: Matrix, circuits: Circuits, *, compiled: bool) -> None:
        """The state with nothing failed and nobody lost."""
        self._net, self._matrix, self._compiled = net, matrix, compiled
        # strand → where in the matrix its legs stand, both ways, and what it adds there: whole numbers, so that taking it out leaves no crumbs
        self._strands = [
            ([place for a, b in each.legs for place in (b * len(net.sites) + a, a * len(net.sites) + b)], float(each.rate))
            for each in circuits.strands
        ]
        sites, arcs = len(net.sites), 2 * len(net.links)
        out: list[list[int]] = [[] for _ in range(sites)]
        for link, (a, b) in enumerate(net.ends):
            out[a].append(2 * link)
            out[b].append(2 * link + 1)
        starts = np.cumsum([0, *map(len, out)])
        self._graph: tuple[Any, ...] = tuple(
            self._whole(each)
            for each in (
                [end for a, b in net.ends for end in (b, a)],
                [cost for cost in net.costs for _ in range(2)],
                starts,
                [arc for arcs_of in out for arc in arcs_of],
            )
        )
        self._room = (self._real([0.0] * sites), self._whole([0] * (7 * sites + 2 * arcs), np.int64))
        self._state: tuple[Any, ...] = (
            self._whole([0] * arcs),
            self._whole(np.where(np.eye(sites, dtype=bool), 0, FAR).ravel()),
            self._whole([-1] * (sites * sites)),
            self._whole([target for target in range(sites) for _ in range(sites)]),
            self._whole([1] * sites),
            self._real([0.0] * (sites * sites)),
            self._real([0.0] * arcs),
        )
        zeros = np.zeros(sites * sites)
        private = zeros.copy()
        for places, rate in self._strands:
            np.add.at(private, places, rate)
        self._demand = _Demand(0, 0, 0.0, private, self._real(zeros), self._whole(zeros))
        demand = self._demand_without(0, 0)
        self._run([0], demand, moved=True, fresh=True, commit=True)
        self._demand = demand

    @property
    def load(self) -> Loads:
        """bit/s of every arc."""
        return np.asarray(self._state[-1])

    @property
    def lost(self) -> int:
        """The sites that are no longer part of the exchange."""
        return self._demand.lost

    @property
    def dead(self) -> int:
        """The strands of circuits that are gone."""
        return self._demand.dead

    @property
    def carried(self) -> float:
        """bit/s that members still send over LANs, also within a site."""
        return self._demand.carried

    def after(self, links: int, lost: int, dead: int) -> Forwarding:
        """The state after the loss of more links, with `lost` all sites and `dead` all strands that are then gone."""
        made = Forwarding.__new__(Forwarding)
        made._net, made._matrix, made._compiled = self._net, self._matrix, self._compiled
        made._graph, made._room, made._strands = self._graph, self._room, self._strands
        made._state = tuple(each.copy() for each in self._state)
        moved = (lost, dead) != (self.lost, self.dead)
        made._demand = self._demand
        demand = self._demand_without(lost, dead) if moved else self._demand
        made._run([links], demand, moved=moved, commit=True)
        made._demand = demand
        return made

    def loads(self, cases: Sequence[int]) -> Loads:
        """What arcs carry after the loss of more links in each case, where no more sites and strands are lost by it."""
        return self._run(cases, self._demand)

    def loads_without(self, links: int, lost: int, dead: int) -> tuple[Loads, float]:
        """(what arcs carry, what members still send) after the loss of more links, with `lost` all sites and `dead` all strands that are then gone."""
        demand = self._demand_without(lost, dead)
        return self._run([links], demand, moved=True)[0], demand.carried

    def _demand_without(self, lost: int, dead: int) -> _Demand:
        """More strands are dead than were, never fewer: failures only add up."""
        rates = self._matrix.within(lost)
        carried, private = float(rates.sum()), self._demand.private
        if self._strands:
            if gone := [self._strands[index] for index in bits(dead & ~self.dead)]:
                places = [place for each, _ in gone for place in each]
                private = private.copy()
                np.subtract.at(private, places, [rate for each, rate in gone for _ in each])
            rates = rates + private.reshape(rates.shape)
        return _Demand(lost, dead, carried, private, self._real(rates.ravel()), self._whole(rates.any(axis=1)))

    def _run(self, cases: Sequence[int], demand: _Demand, *, moved: bool = False, fresh: bool = False, commit: bool = False) -> Loads:
        links = [list(bits(each)) for each in cases]
        arcs = 2 * len(self._net.links)
        loads = self._real(np.zeros(len(cases) * arcs))
        work: Callable[..., None] = _compiled() if self._compiled else spread
        work(
            len(self._net.sites),
            *self._graph,
            *self._state,
            self._demand.rates,
            demand.rates,
            demand.wanted,
            moved,
            fresh,
            commit,
            self._whole(np.cumsum([0, *map(len, links)])),
            self._whole([link for each in links for link in each]),
            loads,
            *self._room,
        )
        return np.asarray(loads).reshape(len(cases), arcs)

    def _whole(self, numbers: Any, kind: type[np.signedinteger[Any]] = np.int32) -> Any:
        array = np.asarray(numbers, dtype=kind)
        return array if self._compiled else array.tolist()

    def _real(self, numbers: Any) -> Any:
        array = np.asarray(numbers, dtype=np.float64)
        return array if self._compiled else array.tolist()
