"""Each admission rule of the fabric is broken by one small change to an exchange that is right, and by nothing else."""

from __future__ import annotations

import pytest

from nnix.kernel.rule import judge
from nnix.planes.fabric.rules import RULES, reached_from

from .exchanges import RIGHT, Fields, exchange, session, site

CLOUD: Fields = {"member": "bob", "site": "hz", "speed": "10G"}

# Between hz and nb, one link of the province's own; the other way round leads through Singapore.
RING: dict[str, Fields | None] = {
    **{f"Site/{name}": {"province": "Zhejiang"} for name in ("hz", "nb", "wz")},
    "Site/sg": site("sg", "node", 9, country="SG"),
    "Link/hz-sg": {"a": "hz", "b": "sg", "capacity": "10G", "latency": "30ms"},
    "Link/sg-nb": {"a": "sg", "b": "nb", "capacity": "10G", "latency": "30ms"},
}

# rule → (what is changed, which resource and field are named)
BROKEN: dict[str, tuple[dict[str, Fields | None], list[tuple[str, str]]]] = {
    "fabric.link-two-ends": ({"Link/loop": {"a": "hz", "b": "hz", "capacity": "10G", "latency": "1ms"}}, [("link/loop", "b")]),
    "fabric.site-reachable": ({"Link/nb-wz": None}, [("site/wz", "")]),
    "fabric.tunnel-end-v4": ({"Site/nb": {"vtep": "2001:db8::1"}}, [("site/nb", "vtep")]),
    "fabric.lan-has-prefix": ({"Lan/bare": {"title": {"en": "Bare"}}}, [("lan/bare", "v4")]),
    "fabric.lan-prefixes-apart": (
        {"Lan/zz": {"title": {"en": "Z"}, "v4": "192.0.2.128/25", "v6": "2001:db8::/32"}},
        [("lan/zz", "v4"), ("lan/zz", "v6")],
    ),
    "fabric.vni-once": ({"Lan/test": {"vni": 4000}}, [("lan/test", "vni")]),
    "fabric.quarantine-lan-once": (
        {"Lan/test-2": {"title": {"en": "T"}, "purpose": "quarantine", "v4": "203.0.113.0/24"}},
        [("lan/test-2", "purpose")],
    ),
    "fabric.commitment-fits-port": ({"Port/alice": {"committed": "101G"}}, [("port/alice", "committed")]),
    "fabric.port-on-one-lan": (
        {
            "Lan/second": {"title": {"en": "S"}, "v4": "203.0.113.0/24"},
            "Session/more": {**session("alice", 1), "lan": "second", "v4": "203.0.113.1", "v6": None},
        },
        [("port/alice", "")],
    ),
    "fabric.port-interface-possible": ({"Port/bob": {"interface": "et-0/0/1"}}, [("port/bob", "interface")]),
    "fabric.circuit-vni-once": ({"Circuit/private": {"vni": 4000}}, [("circuit/private", "vni")]),
    "fabric.circuit-ends-free": (
        {
            "Circuit/second": {"ends": ["bob-2", "bob", "alice-3", "alice-3"]},
            "Port/alice-3": {"member": "alice", "site": "wz", "speed": "1G"},
        },
        [("circuit/second", "ends[0]"), ("circuit/second", "ends[1]"), ("circuit/second", "ends[3]")],
    ),
    "fabric.circuit-fits-ports": ({"Port/bob-2": {"committed": "900M"}}, [("circuit/private", "capacity")]),
    "fabric.gateway-fits": (
        {
            "Port/cloud": {**CLOUD, "gateway": {"ours": "10.255.0.2", "theirs": "100.64.0.8"}},
            "Port/cloud-2": {**CLOUD, "gateway": {"ours": "100.64.0.8", "theirs": "100.64.0.8"}},
            "Port/alice-2": {"gateway": {"ours": "100.64.0.4", "theirs": "100.64.0.5"}},
            "Port/cloud-3": {**CLOUD, "gateway": {"ours": "127.0.0.1", "theirs": "192.0.2.77"}},
        },
        [
            ("port/alice-2", "gateway"),
            ("port/cloud", "gateway.ours"),
            ("port/cloud-2", "gateway.ours"),
            ("port/cloud-2", "gateway.theirs"),
            ("port/cloud-3", "gateway.ours"),
            ("port/cloud-3", "gateway.theirs"),
        ],
    ),
    "fabric.hand-off-fits": (
        {
            "Port/cloud": {**CLOUD, "gateway": {"ours": "100.64.0.4", "theirs": "100.64.0.5"}},
            "Port/cloud-a": {**CLOUD, "over": "cloud", "vni": 4000},
            "Port/cloud-b": {**CLOUD, "over": "cloud", "vni": 7000},
            "Port/cloud-c": {**CLOUD, "over": "cloud", "vni": 7000, "interface": "et1"},
            "Port/cloud-d": {**CLOUD, "over": "cloud"},
            "Port/cloud-e": {**CLOUD, "over": "cloud", "vni": 7001, "site": "wz"},
            "Port/cable": {**CLOUD, "tagged": True},
            "Port/cloud-f": {**CLOUD, "over": "cloud", "vlan": 7},
            "Port/cloud-g": {**CLOUD, "over": "cable", "vni": 7003},
            "Port/cloud-h": {**CLOUD, "over": "cable", "vlan": 7},
            "Port/cloud-i": {**CLOUD, "over": "cable", "vlan": 7},
            "Port/cloud-j": {**CLOUD, "over": "cable", "vlan": 8, "vni": 7004},
            "Port/cloud-k": {**CLOUD, "vlan": 9},
            "Port/bob": {"over": "cloud", "vni": 7002, "interface": None, "site": "hz"},
        },
        [
            ("port/bob", "over"),
            ("port/cloud-a", "vni"),
            ("port/cloud-c", "interface"),
            ("port/cloud-c", "vni"),
            ("port/cloud-d", "vni"),
            ("port/cloud-e", "over"),
            ("port/cloud-f", "over"),
            ("port/cloud-g", "over"),
            ("port/cloud-i", "vlan"),
            ("port/cloud-j", "vni"),
            ("port/cloud-k", "over"),
        ],
    ),
    "fabric.tagged-fits": (
        {
            "Port/alice-2": {"tagged": True},
            "Port/cloud": {**CLOUD, "tagged": True, "gateway": {"ours": "100.64.0.4", "theirs": "100.64.0.5"}},
            "Port/cable": {**CLOUD, "tagged": True},
            "Port/cloud-a": {**CLOUD, "tagged": True, "over": "cable", "vlan": 7},
        },
        [("port/alice-2", "tagged"), ("port/cloud", "tagged"), ("port/cloud-a", "tagged")],
    ),
    "fabric.circuit-pins-fit": (
        {
            "Circuit/private": {"via": ["wz", "nb", "wz"]},
            "Circuit/near": {"ends": ["alice-3", "alice-4"], "via": ["hz"]},
            "Circuit/three": {"ends": ["alice-5", "alice-6", "alice-7"], "via": ["hz"]},
            **{f"Port/alice-{n}": {"member": "alice", "site": "wz", "speed": "1G"} for n in (3, 4, 5, 6, 7)},
        },
        [("circuit/near", "via"), ("circuit/private", "via[1]"), ("circuit/private", "via[2]"), ("circuit/three", "via")],
    ),
    "fabric.circuit-stays-within": (
        {
            **RING,
            "Circuit/private": {"within": "province"},
            "Circuit/passing": {"ends": ["alice-3", "bob-3"], "within": "province", "via": ["sg", "wz"]},
            "Circuit/open": {"ends": ["alice-4", "bob-4"], "within": "cross-border"},
            **{f"Port/alice-{n}": {"member": "alice", "site": "hz", "speed": "1G"} for n in (3, 4)},
            **{f"Port/bob-{n}": {"member": "bob", "site": "nb", "speed": "1G"} for n in (3, 4)},
        },
        [("circuit/open", "within"), ("circuit/passing", "via[0]"), ("circuit/private", "within")],
    ),
    "fabric.bfd-pace": ({"Link/hz-nb": {"bfd": "5ms"}}, [("link/hz-nb", "bfd")]),
    "fabric.emergency-plan-target": ({"EmergencyPlan/hub-dark": {"target": "link/hz-nb"}}, [("emergency-plan/hub-dark", "target")]),
    "fabric.emergency-plan-approvers": (
        {
            "EmergencyPlan/hub-dark": {
                "approvers": [
                    {"contact": "contact:a", "login": "wang"},
                    {"contact": "contact:a"},
                    {"contact": "contact:b", "login": "wang"},
                ]
            }
        },
        [("emergency-plan/hub-dark", "approvers[1].contact"), ("emergency-plan/hub-dark", "approvers[2].login")],
    ),
    "fabric.interface-once": ({"Port/carol": {"member": "bob", "site": "wz", "speed": "10G", "interface": "et48"}}, [("site/wz", "")]),
    "fabric.traffic-two-ends": ({"Traffic/alice-bob": {"b": {"site": "hz", "member": "bob"}}}, [("traffic/alice-bob", "b")]),
    "fabric.lan-keeps-promise": ({"Lan/peering": {"survives": ["link"]}}, [("lan/peering", "survives")] * 2),
    "fabric.port-keeps-promise": ({"Port/alice": {"survives": ["site"]}}, [("port/alice", "survives")]),
    "fabric.circuit-keeps-promise": ({"Circuit/private": {"survives": ["link", "site"]}}, [("circuit/private", "survives")]),
}

ACCEPTED: dict[str, dict[str, Fields | None]] = {
    "as it is": {},
    "two links between two sites": {"Link/hz-nb-2": {"a": "nb", "b": "hz", "capacity": "10G", "latency": "1ms"}},
    "a site reached through another": {"Link/nb-wz": {"a": "wz", "b": "nb"}},
    "a commitment of all of the speed": {"Port/alice": {"committed": "100G"}},
    "a port without session": {"Session/bob": None},
    "the same interface at two sites": {"Port/alice": {"interface": "et48"}},
    "LANs side by side": {"Lan/next": {"title": {"en": "N"}, "v4": "192.0.3.0/24", "v6": "2001:db8:1:1::/64"}},
    "a quarantine LAN of the same prefix": {"Lan/test": {"v4": "192.0.2.0/24", "v6": "2001:db8:1::/64"}},
    "a LAN that is not yet numbered": {"Lan/test": {"vni": None}},
    "a circuit that stays inside, as a failure leaves it no way at all": {
        **{f"Site/{name}": {"province": "Zhejiang"} for name in ("hz", "nb", "wz")},
        "Circuit/private": {"within": "province"},
    },
    "a circuit that a failure takes through another country, which nobody forbade": RING,
    "a pinned circuit inside, since what would take it out, the loss of an end, ends it": {
        **RING,
        "Link/wz-sg": {"a": "wz", "b": "sg", "capacity": "10G", "latency": "30ms"},
        "Link/hz-nb-2": {"a": "hz", "b": "nb", "capacity": "10G", "latency": "9ms"},
        "Link/nb-wz-2": {"a": "nb", "b": "wz", "capacity": "10G", "latency": "9ms"},
        "Circuit/private": {"via": ["wz"], "within": "province"},
    },
    "a gateway that is handed two numbers, which another site uses as well": {
        "Port/cloud": {**CLOUD, "gateway": {"ours": "100.64.0.4", "theirs": "100.64.0.5"}},
        "Port/cloud-2": {**CLOUD, "site": "nb", "gateway": {"ours": "100.64.0.4", "theirs": "100.64.0.5"}},
        "Port/cloud-a": {**CLOUD, "over": "cloud", "vni": 7000},
        "Port/cloud-b": {**CLOUD, "over": "cloud", "vni": 7001},
        "Port/cloud-c": {**CLOUD, "over": "cloud-2", "vni": 7000, "site": "nb"},
    },
    "a cable that carries two VLANs, one of which another cable carries as well": {
        **{f"Port/{name}": {**CLOUD, "tagged": True} for name in ("cable", "cable-2")},
        "Port/cloud-a": {**CLOUD, "over": "cable", "vlan": 1},
        "Port/cloud-b": {**CLOUD, "over": "cable", "vlan": 4094},
        "Port/cloud-c": {**CLOUD, "over": "cable-2", "vlan": 1},
    },
    "two sessions behind one port on one LAN": {"Session/alice-2": {**session("alice", 1), "v4": "100.64.0.77", "v6": None}},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_rule_is_broken_by_its_own_case_alone(name: str) -> None:
    """The refusal names the resource and the field, and says what would be accepted."""
    changes, expected = BROKEN[name]
    refusals = judge(exchange(changes), RULES)
    assert [(each.rule, each.resource, each.field) for each in refusals] == [(name, *where) for where in expected]
    assert all(each.accept and each.source for each in refusals)


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_unusual_but_right_is_admitted(name: str) -> None:
    """No rule of the fabric objects."""
    assert judge(exchange(ACCEPTED[name]), RULES) == ()


def test_every_rule_has_a_case() -> None:
    """None is untested."""
    assert set(BROKEN) == {rule.name for rule in RULES}


@pytest.mark.parametrize("interface", ["lo", "all", "default", "p-alice", "br-peering", "vx-1", "l-hz", "rs-1"])
def test_names_that_nnix_gives_are_not_for_ports(interface: str) -> None:
    """Otherwise a member's port could be taken for a bridge."""
    refusals = judge(exchange({"Port/bob": {"interface": interface}}), RULES)
    assert "fabric.port-interface-possible" in {each.rule for each in refusals}


def test_a_missing_link_cuts_off_all_that_is_behind_it() -> None:
    """Every site is named that cannot be reached, not only the nearest."""
    refusals = judge(exchange({"Link/hz-nb": None, "Site/tz": site("tz", "node", 4)}), RULES)
    assert [each.resource for each in refusals] == ["site/nb", "site/tz", "site/wz"]
    assert reached_from("nb", exchange({"Link/hz-nb": None})) == {"nb", "wz"}


def test_the_exchange_that_is_right_has_something_of_every_kind_the_rules_judge() -> None:
    """Otherwise a rule could pass for want of anything to judge."""
    assert {rule.kind.kind() for rule in RULES} <= {key.partition("/")[0] for key in RIGHT}
