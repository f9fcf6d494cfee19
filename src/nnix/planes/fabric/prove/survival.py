"""All of it together: the proof of one exchange.

`alone` looks at every failure by itself, `in_pairs` at every two of them. For pairs it is known exactly who is cut off, which circuits lose what,
and what every link carries; kept are, for each pair, how many members are cut off, what is lost of the traffic, which strands of circuits are dead, which
circuits leave their scope, and the busiest link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.prove.circuits import Circuits, Harm
from nnix.planes.fabric.prove.cuts import Left, remains, remains_of_pairs
from nnix.planes.fabric.prove.load import PLAIN_MAX, Forwarding, Loads
from nnix.planes.fabric.prove.network import Failure, Network, Part, failures, network, together
from nnix.planes.fabric.prove.outcome import Members, Outcome
from nnix.planes.fabric.prove.scopes import Scopes
from nnix.planes.fabric.prove.traffic import Matrix, matrix

GRAVITY_FACTOR = 0.2
"""what members send at the busiest time, of what they have bought, where nobody says otherwise: a guess, and named as one in every output"""


@dataclass(frozen=True, slots=True)
class Case:
    """A failure, whom it hits, and what links then carry: bit/s each way (arc 2l from `a` to `b` of link l, 2l+1 back). traffic_lost: bit/s of
    members over LANs."""

    outcome: Outcome
    harm: Harm
    load: Loads
    traffic_lost: float


@dataclass(frozen=True, slots=True)
class Busiest:
    """The fullest way of the fullest link: its name, from which site, and load by capacity."""

    link: str
    towards: str
    utilisation: float


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of failures, in the order of `first`, `second` (numbers in `failures`).

    lost: bits of sites, cut_off: how many members, dead: bits of strands, circuits: how many lose one, outside: bits of circuits, traffic_lost: bit/s,
    utilisation: of the busiest arc, arc: which; -1 without links.
    """

    failures: tuple[Failure, ...]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    lost: list[int]
    cut_off: NDArray[np.int32]
    dead: list[int]
    circuits: NDArray[np.int32]
    outside: list[int]
    traffic_lost: NDArray[np.float64]
    utilisation: NDArray[np.float64]
    arc: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.lost)

    def names(self, pair: int) -> tuple[str, str]:
        return self.failures[self.first[pair]].of, self.failures[self.second[pair]].of


class Survival:
    """An exchange under failures. Raises ValueError where it has no sites."""

    def __init__(
        self, snapshot: Snapshot, traffic: Matrix | None = None, factor: float = GRAVITY_FACTOR, *, compiled: bool | None = None
    ) -> None:
        """`traffic`: a measured matrix; without one, what is declared, else gravity with `factor`. compiled: None leaves it to the size."""
        self._compiled = compiled
        self.net: Network = network(snapshot)
        if not self.net.sites:
            raise ValueError("there are no sites to prove anything of")
        self.failures = failures(self.net)
        self.members = Members(snapshot, self.net)
        self.circuits = Circuits(snapshot, self.net)
        self.traffic = traffic or matrix(snapshot, self.net, factor)
        self._capacity = np.repeat(np.array([float(link.capacity) for link in self.net.links]), 2)

    def forwarding(self, cases: int) -> Forwarding:
        """The normal state; `cases`: how many failures will be asked of it."""
        large = cases * len(self.net.sites) > PLAIN_MAX
        return Forwarding(self.net, self.traffic, self.circuits, compiled=large if self._compiled is None else self._compiled)

    def normal(self) -> Case:
        """The exchange with nothing failed. Sites that no link joins to it are lost even so."""
        nothing = Failure(Part.LINK, "nothing", 0, 0)
        return self._case(self.forwarding(1), nothing)

    def alone(self, found: Sequence[Failure] | None = None) -> tuple[Case, ...]:
        """Every failure by itself, in the order of `failures`."""
        found = self.failures if found is None else found
        state = self.forwarding(len(found))
        return tuple(self._case(state, each) for each in found)

    def several(self, *found: Failure) -> Case:
        """These failures at once."""
        return self._case(self.forwarding(1), together(*found))

    def busiest(self, load: Loads) -> Busiest | None:
        """None without links."""
        if not len(load):
            return None
        arc = int(np.argmax(load / self._capacity))
        link = self.net.links[arc >> 1]
        return Busiest(link.id, str(link.a if arc & 1 else link.b), float(load[arc] / self._capacity[arc]))

    def utilisation(self, load: Loads) -> NDArray[np.float64]:
        """Load by capacity of every arc."""
        found: Loads = load / self._capacity
        return found

    def in_pairs(self, parts: Sequence[Part] = tuple(Part)) -> Pairs:
        """Every pair of failures of `parts`."""
        found = tuple(each for each in self.failures if each.part in parts)
        size = len(found)
        first, second = (index.astype(np.int32) for index in np.triu_indices(size, 1))
        made = Pairs(
            failures=found,
            first=first,
            second=second,
            lost=[],
            cut_off=np.zeros(len(first), np.int32),
            dead=[],
            circuits=np.zeros(len(first), np.int32),
            outside=[],
            traffic_lost=np.zeros(len(first)),
            utilisation=np.zeros(len(first)),
            arc=np.full(len(first), -1, np.int32),
        )
        state = self.forwarding(len(first))
        scopes = Scopes(self.net, self.circuits, found)
        for one, alone, row in remains_of_pairs(self.net, found):
            dead = self.circuits.dead(alone, *found[one].gateways)
            self._row(made, state.after(found[one].links, alone.lost, dead), one, row)
            made.outside.extend(scopes.row(one))
        return made

    def _row(self, made: Pairs, state: Forwarding, one: int, row: Sequence[Left]) -> None:
        """One failure with each later one."""
        begin, others = len(made.lost), made.failures[one + 1 :]
        here = slice(begin, begin + len(row))
        lost = [left.lost for left in row]
        gateways = made.failures[one].gateways
        dead = [self.circuits.dead(left, *gateways, *other.gateways) for left, other in zip(row, others, strict=True)]
        made.lost.extend(lost)
        made.dead.extend(dead)
        made.cut_off[here] = [self.members.cut_off_count(each) for each in lost]
        made.circuits[here] = [self.circuits.hit(each).bit_count() for each in dead]
        loads = np.zeros((len(row), 2 * len(self.net.links)))
        carried = np.full(len(row), state.carried)
        moved = [(gone, cut) != (state.lost, state.dead) for gone, cut in zip(lost, dead, strict=True)]
        same = [index for index, differs in enumerate(moved) if not differs]
        if same:
            loads[same] = state.loads([others[index].links for index in same])
        for index, differs in enumerate(moved):
            if differs:
                loads[index], carried[index] = state.loads_without(others[index].links, lost[index], dead[index])
        made.traffic_lost[here] = self._missing(carried)
        if loads.shape[1]:
            full = loads / self._capacity
            made.arc[here] = full.argmax(axis=1)
            made.utilisation[here] = full.max(axis=1)

    def _missing(self, carried: Any) -> Any:
        """What is not sent any more, in bit/s; less than a billionth of all is rounding."""
        missing = self.traffic.offered - carried
        return np.where(missing > 1e-9 * self.traffic.offered, missing, 0.0)

    def _case(self, state: Forwarding, failure: Failure) -> Case:
        left = remains(self.net, failure)
        dead = self.circuits.dead(left, *failure.gateways)
        if (left.lost, dead) == (state.lost, state.dead):
            load, carried = state.loads([failure.links])[0], state.carried
        else:
            load, carried = state.loads_without(failure.links, left.lost, dead)
        return Case(self.members.outcome(failure, left), self.circuits.harm(left, failure), load, float(self._missing(carried)))
