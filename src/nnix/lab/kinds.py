"""The lab's own vocabulary: the router of a member, and what it tells the route servers."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, ClassVar

from pydantic import Field

from nnix.kernel.resource import Record, Ref, Resource
from nnix.planes.fabric.kinds import MacAddress
from nnix.planes.members.kinds import Asn
from nnix.planes.routing.kinds import Prefix, Session

Community = Annotated[
    str,
    Field(
        pattern=r"^([0-9]+:[0-9]+(:[0-9]+)?|(rt|ro):[0-9]+:[0-9]+|blackhole|no-export|no-advertise|graceful-shutdown)$",
        description="standard a:b (RFC 1997), large a:b:c (RFC 8092), extended rt:a:b, or a well-known name",
        examples=["139136:0:64500"],
    ),
]


class Speaker(StrEnum):
    """Which BGP daemon a member's router runs."""

    BIRD = "bird"
    FRR = "frr"
    GOBGP = "gobgp"
    OPENBGPD = "openbgpd"


class Announcement(Record):
    """One prefix that a router announces, and how."""

    prefix: Prefix = Field(description="what is announced", examples=["198.18.7.0/24"])
    path: tuple[Asn, ...] = Field(default=(), description="ASNs behind the router's own")
    communities: tuple[Community, ...] = Field(default=(), description="communities it carries")
    next_hop: IPv4Address | IPv6Address | None = Field(default=None, description="instead of the router's own address")
    otc: Asn | None = Field(default=None, description="Only-to-Customer attribute (RFC 9234, 5)")

    @property
    def plain(self) -> bool:
        """Whether every daemon can spell it: nothing but a prefix."""
        return not (self.path or self.communities or self.next_hop or self.otc)


class Router(Resource):
    """A member's router in the lab, behind the port of its session."""

    columns: ClassVar = ("session", "daemon")

    session: Ref[Session] = Field(description="the session whose far end it is")
    daemon: Speaker = Field(default=Speaker.BIRD, description="which BGP daemon it runs")
    announces: tuple[Announcement, ...] = Field(default=(), description="what it announces to the route servers")
    mac: MacAddress | None = Field(default=None, description="the MAC address that it really uses; unset: the registered one")


KINDS: tuple[type[Resource], ...] = (Router,)
