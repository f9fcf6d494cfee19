"""Rating: each device-second once, at the price of its hour, charged to what caused it; the same whatever the order of reading."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnix.planes.account.book import balances, of_line
from nnix.planes.account.kinds import Outage
from nnix.planes.account.rate import HOUR_DEVICE_MICROSECONDS, HOUR_MS, Line, LineKind, Metered, rate, subsidies
from nnix.planes.account.terms import Help, Terms
from nnix.planes.compute.kinds import hour_named, hour_number
from nnix.planes.compute.meter import EMPTY, Cause, Interval, chained

HOUR = hour_number("2026-11-26T08Z")
START = HOUR * HOUR_MS
MINUTE = 60_000
TERMS = Terms("train", "canal", "cloud", "gpus", 4, {HOUR: 850, HOUR + 1: 1_001, HOUR + 2: 333})

Told = tuple[str, int, int, str]


def metered(intervals: Iterable[Interval]) -> list[Metered]:
    """Records as the meter chains them."""
    found = []
    for each in chained(EMPTY, intervals):
        held = each.interval
        found.append(
            Metered(
                held.pool, each.seq, each.digest, held.device, held.deal, held.job, held.run,
                held.share_thousandths, held.begin_ms, held.end_ms, str(held.cause), held.saved,
            )
        )  # fmt: skip
    return found


def ran(device: int, begin: int, end: int, cause: Cause = Cause.RAN, *, run: int = 1, share: int = 1000, saved: bool = False) -> Interval:
    """One interval of a device, in milliseconds after 08:00."""
    return Interval("gpus", f"gpu-{device}", "train", "job", run, share, START + begin, START + end, cause, saved)


def amounts(lines: Iterable[Line], kind: LineKind = LineKind.USE) -> dict[tuple[str, str], int]:
    return {(each.hour[-3:], each.cause): each.amount for each in lines if each.kind is kind}


@pytest.mark.parametrize(("before", "after", "device_hours", "hourly", "error"), [(4, 1, "7/3", "5/6", -64), (1, 4, "11/6", "10/3", 82)])
def test_a_resize_in_mid_hour_is_charged_by_what_each_size_had(before: int, after: int, device_hours: str, hourly: str, error: int) -> None:
    """The worked example of gpustack/gpustack#6054: 30 minutes, a change of size, 20 minutes, all in one hour. One figure an hour at the last size
    errs by -64 and +82 per cent; ours by nothing."""
    first = [ran(n, 0, 30 * MINUTE, Cause.RESIZED) for n in range(before)]
    then = [ran(n, 32 * MINUTE, 52 * MINUTE, Cause.FINISHED) for n in range(after)]
    lines = rate(TERMS, metered(first + then))
    exact = Fraction(device_hours)
    assert sum(each.quantity for each in lines) == exact * HOUR_DEVICE_MICROSECONDS
    assert sum(amounts(lines).values()) == round(exact * 850)
    at_last_size = Fraction(50, 60) * after
    assert at_last_size == Fraction(hourly) and round((at_last_size / exact - 1) * 100) == error


def test_an_interval_in_two_hours_pays_each_hours_price() -> None:
    lines = rate(TERMS, metered([ran(0, 30 * MINUTE, 90 * MINUTE, Cause.FINISHED)]))
    assert amounts(lines) == {("08Z", "finished"): 425, ("09Z", "finished"): 501}  # 425 and 500.5: the sum goes to the even 926


def test_a_share_of_a_device_pays_its_share() -> None:
    lines = rate(TERMS, metered([ran(0, 0, HOUR_MS, share=250)]))
    assert amounts(lines) == {("08Z", "ran"): 212}  # 212.5, to the even


def test_what_ran_outside_the_hours_of_the_deal_is_told_and_not_charged() -> None:
    lines = rate(TERMS, metered([ran(0, 150 * MINUTE, 200 * MINUTE, Cause.KILLED)]))
    assert amounts(lines) == {("10Z", "killed"): 166}  # 166.5
    assert [(each.hour, each.amount, each.quantity) for each in lines if each.kind is LineKind.OUTSIDE] == [
        ("2026-11-26T11Z", 0, 20 * MINUTE * 1000)
    ]


def test_more_devices_than_were_bought_are_told_and_not_charged() -> None:
    """Five of four: whoever let the fifth run gave it away."""
    lines = rate(TERMS, metered([ran(n, 0, HOUR_MS) for n in range(5)]))
    assert amounts(lines) == {("08Z", "ran"): 4 * 850}
    assert [each.quantity for each in lines if each.kind is LineKind.EXCESS] == [HOUR_DEVICE_MICROSECONDS]


def test_an_interval_without_length_opens_from_a_line_too() -> None:
    (line,) = rate(TERMS, metered([ran(0, 5, 5, Cause.KILLED)]))
    assert (line.amount, line.quantity, [each.seq for each in line.parts]) == (0, 0, [1])


@pytest.mark.parametrize("again", ["same", "other"])
def test_a_record_that_was_given_twice_is_refused(again: str) -> None:
    records = metered([ran(0, 0, 100)])
    with pytest.raises(ValueError, match="twice"):
        rate(TERMS, records + (records if again == "same" else [replace(records[0], end_ms=records[0].end_ms + 1)]))


WITH_CREDIT = replace(TERMS, credits={"node-lost": 100, "preempted": 50})


def test_a_lost_node_gives_back_all_that_its_run_did_since_it_was_saved() -> None:
    """Two devices, saved after 20 minutes, one node lost after 50: 30 minutes of both are worth nothing, 20 are paid."""
    both = [ran(n, 0, 20 * MINUTE, saved=True) for n in (0, 1)] + [ran(n, 20 * MINUTE, 50 * MINUTE, Cause.NODE_LOST) for n in (0, 1)]
    lines = rate(WITH_CREDIT, metered(both))
    assert amounts(lines) == {("08Z", "ran"): 567, ("08Z", "node-lost"): 850}
    (credit,) = (each for each in lines if each.kind is LineKind.CREDIT)
    assert (credit.payer, credit.payee, credit.amount, credit.cause) == ("credit/cloud", "buyer/canal", 850, "node-lost")
    assert [each.seq for each in credit.parts] == [3, 4]


def test_work_that_was_saved_when_it_was_preempted_is_paid() -> None:
    lines = rate(WITH_CREDIT, metered([ran(0, 0, 20 * MINUTE, Cause.PREEMPTED, saved=True)]))
    assert amounts(lines, LineKind.CREDIT) == {}


def test_a_preemption_without_a_checkpoint_gives_back_what_the_terms_say() -> None:
    lines = rate(WITH_CREDIT, metered([ran(0, 0, 20 * MINUTE), ran(0, 20 * MINUTE, 30 * MINUTE, Cause.PREEMPTED)]))
    assert amounts(lines, LineKind.CREDIT) == {("08Z", "preempted"): 212}  # half of 425: 212.5, to the even


@pytest.mark.parametrize("cause", [each for each in Cause if each not in (Cause.NODE_LOST, Cause.PREEMPTED)])
def test_what_ends_by_another_cause_is_paid_in_full(cause: Cause) -> None:
    lines = rate(WITH_CREDIT, metered([ran(0, 0, 20 * MINUTE, cause)]))
    assert amounts(lines, LineKind.CREDIT) == {}


def test_what_one_outage_destroyed_no_later_one_destroys_again() -> None:
    """An elastic job loses a device, goes on with the other, and loses that one as well: each minute is given back once."""
    lines = rate(
        WITH_CREDIT,
        metered([ran(0, 0, 10 * MINUTE, Cause.NODE_LOST), ran(1, 0, 10 * MINUTE), ran(1, 10 * MINUTE, 30 * MINUTE, Cause.NODE_LOST)]),
    )
    (credit,) = (each for each in lines if each.kind is LineKind.CREDIT)
    assert credit.quantity == 40 * MINUTE * 1000 == sum(each.quantity for each in lines if each.kind is LineKind.USE)


def test_a_new_run_is_not_charged_with_the_loss_of_the_one_before() -> None:
    lines = rate(WITH_CREDIT, metered([ran(0, 0, 10 * MINUTE, Cause.NODE_LOST), ran(1, 12 * MINUTE, 42 * MINUTE, Cause.FINISHED, run=2)]))
    (credit,) = (each for each in lines if each.kind is LineKind.CREDIT)
    assert credit.quantity == 10 * MINUTE * 1000


def test_work_that_was_paid_in_one_settlement_is_given_back_in_the_one_that_learns_of_the_loss() -> None:
    records = metered([ran(0, 0, HOUR_MS), ran(0, HOUR_MS, HOUR_MS + 30 * MINUTE, Cause.NODE_LOST)])
    first, second = rate(WITH_CREDIT, records[:1]), rate(WITH_CREDIT, records, since=1)
    assert amounts(first) == {("08Z", "ran"): 850} and amounts(first, LineKind.CREDIT) == {}
    assert amounts(second) == {("09Z", "node-lost"): 500}  # 500.5
    assert sorted(amounts(second, LineKind.CREDIT).values()) == [500, 850]  # 1350.5, to the even


def test_fees_follow_what_is_paid_after_credits_and_transfer_is_paid_once() -> None:
    terms = replace(WITH_CREDIT, transfer=77, buyer_fee=10 * 50, seller_fee=20 * 100)
    records = metered([ran(0, 0, HOUR_MS, Cause.FINISHED), ran(1, 0, 30 * MINUTE, Cause.NODE_LOST, run=2)])
    lines = {str(each.kind): each for each in rate(terms, records) if each.kind not in (LineKind.USE, LineKind.CREDIT)}
    assert (lines["buyer-fee"].payer, lines["buyer-fee"].amount) == ("buyer/canal", 4)  # 5 permille of 850 is 4.25
    assert (lines["seller-fee"].payer, lines["seller-fee"].amount) == ("seller/cloud", 17)
    assert lines["transfer"].amount == 77
    assert all(each.kind is not LineKind.TRANSFER for each in rate(terms, records, since=1))
    assert rate(terms, []) == ()  # nothing ran: no data was moved


def test_a_fund_pays_its_part_up_to_its_limits() -> None:
    help_ = Help("vouchers", 30, settlement_max=200, member_max=1_000)
    terms = replace(TERMS, subsidies=(help_,))
    lines = {"train": rate(terms, metered([ran(0, 0, HOUR_MS)]))}
    assert [(each.payer, each.payee, each.amount) for each in subsidies([terms], lines, {})] == [("subsidy/vouchers", "buyer/canal", 200)]
    for before, now in ((0, 255), (900, 100), (1_000, None)):
        terms = replace(TERMS, subsidies=(replace(help_, settlement_max=None),))
        paid = subsidies([terms], lines, {("vouchers", "canal"): before})
        assert [each.amount for each in paid] == ([now] if now else [])


def test_a_fund_gets_back_what_it_paid_for_work_that_was_lost() -> None:
    terms = replace(WITH_CREDIT, subsidies=(Help("vouchers", 30),))
    records = metered([ran(0, 0, HOUR_MS), ran(0, HOUR_MS, HOUR_MS + 1, Cause.NODE_LOST)])
    second = {"train": rate(terms, records, since=1)}
    (line,) = subsidies([terms], second, {("vouchers", "canal"): 255})
    assert (line.payer, line.payee, line.amount) == ("buyer/canal", "subsidy/vouchers", 255)


def test_the_causes_that_terms_give_credit_for_are_causes_of_the_meter() -> None:
    assert {str(each) for each in Outage} <= {str(each) for each in Cause}


# Any sequence of intervals, resizes and kills.


@st.composite
def histories(draw: st.DrawFn) -> list[Interval]:
    """What a meter may write of one deal: on each of four devices one interval after the other, with any causes, shares, runs and gaps."""
    found: list[Interval] = []
    for device in range(4):
        at = draw(st.integers(-HOUR_MS, HOUR_MS))
        for _ in range(draw(st.integers(0, 5))):
            at += draw(st.sampled_from([0, 0, 1, 7 * MINUTE]))
            length = draw(st.one_of(st.integers(0, 5_000), st.integers(0, 2 * HOUR_MS)))
            share, cause, run = draw(st.sampled_from([1000, 1000, 250, 333])), draw(st.sampled_from(list(Cause))), draw(st.integers(1, 3))
            found.append(ran(device, at, at + length, cause, run=run, share=share, saved=draw(st.booleans())))
            at += length
    return sorted(found, key=lambda each: each.end_ms)


def by_hand(terms: Terms, records: Iterable[Metered]) -> tuple[Fraction, Fraction]:
    """What is to be paid and what is given back, exactly, by other means: overlaps of intervals in fractions of an hour. At most four devices run at
    once in these histories, so none is beyond what was bought."""
    records = list(records)
    used = given = Fraction(0)
    losses: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for each in records:
        if (percent := terms.credits.get(each.cause, 0)) > terms.credits.get(
            losses[each.job, each.run].get(each.end_ms, ""), -1
        ) and percent:
            losses[each.job, each.run][each.end_ms] = each.cause
    for each in records:
        over = ("finished", "failed", "cancelled", "killed")
        same = [other for other in records if (other.job, other.run) == (each.job, each.run)]
        saves = [other.end_ms for other in same if other.saved or other.cause in over]
        for hour, price in terms.prices.items():
            low, high = max(each.begin_ms, hour * HOUR_MS), min(each.end_ms, (hour + 1) * HOUR_MS)
            rate_of = Fraction(price * each.share_thousandths, 1000 * HOUR_MS)
            used += max(0, high - low) * rate_of
            edges = sorted(losses[each.job, each.run].items())
            for index, (at, cause) in enumerate(edges):
                begin = max([edges[index - 1][0] if index else 0, *(save for save in saves if save <= at)])
                given += max(0, min(high, at) - max(low, begin)) * rate_of * Fraction(terms.credits[cause], 100)
    return used, given


@settings(deadline=None, max_examples=150)
@given(histories(), st.randoms(use_true_random=False))
def test_whatever_ran_the_lines_are_the_device_seconds_times_the_price(history: list[Interval], chance: random.Random) -> None:
    """Sum of lines = sum of device-seconds x price, to half a fen; every record is in lines with all that it has; the book sums to zero; and the order
    in which records are read changes nothing."""
    terms = replace(WITH_CREDIT, buyer_fee=1_000, seller_fee=3_000, subsidies=(Help("vouchers", 30),))
    records = metered(history)
    lines = rate(terms, records)
    used, given = by_hand(terms, records)
    assert abs(sum(each.amount for each in lines if each.kind is LineKind.USE) - used) <= Fraction(1, 2)
    assert abs(sum(each.amount for each in lines if each.kind is LineKind.CREDIT) - given) <= Fraction(1, 2)

    opened: dict[int, int] = defaultdict(int)
    for line in lines:
        if line.kind in (LineKind.USE, LineKind.OUTSIDE, LineKind.EXCESS):
            assert line.quantity == sum(part.quantity for part in line.parts)
            for part in line.parts:
                opened[part.seq] += part.quantity
    assert opened == {each.seq: each.device_microseconds for each in records}

    helped = subsidies([terms], {"train": lines}, {})
    assert sum(balances(map(of_line, (*lines, *helped))).values()) == 0

    shuffled = list(records)
    chance.shuffle(shuffled)
    assert rate(terms, shuffled) == lines


@settings(deadline=None, max_examples=100)
@given(histories(), st.lists(st.integers(0, 20), max_size=4))
def test_however_often_one_settles_nobody_is_charged_twice_and_nothing_is_forgotten(history: list[Interval], cuts: list[int]) -> None:
    """Each record is charged in one settlement only, and each loss is given back once; all settlements together differ from a single one by
    at most half a fen each."""
    records = metered(history)
    whole = rate(WITH_CREDIT, records)
    ends = sorted({min(cut, len(records)) for cut in cuts} | {len(records)})
    parts = [rate(WITH_CREDIT, records[:end], since=since) for since, end in zip([0, *ends], ends, strict=False)]
    for kind in (LineKind.USE, LineKind.OUTSIDE, LineKind.EXCESS):
        counted = [(part.seq, part.from_ms, part.quantity) for lines in parts for line in lines if line.kind is kind for part in line.parts]
        assert sorted(counted) == sorted(
            (part.seq, part.from_ms, part.quantity) for line in whole if line.kind is kind for part in line.parts
        )
    for kind in (LineKind.USE, LineKind.CREDIT):
        together = sum(line.amount for lines in parts for line in lines if line.kind is kind)
        once = sum(line.amount for line in whole if line.kind is kind)
        assert abs(together - once) <= len(parts) / 2 + 0.5
    assert hour_named(HOUR) == "2026-11-26T08Z"


@pytest.mark.parametrize("cause", [Cause.CANCELLED, Cause.KILLED, Cause.FAILED, Cause.FINISHED])
def test_no_credit_for_what_was_over_before_the_outage(cause: Cause) -> None:
    """A job of the same name that was withdrawn, and is ordered anew, begins at run 1 again."""
    terms = replace(TERMS, credits={"node-lost": 100})
    lines = rate(terms, metered([ran(0, 0, 50 * MINUTE, cause), ran(0, 52 * MINUTE, 53 * MINUTE, Cause.NODE_LOST)]))
    credit, lost = ([each for each in lines if each.kind is kind and each.cause == "node-lost"] for kind in (LineKind.CREDIT, LineKind.USE))
    assert [each.quantity for each in credit] == [each.quantity for each in lost]


def test_funds_together_pay_no_more_than_there_was_to_pay() -> None:
    """Two halves of 3 fen, each rounded, would be 4."""
    terms = replace(TERMS, subsidies=(Help("one", 50), Help("two", 50)))
    use = Line("x", LineKind.USE, f"deal/{terms.deal}", f"buyer/{terms.buyer}", f"seller/{terms.seller}", 3)
    assert [(each.payer, each.amount) for each in subsidies([terms], {terms.deal: [use]}, {})] == [("subsidy/one", 2), ("subsidy/two", 1)]
