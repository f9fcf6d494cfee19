"""Claim: a route object goes from the registry, and 5 s later its route is gone at every member, while no other session and no other route is touched.

1,000 clients are configured with 356,000 registered prefixes; 100 of them are there, each with 3 routes. A member loses one route object. The clock runs from the moment that
the registry's new answer is on the disk until the last of the members who are there has heard the withdrawal. All sides work in fresh processes:

ours          reads the exchange's files and the answer, judges, compiles, asks BIRD's parser, and drives BIRD, as `nnix apply` does (which records and verifies besides)
ours by RTR   the same without the driver: it writes the document of the cache beside the members, and the cache tells BIRD
arouteserver  `arouteserver bird` with its cache filled, then `birdc configure`

The first of ours, which is the default (docs/rtr.md), is what the claim is about. A round counts only when all the other routes are still with everybody, no session has ended and nobody
was asked for anything.

Run as root: python bench/routing_change.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds. --quick takes 200 clients with 4,800
prefixes, 30 of them there.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import arouteserver
from exchange import ROUTE_SERVERS, Client, clients, files_of, written
from nnix.cli.files import sound
from nnix.daemons.bird import BIRD
from nnix.hosts.namespace import NamespaceHost
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.planes.routing.compile import SPEAKERS, ServerPolicy, policy
from nnix.planes.routing.prove import messages
from nnix.planes.routing.prove.route import Route, prefix_of
from nnix.planes.routing.trial.speakers import Speaker, speakers
from nnix.planes.routing.trial.stand import Stand, stand
from routing_compile import BENCH_REGISTRY, V4_EACH, V6_EACH, answers
from routing_converge import AT_ONCE, cache, cached, cpu_seconds, running

CLAIM = "seconds from a registry's new answer to the last member who hears that the route is gone, 1,000 clients, beside ARouteServer 1.27 and birdc configure"
AIM_SECONDS = 5.0
ANNOUNCED = 3
PATIENCE_SECONDS = 600.0
ANSWERS, VRPS = "answers.txt", "rpki/vrps.json"


# --- ours, in a process of its own


def compiled(folder: Path) -> ServerPolicy:
    evidence = Evidence({BENCH_REGISTRY: (folder / ANSWERS).read_bytes(), f"file:{VRPS}": (folder / VRPS).read_bytes()})
    return policy(sound(folder, Snapshot())[1], evidence)[0]


def spelled(server: ServerPolicy) -> bytes:
    return SPEAKERS[server.daemon].spell(server).encode()


def change(folder: Path, namespace: str, home: Path) -> None:
    """Make what the answers say true: by the driver, or where a cache feeds the route server by its documents."""
    server = compiled(folder)
    if server.feeds:
        cached(server, folder)
        return
    host, content = NamespaceHost(server.machine, namespace, home), spelled(server)

    async def driven() -> None:
        if complaint := await BIRD.check(host, content):
            raise SystemExit(complaint)
        await BIRD.drive(host, server.name, content)

    asyncio.run(driven())


# --- all sides


@dataclasses.dataclass(frozen=True)
class Spent:
    """Seconds by the clock until the last member heard it; CPU seconds of programs and of BIRD."""

    seconds: float
    programs: float
    bird: float


Changing = Callable[[Stand, Path], Awaitable[None]]


async def ran(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(*argv, stdout=-1, stderr=-1)
    _, err = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{argv[0]} failed: nothing was measured\n{err.decode()[-600:]}")


@contextlib.asynccontextmanager
async def members(server: ServerPolicy, there: list[Client], place: Stand) -> AsyncIterator[list[Speaker]]:
    """Those who are there, when everybody has heard everybody else's routes."""
    by_asn = {each.asn: each for each in there}
    present = [each for each in server.clients if each.asn in by_asn]
    made: list[Speaker] = []
    for start in range(0, len(present), AT_ONCE):
        made += await speakers(server, [(each, 4) for each in present[start : start + AT_ONCE]], place.members)
    for each in made:
        client = by_asn[each.client.asn]
        prefixes = [prefix_of(prefix) for prefix in client.prefixes_v4[:ANNOUNCED]]
        each.announce(Route(prefixes[0], (client.asn,), client.v4), prefixes)
    wanted = ANNOUNCED * (len(there) - 1)
    await until(lambda: all(len(each.heard) == wanted for each in made), made, "not everybody hears everybody")
    yield made
    for each in made:
        each.close()


async def until(claim: Callable[[], bool], made: list[Speaker], what: str) -> None:
    deadline, alive = time.monotonic() + PATIENCE_SECONDS, time.monotonic()
    while not claim():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: nothing was measured")
        if time.monotonic() - alive > 20:
            alive = time.monotonic()
            for each in made:
                each.say(messages.message(messages.KEEPALIVE))
        await asyncio.sleep(0.02)


async def measured(server: ServerPolicy, there: list[Client], config: Path, changing: Changing, *, driven: bool, folder: Path) -> Spent:
    gone = prefix_of(there[0].prefixes_v4[0])
    async with (
        stand([server], "nnb") as place,
        running(server, place, config, driven=driven) as (pid, control),
        cache(server, place, folder, control),
        members(server, there, place) as made,
    ):
        others = [each for each in made if each.client.asn != there[0].asn]
        before, birds = resource.getrusage(resource.RUSAGE_CHILDREN), cpu_seconds(pid)
        begun = time.monotonic()
        work = asyncio.ensure_future(changing(place, control))
        await until(lambda: not any(gone in each.heard for each in others), made, "the route does not go")
        seconds = time.monotonic() - begun
        await work
        after, birds = resource.getrusage(resource.RUSAGE_CHILDREN), cpu_seconds(pid) - birds
        wanted = ANNOUNCED * (len(there) - 1)
        ended = [each.session for each in made if not each.up or each.notification or each.refreshes]
        missing = [each.session for each in made if len(each.heard) != wanted - (each.client.asn != there[0].asn)]
        if ended or missing:
            raise SystemExit(f"others were touched: sessions {ended[:5]}, routes {missing[:5]}: the claim does not hold")
        programs = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Spent(seconds, programs, birds)


def ours(folder: Path, everybody: list[Client], there: list[Client], *, caches: bool) -> Spent:
    place = written(files_of(everybody, asked=True, caches=caches), folder)
    (place / ANSWERS).write_bytes(answers(everybody))
    server = compiled(place)
    config = place / "bird.conf"
    config.write_bytes(spelled(server).replace(b"@HOME@", str(place).encode()) if caches else spelled(server))

    async def changing(stood: Stand, control: Path) -> None:
        (place / ANSWERS).write_text(lacking((place / ANSWERS).read_text(), there[0].asn, str(there[0].prefixes_v4[0])))
        await ran(sys.executable, __file__, "--change", str(place), stood.server, stood.host.home)

    return asyncio.run(measured(server, there, config, changing, driven=not caches, folder=place))


def lacking(text: str, asn: int, prefix: str) -> str:
    """The registry's answer without one route object."""
    return "".join(
        line.replace(f" {prefix}", "", 1) if line.startswith(f"routes AS{asn} ") else line for line in text.splitlines(keepends=True)
    )


def peers(folder: Path, everybody: list[Client], there: list[Client], server: ServerPolicy) -> Spent:
    peer = arouteserver.Server(ROUTE_SERVERS[0][0], "198.18.0.1", folder / "theirs", folder / "cache")
    arouteserver.fill_cache(peer.cache, everybody)
    peer.tell(everybody)
    peer.build()

    async def changing(stood: Stand, control: Path) -> None:
        file = peer.cache / f"AS{there[0].asn}-r_set-ipv4.json"
        kept = json.loads(file.read_text())
        without = str(there[0].prefixes_v4[0].network_address)
        file.write_text(json.dumps({"ts": int(time.time()), "data": [each for each in kept["data"] if each["prefix"] != without]}))
        await asyncio.to_thread(peer.build)
        await ran("birdc", "-s", str(control), "configure")

    return asyncio.run(measured(dataclasses.replace(server, feeds=()), there, peer.config, changing, driven=False, folder=folder))


def main() -> int:
    if sys.argv[1:2] == ["--change"]:
        change(Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
        return 0
    if os.geteuid() != 0:
        raise SystemExit("namespaces are made here: run it as root")
    quick = "--quick" in sys.argv[1:]
    everybody = clients(200, 20, 4) if quick else clients(1000, V4_EACH, V6_EACH)
    there = everybody[: 30 if quick else 100]
    arouteserver.installed()
    print(f"{CLAIM}\n{len(everybody)} clients, {len(there)} of them there\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        found = {
            "ours": ours(Path(name) / "whole", everybody, there, caches=False),
            "ours by RTR": ours(Path(name) / "fed", everybody, there, caches=True),
        }
        found["arouteserver"] = peers(Path(name), everybody, there, compiled(Path(name) / "whole"))
    print(f"{'':>14} {'seconds':>8} {'programs CPU s':>15} {'BIRD CPU s':>11}")
    for what, each in found.items():
        print(f"{what:>14} {each.seconds:>8.2f} {each.programs:>15.2f} {each.bird:>11.2f}")
    mine, theirs = found["ours"], found["arouteserver"]
    holds = mine.seconds <= AIM_SECONDS
    figures = {"ours": round(mine.seconds, 2), "peer": round(theirs.seconds, 2), "ratio": round(theirs.seconds / mine.seconds, 1)}
    print(json.dumps({"claim": CLAIM, **figures, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
