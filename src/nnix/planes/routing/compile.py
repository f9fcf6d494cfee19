"""Route-server policy: which route of which member reaches whom.

A route server forwards no packet and adds no AS hop (RFC 7947, 2.2.2.1); all its worth is in choosing. Each client
has a view of its own, because one shared best path would hide the second best from a member whom the best may not
reach (2.3.1).

A route comes in through tests in a fixed order (`ORDER`), the cheapest first, and is refused under the name of the first
that fails. It goes out by what its announcer asked for, then by what the receiver asked for; communities meant for us are
taken off.

policy() decides this once, in values; bird.py and openbgpd only spell it (`SPEAKERS`), so that the two route servers of a LAN may be of
different make, and a fault of one make is not the exchange's. What a make cannot do is refused by name before anything is touched; what only
an older version of it lacks, its driver says once it has looked. prove/evaluate.py reads the same values and judges routes by itself.

What VRPs and route objects say stands in the configuration, or comes by RTR from caches of ours (`Feed`). The values are the same; only, what
comes by RTR may be newer than the change, and may be missing: each such table has a mark (trust/rtr/records.py), and without it there is no data.

What a client is allowed beyond its policy (RoutingException) is worked in here while it lasts, so that spelling and proof know of no exceptions.
Whether one has come to its end is evidence like any other: `past:INSTANT` holds `no` until that instant and `yes` from then on, so that a plan
holds as long as no exception ends.

A broken object inside a source (sources.py), or an as-set that no source knows, costs only what hangs on it: the member is left with its own ASN, and
a finding says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from nnix.kernel.evidence import Evidence
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact
from nnix.planes.fabric.kinds import Lan
from nnix.planes.members.kinds import Carrier, Exchange, Member
from nnix.planes.routing import bird, bogons
from nnix.planes.routing.communities import FARTHER, GROUP, NEARER, PEER, Aim, Community, community, short_asn
from nnix.planes.routing.kinds import (
    AcceptedPrefix,
    AddPaths,
    Counted,
    Group,
    Irr,
    LimitAction,
    LocalSnippet,
    NextHop,
    Place,
    Prefix,
    PrefixLengths,
    Role,
    RouteServer,
    RoutingException,
    RoutingPolicy,
    Rpki,
    Selection,
    Session,
    TcpKey,
)
from nnix.planes.routing.naming import Family
from nnix.planes.routing.openbgpd.cannot import cannot as openbgpd_cannot
from nnix.planes.routing.openbgpd.spell import spell as openbgpd_spell
from nnix.planes.routing.rpki import Roa, RoaTable
from nnix.planes.routing.sources import Grounds, as_sets_of, clients, grounds, in_use, limits_of, past
from nnix.planes.routing.via import chosen
from nnix.planes.trust.kinds import IRR_COVERING_PORT, IRR_DOCUMENT, IRR_PORT, VRP_COVERING_PORT, VRP_PORT, RtrCache

ORDER = (
    "otc_leak",  # the daemon itself judges it, before any filter
    "starting",  # no judgement of a route, but of a moment
    "default_route",
    "not_global_unicast",
    "exchange_lan",
    "bogon",
    "blacklisted",
    "prefix_len_too_long",
    "prefix_len_too_short",
    "too_many_communities",
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
    "aspa_invalid",
)

BLACKHOLES_MAX = 10  # host routes that a member may blackhole beyond the prefixes that it means to announce


class Accepted(NamedTuple):
    """A prefix that needs no registration: the route's prefix lies in `prefix` and has `shortest` to `longest` bits. `origin` None: its origin must be one of
    the client's; else it must be this one, whether or not it is one of the client's."""

    prefix: str
    shortest: int
    longest: int
    origin: int | None


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """One session as a route server sees it, both address families.

    session, member, asn         who it is. `short_asn` names it in standard communities: its ASN, or what stands for a 32-bit one; None: nothing does
    kin                          ASNs of one organisation with it, itself included: behind it they are no leak (transit_free)
    v4, v6                       its addresses; None: no session of that family. With `v4_over_v6`, IPv4 routes come and go on the IPv6 session (RFC 8950)
    next_hops_v4, next_hops_v6   next hops that are accepted; IPv4 routes of a session with `v4_over_v6` are held against the IPv6 ones.
                                 An IPv4 route with an IPv6 next hop reaches nobody but sessions with `v4_over_v6`
    lengths                      accepted prefix lengths
    blacklist_v4, blacklist_v6   refused with their more specifics (`blacklisted`), besides the server's
    irr                          OFF: `irrdb_not_checked`. ORIGIN: the origin is in `origins`. STRICT: and see `accepted`, `prefixes` and the server's `registered_…`.
                                 TAG: refuses nothing; says `irrdb_origin_known` or `…_unknown`, `irrdb_prefix_known` or `…_unknown`. A path that ends in
                                 an AS_SET has origin 0, which nothing matches (RFC 6907, 7.1.8 to 7.1.12)
    irr_more_specifics           more specifics of its route objects pass: by the policy, or by an exception; then they are looked up in
                                 `registered_longer_…` instead of `registered_…`
    origins                      None where the registries are not asked (irr OFF)
    prefixes_v4, prefixes_v6     registered prefixes whose origin the source did not tell (bgpq4), as P or P{low,high}
    accepted_v4, accepted_v6     prefixes that need no registration; a route that they let pass says `irrdb_excepted` where its origin is given there
    rpki, aspa                   OFF: not judged; TAG: judged and said; REJECT: and invalid ones refused
    as_sets_in_paths             paths may hold AS_SETs
    routes_max_v4, routes_max_v6 limit per session; `limit_counts` says what counts, `limit_action` what happens above
    role                         the route server's role towards it (RFC 9234); `role_strict`: refused when it sends none
    graceful_shutdown            its routes with GRACEFUL_SHUTDOWN are the last choice (RFC 8326)
    communities                  put on every route of its; taken off whatever others send
    announce_only, announce_not  ASNs that alone hear its routes (None: all), and ASNs that do not: as if it had sent these wishes about PEERs itself
    hear_only, hear_not          ASNs whose routes alone it hears (None: all), and whose it does not
    groups, nearer, farther      numbers of the groups that it is in; thresholds (ms) that its round-trip time does not exceed, and that it does
    blackhole                    it hears of blackholed routes; with `blackhole_community` on them, and without BLACKHOLE where `blackhole_community_alone`
    password, tcp_key            names of secrets
    """

    session: str
    member: str
    asn: int
    short_asn: int | None
    kin: tuple[int, ...]
    v4: IPv4Address | None
    v6: IPv6Address | None
    v4_over_v6: bool
    next_hops_v4: tuple[IPv4Address, ...]
    next_hops_v6: tuple[IPv6Address, ...]
    lengths: PrefixLengths
    blacklist_v4: tuple[IPv4Network, ...]
    blacklist_v6: tuple[IPv6Network, ...]
    irr: Irr
    irr_more_specifics: bool
    origins: tuple[int, ...] | None
    prefixes_v4: tuple[str, ...]
    prefixes_v6: tuple[str, ...]
    accepted_v4: tuple[Accepted, ...]
    accepted_v6: tuple[Accepted, ...]
    rpki: Rpki
    aspa: Rpki
    as_sets_in_paths: bool
    routes_max_v4: int
    routes_max_v6: int
    limit_action: LimitAction
    limit_counts: Counted
    passive: bool
    hold_time_seconds: int
    password: str | None
    tcp_key: TcpKey | None
    gtsm: bool
    multihop: int | None
    bfd: bool
    add_paths: AddPaths
    prepend_route_server: bool
    role: Role
    role_strict: bool
    graceful_shutdown: bool
    communities: tuple[Community, ...]
    announce_only: tuple[int, ...] | None
    announce_not: tuple[int, ...]
    hear_only: tuple[int, ...] | None
    hear_not: tuple[int, ...]
    groups: tuple[int, ...]
    nearer: tuple[int, ...]
    farther: tuple[int, ...]
    blackhole: bool
    blackhole_community: Community | None
    blackhole_community_alone: bool

    @property
    def targets(self) -> tuple[tuple[Aim, tuple[int, ...]], ...]:
        """The groups and bands of round-trip time that wishes can name it by."""
        every = ((GROUP, self.groups), (NEARER, self.nearer), (FARTHER, self.farther))
        return tuple((aim, values) for aim, values in every if values)

    @property
    def targets_key(self) -> str:
        """The same for all that have the same targets, and for nobody else: what they share is named after it."""
        return hashlib.sha256(repr([(aim.slug, values) for aim, values in self.targets]).encode()).hexdigest()[:12]


class Snippet(NamedTuple):
    """Local text for one daemon: no evaluator can read it, so what depends on it is not proved but by the daemon itself."""

    name: str
    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Feed:
    """A ROA table that comes by RTR: `table` (vrp, vrp_covering, irr, irr_covering), from which cache, where."""

    table: str
    cache: str
    address: IPv4Address | IPv6Address
    port: int


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """All that one route server does.

    policy                  what is the same for all; where ClientPolicy has a field of the same name, that one counts
    stand_in                the route server's ASN where only 16 bits are
    bogons_…, blacklist_…   refused with their more specifics
    never, transit_free     ASNs; nothing of members and carriers here is in `never`
    registered_…            route objects as ROAs, each allowing its own length only, or down to the policy's longest where it says irr_more_specifics;
                            `registered_longer_…` the latter, of clients that are let off where it does not
    vrps_…                  VRPs; `aspas`: customer and its providers
    …_covering              who may blackhole inside of what
    blackholes              communities that mean BLACKHOLE besides 65535:666; on the way in they are replaced by it
    attached                communities that some client's routes are given: taken off all that members send
    says                    (slug of SAID, community): put on accepted routes of which that is said; taken off all that members send
    short_asns              (ASN, what stands for it in standard communities)
    groups, thresholds      numbers and milliseconds by which wishes can be aimed. A wish aimed at something else is ignored, and taken off on the way out
    snippets                local text for this daemon, in the order of names
    findings                what an operator should mend, in words

    Whom a route reaches, by its announcer's wishes: by those about the receiver itself, if there are any (not beats to); else by those about a group or band
    of round-trip time that it is in (not beats to); else by to-none. Prepends: the longest of those about the receiver, else of those about its groups
    and bands, else of those about all. NO_EXPORT and NO_ADVERTISE are added when any wish about the receiver, its groups and bands, or all asks for it.
    Every wish is taken off, also one about nobody here. An announcer never hears its own session's routes.
    """

    name: str
    daemon: str
    machine: str
    asn: int
    stand_in: int
    router_id: IPv4Address
    v4: IPv4Address | None
    v6: IPv6Address | None
    shutting_down: bool
    shutdown_text: str | None
    policy: RoutingPolicy
    lans_v4: tuple[IPv4Network, ...]
    lans_v6: tuple[IPv6Network, ...]
    bogons_v4: tuple[IPv4Network, ...]
    bogons_v6: tuple[IPv6Network, ...]
    blacklist_v4: tuple[IPv4Network, ...]
    blacklist_v6: tuple[IPv6Network, ...]
    bogon_asns: tuple[tuple[int, int], ...]
    never: tuple[int, ...]
    transit_free: tuple[int, ...]
    clients: tuple[ClientPolicy, ...]
    registered_v4: RoaTable
    registered_v6: RoaTable
    registered_longer_v4: RoaTable
    registered_longer_v6: RoaTable
    registered_covering_v4: RoaTable
    registered_covering_v6: RoaTable
    vrps_v4: RoaTable
    vrps_v6: RoaTable
    vrps_covering_v4: RoaTable
    vrps_covering_v6: RoaTable
    feeds: tuple[Feed, ...]
    aspas: tuple[tuple[int, tuple[int, ...]], ...]
    blackholes: tuple[Community, ...]
    attached: tuple[Community, ...]
    says: tuple[tuple[str, Community], ...]
    short_asns: tuple[tuple[int, int], ...]
    groups: tuple[int, ...]
    thresholds: tuple[int, ...]
    snippets: tuple[Snippet, ...]
    about: frozenset[str]
    findings: tuple[str, ...]

    @property
    def families(self) -> tuple[Family, ...]:
        """Whose routes it has: IPv4's also where they come over IPv6 sessions only."""
        v4 = self.v4 is not None or any(each.v4_over_v6 for each in self.clients)
        return (*((4,) if v4 else ()), *((6,) if self.v6 is not None else ()))

    @property
    def aims(self) -> tuple[Aim, ...]:
        """At whom wishes can be aimed here."""
        return (PEER, *([GROUP] if self.groups else []), *([NEARER, FARTHER] if self.thresholds else []))


@dataclass(frozen=True, slots=True)
class Speaker:
    """A make of daemon: how it spells a policy, and what of it no version of it can do."""

    spell: Callable[[ServerPolicy], str]
    cannot: Callable[[ServerPolicy], Iterable[Refusal]]


SPEAKERS: Mapping[str, Speaker] = {
    "bird": Speaker(bird.spell, lambda _: ()),
    "openbgpd": Speaker(openbgpd_spell, openbgpd_cannot),
}


def policy(snapshot: Snapshot, evidence: Evidence) -> tuple[ServerPolicy, ...]:
    """Every route server's policy, by name. Pure. Raises Refused when evidence that a policy names is missing or worthless."""
    refusals: list[Refusal] = []
    known = {each.name: grounds(each, snapshot, evidence, refusals) for each in in_use(snapshot)}
    if refusals:
        raise Refused(refusals)
    return tuple(_server(each, snapshot, known[each.policy], evidence) for each in snapshot.of(RouteServer))


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
    for rules in in_use(snapshot):
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


def _v4(prefixes: Iterable[Prefix]) -> tuple[IPv4Network, ...]:
    return tuple(sorted({each for each in prefixes if isinstance(each, IPv4Network)}))


def _v6(prefixes: Iterable[Prefix]) -> tuple[IPv6Network, ...]:
    return tuple(sorted({each for each in prefixes if isinstance(each, IPv6Network)}))


def _server(server: RouteServer, snapshot: Snapshot, grounds: Grounds, evidence: Evidence) -> ServerPolicy:
    rules = snapshot.at(server.policy)
    exchange = snapshot.of(Exchange)[0]
    asn = server.asn or exchange.asn
    lans = snapshot.of(Lan)
    members = {each.asn for each in snapshot.of(Member)} | {asn for each in snapshot.of(Carrier) for asn in each.asns}
    findings = list(grounds.findings)
    sessions = clients(server, snapshot)
    here = _addresses(server, snapshot)
    allowed = _in_force(sessions, snapshot, evidence, findings)
    served = tuple(_client(each, server, rules, snapshot, grounds, here, allowed.get(each.name, ()), findings) for each in sessions)
    strict = [each for each in served if each.irr in (Irr.STRICT, Irr.TAG)]
    let_off = [each for each in strict if each.irr_more_specifics and not rules.irr_more_specifics]
    own = frozenset(origin for each in strict if each not in let_off for origin in each.origins or ())
    longer = frozenset(origin for each in let_off for origin in each.origins or ())
    down_v4, down_v6 = rules.prefix_lengths.v4_max, rules.prefix_lengths.v6_max
    everywhere = rules.irr_more_specifics
    registered_v4, registered_v6 = grounds.registries.registered(own, down_v4 if everywhere else None, down_v6 if everywhere else None)
    longer_v4, longer_v6 = grounds.registries.registered(longer, down_v4, down_v6)
    # Covering tables allow every length, so that it does not matter which of the two tables a route object stands in.
    all_v4, all_v6 = (registered_v4, registered_v6) if not longer else grounds.registries.registered(own | longer, None, None)
    # Whose VRPs may cover a blackholed host route: those of origins that a client speaks for. Where the registries are not asked, that is anybody.
    speaking = (
        None
        if any(each.origins is None or each.irr is Irr.TAG for each in served)
        else frozenset(origin for each in served for origin in each.origins or ())
        | {taken.origin for each in served for taken in (*each.accepted_v4, *each.accepted_v6) if taken.origin is not None}
    )
    vrps = grounds.vrps
    lab = exchange.lab
    bad = [each.prefix for each in bogons.PREFIXES if not (lab and each.lab)] + list(rules.bogons)
    snippets = [
        each
        for each in snapshot.where(LocalSnippet, policy=rules.name)
        if each.daemon == server.daemon and (each.until is None or _lasts(each.until, evidence))
    ]
    return ServerPolicy(
        name=server.name,
        daemon=server.daemon,
        machine=str(server.machine or server.name),
        asn=asn,
        stand_in=short_asn(asn),
        router_id=server.router_id or server.v4 or IPv4Address("0.0.0.1"),
        v4=server.v4,
        v6=server.v6,
        shutting_down=server.shutting_down,
        shutdown_text=server.shutdown_text,
        policy=rules,
        lans_v4=tuple(sorted({each.v4 for each in lans if each.v4 is not None})),
        lans_v6=tuple(sorted({each.v6 for each in lans if each.v6 is not None})),
        bogons_v4=_v4(bad),
        bogons_v6=_v6(bad),
        blacklist_v4=_v4(rules.blacklist),
        blacklist_v6=_v6(rules.blacklist),
        bogon_asns=tuple((each.first, each.last) for each in bogons.ASNS if not (lab and each.lab)),
        never=tuple(sorted((set(rules.never_via_route_servers) | grounds.never) - members)),
        transit_free=tuple(sorted(set(rules.transit_free))),
        clients=served,
        registered_v4=registered_v4,
        registered_v6=registered_v6,
        registered_longer_v4=longer_v4,
        registered_longer_v6=longer_v6,
        registered_covering_v4=all_v4.covering(None, 32) if rules.blackhole else RoaTable(),
        registered_covering_v6=all_v6.covering(None, 128) if rules.blackhole else RoaTable(),
        vrps_v4=vrps.v4,
        vrps_v6=vrps.v6,
        vrps_covering_v4=vrps.v4.covering(speaking, 32) if rules.blackhole else RoaTable(),
        vrps_covering_v6=vrps.v6.covering(speaking, 128) if rules.blackhole else RoaTable(),
        feeds=tuple(_feeds(server, rules, snapshot)),
        aspas=grounds.aspas if any(each.aspa is not Rpki.OFF for each in served) else (),
        blackholes=tuple(community(each) for each in rules.blackhole_communities) if rules.blackhole else (),
        attached=tuple(sorted({each for client in served for each in client.communities})),
        says=tuple(sorted((each.said, community(each.community)) for each in rules.said_communities)),
        short_asns=tuple(sorted((each.asn, each.short) for each in rules.short_asns)),
        groups=tuple(sorted(each.number for each in rules.groups)),
        thresholds=tuple(sorted(set(rules.rtt_thresholds))),
        snippets=tuple(Snippet(each.name, each.place, each.text) for each in snippets),
        about=frozenset(
            {server.id, rules.id, exchange.id}
            | {each.id for each in (*rules.rpki_caches, *rules.irr_caches)}
            | {each.id for each in lans}
            | {each.id for each in snippets}
            | {each.id for exceptions in allowed.values() for each in exceptions}
            | {resource_id for each in sessions for resource_id in (each.id, each.member.id, each.port.id)}
        ),
        findings=tuple(dict.fromkeys(findings)),
    )


def _in_force(
    sessions: Iterable[Session], snapshot: Snapshot, evidence: Evidence, findings: list[str]
) -> dict[str, tuple[RoutingException, ...]]:
    """session → its exceptions that have not come to their end, by name. Where nobody can say, one has."""
    found: dict[str, tuple[RoutingException, ...]] = {}
    for session in sessions:
        for each in snapshot.where(RoutingException, session=session.name):
            if _lasts(each.until, evidence):
                found[session.name] = (*found.get(session.name, ()), each)
                findings.append(f"{each.id}: {session.id} is let off until {each.until:%Y-%m-%d %H:%M %Z} ({each.why}; {each.answers})")
            else:
                findings.append(f"{each.id}: came to its end at {each.until:%Y-%m-%d %H:%M %Z} and has no effect; take it out")
    return found


def _lasts(until: datetime, evidence: Evidence) -> bool:
    item = evidence.get(past(until))
    return item is not None and item.content == b"no"


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
    grounds: Grounds,
    here: dict[int, tuple[tuple[IPv4Address, ...], tuple[IPv6Address, ...]]],
    exceptions: tuple[RoutingException, ...],
    findings: list[str],
) -> ClientPolicy:
    member = snapshot.at(session.member)
    how, rpki_how, aspa_how = session.irr or rules.irr, session.rpki or rules.rpki, session.aspa or rules.aspa
    lengths = rules.prefix_lengths
    for each in exceptions:
        how, rpki_how, aspa_how = each.irr or how, each.rpki or rpki_how, each.aspa or aspa_how
        lengths = each.prefix_lengths or lengths
    origins: tuple[int, ...] | None = None
    prefixes: tuple[str, ...] = ()
    if how is not Irr.OFF:
        as_sets = as_sets_of(session, snapshot, grounds.networks)
        cone = grounds.registries.cone(member.asn, as_sets)
        if as_sets and session.as_sets is None and not member.as_sets:
            findings += [f"{session.id}: its as-sets are PeeringDB's: {', '.join(as_sets)}", *grounds.networks[member.asn].findings]
        origins = tuple(sorted(cone.origins.union(*(each.origins for each in exceptions))))
        prefixes = cone.prefixes if how in (Irr.STRICT, Irr.TAG) else ()
        findings += [f"{session.id}: {finding}" for finding in cone.findings]
    v4s, v6s = here.get(member.asn, ((), ())) if (session.next_hop or rules.next_hop) is NextHop.SAME_AS else ((), ())
    accepted = tuple(_accepted(each) for exception in exceptions for each in exception.prefixes)
    stated = limits_of(session, snapshot, grounds.networks)
    announces, hears = _chosen(session, server, rules, snapshot, grounds, findings)
    shorts = {each.asn: each.short for each in rules.short_asns}
    rtt = None if session.rtt is None else int(session.rtt)
    return ClientPolicy(
        session=session.name,
        member=member.name,
        asn=member.asn,
        short_asn=member.asn if member.asn < 65536 else shorts.get(member.asn),
        kin=tuple(sorted({member.asn}.union(*(each.asns for each in snapshot.of(Carrier) if member.asn in each.asns)))),
        v4=session.v4 if server.v4 else None,
        v6=session.v6 if server.v6 else None,
        v4_over_v6=session.v4_over_v6 and server.v6 is not None and session.v6 is not None,
        next_hops_v4=tuple(
            sorted({*v4s, *(each for each in (session.v4, *session.next_hops) if isinstance(each, IPv4Address))}),
        ),
        next_hops_v6=tuple(
            sorted({*v6s, *(each for each in (session.v6, *session.next_hops) if isinstance(each, IPv6Address))}),
        ),
        lengths=lengths,
        blacklist_v4=_v4(session.blacklist),
        blacklist_v6=_v6(session.blacklist),
        irr=how,
        irr_more_specifics=rules.irr_more_specifics or any(each.irr_more_specifics for each in exceptions),
        origins=origins,
        prefixes_v4=tuple(each for each in prefixes if ":" not in each),
        prefixes_v6=tuple(each for each in prefixes if ":" in each),
        accepted_v4=tuple(each for each in accepted if ":" not in each.prefix),
        accepted_v6=tuple(each for each in accepted if ":" in each.prefix),
        rpki=rpki_how,
        aspa=aspa_how,
        as_sets_in_paths=any(each.as_sets_in_paths for each in exceptions),
        routes_max_v4=_limit(stated.v4, rules.prefixes_max.v4, rules, exact=session.prefixes_max_exact),
        routes_max_v6=_limit(stated.v6, rules.prefixes_max.v6, rules, exact=session.prefixes_max_exact),
        limit_action=session.limit_action or rules.limit_action,
        limit_counts=session.limit_counts or rules.limit_counts,
        passive=session.passive,
        hold_time_seconds=session.hold_time_seconds or rules.hold_time_seconds,
        password=session.password and session.password.removeprefix("secret:"),
        tcp_key=session.tcp_ao,
        gtsm=session.gtsm,
        multihop=session.multihop,
        bfd=session.bfd,
        add_paths=session.add_paths,
        prepend_route_server=session.prepend_route_server,
        role=session.our_role,
        role_strict=session.role_strict,
        graceful_shutdown=rules.graceful_shutdown if session.graceful_shutdown is None else session.graceful_shutdown,
        communities=tuple(sorted({community(each) for each in session.communities})),
        announce_only=announces.only,
        announce_not=announces.but,
        hear_only=hears.only,
        hear_not=hears.but,
        groups=tuple(sorted(each.number for each in rules.groups if _in_group(each, session, snapshot))),
        nearer=tuple(sorted(each for each in set(rules.rtt_thresholds) if rtt is not None and rtt <= each * 1000)),
        farther=tuple(sorted(each for each in set(rules.rtt_thresholds) if rtt is not None and rtt > each * 1000)),
        blackhole=session.blackhole,
        blackhole_community=None if session.blackhole_community is None else community(session.blackhole_community),
        blackhole_community_alone=session.blackhole_community_alone,
    )


def _chosen(
    session: Session, server: RouteServer, rules: RoutingPolicy, snapshot: Snapshot, grounds: Grounds, findings: list[str]
) -> tuple[Selection, Selection]:
    """Whom its routes go to, and whose it gets: what the session says; where it says nothing and the policy asks, what its member's aut-num says."""
    asn = snapshot.at(session.member).asn
    lines = grounds.registries.vias(asn) if rules.rpsl_via else ()
    if not lines:
        return session.announces, session.hears
    here = frozenset(each.asn for each in snapshot.of(Member))
    found: list[Selection] = []
    for own, way in ((session.announces, "export-via"), (session.hears, "import-via")):
        told: list[str] = []
        said = (
            chosen(
                lines, way, server.asn or snapshot.of(Exchange)[0].asn, lambda name: grounds.registries.cone(0, [name]).origins & here, told
            )
            if own == Selection()
            else None
        )
        found.append(
            own if said is None else Selection(only=None if said.only is None else tuple(sorted(said.only)), but=tuple(sorted(said.but)))
        )
        findings += [f"{session.id}: AS{asn}'s {each}" for each in told]
    return found[0], found[1]


def _in_group(group: Group, session: Session, snapshot: Snapshot) -> bool:
    """Every line of `group` that says something applies to `session`."""
    site = snapshot.at(snapshot.at(session.port).site)
    member = snapshot.at(session.member)
    return all(
        not wanted or has in wanted
        for wanted, has in (
            (group.sites, site.name),
            (group.levels, site.level),
            (group.provinces, site.province),
            (group.countries, site.country),
            (group.classes, member.member_class),
            (group.members, member.name),
        )
    )


def _accepted(each: AcceptedPrefix) -> Accepted:
    length = each.prefix.prefixlen
    shortest = max(length, each.ge or length)
    longest = each.le if each.le is not None else each.prefix.max_prefixlen if each.ge is not None else length
    return Accepted(str(each.prefix), shortest, max(shortest, longest), each.origin)


def _limit(stated: int | None, general: int | None, rules: RoutingPolicy, *, exact: bool) -> int:
    """Routes that a session may announce: what it states and the margin, else the general limit; and some blackholes beside them."""
    more, percent = (0, 100) if exact else (rules.prefixes_max_margin_routes, 100 + rules.prefixes_max_margin_percent)
    with_margin = general or 1000 if stated is None else -(-(stated + more) * percent // 100)
    return with_margin + (BLACKHOLES_MAX if rules.blackhole else 0)
