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
What we say of such a route stands meanwhile under an ASN that can be nobody's. A route without any wish takes the short way: one rule.

Receivers that wishes aim at by the same groups and round-trip times are a `group` of neighbours, named after these, so that a new receiver
changes nobody else's.

Roles are spelled differently by version. The driver lays the words beside the configuration (`@HOME@/words.conf`), and says what a version
lacks of that which a line `# needs: FEATURE RESOURCE: MEND` asks for. It puts secrets in the place of `@SECRET:NAME@`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from nnix.kernel.rule import Refusal
from nnix.planes.routing.birdc import Entry
from nnix.planes.routing.communities import (
    BLACKHOLE,
    FARTHER,
    GRACEFUL_SHUTDOWN,
    GROUP,
    NEARER,
    ORIGIN_VALIDITY,
    PEER,
    PREPENDS,
    REASON,
    REFUSED,
    REFUSED_FROM,
    SAID,
    WISH,
    WISHES,
    Aim,
    Community,
    Wish,
    community,
    large_function,
    short_key,
)
from nnix.planes.routing.kinds import AddPaths, Counted, Irr, LimitAction, NoExport, Place, RefusedRoutes, Role, Rpki
from nnix.planes.routing.naming import Family, protocol_name, word

if TYPE_CHECKING:
    from nnix.planes.routing.compile import Accepted, ClientPolicy, ServerPolicy
    from nnix.planes.routing.rpki import RoaTable

TABLE_REFUSED = "refused"

# Functions of large communities that never leave the route server: what a route is remembered by from one rule to the next.
_HELD_BACK = 4294960000  # :1 NO_EXPORT, :2 NO_ADVERTISE, :3 NO_EXPORT_SUBCONFED
_LONG_WAY = 4294960003  # :0 it has wishes, or communities that are not its own to send
_CLOSED = 4294960004  # :0 to no one but those who are named
_PREPENDS = 4294960005  # :<n> so often is the announcer's ASN put in front
_SESSION = 4294960006  # :<n> on which of its announcer's sessions it came, where there are several
_OWN = 4294960007  # :0 it came from the very session that it would go to
_NOBODY = 4294960008  # :0 it is for no one
_HOP6 = 4294960009  # :0 an IPv4 route with an IPv6 next hop
_UNHEARD = 4294960010  # :0 the receiver does not want its announcer's routes
_EXCEPTED = 4294960011  # :0 it needs no registration
_INSIDE = (_HELD_BACK, _LONG_WAY, _CLOSED, _PREPENDS, _SESSION, _OWN, _NOBODY, _HOP6, _UNHEARD, _EXCEPTED)
_NOBODYS_ASN = 4294967295  # RFC 7300; under it stands what we say of a route that takes the long way out
_ASIDE = 4294960000  # added to the function there, so that no other community is meant

_WELL_KNOWN = {1: "NO_EXPORT", 2: "NO_ADVERTISE", 3: "NO_EXPORT_SUBCONFED"}
_WELL_KNOWN_NUMBERS = {1: "(65535,65281)", 2: "(65535,65282)", 3: "(65535,65283)"}
_KINDS_OF_EXTENDED = ("rt", "soo")
_EVERYTHING: dict[Family, str] = {4: "0.0.0.0/0", 6: "::/0"}
_WIDEST: dict[Family, int] = {4: 32, 6: 128}
_SAY_FUNCTIONS = tuple(dict.fromkeys(said.function for said in SAID.values()))


def spell(server: ServerPolicy) -> str:
    """The whole configuration of one route server."""
    parts = [_head(server), *_local(server, Place.HEAD), _sets(server), *_neighbours(server), "", *_inward(server), "", *_outward(server)]
    return "\n".join(part for part in parts if part is not None) + "\n"


def cannot(server: ServerPolicy) -> Iterator[Refusal]:
    """What of `server` no version of OpenBGPD does, or what is not spelled for it: refused by name, since to leave it out would be a hole that
    nobody sees."""
    policy = server.policy

    def refusal(resource: str, field: str, found: object, accept: str) -> Refusal:
        mend = "or daemon: bird there, or a policy of its own for it"
        return Refusal(
            resource, field, f"{found}, by route-server/{server.name} (openbgpd)", accept, "routing.daemon-can", "bgpd.conf(5)", mend
        )

    if policy.communities_max is not None:
        yield refusal(policy.id, "communities_max", policy.communities_max, "none: OpenBGPD counts each form by itself")
    if policy.tells_announcer:
        yield refusal(policy.id, "tells_announcer", "true", "false: its rules have no word for the origin of a route")
    if policy.limit_counts is not Counted.RECEIVED:
        yield refusal(policy.id, "limit_counts", policy.limit_counts, "received, which OpenBGPD counts")
    if policy.pauses is not None:
        yield refusal(policy.id, "pauses", "set", "none: OpenBGPD's pauses are its own, 30 s and doubling")
    for field in ("graceful_restart_seconds", "long_lived_seconds"):
        if getattr(policy, field):
            yield refusal(policy.id, field, getattr(policy, field), "0: OpenBGPD grants it and does not ask for it")
    for field in ("rpki_caches", "irr_caches"):
        if getattr(policy, field, ()):
            why = "none: its filters cannot ask whether VRPs have arrived, so it would let everything pass until then, and it has one table"
            yield refusal(policy.id, field, ", ".join(getattr(policy, field)), why)
    actions = dict.fromkeys((policy.limit_action, *(client.limit_action for client in server.clients)))
    for action in actions:
        if action not in (LimitAction.RESTART, LimitAction.SHUTDOWN):
            whose = (
                [policy.id]
                if action is policy.limit_action
                else [f"session/{each.session}" for each in server.clients if each.limit_action is action]
            )
            for each in whose:
                yield refusal(each, "limit_action", action, "restart or shutdown, as OpenBGPD ends the session above a limit")
    if LimitAction.RESTART in actions and policy.limit_restart_seconds % 60:
        yield refusal(policy.id, "limit_restart_seconds", policy.limit_restart_seconds, "whole minutes: a multiple of 60")
    asking = (
        [policy.id] if policy.aspa is not Rpki.OFF else [f"session/{each.session}" for each in server.clients if each.aspa is not Rpki.OFF]
    )
    for each in asking:
        yield refusal(each, "aspa", "asked for", "off: 8.8 forgets what it found when rules change, and lets the route pass from then on")
    for client in server.clients:
        for field, is_set, accept in (
            ("prefix_lengths", client.lengths != policy.prefix_lengths, "the policy's own"),
            ("as_sets_in_paths", client.as_sets_in_paths, "false"),
            ("tcp_ao", client.tcp_key is not None, "password (TCP MD5), since OpenBGPD on Linux has no TCP-AO"),
            ("multihop", client.multihop is not None, "none: OpenBGPD would put its own address for a next hop outside of the LAN"),
            ("bfd", client.bfd, "false: OpenBGPD has no BFD"),
            ("our_role", client.role is not Role.RS, "rs"),
        ):
            if is_set:
                yield refusal(f"session/{client.session}", field, "set", accept)


def meant(route: Entry) -> Entry:
    """A route of the daemon's table without the marks that it bears only inside, as it would stand in a table of BIRD. Pure."""
    bare = tuple(each for each in route.large if each[1] not in (_SESSION, _OWN, _HOP6, _NOBODY, _EXCEPTED))
    ours = {asn for asn, function, _ in bare if function == _LONG_WAY}
    if not ours:
        return route._replace(large=bare)
    held_back = {value for asn, function, value in bare if asn in ours and function == _HELD_BACK}
    (asn,) = ours
    aside = {function + _ASIDE: function for function in _SAY_FUNCTIONS}
    wishes = {large_function(wish, aim) for wish in WISHES for aim in (PEER, GROUP, NEARER, FARTHER)}
    large = tuple(
        (asn, aside[function], value) if admin == _NOBODYS_ASN and function in aside else (admin, function, value)
        for admin, function, value in bare
        if admin != asn or function in wishes or function in (REFUSED, REFUSED_FROM)
    )
    standard = " ".join(filter(None, (route.attributes.get("community", ""), *(_WELL_KNOWN_NUMBERS[each] for each in sorted(held_back)))))
    attributes = {**route.attributes, "large_community": " ".join(f"({a}, {b}, {c})" for a, b, c in large)}
    return route._replace(large=large, attributes={**attributes, "community": standard} if standard else attributes)


# what stands before the rules ---------------------------------------------------------------------------------------


def _needs(server: ServerPolicy) -> Iterator[tuple[str, str, str]]:
    """What not every version has: (the driver's name of the feature, who wants it, what would mend it)."""
    if server.policy.roles and any(not client.role_strict for client in server.clients):
        mend = "set role_strict: true on every session, so that all send a role, or roles: false in its policy"
        yield "otc-unasked", f"route-server/{server.name}", mend
    for client in server.clients:
        if client.v4_over_v6:
            yield "extended-nexthop", f"session/{client.session}", "give it an IPv4 address instead, or use a newer OpenBGPD"


def _keeps_refused(server: ServerPolicy) -> bool:
    return server.policy.refused is RefusedRoutes.TAG_AND_REJECT


def _head(server: ServerPolicy) -> str:
    policy = server.policy
    rows = [
        f"# nnix: route-server/{server.name}, AS{server.asn}. Written by a program; what is changed here by hand does not stay.",
        *(f"# needs: {feature} {who}: {mend}" for feature, who, mend in _needs(server)),
        *([f"# farewell: {server.shutdown_text}"] if server.shutdown_text else []),
        'include "@HOME@/words.conf"',
        f"AS {server.asn}",
        f"router-id {server.router_id}",
        *(f"listen on {address}" for address in (server.v4, server.v6) if address is not None),
        "fib-update no",
        "transparent-as yes",
        f"rde evaluate {'all' if policy.path_hiding_solved else 'default'}",
        "rde med compare strict",
        "rde route-age ignore",
        "reject as-set yes",  # RFC 9774; 7.7 takes them by default, 8.8 does not
        *([f"rde rib {TABLE_REFUSED} no evaluate"] if _keeps_refused(server) else []),
        f"holdtime {policy.hold_time_seconds}",
        f"connect-retry {policy.connect_retry_seconds}",
    ]
    return "\n".join(rows)


def _local(server: ServerPolicy, place: Place) -> Iterator[str]:
    for each in server.snippets:
        if each.place is place:
            yield f"# local-snippet/{each.name}\n{each.text.rstrip()}\n# end of local-snippet/{each.name}"


def _sets(server: ServerPolicy) -> str:
    """Registries, VRPs and lists of ASNs, once for all clients."""
    rows: list[str] = []
    for name, tables in (
        ("registered", (server.registered_v4, server.registered_v6)),
        ("registered_longer", (server.registered_longer_v4, server.registered_longer_v6)),
        ("registered_covering", (server.registered_covering_v4, server.registered_covering_v6)),
        ("vrps_covering", (server.vrps_covering_v4, server.vrps_covering_v6)),
    ):
        rows += _braced(f'origin-set "{name}"', _roas(tables))
    if _judges_origins(server) or server.policy.roas_are_route_objects:
        rows += _braced("roa-set", _roas((server.vrps_v4, server.vrps_v6)))
    rows += _braced('as-set "never"', map(str, server.never))
    rows += _braced('as-set "transit_free"', map(str, server.transit_free))
    for asn, others in _transit_free_clients(server):
        rows += _braced(f'as-set "transit_free_for_{asn}"', map(str, others))
    for name, sets in (
        ("lans", (server.lans_v4, server.lans_v6)),
        ("bogons", (server.bogons_v4, server.bogons_v6)),
        ("blacklist", (server.blacklist_v4, server.blacklist_v6)),
    ):
        rows += _braced(f'prefix-set "{name}"', (f"{prefix} or-longer" for prefixes in sets for prefix in prefixes))
    for client in server.clients:
        name = word(client.session)
        if client.origins is not None:
            rows += _braced(f'as-set "o_{name}"', map(str, client.origins))
        if client.hear_only is not None:
            rows += _braced(f'as-set "h_{name}"', map(str, client.hear_only))
        if client.hear_not:
            rows += _braced(f'as-set "n_{name}"', map(str, client.hear_not))
        rows += _braced(f'prefix-set "b_{name}"', (f"{each} or-longer" for each in (*client.blacklist_v4, *client.blacklist_v6)))
        rows += _braced(f'prefix-set "p_{name}"', _listed(client, server))
        for origin, accepted in _excepted(client):
            rows += _braced(f'prefix-set "e_{name}_{origin}"', _patterns(accepted, server))
    return "\n".join(rows)


def _braced(head: str, entries: Iterable[str]) -> Iterator[str]:
    """A set; nothing where it would be empty, which the grammar does not know."""
    rows = list(dict.fromkeys(entries))
    if rows:
        yield f"{head} {{"
        yield from (f"  {row}" for row in rows)
        yield "}"


def _roas(tables: Iterable[RoaTable]) -> Iterator[str]:
    for table in tables:
        for prefix, longest, origin in table.roas:
            yield f"{prefix} maxlen {longest} source-as {origin}"


def _judges_origins(server: ServerPolicy) -> bool:
    return any(client.rpki is not Rpki.OFF for client in server.clients)


def _neighbours(server: ServerPolicy) -> Iterator[str]:
    """Neighbours by their groups: those that wishes cannot aim at by group or round-trip time have none."""
    grouped: dict[str, list[ClientPolicy]] = {}
    for client in server.clients:
        grouped.setdefault(_group_name(client), []).append(client)
    for name, clients in sorted(grouped.items()):
        blocks = [_neighbour(client, server, family) for client in clients for family in _families(client)]
        yield from [f'group "{name}" {{', *blocks, "}"] if name else blocks


def _neighbour(client: ClientPolicy, server: ServerPolicy, family: Family) -> str:
    policy = server.policy
    limit = client.routes_max_v4 if family == 4 else client.routes_max_v6
    if client.v4_over_v6:
        limit += client.routes_max_v4
    pause = f" restart {policy.limit_restart_seconds // 60}" if client.limit_action is LimitAction.RESTART else ""
    sends, receives = client.add_paths in (AddPaths.SEND, AddPaths.BOTH), client.add_paths in (AddPaths.RECEIVE, AddPaths.BOTH)
    rows = [
        f"# session: session/{client.session}",
        f"remote-as {client.asn}",
        f'descr "{protocol_name(client.session, family)}"',
        ""
        if client.password is not None
        else f"local-address {server.v4 if family == 4 else server.v6}",  # or 7.7 gives its listener no key
        f"announce IPv{family} unicast",
        "announce IPv4 unicast" if client.v4_over_v6 and family == 6 else "",
        "announce extended nexthop yes" if client.v4_over_v6 and family == 6 else "",
        "announce add-path send all" if sends else "",
        "announce add-path recv yes" if receives else "",
        "passive" if client.passive else "",
        "enforce neighbor-as no",
        "enforce local-as no",
        f"holdtime {client.hold_time_seconds}" if client.hold_time_seconds != policy.hold_time_seconds else "",
        f'tcp md5sig password "@SECRET:{client.password}@"' if client.password is not None else "",
        "ttl-security yes" if client.gtsm else "",
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


def _peers(client: ClientPolicy) -> list[str]:
    """The neighbours that a client is."""
    return [str(_address(client, family)) for family in _families(client)]


def _transit_free_clients(server: ServerPolicy) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(ASN, the transit-free ASNs that are a leak behind it) of clients that have some in their own organisation."""
    known = {client.asn: client.kin for client in server.clients if set(client.kin) & set(server.transit_free)}
    for asn, kin in sorted(known.items()):
        yield asn, tuple(each for each in server.transit_free if each not in kin)


def _longest(server: ServerPolicy, family: Family) -> int:
    return server.policy.prefix_lengths.v4_max if family == 4 else server.policy.prefix_lengths.v6_max


def _family_of(prefix: str) -> Family:
    return 6 if ":" in prefix else 4


def _with_host_routes(prefix: str, low: int, high: int, server: ServerPolicy) -> Iterator[str]:
    """A prefix with its lengths; where blackholing is on, with the host routes inside."""
    family, length = _family_of(prefix), int(prefix.rpartition("/")[2])
    longest = _longest(server, family)
    yield (
        prefix
        if (low, high) == (length, length)
        else f"{prefix} prefixlen = {low}"
        if low == high
        else f"{prefix} prefixlen {low} - {high}"
    )
    if server.policy.blackhole and longest < _WIDEST[family]:
        first = max(longest + 1, length)
        yield (
            prefix
            if length == _WIDEST[family]
            else f"{prefix} prefixlen {first} - {_WIDEST[family]}"
            if first < _WIDEST[family]
            else f"{prefix} prefixlen = {first}"
        )


def _listed(client: ClientPolicy, server: ServerPolicy) -> Iterator[str]:
    """Prefixes that the client may announce from any of its origins: registered ones without a known origin, and excepted ones."""
    if client.irr not in (Irr.STRICT, Irr.TAG):
        return
    for each in (*client.prefixes_v4, *client.prefixes_v6):
        prefix, _, pattern = each.partition("{")
        length = int(prefix.rpartition("/")[2])
        low, high = (int(part) for part in pattern.rstrip("}").split(",")) if pattern else (length, length)
        if client.irr_more_specifics:
            high = max(high, _longest(server, _family_of(prefix)))
        yield from _with_host_routes(prefix, low, high, server)
    yield from _patterns((each for each in (*client.accepted_v4, *client.accepted_v6) if each.origin is None), server)


def _patterns(accepted: Iterable[Accepted], server: ServerPolicy) -> Iterator[str]:
    for each in accepted:
        yield from _with_host_routes(each.prefix, each.shortest, each.longest, server)


def _excepted(client: ClientPolicy) -> list[tuple[int, list[Accepted]]]:
    """Prefixes that need no registration where they come from a certain origin, by origin."""
    found: dict[int, list[Accepted]] = {}
    if client.irr in (Irr.STRICT, Irr.ORIGIN):
        for each in (*client.accepted_v4, *client.accepted_v6):
            if each.origin is not None:
                found.setdefault(each.origin, []).append(each)
    return sorted(found.items())


# words of rules -----------------------------------------------------------------------------------------------------


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


def _set(*changes: str) -> str:
    return f"{{ {' '.join(changes)} }}"


def _large(server: ServerPolicy, function: int, value: int | str = "*") -> str:
    return f"large-community {server.asn}:{function}:{value}"


def _without(server: ServerPolicy, function: int, value: int | str = "*") -> str:
    return f"large-community delete {server.asn}:{function}:{value}"


def _aside(function: int, value: int | str = "*", delete: str = "") -> str:
    return f"large-community {delete}{_NOBODYS_ASN}:{function + _ASIDE}:{value}"


def _standard(pair: tuple[int, int]) -> str:
    return f"community {pair[0]}:{pair[1]}"


def _any_form(each: Community, delete: str = "") -> str:
    numbers = ":".join(map(str, each.values))
    if each.form in ("rt", "ro"):
        return f"ext-community {delete}{'soo' if each.form == 'ro' else 'rt'} {numbers}"
    return f"{'large-community' if each.form == 'large' else 'community'} {delete}{numbers}"


def _said(server: ServerPolicy, slug: str) -> str:
    return _large(server, SAID[slug].function, SAID[slug].value)


def _instead(server: ServerPolicy, slug: str) -> str:
    """`slug` is said, and nothing else of its kind."""
    return _set(_without(server, SAID[slug].function), _said(server, slug))


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
    v4 = server.v4 is not None or any(client.v4_over_v6 for client in server.clients)
    return (*((4,) if v4 else ()), *((6,) if server.v6 is not None else ()))


def _beyond(server: ServerPolicy) -> dict[Family, str]:
    """The test for prefixes that are longer than the policy accepts: host routes, where they are to be blackholed."""
    return {
        family: f"prefix {_EVERYTHING[family]} prefixlen > {_longest(server, family)}"
        for family in _served(server)
        if _longest(server, family) < _WIDEST[family]
    }


def _aims(server: ServerPolicy) -> tuple[Aim, ...]:
    """At whom wishes can be aimed here."""
    return (PEER, *([GROUP] if server.groups else []), *([NEARER, FARTHER] if server.thresholds else []))


# in -----------------------------------------------------------------------------------------------------------------


def _inward(server: ServerPolicy) -> Iterator[str]:
    """What members announce, into the table of refused routes and into the one that is passed on: a rule belongs to one table."""
    rules = list(_tests(server))
    if _keeps_refused(server):
        for rule in rules:
            if rule.refused:
                yield _words(f"allow quick rib {TABLE_REFUSED} from", rule.peer, rule.test, "set", _set(*_reason(server, rule.refused)))
            elif not rule.known:
                yield _words(f"match rib {TABLE_REFUSED} from", rule.peer, rule.test, "set", rule.change)
        yield f"deny rib {TABLE_REFUSED} from any"
        yield ""
    for rule in (*rules, *_marks(server)):
        if not rule.refused:
            yield _words("match from", rule.peer, rule.test, "set", rule.change)
        elif server.policy.refused is RefusedRoutes.TAG:
            stays = (*_reason(server, rule.refused), _large(server, _NOBODY, 0), _large(server, _LONG_WAY, 0), "localpref 0")
            yield _words("allow quick from", rule.peer, rule.test, "set", _set(*stays))
        else:
            yield _words("deny quick from", rule.peer, rule.test)
    yield from _local(server, Place.IMPORT)
    yield "allow from any"


def _reason(server: ServerPolicy, slug: str) -> Iterator[str]:
    """What is put on a refused route that is kept."""
    yield _without(server, REFUSED)
    yield _large(server, REFUSED, REASON[slug].number)
    if server.policy.refused_tells_announcer:
        yield _large(server, REFUSED_FROM, "neighbor-as")
    for row in server.policy.reason_communities:
        if row.reason == slug:
            yield _any_form(community(row.community))


def _scrub(server: ServerPolicy) -> Iterator[str]:
    """What the route server says of a route, no member may say in its stead."""
    for function in (*_INSIDE, REFUSED, REFUSED_FROM, *_SAY_FUNCTIONS):
        yield _without(server, function)
    for function in _SAY_FUNCTIONS:
        yield _aside(function, delete="delete ")
    for each in sorted({*server.attached, *(community(row.community) for row in server.policy.reason_communities)}):
        yield _any_form(each, "delete ")


def _tests(server: ServerPolicy) -> Iterator[_Rule]:
    """Import tests in the order of `compile.ORDER`, and what is said of who passes them."""
    policy = server.policy
    lengths = policy.prefix_lengths
    shortest: dict[Family, int] = {4: lengths.v4_min, 6: lengths.v6_min}
    yield _Rule(change=_set(*_scrub(server)))
    yield _Rule(f"large-community {server.asn}:*:*", _large(server, _LONG_WAY, 0), known=True)
    for each in server.blackholes:  # one word for one thing, from here on
        yield _Rule(_any_form(each), _set(_any_form(each, "delete "), _standard(BLACKHOLE)))
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
    if server.blacklist_v4 or server.blacklist_v6:
        yield _Rule('prefix-set "blacklist"', refused="blacklisted")
    for client in server.clients:
        if client.blacklist_v4 or client.blacklist_v6:
            yield from (_Rule(f'prefix-set "b_{word(client.session)}"', refused="blacklisted", peer=peer) for peer in _peers(client))
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
    yield from _leaks(server)
    if server.never:
        yield _Rule('AS as-set "never"', refused="never_via_route_server")
    yield _suspect(server, "first_as_not_peer_as")
    yield _clear(server, "first_as_not_peer_as", "peer-as neighbor-as")
    yield _judge(server, "first_as_not_peer_as")
    yield _suspect(server, "next_hop_not_peer_ip")
    yield _clear(server, "next_hop_not_peer_ip", "nexthop neighbor")
    for client in server.clients:
        for family in _families(client):
            hops: Sequence[IPv4Address | IPv6Address] = client.next_hops_v4 if family == 4 else client.next_hops_v6
            own = _address(client, family)
            yield from (_clear(server, "next_hop_not_peer_ip", f"nexthop {hop}", str(own)) for hop in hops if hop != own)
    yield _judge(server, "next_hop_not_peer_ip")
    yield from _registries(server)
    yield from _origins(server)


def _leaks(server: ServerPolicy) -> Iterator[_Rule]:
    """Networks that buy from no one, behind another: but those of the announcer's own organisation are no leak."""
    if not server.transit_free:
        return
    yield _suspect(server, "transit_free_asn", 'AS as-set "transit_free"')
    for asn, others in _transit_free_clients(server):
        yield _clear(server, "transit_free_asn", peer=f"AS {asn}")
        if others:
            yield _suspect(server, "transit_free_asn", f'AS as-set "transit_free_for_{asn}"', f"AS {asn}")
    if not server.policy.transit_free_warns:
        yield _judge(server, "transit_free_asn")
        return
    yield _Rule(_large(server, REFUSED, REASON["transit_free_asn"].number), _said(server, "transit_free_behind"), known=True)
    yield _clear(server, "transit_free_asn")


def _registries(server: ServerPolicy) -> Iterator[_Rule]:
    """Origins by the client's as-sets, prefixes by route objects; a host route is right where the prefix around it would be."""
    policy = server.policy
    excepted = _large(server, _EXCEPTED, 0)
    yield _Rule(change=_said(server, "irrdb_valid"), known=True)
    yield _suspect(server, "irrdb_origin_as_filtered")
    for client in server.clients:
        known = f'source-as as-set "o_{word(client.session)}"'
        for peer in _peers(client):
            if client.origins is None:
                yield _clear(server, "irrdb_origin_as_filtered", peer=peer)
                yield _Rule("", _instead(server, "irrdb_not_checked"), peer=peer, known=True)
            elif client.irr is Irr.TAG:
                yield _clear(server, "irrdb_origin_as_filtered", peer=peer)
                yield _Rule("", _instead(server, "irrdb_origin_unknown"), peer=peer, known=True)
                yield _Rule(known, _instead(server, "irrdb_origin_known"), peer=peer, known=True)
            else:
                yield _clear(server, "irrdb_origin_as_filtered", known, peer)
                for origin, _ in _excepted(client):
                    test = f'source-as {origin} prefix-set "e_{word(client.session)}_{origin}"'
                    yield _Rule(test, _set(_without(server, REFUSED), excepted), peer=peer)
                    yield _Rule(excepted, _instead(server, "irrdb_excepted"), peer=peer, known=True)
    yield _judge(server, "irrdb_origin_as_filtered")
    if not any(client.irr in (Irr.STRICT, Irr.TAG) for client in server.clients):
        return
    registered = bool(server.registered_v4.roas or server.registered_v6.roas)
    longer = bool(server.registered_longer_v4.roas or server.registered_longer_v6.roas)
    beyond = tuple(_beyond(server).values()) if policy.blackhole else ()
    yield _suspect(server, "irrdb_prefix_filtered")
    if registered:
        yield _clear(server, "irrdb_prefix_filtered", 'origin-set "registered"')
    if policy.roas_are_route_objects:
        yield _clear(server, "irrdb_prefix_filtered", "ovs valid")
    for each in beyond:
        number = REASON["blackhole_not_covered"].number
        yield _Rule(each, _set(_without(server, REFUSED), _large(server, REFUSED, number)))
        for name, tables in (
            ("registered_covering", (server.registered_covering_v4, server.registered_covering_v6)),
            ("vrps_covering", (server.vrps_covering_v4, server.vrps_covering_v6) if policy.roas_are_route_objects else ()),
        ):
            if any(table.roas for table in tables):
                yield _clear(server, "blackhole_not_covered", f'{each} origin-set "{name}"')
    everything = _without(server, REFUSED)
    if any(_excepted(client) for client in server.clients):
        yield _Rule(excepted, everything)
    for client in server.clients:
        listed = any(True for _ in _listed(client, server))
        own = f'prefix-set "p_{word(client.session)}"'
        let_off = client.irr_more_specifics and not policy.irr_more_specifics and longer
        for peer in _peers(client):
            if client.irr is Irr.STRICT:
                if let_off:
                    yield _clear(server, "irrdb_prefix_filtered", 'origin-set "registered_longer"', peer)
                if listed:
                    yield _Rule(own, everything, peer=peer)
                continue
            yield _Rule("", everything, peer=peer)
            if client.irr is Irr.TAG:
                yield _Rule("", _said(server, "irrdb_prefix_unknown"), peer=peer, known=True)
                tests = [
                    *(['origin-set "registered"'] if registered else []),
                    *(['origin-set "registered_longer"'] if let_off else []),
                    *([own] if listed else []),
                ]
                found = SAID["irrdb_prefix_unknown"]
                change = _set(_without(server, found.function, found.value), _said(server, "irrdb_prefix_known"))
                yield from (_Rule(test, change, peer=peer, known=True) for test in tests)
    if beyond:
        yield _judge(server, "blackhole_not_covered")
    yield _judge(server, "irrdb_prefix_filtered")


def _origins(server: ServerPolicy) -> Iterator[_Rule]:
    """Origin validation (RFC 6811). A host route is right where the prefix around it would be, and nothing is said of it."""
    if not _judges_origins(server):
        yield _Rule(change=_said(server, "rpki_not_checked"), known=True)
        return
    beyond = tuple(_beyond(server).values()) if server.policy.blackhole else ()
    invalid = _large(server, REFUSED, REASON["rpki_invalid"].number)
    yield _suspect(server, "rpki_invalid", "ovs invalid")
    if server.vrps_covering_v4.roas or server.vrps_covering_v6.roas:
        for each in beyond:
            yield _clear(server, "rpki_invalid", f'{each} origin-set "vrps_covering"')
    yield _Rule("ovs valid", _said(server, "rpki_valid"), known=True)
    yield _Rule("ovs not-found", _said(server, "rpki_unknown"), known=True)
    yield _Rule("ovs invalid", _said(server, "rpki_invalid"), known=True)
    for client in server.clients:
        for peer in _peers(client) if client.rpki is not Rpki.REJECT else ():
            yield _clear(server, "rpki_invalid", invalid, peer)
            if client.rpki is Rpki.OFF:
                yield _Rule("", _instead(server, "rpki_not_checked"), peer=peer, known=True)
    yield _judge(server, "rpki_invalid")
    for each in beyond:
        yield _Rule(each, _instead(server, "rpki_not_checked"), known=True)


def _several(server: ServerPolicy) -> Iterator[tuple[str, int]]:
    """(address, number) of each session of clients that have more than one in a family. The number is the session's own, whoever else is there."""
    both: tuple[Family, ...] = (4, 6)
    for family in both:
        asns = Counter(client.asn for client in server.clients if _address(client, family) is not None)
        for client in server.clients:
            address = _address(client, family)
            if address is not None and asns[client.asn] > 1:
                yield str(address), zlib.crc32(address.packed)


def _marks(server: ServerPolicy) -> Iterator[_Rule]:
    """What an accepted route is given: preference, next hop, and the long way out where there is something to heed."""
    policy = server.policy
    long_way, nobody = _large(server, _LONG_WAY, 0), _large(server, _NOBODY, 0)
    if any(_excepted(client) for client in server.clients):
        yield _Rule(change=_without(server, _EXCEPTED))
    for peer, number in _several(server):
        yield _Rule("", _large(server, _SESSION, number), peer=peer)
    for client in server.clients:
        changes = [_any_form(each) for each in client.communities]
        if client.announce_only is not None:
            changes += [_large(server, WISH["not"].large, 0), *(_large(server, WISH["to"].large, asn) for asn in client.announce_only)]
        changes += [_large(server, WISH["not"].large, asn) for asn in client.announce_not]
        if client.announce_only is not None or client.announce_not:
            changes.append(long_way)
        for peer in _peers(client):
            if changes:
                yield _Rule("", _set(*changes), peer=peer)
        if client.v4_over_v6:
            yield _Rule("inet", _set(_large(server, _HOP6, 0), long_way), peer=str(client.v6))
    if policy.graceful_shutdown:
        yield _Rule(_standard(GRACEFUL_SHUTDOWN), "localpref 0")
    if policy.no_export is NoExport.OBEY:
        yield from (_Rule(f"community {name}", _set(nobody, long_way)) for name in _WELL_KNOWN.values())
    if policy.blackhole:
        for family, hop in (("inet", policy.blackhole_v4), ("inet6", policy.blackhole_v6)):
            if hop is not None:
                yield _Rule(f"{family} {_standard(BLACKHOLE)}", f"nexthop {hop}")
        yield _Rule(_standard(BLACKHOLE), _set(_without(server, _NOBODY), _large(server, _HELD_BACK, 1), long_way))
    for number, name in _WELL_KNOWN.items():
        yield _Rule(f"community {name}", _set(f"community delete {name}", _large(server, _HELD_BACK, number), long_way))
    for control in _controls(server):
        yield _Rule(control, long_way)
    for said in SAID.values():
        move = _set(_without(server, said.function, said.value), _aside(said.function, said.value))
        yield _Rule(f"{_large(server, said.function, said.value)} {long_way}", move)


def _controls(server: ServerPolicy) -> list[str]:
    """Standard and extended communities that are wishes; large ones are all that begin with our ASN."""
    keys = sorted({short_key(wish, aim, server.stand_in) for aim in _aims(server) for wish in WISHES})
    return [
        *(f"community {key}:*" for key in keys),
        *(f"ext-community {kind} {key}:*" for kind in _KINDS_OF_EXTENDED for key in keys),
    ]


# out ----------------------------------------------------------------------------------------------------------------


def _targets(client: ClientPolicy) -> tuple[tuple[Aim, tuple[int, ...]], ...]:
    """The groups and bands of round-trip time that wishes can name the client by."""
    every = ((GROUP, client.groups), (NEARER, client.nearer), (FARTHER, client.farther))
    return tuple((aim, values) for aim, values in every if values)


def _group_name(client: ClientPolicy) -> str:
    targets = _targets(client)
    return f"aimed_{hashlib.sha256(repr([(aim.slug, values) for aim, values in targets]).encode()).hexdigest()[:12]}" if targets else ""


def _outward(server: ServerPolicy) -> Iterator[str]:
    """Whom the announcer wants to reach: a wish about one member beats one about its groups and bands, and that beats one about all; of two about
    the same, not-to beats to. What is said of the route, and what the receiver wants, comes last."""
    policy = server.policy
    allowed = _large(server, ORIGIN_VALIDITY)
    closed, unheard = _large(server, _CLOSED, 0), _large(server, _UNHEARD, 0)
    if policy.blackhole:
        for client in server.clients:
            if not client.blackhole:
                yield from (f"deny quick to {peer} {_standard(BLACKHOLE)}" for peer in _peers(client))
    for client in server.clients:
        name = word(client.session)
        for peer in _peers(client):
            if client.hear_not:
                yield f'deny quick to {peer} peer-as as-set "n_{name}"'
            if client.hear_only is not None:
                yield f"match to {peer} set {unheard}"
                if client.hear_only:
                    yield f'match to {peer} peer-as as-set "h_{name}" set {_without(server, _UNHEARD)}'
                yield f"deny quick to {peer} {unheard}"
    yield from _not_back(server)
    if server.shutting_down:
        yield f"match to any set {_standard(GRACEFUL_SHUTDOWN)}"
    yield from _local(server, Place.EXPORT)
    in_front = [peer for client in server.clients if client.prepend_route_server for peer in _peers(client)]
    yield from (f"allow quick to {peer} {allowed} set prepend-self 1" for peer in in_front)
    yield f"allow quick to any {allowed}"
    if policy.refused is RefusedRoutes.TAG or policy.no_export is NoExport.OBEY:
        yield f"deny quick to any {_large(server, _NOBODY, 0)}"
    over = [str(client.v6) for client in server.clients if client.v4_over_v6]
    if over:
        yield from (f"match to {peer} set {_without(server, _HOP6)}" for peer in over)
        yield f"deny quick to any {_large(server, _HOP6, 0)}"
    open_again = _without(server, _CLOSED)
    levels = _levels(server)
    for level in levels:
        if level.everybody:
            yield from level.about(WISH["not"], f"set {closed}")
        else:
            yield from level.about(WISH["to"], f"set {open_again}")
            yield from level.about(WISH["not"], f"set {closed}")
    yield f"deny quick to any {closed}"
    for level in levels:
        for prepends, wish in PREPENDS.items():
            yield from level.about(wish, f"set {_set(_without(server, _PREPENDS), _large(server, _PREPENDS, prepends))}")
    for prepends in PREPENDS:
        yield f"match to any {_large(server, _PREPENDS, prepends)} set prepend-neighbor {prepends}"
    yield from (f"match to {peer} set prepend-self 1" for peer in in_front)
    for number, name in _WELL_KNOWN.items():
        yield f"match to any {_large(server, _HELD_BACK, number)} set community {name}"
    for slug, name in (("no-export", "NO_EXPORT"), ("no-advertise", "NO_ADVERTISE")):
        for level in levels:
            yield from level.about(WISH[slug], f"set community {name}")
    tidy = [each.replace("community ", "community delete ", 1) for each in (*_controls(server), f"large-community {server.asn}:*:*")]
    yield f"match to any set {_set(*tidy)}"
    if policy.blackhole:
        for client in server.clients:
            if client.blackhole and client.blackhole_community is not None:
                instead = [f"community delete {BLACKHOLE[0]}:{BLACKHOLE[1]}"] if client.blackhole_community_alone else []
                change = _set(*instead, _any_form(client.blackhole_community))
                yield from (f"match to {peer} {_standard(BLACKHOLE)} set {change}" for peer in _peers(client))
    for said in SAID.values():
        yield f"match to any {_aside(said.function, said.value)} set {_large(server, said.function, said.value)}"
    yield f"allow quick to any {_aside(ORIGIN_VALIDITY)} set {_set(*(_aside(function, delete='delete ') for function in _SAY_FUNCTIONS))}"


class _Level(NamedTuple):
    """Receivers that a wish is about: (rule's peer, tests by wish)."""

    everybody: bool
    rows: tuple[tuple[str, dict[str, tuple[str, ...]]], ...]

    def about(self, wish: Wish, change: str) -> Iterator[str]:
        for peer, tests in self.rows:
            yield from (f"match to {peer} {test} {change}" for test in tests[wish.slug])


def _levels(server: ServerPolicy) -> tuple[_Level, ...]:
    """All; then the receiver's groups and bands; then the receiver itself. Each wish in its four spellings."""
    short, rs = server.stand_in, server.asn

    def four(wish: Wish, aim: Aim, large: int | str, standard: int | str | None, extended: int | str) -> tuple[str, ...]:
        key = short_key(wish, aim, short)
        return (
            _large(server, large_function(wish, aim), large),
            *([f"community {key}:{standard}"] if standard is not None else []),
            *(f"ext-community {kind} {key}:{extended}" for kind in _KINDS_OF_EXTENDED),
        )

    everybody = {wish.slug: four(wish, PEER, 0, short, rs) for wish in WISHES}
    aimed: dict[str, dict[str, tuple[str, ...]]] = {}
    for client in server.clients:
        if (name := _group_name(client)) and name not in aimed:
            aimed[name] = {
                wish.slug: tuple(
                    test for aim, values in _targets(client) for value in values for test in four(wish, aim, value, value, value)
                )
                for wish in WISHES
            }
    itself = {wish.slug: four(wish, PEER, "neighbor-as", "neighbor-as", "neighbor-as") for wish in WISHES}
    stood_for: list[tuple[str, dict[str, tuple[str, ...]]]] = [
        (peer, {wish.slug: (f"community {short_key(wish, PEER, short)}:{client.short_asn}",) for wish in WISHES})
        for client in server.clients
        if client.short_asn is not None and client.short_asn != client.asn
        for peer in _peers(client)
    ]
    return (
        _Level(True, (("any", everybody),)),
        *([_Level(False, tuple((f'group "{name}"', tests) for name, tests in sorted(aimed.items())))] if aimed else []),
        _Level(False, (("any", itself), *stood_for)),
    )


def _not_back(server: ServerPolicy) -> Iterator[str]:
    """No route goes to the session on which it came. A path begins with its announcer's ASN, so that ASN tells, unless it has several sessions; a
    route whose next hop is the receiver's own address is of no use to it, either (RFC 4271, 5.1.3)."""
    own = _large(server, _OWN, 0)
    several = tuple(_several(server))
    if not several:
        yield "deny quick to any peer-as neighbor-as"
        return
    yield f"match to any peer-as neighbor-as set {own}"
    yield f"match to any {_large(server, _SESSION)} set {_without(server, _OWN)}"
    yield from (f"match to {peer} {_large(server, _SESSION, number)} set {own}" for peer, number in several)
    yield from (f"match to {peer} nexthop {peer} set {own}" for peer, _ in several)
    yield f"deny quick to any {own}"
    yield f"match to any {_large(server, _SESSION)} set {_without(server, _SESSION)}"
