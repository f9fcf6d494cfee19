"""nnix compute, as people and programs meet it: orders in, the book, and what is told of orders that come too late."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nnix.kernel.document import write
from nnix.planes.compute.kinds import Bid, Deal, Job, Offer, hour_named, hour_of
from tests.unit.compute.exchanges import GPU, snapshot

from .test_cli import Nnix, nnix

__all__ = ["nnix"]

NOW = hour_of(datetime.now(UTC))


@pytest.fixture
def exchange(nnix: Nnix, tmp_path: Path) -> Path:
    """Pools and members, recorded; no orders yet."""
    folder = tmp_path / "exchange"
    folder.mkdir()
    standing = [each for each in snapshot({}) if not isinstance(each, Offer | Bid | Deal | Job)]
    (folder / "exchange.yaml").write_text(write(standing))
    assert nnix("apply", folder, "--offline", "--yes").status == 0
    return folder


def offer(folder: Path, name: str, start: int, **more: object) -> Path:
    fields = {"pool": "gpus", "lots": 8, "ask": "8yuan", "start": hour_named(start), "end": hour_named(start + 6), **more}
    path = folder / f".{name}.yaml"
    path.write_text(f"kind: Offer\nname: {name}\n" + "".join(f"{key}: {value}\n" for key, value in fields.items()))
    return path


def bid(folder: Path, name: str, start: int, **more: object) -> Path:
    fields = {"member": "buyer", "limit": "200yuan", **more}
    path = folder / f".{name}.yaml"
    path.write_text(
        f"kind: Bid\nname: {name}\n"
        + "".join(f"{key}: {value}\n" for key, value in fields.items())
        + f"bundles: [{{device: {GPU}, devices: 4, hours: 2, start: {hour_named(start)}}}]\n"
    )
    return path


def test_orders_stand_until_withdrawn_whatever_files_say(nnix: Nnix, exchange: Path) -> None:
    """A folder that does not name an offer leaves it; withdrawn, it is gone."""
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1)).status == 0
    assert nnix("compute", "bid", bid(exchange, "train", NOW + 2)).status == 0
    assert nnix("apply", exchange, "--offline", "--yes").status == 0
    book = nnix("compute", "book", "--json").json
    assert ([each["name"] for each in book["offers"]], [each["name"] for each in book["bids"]]) == (["day"], ["train"])

    assert nnix("compute", "withdraw", "offer/day", "bid/train").status == 0
    assert nnix("compute", "book", "--json").json["offers"] == []


def test_an_order_about_hours_that_are_over_is_refused(nnix: Nnix, exchange: Path) -> None:
    """By rule, and the refusal is in the ledger."""
    said = nnix("compute", "offer", offer(exchange, "late", NOW - 6))
    assert said.status == 1
    assert "compute.window-ahead" in said.err
    assert "compute.window-ahead" in nnix("compute", "bid", bid(exchange, "late", NOW - 1)).err
    assert nnix("log", "--what", "refused", "--json").json


def test_a_file_of_another_kind_is_no_offer(nnix: Nnix, exchange: Path) -> None:
    said = nnix("compute", "offer", bid(exchange, "train", NOW + 1))
    assert (said.status, "kernel.kind" in said.err) == (1, True)
