"""Spells a switch for iproute2: bridges, tunnels, ports, forwarding entries, and addresses beneath.

The tunnel end's address stands on the loopback and again on each link: the links are unnumbered (RFC 5309), so a new link
needs no numbers of its own and none can change.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface

from nnix.daemons.iproute.facts import FLOOD, Addr, Bridge, Fact, Fdb, Shaper, Sysctl, Vxlan, Wire, encode
from nnix.planes.fabric.names import LOOPBACK, QUARANTINE_BRIDGE
from nnix.planes.fabric.policy import Attachment, LanEnd, Switch

# rp_filter: on an unnumbered link the way back may be another one. ipv6 on bridges: addrgenmode is none on each of them.
SETTINGS = {"net.ipv4.ip_forward": "1", "net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0"}


# Where br_netfilter is loaded, members' packets would be put through the switch's own iptables, reassembled and tracked.
BRIDGED_SETTINGS = tuple(f"net.bridge.bridge-nf-call-{tables}" for tables in ("iptables", "ip6tables", "arptables"))


def shaper(interface: str, bits_per_second: int) -> Shaper:
    """A token bucket as narrow as that. It holds a jiffy's worth, or the bucket itself would be the bottleneck."""
    burst = max(131072, bits_per_second // 8 // 250)
    return Shaper(dev=interface, rate_bits_per_second=bits_per_second, burst_octets=min(burst, 2**31 - 1))


def spell(switch: Switch) -> bytes:
    """The artifact for the driver iproute."""
    return encode(_facts(switch))


def _facts(switch: Switch) -> Iterator[Fact]:
    yield from (Sysctl(sysctl=name, value=value) for name, value in SETTINGS.items())
    yield from (Sysctl(sysctl=name, value="0", optional=True) for name in BRIDGED_SETTINGS)
    yield Wire(link=LOOPBACK)
    yield from (Addr(addr=IPv4Interface(switch.vtep), dev=dev) for dev in (LOOPBACK, *(each.interface for each in switch.links)))
    yield from (Wire(link=each.interface, mtu=each.mtu, of=each.of) for each in switch.links)
    for end in switch.lans:
        yield from _lan(switch, end)
    if any(each.bridge == QUARANTINE_BRIDGE for each in switch.attachments):
        yield Bridge(link=QUARANTINE_BRIDGE)
    for each in switch.attachments:
        yield from _attachment(each)


def _lan(switch: Switch, end: LanEnd) -> Iterator[Fact]:
    yield Bridge(link=end.bridge, mtu=end.mtu)
    if end.vxlan is None:
        return
    # On a circuit nobody is known: what has no entry of its own goes to every end (RFC 7348, 4.2).
    yield Vxlan(
        link=end.vxlan, mtu=end.mtu, master=end.bridge, vni=end.vni, local=switch.vtep, isolated=end.tunnel_isolated, flood=end.private
    )
    yield from (Fdb(fdb=FLOOD, dev=end.vxlan, dst=vtep) for vtep in end.flood)
    yield from (Fdb(fdb=mac, dev=end.vxlan, dst=vtep) for mac, vtep in end.far)


def _attachment(each: Attachment) -> Iterator[Fact]:
    yield Wire(
        link=each.interface,
        mtu=each.mtu,
        master=each.bridge,
        up=each.up,
        isolated=each.isolated,
        learning=each.learns,
        flood=each.private,
        of=each.of,
    )
    if each.rate_bits_per_second is not None:
        yield shaper(each.interface, each.rate_bits_per_second)
    if each.bridge is not None:
        yield from (Fdb(fdb=mac, dev=each.interface) for mac in each.macs)
