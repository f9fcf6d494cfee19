"""Reading: the JSON of a relying party as records, or the reason why not.

rpki-client, FORT and Routinator write one document of much the same shape: `roas` with asn, prefix and maxLength, `aspas` with
customer and providers, `bgpsec_keys` (`routerKeys`) with asn, ski and pubkey, and `metadata` that says when it was made. AS
numbers are numbers or text with AS in front. Trust anchors and expiry times are the gate's business and not read.

One row that cannot be right refuses the whole document: a set with holes turns valid routes into invalid ones. A document
without a VRP is refused as well, unless the table says that it may be empty: rpki-client -n with everything expired writes no
VRP and ends with success, and a router that believes it loses its protection without a word.

723,000 VRPs are 75 MB of text. Parsed whole they are 1.3 GB of dictionaries, so the list of roas is read by the piece, cut
after a `},`: by the column where its rows are all alike (`columns`), as JSON where they are not. To cut is safe: inside a string
or an inner object it leaves a piece that is no JSON. The remainder of the document is parsed with a mark instead of the list, and
must have that mark where the list belongs; otherwise it is parsed whole.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnix.planes.trust.rtr.columns import Columns, columns
from nnix.planes.trust.rtr.records import FIELDS4, FIELDS6, ROW4, ROW6, AspaRow, Records, RouterKeyRow, Rows, no_rows, records
from nnix.planes.trust.rtr.wire import PDU_OCTETS_MAX, PROVIDERS_MAX, SKI_OCTETS

PIECE_OCTETS = 1 << 20
SPKI_OCTETS_MAX = PDU_OCTETS_MAX - 32
_ROAS = re.compile(rb'"roas"\s*:\s*\[')
_LENGTHS = {str(length): length for length in range(129)}
_MARK = "the list of roas stands here"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a document is not taken: the rule, what was found, and what to do."""

    rule: str
    found: str
    mend: str

    def __str__(self) -> str:
        return f"{self.found}\n  rule  {self.rule}\n  mend  {self.mend}"


@dataclass(frozen=True, eq=False)
class Read:
    """A document that is taken, and when it says that it was made: seconds since 1970, None when it does not."""

    found: Records
    built: float | None


class _Wrong(Exception):
    def __init__(self, rule: str, found: str) -> None:
        super().__init__(found)
        self.rule = rule


_MENDS = {
    "rtr.document-is-json": "have the file written beside its place and moved there, so that nobody reads half of it",
    "rtr.document-has-roas": "give the JSON that rpki-client -j, fort --output.roa or routinator --format json writes",
    "rtr.row-is-right": "look at what wrote the document: a set with holes turns valid routes into invalid ones",
    "rtr.set-not-empty": "look at the relying party: expired trust anchors and a cut line look like this; the last good set is kept",
}


def read(document: bytes, *, may_be_empty: bool = False) -> Read | Refused:
    """The records of `document`. Never raises for what stands in it."""
    try:
        head, roas = _split(document)
        v4, v6 = _vrps(roas)
        found = records(v4, v6, _router_keys(head), _aspas(head))
    except _Wrong as wrong:
        return Refused(wrong.rule, str(wrong), _MENDS[wrong.rule])
    except (ValueError, RecursionError) as error:
        words = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return Refused("rtr.document-is-json", f"the document is no JSON: {words}"[:300], _MENDS["rtr.document-is-json"])
    if not found.vrps and not may_be_empty:
        return Refused("rtr.set-not-empty", "the document holds no VRP", _MENDS["rtr.set-not-empty"])
    return Read(found, _built(head))


def _split(document: bytes) -> tuple[dict[str, Any], Iterator[bytes] | Iterator[list[Any]]]:
    """The document without its roas, and the roas by the piece."""
    opening = _ROAS.search(document)
    if opening is not None:
        begin, end = opening.end(), document.find(b"]", opening.end())
        outline = document[: begin - 1] + json.dumps(_MARK).encode() + document[end + 1 :]
        if end >= 0 and document.count(b'"roas"', end) == 0:
            try:
                head = json.loads(outline)
            except ValueError:
                head = None  # the bracket was not the list's own
            if isinstance(head, dict) and head.get("roas") == _MARK:
                return head, _pieces(document, begin, end)
    head = json.loads(document)
    if not isinstance(head, dict) or not isinstance(head.get("roas"), list):
        raise _Wrong("rtr.document-has-roas", "the document has no list `roas`")
    return head, iter([head.pop("roas")])


def _pieces(document: bytes, begin: int, end: int) -> Iterator[bytes]:
    cut = 0
    while cut < end:
        found = document.find(b"},", begin + PIECE_OCTETS, end)
        cut = end if found < 0 else found + 1
        yield document[begin:cut]
        begin = cut + 1


def _vrps(pieces: Iterable[bytes | list[Any]]) -> tuple[Rows, Rows]:
    rows4, rows6 = [no_rows(ROW4)], [no_rows(ROW6)]
    at = 0
    for piece in pieces:
        found = columns(piece) if isinstance(piece, bytes) else None
        if found is None:
            rows = json.loads(b"[" + piece + b"]") if isinstance(piece, bytes) else piece
            if not rows and at:
                raise ValueError("a comma after the last of the roas")
            found = _columns(rows, at)
        for kept, made in zip((rows4, rows6), _judged(found, piece, at), strict=True):
            kept.append(made)
        at += len(found.asns)
    return np.concatenate(rows4), np.concatenate(rows6)


def _columns(rows: list[Any], at: int) -> Columns:
    """The columns of parsed roas, the first of which is number `at` of the document."""
    try:
        prefixes = [row["prefix"].partition("/") for row in rows]
        return Columns(
            _numbers([row["asn"] for row in rows]),
            np.array([_LENGTHS.get(length, -1) for _, _, length in prefixes], np.int64),
            _numbers([row["maxLength"] for row in rows]),
            np.array([":" in address for address, _, _ in prefixes], bool),
            b"".join([socket.inet_pton(socket.AF_INET, address) for address, _, _ in prefixes if ":" not in address]),
            b"".join([socket.inet_pton(socket.AF_INET6, address) for address, _, _ in prefixes if ":" in address]),
        )
    except (TypeError, KeyError, AttributeError, ValueError, OSError, OverflowError):
        number, row = next((index, row) for index, row in enumerate(rows) if not _sound(row))
        raise _no_vrp(at + number, row) from None


def _judged(found: Columns, piece: bytes | list[Any], at: int) -> tuple[Rows, Rows]:
    """The rows of what was found in `piece`, when every one is a VRP."""
    asns, lengths, longest, six = found.asns, found.lengths, found.longest, found.six
    bits = np.where(six, 128, 32)
    wrong = (asns < 0) | (asns > 0xFFFFFFFF) | (lengths < 0) | (longest < lengths) | (longest > bits)
    if not wrong.any():
        v4, bad4 = _rows(found.packed4, FIELDS4, ROW4, lengths[~six], longest[~six], asns[~six])
        v6, bad6 = _rows(found.packed6, FIELDS6, ROW6, lengths[six], longest[six], asns[six])
        wrong[~six], wrong[six] = bad4, bad6
    if wrong.any():
        number = int(wrong.argmax())
        raise _no_vrp(at + number, (json.loads(b"[" + piece + b"]") if isinstance(piece, bytes) else piece)[number])
    return v4, v6


def _no_vrp(number: int, row: Any) -> _Wrong:
    return _Wrong("rtr.row-is-right", f"number {number} of roas is no VRP: {row!r}"[:300])


def _sound(row: Any) -> bool:
    """Whether `row` has the parts of a VRP, of the right type."""
    try:
        address, _, _ = row["prefix"].partition("/")
        socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        return all(0 <= _number(row[name]) < 2**63 for name in ("asn", "maxLength"))
    except (TypeError, KeyError, AttributeError, ValueError, OSError):
        return False


def _number(value: Any) -> int:
    """An AS number or a length, as number or text. Raises ValueError, TypeError."""
    if isinstance(value, str):
        digits = value.removeprefix("AS").removeprefix("as")
        if not (digits.isascii() and digits.isdecimal()) or len(digits) > 10:
            raise ValueError("no number")
        return int(digits)
    if type(value) is not int:  # no bool, no 64512.0
        raise TypeError("no number")
    return value


def _numbers(values: Sequence[Any]) -> NDArray[np.int64]:
    if set(map(type, values)) <= {int}:
        return np.array(values, np.int64)
    return np.array([_number(value) for value in values], np.int64)


def _rows(
    packed: bytes,
    fields: np.dtype[Any],
    row: np.dtype[Any],
    lengths: NDArray[np.int64],
    longest: NDArray[np.int64],
    asns: NDArray[np.int64],
) -> tuple[Rows, NDArray[np.bool_]]:
    """The rows, and which of them have bits beyond their length."""
    made = np.zeros(len(lengths), fields)
    made["address"] = np.frombuffer(packed, fields["address"])
    made["length_max"], made["length"] = longest, lengths
    made["asn"] = asns.astype(">u4").view("V4")
    octets = np.frombuffer(packed, np.uint8).reshape(len(lengths), fields["address"].itemsize)
    inside = np.clip(lengths[:, None] - 8 * np.arange(octets.shape[1]), 0, 8)
    beyond: NDArray[np.bool_] = (octets & (0xFF >> inside).astype(np.uint8)).any(axis=1)
    return made.view(row), beyond


def _list(head: dict[str, Any], *names: str) -> list[Any]:
    for name in names:
        if name in head:
            if not isinstance(head[name], list):
                raise _Wrong("rtr.row-is-right", f"`{name}` is no list")
            found: list[Any] = head[name]
            return found
    return []


def _asn(value: Any) -> int:
    number = _number(value)
    if not 0 <= number <= 0xFFFFFFFF:
        raise ValueError("no AS number")
    return number


def _aspas(head: dict[str, Any]) -> Iterator[AspaRow]:
    for at, row in enumerate(_list(head, "aspas")):
        try:
            customer = _asn(row["customer_asid"] if "customer_asid" in row else row["customer"])
            providers = tuple(map(_asn, row["providers"]))
            sound = isinstance(row["providers"], list) and 0 < len(providers) <= PROVIDERS_MAX
        except (TypeError, KeyError, ValueError):
            sound = False
        if not sound:
            raise _Wrong("rtr.row-is-right", f"number {at} of aspas is no ASPA: {row!r}"[:300])
        yield customer, providers


def _router_keys(head: dict[str, Any]) -> Iterator[RouterKeyRow]:
    for at, row in enumerate(_list(head, "bgpsec_keys", "routerKeys")):
        try:
            ski = bytes.fromhex(row["ski"] if "ski" in row else row["SKI"])
            text = next(row[name] for name in ("pubkey", "routerPublicKey") if name in row)
            spki = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
            asn = _asn(row["asn"])
            sound = len(ski) == SKI_OCTETS and 0 < len(spki) <= SPKI_OCTETS_MAX
        except (TypeError, KeyError, ValueError, StopIteration, binascii.Error):
            sound = False
        if not sound:
            raise _Wrong("rtr.row-is-right", f"number {at} of router keys is none: {row!r}"[:300])
        yield ski, spki, asn


def _built(head: dict[str, Any]) -> float | None:
    """When the document says that it was made: rpki-client's `buildtime`, Routinator's `generated`."""
    about = head.get("metadata")
    if not isinstance(about, dict):
        return None
    if type(about.get("generated")) is int:
        with suppress(OverflowError):
            return float(about["generated"])
    for name in ("buildtime", "generatedTime"):
        try:
            when = datetime.fromisoformat(about[name])
        except (KeyError, TypeError, ValueError):
            continue
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return None
