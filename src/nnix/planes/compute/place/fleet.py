"""The machines of a pool, with what is left on each.

I1  Work is placed whole or not at all: a gang's workers all have seats, or nothing has changed.
I2  No device carries more than 1000 thousandths, no machine more processors or memory than it has.
I3  What is given back is what was taken: a fleet from which all has been released is as it was.
I4  Machines' names, and the order in which they are listed, change nothing but the names in the answer.

Online: tasks are decided one after the other, and nothing is known of those to come but what those before were like. `preempt` is for work of
higher priority that finds no room: it names the work of lower priority that would have to go, the least that is enough; whoever runs it lets it
save itself first. `preempt_gang` does so for a gang, worker by worker: the least for each, and so little for all, but not proved to be the least.

Standard library only, since this runs on the pool's machine; where thousands of machines are decided on, NumPy and numba are taken if they are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from nnix.planes.compute.place.arrays import Ints, column, filled, table, widened
from nnix.planes.compute.place.decide import LEFT, NOWHERE, STALE, decide
from nnix.planes.compute.place.mix import GROWTH, Mix
from nnix.planes.compute.place.values import WHOLE, Demand, Node, Seat, Together, Unplaced

PLAIN_MAX = 20_000
"""machines times decisions, above which compiling pays"""
RING = 512
TYPES_MAX = 62
UNBOUNDED = 1 << 30
"""workers that a machine takes which ask for nothing"""


@cache
def _compiled() -> Callable[..., None]:
    """The decision as machine code, or as it is where there is no compiler: it decides alike."""
    try:
        import numba  # seconds to import and to compile (once: the result is kept on disk), so only for those who need it
        import numpy as np
    except ImportError:
        return decide
    made: Callable[..., None] = numba.njit(cache=True)(decide)

    def run(*given: Any) -> None:
        made(*(np.asarray(each) if isinstance(each, memoryview) else each for each in given))

    return run


@dataclass(frozen=True, slots=True)
class _Held:
    """Work that runs: where, what of it, and how important it is."""

    at: int
    demand: Demand
    took: tuple[tuple[int, int], ...]
    priority: int
    stoppable: bool
    turn: int


class Fleet:
    """Machines, and the work on them by key."""

    def __init__(self, nodes: Iterable[Node], mix: Mapping[Demand, int] | None = None) -> None:
        """`mix`: how often each demand came in an earlier life of the pool. Raises ValueError where two machines have one name or types are too many."""
        made = sorted(nodes, key=lambda node: (node.device, node.devices, node.cpu_milli, node.memory_mib, node.domain, node.name))
        if len({node.name for node in made}) < len(made):
            raise ValueError("two machines have one name")
        self.nodes: tuple[Node, ...] = tuple(made)
        self._at = {node.name: place for place, node in enumerate(made)}
        self.types = sorted({node.device for node in made if node.devices})
        if len(self.types) > TYPES_MAX:
            raise ValueError(f"more than {TYPES_MAX} device types in one pool")
        domains = sorted({node.domain for node in made})
        hardware = sorted({(node.device, node.devices, node.cpu_milli, node.memory_mib) for node in made})
        width = max((node.devices for node in made), default=0) or 1
        self._width = width
        self._cpu = column(node.cpu_milli for node in made)
        self._memory = column(node.memory_mib for node in made)
        self._device = column(self.types.index(node.device) if node.devices else 0 for node in made)
        self._count = column(node.devices for node in made)
        self._rank = column(hardware.index((node.device, node.devices, node.cpu_milli, node.memory_mib)) for node in made)
        self._domain = column(domains.index(node.domain) for node in made)
        self._free = filled(len(made), width, ([WHOLE] * node.devices for node in made))
        self._domain_idle = column(sum(node.devices * WHOLE for node in made if node.domain == domain) for domain in domains)
        self._per_device = (LEFT << 20) // (width * WHOLE)
        self._per_core = (LEFT << 20) // max((1, *(node.cpu_milli for node in made)))
        self._base = column([STALE] * len(made))
        self._stamp = column([0] * len(made))
        self._ring = column([0] * RING)
        self._changes = column([0])
        self._shape_of: dict[Demand, int] = {}
        self._kin: dict[tuple[int, int, int, int], int] = {}
        self._every_type = (1 << max(1, len(self.types))) - 1
        self._rows: list[tuple[int, ...]] = []
        self._shapes = table(0, 6)
        self._shaped = 0
        self._asked: list[int] = []
        self._cache: tuple[Ints, ...] = ()
        self._next = 1
        self._mix = Mix.of((), len(self.types))
        self._held: dict[Hashable, _Held] = {}
        self._on: list[dict[Hashable, _Held]] = [{} for _ in made]
        self._turn = 0
        if mix:
            for demand, times in sorted(mix.items(), key=lambda item: _content(item[0])):
                number = self._shape(demand)
                self._asked[number] += times
            self._learn()

    # --- one after the other ------------------------------------------------------------------------------------------------

    def place(
        self, key: Hashable, demand: Demand, *, priority: int = 0, stoppable: bool = False, among: Iterable[str] | None = None
    ) -> Seat | Unplaced:
        """Take room for one worker. `among`: only these machines. Raises ValueError where the key has a seat already."""
        if key in self._held:
            raise ValueError(f"{key} has its seat already")
        inside = None if among is None else self._inside(among)
        where, took = self._decide([self._shape(demand)], inside, commit=True)
        if where[0] < 0:
            return self._why(demand, inside)
        devices = tuple((device, took[0, device]) for device in range(self._width) if took[0, device])
        self._keep(key, where[0], demand, devices, priority, stoppable)
        return Seat(self.nodes[where[0]].name, devices)

    def occupy(self, key: Hashable, demand: Demand, seat: Seat, *, priority: int = 0, stoppable: bool = False) -> None:
        """Take the room that a worker has already, as its engine says. Raises ValueError where it is not there to be taken."""
        at = self._at[seat.node]
        if self._cpu[at] < demand.cpu_milli or self._memory[at] < demand.memory_mib or key in self._held:
            raise ValueError(f"{key} cannot be on {seat.node}")
        if any(not 0 <= device < self._count[at] or self._free[at, device] < share for device, share in seat.devices):
            raise ValueError(f"{key} cannot have those devices of {seat.node}")
        self._give(self._keep(key, at, demand, seat.devices, priority, stoppable), -1)

    def release(self, key: Hashable) -> None:
        """Give back what `key` has. Raises KeyError where it has nothing."""
        held = self._held.pop(key)
        del self._on[held.at][key]
        self._give(held, 1)

    def gang(
        self,
        keys: Sequence[Hashable],
        demand: Demand,
        *,
        together: Together = Together.POOL,
        priority: int = 0,
        stoppable: bool = False,
        among: Iterable[str] | None = None,
    ) -> tuple[Seat, ...] | Unplaced:
        """Take room for a gang of equal workers, all of them or none.

        The narrowest domain in which it fits is taken, and of several the one that it fills best. NODE: all on one machine. DOMAIN: in one domain of
        the smallest kind. POOL: anywhere, but no wider than need be.
        """
        workers = len(keys)
        allowed = self._inside(among)
        fits = [many if allowed[at] else 0 for at, many in enumerate(self.holds(demand))]
        for group, members in self._groups(together):
            room = {name: sum(fits[at] for at in places) for name, places in members.items()}
            able = [name for name, most in room.items() if most >= workers]
            if not able:
                continue
            best = min(
                able,
                key=lambda name: (room[name], sum(map(sum, map(self._idle, members[name]))), self._sorted_content(members[name]), name),
            )
            names = [self.nodes[at].name for at in members[best] if allowed[at]]
            seats: list[Seat] = []
            for key in keys:
                seat = self.place(key, demand, priority=priority, stoppable=stoppable, among=names)
                if isinstance(seat, Unplaced):
                    for taken in keys[: len(seats)]:
                        self.release(taken)
                    raise AssertionError(f"{group} {best} holds {room[best]} workers, and not {workers}")
                seats.append(seat)
            return tuple(seats)
        return self._why_gang(demand, workers, together, fits)

    def short(self, demand: Demand, workers: int, together: Together = Together.POOL) -> Unplaced | None:
        """Why a gang would find no room now; None where it would. Nothing is changed."""
        fits = self.holds(demand)
        if any(sum(fits[at] for at in places) >= workers for _, members in self._groups(together) for places in members.values()):
            return None
        return self._why_gang(demand, workers, together, fits)

    def fewest(
        self, demand: Demand, workers: int, together: Together, own: Container[tuple[str, int]]
    ) -> tuple[int, frozenset[tuple[str, int]]] | None:
        """With how few devices besides its `own` a gang that takes parts can do, and with which; None: it finds no room. Nothing is changed.

        Devices are named by machine and number. Where several places are as narrow and do with as few, those of each are named.
        """
        most, room = self.holds(demand), self.holds(demand, own)
        # By machine: for how many workers each further device is good. These are ever fewer, so whoever takes the best first takes the fewest.
        gains: list[list[tuple[int, tuple[str, int]]]] = []
        for at, node in enumerate(self.nodes):
            gains.append([])
            seats = room[at]
            others = [(-idle, device) for device, idle in enumerate(self._idle(at)) if (node.name, device) not in own]
            for idle, device in sorted(others):
                if (gain := min(most[at] - seats, -idle // demand.share)) > 0:
                    gains[at].append((gain, (node.name, device)))
                    seats += gain
        best: tuple[int, int] | None = None
        named: set[tuple[str, int]] = set()
        for width, (_, members) in enumerate(self._groups(together)):
            for places in members.values():
                missing = workers - sum(room[at] for at in places)
                here: set[tuple[str, int]] = set()
                by_content = sorted(places, key=lambda at: (self._sorted_content([at]), at))
                for gain, one in sorted((each for at in by_content for each in gains[at]), key=lambda each: -each[0]):
                    if missing > 0:
                        here.add(one)
                        missing -= gain
                cost = len(here), width
                if missing <= 0 and (best is None or cost <= best):
                    best, named = cost, here | (named if cost == best else set())
        return None if best is None else (best[0], frozenset(named))

    def holds(self, demand: Demand, own: Container[tuple[str, int]] | None = None) -> list[int]:
        """How many such workers each machine still takes. `own`: of those that take parts, on these devices alone."""
        many = []
        for at, node in enumerate(self.nodes):
            most = UNBOUNDED
            if demand.cpu_milli:
                most = min(most, self._cpu[at] // demand.cpu_milli)
            if demand.memory_mib:
                most = min(most, self._memory[at] // demand.memory_mib)
            if demand.devices:
                idle = self._idle(at)
                if demand.share < WHOLE:
                    open_to = (part for device, part in enumerate(idle) if own is None or (node.name, device) in own)
                    most = min(most, sum(part // demand.share for part in open_to))
                else:
                    most = min(most, idle.count(WHOLE) // demand.devices)
                if demand.types is not None and node.device not in demand.types:
                    most = 0
            many.append(most)
        return many

    @contextmanager
    def without(self, keys: Iterable[Hashable]) -> Iterator[None]:
        """As if the work of `keys` had gone, until the block ends. Raises KeyError where one has nothing."""
        gone = {key: self._held[key] for key in keys}
        for key in gone:
            self.release(key)
        try:
            yield
        finally:
            for key, held in gone.items():
                self._held[key] = self._on[held.at][key] = held
                self._give(held, -1)

    def preempt(
        self, demand: Demand, priority: int, *, among: Iterable[str] | None = None, lesser: Container[Hashable] | None = None
    ) -> tuple[Hashable, ...] | None:
        """What of lower priority has to go so that one worker finds room: the fewest thousandths of devices, or None. Nothing is changed.

        Of several machines on which as few have to go, the one with least processors and memory left. Work that cannot save itself is left alone, and
        so is all that is not `lesser`, where that is said.
        """
        allowed = self._inside(among)
        able = []
        for at in range(len(self.nodes)):
            if allowed[at] and (missing := self._missing(at, demand, priority, lesser)) is not None:
                able.append((missing, self._cpu[at], self._memory[at], self._rank[at], at))
        best: tuple[int, tuple[Hashable, ...]] | None = None
        for missing, *_, at in sorted(able):
            if best is not None and best[0] <= missing:
                break
            gone = self._enough(at, demand, priority, lesser)
            if gone is not None:
                shares = sum(part for key in gone for _, part in self._held[key].took)
                if best is None or shares < best[0]:
                    best = (shares, gone)
        return None if best is None else best[1]

    def preempt_gang(
        self,
        demand: Demand,
        workers: int,
        priority: int,
        *,
        together: Together = Together.POOL,
        lesser: Container[Hashable] | None = None,
        whole: Callable[[Hashable], Iterable[Hashable]] = lambda key: (key,),
    ) -> tuple[Hashable, ...] | None:
        """What of lower priority has to go so that a gang finds room, or None. Nothing is changed.

        `whole`: all that goes when one of it goes, since what was a gang does not run on in part. Of all places where the gang may be, that is
        cleared where the fewest thousandths of devices go; of equals the narrowest.
        """
        best: tuple[tuple[Any, ...], tuple[Hashable, ...]] | None = None
        for width, (_, members) in enumerate(self._groups(together)):
            for places in members.values():
                gone = self._cleared(places, demand, workers, priority, lesser, whole)
                if gone is None:
                    continue
                cost = (self._shares(gone), width, self._sorted_content(places), self._latest(gone))
                if best is None or cost < best[0]:
                    best = (cost, gone)
        return None if best is None else best[1]

    # --- many ---------------------------------------------------------------------------------------------------------------

    def stream(self, demands: Sequence[Demand]) -> tuple[list[int], list[list[int]]]:
        """Place a stream of single workers, one after the other: for each its machine (place in `nodes`, or -1), and the thousandths it took by device.

        As `place` would, but for the keys: this work stays.
        """
        where, took = self._decide([self._shape(demand) for demand in demands], None, commit=True)
        rows: list[Any] = took.tolist()  # of two dimensions: a list of lists
        return where.tolist(), rows[: len(demands)]

    # --- what is left -------------------------------------------------------------------------------------------------------

    def idle(self) -> dict[str, tuple[int, int, tuple[int, ...]]]:
        """By machine: processors (milli), memory (MiB), and thousandths of each device that nobody has."""
        return {node.name: (self._cpu[at], self._memory[at], tuple(self._idle(at))) for at, node in enumerate(self.nodes)}

    def explain(self, demand: Demand) -> str:
        """In words: where one such worker would go now, and why there; or why nowhere. Nothing is changed."""
        number = self._shape(demand)
        where, _ = self._decide([number], None, commit=False)
        at = where[0]
        if at < 0:
            return str(self._why(demand, None))
        score, kin = self._cache[1], self._rows[number][5]
        scores = [score[kin, each] for each in range(len(self.nodes)) if self._rows[number][4] >> self._device[each] & 1]
        lost = [each - score[kin, at] for each in scores if each < NOWHERE]
        close = lost.count(0)
        words = f"{self.nodes[at].name}: of {len(lost)} machines with room for it, {'none' if close == 1 else f'only {close - 1} others'} would lose as little"
        if further := [each for each in lost if each > 0]:
            words += f"; the next would lose {min(further) / (10 * self._mix.total * WHOLE):.3f} devices more of what usual work can use"
        return words

    # --- within -------------------------------------------------------------------------------------------------------------

    def _shape(self, demand: Demand) -> int:
        number = self._shape_of.get(demand)
        if number is None:
            number = self._shape_of[demand] = len(self._shape_of)
            mask = self._every_type
            if demand.types is not None and demand.devices:
                mask = sum(1 << place for place, name in enumerate(self.types) if name in demand.types)
            plain = demand.cpu_milli, demand.memory_mib, demand.devices, demand.share if demand.devices else WHOLE
            self._rows.append((*plain, mask, self._kin.setdefault(plain, number)))
            self._asked.append(0)
        return number

    def _room(self) -> None:
        """Rows for every shape that is known."""
        have = len(self._cache[0]) if self._cache else 0
        if have < len(self._rows):
            rows = max(32, 2 * len(self._rows))
            made = (column([-1] * rows), *(table(rows, len(self.nodes)) for _ in range(3)))
            self._cache = tuple(widened(old, new) for old, new in zip(self._cache, made, strict=True)) if have else made
        if self._shaped < len(self._rows):
            self._shapes, self._shaped = filled(len(self._rows), 6, self._rows), len(self._rows)

    def _learn(self) -> None:
        order = sorted(self._shape_of, key=_content)
        numbers = [self._shape_of[demand] for demand in order]
        self._mix = Mix.of([(self._rows[number], self._asked[number]) for number in numbers], len(self.types))
        for at in range(len(self.nodes)):
            self._base[at] = STALE
        for number in range(len(self._cache[0]) if self._cache else 0):
            self._cache[0][number] = -1
        self._next = max(1, GROWTH * sum(self._asked))

    def _decide(self, numbers: Sequence[int], inside: Sequence[bool] | None, *, commit: bool) -> tuple[Ints, Ints]:
        self._room()
        asked = column(numbers)
        where = column([-1] * len(numbers))
        took = table(len(numbers), self._width)
        run: Callable[..., None] = decide
        if len(numbers) * len(self.nodes) > PLAIN_MAX or _compiled.cache_info().currsize:
            run = _compiled()
        begin = 0
        heard = sum(self._asked)
        while begin < len(numbers):
            end = min(len(numbers), begin + max(1, self._next - heard)) if commit else len(numbers)
            mix = self._mix
            room = column([0] * len(mix.count)), column([0] * len(mix.count))
            run(
                asked, begin, end, commit, column(inside or ()), inside is not None, where, took, self._shapes,
                self._cpu, self._memory, self._device, self._count, self._rank, self._domain, self._domain_idle, self._free,
                self._base, self._stamp, self._ring, self._changes, *self._cache, self._every_type, self._per_device, self._per_core,
                mix.count, mix.share, mix.cpu, mix.memory, mix.level, mix.per_cpu, mix.per_memory, mix.weight, mix.total, *room,
            )  # fmt: skip
            if commit:
                for number in numbers[begin:end]:
                    self._asked[number] += 1
                heard += end - begin
                if heard >= self._next:
                    self._learn()
            begin = end
        return where, took

    def _keep(self, key: Hashable, at: int, demand: Demand, took: tuple[tuple[int, int], ...], priority: int, stoppable: bool) -> _Held:
        self._turn += 1
        held = self._held[key] = self._on[at][key] = _Held(at, demand, took, priority, stoppable, self._turn)
        return held

    def _give(self, held: _Held, sign: int) -> None:
        self._cpu[held.at] += sign * held.demand.cpu_milli
        self._memory[held.at] += sign * held.demand.memory_mib
        for device, share in held.took:
            self._free[held.at, device] += sign * share
        self._domain_idle[self._domain[held.at]] += sign * sum(share for _, share in held.took)
        self._base[held.at] = STALE
        self._changes[0] += 1
        self._ring[self._changes[0] % RING] = held.at
        self._stamp[held.at] = self._changes[0]

    def _inside(self, among: Iterable[str] | None) -> list[bool]:
        if among is None:
            return [True] * len(self.nodes)
        places = {self._at[name] for name in among}
        return [at in places for at in range(len(self.nodes))]

    def _idle(self, at: int) -> list[int]:
        """Thousandths that are left of each of its devices."""
        return [self._free[at, device] for device in range(self._count[at])]

    def _groups(self, together: Together) -> Iterable[tuple[str, dict[str, list[int]]]]:
        """From the narrowest: kinds of places that the workers may share, with the machines of each."""
        yield "node", {node.name: [at] for at, node in enumerate(self.nodes)}
        if together is Together.NODE:
            return
        deepest = max((node.domain.count("/") + 1 for node in self.nodes if node.domain), default=0)
        for depth in range(deepest, 0, -1):
            members: dict[str, list[int]] = {}
            for at, node in enumerate(self.nodes):
                parts = node.domain.split("/")
                if node.domain and len(parts) >= depth:
                    members.setdefault("/".join(parts[:depth]), []).append(at)
            yield "domain", members
            if together is Together.DOMAIN:
                return
        if together is Together.POOL or not deepest:
            yield "pool", {"": list(range(len(self.nodes)))}

    def _sorted_content(self, places: Sequence[int]) -> tuple[Any, ...]:
        return tuple(
            sorted((self._domain_idle[self._domain[at]], self._cpu[at], self._memory[at], self._rank[at], *self._idle(at)) for at in places)
        )

    def _cleared(
        self,
        places: Sequence[int],
        demand: Demand,
        workers: int,
        priority: int,
        lesser: Container[Hashable] | None,
        whole: Callable[[Hashable], Iterable[Hashable]],
    ) -> tuple[Hashable, ...] | None:
        """What goes from some machines, one worker of a gang after the other."""
        gone: list[Hashable] = []
        for seated in range(workers):
            with self.without(gone):
                many = self.holds(demand)
                if sum(many[at] for at in places) > seated:
                    continue
                # Those that are seated already take what they would take, so that the next one is not told of the same room again.
                sat = [self._sit(places, demand) for _ in range(seated)]
                more = self._least(places, demand, priority, lesser, whole)
                for held in reversed(sat):
                    self._give(held, 1)
            if more is None:
                return None
            gone += more
        return tuple(gone)

    def _least(
        self,
        places: Sequence[int],
        demand: Demand,
        priority: int,
        lesser: Container[Hashable] | None,
        whole: Callable[[Hashable], Iterable[Hashable]],
    ) -> list[Hashable] | None:
        """What goes for one worker on one of some machines. A machine's work is looked at gang by gang: the smallest that can go are tried first, and
        alone, for what goes with them elsewhere is lost as well."""
        best: tuple[tuple[Any, ...], list[Hashable]] | None = None
        for at in places:
            gangs = {
                frozenset(whole(key))
                for key, held in self._on[at].items()
                if held.priority < priority and held.stoppable and (lesser is None or key in lesser)
            }
            going: list[Hashable] = []
            for gang in sorted(gangs, key=lambda gang: (self._shares(gang), self._latest(gang))):
                with self.without(gang):
                    alone = self.holds(demand)[at] > 0
                if alone:
                    going = [*gang]
                    break
            else:
                found = self.preempt(demand, priority, among=[self.nodes[at].name], lesser=lesser)
                if found is None:
                    continue
                going = [*dict.fromkeys(each for key in found for each in whole(key))]
            cost = (self._shares(going), self._sorted_content([at]), self._latest(going))
            if best is None or cost < best[0]:
                best = (cost, going)
        return None if best is None else best[1]

    def _shares(self, keys: Iterable[Hashable]) -> int:
        return sum(part for key in keys for _, part in self._held[key].took)

    def _latest(self, keys: Iterable[Hashable]) -> tuple[int, ...]:
        """By when they came, the latest first: no two works are equal in that."""
        return tuple(sorted(-self._held[key].turn for key in keys))

    def _sit(self, places: Sequence[int], demand: Demand) -> _Held:
        """Take room for one worker on the first of some machines that has it, by the rule of none but the fullest device."""
        many = self.holds(demand)
        at = next(each for each in places if many[each])
        idle = sorted((part, device) for device, part in enumerate(self._idle(at)))
        fit = [device for part, device in idle if part >= demand.share][: demand.devices]
        held = _Held(at, demand, tuple((device, demand.share) for device in fit), 0, False, 0)
        self._give(held, -1)
        return held

    def _missing(self, at: int, demand: Demand, priority: int, lesser: Container[Hashable] | None) -> int | None:
        """Fewer thousandths than these cannot be enough on this machine; None: not even all of lower priority that can save itself."""
        node = self.nodes[at]
        cpu, memory, lower = self._cpu[at], self._memory[at], [0] * node.devices
        for key, held in self._on[at].items():
            if held.priority < priority and held.stoppable and (lesser is None or key in lesser):
                cpu += held.demand.cpu_milli
                memory += held.demand.memory_mib
                for device, part in held.took:
                    lower[device] += part
        if cpu < demand.cpu_milli or memory < demand.memory_mib:
            return None
        if not demand.devices:
            return 0
        if demand.types is not None and node.device not in demand.types:
            return None
        missing = sorted(
            max(0, demand.share - idle) for idle, part in zip(self._idle(at), lower, strict=True) if idle + part >= demand.share
        )
        return sum(missing[: demand.devices]) if len(missing) >= demand.devices else None

    def _enough(self, at: int, demand: Demand, priority: int, lesser: Container[Hashable] | None) -> tuple[Hashable, ...] | None:
        """The least of lower priority on one machine without which the work fits there: lowest priority, smallest and latest first."""
        lower = sorted(
            (
                (held.priority, sum(part for _, part in held.took), held.demand.cpu_milli, -held.turn, key)
                for key, held in self._on[at].items()
                if held.priority < priority and held.stoppable and (lesser is None or key in lesser)
            ),
            key=lambda each: each[:4],
        )
        cpu, memory, free = int(self._cpu[at]), int(self._memory[at]), self._idle(at)
        gone: list[Hashable] = []

        def short() -> int:
            if not demand.devices:
                return 0
            return demand.devices - len([part for part in free if part >= demand.share])

        def go(key: Hashable) -> None:
            nonlocal cpu, memory
            held = self._held[key]
            cpu += held.demand.cpu_milli
            memory += held.demand.memory_mib
            for device, part in held.took:
                free[device] += part
            gone.append(key)

        if short() > 0:  # devices that can be emptied, those first on which least would have to go
            costs: list[tuple[int, int, list[Hashable]]] = []
            for device, idle in enumerate(free):
                there = [
                    (part, share, late, key)
                    for _, share, _, late, key in lower
                    for taken, part in self._held[key].took
                    if taken == device and idle < demand.share
                ]
                there.sort(key=lambda each: each[:3])
                going = next(([each] for each in there if idle + each[0] >= demand.share), [])  # one alone, the smallest that is enough
                if not going:
                    for each in reversed(there):
                        if idle + sum(gone_part for gone_part, *_ in going) < demand.share:
                            going.append(each)
                freed = sum(part for part, *_ in going)
                if going and idle + freed >= demand.share:
                    costs.append((freed, device, [key for *_, key in going]))
            for _, _, keys in sorted(costs, key=lambda each: each[:2]):
                if short() > 0:
                    for key in keys:
                        if key not in gone:
                            go(key)
            if short() > 0:
                return None
        for *_, key in lower:
            if cpu >= demand.cpu_milli and memory >= demand.memory_mib:
                break
            if key not in gone:
                go(key)
        return tuple(gone) if cpu >= demand.cpu_milli and memory >= demand.memory_mib else None

    def _why(self, demand: Demand, inside: Sequence[bool] | None) -> Unplaced:
        """What is short, machine by machine: the first thing that is missing on each."""
        short: Counter[str] = Counter()
        for at, node in enumerate(self.nodes):
            free = self._idle(at)
            if inside is not None and not inside[at]:
                short["are not among those allowed"] += 1
            elif demand.devices and demand.types is not None and node.device not in demand.types:
                short["have another device type"] += 1
            elif demand.devices > node.devices:
                short["have fewer devices than are asked for"] += 1
            elif demand.devices and demand.share == WHOLE and free.count(WHOLE) < demand.devices:
                short["have too few idle devices"] += 1
            elif demand.devices and max(free, default=0) < demand.share:
                short["have no device with such a part idle"] += 1
            elif self._cpu[at] < demand.cpu_milli:
                short["have the devices, but too few idle processors"] += 1
            else:
                short["have devices and processors, but too little idle memory"] += 1
        return Unplaced("no machine has room for it", tuple(sorted(short.items(), key=lambda item: (-item[1], item[0]))))

    def _why_gang(self, demand: Demand, workers: int, together: Together, fits: Sequence[int]) -> Unplaced:
        most = max((sum(fits[at] for at in places) for _, members in self._groups(together) for places in members.values()), default=0)
        where = {Together.NODE: "one machine", Together.DOMAIN: "one domain", Together.POOL: "the pool"}[together]
        alone = self._why(demand, None).short if most == 0 else ()
        return Unplaced(f"{where} has room for {most} of {workers} workers, and none starts without the others", alone)


def _content(demand: Demand) -> tuple[Any, ...]:
    return demand.cpu_milli, demand.memory_mib, demand.devices, demand.share, tuple(sorted(demand.types or ())), demand.types is None
