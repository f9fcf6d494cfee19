"""Whose turn it is: the queue of a pool.

Nobody is asked how long his work will take, and nothing is guessed: short work shows itself by ending. Work begins on the first level and sinks when
it has had its hour, then its day (multilevel feedback, Corbató et al. 1962; for gangs of GPUs, Tiresias, NSDI 2019). The order is:

    who has waited for `patience_seconds` in all (nobody starves) · higher priority · higher level · tenants below their share · who came first

Down this order devices are given until one is met that does not fit, the head. What is left over goes to those behind it as guests, in the same order,
and the head has what it needs the moment that it is there: guests are told to save themselves and wait again. So there is backfill without
an estimate, and the head waits for nobody behind it but for the time that it takes to save. Work that cannot save itself is never stopped; it
is a guest only if its declared limit ends before the head can begin by the limits of those before it, or if the head does not need its devices
(EASY, Lifka 1995).

A quota is what a tenant may have at most at one time; who is at his own blocks nobody else. A Reservation's devices are kept from its beginning to
its end for the work that names it; before it begins, work is told to save itself as early as the slowest needs, and what cannot save itself is
not begun unless its limit ends before.

Q1  Devices in use, those being saved and those kept are never more than there are.
Q2  Nothing that cannot save itself is stopped.
Q3  No tenant has more than its quota.
Q4  Who has waited for `patience_seconds` goes before everybody who has not.

Deliberately not here: on which machine it runs (fleet.py), and what it costs. Whoever runs the pool calls `turn` when something has happened, and
at `wake`, does what it says, and tells of what has ended and of what has been saved. Work that has no place, though devices enough are idle, is named
to `turn`: it is the head then, and nobody who could not be told to go passes it by.

A queue that is made anew takes up its work with `take_up`, and goes on as the old one would have.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS
NEVER = 1 << 60
"""seconds"""


@dataclass(frozen=True, slots=True)
class Request:
    """Work that asks for `devices` at once. `save_seconds`: how long it takes to save itself; None: it cannot. `limit_seconds`: it ends by then, or is ended."""

    key: str
    tenant: str
    devices: int
    priority: int = 0
    save_seconds: int | None = None
    limit_seconds: int | None = None
    reservation: str | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """Devices kept in advance, from `begin` to `end` (seconds)."""

    name: str
    devices: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Terms:
    """How a pool is shared. `shares` are weights; a tenant without one has 1, and without any all are equal and nobody is behind for it."""

    feedback_seconds: tuple[int, ...] = (HOUR_SECONDS, DAY_SECONDS)
    patience_seconds: int = DAY_SECONDS
    quotas: Mapping[str, int] = field(default_factory=dict)
    shares: Mapping[str, int] = field(default_factory=dict)
    memory_seconds: int = DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be begun now, and what is to be told to save itself."""

    begin: tuple[str, ...] = ()
    save: tuple[str, ...] = ()


class Standing(StrEnum):
    """Where work stands in the queue."""

    WAITING = "waiting"
    RUNNING = "running"
    SAVING = "saving"


@dataclass(slots=True)
class _Entry:
    request: Request
    number: int
    since: int
    standing: Standing = Standing.WAITING
    ran: int = 0
    waited: int = 0
    level: int = 0
    why: str = "has just come"
    order: tuple[int, ...] = ()


class Queue:
    """Requests of one pool of alike devices, in order. Instants are whole seconds, and never go back."""

    def __init__(self, devices: int, terms: Terms | None = None, reservations: Sequence[Reservation] = (), *, parts: int = 1) -> None:
        """`parts`: into how many equal parts a device is divided here; all numbers of devices are numbers of such parts, and words are of whole ones.

        Raises ValueError where more is reserved at one time than there is.
        """
        self.devices = devices
        self.parts = parts
        self.terms = terms or Terms()
        self.reservations = tuple(sorted(reservations, key=lambda each: (each.begin, each.end, each.devices, each.name)))
        for each in self.reservations:
            if sum(other.devices for other in self.reservations if other.begin <= each.begin < other.end) > devices:
                raise ValueError(f"more than {devices} devices are reserved when {each.name} begins")
        self._entries: dict[str, _Entry] = {}
        self._order: list[tuple[tuple[int, ...], str]] = []
        self._waiting: set[str] = set()
        self._used = 0
        self._came = 0
        self._now = 0
        self._usage: dict[str, float] = {}
        self._usage_at = 0

    # --- what has happened ------------------------------------------------------------------------------------------------

    def submit(self, request: Request, now: int) -> None:
        """Raises ValueError for what can never run."""
        kept = next((each.devices for each in self.reservations if each.name == request.reservation), None)
        most = min(self.terms.quotas.get(request.tenant, NEVER), self.devices if request.reservation is None else kept or 0)
        if request.key in self._entries or not 1 <= request.devices <= most:
            raise ValueError(
                f"{request.key} can never run: it is here already, or asks for {request.devices} devices where {most} can be had"
            )
        self._enter(_Entry(request, self._came + 1, now), now)

    def take_up(self, request: Request, standing: Standing, since: int, now: int, *, ran: int = 0, waited: int = 0) -> None:
        """Enter work with its history, in the order in which it once came: where it stands `since` when, and how many seconds it ran and waited before.

        Raises ValueError for what is here already. Whether there is room for it is not asked: it has its devices, or it waits.
        """
        if request.key in self._entries:
            raise ValueError(f"{request.key} is here already")
        self._enter(_Entry(request, self._came + 1, since, standing, ran=ran, waited=waited), now)

    def _enter(self, entry: _Entry, now: int) -> None:
        self._came = entry.number
        self._entries[entry.request.key] = entry
        if entry.standing is Standing.WAITING:
            self._waiting.add(entry.request.key)
        else:
            self._used += entry.request.devices
        self._put(entry, now)

    def ended(self, key: str, now: int) -> None:
        """Of work in whatever standing. Raises KeyError for what is not here."""
        entry = self._entries.pop(key)
        self._take_out(entry)
        self._waiting.discard(key)
        if entry.standing is not Standing.WAITING:
            self._used -= entry.request.devices
            self._charge(entry, now)

    def saved(self, key: str, now: int) -> None:
        """It has saved itself and given its devices back: it waits again. Raises KeyError, and ValueError if nobody had asked it to."""
        entry = self._entries[key]
        if entry.standing is not Standing.SAVING:
            raise ValueError(f"{key} was not told to save itself")
        self._used -= entry.request.devices
        self._charge(entry, now)
        entry.ran += now - entry.since
        entry.since = now
        entry.standing = Standing.WAITING
        self._waiting.add(key)
        self._put(entry, now)

    # --- what follows -----------------------------------------------------------------------------------------------------

    def turn(self, now: int, unseated: Mapping[str, str] | None = None) -> Turn:
        """What to begin and what to save at `now`; it counts as done by the one who asks. `unseated`: whose gang has no place, and why."""
        nowhere = unseated or {}
        self._now = now
        for entry in self._due(now):
            self._put(entry, now)
        if not self._waiting and not self._kept(now):
            return Turn()
        begin: list[_Entry] = []
        save: list[_Entry] = []
        used_by: dict[str, int] = {}  # by tenant, of what has been found its turn so far
        had: dict[str, int] = {}  # by tenant, at this moment
        for entry in self._entries.values():
            if entry.standing is not Standing.WAITING:
                had[entry.request.tenant] = had.get(entry.request.tenant, 0) + entry.request.devices
        kept = self._kept(now)
        for name, devices in kept.items():
            self._reserved(name, devices, now, begin, used_by, had)
        own = set(kept)
        fixed = 0  # what nobody can take: work that cannot save itself. What is being saved is as good as free, and nobody else has to go for it
        for entry in self._entries.values():
            request = entry.request
            if entry.standing is Standing.WAITING or (request.reservation in own):
                continue
            if request.save_seconds is None and entry.standing is Standing.RUNNING:
                fixed += request.devices
                used_by[request.tenant] = used_by.get(request.tenant, 0) + request.devices
        # Those of reservations run on what is kept for them, the others on what is not.
        room = self.devices - sum(kept.values())
        ordinary_used = self._used - sum(
            entry.request.devices
            for entry in self._entries.values()
            if entry.standing is not Standing.WAITING and entry.request.reservation in own
        )
        free = room - ordinary_used
        budget = room - fixed
        head: _Entry | None = None
        owed = 0
        spare = 0
        shadow, extra = NEVER, 0
        guests: list[_Entry] = []
        waiting_guests: list[_Entry] = []
        ends: list[tuple[int, int]] = []
        for _, key in self._order:
            entry = self._entries[key]
            request = entry.request
            if request.reservation is not None:
                if request.reservation not in own and entry.standing is Standing.WAITING:
                    entry.why = f"its reservation {request.reservation} has not begun, or is over"
                continue
            if entry.standing is Standing.SAVING or (entry.standing is Standing.RUNNING and request.save_seconds is None):
                if request.limit_seconds is not None:
                    ends.append((entry.since + request.limit_seconds, request.devices))
                continue
            quota = self.terms.quotas.get(request.tenant, NEVER)
            if used_by.get(request.tenant, 0) + request.devices > quota:
                if entry.standing is Standing.RUNNING:
                    guests.append(entry)  # its tenant's better work has come: it goes
                else:
                    entry.why = f"tenant {request.tenant} is at its quota of {self._named(quota)}"
                continue
            if head is None:
                may = request.key not in nowhere and (entry.standing is Standing.RUNNING or self._may_begin(request, now, fixed))
                if request.devices <= budget and may:
                    budget -= request.devices
                    used_by[request.tenant] = used_by.get(request.tenant, 0) + request.devices
                    if request.save_seconds is None:
                        fixed += request.devices
                    if request.limit_seconds is not None:
                        ends.append(((entry.since if entry.standing is Standing.RUNNING else now) + request.limit_seconds, request.devices))
                    if entry.standing is Standing.WAITING:
                        if request.devices <= free - owed and had.get(request.tenant, 0) + request.devices <= quota:
                            begin.append(entry)
                            free -= request.devices
                            had[request.tenant] = had.get(request.tenant, 0) + request.devices
                        else:
                            owed += request.devices
                            entry.why = "its devices are being saved and emptied"
                    continue
                if request.key in nowhere:
                    head, spare = entry, budget  # when a place will be free, no limit of anybody says
                    entry.why = f"next in turn, and has no place: {nowhere[request.key]}"
                    continue
                if request.devices <= budget:
                    entry.why = "a reservation begins before it would be over, and it cannot save itself"
                    continue
                head = entry
                spare = budget
                if entry.standing is Standing.RUNNING:
                    guests.append(entry)
                entry.why = (
                    f"next in turn: {self._named(request.devices)} asked for, "
                    f"{max(0, budget) / self.parts:g} of {self.devices / self.parts:g} not held by those before it"
                )
                shadow, extra = self._shadow(now, spare, request.devices, ends)
                continue
            if entry.standing is Standing.RUNNING:
                if request.devices <= spare:
                    spare -= request.devices
                    used_by[request.tenant] = used_by.get(request.tenant, 0) + request.devices
                else:
                    guests.append(entry)
            else:
                waiting_guests.append(entry)
        for entry in guests:
            save.append(entry)
        free -= owed
        for entry in waiting_guests:
            request = entry.request
            entry.why = (
                f"behind {head.request.key if head else 'others'}: "
                f"{self._named(request.devices)} asked for, {max(0, min(free, spare)) / self.parts:g} idle meanwhile"
            )
            if request.devices > min(free, spare) or request.key in nowhere:
                continue
            most = max(used_by.get(request.tenant, 0), had.get(request.tenant, 0))
            if most + request.devices > self.terms.quotas.get(request.tenant, NEVER):
                entry.why = f"tenant {request.tenant} is at its quota"
                continue
            if request.save_seconds is None:
                ends_by = now + request.limit_seconds if request.limit_seconds is not None else NEVER
                if not self._may_begin(request, now, fixed) or not ((ends_by <= shadow < NEVER) or request.devices <= extra):
                    entry.why = "it cannot save itself, and by its limit might hold up the one that is next"
                    continue
                if ends_by > shadow:
                    extra -= request.devices
                fixed += request.devices
            free -= request.devices
            spare -= request.devices
            used_by[request.tenant] = used_by.get(request.tenant, 0) + request.devices
            had[request.tenant] = had.get(request.tenant, 0) + request.devices
            begin.append(entry)
        for entry in save:
            entry.standing = Standing.SAVING
            entry.why = "saves itself for those before it"
        for entry in begin:
            self._begin(entry, now)
        return Turn(tuple(entry.request.key for entry in begin), tuple(entry.request.key for entry in save))

    def wake(self, now: int) -> int | None:
        """When the order changes by itself: somebody sinks a level or loses patience, or a reservation begins, nears or ends. None: never."""
        when = []
        for entry in self._entries.values():
            if entry.standing is Standing.RUNNING and self._waiting and entry.level < len(self.terms.feedback_seconds):
                when.append(entry.since + self.terms.feedback_seconds[entry.level] - entry.ran)
            elif entry.standing is Standing.WAITING and entry.order[0]:
                when.append(entry.since + self.terms.patience_seconds - entry.waited)
        for each in self.reservations:
            when += [each.begin - self._lead(), each.begin, each.end]
        return min((each for each in when if each > now), default=None)

    @property
    def backlog(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def order(self) -> tuple[tuple[str, Standing, str], ...]:
        """All that is here, in order: key, standing, and in words why it waits (as of the last turn)."""
        return tuple((key, self._entries[key].standing, self._entries[key].why if key in self._waiting else "") for _, key in self._order)

    # --- within -----------------------------------------------------------------------------------------------------------

    def _named(self, devices: int) -> str:
        return f"{devices / self.parts:g} device{'' if devices == self.parts else 's'}"

    def _begin(self, entry: _Entry, now: int) -> None:
        entry.waited += now - entry.since
        entry.since = now
        entry.standing = Standing.RUNNING
        self._waiting.discard(entry.request.key)
        self._used += entry.request.devices

    def _put(self, entry: _Entry, now: int) -> None:
        self._take_out(entry)
        ran = entry.ran + (now - entry.since if entry.standing is not Standing.WAITING else 0)
        waited = entry.waited + (now - entry.since if entry.standing is Standing.WAITING else 0)
        while entry.level < len(self.terms.feedback_seconds) and ran >= self.terms.feedback_seconds[entry.level]:
            entry.level += 1
        patient = int(waited < self.terms.patience_seconds)
        request = entry.request
        if patient:
            entry.order = (1, -request.priority, entry.level, self._over(request.tenant, now), entry.number)
        else:
            entry.order = (0, -request.priority, 0, 0, entry.number)
        bisect.insort(self._order, (entry.order, request.key))

    def _take_out(self, entry: _Entry) -> None:
        if entry.order:
            place = bisect.bisect_left(self._order, (entry.order, entry.request.key))
            del self._order[place]
            entry.order = ()

    def _due(self, now: int) -> list[_Entry]:
        """Whose place in the order is another now."""
        due = []
        for entry in self._entries.values() if self._waiting else ():
            if self.terms.shares:
                due.append(entry)
            elif entry.standing is Standing.RUNNING:
                levels = self.terms.feedback_seconds
                if entry.order[0] and entry.level < len(levels) and entry.ran + now - entry.since >= levels[entry.level]:
                    due.append(entry)
            elif entry.standing is Standing.WAITING and entry.order[0] and entry.waited + now - entry.since >= self.terms.patience_seconds:
                due.append(entry)
        return due

    def _charge(self, entry: _Entry, now: int) -> None:
        self._decay(now)
        tenant = entry.request.tenant
        self._usage[tenant] = self._usage.get(tenant, 0.0) + entry.request.devices * (now - entry.since)

    def _decay(self, now: int) -> None:
        part = 0.5 ** ((now - self._usage_at) / self.terms.memory_seconds)
        self._usage = {tenant: used * part for tenant, used in self._usage.items()}
        self._usage_at = now

    def _over(self, tenant: str, now: int) -> int:
        """1 for a tenant that lately had more than its share, among those who had or want anything."""
        if not self.terms.shares:
            return 0
        self._decay(now)
        used = sum(self._usage.values())
        here = {*self._usage, *(entry.request.tenant for entry in self._entries.values())}
        weights = sum(self.terms.shares.get(each, 1) for each in here)
        return int(self._usage.get(tenant, 0.0) * weights > used * self.terms.shares.get(tenant, 1))

    def _lead(self) -> int:
        return max(
            (entry.request.save_seconds or 0 for entry in self._entries.values() if entry.standing is not Standing.WAITING), default=0
        )

    def _kept(self, now: int) -> dict[str, int]:
        """What is kept at `now`, by reservation: from so long before it begins as the slowest needs to save itself."""
        if not self.reservations:
            return {}
        lead = self._lead()
        return {each.name: each.devices for each in self.reservations if each.begin - lead <= now < each.end}

    def _reserved(self, name: str, devices: int, now: int, begin: list[_Entry], used_by: dict[str, int], had: dict[str, int]) -> None:
        """Work that names a reservation runs on what is kept for it, in order, once it has begun."""
        reservation = next(each for each in self.reservations if each.name == name)
        mine = [self._entries[key] for _, key in self._order if self._entries[key].request.reservation == name]
        left = devices - sum(entry.request.devices for entry in mine if entry.standing is not Standing.WAITING)
        for entry in mine:
            request = entry.request
            tenant = request.tenant
            if entry.standing is not Standing.WAITING:
                used_by[tenant] = used_by.get(tenant, 0) + request.devices
            elif now < reservation.begin:
                entry.why = f"its reservation {name} has not begun"
            elif request.devices > left:
                entry.why = f"its reservation {name} has {self._named(left)} left"
            elif self._used + sum(other.request.devices for other in begin) + request.devices > self.devices:
                entry.why = f"the devices of its reservation {name} are being saved and emptied"
            elif had.get(tenant, 0) + request.devices > self.terms.quotas.get(tenant, NEVER):
                entry.why = f"tenant {tenant} is at its quota"
            else:
                left -= request.devices
                used_by[tenant] = used_by.get(tenant, 0) + request.devices
                had[tenant] = had.get(tenant, 0) + request.devices
                begin.append(entry)

    def _may_begin(self, request: Request, now: int, fixed: int) -> bool:
        """Whether work that cannot save itself would leave every coming reservation its devices."""
        if request.save_seconds is not None:
            return True
        ends = now + request.limit_seconds if request.limit_seconds is not None else NEVER
        return all(
            each.end <= now or each.begin >= ends or fixed + request.devices + self._reserved_at(each.begin) <= self.devices
            for each in self.reservations
        )

    def _reserved_at(self, instant: int) -> int:
        return sum(each.devices for each in self.reservations if each.begin <= instant < each.end)

    def _shadow(self, now: int, spare: int, needed: int, ends: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """When the head can begin at the latest by the limits of those before it, and how many devices it leaves over then. Unknown: never, none."""
        for end, devices in sorted(ends):
            spare += devices
            if spare >= needed:
                return max(end, now), spare - needed
        return NEVER, 0
