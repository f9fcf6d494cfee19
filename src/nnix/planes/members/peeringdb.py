"""PeeringDB's rows as a member list (https://www.peeringdb.com/apidocs/).

The API answers `{"data": [...]}` for one table. The rows of `netixlan` (who is at which exchange, with which addresses and
speed) make an exchange; where `ix`, `ixlan`, `ixpfx` and `net` are given as well, each under its table's name in one
object, they add names, prefixes, as-sets and limits. All of it is self-reported: what is odd becomes a finding, as does a
row that PeeringDB itself does not hold to be `ok`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network

from nnix.planes.fabric.kinds import PortState
from nnix.planes.members.assemble import assemble
from nnix.planes.members.ixf_read import SPEED_MBIT_MAX, usable_asn
from nnix.planes.members.kinds import MemberClass
from nnix.planes.members.sheet import Connection, Entry, Imported, Log, Node, Participant, Presence, Sheet, Vlan, parsed, refused, shown
from nnix.planes.members.spelling import address_of, as_sets_of, country_of, day_of, prefix_of

TABLES = ("ix", "ixlan", "ixpfx", "net", "netixlan")
TYPES: Mapping[str, MemberClass] = {
    "NSP": MemberClass.CARRIER,
    "Cable/DSL/ISP": MemberClass.ISP,
    "Content": MemberClass.CONTENT,
    "Enterprise": MemberClass.ENTERPRISE,
    "Educational/Research": MemberClass.RESEARCH,
    "Government": MemberClass.GOVERNMENT,
    "Route Server": MemberClass.ROUTE_SERVER,
}


def read_peeringdb(document: bytes, *, ix_id: int | None = None) -> Imported:
    """An exchange made of PeeringDB rows, which may be gzipped. Raises Refused when nothing can be used, or when rows of several
    exchanges are there and `ix_id` names none of them."""
    log = Log()
    tables = _tables(parsed(document, "peeringdb"), log)
    rows = tables["netixlan"]
    known = sorted({number for each in rows if (number := _int(each, "ix_id")) is not None})
    if ix_id is None and len(known) > 1:
        listed = ", ".join(map(str, known[:12])) + (" …" if len(known) > 12 else "")
        raise refused(
            "peeringdb", "ix_id", f"rows of {len(known)} exchanges", f"one of {listed}", "say which with --ix", rule="exchange-known"
        )
    wanted = ix_id if ix_id is not None else (known[0] if known else None)
    rows = [each for each in rows if wanted is None or _int(each, "ix_id") == wanted]
    standing = list(_standing(rows))
    if not standing:
        found = f"no rows of exchange {wanted}" if known else "no rows"
        found = f"none of {len(rows)} rows of exchange {wanted} has status ok" if rows else found
        raise refused("peeringdb", "netixlan", found, "netixlan rows of the exchange", rule="exchange-known")
    return Imported(assemble(_sheet(tables, standing, wanted, log), log), log.findings)


def _tables(value: object, log: Log) -> dict[str, list[Node]]:
    """table → its rows. A bare answer is taken for netixlan. Raises Refused for what is neither."""
    found: dict[str, list[Node]] = {table: [] for table in TABLES}
    if isinstance(value, list):
        value = {"data": value}
    if not isinstance(value, dict):
        raise refused("peeringdb", "", shown(value), 'an object like {"data": [...]}', rule="table")
    root = Node(value, "", log)
    if "data" in value:
        found["netixlan"] = list(root.nodes("data"))
        return found
    given = [table for table in TABLES if table in value]
    if "netixlan" not in given:
        raise refused("peeringdb", "netixlan", "unset", "the rows of netixlan, alone or beside ix, ixlan, ixpfx and net", rule="table")
    for table in given:
        inner = value[table]
        if isinstance(inner, dict) and "data" in inner:
            found[table] = list(Node(inner, table, log).nodes("data"))
        else:
            found[table] = list(root.nodes(table))
    return found


def _standing(rows: Iterable[Node]) -> Iterator[Node]:
    """The rows that stand: PeeringDB keeps those that wait for approval (`pending`) and those that were deleted."""
    for row in rows:
        status = row.get("status")
        if status in (None, "ok"):
            yield row
        else:
            row.log.left_out(row.where, f"its status is {shown(status)}, not ok", "the row")


def _int(node: Node, key: str) -> int | None:
    value = node.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _sheet(tables: Mapping[str, list[Node]], rows: Iterable[Node], ix_id: int | None, log: Log) -> Sheet:
    rows = list(rows)
    here = {_int(each, "asn") for each in rows}
    exchange = next(_standing(each for each in tables["ix"] if _int(each, "id") == ix_id), Node({}, "ix", log))
    lans = list(_standing(each for each in tables["ixlan"] if _int(each, "ix_id") == ix_id))
    nets = [each for each in tables["net"] if _int(each, "asn") in here or each.get("info_never_via_route_servers") is True]
    networks = {number: each for each in _standing(nets) if (number := _int(each, "asn")) is not None}
    asn = next((number for each in lans if (number := _int(each, "rs_asn"))), None)
    never = tuple(sorted(number for number, each in networks.items() if each.get("info_never_via_route_servers") is True))
    titles = [each.text("name") for each in rows if each.get("name")]
    title = exchange.text("name") if "name" in exchange.value else (titles[0] if titles else None)
    return Sheet(
        short_title=title,
        title=(exchange.text("name_long") if exchange.get("name_long") else None) or title,
        country=country_of(exchange.text("country"), exchange.path("country"), log) if exchange.get("country") else None,
        city=exchange.text("city") if exchange.get("city") else None,
        website=exchange.text("website") if exchange.get("website") else None,
        peeringdb_ix=ix_id,
        ixf_id=None,
        asn=asn,
        places=(),
        vlans=tuple(_vlans(lans, tables["ixpfx"], log)),
        participants=tuple(_participants(rows, networks, asn, log)),
        never_via_route_servers=never,
    )


def _vlans(lans: Iterable[Node], prefixes: Iterable[Node], log: Log) -> Iterator[Vlan]:
    """A LAN has one IPv4 and one IPv6 prefix; further ones become LANs of their own."""
    by_lan: dict[int | None, list[Node]] = defaultdict(list)
    for each in prefixes:
        by_lan[_int(each, "ixlan_id")].append(each)
    for lan in lans:
        number = _int(lan, "id")
        fours: list[IPv4Network] = []
        sixes: list[IPv6Network] = []
        for each in _standing(by_lan.get(number, ())):
            text = each.text("prefix")
            network = prefix_of(text, None, each.path("prefix"), log) if text else None
            if isinstance(network, IPv4Network):
                fours.append(network)
            elif network is not None:
                sixes.append(network)
        title = lan.text("name") if lan.get("name") else None
        mtu = lan.number("mtu", 1280, 9000) if lan.get("mtu") else None
        for index in range(max(len(fours), len(sixes))):
            yield Vlan(
                key=f"{number}/{index}",
                where=lan.where,
                title=f"{title or 'Peering LAN'} {index + 1}" if index else title,
                v4=fours[index] if index < len(fours) else None,
                v6=sixes[index] if index < len(sixes) else None,
                mtu=mtu,
            )


def _participants(rows: Iterable[Node], networks: Mapping[int, Node], exchange_asn: int | None, log: Log) -> Iterator[Participant]:
    by_asn: dict[int, list[Node]] = defaultdict(list)
    for row in rows:
        asn = usable_asn(row, "asn", "the row")
        if asn is not None:
            by_asn[asn].append(row)
    for asn, own in sorted(by_asn.items()):
        network = networks.get(asn, Node({}, f"net AS{asn}", log))
        kind = network.get("info_type")
        as_sets = as_sets_of(network.text("irr_as_set", 2000), network.path("irr_as_set"), log) if network.get("irr_as_set") else ()
        limits = tuple(network.number(key, 1, 10**6) if network.get(key) else None for key in ("info_prefixes4", "info_prefixes6"))
        created = min((text for each in own if isinstance(text := each.get("created"), str)), default=None)
        yield Participant(
            where=own[0].where,
            asn=asn,
            title=network.text("name") if network.get("name") else None,
            member_class=TYPES.get(kind) if isinstance(kind, str) else None,
            connections=tuple(_connection(each, asn == exchange_asn, log) for each in own),
            website=network.text("website") if network.get("website") else None,
            joined=day_of(created, own[0].path("created"), log),
            as_sets=as_sets,
            routes_max=(limits[0], limits[1]),
        )


def _connection(row: Node, is_route_server: bool, log: Log) -> Connection:
    presences = []
    for key in ("ipaddr4", "ipaddr6"):
        if not row.get(key):
            continue
        address = address_of(row.get(key), row.path(key), log)
        if address is not None:
            flag = row.flag("is_rs_peer") if "is_rs_peer" in row.value else None
            presences.append(Presence(row.path(key), address, route_servers=flag, is_route_server=is_route_server))
    up = row.get("operational") is not False
    speed = row.number("speed", 1, SPEED_MBIT_MAX) if row.get("speed") else None
    entries = (Entry(row.where, None, tuple(presences)),) if presences else ()
    return Connection(row.where, None, speed, PortState.PRODUCTION if up else PortState.RESERVED, entries)
