"""What follows from deals: each has its own, whatever bids, pools and members are called."""

from __future__ import annotations

import re

import pytest

from nnix.cli.root import ALL_PLANES
from nnix.kernel.change import admit, completed
from nnix.kernel.resource import NAME_PATTERN
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute import allocate
from nnix.planes.compute.derive import circuit_of, named
from nnix.planes.data.kinds import DataContract
from nnix.planes.fabric.kinds import Circuit, Port

from .exchanges import GPU, RIGHT, Changes, snapshot

_BUNDLE = {"device": GPU, "devices": 8, "hours": 1, "start": "2026-11-26T09Z", "site": "hz"}
_DEAL = {"offer": "o1", "devices": 8, "hours": ["2026-11-26T09Z"], "prices": ["8yuan"]}

# Bid `a` is filled by pool `b-c` of member `b-c`, and bid `a-b` by pool `c` of member `c`.
CALLED_ALIKE: Changes = {
    "Bid/train": None,
    "Bid/search": None,
    "Job/train": None,
    "Job/speed": None,
    "Deal/train-1": None,
    "Offer/gpus-day": None,
    "Pool/gpus": None,
    "Member/b-c": RIGHT["Member/east"] | {"asn": 64508},
    "Member/c": RIGHT["Member/east"] | {"asn": 64509},
    "Port/b-c": RIGHT["Port/east"] | {"member": "b-c"},
    "Port/c": RIGHT["Port/east"] | {"member": "c"},
    "Pool/b-c": RIGHT["Pool/gpus"] | {"member": "b-c", "port": "b-c", "identifiers": []},
    "Pool/c": RIGHT["Pool/gpus"] | {"member": "c", "port": "c", "identifiers": []},
    "Offer/o1": RIGHT["Offer/gpus-day"] | {"pool": "b-c"},
    "Offer/o2": RIGHT["Offer/gpus-day"] | {"pool": "c"},
    "Bid/a": {
        "member": "buyer", "limit": "300yuan", "port": "buyer", "bundles": [_BUNDLE], "data": {"dataset": "one", "site": "hz", "gigabytes": 4},
    },
    "Bid/a-b": {
        "member": "archive", "limit": "300yuan", "port": "archive", "bundles": [_BUNDLE], "data": {"dataset": "two", "site": "nb", "gigabytes": 4},
    },
    "Deal/a-1": {**_DEAL, "bid": "a", "pool": "b-c"},
    "Deal/a-b-1": {**_DEAL, "bid": "a-b", "offer": "o2", "pool": "c"},
}  # fmt: skip


def test_names_of_other_parts_are_other_names() -> None:
    """However long the parts are, it is a name."""
    parts = [
        ("deal", "a", "b-c"),
        ("deal", "a-b", "c"),
        ("deal", "a-b-c"),
        ("deal", "a", "b", "c"),
        ("deal", "x" * 63, "y" * 63),
        ("deal", "x" * 62, "y" * 63),
    ]
    names = {named(*each) for each in parts}
    assert len(names) == len(parts)
    assert all(re.fullmatch(NAME_PATTERN, each) for each in names)
    assert named("deal", "train", "gpus") == "deal-train-gpus"


def test_no_deal_takes_anothers_circuit_or_contract() -> None:
    """Each circuit joins its own buyer and its own pool; each buyer's data may be read by the member of its own pool."""
    made = completed(ALL_PLANES, snapshot(CALLED_ALIKE), Snapshot())
    for bid, buyer, pool in (("a", "buyer", "b-c"), ("a-b", "archive", "c")):
        circuit = made.get(Circuit, circuit_of(bid))
        assert circuit is not None
        assert [str(made.at(end).over) for end in circuit.ends] == [buyer, pool]
    read_by = {(str(each.provider), str(each.consumer)) for each in made.of(DataContract) if each.owner is not None}
    assert read_by == {("buyer", "b-c"), ("archive", "c")}


def test_a_pool_may_be_called_buyer() -> None:
    """As its circuit's other end is."""
    called: Changes = {
        "Pool/gpus": None, "Pool/buyer": RIGHT["Pool/gpus"], "Offer/gpus-day": {"pool": "buyer"}, "Deal/train-1": {"pool": "buyer"},
        "Job/speed": {"probe": "buyer"},
    }  # fmt: skip
    made = completed(ALL_PLANES, snapshot(called), Snapshot())
    assert {str(each.over) for each in made.of(Port) if each.over is not None} == {"archive", "east"}


def test_a_deal_for_whose_circuit_no_tag_is_left_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By rule; with a tag for each end it is admitted."""

    def refused() -> set[str]:
        try:
            admit(ALL_PLANES, snapshot({}), Snapshot())
        except Refused as why:
            return {each.rule for each in why.refusals if each.rule.startswith("compute.")}
        return set()

    assert refused() == set()
    monkeypatch.setattr(allocate, "TAGS", range(1, 1))
    assert refused() == {"compute.deal-has-circuit"}
