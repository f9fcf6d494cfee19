"""PeeringDB's networks, as its API gives `net`: what operators say of themselves to everybody, in a file below the exchange's folder.

Three things of it concern a route server: which as-set a network announces (`irr_as_set`), how many prefixes (`info_prefixes4`, `…6`; 0 is nothing
said), and that it is never to be reached through route servers (`info_never_via_route_servers`). They are people's words: an as-set is taken where it is
spelled like one, and all else is a finding. What a member has told the exchange itself comes before it (compile.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from nnix.kernel.evidence import Item
from nnix.planes.members.kinds import PrefixLimit
from nnix.planes.routing.irr import SET_NAME, asn_of

_BEHIND = re.compile(r"([^@:]+(?::[^@:]+)*)@([A-Za-z][A-Za-z0-9-]*)")  # AS-X@RIPE, as some write it


class Network(NamedTuple):
    """What one network says."""

    as_sets: tuple[str, ...]
    prefixes_max: PrefixLimit
    never_via_route_servers: bool
    findings: tuple[str, ...]


@lru_cache(maxsize=8)
def networks(item: Item) -> Mapping[int, Network] | None:
    """ASN → what it says; None for what is no such document."""
    try:
        document = json.loads(item.content)
    except (ValueError, RecursionError):
        return None
    rows = document.get("data") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        return None
    return {each["asn"]: _network(each) for each in rows if isinstance(each, dict) and type(each.get("asn")) is int and each["asn"] > 0}


def _network(row: Mapping[str, Any]) -> Network:
    said = row.get("irr_as_set")
    sets: dict[str, None] = {}
    findings: list[str] = []
    for word in re.split(r"[\s,;]+", said) if isinstance(said, str) else ():
        behind = _BEHIND.fullmatch(word)
        name = (f"{behind[2]}::{behind[1]}" if behind else word).upper()
        if SET_NAME.fullmatch(name) or asn_of(name) is not None:
            sets[name] = None
        elif word:
            findings.append(f"PeeringDB's irr_as_set of AS{row['asn']}: {word[:60]!r} is neither ASN nor as-set; left out")
    limit = PrefixLimit(v4=_count(row.get("info_prefixes4"), 2_000_000), v6=_count(row.get("info_prefixes6"), 1_000_000))
    return Network(tuple(sets), limit, row.get("info_never_via_route_servers") is True, tuple(findings))


def _count(said: object, most: int) -> int | None:
    return said if type(said) is int and 0 < said <= most else None
