"""Each rule of accounts: terms that are right break none, and one small change breaks that one rule."""

from __future__ import annotations

import pytest

from nnix.kernel.resource import Json
from nnix.kernel.rule import judge
from nnix.planes.account.rules import RULES
from tests.unit.compute.exchanges import RIGHT, Changes, snapshot

DIGEST = "a" * 64
TERMS: Changes = {
    "Tariff/y2026": {
        "title": {"en": "2026"}, "start": "2026-01-01T00Z", "buyer_fee_permille": 10,
        "credits": [{"cause": "node-lost", "percent": 100}], "ports": [{"speed": "100G", "month": "8000yuan"}],
        "tiers": [{"name": "small", "title": {"en": "Small"}, "classes": ["sme"], "fee_percent": 50}],
        "subsidies": [{"name": "vouchers", "title": {"en": "Vouchers"}, "members": ["buyer"], "percent": 30}],
    },
    "Tariff/y2027": {"title": {"en": "2027"}, "start": "2027-01-01T00Z"},
    "ServiceCredit/outage": {"member": "buyer", "amount": "120yuan", "giver": "east", "about": "deal/train-1", "reason": "cut off"},
    "Settlement/s1": {
        "number": 1, "until": "2026-11-26T12:00:00Z", "model": 7, "lines": 3, "turnover": "10yuan", "digest": DIGEST,
        "heads": [{"pool": "gpus", "seq": 4, "digest": DIGEST}], "credits": ["outage"],
    },
    "Settlement/s2": {
        "number": 2, "until": "2026-11-26T13:00:00Z", "model": 9, "lines": 0, "turnover": "0fen", "digest": DIGEST,
        "heads": [{"pool": "gpus", "seq": 4, "digest": DIGEST}],
    },
    "Invoice/i1": {"member": "buyer", "settlement": "s1", "owes": "10yuan", "owed": "0fen", "digest": DIGEST},
    "Invoice/i2": {"member": "east", "settlement": "s1", "owes": "0fen", "owed": "10yuan", "digest": DIGEST},
    "Dispute/d1": {
        "invoice": "i1", "line": "train-1/use", "amount": "4yuan", "reason": "was killed",
        "events": [{"event": "answer", "at": "2026-12-01T08:00:00Z"}, {"event": "settle", "at": "2026-12-02T08:00:00Z", "refund": "1yuan"}],
    },
}  # fmt: skip


def changed(name: str, **fields: object) -> Changes:
    return {name: {**(TERMS[name] or {}), **fields}}


def _tariff(**fields: object) -> Changes:
    return changed("Tariff/y2026", **fields)


def _again(name: str, like: str, **fields: object) -> Changes:
    return {name: {**(TERMS[like] or {}), **fields}}


NOBODY: Json = {"name": "small", "title": {"en": "Small"}}
HALF: Json = {"name": "half", "title": {"en": "Half"}, "classes": ["sme"], "percent": 71}
ANSWER: Json = {"event": "answer", "at": "2026-12-01T08:00:00Z"}

WRONG: list[tuple[str, Changes, str]] = [
    ("account.tariff-one-at-a-time", _tariff(end="2026-01-01T00Z"), "tariff/y2026"),
    ("account.tariff-one-at-a-time", _tariff(end="2027-01-01T01Z"), "tariff/y2027"),
    ("account.tariff-one-at-a-time", _again("Tariff/z", "Tariff/y2026"), "tariff/z"),
    ("account.tier-for-somebody", _tariff(tiers=[NOBODY]), "tariff/y2026"),
    ("account.tier-for-somebody", _tariff(tiers=[{**NOBODY, "classes": ["sme"]}] * 2), "tariff/y2026"),
    ("account.subsidy-for-somebody", _tariff(subsidies=[{**NOBODY, "percent": 1}]), "tariff/y2026"),
    ("account.subsidies-below-price", _tariff(subsidies=[HALF, {**HALF, "name": "other", "percent": 30}]), "tariff/y2026"),
    ("account.term-once", _tariff(credits=[{"cause": "node-lost", "percent": 1}] * 2), "tariff/y2026"),
    ("account.term-once", _tariff(ports=[{"speed": "100G", "month": "1yuan"}, {"speed": "100000M", "month": "2yuan"}]), "tariff/y2026"),
    ("account.credit-between-two", changed("ServiceCredit/outage", giver="buyer"), "service-credit/outage"),
    ("account.credit-between-two", changed("ServiceCredit/outage", amount="0fen"), "service-credit/outage"),
    ("account.settlement-in-line", changed("Settlement/s2", number=3), "settlement/s2"),
    ("account.settlement-in-line", changed("Settlement/s2", number=1), "settlement/s2"),
    ("account.settlement-in-line", changed("Settlement/s2", until="2026-11-26T12:00:00Z"), "settlement/s2"),
    ("account.settlement-in-line", changed("Settlement/s2", heads=[]), "settlement/s2"),
    ("account.settlement-in-line", changed("Settlement/s2", heads=[{"pool": "gpus", "seq": 3, "digest": DIGEST}]), "settlement/s2"),
    ("account.settlement-in-line", changed("Settlement/s2", credits=["outage"]), "settlement/s2"),
    ("account.invoice-once", changed("Invoice/i2", member="buyer"), "invoice/i2"),
    ("account.dispute-in-order", changed("Dispute/d1", events=[{**ANSWER, "event": "reject"}]), "dispute/d1"),
    ("account.dispute-in-order", changed("Dispute/d1", events=[ANSWER, {"event": "reject", "at": "2026-11-30T08:00:00Z"}]), "dispute/d1"),
    ("account.dispute-in-order", changed("Dispute/d1", events=[ANSWER, {**ANSWER, "event": "settle"}]), "dispute/d1"),
    ("account.dispute-in-order", changed("Dispute/d1", events=[{**ANSWER, "refund": "1yuan"}]), "dispute/d1"),
    ("account.dispute-in-order", changed("Dispute/d1", events=[ANSWER, {**ANSWER, "event": "settle", "refund": "5yuan"}]), "dispute/d1"),
    ("account.dispute-about-what-is-owed", changed("Dispute/d1", amount="11yuan"), "dispute/d1"),
    ("account.dispute-about-what-is-owed", _again("Dispute/d2", "Dispute/d1"), "dispute/d2"),
]


def test_what_is_right_breaks_no_rule() -> None:
    assert [str(each) for each in judge(snapshot(TERMS), RULES)] == []
    assert RIGHT  # the market stands beside it


@pytest.mark.parametrize(("rule", "changes", "resource"), WRONG, ids=[f"{rule} {number}" for number, (rule, _, _) in enumerate(WRONG)])
def test_each_rule_refuses_what_it_is_for(rule: str, changes: Changes, resource: str) -> None:
    """By name, naming the resource, and no other rule objects."""
    assert {(each.rule, each.resource) for each in judge(snapshot({**TERMS, **changes}), RULES)} == {(rule, resource)}


def test_every_rule_is_broken_here() -> None:
    assert {each.name for each in RULES} == {rule for rule, _, _ in WRONG}
