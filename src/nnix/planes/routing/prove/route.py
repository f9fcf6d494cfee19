"""A BGP route as it stands in an UPDATE message: what a member announces, and what a receiver hears.

Prefixes are numbers, because half a million of them are held against thousands of others; their text is made where people read it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal, NamedTuple

from nnix.planes.routing.naming import Family

Address = IPv4Address | IPv6Address
Segment = int | frozenset[int]
"""one ASN of a sequence, or a whole AS_SET"""
Community = int | tuple[int, int] | tuple[int, int, int]
"""extended (a number of 64 bits), standard, large"""
RT, RO = 0x0002, 0x0003
"""type and subtype of two-octet route targets and route origins (RFC 4360, 4 and 5)"""


class Prefix(NamedTuple):
    """`address` is the whole address as a number, of 32 or 128 bits."""

    family: Family
    address: int
    length: int

    @property
    def bits(self) -> int:
        return 32 if self.family == 4 else 128

    def inside(self, other: Prefix) -> bool:
        """Whether it is `other` or one of its more specifics."""
        shift = self.bits - other.length
        return self.family == other.family and self.length >= other.length and self.address >> shift == other.address >> shift

    def __str__(self) -> str:
        return _text(self)


@lru_cache(maxsize=1 << 16)
def _text(prefix: Prefix) -> str:
    address: Address = IPv4Address(prefix.address) if prefix.family == 4 else IPv6Address(prefix.address)
    return f"{address}/{prefix.length}"


def prefix_of(network: str | IPv4Network | IPv6Network) -> Prefix:
    """From text or a network. Raises ValueError."""
    known = ip_network(network) if isinstance(network, str) else network
    return Prefix(4 if known.version == 4 else 6, int(known.network_address), known.prefixlen)


def extended(kind: Literal["rt", "ro"], key: int, value: int) -> int:
    """An extended community of a two-octet AS (RFC 4360, 3.1) as one number of 64 bits."""
    return (RT if kind == "rt" else RO) << 48 | key << 32 | value


@dataclass(frozen=True, slots=True)
class Route:
    """A route. Extended communities are numbers of 64 bits; `otc` is the ONLY_TO_CUSTOMER attribute (RFC 9234, 5); `origin` is 0 for IGP, 1 for EGP, 2
    for incomplete (RFC 4271, 5.1.1)."""

    prefix: Prefix
    path: tuple[Segment, ...]
    next_hop: Address
    standard: frozenset[tuple[int, int]] = frozenset()
    extended: frozenset[int] = frozenset()
    large: frozenset[tuple[int, int, int]] = frozenset()
    med: int | None = None
    otc: int | None = None
    origin: int = 0

    def with_communities(self, *communities: Community) -> Route:
        """The same route, with these besides."""
        return replace(
            self,
            standard=self.standard | {each for each in communities if isinstance(each, tuple) and len(each) == 2},
            extended=self.extended | {each for each in communities if isinstance(each, int)},
            large=self.large | {each for each in communities if isinstance(each, tuple) and len(each) == 3},
        )

    def __str__(self) -> str:
        said = [str(self.prefix), "path", path_text(self.path), "via", str(self.next_hop)]
        if self.med is not None:
            said += ["med", str(self.med)]
        if self.otc is not None:
            said += ["otc", str(self.otc)]
        said += [*map(community_text, sorted(self.standard)), *map(community_text, sorted(self.extended))]
        said += map(community_text, sorted(self.large))
        return " ".join(said)


def path_text(path: tuple[Segment, ...]) -> str:
    """As daemons print it: `64500 64510 {64511 64512}`."""
    return " ".join(f"{{{' '.join(map(str, sorted(each)))}}}" if isinstance(each, frozenset) else str(each) for each in path) or "(empty)"


def community_text(community: Community) -> str:
    """`65535:666`, `139136:0:64500`, `rt 0:64500`."""
    if isinstance(community, tuple):
        return ":".join(map(str, community))
    kind = {RT: "rt", RO: "ro"}.get(community >> 48)
    return f"{kind} {community >> 32 & 0xFFFF}:{community & 0xFFFFFFFF}" if kind else f"ext {community:016x}"
