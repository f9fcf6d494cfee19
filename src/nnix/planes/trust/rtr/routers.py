"""Routers: who takes a table, at which serial, how stale; what `nnix trust routers` shows.

The server writes its status as one JSON document, whole or not at all, so anyone who may read the state folder can look without
asking the server anything. `rows` makes the table that people see.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

STATUS = "status.json"
SILENT_SECONDS = 60
COLUMNS = ("table", "router", "transport", "version", "serial", "behind", "data age", "asked", "connected", "state")


class Router(NamedTuple):
    """One router, or a table that nobody takes (router is empty), in words."""

    table: str
    router: str
    transport: str
    version: str
    serial: str
    behind: str
    data_age: str
    asked: str
    connected: str
    state: str


def read_status(state: Path) -> dict[str, Any]:
    """What the server wrote last. Raises OSError when there is none, ValueError when it is no status."""
    found = json.loads((state / STATUS).read_bytes())
    if not is_status(found):
        raise ValueError(f"{state / STATUS} is no status of an RTR server")
    return dict(found)


def is_status(found: object) -> bool:
    """Whether it is what a server writes."""
    if not isinstance(found, dict) or not isinstance(found.get("tables"), list) or not isinstance(found.get("written"), int | float):
        return False
    return all(isinstance(each, dict) and {"name", "state", "reason", "serial", "built", "peers"} <= set(each) for each in found["tables"])


def rows(status: Mapping[str, Any], now: float) -> Iterator[Router]:
    """Every router of every table. `now` is seconds since 1970: a server that stopped writing looks as old as it is."""
    written = max(0.0, now - status["written"])
    silent = f"no news for {span(written)}: the server does not run" if written > SILENT_SECONDS else ""
    for table in status["tables"]:
        age = span(now - table["built"]) if table["built"] is not None else ""
        state = silent or (table["state"] if not table["reason"] else f"{table['state']}: {table['reason'].splitlines()[0]}")
        for peer in table["peers"]:
            serial = peer["serial"]
            behind = "" if serial is None or table["serial"] is None else str((table["serial"] - serial) % 2**32)
            asked = span(peer["asked_seconds"] + written) if peer["asked_seconds"] is not None else "never"
            yield Router(
                table["name"],
                f"{peer['address']} {peer['port']}",
                peer["transport"],
                "" if peer["version"] is None else str(peer["version"]),
                "" if serial is None else str(serial),
                behind,
                age,
                asked,
                span(peer["connected_seconds"] + written),
                state,
            )
        if not table["peers"]:
            yield Router(table["name"], "", "", "", "" if table["serial"] is None else str(table["serial"]), "", age, "", "", state)


def span(seconds: float) -> str:
    """A time span in its two largest units: 3 h 20 min."""
    left = max(0, round(seconds))
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (smaller_name, smaller) in pairwise(units):
        if left >= size:
            rest = left % size // smaller
            return f"{left // size} {name} {rest} {smaller_name}" if rest else f"{left // size} {name}"
    return f"{left} s"
