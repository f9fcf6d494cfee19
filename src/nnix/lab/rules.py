"""What the lab asks of its own resources."""

from __future__ import annotations

from collections.abc import Iterator

from nnix.kernel.rule import Broken, rule
from nnix.kernel.snapshot import Snapshot
from nnix.lab.kinds import Registry, Router, Speaker
from nnix.lab.registry import anchor
from nnix.planes.members.kinds import Exchange, Site
from nnix.planes.naming.compile import stations
from nnix.planes.naming.kinds import Zone
from nnix.planes.routing.kinds import RouteServer
from nnix.planes.trust.kinds import RtrCache

LAB = "docs/lab.md"


@rule("lab.declared", source=LAB, whole=True)
def declared(router: Router, snapshot: Snapshot) -> Iterator[Broken]:
    """Members' routers are run only where the exchange declares itself a lab."""
    if not any(each.lab for each in snapshot.of(Exchange)):
        yield Broken("session", router.session, "no Router at a real exchange", "delete the Router, or set `lab: true` at the Exchange")


@rule("lab.machine-names", source=LAB)
def machine_names(router: Router, snapshot: Snapshot) -> Iterator[Broken]:
    """A router is a machine of its own name, which no site, no route server and no cache may have."""
    if snapshot.get(Site, router.name) or snapshot.get(RouteServer, router.name):
        yield Broken("name", router.name, "a name that no Site and no RouteServer has")
    for cache in snapshot.of(RtrCache):
        if cache.runs_on == router.name:
            yield Broken("name", router.name, f"a name that no machine of an RtrCache has; {cache.id} runs there")


@rule("lab.only-bird-misbehaves", source=LAB)
def only_bird_misbehaves(router: Router, snapshot: Snapshot) -> Iterator[Broken]:
    """Paths, communities, next hops and OTC of one's own choosing are spelled for BIRD alone."""
    if router.daemon is not Speaker.BIRD and not all(each.plain for each in router.announces):
        yield Broken("daemon", router.daemon.value, "bird, for announcements with path, communities, next_hop or otc")


@rule("lab.registry-beside-a-router", source=LAB, whole=True)
def registry_beside_a_router(registry: Registry, snapshot: Snapshot) -> Iterator[Broken]:
    """A registry of the lab stands beside the router of a member of the lab, one at each."""
    if not any(each.lab for each in snapshot.of(Exchange)):
        yield Broken(
            "session", registry.session, "no Registry at a real exchange", "delete the Registry, or set `lab: true` at the Exchange"
        )
    if any(each.session == registry.session for each in stations(snapshot)):
        yield Broken("session", registry.session, "a session of a member's router, where no gate, node or resolver stands")
    if len(others := [each.id for each in snapshot.of(Registry) if each.session == registry.session]) > 1:
        yield Broken("session", registry.session, f"a session of its own; {' and '.join(sorted(others))} share this one")


@rule("lab.registry-signs-with-the-anchor", source="RFC 4035, 5", whole=True)
def registry_signs_with_the_anchor(registry: Registry, snapshot: Snapshot) -> Iterator[Broken]:
    """What the exchange takes for the anchor of a zone is the key with which the lab's registry signs it."""
    for index, given in enumerate(registry.zones):
        for zone in snapshot.of(Zone):
            if zone.origin.lower() == given.origin.lower() and zone.anchors and anchor(given.origin) not in zone.anchors:
                yield Broken(
                    f"zones.{index}.origin", given.origin, f"anchors of {zone.id} with {anchor(given.origin)}", f"write it into {zone.id}"
                )


SPEAK_RTR = (Speaker.BIRD, Speaker.FRR)


@rule("lab.caches-within-reach", source="RFC 8210, 8")
def caches_within_reach(router: Router, snapshot: Snapshot) -> Iterator[Broken]:
    """A router that takes VRPs by RTR runs a daemon that can, and shares a LAN and an address family with each of its caches."""
    if router.caches and router.daemon not in SPEAK_RTR:
        yield Broken("daemon", router.daemon.value, "bird or frr, for a router with caches")
    session = snapshot.at(router.session)
    for index, cache in enumerate(map(snapshot.at, router.caches)):
        if cache.lan != session.lan or not any(getattr(cache, each) and getattr(session, each) for each in ("v4", "v6")):
            yield Broken(f"caches.{index}", cache.name, f"a cache on {session.lan.id}, with an address of a family that {session.id} has")


RULES = (declared, machine_names, only_bird_misbehaves, caches_within_reach, registry_beside_a_router, registry_signs_with_the_anchor)
