"""Columns: a piece of a list of roas read without making an object of each row.

What writes half a million rows writes them all alike: the same names in the same order, the same spaces, and only values that differ.
So the first row is read as JSON, and becomes a pattern of what stands between quotation marks; every other row must repeat the
pattern, letter for letter, with other digits and other words. That is looked at by the column, in a third of the time.

Whoever differs anywhere (an escape, a name more, a minus, a number with a point) is not judged here: the answer is None then, and the JSON parser
reads the piece. What is returned is what that would have found; whether a row is a VRP is the caller's business.
"""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Octets = NDArray[np.uint8]
DIGITS_MAX = 18  # what fits into 64 bits without a question
_NUMBER = re.compile(rb"([ \t\r\n]*:[ \t\r\n]*)([0-9]+)([^0-9]*)")
_BETWEEN = re.compile(rb"\}([ \t\r\n]*,[ \t\r\n]*\{[ \t\r\n]*)\"")
_WANTED = {"asn", "prefix", "maxLength"}


class Columns(NamedTuple):
    """The rows of a piece: numbers of 64 bits, `six` says which are IPv6, addresses packed in the order of their rows."""

    asns: Numbers
    lengths: Numbers
    longest: Numbers
    six: NDArray[np.bool_]
    packed4: bytes
    packed6: bytes


class _Other(Exception):
    """The piece is not of one pattern."""


@dataclass(frozen=True)
class _Spans:
    """From where to where, of each row."""

    begin: Numbers
    end: Numbers


def columns(piece: bytes) -> Columns | None:
    """The rows of `piece`, which is JSON objects with commas between them; None when they are not all alike."""
    try:
        return _columns(piece)
    except (_Other, ValueError, OSError, IndexError):
        return None


def _columns(piece: bytes) -> Columns:
    rows = piece.count(b"{")
    if rows < 2 or piece.count(b"}") != rows or b"\\" in piece or b"[" in piece or not piece.isascii():
        raise _Other
    piece, marks = _marked(piece, rows)
    data = np.frombuffer(piece, np.uint8)
    values = _values(piece, data, marks)
    prefix, slashes = values["prefix"], np.flatnonzero(data == 0x2F)
    if len(slashes) != rows or (slashes < prefix.begin).any() or (slashes >= prefix.end).any():
        raise _Other
    dots = np.flatnonzero(data == 0x2E)
    first = np.searchsorted(dots, prefix.begin)
    count = np.searchsorted(dots, slashes) - first
    six = count == 0
    if (count[~six] != 3).any():
        raise _Other
    spans6 = zip(prefix.begin[six].tolist(), slashes[six].tolist(), strict=True)
    return Columns(
        _numbers(data, values["asn"]),
        _numbers(data, _Spans(slashes + 1, prefix.end)),
        _numbers(data, values["maxLength"]),
        six,
        _packed4(data, prefix.begin[~six], dots, first[~six], slashes[~six]),
        b"".join([socket.inet_pton(socket.AF_INET6, piece[begin:end].decode()) for begin, end in spans6]),
    )


def _marked(piece: bytes, rows: int) -> tuple[bytes, Numbers]:
    """The piece, with what would begin another row at its end, so that all rows end alike; and where its quotation marks stand, a row a line.

    The last column is the mark that opens the next row.
    """
    piece = piece.strip(b" \t\r\n")
    between = _BETWEEN.search(piece)
    if between is None or not piece.startswith(b"{") or not piece.endswith(b"}"):
        raise _Other
    piece += between[1] + b'"'
    quotes = np.flatnonzero(np.frombuffer(piece, np.uint8) == 0x22)
    each, odd = divmod(len(quotes) - 1, rows)
    if odd or each % 2:
        raise _Other
    return piece, np.column_stack((quotes[:-1].reshape(rows, each), quotes[each::each]))


def _values(piece: bytes, data: Octets, marks: Numbers) -> dict[str, _Spans]:
    """Where the values stand, by name, when every row repeats the first in everything else. Raises _Other."""
    names = json.loads(piece[: piece.index(b"}") + 1], object_pairs_hook=lambda pairs: [name for name, _ in pairs])
    if len(set(names)) != len(names) or not set(names) >= _WANTED:
        raise _Other
    controls = sum(octet < 0x20 for octet in piece[: marks[0, 0]])
    values: dict[str, _Spans] = {}
    at = 0  # the mark that opens a name
    for name in names:
        controls += _repeat(piece, data, marks[:, at] + 1, marks[:, at + 1])
        if piece[marks[0, at] + 1 : marks[0, at + 1]] != name.encode():
            raise _Other
        begin, end = marks[:, at + 1] + 1, marks[:, at + 2]
        number = _NUMBER.fullmatch(piece[begin[0] : end[0]])
        if number is None:
            controls += _repeat(piece, data, begin, end)
            values[name] = _Spans(end + 1, marks[:, at + 3])
            controls += _repeat(piece, data, marks[:, at + 3] + 1, marks[:, at + 4])
            at += 4
            continue
        values[name] = _Spans(begin + len(number[1]), end - len(number[3]))
        controls += _repeat(piece, data, begin, values[name].begin) + _repeat(piece, data, values[name].end, end)
        _numbers(data, values[name])
        at += 2
    if at != marks.shape[1] - 1 or int((data < 0x20).sum()) != controls:  # a control character within a word is no JSON
        raise _Other
    return values


def _repeat(piece: bytes, data: Octets, begin: Numbers, end: Numbers) -> int:
    """Raises _Other unless every row has here what the first has; how many control characters that are in all."""
    literal = piece[begin[0] : end[0]]
    if (end - begin != len(literal)).any():
        raise _Other
    for offset, octet in enumerate(literal):
        if (data[begin + offset] != octet).any():
            raise _Other
    return len(begin) * sum(octet < 0x20 for octet in literal)


def _numbers(data: Octets, spans: _Spans) -> Numbers:
    """The numbers that stand there: digits only, and no zero before others. Raises _Other."""
    sizes = spans.end - spans.begin
    if (sizes < 1).any() or (sizes > DIGITS_MAX).any() or ((data[spans.begin] == 0x30) & (sizes > 1)).any():
        raise _Other
    found = np.zeros(len(sizes), np.int64)
    for offset in range(int(sizes.max(initial=0))):
        within = sizes > offset
        digits = data[spans.begin[within] + offset] - np.uint8(0x30)
        if (digits > 9).any():
            raise _Other
        found[within] = found[within] * 10 + digits
    return found


def _packed4(data: Octets, begin: Numbers, dots: Numbers, first: Numbers, end: Numbers) -> bytes:
    stops = np.column_stack((begin - 1, dots[first[:, None] + np.arange(3)], end))
    octets = np.column_stack([_numbers(data, _Spans(stops[:, index] + 1, stops[:, index + 1])) for index in range(4)])
    if (octets > 255).any():
        raise _Other
    return octets.astype(np.uint8).tobytes()
