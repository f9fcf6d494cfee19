"""A small exchange for the tests of this folder, and its evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Lan, Port
from nnix.planes.members.kinds import Exchange, Member, Site
from nnix.planes.routing.allocate import allocate
from nnix.planes.routing.kinds import RouteServer, RoutingPolicy, Session

RPSL = """
as-set: AS-ONE
members: AS1001, AS2001, AS-INNER
source: T

as-set: AS-INNER
members: AS2002
source: T

route: 20.0.0.0/24
origin: AS1001
source: T

route6: 2a00:1::/48
origin: AS2001
source: T
"""
VRPS = {"roas": [{"asn": 1001, "prefix": "20.0.0.0/24", "maxLength": 24}, {"asn": "AS9", "prefix": "21.0.0.0/8", "maxLength": 8}]}


def evidence(rpsl: str = RPSL, vrps: object = VRPS) -> Evidence:
    return Evidence({"file:i.rpsl": rpsl.encode(), "file:v.json": json.dumps(vrps).encode()})


def member(number: int, member: Mapping[str, Any] | None = None, port: Mapping[str, Any] | None = None, **session: Any) -> list[Resource]:
    """Member `m<number>` with AS<1000+number>, its port and its session."""
    name = f"m{number}"
    return [
        Member.model_validate({"name": name, "title": {"en": name}, "asn": 1000 + number, "class": "isp", **(member or {})}),
        Port.model_validate({"name": f"{name}-p", "member": name, "site": "east", "speed": "10G", **(port or {})}),
        Session.model_validate(
            {
                "name": f"{name}-s",
                "member": name,
                "lan": "lan",
                "port": f"{name}-p",
                "v4": f"10.9.0.{10 + number}",
                "v6": f"2406:5340::{10 + number}",
                "macs": [f"02:00:00:00:00:{number:02x}"],
                **session,
            }
        ),
    ]


def exchange(*more: Resource, policy: Mapping[str, Any] | None = None, lab: bool = False) -> Snapshot:
    """Two route servers, three members; `more` is added or takes the place of what has its name."""
    wanted: list[Resource] = [
        Exchange.model_validate({"name": "x", "title": {"en": "x"}, "asn": 139136, "country": "CN", "lab": lab}),
        Lan.model_validate({"name": "lan", "title": {"en": "lan"}, "v4": "10.9.0.0/24", "v6": "2406:5340::/64"}),
        RoutingPolicy.model_validate({"name": "safe", "irr_sources": ["i.rpsl"], "rpki_sources": ["v.json"], **(policy or {})}),
        *member(1, {"as_sets": ["AS-ONE"]}),
        *member(2),
        *member(3, {"as_sets": ["AS-NOWHERE"]}),
    ]
    for number, site in ((1, "east"), (2, "west")):
        wanted += [
            Site.model_validate({"name": site, "title": {"en": site}, "role": "hub", "level": "city", "city": "H", "country": "CN"}),
            RouteServer.model_validate(
                {
                    "name": f"rs{number}",
                    "site": site,
                    "lan": "lan",
                    "policy": "safe",
                    "v4": f"10.9.0.{number}",
                    "v6": f"2406:5340::{number}",
                }
            ),
        ]
    snapshot = Snapshot(wanted).replaced(more)
    return snapshot.replaced(allocate(snapshot, Snapshot()))
