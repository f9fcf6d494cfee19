"""nnix compute verify: is a published clearing, or a match of the continuous book, right?

From a record alone, the checkers of the market say so (market/verify.py, verify_match.py). One that this ledger has is held against it besides: against its
entry, against the orders that stood in the book then, and against the deals that were made of it (clearing_and_book.py, match_and_book.py). That is no code of
what clears or matches: the book is read anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from nnix.cli import tables
from nnix.cli.clearing import CLEARING
from nnix.cli.clearing_and_book import orders_differ
from nnix.cli.command import DONE, REFUSED, begun, json_option, pass_setting
from nnix.cli.match_and_book import Stood, match_differs
from nnix.cli.matching import MATCH, arrivals
from nnix.cli.root import Setting
from nnix.kernel.change import Unknown
from nnix.kernel.ledger import Entry
from nnix.kernel.resource import Resource
from nnix.planes.compute.kinds import Deal, hour_number
from nnix.planes.compute.market.record import digest_of, inputs_digest, wants_of
from nnix.planes.compute.market.verify import faults
from nnix.planes.compute.market.verify_match import match_faults


@click.command("verify")
@click.argument("record", metavar="RECORD")
@json_option
@pass_setting
def verify_command(setting: Setting, record: str, as_json: bool) -> int:
    """Is a clearing, or a match between clearings, right? From its record alone, without a solver, by code of its own.

    A clearing: feasible, balanced, nobody at a loss, the gap proved. A match: no lot sold twice, bids whole, price then time.

    RECORD is a file that `nnix compute clear -o` or `match -o` wrote, or the number of an entry (`nnix log --what clearing`, `--what match`) or the beginning of the digest of
    one in this ledger. What is in this ledger is also held against its entry, the orders that stood in the book then, and the deals that were made.
    """
    path = Path(record)
    if path.is_file():
        entry, read = None, json.loads(path.read_text())
    else:
        begun(setting)
        entry = _entry(setting, record)
        kept = setting.vault.get(entry.body["record"])
        if kept is None:
            raise Unknown(f"the record of {entry.what} {entry.body['digest'][:16]} is no longer in the vault, or was altered")
        read = json.loads(kept)
    sort = entry.what if entry is not None else MATCH if isinstance(read, dict) and "fills" in read else CLEARING
    found = [str(each) for each in (match_faults(read) if sort == MATCH else faults(read))]
    if entry is not None:
        found += _against_ledger(setting, entry, read)
    if as_json:
        tables.as_json({"ok": not found, "faults": found, sort: read.get("digest") if isinstance(read, dict) else None})
    elif found:
        for each in found:
            tables.err.print(f"✗ {each}", markup=False)
    else:
        about = str(path) if entry is None else f"entry {entry.seq}"
        what = (
            f", and within {read['gap_ppm'] / 10_000:.4f} % of the best"
            if sort == CLEARING
            else f": {len(read['fills'])} fills by price, then time"
        )
        tables.out.print(f"✓ {about}: {sort} {read['digest'][:16]} is right{what}", markup=False)
    return REFUSED if found else DONE


def _entry(setting: Setting, named: str) -> Entry:
    entries = [
        each
        for what in (CLEARING, MATCH)
        for each in setting.ledger.entries(what=what)
        if str(each.seq) == named or (len(named) >= 6 and each.body["digest"].startswith(named))
    ]
    if len(entries) != 1:
        raise Unknown(f"{len(entries)} clearings and matches are called {named}; `nnix log --what clearing` and `--what match` list them")
    return entries[0]


def _against_ledger(setting: Setting, entry: Entry, record: Mapping[str, Any]) -> list[str]:
    """What differs between a record and the ledger: its entry, the orders that stood in the book, and the deals that were made of it."""
    wrong = []
    if record.get("digest") != entry.body["digest"] or digest_of(record) != entry.body["digest"]:
        wrong.append(f"entry {entry.seq} published another digest")
    if inputs_digest(record) != entry.body["inputs"]:
        wrong.append(f"entry {entry.seq} published other inputs")
    for key, value in entry.body.items():
        if key not in ("inputs", "record", "change") and record.get(key) != value:
            wrong.append(f"entry {entry.seq} published other {key}")
    try:
        book = setting.book.model_at(entry.body["change"]).snapshot
        carrying = next(setting.ledger.entries(since=entry.seq, what="change"), None)
        put = [setting.book.resource(each) for each in carrying.body["put"]] if carrying is not None else []
        if entry.what == CLEARING:
            wrong += [*orders_differ(book, record["inputs"]), *deals_differ(put, record)]
        else:
            came = arrivals(setting, book, until=entry.body["change"])
            wrong += match_differs(Stood(book, came, entry.body["change"], entry.seq), put, record)
    except (KeyError, TypeError, ValueError, AttributeError) as broken:
        wrong.append(f"its inputs cannot be read: {type(broken).__name__} {broken}")
    return wrong


def deals_differ(put: Iterable[Resource], record: Mapping[str, Any]) -> Iterator[str]:
    """What differs between a clearing and the deals in `put`, by the change after it. None of them is its: then it was not carried out."""
    made = [each for each in put if isinstance(each, Deal) and each.clearing == record["digest"]]
    if not made:
        return
    prices = {(row["site"], row["device"], row["hour"]): row["fen"] for row in record["prices"]}
    places = {each["offer"]: (each["site"], each["device"]) for each in record["inputs"]["sells"]}
    transfers = {each["bid"]: [want["transfer"] for want in wants_of(record["inputs"], each)] for each in record["inputs"]["buys"]}
    published = Counter(
        (each["bid"], each["offer"], each["devices"], tuple((hour, prices[(*places[each["offer"]], hour)]) for hour in each["hours"]))
        for each in record["deals"]
    )
    carried_out = Counter(
        (each.bid, each.offer, each.devices, tuple(zip(map(hour_number, each.hours), map(int, each.prices), strict=True))) for each in made
    )
    for bid, offer, *_ in sorted((published - carried_out) + (carried_out - published)):
        yield f"the deal of bid {bid} with offer {offer} is not the one that was published"
    paid: Counter[str] = Counter()
    for each in made:
        paid[str(each.bid)] += int(each.transfer)
    for bid, number in record["accepted"].items():
        if paid[bid] != transfers[bid][number]:
            yield f"bid {bid} pays {paid[bid]} fen for transfer, not {transfers[bid][number]}"
