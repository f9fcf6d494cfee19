"""The same policy in OpenBGPD's words: what its own parser takes, what it cannot do, and what a client more changes."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from nnix.cli.routing import candidates
from nnix.daemons.openbgpd import LAY, PROGRAM
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.routing.compile import SPEAKERS, ClientPolicy, ServerPolicy, compile
from nnix.planes.routing.kinds import RouteServer, RoutingPolicy, Session
from nnix.planes.trust.kinds import RtrCache
from tests.unit.routing.exchange import evidence as given
from tests.unit.routing.exchange import exchange, member


def both_makes(*more: Resource, policy: dict[str, Any] | None = None) -> Snapshot:
    """rs1 is BIRD, rs2 is OpenBGPD."""
    plain = exchange(*more, policy=policy)
    second = plain.get(RouteServer, "rs2")
    assert second is not None
    return plain.replaced([second.changed(daemon="openbgpd")])


def text(snapshot: Snapshot) -> str:
    (found,) = [each for each in compile(snapshot, given()) if each.driver == "openbgpd"]
    assert found.key == ("rs2", "openbgpd", "rs2")
    return found.content.decode()


def test_the_two_route_servers_may_be_of_different_make() -> None:
    """One policy, spelled twice."""
    assert [(each.name, each.driver) for each in compile(both_makes(), given())] == [("rs1", "bird"), ("rs2", "openbgpd")]


@pytest.mark.skipif(not Path(PROGRAM).exists(), reason="openbgpd is not installed")
@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"blackhole": False},
        {"blackhole_v4": "10.9.0.200", "blackhole_v6": "2406:5340::200"},
        {"roles": False, "rpki": "off", "graceful_shutdown": False},
        {"irr": "off"},
        {"irr": "origin", "limit_action": "shutdown"},
        {"transit_free": [1001, 174], "never_via_route_servers": [64496]},
        {"transit_free": [1001]},
        {"prefix_lengths": {"v4_min": 1, "v4_max": 32, "v6_min": 1, "v6_max": 128}},
        {"bogons": ["11.0.0.0/8", "2a0f::/16"], "irr_more_specifics": True},
        {"path_hiding_solved": False, "no_export": "obey", "refused": "tag", "roas_are_route_objects": True},
        {"refused": "reject", "rpki": "tag", "irr": "tag", "transit_free": [174], "transit_free_warns": True},
        {"blacklist": ["11.0.0.0/8"], "blackhole_communities": ["65000:666", "rt:64500:6", "64500:6:6"], "connect_retry_seconds": 5},
        {"reason_communities": [{"reason": "bogon", "community": "ro:64500:1"}], "refused_tells_announcer": True},
        {"said_communities": [{"said": "rpki_valid", "community": "64999:1"}, {"said": "irrdb_valid", "community": "ro:64999:1"}]},
        {
            "blackhole_communities": ["139136:666:0"],
            "said_communities": [{"said": "rpki_valid", "community": "139136:65530:1"}],
            "reason_communities": [{"reason": "bogon", "community": "139136:65520:3"}],
            "refused": "tag",
        },
        {
            "groups": [{"number": 7, "title": "east", "sites": ["east"]}],
            "short_asns": [{"asn": 70000, "short": 64600}],
            "rtt_thresholds": [5],
        },
    ],
)
def test_its_own_parser_takes_every_policy(policy: dict[str, Any], tmp_path: Path) -> None:
    """`bgpd -n`, of whatever version is here."""
    more = [
        *member(4, {"as_sets": ["AS-ONE"]}, irr="off", blackhole=False),
        *member(5, irr="origin", passive=False, v6=None, role_strict=True),
        *member(6, our_role="peer", their_role="peer", role_strict=True, next_hop="strict", add_paths="both"),
        *member(7, our_role="provider", their_role="customer", graceful_shutdown=False),
    ]
    (tmp_path / "bgpd.conf").write_text(text(both_makes(*more, policy=policy)).replace("@HOME@", str(tmp_path)))
    said = subprocess.run(
        ["sh", "-c", f"umask 077; chmod 600 bgpd.conf; {LAY}\nlay_words && {PROGRAM} -n -f bgpd.conf"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (said.returncode, said.stderr) == (0, "configuration OK\n")


def test_a_client_more_leaves_the_neighbours_of_the_others_alone() -> None:
    """A reload compares neighbour by neighbour; of the rules, only those that name the newcomer are new."""
    before, after = text(both_makes()), text(both_makes(*member(4, {"as_sets": ["AS-ONE"]})))
    gone = set(before.splitlines()) - set(after.splitlines())
    new = set(after.splitlines()) - set(before.splitlines())

    assert gone == set()
    assert all(re.search(r"10\.9\.0\.14|2406:5340::14|m4|1004", line) for line in new), new


def test_what_openbgpd_cannot_do_is_refused_by_name() -> None:
    """Resource, field and mend; BIRD beside it does it, and is not meant."""
    for policy, field in (
        ({"limit_action": "warn"}, "limit_action"),
        ({"limit_action": "block"}, "limit_action"),
        ({"limit_restart_seconds": 90}, "limit_restart_seconds"),
    ):
        with pytest.raises(Refused) as refused:
            compile(both_makes(policy=policy), given())
        (refusal,) = refused.value.refusals
        assert (refusal.resource, refusal.field, refusal.rule) == ("routing-policy/safe", field, "routing.daemon-can")
        assert "route-server/rs2" in refusal.found
        assert "daemon: bird" in refusal.mend
        compile(exchange(policy=policy), given())
    cache = RtrCache.model_validate({"name": "rtr", "site": "east", "lan": "lan", "v4": "10.9.0.201", "source": "v.json"})
    for field in ("rpki_caches", "irr_caches"):
        with pytest.raises(Refused) as refused:
            compile(both_makes(cache, policy={field: ["rtr"]}), given())
        (refusal,) = refused.value.refusals
        assert (refusal.resource, refusal.field, refusal.rule) == ("routing-policy/safe", field, "routing.daemon-can")
        compile(exchange(cache, policy={field: ["rtr"]}), given())


def test_openbgpd_takes_ipv4_over_ipv6_where_nobody_has_an_ipv4_session() -> None:
    """Of a member with one it would tell that its own address is the next hop (RFC 4271, 5.1.3): wherever there is one, it is refused by name."""
    over: dict[str, Any] = {"v4": None, "v4_over_v6": True}
    with pytest.raises(Refused) as refused:
        compile(both_makes(*member(4, v6="2406:5340::14", **over)), given())
    (refusal,) = refused.value.refusals
    assert (refusal.resource, refusal.field, refusal.rule) == ("session/m4-s", "v4_over_v6", "routing.daemon-can")
    compile(exchange(*member(4, v6="2406:5340::14", **over)), given())

    everybody = [each.changed(v6=f"2406:5340::{number}", **over) for number, each in enumerate(both_makes().of(Session), 20)]
    compile(both_makes().replaced(everybody), given())
    with pytest.raises(Refused, match="v4_over_v6"):
        compile(both_makes(policy={"blackhole_v4": "10.9.0.66"}).replaced(everybody), given())


def test_a_candidate_has_in_its_configuration_what_would_come_by_rtr() -> None:
    """No cache stands beside the trial; everything else is what would run."""
    cache = RtrCache.model_validate({"name": "rtr", "site": "east", "lan": "lan", "v4": "10.9.0.201", "source": "v.json"})
    by_rtr = exchange(cache, policy={"rpki_caches": ["rtr"], "irr_caches": ["rtr"]})
    running = next(each.content for each in compile(by_rtr, given()) if each.driver == "bird")
    tried = candidates(by_rtr, given())[0][1].content
    assert b"protocol rpki" in running and b"20.0.0.0/24" not in running
    assert b"protocol rpki" not in tried and b"20.0.0.0/24" in tried


def test_what_only_an_older_version_lacks_is_asked_for_by_name() -> None:
    """7.7 neither checks nor sets OTC where a member sends no role; who lets such members in asks for more."""
    strict = [each for number in (1, 2, 3) for each in member(number, {"as_sets": ["AS-ONE"]}, role_strict=True)]

    assert re.findall(r"^# needs: (\S+) (\S+): ", text(both_makes()), re.M) == [("otc-unasked", "route-server/rs2")]
    assert "# needs" not in text(both_makes(*strict))
    assert "# needs" not in text(both_makes(policy={"roles": False}))


def test_no_field_of_a_policy_is_passed_over() -> None:
    """A field that the compiler gains is spelled for both makes, or refused by name, before it stands in this list."""
    assert {each.name for each in fields(ServerPolicy)} == {
        *(
            "name",
            "daemon",
            "machine",
            "asn",
            "stand_in",
            "router_id",
            "v4",
            "v6",
            "policy",
            "lans_v4",
            "lans_v6",
            "bogons_v4",
            "bogons_v6",
        ),
        *("bogon_asns", "never", "transit_free", "clients", "registered_v4", "registered_v6", "registered_covering_v4"),
        *("registered_covering_v6", "vrps_v4", "vrps_v6", "vrps_covering_v4", "vrps_covering_v6", "feeds", "about", "findings"),
        *("shutting_down", "shutdown_text", "blacklist_v4", "blacklist_v6", "registered_longer_v4", "registered_longer_v6", "aspas"),
        *("blackholes", "attached", "says", "short_asns", "groups", "thresholds", "snippets"),
    }
    assert {each.name for each in fields(ClientPolicy)} == {
        *("session", "member", "asn", "v4", "v6", "next_hops_v4", "next_hops_v6", "irr", "origins", "prefixes_v4", "prefixes_v6"),
        *("routes_max_v4", "routes_max_v6", "passive", "role_strict", "blackhole"),
        *("short_asn", "kin", "v4_over_v6", "lengths", "blacklist_v4", "blacklist_v6", "irr_more_specifics", "accepted_v4", "accepted_v6"),
        *("rpki", "aspa", "as_sets_in_paths", "limit_action", "hold_time_seconds", "password", "tcp_key", "gtsm", "multihop", "bfd"),
        *("add_paths", "prepend_route_server", "role", "communities", "announce_only", "announce_not", "hear_only", "hear_not"),
        *("groups", "nearer", "farther", "blackhole_community", "blackhole_community_alone", "limit_counts", "graceful_shutdown"),
    }
    assert set(RoutingPolicy.model_fields) - set(Resource.model_fields) == {
        *("prefix_lengths", "path_length_max", "irr", "irr_sources", "irr_more_specifics", "rpki", "rpki_sources", "bogons", "rpki_caches"),
        *("rpki_without_data", "irr_caches", "never_via_route_servers", "transit_free", "blackhole", "blackhole_v4", "blackhole_v6"),
        *("graceful_shutdown", "roles", "prefixes_max", "prefixes_max_margin_percent", "limit_action", "limit_restart_seconds"),
        *("hold_time_seconds", "next_hop", "never_via_sources", "aspa", "path_hiding_solved", "communities_max", "no_export", "refused"),
        *("refused_tells_announcer", "reason_communities", "tells_announcer", "roas_are_route_objects", "blacklist", "transit_free_warns"),
        *("blackhole_communities", "groups", "short_asns", "rtt_thresholds", "limit_counts", "pauses", "connect_retry_seconds"),
        *(
            "graceful_restart_seconds",
            "long_lived_seconds",
            "irr_registries",
            "peeringdb",
            "rpsl_via",
            "said_communities",
            "prefixes_max_margin_routes",
        ),
    }


def test_every_make_that_a_route_server_may_have_is_in_the_table() -> None:
    """And the table has no others."""
    pattern = next(each.pattern for each in RouteServer.model_fields["daemon"].metadata if hasattr(each, "pattern"))
    assert {name for name in ("bird", "openbgpd", "frr", "gobgp") if re.fullmatch(pattern, name)} == set(SPEAKERS)
