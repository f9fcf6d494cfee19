"""What became of sites, links, LANs and ports: asked of the kernels of the switches, by one command each.

A site is up when its switch answers and has a route to every other tunnel end; that says more than the state of a routing daemon, which may
believe what the kernel does not have. A link is up when both of its ends have carrier and the underlay uses it: a
line that was cut in between may keep its light, but where it is a shortest way between its own ends, routes show that nobody takes it; where it is not,
and stands by, ospfd is asked whether it hears the other end. A link is unknown while nothing is known against it but one of its ends cannot be asked. A port is as its state says when it has light (or none) and is
plugged into the right bridge behind the filter. The cable of a cloud, and what is handed over on it, also wants the table of gateways to be
as it was loaded: without it the cloud could put frames on any LAN. A pinned circuit is up when the sites that it must pass can be asked, pass its frames on,
and there is a route from each to the next, both ways.

What ports were refused is told by reason, counted by the filter itself since it was loaded.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from nnix.daemons.frr import ospf_neighbours
from nnix.daemons.iproute.seen import Seen as Kernel
from nnix.daemons.iproute.seen import parsed as kernel
from nnix.daemons.nftables import NFTABLES
from nnix.kernel.plane import Machines, Status
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed, Unreachable
from nnix.planes.fabric import gateways, srv6
from nnix.planes.fabric.compile import UNDERLAY, switches
from nnix.planes.fabric.kinds import Circuit, Lan, Link, Port, PortState
from nnix.planes.fabric.names import port_interface
from nnix.planes.fabric.nftables import REASONS, TABLE
from nnix.planes.fabric.policy import Attachment, Switch
from nnix.planes.fabric.prove.network import dark, network, serves
from nnix.planes.members.kinds import Site
from nnix.planes.routing.kinds import Session

COUNTERS = ["ip", "-j", "-s", "link", "show"]
SEGMENTS_TOO = "echo; echo @route6; ip -j -6 route show; echo; echo @link; "
QUESTIONS = f"ip -j link show; echo; echo @route; ip -j -4 route show; echo; echo @filter; nft -j list table {TABLE} 2>/dev/null; exit 0\n"


@dataclass(frozen=True)
class Seen:
    """What one switch said; `trouble` in words when it could not be asked. `ways`: (destination, interface) of each route. `dropped`: interface → reason → frames.

    six: its IPv6 routes and segments, where pinned circuits pass it. gateways: how its table of gateways differs from what was loaded, where it is looked at.
    adjacent: interfaces over which OSPF has a neighbour, where links stand by; None where that was not asked, or not answered.
    """

    links: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    routes: frozenset[str] = frozenset()
    ways: frozenset[tuple[str, str]] = frozenset()
    guarded: frozenset[str] = frozenset()
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    trouble: str = ""
    six: Kernel = field(default_factory=lambda: Kernel({}))
    gateways: str = ""
    adjacent: frozenset[str] | None = None

    def lit(self, interface: str) -> bool:
        """Up, with carrier."""
        return {"UP", "LOWER_UP"} <= set(self.links.get(interface, {}).get("flags", ()))


async def read(snapshot: Snapshot, machines: Machines) -> Iterable[Status]:
    """A status for every Site, Link, Lan, Port and Circuit, by kind and name. A switch that cannot be asked makes statuses, not exceptions."""
    plans = {switch.site: switch for switch in switches(snapshot)}
    direct = shortest(snapshot)
    standing_by = {link.id for link in snapshot.of(Link) if link.name not in direct}
    answers = await asyncio.gather(*(_asked(switch, machines, standing_by) for switch in plans.values()))
    seen = dict(zip(plans, answers, strict=True))
    return (
        *(_site(site, snapshot, plans, seen) for site in snapshot.of(Site)),
        *(link_status(link, link.name in direct, plans, seen) for link in snapshot.of(Link)),
        *(_lan(lan, plans, seen) for lan in snapshot.of(Lan)),
        *(port_status(port, snapshot, plans, seen) for port in snapshot.of(Port)),
        *(circuit_status(each, snapshot, plans, seen) for each in snapshot.of(Circuit)),
    )


async def octets(snapshot: Snapshot, machines: Machines) -> dict[str, tuple[int, int]]:
    """link name → octets that went from its `a` to its `b`, and back, as one of its ends has counted. Links whose ends cannot be asked are left out."""
    plans = {switch.site: switch for switch in switches(snapshot)}
    answers = await asyncio.gather(*(_counters(switch, machines) for switch in plans.values()))
    counted = dict(zip(plans, answers, strict=True))
    found = {}
    for link in snapshot.of(Link):
        for site, away in ((str(link.a), True), (str(link.b), False)):
            end = next((each for each in plans[site].links if each.of == link.id), None) if site in plans else None
            if end is not None and (both := counted[site].get(end.interface)) is not None:
                sent, received = both
                found[link.name] = (sent, received) if away else (received, sent)
                break
    return found


async def _counters(switch: Switch, machines: Machines) -> dict[str, tuple[int, int]]:
    """interface → octets sent and received."""
    try:
        result = await machines.host(switch.machine).run(COUNTERS)
        rows = json.loads(result.out or "[]")
        return {row["ifname"]: (row["stats64"]["tx"]["bytes"], row["stats64"]["rx"]["bytes"]) for row in rows if "stats64" in row}
    except (Unreachable, ValueError, KeyError, TypeError):
        return {}


async def _asked(switch: Switch, machines: Machines, standing_by: Container[str]) -> Seen:
    """What a switch answers; whom OSPF hears there, where one of its links stands by; and whether its table of gateways is as it was loaded, where something is
    handed over on a cable there."""
    said = await ask(switch, machines, f"{SEGMENTS_TOO}{QUESTIONS}" if switch.passed or switch.pinned_end else QUESTIONS)
    if not said.trouble and any(each.of in standing_by for each in switch.links):
        with suppress(Unreachable, Failed):
            said = replace(said, adjacent=await ospf_neighbours(machines.host(switch.machine), UNDERLAY))
    if said.trouble or not any(map(_handed_over, switch.attachments)):
        return said
    try:
        found = await NFTABLES.look(machines.host(switch.machine), {"gateways": gateways.spell(switch)})
    except (Unreachable, Failed) as error:
        return replace(said, gateways=f"cannot be looked at: {error}")
    return replace(said, gateways=found.get("gateways", ""))


def _handed_over(each: Attachment) -> bool:
    """Whether it is a cable on which a cloud is handed circuits, or one of these."""
    return each.gateway is not None or each.tagged or not each.cable


async def ask(switch: Switch, machines: Machines, questions: str = QUESTIONS) -> Seen:
    """What a switch answers to `questions`, which print what parse() reads; why it cannot be asked stands in `trouble`."""
    try:
        result = await machines.host(switch.machine).run(["sh"], stdin=questions.encode())
    except Unreachable as error:
        return Seen(trouble=str(error))
    if result.status != 0:
        return Seen(trouble=f"{switch.machine}: {result.err.strip() or f'status {result.status}'}")
    try:
        return parse(result.out)
    except (ValueError, KeyError, TypeError) as error:
        return Seen(trouble=f"{switch.machine}: its answer makes no sense: {error}")


def parse(out: str) -> Seen:
    """What a switch printed. Raises ValueError, KeyError or TypeError when it is not what the tools print."""
    six, _, out = out.rpartition("\n@link\n") if out.startswith("\n@route6\n") else ("", "", out)
    links, _, rest = out.partition("\n@route\n")
    routes, _, table = rest.partition("\n@filter\n")
    sets = {each["set"]["name"]: each["set"].get("elem", []) for each in json.loads(table or "{}").get("nftables", ()) if "set" in each}
    dropped: dict[str, dict[str, int]] = defaultdict(dict)
    for reason in REASONS:
        for member in sets.get(f"dropped_{reason}", ()):
            if packets := member["elem"]["counter"]["packets"]:
                dropped[member["elem"]["val"]][reason] = packets
    rows = [row for row in json.loads(routes or "[]") if row]
    return Seen(
        links={row["ifname"]: row for row in json.loads(links or "[]") if row},
        routes=frozenset(row["dst"] for row in rows),
        ways=frozenset((row["dst"], hop["dev"]) for row in rows for hop in row.get("nexthops", [row]) if "dev" in hop),
        guarded=frozenset(each for name in ("ports", "private") for each in sets.get(name, ()) if isinstance(each, str)),
        dropped=dropped,
        six=kernel(six),
    )


def _status(resource: str, state: str, reasons: Sequence[str], facts: Mapping[str, Any], wrong: str = "down") -> Status:
    return Status(resource, wrong if reasons else state, "; ".join(reasons), not reasons, facts)


def _listed(names: Sequence[str], shown_max: int = 4) -> str:
    more = len(names) - shown_max
    return ", ".join(names[:shown_max]) + (f" and {more} more" if more > 0 else "")


def _site(site: Site, snapshot: Snapshot, plans: Mapping[str, Switch], seen: Mapping[str, Seen]) -> Status:
    plan = plans.get(site.name)
    if plan is None:
        return Status(site.id, "down", "it has no tunnel end (vtep)", good=False)
    facts = {
        "machine": plan.machine,
        "vtep": str(plan.vtep),
        "committed_bits_per_second": sum(int(each.committed or each.speed) for each in snapshot.where(Port, site=site.name)),
        "capacity_bits_per_second": sum(int(each.capacity) for each in snapshot.of(Link) if site.name in (each.a, each.b)),
    }
    here = seen[site.name]
    if here.trouble:
        return Status(site.id, "unreachable", here.trouble, good=False, facts=facts)
    far = [name for name, other in plans.items() if name != site.name and str(other.vtep) not in here.routes]
    return _status(
        site.id, "up", [f"no route to {_listed(far)}"] if far else [], facts, wrong="cut" if len(far) == len(plans) - 1 else "partial"
    )


def shortest(snapshot: Snapshot) -> frozenset[str]:
    """Links than which no other way between their own ends is shorter: while they work, the underlay sends what goes there over them."""
    net = network(snapshot)
    found = set()
    for start in range(len(net.sites)):
        distance, queue = {start: 0}, [(0, start)]
        while queue:
            far, here = heapq.heappop(queue)
            if far == distance[here]:
                for other, link in net.around[here]:
                    if far + net.costs[link] < distance.get(other, far + net.costs[link] + 1):
                        distance[other] = far + net.costs[link]
                        heapq.heappush(queue, (distance[other], other))
        found |= {net.links[link].name for other, link in net.around[start] if net.costs[link] == distance[other]}
    return frozenset(found)


def link_status(link: Link, direct: bool, plans: Mapping[str, Switch], seen: Mapping[str, Seen]) -> Status:
    reasons, silent = [], []
    for site in dict.fromkeys((str(link.a), str(link.b))):
        end = next((each for each in plans[site].links if each.of == link.id), None) if site in plans else None
        if end is None or seen[site].trouble:
            silent.append(f"{site} cannot be asked")
        elif end.interface not in seen[site].links:
            reasons.append(f"{end.interface} is not there at {site}")
        elif not seen[site].lit(end.interface):
            reasons.append(f"no carrier at {site}")
        elif direct and (far := _far_vtep(link, site, plans)) in seen[site].routes and (far, end.interface) not in seen[site].ways:
            reasons.append(f"{site} has light on it but sends nothing over it")
        elif not direct and (adjacent := seen[site].adjacent) is None:
            silent.append(f"OSPF at {site} cannot be asked")
        elif not direct and adjacent is not None and end.interface not in adjacent:
            reasons.append(f"{site} has light on it but hears nobody over it")
    facts = {"capacity": str(link.capacity), "latency": str(link.latency)}
    return _status(link.id, "up", reasons + silent, facts, wrong="down" if reasons else "unknown")


def _far_vtep(link: Link, site: str, plans: Mapping[str, Switch]) -> str:
    """The tunnel end at the other end of `link`; empty where there is none."""
    far = plans.get(str(link.b if link.a == site else link.a))
    return str(far.vtep) if far is not None else ""


def _lan(lan: Lan, plans: Mapping[str, Switch], seen: Mapping[str, Seen]) -> Status:
    missing = [site for site in plans if not seen[site].trouble and not _whole(lan.id, plans[site], seen[site])]
    silent = [site for site, here in seen.items() if here.trouble]
    reasons = [f"not whole at {_listed(missing)}"] if missing else []
    reasons += [f"{_listed(silent)} cannot be asked"] if silent else []
    members = sum(each.of.startswith("port/") and each.lan == lan.name for plan in plans.values() for each in plan.attachments)
    return _status(lan.id, "up", reasons, {"vni": lan.vni, "ports": members}, wrong="partial")


def _whole(of: str, plan: Switch, here: Seen) -> bool:
    """Whether bridge and tunnel of a LAN or circuit are there, up, and joined."""
    ends = [end for end in plan.lans if end.of == of]
    names = [name for end in ends for name in (end.bridge, end.vxlan) if name is not None]
    up = all("UP" in here.links.get(name, {}).get("flags", ()) for name in names)
    return up and all(here.links[end.vxlan].get("master") == end.bridge for end in ends if end.vxlan is not None)


def circuit_status(circuit: Circuit, snapshot: Snapshot, plans: Mapping[str, Switch], seen: Mapping[str, Seen]) -> Status:
    """A circuit is up when its bridges and tunnels stand and each of its ends has light; a pinned one, when it also passes the sites that it must.

    An end that is dark by declaration takes no part: a group goes on without it, and where fewer than two are left the circuit is off, as it should be.
    """
    reasons = []
    sites = dict.fromkeys(str(snapshot.at(end).site) for end in circuit.ends)
    for site in sites:
        if site not in plans or seen[site].trouble:
            reasons.append(f"{site} cannot be asked")
        elif not _whole(circuit.id, plans[site], seen[site]):
            reasons.append(f"not whole at {site}")
    ends = [(port, dark(snapshot, port)) for port in map(snapshot.at, circuit.ends)]
    served = [port for port, without in ends if without is None]
    off = [f"{port.id} is {port.state}" for port in dict.fromkeys(without for _, without in ends if without is not None)]
    for port in served if not reasons else ():
        if not seen[str(port.site)].lit(port_interface(port)):
            reasons.append(f"no light at {port.id}")
        elif port.over is not None and (wrong := seen[str(port.site)].gateways):
            reasons.append(f"{port.id} is not guarded: {wrong}")
    if circuit.via and not reasons:
        reasons += _off_its_pins(circuit, sites, plans, seen)
    if reasons or not off:
        return _status(circuit.id, "up", reasons + off, {"vni": circuit.vni, "sites": list(sites)})
    return Status(
        circuit.id, "up" if serves(circuit, len(served)) else "off", "; ".join(off), facts={"vni": circuit.vni, "sites": list(sites)}
    )


def _off_its_pins(circuit: Circuit, sites: Iterable[str], plans: Mapping[str, Switch], seen: Mapping[str, Seen]) -> Iterator[str]:
    """Why frames of a pinned circuit do not pass the sites that they must: one that is dead, does not hand on, or is not to be reached from the one before."""
    ends, passed = list(sites), list(map(str, circuit.via))
    dead = [site for site in passed if site not in plans or seen[site].trouble]
    if dead or len(ends) != 2:
        yield f"{_listed(dead)}, which it must pass, cannot be asked" if dead else f"it has {len(ends)} sites"
        return
    for site in passed:
        if str(srv6.end(plans[site].vtep)) not in seen[site].six.sids:
            yield f"{site}, which it must pass, does not hand it on"
    for site, other in (ends, ends[::-1]):
        if str(srv6.end_dt6(plans[site].vtep)) not in seen[site].six.sids:
            yield f"{site} does not take it out of its envelope"
        pin = next((end.pin for end in plans[site].lans if end.of == circuit.id), None)
        far = f"{srv6.circuit_end(plans[other].vtep, circuit.vni or 0)}/128"
        if pin is None or seen[site].six.segments.get(far) != tuple(map(str, pin.segments)):
            yield f"{site} does not put it into its envelope"
    for stations in ((ends[0], *passed, ends[1]), (ends[1], *reversed(passed), ends[0])):
        for here, there in pairwise(stations):
            if str(srv6.locator(plans[there].vtep).network) not in seen[here].six.routes:
                yield f"there is no way from {here} to {there}, both of which it must pass"


def port_status(port: Port, snapshot: Snapshot, plans: Mapping[str, Switch], seen: Mapping[str, Seen]) -> Status:
    plan = plans.get(str(port.site))
    here = seen.get(str(port.site), Seen(trouble=f"site {port.site} has no tunnel end"))
    if plan is None or here.trouble:
        return Status(port.id, "unknown", here.trouble, good=False)
    each = next(each for each in plan.attachments if each.of == port.id)
    dropped = dict(here.dropped.get(each.interface, {}))
    facts = {"interface": each.interface, "site": str(port.site), "bridge": each.bridge, "dropped": dropped}
    if (
        each.interface not in here.links and not each.up and not each.cable
    ):  # a hand-off that is dark, or unused, has no interface of its own
        without = dark(snapshot, port)
        if without is None:
            return Status(port.id, "idle", "no circuit ends at it", facts=facts)
        return Status(port.id, port.state.value, f"{without.id} is {without.state}" if without is not port else "", facts=facts)
    if each.interface not in here.links:
        return Status(port.id, "down", f"interface {each.interface} is not there", good=False, facts=facts)
    reasons = list(_port_wrong(each, here))
    state = "up" if port.state is PortState.PRODUCTION else port.state.value
    if not reasons and port.state is PortState.PRODUCTION and not snapshot.where(Session, port=port.name) and not each.private:
        return Status(port.id, "idle", "no session stands behind it", facts=facts)
    return _status(port.id, state, reasons, facts)


def _port_wrong(each: Attachment, here: Seen) -> Iterator[str]:
    link = here.links[each.interface]
    if not each.up:
        if "UP" in link["flags"]:
            yield "it has light and should not"
        return
    if link.get("master") != each.bridge:
        yield f"it is in {link.get('master') or 'no bridge'}, not in {each.bridge or 'any'}"
    if each.bridge is not None and each.interface not in here.guarded:
        yield "it is not guarded: the filter does not know it"
    if _handed_over(each) and here.gateways:
        yield f"it is not guarded: {here.gateways}"
    if not here.lit(each.interface):
        yield "no light from the member" if "UP" in link["flags"] else "it is down"
