"""Commands of the compute market: orders in, the book, clearings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from nnix.cli import tables
from nnix.cli.batching import intervals, rounds_made
from nnix.cli.booking import booked, orders_in, refusals_kept, told
from nnix.cli.clearing import CLEARING, clear_command, lapsed
from nnix.cli.command import DONE, as_root, begun, json_option, pass_setting, resource_named
from nnix.cli.files import put_whole
from nnix.cli.matching import traded
from nnix.cli.proof import verify_command
from nnix.cli.root import Setting, clock
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.derive import circuit_of, contract_of
from nnix.planes.compute.kinds import Bid, Deal, DealState, Job, Offer, hour_named, hour_number, hour_of
from nnix.planes.compute.market.plot import lines
from nnix.planes.compute.market.watch import Suspicion, Trade, suspicions, trades
from nnix.planes.compute.read import pool_seen, work_per_device_hour
from nnix.planes.compute.wanted import unfilled
from nnix.planes.data.kinds import DataContract
from nnix.planes.fabric.kinds import Circuit
from nnix.planes.members.kinds import Member, Money

AS_MEASURED = "compute.conversion-as-measured"
files_argument = click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))


@click.group("compute")
def compute_group() -> None:
    """The compute market: offers, bids, clearings, deals; jobs and what they cost."""


def _ordered(setting: Setting, files: Sequence[Path], kind: type[Resource], matching: bool, why: str, as_json: bool) -> int:
    begun(setting)
    orders = orders_in(setting, files, kind).resources
    about = f"{', '.join(each.id for each in orders)} in the book"
    with refusals_kept(setting, why or about):
        as_measured(setting, orders)
    if matching:
        found = traded(setting, orders, why or about, quiet=as_json)
        if not as_json:
            found.show()
        return told(found.what, about, as_json, found.facts())
    return told(booked(setting, orders, why or about, now=clock(), quiet=as_json), about, as_json)


def as_measured(setting: Setting, orders: Sequence[Resource]) -> None:
    """Ask the pools' job agents whether probes did as much as bids say that they measured. Raises Refused."""
    snapshot = setting.book.model().snapshot
    claims = [
        (bid, f"conversions[{index}]", each, job, snapshot.at(job.probe))
        for bid in orders
        if isinstance(bid, Bid)
        for index, each in enumerate(bid.conversions)
        if each.measured_by is not None and (job := snapshot.get(Job, each.measured_by)) is not None and job.probe is not None
    ]
    if not claims:
        return
    as_root(setting)
    pools = {pool.name: pool for *_, pool in claims}
    said = {name: setting.run(pool_seen(pool, setting.machines)) for name, pool in pools.items()}
    refusals = []
    for bid, field, each, job, pool in claims:
        seen = said[pool.name]
        did = work_per_device_hour(seen.jobs.get(job.name, {}))
        if did is None:
            accept = "a probe that has run and has said how much it did"
            refusals.append(Refusal(bid.id, f"{field}.measured_by", job.id, accept, AS_MEASURED, "docs/compute.md", seen.trouble))
        elif each.work_per_hour > did:
            accept = f"at most {did}, which is what {job.id} did in an hour on each device"
            refusals.append(Refusal(bid.id, f"{field}.work_per_hour", str(each.work_per_hour), accept, AS_MEASURED, "docs/compute.md"))
    if refusals:
        raise Refused(refusals)


why_option = click.option("--why", default="", help="The reason, for the ledger.")
match_option = click.option(
    "--match",
    "matching",
    is_flag=True,
    help="Match it with what stands in the book at once, as `nnix compute match` does, in the same change.",
)


@compute_group.command("offer")
@files_argument
@match_option
@why_option
@json_option
@pass_setting
def offer(setting: Setting, files: tuple[Path, ...], matching: bool, why: str, as_json: bool) -> int:
    """Put offers into the book: FILE has documents of kind Offer, `-` is the standard input.

    An offer stands until it is withdrawn, sold or past; files that are applied afterwards do not take it away by not naming it.
    """
    return _ordered(setting, files, Offer, matching, why, as_json)


@compute_group.command("bid")
@files_argument
@match_option
@why_option
@json_option
@pass_setting
def bid(setting: Setting, files: tuple[Path, ...], matching: bool, why: str, as_json: bool) -> int:
    """Put bids into the book: FILE has documents of kind Bid, `-` is the standard input.

    A bid gets one of its alternatives whole, or nothing, at the next clearing.
    """
    return _ordered(setting, files, Bid, matching, why, as_json)


@compute_group.command("match")
@click.option("--dry-run", is_flag=True, help="Say what would come of it; record nothing.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the match here as well, for whoever wants to check it (`nnix compute verify`).",
)
@why_option
@json_option
@pass_setting
def match_command(setting: Setting, dry_run: bool, output: Path | None, why: str, as_json: bool) -> int:
    """Match standard lots between clearings: by price, then by time, each at the price of the order that was there first.

    Standard lots are devices of one type at a named site for one hour, without data and without a circuit. The match is published in the ledger, and its deals are
    one change.
    """
    begun(setting)
    found = traded(setting, (), why, dry_run=dry_run, quiet=as_json)
    if output:
        put_whole(output, (json.dumps(found.match.record(), ensure_ascii=False, indent=1) + "\n").encode())
    if not as_json:
        found.show()
    if dry_run or found.what is None:
        if as_json:
            tables.as_json({"change": None, "dry_run": dry_run, **found.facts()})
        elif not found.match.fills:
            tables.out.print("Nothing in the book meets.")
        return DONE
    return told(found.what, "standard lots are matched", as_json, {"dry_run": False, **found.facts()})


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


@compute_group.command("release")
@why_option
@json_option
@pass_setting
def release(setting: Setting, why: str, as_json: bool) -> int:
    """Let go of deals whose hours are over, with their circuits and contracts. `nnix run` does so every minute, and each clearing does."""
    begun(setting)
    over = lapsed(setting.book.model().snapshot)
    about = f"{len(over)} deals are over"
    return told(booked(setting, over, why or about, quiet=as_json), about, as_json)


@compute_group.command("book")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Draw the asks of each product into this file (SVG).")
@json_option
@pass_setting
def book(setting: Setting, output: Path | None, as_json: bool) -> int:
    """What stands in the book: offers with what is left of them, bids without a deal, when `nnix run` clears, and what a supervisor would ask about."""
    begun(setting)
    snapshot = setting.book.model().snapshot
    left = {each.name: _left(each, snapshot) for each in snapshot.of(Offer)}
    offers = [(each, snapshot.at(each.pool)) for each in snapshot.of(Offer) if left[each.name]]
    bids = unfilled(snapshot)
    found = suspicions(snapshot)
    rounds = _rounds(setting, snapshot)
    if output:
        put_whole(output, _stairs(snapshot, left).encode())
    if as_json:
        tables.as_json(
            {
                "offers": [{**each.record(), "left": left[each.name]} for each, _ in offers],
                "bids": [each.record() for each in bids],
                "rounds": rounds,
                "findings": [asdict(each) for each in found],
            }
        )
        return DONE
    rows = ((o.name, p.member, p.site, p.device, left[o.name], o.ask, o.start, o.end) for o, p in offers)
    tables.table("Offers", ("offer", "member", "site", "device", "lots left", "ask", "from", "until"), rows)
    tables.out.print()
    wants = ((b.name, b.member, b.limit, len(b.bundles) or len(b.conversions)) for b in bids)
    tables.table("Bids", ("bid", "member", "limit", "alternatives"), wants)
    tables.out.print()
    tables.table("Rounds of `nnix run`", ("round", "every", "last", "what came of it"),
                 ((r["round"], f"{r['every_seconds']:g} s", r["began_at"] or "never", r["words"]) for r in rounds))  # fmt: skip
    _suspected(found)
    return DONE


def _rounds(setting: Setting, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Each sort of round that `nnix run` makes, and how its newest went."""
    made = rounds_made(setting)
    found = []
    for sort, every_seconds in intervals(snapshot).items():
        last = made.get(sort)
        began = datetime.fromtimestamp(last.began, UTC).isoformat(timespec="seconds") if last else None
        words, failed = (last.words, last.failed) if last else ("", 0)
        found.append({"round": sort, "every_seconds": every_seconds, "began_at": began, "failed": failed, "words": words})
    return found


def _left(offer: Offer, snapshot: Snapshot) -> int:
    """Lots that are left in all of its hours together."""
    sold = sum(deal.devices * len(deal.hours) for deal in snapshot.where(Deal, offer=offer.name))
    return offer.lots * (hour_number(offer.end) - hour_number(offer.start)) - sold


def _stairs(snapshot: Snapshot, left: Mapping[str, int]) -> str:
    """Each product's asks over lots, the cheapest first."""
    asks: dict[str, list[tuple[int, int]]] = {}
    for each in snapshot.of(Offer):
        pool = snapshot.at(each.pool)
        asks.setdefault(f"{pool.device} at {pool.site}", []).append((int(each.ask), left[each.name]))
    series: dict[str, list[tuple[float, float]]] = {}
    for product, steps in sorted(asks.items()):
        total, points = 0, list[tuple[float, float]]()
        for ask, lots in sorted(steps):
            points.append((total, ask / 100))
            total += lots
            points.append((total, ask / 100))
        series[product] = points
    return lines("Asks in the book", "device-hours", "yuan", series, stairs=True)


def _suspected(found: Sequence[Suspicion]) -> None:
    if found:
        tables.out.print()
        tables.table("To ask about", ("what", "product", "why", "deals"), ((e.sort, e.product, e.says, " ".join(e.deals)) for e in found))


@compute_group.command("deals")
@click.argument("names", metavar="[DEAL…]", nargs=-1)
@click.option("--member", help="Only deals in which this member buys or sells.")
@json_option
@pass_setting
def deals_command(setting: Setting, names: tuple[str, ...], member: str | None, as_json: bool) -> int:
    """What was dealt: who has which devices of whom, in which hours, for how much, with the circuit and the contract that came with it, and the jobs on it."""
    begun(setting)
    snapshot, now = setting.book.model().snapshot, clock()
    chosen = [resource_named(snapshot, f"{Deal.slug()}/{each.removeprefix(f'{Deal.slug()}/')}") for each in names]
    found = [_dealt(each, snapshot, now) for each in chosen or snapshot.of(Deal) if isinstance(each, Deal)]
    if member is not None:
        of = resource_named(snapshot, f"{Member.slug()}/{member.removeprefix(f'{Member.slug()}/')}").name
        found = [each for each in found if of in (each["buyer"], each["seller"])]
    if as_json:
        tables.as_json(found)
        return DONE
    columns = ("deal", "buyer", "seller", "site", "device", "devices", "hours", "from", "until", "price", "now", "circuit", "jobs")
    rows = (
        (e["deal"], e["buyer"], e["seller"], e["site"], e["device"], e["devices"], len(e["hours"]), e["from"], e["until"],
         Money(e["fen"] + e["transfer_fen"]), e["now"], e["circuit"] or "", " ".join(e["jobs"]))
        for e in found
    )  # fmt: skip
    tables.table("Deals", columns, rows)
    return DONE


def _dealt(deal: Deal, snapshot: Snapshot, now: datetime) -> dict[str, Any]:
    """A deal and what came with it. `now` is released, or how its hours stand to the clock: before, in one of them, between two, or over."""
    bid, pool = snapshot.at(deal.bid), snapshot.at(deal.pool)
    hours, hour = [hour_number(each) for each in deal.hours], hour_of(now)
    standing = "before" if hour < hours[0] else "over" if hour > hours[-1] else "in its hours" if hour in hours else "between its hours"
    circuit = snapshot.get(Circuit, circuit_of(bid.name)) if deal.state is DealState.RESERVED else None
    contract = snapshot.get(DataContract, contract_of(bid.name, str(pool.member))) if deal.state is DealState.RESERVED else None
    return {
        "deal": deal.name,
        "bid": str(deal.bid),
        "offer": str(deal.offer),
        "buyer": str(bid.member),
        "seller": str(pool.member),
        "pool": pool.name,
        "site": str(pool.site),
        "device": pool.device,
        "devices": deal.devices,
        "hours": [{"hour": each, "fen_a_device": int(price)} for each, price in zip(deal.hours, deal.prices, strict=True)],
        "from": deal.hours[0],
        "until": hour_named(hours[-1] + 1),
        "fen": deal.devices * sum(map(int, deal.prices)),
        "transfer_fen": int(deal.transfer),
        "state": deal.state.value,
        "now": deal.state.value if deal.state is DealState.RELEASED else standing,
        "circuit": circuit.name if circuit else None,
        "contract": contract.name if contract else None,
        "clearing": deal.clearing,
        "jobs": [each.name for each in snapshot.where(Job, deal=deal.name)],
    }


@compute_group.command("history")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Draw prices over hours into this file (SVG).")
@json_option
@pass_setting
def history(setting: Setting, output: Path | None, as_json: bool) -> int:
    """What was traded: each product's lots and price by hour, all clearings, and what a supervisor would ask about."""
    begun(setting)
    snapshot = setting.book.model().snapshot
    by_product: dict[tuple[str, int], list[Trade]] = {}
    for trade in trades(snapshot):
        by_product.setdefault((trade.product, trade.hour), []).append(trade)
    found = suspicions(snapshot)
    clearings = [
        {"entry": e.seq, "at": e.at.isoformat(), "clearing": e.body["digest"], "filled": len(e.body["accepted"]),
         "rejected": len(e.body["rejected"]), "welfare": e.body["welfare"], "gap_ppm": e.body["gap_ppm"]}
        for e in setting.ledger.entries(what=CLEARING)
    ]  # fmt: skip
    rows = [
        (product, hour_named(hour), sum(t.lots for t in each), min(t.fen for t in each), max(t.fen for t in each))
        for (product, hour), each in sorted(by_product.items())
    ]
    if output:
        series: dict[str, list[tuple[float, float]]] = {}
        for product, hour, _, _, most in rows:
            series.setdefault(product, []).append((hour_number(hour), most / 100))
        labels: dict[float, str] = {hour_number(row[1]): row[1][5:13] for row in sorted(rows, key=lambda row: row[1])}
        put_whole(output, lines("Prices of compute", "hour (UTC)", "yuan", series, labels, apart_max=1).encode())
    if as_json:
        traded = [dict(zip(("product", "hour", "lots", "fen_min", "fen_max"), row, strict=True)) for row in rows]
        tables.as_json({"traded": traded, "clearings": clearings, "findings": [asdict(each) for each in found]})
        return DONE
    tables.table("Traded", ("product", "hour", "lots", "lowest", "highest"), ((*r[:3], Money(r[3]), Money(r[4])) for r in rows))
    tables.out.print()
    tables.table("Clearings", ("entry", "at", "clearing", "filled", "rejected"),
                 ((c["entry"], c["at"], str(c["clearing"])[:16], c["filled"], c["rejected"]) for c in clearings))  # fmt: skip
    _suspected(found)
    return DONE


compute_group.add_command(clear_command)
compute_group.add_command(verify_command)
COMMANDS = (compute_group,)
