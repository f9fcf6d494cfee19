"""Rehearsals of emergency plans, and what is written down of each.

A plan is rehearsed as it was approved: who has to agree did so, to this very wording. Otherwise what was practised is not what will be done. A draft
may be rehearsed as well, and mostly has to be before anybody can approve it; whoever does that says so (`--unapproved`), and so does the
evidence, which names those who had not agreed. Evidence counts for the wording that it names and for no later one.

Written down is when it began and ended, what came of it, how long traffic was out against the target of the plan, and the digests of the report, so
that a report which is shown later can be told from one that was touched up. A rehearsal that did not come to its end is written down too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from nnix.kernel.approval import Standing
from nnix.kernel.resource import Json
from nnix.kernel.rule import Refusal, Refused
from nnix.lab.drill import Drilled
from nnix.planes.fabric.kinds import EmergencyPlan

REHEARSAL = "rehearsal"
KEPT, MISSED, UNMEASURED, STOPPED = "kept", "not kept", "not measured", "not finished"


def ready(plan: EmergencyPlan, approved: Standing) -> None:
    """Raises Refused, for each approver who has not approved the plan as it stands."""
    before = {each.contact: each for each in approved.older}
    refusals = [
        Refusal(
            plan.id,
            "approvers",
            f"{each.contact} has not approved it"
            + (f" as it stands: entry {before[each.contact].entry} is for an older wording" if each.contact in before else ""),
            "the approval of all of them",
            "kernel.approved",
            "docs/drills.md",
            f"nnix approve {plan.id} --as {each.contact}, or rehearse the draft with --unapproved, which the evidence will say",
        )
        for each in approved.lacking
    ]
    if refusals:
        raise Refused(refusals)


def outcome(done: Drilled) -> str:
    """In a word or two. Kept: reachability was as predicted and the target was met, failing and healing."""
    if not done.measured:
        return UNMEASURED
    return KEPT if done.agrees and done.kept else MISSED


def evidence(
    plan: EmergencyPlan,
    approved: Standing,
    change: int,
    began: datetime,
    ended: datetime,
    came: Drilled | None,
    *,
    reason: str = "",
    drill: int | None = None,
    reports: Mapping[str, bytes] | None = None,
) -> Json:
    """The entry of a rehearsal. change: that the exchange was at; drill: the entry with all figures. came is None where it did not end by itself, for
    `reason`; `reports`: file name → content."""
    found: Json = {
        "plan": plan.id,
        "digest": approved.digest,
        "approved": approved.complete,
        "approvals": [each.entry for each in approved.given],
        "lacking": [each.contact for each in approved.lacking],
        "change": change,
        "began": began.isoformat(timespec="milliseconds"),
        "ended": ended.isoformat(timespec="milliseconds"),
        "outcome": outcome(came) if came else f"{STOPPED}: {reason}",
        "restore_seconds_target": plan.restore_within.seconds,
    }
    if came is not None:
        found |= {
            "restore_seconds": came.failing,
            "heal_seconds": came.healing,
            "as_predicted": came.agrees,
            "drill": drill,
            "report": {name: hashlib.sha256(content).hexdigest() for name, content in (reports or {}).items()},
        }
    return found
