"""The vocabulary of iproute2's artifacts: what can be wished of a machine's kernel, and how it is written down.

An artifact is a list of facts, one JSON object a line, sorted, so that two can be compared with diff. Every field has a pattern or a
range, since facts become the words of commands: nothing that is decoded can break out of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, ValidationError

from nnix.kernel.resource import Record

INTERFACE_PATTERN = r"^[A-Za-z][A-Za-z0-9._-]{0,14}$"  # IFNAMSIZ is 16 with the closing zero
MAC_PATTERN = r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$"
FLOOD = "00:00:00:00:00:00"  # VXLAN's entry for all that has none of its own: one copy to each destination

PROC = "/proc/sys/"
SWAPPED = str.maketrans("./", "/.")

Interface = Annotated[str, StringConstraints(pattern=INTERFACE_PATTERN)]
Mac = Annotated[str, StringConstraints(pattern=MAC_PATTERN)]
Address = IPv4Address | IPv6Address
Key = tuple[str, ...]


class Fact(Record):
    """One thing that shall be. `key` says which thing of the machine it speaks about."""

    noun: ClassVar[str]

    @property
    def key(self) -> Key:
        raise NotImplementedError

    @property
    def title(self) -> str:
        return f"{self.noun} {self.key[-1]}"

    @cached_property
    def line(self) -> str:
        """How it is written down. Kept, since a member's forwarding entry is one and the same on all switches but one."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True), sort_keys=True)


class Link(Fact):
    """An interface. `of` names the resource whose traffic passes here and nowhere else, so that plans can say whom a step disturbs."""

    link: Interface
    mtu: int | None = Field(default=None, ge=68, le=65535)
    up: bool = True
    of: str | None = None

    @property
    def key(self) -> Key:
        return "link", self.link


class Bridge(Link):
    """A bridge of ours. It runs no spanning tree, watches no multicast and has no address: what passes it is no business of its own.

    mac: its MAC address for ever. A bridge without one takes its ports' lowest, and whenever that changes the kernel forgets all its neighbours.
    """

    noun: ClassVar[str] = "bridge"
    type: Literal["bridge"] = "bridge"
    mac: Mac | None = None


class Slave(Link):
    """An interface that can be a port of a bridge. `flood` is for unicast to unknown addresses only; broadcast and multicast always pass.

    neigh_suppress: towards it the bridge answers ARP and neighbour solicitations itself, for its neighbours behind that port; what it could
    answer does not go out there, nor do announcements (gratuitous ARP, unsolicited advertisements) and probes for duplicates. What comes *in*
    at such a port is not looked into, neither answered nor kept back.
    """

    master: Interface | None = None
    learning: bool = False
    flood: bool = False
    isolated: bool = False
    neigh_suppress: bool = False


class Vxlan(Slave):
    """A tunnel of ours that learns nothing by itself; `local` is its own end. gso_max_segs: of a batch of TCP segments (GSO), how many it takes."""

    noun: ClassVar[str] = "tunnel"
    type: Literal["vxlan"] = "vxlan"
    vni: int = Field(ge=1, le=16777215)
    local: Address
    port: int = Field(default=4789, ge=1, le=65535)
    gso_max_segs: int | None = Field(default=None, ge=1, le=65535)


class Vlan(Slave):
    """An interface of ours for the frames of one VLAN on the cable `over` (IEEE 802.1Q): tagged there, without the tag here. Another tag inside stays."""

    noun: ClassVar[str] = "VLAN interface"
    type: Literal["vlan"] = "vlan"
    over: Interface
    vlan: int = Field(ge=1, le=4094)


class Wire(Slave):
    """An interface that is there without us: a physical one, or a veth end that the lab laid."""

    noun: ClassVar[str] = "wire"
    type: Literal["wire"] = "wire"


class Addr(Fact):
    """An address on an interface, with the length of its prefix."""

    noun: ClassVar[str] = "address"
    addr: IPv4Interface | IPv6Interface
    dev: Interface

    @property
    def key(self) -> Key:
        return "addr", self.dev, str(self.addr)


class Fdb(Fact):
    """A static forwarding entry: `mac` is behind the bridge port `dev`; on a tunnel, at the far end `dst`."""

    noun: ClassVar[str] = "forwarding entry"
    fdb: Mac
    dev: Interface
    dst: Address | None = None

    @cached_property
    def key(self) -> Key:
        return ("fdb", self.dev, str(self.dst), self.fdb) if self.fdb == FLOOD else ("fdb", self.dev, self.fdb)


class Neighbour(Fact):
    """An address and the MAC address that it is at, for ever: on a bridge, what it answers with. An IPv6 neighbour is said to be a router (RFC 4861, 4.4)."""

    noun: ClassVar[str] = "neighbour"
    neighbour: Address
    dev: Interface
    mac: Mac

    @cached_property
    def spelled(self) -> str:
        """The address as everybody writes it (RFC 5952); there are thousands, looked for every second or two."""
        return str(self.neighbour)

    @cached_property
    def key(self) -> Key:
        return "neighbour", self.dev, self.spelled


class Route(Fact):
    """A route in the main table. segments: what goes there is put into an IPv6 envelope that passes these (SRv6, RFC 8986, 5.1: H.Encaps)."""

    noun: ClassVar[str] = "route"
    route: IPv4Network | IPv6Network
    via: Address | None = None
    dev: Interface | None = None
    onlink: bool = False
    segments: tuple[IPv6Address, ...] | None = Field(default=None, min_length=1)

    @property
    def key(self) -> Key:
        return "route", str(self.route)


class Behaviour(StrEnum):
    """What is done at a segment, by its name in RFC 8986, 4."""

    END = "End"
    END_DT6 = "End.DT6"


class Sid(Fact):
    """A segment (SRv6): a route whose packets are dealt with here. DT6 hands on what was in the envelope only if it is for this machine.

    dev: an IPv6 interface of the machine, but not the loopback, on whose routes Linux drops. It is not looked at otherwise.
    """

    noun: ClassVar[str] = "segment"
    sid: IPv6Address
    behaviour: Behaviour
    dev: Interface

    @property
    def key(self) -> Key:
        return "route", f"{self.sid}/128"


class Shaper(Fact):
    """A token bucket at the way out of an interface: its capacity, where the wire itself has none."""

    noun: ClassVar[str] = "shaper"
    qdisc: Literal["tbf"] = "tbf"
    dev: Interface
    rate_bits_per_second: int = Field(ge=8000)
    burst_octets: int = Field(default=131072, ge=1600)
    latency_microseconds: int = Field(default=50_000, ge=1)

    @property
    def key(self) -> Key:
        return "qdisc", self.dev


class Sysctl(Fact):
    """A kernel setting, spelt as sysctl(8) does: an interface name that has dots has slashes here.

    optional: where the kernel has no such setting (a module is not loaded), there is nothing to set.
    """

    noun: ClassVar[str] = "setting"
    sysctl: Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_/-]+)+$")]
    value: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ._-]{1,200}$")]
    optional: bool = False

    @property
    def key(self) -> Key:
        return "sysctl", self.sysctl

    @property
    def path(self) -> str:
        return PROC + self.sysctl.translate(SWAPPED)


PORT_FLAGS = ("learning", "flood", "isolated", "neigh_suppress")
"""What a Slave says of a port, by the kernel's own names."""
LINKS: Mapping[str, type[Link]] = {"bridge": Bridge, "vxlan": Vxlan, "vlan": Vlan, "wire": Wire}
FACTS: Mapping[str, type[Fact]] = {
    "addr": Addr,
    "fdb": Fdb,
    "neighbour": Neighbour,
    "route": Route,
    "sid": Sid,
    "qdisc": Shaper,
    "sysctl": Sysctl,
}
ORDER = ("sysctl", "link", "addr", "neighbour", "route", "qdisc", "fdb")
ARTIFACTS_KEPT = 64  # old and new of a change that goes to all sites: one change asks many times for each
FACTS_KEPT = 16384  # seven switches with a thousand members between them have 6,000 different ones


def encode(facts: Iterable[Fact]) -> bytes:
    """The artifact that `facts` make: a line each, sorted. Raises ValueError when two facts speak about one thing."""
    found: dict[Key, Fact] = {}
    for fact in facts:
        if (other := found.setdefault(fact.key, fact)) is not fact and other != fact:
            raise ValueError(f"{fact.title} is wanted in two ways")
    return "".join(f"{line}\n" for line in sorted(fact.line for fact in found.values())).encode()


@lru_cache(maxsize=ARTIFACTS_KEPT)
def decode(content: bytes) -> Mapping[Key, Fact]:
    """The facts of an artifact by what they speak about. Raises ValueError naming the line."""
    return MappingProxyType(_decoded(content))


def _decoded(content: bytes) -> dict[Key, Fact]:
    facts: dict[Key, Fact] = {}
    for number, line in enumerate(content.decode().splitlines(), start=1):
        try:
            key, fact = _read(line)
        except ValidationError as error:
            words = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise ValueError(f"line {number}: {words}") from None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if (other := facts.setdefault(key, fact)) is not fact and other != fact:
            raise ValueError(f"line {number}: {fact.title} is wanted in two ways")
    return facts


@lru_cache(maxsize=FACTS_KEPT)
def _read(line: str) -> tuple[Key, Fact]:
    """The fact that a line is. Kept by line: all of an artifact's but a few stand in the one before and in those of other switches."""
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("an object is wanted")
    if "link" in data:
        kind: type[Fact] | None = LINKS.get(str(data.get("type")))
    else:
        kind = next((each for name, each in FACTS.items() if name in data), None)
    if kind is None:
        raise ValueError(f"an object with link (of type {', '.join(LINKS)}), or {', '.join(FACTS)}")
    fact = kind.model_validate(data)
    return fact.key, fact


def remembered(content: bytes | None) -> Mapping[Key, Fact]:
    """What was ours. A line that a newer or older nnix wrote otherwise is left out rather than in the way."""
    try:
        return decode(content or b"")
    except ValueError:
        pass
    facts: dict[Key, Fact] = {}
    for line in (content or b"").splitlines():
        try:
            facts |= _decoded(line)
        except ValueError:
            continue
    return facts
