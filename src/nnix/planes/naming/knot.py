"""Knot DNS, spelled: as the gate, which verifies, and as a public node, which trusts its gate.

The gate keeps its zones in its journal, which holds only what was verified. A transfer is given to a node by
address and key, to a resolver by address alone (Unbound knows no TSIG, and verifies the root zone itself).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnix.planes.naming.compile import GatePolicy, Key, NodePolicy, Server

LOOPBACK = IPv4Address("127.0.0.1")
CATALOG_FILE = "catalog.zone"


def spell_gate(policy: GatePolicy) -> str:
    """knot.conf of a gate."""
    return "\n".join(_gate(policy)) + "\n"


def spell_node(policy: NodePolicy) -> str:
    """knot.conf of a public node."""
    return "\n".join(_node(policy)) + "\n"


def _gate(policy: GatePolicy) -> Iterator[str]:
    needs = ["dnssec-validation"] if any(each.dnssec for each in policy.zones) else []
    needs += ["zonemd"] if any(each.zonemd for each in policy.zones) else []
    yield from _head(policy.name, policy.names, needs)
    if policy.catalog:
        yield f"# beside {CATALOG_FILE}.in"
        yield from (f"#| {line}" for line in _catalog(policy.catalog, [each.origin for each in policy.zones]))
    yield from _server(policy.name, [f"{address}@53" for address in policy.listen])
    primaries = [each for zone in policy.zones for each in zone.primaries]
    resolvers = list({each.name: each for zone in policy.zones for each in zone.resolvers}.values())
    yield from _keys([policy.key, *(each.key for each in primaries if each.key)])
    if primaries or policy.nodes or resolvers:
        yield "remote:"
        for zone in policy.zones:
            for index, each in enumerate(zone.primaries):
                if zone.guarded:
                    yield from _remote(replace(each, addresses=((LOOPBACK, zone.guarded[index]),)), ())
                else:
                    yield from _remote(each, policy.listen)
        for each in (*policy.nodes, *resolvers):
            yield from _remote(each, policy.listen)
        yield "acl:"
    for each in primaries:
        yield from _acl(f"told-by-{each.name}", each, "notify")
    for each in policy.nodes:
        yield from _acl(f"fetched-by-{each.name}", each, "transfer")
    for each in resolvers:
        yield from _acl(f"fetched-by-{each.name}", each, "transfer")
    nodes = [each.name for each in policy.nodes]
    if policy.catalog or policy.zones:
        yield "zone:"
    if policy.catalog:
        yield f'  - domain: "{policy.catalog}"'
        yield f'    file: "{CATALOG_FILE}"'
        yield '    storage: "."'
        yield "    zonefile-sync: -1"
        yield "    zonefile-load: difference-no-serial"
        yield "    journal-content: all"
        yield "    serial-policy: unixtime"
        yield from _listed("notify", nodes)
        yield from _listed("acl", [f"fetched-by-{each}" for each in nodes])
    for zone in policy.zones:
        told = [*nodes, *(each.name for each in zone.resolvers)]
        yield f'  - domain: "{zone.origin}"'
        yield f'    file: "{zone_file(zone.origin)}"'
        yield from _listed("master", [each.name for each in zone.primaries])
        yield from _listed("notify", told)
        yield from _listed("acl", [*(f"told-by-{each.name}" for each in zone.primaries), *(f"fetched-by-{each}" for each in told)])
        yield f"    dnssec-validation: {_switch(zone.dnssec)}"
        yield f"    zonemd-verify: {_switch(zone.zonemd)}"
        yield f"    zone-max-size: {zone.octets_max}"
        yield from _kept()


def _catalog(name: str, origins: Iterable[str]) -> Iterator[str]:
    """The catalog (RFC 9432, 4), as a zone file of which Knot counts the serial itself, from the machine's clock on (daemons/knot.py).

    A member's label is its identity: another one tells whoever takes its zones from the catalog to throw away all that it has of that zone (5.4). So it is a digest of the
    zone's name, which no restart changes. Knot's own (catalog-role: generate) are of the second in which it first saw the zone, which it forgets when it is killed: then all
    nodes purged all zones, and of what the gate had lost as well nothing was left to serve.
    """
    yield f"{name} 0 SOA invalid. invalid. @NOW@ 3600 600 2147483646 0"
    yield f"{name} 0 NS invalid."
    yield f'version.{name} 0 TXT "2"'
    for origin in origins:
        yield f"{hashlib.sha256(origin.lower().encode()).hexdigest()[:32]}.zones.{name} 0 PTR {origin}"


def _node(policy: NodePolicy) -> Iterator[str]:
    needs = [
        *(["catalog"] if policy.catalog else []),
        *(["dot"] if policy.certificate else []),
        *(["doq"] if policy.quic else []),
    ]
    yield from _head(policy.name, policy.names, needs)
    everywhere = (*policy.service, *policy.listen)
    tls = [f"{address}@853" for address in everywhere] if policy.certificate else []
    quic = [f"{address}@853" for address in everywhere] if policy.certificate and policy.quic else []
    yield from _server(policy.name, [f"{address}@53" for address in everywhere], tls, quic, policy.certificate)
    yield from _keys([policy.gate.key] if policy.gate.key else [])
    yield "remote:"
    yield from _remote(policy.gate, policy.outgoing)
    yield "acl:"
    yield from _acl("told-by-gate", policy.gate, "notify")
    modules = []
    if policy.tap:
        yield "mod-dnstap:"
        yield "  - id: counted"
        yield f'    sink: "unix:{policy.tap}"'
        yield "mod-stats:"
        yield "  - id: counted"
        yield "    request-protocol: on"
        yield from (f"    {each}: off" for each in ("server-operation", "request-bytes", "response-bytes", "response-code"))
        yield from (f"    {each}: off" for each in ("edns-presence", "flag-presence", "query-type"))
        modules += ["mod-dnstap/counted", "mod-stats/counted"]
    # before the rate limit, which spares whoever shows a valid cookie: his address is not forged
    if policy.cookies and policy.cookie_secret:
        yield "mod-cookies:"
        yield "  - id: public"
        yield f"    secret: 0x{policy.cookie_secret}"
        modules.append("mod-cookies/public")
    elif policy.cookies:
        modules.append("mod-cookies")
    if policy.responses_per_second:
        yield from _limits(policy.responses_per_second)
        modules.append("mod-rrl/public")
    yield "template:"
    yield "  - id: default"
    yield from _listed("global-module", modules)
    yield "  - id: hosted"
    yield f"    master: {policy.gate.name}"
    yield "    acl: told-by-gate"
    yield from _kept()
    yield "zone:"
    if policy.catalog:
        yield f'  - domain: "{policy.catalog}"'
        yield "    template: hosted"
        yield "    catalog-role: interpret"
        yield "    catalog-template: hosted"
    for origin in policy.zones:
        yield f'  - domain: "{origin}"'
        yield f'    file: "{zone_file(origin)}"'
        yield "    template: hosted"


def _limits(responses_per_second: int) -> Iterator[str]:
    """The rate limit, for both of its makes: the driver lays the one that the version knows into `limits.conf` (daemons/knot.py).

    Until 3.3 Knot counts the same answer to the same network, one bucket each for a second, and where no bucket is free it searches all of them. So its
    table, the default's, must hold what a top-level domain is asked in a second: of 65,537 a million names, asked at random, made a third of all work.
    From 3.4 on it counts all answers to an address and to the networks around it, and what may come in one instant apart from what may come in a second.
    The default of that, 125, would cut short a resolver that asks a whole second's worth at once.
    """
    for era, more in (("<3.4", ["table-size: 393241"]), (">=3.4", [f"instant-limit: {responses_per_second}", "table-size: 65536"])):
        yield f"#{era} mod-rrl:"
        yield f"#{era}   - id: public"
        yield from (f"#{era}     {each}" for each in (f"rate-limit: {responses_per_second}", "slip: 2", *more))
    yield 'include: "limits.conf"'


def zone_file(origin: str) -> str:
    return "root.zone" if origin == "." else f"{origin.lower()}zone"


def _head(name: str, names: Iterable[str], needs: Iterable[str]) -> Iterator[str]:
    yield f"# {name}"
    yield f"# names: {', '.join(names)}"
    if words := ", ".join(needs):
        yield f"# needs: {words}"


def _server(
    name: str, listen: Iterable[str], tls: Iterable[str] = (), quic: Iterable[str] = (), certificate: str | None = None
) -> Iterator[str]:
    yield "server:"
    yield '    rundir: "."'
    yield f'    identity: "{name}"'
    yield f'    nsid: "{name}"'
    yield '    version: ""'
    yield from _listed("listen", list(listen))
    yield from _listed("listen-tls", list(tls))
    yield from _listed("listen-quic", list(quic))
    if certificate:
        yield f'    cert-file: "{certificate}"'
        yield f'    key-file: "{certificate}"'
    yield "log:"
    yield "  - target: stdout"
    yield "    any: info"
    yield "database:"
    yield '    storage: "db"'


def _keys(keys: Iterable[Key]) -> Iterator[str]:
    found = list(dict.fromkeys(keys))
    if found:
        yield "key:"
    for key in found:
        yield f'  - id: "{key.name}"'
        yield f"    algorithm: {key.algorithm}"
        yield f"    secret: {key.secret}"


def _remote(server: Server, via: Iterable[object]) -> Iterator[str]:
    yield f"  - id: {server.name}"
    yield from _listed("address", [f"{address}@{port}" for address, port in server.addresses])
    yield from _listed("via", [str(each) for each in via])
    if server.key:
        yield f'    key: "{server.key.name}"'


def _acl(name: str, server: Server, action: str) -> Iterator[str]:
    yield f"  - id: {name}"
    yield from _listed("address", [str(address) for address, _ in server.addresses])
    if server.key:
        yield f'    key: "{server.key.name}"'
    yield f"    action: {action}"


def _kept() -> Iterator[str]:
    """In the journal, whole: a zone file of a million delegations takes seconds to write, and nobody is told of a new version meanwhile."""
    yield '    storage: "."'
    yield "    zonefile-sync: -1"
    yield "    zonefile-load: none"
    yield "    journal-content: all"
    yield "    journal-max-usage: 4G"


def _listed(word: str, items: list[str]) -> Iterator[str]:
    if items:
        yield f"    {word}: [ {', '.join(items)} ]"


def _switch(on: bool) -> str:
    return "on" if on else "off"
