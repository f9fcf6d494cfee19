"""Driving: making the world agree with artifacts, machine by machine.

Machines are driven side by side, the artifacts of one machine in the order of the drivers (cables before addresses,
addresses before daemons). A machine that fails does not hold up the others. What is driven starts from what is there, so
driving twice is driving once, and being killed in between is no special case.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from nnix.kernel.change import Key
from nnix.kernel.plane import Machines
from nnix.kernel.world import Absent, Artifact, Driver, Failed, Unreachable

ELSEWHERE_AT_ONCE = 8
HERE_AT_ONCE = min(max(4, 2 * len(os.sched_getaffinity(0))), 32)
"""Machines that share this one's processors: more of them at once only make those slower for which all others wait."""


@dataclass(frozen=True)
class Outcome:
    """What happened to one artifact: `found` says how the machine differed (empty: it agreed), `failure` why it still does."""

    key: Key
    found: str = ""
    failure: str = ""


Told = Callable[[Outcome], None]


@dataclass(frozen=True)
class World:
    """What can be driven: machines, and drivers in the order in which one machine is built up."""

    machines: Machines
    drivers: Mapping[str, Driver]
    ground: Callable[[str], bool] = lambda machine: False
    """which machines are the ground that others stand on: they are driven before all others, and taken away after them"""
    shaken: Callable[[Key, bytes | None, bytes | None], Iterable[tuple[str, str]]] = lambda key, old, new: ()
    """what a change of the ground reaches: (artifact, old content, new content) → (machine, driver) pairs"""
    guards: frozenset[str] = frozenset()
    """drivers that stand guard: where one of them fails on a machine, nothing that comes after it is driven there"""
    unsettled: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """driver → those before it of whose work the kernel may lose some when it drives: they look once more afterwards"""
    dawdling: frozenset[str] = frozenset()
    """drivers whose daemons let seconds pass before they do anything: their machines begin first, so that others use these seconds"""
    elsewhere: Callable[[str], bool] = lambda machine: False
    """which machines have processors of their own"""

    def stage(self, driver: str) -> int:
        return list(self.drivers).index(driver)

    def room(self) -> Callable[[str], asyncio.Semaphore]:
        """What keeps machines from being worked on too many at once, by machine. For one piece of work."""
        here, elsewhere = asyncio.Semaphore(HERE_AT_ONCE), asyncio.Semaphore(ELSEWHERE_AT_ONCE)
        return lambda machine: elsewhere if self.elsewhere(machine) else here


async def look(world: World, artifacts: Iterable[Artifact]) -> dict[Key, str]:
    """How the world differs from `artifacts`, in words; those that agree are left out. Changes nothing."""
    groups: dict[tuple[str, str], dict[str, bytes]] = defaultdict(dict)
    for each in artifacts:
        groups[each.machine, each.driver][each.name] = each.content
    room = world.room()

    async def one(machine: str, driver: str, wanted: Mapping[str, bytes]) -> dict[Key, str]:
        async with room(machine):
            try:
                found = await world.drivers[driver].look(world.machines.host(machine), wanted)
            except (Unreachable, Failed) as error:
                return {(machine, driver, name): f"{machine} cannot be asked: {error}" for name in wanted}
            return {(machine, driver, name): difference for name, difference in found.items()}

    parts = await asyncio.gather(*(one(machine, driver, wanted) for (machine, driver), wanted in groups.items()))
    return {key: difference for part in parts for key, difference in part.items()}


async def converge(
    world: World,
    wanted: Mapping[Key, Artifact],
    gone: Iterable[Key] = (),
    told: Told | None = None,
    *,
    known: Mapping[Key, str] = MappingProxyType({}),
) -> tuple[Outcome, ...]:
    """Make the world agree with `wanted`, and take away what is `gone`.

    `known` says of artifacts how the world differs from them (empty: it agrees); they are not looked at beforehand. What a plan makes
    or changes is known to differ, and driving looks for itself.

    First what makes machines reachable, then all machines side by side, also in taking away; on each, what is gone goes in reverse.
    """
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if told:
            told(outcome)

    ground = [each for each in wanted.values() if world.ground(each.machine)]
    rest = [each for each in wanted.values() if not world.ground(each.machine)]
    room = world.room()
    leaving: dict[str, list[Key]] = defaultdict(list)
    for key in sorted(gone, key=lambda key: -world.stage(key[1])):
        leaving[key[0]].append(key)

    async def away(machine: str, keys: list[Key]) -> None:
        async with room(machine):
            for key in keys:
                tell(await _take_away(world, key))

    await asyncio.gather(*(away(machine, keys) for machine, keys in leaving.items() if not world.ground(machine)))
    for artifact in sorted(ground, key=lambda each: world.stage(each.driver)):
        await _machine(world, [artifact], tell, known)
    by_machine: dict[str, list[Artifact]] = defaultdict(list)
    for each in rest:
        by_machine[each.machine].append(each)

    async def one(artifacts: list[Artifact]) -> None:
        async with room(artifacts[0].machine):
            await _machine(world, artifacts, tell, known)

    def way(group: Sequence[Artifact]) -> tuple[bool, int, int, int]:
        """The longest way first: what has most to do begins at once, so that nobody waits for it alone in the end. Of machines with as much to do,
        those whose last driver comes early: what it starts needs time that others may use."""
        drivers = {each.driver for each in group}
        return not drivers & world.dawdling, -len(group), max(map(world.stage, drivers)), -sum(len(each.content) for each in group)

    await asyncio.gather(*(one(group) for group in sorted(by_machine.values(), key=way)))
    for machine, keys in leaving.items():
        if world.ground(machine):
            await away(machine, keys)
    return tuple(outcomes)


async def _machine(world: World, artifacts: Sequence[Artifact], tell: Told, known: Mapping[Key, str]) -> None:
    """One machine, in the order of the drivers. What cannot be done is told, and what stands on it is tried all the same, unless it was a
    guard: an open door is worse than a closed one.

    All drivers look at once, before the first of them drives: what one of them mends is no other's business to see, unless it unsettles it.
    """
    unguarded = ""
    unsettled: set[str] = set()
    by_driver: dict[str, list[Artifact]] = defaultdict(list)
    for each in artifacts:
        by_driver[each.driver].append(each)
    looks = {name: asyncio.create_task(_differing(world, group, known)) for name, group in by_driver.items()}
    for name in sorted(by_driver, key=world.stage):
        group = by_driver[name]
        different = await looks[name]
        if unguarded:
            for each in group:
                tell(Outcome(each.key, failure=f"left as it is, since {unguarded} is not in place"))
            continue
        if isinstance(different, str):
            for each in group:
                tell(Outcome(each.key, failure=different))
            unguarded = name if name in world.guards else ""
            continue
        for each in group:
            if not different.get(each.name):
                tell(Outcome(each.key))
            else:
                tell(came := await _drive(world, each, different[each.name]))
                unsettled |= world.unsettled.get(name, frozenset())
                if came.failure and name in world.guards:
                    unguarded = "/".join(each.key[1:])
    for name in sorted(unsettled & by_driver.keys(), key=world.stage):
        different = await _differing(world, by_driver[name], {})
        for each in by_driver[name]:
            if isinstance(different, str):
                tell(Outcome(each.key, failure=different))
            elif different.get(each.name):
                tell(await _drive(world, each, different[each.name]))


async def _differing(world: World, group: Sequence[Artifact], known: Mapping[Key, str]) -> Mapping[str, str] | str:
    """How one machine differs from one driver's artifacts, by name; or, in words, why it cannot be asked."""
    different = {each.name: known[each.key] for each in group if each.key in known}
    unknown = {each.name: each.content for each in group if each.key not in known}
    if not unknown:
        return different
    try:
        host = world.machines.host(group[0].machine)
        return {**different, **await world.drivers[group[0].driver].look(host, unknown)}
    except (Unreachable, Failed) as error:
        return str(error)


async def _drive(world: World, artifact: Artifact, found: str) -> Outcome:
    try:
        await world.drivers[artifact.driver].drive(world.machines.host(artifact.machine), artifact.name, artifact.content)
    except (Unreachable, Failed) as error:
        return Outcome(artifact.key, found, str(error))
    return Outcome(artifact.key, found)


async def _take_away(world: World, key: Key) -> Outcome:
    machine, driver, name = key
    try:
        await world.drivers[driver].drive(world.machines.host(machine), name, None)
    except Absent:
        return Outcome(key)
    except (Unreachable, Failed) as error:
        return Outcome(key, "is no longer wanted", str(error))
    return Outcome(key, "is no longer wanted")
