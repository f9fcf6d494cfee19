"""What comes from members' gateways, and from ports behind which nobody stands, reaches nothing but what was handed over; and no condition is there in vain.

Two clouds at one switch have a gateway each, and are handed one customer each. One of them sends what it may not, byte by byte: under numbers of
others, from and to other addresses, to other ports, in pieces. Whoever must not hear it listens: members, customers, and programs on the
switches themselves. Then each rule, each condition and each field of a condition is taken out, and each time something arrives.
"""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Iterator

import pytest

from nnix.hosts.namespace import inside
from nnix.planes.fabric import gateways
from nnix.planes.fabric.compile import switches
from tests.lab.frames import BROADCAST, UDP, arp, frame, udp, v4, vxlan
from tests.lab.switches import DEADLINE_SECONDS, GATEWAYS, HANDED, PREFIX, Fabric, exchange, station

pytestmark = pytest.mark.lab

INTERFACES = {"cloud-1": "p-cloud-1", "cloud-2": "et48", "idle": "p-idle"}
VTEPS = {"a": "10.255.0.1", "b": "10.255.0.2", "c": "10.255.0.3"}
VICTIMS = ("alice", "dave", "carol", "wire-1", "wire-2", "cust-1", "cust-2")
CLOUD, OTHER = GATEWAYS["cloud-1"], GATEWAYS["cloud-2"]
VNI_LAN, VNI_WIRE = 4000, 5000
PORT = 4444
"""where programs on the switches listen"""


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    made = Fabric(tmp_path_factory.mktemp("gateways"))
    try:
        made.lay()
        made.move(exchange(circuit=True, gateways=True))
        yield made
    finally:
        made.take_down()


class Ears:
    """Everybody who could hear something: victims' wires, clouds' wires, and a program on each of two switches."""

    def __init__(self, fabric: Fabric) -> None:
        self.wires = {name: fabric.wire(name) for name in (*VICTIMS, *INTERFACES)}
        self.programs = {site: inside(PREFIX + site, _listening) for site in "ab"}

    def heard(self, token: bytes) -> set[str]:
        """Who has heard it by now."""
        select.select([], [], [], 0.02)
        found = {name for name, wire in self.wires.items() if any(token in each for each in wire.drained())}
        for site, program in self.programs.items():
            try:
                while True:
                    if token in program.recv(2048):
                        found.add(f"switch {site}")
            except BlockingIOError:
                continue
        return found

    def close(self) -> None:
        for wire in self.wires.values():
            wire.close()
        for program in self.programs.values():
            program.close()


def _listening() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("", PORT))
    made.setblocking(False)
    return made


def wrong(fabric: Fabric) -> set[str]:
    """What arrives that must not, and what is lost that must not be."""
    ears = Ears(fabric)
    try:
        return _tunnels(fabric, ears) | _in_pieces(fabric) | _into_switches(fabric, ears) | _said(fabric, ears) | _answered(fabric, ears)
    finally:
        ears.close()


def _token(fabric: Fabric) -> bytes:
    fabric.rounds += 1
    return b"nnt-gate-%05d" % fabric.rounds


def _tunnels(fabric: Fabric, ears: Ears) -> set[str]:
    """Packets of tunnels from the first cloud: (sender, target, port, VNI) → who may hear what is inside."""
    theirs, ours = CLOUD[1], CLOUD[0]
    sent: dict[str, tuple[str, str, int, int, set[str]]] = {
        "what was handed over": (theirs, ours, 4789, HANDED["cloud-1"], {"cust-1"}),
        "from another address": ("198.51.100.9", ours, 4789, HANDED["cloud-1"], set()),
        "from the other cloud's addresses": (OTHER[1], OTHER[0], 4789, HANDED["cloud-1"], set()),
        "to the switch's tunnel end": (theirs, VTEPS["a"], 4789, HANDED["cloud-1"], set()),
        "to another switch": (theirs, VTEPS["b"], 4789, VNI_LAN, set()),
        "into the peering LAN": (theirs, ours, 4789, VNI_LAN, set()),
        "into a circuit of others": (theirs, ours, 4789, VNI_WIRE, set()),
        "into what the other cloud was handed": (theirs, ours, 4789, HANDED["cloud-2"], set()),
        "to a program on the switch": (theirs, ours, PORT, HANDED["cloud-1"], set()),
        "to a program on another switch": (theirs, VTEPS["b"], PORT, HANDED["cloud-1"], set()),
    }
    found = set()
    for name, (sender, target, port, vni, may) in sent.items():
        token = _token(fabric)
        body = udp(4789, port, vxlan(vni, frame(station("cloud-1").mac, BROADCAST, 0x88B5, token)))
        ears.wires["cloud-1"].send(v4(station("cloud-1").mac, fabric.mac_on("a", INTERFACES["cloud-1"]), sender, target, UDP, body))
        heard = ears.heard(token)
        found |= {f"arrives: {name}, at {who}" for who in heard - may} | {f"lost: {name}" for _ in may - heard}
    return found


def _in_pieces(fabric: Fabric) -> set[str]:
    """A first fragment that has a tunnel's head and a number that was handed over: by the table's own counter, since nobody makes a frame of it."""

    def dropped() -> int:
        return int(
            re.findall(r"counter packets (\d+)", fabric.on("a", "nft", "list", "chain", "inet", "nnix_gateways", "gateway").stdout)[0]
        )

    try:
        before = dropped()
        body = udp(4789, 4789, vxlan(HANDED["cloud-1"], bytes(64)))
        me = station("cloud-1")
        fabric.send("cloud-1", v4(me.mac, fabric.mac_on("a", INTERFACES["cloud-1"]), CLOUD[1], CLOUD[0], UDP, body, fragment=0x2000))
        select.select([], [], [], 0.02)
        return set() if dropped() > before else {"arrives: a fragment"}
    except IndexError:  # nothing is dropped any more
        return {"arrives: anything"}


def _into_switches(fabric: Fabric, ears: Ears) -> set[str]:
    """From a port behind which nobody stands, and from the second cloud's: to the switches, and in a tunnel's packet into the LAN."""
    found = set()
    for who, site, end in ((who, *each) for who in ("idle", "cloud-2") for each in VTEPS.items()):
        me, mac = station(who), fabric.mac_on("a", INTERFACES[who])
        token = _token(fabric)
        tunnel = udp(4789, 4789, vxlan(VNI_LAN, frame(me.mac, BROADCAST, 0x88B5, token)))
        ears.wires[who].send(v4(me.mac, mac, me.v4, end, UDP, udp(9, PORT, token)), v4(me.mac, mac, me.v4, end, UDP, tunnel))
        found |= {f"arrives: from {who} through the switch at {site}, at {victim}" for victim in ears.heard(token)}
    return found


def _said(fabric: Fabric, ears: Ears) -> set[str]:
    """What programs on the switch say to gateways and to the idle port: (out of, source, target, port)."""
    ours, theirs = CLOUD
    sent = {
        "to a gateway's other port": ("p-cloud-1", ours, theirs, 9),
        "to a gateway from the tunnel end": ("p-cloud-1", VTEPS["a"], theirs, 4789),
        "to an address behind a gateway": ("p-cloud-1", ours, "198.51.100.77", 4789),
        "to the other gateway": ("et48", OTHER[0], OTHER[1], 9),
        "to the other gateway, as to the first": ("et48", ours, theirs, 4789),
        "to an idle port": ("p-idle", VTEPS["a"], "224.0.0.1", 9),
    }
    found = set()
    for name, (interface, source, target, port) in sent.items():
        token = _token(fabric)

        def speak(interface: str = interface, source: str = source, target: str = target, port: int = port, token: bytes = token) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
                out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                out.bind((source, 0))
                try:
                    out.sendto(token, (target, port))
                except PermissionError:  # dropped by the filter
                    return

        inside(PREFIX + "a", speak)
        found |= {f"arrives: {name}, at {who}" for who in ears.heard(token)}
    token = _token(fabric)
    fabric.send("cust-1", frame(station("cust-1").mac, BROADCAST, 0x88B5, token))
    return found | (set() if "cloud-1" in ears.heard(token) else {"lost: a customer's frame to the cloud"})


def _answered(fabric: Fabric, ears: Ears) -> set[str]:
    """The switch answers an ARP request for its end of the cable, and for no other address that it has."""
    found = set()
    for who, asked, may in (
        ("cloud-1", CLOUD[0], True),
        ("cloud-1", VTEPS["a"], False),
        ("idle", VTEPS["a"], False),
        ("idle", CLOUD[0], False),
    ):
        me, wire = station(who), ears.wires[who]
        wire.drained()
        wire.send(arp(me.mac, CLOUD[1] if who == "cloud-1" else me.v4, asked, b""))
        select.select([], [], [], 0.02)
        answered = any(each[12:14] == b"\x08\x06" and each[20:22] == b"\0\2" for each in wire.drained())
        found |= set() if answered == may else {f"{asked} is {'answered for' if answered else 'not answered for'} at {who}"}
    return found


def text(fabric: Fabric) -> str:
    return gateways.spell(next(each for each in switches(fabric.snapshot) if each.site == "a")).decode()


def load(fabric: Fabric, table: str) -> None:
    loaded = fabric.on("a", "nft", "-f", "-", stdin=f"add table {gateways.TABLE}\ndelete table {gateways.TABLE}\n{table}")
    assert loaded.returncode == 0, loaded.stderr


def _settled(fabric: Fabric) -> None:
    """The clouds' MAC addresses are known to the switch, which has found them by ARP."""
    for name, (_, theirs) in GATEWAYS.items():
        fabric.on("a", "ip", "neigh", "replace", theirs, "lladdr", station(name).mac, "dev", INTERFACES[name], "nud", "permanent")
    fabric.on(
        "a", "ip", "neigh", "replace", "198.51.100.77", "lladdr", station("cloud-1").mac, "dev", INTERFACES["cloud-1"], "nud", "permanent"
    )


def test_a_gateway_reaches_what_it_was_handed_and_nothing_else(fabric: Fabric) -> None:
    _settled(fabric)
    assert wrong(fabric) == set()


CONDITION = re.compile(r" (?=[io]ifname|udp dport|ip frag-off)")
SETS = {
    "ends": ("iifname . ip saddr . ip daddr @ends", "oifname . ip daddr . ip saddr @ends"),
    "handed": (f"iifname . {gateways.VNI} @handed",),
}


def mutations() -> dict[str, tuple[str, str]]:
    """What is taken out → what stands in the rules, and what stands there without it: each line, and each of several conditions."""
    made = {}
    for line in gateways.RULES.splitlines():
        what = line.strip()
        if not what or what == "}" or what.startswith(("chain", "type filter hook")):
            continue
        made[what] = (line + "\n", "")
        verdict = what.rsplit(" ", 1)[1]
        conditions = CONDITION.split(what.removesuffix(f" {verdict}"))
        for condition in conditions if len(conditions) > 1 else ():
            less = " ".join(each for each in conditions if each != condition)
            made[f"{condition}, of {what}"] = (line, line.replace(what, f"{less} {verdict}"))
    return made


def fields() -> dict[str, tuple[str, int]]:
    """Which field of which set is taken out, of the set and of the rules that look in it."""
    return {f"field {index} of @{name}": (name, index) for name, rules in SETS.items() for index in range(rules[0].count(" . ") + 1)}


def without(table: str, name: str, index: int) -> str:
    """`table`, its set `name` and the rules that look there without one field."""

    def less(fields: str) -> str:
        return " . ".join(each for at, each in enumerate(fields.split(" . ")) if at != index)

    for rule in SETS[name]:
        looked, _, where = rule.rpartition(" @")
        table = table.replace(rule, f"{less(looked)} @{where}")
    head, start, rest = table.partition(f"set {name} {{\n")
    body, end, tail = rest.partition("\n\t}")
    kind, elements = body.strip().split("\n")
    word, _, types = kind.strip().partition(" ")
    members = [less(each.strip()) for each in elements.partition("{")[2].rpartition("}")[0].split(",")]
    return f"{head}{start}\t\t{word} {less(types)}\n\t\telements = {{ {', '.join(members)} }}{end}{tail}"


MUTATIONS, FIELDS = mutations(), fields()


@pytest.mark.parametrize("mutation", [*MUTATIONS, *FIELDS])
def test_without_any_one_condition_the_suite_fails(fabric: Fabric, mutation: str) -> None:
    """A rule, a condition of it, or one field of a condition."""
    _settled(fabric)
    whole = text(fabric)
    if mutation in MUTATIONS:
        there, less = MUTATIONS[mutation]
        table = whole.replace(there, less, 1)
    else:
        table = without(whole, *FIELDS[mutation])
    assert table != whole
    load(fabric, table)
    try:
        assert wrong(fabric) != set()
    finally:
        load(fabric, whole)


def test_a_switch_would_answer_for_all_of_its_addresses(fabric: Fabric) -> None:
    """Without the setting, whoever is behind a port hears where the tunnel ends."""
    fabric.on("a", "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=0")
    try:
        assert any("answered for" in each for each in wrong(fabric))
        assert "arp_ignore is 0" in " ".join(fabric.differing("a").values())
    finally:
        fabric.on("a", "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1")


def test_an_idle_port_hears_nothing_of_the_switch(fabric: Fabric) -> None:
    """Neither neighbour discovery nor MLD, which a kernel sends by itself when an interface comes up; without the table it would."""

    def hears() -> bool:
        wire = fabric.wire("idle")
        try:
            fabric.on("a", "ip", "link", "set", "dev", "p-idle", "down")
            fabric.on("a", "ip", "link", "set", "dev", "p-idle", "up")
            fabric.on("a", "ping", "-6", "-n", "-c1", "-W0.2", "-I", "p-idle", "ff02::1")
            return wire.hears(b"\x86\xdd\x60", 0.3)
        finally:
            wire.close()

    assert not hears()
    whole = text(fabric)
    load(fabric, whole.replace(gateways.RULES, ""))
    try:
        assert any(hears() for _ in range(int(DEADLINE_SECONDS)))
    finally:
        load(fabric, whole)
