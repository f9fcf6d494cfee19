"""From a member list to an exchange that can be admitted and run in the lab.

A list says who is where; an exchange needs more: a hub, lines between sites, two route servers on each LAN, a policy. What
the list does not say is supplied here by plain assumptions, each with a finding, so that the operator sees what to
correct. The exchange is declared a laboratory: its members have not agreed to be run by us.

Names are made from AS numbers (`as64500`, its ports `as64500-1`, `as64500-2`), so that the same list gives the same names
tomorrow, whatever a member calls itself by then.

A session holds one route-server flag, one set of as-sets and one set of MACs. Where a list gives an address pair
different ones for IPv4 and IPv6, the pair becomes two sessions, `as64500-1` and `as64500-1-v6`, and no fact is lost. A port
is untagged, so a connection with several VLANs becomes several ports, `as64500-1` and `as64500-1-LAN`. An export joins
both again, by these names.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

from pydantic import ValidationError

from nnix.kernel.resource import BitRate, Json, Resource
from nnix.planes.fabric.kinds import Lan, Link, Port
from nnix.planes.members.kinds import WEBSITE_PATTERN, Exchange, Level, Member, MemberClass, Site, SiteRole
from nnix.planes.members.lans import NO_VLAN, Ground, Standing, free_hosts, grounds
from nnix.planes.members.numbers import DOCUMENTATION, UNKNOWN_COUNTRY, set_aside
from nnix.planes.members.rules import FULL_TABLE
from nnix.planes.members.sheet import Address, Connection, Log, Participant, Place, Presence, Sheet, shown
from nnix.planes.routing.kinds import Irr, RouteServer, RoutingPolicy, Rpki, Session

SPEED_ASSUMED = "10G"
LINK_CAPACITY_ASSUMED = "400G"
LINK_LATENCY_ASSUMED = "1ms"
LAN_ASSUMED = {"v4": ip_network("192.0.2.0/24"), "v6": ip_network("2001:db8::/64")}
ASNS_ASSUMED = (*range(64500, 64512), *range(64496, 64500), *range(65536, 65552))
POLICY = "default"
OTHER_FAMILY = "-v6"
"""behind the name of a session whose IPv6 half, in one entry with it, had to become a session of its own"""


def assemble(sheet: Sheet, log: Log) -> tuple[Resource, ...]:
    """The resources of a whole exchange; what had to be supplied or left out goes to `log`. Never raises."""
    return tuple(_Exchange(sheet, log).resources())


def slug(text: str, fallback: str) -> str:
    """`text` as the name of a resource: at most 28 lower-case letters, digits and hyphens; `fallback` where nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:28].strip("-") or fallback


class Names:
    """Hands out each name once; the second to ask for it gets `-2` behind it."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def give(self, name: str) -> str:
        wanted, number = name, 1
        while wanted in self._given:
            number += 1
            wanted = f"{name}-{number}"
        self._given.add(wanted)
        return wanted


@dataclass(frozen=True, slots=True)
class _Server:
    """A route server that the list names, by its addresses on one LAN."""

    asn: int
    place: str | None
    presences: tuple[Presence, ...]


@dataclass
class _Exchange:
    """The sheet on its way to resources. Each method makes one kind, in the order in which they refer to one another."""

    sheet: Sheet
    log: Log
    site_of: dict[str, str] = field(default_factory=dict)
    machines: Names = field(default_factory=Names)
    used: set[Address] = field(default_factory=set)
    macs: dict[tuple[int, str], str] = field(default_factory=dict)
    lan_names: list[str] = field(default_factory=list)

    def resources(self) -> Iterator[Resource]:
        participants = _unique_addresses(_merged(self.sheet.participants, self.log), self.log)
        self.lans, self.placed = grounds(self.sheet.vlans, tuple(_standings(participants)), self.log)
        if not self.lans:
            self.log.repaired(
                "ixp_list", "no VLAN has a prefix or an address", f"a LAN {LAN_ASSUMED['v4']}, {LAN_ASSUMED['v6']} (RFC 5737, RFC 3849)"
            )
        self.used = set(self.placed)
        servers = self.servers(participants)
        self.asn = self.exchange_asn(participants, servers)
        sites = tuple(self.sites(participants))
        yield self.exchange(sites)
        yield from sites
        yield from self.links(sites)
        yield from self.lan_resources()
        yield self.policy()
        yield from self.route_servers(servers, sites)
        for participant in participants:
            yield from self.member(participant)
        self.summaries(participants)

    def made(self, kind: type[Resource], where: str, fields: Json) -> Iterator[Resource]:
        """The resource, or, where the kind does not accept it, a finding."""
        try:
            yield kind.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            self.log.left_out(where, f"{'.'.join(map(str, first['loc']))}: {first['msg']}", f"{kind.slug()} {fields.get('name')}")

    # --- the exchange and its places

    def exchange_asn(self, participants: Sequence[Participant], servers: Sequence[tuple[int, _Server]]) -> int:
        if self.sheet.asn is not None:
            if _names_a_network(self.sheet.asn):
                return self.sheet.asn
            self.log.left_out("ixp_list", f"AS{self.sheet.asn} is no number that an exchange could have", "the AS of the exchange")
        if servers:
            return Counter(server.asn for _, server in servers).most_common(1)[0][0]
        members = {each.asn for each in participants}
        asn = next((each for each in ASNS_ASSUMED if each not in members), None)
        if asn is None:
            asn = next(each for each in range(131072, 4200000000) if each not in members)
        self.log.repaired("ixp_list", "the AS of the exchange is not said", f"AS{asn}, a documentation number (RFC 5398)")
        return asn

    def exchange(self, sites: Sequence[Site]) -> Resource:
        title = self.sheet.title or self.sheet.short_title or "Unnamed Exchange"
        country = self.country()
        if country == UNKNOWN_COUNTRY:
            self.log.repaired("ixp_list", "the country of the exchange is not said", f"{UNKNOWN_COUNTRY}, unknown")
        self.log.repaired("", "members have not agreed to be run here", "the exchange is declared a laboratory (lab: true)")
        fields = {
            "name": slug(self.sheet.short_title or title, "exchange"),
            "title": {"en": title},
            "asn": self.asn,
            "country": country,
            "city": self.sheet.city,
            "website": _website(self.sheet.website, "ixp_list", self.log),
            "peeringdb_ix": _identity(self.sheet.peeringdb_ix),
            "ixf_id": _identity(self.sheet.ixf_id),
            "lab": True,
        }
        return Exchange.model_validate(_stated(fields))

    def country(self) -> str:
        if self.sheet.country is not None:
            return self.sheet.country
        known = {each.country for each in self.sheet.places if each.country}
        return known.pop() if len(known) == 1 else UNKNOWN_COUNTRY

    def sites(self, participants: Sequence[Participant]) -> Iterator[Site]:
        """The hub is where most connections are. A second site is added where the list knows one: the route servers need two."""
        places = list(self.sheet.places)
        crowd = Counter(each.place for participant in participants for each in participant.connections)
        if not places:
            self.log.repaired("ixp_list", "no places are said", "all members stand at one site, the hub")
            places = [Place("", "ixp_list", self.sheet.city or "Hub", assumed=True)]
        places.sort(key=lambda each: (-crowd[each.key], slug(each.title, "")))
        if len(places) == 1:
            self.log.repaired("ixp_list", "one site only", "a second one, node, for the second route server")
            places.append(Place("\0second", "ixp_list", "Node", places[0].city, places[0].country, assumed=True))
        cities = {each.city or self.sheet.city for each in places}
        for index, place in enumerate(places):
            country = place.country or self.country()
            level = Level.CITY if len(cities) == 1 else Level.NATIONAL
            fields = {
                "name": self.machines.give(slug(place.title, "site")),
                "title": {"en": place.title},
                "role": SiteRole.NODE if index else SiteRole.HUB,
                "level": level if country == self.country() else Level.CROSS_BORDER,
                "city": place.city or self.sheet.city or "unknown",
                "country": country,
                "latitude": place.latitude if place.longitude is not None else None,
                "longitude": place.longitude if place.latitude is not None else None,
                "peeringdb_fac": place.facility,
                **_assumed(Site, place.assumed),
            }
            site = Site.model_validate(_stated(fields))
            self.site_of[place.key] = site.name
            if index == 0:
                self.hub = site.name
            yield site

    def links(self, sites: Sequence[Site]) -> Iterator[Resource]:
        problem, done = (
            "lines between sites are not said",
            f"a line of {LINK_CAPACITY_ASSUMED}, {LINK_LATENCY_ASSUMED} from the hub to each site",
        )
        self.log.repaired("ixp_list", problem, done)
        for site in sites[1:]:
            fields = {"a": self.hub, "b": site.name, "capacity": LINK_CAPACITY_ASSUMED, "latency": LINK_LATENCY_ASSUMED}
            yield from self.made(Link, "ixp_list", {"name": f"{self.hub}-{site.name}", **fields})

    def lan_resources(self) -> Iterator[Resource]:
        names = Names()
        if not self.lans:
            self.lan_names.append(names.give("peering"))
            self.lans = (Ground(NO_VLAN),)
            fields = {"name": "peering", "title": {"en": f"VLAN {NO_VLAN.ixf_id}"}, "ixf_id": NO_VLAN.ixf_id, **LAN_ASSUMED}
            yield from self.made(Lan, "ixp_list", fields | _assumed(Lan, True))
            return
        for ground in self.lans:
            vlan = ground.vlan
            title = vlan.title or (f"VLAN {vlan.ixf_id}" if vlan.ixf_id is not None else "Peering LAN")
            name = names.give(slug(title, "lan"))
            self.lan_names.append(name)
            fields = {"v4": ground.v4, "v6": ground.v6, "mtu": vlan.mtu, "ixf_id": vlan.ixf_id}
            marks = {"inferred": ground.inferred} if ground.declared else _assumed(Lan, True)
            yield from self.made(Lan, vlan.where, _stated({"name": name, "title": {"en": title}, **fields, **marks}))

    # --- route servers

    def policy(self) -> Resource:
        self.log.repaired("", "no registry files or ROAs come with a member list", "routes are held against neither: irr off, rpki off")
        never = tuple(asn for asn in self.sheet.never_via_route_servers if _names_a_network(asn))
        fields = {"name": POLICY, "irr": Irr.OFF, "rpki": Rpki.OFF, "never_via_route_servers": never}
        return RoutingPolicy.model_validate(fields)

    def servers(self, participants: Sequence[Participant]) -> tuple[tuple[int, _Server], ...]:
        """(index of LAN, route server) for each that the list names."""
        found: list[tuple[int, _Server]] = []
        for participant in participants:
            for connection in participant.connections:
                for entry in connection.entries:
                    by_lan: dict[int, list[Presence]] = {}
                    for each in entry.presences:
                        if each.is_route_server and each.address in self.placed:
                            by_lan.setdefault(self.placed[each.address], []).append(each)
                    found += [(lan, _Server(participant.asn, connection.place, tuple(group))) for lan, group in by_lan.items()]
        return tuple(found)

    def route_servers(self, servers: Sequence[tuple[int, _Server]], sites: Sequence[Site]) -> Iterator[Resource]:
        for index, ground in enumerate(self.lans):
            named = [server for lan, server in servers if lan == index]
            wanted = [*named, *[None] * (2 - len(named))]
            stands = [self.site_of.get(each.place or "", self.hub) if each else "" for each in wanted]
            for position in range(len(wanted)):
                if wanted[position] is None:
                    stands[position] = sites[0].name if sites[0].name not in stands else sites[1].name
            if len(set(stands)) == 1:
                self.log.repaired(
                    ground.vlan.where, f"all its route servers stand at {stands[0]}", "the last is moved, so that they do not fail together"
                )
                stands[-1] = next(each.name for each in sites if each.name != stands[0])
            for number, (server, site) in enumerate(zip(wanted, stands, strict=True), start=1):
                yield from self.route_server(index, number, server, site)

    def route_server(self, lan: int, number: int, server: _Server | None, site: str) -> Iterator[Resource]:
        ground = self.lans[lan]
        fields: Json = {
            "name": self.machines.give(f"rs{number}" if lan == 0 else f"rs{number}-{self.lan_names[lan]}"),
            "site": site,
            "lan": self.lan_names[lan],
            "policy": POLICY,
            **_assumed(RouteServer, server is None),
        }
        if server is not None:
            fields |= {f"v{each.address.version}": each.address for each in server.presences}
            mac = next(
                (mac for each in server.presences for mac in each.macs if self.claims(lan, mac, fields["name"], server.presences[0].where)),
                None,
            )
            fields |= {"mac": mac} if mac else {}
            fields |= {"asn": server.asn} if server.asn != self.asn else {}
        else:
            prefixes = {"v4": ground.v4, "v6": ground.v6} if ground.v4 or ground.v6 else LAN_ASSUMED
            for key, prefix in prefixes.items():
                address = next(free_hosts(prefix, self.used), None) if prefix is not None else None
                if address is not None:
                    fields[key] = address
                    self.used.add(address)
            if not fields.keys() & {"v4", "v6"}:
                self.log.left_out(ground.vlan.where, "no address is free", f"route server {fields['name']}")
                return
            self.log.repaired(ground.vlan.where, "fewer than two route servers are said", "two, at free addresses")
        if "v4" not in fields:
            fields["router_id"] = f"192.0.2.{1 + (2 * lan + number - 1) % 254}"
            self.log.repaired(
                ground.vlan.where, "a route server without IPv4 address needs a BGP identifier", f"{fields['router_id']} (RFC 6286)"
            )
        yield from self.made(RouteServer, ground.vlan.where, fields)

    def claims(self, lan: int, mac: str, holder: str, where: str) -> bool:
        """Whether `holder` may have `mac` on the LAN: a MAC at two ports would be filtered at one of them."""
        first = self.macs.setdefault((lan, mac), holder)
        if first != holder:
            self.log.left_out(where, f"{mac} is {first}'s already", "the MAC address")
        return first == holder

    # --- members

    def member(self, participant: Participant) -> Iterator[Resource]:
        ordinary = tuple(each for each in participant.connections if not _only_route_server(each))
        if participant.connections and not ordinary:
            return
        if participant.asn == self.asn:
            self.log.left_out(
                participant.where, f"AS{self.asn} is the exchange's own; its routers are no members", "what is not a route server of it"
            )
            return
        name = f"as{participant.asn}"
        ports: list[Resource] = []
        sessions: list[tuple[str, tuple[Presence, ...], Json]] = []
        for number, connection in enumerate(ordinary, start=1):
            base = f"{name}-{number}"
            ports += self.port(name, base, connection)
            taken = Names()
            port_of: dict[int, str] = {}
            for lan, presences, is_half in self.pairs(connection):
                if lan not in port_of:  # a port is untagged, so each further VLAN gets a port of its own
                    port_of[lan] = base if not port_of else f"{base}-{self.lan_names[lan]}"
                    if port_of[lan] != base:
                        self.log.repaired(connection.where, "a second VLAN on one connection", f"a port of its own, {port_of[lan]}")
                        ports += self.port(name, port_of[lan], replace(connection, speed_mbit=None))
                port = port_of[lan]
                macs = [mac for mac in presences[0].macs if self.claims(lan, mac, port, presences[0].where)]
                called = taken.give(f"{sessions[-1][2]['name']}{OTHER_FAMILY}" if is_half else port)
                fields: Json = {"name": called, "member": name, "lan": self.lan_names[lan], "port": port, "macs": macs}
                fields |= {f"v{each.address.version}": each.address for each in presences}
                fields |= {"route_servers": False} if presences[0].route_servers is False else {}
                fields |= _assumed(Session, presences[0].route_servers is None)
                sessions.append((presences[0].where, presences, fields))
        own = _own_statement(participant, sessions)
        member = tuple(self.made(Member, participant.where, self.member_fields(name, participant) | own))
        if not member:
            return
        yield from member
        yield from ports
        for where, _, fields in sessions:
            yield from self.made(Session, where, fields)

    def member_fields(self, name: str, participant: Participant) -> Json:
        return _stated(
            {
                "name": name,
                "title": {"en": participant.title or f"AS{participant.asn}"},
                "asn": participant.asn,
                "class": participant.member_class or MemberClass.ISP,
                "website": _website(participant.website, participant.where, self.log),
                "joined": participant.joined,
                "ixf_type": participant.ixf_type,
            }
        )

    def port(self, member: str, name: str, connection: Connection) -> Iterator[Resource]:
        speed = SPEED_ASSUMED if connection.speed_mbit is None else str(BitRate(connection.speed_mbit * 10**6))
        site = self.site_of.get(connection.place or "", self.hub)
        fields: dict[str, Any] = {"name": name, "member": member, "site": site, "speed": speed, "state": connection.state}
        yield from self.made(Port, connection.where, fields | _assumed(Port, connection.speed_mbit is None))

    def pairs(self, connection: Connection) -> Iterator[tuple[int, tuple[Presence, ...], bool]]:
        """(LAN, addresses of one session, whether the list has it in one entry with the session before).

        Addresses of one entry are one session where it can hold both. Of addresses that have an entry each, the first alike are.
        """
        waiting: dict[int, list[Presence]] = {}
        for entry in connection.entries:
            here = [each for each in entry.presences if each.address in self.placed and not each.is_route_server]
            if len(here) == 2 and len({self.lans[self.placed[each.address]].vlan.key for each in here}) == 1:
                four, six = sorted(here, key=lambda each: each.address.version)
                lan, other = self.placed[four.address], self.placed[six.address]
                if lan == other and _alike(four, six):
                    yield lan, (four, six), False
                else:
                    yield lan, (four,), False
                    yield other, (six,), True
            else:
                for each in here:
                    waiting.setdefault(self.placed[each.address], []).append(each)
        for lan, presences in waiting.items():
            sixes = [each for each in presences if each.address.version == 6]
            for four in (each for each in presences if each.address.version == 4):
                found = next((each for each in sixes if _alike(four, each)), None)
                if found is not None:
                    sixes.remove(found)
                yield lan, (four,) if found is None else (four, found), False
            yield from ((lan, (six,), False) for six in sixes)

    def summaries(self, participants: Sequence[Participant]) -> None:
        """What holds of many members is said once."""
        speechless = sum(each.speed_mbit is None for participant in participants for each in participant.connections)
        if speechless:
            self.log.repaired("member_list", f"{speechless} connections do not say their speed", f"taken as {SPEED_ASSUMED}")
        classless = sum(each.member_class is None for each in participants)
        if classless:
            self.log.repaired("member_list", f"{classless} members do not say what they are", f"class {MemberClass.ISP}")


def _own_statement(participant: Participant, sessions: Iterable[tuple[str, tuple[Presence, ...], Json]]) -> Json:
    """As-sets and limits stand on the member where all its sessions agree, else on each session (written into its fields)."""
    sessions = tuple(sessions)
    own: Json = {}
    stated = {presences[0].as_sets for _, presences, _ in sessions}
    if participant.as_sets or len(stated) == 1:
        own["as_sets"] = participant.as_sets or stated.pop()
    elif stated:
        for _, presences, fields in sessions:
            fields["as_sets"] = presences[0].as_sets

    limits = {
        version: {each.routes_max for _, presences, _ in sessions for each in presences if each.address.version == version}
        for version in (4, 6)
    }
    common = dict(zip((4, 6), participant.routes_max, strict=True))
    if not any(common.values()):
        common = {version: next(iter(limits[version])) if len(limits[version]) == 1 else None for version in (4, 6)}
        agreed = all(len(limits[version]) <= 1 for version in (4, 6))
        if not agreed or any((common[version] or 0) >= FULL_TABLE[f"v{version}"] for version in (4, 6)):
            for _, presences, fields in sessions:
                fields["prefixes_max"] = _stated({f"v{each.address.version}": each.routes_max for each in presences})
            return own
    own["prefixes_max"] = _stated({f"v{version}": limit for version, limit in common.items()})
    return own


def _names_a_network(asn: int) -> bool:
    """Whether admission would take `asn` in a laboratory: a number of 32 bits, neither private nor reserved."""
    aside = set_aside(asn)
    return 0 < asn < 2**32 and (aside is None or aside.purpose == DOCUMENTATION)


def _identity(number: int | None) -> int | None:
    return number if number is not None and number >= 1 else None


def _website(text: str | None, where: str, log: Log) -> str | None:
    if text is None or re.match(WEBSITE_PATTERN, text):
        return text
    log.left_out(where, f"{shown(text)} is no address of a web page", "the web page")
    return None


def _alike(a: Presence, b: Presence) -> bool:
    return (a.route_servers, a.as_sets, a.macs) == (b.route_servers, b.as_sets, b.macs)


def _only_route_server(connection: Connection) -> bool:
    presences = [each for entry in connection.entries for each in entry.presences]
    return bool(presences) and all(each.is_route_server for each in presences)


def _stated(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if value is not None}


def _assumed(kind: type[Resource], assumed: bool) -> Json:
    """Marks what the list did not say, in kinds that have a field for it, so that an export does not pass it on as a fact."""
    return {"assumed": True} if assumed and "assumed" in kind.model_fields else {}


def _merged(participants: Iterable[Participant], log: Log) -> tuple[Participant, ...]:
    """One participant per AS: a second entry adds its connections to the first."""
    by_asn: dict[int, Participant] = {}
    for each in participants:
        first = by_asn.get(each.asn)
        if first is None:
            by_asn[each.asn] = each
        else:
            log.repaired(each.where, f"AS{each.asn} stands at {first.where} already", "its connections are added there")
            by_asn[each.asn] = replace(first, connections=first.connections + each.connections)
    return tuple(by_asn.values())


def _unique_addresses(participants: Iterable[Participant], log: Log) -> tuple[Participant, ...]:
    """Each address stays with the first who has it in the document."""
    holders: dict[Address, str] = {}

    def kept(presence: Presence) -> bool:
        first = holders.setdefault(presence.address, presence.where)
        if first != presence.where:
            log.left_out(presence.where, f"{presence.address} stands at {first} already", "the address")
        return first == presence.where

    def entries(connection: Connection) -> Connection:
        return replace(
            connection, entries=tuple(replace(each, presences=tuple(filter(kept, each.presences))) for each in connection.entries)
        )

    return tuple(replace(each, connections=tuple(map(entries, each.connections))) for each in participants)


def _standings(participants: Iterable[Participant]) -> Iterator[Standing]:
    for participant in participants:
        for connection in participant.connections:
            for entry in connection.entries:
                for each in entry.presences:
                    yield Standing(each.where, each.address, entry.vlan)
