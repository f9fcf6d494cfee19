"""The clock of askings: while `nnix run` runs, a registry that says `every` is asked again and again, and what it answered is taken up.

A round is `nnix irr refresh NAME` (rounds.py): the registry is asked what the running exchange needs of it, the guard looks at the answer, and the
model as it stands is compiled with it; only the route servers that it changes are touched, as by any change. Where the registry cannot be asked, or
says what cannot be believed, what was good last stays, and is asked for again sooner; when that is too old, the operator's rule applies, which the
same command does. No round takes up what somebody is writing in the exchange's folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from nnix.cli import answers
from nnix.cli.answers import Standing
from nnix.cli.command import DISAGREES, DONE
from nnix.cli.root import Setting, clock
from nnix.cli.rounds import RETRY_SHARE, again, ended
from nnix.planes.routing.irr import ASKED
from nnix.planes.routing.kinds import RoutingRegistry
from nnix.planes.routing.registries.answers import read

APPLY_SECONDS_MAX = 1800.0


@dataclass
class Askings:
    """All registries of one exchange. `report` gets a line for people for each round."""

    setting: Setting
    report: Callable[[str], None]
    _ended: dict[str, float] = field(default_factory=dict)
    """when a round of ours ended last, by registry: one that was killed before it could note anything is not begun again at once"""

    async def run(self, stop: asyncio.Event) -> None:
        await again(lambda: self._look(stop), "registries", self.report, stop)

    async def _look(self, stop: asyncio.Event) -> None:
        for registry in self.setting.book.model().snapshot.of(RoutingRegistry):
            if registry.every is not None and not stop.is_set() and self._due(registry, registry.every.seconds):
                await self._round(registry, stop)

    def _due(self, registry: RoutingRegistry, every_seconds: float) -> bool:
        stands = answers.standing(self.setting, registry.name)
        asked = stands.failed_at or stands.at
        if registry.name not in self._ended and (asked is None or not self._taken_up(registry, stands)):
            return True
        last = max(asked.timestamp() if asked else 0.0, self._ended.get(registry.name, 0.0))
        pause = every_seconds / RETRY_SHARE if stands.failed or asked is None else every_seconds
        return clock().timestamp() >= last + pause

    def _taken_up(self, registry: RoutingRegistry, stands: Standing) -> bool:
        """Whether the newest change rests on the newest answer; a round that was killed in between has noted it and no more."""
        pinned = self.setting.book.model().evidence.get(f"{ASKED}{registry.name}")
        content = self.setting.vault.get(pinned) if pinned else None
        try:
            newest = answers.given(self.setting, stands)
        except LookupError:
            return False
        if newest is None or content is None:
            return newest is None
        taken = read(content.decode())
        return (taken.sets, taken.routes, taken.prefixes) == (newest.sets, newest.routes, newest.prefixes)

    async def _round(self, registry: RoutingRegistry, stop: asyncio.Event) -> None:
        status, words = await ended(self.setting, ("irr", "refresh", registry.name), 2.0 * registry.seconds_max + APPLY_SECONDS_MAX, stop)
        self._ended[registry.name] = clock().timestamp()
        stands = answers.standing(self.setting, registry.name)
        if status == DONE:
            self.report(f"{registry.id}: asked")
        elif status == DISAGREES:
            self.report(f"{registry.id}: {stands.failed or '; '.join((stands.held or {}).values()) or words}")
        else:
            self.report(f"{registry.id}: not taken up: {words}")
