"""BIRD's answers, read: protocols, routes and the log.

Pure functions of the text that `birdc` prints and BIRD logs, of 2.0.12 to 3.x; what a version adds is passed over. Attributes are called
`BGP.as_path` by 2.x and `bgp_path` by 3.x.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from nnix.planes.routing.naming import Family


@dataclass(frozen=True, slots=True)
class Protocol:
    """One BGP protocol. `state` is the BGP state (Established, Passive, Idle …); `error` is the last one, in BIRD's words. Counts are routes. `takes_several`
    are the families in which the other side's OPEN says that it takes several paths for a prefix (RFC 7911)."""

    name: str
    state: str
    since: str
    error: str = ""
    imported: int = 0
    filtered: int = 0
    exported: int = 0
    limit: int | None = None
    limit_hit: bool = False
    limit_action: str = ""
    router_id: str = ""
    takes_several: frozenset[Family] = frozenset()

    @property
    def established(self) -> bool:
        return self.state == "Established"


class Entry(NamedTuple):
    """A route as `show route all` prints it. `attributes` are all BGP attributes in BIRD's words: `path`, `community`, `local_pref` …"""

    prefix: str
    protocol: str
    since: str
    path: str
    next_hop: str
    large: tuple[tuple[int, int, int], ...]
    attributes: Mapping[str, str] = MappingProxyType({})


class Complaint(NamedTuple):
    """A route that BIRD has treated as withdrawn because an attribute was wrong (RFC 7606), as its log tells it."""

    time: str
    protocol: str
    prefix: str
    words: str


_VERSION = re.compile(r"^BIRD (\S+) ready\.", re.MULTILINE)
_PROTOCOL = re.compile(r"^(\S+)\s+BGP\s+\S+\s+(\S+)\s+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*|\S+)[ \t]*(.*)$")
_FIELD = re.compile(r"^\s+([A-Za-z][A-Za-z ]*?):\s+(.*?)\s*$")
_TAKES = re.compile(r"^ +Neighbor capabilities\n(?: {6,}.*\n)*? +ADD-PATH\n +RX:(.*)$", re.MULTILINE)
_FAMILIES: Mapping[str, Family] = {"ipv4": 4, "ipv6": 6}
_COUNT = re.compile(r"(\d+) (imported|filtered|exported)")


def version(text: str) -> str:
    """`2.0.12` of birdc's greeting; empty when there is none."""
    found = _VERSION.search(text)
    return found[1] if found else ""


def protocols(text: str) -> dict[str, Protocol]:
    """BGP protocols of `show protocols all`, by name."""
    found: dict[str, Protocol] = {}
    for block in re.split(r"\n(?=\S)", text):
        first, *rest = block.split("\n")
        head = _PROTOCOL.match(first)
        if head is None:
            continue
        name, _, since, info = head.groups()
        fields: dict[str, str] = {}
        for line in rest:
            row = _FIELD.match(line)
            if row is not None:
                fields.setdefault(row[1], row[2])
        counts = {what: int(number) for number, what in _COUNT.findall(fields.get("Routes", ""))}
        limit = fields.get("Receive limit", fields.get("Import limit", ""))
        digits = re.match(r"\d+", limit)
        found[name] = Protocol(
            name,
            fields.get("BGP state", info.split(" ")[0] if info else "Down"),
            since,
            fields.get("Last error", ""),
            counts.get("imported", 0),
            counts.get("filtered", 0),
            counts.get("exported", 0),
            int(digits[0]) if digits else None,
            "[HIT]" in limit,
            fields.get("Action", ""),
            fields.get("Neighbor ID", ""),
            frozenset(_FAMILIES[each] for each in said[1].split() if each in _FAMILIES) if (said := _TAKES.search(block)) else frozenset(),
        )
    return found


_ROUTE = re.compile(r"^(\S+/\d+)?\s+\S+ \[(\S+) (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\s\]]*|[^\s\]]+)[^\]]*\]")
_ATTRIBUTE = re.compile(r"^\s+(?:BGP\.|bgp_)([a-z_]+): ?(.*?)\s*$")
_LARGE = re.compile(r"\((\d+), ?(\d+), ?(\d+)\)")


def routes(text: str) -> Iterator[Entry]:
    """Routes of `show route all`, with or without `filtered`, in BIRD's order."""
    prefix = ""
    head: tuple[str, str] | None = None
    attributes: dict[str, str] = {}

    def entry() -> Iterator[Entry]:
        if head is not None:
            large = tuple((int(a), int(b), int(c)) for a, b, c in _LARGE.findall(attributes.get("large_community", "")))
            path = attributes.get("as_path", attributes.get("path", ""))
            yield Entry(prefix, head[0], head[1], path, attributes.get("next_hop", "").split(" ")[0], large, attributes)

    for line in text.split("\n"):
        start = None if line.startswith("\t") else _ROUTE.match(line)
        if start is not None:
            yield from entry()
            prefix, head, attributes = start[1] or prefix, (start[2], start[3]), {}
            continue
        row = _ATTRIBUTE.match(line)
        if row is not None:
            attributes.setdefault(row[1], row[2])
    yield from entry()


_LOGGED = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\S* (?:\[\d+\] )?<[A-Z]+> (\S+): (.*)$")
_WITHDRAWN = re.compile(r"Invalid route (\S+) withdrawn")


def complaints(log: str) -> dict[tuple[str, str], Complaint]:
    """(protocol, prefix) → the newest complaint about it. BIRD logs what was wrong, then each route that it concerned."""
    found: dict[tuple[str, str], Complaint] = {}
    why: dict[str, str] = {}
    for line in log.split("\n"):
        row = _LOGGED.match(line)
        if row is None:
            continue
        time, protocol, words = row.groups()
        withdrawn = _WITHDRAWN.match(words)
        if withdrawn is None:
            why[protocol] = words
        elif protocol in why:
            found[protocol, withdrawn[1]] = Complaint(time, protocol, withdrawn[1], why[protocol])
    return found
