"""What passed at each port and what was refused there, as the switches themselves have counted it.

`in` is what came from the member, `out` what went to him, in frames and octets, by the interface since it was made. What was
refused came in before and is counted in both. The filter counts refusals by reason since it was loaded.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nnix.kernel.plane import Machines
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.compile import switches
from nnix.planes.fabric.kinds import Port
from nnix.planes.fabric.nftables import TABLE
from nnix.planes.fabric.policy import Attachment, Switch
from nnix.planes.fabric.read import Seen, ask

QUESTIONS = f"ip -s -j link show; echo; echo @route; echo; echo @filter; nft -j list table {TABLE} 2>/dev/null; exit 0\n"


@dataclass(frozen=True)
class PortCounters:
    """One port. `light` is None, and nothing was counted, where the switch cannot be asked; `trouble` says why."""

    port: str
    member: str
    site: str
    state: str
    interface: str
    speed: str
    macs: tuple[str, ...]
    addresses: tuple[str, ...]
    light: bool | None = None
    passed: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""

    def record(self) -> dict[str, Any]:
        """For programs."""
        facts = {name: value for name, value in vars(self).items() if name not in ("passed", "trouble")}
        return {**facts, **self.passed, **({"trouble": self.trouble} if self.trouble else {})}


PASSED = ("in_frames", "in_octets", "out_frames", "out_octets")


async def port_counters(snapshot: Snapshot, machines: Machines, ports: Iterable[Port]) -> list[PortCounters]:
    """The counters of `ports`, in that order. Asks their switches only, each once."""
    wanted = list(ports)
    sites = {str(port.site) for port in wanted}
    plans = {switch.site: switch for switch in switches(snapshot) if switch.site in sites}
    answers = dict(zip(plans, await asyncio.gather(*(ask(switch, machines, QUESTIONS) for switch in plans.values())), strict=True))
    return [
        _counted(port, plans.get(str(port.site)), answers.get(str(port.site), Seen(trouble=f"site {port.site} has no tunnel end")))
        for port in wanted
    ]


def by_member(counted: Iterable[PortCounters]) -> dict[str, dict[str, Any]]:
    """Member → how many ports, and the sums over them."""
    found: dict[str, dict[str, Any]] = {}
    for each in counted:
        sums = found.setdefault(each.member, {"ports": 0, **dict.fromkeys(PASSED, 0), "refused": Counter()})
        sums["ports"] += 1
        for name, number in each.passed.items():
            sums[name] += number
        sums["refused"].update(each.refused)
    return found


def _counted(port: Port, plan: Switch | None, seen: Seen) -> PortCounters:
    each: Attachment | None = next((one for one in plan.attachments if one.of == port.id), None) if plan else None
    known = PortCounters(
        port=port.name,
        member=str(port.member),
        site=str(port.site),
        state=port.state.value,
        interface=each.interface if each else "",
        speed=str(port.speed),
        macs=each.macs if each else (),
        addresses=tuple(map(str, (*each.v4, *each.v6))) if each else (),
    )
    if each is None or seen.trouble:
        return replace(known, trouble=seen.trouble)
    link = seen.links.get(each.interface)
    if link is None:
        return replace(known, light=False, trouble=f"interface {each.interface} is not there")
    came, went = link["stats64"]["rx"], link["stats64"]["tx"]
    passed = dict(zip(PASSED, (came["packets"], came["bytes"], went["packets"], went["bytes"]), strict=True))
    return replace(known, light=seen.lit(each.interface), passed=passed, refused=dict(seen.dropped.get(each.interface, {})))
