"""Each rule of routing and of the lab: a lab that is right breaks none, and one small change breaks that one rule and no other."""

from __future__ import annotations

import pytest

from nnix.cli.reference import all_rules
from nnix.cli.root import KINDS
from nnix.kernel.resource import Json
from nnix.kernel.rule import judge
from nnix.kernel.snapshot import Snapshot
from nnix.lab.rules import RULES as LAB
from nnix.planes.routing.rules import RULES as ROUTING

Changes = dict[str, Json | None]


def _member(asn: int, **more: object) -> Json:
    return {"title": {"en": "M"}, "asn": asn, "class": "isp", **more}


def _session(member: str, number: int, **more: object) -> Json:
    common = {"member": member, "lan": "peering", "port": member, "v4": f"192.0.2.{number}", "v6": f"2001:db8:1::{number}"}
    return {**common, "macs": [f"02:00:5e:10:00:0{number}"], **more}


def _server(site: str, number: int) -> Json:
    return {
        "site": site,
        "lan": "peering",
        "policy": "open",
        "v4": f"192.0.2.25{number}",
        "v6": f"2001:db8:1::25{number}",
        "mac": f"02:00:5e:10:00:f{number}",
    }


RIGHT: dict[str, Json] = {
    "Exchange/lab": {"title": {"en": "Lab"}, "asn": 139136, "country": "CN", "lab": True},
    "Site/hz": {"title": {"en": "Hangzhou"}, "role": "hub", "level": "city", "city": "Hangzhou", "country": "CN"},
    "Site/nb": {"title": {"en": "Ningbo"}, "role": "node", "level": "city", "city": "Ningbo", "country": "CN"},
    "Link/hz-nb": {"a": "hz", "b": "nb", "capacity": "100G", "latency": "1ms"},
    "Lan/peering": {"title": {"en": "Peering"}, "v4": "192.0.2.0/24", "v6": "2001:db8:1::/64", "vni": 4000},
    "Lan/test": {"title": {"en": "Test"}, "purpose": "quarantine", "v4": "198.51.100.0/24", "vni": 4001},
    "RoutingPolicy/open": {"irr_sources": ["irr.rpsl"], "rpki_sources": ["vrps.json"], "blackhole_v4": "192.0.2.66"},
    "RoutingRegistry/radb": {"server": "irr.example", "databases": ["RADB"]},
    "RtrCache/rtr-hz": {"site": "hz", "lan": "peering", "v4": "192.0.2.241", "source": "vrps.json"},
    "Lan/far": {"title": {"en": "Far"}, "v4": "203.0.113.0/24", "vni": 4002},
    "RtrCache/rtr-nb": {"site": "nb", "lan": "far", "v4": "203.0.113.7", "source": "vrps.json"},
    "RoutingPolicy/spare": {"irr_caches": ["rtr-hz"]},
    "RouteServer/rs1": _server("hz", 1),
    "RouteServer/rs2": _server("nb", 2),
    "Member/alice": _member(64500, as_sets=["RIPE::AS-ALICE"]),
    "Member/bob": _member(64501),
    "Port/alice": {"member": "alice", "site": "hz", "speed": "100G"},
    "Port/bob": {"member": "bob", "site": "nb", "speed": "10G"},
    "Session/alice": _session("alice", 1, as_sets=["AS64500:AS-CUSTOMERS", "AS64500"]),
    "Session/bob": _session("bob", 2),
    "Router/alice-router": {"session": "alice", "announces": [{"prefix": "198.18.1.0/24", "path": [64510]}]},
    "Router/bob-router": {"session": "bob", "daemon": "frr", "announces": [{"prefix": "198.18.2.0/24"}]},
}  # fmt: skip

REGISTRY: Json = {"session": "alice", "key": "k", "zones": [{"origin": "zj.", "records": ["zj. SOA ns.zj. h.zj. 1 2 3 4 5"]}]}
KEY: Json = {"key_name": "k.", "secret": "secret:k"}
ZONE: Json = {
    "origin": "zj.",
    "member": "alice",
    "gate": "gate",
    "primaries": [{"address": "192.0.2.1"}],
    "key": "k",
    "anchors": [f"1 8 2 {'0' * 64}"],
}

EXCEPTION: Json = {"session": "bob", "until": "2027-01-01T00:00:00Z", "answers": "contact:noc", "why": "a test"}
SNIPPET: Json = {"policy": "open", "daemon": "bird", "place": "import", "answers": "contact:noc", "why": "a test"}
BILATERAL: Changes = {"Session/alice": {"route_servers": False}, "Session/bob": {"route_servers": False}}

# rule → what is changed, and which (resource, field) are named
BROKEN: dict[str, tuple[Changes, set[tuple[str, str]]]] = {
    "routing.session-address-in-lan": ({"Session/bob": {"v4": "198.51.100.7"}}, {("session/bob", "v4")}),
    "routing.route-server-address-in-lan": ({"RouteServer/rs2": {"v6": "2001:db8:2::2"}}, {("route-server/rs2", "v6")}),
    "routing.session-address-once": ({"Session/bob": {"v6": "2001:db8:1::1"}}, {("session/alice", "v6"), ("session/bob", "v6")}),
    "routing.route-server-address-once": (
        {"RouteServer/rs2": {"v6": "2001:db8:1::251"}},
        {("route-server/rs1", "v6"), ("route-server/rs2", "v6")},
    ),
    "routing.session-mac-once": ({"Session/bob": {"macs": ["02:00:5e:10:00:01"]}}, {("session/alice", "macs"), ("session/bob", "macs")}),
    "routing.route-server-mac-once": (
        {"RouteServer/rs2": {"mac": "02:00:5e:10:00:f1"}},
        {("route-server/rs1", "mac"), ("route-server/rs2", "mac")},
    ),
    "routing.session-has-mac": ({"Session/bob": {"macs": []}}, {("session/bob", "macs")}),
    "routing.session-has-address": ({"Session/bob": {"v4": None, "v6": None}}, {("session/bob", "v4")}),
    "routing.session-port-is-the-members": (
        {"Port/other": {"member": "alice", "site": "nb", "speed": "10G"}, "Session/bob": {"port": "other"}},
        {("session/bob", "port")},
    ),
    "routing.session-on-peering-lan": (
        {"Session/bob": {"lan": "test", "v4": "198.51.100.2", "v6": None, "route_servers": False}},
        {("session/bob", "lan")},
    ),
    "routing.roles-fit": ({"Session/bob": {"their_role": "peer"}}, {("session/bob", "their_role")}),
    "routing.two-route-servers": ({"RouteServer/rs2": {"site": "hz"}}, {("lan/peering", "")}),
    "routing.families-served": ({"RouteServer/rs2": {"v6": None}}, {("route-server/rs2", "v6")}),
    "routing.router-id-once": ({"RouteServer/rs2": {"router_id": "192.0.2.251"}}, {("route-server/rs1", "v4"), ("route-server/rs2", "router_id")}),
    "routing.route-server-asn": ({"RouteServer/rs2": {"asn": 64500}}, {("route-server/rs2", "asn")}),
    "routing.blackhole-next-hop-in-lan": ({"RoutingPolicy/open": {"blackhole_v4": "192.0.2.1"}}, {("routing-policy/open", "blackhole_v4")}),
    "routing.prefix-lengths-in-order": (
        {"RoutingPolicy/open": {"prefix_lengths": {"v4_min": 25}}},
        {("routing-policy/open", "prefix_lengths.v4_min")},
    ),
    "routing.irr-has-sources": ({"RoutingPolicy/open": {"irr_sources": []}}, {("routing-policy/open", "irr_sources")}),
    "routing.registry-can-be-asked": ({"RoutingRegistry/radb": {"server": None}}, {("routing-registry/radb", "server")}),
    "routing.rpki-has-sources": ({"RoutingPolicy/open": {"rpki_sources": []}}, {("routing-policy/open", "rpki_sources")}),
    "routing.caches-within-reach": ({"RoutingPolicy/open": {"rpki_caches": ["rtr-hz", "rtr-nb"]}}, {("routing-policy/open", "rpki_caches.1")}),
    "routing.caches-hand-out-its-sources": (
        {"RoutingPolicy/open": {"rpki_caches": ["rtr-hz"], "rpki_sources": ["vrps.json", "more.json"]}},
        {("routing-policy/open", "rpki_sources")},
    ),
    "routing.one-policy-for-a-cache": ({"RoutingPolicy/zeta": {"irr_caches": ["rtr-hz"]}}, {("routing-policy/zeta", "irr_caches.0")}),
    "routing.member-as-sets-well-formed": ({"Member/bob": {"as_sets": ["AS-BOB", "ASBOB"]}}, {("member/bob", "as_sets.1")}),
    "routing.session-as-sets-well-formed": ({"Session/bob": {"as_sets": ["AS-"]}}, {("session/bob", "as_sets.0")}),
    "routing.loosening-is-an-exception": ({"Session/bob": {"irr": "origin"}}, {("session/bob", "irr")}),
    "routing.exception-says-something": ({"RoutingException/bob": EXCEPTION}, {("routing-exception/bob", "")}),
    "routing.session-communities-free": (
        {"Session/bob": {"communities": ["64501:1"], "blackhole_community": "139136:1:1"}},
        {("session/bob", "blackhole_community")},
    ),
    "routing.policy-communities-free": (
        {"RoutingPolicy/open": {"reason_communities": [{"reason": "no_such", "community": "64999:1"}], "blackhole_communities": ["65535:1"]}},
        {("routing-policy/open", "reason_communities.0.reason"), ("routing-policy/open", "blackhole_communities.0")},
    ),
    "routing.groups-told-apart": ({"RoutingPolicy/open": {"groups": [{"number": 1, "title": "nobody"}]}}, {("routing-policy/open", "groups.0")}),
    "routing.short-asns-told-apart": (
        {"RoutingPolicy/open": {"short_asns": [{"asn": 70000, "short": 64600}, {"asn": 70001, "short": 64600}]}},
        {("routing-policy/open", "short_asns.1.short")},
    ),
    "routing.multihop-has-one-best": ({"Session/bob": {"v4": "203.0.113.9", "multihop": 3}}, {("session/bob", "multihop")}),
    "routing.v4-over-v6-has-no-v4": ({"Session/bob": {"v4_over_v6": True}}, {("session/bob", "v4")}),
    "routing.one-tcp-authentication": (
        {"Session/bob": {"password": "secret:bob", "tcp_ao": {"id": 1, "secret": "secret:bob-ao"}}},
        {("session/bob", "tcp_ao")},
    ),
    "routing.blackhole-community-is-used": ({"Session/bob": {"blackhole_community_alone": True}}, {("session/bob", "blackhole_community_alone")}),
    "routing.snippet-stays-in-its-place": ({"LocalSnippet/bad": {**SNIPPET, "text": "accept; } };"}}, {("local-snippet/bad", "text")}),
    "lab.declared": ({"Exchange/lab": {"lab": False}}, {("router/alice-router", "session"), ("router/bob-router", "session")}),
    "lab.machine-names": ({"Router/rs1": {"session": "bob"}, "Router/bob-router": None}, {("router/rs1", "name")}),
    "lab.registry-beside-a-router": (
        {"Registry/registry": REGISTRY, "Registry/other": REGISTRY, "TransferKey/k": KEY},
        {("registry/registry", "session"), ("registry/other", "session")},
    ),
    "lab.registry-signs-with-the-anchor": (
        {"Registry/registry": REGISTRY, "TransferKey/k": KEY, "NameGate/gate": {"session": "bob", "key": "k"}, "Zone/zj": ZONE, "Router/bob-router": None},
        {("registry/registry", "zones.0.origin")},
    ),
    "lab.caches-within-reach": (
        {"Router/alice-router": {"caches": ["rtr-hz", "rtr-nb"]}, "Router/second": {"session": "bob", "daemon": "gobgp", "caches": ["rtr-hz"]}},
        {("router/alice-router", "caches.1"), ("router/second", "daemon")},
    ),
    "lab.only-bird-misbehaves": ({"Router/alice-router": {"daemon": "gobgp"}}, {("router/alice-router", "daemon")}),
}  # fmt: skip

ACCEPTED: dict[str, Changes] = {
    "as it is": {},
    "an address in both halves of a /31": {
        **BILATERAL,
        "Lan/two": {"title": {"en": "Two"}, "v4": "203.0.113.0/31"},
        "Session/alice": {"lan": "two", "v4": "203.0.113.0", "v6": None, "route_servers": False},
        "Session/bob": {"lan": "two", "v4": "203.0.113.1", "v6": None, "route_servers": False},
    },
    "one address on two LANs": {
        "Lan/other": {"title": {"en": "Other"}, "v4": "192.0.2.0/24"},
        "Port/bob-2": {"member": "bob", "site": "nb", "speed": "10G"},
        "Session/bob-2": _session("bob", 2, lan="other", port="bob-2", v6=None, route_servers=False),
    },
    "one router with two sessions behind one port": {"Session/bob-2": _session("bob", 2, v4="192.0.2.77", v6=None)},
    "one session of one family": {"Session/bob": {"v4": None}},
    "no route server where nobody wants one": {**BILATERAL, "RouteServer/rs1": None, "RouteServer/rs2": None, "RoutingPolicy/open": {"blackhole_v4": None}},
    "a customer of a member, bilaterally": {**BILATERAL, "Session/bob": {"route_servers": False, "our_role": "provider", "their_role": "customer"}},
    "a BGP identifier of its own": {"RouteServer/rs2": {"router_id": "192.0.2.1"}},
    "an ASN of its own": {"RouteServer/rs2": {"asn": 139137}},
    "a next hop for blackholes that nobody has": {"RoutingPolicy/open": {"blackhole_v4": "192.0.2.99", "blackhole_v6": "2001:db8:1::99"}},
    "one length of prefix": {"RoutingPolicy/open": {"prefix_lengths": {"v4_min": 24, "v4_max": 24}}},
    "no registries, in the open": {"RoutingPolicy/open": {"irr_sources": [], "irr": "off"}},
    "no validation, in the open": {"RoutingPolicy/open": {"rpki_sources": [], "rpki": "off"}},
    "a member held to more than the others": {"RoutingPolicy/open": {"irr": "origin"}, "Session/bob": {"irr": "strict"}},
    "a member held to less, for a time": {"RoutingException/bob": {**EXCEPTION, "irr": "origin", "origins": [64777]}},
    "communities of its own, and RS:666": {
        "Session/bob": {"communities": ["64501:1", "rt:64501:2", "64501:1:1"], "blackhole_community": "64501:666"},
        "RoutingPolicy/open": {"blackhole_communities": ["65000:666"]},
    },
    "a snippet that counts": {"LocalSnippet/good": {**SNIPPET, "text": "if net.len > 23 then { bgp_med = 1; }"}},
    "a router three hops away where one path is best": {
        "RoutingPolicy/open": {"path_hiding_solved": False},
        "Session/bob": {"v4": "203.0.113.9", "v6": None, "multihop": 3},
    },
    "IPv4 over IPv6": {"Session/bob": {"v4": None, "v4_over_v6": True}},
    "a route server that is a member's provider": {"Session/bob": {"our_role": "provider", "their_role": "customer"}},
    "a real exchange without routers": {"Router/alice-router": None, "Router/bob-router": None},
    "a second router behind a port": {"Router/second": {"session": "bob"}},
    "VRPs and route objects by RTR": {
        "RoutingPolicy/spare": None,
        "RoutingPolicy/open": {"rpki_caches": ["rtr-hz", "rtr-nb"], "irr_caches": ["rtr-hz"]},
        "RtrCache/rtr-nb": {"listen": ["10.0.0.7"]},
        "Router/alice-router": {"caches": ["rtr-hz"]},
        "Router/bob-router": {"caches": ["rtr-hz"]},
    },
    "a router that only BIRD can be": {"Router/alice-router": {"announces": [{"prefix": "198.18.1.0/24", "otc": 64511}]}},
}  # fmt: skip


def lab(changes: Changes) -> Snapshot:
    """RIGHT with fields changed, resources added, and those whose change is None left out."""
    wish = {key: dict(fields) for key, fields in RIGHT.items()}
    for key, fields in changes.items():
        if fields is None:
            del wish[key]
        else:
            wish[key] = {**wish.get(key, {}), **fields}
    parted = [(*key.partition("/")[::2], fields) for key, fields in wish.items()]
    return Snapshot(KINDS[kind].model_validate({"name": name, **fields}) for kind, name, fields in parted)


@pytest.mark.parametrize("name", BROKEN)
def test_a_rule_is_broken_by_its_own_case_alone(name: str) -> None:
    """The refusal names the rule, the resource and the field, and says what would be accepted."""
    changes, named = BROKEN[name]
    refusals = judge(lab(changes), (*ROUTING, *LAB))
    assert {(each.rule, each.resource, each.field) for each in refusals} == {(name, *where) for where in named}
    assert all(each.accept and each.source and each.found for each in refusals)


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_unusual_but_right_is_admitted(name: str) -> None:
    """Neither routing nor the lab objects."""
    assert [str(each) for each in judge(lab(ACCEPTED[name]), (*ROUTING, *LAB))] == []


def test_every_rule_of_both_has_a_case() -> None:
    """None is untested."""
    assert set(BROKEN) == {rule.name for rule in (*ROUTING, *LAB)}


def test_the_lab_that_is_right_breaks_no_rule_of_any_plane() -> None:
    """So that each case shows what it claims: the change alone is what is wrong."""
    assert [str(each) for each in judge(lab({}), all_rules())] == []
