"""The vocabulary of layer 3: Session, RouteServer, RoutingPolicy."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, ClassVar

from pydantic import Field

from nnix.kernel.resource import Record, Ref, Resource
from nnix.planes.fabric.kinds import Lan, MacAddress, Port
from nnix.planes.members.kinds import Asn, AsSet, Machine, Member, PrefixLimit, Site
from nnix.planes.trust.kinds import RtrCache

Prefix = IPv4Network | IPv6Network


class Role(StrEnum):
    """BGP roles (RFC 9234, 4.1)."""

    RS = "rs"
    RS_CLIENT = "rs-client"
    PROVIDER = "provider"
    CUSTOMER = "customer"
    PEER = "peer"


class Irr(StrEnum):
    """How a client's routes are held against the routing registries."""

    OFF = "off"
    ORIGIN = "origin"
    STRICT = "strict"


class Rpki(StrEnum):
    """What becomes of routes whose origin is RPKI-invalid (RFC 6811)."""

    OFF = "off"
    REJECT = "reject"


class WithoutData(StrEnum):
    """What becomes of routes while a route server that takes VRPs by RTR has none: before the first came, and after the last expired."""

    REFUSE = "refuse"
    ACCEPT = "accept"


class LimitAction(StrEnum):
    """What happens to a session that announces more prefixes than it may."""

    RESTART = "restart"
    SHUTDOWN = "shutdown"
    BLOCK = "block"
    WARN = "warn"


class Session(Resource):
    """A member's presence on a LAN: its port, addresses and MACs there, and how it peers with the route servers."""

    columns: ClassVar = ("member", "lan", "port", "v4", "v6")

    member: Ref[Member] = Field(description="whose session it is")
    lan: Ref[Lan] = Field(description="on which LAN")
    port: Ref[Port] = Field(description="behind which port")
    v4: IPv4Address | None = Field(
        default=None, description="the member's IPv4 address on the LAN; allocated when v4 and v6 are both unset"
    )
    v6: IPv6Address | None = Field(default=None, description="the member's IPv6 address on the LAN")
    macs: tuple[MacAddress, ...] = Field(default=(), description="MAC addresses of the member's router; nothing else may speak on the port")
    route_servers: bool = Field(default=True, description="false: present on the LAN for bilateral peering only")
    our_role: Role = Field(default=Role.RS, description="the route server's role (RFC 9234)")
    their_role: Role = Field(default=Role.RS_CLIENT, description="the member's role (RFC 9234)")
    role_strict: bool = Field(default=False, description="true: a member that sends no role capability is refused (RFC 9234, 4.2)")
    passive: bool = Field(default=True, description="the member opens the connection, the route server waits")
    as_sets: tuple[AsSet, ...] | None = Field(default=None, description="instead of the member's as-sets, for this session")
    prefixes_max: PrefixLimit | None = Field(default=None, description="instead of the member's own limit, for this session")
    irr: Irr | None = Field(default=None, description="instead of the policy's, for this session")
    blackhole: bool = Field(default=True, description="the member wants to be told of blackholed prefixes (RFC 7999)")
    assumed: bool = Field(
        default=False, description="true: its list did not say whether it peers with the route servers; an export does not say so either"
    )


class RouteServer(Resource):
    """A route server (RFC 7947): one BGP speaker on one LAN that hands members' routes to one another."""

    columns: ClassVar = ("lan", "site", "v4", "v6", "daemon")

    site: Ref[Site] = Field(description="where it stands; its failure must not take the other one with it")
    lan: Ref[Lan] = Field(description="the LAN it serves; on the quarantine LAN it is the tester, whom ports under test may meet")
    policy: Ref[RoutingPolicy] = Field(description="by which policy")
    v4: IPv4Address | None = Field(default=None, description="its IPv4 address on the LAN")
    v6: IPv6Address | None = Field(default=None, description="its IPv6 address on the LAN")
    mac: MacAddress | None = Field(default=None, description="its MAC address on the LAN; allocated when unset")
    asn: Asn | None = Field(default=None, description="instead of the exchange's ASN")
    router_id: IPv4Address | None = Field(default=None, description="BGP identifier; unset: its IPv4 address")
    daemon: str = Field(default="bird", pattern=r"^(bird|openbgpd)$", description="which daemon it is: bird or openbgpd")
    machine: Ref[Machine] | None = Field(default=None, description="where it runs; unset: a machine of its own name")
    assumed: bool = Field(default=False, description="true: supplied by an import because its list did not say; never exported as a fact")


class PrefixLengths(Record):
    """Shortest and longest prefix that is accepted."""

    v4_min: int = Field(default=8, ge=1, le=32, description="shortest IPv4 prefix")
    v4_max: int = Field(default=24, ge=1, le=32, description="longest IPv4 prefix")
    v6_min: int = Field(default=12, ge=1, le=128, description="shortest IPv6 prefix")
    v6_max: int = Field(default=48, ge=1, le=128, description="longest IPv6 prefix")


class Asked(StrEnum):
    """How a routing registry is asked."""

    WHOIS = "whois"
    BGPQ4 = "bgpq4"
    DUMP = "dump"


class WhenOld(StrEnum):
    """What becomes of members' routes when a registry's last good answer is older than it may be. Neither lets more pass than before."""

    REFUSE = "refuse"
    OWN_ASN = "own-asn"


class RoutingRegistry(Resource):
    """A routing registry, or a server that mirrors several: where as-sets and route objects of this exchange's members are asked for."""

    columns: ClassVar = ("asked", "server", "databases", "age_max_hours")

    asked: Asked = Field(
        default=Asked.WHOIS,
        description="whois: IRRd's query protocol, as RADB speaks it; bgpq4: by that program, which does not tell origins; dump: whole databases, as published",
    )
    server: str | None = Field(
        default=None,
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?$",
        description="whom whois and bgpq4 ask, HOST or HOST:PORT; port 43 where none is given",
        examples=["rr.ntt.net"],
    )
    dumps: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]+$")], ...] = Field(
        default=(),
        description="RPSL files, packed (gzip) or not, relative to the exchange's folder, where something else puts them",
        examples=[["irr/ripe.db.route.gz"]],
    )
    databases: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9-]{0,39}$")], ...] = Field(
        default=(),
        description="which of the server's databases count, the first that knows an as-set wins; unset: all",
        examples=[["RIPE", "APNIC"]],
    )
    seconds_max: int = Field(default=300, ge=1, le=7200, description="how long asking may take altogether")
    age_max_hours: int = Field(
        default=72, ge=1, le=8760, description="how old the last good answer may be while the registry cannot be asked"
    )
    when_old: WhenOld = Field(
        default=WhenOld.REFUSE,
        description="and then: refuse every change, so that what runs stays as it is; or own-asn, so that a member may announce what it originates itself",
    )
    growth_max: int = Field(
        default=10, ge=2, le=1000, description="how many times larger or smaller an as-set may become before somebody looks at it"
    )


class RoutingPolicy(Resource):
    """What route servers accept and how they pass it on. The defaults are what the field holds to be safe (RFC 7454, MANRS for IXPs)."""

    columns: ClassVar = ("irr", "rpki", "prefix_lengths")

    prefix_lengths: PrefixLengths = Field(default=PrefixLengths(), description="accepted prefix lengths")
    path_length_max: int = Field(default=32, ge=1, le=250, description="longest AS path accepted, in ASNs")
    irr: Irr = Field(
        default=Irr.STRICT,
        description="off: not checked; origin: the origin AS must be in the client's as-sets; strict: and a route object must exist for prefix and origin",
    )
    irr_sources: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]+$")], ...] = Field(
        default=(),
        description="RPSL files, relative to the exchange's folder; the first that knows an as-set wins",
        examples=[["irr/apnic.rpsl"]],
    )
    irr_registries: tuple[Ref[RoutingRegistry], ...] = Field(
        default=(), description="registries that are asked (`nnix irr fetch`); irr_sources come before them", examples=[["radb"]]
    )
    irr_more_specifics: bool = Field(
        default=False, description="true: more specifics of a route object are accepted down to the longest length"
    )
    rpki: Rpki = Field(default=Rpki.REJECT, description="off, or reject routes that are RPKI-invalid")
    rpki_sources: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]+$")], ...] = Field(
        default=(),
        description="VRP files as rpki-client and Routinator write them (JSON), relative to the exchange's folder",
        examples=[["rpki/vrps.json"]],
    )
    rpki_caches: tuple[Ref[RtrCache], ...] = Field(
        default=(),
        description="caches that hand out rpki_sources and from which route servers take VRPs by RTR; unset: they stand in the configuration",
        examples=[["rtr-hangzhou", "rtr-ningbo"]],
    )
    rpki_without_data: WithoutData = Field(
        default=WithoutData.REFUSE,
        description="with rpki_caches, while none of them has given anything: refuse every route, or accept it as not checked",
    )
    irr_caches: tuple[Ref[RtrCache], ...] = Field(
        default=(),
        description="caches from which route servers take route objects by RTR; unset: they stand in the configuration. Without data nothing is registered",
        examples=[["rtr-hangzhou", "rtr-ningbo"]],
    )
    bogons: tuple[Prefix, ...] = Field(default=(), description="refused with their more specifics, besides the built-in list (RFC 6890)")
    never_via_route_servers: tuple[Asn, ...] = Field(
        default=(), description="ASNs whose routes must not come through a route server; a member's own ASN is never one of them for itself"
    )
    transit_free: tuple[Asn, ...] = Field(default=(), description="ASNs that buy from no one: behind another AS in a path, they are a leak")
    blackhole: bool = Field(default=True, description="BLACKHOLE is honoured (RFC 7999): covered host routes pass, marked NO_EXPORT")
    blackhole_v4: IPv4Address | None = Field(default=None, description="next hop that blackholed IPv4 routes get; unset: the announcer's")
    blackhole_v6: IPv6Address | None = Field(default=None, description="next hop that blackholed IPv6 routes get; unset: the announcer's")
    graceful_shutdown: bool = Field(default=True, description="GRACEFUL_SHUTDOWN is honoured (RFC 8326): local preference 0")
    roles: bool = Field(default=True, description="OTC is checked and set (RFC 9234)")
    prefixes_max: PrefixLimit = Field(default=PrefixLimit(v4=1000, v6=1000), description="limit for clients that state none")
    prefixes_max_margin_percent: int = Field(default=10, ge=0, le=100, description="added to the limit that a member states")
    limit_action: LimitAction = Field(default=LimitAction.RESTART, description="what happens above the limit")
    limit_restart_seconds: int = Field(default=900, ge=1, le=86400, description="pause before a session over its limit comes back")
    hold_time_seconds: int = Field(default=90, ge=3, le=65535, description="BGP hold time (RFC 4271, 4.2)")


RouteServer.model_rebuild()
KINDS: tuple[type[Resource], ...] = (Session, RouteServer, RoutingPolicy, RoutingRegistry)
