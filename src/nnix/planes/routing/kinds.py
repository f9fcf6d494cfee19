"""The vocabulary of layer 3: Session, RouteServer, RoutingPolicy, and the two ways to depart from a policy in the open:
RoutingException (looser for one session, with an owner and an end) and LocalSnippet (the daemon's own language).

What a session sets here itself makes its routing stricter, or concerns its own connection. What would let more in than the policy
does is an exception, so that filtering cannot be switched off by a slip of the pen and nothing stays open that somebody forgot.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from nnix.kernel.resource import Duration, Record, Ref, Resource
from nnix.planes.fabric.kinds import Lan, MacAddress, Port
from nnix.planes.members.kinds import Asn, AsSet, Country, Level, Machine, Member, MemberClass, PrefixLimit, Site
from nnix.planes.trust.kinds import RtrCache

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network
Secret = Annotated[
    str,
    Field(pattern=r"^secret:[A-Za-z0-9._-]{1,64}$", description="reference into the folder of secrets", examples=["secret:bgp-alibaba"]),
]
CommunityText = Annotated[
    str,
    Field(
        pattern=r"^(?:[0-9]{1,5}:[0-9]{1,5}|(?:rt|ro):[0-9]{1,10}:[0-9]{1,10}|[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10})$",
        description="a BGP community: standard (RFC 1997), extended with rt or ro before it (RFC 4360), or large (RFC 8092)",
        examples=["65000:666"],
    ),
]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]+$")]


class Role(StrEnum):
    """BGP roles (RFC 9234, 4.1)."""

    RS = "rs"
    RS_CLIENT = "rs-client"
    PROVIDER = "provider"
    CUSTOMER = "customer"
    PEER = "peer"


class Irr(StrEnum):
    """How a client's routes are held against the routing registries, the loosest first. `tag` refuses nothing and says what it found."""

    OFF = "off"
    TAG = "tag"
    ORIGIN = "origin"
    STRICT = "strict"


class Rpki(StrEnum):
    """What becomes of routes that are RPKI-invalid: of their origin (RFC 6811), or of their path (ASPA). The loosest first."""

    OFF = "off"
    TAG = "tag"
    REJECT = "reject"


class WithoutData(StrEnum):
    """What becomes of routes while a route server that takes VRPs by RTR has none: before the first came, and after the last expired."""

    REFUSE = "refuse"
    ACCEPT = "accept"


class NextHop(StrEnum):
    """Whose address a route may name as its next hop (RFC 7948, 4.8): the session's own only, or any that its member has on the LAN."""

    STRICT = "strict"
    SAME_AS = "same-as"


class NoExport(StrEnum):
    """What becomes of NO_EXPORT and NO_ADVERTISE (RFC 1997): the receiver's to heed, or the route server's."""

    PASS = "pass"  # noqa: S105 - a verb
    OBEY = "obey"


class RefusedRoutes(StrEnum):
    """What becomes of a refused route: it is forgotten; it stays in the table with its reason and goes to nobody; or it is kept beside the
    table with its reason. Members hear of it in none of them."""

    REJECT = "reject"
    TAG = "tag"
    TAG_AND_REJECT = "tag-and-reject"


class Counted(StrEnum):
    """Which routes count towards a session's limit."""

    RECEIVED = "received"
    ACCEPTED = "accepted"


class LimitAction(StrEnum):
    """What happens to a session that announces more prefixes than it may."""

    RESTART = "restart"
    SHUTDOWN = "shutdown"
    BLOCK = "block"
    WARN = "warn"


class AddPaths(StrEnum):
    """Which of several paths to one prefix a session carries (RFC 7911), as the route server sees it."""

    OFF = "off"
    SEND = "send"
    RECEIVE = "receive"
    BOTH = "both"

    @property
    def sends(self) -> bool:
        """Whether the route server offers the client several paths."""
        return self in (AddPaths.SEND, AddPaths.BOTH)

    @property
    def receives(self) -> bool:
        """Whether it takes several of the client's."""
        return self in (AddPaths.RECEIVE, AddPaths.BOTH)


class KeyAlgorithm(StrEnum):
    """How segments are authenticated with TCP-AO (RFC 5926)."""

    CMAC = "aes-128-cmac"
    HMAC = "hmac-sha-1"


class TcpKey(Record):
    """One key of TCP-AO (RFC 5925), the same at both ends."""

    id: int = Field(ge=0, le=255, description="KeyID, both ways")
    secret: Secret = Field(description="the key, by reference")
    algorithm: KeyAlgorithm = Field(default=KeyAlgorithm.CMAC, description="aes-128-cmac or hmac-sha-1")


class Selection(Record):
    """Members by ASN: all but `but`; or none but `only`, and of these none of `but`."""

    only: tuple[Asn, ...] | None = Field(default=None, description="nobody but these")
    but: tuple[Asn, ...] = Field(default=(), description="none of these")


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
    prefixes_max_exact: bool = Field(default=False, description="true: the limit is what was stated, without the policy's margins")
    irr: Irr | None = Field(default=None, description="instead of the policy's, for this session, where that is stricter")
    rpki: Rpki | None = Field(default=None, description="instead of the policy's, for this session, where that is stricter")
    aspa: Rpki | None = Field(default=None, description="instead of the policy's, for this session, where that is stricter")
    blacklist: tuple[Prefix, ...] = Field(default=(), description="refused from it with their more specifics")
    next_hop: NextHop | None = Field(default=None, description="instead of the policy's, for this session, where that is stricter")
    next_hops: tuple[Address, ...] = Field(
        default=(), description="addresses that may be its next hop as well, such as a router's of its own that has no session"
    )
    limit_action: LimitAction | None = Field(default=None, description="instead of the policy's, for this session")
    limit_counts: Counted | None = Field(default=None, description="instead of the policy's, for this session")
    graceful_shutdown: bool | None = Field(default=None, description="instead of the policy's, for routes that it announces")
    hold_time_seconds: int | None = Field(default=None, ge=3, le=65535, description="instead of the policy's, for this session")
    password: Secret | None = Field(default=None, description="TCP MD5 (RFC 2385), by reference; the same with every route server")
    tcp_ao: TcpKey | None = Field(default=None, description="TCP-AO (RFC 5925) instead of MD5")
    gtsm: bool = Field(default=False, description="only packets with TTL 255 are taken (RFC 5082); the member must have it as well")
    multihop: int | None = Field(
        default=None, ge=2, le=255, description="its router is this many hops away at most, and may have an address outside of the LAN"
    )
    bfd: bool = Field(default=False, description="BFD tells at once when the other end is gone (RFC 5880)")
    add_paths: AddPaths = Field(default=AddPaths.OFF, description="ADD-PATH (RFC 7911): send, receive, both or off")
    v4_over_v6: bool = Field(
        default=False, description="IPv4 routes with IPv6 next hops come and go on its IPv6 session (RFC 8950); it has no IPv4 address then"
    )
    prepend_route_server: bool = Field(default=False, description="it wants the route server's ASN in front of every path")
    communities: tuple[CommunityText, ...] = Field(
        default=(), description="put on every route of its own; whoever else sends one of them has it taken off"
    )
    rtt: Duration | None = Field(
        default=None, description="round-trip time to its router, for wishes by round-trip time", examples=["12ms"]
    )
    announces: Selection = Field(default=Selection(), description="which members its routes go to")
    hears: Selection = Field(default=Selection(), description="which members' routes it gets")
    blackhole: bool = Field(default=True, description="the member wants to be told of blackholed prefixes (RFC 7999)")
    blackhole_community: CommunityText | None = Field(
        default=None, description="its own community for blackholes: put on those that it is told of", examples=["64500:666"]
    )
    blackhole_community_alone: bool = Field(default=False, description="true: instead of BLACKHOLE, not beside it")
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
    shutting_down: bool = Field(
        default=False,
        description="true: GRACEFUL_SHUTDOWN stands on all that it says, so that members turn to the other one first (RFC 8326)",
    )
    shutdown_text: str | None = Field(
        default=None,
        pattern=r"^[ !#-~]{1,128}$",
        description="what members read when it is taken down (RFC 9003)",
        examples=["maintenance 4711, back at 06:00 UTC"],
    )
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
    every: Duration | None = Field(
        default=None,
        description="how often `nnix run` asks it and takes up what it answers; unset: only `nnix irr fetch` and `refresh` do",
        examples=["1h"],
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


class Group(Record):
    """Receivers that members may name together: those to whom every given line applies. `sites` and `levels` are those of the receiver's
    port, `provinces` and `countries` those of its site, `classes` those of its member."""

    number: int = Field(ge=1, le=65535, description="how communities name it; it must not change", examples=[571])
    title: str = Field(min_length=1, max_length=200, description="what it is called", examples=["members in Hangzhou"])
    sites: tuple[Ref[Site], ...] = Field(default=(), description="at one of these sites")
    levels: tuple[Level, ...] = Field(default=(), description="at sites of one of these levels")
    provinces: tuple[str, ...] = Field(default=(), description="in one of these provinces, as sites name them")
    countries: tuple[Country, ...] = Field(default=(), description="in one of these countries")
    classes: tuple[MemberClass, ...] = Field(default=(), description="of one of these classes")
    members: tuple[Ref[Member], ...] = Field(default=(), description="one of these members")


class ShortAsn(Record):
    """The number by which standard communities name a member whose ASN has 32 bits."""

    asn: Asn = Field(description="the member's ASN")
    short: int = Field(ge=64512, le=65400, description="a private ASN (RFC 6996) that stands for it", examples=[64600])


class ReasonCommunity(Record):
    """A community of the exchange's own that goes with a reason of refusal."""

    reason: str = Field(pattern=r"^[a-z0-9_]+$", description="the reason's slug", examples=["rpki_invalid"])
    community: CommunityText = Field(description="what is put on a route that is refused for it, besides the reason's number")


class SaidCommunity(Record):
    """A community of the exchange's own that goes with what is said of an accepted route, such as its validity."""

    said: str = Field(pattern=r"^[a-z0-9_]+$", description="what is said, by its slug", examples=["rpki_valid"])
    community: CommunityText = Field(description="what is put on such a route, besides the number of what is said", examples=["64512:1"])


class Pauses(Record):
    """How long a session that failed stays down: at first, and at most when it fails again and again (the pause doubles)."""

    first_seconds: int = Field(default=60, ge=1, le=86400, description="the first pause")
    longest_seconds: int = Field(default=900, ge=1, le=86400, description="the longest")
    forget_seconds: int = Field(default=2100, ge=1, le=86400, description="without a failure for so long, it begins anew")


class RoutingPolicy(Resource):
    """What route servers accept and how they pass it on. The defaults are what the field holds to be safe (RFC 7454, MANRS for IXPs)."""

    columns: ClassVar = ("irr", "rpki", "aspa", "prefix_lengths")

    path_hiding_solved: bool = Field(
        default=True,
        description="each client gets the best of the routes that it may have (RFC 7947, 2.3.1); false: one best for all, and who may not have it gets none",
    )
    prefix_lengths: PrefixLengths = Field(default=PrefixLengths(), description="accepted prefix lengths")
    path_length_max: int = Field(default=32, ge=1, le=250, description="longest AS path accepted, in ASNs")
    communities_max: int | None = Field(
        default=None, ge=1, le=1000, description="most communities that a route may carry, all three forms together; unset: any number"
    )
    next_hop: NextHop = Field(
        default=NextHop.SAME_AS, description="strict: the session's own address; same-as: or another of its member's on the LAN"
    )
    no_export: NoExport = Field(
        default=NoExport.PASS,
        description="NO_EXPORT and NO_ADVERTISE: passed on, or obeyed (such a route goes to nobody, blackholes excepted)",
    )
    refused: RefusedRoutes = Field(
        default=RefusedRoutes.TAG_AND_REJECT,
        description="refused routes: reject (forgotten), tag (in the table, with the reason), tag-and-reject (kept beside it, with the reason)",
    )
    tells_announcer: bool = Field(
        default=False, description="accepted routes carry who announced them (RS:1010:ASN) and who originated them (RS:1011:ASN)"
    )
    refused_tells_announcer: bool = Field(default=False, description="a refused route carries its announcer's ASN as well (RS:1102:ASN)")
    reason_communities: tuple[ReasonCommunity, ...] = Field(default=(), description="the exchange's own communities for reasons of refusal")
    said_communities: tuple[SaidCommunity, ...] = Field(
        default=(), description="the exchange's own communities for what is said of accepted routes"
    )
    irr: Irr = Field(
        default=Irr.STRICT,
        description="off: not checked; tag: checked and said; origin: the origin AS must be in the client's as-sets; strict: and a route object must exist for prefix and origin",
    )
    irr_sources: tuple[FileName, ...] = Field(
        default=(),
        description="RPSL files, what bgpq4 -j prints (.json), or registries' whois (ARIN's .csv and .json, NIC.BR's list), packed or not, relative to the exchange's folder; the first that knows an as-set wins",
        examples=[["irr/apnic.rpsl"]],
    )
    irr_registries: tuple[Ref[RoutingRegistry], ...] = Field(
        default=(), description="registries that are asked (`nnix irr fetch`); irr_sources come before them", examples=[["radb"]]
    )
    peeringdb: tuple[FileName, ...] = Field(
        default=(),
        description="PeeringDB's networks (JSON, as its API gives net): as-sets and prefix limits of members that have told the exchange none themselves",
        examples=[["peeringdb/net.json"]],
    )
    rpsl_via: bool = Field(
        default=False,
        description="true: where a session does not say itself what it announces to and hears, import-via and export-via of its member's aut-num do",
    )
    irr_more_specifics: bool = Field(
        default=False, description="true: more specifics of a route object are accepted down to the longest length"
    )
    roas_are_route_objects: bool = Field(default=False, description="true: a VRP that allows prefix and origin does for a route object")
    rpki: Rpki = Field(default=Rpki.REJECT, description="off; reject routes that are RPKI-invalid; or tag: accept them and say so")
    rpki_sources: tuple[FileName, ...] = Field(
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
    aspa: Rpki = Field(
        default=Rpki.OFF, description="paths against the ASPAs of the same files (draft-ietf-sidrops-aspa-verification): off, tag or reject"
    )
    bogons: tuple[Prefix, ...] = Field(default=(), description="refused with their more specifics, besides the built-in list (RFC 6890)")
    blacklist: tuple[Prefix, ...] = Field(
        default=(), description="refused with their more specifics under a reason of their own, such as other exchanges' LANs"
    )
    never_via_route_servers: tuple[Asn, ...] = Field(
        default=(), description="ASNs whose routes must not come through a route server; never those of members and carriers here"
    )
    never_via_sources: tuple[FileName, ...] = Field(
        default=(),
        description="PeeringDB's networks (JSON, as its API gives net); those that are marked info_never_via_route_servers are added",
        examples=[["peeringdb/net.json"]],
    )
    transit_free: tuple[Asn, ...] = Field(
        default=(), description="ASNs that buy from no one: behind another AS in a path they are a leak, unless one carrier has both"
    )
    transit_free_warns: bool = Field(default=False, description="true: such a route is accepted and says so")
    blackhole: bool = Field(default=True, description="BLACKHOLE is honoured (RFC 7999): covered host routes pass, marked NO_EXPORT")
    blackhole_v4: IPv4Address | None = Field(default=None, description="next hop that blackholed IPv4 routes get; unset: the announcer's")
    blackhole_v6: IPv6Address | None = Field(default=None, description="next hop that blackholed IPv6 routes get; unset: the announcer's")
    blackhole_communities: tuple[CommunityText, ...] = Field(
        default=(), description="what means BLACKHOLE here besides 65535:666, by which it is replaced"
    )
    graceful_shutdown: bool = Field(default=True, description="GRACEFUL_SHUTDOWN is honoured (RFC 8326): local preference 0")
    roles: bool = Field(default=True, description="OTC is checked and set (RFC 9234)")
    groups: tuple[Group, ...] = Field(default=(), description="receivers that members may name together in communities")
    short_asns: tuple[ShortAsn, ...] = Field(default=(), description="how members with 32-bit ASNs are named in standard communities")
    rtt_thresholds: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        default=(), description="round-trip times in ms by which members may name receivers", examples=[[5, 20, 100]]
    )
    prefixes_max: PrefixLimit = Field(default=PrefixLimit(v4=1000, v6=1000), description="limit for clients that state none")
    prefixes_max_margin_routes: int = Field(
        default=0, ge=0, le=100_000, description="added to the limit that a member states, before the margin in percent"
    )
    prefixes_max_margin_percent: int = Field(default=10, ge=0, le=100, description="added to the limit that a member states")
    limit_action: LimitAction = Field(default=LimitAction.RESTART, description="what happens above the limit")
    limit_counts: Counted = Field(
        default=Counted.RECEIVED, description="received: refused routes count as well; accepted: only those that passed"
    )
    limit_restart_seconds: int = Field(default=900, ge=1, le=86400, description="pause before a session over its limit comes back")
    pauses: Pauses | None = Field(
        default=None, description="how long a session that failed stays down (flap hold-down); unset: up to limit_restart_seconds"
    )
    hold_time_seconds: int = Field(default=90, ge=3, le=65535, description="BGP hold time (RFC 4271, 4.2)")
    connect_retry_seconds: int = Field(default=10, ge=1, le=3600, description="pause between attempts to connect")
    graceful_restart_seconds: int = Field(
        default=0,
        ge=0,
        le=4095,
        description="how long members may keep what a route server told them while it restarts (RFC 4724); 0: it does not ask for that, but grants it",
    )
    long_lived_seconds: int = Field(
        default=0, ge=0, le=16777215, description="and how long after that, as last choice (RFC 9494); 0: it does not ask for that"
    )


class AcceptedPrefix(Record):
    """A prefix that one session may announce whatever the registries say."""

    prefix: Prefix = Field(description="the prefix")
    ge: int | None = Field(default=None, ge=0, le=128, description="shortest length of its more specifics; unset: its own")
    le: int | None = Field(
        default=None, ge=0, le=128, description="longest; unset: its own length, or the longest there is where `ge` is given"
    )
    origin: Asn | None = Field(default=None, description="from this origin only; unset: from any of its origins")


class RoutingException(Resource):
    """What one session may do that its policy forbids: for a time, and somebody answers for it. Past its end it has no effect, from the next plan on.

    What is set here takes the place of what policy and session say. Bogons, the exchange's LANs and the member's own ASN in front are never waived.
    """

    columns: ClassVar = ("session", "until", "why")

    session: Ref[Session] = Field(description="for whom")
    irr: Irr | None = Field(default=None, description="how it is held against the registries")
    irr_more_specifics: bool = Field(default=False, description="more specifics of its route objects pass, down to the longest length")
    rpki: Rpki | None = Field(default=None, description="what becomes of its RPKI-invalid routes")
    aspa: Rpki | None = Field(default=None, description="what becomes of its ASPA-invalid routes")
    as_sets_in_paths: bool = Field(default=False, description="its paths may hold AS_SETs (RFC 9774 says they must not)")
    prefix_lengths: PrefixLengths | None = Field(default=None, description="accepted prefix lengths")
    prefixes: tuple[AcceptedPrefix, ...] = Field(default=(), description="prefixes that need no route object")
    origins: tuple[Asn, ...] = Field(default=(), description="origins that need be in no as-set of its")
    until: AwareDatetime = Field(description="it has no effect from then on", examples=["2026-12-31T00:00:00Z"])
    answers: str = Field(pattern=r"^contact:[A-Za-z0-9._-]{1,64}$", description="who answers for it", examples=["contact:noc-lead"])
    why: str = Field(min_length=1, max_length=500, description="the reason", examples=["route objects are being moved; ticket 4711"])


class Place(StrEnum):
    """Where a local snippet stands: before everything else; where a route has passed all tests; before a route goes out."""

    HEAD = "head"
    IMPORT = "import"
    EXPORT = "export"


class LocalSnippet(Resource):
    """Text in a daemon's own language, for what the model has no word for. The daemon's parser sees it before anything is touched; the evaluator cannot
    read it, and says so, so that only the real daemon proves it."""

    columns: ClassVar = ("policy", "daemon", "place", "answers")

    policy: Ref[RoutingPolicy] = Field(description="on every route server that follows this policy")
    daemon: str = Field(pattern=r"^(bird|openbgpd)$", description="in whose language: bird or openbgpd")
    place: Place = Field(description="head: top-level statements; import, export: statements of a filter")
    text: str = Field(min_length=1, max_length=20_000, description="the text")
    answers: str = Field(pattern=r"^contact:[A-Za-z0-9._-]{1,64}$", description="who answers for it", examples=["contact:noc-lead"])
    why: str = Field(min_length=1, max_length=500, description="the reason")
    until: AwareDatetime | None = Field(default=None, description="it has no effect from then on; unset: no end")


RouteServer.model_rebuild()
KINDS: tuple[type[Resource], ...] = (Session, RouteServer, RoutingPolicy, RoutingException, LocalSnippet, RoutingRegistry)
