"""Spells a switch for FRR: how tunnel ends find one another over the links.

OSPF (RFC 2328) with point-to-point interfaces, unnumbered; the cost of a link is its latency in steps of 10 µs, so that
frames go the quickest way. zebra keeps no nexthop groups in the kernel: FRR 8.4 loses track of them when the second uplink
flaps, and then black-holes.
"""

from __future__ import annotations

from nnix.planes.fabric.names import LOOPBACK
from nnix.planes.fabric.policy import LinkEnd, Switch

COST_MICROSECONDS = 10
COST_MAX = 65535  # RFC 2328, A.4.2: 16 bits
HELLO_SECONDS, DEAD_SECONDS = 1, 4


def cost(link: LinkEnd) -> int:
    """OSPF's cost of a link, 1..65535: 655 ms and more are all the same."""
    return min(COST_MAX, max(1, round(link.latency_microseconds / COST_MICROSECONDS)))


def spell(switch: Switch) -> bytes:
    """The artifact for the driver frr: one integrated configuration. Its first line names the daemons that run it."""
    lines = [
        "! daemons: zebra ospfd",
        "frr defaults traditional",
        f"hostname {switch.machine}",
        "no zebra nexthop kernel enable",
        "!",
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
            f" ip ospf cost {cost(link)}",
            f" ip ospf dead-interval {DEAD_SECONDS}",
            f" ip ospf hello-interval {HELLO_SECONDS}",
            " ip ospf network point-to-point",
            "exit",
            "!",
        ]
    lines += [
        "router ospf",
        f" ospf router-id {switch.vtep}",
        " timers throttle spf 10 50 1000",
        "exit",
        "!",
    ]
    return "".join(f"{line}\n" for line in lines).encode()
