"""Answers: what registries said of an exchange's members, in the few lines that are needed of it.

    % asked routing-registry/radb at 2026-11-26T05:00:00+00:00
    set RIPE AS-EXAMPLE AS64500 AS-CUSTOMERS       registry (- where it was not told), name, members
    routes AS64500 192.0.2.0/24 2001:db8::/32      origin, prefixes
    prefixes AS-EXAMPLE 192.0.2.0/24{24,28}        what came without an origin (bgpq4)
    via AS64500 import-via AS139136 from AS-ANY accept ANY    what a member says of route servers (via.py)
    finding as-set AS-X is in none of its databases

RPSL would say the same in ten times the room: a thousand members stand in 350,000 route objects. A dump of words that all have passed a pattern;
everything else was left out on the way here, with a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

HEAD = re.compile(r"% asked (\S+) at (\S+)")


@dataclass(frozen=True)
class Answers:
    """sets: (registry, name) → members. routes: origin → prefixes. prefixes: as-set → prefixes whose origin was not told. vias: ASN → its
    import-via and export-via lines."""

    sets: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    routes: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vias: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    findings: tuple[str, ...] = ()

    @property
    def routes_count(self) -> int:
        return sum(map(len, self.routes.values())) + sum(map(len, self.prefixes.values()))

    @property
    def empty(self) -> bool:
        return not (self.sets or self.routes or self.prefixes)

    def text(self) -> str:
        """In an order of its own, so that the same answers are the same bytes."""
        lines = [f"set {registry or '-'} {name} {' '.join(members)}".rstrip() for (registry, name), members in sorted(self.sets.items())]
        lines += [f"routes AS{origin} {' '.join(prefixes)}" for origin, prefixes in sorted(self.routes.items()) if prefixes]
        lines += [f"prefixes {name} {' '.join(prefixes)}" for name, prefixes in sorted(self.prefixes.items()) if prefixes]
        lines += [f"via AS{asn} {each}" for asn, said in sorted(self.vias.items()) for each in said]
        lines += [f"finding {' '.join(each.split())}" for each in self.findings]
        return "".join(f"{line}\n" for line in lines)


def read(text: str) -> Answers:
    """Raises ValueError for a line that is none of these."""
    sets: dict[tuple[str, str], tuple[str, ...]] = {}
    routes: dict[int, tuple[str, ...]] = {}
    prefixes: dict[str, tuple[str, ...]] = {}
    vias: dict[int, tuple[str, ...]] = {}
    findings: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        what, _, rest = line.partition(" ")
        words = rest.split(" ")
        if what == "routes" and words[0][2:].isdecimal():
            routes[int(words[0][2:])] = tuple(words[1:])
        elif what == "set" and len(words) > 1:
            sets[words[0].strip("-"), words[1]] = tuple(words[2:])
        elif what == "prefixes":
            prefixes[words[0]] = tuple(words[1:])
        elif what == "via" and words[0][2:].isdecimal():
            asn = int(words[0][2:])
            vias[asn] = (*vias.get(asn, ()), " ".join(words[1:]))
        elif what == "finding":
            findings.append(rest)
        elif line and not line.startswith("%"):
            raise ValueError(f"line {number}: {line[:60]!r} says nothing that a registry could")
    return Answers(sets, routes, prefixes, vias, tuple(findings))


def dated(registry: str, at: datetime, text: str, told: Iterable[str] = ()) -> bytes:
    """Answers as evidence, with the time at which they were given, and what else is to be told of them."""
    lines = [f"% asked {registry} at {at.isoformat()}", *(f"finding {' '.join(each.split())}" for each in told)]
    return "".join([*(f"{line}\n" for line in lines), text]).encode()
