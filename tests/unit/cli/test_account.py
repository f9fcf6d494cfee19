"""nnix compute meter and invoice, as people and programs meet them: from a meter to an invoice that is proven by it, and what is told when it is not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nnix.cli import root
from nnix.kernel.document import write
from nnix.planes.account.rate import HOUR_MS
from nnix.planes.compute.kinds import hour_number
from nnix.planes.compute.meter import EMPTY, Cause, Interval, chained, parsed
from tests.unit.account.test_settle import TARIFF
from tests.unit.compute.exchanges import GPU, Changes, snapshot

from .test_cli import Nnix, nnix

__all__ = ["nnix"]

START = hour_number("2026-01-10T10Z") * HOUR_MS
PAST: Changes = {
    **TARIFF,
    "Offer/gpus-day": {"start": "2026-01-10T08Z", "end": "2026-01-10T20Z"},
    "Offer/npus-day": None,
    "Bid/search": None,
    "Bid/train": {"bundles": [{"device": GPU, "devices": 8, "hours": 2, "start": "2026-01-10T10Z"}]},
    "Deal/train-1": {"hours": ["2026-01-10T10Z", "2026-01-10T11Z"]},
}  # fmt: skip


def ran(device: int, begin: int, end: int, cause: Cause = Cause.RAN) -> Interval:
    return Interval("gpus", f"n1/{device}", "train-1", "train", 1, 1000, START + begin, START + end, cause)


INTERVALS = [
    *(ran(n, 0, HOUR_MS) for n in range(8)),
    *(ran(n, HOUR_MS, HOUR_MS + 1_800_000, Cause.RESIZED) for n in range(8)),
    *(ran(n, HOUR_MS + 1_800_000, 2 * HOUR_MS, Cause.FINISHED) for n in range(2)),
]
LINES = [each.line() for each in chained(EMPTY, INTERVALS)]


def metered(lines: Sequence[bytes]) -> Path:
    """What the exchange has read of the meter of `gpus`; no machine runs here that could be asked."""
    kept = Path(os.environ["NNIX_STATE"]) / "meters/gpus.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(b"".join(lines))
    return kept


@pytest.fixture
def exchange(nnix: Nnix, tmp_path: Path) -> Path:
    """A deal whose hours are over, and the meter of what ran."""
    folder = tmp_path / "exchange"
    folder.mkdir()
    (folder / "exchange.yaml").write_text(write(list(snapshot(PAST))))
    assert nnix("apply", folder, "--offline", "--yes").status == 0
    metered(LINES)
    return folder


@pytest.fixture
def settled(nnix: Nnix, exchange: Path) -> Path:
    done = nnix("compute", "invoice", "settle", "--until", "2026-01-10T12Z")
    assert (done.status, "2 invoices" in done.out) == (0, True), done.err
    return exchange


def test_what_a_meter_counted_is_told_by_job_and_cause(nnix: Nnix, exchange: Path) -> None:
    said = nnix("compute", "meter", "gpus", "--offline")
    assert said.status == 0
    assert "14400.000" in said.out and "resized" in said.out and f"{len(LINES)} records, unbroken" in said.out
    records = nnix("compute", "meter", "gpus", "--offline", "--json").json[0]["records"]
    assert sum(each["device_microseconds"] for each in records) == (8 * 3600 + 8 * 1800 + 2 * 1800) * 10**6
    assert nnix("compute", "meter", "gpus", "--offline", "--records").out.count("2026-01-10") == 2 * len(LINES)
    assert "did you mean gpus" in nnix("compute", "meter", "gpu", "--offline").err


def test_an_invoice_opens_down_to_the_meter(nnix: Nnix, settled: Path, tmp_path: Path) -> None:
    said = nnix("compute", "invoice", "buyer")
    assert said.status == 0 and "129.54" in said.out and "应付" in said.out
    found = nnix("compute", "invoice", "buyer", "--json").json
    assert (found["owes"], found["owed"]) == (10_900 + 54 + 2_000, 3_270)
    digests = {parsed(line[:-1]).seq: parsed(line[:-1]).digest for line in LINES}
    opened = {part["seq"]: part["digest"] for line in found["pays"] for part in line.get("parts", ())}
    assert opened == digests
    page = tmp_path / "invoice.html"
    assert nnix("compute", "invoice", "buyer", "--html", page).status == 0
    assert all(digest[:16] in page.read_text() for digest in digests.values())
    assert [each["member"] for each in nnix("compute", "invoice", "--json").json] == ["buyer", "east"]


def test_an_invoice_is_proven_by_the_meter(nnix: Nnix, settled: Path) -> None:
    said = nnix("compute", "invoice", "verify", "--offline")
    assert said.status == 0 and "the same to the last bit" in said.out


def test_what_a_deal_kept_and_nobody_used_is_proven_by_the_meter_and_the_ledger(
    nnix: Nnix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deal was made at 9:30 for two hours, and six devices were free in the second half of the last. Rated anew it is the same to the last bit;
    a record that comes late takes the hour back; the book sums to zero."""
    tariff: Changes = {**PAST, "Tariff/y2026": {**(PAST["Tariff/y2026"] or {}), "reserved_percent": 50}}
    folder = tmp_path / "exchange"
    folder.mkdir()
    (folder / "exchange.yaml").write_text(write(list(snapshot(tariff))))
    with monkeypatch.context() as patched:
        patched.setattr(root, "clock", lambda: datetime(2026, 1, 10, 9, 30, tzinfo=UTC))
        assert nnix("apply", folder, "--offline", "--yes").status == 0
    metered(LINES)
    assert nnix("compute", "invoice", "settle", "--until", "2026-01-10T12Z").status == 0
    (idle,) = (each for each in nnix("compute", "invoice", "buyer", "--json").json["pays"] if each["kind"] == "reserved")
    assert (idle["about"], idle["cause"], idle["hour"], idle["amount"]) == ("deal/train-1", "unused", "2026-01-10T11Z", 6 * 900 // 2 // 2)
    (gap,) = idle["parts"]
    assert (gap["from_ms"], gap["to_ms"]) == (START + HOUR_MS + 1_800_000, START + 2 * HOUR_MS)
    assert gap["digest"] == parsed(LINES[gap["seq"] - 1][:-1]).digest
    assert nnix("compute", "invoice", "verify", "--offline").status == 0

    late = ran(7, HOUR_MS + 1_800_000, 2 * HOUR_MS, Cause.FINISHED)
    metered([each.line() for each in chained(EMPTY, [*INTERVALS, late])])
    assert nnix("compute", "invoice", "settle", "--until", "2026-01-10T13Z").status == 0
    found = nnix("compute", "invoice", "buyer", "--json").json
    assert [(each["cause"], each["amount"]) for each in found["gets"] if each["kind"] == "reserved"] == [("late-record", 1_350)]
    assert [(each["cause"], each["amount"]) for each in found["pays"] if each["kind"] == "reserved"] == [("unused", 1_125)]
    assert nnix("compute", "invoice", "verify", "--offline").status == 0
    assert nnix("compute", "invoice", "book", "--json").json["sum"] == 0


def test_a_lost_document_is_rated_anew_and_comes_out_the_same(nnix: Nnix, settled: Path) -> None:
    digest = nnix("get", "settlement", "--json").json[0]["digest"]
    kept = Path(os.environ["NNIX_STATE"]) / "vault" / digest
    before = kept.read_bytes()
    kept.unlink()
    assert "not in the vault" in nnix("compute", "invoice", "buyer").err
    assert nnix("compute", "invoice", "verify", "--offline", "--restore").status == 0
    assert kept.read_bytes() == before


@pytest.mark.parametrize("spoilt", ["altered", "row missing", "tail dropped", "rewritten"])
def test_what_was_done_to_the_meter_afterwards_is_found(nnix: Nnix, settled: Path, spoilt: str) -> None:
    """Even a chain that was computed anew from the altered row on: its head was noted by the settlement."""
    altered = [*INTERVALS[:3], ran(3, 0, HOUR_MS - 1), *INTERVALS[4:]]
    lines = {
        "altered": [*LINES[:3], LINES[3].replace(b'"share_thousandths":1000', b'"share_thousandths":100'), *LINES[4:]],
        "row missing": [*LINES[:3], *LINES[4:]],
        "tail dropped": LINES[:-1],
        "rewritten": [each.line() for each in chained(EMPTY, altered)],
    }[spoilt]
    metered(lines)
    assert nnix("compute", "meter", "gpus", "--offline").status == 1
    said = nnix("compute", "invoice", "verify", "--offline")
    assert said.status == 1 and "✗ gpus: record" in said.err
    refused = nnix("compute", "invoice", "settle", "--until", "2026-01-10T13Z")
    assert refused.status == 1 and "account.meter-sound" in refused.err


def test_an_hour_that_is_not_over_is_not_settled(nnix: Nnix, exchange: Path) -> None:
    assert "is not over" in nnix("compute", "invoice", "settle", "--until", "2099-01-01T00Z").err


def test_a_dry_run_issues_nothing(nnix: Nnix, exchange: Path) -> None:
    said = nnix("compute", "invoice", "settle", "--until", "2026-01-10T12Z", "--dry-run", "--json")
    assert said.json["number"] == 1 and len(said.json["lines"]) > 3
    assert nnix("compute", "invoice", "--json").json == []


def test_a_dispute_is_held_and_then_decided_and_the_book_sums_to_zero(nnix: Nnix, settled: Path) -> None:
    line = next(each for each in nnix("compute", "invoice", "buyer", "--json").json["pays"] if each.get("cause") == "resized")
    before = nnix("compute", "invoice", "book", "--json").json
    assert (before["sum"], before["accounts"]["seller/east"]) == (0, 218 - 10_900)
    done = nnix("compute", "invoice", "dispute", "buyer", line["id"], "--amount", "10yuan", "--why", "it was the pool's wish")
    assert done.status == 0, done.err
    held = nnix("compute", "invoice", "book", "--json").json
    assert (held["sum"], held["accounts"]["escrow/d0001"]) == (0, -1_000)
    assert "when filed" in nnix("compute", "invoice", "decide", "d0001", "uphold").err
    assert nnix("compute", "invoice", "decide", "d0001", "answer").status == 0
    assert nnix("compute", "invoice", "decide", "d0001", "settle", "--refund", "4yuan").status == 0
    after = nnix("compute", "invoice", "book", "--json").json
    assert (after["sum"], after["accounts"]["escrow/d0001"]) == (0, 0)
    assert after["accounts"]["buyer/buyer"] == before["accounts"]["buyer/buyer"] - 400
    assert after["accounts"]["seller/east"] == before["accounts"]["seller/east"] + 400
    assert "no line" in nnix("compute", "invoice", "dispute", "buyer", "train-1/use", "--why", "x").err


def test_a_credit_is_granted_from_a_file_and_paid_with_the_next_settlement(nnix: Nnix, settled: Path, tmp_path: Path) -> None:
    file = tmp_path / "credit.yaml"
    file.write_text("kind: ServiceCredit\nname: cut\nmember: buyer\namount: 1.20yuan\nabout: deal/train-1\nreason: cut off\n")
    assert nnix("compute", "invoice", "credit", file).status == 0
    assert nnix("compute", "invoice", "settle", "--until", "2026-01-10T13Z").status == 0
    found = nnix("compute", "invoice", "buyer", "--json").json
    assert [(each["kind"], each["amount"]) for each in found["gets"]] == [("service-credit", 120)]
    assert nnix("compute", "invoice", "verify", "--offline").status == 0
