"""The queue of a pool: its promises on drawn work, driven as an agent drives it."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import replace

import pytest

from nnix.planes.compute.place.queue import NEVER, Queue, Request, Reservation, Standing, Terms

DEVICES = 32


class Pool:
    """Runs what the queue says, and counts devices by itself."""

    def __init__(self, queue: Queue, seconds: dict[str, int], requests: list[tuple[int, Request]]) -> None:
        self.queue, self.left, self.to_come = queue, dict(seconds), sorted(requests, key=lambda each: each[0])
        self.asks = {request.key: request for _, request in requests}
        self.since: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        self.saved: list[tuple[int, str]] = []
        self.events: list[tuple[int, str, str, int]] = []
        self.version: Counter[str] = Counter()
        self.log: list[tuple[int, str, str]] = []

    def run(self, until: int = NEVER) -> None:
        while self.to_come or self.events:
            now = min(self.to_come[0][0] if self.to_come else NEVER, self.events[0][0] if self.events else NEVER)
            if now > until:
                return
            while self.events and self.events[0][0] == now:
                _, what, key, version = heapq.heappop(self.events)
                if what == "look" or version != self.version[key]:
                    continue
                self.log.append((now, what, key))
                del self.since[key]
                if what == "ended":
                    self.ended[key] = now
                    self.queue.ended(key, now)
                else:
                    self.queue.saved(key, now)
            while self.to_come and self.to_come[0][0] == now:
                self.queue.submit(self.to_come.pop(0)[1], now)
            turn = self.queue.turn(now)
            for key in turn.save:
                save = self.asks[key].save_seconds
                assert save is not None, "Q2: what cannot save itself is never stopped"
                self.left[key] -= now - self.since[key]
                self._then(now + save, "saved", key)
            for key in turn.begin:
                self.log.append((now, "began", key))
                self.since[key] = now
                self._then(now + self.left[key], "ended", key)
            self.holds(now)
            if (wake := self.queue.wake(now)) is not None and (self.to_come or self.queue.backlog or self.since):
                heapq.heappush(self.events, (wake, "look", "", 0))

    def _then(self, when: int, what: str, key: str) -> None:
        self.version[key] += 1
        heapq.heappush(self.events, (when, what, key, self.version[key]))

    def used(self) -> int:
        return sum(self.asks[key].devices for key in self.since)

    def holds(self, now: int) -> None:
        """Q1 and Q3, from what runs."""
        kept = sum(each.devices for each in self.queue.reservations if each.begin <= now < each.end)
        outside = sum(self.asks[key].devices for key in self.since if self.asks[key].reservation is None)
        assert self.used() <= self.queue.devices
        assert outside + kept <= self.queue.devices, "the devices of a reservation are free from its first second"
        by: Counter[str] = Counter()
        for key in self.since:
            by[self.asks[key].tenant] += self.asks[key].devices
        for tenant, quota in self.queue.terms.quotas.items():
            assert by[tenant] <= quota, "Q3"


def drawn(seed: int, *, still: float = 0.3, many: int = 120) -> tuple[list[tuple[int, Request]], dict[str, int]]:
    chance = random.Random(seed)
    requests, seconds = [], {}
    now = 0
    for number in range(many):
        now += int(chance.expovariate(1 / 400))
        key = f"j{number}"
        seconds[key] = int(chance.lognormvariate(7, 1.5)) + 1
        cannot = chance.random() < still
        requests.append(
            (
                now,
                Request(
                    key,
                    chance.choice("abc"),
                    chance.choice((1, 1, 1, 2, 4, 8, 16)),
                    priority=chance.choice((0, 0, 0, 5)),
                    save_seconds=None if cannot else chance.choice((0, 30, 120)),
                    limit_seconds=seconds[key] + chance.randint(0, 600) if chance.random() < 0.6 else None,
                ),
            )
        )
    return requests, seconds


@pytest.mark.parametrize("seed", range(6))
def test_no_device_is_given_twice_no_quota_is_passed_and_everybody_ends(seed: int) -> None:
    """Q1 to Q3, and no deadlock: on drawn work, with quotas, shares and a reservation in the midst of it."""
    requests, seconds = drawn(seed)
    terms = Terms(quotas={"a": 16, "b": 20}, shares={"a": 3, "c": 1})
    # What cannot save itself and has no limit could hold a reservation's devices for ever, so the pool does not begin it before; afterwards it runs.
    queue = Queue(DEVICES, terms, [Reservation("kept", 12, 20_000, 30_000)])
    pool = Pool(queue, seconds, requests)
    pool.run()
    assert set(pool.ended) == set(seconds), queue.order()


def test_a_reservations_devices_are_free_when_it_begins_and_its_work_runs_in_it() -> None:
    """The whole pool is busy with work that needs 100 s to save itself: it is told 100 s before, and the reserved gang begins on the second."""
    queue = Queue(8, Terms(), [Reservation("r", 8, 1_000, 2_000)])
    long = [(0, Request(f"long{at}", "a", 4, save_seconds=100)) for at in range(2)]
    still = [(10, Request("still", "a", 1, limit_seconds=5_000))]
    mine = [(5, Request("mine", "b", 8, reservation="r"))]
    pool = Pool(queue, {"long0": 3_000, "long1": 3_000, "still": 100, "mine": 500}, long + still + mine)
    pool.run()
    assert (1_000, "began", "mine") in pool.log
    assert {now for now, what, key in pool.log if what == "saved"} == {1_000}
    assert pool.ended["mine"] == 1_500
    assert min(now for now, what, key in pool.log if (what, key) == ("began", "still")) >= 2_000, "it might not have ended by then"


def test_the_head_waits_for_no_guest_but_for_its_saving() -> None:
    """Backfill without an estimate: a gang of 8 waits for 4 devices; a guest runs on the idle 4 meanwhile, and makes room in its 30 s."""
    work = [
        (0, Request("first", "a", 4, save_seconds=None)),
        (1, Request("gang", "a", 8)),
        (2, Request("guest", "b", 4, save_seconds=30)),
    ]
    pool = Pool(Queue(8), {"first": 1_000, "gang": 100, "guest": 5_000}, work)
    pool.run()
    began = {key: now for now, what, key in reversed(pool.log) if what == "began"}
    assert began["guest"] == 2
    assert began["gang"] == 1_030


def test_what_cannot_save_itself_is_a_guest_only_within_its_limit() -> None:
    """EASY: by the limits, the gang begins at 1,000 at the latest. What ends before may pass it, what might not may not."""
    work = [
        (0, Request("first", "a", 4, limit_seconds=1_000)),
        (1, Request("gang", "a", 8)),
        (2, Request("long", "b", 4, limit_seconds=2_000)),
        (3, Request("short", "b", 4, limit_seconds=900)),
    ]
    queue = Queue(8)
    pool = Pool(queue, {"first": 1_000, "gang": 100, "long": 2_000, "short": 800}, work)
    pool.run(until=10)
    assert {key: why for key, standing, why in queue.order() if standing is Standing.WAITING} == {
        "gang": "next in turn: 8 devices asked for, 4 of 8 not held by those before it",
        "long": "it cannot save itself, and by its limit might hold up the one that is next",
    }
    pool.run()
    assert [key for _, what, key in pool.log if what == "began"] == ["first", "short", "gang", "long"]


def test_nobody_starves() -> None:
    """Q4: a gang for the whole pool, of low priority, among a flood of higher priority: it begins within patience and one saving."""
    flood = [(at * 50, Request(f"f{at}", "a", 2, priority=9, save_seconds=10)) for at in range(2_000)]
    gang = [(100, Request("gang", "b", 8, priority=-9, save_seconds=10))]
    pool = Pool(Queue(8, Terms(patience_seconds=3_600)), {"gang": 600, **{f"f{at}": 400 for at in range(2_000)}}, flood + gang)
    pool.run(until=20_000)
    began = min(now for now, what, key in pool.log if (what, key) == ("began", "gang"))
    # Those of the flood who came before the gang lose patience before it: at most all of them, and what is left of their run times.
    assert 3_700 - 100 <= began <= 3_700 + 3_600, began


def test_short_work_passes_long_work_that_has_had_its_hour() -> None:
    """Feedback: nobody says how long he takes; what has run for an hour makes way for what has not."""
    work = [(0, Request("long", "a", 8, save_seconds=5)), (5_000, Request("short", "b", 8, save_seconds=5))]
    pool = Pool(Queue(8), {"long": 20_000, "short": 60}, work)
    pool.run()
    assert pool.ended["short"] == 5_065
    assert pool.ended["long"] == 20_065 + 0


def test_a_tenant_above_its_share_comes_after_one_below() -> None:
    """Fair share: who lately had more than his part waits behind who had less, though he came first."""
    work = [(at, Request(f"a{at}", "a", 8)) for at in range(6)] + [(10, Request("b", "b", 8))]
    seconds = {**{f"a{at}": 1_000 for at in range(6)}, "b": 1_000}
    for shares, place in (({}, 6), ({"a": 1, "b": 1}, 1)):
        pool = Pool(Queue(8, Terms(shares=shares)), seconds, work)
        pool.run()
        assert [key for _, what, key in pool.log if what == "began"].index("b") == place


def test_what_can_never_run_is_refused() -> None:
    """More than the pool has, than the tenant's quota, than the reservation, or twice the same: said at once, not waited for."""
    queue = Queue(8, Terms(quotas={"a": 2}), [Reservation("r", 3, 0, 10)])
    ask = Request("j", "b", 9)
    for wrong in (ask, replace(ask, tenant="a", devices=3), replace(ask, reservation="r", devices=4), replace(ask, devices=0)):
        with pytest.raises(ValueError, match="can never run"):
            queue.submit(wrong, 0)
    queue.submit(replace(ask, devices=8), 0)
    with pytest.raises(ValueError, match="can never run"):
        queue.submit(replace(ask, devices=8), 0)
    with pytest.raises(ValueError, match="reserved"):
        Queue(8, None, [Reservation("r", 5, 0, 10), Reservation("s", 5, 5, 15)])
