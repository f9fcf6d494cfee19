"""The communities that a route server speaks: what members may ask of it, and what it says about a route.

Numbers are Euro-IX's where Euro-IX has them (`<route server>:1101:<n>` is a refusal, `<route server>:1000:<n>` and
`:1001:<n>` say what was found), so that looking glasses and members' tools know them already. Reasons that Euro-IX has no
number for count from 101. Standard communities hold two 16-bit numbers: an exchange with a 32-bit ASN is written there as
`STAND_IN`, a private ASN that can be nobody's (RFC 6996), as other exchanges in that position do. The reference page has
its tables from here.
"""

from __future__ import annotations

from dataclasses import dataclass

STAND_IN = 65000  # the route server's ASN in standard and extended communities, where its own has 32 bits

BLACKHOLE = (65535, 666)  # RFC 7999
GRACEFUL_SHUTDOWN = (65535, 0)  # RFC 8326
NO_EXPORT = (65535, 65281)  # RFC 1997

REFUSED = 1101  # <rs>:1101:<reason>
ORIGIN_VALIDITY = 1000  # <rs>:1000:<…>
REGISTERED = 1001  # <rs>:1001:<…>


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a route was refused: the number on the wire, a slug for programs, words for people."""

    number: int
    slug: str
    words: str
    source: str = ""


_REASONS = (
    Reason(1, "prefix_len_too_long", "the prefix is longer than the policy accepts", "RFC 7454, 6.1.3"),
    Reason(2, "prefix_len_too_short", "the prefix is shorter than the policy accepts", "RFC 7454, 6.1.3"),
    Reason(3, "bogon", "the prefix is no public address space", "RFC 6890"),
    Reason(4, "bogon_asn", "the path holds an ASN that is private, reserved or for documentation", "RFC 7607, 6996, 5398, 6793, 7300"),
    Reason(5, "as_path_too_long", "the path is longer than the policy accepts"),
    Reason(6, "as_path_too_short", "the path is empty", "RFC 4271, 5.1.2"),
    Reason(7, "first_as_not_peer_as", "the path does not begin with the member's own ASN", "RFC 4271, 6.3"),
    Reason(8, "next_hop_not_peer_ip", "the next hop is no address of the member on this LAN", "RFC 7948, 4.8"),
    Reason(9, "irrdb_prefix_filtered", "the routing registries hold no route object for this prefix and origin", "RFC 7948, 4.6.2"),
    Reason(10, "irrdb_origin_as_filtered", "the origin is in none of the member's as-sets", "RFC 7948, 4.6.2"),
    Reason(13, "rpki_invalid", "the origin or the length is not what the holder of the prefix has signed", "RFC 6811"),
    Reason(14, "transit_free_asn", "a network that buys transit from no one stands behind another: a leak", "RFC 7908"),
    Reason(101, "default_route", "a default route is not for a route server", "RFC 7454, 6.1.6"),
    Reason(102, "not_global_unicast", "the prefix lies outside 2000::/3", "RFC 7454, 6.1.2.2"),
    Reason(103, "exchange_lan", "the prefix is, or lies in, a LAN of this exchange", "RFC 7454, 6.1.5"),
    Reason(104, "never_via_route_server", "a network in the path wishes never to be reached through route servers"),
    Reason(105, "own_asn_in_path", "the path already holds the route server's own ASN: a loop", "RFC 4271, 9.1.2"),
    Reason(106, "as_set_in_path", "the path holds an AS_SET", "RFC 9774"),
    Reason(107, "otc_leak", "the route was meant for customers only: a leak", "RFC 9234, 5"),
    Reason(109, "rpki_no_data", "no cache has given the route server any VRP yet, or the last ones have expired", "RFC 8210, 6"),
    Reason(108, "blackhole_not_covered", "no authorised prefix of this origin covers the blackholed one", "RFC 7999, 3.3"),
)
REASONS = {each.number: each for each in _REASONS}
REASON = {each.slug: each for each in _REASONS}


@dataclass(frozen=True, slots=True)
class Said:
    """What the route server says about a route that it has accepted; members see it."""

    function: int
    value: int
    words: str


SAID = {
    "rpki_valid": Said(ORIGIN_VALIDITY, 1, "the origin is RPKI-valid"),
    "rpki_unknown": Said(ORIGIN_VALIDITY, 2, "no ROA covers the prefix"),
    "rpki_not_checked": Said(ORIGIN_VALIDITY, 3, "the origin was not held against the RPKI"),
    "irrdb_valid": Said(REGISTERED, 1, "the origin, and where the policy is strict the prefix, is in the routing registries"),
    "irrdb_not_checked": Said(REGISTERED, 2, "the route was not held against the routing registries"),
}


@dataclass(frozen=True, slots=True)
class Control:
    """What a member may ask with a community, in three spellings. `RS` is the route server's ASN, in two-octet places its stand-in;
    `PEER` is the ASN of the member that the wish is about."""

    slug: str
    words: str
    standard: str
    extended: str
    large: str


CONTROLS = (
    Control("to-none", "announce to no one", "0:RS", "rt 0:RS", "RS:0:0"),
    Control("not-to", "do not announce to PEER", "0:PEER", "rt 0:PEER", "RS:0:PEER"),
    Control("to-all", "announce to all, which is the default", "RS:RS", "rt RS:RS", "RS:1:0"),
    Control("to", "announce to PEER, even when to no one else", "RS:PEER", "rt RS:PEER", "RS:1:PEER"),
    Control("prepend-1-all", "prepend once to all", "65501:RS", "rt 65501:RS", "RS:101:0"),
    Control("prepend-2-all", "prepend twice to all", "65502:RS", "rt 65502:RS", "RS:102:0"),
    Control("prepend-3-all", "prepend three times to all", "65503:RS", "rt 65503:RS", "RS:103:0"),
    Control("prepend-1-to", "prepend once to PEER", "65501:PEER", "rt 65501:PEER", "RS:101:PEER"),
    Control("prepend-2-to", "prepend twice to PEER", "65502:PEER", "rt 65502:PEER", "RS:102:PEER"),
    Control("prepend-3-to", "prepend three times to PEER", "65503:PEER", "rt 65503:PEER", "RS:103:PEER"),
)
NOT, TO = 0, 1  # function of large controls
PREPEND_LARGE = {1: 101, 2: 102, 3: 103}
PREPEND_SHORT = {1: 65501, 2: 65502, 3: 65503}


def short_asn(asn: int) -> int:
    """How the route server with `asn` is written where only 16 bits are."""
    return asn if asn < 65536 else STAND_IN
