"""VXLAN network identifiers: each LAN without one gets a number, and keeps it.

A number that moved would take the LAN apart for as long as two switches disagree, so a LAN keeps what it had before. A new
LAN gets the lowest number from 4000 up that no LAN has.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Lan

VNI_FIRST = 4000


def allocate(snapshot: Snapshot, before: Snapshot) -> Iterator[Resource]:
    """Each Lan of `snapshot` that has no `vni`, completed. What `before` says of the LAN is kept unless another LAN now claims it."""
    taken = {lan.vni for lan in snapshot.of(Lan) if lan.vni is not None}
    unset = [lan for lan in snapshot.of(Lan) if lan.vni is None]
    kept: dict[str, int] = {}
    for lan in unset:
        earlier = before.get(Lan, lan.name)
        if earlier is not None and earlier.vni is not None and earlier.vni not in taken:
            kept[lan.name] = earlier.vni
            taken.add(earlier.vni)
    free = (number for number in count(VNI_FIRST) if number not in taken)
    for lan in unset:
        yield lan.changed(vni=kept.get(lan.name) or next(free))
