"""Each rule of compute and data: a market that is right breaks none, and one small change breaks that one rule."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nnix.kernel.resource import Json
from nnix.kernel.rule import judge
from nnix.planes.compute.kinds import hour_named, hour_number
from nnix.planes.compute.rules import RULES
from nnix.planes.data.kinds import HOUR_PATTERN
from nnix.planes.data.rules import RULES as DATA_RULES
from nnix.planes.members.kinds import Money

from .exchanges import GPU, NPU, RIGHT, Changes, snapshot

_BUNDLE: Json = {"device": NPU, "devices": 8, "hours": 4, "start": "2026-11-26T09Z"}
_CONTRACT: Json = {"provider": "buyer", "consumer": "east", "dataset": "cargo", "site": "nb", "gigabytes": 1, "until": "2027-01-01T00Z"}

CIRCUIT: Changes = {"Circuit/deal-train": {"ends": ["archive", "east"]}}
"""what follows from the deal, which rules look at"""

LIMITED: list[Json] = [{"device": GPU, "devices": 8, "hours": 2, "start": "2026-11-26T10Z", "limit": "155yuan"}]
"""what the deal gives, which costs 156 yuan, at a limit below that"""

WRONG: list[tuple[str, Changes, str]] = [
    ("compute.market-once", {"Market/other": {}}, "market/other"),
    ("compute.clearing-rhythm", {"Market/market": {"spot_every": "0s"}}, "market/market"),
    ("compute.clearing-rhythm", {"Market/market": {"forwards_every": "9s"}}, "market/market"),
    ("compute.clearing-rhythm", {"Market/market": {"match_every": "900ms"}}, "market/market"),
    ("compute.clearing-rhythm", {"Market/market": {"spot_every": "2h"}}, "market/market"),
    ("compute.clearing-rhythm", {"Market/market": {"spot_every": "2min", "forwards_every": "1min"}}, "market/market"),
    ("compute.pool-port-at-home", {"Pool/gpus": {"port": "north"}}, "pool/gpus"),
    ("compute.pool-nodes-add-up", {"Pool/gpus": {"devices": 24}}, "pool/gpus"),
    ("compute.pool-on-one-machine", {"Machine/big": {"reach": "ssh"}, "Pool/gpus": {"machine": "big"}, "Pool/npus": {"machine": "big"}}, "pool/gpus"),
    ("compute.pool-on-one-machine", {"Machine/big": {"reach": "ssh"}, "Pool/gpus": {"nodes": [{"name": "n1", "machine": "big", "devices": 16}]}}, "pool/gpus"),
    ("compute.lots-alike", {"Pool/more": {**RIGHT["Pool/npus"], "port": None, "assurance": 2}}, "pool/npus"),
    ("compute.pool-identified-once", {"Pool/npus": {"identifiers": RIGHT["Pool/gpus"]["identifiers"]}}, "pool/npus"),
    ("compute.window-has-hours", {"Offer/gpus-day": {"end": "2026-11-26T08Z"}}, "offer/gpus-day"),
    ("compute.window-has-hours", {"Offer/gpus-day": {"end": "2028-11-26T08Z"}}, "offer/gpus-day"),
    ("compute.offer-once", {"Offer/npus-day": {"lots": 8}, "Offer/z-again": {**RIGHT["Offer/npus-day"], "lots": 8}}, "offer/z-again"),
    ("compute.offer-within-pool", {"Offer/more": {**RIGHT["Offer/gpus-day"], "lots": 1, "start": "2026-11-26T19Z"}}, "pool/gpus"),
    ("compute.ask-in-bounds", {"Offer/gpus-day": {"ask": "0fen"}}, "offer/gpus-day"),
    ("compute.ask-in-bounds", {"Offer/gpus-day": {"ask": "200000yuan"}}, "offer/gpus-day"),
    ("compute.bid-asks-something", {"Bid/search": {"conversions": []}}, "bid/search"),
    ("compute.bid-asks-something", {"Bid/search": {"start": None}}, "bid/search"),
    ("compute.bid-asks-something", {"Bid/search": {"bundles": [_BUNDLE]}}, "bid/search"),
    ("compute.start-before-latest", {"Bid/search": {"latest": "2026-11-26T08Z"}}, "bid/search"),
    ("compute.bundle-once", {"Bid/train": {"bundles": [_BUNDLE, _BUNDLE]}}, "bid/train"),
    ("compute.bid-once", {"Bid/z-again": RIGHT["Bid/search"]}, "bid/z-again"),
    ("compute.device-known", {"Bid/train": {"bundles": [{**_BUNDLE, "device": "nvidia/b300"}]}}, "bid/train"),
    ("compute.device-known", {"Bid/train": {"bundles": [{**_BUNDLE, "site": "hz"}]}}, "bid/train"),
    ("compute.limit-in-bounds", {"Bid/train": {"limit": "0fen"}}, "bid/train"),
    ("compute.limit-in-bounds", {"Bid/train": {"limit": "9999999999yuan"}}, "bid/train"),
    ("compute.limit-in-bounds", {"Bid/search": {"limit": "0fen"}}, "bid/search"),
    ("compute.limit-in-bounds", {"Bid/search": {"limit": "9999999999yuan"}}, "bid/search"),
    ("compute.bid-port-fits", {"Bid/train": {"port": "buyer"}}, "bid/train"),
    ("compute.bid-port-fits", {"Bid/search": {"latency_max": "2ms"}}, "bid/search"),
    ("compute.data-by-contract", {"DataContract/cargo": {"consumer": "north"}}, "bid/train"),
    ("compute.data-by-contract", {"DataContract/cargo": {"gigabytes": 399}}, "bid/train"),
    ("compute.conversion-measured", {"Job/speed": {"member": "north"}}, "bid/search"),
    ("compute.deal-adds-up", {"Deal/train-1": {"prices": ["8yuan"]}}, "deal/train-1"),
    ("compute.deal-adds-up", {"Deal/train-1": {"hours": ["2026-11-26T19Z", "2026-11-26T20Z"]}}, "deal/train-1"),
    ("compute.deal-at-no-loss", {"Deal/train-1": {"prices": ["8yuan", "7.99yuan"]}}, "deal/train-1"),
    ("compute.deal-at-no-loss", {"Deal/train-1": {"prices": ["18yuan", "17.01yuan"]}}, "deal/train-1"),
    ("compute.deal-at-no-loss", {"Bid/train": {"limit": "1000yuan", "bundles": [*LIMITED, {**LIMITED[0], "hours": 10, "limit": "900yuan"}]}}, "deal/train-1"),
    ("compute.deal-at-no-loss", {"Bid/train": {"limit": "1000yuan", "bundles": [*LIMITED, {**LIMITED[0], "start": "2026-11-26T14Z", "limit": "900yuan"}]}}, "deal/train-1"),
    ("compute.lots-sold-once", {"Offer/gpus-day": {"lots": 7}}, "offer/gpus-day"),
    ("compute.bid-filled-whole", {"Deal/train-1": {"devices": 7}}, "bid/train"),
    ("compute.bid-filled-whole", {"Deal/train-1": {"hours": ["2026-11-26T13Z", "2026-11-26T14Z"]}}, "bid/train"),
    ("compute.deal-has-circuit", {"Circuit/deal-train": None}, "deal/train-1"),
    ("compute.deal-has-circuit", {"Circuit/deal-train": {"ends": ["archive", "buyer"]}}, "deal/train-1"),
    ("compute.deal-has-circuit", {"Pool/gpus": {"port": None}}, "deal/train-1"),
    ("compute.job-has-place", {"Job/train": {"member": "north"}}, "job/train"),
    ("compute.job-has-place", {"Pool/gpus": {"probes": False}}, "job/speed"),
    ("compute.job-fits-deal", {"Job/train": {"workers": 9}}, "job/train"),
    ("compute.job-fits-deal", {"Job/train": {"workers": 9, "device_percent": 60, "devices": 1}}, "job/train"),
    ("compute.checkpoint-in-time", {"Job/train": {"checkpoint": "601s"}}, "job/train"),
    ("compute.job-can-start", {"Job/train": {"image": "train:1"}}, "job/train"),
    ("compute.job-can-start", {"Pool/gpus": {"engine": "kubernetes"}}, "job/train"),
    ("compute.job-can-start", {"Pool/gpus": {"engine": "slurm"}, "Job/train": {"device_percent": 50}}, "job/train"),
    ("data.contract-two-parties", {"DataContract/cargo": {"provider": "buyer"}}, "data-contract/cargo"),
    ("data.contract-passes-on", {"DataContract/more": {**_CONTRACT, "under": "cargo"}}, "data-contract/more"),
]  # fmt: skip


def test_what_is_right_breaks_no_rule() -> None:
    assert judge(snapshot(CIRCUIT), (*RULES, *DATA_RULES)) == ()


@pytest.mark.parametrize(("rule", "changes", "resource"), WRONG, ids=[f"{rule} {number}" for number, (rule, _, _) in enumerate(WRONG)])
def test_each_rule_refuses_what_it_is_for(rule: str, changes: Changes, resource: str) -> None:
    """By name, and naming the resource."""
    assert (rule, resource) in {(each.rule, each.resource) for each in judge(snapshot(CIRCUIT | changes), (*RULES, *DATA_RULES))}


def test_every_rule_is_broken_here() -> None:
    assert {each.name for each in (*RULES, *DATA_RULES)} == {rule for rule, _, _ in WRONG}


@pytest.mark.parametrize("written", ["12.34", "¥12", "-1yuan", "NaN", "nanfen", "1.5fen", "1e3yuan", "10000000000.01yuan", "12 CNY", ""])
def test_money_that_could_be_misread_is_refused(written: str) -> None:
    """No unit, the yen's sign, less than nothing, no number, half a fen, too much."""
    with pytest.raises(ValueError, match=r"."):
        Money.parse(written)


def test_money_is_whole_fen_however_it_is_written() -> None:
    assert Money.parse("12.34yuan") == Money.parse("1234 fen") == 1234
    assert str(Money(1234)) == "12.34yuan"
    assert str(Money(7)) == "7fen"


@pytest.mark.parametrize("field", ["devices", "lots", "work_per_hour"])
@pytest.mark.parametrize("number", [0, -1, math.nan, 10**18])
def test_numbers_of_devices_are_positive_and_bounded(field: str, number: float) -> None:
    """Negative, not a number, oversize: refused by the field's type, before any rule."""
    where: dict[str, Changes] = {
        "devices": {"Bid/train": {"bundles": [{**_BUNDLE, "devices": number}]}},
        "lots": {"Offer/gpus-day": {"lots": number}},
        "work_per_hour": {"Bid/search": {"conversions": [{"device": GPU, "work_per_hour": number}]}},
    }
    with pytest.raises(ValidationError):
        snapshot(where[field])


@pytest.mark.parametrize(
    "hour", ["2026-02-29T08Z", "2026-04-31T08Z", "2026-11-26T24Z", "2026-13-01T00Z", "2026-11-26", "2026-11-26T08:30Z"]
)
def test_an_hour_that_no_calendar_has_is_refused(hour: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        snapshot({"Offer/gpus-day": {"start": hour}})
    with pytest.raises(ValidationError, match="pattern"):
        snapshot({"DataContract/cargo": {"until": hour}})


@given(st.integers(min_value=0, max_value=100 * 365 * 24))
def test_every_hour_of_the_calendar_has_a_name_and_is_found_by_it(since_2000: int) -> None:
    """Leap days too."""
    number = hour_number("2000-01-01T00Z") + since_2000
    assert hour_number(hour_named(number)) == number
    assert re.match(HOUR_PATTERN, hour_named(number))


@pytest.mark.parametrize("fields", [{"entry": ["sh", "a\rb"]}, {"entry": ["a\0b"]}, {"devices": 0, "workers": 100_000}])
def test_a_job_that_nothing_could_run_is_refused(fields: Json) -> None:
    """No program can be given a NUL (execve(2)), and Slurm takes no script with a carriage return; workers without devices are not what was bought."""
    with pytest.raises(ValidationError):
        snapshot({"Job/train": fields})
