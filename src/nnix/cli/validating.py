"""The clock of validations: while `nnix run` runs, a relying party that says `every` is fetched for and validated, again and again.

Each round is a process of its own, the same commands that an operator gives: fetch, then validate, which asks the gate and publishes. So whatever a
hostile repository does to it, and wherever it is killed, the loop goes on. When a round is due is asked of the ledger, not remembered: the newest
validation, and how long ago it was. One that was recorded and not published, because it was killed in between, is due at once.

A round that failed is told, in `validating.json` of the state folder as well, and tried again sooner than the next one would be due; what was
accepted before is handed out meanwhile, until it is too old for that (`age_max` of a cache).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from nnix.cli.command import DISAGREES, DONE
from nnix.cli.files import put_whole
from nnix.cli.root import Setting, clock
from nnix.kernel.ledger import Unavailable
from nnix.planes.trust.kinds import RelyingParty

LOOK_SECONDS = 1.0
FETCH_SECONDS_MAX = 1800.0
RETRY_SHARE = 4  # of `every`, after a round that failed
VALIDATED = "validated"


def tries_file(setting: Setting) -> Path:
    """Where the loop says how its last round went, by relying party."""
    return setting.state / "validating.json"


@dataclass
class Validations:
    """All relying parties of one exchange."""

    setting: Setting
    report: Callable[[str], None]
    _tried: dict[str, dict[str, object]] = field(default_factory=dict)
    _looked: set[str] = field(default_factory=set)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; a round that is under way is ended then."""
        while not stop.is_set():
            try:
                for party in self.setting.book.model().snapshot.of(RelyingParty):
                    if party.every is not None and self._due(party, party.every.seconds):
                        await self._round(party, stop)
            except Unavailable as error:  # the database restarts: no reason to give up
                self.report(f"could not look when validations are due: {error}")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)

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
        return (now - found.at).total_seconds() >= every_seconds

    def _published(self, party: RelyingParty) -> str:
        try:
            return hashlib.sha256(self.setting.accepted(party.serves).read_bytes()).hexdigest()
        except OSError:
            return ""

    async def _round(self, party: RelyingParty, stop: asyncio.Event) -> None:
        """Fetch, then validate; what could not be fetched is no reason not to validate what is there."""
        fetch = ("mirror", "fetch", "--mirror", str(party.follows)) if party.follows else ("fetch", "--party", party.name)
        began = clock().timestamp()
        status, words = await self._child(fetch, FETCH_SECONDS_MAX, stop)
        if status not in (DONE, DISAGREES):
            self.report(f"{party.id}: fetching failed: {words}")
        status, words = await self._child(("validate", "--party", party.name), 2 * party.validation_seconds_max + 60, stop)
        if status in (DONE, DISAGREES):
            self.report(f"{party.id}: validated{'' if status == DONE else ', not everything is confirmed (`nnix trust status`)'}")
        else:
            self.report(f"{party.id}: not validated: {words}")
        self._tried[party.name] = {"began": began, "ended": clock().timestamp(), "status": status, "words": words if status != DONE else ""}
        put_whole(tries_file(self.setting), json.dumps(self._tried).encode())

    async def _child(self, words: tuple[str, ...], seconds_max: float, stop: asyncio.Event) -> tuple[int, str]:
        """Run a command to its end, its status and its last words; ended after `seconds_max`, or when the loop shall stop."""
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", *self.setting.options, "trust", *words]
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        talking = asyncio.ensure_future(process.communicate())
        stopping = asyncio.ensure_future(stop.wait())
        done, _ = await asyncio.wait((talking, stopping), timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if talking not in done:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await talking
            return 1, "stopped" if stop.is_set() else f"took more than {seconds_max:g} s"
        _, said = talking.result()
        lines = said.decode(errors="replace").strip().splitlines()
        return process.returncode or 0, lines[-1][:300] if lines else ""
