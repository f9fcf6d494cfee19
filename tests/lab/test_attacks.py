"""Security at the port: what nobody may send arrives at nobody, from whichever port of the exchange it is sent; and no rule is there in vain.

First on three switches: each rule of the filter, each value that a rule lists, and each flag that stands beside the filter is taken out in
turn, and each time something arrives that must not, or something is lost that must not be.

Then on examples/zhejiang, all of it up: every port sends every attack, and every other port listens. Behind its attacks each port sends one
packet in order to each other port in either address family. When all of those have arrived, nothing else is on its way.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nnix.cli.root import Setting, drivers
from nnix.daemons.iproute import IPROUTE
from nnix.daemons.nftables import NFTABLES
from nnix.hosts.namespace import inside
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Ref
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Driver
from nnix.lab.compile import ETHERNET, UPLINK, customer_mac, end_machine, member_switch, server_machine
from nnix.lab.kinds import Router
from nnix.planes.fabric import nftables
from nnix.planes.fabric.compile import compile, switches
from nnix.planes.fabric.kinds import Circuit, Lan, Port, PortState
from nnix.planes.fabric.names import switch_machine
from nnix.planes.fabric.nftables import REASONS, STORM_BURST_PACKETS, STORM_PACKETS_PER_SECOND
from nnix.planes.members.kinds import Site
from nnix.planes.routing.kinds import RouteServer, Session
from tests.lab.frames import (
    ALL,
    ATTACKS,
    BGP,
    BGP_PAST,
    BROADCAST,
    CIRCUIT_ATTACKS,
    CIRCUIT_LEGITIMATE,
    FAR,
    LEGITIMATE,
    NEAR,
    NOBODY,
    PEERING_V4,
    UDP,
    Scene,
    Station,
    arp,
    frame,
    storm,
    udp,
    v4,
    v6,
    vxlan,
)
from tests.lab.switches import DEADLINE_SECONDS, PREFIX, Fabric, Wire, exchange, station

pytestmark = pytest.mark.lab

ALICE, DAVE, BOB = station("alice"), station("dave"), station("bob")
VICTIMS = ("dave", "bob", "carol")
STORM_FRAMES = 1500


# --- three switches: no rule is there in vain


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """alice and dave at the switch that is tampered with, bob and carol at others; dave is drained; a circuit from alice's site to bob's."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    made = Fabric(tmp_path_factory.mktemp("fabric"))
    try:
        made.lay()
        made.move(exchange({"dave": "drained"}, circuit=True))
        yield made
    finally:
        made.take_down()


def wrong(fabric: Fabric) -> set[str]:
    """What arrives at site a's neighbours that must not, and what is lost that must not be."""
    found = set()
    scene = Scene(ALICE, DAVE, BOB)
    found |= {f"arrives: {name}" for name in fabric.arriving("alice", scene, ATTACKS, VICTIMS)}
    wanted = {ALL: set(VICTIMS), NEAR: {"dave"}, FAR: {"bob"}}
    arrived = fabric.arriving("alice", scene, {name: make for name, (make, _) in LEGITIMATE.items()}, VICTIMS)
    found |= {f"lost: {name}" for name, (_, whom) in LEGITIMATE.items() if wanted[whom] - arrived.get(name, set())}
    found |= {f"arrives elsewhere: {name}" for name, (_, whom) in LEGITIMATE.items() if arrived.get(name, set()) - wanted[whom]}
    found |= {f"arrives: {name} at a drained port" for name in fabric.arriving("alice", Scene(ALICE, DAVE, DAVE), BGP, ("dave",))}
    found |= {f"arrives: {name} from a drained port" for name in fabric.arriving("dave", Scene(DAVE, ALICE, BOB), BGP, ("bob",))}
    for who, scene, victim in (("dave", Scene(DAVE, ALICE, BOB), "bob"), ("alice", Scene(ALICE, DAVE, DAVE), "dave")):
        past = fabric.arriving(who, scene, BGP_PAST, (victim,))
        found |= {f"lost: {name} from {who} to {victim}" for name in BGP_PAST if name not in past}
    found |= _wrong_on_circuit(fabric)
    found |= _said_by_switch(fabric)
    found |= _through_switch(fabric)
    if _storm(fabric) > STORM_BURST_PACKETS + 2 * STORM_PACKETS_PER_SECOND:
        found.add("arrives: storm")
    return found


def _wrong_on_circuit(fabric: Fabric) -> set[str]:
    scene = Scene(station("wire-1"), station("wire-2"), station("wire-2"))
    found = {f"arrives: {name} on a circuit" for name in fabric.arriving("wire-1", scene, CIRCUIT_ATTACKS, ("wire-2",))}
    arrived = fabric.arriving("wire-1", scene, CIRCUIT_LEGITIMATE, ("wire-2",))
    return found | {f"lost: {name} on a circuit" for name in CIRCUIT_LEGITIMATE if name not in arrived}


def _said_by_switch(fabric: Fabric) -> set[str]:
    """What a program on the switch would put on a LAN or a circuit, and where it arrives."""
    found = set()
    for bridge, victims in {"br-peering": ("alice", "bob"), "bc-wire": ("wire-1", "wire-2")}.items():
        fabric.rounds += 1
        token = b"nnt-switch-%05d" % fabric.rounds

        def speak(bridge: str = bridge, token: bytes = token) -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
                out.bind((bridge, 0))
                out.send(frame("02:00:5e:10:00:aa", BROADCAST, 0x88B5, token))

        for name in victims:
            if name not in fabric.wires:
                fabric.wires[name] = fabric.wire(name)
            fabric.wires[name].drained()
        inside(PREFIX + "a", speak)
        select.select([], [], [], 0.02)
        found |= {f"arrives: {bridge} at {name}" for name in victims if any(token in each for each in fabric.wires[name].drained())}
    return found


THROUGH = (("alice", "a", ("br-peering", "p-alice")), ("wire-1", "a", ("bc-wire",)), ("wire-2", "a", ("bc-wire",)))
"""who sends, at which switch the frame would come out of a bridge, and the interfaces there whose MAC addresses it is sent to"""


def _through_switch(fabric: Fabric) -> set[str]:
    """What is addressed to a switch itself and arrives: in a packet of a tunnel, a frame for all on the peering LAN."""
    found = set()
    for who, site, interfaces in THROUGH:
        fabric.rounds += 1
        token = b"nnt-inside-%05d" % fabric.rounds
        for name in ("dave", "carol", who):
            if name not in fabric.wires:
                fabric.wires[name] = fabric.wire(name)
            fabric.wires[name].drained()
        me = station(who)
        inner = vxlan(4000, frame(NOBODY, BROADCAST, 0x88B5, token))
        for mac in (fabric.mac_on(site, interface) for interface in interfaces):
            for end in ("10.255.0.1", "10.255.0.2", "10.255.0.3"):
                fabric.wires[who].send(v4(me.mac, mac, me.v4, end, UDP, udp(4789, 4789, inner)))
        select.select([], [], [], 0.02)
        found |= {
            f"arrives: {who}'s frame, through the switch at {site}, at {name}"
            for name in ("dave", "carol")
            if any(token in each for each in fabric.wires[name].drained())
        }
    return found


def _storm(fabric: Fabric) -> int:
    """How many frames of alice's storm arrive at bob."""
    fabric.rounds += 1
    token = b"nnt-storm-%05d" % fabric.rounds
    wire = fabric.wires["bob"]
    wire.drained()
    fabric.wires["alice"].send(*[storm(ALICE, token)] * STORM_FRAMES)
    fabric.wires["alice"].send(v4(ALICE.mac, BOB.mac, ALICE.v4, BOB.v4, UDP, udp(9, 9, b"nnt-calm")))
    wire.heard = []
    wire.hears(b"nnt-calm", 0.5)
    return sum(token in each for each in wire.heard)


def test_nothing_is_wrong_while_every_rule_is_there(fabric: Fabric) -> None:
    """No attack arrives, nothing that a router must send is lost, and what is for one arrives at no other."""
    fabric.move(fabric.snapshot)
    assert wrong(fabric) == set()


LISTED = re.compile(r"\{ ([^}]+) \}")
CONDITION = re.compile(
    r"(?<!\.) (?=[io]ifname |ether [ds]addr|ether type|ip6? [ds]addr|ip protocol|ip (?:hdrlength|length)|ip6 nexthdr|arp (?:operation|saddr)|icmpv6 type|[tu][cd]p [ds]port)"
)


def mutations() -> dict[str, str]:
    """What is taken out → the rules without it: each line, each of several conditions of a line, and each value of a list in a line."""
    lines = nftables.RULES.splitlines()
    made = {}
    chain = ""
    for number, line in enumerate(lines):
        text = line.strip()
        if text.startswith("chain"):
            chain = text.split()[1]
        if not text or text == "}" or text.startswith(("chain", "type filter hook")):
            continue
        made[f"{chain}: {text}"] = "\n".join((*lines[:number], *lines[number + 1 :], ""))
        found = LISTED.search(line)
        conditions = CONDITION.split(text.rpartition(" goto ")[0] or text.removesuffix(" accept"))
        verdict = text.removeprefix(" ".join(conditions))
        for condition in conditions if len(conditions) > 1 else ():
            less = " ".join(each for each in conditions if each != condition) + verdict
            made[f"{chain}: {condition}, of {text}"] = "\n".join((*lines[:number], less, *lines[number + 1 :], ""))
        values = found[1].split(", ") if found else []
        for value in values:
            less = LISTED.sub(f"{{ {', '.join(each for each in values if each != value)} }}", line)
            made[f"{chain}: {value}, of {text}"] = "\n".join((*lines[:number], less, *lines[number + 1 :], ""))
    return made


MUTATIONS = mutations()


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_without_any_one_rule_or_value_the_suite_fails(fabric: Fabric, monkeypatch: pytest.MonkeyPatch, mutation: str) -> None:
    """What has no attack against it is either dead or untested."""
    monkeypatch.setattr(nftables, "RULES", MUTATIONS[mutation])
    switch = next(each for each in switches(fabric.snapshot) if each.site == "a")
    text = "add table bridge nnix\ndelete table bridge nnix\n" + nftables.spell(switch).decode()
    loaded = fabric.on("a", "nft", "-f", "-", stdin=text)
    assert loaded.returncode == 0, loaded.stderr
    assert wrong(fabric) != set()


FOR_NOBODY = ("unknown unicast", "unicast to a virtual router's MAC", "zero as destination")
FLAGS = {"at the site": {"a": ("p-dave",)}, "through the tunnel": {"a": ("vx-peering",), "b": ("p-bob",)}}


@pytest.mark.parametrize("where", FLAGS)
def test_a_frame_for_nobody_would_arrive_if_it_were_flooded(fabric: Fabric, where: str) -> None:
    """It needs no rule, only the flag; and look() sees when the flag is not as it should be."""
    fabric.move(fabric.snapshot)
    for site, interfaces in FLAGS[where].items():
        for interface in interfaces:
            fabric.on(site, "bridge", "link", "set", "dev", interface, "flood", "on")
    assert {each for each in wrong(fabric) if each.startswith("arrives")} == {f"arrives: {name}" for name in FOR_NOBODY}
    assert all("flood is on" in " ".join(fabric.differing(site).values()) for site in FLAGS[where])
    fabric.move(fabric.snapshot)
    assert wrong(fabric) == set()


@pytest.mark.parametrize("order", ["as it is", "the other way round"])
def test_the_filter_is_armed_before_a_port_joins(fabric: Fabric, order: str) -> None:
    """A switch is built while a member sends without pause what it may not: nothing arrives. Were the port plugged in first, something would."""
    host = fabric.switches["a"]
    by_name: dict[str, Driver] = {"nftables": NFTABLES, "iproute": IPROUTE}
    built = [name for name in drivers("", Path("/nowhere")) if name in by_name]
    if order == "the other way round":
        built.reverse()
    artifacts = {each.driver: each for each in compile(fabric.snapshot, Evidence()) if each.machine == "a"}
    stop = threading.Event()
    ears = {name: fabric.wire(name) for name in ("dave", "bob")}
    token = b"nnt-armed-%s" % order.encode()

    async def drive(names: Sequence[str], *, away: bool = False) -> None:
        for name in names:
            await by_name[name].drive(host, artifacts[name].name, None if away else artifacts[name].content)

    def flood() -> None:
        attack = frame(ALICE.mac, BROADCAST, 0x88B5, token)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
            out.bind(("eth0", 0))
            while not stop.is_set():
                try:
                    out.send(attack)
                except OSError:  # the port is dark
                    select.select([], [], [], 0.0005)

    asyncio.run(drive(("iproute", "nftables"), away=True))
    attacker = threading.Thread(target=lambda: inside(PREFIX + "alice", flood))
    attacker.start()
    try:
        asyncio.run(drive(built))
    finally:
        stop.set()
        attacker.join()
    fabric.move(fabric.snapshot)  # the way to bob's site again, and the right order
    fabric.send("alice", arp(ALICE.mac, ALICE.v4, "192.0.2.250", token + b" end"))
    arrived = set()
    for name, ear in ears.items():
        assert ear.hears(token + b" end", DEADLINE_SECONDS)
        if any(token in each and token + b" end" not in each for each in ear.heard):
            arrived.add(name)
        ear.close()
    assert bool(arrived) == (order == "the other way round")


# --- the whole example: every attack from every port


ROOT = Path(__file__).parents[2]
MAGIC = b"NNIX"
SIOCSIFMTU = 0x8922
UP_SECONDS_MAX, ARRIVAL_SECONDS_MAX = 60.0, 15.0
THROUGH_SWITCH = "through a switch itself"
CIRCUIT = """\
kind: Port
name: attacked-1
member: alibaba
site: hangzhou
speed: 10G
---
kind: Port
name: attacked-2
member: tencent
site: ningbo
speed: 10G
---
kind: Circuit
name: attacked
title: {en: A wire under attack}
ends: [attacked-1, attacked-2]
"""


@dataclass(frozen=True)
class Plug:
    """Somebody plugged in: where, on which LAN or circuit, in which state, and his end of the cable."""

    of: str
    site: str
    lan: str | None
    circuit: str | None
    state: PortState
    station: Station
    wire: Wire


@dataclass
class Found:
    """What the injection of everything found. `arrived`: name of the frame → (sender, where it arrived)."""

    sent: int = 0
    senders: set[str] = field(default_factory=set)
    arrived: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    missing: set[tuple[str, str, str]] = field(default_factory=set)
    seconds: float = 0.0


class Exchange:
    """examples/zhejiang with a circuit, up on this machine, and everybody's wires in this process."""

    def __init__(self, folder: Path) -> None:
        self.state, self.example = folder / "state", folder / "zhejiang"
        shutil.copytree(ROOT / "examples/zhejiang", self.example)
        (self.example / "attacked.yaml").write_text(CIRCUIT)
        self.setting = Setting(self.state, None)
        self.plugs: dict[str, Plug] = {}
        self.macs: dict[str, dict[str, str]] = {}
        self.snapshot = Snapshot()

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", *words]
        environment = {**os.environ, "NNIX_STATE": str(self.state)}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=280, check=False)

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json").stdout)

    def up(self) -> None:
        done = self("up", str(self.example), "--no-wait")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        end = time.monotonic() + UP_SECONDS_MAX
        while not all(each["good"] for each in self.json("status", "site")):
            assert time.monotonic() < end, "the underlay does not converge"
        self.snapshot = Setting(self.state, None).book.model().snapshot
        routers = {str(each.session): each.name for each in self.snapshot.of(Router)}
        for port in self.snapshot.of(Port):
            sessions = self.snapshot.where(Session, port=port.name)
            if sessions and port.state in (PortState.PRODUCTION, PortState.DRAINED, PortState.QUARANTINE):
                first = sessions[0]
                machine, interface = (routers[first.name], ETHERNET) if len(sessions) == 1 else (member_switch(port), UPLINK)
                who = Station(first.macs[0], str(first.v4), str(first.v6) if first.v6 else None)
                self.plug(port.id, str(port.site), str(first.lan), None, port.state, who, machine, interface)
        for server in self.snapshot.of(RouteServer):
            who = Station(str(server.mac), str(server.v4), str(server.v6) if server.v6 else None)
            self.plug(server.id, str(server.site), str(server.lan), None, PortState.PRODUCTION, who, server_machine(server), ETHERNET)
        for circuit in self.snapshot.of(Circuit):
            for number, port_name in enumerate(circuit.ends, 1):
                who = Station(customer_mac(str(port_name)), f"198.18.0.{number}")
                port, machine = self.snapshot.at(port_name), end_machine(str(port_name), self.snapshot)
                self.plug(port.id, str(port.site), None, circuit.name, PortState.PRODUCTION, who, machine, ETHERNET)

    def plug(
        self, of: str, site: str, lan: str | None, circuit: str | None, state: PortState, who: Station, machine: str, interface: str
    ) -> None:
        self.plugs[of] = Plug(of, site, lan, circuit, state, who, Wire(f"{self.setting.prefix}{machine}", interface))

    def down(self) -> None:
        for plug in self.plugs.values():
            plug.wire.close()
        self("down")

    def beside(self, plug: Plug) -> list[Plug]:
        """The others of its LAN, drained ones among them."""
        on = (PortState.PRODUCTION, PortState.DRAINED)
        return [each for each in self.plugs.values() if each.lan == plug.lan and each.lan and each.state in on and each is not plug]

    def scene(self, plug: Plug) -> Scene:
        """Two others of the LAN: at the same site if there is somebody, and at another one. A tester, who has nobody beside him, takes members."""
        others = [each for each in self.beside(plug) if each.state is PortState.PRODUCTION]
        others = others or [each for each in self.plugs.values() if each.lan and each is not plug]
        far = next(each for each in others if each.site != plug.site)
        near = next((each for each in others if each.site == plug.site), far)
        lan = self.snapshot.get(Lan, plug.lan or "")
        return Scene(plug.station, near.station, far.station, lan.v4 if lan and lan.v4 else PEERING_V4)

    def _through_switch(self, plug: Plug, put: Callable[..., None], scene: Scene, may: frozenset[str] = frozenset()) -> None:
        """To the switch's own MAC addresses: in tunnels' packets to each of three switches, a frame for all on every LAN. A circuit carries
        it to its other ends, who `may` hear it, like any frame for an unknown address."""
        site = self.snapshot.at(Ref.to(Site, plug.site))
        if plug.site not in self.macs:
            shown = subprocess.run(
                ["ip", "-j", "-n", f"{self.setting.prefix}{switch_machine(self.snapshot, site)}", "link"], capture_output=True, check=True
            )
            self.macs[plug.site] = {each["ifname"]: each["address"] for each in json.loads(shown.stdout)}
        others = [each for each in self.snapshot.of(Site) if each is not site]
        ends = [str(each.vtep) for each in (site, *others[:2])]
        bridges = [mac for name, mac in self.macs[plug.site].items() if name.startswith(("br-", "bc-"))]
        for mac in dict.fromkeys(bridges):
            for end in ends:
                for lan in self.snapshot.of(Lan):

                    def make(s: Scene, token: bytes, mac: str = mac, end: str = end, vni: int = lan.vni or 0) -> bytes:
                        inner = frame(NOBODY, BROADCAST, 0x88B5, token)
                        return v4(s.me.mac, mac, s.me.v4, end, UDP, udp(4789, 4789, vxlan(vni, inner)))

                    put(plug, THROUGH_SWITCH, make, scene, None, may)

    def drained(self) -> list[Plug]:
        return [each for each in self.plugs.values() if each.state is PortState.DRAINED]

    def injected(self) -> Found:
        """Everything from everybody, and where it arrived."""
        found = Found()
        started = time.monotonic()
        names: list[tuple[Plug, str, str | None, frozenset[str]]] = []  # sender, name, whom it must arrive at, and who may hear it as well

        def put(plug: Plug, name: str, make: Any, scene: Scene, whom: str | None = None, may: frozenset[str] = frozenset()) -> None:
            token = MAGIC + struct.pack("!I", len(names))
            names.append((plug, name, whom, may))
            plug.wire.send(make(scene, token))
            found.sent += 1

        def collect() -> None:
            for hearer in self.plugs.values():
                for heard in hearer.wire.drained():
                    at = heard.find(MAGIC)
                    if at < 0 or len(heard) < at + 8:
                        continue
                    (number,) = struct.unpack_from("!I", heard, at + 4)
                    sender, name, whom, may = names[number]
                    if hearer is sender:  # an answer that quotes his own packet
                        continue
                    if whom == hearer.of:
                        waiting.discard(number)
                    elif hearer.of not in may:
                        found.arrived[name].add((sender.of, hearer.of))

        waiting: set[int] = set()
        for plug in self.plugs.values():
            found.senders.add(plug.of)
            if plug.lan is None:
                ends = [each for each in self.plugs.values() if each.circuit == plug.circuit and each is not plug]
                may = frozenset(each.of for each in ends)
                for far in ends:
                    scene = Scene(plug.station, far.station, far.station)
                    for name, make in CIRCUIT_ATTACKS.items():
                        put(plug, f"on a circuit: {name}", make, scene)
                    for name, make in CIRCUIT_LEGITIMATE.items():
                        waiting.add(len(names))
                        put(plug, f"on a circuit: {name}", make, scene, far.of, may)
                self._through_switch(plug, put, scene, may)
                collect()
                continue
            scene = self.scene(plug)
            self._through_switch(plug, put, scene)
            for name, make in ATTACKS.items():
                put(plug, name, make, scene)
            if plug.state is PortState.DRAINED:
                for name, make in BGP.items():
                    put(plug, f"{name}, from a drained port", make, scene)
            for far in self.drained():
                if far.lan == plug.lan and far is not plug:
                    for name, make in BGP.items():
                        put(plug, f"{name}, to a drained port", make, Scene(plug.station, far.station, far.station))
            for far in self.beside(plug):
                pair = Scene(plug.station, far.station, far.station)
                for name in ("IPv4 between members", "IPv6 between members"):
                    reaches = plug.state is not PortState.QUARANTINE
                    if reaches:
                        waiting.add(len(names))
                    put(plug, name if reaches else f"{name}, from quarantine", LEGITIMATE[name][0], pair, far.of if reaches else None)
            collect()
        end = time.monotonic() + ARRIVAL_SECONDS_MAX
        while waiting and time.monotonic() < end:
            select.select([each.wire.socket for each in self.plugs.values()], [], [], 0.05)
            collect()
        select.select([], [], [], 0.2)
        collect()
        found.missing = {(names[number][0].of, names[number][1], str(names[number][2])) for number in waiting}
        found.seconds = time.monotonic() - started
        return found


@pytest.fixture(scope="module")
def zhejiang(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    made = Exchange(tmp_path_factory.mktemp("zhejiang"))
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def found(zhejiang: Exchange) -> Found:
    return zhejiang.injected()


def test_everybody_who_is_plugged_in_attacks(zhejiang: Exchange, found: Found) -> None:
    """Every port that is plugged into something, every route server, all ends of circuits. Who has bought nothing is on no LAN and no circuit. Gateways' cables are
    attacked in test_gateways.py."""
    dark = (PortState.RESERVED, PortState.SUSPENDED)
    bought = {str(end) for circuit in zhejiang.snapshot.of(Circuit) for end in circuit.ends}
    bought |= {str(each.port) for each in zhejiang.snapshot.of(Session)}
    lit = {each.id for each in zhejiang.snapshot.of(Port) if each.state not in dark and each.gateway is None and each.name in bought}
    assert found.senders == lit | {each.id for each in zhejiang.snapshot.of(RouteServer)}
    assert len(lit) >= 60
    print(f"{len(found.senders)} ports sent {found.sent} frames in {found.seconds:.1f} s")


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_arrives_at_no_other_port(found: Found, attack: str) -> None:
    """From whichever port, at whichever other."""
    assert found.arrived.get(attack, set()) == set()


def test_a_switch_is_nobodys_neighbour(found: Found) -> None:
    """What is addressed to a switch's own MAC addresses is not routed into the underlay: no tunnel's packet puts a frame on a LAN."""
    assert found.arrived.get(THROUGH_SWITCH, set()) == set()


@pytest.mark.parametrize("attack", CIRCUIT_ATTACKS)
def test_an_attack_on_a_circuit_does_not_arrive(found: Found, attack: str) -> None:
    """From either end."""
    assert found.arrived.get(f"on a circuit: {attack}", set()) == set()


def test_members_reach_one_another_from_every_port_and_nobody_else_hears_it(found: Found) -> None:
    """IPv4 and IPv6, between any two ports of a LAN; on a circuit whatever its owner likes. Each frame is heard where it is for, only."""
    assert found.missing == set()
    legitimate = {"IPv4 between members", "IPv6 between members", *(f"on a circuit: {name}" for name in CIRCUIT_LEGITIMATE)}
    assert {name: found.arrived[name] for name in legitimate if found.arrived.get(name)} == {}


def test_quarantine_and_drained_mean_what_they_say(found: Found) -> None:
    """Nothing at all from quarantine; no BGP from or to a drained port, whose other packets arrive (they are among those of all ports)."""
    of_states = {name: where for name, where in found.arrived.items() if "drained" in name or "quarantine" in name}
    assert of_states == {}


def test_ports_without_a_right_to_speak_are_dark(zhejiang: Exchange) -> None:
    """reserved and suspended: the member's end has no carrier, and whatever is sent there goes nowhere."""
    dark = [each for each in zhejiang.snapshot.of(Port) if each.state in (PortState.RESERVED, PortState.SUSPENDED)]
    assert {each.state for each in dark} == {PortState.RESERVED, PortState.SUSPENDED}
    shown = {each["port"]: each for each in zhejiang.json("port", "show")}
    for port in dark:
        assert (shown[port.name]["state"], shown[port.name]["light"]) == (port.state.value, False)


def test_what_was_refused_is_counted_by_port_and_reason(zhejiang: Exchange, found: Found) -> None:
    """`nnix port show` tells each port's own refusals, by rule; those of a member are the sum of its ports."""
    shown = {each["port"]: each for each in zhejiang.json("port", "show")}
    expected = set(REASONS) - {"storm", "drained"}
    for plug in zhejiang.plugs.values():
        if plug.of.startswith("port/") and plug.lan is not None:
            assert set(shown[plug.of.removeprefix("port/")]["refused"]) >= expected, plug.of
    drained = zhejiang.drained()[0].of.removeprefix("port/")
    assert shown[drained]["refused"]["drained"] >= len(BGP)
    (alibaba,) = zhejiang.json("port", "show", "--member", "alibaba")
    own = [each for each in shown.values() if each["member"] == "alibaba"]
    assert len(own) >= 3
    assert alibaba["ports"] == len(own)
    assert alibaba["refused"]["mac"] == sum(each["refused"].get("mac", 0) for each in own)


def test_people_read_the_same(zhejiang: Exchange, found: Found) -> None:
    """A table of all ports; one in full, with every rule; and what is meant when a name is misspelt."""
    every = zhejiang("port", "show").stdout
    assert all(f"\n{each.name} " in every for each in zhejiang.snapshot.of(Port))
    one = zhejiang("port", "show", "alibaba-1").stdout
    assert re.search(r"^MAC +02:00:00:94:4b:01$", one, re.M)
    assert all(says in one for says in REASONS.values())
    assert re.search(r"^alibaba +\d+ +\d+", zhejiang("port", "show", "--member", "alibaba").stdout, re.M)
    wrong = zhejiang("port", "show", "alibaba-11")
    assert (wrong.returncode, "did you mean alibaba-1" in wrong.stderr) == (2, True)


def test_a_jumbo_frame_goes_nowhere(zhejiang: Exchange) -> None:
    """Larger than the LAN allows: dropped at the port, to one member and to all."""
    token = MAGIC + b"JUMB" + bytes(8000)
    senders = [each for each in zhejiang.plugs.values() if each.lan is not None]
    for plug in senders:
        scene, me = zhejiang.scene(plug), plug.station
        frames = (
            arp(me.mac, me.v4, scene.far.v4, token),
            v4(me.mac, scene.far.mac, me.v4, scene.far.v4, UDP, udp(9, 9, token)),
            v6(me.mac, scene.near.mac, me.ip6, scene.near.ip6, UDP, udp(9, 9, token)),
        )
        _mtu(plug.wire, 9200)
        try:
            for each in frames:
                with suppress(OSError):  # ENOBUFS: the port did not take it
                    plug.wire.send(each)
        finally:
            _mtu(plug.wire, 1500)
    select.select([], [], [], 0.3)
    assert [each.of for each in zhejiang.plugs.values() if any(token[:8] in heard for heard in each.wire.drained())] == []


def _mtu(wire: Wire, octets: int) -> None:
    name = wire.socket.getsockname()[0].encode()
    fcntl.ioctl(wire.socket, SIOCSIFMTU, struct.pack("16si12x", name, octets))


def test_a_storm_is_cut_down_at_every_site_and_counted(zhejiang: Exchange) -> None:
    """Of 900 broadcasts of 1,500 octets at once the burst passes, and what the rate adds meanwhile; the rest is counted against its port.
    One port of each switch: every other one would be sixty times as many frames to deliver. Each port has a limit of its own, which is read.
    The last test of this module, since nobody hears anything afterwards."""
    for plug in zhejiang.plugs.values():
        plug.wire.deaf()
    before = {each["port"]: each["refused"].get("storm", 0) for each in zhejiang.json("port", "show")}
    able = [each for each in zhejiang.plugs.values() if each.of.startswith("port/") and each.state is PortState.PRODUCTION and each.lan]
    ports = list({each.site: each for each in able}.values())
    assert len(ports) >= 12
    spent = {}
    for plug in ports:
        started = time.monotonic()
        plug.wire.send(*[storm(plug.station, MAGIC + b"STRM")] * 900)
        spent[plug.of.removeprefix("port/")] = time.monotonic() - started
    after = {each["port"]: each["refused"].get("storm", 0) for each in zhejiang.json("port", "show")}
    most = {port: STORM_BURST_PACKETS + STORM_PACKETS_PER_SECOND * (seconds + 0.1) for port, seconds in spent.items()}
    passed = {port: 900 - (after[port] - before[port]) for port in spent}
    assert {port: number for port, number in passed.items() if not 0 < number <= most[port]} == {}
    for switch in switches(zhejiang.snapshot):
        limited = nftables.spell(switch).decode().partition("set storm {")[2].partition("}\n\t}")[0]
        assert all(
            f'"{each.interface}" {nftables.STORM}' in limited for each in switch.attachments if each.bridge is not None and not each.private
        )
