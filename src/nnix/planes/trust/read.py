"""What became of RTR caches: what each of them hands out, how old it is and who has it; from the status that the server writes (rtr/routers.py)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from nnix.kernel.plane import Machines, Status
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed, Unreachable
from nnix.planes.trust.kinds import RtrCache
from nnix.planes.trust.rtr.routers import STATUS, is_status, rows

NOBODY = "it has not written a status yet"


async def read(snapshot: Snapshot, machines: Machines) -> Iterable[Status]:
    """A status for every cache, by name. A machine that cannot be asked makes a status, not an exception."""
    return await asyncio.gather(*(_cache(each, machines) for each in snapshot.of(RtrCache)))


async def cache_status(cache: RtrCache, machines: Machines) -> Mapping[str, Any]:
    """What the cache wrote last. Raises Unreachable, Failed."""
    path = f"rtr/{cache.name}/state/{STATUS}"
    content = (await machines.host(cache.runs_on).get([path]))[path]
    if content is None:
        raise Failed(NOBODY)
    try:
        found = json.loads(content)
    except ValueError as error:
        raise Failed(f"its status is no JSON: {error}") from None
    if not is_status(found):
        raise Failed("its status is none of an RTR server")
    return dict(found)


async def _cache(cache: RtrCache, machines: Machines) -> Status:
    try:
        said = await cache_status(cache, machines)
    except (Unreachable, Failed) as error:
        return Status(cache.id, "down", str(error), good=False)
    seen = list(rows(said, time.time()))
    bad = {row.table: row.state for row in seen if row.state != "serving"}
    facts = {"tables": said["tables"], "routers": sum(len(each["peers"]) for each in said["tables"])}
    if not bad:
        return Status(cache.id, "serving", facts=facts)
    return Status(cache.id, "faulty", "; ".join(f"{table}: {state}" for table, state in bad.items()), good=False, facts=facts)
