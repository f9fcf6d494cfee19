"""Commands about money: what meters counted, settlements and invoices, disputes, and the proof that all of it follows from the meters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from nnix.cli import tables
from nnix.cli.booking import booked, orders_in, told
from nnix.cli.command import DONE, REFUSED, as_root, begun, json_option, pass_setting
from nnix.cli.compute import files_argument, why_option
from nnix.cli.metering import MeterSeen, meters
from nnix.cli.otherwise import Otherwise
from nnix.cli.root import Setting, clock
from nnix.kernel.document import nearest
from nnix.kernel.life import follow
from nnix.kernel.resource import Ref
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.account.book import balances, of_dispute, of_line
from nnix.planes.account.kinds import Dispute, DisputeEvent, Invoice, ServiceCredit, Settlement, instant_ms
from nnix.planes.account.page import COLUMNS, html, rows, said, yuan
from nnix.planes.account.rate import Line, Metered
from nnix.planes.account.service import Changed
from nnix.planes.account.settle import Settled, Statement, issued, settle
from nnix.planes.account.states import DISPUTE, EVENTS, DisputeState
from nnix.planes.compute.kinds import Pool, hour_named
from nnix.planes.members.kinds import Exchange, Member, Money, Title

DAMAGED, SOURCE = "account.meter-sound", "docs/account.md"


# --- meters -----------------------------------------------------------------------------------------------------------


@click.command("meter")
@click.argument("pool", required=False, metavar="[POOL]")
@click.option("--records", is_flag=True, help="Every record, not only sums.")
@click.option("--offline", is_flag=True, help="Ask no machine; judge the exchange's own copies.")
@json_option
@pass_setting
def meter(setting: Setting, pool: str | None, records: bool, offline: bool, as_json: bool) -> int:
    """What the meters of pools have counted, by job and cause; verified against what was read before, and against what settlements noted."""
    begun(setting)
    if not offline:
        as_root(setting)
    snapshot = setting.book.model().snapshot
    seen = _meters(setting, snapshot, pool, ask=not offline)
    if as_json:
        tables.as_json([_meter_record(each) for each in seen])
    else:
        if records:
            columns = ("pool", "record", "device", "share", "job", "run", "from", "until", "cause", "saved")
            tables.table("", columns, (_record_row(each) for one in seen for each in one.metered))
        else:
            tables.table("", ("pool", "job", "cause", "records", "device-seconds"), (row for each in seen for row in _sums(each)))
        for each in seen:
            if each.trouble:
                tables.err.print(f"  {each.pool}: {each.trouble}", markup=False)
            for fault in each.audit.faults:
                tables.err.print(f"✗ {each.pool}: {fault}", markup=False)
            if not each.audit.faults:
                tables.out.print(f"✓ {each.pool}: {len(each.audit.records)} records, unbroken; head {each.audit.head.digest}", markup=False)
    return REFUSED if any(each.audit.faults for each in seen) else DONE


def _meters(setting: Setting, snapshot: Snapshot, pool: str | None = None, *, ask: bool = True) -> list[MeterSeen]:
    chosen = [each for each in snapshot.of(Pool) if pool in (None, each.name)]
    if pool and not chosen:
        near = nearest(pool, (each.name for each in snapshot.of(Pool)))
        raise click.UsageError(f"no pool {pool!r}; {f'did you mean {near}?' if near else '`nnix get pool` lists them'}")
    return setting.run(meters(setting, snapshot, chosen, ask=ask))


def _meter_record(seen: MeterSeen) -> Mapping[str, Any]:
    return {
        "pool": seen.pool,
        "head": seen.audit.head._asdict(),
        "ok": not seen.audit.faults,
        "faults": [{"record": each.seq, "what": each.what} for each in seen.audit.faults],
        "trouble": seen.trouble,
        "records": [
            {name: getattr(each, name) for name in Metered.__slots__ if name != "pool"} | {"device_microseconds": each.device_microseconds}
            for each in seen.metered
        ],
    }


def _sums(seen: MeterSeen) -> Iterator[tuple[object, ...]]:
    counts, sums = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for each in seen.metered:
        counts[each.job, each.cause] += 1
        sums[each.job, each.cause] += each.device_microseconds
    for (job, cause), number in sorted(counts.items()):
        yield seen.pool, job, said(cause), number, _seconds(sums[job, cause])


def _seconds(microseconds: int) -> str:
    return f"{microseconds // 10**6}.{microseconds % 10**6 // 1000:03}"


def _record_row(each: Metered) -> tuple[object, ...]:
    return (
        *(each.pool, each.seq, each.device, f"{each.share_thousandths / 1000:g}", each.job, each.run),
        *(_moment(each.begin_ms), _moment(each.end_ms), said(each.cause), "yes" if each.saved else ""),
    )


def _moment(ms: int) -> str:
    return f"{hour_named(ms // 3_600_000)[:-1]}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


# --- settlements --------------------------------------------------------------------------------------------------------


def _changes(setting: Setting, until: int) -> Iterator[Changed]:
    for entry in setting.ledger.entries(until=until, what="change"):
        yield Changed(entry.seq, entry.digest, round(entry.at.timestamp() * 1000), entry.body["put"], entry.body["gone"])


def _sound(seen: Sequence[MeterSeen]) -> dict[str, Sequence[Metered]]:
    """The records of all meters. Raises Refused where one is not what was written: nothing is charged by it."""
    faults = [
        Refusal(f"pool/{each.pool}", "meter", str(fault), "a meter as it was written", DAMAGED, SOURCE, "compare with the exchange's copy")
        for each in seen
        for fault in each.audit.faults
    ]
    if faults:
        raise Refused(faults)
    return {each.pool: each.metered for each in seen}


def _again(settlement: Settlement, then: Snapshot, changes: Iterable[Changed], chains: Mapping[str, Sequence[Metered]]) -> Settled:
    """A settlement rated anew, from the meters as far as it read them and the model as it was then."""
    read = {each.pool: each.seq for each in settlement.heads}
    records = {pool: [each for each in chains.get(pool, ()) if each.seq <= seq] for pool, seq in read.items()}
    return settle(then, settlement.model, records, (each for each in changes if each.seq <= settlement.model), settlement.until)


def _kept(setting: Setting, settlement: Settlement) -> Settled:
    """A settlement as it was issued. Raises LookupError where its document is lost; `invoice verify` rates it anew."""
    content = setting.vault.get(settlement.digest)
    if content is None:
        raise LookupError(f"the document of {settlement.id} is not in the vault; `nnix compute invoice verify --restore` rates it anew")
    return Settled.read(content)


@click.command("settle")
@click.option("--until", metavar="INSTANT", help="End of what is settled: an hour or a second in UTC, like 2026-12-01T00Z. [now]")
@click.option("--dry-run", is_flag=True, help="Show what it would come to; issue nothing.")
@why_option
@json_option
@pass_setting
def settle_command(setting: Setting, until: str | None, dry_run: bool, why: str, as_json: bool) -> int:
    """Read all meters, rate what they counted since the last settlement, and issue an invoice to everybody whom it concerns."""
    begun(setting)
    as_root(setting)
    model = setting.book.model()
    now = _second(clock())
    end = now if until is None else _instant(until)
    if end > now:
        raise click.UsageError(f"{end} is not over; at most {now}")
    seen = _meters(setting, model.snapshot)
    for each in seen:
        if each.trouble:
            tables.err.print(f"  {each.pool}: {each.trouble}", markup=False)
    made = settle(model.snapshot, model.seq, _sound(seen), _changes(setting, model.seq), end)
    if dry_run:
        if as_json:
            tables.as_json({**made.record(), "digest": made.digest})
        else:
            for member in made.members:
                _show(made.of(member))
        return DONE
    setting.vault.keep([made.content])
    put = issued(made, model.snapshot)
    about = f"settlement {made.name}: {len(made.lines)} lines, {len(put) - 1} invoices"
    return told(booked(setting, put, why or about, quiet=as_json), about, as_json)


# --- invoices -----------------------------------------------------------------------------------------------------------


@click.command("invoice")
@click.argument("which", required=False, metavar="[MEMBER|INVOICE]")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write it as a page to be printed.")
@json_option
@pass_setting
def invoice(setting: Setting, which: str | None, page: Path | None, as_json: bool) -> int:
    """Invoices that were issued; with a member, its newest, every line of which opens down to meter records.

    \b
      nnix compute invoice settle                    issue what is due
      nnix compute invoice                           all of them
      nnix compute invoice grand-canal               the newest of a member
      nnix compute invoice grand-canal --html a.html
      nnix compute invoice verify                    rate everything anew
    """
    begun(setting)
    snapshot = setting.book.model().snapshot
    if which is None:
        found = sorted(snapshot.of(Invoice), key=lambda each: (snapshot.at(each.settlement).number, each.member))
        if as_json:
            tables.as_json([each.record() for each in found])
        else:
            listed = ((e.name, e.member, snapshot.at(e.settlement).until, yuan(e.owes), yuan(e.owed), e.digest[:16]) for e in found)
            tables.table("", ("invoice", "member", "until", "to pay, yuan", "to receive, yuan", "digest"), listed)
        return DONE
    chosen = _named(snapshot, which)
    statement = _kept(setting, snapshot.at(chosen.settlement)).of(chosen.member)
    if statement.digest != chosen.digest:
        raise LookupError(f"what is kept of {chosen.id} has another digest than what was issued; `nnix compute invoice verify` says more")
    if page is not None:
        member = snapshot.get(Member, chosen.member)
        page.write_text(html(statement, member.title if member else Title(en=chosen.member), snapshot.of(Exchange)[0].title))
    if as_json:
        tables.as_json({"invoice": chosen.name, "digest": chosen.digest, **statement.record()})
    elif page is None:
        _show(statement)
    else:
        tables.out.print(f"✓ {chosen.name} is in {page}", markup=False)
    return DONE


def _named(snapshot: Snapshot, which: str) -> Invoice:
    word = which.removeprefix("invoice/").removeprefix("member/")
    if (found := snapshot.get(Invoice, word)) is not None:
        return found
    newest = max(snapshot.where(Invoice, member=word), key=lambda each: snapshot.at(each.settlement).number, default=None)
    if newest is None:
        known = {*(each.name for each in snapshot.of(Invoice)), *(str(each.member) for each in snapshot.of(Invoice))}
        near = nearest(word, known)
        raise click.UsageError(f"no invoice {which!r}; {f'did you mean {near}?' if near else '`nnix compute invoice` lists them'}")
    return newest


def _show(statement: Statement) -> None:
    tables.table(
        f"{said('invoice')} {statement.name}, {said('until')} {statement.until}",
        list(map(said, COLUMNS)),
        (each.cells for each in rows(statement)),
    )
    sums = (("pays", statement.owes), ("gets", statement.owed), ("balance", statement.owes - statement.owed))
    tables.out.print("  ".join(f"{said(word)} {yuan(fen)}" for word, fen in sums), markup=False)
    tables.out.print(f"{said('digest')} {statement.digest}", markup=False)


@click.command("verify")
@click.option("--offline", is_flag=True, help="Ask no machine; use the exchange's own copies of the meters.")
@click.option("--restore", is_flag=True, help="Put documents that are lost back into the vault, where they come out as issued.")
@json_option
@pass_setting
def verify_command(setting: Setting, offline: bool, restore: bool, as_json: bool) -> int:
    """Do all invoices follow from the meters? Rates every settlement anew, and compares digests to the last bit."""
    begun(setting)
    if not offline:
        as_root(setting)
    snapshot = setting.book.model().snapshot
    seen = _meters(setting, snapshot, ask=not offline)
    faults = [f"{each.pool}: {fault}" for each in seen for fault in each.audit.faults]
    chains = {each.pool: each.metered for each in seen}
    sound = []
    settlements = sorted(snapshot.of(Settlement), key=lambda each: (each.model, each.number))
    changes = list(_changes(setting, settlements[-1].model)) if settlements else []  # all read once, however many settlements there are
    thens = setting.book.models_at(each.model for each in settlements)
    for settlement, then in zip(settlements, thens, strict=True):
        found, again = _compared(snapshot, settlement, then.snapshot, changes, chains)
        faults += found
        if not found and again is not None:
            sound.append(settlement)
            if restore:
                setting.vault.keep([again.content])
    if as_json:
        tables.as_json({"ok": not faults, "faults": faults, "settlements": [each.digest for each in sound]})
        return REFUSED if faults else DONE
    for fault in faults:
        tables.err.print(f"✗ {fault}", markup=False)
    for each in sound:
        tables.out.print(f"✓ {each.id}: {each.lines} lines, the same to the last bit; digest {each.digest}", markup=False)
    return REFUSED if faults else DONE


def _compared(
    snapshot: Snapshot, settlement: Settlement, then: Snapshot, changes: Iterable[Changed], chains: Mapping[str, Sequence[Metered]]
) -> tuple[list[str], Settled | None]:
    try:
        again = _again(settlement, then, changes, chains)
    except ValueError as wrong:
        return [f"{settlement.id}: {wrong}"], None
    faults = []
    if again.digest != settlement.digest:
        faults.append(f"{settlement.id}: comes to {again.digest[:12]}… now, and was issued as {settlement.digest[:12]}…")
    for each in snapshot.where(Invoice, settlement=settlement.name):
        statement = again.of(each.member)
        if (statement.digest, statement.owes, statement.owed) != (each.digest, each.owes, each.owed):
            now = f"pays {yuan(statement.owes)}, gets {yuan(statement.owed)}"
            faults.append(f"{each.id}: {now} now, and was issued as pays {yuan(each.owes)}, gets {yuan(each.owed)}")
    return faults, again


# --- the book, disputes, credits ----------------------------------------------------------------------------------------


@click.command("book")
@json_option
@pass_setting
def book_command(setting: Setting, as_json: bool) -> int:
    """What every account owes (above zero) or is owed, over all settlements and disputes. The sum is zero."""
    begun(setting)
    snapshot = setting.book.model().snapshot
    entries = [of_line(line) for each in snapshot.of(Settlement) for line in _kept(setting, each).lines]
    for dispute in snapshot.of(Dispute):
        entries += of_dispute(dispute, _line(setting, snapshot, snapshot.at(dispute.invoice), dispute.line))
    found = balances(entries)
    if as_json:
        tables.as_json({"accounts": dict(sorted(found.items())), "entries": len(entries), "sum": sum(found.values())})
    else:
        tables.table("", ("account", "owes, yuan"), [(account, yuan(fen)) for account, fen in sorted(found.items())])
        number = len(snapshot.of(Settlement))
        tables.out.print(
            f"✓ {len(entries)} entries, {number} settlements, {len(snapshot.of(Dispute))} disputes; sum {yuan(sum(found.values()))}"
        )
    return DONE


def _line(setting: Setting, snapshot: Snapshot, chosen: Invoice, line: str) -> Line:
    """A line that an invoice has to pay. Raises a usage error."""
    statement = _kept(setting, snapshot.at(chosen.settlement)).of(chosen.member)
    for each in statement.pays:
        if each.id == line:
            return each
    near = nearest(line, (each.id for each in statement.pays))
    hint = f"did you mean {near}?" if near else f"`nnix compute invoice {chosen.name} --json` lists them"
    raise click.UsageError(f"{chosen.id} has no line {line!r} to pay; {hint}")


@click.command("dispute")
@click.argument("which", metavar="INVOICE")
@click.argument("line", metavar="LINE")
@click.option("--amount", metavar="MONEY", help="How much of it, like 12.34yuan. [all]")
@click.option("--why", required=True, help="The reason.")
@json_option
@pass_setting
def dispute_command(setting: Setting, which: str, line: str, amount: str | None, why: str, as_json: bool) -> int:
    """Contest a line of an invoice, by its id: what is contested is held until it is decided (`nnix compute invoice decide`)."""
    begun(setting)
    snapshot = setting.book.model().snapshot
    chosen = _named(snapshot, which)
    found = _line(setting, snapshot, chosen, line)
    contested = Money(found.amount) if amount is None else _money(amount)
    if contested > found.amount:
        raise click.UsageError(f"{line} comes to {Money(found.amount)}, less than {contested}")
    number = 1 + len(snapshot.of(Dispute))
    dispute = Dispute(
        name=f"d{number:04}",
        invoice=Ref.to(Invoice, chosen.name),
        line=line,
        amount=contested,
        reason=why,
    )
    about = f"{dispute.id}: {contested} of {line} is held"
    return told(booked(setting, [dispute], why, quiet=as_json), about, as_json)


@click.command("decide")
@click.argument("dispute", metavar="DISPUTE")
@click.argument("event", metavar="EVENT", type=click.Choice(EVENTS))
@click.option("--refund", metavar="MONEY", help="With settle: what goes back to the buyer.")
@why_option
@json_option
@pass_setting
def decide(setting: Setting, dispute: str, event: str, refund: str | None, why: str, as_json: bool) -> int:
    """What became of a dispute. EVENT: answer, uphold, reject, settle (in between), withdraw, or lapse (without an answer in time)."""
    begun(setting)
    snapshot = setting.book.model().snapshot
    found = snapshot.get(Dispute, dispute.removeprefix("dispute/"))
    if found is None:
        raise click.UsageError(f"no dispute {dispute!r}; `nnix get dispute` lists them")
    step = DisputeEvent(event=event, at=_second(clock()), refund=None if refund is None else _money(refund))
    changed = found.changed(events=(*found.events, step))
    settled = booked(setting, [changed], why or f"{event} {found.id}", quiet=as_json)
    state = follow(DISPUTE, DisputeState.FILED, (each.event for each in changed.events))
    return told(settled, f"{found.id} is {state}", as_json)


def _second(at: datetime) -> str:
    """Cut to the second, never rounded up."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _instant(text: str) -> str:
    """An hour or a second in UTC, as a second. Raises a usage error."""
    whole = f"{text[:-1]}:00:00Z" if re.fullmatch(r"[0-9-]{10}T[0-9]{2}Z", text) else text
    try:
        instant_ms(whole)
    except ValueError:
        whole = ""
    if not re.fullmatch(r"20[0-9-]{8}T[0-9:]{8}Z", whole):
        raise click.UsageError(f"{text!r} is neither an hour like 2026-12-01T00Z nor a second like 2026-12-01T00:00:00Z")
    return whole


def _money(text: str) -> Money:
    try:
        return Money.parse(text)
    except ValueError as wrong:
        raise click.UsageError(f"{text!r}: accepted is {wrong}") from None


@click.command("credit")
@files_argument
@why_option
@json_option
@pass_setting
def credit(setting: Setting, files: tuple[Path, ...], why: str, as_json: bool) -> int:
    """Grant credits: FILE has documents of kind ServiceCredit. They are paid with the next settlement."""
    begun(setting)
    orders = orders_in(setting, files, ServiceCredit).resources
    about = f"{', '.join(each.id for each in orders)} granted"
    return told(booked(setting, orders, why or about, quiet=as_json), about, as_json)


invoice_group = Otherwise("invoice", otherwise=invoice, help=invoice.help)
for _command in (settle_command, verify_command, book_command, dispute_command, decide, credit):
    invoice_group.add_command(_command)
COMMANDS = (meter, invoice_group)
