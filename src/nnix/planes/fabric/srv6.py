"""Segment routing over IPv6 (RFC 8402, RFC 8986): how frames of a pinned circuit are led over chosen sites.

Each switch that takes part has a *locator*, made of its tunnel end, in the block that IANA keeps for segments (5f00::/16, RFC 9602); whoever
filters at the border of a network can drop the block as a whole. Under it stand what the switch can be told to do, its segments, and
the tunnel ends of the circuits that end there: a circuit has one to itself at each end, so that one route leads its frames and nobody else's.

    5f00:0:0:0aff:0001::/80     locator of the switch whose tunnel end is 10.255.0.1
    …::1                        the switch itself
    …:e::                       End: go on to the next segment                   (RFC 8986, 4.1)
    …:d6::                      End.DT6: take the envelope off, it is for here   (4.6)
    …:c:<VNI>                   tunnel end of the circuit with that VNI

The sender puts an envelope around the tunnel's packet (H.Encaps, RFC 8986, 5.1) with the segments written on it. Between two segments the
way is routed, so it heals around failed links; that the chosen sites are passed never changes.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Interface

BLOCK = 0x5F00 << 112
FUNCTION_END, FUNCTION_END_DT6, FUNCTION_CIRCUIT = 0xE, 0xD6, 0xC
LOCATOR_BITS = 80

INNER_OCTETS = 14 + 8 + 8 + 40  # Ethernet, VXLAN, UDP, IPv6 (RFC 7348, 5)
ENVELOPE_OCTETS = 40 + 8  # IPv6, segment routing header without its segments (RFC 8754, 2)
SEGMENT_OCTETS = 16


def _under(tunnel_end: IPv4Address, function: int, argument: int = 0) -> IPv6Address:
    return IPv6Address(BLOCK | int(tunnel_end) << 48 | function << 32 | argument)


def locator(tunnel_end: IPv4Address) -> IPv6Interface:
    """The switch's own address, with the prefix that leads to all that stands under it."""
    return IPv6Interface((_under(tunnel_end, 0, 1), LOCATOR_BITS))


def end(tunnel_end: IPv4Address) -> IPv6Address:
    """The segment of a switch that is passed."""
    return _under(tunnel_end, FUNCTION_END)


def end_dt6(tunnel_end: IPv4Address) -> IPv6Address:
    """The last segment: the switch where the circuit ends."""
    return _under(tunnel_end, FUNCTION_END_DT6)


def circuit_end(tunnel_end: IPv4Address, vni: int) -> IPv6Address:
    """The tunnel end of one circuit."""
    return _under(tunnel_end, FUNCTION_CIRCUIT, vni)


def octets(passed: int) -> int:
    """What is added to a frame's payload when it is led over `passed` sites: tunnel, envelope, and one segment more than sites."""
    return INNER_OCTETS + ENVELOPE_OCTETS + SEGMENT_OCTETS * (passed + 1)
