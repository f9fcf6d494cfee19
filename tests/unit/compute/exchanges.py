"""A small exchange with a compute market, for tests: two sites, two pools, a buyer, and whoever holds its data."""

from __future__ import annotations

from nnix.cli.root import KINDS
from nnix.kernel.resource import Json
from nnix.kernel.snapshot import Snapshot

Changes = dict[str, Json | None]

GPU, NPU = "nvidia/a100-80g", "huawei/ascend-910b"


def _member(asn: int) -> Json:
    return {"title": {"en": "M"}, "asn": asn, "class": "compute"}


def _port(member: str, site: str, **more: object) -> Json:
    return {"member": member, "site": site, "speed": "100G", **more}


RIGHT: dict[str, Json] = {
    "Exchange/lab": {"title": {"en": "Lab"}, "asn": 139136, "country": "CN", "lab": True},
    "Site/hz": {"title": {"en": "Hangzhou"}, "role": "hub", "level": "city", "city": "Hangzhou", "country": "CN"},
    "Site/nb": {"title": {"en": "Ningbo"}, "role": "node", "level": "city", "city": "Ningbo", "country": "CN"},
    "Link/hz-nb": {"a": "hz", "b": "nb", "capacity": "100G", "latency": "1ms"},
    "Member/east": _member(64501),
    "Member/north": _member(64502),
    "Member/buyer": _member(64503),
    "Member/archive": _member(64504),
    "Port/east": _port("east", "hz", tagged=True),
    "Port/north": _port("north", "nb", tagged=True),
    "Port/buyer": _port("buyer", "hz", tagged=True),
    "Port/archive": _port("archive", "nb", tagged=True),
    "Market/market": {"transfer": "5fen"},
    "Pool/gpus": {
        "member": "east", "site": "hz", "device": GPU, "devices": 16, "memory_gigabytes": 80, "port": "east", "probes": True,
        "nodes": [{"name": "n1", "devices": 8, "cpus": 96}, {"name": "n2", "devices": 8, "cpus": 96}],
        "identifiers": [{"resolver": "national-node", "value": "as they wrote it"}],
    },
    "Pool/npus": {"member": "north", "site": "nb", "device": NPU, "devices": 32, "memory_gigabytes": 64, "port": "north", "assurance": 3},
    "Offer/gpus-day": {"pool": "gpus", "lots": 16, "ask": "8yuan", "start": "2026-11-26T08Z", "end": "2026-11-26T20Z"},
    "Offer/npus-day": {"pool": "npus", "lots": 32, "ask": "5yuan", "start": "2026-11-26T08Z", "end": "2026-11-26T20Z"},
    "DataContract/cargo": {
        "provider": "archive", "consumer": "buyer", "dataset": "cargo", "site": "nb", "gigabytes": 400, "until": "2026-12-31T00Z",
    },
    "Bid/train": {
        "member": "buyer", "limit": "300yuan", "port": "archive",
        "data": {"dataset": "cargo", "site": "nb", "gigabytes": 400, "contract": "cargo"},
        "bundles": [
            {"device": GPU, "devices": 8, "hours": 2, "start": "2026-11-26T09Z", "latest": "2026-11-26T12Z"},
            {"device": NPU, "devices": 8, "hours": 4, "start": "2026-11-26T09Z", "limit": "250yuan"},
        ],
    },
    "Bid/search": {
        "member": "buyer", "limit": "100yuan", "work": 1000, "start": "2026-11-26T09Z",
        "conversions": [{"device": GPU, "work_per_hour": 250, "measured_by": "speed"}, {"device": NPU, "work_per_hour": 100}],
    },
    "Job/speed": {"member": "buyer", "probe": "gpus", "entry": ["probe"]},
    "Deal/train-1": {
        "bid": "train", "offer": "gpus-day", "pool": "gpus", "devices": 8, "hours": ["2026-11-26T10Z", "2026-11-26T11Z"],
        "prices": ["8yuan", "9yuan"], "transfer": "20yuan",
    },
    "Job/train": {"member": "buyer", "deal": "train-1", "entry": ["python3", "train.py"], "workers": 8},
}  # fmt: skip


def snapshot(changes: Changes) -> Snapshot:
    """RIGHT with some fields changed; a field that is None is left out, and so is a resource that is."""
    given = dict(RIGHT)
    for name, change in changes.items():
        if change is None:
            given.pop(name, None)
        else:
            given[name] = {key: value for key, value in {**given.get(name, {}), **change}.items() if value is not None}
    return Snapshot(
        KINDS[kind].model_validate({"name": name, **fields})
        for (kind, name), fields in ((tuple(k.split("/")), v) for k, v in given.items())
    )
