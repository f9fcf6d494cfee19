"""What became of pools and jobs: asked of the job agents, in their own words."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nnix.kernel.plane import Machines, Status
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed, Unreachable
from nnix.planes.compute.compile import engine_wanted, jobs_of, machine_of
from nnix.planes.compute.kinds import Job, Pool
from nnix.planes.compute.states import JobState

NOT_AS_WANTED = frozenset({JobState.REFUSED})
"""states in which the world cannot do what the model asks for. A job that failed by its own fault was run, as was wanted."""


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """What a pool's agent said last; `trouble` where it could not be asked, or has not spoken."""

    said: Mapping[str, Any]
    trouble: str = ""

    @property
    def jobs(self) -> Mapping[str, Mapping[str, Any]]:
        """job → state, reason, run, since, devices, device_seconds, progress."""
        found: Mapping[str, Mapping[str, Any]] = self.said.get("jobs", {})
        return found


async def read(snapshot: Snapshot, machines: Machines) -> Iterable[Status]:
    """A status for every pool and every job. A machine that cannot be asked makes statuses, not exceptions."""
    pools = snapshot.of(Pool)
    seen = await asyncio.gather(*(pool_seen(each, machines) for each in pools))
    return [status for pool, each in zip(pools, seen, strict=True) for status in _statuses(pool, each, snapshot)]


async def pool_seen(pool: Pool, machines: Machines) -> PoolSeen:
    """What the agent of a pool wrote last."""
    path = f"jobs/{pool.name}/state"
    try:
        content = (await machines.host(machine_of(pool)).get([path]))[path]
        return PoolSeen(json.loads(content)) if content else PoolSeen({}, "its agent has not spoken yet")
    except (Unreachable, Failed, ValueError) as error:
        return PoolSeen({}, str(error))


def work_per_device_hour(said: Mapping[str, Any]) -> int | None:
    """Whole units of work that one device did in an hour, from what a job says that it has done and what its devices were charged. None where it
    has said nothing, or has had no device."""
    done, seconds = said.get("progress", {}).get("done"), said.get("device_seconds", 0)
    if isinstance(done, bool) or not isinstance(done, int | float) or not 0 < done < math.inf or not 0 < seconds < math.inf:
        return None
    return int(done * 3600 / seconds)


def _statuses(pool: Pool, seen: PoolSeen, snapshot: Snapshot) -> Iterable[Status]:
    running = sum(each["state"] == JobState.RUNNING for each in seen.jobs.values())
    facts = {"jobs": len(seen.jobs), "running": running, "meter": seen.said.get("meter")}
    if seen.trouble:
        yield Status(pool.id, "unknown", seen.trouble, good=False)
    elif not engine_wanted(pool, snapshot):
        yield Status(pool.id, "idle", "nothing of it is sold", facts=facts)
    elif seen.said["trouble"]:
        # An engine needs seconds to start, and its agent says so meanwhile; one that does not come back is put right by its driver.
        yield Status(pool.id, "waiting for its engine", seen.said["trouble"], facts=facts)
    else:
        yield Status(pool.id, "up", f"{running} jobs run" if running else "", facts=facts)
    for job in jobs_of(pool, snapshot):
        yield _job(job, seen)


def _job(job: Job, seen: PoolSeen) -> Status:
    said = seen.jobs.get(job.name)
    if seen.trouble or said is None:
        return Status(job.id, "unknown", seen.trouble or "its agent does not know it yet", good=not seen.trouble)
    return Status(job.id, said["state"], said["reason"], good=said["state"] not in NOT_AS_WANTED, facts=dict(said))
