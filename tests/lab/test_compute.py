"""Jobs really run: a Ray and a Slurm at two sites of one small exchange, deals that join them with data at a third, and the meters of both.

One lab is shared by all, since Ray alone needs seconds to start. Jobs count, save what they have counted, and say so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nnix.kernel.plane import Status
from nnix.kernel.resource import Resource
from nnix.lab.compile import circuit_addresses
from nnix.lab.shelf import PORT
from nnix.planes.compute.derive import circuit_of
from nnix.planes.compute.kinds import Pool
from nnix.planes.compute.meter import CHAIN, Cause, Interval, audit, noted
from nnix.planes.compute.read import read
from nnix.planes.fabric.kinds import Circuit
from tests.lab.exchange import Lab, resource

pytestmark = pytest.mark.lab

GPU, NPU = "nvidia/h100", "huawei/ascend-910b"
GIGABYTES = 3
PATIENCE_SECONDS = 180.0  # on a machine on which everything runs at once

COUNT = """
import json, os, signal, sys, time
to, pace = int(sys.argv[1]), float(sys.argv[2])
kept = os.path.join(os.environ["NNIX_CHECKPOINT"], os.environ["NNIX_RANK"])
done = int(open(kept).read()) if os.path.exists(kept) else 0
print("begins at", done, flush=True)
def keep(*_):
    with open(kept + ".new", "w") as file: file.write(str(done))
    os.replace(kept + ".new", kept)
def leave(*_):
    keep(); sys.exit(75)
signal.signal(signal.SIGTERM, leave)
while done < to:
    time.sleep(pace); done += 1; keep()
    with open(os.environ["NNIX_PROGRESS"], "a") as file: file.write(json.dumps({"done": done, "of": to, "saved": True}) + chr(10))
"""
FETCH = """
import json, os, urllib.request
octets = 0
with urllib.request.urlopen(os.environ["NNIX_DATA"], timeout=30) as answer:
    while piece := answer.read(65536): octets += len(piece)
with open(os.environ["NNIX_PROGRESS"], "a") as file: file.write(json.dumps({"done": octets, "saved": False}) + chr(10))
"""


def counting(to: int, pace_seconds: float) -> list[str]:
    return ["python3", "-c", COUNT, str(to), str(pace_seconds)]


def hours() -> list[str]:
    """This hour and the next two: whenever the tests run, nothing is over before they are."""
    now = datetime.now(UTC)
    return [f"{now + timedelta(hours=each):%Y-%m-%dT%HZ}" for each in range(3)]


def exchange() -> list[Resource]:
    """Two pools at two sites, a buyer with a port where its data lie, and a deal with each of the pools."""
    when = hours()
    end = f"{datetime.now(UTC) + timedelta(hours=3):%Y-%m-%dT%HZ}"
    made = [resource("Exchange", "small", title={"en": "Small"}, asn=65551, country="CN", lab=True)]
    for name in ("east", "west"):
        made.append(resource("Site", name, title={"en": name}, role="hub" if name == "east" else "node", level="city", city=name, country="CN"))
    made.append(resource("Link", "east-west", a="east", b="west", capacity="10G", latency="1ms"))
    for number, name in enumerate(("gpus", "npus", "buyer"), 1):
        made.append(resource("Member", name, title={"en": name}, asn=64495 + number, **{"class": "compute"}))
    made += [
        resource("Port", "gpus", member="gpus", site="east", speed="10G"),
        resource("Port", "data", member="buyer", site="west", speed="10G"),
        resource(
            "Pool", "rays", member="gpus", site="east", device=GPU, devices=4, memory_gigabytes=80, port="gpus", engine="ray",
            nodes=[{"name": "n1", "devices": 4, "cpus": 2, "memory_gigabytes": 8}],
        ),
        resource(
            "Pool", "slurms", member="npus", site="west", device=NPU, devices=4, memory_gigabytes=64, engine="slurm",
            nodes=[{"name": name, "devices": 2, "cpus": 4, "memory_gigabytes": 8, "domain": name} for name in ("n1", "n2")],
        ),
    ]  # fmt: skip
    there = circuit_addresses(circuit(["gpus", "data"]))["data"][0].ip
    for pool, device, more in (
        (
            "rays",
            GPU,
            {"port": "data", "data": {"dataset": "cargo", "site": "west", "gigabytes": GIGABYTES, "at": f"http://{there}:{PORT}/cargo"}},
        ),
        ("slurms", NPU, {}),
    ):
        bundle = {"device": device, "devices": 4, "hours": 3, "start": when[0]}
        made += [
            resource("Offer", pool, pool=pool, lots=4, ask="1yuan", start=when[0], end=end),
            resource("Bid", pool, member="buyer", limit="100yuan", bundles=[bundle], **more),
            resource("Deal", pool, bid=pool, offer=pool, pool=pool, devices=4, hours=when, prices=["1yuan"] * 3),
        ]
    return made


def circuit(ends: list[str]) -> Circuit:
    """The circuit that will follow from the deal: its name and ends say which addresses the lab gives out on it."""
    return Circuit.model_validate({"name": circuit_of("rays"), "ends": sorted(ends, key=lambda end: end != "data")})


class Centres:
    """The lab, and its jobs."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.jobs: dict[str, Resource] = {}

    def home(self, pool: str) -> Path:
        """The agent's folder."""
        machine = self.lab.setting.machines.host(pool)
        return Path(machine.home) / "jobs" / pool

    def run(self, name: str, pool: str, entry: list[str], **fields: Any) -> None:
        """Order a job on the deal of `pool`."""
        self.jobs[name] = resource("Job", name, member="buyer", deal=pool, entry=entry, **fields)
        self.order()

    def cancel(self, *names: str) -> None:
        for name in names:
            del self.jobs[name]
        self.order()

    def order(self) -> None:
        assert self.lab.apply([*self.lab.snapshot.declared.replaced(self.jobs.values(), self._gone())]).verified

    def _gone(self) -> list[str]:
        return [each.id for each in self.lab.snapshot.of(type(resource("Job", "x", member="buyer", deal="d", entry=["true"]))) if each.name not in self.jobs]

    def statuses(self) -> dict[str, Status]:
        return {each.resource: each for each in self.lab.run(read(self.lab.snapshot, self.lab.setting.machines))}

    def facts(self, job: str) -> dict[str, Any]:
        return dict(self.statuses()[f"job/{job}"].facts or {})

    def until(self, holds: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Poll until it holds; where it does not, say all that is known."""
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > seconds:
                logs = [path.read_text()[-2000:] for path in self.lab.setting.homes.glob("*/*/*/log")]
                raise AssertionError(f"not within {seconds} s: {what}\n{self.statuses()}\n" + "\n--\n".join(logs))
            time.sleep(0.1)

    def until_state(self, job: str, *states: str) -> None:
        self.until(lambda: self.statuses()[f"job/{job}"].state in states, f"{job} is {' or '.join(states)}")

    def charged(self, job: str) -> list[Interval]:
        """Its intervals, from a chain that is sound."""
        deal = self.lab.snapshot.get(Pool, str(self.jobs[job].deal)) if job in self.jobs else None  # type: ignore[attr-defined]
        found: list[Interval] = []
        for pool in [deal.name] if deal is not None else ("rays", "slurms"):
            folder = self.home(pool) / "meter"
            judged = audit((folder / CHAIN).read_bytes(), noted(folder))
            assert judged.faults == ()
            found += [each.interval for each in judged.records if each.interval.job == job]
        return found

    def causes(self, job: str) -> list[Cause]:
        """What ended the job's intervals, in order and each once in a row; cuts by the clock or at a checkpoint left out."""
        found: list[Cause] = []
        for each in self.charged(job):
            if each.cause is not Cause.RAN and found[-1:] != [each.cause]:
                found.append(each.cause)
        return found

    def log(self, pool: str, job: str, run: int, rank: int = 0) -> str:
        return (self.home(pool) / "jobs" / job / str(run) / f"{rank}.log").read_text()

    def pid(self, pool: str, driver: str, name: str) -> int:
        return int((Path(self.lab.setting.machines.host(pool).home) / driver / pool / f"{name}.pid").read_text())


@pytest.fixture(scope="module")
def centres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centres]:
    lab = Lab(tmp_path_factory.mktemp("compute"))
    try:
        assert lab.apply(exchange()).verified, lab.differences()
        made = Centres(lab)
        made.until(lambda: all(made.statuses()[f"pool/{each}"].state == "up" for each in ("rays", "slurms")), "both engines are up")
        yield made
    finally:
        assert lab.close() == []


@pytest.mark.parametrize("pool", ["rays", "slurms"])
def test_a_gang_runs_to_its_end_and_is_charged_for_what_it_had(centres: Centres, pool: str) -> None:
    """Two ranks start together, each with two devices; the meter has four intervals' worth, as long as they ran and no longer."""
    job = f"{pool}-gang"
    centres.run(job, pool, counting(10, 0.05), workers=2, devices=2, together="pool")
    centres.until_state(job, "finished")

    said = centres.facts(job)
    assert said["progress"]["done"] == 10
    charged = centres.charged(job)
    assert len({each.device for each in charged}) == 4
    records = centres.home(pool) / "jobs" / job / "1"
    began = min(float((records / f"{rank}.began").read_text()) for rank in (0, 1))
    ended = max(float((records / f"{rank}.ended").read_text().split()[1]) for rank in (0, 1))
    # To the millisecond, as it stands in the records: nothing is charged that nobody had.
    assert sum(each.device_microseconds for each in charged) / 1e6 == pytest.approx(4 * (ended - began), abs=0.02)
    assert centres.causes(job) == [Cause.FINISHED]
    centres.cancel(job)
