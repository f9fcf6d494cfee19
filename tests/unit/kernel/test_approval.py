"""Who may approve what, what an approval covers, and what becomes of it when a word changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nnix.kernel.approval import Standing, body, digest_of, entitled, standing
from nnix.kernel.ledger_entry import Entry
from nnix.kernel.rule import Refused
from nnix.planes.fabric.kinds import EmergencyPlan

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def plan(**changed: Any) -> EmergencyPlan:
    fields: dict[str, Any] = {
        "name": "hub-dark", "title": {"en": "The hub goes dark"}, "trigger": "silence", "failure": "dark", "target": "site/hz",
        "steps": ["call the site"], "expects": "members of the hub are off", "restore_within": "250ms",
        "approvers": [{"contact": "contact:director", "login": "wang"}, {"contact": "contact:noc"}],
    }  # fmt: skip
    return EmergencyPlan.model_validate({**fields, **changed})


def approved(seq: int, login: str, contact: str, of: EmergencyPlan) -> Entry:
    """As `Office.approve` writes it."""
    (approver,) = (each for each in of.approvers if each.contact == contact)
    return Entry(seq, NOON + timedelta(minutes=seq), login, "approved", "read", body(of, approver), "", "")


def contacts(found: Standing) -> tuple[list[str], list[str], list[str]]:
    return [each.contact for each in found.given], [each.contact for each in found.lacking], [each.contact for each in found.older]


def test_a_plan_is_approved_when_each_of_its_approvers_has_agreed() -> None:
    """In whatever order; entries about other things do not count."""
    entries = [approved(3, "li", "contact:noc", plan()), Entry(4, NOON, "li", "approved", "", {"plan": digest_of(plan())}, "", "")]
    assert contacts(standing(plan(), entries)) == (["contact:noc"], ["contact:director"], [])
    whole = standing(plan(), [*entries, approved(5, "wang", "contact:director", plan())])
    assert whole.complete
    assert [each.entry for each in whole.given] == [5, 3]


def test_an_approval_covers_the_wording_that_was_read_and_no_other() -> None:
    """A changed word leaves all of them behind, as approvals of something older; the first wording back again, they count again."""
    entries = [approved(3, "li", "contact:noc", plan()), approved(4, "wang", "contact:director", plan())]
    found = standing(plan(steps=["call the site twice"]), entries)
    assert contacts(found) == ([], ["contact:director", "contact:noc"], ["contact:director", "contact:noc"])
    assert str(found) == "0 of 2, 2 to an older wording"
    assert standing(plan(), entries).complete


def test_what_is_left_to_a_default_may_be_written_out() -> None:
    """The digest is over what is meant, not over how long it is said."""
    assert digest_of(plan()) == digest_of(
        plan(approvers=[{"contact": "contact:director", "login": "wang"}, {"contact": "contact:noc", "login": None}])
    )
    assert digest_of(plan()) != digest_of(plan(restore_within="251ms"))


@pytest.mark.parametrize(
    ("login", "contact", "says"),
    [
        ("li", "contact:director", "li cannot approve as contact:director"),
        ("li", "contact:janitor", "contact:janitor is none of its approvers"),
        ("li", None, "li is the login of none of its approvers"),
        ("wang", "contact:noc", "wang has approved it as contact:director already"),
    ],
)
def test_nobody_approves_in_a_name_that_is_not_his(login: str, contact: str | None, says: str) -> None:
    """A login that is named is the only one; without --as the login must be named; and one login is not four eyes."""
    so_far = standing(plan(), [approved(3, "wang", "contact:director", plan())])
    with pytest.raises(Refused, match=says) as refused:
        entitled(plan(), login, contact, so_far)
    assert refused.value.refusals[0].rule == "kernel.approver-named"


def test_the_login_says_for_whom_where_the_plan_names_it() -> None:
    so_far = standing(plan(), [])
    assert entitled(plan(), "wang", None, so_far).contact == "contact:director"
    assert entitled(plan(), "li", "contact:noc", so_far).contact == "contact:noc"


def test_a_plan_of_the_first_shape_had_one_approver() -> None:
    """As a ledger of last year holds it."""
    record = {**plan().record(), "approver": "contact:director"}
    del record["approvers"], record["kind"], record["version"]
    assert [each.contact for each in EmergencyPlan.model_validate(EmergencyPlan.upgrades[1](record)).approvers] == ["contact:director"]
