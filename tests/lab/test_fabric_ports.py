"""Three sites, five members, one switch each: what passes between ports, and what does not, on real bridges and tunnels.

Frames are put on the members' wires byte by byte and looked for at all other members. Absence is not waited for: behind each
attack the attacker sends one frame that is in order, and when that has come, the attack would have come before it.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_interface
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nnix.daemons.frr import FRR
from nnix.daemons.iproute import IPROUTE
from nnix.daemons.iproute.facts import Addr, Fact, Route, Sysctl, Wire, encode
from nnix.daemons.nftables import NFTABLES
from nnix.hosts.namespace import NamespaceHost, enter_namespace
from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Status
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Driver, Failed, Result
from nnix.planes.fabric.compile import compile, link_local, switches
from nnix.planes.fabric.kinds import Lan, Link, Port
from nnix.planes.fabric.names import link_interface, port_interface, route_server_interface
from nnix.planes.fabric.read import read
from nnix.planes.members.kinds import Member, Site
from nnix.planes.routing.kinds import RouteServer, RoutingPolicy, Session

pytestmark = pytest.mark.lab

T = TypeVar("T")
PREFIX = f"nnt-l2-{os.getpid() % 10000}-"
MEMBERS = {"alice": ("a", 1), "dave": ("a", 4), "bob": ("b", 2), "carol": ("c", 3), "erin": ("c", 5)}
BROADCAST = "ff:ff:ff:ff:ff:ff"
DEADLINE_SECONDS = 10.0


def mac_of(number: int) -> str:
    return f"02:00:5e:10:00:{number:02x}"


def exchange(states: dict[str, str] | None = None, *, tester: bool = False) -> Snapshot:
    """Sites a - b - c in a row; a route server at b; with `tester`, a quarantine LAN that has a tester at a."""
    states = states or {}
    made: list[tuple[type[Resource], dict[str, Any]]] = []
    for number, name in enumerate("abc", start=1):
        title, role = {"en": name}, "hub" if name == "a" else "node"
        made.append(
            (
                Site,
                {"name": name, "title": title, "role": role, "level": "city", "city": name, "country": "CN", "vtep": f"10.255.0.{number}"},
            )
        )
    made.append((Link, {"name": "ab", "a": "a", "b": "b", "capacity": "100G", "latency": "1ms"}))
    made.append((Link, {"name": "bc", "a": "b", "b": "c", "capacity": "100G", "latency": "1ms"}))
    made.append((Lan, {"name": "peering", "title": {"en": "Peering"}, "v4": "192.0.2.0/24", "v6": "2001:db8:1::/64", "vni": "4000"}))
    made.append((RoutingPolicy, {"name": "open"}))
    rs = {"name": "rs1", "site": "b", "lan": "peering", "policy": "open", "v4": "192.0.2.251", "v6": "2001:db8:1::fb", "mac": mac_of(0xFB)}
    made.append((RouteServer, rs))
    if tester:
        made.append(
            (
                Lan,
                {
                    "name": "test",
                    "title": {"en": "Test"},
                    "purpose": "quarantine",
                    "v4": "198.51.100.0/24",
                    "v6": "2001:db8:2::/64",
                    "vni": "4001",
                },
            )
        )
        made.append(
            (
                RouteServer,
                {**rs, "name": "tester", "site": "a", "lan": "test", "v4": "198.51.100.251", "v6": "2001:db8:2::fb", "mac": mac_of(0xFC)},
            )
        )
    for name, (site, number) in MEMBERS.items():
        made.append((Member, {"name": name, "title": {"en": name}, "asn": str(64500 + number), "class": "isp"}))
        made.append((Port, {"name": name, "member": name, "site": site, "speed": "10G", "state": states.get(name, "production")}))
        made.append(
            (
                Session,
                {
                    "name": name,
                    "member": name,
                    "lan": "peering",
                    "port": name,
                    "v4": f"192.0.2.{number}",
                    "v6": f"2001:db8:1::{number}",
                    "macs": [mac_of(number)],
                },
            )
        )
    return Snapshot(
        kind.model_validate(
            {
                **fields,
                **({"vni": int(fields["vni"])} if "vni" in fields else {}),
                **({"asn": int(fields["asn"])} if "asn" in fields else {}),
            }
        )
        for kind, fields in made
    )


def inside(namespace: str, act: Callable[[], T]) -> T:
    """Run `act` in a namespace, in a thread that ends with it."""
    results: list[T] = []
    failures: list[BaseException] = []

    def go() -> None:
        try:
            enter_namespace(namespace)
            results.append(act())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


class Ear:
    """All frames that come in at a member's wire."""

    def __init__(self, namespace: str) -> None:
        def listen() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            made.bind(("eth0", 3))
            made.setblocking(False)
            return made

        self.socket = inside(namespace, listen)
        self.heard: list[bytes] = []

    def hears(self, token: bytes, within_seconds: float) -> bool:
        end = time.monotonic() + within_seconds
        while True:
            while select.select([self.socket], [], [], 0)[0]:
                frame, address = self.socket.recvfrom(65535)
                if address[2] != socket.PACKET_OUTGOING:
                    self.heard.append(frame)
            if any(token in frame for frame in self.heard):
                return True
            if time.monotonic() >= end:
                return False
            select.select([self.socket], [], [], max(0.0, end - time.monotonic()))


class Fabric:
    """The switches and members of `exchange()`, in namespaces."""

    def __init__(self, folder: Path) -> None:
        self.snapshot = Snapshot()
        self.switches = {name: NamespaceHost(name, PREFIX + name, folder / name) for name in "abc"}
        self.stations = {name: NamespaceHost(name, PREFIX + name, folder / name) for name in (*MEMBERS, "rs1", "tester")}
        self.count = 0

    def lay(self) -> None:
        """Namespaces and cables, as the lab lays them."""
        snapshot = exchange(tester=True)
        lines = [f"netns add {host.namespace}" for host in (*self.switches.values(), *self.stations.values())]
        for link in snapshot.of(Link):
            near, far = link_interface(link, link.a), link_interface(link, link.b)
            lines.append(f"link add {near} netns {PREFIX}{link.a} mtu 9200 type veth peer name {far} netns {PREFIX}{link.b} mtu 9200")
        for port in snapshot.of(Port):
            lines.append(self.cable(port_interface(port), port.site, port.name, mac_of(MEMBERS[port.name][1])))
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
            stations: list[Session | RouteServer] = [*snapshot.of(Session), *snapshot.of(RouteServer)]
            for each in stations:
                facts: list[Fact] = [Sysctl(sysctl=f"net.ipv6.conf.{which}.accept_dad", value="0") for which in ("all", "default")]
                facts += [Wire(link="lo"), Wire(link="eth0", mtu=1500)]
                facts += [Addr(addr=ip_interface(f"{each.v4}/24"), dev="eth0"), Addr(addr=ip_interface(f"{each.v6}/64"), dev="eth0")]
                await IPROUTE.drive(self.stations[each.name], "lan", encode(facts))

        asyncio.run(go())
        self.snapshot = snapshot

    def differing(self, site: str) -> dict[str, str]:
        """What look() says of a switch."""

        async def go() -> dict[str, str]:
            mine = [each for each in compile(self.snapshot, Evidence()) if each.machine == site]
            said = dict(await IPROUTE.look(self.switches[site], {each.name: each.content for each in mine if each.driver == "iproute"}))
            said |= await NFTABLES.look(self.switches[site], {each.name: each.content for each in mine if each.driver == "nftables"})
            return said

        return asyncio.run(go())

    def on(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["ip", "netns", "exec", PREFIX + name, *command], capture_output=True, text=True, check=False)

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
        def go() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
                wire.bind(("eth0", 0))
                for frame in frames:
                    wire.send(frame)

        inside(PREFIX + who, go)

    def arrives(self, who: str, make: Callable[[bytes], bytes | list[bytes]], victims: tuple[str, ...]) -> set[str]:
        """At which of `victims` the frames made with a token arrive, if `who` sends them."""
        self.count += 1
        token, end = b"nnt-token-%05d" % self.count, b"nnt-end-%05d" % self.count
        ears = {name: Ear(PREFIX + name) for name in victims}
        try:
            frames = make(token)
            self.send(who, *([frames] if isinstance(frames, bytes) else frames))
            number = MEMBERS[who][1]
            self.send(who, arp(mac_of(number), f"192.0.2.{number}", "192.0.2.250", end))
            for name, ear in ears.items():
                assert ear.hears(end, DEADLINE_SECONDS), f"the frame in order did not arrive at {name}"
            return {name for name, ear in ears.items() if ear.hears(token, 0)}
        finally:
            for ear in ears.values():
                ear.socket.close()


# --- frames


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def frame(source: str, destination: str, ethertype: int, payload: bytes, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    tagged = b"".join(struct.pack("!HH", protocol, vlan) for protocol, vlan in tags)
    return (octets(destination) + octets(source) + tagged + struct.pack("!H", ethertype) + payload).ljust(60, b"\0")


def arp(
    source: str,
    sender: str,
    target: str,
    token: bytes,
    *,
    inner: str | None = None,
    reply: bool = False,
    to: str = BROADCAST,
    target_mac: str = "00:00:00:00:00:00",
) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2 if reply else 1) + octets(inner or source) + ip_address(sender).packed
    return frame(source, to, 0x0806, body + octets(target_mac) + ip_address(target).packed + token)


def v4(source: str, to: str, sender: str, target: str, protocol: int, body: bytes, ttl: int = 64) -> bytes:
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, ttl, protocol, 0, ip_address(sender).packed, ip_address(target).packed
    )
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return frame(source, to, 0x0800, head + body)


def udp(source_port: int, port: int, token: bytes) -> bytes:
    return struct.pack("!HHHH", source_port, port, 8 + len(token), 0) + token


def v6(
    source: str, to: str, sender: str, target: str, protocol: int, body: bytes, hops: int = 255, chain: tuple[int, bytes] | None = None
) -> bytes:
    first, before = chain or (protocol, b"")
    addresses = ip_address(sender).packed + ip_address(target).packed
    return frame(source, to, 0x86DD, struct.pack("!IHBB", 6 << 28, len(before + body), first, hops) + addresses + before + body)


def icmp6(sender: str, target: str, kind: int, body: bytes) -> bytes:
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = ip_address(sender).packed + ip_address(target).packed + struct.pack("!II", len(message), 58)
    return message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


A, B, D = mac_of(1), mac_of(2), mac_of(4)
A6 = str(link_local(A))
UNSPECIFIED = "0.0.0.0"  # noqa: S104 - a sender without address, no socket
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"


def nd(
    kind: int,
    sender: str,
    target: str,
    about: str,
    token: bytes,
    *,
    to: str = ALL_NODES_MAC,
    hops: int = 255,
    chain: tuple[int, bytes] | None = None,
) -> bytes:
    flags = 0x20000000 if kind == 136 else 0
    option = bytes([2 if kind == 136 else 1, 1]) + octets(A)
    body = struct.pack("!I", flags) + ip_address(about).packed + option + token.ljust(16, b"\0")
    return v6(A, to, sender, target, 58, icmp6(sender, target, kind, body), hops, chain)


def ra(token: bytes, chain: tuple[int, bytes] | None = None, to: str = ALL_NODES_MAC, target: str = ALL_NODES) -> bytes:
    body = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + token
    return v6(A, to, A6, target, 58, icmp6(A6, target, 134, body), 255, chain)


def arp_of(token: bytes, *, operation: int = 1, hardware: int = 1, protocol: int = 0x0800, lengths: tuple[int, int] = (6, 4)) -> bytes:
    """A request in order but for its head."""
    head = struct.pack("!HHBBH", hardware, protocol, *lengths, operation)
    return frame(
        A, BROADCAST, 0x0806, head + octets(A) + ip_address("192.0.2.1").packed + bytes(6) + ip_address("192.0.2.2").packed + token
    )


def tcp(source_port: int, port: int, token: bytes) -> bytes:
    return struct.pack("!HHIIHHHH", source_port, port, 1, 1, 5 << 12 | 0x10, 1000, 0, 0) + token


HOP_BY_HOP = (0, bytes([58, 0, 1, 4, 0, 0, 0, 0]))
DESTINATION = (60, bytes([58, 0, 1, 4, 0, 0, 0, 0]))
FIRST_FRAGMENT = (44, bytes([58, 0, 0, 1, 0, 0, 0, 7]))
LATER_FRAGMENT = (44, bytes([58, 0, 0, 9, 0, 0, 0, 7]))

ATTACKS: dict[str, Callable[[bytes], bytes]] = {
    "unregistered MAC": lambda t: arp("02:00:5e:10:00:99", "192.0.2.1", "192.0.2.2", t),
    "MAC of a member at another site": lambda t: v4(B, D, "192.0.2.2", "192.0.2.4", 17, udp(9, 9, t)),
    "MAC of a member at this site": lambda t: v4(D, B, "192.0.2.4", "192.0.2.2", 17, udp(9, 9, t)),
    "group address as source": lambda t: arp("03:00:5e:10:00:01", "192.0.2.1", "192.0.2.2", t),
    "ARP for a foreign address": lambda t: arp(A, "192.0.2.2", "192.0.2.4", t),
    "ARP reply for a foreign address": lambda t: arp(A, "192.0.2.2", "192.0.2.4", t, reply=True, to=D, target_mac=D),
    "gratuitous ARP for a foreign address": lambda t: arp(A, "192.0.2.251", "192.0.2.251", t),
    "ARP with another's MAC inside": lambda t: arp(A, "192.0.2.1", "192.0.2.2", t, inner=B),
    "ARP probe for a foreign address": lambda t: arp(A, UNSPECIFIED, "192.0.2.2", t),
    "802.1Q tag": lambda t: frame(A, B, 0x0800, v4(A, B, "192.0.2.1", "192.0.2.2", 17, udp(9, 9, t))[14:], ((0x8100, 7),)),
    "priority tag": lambda t: frame(A, BROADCAST, 0x0806, arp(A, "192.0.2.1", "192.0.2.2", t)[14:], ((0x8100, 0),)),
    "QinQ": lambda t: frame(A, B, 0x0800, v4(A, B, "192.0.2.1", "192.0.2.2", 17, udp(9, 9, t))[14:], ((0x88A8, 7), (0x8100, 7))),
    "STP": lambda t: frame(A, "01:80:c2:00:00:00", 0x0026, b"\x42\x42\x03" + t),
    "PVST": lambda t: frame(A, "01:00:0c:cc:cc:cd", 0x0032, b"\xaa\xaa\x03\x00\x00\x0c\x01\x0b" + t),
    "LACP": lambda t: frame(A, "01:80:c2:00:00:02", 0x8809, b"\x01\x01" + t),
    "LACP to a member": lambda t: frame(A, B, 0x8809, b"\x01\x01" + t),
    "LLDP": lambda t: frame(A, "01:80:c2:00:00:0e", 0x88CC, t),
    "CDP": lambda t: frame(A, "01:00:0c:cc:cc:cc", 0x0032, b"\xaa\xaa\x03\x00\x00\x0c\x20\x00" + t),
    "loopback protocol": lambda t: frame(A, B, 0x9000, t),
    "MPLS": lambda t: frame(A, B, 0x8847, t),
    "PPPoE discovery": lambda t: frame(A, BROADCAST, 0x8863, t),
    "IS-IS": lambda t: frame(A, "01:80:c2:00:00:14", 0x0030, b"\xfe\xfe\x03" + t),
    "RA": ra,
    "RA behind hop-by-hop options": lambda t: ra(t, HOP_BY_HOP),
    "RA behind destination options": lambda t: ra(t, DESTINATION),
    "RA in a first fragment": lambda t: ra(t, FIRST_FRAGMENT),
    "RA in a later fragment": lambda t: ra(t, LATER_FRAGMENT),
    "RA to one member": lambda t: ra(t, to=B, target=str(link_local(B))),
    "RA to one member behind options": lambda t: ra(t, DESTINATION, B, str(link_local(B))),
    "RS": lambda t: v6(A, "33:33:00:00:00:02", A6, "ff02::2", 58, icmp6(A6, "ff02::2", 133, bytes(4) + t)),
    "IPv6 redirect": lambda t: v6(A, B, A6, "2001:db8:1::2", 58, icmp6(A6, "2001:db8:1::2", 137, bytes(36) + t)),
    "NA for a foreign address": lambda t: nd(136, "2001:db8:1::1", ALL_NODES, "2001:db8:1::2", t),
    "NA for a foreign link-local address": lambda t: nd(136, A6, ALL_NODES, str(link_local(B)), t),
    "NA for a foreign address behind options": lambda t: nd(136, "2001:db8:1::1", ALL_NODES, "2001:db8:1::2", t, chain=DESTINATION),
    "NA to one member for a foreign address": lambda t: nd(136, "2001:db8:1::1", "2001:db8:1::4", "2001:db8:1::2", t, to=D),
    "NA with a forged hop limit": lambda t: nd(136, "2001:db8:1::1", ALL_NODES, "2001:db8:1::1", t, hops=64),
    "NS from a foreign address": lambda t: nd(135, "2001:db8:1::4", "ff02::1:ff00:2", "2001:db8:1::2", t, to="33:33:ff:00:00:02"),
    "NS from a foreign link-local address": lambda t: nd(
        135, str(link_local(D)), "ff02::1:ff00:2", "2001:db8:1::2", t, to="33:33:ff:00:00:02"
    ),
    "duplicate address detection for a foreign address": lambda t: nd(
        135, "::", "ff02::1:ff00:2", "2001:db8:1::2", t, to="33:33:ff:00:00:02"
    ),
    "MLD": lambda t: v6(A, "33:33:00:00:00:16", A6, "ff02::16", 58, icmp6(A6, "ff02::16", 143, bytes(4) + t), 1, HOP_BY_HOP),
    "DHCP": lambda t: v4(A, BROADCAST, UNSPECIFIED, "255.255.255.255", 17, udp(68, 67, t)),
    "DHCP to one member": lambda t: v4(A, B, "192.0.2.1", "192.0.2.2", 17, udp(67, 68, t)),
    "DHCPv6": lambda t: v6(A, "33:33:00:01:00:02", A6, "ff02::1:2", 17, udp(546, 547, t), 1),
    "VRRP": lambda t: v4(A, "01:00:5e:00:00:12", "192.0.2.1", "224.0.0.18", 112, t, 255),
    "VRRP from a virtual MAC": lambda t: v4("00:00:5e:00:01:01", "01:00:5e:00:00:12", "192.0.2.1", "224.0.0.18", 112, t, 255),
    "HSRP": lambda t: v4(A, "01:00:5e:00:00:02", "192.0.2.1", "224.0.0.2", 17, udp(1985, 1985, t), 1),
    "EIGRP": lambda t: v4(A, "01:00:5e:00:00:0a", "192.0.2.1", "224.0.0.10", 88, t, 1),
    "OSPF": lambda t: v4(A, "01:00:5e:00:00:05", "192.0.2.1", "224.0.0.5", 89, t, 1),
    "OSPF to one member": lambda t: v4(A, B, "192.0.2.1", "192.0.2.2", 89, t, 1),
    "OSPFv3": lambda t: v6(A, "33:33:00:00:00:05", A6, "ff02::5", 89, t, 1),
    "PIM": lambda t: v4(A, "01:00:5e:00:00:0d", "192.0.2.1", "224.0.0.13", 103, t, 1),
    "IGMP": lambda t: v4(A, "01:00:5e:00:00:16", "192.0.2.1", "224.0.0.22", 2, t, 1),
    "RIP": lambda t: v4(A, "01:00:5e:00:00:09", "192.0.2.1", "224.0.0.9", 17, udp(520, 520, t), 1),
    "mDNS": lambda t: v4(A, "01:00:5e:00:00:fb", "192.0.2.1", "224.0.0.251", 17, udp(5353, 5353, t)),
    "multicast data": lambda t: v4(A, "01:00:5e:01:02:03", "192.0.2.1", "239.1.2.3", 17, udp(9, 9, t)),
    "multicast data in unicast frame": lambda t: v4(A, B, "192.0.2.1", "239.1.2.3", 17, udp(9, 9, t)),
    "IPv4 broadcast": lambda t: v4(A, BROADCAST, "192.0.2.1", "192.0.2.255", 17, udp(9, 9, t)),
    "ICMP redirect": lambda t: v4(A, B, "192.0.2.1", "192.0.2.2", 1, b"\x05\x01\0\0" + bytes(4) + t),
    "source address of another member": lambda t: v4(A, B, "192.0.2.4", "192.0.2.2", 6, bytes(20) + t),
    "IPv6 source address of another member": lambda t: v6(A, B, "2001:db8:1::4", "2001:db8:1::2", 17, udp(9, 9, t), 64),
    "transit from an unregistered MAC": lambda t: v4("02:00:5e:10:00:99", B, "203.0.113.9", "198.51.100.9", 17, udp(9, 9, t)),
    "own address from another member's MAC": lambda t: v4(D, B, "192.0.2.1", "192.0.2.2", 17, udp(9, 9, t)),
    "reverse ARP": lambda t: arp_of(t, operation=3),
    "ARP of another hardware type": lambda t: arp_of(t, hardware=6),
    "ARP of another protocol": lambda t: arp_of(t, protocol=0x0801),
    "ARP with a hardware length that lies": lambda t: arp_of(t, lengths=(8, 4)),
    "ARP with a protocol length that lies": lambda t: arp_of(t, lengths=(6, 16)),
    "NA to one member in a first fragment without its head": lambda t: v6(
        A, D, A6, "2001:db8:1::4", 58, t, 255, (44, bytes([60, 0, 0, 1, 0, 0, 0, 7, 58, 0, 1, 4, 0, 0, 0, 0]))
    ),
    "NA to one member in a later fragment": lambda t: nd(
        136, "2001:db8:1::1", "2001:db8:1::4", "2001:db8:1::1", t, to=D, chain=LATER_FRAGMENT
    ),
    "packet from a foreign link-local address": lambda t: v6(A, B, str(link_local(D)), str(link_local(B)), 17, udp(9, 9, t), 64),
    "NS from an address outside of the LAN": lambda t: nd(
        135, "2001:db8:99::1", "ff02::1:ff00:2", "2001:db8:1::2", t, to="33:33:ff:00:00:02"
    ),
    "IPv6 multicast data in unicast frame": lambda t: v6(A, B, "2001:db8:1::1", "ff0e::101", 17, udp(9, 9, t), 64),
    "OSPFv3 to one member": lambda t: v6(A, B, A6, str(link_local(B)), 89, t, 1),
    "DHCPv6 to one member": lambda t: v6(A, B, A6, str(link_local(B)), 17, udp(547, 546, t), 64),
    "unknown unicast": lambda t: v4(A, "02:00:5e:10:00:77", "192.0.2.1", "192.0.2.77", 17, udp(9, 9, t)),
}

LEGITIMATE: dict[str, tuple[Callable[[bytes], bytes], set[str]]] = {
    "ARP request": (lambda t: arp(A, "192.0.2.1", "192.0.2.2", t), {"bob", "carol", "dave"}),
    "ARP reply": (lambda t: arp(A, "192.0.2.1", "192.0.2.2", t, reply=True, to=B, target_mac=B), {"bob"}),
    "ARP probe for the own address": (lambda t: arp(A, UNSPECIFIED, "192.0.2.1", t), {"bob", "carol", "dave"}),
    "neighbour solicitation": (
        lambda t: nd(135, "2001:db8:1::1", "ff02::1:ff00:2", "2001:db8:1::2", t, to="33:33:ff:00:00:02"),
        {"bob", "carol", "dave"},
    ),
    "neighbour solicitation from the link-local address": (
        lambda t: nd(135, A6, "ff02::1:ff00:2", "2001:db8:1::2", t, to="33:33:ff:00:00:02"),
        {"bob", "carol", "dave"},
    ),
    "neighbour advertisement": (lambda t: nd(136, "2001:db8:1::1", ALL_NODES, "2001:db8:1::1", t), {"bob", "carol", "dave"}),
    "duplicate address detection for the own address": (
        lambda t: nd(135, "::", "ff02::1:ff00:1", "2001:db8:1::1", t, to="33:33:ff:00:00:01"),
        {"bob", "carol", "dave"},
    ),
    "transit": (lambda t: v4(A, B, "203.0.113.9", "198.51.100.9", 17, udp(9, 9, t)), {"bob"}),
    "transit to the same site": (lambda t: v4(A, D, "203.0.113.9", "198.51.100.9", 17, udp(9, 9, t)), {"dave"}),
    "IPv6 transit behind options": (
        lambda t: v6(A, B, "2001:db8:99::1", "2001:db8:98::1", 17, udp(9, 9, t), 60, (60, bytes([17, 0, 1, 4, 0, 0, 0, 0]))),
        {"bob"},
    ),
    "largest packet": (lambda t: v4(A, B, "203.0.113.9", "198.51.100.9", 17, udp(9, 9, t.ljust(1472, b"x"))), {"bob"}),
    "GTSM to a neighbour": (lambda t: v4(A, B, "192.0.2.1", "192.0.2.2", 6, bytes(20) + t, 255), {"bob"}),
}
VICTIMS = ("bob", "carol", "dave")


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    made = Fabric(tmp_path_factory.mktemp("fabric"))
    try:
        made.lay()
        yield made
    finally:
        for host in (*made.switches.values(), *made.stations.values()):
            subprocess.run(["ip", "netns", "del", str(host.namespace)], capture_output=True, check=False)


@pytest.fixture
def production(fabric: Fabric) -> Fabric:
    fabric.move(exchange())
    return fabric


@pytest.mark.parametrize(
    "whom", ["192.0.2.4", "192.0.2.2", "192.0.2.3", "192.0.2.251", "2001:db8:1::4", "2001:db8:1::2", "2001:db8:1::3", "2001:db8:1::fb"]
)
def test_members_reach_one_another_and_the_route_server_over_both_address_families(production: Fabric, whom: str) -> None:
    """At the same site, at the next one, and at the one behind it."""
    assert production.pings("alice", whom)


@pytest.mark.parametrize("name", LEGITIMATE)
def test_what_a_router_must_send_arrives_where_it_should_and_nowhere_else(production: Fabric, name: str) -> None:
    """Neighbour discovery goes to all, unicast to one."""
    make, expected = LEGITIMATE[name]
    assert production.arrives("alice", make, VICTIMS) == expected


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_arrives_at_no_port(production: Fabric, name: str) -> None:
    """Neither at the attacker's own site nor at another."""
    assert production.arrives("alice", ATTACKS[name], VICTIMS) == set()


STORMS: dict[str, Callable[[bytes], bytes]] = {
    "broadcast": lambda t: arp(A, "192.0.2.1", "192.0.2.2", t),
    "multicast": lambda t: nd(135, "2001:db8:1::1", "ff02::1:ff00:2", "2001:db8:1::2", t, to="33:33:ff:00:00:02"),
}


@pytest.mark.parametrize("name", STORMS)
def test_a_storm_is_cut_down_to_what_a_router_needs(production: Fabric, name: str) -> None:
    """Of 20,000 group frames at once, at most the burst and what the rate adds meanwhile arrive, and the rest is counted; dave's own
    are not counted against alice's, and alice's unicast passes all the while."""
    ear = Ear(PREFIX + "bob")
    token = b"nnt-storm"
    started = time.monotonic()
    production.send("alice", *[STORMS[name](token)] * 20_000, v4(A, B, "203.0.113.9", "198.51.100.9", 17, udp(9, 9, b"nnt-unicast")))
    seconds = time.monotonic() - started
    production.send("dave", arp(D, "192.0.2.4", "192.0.2.2", b"nnt-calm"))
    assert ear.hears(b"nnt-unicast", DEADLINE_SECONDS)
    assert ear.hears(b"nnt-calm", DEADLINE_SECONDS)
    arrived = sum(token in each for each in ear.heard)
    ear.socket.close()
    assert 0 < arrived <= 600 + 300 * (seconds + 1)
    facts = statuses(production)["port/alice"].facts
    assert facts is not None
    assert facts["dropped"]["storm"] >= 20_000 - arrived


def test_a_unicast_storm_to_nobody_goes_nowhere(production: Fabric) -> None:
    """It needs no limit: a frame for an address that is behind no port is not flooded, neither at the site nor into a tunnel."""
    attack = ATTACKS["unknown unicast"]
    assert production.arrives("alice", lambda t: [attack(t)] * 5_000, VICTIMS) == set()


def test_a_switch_itself_says_nothing_on_the_lan(production: Fabric) -> None:
    """What it would send itself, by any program or accident, reaches neither its ports nor its tunnels; without the two rules it would."""

    def speak(token: bytes) -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as bridge:
            bridge.bind(("br-peering", 0))
            bridge.send(frame("02:00:5e:10:00:aa", BROADCAST, 0x9000, token))

    def dropped() -> list[int]:
        """Frames to ports, and into tunnels."""
        rules = production.on("a", "nft", "list", "chain", "bridge", "nnix", "output").stdout
        return [int(each) for each in re.findall(r"oifname @(?:ports|tunnels) counter packets (\d+)", rules)]

    ears = {name: Ear(PREFIX + name) for name in ("alice", "dave", "bob")}
    try:
        before = dropped()
        inside(PREFIX + "a", lambda: speak(b"nnt-silent"))
        production.send("alice", arp(A, "192.0.2.1", "192.0.2.250", b"nnt-after-alice"))
        production.send("dave", arp(D, "192.0.2.4", "192.0.2.250", b"nnt-after-dave"))
        assert all(ears[name].hears(b"nnt-after-alice", DEADLINE_SECONDS) for name in ("dave", "bob"))
        assert ears["alice"].hears(b"nnt-after-dave", DEADLINE_SECONDS)
        assert not any(ear.hears(b"nnt-silent", 0) for ear in ears.values())
        to_ports, to_tunnels = (now - then for now, then in zip(dropped(), before, strict=True))
        assert to_ports >= 2
        assert to_tunnels >= 1

        production.on("a", "nft", "flush", "chain", "bridge", "nnix", "output")
        inside(PREFIX + "a", lambda: speak(b"nnt-loud"))
        assert all(ear.hears(b"nnt-loud", DEADLINE_SECONDS) for ear in ears.values())
    finally:
        for ear in ears.values():
            ear.socket.close()


def test_a_drained_port_loses_bgp_and_keeps_pinging(fabric: Fabric) -> None:
    """BCP 214: TCP 179 is dropped both ways, between addresses of the LAN; all else passes."""
    fabric.move(exchange())
    assert fabric.pings("alice", "192.0.2.2")
    assert fabric.connects("alice", "192.0.2.2", 179)
    assert fabric.connects("bob", "2001:db8:1::1", 179)

    fabric.move(exchange({"alice": "drained"}))

    assert fabric.pings("alice", "192.0.2.2")
    assert fabric.pings("bob", "2001:db8:1::1")
    assert not fabric.connects("alice", "192.0.2.2", 179)
    assert not fabric.connects("bob", "192.0.2.1", 179)
    assert not fabric.connects("bob", "2001:db8:1::1", 179)
    assert fabric.connects("alice", "192.0.2.2", 22)
    assert fabric.connects("dave", "192.0.2.2", 179)


BGP: dict[str, Callable[[bytes], bytes]] = {
    "IPv4, to the server": lambda t: v4(A, B, "192.0.2.1", "192.0.2.2", 6, tcp(50000, 179, t), 255),
    "IPv4, from the server": lambda t: v4(A, B, "192.0.2.1", "192.0.2.2", 6, tcp(179, 50000, t), 255),
    "IPv6, to the server": lambda t: v6(A, B, "2001:db8:1::1", "2001:db8:1::2", 6, tcp(50000, 179, t), 255),
    "IPv6, from the server": lambda t: v6(A, B, "2001:db8:1::1", "2001:db8:1::2", 6, tcp(179, 50000, t), 255),
    "link-local, to the server": lambda t: v6(A, B, A6, str(link_local(B)), 6, tcp(50000, 179, t), 255),
    "link-local, from the server": lambda t: v6(A, B, A6, str(link_local(B)), 6, tcp(179, 50000, t), 255),
}


@pytest.mark.parametrize("drained", ["alice", "bob"])
def test_bgp_of_a_drained_port_is_culled_whichever_end_is_drained(fabric: Fabric, drained: str) -> None:
    """Segments of a session that stands are dropped too, so that both ends' hold timers run out; BGP in transit passes (RFC 8327, 3.2)."""
    fabric.move(exchange())
    assert {name for name, make in BGP.items() if fabric.arrives("alice", make, ("bob",))} == set(BGP)
    fabric.move(exchange({drained: "drained"}))
    assert {name for name, make in BGP.items() if fabric.arrives("alice", make, ("bob",))} == set()
    assert fabric.arrives("alice", lambda t: v4(A, B, "203.0.113.9", "198.51.100.9", 6, tcp(50000, 179, t)), ("bob",))


def test_a_port_in_quarantine_reaches_nobody(fabric: Fabric) -> None:
    """Without a quarantine LAN it is alone, even beside another port in quarantine at its site; the others do not notice."""
    fabric.move(exchange({"alice": "quarantine", "dave": "quarantine"}))

    assert fabric.on("alice", "ping", "-c1", "-W1", "-n", "192.0.2.4").returncode != 0
    assert fabric.on("alice", "ping", "-c1", "-W1", "-n", "192.0.2.2").returncode != 0
    assert fabric.on("bob", "ping", "-c1", "-W1", "-n", "192.0.2.1").returncode != 0
    assert fabric.pings("bob", "192.0.2.3")


def test_ports_in_quarantine_meet_the_tester_and_not_one_another(fabric: Fabric) -> None:
    """The tester stands at site a; alice and dave are there, erin is two sites away."""
    fabric.move(exchange({"alice": "quarantine", "dave": "quarantine", "erin": "quarantine"}, tester=True))
    ears = {name: Ear(PREFIX + name) for name in ("tester", "alice", "dave", "bob")}
    try:
        for who, number in (("erin", 5), ("alice", 1)):
            token = b"nnt-" + who.encode()
            fabric.send(who, arp(mac_of(number), f"192.0.2.{number}", "192.0.2.251", token))
            assert ears["tester"].hears(token, DEADLINE_SECONDS)
        fabric.send("tester", arp(mac_of(0xFC), "198.51.100.251", "198.51.100.1", b"nnt-tester"))
        assert ears["alice"].hears(b"nnt-tester", DEADLINE_SECONDS)
        assert ears["dave"].hears(b"nnt-tester", DEADLINE_SECONDS)
        assert not ears["alice"].hears(b"nnt-erin", 0)
        assert not ears["dave"].hears(b"nnt-erin", 0)
        assert not ears["dave"].hears(b"nnt-alice", 0)
        assert not ears["bob"].hears(b"nnt-", 0)
    finally:
        for ear in ears.values():
            ear.socket.close()


@pytest.mark.parametrize("state", ["reserved", "suspended"])
def test_a_port_that_may_not_speak_is_dark(fabric: Fabric, state: str) -> None:
    """The member's router sees no carrier."""
    fabric.move(exchange({"dave": state}))
    assert (fabric.on("dave", "cat", "/sys/class/net/eth0/carrier").stdout.strip() or "0") == "0"


DAMAGE = {
    "the bridge is deleted": (["ip", "link", "del", "br-peering"], "br-peering is missing"),
    "the tunnel is deleted": (["ip", "link", "del", "vx-peering"], "vx-peering is missing"),
    "a port is pulled out of the bridge": (["ip", "link", "set", "p-alice", "nomaster"], "it is in no bridge, not in br-peering"),
    "a port learns": (["bridge", "link", "set", "dev", "p-alice", "learning", "on"], "its learning is on"),
    "a port is put down": (["ip", "link", "set", "p-alice", "down"], "it is down"),
    "a forwarding entry is deleted": (["bridge", "fdb", "del", mac_of(2), "dev", "vx-peering", "self"], "is missing on vx-peering"),
    "a foreign tunnel end is added": (
        ["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vx-peering", "dst", "10.9.9.9"],
        "10.9.9.9 on vx-peering is not ours",
    ),
    "the address is taken": (["ip", "addr", "del", "10.255.0.1/32", "dev", "lo"], "address 10.255.0.1/32 is missing"),
    "forwarding is switched off": (["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"], "net.ipv4.ip_forward is 0"),
    "the table is deleted": (["nft", "delete", "table", "bridge", "nnix"], "table bridge nnix is missing"),
    "the table is flushed": (["nft", "flush", "table", "bridge", "nnix"], "was changed by somebody else"),
    "a MAC is let in by hand": (["nft", 'add element bridge nnix macs { "p-alice" . 02:00:00:00:00:66 }'], "was changed by somebody else"),
    "a rule is added by hand": (["nft", "insert rule bridge nnix port accept"], "was changed by somebody else"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_seen_and_mended(production: Fabric, name: str) -> None:
    """look() says in words what is wrong; drive() makes it right, and pings pass again."""
    command, words = DAMAGE[name]
    assert production.differing("a") == {}
    assert production.on("a", *command).returncode == 0

    assert words in " ".join(production.differing("a").values())
    production.move(production.snapshot)

    assert production.differing("a") == {}
    assert production.pings("alice", "192.0.2.3")
    assert production.pings("alice", "2001:db8:1::4")


def test_driving_what_agrees_changes_nothing(production: Fabric) -> None:
    """Neither indices of interfaces nor handles of rules move; counters go on from where they were (stations chat by themselves)."""

    def there() -> tuple[tuple[list[str], str], list[int]]:
        links, rules, counters = (
            production.on("a", *command.split()).stdout
            for command in ("ip -o link", "nft -s -a list table bridge nnix", "nft list table bridge nnix")
        )
        return (re.findall(r"^\d+: \S+", links, re.M), rules), [int(each) for each in re.findall(r"counter packets (\d+)", counters)]

    assert production.pings("alice", "192.0.2.2")
    assert production.pings("alice", "192.0.2.4")
    production.send("alice", *[frame(A, BROADCAST, 0x9000, b"counted")] * 3)
    same, counts = there()
    production.move(production.snapshot)
    same_then, counts_then = there()

    assert same_then == same
    assert len(counts_then) == len(counts)
    assert all(then >= before for then, before in zip(counts_then, counts, strict=True))
    assert max(counts) >= 3


def test_a_member_that_leaves_takes_only_its_members_of_sets_along(production: Fabric) -> None:
    """The rules keep their handles, so no packet of another member met a moment without them, and no counter was reset."""
    production.send("dave", frame(D, BROADCAST, 0x9000, b"counted"))
    handles = production.on("a", "nft", "-a", "list", "chain", "bridge", "nnix", "port").stdout
    without = production.snapshot.replaced(gone=["session/alice", "port/alice", "member/alice"])
    production.move(without)

    assert production.on("a", "nft", "-a", "list", "chain", "bridge", "nnix", "port").stdout == handles
    table = production.on("a", "nft", "list", "table", "bridge", "nnix").stdout
    assert "p-alice" not in table
    assert '"p-dave" counter packets 1 ' in production.on("a", "nft", "list", "set", "bridge", "nnix", "dropped_ethertype").stdout
    assert mac_of(1) not in production.on("b", "bridge", "fdb", "show").stdout
    assert production.differing("a") == {}


def test_a_wire_that_nobody_laid_is_named_and_the_rest_is_set_up(production: Fabric) -> None:
    """A port whose cable is missing does not cost the others theirs."""
    port = Port.model_validate({"name": "frank", "member": "dave", "site": "a", "speed": "10G"})
    with pytest.raises(Failed, match=r"interface p-frank \(port/frank\) is not there"):
        production.move(Snapshot([*exchange(), port]))
    assert production.pings("alice", "192.0.2.2")


class Dying(Exception):
    """nnix was killed here."""


class Mortal:
    """A host before whose n-th command or write nnix is killed. One that comes after it is never reached."""

    def __init__(self, host: NamespaceHost, calls: int) -> None:
        self.inner = host
        self.calls = calls
        self.name, self.home = host.name, host.home

    def live(self) -> None:
        if self.calls == 0:
            raise Dying
        self.calls -= 1

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        self.live()
        return await self.inner.run(argv, stdin=stdin, timeout_seconds=timeout_seconds)

    async def put(self, files: Mapping[str, bytes | None], *, mode: int = 0o600) -> None:
        for path, content in files.items():
            self.live()
            await self.inner.put({path: content}, mode=mode)

    async def get(self, paths: Sequence[str]) -> Mapping[str, bytes | None]:
        return await self.inner.get(paths)


@pytest.mark.parametrize("driver", [IPROUTE, NFTABLES], ids=lambda driver: driver.name)
def test_being_killed_between_any_two_commands_loses_nothing(fabric: Fabric, driver: Driver) -> None:
    """From nothing to one exchange, to another, and to nothing again: whatever came first, what is driven last is what is there."""
    host = fabric.switches["b"]
    states = [None, exchange(), exchange({"alice": "suspended", "bob": "quarantine"}).replaced(gone=["session/carol", "port/carol"]), None]

    def content(snapshot: Snapshot | None) -> bytes | None:
        made = compile(snapshot or Snapshot(), Evidence())
        return next((each.content for each in made if (each.machine, each.driver) == ("b", driver.name)), None)

    def traces() -> str:
        return fabric.on(
            "b",
            "sh",
            "-c",
            "ip -o addr | grep -o '10.255[^ ]*'; ip -o link | grep -o 'br-[^:]*\\|vx-[^:]*'; nft list tables; cat /proc/sys/net/ipv4/ip_forward",
        ).stdout

    async def clear() -> None:
        for name in ("static", "fabric"):
            await IPROUTE.drive(host, name, None)
        await NFTABLES.drive(host, "ports", None)

    async def killed(wanted: bytes | None, calls: int) -> bool:
        try:
            await driver.drive(Mortal(host, calls), "try", wanted)
        except Dying:
            return True
        return False

    asyncio.run(clear())
    clean = traces()
    kills = 0
    for first, second in pairwise(states):
        for calls in range(12):
            asyncio.run(driver.drive(host, "try", content(first)))
            died = asyncio.run(killed(content(second), calls))
            kills += died
            last = exchange({"carol": "drained"})
            asyncio.run(driver.drive(host, "try", content(last)))
            wanted = content(last)
            assert wanted is not None
            assert asyncio.run(driver.look(host, {"try": wanted})) == {}
            asyncio.run(driver.drive(host, "try", first_content := content(first)))
            if first_content is not None:
                assert asyncio.run(driver.look(host, {"try": first_content})) == {}
            asyncio.run(killed(content(second), calls))
            asyncio.run(driver.drive(host, "try", None))
            assert traces() == clean
            if not died:
                break
        else:
            pytest.fail("a drive of more than twelve commands")
    assert kills >= 9


class Machines:
    """The switches, for read()."""

    def __init__(self, hosts: dict[str, NamespaceHost]) -> None:
        self.hosts = hosts

    def host(self, machine: str) -> NamespaceHost:
        return self.hosts[machine]


def statuses(fabric: Fabric) -> dict[str, Status]:
    return {each.resource: each for each in asyncio.run(_read(fabric))}


async def _read(fabric: Fabric) -> list[Status]:
    return list(await read(fabric.snapshot, Machines(fabric.switches)))


def test_the_underlay_finds_its_ways_itself(production: Fabric) -> None:
    """FRR on unnumbered links, instead of static routes: all tunnel ends are reached, and read() says so of every resource."""
    content = {each.machine: each.content for each in compile(production.snapshot, Evidence()) if each.driver == "frr"}

    async def drive(wanted: dict[str, bytes | None]) -> None:
        for name, host in production.switches.items():
            await FRR.drive(host, "underlay", wanted[name])

    async def static(wanted: bytes | None) -> None:
        for host in production.switches.values():
            await IPROUTE.drive(host, "static", wanted)

    asyncio.run(static(None))
    try:
        assert statuses(production)["site/a"].state == "cut"
        asyncio.run(drive(dict(content)))
        end = time.monotonic() + 30
        while (wrong := [each for each in statuses(production).values() if not each.good]) and time.monotonic() < end:
            select.select([], [], [], 0.1)
        assert wrong == []
        assert production.pings("alice", "192.0.2.3")
        asyncio.run(drive(dict(content)))
        assert asyncio.run(FRR.look(production.switches["a"], {"underlay": content["a"]})) == {}
    finally:
        asyncio.run(drive(dict.fromkeys(content)))


def test_what_is_wrong_is_read_by_resource(production: Fabric) -> None:
    """A cable pulled, a bridge gone, a filter gone, frames dropped: each is told of the resource that it concerns, with the reason."""
    production.send("alice", *[frame(A, BROADCAST, 0x88CC, b"lldp")] * 3)
    found = statuses(production)
    assert {each.state for each in found.values()} == {"up"}
    facts = found["port/alice"].facts
    assert facts is not None
    assert facts["dropped"]["ethertype"] >= 3

    production.on("b", "ip", "link", "set", "l-bc", "down")
    production.on("a", "nft", "delete", "table", "bridge", "nnix")
    production.on("c", "ip", "link", "del", "br-peering")
    production.on("erin", "ip", "link", "set", "eth0", "down")
    found = statuses(production)
    production.on("erin", "ip", "link", "set", "eth0", "up")

    assert (found["link/bc"].good, found["link/bc"].reason) == (False, "no carrier at b; no carrier at c")
    assert found["link/ab"].good
    assert (found["lan/peering"].state, found["lan/peering"].reason) == ("partial", "not whole at c")
    assert "is not guarded" in found["port/alice"].reason
    assert "it is in no bridge" in found["port/carol"].reason
    assert "no light from the member" in found["port/erin"].reason
    assert found["port/bob"].good


@pytest.mark.parametrize("state", ["quarantine", "drained", "reserved", "suspended"])
def test_a_port_is_read_in_its_state(fabric: Fabric, state: str) -> None:
    """And it is as it should be."""
    fabric.move(exchange({"alice": state}))
    assert (statuses(fabric)["port/alice"].state, statuses(fabric)["port/alice"].good) == (state, True)


def test_taking_away_leaves_nothing(fabric: Fabric) -> None:
    """No bridge, no tunnel, no table, no address, no file; settings as they were; wires are still plugged in, and dark."""
    fabric.move(exchange())

    async def go() -> None:
        for switch in switches(fabric.snapshot):
            host = fabric.switches[switch.machine]
            for name in ("static", "fabric"):
                await IPROUTE.drive(host, name, None)
            await NFTABLES.drive(host, "ports", None)

    asyncio.run(go())
    links = fabric.on("a", "ip", "-o", "link").stdout
    assert "br-peering" not in links
    assert "vx-peering" not in links
    assert "p-alice" in links
    assert "10.255.0.1" not in fabric.on("a", "ip", "-o", "addr").stdout
    assert fabric.on("a", "nft", "list", "ruleset").stdout == ""
    assert not [path for path in Path(fabric.switches["a"].home).rglob("*") if path.is_file()]
