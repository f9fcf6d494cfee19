"""OpenBGPD's answers, read into the same records as BIRD's: sessions and routes.

Pure functions of the JSON that `bgpctl -j` prints, of 7.7 to 8.8. An answer without anything to tell lacks the list altogether. OpenBGPD
tells ages and no times, so the caller says when it asked. A neighbour that waits for the other side to connect is in BGP's state Active;
it is told as Passive, as BIRD does, since
nobody is active there; and so is one that has not been let start yet.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from nnix.planes.routing.birdc import Entry, Protocol
from nnix.planes.routing.naming import Family

OTC = "OTC"


def trouble(text: str) -> str:
    """Why bgpd has not answered the question, in its words; empty when it has."""
    found = json.loads(text)
    return str(found.get("error", "unknown")) if isinstance(found, dict) and found.get("status") == "FAILED" else ""


def _listed(text: str, key: str) -> list[dict[str, Any]]:
    """Raises ValueError for what is no answer of bgpctl, or says that there is none."""
    if said := trouble(text):
        raise ValueError(f"bgpd: {said}")
    found = json.loads(text)
    listed = found.get(key, []) if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError(f"bgpctl's answer has no list of {key}")
    return listed


def tells_routes(text: str) -> bool:
    """Whether there is any route in an answer to `show rib`."""
    return bool(_listed(text, "rib"))


def _time(now: datetime, seconds: int | None) -> str:
    return "" if seconds is None else (now - timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


def protocols(text: str, now: datetime, refused: Mapping[str, int]) -> dict[str, Protocol]:
    """Neighbours of `show neighbor` by description. `refused` says how many routes of each are; OpenBGPD counts only what it received."""
    found: dict[str, Protocol] = {}
    for each in _listed(text, "neighbors"):
        name = each.get("description", each.get("remote_addr", ""))
        config, stats = each.get("config", {}), each.get("stats", {}).get("prefixes", {})
        state = each.get("state", "Down")
        sent, received = each.get("last_error_sent", ""), each.get("last_error_received", "")
        if config.get("down"):
            state = "Down"
        elif config.get("passive") and (state == "Active" or (state == "Idle" and not sent and not received)):
            state = "Passive"
        up = state == "Established"
        filtered = refused.get(name, 0)
        found[name] = Protocol(
            name,
            state,
            _time(now, each.get("last_updown_sec")),
            sent or (f"Received: {received}" if received else ""),
            max(0, stats.get("received", 0) - filtered),
            filtered,
            stats.get("sent", 0),
            config.get("max_prefix"),
            not up and "received max-prefix exceeded" in sent,
            "restart" if "max_prefix_restart" in config else "disable" if "max_prefix" in config else "",
            takes_several=frozenset(_takes_several(each)),
        )
    return found


_FAMILIES: Mapping[str, Family] = {"IPv4 unicast": 4, "IPv6 unicast": 6}


def _takes_several(neighbour: Mapping[str, Any]) -> Iterator[Family]:
    """Of the other side's OPEN (RFC 7911, 4)."""
    for each in neighbour.get("session", {}).get("remote", {}).get("capabilities", {}).get("add-path", []):
        if each.get("mode") in ("recv", "bidir") and each.get("family") in _FAMILIES:
            yield _FAMILIES[each["family"]]


def routes(text: str, now: datetime) -> Iterator[Entry]:
    """Routes of `show rib` in OpenBGPD's order, with their attributes in BIRD's words; without `detail`, without communities."""
    for each in _listed(text, "rib"):
        path = re.sub(r"\{ | \}", lambda brace: brace[0].strip(), each.get("aspath", ""))
        large = tuple(_large(each.get("large_communities", [])))
        attributes = {
            "origin": each.get("origin", "IGP").replace("incomplete", "Incomplete"),
            "as_path": path,
            "next_hop": each.get("exit_nexthop", ""),
            "local_pref": str(each.get("localpref", "")),
            "community": " ".join(f"({a},{b})" for a, b in map(_standard, each.get("communities", []))),
            "ext_community": " ".join(map(_extended, each.get("extended_communities", []))),
            "large_community": " ".join(f"({a}, {b}, {c})" for a, b, c in large),
        }
        if each.get("metric"):  # where there is none it is told as 0
            attributes["med"] = str(each["metric"])
        for attribute in each.get("attributes", []):
            if attribute.get("type") == OTC and "as" in attribute:
                attributes["otc"] = str(attribute["as"])
        yield Entry(
            each.get("prefix", ""),
            each.get("neighbor", {}).get("description", ""),
            _time(now, each.get("last_update_sec")),
            path,
            attributes["next_hop"],
            large,
            {name: value for name, value in attributes.items() if value},
        )


_BY_NAME = {
    "GRACEFUL_SHUTDOWN": (65535, 0),
    "BLACKHOLE": (65535, 666),
    "NO_EXPORT": (65535, 65281),
    "NO_ADVERTISE": (65535, 65282),
    "NO_EXPORT_SUBCONFED": (65535, 65283),
    "NO_PEER": (65535, 65284),
}


def _standard(community: str) -> tuple[int, int]:
    if community in _BY_NAME:
        return _BY_NAME[community]
    first, second = community.split(":")
    return int(first), int(second)


def _extended(community: str) -> str:
    """`rt 0:65550` → `(rt, 0, 65550)`; kinds that BIRD has no name for stay as they are."""
    kind, _, value = community.partition(" ")
    key, colon, local = value.partition(":")
    if not colon or kind not in ("rt", "soo"):
        return f"({community})"
    return f"({'ro' if kind == 'soo' else kind}, {_asn(key)}, {local})"


def _asn(text: str) -> int:
    high, dot, low = text.partition(".")
    return int(high) << 16 | int(low) if dot else int(high)


def _large(communities: Iterable[str]) -> Iterator[tuple[int, int, int]]:
    for each in communities:
        first, second, third = each.split(":")
        yield int(first), int(second), int(third)


def eligible(text: str) -> frozenset[tuple[str, str]]:
    """(neighbour, prefix) of the routes of `show rib` that may be chosen."""
    return frozenset(
        (each.get("neighbor", {}).get("description", ""), each.get("prefix", "")) for each in _listed(text, "rib") if each.get("valid")
    )


def with_otc(text: str) -> frozenset[tuple[str, str]]:
    """(neighbour, prefix) of the routes of `show rib detail` that bear OTC (RFC 9234)."""
    return frozenset(
        (each.get("neighbor", {}).get("description", ""), each.get("prefix", ""))
        for each in _listed(text, "rib")
        if any(attribute.get("type") == OTC for attribute in each.get("attributes", []))
    )


def counted(texts: Iterable[str]) -> Counter[str]:
    """Routes by neighbour, each once, of several answers to `show rib`."""
    seen = {(each.get("neighbor", {}).get("description", ""), each.get("prefix", "")) for text in texts for each in _listed(text, "rib")}
    return Counter(name for name, _ in seen)
