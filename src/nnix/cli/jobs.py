"""Jobs of the compute market: ordered, watched, listed. What is shown is what the job agents say (planes/compute/serve.py)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from nnix.cli import tables
from nnix.cli.booking import booked, orders_in, told
from nnix.cli.command import DONE, REFUSED, as_root, begun, json_option, pass_setting
from nnix.cli.compute import files_argument, why_option
from nnix.cli.root import ALL_PLANES, Setting, clock
from nnix.kernel.change import admit
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.compile import jobs_of
from nnix.planes.compute.foreseen import Foreseen, foreseen
from nnix.planes.compute.kinds import Job, Pool
from nnix.planes.compute.read import PoolSeen, pool_seen, work_per_device_hour
from nnix.planes.compute.states import OVER, JobState

FOLLOW_SECONDS = 0.25
follow_option = click.option("--follow", is_flag=True, help="Show its progress until it is over; Ctrl-C leaves it running.")


@click.command("run")
@files_argument
@follow_option
@why_option
@json_option
@pass_setting
def run(setting: Setting, files: tuple[Path, ...], follow: bool, why: str, as_json: bool) -> int:
    """Order jobs: FILE has documents of kind Job, `-` is the standard input. Each runs on the lots of a deal, as soon as its hours begin.

    `nnix compute withdraw job/NAME` stops one. With --follow, the exit status is 1 when one of them does not finish.
    """
    begun(setting)
    orders = orders_in(setting, files, Job).resources
    names = [each.name for each in orders]
    about = f"{', '.join(each.id for each in orders)} ordered"
    status = told(booked(setting, orders, why or about, now=clock(), quiet=as_json), about, as_json)
    return followed(setting, names, as_json) if follow and status == DONE else status


@click.command("jobs")
@click.argument("names", metavar="[JOB…]", nargs=-1)
@follow_option
@json_option
@pass_setting
def jobs(setting: Setting, names: tuple[str, ...], follow: bool, as_json: bool) -> int:
    """What became of jobs: state, place in the queue of its deal and why it waits, devices, device-seconds charged so far, and what each says of its progress."""
    begun(setting)
    as_root(setting)
    snapshot = setting.book.model().snapshot
    wanted = [each.removeprefix("job/") for each in names]
    for name in wanted:
        if snapshot.get(Job, name) is None:
            raise LookupError(f"there is no job/{name}")
    if follow:
        return followed(setting, wanted or [each.name for each in snapshot.of(Job)], as_json)
    said = setting.run(_said(setting, snapshot, wanted))
    if as_json:
        tables.as_json(said)
        return DONE
    columns = ("job", "pool", "state", "place", "run", "devices", "device-seconds", "progress", "reason")
    tables.table("Jobs", columns, ((each["job"], each["pool"], *_cells(each)) for each in said))
    return DONE


@click.command("place")
@files_argument
@json_option
@pass_setting
def place(setting: Setting, files: tuple[Path, ...], as_json: bool) -> int:
    """Where jobs would be seated if they were ordered now, or why they would wait and at which place in the queue of their deal: FILE as for `run`.

    Nothing is ordered. The answer is what the pool's job agent would decide, from what it said last. The exit status is 1 when one of them would not begin at once.
    """
    begun(setting)
    as_root(setting)
    orders = [each for each in orders_in(setting, files, Job).resources if isinstance(each, Job)]
    before = setting.book.model().snapshot
    snapshot = admit(ALL_PLANES, before.declared.replaced(orders), before)
    names = {each.name for each in orders}
    pools = {pool.name: [job for job in jobs_of(pool, snapshot) if job.name in names] for pool in snapshot.of(Pool)}
    found: list[Foreseen] = []
    for pool in snapshot.of(Pool):
        if wanted := pools[pool.name]:
            seen = setting.run(pool_seen(pool, setting.machines))
            if seen.trouble:
                raise LookupError(f"{pool.id} cannot be asked: {seen.trouble}")
            found += foreseen(pool, wanted, snapshot, seen, clock().timestamp())
    if as_json:
        tables.as_json([asdict(each) for each in found])
    else:
        columns = ("job", "pool", "seats", "place", "why it would wait", "would make room")
        tables.table("Where jobs would be seated", columns, (_foreseen(each) for each in found))
    return DONE if all(each.seats for each in found) else REFUSED


def _foreseen(each: Foreseen) -> tuple[str, ...]:
    devices = ", ".join(device for _, given in each.seats for device, _ in given)
    return (each.job, each.pool, devices, str(each.position or ""), each.why, ", ".join(each.makes_room))


def followed(setting: Setting, names: Iterable[str], as_json: bool) -> int:
    """Tell every change of these jobs, a line each, until all are over."""
    as_root(setting)

    async def watch() -> int:
        last: dict[str, str] = {}
        while True:
            said = await _said(setting, setting.book.model().snapshot, list(names))
            for each in said:
                line = json.dumps(each, ensure_ascii=False) if as_json else _line(each)
                if last.get(each["job"]) != line:
                    last[each["job"]] = line
                    tables.out.print(line, markup=False, highlight=False, soft_wrap=True)
            if all(each["state"] in OVER for each in said):
                return DONE if all(each["state"] == JobState.FINISHED for each in said) else REFUSED
            await asyncio.sleep(FOLLOW_SECONDS)

    try:
        return setting.run(watch())
    except KeyboardInterrupt:
        return DONE


async def _said(setting: Setting, snapshot: Snapshot, names: list[str]) -> list[dict[str, Any]]:
    """What the agents say of jobs; of all, where none is named."""
    pools = [pool for pool in snapshot.of(Pool) if any(not names or job.name in names for job in jobs_of(pool, snapshot))]
    seen = await asyncio.gather(*(pool_seen(each, setting.machines) for each in pools))
    return [
        _record(job, pool, found)
        for pool, found in zip(pools, seen, strict=True)
        for job in jobs_of(pool, snapshot)
        if not names or job.name in names
    ]


def _record(job: Job, pool: Pool, found: PoolSeen) -> dict[str, Any]:
    said: Mapping[str, Any] = found.jobs.get(job.name, {"state": "unknown", "reason": found.trouble or "its agent does not know it yet"})
    measured = {"work_per_device_hour": work_per_device_hour(said)} if job.probe is not None else {}
    return {"job": job.name, "pool": pool.name, "member": job.member, "deal": job.deal, **said, **measured}


def _cells(said: Mapping[str, Any]) -> tuple[str, ...]:
    devices = ", ".join(said.get("devices", ()))
    return (
        said["state"],
        str(said.get("position") or ""),
        str(said.get("run", "")),
        devices,
        str(said.get("device_seconds", "")),
        _progress(said),
        said["reason"],
    )


def _progress(said: Mapping[str, Any]) -> str:
    progress = said.get("progress") or {}
    done, of = progress.get("done"), progress.get("of")
    words = "" if done is None else str(done) if of is None else f"{done} of {of}"
    measured = said.get("work_per_device_hour")
    return words if measured is None else f"{words}, {measured} an hour on each device"


def _line(said: Mapping[str, Any]) -> str:
    words = [said["job"], said["state"], _progress(said), said["reason"]]
    if said["state"] in OVER:
        words.append(f"{said.get('device_seconds', 0)} device-seconds")
    return "  ".join(each for each in words if each)


COMMANDS = (run, jobs, place)
