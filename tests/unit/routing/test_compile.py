"""What the compiler decides, in values and in BIRD's words."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.members.kinds import Member
from nnix.planes.routing.communities import REASON, REASONS
from nnix.planes.routing.compile import ORDER, ClientPolicy, ServerPolicy, compile, policy
from nnix.planes.routing.features import FEATURES
from nnix.planes.routing.kinds import RouteServer, RoutingPolicy, Session
from nnix.planes.routing.naming import protocol_name, sessions_by_protocol
from nnix.planes.routing.prove.findings import findings
from nnix.planes.routing.sources import evidence
from tests.unit.routing.exchange import RPSL, exchange, member
from tests.unit.routing.exchange import evidence as given


def server(snapshot: Snapshot, grounds: Evidence | None = None) -> ServerPolicy:
    return policy(snapshot, grounds or given())[0]


def client(snapshot: Snapshot, session: str, grounds: Evidence | None = None) -> ClientPolicy:
    return next(each for each in server(snapshot, grounds).clients if each.session == session)


def text(snapshot: Snapshot, grounds: Evidence | None = None, name: str = "rs1") -> str:
    return next(each.content.decode() for each in compile(snapshot, grounds or given()) if each.name == name)


def blocks(config: str) -> dict[str, str]:
    """session → its part of the configuration."""
    parts = re.split(r"\n# session/", config)
    return {part.split(",")[0]: part.strip() for part in parts[1:]}


def test_the_same_input_gives_the_same_bytes() -> None:
    """Compiling is pure."""
    assert list(compile(exchange(), given())) == list(compile(exchange(), given()))


def test_there_is_one_artifact_per_route_server_and_it_names_what_it_is_made_of() -> None:
    """about: server, policy, exchange, LANs, and each client's session, member and port."""
    artifacts = list(compile(exchange(), given()))

    assert [each.key for each in artifacts] == [("rs1", "bird", "rs1"), ("rs2", "bird", "rs2")]
    assert {"route-server/rs1", "routing-policy/safe", "exchange/x", "lan/lan", "session/m1-s", "member/m1", "port/m1-p"} <= artifacts[
        0
    ].about
    assert "route-server/rs2" not in artifacts[0].about


def test_a_client_more_leaves_the_text_of_the_others_alone() -> None:
    """Soft reconfiguration rests on this: nobody else's block changes by a byte, nor do the shared functions."""
    before, after = text(exchange()), text(exchange(*member(4, {"as_sets": ["AS-ONE"]})))

    assert blocks(after).keys() - blocks(before).keys() == {"m4-s"}
    assert {name: blocks(after)[name] for name in blocks(before)} == blocks(before)
    assert after.split("\n# session/")[0] == before.split("\n# session/")[0]


@pytest.mark.parametrize(
    ("state", "is_client"), [("production", True), ("drained", True), ("reserved", False), ("quarantine", False), ("suspended", False)]
)
def test_only_ports_in_service_make_clients(state: str, is_client: bool) -> None:
    """A drained port's sessions stay configured, since the fabric culls them."""
    snapshot = exchange(*member(1, port={"state": state}))

    assert ("m1-s" in {each.session for each in server(snapshot).clients}) is is_client


def test_a_clients_import_filter_calls_and_says_nothing_itself() -> None:
    """BIRD 2.0.12 reads each word of a filter the more slowly, the more filters have it: 2,000 of them took it a second, calls a tenth."""
    found = re.findall(r"^    import filter \{\n(.*?)^    \};$", text(exchange()), re.MULTILINE | re.DOTALL)

    assert len(found) > 2
    assert [row for each in found for row in each.splitlines() if not re.fullmatch(r" +nnix_\w+\([\w.:, ]*\);", row)] == []


def test_a_session_for_bilateral_peering_is_no_client() -> None:
    """route_servers: false keeps a session off the route servers, but its address is a next hop of its member there."""
    twin = Session.model_validate(
        {
            "name": "m1-t",
            "member": "m1",
            "lan": "lan",
            "port": "m1-p",
            "v4": "10.9.0.99",
            "macs": ["02:00:00:00:00:01"],
            "route_servers": False,
        }
    )
    snapshot = exchange(twin)

    assert [each.session for each in server(snapshot).clients] == ["m1-s", "m2-s", "m3-s"]
    assert [str(each) for each in client(snapshot, "m1-s").next_hops_v4] == ["10.9.0.11", "10.9.0.99"]


def test_origins_are_the_members_as_sets_and_always_its_own_asn() -> None:
    """An as-set that nobody knows leaves a member with its own ASN, and is told."""
    assert client(exchange(), "m1-s").origins == (1001, 2001, 2002)
    assert client(exchange(), "m2-s").origins == (1002,)
    assert client(exchange(), "m3-s").origins == (1003,)
    assert "session/m3-s: as-set AS-NOWHERE is in none of the sources" in {each.says for each in findings(exchange(), given())}


def test_a_sessions_own_as_sets_take_the_place_of_the_members() -> None:
    """And an empty list says: nothing but itself."""
    assert client(exchange(*member(1, {"as_sets": ["AS-ONE"]}, as_sets=["AS-INNER"])), "m1-s").origins == (1001, 2002)
    assert client(exchange(*member(1, {"as_sets": ["AS-ONE"]}, as_sets=[])), "m1-s").origins == (1001,)


def test_route_objects_are_held_against_prefix_and_origin_together() -> None:
    """They are ROAs that allow their own length only; those of origins that no client speaks for are left out."""
    grounds = given(RPSL + "\nroute: 23.0.0.0/24\norigin: AS77\nsource: T\n")

    assert [tuple(each) for each in server(exchange(), grounds).registered_v4.roas] == [("20.0.0.0/24", 24, 1001)]
    more = server(exchange(policy={"irr_more_specifics": True, "prefix_lengths": {"v4_max": 26}}), grounds)
    assert [tuple(each) for each in more.registered_v4.roas] == [("20.0.0.0/24", 26, 1001)]


@pytest.mark.parametrize(
    ("stated", "policy_fields", "limit"),
    [
        (None, {}, 1010),
        (100, {}, 120),
        (5, {}, 16),
        (5, {"blackhole": False}, 6),
        (5, {"blackhole": False, "prefixes_max_margin_percent": 0}, 5),
        (3, {"blackhole": False, "prefixes_max_margin_routes": 1, "prefixes_max_margin_percent": 20}, 5),  # (3 + 1) x 1.2, rounded up
        (None, {"blackhole": False, "prefixes_max": {"v4": 7}, "prefixes_max_margin_routes": 9}, 7),
    ],
)
def test_limits_are_what_is_stated_with_a_margin_and_room_for_blackholes(
    stated: int | None, policy_fields: dict[str, object], limit: int
) -> None:
    """Stated 5, 10 % margin: 6, and 10 blackholes beside them."""
    prefixes_max = {"v4": stated} if stated else {}

    assert client(exchange(*member(1, {"prefixes_max": prefixes_max}), policy=policy_fields), "m1-s").routes_max_v4 == limit


def test_a_session_may_have_exactly_the_limit_that_was_stated() -> None:
    """The policy's margins are for members who tell what they have today; where the limit itself was agreed on, it counts as it is."""
    rules = {"blackhole": False, "prefixes_max_margin_routes": 1, "prefixes_max_margin_percent": 20}
    exact = member(1, {"prefixes_max": {"v4": 3}}, prefixes_max={"v6": 2}, prefixes_max_exact=True)
    found = client(exchange(*exact, policy=rules), "m1-s")

    assert (found.routes_max_v4, found.routes_max_v6) == (3, 2)
    assert client(exchange(*member(1, prefixes_max={"v4": 4}), policy=rules), "m1-s").routes_max_v4 == 6  # (4 + 1) x 1.2


def test_a_members_asn_is_never_one_of_those_that_shun_route_servers() -> None:
    """AS1002 is here, so what lists say about it does not hold here; others stay on the list."""
    assert server(exchange(policy={"never_via_route_servers": [680, 1002]})).never == (680,)


def test_documentation_numbers_are_bogons_outside_of_laboratories_only() -> None:
    """A lab is made of them; private space and private ASNs are bogons there as well."""
    real, lab = server(exchange()), server(exchange(lab=True))

    assert {"198.51.100.0/24", "10.0.0.0/8"} <= {str(each) for each in real.bogons_v4}
    assert "198.51.100.0/24" not in {str(each) for each in lab.bogons_v4}
    assert "10.0.0.0/8" in {str(each) for each in lab.bogons_v4}
    assert (64496, 64511) in real.bogon_asns
    assert (64496, 64511) not in lab.bogon_asns
    assert (64512, 65534) in lab.bogon_asns


def test_of_teredos_prefix_parts_are_bogons_and_the_whole_is_none() -> None:
    """RFC 4380, 2.6: relays announce 2001::/32, which is one prefix for all of them; a longer one in it is somebody's mistake, or worse."""
    held = server(exchange()).bogons_v6

    assert not any(IPv6Network("2001::/32").subnet_of(each) for each in held)
    assert all(any(part.subnet_of(each) for each in held) for part in IPv6Network("2001::/32").subnets(new_prefix=33))


def test_the_operators_own_bogons_hold_even_in_a_laboratory() -> None:
    """What the policy lists is refused, whatever the built-in list says."""
    assert "198.51.100.0/24" in {str(each) for each in server(exchange(lab=True, policy={"bogons": ["198.51.100.0/24"]})).bogons_v4}


ROUTE = b"route: 20.0.0.0/24\norigin: AS1001\n"
ROAS = b'{"roas":[{"asn":1,"prefix":"20.0.0.0/24","maxLength":24}]}'


@pytest.mark.parametrize(
    ("items", "field", "words"),
    [
        ({"file:i.rpsl": ROUTE}, "rpki_sources", "v.json is not to be had"),
        ({"file:v.json": ROAS}, "irr_sources", "i.rpsl is not to be had"),
        ({"file:i.rpsl": ROUTE, "file:v.json": b"{"}, "rpki_sources", "no JSON"),
        ({"file:i.rpsl": ROUTE, "file:v.json": b'{"roas":[]}'}, "rpki_sources", "holds no VRP"),
        ({"file:i.rpsl": ROUTE, "file:v.json": b"[1]"}, "rpki_sources", "holds no VRP"),
        ({"file:i.rpsl": ROUTE, "file:v.json": b"7"}, "rpki_sources", "no VRP list"),
        ({"file:i.rpsl": b"", "file:v.json": ROAS}, "irr_sources", "no as-set and no route object"),
        ({"file:i.rpsl": gzip.compress(ROUTE, mtime=0)[:-9], "file:v.json": ROAS}, "irr_sources", "nothing is taken from it"),
    ],
)
def test_evidence_that_is_missing_or_worthless_stops_the_change(items: dict[str, bytes], field: str, words: str) -> None:
    """Fail closed: neither is everything let in, nor everybody thrown out; what runs stays."""
    with pytest.raises(Refused) as caught:
        list(compile(exchange(), Evidence(items)))

    (refusal,) = caught.value.refusals
    assert (refusal.resource, refusal.field, refusal.rule) == ("routing-policy/safe", field, "routing.evidence-is-there")
    assert words in refusal.found


def test_only_evidence_that_is_used_is_asked_for() -> None:
    """A policy that checks nothing needs nothing, and one that no route server follows needs nothing either."""
    assert set(evidence(exchange())) == {"file:i.rpsl", "file:v.json"}
    assert set(evidence(exchange(policy={"irr": "off", "rpki": "off"}))) == set()
    idle = RoutingPolicy.model_validate({"name": "idle", "irr_sources": ["other.rpsl"]})
    assert set(evidence(exchange(idle))) == {"file:i.rpsl", "file:v.json"}
    assert set(evidence(exchange(*member(1, irr="strict"), policy={"irr": "off", "rpki": "off"}))) == {"file:i.rpsl"}


def test_the_order_of_tests_names_every_reason_once() -> None:
    """What the policy promises is what the reasons' table holds."""
    assert sorted(ORDER) == sorted(REASON)
    assert len(REASONS) == len(REASON), "two reasons have one number"


def test_protocols_are_named_after_sessions_and_lead_back() -> None:
    """The longest names of all are cut, and still lead back."""
    long = f"a{'-b' * 30}"
    sessions = [
        Session.model_validate({"name": name, "member": "m", "lan": "l", "port": "p", "v4": "10.9.0.5", "v6": "2406:5340::5"})
        for name in ("alibaba-hz-1", long, long[:-1] + "c")
    ]
    back = sessions_by_protocol(sessions)

    assert protocol_name("alibaba-hz-1", 4) == "c_alibaba_hz_1_v4"
    assert len(back) == 6
    assert all(len(name) <= 63 for name in back)
    assert {(each.name, family) for each, family in back.values()} == {(each.name, family) for each in sessions for family in (4, 6)}


POLICIES: tuple[dict[str, object], ...] = (
    {},
    {"irr": "off", "rpki": "off", "blackhole": False, "graceful_shutdown": False, "roles": False},
    {"irr": "origin", "irr_more_specifics": True},
    {"blackhole_v4": "10.9.0.66", "blackhole_v6": "2406:5340::66", "transit_free": [174], "never_via_route_servers": [680]},
    {"prefix_lengths": {"v4_min": 1, "v4_max": 32, "v6_min": 1, "v6_max": 128}},
    {"limit_action": "shutdown"},
    {"limit_action": "block"},
    {"limit_action": "warn", "limit_restart_seconds": 1},
    {"limit_counts": "accepted", "graceful_restart_seconds": 120, "long_lived_seconds": 3600, "pauses": {"first_seconds": 5}},
    {"refused": "reject", "next_hop": "strict", "no_export": "obey", "communities_max": 100, "irr": "tag", "rpki": "tag"},
    {"refused": "tag", "refused_tells_announcer": True, "reason_communities": [{"reason": "bogon", "community": "rt:64999:1"}]},
    {"roas_are_route_objects": True, "transit_free": [174], "transit_free_warns": True, "blacklist": ["9.0.0.0/8", "2a00:99::/32"]},
    {"path_hiding_solved": False, "blackhole_communities": ["65000:666", "1:2:3"], "tells_announcer": True, "rtt_thresholds": [5, 10]},
    {"said_communities": [{"said": "rpki_valid", "community": "64999:1"}, {"said": "irrdb_valid", "community": "ro:64999:1"}]},
    {
        "blackhole_communities": ["139136:666:0"],
        "said_communities": [{"said": "rpki_valid", "community": "139136:65530:1"}],
        "reason_communities": [{"reason": "bogon", "community": "139136:65520:3"}],
    },
)
SESSIONS: tuple[dict[str, Any], ...] = (
    {"gtsm": True, "bfd": True, "add_paths": "both", "password": "secret:m4", "hold_time_seconds": 30, "limit_action": "block"},
    {"v4": None, "v6": "2406:5340::14", "v4_over_v6": True, "prepend_route_server": True, "our_role": "peer", "their_role": "peer"},
    {
        "communities": ["1004:1", "ro:1004:2", "1004:1:1", "139136:65501:1"],
        "blackhole_community": "rt:1004:666",
        "blackhole_community_alone": True,
    },
    {"next_hop": "strict", "limit_counts": "accepted", "graceful_shutdown": False, "our_role": "provider", "their_role": "customer"},
    {"announces": {"only": [1001], "but": [1002]}, "hears": {"only": []}, "rtt": "7ms", "blacklist": ["9.9.0.0/16"]},
)


def test_no_part_of_a_set_of_communities_lies_in_another() -> None:
    """BIRD looks an entry up in a set as in a tree, and finds it or not by chance where parts overlap: the exchange's own large communities lie in the
    ranges of what nobody may say in the route server's stead already."""
    own: dict[str, Any] = {
        "said_communities": [{"said": "rpki_valid", "community": "139136:65530:1"}, {"said": "irrdb_valid", "community": "64999:1:1"}],
        "reason_communities": [{"reason": "bogon", "community": "139136:65520:3"}],
    }
    taken_off = re.search(r"define NNIX_OURS_LARGE = \[(.*)\];", text(exchange(policy=own)))

    assert taken_off is not None
    assert "(64999, 1, 1)" in taken_off[1]
    assert "139136" not in taken_off[1]


def test_two_route_servers_of_one_policy_differ_in_id_and_addresses_only() -> None:
    """From one run: whatever else differed would be two policies."""
    found = {each.name: each.content.decode() for each in compile(exchange(), given()) if each.driver == "bird"}
    one, other = (re.sub(r"route-server/rs\d|router id \S+;|(?<=local )\S+(?= as RS;)", "", found[name]) for name in ("rs1", "rs2"))
    assert found["rs1"] != found["rs2"]
    assert one == other


@pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed")
@pytest.mark.parametrize("fields", SESSIONS, ids=str)
def test_bird_accepts_every_session(fields: dict[str, Any], tmp_path: Path) -> None:
    """The daemon's own parser on what is spelled, for each way to set a session."""
    policy_fields = {"rtt_thresholds": [5, 10], "groups": [{"number": 1, "title": "isps", "classes": ["isp"]}]}
    (tmp_path / "bird.conf").write_text(text(exchange(*member(4, **fields), policy=policy_fields)).replace("@HOME@", str(tmp_path)))

    done = subprocess.run(["bird", "-p", "-c", tmp_path / "bird.conf"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed")
def test_bird_accepts_a_router_several_hops_away(tmp_path: Path) -> None:
    """Its next hop is looked up in a table that leads everywhere; the others know nothing of that table."""
    whole = text(exchange(*member(4, v4="11.0.0.1", v6="2a00::1", multihop=3), policy={"path_hiding_solved": False}))
    (tmp_path / "bird.conf").write_text(whole.replace("@HOME@", str(tmp_path)))

    done = subprocess.run(["bird", "-p", "-c", tmp_path / "bird.conf"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert whole.count("igp table nnix_reach") == 2


def test_what_not_every_version_has_is_asked_of_the_machine() -> None:
    """ASPA and TCP-AO are named with who wants them and a mend, which the driver holds against the version before anything is touched."""
    config = text(exchange(*member(4, tcp_ao={"id": 1, "secret": "secret:m4"}), policy={"aspa": "reject"}))

    assert re.search(r"(?m)^# needs: aspa routing-policy/safe: ", config)
    assert re.search(r"(?m)^# needs: tcp-ao session/m4-s: ", config)
    assert "@SECRET:m4@" in config


@pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed")
@pytest.mark.parametrize("fields", POLICIES, ids=str)
def test_bird_accepts_every_policy(fields: dict[str, object], tmp_path: Path) -> None:
    """The daemon's own parser on what is spelled, for each way to set a policy."""
    twin = member(4, {"asn": 65550}, v6=None, role_strict=True, passive=False)
    (tmp_path / "bird.conf").write_text(text(exchange(*twin, policy=fields, lab=True)).replace("@HOME@", str(tmp_path)))

    done = subprocess.run(["bird", "-p", "-c", tmp_path / "bird.conf"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed")
def test_bird_accepts_what_bgpq4_told(tmp_path: Path) -> None:
    """Prefixes without an origin become a client's own prefix set, host routes inside of it for blackholes."""
    grounds = Evidence(
        {
            **{key: item.content for key, item in given().items()},
            "file:q.json": b'{"AS-Q": [{"prefix": "24.0.0.0\\/16", "exact": false, "greater-equal": 20, "less-equal": 24}, {"prefix": "2a02::\\/32", "exact": true}]}',
        }
    )
    snapshot = exchange(*member(1, {"as_sets": ["AS-Q"]}), policy={"irr_sources": ["i.rpsl", "q.json"]})
    config = text(snapshot, grounds)
    (tmp_path / "bird.conf").write_text(config)

    assert "define NNIX_P4_m1_s = [24.0.0.0/16{20,24},24.0.0.0/16{25,32}];" in config
    assert "define NNIX_P6_m1_s = [2a02::/32,2a02::/32{49,128}];" in config
    assert subprocess.run(["bird", "-p", "-c", tmp_path / "bird.conf"], check=False).returncode == 0


def test_a_route_server_without_ipv4_speaks_ipv6_only() -> None:
    """No table, template or protocol of a family that it has no address in."""
    lone = RouteServer.model_validate(
        {"name": "rs1", "site": "east", "lan": "lan", "policy": "safe", "v6": "2406:5340::1", "router_id": "10.9.0.1"}
    )
    config = text(exchange(lone))

    assert "c_m1_s_v6" in config
    assert "_v4" not in config
    assert "ipv4" not in config


def test_a_thousand_clients_have_a_protocol_for_each_family() -> None:
    """On two route servers; how fast they are compiled is measured in bench/apply.py."""
    snapshot = exchange(
        *(
            each
            for number in range(4, 1004)
            for each in member(
                number,
                v4=f"10.9.{number // 200}.{number % 200 + 10}",
                v6=f"2406:5340::{number:x}",
                macs=[f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"],
            )
        )
    )
    assert len(snapshot.of(Member)) == 1003
    artifacts = list(compile(snapshot, given()))
    assert artifacts[0].content.count(b"protocol bgp ") == 2 * 1003


def test_a_plan_names_the_sessions_that_a_change_interrupts() -> None:
    """A session that goes, or must come up anew with another role, is named; one whose limit changes is not."""
    from nnix.daemons.bird import BIRD

    def server(*members: Resource) -> bytes:
        snapshot = exchange(*members)
        return next(each.content for each in compile(snapshot, given()) if each.driver == "bird")

    def disturbed(old: bytes, new: bytes) -> set[str]:
        return {each for step in BIRD.steps(old, new) for each in step.disturbs}

    fourth = member(4)
    name = next(each.id for each in fourth if isinstance(each, Session))
    assert disturbed(server(*fourth), server()) == {name}
    assert disturbed(server(*fourth), server(*member(4, role_strict=True))) == {name}
    assert disturbed(server(*fourth), server(*member(4, prefixes_max={"v4": 7, "v6": 7}))) == set()


def test_every_test_that_the_page_of_features_names_exists() -> None:
    """docs/routing/features.md promises nothing that no test shows."""
    root = Path(__file__).parents[3]
    named = {each for row in FEATURES for each in (*row.bird, *row.openbgpd) if "::" in each}

    assert len(named) > 20
    for each in sorted(named):
        path, _, name = each.partition("::")
        assert re.search(rf"^def {name}\(", (root / path).read_text(), re.M), f"{each} is no test"


PEERINGDB = {
    "data": [
        {"asn": 1001, "irr_as_set": "AS-OTHER", "info_prefixes4": 7, "info_prefixes6": 8},
        {"asn": 1002, "irr_as_set": "T::AS-ONE", "info_prefixes4": 20, "info_prefixes6": 0},
        {"asn": 1003, "irr_as_set": "AS-ONE", "info_prefixes4": 30, "info_prefixes6": 40, "info_never_via_route_servers": True},
        {"asn": 2001, "info_never_via_route_servers": True},
    ]
}


def test_a_members_own_word_comes_before_peeringdbs_and_the_sessions_before_both() -> None:
    """As-sets and limits, each family by itself; with a margin; and whose word it was is said. Nobody who is a member here is never-via."""
    grounds = Evidence({**{key: item.content for key, item in given().items()}, "file:net.json": json.dumps(PEERINGDB).encode()})
    changed = [
        *member(2, {"prefixes_max": {"v6": 5}}),
        *member(3, as_sets=[], prefixes_max={"v4": 100}),
    ]
    rules = {"peeringdb": ["net.json"], "never_via_sources": ["net.json"], "blackhole": False, "prefixes_max_margin_percent": 50}
    found = policy(exchange(*changed, policy=rules), grounds)[0]
    clients = {each.member: each for each in found.clients}

    assert clients["m1"].origins == (1001, 2001, 2002), "its own as-set, and not PeeringDB's, which no source knows"
    assert clients["m2"].origins == (1001, 1002, 2001, 2002)
    assert clients["m3"].origins == (1003,), "its session says: no as-set"
    limits = {name: (each.routes_max_v4, each.routes_max_v6) for name, each in clients.items()}
    assert limits == {"m1": (11, 12), "m2": (30, 8), "m3": (150, 60)}
    assert any("session/m2-s: its as-sets are PeeringDB's: T::AS-ONE" in each for each in found.findings)
    assert found.never == (2001,)
    with pytest.raises(Refused) as refused:
        policy(
            exchange(policy={"peeringdb": ["net.json"]}),
            Evidence({**dict.fromkeys(("file:net.json",), b"{}"), **{k: i.content for k, i in given().items()}}),
        )
    assert [each.field for each in refused.value.refusals] == ["peeringdb"]


VIAS = """
aut-num: AS1002
export-via: AS139136 to AS1001 announce AS1002
import-via: AS139136 from AS-ANY EXCEPT AS-BAD accept ANY
source: T

aut-num: AS1003
export-via: AS139136 to AS1001 announce AS1003
source: T

as-set: AS-BAD
members: AS1003, AS4711
source: T
"""


def test_what_members_say_in_their_aut_nums_of_the_route_server_is_heeded_where_it_is_asked_for() -> None:
    """import-via and export-via; what a session says itself comes first; an as-set is looked at for members here only."""
    snapshot = exchange(*member(3, announces={"but": [1002]}), policy={"rpsl_via": True})
    clients = {each.member: each for each in policy(snapshot, given(RPSL + VIAS))[0].clients}

    assert (clients["m2"].announce_only, clients["m2"].announce_not) == ((1001,), ())
    assert (clients["m2"].hear_only, clients["m2"].hear_not) == (None, (1003,))
    assert (clients["m3"].announce_only, clients["m3"].announce_not) == (None, (1002,))
    assert (clients["m1"].announce_only, clients["m1"].hear_only) == (None, None)
    unasked = {each.member: each for each in policy(exchange(), given(RPSL + VIAS))[0].clients}
    assert (unasked["m2"].announce_only, unasked["m2"].hear_not) == (None, ())
