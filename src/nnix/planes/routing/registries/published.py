"""What registries publish that is no RPSL: whose prefixes their whois says may come from which AS. They count as route objects.

    prefix,origin[,…]                              ARIN's OriginAS as a table (.csv); a first line without a prefix names the columns
    {"source": "ARIN-WHOIS", "whois_records": …}   the same as JSON, as it is published for route servers
    AS64500|name|document|prefix|prefix…           NIC.BR: who holds an ASN holds these prefixes as well

Each row is read alone: one that is broken costs itself, and is told with its line. Nothing here names as-sets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nnix.planes.routing.rpki import canonical

HOLDERS = re.compile(r"AS\d{1,10}\|")  # how a line of NIC.BR's begins


class Published(NamedTuple):
    """origin → prefixes, and what was left out."""

    routes: Mapping[int, tuple[str, ...]]
    findings: tuple[str, ...]


class _Row(NamedTuple):
    where: str
    prefix: str
    origin: str


def table(key: str, text: str) -> Published:
    """`prefix,origin`, a line each."""
    return _read(_cells(key, text))


def records(key: str, document: Mapping[str, object]) -> Published:
    """ARIN's, as JSON. What has not its form is left out as a whole."""
    return _read(_records(key, document))


def holders(key: str, text: str) -> Published:
    """NIC.BR's."""
    return _read(_holders(key, text))


def _cells(key: str, text: str) -> Iterator[_Row]:
    for line, row in enumerate(text.split("\n"), 1):
        cells = [cell.strip().strip('"') for cell in row.split(",")]
        if not row.strip() or row[0] == "#" or (line == 1 and canonical(cells[0].lower()) is None):
            continue  # nothing, a comment, or the names of the columns
        yield _Row(f"{key}:{line}: {row[:60]!r}", cells[0], cells[1] if len(cells) > 1 else "")


def _records(key: str, document: Mapping[str, object]) -> Iterator[_Row]:
    families = document.get("whois_records")
    for family in ("v4", "v6"):
        entries = families.get(family, []) if isinstance(families, dict) else None
        if not isinstance(entries, list):
            yield _Row(f"{key}: whois_records of {family}", "", "")
            continue
        for index, each in enumerate(entries):
            said = each if isinstance(each, dict) else {}
            yield _Row(f"{key}: {family}[{index}] {str(each)[:60]}", str(said.get("prefix", "")), str(said.get("originas", "")))


def _holders(key: str, text: str) -> Iterator[_Row]:
    for line, row in enumerate(text.split("\n"), 1):
        cells = [cell.strip() for cell in row.split("|")]
        if not row.strip() or cells[1:2] == ["--whois err--"]:
            continue  # the registry could not tell
        if len(cells) < 3:
            yield _Row(f"{key}:{line}: {row[:60]!r}", "", "")
        for each in cells[3:]:
            yield _Row(f"{key}:{line}: {each[:60]!r} of {cells[0][:16]}", each, cells[0])


def _read(rows: Iterator[_Row]) -> Published:
    routes: dict[int, dict[str, None]] = {}
    findings: list[str] = []
    for where, prefix, origin in rows:
        known, number = canonical(prefix.lower()), origin.upper().removeprefix("AS")
        if known is None or not number.isascii() or not number.isdecimal() or not 0 < int(number) < 1 << 32:
            findings.append(f"{where} is no prefix and origin; left out")
        else:
            routes.setdefault(int(number), {})[known[1]] = None
    return Published({origin: tuple(each) for origin, each in routes.items()}, tuple(findings))
