from __future__ import annotations
from collections.abc import Iterable
from nnix.kernel.plane import Machines, Status
from nnix.kernel.snapshot import Snapshot
async def read(snapshot: Snapshot, machines: Machines) -> Iterable[Status]:
    return ()
class RefusedRoute: pass
async def refused_routes(snapshot, machines, server=None, member=None): return []
