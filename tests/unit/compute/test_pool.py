"""A pool's turn: its promises on drawn pools, and whose turn it is where deals, probes, gangs and domains meet."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from nnix.planes.compute.place.pool import EMPTIED, Decision, Work, decided
from nnix.planes.compute.place.queue import Standing
from nnix.planes.compute.place.values import WHOLE, Demand, Node, Seat, Together

NOW = 1_000_000
NODES = [Node(name, "gpu", 4, 0, 0, domain) for name, domain in (("n1", "a"), ("n2", "a"), ("n3", "b"))]


def work(job: str, workers: int = 1, devices: float = 1, **fields: Any) -> Work:
    asks = Demand(0, 0, 1, round(devices * WHOLE)) if devices < 1 else Demand(0, 0, int(devices))
    return Work(job, **{"deal": "d", "lots": 12, "workers": workers, "demand": asks, "came": float(NOW), "since": NOW, **fields})


def running(job: str, seats: Sequence[tuple[str, tuple[int, ...]]], **fields: Any) -> Work:
    """Work that has whole devices of some machines, a worker on each, and can save itself."""
    given = tuple(Seat(node, tuple((device, WHOLE) for device in devices)) for node, devices in seats)
    at = {"standing": Standing.RUNNING, "save_seconds": 5, "seats": given, "since": NOW - 10, "came": NOW - 10.0, **fields}
    return work(job, len(seats), len(seats[0][1]), **at)


def held(decision: Decision, job: str) -> list[str]:
    return [seat.node for seat in decision.begin[job]]


def drawn(chance: random.Random, parts: float = 0.3) -> tuple[list[Node], list[Work]]:
    """A pool in the midst of its day: some deals and probes, what runs seated by the pool itself, one after the other. `parts`: of how much work."""
    nodes = [
        Node(f"n{at}", "gpu", chance.choice((2, 4, 8)), chance.choice((8, 32)) * 1000, 64_000, chance.choice(("", "r1", "r2")))
        for at in range(chance.randint(1, 4))
    ]
    devices = sum(each.devices for each in nodes)
    deals: list[tuple[str, int]] = []
    left = devices
    while left and len(deals) < 3:
        deals.append((f"d{len(deals)}", chance.randint(1, left)))
        left -= deals[-1][1]
    works: list[Work] = []
    for at in range(chance.randint(2, 14)):
        probe = chance.random() < 0.2
        deal, lots = (f"probe/{at}", devices) if probe else chance.choice(deals)
        part = chance.random() < parts
        share = chance.choice((200, 300, 500, 500, 600)) if part else WHOLE
        asks = Demand(1000 * chance.choice((0, 1, 2)), 1000, 2 if lots > 5 and not part else 1, share)
        fresh = Work(
            f"j{at}",
            deal,
            lots,
            chance.choice((1, 1, 2, 3)) if lots > 3 else 1,
            asks,
            chance.choice(list(Together)),
            priority=chance.choice((0, 0, 5)),
            save_seconds=None if probe or chance.random() < 0.3 else 10,
            probe=probe,
            came=float(NOW - chance.randint(0, 3)),
            since=NOW - chance.choice((0, 100, 90_000)),
        )
        works.append(fresh)
        begun = decided(nodes, works, NOW).begin if chance.random() < 0.7 else {}
        works = [
            replace(each, standing=Standing.SAVING if chance.random() < 0.1 else Standing.RUNNING, seats=begun[each.job])
            if each.job in begun
            else each
            for each in works
        ]
    return nodes, works


def adds_up(nodes: Sequence[Node], works: Iterable[Work], found: Decision) -> None:
    """R1 to R3."""
    taken: Counter[tuple[str, int]] = Counter()
    deals: dict[tuple[str, int], set[str]] = {}
    by_job = {each.job: each for each in works}
    for each in by_job.values():
        seats = each.seats or found.begin.get(each.job, ())
        assert len(seats) in (0, each.workers)
        if len({seat.node for seat in seats}) > 1:
            assert each.together is not Together.NODE
        for seat in seats:
            assert sum(share for _, share in seat.devices) == each.demand.devices * each.demand.share
            for device, share in seat.devices:
                taken[seat.node, device] += share
                deals.setdefault((seat.node, device), set()).add(each.deal)
    assert all(share <= WHOLE for share in taken.values())
    assert all(len(whose) == 1 for whose in deals.values()), "a probe is a deal of its own here"
    for each in by_job.values():
        assert sum(each.deal in whose for whose in deals.values()) <= each.lots
    for victim, whom in found.save.items():
        gone, other = by_job[victim], by_job[whom]
        assert gone.standing is Standing.RUNNING and not other.probe
        assert gone.probe or (gone.save_seconds is not None and gone.deal == other.deal)
    waiting = {each.job for each in by_job.values() if each.standing is Standing.WAITING}
    assert waiting == {*found.begin} | {*found.waits} | {*found.never}
    assert all(each.why and each.position >= 1 for each in found.waits.values())


@pytest.mark.parametrize("seed", range(60))
def test_nothing_is_given_twice_no_deal_has_more_than_its_lots_and_names_decide_nothing(seed: int) -> None:
    """R1 to R4, on drawn pools: what is decided adds up, and it is the same after all have been renamed and shuffled."""
    chance = random.Random(seed)
    nodes, works = drawn(chance)
    found = decided(nodes, works, NOW)
    adds_up(nodes, works, found)

    # Alike machines and alike jobs are told apart by name and by nothing else, so what they come to is compared without names.
    numbers = [str(each) for each in range(100, 200)]
    chance.shuffle(numbers)
    machine = {each.name: f"m{numbers.pop()}" for each in nodes}
    job = {each.job: f"w{numbers.pop()}" for each in works}
    deal = {name: f"e{numbers.pop()}" for name in sorted({each.deal for each in works})}
    renamed = [
        replace(each, job=job[each.job], deal=deal[each.deal], seats=tuple(Seat(machine[seat.node], seat.devices) for seat in each.seats))
        for each in works
    ]
    chance.shuffle(renamed)
    others = [replace(each, name=machine[each.name]) for each in nodes]
    chance.shuffle(others)
    again = decided(others, renamed, NOW)
    assert _content(works, found) == _content(renamed, again)


@pytest.mark.parametrize("seed", range(60, 160))
def test_whoever_goes_goes_for_one_who_then_begins(seed: int) -> None:
    """And none of them could have stayed, where they go for one alone. Seats that were promised to others meanwhile are not changed for it."""
    nodes, works = drawn(random.Random(seed))
    found = decided(nodes, works, NOW)
    alone = [each.why for each in found.waits.values()].count(EMPTIED) == 1 and not any(each.standing is Standing.SAVING for each in works)

    def after(stays: str | None) -> Decision:
        """When all have gone who go, but one; and what was leaving already has left."""
        then = []
        for each in works:
            if each.job in found.begin:
                then.append(replace(each, standing=Standing.RUNNING, seats=found.begin[each.job]))
            elif each.job == stays:
                then.append(replace(each, save_seconds=None))
            elif each.job in found.save:
                then.append(replace(each, standing=Standing.WAITING, seats=(), since=NOW, ran=each.ran + NOW - each.since))
            elif each.standing is not Standing.SAVING:
                then.append(each)
        return decided(nodes, then, NOW)

    if alone or all(each.demand.cpu_milli == 0 for each in works):
        assert {*found.save.values()} <= {*after(None).begin}
    for victim, whom in found.save.items() if alone else ():
        assert whom not in after(victim).begin, victim


@pytest.mark.parametrize("seed", range(200, 280))
def test_parts_share_no_device_between_deals_and_leave_everybody_his_lots_whole(seed: int) -> None:
    """R1 and R2 where most work takes parts. And whoever is not on as many devices as he bought gets the others whole when he asks for them, at
    once or as soon as probes have gone: no other deal's parts are in his way, however they came to lie."""
    chance = random.Random(seed)
    nodes, works = drawn(chance, parts=0.8)
    adds_up(nodes, works, decided(nodes, works, NOW))
    here = [each for each in works if each.standing is Standing.RUNNING]
    for deal, lots in sorted({(each.deal, each.lots) for each in works if not each.probe}):
        begun = {(seat.node, device) for each in here if each.deal == deal for seat in each.seats for device, _ in seat.devices}
        left = lots - len(begun)
        asks = [work("whole", at, deal=deal, lots=lots, priority=9) for at in range(1, left + 1)]
        for each in asks:
            found = decided(nodes, [*here, each], NOW)
            adds_up(nodes, [*here, each], found)
            if each.job not in found.begin:
                assert found.waits[each.job].why == EMPTIED
                assert all(gone.probe for gone in here if gone.job in found.save)


def parts(job: str, seats: Sequence[tuple[str, int]], share: int = 500, **fields: Any) -> Work:
    """Work that has a part of some devices, a worker on each, and cannot save itself."""
    given = tuple(Seat(node, ((device, share),)) for node, device in seats)
    return work(job, len(seats), share / WHOLE, **{"standing": Standing.RUNNING, "seats": given, "since": NOW - 10, **fields})


def test_a_part_goes_on_a_device_of_its_own_deal_and_not_beside_another_deals() -> None:
    """Both have half of a device idle; theirs is on a machine that is fuller, and would be filled by it."""
    theirs = [parts("theirs", [("n1", 1)], deal="e", lots=4), running("full", [("n1", (0, 2, 3))], deal="e", lots=4)]
    mine = parts("mine", [("n2", 3)], lots=1)
    assert decided(NODES, [*theirs, mine, work("j", devices=0.5, lots=1)], NOW).begin["j"] == (Seat("n2", ((3, 500),)),)
    assert set(held(decided(NODES, [*theirs, work("j", devices=0.5, lots=1)], NOW), "j")) <= {"n2", "n3"}


def test_lots_are_devices_also_where_parts_are_asked_for() -> None:
    """Three workers of six tenths are less than two devices, and need three. On three lots a fourth finds no place, though more than one is idle."""
    assert decided(NODES, [work("j", 3, 0.6, lots=2)], NOW).never == {
        "j": "not even in the empty pool: its deal has begun 0 of 2 devices, and it needs 3 more"
    }
    there = parts("there", [("n1", 0), ("n1", 1), ("n2", 0)], 600, lots=3)
    found = decided(NODES, [there, work("j", devices=0.6, lots=3), work("small", 3, 0.3, lots=3, save_seconds=5, priority=-1)], NOW)
    assert found.waits == {"j": (1, "next in turn, and has no place: its deal has begun 3 of 3 devices, and it needs 1 more")}
    assert {(seat.node, seat.devices[0][0]) for seat in found.begin["small"]} == {("n1", 0), ("n1", 1), ("n2", 0)}


def test_parts_of_the_own_deal_make_room_for_one_that_wants_a_device_whole() -> None:
    """They lie on both of its lots, each on a half. The least that is enough goes: one of them."""
    there = [parts(f"p{at}", [("n1", at)], lots=2, save_seconds=5) for at in range(2)]
    found = decided(NODES, [*there, work("j", lots=2, priority=9)], NOW)
    assert list(found.save.values()) == ["j"]
    assert found.waits == {"j": (1, EMPTIED)}


def test_a_probe_shares_its_device_with_nobody() -> None:
    """A part of one is all that it asks for and has; the rest is nobody's, and when a deal's job wants a part of the last device it goes."""
    one = [Node("n1", "gpu", 2, 0, 0)]
    there = parts("there", [("n1", 0)], lots=2)
    begun = decided(one, [there, work("probe", devices=0.5, deal="probe/probe", probe=True, lots=2)], NOW).begin["probe"]
    assert begun == (Seat("n1", ((1, 500),)),)
    probe = parts("probe", [("n1", 1)], deal="probe/probe", probe=True, lots=2)
    assert decided(one, [there, probe, work("j", devices=0.5, lots=2)], NOW).begin["j"] == (Seat("n1", ((0, 500),)),)
    found = decided(one, [there, probe, work("j", devices=0.6, lots=2)], NOW)
    assert found.save == {"probe": "j"}


def _content(works: Sequence[Work], found: Decision) -> Any:
    by_job = {each.job: each for each in works}

    def kind(job: str) -> Any:
        return by_job[job].arrival[:-1]

    return (
        sorted((kind(job), len({seat.node for seat in seats})) for job, seats in found.begin.items()),
        sorted((kind(job), kind(whom)) for job, whom in found.save.items()),
        sorted((kind(job), wait.position) for job, wait in found.waits.items()),
        sorted(kind(job) for job in found.never),
    )


@pytest.mark.parametrize(
    ("fields", "nodes"),
    [
        ({"workers": 4, "together": Together.NODE}, 1),
        ({"workers": 5, "together": Together.NODE}, 0),
        ({"workers": 8, "together": Together.DOMAIN}, 2),
        ({"workers": 9, "together": Together.DOMAIN}, 0),
        ({"workers": 3, "devices": 4}, 3),
        ({"workers": 2, "devices": 3}, 2),
    ],
)
def test_a_gang_sits_as_close_as_it_wants_to_or_never(fields: dict[str, Any], nodes: int) -> None:
    """What not even the empty pool has room for is not left waiting for ever."""
    found = decided(NODES, [work("j", **fields)], NOW)
    if nodes:
        assert len(set(held(found, "j"))) == nodes
    else:
        assert found.never["j"].startswith("not even in the empty pool: one ")


def test_parts_of_a_device_share_one_before_they_break_another() -> None:
    there = work("a", devices=0.5, standing=Standing.RUNNING, seats=(Seat("n2", ((1, 500),)),))
    found = decided(NODES, [there, work("j", 3, 0.5)], NOW)
    assert Counter(seat.node for seat in found.begin["j"]) == {"n2": 3}
    shares = Counter(device for seat in found.begin["j"] for device, _ in seat.devices)
    assert shares.pop(1) == 1
    assert list(shares.values()) == [2]


def test_a_gang_that_has_no_place_is_next_and_only_who_could_go_passes_it() -> None:
    """Its deal has devices enough, but in two halves: what can save itself may use them meanwhile, what cannot may not."""
    there = [running(f"r{at}", [(node, (0, 1))], deal="other", lots=8) for at, node in enumerate(("n1", "n2"))]
    small = [Node(name, "gpu", 4, 0, 0) for name in ("n1", "n2")]
    gang = work("gang", 4, together=Together.NODE, lots=4, came=NOW - 5.0)
    found = decided(small, [*there, gang, work("still", lots=4), work("saves", lots=4, save_seconds=5)], NOW)
    why = "next in turn, and has no place: one machine has room for 2 of 4 workers, and none starts without the others"
    assert found.waits["gang"] == (1, why)
    assert found.waits["still"] == (2, "it cannot save itself, and by its limit might hold up the one that is next")
    assert list(found.begin) == ["saves"]
    assert found.save == {}


def test_the_least_makes_room_that_is_enough() -> None:
    """By numbers either could go. By place only one is any good, and he alone goes, though he came first."""
    near = running("near", [("n1", (0, 1, 2, 3))], came=NOW - 9.0)
    far = running("far", [("n2", (0, 1)), ("n3", (0, 1))], came=NOW - 8.0)
    rest = [running(f"r{at}", [(node, (2, 3))], save_seconds=None) for at, node in enumerate(("n2", "n3"))]
    urgent = work("urgent", 4, together=Together.NODE, priority=9)
    found = decided(NODES, [near, far, *rest, urgent], NOW)
    assert found.save == {"near": "urgent"}
    assert found.waits == {"urgent": (1, EMPTIED)}


def test_nobody_is_stopped_where_that_would_not_do() -> None:
    """Half of the machine is another deal's: whoever stopped would have stopped for nothing."""
    theirs = [running(f"t{at}", [(node, (0, 1))], deal="other") for at, node in enumerate(("n1", "n2", "n3"))]
    mine = running("mine", [("n1", (2, 3))])
    found = decided(NODES, [*theirs, mine, work("urgent", 4, together=Together.NODE, priority=9)], NOW)
    assert found.save == {}
    assert "has no place" in found.waits["urgent"].why


def test_what_is_emptied_for_one_is_not_given_to_another() -> None:
    """A gang waits for the third of its machine's devices; the two that are idle there are kept for it, though another deal's job would fill them best."""
    leaving = running("leaving", [("n1", (0, 1))], standing=Standing.SAVING, lots=4)
    gang = work("gang", 4, together=Together.NODE, lots=4, came=NOW - 5.0)
    one = [Node("n1", "gpu", 4, 0, 0), Node("n2", "gpu", 3, 0, 0)]
    found = decided(one, [leaving, gang, work("other", 2, deal="e", lots=2)], NOW)
    assert found.waits["gang"] == (1, EMPTIED)
    assert held(found, "other") == ["n2", "n2"]


def test_probes_have_what_is_left_and_go_before_any_job_of_the_deal() -> None:
    probe = running("probe", [("n1", (0,))] * 1, deal="probe/p", probe=True, save_seconds=None)
    jobs = [running(f"r{at}", [(node, (0, 1, 2, 3))]) for at, node in enumerate(("n2", "n3"))]
    found = decided(NODES, [probe, *jobs, work("j", 4, together=Together.NODE, priority=1)], NOW)
    assert found.save == {"probe": "j"}
    idle = decided(NODES, [*jobs, work("q", 4, deal="probe/q", probe=True), work("r", 4, deal="probe/r", probe=True)], NOW)
    assert list(idle.begin) == ["q"]
    assert idle.waits["r"].why == "next in turn: 4 devices asked for, 0 of 4 not held by those before it"


def test_who_has_run_for_an_hour_makes_room_for_who_has_just_come() -> None:
    """Feedback, within the lots of one deal: nobody said how long either takes."""
    old = running("old", [("n1", (0, 1))], lots=2, since=NOW - 3_601)
    assert decided(NODES, [old, work("new", lots=2)], NOW).save == {"old": "new"}
    young = running("young", [("n1", (0, 1))], lots=2, since=NOW - 3_500)
    found = decided(NODES, [young, work("new", lots=2)], NOW)
    assert found.waits["new"] == (1, "next in turn: 1 device asked for, 0 of 2 not held by those before it")


def test_processors_that_an_engine_keeps_are_seats_as_well() -> None:
    """Devices are idle on both machines; processors on one."""
    nodes = [Node("n1", "gpu", 4, 2_000, 8_000), Node("n2", "gpu", 4, 2_000, 8_000)]
    busy = replace(running("busy", [("n1", (0,))]), demand=Demand(2_000, 1_000, 1))
    asks = Demand(1_000, 1_000, 1)
    assert held(decided(nodes, [busy, replace(work("j", 2), demand=asks)], NOW), "j") == ["n2", "n2"]
    found = decided(nodes, [busy, replace(work("j", 3), demand=asks)], NOW)
    assert "no place" in found.waits["j"].why


def test_a_job_on_a_machine_that_is_gone_holds_up_nobody() -> None:
    """The pool was made smaller under it: what is left of what it has is still its own."""
    there = running("there", [("n1", (0, 1)), ("n9", (0, 1))])
    found = decided([Node("n1", "gpu", 1, 0, 0), Node("n2", "gpu", 4, 0, 0)], [there, work("j", 4, together=Together.NODE)], NOW)
    assert held(found, "j") == ["n2"] * 4
