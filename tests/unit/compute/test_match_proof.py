"""The proof of a match: what the continuous book does proves itself, on books that are drawn, and whatever is altered in its record is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from nnix.cli.match_and_book import Stood, match_differs
from nnix.kernel.resource import Resource
from nnix.planes.compute.kinds import Deal, Offer, hour_named, hour_number
from nnix.planes.compute.market.continuous import Match, Side, match, matched, meets
from nnix.planes.compute.market.record import digest_of
from nnix.planes.compute.market.verify_match import match_faults
from tests.unit.compute.exchanges import GPU, NPU, Changes, snapshot
from tests.unit.compute.test_clearing import altered, leaves
from tests.unit.compute.test_continuous import ALONE, Book, books

FIRST = hour_number("2026-11-26T08Z")
NINE = "2026-11-26T09Z"
Record = dict[str, Any]


@settings(max_examples=300, deadline=None)
@given(books(), books())
def test_what_was_matched_proves_itself(one: Book, other: Book) -> None:
    """Two products at once, each let in again by code that has only the format in common."""
    cells = {("hz", "a/x", 9): Side(*one), ("nb", "a/x", 9): Side(*other)}
    fills = {cell: matched(side.asks, side.calls) for cell, side in cells.items()}
    found = Match("now", cells, {cell: each for cell, each in fills.items() if each})
    assert match_faults(found.record()) == ()


def _lots(name: str, devices: int, limit: str, site: str = "hz", device: str = GPU, **more: object) -> Changes:
    bundle = {"device": device, "devices": devices, "hours": 1, "start": NINE, "site": site}
    return {f"Bid/{name}": {"member": "buyer", "limit": limit, "bundles": [bundle], **more}}


BOOK: Changes = {
    **ALONE,
    **_lots("early", 10, "90yuan"),
    **_lots("late", 8, "80yuan", member="archive"),
    **_lots("low", 2, "10yuan"),
    **_lots("north", 4, "24yuan", site="nb", device=NPU),
    "Offer/more": {"pool": "gpus", "lots": 4, "ask": "7yuan", "start": NINE, "end": "2026-11-26T11Z"},
}
CAME = {"offer/gpus-day": 1, "offer/npus-day": 1, "bid/low": 1, "bid/early": 2, "bid/late": 3, "offer/more": 4, "bid/north": 4}


def example() -> Match:
    """At hz a bid fills from an offer that was there; an offer that comes later makes a second one whole, which then takes from both. At nb one product more."""
    return match(snapshot(BOOK), CAME, f"{hour_named(FIRST)[:-1]}:30:00Z", FIRST, FIRST + 24)


def test_the_example_is_what_it_says() -> None:
    assert [(each["bid"], each["offer"], each["lots"], each["fen"]) for each in example().record()["fills"]] == [
        ("early", "gpus-day", 10, 800),
        ("late", "more", 4, 1000),
        ("late", "gpus-day", 4, 800),
        ("north", "npus-day", 4, 500),
    ]
    assert match_faults(example().record()) == ()
    assert meets(snapshot(BOOK), FIRST, FIRST + 24)
    assert not meets(snapshot(BOOK).replaced(example().deals()), FIRST, FIRST + 24)
    assert not meets(snapshot(BOOK), FIRST + 2, FIRST + 24), "what is over does not meet"


def test_whatever_is_altered_is_found() -> None:
    record = example().record()
    places = list(leaves(record))
    assert len(places) > 40
    for path in places:
        assert match_faults(altered(record, path)), path


def test_who_alters_and_signs_anew_is_found_where_somebody_is_harmed() -> None:
    """With a digest that fits again: who got what, for how much, left out, twice, in another sequence."""
    record = example().record()
    for path in leaves(record):
        if path[0] == "fills":
            fresh = altered(record, path)
            assert match_faults({**fresh, "digest": digest_of(fresh)}), path
    fills = record["fills"]
    for wrong in (fills[1:], [*fills, fills[0]], [fills[0], fills[2], fills[1], fills[3]], []):
        fresh = {**record, "fills": wrong}
        assert match_faults({**fresh, "digest": digest_of(fresh)}), wrong


def _hz(record: Record) -> Record:
    found: Record = record["inputs"]["products"][0]
    return found


CHEATS: dict[str, tuple[str, Callable[[Record], Any]]] = {
    "a field more": ("M2", lambda r: r.update(note="trust me")),
    "half a lot": ("M2", lambda r: r["fills"][0].update(lots=0.5)),
    "an order twice": ("M2", lambda r: _hz(r)["bids"].append(_hz(r)["bids"][0])),
    "a book twice": ("M2", lambda r: r["inputs"]["products"].append(_hz(r))),
    "more lots left than there were": ("M2", lambda r: _hz(r)["asks"][0].update(lots=99)),
    "a product of which nothing stood there": ("M3", lambda r: r["fills"][3].update(site="wz")),
    "an offer that did not stand there": ("M3", lambda r: r["fills"][0].update(offer="nobody")),
    "lots that were not there": ("M3", lambda r: _hz(r)["asks"][0].update(lots=12)),
    "a bid in part": ("M4", lambda r: r["fills"][0].update(lots=9)),
    "the other's price": ("M5", lambda r: r["fills"][0].update(fen=900)),
    "a member that sells to itself": ("M6", lambda r: [each.update(seller="archive") for each in _hz(r)["asks"]]),
    "who came first is passed by": ("M7", lambda r: _hz(r)["bids"].append({"entry": 1, "bid": "first", "buyer": "x", "fen": 900, "lots": 10})),
}  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
def test_each_check_finds_what_it_is_for(cheat: str) -> None:
    check, doing = CHEATS[cheat]
    record = copy.deepcopy(example().record())
    doing(record)
    record["digest"] = digest_of(record)
    assert check in {each.check for each in match_faults(record)}


@pytest.mark.parametrize("rubbish", [None, [], {}, {"format": 1}, "x", {"digest": 3}])
def test_what_is_no_record_is_a_fault_and_no_exception(rubbish: Any) -> None:
    assert match_faults(rubbish)


# --- against the book ---------------------------------------------------------------------------------------------------

STOOD = Stood(snapshot(BOOK), CAME, 5, 6)


def test_a_match_of_the_book_agrees_with_it_and_with_its_deals() -> None:
    """Carried out; not carried out; and with orders that came in by the same change."""
    found = example()
    assert list(match_differs(STOOD, list(found.deals()), found.record())) == []
    assert list(match_differs(STOOD, [], found.record())) == []
    late = {**CAME, "offer/more": 6}
    came = match(snapshot(BOOK), late, f"{hour_named(FIRST)[:-1]}:30:00Z", FIRST, FIRST + 24)
    without = snapshot({**BOOK, "Offer/more": None})
    put: list[Resource] = [*came.deals(), *(each for each in snapshot(BOOK).of(Offer) if each.name == "more")]
    assert list(match_differs(Stood(without, CAME, 5, 6), put, came.record())) == []
    assert list(match_differs(Stood(without, CAME, 5, 6), [], came.record())) == []


def _without(name: str) -> Callable[[Record], Any]:
    def out(record: Record) -> None:
        for book in record["inputs"]["products"]:
            for side in ("asks", "bids"):
                book[side] = [each for each in book[side] if name not in (each.get("offer"), each.get("bid"))]

    return out


ALTERED: list[tuple[str, Callable[[Record], Any]]] = [
    ("other bids stood", _without("low")),
    ("other asks stood", _without("gpus-day")),
    ("other asks stood", lambda r: _hz(r)["asks"][0].update(entry=3)),
    ("other asks stood", lambda r: _hz(r)["asks"][0].update(pool="npus")),
    ("other bids stood", lambda r: _hz(r)["bids"][0].update(fen=1)),
    ("orders met there, and were left out", lambda r: r["inputs"]["products"].pop()),
    ("is not the one that was published", lambda r: r["fills"][0].update(fen=801)),
    ("is not the one that was published", lambda r: r["fills"].pop()),
    ("did not come in with it", lambda r: _hz(r)["bids"][0].update(entry=6)),
    ("did not come in with it", lambda r: _hz(r)["bids"][0].update(entry=99)),
]


@pytest.mark.parametrize(("says", "alter"), ALTERED)
def test_what_was_altered_invented_or_left_out_is_found(says: str, alter: Callable[[Record], Any]) -> None:
    record = copy.deepcopy(example().record())
    alter(record)
    found = list(match_differs(STOOD, list(example().deals()), record))
    assert any(says in each for each in found), found


def test_deals_that_were_not_published_are_found() -> None:
    made = list(example().deals())
    other = [made[0].changed(devices=9), *made[1:]]
    assert all(isinstance(each, Deal) for each in other)
    assert any("is not the one" in each for each in match_differs(STOOD, other, example().record()))
    assert any("is not the one" in each for each in match_differs(STOOD, made[:1], example().record()))
