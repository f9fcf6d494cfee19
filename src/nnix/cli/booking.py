"""Orders that enter the model one by one: what `nnix compute offer`, `bid` and `run` have in common with every way in.

An order is a change like any other: admitted with all that stands already, recorded against the newest head, driven where something has to be done on a
machine. Most orders touch no machine; then there is nothing to drive, and no need to be root.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from nnix.cli.command import as_root
from nnix.cli.files import placed
from nnix.cli.progress import progress
from nnix.cli.root import ALL_PLANES, KINDS, Setting
from nnix.kernel.apply import Applied
from nnix.kernel.change import Draft, admit
from nnix.kernel.document import Read, read
from nnix.kernel.ledger import Entry
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refusal, Refused
from nnix.planes.compute.kinds import Bid, Offer, hour_named, hour_number, hour_of
from nnix.planes.compute.wanted import alternatives

AHEAD = "compute.window-ahead"


def orders_in(paths: Sequence[Path], kind: type[Resource]) -> Read:
    """The documents of some files (`-`: the standard input), all of them of one kind. Raises Refused."""
    texts = {str(each): sys.stdin.read() if str(each) == "-" else each.read_text() for each in paths}
    found = read(texts, KINDS)
    strange = [
        Refusal(each.id, "kind", type(each).kind(), kind.kind(), "kernel.kind", "docs/files.md")
        for each in found.resources
        if not isinstance(each, kind)
    ]
    if found.refusals or strange:
        raise Refused(placed(found, (*found.refusals, *strange)))
    return found


def ahead(order: Resource, now: datetime) -> list[Refusal]:
    """Why an order comes too late: its window is over, or not even its last chance to begin is left."""
    first = hour_of(now)
    source = "docs/compute.md"
    if isinstance(order, Offer) and hour_number(order.end) <= first:
        return [Refusal(order.id, "end", order.end, f"an hour after {hour_named(first)}, which is now", AHEAD, source)]
    if isinstance(order, Bid) and all(each.latest < first for each in alternatives(order)):
        return [Refusal(order.id, "start", "in the past", f"{hour_named(first)}, which is now, or later", AHEAD, source)]
    return []


def drafted(setting: Setting, put: Iterable[Resource], gone: Iterable[str] = (), *, now: datetime | None = None) -> Draft:
    """The plan for orders put into the newest model, or taken out of it. `now`: their windows must not be over. Raises Refused."""
    orders = list(put)
    late = [refusal for each in orders for refusal in (ahead(each, now) if now is not None else ())]
    if late:
        raise Refused(late)
    model = setting.book.model()
    wanted = admit(ALL_PLANES, model.snapshot.declared.replaced(orders, gone), model.snapshot)
    return setting.office.draft(wanted, setting.vault.evidence(model.evidence))


def carried_out(setting: Setting, made: Draft, why: str, *, quiet: bool = False) -> Applied | Entry:
    """Record a plan, and drive it where it has something to do. Where the exchange itself was only recorded, so is this. Raises Refused, Stale."""
    model = setting.book.model()
    if not model.brought_about and not model.driven:
        return setting.office.record(made, why, drive=False)
    if not made.plan.actions and model.brought_about:
        entry = setting.office.record(made, why, drive=True)
        setting.office.note("verified", "no machine has anything to do for it", {"change": entry.seq})
        return Applied(entry, True, ())
    as_root(setting, start=any(setting.world.ground(each.machine) for each in made.artifacts.values()))

    async def work() -> Applied:
        async with setting.lock.held():
            with progress("applying", len(made.artifacts), quiet=quiet) as told:
                return await setting.office.apply(made, why, told=told)

    return setting.run(work())


def booked(
    setting: Setting, put: Iterable[Resource], why: str, gone: Iterable[str] = (), *, now: datetime | None = None, quiet: bool = False
) -> Applied | Entry | None:
    """Orders put in or taken out, in one change; None where the model says all this already. Raises Refused, after recording that, and Stale."""
    try:
        made = drafted(setting, put, gone, now=now)
        return None if made.plan.empty else carried_out(setting, made, why, quiet=quiet)
    except Refused as refused:
        setting.office.refuse(refused, why)
        raise
