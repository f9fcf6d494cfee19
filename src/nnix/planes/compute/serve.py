"""The job agent: starts the jobs of one pool when their hours have come, watches them, and writes down who had which device from when to when.

It stands beside the pool's engine, and acts on what is: a document that lists the jobs that are wanted (compile.py), what the engine says of its
gangs, and the records that lie beside each of them (engines/__init__.py). What it has decided about a job stands in a file of that job, written
before it is acted on. So one that was killed in mid-job comes back, finds the gang under the name that it wrote down, and goes on with it and
with its meter; and one that finds no such gang knows that the engine lost it.

    wanted, hours begun, its turn       the gang is started, whole or not at all; the meter runs from the moment that its ranks began
    engine gone under it                charged as `node-lost`, started anew from its checkpoint
    resized                             told to stop, charged as `resized`, started anew with the new size
    one before it in its queue waits    one that can save itself is told to stop, charged as `preempted`, and waits for its turn
    a job of a deal has no room         probes are told to stop, and wait for what is left over; nor do they ever run for long
    its deal or its deadline is near    told to stop so early that it is gone by then, charged as `killed`
    no longer wanted                    told to stop, charged as `cancelled`

A job is told what it needs by its environment: NNIX_JOB, NNIX_RANK, NNIX_RANKS, NNIX_DEVICES (those of its rank), NNIX_CHECKPOINT (a folder that
outlives a restart), NNIX_DATA (where its data are read, over the deal's circuit) and NNIX_PROGRESS, a file to which it may append lines of JSON such
as {"done": 30, "of": 100, "saved": true}. To stop it has SIGTERM, and as long as it said it needs to save itself.

Whose turn it is, on which devices, and who makes room is not decided here but in place/pool.py, from what is known of all jobs: as that is on disk,
an agent that comes back decides as the one before it would have. Here too is no policy of the market: what may run, and until when, was decided when
the deal was cleared.

Standard library only: nothing else of nnix has to be on the machine but what is laid beside this file.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nnix.planes.compute.engines import SEARCH_PATH, Down, Engine, Gang, Refused, began, ended
from nnix.planes.compute.engines.kubernetes import Kubernetes
from nnix.planes.compute.engines.ray import Ray
from nnix.planes.compute.engines.slurm import Slurm
from nnix.planes.compute.meter import Cause, Held, Meter, Record
from nnix.planes.compute.place.pool import Work, decided
from nnix.planes.compute.place.queue import Standing
from nnix.planes.compute.place.values import WHOLE, Demand, Node, Seat, Together
from nnix.planes.compute.states import GRACE_MAX_SECONDS, OVER, PROBE_SECONDS, JobEvent, JobState, after, probe

TURN_SECONDS = 0.01
FILES_SECONDS = 0.1
METER_SECONDS = 1.0
LEAVING_SECONDS = 60.0  # how long an engine that does not answer is asked whether a gang that has ended is gone
DOWN_SECONDS = 0.5  # between two questions whether the engine is back
STILLBORN_SECONDS_MAX = 60.0  # between two tries of a job that its engine lost before it began: 1, 2, 4 … and no longer than this
CUT_SECONDS = 10.0  # at checkpoints, at most so often
GRACE_SECONDS = 2.0  # of a job that does not say how long it needs: to go, not to save itself
HOUR_MS = 3_600_000
THOUSANDTHS = 1000
PROGRESS_BYTES = 4096

ENGINES: Mapping[str, Callable[[Mapping[str, Any]], Engine]] = {
    "ray": lambda settings: Ray(Path(settings["engine"]["socket"])),
    "slurm": lambda settings: Slurm(Path(settings["engine"]["configuration"])),
    "kubernetes": lambda settings: Kubernetes(Path(settings["engine"]["manifests"]), settings["device"]),
}

VISIBLE: Mapping[str, str] = {"nvidia": "CUDA_VISIBLE_DEVICES", "huawei": "ASCEND_RT_VISIBLE_DEVICES", "amd": "ROCR_VISIBLE_DEVICES"}
"""make → by which variable its own runtime is told which devices it may use"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job as it is wanted: the document's words. Times are Unix seconds; `hours` are those of its deal, as (begin, end)."""

    job: str
    deal: str
    argv: tuple[str, ...]
    ranks: int
    devices: float
    cpus: int
    memory_gigabytes: int
    together: Together
    priority: int
    grace_seconds: float | None
    deadline: float | None
    hours: tuple[tuple[float, float], ...]
    lots: int
    image: str | None = None
    data: str | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Wanted:
        """From JSON. Raises ValueError, KeyError, TypeError."""
        fields = {
            **said,
            "argv": tuple(said["argv"]),
            "hours": tuple((a, b) for a, b in said["hours"]),
            "together": Together(said["together"]),
        }
        return cls(**fields)

    def ends(self, now: float) -> float:
        """Until when it may run: the end of its deal's hours as they follow on one another from now, or its deadline."""
        end = now
        for begin, until in sorted(self.hours):
            if begin <= end < until:
                end = until
        return min(end, self.deadline) if self.deadline is not None else end

    @property
    def grace(self) -> float:
        """Seconds that it has from being told to stop until it is ended: never so many that whoever comes next waits for long."""
        return GRACE_SECONDS if self.grace_seconds is None else min(self.grace_seconds, GRACE_MAX_SECONDS)

    def leaves(self, now: float) -> float:
        """When it is told to stop, so that it is gone by its end."""
        return self.ends(now) - self.grace

    @property
    def probes(self) -> bool:
        """Whether it runs without a deal, to measure a speed."""
        return self.deal == probe(self.job)

    @property
    def size(self) -> tuple[int, float]:
        return self.ranks, self.devices


@dataclass(frozen=True, slots=True)
class Known:
    """What the agent knows of a job. `run` counts its starts; `seats` are (node, device, thousandths) of each rank while it has them.
    One that waits and has seats was asked for, and the engine did not answer: it may run there, as the next run.

    `then` is the event that follows when a job that is stopping has stopped, `cause` what it is charged to, `by` when grace ends. `came` is when it was
    first heard of; `ran_seconds` and `waited_seconds` are how long it ran and waited for devices before it came to stand as it does.
    """

    wanted: Wanted
    state: JobState = JobState.WAITING
    reason: str = ""
    run: int = 0
    seats: Seats = ()
    then: JobEvent | None = None
    cause: Cause | None = None
    by: float = 0.0
    since: float = 0.0
    device_seconds: float = 0.0
    came: float = 0.0
    ran_seconds: float = 0.0
    waited_seconds: float = 0.0

    @property
    def gang(self) -> str:
        return f"{self.wanted.job}.{self.run}"

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Known:
        """From JSON, as `asdict` gave it. Raises ValueError, KeyError, TypeError."""
        return cls(
            **{
                **said,
                "wanted": Wanted.of(said["wanted"]),
                "state": JobState(said["state"]),
                "seats": tuple((node, tuple((device, share) for device, share in devices)) for node, devices in said["seats"]),
                "then": JobEvent(said["then"]) if said["then"] else None,
                "cause": Cause(said["cause"]) if said["cause"] else None,
            }
        )


Seats = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


def machines(settings: Mapping[str, Any]) -> list[Node]:
    """The pool's nodes, with what its engine keeps of them; of what it does not keep there is always enough."""
    return [
        Node(
            each["name"],
            settings["device"],
            each["devices"],
            each.get("cpus", 0) * THOUSANDTHS,
            each.get("memory_gigabytes", 0) * THOUSANDTHS,
            each["domain"],
        )
        for each in settings["nodes"]
    ]


def demand(wanted: Wanted, settings: Mapping[str, Any]) -> Demand:
    """What one rank asks for. Memory is in megabytes here, on both sides."""
    kept = settings["nodes"][0]
    part = wanted.devices < 1
    return Demand(
        wanted.cpus * THOUSANDTHS if "cpus" in kept else 0,
        wanted.memory_gigabytes * THOUSANDTHS if "memory_gigabytes" in kept else 0,
        1 if part else int(wanted.devices),
        round(wanted.devices * THOUSANDTHS) if part else WHOLE,
    )


STANDINGS: Mapping[JobState, Standing] = {
    JobState.WAITING: Standing.WAITING,
    JobState.STARTING: Standing.RUNNING,
    JobState.RUNNING: Standing.RUNNING,
    JobState.STOPPING: Standing.SAVING,
}


def work(known: Known, settings: Mapping[str, Any], now: float) -> Work:
    """A job as its pool's queue sees it. One that is only just starting is left in peace; a probe's limit is what it is given."""
    wanted = known.wanted
    standing = Standing.RUNNING if known.state is JobState.WAITING and known.seats else STANDINGS[known.state]
    since = known.since
    if standing is Standing.WAITING:
        since = max([since, *(begin for begin, end in wanted.hours if begin <= now < end)])  # before its hours nobody waits for devices
    ends = wanted.deadline
    if wanted.probes:
        ends = (now if standing is Standing.WAITING else since) + PROBE_SECONDS
    saves = (
        wanted.grace_seconds is not None and known.state is not JobState.STARTING and (standing is Standing.WAITING) == (not known.seats)
    )
    return Work(
        job=wanted.job,
        deal=wanted.deal,
        lots=wanted.lots,
        workers=wanted.ranks,
        demand=demand(wanted, settings),
        together=wanted.together,
        priority=wanted.priority,
        save_seconds=math.ceil(wanted.grace) if saves and not wanted.probes else None,
        ends=None if ends is None else int(ends),
        probe=wanted.probes,
        standing=standing,
        came=known.came,
        since=int(since),
        ran=int(known.ran_seconds),
        waited=int(known.waited_seconds),
        seats=tuple(Seat(node, tuple((int(each.rpartition("/")[2]), share) for each, share in devices)) for node, devices in known.seats),
    )


def not_now(wanted: Wanted, now: float) -> str:
    """Why a job is in no queue: its hours have not begun, or are all but over. Nothing: it is in one."""
    if now < wanted.leaves(now):
        return ""
    later = [begin for begin, _ in wanted.hours if begin > now]
    return f"its hours begin at {_clock(min(later))}" if later else "its hours are over before it could save itself"


def seats_of(seats: Iterable[Seat], settings: Mapping[str, Any]) -> Seats:
    """Rank by rank, node by node in the order in which the engine has them: ranks are alike, and Slurm numbers its own so."""
    order = [each["name"] for each in settings["nodes"]]
    found = ((seat.node, tuple((f"{seat.node}/{device}", share) for device, share in seat.devices)) for seat in seats)
    return tuple(sorted(found, key=lambda each: order.index(each[0])))


@dataclass
class Agent:
    """One pool's jobs. `here` is the agent's folder, `settings` what compile.py wrote."""

    settings: Mapping[str, Any]
    engine: Engine
    meter: Meter
    here: Path
    known: dict[str, Known] = field(default_factory=dict)
    away: str = ""
    unread: str = ""
    positions: dict[str, int] = field(default_factory=dict)
    """job → where it stands among those that wait in its queue"""
    _document: tuple[int, int] | None = None
    _wanted: dict[str, Wanted] = field(default_factory=dict)
    _seen: Mapping[str, bool] | None = None
    _due: dict[str, float] = field(default_factory=dict)
    _stillborn: Counter[str] = field(default_factory=Counter)
    _saved: dict[str, str] = field(default_factory=dict)
    _leaving: dict[str, float] = field(default_factory=dict)
    """job → until when its engine is asked whether its last gang, which has ended by its records, is gone"""
    _decided: object = None
    """upon what was decided last whose turn it is: while that stands, nothing else would follow"""

    @property
    def trouble(self) -> str:
        """Why it cannot do all that is wanted."""
        return "; ".join(filter(None, (self.unread, self.away)))

    def recall(self) -> None:
        """What was decided before this process began."""
        for path in sorted((self.here / "jobs").glob("*/known.json")):
            known = Known.of(json.loads(path.read_text()))
            self.known[known.wanted.job] = known
        live = {(each.wanted.job, each.run) for each in self.known.values() if each.state not in OVER}
        for held in self.meter.held:
            if (held.job, held.run) not in live:
                self.meter.stop([held], self.meter.seen_ms, Cause.METER_LOST)

    def turn(self, now: float) -> bool:
        """Look at what is due and act. Whether anything has changed. `now`: Unix seconds."""
        changed = self._read_document(now)
        if changed or self._is_due("files", FILES_SECONDS, now):
            before = dict(self.known)
            self._ask(now)
            for name in list(self.known):
                self._follow(name, now)
            self._begin(now)
            changed = changed or before != self.known
            # `now` is before the records were read: whatever they do not say had not happened by then, so nobody is charged for longer.
            if self.meter.held and self._is_due("meter", METER_SECONDS, now):
                self._cut(now)
                self.meter.look(int(now * 1000))
        return changed

    def _is_due(self, what: str, every_seconds: float, now: float) -> bool:
        if self._due.get(what, 0.0) > now:
            return False
        self._due[what] = now + every_seconds
        return True

    def _read_document(self, now: float) -> bool:
        path = Path(self.settings["jobs"])
        try:
            stat = path.stat()
            if (stamp := (stat.st_mtime_ns, stat.st_ino)) == self._document:
                return False
            said = json.loads(path.read_bytes())
            wanted = {each["job"]: Wanted.of(each) for each in said["jobs"]}
        except FileNotFoundError:
            return False  # nothing was ever wanted; a document that goes missing is put back by the loop, and stops nobody meanwhile
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.unread = f"the list of jobs cannot be read: {type(error).__name__}: {error}"
            return False
        self._document, self._wanted, self.unread = stamp, wanted, ""
        for name, each in wanted.items():
            if name not in self.known:
                self._know(Known(each, came=now, since=now))
                self._due["engine"] = 0.0
            elif self.known[name].state is JobState.WAITING and not self.known[name].seats:
                self._know(replace(self.known[name], wanted=each))
        return True

    def _ask(self, now: float) -> None:
        if not self._leaving and all(
            each.state in OVER for each in self.known.values()
        ):  # nothing to hear of; nor need there be an engine while nothing is sold
            self._seen, self.away = None, ""
            return
        if not self._is_due("engine", self.engine.look_seconds, now):
            return
        try:
            self._seen = self.engine.seen()
        except Down as error:
            self._seen = None
            self.away = str(error)
            self._due["engine"] = now + max(self.engine.look_seconds, DOWN_SECONDS)
        else:
            self.away = ""

    # --- one job ------------------------------------------------------------------------------------------------------

    def _follow(self, name: str, now: float) -> None:
        known, wanted = self.known[name], self._wanted.get(name)
        if name in self._leaving:
            self._clear(known, now)
        if known.state in OVER:
            if wanted is None and self._document is not None and name not in self._leaving:
                shutil.rmtree(self.here / "jobs" / name, ignore_errors=True)
                del self.known[name], self._stillborn[name]
                self._due.pop(f"start {name}", None)
            return
        if known.state is JobState.WAITING:
            event, reason = None, ""
            if wanted is None and self._document is not None:
                event, reason = JobEvent.CANCEL, "no longer wanted"
            elif known.wanted.hours and now >= max(end for _, end in known.wanted.hours):
                event, reason = JobEvent.EXPIRE, "the hours of its deal are over"
            elif known.wanted.deadline is not None and now >= known.wanted.deadline:
                event, reason = JobEvent.EXPIRE, "its deadline has passed"
            if known.seats and (event is not None or (wanted is not None and wanted.size != known.wanted.size)):
                # It may have begun, and nobody heard of it: it is taken for started, and stopped and charged like any other.
                self._know(replace(known, state=after(known.state, JobEvent.START), run=known.run + 1, since=now))
            elif event is not None:
                self._know(replace(known, state=after(known.state, event), reason=reason))
            return
        self._watch(known, now)
        known = self.known[name]
        if known.state in (JobState.STARTING, JobState.RUNNING):
            if wanted is None and self._document is not None:
                self._stop(known, JobEvent.CANCEL, Cause.CANCELLED, "no longer wanted", now)
            elif wanted is not None and wanted.size != known.wanted.size:
                self._stop(known, JobEvent.RESUME, Cause.RESIZED, "is resized", now)
            elif now >= (wanted or known.wanted).leaves(now):
                self._stop(known, JobEvent.EXPIRE, Cause.KILLED, "its deal or its deadline is over", now)
            elif known.wanted.probes and now >= known.since + PROBE_SECONDS:
                self._stop(known, JobEvent.EXPIRE, Cause.KILLED, f"a probe runs for {PROBE_SECONDS / 60:g} minutes at most", now)
        elif known.state is JobState.STOPPING and now >= known.by:
            self._try(lambda: self.engine.stop(known.gang, 0.0))

    def _watch(self, known: Known, now: float) -> None:
        """What its records and its engine say of a gang that was started."""
        records, ranks = self.records(known), known.wanted.ranks
        ends = ended(records, ranks)
        starts = began(records, ranks)
        if known.state is JobState.STARTING and len(starts) == ranks:
            self._hold(known, min(starts))
            known = self._know(replace(known, state=after(known.state, JobEvent.BEGAN), since=min(starts), reason=""))
            del self._stillborn[known.wanted.job]
        elif known.state is JobState.STOPPING and len(starts) == ranks and not self._held(known):  # told to stop before it began
            self._hold(known, min(starts))
            known = self._know(replace(known, since=min(starts)))
        if known.state is JobState.RUNNING and not any(ends):
            known = self._checkpointed(known, records, now)
        bad = sorted((each.at, rank, each.status) for rank, each in enumerate(ends) if each is not None and each.status)
        if all(each is not None for each in ends):
            at = max(each.at for each in ends if each is not None)
            if known.state is JobState.STARTING:  # it was over before we looked once
                begin = min(starts, default=at)
                self._hold(known, begin)
                known = self._know(replace(known, state=after(known.state, JobEvent.BEGAN), since=begin))
            if not bad:
                self._over(known, JobEvent.DONE, at, Cause.FINISHED, saved=True)
            elif known.state is JobState.STOPPING:
                self._stopped(known, at)
            else:
                self._over(known, JobEvent.BROKE, at, Cause.FAILED, f"rank {bad[0][1]} ended with status {bad[0][2]}")
        elif self._seen is not None and not self._seen.get(known.gang, False) and self._gone_for_good(known):
            at = max((each.at for each in ends if each is not None), default=now)
            if bad and known.state is JobState.RUNNING:
                self._over(known, JobEvent.BROKE, at, Cause.FAILED, f"rank {bad[0][1]} ended with status {bad[0][2]}")
            elif known.state is JobState.STOPPING:
                self._stopped(known, min(now, max(at, known.since)))
            else:
                if (
                    known.state is JobState.STARTING
                ):  # what stands in its way will not be gone in a second, and each try costs a gang of processes
                    self._stillborn[known.wanted.job] += 1
                    pause = min(STILLBORN_SECONDS_MAX, 2.0 ** (self._stillborn[known.wanted.job] - 1))
                    self._due[f"start {known.wanted.job}"] = now + pause
                # When its engine failed nobody knows; what was seen last was seen to be held.
                self._over(known, JobEvent.LOST, self.meter.seen_ms / 1000, Cause.NODE_LOST, "its engine lost it")

    def _clear(self, known: Known, now: float) -> None:
        """Its records say that it is over. Where the engine still has it, a rank has written an end that it did not come to: it is ended now."""
        name = known.wanted.job
        self._leaving[name] = math.inf if self._seen is not None else min(self._leaving[name], now + LEAVING_SECONDS)
        if now >= self._leaving[name]:
            del self._leaving[name]  # there is no engine any more, and no gang in it
        elif self._seen is not None and not self._seen.get(known.gang, False):
            self._try(lambda: self.engine.forget(known.gang))
            del self._leaving[name]
        elif self._seen is not None and self._is_due(f"clear {known.gang}", max(self.engine.look_seconds, DOWN_SECONDS), now):
            self._try(lambda: self.engine.stop(known.gang, 0.0))

    def _gone_for_good(self, known: Known) -> bool:
        """Two looks in a row: the engine may have ended a gang whose last record was still being written when we read them."""
        gone = f"gone {known.gang}"
        first = gone not in self._due
        self._due[gone] = 0.0
        return not first

    def _hold(self, known: Known, at: float) -> None:
        if self._held(known):
            return  # noted by an agent that was killed before it had written down the rest
        shares = Counter[str]()
        for _, devices in known.seats:
            for device, share in devices:
                shares[device] += share
        pool = self.settings["pool"]
        self.meter.start(
            Held(pool, device, known.wanted.deal, known.wanted.job, known.run, share, int(at * 1000)) for device, share in shares.items()
        )

    def _held(self, known: Known) -> list[Held]:
        return [each for each in self.meter.held if (each.job, each.run) == (known.wanted.job, known.run)]

    def _release(self, known: Known, at: float, cause: Cause, *, saved: bool) -> float:
        """End its intervals; the device-seconds that they came to."""
        return _device_seconds(self.meter.stop(self._held(known), int(at * 1000), cause, saved=saved))

    def _over(self, known: Known, event: JobEvent, at: float, cause: Cause, reason: str = "", *, saved: bool = False) -> None:
        used = self._release(known, at, cause, saved=saved)
        self._try(lambda: self.engine.forget(known.gang))
        # What was seen before it ended says nothing of it any more: it is looked at once more, and _clear acts on that.
        self._leaving[known.wanted.job], self._due["engine"] = math.inf, 0.0
        self._seen = self._seen and {name: live for name, live in self._seen.items() if name != known.gang}
        self._know(
            replace(
                known,
                state=after(known.state, event),
                reason=reason,
                seats=(),
                since=at,
                device_seconds=known.device_seconds + used,
                ran_seconds=known.ran_seconds + max(0.0, at - known.since),
            )
        )

    def _stop(self, known: Known, then: JobEvent, cause: Cause, reason: str, now: float) -> None:
        grace = known.wanted.grace
        if (left := self._wanted.get(known.wanted.job, known.wanted).ends(now) - now) > 0:
            grace = min(grace, max(left, GRACE_SECONDS))  # nobody has grace in hours that another has bought
        known = self._know(replace(known, state=after(known.state, JobEvent.STOP), then=then, cause=cause, reason=reason, by=now + grace))
        self._try(lambda: self.engine.stop(known.gang, grace))

    def _stopped(self, known: Known, at: float) -> None:
        if known.then is None or known.cause is None:
            raise ValueError(f"{known.wanted.job} is stopping, and nobody knows why")
        fresh = self._wanted.get(known.wanted.job, known.wanted)
        self._over(known, known.then, at, known.cause, known.reason, saved=at < known.by and known.wanted.grace_seconds is not None)
        if known.then is JobEvent.RESUME:
            self._know(replace(self.known[known.wanted.job], wanted=fresh, then=None, cause=None))

    def _checkpointed(self, known: Known, records: Path, now: float) -> Known:
        """At a checkpoint the meter is cut, so that what a failure costs is known to be what came after."""
        said = progress(records)
        if said.get("saved") and (mark := json.dumps(said.get("done"))) != self._saved.get(known.gang):
            self._saved[known.gang] = mark
            if self._is_due(f"cut {known.gang}", CUT_SECONDS, now):
                return self._charged(known, self.meter.cut(self._held(known), int(now * 1000), saved=True))
        return known

    def _charged(self, known: Known, done: Iterable[Record]) -> Known:
        return self._know(replace(known, device_seconds=known.device_seconds + _device_seconds(done)))

    def _cut(self, now: float) -> None:
        """Intervals that outlive the full hour are cut there."""
        hour_ms = int(now * 1000) // HOUR_MS * HOUR_MS
        for known in list(self.known.values()):
            if over := [each for each in self._held(known) if each.begin_ms < hour_ms]:
                self._charged(known, self.meter.cut(over, hour_ms))

    # --- which is next ------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        """Do what place/pool.py says: start whose turn it is, ask those to go who make room, and tell the others why they wait."""
        ready: set[str] = set()
        for name, known in list(self.known.items()):
            wanted = known.wanted
            if known.state is not JobState.WAITING or name not in self._wanted:
                continue
            if why := not_now(wanted, now):
                self._say(known, why)
            elif self._seen is None:
                self._say(known, self.away or "its engine was not asked yet")
            elif (due := self._due.get(f"start {name}", 0.0)) > now:
                tries = self._stillborn[name]
                self._say(known, f"its engine lost it before it began (tries: {tries}); the next one is at {_clock(due)}")
            elif known.seats:
                self._start(known, known.seats, now)  # under its old name it has its old seats
            else:
                ready.add(name)
        if not ready or self._seen is None:
            self.positions, self._decided = {}, None
            return
        works = [work(each, self.settings, now) for name, each in self.known.items() if each.seats or name in ready]
        upon = works, int(now), set(self._leaving)
        if upon == self._decided:
            return
        self._decided = upon
        decision = decided(machines(self.settings), works, int(now))
        self.positions = {job: wait.position for job, wait in decision.waits.items()}
        for job, why in decision.never.items():
            self._know(replace(self.known[job], state=after(self.known[job].state, JobEvent.REFUSE), reason=why))
        for job, whom in decision.save.items():
            self._stop(self.known[job], JobEvent.RESUME, Cause.PREEMPTED, f"makes room for {whom}", now)
        for job, wait in decision.waits.items():
            self._say(self.known[job], wait.why)
        for job, seats in decision.begin.items():
            if job in self._leaving:
                self._say(self.known[job], "its last run is not gone yet")
            elif self._seen is None:
                self._say(self.known[job], self.away)
            else:
                self._start(self.known[job], seats_of(seats, self.settings), now)

    def _start(self, known: Known, seats: Seats, now: float) -> None:
        state = after(known.state, JobEvent.START)
        waited = known.waited_seconds + max(0, int(now) - work(known, self.settings, now).since)
        known = self._know(
            replace(known, run=known.run + 1, seats=seats, state=state, since=now, waited_seconds=waited, reason="", cause=None, then=None)
        )
        self._due.pop(f"gone {known.gang}", None)
        gang = self._gang(known)
        try:
            self.engine.start(gang)
        except Refused as error:
            self._know(replace(known, state=after(known.state, JobEvent.REFUSE), reason=str(error), seats=()))
        except Down as error:
            # Under the same name next time: it may have been started after all.
            self._know(replace(known, state=after(known.state, JobEvent.LOST), reason=str(error), run=known.run - 1))
            self._seen, self.away = None, str(error)
        else:
            self._seen = {**(self._seen or {}), gang.name: True}

    def _gang(self, known: Known) -> Gang:
        wanted, folder = known.wanted, self.here / "jobs" / known.wanted.job
        records, checkpoint = self.records(known), folder / "checkpoint"
        for each in (records, checkpoint):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        numbers = numbered(self.settings["nodes"])
        env = {
            "PATH": SEARCH_PATH,
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "NNIX_JOB": wanted.job,
            "NNIX_RANKS": str(wanted.ranks),
            "NNIX_CHECKPOINT": str(checkpoint),
        }
        if wanted.data:
            env["NNIX_DATA"] = wanted.data
        return Gang(
            name=known.gang,
            ranks=wanted.ranks,
            argv=wanted.argv,
            env=env,
            folder=folder,
            records=records,
            devices=wanted.devices,
            cpus=wanted.cpus,
            memory_gigabytes=wanted.memory_gigabytes,
            nodes=tuple(node for node, _ in known.seats),
            seats=tuple(",".join(str(numbers[device]) for device, _ in devices) for _, devices in known.seats),
            together=wanted.together,
            image=wanted.image,
            visible=VISIBLE.get(self.settings["device"].split("/")[0]),
        )

    # --- what is written ----------------------------------------------------------------------------------------------

    def records(self, known: Known) -> Path:
        return self.here / "jobs" / known.wanted.job / str(known.run)

    def _say(self, known: Known, reason: str) -> None:
        if known.reason != reason:
            self._know(replace(known, reason=reason))

    def _know(self, known: Known) -> Known:
        """Decide it: on disk before anything is done about it."""
        if self.known.get(known.wanted.job) != known:
            folder = self.here / "jobs" / known.wanted.job
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write(folder / "known.json", asdict(known))
            self.known[known.wanted.job] = known
        return known

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Down as error:
            self.away = str(error)

    def tell(self, now: float) -> None:
        """Write `state`, for people, for the control plane, and as the pulse."""
        jobs = {
            name: {
                "state": known.state,
                "reason": known.reason,
                "run": known.run,
                "since": known.since,
                "position": self.positions.get(name),
                "came": known.came,
                "ran_seconds": round(known.ran_seconds, 3),
                "waited_seconds": round(known.waited_seconds, 3),
                "seats": known.seats,
                "devices": [device for _, devices in known.seats for device, _ in devices],
                "device_seconds": round(known.device_seconds, 3),
                "progress": progress(self.records(known)),
            }
            for name, known in sorted(self.known.items())
        }
        write(
            self.here / "state",
            {"pool": self.settings["pool"], "trouble": self.trouble, "jobs": jobs, "meter": self.meter.head._asdict(), "at": now},
        )


def numbered(nodes: Sequence[Mapping[str, Any]]) -> Mapping[str, int]:
    """NODE/INDEX → the number of that device on the machine, of which nodes are parts: they are numbered through, node by node, as in slurm.py."""
    devices = [f"{node['name']}/{index}" for node in nodes for index in range(node["devices"])]
    return {device: number for number, device in enumerate(devices)}


def _device_seconds(done: Iterable[Record]) -> float:
    return sum(each.interval.device_microseconds for each in done) / 1e6


def progress(records: Path) -> dict[str, Any]:
    """The last whole line that rank 0 said of its progress, whatever it is: a job may write what it likes. Only plain values are kept."""
    try:
        with (records / "0.progress").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - PROGRESS_BYTES))
            lines = file.read().split(b"\n")[:-1]
        said = json.loads(lines[-1]) if lines else {}
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {word: value for word, value in said.items() if isinstance(value, bool | int | float | str)}


def write(path: Path, said: object) -> None:
    """A file, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(said, sort_keys=True))
    fresh.replace(path)


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(at))


def main(settings: Mapping[str, Any]) -> None:
    """Look and act, for ever."""
    here = Path.cwd()
    engine = ENGINES[settings["engine"]["make"]](settings)
    with Meter(here / "meter", settings["pool"]) as meter:
        agent = Agent(settings, engine, meter, here)
        agent.recall()
        told = time.time()
        agent.tell(told)  # before an engine is asked that may take its time
        while True:
            now = time.time()
            if agent.turn(now) or now - told >= METER_SECONDS / 2:
                agent.tell(now)
                told = now
            time.sleep(TURN_SECONDS)


if __name__ == "__main__":
    os.umask(0o077)
    main(json.loads(Path(sys.argv[1]).read_text()))
