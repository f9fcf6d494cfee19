"""What is never a route between networks: prefixes and ASNs that stand for no public network.

The lists are those of the NLNOG filter guide, each with its RFC. A laboratory is made of documentation and benchmarking
numbers, so an exchange that declares itself a lab does without these rows; the others hold there as well.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple


class BogonPrefix(NamedTuple):
    """A prefix that is refused with its more specifics; `lab`: a lab exchange is made of it."""

    prefix: IPv4Network | IPv6Network
    source: str
    lab: bool = False


class BogonAsns(NamedTuple):
    """ASNs that must not stand in a path; `lab`: a lab exchange is made of them."""

    first: int
    last: int
    source: str
    lab: bool = False


PREFIXES = tuple(
    BogonPrefix(ip_network(prefix), source, lab)
    for prefix, source, lab in (
        ("0.0.0.0/8", "RFC 1122, this network", False),
        ("10.0.0.0/8", "RFC 1918, private", False),
        ("100.64.0.0/10", "RFC 6598, shared by carrier-grade NAT", False),
        ("127.0.0.0/8", "RFC 1122, loopback", False),
        ("169.254.0.0/16", "RFC 3927, link local", False),
        ("172.16.0.0/12", "RFC 1918, private", False),
        ("192.0.0.0/24", "RFC 6890, IETF protocol assignments", False),
        ("192.0.2.0/24", "RFC 5737, documentation", True),
        ("192.88.99.0/24", "RFC 7526, 6to4 relays", False),
        ("192.168.0.0/16", "RFC 1918, private", False),
        ("198.18.0.0/15", "RFC 2544, benchmarking", True),
        ("198.51.100.0/24", "RFC 5737, documentation", True),
        ("203.0.113.0/24", "RFC 5737, documentation", True),
        ("224.0.0.0/4", "RFC 5771, multicast", False),
        ("240.0.0.0/4", "RFC 1112, reserved", False),
        ("2001::/33", "RFC 4380, 2.6, a part of Teredo's one prefix", False),
        ("2001:0:8000::/33", "RFC 4380, 2.6, a part of Teredo's one prefix", False),
        ("2001:2::/48", "RFC 5180, benchmarking", False),
        ("2001:10::/28", "RFC 4843, ORCHID", False),
        ("2001:20::/28", "RFC 7343, ORCHIDv2", False),
        ("2001:db8::/32", "RFC 3849, documentation", True),
        ("2002::/16", "RFC 7526, 6to4", False),
        ("3ffe::/16", "RFC 3701, old 6bone", False),
        ("3fff::/20", "RFC 9637, documentation", True),
    )
)
GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291, 2.4: outside of it nothing is routed between networks

ASNS = (
    BogonAsns(0, 0, "RFC 7607"),
    BogonAsns(23456, 23456, "RFC 6793, AS_TRANS"),
    BogonAsns(64496, 64511, "RFC 5398, documentation", True),
    BogonAsns(64512, 65534, "RFC 6996, private"),
    BogonAsns(65535, 65535, "RFC 7300, last 16-bit ASN"),
    BogonAsns(65536, 65551, "RFC 5398, documentation", True),
    BogonAsns(65552, 131071, "IANA, reserved"),
    BogonAsns(4200000000, 4294967294, "RFC 6996, private"),
    BogonAsns(4294967295, 4294967295, "RFC 7300, last 32-bit ASN"),
)


def bogon_asn(asn: int, *, lab: bool) -> BogonAsns | None:
    """Why `asn` can be no network's number here; None when it can."""
    return next((each for each in ASNS if each.first <= asn <= each.last and not (lab and each.lab)), None)
