"""Every rule that a refusal can name is listed by `nnix rules` and explained by `nnix explain`."""

from __future__ import annotations

import re
from pathlib import Path

import nnix
from nnix.cli.reference import KERNEL_RULES, all_rules
from nnix.planes.members.sheet import refused

SOURCE = Path(nnix.__file__).parent
SPACES = "kernel|members|fabric|routing|trust|naming|account|compute|lab|ixf|peeringdb"


def raised() -> set[str]:
    """The names that the source writes: in full as text or in a rule's head, or, for whole documents, behind `refused(FORM, …, rule=`."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        if path.name == "reference.py":
            continue
        text = path.read_text()
        found |= set(re.findall(rf'"((?:{SPACES})\.[a-z]+(?:-[a-z0-9]+)*)"', text))
        forms = set(re.findall(r'\brefused\(\s*"(ixf|peeringdb)"', text))
        found |= {f"{form}.{rule}" for form in forms for rule in re.findall(r'\brule="([a-z-]+)"', text) if "refused(" in text}
    for form in ("ixf", "peeringdb"):
        found |= {each.rule for each in refused(form, "", "", "").refusals}
    return found


def test_every_rule_that_can_be_named_is_listed() -> None:
    """A refusal names its rule so that it can be looked up."""
    listed = {name for name, _, _ in KERNEL_RULES} | {each.name for each in all_rules()}
    missing = raised() - listed
    assert missing == set()
    assert {
        "ixf.readable",
        "ixf.member-list",
        "ixf.version-known",
        "ixf.exchange-known",
        "peeringdb.readable",
        "peeringdb.table",
        "peeringdb.exchange-known",
        "members.vtep-pool",
        "routing.evidence-is-there",
    } <= raised()
