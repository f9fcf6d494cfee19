"""Spells a switch for FRR: how tunnel ends find one another over the links.

OSPF (RFC 2328) with point-to-point interfaces, unnumbered; the cost of a link is its latency in steps of 10 µs, so that
frames go the quickest way. BFD (RFC 5880) on each link finds a cut that keeps its light. What a router has to say is said at once (FRR
waits 5 s between two originations), since a link that returns should be used again. zebra keeps no nexthop groups in the kernel: FRR 8.4
loses track of them when the second uplink flaps, and then black-holes.

Where a circuit is pinned, OSPFv3 (RFC 5340) does the same for IPv6 on the same links at the same costs and pace: the way to each chosen site
heals as all others do, which static routes would not. Where none is, it does not run: BFD counts twice then, and costs as much again.
"""

from __future__ import annotations

from collections.abc import Iterator

from nnix.planes.fabric.names import LOOPBACK
from nnix.planes.fabric.policy import LinkEnd, Switch

BFD_MISSES = 3
COST_MICROSECONDS = 10
COST_MAX = 65535  # RFC 2328, A.4.2: 16 bits
HELLO_SECONDS, DEAD_SECONDS = 1, 4
RETRANSMIT_SECONDS = 1  # where neighbours meet while both are starting, one message is often lost; by default five seconds are, too


def cost(latency_microseconds: int) -> int:
    """OSPF's cost of a link, 1..65535: 655 ms and more are all the same."""
    return min(COST_MAX, max(1, round(latency_microseconds / COST_MICROSECONDS)))


def spell(switch: Switch) -> bytes:
    """The artifact for the driver frr: one integrated configuration. Its first line names the daemons that run it."""
    overlay = switch.asn > 0 and bool(switch.reflectors or switch.clients)  # without an Exchange there is no AS to speak in
    lines = [
        f"! daemons: zebra bfdd ospfd{' ospf6d' if switch.routes_v6 else ''}{' bgpd' if overlay else ''}",
        "frr defaults traditional",
        f"hostname {switch.machine}",
        "no zebra nexthop kernel enable",
        "!",
        *_bfd(switch),
        f"interface {LOOPBACK}",
        " ip ospf area 0",
        " ip ospf passive",
        *([" ipv6 ospf6 area 0", " ipv6 ospf6 passive"] if switch.routes_v6 else []),
        "exit",
        "!",
    ]
    for link in sorted(switch.links, key=lambda each: each.interface):
        lines += [
            f"! link: {link.of} mtu {link.mtu}",
            f"interface {link.interface}",
            " ip ospf area 0",
            " ip ospf bfd",
            f" ip ospf bfd profile {_profile(link)}",
            f" ip ospf cost {cost(link.latency_microseconds)}",
            f" ip ospf dead-interval {DEAD_SECONDS}",
            f" ip ospf hello-interval {HELLO_SECONDS}",
            " ip ospf network point-to-point",
            f" ip ospf retransmit-interval {RETRANSMIT_SECONDS}",
            *(_v6(link) if switch.routes_v6 else ()),
            "exit",
            "!",
        ]
    lines += [
        "router ospf",
        f" ospf router-id {switch.vtep}",
        " timers throttle lsa all 50",
        " timers lsa min-arrival 20",
        " timers throttle spf 0 50 1000",
        "exit",
        "!",
    ]
    if switch.routes_v6:
        # Its router id is the tunnel end as well, which zebra finds on the loopback: ospf6d 8.4 starts anew whenever it is told one, even the same.
        lines += ["router ospf6", " timers throttle spf 0 50 1000", "exit", "!"]
    if overlay:
        lines += _evpn(switch)
    return "".join(f"{line}\n" for line in lines).encode()


def _v6(link: LinkEnd) -> Iterator[str]:
    """A link's lines for OSPFv3: as those for OSPF."""
    yield " ipv6 ospf6 area 0"
    yield f" ipv6 ospf6 bfd profile {_profile(link)}"
    yield f" ipv6 ospf6 cost {cost(link.latency_microseconds)}"
    yield f" ipv6 ospf6 dead-interval {DEAD_SECONDS}"
    yield f" ipv6 ospf6 hello-interval {HELLO_SECONDS}"
    yield " ipv6 ospf6 network point-to-point"
    yield f" ipv6 ospf6 retransmit-interval {RETRANSMIT_SECONDS}"


def _profile(link: LinkEnd) -> str:
    return f"every-{link.bfd_milliseconds}-ms"


def _bfd(switch: Switch) -> Iterator[str]:
    """One profile for each pace that links here have (RFC 5880, 6.8.2)."""
    yield "bfd"
    for profile, pace in sorted({(_profile(link), link.bfd_milliseconds) for link in switch.links}):
        yield from (
            f" profile {profile}",
            f"  detect-multiplier {BFD_MISSES}",
            f"  transmit-interval {pace}",
            f"  receive-interval {pace}",
            " exit",
            " !",
        )
    yield from ("exit", "!")


def _evpn(switch: Switch) -> Iterator[str]:
    """BGP inside the exchange's AS, EVPN routes only, between each switch and the reflectors (RFC 4456).

    Where everybody is registered, routes are announced and reflected, but none is taken in: what they could say stands in the kernel
    already, and outlives every BGP session. So such a LAN imports a target that nobody exports. A circuit needs no line here: what it has
    to tell is told (advertise-all-vni), and a wire has nothing to tell.
    """
    yield f"router bgp {switch.asn}"
    yield f" bgp router-id {switch.vtep}"
    yield " no bgp default ipv4-unicast"
    for end in (*switch.reflectors, *switch.clients):
        yield f" neighbor {end} remote-as {switch.asn}"
        yield f" neighbor {end} timers 3 9"
        yield f" neighbor {end} timers connect 1"
        yield f" neighbor {end} update-source {switch.vtep}"
    yield " !"
    yield " address-family l2vpn evpn"
    for end in (*switch.reflectors, *switch.clients):
        yield f"  neighbor {end} activate"
        if end in switch.clients:
            yield f"  neighbor {end} route-reflector-client"
        yield f"  neighbor {end} route-map REGISTERED in"
    yield "  advertise-all-vni"
    known = [lan.vni for lan in switch.lans if not lan.private]
    handed = [each.tunnel.vni for each in switch.attachments if each.tunnel is not None]  # a gateway's VNI is no other site's business
    for vni in (*known, *handed):
        yield from (f"  vni {vni}", f"   route-target import {switch.vtep}:0", "  exit-vni")
    yield from (" exit-address-family", "exit", "!")
    # To whom broadcast is copied is declared as well, and stays when no reflector is left.
    yield from (
        "route-map REGISTERED deny 1",
        " match evpn route-type multicast",
        "exit",
        "!",
        "route-map REGISTERED permit 2",
        "exit",
        "!",
    )
