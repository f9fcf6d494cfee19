"""Jobs really run: a Ray and a Slurm at two sites of one small exchange, deals that join them with data at a third, and the meters of both.

One lab is shared by all, since Ray alone needs seconds to start. Jobs count, save what they have counted, and say so.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from nnix.kernel.plane import Status
from nnix.kernel.resource import Resource
from nnix.lab.compile import circuit_addresses
from nnix.lab.shelf import OCTETS_PER_GIGABYTE, PORT
from nnix.planes.compute.derive import circuit_of
from nnix.planes.compute.kinds import Job
from nnix.planes.compute.meter import CHAIN, Cause, Interval, audit, noted
from nnix.planes.compute.read import read
from nnix.planes.compute.states import probe
from nnix.planes.fabric.kinds import Circuit
from tests.lab.exchange import Lab, resource
from tests.unit.cli.test_cli import Nnix, Said
from tests.unit.cli.test_cli import nnix as command

__all__ = ["command"]

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(900),
]  # Ray needs eight seconds to start, and two minutes where everything else runs as well

GPU, NPU = "nvidia/h100", "huawei/ascend-910b"
GIGABYTES = 3
PATIENCE_SECONDS = 280.0  # on a machine on which everything runs at once

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
        made.append(
            resource("Site", name, title={"en": name}, role="hub" if name == "east" else "node", level="city", city=name, country="CN")
        )
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
            "Pool", "slurms", member="npus", site="west", device=NPU, devices=4, memory_gigabytes=64, engine="slurm", probes=True,
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
            resource("Offer", pool, pool=pool, lots=4, ask="1000yuan", start=when[0], end=end),
            resource("Bid", pool, member="buyer", limit="12000yuan", bundles=[bundle], **more),
            resource("Deal", pool, bid=pool, offer=pool, pool=pool, devices=4, hours=when, prices=["1000yuan"] * 3),
        ]
    terms = {"buyer_fee_permille": 10, "credits": [{"cause": "node-lost", "percent": 100}]}
    return [*made, resource("Tariff", "this-year", title={"en": "Tariff"}, start="2026-01-01T00Z", **terms)]


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
        gone = [each.id for each in self.lab.snapshot.of(Job) if each.name not in self.jobs]
        assert self.lab.apply(self.lab.snapshot.declared.replaced(self.jobs.values(), gone)).verified, self.lab.differences()

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
        found: list[Interval] = []
        for pool in ("rays", "slurms"):
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


def test_a_job_reads_its_data_over_the_circuit_of_its_deal(centres: Centres) -> None:
    """Bid, deal, circuit: what leaves the far end, what the job reads and what the pool's port carries agree; there is no other way to the data."""
    centres.run("fetch", "rays", ["python3", "-c", FETCH], devices=1)
    centres.until_state("fetch", "finished")

    octets = GIGABYTES * OCTETS_PER_GIGABYTE
    assert centres.facts("fetch")["progress"]["done"] == octets
    shelf = Path(centres.lab.setting.machines.host("ce-data").home) / "shelf/rays/state"
    centres.until(lambda: json.loads(shelf.read_text())["sent"] == {"cargo": octets}, "the far end counts as much")
    received = int(centres.lab.host_run("rays", "cat", "/sys/class/net/eth0/statistics/rx_bytes") or 0)
    assert received > octets  # with the headers that carried them
    centres.cancel("fetch")


@pytest.mark.parametrize("pool", ["rays", "slurms"])
def test_an_agent_that_is_killed_comes_back_to_its_running_job_and_charges_it_once(centres: Centres, pool: str) -> None:
    """kill -9 in mid-job: the ranks go on, the loop puts the agent back, and the chain has each device for exactly the time that the job ran."""
    job = f"{pool}-orphan"
    centres.run(job, pool, counting(60, 0.05), workers=2, devices=1)
    centres.until(lambda: centres.facts(job).get("progress", {}).get("done", 0) >= 5, "it counts")

    os.kill(centres.pid(pool, "jobs", "python3"), signal.SIGKILL)
    assert any("python3 not running" in each for each in centres.lab.differences().values())
    centres.lab.put_right()

    centres.until_state(job, "finished")
    assert centres.facts(job)["run"] == 1
    assert centres.log(pool, job, 1).count("begins at") == 1
    assert centres.causes(job) == [Cause.FINISHED]
    records = centres.home(pool) / "jobs" / job / "1"
    began = min(float((records / f"{rank}.began").read_text()) for rank in (0, 1))
    ended = max(float((records / f"{rank}.ended").read_text().split()[1]) for rank in (0, 1))
    assert sum(each.device_microseconds for each in centres.charged(job)) / 1e6 == pytest.approx(2 * (ended - began), abs=0.02)
    centres.cancel(job)


def test_a_job_whose_engine_is_killed_goes_on_from_what_it_saved(centres: Centres) -> None:
    """Ray's scheduler is killed under it: nothing of the job runs on unseen, what it had is charged to the loss, and it starts at its checkpoint."""
    centres.run("lost", "rays", counting(60, 0.1), workers=2, devices=1)
    centres.until(lambda: centres.facts("lost").get("progress", {}).get("done", 0) >= 10, "it counts")

    foreman = centres.pid("rays", "ray", "python3")
    scheduler = next(each for each in descendants(foreman) if Path(f"/proc/{each}/comm").read_text().strip() == "raylet")
    os.kill(scheduler, signal.SIGKILL)

    centres.until_state("lost", "finished")
    assert centres.facts("lost")["run"] == 2
    assert int(centres.log("rays", "lost", 2).split("begins at ")[1].split()[0]) >= 10
    assert centres.causes("lost") == [Cause.NODE_LOST, Cause.FINISHED]
    centres.cancel("lost")


def test_a_job_that_is_taken_back_stops_with_time_to_save_itself(centres: Centres) -> None:
    """Cancelled while it runs: SIGTERM, it saves, and its intervals end as cancelled."""
    centres.run("unwanted", "slurms", counting(600, 0.05), workers=2, devices=1, checkpoint="20s")
    centres.until(lambda: centres.facts("unwanted").get("progress", {}).get("done", 0) >= 3, "it counts")
    centres.cancel("unwanted")
    centres.until(lambda: Cause.CANCELLED in centres.causes("unwanted"), "it is stopped")
    last = centres.charged("unwanted")[-1]
    assert last.saved
    assert time.time() - last.end_ms / 1000 < PATIENCE_SECONDS


def test_a_job_that_is_resized_keeps_what_it_had_done(centres: Centres) -> None:
    """From one device a rank to two: what it had before is charged as resized, to the millisecond, and it goes on from its checkpoint."""
    centres.run("grows", "rays", counting(10_000, 0.1), workers=1, devices=1, checkpoint="20s")
    centres.until(lambda: centres.facts("grows").get("progress", {}).get("done", 0) >= 3, "it counts")
    centres.run("grows", "rays", counting(10, 0.05), workers=1, devices=2, checkpoint="20s")
    centres.until_state("grows", "finished")
    assert centres.causes("grows") == [Cause.RESIZED, Cause.FINISHED]
    assert int(centres.log("rays", "grows", 2).split("begins at ")[1].split()[0]) >= 3
    before, after = ({each.device for each in centres.charged("grows") if each.run == run} for run in (1, 2))
    assert (len(before), len(after)) == (1, 2)
    centres.cancel("grows")


def test_what_is_more_urgent_takes_the_place_of_what_can_save_itself(centres: Centres) -> None:
    """Preempted: it saves, waits, and comes to its end after the other; the pool charges it no more than it had."""
    centres.run("patient", "rays", counting(10_000, 0.1), workers=1, devices=4, checkpoint="20s")
    centres.until(lambda: centres.facts("patient").get("progress", {}).get("done", 0) >= 3, "it counts")
    centres.jobs["patient"] = centres.jobs["patient"].changed(entry=tuple(counting(10, 0.05)))  # it may come to an end then
    centres.run("urgent", "rays", counting(5, 0.05), workers=1, devices=4, priority=10)
    centres.until_state("urgent", "finished")
    centres.until_state("patient", "finished")
    assert centres.causes("patient") == [Cause.PREEMPTED, Cause.FINISHED]
    assert centres.charged("patient")[0].begin_ms < centres.charged("urgent")[0].begin_ms < centres.charged("patient")[-1].end_ms
    centres.cancel("patient", "urgent")


def test_an_agent_killed_while_some_wait_and_some_are_guests_seats_and_orders_as_before(centres: Centres) -> None:
    """A gang waits whole for its devices, a guest runs on what is idle; the agent that comes back says the same of all, and the guest makes room in its turn."""
    centres.run("first", "rays", counting(10_000, 0.1), workers=3, devices=1, priority=1)
    centres.until_state("first", "running")
    gang: dict[str, Any] = {"entry": counting(3, 0.05), "workers": 2, "devices": 2, "together": "node"}
    asked = nnix(centres, "place", "-", "--json", stdin={"kind": "Job", "name": "gang", "member": "buyer", "deal": "rays", **gang})
    assert asked.returncode == 1, asked
    (foreseen,) = json.loads(asked.stdout)
    assert (foreseen["seats"], foreseen["position"], foreseen["makes_room"]) == ([], 1, [])
    centres.run("gang", "rays", **gang)
    centres.until(lambda: centres.facts("gang").get("position") == 1, "the gang is next")
    centres.run("guest", "rays", counting(10_000, 0.1), devices=1, checkpoint="20s")
    centres.until_state("guest", "running")

    def told() -> dict[str, tuple[Any, ...]]:
        return {
            job: tuple(centres.facts(job).get(each) for each in ("state", "position", "reason", "run", "seats")) for job in centres.jobs
        }

    before = told()
    assert before["gang"][:3] == ("waiting", 1, "next in turn: 4 devices asked for, 1 of 4 not held by those before it")
    assert foreseen["why"] == before["gang"][2]
    os.kill(centres.pid("rays", "jobs", "python3"), signal.SIGKILL)
    assert any("python3 not running" in each for each in centres.lab.differences().values())
    centres.lab.put_right()
    centres.until(lambda: told() == before, f"all stands as before: {before}")

    centres.cancel("first")
    centres.until_state("gang", "finished")
    centres.until(lambda: centres.facts("guest").get("run") == 2, "the guest goes on afterwards")
    assert centres.causes("guest") == [Cause.PREEMPTED]
    assert len({each.device for each in centres.charged("gang")}) == 4
    centres.cancel("gang", "guest")


def test_progress_is_streamed_to_whoever_ordered_the_job(centres: Centres) -> None:
    """`nnix compute run --follow` tells every step until the end, and its exit status says which; `jobs --json` says the same to programs."""
    orders = [{"kind": "Job", "name": name, "member": "buyer", "deal": "slurms", "entry": entry} for name, entry in (
        ("told", counting(5, 0.3)), ("untold", ["false"]))]  # fmt: skip
    told = nnix(centres, "run", "--follow", "-", stdin=orders[0])
    lines = [line.split() for line in told.stdout.splitlines() if line.startswith("told ")]
    assert told.returncode == 0, told
    assert lines[-1][1] == "finished"
    assert {line[1] for line in lines} >= {"running", "finished"}
    assert ["told", "running"] in [line[:2] for line in lines if "of" in line]
    assert nnix(centres, "run", "--follow", "-", stdin=orders[1]).returncode == 1
    said = {each["job"]: each for each in json.loads(nnix(centres, "jobs", "--json").stdout)}
    assert (said["told"]["state"], said["untold"]["state"]) == ("finished", "failed")
    assert said["untold"]["reason"] == "rank 0 ended with status 1"
    assert said["told"]["device_seconds"] == pytest.approx(
        sum(each.device_microseconds for each in centres.charged("told")) / 1e6, abs=0.001
    )
    assert nnix(centres, "withdraw", "job/told", "job/untold").returncode == 0


def test_a_probe_measures_what_a_bid_may_say(centres: Centres) -> None:
    """It runs without a deal; what one device did in an hour follows from its progress and its device-seconds, and a bid that says more is refused."""
    order = {"kind": "Job", "name": "speed", "member": "buyer", "probe": "slurms", "entry": counting(10, 0.05)}
    told = nnix(centres, "run", "--follow", "-", stdin=order)
    assert told.returncode == 0, told
    (said,) = json.loads(nnix(centres, "jobs", "speed", "--json").stdout)
    measured = said["work_per_device_hour"]
    assert measured == int(10 * 3600 / said["device_seconds"])
    assert 0 < measured < 10 * 3600 / (10 * 0.05)

    def bid(work_per_hour: int) -> subprocess.CompletedProcess[str]:
        conversion = {"device": NPU, "work_per_hour": work_per_hour, "measured_by": "speed"}
        wants = {"work": 10, "conversions": [conversion], "start": hours()[1], "limit": "9yuan"}
        return nnix(centres, "bid", "-", stdin={"kind": "Bid", "name": "faster", "member": "buyer", **wants})

    refused = bid(measured + 1)
    assert refused.returncode == 1
    assert "compute.conversion-as-measured" in refused.stderr
    assert f"at most {measured}" in refused.stderr
    assert bid(measured).returncode == 0
    assert nnix(centres, "withdraw", "bid/faster").returncode == 0
    assert nnix(centres, "withdraw", "job/speed").returncode == 0


def nnix(centres: Centres, *words: str, stdin: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """`nnix compute …` on the lab's state, by another process."""
    argv = [sys.executable, "-c", "from nnix.cli import main; main()", "--state", str(centres.lab.setting.state), "compute", *words]
    return subprocess.run(
        argv, input=json.dumps(stdin) if stdin else "", capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )


def test_all_that_ran_is_settled_and_the_invoice_opens_down_to_the_meters(centres: Centres, command: Nnix) -> None:
    """Every record of both meters but those of probes is in the buyer's invoice, with all of its device-time; both sellers get what the buyer pays; the invoice is computed
    again to the same digest, and no longer is when one row on a machine is altered or the last one is gone."""

    def invoice(*words: str) -> Said:
        return command(*centres.lab.setting.options, "compute", "invoice", *words)

    for pool in ("rays", "slurms"):
        centres.run(f"{pool}-billed", pool, counting(3, 0.05), devices=1)
    for pool in ("rays", "slurms"):
        centres.until_state(f"{pool}-billed", "finished")
    time.sleep(1.1)  # a settlement ends at a full second, and has nothing of the one that runs
    done = invoice("settle")
    assert done.status == 0, done.err
    bill = invoice("buyer", "--json").json
    opened: dict[tuple[str, str], int] = {}
    for line in bill["pays"]:
        for part in line.get("parts", ()):
            key = (line["chain"], part["digest"])
            opened[key] = opened.get(key, 0) + part["quantity"]
    written = {}
    for pool in ("rays", "slurms"):
        for each in audit((centres.home(pool) / "meter" / CHAIN).read_bytes()).records:
            if each.interval.deal != probe(each.interval.job):  # they pay nothing
                written[f"meter/{pool}", each.digest] = each.interval
    assert opened == {key: each.device_microseconds for key, each in written.items()}

    used = sum(Fraction(each.device_microseconds * 100_000, 3_600_000_000) for each in written.values())
    paid = {kind: sum(each["amount"] for each in bill["pays"] if each["kind"] == kind) for kind in ("use", "buyer-fee")}
    back = sum(each["amount"] for each in bill["gets"])
    assert abs(paid["use"] - used) <= 1  # two deals, each rounded once
    assert abs(paid["buyer-fee"] - Fraction(paid["use"] - back, 100)) <= 1
    sellers = [invoice(each, "--json").json for each in ("gpus", "npus")]
    assert sum(each["owed"] for each in sellers) == paid["use"]
    assert invoice("book", "--json").json["sum"] == 0
    lost = {each["chain"] for each in bill["gets"] if each["cause"] == "node-lost"}
    assert lost == {chain for (chain, _), each in written.items() if each.cause is Cause.NODE_LOST}

    verified = invoice("verify")
    assert verified.status == 0, verified.err
    chain = centres.home("rays") / "meter" / CHAIN
    sound = chain.read_bytes()
    for spoilt in (sound.replace(b'"share_thousandths":1000', b'"share_thousandths":100', 1), sound[: sound.rindex(b"\n", 0, -1) + 1]):
        chain.write_bytes(spoilt)
        try:
            found = invoice("verify")
            assert found.status == 1 and "rays: record" in found.err
        finally:
            chain.write_bytes(sound)
    assert invoice("verify").status == 0


def descendants(pid: int) -> Iterator[int]:
    """All processes below one, in this machine's numbers."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from descendants(child)
