"""The vocabulary of trust: TrustAnchor, Repository, Mirror, RelyingParty, RtrCache, LocalException."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from nnix.kernel.approval import Approver
from nnix.kernel.resource import Duration, Json, Ref, Resource
from nnix.planes.fabric.kinds import Lan, MacAddress
from nnix.planes.members.kinds import Asn, Machine, Site, Title

Prefix = IPv4Network | IPv6Network
FILE_PATTERN = r"^[A-Za-z0-9._/-]+$"
HOST_PATTERN = r"[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?(?::[0-9]{1,5})?"
RsyncFolder = Annotated[str, Field(pattern=rf"^rsync://{HOST_PATTERN}(?:/[A-Za-z0-9_~%+:=@,-][A-Za-z0-9._~%+:=@,-]*)+/$")]


class TrustAnchor(Resource):
    """Whose RPKI is believed (RFC 8630): one of the five RIRs, or one's own; how far, and how much of it may go at once."""

    columns: ClassVar = ("tal", "only", "never", "drop_max_percent")

    title: Title | None = Field(default=None, description="what it is called")
    tal: str = Field(
        pattern=FILE_PATTERN,
        description="its trust anchor locator (TAL), relative to the exchange's folder; at least one of its URIs is rsync",
        examples=["rpki/apnic.tal"],
    )
    only: tuple[Prefix, ...] = Field(
        default=(), description="VRPs below it count only inside these prefixes; unset: anywhere", examples=[["198.18.0.0/15"]]
    )
    never: tuple[Prefix, ...] = Field(default=(), description="VRPs below it that overlap one of these prefixes do not count")
    drop_max_percent: int = Field(
        default=10,
        ge=0,
        le=100,
        description="when more of its served VRPs than this are gone at once, the former ones are held; 100: never",
    )
    drop_free: int = Field(default=20, ge=0, le=1_000_000, description="VRPs that may go at once whatever their share is")


class Repository(Resource):
    """A repository of the RPKI that somebody publishes (RFC 6481): where it is fetched, and which names its objects may have."""

    columns: ClassVar = ("rrdp", "rsync", "publishes")

    title: Title | None = Field(default=None, description="what it is called")
    rrdp: str | None = Field(
        default=None,
        pattern=rf"^https://{HOST_PATTERN}/[!-~]*$",
        description="URI of its RRDP notification (RFC 8182)",
        examples=["https://rrdp.apnic.net/notification.xml"],
    )
    rsync: tuple[RsyncFolder, ...] = Field(
        default=(),
        description="folders to fetch by rsync where there is no RRDP, or RRDP is rejected",
        examples=[["rsync://rpki.apnic.net/repository/"]],
    )
    publishes: tuple[RsyncFolder, ...] = Field(
        min_length=1,
        description="its places: objects with names elsewhere are rejected, and with them the file that brought them",
        examples=[["rsync://rpki.apnic.net/repository/"]],
    )
    authorities: str | None = Field(
        default=None,
        pattern=FILE_PATTERN,
        description="PEM file of the certificate authorities that vouch for its server; unset: the system's",
    )
    octets_max: int = Field(default=2 << 30, ge=1 << 10, le=1 << 40, description="the largest snapshot or delta that is taken, in octets")
    objects_max: int = Field(default=1_000_000, ge=1, le=10_000_000, description="the most objects that it may have")
    fetch_seconds_max: int = Field(default=600, ge=1, le=7200, description="after which a fetch is given up")


class TalOrder(StrEnum):
    """Where a mirror's URIs stand in the TALs that it hands out."""

    FRONT = "front"
    BEHIND = "behind"


class Mirror(Resource):
    """Repositories kept at home: fetched, checked, served again by RRDP and rsync, and vouched for by signed checkpoints."""

    columns: ClassVar = ("site", "repositories", "anchors", "uri")

    site: Ref[Site] = Field(description="where it stands")
    repositories: tuple[Ref[Repository], ...] = Field(min_length=1, description="what it mirrors", examples=[["apnic", "cnnic"]])
    anchors: tuple[Ref[TrustAnchor], ...] = Field(
        default=(),
        description="trust anchors whose certificates it serves, and whose TALs it hands out with its own URIs added",
        examples=[["apnic"]],
    )
    operator: str = Field(
        pattern=r"^[A-Za-z0-9./-]{1,200}$", description="the name that its checkpoints are signed under", examples=["rpki.nnix.example"]
    )
    uri: str = Field(
        pattern=rf"^https://{HOST_PATTERN}(?:/[A-Za-z0-9._~-]+)*$",
        description="where it serves; a proxy in front of it may add a path",
        examples=["https://rpki.nnix.example"],
    )
    rsync_uri: str | None = Field(
        default=None, pattern=rf"^rsync://{HOST_PATTERN}$", description="where it serves by rsync", examples=["rsync://rpki.nnix.example"]
    )
    tal_uris: TalOrder = Field(default=TalOrder.FRONT, description="its URIs before those of a TAL, or behind them: tried first, or last")
    led_home: bool = Field(
        default=False, description="serve under the origins' own names, too, for clients whose resolver leads these names to the mirror"
    )
    deltas_max: int = Field(default=100, ge=0, le=10_000, description="the most deltas that it offers")
    cosigners: tuple[str, ...] = Field(default=(), description="verifier keys (NAME+ID+KEY) of operators whose co-signatures count")


class RelyingParty(Resource):
    """The relying-party node of the exchange: two validators over one mirror, and the gate that compares what they conclude."""

    columns: ClassVar = ("site", "anchors", "mirror", "follows", "serves")

    site: Ref[Site] = Field(description="where it stands")
    anchors: tuple[Ref[TrustAnchor], ...] = Field(min_length=1, description="whom it believes", examples=[["apnic", "ripe"]])
    follows: Ref[Mirror] | None = Field(default=None, description="the mirror whose repositories it validates", examples=["national"])
    mirror: str | None = Field(
        default=None,
        pattern=FILE_PATTERN,
        description="instead of `follows`: folder with the repositories as rsync fetches them (HOST/MODULE/…), absolute or relative to the exchange's folder",
        examples=["/var/lib/nnix/mirror"],
    )
    serves: str = Field(
        default="rpki/vrps.json",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*\.json$",
        description="file that the agreed set is written to, relative to the exchange's folder; routing policies name it in rpki_sources",
    )
    every: Duration | None = Field(
        default=None,
        description="how often `nnix run` fetches and validates; unset: only `nnix trust fetch` and `validate` do",
        examples=["10min"],
    )
    validation_seconds_max: int = Field(default=900, ge=1, le=7200, description="after which a validator is stopped and counts as dead")


class RtrCache(Resource):
    """An RTR cache (RFC 8210): hands the validated payloads of one source to routers, members' and the exchange's own alike.

    It stands on a LAN as a route server does. What it hands out is the newest that the gate has accepted, without a restart; a source that no
    relying party writes it has as the last change pinned it.
    """

    columns: ClassVar = ("site", "lan", "v4", "v6", "source")

    site: Ref[Site] = Field(description="where it stands; its failure must not take the other one with it")
    lan: Ref[Lan] = Field(description="the LAN on which routers reach it")
    v4: IPv4Address | None = Field(default=None, description="its IPv4 address on the LAN")
    v6: IPv6Address | None = Field(default=None, description="its IPv6 address on the LAN")
    mac: MacAddress | None = Field(default=None, description="its MAC address on the LAN; allocated when unset")
    listen: tuple[IPv4Address | IPv6Address, ...] = Field(
        default=(), description="further addresses of its machine that it listens at, such as one of the management network"
    )
    source: str = Field(
        default="rpki/vrps.json",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*\.json$",
        description="which truth it serves: the file that a relying party writes (`serves`) and routing policies read (`rpki_sources`)",
    )
    port: int = Field(default=323, ge=1, le=65535, description="its port (RFC 8210, 14)")
    tls: Annotated[str, Field(pattern=r"^secret:[A-Za-z0-9._-]{1,64}$")] | None = Field(
        default=None,
        description="reference to certificate chain and private key in PEM; set: TLS on port 324 as well (RFC 8210, 9.2)",
        examples=["secret:rtr-hangzhou"],
    )
    md5: Annotated[str, Field(pattern=r"^secret:[A-Za-z0-9._-]{1,64}$")] | None = Field(
        default=None,
        description="reference to a key of at most 80 characters; set: port 325 for routers on the LAN that sign by TCP-MD5 as well (RFC 8210, 9.3)",
        examples=["secret:rtr-md5"],
    )
    refresh: Duration = Field(default=Duration(3600_000_000), description="how often routers shall ask (RFC 8210, 6)", examples=["1h"])
    retry: Duration = Field(
        default=Duration(600_000_000), description="how soon they shall ask again where that failed", examples=["10min"]
    )
    expire: Duration = Field(
        default=Duration(7200_000_000), description="how long they keep what they have when they can ask no more", examples=["2h"]
    )
    age_max: Duration = Field(
        default=Duration(86_400_000_000), description="a set that was validated longer ago is not handed out any more", examples=["1d"]
    )
    routers_max: int = Field(default=1000, ge=1, le=100_000, description="the most connections it takes")
    machine: Ref[Machine] | None = Field(default=None, description="where it runs; unset: a machine of its own name")

    @property
    def runs_on(self) -> str:
        """The name of its machine."""
        return str(self.machine or self.name)


TLS_PORT, MD5_PORT = 324, 325
VRP_PORT, VRP_COVERING_PORT, IRR_PORT, IRR_COVERING_PORT = 8323, 8324, 8325, 8326
"""where a cache has, for the exchange's own route servers, VRPs and route objects, each with a mark that says that there are any; the
`…_COVERING` ones allow every more specific, to judge blackholes by"""
IRR_DOCUMENT = "irr"
TAKEN_PORTS = frozenset({TLS_PORT, MD5_PORT, VRP_PORT, VRP_COVERING_PORT, IRR_PORT, IRR_COVERING_PORT})


class Action(StrEnum):
    """What a local exception does to what was validated."""

    FILTER = "filter"
    ASSERT = "assert"


class About(StrEnum):
    """What a local exception is about."""

    PREFIX = "prefix"
    ROUTER_KEY = "router-key"
    ASPA = "aspa"


def _approvers_as_records(fields: Json) -> Json:
    """The first shape named contacts alone, and nobody had to agree."""
    return {**fields, "approvers": [{"contact": each} for each in fields["approvers"]]}


class LocalException(Resource):
    """A VRP, router key or ASPA that is taken out or put in here, against what the RPKI says (SLURM, RFC 8416); for a time, and once two have approved
    it as it stands (`nnix approve local-exception/NAME`).

    filter, prefix: VRPs whose prefix lies inside `prefix`, or whose origin is `asn`, or both where both are given. assert, prefix: the VRP of `asn`,
    `prefix` and `length_max`. Router keys are named by `asn` and `key_id`, ASPAs by their customer, `asn`.
    """

    version: ClassVar = 2
    upgrades: ClassVar = {1: _approvers_as_records}
    columns: ClassVar = ("action", "about", "prefix", "asn", "until")

    action: Action = Field(description="filter: take out; assert: put in. All filters come before all assertions (RFC 8416, 4.2)")
    about: About = Field(default=About.PREFIX, description="what it is about: prefix (a VRP), router-key or aspa")
    prefix: Prefix | None = Field(default=None, description="the prefix", examples=["198.51.100.0/24"])
    length_max: int | None = Field(default=None, ge=0, le=128, description="assert: longest more specific allowed; unset: the prefix alone")
    asn: Asn | None = Field(default=None, description="the origin AS; the router's AS; the ASPA's customer")
    providers: tuple[Asn, ...] = Field(default=(), max_length=1000, description="assert, aspa: the customer's providers")
    key_id: str | None = Field(
        default=None,
        pattern=r"^[0-9A-F]{40}$",
        description="router-key: its subject key identifier",
        examples=["5D4250E2D81D4448D8A29EFCE91D29FF075EC9E2"],
    )
    public_key: str | None = Field(
        default=None,
        pattern=r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$",
        max_length=4096,
        description="assert, router-key: the key, DER in base64",
    )
    until: AwareDatetime = Field(description="it has no effect from then on", examples=["2026-12-01T00:00:00Z"])
    approvers: tuple[Approver, ...] = Field(
        description="who has to approve it, two or more, before it has any effect",
        examples=[[{"contact": "contact:noc-lead"}, {"contact": "contact:director-operations", "login": "wang"}]],
    )
    why: str = Field(min_length=1, max_length=500, description="the reason", examples=["ROA of the member lapsed; ticket 4711"])


KINDS: tuple[type[Resource], ...] = (TrustAnchor, Repository, Mirror, RelyingParty, RtrCache, LocalException)
