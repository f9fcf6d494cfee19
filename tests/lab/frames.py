"""What members put on their wires: frames byte by byte, those that are in order and those that are attacks.

ATTACKS and LEGITIMATE are functions of a scene (who sends, who is near at the same site, who is far at another one) and of a token that
is found again in whatever arrives. None of them touches a wire, so the same attack is made from every port of any exchange.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network, ip_address
from typing import TypeVar

from nnix.planes.fabric.compile import link_local

BROADCAST = "ff:ff:ff:ff:ff:ff"
UNSPECIFIED = "0.0.0.0"  # noqa: S104 - a sender without address, no socket
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
NOBODY = "02:00:5e:10:00:99"
AWAY_V4, BEYOND_V4 = "100.64.7.9", "100.64.8.9"  # of no LAN: what customers of members send to one another
AWAY_V6, BEYOND_V6 = "3fff:fe::9", "3fff:fd::9"

PEERING_V4 = IPv4Network("192.0.2.0/24")

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
SNAP = b"\xaa\xaa\x03\0\0\0"  # RFC 1042: an ethertype in a frame of IEEE 802.3
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58


@dataclass(frozen=True)
class Station:
    """A router on a LAN. Without an address of its own in a family it has none there but, in IPv6, the link-local one."""

    mac: str
    v4: str
    v6: str | None = None

    @property
    def local(self) -> str:
        """The link-local address."""
        return str(link_local(self.mac))

    @property
    def ip6(self) -> str:
        return self.v6 or self.local


@dataclass(frozen=True)
class Scene:
    """Who sends, and two others of the same LAN: one at the same site, one at another."""

    me: Station
    near: Station
    far: Station
    lan: IPv4Network = PEERING_V4

    @property
    def broadcast(self) -> str:
        return str(self.lan.broadcast_address)

    @property
    def network(self) -> str:
        return str(self.lan.network_address)


Make = Callable[[Scene, bytes], bytes]


# --- frames


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def frame(source: str, destination: str, ethertype: int, payload: bytes, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    """At least 60 octets. `tags`: (protocol, VLAN) from the outermost."""
    tagged = b"".join(struct.pack("!HH", protocol, vlan) for protocol, vlan in tags)
    return (octets(destination) + octets(source) + tagged + struct.pack("!H", ethertype) + payload).ljust(60, b"\0")


def arp(
    source: str,
    sender: str,
    target: str,
    token: bytes,
    *,
    inner: str | None = None,
    operation: int = 1,
    to: str = BROADCAST,
    target_mac: str = "00:00:00:00:00:00",
    hardware: int = 1,
    protocol: int = IPV4,
    lengths: tuple[int, int] = (6, 4),
) -> bytes:
    body = struct.pack("!HHBBH", hardware, protocol, *lengths, operation) + octets(inner or source) + ip_address(sender).packed
    return frame(source, to, ARP, body + octets(target_mac) + ip_address(target).packed + token)


def v4(
    source: str,
    to: str,
    sender: str,
    target: str,
    protocol: int,
    body: bytes,
    ttl: int = 64,
    *,
    options: bytes = b"",
    fragment: int = 0,
    behind: bytes = b"",
    length: int | None = None,
) -> bytes:
    """`fragment`: flags and offset as they stand in the head (RFC 791, 3.1). `behind`: octets behind the packet's end. `length`: a total that lies."""
    addresses = ip_address(sender).packed + ip_address(target).packed
    size = 20 + len(options + body)
    said = size if length is None else length
    head = (
        struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, said, 7 if fragment else 0, fragment, ttl, protocol, 0) + addresses + options
    )
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return frame(source, to, IPV4, head + body + behind)


Chain = tuple[int, bytes]
"""Extension headers: the number of the first, and all of them; the last names the protocol."""


def v6(
    source: str,
    to: str,
    sender: str,
    target: str,
    protocol: int,
    body: bytes,
    hops: int = 64,
    chain: Chain | None = None,
    *,
    behind: bytes = b"",
    length: int | None = None,
    flow: int = 0,
) -> bytes:
    """`behind`: octets behind the packet's end. `length`: a payload length that lies. `flow`: the flow label."""
    first, before = chain or (protocol, b"")
    addresses = ip_address(sender).packed + ip_address(target).packed
    said = len(before + body) if length is None else length
    return frame(source, to, IPV6, struct.pack("!IHBB", 6 << 28 | flow, said, first, hops) + addresses + before + body + behind)


def udp(source_port: int, port: int, token: bytes) -> bytes:
    return struct.pack("!HHHH", source_port, port, 8 + len(token), 0) + token


def vxlan(vni: int, inner: bytes) -> bytes:
    """What stands in the UDP packet of a tunnel (RFC 7348, 5)."""
    return struct.pack("!II", 0x08000000, vni << 8) + inner


def tcp(source_port: int, port: int, token: bytes) -> bytes:
    return struct.pack("!HHIIHHHH", source_port, port, 1, 1, 5 << 12 | 0x10, 1000, 0, 0) + token


def icmp6(sender: str, target: str, kind: int, body: bytes) -> bytes:
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = ip_address(sender).packed + ip_address(target).packed + struct.pack("!II", len(message), ICMPV6)
    return message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def solicited(address: str) -> tuple[str, str]:
    """Where a neighbour solicitation for `address` goes: group and its MAC address (RFC 4291, 2.7.1)."""
    last = ip_address(address).packed[-3:]
    return str(ip_address(bytes.fromhex("ff0200000000000000000001ff") + last)), "33:33:ff:" + last.hex(":")


# --- extension headers

OPTIONS = bytes([1, 4, 0, 0, 0, 0])  # PadN, so that an options header has 8 octets
HEADERS = {
    "hop-by-hop options": 0, "a routing header": 43, "an authentication header": 51, "destination options": 60, "a mobility header": 135,
    "HIP": 139, "Shim6": 140, "header 253": 253, "header 254": 254,
}  # fmt: skip


def header(kind: int, following: int) -> bytes:
    """One extension header of `kind` that names what follows, 8 octets; an authentication header has 16 (RFC 4302)."""
    if kind == 51:
        return bytes([following, 2]) + bytes(14)
    if kind == 43:
        return bytes([following, 0, 4, 0, 0, 0, 0, 0])
    return bytes([following, 0]) + OPTIONS


def fragment(following: int, offset_octets: int, *, more: bool) -> bytes:
    return struct.pack("!BBHI", following, 0, offset_octets | more, 7)


def behind(kind: int, protocol: int = ICMPV6) -> Chain:
    return (kind, header(kind, protocol))


def in_fragment(offset_octets: int, protocol: int = ICMPV6, before: int | None = None) -> Chain:
    """In a first fragment (offset 0) or a later one; with a header of kind `before` in front of it."""
    piece = fragment(protocol, offset_octets, more=offset_octets == 0)
    return (44, piece) if before is None else (before, header(before, 44) + piece)


# --- packets in pieces, RFC 7112: what is looked for lies behind the end of the first

MORE = 0x2000  # IPv4: more fragments follow
HARMLESS = struct.pack("!HHHH", 9, 9, 16, 0)  # a head behind a packet's end, for whoever reads on there
FILLING = {"hop-by-hop options": 0, "a routing header": 43, "a fragment header": 44, "destination options": 60}
FIRST_OF = {"UDP": UDP, "ICMPv6": ICMPV6, "TCP": TCP}


def filled(kind: int, following: int) -> Chain:
    """A first fragment with nothing in it but one extension header, so that the head of `following` comes in the next."""
    inside = fragment(following, 0, more=False) if kind == 44 else header(kind, following)
    return (44, fragment(kind, 0, more=True) + inside)


def _first_piece(s: Scene, token: bytes, kind: int, following: int = UDP) -> bytes:
    """Filled by a header of `kind`; behind its end there is what looks like the head of a harmless packet."""
    return v6(s.me.mac, s.far.mac, s.me.local, s.far.local, 0, b"", 64, filled(kind, following), behind=HARMLESS + token)


def _unreadable(s: Scene, token: bytes, following: int) -> bytes:
    """Destination options that are longer than the fragment: nothing can be read behind them. The token is among the options."""
    options = bytes([following, 7, 1, 60]) + token.ljust(12, b"\0")
    return _to_far_v6(s, 0, b"", 64, (44, fragment(60, 0, more=True) + options))


def _hidden(s: Scene, token: bytes, kind: int) -> bytes:
    """A header that cannot be reached: one in front of it is said to be longer than the packet."""
    options = bytes([60, 7, 1, 60]) + token.ljust(12, b"\0")
    return _to_far_v6(s, 0, b"", 64, (44, fragment(60, 0, more=True) + options + header(60, kind)))


def _piece_behind(s: Scene, token: bytes, kind: int) -> bytes:
    """An empty first fragment behind a header of `kind`."""
    chain = (kind, header(kind, 44) + fragment(UDP, 0, more=True))
    return v6(s.me.mac, s.far.mac, s.me.local, s.far.local, 0, b"", 64, chain, behind=HARMLESS + token)


# --- neighbour discovery


def nd(
    me: Station,
    kind: int,
    sender: str,
    target: str,
    about: str,
    token: bytes,
    *,
    to: str,
    hops: int = 255,
    chain: Chain | None = None,
    options: bytes | None = None,
) -> bytes:
    """A neighbour solicitation (135) or advertisement (136) that is `about` an address, from the MAC address of `me`.

    The token stands behind the packet, which has no room for it: what Ethernet pads with.
    """
    flags = 0x20000000 if kind == 136 else 0
    given = link_layer(kind, me.mac) if options is None else options
    body = struct.pack("!I", flags) + ip_address(about).packed + given
    return v6(me.mac, to, sender, target, ICMPV6, icmp6(sender, target, kind, body), hops, chain) + token


def link_layer(kind: int, mac: str) -> bytes:
    """The link-layer address option of a solicitation (source) or an advertisement (target)."""
    return bytes([2 if kind == 136 else 1, 1]) + octets(mac)


def ns(s: Scene, sender: str, about: str, token: bytes, *, hops: int = 255) -> bytes:
    group, mac = solicited(about)
    return nd(s.me, 135, sender, group, about, token, to=mac, hops=hops)


def na(
    s: Scene, sender: str, about: str, token: bytes, *, whom: Station | None = None, hops: int = 255, chain: Chain | None = None
) -> bytes:
    target, to = (whom.ip6, whom.mac) if whom else (ALL_NODES, ALL_NODES_MAC)
    return nd(s.me, 136, sender, target, about, token, to=to, hops=hops, chain=chain)


def ra(s: Scene, token: bytes, chain: Chain | None = None, whom: Station | None = None) -> bytes:
    target, to = (whom.local, whom.mac) if whom else (ALL_NODES, ALL_NODES_MAC)
    body = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + token
    return v6(s.me.mac, to, s.me.local, target, ICMPV6, icmp6(s.me.local, target, 134, body), 255, chain)


# --- attacks


def _to_far(
    s: Scene,
    protocol: int,
    body: bytes,
    ttl: int = 64,
    *,
    options: bytes = b"",
    fragment: int = 0,
    behind: bytes = b"",
    length: int | None = None,
) -> bytes:
    return v4(s.me.mac, s.far.mac, s.me.v4, s.far.v4, protocol, body, ttl, options=options, fragment=fragment, behind=behind, length=length)


def _to_far_v6(s: Scene, protocol: int, body: bytes, hops: int = 64, chain: Chain | None = None, *, length: int | None = None) -> bytes:
    return v6(s.me.mac, s.far.mac, s.me.local, s.far.local, protocol, body, hops, chain, length=length)


def _group(s: Scene, mac: str, target: str, protocol: int, body: bytes, ttl: int = 1) -> bytes:
    return v4(s.me.mac, mac, s.me.v4, target, protocol, body, ttl)


def _group_v6(s: Scene, mac: str, target: str, protocol: int, body: bytes) -> bytes:
    return v6(s.me.mac, mac, s.me.local, target, protocol, body, 1)


def _tagged(s: Scene, token: bytes, *tags: tuple[int, int]) -> bytes:
    return frame(s.me.mac, s.far.mac, IPV4, _to_far(s, UDP, udp(9, 9, token))[14:], tags)


def _na_with(s: Scene, token: bytes, options: bytes) -> bytes:
    return nd(s.me, 136, s.me.ip6, ALL_NODES, s.me.ip6, token, to=ALL_NODES_MAC, options=options)


def _to_reserved(s: Scene, token: bytes, last: int) -> bytes:
    return frame(s.me.mac, f"01:80:c2:00:00:{last:02x}", 0x8809, token)


V = TypeVar("V")


def _each(form: str, values: Mapping[str, V], make: Callable[[Scene, bytes, V], bytes]) -> dict[str, Make]:
    """One attack for each value, called `form` with its name."""

    def bound(value: V) -> Make:
        return lambda scene, token: make(scene, token, value)

    return {form.format(name): bound(value) for name, value in values.items()}


MAC_ATTACKS: Mapping[str, Make] = {
    "unregistered MAC": lambda s, t: arp(NOBODY, s.me.v4, s.far.v4, t),
    "transit from an unregistered MAC": lambda s, t: v4(NOBODY, s.far.mac, AWAY_V4, BEYOND_V4, UDP, udp(9, 9, t)),
    "MAC of a member at another site": lambda s, t: v4(s.far.mac, s.near.mac, s.far.v4, s.near.v4, UDP, udp(9, 9, t)),
    "MAC of a member at this site": lambda s, t: v4(s.near.mac, s.far.mac, s.near.v4, s.far.v4, UDP, udp(9, 9, t)),
    "own address from another member's MAC": lambda s, t: v4(s.near.mac, s.far.mac, s.me.v4, s.far.v4, UDP, udp(9, 9, t)),
    "virtual router's MAC": lambda s, t: v4("00:00:5e:00:01:01", s.far.mac, s.me.v4, s.far.v4, UDP, udp(9, 9, t)),
    "group address as source": lambda s, t: arp("03:00:5e:10:00:01", s.me.v4, s.far.v4, t),
    "unknown unicast": lambda s, t: v4(s.me.mac, "02:00:5e:10:00:77", s.me.v4, AWAY_V4, UDP, udp(9, 9, t)),
    "unicast to a virtual router's MAC": lambda s, t: v4(s.me.mac, "00:00:5e:00:01:01", s.me.v4, AWAY_V4, UDP, udp(9, 9, t)),
    "zero as source": lambda s, t: arp("00:00:00:00:00:00", s.me.v4, s.far.v4, t, inner=s.me.mac),
    "broadcast as source": lambda s, t: arp(BROADCAST, s.me.v4, s.far.v4, t, inner=s.me.mac),
    "zero as destination": lambda s, t: v4(s.me.mac, "00:00:00:00:00:00", s.me.v4, s.far.v4, UDP, udp(9, 9, t)),
}

ETHERTYPES = {
    "MPLS": 0x8847, "PPPoE discovery": 0x8863, "PPPoE session": 0x8864, "loopback protocol": 0x9000, "EAPOL": 0x888E, "MACsec": 0x88E5,
    "CFM": 0x8902, "RARP": 0x8035, "Wake-on-LAN": 0x0842, "DECnet": 0x6003, "TRILL": 0x22F3, "an ethertype of nobody": 0x88B5,
    "PBB": 0x88E7, "pause frames": 0x8808, "LLDP to one member": 0x88CC, "PTP": 0x88F7, "B.A.T.M.A.N.": 0x4305, "FCoE": 0x8906, "NSH": 0x894F,
    "a length of 46": 46, "a length of 1500": 1500, "a number that is neither length nor type": 1501,
}  # fmt: skip

LINK_ATTACKS: Mapping[str, Make] = {
    "802.1Q tag": lambda s, t: _tagged(s, t, (0x8100, 7)),
    "priority tag": lambda s, t: frame(s.me.mac, BROADCAST, ARP, arp(s.me.mac, s.me.v4, s.far.v4, t)[14:], ((0x8100, 0),)),
    "QinQ": lambda s, t: _tagged(s, t, (0x88A8, 7), (0x8100, 7)),
    "QinQ of two 802.1Q tags": lambda s, t: _tagged(s, t, (0x8100, 7), (0x8100, 8)),
    "priority tag to one member": lambda s, t: _tagged(s, t, (0x8100, 0)),
    "802.1ad tag alone": lambda s, t: _tagged(s, t, (0x88A8, 7)),
    "802.1ad priority tag": lambda s, t: frame(s.me.mac, BROADCAST, ARP, arp(s.me.mac, s.me.v4, s.far.v4, t)[14:], ((0x88A8, 0),)),
    "tag 0x9100": lambda s, t: _tagged(s, t, (0x9100, 7)),
    "VLAN 4095": lambda s, t: _tagged(s, t, (0x8100, 4095)),
    "ARP in 802.3 with SNAP": lambda s, t: frame(s.me.mac, BROADCAST, 46, SNAP + b"\x08\x06" + arp(s.me.mac, s.far.v4, s.near.v4, t)[14:]),
    "IPv4 in 802.3 with SNAP": lambda s, t: frame(s.me.mac, s.far.mac, 60, SNAP + b"\x08\0" + _to_far(s, UDP, udp(9, 9, t))[14:]),
    **_each(
        "ARP to 01:80:c2:00:00:{}",
        {f"{last:02x}": last for last in (*range(16), 0x20, 0x21)},
        lambda s, t, last: arp(s.me.mac, s.me.v4, s.far.v4, t, to=f"01:80:c2:00:00:{last:02x}"),
    ),
    "STP": lambda s, t: frame(s.me.mac, "01:80:c2:00:00:00", 0x0026, b"\x42\x42\x03" + t),
    "PVST": lambda s, t: frame(s.me.mac, "01:00:0c:cc:cc:cd", 0x0032, b"\xaa\xaa\x03\x00\x00\x0c\x01\x0b" + t),
    "LACP": lambda s, t: frame(s.me.mac, "01:80:c2:00:00:02", 0x8809, b"\x01\x01" + t),
    "LACP to a member": lambda s, t: frame(s.me.mac, s.far.mac, 0x8809, b"\x01\x01" + t),
    "LLDP": lambda s, t: frame(s.me.mac, "01:80:c2:00:00:0e", 0x88CC, t),
    "CDP": lambda s, t: frame(s.me.mac, "01:00:0c:cc:cc:cc", 0x0032, b"\xaa\xaa\x03\x00\x00\x0c\x20\x00" + t),
    "IS-IS": lambda s, t: frame(s.me.mac, "01:80:c2:00:00:14", 0x0030, b"\xfe\xfe\x03" + t),
    **_each("{}", ETHERTYPES, lambda s, t, ethertype: frame(s.me.mac, s.far.mac, ethertype, t)),
    "IPv4 to a member in a broadcast frame": lambda s, t: v4(s.me.mac, BROADCAST, s.me.v4, s.far.v4, UDP, udp(9, 9, t)),
    "IPv6 to a member in a multicast frame": lambda s, t: v6(s.me.mac, ALL_NODES_MAC, s.me.ip6, s.far.ip6, UDP, udp(9, 9, t)),
    "ICMPv6 to a member in a multicast frame": lambda s, t: v6(
        s.me.mac, ALL_NODES_MAC, s.me.ip6, s.far.ip6, ICMPV6, icmp6(s.me.ip6, s.far.ip6, 128, bytes(4) + t)
    ),
    "ARP in a multicast frame": lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t, to="01:00:5e:00:00:01"),
    "IPv6 to a member in a solicited-node frame": lambda s, t: v6(
        s.me.mac, solicited(s.far.ip6)[1], s.me.ip6, s.far.ip6, UDP, udp(9, 9, t)
    ),
    "NS to all nodes": lambda s, t: nd(s.me, 135, s.me.ip6, ALL_NODES, s.far.ip6, t, to=ALL_NODES_MAC),
    "NS to the group of OSPF routers": lambda s, t: nd(s.me, 135, s.me.ip6, "ff02::5", s.far.ip6, t, to="33:33:00:00:00:05"),
    "NA to a solicited-node group": lambda s, t: nd(s.me, 136, s.me.ip6, solicited(s.far.ip6)[0], s.me.ip6, t, to=solicited(s.far.ip6)[1]),
    "NA to the group of mDNS": lambda s, t: nd(s.me, 136, s.me.ip6, "ff02::fb", s.me.ip6, t, to="33:33:00:00:00:fb"),
    "NA to a global group": lambda s, t: nd(s.me, 136, s.me.ip6, "ff0e::101", s.me.ip6, t, to="33:33:00:00:01:01"),
    "neighbour discovery in a broadcast frame": lambda s, t: nd(s.me, 136, s.me.ip6, ALL_NODES, s.me.ip6, t, to=BROADCAST),
}

ARP_ATTACKS: Mapping[str, Make] = {
    "ARP request for another's address": lambda s, t: arp(s.me.mac, s.far.v4, s.near.v4, t),
    "ARP reply for another's address": lambda s, t: arp(
        s.me.mac, s.far.v4, s.near.v4, t, operation=2, to=s.near.mac, target_mac=s.near.mac
    ),
    "gratuitous ARP for another's address": lambda s, t: arp(s.me.mac, s.far.v4, s.far.v4, t),
    "gratuitous ARP reply for another's address": lambda s, t: arp(s.me.mac, s.far.v4, s.far.v4, t, operation=2),
    "ARP for an address of nobody": lambda s, t: arp(s.me.mac, AWAY_V4, s.far.v4, t),
    "ARP with another's MAC inside": lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t, inner=s.far.mac),
    "ARP with nobody's MAC inside": lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t, inner=NOBODY),
    "ARP probe for another's address": lambda s, t: arp(s.me.mac, UNSPECIFIED, s.far.v4, t),
    "ARP request from another's address for the own": lambda s, t: arp(s.me.mac, s.far.v4, s.me.v4, t),
    "ARP answer from no address": lambda s, t: arp(s.me.mac, UNSPECIFIED, s.me.v4, t, operation=2),
    "reverse ARP": lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t, operation=3),
    "inverse ARP": lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t, operation=8),
    "ARP of another hardware type": lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t, hardware=6),
    "ARP of another protocol": lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t, protocol=0x0801),
    "ARP that ends too soon": lambda s, t: octets(BROADCAST) + octets(s.me.mac) + bytes.fromhex("0806000108000604") + t,
    "ARP with a hardware length that lies": lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t, lengths=(8, 4)),
    "ARP with a protocol length that lies": lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t, lengths=(6, 16)),
}

# IP protocols and ports of what routers of one network say to one another: with group addresses, and to one member.
PROTOCOLS_V6 = {"an authentication header": 51, "EIGRP": 88, "OSPF": 89, "PIM": 103, "VRRP": 112}
PROTOCOLS = {"IGMP": 2, **PROTOCOLS_V6}
PORTS_V4 = {
    "DHCP to a server": 67,
    "DHCP to a client": 68,
    "RIP": 520,
    "HSRP": 1985,
    "GLBP": 3222,
    "mDNS": 5353,
    "LLMNR": 5355,
    "Babel": 6696,
}
PORTS_V6 = {
    "RIPng": 521, "DHCPv6 to a client": 546, "DHCPv6 to a server": 547, "HSRP": 2029, "GLBP": 3222, "mDNS": 5353, "LLMNR": 5355, "Babel": 6696,
}  # fmt: skip
ICMP_KINDS = {"redirect": 5, "router advertisement": 9, "router solicitation": 10}
ICMPV6_KINDS = {
    "MLD query": 130, "MLD report": 131, "MLD done": 132, "RS": 133, "RA": 134, "redirect": 137, "router renumbering": 138,
    "node information query": 139, "node information reply": 140, "inverse ND solicitation": 141, "inverse ND advertisement": 142,
    "MLDv2 report": 143, "SEND path solicitation": 148, "SEND path advertisement": 149,
    "multicast router advertisement": 151, "multicast router solicitation": 152, "multicast router termination": 153,
    "fast handover": 154, "RPL": 155, "6LoWPAN duplicate address request": 157, "6LoWPAN duplicate address confirmation": 158,
}  # fmt: skip

# Addresses that no packet comes from, and none goes to, whoever forwards it (RFC 1122, 3.2.1.3; RFC 3927, 2.7).
NO_SOURCES_V4 = {each: each for each in (UNSPECIFIED, "127.0.0.1", "169.254.1.1", "224.0.0.1", "240.0.0.1", "255.255.255.255")}
NO_SOURCES_V6 = {each: each for each in ("::", "::1", "ff02::1", "::ffff:192.0.2.77")}
SOURCE_ROUTES = {"loose": 131, "strict": 137}

V4_ATTACKS: Mapping[str, Make] = {
    **_each("{} as source", NO_SOURCES_V4, lambda s, t, source: v4(s.me.mac, s.far.mac, source, s.far.v4, UDP, udp(9, 9, t))),
    "to 127.0.0.1 at a member": lambda s, t: v4(s.me.mac, s.far.mac, s.me.v4, "127.0.0.1", UDP, udp(9, 9, t)),
    "to 0.0.0.0 at a member": lambda s, t: v4(s.me.mac, s.far.mac, s.me.v4, UNSPECIFIED, UDP, udp(9, 9, t)),
    "to the LAN's broadcast address at a member": lambda s, t: v4(s.me.mac, s.far.mac, s.me.v4, s.broadcast, UDP, udp(9, 9, t)),
    "to the LAN's network address at a member": lambda s, t: v4(s.me.mac, s.far.mac, s.me.v4, s.network, UDP, udp(9, 9, t)),
    **_each(
        "{} source route", SOURCE_ROUTES, lambda s, t, kind: _to_far(s, UDP, udp(9, 9, t), options=bytes([kind, 7, 4, 192, 0, 2, 9, 0]))
    ),
    "mDNS behind IPv4 options": lambda s, t: _to_far(s, UDP, udp(5353, 5353, t), options=bytes([1]) * 40),
    "mDNS in a first fragment": lambda s, t: _to_far(s, UDP, udp(5353, 5353, t.ljust(16, b"\0")), fragment=MORE),
    "UDP head in a second fragment": lambda s, t: _to_far(s, UDP, b"", fragment=MORE, behind=HARMLESS + t),
    "UDP head in a second fragment, behind options": lambda s, t: _to_far(
        s, UDP, b"", fragment=MORE, options=bytes([1]) * 40, behind=HARMLESS + t
    ),
    "mDNS in a packet longer than its frame": lambda s, t: _to_far(s, UDP, udp(5353, 5353, t), length=1200),
    "ICMP redirect in a packet longer than its frame": lambda s, t: _to_far(s, ICMP, bytes([5, 1, 0, 0]) + bytes(4) + t, length=1200),
    "source address of another member": lambda s, t: v4(s.me.mac, s.far.mac, s.near.v4, s.far.v4, TCP, bytes(20) + t),
    "multicast data": lambda s, t: v4(s.me.mac, "01:00:5e:01:02:03", s.me.v4, "239.1.2.3", UDP, udp(9, 9, t)),
    "multicast data in a unicast frame": lambda s, t: v4(s.me.mac, s.far.mac, s.me.v4, "239.1.2.3", UDP, udp(9, 9, t)),
    "limited broadcast in a unicast frame": lambda s, t: v4(s.me.mac, s.far.mac, s.me.v4, "255.255.255.255", UDP, udp(9, 9, t)),
    "IPv4 broadcast": lambda s, t: v4(s.me.mac, BROADCAST, s.me.v4, "255.255.255.255", UDP, udp(9, 9, t)),
    "DHCP": lambda s, t: v4(s.me.mac, BROADCAST, UNSPECIFIED, "255.255.255.255", UDP, udp(68, 67, t)),
    "VRRP": lambda s, t: _group(s, "01:00:5e:00:00:12", "224.0.0.18", 112, t, 255),
    "VRRP from a virtual MAC": lambda s, t: v4("00:00:5e:00:01:01", "01:00:5e:00:00:12", s.me.v4, "224.0.0.18", 112, t, 255),
    "HSRP": lambda s, t: _group(s, "01:00:5e:00:00:02", "224.0.0.2", UDP, udp(1985, 1985, t)),
    "EIGRP": lambda s, t: _group(s, "01:00:5e:00:00:0a", "224.0.0.10", 88, t),
    "OSPF": lambda s, t: _group(s, "01:00:5e:00:00:05", "224.0.0.5", 89, t),
    "PIM": lambda s, t: _group(s, "01:00:5e:00:00:0d", "224.0.0.13", 103, t),
    "IGMP": lambda s, t: _group(s, "01:00:5e:00:00:16", "224.0.0.22", 2, t),
    "RIP": lambda s, t: _group(s, "01:00:5e:00:00:09", "224.0.0.9", UDP, udp(520, 520, t)),
    "LDP": lambda s, t: _group(s, "01:00:5e:00:00:02", "224.0.0.2", UDP, udp(646, 646, t)),
    "mDNS": lambda s, t: _group(s, "01:00:5e:00:00:fb", "224.0.0.251", UDP, udp(5353, 5353, t), 255),
    "LLMNR": lambda s, t: _group(s, "01:00:5e:00:00:fc", "224.0.0.252", UDP, udp(5353, 5355, t)),
    "SSDP": lambda s, t: _group(s, "01:00:5e:7f:ff:fa", "239.255.255.250", UDP, udp(1900, 1900, t)),
    "NetBIOS": lambda s, t: v4(s.me.mac, BROADCAST, s.me.v4, "255.255.255.255", UDP, udp(137, 137, t)),
    **_each("{} to one member", PROTOCOLS, lambda s, t, protocol: _to_far(s, protocol, t, 1)),
    **_each("{} over UDP to one member", PORTS_V4, lambda s, t, port: _to_far(s, UDP, udp(port, port, t))),
    **_each("ICMP {}", ICMP_KINDS, lambda s, t, kind: _to_far(s, ICMP, bytes([kind, 1, 0, 0]) + bytes(4) + t)),
}

V6_ATTACKS: Mapping[str, Make] = {
    **_each("{} head in a second fragment that nothing leads to", FIRST_OF, _unreadable),
    **_each("{} to one member, out of sight in a first fragment", PROTOCOLS_V6, _hidden),
    **_each("UDP head in a second fragment, the first one filled by {}", FILLING, _first_piece),
    **_each("{} head in a second fragment, the first one filled", FIRST_OF, lambda s, t, protocol: _first_piece(s, t, 60, protocol)),
    **_each("UDP head in a second fragment, the first one empty behind {}", HEADERS, _piece_behind),
    "UDP head in a second fragment, the first one empty": lambda s, t: v6(
        s.me.mac, s.far.mac, s.me.local, s.far.local, 0, b"", 64, (44, fragment(UDP, 0, more=True)), behind=HARMLESS + t
    ),
    "mDNS in a first fragment": lambda s, t: _to_far_v6(s, UDP, udp(5353, 5353, t.ljust(16, b"\0")), 64, in_fragment(0, UDP)),
    "mDNS in a fragment that is all": lambda s, t: _to_far_v6(s, UDP, udp(5353, 5353, t), 64, (44, fragment(UDP, 0, more=False))),
    **_each("mDNS to one member behind {}", HEADERS, lambda s, t, kind: _to_far_v6(s, UDP, udp(5353, 5353, t), 64, behind(kind, UDP))),
    "mDNS to one member behind twenty headers": lambda s, t: _to_far_v6(
        s, UDP, udp(5353, 5353, t), 64, (60, header(60, 60) * 19 + header(60, UDP))
    ),
    "mDNS in a jumbogram": lambda s, t: _to_far_v6(
        s, UDP, udp(5353, 5353, t), 64, (0, bytes([UDP, 0, 0xC2, 4]) + struct.pack("!I", 70000)), length=0
    ),
    "mDNS in a packet longer than its frame, IPv6": lambda s, t: _to_far_v6(s, UDP, udp(5353, 5353, t), length=1200),
    "OSPFv3 in a packet longer than its frame": lambda s, t: _to_far_v6(s, 89, t, 1, length=1200),
    "NA for another's address in a packet longer than its frame": lambda s, t: _to_far_v6(
        s,
        ICMPV6,
        icmp6(s.me.local, s.far.local, 136, bytes(4) + ip_address(s.near.local).packed + link_layer(136, s.me.mac)) + t,
        255,
        length=1200,
    ),
    "routing header of type 0": lambda s, t: _to_far_v6(
        s, UDP, udp(9, 9, t), 64, (43, bytes([UDP, 2, 0, 1, 0, 0, 0, 0]) + ip_address(s.near.ip6).packed)
    ),
    **_each("{} as source", NO_SOURCES_V6, lambda s, t, source: v6(s.me.mac, s.far.mac, source, s.far.local, UDP, udp(9, 9, t))),
    "RA": ra,
    "RA to one member": lambda s, t: ra(s, t, whom=s.far),
    **_each("RA behind {}", HEADERS, lambda s, t, kind: ra(s, t, behind(kind))),
    **_each("RA to one member behind {}", HEADERS, lambda s, t, kind: ra(s, t, behind(kind), s.far)),
    "RA in a first fragment": lambda s, t: ra(s, t, in_fragment(0)),
    "RA in a later fragment": lambda s, t: ra(s, t, in_fragment(8)),
    "RA to one member in a first fragment": lambda s, t: ra(s, t, in_fragment(0), s.far),
    "RA to one member in a later fragment": lambda s, t: ra(s, t, in_fragment(8), s.far),
    **_each("RA to one member in a later fragment behind {}", HEADERS, lambda s, t, kind: ra(s, t, in_fragment(8, before=kind), s.far)),
    "NA to one member in a first fragment without its head": lambda s, t: v6(
        s.me.mac, s.far.mac, s.me.local, s.far.local, ICMPV6, t, 255, (44, fragment(60, 0, more=True) + header(60, ICMPV6))
    ),
    "NA for another's address": lambda s, t: na(s, s.me.ip6, s.far.ip6, t),
    "NA for another's link-local address": lambda s, t: na(s, s.me.local, s.far.local, t),
    "NA from another's address": lambda s, t: na(s, s.far.ip6, s.me.ip6, t),
    "NA for another's address behind destination options": lambda s, t: na(s, s.me.ip6, s.far.ip6, t, chain=behind(60)),
    "NA to one member for another's address": lambda s, t: na(s, s.me.ip6, s.far.ip6, t, whom=s.near),
    "NA to one member in a later fragment": lambda s, t: na(s, s.me.ip6, s.me.ip6, t, whom=s.near, chain=in_fragment(8)),
    "NA with another's MAC inside": lambda s, t: _na_with(s, t, link_layer(136, s.far.mac)),
    "NA with another's MAC in a second option": lambda s, t: _na_with(s, t, link_layer(136, s.me.mac) + link_layer(136, s.far.mac)),
    "NA with another's MAC behind another option": lambda s, t: _na_with(s, t, bytes([14, 1]) + bytes(6) + link_layer(136, s.far.mac)),
    "NS with another's MAC inside": lambda s, t: nd(
        s.me, 135, s.me.ip6, s.far.ip6, s.far.ip6, t, to=s.far.mac, options=link_layer(135, s.near.mac)
    ),
    "NA from no address": lambda s, t: nd(s.me, 136, "::", ALL_NODES, s.me.ip6, t, to=ALL_NODES_MAC),
    "NA with a forged hop limit": lambda s, t: na(s, s.me.ip6, s.me.ip6, t, hops=64),
    "NS with a forged hop limit": lambda s, t: ns(s, s.me.ip6, s.far.ip6, t, hops=64),
    "NS from another's address": lambda s, t: ns(s, s.near.ip6, s.far.ip6, t),
    "NS from another's link-local address": lambda s, t: ns(s, s.near.local, s.far.ip6, t),
    "NS from an address outside of the LAN": lambda s, t: ns(s, AWAY_V6, s.far.ip6, t),
    "NS from an address outside of the LAN for the own": lambda s, t: ns(s, AWAY_V6, s.me.ip6, t),
    "duplicate address detection for another's address": lambda s, t: ns(s, "::", s.far.ip6, t),
    "source address of another member, IPv6": lambda s, t: v6(s.me.mac, s.far.mac, s.near.ip6, s.far.ip6, UDP, udp(9, 9, t)),
    "another's link-local source address": lambda s, t: v6(s.me.mac, s.far.mac, s.near.local, s.far.local, UDP, udp(9, 9, t)),
    "multicast data, IPv6": lambda s, t: v6(s.me.mac, "33:33:00:00:01:01", s.me.ip6, "ff0e::101", UDP, udp(9, 9, t)),
    "multicast data in a unicast frame, IPv6": lambda s, t: v6(s.me.mac, s.far.mac, s.me.ip6, "ff0e::101", UDP, udp(9, 9, t)),
    "echo to all nodes in a unicast frame": lambda s, t: v6(
        s.me.mac, s.far.mac, s.me.ip6, ALL_NODES, ICMPV6, icmp6(s.me.ip6, ALL_NODES, 128, bytes(4) + t)
    ),
    "MLD": lambda s, t: v6(
        s.me.mac, "33:33:00:00:00:16", s.me.local, "ff02::16", ICMPV6, icmp6(s.me.local, "ff02::16", 143, bytes(4) + t), 1, behind(0)
    ),
    "DHCPv6": lambda s, t: _group_v6(s, "33:33:00:01:00:02", "ff02::1:2", UDP, udp(546, 547, t)),
    "VRRP, IPv6": lambda s, t: _group_v6(s, "33:33:00:00:00:12", "ff02::12", 112, t),
    "EIGRP, IPv6": lambda s, t: _group_v6(s, "33:33:00:00:00:0a", "ff02::a", 88, t),
    "OSPFv3": lambda s, t: _group_v6(s, "33:33:00:00:00:05", "ff02::5", 89, t),
    "PIM, IPv6": lambda s, t: _group_v6(s, "33:33:00:00:00:0d", "ff02::d", 103, t),
    "RIPng": lambda s, t: _group_v6(s, "33:33:00:00:00:09", "ff02::9", UDP, udp(521, 521, t)),
    "mDNS, IPv6": lambda s, t: _group_v6(s, "33:33:00:00:00:fb", "ff02::fb", UDP, udp(5353, 5353, t)),
    "LLMNR, IPv6": lambda s, t: _group_v6(s, "33:33:00:01:00:03", "ff02::1:3", UDP, udp(5355, 5355, t)),
    **_each("{} to one member, IPv6", PROTOCOLS_V6, lambda s, t, protocol: _to_far_v6(s, protocol, t, 1)),
    **_each("{} to one member behind options", PROTOCOLS_V6, lambda s, t, protocol: _to_far_v6(s, protocol, t, 1, behind(60, protocol))),
    "OSPFv3 to one member in a fragment": lambda s, t: _to_far_v6(s, 89, t, 1, in_fragment(0, 89)),
    "OSPFv3 to a global address": lambda s, t: v6(s.me.mac, s.far.mac, s.me.ip6, s.far.ip6, 89, t, 1),
    **_each("{} over UDP to one member, IPv6", PORTS_V6, lambda s, t, port: _to_far_v6(s, UDP, udp(port, port, t))),
    "mDNS to a global address": lambda s, t: v6(s.me.mac, s.far.mac, s.me.ip6, s.far.ip6, UDP, udp(5353, 5353, t)),
    "DHCPv6 to one member behind destination options": lambda s, t: _to_far_v6(s, UDP, udp(547, 546, t), 64, behind(60, UDP)),
    **_each(
        "ICMPv6 {} to one member",
        ICMPV6_KINDS,
        lambda s, t, kind: _to_far_v6(s, ICMPV6, icmp6(s.me.local, s.far.local, kind, bytes(36) + t), 255),
    ),
}

ATTACKS: Mapping[str, Make] = {**MAC_ATTACKS, **LINK_ATTACKS, **ARP_ATTACKS, **V4_ATTACKS, **V6_ATTACKS}

# BGP between addresses of the LAN, both ways of a session: nothing but right, unless one of the two ports is drained.
BGP: Mapping[str, Make] = {
    "BGP to a server": lambda s, t: _to_far(s, TCP, tcp(50000, 179, t), 255),
    "BGP from a server": lambda s, t: _to_far(s, TCP, tcp(179, 50000, t), 255),
    "BGP to a server, IPv6": lambda s, t: v6(s.me.mac, s.far.mac, s.me.ip6, s.far.ip6, TCP, tcp(50000, 179, t), 255),
    "BGP from a server, IPv6": lambda s, t: v6(s.me.mac, s.far.mac, s.me.ip6, s.far.ip6, TCP, tcp(179, 50000, t), 255),
    "BGP to a server, link-local": lambda s, t: _to_far_v6(s, TCP, tcp(50000, 179, t), 255),
    "BGP from a server, link-local": lambda s, t: _to_far_v6(s, TCP, tcp(179, 50000, t), 255),
}


def _bgp_past(s: Scene, token: bytes, *, v: int, server: bool, from_lan: bool) -> bytes:
    """A segment of BGP that has one end on the LAN and the other beyond: a session over several hops."""
    ports = (179, 50000) if server else (50000, 179)
    if v == 4:
        sender, target = (s.me.v4, BEYOND_V4) if from_lan else (AWAY_V4, s.far.v4)
        return v4(s.me.mac, s.far.mac, sender, target, TCP, tcp(*ports, token))
    sender, target = (s.me.ip6, BEYOND_V6) if from_lan else (AWAY_V6, s.far.ip6)
    return v6(s.me.mac, s.far.mac, sender, target, TCP, tcp(*ports, token))


# What is left of BGP at a drained port: sessions that do not stand between two members (RFC 8327, 3.2).
BGP_PAST: Mapping[str, Make] = {
    f"BGP {'from' if server else 'to'} a server {'beyond' if from_lan else 'on'} the LAN, IPv{v}": partial(
        _bgp_past, v=v, server=server, from_lan=from_lan
    )
    for v in (4, 6)
    for server in (False, True)
    for from_lan in (False, True)
}

# On a circuit: what speaks to the next bridge (IEEE 802.1Q, 8.6.3), which is ours, and a source that cannot be one.
CIRCUIT_ATTACKS: Mapping[str, Make] = {
    **_each("to 01:80:c2:00:00:{}", {f"{last:02x}": last for last in range(16)}, _to_reserved),
    "STP": lambda s, t: frame(s.me.mac, "01:80:c2:00:00:00", 0x0026, b"\x42\x42\x03" + t),
    "group address as source": lambda s, t: frame("03:00:5e:10:00:01", s.far.mac, IPV4, t),
}

# Whoever bought a circuit decides what it carries: tags, routing protocols, whatever.
CIRCUIT_LEGITIMATE: Mapping[str, Make] = {
    "IPv4": lambda s, t: v4(s.me.mac, s.far.mac, AWAY_V4, BEYOND_V4, UDP, udp(9, 9, t)),
    "IPv6": lambda s, t: v6(s.me.mac, s.far.mac, AWAY_V6, BEYOND_V6, UDP, udp(9, 9, t)),
    "802.1Q tag": lambda s, t: _tagged(s, t, (0x8100, 7)),
    "QinQ": lambda s, t: _tagged(s, t, (0x88A8, 7), (0x8100, 7)),
    "RA": ra,
    "OSPF": ATTACKS["OSPF"],
    "IS-IS": ATTACKS["IS-IS"],
    "PVST": ATTACKS["PVST"],
    "broadcast": lambda s, t: frame(s.me.mac, BROADCAST, 0x88B5, t),
    "unknown unicast": lambda s, t: frame(s.me.mac, "02:00:5e:10:00:77", 0x88B5, t),
    "another's MAC": lambda s, t: frame("02:00:5e:10:00:78", s.far.mac, 0x88B5, t),
}

ALL, FAR, NEAR = "all", "far", "near"
LEGITIMATE: Mapping[str, tuple[Make, str]] = {
    # Who is registered is answered for (RFC 9161), and who speaks of himself is known: across the fabric neither is heard.
    "ARP request for an address of nobody": (lambda s, t: arp(s.me.mac, s.me.v4, AWAY_V4, t), ALL),
    "neighbour solicitation for an address of nobody": (lambda s, t: ns(s, s.me.ip6, AWAY_V6, t), ALL),
    "ARP request": (lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t), NEAR),
    "ARP reply": (lambda s, t: arp(s.me.mac, s.me.v4, s.far.v4, t, operation=2, to=s.far.mac, target_mac=s.far.mac), FAR),
    "ARP probe for the own address": (lambda s, t: arp(s.me.mac, UNSPECIFIED, s.me.v4, t), NEAR),
    "neighbour solicitation": (lambda s, t: ns(s, s.me.ip6, s.far.ip6, t), NEAR),
    "neighbour solicitation to one member": (lambda s, t: nd(s.me, 135, s.me.ip6, s.far.ip6, s.far.ip6, t, to=s.far.mac), FAR),
    "neighbour solicitation from the link-local address": (lambda s, t: ns(s, s.me.local, s.far.ip6, t), NEAR),
    "neighbour advertisement": (lambda s, t: na(s, s.me.ip6, s.me.ip6, t), NEAR),
    "neighbour advertisement to one member": (lambda s, t: na(s, s.me.local, s.me.local, t, whom=s.near), NEAR),
    "neighbour advertisement without an option": (
        lambda s, t: nd(s.me, 136, s.me.ip6, s.far.ip6, s.me.ip6, t, to=s.far.mac, options=b""),
        FAR,
    ),
    "duplicate address detection with a nonce": (
        lambda s, t: nd(s.me, 135, "::", solicited(s.me.ip6)[0], s.me.ip6, t, to=solicited(s.me.ip6)[1], options=bytes([14, 1]) + bytes(6)),
        NEAR,
    ),
    "duplicate address detection for the own address": (lambda s, t: ns(s, "::", s.me.ip6, t), NEAR),
    "neighbour advertisement to all routers": (  # RFC 9131, 4
        lambda s, t: nd(s.me, 136, s.me.ip6, "ff02::2", s.me.ip6, t, to="33:33:00:00:00:02"),
        NEAR,
    ),
    "first fragment": (lambda s, t: _to_far(s, UDP, udp(9, 9, t.ljust(16, b"\0")), fragment=MORE), FAR),
    "later fragment": (lambda s, t: _to_far(s, UDP, t.ljust(16, b"\0"), fragment=MORE | 3), FAR),
    "later fragment that reads like mDNS": (lambda s, t: _to_far(s, UDP, udp(5353, 5353, t), fragment=3), FAR),
    "later fragment of an echo that reads like a redirect": (lambda s, t: _to_far(s, ICMP, b"\5\1" + t, fragment=3), FAR),
    "later fragment that reads like mDNS, IPv6": (  # Linux 6.18 looks for a port in the flow label then
        lambda s, t: v6(s.me.mac, s.far.mac, s.me.local, s.far.local, UDP, t, 64, in_fragment(24, UDP), flow=5353),
        FAR,
    ),
    "last fragment": (lambda s, t: _to_far(s, UDP, t, fragment=5), FAR),
    "first fragment, IPv6": (lambda s, t: _to_far_v6(s, UDP, udp(9, 9, t.ljust(16, b"\0")), 64, in_fragment(0, UDP)), FAR),
    "later fragment, IPv6": (lambda s, t: _to_far_v6(s, UDP, t.ljust(16, b"\0"), 64, in_fragment(24, UDP)), FAR),
    "later fragment of an echo, IPv6": (lambda s, t: _to_far_v6(s, ICMPV6, t, 64, in_fragment(1448, ICMPV6)), FAR),
    "echo that records its route": (
        lambda s, t: _to_far(s, ICMP, bytes([8, 0, 0, 0]) + bytes(4) + t, options=bytes([7, 7, 4, 0, 0, 0, 0, 0])),
        FAR,
    ),
    "an empty packet of GRE": (lambda s, t: _to_far(s, 47, bytes([0, 0, 8, 0]), behind=t), FAR),
    "IPv6 between members behind options": (lambda s, t: _to_far_v6(s, UDP, udp(9, 9, t), 64, behind(60, UDP)), FAR),
    "ESP": (lambda s, t: _to_far_v6(s, 50, bytes(8) + t, 255), FAR),
    "transit": (lambda s, t: v4(s.me.mac, s.far.mac, AWAY_V4, BEYOND_V4, UDP, udp(9, 9, t)), FAR),
    "transit to the same site": (lambda s, t: v4(s.me.mac, s.near.mac, AWAY_V4, BEYOND_V4, UDP, udp(9, 9, t)), NEAR),
    "transit of BGP": (lambda s, t: v4(s.me.mac, s.far.mac, AWAY_V4, BEYOND_V4, TCP, tcp(50000, 179, t)), FAR),
    "transit of EIGRP in a tunnel": (lambda s, t: v4(s.me.mac, s.far.mac, AWAY_V4, BEYOND_V4, 88, t), FAR),
    "transit of mDNS": (lambda s, t: v4(s.me.mac, s.far.mac, AWAY_V4, BEYOND_V4, UDP, udp(5353, 5353, t)), FAR),
    "IPv6 transit": (lambda s, t: v6(s.me.mac, s.far.mac, AWAY_V6, BEYOND_V6, UDP, udp(9, 9, t)), FAR),
    "IPv6 transit of OSPF": (lambda s, t: v6(s.me.mac, s.far.mac, AWAY_V6, BEYOND_V6, 89, t), FAR),
    "IPv6 transit of mDNS": (lambda s, t: v6(s.me.mac, s.far.mac, AWAY_V6, BEYOND_V6, UDP, udp(5353, 5353, t)), FAR),
    "IPv6 transit behind options": (
        lambda s, t: v6(s.me.mac, s.far.mac, AWAY_V6, BEYOND_V6, UDP, udp(9, 9, t), 60, behind(60, UDP)),
        FAR,
    ),
    "IPv6 transit in a fragment": (
        lambda s, t: v6(s.me.mac, s.far.mac, AWAY_V6, BEYOND_V6, UDP, udp(9, 9, t), 60, in_fragment(8, UDP)),
        FAR,
    ),
    "IPv4 between members": (lambda s, t: _to_far(s, UDP, udp(9, 9, t)), FAR),
    "IPv6 between members": (lambda s, t: v6(s.me.mac, s.far.mac, s.me.ip6, s.far.ip6, UDP, udp(9, 9, t)), FAR),
    "IPv6 between link-local addresses": (lambda s, t: _to_far_v6(s, UDP, udp(9, 9, t)), FAR),
    "ICMP echo": (lambda s, t: _to_far(s, ICMP, bytes([8, 0, 0, 0]) + bytes(4) + t), FAR),
    "ICMPv6 echo": (lambda s, t: v6(s.me.mac, s.far.mac, s.me.ip6, s.far.ip6, ICMPV6, icmp6(s.me.ip6, s.far.ip6, 128, bytes(4) + t)), FAR),
    "largest packet": (lambda s, t: v4(s.me.mac, s.far.mac, AWAY_V4, BEYOND_V4, UDP, udp(9, 9, t.ljust(1472, b"x"))), FAR),
    "GTSM to a neighbour": (lambda s, t: _to_far(s, TCP, bytes(20) + t, 255), FAR),
}


def storm(me: Station, token: bytes) -> bytes:
    """One frame of a storm: an ARP request that nobody can answer, so that it goes to all, as large as the LAN allows."""
    return arp(me.mac, me.v4, AWAY_V4, token.ljust(1472, b"\0"))
