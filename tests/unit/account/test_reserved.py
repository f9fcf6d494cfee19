"""What was reserved and not used: every gap once, charged to nobody where the pool made it, and taken back where a late record fills it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnix.planes.account.book import balances, of_line
from nnix.planes.account.kinds import Outage
from nnix.planes.account.rate import HOUR_DEVICE_MICROSECONDS, HOUR_MS, Line, LineKind, Metered, rate
from nnix.planes.account.reserved import DEALS_OWN, TAKEN_BACK, UNUSED, reserved
from nnix.planes.account.service import Changed
from nnix.planes.account.settle import Settled, deals_made, issued, settle
from nnix.planes.account.terms import Terms
from nnix.planes.compute.meter import Cause, Interval
from tests.unit.account.test_rate import HOUR, MINUTE, START, TERMS, histories, metered, ran
from tests.unit.account.test_settle import RECORDS, TARIFF
from tests.unit.account.test_settle import START as FIRST_HOUR_MS
from tests.unit.compute.exchanges import Changes, snapshot

HALF = replace(TERMS, reserved_percent=50)
AFTER = START + 3 * HOUR_MS


def kept(intervals: Iterable[Interval], terms: Terms = HALF, until_ms: int = START + HOUR_MS) -> tuple[Line, ...]:
    return reserved(terms, metered(intervals), until_ms=until_ms)


def told(lines: Iterable[Line]) -> list[tuple[str, int, int]]:
    """Hour, device-minutes, fen of each line."""
    return [(each.hour[-3:], each.quantity // 1000 // MINUTE, each.amount) for each in lines]


def test_what_nobody_ran_on_pays_the_part_that_the_tariff_says() -> None:
    """Four devices for an hour at 8.50 yuan. One ran for half of it: 210 device-minutes of 240 were kept for nothing, half of whose price is 14.88 yuan
    (14.875, to the even)."""
    (line,) = kept([ran(0, 15 * MINUTE, 45 * MINUTE, Cause.FINISHED)])
    assert told([line]) == [("08Z", 210, 1488)]
    assert (line.payer, line.payee, line.about, line.cause) == ("buyer/canal", "seller/cloud", "deal/train", UNUSED)


def test_a_line_opens_to_the_deal_and_to_the_gaps_between_records() -> None:
    """Each gap stands after the record that had begun last; the first after none."""
    records = metered([ran(0, 15 * MINUTE, 45 * MINUTE, Cause.FINISHED)])
    (line,) = reserved(HALF, records, until_ms=START + HOUR_MS)
    opened = [((part.from_ms - START) // MINUTE, (part.to_ms - START) // MINUTE, part.quantity // 1000 // MINUTE) for part in line.parts]
    assert opened == [(0, 15, 60), (15, 45, 90), (45, 60, 60)]
    known = records[0].seq, records[0].digest
    assert [(part.seq, part.digest) for part in line.parts] == [DEALS_OWN, known, known]
    assert line.chain == "meter/gpus"


@pytest.mark.parametrize(
    ("percent", "fen"),
    [(0, None), (1, 34), (100, 3400)],
)
def test_the_tariff_says_how_much(percent: int, fen: int | None) -> None:
    lines = kept([], replace(TERMS, reserved_percent=percent))
    assert [each.amount for each in lines] == ([] if fen is None else [fen])


def test_a_part_of_a_device_leaves_the_rest_of_it_unused() -> None:
    assert told(kept([ran(0, 0, HOUR_MS, share=250)])) == [("08Z", 225, 1594)]  # 1593.75


def test_nothing_is_kept_before_the_deal_was_made_and_no_hour_is_rated_before_it_is_over() -> None:
    """Spot is sold in the middle of its hour."""
    lines = kept([], replace(HALF, made_ms=START + 45 * MINUTE), until_ms=START + 2 * HOUR_MS - 1)
    assert told(lines) == [("08Z", 60, 425)]


@pytest.mark.parametrize("cause", list(Outage))
def test_what_an_outage_took_is_nobodys_to_pay_until_the_job_runs_again(cause: Outage) -> None:
    """Two of four devices are lost for ten minutes: 2 x 10 device-minutes are excused, and no more."""
    lost = [ran(n, 0, 20 * MINUTE, Cause(cause)) for n in (0, 1)]
    again = [ran(n, 30 * MINUTE, 60 * MINUTE, Cause.FINISHED, run=2) for n in (2, 3)]
    assert told(kept([*lost, *again])) == [("08Z", 120, 850)]


def test_what_an_outage_took_for_good_is_excused_to_the_end_of_the_deal() -> None:
    lines = kept([ran(n, 0, 20 * MINUTE, Cause.NODE_LOST) for n in range(3)], until_ms=AFTER)
    assert told(lines) == [("08Z", 60, 425), ("09Z", 60, 500), ("10Z", 60, 166)]


def test_a_run_that_goes_on_with_fewer_devices_has_not_got_back_what_it_lost() -> None:
    """An elastic job loses one of two devices; that the other's record is cut at a checkpoint does not make the lost one its buyer's again."""
    lost = [ran(0, 0, 20 * MINUTE, Cause.NODE_LOST), ran(1, 0, 30 * MINUTE, saved=True), ran(1, 30 * MINUTE, 60 * MINUTE, Cause.FINISHED)]
    assert told(kept(lost)) == [("08Z", 120, 850)]


@pytest.mark.parametrize("cause", [each for each in Cause if str(each) not in {str(outage) for outage in Outage}])
def test_what_its_buyer_let_go_is_kept_for_him(cause: Cause) -> None:
    assert told(kept([ran(n, 0, 30 * MINUTE, cause) for n in range(4)])) == [("08Z", 120, 850)]


def test_use_and_gaps_never_come_to_more_than_was_bought() -> None:
    """Five of four devices for half an hour, of which 2.5 device-hours are charged as used: 1.5 are left to be kept, not two."""
    intervals = [ran(n, 0, 30 * MINUTE, Cause.FINISHED) for n in range(5)]
    assert told(kept(intervals)) == [("08Z", 90, 638)]  # 637.5
    used = sum(each.quantity for each in rate(TERMS, metered(intervals)) if each.kind is LineKind.USE)
    assert used + sum(each.quantity for each in kept(intervals)) == 4 * HOUR_DEVICE_MICROSECONDS


def test_a_late_record_takes_back_what_was_charged_and_charges_anew() -> None:
    """The meter was down while the hour was settled. In the next settlement it tells that three devices ran all the time."""
    records = metered(ran(n, 0, HOUR_MS) for n in range(4))
    first = reserved(HALF, records[:1], until_ms=START + HOUR_MS)
    assert told(first) == [("08Z", 180, 1275)]
    second = reserved(HALF, records[:3], since=1, since_ms=START + HOUR_MS, until_ms=START + HOUR_MS + 1)
    assert [(each.cause, each.payer, each.payee, each.amount) for each in second] == [
        (TAKEN_BACK, "seller/cloud", "buyer/canal", 1275),
        (UNUSED, "buyer/canal", "seller/cloud", 425),
    ]
    third = reserved(HALF, records, since=3, since_ms=START + HOUR_MS + 1, until_ms=START + HOUR_MS + 2)
    assert [(each.cause, each.amount) for each in third] == [(TAKEN_BACK, 425)]


def test_fees_are_taken_from_it_and_a_fund_pays_nothing_of_it() -> None:
    terms = replace(HALF, buyer_fee=10 * 100, seller_fee=20 * 100)
    records = metered([ran(n, 0, HOUR_MS, Cause.FINISHED) for n in range(2)])
    lines = rate(terms, records, 0, reserved(terms, records, until_ms=START + HOUR_MS))
    amounts = {str(each.kind): each.amount for each in lines}
    assert amounts == {"use": 1700, "reserved": 850, "buyer-fee": 26, "seller-fee": 51}  # 25.5, to the even


def by_hand(terms: Terms, history: Sequence[Interval], hour: int) -> int:
    """Device-microseconds of an hour that were kept and not used, by other means: moment by moment between all that is told, whole and at once."""
    begin, end = max(hour * HOUR_MS, terms.made_ms), (hour + 1) * HOUR_MS
    over = (max(terms.prices) + 1) * HOUR_MS
    first = {(each.job, each.run): min(o.begin_ms for o in history if (o.job, o.run) == (each.job, each.run)) for each in history}
    excused = [
        (
            each.end_ms,
            min([over, *(at for (job, run), at in first.items() if job == each.job and run > each.run and at >= each.end_ms)]),
            each,
        )
        for each in history
        if str(each.cause) in {str(outage) for outage in Outage}
    ]
    moments = sorted(
        {begin, end}
        | {at for each in history for at in (each.begin_ms, each.end_ms) if begin < at < end}
        | {at for low, high, _ in excused for at in (low, high) if begin < at < end}
    )
    idle = 0
    for low, high in pairwise(moments):
        used = sum(each.share_thousandths for each in history if each.begin_ms <= low and each.end_ms >= high)
        used += sum(each.share_thousandths for a, b, each in excused if a <= low and b >= high)
        idle += max(0, 1000 * terms.devices - used) * (high - low)
    in_hour = sum(each.share_thousandths * max(0, min(each.end_ms, end) - max(each.begin_ms, hour * HOUR_MS)) for each in history)
    return min(idle, max(0, terms.devices * HOUR_DEVICE_MICROSECONDS - in_hour)) if begin < end else 0


@settings(deadline=None, max_examples=150)
@given(histories(), st.integers(0, 2 * HOUR_MS), st.integers(1, 5), st.randoms(use_true_random=False))
def test_whatever_ran_each_gap_is_charged_once(history: list[Interval], made: int, devices: int, chance: random.Random) -> None:
    """Hour by hour what is left of the deal's devices, whatever ran; parts follow one another; the book sums to zero; the order of reading has no say."""
    terms = replace(HALF, made_ms=START + made, devices=devices)
    records = metered(history)
    lines = reserved(terms, records, until_ms=AFTER)
    quantities = {each.hour: each.quantity for each in lines}
    for hour in terms.prices:
        name = f"2026-11-26T{8 + hour - HOUR:02}Z"
        assert quantities.get(name, 0) == by_hand(terms, history, hour)
    for line in lines:
        assert line.quantity == sum(part.quantity for part in line.parts)
        assert all(one.to_ms <= other.from_ms for one, other in pairwise(line.parts))
    whole = rate(terms, records, 0, lines)
    assert sum(balances(map(of_line, whole)).values()) == 0
    shuffled = list(records)
    chance.shuffle(shuffled)
    assert reserved(terms, shuffled, until_ms=AFTER) == lines


@settings(deadline=None, max_examples=100)
@given(histories(), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4 * HOUR_MS)), max_size=4))
def test_however_often_one_settles_it_comes_to_the_same_fen(history: list[Interval], cuts: list[tuple[int, int]]) -> None:
    """Hours settled early, records read late: what is charged and taken back comes, hour by hour, to what one settlement would have charged."""
    records = metered(history)
    ends = [(min(each, len(records)), START + at) for each, at in zip(sorted(a for a, _ in cuts), sorted(b for _, b in cuts), strict=True)]
    balance: dict[str, int] = {}
    before = (0, 0)
    for end, until_ms in [*ends, (len(records), START + 5 * HOUR_MS)]:
        for line in reserved(HALF, records[:end], since=before[0], since_ms=before[1], until_ms=until_ms):
            balance[line.hour] = balance.get(line.hour, 0) + (line.amount if line.payer.startswith("buyer/") else -line.amount)
        before = end, until_ms
    once = {each.hour: each.amount for each in reserved(HALF, records, until_ms=START + 5 * HOUR_MS)}
    assert {hour: fen for hour, fen in balance.items() if fen} == {
        hour: fen for hour, fen in once.items() if fen
    }  # a moment rounds to nothing


# In a settlement.

RESERVING: Changes = {"Tariff/y2026": {**(TARIFF["Tariff/y2026"] or {}), "reserved_percent": 25}}
MADE = [
    Changed(3, "d" * 64, FIRST_HOUR_MS - HOUR_MS, [{"kind": "Deal", "name": "train-1"}], []),
    Changed(4, "d" * 64, FIRST_HOUR_MS, [], ["deal/train-1"]),
    Changed(5, "d" * 64, FIRST_HOUR_MS + 30 * MINUTE, [{"kind": "Deal", "name": "train-1"}], []),
    Changed(6, "d" * 64, FIRST_HOUR_MS + 40 * MINUTE, [{"kind": "Deal", "name": "train-1"}], []),
]


def settled(records: Sequence[Metered], until: str = "2026-11-26T12:00:00Z", changes: Sequence[Changed] = ()) -> Settled:
    return settle(snapshot(RESERVING), 7, {"gpus": records, "npus": []}, changes, until)


def test_a_settlement_charges_it_and_comes_to_the_same_digest_again() -> None:
    """Of eight devices six were idle for the second half of the second hour, at 9 yuan: a quarter of 27 yuan. The buyer pays what the seller gets."""
    made = settled(RECORDS)
    (line,) = (each for each in made.lines if each.kind is LineKind.RESERVED)
    assert (line.hour, line.amount, line.percent) == ("2026-11-26T11Z", 675, 25)
    assert line in made.of("buyer").pays and line in made.of("east").gets
    assert Settled.read(made.content) == made
    assert settled(list(reversed(RECORDS))).digest == made.digest
    assert sum(balances(map(of_line, made.lines)).values()) == 0
    used = sum(each.amount for each in made.lines if each.kind is LineKind.USE)
    assert {str(each.kind): each.amount for each in made.lines if each.kind in (LineKind.BUYER_FEE, LineKind.SUBSIDY)} == {
        "buyer-fee": round((used + 675) * 0.005),
        "subsidy": round(used * 0.3),
    }


def test_a_deal_is_kept_from_the_change_that_made_it() -> None:
    """Made, taken back, made again in mid-hour, and altered: it counts from the second time on."""
    assert deals_made(MADE) == {"train-1": FIRST_HOUR_MS + 30 * MINUTE}
    lines = [each for each in settled([], changes=MADE).lines if each.kind is LineKind.RESERVED]
    assert told(lines) == [("10Z", 240, 800), ("11Z", 480, 1800)]


def test_a_settled_hour_is_not_charged_again_by_the_next_settlement() -> None:
    first = settled(RECORDS)
    model = snapshot(RESERVING).replaced(issued(first, snapshot(RESERVING)))
    second = settle(model, 9, {"gpus": RECORDS, "npus": []}, [], "2026-11-26T13:00:00Z")
    assert [each for each in second.lines if each.kind is LineKind.RESERVED] == []
