"""Reading PeeringDB: an exchange made of the rows that its API gives.

One table is enough: the `netixlan` rows of an exchange are its members' ports. `ix` adds what the exchange is called,
`ixlan` the AS of its route servers and the MTU, `ixpfx` the LANs' prefixes, `net` the members' names, as-sets and limits.
Rows that are not `ok`, and rows of other exchanges, are passed over. Facts are self-reported; e-mail addresses and
telephone numbers are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from nnix.planes.fabric.kinds import PortState
from nnix.planes.members.assemble import assemble
from nnix.planes.members.ixf_read import SPEED_MBIT_MAX, usable_asn
from nnix.planes.members.kinds import MemberClass
from nnix.planes.members.sheet import Connection, Entry, Imported, Log, Node, Participant, Presence, Sheet, Vlan, parsed, refused, shown
from nnix.planes.members.spelling import address_of, as_sets_of, country_of, prefix_of

TABLES = ("ix", "ixlan", "ixpfx", "net", "netixlan")

CLASSES: dict[str, MemberClass] = {
    "NSP": MemberClass.CARRIER,
    "Cable/DSL/ISP": MemberClass.ISP,
    "Network Services": MemberClass.ISP,
    "Content": MemberClass.CONTENT,
    "Enterprise": MemberClass.ENTERPRISE,
    "Educational/Research": MemberClass.RESEARCH,
    "Non-Profit": MemberClass.RESEARCH,
    "Government": MemberClass.GOVERNMENT,
    "Route Server": MemberClass.ROUTE_SERVER,
    "Route Collector": MemberClass.ROUTE_SERVER,
}


def read_peeringdb(document: bytes, *, ix_id: int | None = None) -> Imported:
    """An exchange made of PeeringDB rows, which may be gzipped: one answer of the API (`{"data": [...]}` of netixlan), or an
    object with one such answer, or list of rows, per table.

    `ix_id` takes one exchange; without it the rows must be of one. Raises Refused when nothing can be used: no JSON, no
    netixlan rows, no such exchange, several to choose from.
    """
    log = Log()
    sheet = read_sheet(document, log, ix_id)
    return Imported(assemble(sheet, log), log.findings)


def read_sheet(document: bytes, log: Log, ix_id: int | None) -> Sheet:
    """What the rows say; findings go to `log`. Raises Refused as read_peeringdb does."""
    tables = _tables(parsed(document, "peeringdb"), log)
    number = _exchange_id(tables, ix_id)
    exchange = _only(tables["ix"], "id", number) or Node({}, "ix", log)
    lans = [each for each in tables["ixlan"] if _is(each, "ix_id", number)]
    server_asns = {asn for lan in lans if (asn := _number(lan, "rs_asn", 1, 4294967294)) is not None}
    nets = {each.value.get("asn"): each for each in tables["net"] if isinstance(each.value.get("asn"), int)}

    rows = [each for each in tables["netixlan"] if _is(each, "ix_id", number) and each.value.get("status", "ok") == "ok"]
    vlans = tuple(_vlans(lans, tables["ixpfx"], rows, log))
    flagless = sum(not isinstance(each.value.get("is_rs_peer"), bool) for each in rows)
    if flagless:
        log.repaired("netixlan", f"{flagless} rows do not say whether they peer with the route servers", "taken to peer with them")
    participants = _participants(rows, nets, server_asns, log)
    title = exchange.text("name_long") if exchange.value.get("name_long") else None
    short = exchange.text("name") if "name" in exchange.value else None
    return Sheet(
        short_title=short or next((text for row in rows if "name" in row.value and (text := row.text("name"))), None),
        title=title,
        country=country_of(exchange.text("country"), exchange.path("country"), log) if "country" in exchange.value else None,
        city=exchange.text("city") if "city" in exchange.value else None,
        website=exchange.text("website") if exchange.value.get("website") else None,
        peeringdb_ix=number,
        ixf_id=None,
        asn=min(server_asns) if server_asns else None,
        places=(),
        vlans=vlans,
        participants=tuple(participants),
        never_via_route_servers=tuple(
            sorted(asn for asn, net in nets.items() if isinstance(asn, int) and _never(net) and 0 < asn < 2**32 - 1)
        ),
    )


# --- tables


def _tables(value: object, log: Log) -> Mapping[str, Sequence[Node]]:
    """The rows of each table, whether the document is one table or several by name."""
    tables: dict[str, list[Node]] = {name: [] for name in TABLES}
    if isinstance(value, dict) and not value.keys() & set(TABLES):
        value = {"netixlan": value}
    if isinstance(value, list):
        value = {"netixlan": value}
    if not isinstance(value, dict):
        raise refused("peeringdb", "", f"{shown(value)} is not an object", 'an answer of the API, {"data": [...]}', rule="rows")
    for name in TABLES:
        answer = value.get(name)
        path = name
        if isinstance(answer, dict) and "data" in answer:
            path, answer = f"{name}.data", answer["data"]
        if isinstance(answer, dict):
            answer = [answer]
        if answer is not None and not isinstance(answer, list):
            log.left_out(path, f"{shown(answer)} is not a list of rows", "the table")
        for index, row in enumerate(answer if isinstance(answer, list) else ()):
            if isinstance(row, dict):
                tables[name].append(Node(row, f"{path}[{index}]", log))
            else:
                log.left_out(f"{path}[{index}]", f"{shown(row)} is not an object", "the row")
    if not tables["netixlan"]:
        raise refused("peeringdb", "netixlan", "no rows", 'rows of netixlan, {"data": [...]}', "fetch api/netixlan?ix_id=...", rule="rows")
    return tables


def _exchange_id(tables: Mapping[str, Sequence[Node]], wanted: int | None) -> int | None:
    """Which exchange is meant. None when no row says its exchange, and none was asked for."""
    found = {each.value["ix_id"] for each in tables["netixlan"] if isinstance(each.value.get("ix_id"), int)}
    if wanted is None and len(found) > 1 and len(tables["ix"]) == 1 and tables["ix"][0].value.get("id") in found:
        number: object = tables["ix"][0].value["id"]
        return number if isinstance(number, int) else None
    if (wanted is None and len(found) > 1) or (wanted is not None and wanted not in found):
        some = ", ".join(str(each) for each in sorted(found)[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
        shown_wish = "unset" if wanted is None else str(wanted)
        raise refused(
            "peeringdb",
            "ix_id",
            shown_wish,
            f"one of {some or 'none: no row has an ix_id'}",
            "name the exchange by its ix_id",
            rule="exchange-known",
        )
    return wanted if wanted is not None else next(iter(found), None)


def _is(row: Node, key: str, number: int | None) -> bool:
    return number is None or row.value.get(key) == number


def _only(rows: Sequence[Node], key: str, number: int | None) -> Node | None:
    return next((each for each in rows if _is(each, key, number)), None)


def _number(row: Node, key: str, least: int, most: int) -> int | None:
    """A number, where 0 and null say that it is not known."""
    return row.number(key, least, most) if row.value.get(key) not in (None, 0, "") else None


def _never(net: Node) -> bool:
    return net.value.get("info_never_via_route_servers") is True


def _vlans(lans: Sequence[Node], prefixes: Sequence[Node], rows: Sequence[Node], log: Log) -> Iterator[Vlan]:
    """Each ixlan is a VLAN; an ixlan that only members' rows name is one without prefix. Further prefixes of a family make further VLANs."""
    known = {each.value.get("id"): each for each in lans}
    ids = dict.fromkeys([*known, *(each.value.get("ixlan_id") for each in rows)])
    for number in ids:
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            continue
        lan = known.get(number) or Node({}, f"ixlan {number}", log)
        title = lan.text("name") if lan.value.get("name") else None
        found: dict[int, list[IPv4Network | IPv6Network]] = {4: [], 6: []}
        for each in prefixes:
            if each.value.get("ixlan_id") == number and each.value.get("status", "ok") == "ok":
                text = each.text("prefix")
                bare, _, length = (text or "").partition("/")
                network = (
                    prefix_of(bare, int(length[:4]) if length.isdecimal() and length.isascii() else None, each.path("prefix"), log)
                    if bare
                    else None
                )
                if network is not None:
                    found[network.version].append(network)
        vlan = Vlan(str(number), lan.where, title, ixf_id=number if number < 2**31 else None, mtu=_mtu(lan))
        for index in range(max(1, len(found[4]), len(found[6]))):
            four, six = (next(iter(found[version][index : index + 1]), None) for version in (4, 6))
            key = vlan.key if index == 0 else f"{vlan.key}/{index}"
            yield replace(
                vlan, key=key, v4=four if isinstance(four, IPv4Network) else None, v6=six if isinstance(six, IPv6Network) else None
            )


def _mtu(lan: Node) -> int | None:
    return _number(lan, "mtu", 1280, 9000)


# --- members


def _participants(rows: Sequence[Node], nets: Mapping[object, Node], server_asns: set[int], log: Log) -> Iterator[Participant]:
    by_asn: dict[int, list[Node]] = {}
    for row in rows:
        asn = usable_asn(row, "asn", "the row")
        if asn is not None:
            by_asn.setdefault(asn, []).append(row)
    for asn, group in by_asn.items():
        connections = tuple(_connection(row, asn in server_asns, log) for row in group)
        net = nets.get(asn)
        base = Participant(group[0].where, asn, None, None, connections)
        yield base if net is None else _with_net(base, net, log)


def _connection(row: Node, route_server: bool, log: Log) -> Connection:
    flag = row.value.get("is_rs_peer")
    presences: list[Presence] = []
    for key, version in (("ipaddr4", 4), ("ipaddr6", 6)):
        if row.value.get(key) in (None, ""):
            continue
        address = address_of(row.value[key], row.path(key), log)
        if address is not None and address.version != version:
            log.repaired(row.path(key), f"{address} is not IPv{version}", f"taken as IPv{address.version}")
        if address is not None and address.version not in [each.address.version for each in presences]:
            presences.append(Presence(row.path(key), address, flag if isinstance(flag, bool) else None, is_route_server=route_server))
        elif address is not None:
            log.left_out(row.path(key), f"a second address of IPv{address.version}", "the address")
    lan = row.value.get("ixlan_id")
    entry = Entry(row.where, str(lan) if isinstance(lan, int) else None, tuple(presences))
    state = PortState.RESERVED if row.value.get("operational") is False else PortState.PRODUCTION
    return Connection(row.where, None, _number(row, "speed", 1, SPEED_MBIT_MAX), state, (entry,) if presences else ())


def _with_net(participant: Participant, net: Node, log: Log) -> Participant:
    kind = net.value.get("info_type")
    limits = (_number(net, "info_prefixes4", 1, 899_999), _number(net, "info_prefixes6", 1, 199_999))
    return replace(
        participant,
        title=net.text("name") if "name" in net.value else None,
        member_class=CLASSES.get(kind) if isinstance(kind, str) else None,
        website=net.text("website") if net.value.get("website") else None,
        as_sets=as_sets_of(net.text("irr_as_set", 2000) if net.value.get("irr_as_set") else None, net.path("irr_as_set"), log),
        routes_max=limits,
    )
