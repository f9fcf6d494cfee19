"""Admission of tariffs, credits, invoices and disputes.

The guidelines for national IXPs (MIIT, 30 Dec 2025) are cited by article where these fields follow them: 12 for small and medium companies, 13 for
subsidies. Which terms are right is the exchange's affair; what is refused here would have no meaning, or two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nnix.kernel.life import Impossible, follow
from nnix.kernel.rule import Broken, Rule, rule
from nnix.kernel.snapshot import Snapshot
from nnix.planes.account.kinds import Dispute, Invoice, ServiceCredit, Settlement, Tariff
from nnix.planes.account.states import DISPUTE, DisputeState

MODEL = "nnix, kinds of the account plane"
SMALL = "guidelines for national IXPs (MIIT, 30 Dec 2025), article 12"
HELP = "guidelines for national IXPs (MIIT, 30 Dec 2025), article 13"
ONCE = "double entry: what is paid is paid once"


@rule("account.tariff-one-at-a-time", source=MODEL, whole=True)
def tariff_one_at_a_time(tariff: Tariff, snapshot: Snapshot) -> Iterator[Broken]:
    """A tariff ends after it starts, and at no hour two tariffs hold. One without an end ends where the next starts."""
    if tariff.end is not None and tariff.end <= tariff.start:
        yield Broken("end", tariff.end, f"an hour after {tariff.start}")
    for other in snapshot.of(Tariff):
        if other is tariff:
            continue
        if other.start == tariff.start and other.name < tariff.name:
            yield Broken("start", tariff.start, f"another hour; {other.id} starts then")
        elif other.start < tariff.start and other.end is not None and other.end > tariff.start:
            yield Broken("start", tariff.start, f"{other.end} or later, when {other.id} ends", f"end {other.id} at {tariff.start}")


@rule("account.tier-for-somebody", source=SMALL)
def tier_for_somebody(tariff: Tariff, snapshot: Snapshot) -> Iterator[Broken]:
    """Each tier of a tariff has a name of its own, and says for whom it is."""
    yield from _for_somebody("tiers", [(each.name, bool(each.classes or each.members)) for each in tariff.tiers])


@rule("account.subsidy-for-somebody", source=HELP)
def subsidy_for_somebody(tariff: Tariff, snapshot: Snapshot) -> Iterator[Broken]:
    """Each subsidy of a tariff has a name of its own, and says for whom it is."""
    yield from _for_somebody("subsidies", [(each.name, bool(each.classes or each.members)) for each in tariff.subsidies])


def _for_somebody(field: str, named: list[tuple[str, bool]]) -> Iterator[Broken]:
    times = Counter(name for name, _ in named)
    for index, (name, somebody) in enumerate(named):
        if not somebody:
            yield Broken(f"{field}[{index}].classes", "nobody", "classes of members, or members by name")
        if times[name] > 1:
            yield Broken(f"{field}[{index}].name", name, "a name of its own")


@rule("account.subsidies-below-price", source=HELP)
def subsidies_below_price(tariff: Tariff, snapshot: Snapshot) -> Iterator[Broken]:
    """All subsidies together pay no more than the price: nobody earns by computing."""
    percent = sum(each.percent for each in tariff.subsidies)
    if percent > 100:
        yield Broken("subsidies", f"{percent} percent together", "at most 100")


@rule("account.term-once", source=MODEL)
def term_once(tariff: Tariff, snapshot: Snapshot) -> Iterator[Broken]:
    """A tariff has one price for each speed and each capacity, and one credit for each cause."""
    listed = {
        "credits": [str(each.cause) for each in tariff.credits],
        "ports": [str(each.speed) for each in tariff.ports],
        "circuits": [str(each.capacity) for each in tariff.circuits],
    }
    for field, values in listed.items():
        for value, times in Counter(values).items():
            if times > 1:
                yield Broken(field, f"{value} {times} times", "each once")


@rule("account.credit-between-two", source=ONCE)
def credit_between_two(credit: ServiceCredit, snapshot: Snapshot) -> Iterator[Broken]:
    """A credit is more than nothing, and nobody gives one to itself."""
    if credit.amount == 0:
        yield Broken("amount", credit.amount, "1fen or more")
    if credit.giver == credit.member:
        yield Broken("giver", credit.giver, "another member, or none for the exchange")


@rule("account.settlement-in-line", source=ONCE, whole=True)
def settlement_in_line(settlement: Settlement, snapshot: Snapshot) -> Iterator[Broken]:
    """Settlements are numbered without gap, each ends after the one before, no meter goes back, and no credit is paid twice."""
    number = settlement.number
    if number > 1:
        found = snapshot.where(Settlement, number=number - 1)
        if not found:
            yield Broken("number", number, f"{number - 1} first")
            return
        before = found[0]
        if settlement.until <= before.until:
            yield Broken("until", settlement.until, f"an hour after {before.until}, where {before.id} ended")
        read = {each.pool: each.seq for each in settlement.heads}
        for head in before.heads:
            if read.get(head.pool, -1) < head.seq:
                yield Broken("heads", f"{head.pool} at {read.get(head.pool, 'none')}", f"{head.seq} or more, as far as {before.id} read")
    for other in snapshot.where(Settlement, number=number):
        if other.name < settlement.name:
            yield Broken("number", number, f"another number; {other.id} has it")
    payers = {other.name: other for credit in settlement.credits for other in snapshot.where(Settlement, credits=credit)}
    for _, other in sorted(payers.items()):
        if other.number < number:
            twice = set(other.credits) & set(settlement.credits)
            yield Broken("credits", ", ".join(sorted(twice)), f"credits that {other.id} has not paid")


@rule("account.invoice-once", source=ONCE)
def invoice_once(invoice: Invoice, snapshot: Snapshot) -> Iterator[Broken]:
    """A member has one invoice of a settlement."""
    same = [each for each in snapshot.where(Invoice, settlement=invoice.settlement) if each.member == invoice.member]
    if invoice is not same[0]:
        yield Broken("member", invoice.member, f"one invoice; {same[0].id} is there")


@rule("account.dispute-in-order", source=MODEL)
def dispute_in_order(dispute: Dispute, snapshot: Snapshot) -> Iterator[Broken]:
    """A dispute goes the way of its table, in the order of time; a settlement says how much goes back, and only a settlement does."""
    try:
        follow(DISPUTE, DisputeState.FILED, (each.event for each in dispute.events))
    except Impossible as impossible:
        yield Broken("events", impossible.event, f"when {impossible.state}: {', '.join(impossible.possible) or 'nothing, it has ended'}")
    times = [each.at for each in dispute.events]
    if times != sorted(times):
        yield Broken("events", ", ".join(times), "in the order of time")
    for index, each in enumerate(dispute.events):
        if (each.event == "settle") != (each.refund is not None):
            yield Broken(f"events[{index}].refund", each.refund or "unset", "with settle, and only with it")
        elif each.refund is not None and each.refund > dispute.amount:
            yield Broken(f"events[{index}].refund", each.refund, f"at most {dispute.amount}, which is in dispute")


@rule("account.dispute-about-what-is-owed", source=ONCE, whole=True)
def dispute_about_what_is_owed(dispute: Dispute, snapshot: Snapshot) -> Iterator[Broken]:
    """What is contested is more than nothing and part of what the invoice's member owes; a line is contested once."""
    invoice = snapshot.at(dispute.invoice)
    if not 0 < dispute.amount <= invoice.owes:
        yield Broken("amount", dispute.amount, f"from 1fen to {invoice.owes}, which {invoice.id} comes to")
    for other in snapshot.where(Dispute, invoice=dispute.invoice):
        if other.name < dispute.name and other.line == dispute.line:
            yield Broken("line", dispute.line, f"another line; {other.id} is about this one")


RULES: tuple[Rule, ...] = (
    tariff_one_at_a_time,
    tier_for_somebody,
    subsidy_for_somebody,
    subsidies_below_price,
    term_once,
    credit_between_two,
    settlement_in_line,
    invoice_once,
    dispute_in_order,
    dispute_about_what_is_owed,
)
