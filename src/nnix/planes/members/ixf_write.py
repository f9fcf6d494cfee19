"""The IX-F member export: who is at the exchange, for everybody to read (Euro-IX JSON schemas 0.7 and 1.0).

Only declared facts go out. What an import had to assume is left out, as are contacts, and MACs that a lab made up; an id
that the schema demands and the exchange does not have is 0. Members are sorted by ASN, everything else by name, so that
two exports of one exchange differ by their time stamp alone.

What an import had to take apart is put together again: LANs that are one VLAN, ports that are one connection, sessions
that are one entry of `vlan_list` (`assemble` says how they are named).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Literal

from nnix.kernel.resource import Json
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Lan, LanPurpose, Port, PortState, mac_of
from nnix.planes.members.assemble import OTHER_FAMILY, slug
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
    writer = _Writer(snapshot, version, exchange)
    entries = [*writer.members(), *writer.route_servers()]
    return {
        "version": version,
        "timestamp": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "ixp_list": [writer.exchange_entry()],
        "member_list": sorted(entries, key=lambda each: (each["asnum"], each.get("name", ""))),
    }


def schema(version: str) -> Json:
    """The published JSON schema (draft 4) of an export's version."""
    text = files("nnix.planes.members").joinpath(f"schemas/ixp-member-list-{version}.schema.json").read_text()
    found: Json = json.loads(text)
    return found


def vlan_numbers(lans: Sequence[Lan]) -> dict[str, int]:
    """LAN → id of its VLAN: its own, which LANs that an import made of one VLAN share; where another VLAN has it or there is none,
    the lowest that is free."""
    numbers: dict[str, int] = {}
    declared: set[int] = set()
    taken = {lan.ixf_id for lan in lans if lan.ixf_id is not None}
    for lan in lans:
        number = lan.ixf_id
        if number is None or (number in declared and not lan.assumed):
            number = next(n for n in range(1, 2**31) if n not in taken)
            taken.add(number)
        numbers[lan.name] = number
        if not lan.assumed:
            declared.add(number)
    return numbers


class _Writer:
    """What all parts of one export share: the exchange, the ids of its places and VLANs, and which version it is."""

    def __init__(self, snapshot: Snapshot, version: Version, exchange: Exchange) -> None:
        self.snapshot, self.version, self.of = snapshot, version, exchange
        self.sites = [site for site in snapshot.of(Site) if not site.assumed]
        self.site_ids = {site.name: index for index, site in enumerate(self.sites, start=1)}
        lans = [lan for lan in snapshot.of(Lan) if lan.purpose is LanPurpose.PEERING]
        self.vlan_ids = vlan_numbers(lans)
        self.lans = sorted(lans, key=lambda lan: self.vlan_ids[lan.name])

    def exchange_entry(self) -> Json:
        exchange = self.of
        groups: dict[int, list[Lan]] = {}
        for lan in self.lans:
            groups.setdefault(self.vlan_ids[lan.name], []).append(lan)
        return _said(
            {
                "ixp_id": IXP,
                "ixf_id": exchange.ixf_id or 0,
                "shortname": exchange.title.en if slug(exchange.title.en, "") == exchange.name else exchange.name,
                "name": exchange.title.en,
                "country": None if exchange.country == UNKNOWN_COUNTRY else exchange.country,
                "url": exchange.website,
                "peeringdb_id": exchange.peeringdb_ix,
                "vlan": [self.vlan(number, lans) for number, lans in groups.items()],
                "switch": [self.switch(site) for site in self.sites],
            }
        )

    def vlan(self, number: int, lans: Sequence[Lan]) -> Json:
        first, *_ = sorted(lans, key=lambda lan: lan.assumed)
        fields: Json = {"id": number}
        if first.title.en != f"VLAN {number}":  # what an import calls one without a name
            fields["name"] = first.title.en
        for family, field in (("ipv4", "v4"), ("ipv6", "v6")):
            prefix = getattr(first, field)
            if prefix is not None and not first.assumed and field not in first.inferred:
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
        for member in self.snapshot.of(Member):
            yield _said(
                {
                    "asnum": member.asn,
                    "member_type": _member_type(member),
                    "name": None if member.title.en == f"AS{member.asn}" else member.title.en,
                    "url": member.website,
                    "member_since": f"{member.joined}T00:00:00Z" if member.joined else None,
                    "connection_list": [self.connection(ports) for ports in self.connections(member)],
                }
            )

    def connections(self, member: Member) -> list[list[Port]]:
        """The ports of `member`, those together that an import made of one connection: the first, and one for each further LAN."""
        found: dict[str, list[Port]] = {}
        for port in sorted(self.snapshot.where(Port, member=member.name), key=_by_name):
            base = next((base for lan in self.lans if (base := port.name.removesuffix(f"-{lan.name}")) in found), None)
            if port.assumed and base is not None and found[base][0].site == port.site:
                found[base].append(port)
            else:
                found[port.name] = [port]
        return list(found.values())

    def connection(self, ports: Sequence[Port]) -> Json:
        port = ports[0]
        interface = _said({"switch_id": self.site_ids.get(port.site), "if_speed": None if port.assumed else int(port.speed) // 10**6})
        return _said(
            {
                "ixp_id": IXP,
                "state": STATES[port.state],
                "if_list": [interface] if interface else [],
                "vlan_list": list(self.vlan_entries(ports)),
            }
        )

    def vlan_entries(self, ports: Sequence[Port]) -> Iterator[Json]:
        found = (each for port in ports for each in sorted(self.snapshot.where(Session, port=port.name), key=_by_name))
        sessions = {each.name: each for each in found if each.lan in self.vlan_ids}
        halves = {name: half for name, each in sessions.items() if (half := self.other_half(each, sessions)) is not None}
        for session in sessions.values():
            if session not in halves.values():
                entry: Json = {"vlan_id": self.vlan_ids[session.lan]}
                for each in (session, halves.get(session.name)):
                    entry |= self.sides(each) if each is not None else {}
                yield entry

    def other_half(self, session: Session, among: dict[str, Session]) -> Session | None:
        """The session that is the IPv6 half of `session`, where an import had to take an entry apart."""
        half = among.get(f"{session.name}{OTHER_FAMILY}")
        if half is None or session.v6 is not None or half.v4 is not None:
            return None
        return half if self.vlan_ids[half.lan] == self.vlan_ids[session.lan] else None

    def sides(self, session: Session) -> Json:
        """What is said of a session's addresses, by family."""
        member = self.snapshot.at(session.member)
        as_sets = member.as_sets if session.as_sets is None else session.as_sets
        limits = session.prefixes_max or member.prefixes_max
        return {
            family: _said(
                {
                    "address": str(address),
                    "as_macro": " ".join(as_sets) or None,
                    "routeserver": None if session.assumed else session.route_servers,
                    "max_prefix": limit,
                    "mac_addresses": self.given_macs(session.id, session.macs) or None,
                }
            )
            for family, address, limit in (("ipv4", session.v4, limits.v4), ("ipv6", session.v6, limits.v6))
            if address is not None
        }

    def given_macs(self, holder: str, macs: Sequence[str]) -> list[str]:
        """`macs`, without the one that nnix makes up in a laboratory, where nobody has that card."""
        return [mac for mac in macs if not (self.of.lab and mac == mac_of(holder))]

    def route_servers(self) -> Iterator[Json]:
        """Route servers are entries of the exchange's own AS, as IXP Manager and the schema's authors write them."""
        by_asn: dict[int, list[RouteServer]] = {}
        for server in self.snapshot.of(RouteServer):
            if not server.assumed and server.lan in self.vlan_ids:
                by_asn.setdefault(server.asn or self.of.asn, []).append(server)
        for asn, servers in by_asn.items():
            yield {
                "asnum": asn,
                "member_type": "ixp" if asn == self.of.asn else "other",
                "name": f"{self.of.title.en} route servers",
                "connection_list": [self.route_server(server) for server in sorted(servers, key=_by_name)],
            }

    def route_server(self, server: RouteServer) -> Json:
        entry: Json = {"vlan_id": self.vlan_ids[server.lan]}
        for family, address in (("ipv4", server.v4), ("ipv6", server.v6)):
            if address is not None:
                service: Json = {"service_type": ["ixrouteserver"]}
                if self.version == "1.0":
                    service = {"services": [{"type": "ixrouteserver", "daemon": server.daemon}]}
                macs = self.given_macs(server.id, [server.mac] if server.mac else [])
                entry[family] = _said({"address": str(address), "mac_addresses": macs or None, **service})
        place = self.site_ids.get(server.site)
        interfaces: list[Any] = [] if place is None else [{"switch_id": place}]
        return {"ixp_id": IXP, "state": "active", "if_list": interfaces, "vlan_list": [entry]}


def _by_name(each: Port | Session | RouteServer) -> list[str | int]:
    """Sorts -10 behind -9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", each.name)]


def _member_type(member: Member) -> str | None:
    """None where it came from an export that did not say."""
    if member.ixf_type == "":
        return None
    if member.ixf_type in ("peering", "ixp", "other"):
        return member.ixf_type
    return TYPES.get(member.member_class, "peering")


def _said(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if value is not None}
