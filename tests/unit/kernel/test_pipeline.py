"""The whole pipeline with a toy plane on paper: admitted, planned, applied, verified, undone, and killed at every step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnix.daemons.paper import PaperDriver
from nnix.kernel.apply import Applied, Office, Stale
from nnix.kernel.change import BadPlan, ChangeState, admit, completed, inverse, loaded
from nnix.kernel.drive import ELSEWHERE_AT_ONCE, HERE_AT_ONCE, World, converge
from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Plane
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact, Failed, Host, Unreachable

from .toy import TOY, Library, Shelf, Shelves, compile, shelf, volume, wanted

NOTHING = Evidence()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path)


@pytest.fixture
def office(library: Library) -> Iterator[Office]:
    with library.ledger() as ledger:
        yield library.office(ledger)


def apply(office: Office, *resources: Resource) -> Applied:
    made = office.draft(wanted(office, *resources), NOTHING)
    return asyncio.run(office.apply(made, "a test"))


def test_a_change_reaches_the_world_and_is_verified(library: Library, office: Office) -> None:
    """Declared, admitted, planned, applied: the shelf holds the book, and the ledger says change and verified."""
    done = apply(office, shelf("a"), volume("tides", "a"))

    assert done.verified
    assert library.shelves.hosts["a"].files["paper/books"] == b"shelf 1\ntides 3"
    assert [e.what for e in office.book.ledger.entries()] == ["change", "verified"]
    assert office.book.state(done.entry.seq) is ChangeState.VERIFIED


def test_a_second_application_of_the_same_changes_nothing(office: Office) -> None:
    """What is wanted and what is agree: the plan is empty."""
    apply(office, shelf("a"))
    assert office.draft(wanted(office, shelf("a")), NOTHING).plan.empty


def test_an_application_looks_only_where_its_plan_goes(library: Library, office: Office) -> None:
    """What has drifted elsewhere is the loop's business; `whole` puts it right on the way."""
    apply(office, shelf("a"), shelf("b"))
    library.shelves.hosts["b"].files["paper/books"] = b"scribbled"
    apply(office, shelf("a"), shelf("b"), volume("tides", "a"))
    assert library.shelves.hosts["b"].files["paper/books"] == b"scribbled"
    made = office.draft(wanted(office, shelf("a"), shelf("b")), NOTHING)
    assert asyncio.run(office.apply(made, "a test", whole=True)).verified
    assert library.shelves.hosts["b"].files["paper/books"] == b"shelf 2\n".rstrip()


def test_an_application_on_lost_ground_looks_everywhere(library: Library) -> None:
    """After a reboot, say: what stood on the ground went with it, even where the plan changes the ground itself."""
    with library.ledger() as ledger:
        office = library.office(ledger)
        office.world = replace(office.world, ground=lambda machine: machine == "a")
        apply(office, shelf("a"), shelf("b"))
        for host in library.shelves.hosts.values():
            host.files.clear()
        apply(office, shelf("a"), shelf("b"), volume("tides", "a"))
        assert library.shelves.hosts["b"].files["paper/books"] == b"shelf 2"


def test_what_stands_on_moved_ground_is_looked_at(library: Library) -> None:
    """A cable that is laid anew takes along what stood on it, though the plan does not name that."""
    with library.ledger() as ledger:
        office = library.office(ledger)
        office.world = replace(office.world, ground=lambda machine: machine == "a", shaken=lambda key, old, new: {("b", "paper")})
        apply(office, shelf("a"), shelf("b"))
        library.shelves.hosts["b"].files.clear()
        apply(office, shelf("a"), shelf("b"), volume("tides", "a"))
        assert library.shelves.hosts["b"].files["paper/books"] == b"shelf 2"


@pytest.mark.parametrize("alone", [False, True])
def test_a_change_that_leans_on_nothing_is_driven_without_a_look_at_what_comes_before(library: Library, alone: bool) -> None:
    """Drift of the floor is mended on the way by a change that stands on it; by one that does not, it is left to the loop."""

    class Hanging(PaperDriver):
        def alone(self, old: bytes | None, new: bytes | None) -> bool:
            return alone and old is not None

    def with_floors(snapshot: Snapshot, evidence: Evidence) -> Iterable[Artifact]:
        for each in compile(snapshot, evidence):
            yield from (replace(each, driver="floor", content=b"floor", about=frozenset()), each)

    with library.ledger() as ledger:
        office = library.office(ledger)
        office.world = replace(office.world, drivers={"floor": PaperDriver("floor"), "paper": Hanging()})
        office.planes = (replace(TOY, compile=with_floors),)
        apply(office, shelf("a"))
        library.shelves.hosts["a"].files["floor/books"] = b"scratched"
        apply(office, shelf("a"), volume("tides", "a"))
        assert library.shelves.hosts["a"].files["floor/books"] == (b"scratched" if alone else b"floor")
        assert b"tides" in library.shelves.hosts["a"].files["paper/books"]


def test_after_everything_was_taken_down_the_next_application_looks_everywhere(library: Library, office: Office) -> None:
    """Also where no ground tells of it."""
    apply(office, shelf("a"), shelf("b"))
    asyncio.run(office.take_down(office.book.model().artifacts))
    office.note("down", "taken down", {})
    apply(office, shelf("a"), shelf("b"), volume("tides", "a"))
    assert library.shelves.hosts["b"].files["paper/books"] == b"shelf 2"


def test_what_was_removed_offline_is_taken_away_when_things_are_settled(library: Library, office: Office) -> None:
    """Nothing is left in the world that no model knows of."""
    apply(office, shelf("a"), shelf("b"))
    office.record(office.draft(wanted(office, shelf("a")), NOTHING), "offline", drive=False)
    assert "paper/books" in library.shelves.hosts["b"].files
    asyncio.run(office.settle())
    assert "paper/books" not in library.shelves.hosts["b"].files
    assert office.book.model().brought_about


def test_a_kill_while_a_change_is_taken_back_leaves_it_unsettled(library: Library, office: Office) -> None:
    """The inverse is recorded first; whoever comes next drives it, and takes away what the change had brought."""
    apply(office, shelf("a"), shelf("b"))
    made = office.draft(wanted(office, shelf("a"), volume("tides", "a")), NOTHING)
    entry = office.record(made, "fails half way", drive=True)
    library.shelves.hosts["a"].files["paper/books"] = b"half"
    before = office.book.model_at(entry.seq - 1).snapshot
    office.record(office.draft(before, NOTHING, undoes=entry.seq), "taken back", drive=True)
    assert not office.book.model().settled
    asyncio.run(office.settle())
    assert library.shelves.hosts["a"].files["paper/books"] == b"shelf 1"
    assert library.shelves.hosts["b"].files["paper/books"] == b"shelf 2"


def test_what_a_driver_unsettles_is_looked_at_once_more() -> None:
    """A routing daemon that starts anew takes entries along that another driver had put there."""
    shelves = Shelves()

    class Clearing(PaperDriver):
        async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
            await super().drive(host, name, wanted)
            await host.put({"entries/x": None})

    world = World(shelves, {"entries": PaperDriver("entries"), "daemon": Clearing("daemon")}, unsettled={"daemon": frozenset({"entries"})})
    wish = [Artifact("a", driver, "x", b"1") for driver in ("entries", "daemon")]
    outcomes = asyncio.run(converge(world, {each.key: each for each in wish}))
    assert not any(each.failure for each in outcomes)
    assert shelves.hosts["a"].files["entries/x"] == b"1"


def test_behind_a_guard_that_failed_nothing_is_driven() -> None:
    """An open door is worse than a closed one; other machines are driven as usual."""
    shelves, door, room = Shelves(), PaperDriver("door"), PaperDriver("room")
    world = World(shelves, {"door": door, "room": room}, guards=frozenset({"door"}))
    wish = [Artifact(machine, driver, "x", b"1") for machine in ("a", "b") for driver in ("door", "room")]
    wish[0] = replace(wish[0], content=b"!refuse it jams")
    outcomes = asyncio.run(converge(world, {each.key: each for each in wish}))
    failed = {each.key: each.failure for each in outcomes if each.failure}
    assert set(failed) == {("a", "door", "x"), ("a", "room", "x")}
    assert "not in place" in failed["a", "room", "x"]
    assert "room/x" not in shelves.hosts["a"].files
    assert "room/x" in shelves.hosts["b"].files


def test_machines_whose_daemons_dawdle_begin_first_and_then_those_with_most_to_do() -> None:
    """What a daemon lets pass before it does anything, others can use."""
    begun: list[str] = []

    class Noting(PaperDriver):
        async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
            begun.append(host.name)
            await super().drive(host, name, wanted)

    quick, slow = Noting("quick"), Noting("slow")
    work = {"small": ("quick",), "large": ("quick", "quick"), "sleepy": ("slow",)}
    wish = [Artifact(machine, driver, f"{number}", b"1") for machine, each in work.items() for number, driver in enumerate(each)]
    world = World(Shelves(), {"quick": quick, "slow": slow}, dawdling=frozenset({"slow"}))
    asyncio.run(converge(world, {each.key: each for each in wish}))
    assert list(dict.fromkeys(begun)) == ["sleepy", "large", "small"]


def test_machines_with_processors_of_their_own_wait_for_none_of_those_that_share_ours() -> None:
    """Each of the two sorts has so many driven at once, and no more, whatever the other does."""
    driven: set[str] = set()
    most = {"here": 0, "far": 0}

    class Slow(PaperDriver):
        async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
            driven.add(host.name)
            sort = host.name.split("-")[0]
            most[sort] = max(most[sort], sum(each.startswith(sort) for each in driven))
            await asyncio.sleep(0.01)
            driven.discard(host.name)
            await super().drive(host, name, wanted)

    wish = [Artifact(f"{sort}-{number}", "slow", "x", b"1") for sort in most for number in range(2 * HERE_AT_ONCE + ELSEWHERE_AT_ONCE)]
    world = World(Shelves(), {"slow": Slow("slow")}, elsewhere=lambda machine: machine.startswith("far"))
    asyncio.run(converge(world, {each.key: each for each in wish}))
    assert most == {"here": HERE_AT_ONCE, "far": ELSEWHERE_AT_ONCE}


def test_a_change_after_one_that_was_only_recorded_brings_about_both(library: Library, office: Office) -> None:
    """Recorded offline, nothing driven: the next application must not call the world verified without it."""
    apply(office, shelf("a"), shelf("b"))
    office.record(office.draft(wanted(office, shelf("a"), shelf("b"), volume("winds", "b")), NOTHING), "offline", drive=False)
    assert not office.book.model().driven
    apply(office, shelf("a"), shelf("b"), volume("winds", "b"), volume("tides", "a"))
    assert library.shelves.hosts["b"].files["paper/books"] == b"shelf 2\nwinds 3"
    assert office.book.model().driven


def test_a_change_touches_only_what_depends_on_it(library: Library, office: Office) -> None:
    """A book more on one shelf is no business of the other shelf's machine."""
    apply(office, shelf("a"), shelf("b"))
    before = list(library.shelves.hosts["b"].written)
    made = office.draft(wanted(office, shelf("a"), shelf("b"), volume("tides", "a")), NOTHING)
    assert [each.machine for each in made.plan.actions] == ["a"]
    asyncio.run(office.apply(made, "a test"))
    assert library.shelves.hosts["b"].written == before


def test_what_is_removed_leaves_the_world(library: Library, office: Office) -> None:
    """A shelf that is no longer declared is empty afterwards."""
    apply(office, shelf("a"), shelf("b"))
    apply(office, shelf("a"))
    assert library.shelves.hosts["b"].files == {}


def test_allocated_names_stay(office: Office) -> None:
    """A number that was allocated is kept when others come before it in the alphabet."""
    apply(office, shelf("m"))
    apply(office, shelf("a"), shelf("m"))
    numbers = {each.name: each.number for each in office.book.model().snapshot.of(Shelf)}
    assert numbers == {"m": 1, "a": 2}


def test_a_broken_rule_is_refused_with_rule_field_and_mend(office: Office) -> None:
    """Ninety centimetres of books do not fit eighty."""
    books = [volume(f"v{n}", "a", 45) for n in range(2)]
    with pytest.raises(Refused) as refused:
        wanted(office, shelf("a"), *books)
    (why,) = refused.value.refusals
    assert (why.resource, why.field, why.rule, why.accept) == ("shelf/a", "width_cm", "toy.fits", "at least 90")


def test_a_dangling_reference_is_refused_together_with_broken_rules(office: Office) -> None:
    """All refusals come at once: one book without shelf, and one shelf too full."""
    with pytest.raises(Refused) as refused:
        wanted(office, shelf("a", 5), volume("thick", "a", 9), volume("lost", "nowhere"))
    assert {each.rule for each in refused.value.refusals} == {"toy.fits", "kernel.reference"}


def test_what_is_referred_to_cannot_be_removed(office: Office) -> None:
    """Delete protection: a shelf with a book on it stays."""
    apply(office, shelf("a"), volume("tides", "a"))
    with pytest.raises(Refused) as refused:
        wanted(office, volume("tides", "a"))
    assert refused.value.refusals[0].rule == "kernel.reference"


def test_a_refusal_is_the_only_trace_of_a_refused_change(library: Library, office: Office) -> None:
    """The daemon's own parser says no: nothing is driven, nothing is recorded but the refusal."""
    apply(office, shelf("a"))
    bad = replace(office.draft(wanted(office, shelf("a"), volume("tides", "a")), NOTHING))
    broken = {key: replace(each, content=b"!refuse no such book") for key, each in bad.artifacts.items()}
    with pytest.raises(Refused) as refused:
        asyncio.run(office.apply(replace(bad, artifacts=broken), "a test"))
    office.refuse(refused.value, "a test")
    assert library.shelves.hosts["a"].files["paper/books"] == b"shelf 1"
    assert [e.what for e in office.book.ledger.entries()] == ["change", "verified", "refused"]


def test_a_saved_plan_is_refused_when_the_model_has_moved(office: Office) -> None:
    """The plan of Friday does not fit the library of Monday."""
    apply(office, shelf("a"))
    friday = office.draft(wanted(office, shelf("a"), shelf("b")), NOTHING).plan.saved()
    apply(office, shelf("a"), shelf("c"))
    with pytest.raises(Stale, match="moved"):
        office.redraft(loaded(friday))


def test_a_saved_plan_does_exactly_what_was_planned(office: Office) -> None:
    """Saved, loaded and drafted again, it has the same digest, so it is the plan that was approved."""
    plan = office.draft(wanted(office, shelf("a")), NOTHING).plan
    assert office.redraft(loaded(plan.saved())).plan.digest == plan.digest


def test_an_altered_plan_is_refused(office: Office) -> None:
    """A plan file that was edited after it was saved is not the plan that was approved."""
    saved = office.draft(wanted(office, shelf("a")), NOTHING).plan.saved()
    with pytest.raises(BadPlan, match="altered"):
        loaded(saved.replace('"width_cm": 80', '"width_cm": 81'))
    for nonsense in ("", "{}", "[]", "null", '{"base": 1}'):
        with pytest.raises(BadPlan):
            loaded(nonsense)


def test_undo_takes_back_one_change_and_leaves_later_ones(office: Office) -> None:
    """Change 1 adds a, change 2 adds b: undoing 2 leaves a; undoing a change that was changed again is refused by name."""
    apply(office, shelf("a"))
    second = apply(office, shelf("a"), shelf("b"))
    third = apply(office, shelf("a"), shelf("b"), shelf("c"))
    back = inverse(office.book, second.entry.seq)
    assert [each.name for each in back.of(Shelf)] == ["a", "c"]
    asyncio.run(office.apply(office.draft(back, NOTHING, undoes=second.entry.seq), "undo"))
    with pytest.raises(Refused) as refused:
        inverse(office.book, second.entry.seq)
    assert refused.value.refusals[0].rule == "kernel.undo-newest-first"
    assert [each.name for each in inverse(office.book, third.entry.seq).of(Shelf)] == ["a"]


def test_a_world_that_cannot_be_brought_to_it_is_brought_back(library: Library, office: Office) -> None:
    """One machine fails for good: the change is taken back everywhere, and both stay on record."""
    apply(office, shelf("a"), shelf("b"))
    made = office.draft(wanted(office, shelf("a"), shelf("b"), volume("tides", "a"), volume("winds", "b")), NOTHING)
    b = library.shelves.hosts["b"]
    for n in range(1, 4):  # look, then the write; the way back succeeds
        b.fail_at(b.operations + n, Failed)
    done = asyncio.run(office.apply(made, "a test"))

    assert done.reverted
    assert library.shelves.hosts["a"].files["paper/books"] == b"shelf 1"
    assert office.book.state(done.entry.seq) is ChangeState.REVERTED
    assert not office.book.ledger.verify()


def test_what_others_recorded_while_a_change_failed_stays(office: Office, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders and settlements that drive nothing are recorded without waiting for a change that is being driven."""
    apply(office, shelf("a"), shelf("b"))
    made = office.draft(wanted(office, shelf("a"), shelf("b"), volume("tides", "a"), volume("winds", "b")), NOTHING)
    b = library.shelves.hosts["b"]
    for n in range(1, 4):
        b.fail_at(b.operations + n, Failed)
    driving = converge

    async def meanwhile(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr("nnix.kernel.apply.converge", driving)
        now = office.book.model().snapshot
        office.record(office.draft(admit([TOY], [*now.declared, shelf("c")], now), NOTHING), "an order", drive=True)
        return await driving(*given, **named)

    monkeypatch.setattr("nnix.kernel.apply.converge", meanwhile)
    done = asyncio.run(office.apply(made, "more"))

    assert not done.verified
    assert {each.id for each in office.book.model().snapshot} == {"shelf/a", "shelf/b", "shelf/c"}


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
@pytest.mark.parametrize("victim", ["a", "b"])
def test_killed_at_every_step_it_ends_in_the_old_or_the_new_state(tmp_path: Path, victim: str, after: bool) -> None:
    """Killed at each single operation on each machine; whoever comes next settles it, and the ledger is true."""

    class Killed(BaseException):
        """What kill -9 is to the code: nothing after it runs."""

    step, killed = 0, True
    while killed:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        library = Library(folder)
        with library.ledger() as ledger:
            office = library.office(ledger)
            apply(office, shelf("a"), shelf("b"), shelf("old"))
            old = {name: dict(host.files) for name, host in library.shelves.hosts.items()}
            made = office.draft(wanted(office, shelf("a"), shelf("b"), volume("tides", "a"), volume("winds", "b")), NOTHING)
            host = library.shelves.hosts[victim]
            host.fail_at(host.operations + step, Killed, after=after)
            try:
                asyncio.run(office.apply(made, "a test"))
                killed = False
            except Killed:
                pass
        with library.ledger() as ledger:  # a fresh process
            office = library.office(ledger)
            asyncio.run(office.settle())
            now = {name: dict(host.files) for name, host in library.shelves.hosts.items()}
            new = {
                "a": {"paper/books": b"shelf 1\ntides 3"},
                "b": {"paper/books": b"shelf 2\nwinds 3"},
                "old": {},
            }
            model = office.book.model()
            assert model.settled
            assert now == (new if "volume/tides" in model.snapshot else old)
            assert not ledger.verify()
    assert step > 2, "the loop must have met real steps"


def test_an_unreachable_machine_is_named_and_the_first_change_stays_recorded(library: Library, office: Office) -> None:
    """There is nothing to go back to before the first change; the loop goes on trying."""
    library.shelves.host("a")
    library.shelves.hosts["a"].unreachable = "no route"
    done = apply(office, shelf("a"))
    assert not done.verified
    assert "no route" in done.failures[0].failure
    library.shelves.hosts["a"].unreachable = ""
    asyncio.run(office.settle())
    assert office.book.model().settled


def test_models_of_the_past_can_be_read(office: Office) -> None:
    """The model at an entry is the fold of all entries up to it."""
    first = apply(office, shelf("a"))
    apply(office, shelf("a"), shelf("b"))
    assert [each.name for each in office.book.model_at(first.entry.seq).snapshot] == ["a"]
    assert office.book.model_at(0).snapshot == Snapshot()


def test_an_older_shape_of_a_kind_is_read_through_its_upgrades(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shape 1 counted inches; this nnix reads it in centimetres."""
    monkeypatch.setattr(Shelf, "version", 2)
    monkeypatch.setattr(Shelf, "upgrades", {1: lambda old: {"name": old["name"], "width_cm": round(old["width_inches"] * 2.54)}})
    found = office.book.resource({"kind": "Shelf", "version": 1, "name": "a", "width_inches": 30})
    assert found == shelf("a", 76)


def test_a_refused_machine_says_why(library: Library) -> None:
    """Unreachable carries the host's own words."""
    library.shelves.host("a")
    library.shelves.hosts["a"].unreachable = "cable cut"
    with pytest.raises(Unreachable, match="cable cut"):
        asyncio.run(library.shelves.host("a").get(["x"]))


def test_admission_without_anything_is_an_empty_exchange() -> None:
    """The kernel itself demands nothing."""
    assert len(admit((TOY,), (), Snapshot())) == 0


def test_a_changed_copy_keeps_fields_that_files_spell_otherwise() -> None:
    """`class` in files is `member_class` in code; a changed copy minds neither."""
    from nnix.planes.members.kinds import Member

    member = Member.model_validate({"name": "m", "title": {"en": "M"}, "asn": 4134, "class": "carrier"})
    assert member.changed(asn=4809).member_class == "carrier"


def test_two_things_derived_under_one_name_are_refused() -> None:
    """Of one plane or of two: one of them would be lost. Derived twice alike it is one, and what is declared stands before what would be derived."""

    def deriving(*lengths: int) -> Plane:
        return Plane("deriving", derive=lambda _: [shelf("x", each) for each in lengths])

    for planes in ((deriving(10, 20),), (deriving(10), deriving(20))):
        with pytest.raises(Refused) as refused:
            completed(planes, [], Snapshot())
        assert [(each.rule, each.resource) for each in refused.value.refusals] == [("kernel.derived-once", "shelf/x")]
    assert list(completed((deriving(10, 10), deriving(10)), [], Snapshot())) == [shelf("x", 10)]
    assert list(completed((deriving(10, 20),), [shelf("x", 30)], Snapshot())) == [shelf("x", 30)]
