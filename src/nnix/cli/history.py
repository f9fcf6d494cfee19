"""Commands that account for what was done: the log, the model at any moment, and the proof that nobody rewrote it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from nnix.cli import tables
from nnix.cli.command import DONE, REFUSED, begun, json_option, kind_named, pass_setting, resource_named
from nnix.cli.otherwise import Otherwise
from nnix.cli.root import Setting
from nnix.kernel.change import Unknown
from nnix.kernel.document import write
from nnix.kernel.ledger import Entry
from nnix.kernel.snapshot import Snapshot


@click.command()
@click.argument("resource", required=False, metavar="[KIND/NAME]")
@click.option("--what", help="Only entries of this sort: change, verified, reverted, refused, approved, rehearsal, drift …")
@click.option("-n", "--newest", type=click.IntRange(1), default=30, show_default=True, help="How many, counted from the newest.")
@json_option
@pass_setting
def log(setting: Setting, resource: str | None, what: str | None, newest: int, as_json: bool) -> int:
    """Who did what, when and why; with KIND/NAME, only what touched that resource."""
    begun(setting)
    entries = [e for e in setting.ledger.entries(what=what) if resource is None or _touches(setting, e, resource)][-newest:]
    if as_json:
        tables.as_json(
            [{"seq": e.seq, "at": e.at.isoformat(), "who": e.who, "what": e.what, "why": e.why, "digest": e.digest} for e in entries]
        )
    else:
        rows = [(e.seq, f"{e.at:%Y-%m-%d %H:%M:%S}", e.who, e.what, _told(e), e.why) for e in entries]
        tables.table("", ("entry", "at (UTC)", "who", "what", "about", "why"), rows)
    return DONE


def _touches(setting: Setting, entry: Entry, resource: str) -> bool:
    if entry.what != "change":
        return resource in (entry.body.get("of"), entry.body.get("plan"))  # approvals and rehearsals
    return resource in entry.body["gone"] or any(setting.book.resource(each).id == resource for each in entry.body["put"])


def _told(entry: Entry) -> str:
    match entry.what:
        case "change":
            undoes = f", undoes {entry.body['undoes']}" if entry.body.get("undoes") else ""
            return f"{len(entry.body['put'])} put, {len(entry.body['gone'])} gone{undoes}"
        case "verified" | "reverted":
            return f"change {entry.body.get('change')}"
        case "refused":
            return f"{len(entry.body.get('refusals', ()))} refusals"
        case "drift":
            return "/".join(entry.body.get("artifact", ()))
        case "approved" if "of" in entry.body:
            return f"{entry.body['of']} as {entry.body['as']}"
        case "approved":
            return f"plan {str(entry.body.get('plan'))[:12]}"
        case "rehearsal":
            return f"{entry.body['plan']}: {entry.body['outcome']}"
    return ""


@click.command()
@click.argument("what", required=False, metavar="[ENTRY|KIND/NAME]")
@click.option("--at", metavar="TIME|SEQ", help="As it was then: an entry's number, or a time like 2026-11-24T08:00.")
@json_option
@pass_setting
def show(setting: Setting, what: str | None, at: str | None, as_json: bool) -> int:
    """The model now, or as it was; one resource of it; or one entry of the ledger.

    \b
      nnix show                               the whole model, as files would say it
      nnix show --at 3                        … after entry 3
      nnix show member/alibaba --at 2026-11-24T08:00
      nnix show 7                             entry 7 of the ledger
    """
    begun(setting)
    if what is not None and what.isdecimal():
        entry = setting.ledger.entry(int(what))
        if entry is None:
            raise Unknown(f"there is no entry {what}; `nnix log` lists them")
        tables.as_json({"seq": entry.seq, "at": entry.at.isoformat(), "who": entry.who, "what": entry.what, "why": entry.why,
                        "before": entry.before, "digest": entry.digest, "body": entry.body})  # fmt: skip
        return DONE
    snapshot = snapshot_at(setting, at)
    chosen = [resource_named(snapshot, what)] if what else list(snapshot.declared)
    if as_json:
        tables.as_json([each.record() for each in chosen])
    else:
        click.echo(write(chosen), nl=False)
    return DONE


def snapshot_at(setting: Setting, at: str | None) -> Snapshot:
    """The model's resources now, after an entry, or at a time (UTC unless it says otherwise)."""
    if at is None:
        return setting.book.model().snapshot
    if at.isdecimal():
        head = setting.ledger.head.seq
        if int(at) > head:
            raise Unknown(f"there is no entry {at}; the newest is {head}")
        return setting.book.model_at(int(at)).snapshot
    entry = setting.ledger.as_of(moment_of(at, "neither an entry's number nor a"))
    return setting.book.model_at(entry.seq).snapshot if entry else Snapshot()


def moment_of(text: str, otherwise: str = "no") -> datetime:
    """A time, UTC unless it says otherwise. Raises a usage error: `text` is `otherwise` time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is {otherwise} time like 2026-11-24T08:00:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command()
@click.option("--sign-anew", is_flag=True, help="Begin a signed head for a ledger that has none here, if its chain is sound.")
@json_option
@pass_setting
def verify(setting: Setting, sign_anew: bool, as_json: bool) -> int:
    """Is the ledger what was written? Finds a flipped bit, a dropped record, and a tail that was cut off.

    A ledger restored from a copy, or read on another machine, has no signed head here. --sign-anew begins one: what was cut
    before is not seen any more, so it is for you to decide (docs/ledger.md).
    """
    if not setting.begun:
        raise LookupError(f"there is no ledger in {setting.state} yet")
    if sign_anew:
        try:
            head = setting.ledger.sign_anew()
        except ValueError as there:
            raise click.UsageError(str(there)) from None
        tables.err.print(f"entry {head.seq} is signed as the head, digest {head.digest}; note both elsewhere", markup=False)
    faults = setting.ledger.verify()
    if as_json:
        tables.as_json({"ok": not faults, "faults": [{"seq": f.seq, "what": f.what} for f in faults]})
    elif faults:
        for fault in faults:
            tables.err.print(f"✗ {fault}", markup=False)
    else:
        head = setting.ledger.head
        tables.out.print(f"✓ {head.seq} entries, unbroken; head {head.digest}")
    return REFUSED if faults else DONE


@click.command()
@click.argument("kind")
@click.argument("name", required=False)
@click.option("-o", "--output", type=click.Choice(["table", "yaml", "json"]), default="table", show_default=True)
@json_option
@pass_setting
def get(setting: Setting, kind: str, name: str | None, output: str, as_json: bool) -> int:
    """Resources of a kind in the model: `nnix get member`, `nnix get member alibaba -o yaml`."""
    begun(setting)
    snapshot = setting.book.model().snapshot
    chosen_kind = kind_named(kind)
    chosen = [resource_named(snapshot, f"{chosen_kind.slug()}/{name}")] if name else list(snapshot.of(chosen_kind))
    if as_json or output == "json":
        tables.as_json([each.record() for each in chosen])
    elif output == "yaml":
        click.echo(write(chosen), nl=False)
    else:
        approved = "approvers" in chosen_kind.model_fields
        columns = ("name", *chosen_kind.columns, *(["approved"] if approved else []))
        rows: list[list[Any]] = []
        for each in chosen:
            record = json.loads(each.model_dump_json(by_alias=False))
            row = [record.get(column) for column in ("name", *chosen_kind.columns)]
            rows.append([*row, str(setting.office.approvals(each))] if approved else row)
        tables.table("", columns, rows)
    return DONE


verify_group = Otherwise("verify", otherwise=verify, help=verify.help)
COMMANDS = (log, show, verify_group, get)
