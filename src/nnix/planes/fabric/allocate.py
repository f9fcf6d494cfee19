"""VXLAN network identifiers: each LAN and circuit without one gets a number, and keeps it.

A number that moved would take the LAN apart for as long as two switches disagree, so it keeps what it had before. A new LAN gets the
lowest number from 4000 up that nobody has, a circuit from 100000 up: whoever reads a capture sees which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Circuit, Lan, Port

FIRST: Mapping[type[Lan | Circuit], int] = {Lan: 4000, Circuit: 100000}


def allocate(snapshot: Snapshot, before: Snapshot) -> Iterator[Resource]:
    """Each Lan and Circuit of `snapshot` that has no `vni`, completed. What `before` says of it is kept unless another now claims it."""
    everyone: list[Lan | Circuit] = [*snapshot.of(Lan), *snapshot.of(Circuit)]
    taken = {
        each.vni for each in (*everyone, *snapshot.of(Port)) if each.vni is not None
    }  # a hand-off's number is agreed on, not ours to give
    unset = [each for each in everyone if each.vni is None]
    kept: dict[str, int] = {}
    for each in unset:
        earlier = before.get(type(each), each.name)
        if earlier is not None and earlier.vni is not None and earlier.vni not in taken:
            kept[each.id] = earlier.vni
            taken.add(earlier.vni)
    free = {kind: (number for number in count(first) if number not in taken) for kind, first in FIRST.items()}
    for each in unset:
        yield each.changed(vni=kept.get(each.id) or next(free[type(each)]))
