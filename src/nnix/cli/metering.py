"""Meters as the exchange sees them: read from the machines of pools, compared with the copy of last time, verified, and kept.

The exchange keeps a copy of every meter (`meters/POOL.jsonl` in the state folder). A meter may only ever grow: what a machine says now has to begin
with what it said before, word for word. So a past that is rewritten on the machine shows at the next look, whether it was settled yet or not, and what was
read stays readable when the machine is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nnix.cli.files import put_whole
from nnix.cli.root import JOBS, Setting
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed, Unreachable
from nnix.planes.account.kinds import Settlement
from nnix.planes.account.rate import Metered
from nnix.planes.compute.compile import machine_of
from nnix.planes.compute.kinds import Pool
from nnix.planes.compute.meter import CHAIN, HEAD, Audit, Damaged, Fault, Head, audit, head_of


@dataclass(frozen=True)
class MeterSeen:
    """A pool's meter. `trouble` says why the machine was not asked this time; then the copy of last time stands here."""

    pool: str
    audit: Audit
    trouble: str = ""

    @property
    def metered(self) -> tuple[Metered, ...]:
        """Its records as rating reads them."""
        return tuple(
            Metered(
                pool=each.interval.pool,
                seq=each.seq,
                digest=each.digest,
                device=each.interval.device,
                deal=each.interval.deal,
                job=each.interval.job,
                run=each.interval.run,
                share_thousandths=each.interval.share_thousandths,
                begin_ms=each.interval.begin_ms,
                end_ms=each.interval.end_ms,
                cause=str(each.interval.cause),
                saved=each.interval.saved,
            )
            for each in self.audit.records
        )


def settled_heads(snapshot: Snapshot, pool: str) -> list[Head]:
    """How far a meter was read by each settlement: noted in the ledger for good."""
    return [Head(head.seq, head.digest) for each in snapshot.of(Settlement) for head in each.heads if head.pool == pool and head.seq]


def copy_of(setting: Setting, pool: str) -> Path:
    return setting.state / "meters" / f"{pool}.jsonl"


async def meters(setting: Setting, snapshot: Snapshot, pools: Iterable[Pool], *, ask: bool = True) -> list[MeterSeen]:
    """Each pool's meter, verified. With `ask`, its machine is asked, and the copy grows by what is new and sound."""
    return list(await asyncio.gather(*(_seen(setting, snapshot, each, ask) for each in pools)))


async def _seen(setting: Setting, snapshot: Snapshot, pool: Pool, ask: bool) -> MeterSeen:
    kept = copy_of(setting, pool.name)
    old = kept.read_bytes() if kept.exists() else b""
    heads = settled_heads(snapshot, pool.name)
    if not ask:
        return MeterSeen(pool.name, audit(old, heads))
    machine, place = machine_of(pool), f"{JOBS.name}/{pool.name}/meter"  # beside its agent
    try:
        found = await setting.machines.host(machine).get([f"{place}/{CHAIN}", f"{place}/{HEAD}"])
    except (Unreachable, Failed) as lost:
        return MeterSeen(pool.name, audit(old, heads), str(lost))
    content, head = found[f"{place}/{CHAIN}"], found[f"{place}/{HEAD}"]
    if content is None and head is None:
        return MeterSeen(pool.name, audit(old, heads), f"{machine} has no meter yet" if not old else f"the meter of {machine} is gone")
    try:
        heads.append(head_of(head or b"", f"{machine}:{place}/{HEAD}"))
    except Damaged as damaged:
        return MeterSeen(pool.name, Audit((), damaged.faults))
    judged = audit(content or b"", heads)
    whole = (content or b"")[: len(content or b"") - judged.torn_bytes]
    if not whole.startswith(old):
        words = "what was read before was changed on its machine, or cut off"
        return MeterSeen(pool.name, Audit(judged.records, (*judged.faults, Fault(_first_difference(old, whole), words)), judged.torn_bytes))
    if not judged.faults and whole != old:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        put_whole(kept, whole)
    return MeterSeen(pool.name, judged)


def _first_difference(old: bytes, new: bytes) -> int:
    """The record at which two chains part, counted from 1."""
    pairs = zip(old.splitlines(), new.splitlines(), strict=False)
    same = next((place for place, (one, other) in enumerate(pairs) if one != other), min(old.count(b"\n"), new.count(b"\n")))
    return same + 1
