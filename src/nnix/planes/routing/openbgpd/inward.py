"""The way in: the import tests in the order of `compile.ORDER`, what is put on a route that is refused, and what on one that is accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from nnix.planes.routing.communities import (
    AIMS,
    BLACKHOLE,
    GRACEFUL_SHUTDOWN,
    REASON,
    REFUSED,
    REFUSED_FROM,
    SAID,
    WISH,
    WISHES,
    community,
    large_function,
)
from nnix.planes.routing.kinds import NoExport, Place, RefusedRoutes
from nnix.planes.routing.naming import Family, word
from nnix.planes.routing.openbgpd.authorised import origins, registries
from nnix.planes.routing.openbgpd.marks import (
    EXCEPTED,
    HELD_BACK,
    HOP6,
    INSIDE,
    LONG_WAY,
    NOBODY,
    SAY_FUNCTIONS,
    SESSION,
    TABLE_REFUSED,
    WELL_KNOWN,
)
from nnix.planes.routing.openbgpd.neighbours import address_of, families, peers, several_sessions
from nnix.planes.routing.openbgpd.sets import excepted_by_origin, transit_free_clients
from nnix.planes.routing.openbgpd.words import (
    EVERYTHING,
    Rule,
    any_form,
    aside,
    clear,
    controls,
    judge,
    keeps_refused,
    line,
    local_text,
    longer_than_accepted,
    ours,
    own_large,
    saying,
    set_aside,
    standard,
    suspect,
    together,
    without,
)

if TYPE_CHECKING:
    from nnix.planes.routing.compile import ServerPolicy

LOCAL_PREF = 100  # what OpenBGPD itself gives a route


def inward(server: ServerPolicy) -> Iterator[str]:
    """What members announce, into the table of refused routes and into the one that is passed on: a rule belongs to one table."""
    rules = list(_tests(server))
    if keeps_refused(server):
        for rule in rules:
            if rule.refused:
                yield line(f"allow quick rib {TABLE_REFUSED} from", rule.peer, rule.test, "set", together(*_reason(server, rule.refused)))
            elif not rule.known:
                yield line(f"match rib {TABLE_REFUSED} from", rule.peer, rule.test, "set", rule.change)
    yield f"deny rib {TABLE_REFUSED} from any"
    yield ""
    for rule in (*rules, *_marks(server)):
        if not rule.refused:
            yield line("match from", rule.peer, rule.test, "set", rule.change)
        elif server.policy.refused is RefusedRoutes.TAG:
            said = (without(server, function) for function in SAY_FUNCTIONS)  # or it would go out the short way
            stays = (*said, *_reason(server, rule.refused), ours(server, NOBODY, 0), ours(server, LONG_WAY, 0), "localpref 0")
            yield line("allow quick from", rule.peer, rule.test, "set", together(*stays))
        else:
            yield line("deny quick from", rule.peer, rule.test)
    yield from local_text(server, Place.IMPORT)
    yield "allow from any"


def _reason(server: ServerPolicy, slug: str) -> Iterator[str]:
    """What is put on a refused route that is kept."""
    yield without(server, REFUSED)
    yield ours(server, REFUSED, REASON[slug].number)
    if server.policy.refused_tells_announcer:
        yield ours(server, REFUSED_FROM, "neighbor-as")
    for row in server.policy.reason_communities:
        if row.reason == slug:
            yield any_form(community(row.community))


def _scrub(server: ServerPolicy) -> Iterator[str]:
    """What the route server says of a route, no member may say in its stead."""
    unspoken = [large_function(wish, aim) for aim in AIMS if aim not in server.aims for wish in WISHES]  # of groups where there are none
    for function in (*INSIDE, REFUSED, REFUSED_FROM, *SAY_FUNCTIONS, *unspoken):
        yield without(server, function)
    for function in SAY_FUNCTIONS:
        yield aside(function, delete="delete ")
    mapped = {community(row.community) for row in server.policy.reason_communities}
    for each in sorted({*server.attached, *mapped, *(each for _, each in server.says)}):
        yield any_form(each, "delete ")
    for each in own_large(server):
        yield set_aside(each, "delete ")


def _tests(server: ServerPolicy) -> Iterator[Rule]:
    """Import tests in the order of `compile.ORDER`, and what is said of who passes them."""
    policy = server.policy
    lengths = policy.prefix_lengths
    shortest: dict[Family, int] = {4: lengths.v4_min, 6: lengths.v6_min}
    for each in server.blackholes:  # one word for one thing, from here on
        yield Rule(any_form(each), together(any_form(each, "delete "), standard(BLACKHOLE)))
    yield Rule(change=together(*_scrub(server)))
    yield Rule(f"large-community {server.asn}:*:*", ours(server, LONG_WAY, 0), known=True)
    for family in server.families:
        yield Rule(f"prefix {EVERYTHING[family]}", refused="default_route")
    if server.v6 is not None:
        yield suspect(server, "not_global_unicast", "inet6")
        yield clear(server, "not_global_unicast", "prefix 2000::/3 or-longer")
        yield judge(server, "not_global_unicast")
    if server.lans_v4 or server.lans_v6:
        yield Rule('prefix-set "lans"', refused="exchange_lan")
    if server.bogons_v4 or server.bogons_v6:
        yield Rule('prefix-set "bogons"', refused="bogon")
    if server.blacklist_v4 or server.blacklist_v6:
        yield Rule('prefix-set "blacklist"', refused="blacklisted")
    for client in server.clients:
        if client.blacklist_v4 or client.blacklist_v6:
            yield from (Rule(f'prefix-set "b_{word(client.session)}"', refused="blacklisted", peer=peer) for peer in peers(client))
    for beyond in longer_than_accepted(server).values():
        yield suspect(server, "prefix_len_too_long", beyond)
    if policy.blackhole:
        yield clear(server, "prefix_len_too_long", standard(BLACKHOLE))
    yield judge(server, "prefix_len_too_long")
    for family in server.families:
        if shortest[family] > 1:
            yield Rule(f"prefix {EVERYTHING[family]} prefixlen < {shortest[family]}", refused="prefix_len_too_short")
    yield suspect(server, "as_path_too_short", f"peer-as {server.asn}")  # an empty path counts as ours
    yield clear(server, "as_path_too_short", f"AS {server.asn}")
    yield judge(server, "as_path_too_short")
    yield Rule(f"max-as-len {policy.path_length_max}", refused="as_path_too_long")
    yield Rule(f"AS {server.asn}", refused="own_asn_in_path")
    for first, last in server.bogon_asns:
        yield Rule(f"AS {first}" if first == last else f"AS {first} - {last}", refused="bogon_asn")
    yield from _leaks(server)
    if server.never:
        yield Rule('AS as-set "never"', refused="never_via_route_server")
    yield suspect(server, "first_as_not_peer_as")
    yield clear(server, "first_as_not_peer_as", "peer-as neighbor-as")
    yield judge(server, "first_as_not_peer_as")
    yield suspect(server, "next_hop_not_peer_ip")
    yield clear(server, "next_hop_not_peer_ip", "nexthop neighbor")
    for client in server.clients:
        for family in families(client):
            hops: Sequence[IPv4Address | IPv6Address] = client.next_hops_v4 if family == 4 else client.next_hops_v6
            own = address_of(client, family)
            yield from (clear(server, "next_hop_not_peer_ip", f"nexthop {hop}", str(own)) for hop in hops if hop != own)
    yield judge(server, "next_hop_not_peer_ip")
    yield from registries(server)
    yield from origins(server)


def _leaks(server: ServerPolicy) -> Iterator[Rule]:
    """Networks that buy from no one, behind another: but those of the announcer's own organisation are no leak."""
    if not server.transit_free:
        return
    yield suspect(server, "transit_free_asn", 'AS as-set "transit_free"')
    for asn, others in transit_free_clients(server):
        yield clear(server, "transit_free_asn", peer=f"AS {asn}")
        if others:
            yield suspect(server, "transit_free_asn", f'AS as-set "transit_free_for_{asn}"', f"AS {asn}")
    if not server.policy.transit_free_warns:
        yield judge(server, "transit_free_asn")
        return
    yield Rule(ours(server, REFUSED, REASON["transit_free_asn"].number), saying(server, "transit_free_behind"), known=True)
    yield clear(server, "transit_free_asn")


def _marks(server: ServerPolicy) -> Iterator[Rule]:
    """What an accepted route is given: preference, next hop, and the long way out where there is something to heed."""
    policy = server.policy
    long_way, nobody = ours(server, LONG_WAY, 0), ours(server, NOBODY, 0)
    if any(excepted_by_origin(client) for client in server.clients):
        yield Rule(change=without(server, EXCEPTED))
    for peer, number in several_sessions(server):
        yield Rule("", ours(server, SESSION, number), peer=peer)
    for client in server.clients:
        changes = [any_form(each) for each in client.communities]
        if client.announce_only is not None:
            changes += [ours(server, WISH["not"].large, 0), *(ours(server, WISH["to"].large, asn) for asn in client.announce_only)]
        changes += [ours(server, WISH["not"].large, asn) for asn in client.announce_not]
        if client.announce_only is not None or client.announce_not:
            changes.append(long_way)
        for peer in peers(client):
            if changes:
                yield Rule("", together(*changes), peer=peer)
        if client.v4_over_v6:
            yield Rule("inet", together(ours(server, HOP6, 0), long_way), peer=str(client.v6))
    for slug, each in server.says:
        yield Rule(saying(server, slug), any_form(each))
    if policy.graceful_shutdown:
        yield Rule(standard(GRACEFUL_SHUTDOWN), "localpref 0")
    for client in server.clients:
        if client.graceful_shutdown is not policy.graceful_shutdown:
            local_pref = 0 if client.graceful_shutdown else LOCAL_PREF
            yield from (Rule(standard(GRACEFUL_SHUTDOWN), f"localpref {local_pref}", peer=peer) for peer in peers(client))
    if policy.no_export is NoExport.OBEY:
        yield from (Rule(f"community {name}", together(nobody, long_way)) for name in WELL_KNOWN.values())
    if policy.blackhole:
        for family, hop in (("inet", policy.blackhole_v4), ("inet6", policy.blackhole_v6)):
            if hop is not None:
                yield Rule(f"{family} {standard(BLACKHOLE)}", f"nexthop {hop}")
        yield Rule(standard(BLACKHOLE), together(without(server, NOBODY), ours(server, HELD_BACK, 1), long_way))
    for number, name in WELL_KNOWN.items():
        yield Rule(f"community {name}", together(f"community delete {name}", ours(server, HELD_BACK, number), long_way))
    for control in controls(server):
        yield Rule(control, long_way)
    for said in SAID.values():
        move = together(without(server, said.function, said.value), aside(said.function, said.value))
        yield Rule(f"{ours(server, said.function, said.value)} {long_way}", move)
    for each in own_large(server):
        yield Rule(f"{any_form(each)} {long_way}", together(any_form(each, "delete "), set_aside(each)))
