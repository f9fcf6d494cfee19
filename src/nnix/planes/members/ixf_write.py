"""The IX-F member export: who is at the exchange, for everybody to read (Euro-IX JSON schemas 0.7 and 1.0).

Only declared facts go out. What an import had to assume is left out, as are contacts; an id that the schema demands and
the exchange does not have is 0. Members are sorted by ASN, everything else by name, so that two exports of one exchange
differ by their time stamp alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Literal

from nnix.kernel.resource import Json
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Lan, LanPurpose, Port, PortState
from nnix.planes.members.kinds import Exchange, Member, MemberClass, Site
from nnix.planes.members.numbers import UNKNOWN_COUNTRY
from nnix.planes.routing.kinds import RouteServer, Session

Version = Literal["0.7", "1.0"]

STATES = {
    PortState.RESERVED: "inactive",
    PortState.QUARANTINE: "quarantine",
    PortState.PRODUCTION: "active",
    PortState.DRAINED: "drained",
    PortState.SUSPENDED: "suspended",
}
TYPES = {MemberClass.IXP: "ixp", MemberClass.ROUTE_SERVER: "other"}
"""member_type of a member that was not imported with one; every other class is `peering`"""
IXP = 1


def write_ixf(snapshot: Snapshot, version: Version, at: datetime) -> Json:
    """The export of the exchange in `snapshot`, made at `at` (aware). Valid against the schema of `version`. Raises LookupError without an Exchange."""
    if not snapshot.of(Exchange):
        raise LookupError("there is no Exchange to export")
    exchange = snapshot.of(Exchange)[0]
    sites = {site.name: index for index, site in enumerate((s for s in snapshot.of(Site) if not s.assumed), start=1)}
    lans = [lan for lan in snapshot.of(Lan) if lan.purpose is LanPurpose.PEERING]
    numbers = dict(_vlan_numbers(lans))
    writer = _Writer(snapshot, version, sites, numbers)
    return {
        "version": version,
        "timestamp": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "ixp_list": [writer.exchange(exchange, lans)],
        "member_list": [*writer.members(), *writer.route_servers(exchange)],
    }


def schema(version: str) -> Json:
    """The published JSON schema (draft 4) of an export's version."""
    text = files("nnix.planes.members").joinpath(f"schemas/ixp-member-list-{version}.schema.json").read_text()
    found: Json = json.loads(text)
    return found


def _vlan_numbers(lans: Iterable[Lan]) -> Iterator[tuple[str, int]]:
    """Each LAN's id: its own where it has one that no other has, else the lowest that is free."""
    taken: set[int] = {lan.ixf_id for lan in lans if lan.ixf_id is not None}
    given: set[int] = set()
    for lan in lans:
        number = lan.ixf_id if lan.ixf_id is not None and lan.ixf_id not in given else next(n for n in range(1, 2**31) if n not in taken)
        taken.add(number)
        given.add(number)
        yield lan.name, number


class _Writer:
    """What all parts of one export share: the ids of places and VLANs, and which version it is."""

    def __init__(self, snapshot: Snapshot, version: Version, sites: dict[str, int], vlans: dict[str, int]) -> None:
        self.snapshot, self.version, self.site_ids, self.vlan_ids = snapshot, version, sites, vlans

    def exchange(self, exchange: Exchange, lans: Iterable[Lan]) -> Json:
        return _said(
            {
                "ixp_id": IXP,
                "ixf_id": exchange.ixf_id or 0,
                "shortname": exchange.name,
                "name": exchange.title.en,
                "country": None if exchange.country == UNKNOWN_COUNTRY else exchange.country,
                "url": exchange.website,
                "peeringdb_id": exchange.peeringdb_ix,
                "vlan": [self.vlan(lan) for lan in lans],
                "switch": [self.switch(site) for site in self.snapshot.of(Site) if not site.assumed],
            }
        )

    def vlan(self, lan: Lan) -> Json:
        fields: Json = {"id": self.vlan_ids[lan.name], "name": lan.title.en}
        for family, prefix in (("ipv4", lan.v4), ("ipv6", lan.v6)):
            if prefix is not None and not lan.assumed:
                fields[family] = {"prefix": str(prefix.network_address), "mask_length": prefix.prefixlen}
        return fields

    def switch(self, site: Site) -> Json:
        return _said(
            {
                "id": self.site_ids[site.name],
                "name": site.name,
                "colo": site.title.en,
                "city": None if site.city == "unknown" else site.city,
                "country": None if site.country == UNKNOWN_COUNTRY else site.country,
                "pdb_facility_id": site.peeringdb_fac,
            }
        )

    def members(self) -> Iterator[Json]:
        for member in sorted(self.snapshot.of(Member), key=lambda each: (each.asn, each.name)):
            yield _said(
                {
                    "asnum": member.asn,
                    "member_type": _member_type(member),
                    "name": None if member.title.en == f"AS{member.asn}" else member.title.en,
                    "url": member.website,
                    "member_since": f"{member.joined}T00:00:00Z" if member.joined else None,
                    "connection_list": [self.connection(port) for port in self.snapshot.where(Port, member=member.name)],
                }
            )

    def connection(self, port: Port) -> Json:
        interface = _said({"switch_id": self.site_ids.get(port.site), "if_speed": None if port.assumed else int(port.speed) // 10**6})
        return _said(
            {
                "ixp_id": IXP,
                "state": STATES[port.state],
                "if_list": [interface] if interface else [],
                "vlan_list": [each for s in self.snapshot.where(Session, port=port.name) if (each := self.vlan_entry(s))],
            }
        )

    def vlan_entry(self, session: Session) -> Json | None:
        if session.lan not in self.vlan_ids:
            return None
        member = self.snapshot.at(session.member)
        entry: Json = {"vlan_id": self.vlan_ids[session.lan]}
        as_sets = member.as_sets if session.as_sets is None else session.as_sets
        limits = session.prefixes_max or member.prefixes_max
        for family, address, limit in (("ipv4", session.v4, limits.v4), ("ipv6", session.v6, limits.v6)):
            if address is not None:
                entry[family] = _said(
                    {
                        "address": str(address),
                        "as_macro": " ".join(as_sets) or None,
                        "routeserver": session.route_servers,
                        "max_prefix": limit,
                        "mac_addresses": list(session.macs) or None,
                    }
                )
        return entry

    def route_servers(self, exchange: Exchange) -> Iterator[Json]:
        """Route servers are entries of the exchange's own AS, as IXP Manager and the schema's authors write them."""
        by_asn: dict[int, list[RouteServer]] = {}
        for server in self.snapshot.of(RouteServer):
            if not server.assumed and server.lan in self.vlan_ids:
                by_asn.setdefault(server.asn or exchange.asn, []).append(server)
        for asn, servers in sorted(by_asn.items()):
            connections = []
            for server in servers:
                entry: Json = {"vlan_id": self.vlan_ids[server.lan]}
                for family, address in (("ipv4", server.v4), ("ipv6", server.v6)):
                    if address is not None:
                        service: Json = {"service_type": ["ixrouteserver"]}
                        if self.version == "1.0":
                            service = {"services": [{"type": "ixrouteserver", "daemon": server.daemon}]}
                        entry[family] = {"address": str(address), "routeserver": False, **service}
                place = self.site_ids.get(server.site)
                interfaces: list[Any] = [] if place is None else [{"switch_id": place}]
                connections.append({"ixp_id": IXP, "state": "active", "if_list": interfaces, "vlan_list": [entry]})
            yield {"asnum": asn, "member_type": "other", "name": f"{exchange.title.en} route servers", "connection_list": connections}


def _member_type(member: Member) -> str:
    if member.ixf_type in ("peering", "ixp", "other"):
        return member.ixf_type
    return TYPES.get(member.member_class, "peering")


def _said(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if value is not None}
