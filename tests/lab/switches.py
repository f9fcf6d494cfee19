"""Three sites, five members, one switch each, on real bridges and tunnels without daemons; and the wires of everybody.

Sites a - b - c stand in a row. Tunnel ends are reached over static routes, so that nothing but the fabric is tested.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_interface
from pathlib import Path
from typing import TypeVar

from nnix.daemons.iproute import IPROUTE
from nnix.daemons.iproute.facts import Addr, Fact, Route, Sysctl, encode
from nnix.daemons.iproute.facts import Wire as Cable
from nnix.daemons.nftables import NFTABLES
from nnix.hosts.namespace import NamespaceHost, inside
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.compile import compile
from nnix.planes.fabric.kinds import Circuit, Lan, Link, Port
from nnix.planes.fabric.names import link_interface, port_interface, route_server_interface
from nnix.planes.members.kinds import Member, Site
from nnix.planes.routing.kinds import RouteServer, RoutingPolicy, Session
from tests.lab.frames import UDP, Make, Scene, Station, udp, v4

T = TypeVar("T")
PREFIX = f"nnt-l2-{os.getpid() % 10000}-"
MEMBERS = {"alice": ("a", 1), "dave": ("a", 4), "bob": ("b", 2), "carol": ("c", 3), "erin": ("c", 5)}
WIRE = {"wire-1": ("a", 11), "wire-2": ("b", 12)}
"""the two ends of a circuit"""
BEHIND = {"cust-1": ("a", 21), "cust-2": ("b", 22), "cloud-1": ("a", 23), "cloud-2": ("a", 24), "idle": ("a", 25)}
BEHIND |= {"trunk": ("a", 26), "cust-3": ("a", 27), "cust-4": ("b", 28)}
"""customers of two clouds, the clouds' gateways, a port in light behind which nobody stands; a cloud on a tagged cable, and its customers"""
GATEWAYS = {"cloud-1": ("198.51.100.0", "198.51.100.1"), "cloud-2": ("198.51.100.2", "198.51.100.3")}
"""gateway → our end and theirs"""
HANDED = {"cloud-1": 7001, "cloud-2": 7002}
VLANS = {"cust-3": 103, "cust-4": 104}
"""customer → the VLAN under which the cloud knows it"""
TESTER = ("a", 0xFC)
DEADLINE_SECONDS = 10.0
END_SECONDS, SETTLING_SECONDS = 2.0, 0.02  # for the frame behind the others; and for one that went over another processor's queue
LOST = "the frame in order behind them"
SO_ATTACH_FILTER, BPF_RET_K = 26, 6  # asm/socket.h, linux/bpf_common.h
SO_RCVBUFFORCE, SOL_PACKET, PACKET_IGNORE_OUTGOING = 33, 263, 23  # asm/socket.h, linux/socket.h, linux/if_packet.h
RECEIVED_OCTETS_MAX = 1 << 23


def mac_of(number: int) -> str:
    return f"02:00:5e:10:00:{number:02x}"


def station(name: str) -> Station:
    """The router behind the port of that name, or the tester."""
    _, number = {**MEMBERS, **WIRE, **BEHIND, "tester": TESTER}[name]
    return Station(mac_of(number), f"192.0.2.{number}", f"2001:db8:1::{number}")


def _site(name: str, number: int) -> Site:
    role = "hub" if name == "a" else "node"
    fields = {"title": {"en": name}, "role": role, "level": "city", "city": name, "country": "CN", "vtep": f"10.255.0.{number}"}
    return Site.model_validate({"name": name, **fields})


def _route_server(name: str, site: str, lan: str, v4: str, v6: str, number: int) -> RouteServer:
    fields = {"site": site, "lan": lan, "policy": "open", "v4": v4, "v6": v6, "mac": mac_of(number)}
    return RouteServer.model_validate({"name": name, **fields})


def _lan(name: str, v4: str, v6: str, vni: int, purpose: str = "peering") -> Lan:
    return Lan.model_validate({"name": name, "title": {"en": name}, "purpose": purpose, "v4": v4, "v6": v6, "vni": vni})


def _port(name: str, member: str, site: str, state: str = "production", **more: object) -> Port:
    return Port.model_validate({"name": name, "member": member, "site": site, "speed": "10G", "state": state, **more})


def exchange(
    states: dict[str, str] | None = None,
    *,
    tester: bool = False,
    circuit: bool = False,
    gateways: bool = False,
    vlans: Mapping[str, int] | None = None,
) -> Snapshot:
    """Sites a - b - c in a row; a route server at b; with `tester`, a quarantine LAN of the same prefix and its tester at a; with `circuit`, one
    from a to b; with `gateways`, two clouds at a that are handed a customer each, and a port with nobody behind it; with `vlans`: customer → VLAN, on one cable at a."""
    made: list[Resource] = [_site(name, number) for number, name in enumerate("abc", start=1)]
    for a, b in ("ab", "bc"):
        made.append(Link.model_validate({"name": a + b, "a": a, "b": b, "capacity": "100G", "latency": "1ms"}))
    made.append(RoutingPolicy.model_validate({"name": "open"}))
    made.append(_lan("peering", "192.0.2.0/24", "2001:db8:1::/64", 4000))
    made.append(_route_server("rs1", "b", "peering", "192.0.2.251", "2001:db8:1::fb", 0xFB))
    if tester:
        made.append(_lan("test", "192.0.2.0/24", "2001:db8:1::/64", 4001, "quarantine"))
        made.append(_route_server("tester", TESTER[0], "test", station("tester").v4, str(station("tester").v6), TESTER[1]))
    for name, (site, number) in MEMBERS.items():
        made.append(Member.model_validate({"name": name, "title": {"en": name}, "asn": 64500 + number, "class": "isp"}))
        made.append(_port(name, name, site, (states or {}).get(name, "production")))
        whose = {"member": name, "lan": "peering", "port": name, "macs": [mac_of(number)]}
        made.append(Session.model_validate({"name": name, **whose, "v4": station(name).v4, "v6": station(name).v6}))
    if circuit:
        made += [_port(name, "alice", site) for name, (site, _) in WIRE.items()]
        made.append(Circuit.model_validate({"name": "wire", "ends": list(WIRE), "vni": 5000}))
    if gateways:
        made.append(_port("idle", "alice", "a"))
        for number, (name, (ours, theirs)) in enumerate(GATEWAYS.items(), start=1):
            interface = None if number == 1 else "et48"  # a name of nnix's, and one of the switch's own
            made.append(_port(name, "alice", "a", gateway={"ours": ours, "theirs": theirs}, interface=interface))
            made.append(_port(f"tenant-{number}", "alice", "a", over=name, vni=HANDED[name]))
            made.append(_port(f"cust-{number}", "alice", BEHIND[f"cust-{number}"][0]))
            made.append(
                Circuit.model_validate({"name": f"tenant-{number}", "ends": [f"cust-{number}", f"tenant-{number}"], "vni": 6000 + number})
            )
    if vlans is not None:
        made.append(_port("trunk", "alice", "a", tagged=True))
        for customer, vlan in vlans.items():
            made.append(_port(f"at-{customer}", "alice", "a", over="trunk", vlan=vlan))
            made.append(_port(customer, "alice", BEHIND[customer][0]))
            made.append(Circuit.model_validate({"name": customer, "ends": [customer, f"at-{customer}"], "vni": 6100 + BEHIND[customer][1]}))
    return Snapshot(made)


class Wire:
    """A member's end of its cable: sends frames as they are, and hears all that come in, whomever they are for."""

    def __init__(self, namespace: str, interface: str = "eth0") -> None:
        def opened() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVED_OCTETS_MAX)
            made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            made.bind((interface, 3))  # ETH_P_ALL
            return made

        self.socket = inside(namespace, opened)
        self.heard: list[bytes] = []

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.socket.send(frame)

    def drained(self) -> list[bytes]:
        """What has come in since the last time."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65535, socket.MSG_DONTWAIT))
            except BlockingIOError:
                return found

    def hears(self, token: bytes, within_seconds: float) -> bool:
        end = time.monotonic() + within_seconds
        while True:
            self.heard += self.drained()
            if any(token in frame for frame in self.heard):
                return True
            if time.monotonic() >= end:
                return False
            select.select([self.socket], [], [], max(0.0, end - time.monotonic()))

    def deaf(self) -> None:
        """Hear nothing more: a filter of the kernel that keeps no octet of anything, so that storms fill no buffers."""
        program = ctypes.create_string_buffer(struct.pack("HBBI", BPF_RET_K, 0, 0, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))

    def close(self) -> None:
        self.socket.close()


class Fabric:
    """The switches and members of `exchange()`, in namespaces."""

    def __init__(self, folder: Path) -> None:
        self.snapshot = Snapshot()
        self.wires: dict[str, Wire] = {}
        self.rounds = 0
        self.switches = {name: NamespaceHost(name, PREFIX + name, folder / name) for name in "abc"}
        self.stations = {name: NamespaceHost(name, PREFIX + name, folder / name) for name in (*MEMBERS, *WIRE, *BEHIND, "rs1", "tester")}

    def lay(self) -> None:
        """Namespaces and cables, as the lab lays them."""
        snapshot = exchange(tester=True, circuit=True, gateways=True, vlans=VLANS)
        lines = [f"netns add {host.namespace}" for host in (*self.switches.values(), *self.stations.values())]
        for link in snapshot.of(Link):
            near, far = link_interface(link, link.a), link_interface(link, link.b)
            lines.append(f"link add {near} netns {PREFIX}{link.a} mtu 9200 type veth peer name {far} netns {PREFIX}{link.b} mtu 9200")
        for port in (each for each in snapshot.of(Port) if each.over is None):
            lines.append(self.cable(port_interface(port), port.site, port.name, station(port.name).mac))
        for server in snapshot.of(RouteServer):
            lines.append(self.cable(route_server_interface(server), server.site, server.name, str(server.mac)))
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)

    @staticmethod
    def cable(interface: str, site: str, station: str, mac: str) -> str:
        return f"link add {interface} netns {PREFIX}{site} mtu 9200 type veth peer name eth0 netns {PREFIX}{station} mtu 9200 address {mac}"

    def move(self, snapshot: Snapshot) -> None:
        """Drive all switches and stations to `snapshot`."""

        async def go() -> None:
            for artifact in compile(snapshot, Evidence()):
                host = self.switches[artifact.machine]
                if artifact.driver == "nftables":
                    await NFTABLES.drive(host, artifact.name, artifact.content)
                elif artifact.driver == "iproute":
                    await IPROUTE.drive(host, artifact.name, artifact.content)
            for name, next_hops in {
                "a": {2: ("ab", 2), 3: ("ab", 2)},
                "b": {1: ("ab", 1), 3: ("bc", 3)},
                "c": {1: ("bc", 2), 2: ("bc", 2)},
            }.items():
                routes = [
                    Route.model_validate({"route": f"10.255.0.{end}/32", "via": f"10.255.0.{via}", "dev": f"l-{link}", "onlink": True})
                    for end, (link, via) in next_hops.items()
                ]
                await IPROUTE.drive(self.switches[name], "static", encode(routes))
            plugged: list[Session | RouteServer] = [*snapshot.of(Session), *snapshot.of(RouteServer)]
            for each in plugged:
                facts: list[Fact] = [Sysctl(sysctl=f"net.ipv6.conf.{which}.accept_dad", value="0") for which in ("all", "default")]
                facts += [Cable(link="lo"), Cable(link="eth0", mtu=1500)]
                facts += [Addr(addr=ip_interface(f"{each.v4}/24"), dev="eth0"), Addr(addr=ip_interface(f"{each.v6}/64"), dev="eth0")]
                await IPROUTE.drive(self.stations[each.name], "lan", encode(facts))
            for name in (*WIRE, *(each for each in BEHIND if snapshot.get(Port, each))):
                await IPROUTE.drive(self.stations[name], "lan", encode([Cable(link="eth0", mtu=1500)]))

        asyncio.run(go())
        self.snapshot = snapshot

    def take_down(self) -> None:
        for wire in self.wires.values():
            wire.close()
        for host in (*self.switches.values(), *self.stations.values()):
            subprocess.run(["ip", "netns", "del", str(host.namespace)], capture_output=True, check=False)

    def wire(self, name: str) -> Wire:
        """One of its own, to be closed."""
        return Wire(PREFIX + name)

    def arriving(self, who: str, scene: Scene, catalogue: Mapping[str, Make], victims: Sequence[str]) -> dict[str, set[str]]:
        """Which frames of `catalogue`, sent by `who`, arrive at which of `victims`; those that arrive nowhere are left out.

        Behind them goes one frame for each victim that is in order, so the time is over when that has come. LOST stands for it where it does not come.
        """
        for name in (who, *victims):
            if name not in self.wires:
                self.wires[name] = self.wire(name)
            self.wires[name].drained()
        self.rounds += 1
        tokens = {b"nnt%03d%05d" % (number, self.rounds): name for number, name in enumerate(catalogue)}
        last = b"nntend%05d" % self.rounds
        self.wires[who].send(*(catalogue[name](scene, token) for token, name in tokens.items()))
        me = scene.me
        others = {name: station(name) for name in victims}
        self.wires[who].send(*(v4(me.mac, each.mac, me.v4, each.v4, UDP, udp(9, 9, last)) for each in others.values()))
        found: dict[str, set[str]] = {}
        deadline = time.monotonic() + END_SECONDS
        for name in victims:
            wire = self.wires[name]
            wire.heard = []
            if not wire.hears(last, deadline - time.monotonic()):
                found.setdefault(LOST, set()).add(name)
        select.select([], [], [], SETTLING_SECONDS)
        for name in victims:
            wire = self.wires[name]
            for frame in (*wire.heard, *wire.drained()):
                at = frame.find(b"nnt")
                token = tokens.get(frame[at : at + 11]) if at >= 0 else None
                if token is not None:
                    found.setdefault(token, set()).add(name)
        return found

    def differing(self, site: str) -> dict[str, str]:
        """What look() says of a switch."""

        async def go() -> dict[str, str]:
            mine = [each for each in compile(self.snapshot, Evidence()) if each.machine == site]
            said = dict(await IPROUTE.look(self.switches[site], {each.name: each.content for each in mine if each.driver == "iproute"}))
            said |= await NFTABLES.look(self.switches[site], {each.name: each.content for each in mine if each.driver == "nftables"})
            return said

        return asyncio.run(go())

    def mac_on(self, site: str, interface: str) -> str:
        """The MAC address that an interface of a switch has now."""
        (shown,) = json.loads(self.on(site, "ip", "-j", "link", "show", "dev", interface).stdout)
        return str(shown["address"])

    def on(self, name: str, *command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        argv = ["ip", "netns", "exec", PREFIX + name, *command]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)

    def pings(self, who: str, whom: str, tries_seconds: float = 5.0) -> bool:
        """Whether a ping passes before the time is up (neighbours may have to be found first)."""
        end = time.monotonic() + tries_seconds
        while time.monotonic() < end:
            if self.on(who, "ping", "-c1", "-W1", "-n", whom).returncode == 0:
                return True
        return False

    def connects(self, who: str, whom: str, port: int) -> bool:
        """Whether a TCP connection is answered, be it by a refusal."""

        def dial() -> bool:
            try:
                with socket.create_connection((whom, port), timeout=1.0):
                    return True
            except ConnectionRefusedError:
                return True
            except OSError:
                return False

        return inside(PREFIX + who, dial)

    def send(self, who: str, *frames: bytes) -> None:
        wire = self.wire(who)
        try:
            wire.send(*frames)
        finally:
            wire.close()
