"""The lab's own vocabulary: the router of a member, and what it tells the route servers; a registry of names, and what it delegates."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, ClassVar

from pydantic import Field

from nnix.kernel.resource import Duration, Record, Ref, Resource
from nnix.planes.fabric.kinds import MacAddress
from nnix.planes.members.kinds import Asn
from nnix.planes.naming.kinds import DomainName, TransferKey
from nnix.planes.routing.kinds import Prefix, Session
from nnix.planes.trust.kinds import RtrCache

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
    caches: tuple[Ref[RtrCache], ...] = Field(
        default=(), description="takes VRPs by RTR from these, the first preferred; bird or frr", examples=[["rtr-hangzhou", "rtr-ningbo"]]
    )
    mac: MacAddress | None = Field(default=None, description="the MAC address that it really uses; unset: the registered one")


class LabZone(Record):
    """A zone of a lab's registry, before it is signed."""

    origin: DomainName = Field(description="its name", examples=["example."])
    records: tuple[Annotated[str, Field(pattern=r"^[\x20-\x7e\t]+$")], ...] = Field(
        min_length=1, description="its records as in a zone file, one each, the SOA first; those of DNSSEC are made"
    )


class Registry(Resource):
    """A registry's hidden primary in the lab, beside a member's router. It signs its zones, and gives them to who has the key.

    Its signing keys follow from the names of its zones (lab/registry.py): they protect nothing, and the same anchors fit in every lab.
    """

    columns: ClassVar = ("session", "key")

    session: Ref[Session] = Field(description="beside whose router it stands")
    key: Ref[TransferKey] = Field(description="with which its zones are fetched")
    zones: tuple[LabZone, ...] = Field(min_length=1, description="what it is the registry of")
    signature_life: Duration = Field(
        default=Duration(14 * 86_400_000_000),
        description="how long its signatures live, at least a minute; they are made anew at half of it. Short ones rehearse an expiry",
        examples=["12h"],
    )


KINDS: tuple[type[Resource], ...] = (Router, Registry)
