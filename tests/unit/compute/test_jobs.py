"""What the job agent decides, with an engine that is played: whose turn it is, what ends a run, and what that is charged to.

How Ray and Slurm behave is tried with Ray and Slurm (tests/lab/test_compute.py).
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from nnix.cli.root import JOBS
from nnix.kernel.evidence import Evidence
from nnix.planes.compute.compile import compile
from nnix.planes.compute.engines import Down, Gang, Refused, env_of
from nnix.planes.compute.engines.kubernetes import manifest
from nnix.planes.compute.engines.ray import Ray
from nnix.planes.compute.engines.slurm import RANK, Slurm, batch
from nnix.planes.compute.meter import CHAIN, Cause, Meter, audit, noted
from nnix.planes.compute.place.values import Together
from nnix.planes.compute.serve import Agent, Wanted
from nnix.planes.compute.states import JOB, OVER, JobEvent, JobState, after

from .exchanges import GPU, RIGHT, Changes, snapshot

BEGIN, HOUR = 1_795_680_000.0, 3600.0
NODES = [{"name": name, "devices": 4, "domain": domain} for name, domain in (("n1", "a"), ("n2", "a"), ("n3", "b"))]


def wanted(job: str = "j", **fields: Any) -> dict[str, Any]:
    return {
        "job": job,
        "deal": "d",
        "argv": ["true"],
        "ranks": 1,
        "devices": 1,
        "cpus": 1,
        "memory_gigabytes": 1,
        "together": "pool",
        "priority": 0,
        "grace_seconds": 5.0,
        "deadline": None,
        "hours": [[BEGIN, BEGIN + HOUR], [BEGIN + HOUR, BEGIN + 2 * HOUR]],
        "lots": 12,
        **fields,
    }


class Played:
    """An engine whose gangs do what a test says, by the records that a real one would leave."""

    look_seconds = 0.0

    def __init__(self) -> None:
        self.gangs: dict[str, Gang] = {}
        self.stopped: list[tuple[str, float]] = []
        self.down = False

    def start(self, gang: Gang) -> None:
        if self.down:
            raise Down("is not up")
        self.gangs[gang.name] = gang

    def seen(self) -> Mapping[str, bool]:
        if self.down:
            raise Down("is not up")
        return dict.fromkeys(self.gangs, True)

    def stop(self, name: str, grace_seconds: float) -> None:
        self.stopped.append((name, grace_seconds))

    def forget(self, name: str) -> None:
        self.gangs.pop(name, None)

    def begins(self, name: str, at: float) -> None:
        for rank in range(self.gangs[name].ranks):
            (self.gangs[name].records / f"{rank}.began").write_text(f"{at:.3f}")

    def ends(self, name: str, at: float, status: int = 0) -> None:
        for rank in range(self.gangs[name].ranks):
            (self.gangs[name].records / f"{rank}.ended").write_text(f"{status} {at:.3f}")


class Pool:
    """An agent, its engine, and the list of jobs that it is given."""

    def __init__(self, here: Path) -> None:
        self.here, self.engine = here, Played()
        self.now = BEGIN + 1
        self.meter = Meter(here / "meter", "p")
        settings = {"pool": "p", "device": GPU, "jobs": str(here / "list"), "nodes": NODES, "engine": {}}
        self.agent = Agent(settings, self.engine, self.meter, here)

    def orders(self, *jobs: dict[str, Any]) -> None:
        fresh = self.here / "list.new"
        fresh.write_text(json.dumps({"jobs": jobs}))
        fresh.replace(self.here / "list")
        self.passes(0.2)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.agent.turn(self.now)

    def state(self, job: str = "j") -> tuple[JobState, str]:
        return self.agent.known[job].state, self.agent.known[job].reason

    def charged(self) -> list[tuple[str, int, float, float, Cause]]:
        """(job, run, begin, end, cause) of every interval, in seconds since the first hour."""
        judged = audit((self.here / "meter" / CHAIN).read_bytes(), noted(self.here / "meter"))
        assert judged.faults == ()
        intervals = (each.interval for each in judged.records)
        return [(e.job, e.run, round(e.begin_ms / 1000 - BEGIN, 3), round(e.end_ms / 1000 - BEGIN, 3), e.cause) for e in intervals]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path)
    yield made
    made.meter.close()


def test_a_job_that_has_ended_never_comes_back() -> None:
    assert {state for state, _ in JOB} == set(JobState) - OVER
    assert set(JOB.values()) == set(JobState)
    for state in OVER:
        for event in JobEvent:
            with pytest.raises(ValueError, match=f"a job that is {state} cannot {event}"):
                after(state, event)


def test_it_is_charged_from_its_first_moment_to_its_last(pool: Pool) -> None:
    """As its records say, and not as the agent happens to look."""
    pool.orders(wanted())
    pool.engine.begins("j.1", BEGIN + 3.25)
    pool.passes(5)
    pool.engine.ends("j.1", BEGIN + 10.5)
    pool.passes(5)
    assert pool.state() == (JobState.FINISHED, "")
    assert pool.charged() == [("j", 1, 3.25, 10.5, Cause.FINISHED)]


def test_what_outlives_the_hour_is_cut_there(pool: Pool) -> None:
    pool.orders(wanted())
    pool.engine.begins("j.1", BEGIN + 100)
    pool.passes(200)
    pool.passes(HOUR)
    pool.engine.ends("j.1", BEGIN + HOUR + 500)
    pool.passes(400)
    assert pool.charged() == [("j", 1, 100, HOUR, Cause.RAN), ("j", 1, HOUR, HOUR + 500, Cause.FINISHED)]


def test_before_its_hours_nothing_starts_and_after_them_nothing_runs_on(pool: Pool) -> None:
    pool.now = BEGIN - 100
    pool.orders(wanted())
    assert pool.state() == (JobState.WAITING, "its hours begin at 2026-11-26T08:00Z")
    pool.passes(101)
    pool.engine.begins("j.1", BEGIN + 1)
    pool.passes(2 * HOUR)
    assert pool.state() == (JobState.STOPPING, "its deal or its deadline is over")
    assert pool.engine.stopped == [("j.1", 5.0)]
    pool.passes(6)
    assert pool.engine.stopped[-1] == ("j.1", 0.0)
    pool.engine.ends("j.1", BEGIN + 2 * HOUR + 7, 137)
    pool.passes(1)
    assert pool.state()[0] is JobState.KILLED
    assert pool.charged()[-1][4] is Cause.KILLED


def test_grace_ends_with_the_deal(pool: Pool) -> None:
    """It is told to stop so early that it is gone when the next buyer's hours begin; and one that begins to stop late has less."""
    first = wanted("a", ranks=12, deal="d1", grace_seconds=300.0, hours=[[BEGIN, BEGIN + HOUR]])
    pool.orders(first)
    pool.engine.begins("a.1", BEGIN + 2)
    pool.now = BEGIN + HOUR - 301
    pool.passes(0.5)
    assert pool.state("a")[0] is JobState.RUNNING
    pool.passes(1)
    assert pool.state("a") == (JobState.STOPPING, "its deal or its deadline is over")
    pool.passes(300)
    assert pool.engine.stopped[-1] == ("a.1", 0.0)


def test_who_is_told_to_stop_late_in_its_deal_has_what_is_left_of_it(pool: Pool) -> None:
    hours = [[BEGIN, BEGIN + HOUR]]
    pool.orders(wanted(grace_seconds=300.0, hours=hours))
    pool.engine.begins("j.1", BEGIN + 2)
    pool.passes(2)
    pool.now = BEGIN + HOUR - 310
    pool.orders(wanted(grace_seconds=300.0, hours=hours, deadline=BEGIN + HOUR - 250))
    assert 0 < pool.engine.stopped[-1][1] < 60


def test_nobody_has_grace_for_ever(pool: Pool) -> None:
    pool.orders(wanted(grace_seconds=36_000.0, hours=[[BEGIN, BEGIN + 2 * HOUR]]))
    pool.engine.begins("j.1", BEGIN + 2)
    pool.passes(2)
    pool.orders()
    assert pool.engine.stopped == [("j.1", 600.0)]


def test_what_is_told_to_stop_before_it_began_is_charged_for_what_it_ran(pool: Pool) -> None:
    pool.orders(wanted(ranks=2))
    pool.orders()
    assert pool.state() == (JobState.STOPPING, "no longer wanted")
    pool.engine.begins("j.1", BEGIN + 2)
    pool.passes(3)
    pool.engine.ends("j.1", BEGIN + 6, 143)
    pool.passes(2)
    assert pool.charged() == [("j", 1, 2, 6, Cause.CANCELLED)] * 2


def test_a_deadline_that_passes_while_it_waits_ends_it_uncharged(pool: Pool) -> None:
    pool.engine.down = True
    pool.orders(wanted(deadline=BEGIN + 50))
    assert pool.state() == (JobState.WAITING, "is not up")
    pool.passes(100)
    assert pool.state() == (JobState.KILLED, "its deadline has passed")
    assert pool.charged() == []


def _unheard(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on gangs are started, and the engine's answer is lost."""

    def start(gang: Gang) -> None:
        pool.engine.gangs[gang.name] = gang
        raise Down("timed out")

    monkeypatch.setattr(pool.engine, "start", start)


@pytest.mark.parametrize("fresh", [(), (wanted(ranks=3),)])
def test_a_gang_of_whose_start_nobody_heard_is_stopped_and_charged(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, fresh: tuple[dict[str, Any], ...]
) -> None:
    """Withdrawn or resized before the engine was asked again."""
    _unheard(pool, monkeypatch)
    pool.orders(wanted())
    assert pool.state() == (JobState.WAITING, "timed out")
    pool.engine.begins("j.1", BEGIN + 1.5)
    pool.orders(*fresh)
    pool.passes(1)
    assert pool.engine.stopped[0] == ("j.1", 5.0)
    pool.engine.ends("j.1", BEGIN + 4, 143)
    pool.passes(2)
    assert pool.charged() == [("j", 1, 1.5, 4, Cause.RESIZED if fresh else Cause.CANCELLED)]


def test_a_gang_of_whose_start_nobody_heard_keeps_its_seats(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as lost:
        _unheard(pool, lost)
        pool.orders(wanted())
    seats = pool.agent.known["j"].seats
    assert seats
    pool.passes(1)
    assert (pool.state()[0], pool.agent.known["j"].run, pool.agent.known["j"].seats) == (JobState.STARTING, 1, seats)


def test_what_its_engine_lost_is_charged_to_the_last_look_and_started_anew(pool: Pool) -> None:
    """When it died nobody knows; what was seen last was seen to be held."""
    pool.orders(wanted())
    pool.engine.begins("j.1", BEGIN + 2)
    pool.passes(2)
    seen = pool.now
    pool.engine.gangs.clear()
    pool.passes(30)
    pool.passes(1)
    pool.passes(1)
    assert pool.agent.known["j"].run == 2
    job, run, begin, end, cause = pool.charged()[0]
    assert (job, run, begin, cause) == ("j", 1, 2, Cause.NODE_LOST)
    assert end <= seen - BEGIN + 31


def test_what_its_engine_loses_before_it_began_is_tried_ever_more_seldom_and_says_so(pool: Pool) -> None:
    """Whatever stands in its way, in an hour it is not tried a thousand times; it costs nothing, and once it has begun all is forgotten."""
    pool.orders(wanted())
    for _ in range(1800):
        pool.engine.gangs.clear()
        pool.passes(1)
    tries = pool.agent.known["j"].run
    assert 20 < tries < 45
    state, reason = pool.state()
    assert state in (JobState.WAITING, JobState.STARTING)
    while state is not JobState.WAITING:
        pool.engine.gangs.clear()
        pool.passes(1)
        state, reason = pool.state()
    pool.passes(1)
    assert "lost it before it began (tries: " in pool.state()[1], reason
    while pool.state()[0] is JobState.WAITING:
        pool.passes(1)
    name = pool.agent.known["j"].gang
    pool.engine.begins(name, pool.now)
    pool.passes(2)
    assert pool.state() == (JobState.RUNNING, "")
    assert pool.charged() == []
    assert not pool.agent._stillborn


def test_ray_s_foreman_is_reached_however_long_the_path_to_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's address has room for 107 octets (unix(7)), and a state folder may take all of them."""
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("foreman.sock")
        listening.listen()

        def answer() -> None:
            with listening.accept()[0] as line, line.makefile("rwb") as both:
                assert json.loads(both.readline()) == {"do": "list"}
                both.write(b'{"gangs": {"j.1": {"state": "running"}}}\n')

        answering = threading.Thread(target=answer)
        answering.start()
        assert Ray(deep / "foreman.sock").seen() == {"j.1": True}
        answering.join()


def test_an_engine_that_is_away_for_a_while_loses_nothing(pool: Pool) -> None:
    """That it does not answer says nothing of the gang."""
    pool.orders(wanted())
    pool.engine.begins("j.1", BEGIN + 2)
    pool.passes(2)
    pool.engine.down = True
    pool.passes(30)
    assert pool.state()[0] is JobState.RUNNING
    assert pool.agent.trouble == "is not up"
    pool.engine.down = False
    pool.passes(1)
    pool.engine.ends("j.1", BEGIN + 40)
    pool.passes(10)
    assert pool.charged() == [("j", 1, 2, 40, Cause.FINISHED)]


def test_one_rank_that_fails_fails_the_job_by_name(pool: Pool) -> None:
    pool.orders(wanted(ranks=2))
    pool.engine.begins("j.1", BEGIN + 2)
    pool.passes(2)
    pool.engine.ends("j.1", BEGIN + 9, 143)
    (pool.engine.gangs["j.1"].records / "1.ended").write_text(f"3 {BEGIN + 8:.3f}")
    pool.passes(10)
    assert pool.state() == (JobState.FAILED, "rank 1 ended with status 3")
    assert {cause for *_, cause in pool.charged()} == {Cause.FAILED}


@pytest.mark.parametrize(
    "line", ['{"saved": true, "done": "half"}', '{"saved": true, "done": null}', '{"saved": true, "done": 1e400}', "[" * 4000]
)
def test_whatever_a_job_says_of_its_progress_others_go_on(pool: Pool, line: str) -> None:
    pool.orders(wanted())
    pool.engine.begins("j.1", BEGIN + 2)
    pool.passes(2)
    (pool.engine.gangs["j.1"].records / "0.progress").write_text(line + "\n")
    pool.passes(1)
    pool.agent.tell(pool.now)
    assert pool.state()[0] is JobState.RUNNING


@pytest.mark.parametrize(("record", "content"), [("ended", b"x y"), ("ended", b"0 179568"), ("began", b"179568000"), ("began", b"\xff")])
def test_a_record_that_is_not_whole_counts_as_not_there(pool: Pool, record: str, content: bytes) -> None:
    pool.orders(wanted())
    (pool.engine.gangs["j.1"].records / f"0.{record}").write_bytes(content)
    pool.passes(1)
    assert pool.state()[0] is JobState.STARTING
    assert not pool.meter.held


def test_a_rank_that_ended_without_having_begun_is_charged_nothing(pool: Pool) -> None:
    pool.orders(wanted())
    pool.engine.ends("j.1", BEGIN + 3, 127)
    pool.passes(5)
    assert pool.state()[0] is JobState.FAILED
    assert sum(end - begin for _, _, begin, end, _ in pool.charged()) == 0


def test_a_gang_that_only_says_it_has_ended_is_ended(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job can write its own records; its engine knows better, and it is not forgotten before it is gone."""
    monkeypatch.setattr(pool.engine, "forget", lambda name: None)
    pool.orders(wanted())
    pool.engine.begins("j.1", BEGIN + 2)
    pool.passes(2)
    pool.engine.ends("j.1", BEGIN + 4)
    pool.passes(2)
    assert pool.state()[0] is JobState.FINISHED
    pool.orders()
    pool.passes(6)
    assert pool.engine.stopped[-1] == ("j.1", 0.0)
    assert "j" in pool.agent.known
    pool.engine.gangs.clear()
    pool.passes(6)
    assert "j" not in pool.agent.known


def test_a_deal_s_jobs_have_no_more_devices_at_once_than_it_has(pool: Pool) -> None:
    pool.orders(wanted("a", ranks=2, lots=2))
    pool.orders(wanted("a", ranks=2, lots=2), wanted("b", lots=2))
    assert pool.state("a")[0] is JobState.STARTING
    assert pool.state("b") == (JobState.WAITING, "next in turn: 1 device asked for, 0 of 2 not held by those before it")


def test_only_who_can_save_itself_makes_room(pool: Pool) -> None:
    """Of two that are less urgent, the one without a checkpoint stays."""
    pool.orders(wanted("a", ranks=6, grace_seconds=None, lots=99), wanted("b", ranks=6, lots=99))
    for name in ("a.1", "b.1"):
        pool.engine.begins(name, BEGIN + 2)
    pool.passes(2)
    pool.orders(
        wanted("a", ranks=6, grace_seconds=None, lots=99), wanted("b", ranks=6, lots=99), wanted("urgent", priority=9, ranks=4, lots=99)
    )
    assert pool.state("a")[0] is JobState.RUNNING
    assert pool.state("b") == (JobState.STOPPING, "makes room for urgent")


def test_nobody_s_lots_are_taken_back_for_another_deal(pool: Pool) -> None:
    """However urgent: they were paid for. A job of the same deal goes, though the pool has devices left."""
    pool.orders(wanted("theirs", deal="other", ranks=6, lots=6), wanted("ours", ranks=6, lots=6))
    for name in ("theirs.1", "ours.1"):
        pool.engine.begins(name, BEGIN + 2)
    pool.passes(2)
    pool.orders(
        wanted("theirs", deal="other", ranks=6, lots=6), wanted("ours", ranks=6, lots=6), wanted("urgent", ranks=2, lots=6, priority=9)
    )
    assert pool.state("theirs")[0] is JobState.RUNNING
    assert pool.state("ours") == (JobState.STOPPING, "makes room for urgent")


def a_probe(**fields: Any) -> dict[str, Any]:
    return wanted("q", **{"deal": "probe/q", "hours": [[0, 2**40]], "ranks": 12, "grace_seconds": None, "priority": 1000, **fields})


def test_a_probe_makes_room_for_whoever_has_a_deal(pool: Pool) -> None:
    """However urgent it says it is, and though it cannot save itself; and it does not come back before that job is done."""
    pool.orders(a_probe())
    pool.engine.begins("q.1", BEGIN + 2)
    pool.passes(2)
    pool.orders(a_probe(), wanted(priority=-1000))
    assert pool.state("q") == (JobState.STOPPING, "makes room for j")
    pool.engine.ends("q.1", pool.now, 143)
    pool.passes(1)
    assert (pool.state("q")[0], pool.state("j")[0]) == (JobState.WAITING, JobState.STARTING)


def test_a_probe_does_not_run_for_long(pool: Pool) -> None:
    pool.orders(a_probe())
    pool.engine.begins("q.1", BEGIN + 2)
    pool.passes(590)
    assert pool.state("q")[0] is JobState.RUNNING
    pool.passes(15)
    assert pool.state("q") == (JobState.STOPPING, "a probe runs for 10 minutes at most")


def test_a_list_that_goes_missing_stops_nobody(pool: Pool) -> None:
    pool.orders(wanted())
    pool.engine.begins("j.1", BEGIN + 2)
    (pool.here / "list").unlink()
    pool.passes(5)
    assert pool.state()[0] is JobState.RUNNING
    (pool.here / "list").write_text("torn")
    pool.passes(5)
    assert pool.state()[0] is JobState.RUNNING
    assert "cannot be read" in pool.agent.trouble


def test_what_no_machine_has_room_for_is_refused_and_holds_up_nobody(pool: Pool) -> None:
    pool.orders(wanted("wide", ranks=5, together="node"), wanted("a"))
    words = "not even in the empty pool: one machine has room for 4 of 5 workers, and none starts without the others"
    assert pool.state("wide") == (JobState.REFUSED, words)
    assert pool.state("a")[0] is JobState.STARTING


def test_a_job_is_told_its_place_in_the_queue(pool: Pool) -> None:
    """In the words of the queue, and in the agent's own state, where people look."""
    pool.orders(wanted("a", ranks=2, lots=3, grace_seconds=None), wanted("b", ranks=2, lots=3), wanted("c", ranks=2, lots=3))
    pool.agent.tell(pool.now)
    said = json.loads((pool.here / "state").read_text())["jobs"]
    assert [said[job]["position"] for job in "abc"] == [None, 1, 2]
    assert said["b"]["reason"] == "next in turn: 2 devices asked for, 1 of 3 not held by those before it"
    assert said["c"]["reason"] == "behind b: 2 devices asked for, 1 idle meanwhile"


def test_an_agent_that_was_killed_seats_and_orders_as_it_would_have(tmp_path: Path) -> None:
    """In the midst of a preemption, and after every step of what follows: one that comes back decides what the one that lived decides."""

    def course(here: Path, *, killed: bool) -> list[Any]:
        here.mkdir()
        pool, told = Pool(here), []

        def again() -> None:
            nonlocal pool
            told.append(sorted((e.wanted.job, e.state, e.run, e.seats, e.reason) for e in pool.agent.known.values()))
            if killed:
                pool.meter.close()
                engine, now = pool.engine, pool.now
                pool = Pool(here)
                pool.agent.engine = pool.engine = engine
                pool.now = now
                pool.agent.recall()

        first = [wanted("a", ranks=3, lots=8), wanted("b", devices=4, lots=8, together="node"), wanted("t", ranks=2, deal="e", lots=4)]
        later = [wanted("half", ranks=3, devices=0.5, deal="e", lots=4), wanted("urgent", devices=4, lots=8, priority=9, together="node")]
        pool.orders(*first)
        again()
        for name in ("a.1", "b.1", "t.1"):
            pool.engine.begins(name, pool.now)
        pool.passes(1)
        again()
        pool.orders(*first, *later)
        again()
        stopping = [name for name, each in pool.agent.known.items() if each.state is JobState.STOPPING]
        assert stopping
        for name in stopping:
            pool.engine.ends(f"{name}.1", pool.now, 143)
        for _ in range(4):
            pool.passes(1)
            again()
        pool.engine.begins("urgent.1", pool.now)
        pool.engine.ends("urgent.1", pool.now + 1)
        for _ in range(4):
            pool.passes(1)
            again()
        assert all(each.run == 2 for each in pool.agent.known.values() if each.wanted.job in stopping)
        pool.meter.close()
        return told

    for lived, back in zip(course(tmp_path / "lived", killed=False), course(tmp_path / "killed", killed=True), strict=True):
        assert lived == back


def test_the_agent_is_delivered_with_all_that_it_imports(tmp_path: Path) -> None:
    """On a pool's machine there is Debian's python3: no nnix, no NumPy, no compiler. What is laid there seats a gang all the same."""
    for path, source in JOBS.files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(source.read_bytes())
    words = (
        f"import sys, {JOBS.module} as agent; from nnix.planes.compute.place.values import Demand, Node; "
        "from nnix.planes.compute.place.fleet import Fleet; fleet = Fleet([Node('n', 'a', 2, 4000, 4096)]); "
        "print(agent.__file__, len(fleet.gang(['x', 'y'], Demand(1000, 1, 1))), 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", words], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{tmp_path}/nnix/planes/compute/serve.py 2 False\n", done.stderr


def gang(**fields: Any) -> Gang:
    given: dict[str, Any] = {
        "name": "j.1",
        "ranks": 4,
        "argv": ("python3", "train.py", "it's"),
        "env": {"NNIX_JOB": "j", "PATH": "/bin"},
        "folder": Path("/jobs/j"),
        "records": Path("/jobs/j/1"),
        "devices": 2.0,
        "cpus": 8,
        "memory_gigabytes": 64,
        "nodes": ("n1", "n1", "n2", "n2"),
        "seats": ("0,1", "2,3", "8,9", "10,11"),
        "visible": "CUDA_VISIBLE_DEVICES",
        "together": Together.POOL,
    }
    return Gang(**{**given, **fields})


def test_a_folder_with_blanks_is_one_word_to_slurm() -> None:
    lines = batch(gang(folder=Path("/my jobs/j"), records=Path("/my jobs/j/1"))).splitlines()
    assert "#SBATCH '--chdir=/my jobs/j'" in lines
    assert "#SBATCH '--output=/my jobs/j/1/batch.log'" in lines


def test_no_device_of_the_machine_is_given_to_two(pool: Pool) -> None:
    """Nodes are parts of one machine: the first device of the second is not that of the first."""
    pool.orders(wanted("a", devices=4, deal="d1"), wanted("b", ranks=2, devices=2, deal="d2"))
    given = [env_of(each, rank) for each in pool.engine.gangs.values() for rank in range(each.ranks)]
    assert [each["NNIX_DEVICES"] for each in given] == ["8,9,10,11", "0,1", "2,3"]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in given] == ["8,9,10,11", "0,1", "2,3"]


@pytest.mark.parametrize(("rank", "devices"), [(0, "0,1"), (3, "10,11")])
def test_a_rank_in_slurm_is_told_its_own_devices(tmp_path: Path, rank: int, devices: str) -> None:
    argv = [
        "sh",
        "-c",
        RANK,
        str(tmp_path),
        " ".join(gang().seats),
        "CUDA_VISIBLE_DEVICES",
        "sh",
        "-c",
        'echo "$NNIX_DEVICES $CUDA_VISIBLE_DEVICES"',
    ]
    subprocess.run(argv, env={"PATH": "/usr/bin:/bin", "SLURM_PROCID": str(rank)}, check=True, timeout=60)
    assert (tmp_path / f"{rank}.log").read_text() == f"{devices} {devices}\n"
    assert {each.suffix for each in tmp_path.iterdir()} == {".began", ".ended", ".log"}


@pytest.mark.parametrize(("device", "files"), [("nvidia/l20", "/dev/nvidia{}"), ("amd/mi300", "/dev/dri/renderD{}")])
def test_in_slurm_s_configuration_each_device_stands_once(device: str, files: str) -> None:
    nodes = [{"name": "n1", "devices": 2}, {"name": "n2", "devices": 2}]
    pool = {**RIGHT["Pool/gpus"], "engine": "slurm", "device": device, "devices": 4, "nodes": nodes}
    given = snapshot({"Exchange/lab": {"lab": False}, "Pool/gpus": pool})
    text = next(each.content.decode() for each in compile(given, Evidence()) if each.key == ("gpus", "slurm", "gpus"))
    first = 128 if device.startswith("amd") else 0
    found = [line.rpartition("File=")[2] for line in text.splitlines() if line.startswith("#! gres")]
    assert found == [files.format(first + index) for index in range(4)]


def test_slurm_is_asked_for_the_nodes_on_which_the_gang_was_seated() -> None:
    lines = batch(gang()).splitlines()
    for wish in ("--nodes=2", "--nodelist=n1,n2", "--ntasks=4", "--gpus-per-task=2", "--mem=128000M", "--job-name=j.1"):
        assert f"#SBATCH {wish}" in lines
    assert lines[-1].endswith("""/jobs/j/1 '0,1 2,3 8,9 10,11' CUDA_VISIBLE_DEVICES python3 train.py 'it'"'"'s'""")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", Refused),
        ("sbatch: error: Batch script contains DOS line breaks (\\r\\n)", Refused),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", Down),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", Down),
        ("sbatch: error: If munged is up, restart with --num-threads=10", Down),
    ],
)
def test_what_slurm_says_of_a_job_is_about_that_job(monkeypatch: pytest.MonkeyPatch, words: str, error: type[Exception]) -> None:
    """And would be said for ever: taken for Slurm's own trouble, it would hold up everybody else's."""

    def answers(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, int(argv[0] == "sbatch"), "", words)

    monkeypatch.setattr(subprocess, "run", answers)
    with pytest.raises(error, match="Slurm: sbatch"):
        Slurm(Path("slurm.conf")).start(gang())


@pytest.mark.parametrize("device", ["nvidia/h100", "huawei/ascend-910b", "nobody/knows-2"])
def test_a_manifest_keeps_to_kubernetes_own_schema(device: str) -> None:
    """The published schema of Kubernetes 1.37, where an unknown field is an error too; no cluster is at hand."""
    said = manifest(gang(image="registry.example/train:1"), device)
    kubernetes_validate.validate(said, "1.37", strict=True)
    assert said["spec"]["completions"] == said["spec"]["parallelism"] == 4
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**said, "spec": {**said["spec"], "gangs": 4}}, "1.37", strict=True)


@pytest.mark.parametrize(("fields", "words"), [({}, "no image"), ({"image": "x", "devices": 0.5}, "a part of a device")])
def test_what_a_cluster_cannot_run_is_refused_by_name(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        manifest(gang(**fields), GPU)


def test_the_agent_can_read_every_job_that_compile_lists() -> None:
    """Both ends of the list agree; and the order of resources changes nothing."""
    found = {each.key: each.content for each in compile(snapshot({}), Evidence())}
    listed = json.loads(found["gpus", "document", "jobs-gpus"].partition(b"\n")[2])["jobs"]
    jobs = {each["job"]: Wanted.of(each) for each in listed}
    assert set(jobs) == {"train", "speed"}
    assert jobs["train"].ranks == 8
    assert jobs["train"].hours == tuple((BEGIN + index * HOUR, BEGIN + (index + 1) * HOUR) for index in (2, 3))
    again = {each.key: each.content for each in compile(type(snapshot({}))(reversed(list(snapshot({})))), Evidence())}
    assert again == found


def test_a_pool_with_slurm_has_one_with_all_its_nodes() -> None:
    pool = {**RIGHT["Pool/gpus"], "engine": "slurm"}
    found = {each.key: each.content.decode() for each in compile(snapshot({"Pool/gpus": pool}), Evidence())}
    text = found["gpus", "slurm", "gpus"]
    assert "NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=6819 CPUs=96 RealMemory=1000 Gres=gpu:8" in text
    assert "#! gres NodeName=n2 Name=gpu File=@HOME@/devices/n2-7" in text
    assert ("gpus", "ray", "gpus") not in found


def test_an_engine_is_there_while_something_of_its_pool_is_sold() -> None:
    """The agent, which has the meter, always is."""
    found = {each.key for each in compile(snapshot({}), Evidence())}
    assert {("gpus", "ray", "gpus"), ("gpus", "jobs", "gpus"), ("npus", "jobs", "npus")} <= found
    assert ("npus", "ray", "npus") not in found
    sold: Changes = {"Deal/npus-1": {**RIGHT["Deal/train-1"], "pool": "npus", "offer": "npus-day"}, "Pool/gpus": {"probes": False}}
    assert ("npus", "ray", "npus") in {each.key for each in compile(snapshot(sold), Evidence())}
    over: Changes = {"Deal/train-1": {"state": "released"}, "Pool/gpus": {"probes": False}}
    assert ("gpus", "ray", "gpus") not in {each.key for each in compile(snapshot(over), Evidence())}
