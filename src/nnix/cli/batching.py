"""The clock of the market: while `nnix run` runs, what begins soon is cleared every `spot_every` of the Market, and everything every `forwards_every`;
standard lots of which orders meet are matched every `match_every`.

A clearing is a batch: orders that stand at its instant count alike, whichever came first. So rounds fall on whole multiples of their interval (with `1min`
on every full minute, UTC): whoever has an order knows when it will be looked at, and gains nothing by speed.

A round (rounds.py) is `nnix compute clear`. It leaves an entry in the ledger only where something was filled, so when the last one was stands in
`clearing.json` of the state folder; a loop that starts again goes on from there, and makes up once for what fell into its absence. Where nothing stands in
the book, nothing is run. One round runs at a time, since two clearings of one book would sell the same lots.

A match (`nnix compute match`) is no batch: it is by price, then by time. It comes after a clearing that falls on the same instant, and is run only where orders meet;
that is looked up in the book once for each of its states, and not written down when there are none.

A round that failed is told, and tried again after one interval, then two, four and so on; at once, at the next instant, when the book is another. A clearing
whose deals could not be brought about and were taken back counts as failed: else the same book would fill the ledger minute by minute.

Deals whose hours are over are let go whether or not anybody clears: their circuits take what the next clearing could sell.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from nnix.cli.booking import ahead
from nnix.cli.clearing import CLEARING, lapsed
from nnix.cli.command import DISAGREES, DONE
from nnix.cli.files import put_whole
from nnix.cli.matching import MATCH
from nnix.cli.root import Setting, clock
from nnix.cli.rounds import again, ended
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.kinds import KINDS, Offer, hour_of
from nnix.planes.compute.market.continuous import meets
from nnix.planes.compute.rules import market_of
from nnix.planes.compute.wanted import unfilled

RELEASE, FORWARDS, SPOT = "release", "forwards", "spot"
ROUNDS: Mapping[str, tuple[str, ...]] = {
    RELEASE: ("compute", "release"),
    FORWARDS: ("compute", "clear"),
    SPOT: ("compute", "clear", "--spot"),
    MATCH: ("compute", "match"),
}
"""the command of each round, in the order in which they run where several are due"""
RELEASE_SECONDS = 60.0
ROUND_SECONDS_MAX = 1800.0
PAUSE_SECONDS_MAX = 3600.0
"""between tries of a round that fails; an interval that is longer stays as it is"""


@dataclass(frozen=True)
class Round:
    """How the newest round of a sort went. began, ended: seconds since 1970. failed: how many have in a row. book: digest of what it failed on."""

    began: float
    ended: float
    words: str = ""
    failed: int = 0
    book: str = ""


@dataclass(frozen=True)
class Trades:
    """The newest clearing, or match, of the ledger: its entry, which of the two it is, how many bids it filled, its digest."""

    seq: int
    what: str
    filled: int
    digest: str


def rounds_file(setting: Setting) -> Path:
    """Where the loop says how its last rounds went, by sort."""
    return setting.state / "clearing.json"


def rounds_made(setting: Setting) -> dict[str, Round]:
    """The newest round of each sort; empty where the loop made none, or nobody can read what it wrote."""
    try:
        return {sort: Round(**each) for sort, each in json.loads(rounds_file(setting).read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def intervals(snapshot: Snapshot) -> dict[str, float]:
    """Seconds between rounds, of each sort that the loop makes."""
    market = market_of(snapshot)
    given = {FORWARDS: market.forwards_every, SPOT: market.spot_every, MATCH: market.match_every}
    return {RELEASE: RELEASE_SECONDS, **{sort: every.seconds for sort, every in given.items() if every is not None}}


def due(last: Round | None, every_seconds: float, now: float, book: Callable[[], str]) -> bool:
    """Whether a multiple of the interval has passed since the last round began: the first, or as many as a round that failed on the same `book` waits for."""
    if last is None or last.began > now:  # the clock was set back
        return True
    passed = int(now // every_seconds - last.began // every_seconds)
    pause = min(2 ** max(0, last.failed - 1), max(1, int(PAUSE_SECONDS_MAX // every_seconds)))
    return passed >= pause or (passed >= 1 and book() != last.book)


def _book(snapshot: Snapshot) -> str:
    return Snapshot(each for kind in KINDS for each in snapshot.of(kind)).digest


def _anything(sort: str, snapshot: Snapshot) -> bool:
    """Whether there is anything to do: deals that are over; offers, and bids without a deal, whose hours are not over; orders that meet."""
    if sort == RELEASE:
        return bool(lapsed(snapshot))
    now = clock()
    if sort == MATCH:
        return meets(snapshot, hour_of(now), hour_of(now) + market_of(snapshot).forward_hours_max)
    return all(any(not ahead(order, now) for order in orders) for orders in (unfilled(snapshot), snapshot.of(Offer)))


@dataclass
class Batches:
    """The market of one exchange. `report` gets a line for people for each round of which something came."""

    setting: Setting
    report: Callable[[str], None]
    now: Callable[[], datetime] = clock
    _made: dict[str, Round] = field(init=False)
    _apart: tuple[int, int] | None = field(default=None, init=False)
    """change and hour for which it was looked up that no standard lots meet: a full book is not gone through every second"""

    def __post_init__(self) -> None:
        self._made = rounds_made(self.setting)

    async def run(self, stop: asyncio.Event) -> None:
        await again(lambda: self.look(stop), "clearings", self.report, stop)

    async def look(self, stop: asyncio.Event) -> None:
        """Make the rounds that are due."""
        for sort in ROUNDS:
            model = self.setting.book.model()  # after each round anew
            snapshot, apart = model.snapshot, (model.seq, hour_of(clock()))
            every_seconds = intervals(snapshot).get(sort)
            now = self.now().timestamp()
            if every_seconds is None or stop.is_set() or not due(self._made.get(sort), every_seconds, now, partial(_book, snapshot)):
                continue
            if sort == MATCH and self._apart == apart:
                continue
            if _anything(sort, snapshot):
                await self._round(sort, snapshot, now, stop)
            elif sort == MATCH:
                self._apart = apart
            else:
                self._note(sort, Round(now, now, "nothing to do"))

    async def _round(self, sort: str, snapshot: Snapshot, began: float, stop: asyncio.Event) -> None:
        before = self._newest(sort)
        status, words = await ended(self.setting, ROUNDS[sort], ROUND_SECONDS_MAX, stop)
        if stop.is_set() and status not in (DONE, DISAGREES):
            return  # not its fault: it is due when the loop starts again
        now = self.now().timestamp()
        if status not in (DONE, DISAGREES):
            last = self._made.get(sort)
            failed = last.failed + 1 if last else 1
            words = words or f"it ended with status {status} (`nnix log`)"
            self.report(f"market: {sort} failed: {words}")
            self._note(sort, Round(began, now, words, failed, _book(self.setting.book.model().snapshot)))
            return
        found = self._newest(sort)
        said = "nothing could be filled"
        if sort == RELEASE:
            said = f"{len(lapsed(snapshot))} deals are over, and let go"
        elif found != before and found is not None:
            said = f"{found.filled} bids filled by {found.what} {found.digest[:12]}"
        said += "" if status == DONE else "; not everything is confirmed (`nnix status`)"
        if sort == RELEASE or found != before:
            self.report(f"market: {sort}: {said}")
        self._note(sort, Round(began, now, said))
        if sort == FORWARDS:  # all of spot was in it
            self._note(SPOT, Round(began, now, said))

    def _newest(self, sort: str) -> Trades | None:
        entry = self.setting.ledger.last(MATCH if sort == MATCH else CLEARING)
        if entry is None:
            return None
        filled = entry.body["accepted"] if entry.what == CLEARING else {each["bid"] for each in entry.body["fills"]}
        return Trades(entry.seq, entry.what, len(filled), str(entry.body["digest"]))

    def _note(self, sort: str, made: Round) -> None:
        self._made[sort] = made
        put_whole(rounds_file(self.setting), json.dumps({key: asdict(each) for key, each in self._made.items()}).encode())
