"""nnix compute clear: the market is cleared with the network as it is, and published with what proves it (proof.py checks it again).

The clearing itself is pure. Here it gets what it needs of the world: the hour, which links are up and what they carry; and here its result enters the ledger:
first the clearing, as an entry of its own under the signed head, then all of its deals as one change. Killed in between, a clearing stands there that was not
carried out, and the next one starts from the same book.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from nnix.cli import tables
from nnix.cli.booking import carried_out, ending, refusals_kept
from nnix.cli.command import DONE, as_root, begun, json_option, pass_setting
from nnix.cli.files import put_whole
from nnix.cli.root import ALL_PLANES, Setting, clock
from nnix.kernel.apply import Applied, Stale
from nnix.kernel.change import admit, completed
from nnix.kernel.ledger import Entry
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed
from nnix.planes.compute.kinds import Deal, DealState, hour_named, hour_number, hour_of
from nnix.planes.compute.market.clear import Clearing, clear, paid
from nnix.planes.compute.market.orders import Aside, Place, Want, orders
from nnix.planes.compute.market.publish import deals, published
from nnix.planes.compute.market.record import inputs_digest
from nnix.planes.compute.market.verify import faults
from nnix.planes.compute.rules import market_of
from nnix.planes.fabric.kinds import Link
from nnix.planes.fabric.look import rates
from nnix.planes.fabric.reach import free, reach
from nnix.planes.fabric.read import octets, read

CLEARING = "clearing"
"""the entry of a clearing in the ledger"""
SPOT_HOURS = 2
"""spot: what begins in this hour or the next"""
LOAD_SECONDS = 1.0


@dataclass(frozen=True)
class Seen:
    """What was seen of the network: names of links that are not up, and bit/s on the others. Both empty where nothing runs."""

    dark: frozenset[str] = frozenset()
    load: Mapping[str, float] | None = None


def seen(setting: Setting, snapshot: Snapshot) -> Seen:
    """Asked of the running exchange. A link that cannot be asked counts as dark: no deal is made to depend on it."""

    async def ask() -> Seen:
        statuses = {each.resource: each for each in await read(snapshot, setting.machines)}
        before, began = await octets(snapshot, setting.machines), time.monotonic()
        await asyncio.sleep(LOAD_SECONDS)
        carried = rates(before, await octets(snapshot, setting.machines), time.monotonic() - began)
        dark = frozenset(link.name for link in snapshot.of(Link) if not statuses[link.id].good)
        return Seen(dark, {link: max(both) for link, both in carried.items()})

    return setting.run(ask())


def cleared(snapshot: Snapshot, network: Seen, *, spot: bool, hours: int | None, refused: Mapping[Place, Aside]) -> Clearing:
    """The clearing of what stands in the book at this moment; without what is known to be `refused`."""
    now = clock()
    first = hour_of(now)
    end = first + min(hours or market_of(snapshot).forward_hours_max, market_of(snapshot).forward_hours_max)
    known = reach(snapshot, network.dark)
    left = free(snapshot, known, network.load)
    begin_before = first + SPOT_HOURS if spot else None
    return clear(orders(snapshot, known, left, f"{now:%Y-%m-%dT%H:%M:%S}Z", first, end, begin_before, network.dark, refused))


def lapsed(snapshot: Snapshot) -> list[Deal]:
    """Deals whose hours are over, let go."""
    now = hour_of(clock())
    live = snapshot.where(Deal, state=DealState.RESERVED)
    return [each.changed(state="released", pool_vlan=None, port_vlan=None) for each in live if hour_number(each.hours[-1]) < now]


@click.command("clear")
@click.option("--spot", is_flag=True, help="Only what begins in this hour or the next.")
@click.option("--hours", type=click.IntRange(1), help="How far ahead. [the market's forward_hours_max]")
@click.option("--dry-run", is_flag=True, help="Say what would come of it; record nothing.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the clearing here as well, for whoever wants to check it.",
)
@click.option("--why", default="", help="The reason, for the ledger.")
@json_option
@pass_setting
def clear_command(setting: Setting, spot: bool, hours: int | None, dry_run: bool, output: Path | None, why: str, as_json: bool) -> int:
    """Clear the market: fill bids from offers at one price for each product, publish and record it, and make the deals, all in one change.

    Deals whose hours are over are let go by the same change. Links of the running exchange that are not up are not counted on. `nnix run` does so
    again and again where the Market says `spot_every` or `forwards_every`.
    """
    begun(setting)
    model = setting.book.model()
    if model.brought_about and any(setting.world.ground(key[0]) for key in model.artifacts):
        as_root(setting)
    network = seen(setting, model.snapshot) if model.brought_about and model.artifacts else Seen()
    over = lapsed(model.snapshot)
    what: Applied | Entry | None = None
    with nullcontext() if dry_run else refusals_kept(setting, why or "the market is cleared"):
        found, record, admitted = admissible(model.snapshot, network, over, spot=spot, hours=hours)
        if output:
            put_whole(output, (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())
        if not dry_run and (found.won or over):
            reason = why or (
                f"clearing {record['digest'][:12]}: {len(found.won)} bids filled" if found.won else f"{len(over)} deals are over"
            )
            publish = partial(noted, setting, CLEARING, record, model.seq, reason)
            made = setting.office.draft(admitted, setting.vault.evidence(model.evidence))
            if made.plan.base != model.digest:  # what was cleared is no longer the book: another clearing, or an order, came in between
                raise Stale(f"change {setting.book.model().seq} was made while the market was cleared; nothing is recorded, clear again")
            what = carried_out(setting, made, reason, first=publish if found.won else lambda: None, quiet=as_json)
    return _told(found, record, what, over, dry_run, as_json)


def admissible(
    snapshot: Snapshot, network: Seen, over: Sequence[Deal], *, spot: bool, hours: int | None
) -> tuple[Clearing, dict[str, Any], Snapshot]:
    """The clearing, its record, and the exchange with its deals, which pass every rule together with all that follows from them.

    What is known to stand in the way of a deal is no part of a clearing (orders.py). Should rules refuse one for something else, the bid is set aside where it would
    have been filled, and all others are cleared again: one bid keeps nobody else from being filled. Where each would pass without the others, that is the last of
    those refused. Each turn sets one aside at least, so this ends. Raises Refused where no bid is to blame, and Failed where the clearing does not prove itself.
    """
    refused: dict[Place, Aside] = {}
    while True:
        found = cleared(snapshot, network, spot=spot, hours=hours, refused=refused)
        record = published(found)
        wrong = faults(record)
        if wrong:  # a clearing that does not pass its own proof is not published, whoever would gain by it
            raise Failed(f"the clearing does not prove itself, so nothing is recorded: {wrong[0]}")
        fresh = list(deals(found, record["digest"])) if found.won else []
        if not fresh and not over:
            return found, record, snapshot
        wanted = snapshot.declared.replaced([*over, *fresh])
        try:
            return found, record, admit(ALL_PLANES, wanted, snapshot)
        except Refused as why:
            blamed = set(_to_blame(why, completed(ALL_PLANES, wanted, snapshot), fresh))
            if not blamed:
                raise
            filled: dict[Place, list[Deal]] = defaultdict(list)
            for deal in fresh:
                filled[_place(deal, snapshot)].append(deal)
            named = [place for place in filled if place in blamed]
            alone = {place: Aside.REFUSED for place in named if _refused(snapshot, [*over, *filled[place]])}
            refused.update(alone or {named[-1]: Aside.BESIDE})


def _place(deal: Deal, snapshot: Snapshot) -> Place:
    pool = snapshot.at(deal.pool)
    return str(deal.bid), str(pool.site), pool.device


def _refused(snapshot: Snapshot, put: Sequence[Deal]) -> bool:
    try:
        admit(ALL_PLANES, snapshot.declared.replaced(put), snapshot)
    except Refused:
        return True
    return False


def _to_blame(why: Refused, wanted: Snapshot, fresh: Sequence[Deal]) -> Iterator[Place]:
    """Which bids would be filled by the deals that are refused, or from which something follows that is."""
    of_bid = {f"bid/{each.bid}": each for each in fresh} | {each.id: each for each in fresh}
    for refusal in why.refusals:
        resource = wanted.by_id(refusal.resource)
        deal = of_bid.get(refusal.resource) or (of_bid.get(str(resource.owner)) if resource is not None else None)
        if deal is not None:
            yield _place(deal, wanted)


def noted(setting: Setting, what: str, record: Mapping[str, Any], change: int, why: str) -> Entry:
    """Publish: the record in the vault, all of it but the inputs in the ledger, and these by their digest."""
    content = spelled(record)
    setting.vault.keep([content])
    body = {key: value for key, value in record.items() if key not in ("inputs", "format")}
    return setting.office.note(what, why, {**body, "inputs": inputs_digest(record), "record": _sha256(content), "change": change})


def spelled(record: Mapping[str, Any]) -> bytes:
    """A record as it is kept."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _told(found: Clearing, record: Mapping[str, Any], what: Applied | Entry | None, over: list[Deal], dry_run: bool, as_json: bool) -> int:
    entry = what.entry if isinstance(what, Applied) else what
    verified = isinstance(what, Applied) and what.verified
    if as_json:
        facts = {
            key: record[key] for key in ("accepted", "deals", "prices", "rejected", "welfare", "bound", "gap_ppm", "rounds", "cut_short")
        }
        tables.as_json(
            {
                "clearing": record["digest"],
                "change": entry.seq if entry else None,
                "verified": verified,
                "reverted": isinstance(what, Applied) and what.reverted,
                "dry_run": dry_run,
                "released": [each.name for each in over],
                **facts,
                "aside": record["inputs"]["aside"],
            }
        )
    else:
        rows = [
            (
                buy.bid,
                want.site,
                want.device,
                want.devices,
                hour_named(want.start),
                want.hours,
                _yuan(_paid(found, want)),
                _yuan(want.limit),
            )
            for buy, want in ((found.orders.buys[number], want) for number, want in found.won)
        ]
        tables.table("Filled", ("bid", "site", "device", "devices", "from", "hours", "pays", "limit"), rows)
        tables.table(
            "Prices",
            ("site", "device", "hour", "price"),
            ((s, d, hour_named(h), _yuan(p)) for (s, d, h), p in sorted(found.prices.items())),
        )
        tables.table("Rejected", ("bid", "why"), sorted(found.rejected.items()))
        if found.orders.aside:
            tables.table("Set aside", ("bid", "site", "device", "why"), found.orders.aside)
        proved = f"worth {_yuan(found.welfare)}, proved to be within {found.gap_ppm / 10_000:.4f} % of the best"
        tables.out.print(f"\n{len(found.won)} of {len(found.orders.buys)} bids filled; {proved}; clearing {record['digest'][:16]}")
        if isinstance(what, Applied):
            tables.applied(what)
        elif what is not None:
            tables.out.print(f"✓ change {what.seq} is recorded", markup=False)
    return DONE if what is None else ending(what)


def _paid(found: Clearing, want: Want) -> int:
    return want.transfer + paid(want, found.prices)


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02} yuan"
