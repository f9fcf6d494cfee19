"""The vocabulary that every other plane uses: Exchange, Site, Carrier, Member, Machine; and money."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field
from pydantic.networks import IPvAnyAddress

from nnix.kernel.resource import Quantity, Record, Ref, Resource

Asn = Annotated[int, Field(ge=1, le=4294967294, description="autonomous system number (RFC 6793)", examples=[139136])]
AsSet = Annotated[
    str,
    Field(
        pattern=r"^(?:[A-Z][A-Z0-9-]*::)?AS[0-9A-Z:_-]+$",
        description="RPSL as-set, or an AS, optionally behind its registry (RFC 2622, 5.1)",
        examples=["APNIC::AS-ALIBABA"],
    ),
]
WEBSITE_PATTERN = r"^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[!-;=?-~]*)?$"
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2 code", examples=["CN"])]

MONEY_FEN_MAX = 10**12
"""ten thousand million yuan: sums of thousands of such amounts still are numbers that every reader of JSON has (2^53 - 1)"""


class Money(Quantity):
    """An amount of renminbi, kept in whole fen. It is written with its unit, because a bare number would be fen to one reader and yuan to the other;
    ¥ is refused, since it is the yen's sign as well. Never negative: who owes whom is said by the field."""

    units: ClassVar[Mapping[str, int]] = {"fen": 1, "yuan": 100}
    example: ClassVar[str] = "12.34yuan"

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Raises ValueError for what is no such amount, and for more than ten thousand million yuan."""
        found = super().parse(text)
        if found > MONEY_FEN_MAX:
            raise ValueError(f"at most {cls(MONEY_FEN_MAX)}")
        return found


class Title(Record):
    """A name as people write it, in the languages that the console and the reports speak."""

    en: str = Field(description="in English", min_length=1, max_length=200)
    zh: str | None = Field(default=None, description="in Chinese", min_length=1, max_length=200)


class Level(StrEnum):
    """How far a site's or a path's traffic reaches, from the smallest scope to the largest."""

    CITY = "city"
    PROVINCE = "province"
    NATIONAL = "national"
    CROSS_BORDER = "cross-border"


class SiteRole(StrEnum):
    """What a site is in a 1+2+X exchange."""

    HUB = "hub"
    BACKBONE = "backbone"
    NODE = "node"


class MemberClass(StrEnum):
    """What kind of network a member runs; tariffs, reports and policies refer to it."""

    CARRIER = "carrier"
    ISP = "isp"
    CONTENT = "content"
    CDN = "cdn"
    CLOUD = "cloud"
    ENTERPRISE = "enterprise"
    SME = "sme"
    RESEARCH = "research"
    GOVERNMENT = "government"
    COMPUTE = "compute"
    SATELLITE = "satellite"
    IXP = "ixp"
    ROUTE_SERVER = "route-server"


class Exchange(Resource):
    """The exchange itself. There is exactly one; everything else belongs to it."""

    columns: ClassVar = ("asn", "country", "lab")

    title: Title = Field(description="what the exchange is called")
    asn: Asn = Field(description="ASN of the exchange; its route servers speak as this AS")
    country: Country = Field(description="under whose law the exchange operates")
    city: str | None = Field(default=None, description="where its hub is", examples=["Hangzhou"])
    website: str | None = Field(default=None, pattern=WEBSITE_PATTERN, description="public web page", examples=["https://www.nnix.cn"])
    peeringdb_ix: int | None = Field(default=None, ge=1, description="id of the exchange in PeeringDB", examples=[3654])
    ixf_id: int | None = Field(default=None, ge=1, description="id of the exchange in the IXP database (IX-F)")
    lab: bool = Field(
        default=False,
        description="true: an exchange in a laboratory. Documentation and benchmarking ASNs and prefixes stand for networks, and members' routers are run as well",
    )


class Site(Resource):
    """A place where members connect: a hub, a backbone connect point, or a node in another city or country."""

    columns: ClassVar = ("role", "level", "city", "country")

    title: Title = Field(description="what the site is called")
    role: SiteRole = Field(description="its part in the 1+2+X network")
    level: Level = Field(description="scope of the traffic that the site exchanges")
    city: str = Field(description="the city it stands in", examples=["Hangzhou"])
    province: str | None = Field(default=None, description="the province or state of that city", examples=["Zhejiang"])
    country: Country = Field(description="under whose law the site operates")
    latitude: float | None = Field(
        default=None, ge=-90, le=90, description="degrees north (WGS 84); places it on the map", examples=[30.27]
    )
    longitude: float | None = Field(default=None, ge=-180, le=180, description="degrees east (WGS 84)", examples=[120.15])
    carriers: tuple[Ref[Carrier], ...] = Field(default=(), description="carriers whose networks meet here")
    machine: Ref[Machine] | None = Field(default=None, description="the switch of this site; unset: a machine of the site's own name")
    vtep: IPvAnyAddress | None = Field(
        default=None, description="address of the site's tunnel end in the underlay; allocated when unset", examples=["10.255.0.1"]
    )
    peeringdb_fac: int | None = Field(default=None, ge=1, description="id of the facility in PeeringDB")
    assumed: bool = Field(default=False, description="true: supplied by an import because its list did not say; never exported as a fact")


class Carrier(Resource):
    """An operator of long-distance networks, such as the three major ISPs of China, that sites join and links are leased from."""

    columns: ClassVar = ("asns",)

    title: Title = Field(description="what the carrier is called")
    asns: tuple[Asn, ...] = Field(default=(), description="the carrier's autonomous systems")


class PrefixLimit(Record):
    """How many prefixes a member means to announce at most, as it states it itself."""

    v4: int | None = Field(default=None, ge=1, le=2_000_000, description="IPv4 prefixes")
    v6: int | None = Field(default=None, ge=1, le=1_000_000, description="IPv6 prefixes")


class Contact(Record):
    """Who answers for a member: references into the contact store. Personal data never stands in files or ledger (they can be erased there)."""

    technical: str | None = Field(
        default=None, pattern=r"^contact:[A-Za-z0-9._-]{1,64}$", description="reference", examples=["contact:noc-alibaba"]
    )
    administrative: str | None = Field(default=None, pattern=r"^contact:[A-Za-z0-9._-]{1,64}$", description="reference")


class Member(Resource):
    """A network that has joined the exchange."""

    columns: ClassVar = ("asn", "member_class", "title")

    title: Title = Field(description="what the member is called")
    asn: Asn = Field(description="the AS it peers with here")
    member_class: MemberClass = Field(alias="class", description="what kind of network it runs")
    country: Country | None = Field(default=None, description="where the member is registered")
    as_sets: tuple[AsSet, ...] = Field(default=(), description="what it announces, in the IRR; unset: its own ASN alone")
    prefixes_max: PrefixLimit = Field(default=PrefixLimit(), description="how many prefixes it announces at most")
    contact: Contact = Field(default=Contact(), description="who answers for it, by reference")
    website: str | None = Field(default=None, pattern=WEBSITE_PATTERN, description="public web page")
    joined: str | None = Field(default=None, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="day of joining", examples=["2021-11-06"])
    ixf_type: str | None = Field(
        default=None, description="member_type in the IX-F export it was imported from, kept for a faithful return"
    )


class Reach(StrEnum):
    """How a machine is reached."""

    NAMESPACE = "namespace"
    SSH = "ssh"


class Machine(Resource):
    """Where the exchange's daemons run: a machine over SSH, or a network namespace of this one. What no Machine is named for runs in a namespace."""

    columns: ClassVar = ("reach", "address")

    reach: Reach = Field(description="namespace: on this machine; ssh: over SSH")
    address: str | None = Field(
        default=None, description="host name or address, for ssh; unset in a lab: the namespace's own loopback", examples=["192.0.2.10"]
    )
    port: int = Field(default=22, ge=1, le=65535, description="TCP port of its SSH server")
    user: str = Field(default="root", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="login name, for ssh")
    key: str | None = Field(
        default=None, pattern=r"^secret:[A-Za-z0-9._-]{1,64}$", description="reference to the private key", examples=["secret:ssh-operator"]
    )
    host_key: str | None = Field(
        default=None, description="its public host key, as in known_hosts; a machine that shows another is not used"
    )
    home: str = Field(
        default="/var/lib/nnix/host", pattern=r"^/[A-Za-z0-9._/-]+$", description="folder on that machine which belongs to nnix"
    )


Site.model_rebuild()
KINDS: tuple[type[Resource], ...] = (Exchange, Site, Carrier, Member, Machine)
