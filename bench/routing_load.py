"""Claim: BIRD reads a route server's configuration for 1,000 clients with 356,000 registered prefixes in 0.2 CPU s and 70 MiB.

Ours by RTR: the configuration holds neither VRPs nor route objects, which reach BIRD from two caches (docs/rtr.md). Ours whole: the same policy with both in
ROA tables inside of the configuration, as it is where no caches are named. Peer: what ARouteServer 1.27 writes for the same clients, prefixes and
policy, a list of prefixes for each client. All are read by `bird -p`, which parses and checks, and starts nothing; CPU seconds and peak memory of that process,
medians of 5; the peer's of the whole size is read once, since that takes a minute. `birdc configure` and a start of BIRD read in just this way. The first
of ours is what the claim is about.

python bench/routing_load.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds. --quick takes 200 clients with 71,200 prefixes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import arouteserver
from exchange import ROUTE_SERVERS, Client, clients, files_of, written
from routing_compile import BENCH_REGISTRY, MEMBERS, QUICK_MEMBERS, V4_EACH, V6_EACH, answers

CLAIM = "CPU seconds of BIRD to read a route server's configuration for 1,000 clients and 356,000 prefixes, in 70 MiB, beside ARouteServer 1.27's"
AIM_SECONDS, AIM_MIB = 0.2, 70.0
ROUNDS = 5


# The kernel counts the peak of whoever starts a process as its own, so it is started by somebody small.
SMALL = """
import os, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def read(config: Path) -> tuple[float, float]:
    """(CPU seconds, MiB at the peak) that BIRD's parser takes. Ends the bench where it refuses."""
    done = subprocess.run([sys.executable, "-S", "-c", SMALL, "bird", "-p", "-c", str(config)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"BIRD does not take {config.name}: nothing was measured\n{done.stderr[:400]}")
    cpu, kib = done.stdout.split()
    return float(cpu), int(kib) / 1024


def ours(folder: Path, everybody: list[Client], *, caches: bool) -> Path:
    from nnix.cli.files import sound
    from nnix.kernel.evidence import Evidence
    from nnix.kernel.snapshot import Snapshot
    from nnix.planes.routing.compile import SPEAKERS, policy

    place = written(files_of(everybody, asked=True, caches=caches), folder)
    snapshot = sound(place, Snapshot())[1]
    evidence = Evidence({BENCH_REGISTRY: answers(everybody), "file:rpki/vrps.json": (place / "rpki/vrps.json").read_bytes()})
    server = policy(snapshot, evidence)[0]
    if len(server.registered_v4) + len(server.registered_v6) != len(everybody) * (V4_EACH + V6_EACH):
        raise SystemExit("ours does not hold all prefixes: nothing was measured")
    config = place / "bird.conf"
    config.write_text(SPEAKERS[server.daemon].spell(server).replace("@HOME@", str(place)))
    return config


def main() -> int:
    quick = "--quick" in sys.argv[1:]
    members = QUICK_MEMBERS if quick else MEMBERS
    rounds = {"ours by RTR": ROUNDS, "ours whole": ROUNDS, "arouteserver": ROUNDS if quick else 1}
    everybody = clients(members, V4_EACH, V6_EACH)
    arouteserver.installed()
    print(
        f"{CLAIM}\n{members} clients, {members * (V4_EACH + V6_EACH)} prefixes, {ROUNDS} interleaved rounds, medians; the peer in {rounds['arouteserver']}\n",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        server = arouteserver.Server(ROUTE_SERVERS[0][0], "198.18.0.1", Path(name) / "theirs", Path(name) / "cache")
        arouteserver.fill_cache(server.cache, everybody)
        server.tell(everybody)
        server.build()
        configs = {
            "ours by RTR": ours(Path(name) / "fed", everybody, caches=True),
            "ours whole": ours(Path(name) / "whole", everybody, caches=False),
            "arouteserver": server.config,
        }
        found: dict[str, list[tuple[float, float]]] = {what: [] for what in configs}
        for number in range(ROUNDS):
            for what, config in configs.items():
                if number < rounds[what]:
                    found[what].append(read(config))
        sizes = {what: config.stat().st_size / 1e6 for what, config in configs.items()}
    cpu = {what: statistics.median(each for each, _ in read_in) for what, read_in in found.items()}
    memory = {what: statistics.median(each for _, each in read_in) for what, read_in in found.items()}
    print(f"{'':>14} {'CPU s':>7} {'MiB':>7} {'MB':>7}")
    for what in configs:
        print(f"{what:>14} {cpu[what]:>7.3f} {memory[what]:>7.1f} {sizes[what]:>7.2f}")
    mine, peer = max(cpu["ours by RTR"], 0.001), cpu["arouteserver"]
    holds = mine <= AIM_SECONDS and memory["ours by RTR"] <= AIM_MIB
    print(json.dumps({"claim": CLAIM, "ours": round(mine, 3), "peer": round(peer, 2), "ratio": round(peer / mine, 1), "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
