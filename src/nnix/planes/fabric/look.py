"""What a map shows besides the exchange as it is declared: what links carry, what has failed, which members and circuits are cut off.

A look has one of two sources. `supposed` is the proof's answer to a failure that has not happened (prove/): who would be cut off, what links
would then carry. `observed` is what was read from the running switches: links without carrier, sites that reach nobody, and octets counted
between two readings. From there the same graph says which members and circuits that cuts off, so that picture and proof can be compared; a circuit
whose own bridges or ports are down counts as well.

A link whose switches cannot be asked is neither up nor failed: it is not known, and drawn so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnix.kernel.plane import Status
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Circuit, Link
from nnix.planes.fabric.prove.circuits import Circuits
from nnix.planes.fabric.prove.cuts import Homes, lost, remains
from nnix.planes.fabric.prove.network import Failure, Part, bits, network
from nnix.planes.members.kinds import Site

if TYPE_CHECKING:  # NumPy takes long to import, and a map of what is declared needs none
    from nnix.planes.fabric.prove.survival import Case, Survival

BOTH_WAYS = 2
Octets = Mapping[str, tuple[int, int]]
"""link name → octets that went from its `a` to its `b`, and back, since the interface exists"""


@dataclass(frozen=True, slots=True)
class Look:
    """says: what is shown, in English and in Chinese. load: link name → bit/s from `a` to `b`, and back; a link that is not in it has none known.

    failed, unknown: ids of links and sites. lost: names of sites that are no longer part of the exchange. cut_off: names of members. circuits: names of
    those that have lost their service; parted: of those that go on without some of their ends.
    """

    says: tuple[str, str]
    load: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    cut_off: tuple[str, ...] = ()
    circuits: tuple[str, ...] = ()
    parted: tuple[str, ...] = ()


def supposed(survival: Survival, case: Case, *, failure: bool) -> Look:
    """What the proof says of `case`; failure: whether it is one, or the exchange as it should be."""
    net, outcome = survival.net, case.outcome
    dead = outcome.failure.links
    failed = {net.links[index].id for index in bits(dead)} | {net.sites[index].id for index in bits(outcome.failure.sites)}
    return Look(
        says=(f"if {outcome.failure.of} failed", f"假设 {outcome.failure.of} 故障") if failure else ("nothing failed", "无故障"),
        load={
            link.name: (float(case.load[BOTH_WAYS * index]), float(case.load[BOTH_WAYS * index + 1]))
            for index, link in enumerate(net.links)
            if not dead >> index & 1
        },
        failed=frozenset(failed),
        lost=frozenset(net.named(outcome.lost)),
        cut_off=outcome.cut_off,
        circuits=case.harm.down,
        parted=tuple(case.harm.parted),
    )


def observed(snapshot: Snapshot, statuses: Iterable[Status], load: Mapping[str, tuple[float, float]], at: str) -> Look:
    """What was read; `at`: when, in words. A site is failed when it reaches nobody, or when each of its links has failed."""
    states = {each.resource: each.state for each in statuses}
    net = network(snapshot)
    dead_links = sum(1 << index for index, link in enumerate(net.links) if states.get(link.id) == "down")
    dead_sites = sum(
        1 << index
        for index, site in enumerate(net.sites)
        if states.get(site.id) in ("cut", "down")
        or (len(net.sites) > 1 and net.around[index] and all(dead_links >> link & 1 for _, link in net.around[index]))
    )
    gone = lost(net, Failure(Part.SITE, "", dead_sites, dead_links)) if dead_sites or dead_links else 0
    # A site that reaches nobody may still serve circuits between its own ports.
    alone = {link for site in bits(dead_sites) for _, link in net.around[site]}
    parting = Failure(Part.LINK, "", 0, dead_links | sum(1 << link for link in alone if not dead_links >> link & 1))
    harm = Circuits(snapshot, net).harm(remains(net, parting), parting)
    unknown = frozenset(
        each.id for each in (*snapshot.of(Link), *snapshot.of(Site)) if states.get(each.id, "unknown") in ("unknown", "unreachable")
    )
    silent = {
        each.name
        for each in snapshot.of(Circuit)
        if states.get(each.id) == "down" and not any(snapshot.at(snapshot.at(end).site).id in unknown for end in each.ends)
    }
    return Look(
        says=(f"as running, {at}", "运行中"),
        load={name: rates for name, rates in load.items() if states.get(f"link/{name}") != "down"},
        failed=frozenset(
            [net.links[index].id for index in bits(dead_links)] + [net.sites[index].id for index in bits(dead_sites)],
        ),
        unknown=unknown,
        lost=frozenset(net.named(gone)),
        cut_off=Homes(net.homes).cut_off(gone),
        circuits=tuple(sorted({*harm.down, *silent})),
        parted=tuple(each for each in harm.parted if each not in silent),
    )


def rates(before: Octets, after: Octets, seconds: float) -> dict[str, tuple[float, float]]:
    """Bits per second between two readings. A counter that went back (its interface was made anew) says nothing. seconds: above 0."""
    found = {}
    for name, (there, back) in after.items():
        earlier = before.get(name)
        if earlier is not None and there >= earlier[0] and back >= earlier[1]:
            found[name] = ((there - earlier[0]) * 8 / seconds, (back - earlier[1]) * 8 / seconds)
    return found
