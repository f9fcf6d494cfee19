"""A clearing is held against the book that it was made of: what was altered, invented or left out in its inputs is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from nnix.cli.clearing import SPOT_HOURS
from nnix.cli.clearing_and_book import orders_differ
from nnix.kernel.resource import Json
from nnix.planes.compute.kinds import hour_named
from nnix.planes.compute.market.orders import Aside, orders
from nnix.planes.compute.market.record import WANT
from nnix.planes.fabric.reach import free, reach
from tests.unit.compute.exchanges import GPU, RIGHT, Changes, snapshot
from tests.unit.compute.test_network import FIRST, THREE, tags_taken

Inputs = dict[str, Any]

_BUNDLE = {"device": GPU, "devices": 8, "hours": 2, "start": "2026-11-26T09Z", "latest": "2026-11-26T12Z"}
BOOK = snapshot(
    {
        **THREE,
        "Bid/train": {"bundles": [_BUNDLE]},
        "Bid/other": {"member": "archive", "limit": "400yuan", "bundles": [{**_BUNDLE, "devices": 16, "site": "hz"}]},
        "Bid/later": {"member": "archive", "limit": "400yuan", "bundles": [{**_BUNDLE, "start": "2026-11-26T12Z", "site": "hz"}]},
        "Bid/filled": {"member": "archive", "limit": "400yuan", "bundles": [{**_BUNDLE, "start": "2026-11-26T12Z", "devices": 2}]},
        "Deal/filled-1": {
            "bid": "filled", "offer": "gpus-day", "pool": "gpus", "devices": 2, "hours": ["2026-11-26T12Z", "2026-11-26T13Z"], "prices": ["8yuan"] * 2,
        },
    }
)  # fmt: skip


def inputs(begin_before: int | None = None, end: int = FIRST + 24) -> Inputs:
    known = reach(BOOK)
    found: Inputs = orders(BOOK, known, free(BOOK, known), f"{hour_named(FIRST)[:-1]}:30:00Z", FIRST, end, begin_before).record()
    return found


@pytest.mark.parametrize("begin_before", [None, FIRST + SPOT_HOURS])
@pytest.mark.parametrize("end", [FIRST + 3, FIRST + 24, FIRST + 24 * 30])
def test_what_was_made_of_the_book_agrees_with_it(begin_before: int | None, end: int) -> None:
    """Of everything, or of what begins soon; a bid that can wait is not missed."""
    made = inputs(begin_before, end)
    assert orders_differ(BOOK, made) == []
    assert ("later" in {each["bid"] for each in made["buys"]}) == (begin_before is None)


def _buy(made: Inputs, name: str) -> Inputs:
    found: Inputs = next(each for each in made["buys"] if each["bid"] == name)
    return found


def _sell(made: Inputs, name: str) -> Inputs:
    found: Inputs = next(each for each in made["sells"] if each["offer"] == name)
    return found


def _alter(made: Inputs, **fields: Any) -> None:
    """The first want of `train`, with its links as a way of their own."""
    want = _buy(made, "train")["wants"][0]
    if "links" in fields:
        made["ways"].append(fields.pop("links"))
        fields["way"] = len(made["ways"]) - 1
    for field, value in fields.items():
        want[WANT.index(field)] = value


def _denied(made: Inputs, why: Aside) -> None:
    """Both alternatives of `train` are gone, for a reason that is not true."""
    _buy(made, "train").update(wants=[])
    made["aside"] += [{"bid": "train", "site": site, "device": GPU, "why": why.value} for site in ("hz", "wz")]


ALTERED: list[tuple[str, Callable[[Inputs], object]]] = [
    ("bid other stood in the book and was left out", lambda made: made["buys"].remove(_buy(made, "other"))),
    ("bid other asked for 16", lambda made: _buy(made, "other").update(wants=[])),
    (
        "bid train asked for 8",
        lambda made: (
            _buy(made, "train").update(wants=[]),
            made["aside"].append({"bid": "train", "site": "hz", "device": GPU, "why": Aside.OWN.value}),
        ),
    ),
    ("bid train asked for 8", lambda made: _buy(made, "train")["wants"].pop()),
    ("bid other of buyer", lambda made: _buy(made, "other").update(buyer="buyer")),
    ("bid nobody did not stand", lambda made: made["buys"].append({"bid": "nobody", "buyer": "buyer", "wants": []})),
    ("bid filled of archive", lambda made: made["buys"].append({"bid": "filled", "buyer": "archive", "wants": []})),
    ("bid train did not ask", lambda made: _alter(made, limit=10**6)),
    ("transfer is not 0 fen", lambda made: _alter(made, transfer=0)),
    ("do not lead there", lambda made: _alter(made, transfer=0, links=["port/archive"], rate=0)),
    ("other tagged ports", lambda made: [way.remove("port/archive") for way in made["ways"] if way]),
    ("takes 0 bit/s", lambda made: _alter(made, rate=0)),
    ("offer gpus-day stood in the book and was left out", lambda made: made["sells"].remove(_sell(made, "gpus-day"))),
    ("offer gpus-day did not", lambda made: _sell(made, "gpus-day").update(lots=[0] * 12)),
    ("offer gpus-day did not", lambda made: _sell(made, "gpus-day")["lots"].__setitem__(4, 16)),
    ("offer gpus-day did not", lambda made: _sell(made, "gpus-day").update(seller="south")),
    ("offer gpus-day did not", lambda made: _sell(made, "gpus-day").update(site="wz")),
    ("offer gpus-day did not", lambda made: _sell(made, "gpus-day").update(start=FIRST + 500)),
    ("offer gpus-day did not", lambda made: _sell(made, "gpus-day").update(ask=1)),
    ("for which hours", lambda made: made.update(first=FIRST + 4)),
    ("for which hours", lambda made: made.pop("first")),
    *((f"bid train asked for 8 of {GPU} at wz", partial(_denied, why=why)) for why in Aside if why is not Aside.BESIDE),
    ("are not free on link hz-nb", lambda made: made["free"].update({"hz-nb": 101 * 10**9})),
    ("does not say what is free on link hz-nb", lambda made: made["free"].pop("hz-nb")),
    ("are not what is free on port/archive", lambda made: made["free"].update({"port/archive": 10**9})),
    ("port archive has no room for 5", lambda made: made["room"].update(archive=5)),
    ("link tunnel was not up, and there is none", lambda made: made["dark"].append("tunnel")),
    ("do not lead there", lambda made: made["dark"].append("hz-nb")),
    ("at other ports", lambda made: _alter(made, ends=["archive"])),
    ("no clearing is made for", lambda made: made.update(begin_before=FIRST + 1)),
]


@pytest.mark.parametrize(("says", "alter"), ALTERED)
def test_what_was_altered_invented_or_left_out_is_found(says: str, alter: Callable[[Inputs], object]) -> None:
    made = copy.deepcopy(inputs())
    alter(made)
    assert any(says in each for each in orders_differ(BOOK, made)), orders_differ(BOOK, made)


def _port(name: str, **more: object) -> Json:
    return {**dict(THREE.get(f"Port/{name}") or RIGHT[f"Port/{name}"]), **more}


HINDERED: dict[str, tuple[Aside, Changes, dict[str, Any]]] = {
    "assurance": (Aside.ASSURANCE, {"Bid/train": {"bundles": [_BUNDLE], "assurance": 2}}, {}),
    "its own": (Aside.OWN, {"Bid/train": {"bundles": [_BUNDLE], "member": "south", "data": None}}, {}),
    "a pool without a port": (Aside.NO_PORT, {"Pool/south": {**dict(THREE["Pool/south"] or {}), "port": None}}, {}),
    "a port that is taken": (
        Aside.PORT_TAKEN,
        {"Port/south": _port("south", tagged=False), "Port/x": {"member": "south", "site": "hz", "speed": "10G"}, "Circuit/old": {"ends": ["south", "x"]}},
        {},
    ),
    "a port where a session is": (
        Aside.PORT_TAKEN,
        {
            "Port/south": _port("south", tagged=False),
            "Lan/peering": {"title": {"en": "LAN"}, "v4": "198.18.0.0/24"},
            "Session/south": {"member": "south", "port": "south", "lan": "peering", "v4": "198.18.0.5"},
        },
        {},
    ),
    "a gateway's port": (
        Aside.PORT_TAKEN, {"Port/south": _port("south", tagged=False, gateway={"ours": "192.0.2.1", "theirs": "192.0.2.2"})}, {},
    ),
    "the very port": (Aside.SAME_PORT, {"Pool/gpus": {"member": "archive", "site": "nb", "port": "archive", "identifiers": []}}, {}),
    "no tag left": (Aside.NO_TAG, tags_taken("archive", 4094), {}),
    "no way": (Aside.NO_WAY, {}, {"dark": frozenset({"hz-wz"})}),
    "too far": (Aside.TOO_FAR, {"Bid/train": {"bundles": [_BUNDLE], "latency_max": "2ms"}}, {}),
    "a link that is full": (Aside.RATE, {}, {"load": {"hz-wz": 99.5e9}}),
    "a port that is narrow": (Aside.RATE, {"Port/south": _port("south", speed="100M")}, {}),
    "too late": (Aside.LATE, {"Bid/train": {"bundles": [_BUNDLE], "rate": "100M"}}, {}),
    "a contract that ends": (Aside.CONTRACT, {"DataContract/cargo": {**RIGHT["DataContract/cargo"], "until": "2026-11-26T10Z"}}, {}),
    "too few": (Aside.FEW, {"Bid/train": {"bundles": [{**_BUNDLE, "devices": 17}]}}, {}),
    "too dear": (Aside.DEAR, {"Bid/train": {"bundles": [_BUNDLE], "limit": "140yuan"}}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", HINDERED)
def test_a_reason_that_is_true_is_borne_out_and_one_that_is_not_told_is_missed(case: str) -> None:
    """Each reason by itself, seen by who clears and by who checks; and a want that should have been set aside for it."""
    why, changes, network = HINDERED[case]
    book = snapshot({**THREE, "Bid/train": {"bundles": [_BUNDLE]}, **changes})
    known = reach(book, network.get("dark", frozenset()))
    left = free(book, known, network.get("load"))
    now = f"{hour_named(FIRST)[:-1]}:30:00Z"
    made: Inputs = orders(book, known, left, now, FIRST, FIRST + 24, dark=network.get("dark", frozenset())).record()
    assert why.value in {row["why"] for row in made["aside"] if row["bid"] == "train"}
    assert orders_differ(book, made) == []
    without = {**made, "aside": [row for row in made["aside"] if row["why"] != why.value]}
    assert any("which was left out" in each for each in orders_differ(book, without))
