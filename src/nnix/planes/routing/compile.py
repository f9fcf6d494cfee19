"""Route-server policy: which route of which member reaches whom.

A route server forwards no packet and adds no AS hop (RFC 7947, 2.2.2.1); all its worth is in choosing. Each client
has a view of its own, because one shared best path would hide the second best from a member whom the best may not
reach (2.3.1).

A route comes in through tests in a fixed order (`ORDER`), the cheapest first, and is refused under the name of the first
that fails. It goes out by what its announcer asked for, then by what the receiver asked for; communities meant for us are
taken off.

policy() decides this once, in values; bird.py and openbgpd.py only spell it (`SPEAKERS`), so that the two route servers of a LAN may be of
different make, and a fault of one make is not the exchange's. What a make cannot do is refused by name before anything is touched; what only
an older version of it lacks, its driver says once it has looked. prove/evaluate.py reads the same values and judges routes by itself.

What VRPs and route objects say stands in the configuration, or comes by RTR from caches of ours (`Feed`). The values are the same; only, what
comes by RTR may be newer than the change, and may be missing: each such table has a mark (trust/rtr/records.py), and without it there is no data.

A source of evidence that is named and not to be had, or holds nothing, stops the change with a refusal: what runs stays
as it is. Going on without it would either let wrong routes in (RPKI) or throw every member's routes out (IRR). A broken
object inside a source, or an as-set that no source knows, costs only what hangs on it: the member is left with its own
ASN, and a finding says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from nnix.kernel.evidence import Evidence, Item
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact
from nnix.planes.fabric.kinds import Lan, PortState
from nnix.planes.members.kinds import Exchange, Member
from nnix.planes.routing import bird, bogons, irr, openbgpd, rpki
from nnix.planes.routing.communities import short_asn
from nnix.planes.routing.irr import ASKED
from nnix.planes.routing.kinds import Irr, RouteServer, RoutingPolicy, RoutingRegistry, Rpki, Session
from nnix.planes.routing.rpki import Roa, RoaTable
from nnix.planes.trust.kinds import IRR_COVERING_PORT, IRR_DOCUMENT, IRR_PORT, VRP_COVERING_PORT, VRP_PORT, RtrCache

ORDER = (
    "otc_leak",  # the daemon itself judges it, before any filter
    "default_route",
    "not_global_unicast",
    "exchange_lan",
    "bogon",
    "prefix_len_too_long",
    "prefix_len_too_short",
    "as_path_too_short",
    "as_path_too_long",
    "own_asn_in_path",
    "as_set_in_path",
    "bogon_asn",
    "transit_free_asn",
    "never_via_route_server",
    "first_as_not_peer_as",
    "next_hop_not_peer_ip",
    "irrdb_origin_as_filtered",
    "irrdb_prefix_filtered",
    "blackhole_not_covered",
    "rpki_no_data",  # no judgement of a route, but of a moment
    "rpki_invalid",
)

BLACKHOLES_MAX = 10  # host routes that a member may blackhole beyond the prefixes that it means to announce


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """One session as a route server sees it, both address families. Limits count routes received, refused ones included.

    `origins` is None where the registries are not asked. `prefixes` are registered prefixes whose origin the source did not
    tell (bgpq4). A next hop is accepted when it is the session's own address or that of another router of the same member there.
    """

    session: str
    member: str
    asn: int
    v4: IPv4Address | None
    v6: IPv6Address | None
    next_hops_v4: tuple[IPv4Address, ...]
    next_hops_v6: tuple[IPv6Address, ...]
    irr: Irr
    origins: tuple[int, ...] | None
    prefixes_v4: tuple[str, ...]
    prefixes_v6: tuple[str, ...]
    routes_max_v4: int
    routes_max_v6: int
    passive: bool
    role_strict: bool
    blackhole: bool


@dataclass(frozen=True, slots=True)
class Feed:
    """A ROA table that comes by RTR: `table` (vrp, vrp_covering, irr, irr_covering), from which cache, where."""

    table: str
    cache: str
    address: IPv4Address | IPv6Address
    port: int


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """All that one route server does. `registered` are route objects and `vrps` are VRPs, as ROAs; the `…_covering` tables say who
    may blackhole inside of what. `findings` are what an operator should mend, in words."""

    name: str
    daemon: str
    machine: str
    asn: int
    stand_in: int
    router_id: IPv4Address
    v4: IPv4Address | None
    v6: IPv6Address | None
    policy: RoutingPolicy
    lans_v4: tuple[IPv4Network, ...]
    lans_v6: tuple[IPv6Network, ...]
    bogons_v4: tuple[IPv4Network, ...]
    bogons_v6: tuple[IPv6Network, ...]
    bogon_asns: tuple[tuple[int, int], ...]
    never: tuple[int, ...]
    transit_free: tuple[int, ...]
    clients: tuple[ClientPolicy, ...]
    registered_v4: RoaTable
    registered_v6: RoaTable
    registered_covering_v4: RoaTable
    registered_covering_v6: RoaTable
    vrps_v4: RoaTable
    vrps_v6: RoaTable
    vrps_covering_v4: RoaTable
    vrps_covering_v6: RoaTable
    feeds: tuple[Feed, ...]
    about: frozenset[str]
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Speaker:
    """A make of daemon: how it spells a policy, and what of it no version of it can do."""

    spell: Callable[[ServerPolicy], str]
    cannot: Callable[[ServerPolicy], Iterable[Refusal]]


SPEAKERS: Mapping[str, Speaker] = {
    "bird": Speaker(bird.spell, lambda _: ()),
    "openbgpd": Speaker(openbgpd.spell, openbgpd.cannot),
}


def evidence(snapshot: Snapshot) -> Iterable[str]:
    """Keys of all that the policies in use rest on: `file:<path>`, relative to the exchange's folder; `irr:<name>`, what a registry answered."""
    for policy in _in_use(snapshot):
        if policy.rpki is not Rpki.OFF:
            yield from (f"file:{path}" for path in policy.rpki_sources)
        if _asks_registries(policy, snapshot):
            yield from (f"file:{path}" for path in policy.irr_sources)
            yield from (f"{ASKED}{name}" for name in policy.irr_registries)


def names_asked(registry: RoutingRegistry, snapshot: Snapshot) -> tuple[tuple[str, ...], bool]:
    """The as-sets and ASNs that `registry` is to be asked for, and whether for their route objects as well. Pure."""
    names: dict[str, None] = {}
    strict = False
    for rules in _in_use(snapshot):
        if registry.name not in rules.irr_registries:
            continue
        for server in snapshot.where(RouteServer, policy=rules.name):
            for each in clients(server, snapshot):
                how, member = each.irr or rules.irr, snapshot.at(each.member)
                if how is not Irr.OFF:
                    as_sets = each.as_sets if each.as_sets is not None else member.as_sets
                    names |= dict.fromkeys(name.upper() for name in (*as_sets, f"AS{member.asn}"))
                    strict |= how is Irr.STRICT
    return tuple(names), strict


def policy(snapshot: Snapshot, evidence: Evidence) -> tuple[ServerPolicy, ...]:
    """Every route server's policy, by name. Pure. Raises Refused when evidence that a policy names is missing or worthless."""
    refusals: list[Refusal] = []
    grounds = {each.name: _grounds(each, snapshot, evidence, refusals) for each in _in_use(snapshot)}
    if refusals:
        raise Refused(refusals)
    return tuple(_server(each, snapshot, grounds[each.policy]) for each in snapshot.of(RouteServer))


def compile(snapshot: Snapshot, evidence: Evidence) -> Iterable[Artifact]:
    """One artifact per route server: its daemon's configuration; and for each cache that hands out route objects, these. Pure. Raises Refused as
    policy() does, and for what a daemon cannot do."""
    servers = policy(snapshot, evidence)
    if refusals := [refusal for each in servers for refusal in SPEAKERS[each.daemon].cannot(each)]:
        raise Refused(refusals)
    configured = [
        Artifact(
            machine=each.machine, driver=each.daemon, name=each.name, content=SPEAKERS[each.daemon].spell(each).encode(), about=each.about
        )
        for each in servers
    ]
    return (*configured, *_registered(snapshot, servers))


def _registered(snapshot: Snapshot, servers: Iterable[ServerPolicy]) -> Iterable[Artifact]:
    """Route objects as documents for caches. One document is for all route servers of a policy: who may originate what is asked of each client
    before, so that those of others' clients let nothing in."""
    for rules in _in_use(snapshot):
        mine = [each for each in servers if each.policy.name == rules.name]
        roas: dict[Roa, None] = {}
        for each in mine if rules.irr_caches else ():
            roas |= dict.fromkeys((*each.registered_v4.roas, *each.registered_v6.roas))
        rows = ",\n".join(f'{{"asn": {origin}, "prefix": "{prefix}", "maxLength": {longest}}}' for prefix, longest, origin in sorted(roas))
        content = f'{{"source": "{IRR_DOCUMENT}"}}\n{{"roas": [\n{rows}\n]}}\n'.encode()
        for cache in map(snapshot.at, rules.irr_caches):
            yield Artifact(cache.runs_on, "document", IRR_DOCUMENT, content, frozenset({cache.id, rules.id}))


def _feeds(server: RouteServer, rules: RoutingPolicy, snapshot: Snapshot) -> Iterable[Feed]:
    fed = [("vrp", rules.rpki_caches, VRP_PORT, True), ("vrp_covering", rules.rpki_caches, VRP_COVERING_PORT, rules.blackhole)]
    fed = [each for each in fed if rules.rpki is not Rpki.OFF]
    fed += [("irr", rules.irr_caches, IRR_PORT, True), ("irr_covering", rules.irr_caches, IRR_COVERING_PORT, rules.blackhole)]
    for table, caches, port, wanted in fed:
        for cache in map(snapshot.at, caches if wanted else ()):
            if (address := reached(cache, server)) is not None:
                yield Feed(table, cache.name, address, port)


def reached(cache: RtrCache, server: RouteServer) -> IPv4Address | IPv6Address | None:
    """At which address `server` reaches `cache`: on the LAN that they share, else at the first that the cache listens at besides."""
    if cache.lan == server.lan:
        for ours, theirs in ((server.v4, cache.v4), (server.v6, cache.v6)):
            if ours is not None and theirs is not None:
                return theirs
    return next(iter(cache.listen), None)


def clients(server: RouteServer, snapshot: Snapshot) -> tuple[Session, ...]:
    """The sessions that `server` keeps configured, by name: on its LAN, meant for route servers, behind a port that is in service.

    A drained port's sessions stay configured; the fabric culls them (BCP 214), so that nothing has to be told twice.
    """
    return tuple(
        each
        for each in snapshot.where(Session, lan=server.lan)
        if each.route_servers and snapshot.at(each.port).state in (PortState.PRODUCTION, PortState.DRAINED)
    )


@dataclass(frozen=True, slots=True)
class _Grounds:
    """What a policy's sources say."""

    registries: irr.Registries
    vrps: rpki.Vrps
    findings: tuple[str, ...]


def _in_use(snapshot: Snapshot) -> tuple[RoutingPolicy, ...]:
    return tuple(each for each in snapshot.of(RoutingPolicy) if snapshot.where(RouteServer, policy=each.name))


def _asks_registries(policy: RoutingPolicy, snapshot: Snapshot) -> bool:
    return any(
        (each.irr or policy.irr) is not Irr.OFF
        for server in snapshot.where(RouteServer, policy=policy.name)
        for each in clients(server, snapshot)
    )


def _grounds(policy: RoutingPolicy, snapshot: Snapshot, evidence: Evidence, refusals: list[Refusal]) -> _Grounds:
    def had(path: str, field: str) -> Item | None:
        item = evidence.get(f"file:{path}")
        if item is None:
            refusals.append(_missing(policy, field, f"{path} is not to be had"))
        return item

    findings: list[str] = []
    parts: list[rpki.Vrps] = []
    for path in policy.rpki_sources if policy.rpki is not Rpki.OFF else ():
        item = had(path, "rpki_sources")
        if item is None:
            continue
        try:
            found = rpki.vrps(item)
        except rpki.Unreadable as error:
            refusals.append(_missing(policy, "rpki_sources", f"{path}: {error}"))
            continue
        parts.append(found)
        findings += [f"{path}: {finding}" for finding in found.findings]
    merged = (
        parts[0]
        if len(parts) == 1
        else rpki.Vrps(RoaTable(roa for part in parts for roa in part.v4.roas), RoaTable(roa for part in parts for roa in part.v6.roas), ())
    )
    asks = _asks_registries(policy, snapshot)
    items = [(path, item) for path in (policy.irr_sources if asks else ()) if (item := had(path, "irr_sources")) is not None]
    for registry in policy.irr_registries if asks else ():
        if (answered := evidence.get(f"{ASKED}{registry}")) is not None:
            items.append((registry.id, answered))
        else:
            refusals.append(_missing(policy, "irr_registries", f"{registry.id} has never answered", mend="ask it: nnix irr fetch DIR"))
    known = irr.registries(items)
    return _Grounds(known, merged, (*findings, *known.findings))


def _missing(policy: RoutingPolicy, field: str, found: str, mend: str = "fetch it again, or take the source out") -> Refusal:
    return Refusal(
        policy.id,
        field,
        found,
        "evidence that can be read",
        "routing.evidence-is-there",
        "RFC 7454, 6.1",
        f"{mend}; until then what runs stays as it is",
    )


def _server(server: RouteServer, snapshot: Snapshot, grounds: _Grounds) -> ServerPolicy:
    rules = snapshot.at(server.policy)
    exchange = snapshot.of(Exchange)[0]
    asn = server.asn or exchange.asn
    lans = snapshot.of(Lan)
    members = {each.asn for each in snapshot.of(Member)}
    findings = list(grounds.findings)
    sessions = clients(server, snapshot)
    here = _addresses(server, snapshot)
    served = tuple(_client(each, server, rules, snapshot, grounds, here, findings) for each in sessions)
    registered_v4, registered_v6 = grounds.registries.registered(
        frozenset(origin for each in served if each.irr is Irr.STRICT for origin in each.origins or ()),
        rules.prefix_lengths.v4_max if rules.irr_more_specifics else None,
        rules.prefix_lengths.v6_max if rules.irr_more_specifics else None,
    )
    # Whose VRPs may cover a blackholed host route: those of origins that a client speaks for. Where the registries are not asked, that is anybody.
    speaking = (
        None if any(each.origins is None for each in served) else frozenset(origin for each in served for origin in each.origins or ())
    )
    vrps = grounds.vrps
    lab = exchange.lab
    bad = [each.prefix for each in bogons.PREFIXES if not (lab and each.lab)] + list(rules.bogons)
    return ServerPolicy(
        name=server.name,
        daemon=server.daemon,
        machine=str(server.machine or server.name),
        asn=asn,
        stand_in=short_asn(asn),
        router_id=server.router_id or server.v4 or IPv4Address("0.0.0.1"),
        v4=server.v4,
        v6=server.v6,
        policy=rules,
        lans_v4=tuple(sorted({each.v4 for each in lans if each.v4 is not None})),
        lans_v6=tuple(sorted({each.v6 for each in lans if each.v6 is not None})),
        bogons_v4=tuple(sorted({each for each in bad if isinstance(each, IPv4Network)})),
        bogons_v6=tuple(sorted({each for each in bad if isinstance(each, IPv6Network)})),
        bogon_asns=tuple((each.first, each.last) for each in bogons.ASNS if not (lab and each.lab)),
        never=tuple(sorted(set(rules.never_via_route_servers) - members)),
        transit_free=tuple(sorted(set(rules.transit_free))),
        clients=served,
        registered_v4=registered_v4,
        registered_v6=registered_v6,
        registered_covering_v4=registered_v4.covering(None, 32) if rules.blackhole else RoaTable(),
        registered_covering_v6=registered_v6.covering(None, 128) if rules.blackhole else RoaTable(),
        vrps_v4=vrps.v4,
        vrps_v6=vrps.v6,
        vrps_covering_v4=vrps.v4.covering(speaking, 32) if rules.blackhole else RoaTable(),
        vrps_covering_v6=vrps.v6.covering(speaking, 128) if rules.blackhole else RoaTable(),
        feeds=tuple(_feeds(server, rules, snapshot)),
        about=frozenset(
            {server.id, rules.id, exchange.id}
            | {each.id for each in (*rules.rpki_caches, *rules.irr_caches)}
            | {each.id for each in lans}
            | {resource_id for each in sessions for resource_id in (each.id, each.member.id, each.port.id)}
        ),
        findings=tuple(dict.fromkeys(findings)),
    )


def _addresses(server: RouteServer, snapshot: Snapshot) -> dict[int, tuple[tuple[IPv4Address, ...], tuple[IPv6Address, ...]]]:
    """ASN → all addresses of its routers on the LAN of `server`."""
    v4: dict[int, set[IPv4Address]] = {}
    v6: dict[int, set[IPv6Address]] = {}
    for each in snapshot.where(Session, lan=server.lan):
        asn = snapshot.at(each.member).asn
        if each.v4 is not None:
            v4.setdefault(asn, set()).add(each.v4)
        if each.v6 is not None:
            v6.setdefault(asn, set()).add(each.v6)
    return {asn: (tuple(sorted(v4.get(asn, ()))), tuple(sorted(v6.get(asn, ())))) for asn in v4.keys() | v6.keys()}


def _client(
    session: Session,
    server: RouteServer,
    rules: RoutingPolicy,
    snapshot: Snapshot,
    grounds: _Grounds,
    here: dict[int, tuple[tuple[IPv4Address, ...], tuple[IPv6Address, ...]]],
    findings: list[str],
) -> ClientPolicy:
    member = snapshot.at(session.member)
    how = session.irr or rules.irr
    origins: tuple[int, ...] | None = None
    prefixes: tuple[str, ...] = ()
    if how is not Irr.OFF:
        cone = grounds.registries.cone(member.asn, session.as_sets if session.as_sets is not None else member.as_sets)
        origins, prefixes = tuple(sorted(cone.origins)), cone.prefixes
        findings += [f"{session.id}: {finding}" for finding in cone.findings]
    next_hops = here.get(member.asn, ((), ()))
    stated = session.prefixes_max or member.prefixes_max
    return ClientPolicy(
        session=session.name,
        member=member.name,
        asn=member.asn,
        v4=session.v4 if server.v4 else None,
        v6=session.v6 if server.v6 else None,
        next_hops_v4=next_hops[0],
        next_hops_v6=next_hops[1],
        irr=how,
        origins=origins,
        prefixes_v4=tuple(each for each in prefixes if ":" not in each) if how is Irr.STRICT else (),
        prefixes_v6=tuple(each for each in prefixes if ":" in each) if how is Irr.STRICT else (),
        routes_max_v4=_limit(stated.v4, rules.prefixes_max.v4, rules),
        routes_max_v6=_limit(stated.v6, rules.prefixes_max.v6, rules),
        passive=session.passive,
        role_strict=session.role_strict,
        blackhole=session.blackhole,
    )


def _limit(stated: int | None, general: int | None, rules: RoutingPolicy) -> int:
    """Routes that a session may announce: what it states and the margin, else the general limit; and some blackholes beside them."""
    with_margin = general or 1000 if stated is None else -(-stated * (100 + rules.prefixes_max_margin_percent) // 100)
    return with_margin + (BLACKHOLES_MAX if rules.blackhole else 0)
