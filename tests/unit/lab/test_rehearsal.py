"""When a plan may be rehearsed, and what is written down of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nnix.kernel.approval import standing
from nnix.kernel.rule import Refused
from nnix.lab.drill import Drilled, Measured
from nnix.lab.failures import Failure
from nnix.lab.rehearsal import evidence, outcome, ready
from nnix.planes.fabric.kinds import FailureSort
from tests.unit.kernel.test_approval import approved, plan

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def drilled(failing: float = 0.1, **changed: object) -> Drilled:
    came = Drilled(
        failure=Failure(FailureSort.DARK, "site/hz"), at="noon", flows=("1",), silent_before=(), rounds=(Measured(failing, 0.0, 1, 9),),
        predicted=frozenset(), observed=frozenset(), circuits_watched=1, circuits_predicted=frozenset(), circuits_observed=frozenset(),
        sent=100.0, crossed=100.0, took_seconds=5.0, plan=plan(),
    )  # fmt: skip
    return replace(came, **changed)  # type: ignore[arg-type]


def test_a_plan_is_rehearsed_when_all_have_approved_it_as_it_stands() -> None:
    """Each who has not is named, and whose approval was for an older wording is told which; kernel.approved is the rule."""
    entries = [approved(3, "li", "contact:noc", plan()), approved(4, "wang", "contact:director", plan())]
    ready(plan(), standing(plan(), entries))
    changed = plan(steps=["call the site twice"])
    with pytest.raises(Refused) as refused:
        ready(changed, standing(changed, entries[:1]))
    director, noc = refused.value.refusals
    assert {each.rule for each in (director, noc)} == {"kernel.approved"}
    assert director.found == "contact:director has not approved it"
    assert noc.found == "contact:noc has not approved it as it stands: entry 3 is for an older wording"
    assert "--unapproved" in noc.mend


@pytest.mark.parametrize(
    ("came", "says"),
    [
        (drilled(), "kept"),
        (drilled(failing=0.3), "not kept"),
        (drilled(observed=frozenset({("hz", "nb")})), "not kept"),
        (drilled(circuits_observed=frozenset({("wire", "a", "b")})), "not kept"),
        (drilled(silent_before=("1",)), "not measured"),
    ],
)
def test_the_outcome_is_told_in_a_word(came: Drilled, says: str) -> None:
    """Kept means: within the target of the plan (250 ms), with sites and circuits as predicted, and measured at all."""
    assert outcome(came) == says


def test_evidence_names_wording_approvals_times_and_report() -> None:
    """Also of a rehearsal that did not come to its end."""
    known = standing(plan(), [approved(3, "li", "contact:noc", plan())])
    found = evidence(plan(), known, 7, NOON, NOON + timedelta(seconds=9), drilled(), drill=8, reports={"report.html": b"<p>"})
    assert (found["plan"], found["digest"], found["change"], found["drill"]) == ("emergency-plan/hub-dark", known.digest, 7, 8)
    assert (found["approved"], found["approvals"], found["lacking"]) == (False, [3], ["contact:director"])
    assert (found["began"], found["ended"]) == ("2026-11-26T12:00:00.000+00:00", "2026-11-26T12:00:09.000+00:00")
    assert (found["outcome"], found["restore_seconds"], found["restore_seconds_target"]) == ("kept", 0.1, 0.25)
    assert found["report"] == {"report.html": hashlib.sha256(b"<p>").hexdigest()}
    assert evidence(plan(), known, 7, NOON, NOON, None, reason="stopped")["outcome"] == "not finished: stopped"
