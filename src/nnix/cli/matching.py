"""nnix compute match, and --match of offer and bid: standard lots change hands between clearings.

The matching itself is pure (market/continuous.py). Here it learns when each order came, which the ledger knows, and its result enters the ledger as that of a
clearing does: first the match, as an entry of its own under the signed head, then its deals as one change. An order that comes in with --match is part of
that change: order and deals, or neither.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from nnix.cli import tables
from nnix.cli.booking import carried_out, drafted, refusals_kept
from nnix.cli.clearing import noted
from nnix.cli.root import Setting, clock
from nnix.kernel.apply import Applied, Stale
from nnix.kernel.change import Draft
from nnix.kernel.ledger import Entry
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.kinds import Bid, Offer, hour_named, hour_of
from nnix.planes.compute.market.continuous import Match, match
from nnix.planes.compute.rules import market_of
from nnix.planes.members.kinds import Money

MATCH = "match"
"""the entry of a match in the ledger"""


@dataclass(frozen=True)
class Traded:
    """What changed hands, and what was recorded of it: None in a dry run, or where there was nothing to record."""

    match: Match
    what: Applied | Entry | None
    digest: str | None

    def facts(self) -> dict[str, object]:
        """As JSON."""
        return {"match": self.digest, "fills": [{**each, "hour": hour_named(each["hour"])} for each in self.match.record()["fills"]]}

    def show(self) -> None:
        """For people; nothing where nothing changed hands."""
        rows = [
            (each["bid"], each["offer"], each["site"], each["device"], each["hour"], each["lots"], Money(each["fen"]))
            for each in self.match.record()["fills"]
        ]
        if rows:
            headings = ("bid", "offer", "site", "device", "hour", "lots", "each at")
            tables.table("Matched", headings, ((*r[:4], hour_named(r[4]), *r[5:]) for r in rows))


def traded(setting: Setting, orders: Sequence[Resource], why: str, *, dry_run: bool = False, quiet: bool = False) -> Traded:
    """`orders` come in, and all that stands in the book is matched; both are one change. Raises Refused, after recording that, and Stale."""
    now = clock()
    reason = why or "matched between clearings"
    with nullcontext() if dry_run else refusals_kept(setting, reason):
        made = drafted(setting, orders, now=now)
        seq = setting.book.model().seq
        first = hour_of(now)
        end = first + market_of(made.snapshot).forward_hours_max
        found = match(made.snapshot, _came(setting, made), f"{now:%Y-%m-%dT%H:%M:%S}Z", first, end)
        if found.fills:
            before, made = made, drafted(setting, [*orders, *found.deals()], now=now)
            if made.plan.base != before.plan.base:  # or lots that were sold meanwhile would be sold again
                raise Stale(f"change {setting.book.model().seq} was made while the book was matched; nothing is recorded, match again")
        if dry_run or made.plan.empty or not (orders or found.fills):
            return Traded(found, None, None)
        if not found.fills:
            return Traded(found, carried_out(setting, made, reason, quiet=quiet), None)
        record = found.record()
        publish = partial(noted, setting, MATCH, record, seq, reason)
        return Traded(found, carried_out(setting, made, reason, first=publish, quiet=quiet), record["digest"])


def _came(setting: Setting, made: Draft) -> Mapping[str, int]:
    """id of each order → its entry. What comes in by this change is later than all that is there."""
    newest = setting.ledger.head.seq + 1
    fresh = {each.new.id: newest for each in made.edits if isinstance(each.new, Offer | Bid)}
    return {**arrivals(setting, made.snapshot, fresh), **fresh}


def arrivals(setting: Setting, book: Snapshot, besides: Container[str] = (), until: int | None = None) -> Mapping[str, int]:
    """id of each order in a book, but those `besides` → the change that put it there, or last altered it; of changes until entry `until`."""
    missing = {each.id for kind in (Offer, Bid) for each in book.of(kind) if each.id not in besides}
    came: dict[str, int] = {}
    for entry in setting.ledger.backwards("change"):
        if not missing:
            break
        for record in entry.body["put"] if until is None or entry.seq <= until else ():
            if record["kind"] in (Offer.kind(), Bid.kind()) and (order := setting.book.resource(record).id) in missing:
                came[order] = entry.seq
                missing.remove(order)
    return came
