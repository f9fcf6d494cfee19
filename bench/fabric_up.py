"""Claim: the topology of examples/zhejiang comes up sooner in batches than with one process for each command.

What comes up: namespaces, cables, bridges, tunnels, addresses, routes, shapers, forwarding entries and kernel settings; no daemon.
Ours: the drivers of the lab as they always are, which also look at every machine before they do anything and again afterwards.
Peer: exactly the commands that ours gave to `ip -batch`, `bridge -batch` and `tc -batch`, taken down while it ran, each as a process of its
own (`ip -n NAMESPACE …`); settings of a machine are written by one shell, as ours does. The peer looks at nothing, and has the same
number of machines in hand at once, so that it differs in the batches alone.

Both sides work in namespaces of this bench's own, and are taken down after each round. A round counts only when both ended with the same
number of namespaces, links, addresses, routes and forwarding entries. Wall-clock seconds, since most of the time passes in the kernel;
CPU seconds of all processes beside them.

Run as root: python bench/fabric_up.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nnix.cli.files import read_folder
from nnix.cli.root import ALL_PLANES
from nnix.daemons.iproute import IPROUTE
from nnix.hosts.namespace import NAMESPACES, NamespaceHost
from nnix.kernel.change import Key, admit, compile_all, evidence_keys
from nnix.kernel.drive import HERE_AT_ONCE, World, converge
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact, Driver, Host, Result
from nnix.lab.compile import OPERATOR_KEY
from nnix.lab.sweep import sweep
from nnix.lab.wires import WiresDriver
from nnix.planes.members.kinds import Member, Site

CLAIM = "seconds until the links, bridges, tunnels and addresses of examples/zhejiang stand, in batches, beside one process a command"
EXAMPLE = Path(__file__).resolve().parent.parent / "examples/zhejiang"
PREFIX = f"nnb{os.getpid() % 100000}"
OURS, PEER = f"{PREFIX}a-", f"{PREFIX}b-"
PLACE = "@NAMESPACE@"
HEREDOC = re.compile(r"(ip|tc|bridge) -force -batch - <<'END OF \1'\n(.*?)\nEND OF \1$", re.M | re.S)


@dataclass
class Said:
    """What was said to one machine: commands for the tools, and lines of shell that write settings; in order."""

    commands: list[tuple[str, str]] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)


class Overheard(NamespaceHost):
    """A host that takes down what it is told."""

    def __init__(self, name: str, namespace: str | None, home: Path, said: Said) -> None:
        super().__init__(name, namespace, home)
        self._said = said

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        text = stdin.decode()
        if "-batch" in argv:
            self._said.commands += [(argv[0], line.replace(OURS, PLACE)) for line in text.splitlines()]
        elif argv[0] == "sh":
            self._said.commands += [(found[1], line) for found in HEREDOC.finditer(text) for line in found[2].splitlines()]
            self._said.settings += [line for line in text.splitlines() if line.startswith("printf ")]
        return await super().run(argv, stdin=stdin, timeout_seconds=timeout_seconds)


@dataclass
class Lab:
    """The machines of one round of ours."""

    home: Path
    said: dict[str, Said] = field(default_factory=dict)

    def host(self, machine: str) -> Host:
        namespace = None if machine == "@lab" else f"{OURS}{machine.removeprefix('@')}"
        return Overheard(machine, namespace, self.home / machine, self.said.setdefault(machine, Said()))


def drivers() -> Mapping[str, Driver]:
    return {each.name: each for each in (WiresDriver(OURS), IPROUTE)}


def topology() -> tuple[dict[Key, Artifact], str]:
    """What of the example is links and addresses; and how large it is, in words."""
    found = read_folder(EXAMPLE)
    snapshot = admit(ALL_PLANES, found.resources, Snapshot())
    keys = (key for key in evidence_keys(ALL_PLANES, snapshot) if key != OPERATOR_KEY)
    evidence = Evidence({key: (EXAMPLE / key.removeprefix("file:")).read_bytes() for key in keys})
    size = f"{len(snapshot.of(Site))} sites, {len(snapshot.of(Member))} members"
    return {key: each for key, each in compile_all(ALL_PLANES, snapshot, evidence).items() if each.driver in drivers()}, size


def ours(artifacts: Mapping[Key, Artifact], home: Path) -> dict[str, Said]:
    """Bring it up; what was said to whom."""
    lab = Lab(home)
    world = World(lab, drivers(), lambda machine: machine.startswith("@"))
    failures = [each.failure for each in asyncio.run(converge(world, artifacts)) if each.failure]
    if failures:
        raise SystemExit(f"our side did not come up: nothing was measured\n{failures[0]}")
    return lab.said


def peer(said: Mapping[str, Said]) -> None:
    """The same commands, one process each: first the ground, then the machines, as many at once as ours."""
    for tool, line in said["@lab"].commands:
        _run([tool, *line.replace(PLACE, PEER).split()])

    def machine(name: str) -> None:
        namespace = f"{PEER}{name.removeprefix('@')}"
        if said[name].settings:
            _run(["nsenter", f"--net={NAMESPACES / namespace}", "--", "sh", "-c", "\n".join(said[name].settings)])
        for tool, line in said[name].commands:
            _run([tool, "-n", namespace, *line.split()])

    with ThreadPoolExecutor(HERE_AT_ONCE) as pool:
        list(pool.map(machine, (name for name in said if name != "@lab")))


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer's side did not come up: nothing was measured\n{' '.join(argv)}: {done.stderr.strip()}")


def standing(prefix: str) -> dict[str, int]:
    """How many of each there are in the namespaces with `prefix`. Entries that a bridge has learned by itself are no work of either side, nor are
    those of groups, which the kernel joins in its own time."""
    names = [path.name for path in NAMESPACES.glob(f"{prefix}*")]
    count = {"namespaces": len(names), "links": 0, "addresses": 0, "routes": 0, "shapers": 0, "fdb entries": 0}
    for name in names:
        count["links"] += len(_asked(["ip", "-n", name, "-j", "link", "show"]))
        rows = _asked(["ip", "-n", name, "-j", "address", "show"])
        count["addresses"] += sum(1 for row in rows for each in row["addr_info"] if each.get("scope") == "global")
        count["routes"] += len(_asked(["ip", "-n", name, "-j", "-4", "route", "show"]))
        count["shapers"] += sum(each["kind"] == "tbf" for each in _asked(["tc", "-n", name, "-j", "qdisc", "show"]))
        entries = _asked(["bridge", "-n", name, "-j", "fdb", "show"])
        count["fdb entries"] += sum(each.get("state") in ("static", "permanent") and not int(each["mac"][:2], 16) & 1 for each in entries)
    return count


def _asked(argv: Sequence[str]) -> list[dict[str, Any]]:
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return [row for row in json.loads(out or "[]") if row]


def _cpu_seconds() -> float:
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


class Round(NamedTuple):
    """Seconds on the clock and CPU seconds, ours and the peer's."""

    walls: tuple[float, float]
    cpus: tuple[float, float]


def one_round(artifacts: Mapping[Key, Artifact]) -> tuple[Round, int, dict[str, int]]:
    """Both sides once; with the number of commands, and what stood in the end."""
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        try:
            marks = [(time.perf_counter(), _cpu_seconds())]
            said = ours(artifacts, Path(name))
            marks.append((time.perf_counter(), _cpu_seconds()))
            seen = standing(OURS)
            clean(OURS)
            marks.append((time.perf_counter(), _cpu_seconds()))
            peer(said)
            marks.append((time.perf_counter(), _cpu_seconds()))
            if standing(PEER) != seen:
                raise SystemExit(f"the two sides did not build the same: nothing was measured\n{seen}\n{standing(PEER)}")
        finally:
            clean(OURS)
            clean(PEER)
    (wall_0, cpu_0), (wall_1, cpu_1), (wall_2, cpu_2), (wall_3, cpu_3) = marks
    spent = Round((wall_1 - wall_0, wall_3 - wall_2), (cpu_1 - cpu_0, cpu_3 - cpu_2))
    return spent, sum(len(each.commands) for each in said.values()), seen


def clean(prefix: str) -> None:
    """Namespaces only: sweep() would also take a folder of hosts' homes, and ours is a temporary one."""
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        left = sweep(prefix, Path(name) / "hosts")
    if left:
        raise SystemExit(f"could not be taken down: {left[0]}")


def main() -> int:
    if os.geteuid() != 0:
        raise SystemExit("namespaces are made here: run it as root")
    number = 3 if "--quick" in sys.argv[1:] else 9
    print(f"{CLAIM}\n{number} interleaved rounds, medians\n")
    artifacts, size = topology()
    found = []
    for _ in range(number):
        spent, commands, seen = one_round(artifacts)
        found.append(spent)
    print(f"{size}; {commands} commands; {', '.join(f'{count} {what}' for what, count in seen.items())}\n")
    print(f"{'':>22} {'seconds':>8} {'least':>7} {'most':>7} {'CPU s':>7}")
    for side, label in enumerate(("nnix, batches", "one process a command")):
        walls, cpus = [each.walls[side] for each in found], [each.cpus[side] for each in found]
        print(f"{label:>22} {statistics.median(walls):>8.2f} {min(walls):>7.2f} {max(walls):>7.2f} {statistics.median(cpus):>7.2f}")
    mine, theirs = (statistics.median(each.walls[side] for each in found) for side in (0, 1))
    ratio = statistics.median(each.walls[1] / each.walls[0] for each in found)
    holds = ratio > 1
    print()
    print(json.dumps({"claim": CLAIM, "ours": round(mine, 2), "peer": round(theirs, 2), "ratio": round(ratio, 2), "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
