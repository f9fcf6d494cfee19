"""Surveillance: each sort of abuse is found with the deals that show it, and an honest market gives no finding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

import pytest

from nnix.kernel.resource import Json
from nnix.planes.compute.market.plot import lines
from nnix.planes.compute.market.watch import suspicions

from .exchanges import GPU, NPU, RIGHT, Changes, snapshot

SVG = "{http://www.w3.org/2000/svg}"


def _bid(member: str) -> Json:
    return {"member": member, "limit": "100yuan", "bundles": [{"device": GPU, "devices": 1, "hours": 1, "start": "2026-11-26T09Z"}]}


def _deal(bid: str, hour: int, price: str, devices: int = 1, pool: str = "gpus") -> Json:
    fields = {"bid": bid, "offer": f"{pool}-day", "pool": pool, "devices": devices, "hours": [f"2026-11-26T{hour:02}Z"], "prices": [price]}
    return {**fields}


QUIET: Changes = {"Deal/train-1": None, "Job/train": None, "Bid/mine": _bid("buyer"), "Bid/other": _bid("archive")}


def sorts(changes: Changes) -> dict[str, tuple[str, ...]]:
    return {each.sort: each.deals for each in suspicions(snapshot({**QUIET, **changes}))}


def test_an_honest_market_gives_no_finding() -> None:
    """Two buyers, small parts, steady prices."""
    assert sorts({f"Deal/d{h}": _deal("mine" if h % 2 else "other", h, "8yuan") for h in range(9, 15)}) == {}


def test_cornering_is_found() -> None:
    """One buyer holds most of the lots of a product over hours."""
    assert sorts({f"Deal/d{h}": _deal("mine", h, "8yuan", devices=10) for h in (9, 10)}) == {"cornering": ("d10", "d9")}


def test_self_dealing_is_found() -> None:
    """Through whatever bid: the pool's member is the buyer."""
    assert sorts({"Bid/own": _bid("east"), "Deal/d": _deal("own", 9, "8yuan")}) == {"self-dealing": ("d",)}


def test_wash_trades_are_found() -> None:
    """East and north sell GPUs to each other."""
    back: Changes = {
        "Pool/north": {**RIGHT["Pool/npus"], "device": GPU, "port": None},
        "Offer/north-day": {**RIGHT["Offer/npus-day"], "pool": "north"},
        "Bid/e": _bid("east"),
        "Bid/n": _bid("north"),
        "Deal/there": _deal("n", 9, "8yuan"),
        "Deal/back": _deal("e", 11, "8yuan", pool="north"),
    }
    assert sorts(back) == {"wash trades": ("back", "there")}
    assert sorts({**back, "Pool/north": {**RIGHT["Pool/npus"], "device": NPU, "port": None}}) == {}


def test_a_price_spike_is_found() -> None:
    """Three times the median of earlier hours; twice is not one."""
    usual: Changes = {f"Deal/d{h}": _deal("mine" if h % 2 else "other", h, "8yuan") for h in (9, 10, 11)}
    assert sorts({**usual, "Deal/high": _deal("mine", 12, "24yuan")}) == {"price spike": ("high",)}
    assert sorts({**usual, "Deal/high": _deal("mine", 12, "23.99yuan")}) == {}


def test_a_picture_is_the_same_for_the_same_figures_and_holds_no_markup_of_its_labels() -> None:
    first, second = (lines("Prices <b>", "hour", "yuan", {"a & b": [(1, 2.0), (2, 3.0)], "flat": []}) for _ in range(2))
    assert first == second
    assert "<b>" not in first
    assert "a &amp; b" in first


def drawn(series: Mapping[str, Sequence[tuple[float, float]]], apart_max: float = math.inf) -> ElementTree.Element:
    return ElementTree.fromstring(lines("Prices", "hour", "yuan", series, apart_max=apart_max))  # noqa: S314 - our own


def test_a_picture_has_room_for_all_names_and_shows_each_beside_a_piece_of_its_line() -> None:
    """Thirty products, one with a long name: no name ends outside, and colour and dashes of a name's key are those of its line."""
    names = [f"huawei/ascend-910b at the-farthest-of-all-sites-{number}" for number in range(28)]
    shown = drawn({name: [(1, 2.0), (2, 3.0)] for name in names})
    width, height = map(float, shown.attrib["viewBox"].split()[2:])
    at = {each.text: (float(each.attrib["x"]), float(each.attrib["y"])) for each in shown.iter(f"{SVG}text") if each.text in names}
    assert len(at) == len(names)
    assert all(x + 7 * len(name) <= width and y < height for name, (x, y) in at.items() if name)
    kinds = [(each.attrib["stroke"], each.attrib.get("stroke-dasharray")) for each in shown.iter(f"{SVG}polyline")]
    keys = [
        (each.attrib["stroke"], each.attrib.get("stroke-dasharray")) for each in shown.iter(f"{SVG}line") if "stroke-width" in each.attrib
    ]
    assert kinds == keys and len(set(kinds)) == len(names)


def test_no_line_is_drawn_over_hours_in_which_nothing_was_traded() -> None:
    """Traded in hours 1, 2, 5 and 9: one line from the first to the second, and two single points."""
    prices = [(1, 2.0), (2, 3.0), (5, 2.5), (9, 2.0)]
    shown = drawn({"gpus": prices}, apart_max=1)
    assert [len(each.attrib["points"].split()) for each in shown.iter(f"{SVG}polyline")] == [2, 1, 1]
    assert len(list(shown.iter(f"{SVG}circle"))) == 4


@pytest.mark.parametrize("most", [0.0, 0.01, 0.09, 8.9, 47.2, 100.0, 98_765.43])
def test_a_picture_reaches_the_highest_price_with_ticks_in_whole_fen(most: float) -> None:
    shown = drawn({"gpus": [(1, most)]})
    ticks = [float(each.text or "") for each in shown.iter(f"{SVG}text") if each.attrib.get("text-anchor") == "end" and each.text != "yuan"]
    assert ticks[-1] >= most and [each * 4 for each in ticks] == pytest.approx([ticks[-1] * number for number in range(5)])
