"""The communities that a route server speaks: what members may ask of it, and what it says about a route.

Numbers are Euro-IX's where Euro-IX has them (`<route server>:1101:<n>` is a refusal, `<route server>:1000:<n>` and
`:1001:<n>` say what was found), so that looking glasses and members' tools know them already. Reasons that Euro-IX has no
number for count from 101. Standard communities hold two 16-bit numbers: an exchange with a 32-bit ASN is written there as
`STAND_IN`, a private ASN that can be nobody's (RFC 6996), as other exchanges in that position do. The reference page has
its tables from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

STAND_IN = 65000  # the route server's ASN in standard and extended communities, where its own has 32 bits

BLACKHOLE = (65535, 666)  # RFC 7999
GRACEFUL_SHUTDOWN = (65535, 0)  # RFC 8326
NO_EXPORT = (65535, 65281)  # RFC 1997
NO_ADVERTISE = (65535, 65282)  # RFC 1997
NO_EXPORT_SUBCONFED = (65535, 65283)  # RFC 1997

REFUSED = 1101  # <rs>:1101:<reason>
REFUSED_FROM = 1102  # <rs>:1102:<announcer>
ORIGIN_VALIDITY = 1000  # <rs>:1000:<…>
REGISTERED = 1001  # <rs>:1001:<…>
PATH_VALIDITY = 1002  # <rs>:1002:<…>
SUSPECTED = 1003  # <rs>:1003:<…>
LEARNT_FROM = 1010  # <rs>:1010:<announcer>
ORIGINATED_BY = 1011  # <rs>:1011:<origin>
VOCABULARY = (range(200), range(1000, 1200), range(4294960000, 1 << 32))
"""functions of large communities that begin with the route server's own ASN: wishes, what it says, marks inside of it. The others are the exchange's to give"""


class Community(NamedTuple):
    """A community as values: its form (standard, rt, ro or large), and two numbers or three."""

    form: str
    values: tuple[int, ...]

    @property
    def fits(self) -> bool:
        """Whether the numbers have room in its form: 16 bits each, 16 and 32 (or 32 and 16, RFC 5668), or 32 each."""
        match self.form:
            case "standard":
                return max(self.values) < 1 << 16
            case "large":
                return max(self.values) < 1 << 32
        first, second = self.values
        return (first < 1 << 16 and second < 1 << 32) or (first < 1 << 32 and second < 1 << 16)


def community(text: str) -> Community:
    """`65000:666`, `rt:64500:9` or `139136:1:2` as values. Raises ValueError for what is none."""
    head, _, rest = text.partition(":")
    form = head if head in ("rt", "ro") else "large" if text.count(":") == 2 else "standard"
    values = tuple(int(part) for part in (rest if head in ("rt", "ro") else text).split(":"))
    if len(values) != (3 if form == "large" else 2):
        raise ValueError(f"{text!r} is no community")
    return Community(form, values)


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
    Reason(15, "too_many_communities", "the route carries more communities than the policy accepts"),
    Reason(101, "default_route", "a default route is not for a route server", "RFC 7454, 6.1.6"),
    Reason(102, "not_global_unicast", "the prefix lies outside 2000::/3", "RFC 7454, 6.1.2.2"),
    Reason(103, "exchange_lan", "the prefix is, or lies in, a LAN of this exchange", "RFC 7454, 6.1.5"),
    Reason(104, "never_via_route_server", "a network in the path wishes never to be reached through route servers"),
    Reason(105, "own_asn_in_path", "the path already holds the route server's own ASN: a loop", "RFC 4271, 9.1.2"),
    Reason(106, "as_set_in_path", "the path holds an AS_SET", "RFC 9774"),
    Reason(107, "otc_leak", "the route was meant for customers only: a leak", "RFC 9234, 5"),
    Reason(109, "rpki_no_data", "no cache has given the route server any VRP yet, or the last ones have expired", "RFC 8210, 6"),
    Reason(108, "blackhole_not_covered", "no authorised prefix of this origin covers the blackholed one", "RFC 7999, 3.3"),
    Reason(110, "blacklisted", "the prefix is, or lies in, one that the exchange or its agreement with the member excludes"),
    Reason(
        111,
        "aspa_invalid",
        "a network in the path has not named the next one as its provider: a leak",
        "draft-ietf-sidrops-aspa-verification",
    ),
    Reason(120, "starting", "the route server was just started, and waits until members have come back"),
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
    "rpki_invalid": Said(ORIGIN_VALIDITY, 4, "the origin is RPKI-invalid, and this session's are not refused for it"),
    "irrdb_valid": Said(REGISTERED, 1, "the origin, and where the policy is strict the prefix, is in the routing registries"),
    "irrdb_not_checked": Said(REGISTERED, 2, "the route was not held against the routing registries"),
    "irrdb_excepted": Said(REGISTERED, 3, "the route needs no registration, by an exception"),
    "irrdb_origin_known": Said(REGISTERED, 11, "the origin is in the member's as-sets (where registries only inform)"),
    "irrdb_origin_unknown": Said(REGISTERED, 12, "the origin is in none of the member's as-sets (where registries only inform)"),
    "irrdb_prefix_known": Said(REGISTERED, 13, "a route object exists for prefix and origin (where registries only inform)"),
    "irrdb_prefix_unknown": Said(REGISTERED, 14, "no route object exists for prefix and origin (where registries only inform)"),
    "aspa_valid": Said(PATH_VALIDITY, 1, "every network in the path has named the next one as its provider"),
    "aspa_unknown": Said(PATH_VALIDITY, 2, "some networks in the path have named no providers"),
    "aspa_invalid": Said(PATH_VALIDITY, 3, "the path is ASPA-invalid, and this session's are not refused for it"),
    "transit_free_behind": Said(SUSPECTED, 1, "a network that buys transit from no one stands behind another: perhaps a leak"),
}


class Wish(NamedTuple):
    """Something that a member may ask for. `large` is the function of the large community that asks it of one member; `number` counts wishes
    where short forms number them; `short` is the first half of short forms about one member (None: the route server's own)."""

    slug: str
    words: str
    large: int
    number: int
    short: int | None


WISHES = (
    Wish("not", "do not announce", 0, 0, 0),
    Wish("to", "announce", 1, 1, None),
    Wish("prepend-1", "prepend once", 101, 2, 65501),
    Wish("prepend-2", "prepend twice", 102, 3, 65502),
    Wish("prepend-3", "prepend three times", 103, 4, 65503),
    Wish("no-export", "add NO_EXPORT", 104, 5, 65504),
    Wish("no-advertise", "add NO_ADVERTISE", 105, 6, 65505),
)
WISH = {each.slug: each for each in WISHES}
NOT, TO = WISH["not"].large, WISH["to"].large
PREPENDS = {1: WISH["prepend-1"], 2: WISH["prepend-2"], 3: WISH["prepend-3"]}
PREPEND_LARGE = {prepends: wish.large for prepends, wish in PREPENDS.items()}
PREPEND_SHORT = {prepends: wish.short or 0 for prepends, wish in PREPENDS.items()}


class Aim(NamedTuple):
    """Whom a wish is about. `offset` is added to the function of the large community; the first half of short forms is `SHORT_AIMED`, the
    offset and the wish's number together, but about one member it is the wish's own."""

    slug: str
    value: str
    words: str
    offset: int


PEER = Aim("peer", "PEER", "PEER", 0)
GROUP = Aim("group", "GROUP", "the members of GROUP", 10)
NEARER = Aim("nearer", "MS", "members whose round-trip time is MS milliseconds or less", 20)
FARTHER = Aim("farther", "MS", "members whose round-trip time is more than MS milliseconds", 30)
AIMS = (PEER, GROUP, NEARER, FARTHER)
SHORT_AIMED = 65400


def large_function(wish: Wish, aim: Aim) -> int:
    """The second number of the large community that asks `wish` about `aim`."""
    return wish.large + aim.offset


def short_key(wish: Wish, aim: Aim, stand_in: int) -> int:
    """The first number of standard and extended communities that ask `wish` about `aim`."""
    if aim is PEER:
        return stand_in if wish.short is None else wish.short
    return SHORT_AIMED + aim.offset + wish.number


@dataclass(frozen=True, slots=True)
class Control:
    """What a member may ask with a community, in three spellings. `RS` is the route server's ASN, in two-octet places its stand-in;
    `PEER` is the ASN of the member that the wish is about."""

    slug: str
    words: str
    standard: str
    extended: str
    large: str


def _controls() -> tuple[Control, ...]:
    found = [Control("to-none", "announce to no one", "0:RS", "rt 0:RS", "RS:0:0")]
    for wish in WISHES:
        key = "RS" if wish.short is None else str(wish.short)
        if wish.slug == "not":
            found.append(Control("not-to", "do not announce to PEER", "0:PEER", "rt 0:PEER", "RS:0:PEER"))
        elif wish.slug == "to":
            found.append(Control("to-all", "announce to all, which is the default", "RS:RS", "rt RS:RS", "RS:1:0"))
            found.append(Control("to", "announce to PEER, even when to no one else", "RS:PEER", "rt RS:PEER", "RS:1:PEER"))
        else:
            for value, words, slug in (("RS", "all", "all"), ("PEER", "PEER", "to")):
                last = "0" if value == "RS" else value
                found.append(
                    Control(
                        f"{wish.slug}-{slug}", f"{wish.words} to {words}", f"{key}:{value}", f"rt {key}:{value}", f"RS:{wish.large}:{last}"
                    )
                )
    for aim in AIMS[1:]:
        for wish in WISHES:
            key = str(short_key(wish, aim, 0))
            found.append(
                Control(
                    f"{wish.slug}-{aim.slug}",
                    f"{wish.words} to {aim.words}",
                    f"{key}:{aim.value}",
                    f"rt {key}:{aim.value}",
                    f"RS:{large_function(wish, aim)}:{aim.value}",
                )
            )
    return tuple(found)


CONTROLS = _controls()


def short_asn(asn: int) -> int:
    """How the route server with `asn` is written where only 16 bits are."""
    return asn if asn < 65536 else STAND_IN
