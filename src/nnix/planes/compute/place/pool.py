"""A pool's turn: whose jobs begin now, on which devices, and who makes room for them.

A pool sells lots, and whoever bought some has them to himself while the hours of his deal last: a deal is what others call a reservation in advance, and
its lots are the quota of its buyer. So a pool has not one queue, but one for each deal (queue.py), in which his own jobs wait for his own lots: they
pass one another, and stop one another, and nobody else's. Shares need not be fair between deals, for they are bought. What no job of a deal has
at the moment is for probes, which pay nothing: they have a queue of what is left over, and go when anybody needs it.

A queue counts devices, and knows no machines. Whom it lets begin is seated (fleet.py), in the order in which the deals' first jobs came; who finds
no place, though devices enough are idle, is told what is short. He then is the next in turn, whom nobody passes that could not be told to go.

A queue counts parts of devices too, but lots are whole devices, and who bought some may want his whole. So a device of which a deal's jobs have a part
is that deal's while they have it; of those that nobody has, a deal sees as many as it has lots besides, and parts begin as few as they can do with.
A probe has its devices to itself.

Room is made where it does any good, and no more of it than that does: the queue says who would have to go by numbers, the fleet who by place,
and whoever could stay after all stays. What is emptied for somebody is kept for him meanwhile.

R1  Who begins has all of his seats, on devices of which no other deal's jobs and no probe have any part.
R2  No deal's jobs are on more devices than it has lots.
R3  Who is told to go can save himself, and is behind the one for whom he goes in the queue of the same deal, or is a probe.
R4  Names and the order of jobs, deals and machines change nothing but the names in the answer.

All of it follows from what stands: neither the queues nor the fleet are kept from one turn to the next. So an agent that was killed decides as it would
have, and a command that asks where a job would be seated gets the agent's own answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from nnix.planes.compute.place.fleet import Fleet
from nnix.planes.compute.place.queue import Queue, Request, Standing
from nnix.planes.compute.place.values import WHOLE, Demand, Node, Seat, Together, Unplaced

EMPTIED = "its devices are being saved and emptied"

Device = tuple[str, int]
"""machine, and the device's number there"""


@dataclass(frozen=True, slots=True)
class Work:
    """A job as its pool sees it. Instants are Unix seconds.

    `lots`: of the deal, or of the whole pool for a probe. `save_seconds`: how long it takes to save itself; None: it cannot, or not now. `ends`: by when
    it says that it is over. `since`: how long it stands as it does; `ran` and `waited`: seconds before that. `seats`: those that it has.
    """

    job: str
    deal: str
    lots: int
    workers: int
    demand: Demand
    together: Together = Together.POOL
    priority: int = 0
    save_seconds: int | None = None
    ends: int | None = None
    probe: bool = False
    standing: Standing = Standing.WAITING
    came: float = 0.0
    since: int = 0
    ran: int = 0
    waited: int = 0
    seats: tuple[Seat, ...] = ()

    @property
    def takes(self) -> Demand:
        """What each worker keeps from others: a probe the whole of each device of which it has a part."""
        return replace(self.demand, share=WHOLE) if self.probe else self.demand

    @property
    def thousandths(self) -> int:
        """Of devices, that all workers together keep from others."""
        return self.workers * self.takes.devices * self.takes.share

    @property
    def arrival(self) -> tuple[Any, ...]:
        """Who came first; of those who came at once by what they ask for. Only jobs alike in all of this are told apart by name."""
        of = self.demand
        wish = (self.thousandths, self.workers, of.cpu_milli, of.memory_mib, of.share, self.together, self.save_seconds or 0)
        return (self.came, -self.priority, self.ends or 0, wish, self.lots, self.since, self.job)

    @property
    def keys(self) -> list[Hashable]:
        """Of its workers, in a fleet."""
        return [(self.job, rank) for rank in range(self.workers)]

    def barred(self, empty: Fleet) -> str:
        """Why it could not even run alone; nothing where it could."""
        if self.thousandths > self.lots * WHOLE:
            return f"it asks for {self.thousandths / WHOLE:g} devices, and its deal has {self.lots}"
        short = empty.short(self.takes, self.workers, self.together) or self.beyond(empty, ())[0]
        return "" if short is None else f"not even in the empty pool: {short}"

    def beyond(self, fleet: Fleet, own: Collection[Device]) -> tuple[Unplaced | None, Collection[Device] | None]:
        """Whether the lots of its deal, whose jobs are on its `own` devices, are too few; and which others it may begin (None: any)."""
        begins: int = self.workers * self.takes.devices
        devices: Collection[Device] | None = None
        if self.takes.share < WHOLE:
            if (fewest := fleet.fewest(self.takes, self.workers, self.together, own)) is None:
                return None, None  # there is no room, whatever its lots are
            begins, devices = fewest
        if begins <= max(0, self.lots - len(own)):
            return None, devices
        return Unplaced(f"its deal has begun {len(own)} of {self.lots} devices, and it needs {begins} more", ()), ()


class Wait(NamedTuple):
    """Where a job stands among those that wait in its queue, from 1, and why it waits."""

    position: int
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now: who begins and on which seats, by worker; who saves himself, and for whom. Of the others why they wait.

    `never`: who would find no place in the empty pool either, and why.
    """

    begin: Mapping[str, tuple[Seat, ...]]
    save: Mapping[str, str]
    waits: Mapping[str, Wait]
    never: Mapping[str, str]


def decided(nodes: Sequence[Node], works: Iterable[Work], now: int) -> Decision:
    """What follows from what stands. Pure."""
    return _Turn(nodes, sorted(works, key=lambda each: each.arrival), now).decision()


def given(seats: Iterable[Seat], share: int) -> tuple[Seat, ...]:
    """The same seats, with as much of each device."""
    return tuple(Seat(seat.node, tuple((device, share) for device, _ in seat.devices)) for seat in seats)


def touched(seats: Iterable[Seat]) -> Iterator[Device]:
    """The devices of which these seats have anything."""
    return ((seat.node, device) for seat in seats for device, _ in seat.devices)


class _Turn:
    """One turn of a pool. `works` in order of arrival."""

    def __init__(self, nodes: Sequence[Node], works: Sequence[Work], now: int) -> None:
        self.now = now
        self.by_job = {each.job: each for each in works}
        asked: Counter[Demand] = Counter()
        for each in works:
            asked[each.takes] += each.workers
        self.fleet = Fleet(nodes, asked)
        self.shrunk: set[Hashable] = set()
        self.never = {each.job: why for each in works if each.standing is Standing.WAITING and (why := each.barred(self.fleet))}
        self.queued = [each for each in works if each.job not in self.never]
        for each in sorted(works, key=lambda each: (each.since, each.arrival)):
            for key, seat in zip(each.keys, given(each.seats, each.takes.share), strict=True) if each.seats else ():
                self._occupy(key, each.takes, seat)
        self.going = {each.job for each in works if each.standing is Standing.SAVING}
        self.begin: dict[str, tuple[Seat, ...]] = {}
        self.save: dict[str, str] = {}
        self.waits: dict[str, Wait] = {}
        self.promised: list[_Promise] = []

    def _occupy(self, key: Hashable, demand: Demand, seat: Seat) -> None:
        """Take what it has. Of a machine that has become smaller since, or is no longer one of the pool, as much as there still is."""
        try:
            self.fleet.occupy(key, demand, seat, stoppable=True)
        except (KeyError, ValueError):
            self.shrunk.add(key)
            if (idle := self.fleet.idle().get(seat.node)) is None:
                return
            cpu, memory, devices = idle
            parts = tuple((device, min(share, devices[device])) for device, share in seat.devices if device < len(devices))
            self.fleet.occupy(("rest", key), Demand(min(cpu, demand.cpu_milli), min(memory, demand.memory_mib)), Seat(seat.node, parts))

    def keys(self, job: str) -> list[Hashable]:
        """Of its workers that have their seats."""
        return [key for key in self.by_job[job].keys if key not in self.shrunk]

    def decision(self) -> Decision:
        deals: dict[str, list[Work]] = {}
        for each in self.queued:
            if not each.probe:
                deals.setdefault(each.deal, []).append(each)
        for works in deals.values():
            self._queue(works, works[0].lots * WHOLE)
        held = {device for each in self.by_job.values() if not each.probe for device in touched(each.seats or self.begin.get(each.job, ()))}
        probes = [each for each in self.queued if each.probe]
        self._queue(probes, (sum(node.devices for node in self.fleet.nodes) - len(held)) * WHOLE)
        begin = {job: given(seats, self.by_job[job].demand.share) for job, seats in self.begin.items()}
        return Decision(begin, self.save, self.waits, self.never)

    def _queue(self, works: Sequence[Work], thousandths: int) -> None:
        """The turn of one queue. Who has no place is named to it, and it is asked again, until all whose turn it is have theirs or will have it."""
        unseated: dict[str, str] = {}
        while any(each.standing is Standing.WAITING for each in works):
            attempt = _Attempt(self, works, thousandths, unseated)
            if (lacking := attempt.lacking()) is None:
                self.begin |= attempt.begin
                self.save |= attempt.save
                self.going |= attempt.save.keys()
                self.waits |= attempt.waits()
                self.promised += attempt.promised
                return
            attempt.undo()
            unseated[lacking[0]] = lacking[1]


class _Promise(NamedTuple):
    """Seats that one will have when all have gone who go, and under which keys what is idle of them is kept for it meanwhile."""

    work: Work
    seats: tuple[Seat, ...]
    kept: tuple[Hashable, ...]


class _Attempt:
    """One queue is asked, and what it says is tried on the machines."""

    def __init__(self, turn: _Turn, works: Sequence[Work], thousandths: int, unseated: Mapping[str, str]) -> None:
        self.of, self.works, self.thousandths = turn, works, thousandths
        queue = Queue(thousandths, parts=WHOLE)
        for each in works:
            begins = turn.now if each.standing is Standing.WAITING else each.since
            limit = None if each.ends is None else max(0, each.ends - begins)
            asks = Request(each.job, each.deal, each.thousandths, each.priority, each.save_seconds, limit)
            queue.take_up(asks, each.standing, each.since, turn.now, ran=each.ran, waited=each.waited)
        self.said = queue.turn(turn.now, unseated)
        self.order = queue.order()
        self.unseated = unseated
        self.begin: dict[str, tuple[Seat, ...]] = {}
        self.save: dict[str, str] = {}
        self.emptied: list[str] = []
        self.taken: list[Hashable] = []
        self.promised: list[_Promise] = []

    def lacking(self) -> tuple[str, str] | None:
        """Seat all whose turn it is, or keep their place while it is emptied. Who has none and why, or None."""
        headed = False  # behind the one that is next there are only guests, for whom nobody goes
        for key, _, _ in self.order:
            work = self.of.by_job[key]
            if work.standing is not Standing.WAITING:
                headed = headed or key in self.said.save
                continue
            may_begin = key in self.said.begin
            if key in self.unseated or not (may_begin or self._counts(work, {*self.said.save})):
                headed = True
            elif headed and not may_begin:
                continue
            else:
                seats = self._place(work, ()) if may_begin else None
                if isinstance(seats, tuple):
                    self.begin[key] = seats
                    for each, seat in zip(work.keys, seats, strict=True):
                        self.of.fleet.occupy(each, work.takes, seat)
                    self.taken += work.keys
                elif headed or not self._made_room(work, set() if may_begin else {*self.said.save}):
                    return key, str(self._short(work, ()))
                else:
                    self.emptied.append(key)
        return None

    def waits(self) -> dict[str, Wait]:
        """Why the others wait, in the order of the queue."""
        words = {key: why for key, standing, why in self.order if standing is Standing.WAITING or key in self.emptied}
        return {key: Wait(at, EMPTIED if key in self.emptied else why) for at, (key, why) in enumerate(words.items(), 1)}

    def undo(self) -> None:
        for key in self.taken:
            self.of.fleet.release(key)

    def _counts(self, work: Work, gone: set[str]) -> bool:
        """R2, with some gone."""
        gone = gone | self.of.going | self.save.keys()
        held = sum(each.thousandths for each in self.works if each.standing is not Standing.WAITING and each.job not in gone)
        granted = sum(self.of.by_job[key].thousandths for key in (*self.begin, *self.emptied))
        return held + granted + work.thousandths <= self.thousandths

    def _place(self, work: Work, gone: Collection[str]) -> tuple[Seat, ...] | Unplaced:
        """Where it would be seated when some have gone; it is not seated."""
        with self._seen_by(work, gone) as beyond:
            seats = beyond or self.of.fleet.gang(work.keys, work.takes, together=work.together)
            for key in work.keys if isinstance(seats, tuple) else ():
                self.of.fleet.release(key)
        return seats

    def _short(self, work: Work, gone: Collection[str]) -> Unplaced | None:
        """Why it would have no seats when some have gone."""
        with self._seen_by(work, gone) as beyond:
            return beyond or self.of.fleet.short(work.takes, work.workers, work.together)

    @contextmanager
    def _seen_by(self, work: Work, gone: Collection[str]) -> Iterator[Unplaced | None]:
        """The pool as far as it is the deal's of some work, when some have gone; and whether its lots are too few then.

        Where it takes parts, shut are the devices of which another deal's jobs have some, and those of nobody that it may not begin.
        """
        fleet = self.of.fleet
        with self._without(gone):
            own, others = set[Device](), set[Device]()
            for each, seats in self._seated(gone):
                if not each.probe:
                    (own if each.deal == work.deal else others).update(touched(seats))
            # Who takes whole devices finds none of others whole, nor more than he asks for.
            shut = self._shut(own, others) if work.takes.share < WHOLE else []
            beyond, may = work.beyond(fleet, own)
            shut += self._shut({*own, *may}) if may is not None else []
            try:
                yield beyond
            finally:
                for key in shut:
                    fleet.release(key)

    def _seated(self, gone: Collection[str]) -> Iterator[tuple[Work, Iterable[Seat]]]:
        """All who have seats, or are promised some, when some have gone."""
        for each in self.of.by_job.values():
            if each.job not in gone:
                yield each, each.seats or self.begin.get(each.job) or self.of.begin.get(each.job, ())
        yield from ((each.work, each.seats) for each in (*self.of.promised, *self.promised))

    def _shut(self, but: Collection[Device], some: Collection[Device] | None = None) -> list[Hashable]:
        """Take what is idle of some devices (None: of all), but not of others; under which keys."""
        shut: list[Hashable] = []
        for node, (_, _, devices) in self.of.fleet.idle().items():
            rests = [
                (at, rest) for at, rest in enumerate(devices) if rest and (some is None or (node, at) in some) and (node, at) not in but
            ]
            if rests:
                shut.append(("shut", node, some is None))
                self.of.fleet.occupy(shut[-1], Demand(0, 0), Seat(node, tuple(rests)))
        return shut

    @contextmanager
    def _without(self, gone: Collection[str]) -> Iterator[None]:
        """As if some, and all who go, had gone, and those for whom they go had their seats; or as it is now, where `gone` is empty."""
        fleet, promised = self.of.fleet, [*self.of.promised, *self.promised] if gone else []
        with fleet.without([*(key for each in promised for key in each.kept), *(key for job in gone for key in self.of.keys(job))]):
            sat = [(("promised", key), each, seat) for each in promised for key, seat in zip(each.work.keys, each.seats, strict=True)]
            for key, each, seat in sat:
                fleet.occupy(key, each.work.takes, seat)
            try:
                yield
            finally:
                for key, _, _ in sat:
                    fleet.release(key)

    def _made_room(self, work: Work, asked: set[str]) -> bool:
        """Choose who goes, of those whom the queue would ask and of others where these are in the wrong place, and keep what is emptied."""
        if work.probe:
            return False
        going = self.of.going | self.save.keys()
        gone = going | asked
        chosen = asked - going
        if self._short(work, gone) is not None:
            more = self._in_the_way(work, gone)
            if more is None:
                return False
            chosen |= more
        # Whoever can stay stays: of his own deal the first in the queue before the others, and probes last.
        rank = {key: at for at, (key, _, _) in enumerate(self.order)}
        for key in sorted(chosen, key=lambda key: (rank.get(key, len(rank)), self.of.by_job[key].arrival)):
            rest = chosen - {key}
            if self._counts(work, rest) and self._short(work, going | rest) is None:
                chosen = rest
        self.save |= dict.fromkeys(chosen, work.job)
        self._keep(work, going | chosen)
        return True

    def _in_the_way(self, work: Work, gone: set[str]) -> set[str] | None:
        """Who has to go by place: probes if these are enough, else also jobs of the same deal that are behind it in the queue."""
        behind = [key for key, _, _ in self.order]
        behind = behind[behind.index(work.job) :]
        jobs = [self.of.by_job[key] for key in behind]
        probes = [each for each in self.of.by_job.values() if each.probe and each.standing is Standing.RUNNING and each.job not in gone]
        mine = [each for each in jobs if each.standing is Standing.RUNNING and each.save_seconds is not None and each.job not in gone]
        for among in (probes, probes + mine):
            lesser = {key for each in among for key in self.of.keys(each.job)}
            with self._seen_by(work, gone):
                found = self.of.fleet.preempt_gang(work.takes, work.workers, 1, together=work.together, lesser=lesser, whole=self._whole)
            # Whoever goes leaves his deal lots, too, so that it may begin others: where what was found is not enough, all together may be.
            for some in ({key[0] for key in found or () if isinstance(key, tuple)}, {each.job for each in among}):
                if self._short(work, gone | some) is None:
                    return some
        return None

    def _whole(self, key: Hashable) -> Iterable[Hashable]:
        return self.of.keys(key[0]) if isinstance(key, tuple) else (key,)

    def _keep(self, work: Work, gone: set[str]) -> None:
        """Promise it seats, and keep what is idle of them now."""
        seats = self._place(work, gone)
        if isinstance(seats, Unplaced):
            raise AssertionError(f"room was made for {work.job}, and there is none: {seats}")
        kept: list[Hashable] = []
        for rank, seat in enumerate(seats):
            cpu, memory, devices = self.of.fleet.idle()[seat.node]
            parts = tuple((device, min(share, devices[device])) for device, share in seat.devices if devices[device])
            rest = Demand(min(cpu, work.takes.cpu_milli), min(memory, work.takes.memory_mib))
            kept.append(("kept", work.job, rank))
            self.of.fleet.occupy(kept[-1], rest, Seat(seat.node, parts))
        self.taken += kept
        self.promised.append(_Promise(work, seats, tuple(kept)))
