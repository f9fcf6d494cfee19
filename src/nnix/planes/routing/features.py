"""What a route server of the field does, row by row, and where each make of daemon stands.

The rows are those that operators compare route servers by. A row says which field of the model sets it, how far it has been seen on the real
daemon (the tests that show it), and what is not there, with the reason. `nnix.cli.pages` makes docs/routing/features.md of it, and a test
holds every name of a test here to the tests that exist, so that the page cannot promise what nobody has seen.
"""

from __future__ import annotations

from typing import NamedTuple

from nnix.daemons import bird, openbgpd
from nnix.planes.routing.openbgpd.cannot import NEVER

COMMON = "tests/lab/test_route_server.py"
RICH = "tests/lab/test_routing_policy.py"
WIDE = "tests/lab/test_route_server_wide.py"
REGISTERED = "tests/lab/test_registered.py"
UNIT = "tests/unit/routing/test_compile.py"
RULED = "tests/unit/routing/test_rules.py"
SESSIONS = "tests/lab/test_sessions.py"
PLAYED = "tests/lab/test_prove_routing.py"
NEVER_BEFORE = (99,)  # how the drivers' tables say that there is no such version
BY_NAME = "refused at plan time (`routing.daemon-can`)"


class Feature(NamedTuple):
    """One row: its number, what it is, the fields that set it; how BIRD is shown to do it and how OpenBGPD (words, or names of tests)."""

    number: str
    what: str
    fields: str
    bird: tuple[str, ...]
    openbgpd: tuple[str, ...]


def _here(number: str, what: str, fields: str, *tests: str) -> Feature:
    """A row about sessions, that one test shows on either make and in both address families; where OpenBGPD cannot, the same test shows the refusal."""
    return _both(number, what, fields, *tests, where=SESSIONS)


def _alone(number: str, what: str, fields: str, *tests: str) -> Feature:
    """The same of BIRD alone: on the other make the test shows that the plan is refused by name."""
    shown = tuple(f"{SESSIONS}::{each}" for each in tests)
    return Feature(number, what, fields, shown, (BY_NAME, *shown))


def _both(number: str, what: str, fields: str, *tests: str, where: str = COMMON) -> Feature:
    """A row that one test shows on either make."""
    shown = tuple(f"{where}::{each}" for each in tests)
    return Feature(number, what, fields, shown, shown)


def _bird(number: str, what: str, fields: str, *shown: str) -> Feature:
    """A row of BIRD alone; the other make refuses it by name."""
    return Feature(number, what, fields, tuple(f"{RICH}::{each}" if each.startswith("test_") else each for each in shown), (BY_NAME,))


def _apart(number: str, what: str, fields: str, rich: str, wide: str) -> Feature:
    """A row that one test shows on BIRD, and another on both."""
    return Feature(number, what, fields, (f"{RICH}::{rich}", f"{WIDE}::{wide}"), (f"{WIDE}::{wide}",))


_OVER = f"{WIDE}::test_ipv4_goes_over_ipv6_to_those_who_can"
_WRONG = "test_each_wrong_route_is_refused_under_its_name_and_stays_visible"
_WISHES = "test_members_are_told_what_the_announcer_wishes"
_AIMED = "test_wishes_reach_groups_round_trip_times_and_short_asns"
_EXCEPTED = "test_an_exception_lets_pass_what_it_names_and_ends"
_LISTS = "test_black_lists_and_too_many_communities_are_refused_by_name"
_HOLE = "test_a_covered_host_route_is_blackholed_for_those_who_want_it"
_OBEYED = "test_no_export_is_obeyed_where_it_shall_be_and_refused_routes_stay_where_they_shall"
_HIDDEN = "test_with_path_hiding_left_several_paths_still_reach_who_can_take_them"
_ABOVE = "test_more_prefixes_than_stated_end_the_session_and_it_comes_back"
_ENDS = "test_above_its_limit_a_session_ends_and_stays_down"
_LEFT_OUT = "test_what_comes_above_a_limit_may_be_left_out_or_only_told"
_MARGIN = "test_limits_are_what_is_stated_with_a_margin_and_room_for_blackholes"
_SIGNED = "test_segments_signed_by_tcp_ao_are_refused_by_name_where_they_cannot_be"
_REFUSALS = "test_lists_of_refused_prefixes_and_what_a_refusal_tells"
_LET_OFF = "test_what_an_exception_lets_pass_is_said"
_PEERINGDB = "test_what_peeringdb_says_holds_where_a_member_has_said_nothing"
_BANDS = "test_wishes_reach_groups_and_bands_of_round_trip_time"

FEATURES = (
    _both("1", "transparent path and next hop", "always", "test_the_route_server_is_transparent"),
    _both("2", "path hiding avoided", "path_hiding_solved", "test_the_second_best_reaches_the_member_whom_the_best_may_not"),
    _here("3", "path hiding left as it is", "path_hiding_solved: false", _HIDDEN),
    _here(
        "4",
        "ADD-PATH: several paths to a client, from a client, and one that cannot",
        "Session.add_paths",
        "test_several_paths_reach_who_can_take_them",
        "test_a_path_that_a_member_may_not_have_is_not_among_several",
        "test_several_paths_of_one_member_are_held_and_judged_one_by_one",
        "test_who_cannot_take_several_paths_is_told_one_and_nothing_is_hidden_from_it",
        _HIDDEN,
    ),
    _apart(
        "5",
        "route server's ASN prepended",
        "Session.prepend_route_server",
        "test_the_route_servers_asn_stands_in_front_for_who_wants_it",
        _BANDS,
    ),
    Feature("6", "IPv4 over IPv6 (RFC 8950)", "Session.v4_over_v6", (_OVER,), (BY_NAME, _OVER)),
    _both("7", "passive", "Session.passive", "test_the_route_server_is_transparent"),
    _here("7", "... or active", "Session.passive: false", "test_the_route_server_opens_the_connection_where_it_shall"),
    _both("8", "GTSM", "Session.gtsm", "test_who_is_not_next_door_is_not_heard", where=WIDE),
    Feature(
        "9",
        "multihop",
        "Session.multihop; refused with path_hiding_solved",
        (f"{SESSIONS}::test_a_router_several_hops_away", f"{RULED}::test_what_breaks_a_rule_is_refused_by_its_name"),
        (BY_NAME, f"{SESSIONS}::test_a_router_several_hops_away"),
    ),
    _both("10", "TCP MD5 by reference", "Session.password", "test_who_has_the_key_comes_in_and_no_other", where=WIDE),
    Feature(
        "10",
        "TCP-AO by reference",
        "Session.tcp_ao; needs BIRD 2.17 and a kernel with CONFIG_TCP_AO, refused by name before",
        ("parsed by 2.17 and 3.1 by hand; not yet seen on the wire", f"{SESSIONS}::{_SIGNED}"),
        (BY_NAME, f"{SESSIONS}::{_SIGNED}"),
    ),
    _here(
        "11",
        "graceful restart of a member",
        "always granted",
        "test_a_member_that_restarts_keeps_its_routes_meanwhile",
    ),
    _alone(
        "11",
        "graceful restart of the route server, long-lived",
        "graceful_restart_seconds, long_lived_seconds",
        "test_members_keep_what_a_restarting_route_server_told_them",
    ),
    _here("12", "shutdown text", "RouteServer.shutdown_text", "test_a_member_reads_why_the_route_server_goes"),
    Feature(
        "13",
        "maximum prefixes, by the member's word or PeeringDB's, with a margin",
        "prefixes_max, peeringdb, prefixes_max_margin_routes, prefixes_max_margin_percent; Session.prefixes_max_exact",
        *((f"{COMMON}::{_ABOVE}", f"{SESSIONS}::{_ENDS}", f"{UNIT}::{_MARGIN}", f"{REGISTERED}::{_PEERINGDB}"),) * 2,
    ),
    _both("14", "above the maximum: restart", "limit_action, limit_restart_seconds", _ABOVE),
    _here("14", "... shutdown", "limit_action, also of a session", _ENDS),
    _alone("14", "... block, warn", "limit_action, also of a session", _LEFT_OUT),
    _alone("15", "only accepted routes count towards it", "limit_counts, also of a session", _LEFT_OUT),
    Feature(
        "16",
        "several router ids from one run",
        "RouteServer.router_id",
        *((f"{UNIT}::test_two_route_servers_of_one_policy_differ_in_id_and_addresses_only",),) * 2,
    ),
    _both("17", "roles, strict mode", "roles, role_strict", "test_roles_that_do_not_fit_are_refused_and_said"),
    _here(
        "17",
        "... a role other than the route server's own",
        "Session.our_role: peer, provider",
        "test_a_peer_is_told_what_is_for_peers_and_its_own_goes_to_customers_only",
        "test_a_role_that_does_not_fit_a_peers_is_refused",
    ),
    _here("–", "hold time of a session", "hold_time_seconds, also of a session", "test_a_sessions_own_hold_time_is_proposed_to_it_alone"),
    _alone("–", "pause after an error (flap hold-down)", "pauses", "test_who_failed_waits_before_it_comes_back"),
    _both("18", "OTC set and checked", "roles", _WRONG, "test_the_route_server_is_transparent"),
    _both("19", "AS_SET refused", "always", _WRONG),
    _bird("19", "... allowed a session", "RoutingException.as_sets_in_paths", _EXCEPTED),
    _both("21", "next hop of the same AS", "next_hop: same-as", _WRONG),
    _here(
        "20, 22",
        "next hop: own only; from a list",
        "next_hop: strict, also of a session; Session.next_hops",
        "test_next_hops_are_the_sessions_own_and_those_that_it_names",
    ),
    _both("23", "first ASN is the peer's", "always", _WRONG),
    _both("24", "path length", "path_length_max", _WRONG),
    _both("25", "private, reserved and documentation ASNs", "always", _WRONG),
    _both("26", "transit-free ASNs", "transit_free; Carrier.asns are one organisation", _WRONG),
    _both("27", "never via route servers", "never_via_route_servers; never members and carriers here", _WRONG),
    _both("27", "... by PeeringDB's flag", "never_via_sources", _PEERINGDB, where=REGISTERED),
    _both("28–31", "bogons, outside 2000::/3, default, lengths", "bogons, prefix_lengths", _WRONG),
    _apart("32", "global black list", "blacklist", _LISTS, _REFUSALS),
    _apart("33", "black list of a session", "Session.blacklist", _LISTS, _REFUSALS),
    _here(
        "34",
        "wrong address family: BIRD passes it over, OpenBGPD ends the session",
        "not negotiated (RFC 4760)",
        "test_routes_of_an_address_family_that_was_not_agreed_on_reach_nobody",
    ),
    _both("35", "NO_EXPORT passed on", "no_export: pass", "test_the_route_server_is_transparent"),
    _here("35", "NO_EXPORT obeyed", "no_export: obey", _OBEYED),
    _bird("36", "too many communities", "communities_max", _LISTS),
    _both("37, 38", "origin and prefix in the registries", "irr: strict", _WRONG),
    _both(
        "39", "exact, or more specifics", "irr_more_specifics", "test_route_objects_are_exact_or_let_more_specifics_pass", where=REGISTERED
    ),
    _both(
        "40",
        "as-sets by session, by member, from PeeringDB; with source",
        "Session.as_sets, Member.as_sets, peeringdb: in this order",
        _PEERINGDB,
        where=REGISTERED,
    ),
    Feature(
        "41",
        "no as-set: own ASN",
        "always",
        (f"{UNIT}::test_origins_are_the_members_as_sets_and_always_its_own_asn",),
        (f"{UNIT}::test_origins_are_the_members_as_sets_and_always_its_own_asn",),
    ),
    _apart("42", "white lists: prefix, origin, route", "RoutingException.prefixes, origins", _EXCEPTED, _LET_OFF),
    _both(
        "43",
        "registries only inform",
        "irr: tag",
        "test_registries_that_only_inform_refuse_nothing_and_say_what_they_know",
        where=REGISTERED,
    ),
    _both(
        "44",
        "ROAs as route objects",
        "roas_are_route_objects",
        "test_a_roa_does_for_a_route_object_where_the_policy_says_so",
        where=REGISTERED,
    ),
    _both(
        "45",
        "ARIN's and NIC.BR's whois as route objects",
        "irr_sources: FILE.csv, FILE.json, NIC.BR's list, packed or not",
        "test_what_registries_publish_of_their_whois_counts_as_route_objects",
        where=REGISTERED,
    ),
    _both("46", "origin validation, reject", "rpki: reject", _WRONG),
    _here("46", "origin validation, tag", "rpki: tag", "test_invalid_routes_pass_and_say_so_where_the_policy_only_informs"),
    _apart("46", "... for a session", "RoutingException.rpki", _EXCEPTED, _LET_OFF),
    Feature(
        "47",
        "RFC 8097 states",
        "own communities RS:1000:*",
        (
            f"{COMMON}::test_nobody_speaks_in_the_route_servers_stead",
            "RFC 8097's own: not sent, as no daemon sends a non-transitive one to another AS; taken off inbound",
        ),
        (f"{COMMON}::test_nobody_speaks_in_the_route_servers_stead",),
    ),
    _here(
        "47",
        "... and the exchange's own for each state",
        "said_communities",
        "test_the_exchanges_own_communities_go_with_what_is_said",
    ),
    Feature(
        "50",
        "ASPA",
        "aspa; needs BIRD 2.16, refused by name before",
        (
            f"{WIDE}::test_paths_are_held_against_aspas",
            "tests/lab/test_aspa.py::test_a_real_daemon_and_the_evaluator_come_to_the_same_verdict_on_every_path",
        ),
        (BY_NAME,),
    ),
    _both("51", "routes judged anew when ROAs change", "always", "test_a_new_roa_takes_effect_without_asking_the_member"),
    _both("52", "tag and reject", "refused: tag-and-reject", _WRONG),
    _here("52", "tag", "refused: tag", _OBEYED),
    _here("52", "reject alone", "refused: reject", "test_a_refused_route_may_be_forgotten"),
    _both("53", "reason codes", "always", _WRONG),
    _both(
        "53, 54", "own communities for reasons; the announcer's ASN", "reason_communities, refused_tells_announcer", _REFUSALS, where=WIDE
    ),
    _bird("55", "learnt from, origin", "tells_announcer", _AIMED),
    _apart(
        "56",
        "own communities attached",
        "Session.communities",
        "test_communities_of_a_members_own_are_put_on_its_routes_and_taken_off_others",
        "test_communities_of_a_members_own_are_its_own",
    ),
    _both("57", "own values scrubbed", "always", "test_nobody_speaks_in_the_route_servers_stead"),
    _both("58–60, 63", "to none, not to, to, prepend, in three forms", "always", _WISHES),
    _apart("61, 62", "32-bit ASNs by a short one; standard to-none towards them", "short_asns", _AIMED, _BANDS),
    _apart("64", "NO_EXPORT, NO_ADVERTISE added", "always", "test_no_export_is_added_where_it_is_asked_for", _BANDS),
    _apart("65", "by round-trip time", "rtt_thresholds, Session.rtt", _AIMED, _BANDS),
    _apart("65", "by site, level, region, class", "groups", _AIMED, _BANDS),
    _apart(
        "66",
        "whom a session tells and hears",
        "Session.announces, hears",
        "test_a_session_hears_whom_it_wants_and_tells_whom_it_wants",
        "test_who_hears_whom",
    ),
    _both("67–69", "BLACKHOLE, next hop rewritten, willing clients, NO_EXPORT", "blackhole, blackhole_v4, blackhole_v6", _HOLE),
    _apart(
        "67, 70",
        "own triggers; a client's own community",
        "blackhole_communities, Session.blackhole_community",
        "test_blackholes_by_another_word_and_in_the_receivers_own",
        "test_a_blackhole_by_another_name_reaches_each_under_its_own",
    ),
    _both("71", "GRACEFUL_SHUTDOWN obeyed", "graceful_shutdown", "test_a_graceful_shutdown_makes_the_other_way_best"),
    _here(
        "71",
        "... of those of whom it shall be",
        "Session.graceful_shutdown",
        "test_graceful_shutdown_is_obeyed_of_those_of_whom_it_shall_be",
    ),
    _here(
        "72",
        "the route server shuts down gracefully",
        "RouteServer.shutting_down",
        "test_a_route_server_that_goes_says_so_in_both_families",
    ),
    _here("74", "local text", "LocalSnippet; the parser sees it, the evaluator says that it cannot", "test_local_text_takes_effect"),
    _both(
        "83",
        "RPSL import-via, export-via",
        "rpsl_via, where Session.announces and hears say nothing",
        "test_whom_a_members_routes_reach_its_aut_num_may_say",
        where=REGISTERED,
    ),
    _apart("84", "exceptions with an owner and an end", "RoutingException", _EXCEPTED, _LET_OFF),
    Feature(
        "86",
        "the route servers' own as-set in the registries",
        "`nnix irr object`: made, and compared with what a registry has",
        ("tests/unit/cli/test_irr.py::test_the_route_servers_own_as_set_is_kept_in_step",),
        ("as BIRD",),
    ),
    Feature(
        "90",
        "last ASN behind an AS_SET",
        "none (RFC 6907, 7.1.9): such a route has no origin",
        (f"{COMMON}::{_WRONG}",),
        (f"{COMMON}::{_WRONG}",),
    ),
    _alone(
        "91",
        "BFD, with BIRD and with FRR",
        "Session.bfd",
        "test_bfd_tells_at_once_that_a_member_is_gone",
        "test_bfd_with_a_member_of_another_make",
    ),
    Feature(
        "97",
        "dry run that checks meaning: sessions with a key, other roles, from afar",
        "`nnix prove routing`",
        *((f"{PLAYED}::test_sessions_with_a_key_with_other_roles_and_from_afar_are_played",),) * 2,
    ),
)


def page() -> str:
    """The rows as a page; then what no version of a make does, and what only some do."""
    lines = ["| # | feature | set by | BIRD | OpenBGPD |", "| --- | --- | --- | --- | --- |"]
    for row in FEATURES:
        cells = [
            ", ".join(f"`{each.rpartition('::')[2]}`" if "::" in each else each for each in shown) for shown in (row.bird, row.openbgpd)
        ]
        lines.append(f"| {row.number} | {row.what} | {row.fields} | {cells[0]} | {cells[1]} |")
    lines += ["", "## What no version of OpenBGPD does", "", "Refused when it is planned, by rule `routing.daemon-can`.", ""]
    lines += ["| field | what it may say there |", "| --- | --- |", *(f"| {each.field} | {each.accept} |" for each in NEVER)]
    lines += ["", "## What only some versions do", ""]
    lines += ["Named before anything is touched, by rule `kernel.machine-able`, where the version on the machine is older.", ""]
    lines += ["| make | from version | what |", "| --- | --- | --- |"]
    for make, features in (("BIRD", bird.FEATURES), ("OpenBGPD", openbgpd.FEATURES)):
        for since, why in sorted(features.values()):
            version = "none" if since >= NEVER_BEFORE else ".".join(map(str, since))
            lines.append(f"| {make} | {version} | {why} |")
    return "\n".join(lines) + "\n"
