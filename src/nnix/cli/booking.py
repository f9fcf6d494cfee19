"""Orders that enter the model one by one: what `nnix compute offer`, `bid` and `run` have in common with every way in.

An order is a change like any other: admitted with all that stands already, recorded against the newest head, driven where something has to be done on a
machine. Most orders touch no machine; then there is nothing to drive, and no need to be root.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import click

from nnix.cli import tables
from nnix.cli.command import DISAGREES, DONE, REFUSED, as_root
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


def orders_in(setting: Setting, paths: Sequence[Path], kind: type[Resource]) -> Read:
    """The documents of some files (`-`: the standard input), all of them of one kind, and some. Raises Refused."""
    if any(str(each) == "-" for each in paths):
        as_root(setting)  # it can be read once, and who has to be root for what he orders runs the command again
    texts = {str(each): sys.stdin.read() if str(each) == "-" else each.read_text() for each in paths}
    found = read(texts, KINDS)
    if not found.resources and not found.refusals:
        raise click.UsageError(f"no {kind.kind()} in {', '.join(texts)}")
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


@contextmanager
def refusals_kept(setting: Setting, why: str) -> Iterator[None]:
    """What is refused within is recorded: somebody meant it."""
    try:
        yield
    except Refused as refused:
        setting.office.refuse(refused, why)
        raise


def carried_out(
    setting: Setting, made: Draft, why: str, *, first: Callable[[], object] = lambda: None, quiet: bool = False
) -> Applied | Entry:
    """Record a plan, and drive it where it has something to do. Where the exchange itself was only recorded, so is this. Raises Refused, Stale.

    `first` is done before; only here, since who has to be root for it runs the whole command again, and would do it twice."""
    model = setting.book.model()
    recorded = not model.brought_about and not model.driven
    idle = not made.plan.actions and model.brought_about
    if not recorded and not idle:
        as_root(setting, start=any(setting.world.ground(each.machine) for each in made.artifacts.values()))
    first()
    if recorded:
        return setting.office.record(made, why, drive=False)
    if idle:
        entry = setting.office.record(made, why, drive=True)
        setting.office.note("verified", "no machine has anything to do for it", {"change": entry.seq})
        return Applied(entry, True, ())

    async def work() -> Applied:
        async with setting.lock.held():
            with progress("applying", len(made.artifacts), quiet=quiet) as told:
                return await setting.office.apply(made, why, told=told)

    return setting.run(work())


def booked(
    setting: Setting, put: Iterable[Resource], why: str, gone: Iterable[str] = (), *, now: datetime | None = None, quiet: bool = False
) -> Applied | Entry | None:
    """Orders put in or taken out, in one change; None where the model says all this already. Raises Refused, after recording that, and Stale."""
    with refusals_kept(setting, why):
        made = drafted(setting, put, gone, now=now)
        return None if made.plan.empty else carried_out(setting, made, why, quiet=quiet)


def told(what: Applied | Entry | None, about: str, as_json: bool, more: Mapping[str, object] = MappingProxyType({})) -> int:
    """Say what became of a change, and the exit status that goes with it. `more` is said besides, in JSON."""
    if what is None:
        if as_json:
            tables.as_json({"change": None, "verified": True, "empty": True, **more})
        else:
            tables.out.print("Nothing to do: the book says that already.")
        return DONE
    entry = what.entry if isinstance(what, Applied) else what
    verified = isinstance(what, Applied) and what.verified
    reverted = isinstance(what, Applied) and what.reverted
    if as_json:
        tables.as_json({"change": entry.seq, "verified": verified, "reverted": reverted, "offline": isinstance(what, Entry), **more})
    elif isinstance(what, Entry):
        tables.out.print(f"✓ change {entry.seq} is recorded: {about}; nothing was driven", markup=False)
    elif verified:
        tables.out.print(f"✓ change {entry.seq}: {about}", markup=False)
    else:
        tables.applied(what)
    return ending(what)


def ending(what: Applied | Entry) -> int:
    """The exit status that goes with what became of a change."""
    if isinstance(what, Entry) or what.verified:
        return DONE
    return REFUSED if what.reverted else DISAGREES
