"""Claim: 200 sites, 400 links, 5,000 members and 1,000 circuits are proved against every single failure in at most 5 s, and against every pair in at most 60 s, on one core.

Failures are all links and all sites: 600 alone, 179,700 in pairs. For each it is found which members are cut off, which circuits lose their service or
a part of it, which leave the province that they must not leave, what traffic is lost, and what every link carries each way, with equal ways sharing
evenly, members' traffic moving to the ports that are left, and circuits carried with their capacity. Nothing is sampled on our side.

Of the circuits 800 are wires, 40 of which must stay in their province; 100 are pinned over one or two sites; 100 are groups of three to five ends.

Peer: networkx 3.5 on the same graph, in the same run: connected components for who is cut off, Dijkstra's predecessors from every target for
the ways, and the same matrix, made from members and circuits one by one. It needs most of a second for a failure, so it is given a random sample of them (seeded), and
its time is scaled by their number; the table says of how many. Both sides must agree on that sample: members cut off and circuits hit and led out of
their province exactly, lost traffic and the load of every link to a millionth. Otherwise nothing is reported.

The graph is random (seeded): sites in a square, each joined to the nearest before it, then the shortest further links, so that ways are long and
few are equal. 30 % of members have ports at two sites. networkx lives in a virtual environment of its own, `.bench/networkx`. CPU seconds of one
process each; compiling (numba, once per machine) is told apart.

Run: python bench/fabric_prove.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
import os
import random
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

CLAIM = "CPU seconds to prove 200 sites, 400 links, 5,000 members, 1,000 circuits against every failure (at most 5) and every pair (at most 60), beside networkx"
SITES, LINKS, MEMBERS, SEED, FACTOR = 200, 400, 5000, 7, 0.05
WIRES, KEPT, PINNED, GROUPS = 800, 40, 100, 100  # circuits; of the wires so many must stay in their province
ALONE_BOUND_SECONDS, PAIRS_BOUND_SECONDS = 5.0, 60.0
CAPACITY = 400 * 10**9
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".bench/networkx"


def graph(seed: int) -> dict[str, Any]:
    """Plain data for both sides: links as (a, b, latency in steps of 10 µs), members as lists of (site, bit/s), the province of each site (the
    quarters of the square), circuits as {ends, via, rate, kept}."""
    chance = random.Random(seed)
    where = [(chance.random(), chance.random()) for _ in range(SITES)]

    def apart(a: int, b: int) -> float:
        return math.dist(where[a], where[b])

    links = {(min(range(site), key=lambda other: apart(site, other)), site) for site in range(1, SITES)}
    for a, b in sorted(combinations(range(SITES), 2), key=lambda pair: apart(*pair)):
        if len(links) < LINKS:
            links.add((a, b))
    members = [
        [(site, chance.choice([10, 100]) * 10**9) for site in chance.sample(range(SITES), 2 if chance.random() < 0.3 else 1)]
        for _ in range(MEMBERS)
    ]
    provinces = [2 * (x > 0.5) + (y > 0.5) for x, y in where]
    circuits = []
    for number in range(WIRES + PINNED + GROUPS):
        size = 2 if number < WIRES + PINNED else chance.randint(3, 5)
        kept = number < KEPT
        chosen = chance.sample(range(SITES), size + 2)
        if kept:  # along a link of its province, so that it is inside until something fails
            chosen = list(chance.choice([(a, b) for a, b in sorted(links) if provinces[a] == provinces[b]]))
        via = chosen[size : size + chance.randint(1, 2)] if WIRES <= number < WIRES + PINNED else []
        rate = chance.choice([1, 2, 10]) * 10**9 // (size - 1) * (size - 1)  # whole bits for each two ends
        circuits.append({"ends": chosen[:size], "via": via, "rate": rate, "kept": kept})
    found = [(a, b, 2 + round(300 * apart(a, b))) for a, b in sorted(links)]
    return {"links": found, "members": members, "provinces": provinces, "circuits": circuits}


# --- ours


def ours(plain: dict[str, Any]) -> Any:
    """The exchange of `plain`, ready to be proved."""
    from nnix.kernel.resource import Resource
    from nnix.kernel.snapshot import Snapshot
    from nnix.planes.fabric.kinds import Circuit, Link, Port
    from nnix.planes.fabric.prove.survival import Survival
    from nnix.planes.members.kinds import Member, Site

    found: list[Resource] = []
    for site in range(SITES):
        role = "hub" if site == 0 else "node"
        fields = {"name": f"s{site:03}", "title": {"en": "S"}, "role": role, "level": "city", "city": f"c{site}", "country": "CN"}
        found.append(Site.model_validate({**fields, "province": f"p{plain['provinces'][site]}"}))
    for number, (a, b, steps) in enumerate(plain["links"]):
        fields = {"name": f"l{number:03}", "a": f"s{a:03}", "b": f"s{b:03}", "capacity": "400G", "latency": f"{10 * steps}us"}
        found.append(Link.model_validate(fields))
    for number, ports in enumerate(plain["members"]):
        name = f"m{number:04}"
        found.append(Member.model_validate({"name": name, "title": {"en": "M"}, "asn": number + 1, "class": "isp"}))
        for index, (site, speed) in enumerate(ports):
            port = {"name": f"{name}-{index}", "member": name, "site": f"s{site:03}", "speed": f"{speed // 10**9}G"}
            found.append(Port.model_validate(port))
    for number, each in enumerate(plain["circuits"]):
        name = f"c{number:04}"
        ends = [f"{name}-{index}" for index in range(len(each["ends"]))]
        for end, site in zip(ends, each["ends"], strict=True):
            port = {"name": end, "member": f"m{number:04}", "site": f"s{site:03}", "speed": "10G"}
            found.append(Port.model_validate(port))
        via = [f"s{site:03}" for site in each["via"]]
        within = {"within": "province"} if each["kept"] else {}
        capacity = f"{each['rate']}bit/s"
        found.append(Circuit.model_validate({"name": name, "ends": ends, "via": via, "capacity": capacity, **within}))
    return Survival(Snapshot(found), factor=FACTOR, compiled=True)


# --- the peer


def networkx() -> Path:
    """Python with networkx. Ends the bench when pip cannot get it."""
    python = VENV / "bin/python"
    if not python.exists():
        VENV.parent.mkdir(exist_ok=True)
        (VENV.parent / ".gitignore").write_text("*\n")
        pin = next(line for line in (ROOT / "requirements-bench.in").read_text().splitlines() if line.startswith("networkx=="))
        for command in (
            [sys.executable, "-m", "venv", str(VENV)],
            [str(VENV / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", pin],
        ):
            if subprocess.run(command, check=False).returncode:
                raise SystemExit("networkx cannot be installed: nothing was measured")
    return python


def peer(plain: dict[str, Any], cases: list[list[str]]) -> dict[str, Any]:
    """The same work with networkx: {"seconds": CPU, "cases": [(cut off, circuits hit, circuits led out, traffic lost, load by arc)]}. Runs in the
    peer's own Python."""
    nx = importlib.import_module("networkx")

    whole = nx.Graph()
    whole.add_nodes_from(range(SITES))
    for number, (a, b, steps) in enumerate(plain["links"]):
        whole.add_edge(a, b, weight=steps, number=number)
    members = plain["members"]
    circuits, provinces = plain["circuits"], plain["provinces"]
    ports = [sum(site == port[0] for ports_of in members for port in ports_of) for site in range(SITES)]
    for circuit in circuits:
        for site in circuit["ends"]:
            ports[site] += 1
    bought = [sum(speed for _, speed in ports_of) for ports_of in members]
    total = sum(bought)
    begun = time.process_time()
    found = []
    for case in cases:
        left = whole.copy()
        for name in case:
            kind, _, which = name.partition("/")
            if kind == "site":
                left.remove_node(int(which[1:]))
            else:
                a, b, _ = plain["links"][int(which[1:])]
                if left.has_edge(a, b):
                    left.remove_edge(a, b)
        parts = list(nx.connected_components(left))
        main = min(parts, key=lambda part: (-sum(ports[site] for site in part), 0 not in part, min(part)))
        sends, gets = [0.0] * SITES, [0.0] * SITES
        itself: dict[tuple[int, int], float] = {}
        cut_off = 0
        for member, ports_of in enumerate(members):
            kept = [port for port in ports_of if port[0] in main]
            cut_off += not kept
            rate = FACTOR * bought[member] / (total - bought[member])
            size = sum(speed for _, speed in kept)
            for site, speed in kept:
                sends[site] += rate * speed / size
                gets[site] += bought[member] * speed / size
                for other, there in kept:
                    itself[site, other] = itself.get((site, other), 0.0) + rate * bought[member] * speed / size * there / size
        part_of = {site: number for number, part in enumerate(parts) for site in part}
        private: dict[int, dict[int, float]] = {}  # to → from → bit/s
        hit = 0
        kept_ways = []
        for circuit in circuits:
            ends = circuit["ends"]
            lacking = False
            for one, other in itertools.combinations(ends, 2):
                stations = [one, *circuit["via"], other]
                where = {part_of.get(site) for site in stations}
                if None in where or len(where) > 1:
                    lacking = True
                    continue
                rate = circuit["rate"] / (len(ends) - 1)
                for a, b in itertools.pairwise(stations):
                    for here, to in ((a, b), (b, a)):
                        into = private.setdefault(to, {})
                        into[here] = into.get(here, 0.0) + rate
                if circuit["kept"]:
                    kept_ways.append((one, other))
            hit += lacking
        loads = [0.0] * (2 * len(plain["links"]))
        carried = 0.0
        befores = {}
        for to in left:
            before, distance = nx.dijkstra_predecessor_and_distance(left, to)
            befores[to] = before
            flow = dict.fromkeys(distance, 0.0)
            if to in main:
                for site in main:
                    flow[site] = sends[site] * gets[to] - itself.get((site, to), 0.0)
                carried += sum(flow.values())
            for site, rate in private.get(to, {}).items():
                flow[site] += rate
            for site in sorted(distance, key=lambda site: -distance[site]):
                ways = before[site]
                for other in ways:
                    number = left[site][other]["number"]
                    loads[2 * number + (site != plain["links"][number][0])] += flow[site] / len(ways)
                    flow[other] += flow[site] / len(ways)
        out = 0
        for one, other in kept_ways:
            passed, queue = {one}, [one]
            while queue:
                for site in befores[other][queue.pop()]:
                    if site not in passed:
                        passed.add(site)
                        queue.append(site)
            out += any(provinces[site] != provinces[one] for site in passed)
        found.append((cut_off, hit, out, FACTOR * total - carried, loads))
    return {"seconds": time.process_time() - begun, "cases": found}


def asked(plain: dict[str, Any], cases: list[list[str]]) -> dict[str, Any]:
    """What the peer finds, in its own process and on one thread."""
    done = subprocess.run(
        [str(networkx()), __file__, "--peer"],
        input=json.dumps({"graph": plain, "cases": cases}),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise SystemExit(f"networkx failed: nothing was measured\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


Found = tuple[int, int, int, float, Any]


def same(name: str, mine: Found, theirs: Found, offered: float) -> None:
    """Ends the bench when the two sides disagree."""
    import numpy as np

    if (
        tuple(mine[:3]) != tuple(theirs[:3])
        or abs(mine[3] - theirs[3]) > 1e-6 * offered
        or not np.allclose(mine[4], theirs[4], rtol=1e-6, atol=1e-6 * CAPACITY)
    ):
        raise SystemExit(f"{name}: {mine[:4]} here, {theirs[:4]} at networkx, or other loads: nothing was measured")


def main() -> int:
    from nnix.planes.fabric.prove.network import Part

    few, many = (6, 6) if "--quick" in sys.argv[1:] else (60, 40)
    print(f"{CLAIM}\nnetworkx on a random sample: {few} failures, {many} pairs\n")
    plain = graph(SEED)
    survival = ours(plain)
    begun = time.process_time()
    survival.normal()
    compiling = time.process_time() - begun
    found = tuple(each for each in survival.failures if each.part in (Part.SITE, Part.LINK))
    begun = time.process_time()
    cases = survival.alone(found)
    alone = time.process_time() - begun
    begun = time.process_time()
    pairs = survival.in_pairs((Part.SITE, Part.LINK))
    both = time.process_time() - begun

    chance = random.Random(SEED)
    some = chance.sample(range(len(cases)), few)
    couples = chance.sample(range(len(pairs)), many)
    single = asked(plain, [[found[index].of] for index in some])
    double = asked(plain, [list(pairs.names(index)) for index in couples])
    offered = survival.traffic.offered
    for index, theirs in zip(some, single["cases"], strict=True):
        case = cases[index]
        counted = len(case.outcome.cut_off), len(case.harm.hit), len(case.harm.outside)
        same(found[index].of, (*counted, case.traffic_lost, case.load), theirs, offered)
    for index, theirs in zip(couples, double["cases"], strict=True):
        full = survival.utilisation(theirs[4])
        counted = int(pairs.cut_off[index]), int(pairs.circuits[index]), pairs.outside[index].bit_count()
        kept = (*counted, float(pairs.traffic_lost[index]), float(pairs.utilisation[index]) * CAPACITY)
        same(" + ".join(pairs.names(index)), kept, (*theirs[:4], float(full.max()) * CAPACITY), offered)
    their_alone, their_both = single["seconds"] * len(cases) / few, double["seconds"] * len(pairs) / many

    print(f"{'':>22} {'cases':>8} {'CPU s':>9} {'per case':>11} {'networkx, scaled':>17} {'ratio':>7}")
    for label, count, mine, theirs in (("one failure", len(cases), alone, their_alone), ("two failures", len(pairs), both, their_both)):
        print(f"{label:>22} {count:>8} {mine:>9.2f} {1e6 * mine / count:>8.0f} µs {theirs:>15.0f} s {theirs / mine:>7.0f}")
    print(f"\ncompiling, or loading what was compiled before: {compiling:.2f} s")
    cut, hit, out = int((pairs.cut_off > 0).sum()), int((pairs.circuits > 0).sum()), sum(map(bool, pairs.outside))
    print(
        f"pairs that cut members off: {cut}; most members: {int(pairs.cut_off.max())}; fullest link: {100 * pairs.utilisation.max():.0f} %"
    )
    print(f"pairs that take service from circuits: {hit}; most circuits: {int(pairs.circuits.max())}; that lead some out: {out}\n")
    holds = alone <= ALONE_BOUND_SECONDS and both <= PAIRS_BOUND_SECONDS
    figures = {"alone": round(alone, 2), "pairs": round(both, 2), "peer_alone": round(their_alone), "peer_pairs": round(their_both)}
    print(json.dumps({"claim": CLAIM, **figures, "sampled": [few, many], "compiling": round(compiling, 2), "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["--peer"]:
        question = json.load(sys.stdin)
        json.dump(peer(question["graph"], question["cases"]), sys.stdout)
        raise SystemExit
    raise SystemExit(main())
