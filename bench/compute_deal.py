"""Claim: from an accepted deal to the first task running takes at most 50 ms more than Ray alone needs to start the same task, both warm.

Ours: a pool with Ray on a small exchange in the lab. A deal is accepted when it is recorded, so the clock starts at its entry in the ledger, with the entry's own
time, and counts what the exchange does for it from there: the entry is committed, the list of jobs is driven, the agent sees it, notes what it decides, and its
foreman has Ray start the job's one rank. What comes before, planning's last checks on the machines concerned, is told as `handed_in`, from the call on. Peer: bare Ray on the same machine, where a driver that is connected
hands a remote function to a warm worker, and that starts the same command. (It is started the way that ours is, or it may not start at all on a
busy machine: daemons/ray/foreman.py says why.) The clock stops when the command writes the time: it is the same
program, `date`, in both.

Each Ray is alone on the machine while it is measured, in a network namespace of its own, and was used before. Medians of RUNS starts; milliseconds by the clock on
the wall, since the waits are what is claimed: on a machine that does something else as well both sides wait for it. The spread is told too.

Run: python bench/compute_deal.py [--quick]. Root, in the lab. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.lab.exchange import Lab, resource

from nnix.cli.root import ALL_PLANES, Setting
from nnix.kernel.change import Draft, admit
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.planes.compute.kinds import Pool
from nnix.planes.compute.read import pool_seen

CLAIM = "milliseconds from an accepted deal to its first task running, more than bare Ray needs for the same task"
BOUND_MS = 50.0
WARM_UP = 2
PATIENCE_SECONDS = 240.0
GPU = "nvidia/l20"

BARE = """
import json, os, secrets, subprocess, sys, time
from pathlib import Path
from nnix.daemons.ray.foreman import ENVIRONMENT, started
folder = Path(sys.argv[1])
(folder / "token").write_text(secrets.token_hex(32))
os.environ |= {"HOME": str(folder), "RAY_AUTH_TOKEN_PATH": str(folder / "token"), **ENVIRONMENT}
import ray  # which reads the environment when it is imported
started({"port": 6379, "cpus": 2, "resources": {}}, folder)
ray.init(address="127.0.0.1:6379", log_to_driver=False, configure_logging=False, _node_ip_address="127.0.0.1")
def start(path):
    with open(path, "wb") as out:
        return subprocess.run(["date", "+%s.%N"], stdout=out).returncode
task = ray.remote(start)
took = []
for index in range(int(sys.argv[2])):
    path = os.path.join(folder, f"began-{index}")
    handed_in = time.time()
    ray.get(task.remote(path))
    took.append((float(open(path).read()) - handed_in) * 1e3)
    time.sleep(0.3)
print(json.dumps(took), flush=True)
os._exit(0)  # the first process of its namespace: all of Ray goes with it
"""


def bare(runs: int) -> list[float]:
    """Milliseconds from handing a task to Ray until its command runs."""
    with tempfile.TemporaryDirectory(prefix="bare-", dir="/tmp") as folder:
        script = f'ip link set lo up && exec {sys.executable} -c "$0" {folder} {runs + WARM_UP}'
        done = subprocess.run(
            ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script, BARE],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"bare Ray did not run, so nothing was measured: {done.stderr[-2000:]}")
    return [float(each) for each in json.loads(done.stdout.splitlines()[-1])][WARM_UP:]


def exchange(runs: int) -> list[Resource]:
    """One site, one pool, an offer that is large enough, and a bid for each start."""
    now = datetime.now(UTC)
    first, end = (f"{now + timedelta(hours=hours):%Y-%m-%dT%HZ}" for hours in (0, 2))
    made = [
        resource("Exchange", "small", title={"en": "Small"}, asn=65551, country="CN", lab=True),
        resource("Site", "east", title={"en": "East"}, role="hub", level="city", city="East", country="CN"),
        *(resource("Member", name, title={"en": name}, asn=asn, **{"class": "compute"}) for name, asn in (("seller", 64496), ("buyer", 64497))),
        resource(
            "Pool", "gpus", member="seller", site="east", device=GPU, devices=runs + WARM_UP, memory_gigabytes=48, engine="ray",
            nodes=[{"name": "n1", "devices": runs + WARM_UP, "cpus": 2, "memory_gigabytes": 64}], probes=True,
        ),
        resource("Offer", "gpus", pool="gpus", lots=runs + WARM_UP, ask="1yuan", start=first, end=end),
    ]  # fmt: skip
    bundle = {"device": GPU, "devices": 1, "hours": 2, "start": first}
    made += [resource("Bid", f"b{index}", member="buyer", limit=f"{10 + index}yuan", bundles=[bundle]) for index in range(runs + WARM_UP)]
    return made


def accepted(setting: Setting, index: int) -> Draft:
    """The plan of a deal with its job."""
    now = datetime.now(UTC)
    hours = [f"{now + timedelta(hours=each):%Y-%m-%dT%HZ}" for each in range(2)]
    deal = resource("Deal", f"d{index}", bid=f"b{index}", offer="gpus", pool="gpus", devices=1, hours=hours, prices=["1yuan"] * 2)
    job = resource("Job", f"j{index}", member="buyer", deal=f"d{index}", entry=["date", "+%s.%N"])
    model = setting.book.model()
    return setting.office.draft(admit(ALL_PLANES, model.snapshot.declared.replaced([deal, job]), model.snapshot), Evidence())


def ours(runs: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the entry of a deal until the command of its job runs; and from handing it in."""
    took, from_the_call = [], []
    with tempfile.TemporaryDirectory(prefix="deal-", dir="/tmp") as folder:
        lab = Lab(Path(folder) / "s")
        try:
            if not lab.apply(exchange(runs)).verified:
                raise SystemExit(f"the exchange did not come up, so nothing was measured: {lab.differences()}")
            pool = lab.snapshot.of(Pool)[0]
            _until(lambda: lab.run(pool_seen(pool, lab.setting.machines)).said.get("trouble", "unasked") == "", "Ray is up")
            jobs = Path(lab.setting.machines.host("gpus").home) / "jobs/gpus/jobs"
            for index in range(runs + WARM_UP):
                made = accepted(lab.setting, index)
                handed_in = time.time()
                applied = lab.run(lab.setting.office.apply(made, "bench"))
                if not applied.verified:
                    raise SystemExit("a deal was not brought about, so nothing was measured")
                log = jobs / f"j{index}" / "1" / "0.log"
                _until(partial(_ended, log), "the job has run")
                began = float(log.read_text())
                took.append((began - applied.entry.at.timestamp()) * 1e3)
                from_the_call.append((began - handed_in) * 1e3)
                time.sleep(0.3)
        finally:
            left = lab.close()
    if left:
        raise SystemExit(f"left behind: {left}")
    return took[WARM_UP:], from_the_call[WARM_UP:]


def _ended(log: Path) -> bool:
    return log.exists() and log.read_text().endswith("\n")


def _until(holds: Callable[[], bool], what: str) -> None:
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise SystemExit(f"not within {PATIENCE_SECONDS:g} s: {what}; nothing was measured")
        time.sleep(0.02)


def main() -> int:
    runs = 5 if "--quick" in sys.argv else 21
    peer = bare(runs)
    mine, from_the_call = ours(runs)
    if len(peer) != len(mine):
        raise SystemExit("the two sides did not start as many tasks: nothing was measured")
    print(f"{CLAIM}\n{runs} starts each, after {WARM_UP} that do not count\n")
    print(f"{'ms':>10} {'least':>8} {'median':>8} {'most':>8}")
    for side, times in (("nnix", mine), ("bare Ray", peer), ("handed in", from_the_call)):
        print(f"{side:>10} {min(times):>8.1f} {statistics.median(times):>8.1f} {max(times):>8.1f}")
    more = statistics.median(mine) - statistics.median(peer)
    numbers = {"ours": round(statistics.median(mine), 1), "peer": round(statistics.median(peer), 1)}
    ratio = round(statistics.median(mine) / statistics.median(peer), 2)
    holds = more <= BOUND_MS
    besides = {"ratio": ratio, "more": round(more, 1), "handed_in": round(statistics.median(from_the_call), 1), "bound": BOUND_MS}
    print(json.dumps({"claim": CLAIM, **numbers, **besides, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
