"""The switch of each site: which ports are on which LAN, what may come in there, and where frames for others go.

A site is a switch. Each LAN is a bridge on every switch, and the bridges are joined by tunnels (VXLAN, RFC 7348) over a
routed underlay on the links. Nothing is learnt from traffic: the exchange knows each member's MAC addresses, so each
switch knows behind which port or which tunnel end an address is, and a frame for an unknown one goes nowhere. Broadcast and
multicast are copied at the ingress to the sites that have somebody on the LAN (RFC 8365, 5.1, without BGP).

Who has an address is registered as well, so on a peering LAN the switch that hears the question answers it (RFC 9161; all static, 5.4), for ports
in production and drained ones: they are on the LAN, and a drained one still pings. A port that is reserved, suspended or gone has no
neighbours, so nobody answers in its name; one under test has to answer for itself, or the test would show nothing.

A port under test is on the quarantine LAN, where it meets the testers (route servers of that LAN) and nobody else: ports are isolated
from one another, and sites without a tester send to sites with one only. Where no quarantine LAN is declared, the port is
on a bridge without a tunnel.

switches() decides all this once, in values. iproute.py, nftables.py and frr.py only spell it. What has no tunnel end (a
Site not yet allocated) or no VNI is left out rather than guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Ref
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact
from nnix.planes.fabric import frr, gateways, iproute, nftables, srv6
from nnix.planes.fabric.kinds import Circuit, Lan, LanPurpose, Link, Port, PortState, mac_of
from nnix.planes.fabric.names import (
    QUARANTINE_BRIDGE,
    cache_interface,
    circuit_bridge,
    circuit_vxlan,
    lan_bridge,
    lan_vxlan,
    link_interface,
    port_interface,
    route_server_interface,
    switch_machine,
)
from nnix.planes.fabric.policy import Attachment, Gateway, LanEnd, LinkEnd, Pin, Switch, Tag, Tunnel
from nnix.planes.members.kinds import Exchange, Site, SiteRole
from nnix.planes.routing.kinds import RouteServer, Session
from nnix.planes.trust.kinds import RtrCache

# Room for 1500 octets led over ten sites: FRR starts OSPF anew on a link whose MTU changes, so no usual order may change it.
UNDERLAY_MTU_MIN = 1800
REFLECTORS = 2
UNDERLAY = "underlay"  # the artifact for FRR
TUNNEL_OCTETS = 50  # Ethernet 14, VXLAN 8, UDP 8, IPv4 20 (RFC 7348, 4.3); an IEEE 802.1Q tag never travels inside

Answered = tuple[tuple[IPv4Address | IPv6Address, str], ...]  # address → MAC address of all who are on a LAN

ON_THE_LAN = (PortState.PRODUCTION, PortState.DRAINED)
LIT = (*ON_THE_LAN, PortState.QUARANTINE)


def compile(snapshot: Snapshot, evidence: Evidence) -> Iterator[Artifact]:
    """Four artifacts for each switch: what may pass from gateways and at its ports, its interfaces, and the routing beneath.

    The filters come first, so that they are armed before a port joins its LAN or a gateway is answered; and the first is there without gateways
    as well, since what is no longer wanted goes before anything else changes: the last gateway would be unguarded for a moment.
    """
    for switch in switches(snapshot):
        yield Artifact(switch.machine, "nftables", "gateways", gateways.spell(switch), switch.about)
        yield Artifact(switch.machine, "nftables", "ports", nftables.spell(switch), switch.about)
        yield Artifact(switch.machine, "iproute", "fabric", iproute.spell(switch), switch.about)
        yield Artifact(switch.machine, "frr", UNDERLAY, frr.spell(switch), switch.underlay_about)


def switches(snapshot: Snapshot) -> tuple[Switch, ...]:
    """The policy of each site's switch, in values, by site. Pure."""
    plugged = {site.name: attachments(snapshot, site) for site in snapshot.of(Site) if _end(site)}
    everybody = [each for group in plugged.values() for each in group]
    answered = {
        lan.name: None if lan.purpose is LanPurpose.QUARANTINE else _for_whom(each for each in everybody if each.lan == lan.name)
        for lan in snapshot.of(Lan)
    }
    return tuple(_switch(snapshot, site, vtep, plugged, answered) for site in snapshot.of(Site) if (vtep := _end(site)))


def reflectors(snapshot: Snapshot) -> tuple[str, ...]:
    """The two sites whose switches reflect EVPN routes (RFC 4456): the backbone connect points; where there are fewer, the hub, then
    nodes by name. None where there is but one switch."""
    rank = (SiteRole.BACKBONE, SiteRole.HUB, SiteRole.NODE)
    able = sorted((each for each in snapshot.of(Site) if _end(each)), key=lambda each: (rank.index(each.role), each.name))
    return tuple(each.name for each in able[:REFLECTORS]) if len(able) > 1 else ()


def underlay_mtu(snapshot: Snapshot) -> int:
    """Octets of the largest IP packet on links: the largest frame of any LAN or circuit with its tunnel, or tunnel and envelope, around it. At least 1800."""
    lans = (lan.mtu + TUNNEL_OCTETS for lan in snapshot.of(Lan))
    circuits = (each.mtu + (srv6.octets(len(each.via)) if each.via else TUNNEL_OCTETS) for each in snapshot.of(Circuit))
    return max([UNDERLAY_MTU_MIN, *lans, *circuits])


def attachments(snapshot: Snapshot, site: Site) -> tuple[Attachment, ...]:
    """Who is plugged in at `site`: ports of all states, then route servers, then RTR caches."""
    ports = (_port(snapshot, port) for port in snapshot.where(Port, site=site.name))
    servers = (_station(snapshot, each, route_server_interface(each)) for each in snapshot.where(RouteServer, site=site.name))
    caches = (_station(snapshot, each, cache_interface(each)) for each in snapshot.where(RtrCache, site=site.name))
    return (*ports, *servers, *caches)


def port_sessions(snapshot: Snapshot, port: Port) -> tuple[Session, ...]:
    """The sessions behind `port` on its one LAN; those on other LANs, which the rules refuse, are left out."""
    sessions = snapshot.where(Session, port=port.name)
    return tuple(each for each in sessions if each.lan == sessions[0].lan)


def circuit_of(snapshot: Snapshot, port: Port) -> Circuit | None:
    """The circuit that ends at `port`, if there is one; the rules allow no second."""
    return next((each for each in snapshot.of(Circuit) if port.name in each.ends), None)


def quarantine_lan(snapshot: Snapshot) -> Lan | None:
    """The LAN for ports under test, if there is one."""
    return next(iter(snapshot.where(Lan, purpose=LanPurpose.QUARANTINE)), None)


def _port(snapshot: Snapshot, port: Port) -> Attachment:
    sessions = port_sessions(snapshot, port)
    quarantined = port.state is PortState.QUARANTINE
    home = snapshot.at(sessions[0].lan) if sessions else None
    lan = quarantine_lan(snapshot) if quarantined else home
    circuit = None if quarantined or sessions else circuit_of(snapshot, port)
    gateway = _gateway(snapshot, port) if port.state in ON_THE_LAN else None
    trunk = snapshot.at(port.over) if port.over else None
    tagged = port.tagged and port.state in ON_THE_LAN
    lit = port.state in LIT and (trunk is None or ((trunk.gateway is not None or trunk.tagged) and trunk.state in ON_THE_LAN))
    macs = tuple(sorted({mac for each in sessions for mac in each.macs}))
    owned = [(address, each.macs) for each in sessions for address in (each.v4, each.v6) if address is not None]
    if not lit:
        bridge = None
    elif circuit is not None:
        bridge = circuit_bridge(circuit)
    elif lan is None:
        bridge = QUARANTINE_BRIDGE if quarantined else None
    else:
        bridge = lan_bridge(lan)
    return Attachment(
        of=port.id,
        interface=port_interface(port),
        up=lit and (trunk is None or bridge is not None),  # what is handed over has no interface but on a bridge
        lan=lan.name if lan and lit else None,
        bridge=bridge,
        mtu=_trunk_mtu(snapshot, port)
        if gateway or tagged
        else next((each.mtu for each in (circuit, home, lan) if each is not None), 1500),
        isolated=quarantined,
        drained=port.state is PortState.DRAINED,
        tester=False,
        private=circuit is not None or gateway is not None or tagged,
        learns=circuit is not None and len(circuit.ends) > 2,
        rate_bits_per_second=int(circuit.capacity) if circuit and circuit.capacity else None,
        macs=macs,
        v4=tuple(sorted({each.v4 for each in sessions if each.v4})),
        v6=tuple(sorted({*(each.v6 for each in sessions if each.v6), *map(link_local, macs)})),
        about=frozenset({port.id, *(each.id for each in sessions), *([circuit.id] if circuit else [])}),
        cable=trunk is None,
        gateway=gateway,
        tunnel=Tunnel(trunk.gateway.theirs, trunk.gateway.ours, port.vni) if lit and trunk and trunk.gateway and port.vni else None,
        tagged=tagged,
        tag=Tag(port_interface(trunk), port.vlan) if lit and trunk and trunk.tagged and port.vlan else None,
        neighbours=_neighbours(owned, macs) if lit and not quarantined else (),
        moving=lit and not quarantined and any(len(several) > 1 for _, several in owned),
    )


def _neighbours(
    owned: Iterable[tuple[IPv4Address | IPv6Address, tuple[str, ...]]], macs: Iterable[str]
) -> tuple[tuple[IPv4Address | IPv6Address, str], ...]:
    """Addresses of which it is certain at which MAC address they are: with one registered, and the link-local ones, which are made of it."""
    registered = [(address, several[0]) for address, several in owned if len(several) == 1]
    return (*registered, *((link_local(mac), mac) for mac in macs))


def _gateway(snapshot: Snapshot, port: Port) -> Gateway | None:
    if port.gateway is None:
        return None
    over = (each.vni for each in snapshot.where(Port, over=port.name) if each.state in LIT and each.vni is not None)
    return Gateway(port.gateway.theirs, port.gateway.ours, tuple(sorted(over)))


def _trunk_mtu(snapshot: Snapshot, port: Port) -> int:
    """Octets of the largest IP packet on a cable that carries others: that of any circuit over it, to a gateway with its tunnel around it. A tag
    is part of the frame, not of the packet (IEEE 802.3, 3.2.7)."""
    circuits = (circuit_of(snapshot, each) for each in snapshot.where(Port, over=port.name))
    around = TUNNEL_OCTETS if port.gateway else 0
    return max([1500, *(each.mtu + around for each in circuits if each is not None)])


def _station(snapshot: Snapshot, server: RouteServer | RtrCache, interface: str) -> Attachment:
    """A machine of the exchange's own on a LAN."""
    lan = snapshot.at(server.lan)
    macs = (server.mac,) if server.mac else ()
    return Attachment(
        of=server.id,
        interface=interface,
        up=True,
        lan=lan.name,
        bridge=lan_bridge(lan),
        mtu=lan.mtu,
        isolated=False,
        drained=False,
        tester=isinstance(server, RouteServer),
        private=False,
        learns=False,
        rate_bits_per_second=None,
        macs=macs,
        v4=(server.v4,) if server.v4 else (),
        v6=tuple(sorted({*((server.v6,) if server.v6 else ()), *map(link_local, macs)})),
        about=frozenset({server.id}),
        neighbours=_neighbours([(address, macs) for address in (server.v4, server.v6) if address is not None], macs),
    )


def link_local(mac: str) -> IPv6Address:
    """The link-local address that a router makes of its MAC address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


def _end(site: Site) -> IPv4Address | None:
    return site.vtep if isinstance(site.vtep, IPv4Address) else None


def _switch(
    snapshot: Snapshot,
    site: Site,
    vtep: IPv4Address,
    plugged: Mapping[str, tuple[Attachment, ...]],
    answered: Mapping[str, Answered | None],
) -> Switch:
    links = tuple(
        LinkEnd(link.id, link_interface(link, site.name), underlay_mtu(snapshot), int(link.latency), int(link.bfd) // 1000)
        for link in snapshot.of(Link)
        if site.name in (link.a, link.b) and link.a != link.b
    )
    lans = (
        *(_lan_end(snapshot, site, lan, plugged, answered[lan.name]) for lan in snapshot.of(Lan) if lan.vni is not None),
        *(
            _circuit_end(snapshot, site, each, vtep)
            for each in snapshot.of(Circuit)
            if _known(snapshot, each) and _ends_at(snapshot, each, site)
        ),
    )
    here = plugged[site.name]
    pinned = [each for each in snapshot.of(Circuit) if each.via]
    led_over = [each for each in pinned if site.name in each.via]
    ends = {each.name: end for each in snapshot.of(Site) if (end := _end(each))}
    reflecting = reflectors(snapshot)
    others = reflecting if site.name not in reflecting else tuple(ends)
    underlay_about = frozenset({site.id, *(each.of for each in links), *(f"site/{name}" for name in others), *(each.id for each in pinned)})
    elsewhere = {
        name
        for end in lans
        for other, group in plugged.items()
        if other != site.name
        for each in group
        if each.lan is not None and each.lan == end.lan
        for name in each.about
    }
    return Switch(
        site=site.name,
        machine=switch_machine(snapshot, site),
        asn=next((each.asn for each in snapshot.of(Exchange)), 0),
        vtep=vtep,
        reflectors=tuple(ends[name] for name in reflecting if name != site.name),
        clients=tuple(sorted(end for name, end in ends.items() if name not in reflecting)) if site.name in reflecting else (),
        links=links,
        routes_v6=bool(pinned),
        passed=bool(led_over),
        pinned_end=any(end.pin for end in lans),
        lans=lans,
        attachments=here,
        prefixes_v4=_v4(snapshot.of(Lan)),
        prefixes_v6=_v6(snapshot.of(Lan)),
        about=underlay_about
        | {end.of for end in lans}
        | {each.id for each in led_over}
        | {lan.id for lan in snapshot.of(Lan)}
        | frozenset().union(*(each.about for each in here))
        | elsewhere,
        underlay_about=underlay_about,
    )


def _lan_end(snapshot: Snapshot, site: Site, lan: Lan, plugged: Mapping[str, tuple[Attachment, ...]], answered: Answered | None) -> LanEnd:
    """A LAN at a site. The quarantine LAN reaches other sites only where a tester is at one end."""
    on_lan = {name: [each for each in group if each.lan == lan.name] for name, group in plugged.items()}
    quarantine = lan.purpose is LanPurpose.QUARANTINE
    tested_here = any(each.tester for each in on_lan[site.name])
    far: dict[str, IPv4Address] = {}
    flood: list[IPv4Address] = []
    for name, group in on_lan.items():
        vtep = _end(snapshot.at(Ref.to(Site, name)))
        reached = group if not quarantine or tested_here else [each for each in group if each.tester]
        if name == site.name or vtep is None or not reached:
            continue
        flood.append(vtep)
        for each in reached:
            far |= dict.fromkeys(each.macs, vtep)
    local = {mac for each in on_lan[site.name] for mac in each.macs}
    return LanEnd(
        of=lan.id,
        lan=lan.name,
        bridge=lan_bridge(lan),
        vxlan=lan_vxlan(lan),
        vni=lan.vni or 0,
        mtu=lan.mtu,
        pin=None,
        flood=tuple(sorted(flood)),
        far=tuple(sorted((mac, vtep) for mac, vtep in far.items() if mac not in local)),
        tunnel_isolated=quarantine and tested_here,
        private=False,
        learns=False,
        mac=None if quarantine else mac_of(f"{site.id}/{lan.id}"),
        neighbours=answered,
    )


def _for_whom(on_lan: Iterable[Attachment]) -> Answered:
    """The neighbours of all who are on a LAN. An address that two claim, which the rules refuse, is answered for neither."""
    claims: dict[IPv4Address | IPv6Address, set[str]] = defaultdict(set)
    for each in on_lan:
        for address, mac in each.neighbours:
            claims[address].add(mac)
    certain = [(address, mac) for address, macs in claims.items() if len(macs) == 1 for mac in macs]
    return tuple(sorted(certain, key=lambda each: (each[0].version, int(each[0]))))


def _known(snapshot: Snapshot, circuit: Circuit) -> bool:
    """Whether it has a VNI, and whether the sites that it must pass can be addressed: never is one of them left out."""
    return circuit.vni is not None and all(_end(snapshot.at(each)) for each in circuit.via)


def _ends_at(snapshot: Snapshot, circuit: Circuit, site: Site) -> bool:
    return any(snapshot.at(end).site == site.name for end in circuit.ends)


def _circuit_end(snapshot: Snapshot, site: Site, circuit: Circuit, vtep: IPv4Address) -> LanEnd:
    """A circuit at one of its sites. Between two ends it is a wire: whatever comes in here goes out there, and nothing is looked up."""
    sites = {snapshot.at(snapshot.at(end).site) for end in circuit.ends}
    far = sorted(end for each in sites if each.name != site.name and (end := _end(each)))
    pin = _pin(snapshot, site, circuit, vtep, far[0]) if circuit.via and far else None
    return LanEnd(
        of=circuit.id,
        lan=circuit.name,
        bridge=circuit_bridge(circuit),
        vxlan=circuit_vxlan(circuit) if far else None,
        vni=circuit.vni or 0,
        mtu=circuit.mtu,
        pin=pin,
        flood=tuple(srv6.circuit_end(end, circuit.vni or 0) for end in far) if pin else tuple(far),
        far=(),
        tunnel_isolated=False,
        private=True,
        learns=len(circuit.ends) > 2,
    )


def _pin(snapshot: Snapshot, site: Site, circuit: Circuit, vtep: IPv4Address, far: IPv4Address) -> Pin:
    """The way of a pinned wire from `site` to its far end: back, it passes the same sites in the opposite order."""
    onwards = snapshot.at(circuit.ends[0]).site == site.name
    passed = [end for each in circuit.via if (end := _end(snapshot.at(each)))]
    segments = (*map(srv6.end, passed if onwards else reversed(passed)), srv6.end_dt6(far))
    return Pin(local=srv6.circuit_end(vtep, circuit.vni or 0), segments=segments)


def _v4(lans: Iterable[Lan]) -> tuple[IPv4Network, ...]:
    return tuple(sorted({lan.v4 for lan in lans if lan.v4}))


def _v6(lans: Iterable[Lan]) -> tuple[IPv6Network, ...]:
    return tuple(sorted({lan.v6 for lan in lans if lan.v6}))
