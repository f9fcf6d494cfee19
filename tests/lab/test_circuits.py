"""Circuits on real switches: a wire between two ports, a switch of their own for three; ordered, used, narrowed, released."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from nnix.cli.root import ALL_PLANES
from nnix.kernel.change import admit
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.lab.compile import circuit_addresses, customer, gateway
from nnix.planes.fabric.compile import reflectors
from nnix.planes.fabric.kinds import Circuit, Lan
from tests.lab.exchange import Lab, frame, member, resource

pytestmark = pytest.mark.lab

AT_ONCE_SECONDS = 1.0
SLACK_SECONDS = 4.0


def port(name: str, site: str, owner: str) -> Resource:
    return resource("Port", name, member=owner, site=site, speed="10G")


BASE = [
    *frame(), *member(1), *member(2), *member(3),
    port("c1", "east", "m1"), port("c2", "west", "m2"), port("c3", "east", "m3"),
    port("g1", "east", "m1"), port("g2", "west", "m1"), port("g3", "south", "m1"),
]  # fmt: skip
CLOUDS = [
    resource("Member", "cloud-1", title={"en": "One cloud"}, asn=64510, **{"class": "cloud"}),
    resource("Member", "cloud-2", title={"en": "Another cloud"}, asn=64511, **{"class": "cloud"}),
    port("hand-off-1", "west", "cloud-1"), port("hand-off-2", "south", "cloud-2"),
    resource("Circuit", "clouds", ends=["c1", "hand-off-1", "hand-off-2"]),
]  # fmt: skip
WIRE = resource("Circuit", "wire", ends=["c1", "c2"])
GROUP = resource("Circuit", "group", ends=["g1", "g2", "g3"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("circuits"))
    try:
        assert made.apply(BASE).verified
        deadline = time.monotonic() + 60
        while not ping(made, "m1", "203.0.113.102") or not ping(made, "m1", "203.0.113.103"):
            assert time.monotonic() < deadline, "the underlay does not converge"
        yield made
    finally:
        assert made.close() == []


def ping(lab: Lab, machine: str, address: str, *words: str) -> bool:
    argv = ["ping", "-n", "-q", "-c", "1", "-W", "1", *words, address]
    return lab.run(lab.setting.machines.host(machine).run(argv)).status == 0


def settle(lab: Lab) -> None:
    """Wait until for a second nobody loses anything: what an earlier change started is over."""
    deadline = time.monotonic() + 60
    for address in ("203.0.113.102", "203.0.113.103"):
        argv = ["ping", "-n", "-q", "-i", "0.01", "-c", "100", "-W", "1", address]
        while "100 received" not in lab.run(lab.setting.machines.host("m1").run(argv)).out:
            assert time.monotonic() < deadline, "the underlay does not converge"


def soon(lab: Lab, name: str, a: str, b: str) -> bool:
    """Whether packets pass within a second or so of the order; a busy machine gets a little more."""
    ordered = time.monotonic()
    while not passes(lab, name, a, b):
        if time.monotonic() - ordered > AT_ONCE_SECONDS + SLACK_SECONDS:
            return False
    return True


def vtysh(lab: Lab, site: str, command: str) -> Any:
    home = lab.setting.homes / site / "frr/underlay"
    return json.loads(lab.host_run(site, "sh", "-c", f"cd {home} && vtysh --vty_socket . --config_dir . -c '{command} json'"))


def passes(lab: Lab, name: str, a: str, b: str, *words: str) -> bool:
    """Whether IPv4 and IPv6 pass from end to end."""
    circuit = lab.snapshot.get(Circuit, name)
    assert circuit is not None
    there = circuit_addresses(circuit)[b]
    return all(ping(lab, customer(a), str(each.ip), *words) for each in there)


def test_a_wire_passes_packets_as_soon_as_it_is_applied(lab: Lab) -> None:
    """Ordered, applied; the first packet passes within a second, both families, large ones as well."""
    assert lab.apply([*BASE, WIRE]).verified
    assert soon(lab, "wire", "c1", "c2")
    assert passes(lab, "wire", "c1", "c2", "-s", "1452", "-M", "do")  # with its headers 1480 octets of IPv4, 1500 of IPv6
    assert lab.differences() == {}


def test_a_wire_needs_neither_registry_nor_control_plane(lab: Lab) -> None:
    """A wire knows no addresses: what comes in here goes out there, and no forwarding entry is made of it."""
    lab.apply([*BASE, WIRE])
    assert soon(lab, "wire", "c1", "c2")
    entries = json.loads(lab.host_run("east", "bridge", "-j", "fdb", "show", "br", "bc-wire"))
    assert {each.get("dst") for each in entries if each["ifname"] == "vc-wire" and "dst" in each} == {vtep(lab, "west")}
    assert not [each for each in entries if "extern_learn" in each.get("flags", ())]


def vtep(lab: Lab, site: str) -> str:
    return next(str(each.vtep) for each in lab.snapshot if each.id == f"site/{site}")  # type: ignore[attr-defined]


def test_a_group_of_three_learns_over_evpn(lab: Lab) -> None:
    """What is not registered is told by EVPN (RFC 7432, type 2), reflected, and put into the kernel by the routing daemon."""
    assert lab.apply([*BASE, WIRE, GROUP]).verified
    assert all(soon(lab, "group", a, b) for a, b in (("g1", "g2"), ("g2", "g3"), ("g3", "g1")))

    def learnt() -> set[str]:
        entries = json.loads(lab.host_run("east", "bridge", "-j", "fdb", "show", "br", "bc-group"))
        return {each["dst"] for each in entries if "extern_learn" in each.get("flags", ()) and "dst" in each}

    deadline = time.monotonic() + 20
    while learnt() != {vtep(lab, "south"), vtep(lab, "west")}:
        assert time.monotonic() < deadline, learnt()
        time.sleep(0.1)
    assert lab.differences() == {}, "what EVPN put there is no drift"


def test_a_member_meets_several_clouds_and_they_one_another_without_a_router(lab: Lab) -> None:
    """Cloud access by port, one circuit for all: packets of one hop (TTL and hop limit 1) arrive between each two."""
    assert lab.apply([*BASE, *CLOUDS]).verified
    for a, b in (("c1", "hand-off-1"), ("c1", "hand-off-2"), ("hand-off-1", "hand-off-2"), ("hand-off-2", "c1")):
        assert soon(lab, "clouds", a, b)
        assert passes(lab, "clouds", a, b, "-t", "1")


GATEWAY = {"ours": "198.51.100.0", "theirs": "198.51.100.1"}
HANDED = [
    resource("Member", "cloud-1", title={"en": "One cloud"}, asn=64510, **{"class": "cloud"}),
    resource("Port", "cloud", member="cloud-1", site="west", speed="10G", gateway=GATEWAY),
    resource("Port", "tenant-1", member="cloud-1", site="west", speed="1G", over="cloud", vni=7001),
    resource("Port", "tenant-2", member="cloud-1", site="west", speed="1G", over="cloud", vni=7002),
    resource("Circuit", "tenant-1", ends=["c1", "tenant-1"]),
    resource("Circuit", "tenant-2", ends=["g1", "g3", "tenant-2"]),
]  # fmt: skip


def test_a_cloud_is_handed_customers_by_number_over_one_cable(lab: Lab) -> None:
    """Its gateway ends tunnels of its own: one customer by a wire, another with two sites and the cloud in one network."""
    assert lab.apply([*BASE, *HANDED]).verified
    assert soon(lab, "tenant-1", "c1", "tenant-1")
    assert passes(lab, "tenant-1", "c1", "tenant-1", "-s", "1452", "-M", "do", "-t", "1")
    for a, b in (("g1", "tenant-2"), ("tenant-2", "g3"), ("g3", "g1")):
        assert soon(lab, "tenant-2", a, b)
    assert lab.differences() == {}


def test_a_gateway_reaches_nothing_but_what_it_was_handed(lab: Lab) -> None:
    """Neither the switch, nor the underlay through it, nor a LAN whose number it puts on its own tunnel; and it is dropped by that rule."""
    assert lab.apply([*BASE, *HANDED]).verified
    assert soon(lab, "tenant-1", "c1", "tenant-1")
    lan = next(each for each in lab.snapshot.of(Lan))
    ways = [
        "ip route add 10.0.0.0/8 via 198.51.100.0 dev eth0 onlink",
        f"ip link add x0 type vxlan id {lan.vni} local 198.51.100.1 dstport 4789 nolearning",
    ]
    ways += [
        "ip link set x0 up",
        "ip address add 203.0.113.77/24 dev x0",
        "bridge fdb append 00:00:00:00:00:00 dev x0 dst 198.51.100.0 self permanent",
    ]
    ways += [f"bridge fdb append 00:00:00:00:00:00 dev x0 dst {vtep(lab, site)} self permanent" for site in ("west", "east")]
    lab.host_run(gateway("cloud"), "sh", "-ec", "; ".join(ways))
    for address in ("198.51.100.0", vtep(lab, "west"), vtep(lab, "east"), "203.0.113.101", "203.0.113.102"):
        assert not ping(lab, gateway("cloud"), address), address
    assert not heard(lab, "m2"), "its ARP requests reach no member"
    assert (
        int(re.findall(r"counter packets (\d+)", lab.host_run("west", "nft", "list", "chain", "inet", "nnix_gateways", "gateway"))[0]) >= 5
    )
    for chain in ("gateway", "towards"):
        lab.host_run("west", "nft", "flush", "chain", "inet", "nnix_gateways", chain)
    try:
        deadline = time.monotonic() + SLACK_SECONDS + 4
        while not ping(lab, gateway("cloud"), vtep(lab, "west")) or not heard(lab, "m2"):
            assert time.monotonic() < deadline, "it is not this filter that holds it"
            ping(lab, gateway("cloud"), "203.0.113.102")
    finally:
        lab.put_right()


GATED = ("port/cloud", "port/tenant-1", "circuit/tenant-1")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ("delete table inet nnix_gateways", "table inet nnix_gateways is missing"),
        ("flush chain inet nnix_gateways gateway", "table inet nnix_gateways was changed by somebody else"),
        ('delete element inet nnix_gateways handed { "p-cloud" . 0x001b59 }', "was changed by somebody else"),
    ],
)
def test_a_cloud_without_its_guard_is_not_up(lab: Lab, edit: str, words: str) -> None:
    """Neither its cable, nor what is handed over on it, nor the circuit: by `nnix status`, until the table is put back."""
    assert lab.apply([*BASE, *HANDED]).verified
    assert soon(lab, "tenant-1", "c1", "tenant-1")
    assert [lab.status(name).reason for name in GATED] == [""] * 3
    lab.host_run("west", "nft", edit)
    try:
        for name in GATED:
            status = lab.status(name)
            assert (status.state, status.good) == ("down", False)
            assert "not guarded" in status.reason and words in status.reason
        assert lab.status("port/m2").good
    finally:
        lab.put_right()
    assert [lab.status(name).reason for name in GATED] == [""] * 3


def heard(lab: Lab, machine: str) -> bool:
    """Whether a member's router was asked for its address by 203.0.113.77, for it remembers who asks (RFC 826)."""
    return "203.0.113.77" in lab.host_run(machine, "ip", "neigh", "show")


def test_circuits_do_not_meet(lab: Lab) -> None:
    """Neither one another nor the peering LAN, not even by broadcast."""
    lab.apply([*BASE, WIRE, GROUP])
    group = lab.snapshot.get(Circuit, "group")
    assert group is not None
    v4, _ = circuit_addresses(group)["g1"]
    intruder = f"{v4.ip + 70}/24"
    lab.host_run(customer("c1"), "ip", "address", "add", intruder, "dev", "eth0")
    try:
        assert not ping(lab, customer("c1"), str(v4.ip))
        assert not ping(lab, customer("c1"), "203.0.113.101")
    finally:
        lab.host_run(customer("c1"), "ip", "address", "del", intruder, "dev", "eth0")


def test_both_ends_at_one_site_need_no_tunnel(lab: Lab) -> None:
    lab.apply([*BASE, resource("Circuit", "short", ends=["c1", "c3"])])
    assert soon(lab, "short", "c1", "c3")
    assert "vc-short" not in lab.interfaces("east")


def test_a_circuit_is_as_narrow_as_it_was_bought(lab: Lab) -> None:
    """1 Mbit/s: a token bucket of that rate stands at the way out to each end, and packets pass it."""
    lab.apply([*BASE, resource("Circuit", "wire", ends=["c1", "c2"], capacity="1M")])
    shown = json.loads(lab.host_run("west", "tc", "-j", "qdisc", "show", "dev", "p-c2"))
    assert [each["options"]["rate"] * 8 for each in shown if each["kind"] == "tbf"] == [1_000_000]
    assert soon(lab, "wire", "c1", "c2")


def test_release_takes_every_trace(lab: Lab) -> None:
    """Bridge, tunnel, shaper, EVPN routes: nothing of it is left on any switch, and nobody else was disturbed."""
    lab.apply([*BASE, WIRE, GROUP])
    assert lab.apply(BASE).verified
    for site in ("east", "south", "west"):
        assert not [each for each in lab.interfaces(site) if each.startswith(("bc-", "vc-"))]
        assert "10000" not in lab.host_run(site, "cat", str(lab.setting.homes / site / "frr/underlay/frr.conf"))
    assert lab.differences() == {}


def test_a_circuit_that_needs_larger_links_starts_ospf_anew_and_the_plan_says_so(lab: Lab) -> None:
    """FRR takes a link whose MTU changes for one that went and came: neighbours are found anew, on every link. An order that fits disturbs nobody."""
    lab.apply(BASE)
    office = lab.setting.office
    fits, larger = (admit(ALL_PLANES, [*BASE, each], lab.snapshot) for each in (WIRE, WIRE.changed(mtu=9000)))
    assert [each for each in office.draft(fits, Evidence()).plan.disturbs if each.startswith("link/")] == []
    draft = office.draft(larger, Evidence())
    assert {"link/east-south", "link/south-west", "link/west-east"} <= set(draft.plan.disturbs)
    assert any("OSPF starts anew" in step.does for action in draft.plan.actions for step in action.steps)

    def youngest() -> float:
        """Seconds since the adjacency of east that changed last did; 0 while it has none, because all are being made anew."""
        told = vtysh(lab, "east", "show ip ospf neighbor detail")
        return min((float(each["lastPrgrsvChangeMsec"]) / 1000 for group in told["neighbors"].values() for each in group), default=0.0)

    before, began = youngest(), time.monotonic()
    assert lab.apply([*BASE, WIRE]).verified
    assert youngest() > before, "an order that fits left it alone"
    assert lab.apply([*BASE, WIRE.changed(mtu=9000)]).verified
    deadline = time.monotonic() + 30
    while youngest() > time.monotonic() - began:
        assert time.monotonic() < deadline, "no adjacency was made anew"
        time.sleep(0.1)
    while not passes(lab, "wire", "c1", "c2"):
        assert time.monotonic() < deadline, "the underlay does not come back"
    began = time.monotonic()
    lab.apply(BASE)
    while youngest() > time.monotonic() - began:
        assert time.monotonic() < deadline, "no adjacency was made anew on the way back"
        time.sleep(0.1)
    settle(lab)


def test_registered_members_do_not_notice_the_death_of_the_control_plane(lab: Lab) -> None:
    """bgpd killed on the member's own switch, and on both reflectors: not one of fifty packets at 100 Hz is lost."""
    lab.apply(BASE)
    settle(lab)
    sites = {"east", *reflectors(lab.snapshot)}
    deadline = time.monotonic() + 60
    while not any(peer["state"] == "Established" for peer in vtysh(lab, "east", "show bgp l2vpn evpn summary")["peers"].values()):
        assert time.monotonic() < deadline, "no reflector is reached"
        time.sleep(0.1)
    probe = ["ping", "-n", "-q", "-i", "0.01", "-c", "100", "-W", "1", "203.0.113.102"]

    async def storm() -> str:
        host = lab.setting.machines.host
        running = asyncio.create_task(host("m1").run(probe))
        await asyncio.sleep(0.2)
        for site in sites:
            await host(site).run(["sh", "-c", f"kill -9 $(cat {lab.setting.homes / site}/frr/underlay/bgpd.pid)"])
        return (await running).out

    said = lab.run(storm())
    assert "100 received" in said, said
