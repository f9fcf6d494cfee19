"""Spells a switch for iproute2: bridges, tunnels, ports, forwarding entries, and addresses beneath.

The tunnel end's address stands on the loopback and again on each link: the links are unnumbered (RFC 5309), so a new link
needs no numbers of its own and none can change.

Answering for neighbours (RFC 9161) is the bridge's own work: it looks for the address among its neighbours and for the MAC address in its
forwarding table, and where that leads to a port with `neigh_suppress`, it answers at the port where the question came in. The tunnel is such a
port, so whoever is at another site is answered for, and no such question crosses the fabric. One for somebody at the same site
is not carried over the fabric either, and he answers it himself: Linux has no way to answer both ARP and ND for those plugged in here. With
`proxy_arp` a port hears no broadcast or multicast at all, neighbour solicitations neither, which that flag does not answer; with
`proxy_arp_wifi` ARP would be answered, but solicitations for those plugged in here would be kept from them. With
`neigh_suppress` on a member's port its own questions would go unanswered.

That is just right for a port whose router is being replaced (two MAC addresses registered): what it says of itself must reach everybody, and from
a port with `neigh_suppress` it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from nnix.daemons.iproute.facts import (
    FACTS_KEPT,
    FLOOD,
    Addr,
    Behaviour,
    Bridge,
    Fact,
    Fdb,
    Neighbour,
    Route,
    Shaper,
    Sid,
    Sysctl,
    Vlan,
    Vxlan,
    Wire,
    encode,
)
from nnix.planes.fabric import srv6
from nnix.planes.fabric.names import LOOPBACK, QUARANTINE_BRIDGE, SEGMENTS
from nnix.planes.fabric.policy import Attachment, LanEnd, Switch

# rp_filter: on an unnumbered link the way back may be another one. arp_ignore: a switch answers for an address only where it stands, or who is
# behind a port would hear of tunnel ends. ipv6 on bridges: addrgenmode is none on each of them, so IPv6
# is forwarded between links only. It always is: zebra shows it among its own lines, and later on it would look like a hand edit there.
SETTINGS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.arp_ignore": "1",
    "net.ipv6.conf.all.forwarding": "1",
}


# Where br_netfilter is loaded, members' packets would be put through the switch's own iptables, reassembled and tracked.
BRIDGED_SETTINGS = tuple(f"net.bridge.bridge-nf-call-{tables}" for tables in ("iptables", "ip6tables", "arptables"))


EVERYWHERE: tuple[Fact, ...] = (
    *(Sysctl(sysctl=name, value=value) for name, value in SETTINGS.items()),
    *(Sysctl(sysctl=name, value="0", optional=True) for name in BRIDGED_SETTINGS),
    Wire(link=LOOPBACK),
)


def shaper(interface: str, bits_per_second: int) -> Shaper:
    """A token bucket as narrow as that. It holds a jiffy's worth, or the bucket itself would be the bottleneck."""
    burst = max(131072, bits_per_second // 8 // 250)
    return Shaper(dev=interface, rate_bits_per_second=bits_per_second, burst_octets=min(burst, 2**31 - 1))


def spell(switch: Switch) -> bytes:
    """The artifact for the driver iproute."""
    return encode(_facts(switch))


def _facts(switch: Switch) -> Iterator[Fact]:
    yield from EVERYWHERE
    yield from (Addr(addr=IPv4Interface(switch.vtep), dev=dev) for dev in (LOOPBACK, *(each.interface for each in switch.links)))
    yield from (Wire(link=each.interface, mtu=each.mtu, of=each.of) for each in switch.links)
    yield from _segments(switch)
    for end in switch.lans:
        yield from _lan(switch, end)
    if any(each.bridge == QUARANTINE_BRIDGE for each in switch.attachments):
        yield Bridge(link=QUARANTINE_BRIDGE)
    for each in switch.attachments:
        yield from _attachment(each)


def _segments(switch: Switch) -> Iterator[Fact]:
    """What this switch does for pinned circuits. Segments are routes to a behaviour, so what is not declared here is not done."""
    if switch.routes_v6:
        # A link that came back would not be used for a second or two while its address is looked for elsewhere; a cable has two ends.
        yield from (
            Sysctl(sysctl=f"net.ipv6.conf.{name}.accept_dad", value="0") for name in ("all", *(each.interface for each in switch.links))
        )
    if switch.passed or switch.pinned_end:
        yield Bridge(link=SEGMENTS, mtu=max((each.mtu for each in switch.links), default=None))  # tunnels fit their packets to it
        yield Addr(addr=srv6.locator(switch.vtep), dev=LOOPBACK)
    if switch.passed:
        yield Sid(sid=srv6.end(switch.vtep), behaviour=Behaviour.END, dev=SEGMENTS)
    if switch.pinned_end:
        yield Sid(sid=srv6.end_dt6(switch.vtep), behaviour=Behaviour.END_DT6, dev=SEGMENTS)


def _lan(switch: Switch, end: LanEnd) -> Iterator[Fact]:
    yield Bridge(link=end.bridge, mtu=end.mtu, mac=end.mac)
    if end.vxlan is None:
        return
    # On a circuit nobody is known: what has no entry of its own goes to every end (RFC 7348, 4.2).
    yield Vxlan(
        link=end.vxlan,
        mtu=end.mtu,
        master=end.bridge,
        vni=end.vni,
        local=end.pin.local if end.pin else switch.vtep,
        isolated=end.tunnel_isolated,
        flood=end.private,
        neigh_suppress=end.neighbours is not None,
        # A batch of TCP segments (GSO) inside an envelope is taken for one packet that is too big, and dropped: 0.15 instead of 1,800 Mbit/s.
        gso_max_segs=1 if end.pin else None,
    )
    if end.pin:
        # On the bridge, not the loopback: OSPFv3 must not announce these, or its routes would lead past the segments.
        yield Addr(addr=IPv6Interface(end.pin.local), dev=SEGMENTS)
        yield from (
            Route(route=IPv6Network(far), dev=SEGMENTS, segments=end.pin.segments) for far in end.flood if isinstance(far, IPv6Address)
        )
    yield from (Fdb(fdb=FLOOD, dev=end.vxlan, dst=vtep) for vtep in end.flood)
    yield from (_behind(mac, end.vxlan, vtep) for mac, vtep in end.far)
    yield from (_answered(address, end.bridge, mac) for address, mac in end.neighbours or ())


# What is said of a member is said to every switch but its own, in the same words, and again with every change.


@lru_cache(maxsize=FACTS_KEPT)
def _behind(mac: str, tunnel: str, vtep: IPv4Address) -> Fdb:
    return Fdb(fdb=mac, dev=tunnel, dst=vtep)


@lru_cache(maxsize=FACTS_KEPT)
def _answered(address: IPv4Address | IPv6Address, bridge: str, mac: str) -> Neighbour:
    return Neighbour(neighbour=address, dev=bridge, mac=mac)


def _attachment(each: Attachment) -> Iterator[Fact]:
    wire = Wire(
        link=each.interface,
        mtu=each.mtu,
        master=each.bridge,
        up=each.up,
        isolated=each.isolated,
        learning=each.learns,
        flood=each.private,
        neigh_suppress=each.moving,
        of=each.of,
    )
    if each.cable:
        yield wire
    elif each.tunnel is not None and each.bridge is not None:
        yield Vxlan(**dict(wire) | {"type": "vxlan"}, vni=each.tunnel.vni, local=each.tunnel.ours)
        yield Fdb(fdb=FLOOD, dev=each.interface, dst=each.tunnel.theirs)
    elif each.tag is not None and each.bridge is not None:
        yield Vlan(**dict(wire) | {"type": "vlan"}, over=each.tag.cable, vlan=each.tag.vlan)
    else:
        return
    if each.gateway is not None:
        yield Addr(addr=IPv4Interface(each.gateway.ours), dev=each.interface)
        yield Route(route=IPv4Network(each.gateway.theirs), dev=each.interface)
    if each.rate_bits_per_second is not None:
        yield shaper(each.interface, each.rate_bits_per_second)
    if each.bridge is not None:
        yield from (Fdb(fdb=mac, dev=each.interface) for mac in each.macs)
