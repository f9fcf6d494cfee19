"""Tables: what a cache serves, where, and within which bounds; the configuration of `serve`.

A table is one set of payloads with its own listeners, session and serials: the VRPs of the relying party on one port, sets derived
from the IRR on another. A router that wants both has two sessions (8210bis has no word for tables within one).
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Literal, Self

from pydantic import Field, model_validator

from nnix.kernel.resource import NAME_PATTERN, Record
from nnix.planes.trust.rtr.wire import EXPIRE_RANGE, REFRESH_RANGE, RETRY_RANGE, VERSIONS, Intervals


class Listener(Record):
    """Where routers connect. SSH is sshd's business: its subsystem rpki-rtr connects here (docs/rtr.md)."""

    address: str = Field(description="IPv4 or IPv6 address")
    port: int = Field(ge=0, le=65_535, description="323 for TCP, 324 for TLS (RFC 8210, 14); 0 lets the system choose")
    transport: Literal["tcp", "tls", "md5"] = "tcp"


class Tls(Record):
    """Files in PEM. With `client_ca`, a router must show a certificate from there (RFC 8210, 9.2)."""

    certificate: str
    key: str
    client_ca: str | None = None


class Md5(Record):
    """A key that peers of `prefix` sign their segments with (TCP-MD5, RFC 2385; RFC 8210, 9.3). Weak, and the one that old routers have."""

    prefix: IPv4Network | IPv6Network
    key: str = Field(min_length=1, max_length=80)


class Table(Record):
    """One set and those who may have it."""

    name: str = Field(pattern=NAME_PATTERN)
    file: str = Field(description="the relying party's JSON; written beside it and moved there")
    listen: tuple[Listener, ...] = Field(min_length=1)
    tls: Tls | None = None
    md5: tuple[Md5, ...] = Field(
        default=(), description="keys for listeners with transport md5; whoever is in none of the prefixes cannot connect there"
    )
    refresh_seconds: int = Field(default=3600, ge=REFRESH_RANGE[0], le=REFRESH_RANGE[1])
    retry_seconds: int = Field(default=600, ge=RETRY_RANGE[0], le=RETRY_RANGE[1])
    expire_seconds: int = Field(default=7200, ge=EXPIRE_RANGE[0], le=EXPIRE_RANGE[1])
    version_least: int = Field(default=VERSIONS[0], ge=VERSIONS[0], le=VERSIONS[-1])
    version_most: int = Field(default=VERSIONS[-1], ge=VERSIONS[0], le=VERSIONS[-1])
    notify_seconds_min: float = Field(default=60, ge=0, description="between two Serial Notifies to one router (RFC 8210, 5.2: 60)")
    age_seconds_max: int = Field(default=86_400, ge=60, description="a set made longer ago is not served any more: Error Report 2")
    may_be_empty: bool = Field(default=False, description="for derived sets: a document without a VRP is the truth")
    marked: bool = Field(default=False, description="hand out one VRP more, by which a filter can tell that it has data (records.MARK4)")
    any_length: bool = Field(default=False, description="let every VRP allow all more specifics: to judge by, what a prefix covers")
    peers_max: int = Field(default=1000, ge=1)
    peers_per_address_max: int = Field(default=64, ge=1)

    @model_validator(mode="after")
    def fits(self) -> Self:
        """RFC 8210, 6: expire is the largest of the three."""
        if self.expire_seconds <= max(self.refresh_seconds, self.retry_seconds):
            raise ValueError("expire_seconds must be more than refresh_seconds and retry_seconds (RFC 8210, 6)")
        if self.version_least > self.version_most:
            raise ValueError("version_least is more than version_most")
        if self.tls is None and any(each.transport == "tls" for each in self.listen):
            raise ValueError("a listener with TLS needs `tls`: certificate and key")
        for each in self.listen:
            if each.transport == "md5" and not any((":" in each.address) == (key.prefix.version == 6) for key in self.md5):
                raise ValueError("a listener with TCP-MD5 needs a key in `md5` for its address family")
        return self

    @property
    def versions(self) -> tuple[int, ...]:
        return tuple(range(self.version_least, self.version_most + 1))

    @property
    def intervals(self) -> Intervals:
        return Intervals(self.refresh_seconds, self.retry_seconds, self.expire_seconds)


class Caches(Record):
    """All tables of one server."""

    state: str = Field(description="folder for histories and the status; one server at a time")
    program: str = Field(default="", description="digest of the program that shall run; for whoever starts it")
    look_seconds: float = Field(default=0.5, gt=0, le=60, description="how often the files are looked at; SIGHUP looks at once")
    tables: tuple[Table, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def names_differ(self) -> Self:
        names = [each.name for each in self.tables]
        if len(set(names)) != len(names):
            raise ValueError("two tables have one name")
        return self
