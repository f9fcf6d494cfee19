"""What an export says is what the imported list said, fact by fact; and importing the export gives the same exchange again.

Every differing fact needs a finding of the import, which told the operator, or a reason in REASONS.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nnix.cli.root import ALL_PLANES
from nnix.kernel.change import admit
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.members.ixf_read import read_ixf
from nnix.planes.members.ixf_write import Version, write_ixf
from nnix.planes.members.peeringdb import read_peeringdb
from tests.unit.members.facts import Difference, differences, told_by

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OWN = Path(__file__).parents[2] / "data/ixf"
SHARED = Path(__file__).parents[4] / "shared/data/ixf"
LISTS = sorted(
    [*OWN.glob("*.json"), *(p for folder in ("exports", "derived", "peeringdb-cases") for p in (SHARED / folder).glob("*.json"))]
)

Document = dict[str, Any]
Allowed = Callable[[Difference, Document, Document], bool]


def _about(*key: str) -> Callable[[Difference], bool]:
    return lambda difference: (difference.key[0], difference.key[-1]) == key


def _exchange_asn(back: Document) -> set[int]:
    """The AS numbers that have an entry of route servers in an export."""
    return {m["asnum"] for m in back["member_list"] if m.get("name", "").endswith("route servers")}


REASONS: dict[str, Allowed] = {
    "the name of a resource is a slug: a short name in capitals is not kept beside a long one": lambda d, _, __: (
        _about("exchange", "shortname")(d) and (d.given is None or d.back is not None)
    ),
    "an Exchange has a title: where a list gives one name, it is the short and the long one": lambda d, _, back: (
        _about("exchange", "name")(d) and d.given is None and back["ixp_list"][0]["shortname"] == back["ixp_list"][0]["name"]
    ),
    "a member called AS112 by its list is called so by every reader": lambda d, _, __: (
        _about("member", "name")(d) and d.given is not None and d.given.value == f"AS{d.key[1]}" and d.back is None
    ),
    "a port is in some state: a list that says none names who is there": lambda d, _, __: (
        _about("connection", "state")(d) and d.given is None and d.back is not None
    ),
    "one router's addresses may have an entry each or one together: both say the same of each address": lambda d, _, __: (
        _about("address", "in one entry with")(d) and d.given is None
    ),
    "addresses refer to their VLAN: where a list names none, it gets number 1": lambda d, given, _: (
        _about("address", "vlan")(d) and d.given is None and not any(x.get("vlan") for x in given["ixp_list"])
    ),
    "switches of one facility, or at one place, are one site": lambda d, given, _: (
        d.key[0] == "place" and d.back is None and sum(len(x.get("switch") or ()) for x in given["ixp_list"]) > 1
    ),
    "several exchanges of one document become one, under the name and the ids of the first": lambda d, given, _: (
        len(given["ixp_list"]) > 1 and d.key[0] in ("exchange", "vlan") and d.key[-1] in ("shortname", "peeringdb_id", "ixf_id", "name")
    ),
    "a RouteServer is no member: it has addresses, a MAC and a site, a connection each, and a name of ours": lambda d, _, back: (
        d.key[0] in ("member", "connection", "address")
        and d.key[1] in _exchange_asn(back)
        and d.key[-1] in ("name", "url", "member_since", "addresses", "speed", "state", "routeserver")
    ),
}


def reason(difference: Difference, given: Document, back: Document) -> str | None:
    """Why `difference` may be; None when it may not."""
    return next((why for why, allows in REASONS.items() if allows(difference, given, back)), None)


def exported(snapshot: Snapshot, version: Version = "1.0") -> Document:
    found: Document = json.loads(json.dumps(write_ixf(snapshot, version, NOW)))
    return found


def usable(path: Path) -> bool:
    try:
        read_ixf(path.read_bytes())
    except Refused:
        return False
    return True


@pytest.mark.parametrize("version", ["0.7", "1.0"])
@pytest.mark.parametrize("path", [p for p in LISTS if usable(p)], ids=lambda p: p.stem)
def test_every_fact_that_differs_was_told_or_has_a_reason(path: Path, version: Version) -> None:
    """Nothing of a list is lost in silence, and nothing is said in the export that the list did not say."""
    given = json.loads(path.read_bytes())
    found = read_ixf(path.read_bytes())
    back = exported(Snapshot(found.resources), version)
    silent = [str(d) for d in differences(given, back) if not told_by(found.findings, d) and reason(d, given, back) is None]
    assert silent == []


@pytest.mark.parametrize("version", ["0.7", "1.0"])
@pytest.mark.parametrize("path", [p for p in LISTS if usable(p)], ids=lambda p: p.stem)
def test_an_export_imports_as_the_same_resources(path: Path, version: Version) -> None:
    """Import, export, import: the same exchange, resource by resource."""
    first = Snapshot(read_ixf(path.read_bytes()).resources)
    again = Snapshot(read_ixf(json.dumps(exported(first, version)).encode()).resources)
    assert {each.id: each.record() for each in again} == {each.id: each.record() for each in first}


@pytest.mark.parametrize("path", [p for p in OWN.glob("*.json") if usable(p)], ids=lambda p: p.stem)
def test_what_a_lab_makes_up_is_not_exported(path: Path) -> None:
    """Admission gives a lab's sessions and route servers MACs and VTEPs of its own; the export is the same before and after."""
    resources = read_ixf(path.read_bytes()).resources
    assert exported(admit(ALL_PLANES, resources, Snapshot())) == exported(Snapshot(resources))


def hard() -> Document:
    return exported(Snapshot(read_ixf((OWN / "hard.1.0.json").read_bytes()).resources))


def connections(document: Document, asn: int) -> list[Document]:
    return next(list(m["connection_list"]) for m in document["member_list"] if m["asnum"] == asn)


def test_members_come_by_number_and_route_servers_among_them() -> None:
    """One order for all entries: by ASN, then by name; the exchange's own AS is of type ixp."""
    assert [(m["asnum"], m.get("member_type")) for m in hard()["member_list"]] == [
        (64505, None),
        (64507, "other"),
        (64510, "peering"),
        (64511, "ixp"),
    ]


def test_a_port_split_for_its_vlans_is_one_connection_again() -> None:
    """AS64510 has two VLANs on one cable: two ports in the lab, one connection in the list."""
    (connection,) = connections(hard(), 64510)
    assert [entry["vlan_id"] for entry in connection["vlan_list"]] == [10, 20]


def test_an_entry_whose_families_differ_is_one_entry_again() -> None:
    """IPv4 with the route servers and IPv6 without are two sessions, and were one entry."""
    (connection,) = connections(hard(), 64510)
    entry = connection["vlan_list"][0]
    assert (entry["ipv4"]["routeserver"], entry["ipv6"]["routeserver"]) == (True, False)
    assert (entry["ipv4"]["as_macro"], entry["ipv6"]["as_macro"]) == ("AS-FOUR", "AS-SIX")


def test_a_flag_that_was_not_said_is_not_said() -> None:
    """Unknown is not true."""
    first, second = connections(hard(), 64505)
    assert "routeserver" not in first["vlan_list"][0]["ipv4"]
    assert [side.get("routeserver") for side in (second["vlan_list"][0]["ipv4"], second["vlan_list"][0]["ipv6"])] == [True, None]


def test_lans_of_one_vlan_are_one_vlan_again_and_inferred_prefixes_are_no_facts() -> None:
    """203.0.113.7 needs a LAN beside VLAN 10's own, and VLAN 30 an IPv6 prefix: neither is told to others."""
    vlans = {vlan["id"]: vlan for vlan in hard()["ixp_list"][0]["vlan"]}
    assert vlans.keys() == {10, 20, 30}
    assert vlans[10]["ipv4"]["prefix"] == "192.0.2.0"
    assert "ipv6" not in vlans[30]
    entries = [entry for connection in connections(hard(), 64507) for entry in connection["vlan_list"]]
    assert [(entry["vlan_id"], "ipv4" in entry, "ipv6" in entry) for entry in entries] == [(30, True, True), (10, True, True)]


def test_route_servers_have_their_macs() -> None:
    """Members lock their ports to them."""
    sides = [entry["ipv4"] for c in connections(hard(), 64511) for entry in c["vlan_list"]]
    assert [side["mac_addresses"] for side in sides] == [["86:4d:84:31:a3:16"], ["86:4d:84:31:a3:17"]]


def test_rows_that_peeringdb_does_not_hold_to_be_ok_are_left_out_and_said() -> None:
    """A deleted row is nobody's presence, one that waits for approval nobody's yet."""
    base = {"ix_id": 1, "name": "X", "speed": 1000, "is_rs_peer": True}
    rows = [
        {**base, "asn": 64500 + n, "ipaddr4": f"192.0.2.{n + 1}", "status": status} for n, status in enumerate(("ok", "pending", "deleted"))
    ]
    found = read_peeringdb(json.dumps({"data": rows}).encode())
    assert [r.name for r in found.resources if type(r).kind() == "Member"] == ["as64500"]
    said = [(f.where, f.problem) for f in found.findings if f.done == "left out: the row"]
    assert said == [("data[1]", 'its status is "pending", not ok'), ("data[2]", 'its status is "deleted", not ok')]
    with pytest.raises(Refused, match="none of 1 rows"):
        read_peeringdb(json.dumps({"data": rows[2:]}).encode())
