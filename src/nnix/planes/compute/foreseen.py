"""Where a job would be seated if it were ordered now: the job agent's own decision (place/pool.py), from what the agent said last.

The agent knows more than the model: what runs where, since when, what waits and how long it has. All of that stands in its state, so the same
decision can be made elsewhere, over the same values, with one job more. Nothing is ordered, and nothing kept: by the time that it is ordered
somebody else may have come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.compile import jobs_of, listed, settings_of
from nnix.planes.compute.kinds import Job, Pool
from nnix.planes.compute.place.pool import decided
from nnix.planes.compute.place.values import Together
from nnix.planes.compute.read import PoolSeen
from nnix.planes.compute.serve import Known, Seats, Wanted, machines, not_now, seats_of, work
from nnix.planes.compute.states import OVER, JobState


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would become of a job. `seats`: where it would begin at once; else `position` in the queue of its deal, if it came into one, and `why`.

    `makes_room`: jobs that would be told to save themselves for it.
    """

    job: str
    pool: str
    seats: Seats = ()
    position: int | None = None
    why: str = ""
    makes_room: tuple[str, ...] = ()


def foreseen(pool: Pool, jobs: Iterable[Job], snapshot: Snapshot, seen: PoolSeen, now: float) -> list[Foreseen]:
    """What would become of `jobs`, which are in `snapshot` already, if all of them were ordered at `now` (Unix seconds). Pure."""
    settings = settings_of(pool)
    fresh = {job.name: Known(Wanted.of(listed(job, pool, snapshot)), came=now, since=now) for job in jobs}
    nodes = machines(settings)
    others = [each for each in _known(pool, snapshot, seen) if each.wanted.job not in fresh and not _idle(each, now)]
    ready = [each for each in fresh.values() if not not_now(each.wanted, now)]
    decision = decided(nodes, [work(each, settings, now) for each in (*others, *ready)], int(now))
    alone = decided(nodes, [work(each, settings, now) for each in fresh.values()], int(now)).never
    found = []
    for name, each in fresh.items():
        room = tuple(sorted(victim for victim, whom in decision.save.items() if whom == name))
        wait = decision.waits.get(name)
        why = alone.get(name) or not_now(each.wanted, now) or (wait.why if wait else "")
        seats = seats_of(decision.begin.get(name, ()), settings)
        found.append(Foreseen(name, pool.name, seats, wait.position if wait else None, why, room))
    return found


def _idle(known: Known, now: float) -> bool:
    """Whether it neither has devices nor waits for any."""
    return not known.seats and bool(not_now(known.wanted, now))


def _known(pool: Pool, snapshot: Snapshot, seen: PoolSeen) -> Iterator[Known]:
    """Jobs as their agent knows them, of those that are not over."""
    jobs = {job.name: job for job in jobs_of(pool, snapshot)}
    for name, said in seen.jobs.items():
        state, seats = JobState(said["state"]), _seats(said)
        if state in OVER:
            continue
        job = jobs.get(name)
        wanted = Wanted.of(listed(job, pool, snapshot)) if job is not None else _gone(name, seats)
        if seats:  # it may be about to be resized: what it has is what it has
            wanted = replace(wanted, ranks=len(seats))
        since, came = said["since"], said["came"]
        ran, waited = said["ran_seconds"], said["waited_seconds"]
        yield Known(wanted, state, run=said["run"], seats=seats, since=since, came=came, ran_seconds=ran, waited_seconds=waited)


def _seats(said: Mapping[str, Any]) -> Seats:
    return tuple((node, tuple((device, share) for device, share in devices)) for node, devices in said["seats"])


def _gone(name: str, seats: Seats) -> Wanted:
    """A job that was withdrawn and still has its devices: it asks for what it has, and waits for nothing."""
    devices = sum(share for _, share in seats[0][1]) / 1000 if seats else 1
    return Wanted(name, "", (), max(1, len(seats)), devices, 0, 0, Together.POOL, 0, None, None, (), 0)
