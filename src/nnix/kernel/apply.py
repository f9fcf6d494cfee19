"""Applying: a plan is recorded, driven, verified, or taken back.

The order is what makes a kill at any instant harmless:
    1  the daemons' own parsers accept every new artifact, before anything is touched
    2  artifacts and evidence are kept in the vault
    3  the change is appended to the ledger; from here on the new state is the model, whatever happens to us
    4  the world is driven to it
    5  `verified` is appended; or the inverse change, driven, and `reverted`
A kill before 3 leaves the old state. A kill after 3 leaves a change that is not settled; whoever comes next (the loop, or
the next change) settles it first, because driving starts from what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nnix.kernel.approval import WHAT as APPROVED
from nnix.kernel.approval import Approval, Standing, entitled, standing
from nnix.kernel.approval import body as approval
from nnix.kernel.change import Book, Draft, Key, Model, Plan, admit, compile_all, draft, inverse
from nnix.kernel.drive import Outcome, Told, World, converge, look
from nnix.kernel.evidence import Evidence
from nnix.kernel.ledger import Entry, Moved
from nnix.kernel.plane import Plane
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.vault import Vault
from nnix.kernel.world import Alone, Artifact, Asking, Failed, Unreachable

Clock = Callable[[], datetime]


class Stale(Exception):
    """The plan no longer fits: the model, the evidence or what it compiles to has moved since it was made."""


@dataclass(frozen=True)
class Applied:
    """What became of a change: its ledger entry, whether the world agrees, and the outcome on every artifact driven."""

    entry: Entry
    verified: bool
    outcomes: tuple[Outcome, ...]
    reverted: bool = False

    @property
    def failures(self) -> tuple[Outcome, ...]:
        return tuple(each for each in self.outcomes if each.failure)


async def able(world: World, made: Draft) -> None:
    """Ask the machines concerned whether they can do what the plan asks of them. Raises Refused, naming each resource. Writes nothing."""

    async def one(artifact: Artifact) -> tuple[Refusal, ...]:
        driver = world.drivers[artifact.driver]
        if not isinstance(driver, Asking):
            return ()
        try:
            lacks = await driver.lacks(world.machines.host(artifact.machine), artifact.content)
        except Unreachable:
            return ()  # a machine that is not there yet cannot be asked; driving will tell
        except Failed as failed:
            where = f"{artifact.driver}/{artifact.name} on {artifact.machine}"
            return (Refusal(where, "", str(failed), "a machine that says what it can do", "kernel.machine-able"),)
        return tuple(
            Refusal(
                each.resource,
                "",
                f"{each.what} is not to be had on {artifact.machine}",
                "a machine that can",
                "kernel.machine-able",
                mend=each.mend,
            )
            for each in lacks
        )

    # A lab's ground is asked for machines that are not there yet; of one that is, its own answer says more, and once is enough.
    touched = sorted((made.artifacts[each.key] for each in made.plan.actions if each.digest), key=lambda each: world.ground(each.machine))
    refusals: dict[tuple[str, str], Refusal] = {}
    for group in await asyncio.gather(*map(one, touched)):
        for each in group:
            refusals.setdefault((each.resource, each.mend), each)
    if refusals:
        raise Refused(refusals.values())


class Office:
    """Where changes are made: the book, the vault, the planes, and the world when there is one to drive."""

    def __init__(self, book: Book, vault: Vault, planes: Sequence[Plane], world: World, clock: Clock, who: str) -> None:
        self.book, self.vault, self.planes, self.world = book, vault, planes, world
        self._clock, self._who = clock, who

    # --- planning: reads, writes nothing --------------------------------------------------------------------------

    def draft(self, wanted: Snapshot, evidence: Evidence, undoes: int | None = None) -> Draft:
        """The plan for an admitted snapshot, against the newest model."""
        model = self.book.model()

        def kept(key: Key) -> bytes | None:
            return self.vault.get(model.artifacts[key]) if key in model.artifacts else None

        return draft(self.planes, self.world.drivers, model, wanted, evidence, kept, undoes)

    def redraft(self, plan: Plan) -> Draft:
        """A saved plan, compiled again. Raises Stale when it is bound to what is no longer so."""
        model = self.book.model()
        if plan.base != model.digest:
            raise Stale(f"the model has moved to change {model.seq} since this plan was made; plan again")
        try:
            evidence = self.vault.evidence(plan.evidence)
        except LookupError as lost:
            raise Stale(str(lost)) from None
        wanted = model.snapshot.replaced((self.book.resource(record) for record in plan.put), plan.gone)
        fresh = self.draft(wanted, evidence, plan.undoes)
        if fresh.plan.digest != plan.digest:
            raise Stale("this plan compiles to something else than when it was made (another version of nnix?); plan again")
        return fresh

    # --- recording --------------------------------------------------------------------------------------------------

    def note(self, what: str, why: str, body: Mapping[str, Any]) -> Entry:
        """Append what is no change of the model (a refusal, a drift, an approval). Others may append meanwhile."""
        ledger = self.book.ledger
        while True:
            try:
                return ledger.append(ledger.head, at=self._clock(), who=self._who, what=what, why=why, body=body)
            except Moved:
                continue

    def approvals(self, resource: Resource) -> Standing:
        """How far `resource` is approved."""
        return standing(resource, self.book.ledger.entries(what=APPROVED))

    def approve(self, resource: Resource, contact: str | None, why: str) -> Approval:
        """Approve `resource` as `contact` (None: as the approver with our login). Who has done so already is not recorded twice. Raises Refused."""
        so_far = self.approvals(resource)
        approver = entitled(resource, self._who, contact, so_far)
        known = next((each for each in so_far.given if each.contact == approver.contact), None)
        if known is not None:
            return known
        entry = self.note(APPROVED, why, approval(resource, approver))
        return Approval(entry.seq, entry.at, entry.who, approver.contact, so_far.digest)

    def approve_plan(self, plan: Plan, why: str) -> Entry:
        """Approve a saved plan."""
        return self.note(APPROVED, why, {"plan": plan.digest})

    def refuse(self, refused: Refused, why: str) -> None:
        """Record that a change was refused; that is all the trace it leaves."""
        self.note("refused", why, {"refusals": [each.record() for each in refused.refusals]})

    def record(self, made: Draft, why: str, *, drive: bool) -> Entry:
        """Append the change, against the head that the plan was made on. Raises Stale when another change came first."""
        self.vault.keep(item.content for item in made.evidence.values())
        self.vault.keep(each.content for each in made.artifacts.values())
        body = {
            "put": list(made.plan.put),
            "gone": list(made.plan.gone),
            "evidence": dict(made.plan.evidence),
            "artifacts": {
                "put": [[*a.key, a.digest] for a in made.plan.actions if a.digest],
                "gone": [[*a.key] for a in made.plan.actions if not a.digest],
            },
            "plan": made.plan.digest,
            "undoes": made.plan.undoes,
            "drive": drive,
        }
        ledger = self.book.ledger
        while True:
            head = ledger.head
            model = self.book.model()
            if model.digest != made.plan.base:
                raise Stale(f"change {model.seq} was made meanwhile; plan again")
            try:
                return ledger.append(head, at=self._clock(), who=self._who, what="change", why=why, body=body)
            except Moved:
                continue

    # --- carrying out ---------------------------------------------------------------------------------------------

    async def check(self, made: Draft) -> None:
        """Ask whether the machines concerned can, and the daemons' own parsers there. Raises Refused with every complaint; of a machine that
        cannot, its own answer says more than that of a parser which does not know the words."""
        touched = [made.artifacts[a.key] for a in made.plan.actions if a.digest]
        limit = asyncio.Semaphore(4)

        async def one(artifact: Artifact) -> Refusal | None:
            async with limit:
                try:
                    host = self.world.machines.host(artifact.machine)
                    said = await self.world.drivers[artifact.driver].check(host, artifact.content)
                except Unreachable:
                    return None  # a machine that is not there yet cannot be asked; driving will tell
            if not said:
                return None
            where = f"{artifact.driver}/{artifact.name} on {artifact.machine}"
            return Refusal(
                where, "", said, "what this daemon's own parser accepts", "kernel.daemon-accepts", mend="nothing was touched; see the rule"
            )

        unable, *said = await asyncio.gather(able(self.world, made), *map(one, touched), return_exceptions=True)
        for each in (unable, *said):
            if isinstance(each, BaseException):
                raise each
        if complaints := [each for each in said if isinstance(each, Refusal)]:
            raise Refused(complaints)

    async def apply(self, made: Draft, why: str, *, told: Told | None = None, revert: bool = True, whole: bool = False) -> Applied:
        """Carry a plan out. Raises Refused or Stale, and then nothing was done.

        Looked at and driven are what the plan goes to, all that it stands on (what comes before it on its machine, and the ground), and what
        the ground moves under; of these what stays as it is, is looked at while the parsers judge. Everything is looked at and driven with `whole`,
        where earlier changes are not known to have been brought about, and where the ground was not as the model said (after a reboot, say). What
        else may have drifted is the loop's business.
        """
        if not self.book.model().settled:
            await self.settle(told)
        model = self.book.model()
        whole = whole or not (model.settled and model.driven)
        reached = self._reached(made, model)
        near: Mapping[Key, Artifact] = {} if whole else self._near(made, model, reached)
        planned = {a.key: "is changed by the plan" if a.key in model.artifacts else "is new" for a in made.plan.actions}
        still = [each for key, each in near.items() if key not in planned and key[:2] not in reached and not self.world.ground(key[0])]
        looking = asyncio.create_task(self._agreeing(model, still))
        try:
            await self.check(made)
        finally:
            agreeing = await looking
        entry = self.record(made, why, drive=True)
        gone = model.leftovers | {key for key in model.artifacts if key not in made.artifacts}
        if whole or agreeing is None:
            near, known = made.artifacts, planned
        else:  # A new look is owed to the hands of machines whose own ground moves.
            moved = {machine for machine, _ in reached}
            steady = (key for key in agreeing if not (self.world.ground(key[0]) and key[0].removeprefix("@") in moved))
            known = dict.fromkeys(steady, "") | planned
        outcomes = await converge(self.world, near, gone, told, known=known)
        failures = [each for each in outcomes if each.failure]
        if not failures:
            self.note("verified", "the world agrees with the model", {"change": entry.seq})
            return Applied(entry, True, outcomes)
        if not revert or model.seq == 0:
            return Applied(entry, False, outcomes)
        return await self._revert(entry, model, outcomes, told)

    def _reached(self, made: Draft, model: Model) -> frozenset[tuple[str, str]]:
        """(machine, driver) of what stands on ground that the plan moves."""
        reached: set[tuple[str, str]] = set()
        for action in made.plan.actions:
            if self.world.ground(action.machine):
                reached.update(self.world.shaken(action.key, *self._contents(made, model, action.key)))
        return frozenset(reached)

    def _contents(self, made: Draft, model: Model, key: Key) -> tuple[bytes | None, bytes | None]:
        """What an artifact was and what it becomes."""
        old, new = model.artifacts.get(key), made.artifacts.get(key)
        return self.vault.get(old) if old else None, new.content if new else None

    def _near(self, made: Draft, model: Model, reached: frozenset[tuple[str, str]]) -> dict[Key, Artifact]:
        """What the plan goes to with all that it stands on there, the ground, and what the ground moves under, behind its guards."""
        planned = {action.key for action in made.plan.actions}
        last: dict[str, int] = {}
        for key in planned:
            driver = self.world.drivers[key[1]]
            if not (isinstance(driver, Alone) and driver.alone(*self._contents(made, model, key))):
                last[key[0]] = max(last.get(key[0], 0), self.world.stage(key[1]))
        guarded = {machine for machine, _ in reached}

        def concerned(each: Artifact) -> bool:
            return (
                each.key in planned
                or self.world.ground(each.machine)
                or self.world.stage(each.driver) < last.get(each.machine, 0)
                or (each.machine, each.driver) in reached
                or (each.driver in self.world.guards and each.machine in guarded)
            )

        return {key: each for key, each in made.artifacts.items() if concerned(each)}

    async def _agreeing(self, model: Model, still: Sequence[Artifact]) -> frozenset[Key] | None:
        """Which of the ground and of `still` the world agrees with. None when the ground is not as the model says: then what stood on it cannot
        be taken for granted."""
        keys = {key for key in model.artifacts if self.world.ground(key[0])}
        kept = {key: self.vault.get(model.artifacts[key]) for key in keys}
        ground = [Artifact(*key, content) for key, content in kept.items() if content is not None]
        differing = (await look(self.world, [*ground, *still])).keys()
        return None if len(ground) < len(keys) or differing & keys else frozenset(keys | {each.key for each in still}) - differing

    async def _revert(self, entry: Entry, before: Model, outcomes: tuple[Outcome, ...], told: Told | None) -> Applied:
        """Append the inverse of `entry` and drive it. What fails even then is left to the loop; and so is `entry` itself, where what others have
        recorded meanwhile rests on it. All else that they have recorded stays."""
        reasons = [f"{'/'.join(each.key)}: {each.failure}" for each in outcomes if each.failure]
        taken: Entry | None = None
        while taken is None:  # until nobody records anything between drafting and recording
            try:
                wanted = admit(self.planes, inverse(self.book, entry.seq).declared, self.book.model().snapshot)
            except Refused as refused:
                why = f"change {entry.seq} could not be brought about, and cannot be taken back: {'; '.join(reasons)[:2000]}"
                self.refuse(refused, why)
                return Applied(entry, False, outcomes)
            back = self.draft(wanted, self.vault.evidence(before.evidence), undoes=entry.seq)
            with suppress(Stale):
                taken = self.record(back, f"takes back change {entry.seq}, which could not be brought about", drive=True)
        # Only now: a kill before this leaves an unsettled change, never one that counts as settled and was not taken back.
        self.note("reverted", "; ".join(reasons)[:2000], {"change": entry.seq})
        again = await converge(self.world, back.artifacts, self.book.model().leftovers, told)
        if not any(each.failure for each in again):
            self.note("verified", "the world agrees with the model again", {"change": taken.seq})
        return Applied(entry, False, outcomes, reverted=True)

    def wanted(self, model: Model) -> dict[Key, Artifact]:
        """The artifacts of `model`, compiled from what the ledger says."""
        return compile_all(self.planes, model.snapshot, self.vault.evidence(model.evidence))

    async def settle(self, told: Told | None = None) -> tuple[Outcome, ...]:
        """Finish what was recorded and not brought to its end: by a kill, because a machine could not be reached, or only recorded."""
        model = self.book.model()
        if model.brought_about:
            return ()
        outcomes = await converge(self.world, self.wanted(model), model.leftovers, told)
        if not any(each.failure for each in outcomes):
            self.note("verified", "the world agrees with the model; the change had not been brought to its end", {"change": model.seq})
        return outcomes

    async def take_down(self, keys: Iterable[Key], told: Told | None = None) -> tuple[Outcome, ...]:
        """Take artifacts out of the world without touching the model."""
        return await converge(self.world, {}, keys, told)
