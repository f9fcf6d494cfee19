"""Admission to the routing plane: what a session, a route server or a policy must be before a daemon hears of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from nnix.kernel.rule import Broken, rule
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Lan, LanPurpose
from nnix.planes.members.kinds import Exchange, Member
from nnix.planes.routing import bogons
from nnix.planes.routing.communities import (
    AIMS,
    BLACKHOLE,
    GRACEFUL_SHUTDOWN,
    REASON,
    SAID,
    VOCABULARY,
    WISHES,
    Community,
    community,
    short_asn,
    short_key,
)
from nnix.planes.routing.compile import reached
from nnix.planes.routing.kinds import (
    Asked,
    Irr,
    LocalSnippet,
    NextHop,
    Place,
    Role,
    RouteServer,
    RoutingException,
    RoutingPolicy,
    RoutingRegistry,
    Rpki,
    Session,
)
from nnix.planes.routing.sources import clients

ROLE_PAIRS = frozenset(
    {
        (Role.RS, Role.RS_CLIENT),
        (Role.RS_CLIENT, Role.RS),
        (Role.PROVIDER, Role.CUSTOMER),
        (Role.CUSTOMER, Role.PROVIDER),
        (Role.PEER, Role.PEER),
    }
)
Speaker = Session | RouteServer


Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _families(speaker: Speaker, snapshot: Snapshot) -> Iterator[tuple[str, Address | None, Network | None]]:
    """(field, the speaker's address, its LAN's prefix) of each address family; the walk of every rule about addresses."""
    lan = snapshot.at(speaker.lan)
    yield "v4", speaker.v4, lan.v4
    yield "v6", speaker.v6, lan.v6


def _holders(field: str, address: Address, snapshot: Snapshot) -> tuple[Speaker, ...]:
    """Who has `address`, on whatever LAN."""
    return (*snapshot.index(Session, field).get(address, ()), *snapshot.index(RouteServer, field).get(address, ()))


def _inside(speaker: Speaker, snapshot: Snapshot) -> Iterator[Broken]:
    for field, address, prefix in _families(speaker, snapshot):
        if address is None or (isinstance(speaker, Session) and speaker.multihop is not None):
            continue
        if prefix is None:
            yield Broken(
                field, address, f"nothing, since {speaker.lan.id} has no IP{field} prefix", f"give the LAN one, or take {field} out"
            )
        elif address not in prefix:
            yield Broken(field, address, f"an address inside {prefix}, the prefix of {speaker.lan.id}")
        elif prefix.num_addresses > 2 and address == prefix.network_address:
            yield Broken(field, address, f"a host address inside {prefix}; this one is the network itself")
        elif prefix.version == 4 and prefix.num_addresses > 2 and address == prefix.broadcast_address:
            yield Broken(field, address, f"a host address inside {prefix}; this one is the broadcast address")


def _twice(speaker: Speaker, snapshot: Snapshot) -> Iterator[Broken]:
    for field, address, _ in _families(speaker, snapshot):
        if address is None:
            continue
        others = [each.id for each in _holders(field, address, snapshot) if each.id != speaker.id and each.lan == speaker.lan]
        if others:
            yield Broken(field, address, f"an address that nobody else on {speaker.lan.id} has; {others[0]} has this one")


@rule("routing.session-address-in-lan", source="RFC 7948, 4.1")
def session_address_in_lan(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """A session's addresses are host addresses of its LAN, unless its router is several hops away."""
    yield from _inside(session, snapshot)


@rule("routing.route-server-address-in-lan", source="RFC 7947, 2")
def route_server_address_in_lan(server: RouteServer, snapshot: Snapshot) -> Iterator[Broken]:
    """A route server's addresses are host addresses of its LAN."""
    yield from _inside(server, snapshot)


@rule("routing.session-address-once", source="RFC 5227")
def session_address_once(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """No two speakers on a LAN have one address."""
    yield from _twice(session, snapshot)


@rule("routing.route-server-address-once", source="RFC 5227")
def route_server_address_once(server: RouteServer, snapshot: Snapshot) -> Iterator[Broken]:
    """A route server's address is nobody else's on its LAN."""
    yield from _twice(server, snapshot)


def _macs(speaker: Speaker) -> tuple[str, ...]:
    return speaker.macs if isinstance(speaker, Session) else (speaker.mac,) if speaker.mac else ()


def _mac_trouble(speaker: Speaker, snapshot: Snapshot) -> Iterator[Broken]:
    for mac in _macs(speaker):
        field = "macs" if isinstance(speaker, Session) else "mac"
        if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
            yield Broken(field, mac, "the MAC address of one station, not a multicast or zero one")
            continue
        holders: tuple[Speaker, ...] = (*snapshot.where(Session, macs=mac), *snapshot.where(RouteServer, mac=mac))
        others = [each.id for each in holders if each.id != speaker.id and each.lan == speaker.lan and not _one_router(each, speaker)]
        if others:
            yield Broken(field, mac, f"a MAC address that nobody else on lan/{speaker.lan} has; {others[0]} has this one")


def _one_router(a: Speaker, b: Speaker) -> bool:
    """Two sessions behind one port of one member may be one router: it has several addresses then, but one MAC."""
    return isinstance(a, Session) and isinstance(b, Session) and a.member == b.member and a.port == b.port


@rule("routing.session-mac-once", source="IEEE 802.1Q, 8.7")
def session_mac_once(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """A MAC address is on one port of a LAN only. Sessions of one member behind one port may share it."""
    yield from _mac_trouble(session, snapshot)


@rule("routing.route-server-mac-once", source="IEEE 802.1Q, 8.7")
def route_server_mac_once(server: RouteServer, snapshot: Snapshot) -> Iterator[Broken]:
    """A route server's MAC address is nobody else's on its LAN."""
    yield from _mac_trouble(server, snapshot)


@rule("routing.session-has-mac", source="RFC 7948, 4.4")
def session_has_mac(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """A session names the MAC addresses of its router, since ports let nothing else pass."""
    if not session.macs:
        yield Broken("macs", "none", "at least one MAC address", "ask the member for its router's; only a lab has them allocated")


@rule("routing.session-has-address", source="RFC 4271, 3")
def session_has_address(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """A session has an address in at least one family."""
    if session.v4 is None and session.v6 is None:
        yield Broken("v4", "none, and none is left to allocate", f"an address of lan/{session.lan}", "give the LAN a larger prefix")


@rule("routing.session-port-is-the-members", source="IX-F member export 1.0")
def session_port_is_the_members(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """A session stands behind a port of its own member."""
    port = snapshot.at(session.port)
    if port.member != session.member:
        yield Broken("port", session.port, f"a port of {session.member.id}; this one is {port.member.id}'s")


@rule("routing.session-on-peering-lan", source="Euro-IX, quarantine procedure")
def session_on_peering_lan(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """Sessions stand on peering LANs; the quarantine LAN is for ports, by their state, and for a route server that tests them."""
    lan = snapshot.at(session.lan)
    if lan.purpose is not LanPurpose.PEERING:
        yield Broken("lan", session.lan, f"a peering LAN; this one is for {lan.purpose}")


@rule("routing.roles-fit", source="RFC 9234, 4.2")
def roles_fit(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """Roles at the two ends must fit, or the OPEN is answered with Role Mismatch. A route server is the rs of them; where a member's router knows
    no such role, it may say provider or peer, which still keep leaks out."""
    if session.route_servers and session.our_role in (Role.CUSTOMER, Role.RS_CLIENT):
        yield Broken(
            "our_role",
            session.our_role,
            "rs (or provider, or peer), since a route server is at our end",
            "for bilateral peering set route_servers: false",
        )
    elif (session.our_role, session.their_role) not in ROLE_PAIRS:
        fits = next(theirs for ours, theirs in sorted(ROLE_PAIRS) if ours is session.our_role)
        yield Broken("their_role", session.their_role, f"{fits}, since we are {session.our_role}")


@rule("routing.two-route-servers", source="RFC 7948, 4.7", whole=True)
def two_route_servers(lan: Lan, snapshot: Snapshot) -> Iterator[Broken]:
    """A peering LAN with route-server sessions has two route servers at different sites, so that one may fail."""
    if lan.purpose is LanPurpose.PEERING and any(each.route_servers for each in snapshot.where(Session, lan=lan.name)):
        servers = snapshot.where(RouteServer, lan=lan.name)
        sites = {each.site for each in servers}
        if len(sites) < 2:
            found = f"{len(servers)} at {len(sites)} site{'' if len(sites) == 1 else 's'}"
            yield Broken(
                "",
                f"route servers: {found}",
                "at least two route servers at different sites",
                "or set route_servers: false on its sessions",
            )


@rule("routing.families-served", source="RFC 7948, 4.2")
def families_served(server: RouteServer, snapshot: Snapshot) -> Iterator[Broken]:
    """A route server speaks each address family that its LAN has."""
    for field, address, prefix in _families(server, snapshot):
        if prefix is not None and address is None:
            yield Broken(field, "none", f"an address inside {prefix}, since {server.lan.id} has IP{field}")


@rule("routing.router-id-once", source="RFC 6286, 2.1")
def router_id_once(server: RouteServer, snapshot: Snapshot) -> Iterator[Broken]:
    """Route servers of one AS have different BGP identifiers, and none of them is 0.0.0.0."""
    own = server.router_id or server.v4
    if own is None:
        yield Broken("router_id", "none, and no IPv4 address to take it from", "a BGP identifier, written like an IPv4 address")
    elif int(own) == 0:
        yield Broken("router_id", own, "a BGP identifier other than 0.0.0.0")
    else:
        others = [each.id for each in snapshot.of(RouteServer) if each.name != server.name and (each.router_id or each.v4) == own]
        if others:
            yield Broken("router_id" if server.router_id else "v4", own, f"a BGP identifier of its own; {others[0]} has this one")


@rule("routing.route-server-asn", source="RFC 7607, 5398, 6996; RFC 7947, 2.2.2.1")
def route_server_asn(server: RouteServer, snapshot: Snapshot) -> Iterator[Broken]:
    """A route server speaks as a public AS that is no member's, or its own AS would be a loop in members' paths."""
    for exchange in snapshot.of(Exchange):
        asn = server.asn or exchange.asn
        why = bogons.bogon_asn(asn, lab=exchange.lab)
        if why is not None:
            yield Broken("asn", asn, f"a public ASN; this one is kept for other uses ({why.source})")
        for member in snapshot.where(Member, asn=asn):
            if any(each.route_servers and each.lan == server.lan for each in snapshot.where(Session, member=member.name)):
                yield Broken("asn", asn, f"an ASN that is no client's; {member.id} has this one")


@rule("routing.blackhole-next-hop-in-lan", source="RFC 7999, 3.1")
def blackhole_next_hop_in_lan(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Broken]:
    """The next hop of blackholed routes lies in a LAN that the policy serves, and is nobody's address."""
    for field in ("v4", "v6"):
        hop = getattr(policy, f"blackhole_{field}")
        if hop is None:
            continue
        lans = [snapshot.at(each.lan) for each in snapshot.where(RouteServer, policy=policy.name)] or list(snapshot.of(Lan))
        prefixes = sorted({str(prefix) for lan in lans if (prefix := getattr(lan, field)) is not None and hop in prefix})
        if not prefixes:
            yield Broken(f"blackhole_{field}", hop, "an address inside the LAN that the policy's route servers are on")
            continue
        holders = _holders(field, hop, snapshot)
        if holders:
            yield Broken(f"blackhole_{field}", hop, f"an address that nobody has; {holders[0].id} has this one")


@rule("routing.prefix-lengths-in-order", source="RFC 7454, 6.1.3")
def prefix_lengths_in_order(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Broken]:
    """The shortest accepted prefix is not longer than the longest."""
    lengths = policy.prefix_lengths
    for field, low, high in (("v4", lengths.v4_min, lengths.v4_max), ("v6", lengths.v6_min, lengths.v6_max)):
        if low > high:
            yield Broken(f"prefix_lengths.{field}_min", low, f"at most {high}, which is {field}_max")


def _has_clients(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Session]:
    for server in snapshot.where(RouteServer, policy=policy.name):
        yield from clients(server, snapshot)


@rule("routing.irr-has-sources", source="RFC 7948, 4.6.2")
def irr_has_sources(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Broken]:
    """Who checks against registries names some: without sources nothing would be accepted but, where only origins are asked, a member's own ASN."""
    if not (policy.irr_sources or policy.irr_registries) and any(
        (each.irr or policy.irr) is Irr.STRICT for each in _has_clients(policy, snapshot)
    ):
        yield Broken(
            "irr_sources",
            "none",
            "at least one RPSL or bgpq4 file, or a registry, since route objects are asked for",
            "or set irr: off, in the open",
        )


@rule("routing.registry-can-be-asked", source="RFC 7948, 4.6.2")
def registry_can_be_asked(registry: RoutingRegistry, snapshot: Snapshot) -> Iterator[Broken]:
    """A registry says where it is to be asked, by the way that it is asked."""
    if registry.asked is Asked.DUMP:
        if not registry.dumps:
            yield Broken("dumps", "none", "at least one file, since whole databases are read")
        if registry.server:
            yield Broken(
                "server",
                registry.server,
                "nothing, since nobody is asked where whole databases are read",
                "take it out, or set asked: whois",
            )
    else:
        if not registry.server:
            yield Broken("server", "none", "HOST or HOST:PORT, which is asked")
        if registry.dumps:
            yield Broken(
                "dumps", registry.dumps[0], "nothing, since no file is read where a server is asked", "take it out, or set asked: dump"
            )


@rule("routing.rpki-has-sources", source="RFC 7454, 6.1.4")
def rpki_has_sources(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Broken]:
    """Who rejects RPKI-invalid routes names where the VRPs come from: without any, no route would ever be found invalid."""
    asked = [
        field
        for field, is_asked in (
            ("rpki", policy.rpki is not Rpki.OFF),
            ("aspa", policy.aspa is not Rpki.OFF),
            ("roas_are_route_objects", policy.roas_are_route_objects),
        )
        if is_asked
    ]
    if asked and not policy.rpki_sources and any(True for _ in _has_clients(policy, snapshot)):
        yield Broken(
            "rpki_sources", "none", f"at least one VRP file, since {asked[0]} is asked for", f"or set {asked[0]}: off, in the open"
        )


@rule("routing.caches-within-reach", source="RFC 8210, 8")
def caches_within_reach(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Broken]:
    """Every route server of a policy reaches each of its caches."""
    for field in ("rpki_caches", "irr_caches"):
        for index, cache in enumerate(map(snapshot.at, getattr(policy, field))):
            for server in snapshot.where(RouteServer, policy=policy.name):
                if reached(cache, server) is None:
                    yield Broken(
                        f"{field}.{index}",
                        cache.name,
                        f"a cache on {server.lan.id}, for {server.id}; or one with `listen`",
                        "make it two policies",
                    )


@rule("routing.caches-hand-out-its-sources", source="docs/routing.md")
def caches_hand_out_its_sources(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Broken]:
    """What comes by RTR is what the policy rests on: its caches have its one source."""
    for index, cache in enumerate(map(snapshot.at, policy.rpki_caches)):
        if policy.rpki_sources != (cache.source,):
            found = ", ".join(policy.rpki_sources) or "none"
            yield Broken("rpki_sources", found, f"[{cache.source}], which rpki_caches.{index}, {cache.id}, hands out")


@rule("routing.one-policy-for-a-cache", source="docs/rtr.md")
def one_policy_for_a_cache(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Broken]:
    """A cache has route objects of one policy: another one may know others."""
    for index, cache in enumerate(map(snapshot.at, policy.irr_caches)):
        first, *_ = [each for each in snapshot.of(RoutingPolicy) if cache.name in each.irr_caches]
        if first.name != policy.name:
            yield Broken(f"irr_caches.{index}", cache.name, f"a cache that {first.id} does not use for its route objects")


_AS_SET = re.compile(r"(?:[A-Z][A-Z0-9-]*::)?(?:AS[1-9][0-9]*|(?:AS[1-9][0-9]*:)*AS-[A-Z0-9_-]+(?::(?:AS-[A-Z0-9_-]+|AS[1-9][0-9]*))*)")


def _as_sets(as_sets: tuple[str, ...] | None) -> Iterator[Broken]:
    for index, each in enumerate(as_sets or ()):
        if not _AS_SET.fullmatch(each):
            yield Broken(f"as_sets.{index}", each, "an ASN, or an as-set like AS-EXAMPLE, AS64500:AS-CUSTOMERS or RIPE::AS-EXAMPLE")


@rule("routing.member-as-sets-well-formed", source="RFC 2622, 5.1")
def member_as_sets_well_formed(member: Member, snapshot: Snapshot) -> Iterator[Broken]:
    """A member's as-sets are spelled as registries spell them."""
    yield from _as_sets(member.as_sets)


@rule("routing.session-as-sets-well-formed", source="RFC 2622, 5.1")
def session_as_sets_well_formed(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """A session's as-sets are spelled as registries spell them."""
    yield from _as_sets(session.as_sets)


LOOSEST_FIRST = {"irr": tuple(Irr), "rpki": tuple(Rpki), "aspa": tuple(Rpki), "next_hop": (NextHop.SAME_AS, NextHop.STRICT)}
_WAYS_OUT = {"next_hop": "name the routers that it may point to in next_hops"}


def _policies(session: Session, snapshot: Snapshot) -> tuple[RoutingPolicy, ...]:
    """The policies of the route servers that `session` is a client of."""
    if not session.route_servers:
        return ()
    names = dict.fromkeys(str(each.policy) for each in snapshot.where(RouteServer, lan=session.lan))
    return tuple(found for name in names if (found := snapshot.get(RoutingPolicy, name)) is not None)


@rule("routing.loosening-is-an-exception", source="MANRS for IXPs, action 1; RFC 7454, 6")
def loosening_is_an_exception(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """A session itself may only be held to more than its policy; to less, only by an exception, which has an owner and an end."""
    for field, order in LOOSEST_FIRST.items():
        own = getattr(session, field)
        for policy in _policies(session, snapshot) if own is not None else ():
            wanted = getattr(policy, field)
            if order.index(own) < order.index(wanted):
                yield Broken(
                    field,
                    own,
                    f"{wanted} or stricter, as {policy.id} says",
                    _WAYS_OUT.get(field, f"write a RoutingException with {field}: {own}, an owner and an end"),
                )
                break


@rule("routing.exception-says-something", source="RFC 7454, 6")
def exception_says_something(exception: RoutingException, snapshot: Snapshot) -> Iterator[Broken]:
    """An exception excepts from something, on a session that is a client of route servers; lengths are in order."""
    if not any(
        (
            exception.irr,
            exception.irr_more_specifics,
            exception.rpki,
            exception.aspa,
            exception.as_sets_in_paths,
            exception.prefix_lengths,
            exception.prefixes,
            exception.origins,
        )
    ):
        yield Broken("", "nothing that it lets pass", "at least one of irr, rpki, aspa, prefixes, origins and the like")
    if not snapshot.at(exception.session).route_servers:
        yield Broken("session", exception.session, "a session with route servers; this one is bilateral")
    for index, each in enumerate(exception.prefixes):
        low, high = each.ge or each.prefix.prefixlen, each.le if each.le is not None else each.prefix.max_prefixlen
        if not each.prefix.prefixlen <= low <= high <= each.prefix.max_prefixlen:
            yield Broken(f"prefixes.{index}", f"{each.prefix} ge {each.ge} le {each.le}", "lengths from the prefix's own up, in order")


def _not_ours(field: str, text: str, asn: int) -> Iterator[Broken]:
    """A community of the operator's or of a member's own, which must fit its form and mean nothing else here."""
    each: Community = community(text)
    if not each.fits:
        yield Broken(field, text, "numbers that fit: 16 bits each in standard ones, 32 in large ones, 16 and 32 in extended ones")
        return
    stand_in = short_asn(asn)
    keys = {short_key(wish, aim, stand_in) for aim in AIMS for wish in WISHES}
    if each.form == "large" and each.values[0] == asn and any(each.values[1] in functions for functions in VOCABULARY):
        taken = ", ".join(f"{functions[0]} to {functions[-1]}" for functions in VOCABULARY)
        yield Broken(field, text, f"another second number: after {asn}, {taken} are the route server's vocabulary")
    elif each.form != "large" and each.values[0] in keys:
        yield Broken(field, text, f"a community that asks for nothing; {each.values[0]}:* are wishes of members")
    elif each.form == "standard" and (each.values in (BLACKHOLE, GRACEFUL_SHUTDOWN) or each.values[0] == 65535):
        yield Broken(field, text, "a community that is not well-known (RFC 1997: 65535:*)")


def _asn_here(snapshot: Snapshot) -> int:
    return next((each.asn for each in snapshot.of(Exchange)), 0)


@rule("routing.session-communities-free", source="RFC 7454, 11; RFC 8092, 5")
def session_communities_free(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """Communities of a member's own fit their form and ask the route server for nothing."""
    for index, each in enumerate(session.communities):
        yield from _not_ours(f"communities.{index}", each, _asn_here(snapshot))
    if session.blackhole_community is not None:
        yield from _not_ours("blackhole_community", session.blackhole_community, _asn_here(snapshot))


@rule("routing.policy-communities-free", source="RFC 7454, 11; RFC 7999, 3")
def policy_communities_free(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Broken]:
    """The exchange's own communities for blackholes, reasons and what is said mean nothing else; reasons are reasons, and what is said can be said."""
    for index, text in enumerate(policy.blackhole_communities):
        own = community(text)
        stand_in = short_asn(_asn_here(snapshot))
        if own.form == "standard" and own.values == (stand_in, 666) and own.fits:
            continue  # RS:666, the field's habit: no member is AS666 here, or the next rule says so
        yield from _not_ours(f"blackhole_communities.{index}", text, _asn_here(snapshot))
    for member in snapshot.where(Member, asn=666) if policy.blackhole_communities else ():
        yield Broken("blackhole_communities", "RS:666", f"another one: {member.id} is AS666, and RS:666 means announce to it")
    for index, row in enumerate(policy.reason_communities):
        if row.reason not in REASON:
            yield Broken(f"reason_communities.{index}.reason", row.reason, f"a reason: {', '.join(sorted(REASON))}")
        yield from _not_ours(f"reason_communities.{index}.community", row.community, _asn_here(snapshot))
    for index, saying in enumerate(policy.said_communities):
        if saying.said not in SAID:
            yield Broken(f"said_communities.{index}.said", saying.said, f"what is said of a route: {', '.join(sorted(SAID))}")
        yield from _not_ours(f"said_communities.{index}.community", saying.community, _asn_here(snapshot))


@rule("routing.groups-told-apart", source="RFC 8092, 2.1")
def groups_told_apart(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Broken]:
    """Each group has a number of its own, and says who is in it."""
    seen: set[int] = set()
    for index, each in enumerate(policy.groups):
        if each.number in seen:
            yield Broken(f"groups.{index}.number", each.number, "a number that no other group has")
        seen.add(each.number)
        if not any((each.sites, each.levels, each.provinces, each.countries, each.classes, each.members)):
            yield Broken(f"groups.{index}", each.title, "at least one of sites, levels, provinces, countries, classes, members")


@rule("routing.short-asns-told-apart", source="RFC 6996, 5")
def short_asns_told_apart(policy: RoutingPolicy, snapshot: Snapshot) -> Iterator[Broken]:
    """A private ASN stands for one 32-bit ASN, and for nothing else here."""
    taken = {short_asn(_asn_here(snapshot))}
    known: set[int] = set()
    for index, each in enumerate(policy.short_asns):
        if each.asn < 65536:
            yield Broken(f"short_asns.{index}.asn", each.asn, "an ASN of more than 16 bits; others stand for themselves")
        if each.asn in known:
            yield Broken(f"short_asns.{index}.asn", each.asn, "each ASN once")
        if each.short in taken:
            yield Broken(f"short_asns.{index}.short", each.short, "a private ASN that stands for nobody else, nor for the route server")
        for member in snapshot.where(Member, asn=each.short):
            yield Broken(f"short_asns.{index}.short", each.short, f"a private ASN that is nobody's; {member.id} has this one")
        known.add(each.asn)
        taken.add(each.short)


@rule("routing.multihop-has-one-best", source="RFC 7947, 2.3.1; BIRD, protocol bgp")
def multihop_has_one_best(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """A router several hops away needs recursive next hops, and these BIRD has only where one best path is chosen for all."""
    for policy in _policies(session, snapshot) if session.multihop is not None else ():
        if policy.path_hiding_solved and any(each.daemon == "bird" for each in snapshot.where(RouteServer, policy=policy.name)):
            yield Broken(
                "multihop",
                session.multihop,
                f"no multihop while {policy.id} gives each client its own best path: BIRD's sorted tables know no recursive next hop",
                "connect the member on the LAN, or give it a route server of its own with path_hiding_solved: false",
            )
            return


@rule("routing.v4-over-v6-has-no-v4", source="RFC 8950, 4")
def v4_over_v6_has_no_v4(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """A session that carries IPv4 over IPv6 has an IPv6 address and no IPv4 one, or its routes would come twice."""
    if session.v4_over_v6 and session.v6 is None:
        yield Broken("v6", "none", "an IPv6 address, since IPv4 routes shall come over IPv6")
    if session.v4_over_v6 and session.v4 is not None:
        yield Broken("v4", session.v4, "no IPv4 address beside v4_over_v6")


@rule("routing.one-tcp-authentication", source="RFC 5925, 1")
def one_tcp_authentication(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """TCP-AO obsoletes MD5: a connection has one of them."""
    if session.password is not None and session.tcp_ao is not None:
        yield Broken("tcp_ao", "given beside password", "one of the two")


@rule("routing.blackhole-community-is-used", source="RFC 7999, 3.2")
def blackhole_community_is_used(session: Session, snapshot: Snapshot) -> Iterator[Broken]:
    """Who wants BLACKHOLE replaced says by what, and hears of blackholes at all."""
    if session.blackhole_community_alone and session.blackhole_community is None:
        yield Broken("blackhole_community_alone", "true", "a blackhole_community to take the place of BLACKHOLE")
    if session.blackhole_community is not None and not session.blackhole:
        yield Broken("blackhole_community", session.blackhole_community, "blackhole: true, or else it hears of none")


@rule("routing.snippet-stays-in-its-place", source="BIRD and OpenBGPD, their configuration languages")
def snippet_stays_in_its_place(snippet: LocalSnippet, snapshot: Snapshot) -> Iterator[Broken]:
    """A snippet closes the braces and quotes that it opens and no others, so that it cannot leave its place; secrets stand by reference only."""
    depth, quoted = 0, False
    for line in snippet.text.splitlines():
        for sign in "" if line.lstrip().startswith("#") else line:
            if sign == '"':
                quoted = not quoted
            elif sign in "{}" and not quoted:
                depth += 1 if sign == "{" else -1
                if depth < 0:
                    yield Broken("text", line.strip()[:60], "braces that are opened before they are closed")
                    return
    if depth or quoted:
        yield Broken("text", "a brace or a quotation mark that stays open", "all of them closed")
    if "@" in snippet.text or "/*" in snippet.text:
        yield Broken("text", "@ or /*", "a text without placeholders and without comments that could swallow what follows")
    if snippet.place is not Place.HEAD and re.search(r"(?m)^\s*(?:protocol|template|table|include)\b", snippet.text):
        yield Broken("place", snippet.place, "head, for top-level statements")


RULES = (
    session_address_in_lan,
    route_server_address_in_lan,
    session_address_once,
    route_server_address_once,
    session_mac_once,
    route_server_mac_once,
    session_has_mac,
    session_has_address,
    session_port_is_the_members,
    session_on_peering_lan,
    roles_fit,
    two_route_servers,
    families_served,
    router_id_once,
    route_server_asn,
    blackhole_next_hop_in_lan,
    prefix_lengths_in_order,
    irr_has_sources,
    registry_can_be_asked,
    rpki_has_sources,
    caches_within_reach,
    caches_hand_out_its_sources,
    one_policy_for_a_cache,
    member_as_sets_well_formed,
    session_as_sets_well_formed,
    loosening_is_an_exception,
    exception_says_something,
    session_communities_free,
    policy_communities_free,
    groups_told_apart,
    short_asns_told_apart,
    multihop_has_one_best,
    v4_over_v6_has_no_v4,
    one_tcp_authentication,
    blackhole_community_is_used,
    snippet_stays_in_its_place,
)
