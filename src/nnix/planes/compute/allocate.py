"""Tags of circuits that follow from deals: the lowest that is free on the cable, kept for as long as the deal lives.

Only a tagged port takes several circuits, told apart by VLAN (IEEE 802.1Q). A port that is not tagged is the end of one circuit itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.kinds import Deal, DealState
from nnix.planes.fabric.kinds import Port

TAGS = range(1, 4095)


def allocate(snapshot: Snapshot, before: Snapshot) -> Iterator[Deal]:
    """Each live deal of `snapshot` with the tags of its circuit; what `before` says is kept. Where no tag is left it has none, and `compute.deal-has-circuit` says so."""
    taken: dict[str, set[int]] = defaultdict(set)
    for port in snapshot.of(Port):
        if port.over is not None and port.vlan is not None and port.owner is None:
            taken[port.over].add(port.vlan)
    known: dict[tuple[str, str], int] = {}  # (bid, cable) → tag: deals of one bid share its circuit
    live = [each for each in snapshot.of(Deal) if each.state is DealState.RESERVED]
    wanted = [(deal, field, cable) for deal in live for field, cable in _cables(deal, snapshot)]
    for deal, field, cable in wanted:
        earlier = before.get(Deal, deal.name)
        tag = getattr(deal, field) or (getattr(earlier, field) if earlier is not None else None)
        if tag is not None and tag not in taken[cable]:
            known[deal.bid, cable] = tag
    for (_, cable), tag in known.items():
        taken[cable].add(tag)
    tags: dict[str, dict[str, int]] = defaultdict(dict)
    for deal, field, cable in wanted:
        tag = known.get((deal.bid, cable)) or next((each for each in TAGS if each not in taken[cable]), None)
        if tag is not None:
            known[deal.bid, cable] = tag
            taken[cable].add(tag)
            tags[deal.name][field] = tag
    for deal in live:
        if tags[deal.name]:
            yield deal.changed(**tags[deal.name])


def _cables(deal: Deal, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """(field of the tag, tagged port) at either end of a deal's circuit."""
    pool, bid = snapshot.at(deal.pool), snapshot.at(deal.bid)
    if pool.port is None or bid.port is None:
        return
    for field, name in (("pool_vlan", pool.port), ("port_vlan", bid.port)):
        if snapshot.at(name).tagged:
            yield field, str(name)
