"""What is usually asked for in a pool, learned from what was asked: nothing is known in advance, and nothing is looked up in the future.

What is left on a machine is worth what typical work can use of it (Weng et al., Beware of Fragmentation, USENIX ATC 2023, 3.2). FGD counts a device
as usable by a kind of work when one more task of it fits. That misses what runs out second: eight idle devices beside processors for one task are
not eight usable devices. So the worth of a machine is a mean of two numbers over the kinds of work, by how often they come:

    7/10 of the devices' parts on which such a task fits                                       (FGD)
    3/10 of the same, but no more than the processors and the memory that are left could feed

Worth is in whole numbers. The mix is made anew after the first task, and then whenever four times as many have come as at the
last time, so that making it costs nothing in the long run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nnix.planes.compute.place.arrays import Ints, column, filled

WEIGHT = 1 << 14
"""what the weights of all kinds of work come to, about"""
FED = 10
"""bits behind the point of `per_cpu` and `per_memory`"""
UNBOUNDED = 1 << 30
KINDS_MAX = 48
"""kinds of work that are told apart; rarer ones count with those that they are most like"""
GROWTH = 4
"""how many times as many tasks have to have come until the mix is made anew; early ones count: a first mix after 64 tasks costs a quarter percent"""


@dataclass(frozen=True, slots=True)
class Mix:
    """Kinds of work that take devices, as columns.

    `level` says what they need of devices: `count` of them, each with `share` thousandths idle. per_cpu, per_memory: thousandths of devices that a
    thousandth of a core and a MiB can feed, with FED bits behind the point. `weight` is by device type of the machine and kind of work.
    """

    count: Ints
    share: Ints
    cpu: Ints
    memory: Ints
    level: Ints
    per_cpu: Ints
    per_memory: Ints
    weight: Ints
    total: int

    @classmethod
    def of(cls, seen: Iterable[tuple[Sequence[int], int]], types: int) -> Mix:
        """`seen`: shapes (cpu, memory, devices, share, mask of types, and a number that is not looked at), and how often each came."""
        rows = [(row, times) for row, times in seen if row[2] and times]
        levels: list[tuple[int, int]] = sorted({(row[2], row[3]) for row, _ in rows})
        merged: dict[tuple[int, int, int], dict[int, int]] = {}
        for (cpu, memory, devices, share, mask, _), times in rows:
            of_mask = merged.setdefault((levels.index((devices, share)), cpu, memory), {})
            of_mask[mask] = of_mask.get(mask, 0) + times
        asked = sum(times for _, times in rows)
        _fold(merged)
        kinds = sorted(merged)
        weight = [[0] * len(kinds) for _ in range(types)]
        for at, kind in enumerate(kinds):
            for mask, times in merged[kind].items():
                for device in range(types):
                    if mask >> device & 1:
                        weight[device][at] += max(1, times * WEIGHT // asked)

        def fed(which: int) -> Sequence[int]:
            return [
                min(UNBOUNDED, (levels[kind[0]][0] * levels[kind[0]][1] << FED) // kind[which]) if kind[which] else UNBOUNDED
                for kind in kinds
            ]

        return cls(
            count=column(each[0] for each in levels),
            share=column(each[1] for each in levels),
            cpu=column(kind[1] for kind in kinds),
            memory=column(kind[2] for kind in kinds),
            level=column(kind[0] for kind in kinds),
            per_cpu=column(fed(1)),
            per_memory=column(fed(2)),
            weight=filled(types, len(kinds), weight),
            total=WEIGHT if kinds else 1,
        )


def _fold(merged: dict[tuple[int, int, int], dict[int, int]]) -> None:
    """Count the rarest kinds with the one that is most like them, of those that need the same devices, until KINDS_MAX are left."""
    often = {kind: sum(times.values()) for kind, times in merged.items()}
    for kind in sorted(merged, key=lambda kind: (often[kind], kind)):
        if len(merged) <= KINDS_MAX:
            return
        alike = [other for other in merged if other[0] == kind[0] and other != kind]
        if alike:
            nearest = min(
                alike, key=lambda other: (abs(other[1] - kind[1]) * (kind[2] + 1) + abs(other[2] - kind[2]) * (kind[1] + 1), other)
            )
            for mask, times in merged.pop(kind).items():
                merged[nearest][mask] = merged[nearest].get(mask, 0) + times
