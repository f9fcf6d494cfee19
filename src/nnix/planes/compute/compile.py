"""What stands on a pool's machine: its engine, the job agent beside it, and the list of jobs.

    Pool ──▶ the engine (Ray or Slurm), and the agent's settings: what the pool has
    Job  ──▶ a line of the list, with what the agent has to know of its deal

The list is a document (daemons/document.py) and not a setting of the agent, which would have to be started anew for each job; the agent sees it change.
So a deal is on its way to running as soon as one file has been written.

The engine itself is there while something of the pool is sold. The agent always is: it has the meter.

A pool is one machine here. Its nodes are parts of that machine, as a Slurm with several slurmds has them; a pool that is spread over machines takes
engines that are, and those are not driven yet: such a pool is refused (`compute.pool-on-one-machine`).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nnix.daemons.iproute import facts as iproute
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact
from nnix.planes.compute import slurm
from nnix.planes.compute.kinds import Deal, DealState, Engine, Job, Node, Pool, hour_number
from nnix.planes.compute.states import probe
from nnix.planes.members.kinds import Exchange

KEPT: Mapping[Engine, tuple[str, ...]] = {Engine.RAY: (), Engine.SLURM: ("cpus", "memory_gigabytes"), Engine.KUBERNETES: ()}
"""what an engine keeps of a node besides its devices, so that a gang that was seated without regard to it would not begin. A cluster keeps both, by what it
has itself: of its nodes a pool need not say anything."""
HOUR_SECONDS = 3600
RAY_PORT = 6379
WARM_WORKERS_MAX = 8
"""workers that Ray keeps warm, each 100 MB; more ranks than these at once wait two seconds for theirs"""
DUMMY = ipaddress.IPv4Interface("192.0.0.8/32")
"""the IPv4 dummy address (RFC 7600): on a machine that has none but loopback's, getaddrinfo finds no IPv4 address at all, and Slurm asks it"""
FOREVER = 2**40  # seconds since 1970: a probe has no deal, and no hours; how long it runs is bounded by the agent (states.PROBE_SECONDS)


def machine_of(pool: Pool) -> str:
    """The machine on which a pool's engine and agent run."""
    return str(pool.machine or pool.name)


def nodes_of(pool: Pool) -> tuple[Node, ...]:
    """The pool's nodes; one with all devices where none are given."""
    return pool.nodes or (Node(name="n1", devices=pool.devices),)


def jobs_of(pool: Pool, snapshot: Snapshot) -> tuple[Job, ...]:
    """The jobs that run in a pool: on its deals, and probes."""
    deals = snapshot.where(Deal, pool=pool.name)
    return (*(job for deal in deals for job in snapshot.where(Job, deal=deal.name)), *snapshot.where(Job, probe=pool.name))


def engine_wanted(pool: Pool, snapshot: Snapshot) -> bool:
    """An engine runs from the first deal on, and as long as there is one: half a gigabyte of Ray is not kept for nobody. Probes come unannounced."""
    return pool.probes or any(deal.state is DealState.RESERVED for deal in snapshot.where(Deal, pool=pool.name))


def compile(snapshot: Snapshot, evidence: Evidence) -> Iterable[Artifact]:
    """For each pool its machine's artifacts. Pure."""
    lab = any(each.lab for each in snapshot.of(Exchange))
    for pool in snapshot.of(Pool):
        machine, about = machine_of(pool), frozenset({pool.id})
        yield Artifact(machine, "iproute", f"engine-{pool.name}", iproute.encode(_loopback(pool)), about)
        if engine_wanted(pool, snapshot):
            yield from _engine(pool, machine, lab=lab)
        jobs = jobs_of(pool, snapshot)
        document = {"jobs": [listed(job, pool, snapshot) for job in jobs]}
        head = json.dumps({"source": f"jobs/{pool.name}"}).encode()
        concerned = about | {job.id for job in jobs} | {job.deal.id for job in jobs if job.deal is not None}
        yield Artifact(machine, "document", f"jobs-{pool.name}", head + b"\n" + _json(document), frozenset(concerned))
        yield Artifact(machine, "jobs", pool.name, _json(settings_of(pool)), about)


def _loopback(pool: Pool) -> list[iproute.Fact]:
    facts: list[iproute.Fact] = [iproute.Wire(link="lo")]
    return [*facts, iproute.Addr(addr=DUMMY, dev="lo")] if pool.engine is Engine.SLURM else facts


def _engine(pool: Pool, machine: str, *, lab: bool) -> Iterator[Artifact]:
    about = frozenset({pool.id})
    if pool.engine is Engine.RAY:
        cpus = min(sum(node.cpus for node in nodes_of(pool)), WARM_WORKERS_MAX)
        yield Artifact(machine, "ray", pool.name, _json({"cpus": cpus, "port": RAY_PORT, "resources": {"device": pool.devices}}), about)
    elif pool.engine is Engine.SLURM:
        yield Artifact(machine, "slurm", pool.name, slurm.spell(pool, nodes_of(pool), lab=lab).encode(), about)


def settings_of(pool: Pool) -> dict[str, Any]:
    """What the agent of a pool is told of it."""
    beside = f"@HOME@/../../{pool.engine.value}/{pool.name}"
    places = {
        Engine.RAY: {"socket": f"{beside}/foreman.sock"},
        Engine.SLURM: {"configuration": f"{beside}/slurm.conf"},
        Engine.KUBERNETES: {"manifests": "@HOME@/manifests"},
    }
    return {
        "pool": pool.name,
        "device": pool.device,
        "jobs": f"@HOME@/../../document/jobs-{pool.name}/content",
        "engine": {"make": pool.engine.value, **places[pool.engine]},
        "nodes": [
            {"name": node.name, "devices": node.devices, "domain": node.domain, **{each: getattr(node, each) for each in KEPT[pool.engine]}}
            for node in nodes_of(pool)
        ],
    }


def listed(job: Job, pool: Pool, snapshot: Snapshot) -> dict[str, Any]:
    """A job in the words of the agent (serve.Wanted)."""
    deal = snapshot.at(job.deal) if job.deal is not None else None
    bid = snapshot.at(deal.bid) if deal is not None else None
    whole = job.devices if job.device_percent is None else job.device_percent / 100
    hours = [hour_number(hour) * HOUR_SECONDS for hour in deal.hours] if deal is not None else []
    return {
        "job": job.name,
        "deal": deal.name if deal is not None else probe(job.name),
        "argv": list(job.entry),
        "image": job.image,
        "ranks": job.workers,
        "devices": whole,
        "cpus": job.cpus,
        "memory_gigabytes": job.memory_gigabytes,
        "together": job.together or "pool",
        "priority": job.priority,
        "grace_seconds": job.checkpoint.seconds if job.checkpoint is not None else None,
        "deadline": hour_number(job.deadline) * HOUR_SECONDS if job.deadline is not None else None,
        "hours": [[begin, begin + HOUR_SECONDS] for begin in hours] if deal is not None else [[0, FOREVER]],
        "lots": deal.devices if deal is not None else pool.devices,
        "data": bid.data.at if bid is not None and bid.data is not None else None,
    }


def _json(said: object) -> bytes:
    return json.dumps(said, sort_keys=True, indent=1).encode()
