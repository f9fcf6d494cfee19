"""A server's policy in BIRD's language (2.0.12 and newer; what 2.0.12 does not know is not used).

One table per address family, sorted, and `secondary` on each client's channel: BIRD offers a client the first route of the
sorted ones that its export filter lets pass, so that nothing is hidden behind a best path (RFC 7947, 2.3.1) without a table per
client. `import table` keeps what a member sent, so that a new policy, route object or ROA is applied without asking anything
of the member; `import keep filtered` keeps refused routes, with the reason that the filter has put on them.

Registries and RPKI are both ROA tables: a route object is a ROA that allows its own length only. A client's text holds
its origins, addresses and limits and nothing else, so that a change of one client leaves the others' text, and therefore
their sessions and filters, alone.

BIRD itself judges three things before any filter sees the route: OTC (RFC 9234), a next hop outside of the LAN, and malformed
attributes. It treats such a route as withdrawn and says so in its log only; read.py finds it there.

`@HOME@` in the text is the daemon's own folder; its driver puts the real one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nnix.planes.routing.communities import (
    BLACKHOLE,
    GRACEFUL_SHUTDOWN,
    NO_EXPORT,
    NOT,
    PREPEND_LARGE,
    PREPEND_SHORT,
    REASON,
    REFUSED,
    SAID,
    TO,
)
from nnix.planes.routing.kinds import Irr, LimitAction, Rpki, WithoutData
from nnix.planes.routing.naming import Family, protocol_name, word
from nnix.planes.routing.rpki import RoaTable

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from nnix.planes.routing.compile import ClientPolicy, ServerPolicy

_ACTION = {LimitAction.RESTART: "restart", LimitAction.SHUTDOWN: "disable", LimitAction.BLOCK: "block", LimitAction.WARN: "warn"}
_CACHE_RETRY_SECONDS = 10  # of our own cache beside us, which is not the one of which the whole world asks every 600 s
_ERROR_WAIT_SECONDS = 60  # BIRD has one pause for every error; it begins here and doubles up to the policy's limit_restart_seconds


def spell(server: ServerPolicy) -> str:
    """The whole configuration of one route server."""
    families = _families(server)
    parts = [_head(server)]
    parts.append("".join(f"ipv{family} table master{family} sorted;\n" for family in families))  # BIRD 3: before all other tables
    for family in families:
        parts.append(_tables(server, family))
    parts.append(_feeds(server))
    parts.append(_shared(server))
    for family in families:
        parts.append(_checks(server, family))
        parts.append(_template(server, family))
    parts += [_client(client, server) for client in server.clients]
    return "\n".join(parts)


def _families(server: ServerPolicy) -> tuple[Family, ...]:
    both: tuple[Family, ...] = (4, 6)
    return tuple(family for family in both if (server.v4 if family == 4 else server.v6) is not None)


def _head(server: ServerPolicy) -> str:
    return f"""# nnix: route-server/{server.name}, AS{server.asn}. Written by a program; what is changed here by hand does not stay.
log "@HOME@/bird.log" 4194304 "@HOME@/bird.log.1" all;
timeformat protocol iso long;
timeformat route iso long;
timeformat log iso long;
router id {server.router_id};

define RS = {server.asn};
attribute int nnix_controls;
attribute int nnix_blackhole;
protocol device {{ scan time 10; }}
"""


def _tables(server: ServerPolicy, family: Family) -> str:
    v4 = family == 4
    rows: list[str] = []
    tables: tuple[tuple[str, RoaTable], ...] = (
        (f"irr{family}", server.registered_v4 if v4 else server.registered_v6),
        (f"irr{family}_covering", server.registered_covering_v4 if v4 else server.registered_covering_v6),
        (f"vrp{family}", server.vrps_v4 if v4 else server.vrps_v6),
        (f"vrp{family}_covering", server.vrps_covering_v4 if v4 else server.vrps_covering_v6),
    )
    for name, table in tables:
        rows.append(f"roa{family} table {name};")
        if not _fed(server, name.replace(str(family), "", 1)):  # irr4_covering is irr_covering of IPv4
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
        channels = "".join(f"  roa{family} {{ table {root}{family}{covering}; }};\n" for family in _families(server))
        text += f"""protocol rpki {feed.table}_{word(feed.cache)} {{
  description "rtr-cache/{feed.cache}";
{channels}  remote {feed.address} port {feed.port};
  retry keep {_CACHE_RETRY_SECONDS};
}}
"""
    return text


# The mark that a cache puts into every table for us: covered by AS0 when there are data, unknown when there are none.
_MARK: dict[Family, str] = {4: "192.0.0.8/32", 6: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128"}


def _no_data(table: str, family: Family) -> str:
    return f"roa_check({table}, {_MARK[family]}, 0) = ROA_UNKNOWN"


def _refuse(slug: str) -> str:
    return f"refuse({REASON[slug].number});"


def _say(slug: str) -> str:
    said = SAID[slug]
    return f"bgp_large_community.add((RS, {said.function}, {said.value}));"


def _pair(pair: tuple[int, int]) -> str:
    return f"({pair[0]}, {pair[1]})"


def _shared(server: ServerPolicy) -> str:
    """Functions for both families: how a route is refused, marked, told and tidied."""
    short = server.stand_in
    lowest, highest = min(PREPEND_SHORT.values()), max(PREPEND_SHORT.values())
    large = f"(RS, {NOT}..{TO}, *), (RS, {PREPEND_LARGE[1]}..{PREPEND_LARGE[3]}, *)"
    standard = f"(0, *), ({short}, *), ({lowest}..{highest}, *)"
    keys = (0, short, *PREPEND_SHORT.values())
    extended = ", ".join(f"({kind}, {key}, *)" for kind in ("rt", "ro") for key in keys)
    others = f"(RS, {TO + 1}..{PREPEND_LARGE[1] - 1}, *), (RS, {PREPEND_LARGE[3] + 1}..4294967295, *)"
    text = f"""
define CONTROLS_STANDARD = [{standard}];
define CONTROLS_EXTENDED = [{extended}];
define CONTROLS_LARGE = [{large}];
define OURS_LARGE = [{others}];

function refuse(int reason)
{{
  bgp_large_community.add((RS, {REFUSED}, reason));
  reject;
}}

# What the route server says of a route, no member may say in its stead.
function scrub()
{{
  if bgp_large_community ~ OURS_LARGE then bgp_large_community.delete(OURS_LARGE);
}}

function lengthen(int prepends)
{{
  if prepends > 0 then bgp_path.prepend(bgp_path.first);
  if prepends > 1 then bgp_path.prepend(bgp_path.first);
  if prepends > 2 then bgp_path.prepend(bgp_path.first);
}}

# Whom the announcer wants to reach: not-to beats to, to beats to-none; a wish about one member beats a wish about all.
function heed(int peer_asn)
int told;
int prepends;
int closer;
{{
  if (RS, {NOT}, peer_asn) ~ bgp_large_community then reject;
  if (rt, 0, peer_asn) ~ bgp_ext_community then reject;
  if (ro, 0, peer_asn) ~ bgp_ext_community then reject;
  if peer_asn < 65536 then {{ if (0, peer_asn) ~ bgp_community then reject; }}
  told = 1;
  if (RS, {NOT}, 0) ~ bgp_large_community then told = 0;
  if (0, {short}) ~ bgp_community then told = 0;
  if (rt, 0, RS) ~ bgp_ext_community then told = 0;
  if (ro, 0, RS) ~ bgp_ext_community then told = 0;
  if told = 0 then {{
    if (RS, {TO}, peer_asn) ~ bgp_large_community then told = 1;
    if (rt, {short}, peer_asn) ~ bgp_ext_community then told = 1;
    if (ro, {short}, peer_asn) ~ bgp_ext_community then told = 1;
    if peer_asn < 65536 then {{ if ({short}, peer_asn) ~ bgp_community then told = 1; }}
    if told = 0 then reject;
  }}
  prepends = 0;
  closer = 0;
"""
    for prepends in PREPEND_LARGE:
        text += f"""  if (RS, {PREPEND_LARGE[prepends]}, 0) ~ bgp_large_community then prepends = {prepends};
  if ({PREPEND_SHORT[prepends]}, {short}) ~ bgp_community then prepends = {prepends};
  if (rt, {PREPEND_SHORT[prepends]}, RS) ~ bgp_ext_community then prepends = {prepends};
  if (ro, {PREPEND_SHORT[prepends]}, RS) ~ bgp_ext_community then prepends = {prepends};
  if (RS, {PREPEND_LARGE[prepends]}, peer_asn) ~ bgp_large_community then closer = {prepends};
  if (rt, {PREPEND_SHORT[prepends]}, peer_asn) ~ bgp_ext_community then closer = {prepends};
  if (ro, {PREPEND_SHORT[prepends]}, peer_asn) ~ bgp_ext_community then closer = {prepends};
  if peer_asn < 65536 then {{ if ({PREPEND_SHORT[prepends]}, peer_asn) ~ bgp_community then closer = {prepends}; }}
"""
    return (
        text
        + """  if closer > 0 then prepends = closer;
  lengthen(prepends);
  bgp_community.delete(CONTROLS_STANDARD);
  bgp_ext_community.delete(CONTROLS_EXTENDED);
  bgp_large_community.delete(CONTROLS_LARGE);
}
"""
    )


def _checks(server: ServerPolicy, family: Family) -> str:
    """Import tests in their order, and what is put on an accepted route."""
    v4 = family == 4
    policy = server.policy
    lengths = policy.prefix_lengths
    shortest, longest = (lengths.v4_min, lengths.v4_max) if v4 else (lengths.v6_min, lengths.v6_max)
    sets = [("LANS", server.lans_v4 if v4 else server.lans_v6), ("BOGONS", server.bogons_v4 if v4 else server.bogons_v6)]
    text = "".join(f"define {name}{family} = [{', '.join(f'{each}+' for each in prefixes)}];\n" for name, prefixes in sets if prefixes)
    if server.transit_free:
        text += f"define TRANSIT_FREE{family} = {_asns(server.transit_free)};\n"
    if server.never:
        text += f"define NEVER{family} = {_asns(server.never)};\n"
    bogon_asns = ", ".join(str(first) if first == last else f"{first}..{last}" for first, last in server.bogon_asns)
    text += f"define BOGON_ASNS{family} = [{bogon_asns}];\n"
    too_long = (
        f"{{ if ! ({_pair(BLACKHOLE)} ~ bgp_community) then {_refuse('prefix_len_too_long')} }}"
        if policy.blackhole
        else _refuse("prefix_len_too_long")
    )
    sane = [
        "scrub();",
        f"if net = {'0.0.0.0/0' if v4 else '::/0'} then {_refuse('default_route')}",
        "" if v4 else f"if ! (net ~ [2000::/3+]) then {_refuse('not_global_unicast')}",
        f"if net ~ {sets[0][0]}{family} then {_refuse('exchange_lan')}" if sets[0][1] else "",
        f"if net ~ {sets[1][0]}{family} then {_refuse('bogon')}" if sets[1][1] else "",
        f"if net.len > {longest} then {too_long}",
        f"if net.len < {shortest} then {_refuse('prefix_len_too_short')}",
        f"if bgp_path.len < 1 then {_refuse('as_path_too_short')}",
        f"if bgp_path.len > {policy.path_length_max} then {_refuse('as_path_too_long')}",
        f"if bgp_path ~ [RS] then {_refuse('own_asn_in_path')}",
        "flat();",
        f"if bgp_path ~ BOGON_ASNS{family} then {_refuse('bogon_asn')}",
        f"if bgp_path ~ TRANSIT_FREE{family} then {{ if delete(bgp_path, peer_asn) ~ TRANSIT_FREE{family} then {_refuse('transit_free_asn')} }}"
        if server.transit_free
        else "",
        f"if bgp_path ~ NEVER{family} then {_refuse('never_via_route_server')}" if server.never else "",
        f"if bgp_path.first != peer_asn then {_refuse('first_as_not_peer_as')}",
    ]
    registered = [
        f"if roa_check(irr{family}, net, bgp_path.last) != ROA_VALID then {_refuse('irrdb_prefix_filtered')}",
    ]
    valid = [
        f"case roa_check(vrp{family}, net, bgp_path.last) {{",
        f"  ROA_INVALID: {_refuse('rpki_invalid')}",
        f"  ROA_VALID: {_say('rpki_valid')}",
        f"  else: {_say('rpki_unknown')}",
        "}",
    ]
    if policy.blackhole:  # a host route is right where the prefix around it would be
        beyond = f"if net.len > {longest} then"
        registered = [
            f"{beyond} {{",
            f"  if roa_check(irr{family}_covering, net, bgp_path.last) != ROA_VALID then {_refuse('blackhole_not_covered')}",
            f"}} else {registered[0]}",
        ]
        valid = [
            f"{beyond} {{",
            f"  if roa_check(vrp{family}, net, bgp_path.last) = ROA_INVALID then {{",
            f"    if roa_check(vrp{family}_covering, net, bgp_path.last) != ROA_VALID then {_refuse('rpki_invalid')}",
            "  }",
            f"  {_say('rpki_not_checked')}",
            "} else " + valid[0],
            *valid[1:],
        ]
    if policy.rpki is Rpki.OFF:
        valid = [_say("rpki_not_checked")]
    elif _fed(server, "vrp"):
        missing = _no_data(f"vrp{family}", family)
        if policy.rpki_without_data is WithoutData.REFUSE:
            valid = [f"if {missing} then {_refuse('rpki_no_data')}", *valid]
        else:
            valid = [f"if {missing} then {_say('rpki_not_checked')} else {{", *(f"  {each}" for each in valid), "}"]
    next_hop = policy.blackhole_v4 if v4 else policy.blackhole_v6
    mark = [
        f"if {_pair(GRACEFUL_SHUTDOWN)} ~ bgp_community then bgp_local_pref = 0;" if policy.graceful_shutdown else "",
        f"if {_pair(BLACKHOLE)} ~ bgp_community then {{" if policy.blackhole else "",
        f"  bgp_community.add({_pair(NO_EXPORT)});" if policy.blackhole else "",
        f"  bgp_next_hop = {next_hop};" if policy.blackhole and next_hop is not None else "",
        "  nnix_blackhole = 1;" if policy.blackhole else "",
        "}" if policy.blackhole else "",
        "if bgp_large_community ~ CONTROLS_LARGE then nnix_controls = 1;",
        "if bgp_community ~ CONTROLS_STANDARD then nnix_controls = 1;",
        "if bgp_ext_community ~ CONTROLS_EXTENDED then nnix_controls = 1;",
    ]
    # RFC 9774: no AS_SET. What is left of a path, when the ASNs so far are taken out, begins with a number or with a set; a set has no first.
    # Of a set that names an AS which stands before it nothing is left; at the end of a path it shows in that the path has no last. AS 0 looks
    # like no AS at all, so it is looked for before.
    flat = [
        f"if bgp_path ~ [0] then {_refuse('bogon_asn')}" if any(first == 0 for first, _ in server.bogon_asns) else "",
        f"if bgp_path.len > 0 then {{ if bgp_path.last = 0 then {_refuse('as_set_in_path')} }}",
        "rest = bgp_path;",
        "for int seen in bgp_path do {",
        f"  if rest.len > 0 then {{ if rest.first = 0 then {_refuse('as_set_in_path')} }}",
        "  rest = delete(rest, seen);",
        "}",
    ]
    return (
        text
        + _function(f"flat{family}()", flat, "bgppath rest;\n")
        + _function(f"sane{family}(int peer_asn)", [row.replace("flat();", f"flat{family}();") for row in sane])
        + _function(f"registered{family}()", registered)
        + _function(f"valid{family}()", valid)
        + _function(f"mark{family}()", mark)
    )


def _function(head: str, rows: Iterable[str], variables: str = "") -> str:
    body = "".join(f"  {row}\n" for row in rows if row)
    return f"\nfunction {head}\n{variables}{{\n{body}}}\n"


def _asns(asns: Iterable[int]) -> str:
    return f"[{','.join(map(str, asns))}]"


def _template(server: ServerPolicy, family: Family) -> str:
    policy = server.policy
    wait = min(_ERROR_WAIT_SECONDS, policy.limit_restart_seconds)
    roles = "\n  local role rs_server;" if policy.roles else ""
    return f"""
template bgp client{family} {{
  local {server.v4 if family == 4 else server.v6} as RS;{roles}
  rs client;
  strict bind on;
  free bind on;
  interpret communities off;
  allow local as 250;
  allow as sets on;
  hold time {policy.hold_time_seconds};
  connect retry time 10;
  error wait time {wait}, {policy.limit_restart_seconds};
  error forget time {2 * policy.limit_restart_seconds + 300};
  include "restart-time*.conf";
  ipv{family} {{
    table master{family};
    secondary on;
    import table on;
    import keep filtered on;
    next hop keep on;
  }};
}}
"""


def _client(client: ClientPolicy, server: ServerPolicy) -> str:
    name = word(client.session)
    text = f"\n# session/{client.session}, member/{client.member}, AS{client.asn}\n"
    if client.origins is not None:
        text += f"define O_{name} = {_asns(client.origins)};\n"
    if client.v4 is not None:
        text += _protocol(client, server, 4, client.v4, client.next_hops_v4, client.prefixes_v4)
    if client.v6 is not None:
        text += _protocol(client, server, 6, client.v6, client.next_hops_v6, client.prefixes_v6)
    return text


def _protocol(
    client: ClientPolicy,
    server: ServerPolicy,
    family: Family,
    address: IPv4Address | IPv6Address,
    next_hops: Sequence[IPv4Address | IPv6Address],
    prefixes: Sequence[str],
) -> str:
    policy = server.policy
    name = word(client.session)
    hops = f"!= {next_hops[0]}" if len(next_hops) == 1 else f"!~ [{', '.join(map(str, next_hops))}]"
    rows = [f"sane{family}({client.asn});", f"if bgp_next_hop {hops} then {_refuse('next_hop_not_peer_ip')}"]
    before = ""
    if client.origins is None:
        rows.append(_say("irrdb_not_checked"))
    else:
        rows.append(f"if bgp_path.last !~ O_{name} then {_refuse('irrdb_origin_as_filtered')}")
        if client.irr is Irr.STRICT:
            if prefixes:
                before = f"define P{family}_{name} = [{','.join(_listed(prefixes, server, family))}];\n"
                rows.append(f"if ! (net ~ P{family}_{name}) then registered{family}();")
            else:
                rows.append(f"registered{family}();")
        rows.append(_say("irrdb_valid"))
    rows += [f"valid{family}();", f"mark{family}();", "accept;"]
    out = [
        "if defined(nnix_blackhole) then reject;" if policy.blackhole and not client.blackhole else "",
        f"if defined(nnix_controls) then heed({client.asn});",
        "accept;",
    ]
    limit = client.routes_max_v4 if family == 4 else client.routes_max_v6
    strict = "\n  require roles on;" if policy.roles and client.role_strict else ""
    inward = "".join(f"      {row}\n" for row in rows)
    outward = "".join(f"      {row}\n" for row in out if row)
    return f"""{before}protocol bgp {protocol_name(client.session, family)} from client{family} {{
  # session: session/{client.session}
  description "session/{client.session}";
  neighbor {address} as {client.asn};
  passive {"on" if client.passive else "off"};{strict}
  ipv{family} {{
    import filter {{
{inward}    }};
    export filter {{
{outward}    }};
    receive limit {limit} action {_ACTION[policy.limit_action]};
  }};
}}
"""


def _listed(prefixes: Iterable[str], server: ServerPolicy, family: Family) -> Iterable[str]:
    """Registered prefixes without a known origin, as BIRD's prefix patterns; where blackholing is on, with the host routes inside."""
    policy = server.policy
    longest, widest = (policy.prefix_lengths.v4_max, 32) if family == 4 else (policy.prefix_lengths.v6_max, 128)
    for each in prefixes:
        prefix, _, pattern = each.partition("{")
        length = int(prefix.rpartition("/")[2])
        low, high = (int(part) for part in pattern.rstrip("}").split(",")) if pattern else (length, length)
        if policy.irr_more_specifics:
            high = max(high, longest)
        yield prefix if (low, high) == (length, length) else f"{prefix}{{{low},{high}}}"
        if policy.blackhole and longest < widest:
            yield f"{prefix}{{{max(longest + 1, length)},{widest}}}"
