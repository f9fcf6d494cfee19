"""The vocabulary of names: TransferKey, Anycast, NameGate, Zone, NameNode, Resolver."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, ClassVar

from pydantic import Field

from nnix.kernel.resource import Duration, Record, Ref, Resource
from nnix.planes.members.kinds import Machine, Member
from nnix.planes.routing.kinds import Prefix, Session

Address = IPv4Address | IPv6Address
FILE_NAME = r"[A-Za-z0-9._-]{1,64}"  # no slash
Secret = Annotated[str, Field(pattern=rf"^secret:{FILE_NAME}$", description="reference to a secret", examples=["secret:tsig-cn"])]
ZONE_OCTETS_MAX = 1 << 30  # ten million delegations and more
DomainName = Annotated[
    str,
    Field(
        pattern=r"^(\.|([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.){1,3})$",
        description="domain name with its last dot, of at most three labels",
        examples=["cn."],
    ),
]


class TsigAlgorithm(StrEnum):
    """HMACs of transaction signatures that are still recommended (RFC 8945, 6)."""

    SHA256 = "hmac-sha256"
    SHA384 = "hmac-sha384"
    SHA512 = "hmac-sha512"


class TransferKey(Resource):
    """A key with which two name servers sign what they say to each other (TSIG, RFC 8945). The secret itself stands in no file of the exchange."""

    columns: ClassVar = ("key_name", "algorithm")

    key_name: DomainName = Field(description="name of the key, as both ends call it", examples=["nnix-cn."])
    algorithm: TsigAlgorithm = Field(default=TsigAlgorithm.SHA256, description="its HMAC")
    secret: Secret = Field(description="reference to the secret, in base64", examples=["secret:tsig-cn"])


class Anycast(Resource):
    """A service that is at several places under the same addresses (RFC 4786): each place announces the prefix, and the nearest is reached."""

    columns: ClassVar = ("member", "prefixes", "addresses")

    member: Ref[Member] = Field(description="whose prefix it is; its ASN announces it")
    prefixes: tuple[Prefix, ...] = Field(min_length=1, description="what is announced", examples=[["203.119.25.0/24"]])
    addresses: tuple[Address, ...] = Field(min_length=1, description="what clients ask, inside", examples=[["203.119.25.1"]])
    cookie_secret: Secret | None = Field(
        default=None,
        description="reference to 32 hexadecimal digits that all nodes share, so that a cookie of one is good at the others (RFC 9018)",
    )
    sites_min: int = Field(default=3, ge=1, le=100, description="at how many sites it must be")


class NameGate(Resource):
    """A verifying gate for names: it fetches zones from the registries' hidden primaries, refuses what does not verify, and feeds the public nodes.

    What has failed leaves the zone as it was; the nodes go on with the last good one.
    """

    columns: ClassVar = ("session", "key", "catalog")

    session: Ref[Session] = Field(description="where it stands on the LAN")
    key: Ref[TransferKey] = Field(description="with which nodes fetch from it")
    catalog: DomainName | None = Field(
        default=None,
        description="name of a catalog of all its zones (RFC 9432), for nodes that take their list from it",
        examples=["catalog.nnix."],
    )
    machine: Ref[Machine] | None = Field(default=None, description="where it runs; unset: a machine of its own name")


class Primary(Record):
    """A server that a zone is fetched from: a registry's hidden primary."""

    address: Address = Field(description="its address", examples=["203.0.113.53"])
    port: int = Field(default=53, ge=1, le=65535, description="its port")


class Zone(Resource):
    """A zone that is hosted for a registry: a top-level domain, or the root for resolvers (RFC 8806)."""

    columns: ClassVar = ("origin", "gate", "member")

    origin: DomainName = Field(description="its name", examples=["cn."])
    member: Ref[Member] = Field(description="the registry")
    gate: Ref[NameGate] = Field(description="which gate fetches and verifies it")
    primaries: tuple[Primary, ...] = Field(min_length=1, description="the registry's hidden primaries, tried in order")
    key: Ref[TransferKey] = Field(description="with which it is fetched from them")
    dnssec: bool = Field(default=True, description="every signature is verified against the keys in the zone, before it is served")
    zonemd: bool = Field(
        default=True, description="its digest is verified (RFC 8976): also what no signature covers, as NS of unsigned delegations"
    )
    anchors: tuple[Annotated[str, Field(pattern=r"^[0-9]{1,5} [0-9]{1,3} 2 [0-9A-F]{64}$")], ...] = Field(
        default=(),
        description="DS of its key signing keys: tag, algorithm, 2, SHA-256. A version whose keys none of them signs is refused by the gate",
        examples=[["20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"]],
    )
    algorithms: tuple[Annotated[int, Field(ge=1, le=255)], ...] = Field(
        default=(8, 10, 13, 14, 15, 16), description="DNSSEC algorithms that it may be signed with (RFC 8624, 3.1)"
    )
    octets_max: int = Field(
        default=ZONE_OCTETS_MAX,
        ge=1 << 10,
        le=1 << 40,
        description="the largest version that the gate takes, in octets without compression",
    )
    lag_max: Duration = Field(
        default=Duration(300_000_000), description="how long a node may serve an older serial than its gate", examples=["5min"]
    )
    life_min: Duration = Field(
        default=Duration(86_400_000_000),
        description="shortest remaining life of a signature with which a node may serve it",
        examples=["1d"],
    )


class ServerMake(StrEnum):
    """Which daemon answers. Two makes at one address: a fault in one is not a fault everywhere."""

    NSD = "nsd"
    KNOT = "knot"


class NameNode(Resource):
    """A public name server at one site, under the addresses of an anycast service; it serves all zones of its gate.

    It announces the prefix while it is healthy. One that is ill withdraws it, unless no other announces it.
    """

    columns: ClassVar = ("session", "anycast", "gate", "daemon")

    session: Ref[Session] = Field(description="where it stands on the LAN; the session's port says at which site")
    anycast: Ref[Anycast] = Field(description="as which service")
    gate: Ref[NameGate] = Field(description="whose zones it serves")
    daemon: ServerMake = Field(default=ServerMake.NSD, description="nsd or knot")
    catalog: bool = Field(default=False, description="true: its zones come from the gate's catalog, so that a new one needs no change here")
    responses_per_second: int = Field(
        default=200,
        ge=0,
        le=16_000,
        description="of the same answer to the same /24 or /56, before every second one is cut short (RRL); 0: no limit. Knot from 3.4 on counts all answers to an address, Knot 3.2 in 16 bits four seconds of it",
    )
    cookies: bool = Field(default=True, description="DNS cookies (RFC 7873)")
    dot_certificate: Secret | None = Field(
        default=None, description="reference to certificate chain and private key in PEM; set: DNS over TLS as well"
    )
    quic: bool = Field(
        default=False, description="DNS over QUIC (RFC 9250) as well, with the certificate of dot_certificate; Knot from 3.3 on"
    )
    statistics: bool = Field(
        default=False,
        description="count questions and answers, by dnstap, in a program beside the server",
    )
    machine: Ref[Machine] | None = Field(default=None, description="where it runs; unset: a machine of its own name")


class Resolver(Resource):
    """A resolver for members: it validates, keeps the root zone itself (RFC 8806), and goes on with what it knows when the outside is cut."""

    columns: ClassVar = ("session", "root", "serve_stale")

    session: Ref[Session] = Field(description="where it stands on the LAN")
    root: Ref[Zone] = Field(description="the root zone, which it fetches from its gate and verifies again itself")
    clients: tuple[Prefix, ...] = Field(default=(), description="who may ask, besides all that is on its LAN", examples=[["198.18.0.0/15"]])
    follow_anchors: bool = Field(
        default=False,
        description="begin with the anchors of the root's Zone, and follow its keys from there on (RFC 5011): a new one is trusted after 30 days in the zone, a revoked one no longer",
    )
    serve_stale: Duration = Field(
        default=Duration(86_400_000_000),
        description="how long past its end an answer may be given when no server can be reached (RFC 8767, 5)",
    )
    dot_certificate: Secret | None = Field(
        default=None, description="reference to certificate chain and private key in PEM; set: DNS over TLS as well"
    )
    statistics: bool = Field(
        default=False,
        description="count questions and answers, by dnstap, in a program beside the server",
    )
    machine: Ref[Machine] | None = Field(default=None, description="where it runs; unset: a machine of its own name")


KINDS: tuple[type[Resource], ...] = (TransferKey, Anycast, NameGate, Zone, NameNode, Resolver)
