"""The market's clock in `nnix run`: rounds at full minutes and hours, by the very command that an operator gives; the clock is the test's."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nnix.cli import batching
from nnix.cli.batching import FORWARDS, RELEASE, SPOT, Batches, Round, due, rounds_file
from nnix.cli.matching import MATCH
from nnix.cli.root import Setting
from nnix.kernel.document import write
from nnix.planes.compute.kinds import Job
from tests.unit.compute.exchanges import Changes, snapshot

from .test_cli import Nnix, nnix
from .test_compute import NOW, bid, lots, offer, recorded

__all__ = ["nnix"]

BOTH: Changes = {"Market/market": {"spot_every": "1min", "forwards_every": "1h"}}
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Turned:
    """The loop's rounds under a clock that is turned by hand. Each look opens the ledger anew, as the running loop sees what others wrote."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.said: list[str] = []
        self.start()

    def start(self) -> None:
        self.batches = Batches(Setting(self.state, None), self.said.append, lambda: self.at)

    def look(self, minutes: float, *, stopped: bool = False) -> None:
        """Look, so many minutes after noon."""
        self.at = NOON + timedelta(minutes=minutes)

        async def once() -> None:
            stop = asyncio.Event()
            if stopped:
                asyncio.get_running_loop().call_soon(stop.set)  # while the round's process is being started
            await self.batches.look(stop)

        asyncio.run(once())

    @property
    def made(self) -> dict[str, Round]:
        return {sort: Round(**each) for sort, each in json.loads(rounds_file(self.batches.setting).read_bytes()).items()}


def entries(nnix: Nnix) -> list[tuple[int, str]]:
    return [(each["seq"], each["what"]) for each in nnix("log", "--json").json]


def deals(nnix: Nnix) -> set[str]:
    return {each["bid"] for each in nnix("get", "deal", "--json").json}


def test_spot_is_filled_at_the_full_minute_and_forwards_at_the_full_hour(nnix: Nnix, tmp_path: Path) -> None:
    """Without anybody's `clear`: what begins in the next hour at the next minute and no sooner, what begins later at the hour; each once."""
    folder = recorded(nnix, tmp_path / "exchange", BOTH)
    loop = Turned(tmp_path / "state")
    loop.look(0.5)
    assert nnix("compute", "offer", offer(folder, "day", NOW)).status == 0
    assert nnix("compute", "bid", bid(folder, "soon", NOW + 1), bid(folder, "later", NOW + 3)).status == 0
    loop.look(0.9)
    assert deals(nnix) == set()
    loop.look(1.0)
    assert deals(nnix) == {"soon"}, loop.said
    loop.look(59.9)
    assert deals(nnix) == {"soon"}, loop.said
    before = len(entries(nnix))
    loop.look(60.0)
    assert deals(nnix) == {"soon", "later"}, loop.said
    assert [what for _, what in entries(nnix)[before:]] == ["clearing", "change"]
    assert len(loop.said) == 2
    assert loop.made[SPOT].began == loop.made[FORWARDS].began

    rounds = {each["round"]: each for each in nnix("compute", "book", "--json").json["rounds"]}
    assert (rounds[FORWARDS]["every_seconds"], rounds[FORWARDS]["failed"]) == (3600, 0)
    assert rounds[FORWARDS]["began_at"] == "2026-11-26T13:00:00+00:00"
    assert "1 bids filled" in rounds[FORWARDS]["words"]


def test_standard_lots_of_which_orders_meet_are_matched_between_rounds(nnix: Nnix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the next full second without anybody's `match`, each once; where none meet not even a process, and nothing is written. It proves itself."""
    folder = recorded(nnix, tmp_path / "exchange", {"Market/market": {"match_every": "1s", "forwards_every": "1h"}})
    loop = Turned(tmp_path / "state")
    loop.look(0)
    assert nnix("compute", "offer", offer(folder, "day", NOW, lots=4)).status == 0
    assert nnix("compute", "bid", lots(folder, "low", NOW + 1, limit="20yuan"), bid(folder, "bundle", NOW + 2)).status == 0
    before = entries(nnix)
    with monkeypatch.context() as patched:
        patched.setattr(batching, "ended", None)  # to call it would fail
        loop.look(0.1)
        loop.look(0.2)
    assert (entries(nnix), MATCH in loop.made) == (before, False)

    assert nnix("compute", "bid", lots(folder, "now", NOW + 1, limit="40yuan")).status == 0
    loop.look(0.3)
    assert deals(nnix) == {"now"}, loop.said
    assert [what for _, what in entries(nnix)[-2:]] == ["match", "change"]
    assert loop.said == [f"market: match: {loop.made[MATCH].words}"]
    assert loop.made[MATCH].words.startswith("1 bids filled by match ")
    assert nnix("compute", "verify", entries(nnix)[-2][0]).status == 0
    before = entries(nnix)
    loop.look(0.4)
    assert entries(nnix) == before
    rounds = {each["round"]: each for each in nnix("compute", "book", "--json").json["rounds"]}
    assert (rounds[MATCH]["every_seconds"], rounds[MATCH]["failed"]) == (1, 0)
    loop.look(60)
    assert deals(nnix) == {"now", "bundle"}, loop.said


def test_an_empty_book_and_an_unchanged_one_leave_no_entry(nnix: Nnix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty: not even a process. With a bid that nobody can fill: looked at, every minute, and nothing is written nor said."""
    folder = recorded(nnix, tmp_path / "exchange", BOTH)
    loop = Turned(tmp_path / "state")
    before = entries(nnix)
    with monkeypatch.context() as patched:
        patched.setattr(batching, "ended", None)  # to call it would fail
        loop.look(0)
        loop.look(1)
        loop.look(60)
    assert entries(nnix) == before
    assert loop.made[SPOT].words == "nothing to do"

    assert nnix("compute", "offer", offer(folder, "day", NOW)).status == 0
    assert nnix("compute", "bid", bid(folder, "hope", NOW + 1, limit="1yuan")).status == 0
    before = entries(nnix)
    loop.look(61)
    loop.look(62)
    assert (entries(nnix), loop.said) == (before, [])
    assert (loop.made[SPOT].words, loop.made[SPOT].failed) == ("nothing could be filled", 0)


def test_who_says_nothing_is_not_cleared_but_deals_that_are_over_are_let_go(nnix: Nnix, tmp_path: Path) -> None:
    """Their circuits and contracts go in the same change, once; bids stay as they are."""
    past: Changes = {
        "Offer/gpus-day": {"start": "2026-11-20T08Z", "end": "2026-11-20T20Z"},
        "Offer/npus-day": {"start": "2026-11-20T08Z", "end": "2026-11-20T20Z"},
        "Bid/train": {"bundles": [{"device": "nvidia/a100-80g", "devices": 8, "hours": 2, "start": "2026-11-20T10Z"}]},
        "Bid/search": None,
        "Deal/train-1": {"hours": ["2026-11-20T10Z", "2026-11-20T11Z"], "prices": ["8yuan", "9yuan"]},
        "Job/train": None,
        "Job/speed": None,
    }
    folder = tmp_path / "exchange"
    folder.mkdir()
    (folder / "exchange.yaml").write_text(write([each for each in snapshot(past) if not isinstance(each, Job)]))
    said = nnix("apply", folder, "--offline", "--yes")
    assert said.status == 0, said.err
    assert len(nnix("get", "circuit", "--json").json) == 1
    assert nnix("compute", "offer", offer(folder, "day", NOW)).status == 0
    assert nnix("compute", "bid", bid(folder, "soon", NOW + 1)).status == 0
    loop = Turned(tmp_path / "state")
    loop.look(0)
    (deal,) = nnix("get", "deal", "--json").json
    assert (deal["bid"], deal["state"]) == ("train", "released"), loop.said
    assert nnix("get", "circuit", "--json").json == []
    assert loop.said == ["market: release: 1 deals are over, and let go"]
    before = entries(nnix)
    loop.look(1)
    loop.look(60)
    assert entries(nnix) == before
    assert set(loop.made) == {RELEASE}


def test_a_round_that_fails_is_told_and_the_loop_goes_on(nnix: Nnix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again after one minute, then two; at once with another book. One that is stopped with the loop has not failed."""
    folder = recorded(nnix, tmp_path / "exchange", {"Market/market": {"spot_every": "1min"}})
    assert nnix("compute", "offer", offer(folder, "day", NOW)).status == 0
    assert nnix("compute", "bid", bid(folder, "soon", NOW + 1)).status == 0
    loop = Turned(tmp_path / "state")
    loop.look(0, stopped=True)
    assert (SPOT in loop.batches._made, loop.said) == (False, [])
    right = batching.ROUNDS
    monkeypatch.setattr(batching, "ROUNDS", {**right, SPOT: ("compute", "verify", "999999")})
    loop.look(0)
    assert "0 clearings and matches are called 999999" in loop.said[-1]
    loop.look(1)
    assert loop.made[SPOT].failed == 2
    loop.look(2)
    assert loop.made[SPOT].failed == 2
    loop.look(3)
    assert loop.made[SPOT].failed == 3
    assert nnix("compute", "book", "--json").json["rounds"][-1]["failed"] == 3

    monkeypatch.setattr(batching, "ROUNDS", right)
    loop.look(4)
    assert deals(nnix) == set()
    assert nnix("compute", "offer", offer(folder, "more", NOW + 1, lots=2)).status == 0
    loop.look(4.1)
    assert deals(nnix) == {"soon"}, loop.said
    assert loop.made[SPOT].failed == 0


def test_a_loop_that_starts_again_goes_on_where_it_was(nnix: Nnix, tmp_path: Path) -> None:
    """Within the same minute nothing is due; what fell into its absence is made up for, once; a file that nobody can read is as none."""
    folder = recorded(nnix, tmp_path / "exchange", BOTH)
    loop = Turned(tmp_path / "state")
    loop.look(0.1)
    assert nnix("compute", "offer", offer(folder, "day", NOW)).status == 0
    assert nnix("compute", "bid", bid(folder, "later", NOW + 3)).status == 0
    loop.start()
    loop.look(0.5)
    assert deals(nnix) == set()
    loop.start()
    loop.look(135)
    assert deals(nnix) == {"later"}, loop.said
    rounds_file(loop.batches.setting).write_text("[{")
    loop.start()
    assert loop.batches._made == {}


@pytest.mark.parametrize(
    ("last", "now", "book", "wanted"),
    [
        (None, 0.0, "a", True),
        (Round(59.9, 61), 60.0, "a", True),
        (Round(60.0, 61), 119.9, "a", False),
        (Round(60.0, 61), 59.0, "a", True),
        (Round(60.0, 61, failed=1, book="a"), 120.0, "a", True),
        (Round(60.0, 61, failed=4, book="a"), 60.0 + 7 * 60, "a", False),
        (Round(60.0, 61, failed=4, book="a"), 60.0 + 8 * 60, "a", True),
        (Round(60.0, 61, failed=4, book="a"), 119.9, "b", False),
        (Round(60.0, 61, failed=4, book="a"), 120.0, "b", True),
        (Round(60.0, 61, failed=99, book="a"), 60.0 + 3600, "a", True),
    ],
)
def test_when_a_round_is_due(last: Round | None, now: float, book: str, wanted: bool) -> None:
    """At whole minutes; after failures on the same book later, by an hour at most; also when the clock was set back."""
    assert due(last, 60.0, now, lambda: book) is wanted
