"""Spells a switch for FRR: how tunnel ends find one another over the links.

OSPF (RFC 2328) with point-to-point interfaces, unnumbered; the cost of a link is its latency in steps of 10 µs, so that
frames go the quickest way. BFD (RFC 5880) on each link finds a cut that keeps its light. What a router has to say is said
at once (FRR waits 5 s between two originations), since a link that returns should be used again. zebra keeps no nexthop groups in the kernel: FRR 8.4 loses track of them when the second uplink
flaps, and then black-holes.
"""

from __future__ import annotations

from collections.abc import Iterator

from nnix.planes.fabric.names import LOOPBACK
from nnix.planes.fabric.policy import LinkEnd, Switch

BFD_MISSES = 3
COST_MICROSECONDS = 10
COST_MAX = 65535  # RFC 2328, A.4.2: 16 bits
HELLO_SECONDS, DEAD_SECONDS = 1, 4


def cost(latency_microseconds: int) -> int:
    """OSPF's cost of a link, 1..65535: 655 ms and more are all the same."""
    return min(COST_MAX, max(1, round(latency_microseconds / COST_MICROSECONDS)))


def spell(switch: Switch) -> bytes:
    """The artifact for the driver frr: one integrated configuration. Its first line names the daemons that run it."""
    overlay = bool(switch.reflectors or switch.clients)
    lines = [
        f"! daemons: zebra bfdd ospfd{' bgpd' if overlay else ''}",
        "frr defaults traditional",
        f"hostname {switch.machine}",
        "no zebra nexthop kernel enable",
        "!",
        *_bfd(switch),
        f"interface {LOOPBACK}",
        " ip ospf area 0",
        " ip ospf passive",
        "exit",
        "!",
    ]
    for link in sorted(switch.links, key=lambda each: each.interface):
        lines += [
            f"interface {link.interface}",
            " ip ospf area 0",
            " ip ospf bfd",
            f" ip ospf bfd profile {_profile(link)}",
            f" ip ospf cost {cost(link.latency_microseconds)}",
            f" ip ospf dead-interval {DEAD_SECONDS}",
            f" ip ospf hello-interval {HELLO_SECONDS}",
            " ip ospf network point-to-point",
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
    if overlay:
        lines += _evpn(switch)
    return "".join(f"{line}\n" for line in lines).encode()


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
    for lan in switch.lans:
        if not lan.private:
            yield from (f"  vni {lan.vni}", f"   route-target import {switch.vtep}:0", "  exit-vni")
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
