"""Commands of the compute market: orders in, the book, clearings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from nnix.cli import tables
from nnix.cli.booking import booked, orders_in
from nnix.cli.clearing import clear_command, verify_command
from nnix.cli.command import DISAGREES, DONE, REFUSED, begun, json_option, pass_setting, resource_named
from nnix.cli.root import Setting, clock
from nnix.kernel.apply import Applied
from nnix.kernel.ledger import Entry
from nnix.kernel.resource import Resource
from nnix.planes.compute.kinds import Bid, Deal, Job, Offer

files_argument = click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))


@click.group("compute")
def compute_group() -> None:
    """The compute market: offers, bids, clearings, deals; jobs and what they cost."""


def told(what: Applied | Entry | None, about: str, as_json: bool) -> int:
    """Say what became of a change, and the exit status that goes with it."""
    if what is None:
        if as_json:
            tables.as_json({"change": None, "verified": True, "empty": True})
        else:
            tables.out.print("Nothing to do: the book says that already.")
        return DONE
    entry = what.entry if isinstance(what, Applied) else what
    verified = isinstance(what, Applied) and what.verified
    reverted = isinstance(what, Applied) and what.reverted
    if as_json:
        tables.as_json({"change": entry.seq, "verified": verified, "reverted": reverted, "offline": isinstance(what, Entry)})
    elif isinstance(what, Entry):
        tables.out.print(f"✓ change {entry.seq} is recorded: {about}; nothing was driven", markup=False)
    elif verified:
        tables.out.print(f"✓ change {entry.seq}: {about}", markup=False)
    else:
        tables.applied(what)
    return DONE if verified or isinstance(what, Entry) else REFUSED if reverted else DISAGREES


def _ordered(setting: Setting, files: Sequence[Path], kind: type[Resource], why: str, as_json: bool) -> int:
    begun(setting)
    orders = orders_in(files, kind).resources
    about = f"{', '.join(each.id for each in orders)} in the book"
    return told(booked(setting, orders, why or about, now=clock(), quiet=as_json), about, as_json)


why_option = click.option("--why", default="", help="The reason, for the ledger.")


@compute_group.command("offer")
@files_argument
@why_option
@json_option
@pass_setting
def offer(setting: Setting, files: tuple[Path, ...], why: str, as_json: bool) -> int:
    """Put offers into the book: FILE has documents of kind Offer, `-` is the standard input.

    An offer stands until it is withdrawn, sold or past; files that are applied afterwards do not take it away by not naming it.
    """
    return _ordered(setting, files, Offer, why, as_json)


@compute_group.command("bid")
@files_argument
@why_option
@json_option
@pass_setting
def bid(setting: Setting, files: tuple[Path, ...], why: str, as_json: bool) -> int:
    """Put bids into the book: FILE has documents of kind Bid, `-` is the standard input.

    A bid gets one of its alternatives whole, or nothing, at the next clearing.
    """
    return _ordered(setting, files, Bid, why, as_json)


@compute_group.command("withdraw")
@click.argument("orders", metavar="KIND/NAME…", nargs=-1, required=True)
@why_option
@json_option
@pass_setting
def withdraw(setting: Setting, orders: tuple[str, ...], why: str, as_json: bool) -> int:
    """Take offers, bids or jobs out of the book. What is part of a deal stays."""
    begun(setting)
    snapshot = setting.book.model().snapshot
    found = [resource_named(snapshot, each) for each in orders]
    for each in found:
        if not isinstance(each, Offer | Bid | Job):
            raise click.UsageError(f"{each.id} is no order; offers, bids and jobs are")
    about = f"{', '.join(each.id for each in found)} withdrawn"
    return told(booked(setting, (), why or about, [each.id for each in found], quiet=as_json), about, as_json)


@compute_group.command("book")
@json_option
@pass_setting
def book(setting: Setting, as_json: bool) -> int:
    """What stands in the book: offers with what is left of them, and bids without a deal."""
    begun(setting)
    snapshot = setting.book.model().snapshot
    filled = {str(each.bid) for each in snapshot.of(Deal)}
    offers = [(each, snapshot.at(each.pool)) for each in snapshot.of(Offer)]
    bids = [each for each in snapshot.of(Bid) if each.name not in filled]
    if as_json:
        tables.as_json({"offers": [each.record() for each, _ in offers], "bids": [each.record() for each in bids]})
        return DONE
    rows = ((o.name, p.site, p.device, o.lots, o.ask, o.start, o.end) for o, p in offers)
    tables.table("Offers", ("offer", "site", "device", "lots", "ask", "from", "until"), rows)
    tables.out.print()
    wants = ((b.name, b.member, b.limit, len(b.bundles) or len(b.conversions)) for b in bids)
    tables.table("Bids", ("bid", "member", "limit", "alternatives"), wants)
    return DONE


compute_group.add_command(clear_command)
compute_group.add_command(verify_command)
COMMANDS = (compute_group,)
