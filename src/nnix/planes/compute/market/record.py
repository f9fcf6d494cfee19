"""A clearing, and a match of the continuous book, as they are published: plain JSON, from which anybody can check them.

A clearing:

    inputs     instant; first, end: for which hours; begin_before: spot, only what begins before that hour (or null); sells (offer, pool, seller, site, device, ask, start, lots of each hour); ways (the links of each); buys (bid, buyer, wants: rows of
               what WANT names); free bit/s on links and ports; room for circuits at ports; dark: links that were not up; what was set aside and why. Hours are numbers since 1970, money is fen, transfer is part of the limit
    accepted   bid → number of its want
    deals      bid, offer, devices, hours
    prices     site, device, hour, fen: one for each product that changed hands
    rejected   bid → why
    duals      products (site, device, hour, millifen), links (link → millifen for each Mbit/s): the proof of the bound
    welfare    what the trades are worth in fen; bound: what no trades can be worth more than; gap_ppm: the difference, rounded up
    digest     SHA-256 over the canonical JSON of all the rest

A match:

    inputs     instant; products (site, device, hour; asks and bids that stood there, each side as it arrived: `entry` is where in the ledger), of
               all products in which something changed hands
    fills      site, device, hour, bid, offer, lots, fen for each: by product, in the sequence in which they were made
    digest     as above

Only the formats stand here, and a digest: what makes a record (clear.py, continuous.py) and what checks it (verify.py, verify_match.py) have nothing else in
common.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import to_json

FORMAT = 2
FIELDS = (
    "format", "inputs", "accepted", "deals", "prices", "rejected", "duals", "welfare", "bound", "gap_ppm", "rounds", "banned", "cut_short", "digest",
)  # fmt: skip

MATCH_FORMAT = 1
MATCH_FIELDS = ("format", "inputs", "fills", "digest")


class Asked(NamedTuple):
    """A want as a record has it: a row, for there are many of them, and names would be most of the record. `way` is the number of one of the `ways`."""

    site: str
    device: str
    devices: int
    start: int
    hours: int
    limit: int
    transfer: int
    rate: int
    way: int
    ends: Sequence[str]


WANT = Asked._fields

WANT_HOURS_MAX = 24 * 366
"""in a row: who checks a record counts each hour of a want, so one that claims more is not looked at any further"""

OUTBID = "outbid: every alternative costs more than its limit at these prices"
NOT_WHOLE = "not whole: it would have gained at these prices, but its bundle did not fit beside those that gain more"
WOULD_LOSE = "would lose: at one price for all lots it would have paid more than its limit"
NOTHING = "nothing could be delivered: see what was set aside"


def wants_of(inputs: Mapping[str, Any], buy: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The wants of a buy with their fields by name, and the links of their way."""
    for want in map(Asked._make, buy["wants"]):
        yield {**want._asdict(), "links": inputs["ways"][want.way]}


def digest_of(record: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON (RFC 8785) of a record without its `digest`. It has whole numbers and no astral characters in its keys, for which keys
    in order and no blanks are the canonical form."""
    return _hashed({key: value for key, value in record.items() if key != "digest"})


def in_order(value: Any) -> Any:
    """The same with all keys in order, as they stand in canonical JSON."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return [in_order(each) for each in value] if isinstance(value, list | tuple) else value


def inputs_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of what a clearing was given."""
    return _hashed(record["inputs"])


def _hashed(value: Any) -> str:
    """One in order already, as it was published, is spelled as it stands: putting ten thousand rows in order takes longer than all the rest of a proof."""
    if _is_in_order(value):
        return hashlib.sha256(to_json(value)).hexdigest()
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def _is_in_order(value: Any) -> bool:
    """Whether keys stand in order, of the value and of all rows in it. Where rows hold rows, as in a match, it is not looked for."""
    if type(value) is dict:
        return list(value) == sorted(value) and all(map(_is_in_order, value.values()))
    if type(value) is not list or not value or type(value[0]) is not dict:
        return True
    flat = not any(type(each) is dict or (type(each) is list and each and type(each[0]) is dict) for each in value[0].values())
    return flat and all(list(keys) == sorted(keys) for keys in set(map(tuple, value)))
