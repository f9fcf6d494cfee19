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
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
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
from nnix.planes.compute.kinds import Bid, Deal, DealState, Offer, Pool, hour_named, hour_number, hour_of
from nnix.planes.compute.market.clear import Clearing, clear, paid
from nnix.planes.compute.market.orders import Aside, Want, cheapest, orders
from nnix.planes.compute.market.publish import deals, published
from nnix.planes.compute.market.record import inputs_digest, wants_of
from nnix.planes.compute.market.verify import faults
from nnix.planes.compute.rules import market_of
from nnix.planes.compute.wanted import Alternative, alternatives
from nnix.planes.fabric.kinds import Link, Port
from nnix.planes.fabric.look import rates
from nnix.planes.fabric.reach import free, reach
from nnix.planes.fabric.read import octets, read

CLEARING = "clearing"
"""the entry of a clearing in the ledger"""
SPOT_HOURS = 2
"""spot: what begins in this hour or the next"""
LOAD_SECONDS = 1.0

Place = tuple[str, str, str]
"""a bid, and the site and device at which it would be filled"""


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


def cleared(snapshot: Snapshot, network: Seen, *, spot: bool, hours: int | None, refused: AbstractSet[Place] = frozenset()) -> Clearing:
    """The clearing of what stands in the book at this moment; without what is known to be `refused`."""
    now = clock()
    first = hour_of(now)
    end = first + min(hours or market_of(snapshot).forward_hours_max, market_of(snapshot).forward_hours_max)
    known = reach(snapshot, network.dark)
    left = free(snapshot, known, network.load)
    begin_before = first + SPOT_HOURS if spot else None
    return clear(orders(snapshot, known, left, f"{now:%Y-%m-%dT%H:%M:%S}Z", first, end, begin_before, refused))


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
    have been filled, and all others are cleared again: one bid keeps nobody else from being filled. Each turn sets one aside at least, so this ends. Raises Refused
    where no bid is to blame, and Failed where the clearing does not prove itself.
    """
    refused: set[Place] = set()
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
            refused |= blamed


def _to_blame(why: Refused, wanted: Snapshot, fresh: Sequence[Deal]) -> Iterator[Place]:
    """Which bids would be filled by the deals that are refused, or from which something follows that is."""
    of_bid = {f"bid/{each.bid}": each for each in fresh} | {each.id: each for each in fresh}
    for refusal in why.refusals:
        resource = wanted.by_id(refusal.resource)
        deal = of_bid.get(refusal.resource) or (of_bid.get(str(resource.owner)) if resource is not None else None)
        if deal is not None:
            pool = wanted.at(deal.pool)
            yield str(deal.bid), str(pool.site), pool.device


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


# --- against the book ---------------------------------------------------------------------------------------------------


def orders_differ(book: Snapshot, inputs: Mapping[str, Any]) -> list[str]:
    """What differs between the inputs of a clearing and the orders that stood in the book: altered, invented or left out."""
    first, end, begin_before = inputs.get("first"), inputs.get("end"), inputs.get("begin_before")
    if type(first) is not int or type(end) is not int or not inputs["instant"].startswith(hour_named(first)[:-1]):
        return ["it does not say for which hours it was made, or for others than those from its instant on"]
    if begin_before not in (None, first + SPOT_HOURS) or not first < end <= first + market_of(book).forward_hours_max:
        return ["it was made for hours that no clearing is made for"]
    return [*_offers_differ(book, inputs, first, end), *_bids_differ(book, inputs, first, end, begin_before)]


def _offers_differ(book: Snapshot, inputs: Mapping[str, Any], first: int, end: int) -> Iterator[str]:
    """Each offer with lots left is a sell, word for word, and nothing else is."""
    sold: Counter[tuple[str, int]] = Counter()
    for deal in book.of(Deal):
        for hour in deal.hours:
            sold[str(deal.offer), hour_number(hour)] += deal.devices
    stood: dict[str, Mapping[str, Any]] = {}
    for offer in book.of(Offer):
        pool, start = book.at(offer.pool), max(first, hour_number(offer.start))
        lots = [offer.lots - sold[offer.name, hour] for hour in range(start, min(end, hour_number(offer.end)))]
        if any(lots):
            about = {"pool": pool.name, "seller": str(pool.member), "site": str(pool.site), "device": pool.device}
            stood[offer.name] = {"offer": offer.name, **about, "ask": int(offer.ask), "start": start, "lots": lots}
    sells = {each["offer"]: each for each in inputs["sells"]}
    for name in sorted(set(stood) | set(sells)):
        if name not in sells:
            yield f"offer {name} stood in the book and was left out"
        elif sells[name] != stood.get(name):
            yield f"offer {name} did not stand so in the book"


def _bids_differ(book: Snapshot, inputs: Mapping[str, Any], first: int, end: int, begin_before: int | None) -> Iterator[str]:
    """Each bid without a deal is a buy of its member, and each alternative at each site is a want as it was asked, or was set aside."""
    filled = {str(each.bid) for each in book.of(Deal)}
    selling = {each["pool"] for each in inputs["sells"]}
    supply: dict[tuple[str, str, int], list[tuple[int, int]]] = defaultdict(list)
    for sell in inputs["sells"]:
        for hour, lots in enumerate(sell["lots"], sell["start"]):
            supply[sell["site"], sell["device"], hour].append((sell["ask"], lots))
    aside: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in inputs["aside"]:
        aside[row["bid"], row["site"], row["device"]].add(row["why"])
    buys = {each["bid"]: each for each in inputs["buys"]}
    for name in sorted(set(buys) - {each.name for each in book.of(Bid)}):
        yield f"bid {name} did not stand in the book"
    for bid in book.of(Bid):
        known = list(alternatives(bid))
        buy = buys.get(bid.name)
        if buy is None:
            if bid.name not in filled and (begin_before is None or any(each.start < begin_before for each in known)):
                yield f"bid {bid.name} stood in the book and was left out"
            continue
        if bid.name in filled or buy["buyer"] != bid.member:
            yield f"bid {bid.name} of {buy['buyer']} did not stand so in the book"
        wanted: dict[tuple[Any, ...], set[int]] = defaultdict(set)
        for want in wants_of(inputs, buy):
            asked = want["site"], want["device"], want["devices"], want["hours"], want["limit"]
            wanted[asked].add(want["start"])
            if not _asked(known, want, first, end, begin_before):
                yield f"bid {bid.name} did not ask for {want['devices']} of {want['device']} at {want['site']} so"
            elif wrong := _way_differs(book, bid, want, selling):
                yield f"bid {bid.name} at {want['site']}: {wrong}"
        for each in known:
            starts = range(max(each.start, first), min(each.latest, end - each.hours, (begin_before or end) - 1) + 1)
            for site, device in {(str(pool.site), pool.device) for pool in book.of(Pool) if each.is_of(pool)}:
                there = wanted.get((site, device, each.devices, each.hours, each.limit), set())
                why = aside[bid.name, site, device]
                if any(not _hindered(book, bid, each, site, start, why, supply, selling) for start in starts if start not in there):
                    yield f"bid {bid.name} asked for {each.devices} of {device} at {site}, which was left out"


BELIEVED = frozenset({Aside.PORT_TAKEN, Aside.NO_TAG, Aside.NO_WAY, Aside.TOO_FAR, Aside.RATE, Aside.LATE, Aside.REFUSED})
"""reasons that hang on which links were up and what they carried, which nobody recorded, or on what else would have been filled"""


def _hindered(
    book: Snapshot,
    bid: Bid,
    asked: Alternative,
    site: str,
    start: int,
    why: AbstractSet[str],
    supply: Mapping[tuple[str, str, int], Sequence[tuple[int, int]]],
    selling: AbstractSet[str],
) -> bool:
    """Whether one of the reasons that were given is one, by the book and the sells."""
    if why & BELIEVED:
        return True
    alike = [each for each in book.of(Pool) if (each.site, each.device) == (site, asked.device)]
    pools = [each for each in alike if each.name in selling] or alike
    costs = [cheapest(sorted(supply.get((site, asked.device, hour), ())), asked.devices) for hour in range(start, start + asked.hours)]
    gigabytes, contract = (0, None) if bid.data is None else (bid.data.gigabytes, bid.data.contract)
    transfer_most = gigabytes * int(market_of(book).transfer) * len(book.of(Link))
    true = {
        Aside.FEW: None in costs,
        Aside.DEAR: sum(each or 0 for each in costs) + transfer_most > asked.limit,
        Aside.OWN: any(each.member == bid.member for each in pools),
        Aside.ASSURANCE: any(each.assurance < bid.assurance for each in pools),
        Aside.SAME_PORT: bid.port is not None and any(each.port == bid.port for each in pools),
        Aside.NO_PORT: bid.port is not None and any(each.port is None for each in pools),
        Aside.CONTRACT: contract is not None and start + asked.hours > hour_number(book.at(contract).until),
    }
    return any(holds for reason, holds in true.items() if reason in why)


def _asked(known: Sequence[Alternative], want: Mapping[str, Any], first: int, end: int, begin_before: int | None) -> bool:
    in_time = first <= want["start"] <= end - want["hours"] and (begin_before is None or want["start"] < begin_before)
    return in_time and any(
        each.allows(want["devices"], want["hours"], want["start"])
        and (each.device, each.limit) == (want["device"], want["limit"])
        and each.site in (None, want["site"])
        for each in known
    )


def _way_differs(book: Snapshot, bid: Bid, want: Mapping[str, Any], selling: AbstractSet[str]) -> str:
    """What is wrong with the network in a want: transfer, rate, links that lead there, ports at its ends. Which links were up then, nobody recorded."""
    ends: set[str] = set()
    links = {each for each in want["links"] if not each.startswith("port/")}
    there = {"" if bid.port is None else str(book.at(bid.port).site)}
    if bid.port is not None:
        pools = [each for each in book.of(Pool) if each.name in selling and (each.site, each.device) == (want["site"], want["device"])]
        ends = {str(bid.port), *(str(each.port) for each in pools if each.port is not None)}
        left = {(str(link.a), str(link.b)) for link in book.of(Link) if link.name in links}
        while reached := {site for pair in left if there & set(pair) for site in pair} - there:
            there |= reached
        if want["site"] not in there or links - {link.name for link in book.of(Link)}:
            return "its links do not lead there"
    elif links:
        return "it needs no links"
    ports = [each for each in book.of(Port) if each.name in ends]
    if {each for each in want["links"] if each.startswith("port/")} != {each.id for each in ports if each.tagged}:
        return "its circuit ends at other tagged ports"
    if set(want["ends"]) != {each.name for each in ports}:
        return "its circuit ends at other ports"
    if want["rate"] != (int(bid.rate) if bid.port is not None else 0):
        return f"it takes {want['rate']} bit/s"
    gigabytes = bid.data.gigabytes if bid.data is not None else 0
    if want["transfer"] != gigabytes * int(market_of(book).transfer) * len(links):
        return f"transfer is not {want['transfer']} fen"
    return ""
