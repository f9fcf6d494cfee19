"""A small exchange for lab tests: three sites, two route servers, a handful of members; and the hands to run it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

from nnix.cli.root import ALL_PLANES, KINDS, Setting
from nnix.kernel.apply import Applied
from nnix.kernel.change import admit
from nnix.kernel.drive import converge, look
from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Status
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.lab.sweep import sweep
from nnix.planes.fabric.read import read

T = TypeVar("T")
SITES = ("east", "south", "west")


def resource(kind: str, name: str, **fields: Any) -> Resource:
    """A resource of the kind called `kind`, from plain values."""
    return KINDS[kind].model_validate({"name": name, **fields})


def frame(second: str = "bird") -> list[Resource]:
    """Everything but members: two route servers at different sites, a triangle of links, policy without registries. `second` is the make of the
    second route server; its policy has no roles, since OpenBGPD 7.7 does not do all of RFC 9234 with members that send none."""
    made = [
        resource("Exchange", "small", title={"en": "Small"}, asn=65551, country="CN", lab=True),
        resource("Lan", "lan", title={"en": "LAN"}, v4="203.0.113.0/24", v6="2001:db8:1::/64"),
        resource("RoutingPolicy", "open", irr="off", rpki="off"),
        resource("RouteServer", "rs-a", site="east", lan="lan", policy="open", v4="203.0.113.1", v6="2001:db8:1::1"),
        resource("RouteServer", "rs-b", site="south", lan="lan", policy="open", v4="203.0.113.2", v6="2001:db8:1::2"),
    ]
    if second != "bird":
        made[-1] = made[-1].changed(policy="without-roles", daemon=second)
        made.append(resource("RoutingPolicy", "without-roles", irr="off", rpki="off", roles=False))
    for index, name in enumerate(SITES):
        role = "hub" if index == 0 else "node"
        made.append(resource("Site", name, title={"en": name}, role=role, level="city", city=name, country="CN"))
    for a, b in (("east", "south"), ("south", "west"), ("west", "east")):
        made.append(resource("Link", f"{a}-{b}", a=a, b=b, capacity="100G", latency="1ms"))
    return made


def member(number: int, *, site: str | None = None, state: str = "production") -> list[Resource]:
    """Member `number` (1 to 15), with port, session and, derived by the lab, a BIRD router that announces one prefix a family."""
    name = f"m{number}"
    return [
        resource("Member", name, title={"en": name}, asn=64495 + number if number <= 16 else 65535 + number, **{"class": "isp"}),
        resource("Port", name, member=name, site=site or SITES[number % 3], speed="10G", state=state),
        resource("Session", name, member=name, lan="lan", port=name, v4=f"203.0.113.{100 + number}", v6=f"2001:db8:1::{100 + number}"),
    ]


class Lab:
    """One exchange in a state folder of its own."""

    def __init__(self, state: Path) -> None:
        self.setting = Setting(state, None)
        self.loop = asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def apply(self, resources: Iterable[Resource], why: str = "a test") -> Applied:
        office = self.setting.office
        wanted = admit(ALL_PLANES, resources, office.book.model().snapshot)
        return self.run(office.apply(office.draft(wanted, Evidence()), why))

    @property
    def snapshot(self) -> Snapshot:
        return self.setting.book.model().snapshot

    def differences(self) -> dict[tuple[str, str, str], str]:
        """How the world differs from the model."""
        return self.run(look(self.setting.world, self.setting.office.wanted(self.setting.book.model()).values()))

    def put_right(self) -> None:
        """Drive everything to the model, as the loop does when it has found a hand edit."""
        self.run(converge(self.setting.world, self.setting.office.wanted(self.setting.book.model())))

    def status(self, resource: str) -> Status:
        """What `nnix status` says of a resource of the fabric."""
        return next(each for each in self.run(read(self.snapshot, self.setting.machines)) if each.resource == resource)

    def host_run(self, machine: str, *argv: str) -> str:
        return self.run(self.setting.machines.host(machine).run(argv)).out

    def interfaces(self, machine: str) -> list[str]:
        """Names of its interfaces, and nothing else: what `ip link` prints for people holds names of namespaces and addresses as well, by chance any word."""
        return [each["ifname"] for each in json.loads(self.host_run(machine, "ip", "-j", "link"))]

    def close(self) -> list[str]:
        """Take everything away; what could not be, in words."""
        model = self.setting.book.model()
        self.run(self.setting.office.take_down([*model.artifacts, *model.leftovers]))
        self.run(self.setting.machines.close())
        left = sweep(self.setting.prefix, self.setting.state / "hosts")
        self.setting.ledger.close()
        self.loop.close()
        return left
