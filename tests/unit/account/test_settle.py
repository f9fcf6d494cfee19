"""Settlements: the same meters give the same digest, the book sums to zero, and what changed afterwards shows."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from nnix.kernel.life import Impossible
from nnix.kernel.resource import Ref
from nnix.kernel.snapshot import Snapshot
from nnix.planes.account.book import BookEntry, Posting, Unbalanced, balances, of_dispute, of_line
from nnix.planes.account.kinds import Dispute, DisputeEvent, Invoice, ServiceCredit, Settlement
from nnix.planes.account.page import WORDS, html, rows, yuan
from nnix.planes.account.rate import HOUR_MS, Line, LineKind, Metered
from nnix.planes.account.service import Changed
from nnix.planes.account.settle import Settled, issued, settle
from nnix.planes.account.states import DISPUTE, DisputeState
from nnix.planes.compute.kinds import hour_number
from nnix.planes.compute.meter import Cause, Interval
from nnix.planes.members.kinds import Member, Money, Title
from tests.unit.account.test_rate import metered
from tests.unit.compute.exchanges import Changes, snapshot

START = hour_number("2026-11-26T10Z") * HOUR_MS
UNTIL = "2026-11-26T12:00:00Z"
TARIFF: Changes = {
    "Tariff/y2026": {
        "title": {"en": "2026"}, "start": "2026-01-01T00Z", "buyer_fee_permille": 10, "seller_fee_permille": 20,
        "credits": [{"cause": "node-lost", "percent": 100}],
        "tiers": [{"name": "small", "title": {"en": "Small"}, "members": ["buyer"], "fee_percent": 50}],
        "subsidies": [{"name": "vouchers", "title": {"en": "Vouchers"}, "members": ["buyer"], "percent": 30}],
    },
}  # fmt: skip


def ran(device: int, begin: int, end: int, cause: Cause = Cause.RAN, deal: str = "train-1") -> Interval:
    return Interval("gpus", f"n1/{device}", deal, "train", 1, 1000, START + begin, START + end, cause)


RECORDS = metered(
    [
        *(ran(n, 0, HOUR_MS) for n in range(8)),
        *(ran(n, HOUR_MS, HOUR_MS + 1_800_000, Cause.RESIZED) for n in range(8)),
        *(ran(n, HOUR_MS + 1_800_000, 2 * HOUR_MS, Cause.FINISHED) for n in range(2)),
    ]
)


def settled(
    changes: Changes | None = None, records: Sequence[Metered] = RECORDS, until: str = UNTIL, model: Snapshot | None = None
) -> Settled:
    return settle(snapshot({**TARIFF, **(changes or {})}) if model is None else model, 7, {"gpus": records, "npus": []}, [], until)


def test_an_invoice_can_be_checked_by_hand() -> None:
    """Eight devices at 8 yuan for an hour; at 9 yuan eight for half of the next, then two for the rest of it; a fee of 1 % of which a small member
    pays half, a subsidy of 30 %, and the transfer."""
    statement = settled().of("buyer")
    use = 8 * 800 + 8 * 450 + 2 * 450
    assert {str(each.kind): each.amount for each in statement.pays if each.kind is not LineKind.USE} == {"buyer-fee": 54, "transfer": 2000}
    assert sum(each.amount for each in statement.pays if each.kind is LineKind.USE) == use == 10_900
    assert statement.owes == use + 54 + 2000  # 54.5, to the even
    assert statement.owed == 3_270
    seller = settled().of("east")
    assert (seller.owed, seller.owes) == (use, 218)


def test_rating_again_gives_the_identical_digest_whatever_the_order_of_reading() -> None:
    shuffled = list(RECORDS)
    random.Random(3).shuffle(shuffled)
    assert settled(records=shuffled).content == settled().content
    assert settled(records=shuffled).of("buyer").digest == settled().of("buyer").digest


@pytest.mark.parametrize("field", ["end_ms", "begin_ms", "share_thousandths", "cause", "digest", "device"])
def test_a_record_that_was_altered_gives_another_digest(field: str) -> None:
    """Whatever field: at the least the record's digest is another."""
    other = {"cause": "node-lost", "digest": "f" * 64, "device": "n2/0", "share_thousandths": 999}
    change: dict[str, Any] = {field: other[field] if field in other else getattr(RECORDS[3], field) - 1}
    altered = replace(RECORDS[3], **change)
    altered = altered if field == "digest" else replace(altered, digest="e" * 64)  # as the chain would have it
    assert settled(records=[*RECORDS[:3], altered, *RECORDS[4:]]).digest != settled().digest


def test_every_line_opens_down_to_records_or_to_lines_that_do() -> None:
    made = settled()
    lines = {each.id: each for each in made.lines}
    for line in made.lines:
        if line.kind is LineKind.TRANSFER:
            continue  # it follows from the deal that it is about
        assert line.parts or line.of
        assert all(lines[source].parts for source in line.of)
    digests = {each.seq: each.digest for each in RECORDS}
    assert all(digests[part.seq] == part.digest for line in made.lines for part in line.parts)


def test_a_document_read_back_is_the_document() -> None:
    made = settled(records=[*RECORDS, replace(RECORDS[-1], seq=len(RECORDS) + 1, deal="unknown")])
    assert [each.deal for each in made.unrated] == ["unknown"]
    again = Settled.read(made.content)
    assert again == made and again.content == made.content
    for wrong in (b"[]", b"{}", b"no"):
        with pytest.raises(ValueError, match=r"."):
            Settled.read(wrong)


def test_a_record_that_comes_late_is_in_the_next_settlement_and_in_no_other() -> None:
    """The meter was down while the first was made: what it had written by then is charged there, and what it wrote later after that."""
    first = settled(records=RECORDS[:10])
    model = snapshot(TARIFF).replaced(issued(first, snapshot(TARIFF)))
    second = settled(until="2026-11-26T13:00:00Z", model=model)
    assert (first.number, second.number) == (1, 2)
    counted = [part.seq for made in (first, second) for line in made.lines if line.kind is LineKind.USE for part in line.parts]
    assert sorted(counted) == [each.seq for each in RECORDS]
    used = sum(line.amount for made in (first, second) for line in made.lines if line.kind is LineKind.USE)
    assert used == 10_900


def test_a_record_of_an_unknown_deal_is_told_once_and_charged_to_nobody() -> None:
    records = [*RECORDS, replace(RECORDS[-1], seq=len(RECORDS) + 1, deal="unknown")]
    first = settled(records=records)
    assert [(each.seq, each.deal) for each in first.unrated] == [(len(records), "unknown")]
    model = snapshot(TARIFF).replaced(issued(first, snapshot(TARIFF)))
    assert settled(records=records, until="2026-11-26T13:00:00Z", model=model).unrated == ()


def test_what_ran_after_the_end_of_a_settlement_is_not_in_it() -> None:
    first = settled(until="2026-11-26T11:00:00Z")
    assert first.heads["gpus"] == (8, RECORDS[7].digest)


def test_a_meter_that_was_settled_further_than_it_goes_is_refused() -> None:
    model = snapshot(TARIFF).replaced(issued(settled(), snapshot(TARIFF)))
    with pytest.raises(ValueError, match="ends at 17, and was settled up to 18"):
        settled(records=RECORDS[:-1], until="2026-11-26T13:00:00Z", model=model)
    with pytest.raises(ValueError, match="cannot be read"):
        settle(model, 9, {}, [], "2026-11-26T13:00:00Z")


def test_a_subsidy_stops_at_its_limit_over_all_settlements() -> None:
    limited: Changes = {"Tariff/y2026": {**(TARIFF["Tariff/y2026"] or {}), "subsidies": [
        {"name": "vouchers", "title": {"en": "V"}, "members": ["buyer"], "percent": 30, "member_max": "20yuan"}]}}  # fmt: skip
    first = settled(limited, until="2026-11-26T11:00:00Z")
    assert sum(each.amount for each in first.lines if each.kind is LineKind.SUBSIDY) == 1_920
    model = snapshot({**TARIFF, **limited})
    model = model.replaced(issued(first, model))
    second = settled(model=model)
    assert sum(each.amount for each in second.lines if each.kind is LineKind.SUBSIDY) == 80
    (invoice,) = (each for each in issued(second, model) if isinstance(each, Invoice) and each.member == "buyer")
    assert [(each.subsidy, each.amount) for each in invoice.subsidized] == [("vouchers", 2_000)]


def test_a_granted_credit_is_paid_once_with_the_next_settlement() -> None:
    granted: Changes = {"ServiceCredit/cut": {"member": "buyer", "amount": "120yuan", "about": "circuit/x", "reason": "cut off"}}
    first = settled(granted, until="2026-11-26T11:00:00Z")
    (line,) = (each for each in first.lines if each.kind is LineKind.SERVICE_CREDIT)
    assert (line.payer, line.payee, line.amount) == ("exchange/credits", "buyer/buyer", 12_000)
    model = snapshot({**TARIFF, **granted})
    second = settled(model=model.replaced(issued(first, model)))
    assert not [each for each in second.lines if each.kind is LineKind.SERVICE_CREDIT]
    by_member = replace_giver(model)
    assert next(each.payer for each in settled(model=by_member).lines if each.kind is LineKind.SERVICE_CREDIT) == "credit/east"


def replace_giver(model: Snapshot) -> Snapshot:
    credit = model.of(ServiceCredit)[0]
    return model.replaced([credit.changed(giver=Ref.to(Member, "east"))])


# The book.


def test_the_book_sums_to_zero_and_members_accounts_say_what_invoices_say() -> None:
    made = settled()
    found = balances(map(of_line, made.lines))
    assert sum(found.values()) == 0
    assert found["buyer/buyer"] == made.of("buyer").owes - made.of("buyer").owed
    assert found["seller/east"] == made.of("east").owes - made.of("east").owed
    assert found["exchange/fee"] == -(54 + 218)
    assert found["subsidy/vouchers"] == 3_270


def test_an_entry_that_makes_something_of_nothing_is_refused() -> None:
    with pytest.raises(Unbalanced, match="sum to 1 fen"):
        BookEntry("x", (Posting("buyer/a", 2), Posting("seller/b", -1)))


LINE = Line("l", LineKind.USE, "deal/d", "buyer/buyer", "seller/east", 400)


def dispute(*events: tuple[str, int | None]) -> Dispute:
    return Dispute(
        name="d1",
        invoice=Ref.to(Invoice, "i"),
        line="l",
        amount=Money(400),
        reason="was killed",
        events=tuple(
            DisputeEvent(event=event, at=f"2026-12-0{number + 1}T00:00:00Z", refund=None if refund is None else Money(refund))
            for number, (event, refund) in enumerate(events)
        ),
    )


@pytest.mark.parametrize(
    ("events", "buyer", "seller", "escrow"),
    [
        ((), 0, 400, -400),
        ((("answer", None),), 0, 400, -400),
        ((("lapse", None),), -400, 400, 0),
        ((("withdraw", None),), 0, 0, 0),
        ((("answer", None), ("uphold", None)), -400, 400, 0),
        ((("answer", None), ("reject", None)), 0, 0, 0),
        ((("answer", None), ("withdraw", None)), 0, 0, 0),
        ((("answer", None), ("settle", 150)), -150, 150, 0),
    ],
)
def test_what_is_in_dispute_is_held_and_then_goes_where_it_was_decided(
    events: Sequence[tuple[str, int | None]], buyer: int, seller: int, escrow: int
) -> None:
    """What has moved against the invoice: below zero is got back or held, above zero is not paid out."""
    found = balances(of_dispute(dispute(*events), LINE))
    assert (found["buyer/buyer"], found["seller/east"], found["escrow/d1"]) == (buyer, seller, escrow)


def test_whom_a_dispute_is_about_is_not_its_own_to_say() -> None:
    """The account that is held back is the one that the line pays."""
    with pytest.raises(ValidationError, match="payee"):
        Dispute.model_validate({**dispute().model_dump(), "payee": "seller/innocent"})


def test_a_dispute_that_has_ended_does_not_go_on() -> None:
    """Every event without a row is refused by name."""
    ended = set(DisputeState) - {state for state, _ in DISPUTE}
    assert ended == {DisputeState.UPHELD, DisputeState.REJECTED, DisputeState.SETTLED, DisputeState.WITHDRAWN}
    with pytest.raises(Impossible, match="it has ended"):
        balances(of_dispute(dispute(("lapse", None), ("answer", None)), LINE))


# For people.


def test_the_page_says_every_amount_and_every_record_and_names_nobody_unescaped() -> None:
    statement = settled().of("buyer")
    page = html(statement, Title(en="A & <B>", zh="甲"), Title(en="Lab", zh="交换中心"))
    assert "A &amp; &lt;B&gt; 甲" in page and "<B>" not in page
    for row in rows(statement):
        assert f">{yuan(row.fen)}<" in page
        assert all(part.digest[:16] in page for part in row.line.parts)
    assert statement.digest in page and "应付" in page
    assert html(statement, Title(en="A & <B>", zh="甲"), Title(en="Lab", zh="交换中心")) == page


def test_every_word_of_an_invoice_is_there_in_both_languages() -> None:
    words = {*map(str, LineKind), *map(str, Cause)}
    assert words <= WORDS.keys()
    assert all(english and any("一" <= each <= "鿿" for each in chinese) for english, chinese in WORDS.values())


def test_yuan_are_written_from_whole_fen() -> None:
    assert [yuan(each) for each in (0, 7, -7, 123_456, -100)] == ["0.00", "0.07", "-0.07", "1,234.56", "-1.00"]


# Ports and circuits.

MONTHLY: Changes = {
    "Tariff/y2026": {
        "title": {"en": "2026"}, "start": "2026-01-01T00Z",
        "ports": [{"speed": "100G", "month": "3000yuan"}, {"speed": "10G", "month": "600yuan"}],
        "circuits": [{"capacity": "1G", "month": "100yuan"}, {"capacity": "10G", "month": "500yuan"}],
        "tiers": [{"name": "small", "title": {"en": "Small"}, "members": ["buyer"], "port_percent": 50, "circuit_percent": 80}],
    },
}  # fmt: skip
DAY_MS = 24 * HOUR_MS


def port(name: str, **more: object) -> dict[str, object]:
    return {"kind": "Port", "name": name, "member": "buyer", "site": "hz", "speed": "100G", "state": "production", **more}


def change(seq: int, hour: str, put: Sequence[dict[str, object]] = (), gone: Sequence[str] = ()) -> Changed:
    return Changed(seq, f"{seq:064x}", hour_number(hour) * HOUR_MS, put, gone)


def port_lines(changes: Sequence[Changed], until: str, model: Snapshot | None = None) -> dict[str, int]:
    made = settle(snapshot(MONTHLY) if model is None else model, 9, {}, changes, until)
    return {each.id: each.amount for each in made.lines}


def test_a_port_pays_for_its_days_in_service_and_a_small_member_half() -> None:
    """Ten of November's thirty days at 100G, then twenty at 10G: half of 1,000 and of 400 yuan."""
    changes = [change(1, "2026-11-01T00Z", [port("p")]), change(2, "2026-11-11T00Z", [port("p", speed="10G")])]
    assert port_lines(changes, "2026-12-01T00:00:00Z") == {
        "port/p/p/2026-11/y2026/300000/50": 50_000,
        "port/p/p/2026-11/y2026/60000/50": 20_000,
    }


@pytest.mark.parametrize("away", [[port("p", state="suspended")], []])
def test_a_port_pays_nothing_while_it_has_no_light(away: Sequence[dict[str, object]]) -> None:
    gone = [] if away else ["port/p"]
    changes = [change(1, "2026-11-01T00Z", [port("p")]), change(2, "2026-11-16T00Z", away, gone), change(3, "2026-11-30T00Z", [port("q")])]
    found = port_lines(changes, "2026-11-30T00:00:00Z")
    assert found == {"port/p/p/2026-11/y2026/300000/50": 75_000}


def test_ports_over_a_port_and_what_follows_from_a_deal_pay_nothing() -> None:
    changes = [change(1, "2026-11-01T00Z", [port("a", over="p", vlan=5), port("b", owner="deal/x"), port("c", state="reserved")])]
    assert port_lines(changes, "2026-12-01T00:00:00Z") == {}


def test_two_settlements_of_a_month_add_up_to_it() -> None:
    changes = [change(1, "2026-02-01T00Z", [port("p", member="east")])]
    first = settle(snapshot(MONTHLY), 9, {}, changes, "2026-02-11T07:00:00Z")
    model = snapshot(MONTHLY).replaced(issued(first, snapshot(MONTHLY)))
    second = settle(model, 9, {}, changes, "2026-03-01T00:00:00Z")
    amounts = [line.amount for made in (first, second) for line in made.lines]
    assert sum(amounts) == 300_000 and len(amounts) == 2


def test_a_circuit_is_paid_at_each_end_by_the_least_capacity_that_is_enough() -> None:
    circuit: dict[str, object] = {"kind": "Circuit", "name": "c", "ends": ["p", "q"], "capacity": "2G"}
    changes = [
        change(1, "2026-11-01T00Z", [port("p"), port("q", member="east")]),
        change(2, "2026-11-16T00Z", [circuit]),
    ]
    found = {key: amount for key, amount in port_lines(changes, "2026-12-01T00:00:00Z").items() if key.startswith("circuit")}
    assert found == {"circuit/c/p/2026-11/y2026/50000/80": 20_000, "circuit/c/q/2026-11/y2026/50000/100": 25_000}


def test_a_line_about_a_port_opens_down_to_the_entries_of_the_ledger() -> None:
    changes = [change(4, "2026-11-01T00Z", [port("p")])]
    (line,) = settle(snapshot(MONTHLY), 9, {}, changes, "2026-12-01T00:00:00Z").lines
    assert (line.chain, [(each.seq, each.digest, each.quantity) for each in line.parts]) == ("ledger", [(4, f"{4:064x}", 30 * DAY_MS)])


def test_what_is_issued_is_what_rules_admit() -> None:
    """Settlement and invoices as resources, through the ledger's JSON and back."""
    put = issued(settled(), snapshot(TARIFF))
    assert [type(each) for each in put] == [Settlement, Invoice, Invoice]
    for each in put:
        fields = json.loads(json.dumps(each.record()))
        assert type(each).model_validate({key: value for key, value in fields.items() if key not in ("kind", "version")}) == each
