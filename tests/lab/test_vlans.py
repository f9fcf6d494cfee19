"""Hand-off by VLAN on real switches: a cloud on one tagged cable has two customers, at its own site and at another. On a kernel that has 802.1Q.

Frames are put on the cloud's cable byte by byte, tagged as it likes, and looked for at everybody. Where the kernel has no 802.1Q, nothing is
touched: the plan is refused, and each port that needs it is named with the mend.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nnix.cli.root import Setting
from nnix.daemons.iproute import DOT1Q
from nnix.hosts.namespace import NamespaceHost
from nnix.planes.fabric.read import read
from tests.lab.exchange import Lab, member, resource
from tests.lab.exchange import frame as base
from tests.lab.frames import BROADCAST, IPV4, UDP, frame, udp, v4, vxlan
from tests.lab.switches import DEADLINE_SECONDS, VLANS, Fabric, exchange, station

pytestmark = pytest.mark.lab

TRUNK = station("trunk")
VICTIMS = ("alice", "dave", "carol", "cust-3", "cust-4")


def possible() -> bool:
    return asyncio.run(DOT1Q.possible(NamespaceHost("here", None, Path("/tmp"))))


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    if not possible():
        pytest.skip("this kernel has no 802.1Q")
    made = Fabric(tmp_path_factory.mktemp("vlans"))
    try:
        made.lay()
        made.move(exchange(vlans=VLANS))
        yield made
    finally:
        made.take_down()


def heard(fabric: Fabric, sender: str, data: bytes, token: bytes, hearers: tuple[str, ...]) -> dict[str, bytes]:
    """Who hears a frame, and as what."""
    for name in (*hearers, sender):
        if name not in fabric.wires:
            fabric.wires[name] = fabric.wire(name)
        fabric.wires[name].drained()
    fabric.wires[sender].send(data)
    select.select([], [], [], 0.1)
    found = {}
    for name in hearers:
        for each in fabric.wires[name].drained():
            if token in each:
                found[name] = each
    return found


def _token(fabric: Fabric) -> bytes:
    fabric.rounds += 1
    return b"nnt-vlan-%05d" % fabric.rounds


def test_each_vlan_reaches_its_own_customer_without_the_tag(fabric: Fabric) -> None:
    """At the cloud's own site, and at another through the circuit's tunnel."""
    for customer, vlan in VLANS.items():
        token = _token(fabric)
        arrived = heard(fabric, "trunk", frame(TRUNK.mac, BROADCAST, 0x88B5, token, ((0x8100, vlan),)), token, VICTIMS)
        assert set(arrived) == {customer}
        assert arrived[customer][12:14] == b"\x88\xb5"


def test_what_a_customer_sends_reaches_the_cloud_in_his_vlan(fabric: Fabric) -> None:
    for customer, vlan in VLANS.items():
        token = _token(fabric)
        arrived = heard(fabric, customer, frame(station(customer).mac, BROADCAST, 0x88B5, token), token, ("trunk", *VICTIMS))
        assert set(arrived) - {customer} == {"trunk"}
        assert fabric.on("a", "ip", "-d", "link", "show", "dev", f"p-at-{customer}").stdout.count(f"vlan protocol 802.1Q id {vlan} ") == 1


def test_another_tag_inside_stays(fabric: Fabric) -> None:
    """Whoever bought the circuit decides what it carries."""
    token = _token(fabric)
    arrived = heard(fabric, "trunk", frame(TRUNK.mac, BROADCAST, 0x88B5, token, ((0x8100, 103), (0x8100, 7))), token, VICTIMS)
    assert set(arrived) == {"cust-3"}


def _others() -> dict[str, tuple[tuple[int, int], ...]]:
    return {
        "no tag": (),
        "a priority tag": ((0x8100, 0),),
        "a VLAN that nobody was handed": ((0x8100, 105),),
        "VLAN 4095": ((0x8100, 4095),),
        "an 802.1ad tag": ((0x88A8, 103),),
        "an 802.1ad tag outside": ((0x88A8, 7), (0x8100, 103)),
        "a tag 0x9100": ((0x9100, 103),),
    }


@pytest.mark.parametrize("what", _others())
def test_nothing_else_on_the_cable_reaches_anybody(fabric: Fabric, what: str) -> None:
    """Broadcast, and a packet for the switch itself with a frame for the peering LAN in it."""
    tags = _others()[what]
    mac = fabric.mac_on("a", "p-trunk")
    token = _token(fabric)
    assert heard(fabric, "trunk", frame(TRUNK.mac, BROADCAST, 0x88B5, token, tags), token, VICTIMS) == {}
    for end in ("10.255.0.1", "10.255.0.3"):
        packet = v4(TRUNK.mac, mac, TRUNK.v4, end, UDP, udp(4789, 4789, vxlan(4000, frame(TRUNK.mac, BROADCAST, 0x88B5, token))))
        assert heard(fabric, "trunk", frame(TRUNK.mac, mac, IPV4, packet[14:], tags), token, VICTIMS) == {}


@pytest.mark.parametrize("last", range(16))
def test_what_speaks_to_the_next_bridge_is_not_let_in(fabric: Fabric, last: int) -> None:
    """The same filter stands before a VLAN as before a port with a cable: 01:80:c2:00:00:00 to 0f."""
    token = _token(fabric)
    reserved = frame(TRUNK.mac, f"01:80:c2:00:00:{last:02x}", 0x8809, token, ((0x8100, 103),))
    assert heard(fabric, "trunk", reserved, token, VICTIMS) == {}


def test_a_packet_for_the_switch_in_a_vlan_goes_nowhere(fabric: Fabric) -> None:
    """To the circuit's bridge itself: neither routed, nor taken for a tunnel's."""
    token = _token(fabric)
    packet = v4(
        TRUNK.mac,
        fabric.mac_on("a", "bc-cust-3"),
        TRUNK.v4,
        "10.255.0.3",
        UDP,
        udp(4789, 4789, vxlan(4000, frame(TRUNK.mac, BROADCAST, 0x88B5, token))),
    )
    arrived = heard(fabric, "trunk", frame(TRUNK.mac, fabric.mac_on("a", "bc-cust-3"), IPV4, packet[14:], ((0x8100, 103),)), token, VICTIMS)
    assert set(arrived) <= {"cust-3"}


def test_hand_edits_are_seen_and_put_right(fabric: Fabric) -> None:
    """The interface deleted, made anew under another number, or the cable taken down and up: it is named, and forwards again."""
    edits = {
        "VLAN interface p-at-cust-3 is missing": ("ip link delete dev p-at-cust-3",),
        "it is VLAN 999 of p-trunk, not 103 of p-trunk": (
            "ip link delete dev p-at-cust-3", "ip link add link p-trunk dev p-at-cust-3 type vlan id 999",
        ),
        "it is down": ("ip link set dev p-trunk down",),
    }  # fmt: skip
    for words, commands in edits.items():
        for command in commands:
            fabric.on("a", *command.split())
        assert words in " ".join(fabric.differing("a").values())
        fabric.move(fabric.snapshot)
        assert fabric.differing("a") == {}
        token = _token(fabric)
        assert set(heard(fabric, "trunk", frame(TRUNK.mac, BROADCAST, 0x88B5, token, ((0x8100, 103),)), token, VICTIMS)) == {"cust-3"}


def test_another_number_and_none_at_all(fabric: Fabric) -> None:
    """A changed VLAN is made anew; without the circuits no interface is left."""
    fabric.move(exchange(vlans={"cust-3": 4094}))
    token = _token(fabric)
    assert set(heard(fabric, "trunk", frame(TRUNK.mac, BROADCAST, 0x88B5, token, ((0x8100, 4094),)), token, VICTIMS)) == {"cust-3"}
    assert heard(fabric, "trunk", frame(TRUNK.mac, BROADCAST, 0x88B5, token, ((0x8100, 103),)), token, VICTIMS) == {}
    fabric.move(exchange())
    links = [each["ifname"] for each in json.loads(fabric.on("a", "ip", "-j", "link").stdout)]
    assert not [each for each in links if each.startswith(("p-at-", "bc-", "vc-"))]
    fabric.move(exchange(vlans=VLANS))


# --- an exchange in a lab

CLOUD = [
    resource("Member", "cloud-1", title={"en": "One cloud"}, asn=64510, **{"class": "cloud"}),
    resource("Port", "cable", member="cloud-1", site="west", speed="10G", tagged=True),
    resource("Port", "tenant-1", member="cloud-1", site="west", speed="1G", over="cable", vlan=101),
    resource("Port", "tenant-2", member="cloud-1", site="west", speed="1G", over="cable", vlan=102),
    *(resource("Port", name, member="m1", site=site, speed="10G") for name, site in (("c1", "east"), ("g1", "east"), ("g3", "south"))),
    resource("Circuit", "tenant-1", ends=["c1", "tenant-1"]),
    resource("Circuit", "tenant-2", ends=["g1", "g3", "tenant-2"]),
]  # fmt: skip


def test_a_cloud_is_handed_customers_by_vlan_over_one_cable(tmp_path: Path) -> None:
    """One customer by a wire, another with two sites and the cloud in one network, where what is behind the cable is told to other sites as well."""
    from tests.lab.test_circuits import passes, soon

    if not possible():
        pytest.skip("this kernel has no 802.1Q")
    lab = Lab(tmp_path)
    try:
        assert lab.apply([*base(), *member(1), *CLOUD]).verified
        deadline = time.monotonic() + 10 * DEADLINE_SECONDS
        while not passes(lab, "tenant-1", "c1", "tenant-1"):
            assert time.monotonic() < deadline, "the underlay does not converge"
        assert passes(lab, "tenant-1", "c1", "tenant-1", "-s", "1452", "-M", "do", "-t", "1")
        for a, b in (("g1", "tenant-2"), ("tenant-2", "g3"), ("g3", "g1")):
            assert soon(lab, "tenant-2", a, b)
        assert lab.differences() == {}
        states = {each.resource: each.state for each in lab.run(read(lab.snapshot, lab.setting.machines))}
        assert {name: states[name] for name in ("port/cable", "port/tenant-1", "circuit/tenant-1")} == dict.fromkeys(
            ("port/cable", "port/tenant-1", "circuit/tenant-1"), "up"
        )
    finally:
        assert lab.close() == []


def test_a_kernel_without_802_1q_is_left_untouched_and_the_ports_are_named(tmp_path: Path) -> None:
    """`check` and `compile` do not ask; `plan` and `apply` refuse, with the mend, before a namespace is made."""
    if possible():
        pytest.skip("this kernel has 802.1Q")
    folder, state = tmp_path / "exchange", tmp_path / "state"
    folder.mkdir()
    (folder / "all.yaml").write_text("---\n".join(yaml.safe_dump(each.written()) for each in (*base(), *member(1), *CLOUD)))

    def nnix(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", *words]
        return subprocess.run(argv, env={**os.environ, "NNIX_STATE": str(state)}, capture_output=True, text=True, timeout=120, check=False)

    assert nnix("check", str(folder)).returncode == 0
    compiled = nnix("compile", str(folder), "--machine", "west").stdout
    assert '"link": "p-tenant-1"' in compiled and '"vlan": 101' in compiled
    for words in (("plan", str(folder)), ("apply", str(folder), "--yes")):
        done = nnix(*words)
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        for port in ("port/tenant-1", "port/tenant-2"):
            assert port in said
        assert "kernel.machine-able" in said and "CONFIG_VLAN_8021Q" in said
    namespaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert Setting(state, None).prefix not in namespaces
    assert not list(state.glob("hosts/*/iproute"))
