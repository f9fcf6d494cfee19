"""What registries answered last, in ledger and vault: entries `asked` say when and what came of it, the vault holds the answers by digest.

So who wants to know why a route was let in on a day finds the very answer of that day, and the same answers again take no room. Evidence is
the last good answer with its time; one that is older than it may be is no longer used, by the rule that the operator has chosen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from nnix.cli.root import Setting, clock
from nnix.kernel.ledger_entry import Entry
from nnix.kernel.rule import Refusal, Refused
from nnix.planes.routing.kinds import RoutingRegistry, WhenOld
from nnix.planes.routing.registries import answers
from nnix.planes.routing.registries.answers import Answers
from nnix.planes.routing.registries.guard import Guarded

ASKED = "asked"
ACCEPTED = "answers-accepted"
EVERYTHING = "*"


@dataclass(frozen=True)
class Standing:
    """How it stands with one registry. at: of the last good answer. failed: why a later one was not taken. accepted: what somebody has looked at since."""

    at: datetime | None = None
    digest: str = ""
    held: Mapping[str, str] | None = None
    failed: str = ""
    failed_at: datetime | None = None
    accepted: frozenset[str] = frozenset()

    def age(self, now: datetime) -> timedelta | None:
        return now - self.at if self.at else None


def standing(setting: Setting, registry: str) -> Standing:
    """Read from the ledger, backwards as far as the last good answer: as much however long it is asked already."""
    if not setting.begun:
        return Standing()
    good: Entry | None = None
    failure: Entry | None = None
    for entry in setting.ledger.backwards(ASKED):
        if entry.body["registry"] != registry:
            continue
        if entry.body["answers"]:
            good = entry
            break
        failure = failure or entry
    accepted: set[str] = set()
    for entry in setting.ledger.backwards(ACCEPTED):
        if good is not None and entry.seq < good.seq:
            break
        if entry.body["registry"] == registry:
            accepted.update(entry.body["as_sets"])
    return Standing(
        at=good.at if good else None,
        digest=good.body["answers"] if good else "",
        held=good.body["held"] if good else None,
        failed=failure.body["failed"] if failure else "",
        failed_at=failure.at if failure else None,
        accepted=frozenset(accepted),
    )


def given(setting: Setting, stands: Standing) -> Answers | None:
    """The last good answers; None where there are none. Raises LookupError where the vault has lost them."""
    if not stands.digest:
        return None
    content = setting.vault.get(stands.digest)
    if content is None:
        raise LookupError(
            "the last good answers are no longer in the vault; ask again with `nnix irr fetch`, after `nnix irr accept REGISTRY '*'`"
        )
    return answers.read(content.decode())


def note(setting: Setting, registry: RoutingRegistry, guarded: Guarded) -> None:
    """Answers that are believed."""
    content = guarded.answers.text().encode()
    setting.vault.keep([content])
    body = {
        "registry": registry.name,
        "answers": hashlib.sha256(content).hexdigest(),
        "held": dict(guarded.held),
        "sets": len(guarded.answers.sets),
        "routes": guarded.answers.routes_count,
    }
    setting.office.note(ASKED, "", body)


def note_failure(setting: Setting, registry: RoutingRegistry, why: str) -> None:
    """That it did not answer, or not what can be believed."""
    setting.office.note(ASKED, "", {"registry": registry.name, "answers": "", "failed": why})


def accept(setting: Setting, registry: str, names: Collection[str], why: str) -> None:
    """That somebody has looked at what is held, and lets it be."""
    setting.office.note(ACCEPTED, why, {"registry": registry, "as_sets": sorted(names)})


def evidence(setting: Setting, registry: RoutingRegistry) -> bytes | None:
    """The last good answers with their time, or without answers where they are too old and members are then left with their own ASN. Raises Refused
    where they are too old and nothing is to be changed then."""
    stands = standing(setting, registry.name)
    answered = given(setting, stands)
    if answered is None or stands.at is None:
        return None
    age = clock() - stands.at
    told = [*(stands.held or {}).values()]
    if stands.failed:
        told.append(f"not asked with success since {stands.at:%Y-%m-%d %H:%M} UTC: {stands.failed}")
    if age > timedelta(hours=registry.age_max_hours):
        too_old = f"its last good answer is {age.total_seconds() / 3600:.0f} hours old" + (f" ({stands.failed})" if stands.failed else "")
        if registry.when_old is WhenOld.REFUSE:
            raise Refused(
                [
                    Refusal(
                        registry.id,
                        "age_max_hours",
                        too_old,
                        f"at most {registry.age_max_hours} hours",
                        "routing.evidence-is-fresh",
                        "RFC 7454, 6.1",
                        "ask it again (nnix irr fetch), or set when_old: own-asn; until then what runs stays as it is",
                    )
                ]
            )
        answered, told = Answers(), [f"{too_old}; members are left with their own ASN until it answers again"]
    return answers.dated(registry.id, stands.at, answered.text(), told)
