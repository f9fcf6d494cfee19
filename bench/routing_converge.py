"""Claim: 200 clients announce 300 prefixes each to a route server that starts from nothing, 60,000 in and 11,940,000 out, for 13 CPU s of BIRD and 60 MiB.

Ours: the configuration that nnix compiles for these clients, strictest policy, with route objects and VRPs coming by RTR from a cache of nnix's own that stands
beside the clients; and, as a second one, with both inside of the configuration. Peer: what ARouteServer 1.27 writes for the same. The claim is about the first. All run in
the same BIRD, in a namespace with a cable for a LAN; the clients are played by one process at the other end, which takes what it is told off its
sockets and looks at none of it. Ours is started by nnix's driver, as in production, so that it waits for its members before it lets anything in (docs/routing.md,
Cold start), and what that costs is in the measure; the peer's, which knows nothing of the kind, by itself. All sessions are up before the first route is announced. The
measure begins there and ends when BIRD sleeps, nothing lies in
its sockets, and it says that it exported every route to everybody else: CPU seconds and peak memory of BIRD alone. A side that exported another number ends the bench.

Run as root: python bench/routing_converge.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds. --quick takes 60 clients with
100 prefixes each, and holds when ours needs less than the peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import arouteserver
from exchange import ROUTE_SERVERS, Client, clients, files_of, written
from nnix.cli.files import sound
from nnix.daemons.bird import BIRD
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.planes.routing.compile import SPEAKERS, ServerPolicy, policy
from nnix.planes.routing.prove import messages
from nnix.planes.routing.prove.route import Route, prefix_of
from nnix.planes.routing.trial.speakers import Speaker, speakers
from nnix.planes.routing.trial.stand import Stand, stand, working
from nnix.planes.trust.kinds import IRR_PORT, VRP_PORT
from routing_compile import BENCH_REGISTRY, answers

CLAIM = "CPU seconds of BIRD until 200 clients with 300 prefixes each have told one another everything, in 60 MiB, beside ARouteServer 1.27"
AIM_SECONDS, AIM_MIB = 13.0, 60.0
PATIENCE_SECONDS = 900.0
STILL_SECONDS = 1.0
AT_ONCE = 25  # sessions that come up together: BIRD takes only so many connections at once


class Listener(Speaker):
    """A client that is told twelve million routes and takes them off its socket."""

    def data_received(self, data: bytes) -> None:
        if self.decided.done():
            self.octets += len(data)
        else:
            super().data_received(data)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def birdc(control: Path, *words: str) -> str:
    return subprocess.run(["birdc", "-r", "-s", str(control), *words], capture_output=True, text=True, check=False).stdout


def exported(control: Path) -> int:
    """Routes that BIRD says it has told all its clients."""
    return sum(map(int, re.findall(r"Routes:.*?(\d+) exported", birdc(control, "show", "protocols", "all"))))


def cached(server: ServerPolicy, folder: Path) -> Path:
    """The configuration of a cache for `server`, with its documents."""
    tables = []
    for name, port, roas in (
        ("vrp", VRP_PORT, (server.vrps_v4, server.vrps_v6)),
        ("irr", IRR_PORT, (server.registered_v4, server.registered_v6)),
    ):
        rows = [{"prefix": prefix, "maxLength": longest, "asn": origin} for table in roas for prefix, longest, origin in table.roas]
        draft = folder / f"{name}.json.new"
        draft.write_text(json.dumps({"roas": rows}))
        draft.replace(folder / f"{name}.json")
        for word, at, any_length in ((name, port, False), (f"{name}_covering", port + 1, True)):
            listen = [{"address": str(feed.address), "port": at} for feed in server.feeds if feed.table == word]
            tables.append(
                {
                    "name": word.replace("_", "-"),
                    "file": str(folder / f"{name}.json"),
                    "listen": listen,
                    "marked": True,
                    "any_length": any_length,
                }
            )
    place = folder / "cache.json"
    place.write_text(json.dumps({"state": str(folder / "cache"), "tables": tables}))
    return place


@contextlib.asynccontextmanager
async def cache(server: ServerPolicy, place: Stand, folder: Path, control: Path) -> AsyncIterator[None]:
    """A cache beside the clients, from which BIRD has taken everything; nothing where the configuration holds it all."""
    if not server.feeds:
        yield
        return
    for address in {str(feed.address) for feed in server.feeds}:
        await asyncio.to_thread(subprocess.run, ["ip", "-n", place.members, "address", "add", f"{address}/32", "dev", "lo"], check=True)
    argv = ["ip", "netns", "exec", place.members, sys.executable, "-m", "nnix.planes.trust.serve", str(cached(server, folder))]
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wanted = len(server.registered_v4) + len(server.registered_v6)
        until = time.monotonic() + 120
        while (
            sum(
                int(n)
                for table in ("irr4", "irr6")
                for n in re.findall(r"(\d+) of", birdc(control, "show", "route", "table", table, "count"))
            )
            < wanted
        ):
            if time.monotonic() > until:
                raise SystemExit("BIRD does not take the route objects from the cache: nothing was measured")
            await asyncio.sleep(0.2)
        if process.returncode is not None:
            raise SystemExit("the cache does not run: nothing was measured")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def running(server: ServerPolicy, place: Stand, config: Path, *, driven: bool) -> AsyncIterator[tuple[int, Path]]:
    """(pid, control socket) of a BIRD that has just been started: by nnix's driver, or by itself."""
    if driven:
        await BIRD.drive(place.host, server.name, config.read_bytes())
        home = Path(place.host.home, "bird", server.name)
        try:
            yield int((home / "bird.pid").read_text()), home / "bird.ctl"
        finally:
            await BIRD.drive(place.host, server.name, None)
        return
    control = config.with_suffix(".ctl")
    argv = ["ip", "netns", "exec", place.server, "bird", "-f", "-c", str(config), "-s", str(control)]
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not control.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)
        yield process.pid, control
    finally:
        process.kill()
        await process.wait()


def announced(speaker: Speaker, client: Client) -> None:
    """It says all that it has to say of IPv4, and from now on takes what it is told and looks at none of it."""
    speaker.__class__ = Listener
    prefixes = [prefix_of(prefix) for prefix in client.prefixes_v4]
    speaker.announce(Route(prefixes[0], (client.asn,), client.v4), prefixes)


async def at_rest(pids: list[int], told: Callable[[], int], made: list[Speaker], wanted: int) -> None:
    """Return when a daemon has `told` as many routes as `wanted` and has nothing left to do. Ends the bench when it does not come to that."""
    until, still, alive = time.monotonic() + PATIENCE_SECONDS, 0.0, time.monotonic()
    while still < STILL_SECONDS or told() != wanted:
        await asyncio.sleep(0.1)
        still = 0.0 if still >= STILL_SECONDS or working(pids) else still + 0.1
        if time.monotonic() - alive > 20:
            alive = time.monotonic()
            for each in made:
                each.say(messages.message(messages.KEEPALIVE))
        if time.monotonic() > until:
            raise SystemExit(f"{told()} routes were told, not {wanted}: the two sides did not do the same work")


async def converged(server: ServerPolicy, everybody: list[Client], config: Path, *, driven: bool) -> tuple[float, float]:
    """(CPU seconds, MiB at the peak) of BIRD."""
    wanted = len(everybody) * (len(everybody) - 1) * len(everybody[0].prefixes_v4)
    async with (
        stand([server], "nnb") as place,
        running(server, place, config, driven=driven) as (pid, control),
        cache(server, place, config.parent, control),
    ):
        made: list[Speaker] = []
        for start in range(0, len(server.clients), AT_ONCE):
            made += await speakers(server, [(each, 4) for each in server.clients[start : start + AT_ONCE]], place.members)
        if not all(each.up for each in made):
            raise SystemExit("a client's session does not come up: nothing was measured")
        by_asn = {each.asn: each for each in everybody}
        begun = cpu_seconds(pid)
        for each in made:
            announced(each, by_asn[each.client.asn])
            await asyncio.sleep(0)
        await at_rest([pid], partial(exported, control), made, wanted)
        spent, peak = cpu_seconds(pid) - begun, peak_mib(pid)
        for each in made:
            each.close()
        return spent, peak


def main() -> int:
    if os.geteuid() != 0:
        raise SystemExit("namespaces are made here: run it as root")
    quick = "--quick" in sys.argv[1:]
    everybody = clients(60, 100, 1) if quick else clients(200, 300, 1)
    arouteserver.installed()
    print(f"{CLAIM}\n{len(everybody)} clients with {len(everybody[0].prefixes_v4)} prefixes each\n", flush=True)
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        sides: dict[str, tuple[ServerPolicy, Path]] = {}
        for what, caches in (("ours by RTR", True), ("ours whole", False)):
            place = written(files_of(everybody, asked=True, caches=caches), Path(name) / what.replace(" ", "-"))
            evidence = Evidence({BENCH_REGISTRY: answers(everybody), "file:rpki/vrps.json": (place / "rpki/vrps.json").read_bytes()})
            server = policy(sound(place, Snapshot())[1], evidence)[0]
            sides[what] = server, place / "bird.conf"
            sides[what][1].write_text(SPEAKERS[server.daemon].spell(server).replace("@HOME@", str(place)))
        peer = arouteserver.Server(ROUTE_SERVERS[0][0], "198.18.0.1", Path(name) / "theirs", Path(name) / "cache")
        arouteserver.fill_cache(peer.cache, everybody)
        peer.tell(everybody, limit=2 * len(everybody[0].prefixes_v4))
        peer.build()
        sides["arouteserver"] = server, peer.config
        for _ in range(1 if quick else 3):
            for what, (server, config) in sides.items():
                found.setdefault(what, []).append(asyncio.run(converged(server, everybody, config, driven=what != "arouteserver")))
    cpu = {what: statistics.median(each for each, _ in rounds) for what, rounds in found.items()}
    memory = {what: statistics.median(each for _, each in rounds) for what, rounds in found.items()}
    print(f"{'':>14} {'CPU s':>7} {'MiB':>7}")
    for what in found:
        print(f"{what:>14} {cpu[what]:>7.2f} {memory[what]:>7.1f}")
    holds = cpu["ours by RTR"] < cpu["arouteserver"] if quick else cpu["ours by RTR"] <= AIM_SECONDS and memory["ours by RTR"] <= AIM_MIB
    ratio = round(cpu["arouteserver"] / cpu["ours by RTR"], 2)
    print(
        json.dumps(
            {"claim": CLAIM, "ours": round(cpu["ours by RTR"], 2), "peer": round(cpu["arouteserver"], 2), "ratio": ratio, "holds": holds}
        )
    )
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
