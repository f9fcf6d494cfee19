"""One fault in an otherwise sound member list: it is named where it stands, and nothing else of the list is lost."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnix.kernel.rule import Refused, judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Lan, Port, PortState
from nnix.planes.members.ixf_read import read_ixf
from nnix.planes.members.kinds import Exchange, Site, SiteRole
from nnix.planes.members.rules import RULES
from nnix.planes.members.sheet import Imported
from nnix.planes.routing.kinds import RouteServer, Session

Document = dict[str, Any]


def member(asn: int, host: int, **sides: Any) -> Document:
    sides = sides or {
        "ipv4": {
            "address": f"192.0.2.{host}",
            "routeserver": True,
            "max_prefix": 100,
            "as_macro": f"AS-N{asn}",
            "mac_addresses": [f"02:00:00:00:00:{host:02x}"],
        },
        "ipv6": {
            "address": f"2001:db8::{host}",
            "routeserver": True,
            "max_prefix": 20,
            "as_macro": f"AS-N{asn}",
            "mac_addresses": [f"02:00:00:00:00:{host:02x}"],
        },
    }
    connection = {"ixp_id": 7, "state": "active", "if_list": [{"switch_id": 1, "if_speed": 10000}], "vlan_list": [{"vlan_id": 3, **sides}]}
    return {"asnum": asn, "member_type": "peering", "name": f"Network {asn}", "connection_list": [connection]}


SOUND: Document = {
    "version": "1.0",
    "timestamp": "2026-11-24T12:00:00Z",
    "ixp_list": [
        {
            "ixp_id": 7,
            "ixf_id": 70,
            "shortname": "LAB-IX",
            "name": "Laboratory Internet Exchange",
            "country": "NL",
            "switch": [
                {"id": 1, "name": "sw1", "colo": "North", "city": "Delft"},
                {"id": 2, "name": "sw2", "colo": "South", "city": "Delft"},
            ],
            "vlan": [
                {
                    "id": 3,
                    "name": "Peering",
                    "ipv4": {"prefix": "192.0.2.0", "mask_length": 24},
                    "ipv6": {"prefix": "2001:db8::", "mask_length": 64},
                }
            ],
        }
    ],
    "member_list": [member(64496, 11), member(64497, 12), member(64498, 13)],
}
CONNECTION = "member_list[1].connection_list[0]"


def read(document: Document, **choice: Any) -> Imported:
    return read_ixf(json.dumps(document).encode(), **choice)


def broken(change: Callable[[Document, Document], None]) -> Imported:
    """SOUND with its second member changed: `change` gets the document and that member's connection."""
    document = copy.deepcopy(SOUND)
    change(document, document["member_list"][1]["connection_list"][0])
    return read(document)


def addresses(found: Imported) -> set[str]:
    sessions = Snapshot(found.resources).of(Session)
    return {str(address) for each in sessions for address in (each.v4, each.v6) if address is not None}


ALL = {f"192.0.2.{host}" for host in (11, 12, 13)} | {f"2001:db8::{host}" for host in (11, 12, 13)}


def test_a_sound_list_becomes_a_whole_exchange() -> None:
    """Two sites, one LAN with two route servers at different sites, three members with a port and a session each; the rules admit it."""
    snapshot = Snapshot(read(SOUND).resources)

    assert judge(snapshot, RULES) == ()
    (exchange,) = snapshot.of(Exchange)
    assert (exchange.title.en, exchange.country, exchange.ixf_id, exchange.lab) == ("Laboratory Internet Exchange", "NL", 70, True)
    assert [(each.name, each.role) for each in snapshot.of(Site)] == [("north", SiteRole.HUB), ("south", SiteRole.NODE)]
    assert [str(each.v4) for each in snapshot.of(Lan)] == ["192.0.2.0/24"]
    assert {each.site for each in snapshot.of(RouteServer)} == {"north", "south"}
    assert {str(each.v4) for each in snapshot.of(RouteServer)} == {"192.0.2.1", "192.0.2.2"}
    assert len(snapshot.of(Port)) == len(snapshot.of(Session)) == 3


def _v6_in_v4(_: Document, c: Document) -> None:
    c["vlan_list"][0]["ipv4"]["address"] = "2001:db8::12"


def _duplicate(_: Document, c: Document) -> None:
    c["vlan_list"][0]["ipv4"]["address"] = "192.0.2.11"


def _speed_zero(_: Document, c: Document) -> None:
    c["if_list"][0]["if_speed"] = 0


def _speed_text(_: Document, c: Document) -> None:
    c["if_list"][0]["if_speed"] = "fast"


def _ixp_unknown(_: Document, c: Document) -> None:
    c["ixp_id"] = 42


def _vlan_null(_: Document, c: Document) -> None:
    c["vlan_list"][0]["vlan_id"] = None


def _vlan_unknown(_: Document, c: Document) -> None:
    c["vlan_list"][0]["vlan_id"] = 99


def _vlan_list_null(_: Document, c: Document) -> None:
    c["vlan_list"] = None


def _mac_nonsense(_: Document, c: Document) -> None:
    c["vlan_list"][0]["ipv4"]["mac_addresses"] = ["ff:ff:ff:ff:ff:ff"]


def _mac_taken(_: Document, c: Document) -> None:
    for family in ("ipv4", "ipv6"):
        c["vlan_list"][0][family]["mac_addresses"] = ["02:00:00:00:00:0b"]


def _as_set_nonsense(_: Document, c: Document) -> None:
    c["vlan_list"][0]["ipv4"]["as_macro"] = "ANY"


def _broadcast(_: Document, c: Document) -> None:
    c["vlan_list"][0]["ipv4"]["address"] = "192.0.2.255"


def _private(d: Document, _: Document) -> None:
    d["member_list"][1]["asnum"] = 64512


def _no_asn(d: Document, _: Document) -> None:
    del d["member_list"][1]["asnum"]


def _not_a_member(d: Document, _: Document) -> None:
    d["member_list"][1] = "AS64497"


def _url_null(d: Document, _: Document) -> None:
    d["member_list"][1]["url"] = None


def _since(d: Document, _: Document) -> None:
    d["member_list"][1]["member_since"] = "2021-02-30T00:00:00Z"


SIDES = f"{CONNECTION}.vlan_list[0]"
SECOND = {"192.0.2.12", "2001:db8::12"}
FAULTS: list[tuple[Callable[[Document, Document], None], str, str, set[str]]] = [
    (_v6_in_v4, f"{SIDES}.ipv4.address", "repaired: taken as IPv6", {"192.0.2.12"}),
    (_duplicate, f"{SIDES}.ipv4", "left out: the address", {"192.0.2.12"}),
    (_speed_zero, f"{CONNECTION}.if_list[0].if_speed", "left out: if_speed", set()),
    (_speed_text, f"{CONNECTION}.if_list[0].if_speed", "left out: if_speed", set()),
    (_ixp_unknown, f"{CONNECTION}.ixp_id", "repaired: taken to be at 7", set()),
    (_vlan_null, f"{SIDES}.vlan_id", "repaired: told by its address", set()),
    (_vlan_unknown, f"{SIDES}.vlan_id", "repaired: taken as a VLAN of that number", set()),
    (_vlan_list_null, f"{CONNECTION}.vlan_list", "left out: any address", SECOND),
    (_mac_nonsense, f"{SIDES}.ipv4.mac_addresses[0]", "left out: the MAC address", set()),
    (_mac_taken, f"{SIDES}.ipv4", "left out: the MAC address", set()),
    (_as_set_nonsense, f"{SIDES}.ipv4.as_macro", "left out: the as-set", set()),
    (_broadcast, f"{SIDES}.ipv4", "left out: the address", {"192.0.2.12"}),
    (_private, "member_list[1].asnum", "left out: the member", SECOND),
    (_no_asn, "member_list[1].asnum", "left out: the member", SECOND),
    (_not_a_member, "member_list[1]", "left out: the entry", SECOND),
    (_url_null, "member_list[1].url", "left out: url", set()),
    (_since, "member_list[1].member_since", "left out: the day", set()),
]


@pytest.mark.parametrize(("change", "where", "done", "lost"), FAULTS, ids=[each[0].__name__.strip("_") for each in FAULTS])
def test_a_fault_is_named_where_it_stands_and_costs_nothing_else(
    change: Callable[[Document, Document], None], where: str, done: str, lost: set[str]
) -> None:
    """A finding with path and deed; all addresses but the broken one are there; the rules still admit the exchange."""
    found = broken(change)

    assert [each for each in found.findings if each.where == where and each.done.startswith(done)], [str(each) for each in found.findings]
    assert addresses(found) == ALL - lost
    assert judge(Snapshot(found.resources), RULES) == ()


def test_unparsable_json_is_refused_with_line_and_column() -> None:
    """The reader is told where to look."""
    with pytest.raises(Refused) as refused:
        read_ixf(b'{"version": "1.0",\n "member_list": [,]}')
    assert refused.value.refusals[0].field == "line 2, column 18"


@pytest.mark.parametrize("version", ["0.3", "2.0", 9, [], True])
def test_a_version_that_is_not_known_is_refused(version: object) -> None:
    """Guessing would turn a new format's facts into wrong ones."""
    with pytest.raises(Refused) as refused:
        read({**SOUND, "version": version})
    assert (refused.value.refusals[0].field, refused.value.refusals[0].rule) == ("version", "ixf.version-known")


def test_one_exchange_of_several_is_taken_by_its_id() -> None:
    """Without a choice both become one exchange with two LANs; with one, the other's members are passed over; a wrong one is refused."""
    document = copy.deepcopy(SOUND)
    vlan = {"id": 3, "ipv4": {"prefix": "198.51.100.0", "mask_length": 24}}
    document["ixp_list"].append({"ixp_id": 8, "ixf_id": 71, "shortname": "OTHER-IX", "vlan": [vlan]})
    other = member(64499, 14, ipv4={"address": "198.51.100.14"})
    other["connection_list"][0] |= {"ixp_id": 8}
    document["member_list"].append(other)

    assert addresses(read(document)) == ALL | {"198.51.100.14"}
    assert addresses(read(document, ixp_id=7)) == ALL
    assert addresses(read(document, ixp_id=8)) == {"198.51.100.14"}
    with pytest.raises(Refused, match="OTHER-IX"):
        read(document, ixp_id=9)


def test_an_address_outside_its_vlans_prefix_gets_a_lan_of_that_vlan() -> None:
    """NNIX lists 103.164.64.11 on a VLAN of 103.154.40.0/23: a second LAN, with room for two route servers and the same number."""
    found = broken(lambda _, c: c["vlan_list"][0].update(ipv4={"address": "203.0.113.11"}))
    lans = Snapshot(found.resources).of(Lan)

    assert [(str(each.v4), each.ixf_id) for each in lans] == [("192.0.2.0/24", 3), ("203.0.113.8/29", 3)]
    assert addresses(found) == ALL - {"192.0.2.12"} | {"203.0.113.11"}


def test_vlans_whose_addresses_interleave_lose_none_of_them() -> None:
    """Two VLANs without prefixes cannot both cover the same range: the second's addresses are taken to be on the first."""
    document = copy.deepcopy(SOUND)
    document["ixp_list"][0]["vlan"] = []
    document["member_list"][1]["connection_list"][0]["vlan_list"][0]["vlan_id"] = 4

    assert addresses(read(document)) == ALL


def test_a_declared_prefix_stays_a_fact_when_the_other_family_had_to_be_inferred() -> None:
    """QCIX declares IPv4 alone and has IPv6 members: its LAN is not marked as assumed, or an export would lose the prefix."""
    document = copy.deepcopy(SOUND)
    del document["ixp_list"][0]["vlan"][0]["ipv6"]
    (lan,) = Snapshot(read(document).resources).of(Lan)

    assert (str(lan.v4), str(lan.v6), lan.assumed) == ("192.0.2.0/24", "2001:db8::/64", False)


def test_an_inactive_connection_keeps_its_port_dark() -> None:
    """What the list calls inactive is reserved here: no light."""
    found = broken(lambda _, c: c.update(state="inactive"))
    assert [each.state for each in Snapshot(found.resources).of(Port)] == [PortState.PRODUCTION, PortState.RESERVED, PortState.PRODUCTION]


def test_a_list_may_come_gzipped_and_a_damaged_gzip_is_refused() -> None:
    """As archives keep them; cut in the middle, the reason is said."""
    packed = gzip.compress(json.dumps(SOUND).encode())

    assert addresses(read_ixf(packed)) == ALL
    for damaged in (packed[:40], packed[:12] + b"\xff" * 20, b"\x1f\x8b"):
        with pytest.raises(Refused, match="gzip"):
            read_ixf(damaged)


def nodes(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from nodes(child, (*path, key))


PATHS = list(nodes(SOUND))
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["192.0.2.1/24", "::", "1.0", "AS-X", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "address", "asnum", "prefix"]) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PATHS), st.none() | st.tuples(JUNK)), min_size=1, max_size=4))
def test_any_node_may_be_deleted_or_replaced_by_anything(damage: list[tuple[tuple[str | int, ...], tuple[Any] | None]]) -> None:
    """Imported, and then admitted by this plane's rules, or refused; never another end."""
    document = copy.deepcopy(SOUND)
    for path, junk in damage:
        target: Any = document
        for key in path[:-1]:
            try:
                target = target[key]
            except (KeyError, IndexError, TypeError):
                break
        else:
            try:
                if junk is None:
                    del target[path[-1]]
                else:
                    target[path[-1]] = junk[0]
            except (KeyError, IndexError, TypeError):
                continue
    try:
        found = read(document)
    except Refused as refused:
        assert all(each.accept and each.rule for each in refused.refusals)
    else:
        assert judge(Snapshot(found.resources), RULES) == ()
