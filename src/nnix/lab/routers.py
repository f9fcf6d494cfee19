"""Members' routers, spelled for each make of daemon.

They are ordinary customers' configurations, deliberately without the care that the exchange takes: what a member announces
is what the exchange must judge. Only BIRD is asked for misbehaviour; the others announce plain prefixes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from nnix.lab.kinds import Announcement, Router, Speaker
from nnix.planes.members.kinds import Member
from nnix.planes.routing.kinds import RouteServer, Session
from nnix.planes.trust.kinds import RtrCache

Neighbour = tuple[str, IPv4Address | IPv6Address, IPv4Address | IPv6Address]
"""name, our address, theirs"""
Cache = tuple[str, IPv4Address | IPv6Address | None, int]
"""name, address, port"""


def spell(
    router: Router, session: Session, member: Member, servers: Sequence[RouteServer], caches: Sequence[RtrCache], asn: int
) -> tuple[str, bytes]:
    """(driver, configuration) of a member's router that peers with `servers`, which speak as `asn` unless they have their own, and takes VRPs
    from `caches`."""
    neighbours: list[tuple[Neighbour, int]] = []
    for server in servers:
        if session.v4 and server.v4:
            neighbours.append(((f"to_{server.name.replace('-', '_')}_v4", session.v4, server.v4), server.asn or asn))
        if session.v6 and server.v6:
            neighbours.append(((f"to_{server.name.replace('-', '_')}_v6", session.v6, server.v6), server.asn or asn))
    router_id = session.v4 or IPv4Address(0x0A000000 + member.asn % 2**24)
    lines = [*_SPELLINGS[router.daemon](router, member.asn, router_id, neighbours)]
    if caches:
        near = [(each.name, each.v4 if session.v4 and each.v4 else each.v6, each.port) for each in caches]
        lines += _CACHES[router.daemon](near)
    return router.daemon.value, ("\n".join(lines) + "\n").encode()


def _bird(router: Router, asn: int, router_id: IPv4Address, neighbours: Sequence[tuple[Neighbour, int]]) -> Iterator[str]:
    yield f"# {router.name}: a member's router, AS{asn}"
    yield 'log "@HOME@/bird.log" { info, remote, warning, error, auth, fatal, bug };'
    yield f"router id {router_id};"
    yield "protocol device {}"
    for version in (4, 6):
        routes = [each for each in router.announces if each.prefix.version == version]
        if routes:
            yield f"protocol static own_v{version} {{ ipv{version};"
            yield from (f"  route {each.prefix} blackhole;" for each in routes)
            yield "}"
        yield f"filter announce_v{version} {{"
        for each in routes:
            yield f"  if net = {each.prefix} then {{"
            yield from (f"    {line}" for line in _attributes(each))
            yield "    accept; }"
        yield "  reject;"
        yield "}"
    for (name, ours, theirs), remote in neighbours:
        version = theirs.version
        yield f"protocol bgp {name} {{"
        yield f"  local {ours} as {asn}; neighbor {theirs} as {remote};"
        yield "  connect retry time 5; connect delay time 1; error wait time 3, 30;"
        yield f"  ipv{version} {{ import all; export filter announce_v{version}; }};"
        yield "}"


def _attributes(route: Announcement) -> Iterator[str]:
    """What BIRD's export filter does to one announcement. The router's own ASN is put in front afterwards, by the protocol."""
    yield from (f"bgp_path.prepend({asn});" for asn in reversed(route.path))
    for community in route.communities:
        match community.split(":"):
            case ["blackhole"]:
                yield "bgp_community.add((65535,666));"
            case ["graceful-shutdown"]:
                yield "bgp_community.add((65535,0));"
            case ["no-export"]:
                yield "bgp_community.add((65535,65281));"
            case ["no-advertise"]:
                yield "bgp_community.add((65535,65282));"
            case [("rt" | "ro") as form, a, b]:
                yield f"bgp_ext_community.add(({form}, {a}, {b}));"
            case [a, b, c]:
                yield f"bgp_large_community.add(({a},{b},{c}));"
            case [a, b]:
                yield f"bgp_community.add(({a},{b}));"
    if route.otc:
        yield f"bgp_otc = {route.otc};"
    if route.next_hop:
        yield f"bgp_next_hop = {route.next_hop};"


def _bird_caches(caches: Sequence[Cache]) -> Iterator[str]:
    yield "roa4 table vrps4;"
    yield "roa6 table vrps6;"
    for name, address, port in caches:
        yield f"protocol rpki {name.replace('-', '_')} {{ roa4 {{ table vrps4; }}; roa6 {{ table vrps6; }}; remote {address} port {port}; retry keep 5; }}"


def _frr(router: Router, asn: int, router_id: IPv4Address, neighbours: Sequence[tuple[Neighbour, int]]) -> Iterator[str]:
    yield "! daemons: zebra bgpd"
    yield f"hostname {router.name}"
    yield f"router bgp {asn}"
    yield f" bgp router-id {router_id}"
    yield " no bgp ebgp-requires-policy"
    yield " no bgp default ipv4-unicast"
    yield " no bgp network import-check"
    for (_, _, theirs), remote in neighbours:
        yield f" neighbor {theirs} remote-as {remote}"
        yield f" neighbor {theirs} timers connect 5"
        yield f" no neighbor {theirs} enforce-first-as"
    for version in (4, 6):
        yield f" address-family ipv{version} unicast"
        yield from (f"  network {each.prefix}" for each in router.announces if each.prefix.version == version)
        for (_, _, theirs), _ in neighbours:
            if theirs.version == version:
                yield f"  neighbor {theirs} activate"
                yield f"  neighbor {theirs} route-map own out"
        yield " exit-address-family"
    yield "exit"
    yield "bgp as-path access-list own permit ^$"
    yield "route-map own permit 10"  # what one route server told is not for the other
    yield " match as-path own"
    yield "exit"


def _frr_caches(caches: Sequence[Cache]) -> Iterator[str]:
    yield "rpki"
    yield from (f" rpki cache {address} {port} preference {number}" for number, (_, address, port) in enumerate(caches, 1))
    yield "exit"


def _gobgp(router: Router, asn: int, router_id: IPv4Address, neighbours: Sequence[tuple[Neighbour, int]]) -> Iterator[str]:
    yield from (f"#! announce {each.prefix}" for each in router.announces)
    yield "[global.config]"
    yield f"  as = {asn}"
    yield f"  router-id = {json.dumps(str(router_id))}"
    yield "[global.apply-policy.config]"
    yield '  default-export-policy = "reject-route"'
    yield '  export-policy-list = ["own"]'
    for version in (4, 6):
        yield "[[defined-sets.prefix-sets]]"
        yield f'  prefix-set-name = "own{version}"'
        for each in router.announces:
            if each.prefix.version == version:
                yield "  [[defined-sets.prefix-sets.prefix-list]]"
                yield f"    ip-prefix = {json.dumps(str(each.prefix))}"
    yield "[[policy-definitions]]"
    yield '  name = "own"'
    for version in (4, 6):
        yield "  [[policy-definitions.statements]]"
        yield "    [policy-definitions.statements.conditions.match-prefix-set]"
        yield f'      prefix-set = "own{version}"'
        yield "    [policy-definitions.statements.actions]"
        yield '      route-disposition = "accept-route"'
    for (_, ours, theirs), remote in neighbours:
        yield "[[neighbors]]"
        yield "  [neighbors.config]"
        yield f"    neighbor-address = {json.dumps(str(theirs))}"
        yield f"    peer-as = {remote}"
        yield "  [neighbors.transport.config]"
        yield f"    local-address = {json.dumps(str(ours))}"
        yield "  [neighbors.timers.config]"
        yield "    connect-retry = 5"
        yield "  [[neighbors.afi-safis]]"
        yield "    [neighbors.afi-safis.config]"
        yield f'      afi-safi-name = "ipv{theirs.version}-unicast"'


def _openbgpd(router: Router, asn: int, router_id: IPv4Address, neighbours: Sequence[tuple[Neighbour, int]]) -> Iterator[str]:
    yield f"AS {asn}"
    yield f"router-id {router_id}"
    yield 'socket "@HOME@/bgpd.sock"'
    yield "fib-update no"
    yield from (f"network {each.prefix}" for each in router.announces)
    for (name, ours, theirs), remote in neighbours:
        yield f"neighbor {theirs} {{"
        yield f"  remote-as {remote}"
        yield f'  descr "{name}"'
        yield f"  local-address {ours}"
        yield "  enforce neighbor-as no"
        yield f"  announce IPv{theirs.version} unicast"
        yield "}"
    yield "allow from any"
    yield "deny to any"  # what one route server told is not for the other
    yield from (f"allow to any prefix {each.prefix}" for each in router.announces)


_CACHES: dict[Speaker, Callable[[Sequence[Cache]], Iterator[str]]] = {Speaker.BIRD: _bird_caches, Speaker.FRR: _frr_caches}
_SPELLINGS: dict[Speaker, Callable[[Router, int, IPv4Address, Sequence[tuple[Neighbour, int]]], Iterator[str]]] = {
    Speaker.BIRD: _bird,
    Speaker.FRR: _frr,
    Speaker.GOBGP: _gobgp,
    Speaker.OPENBGPD: _openbgpd,
}
