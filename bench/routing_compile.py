"""Claim: a route server for 1,000 clients with 356,000 registered prefixes is compiled in 2 CPU s, files and answers of registries included,
and again after one as-set has changed in 1 CPU s.

Ours: a fresh process reads the exchange's files, judges them, takes the answers of a registry (`nnix irr fetch` keeps them) and the VRPs, and compiles; what
is taken are the CPU seconds of the whole process, from its start. Then a member's as-set gains an ASN with route objects of its own, and the same process
compiles again, as `nnix run` and the loop do, who are there all the time. The second number of ours is that alone.
Peer: `arouteserver bird` in a fresh process, with its cache filled beforehand, so that no registry is asked on either side; the second time after
the same change of its cache. It writes one route server's configuration, as ours does.

Both policies are the same as far as the peer knows ours (arouteserver.py). A round counts only when BIRD's parser takes both configurations and both hold
the same number of registered prefixes; how long it takes to parse them is printed, and is the business of routing_load.py.

python bench/routing_compile.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds. --quick takes 200 clients
with 71,200 prefixes, and the aims in proportion.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import arouteserver
from exchange import ROUTE_SERVERS, Client, clients, files_of, written

CLAIM = "CPU seconds to compile a route server for 1,000 clients and 356,000 prefixes, beside ARouteServer 1.27; again after one as-set at most 1 s"
V4_EACH, V6_EACH = 300, 56
MEMBERS, QUICK_MEMBERS = 1000, 200
AIM_COLD, AIM_WARM = 2.0, 1.0
BENCH_REGISTRY = "irr:bench"
ANSWERS, CHANGED = "answers.txt", "changed.txt"
NEW_ASN = 211999


# --- ours, in a process of its own


def compiled(folder: Path) -> None:
    """Compile `folder` twice, the second time with changed answers. Prints what each cost."""
    from nnix.cli.files import sound
    from nnix.kernel.evidence import Evidence
    from nnix.kernel.snapshot import Snapshot
    from nnix.planes.routing.compile import SPEAKERS, policy

    snapshot = sound(folder, Snapshot())[1]
    vrps = (folder / "rpki/vrps.json").read_bytes()
    spent = []
    for file in (ANSWERS, CHANGED):
        begun = time.process_time()
        evidence = Evidence({BENCH_REGISTRY: (folder / file).read_bytes(), "file:rpki/vrps.json": vrps})
        server = policy(snapshot, evidence)[0]
        text = SPEAKERS[server.daemon].spell(server)
        (folder / f"{file}.conf").write_text(text)
        spent.append(time.process_time() - begun if file == CHANGED else time.process_time())
    print(json.dumps({"spent": spent, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


@dataclass(frozen=True)
class Spent:
    """CPU seconds cold and after a change, MiB at the peak."""

    cold: float
    warm: float
    peak_mib: float


def ours(folder: Path) -> Spent:
    done = subprocess.run([sys.executable, __file__, "--compiled", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"ours failed: nothing was measured\n{done.stderr[-800:]}")
    said = json.loads(done.stdout)
    cold, warm = said["spent"]
    return Spent(cold, warm, said["peak_mib"])


def peers(server: arouteserver.Server, everybody: Sequence[Client], more: Sequence[Client]) -> Spent:
    arouteserver.fill_cache(server.cache, everybody)
    arouteserver.forget_vrps(server.cache)
    server.tell(everybody)
    cold, memory = server.build()
    _grow(server.cache, everybody[0], more[0])
    warm, _ = server.build()
    return Spent(cold, warm, memory / 1024)


def _grow(cache: Path, client: Client, gained: Client) -> None:
    """The as-set of `client` names another network besides, with the prefixes of `gained`."""
    for what in ("as_set", "r_set-ipv4", "r_set-ipv6"):
        path = cache / f"AS{client.asn}-{what}.json"
        kept, new = (json.loads((cache / f"AS{each}-{what}.json").read_text()) for each in (client.asn, gained.asn))
        path.write_text(json.dumps({"ts": int(time.time()), "data": [*kept["data"], *new["data"]]}))


# --- both


def answers(everybody: Sequence[Client], gained: Client | None = None) -> bytes:
    """What a registry would have said, as `nnix irr fetch` keeps it."""
    from nnix.planes.routing.registries.answers import Answers, dated

    sets: dict[tuple[str, str], tuple[str, ...]] = {("BENCH", each.as_set): (f"AS{each.asn}",) for each in everybody}
    routes = {each.asn: tuple(map(str, each.prefixes)) for each in everybody}
    if gained is not None:
        first = everybody[0]
        sets["BENCH", first.as_set] = (f"AS{first.asn}", f"AS{gained.asn}")
        routes[gained.asn] = tuple(map(str, gained.prefixes))
    return dated("routing-registry/bench", datetime(2026, 11, 26, tzinfo=UTC), Answers(sets, routes).text())


def parsed(config: Path) -> tuple[float, int]:
    """CPU seconds that BIRD's parser takes, and how many prefixes stand in the configuration. Ends the bench where it does not take it."""
    process = subprocess.Popen(["bird", "-p", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read() if process.stderr else ""
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"BIRD does not take {config}: nothing was measured\n{said[:400]}")
    return used.ru_utime + used.ru_stime, len(
        set(re.findall(r"\b(?:23|24|25|26|27)\.\d+\.\d+\.0/24|2a10:[0-9a-f:]+/48", config.read_text()))
    )


def main() -> int:
    quick = "--quick" in sys.argv[1:]
    members = QUICK_MEMBERS if quick else MEMBERS
    aims = (AIM_COLD * members / MEMBERS + 1 * (members < MEMBERS), AIM_WARM * members / MEMBERS)
    everybody = clients(members, V4_EACH, V6_EACH)
    gained = replace(everybody[0], number=members + 1)
    arouteserver.installed()
    print(f"{CLAIM}\n{members} clients, {members * (V4_EACH + V6_EACH)} prefixes\n", flush=True)
    mine: list[Spent] = []
    theirs: list[Spent] = []
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        folder = written(files_of(everybody, asked=True), Path(name) / "ours")
        (folder / ANSWERS).write_bytes(answers(everybody))
        (folder / CHANGED).write_bytes(answers(everybody, gained))
        server = arouteserver.Server(ROUTE_SERVERS[0][0], "198.18.0.1", Path(name) / "theirs", Path(name) / "cache")
        arouteserver.fill_cache(server.cache, [gained])
        for _ in range(1 if quick else 3):
            mine.append(ours(folder))
            theirs.append(peers(server, everybody, [gained]))
        ours_parsed, ours_prefixes = parsed(folder / f"{CHANGED}.conf")
        theirs_parsed, theirs_prefixes = parsed(server.config)
        sizes = [(folder / f"{CHANGED}.conf").stat().st_size / 1e6, server.config.stat().st_size / 1e6]
    if ours_prefixes != theirs_prefixes:
        raise SystemExit(f"{ours_prefixes} prefixes in ours, {theirs_prefixes} in the peer's: they did not do the same work")
    cold, warm = (statistics.median(getattr(each, what) for each in mine) for what in ("cold", "warm"))
    peer_cold, peer_warm = (statistics.median(getattr(each, what) for each in theirs) for what in ("cold", "warm"))
    print(f"{'':>14} {'cold CPU s':>11} {'after one':>10} {'peak MiB':>9} {'MB':>6} {'bird -p CPU s':>14}")
    print(f"{'ours':>14} {cold:>11.2f} {warm:>10.2f} {mine[-1].peak_mib:>9.0f} {sizes[0]:>6.1f} {ours_parsed:>14.2f}")
    print(f"{'arouteserver':>14} {peer_cold:>11.2f} {peer_warm:>10.2f} {theirs[-1].peak_mib:>9.0f} {sizes[1]:>6.1f} {theirs_parsed:>14.2f}")
    holds = cold <= aims[0] and warm <= aims[1]
    print(f"\nThe aims are {aims[0]:.1f} and {aims[1]:.1f} s.")
    print(
        json.dumps(
            {"claim": CLAIM, "ours": round(cold, 2), "peer": round(peer_cold, 2), "ratio": round(peer_cold / cold, 1), "holds": holds,
             "warm": {"ours": round(warm, 2), "peer": round(peer_warm, 2)}}
        )
    )  # fmt: skip
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--compiled"]:
        compiled(Path(sys.argv[2]))
    else:
        raise SystemExit(main())
