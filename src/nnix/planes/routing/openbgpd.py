"""A server's policy in OpenBGPD's language (7.7 and newer; what 7.7 lacks is asked for by name, and refused there).

OpenBGPD has no functions, variables or negation: rules stand in a row, the first `quick` one that fits decides, and `match` changes the
route on its way. So a test that must *fail* to refuse is spelled backwards: the route is first marked with the reason's own community, the
mark is taken off where the test passes, and whoever still bears it is refused. The same way a wish is remembered from one rule to the next.

What is refused leaves the daemon's table, and nothing would say why. So there is a second table, `refused`, which takes no part in choosing:
its rules are the same tests, but let in exactly what the others keep out, under the reason's community. `read.py` looks there.

`rde evaluate all` is what hides nothing behind a best path (RFC 7947, 2.3.1): where the best route may not go to a member, the next best is
tried. The Adj-RIB-In keeps what members sent, so that a new policy, route object or ROA is applied without asking anything of them.

It gives up as well when the best route is the member's own, and tells it nothing where BIRD tells the second best; so that a route does not go
where it came from is a rule here, too.

Three things OpenBGPD does unasked, and a route server must not. It keeps routes with NO_EXPORT and its kin to itself (7.7 always, 8.8 unless
`transparent-as`); they are hidden under communities of our own while inside. It ends the session of who sends a foreign first AS, and drops
paths that hold its own, unsaid; both are turned off, and are rules here. Whether an AS_SET is taken differs between versions; it is said.
Such a path, and an OTC leak (RFC 9234), the daemon itself finds before any rule is asked; they stay in the Adj-RIB-In, marked.

Communities of ours that a member may not send (RFC 7454, 11) cannot be told from its wishes by a range, as there are none. Those that we use
ourselves are taken off on the way in; all others lead the route to the long way out, where nothing of ours is left on it but what we say.
A route without any wish takes the short way: one rule.

Roles are spelled differently by version. The driver lays the words beside the configuration (`@HOME@/words.conf`), and says what a version
lacks of that which a line `# needs: FEATURE RESOURCE: MEND` asks for.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from nnix.kernel.rule import Refusal
from nnix.planes.routing.birdc import Entry
from nnix.planes.routing.communities import (
    BLACKHOLE,
    GRACEFUL_SHUTDOWN,
    NOT,
    ORIGIN_VALIDITY,
    PREPEND_LARGE,
    PREPEND_SHORT,
    REASON,
    REFUSED,
    REGISTERED,
    SAID,
    TO,
)
from nnix.planes.routing.kinds import AddPaths, Irr, LimitAction, Role, RoutingPolicy, Rpki
from nnix.planes.routing.naming import Family, protocol_name, word

if TYPE_CHECKING:
    from nnix.planes.routing.compile import ClientPolicy, ServerPolicy
    from nnix.planes.routing.rpki import RoaTable

TABLE_REFUSED = "refused"

# Functions of large communities that never leave the route server: what a route is remembered by from one rule to the next.
_HELD_BACK = 4294960000  # :1 NO_EXPORT, :2 NO_ADVERTISE, :3 NO_EXPORT_SUBCONFED
_SAYS = {ORIGIN_VALIDITY: 4294960001, REGISTERED: 4294960002}  # what we say of a route that takes the long way out
_LONG_WAY = 4294960003  # :0 it has wishes, or communities that are not its own to send
_CLOSED = 4294960004  # :0 to no one but those who are named
_PREPENDS = 4294960005  # :<n> so often is the announcer's ASN put in front
_SESSION = 4294960006  # :<n> on which of its announcer's sessions it came, where there are several
_OWN = 4294960007  # :0 it came from the very session that it would go to
_INSIDE = (_HELD_BACK, *_SAYS.values(), _LONG_WAY, _CLOSED, _PREPENDS, _SESSION, _OWN)

_WELL_KNOWN = {1: "NO_EXPORT", 2: "NO_ADVERTISE", 3: "NO_EXPORT_SUBCONFED"}
_WELL_KNOWN_NUMBERS = {1: "(65535,65281)", 2: "(65535,65282)", 3: "(65535,65283)"}
_KINDS_OF_EXTENDED = ("rt", "soo")
_EVERYTHING: dict[Family, str] = {4: "0.0.0.0/0", 6: "::/0"}
_WIDEST: dict[Family, int] = {4: 32, 6: 128}


def spell(server: ServerPolicy) -> str:
    """The whole configuration of one route server."""
    parts = [
        _head(server),
        _sets(server),
        *(_neighbour(client, server, family) for client in server.clients for family in _families(client)),
        "",
        *_inward(server),
        "",
        *_outward(server),
    ]
    return "\n".join(parts) + "\n"


def cannot(server: ServerPolicy) -> Iterator[Refusal]:
    """What of `server` no version of OpenBGPD does."""
    policy = server.policy
    rule, source = "routing.daemon-can", "bgpd.conf(5)"
    yield from _not_spelled(server)
    if policy.limit_action not in (LimitAction.RESTART, LimitAction.SHUTDOWN):
        yield Refusal(
            policy.id,
            "limit_action",
            f"{policy.limit_action}, by route-server/{server.name} (openbgpd)",
            "restart or shutdown, as OpenBGPD ends the session above a limit",
            rule,
            source,
            "or daemon: bird there, or a policy of its own for it",
        )
    if policy.limit_action is LimitAction.RESTART and policy.limit_restart_seconds % 60:
        yield Refusal(
            policy.id,
            "limit_restart_seconds",
            f"{policy.limit_restart_seconds}, by route-server/{server.name} (openbgpd)",
            "whole minutes: a multiple of 60",
            rule,
            source,
            "or daemon: bird there, or a policy of its own for it",
        )
    for field in ("rpki_caches", "irr_caches"):
        if getattr(policy, field):
            yield Refusal(
                policy.id,
                field,
                f"{', '.join(getattr(policy, field))}, for route-server/{server.name} (openbgpd)",
                "none: its filters cannot ask whether VRPs have arrived, so it would let everything pass until then, and it has one table",
                rule,
                source,
                "or daemon: bird there, or a policy of its own for it",
            )


_SPELLED_ONLY_AS = RoutingPolicy(name="as-it-is")
_POLICY_NOT_SPELLED = (
    "path_hiding_solved",
    "communities_max",
    "no_export",
    "refused",
    "refused_tells_announcer",
    "reason_communities",
    "tells_announcer",
    "roas_are_route_objects",
    "blacklist",
    "transit_free_warns",
    "blackhole_communities",
    "groups",
    "short_asns",
    "rtt_thresholds",
    "limit_counts",
    "pauses",
    "connect_retry_seconds",
    "graceful_restart_seconds",
    "long_lived_seconds",
)


def _not_spelled(server: ServerPolicy) -> Iterator[Refusal]:
    """What a policy may say and this file has no words for: refused by name, since to leave it out would be a hole that nobody sees."""
    policy = server.policy

    def refusal(resource: str, field: str, found: object) -> Refusal:
        return Refusal(
            resource,
            field,
            f"{found}, by route-server/{server.name} (openbgpd)",
            "what is spelled for OpenBGPD as well: leave it as it is by default",
            "routing.daemon-can",
            "bgpd.conf(5)",
            "or daemon: bird there, or a policy of its own for it",
        )

    for field in _POLICY_NOT_SPELLED:
        if getattr(policy, field) != getattr(_SPELLED_ONLY_AS, field):
            yield refusal(policy.id, field, getattr(policy, field))
    if server.shutting_down:
        yield refusal(f"route-server/{server.name}", "shutting_down", "true")
    for client in server.clients:
        for field, is_set in (
            ("v4_over_v6", client.v4_over_v6),
            ("prefix_lengths", client.lengths != policy.prefix_lengths),
            ("blacklist", bool(client.blacklist_v4 or client.blacklist_v6)),
            ("irr", client.irr is Irr.TAG),
            ("irr_more_specifics", client.irr_more_specifics != policy.irr_more_specifics),
            ("prefixes", bool(client.accepted_v4 or client.accepted_v6)),
            ("rpki", client.rpki is not policy.rpki or client.rpki is Rpki.TAG),
            ("aspa", client.aspa is not Rpki.OFF),
            ("as_sets_in_paths", client.as_sets_in_paths),
            ("limit_action", client.limit_action is not policy.limit_action),
            ("hold_time_seconds", client.hold_time_seconds != policy.hold_time_seconds),
            ("password", client.password is not None),
            ("tcp_ao", client.tcp_key is not None),
            ("gtsm", client.gtsm),
            ("multihop", client.multihop is not None),
            ("bfd", client.bfd),
            ("add_paths", client.add_paths is not AddPaths.OFF),
            ("prepend_route_server", client.prepend_route_server),
            ("our_role", client.role is not Role.RS),
            ("communities", bool(client.communities)),
            ("announces", client.announce_only is not None or bool(client.announce_not)),
            ("hears", client.hear_only is not None or bool(client.hear_not)),
            ("blackhole_community", client.blackhole_community is not None),
        ):
            if is_set:
                yield refusal(f"session/{client.session}", field, "set")
    for snippet in server.snippets:
        yield refusal(f"local-snippet/{snippet.name}", "daemon", "openbgpd")


def meant(route: Entry) -> Entry:
    """A route of the daemon's table without the marks that it bears only inside, as it would stand in a table of BIRD. Pure."""
    route = route._replace(large=tuple(each for each in route.large if each[1] not in (_SESSION, _OWN)))
    ours = {asn for asn, function, _ in route.large if function == _LONG_WAY}
    held_back = {value for asn, function, value in route.large if asn in ours and function == _HELD_BACK}
    said = {inside: function for function, inside in _SAYS.items()}
    kept = (NOT, TO, *PREPEND_LARGE.values(), *_SAYS)
    large = tuple(
        (asn, said.get(function, function), value) for asn, function, value in route.large if asn not in ours or function in (*kept, *said)
    )
    if not ours:
        return route
    standard = " ".join(filter(None, (route.attributes.get("community", ""), *(_WELL_KNOWN_NUMBERS[each] for each in sorted(held_back)))))
    attributes = {**route.attributes, "large_community": " ".join(f"({a}, {b}, {c})" for a, b, c in large)}
    return route._replace(large=large, attributes={**attributes, "community": standard} if standard else attributes)


# what stands before the rules ---------------------------------------------------------------------------------------


def _head(server: ServerPolicy) -> str:
    rows = [
        f"# nnix: route-server/{server.name}, AS{server.asn}. Written by a program; what is changed here by hand does not stay.",
        'include "@HOME@/words.conf"',
        f"AS {server.asn}",
        f"router-id {server.router_id}",
        *(f"listen on {address}" for address in (server.v4, server.v6) if address is not None),
        "fib-update no",
        "transparent-as yes",
        "rde evaluate all",
        "rde med compare strict",
        "rde route-age ignore",
        "reject as-set yes",  # RFC 9774; 7.7 takes them by default, 8.8 does not
        f"rde rib {TABLE_REFUSED} no evaluate",
        f"holdtime {server.policy.hold_time_seconds}",
        "connect-retry 10",
    ]
    if server.policy.roles and any(not client.role_strict for client in server.clients):
        rows.append(
            f"# needs: otc-unasked route-server/{server.name}: set role_strict: true on every session, so that all send a role,"
            " or roles: false in its policy"
        )
    return "\n".join(rows)


def _sets(server: ServerPolicy) -> str:
    """Registries, VRPs and lists of ASNs, once for all clients."""
    rows: list[str] = []
    policy = server.policy
    for name, tables in (
        ("registered", (server.registered_v4, server.registered_v6)),
        ("registered_covering", (server.registered_covering_v4, server.registered_covering_v6)),
        ("vrps_covering", (server.vrps_covering_v4, server.vrps_covering_v6)),
    ):
        rows += _braced(f'origin-set "{name}"', _roas(tables))
    if policy.rpki is not Rpki.OFF:
        rows += _braced("roa-set", _roas((server.vrps_v4, server.vrps_v6)))
    rows += _braced('as-set "never"', map(str, server.never))
    rows += _braced('as-set "transit_free"', map(str, server.transit_free))
    for own in _transit_free_clients(server):
        rows += _braced(f'as-set "transit_free_but_{own}"', (str(asn) for asn in server.transit_free if asn != own))
    rows += _braced('prefix-set "lans"', (f"{each} or-longer" for each in (*server.lans_v4, *server.lans_v6)))
    rows += _braced('prefix-set "bogons"', (f"{each} or-longer" for each in (*server.bogons_v4, *server.bogons_v6)))
    for client in server.clients:
        if client.origins is not None:
            rows += _braced(f'as-set "o_{word(client.session)}"', map(str, client.origins))
        for family in _families(client):
            rows += _braced(f'prefix-set "p{family}_{word(client.session)}"', _listed(_prefixes(client, family), server, family))
    return "\n".join(rows)


def _braced(head: str, entries: Iterable[str]) -> Iterator[str]:
    """A set; nothing where it would be empty, which the grammar does not know."""
    rows = list(entries)
    if rows:
        yield f"{head} {{"
        yield from (f"  {row}" for row in rows)
        yield "}"


def _roas(tables: Iterable[RoaTable]) -> Iterator[str]:
    for table in tables:
        for prefix, longest, origin in table.roas:
            yield f"{prefix} maxlen {longest} source-as {origin}"


def _neighbour(client: ClientPolicy, server: ServerPolicy, family: Family) -> str:
    policy = server.policy
    limit = client.routes_max_v4 if family == 4 else client.routes_max_v6
    pause = f" restart {policy.limit_restart_seconds // 60}" if policy.limit_action is LimitAction.RESTART else ""
    rows = [
        f"# session: session/{client.session}",
        f"remote-as {client.asn}",
        f'descr "{protocol_name(client.session, family)}"',
        f"local-address {server.v4 if family == 4 else server.v6}",
        f"announce IPv{family} unicast",
        "passive" if client.passive else "",
        "enforce neighbor-as no",
        "enforce local-as no",
        f"max-prefix {limit}{pause}",
        "$role_rs" if policy.roles else "",
        ("$announce_role_strict" if client.role_strict else "$announce_role") if policy.roles else "$announce_no_role",
    ]
    body = "".join(f"  {row}\n" for row in rows if row)
    return f"neighbor {_address(client, family)} {{ # member/{client.member}, AS{client.asn}\n{body}}}"


def _families(client: ClientPolicy) -> tuple[Family, ...]:
    both: tuple[Family, ...] = (4, 6)
    return tuple(family for family in both if _address(client, family) is not None)


def _address(client: ClientPolicy, family: Family) -> IPv4Address | IPv6Address | None:
    return client.v4 if family == 4 else client.v6


def _hops(client: ClientPolicy, family: Family) -> Sequence[IPv4Address | IPv6Address]:
    return client.next_hops_v4 if family == 4 else client.next_hops_v6


def _prefixes(client: ClientPolicy, family: Family) -> Sequence[str]:
    return client.prefixes_v4 if family == 4 else client.prefixes_v6


def _transit_free_clients(server: ServerPolicy) -> tuple[int, ...]:
    """Clients that are transit-free themselves: where they announce, their own ASN is no leak."""
    return tuple(sorted({client.asn for client in server.clients} & set(server.transit_free)))


def _listed(prefixes: Iterable[str], server: ServerPolicy, family: Family) -> Iterator[str]:
    """Registered prefixes without a known origin, with their lengths; where blackholing is on, with the host routes inside."""
    lengths = server.policy.prefix_lengths
    longest = lengths.v4_max if family == 4 else lengths.v6_max
    for each in prefixes:
        prefix, _, pattern = each.partition("{")
        length = int(prefix.rpartition("/")[2])
        low, high = (int(part) for part in pattern.rstrip("}").split(",")) if pattern else (length, length)
        if server.policy.irr_more_specifics:
            high = max(high, longest)
        yield prefix if (low, high) == (length, length) else f"{prefix} prefixlen {low} - {high}"
        if server.policy.blackhole and longest < _WIDEST[family]:
            yield f"{prefix} prefixlen {max(longest + 1, length)} - {_WIDEST[family]}"


# rules --------------------------------------------------------------------------------------------------------------


class _Rule(NamedTuple):
    """A rule on what `peer` announces: whoever passes `test` is refused as `refused`, or else changed by `change`.

    `known` says that it is for accepted routes only, so that the table of refused ones does without it.
    """

    test: str = ""
    change: str = ""
    refused: str = ""
    peer: str = "any"
    known: bool = False


def _words(*words: str) -> str:
    return " ".join(filter(None, words))


def _inward(server: ServerPolicy) -> Iterator[str]:
    """What members announce, into the table of refused routes and into the one that is passed on: a rule belongs to one table."""
    rules = list(_tests(server))
    for rule in rules:
        if rule.refused:
            number = REASON[rule.refused].number
            mark = f"set {{ {_without(server, REFUSED)} {_large(server, REFUSED, number)} }}"
            yield _words(f"allow quick rib {TABLE_REFUSED} from", rule.peer, rule.test, mark)
        elif not rule.known:
            yield _words(f"match rib {TABLE_REFUSED} from", rule.peer, rule.test, "set", rule.change)
    yield f"deny rib {TABLE_REFUSED} from any"
    yield ""
    for rule in (*rules, *_marks(server)):
        yield (
            _words("deny quick from", rule.peer, rule.test)
            if rule.refused
            else _words("match from", rule.peer, rule.test, "set", rule.change)
        )
    yield "allow from any"


def _large(server: ServerPolicy, function: int, value: int | str = "*") -> str:
    return f"large-community {server.asn}:{function}:{value}"


def _without(server: ServerPolicy, function: int, value: int | str = "*") -> str:
    return f"large-community delete {server.asn}:{function}:{value}"


def _standard(pair: tuple[int, int]) -> str:
    return f"community {pair[0]}:{pair[1]}"


def _said(server: ServerPolicy, slug: str) -> str:
    return _large(server, SAID[slug].function, SAID[slug].value)


def _suspect(server: ServerPolicy, slug: str, test: str = "", peer: str = "any") -> _Rule:
    """Who passes `test` bears the mark of `slug` from here on."""
    return _Rule(test, _large(server, REFUSED, REASON[slug].number), peer=peer)


def _clear(server: ServerPolicy, slug: str, test: str = "", peer: str = "any") -> _Rule:
    """Who passes `test` does not bear the mark of `slug` any longer."""
    return _Rule(test, _without(server, REFUSED, REASON[slug].number), peer=peer)


def _judge(server: ServerPolicy, slug: str) -> _Rule:
    """Who still bears the mark is refused."""
    return _Rule(_large(server, REFUSED, REASON[slug].number), refused=slug)


def _served(server: ServerPolicy) -> tuple[Family, ...]:
    both: tuple[Family, ...] = (4, 6)
    return tuple(family for family in both if (server.v4 if family == 4 else server.v6) is not None)


def _beyond(server: ServerPolicy) -> dict[Family, str]:
    """The test for prefixes that are longer than the policy accepts: host routes, where they are to be blackholed."""
    lengths = server.policy.prefix_lengths
    longest: dict[Family, int] = {4: lengths.v4_max, 6: lengths.v6_max}
    return {
        family: f"prefix {_EVERYTHING[family]} prefixlen > {longest[family]}"
        for family in _served(server)
        if longest[family] < _WIDEST[family]
    }


def _tests(server: ServerPolicy) -> Iterator[_Rule]:
    """Import tests in the order of `compile.ORDER`, and what is said of who passes them."""
    policy = server.policy
    lengths = policy.prefix_lengths
    shortest: dict[Family, int] = {4: lengths.v4_min, 6: lengths.v6_min}
    ours = (*_INSIDE, REFUSED, ORIGIN_VALIDITY, REGISTERED)
    yield _Rule(change=f"{{ {' '.join(_without(server, function) for function in ours)} }}")
    yield _Rule(f"large-community {server.asn}:*:*", _large(server, _LONG_WAY, 0), known=True)
    for family in _served(server):
        yield _Rule(f"prefix {_EVERYTHING[family]}", refused="default_route")
    if server.v6 is not None:
        yield _suspect(server, "not_global_unicast", "inet6")
        yield _clear(server, "not_global_unicast", "prefix 2000::/3 or-longer")
        yield _judge(server, "not_global_unicast")
    if server.lans_v4 or server.lans_v6:
        yield _Rule('prefix-set "lans"', refused="exchange_lan")
    if server.bogons_v4 or server.bogons_v6:
        yield _Rule('prefix-set "bogons"', refused="bogon")
    for beyond in _beyond(server).values():
        yield _suspect(server, "prefix_len_too_long", beyond)
    if policy.blackhole:
        yield _clear(server, "prefix_len_too_long", _standard(BLACKHOLE))
    yield _judge(server, "prefix_len_too_long")
    for family in _served(server):
        if shortest[family] > 1:
            yield _Rule(f"prefix {_EVERYTHING[family]} prefixlen < {shortest[family]}", refused="prefix_len_too_short")
    yield _suspect(server, "as_path_too_short", f"peer-as {server.asn}")  # an empty path counts as ours
    yield _clear(server, "as_path_too_short", f"AS {server.asn}")
    yield _judge(server, "as_path_too_short")
    yield _Rule(f"max-as-len {policy.path_length_max}", refused="as_path_too_long")
    yield _Rule(f"AS {server.asn}", refused="own_asn_in_path")
    for first, last in server.bogon_asns:
        yield _Rule(f"AS {first}" if first == last else f"AS {first} - {last}", refused="bogon_asn")
    if server.transit_free:
        yield _suspect(server, "transit_free_asn", 'AS as-set "transit_free"')
        for own in _transit_free_clients(server):
            yield _clear(server, "transit_free_asn", peer=f"AS {own}")
            if len(server.transit_free) > 1:
                yield _suspect(server, "transit_free_asn", f'AS as-set "transit_free_but_{own}"', f"AS {own}")
        yield _judge(server, "transit_free_asn")
    if server.never:
        yield _Rule('AS as-set "never"', refused="never_via_route_server")
    yield _suspect(server, "first_as_not_peer_as")
    yield _clear(server, "first_as_not_peer_as", "peer-as neighbor-as")
    yield _judge(server, "first_as_not_peer_as")
    yield _suspect(server, "next_hop_not_peer_ip")
    yield _clear(server, "next_hop_not_peer_ip", "nexthop neighbor")
    for client in server.clients:
        for family in _families(client):
            for hop in _hops(client, family):
                if hop != _address(client, family):
                    yield _clear(server, "next_hop_not_peer_ip", f"nexthop {hop}", str(_address(client, family)))
    yield _judge(server, "next_hop_not_peer_ip")
    yield from _registries(server)
    yield from _origins(server)


def _registries(server: ServerPolicy) -> Iterator[_Rule]:
    """Origins by the client's as-sets, prefixes by route objects; a host route is right where the prefix around it would be."""
    yield _Rule(change=_said(server, "irrdb_valid"), known=True)
    yield _suspect(server, "irrdb_origin_as_filtered")
    for client in server.clients:
        for family in _families(client):
            peer = str(_address(client, family))
            if client.origins is None:
                yield _clear(server, "irrdb_origin_as_filtered", peer=peer)
                yield _Rule("", f"{{ {_without(server, REGISTERED)} {_said(server, 'irrdb_not_checked')} }}", peer=peer, known=True)
            else:
                yield _clear(server, "irrdb_origin_as_filtered", f'source-as as-set "o_{word(client.session)}"', peer)
    yield _judge(server, "irrdb_origin_as_filtered")
    if not any(_is_strict(client) for client in server.clients):
        return
    beyond = _beyond(server).values() if server.policy.blackhole else ()
    yield _suspect(server, "irrdb_prefix_filtered")
    if server.registered_v4.roas or server.registered_v6.roas:
        yield _clear(server, "irrdb_prefix_filtered", 'origin-set "registered"')
    for each in beyond:
        number = REASON["blackhole_not_covered"].number
        yield _Rule(each, f"{{ {_without(server, REFUSED)} {_large(server, REFUSED, number)} }}")
        if server.registered_covering_v4.roas or server.registered_covering_v6.roas:
            yield _clear(server, "blackhole_not_covered", f'{each} origin-set "registered_covering"')
    for client in server.clients:
        for family in _families(client):
            if not _is_strict(client):
                yield _Rule("", _without(server, REFUSED), peer=str(_address(client, family)))
            elif _prefixes(client, family):
                yield _Rule(f'prefix-set "p{family}_{word(client.session)}"', _without(server, REFUSED), peer=str(_address(client, family)))
    if beyond:
        yield _judge(server, "blackhole_not_covered")
    yield _judge(server, "irrdb_prefix_filtered")


def _is_strict(client: ClientPolicy) -> bool:
    return client.origins is not None and client.irr is Irr.STRICT


def _origins(server: ServerPolicy) -> Iterator[_Rule]:
    """Origin validation (RFC 6811). A host route is right where the prefix around it would be, and nothing is said of it."""
    policy = server.policy
    if policy.rpki is Rpki.OFF:
        yield _Rule(change=_said(server, "rpki_not_checked"), known=True)
        return
    beyond = _beyond(server).values() if policy.blackhole else ()
    yield _suspect(server, "rpki_invalid", "ovs invalid")
    if server.vrps_covering_v4.roas or server.vrps_covering_v6.roas:
        for each in beyond:
            yield _clear(server, "rpki_invalid", f'{each} origin-set "vrps_covering"')
    yield _judge(server, "rpki_invalid")
    yield _Rule("ovs valid", _said(server, "rpki_valid"), known=True)
    yield _Rule("ovs not-found", _said(server, "rpki_unknown"), known=True)
    for each in beyond:
        yield _Rule(each, f"{{ {_without(server, ORIGIN_VALIDITY)} {_said(server, 'rpki_not_checked')} }}", known=True)


def _several(server: ServerPolicy) -> Iterator[tuple[str, int]]:
    """(address, number) of each session of clients that have more than one in a family. The number is the session's own, whoever else is there."""
    for family in _served(server):
        asns = Counter(client.asn for client in server.clients if _address(client, family) is not None)
        for client in server.clients:
            address = _address(client, family)
            if address is not None and asns[client.asn] > 1:
                yield str(address), zlib.crc32(address.packed)


def _marks(server: ServerPolicy) -> Iterator[_Rule]:
    """What an accepted route is given: preference, next hop, and the long way out where there is something to heed."""
    policy = server.policy
    for peer, number in _several(server):
        yield _Rule("", _large(server, _SESSION, number), peer=peer)
    if policy.graceful_shutdown:
        yield _Rule(_standard(GRACEFUL_SHUTDOWN), "localpref 0")
    long_way = _large(server, _LONG_WAY, 0)
    if policy.blackhole:
        for family, hop in (("inet", policy.blackhole_v4), ("inet6", policy.blackhole_v6)):
            if hop is not None:
                yield _Rule(f"{family} {_standard(BLACKHOLE)}", f"nexthop {hop}")
        yield _Rule(_standard(BLACKHOLE), f"{{ {_large(server, _HELD_BACK, 1)} {long_way} }}")
    for number, name in _WELL_KNOWN.items():
        yield _Rule(f"community {name}", f"{{ community delete {name} {_large(server, _HELD_BACK, number)} {long_way} }}")
    for control in _controls(server):
        yield _Rule(control, long_way)
    for function, inside in _SAYS.items():
        for value in _values(function):
            move = f"{{ {_without(server, function)} {_large(server, inside, value)} }}"
            yield _Rule(f"{_large(server, function, value)} {long_way}", move)


def _controls(server: ServerPolicy) -> list[str]:
    """Standard and extended communities that are wishes; large ones are all that begin with our ASN."""
    keys = (0, server.stand_in, *PREPEND_SHORT.values())
    return [
        *(f"community {key}:*" for key in keys),
        *(f"ext-community {kind} {key}:*" for kind in _KINDS_OF_EXTENDED for key in keys),
    ]


def _values(function: int) -> list[int]:
    return sorted({said.value for said in SAID.values() if said.function == function})


def _outward(server: ServerPolicy) -> Iterator[str]:
    """Whom the announcer wants to reach: not-to beats to, to beats to-none; a wish about one member beats a wish about all."""
    short = server.stand_in
    if server.policy.blackhole:
        for client in server.clients:
            if not client.blackhole:
                yield from (f"deny quick to {_address(client, family)} {_standard(BLACKHOLE)}" for family in _families(client))
    yield from _not_back(server)
    yield f"allow quick to any {_large(server, ORIGIN_VALIDITY)}"
    yield from (f"deny quick to any {each}" for each in _wishes(server, 0, NOT, "neighbor-as"))
    closed = _large(server, _CLOSED, 0)
    yield from (f"match to any {each} set {closed}" for each in _wishes(server, 0, NOT, 0))
    yield from (f"match to any {each} set {_without(server, _CLOSED)}" for each in _wishes(server, short, TO, "neighbor-as"))
    yield f"deny quick to any {closed}"
    for whom in (0, "neighbor-as"):
        for prepends, function in PREPEND_LARGE.items():
            remember = f"set {{ {_without(server, _PREPENDS)} {_large(server, _PREPENDS, prepends)} }}"
            yield from (f"match to any {each} {remember}" for each in _wishes(server, PREPEND_SHORT[prepends], function, whom))
    for prepends in PREPEND_LARGE:
        yield f"match to any {_large(server, _PREPENDS, prepends)} set prepend-neighbor {prepends}"
    for number, name in _WELL_KNOWN.items():
        yield f"match to any {_large(server, _HELD_BACK, number)} set community {name}"
    tidy = " ".join(
        each.replace("community ", "community delete ", 1) for each in (*_controls(server), f"large-community {server.asn}:*:*")
    )
    for validity in _values(ORIGIN_VALIDITY):
        for registered in _values(REGISTERED):
            yield (
                f"allow quick to any {_large(server, _SAYS[ORIGIN_VALIDITY], validity)} {_large(server, _SAYS[REGISTERED], registered)}"
                f" set {{ {tidy} {_large(server, ORIGIN_VALIDITY, validity)} {_large(server, REGISTERED, registered)} }}"
            )


def _not_back(server: ServerPolicy) -> Iterator[str]:
    """No route goes to the session on which it came. A path begins with its announcer's ASN, so that ASN tells, unless it has several sessions."""
    own = _large(server, _OWN, 0)
    several = tuple(_several(server))
    if not several:
        yield "deny quick to any peer-as neighbor-as"
        return
    yield f"match to any peer-as neighbor-as set {own}"
    yield f"match to any {_large(server, _SESSION)} set {_without(server, _OWN)}"
    yield from (f"match to {peer} {_large(server, _SESSION, number)} set {own}" for peer, number in several)
    yield f"deny quick to any {own}"
    yield f"match to any {_large(server, _SESSION)} set {_without(server, _SESSION)}"


def _wishes(server: ServerPolicy, key: int, function: int, whom: int | str) -> list[str]:
    """One wish in its four spellings. About all, `whom` is 0 in a large community and our own number elsewhere."""
    standard = server.stand_in if whom == 0 else whom
    extended = server.asn if whom == 0 else whom
    return [
        _large(server, function, whom),
        f"community {key}:{standard}",
        *(f"ext-community {kind} {key}:{extended}" for kind in _KINDS_OF_EXTENDED),
    ]
