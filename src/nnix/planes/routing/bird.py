"""A server's policy in BIRD's language (2.0.12 and newer; what 2.0.12 does not know stands in the text only where it is asked for).

One table per address family, sorted, and `secondary` on each client's channel: BIRD offers a client the first route of the
sorted ones that its export filter lets pass, so that nothing is hidden behind a best path (RFC 7947, 2.3.1) without a table per
client. `import table` keeps what a member sent, so that a new policy, route object or ROA is applied without asking anything
of the member; `import keep filtered` keeps refused routes, with the reason that the filter has put on them.

Registries and RPKI are both ROA tables: a route object is a ROA that allows its own length only. A client's text holds
its origins, addresses and limits and nothing else, so that a change of one client leaves the others' text, and therefore
their sessions and filters, alone. What clients have in common is called, not spelled: BIRD 2.0.12 makes every word of a filter a name of that filter, and
whenever one is met, looks through all that other filters made of it, so that the words of 2,000 filters cost a second, and calls of functions nothing.

Routes are looked at once where they come in, and as little as possible where they go out, since they go out to everybody. Import puts
`nnix_special` on the few that some receiver may not get as they are (a wish, a blackhole, an IPv6 next hop); for all others export is one test.
Wishes in standard and extended communities are written as large ones first, so that each is judged once. Receivers that wishes aim at by the same
groups and round-trip times share a function, named after these, so that a new receiver changes nobody else's.

What all receivers share on the way out is asked by special routes only. So when it changes, import puts another number into `nnix_special`: such routes are told
anew because they differ, and the rest, for which nothing has changed, is not. For that the text says `# told anew by import: NUMBER` to the driver. A local
snippet may ask anything of any route, so where there is one BIRD feeds everybody again.

After a cold start nothing is accepted until members are back, where the driver wishes so (daemons/bird.py): it fills the table `nnix_held`. For
that `import table` is needed a second time: what members have sent meanwhile is taken in from there, client by client, and so goes out in few messages.

BIRD itself judges three things before any filter sees the route: OTC (RFC 9234), a next hop outside of the LAN, and malformed
attributes. It treats such a route as withdrawn and says so in its log only; read.py finds it there.

`# needs:` names what not every version has; the driver refuses the text where the version has it not. `@HOME@` is the daemon's own folder,
`@SECRET:NAME@` a secret: its driver puts the real ones. What is defined here is called NNIX_… or nnix_…, which is a keyword of no version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from nnix.planes.routing.communities import (
    BLACKHOLE,
    GRACEFUL_SHUTDOWN,
    LEARNT_FROM,
    NO_ADVERTISE,
    NO_EXPORT,
    NO_EXPORT_SUBCONFED,
    NOT,
    ORIGINATED_BY,
    PEER,
    PREPENDS,
    REASON,
    REFUSED,
    REFUSED_FROM,
    SAID,
    TO,
    WISH,
    WISHES,
    Aim,
    Community,
    Wish,
    community,
    large_function,
    short_key,
)
from nnix.planes.routing.kinds import (
    AddPaths,
    Counted,
    Irr,
    KeyAlgorithm,
    LimitAction,
    NoExport,
    Place,
    RefusedRoutes,
    Role,
    Rpki,
    WithoutData,
)
from nnix.planes.routing.naming import Family, protocol_name, word
from nnix.planes.routing.rpki import RoaTable

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from nnix.planes.routing.compile import Accepted, ClientPolicy, ServerPolicy

_ACTION = {LimitAction.RESTART: "restart", LimitAction.SHUTDOWN: "disable", LimitAction.BLOCK: "block", LimitAction.WARN: "warn"}
_CACHE_RETRY_SECONDS = 10  # of our own cache beside us, which is not the one of which the whole world asks every 600 s
_ROLE = {Role.RS: "rs_server", Role.RS_CLIENT: "rs_client", Role.PROVIDER: "provider", Role.CUSTOMER: "customer", Role.PEER: "peer"}
_PATHS = {AddPaths.SEND: "tx", AddPaths.RECEIVE: "rx", AddPaths.BOTH: "on"}
_ALGORITHM = {KeyAlgorithm.CMAC: "cmac aes128", KeyAlgorithm.HMAC: "hmac sha1"}
_FORM = {"standard": "bgp_community", "rt": "bgp_ext_community", "ro": "bgp_ext_community", "large": "bgp_large_community"}
_ERROR_WAIT_SECONDS = 60  # BIRD has one pause for every error; it begins here and doubles up to the policy's limit_restart_seconds
_LARGE_MAX = 4294967295
_VALIDITY_STATES = "[(generic, 0x43000000, *)]"  # RFC 8097; BIRD sends no such non-transitive community to another AS, so it says none


# Nobody may announce 0.0.0.0/0: that the table has anything about it is a word of the driver's. Looked up by the shortest prefix, which costs least.
HELD = 'roa4 table nnix_held;\ninclude "held*.conf";\n'
_IS_HELD = "roa_check(nnix_held, 0.0.0.0/0, 0) != ROA_UNKNOWN"


def spell(server: ServerPolicy) -> str:
    """The whole configuration of one route server."""
    families = server.families
    parts = [_head(server)]
    ordered = " sorted" if server.policy.path_hiding_solved else ""
    parts.append("".join(f"ipv{family} table master{family}{ordered};\n" for family in families))  # BIRD 3: before all other tables
    for family in families:
        parts.append(_tables(server, family))
    parts.append(HELD)
    parts.append(_reach(server))
    parts.append(_feeds(server))
    parts.append(_aspas(server))
    parts += [_local(each.name, each.text) for each in server.snippets if each.place is Place.HEAD]
    parts.append(_shared(server))
    for family in families:
        parts.append(_checks(server, family))
    parts += [_template(server, family) for family in families]
    parts += _heeding(server)
    parts += [_client(client, server) for client in server.clients]
    return "\n".join(part for part in parts if part)


def _generation(server: ServerPolicy) -> int:
    """A number for what receivers share on the way out, whatever groups they are in: another one for another text, but for one chance in 2^31."""
    text = "\n".join([*_control_sets(server), _LENGTHEN, _heed("nnix_heed", (), server)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1 | 1


def _needs(server: ServerPolicy) -> Iterator[tuple[str, str, str]]:
    """What not every version of BIRD has: (the driver's name of the feature, who wants it, what would mend it)."""
    policy = server.policy
    if policy.roles:
        yield "roles", policy.id, "set roles: false, or use a newer BIRD"
    asking = [f"session/{each.session}" for each in server.clients if each.aspa is not Rpki.OFF]
    if policy.aspa is not Rpki.OFF:
        asking = [policy.id]
    for each in asking:
        yield "aspa", each, "set aspa: off, or use a newer BIRD"
    for client in server.clients:
        if client.tcp_key is not None:
            yield "tcp-ao", f"session/{client.session}", "give it a password (TCP MD5) instead, or use a newer BIRD"


def _wants(server: ServerPolicy, feature: str) -> bool:
    return any(name == feature for name, _, _ in _needs(server))


def _head(server: ServerPolicy) -> str:
    text = f"# nnix: route-server/{server.name}, AS{server.asn}. Written by a program; what is changed here by hand does not stay.\n"
    text += "".join(f"# needs: {feature} {who}: {mend}\n" for feature, who, mend in _needs(server))
    text += "" if server.snippets else f"# told anew by import: {_generation(server)}\n"
    text += f"# farewell: {server.shutdown_text}\n" if server.shutdown_text else ""
    # After a restart nothing is told before all who were there have said what they have, or the time is over for which members keep what they were told.
    gone = server.policy.graceful_restart_seconds
    wait = f"graceful restart wait {gone};\n" if gone else ""
    text += f"""log "@HOME@/bird.log" 4194304 "@HOME@/bird.log.1" all;
timeformat protocol iso long;
timeformat route iso long;
timeformat log iso long;
router id {server.router_id};

{wait}define RS = {server.asn};
attribute int nnix_special;
attribute int nnix_nobody;
attribute int nnix_controls;
attribute int nnix_blackhole;
attribute int nnix_hop6;
protocol device {{ scan time 10; }}
"""
    return text + ("protocol bfd {}\n" if any(each.bfd for each in server.clients) else "")


def _tables(server: ServerPolicy, family: Family) -> str:
    v4 = family == 4
    rows: list[str] = []
    longer = server.registered_longer_v4 if v4 else server.registered_longer_v6
    tables: tuple[tuple[str, RoaTable], ...] = (
        (f"irr{family}", server.registered_v4 if v4 else server.registered_v6),
        *([(f"irr{family}_longer", longer)] if _looks_longer(server) else []),
        (f"irr{family}_covering", server.registered_covering_v4 if v4 else server.registered_covering_v6),
        (f"vrp{family}", server.vrps_v4 if v4 else server.vrps_v6),
        (f"vrp{family}_covering", server.vrps_covering_v4 if v4 else server.vrps_covering_v6),
    )
    for name, table in tables:
        if _fed(server, name.replace(str(family), "", 1)):  # irr4_covering is irr_covering of IPv4
            rows.append(f"roa{family} table {name};")
        else:  # what stands here changes all at once, so there is nothing to wait for
            rows.append(f'roa{family} table {name} {{\n  include "settle-time*.conf";\n}};')
            rows.append(f"protocol static st_{name} {{\n roa{family} {{ table {name}; }};\n{table.routes}}}")
    return "\n".join(rows) + "\n"


def _fed(server: ServerPolicy, table: str) -> bool:
    """Whether a table comes by RTR."""
    return any(each.table == table for each in server.feeds)


def _feeds(server: ServerPolicy) -> str:
    """RTR sessions with caches (RFC 8210). Several caches feed one table, which holds what any of them has; a dead one's part stays until the
    cache's own expire interval is over."""
    text = ""
    for feed in server.feeds:
        root, covering, _ = feed.table.partition("_covering")
        channels = "".join(f"  roa{family} {{ table {root}{family}{covering}; }};\n" for family in server.families)
        text += f"""protocol rpki {feed.table}_{word(feed.cache)} {{
  description "rtr-cache/{feed.cache}";
{channels}  remote {feed.address} port {feed.port};
  retry keep {_CACHE_RETRY_SECONDS};
}}
"""
    return text


def _reach(server: ServerPolicy) -> str:
    """Routers several hops away are reached somehow: a route server forwards nothing (RFC 7947, 2.2.1), and their routes must not lose against
    others because it knows no way to them."""
    if all(each.multihop is None for each in server.clients):
        return ""
    text = ""
    for family in server.families:
        everywhere = "0.0.0.0/0" if family == 4 else "::/0"
        text += f"ipv{family} table nnix_reach{family};\n"
        text += f"protocol static st_nnix_reach{family} {{\n ipv{family} {{ table nnix_reach{family}; }};\n"
        text += f" route {everywhere} blackhole {{ igp_metric = 0; }};\n}}\n"
    return text


# The mark that a cache puts into every table for us: covered by AS0 when there are data, unknown when there are none.
_MARK: dict[Family, str] = {4: "192.0.0.8/32", 6: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128"}


def _no_data(table: str, family: Family) -> str:
    return f"roa_check({table}, {_MARK[family]}, 0) = ROA_UNKNOWN"


def _looks_longer(server: ServerPolicy) -> bool:
    return any(_let_off(each, server) for each in server.clients)


def _let_off(client: ClientPolicy, server: ServerPolicy) -> bool:
    """More specifics of its route objects pass, though not everybody's do."""
    return client.irr_more_specifics and not server.policy.irr_more_specifics


def _aspas(server: ServerPolicy) -> str:
    if not _wants(server, "aspa"):
        return ""
    rows = "".join(
        f" route aspa {customer} {'providers ' + ', '.join(map(str, providers)) if any(providers) else 'transit'};\n"
        for customer, providers in server.aspas
    )
    return f"aspa table nnix_aspa;\nprotocol static st_nnix_aspa {{\n aspa {{ table nnix_aspa; }};\n{rows}}}\n"


def _local(name: str, text: str) -> str:
    return f"# local-snippet/{name}\n{text.rstrip()}\n# end of local-snippet/{name}\n"


# words --------------------------------------------------------------------------------------------------------------


def _refuse(slug: str, peer: int | None = None) -> str:
    return f"nnix_refuse({REASON[slug].number}, {'nnix_peer' if peer is None else peer});"


def _say(slug: str) -> str:
    said = SAID[slug]
    return f"bgp_large_community.add((RS, {said.function}, {said.value}));"


def _called(slug: str) -> str:
    """`_say` in the words of a client's filter."""
    return f"nnix_say({SAID[slug].function}, {SAID[slug].value});"


def _constant(holds: bool) -> str:
    return "NNIX_YES" if holds else "NNIX_NO"


def _pair(pair: tuple[int, int]) -> str:
    return f"({pair[0]}, {pair[1]})"


def _value(each: Community) -> str:
    head = f"{each.form}, " if each.form in ("rt", "ro") else ""
    return f"({head}{', '.join(map(str, each.values))})"


def _add(each: Community) -> str:
    return f"{_FORM[each.form]}.add({_value(each)});"


def _carries(each: Community) -> str:
    return f"{_value(each)} ~ {_FORM[each.form]}"


def _gaps(taken: Iterable[tuple[int, int]]) -> Iterator[str]:
    """What lies between ranges, as BIRD writes ranges."""
    start = 0
    for first, last in sorted(taken):
        if first > start:
            yield f"{start}..{first - 1}"
        start = last + 1
    yield f"{start}..{_LARGE_MAX}"


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


def _span(each: tuple[int, int]) -> str:
    return str(each[0]) if each[0] == each[1] else f"{each[0]}..{each[1]}"


def _function(head: str, rows: Iterable[str], variables: str = "") -> str:
    body = "".join(f"  {row}\n" for row in rows if row)
    return f"\nfunction {head}\n{variables}{{\n{body}}}\n"


def _asns(asns: Iterable[int]) -> str:
    return f"[{','.join(map(str, asns))}]"


_LENGTHEN = _function(
    "nnix_lengthen(int nnix_prepends)",
    [f"if nnix_prepends > {number} then bgp_path.prepend(bgp_path.first);" for number in range(3)],
)


# what all share -----------------------------------------------------------------------------------------------------


def _shared(server: ServerPolicy) -> str:
    """Functions for both families: how a route is refused, marked, told and tidied."""
    policy = server.policy
    functions = _ranges(large_function(wish, aim) for aim in server.aims for wish in WISHES)
    mapped = [(row.reason, community(row.community)) for row in policy.reason_communities]
    ours = sorted({*server.attached, *(each for _, each in mapped), *(each for _, each in server.says)})
    # Those of our own ASN lie in the gaps already, and BIRD finds nothing for sure in a set whose parts overlap.
    ours_large = [f"(RS, {each}, *)" for each in _gaps(functions)]
    ours_large += [_value(each) for each in ours if each.form == "large" and each.values[0] != server.asn]
    defines = [
        *_control_sets(server),
        f"define NNIX_OURS_LARGE = [{', '.join(ours_large)}];",
    ]
    scrub = [  # one word for one thing, from here on; those of our own ASN must be read before they are taken off
        f"if {_carries(each)} then {{ bgp_community.add({_pair(BLACKHOLE)}); {_FORM[each.form]}.delete([{_value(each)}]); }}"
        for each in server.blackholes
    ]
    scrub.append("if bgp_large_community ~ NNIX_OURS_LARGE then bgp_large_community.delete(NNIX_OURS_LARGE);")
    for name, forms in (("STANDARD", ("standard",)), ("EXTENDED", ("rt", "ro"))):
        own = [each for each in ours if each.form in forms]
        if own:
            defines.append(f"define NNIX_OURS_{name} = [{', '.join(_value(each) for each in own)}];")
            scrub.append(f"if {_FORM[forms[0]]} ~ NNIX_OURS_{name} then {_FORM[forms[0]]}.delete(NNIX_OURS_{name});")
    scrub.append(f"if bgp_ext_community ~ {_VALIDITY_STATES} then bgp_ext_community.delete({_VALIDITY_STATES});")
    refuse = [f"if nnix_reason = {REASON[slug].number} then {_add(each)}" for slug, each in mapped]
    if policy.refused is RefusedRoutes.REJECT:
        refuse = ["reject;"]
    else:
        refuse.append(f"bgp_large_community.add((RS, {REFUSED}, nnix_reason));")
        refuse.append(f"bgp_large_community.add((RS, {REFUSED_FROM}, nnix_peer));" if policy.refused_tells_announcer else "")
        if policy.refused is RefusedRoutes.TAG:
            refuse += ["preference = 0;", "nnix_nobody = 1;", "nnix_special = 1;", "accept;"]
        else:
            refuse.append("reject;")
    return (
        "\n".join(defines)
        + "\n"
        + _function("nnix_refuse(int nnix_reason; int nnix_peer)", refuse)
        + _CALLED
        + "\n# What the route server says of a route, no member may say in its stead."
        + _function("nnix_scrub()", scrub)
        + _LENGTHEN
    )


_CALLED = (
    "\n# What clients' filters call, rather than saying it themselves."
    "\ndefine NNIX_YES = true;\ndefine NNIX_NO = false;\n"
    + _function("nnix_take()", ["accept;"])
    + _function("nnix_say(int nnix_function; int nnix_value)", ["bgp_large_community.add((RS, nnix_function, nnix_value));"])
    + _function("nnix_next(int nnix_peer; ip nnix_hop)", [f"if bgp_next_hop != nnix_hop then {_refuse('next_hop_not_peer_ip')}"])
    + _function(
        "nnix_own(int nnix_peer; int set nnix_origins)",
        [f"if bgp_path.last !~ nnix_origins then {_refuse('irrdb_origin_as_filtered')}"],
    )
)


def _control_sets(server: ServerPolicy) -> list[str]:
    """Communities by which members ask for something."""
    aims = server.aims
    functions = _ranges(large_function(wish, aim) for aim in aims for wish in WISHES)
    keys = _ranges(short_key(wish, aim, server.stand_in) for aim in aims for wish in WISHES)
    standard = ", ".join(f"({_span(each)}, *)" for each in keys)
    extended = ", ".join(
        f"({kind}, {short_key(wish, aim, server.stand_in)}, *)" for kind in ("rt", "ro") for aim in aims for wish in WISHES
    )
    large = ", ".join(f"(RS, {_span(each)}, *)" for each in functions)
    return [
        f"define NNIX_CONTROLS_STANDARD = [{standard}];",
        f"define NNIX_CONTROLS_EXTENDED = [{extended}];",
        f"define NNIX_CONTROLS_LARGE = [{large}];",
    ]


def _checks(server: ServerPolicy, family: Family) -> str:
    """Import tests in their order, and what is put on an accepted route."""
    v4 = family == 4
    policy = server.policy
    sets = [
        ("LANS", server.lans_v4 if v4 else server.lans_v6, "exchange_lan"),
        ("BOGONS", server.bogons_v4 if v4 else server.bogons_v6, "bogon"),
        ("BLACKLIST", server.blacklist_v4 if v4 else server.blacklist_v6, "blacklisted"),
    ]
    text = "".join(
        f"define NNIX_{name}{family} = [{', '.join(f'{each}+' for each in prefixes)}];\n" for name, prefixes, _ in sets if prefixes
    )
    if server.transit_free:
        text += f"define NNIX_TRANSIT_FREE{family} = {_asns(server.transit_free)};\n"
    if server.never:
        text += f"define NNIX_NEVER{family} = {_asns(server.never)};\n"
    text += f"define NNIX_BOGON_ASNS{family} = [{', '.join(_span(each) for each in server.bogon_asns)}];\n"
    too_long = (
        f"{{ if ! ({_pair(BLACKHOLE)} ~ bgp_community) then {_refuse('prefix_len_too_long')} }}"
        if policy.blackhole
        else _refuse("prefix_len_too_long")
    )
    behind = _say("transit_free_behind") if policy.transit_free_warns else _refuse("transit_free_asn")
    counted = policy.communities_max is not None
    sane = [
        "nnix_carried = bgp_community.len + bgp_ext_community.len + bgp_large_community.len;" if counted else "",
        "nnix_scrub();",
        f"if {_IS_HELD} then {_refuse('starting')}",
        f"if net = {'0.0.0.0/0' if v4 else '::/0'} then {_refuse('default_route')}",
        "" if v4 else f"if ! (net ~ [2000::/3+]) then {_refuse('not_global_unicast')}",
        *(f"if net ~ NNIX_{name}{family} then {_refuse(slug)}" for name, prefixes, slug in sets if prefixes),
        f"if nnix_listed then {_refuse('blacklisted')}",
        f"if net.len > nnix_longest then {too_long}",
        f"if net.len < nnix_shortest then {_refuse('prefix_len_too_short')}",
        f"if nnix_carried > {policy.communities_max} then {_refuse('too_many_communities')}" if counted else "",
        f"if bgp_path.len < 1 then {_refuse('as_path_too_short')}",
        f"if bgp_path.len > {policy.path_length_max} then {_refuse('as_path_too_long')}",
        f"if bgp_path ~ [RS] then {_refuse('own_asn_in_path')}",
        f"if ! nnix_sets then nnix_flat{family}(nnix_peer);",
        f"if bgp_path ~ NNIX_BOGON_ASNS{family} then {_refuse('bogon_asn')}",
        f"if nnix_behind then {behind}" if server.transit_free else "",
        f"if bgp_path ~ NNIX_NEVER{family} then {_refuse('never_via_route_server')}" if server.never else "",
        f"if bgp_path.first != nnix_peer then {_refuse('first_as_not_peer_as')}",
    ]
    # RFC 9774: no AS_SET. What is left of a path, when the ASNs so far are taken out, begins with a number or with a set; a set has no first.
    # Of a set that names an AS which stands before it nothing is left; at the end of a path it shows in that the path has no last. AS 0 looks
    # like no AS at all, so it is looked for before.
    flat = [
        f"if bgp_path ~ [0] then {_refuse('bogon_asn')}" if any(first == 0 for first, _ in server.bogon_asns) else "",
        f"if bgp_path.last = 0 then {_refuse('as_set_in_path')}",
        "nnix_rest = bgp_path;",
        "for int nnix_seen in bgp_path do {",
        f"  if nnix_rest.len > 0 then {{ if nnix_rest.first = 0 then {_refuse('as_set_in_path')} }}",
        "  nnix_rest = delete(nnix_rest, nnix_seen);",
        "}",
    ]
    arguments = "int nnix_peer; int nnix_shortest; int nnix_longest; bool nnix_listed; bool nnix_behind; bool nnix_sets"
    text += (
        _function(f"nnix_flat{family}(int nnix_peer)", flat, "bgppath nnix_rest;\n")
        + _function(f"nnix_sane{family}({arguments})", sane, "int nnix_carried;\n" if counted else "")
        + _registered(server, family, "")
        + (_registered(server, family, "_longer") if _looks_longer(server) else "")
        + _valid(server, family)
        + _mark(server, family)
    )
    return text


def _registered(server: ServerPolicy, family: Family, which: str) -> str:
    """Whether the route is registered; a host route is where the prefix around it would be."""
    policy = server.policy

    def unregistered(table: str, roas: str, slug: str) -> str:
        also = f" if roa_check({roas}, net, bgp_path.last) != ROA_VALID then" if policy.roas_are_route_objects else ""
        return f"if roa_check({table}, net, bgp_path.last) != ROA_VALID then{also} {_refuse(slug)}"

    rows = [unregistered(f"irr{family}{which}", f"vrp{family}", "irrdb_prefix_filtered")]
    if policy.blackhole:
        rows = [
            "if net.len > nnix_longest then {",
            "  " + unregistered(f"irr{family}_covering", f"vrp{family}_covering", "blackhole_not_covered"),
            "} else {",
            f"  {rows[0]}",
            "}",
        ]
    return _function(f"nnix_registered{which}{family}(int nnix_peer; int nnix_longest)", rows)


def _valid(server: ServerPolicy, family: Family) -> str:
    invalid = f"if nnix_rejects then {_refuse('rpki_invalid')}"
    rows = [
        f"case roa_check(vrp{family}, net, bgp_path.last) {{",
        f"  ROA_INVALID: {{ {invalid} {_say('rpki_invalid')} }}",
        f"  ROA_VALID: {_say('rpki_valid')}",
        f"  else: {_say('rpki_unknown')}",
        "}",
    ]
    if server.policy.blackhole:
        rows = [
            "if net.len > nnix_longest then {",
            f"  if roa_check(vrp{family}, net, bgp_path.last) = ROA_INVALID then {{",
            f"    if roa_check(vrp{family}_covering, net, bgp_path.last) != ROA_VALID then {{ {invalid} }}",
            "  }",
            f"  {_say('rpki_not_checked')}",
            "} else " + rows[0],
            *rows[1:],
        ]
    if _fed(server, "vrp"):
        refused = f"if nnix_rejects then {_refuse('rpki_no_data')} " if server.policy.rpki_without_data is WithoutData.REFUSE else ""
        rows = [
            f"if {_no_data(f'vrp{family}', family)} then {{ {refused}{_say('rpki_not_checked')} }} else {{",
            *(f"  {each}" for each in rows),
            "}",
        ]
    text = _function(f"nnix_valid{family}(int nnix_peer; int nnix_longest; bool nnix_rejects)", rows)
    if _wants(server, "aspa"):
        # What a client of a route server sends may have climbed only (upstream verification).
        text += _function(
            f"nnix_climbed{family}(int nnix_peer; bool nnix_rejects)",
            [
                "case aspa_check(nnix_aspa, bgp_path, true) {",
                f"  ASPA_INVALID: {{ if nnix_rejects then {_refuse('aspa_invalid')} {_say('aspa_invalid')} }}",
                f"  ASPA_VALID: {_say('aspa_valid')}",
                f"  else: {_say('aspa_unknown')}",
                "}",
            ],
        )
    return text


def _mark(server: ServerPolicy, family: Family) -> str:
    """What is put on an accepted route, and whether export must look at it."""
    policy = server.policy
    special = f"nnix_special = {_generation(server)};"
    next_hop = policy.blackhole_v4 if family == 4 else policy.blackhole_v6
    obeyed = f"[{', '.join(_pair(each) for each in (NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED))}]"
    held = f"if bgp_community ~ {obeyed} then {{ nnix_nobody = 1; {special} }}"
    blackholes = [
        f"if {_pair(BLACKHOLE)} ~ bgp_community then {{",
        f"  bgp_community.add({_pair(NO_EXPORT)});",
        f"  bgp_next_hop = {next_hop};" if next_hop is not None else "",
        "  nnix_blackhole = 1;",
        f"  {special}",
        f"}} else {held}" if policy.no_export is NoExport.OBEY else "}",
    ]
    rows = [
        *(
            [
                f"bgp_large_community.add((RS, {LEARNT_FROM}, nnix_peer));",
                f"bgp_large_community.add((RS, {ORIGINATED_BY}, bgp_path.last));",
            ]
            if policy.tells_announcer
            else []
        ),
        *(f"if (RS, {SAID[slug].function}, {SAID[slug].value}) ~ bgp_large_community then {_add(each)}" for slug, each in server.says),
        f"if nnix_going then {{ if {_pair(GRACEFUL_SHUTDOWN)} ~ bgp_community then bgp_local_pref = 0; }}",
        *(blackholes if policy.blackhole else [held] if policy.no_export is NoExport.OBEY else []),
        f"if ! bgp_next_hop.is_v4 then {{ nnix_hop6 = 1; {special} }}" if family == 4 else "",
        f"if bgp_large_community ~ NNIX_CONTROLS_LARGE then {{ nnix_controls = 1; {special} }}",
        f"if bgp_community ~ NNIX_CONTROLS_STANDARD then {{ nnix_controls = 2; {special} }}",
        f"if bgp_ext_community ~ NNIX_CONTROLS_EXTENDED then {{ nnix_controls = 2; {special} }}",
    ]
    return _function(f"nnix_mark{family}(int nnix_peer; bool nnix_going)", rows)


def _template(server: ServerPolicy, family: Family) -> str:
    if (server.v4 if family == 4 else server.v6) is None:
        return ""
    policy = server.policy
    pauses = policy.pauses
    first = pauses.first_seconds if pauses else min(_ERROR_WAIT_SECONDS, policy.limit_restart_seconds)
    longest = pauses.longest_seconds if pauses else policy.limit_restart_seconds
    forget = pauses.forget_seconds if pauses else 2 * policy.limit_restart_seconds + 300
    rows = [
        f"local {server.v4 if family == 4 else server.v6} as RS;",
        f"local role {_ROLE[Role.RS]};" if policy.roles else "",
        "rs client;",
        "strict bind on;",
        "free bind on;",
        "interpret communities off;",
        "allow local as 250;",
        "allow as sets on;",
        f"hold time {policy.hold_time_seconds};",
        f"connect retry time {policy.connect_retry_seconds};",
        f"error wait time {first}, {longest};",
        f"error forget time {forget};",
        f"graceful restart on;\n  graceful restart time {policy.graceful_restart_seconds};" if policy.graceful_restart_seconds else "",
        f"long lived graceful restart on;\n  long lived stale time {policy.long_lived_seconds};" if policy.long_lived_seconds else "",
        'include "restart-time*.conf";',
        f"ipv{family} {{\n{_channel(server, family)}  }};",
    ]
    return f"\ntemplate bgp client{family} {{\n{''.join(f'  {row}' + chr(10) for row in rows if row)}}}\n"


def _channel(server: ServerPolicy, family: Family) -> str:
    rows = [
        f"table master{family};",
        "secondary on;" if server.policy.path_hiding_solved else "",
        "import table on;",
        "import keep filtered on;" if server.policy.refused is not RefusedRoutes.REJECT else "",
        "next hop keep on;",
    ]
    return "".join(f"    {row}\n" for row in rows if row)


# whom a route reaches -----------------------------------------------------------------------------------------------


def _heed_name(client: ClientPolicy) -> str:
    return f"nnix_heed_{client.targets_key}" if client.targets else "nnix_heed"


def _heeding(server: ServerPolicy) -> list[str]:
    """One function for all receivers that are in the same groups and bands."""
    names = {_heed_name(each): each.targets for each in server.clients}
    return [_heed(name, targets, server) for name, targets in sorted(names.items())]


def _heed(name: str, targets: Sequence[tuple[Aim, tuple[int, ...]]], server: ServerPolicy) -> str:
    """Judge an announcer's wishes for a receiver: those about all first, then those about its groups, then about itself; the last one counts."""
    short = server.stand_in

    def all_of(wish: Wish) -> str:
        return f"(RS, {wish.large}, 0) ~ bgp_large_community"

    def aimed(wish: Wish) -> str:
        values = ", ".join(f"(RS, {large_function(wish, aim)}, {value})" for aim, numbers in targets for value in numbers)
        return f"bgp_large_community ~ [{values}]"

    def one(wish: Wish) -> str:
        return f"(RS, {wish.large}, nnix_peer) ~ bgp_large_community"

    rows = ["if nnix_controls > 1 then {"]  # the same in one form
    for wish in WISHES:
        key = short_key(wish, PEER, short)
        about_all = [
            f"({key}, {short}) ~ bgp_community",
            *(f"({kind}, {key}, RS) ~ bgp_ext_community" for kind in ("rt", "ro")),
        ]
        if wish.slug != "to":
            rows.append(f"  if {' || '.join(about_all)} then bgp_large_community.add((RS, {wish.large}, 0));")
        about_one = " || ".join(f"({kind}, {key}, nnix_peer) ~ bgp_ext_community" for kind in ("rt", "ro"))
        rows.append(f"  if {about_one} then bgp_large_community.add((RS, {wish.large}, nnix_peer));")
        rows.append(
            f"  if nnix_short > 0 then {{ if ({key}, nnix_short) ~ bgp_community then bgp_large_community.add((RS, {wish.large}, nnix_peer)); }}"
        )
        for aim, numbers in targets:
            aimed_key = short_key(wish, aim, short)
            standard = ", ".join(f"({aimed_key}, {value})" for value in numbers)
            extended = ", ".join(f"({kind}, {aimed_key}, {value})" for kind in ("rt", "ro") for value in numbers)
            said = f"bgp_large_community.add((RS, {large_function(wish, aim)}, {numbers[0]}));"
            rows.append(f"  if bgp_community ~ [{standard}] then {said}")
            rows.append(f"  if bgp_ext_community ~ [{extended}] then {said}")
    rows.append("}")
    rows += ["nnix_told = true;", f"if {all_of(WISH['not'])} then nnix_told = false;"]
    if targets:
        rows += [f"if {aimed(WISH['to'])} then nnix_told = true;", f"if {aimed(WISH['not'])} then nnix_told = false;"]
    rows += [
        f"if {one(WISH['to'])} then nnix_told = true;",
        f"if {one(WISH['not'])} then nnix_told = false;",
        "if ! nnix_told then reject;",
    ]
    rows.append("nnix_prepends = 0;")
    levels = [all_of, *([aimed] if targets else []), one]
    for level in levels:
        rows.append("nnix_closer = 0;")
        rows += [f"if {level(wish)} then nnix_closer = {prepends};" for prepends, wish in PREPENDS.items()]
        rows.append("if nnix_closer > 0 then nnix_prepends = nnix_closer;")
    rows.append("nnix_lengthen(nnix_prepends);")
    for slug, added in (("no-export", NO_EXPORT), ("no-advertise", NO_ADVERTISE)):
        rows.append(f"if {' || '.join(level(WISH[slug]) for level in levels)} then bgp_community.add({_pair(added)});")
    rows += [
        "bgp_community.delete(NNIX_CONTROLS_STANDARD);",
        "bgp_ext_community.delete(NNIX_CONTROLS_EXTENDED);",
        "bgp_large_community.delete(NNIX_CONTROLS_LARGE);",
    ]
    return "\n# Whom the announcer wants to reach." + _function(
        f"{name}(int nnix_peer; int nnix_short)", rows, "bool nnix_told;\nint nnix_prepends;\nint nnix_closer;\n"
    )


# one client ---------------------------------------------------------------------------------------------------------


def _client(client: ClientPolicy, server: ServerPolicy) -> str:
    name = word(client.session)
    text = f"\n# session/{client.session}, member/{client.member}, AS{client.asn}\n"
    if client.origins is not None:
        text += f"define NNIX_O_{name} = {_asns(client.origins)};\n"
    if client.v4 is not None:
        text += _protocol(client, server, 4, client.v4)
    if client.v6 is not None:
        text += _protocol(client, server, 6, client.v6)
    return text


def _protocol(client: ClientPolicy, server: ServerPolicy, family: Family, address: IPv4Address | IPv6Address) -> str:
    policy = server.policy
    families: tuple[Family, ...] = (4, 6) if family == 6 and client.v4_over_v6 else (family,)
    defines, channels = "", ""
    for each in families:
        defined, body = _filters(client, server, each)
        defines += defined
        shared = f"{_channel(server, each)}    extended next hop on;\n" if each != family else ""
        shared += f"    igp table nnix_reach{each};\n" if client.multihop is not None else ""
        channels += f"  ipv{each} {{\n{shared}{body}  }};\n"
    key = client.tcp_key
    rows = [
        f"# session: session/{client.session}",
        f'description "session/{client.session}";',
        f"neighbor {address} as {client.asn};",
        f"passive {'on' if client.passive else 'off'};",
        f"local role {_ROLE[client.role]};" if policy.roles and client.role is not Role.RS else "",
        "require roles on;" if policy.roles and client.role_strict else "",
        f"hold time {client.hold_time_seconds};" if client.hold_time_seconds != policy.hold_time_seconds else "",
        f"multihop {client.multihop};" if client.multihop is not None else "",
        "ttl security on;" if client.gtsm else "",
        "bfd on;" if client.bfd else "",
        f'password "@SECRET:{client.password}@";' if client.password is not None else "",
        "authentication ao;" if key else "",
        f'keys {{ key {{ id {key.id}; secret "@SECRET:{key.secret.removeprefix("secret:")}@"; algorithm {_ALGORITHM[key.algorithm]}; preferred; }}; }};'
        if key
        else "",
    ]
    head = "".join(f"  {row}\n" for row in rows if row)
    return f"{defines}protocol bgp {protocol_name(client.session, family)} from client{family} {{\n{head}{channels}}}\n"


def _filters(client: ClientPolicy, server: ServerPolicy, family: Family) -> tuple[str, str]:
    """(what must be defined before, the statements of the channel) of one address family."""
    v4 = family == 4
    before, rows = _inward(client, server, family)
    inward = "".join(f"      {row}\n" for row in [*rows, "nnix_take();"])
    outward = "".join(f"      {row}\n" for row in [*_outward(client, server, family), "accept;"] if row)
    counts = "receive" if client.limit_counts is Counted.RECEIVED else "import"
    limit = client.routes_max_v4 if v4 else client.routes_max_v6
    paths = f"    add paths {_PATHS[client.add_paths]};\n" if client.add_paths is not AddPaths.OFF else ""
    return before, (
        f"    import filter {{\n{inward}    }};\n    export filter {{\n{outward}    }};\n{paths}"
        f"    {counts} limit {limit} action {_ACTION[client.limit_action]};\n"
    )


def _inward(client: ClientPolicy, server: ServerPolicy, family: Family) -> tuple[str, list[str]]:
    v4 = family == 4
    name = word(client.session)
    peer = client.asn
    shortest, longest = (client.lengths.v4_min, client.lengths.v4_max) if v4 else (client.lengths.v6_min, client.lengths.v6_max)
    listed = client.blacklist_v4 if v4 else client.blacklist_v6
    behind = f"bgp_path ~ NNIX_TRANSIT_FREE{family} && delete(bgp_path, {_asns(client.kin)}) ~ NNIX_TRANSIT_FREE{family}"
    arguments = [
        str(peer),
        str(shortest),
        str(longest),
        f"net ~ [{', '.join(f'{each}+' for each in listed)}]" if listed else _constant(False),
        behind if server.transit_free else _constant(False),
        _constant(client.as_sets_in_paths),
    ]
    hops: Sequence[object] = client.next_hops_v6 if not v4 or client.v4_over_v6 else client.next_hops_v4
    near = f"if bgp_next_hop !~ [{', '.join(map(str, hops))}] then {_refuse('next_hop_not_peer_ip', peer)}"
    rows = [f"nnix_sane{family}({', '.join(arguments)});", f"nnix_next({peer}, {hops[0]});" if len(hops) == 1 else near]
    before, authorised = _authorised(client, server, family, name, longest)
    rows += authorised
    if client.rpki is Rpki.OFF:
        rows.append(_called("rpki_not_checked"))
    else:
        rows.append(f"nnix_valid{family}({peer}, {longest}, {_constant(client.rpki is Rpki.REJECT)});")
    if client.aspa is not Rpki.OFF:
        rows.append(f"nnix_climbed{family}({peer}, {_constant(client.aspa is Rpki.REJECT)});")
    rows += [_add(each) for each in client.communities]
    if client.announce_only is not None:
        rows.append(f"bgp_large_community.add((RS, {NOT}, 0));")
        rows += [f"bgp_large_community.add((RS, {TO}, {asn}));" for asn in client.announce_only]
    rows += [f"bgp_large_community.add((RS, {NOT}, {asn}));" for asn in client.announce_not]
    rows.append(f"nnix_mark{family}({peer}, {_constant(client.graceful_shutdown)});")
    rows += [_local(each.name, each.text).rstrip() for each in server.snippets if each.place is Place.IMPORT]
    return before, rows


def _authorised(client: ClientPolicy, server: ServerPolicy, family: Family, name: str, longest: int) -> tuple[str, list[str]]:
    """(definitions, statements): whether the registries, or an exception, let the route pass."""
    if client.origins is None:
        return "", [_called("irrdb_not_checked")]
    before = ""
    which = "_longer" if _let_off(client, server) else ""
    prefixes = client.prefixes_v4 if family == 4 else client.prefixes_v6
    accepted = client.accepted_v4 if family == 4 else client.accepted_v6
    listed = [
        *_listed(prefixes, client, server, family, longest),
        *_patterns((e for e in accepted if e.origin is None), server, family, longest),
    ]
    known = f"net ~ NNIX_P{family}_{name}" if listed else "false"
    if listed and client.irr in (Irr.STRICT, Irr.TAG):
        before = f"define NNIX_P{family}_{name} = [{','.join(dict.fromkeys(listed))}];\n"
    if client.irr is Irr.TAG:
        registered = f"roa_check(irr{family}{which}, net, bgp_path.last) = ROA_VALID"
        if listed:
            registered += f" || {known}"
        return before, [
            f"if bgp_path.last ~ NNIX_O_{name} then {_called('irrdb_origin_known')} else {_called('irrdb_origin_unknown')}",
            f"if {registered} then {_called('irrdb_prefix_known')} else {_called('irrdb_prefix_unknown')}",
        ]
    rows = [f"nnix_own({client.asn}, NNIX_O_{name});"]
    if client.irr is Irr.STRICT:
        call = f"nnix_registered{which}{family}({client.asn}, {longest});"
        rows.append(f"if ! ({known}) then {call}" if listed else call)
    rows.append(_called("irrdb_valid"))
    by_origin: dict[int, list[Accepted]] = {}
    for each in accepted:
        if each.origin is not None:
            by_origin.setdefault(each.origin, []).append(each)
    if by_origin:
        tests = " || ".join(
            f"(bgp_path.last = {origin} && net ~ [{', '.join(_patterns(prefixes_, server, family, longest))}])"
            for origin, prefixes_ in sorted(by_origin.items())
        )
        rows = [f"if {tests} then {_called('irrdb_excepted')} else {{", *rows, "}"]
    return before, rows


def _outward(client: ClientPolicy, server: ServerPolicy, family: Family) -> list[str]:
    """What a receiver does not get, and what is changed for it. The inner part is for special routes only."""
    policy = server.policy
    own = client.blackhole_community
    inner = [
        "if defined(nnix_nobody) then reject;" if policy.refused is RefusedRoutes.TAG or policy.no_export is NoExport.OBEY else "",
        "if defined(nnix_hop6) then reject;" if family == 4 and not client.v4_over_v6 else "",
        "if defined(nnix_blackhole) then reject;" if policy.blackhole and not client.blackhole else "",
        f"if defined(nnix_controls) then {_heed_name(client)}({client.asn}, {client.short_asn or 0});",
    ]
    if policy.blackhole and client.blackhole and own is not None:
        instead = f"bgp_community.delete([{_pair(BLACKHOLE)}]); " if client.blackhole_community_alone else ""
        inner.append(f"if defined(nnix_blackhole) then {{ {instead}{_add(own)} }}")
    return [
        f"if bgp_path.first !~ {_asns(client.hear_only)} then reject;"
        if client.hear_only
        else "reject;"
        if client.hear_only is not None
        else "",
        f"if bgp_path.first ~ {_asns(client.hear_not)} then reject;" if client.hear_not else "",
        "if defined(nnix_special) then {",
        *(f"  {row}" for row in inner if row),
        "}",
        "bgp_path.prepend(RS);" if client.prepend_route_server else "",
        f"bgp_community.add({_pair(GRACEFUL_SHUTDOWN)});" if server.shutting_down else "",
        *(_local(each.name, each.text).rstrip() for each in server.snippets if each.place is Place.EXPORT),
    ]


def _patterns(accepted: Iterable[Accepted], server: ServerPolicy, family: Family, longest: int) -> Iterator[str]:
    """Excepted prefixes as BIRD's prefix patterns; where blackholing is on, with the host routes inside."""
    widest = 32 if family == 4 else 128
    for each in accepted:
        length = int(each.prefix.rpartition("/")[2])
        yield each.prefix if (each.shortest, each.longest) == (length, length) else f"{each.prefix}{{{each.shortest},{each.longest}}}"
        if server.policy.blackhole and longest < widest:
            yield f"{each.prefix}{{{max(longest + 1, length)},{widest}}}"


def _listed(prefixes: Iterable[str], client: ClientPolicy, server: ServerPolicy, family: Family, longest: int) -> Iterator[str]:
    """Registered prefixes without a known origin, as BIRD's prefix patterns; where blackholing is on, with the host routes inside."""
    lengths = server.policy.prefix_lengths
    down, widest = (lengths.v4_max, 32) if family == 4 else (lengths.v6_max, 128)
    for each in prefixes:
        prefix, _, pattern = each.partition("{")
        length = int(prefix.rpartition("/")[2])
        low, high = (int(part) for part in pattern.rstrip("}").split(",")) if pattern else (length, length)
        if client.irr_more_specifics:
            high = max(high, down)
        yield prefix if (low, high) == (length, length) else f"{prefix}{{{low},{high}}}"
        if server.policy.blackhole and longest < widest:
            yield f"{prefix}{{{max(longest + 1, length)},{widest}}}"
