"""What an operator should know of the names that he hosts before a change, though no rule refuses it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Finding
from nnix.kernel.snapshot import Snapshot
from nnix.planes.naming.compile import nodes_of, site_of
from nnix.planes.naming.kinds import Anycast, NameNode, Zone


def prove(snapshot: Snapshot, evidence: Evidence) -> Iterable[Finding]:
    """Findings, by resource."""
    return (*_zones(snapshot), *_services(snapshot))


def _zones(snapshot: Snapshot) -> Iterator[Finding]:
    for zone in snapshot.of(Zone):
        if not zone.zonemd:
            yield Finding(zone.id, "its digest is not verified: a changed NS of an unsigned delegation would pass (RFC 8976, 1.1)")
        if not zone.dnssec:
            yield Finding(zone.id, "its signatures are not verified: a zone with expired ones would be served")
        if not zone.anchors:
            yield Finding(zone.id, "no anchors: a zone that was signed anew by a stranger's key would be served")
        if not snapshot.where(NameNode, gate=zone.gate):
            yield Finding(zone.id, f"nobody serves it: no NameNode has {zone.gate.id}")


def _services(snapshot: Snapshot) -> Iterator[Finding]:
    for anycast in snapshot.of(Anycast):
        nodes = nodes_of(anycast, snapshot)
        makes = {each.daemon for each in nodes}
        if len(nodes) > 1 and len(makes) == 1:
            yield Finding(anycast.id, f"all its nodes run {makes.pop()}: one fault would stop all of them")
        if len(sites := {site_of(each, snapshot).name for each in nodes}) < len(nodes):
            yield Finding(anycast.id, f"{len(nodes)} nodes stand at {len(sites)} sites")
