"""What a failure takes from circuits: all of one, some of its ends, or the scope that it must not leave.

A circuit asks less than a member: its ends must reach one another, wherever the rest of the exchange is. So it is not judged by which sites
are lost, but by whether all that its frames must touch is in one part of what is left. That is told by *strands*, one for each two ends of it:

    wire        one strand, between its two ends
    pinned      one strand, and its frames touch every chosen site; each leg from one to the next is routed, and heals
    group       a strand for each two of its ends, which fail one by one: the others go on
    handed over by VNI: an end that also needs the gateway's one cable

A circuit is *down* when no strand of it is left, *parted* when some are gone. Frames of one that must stay within a level may find a way
and yet leave it: then it is *outside*.

The load of a circuit is its capacity, or without one what its slowest port can carry, each way, all of the time: it was sold, so it may be used.
Each end of a group gets as much in all, from the others in equal parts; what comes from an end that is cut off comes from nobody. Circuits whose ports
are dark by declaration are not in service and take no part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Circuit, Port
from nnix.planes.fabric.levels import Reach, beyond, levels
from nnix.planes.fabric.prove.cuts import Left
from nnix.planes.fabric.prove.network import Failure, Network, bits, dark, serves


@dataclass(frozen=True, slots=True)
class Strand:
    """Two ends of a circuit (by number in `Circuits.all`), and all that lies between them for sure.

    ends: their ports. own: bits of the sites where they are; stations: those and the chosen ones. legs: (from, to) as frames go from the first end to
    the second; none at one site. rate: bit/s each way. gateways: ports whose gateways are at its ends.
    """

    circuit: int
    ends: tuple[str, str]
    own: int
    stations: int
    legs: tuple[tuple[int, int], ...]
    rate: int
    gateways: frozenset[str]


@dataclass(frozen=True, slots=True)
class Harm:
    """What a failure takes from circuits, by their names.

    down: no two ends of them reach one another. parted: circuit → ends that do not reach the others (of which most reach one another).
    outside: circuit → the way that its frames then take, beyond its scope. behind: those of down and parted that would not be so if only
    their own ends had failed; over: those of them that are pinned over what failed → the chosen sites that died.
    """

    down: tuple[str, ...] = ()
    parted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outside: Mapping[str, Reach] = field(default_factory=dict)
    behind: tuple[str, ...] = ()
    over: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def hit(self) -> tuple[str, ...]:
        """All that lose service, wholly or in part."""
        return tuple(sorted({*self.down, *self.parted}))


class Circuits:
    """The circuits of a snapshot that are in service, and what failures take from them."""

    def __init__(self, snapshot: Snapshot, net: Network) -> None:
        self._snapshot, self._net = snapshot, net
        self._number = {site.name: index for index, site in enumerate(net.sites)}
        served = ((each, self._ends(each)) for each in snapshot.of(Circuit))
        in_service = [(each, ends) for each, ends in served if serves(each, len(ends))]
        self.all: tuple[Circuit, ...] = tuple(each for each, _ in in_service)
        self.strands: tuple[Strand, ...] = tuple(
            strand for number, (each, ends) in enumerate(in_service) for strand in self._strands(number, each, ends)
        )
        self._of = [0] * len(self.all)  # circuit → its strands
        self._at = [0] * len(net.sites)  # site → strands that touch it
        self._over: dict[str, int] = {}  # gateway → strands over it
        for index, strand in enumerate(self.strands):
            self._of[strand.circuit] |= 1 << index
            for site in bits(strand.stations):
                self._at[site] |= 1 << index
            for gateway in strand.gateways:
                self._over[gateway] = self._over.get(gateway, 0) | 1 << index
        self._dead: dict[Left, int] = {}
        self._hit: dict[int, int] = {}
        self.scoped: tuple[int, ...] = tuple(number for number, each in enumerate(self.all) if each.within is not None)

    @property
    def offered(self) -> int:
        """bit/s that circuits carry with nothing failed, both ways together."""
        return sum(2 * each.rate for each in self.strands)

    def named(self, circuits: int) -> tuple[str, ...]:
        """The names of a set of circuits."""
        return tuple(self.all[number].name for number in bits(circuits))

    def dead(self, left: Left, *gateways: str) -> int:
        """The strands that are gone: all that they touch is no longer in one part, or the gateway at an end of them is."""
        gone = self._dead.get(left)
        if gone is None:
            gone = 0
            for site in bits(left.lost):
                gone |= self._at[site]
            if gone and left.apart:
                for part in left.apart:
                    within = 0
                    for site in bits(part):
                        within |= self._at[site]
                    gone &= ~sum(1 << index for index in bits(within) if not self.strands[index].stations & ~part)
            self._dead[left] = gone
        for gateway in gateways:
            gone |= self._over.get(gateway, 0)
        return gone

    def hit(self, dead: int) -> int:
        """The circuits that lose a strand of `dead`."""
        known = self._hit.get(dead)
        if known is None:
            known = 0
            for index in bits(dead):
                known |= 1 << self.strands[index].circuit
            self._hit[dead] = known
        return known

    def harm(self, left: Left, failure: Failure) -> Harm:
        """What `failure`, which leaves `left`, takes from whom."""
        dead = self.dead(left, *failure.gateways)
        down = [number for number in bits(self.hit(dead)) if not self._of[number] & ~dead]
        parted = {self.all[number].name: self._cut_ends(number, dead) for number in bits(self.hit(dead)) if self._of[number] & ~dead}
        behind = self.behind(dead, failure)
        over = {self.all[number].name: died for number in bits(behind) if (died := self.pinned_over(self.all[number], failure))}
        outside = {
            self.all[number].name: reach for number in self.scoped if number not in down and (reach := self._outside(number, failure))
        }
        return Harm(tuple(self.all[number].name for number in down), parted, outside, self.named(behind), over)

    def behind(self, dead: int, failure: Failure) -> int:
        """The circuits that lose a strand of `dead` whose own ends all stand."""
        return self.hit(
            sum(
                1 << index
                for index in bits(dead)
                if not self.strands[index].own & failure.sites and not self.strands[index].gateways.intersection(failure.gateways)
            )
        )

    def pinned_over(self, circuit: Circuit, failure: Failure) -> tuple[str, ...]:
        """The sites that `circuit` was to pass and that die."""
        return tuple(str(each) for each in circuit.via if failure.sites >> self._number[each] & 1)

    def ends_apart(self, left: Left, *gateways: str) -> frozenset[tuple[str, str, str]]:
        """(circuit, end, end) of each two ends that do not reach one another, by name."""
        gone = (self.strands[index] for index in bits(self.dead(left, *gateways)))
        return frozenset((self.all[each.circuit].name, *each.ends) for each in gone)

    def legs(self, number: int) -> tuple[tuple[int, int], ...]:
        """All ways that frames of a circuit take, each once, as (from site, to site)."""
        return tuple(dict.fromkeys(leg for index in bits(self._of[number]) for leg in self.strands[index].legs))

    def _ends(self, circuit: Circuit) -> list[tuple[Port, int]]:
        """(port, site) of the ends that are connected."""
        found = []
        for each in circuit.ends:
            port = self._snapshot.get(Port, each)
            if port is not None and port.site in self._number and dark(self._snapshot, port) is None:
                found.append((port, self._number[port.site]))
        return found

    def _strands(self, number: int, circuit: Circuit, ends: Sequence[tuple[Port, int]]) -> Iterator[Strand]:
        whole = circuit.capacity if circuit.capacity is not None else min(port.committed or port.speed for port, _ in ends)
        pins = [self._number[each] for each in circuit.via] if len(circuit.ends) == 2 else []
        for (one, here), (other, there) in combinations(ends, 2):
            way = (here, *pins, there)
            yield Strand(
                circuit=number,
                ends=(one.name, other.name),
                own=1 << here | 1 << there,
                stations=sum(1 << site for site in set(way)),
                legs=tuple((a, b) for a, b in pairwise(way) if a != b),
                rate=int(whole) // (len(ends) - 1),
                gateways=frozenset(str(port.over) for port in (one, other) if port.over is not None),
            )

    def _cut_ends(self, number: int, dead: int) -> tuple[str, ...]:
        """The ends of a parted circuit outside the largest set that still reaches one another, of equals the one with the first end."""
        alive: dict[str, set[str]] = {str(end): {str(end)} for end in self.all[number].ends}
        for index in bits(self._of[number] & ~dead):
            one, other = self.strands[index].ends
            alive[one].add(other)
            alive[other].add(one)
        kept = max(alive.values(), key=len)
        served = {end for index in bits(self._of[number]) for end in self.strands[index].ends}
        return tuple(end for end in alive if end in served and end not in kept)

    def _outside(self, number: int, failure: Failure) -> Reach | None:
        """The first way beyond the scope of a circuit, if there is one."""
        within = self.all[number].within
        if within is None:
            return None
        known = levels(self._snapshot)
        ways = (known.reach(a, b, failure) for a, b in self.legs(number))
        return next((each for each in ways if each.level is not None and beyond(each.level, within)), None)
