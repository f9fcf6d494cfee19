"""Who serves which names from whom: decided here in values, spelled by knot.py, nsd.py, unbound.py and bird.py.

    registry's hidden primary ──TSIG──▶ gate ──TSIG──▶ nodes, the public ones, each at a site under one anycast address
                                          └──────────▶ resolvers, which verify the root zone once more

The gate is the only one that speaks with a registry. What does not verify there goes no further, and what was good before is still served.
Nodes are interchangeable: same zones, same addresses, same cookies; their names (NSID, RFC 5001) tell them apart.

The anycast prefix is announced by a BIRD beside the name server. BIRD announces what stands in a routing table of its own (`HEALTH_TABLE`),
and only the herald (serve.py) writes there. So a node is announced because it is healthy, not because it is configured; and neither a
restart nor a new configuration of BIRD changes what is announced.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from nnix.daemons.iproute import facts as iproute
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact
from nnix.planes.members.kinds import Exchange, Site
from nnix.planes.naming import bird, knot, nsd, unbound
from nnix.planes.naming.kinds import ZONE_OCTETS_MAX, Address, Anycast, NameGate, NameNode, Resolver, ServerMake, TransferKey, Zone
from nnix.planes.routing.kinds import RouteServer, Session

Station = NameGate | NameNode | Resolver

HEALTH_TABLE = 8482  # a routing table that forwards nothing; RFC 8482 has nothing to do with it
GUARD_PORT = 8400  # of the gate's own loopback, and those behind it
SOCKET = "tap"  # in the folder of a counter, for dnstap
COUNTER_CPU_SHARE = 0.25  # of one CPU, for looking into what is told
COUNTER_DAYS_KEPT = 35
OWN_COUNTS = {
    "nsd": ("nsd-control -c nsd.conf stats_noreset", "num.queries="),
    "knot": ("knotc -s knot.sock stats mod-stats.request-protocol", "mod-stats.request-protocol["),
    "unbound": ("unbound-control -c unbound.conf stats_noreset", "total.num.queries="),
}
"""how each daemon says how many questions it was asked, and what those lines begin with"""
CHECK_SECONDS = 1.0
ILL_CHECKS = 3  # so many in a row before a node is ill: one lost packet is no illness
TURN_SECONDS = 3.0  # between one node's turn to leave and the next one's, so that they do not all leave at once
WELL_SECONDS = 5.0  # so long healthy before it comes back


def stations(snapshot: Snapshot) -> tuple[Station, ...]:
    """All machines of this plane."""
    return (*snapshot.of(NameGate), *snapshot.of(NameNode), *snapshot.of(Resolver))


def machine_of(station: Station) -> str:
    return str(station.machine or station.name)


def site_of(station: Station, snapshot: Snapshot) -> Site:
    return snapshot.at(snapshot.at(snapshot.at(station.session).port).site)


def nodes_of(anycast: Anycast, snapshot: Snapshot) -> tuple[NameNode, ...]:
    return snapshot.where(NameNode, anycast=anycast.name)


def addresses_of(station: Station, snapshot: Snapshot) -> tuple[Address, ...]:
    """Its addresses on the LAN."""
    session = snapshot.at(station.session)
    return tuple(each for each in (session.v4, session.v6) if each is not None)


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key as daemons spell it; the secret is a token that the driver fills in."""

    name: str
    algorithm: str
    secret: str


@dataclass(frozen=True, slots=True)
class Server:
    """Another name server: where it is asked, and with which key; None: without one."""

    name: str
    addresses: tuple[tuple[Address, int], ...]
    key: Key | None


@dataclass(frozen=True, slots=True)
class GateZone:
    """A zone as the gate keeps it. `guarded`: at which ports of the guard its primaries are found, where it has anchors."""

    origin: str
    primaries: tuple[Server, ...]
    dnssec: bool
    zonemd: bool
    resolvers: tuple[Server, ...]
    guarded: tuple[int, ...] = ()
    octets_max: int = ZONE_OCTETS_MAX


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """All that a gate does."""

    name: str
    listen: tuple[Address, ...]
    zones: tuple[GateZone, ...]
    nodes: tuple[Server, ...]
    key: Key
    catalog: str | None
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """All that a public server does. `listen` is what it is asked at, on the LAN and as the service; `outgoing` from where it fetches."""

    name: str
    listen: tuple[Address, ...]
    service: tuple[Address, ...]
    outgoing: tuple[Address, ...]
    gate: Server
    zones: tuple[str, ...]
    catalog: str | None
    responses_per_second: int
    cookies: bool
    cookie_secret: str | None
    certificate: str | None
    names: tuple[str, ...]
    tap: str | None = None
    quic: bool = False


@dataclass(frozen=True, slots=True)
class ResolverPolicy:
    """All that a resolver does."""

    name: str
    listen: tuple[Address, ...]
    clients: tuple[str, ...]
    gate: Server
    anchors: tuple[str, ...]
    serve_stale_seconds: int
    certificate: str | None
    names: tuple[str, ...]
    tap: str | None = None
    follow_anchors: bool = False


@dataclass(frozen=True, slots=True)
class SpeakerPolicy:
    """The BIRD beside a name server: it learns the ways to members, and announces `prefixes` when the health table holds them."""

    name: str
    session: str
    asn: int
    router_id: str
    prefixes: tuple[str, ...]
    peers: tuple[tuple[str, Address, Address, int], ...]


def compile(snapshot: Snapshot, evidence: Evidence) -> Iterable[Artifact]:
    """For each machine: its addresses, its name server, its BIRD, and where it announces something its herald. Pure."""
    for gate in snapshot.of(NameGate):
        content = knot.spell_gate(gate_policy(gate, snapshot)).encode()
        zones = snapshot.where(Zone, gate=gate.name)
        nodes = snapshot.where(NameNode, gate=gate.name)
        about = {gate.id, gate.session.id, gate.key.id, *(each.id for each in (*zones, *nodes)), *(each.key.id for each in zones)}
        yield Artifact(machine_of(gate), "knot", gate.name, content, frozenset(about))
        yield from _guard(gate, snapshot)
        yield _speaker(gate, snapshot)
    for node in snapshot.of(NameNode):
        anycast = snapshot.at(node.anycast)
        about = {node.id, anycast.id, node.session.id, node.gate.id, *(each.id for each in snapshot.where(Zone, gate=node.gate))}
        yield Artifact(machine_of(node), "iproute", "anycast", _service_addresses(anycast), frozenset({node.id, anycast.id}))
        policy = node_policy(node, snapshot)
        spell = {ServerMake.NSD: nsd.spell, ServerMake.KNOT: knot.spell_node}[node.daemon]
        yield Artifact(machine_of(node), node.daemon.value, node.name, spell(policy).encode(), frozenset(about))
        yield _speaker(node, snapshot)
        yield Artifact(machine_of(node), "herald", node.name, _herald(node, snapshot), frozenset(about))
        yield from _counter(node, snapshot)
    for resolver in snapshot.of(Resolver):
        about = {resolver.id, resolver.session.id, resolver.root.id}
        content = unbound.spell(resolver_policy(resolver, snapshot)).encode()
        yield Artifact(machine_of(resolver), "unbound", resolver.name, content, frozenset(about))
        yield from _counter(resolver, snapshot)
        yield _speaker(resolver, snapshot)


def gate_policy(gate: NameGate, snapshot: Snapshot) -> GatePolicy:
    key = key_of(snapshot.at(gate.key))
    zones = snapshot.where(Zone, gate=gate.name)
    family = {each.version for each in addresses_of(gate, snapshot)}

    def heard(station: Station, with_key: Key | None) -> Server:
        return Server(station.name, tuple((each, 53) for each in addresses_of(station, snapshot) if each.version in family), with_key)

    ports = _guarded(gate, snapshot)
    return GatePolicy(
        name=gate.name,
        listen=addresses_of(gate, snapshot),
        zones=tuple(
            GateZone(
                origin=zone.origin,
                primaries=tuple(
                    Server(f"{zone.name}-{index}", ((each.address, each.port),), key_of(snapshot.at(zone.key)))
                    for index, each in enumerate(zone.primaries)
                ),
                dnssec=zone.dnssec,
                zonemd=zone.zonemd,
                octets_max=zone.octets_max,
                resolvers=tuple(heard(each, None) for each in snapshot.where(Resolver, root=zone.name)),
                guarded=ports.get(zone.name, ()),
            )
            for zone in zones
        ),
        nodes=tuple(heard(each, key) for each in snapshot.where(NameNode, gate=gate.name)),
        key=key,
        catalog=gate.catalog,
        names=(gate.id,),  # nobody asks a gate, so its restart disturbs nobody
    )


def _guarded(gate: NameGate, snapshot: Snapshot) -> dict[str, tuple[int, ...]]:
    """zone → the guard's port for each of its primaries; of zones with anchors. Zones share ports (guard.py), so none depends on which others there are."""
    return {
        zone.name: tuple(range(GUARD_PORT, GUARD_PORT + len(zone.primaries)))
        for zone in snapshot.where(Zone, gate=gate.name)
        if zone.anchors
    }


def _guard(gate: NameGate, snapshot: Snapshot) -> Iterator[Artifact]:
    own = {each.version: str(each) for each in addresses_of(gate, snapshot)}
    guarded = _guarded(gate, snapshot)
    ways = [
        {
            "origin": zone.origin,
            "port": port,
            "primary": [str(primary.address), primary.port],
            "source": own[primary.address.version],
            "anchors": list(zone.anchors),
        }
        for zone in snapshot.where(Zone, gate=gate.name)
        for port, primary in zip(guarded.get(zone.name, ()), zone.primaries, strict=False)
    ]
    if ways:
        settings = {"ways": ways, "own": str(addresses_of(gate, snapshot)[0]), "knot": f"@HOME@/../../knot/{gate.name}/knot.sock"}
        about = frozenset({gate.id, *(each.id for each in snapshot.where(Zone, gate=gate.name))})
        yield Artifact(machine_of(gate), "guard", gate.name, json.dumps(settings, sort_keys=True, indent=1).encode(), about)


def node_policy(node: NameNode, snapshot: Snapshot) -> NodePolicy:
    anycast, own = snapshot.at(node.anycast), addresses_of(node, snapshot)
    zones = snapshot.where(Zone, gate=node.gate)
    return NodePolicy(
        name=node.name,
        listen=own,
        service=anycast.addresses,
        outgoing=own,
        gate=_gate_server(snapshot.at(node.gate), snapshot, own, key_of(snapshot.at(snapshot.at(node.gate).key))),
        zones=() if node.catalog else tuple(each.origin for each in zones),
        catalog=snapshot.at(node.gate).catalog if node.catalog else None,
        responses_per_second=node.responses_per_second,
        cookies=node.cookies,
        cookie_secret=token(anycast.cookie_secret) if node.cookies and anycast.cookie_secret else None,
        certificate=file_token(node.dot_certificate) if node.dot_certificate else None,
        names=(node.id, *(each.id for each in zones)),
        tap=_tap(node),
        quic=node.quic,
    )


def resolver_policy(resolver: Resolver, snapshot: Snapshot) -> ResolverPolicy:
    own = addresses_of(resolver, snapshot)
    zone = snapshot.at(resolver.root)
    lan = snapshot.at(snapshot.at(resolver.session).lan)
    local = [str(each) for each in (lan.v4, lan.v6) if each is not None]
    return ResolverPolicy(
        name=resolver.name,
        listen=own,
        clients=(*local, *map(str, resolver.clients)),
        gate=_gate_server(snapshot.at(zone.gate), snapshot, own, None),
        anchors=zone.anchors,
        serve_stale_seconds=int(resolver.serve_stale.seconds),
        certificate=file_token(resolver.dot_certificate) if resolver.dot_certificate else None,
        names=(resolver.id,),
        tap=_tap(resolver),
        follow_anchors=resolver.follow_anchors,
    )


def _tap(server: NameNode | Resolver) -> str | None:
    """Where its counter listens, from the daemon's own folder."""
    return f"../../counter/{server.name}/{SOCKET}" if server.statistics else None


def _counter(server: NameNode | Resolver, snapshot: Snapshot) -> Iterator[Artifact]:
    if not server.statistics:
        return
    daemon = server.daemon.value if isinstance(server, NameNode) else "unbound"
    argv, begins = OWN_COUNTS[daemon]
    lan = snapshot.at(server.session).lan
    sessions = [each for each in snapshot.where(Session, lan=lan) if each.name != server.session]
    own = addresses_of(server, snapshot)  # our own looks, and the gate's NOTIFYs, are nobody's questions
    if isinstance(server, NameNode):
        own = (*own, *snapshot.at(server.anycast).addresses, *addresses_of(snapshot.at(server.gate), snapshot))
    settings = {
        "neighbours": {str(address): str(each.member) for each in sessions for address in (each.v4, each.v6) if address is not None},
        "own": [str(each) for each in own],
        "herald": f"@HOME@/../../herald/{server.name}/state" if isinstance(server, NameNode) else None,
        "audit": {"argv": argv.split(), "begins": begins, "folder": f"@HOME@/../../{daemon}/{server.name}"},
        "cpu_share": COUNTER_CPU_SHARE,
        "days_kept": COUNTER_DAYS_KEPT,
    }
    about = frozenset({server.id, server.session.id, *(each.id for each in sessions)})
    yield Artifact(machine_of(server), "counter", server.name, json.dumps(settings, sort_keys=True, indent=1).encode(), about)


def _gate_server(gate: NameGate, snapshot: Snapshot, own: tuple[Address, ...], key: Key | None) -> Server:
    family = {each.version for each in own}
    return Server(gate.name, tuple((each, 53) for each in addresses_of(gate, snapshot) if each.version in family), key)


def key_of(key: TransferKey) -> Key:
    return Key(key.key_name, key.algorithm.value, token(key.secret))


def token(reference: str) -> str:
    """`secret:tsig-cn` → what a driver fills in (daemons/secrets.py)."""
    return f"@SECRET:{reference.removeprefix('secret:')}@"


def file_token(reference: str) -> str:
    return f"@SECRETFILE:{reference.removeprefix('secret:')}@"


def _service_addresses(anycast: Anycast) -> bytes:
    wanted: list[iproute.Fact] = [iproute.Wire(link="lo")]
    for each in anycast.addresses:
        interface = IPv4Interface(f"{each}/32") if each.version == 4 else IPv6Interface(f"{each}/128")
        wanted.append(iproute.Addr(addr=interface, dev="lo"))
    return iproute.encode(wanted)


def _speaker(station: Station, snapshot: Snapshot) -> Artifact:
    session, exchange = snapshot.at(station.session), snapshot.of(Exchange)[0]
    servers = snapshot.where(RouteServer, lan=session.lan) if session.route_servers else ()
    peers = tuple(_peers(session, servers, exchange.asn))
    policy = SpeakerPolicy(
        name=station.name,
        session=session.id,
        asn=snapshot.at(session.member).asn,
        router_id=str(session.v4 or f"10.{snapshot.at(session.member).asn % 256}.0.1"),
        prefixes=tuple(map(str, snapshot.at(station.anycast).prefixes)) if isinstance(station, NameNode) else (),
        peers=peers,
    )
    about = {station.id, session.id, session.member.id, exchange.id, *(each.id for each in servers)}
    return Artifact(machine_of(station), "bird", station.name, bird.spell(policy, HEALTH_TABLE).encode(), frozenset(about))


def _peers(session: Session, servers: Iterable[RouteServer], asn: int) -> Iterator[tuple[str, Address, Address, int]]:
    for server in servers:
        for family in ("v4", "v6"):
            ours, theirs = getattr(session, family), getattr(server, family)
            if ours is not None and theirs is not None:
                yield f"{server.name.replace('-', '_')}_{family}", ours, theirs, server.asn or asn


def _herald(node: NameNode, snapshot: Snapshot) -> bytes:
    anycast = snapshot.at(node.anycast)
    own = addresses_of(node, snapshot)
    gate = _gate_server(snapshot.at(node.gate), snapshot, own, None)
    settings = {
        "prefixes": [str(each) for each in anycast.prefixes],
        "table": HEALTH_TABLE,
        "bird": f"@HOME@/../../bird/{node.name}/bird.ctl",
        "own": [str(each) for each in anycast.addresses],
        "gate": [str(address) for address, _ in gate.addresses],
        "check_seconds": CHECK_SECONDS,
        "ill_checks": ILL_CHECKS,
        "well_seconds": WELL_SECONDS,
        "turn_seconds": TURN_SECONDS * [each.name for each in nodes_of(anycast, snapshot)].index(node.name),
        "zones": [
            {
                "origin": each.origin,
                "lag_seconds_max": each.lag_max.seconds,
                "life_seconds_min": each.life_min.seconds,
                "anchors": list(each.anchors),
                "algorithms": list(each.algorithms),
            }
            for each in snapshot.where(Zone, gate=node.gate)
        ],
    }
    return json.dumps(settings, sort_keys=True, indent=1).encode()
