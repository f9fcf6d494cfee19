"""The loop on paper: what drifted is put right and recorded, what cannot be mended is left alone for a while, and holds up nobody."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nnix.kernel.apply import Office
from nnix.kernel.drive import Outcome
from nnix.kernel.evidence import Evidence
from nnix.kernel.ledger import Entry
from nnix.kernel.loop import BACKOFF_SECONDS_MAX, DriveLock, Loop
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refused
from nnix.kernel.world import Failed

from .toy import Library, shelf, volume, wanted

PATH = "paper/books"


@dataclass
class Kept:
    """A library with its loop, and a clock for the loop's patience that the test turns."""

    library: Library
    office: Office
    loop: Loop
    said: list[str] = field(default_factory=list)
    now: float = 1000.0

    def sweep(self) -> list[tuple[str, str, str]]:
        """One look: (machine, found, failure) of all that was mended or failed."""
        return [(each.key[0], each.found, each.failure) for each in asyncio.run(self._sweep())]

    async def _sweep(self) -> tuple[Outcome, ...]:
        asyncio.get_running_loop().time = lambda: self.now  # type: ignore[method-assign]
        return await self.loop.sweep()

    def files(self, machine: str) -> dict[str, bytes]:
        return self.library.shelves.hosts[machine].files

    def drift(self) -> list[Entry]:
        return [each for each in self.office.book.ledger.entries() if each.what == "drift"]

    def apply(self, *resources: Resource) -> None:
        made = self.office.draft(wanted(self.office, *resources), Evidence())
        assert asyncio.run(self.office.apply(made, "a test")).verified


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    library = Library(tmp_path)
    with library.ledger() as ledger:
        office = library.office(ledger)
        said: list[str] = []
        kept = Kept(library, office, Loop(office, DriveLock(tmp_path / "lock"), tmp_path / "loop.json", said.append), said)
        kept.apply(shelf("a"), shelf("b"), volume("tides", "a"))
        yield kept


def test_a_world_that_agrees_is_left_alone(kept: Kept) -> None:
    """Nothing is written, nothing is recorded, and the status says that nothing differs."""
    written = {name: list(host.written) for name, host in kept.library.shelves.hosts.items()}
    assert kept.sweep() == []
    assert {name: host.written for name, host in kept.library.shelves.hosts.items()} == written
    assert kept.drift() == []
    assert json.loads((kept.library.folder / "loop.json").read_text()) == {
        "pid": os.getpid(),
        "change": 1,
        "different": {},
        "resources": {},
    }


@pytest.mark.parametrize(("damage", "found"), [(b"shelf 1\nwinds 9", "differs from what is wanted"), (None, "not there")])
def test_drift_is_found_put_right_and_recorded_with_what_was_found(kept: Kept, damage: bytes | None, found: str) -> None:
    """A hand edit and a loss are one case; the other machine is not touched."""
    if damage is None:
        del kept.files("a")[PATH]
    else:
        kept.files("a")[PATH] = damage
    before = list(kept.library.shelves.hosts["b"].written)

    assert kept.sweep() == [("a", found, "")]

    assert kept.files("a")[PATH] == b"shelf 1\ntides 3"
    assert kept.library.shelves.hosts["b"].written == before
    (entry,) = kept.drift()
    assert entry.body == {"artifact": ["a", "paper", "books"], "found": found, "failure": ""}
    assert kept.said == [f"a/paper/books: {found}; put right"]
    assert kept.sweep() == []
    assert not kept.office.book.ledger.verify()


def test_a_machine_that_fails_is_tried_again_with_growing_pauses(kept: Kept) -> None:
    """After 1, 2, 4 … seconds, never more than a minute apart; in between it is only looked at."""
    kept.library.shelves.hosts["b"].unreachable = "no light"
    pauses = []
    last: float | None = None
    for _ in range(2500):
        if kept.sweep():
            if last is not None:
                pauses.append(kept.now - last)
            last = kept.now
        kept.now += 0.1
    assert [round(pause) for pause in pauses] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert BACKOFF_SECONDS_MAX == 60


def test_a_machine_that_stays_broken_does_not_fill_the_ledger(kept: Kept) -> None:
    """Its failure is recorded once; when it comes back, that is recorded as well, and patience begins anew."""
    kept.library.shelves.hosts["b"].unreachable = "no light"
    for _ in range(100):
        kept.sweep()
        kept.now += 10
    assert [(each.body["failure"], each.body["artifact"][0]) for each in kept.drift()] == [("b: no light", "b")]
    status = json.loads((kept.library.folder / "loop.json").read_text())
    assert "no light" in status["different"]["b/paper/books"]
    assert {each: "no light" in why for each, why in status["resources"].items()} == {"shelf/b": True}

    kept.library.shelves.hosts["b"].unreachable = ""
    kept.files("b").clear()
    kept.now += 60
    assert kept.sweep() == [("b", "not there", "")]
    assert [each.body["failure"] for each in kept.drift()] == ["b: no light", ""]
    kept.files("b").clear()
    assert kept.sweep() == [("b", "not there", "")], "patience is new after a success"


def test_a_failing_machine_does_not_hold_up_the_others(kept: Kept) -> None:
    """b cannot be reached; a is put right at once, in the same look and while b is waited for."""
    kept.library.shelves.hosts["b"].unreachable = "no light"
    for _ in range(3):
        kept.files("a").clear()
        kept.sweep()
        assert kept.files("a")[PATH] == b"shelf 1\ntides 3"
        kept.now += 0.1


def test_one_failure_among_many_artifacts_is_told_with_its_reason(kept: Kept) -> None:
    """A write that fails once is drift with a failure, and is mended when its time comes."""
    host = kept.library.shelves.hosts["a"]
    kept.files("a").clear()
    host.fail_at(host.operations + 4, Failed)  # the loop's look, the look and read of the drive, then the write
    ((machine, _, failure),) = kept.sweep()
    assert (machine, bool(failure)) == ("a", True)
    assert kept.sweep() == [], "it is left alone for a second"
    kept.now += 1.1
    assert kept.sweep() == [("a", "not there", "")]


def test_a_change_left_unsettled_is_settled_and_is_no_drift(kept: Kept) -> None:
    """Recorded, then killed before the world was driven: the loop finishes the change, under the change's own name."""
    made = kept.office.draft(wanted(kept.office, shelf("a"), volume("winds", "a")), Evidence())
    entry = kept.office.record(made, "killed here", drive=True)
    assert not kept.office.book.model().settled

    assert sorted(kept.sweep()) == [("a", "differs from what is wanted", ""), ("b", "is no longer wanted", "")]

    assert kept.files("a")[PATH] == b"shelf 1\nwinds 3"
    assert kept.files("b") == {}
    assert kept.office.book.model().settled
    newest = list(kept.office.book.ledger.entries())[-1]
    assert (newest.what, newest.body["change"]) == ("verified", entry.seq)
    assert kept.drift() == []


def test_a_change_that_cannot_be_settled_is_tried_again_with_patience(kept: Kept) -> None:
    """A machine that stays away while a change is unsettled is not driven in every look, and fills no ledger."""
    made = kept.office.draft(wanted(kept.office, shelf("a"), shelf("b"), volume("winds", "b")), Evidence())
    kept.office.record(made, "killed here", drive=True)
    kept.library.shelves.hosts["b"].unreachable = "no light"
    tries = 0
    for _ in range(100):
        tries += bool(kept.sweep())
        kept.now += 0.1
    assert tries == 4, "at 0, 1, 3 and 7 seconds"
    assert kept.drift() == []
    kept.library.shelves.hosts["b"].unreachable = ""
    kept.now += 60
    kept.sweep()
    assert kept.office.book.model().settled


def test_a_newer_change_is_what_the_loop_keeps_from_then_on(kept: Kept) -> None:
    """It asks the ledger in every look; nobody has to tell it."""
    kept.sweep()
    kept.apply(shelf("a"), shelf("b"), volume("winds", "b"))
    kept.files("b").clear()
    assert kept.sweep() == [("b", "not there", "")]
    assert kept.files("b")[PATH] == b"shelf 2\nwinds 3"


def test_the_loop_runs_until_it_is_stopped(kept: Kept) -> None:
    """Drift that comes while it runs is mended without anybody asking."""

    async def work() -> None:
        stop = asyncio.Event()
        kept.loop.every_seconds = 0.01
        running = asyncio.create_task(kept.loop.run(stop))
        for _ in range(3):
            kept.files("a").clear()
            async with asyncio.timeout(5):
                while kept.files("a").get(PATH) != b"shelf 1\ntides 3":  # noqa: ASYNC110 - a machine sends no events
                    await asyncio.sleep(0.005)
        stop.set()
        await asyncio.wait_for(running, 5)

    asyncio.run(work())
    assert len(kept.drift()) == 3


# --- one driver at a time ---------------------------------------------------------------------------------------------


def test_the_second_holder_waits_until_the_first_lets_go(tmp_path: Path) -> None:
    """In the order in which they came, never both at once."""
    order: list[str] = []

    async def hold(name: str, first: asyncio.Event) -> None:
        async with DriveLock(tmp_path / "lock").held():
            order.append(f"{name} in")
            first.set()
            await asyncio.sleep(0.1)
            order.append(f"{name} out")

    async def work() -> None:
        first = asyncio.Event()
        one = asyncio.create_task(hold("one", first))
        await first.wait()
        await asyncio.gather(one, hold("two", asyncio.Event()))

    asyncio.run(work())
    assert order == ["one in", "one out", "two in", "two out"]


def test_who_waits_too_long_is_told_who_holds_the_world(tmp_path: Path) -> None:
    """TimeoutError names the process."""

    async def work() -> None:
        async with DriveLock(tmp_path / "lock").held():
            with pytest.raises(TimeoutError, match=f"driven by process {os.getpid()}"):
                async with DriveLock(tmp_path / "lock").held(timeout_seconds=0.1):
                    raise AssertionError("two drivers at once")

    asyncio.run(work())


def test_a_holder_that_dies_holds_nothing(tmp_path: Path) -> None:
    """The system frees the lock of a killed process; its number in the file means nothing then."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:

        async def die() -> None:
            async with DriveLock(tmp_path / "lock").held():
                os.write(writing, b"x")
                os.kill(os.getpid(), 9)

        asyncio.run(die())
        os._exit(1)
    os.read(reading, 1)
    os.waitpid(child, 0)

    async def take() -> None:
        async with DriveLock(tmp_path / "lock").held(timeout_seconds=1):
            assert (tmp_path / "lock").read_text() == str(os.getpid())

    asyncio.run(take())


def test_the_loop_drives_only_while_it_holds_the_lock(kept: Kept) -> None:
    """While a change drives, drift is seen and left; afterwards it is mended."""

    async def work() -> None:
        kept.files("a").clear()
        async with kept.loop.lock.held():
            sweeping = asyncio.create_task(kept.loop.sweep())
            await asyncio.sleep(0.2)
            assert kept.files("a") == {}
        await sweeping
        assert kept.files("a")[PATH] == b"shelf 1\ntides 3"

    asyncio.run(work())


def test_a_daemon_that_refuses_its_configuration_refuses_the_change(kept: Kept) -> None:
    """kernel.daemon-accepts: the complaint of the daemon's own parser, before anything is touched."""
    from dataclasses import replace

    made = kept.office.draft(wanted(kept.office, shelf("a"), shelf("b")), Evidence())
    artifacts = {key: replace(each, content=b"!refuse unknown word") for key, each in made.artifacts.items()}
    with pytest.raises(Refused) as refused:
        asyncio.run(kept.office.apply(replace(made, artifacts=artifacts), "a test"))
    assert {(each.rule, each.found) for each in refused.value.refusals} == {("kernel.daemon-accepts", "line 1: unknown word")}
    assert kept.files("a")[PATH] == b"shelf 1\ntides 3"
