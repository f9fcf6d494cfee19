"""Admission to the naming plane: what a zone, a gate, a node and a resolver must be before a daemon hears of them."""

from __future__ import annotations

from collections.abc import Iterator

from nnix.kernel.rule import Broken, rule
from nnix.kernel.snapshot import Snapshot
from nnix.planes.members.kinds import Site
from nnix.planes.naming.compile import machine_of, nodes_of, site_of, stations
from nnix.planes.naming.kinds import Anycast, NameGate, NameNode, Resolver, TransferKey, Zone
from nnix.planes.routing.kinds import RouteServer

Station = NameGate | NameNode | Resolver


@rule("naming.zone-once", source="RFC 1034, 4.2")
def zone_once(zone: Zone, snapshot: Snapshot) -> Iterator[Broken]:
    """A zone is hosted once: two sources of one name would take turns at being the truth."""
    others = [each.id for each in snapshot.of(Zone) if each.id != zone.id and each.origin.lower() == zone.origin.lower()]
    if others:
        yield Broken("origin", zone.origin, f"a name that no other Zone has; {others[0]} has this one")


@rule("naming.gate-verifies", source="RFC 8976, 1.1")
def gate_verifies(zone: Zone, snapshot: Snapshot) -> Iterator[Broken]:
    """A zone that is hosted is verified by its signatures, its digest, or both."""
    if not (zone.dnssec or zone.zonemd):
        yield Broken("zonemd", "false", "true, or dnssec: true", "a gate that verifies nothing lets everything pass")


@rule("naming.primaries-reachable", source="RFC 5936, 2")
def primaries_reachable(zone: Zone, snapshot: Snapshot) -> Iterator[Broken]:
    """The gate has an address of the family of each primary."""
    session = snapshot.at(snapshot.at(zone.gate).session)
    for index, primary in enumerate(zone.primaries):
        if getattr(session, f"v{primary.address.version}") is None:
            yield Broken(f"primaries.{index}.address", primary.address, f"an address of a family that {session.id} has")


@rule("naming.catalog-is-no-zone", source="RFC 9432, 3")
def catalog_is_no_zone(gate: NameGate, snapshot: Snapshot) -> Iterator[Broken]:
    """The catalog's name is nobody's zone."""
    if gate.catalog and any(each.origin.lower() == gate.catalog.lower() for each in snapshot.of(Zone)):
        yield Broken("catalog", gate.catalog, "a name that no Zone has, such as catalog.nnix.")


@rule("naming.catalog-is-there", source="RFC 9432, 5")
def catalog_is_there(node: NameNode, snapshot: Snapshot) -> Iterator[Broken]:
    """A node that takes its list of zones from the gate's catalog needs a gate that has one."""
    if node.catalog and snapshot.at(node.gate).catalog is None:
        yield Broken("catalog", "true", f"a catalog at {node.gate.id}", f"set catalog at {node.gate.id}, or take it out here")


@rule("naming.service-address-inside", source="RFC 4786, 4.2")
def service_address_inside(anycast: Anycast, snapshot: Snapshot) -> Iterator[Broken]:
    """What clients ask lies in the prefix that is announced, and each announced prefix has such an address."""
    for index, address in enumerate(anycast.addresses):
        if not any(address in prefix for prefix in anycast.prefixes if prefix.version == address.version):
            yield Broken(f"addresses.{index}", address, f"an address inside {' or '.join(map(str, anycast.prefixes))}")
    for index, prefix in enumerate(anycast.prefixes):
        if not any(address in prefix for address in anycast.addresses if prefix.version == address.version):
            yield Broken(f"prefixes.{index}", prefix, "a prefix in which one of the addresses lies")


@rule("naming.one-prefix-a-family", source="RFC 4786, 4.2")
def one_prefix_a_family(anycast: Anycast, snapshot: Snapshot) -> Iterator[Broken]:
    """A node is either there or not: at most one prefix for each address family, announced and withdrawn together."""
    if len({each.version for each in anycast.prefixes}) < len(anycast.prefixes):
        yield Broken("prefixes", ", ".join(map(str, anycast.prefixes)), "at most one for IPv4 and one for IPv6", "make it two Anycasts")


@rule("naming.at-enough-sites", source="RFC 2182, 3.1", whole=True)
def at_enough_sites(anycast: Anycast, snapshot: Snapshot) -> Iterator[Broken]:
    """The nodes of a service stand at as many sites as it says."""
    sites = {site_of(each, snapshot).name for each in nodes_of(anycast, snapshot)}
    if len(sites) < anycast.sites_min:
        yield Broken(
            "sites_min",
            f"{anycast.sites_min}, and nodes at {', '.join(sorted(sites)) or 'no site'}",
            f"at most {len(sites)}",
            "add a NameNode elsewhere",
        )


@rule("naming.node-of-its-member", source="RFC 4786, 4.4.5")
def node_of_its_member(node: NameNode, snapshot: Snapshot) -> Iterator[Broken]:
    """The prefix is announced by the AS that holds it, at every site the same."""
    anycast, session = snapshot.at(node.anycast), snapshot.at(node.session)
    if session.member != anycast.member:
        yield Broken("session", node.session, f"a session of member/{anycast.member}, whose prefix {anycast.id} is")


@rule("naming.node-announces", source="RFC 4786, 4.4")
def node_announces(node: NameNode, snapshot: Snapshot) -> Iterator[Broken]:
    """A node speaks with the route servers, in the family of each prefix."""
    session = snapshot.at(node.session)
    if not session.route_servers:
        yield Broken("session", node.session, "a session with route_servers: true")
    for prefix in snapshot.at(node.anycast).prefixes:
        if getattr(session, f"v{prefix.version}") is None:
            yield Broken("session", node.session, f"a session with an address v{prefix.version}, for {prefix}")


@rule("naming.cookies-good-everywhere", source="RFC 9018, 3")
def cookies_good_everywhere(node: NameNode, snapshot: Snapshot) -> Iterator[Broken]:
    """Nodes under one address give cookies that are good at the others: they share the secret."""
    anycast = snapshot.at(node.anycast)
    if node.cookies and anycast.cookie_secret is None and len(nodes_of(anycast, snapshot)) > 1:
        yield Broken("cookies", "true", f"a cookie_secret at {anycast.id}", "name one there, or say cookies: false")


@rule("naming.quic-has-a-certificate", source="RFC 9250, 4.1")
def quic_has_a_certificate(node: NameNode, snapshot: Snapshot) -> Iterator[Broken]:
    """DNS over QUIC is encrypted, so that the node needs a certificate."""
    if node.quic and node.dot_certificate is None:
        yield Broken("quic", "true", "a dot_certificate beside it")


@rule("naming.gate-family", source="RFC 5936, 2")
def gate_family(node: NameNode, snapshot: Snapshot) -> Iterator[Broken]:
    """A node and its gate have an address family in common on one LAN."""
    here, there = snapshot.at(node.session), snapshot.at(snapshot.at(node.gate).session)
    if here.lan != there.lan or not any(getattr(here, f) and getattr(there, f) for f in ("v4", "v6")):
        yield Broken("gate", node.gate, f"a gate with a session on {here.lan.id}, and an address of the same family")


@rule("naming.local-root", source="RFC 8806, 2")
def local_root(resolver: Resolver, snapshot: Snapshot) -> Iterator[Broken]:
    """What a resolver keeps as its root is the root, with a digest, and anchors that prove whose it is."""
    zone = snapshot.at(resolver.root)
    if zone.origin != ".":
        yield Broken("root", resolver.root, "a Zone whose origin is the root, .")
    if not zone.zonemd:
        yield Broken("root", resolver.root, "a Zone with zonemd: true")
    if not zone.anchors:
        yield Broken("root", resolver.root, "a Zone with anchors", f"write the DS of its key signing keys into {zone.id}")


@rule("naming.key-name-once", source="RFC 8945, 5.2")
def key_name_once(key: TransferKey, snapshot: Snapshot) -> Iterator[Broken]:
    """A key's name says which key it is, at the gate and everywhere."""
    others = [each.id for each in snapshot.of(TransferKey) if each.id != key.id and each.key_name.lower() == key.key_name.lower()]
    if others:
        yield Broken("key_name", key.key_name, f"a name that no other TransferKey has; {others[0]} has this one")


def _alone(station: Station, snapshot: Snapshot) -> Iterator[Broken]:
    everyone = stations(snapshot)
    for other in everyone:
        if other.id != station.id and other.session == station.session:
            yield Broken("session", station.session, f"a session of its own; {other.id} stands there")
        elif other.id != station.id and machine_of(other) == machine_of(station):
            yield Broken("machine", machine_of(station), f"a machine of its own; {other.id} runs there")
    if snapshot.get(Site, machine_of(station)) or any(
        str(each.machine or each.name) == machine_of(station) for each in snapshot.of(RouteServer)
    ):
        yield Broken("machine", machine_of(station), "a machine that is no Site's and no RouteServer's")


@rule("naming.gate-stands-alone", source="RFC 7720, 3")
def gate_stands_alone(gate: NameGate, snapshot: Snapshot) -> Iterator[Broken]:
    """A gate has a machine and a session to itself."""
    yield from _alone(gate, snapshot)


@rule("naming.node-stands-alone", source="RFC 7720, 3")
def node_stands_alone(node: NameNode, snapshot: Snapshot) -> Iterator[Broken]:
    """A node has a machine and a session to itself."""
    yield from _alone(node, snapshot)


@rule("naming.resolver-stands-alone", source="RFC 7720, 3")
def resolver_stands_alone(resolver: Resolver, snapshot: Snapshot) -> Iterator[Broken]:
    """A resolver has a machine and a session to itself: recursion and authority are kept apart."""
    yield from _alone(resolver, snapshot)


RULES = (
    zone_once,
    gate_verifies,
    primaries_reachable,
    catalog_is_no_zone,
    catalog_is_there,
    service_address_inside,
    one_prefix_a_family,
    at_enough_sites,
    node_of_its_member,
    node_announces,
    cookies_good_everywhere,
    quic_has_a_certificate,
    gate_family,
    local_root,
    key_name_once,
    gate_stands_alone,
    node_stands_alone,
    resolver_stands_alone,
)
