"""Rules are listed: each has a name that can be searched for, a source, words for people, and a test that says its name."""

from __future__ import annotations

import re
from pathlib import Path

from nnix.cli.reference import KERNEL_RULES, all_rules
from nnix.cli.root import ALL_PLANES

TESTS = Path(__file__).parents[2]


def test_every_rule_has_a_name_a_source_and_a_description() -> None:
    """`plane.words-with-hyphens`; the description is one sentence or more."""
    for plane in ALL_PLANES:
        for rule in plane.rules:
            assert re.fullmatch(rf"{plane.name}\.[a-z0-9]+(-[a-z0-9]+)*", rule.name), rule.name
            assert rule.source.strip(), rule.name
            assert re.fullmatch(r"[A-Z].*\.", rule.description), rule.name


def test_no_two_rules_have_one_name() -> None:
    """Over all planes and the kernel."""
    names = [rule.name for rule in all_rules()] + [name for name, _, _ in KERNEL_RULES]
    assert len(names) == len(set(names))


def test_every_rule_judges_a_kind_of_its_plane_or_of_one_further_up() -> None:
    """A rule about a kind that no plane has would never be asked."""
    kinds = {kind for plane in ALL_PLANES for kind in plane.kinds}
    assert {rule.kind for rule in all_rules()} <= kinds


def test_every_rule_is_named_by_a_test() -> None:
    """A rule that nobody breaks on purpose is a rule that nobody knows to work."""
    tested = "\n".join(path.read_text() for pattern in ("*.py", "expected.txt") for path in TESTS.rglob(pattern))
    untested = [name for name in [*(rule.name for rule in all_rules()), *(name for name, _, _ in KERNEL_RULES)] if name not in tested]
    assert untested == []


def test_every_refusal_of_the_kernel_is_listed() -> None:
    """`nnix rules` knows each name that the code can refuse under."""
    source = Path(__file__).parents[3] / "src/nnix"
    said = {name for path in source.rglob("*.py") for name in re.findall(r'"(kernel\.[a-z-]+)"', path.read_text())}
    assert said == {name for name, _, _ in KERNEL_RULES if name.startswith("kernel.")}
