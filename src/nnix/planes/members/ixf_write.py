"""Writing IX-F member exports, versions 0.7 and 1.0 (Euro-IX JSON schemas).

An export says what is declared and nothing more: no contact addresses, no values that nobody stated. Members stand in the
order of their AS numbers; the exchange's own route servers stand among them, as type `ixp`, the way other exchanges list
theirs, unless the exchange's number is one for documentation: that names no network, so there is nobody to publish.

The schema wants an `ixf_id` even of an exchange that the IXP database does not know: 0 says so.

Two Sessions behind one port on one LAN, one with an IPv4 address and one with an IPv6 address, are one entry again;
LANs with one `ixf_id` are one VLAN again (see `assemble` and `lans`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from nnix.kernel.resource import Json, Resource
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Lan, LanPurpose, Port, PortState
from nnix.planes.members.assemble import slug
from nnix.planes.members.kinds import Exchange, Member, MemberClass, PrefixLimit, Site
from nnix.planes.members.numbers import DOCUMENTATION, UNKNOWN_COUNTRY, set_aside
from nnix.planes.routing.kinds import RouteServer, Session

Version = Literal["0.7", "1.0"]
IXF_ID_UNKNOWN = 0

STATE_WORDS: dict[PortState, str] = {
    PortState.PRODUCTION: "active",
    PortState.RESERVED: "inactive",
    PortState.QUARANTINE: "quarantine",
    PortState.DRAINED: "drained",
    PortState.SUSPENDED: "suspended",
}
TYPES = ("peering", "ixp", "other")
OLDER_TYPES = {"routeserver": "ixp", "probono": "other"}


def write_ixf(snapshot: Snapshot, version: Version, at: datetime) -> Json:
    """The member export of the exchange in `snapshot`, as JSON-ready data; `at` becomes its timestamp.

    Raises Refused when the snapshot has no Exchange, ValueError when `at` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("a moment with its time zone")
    exchanges = snapshot.of(Exchange)
    if not exchanges:
        raise Refused([Refusal("exchange", "", "there is no Exchange", "exactly one Exchange", "ixf.exchange", "Euro-IX JSON schemas")])
    return _Export(snapshot, version, exchanges[0]).document(at)


class _Export:
    def __init__(self, snapshot: Snapshot, version: Version, exchange: Exchange) -> None:
        self.snapshot = snapshot
        self.version = version
        self.exchange = exchange
        self.ixp_id = exchange.ixf_id or exchange.peeringdb_ix or 1
        self.switches = {site.name: number for number, site in enumerate(filter(_stated, snapshot.of(Site)), start=1)}
        self.lans = {lan.name: lan for lan in snapshot.of(Lan) if lan.purpose is LanPurpose.PEERING}
        self.vlan_ids = _vlan_ids(tuple(self.lans.values()))

    def document(self, at: datetime) -> Json:
        return {
            "version": self.version,
            "timestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "ixp_list": [self.ixp()],
            "member_list": self.members(),
        }

    # --- the exchange

    def ixp(self) -> Json:
        exchange = self.exchange
        title = exchange.title.en
        return _known(
            {
                "shortname": title if slug(title, "") == exchange.name else exchange.name,
                "name": title,
                "country": exchange.country if exchange.country != UNKNOWN_COUNTRY else None,
                "url": _url(exchange.website),
                "ixp_id": self.ixp_id,
                "ixf_id": exchange.ixf_id or IXF_ID_UNKNOWN,
                "peeringdb_id": exchange.peeringdb_ix,
                "vlan": list(self.vlans()),
                "switch": list(self.sites()),
            }
        )

    def vlans(self) -> Iterator[Json]:
        groups: dict[int, list[Lan]] = {}
        for name, number in self.vlan_ids.items():
            groups.setdefault(number, []).append(self.lans[name])
        for number, lans in sorted(groups.items()):
            entry: Json = {"id": number, "name": lans[0].title.en}
            for family in ("v4", "v6"):
                prefix = next((prefix for lan in lans if _stated(lan) and (prefix := getattr(lan, family)) is not None), None)
                if prefix is not None:
                    entry[f"ip{family}"] = {"prefix": str(prefix.network_address), "mask_length": prefix.prefixlen}
            yield entry

    def sites(self) -> Iterator[Json]:
        for name, number in self.switches.items():
            site = self.snapshot.get(Site, name)
            if site is not None:
                city = site.city if site.city != "unknown" else None
                country = site.country if site.country != UNKNOWN_COUNTRY else None
                yield _known(
                    {
                        "id": number,
                        "name": name,
                        "colo": site.title.en,
                        "city": city,
                        "country": country,
                        "pdb_facility_id": site.peeringdb_fac,
                    }
                )

    # --- members

    def members(self) -> list[Json]:
        entries = [(member.asn, self.member(member)) for member in self.snapshot.of(Member)]
        entries += self.own_members()
        return [entry for _, entry in sorted(entries, key=lambda each: each[0])]

    def member(self, member: Member) -> Json:
        title = member.title.en
        ports = sorted(self.snapshot.where(Port, member=member.name), key=lambda port: _natural(port.name))
        return _known(
            {
                "asnum": member.asn,
                "member_type": _type(member),
                "name": title if title != f"AS{member.asn}" else None,
                "url": _url(member.website),
                "member_since": f"{member.joined}T00:00:00Z" if member.joined else None,
                "connection_list": [self.connection(port, member) for port in ports],
            }
        )

    def connection(self, port: Port, member: Member) -> Json:
        interface: Json = {}
        if port.site in self.switches:
            interface["switch_id"] = self.switches[port.site]
        if _stated(port) and port.speed >= 10**6:
            interface["if_speed"] = int(port.speed) // 10**6
        sessions = sorted(self.snapshot.where(Session, port=port.name), key=lambda session: _natural(session.name))
        return {
            "ixp_id": self.ixp_id,
            "state": STATE_WORDS[port.state],
            "if_list": [interface] if interface else [],
            "vlan_list": list(self.entries([each for each in sessions if each.lan in self.vlan_ids], member)),
        }

    def entries(self, sessions: Sequence[Session], member: Member) -> Iterator[Json]:
        """One entry per session; one with IPv4 alone takes in the next with IPv6 alone on the same VLAN."""
        rest = list(sessions)
        while rest:
            session = rest.pop(0)
            number = self.vlan_ids[session.lan]
            entry: Json = {"vlan_id": number, **self.sides(session, member)}
            missing = {"ipv4", "ipv6"} - entry.keys()
            if len(missing) == 1:
                other = next(
                    (each for each in rest if self.vlan_ids[each.lan] == number and self.sides(each, member).keys() == missing), None
                )
                if other is not None:
                    rest.remove(other)
                    entry |= self.sides(other, member)
            if missing != {"ipv4", "ipv6"}:
                yield entry

    def sides(self, session: Session, member: Member) -> Json:
        as_sets = session.as_sets if session.as_sets is not None else member.as_sets
        limits: PrefixLimit = session.prefixes_max if session.prefixes_max is not None else member.prefixes_max
        made: Json = {}
        for family in ("v4", "v6"):
            address = getattr(session, family)
            if address is not None:
                made[f"ip{family}"] = _known(
                    {
                        "address": str(address),
                        "as_macro": " ".join(as_sets) or None,
                        "max_prefix": getattr(limits, family),
                        "routeserver": session.route_servers,
                        "mac_addresses": list(session.macs) or None,
                    }
                )
        return made

    # --- the exchange's own

    def own_members(self) -> Iterator[tuple[int, Json]]:
        by_asn: dict[int, list[RouteServer]] = {}
        for each in self.snapshot.of(RouteServer):
            if _stated(each) and each.lan in self.vlan_ids and (each.v4 is not None or each.v6 is not None):
                by_asn.setdefault(each.asn or self.exchange.asn, []).append(each)
        for asn, servers in by_asn.items():
            aside = set_aside(asn)
            if aside is None or aside.purpose != DOCUMENTATION:
                name, connections = self.exchange.title.en, [self.server(each) for each in servers]
                yield asn, {"asnum": asn, "member_type": "ixp", "name": name, "connection_list": connections}

    def server(self, server: RouteServer) -> Json:
        service: Json = {"service_type": ["ixrouteserver"]}
        if self.version == "1.0":
            service = {"services": [{"type": "ixrouteserver", "daemon": server.daemon}]}
        entry: Json = {"vlan_id": self.vlan_ids[server.lan]}
        for family in ("v4", "v6"):
            address = getattr(server, family)
            if address is not None:
                macs = [server.mac] if server.mac else None
                entry[f"ip{family}"] = _known({"address": str(address), "routeserver": False, "mac_addresses": macs, **service})
        interfaces = [{"switch_id": self.switches[server.site]}] if server.site in self.switches else []
        return {"ixp_id": self.ixp_id, "state": "active", "if_list": interfaces, "vlan_list": [entry]}


def _vlan_ids(lans: Sequence[Lan]) -> dict[str, int]:
    """LAN → number in the export: its `ixf_id`, or the lowest that none has."""
    used = {lan.ixf_id for lan in lans if lan.ixf_id is not None}
    free = (number for number in range(1, len(lans) + len(used) + 1) if number not in used)
    return {lan.name: lan.ixf_id if lan.ixf_id is not None else next(free) for lan in lans}


def _type(member: Member) -> str:
    if member.ixf_type is not None:
        kept = OLDER_TYPES.get(member.ixf_type, member.ixf_type)
        return kept if kept in TYPES else "other"
    return "ixp" if member.member_class in (MemberClass.IXP, MemberClass.ROUTE_SERVER) else "peering"


def _stated(resource: Resource) -> bool:
    """Whether somebody said so; an import marks what it had to assume, in kinds that have a field for it."""
    return not getattr(resource, "assumed", False)


def _known(fields: dict[str, Any]) -> Json:
    return {key: value for key, value in fields.items() if value is not None}


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts as1-2 before as1-10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name))


def _url(text: str | None) -> str | None:
    """An absolute web address; None for what the schema would not accept as a URI (RFC 3986)."""
    if text is None or not re.fullmatch(r"[!#-;=?-Z_a-z~\[\]]+", text):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if parts.scheme in ("http", "https") and parts.hostname else None
