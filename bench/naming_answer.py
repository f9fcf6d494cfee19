"""Claim: what nnix adds to a name server (rate limits, cookies, identity, control) costs at most 5 % of the queries that it answers per CPU second.

Ours: the configuration of a public node as planes/naming spells it and daemons/ starts it, with limits that are counted and never reached. Peer:
the same daemon, bare: an address and the zone, and nothing in its environment. Both makes, NSD and Knot, each with a million delegations, as a large top-level domain
has. Both sides of a make run at once on the loopback of a namespace of this bench's own, and are asked in turn, the same questions in bursts of a second
or two: what a machine does beside changes from one minute to the next by more than what is measured here, so only neighbours are compared. A burst counts only if
every question was answered, with the same response codes on all sides.

A third side, which the claim does not judge: ours with `statistics`, where the daemon tells of every question and answer by dnstap. Its counter
(planes/naming/counting.py) runs beside it as on a node, and its own CPU, which is bounded, is told apart.

Queries per server CPU second: the CPU time of all processes of the server, not of dnsperf. Medians of the bursts' ratios.

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
from contextlib import ExitStack, contextmanager
from dataclasses import replace
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
ADDRESSES = {"bare": "127.0.0.53", "ours": "127.0.0.54", "statistics": "127.0.0.55"}
AT_LEAST = 0.95
TICKS = os.sysconf("SC_CLK_TCK")
SEED = 8976
DELEGATIONS = 1_000_000
LOADED_SECONDS_MAX = 120
NETWORKS = 8  # from which questions come; of one alone, both threads of a server would wait for the one count that a rate limit keeps of it


def zone() -> str:
    """A top-level domain; its delegations are unsigned."""
    head = [
        "bench. 86400 IN SOA ns.bench. host.bench. 1 1800 900 604800 86400",
        "bench. 86400 IN NS ns.bench.",
        "ns.bench. 86400 IN A 127.0.0.53",
    ]
    return "\n".join([*head, *(f"d{n}.bench. 86400 IN NS ns{i}.h{n % 997}.example." for n in range(DELEGATIONS) for i in (1, 2))]) + "\n"


def questions(burst: int, network: int, count: int) -> str:
    """Names below existing delegations, one in a hundred that does not exist; others for each burst and each network."""
    chance = random.Random(SEED + burst * NETWORKS + network)
    return "".join(f"{'x' if n % 100 == 0 else 'www.'}d{chance.randrange(DELEGATIONS)}.bench A\n" for n in range(count))


def ours(make: str, address: str, tap: str | None = None) -> bytes:
    """As planes/naming spells it. The gate is not there; the zone is in its file already."""
    at = IPv4Address(address)
    gate = Server("gate", ((IPv4Address("127.0.0.99"), 53),), Key("key.", "hmac-sha256", "@SECRET:tsig@"))
    policy = NodePolicy("node", (at,), (), (at,), gate, ("bench.",), None, 16_000, True, "@SECRET:cookies@", None, (), tap)
    spelled = {"nsd": nsd_spelling.spell, "knot": knot_spelling.spell_node}[make](policy)
    # a node of Knot's keeps its zones in the journal, which the gate fills; here they come from a file
    return spelled.replace("zonefile-load: none", "zonefile-load: whole").replace("journal-content: all", "journal-content: none").encode()


def bare(make: str, address: str) -> bytes:
    """What the daemon needs to answer at all; of NSD also that it does not limit, as Debian's does unasked."""
    if make == "nsd":
        paths = "".join(f'    {word}: ""\n' for word in ("username", "zonesdir", "database", "pidfile", "cookie-secret-file"))
        text = f'server:\n    ip-address: {address}\n    rrl-ratelimit: 0\n{paths}    xfrdfile: "xfrd.state"\n    zonelistfile: "zone.list"\n    xfrdir: "."\n'
        return f'{text}{CONTROL}zone:\n    name: "bench."\n    zonefile: "bench.zone"\n'.encode()
    text = f'server:\n    rundir: "."\n    listen: {address}@53\nlog:\n  - target: stdout\n    any: info\ndatabase:\n    storage: "db"\n'
    return f'{text}zone:\n  - domain: "bench."\n    storage: "."\n    file: "bench.zone"\n'.encode()


def cpu_seconds(folder: Path) -> float:
    """Of all processes that stand in `folder`, which are one server's."""
    total = 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cwd").readlink() == folder:
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
    audit = {"argv": argv.split(), "begins": begins, "folder": str(home / make / "statistics")}
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


@contextmanager
def serving(home: Path, driver: NameServerDriver, side: str, content: bytes, text: bytes) -> Iterator[Path]:
    """One side, once it answers for the whole zone; its folder, by which its processes are known."""
    make, address = driver.name, ADDRESSES[side]
    host = NamespaceHost("bench", NAMESPACE, home)
    asyncio.run(host.put({f"{make}/{side}/bench.zone": text}))
    # bare: without what the driver puts into its environment
    started = replace(driver, make=replace(driver.make, environment="")) if side == "bare" else driver
    try:
        asyncio.run(started.drive(host, side, content))
        ask = ["ip", "netns", "exec", NAMESPACE, "kdig", "+short", "+retry=0", "+time=1", f"@{address}", "bench.", "SOA"]
        until = time.monotonic() + LOADED_SECONDS_MAX
        while not subprocess.run(ask, capture_output=True, text=True, check=False).stdout.startswith("ns.bench."):
            if time.monotonic() > until:
                raise SystemExit(f"{make}, {side}: does not serve the zone after {LOADED_SECONDS_MAX} s: nothing was measured")
            time.sleep(0.2)
        yield home / make / side
    finally:
        asyncio.run(driver.drive(host, side, None))


def burst(make: str, side: str, folder: Path, files: list[Path]) -> tuple[float, str]:
    """Queries per server CPU second, and the response codes in parts of a hundred."""
    before = cpu_seconds(folder)
    dnsperf = ["ip", "netns", "exec", NAMESPACE, "dnsperf", "-s", ADDRESSES[side], "-n", "1", "-c", "1", "-q", "25", "-t", "2"]
    askers = [
        subprocess.Popen([*dnsperf, "-a", f"127.{k}.0.1", "-d", str(file)], stdout=subprocess.PIPE, text=True)
        for k, file in enumerate(files, 1)
    ]
    said = "".join(each.communicate()[0] for each in askers)
    spent = cpu_seconds(folder) - before
    sent, done = (sum(map(int, re.findall(rf"Queries {word}:\s+(\d+)", said))) for word in ("sent", "completed"))
    if not sent or done < sent * 0.999:
        raise SystemExit(f"{make}, {side}: {sent - done} of {sent} questions were not answered: nothing was measured\n{said}")
    codes: dict[str, int] = {}
    for code, count in re.findall(r"(NOERROR|NXDOMAIN|REFUSED|SERVFAIL) (\d+)", said):
        codes[code] = codes.get(code, 0) + int(count)
    return done / spent, " ".join(f"{code} {round(count / done, 2)}" for code, count in sorted(codes.items()))


def measure(home: Path, driver: NameServerDriver, text: bytes, bursts: int, count: int) -> tuple[dict[str, list[float]], list[float]]:
    """Queries per CPU second of each side, burst by burst, and how much of a CPU the counter took."""
    make = driver.name
    found: dict[str, list[float]] = {side: [] for side in ADDRESSES}
    counting: list[float] = []
    contents = {
        "bare": bare(make, ADDRESSES["bare"]),
        "ours": ours(make, ADDRESSES["ours"]),
        "statistics": ours(make, ADDRESSES["statistics"], "../../counter/bench/tap"),
    }
    with ExitStack() as stack:
        stat = stack.enter_context(counter(home, make))
        folders = {side: stack.enter_context(serving(home, driver, side, contents[side], text)) for side in ADDRESSES}
        for number in range(bursts + 1):
            files = [home / f"questions-{k}" for k in range(NETWORKS)]
            for k, file in enumerate(files):
                file.write_text(questions(number, k, count))
            answered = {}
            # in another order each time: what one leaves in the caches of the machine is not always the same one's gain
            for side in random.Random(number).sample(list(ADDRESSES), len(ADDRESSES)):
                before, started = ticks(stat), time.monotonic()
                rate, answered[side] = burst(make, side, folders[side], files)
                if number:  # the first warms up
                    found[side].append(rate)
                    if side == "statistics":
                        counting.append((ticks(stat) - before) / (time.monotonic() - started))
            if len(set(answered.values())) > 1:
                raise SystemExit(f"{make}: the sides did not answer the same: {answered}")
    return found, counting


def main() -> int:
    if os.geteuid() != 0:
        raise SystemExit("namespaces are made here: run it as root")
    quick = "--quick" in sys.argv[1:]
    bursts, count = (5, 8_000) if quick else (20, 24_000)
    print(f"{CLAIM}\n{DELEGATIONS} delegations, {bursts} bursts of {count * NETWORKS} questions to each side in turn, medians\n")
    text = zone().encode()
    ratios, medians = {}, {}
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"], check=True)
        with tempfile.TemporaryDirectory(prefix="nnix-bench-") as folder:
            secrets = Secrets(Path(folder))
            (Path(folder) / "tsig").write_text("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
            (Path(folder) / "cookies").write_text("000102030405060708090a0b0c0d0e0f")
            for driver in (nsd(secrets), knot(secrets)):
                make = driver.name
                found, counting = measure(Path(folder).resolve() / "home", driver, text, bursts, count)
                medians[make] = {side: statistics.median(rates) for side, rates in found.items()}
                ratios[make] = statistics.median(a / b for a, b in zip(found["ours"], found["bare"], strict=True))
                mine, theirs = medians[make]["ours"], medians[make]["bare"]
                print(f"{make:>5}: ours {mine / 1000:7.1f}k, bare {theirs / 1000:7.1f}k queries per CPU second; ratio {ratios[make]:.3f}")
                told = statistics.median(a / b for a, b in zip(found["statistics"], found["ours"], strict=True))
                print(
                    f"       with statistics {told:.3f} of ours without; its counter takes {statistics.median(counting):.2f} of a CPU",
                    flush=True,
                )
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)
    worst = min(ratios, key=lambda each: ratios[each])
    mine, theirs = (round(medians[worst][side]) for side in ("ours", "bare"))
    holds = ratios[worst] >= AT_LEAST
    print()
    print(json.dumps({"claim": f"{CLAIM} ({worst})", "ours": mine, "peer": theirs, "ratio": round(ratios[worst], 3), "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
