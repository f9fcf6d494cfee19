"""RSSAC002, spelled: the measurements that root servers publish for each day, as YAML (version 3 of the advisory, section 4).

One file for each metric: traffic-volume, traffic-sizes, rcode-volume, unique-sources, and for each zone load-time and zone-size; called and laid as
the advisory has it, `2026/11/rcode-volume/SERVICE-20261126-rcode-volume.yaml`. A node is its own service here, since sources seen by two nodes cannot be told apart
from two sources without keeping them; volumes, sizes and codes of nodes can be added.

A file says nothing that was not counted: where part of a day is missing, the comment at its head says how much. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnix.planes.naming.tally import SIZE_STEP, SIZES_MAX, Distinct

VERSION = "rssac002v3"
FAMILIES = tuple(
    f"dns-{protocol}-{what}-{family}"
    for what in ("queries-received", "responses-sent")
    for protocol in ("udp", "tcp")
    for family in ("ipv4", "ipv6")
)
SIZES = tuple(f"{protocol}-{what}-sizes" for protocol in ("udp", "tcp") for what in ("request", "response"))


def documents(
    service: str, record: Mapping[str, Any], sources: Mapping[str, Distinct], sizes: Mapping[str, Mapping[str, int]], note: str
) -> dict[str, str]:
    """Path of each file, and what stands in it. `sizes`: origin → octets of its versions by serial; `note` goes to the head."""
    day = str(record["date"])
    metrics: dict[tuple[str, str], list[str]] = {
        (service, "traffic-volume"): [f"{each}: {record['volume'].get(each, 0)}" for each in FAMILIES],
        (service, "traffic-sizes"): [line for each in SIZES for line in _mapping(each, _ranges(record["sizes"].get(each, {})))],
        (service, "rcode-volume"): [
            f"'{code}': {count}" for code, count in sorted(record["rcodes"].items(), key=lambda pair: int(pair[0]))
        ],
        (service, "unique-sources"): [f"num-sources-{name}: {each.count()}" for name, each in sources.items()],
    }
    for origin, serials in record["loads"].items():
        metrics[_of_zone(service, origin), "load-time"] = _mapping(
            "time", {serial: round(each) for serial, each in sorted(serials.items())}
        )
    for origin, octets in sizes.items():
        metrics[_of_zone(service, origin), "zone-size"] = _mapping("size", dict(sorted(octets.items())))
    found = {}
    for (whose, metric), lines in metrics.items():
        head = [f"# {note}"] if note else []
        head += ["---", f"version: {VERSION}", f"service: {whose}", f"start-period: '{day}T00:00:00Z'", f"metric: {metric}"]
        path = f"{day[:4]}/{day[5:7]}/{metric}/{whose}-{day.replace('-', '')}-{metric}.yaml"
        found[path] = "\n".join([*head, *lines]) + "\n"
    return found


def _of_zone(service: str, origin: str) -> str:
    return f"{service}-{origin.rstrip('.').replace('.', '-') or 'root'}"


def _ranges(steps: Mapping[str, int]) -> dict[str, int]:
    found = {}
    for step, count in sorted(steps.items(), key=lambda pair: int(pair[0])):
        start = int(step) * SIZE_STEP
        found[f"{start}-" if start >= SIZES_MAX else f"{start}-{start + SIZE_STEP - 1}"] = count
    return found


def _mapping(name: str, values: Mapping[str, int]) -> list[str]:
    return [f"{name}:", *(f"  '{key}': {value}" for key, value in values.items())] if values else [f"{name}: {{}}"]
