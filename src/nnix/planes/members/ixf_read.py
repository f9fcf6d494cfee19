"""Reading IX-F member exports, versions 0.4 to 1.0 (Euro-IX JSON schemas).

The published schema is looser than meaning and stricter than practice. Real exports name an exchange that their
`ixp_list` does not hold, write an IPv6 address under `ipv4`, give `null` for what they do not know, and use a field of
the version before or after. So the reader asks for meaning rather than for the schema: what can be understood is taken,
with a finding where it had to be mended; what cannot is left out alone, and takes nothing else with it.

How versions differ: 0.4 and 0.5 have one `mac_address` per VLAN entry, 0.6 and later `mac_addresses` per address. Up to
0.6 a route server is a member of type `routeserver`; from 0.7 on its addresses carry `service_type`, in 1.0 `services`.
All of these are read in every version, since exporters mix them.

Contact addresses and telephone numbers are not read: personal data has no place among resources.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network

from nnix.planes.members.assemble import assemble
from nnix.planes.members.kinds import MemberClass
from nnix.planes.members.numbers import set_aside
from nnix.planes.members.sheet import (
    Connection,
    Entry,
    Imported,
    Log,
    Node,
    Participant,
    Place,
    Presence,
    Sheet,
    Vlan,
    parsed,
    refused,
    shown,
)
from nnix.planes.members.spelling import address_of, as_sets_of, country_of, day_of, macs_of, prefix_of, state_of

VERSIONS = ("0.4", "0.5", "0.6", "0.7", "0.8", "1.0")
SPEED_MBIT_MAX = 100_000_000

CLASSES: dict[str, MemberClass] = {
    "peering": MemberClass.ISP,
    "ixp": MemberClass.IXP,
    "routeserver": MemberClass.ROUTE_SERVER,
    "probono": MemberClass.RESEARCH,
    "other": MemberClass.ENTERPRISE,
}


def read_ixf(document: bytes, *, ixp_id: int | None = None) -> Imported:
    """An exchange made of an IX-F member export, which may be gzipped.

    `ixp_id` takes one exchange of a document that holds several; without it they become one exchange with several LANs.
    Raises Refused when nothing can be used: no JSON (with line and column), no member list, a version that is not
    known, no such exchange.
    """
    log = Log()
    sheet = read_sheet(document, log, ixp_id)
    return Imported(assemble(sheet, log), log.findings)


def read_sheet(document: bytes, log: Log, ixp_id: int | None) -> Sheet:
    """What the export says; findings go to `log`. Raises Refused as read_ixf does."""
    value = parsed(document, "ixf")
    if not isinstance(value, dict):
        raise refused("ixf", "", f"{shown(value)} is not an object", "an object with version, ixp_list and member_list", rule="member-list")
    root = Node(value, "", log)
    _version(root)
    if not isinstance(value.get("member_list"), list):
        found = shown(value["member_list"]) if "member_list" in value else "unset"
        raise refused("ixf", "member_list", found, "a list of members", "give the member export itself", rule="member-list")

    exchanges = tuple(_exchanges(root, ixp_id))
    reader = _Reader(exchanges, log, ixp_id)
    participants = tuple(reader.participants(root))
    head = exchanges[0].node
    title = head.text("name")
    if title is None and head.text("shortname") is None:
        log.repaired(head.path("shortname"), "the exchange has no name", "called Unnamed Exchange")
    return Sheet(
        short_title=head.text("shortname"),
        title=title,
        country=country_of(head.text("country"), head.path("country"), log),
        city=head.text("city") if "city" in head.value else None,
        website=head.text("url") if "url" in head.value else None,
        peeringdb_ix=head.number("peeringdb_id", 1, 2**31) if "peeringdb_id" in head.value else None,
        ixf_id=(head.number("ixf_id", 0, 2**31) if "ixf_id" in head.value else None) or None,
        asn=None,
        places=tuple({place.key: place for each in reversed(exchanges) for place in each.places}.values()),
        vlans=_numbered((*(vlan for each in exchanges for vlan in each.vlans), *reader.undeclared.values()), log),
        participants=participants,
    )


def _numbered(vlans: Sequence[Vlan], log: Log) -> tuple[Vlan, ...]:
    """Each VLAN with a number of its own, sorted by it. Two exchanges in one document may both have a VLAN 1."""
    found: dict[int, Vlan] = {}
    later: list[Vlan] = []
    for vlan in vlans:
        if vlan.ixf_id is None or vlan.ixf_id in found:
            later.append(vlan)
        else:
            found[vlan.ixf_id] = vlan
    for vlan in later:
        number = next(n for n in range(1, 2**31) if n not in found)
        if vlan.ixf_id is not None:
            log.repaired(vlan.where, f"VLAN {vlan.ixf_id} is another exchange's as well", f"taken as VLAN {number}")
        found[number] = replace(vlan, ixf_id=number)
    return tuple(found[number] for number in sorted(found))


def _version(root: Node) -> None:
    version = root.value.get("version")
    if version is None:
        root.log.repaired("version", "unset", "read as 1.0")
        return
    text = str(version) if isinstance(version, str | float | int) and not isinstance(version, bool) else ""
    if text not in VERSIONS and f"{text}.0" not in VERSIONS:
        mend = "ask the exchange for version 0.4 or later" if text.startswith("0.") else ""
        raise refused("ixf", "version", shown(version), f"one of {', '.join(VERSIONS)}", mend, rule="version-known")
    if not isinstance(version, str):
        root.log.repaired("version", f"{shown(version)} is a number", f"taken as {text}")


# --- exchanges


@dataclass(frozen=True)
class _Exchange:
    """An entry of ixp_list with its places and VLANs; `switches` maps a switch's id to the key of its place."""

    id: int | None
    node: Node
    places: tuple[Place, ...]
    switches: dict[int, str]
    vlans: tuple[Vlan, ...]

    def vlan_key(self, vlan_id: int) -> str:
        return f"{self.id}/{vlan_id}"


def _exchanges(root: Node, wanted: int | None) -> Iterator[_Exchange]:
    nodes = list(root.nodes("ixp_list"))
    if not nodes:
        if wanted is not None:
            raise refused(
                "ixf",
                "ixp_list",
                "no exchange is listed",
                "an exchange with ixp_id " + str(wanted),
                "leave ixp_id out",
                rule="exchange-known",
            )
        root.log.repaired("ixp_list", "no exchange is listed", "all connections are taken to be at one exchange")
        nodes = [Node({}, "ixp_list[0]", root.log)]
    by_id: dict[int | None, Node] = {}
    for node in nodes:
        identity = node.number("ixp_id", -(2**31), 2**31) if "ixp_id" in node.value else None
        if identity in by_id:
            root.log.left_out(node.where, f"ixp_id {identity} is listed twice", "the second exchange, but not its connections")
        else:
            by_id[identity] = node
    if wanted is not None and wanted not in by_id:
        known = ", ".join(f"{key} ({node.text('shortname') or 'unnamed'})" for key, node in by_id.items())
        raise refused("ixf", "ixp_id", str(wanted), f"one of {known}", rule="exchange-known")
    chosen = by_id if wanted is None else {wanted: by_id[wanted]}
    if len(chosen) > 1:
        root.log.repaired(
            "ixp_list", f"{len(chosen)} exchanges in one document", "taken as one exchange with their LANs; ixp_id takes one of them"
        )
    for identity, node in chosen.items():
        yield _exchange(identity, node, len(chosen) > 1)


def _exchange(identity: int | None, node: Node, among_others: bool) -> _Exchange:
    places: dict[str, Place] = {}
    switches: dict[int, str] = {}
    for switch in node.nodes("switch") if "switch" in node.value else ():
        place = _place(switch)
        places.setdefault(place.key, place)
        number = switch.number("id", -(2**31), 2**31) if "id" in switch.value else None
        if number is not None:
            switches.setdefault(number, place.key)
    vlans: dict[str, Vlan] = {}
    suffix = f" ({node.text('shortname')})" if among_others and node.value.get("shortname") else ""
    for vlan in node.nodes("vlan") if "vlan" in node.value else ():
        found = _vlan(identity, vlan, suffix)
        if found.key in vlans:
            node.log.left_out(vlan.where, f"VLAN {found.ixf_id} is declared twice", "the second declaration")
        else:
            vlans[found.key] = found
    return _Exchange(identity, node, tuple(places.values()), switches, tuple(vlans.values()))


def _place(switch: Node) -> Place:
    def text(key: str) -> str | None:
        return switch.text(key) if key in switch.value else None

    facility = switch.number("pdb_facility_id", 1, 2**31) if switch.value.get("pdb_facility_id") is not None else None
    colo, city = text("colo"), text("city")
    title = colo or text("name") or city or "Unnamed place"
    key = f"facility {facility}" if facility is not None else f"{title} / {city}"
    return Place(key, switch.where, title, city, country_of(text("country"), switch.path("country"), switch.log), facility)


def _vlan(identity: int | None, vlan: Node, suffix: str) -> Vlan:
    number = vlan.number("id", 0, 2**31) if "id" in vlan.value else None
    if number is None:
        vlan.log.repaired(vlan.path("id"), "the VLAN has no id", "only addresses inside its prefixes are taken to be on it")
    title = vlan.text("name") if "name" in vlan.value else None
    v4, v6 = _lan_prefix(vlan, "ipv4"), _lan_prefix(vlan, "ipv6")
    if (isinstance(v4, IPv6Network) and v6 is None) or (isinstance(v6, IPv4Network) and v4 is None):
        v4, v6 = v6, v4
        vlan.log.repaired(vlan.where, "a prefix under the other family's name", "taken for what it is")
    key = f"{identity}/{number}" if number is not None else f"{identity}/{vlan.where}"
    title = f"{title}{suffix}"[:200] if title else None
    return Vlan(key, vlan.where, title, v4 if isinstance(v4, IPv4Network) else None, v6 if isinstance(v6, IPv6Network) else None, number)


def _lan_prefix(vlan: Node, family: str) -> IPv4Network | IPv6Network | None:
    side = vlan.node(family) if family in vlan.value else None
    if side is None or "prefix" not in side.value:
        return None
    text = side.text("prefix")
    length = side.number("mask_length", 0, 128) if "mask_length" in side.value else None
    return prefix_of(text, length, side.path("prefix"), side.log) if text else None


# --- members


class _Reader:
    """Reads member_list, knowing the exchanges that connections refer to."""

    def __init__(self, exchanges: tuple[_Exchange, ...], log: Log, wanted: int | None) -> None:
        self.exchanges = exchanges
        self.log = log
        self.wanted = wanted
        self.by_id = {each.id: each for each in exchanges}
        self.flagless = 0
        self.elsewhere = 0
        self.undeclared: dict[str, Vlan] = {}

    def participants(self, root: Node) -> Iterator[Participant]:
        for node in root.nodes("member_list"):
            found = self.participant(node)
            if found is not None:
                yield found
        if self.flagless:
            problem = f"{self.flagless} addresses do not say whether they peer with the route servers"
            self.log.repaired("member_list", problem, "taken to peer with them, as kind Session does")
        if self.elsewhere:
            self.log.left_out("member_list", f"{self.elsewhere} connections to other exchanges than {self.wanted}", "these connections")

    def participant(self, node: Node) -> Participant | None:
        asn = usable_asn(node, "asnum", "the member")
        if asn is None:
            return None
        kind = node.text("member_type") if "member_type" in node.value else None
        if kind is not None and kind not in CLASSES:
            self.log.left_out(node.path("member_type"), f"{shown(kind)} is none of {', '.join(CLASSES)}", "member_type")
            kind = None
        elsewhere = self.elsewhere
        connections = tuple(self.connections(node, kind == "routeserver"))
        if not connections and self.elsewhere > elsewhere:
            return None
        return Participant(
            where=node.where,
            asn=asn,
            title=node.text("name") if "name" in node.value else None,
            member_class=CLASSES[kind] if kind else None,
            connections=connections,
            ixf_type=kind or "",
            website=node.text("url") if "url" in node.value else None,
            joined=day_of(node.text("member_since"), node.path("member_since"), self.log) if "member_since" in node.value else None,
        )

    def connections(self, member: Node, route_server: bool) -> Iterator[Connection]:
        for node in member.nodes("connection_list"):
            exchange = self.exchange_of(node)
            if exchange is None:
                continue
            place, speed = self.interfaces(node, exchange)
            state = node.text("state") if "state" in node.value else None
            entries: tuple[Entry, ...] = ()
            if node.value.get("vlan_list"):
                entries = tuple(entry for each in node.nodes("vlan_list") for entry in self.entry(each, exchange, route_server))
            elif "vlan_list" in node.value:
                self.log.left_out(node.path("vlan_list"), "empty", "any address: the connection has none")
            yield Connection(node.where, place, speed, state_of(state, node.path("state"), self.log), entries)

    def exchange_of(self, node: Node) -> _Exchange | None:
        """The exchange that a connection is at; None when it is at another than the one asked for, or at none that can be told."""
        number = node.number("ixp_id", -(2**31), 2**31) if "ixp_id" in node.value else None
        if number in self.by_id and number is not None:
            return self.by_id[number]
        if self.wanted is not None and number is not None:
            self.elsewhere += 1
            return None
        problem = f"ixp_id {number} is not in ixp_list" if number is not None else "no ixp_id"
        if len(self.exchanges) == 1:
            only = self.exchanges[0]
            self.log.repaired(node.path("ixp_id"), problem, f"taken to be at {'the only exchange listed' if only.id is None else only.id}")
            return only
        self.log.left_out(node.path("ixp_id"), f"{problem}, which lists {len(self.exchanges)} exchanges", "the connection")
        return None

    def interfaces(self, node: Node, exchange: _Exchange) -> tuple[str | None, int | None]:
        """Place and speed of a connection: a LAG is as fast as its interfaces together, and stands where the first stands."""
        places: dict[str, str] = {}
        speeds: list[int] = []
        for each in node.nodes("if_list") if "if_list" in node.value else ():
            switch = each.number("switch_id", -(2**31), 2**31) if "switch_id" in each.value else None
            facility = each.value.get("pdb_facility_id")
            key = exchange.switches.get(switch) if switch is not None else None
            if key is None and isinstance(facility, int) and f"facility {facility}" in {place.key for place in exchange.places}:
                key = f"facility {facility}"
            if key is not None:
                places.setdefault(key, each.where)
            elif switch is not None and exchange.switches:
                self.log.left_out(each.path("switch_id"), f"switch {switch} is not in ixp_list", "the place")
            if "if_speed" in each.value:
                speed = each.number("if_speed", 1, SPEED_MBIT_MAX)
                if speed is not None:
                    speeds.append(speed)
        keys: list[str | None] = list(places) or [None]
        first, *others = keys
        for other in others:
            self.log.left_out(places[str(other)], f"a second place of one connection: {other}", "the place; a port stands at one")
        return first, sum(speeds) or None

    def entry(self, node: Node, exchange: _Exchange, route_server: bool) -> Iterator[Entry]:
        number = node.number("vlan_id", 0, 2**31) if "vlan_id" in node.value else None
        shared = macs_of(node.items("mac_address"), self.log) if node.value.get("mac_address") else ()
        presences: list[Presence] = []
        for family, version in (("ipv4", 4), ("ipv6", 6)):
            side = node.node(family) if family in node.value else None
            presence = self.presence(side, version, shared, route_server) if side is not None else None
            if presence is None:
                continue
            if presence.address in [each.address for each in presences]:
                self.log.left_out(presence.where, f"{presence.address} stands under both families", "the second")
                continue
            presences.append(presence)
        if not presences:
            self.log.left_out(node.where, "no usable address", "the VLAN entry")
            return
        if len(presences) == 2 and presences[0].address.version == presences[1].address.version:
            yield Entry(presences[1].where, self.vlan(node, number, exchange), (presences.pop(),))
        yield Entry(node.where, self.vlan(node, number, exchange), tuple(presences))

    def vlan(self, node: Node, number: int | None, exchange: _Exchange) -> str | None:
        """The key of the VLAN; one that ixp_list does not declare is declared here."""
        if number is None:
            self.log.repaired(node.path("vlan_id"), "no vlan_id", "told by its address, or else taken as the first VLAN")
            return None
        key = exchange.vlan_key(number)
        if key not in self.undeclared and key not in {each.key for each in exchange.vlans}:
            self.log.repaired(
                node.path("vlan_id"),
                f"VLAN {number} is not in ixp_list",
                "taken as a VLAN of that number, unless an address tells otherwise",
            )
            self.undeclared[key] = Vlan(key, node.where, None, ixf_id=number)
        return key

    def presence(self, side: Node, version: int, shared: tuple[str, ...], route_server: bool) -> Presence | None:
        if not side.value:
            return None
        address = address_of(side.value.get("address"), side.path("address"), self.log)
        if address is None:
            return None
        if address.version != version:
            self.log.repaired(side.path("address"), f"{address} is not IPv{version}", f"taken as IPv{address.version}")
        flag = side.flag("routeserver") if "routeserver" in side.value else None
        ours = route_server or _offers_routes(side)
        self.flagless += flag is None and not ours
        limit = side.value.get("max_prefix")
        macs = shared
        for key in ("mac_addresses", "mac_address"):
            if side.value.get(key):
                macs = tuple(dict.fromkeys((*macs, *macs_of(side.items(key), self.log))))
        return Presence(
            where=side.where,
            address=address,
            route_servers=flag,
            as_sets=as_sets_of(side.text("as_macro", 2000) if "as_macro" in side.value else None, side.path("as_macro"), self.log),
            # 0 and null are what exporters write for "no limit known".
            routes_max=side.number("max_prefix", 1, 2_000_000 if address.version == 4 else 1_000_000) if limit not in (None, 0) else None,
            macs=macs,
            is_route_server=ours,
        )


def _offers_routes(side: Node) -> bool:
    """Whether the exchange's own route server is at this address: `service_type` (0.7) or `services` (1.0) says so."""
    words: list[object] = []
    for key in ("service_type", "services"):
        for _, item in side.items(key) if side.value.get(key) else ():
            words.append(item.get("type") if isinstance(item, dict) else item)
    return "ixrouteserver" in words


def usable_asn(node: Node, key: str, what: str) -> int | None:
    """An AS number that may stand for a network (see `numbers`); None with a finding."""
    asn = node.number(key, 0, 4294967295)
    if asn is None:
        if key not in node.value:
            node.log.left_out(node.path(key), f"no {key}", what)
        return None
    aside = set_aside(asn)
    if aside is not None and aside.purpose != "documentation":
        node.log.left_out(node.path(key), f"AS{asn} is {aside.purpose} ({aside.source}) and names no network", what)
        return None
    return asn
