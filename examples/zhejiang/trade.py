"""Sells this hour of the example's three compute centres to five buyers, runs two jobs on what they bought, and settles it.

    python examples/zhejiang/trade.py

The exchange has to be up (`nnix up examples/zhejiang`). Orders are about hours, so they cannot stand in files: they are written here, for this hour
and the next, and go the way of all orders, through `nnix compute`. Running it again in the same hour finds the deals made. In the last two minutes of an
hour it sells the next one, which would else begin between order and clearing; the jobs then wait for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nnix.lab.compile import circuit_addresses
from nnix.lab.shelf import PORT
from nnix.planes.compute.derive import circuit_of
from nnix.planes.fabric.kinds import Circuit

NNIX = Path(sys.executable).with_name("nnix")
GPU, NPU, CPU = "nvidia/l20", "huawei/ascend-910b", "hygon/c86-core"
GIGABYTES = 8

# Reads all of its data, then works on it, and saves how far it is after each step.
FORECAST = """
import json, os, time, urllib.request
def say(**words):
    with open(os.environ["NNIX_PROGRESS"], "a") as file: file.write(json.dumps(words) + chr(10))
octets = 0
with urllib.request.urlopen(os.environ["NNIX_DATA"], timeout=60) as answer:
    while piece := answer.read(65536): octets += len(piece)
kept = os.path.join(os.environ["NNIX_CHECKPOINT"], os.environ["NNIX_RANK"])
done = int(open(kept).read()) if os.path.exists(kept) else 0
while done < 10:
    time.sleep(0.1); done += 1
    with open(kept, "w") as file: file.write(str(done))
    say(done=done, of=10, saved=True, octets_read=octets)
"""
CLOSING = timedelta(minutes=2)
COUNT = """
import json, os, time
for done in range(1, 6):
    time.sleep(0.1)
    with open(os.environ["NNIX_PROGRESS"], "a") as file: file.write(json.dumps({"done": done, "of": 5}) + chr(10))
"""


def nnix(*words: str, stdin: list[dict[str, Any]] | None = None, show: bool = True) -> str:
    """Run a command as an operator would, and show it; what it printed. Ends this script where the command fails."""
    if show:
        print(f"$ nnix {' '.join(words)}", flush=True)
    text = "\n---\n".join(map(json.dumps, stdin or ()))
    done = subprocess.run([NNIX, *words], input=text, text=True, stdout=None if show else subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"`nnix {' '.join(words)}` ended with status {done.returncode}")
    return done.stdout or ""


def orders(now: datetime) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Offers and bids about the hour of `now` and the next."""
    first, last = (f"{now + timedelta(hours=hours):%Y-%m-%dT%HZ}" for hours in (0, 2))
    mark = f"{now:%m%d%H}"

    def offer(pool: str, lots: int, ask: str) -> dict[str, Any]:
        return {"kind": "Offer", "name": f"{pool}-{mark}", "pool": pool, "lots": lots, "ask": ask, "start": first, "end": last}

    def bid(name: str, member: str, limit: str, *bundles: tuple[str, int], **more: Any) -> dict[str, Any]:
        wanted = [{"device": device, "devices": devices, "hours": 2, "start": first} for device, devices in bundles]
        return {"kind": "Bid", "name": f"{name}-{mark}", "member": member, "limit": limit, "bundles": wanted, **more}

    private = Circuit.model_validate({"name": circuit_of(f"forecast-{mark}"), "ends": ["tide-records", "islands-gpus"]})
    source = f"http://{circuit_addresses(private)['tide-records'][0].ip}:{PORT}/tides"
    return (
        [offer("islands-gpus", 8, "9yuan"), offer("valley-npus", 8, "6yuan"), offer("well-cpus", 32, "8fen")],
        [
            bid(
                "forecast", "tide-observatory", "200yuan", (GPU, 4), port="tide-records", rate="1G", latency_max="20ms", assurance=2,
                data={"dataset": "tides", "site": "ningbo", "gigabytes": GIGABYTES, "at": source},
            ),
            bid("cargo", "east-harbour", "120yuan", (NPU, 4)),
            bid("labels", "tea-hill", "90yuan", (GPU, 4), (NPU, 4)),
            bid("ledgers", "record-office", "10yuan", (CPU, 16), assurance=1),
            bid("stage", "golden-stage", "5yuan", (GPU, 8)),  # too little: it is told why it has nothing
        ],
    )  # fmt: skip


def made() -> dict[str, str]:
    """bid → deal."""
    return {each["bid"]: each["name"] for each in json.loads(nnix("get", "deal", "--json", show=False))}


def main() -> None:
    """Offer, bid, clear, run, settle."""
    started, now = time.monotonic(), datetime.now(UTC) + CLOSING
    mark = f"{now:%m%d%H}"
    offers, bids = orders(now)
    nnix("compute", "offer", "-", stdin=offers)
    nnix("compute", "bid", "-", stdin=bids)
    if f"forecast-{mark}" not in (deals := made()):
        nnix("compute", "clear")
        deals = made()
    jobs = [
        {"kind": "Job", "name": f"forecast-{mark}", "member": "tide-observatory", "deal": deals[f"forecast-{mark}"], "checkpoint": "10s",
         "entry": ["python3", "-c", FORECAST], "workers": 2, "devices": 2},
        {"kind": "Job", "name": f"cargo-{mark}", "member": "east-harbour", "deal": deals[f"cargo-{mark}"],
         "entry": ["python3", "-c", COUNT], "workers": 4, "devices": 1, "together": "domain"},
    ]  # fmt: skip
    nnix("compute", "run", "--follow", "-", stdin=jobs)
    nnix("compute", "meter")
    nnix("compute", "invoice", "settle")
    nnix("compute", "invoice")
    print(f"\nCompute: cleared, run and settled in {time.monotonic() - started:.1f} s, most of which is Ray's start.")


if __name__ == "__main__":
    main()
