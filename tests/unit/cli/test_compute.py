"""nnix compute, as people and programs meet it: orders in, the book, and what is told of orders that come too late."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nnix.cli import clearing
from nnix.kernel.document import write
from nnix.planes.compute import allocate
from nnix.planes.compute.kinds import Bid, Deal, Job, Offer, hour_named, hour_of
from nnix.planes.compute.market.clear import Clearing
from nnix.planes.compute.market.orders import Aside
from nnix.planes.compute.market.publish import published
from tests.unit.compute.exchanges import GPU, Changes, snapshot

from .test_cli import Nnix, nnix

__all__ = ["nnix"]

NOW = hour_of(datetime.now(UTC))


@pytest.fixture
def exchange(nnix: Nnix, tmp_path: Path) -> Path:
    """Pools and members, recorded; no orders yet."""
    return recorded(nnix, tmp_path / "exchange", {})


def recorded(nnix: Nnix, folder: Path, changes: Changes) -> Path:
    """The exchange with `changes` in `folder`, but its orders, as recorded."""
    folder.mkdir(exist_ok=True)
    standing = [each for each in snapshot(changes) if not isinstance(each, Offer | Bid | Deal | Job)]
    (folder / "exchange.yaml").write_text(write(standing))
    assert nnix("apply", folder, "--offline", "--yes").status == 0
    return folder


def offer(folder: Path, name: str, start: int, **more: object) -> Path:
    fields = {"pool": "gpus", "lots": 8, "ask": "8yuan", "start": hour_named(start), "end": hour_named(start + 6), **more}
    path = folder / f".{name}.yaml"
    path.write_text(f"kind: Offer\nname: {name}\n" + "".join(f"{key}: {value}\n" for key, value in fields.items()))
    return path


def bid(folder: Path, name: str, start: int, **more: object) -> Path:
    bundles = f"[{{device: {GPU}, devices: 4, hours: 2, start: {hour_named(start)}}}]"
    fields = {"member": "buyer", "limit": "200yuan", "bundles": bundles, **more}
    path = folder / f".{name}.yaml"
    path.write_text(f"kind: Bid\nname: {name}\n" + "".join(f"{key}: {value}\n" for key, value in fields.items()))
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


def test_a_bid_says_nothing_that_no_probe_has_measured(nnix: Nnix, tmp_path: Path) -> None:
    """A probe that has not run yet vouches for nothing."""
    exchange = recorded(nnix, tmp_path / "exchange", {"Pool/gpus": {"probes": True}})
    (exchange / ".speed.yaml").write_text("kind: Job\nname: speed\nmember: buyer\nprobe: gpus\nentry: [python3, speed.py]\n")
    assert nnix("compute", "run", exchange / ".speed.yaml").status == 0
    order = exchange / ".train.yaml"
    head = f"kind: Bid\nname: train\nmember: buyer\nlimit: 200yuan\nwork: 400\nstart: {hour_named(NOW + 1)}\n"
    order.write_text(f"{head}conversions: [{{device: {GPU}, work_per_hour: 100, measured_by: speed}}]\n")
    said = nnix("compute", "bid", order)
    assert said.status == 1
    assert "compute.conversion-as-measured" in said.err
    assert "conversions[0].measured_by" in said.err
    order.write_text(f"{head}conversions: [{{device: {GPU}, work_per_hour: 100}}]\n")
    assert nnix("compute", "bid", order).status == 0


def test_a_file_of_another_kind_is_no_offer(nnix: Nnix, exchange: Path) -> None:
    said = nnix("compute", "offer", bid(exchange, "train", NOW + 1))
    assert (said.status, "kernel.kind" in said.err) == (1, True)


def traded(nnix: Nnix, exchange: Path) -> str:
    """A market of one offer and two bids, cleared: the digest of the clearing."""
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1)).status == 0
    orders = (
        bid(exchange, "train", NOW + 2),
        bid(exchange, "search", NOW + 2, limit="65yuan"),
        bid(exchange, "hope", NOW + 2, limit="10yuan"),
    )
    assert nnix("compute", "bid", *orders).status == 0
    said = nnix("compute", "clear", "--json")
    assert said.status == 0, said.err
    assert set(said.json["accepted"]) == {"train", "search"}
    return str(said.json["clearing"])


def test_deals_say_who_has_what_of_whom_and_what_came_with_it(nnix: Nnix, exchange: Path) -> None:
    """One by one they add up to what is paid; the jobs on each are named; a member sees those in which he buys or sells."""
    assert nnix("compute", "deals", "--json").json == []
    traded(nnix, exchange)
    said = nnix("compute", "deals", "--json").json
    assert {(each["bid"], each["buyer"], each["device"], each["devices"], len(each["hours"])) for each in said} == {
        ("train", "buyer", GPU, 4, 2),
        ("search", "buyer", GPU, 4, 2),
    }
    for each in said:
        assert each["fen"] == each["devices"] * sum(hour["fen_a_device"] for hour in each["hours"])
        assert (each["from"], each["until"], each["now"]) == (hour_named(NOW + 2), hour_named(NOW + 4), "before")
        assert (each["circuit"] is None) == (nnix("show", f"circuit/deal-{each['bid']}").status != 0)
    one = said[0]
    (exchange / ".job.yaml").write_text(f"kind: Job\nname: epoch\nmember: buyer\ndeal: {one['deal']}\nentry: [python3, train.py]\n")
    assert nnix("compute", "run", exchange / ".job.yaml").status == 0
    assert [each["jobs"] for each in nnix("compute", "deals", f"deal/{one['deal']}", "--json").json] == [["epoch"]]
    assert nnix("compute", "deals", "--member", one["seller"], "--json").json[0]["seller"] == one["seller"]
    assert nnix("compute", "deals", "--member", "nobody").status == 2
    assert nnix("compute", "deals", "none-such").status == 2
    shown = nnix("compute", "deals")
    assert (shown.status, one["deal"] in shown.out) == (0, True)


def test_an_order_that_says_nothing_is_no_order(nnix: Nnix, exchange: Path, tmp_path: Path) -> None:
    """An empty file is refused as wrong use, never taken for something that stands in the book already."""
    (tmp_path / "empty.yaml").write_text("")
    said = nnix("compute", "offer", tmp_path / "empty.yaml")
    assert said.status == 2
    assert "no Offer in" in said.err


def test_offer_and_bid_become_a_deal(nnix: Nnix, exchange: Path) -> None:
    """At one price for all lots, for no more than the limit; who is not filled is told why; a second clearing has nothing to do."""
    digest = traded(nnix, exchange)
    deals = nnix("get", "deal", "--json").json
    assert {each["bid"]: each["devices"] for each in deals} == {"train": 4, "search": 4}
    assert {each["clearing"] for each in deals} == {digest}
    assert {tuple(each["prices"]) for each in deals} == {("8yuan", "8yuan")}
    again = nnix("compute", "clear", "--json").json
    assert (again["accepted"], again["change"]) == ({}, None)
    assert again["rejected"]["hope"].startswith("nothing could be delivered")
    assert {each["why"] for each in again["aside"]} == {"there are not so many lots in one of the hours"}


def test_a_clearing_is_proved_from_the_ledger_and_from_a_file(nnix: Nnix, exchange: Path, tmp_path: Path) -> None:
    """By its digest or entry; what is altered in the file is found, and what is altered in the vault is not believed."""
    digest = traded(nnix, exchange)
    assert nnix("compute", "verify", digest[:12]).status == 0
    (entry,) = nnix("log", "--what", "clearing", "--json").json
    assert nnix("compute", "verify", entry["seq"]).status == 0

    record = next(path for path in (tmp_path / "state/vault").iterdir() if digest.encode() in path.read_bytes())
    altered = tmp_path / "altered.json"
    altered.write_text(record.read_text().replace('"fen":800', '"fen":801', 1))
    said = nnix("compute", "verify", altered)
    assert (said.status, "C1" in said.err) == (1, True)
    record.write_bytes(altered.read_bytes())
    assert nnix("compute", "verify", digest[:12]).status == 1


@pytest.mark.parametrize(("tags", "why"), [(1, Aside.BESIDE), (0, Aside.REFUSED)])
def test_a_bid_whose_deal_is_refused_keeps_nobody_else_from_being_filled(
    nnix: Nnix, exchange: Path, monkeypatch: pytest.MonkeyPatch, tags: int, why: Aside
) -> None:
    """By whatever rule: here admission has one tag left at the buyers' port, or none, which the clearing does not know of. So many of two bids are filled, beside one
    that needs none; the others are set aside, and who checks it tries them anew."""
    monkeypatch.setattr(allocate, "TAGS", range(1, 1 + tags))
    data = "{dataset: cargo, site: nb, gigabytes: 100, contract: cargo}"
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1, lots=12)).status == 0
    orders = [
        bid(exchange, name, NOW + 3, port="archive", data=data, rate="2G", limit=f"{n}yuan") for name, n in (("one", 190), ("two", 191))
    ]
    assert nnix("compute", "bid", *orders, bid(exchange, "plain", NOW + 3)).status == 0
    before = len(nnix("log", "--json").json)
    dry = nnix("compute", "clear", "--dry-run", "--json").json
    said = nnix("compute", "clear", "--json")
    assert said.status == 0, said.err
    filled = set(said.json["accepted"])
    assert ("plain" in filled, len(filled)) == (True, 1 + tags)
    late = sorted({"one", "two"} - filled)
    assert said.json["aside"] == [{"bid": each, "site": "hz", "device": GPU, "why": why.value} for each in late]
    assert all(said.json["rejected"][each].startswith("nothing could be delivered") for each in late)
    assert dry["accepted"] == said.json["accepted"]
    assert nnix("compute", "verify", said.json["clearing"][:12]).status == 0
    assert [each["what"] for each in nnix("log", "--json").json[before:]] == ["clearing", "change"]


def test_a_dry_run_records_nothing(nnix: Nnix, exchange: Path) -> None:
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1)).status == 0
    assert nnix("compute", "bid", bid(exchange, "train", NOW + 4)).status == 0
    before = nnix("log", "--json").json[-1]["seq"]
    assert nnix("compute", "clear", "--dry-run", "--json").json["accepted"] == {"train": 0}
    assert nnix("log", "--json").json[-1]["seq"] == before
    assert nnix("compute", "clear", "--spot", "--dry-run", "--json").json["accepted"] == {}


def test_what_a_clearing_says_to_programs_is_json_and_nothing_else(nnix: Nnix, exchange: Path) -> None:
    """As another process reads it from the descriptor: what a solver's own library prints lands there as well."""
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1)).status == 0
    assert nnix("compute", "bid", bid(exchange, "train", NOW + 2)).status == 0
    words = [sys.executable, "-c", "from nnix.cli import main; main()", "compute", "clear", "--dry-run", "--json"]
    said = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
    assert (said.returncode, said.stderr) == (0, "")
    assert json.loads(said.stdout)["accepted"] == {"train": 0}


def test_a_deal_carries_its_circuit_and_its_contract(nnix: Nnix, exchange: Path) -> None:
    """Data at another site: one change has the deal, tagged ends at both ports, the circuit with the bid's rate, and the contract with the pool's member."""
    data = "{dataset: cargo, site: nb, gigabytes: 100, contract: cargo}"
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1)).status == 0
    assert nnix("compute", "bid", bid(exchange, "train", NOW + 3, port="archive", data=data, rate="2G")).status == 0
    change = nnix("compute", "clear", "--json").json["change"]
    (circuit,) = nnix("get", "circuit", "--json").json
    assert (circuit["ends"], circuit["capacity"], circuit["owner"]) == (["deal-train-buyer", "deal-train-gpus"], "2G", "deal/train-1")
    assert circuit["vni"] == 100000
    ends = {each["name"]: (each["over"], each["vlan"]) for each in nnix("get", "port", "--json").json if "over" in each}
    assert ends == {"deal-train-buyer": ("archive", 1), "deal-train-gpus": ("east", 1)}
    contracts = {each["name"]: each for each in nnix("get", "data-contract", "--json").json}
    assert {key: contracts["deal-train-east"][key] for key in ("provider", "consumer", "under")} == {
        "provider": "buyer",
        "consumer": "east",
        "under": "cargo",
    }
    assert nnix("get", "deal", "--json").json[0]["transfer"] == "5yuan"
    put = {f"{each['kind']}/{each['name']}" for each in nnix("show", change).json["body"]["put"]}
    assert {"Deal/train-1", "Circuit/deal-train", "Port/deal-train-buyer", "DataContract/deal-train-east"} <= put

    assert nnix("undo", change, "--offline", "--yes").status == 0
    assert nnix("get", "circuit", "--json").json == nnix("get", "deal", "--json").json == []
    assert len(nnix("get", "data-contract", "--json").json) == 1


def lots(folder: Path, name: str, start: int, **more: object) -> Path:
    """A bid for four standard lots."""
    return bid(folder, name, start, **more, bundles=f"[{{device: {GPU}, devices: 4, hours: 1, start: {hour_named(start)}, site: hz}}]")


def test_standard_lots_are_matched_as_they_come_in(nnix: Nnix, exchange: Path) -> None:
    """The bid and its deal are one change, at the price of the offer that was there; an offer that comes later is bought at the price of the bid that waited."""
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1, lots=4)).status == 0
    said = nnix("compute", "bid", "--match", lots(exchange, "now", NOW + 2, limit="40yuan"), "--json")
    assert (said.status, [(each["bid"], each["offer"], each["lots"], each["fen"]) for each in said.json["fills"]]) == (
        0,
        [("now", "day", 4, 800)],
    )
    put = {f"{each['kind']}/{each['name']}" for each in nnix("show", said.json["change"]).json["body"]["put"]}
    assert put == {"Bid/now", "Deal/now-1"}
    (deal,) = nnix("get", "deal", "--json").json
    assert "clearing" not in deal

    waits = nnix("compute", "bid", "--match", lots(exchange, "waits", NOW + 2, limit="41yuan"), "--json").json
    assert (waits["fills"], waits["match"]) == ([], None)
    said = nnix("compute", "offer", "--match", offer(exchange, "more", NOW + 2, lots=6, ask="7yuan"), "--json")
    assert [(each["bid"], each["lots"], each["fen"]) for each in said.json["fills"]] == [("waits", 4, 1025)]

    entry = nnix("log", "--what", "match", "--json").json[-1]["seq"]
    assert nnix("show", entry).json["body"]["digest"] == said.json["match"]
    assert entry < said.json["change"]
    assert nnix("verify").status == 0
    assert nnix("compute", "history").status == 0


def test_a_match_is_proved_from_the_ledger_and_from_a_file(nnix: Nnix, exchange: Path, tmp_path: Path) -> None:
    """By its digest or entry, with an order that came in with it; what is altered in a file is found, and what is altered in the vault is not believed."""
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1)).status == 0
    assert nnix("compute", "bid", lots(exchange, "low", NOW + 2, limit="10yuan"), bid(exchange, "bundle", NOW + 3)).status == 0
    digest = nnix("compute", "bid", "--match", lots(exchange, "now", NOW + 2, limit="40yuan"), "--json").json["match"]
    assert nnix("compute", "withdraw", "bid/low").status == 0
    said = nnix("compute", "verify", digest[:12])
    assert (said.status, "1 fills by price, then time" in said.out) == (0, True), said.err
    (entry,) = nnix("log", "--what", "match", "--json").json
    assert nnix("compute", "verify", entry["seq"], "--json").json == {"ok": True, "faults": [], "match": digest}

    record = next(path for path in (tmp_path / "state/vault").iterdir() if digest.encode() in path.read_bytes())
    whole = tmp_path / "whole.json"
    whole.write_bytes(record.read_bytes())
    assert nnix("compute", "verify", whole).status == 0
    whole.write_text(record.read_text().replace('"fen":800,"hour"', '"fen":801,"hour"', 1))
    said = nnix("compute", "verify", whole)
    assert (said.status, "M5" in said.err) == (1, True)
    record.write_bytes(whole.read_bytes())
    assert nnix("compute", "verify", digest[:12]).status == 1


def test_a_match_follows_the_ledger_and_not_the_names(nnix: Nnix, exchange: Path) -> None:
    """Of two bids at one price the one that came first; altered, it has lost its place."""
    assert nnix("compute", "bid", lots(exchange, "zz", NOW + 2, limit="40yuan")).status == 0
    assert nnix("compute", "bid", lots(exchange, "aa", NOW + 2, limit="40yuan", member="archive")).status == 0
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1, lots=4)).status == 0
    before = nnix("log", "--json").json[-1]["seq"]
    assert [each["bid"] for each in nnix("compute", "match", "--dry-run", "--json").json["fills"]] == ["zz"]
    assert nnix("log", "--json").json[-1]["seq"] == before
    for limit in ("39yuan", "40yuan"):
        assert nnix("compute", "bid", lots(exchange, "zz", NOW + 2, limit=limit)).status == 0
    written = exchange / "match.json"
    said = nnix("compute", "match", "-o", written, "--json").json
    assert [(each["bid"], each["fen"]) for each in said["fills"]] == [("aa", 1000)]
    assert nnix("compute", "verify", written, "--json").json == {"ok": True, "faults": [], "match": said["match"]}
    assert nnix("compute", "match", "--json").json["change"] is None


def test_a_clearing_after_a_match_sells_what_is_left(nnix: Nnix, exchange: Path) -> None:
    """Four of eight lots are gone in one hour: a bid for all eight cannot be had there any more, and the bid that was matched is not filled twice."""
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1)).status == 0
    assert nnix("compute", "bid", "--match", lots(exchange, "now", NOW + 2, limit="40yuan")).status == 0
    whole = f"[{{device: {GPU}, devices: 8, hours: 1, start: {hour_named(NOW + 2)}}}]"
    half = f"[{{device: {GPU}, devices: 4, hours: 1, start: {hour_named(NOW + 2)}}}]"
    assert nnix("compute", "bid", bid(exchange, "all", NOW + 2, bundles=whole), bid(exchange, "half", NOW + 2, bundles=half)).status == 0
    said = nnix("compute", "clear", "--json").json
    assert (set(said["accepted"]), set(said["rejected"])) == ({"half"}, {"all"})
    sold = {each["name"]: (each["offer"], each["devices"]) for each in nnix("get", "deal", "--json").json}
    assert sold == {"now-1": ("day", 4), "half-1": ("day", 4)}
    assert nnix("compute", "match", "--json").json["fills"] == []


def test_what_is_refused_comes_in_with_neither_order_nor_deal(nnix: Nnix, exchange: Path) -> None:
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1)).status == 0
    said = nnix("compute", "bid", "--match", lots(exchange, "late", NOW - 1))
    assert (said.status, "compute.window-ahead" in said.err) == (1, True)
    assert nnix("get", "deal", "--json").json == nnix("get", "bid", "--json").json == []
    assert nnix("log", "--what", "refused", "--json").json


def test_a_clearing_of_a_book_that_has_moved_is_not_carried_out(nnix: Nnix, exchange: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another clearing ends between the look at the book and the deals: its deals stay, and the late one leaves no trace."""
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1)).status == 0
    assert nnix("compute", "bid", bid(exchange, "train", NOW + 2)).status == 0
    said = []

    def slowly(found: Clearing) -> dict[str, Any]:
        monkeypatch.setattr(clearing, "published", published)
        said.append(nnix("compute", "offer", offer(exchange, "cheap", NOW + 1, ask="5yuan")))
        said.append(nnix("compute", "clear", "--json"))
        return published(found)

    monkeypatch.setattr(clearing, "published", slowly)
    late = nnix("compute", "clear", "--json")
    assert [each.status for each in said] == [0, 0]
    assert (late.status, "clear again" in late.err) == (1, True)
    (deal,) = nnix("get", "deal", "--json").json
    assert (deal["offer"], deal["clearing"]) == ("cheap", said[1].json["clearing"])
    assert len(nnix("log", "--what", "clearing", "--json").json) == 1
