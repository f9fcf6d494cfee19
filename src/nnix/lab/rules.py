"""What the lab asks of its own resources."""

from __future__ import annotations

from collections.abc import Iterator

from nnix.kernel.rule import Broken, rule
from nnix.kernel.snapshot import Snapshot
from nnix.lab.kinds import Router, Speaker
from nnix.planes.members.kinds import Exchange, Site
from nnix.planes.routing.kinds import RouteServer

LAB = "docs/lab.md"


@rule("lab.declared", source=LAB, whole=True)
def declared(router: Router, snapshot: Snapshot) -> Iterator[Broken]:
    """Members' routers are run only where the exchange declares itself a lab."""
    if not any(each.lab for each in snapshot.of(Exchange)):
        yield Broken("session", router.session, "no Router at a real exchange", "delete the Router, or set `lab: true` at the Exchange")


@rule("lab.machine-names", source=LAB)
def machine_names(router: Router, snapshot: Snapshot) -> Iterator[Broken]:
    """A router is a machine of its own name, which no site and no route server may have."""
    if snapshot.get(Site, router.name) or snapshot.get(RouteServer, router.name):
        yield Broken("name", router.name, "a name that no Site and no RouteServer has")


@rule("lab.only-bird-misbehaves", source=LAB)
def only_bird_misbehaves(router: Router, snapshot: Snapshot) -> Iterator[Broken]:
    """Paths, communities, next hops and OTC of one's own choosing are spelled for BIRD alone."""
    if router.daemon is not Speaker.BIRD and not all(each.plain for each in router.announces):
        yield Broken("daemon", router.daemon.value, "bird, for announcements with path, communities, next_hop or otc")


RULES = (declared, machine_names, only_bird_misbehaves)
