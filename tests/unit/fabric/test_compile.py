"""What each switch is told, judged by what it means for members."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnix.daemons import nftables
from nnix.daemons.iproute import facts as iproute
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact
from nnix.planes.fabric import frr, srv6
from nnix.planes.fabric.allocate import allocate
from nnix.planes.fabric.compile import compile, link_local, reflectors, switches, underlay_mtu
from nnix.planes.fabric.frr import cost
from nnix.planes.fabric.kinds import Lan, Link, Port
from nnix.planes.fabric.names import NAME_OCTETS_MAX, fitted, lan_bridge, link_interface, port_interface
from nnix.planes.fabric.policy import Attachment, Switch
from nnix.planes.fabric.read import parse

from .exchanges import Fields, exchange, site


def switch(name: str, changes: dict[str, Fields | None] | None = None) -> Switch:
    return next(each for each in switches(exchange(changes)) if each.site == name)


def port(name: str, changes: dict[str, Fields | None] | None = None) -> Attachment:
    return next(each for one in switches(exchange(changes)) for each in one.attachments if each.of == f"port/{name}")


def artifacts(snapshot: Snapshot) -> dict[tuple[str, str, str], Artifact]:
    return {each.key: each for each in compile(snapshot, Evidence())}


def test_each_switch_gets_a_filter_interfaces_and_an_underlay_in_this_order() -> None:
    """A filter is armed before the port that it guards joins. A site runs on the machine that it names, else on one of its own name."""
    assert list(artifacts(exchange())) == [
        (machine, driver, name)
        for machine in ("hz", "nb", "switch-7")
        for driver, name in (("nftables", "gateways"), ("nftables", "ports"), ("iproute", "fabric"), ("frr", "underlay"))
    ]


def test_the_same_wish_gives_the_same_bytes() -> None:
    """Whatever order the resources came in."""
    forwards, backwards = exchange(), Snapshot(reversed(list(exchange())))
    assert {key: each.content for key, each in artifacts(forwards).items()} == {
        key: each.content for key, each in artifacts(backwards).items()
    }


def test_every_artifact_is_accepted_by_its_own_reader() -> None:
    """What compile spells, the drivers can take apart."""
    tables = {"ports": ("bridge", "nnix"), "gateways": ("inet", "nnix_gateways")}
    for (_, driver, name), each in artifacts(exchange({"Port/alice": {"state": "quarantine"}})).items():
        if driver == "iproute":
            assert iproute.encode(iproute.decode(each.content).values()) == each.content
        elif driver == "nftables":
            table = nftables.parse(each.content.decode())
            assert (table.family, table.name) == tables[name]
        else:
            assert each.content.startswith(b"! daemons: zebra bfdd ospfd bgpd\n")


def test_frames_for_a_member_go_to_the_site_where_its_port_is() -> None:
    """And broadcast to all sites that have somebody on the LAN, but not to the own one."""
    peering = next(end for end in switch("hz").lans if end.lan == "peering")
    assert peering.far == (("02:00:5e:10:00:02", IPv4Address("10.255.0.3")), ("02:00:5e:10:00:fb", IPv4Address("10.255.0.2")))
    assert peering.flood == (IPv4Address("10.255.0.2"), IPv4Address("10.255.0.3"))


def test_a_site_without_anybody_on_a_lan_gets_no_copies_of_its_broadcast() -> None:
    """bob's port was the only one at its site."""
    peering = next(end for end in switch("hz", {"Port/bob": {"state": "suspended"}}).lans if end.lan == "peering")
    assert peering.flood == (IPv4Address("10.255.0.2"),)
    assert peering.far == (("02:00:5e:10:00:fb", IPv4Address("10.255.0.2")),)


@pytest.mark.parametrize(
    ("state", "bridge", "up", "isolated", "drained"),
    [
        ("reserved", None, False, False, False),
        ("quarantine", "br-test", True, True, False),
        ("production", "br-peering", True, False, False),
        ("drained", "br-peering", True, False, True),
        ("suspended", None, False, False, False),
    ],
)
def test_a_ports_state_decides_where_it_is_plugged_in(state: str, bridge: str | None, up: bool, isolated: bool, drained: bool) -> None:
    """The order is that of a port's life."""
    found = port("alice", {"Port/alice": {"state": state}})
    assert (found.bridge, found.up, found.isolated, found.drained) == (bridge, up, isolated, drained)


ALICE_MAC = "02:00:5e:10:00:01"
ALICE = {"192.0.2.1": ALICE_MAC, "2001:db8:1::1": ALICE_MAC, "fe80::5eff:fe10:1": ALICE_MAC}


def answered(changes: dict[str, Fields | None] | None = None) -> dict[str, str]:
    """For whom the switches answer on the peering LAN, the same at each site."""
    ends = [end for each in switches(exchange(changes)) for end in each.lans if end.lan == "peering"]
    assert len({end.neighbours for end in ends}) == 1
    assert len({end.mac for end in ends}) == len(ends)
    return {str(address): mac for address, mac in ends[0].neighbours or ()}


@pytest.mark.parametrize(
    ("state", "known"), [("reserved", {}), ("quarantine", {}), ("production", ALICE), ("drained", ALICE), ("suspended", {})]
)
def test_a_ports_state_decides_whether_it_is_answered_for(state: str, known: dict[str, str]) -> None:
    """RFC 9161, at every site: for those on the LAN. A port under test answers for itself, and in the name of the others nobody does."""
    found = answered({"Port/alice": {"state": state}})
    assert {address: mac for address, mac in found.items() if mac == ALICE_MAC} == known
    assert {"192.0.2.2", "192.0.2.251"} <= found.keys()
    assert answered({"Session/alice": None, "Port/alice": None, "Traffic/alice-bob": None}) == {
        address: mac for address, mac in found.items() if mac != ALICE_MAC
    }


def test_where_ports_are_under_test_and_on_circuits_nobody_is_answered_for() -> None:
    """Not even the tester; and nothing is kept from the tunnel."""
    changes: dict[str, Fields | None] = {
        "Port/alice": {"state": "quarantine"},
        "RouteServer/tester": {"site": "nb", "lan": "test", "policy": "open", "v4": "198.51.100.9", "mac": "02:00:5e:10:00:fc"},
    }
    assert {end.lan: end.neighbours is not None for end in switch("hz", changes).lans} == {"peering": True, "test": False, "private": False}
    facts = iproute.decode(artifacts(exchange(changes))["hz", "iproute", "fabric"].content).values()
    tunnels = {each.link: each.neigh_suppress for each in facts if isinstance(each, iproute.Vxlan)}
    assert tunnels == {"vx-peering": True, "vx-test": False, "vc-private": False}
    assert {each.dev for each in facts if isinstance(each, iproute.Neighbour)} == {"br-peering"}


def test_an_address_at_two_mac_addresses_is_answered_for_by_nobody_but_its_router() -> None:
    """While a router is replaced. Its link-local addresses are made of the MAC addresses, so each of them is certain."""
    both = {"Session/alice": {"macs": [ALICE_MAC, "02:00:5e:10:00:91"]}}
    found = answered(both)  # type: ignore[arg-type]
    assert not {"192.0.2.1", "2001:db8:1::1"} & found.keys()
    assert (found["fe80::5eff:fe10:1"], found["fe80::5eff:fe10:91"]) == (ALICE_MAC, "02:00:5e:10:00:91")
    assert port("alice", both).moving  # type: ignore[arg-type]
    assert not port("alice").moving
    facts = iproute.decode(artifacts(exchange(both))["hz", "iproute", "fabric"].content)  # type: ignore[arg-type]
    assert getattr(facts["link", "p-alice"], "neigh_suppress", None) is True
    bob = {"Session/bob": {"v4": "192.0.2.1"}}
    assert "192.0.2.1" not in answered(bob), "two claim it, which the rules refuse"  # type: ignore[arg-type]


def test_without_a_quarantine_lan_a_port_under_test_is_on_a_bridge_without_tunnel() -> None:
    """Nobody else is there."""
    changes: dict[str, Fields | None] = {"Port/alice": {"state": "quarantine"}, "Lan/test": None}
    found = port("alice", changes)
    assert (found.bridge, found.lan) == ("br--quarantine", None)
    assert [end.lan for end in switch("hz", changes).lans if not end.private] == ["peering"]


def test_a_port_may_speak_for_its_sessions_addresses_and_for_those_its_mac_makes() -> None:
    """RFC 4291, appendix A: the link-local address made of the MAC."""
    found = port("alice")
    assert found.macs == ("02:00:5e:10:00:01",)
    assert found.v4 == (IPv4Address("192.0.2.1"),)
    assert found.v6 == (IPv6Address("2001:db8:1::1"), IPv6Address("fe80::5eff:fe10:1"))


def test_link_local_addresses_turn_the_universal_bit() -> None:
    """The example of RFC 4291, appendix A."""
    assert link_local("34:56:78:9a:bc:de") == IPv6Address("fe80::3656:78ff:fe9a:bcde")


def test_a_changed_member_changes_members_of_sets_and_not_the_rules() -> None:
    """So that the filter is changed in place, and no counter reset."""
    before = nftables.parse(artifacts(exchange())["hz", "nftables", "ports"].content.decode())
    after = nftables.parse(artifacts(exchange({"Session/alice": None, "Port/alice": None}))["hz", "nftables", "ports"].content.decode())
    assert nftables.member_changes(before, after) not in (None, "")


def test_a_member_elsewhere_changes_no_filter() -> None:
    """What comes out of a tunnel was tested where it went in."""
    alone = artifacts(exchange({"Session/bob": None}))
    assert artifacts(exchange())["hz", "nftables", "ports"].content == alone["hz", "nftables", "ports"].content


def test_links_carry_the_largest_frame_with_its_tunnel_around_it() -> None:
    """RFC 7348, 4.3 forbids fragments; 1800 octets at least."""
    assert underlay_mtu(exchange()) == 1800
    assert underlay_mtu(exchange({"Lan/test": {"mtu": 9000}})) == 9050
    assert underlay_mtu(Snapshot()) == 1800


@pytest.mark.parametrize(("latency", "expected"), [(0, 1), (4, 1), (10, 1), (1200, 120), (655_350, 65535), (2_000_000, 65535)])
def test_a_links_cost_is_its_latency(latency: int, expected: int) -> None:
    """In steps of 10 µs, within what OSPF can say."""
    assert cost(latency) == expected


def test_a_site_without_tunnel_end_costs_the_others_nothing() -> None:
    """It is left out; the others are told all about one another."""
    assert [each.site for each in switches(exchange({"Site/wz": {"vtep": None}}))] == ["hz", "nb"]


def test_an_artifact_names_what_it_is_made_from() -> None:
    """The member whose MAC it forwards, as well as its own port; the underlay its links, and the sites it speaks EVPN with."""
    made = artifacts(exchange())
    assert {"session/bob", "port/alice", "session/alice", "lan/peering", "site/hz", "link/hz-nb"} <= made["hz", "iproute", "fabric"].about
    assert made["hz", "frr", "underlay"].about == {"site/hz", "link/hz-nb", "site/nb", "site/wz"}
    assert made["switch-7", "frr", "underlay"].about == {"site/wz", "link/nb-wz", "site/nb", "site/hz"}


def test_the_backbone_points_reflect_and_where_there_are_fewer_the_hub() -> None:
    """Two reflectors wherever there are two switches; a switch that is none speaks with both, and takes in nothing that is registered."""
    assert reflectors(exchange()) == ("nb", "hz")
    assert reflectors(exchange({"Site/wz": {"role": "backbone"}})) == ("nb", "wz")
    assert reflectors(exchange({"Site/nb": {"vtep": None}, "Site/wz": {"vtep": None}})) == ()
    node = artifacts(exchange())["switch-7", "frr", "underlay"].content.decode()
    assert "neighbor 10.255.0.1 remote-as 139136" in node
    assert "route-reflector-client" not in node
    assert "  vni 4000\n   route-target import 10.255.0.3:0\n" in node
    assert artifacts(exchange())["hz", "frr", "underlay"].content.count(b"route-reflector-client") == 1


def test_a_circuit_stands_only_where_it_ends() -> None:
    """A wire floods to its one far end; a group's addresses come by EVPN; where all ends are at one site there is no tunnel."""
    changes: dict[str, Any] = {
        "Circuit/private": None,
        "Circuit/wire": {"ends": ["far-1", "far-2"], "vni": 100000, "mtu": 9000},
        "Circuit/near": {"ends": ["near-1", "near-2"], "vni": 100001},
        **{f"Port/far-{n}": {"member": "alice", "site": site, "speed": "10G"} for n, site in ((1, "hz"), (2, "wz"))},
        **{f"Port/near-{n}": {"member": "bob", "site": "hz", "speed": "10G"} for n in (1, 2)},
    }
    hub, node, wz = switches(exchange(changes))
    assert [(end.of, end.vxlan, end.flood) for end in hub.lans if end.private] == [
        ("circuit/near", None, ()),
        ("circuit/wire", "vc-wire", (wz.vtep,)),
    ]
    assert not [end for end in node.lans if end.private]
    assert [(end.of, end.learns) for end in wz.lans if end.private] == [("circuit/wire", False)]
    assert hub.links[0].mtu == 9050
    assert "100000" not in frr.spell(wz).decode(), "a circuit comes and goes without a word to the routing daemons"


PINNED: dict[str, Any] = {
    "Circuit/private": None,
    "Circuit/wire": {"ends": ["far-1", "far-2"], "vni": 100000, "via": ["wz"]},
    "Link/hz-wz": {"a": "hz", "b": "wz", "capacity": "10G", "latency": "9ms"},
    **{f"Port/far-{n}": {"member": "alice", "site": site, "speed": "10G"} for n, site in ((1, "hz"), (2, "nb"))},
}


def test_a_pinned_circuit_is_led_over_its_sites_and_back_the_other_way() -> None:
    """RFC 8986: End at each, then End.DT6 at the far end; every circuit has a tunnel end of its own there."""
    two: dict[str, Any] = {
        **PINNED,
        "Site/jh": site("jh", "node", 4),
        "Link/jh-wz": {"a": "jh", "b": "wz", "capacity": "10G", "latency": "1ms"},
        "Circuit/wire": {"ends": ["far-1", "far-2"], "vni": 100000, "via": ["wz", "jh"]},
    }
    hub, jh, nb, wz = switches(exchange(two))
    ends = [next(each for each in switch.lans if each.private) for switch in (hub, nb)]
    end, last, own = "5f00::aff:{}:e:0:0", "5f00::aff:{}:d6:0:0", "5f00::aff:{}:c:1:86a0"
    assert [each.pin and [str(segment) for segment in each.pin.segments] for each in ends] == [
        [end.format(3), end.format(4), last.format(2)],
        [end.format(4), end.format(3), last.format(1)],
    ]
    assert [(str(each.pin and each.pin.local), list(map(str, each.flood))) for each in ends] == [
        (own.format(1), [own.format(2)]),
        (own.format(2), [own.format(1)]),
    ]
    assert [(each.passed, each.pinned_end) for each in (hub, jh, nb, wz)] == [(False, True), (True, False), (False, True), (True, False)]
    assert "circuit/wire" in wz.about


def test_ipv6_is_routed_only_where_a_circuit_is_pinned_and_then_as_ipv4_is() -> None:
    """OSPFv3 on every link, as any of them may be on the way; a circuit's tunnel end is on no interface that is announced."""
    assert b"ospf6" not in b"".join(each.content for each in artifacts(exchange()).values())
    made = artifacts(exchange(PINNED))
    for machine in ("hz", "nb", "switch-7"):
        said = made[machine, "frr", "underlay"].content.decode()
        assert said.startswith("! daemons: zebra bfdd ospfd ospf6d bgpd\n")
        assert re.findall(r"ipv6 ospf6 cost (\d+)", said) == re.findall(r"ip ospf cost (\d+)", said)
    facts = iproute.decode(made["hz", "iproute", "fabric"].content).values()
    assert {(str(each.addr), each.dev) for each in facts if isinstance(each, iproute.Addr) and each.addr.version == 6} == {
        ("5f00::aff:1:0:0:1/80", "lo"),
        ("5f00::aff:1:c:1:86a0/128", "br--segments"),
    }


def test_an_envelope_makes_room_for_itself() -> None:
    """Ethernet 14, VXLAN 8, UDP 8, IPv6 40; IPv6 40, routing header 8, and 16 for each site passed and for the far end.

    Of usual size and led over ten sites it fits into links as they are: an order restarts no routing.
    """
    assert underlay_mtu(exchange({**PINNED, "Circuit/wire": {**PINNED["Circuit/wire"], "mtu": 9000}})) == 9000 + 70 + 48 + 2 * 16
    assert underlay_mtu(exchange(PINNED)) == underlay_mtu(exchange())
    assert 1500 + srv6.octets(10) <= underlay_mtu(exchange())


HANDED: dict[str, Any] = {
    "Port/cable": {"member": "bob", "site": "hz", "speed": "100G", "gateway": {"ours": "198.51.100.0", "theirs": "198.51.100.1"}},
    "Port/tenant": {"member": "bob", "site": "hz", "speed": "10G", "over": "cable", "vni": 7001},
    "Circuit/private": {"ends": ["tenant", "bob-2"], "vni": 100000, "capacity": "1G"},
}


def test_a_port_handed_over_by_vni_is_a_tunnel_to_the_members_gateway() -> None:
    """On the circuit's bridge like any port, as narrow, and under the same filter; the cable itself is on none."""
    made = artifacts(exchange(HANDED))
    facts = list(iproute.decode(made["hz", "iproute", "fabric"].content).values())
    (tunnel,) = (each for each in facts if isinstance(each, iproute.Vxlan) and each.link == "p-tenant")
    assert (tunnel.vni, str(tunnel.local), tunnel.master, tunnel.of) == (7001, "198.51.100.0", "bc-private", "port/tenant")
    assert [str(each.dst) for each in facts if isinstance(each, iproute.Fdb) and each.dev == "p-tenant"] == ["198.51.100.1"]
    assert [each.rate_bits_per_second for each in facts if isinstance(each, iproute.Shaper)] == [10**9]
    assert [each.master for each in facts if isinstance(each, iproute.Wire) and each.link == "p-cable"] == [None]
    assert nftables.parse(made["hz", "nftables", "ports"].content.decode()).elements["private"] == {'"p-tenant"'}


def test_a_gateway_may_use_only_the_numbers_that_it_was_handed() -> None:
    """The kernel would take any LAN's VNI from it, so the filter says which; it is loaded before the cable has its address."""
    made = artifacts(exchange(HANDED))
    assert next(each.key for each in made.values() if each.key[0] == "hz") == ("hz", "nftables", "gateways")
    elements = nftables.parse(made["hz", "nftables", "gateways"].content.decode()).elements
    assert elements["handed"] == {'"p-cable" . 0x001b59'}
    assert elements["ends"] == {'"p-cable" . 198.51.100.1 . 198.51.100.0'}
    for machine in ("nb", "switch-7"):
        others = nftables.parse(made[machine, "nftables", "gateways"].content.decode()).elements
        assert not others["ends"] | others["handed"]


def test_a_port_whose_name_is_none_of_nnixs_is_guarded_by_an_entry_of_its_own() -> None:
    made = artifacts(exchange())
    cables = {key[0]: nftables.parse(each.content.decode()).elements["cables"] for key, each in made.items() if key[2] == "gateways"}
    assert [each for each in cables.values() if each] == [{'"et48"'}]


TAGGED: dict[str, Any] = {
    "Port/cable": {"member": "bob", "site": "hz", "speed": "100G", "tagged": True},
    "Port/tenant": {"member": "bob", "site": "hz", "speed": "10G", "over": "cable", "vlan": 101},
    "Circuit/private": {"ends": ["tenant", "bob-2"], "vni": 100000, "capacity": "1G", "mtu": 9000},
}


def test_a_port_handed_over_by_vlan_is_an_interface_of_its_own_on_the_tagged_cable() -> None:
    """On the circuit's bridge like any port, as narrow, and under the same filter; the cable itself is on none, and is as large."""
    made = artifacts(exchange(TAGGED))
    facts = list(iproute.decode(made["hz", "iproute", "fabric"].content).values())
    (vlan,) = (each for each in facts if isinstance(each, iproute.Vlan))
    assert (vlan.link, vlan.over, vlan.vlan, vlan.master, vlan.of, vlan.mtu) == (
        "p-tenant",
        "p-cable",
        101,
        "bc-private",
        "port/tenant",
        9000,
    )
    assert [each.rate_bits_per_second for each in facts if isinstance(each, iproute.Shaper)] == [10**9]
    assert [(each.master, each.mtu, each.up) for each in facts if isinstance(each, iproute.Wire) and each.link == "p-cable"] == [
        (None, 9000, True)
    ]
    assert nftables.parse(made["hz", "nftables", "ports"].content.decode()).elements["private"] == {'"p-tenant"'}


@pytest.mark.parametrize("state", ["reserved", "suspended"])
def test_without_its_tagged_cable_a_handed_port_is_dark(state: str) -> None:
    changes: dict[str, Any] = {**TAGGED, "Port/cable": {**TAGGED["Port/cable"], "state": state}}
    assert not port("tenant", changes).up
    assert b"p-tenant" not in artifacts(exchange(changes))["hz", "iproute", "fabric"].content


@pytest.mark.parametrize("state", ["reserved", "suspended"])
def test_without_its_cable_a_handed_port_is_dark(state: str) -> None:
    """No tunnel, and no gateway either."""
    changes: dict[str, Any] = {**HANDED, "Port/cable": {**HANDED["Port/cable"], "state": state}}
    assert not port("tenant", changes).up
    assert port("cable", changes).gateway is None
    assert b"p-tenant" not in artifacts(exchange(changes))["hz", "iproute", "fabric"].content


@given(st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z"))
def test_every_name_becomes_an_interface_that_linux_allows(name: str) -> None:
    """At most 15 octets, the same each time, recognisable where it fits."""
    for prefix in ("l-", "p-", "rs-", "br-", "vx-"):
        made = fitted(prefix, name)
        assert len(made) <= NAME_OCTETS_MAX
        assert made == fitted(prefix, name)
        assert made == prefix + name or len(prefix + name) > NAME_OCTETS_MAX


def test_long_names_with_one_beginning_stay_apart() -> None:
    """The end of the name counts as well."""
    assert fitted("p-", "china-telecom-hangzhou-1") != fitted("p-", "china-telecom-hangzhou-2")


def test_a_port_is_called_as_it_says() -> None:
    """And a link the same at both ends."""
    snapshot = exchange()
    assert [port_interface(each) for each in snapshot.of(Port)] == ["p-alice", "p-alice-2", "et48", "p-bob-2"]
    assert [link_interface(each, str(each.b)) for each in snapshot.of(Link)] == ["l-hz-nb", "l-nb-wz"]
    assert [lan_bridge(each) for each in snapshot.of(Lan)] == ["br-peering", "br-test"]
    with pytest.raises(ValueError, match="not at wz"):
        link_interface(snapshot.of(Link)[0], "wz")


def test_a_lan_keeps_its_number_whatever_comes_beside_it() -> None:
    """A new LAN gets the lowest free one."""
    before = exchange({"Lan/test": {"vni": 4007}})
    wish = exchange({"Lan/test": {"vni": None}, "Lan/a-new-one": {"title": {"en": "N"}, "v4": "203.0.113.0/24"}})
    assert {each.name: each.vni for each in allocate(wish, before) if isinstance(each, Lan)} == {"a-new-one": 4001, "test": 4007}


def test_a_number_that_another_lan_now_claims_is_not_kept() -> None:
    """What is written in files goes before what was chosen."""
    before = exchange({"Lan/test": {"vni": 4007}})
    wish = exchange({"Lan/test": {"vni": None}, "Lan/peering": {"vni": 4007}})
    assert [each.vni for each in allocate(wish, before) if isinstance(each, Lan)] == [4000]


def test_a_switch_that_printed_nothing_about_its_filter_has_none() -> None:
    """nft prints nothing when there is no table."""
    seen = parse('[{"ifname":"lo","flags":["UP","LOWER_UP"]}]\n\n@route\n[{"dst":"10.255.0.2"}]\n\n@filter\n')
    assert (seen.lit("lo"), seen.routes, seen.guarded, dict(seen.dropped)) == (True, frozenset({"10.255.0.2"}), frozenset(), {})
