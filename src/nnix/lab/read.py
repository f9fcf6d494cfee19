"""What became of the lab as such: whether it can do what links declare. One status, of the Exchange.

A kernel without netem is nobody's fault and breaks nothing, so the status is good; but whoever measures round trips must know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from nnix.kernel.plane import Machines, Status
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed, Unreachable
from nnix.lab.compile import is_lab
from nnix.lab.latency import LATENCY
from nnix.planes.fabric.kinds import Link
from nnix.planes.fabric.names import switch_machine
from nnix.planes.members.kinds import Exchange

ROUTING_ONLY = "links' declared latency steers routing only"


async def read(snapshot: Snapshot, machines: Machines) -> Iterable[Status]:
    """A status for the Exchange, when it is a lab. Machines that cannot be asked are left out: the fabric tells of them."""
    if not is_lab(snapshot):
        return ()
    ends = [snapshot.at(site) for link in snapshot.of(Link) if link.latency for site in (link.a, link.b)]
    names = sorted({switch_machine(snapshot, site) for site in ends})
    able = dict(zip(names, await asyncio.gather(*(_delays(name, machines) for name in names)), strict=True))
    unable = [name for name, can in able.items() if can is False]
    if not unable:
        reason = ""
    elif True not in able.values():
        reason = f"{ROUTING_ONLY}: this kernel has no netem"
    else:
        reason = f"{ROUTING_ONLY} at {', '.join(unable)}: the kernel there has no netem"
    return [Status(each.id, "lab", reason) for each in snapshot.of(Exchange) if each.lab]


async def _delays(name: str, machines: Machines) -> bool | None:
    try:
        return await LATENCY.possible(machines.host(name))
    except (Unreachable, Failed):
        return None
