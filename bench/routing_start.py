"""Claim: a route server of either make that starts while 200 members come back one after another, each announcing 300 prefixes at once, sends no more than 1.3 times the least octets.

BIRD tells who comes what it has in the order of its hash table, a few routes in each message; only what comes in while everybody is there goes out in full messages. The
least is what the announcers' own messages take, once to everybody else. Ours: what nnix compiles, started by its driver, which lets nothing in until
members are back (daemons/bird.py, cold start). Without it: the same configuration, started by itself. Peer: what ARouteServer 1.27 writes for the same, started by
itself. All three in the same BIRD; beside them the same policy in OpenBGPD, started by its driver, which needs no such care, since it keeps what it tells each
client sorted by attributes, and has much more memory for it. The clients are played by one process, 25 at a time, and each announces as soon as its session is up. Counted: octets
that were sent, CPU seconds and peak memory of the daemon. A side that told another number of routes ends the bench.

Run as root: python bench/routing_start.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds. --quick takes 60 clients with 100 prefixes each.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import arouteserver
from exchange import ROUTE_SERVERS, Client, clients, files_of, written
from nnix.cli.files import sound
from nnix.daemons.openbgpd import SOCKET, OpenbgpdDriver
from nnix.daemons.secrets import Secrets
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.planes.routing.compile import SPEAKERS, ServerPolicy, policy
from nnix.planes.routing.prove import messages
from nnix.planes.routing.prove.route import Route, prefix_of
from nnix.planes.routing.trial.speakers import Speaker, speakers
from nnix.planes.routing.trial.stand import Stand, stand
from routing_compile import BENCH_REGISTRY, answers
from routing_converge import AT_ONCE, announced, at_rest, cpu_seconds, exported, peak_mib, running

CLAIM = "octets that a route server sends when it starts and 200 members with 300 prefixes each come back one after another, beside ARouteServer 1.27"
MOST = 1.3  # times the least
Daemon = tuple[list[int], Callable[[], int]]
"""its processes, and how many routes it says that it has told"""
Side = Callable[[ServerPolicy, Stand], AbstractAsyncContextManager[Daemon]]
SAID = ((64500, 1000, 1), (64500, 1001, 1))  # what a route server of ours adds


def least(everybody: list[Client]) -> int:
    """Octets: what each announces, with what is said of it, once to everybody else. Those with a VRP say another word, so they take a message of their own."""
    total = 0
    for client in everybody:
        prefixes = [prefix_of(prefix) for prefix in client.prefixes_v4]
        for some in (prefixes[:2], prefixes[2:]):
            total += len(messages.announcing(Route(some[0], (client.asn,), client.v4, large=frozenset(SAID)), some))
    return total * (len(everybody) - 1)


@asynccontextmanager
async def bird(server: ServerPolicy, place: Stand, config: Path, *, driven: bool) -> AsyncIterator[Daemon]:
    async with running(server, place, config, driven=driven) as (pid, control):
        yield [pid], partial(exported, control)


@asynccontextmanager
async def openbgpd(server: ServerPolicy, place: Stand, config: Path) -> AsyncIterator[Daemon]:
    driver = OpenbgpdDriver(secrets=Secrets(config.parent / "secrets"))
    await driver.drive(place.host, server.name, config.read_bytes())
    argv = ["bgpctl", "-s", f"{place.host.home}/openbgpd/{server.name}/{SOCKET}", "-j", "show", "neighbor"]

    def told() -> int:
        said = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
        return sum(each.get("stats", {}).get("prefixes", {}).get("sent", 0) for each in said["neighbors"])

    try:
        yield processes(place.server, "bgpd"), told
    finally:
        await driver.drive(place.host, server.name, None)


def processes(namespace: str, name: str) -> list[int]:
    there = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True).stdout.split()
    return [int(pid) for pid in there if Path(f"/proc/{pid}/comm").read_text().strip() == name]


async def started(server: ServerPolicy, everybody: list[Client], side: Side) -> tuple[float, float, float]:
    """(megabytes sent, CPU seconds, MiB at the peak)."""
    wanted = len(everybody) * (len(everybody) - 1) * len(everybody[0].prefixes_v4)
    by_asn = {each.asn: each for each in everybody}
    async with stand([server], "nnb") as place, side(server, place) as (pids, told):
        made: list[Speaker] = []
        for start in range(0, len(server.clients), AT_ONCE):
            some = await speakers(server, [(each, 4) for each in server.clients[start : start + AT_ONCE]], place.members)
            for each in some:
                announced(each, by_asn[each.client.asn])
            made += some
        await at_rest(pids, told, made, wanted)
        found = sum(each.octets for each in made) / 1e6, sum(map(cpu_seconds, pids)), sum(map(peak_mib, pids))
        for each in made:
            each.close()
        return found


def main() -> int:
    if os.geteuid() != 0:
        raise SystemExit("namespaces are made here: run it as root")
    everybody = clients(60, 100, 1) if "--quick" in sys.argv[1:] else clients(200, 300, 1)
    arouteserver.installed()
    print(f"{CLAIM}\n{len(everybody)} clients with {len(everybody[0].prefixes_v4)} prefixes each\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        place = written(files_of(everybody, asked=True), Path(name) / "ours")
        evidence = Evidence({BENCH_REGISTRY: answers(everybody), "file:rpki/vrps.json": (place / "rpki/vrps.json").read_bytes()})
        server = policy(sound(place, Snapshot())[1], evidence)[0]
        config, other = place / "bird.conf", place / "bgpd.conf"
        config.write_text(SPEAKERS[server.daemon].spell(server).replace("@HOME@", str(place)))
        other.write_text(SPEAKERS["openbgpd"].spell(replace(server, daemon="openbgpd")))
        peer = arouteserver.Server(ROUTE_SERVERS[0][0], "198.18.0.1", Path(name) / "theirs", Path(name) / "cache")
        arouteserver.fill_cache(peer.cache, everybody)
        peer.tell(everybody, limit=2 * len(everybody[0].prefixes_v4))
        peer.build()
        sides: dict[str, Side] = {
            "ours": partial(bird, config=config, driven=True),
            "without it": partial(bird, config=config, driven=False),
            "on OpenBGPD": partial(openbgpd, config=other),
            "arouteserver": partial(bird, config=peer.config, driven=False),
        }
        found = {what: asyncio.run(started(server, everybody, side)) for what, side in sides.items()}
    at_least = least(everybody) / 1e6
    print(f"{'':>14} {'MB':>7} {'of the least':>12} {'CPU s':>7} {'MiB':>7}")
    for what, (sent, cpu, memory) in found.items():
        print(f"{what:>14} {sent:>7.1f} {sent / at_least:>12.2f} {cpu:>7.2f} {memory:>7.1f}")
    mine, theirs = found["ours"][0], found["arouteserver"][0]
    holds = max(mine, found["on OpenBGPD"][0]) <= MOST * at_least
    print(json.dumps({"claim": CLAIM, "ours": round(mine, 1), "peer": round(theirs, 1), "ratio": round(theirs / mine, 2), "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
