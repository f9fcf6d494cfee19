"""A small exchange that is right, and ways to change it."""

from __future__ import annotations

from typing import Any

from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import KINDS as FABRIC
from nnix.planes.members.kinds import KINDS as MEMBERS
from nnix.planes.routing.kinds import KINDS as ROUTING

Fields = dict[str, Any]
KINDS: dict[str, type[Resource]] = {kind.kind(): kind for kind in (*MEMBERS, *FABRIC, *ROUTING)}


def site(name: str, role: str, number: int, **more: Any) -> Fields:
    common = {"title": {"en": name.title(), "zh": "站点"}, "role": role, "level": "province", "city": name, "country": "CN"}
    return {**common, "vtep": f"10.255.0.{number}", **more}


def session(member: str, number: int) -> Fields:
    fields = {"member": member, "lan": "peering", "port": member, "v4": f"192.0.2.{number}", "v6": f"2001:db8:1::{number}"}
    return {**fields, "macs": [f"02:00:5e:10:00:0{number}"]}


RIGHT: dict[str, Fields] = {
    "Exchange/zj": {"title": {"en": "Zhejiang", "zh": "浙江"}, "asn": 139136, "country": "CN"},
    "Carrier/telecom": {"title": {"en": "Telecom"}, "asns": [4134]},
    "Site/hz": site("hz", "hub", 1),
    "Site/nb": site("nb", "backbone", 2),
    "Site/wz": site("wz", "node", 3, machine="switch-7"),
    "Machine/switch-7": {"reach": "namespace"},
    "Link/hz-nb": {"a": "hz", "b": "nb", "capacity": "400G", "latency": "1.2ms"},
    "Link/nb-wz": {"a": "nb", "b": "wz", "capacity": "100G", "latency": "2.5ms", "carrier": "telecom"},
    "Lan/peering": {"title": {"en": "Peering"}, "v4": "192.0.2.0/24", "v6": "2001:db8:1::/64", "vni": 4000},
    "Lan/test": {"title": {"en": "Test"}, "purpose": "quarantine", "v4": "198.51.100.0/24", "vni": 4001},
    "RoutingPolicy/open": {},
    "RouteServer/rs1": {"site": "nb", "lan": "peering", "policy": "open", "v4": "192.0.2.251", "mac": "02:00:5e:10:00:fb"},
    "Member/alice": {"title": {"en": "Alice"}, "asn": 4134, "class": "isp"},
    "Member/bob": {"title": {"en": "Bob"}, "asn": 4809, "class": "cloud"},
    "Port/alice": {"member": "alice", "site": "hz", "speed": "100G", "committed": "40G"},
    "Port/bob": {"member": "bob", "site": "wz", "speed": "10G", "interface": "et48"},
    "Port/alice-2": {"member": "alice", "site": "hz", "speed": "10G"},
    "Port/bob-2": {"member": "bob", "site": "nb", "speed": "10G"},
    "Circuit/private": {"ends": ["alice-2", "bob-2"], "vni": 100000, "capacity": "1G"},
    "EmergencyPlan/hub-dark": {
        "title": {"en": "The hub goes dark"},
        "trigger": "no BFD from the hub",
        "failure": "dark",
        "target": "site/hz",
        "steps": ["call the site"],
        "approvers": [{"contact": "contact:director"}],
        "expects": "members of the hub are off",
        "restore_within": "250ms",
    },
    "Session/alice": session("alice", 1),
    "Session/bob": session("bob", 2),
    "Traffic/alice-bob": {"a": {"member": "alice"}, "b": {"member": "bob"}, "a_to_b": "1G"},
}


def exchange(changes: dict[str, Fields | None] | None = None) -> Snapshot:
    """RIGHT with fields changed, resources added, and those whose change is None left out."""
    wish: dict[str, Fields] = {key: dict(fields) for key, fields in RIGHT.items()}
    for key, fields in (changes or {}).items():
        if fields is None:
            del wish[key]
        else:
            wish[key] = {**wish.get(key, {}), **fields}
    made = []
    for key, fields in wish.items():
        kind, _, name = key.partition("/")
        made.append(KINDS[kind].model_validate({"name": name, **fields}))
    return Snapshot(made)
