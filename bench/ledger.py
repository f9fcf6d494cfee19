"""Claim: the ledger appends at least a quarter as many durable entries per second as plain SQLite inserts of the same rows.

Both sides keep the same rows, body byte for byte, in the same table with the same pragmas (WAL, synchronous=FULL), one row a
commit. Plain SQLite only inserts what was made beforehand. The ledger also brings the body into canonical form, computes the
digest, tests the head, signs the new one, and flushes it into its file: two flushes where plain SQLite has one, so a half is
the most that can be had. Where a flush takes milliseconds the ratio comes near that; on the disk of a virtual machine, where
it takes a tenth of one, the computing weighs as much as the flushes. Hence a quarter. Rounds alternate; medians are compared.

Run: python bench/ledger.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nnix.kernel.ledger import open_ledger
from nnix.kernel.ledger_entry import Row

CLAIM = "durable appends per second, beside plain SQLite inserts of the same rows"
BOUND = 0.25
NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def bodies(number: int, resources: int) -> list[dict[str, Any]]:
    """Changes of `resources` sessions each, about 340 bytes a session."""
    return [
        {
            "change": f"c-{step}",
            "put": [
                {
                    "kind": "Session",
                    "version": 1,
                    "name": f"s-{step}-{index}",
                    "member": f"m-{index}",
                    "lan": "peering-v4",
                    "addresses": [f"192.0.2.{index % 250}", f"2001:db8::{index:x}"],
                    "mac": "02:00:5e:00:53:01",
                    "limits": {"v4": 1000, "v6": 2000, "restart": "30min"},
                    "note": "as agreed with the member's operators in the ticket that this change was made from, and reviewed by two",
                }
                for index in range(resources)
            ],
        }
        for step in range(number)
    ]


def ours(folder: Path, given: list[dict[str, Any]]) -> float:
    """Entries per second; opening and closing are not counted."""
    with open_ledger(folder / "ours.sqlite", folder / "keys") as ledger:
        head = ledger.head
        begun = time.perf_counter()
        for step, body in enumerate(given):
            head = ledger.append(head, at=NOON + timedelta(seconds=step), who="bench", what="change", why="to know", body=body).head
        return len(given) / (time.perf_counter() - begun)


def made(folder: Path) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The schema and the rows that the ledger wrote: what the peer shall insert."""
    file = sqlite3.connect(folder / "ours.sqlite")
    schema = [sql for (sql,) in file.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'index')")]
    rows = file.execute(f"SELECT {', '.join(Row._fields)} FROM entries ORDER BY seq").fetchall()  # noqa: S608
    file.close()
    return schema, rows


def peer(folder: Path, schema: list[str], rows: list[tuple[Any, ...]]) -> float:
    """Rows per second, one a commit."""
    file = sqlite3.connect(folder / "peer.sqlite", isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA journal_size_limit = 67108864", *schema):
        file.execute(statement)
    insert = f"INSERT INTO entries ({', '.join(Row._fields)}) VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608
    begun = time.perf_counter()
    for row in rows:
        file.execute(insert, row)
    speed = len(rows) / (time.perf_counter() - begun)
    file.close()
    return speed


def kept(path: Path) -> tuple[int, int]:
    """Rows, and bytes of their bodies."""
    file = sqlite3.connect(path)
    number, size = file.execute("SELECT count(*), sum(length(CAST(body AS BLOB))) FROM entries").fetchone()
    file.close()
    return number, size


def main() -> int:
    quick = "--quick" in sys.argv[1:]
    rounds = 5 if quick else 11
    print(f"{CLAIM}\n{rounds} interleaved rounds, medians\n")
    print(f"{'body':>12} {'rows':>6} {'ours/s':>9} {'plain/s':>9} {'ratio':>6} {'least':>6} {'most':>6}")
    main_row: tuple[float, float, float] | None = None
    for resources, number in ((1, 800), (10, 400), (4000, 6)) if quick else ((1, 3000), (10, 2000), (4000, 12)):
        given = bodies(number, resources)
        speeds: list[tuple[float, float]] = []
        size = 0
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
                folder = Path(name)
                mine = ours(folder, given)
                theirs = peer(folder, *made(folder))
                if kept(folder / "ours.sqlite") != kept(folder / "peer.sqlite") or kept(folder / "ours.sqlite")[0] != number:
                    raise SystemExit("the two sides did not keep the same rows: nothing was measured")
                size = kept(folder / "ours.sqlite")[1] // number
                speeds.append((mine, theirs))
        mine, theirs = (statistics.median(side) for side in zip(*speeds, strict=True))
        ratios = [a / b for a, b in speeds]
        ratio = statistics.median(ratios)
        print(f"{size:>10} B {number:>6} {mine:>9.0f} {theirs:>9.0f} {ratio:>6.2f} {min(ratios):>6.2f} {max(ratios):>6.2f}")
        # The claim is about an ordinary change; the row of 4,000 resources shows what canonical form costs on a whole snapshot.
        if resources == 10:
            main_row = mine, theirs, ratio
    if main_row is None:
        raise SystemExit("the row of the claim is missing")
    mine, theirs, ratio = main_row
    holds = ratio >= BOUND
    print()
    print(
        json.dumps(
            {"claim": CLAIM, "ours": round(mine, 1), "peer": round(theirs, 1), "ratio": round(ratio, 3), "bound": BOUND, "holds": holds}
        )
    )
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
