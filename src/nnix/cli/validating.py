"""The clock of validations: while `nnix run` runs, a relying party that says `every` is fetched for and validated, again and again.

A round (rounds.py) is two commands: fetch, then validate, which asks the gate and publishes. When one is due is asked of the newest validation in the
ledger. One that was recorded and not published, because it was killed in between, is due at once.

A round that failed is told, in `validating.json` of the state folder as well, and tried again sooner than the next one would be due; what was
accepted before is handed out meanwhile, until it is too old for that (`age_max` of a cache).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from nnix.cli.command import DISAGREES, DONE
from nnix.cli.files import put_whole
from nnix.cli.root import Setting, clock
from nnix.cli.rounds import RETRY_SHARE, again, ended
from nnix.kernel.ledger import Entry
from nnix.planes.trust.kinds import RelyingParty

FETCH_SECONDS_MAX = 1800.0
VALIDATED = "validated"


def tries_file(setting: Setting) -> Path:
    """Where the loop says how its last round went, by relying party."""
    return setting.state / "validating.json"


def due(last: Entry, now: datetime, every_seconds: float) -> bool:
    """Whether another validation is due after `last`. One that is dated later than now was made before the clock was set back, and says nothing of when the
    next one is due; the ledger's time does not go back with the clock, so what the clock said is asked (I2)."""
    return not 0 <= (now - (last.clock or last.at)).total_seconds() < every_seconds


@dataclass
class Validations:
    """All relying parties of one exchange."""

    setting: Setting
    report: Callable[[str], None]
    _tried: dict[str, dict[str, object]] = field(default_factory=dict)
    _looked: set[str] = field(default_factory=set)

    async def run(self, stop: asyncio.Event) -> None:
        await again(lambda: self._look(stop), "validations", self.report, stop)

    async def _look(self, stop: asyncio.Event) -> None:
        for party in self.setting.book.model().snapshot.of(RelyingParty):
            if party.every is not None and self._due(party, party.every.seconds):
                await self._round(party, stop)

    def _due(self, party: RelyingParty, every_seconds: float) -> bool:
        now = clock()
        tried = self._tried.get(party.name)
        if tried is not None and tried["status"] not in (DONE, DISAGREES):
            return now.timestamp() >= float(str(tried["ended"])) + every_seconds / RETRY_SHARE
        found = next((each for each in self.setting.ledger.backwards(VALIDATED) if each.body["relying_party"] == party.name), None)
        if found is None:
            return True
        if party.name not in self._looked:  # once: what the newest entry says was published is, unless a kill came between
            self._looked.add(party.name)
            if found.body["served"] and self._published(party) != found.body["document"]:
                return True
        return due(found, now, every_seconds)

    def _published(self, party: RelyingParty) -> str:
        try:
            return hashlib.sha256(self.setting.accepted(party.serves).read_bytes()).hexdigest()
        except OSError:
            return ""

    async def _round(self, party: RelyingParty, stop: asyncio.Event) -> None:
        """Fetch, then validate; what could not be fetched is no reason not to validate what is there."""
        fetch = ("mirror", "fetch", "--mirror", str(party.follows)) if party.follows else ("fetch", "--party", party.name)
        began = clock().timestamp()
        status, words = await ended(self.setting, ("trust", *fetch), FETCH_SECONDS_MAX, stop)
        if status not in (DONE, DISAGREES):
            self.report(f"{party.id}: fetching failed: {words}")
        status, words = await ended(self.setting, ("trust", "validate", "--party", party.name), 2 * party.validation_seconds_max + 60, stop)
        if status in (DONE, DISAGREES):
            self.report(f"{party.id}: validated{'' if status == DONE else ', not everything is confirmed (`nnix trust status`)'}")
        else:
            self.report(f"{party.id}: not validated: {words}")
        self._tried[party.name] = {"began": began, "ended": clock().timestamp(), "status": status, "words": words if status != DONE else ""}
        put_whole(tries_file(self.setting), json.dumps(self._tried).encode())
