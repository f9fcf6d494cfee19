"""Haste: what goes from a machine is put back at once, where its driver hears of it (kernel.world.Watcher).

A look is whole, and comes around every second or two. A watcher hears within a millisecond that something went, and can put back just
that; so there is one listener for each (machine, driver) that is kept. It adds nothing to what is kept and takes nothing from what looks are for:
whatever was missed here, before it listened, while it was deaf or because something was doubtful, the next look finds.

It yields. What a change takes away on purpose goes while the change holds the drive lock, and once that is free the model is another one, by which
nothing is missing. A change that is not brought about is left to those who settle it. Where a guard is not in place nothing is put back.
And what goes again and again is somebody's doing, not an accident: after a hundred times in a row it is put back about as often as looks come
round, lest two programs fight as fast as they can, and fill the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from nnix.kernel.drive import World
from nnix.kernel.world import Artifact, Failed, Lost, Unreachable, Watcher

Group = tuple[str, str]
"""A machine and a driver."""

HASTE_BURST = 100
HASTE_PER_SECOND = 1.0
DEAF_SECONDS_MAX = 5.0


@dataclass
class Haste:
    """How often something may still be put back: a bucket of HASTE_BURST times, filled by HASTE_PER_SECOND."""

    times_left: float = HASTE_BURST
    since: float = 0.0

    def allowed(self, now: float) -> bool:
        """Whether once more is not too often; if so, it counts. `now` is in seconds."""
        self.times_left = min(HASTE_BURST, self.times_left + (now - self.since) * HASTE_PER_SECOND)
        self.since = now
        if self.times_left < 1:
            return False
        self.times_left -= 1
        return True


class Watch:
    """The listeners of one loop. `lost` is called with what went from a machine, one call at a time for each group."""

    def __init__(self, world: World, lost: Callable[[Group, Watcher, Collection[Lost]], Awaitable[None]]) -> None:
        self._world, self._lost = world, lost
        self._listening: dict[Group, asyncio.Task[None]] = {}

    def over(self, artifacts: Iterable[Artifact]) -> None:
        """Listen where the machine would tell of what these want, and nowhere else."""
        able = {name: driver for name, driver in self._world.drivers.items() if isinstance(driver, Watcher)}
        heeded = (each for each in artifacts if each.driver in able and able[each.driver].heeds(each.content))
        wanted = {each.key[:2]: able[each.driver] for each in heeded}
        for group in self._listening.keys() - wanted.keys():
            self._listening.pop(group).cancel()
        for group, driver in wanted.items():
            if group not in self._listening or self._listening[group].done():
                self._listening[group] = asyncio.create_task(self._listen(group, driver))

    async def close(self) -> None:
        """Listen no more."""
        tasks = list(self._listening.values())
        self._listening.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, group: Group, driver: Watcher) -> None:
        """For ever. Why a machine cannot be heard is said by looks, which cannot ask it either."""
        pause_seconds = 0.25
        while True:
            try:
                async with aclosing(driver.watch(self._world.machines.host(group[0]))) as told:
                    async for lost in told:
                        pause_seconds = 0.25
                        await self._lost(group, driver, lost)
            except (Unreachable, Failed):
                pass
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, DEAF_SECONDS_MAX)
