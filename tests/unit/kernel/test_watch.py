"""Haste on paper: what goes is put back before the next look, and what goes on purpose, or under another's hands, is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nnix.daemons.paper import PaperDriver
from nnix.hosts.paper import PaperHost
from nnix.kernel.apply import Office
from nnix.kernel.change import Book
from nnix.kernel.drive import World
from nnix.kernel.evidence import Evidence
from nnix.kernel.loop import DriveLock, Loop
from nnix.kernel.vault import Vault
from nnix.kernel.watch import HASTE_BURST, HASTE_PER_SECOND, Haste
from nnix.kernel.world import Failed, Following, Host, Lost, Unreachable

from .toy import KINDS, TOY, Library, shelf, volume, wanted

PATH = "paper/books"
WHOLE = b"shelf 1\ntides 3"


@dataclass(frozen=True, slots=True)
class Telling(PaperDriver):
    """A paper driver whose machine tells which books are taken from the shelf; it puts them back line by line."""

    async def watch(self, host: Host) -> AsyncGenerator[Collection[Lost], None]:
        assert isinstance(host, Following)
        async with aclosing(host.follow(["tell"])) as told:
            async for lines in told:
                yield frozenset((line,) for line in lines)

    def heeds(self, wanted: bytes) -> bool:
        return b"\n" in wanted

    def concerned(self, wanted: bytes, lost: Collection[Lost]) -> frozenset[Lost]:
        return frozenset(each for each in lost if each[0].encode() in wanted.splitlines())

    async def put_back(self, host: Host, wanted: bytes, lost: Collection[Lost]) -> str:
        there = (await host.get([PATH]))[PATH]
        if there is None:
            raise Failed(f"{host.name}: there is no shelf to put it on")
        gone = [line for (line,) in sorted(lost) if line.encode() not in there.splitlines()]
        await host.put({PATH: b"\n".join([*there.splitlines(), *(line.encode() for line in gone)])})
        return "; ".join(f"{line} is missing" for line in gone)


@dataclass
class Kept:
    """A library that is kept by a loop which looks once an hour, and listens."""

    library: Library
    office: Office
    loop: Loop
    said: list[str] = field(default_factory=list)

    def host(self, machine: str) -> PaperHost:
        return self.library.shelves.hosts[machine]

    def take(self, machine: str, line: str) -> None:
        """A book is taken from the shelf, and the shelf tells."""
        host = self.host(machine)
        host.files[PATH] = b"\n".join(each for each in host.files[PATH].splitlines() if each != line.encode())
        host.printed.put_nowait([line])

    def apply(self, *resources: object) -> None:
        made = self.office.draft(wanted(self.office, *resources), Evidence())  # type: ignore[arg-type]
        assert asyncio.run(self.office.apply(made, "a test")).verified

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(self.loop.run(stop))
        try:
            async with asyncio.timeout(10):
                while not (self.library.folder / "loop.json").exists():  # noqa: ASYNC110 - the first look leaves it
                    await asyncio.sleep(0.005)
                yield
        finally:
            stop.set()
            await asyncio.wait_for(task, 5)

    async def until(self, holds: object) -> None:
        async with asyncio.timeout(5):
            while not holds():  # type: ignore[operator]  # noqa: ASYNC110 - a machine on paper sends no events
                await asyncio.sleep(0.005)

    def drift(self) -> list[str]:
        return [str(each.body["found"]) for each in self.office.book.ledger.entries() if each.what == "drift"]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    library = Library(tmp_path)
    with library.ledger() as ledger:
        world = World(library.shelves, {"guard": PaperDriver("guard"), "paper": Telling()}, guards=frozenset({"guard"}))
        office = Office(Book(ledger, KINDS), Vault(tmp_path / "vault"), (TOY,), world, library.clock, "librarian")
        said: list[str] = []
        kept = Kept(library, office, Loop(office, DriveLock(tmp_path / "lock"), tmp_path / "loop.json", said.append, 3600.0), said)
        kept.apply(shelf("a"), shelf("b"), volume("tides", "a"))
        yield kept


def test_what_goes_is_put_back_before_the_next_look_and_recorded(kept: Kept) -> None:
    """Again and again; it is drift like any other. What was not wanted is not missed."""

    async def work() -> None:
        async with kept.running():
            for _ in range(3):
                kept.take("a", "tides 3")
                await kept.until(lambda: kept.host("a").files[PATH] == WHOLE)
            kept.host("a").printed.put_nowait(["winds 9"])
            kept.take("a", "tides 3")
            await kept.until(lambda: kept.host("a").files[PATH] == WHOLE)

    asyncio.run(work())
    assert kept.drift() == ["tides 3 is missing"] * 4
    assert kept.said == ["a/paper/books: tides 3 is missing; put back at once"] * 4
    assert not kept.office.book.ledger.verify()


def test_only_where_a_machine_would_tell_is_listened(kept: Kept) -> None:
    """b has no books, so there is nothing to hear of; and when the loop stops, nobody listens any more."""

    async def work() -> None:
        async with kept.running():
            await kept.until(lambda: ("tell",) in kept.host("a").ran)
        kept.take("a", "tides 3")
        await asyncio.sleep(0.05)
        assert kept.host("a").files[PATH] == b"shelf 1"

    asyncio.run(work())
    assert ("tell",) not in kept.host("b").ran


def test_what_a_change_takes_away_stays_away(kept: Kept) -> None:
    """It goes while the change drives; when the world is free again, the model no longer has it."""

    async def work() -> None:
        async with kept.running():
            await kept.until(lambda: ("tell",) in kept.host("a").ran)
            async with kept.loop.lock.held():
                kept.take("a", "tides 3")
                await asyncio.sleep(0.05)  # it is heard, and the world is waited for
                made = kept.office.draft(wanted(kept.office, shelf("a"), shelf("b"), volume("winds", "b")), Evidence())
                assert (await kept.office.apply(made, "a change")).verified
            kept.host("a").printed.put_nowait(["tides 3"])
            await asyncio.sleep(0.1)

    asyncio.run(work())
    assert kept.host("a").files[PATH] == b"shelf 1"
    assert kept.drift() == []


def test_a_change_under_way_is_not_meddled_with(kept: Kept) -> None:
    """Recorded and not brought about: whoever settles it drives everything."""

    async def work() -> None:
        async with kept.running():
            await kept.until(lambda: ("tell",) in kept.host("a").ran)
            kept.office.record(
                kept.office.draft(wanted(kept.office, shelf("a"), volume("tides", "a", 4)), Evidence()), "killed here", drive=True
            )
            kept.take("a", "tides 3")
            kept.host("a").printed.put_nowait(["tides 4"])
            await asyncio.sleep(0.1)

    asyncio.run(work())
    assert kept.host("a").files[PATH] == b"shelf 1"


def test_what_cannot_be_put_back_brings_the_next_look_at_once(kept: Kept) -> None:
    """The shelf itself is gone: a look finds that, and makes it with all that was on it."""

    async def work() -> None:
        async with kept.running():
            await kept.until(lambda: ("tell",) in kept.host("a").ran)
            del kept.host("a").files[PATH]
            kept.host("a").printed.put_nowait(["tides 3"])
            await kept.until(lambda: kept.host("a").files.get(PATH) == WHOLE)

    asyncio.run(work())
    assert kept.drift() == ["not there"]


def test_a_machine_that_was_lost_is_listened_to_again(kept: Kept) -> None:
    """It breaks off, stays away for a while, and comes back; the other listeners do not notice."""

    async def work() -> None:
        async with kept.running():
            await kept.until(lambda: ("tell",) in kept.host("a").ran)
            kept.host("a").unreachable = "no light"
            kept.host("a").printed.put_nowait(["tides 3"])
            await asyncio.sleep(0.05)
            kept.host("a").unreachable = ""
            await kept.until(lambda: kept.host("a").ran.count(("tell",)) == 2)
            kept.take("a", "tides 3")
            await kept.until(lambda: kept.host("a").files[PATH] == WHOLE)

    asyncio.run(work())


def test_what_goes_too_often_is_left_to_looks() -> None:
    """Two programs that fight do so, after a while, about as fast as looks come round; when there was peace, haste is allowed again."""
    haste, now = Haste(), 1000.0
    assert [haste.allowed(now) for _ in range(HASTE_BURST + 1)] == [True] * HASTE_BURST + [False]
    allowed = sum(haste.allowed(now + 0.01 * each) for each in range(1, 10_000))
    assert round(100 * HASTE_PER_SECOND) - 1 <= allowed <= round(100 * HASTE_PER_SECOND) + 1
    now += 100 + HASTE_BURST / HASTE_PER_SECOND
    assert [haste.allowed(now) for _ in range(HASTE_BURST + 1)] == [True] * HASTE_BURST + [False]


def test_who_puts_back_no_faster_than_he_may_loses_nothing(kept: Kept) -> None:
    """After HASTE_BURST times in a row the shelf stays as it is, until somebody looks."""

    async def work() -> None:
        async with kept.running():
            await kept.until(lambda: ("tell",) in kept.host("a").ran)
            kept.loop._haste["a", "paper"] = Haste(2.0, asyncio.get_running_loop().time())
            for _ in range(2):
                kept.take("a", "tides 3")
                await kept.until(lambda: kept.host("a").files[PATH] == WHOLE)
            kept.take("a", "tides 3")
            await asyncio.sleep(0.1)
            assert kept.host("a").files[PATH] == b"shelf 1"
            await kept.loop.sweep()
            assert kept.host("a").files[PATH] == WHOLE

    asyncio.run(work())
    assert len(kept.drift()) == 3


def test_behind_a_guard_that_is_not_in_place_nothing_is_put_back(kept: Kept) -> None:
    """An open door is worse than a closed one."""

    async def work() -> None:
        async with kept.running():
            await kept.until(lambda: ("tell",) in kept.host("a").ran)
            kept.loop._patience.setdefault(("a", "guard", "books"), type(kept.loop._settling)())
            kept.take("a", "tides 3")
            await asyncio.sleep(0.1)
            assert kept.host("a").files[PATH] == b"shelf 1"

    asyncio.run(work())


def test_a_machine_that_is_never_there_costs_nobody_anything(kept: Kept) -> None:
    """Its listener tries again and again; the loop keeps the others, and stops when it is told to."""
    kept.host("a").unreachable = "no light"

    async def work() -> None:
        async with kept.running():
            await asyncio.sleep(0.3)
        with pytest.raises(Unreachable):
            async with aclosing(Telling().watch(kept.host("a"))) as told:
                await anext(told)

    asyncio.run(work())
    assert any("no light" in line for line in kept.said)
