"""Admission to the fabric: what links, LANs and ports must be before a switch hears of them.

Addresses and MACs on LANs are judged by routing, tunnel ends and machines by members. Whether a site's links carry what its
ports have bought is not judged here: exchanges live from the fact that not everybody sends at once, and the ratio is for
the operator to choose. read.py states both figures for each site.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address
from itertools import combinations, pairwise

from nnix.kernel.approval import named_once
from nnix.kernel.rule import Broken, Rule, rule
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Circuit, EmergencyPlan, FailureSort, Lan, LanPurpose, Link, Port, Traffic
from nnix.planes.fabric.levels import Reach, beyond, scope, widened
from nnix.planes.fabric.names import (
    LOOPBACK,
    PREFIXES,
    QUARANTINE_BRIDGE,
    cache_interface,
    circuit_bridge,
    circuit_vxlan,
    lan_bridge,
    lan_vxlan,
    link_interface,
    port_interface,
    route_server_interface,
)
from nnix.planes.fabric.prove.promises import Breach, of_circuit, of_lan, of_port
from nnix.planes.members.kinds import Level, Machine, Site, SiteRole
from nnix.planes.routing.kinds import RouteServer, Session
from nnix.planes.trust.kinds import RtrCache

MODEL = "nnix, kinds of the fabric plane"
RESILIENT = "guidelines for new-type exchange points: a resilient 1+2+X network"
NAMED_MAX = 5
NO_INTERFACES = (LOOPBACK, "all", "default")  # sysctl's words for every interface and for new ones


@rule("fabric.link-two-ends", source="1+2+X network: links join sites")
def link_two_ends(link: Link, snapshot: Snapshot) -> Iterator[Broken]:
    """A link joins two different sites."""
    if link.a == link.b:
        yield Broken("b", link.b, f"another site than {link.a}")


@rule("fabric.site-reachable", source="1+2+X network: every node is joined to the hub", whole=True)
def site_reachable(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """Every site can be reached over links from the hub, or its members would be on an exchange of their own."""
    hub = next((each for each in snapshot.of(Site) if each.role is SiteRole.HUB), None)
    if hub is not None and site.name not in reached_from(hub.name, snapshot):
        yield Broken(
            "",
            f"no path of links leads here from {hub.id}",
            f"a Link to {hub.name}, or to a site that reaches it",
            f"add a Link with a: {site.name}",
        )


def reached_from(start: str, snapshot: Snapshot) -> frozenset[str]:
    """The names of sites that links lead to from `start`, itself included."""
    reached = {start}
    queue = [start]
    while queue:
        here = queue.pop()
        for link in (*snapshot.where(Link, a=here), *snapshot.where(Link, b=here)):
            for end in (str(link.a), str(link.b)):
                if end not in reached:
                    reached.add(end)
                    queue.append(end)
    return frozenset(reached)


@rule("fabric.tunnel-end-v4", source="RFC 2328")
def tunnel_end_v4(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """A tunnel end has an IPv4 address: the underlay is routed by OSPFv2."""
    if site.vtep is not None and not isinstance(site.vtep, IPv4Address):
        yield Broken("vtep", site.vtep, "an IPv4 address, like 10.255.0.1", "leave it out: nnix allocates one")


@rule("fabric.lan-has-prefix", source="RFC 7948, 4.2")
def lan_has_prefix(lan: Lan, snapshot: Snapshot) -> Iterator[Broken]:
    """A LAN has a prefix in at least one address family, or nobody could be addressed on it."""
    if lan.v4 is None and lan.v6 is None:
        yield Broken("v4", "unset, as v6 is", "a prefix in v4, in v6, or in both")


@rule("fabric.lan-prefixes-apart", source="RFC 4632, 5.1")
def lan_prefixes_apart(lan: Lan, snapshot: Snapshot) -> Iterator[Broken]:
    """The prefixes of LANs do not overlap, or an address would be on two of them. The quarantine LAN may have a peering LAN's, so that a
    port under test keeps its addresses."""
    for other in snapshot.of(Lan):
        if other.name < lan.name and other.purpose is lan.purpose:
            if lan.v4 and other.v4 and lan.v4.overlaps(other.v4):
                yield Broken("v4", lan.v4, f"a prefix apart from that of {other.id}, {other.v4}")
            if lan.v6 and other.v6 and lan.v6.overlaps(other.v6):
                yield Broken("v6", lan.v6, f"a prefix apart from that of {other.id}, {other.v6}")


@rule("fabric.vni-once", source="RFC 7348, 4")
def vni_once(lan: Lan, snapshot: Snapshot) -> Iterator[Broken]:
    """A VXLAN network identifier is one LAN's only, or frames would cross from one to the other."""
    if lan.vni is not None:
        first, *_ = snapshot.where(Lan, vni=lan.vni)
        if lan is not first:
            yield Broken("vni", lan.vni, f"a number of its own; {first.id} has this one", "leave it out: nnix allocates one")


@rule("fabric.circuit-vni-once", source="RFC 7348, 4")
def circuit_vni_once(circuit: Circuit, snapshot: Snapshot) -> Iterator[Broken]:
    """A circuit shares its VXLAN network identifier with no LAN and no other circuit."""
    if circuit.vni is not None:
        lans, circuits = snapshot.where(Lan, vni=circuit.vni), snapshot.where(Circuit, vni=circuit.vni)
        first = lans[0].id if lans else circuits[0].id
        if circuit.id != first:
            yield Broken("vni", circuit.vni, f"a number of its own; {first} has this one", "leave it out: nnix allocates one")


@rule("fabric.circuit-ends-free", source=MODEL)
def circuit_ends_free(circuit: Circuit, snapshot: Snapshot) -> Iterator[Broken]:
    """A port is an end of one circuit, once, and then of nothing else: frames at ports carry no tag that could tell several apart (yet)."""
    for index, end in enumerate(circuit.ends):
        field = f"ends[{index}]"
        sessions = snapshot.where(Session, port=end)
        others = [each for each in snapshot.of(Circuit) if end in each.ends and each.name < circuit.name]
        if end in circuit.ends[:index]:
            yield Broken(field, end, "a port that is not an end already")
        elif sessions:
            yield Broken(field, end, f"a port without a session; {sessions[0].id} stands behind this one", "order a port for the circuit")
        elif others:
            yield Broken(field, end, f"a port in no other circuit; {others[0].id} ends there", "order a port for each circuit")


@rule("fabric.gateway-fits", source="RFC 7348, 4; " + MODEL)
def gateway_fits(port: Port, snapshot: Snapshot) -> Iterator[Broken]:
    """The cable to a gateway carries tunnels and nothing else, between two addresses that mean nothing else on that switch."""
    if port.gateway is None:
        return
    if snapshot.where(Session, port=port.name) or any(port.name in each.ends for each in snapshot.of(Circuit)):
        yield Broken(
            "gateway", "a gateway behind a port that is in use itself", "a port without session or circuit", "order a port over it"
        )
    taken = {each.vtep: each.id for each in snapshot.of(Site) if isinstance(each.vtep, IPv4Address)}
    for machine in snapshot.of(Machine):
        with suppress(ValueError):  # a name is no address; whoever manages by name sees to it himself
            taken[IPv4Address(machine.address or "")] = machine.id
    for each in snapshot.where(Port, site=port.site):
        if each.gateway is not None and each.name < port.name:
            taken |= {each.gateway.ours: each.id, each.gateway.theirs: each.id}
    for field, address in (("gateway.ours", port.gateway.ours), ("gateway.theirs", port.gateway.theirs)):
        within = next((lan.id for lan in snapshot.of(Lan) if lan.v4 is not None and address in lan.v4), None)
        if address in taken:
            yield Broken(field, address, f"an address of its own; {taken[address]} has this one")
        elif address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local:
            yield Broken(field, address, "an address of a cable: unicast, and neither loopback nor link-local")
        elif within is not None:
            yield Broken(field, address, f"an address outside {within}, whose members it would take it from")
        taken[address] = port.id


@rule("fabric.tagged-fits", source="IEEE 802.1Q, 9.6; " + MODEL)
def tagged_fits(port: Port, snapshot: Snapshot) -> Iterator[Broken]:
    """A tagged cable carries VLANs and nothing else: what has no tag there is nobody's."""
    if not port.tagged:
        return
    if snapshot.where(Session, port=port.name) or any(port.name in each.ends for each in snapshot.of(Circuit)):
        yield Broken("tagged", "tags on a port that is in use itself", "a port without session or circuit", "order a port over it")
    if port.gateway is not None:
        yield Broken("tagged", "tags on the cable to a gateway", "tagged or gateway: a cable is handed VLANs or VNIs")
    if port.over is not None:
        yield Broken("tagged", "tags on a port without a cable", "tagged and over not both", "tag the port with the cable")


@rule("fabric.hand-off-fits", source="RFC 7348, 4; IEEE 802.1Q, 9.6; " + MODEL)
def hand_off_fits(port: Port, snapshot: Snapshot) -> Iterator[Broken]:
    """A port that is handed over by VNI is over a gateway of its member at its site, under a number that nobody else has there; one that is
    handed over by VLAN is over a tagged port, under a number that nobody else has on that cable."""
    if port.over is None and port.vni is None and port.vlan is None:
        return
    if port.over is None or (port.vni is None) == (port.vlan is None):
        found = "unset" if port.over is None or port.vni is None else "vni and vlan"
        yield Broken("vni" if port.over else "over", found, "over with either vni or vlan, or none of them")
        return
    trunk = snapshot.at(port.over)
    able = trunk.gateway is not None if port.vni is not None else trunk.tagged
    if not able or port.gateway is not None or (trunk.member, trunk.site) != (port.member, port.site):
        wanted = "port with a gateway" if port.vni is not None else "tagged port"
        yield Broken("over", port.over, f"a {wanted}, of {port.member} at {port.site}")
    if port.interface is not None:
        yield Broken("interface", port.interface, "none: it has no cable", "leave it out")
    if snapshot.where(Session, port=port.name):
        yield Broken("over", port.over, "a cable of its own: members are on LANs by cable only")
    if port.vlan is not None:
        field, number = "vlan", port.vlan
        others = [each.id for each in snapshot.where(Port, over=port.over) if each.vlan == port.vlan and each.name < port.name]
    else:
        field, number = "vni", port.vni or 0
        others = [each.id for each in snapshot.where(Port, vni=port.vni) if each.site == port.site and each.name < port.name]
        others += [each.id for kind in (Lan, Circuit) for each in snapshot.where(kind, vni=port.vni)]
    if others:
        yield Broken(field, number, f"a number of its own; {others[0]} has this one", "agree on another with the member")


@rule("fabric.circuit-fits-ports", source="MEF 10.4, 8.3, ingress bandwidth profile")
def circuit_fits_ports(circuit: Circuit, snapshot: Snapshot) -> Iterator[Broken]:
    """What a circuit promises is no more than the slowest of its ports can carry."""
    if circuit.capacity is not None:
        slowest = min((snapshot.at(end) for end in circuit.ends), key=lambda port: int(port.committed or port.speed))
        most = slowest.committed or slowest.speed
        if circuit.capacity > most:
            yield Broken("capacity", circuit.capacity, f"at most {most}, what {slowest.id} can carry", "order a faster port")


@rule("fabric.circuit-pins-fit", source="RFC 8986, 4 and 5.1")
def circuit_pins_fit(circuit: Circuit, snapshot: Snapshot) -> Iterator[Broken]:
    """Only a wire between two sites is led over others, over each of them once."""
    if not circuit.via:
        return
    if len(circuit.ends) != 2:
        yield Broken(
            "via", f"a way for {len(circuit.ends)} ends", "none: only between two ends is there one way", "order a circuit for each pair"
        )
        return
    sites = [str(snapshot.at(end).site) for end in circuit.ends]
    if sites[0] == sites[1]:
        yield Broken(
            "via", f"a way out of {sites[0]} and back", "none: both ends are at one site, whose switch joins them", "leave via out"
        )
    for index, each in enumerate(circuit.via):
        if each in sites or each in circuit.via[:index]:
            yield Broken(f"via[{index}]", each, "a site that is neither an end nor passed already")


@rule("fabric.circuit-stays-within", source="guidelines for new-type exchange points: levels of exchange", whole=True)
def circuit_stays_within(circuit: Circuit, snapshot: Snapshot) -> Iterator[Broken]:
    """No frame of a circuit leaves the scope that it was sold for, neither normally nor after any single failure."""
    within = circuit.within
    if within is None:
        return
    if within is Level.CROSS_BORDER:
        yield Broken("within", within.value, "city, province or national; the largest scope keeps nothing in", "leave it out")
        return
    start = snapshot.at(snapshot.at(circuit.ends[0]).site)
    outside = [each for each in circuit.via if beyond(scope((start, snapshot.at(each))), within)]
    if outside:
        for each in outside:
            yield Broken(f"via[{circuit.via.index(each)}]", each, f"a site of the same {word(within)} as {start.id}")
        return
    found = taken_out(circuit, snapshot, within)
    if found:
        first, *others = found
        when = f"if {first.failure} fails, its frames go" if first.failure else "its frames go"
        more = f"; {len(others)} more failures take it out as well" if others and first.failure else ""
        yield Broken(
            "within",
            f"{when} {' - '.join(first.path)}, which is {first.level}{more}",
            f"a way inside the {word(within)}, whatever fails alone",
            f"add a Link inside the {word(within)}, or promise less",
        )


def taken_out(circuit: Circuit, snapshot: Snapshot, within: Level) -> list[Reach]:
    """What takes a circuit out of `within`: the normal way, or failures, each once. One that takes an end or a pinned site away ends the wire
    and so takes nothing anywhere."""
    ends = tuple(dict.fromkeys(str(snapshot.at(end).site) for end in circuit.ends))
    stations = (ends[0], *map(str, circuit.via), *ends[1:])
    legs = pairwise(stations) if len(circuit.ends) == 2 else combinations(ends, 2)
    fatal = {f"site/{each}" for each in stations} if len(circuit.ends) == 2 else set[str]()
    found: dict[str | None, Reach] = {}
    for a, b in legs:
        for each in widened(snapshot, a, b, within):
            if each.failure not in fatal:
                found.setdefault(each.failure, each)
    return sorted(found.values(), key=lambda each: each.failure is not None)


def word(level: Level) -> str:
    """What a level is a level of."""
    return "country" if level is Level.NATIONAL else level.value


@rule("fabric.bfd-pace", source="FRR, bfdd: 10 ms to 60 s")
def bfd_pace(link: Link, snapshot: Snapshot) -> Iterator[Broken]:
    """A link's ends are heard at a pace that BFD daemons can keep."""
    if not 10_000 <= int(link.bfd) <= 60_000_000 or int(link.bfd) % 1000:
        yield Broken("bfd", link.bfd, "whole milliseconds from 10ms to 60s")


@rule("fabric.quarantine-lan-once", source="Euro-IX, quarantine procedure")
def quarantine_lan_once(lan: Lan, snapshot: Snapshot) -> Iterator[Broken]:
    """There is at most one quarantine LAN, since a port in quarantine does not say which."""
    if lan.purpose is LanPurpose.QUARANTINE:
        first, *_ = snapshot.where(Lan, purpose=LanPurpose.QUARANTINE)
        if lan is not first:
            yield Broken("purpose", lan.purpose.value, f"peering; {first.id} is the quarantine LAN")


@rule("fabric.commitment-fits-port", source="IX-API 2, network feature capacity")
def commitment_fits_port(port: Port, snapshot: Snapshot) -> Iterator[Broken]:
    """What is bought on a port is no more than the port can carry."""
    if port.committed is not None and port.committed > port.speed:
        yield Broken("committed", port.committed, f"at most its speed, {port.speed}", "order a faster port, or a second one")


@rule("fabric.port-on-one-lan", source=MODEL)
def port_on_one_lan(port: Port, snapshot: Snapshot) -> Iterator[Broken]:
    """All sessions behind a port are on one LAN: frames at ports carry no tag that could tell several apart (yet)."""
    lans = sorted({str(each.lan) for each in snapshot.where(Session, port=port.name)})
    if len(lans) > 1:
        yield Broken(
            "", f"sessions on {', '.join(lans)} stand behind this port", "sessions on one LAN", "give the member a port for each LAN"
        )


@rule("fabric.port-interface-possible", source="Linux, dev_valid_name(); IFNAMSIZ")
def port_interface_possible(port: Port, snapshot: Snapshot) -> Iterator[Broken]:
    """An interface has a name that Linux allows and that nnix does not use for its own."""
    name = port.interface
    if name is None:
        return
    if "/" in name:
        yield Broken("interface", name, "a name without /, which Linux does not allow in one", "leave it out: nnix names it")
    elif name in NO_INTERFACES or name.startswith(PREFIXES):
        yield Broken(
            "interface",
            name,
            f"a name other than {', '.join(NO_INTERFACES)}, beginning otherwise than {', '.join(PREFIXES)}",
            "leave it out: nnix names it",
        )


@rule("fabric.interface-once", source=MODEL)
def interface_once(site: Site, snapshot: Snapshot) -> Iterator[Broken]:
    """On one switch, each port, link, route server, RTR cache, LAN and circuit has an interface of its own."""
    users: dict[str, list[str]] = defaultdict(list)
    for port in snapshot.where(Port, site=site.name):
        users[port_interface(port)].append(port.id)
    for server in snapshot.where(RouteServer, site=site.name):
        users[route_server_interface(server)].append(server.id)
    for cache in snapshot.where(RtrCache, site=site.name):
        users[cache_interface(cache)].append(cache.id)
    for link in {each.id: each for each in (*snapshot.where(Link, a=site.name), *snapshot.where(Link, b=site.name))}.values():
        users[link_interface(link, site.name)].append(link.id)
    for lan in snapshot.of(Lan):
        users[lan_bridge(lan)].append(lan.id)
        users[lan_vxlan(lan)].append(lan.id)
    for circuit in snapshot.of(Circuit):
        users[circuit_bridge(circuit)].append(circuit.id)
        users[circuit_vxlan(circuit)].append(circuit.id)
    users[QUARANTINE_BRIDGE].append(site.id)
    for name, who in users.items():
        if len(who) > 1:
            yield Broken(
                "",
                f"interface {name} would be {' and '.join(who)}",
                "an interface for each",
                "set interface of a port, or rename one of them",
            )


@rule("fabric.traffic-two-ends", source=MODEL)
def traffic_two_ends(traffic: Traffic, snapshot: Snapshot) -> Iterator[Broken]:
    """Traffic has two different ends, each either a site or a member."""
    for field, end in (("a", traffic.a), ("b", traffic.b)):
        if (end.site is None) == (end.member is None):
            yield Broken(field, "site and member" if end.site else "neither site nor member", "one of the two")
    if traffic.a == traffic.b:
        yield Broken("b", traffic.b.site or traffic.b.member, "another end than a")


@rule("fabric.lan-keeps-promise", source=RESILIENT, whole=True)
def lan_keeps_promise(lan: Lan, snapshot: Snapshot) -> Iterator[Broken]:
    """No single failure that a LAN promises to survive cuts off a member on it (a site's own failure: except those who are only there)."""
    yield from map(_broken, of_lan(snapshot, lan))


@rule("fabric.port-keeps-promise", source=RESILIENT, whole=True)
def port_keeps_promise(port: Port, snapshot: Snapshot) -> Iterator[Broken]:
    """No single failure that a port promises to survive cuts its member off."""
    yield from map(_broken, of_port(snapshot, port))


@rule("fabric.circuit-keeps-promise", source=RESILIENT, whole=True)
def circuit_keeps_promise(circuit: Circuit, snapshot: Snapshot) -> Iterator[Broken]:
    """No single failure that a circuit promises to survive takes it from one of its ends (a site's own failure: except from ends at that site)."""
    yield from map(_broken, of_circuit(snapshot, circuit))


def _broken(breach: Breach) -> Broken:
    named = ", ".join(breach.cut_off[:NAMED_MAX])
    more = f" and {len(breach.cut_off) - NAMED_MAX} more" if len(breach.cut_off) > NAMED_MAX else ""
    return Broken("survives", f"if {breach.failure} fails, {named}{more} would be cut off", "a network that survives it", breach.mend)


TARGETS: Mapping[FailureSort, type[Link | Site | Port] | None] = {
    FailureSort.CUT: Link,
    FailureSort.SILENT: Link,
    FailureSort.FLAP: Link,
    FailureSort.DARK: Site,
    FailureSort.KILL: Site,
    FailureSort.REFLECTORS: None,
    FailureSort.FOREIGN: None,
    FailureSort.LOOP: Port,
    FailureSort.LACP: Port,
}


@rule("fabric.emergency-plan-target", source="guidelines for national IXPs (MIIT, 30 Dec 2025), article 8")
def emergency_plan_target(plan: EmergencyPlan, snapshot: Snapshot) -> Iterator[Broken]:
    """A plan names a link, site or port that is there, of the sort that its failure is about: one that cannot be rehearsed is none."""
    kind = TARGETS[plan.failure]
    if kind is None:
        if plan.target is not None:
            yield Broken("target", plan.target, f"no target: {plan.failure} is about the whole exchange", "leave it out")
    elif plan.target is None or snapshot.get(kind, plan.target.removeprefix(f"{kind.slug()}/")) is None:
        known = ", ".join(each.id for each in snapshot.of(kind)[:6])
        yield Broken("target", plan.target or "unset", f"a {kind.slug()} of this exchange: {known} …")


@rule("fabric.emergency-plan-approvers", source="guidelines for national IXPs (MIIT, 30 Dec 2025), article 8")
def emergency_plan_approvers(plan: EmergencyPlan, snapshot: Snapshot) -> Iterator[Broken]:
    """Each approver of a plan is named once, and no two share a login: two approvers are four eyes."""
    yield from named_once(plan.approvers)


RULES: tuple[Rule, ...] = (
    link_two_ends,
    site_reachable,
    tunnel_end_v4,
    lan_has_prefix,
    lan_prefixes_apart,
    vni_once,
    circuit_vni_once,
    circuit_ends_free,
    gateway_fits,
    tagged_fits,
    hand_off_fits,
    circuit_fits_ports,
    circuit_pins_fit,
    circuit_stays_within,
    bfd_pace,
    quarantine_lan_once,
    commitment_fits_port,
    port_on_one_lan,
    port_interface_possible,
    interface_once,
    traffic_two_ends,
    lan_keeps_promise,
    port_keeps_promise,
    circuit_keeps_promise,
    emergency_plan_target,
    emergency_plan_approvers,
)
