"""Where a job would be seated: the answer given beforehand is what the agent then does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nnix.kernel.evidence import Evidence
from nnix.planes.compute.compile import compile
from nnix.planes.compute.foreseen import foreseen
from nnix.planes.compute.kinds import Job, Pool
from nnix.planes.compute.meter import Meter
from nnix.planes.compute.read import PoolSeen
from nnix.planes.compute.serve import Agent
from nnix.planes.compute.states import JobState

from .exchanges import RIGHT, snapshot
from .test_jobs import BEGIN, HOUR, Played

TRAIN = RIGHT["Job/train"]


def job(name: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    return f"Job/{name}", {**TRAIN, "workers": 1, "devices": 1, "deadline": None, **fields}


class Centre:
    """The agent of `gpus`, with an engine that is played, given the very documents that are compiled."""

    def __init__(self, here: Path) -> None:
        self.here, self.engine, self.meter, self.now = here, Played(), Meter(here / "meter", "gpus"), BEGIN + 2 * HOUR + 5
        self.jobs: dict[str, Any] = {"Job/train": None}
        self.agent: Agent | None = None

    def order(self, *jobs: tuple[str, dict[str, Any]]) -> None:
        self.jobs |= dict(jobs)
        found = {each.key: each.content for each in compile(snapshot(self.jobs), Evidence())}
        settings = json.loads(found["gpus", "jobs", "gpus"]) | {"jobs": str(self.here / "list")}
        (self.here / "new").write_bytes(found["gpus", "document", "jobs-gpus"].partition(b"\n")[2])
        (self.here / "new").replace(self.here / "list")
        self.agent = self.agent or Agent(settings, self.engine, self.meter, self.here)
        for gang in self.looks():
            self.engine.begins(gang, self.now)
        self.looks()

    def looks(self) -> Sequence[str]:
        assert self.agent is not None
        self.now += 1
        self.agent.turn(self.now)
        self.agent.tell(self.now)
        return [*self.engine.gangs]

    def asked(self, name: str, fields: dict[str, Any]) -> Any:
        model = snapshot({**self.jobs, name: fields})
        (pool,) = (each for each in model.of(Pool) if each.name == "gpus")
        (order,) = (each for each in model.of(Job) if each.id == name.replace("Job", "job"))
        return foreseen(pool, [order], model, PoolSeen(json.loads((self.here / "state").read_text())), self.now + 1)[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"devices": 2},
        {"workers": 2, "devices": 2, "together": "node"},
        {"workers": 8},
        {"workers": 8, "priority": 9},
        {"workers": 8, "devices": 8},
    ],
)
def test_what_is_foreseen_is_what_the_agent_then_does(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Where it begins, who makes room for it, its place and why it waits: word for word."""
    centre = Centre(tmp_path)
    centre.order(job("first", workers=3, checkpoint="5s"))
    name, fresh = job("asked", **fields)
    try:
        found = centre.asked(name, fresh)
        centre.order((name, fresh))
    finally:
        centre.meter.close()
    assert centre.agent is not None
    known = centre.agent.known["asked"]
    assert found.seats == known.seats
    assert found.why == known.reason
    assert found.position == centre.agent.positions.get("asked")
    stopping = {each.wanted.job for each in centre.agent.known.values() if each.state is JobState.STOPPING}
    assert set(found.makes_room) == stopping
    assert (known.state is JobState.REFUSED) == ("empty pool" in found.why or "its deal has" in found.why)


def test_before_its_hours_a_job_is_told_when_they_begin(tmp_path: Path) -> None:
    centre = Centre(tmp_path)
    centre.order(job("first"))
    centre.now = BEGIN
    centre.meter.close()
    assert centre.asked(*job("asked")).why == "its hours begin at 2026-11-26T10:00Z"
