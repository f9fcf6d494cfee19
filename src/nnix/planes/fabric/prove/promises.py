"""What the exchange promises to survive, and where it would not.

A LAN says it for all who are on it, a port for its own member, a circuit for its ends. link: no single link. carrier: no carrier at all, and so no
hand-off of one. site: no single site. Where a LAN promises a site, members that are only at that site are not meant; where a port does, they are,
and need a second port elsewhere. A circuit cannot outlive the sites of its own ends, so they are not meant; those over which it is pinned are.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Circuit, Lan, Port, Survives
from nnix.planes.fabric.prove.circuits import Circuits
from nnix.planes.fabric.prove.cuts import remains
from nnix.planes.fabric.prove.mend import mends
from nnix.planes.fabric.prove.network import CONNECTED, Failure, Network, Part, bits, failures, network
from nnix.planes.routing.kinds import Session

PARTS = {Survives.LINK: (Part.LINK,), Survives.SITE: (Part.SITE,), Survives.CARRIER: (Part.HAND_OFF, Part.CARRIER)}


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that a failure would break: who would be cut off (members by name, a circuit by its id), and what to do."""

    of: str
    failure: str
    cut_off: tuple[str, ...]
    mend: str


class _Ground:
    """What all promises of one snapshot are judged by."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.net: Network = network(snapshot)
        number = {site.name: index for index, site in enumerate(self.net.sites)}
        promised = {part for parts in PARTS.values() for part in parts}
        left = [(each, remains(self.net, each)) for each in failures(self.net) if each.part in promised]
        self.lost = [(each, after.lost) for each, after in left]
        self.circuits = Circuits(snapshot, self.net)
        # circuit → the failures that take it from ends whose own sites stand
        self.parted: dict[str, list[Failure]] = defaultdict(list)
        for failure, after in left if self.circuits.all else ():
            for each in bits(self.circuits.behind(self.circuits.dead(after), failure)):
                self.parted[self.circuits.all[each].name].append(failure)
        self.on: dict[str, dict[str, int]] = defaultdict(dict)  # LAN → member → bits of the sites where it is on it
        for session in snapshot.of(Session):
            port = snapshot.get(Port, session.port)
            if port is not None and port.state in CONNECTED and port.site in number:
                here = self.on[session.lan]
                here[session.member] = here.get(session.member, 0) | 1 << number[port.site]


# The rule asks about one port after the other; the ground is the same for all of them, and a snapshot never changes.
_last: list[tuple[weakref.ref[Snapshot], _Ground]] = []


def _ground(snapshot: Snapshot) -> _Ground:
    if not _last or _last[0][0]() is not snapshot:
        _last[:] = [(weakref.ref(snapshot), _Ground(snapshot))]
    return _last[0][1]


def of_lan(snapshot: Snapshot, lan: Lan) -> Iterator[Breach]:
    """What breaks the promise of `lan`, one breach a failure."""
    if not lan.survives:
        return
    ground = _ground(snapshot)
    for promised in lan.survives:
        for failure, gone in ground.lost:
            if failure.part in PARTS[promised] and gone:
                cut = [name for name, where in ground.on[lan.name].items() if not where & ~gone and where & ~failure.sites]
                if cut:
                    yield Breach(lan.id, failure.of, tuple(sorted(cut)), _mend(ground.net, failure))


def of_port(snapshot: Snapshot, port: Port) -> Iterator[Breach]:
    """What breaks the promise of `port`: failures that cut its member off."""
    if not port.survives or port.state not in CONNECTED:
        return
    ground = _ground(snapshot)
    where = ground.net.homes.get(port.member, 0)
    for promised in port.survives:
        for failure, gone in ground.lost:
            if failure.part in PARTS[promised] and where and not where & ~gone:
                second = f"give {port.member} a port at a second site" if not where & ~failure.sites else ""
                yield Breach(port.id, failure.of, (port.member,), second or _mend(ground.net, failure))


def of_circuit(snapshot: Snapshot, circuit: Circuit) -> Iterator[Breach]:
    """What breaks the promise of `circuit`: failures that take it from an end whose own site stands."""
    if not circuit.survives:
        return
    ground = _ground(snapshot)
    for promised in circuit.survives:
        for failure in ground.parted[circuit.name]:
            if failure.part in PARTS[promised]:
                pins = ground.circuits.pinned_over(circuit, failure)
                mend = unpinned(pins) if pins else _mend(ground.net, failure, "order a second circuit between other sites")
                yield Breach(circuit.id, failure.of, (circuit.id,), mend)


def unpinned(pins: tuple[str, ...]) -> str:
    """What to do about a circuit that dies with the sites that it was to pass."""
    return f"leave {' and '.join(pins)} out of via, or order a second circuit that passes another site"


def breaches(snapshot: Snapshot) -> tuple[Breach, ...]:
    """Every promise of `snapshot` that would be broken."""
    return (
        *(breach for lan in snapshot.of(Lan) for breach in of_lan(snapshot, lan)),
        *(breach for port in snapshot.of(Port) for breach in of_port(snapshot, port)),
        *(breach for circuit in snapshot.of(Circuit) for breach in of_circuit(snapshot, circuit)),
    )


def _mend(net: Network, failure: Failure, otherwise: str = "give these members a port at a second site") -> str:
    links = "; ".join(map(str, mends(net, failure)))
    if links and failure.part in (Part.CARRIER, Part.HAND_OFF):
        return f"{links}, not leased from {failure.hand_offs[0][0]}"
    return links or otherwise
