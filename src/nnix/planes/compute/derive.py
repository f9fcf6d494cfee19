"""What follows from a deal: the circuit on which the pool reaches the buyer's port, and the contract under which its member may read the data.

They are derived, so they come and go with the deal in one change of the kernel: whoever has the lots has the circuit and the contract, and nobody ever
has one without the others. A released deal has neither.

Deals of one bid share one circuit. On a tagged port the circuit has a tag of its own; a port that is not tagged is its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from nnix.kernel.resource import Ref, Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.kinds import Bid, Deal, DealState, Pool, hour_named, hour_number
from nnix.planes.data.kinds import DataContract
from nnix.planes.fabric.kinds import Circuit, Port

NAME_MAX = 63
BUYER = "buyer"


def derive(snapshot: Snapshot) -> Iterator[Resource]:
    """Circuits, tagged ports and data contracts of all live deals."""
    for bid in snapshot.of(Bid):
        deals = [each for each in snapshot.where(Deal, bid=bid.name) if each.state is DealState.RESERVED]
        if deals:
            yield from _contracts(bid, deals, snapshot)
            yield from _circuit(bid, deals, snapshot)


def named(*parts: str) -> str:
    """A name made of parts, of which no other parts make the same: where one has a hyphen itself, or all are too long, it ends in a digest of them.

    Else `a` with `b-c` would be called as `a-b` with `c`, and one bid's circuit end at the other's port. A name has no slash, so the digest is of them apart.
    """
    name = "-".join(parts)
    if len(name) <= NAME_MAX and not any("-" in part for part in parts):
        return name
    return f"{name[: NAME_MAX - 13].rstrip('-')}-{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:12]}"


def circuit_of(bid: str) -> str:
    """The name of the circuit of a bid's deals."""
    return named("deal", bid)


def contract_of(bid: str, member: str) -> str:
    """The name of the contract under which a member whose pools a bid got reads its data."""
    return named("deal", bid, member)


def buyers_end(bid: str) -> str:
    """The name of the tagged port at which the circuit of a bid ends on the buyer's side."""
    return named("deal", bid, BUYER)


def _pools_end(bid: str, pool: str) -> str:
    return named("deal", bid, pool) if pool != BUYER else named("deal", bid, "pool", pool)


def _circuit(bid: Bid, deals: Sequence[Deal], snapshot: Snapshot) -> Iterator[Resource]:
    joined = {str(deal.pool): deal for deal in reversed(deals) if snapshot.at(deal.pool).port is not None}
    if bid.port is None or not joined:
        return
    ends = []
    buyers = snapshot.at(bid.port)
    for port, tag, end, deal in (
        (buyers, deals[0].port_vlan, buyers_end(bid.name), deals[0]),
        *((_port(deal, snapshot), deal.pool_vlan, _pools_end(bid.name, pool), deal) for pool, deal in sorted(joined.items())),
    ):
        if not port.tagged:
            ends.append(port.name)
        elif tag is not None:
            ends.append(end)
            yield Port(
                name=end,
                owner=deal.id,
                member=port.member,
                site=port.site,
                speed=port.speed,
                over=Ref.to(Port, port.name),
                vlan=tag,
            )
    if len(ends) > 1:
        yield Circuit(
            name=circuit_of(bid.name),
            owner=deals[0].id,
            ends=tuple(Ref.to(Port, each) for each in ends),
            capacity=bid.rate,
        )


def _port(deal: Deal, snapshot: Snapshot) -> Port:
    pool = snapshot.at(deal.pool)
    if pool.port is None:
        raise ValueError(f"{pool.id} has no port")
    return snapshot.at(pool.port)


def _contracts(bid: Bid, deals: Sequence[Deal], snapshot: Snapshot) -> Iterator[DataContract]:
    """With the member of each pool, until the last hour there is over. Who computes on data of its own needs no contract."""
    if bid.data is None:
        return
    last: dict[str, tuple[str, Deal, Pool]] = {}
    for deal in deals:
        pool = snapshot.at(deal.pool)
        if pool.member != bid.member and (str(pool.member) not in last or last[str(pool.member)][0] < deal.hours[-1]):
            last[str(pool.member)] = (deal.hours[-1], deal, pool)
    for member, (hour, deal, pool) in sorted(last.items()):
        yield DataContract(
            name=contract_of(bid.name, member),
            owner=deal.id,
            provider=bid.member,
            consumer=pool.member,
            dataset=bid.data.dataset,
            site=bid.data.site,
            gigabytes=bid.data.gigabytes,
            until=hour_named(hour_number(hour) + 1),
            under=bid.data.contract,
        )
