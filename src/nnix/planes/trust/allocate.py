"""What nobody has written down of a cache: its MAC address, which follows from its name."""

from __future__ import annotations

from collections.abc import Iterable

from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import mac_of
from nnix.planes.trust.kinds import RtrCache


def allocate(snapshot: Snapshot, before: Snapshot) -> Iterable[Resource]:
    """Caches completed."""
    for cache in snapshot.of(RtrCache):
        if cache.mac is None:
            yield cache.changed(mac=mac_of(cache.id))
