"""Claim: what nnix adds to a name server (rate limits, cookies, identity, control) costs at most 5 % of the queries that it answers per CPU second.

Ours: the configuration of a public node as planes/naming spells it, with limits that are counted and never reached. Peer: the same daemon,
bare: an address and the zone. Both makes, NSD and Knot; the same zone, the same questions in the same order, one dnsperf at a time on the
loopback of a namespace of this bench's own. A round counts only if every question was answered with the same response codes on both sides.

A third side, which the claim does not judge: ours with `statistics`, where the daemon tells of every question and answer by dnstap. Its counter
(planes/naming/counting.py) runs beside it as on a node, and its own CPU, which is bounded, is told apart.

Queries per server CPU second: the CPU time of all processes of the server, not of dnsperf. Interleaved rounds, medians.

Run as root: python bench/naming_answer.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from nnix.daemons.knot import knot
from nnix.daemons.nameserver import NameServerDriver
from nnix.daemons.nsd import CONTROL, nsd
from nnix.daemons.secrets import Secrets
from nnix.hosts.namespace import NamespaceHost
from nnix.planes.naming import knot as knot_spelling
from nnix.planes.naming import nsd as nsd_spelling
from nnix.planes.naming.compile import COUNTER_CPU_SHARE, OWN_COUNTS, Key, NodePolicy, Server

CLAIM = "queries per server CPU second through our configuration, beside the bare daemon"
NAMESPACE = f"nnb{os.getpid() % 100000}"
ADDRESS = IPv4Address("127.0.0.53")
AT_LEAST = 0.95
TICKS = os.sysconf("SC_CLK_TCK")
SEED = 8976
LOADED_SECONDS_MAX = 120
NETWORKS = 8  # from which questions come; of one alone, both threads of a server would wait for the one count that a rate limit keeps of it


def zone(delegations: int) -> str:
    """A top-level domain with that many unsigned delegations."""
    head = [
        "bench. 86400 IN SOA ns.bench. host.bench. 1 1800 900 604800 86400",
        "bench. 86400 IN NS ns.bench.",
        "ns.bench. 86400 IN A 127.0.0.53",
    ]
    return "\n".join([*head, *(f"d{n}.bench. 86400 IN NS ns{i}.h{n % 997}.example." for n in range(delegations) for i in (1, 2))]) + "\n"


def questions(delegations: int, count: int) -> str:
    """Names below existing delegations, one in a hundred that does not exist."""
    chance = random.Random(SEED)
    return "".join(f"{'x' if n % 100 == 0 else 'www.'}d{chance.randrange(delegations)}.bench A\n" for n in range(count))


def ours(make: str, tap: str | None = None) -> bytes:
    """As planes/naming spells it. The gate is not there; the zone is in its file already."""
    gate = Server("gate", ((IPv4Address("127.0.0.99"), 53),), Key("key.", "hmac-sha256", "@SECRET:tsig@"))
    policy = NodePolicy("node", (ADDRESS,), (), (ADDRESS,), gate, ("bench.",), None, 16_000, True, "@SECRET:cookies@", None, (), tap)
    spelled = {"nsd": nsd_spelling.spell, "knot": knot_spelling.spell_node}[make](policy)
    # a node of Knot's keeps its zones in the journal, which the gate fills; here they come from a file
    return spelled.replace("zonefile-load: none", "zonefile-load: whole").replace("journal-content: all", "journal-content: none").encode()


def bare(make: str) -> bytes:
    """What the daemon needs to answer at all; of NSD also that it does not limit, as Debian's does unasked."""
    if make == "nsd":
        paths = "".join(f'    {word}: ""\n' for word in ("username", "zonesdir", "database", "pidfile", "cookie-secret-file"))
        text = f'server:\n    ip-address: {ADDRESS}\n    rrl-ratelimit: 0\n{paths}    xfrdfile: "xfrd.state"\n    zonelistfile: "zone.list"\n    xfrdir: "."\n'
        return f'{text}{CONTROL}zone:\n    name: "bench."\n    zonefile: "bench.zone"\n'.encode()
    text = f'server:\n    rundir: "."\n    listen: {ADDRESS}@53\nlog:\n  - target: stdout\n    any: info\ndatabase:\n    storage: "db"\n'
    return f'{text}zone:\n  - domain: "bench."\n    storage: "."\n    file: "bench.zone"\n'.encode()


def cpu_seconds(inode: int) -> float:
    """Of all processes in the namespace, which are the server's while no dnsperf runs."""
    total = 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "ns/net").stat().st_ino == inode:
                total += sum(map(int, (place / "stat").read_text().rpartition(")")[2].split()[11:13]))
        except OSError:
            continue
    return total / TICKS


@contextmanager
def counter(home: Path, make: str) -> Iterator[Path]:
    """A node's counter, beside a daemon of `make`; where it says how much of a CPU it took."""
    place = home / "counter/bench"
    place.mkdir(parents=True)
    argv, begins = OWN_COUNTS[make]
    audit = {"argv": argv.split(), "begins": begins, "folder": str(home / make / "bench")}
    settings: dict[str, Any] = {"neighbours": {}, "own": [], "herald": None, "audit": audit, "cpu_share": COUNTER_CPU_SHARE, "days_kept": 1}
    (place / "settings").write_text(json.dumps(settings))
    running = subprocess.Popen([sys.executable, "-m", "nnix.planes.naming.counting", "settings"], cwd=place, stdout=subprocess.DEVNULL)
    try:
        while not (place / "tap").exists():
            if running.poll() is not None:
                raise SystemExit("the counter does not run: nothing was measured")
            time.sleep(0.05)
        yield Path(f"/proc/{running.pid}/stat")
    finally:
        running.terminate()
        running.wait()
        shutil.rmtree(home / "counter")


def ticks(stat: Path) -> float:
    return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13])) / TICKS


def one(host: NamespaceHost, driver: NameServerDriver, content: bytes, text: bytes, file: Path, seconds: int) -> tuple[float, str]:
    """Queries per server CPU second, and the response codes in parts of ten thousand."""
    name = driver.name
    asyncio.run(host.put({f"{name}/bench/bench.zone": text}))
    asyncio.run(driver.drive(host, "bench", content))
    inode = Path(f"/run/netns/{NAMESPACE}").stat().st_ino
    ask = ["ip", "netns", "exec", NAMESPACE, "kdig", "+short", "+retry=0", "+time=1", f"@{ADDRESS}", "bench.", "SOA"]
    until = time.monotonic() + LOADED_SECONDS_MAX
    while not subprocess.run(ask, capture_output=True, text=True, check=False).stdout.startswith("ns.bench."):
        if time.monotonic() > until:
            raise SystemExit(f"{name} does not serve the zone after {LOADED_SECONDS_MAX} s: nothing was measured")
    before = cpu_seconds(inode)
    askers = [
        subprocess.Popen(
            [
                *(
                    "ip",
                    "netns",
                    "exec",
                    NAMESPACE,
                    "dnsperf",
                    "-s",
                    str(ADDRESS),
                    "-a",
                    f"127.{k}.0.1",
                    "-d",
                    str(file),
                    "-l",
                    str(seconds),
                ),
                *("-c", "1", "-q", "25"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(1, NETWORKS + 1)
    ]
    said = "".join(each.communicate()[0] for each in askers)
    spent = cpu_seconds(inode) - before
    asyncio.run(driver.drive(host, "bench", None))
    sent, done = (sum(map(int, re.findall(rf"Queries {word}:\s+(\d+)", said))) for word in ("sent", "completed"))
    if done < sent * 0.999:
        which = "bare" if content == bare(name) else "ours"
        raise SystemExit(f"{name}, {which}: {sent - done} of {sent} questions were not answered: nothing was measured\n{said}")
    codes: dict[str, int] = {}
    for code, count in re.findall(r"(NOERROR|NXDOMAIN|REFUSED|SERVFAIL) (\d+)", said):
        codes[code] = codes.get(code, 0) + int(count)
    return done / spent, " ".join(f"{code} {round(count / done, 2)}" for code, count in sorted(codes.items()))


def main() -> int:
    if os.geteuid() != 0:
        raise SystemExit("namespaces are made here: run it as root")
    quick = "--quick" in sys.argv[1:]
    delegations, rounds, seconds = (20_000, 3, 2) if quick else (1_000_000, 5, 5)
    print(f"{CLAIM}\n{delegations} delegations, {rounds} interleaved rounds of {seconds} s, medians\n")
    text = zone(delegations).encode()
    found: dict[tuple[str, str], list[float]] = {}
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"], check=True)
        with tempfile.TemporaryDirectory(prefix="nnix-bench-") as folder:
            (Path(folder) / "tsig").write_text("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
            (Path(folder) / "cookies").write_text("000102030405060708090a0b0c0d0e0f")
            file = Path(folder) / "questions"
            file.write_text(questions(delegations, 200_000))
            host = NamespaceHost("bench", NAMESPACE, Path(folder) / "home")
            counting: dict[str, list[float]] = {}
            for _ in range(rounds):
                for driver in (nsd(Secrets(Path(folder))), knot(Secrets(Path(folder)))):
                    mine, codes = one(host, driver, ours(driver.name), text, file, seconds)
                    theirs, others = one(host, driver, bare(driver.name), text, file, seconds)
                    if codes != others:
                        raise SystemExit(f"{driver.name}: the two sides did not answer the same: {codes}, {others}")
                    with counter(Path(folder) / "home", driver.name) as stat:
                        before, started = ticks(stat), time.monotonic()
                        told, others = one(host, driver, ours(driver.name, "../../counter/bench/tap"), text, file, seconds)
                        counting.setdefault(driver.name, []).append((ticks(stat) - before) / (time.monotonic() - started))
                    if codes != others:
                        raise SystemExit(f"{driver.name}: with statistics it did not answer the same: {codes}, {others}")
                    found.setdefault((driver.name, "statistics"), []).append(told)
                    found.setdefault((driver.name, "ours"), []).append(mine)
                    found.setdefault((driver.name, "bare"), []).append(theirs)
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)
    ratios = {}
    for make in ("nsd", "knot"):
        mine, theirs = (statistics.median(found[make, side]) for side in ("ours", "bare"))
        ratios[make] = statistics.median(a / b for a, b in zip(found[make, "ours"], found[make, "bare"], strict=True))
        print(f"{make:>5}: ours {mine / 1000:7.1f}k, bare {theirs / 1000:7.1f}k queries per CPU second; ratio {ratios[make]:.3f}")
        told = statistics.median(a / b for a, b in zip(found[make, "statistics"], found[make, "ours"], strict=True))
        share = statistics.median(counting[make])
        print(f"       with statistics {told:.3f} of ours without; its counter takes {share:.2f} of a CPU")
    worst = min(ratios, key=lambda each: ratios[each])
    mine, theirs = (round(statistics.median(found[worst, side])) for side in ("ours", "bare"))
    holds = ratios[worst] >= AT_LEAST
    print()
    print(json.dumps({"claim": f"{CLAIM} ({worst})", "ours": mine, "peer": theirs, "ratio": round(ratios[worst], 3), "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
