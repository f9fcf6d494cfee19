"""PeeringDB's rows are self-reported: odd ones cost themselves alone, and never a crash."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from nnix.kernel.rule import Refused, judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Port, PortState
from nnix.planes.members.kinds import Exchange, Member
from nnix.planes.members.peeringdb import read_peeringdb
from nnix.planes.members.rules import RULES
from nnix.planes.routing.kinds import RouteServer, RoutingPolicy, Session

ROW: dict[str, Any] = {
    "ix_id": 9,
    "ixlan_id": 19,
    "speed": 10000,
    "is_rs_peer": True,
    "operational": True,
    "status": "ok",
    "name": "LAB-IX",
}
ROWS: dict[str, Any] = {
    "ix": [{"id": 9, "name": "LAB-IX", "name_long": "Laboratory IX", "city": "Delft", "country": "NL", "website": "https://ix.example"}],
    "ixlan": [{"id": 19, "ix_id": 9, "name": "", "mtu": 1500, "rs_asn": 64505}],
    "ixpfx": [
        {"ixlan_id": 19, "protocol": "IPv4", "prefix": "192.0.2.0/24"},
        {"ixlan_id": 19, "protocol": "IPv6", "prefix": "2001:db8::/64"},
    ],
    "net": [
        {
            "asn": 64496,
            "name": "One",
            "info_type": "Content",
            "irr_as_set": "RIPE::AS-ONE",
            "info_prefixes4": 50,
            "info_never_via_route_servers": True,
        }
    ],
    "netixlan": [
        {**ROW, "asn": 64496, "ipaddr4": "192.0.2.11", "ipaddr6": "2001:db8::11"},
        {**ROW, "asn": 64497, "ipaddr4": "192.0.2.12", "ipaddr6": None, "is_rs_peer": False, "operational": False},
        {**ROW, "asn": 64505, "ipaddr4": "192.0.2.250", "ipaddr6": None, "speed": 1000},
    ],
}


def read(document: Any) -> Snapshot:
    snapshot = Snapshot(read_peeringdb(json.dumps(document).encode()).resources)
    assert judge(snapshot, RULES) == ()
    return snapshot


def test_all_tables_together_make_a_whole_exchange() -> None:
    """Names, class and as-set from net, prefixes from ixpfx; rows of the route servers' AS are route servers, not members."""
    snapshot = read(ROWS)

    (exchange,) = snapshot.of(Exchange)
    assert (exchange.title.en, exchange.asn, exchange.peeringdb_ix, exchange.country) == ("Laboratory IX", 64505, 9, "NL")
    assert [(each.asn, each.title.en, each.as_sets) for each in snapshot.of(Member)] == [
        (64496, "One", ("RIPE::AS-ONE",)),
        (64497, "AS64497", ()),
    ]
    assert [each.route_servers for each in snapshot.of(Session)] == [True, False]
    assert [each.state for each in snapshot.of(Port)] == [PortState.PRODUCTION, PortState.RESERVED]
    assert "192.0.2.250" in {str(each.v4) for each in snapshot.of(RouteServer)}
    assert [each.never_via_route_servers for each in snapshot.of(RoutingPolicy)] == [(64496,)]


@pytest.mark.parametrize("asn", [-1, 10**30, 64512, 4294967295])
def test_a_route_server_as_that_names_nobody_is_left_out(asn: int) -> None:
    """The exchange gets a documentation number instead, and the rest of the rows is kept."""
    document = copy.deepcopy(ROWS)
    document["ixlan"][0]["rs_asn"] = asn
    snapshot = read(document)

    (exchange,) = snapshot.of(Exchange)
    assert 64496 <= exchange.asn <= 64511
    assert {64496, 64497} <= {each.asn for each in snapshot.of(Member)}


@pytest.mark.parametrize("ix_id", [0, -1])
def test_an_exchange_id_that_is_none_is_left_out(ix_id: int) -> None:
    """PeeringDB counts from 1."""
    document = {"data": [{**row, "ix_id": ix_id} for row in ROWS["netixlan"]]}
    (exchange,) = read(document).of(Exchange)
    assert exchange.peeringdb_ix is None


def test_random_damage_never_crashes() -> None:
    """Two thousand sets of rows with fields replaced by other things: an exchange that the rules admit, or a refusal."""
    chance = random.Random(11)
    junk: list[Any] = [None, "", -1, True, [], {}, "999.1.1.1", "::/0", 10**30, 1.5, "\ud800", [None], 64512]
    for _ in range(2000):
        document = copy.deepcopy(ROWS)
        for _ in range(chance.randint(1, 4)):
            table = chance.choice(list(document))
            row = chance.choice(document[table])
            row[chance.choice(list(row))] = chance.choice(junk)
        try:
            read(document)
        except Refused as refused:
            assert all(each.rule.startswith("peeringdb.") and each.accept for each in refused.refusals)
