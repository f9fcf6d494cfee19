"""What lies around an exchange in the lab: cables, members' routers, addresses of route servers and RTR caches, SSH servers.

A router is a machine of the session's name, with one interface, `eth0`, plugged into the member's port. It peers with the
route servers of its LAN, announces what its Router resource says, and takes whatever comes. `routers.py` spells its
configuration for each make of daemon.

Machines whose name begins with @ are the lab's own hands: @lab is this computer, @NAME the namespace of machine NAME
entered directly, because the machine itself is reached over the SSH server that is started there.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Container, Iterable, Iterator, Sequence

from nnix.daemons.iproute import facts as iproute
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact
from nnix.lab import latency, registry, wires
from nnix.lab.kinds import Registry, Router, Speaker
from nnix.lab.routers import spell
from nnix.planes.compute.compile import machine_of as pool_machine
from nnix.planes.compute.derive import buyers_end, circuit_of
from nnix.planes.compute.kinds import Bid, Pool
from nnix.planes.fabric import names as interfaces
from nnix.planes.fabric.iproute import shaper
from nnix.planes.fabric.kinds import Circuit, Link, Port
from nnix.planes.members.kinds import Exchange, Machine, Reach, Site
from nnix.planes.naming.compile import Station, machine_of, stations
from nnix.planes.naming.kinds import Zone
from nnix.planes.routing.kinds import RouteServer, Session
from nnix.planes.trust.kinds import RtrCache

GROUND = "@lab"
ETHERNET = "eth0"
UPLINK = "uplink"
OPERATOR_KEY = "operator:ssh.pub"
SLOW_TO_RETRY = (Speaker.OPENBGPD, Speaker.GOBGP)
"""daemons that wait half a minute or more after a first call that nobody answered; they are started when the fabric is there"""
QUIET = (
    "net.ipv6.conf.all.accept_dad",
    "net.ipv6.conf.default.accept_dad",
    "net.ipv6.conf.all.accept_ra",
    "net.ipv6.conf.default.accept_ra",
)
STATION: tuple[iproute.Fact, ...] = (
    *(iproute.Sysctl(sysctl=name, value="0") for name in QUIET),
    iproute.Wire(link=ETHERNET, mtu=1500, learning=True, flood=True),
    iproute.Wire(link="lo"),
)


def derive(snapshot: Snapshot) -> Iterator[Router]:
    """A BIRD router for every session that has none: it announces one prefix of the lab's own for each address family.

    Where a gate, a node or a resolver stands behind a session, that is the machine at its far end.
    """
    if not is_lab(snapshot):
        return
    given = snapshot.index(Router, "session").keys() | {each.session for each in stations(snapshot)}
    for session in snapshot.of(Session):
        if session.name not in given:
            asn = snapshot.at(session.member).asn
            prefixes = [_lab_v4(asn)] if session.v4 else []
            prefixes += [_lab_v6(asn)] if session.v6 else []
            yield Router.model_validate(
                {"name": session.name, "session": session.name, "announces": [{"prefix": p} for p in prefixes], "owner": session.id}
            )


def _lab_v4(asn: int) -> str:
    return str(ipaddress.ip_network((0xC6120000 + (asn % 512) * 256, 24)))  # 198.18.0.0/15, RFC 2544


def _lab_v6(asn: int) -> str:
    return str(ipaddress.ip_network((0x3FFF << 112 | (asn % 2**28) << 80, 48)))  # 3fff::/20, RFC 9637


def is_lab(snapshot: Snapshot) -> bool:
    return any(each.lab for each in snapshot.of(Exchange))


def compile(snapshot: Snapshot, evidence: Evidence) -> Iterable[Artifact]:
    """Everything around the exchange, when it is a lab; nothing otherwise."""
    if not is_lab(snapshot):
        return
    yield _wires(snapshot)
    yield from _shapers(snapshot)
    yield from _member_switches(snapshot)
    yield from _customers(snapshot)
    yield from _shelves(snapshot)
    yield from _gateways(snapshot)
    for machine in snapshot.of(Machine):
        if machine.reach is Reach.SSH and machine.address is None:
            yield from _ssh_server(machine, evidence)
    for server in snapshot.of(RouteServer):
        facts = _station(server.v4, server.v6, snapshot.at(server.lan).v4, snapshot.at(server.lan).v6)
        yield Artifact(server_machine(server), "iproute", "lan", iproute.encode(facts), frozenset({server.id}))
    for cache in snapshot.of(RtrCache):
        facts = _station(cache.v4, cache.v6, snapshot.at(cache.lan).v4, snapshot.at(cache.lan).v6)
        yield Artifact(cache.runs_on, "iproute", "lan", iproute.encode(facts), frozenset({cache.id}))
    for router in sorted(snapshot.of(Router), key=lambda each: (each.daemon in SLOW_TO_RETRY, each.name)):
        session = snapshot.at(router.session)
        lan = snapshot.at(session.lan)
        about = frozenset({router.id, session.id, session.member.id})
        yield Artifact(router.name, "iproute", "lan", iproute.encode(_station(session.v4, session.v6, lan.v4, lan.v6)), about)
        servers = [each for each in snapshot.where(RouteServer, lan=session.lan) if session.route_servers]
        caches = [snapshot.at(each) for each in router.caches]
        driver, content = spell(router, session, snapshot.at(session.member), servers, caches, snapshot.of(Exchange)[0].asn)
        yield Artifact(router.name, driver, "router", content, about)
    for primary in snapshot.of(Registry):
        beside = snapshot.index(Router, "session").get(primary.session, ())
        zones = [each.id for each in snapshot.of(Zone) if each.origin in {zone.origin for zone in primary.zones}]
        about = frozenset({primary.id, primary.session.id, primary.key.id, *zones})
        for router in beside:
            yield Artifact(router.name, "knot", primary.name, registry.spell(primary, snapshot).encode(), about)
    for station in stations(snapshot):
        session = snapshot.at(station.session)
        lan = snapshot.at(session.lan)
        facts = _station(session.v4, session.v6, lan.v4, lan.v6)
        yield Artifact(machine_of(station), "iproute", "lan", iproute.encode(facts), frozenset({station.id, session.id}))


def server_machine(server: RouteServer) -> str:
    return str(server.machine or server.name)


def needed(snapshot: Snapshot) -> Iterator[str]:
    """The operator's public key, where a machine of the lab is reached over SSH."""
    if is_lab(snapshot) and any(each.reach is Reach.SSH and each.address is None for each in snapshot.of(Machine)):
        yield OPERATOR_KEY


def _ssh_server(machine: Machine, evidence: Evidence) -> Iterator[Artifact]:
    """What a machine has before anybody drives it: a loopback interface, and an SSH server that knows the operator's key."""
    hand, about = f"@{machine.name}", frozenset({machine.id})
    keys = [evidence[OPERATOR_KEY].content.decode().strip()] if OPERATOR_KEY in evidence else []
    access = {"address": "127.0.0.1", "port": machine.port, "authorized_keys": keys}
    yield Artifact(hand, "iproute", "loopback", iproute.encode([iproute.Wire(link="lo")]), about)
    yield Artifact(hand, "sshd", machine.name, json.dumps(access).encode(), about)


def _wires(snapshot: Snapshot) -> Artifact:
    cables = []
    machines = {interfaces.switch_machine(snapshot, site) for site in snapshot.of(Site)}
    for link in snapshot.of(Link):
        ends = (snapshot.at(link.a), snapshot.at(link.b))
        cables.append(
            wires.Cable(*(wires.End(interfaces.switch_machine(snapshot, s), interfaces.link_interface(link, s.name)) for s in ends))
        )
    for server in snapshot.of(RouteServer):
        switch = interfaces.switch_machine(snapshot, snapshot.at(server.site))
        machines.add(server_machine(server))
        cables.append(
            wires.Cable(
                wires.End(switch, interfaces.route_server_interface(server)), wires.End(server_machine(server), ETHERNET, server.mac)
            )
        )
    for cache in snapshot.of(RtrCache):
        switch = interfaces.switch_machine(snapshot, snapshot.at(cache.site))
        machines.add(cache.runs_on)
        cables.append(wires.Cable(wires.End(switch, interfaces.cache_interface(cache)), wires.End(cache.runs_on, ETHERNET, cache.mac)))
    plugged = _behind(snapshot)
    for port, routers in plugged.items():
        switch = interfaces.switch_machine(snapshot, snapshot.at(port.site))
        far = [wires.End(_machine(router), ETHERNET, _mac(router, snapshot)) for router in routers]
        machines.update(map(_machine, routers))
        near = wires.End(switch, interfaces.port_interface(port))
        if len(far) > 1:  # several routers behind one port: the member has a switch of his own
            hub = member_switch(port)
            machines.add(hub)
            cables += [wires.Cable(wires.End(hub, f"r{index}"), end) for index, end in enumerate(far)]
            far = [wires.End(hub, UPLINK)]
        cables.append(wires.Cable(near, far[0]))
    machines.update(map(pool_machine, snapshot.of(Pool)))
    private = {str(end) for circuit in snapshot.of(Circuit) for end in circuit.ends}
    for port in snapshot.of(Port):
        if port in plugged:
            continue
        if port.over is not None:
            if port.name in private and (number := port.vni or port.vlan) is not None:
                machines.add(customer(port.name))
                near = wires.End(gateway(str(port.over)), gateway_interface(number))
                cables.append(wires.Cable(near, wires.End(customer(port.name), ETHERNET, customer_mac(port.name))))
        elif port.gateway is not None or port.tagged:
            near = wires.End(interfaces.switch_machine(snapshot, snapshot.at(port.site)), interfaces.port_interface(port))
            machines.add(gateway(port.name))
            cables.append(wires.Cable(near, wires.End(gateway(port.name), ETHERNET)))
    for port in _of_customers(snapshot, plugged):
        near = wires.End(interfaces.switch_machine(snapshot, snapshot.at(port.site)), interfaces.port_interface(port))
        machine = end_machine(port.name, snapshot)
        machines.add(machine)
        cables.append(wires.Cable(near, wires.End(machine, ETHERNET, customer_mac(port.name))))
    about = frozenset(
        each.id for kind in (Site, Link, Port, Circuit, RouteServer, RtrCache, Router, Pool) for each in snapshot.of(kind)
    ) | {each.id for each in stations(snapshot)}
    tagged = [port.id for port in snapshot.of(Port) if port.vlan is not None and port.name in private]
    return Artifact(GROUND, "wires", "cables", wires.encode(machines, cables, tagged), about)


def _behind(snapshot: Snapshot) -> dict[Port, list[Router | Station]]:
    """port → what is behind it: the routers of its sessions, or our own machines."""
    behind: dict[Port, list[Router | Station]] = {}
    for each in (*snapshot.of(Router), *stations(snapshot)):
        behind.setdefault(snapshot.at(snapshot.at(each.session).port), []).append(each)
    return behind


def _of_customers(snapshot: Snapshot, plugged: Container[Port]) -> Iterator[Port]:
    """Ports with a cable of their own that are neither in `plugged` nor a member's gateway: behind each stands whoever has it, whether he has bought
    anything yet or not, so that an order pulls no cable."""
    for port in snapshot.of(Port):
        if port not in plugged and port.over is None and port.gateway is None and not port.tagged:
            yield port


def _machine(router: Router | Station) -> str:
    return router.name if isinstance(router, Router) else machine_of(router)


def _mac(router: Router | Station, snapshot: Snapshot) -> str | None:
    registered = snapshot.at(router.session).macs
    given = router.mac if isinstance(router, Router) else None
    return given or (registered[0] if registered else None)


def member_switch(port: Port) -> str:
    """The machine that a member's own switch is, where several routers are behind one port."""
    return f"at-{port.name}"


def _member_switches(snapshot: Snapshot) -> Iterator[Artifact]:
    for port, routers in _behind(snapshot).items():
        if len(routers) > 1:
            names = [UPLINK, *(f"r{index}" for index in range(len(routers)))]
            facts: list[iproute.Fact] = [iproute.Bridge(link="br0")]
            facts += [iproute.Wire(link=name, master="br0", learning=True, flood=True) for name in names]
            yield Artifact(member_switch(port), "iproute", "switch", iproute.encode(facts), frozenset({port.id}))


def customer(port: str) -> str:
    """The machine behind a port that has no session."""
    return f"ce-{port}"


def end_machine(port: str, snapshot: Snapshot) -> str:
    """The machine behind a port that has no session: the pool's, where one is plugged in there, or else a customer's."""
    return next(map(pool_machine, snapshot.where(Pool, port=port)), customer(port))


def gateway(port: str) -> str:
    """The machine behind a port that is a member's gateway."""
    return f"gw-{port}"


def gateway_interface(number: int) -> str:
    """The gateway's interface to whoever it serves under a VNI or in a VLAN."""
    return f"v{number}"


def _gateways(snapshot: Snapshot) -> Iterator[Artifact]:
    """A cloud's own gateway: for each VNI that it is handed a bridge, between a tunnel and whoever it serves under that number."""
    private = {str(end) for circuit in snapshot.of(Circuit) for end in circuit.ends}
    for trunk in snapshot.of(Port):
        if trunk.tagged:
            yield _tagged(trunk, [each for each in snapshot.where(Port, over=trunk.name) if each.name in private])
        if trunk.gateway is None:
            continue
        ours, theirs = trunk.gateway.theirs, trunk.gateway.ours  # each is the other's
        facts: list[iproute.Fact] = [iproute.Wire(link=ETHERNET, mtu=wires.MTU_OCTETS), iproute.Wire(link="lo")]
        facts += [
            iproute.Addr(addr=ipaddress.IPv4Interface(ours), dev=ETHERNET),
            iproute.Route(route=ipaddress.IPv4Network(theirs), dev=ETHERNET),
        ]
        over = [each for each in snapshot.where(Port, over=trunk.name) if each.name in private]
        for vni in (each.vni for each in over if each.vni is not None):
            bridge, tunnel = f"b{vni}", f"x{vni}"
            facts += [
                iproute.Bridge(link=bridge),
                iproute.Vxlan(link=tunnel, master=bridge, learning=True, flood=True, vni=vni, local=ours),
                iproute.Fdb(fdb=iproute.FLOOD, dev=tunnel, dst=theirs),
                iproute.Wire(link=gateway_interface(vni), master=bridge, learning=True, flood=True),
            ]
        yield Artifact(gateway(trunk.name), "iproute", "gateway", iproute.encode(facts), frozenset({trunk.id, *(each.id for each in over)}))


def _tagged(trunk: Port, over: Sequence[Port]) -> Artifact:
    """A cloud's own switch at the end of a tagged cable: for each VLAN a bridge, between the cable and whoever it serves there."""
    facts: list[iproute.Fact] = [iproute.Wire(link=ETHERNET, mtu=wires.MTU_OCTETS), iproute.Wire(link="lo")]
    for port in over:
        if port.vlan is not None:
            bridge = f"b{port.vlan}"
            facts += [
                iproute.Bridge(link=bridge),
                iproute.Vlan(link=f"t{port.vlan}", master=bridge, learning=True, flood=True, over=ETHERNET, vlan=port.vlan, of=port.id),
                iproute.Wire(link=gateway_interface(port.vlan), master=bridge, learning=True, flood=True),
            ]
    return Artifact(gateway(trunk.name), "iproute", "gateway", iproute.encode(facts), frozenset({trunk.id, *(each.id for each in over)}))


def customer_mac(port: str) -> str:
    """A locally administered address (IEEE 802, 8.2.2) that stays the same when the machine is made anew."""
    return "02:" + hashlib.sha256(port.encode()).digest()[:5].hex(":")


def circuit_addresses(circuit: Circuit) -> dict[str, tuple[ipaddress.IPv4Interface, ipaddress.IPv6Interface]]:
    """port → the addresses that the lab's customers use on a circuit: 198.19.0.0/16 (RFC 2544) and 3fff:0fff::/32 (RFC 9637).

    They follow from its name: a circuit that comes after another one does not inherit what customers remember of that.
    """
    number = int.from_bytes(hashlib.sha256(circuit.name.encode()).digest()[:4])
    v4, v6 = (0xC613 << 16) + (number % 256 << 8), (0x3FFF0FFF << 96) + (number << 64)
    return {
        str(end): (ipaddress.IPv4Interface((v4 + index, 24)), ipaddress.IPv6Interface((v6 + index, 64)))
        for index, end in enumerate(circuit.ends, 1)
    }


def _customers(snapshot: Snapshot) -> Iterator[Artifact]:
    """Whoever has a port without a session: one machine, whose cable has light, and addresses on the circuit that he has bought."""
    bought: set[str] = set()
    for circuit in snapshot.of(Circuit):
        for port, (v4, v6) in circuit_addresses(circuit).items():
            bought.add(port)
            facts = _station(v4.ip, v6.ip, v4.network, v6.network)
            about = frozenset({circuit.id, f"port/{port}"})
            yield Artifact(end_machine(port, snapshot), "iproute", "lan", iproute.encode(facts), about)
    for each in _of_customers(snapshot, _behind(snapshot)):
        if each.name not in bought:
            yield Artifact(end_machine(each.name, snapshot), "iproute", "lan", iproute.encode(STATION), frozenset({each.id}))


def _shelves(snapshot: Snapshot) -> Iterator[Artifact]:
    """Whoever sold or keeps the data of a deal: a server at the end of its circuit where they come out."""
    for bid in snapshot.of(Bid):
        circuit = snapshot.get(Circuit, circuit_of(bid.name))
        if bid.data is None or bid.port is None or circuit is None:
            continue
        end = next((str(each) for each in circuit.ends if each in (bid.port, buyers_end(bid.name))), None)
        if end is not None:
            settings = {"gigabytes": {bid.data.dataset: bid.data.gigabytes}}
            about = frozenset({bid.id, circuit.id})
            yield Artifact(end_machine(end, snapshot), "shelf", bid.name, json.dumps(settings).encode(), about)


def _shapers(snapshot: Snapshot) -> Iterator[Artifact]:
    """Links are as narrow as declared, each way, by a token bucket; and as long, by a delay at each end of all that it sends."""
    by_machine: dict[str, list[iproute.Fact]] = {}
    delays: dict[str, list[latency.Delay]] = {}
    for link in snapshot.of(Link):
        for site in (snapshot.at(link.a), snapshot.at(link.b)):
            narrow = shaper(interfaces.link_interface(link, site.name), int(link.capacity))
            machine = interfaces.switch_machine(snapshot, site)
            by_machine.setdefault(machine, []).append(narrow)
            if link.latency:
                delays.setdefault(machine, []).append(latency.Delay(shaper=narrow, microseconds=int(link.latency)))
    for machine, facts in by_machine.items():
        yield Artifact(machine, "iproute", "capacity", iproute.encode(facts))
    for machine, group in delays.items():
        yield Artifact(machine, "latency", "links", latency.encode(group))


def _station(
    v4: ipaddress.IPv4Address | None,
    v6: ipaddress.IPv6Address | None,
    lan_v4: ipaddress.IPv4Network | None,
    lan_v6: ipaddress.IPv6Network | None,
) -> list[iproute.Fact]:
    """A machine with one interface on the LAN."""
    facts = [*STATION]
    if v4 and lan_v4:
        facts.append(iproute.Addr(addr=ipaddress.IPv4Interface(f"{v4}/{lan_v4.prefixlen}"), dev=ETHERNET))
    if v6 and lan_v6:
        facts.append(iproute.Addr(addr=ipaddress.IPv6Interface(f"{v6}/{lan_v6.prefixlen}"), dev=ETHERNET))
    return facts
