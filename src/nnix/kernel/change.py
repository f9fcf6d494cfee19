"""Changes: from what an operator wrote to a plan that can be read, approved, carried out and taken back.

    parse → derive → admit → compile → check → prove → plan → approve → apply → verify

Everything up to the plan is pure. The plan is data: the resources that change, the steps on every machine, whom they
disturb, and the digests that it is bound to: the newest change in the ledger, the evidence, and every artifact. Applying
executes that very plan, or refuses because one of the three has moved.

The ledger holds differences, one entry a change, so that the model at any moment is the fold of all entries up to it.
Desired state is atomic, the world is compensated: when the world cannot be brought to it, the inverse change is appended
and driven, and both stay on record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import rfc8785
from pydantic import ValidationError

from nnix.kernel.evidence import Evidence
from nnix.kernel.ledger import GENESIS, Entry, Ledger
from nnix.kernel.life import Table, follow
from nnix.kernel.plane import Finding, Plane
from nnix.kernel.resource import Json, Resource
from nnix.kernel.rule import Refusal, Refused, judge
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact, Driver, Step

Key = tuple[str, str, str]


# --- admission --------------------------------------------------------------------------------------------------------


def completed(planes: Sequence[Plane], declared: Iterable[Resource], before: Snapshot) -> Snapshot:
    """What was declared, with names allocated (those of `before` kept) and with what planes derive from it.

    One plane after the other, from the top, so that what one derives of a plane further down gets its names there like everything else.
    Allocation and derivation look at references, so dangling ones are refused first. What is declared stands before what would be derived under its name; two
    things derived under one name are refused, since either of them would be lost without a word. Raises Refused.
    """
    snapshot = Snapshot(declared)
    dangling = tuple(dangling_references(snapshot))
    if dangling:
        raise Refused(dangling)
    derived: dict[str, Resource] = {}
    for plane in planes:
        if plane.allocate:
            snapshot = snapshot.replaced(plane.allocate(snapshot, before))
        if plane.derive:
            found = [each for each in plane.derive(snapshot) if each.id not in snapshot or each.id in derived]
            twice = []
            for each in found:
                if derived.setdefault(each.id, each) != each:
                    twice.append(_derived_twice(derived[each.id], each))
            if twice:
                raise Refused(twice)
            snapshot = snapshot.replaced(each for each in found if each.id not in snapshot)
    return snapshot


def _derived_twice(one: Resource, other: Resource) -> Refusal:
    owners = " and ".join(dict.fromkeys(str(each.owner or "a plane") for each in (one, other)))
    return Refusal(
        one.id,
        "name",
        f"derived by {owners}, each time another",
        "a name of its own",
        "kernel.derived-once",
        "docs/change.md",
        f"rename {owners}",
    )


def dangling_references(snapshot: Snapshot, unread: frozenset[str] = frozenset()) -> Iterator[Refusal]:
    """References to what is not there. `unread` are ids that do stand in the files but could not be read: not reported twice."""
    for each in snapshot:
        for path, ref in each.references():
            if ref.id not in snapshot and ref.id not in unread:
                known = [other.name for other in snapshot.of(ref.target)]
                accept = f"the name of a {ref.target.kind()}: {', '.join(known[:12])}{' …' if len(known) > 12 else ''}" if known else ""
                yield Refusal(
                    each.id,
                    path,
                    f"{ref.id} does not exist",
                    accept or f"the name of a {ref.target.kind()} (there is none yet)",
                    "kernel.reference",
                    mend=f"add {ref.id}, or change or delete {each.id}, which refers to it",
                )


def admit(planes: Sequence[Plane], declared: Iterable[Resource], before: Snapshot, unread: frozenset[str] = frozenset()) -> Snapshot:
    """The complete snapshot, when every rule of every plane lets it pass. Raises Refused with all refusals at once.

    `unread`: ids of documents that could not be read. Then the rest is judged as far as it stands on its own, so that all
    faults are told at once; the snapshot returned is of use for nothing else.
    """
    given = Snapshot(declared)
    dangling = tuple(dangling_references(given, unread))
    refusals = list(dangling)
    sound = given
    if dangling or unread:
        missing = {ref.id for each in given for _, ref in each.references() if ref.id not in given}
        lost = {each.id for each in given if any(ref.id in missing for _, ref in each.references())}
        sound = given.replaced(gone=given.impact(lost))
    snapshot = completed(planes, sound, before)
    partial = bool(dangling or unread)
    for plane in planes:
        refusals.extend(judge(snapshot, (each for each in plane.rules if not (partial and each.whole))))
    if refusals:
        raise Refused(refusals)
    return snapshot


# --- compilation ------------------------------------------------------------------------------------------------------


def compile_all(planes: Sequence[Plane], snapshot: Snapshot, evidence: Evidence) -> dict[Key, Artifact]:
    """Every artifact of every plane, by (machine, driver, name). Raises ValueError when two planes write one artifact."""
    artifacts: dict[Key, Artifact] = {}
    for plane in planes:
        for artifact in plane.compile(snapshot, evidence) if plane.compile else ():
            if artifacts.setdefault(artifact.key, artifact) is not artifact:
                raise ValueError(f"two planes write {'/'.join(artifact.key)}")
    return artifacts


def proved(planes: Sequence[Plane], snapshot: Snapshot, evidence: Evidence) -> tuple[Finding, ...]:
    """What every plane has to say of a model that may be applied, each thing once."""
    return tuple(dict.fromkeys(found for plane in planes if plane.prove for found in plane.prove(snapshot, evidence)))


def evidence_keys(planes: Sequence[Plane], snapshot: Snapshot) -> tuple[str, ...]:
    """Which evidence `snapshot` needs."""
    return tuple(dict.fromkeys(key for plane in planes if plane.evidence for key in plane.evidence(snapshot)))


# --- differences ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """What became of one resource: added (no `old`), changed, or removed (no `new`)."""

    old: Resource | None
    new: Resource | None

    @property
    def resource(self) -> Resource:
        found = self.new or self.old
        if found is None:
            raise ValueError("an edit of nothing")
        return found

    def fields(self) -> Iterator[tuple[str, Any, Any]]:
        """(field path, old value, new value) of what differs."""
        old = dict(_flat(self.old.written())) if self.old else {}
        new = dict(_flat(self.new.written())) if self.new else {}
        for path in dict.fromkeys([*old, *new]):
            if old.get(path) != new.get(path):
                yield path, old.get(path), new.get(path)


def _flat(value: Json, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{name}.")
        elif name not in ("kind", "name") or prefix:
            yield f"{prefix}{name}", inner


def edits(old: Snapshot, new: Snapshot) -> tuple[Edit, ...]:
    """What separates two snapshots: additions and changes in order of creation, then removals in the reverse order."""
    differing = {each.id for each in new if old.by_id(each.id) != each}
    left = {each.id for each in old if each.id not in new}
    put = [Edit(old.by_id(each.id), each) for each in new.ordered() if each.id in differing] if differing else []
    gone = [Edit(each, None) for each in reversed(old.ordered()) if each.id in left] if left else []
    return tuple(put + gone)


# --- the model: what the ledger says ------------------------------------------------------------------------------------


class ChangeState(StrEnum):
    """The life of a change."""

    PLANNED = "planned"
    APPROVED = "approved"
    RECORDED = "recorded"
    VERIFIED = "verified"
    REVERTED = "reverted"


CHANGE: Table[ChangeState] = {
    (ChangeState.PLANNED, "approved"): (ChangeState.APPROVED, ()),
    (ChangeState.PLANNED, "change"): (ChangeState.RECORDED, ("drive",)),
    (ChangeState.APPROVED, "approved"): (ChangeState.APPROVED, ()),
    (ChangeState.APPROVED, "change"): (ChangeState.RECORDED, ("drive",)),
    (ChangeState.RECORDED, "verified"): (ChangeState.VERIFIED, ()),
    (ChangeState.RECORDED, "reverted"): (ChangeState.REVERTED, ("drive the inverse",)),
}


@dataclass(frozen=True)
class Model:
    """What the ledger says the exchange shall be, after its newest change.

    `seq` and `digest` name that change (0 and GENESIS before the first). `artifacts` are the digests of what its plan compiled to;
    `settled` says whether the world has been brought to it and verified. `leftovers` are artifacts that may still be in the world
    from before an unsettled change. `driven` is false while a change that was only recorded has not been brought about by a later one, and after all was taken down.
    """

    seq: int = 0
    digest: str = GENESIS
    snapshot: Snapshot = field(default_factory=Snapshot)
    evidence: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[Key, str] = field(default_factory=dict)
    leftovers: frozenset[Key] = frozenset()
    settled: bool = True
    driven: bool = True

    @property
    def brought_about(self) -> bool:
        """Whether the world was brought to this model, and nothing has been taken down or left over since."""
        return self.settled and self.driven and not self.leftovers


class Unknown(Exception):
    """A change or moment that the ledger does not have."""


class Book:
    """The ledger read as models. Resources are kept parsed, so that reading on costs what is new."""

    def __init__(self, ledger: Ledger, kinds: Mapping[str, type[Resource]]) -> None:
        self._ledger, self._kinds = ledger, kinds
        self._model, self._read = Model(), 0

    @property
    def ledger(self) -> Ledger:
        return self._ledger

    def model(self) -> Model:
        """The newest."""
        head = self._ledger.head.seq
        if head > self._read:
            self._model = self._folded(self._model, self._ledger.entries(since=self._read, until=head))
            self._read = head
        return self._model

    def model_at(self, seq: int) -> Model:
        """The model as it was after entry `seq`."""
        return next(self.models_at([seq]))

    def models_at(self, seqs: Iterable[int]) -> Iterator[Model]:
        """The models as they were after each of these entries, which ascend: the ledger is read once for all of them."""
        model, read = Model(), 0
        for seq in seqs:
            model, read = self._folded(model, self._ledger.entries(since=read, until=seq)), seq
            yield model

    def _folded(self, model: Model, entries: Iterable[Entry]) -> Model:
        for entry in entries:
            if entry.what == "change":
                model = self._changed(model, entry)
            elif entry.what in ("verified", "reverted") and entry.body.get("change") == model.seq:
                driven = model.driven or entry.what == "verified"
                model = replace(model, leftovers=frozenset(), settled=True, driven=driven)
            elif entry.what == "down":
                model = replace(model, driven=False)
        return model

    def _changed(self, model: Model, entry: Entry) -> Model:
        body = entry.body
        snapshot = model.snapshot.replaced((self.resource(each) for each in body["put"]), body["gone"])
        put = {(m, d, n): digest for m, d, n, digest in body["artifacts"]["put"]}
        gone = frozenset((m, d, n) for m, d, n in body["artifacts"]["gone"])
        artifacts = {key: digest for key, digest in {**model.artifacts, **put}.items() if key not in gone}
        leftovers = (model.leftovers | gone) - frozenset(artifacts)
        drive = body.get("drive", True)
        return Model(entry.seq, entry.digest, snapshot, body["evidence"], artifacts, leftovers, not drive, model.driven and drive)

    def resource(self, record: Json) -> Resource:
        """A resource from its ledger record, brought up to the kind's newest shape. Raises Unknown."""
        kind = self._kinds.get(record.get("kind", ""))
        if kind is None:
            raise Unknown(f"the ledger holds a {record.get('kind')}, a kind that this nnix does not know")
        try:
            return kind.recorded(record)
        except ValidationError as invalid:
            raise Unknown(f"the ledger holds a {kind.kind()} that this nnix cannot read: {invalid}") from None

    def change(self, seq: int) -> Entry:
        """The entry of change `seq`. Raises Unknown."""
        entry = self._ledger.entry(seq)
        if entry is None or entry.what != "change":
            raise Unknown(f"entry {seq} is not a change" if entry else f"there is no entry {seq}")
        return entry

    def state(self, seq: int) -> ChangeState:
        """What became of change `seq`. Raises Unknown."""
        self.change(seq)
        events = [e.what for e in self._ledger.entries(since=seq) if e.what in ("verified", "reverted") and e.body.get("change") == seq]
        return follow(CHANGE, ChangeState.PLANNED, ["change", *events[:1]])


# --- plans ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Action:
    """What will be done to one artifact on one machine."""

    machine: str
    driver: str
    name: str
    digest: str | None
    steps: tuple[Step, ...]

    @property
    def key(self) -> Key:
        return self.machine, self.driver, self.name


@dataclass(frozen=True)
class Plan:
    """A change that can be carried out. It holds only while `base` is the newest change and everything compiles to the same bytes."""

    base: str
    put: tuple[Json, ...]
    gone: tuple[str, ...]
    evidence: Mapping[str, str]
    actions: tuple[Action, ...]
    disturbs: tuple[str, ...]
    undoes: int | None = None

    @property
    def empty(self) -> bool:
        """Nothing to record and nothing to do."""
        return not self.put and not self.gone and not self.actions

    def record(self) -> Json:
        return {
            "base": self.base,
            "put": list(self.put),
            "gone": list(self.gone),
            "evidence": dict(self.evidence),
            "actions": [
                {
                    "machine": a.machine,
                    "driver": a.driver,
                    "name": a.name,
                    "digest": a.digest,
                    "steps": [{"does": s.does, "disturbs": sorted(s.disturbs)} for s in a.steps],
                }
                for a in self.actions
            ],
            "disturbs": list(self.disturbs),
            "undoes": self.undoes,
        }

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON: what an approval approves."""
        return hashlib.sha256(rfc8785.dumps(self.record())).hexdigest()

    def saved(self) -> str:
        """The plan as a file, bound to its digest."""
        return json.dumps({"nnix": "plan", "digest": self.digest, **self.record()}, indent=1, ensure_ascii=False) + "\n"


class BadPlan(Exception):
    """A file that is not a plan of ours, or not the one that was saved."""


def loaded(text: str) -> Plan:
    """Read a saved plan. Raises BadPlan."""
    try:
        data = json.loads(text)
        plan = Plan(
            data["base"],
            tuple(data["put"]),
            tuple(data["gone"]),
            data["evidence"],
            tuple(
                Action(
                    a["machine"],
                    a["driver"],
                    a["name"],
                    a["digest"],
                    tuple(Step(s["does"], frozenset(s["disturbs"])) for s in a["steps"]),
                )
                for a in data["actions"]
            ),
            tuple(data["disturbs"]),
            data["undoes"],
        )
        known = data["digest"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadPlan(f"not a saved plan: {type(error).__name__} {error}") from None
    if plan.digest != known:
        raise BadPlan("the plan was altered after it was saved; make it again with `nnix plan DIR -o FILE`")
    return plan


@dataclass(frozen=True)
class Draft:
    """A plan with what it was made from: the new snapshot, both sets of artifacts, and the edits for people to read."""

    plan: Plan
    snapshot: Snapshot
    edits: tuple[Edit, ...]
    artifacts: Mapping[Key, Artifact]
    evidence: Evidence


def draft(
    planes: Sequence[Plane],
    drivers: Mapping[str, Driver],
    model: Model,
    wanted: Snapshot,
    evidence: Evidence,
    kept: Callable[[Key], bytes | None],
    undoes: int | None = None,
) -> Draft:
    """The plan that makes an admitted snapshot the model. `kept` gives the bytes of an artifact of the model; None for one that it lacks or lost."""
    changes = edits(model.snapshot, wanted)
    artifacts = compile_all(planes, wanted, evidence)
    actions = []
    for key, artifact in artifacts.items():
        if model.artifacts.get(key) != artifact.digest:
            steps = drivers[artifact.driver].steps(kept(key), artifact.content)
            actions.append(Action(*key, artifact.digest, steps))
    for key in model.artifacts:
        if key not in artifacts:
            actions.append(Action(*key, None, drivers[key[1]].steps(kept(key) or b"", None)))
    disturbs = sorted({each for action in actions for step in action.steps for each in step.disturbs})
    plan = Plan(
        model.digest,
        tuple(edit.new.record() for edit in changes if edit.new),
        tuple(edit.resource.id for edit in changes if not edit.new),
        evidence.pins,
        tuple(actions),
        tuple(disturbs),
        undoes,
    )
    return Draft(plan, wanted, changes, artifacts, evidence)


def inverse(book: Book, seq: int) -> Snapshot:
    """The snapshot that takes change `seq` back and leaves all later ones. Raises Unknown; Refused when a later change touched the same."""
    entry = book.change(seq)
    after, before, now = book.model_at(seq).snapshot, book.model_at(seq - 1).snapshot, book.model().snapshot
    touched = [*(f"{book.resource(r).id}" for r in entry.body["put"]), *entry.body["gone"]]
    moved = [each for each in touched if now.by_id(each) != after.by_id(each)]
    if moved:
        raise Refused(
            Refusal(
                each,
                "",
                f"has changed again since change {seq}",
                "an undo of the newest change to it",
                "kernel.undo-newest-first",
                mend=f"undo the later change first (`nnix log {each}` lists them), or change it in the files",
            )
            for each in moved
        )
    back = [found for each in touched if (found := before.by_id(each)) is not None]
    return now.replaced(back, [each for each in touched if each not in before])
