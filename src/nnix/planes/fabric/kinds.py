"""The vocabulary of layer 2: Link, Lan, Port, Circuit, Traffic; and of its emergencies, EmergencyPlan."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Annotated, ClassVar

from pydantic import Field

from nnix.kernel.approval import Approver
from nnix.kernel.resource import BitRate, Duration, Json, Record, Ref, Resource
from nnix.planes.members.kinds import Carrier, Level, Member, Site, Title

MacAddress = Annotated[
    str, Field(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$", description="EUI-48, lower case, with colons", examples=["02:00:5e:10:00:01"])
]


def mac_of(resource_id: str) -> str:
    """The MAC address that `session/alibaba-hz-1` gets where nobody gave it one, always the same: `02:` for locally administered
    (IEEE 802c), then a digest of its id."""
    octets = hashlib.sha256(resource_id.encode()).digest()[:5]
    return ":".join(f"{octet:02x}" for octet in (0x02, *octets))


class Link(Resource):
    """A line between two sites, over which the underlay routes."""

    columns: ClassVar = ("a", "b", "capacity", "latency", "carrier")

    a: Ref[Site] = Field(description="one end")
    b: Ref[Site] = Field(description="the other end")
    capacity: BitRate = Field(description="each way", examples=["400G"])
    latency: Duration = Field(description="one way", examples=["1.2ms"])
    bfd: Duration = Field(
        default=Duration(300_000),
        description="how often each end says that it is there (RFC 5880); three times unheard, the link is left. 50ms is quick and costs CPU time",
        examples=["50ms"],
    )
    carrier: Ref[Carrier] | None = Field(default=None, description="whom it is leased from; unset: own fibre")
    level: Level | None = Field(default=None, description="scope of the way it takes, where that is larger than its ends say")


class Survives(StrEnum):
    """What may fail alone without a member being cut off from the exchange, or a circuit from one of its ends."""

    LINK = "link"
    SITE = "site"
    CARRIER = "carrier"


class LanPurpose(StrEnum):
    """What a LAN is for."""

    PEERING = "peering"
    QUARANTINE = "quarantine"


class Lan(Resource):
    """A broadcast domain across all sites. Members meet on a peering LAN; a new port shows its manners on the quarantine LAN first."""

    columns: ClassVar = ("purpose", "v4", "v6", "vni")

    title: Title = Field(description="what the LAN is called")
    purpose: LanPurpose = Field(default=LanPurpose.PEERING, description="peering, or quarantine for ports under test")
    v4: IPv4Network | None = Field(default=None, description="IPv4 prefix of the LAN", examples=["103.154.40.0/23"])
    v6: IPv6Network | None = Field(default=None, description="IPv6 prefix of the LAN", examples=["2406:5340::/64"])
    vni: int | None = Field(
        default=None, ge=1, le=16777215, description="VXLAN network identifier (RFC 7348); allocated when unset", examples=[4000]
    )
    mtu: int = Field(default=1500, ge=1280, le=9000, description="octets of the largest IP packet that members may send")
    survives: tuple[Survives, ...] = Field(
        default=(),
        description="promise to all members on it: no single one of these cuts them off (site: except those who are only there)",
        examples=[["link", "site", "carrier"]],
    )
    ixf_id: int | None = Field(default=None, ge=0, description="id of this VLAN in the IX-F export")
    inferred: tuple[Annotated[str, Field(pattern=r"^v[46]$")], ...] = Field(
        default=(), description="v4, v6: whose prefix an import took from members' addresses; never exported as a fact"
    )
    assumed: bool = Field(default=False, description="true: supplied by an import because its list did not say; never exported as a fact")


class PortState(StrEnum):
    """What a port may do. The order is that of a port's life."""

    RESERVED = "reserved"
    QUARANTINE = "quarantine"
    PRODUCTION = "production"
    DRAINED = "drained"
    SUSPENDED = "suspended"


class Gateway(Record):
    """The tunnel end (VXLAN) of a member's own gateway at the far end of a cable, and ours at this one. They need no common prefix."""

    theirs: IPv4Address = Field(description="tunnel end of the member's gateway", examples=["198.51.100.1"])
    ours: IPv4Address = Field(description="tunnel end of the site's switch on this cable", examples=["198.51.100.0"])


class Port(Resource):
    """Where a member's cable is plugged in.

    reserved and suspended: no light. quarantine: on the quarantine LAN only. production: on its LANs. drained: as production,
    but BGP is filtered so that sessions go down while pings still pass (BCP 214).

    A cloud may want to be handed numbers instead of a cable for each customer. A port with a `gateway` is such a cable, and ports `over` it, each with
    a `vni`, are ends of circuits; so is a `tagged` port, and ports over that have a `vlan` each.
    """

    columns: ClassVar = ("member", "site", "speed", "state")

    member: Ref[Member] = Field(description="whose port it is")
    site: Ref[Site] = Field(description="where it is")
    speed: BitRate = Field(description="line rate", examples=["100G"])
    committed: BitRate | None = Field(default=None, description="rate bought on it; unset: all of its speed", examples=["40G"])
    state: PortState = Field(default=PortState.PRODUCTION, description="what it may do")
    survives: tuple[Survives, ...] = Field(
        default=(),
        description="promise sold with it: no single one of these cuts its member off from the exchange",
        examples=[["link", "site"]],
    )
    interface: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9._/-]{1,14}$",
        description="interface of the site's switch; unset: named by nnix",
        examples=["et48"],
    )
    gateway: Gateway | None = Field(default=None, description="the member's gateway behind it, which is handed VNIs")
    tagged: bool = Field(
        default=False,
        description="true: its cable carries customers by VLAN tag (IEEE 802.1Q), one for each port over it, and nothing else",
    )
    over: Ref[Port] | None = Field(
        default=None,
        description="port on whose cable this one is handed over: one with a gateway, or a tagged one; unset: a cable of its own",
    )
    vni: int | None = Field(
        default=None, ge=1, le=16777215, description="number by which the gateway knows it, with `over`", examples=[7001]
    )
    vlan: int | None = Field(
        default=None, ge=1, le=4094, description="VLAN by which it is known on a tagged cable, with `over`", examples=[101]
    )
    assumed: bool = Field(default=False, description="true: supplied by an import because its list did not say; never exported as a fact")


class Circuit(Resource):
    """A private layer-2 service between ports: a wire between two (MEF 6.3, E-Line), a switch of its own for more (E-LAN).

    A port belongs to at most one circuit, and then to no LAN. Nothing is registered on a circuit: whoever bought it decides what
    it carries. A cloud's port is an end like any other.

    A wire goes the quickest way, unless `via` says which sites its frames must pass; between these the way is routed, but where one of
    them fails, so does the wire.
    """

    columns: ClassVar = ("ends", "capacity", "vni")

    title: Title | None = Field(default=None, description="what the circuit is called")
    ends: tuple[Ref[Port], ...] = Field(min_length=2, description="the ports that it joins", examples=[["alibaba-3", "tencent-3"]])
    via: tuple[Ref[Site], ...] = Field(
        default=(), description="sites that its frames must pass, in order from the first end to the last (SRv6)", examples=[["ningbo"]]
    )
    within: Level | None = Field(
        default=None,
        description="scope that its frames never leave, neither normally nor after any single failure: city, province or national",
        examples=["province"],
    )
    survives: tuple[Survives, ...] = Field(
        default=(),
        description="promise sold with it: no single one of these takes it from any of its ends (site: except their own sites)",
        examples=[["link", "carrier"]],
    )
    capacity: BitRate | None = Field(default=None, description="at most, towards each end; unset: as much as its port can", examples=["1G"])
    mtu: int = Field(default=1500, ge=1280, le=9000, description="octets of the largest IP packet that it carries")
    vni: int | None = Field(
        default=None, ge=1, le=16777215, description="VXLAN network identifier; allocated when unset", examples=[100000]
    )


class TrafficEnd(Record):
    """One end of traffic: a site, or a member wherever its ports are."""

    site: Ref[Site] | None = Field(default=None, description="all that enters and leaves there")
    member: Ref[Member] | None = Field(default=None, description="all that it sends and receives, over all of its ports")


class Traffic(Resource):
    """How much flows between two sites or members at the busiest time: what survival is proved with, where nothing was measured."""

    columns: ClassVar = ("a", "b", "a_to_b", "b_to_a")

    a: TrafficEnd = Field(description="one end")
    b: TrafficEnd = Field(description="the other end")
    a_to_b: BitRate | None = Field(default=None, description="what a sends to b; unset: nothing", examples=["20G"])
    b_to_a: BitRate | None = Field(default=None, description="what b sends to a; unset: nothing", examples=["5G"])


class FailureSort(StrEnum):
    """What can fail, and be rehearsed."""

    CUT = "cut"
    SILENT = "silent"
    DARK = "dark"
    FLAP = "flap"
    REFLECTORS = "reflectors"
    KILL = "kill"
    LOOP = "loop"
    LACP = "lacp"
    FOREIGN = "foreign"


def _approvers_listed(fields: Json) -> Json:
    """The first shape had one approver, a contact."""
    rest = {name: value for name, value in fields.items() if name != "approver"}
    return {**rest, "approvers": [{"contact": fields["approver"]}]}


class EmergencyPlan(Resource):
    """What is done when something fails: by whom, in which order, how soon it must be over. `nnix drill plan NAME` rehearses it, once all
    of its approvers have approved it as it stands (`nnix approve emergency-plan/NAME`)."""

    version: ClassVar = 2
    upgrades: ClassVar = {1: _approvers_listed}
    columns: ClassVar = ("failure", "target", "restore_within")

    title: Title = Field(description="what the plan is called")
    trigger: str = Field(
        min_length=1, max_length=500, description="how one knows that it has happened", examples=["BFD down on both links of a site"]
    )
    failure: FailureSort = Field(
        description="what fails: cut, silent or flap (a link), dark or kill (a site), reflectors, foreign (all links abroad), loop or lacp (a port)"
    )
    target: str | None = Field(
        default=None, pattern=r"^(link|site|port)/[a-z0-9][a-z0-9-]*$", description="which link, site or port", examples=["site/jinhua"]
    )
    steps: tuple[Annotated[str, Field(min_length=1, max_length=500)], ...] = Field(min_length=1, description="what is done, in order")
    approvers: tuple[Approver, ...] = Field(
        min_length=1,
        description="who has to approve it, all of them, before it counts",
        examples=[[{"contact": "contact:director-operations"}]],
    )
    expects: str = Field(min_length=1, max_length=500, description="what members notice, and what they do not")
    restore_within: Duration = Field(description="from the failure until traffic that has another way passes again", examples=["250ms"])


KINDS: tuple[type[Resource], ...] = (Link, Lan, Port, Circuit, Traffic, EmergencyPlan)
