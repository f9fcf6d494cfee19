"""Claim: one member added to 1,000 costs less CPU than ARouteServer 1.27 needs for its route servers alone, and resets no other session.

Ours, from files to a verified change: the exchange is read, completed, judged, planned and compiled; BIRD's parser is asked; the change is
recorded in the ledger; the seven switches (bridge, tunnel, forwarding entries, nftables, FRR), the new cable and the two route servers
are driven, and every machine is looked at before and after. A fresh process, as an operator would run it.
Peer: the same two route servers: `arouteserver bird` for the same clients, route objects and VRPs (arouteserver.py says how), in a fresh process
for each of them, then `birdc configure` at both at once. It has no switches, keeps no ledger and looks at nothing.

On both sides real BIRDs run in namespaces, and members' routers (BIRD as well) have their sessions up at both route servers over both
address families: over the whole fabric on ours, on a small exchange of just those members on the peer's. All other clients are configured and
absent; each round adds one more. CPU seconds are those of the processes that were started, and what the route servers' BIRDs
used meanwhile. Sessions that were up before and are not, or are not *since the same instant*, after the change count as disturbed. A
round counts only when both sides' BIRDs then have the same number of sessions, ROAs and registered prefixes in their configurations.

Run as root: python bench/apply.py [--quick]. `--quick` takes 300 members, where the lead is smaller: what ours spends on looking at every machine does not grow with members. The last line is one JSON object; the exit status is 0 when the
claim holds.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import arouteserver
from exchange import LAN_V4, ROUTE_SERVERS, clients, exchange, written
from nnix.cli.files import gathered, read_folder
from nnix.cli.root import Setting, clock, who
from nnix.hosts.namespace import NAMESPACES
from nnix.kernel.apply import Office
from nnix.kernel.change import admit
from nnix.kernel.plane import Plane
from nnix.lab.plane import PLANE as LAB
from nnix.lab.sweep import sweep
from nnix.planes import PLANES
from nnix.planes.routing.birdc import protocols

CLAIM = "CPU seconds to add one member to 1,000, from files to running route servers, beside ARouteServer 1.27 and birdc configure"
ROUTERS = 24
SESSIONS_UP = ROUTERS * 2 * len(ROUTE_SERVERS)
PREFIX = f"nnb{os.getpid() % 100000}"
PATIENCE_SECONDS = 180
ALL_BUT_ROUTERS = (*PLANES, replace(LAB, derive=None))
"""a lab gives every session a router; here only those that are declared have one"""
NO_ROUTE_SERVERS = tuple(replace(each, compile=None) if each.name == "routing" else each for each in ALL_BUT_ROUTERS)
"""the peer brings route servers of its own"""


# --- our side, in a process of its own


def change(folder: Path, state: Path, prefix: str, planes: Sequence[Plane]) -> None:
    """Make `folder` the model and the world. Prints how long each part took, in wall-clock seconds."""
    setting = Setting(state, None)
    setting.prefix = prefix
    office = Office(setting.book, setting.vault, planes, setting.world, clock, who())
    marks = [time.perf_counter()]
    found = read_folder(folder)
    snapshot = admit(planes, found.resources, setting.book.model().snapshot)
    marks.append(time.perf_counter())
    made = office.draft(snapshot, gathered(folder, snapshot, None))
    marks.append(time.perf_counter())

    async def work() -> tuple[bool, list[str]]:
        applied = await office.apply(made, "bench", revert=False)
        return applied.verified, [f"{'/'.join(each.key)}: {each.failure}" for each in applied.failures]

    verified, failures = setting.run(work())
    marks.append(time.perf_counter())
    spans = [after - before for before, after in itertools.pairwise(marks)]
    print(json.dumps({"verified": verified, "failures": failures[:3], "driven": len(made.plan.actions), "spans": spans}))


@dataclass(frozen=True)
class Spent:
    """What one change cost: seconds on the clock, CPU seconds of programs and of BIRDs, KiB at the peak; and who was disturbed."""

    wall: float
    cpu: float
    birds: float
    memory: int
    disturbed: int
    spans: tuple[float, ...] = ()

    @property
    def cpu_all(self) -> float:
        return self.cpu + self.birds


def run_change(folder: Path, state: Path, prefix: str, how: str = "--change") -> tuple[float, int, tuple[float, ...], int]:
    """(CPU seconds, KiB, spans, artifacts driven) of a change in a fresh process."""
    process = subprocess.Popen([sys.executable, __file__, how, str(folder), str(state), prefix], stdout=subprocess.PIPE, text=True)
    out = process.stdout.read() if process.stdout else ""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    said = json.loads(out) if process.returncode == 0 else {}
    if not said.get("verified"):
        raise SystemExit(f"our change was not verified: nothing was measured\n{said.get('failures')}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss, tuple(said["spans"]), said["driven"]


# --- BIRD, on both sides


@dataclass(frozen=True)
class Bird:
    """A running route server."""

    config: Path
    socket: Path
    pid_file: Path

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text().split()[0])

    def says(self, *command: str, restricted: bool = True) -> str:
        argv = ["birdc", *(["-r"] if restricted else []), "-s", str(self.socket), *command]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS).stdout

    def sessions(self) -> dict[str, str]:
        """Established sessions, and since when."""
        return {name: each.since for name, each in protocols(self.says("show", "protocols")).items() if each.established}

    def settled(self) -> bool:
        said = self.says("show", "status")
        return "Daemon is up and running" in said and "Reconfiguration in progress" not in said

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """KiB at its peak."""
        found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) if found else 0


def up(birds: Sequence[Bird]) -> dict[tuple[int, str], str]:
    """Every established session of both route servers, and since when."""
    return {(index, name): since for index, bird in enumerate(birds) for name, since in bird.sessions().items()}


def wait(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {PATIENCE_SECONDS} s, so nothing was measured")
        time.sleep(0.1)


def measured(birds: Sequence[Bird], work: Callable[[], tuple[float, int, tuple[float, ...]]]) -> Spent:
    """Do `work` and wait until the BIRDs have nothing left to do."""
    before, used = up(birds), [bird.cpu_seconds() for bird in birds]
    if len(before) != SESSIONS_UP:
        raise SystemExit(f"{len(before)} sessions are up instead of {SESSIONS_UP}: nothing was measured")
    begun = time.perf_counter()
    cpu, memory, spans = work()
    wait("BIRD's reconfiguration", lambda: all(bird.settled() for bird in birds))
    wall = time.perf_counter() - begun
    after = up(birds)
    disturbed = sum(after.get(session) != since for session, since in before.items())
    return Spent(wall, cpu, sum(bird.cpu_seconds() - then for bird, then in zip(birds, used, strict=True)), memory, disturbed, spans)


def work_in(configs: Sequence[Path]) -> dict[str, int]:
    """How many sessions, ROAs and registered prefixes the configurations have, whichever side spelled them.

    nnix writes route objects as ROAs into a table of their own; ARouteServer as a prefix set per client.
    """
    count = {"sessions": 0, "VRPs": 0, "registered prefixes": 0}
    for config in configs:
        text = config.read_text()
        count["sessions"] += len(re.findall(r"^\s*protocol bgp ", text, re.M))
        for table, body in re.findall(r"roa[46] \{ table (\w+); \};\n(.*?)\n\}", text, re.S):
            rows = len(re.findall(r"^\s*route ", body, re.M))
            if table in ("RPKI4", "RPKI6", "vrp4", "vrp6"):
                count["VRPs"] += rows
            elif table in ("irr4", "irr6"):
                count["registered prefixes"] += rows
        for body in re.findall(r"^define AS_SET_\w+_prefixes_[46] = \[(.*?)\];", text, re.M | re.S):
            count["registered prefixes"] += body.count("/")
    return count


# --- the two stages


class Ours:
    """A whole exchange with `members` members, the first of whom have routers."""

    def __init__(self, folder: Path, members: int) -> None:
        self.prefix, self._folder, self._members = f"{PREFIX}a-", folder, members
        self._state = folder / "state"
        self.driven = run_change(self._written(), self._state, self.prefix)[3]
        homes = [self._state / "hosts" / name / "bird" / name for name, _, _ in ROUTE_SERVERS]
        self.birds = [Bird(home / "bird.conf", home / "bird.ctl", home / "bird.pid") for home in homes]

    def _written(self) -> Path:
        return written(exchange(self._members, routers=ROUTERS), self._folder / f"{self._members}")

    def add(self) -> Spent:
        self._members += 1
        folder = self._written()

        def work() -> tuple[float, int, tuple[float, ...]]:
            cpu, memory, spans, self.driven = run_change(folder, self._state, self.prefix)
            return cpu, memory, spans

        return measured(self.birds, work)


class Peer:
    """ARouteServer's route servers with `members` clients, and the same routers on a small exchange of their own."""

    def __init__(self, folder: Path, members: int, members_max: int) -> None:
        self.prefix, self._members = f"{PREFIX}b-", members
        self._cache = folder / "cache"
        arouteserver.fill_cache(self._cache, clients(members_max))
        small = written(exchange(ROUTERS, routers=ROUTERS), folder / "routers")
        run_change(small, folder / "state", self.prefix, "--change-without-route-servers")
        self._servers = [arouteserver.Server(name, str(LAN_V4[host]), folder / name, self._cache) for name, _, host in ROUTE_SERVERS]
        self.birds = [Bird(each.config, each.folder / "bird.ctl", each.folder / "bird.pid") for each in self._servers]
        self._build()
        for server, bird in zip(self._servers, self.birds, strict=True):
            subprocess.Popen(
                [
                    *("nsenter", f"--net={NAMESPACES / (self.prefix + server.name)}", "--"),
                    *("bird", "-f", "-c", str(bird.config), "-s", str(bird.socket), "-P", str(bird.pid_file)),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _build(self) -> tuple[float, int]:
        """(CPU seconds, KiB) of ARouteServer for all route servers, one after the other."""
        arouteserver.forget_vrps(self._cache)
        for server in self._servers:
            server.tell(clients(self._members))
        spent = [server.build() for server in self._servers]
        return sum(cpu for cpu, _ in spent), max(memory for _, memory in spent)

    def add(self) -> Spent:
        self._members += 1

        def work() -> tuple[float, int, tuple[float, ...]]:
            cpu, memory = self._build()
            asked = [
                subprocess.Popen(["birdc", "-s", str(bird.socket), "configure"], stdout=subprocess.PIPE, text=True) for bird in self.birds
            ]
            for each in asked:
                said, _ = each.communicate(timeout=PATIENCE_SECONDS)
                if "Reconfigur" not in said:
                    raise SystemExit(f"BIRD does not take the peer's configuration: nothing was measured\n{said[-400:]}")
            return cpu, memory, ()

        return measured(self.birds, work)


def rounds_of(ours: Ours, peer: Peer, number: int) -> Iterator[tuple[Spent, Spent]]:
    for _ in range(number):
        row = ours.add(), peer.add()
        did = [work_in([bird.config for bird in side.birds]) for side in (ours, peer)]
        if did[0] != did[1]:
            raise SystemExit(f"the two sides did not do the same work: nothing was measured\n{did[0]}\n{did[1]}")
        yield row


def table(found: Sequence[tuple[Spent, Spent]], memory: Mapping[str, int]) -> None:
    columns = ("CPU s", "programs", "BIRDs", "seconds", "MiB peak", "disturbed", "BIRD MiB")
    print(f"{'':>14} " + " ".join(f"{each:>9}" for each in columns))
    for index, (label, peak) in enumerate(memory.items()):
        side = [row[index] for row in found]
        figures = (
            *(statistics.median(getattr(each, what) for each in side) for what in ("cpu_all", "cpu", "birds", "wall")),
            max(each.memory for each in side) / 1024,
        )
        cells = " ".join(f"{each:>9.2f}" for each in figures)
        print(f"{label:>14} {cells} {sum(each.disturbed for each in side):>9} {peak / 1024:>9.1f}")
    spans = [statistics.median(each) for each in zip(*(row[0].spans for row in found), strict=True)]
    print(f"\nnnix: read and judge {spans[0]:.2f} s, plan and compile {spans[1]:.2f} s, check, record, drive and verify {spans[2]:.2f} s")


def main() -> int:
    if sys.argv[1:2] in (["--change"], ["--change-without-route-servers"]):
        planes = ALL_BUT_ROUTERS if sys.argv[1] == "--change" else NO_ROUTE_SERVERS
        change(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], planes)
        return 0
    if os.geteuid() != 0:
        raise SystemExit("namespaces are made here: run it as root")
    members, rounds = (300, 2) if "--quick" in sys.argv[1:] else (1000, 3)
    arouteserver.installed()
    print(f"{CLAIM}\n{members} members, {SESSIONS_UP} sessions up on each side, {rounds} interleaved rounds, medians\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        folder = Path(name)
        try:
            ours, peer = Ours(folder / "a", members), Peer(folder / "b", members, members + rounds)
            wait("our members' sessions", lambda: len(up(ours.birds)) == SESSIONS_UP)
            wait("the peer's members' sessions", lambda: len(up(peer.birds)) == SESSIONS_UP)
            found = list(rounds_of(ours, peer, rounds))
            memory = {"nnix": max(bird.memory() for bird in ours.birds), "ARouteServer": max(bird.memory() for bird in peer.birds)}
            did = work_in([bird.config for bird in ours.birds])
        finally:
            for letter in ("a", "b"):
                for failure in sweep(f"{PREFIX}{letter}-", folder / letter / "state/hosts"):
                    print(f"could not be taken down: {failure}", file=sys.stderr)
    print(f"{', '.join(f'{count} {what}' for what, count in did.items())} on each side; nnix drove {ours.driven} artifacts\n")
    table(found, memory)
    mine, theirs = (statistics.median(row[side].cpu_all for row in found) for side in (0, 1))
    ratio = statistics.median(row[1].cpu_all / row[0].cpu_all for row in found)
    disturbed = sum(row[0].disturbed for row in found)
    holds = ratio > 1 and disturbed == 0
    peak = max(row[0].memory for row in found)
    figures = {"ours": round(mine, 2), "peer": round(theirs, 2), "ratio": round(ratio, 2), "members": members}
    print()
    print(json.dumps({"claim": CLAIM, **figures, "disturbed": disturbed, "peak_mib": round(peak / 1024, 1), "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
