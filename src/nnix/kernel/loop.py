"""The loop: asks what is and what ought to be, and mends the difference, for as long as it runs.

It does not ask what changed. A killed daemon, a deleted bridge, a hand edit, a change that was cut short and a fresh boot are one
case: the world differs from the newest model. What was found is recorded as drift, with what was done about it.

In between, where a driver hears at once that something went, just that is put back (kernel.watch); it saves a second or two, and nothing depends on it.

A machine that cannot be mended is tried again after 1, 2, 4 … 60 seconds, while the others are kept as usual. Only one
loop or change drives at a time: they hold the drive lock while they act, never while they wait.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nnix.kernel.apply import Office
from nnix.kernel.change import Key, Model
from nnix.kernel.drive import Outcome, converge, look
from nnix.kernel.ledger import Unavailable
from nnix.kernel.watch import Group, Haste, Watch
from nnix.kernel.world import Artifact, Failed, Lost, Unreachable, Watcher

BACKOFF_SECONDS_MAX = 60.0
BETWEEN_TRIES_SECONDS = 0.005


class DriveLock:
    """Who may touch the world. Held by one process at a time; the kernel frees it when its holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @asynccontextmanager
    async def held(self, timeout_seconds: float = 120.0) -> AsyncIterator[None]:
        """Wait for the lock. Raises TimeoutError, naming the holder, when another keeps it for longer than `timeout_seconds`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            waited = 0.0
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if waited >= timeout_seconds:
                        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "another process"
                        raise TimeoutError(f"the world is being driven by process {holder}; try again when it is done") from None
                    await asyncio.sleep(BETWEEN_TRIES_SECONDS)
                    waited += BETWEEN_TRIES_SECONDS
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)


@dataclass
class _Patience:
    """How long to leave a failing artifact alone."""

    until: float = 0.0
    pause_seconds: float = 0.5

    def failed(self, now: float) -> None:
        self.pause_seconds = min(self.pause_seconds * 2, BACKOFF_SECONDS_MAX)
        self.until = now + self.pause_seconds


@dataclass
class Loop:
    """One loop over one exchange. `report` gets a line for people for everything it finds and does."""

    office: Office
    lock: DriveLock
    status_file: Path
    report: Callable[[str], None]
    every_seconds: float = 1.5
    _patience: dict[Key, _Patience] = field(default_factory=dict)
    _settling: _Patience = field(default_factory=_Patience)
    _compiled: tuple[int, dict[Key, Artifact]] | None = None
    _haste: dict[Group, Haste] = field(default_factory=lambda: defaultdict(Haste))
    _soon: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the world until `stop` is set."""
        watch, watched = Watch(self.office.world, self._put_back), -1
        try:
            while not stop.is_set():
                try:
                    if (model := self.office.book.model()).seq != watched:
                        watch.over(self._wanted(model).values())
                        watched = model.seq
                    await self.sweep()
                except (TimeoutError, Unavailable) as error:  # somebody drives for long, or the database restarts: no reason to give up
                    self.report(f"could not look: {error}")
                await self._pause(stop)
        finally:
            await watch.close()

    async def _pause(self, stop: asyncio.Event) -> None:
        """Until the next look is due, or is wanted at once."""
        waiting = [asyncio.ensure_future(each.wait()) for each in (stop, self._soon)]
        await asyncio.wait(waiting, timeout=self.every_seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        self._soon.clear()

    async def _put_back(self, group: Group, driver: Watcher, lost: Collection[Lost]) -> None:
        """Put back at once what has gone and is wanted; what cannot be, or had better not, is left to the next look. Never raises for a machine's sake."""
        try:
            model = self.office.book.model()
            wanted = self._wanted(model)
            mine = {key: concerned for key in wanted if key[:2] == group and (concerned := driver.concerned(wanted[key].content, lost))}
            guarded = not any(key[0] == group[0] and key[1] in self.office.world.guards for key in self._patience)
            if not mine or not model.brought_about or not guarded:
                return
            if not self._haste[group].allowed(asyncio.get_running_loop().time()):
                return
            async with self.lock.held():
                if self.office.book.model().seq != model.seq:
                    return  # a change came first, and took it away on purpose
                host = self.office.world.machines.host(group[0])
                outcomes = [Outcome(key, await driver.put_back(host, wanted[key].content, concerned)) for key, concerned in mine.items()]
            for each in outcomes:
                if each.found:
                    self.report(f"{'/'.join(each.key)}: {each.found}; put back at once")
                    self._note(each)
        except Failed:
            self._soon.set()  # what it hung on has gone as well
        except (Unreachable, TimeoutError, Unavailable):
            return

    async def sweep(self) -> tuple[Outcome, ...]:
        """Look once, and mend what differs. What was mended or failed is returned, and recorded as drift."""
        now = asyncio.get_running_loop().time()
        model = self.office.book.model()
        wanted = self._wanted(model)
        different = await look(self.office.world, wanted.values())
        due = {key for key in different if self._patience.get(key, _Patience()).until <= now}
        unguarded = {key[0] for key in different if key[1] in self.office.world.guards and key not in due}
        due = {key for key in due if key[0] not in unguarded}
        settling = not model.brought_about and self._settling.until <= now
        if not due and not settling:
            self._publish(model, different)
            return ()
        async with self.lock.held():
            if self.office.book.model().seq != model.seq:
                return ()  # a change came first; it has driven the world itself
            if settling:
                outcomes = await self.office.settle()
                self._settling.failed(now)  # no matter when it came out well: then there is nothing more to settle
            else:
                outcomes = await converge(self.office.world, {key: wanted[key] for key in wanted if key in due})
        # What a change left unfinished is not drift, and a difference that was gone when we came to mend it was none.
        mended = [each for each in outcomes if each.found or each.failure]
        for each in mended:
            self._tell(each, now, drift=not settling)
        self._publish(model, {each.key: each.failure for each in mended if each.failure})
        return tuple(mended)

    def _wanted(self, model: Model) -> dict[Key, Artifact]:
        if self._compiled is None or self._compiled[0] != model.seq:
            self._compiled = model.seq, self.office.wanted(model)
            self._patience.clear()
            self._settling = _Patience()
        return self._compiled[1]

    def _tell(self, outcome: Outcome, now: float, *, drift: bool) -> None:
        label = "/".join(outcome.key)
        known = self._patience.get(outcome.key)
        if outcome.failure:
            patience = self._patience.setdefault(outcome.key, _Patience())
            patience.failed(now)
            self.report(f"{label}: {outcome.failure}; next try in {patience.pause_seconds:g} s")
            if known is not None:
                return  # said once; a machine that stays broken does not fill the ledger
        else:
            self._patience.pop(outcome.key, None)
            self.report(f"{label}: {outcome.found}; put right")
        if drift:
            self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        body = {"artifact": list(outcome.key), "found": outcome.found, "failure": outcome.failure}
        self.office.note("drift", f"{'/'.join(outcome.key)}: {outcome.found or outcome.failure}"[:500], body)

    def _publish(self, model: Model, different: Mapping[Key, str]) -> None:
        """Leave for others what the loop last saw: what differs, why, and which resources hang on it."""
        resources: dict[str, str] = {}
        for key, why in sorted(different.items()):
            for each in sorted(self._wanted(model)[key].about) if key in self._wanted(model) else ():
                resources.setdefault(each, f"{'/'.join(key)}: {why}")
        seen = {
            "pid": os.getpid(),
            "change": model.seq,
            "different": {"/".join(key): why for key, why in sorted(different.items())},
            "resources": resources,
        }
        draft = self.status_file.with_suffix(".new")
        draft.write_text(json.dumps(seen))
        draft.rename(self.status_file)
