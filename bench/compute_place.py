"""Claim: on Alibaba's openb trace nnix fills at least 95.4 % of the GPUs whatever machines are called, at 150,000 decisions and more per CPU second.

1,213 GPU nodes, 6,212 GPUs. Tasks of the trace in drawn order, then tasks drawn from it again until 130 % of the GPUs have been asked for; each is placed when it
comes or never, nothing departs. Four orders of the nodes, under names that follow the order; the worst of the four counts, mean of the draws. All tasks
without GPUs must be placed. Ours: planes.compute.place.Fleet, which learns what is usual as tasks come.

Peer: FGD (Weng et al., Beware of Fragmentation, USENIX ATC 2023), written for this bench from the paper: the expected GPUs that a task drawn from the whole workload
could not use, which it is told beforehand; scored as a scheduler plugin does, from 0 to 100 in whole numbers through a sigmoid, so that equals go to the first in the
order. It keeps scores of nodes that have not changed. `+ tie` is the same where equals go to the node that is fuller afterwards.

Both sides see the same tasks. What each placed is added up anew from the tasks and the nodes: a device above 1000 thousandths, or a node with more than it
has, and nothing was measured.

`ceiling`: what is the most when no task that fits is turned away. Of ours' own accepted tasks, those that leave less than a fifth of a GPU
leave it idle for good, unless a task as small was accepted that can fill it.

Run: python bench/compute_place.py [FOLDER] [--mix NAME | --pods FILE ...] [--quick]. FOLDER (unset: ../shared/data/openb) holds
openb_node_list_gpu_node.csv and openb_pod_list_NAME.csv.gz; without --mix and --pods default and gpuspec33 are measured. --pods names a list of tasks that
lies elsewhere, as CSV or gzipped (cluster-trace-gpu-v2023 of github.com/alibaba/clusterdata has two dozen); it may be given more than once.
A mix without a bound of its own has to come to what FGD does. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np

from nnix.planes.compute.place.fleet import Fleet
from nnix.planes.compute.place.values import WHOLE, Demand, Node

CLAIM = "percent of the GPUs of openb that are allocated, worst of four node orders, beside FGD"
OPENB = Path(__file__).parents[2] / "shared" / "data" / "openb"
BOUNDS = {"default": 95.4, "gpuspec33": 94.9}
DECISIONS_PER_CPU_SECOND = 150_000
ARRIVAL = 1.3

Array = Any


def read_nodes(folder: Path) -> list[Node]:
    with (folder / "openb_node_list_gpu_node.csv").open() as text:
        return [Node(r["sn"], r["model"], int(r["gpu"]), int(r["cpu_milli"]), int(r["memory_mib"])) for r in csv.DictReader(text)]


def read_tasks(path: Path) -> list[Demand]:
    tasks = []
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as text:
        for r in csv.DictReader(text):
            devices = int(r["num_gpu"])
            share = int(r["gpu_milli"]) if devices == 1 else WHOLE
            types = frozenset(r["gpu_spec"].split("|")) if r.get("gpu_spec") else None
            tasks.append(Demand(int(r["cpu_milli"]), int(r["memory_mib"]), devices, share, types))
    return tasks


def arrivals(tasks: list[Demand], capacity: int, seed: int) -> list[Demand]:
    chance = random.Random(seed)
    drawn, asked = [], 0
    for task in chance.sample(tasks, len(tasks)):
        if asked >= ARRIVAL * capacity:
            break
        drawn.append(task)
        asked += task.devices * task.share
    while asked < ARRIVAL * capacity:
        drawn.append(chance.choice(tasks))
        asked += drawn[-1].devices * drawn[-1].share
    return drawn


def orders(nodes: list[Node]) -> dict[str, list[Node]]:
    """The same machines under other names, and in that order."""
    found = {
        "file": nodes,
        "reversed": nodes[::-1],
        "by model": sorted(nodes, key=lambda node: (node.device, node.name), reverse=True),
        "drawn": random.Random(2023).sample(nodes, len(nodes)),
    }
    return {
        order: [Node(f"m{place:05}", n.device, n.devices, n.cpu_milli, n.memory_mib) for place, n in enumerate(listed)]
        for order, listed in found.items()
    }


@numba.njit(cache=True)
def fgd(asked: Array, shapes: Array, popular: Array, nodes: Array, tie: bool, where: Array, took: Array) -> None:
    """`shapes`: cpu, memory, GPUs, share, mask; `popular`: how often each occurs in the workload; `nodes`: cpu, memory, GPUs, model."""
    machines, kinds = nodes.shape[0], shapes.shape[0]
    width = took.shape[1]
    cpu, memory = nodes[:, 0].copy(), nodes[:, 1].copy()
    free = np.zeros((machines, width), np.int64)
    for node in range(machines):
        free[node, : nodes[node, 2]] = 1000
    score = np.zeros((kinds, machines), np.int64)
    left = np.zeros((kinds, machines))
    slot = np.zeros((kinds, machines), np.int64)
    fresh = np.zeros((kinds, machines), np.int64)
    version = np.ones(machines, np.int64)
    total = popular.sum()
    trial = np.zeros(width, np.int64)
    for turn in range(asked.shape[0]):
        shape = asked[turn]
        c, m, k, share, mask = shapes[shape]
        for node in range(machines):
            if fresh[shape, node] == version[node]:
                continue
            fresh[shape, node] = version[node]
            score[shape, node] = -1
            if cpu[node] < c or memory[node] < m or (k > 0 and not mask >> nodes[node, 3] & 1):
                continue
            before = -1.0
            for choice in range(-1, nodes[node, 2] if k == 1 and share < 1000 else 1):
                trial[:] = free[node]
                has_cpu = cpu[node]
                if choice >= 0:
                    has_cpu -= c
                    if k == 1 and share < 1000:
                        if trial[choice] < share:
                            continue
                        trial[choice] -= share
                    elif k > 0:
                        taken = 0
                        for device in range(width):
                            if taken < k and trial[device] == 1000:
                                trial[device] = 0
                                taken += 1
                        if taken < k:
                            continue
                idle = trial.sum()
                whole = (trial == 1000).sum()
                lost = 0.0
                for kind in range(kinds):  # GPUs that a task of this kind could not use, times how often such a task comes
                    if popular[kind] == 0 or shapes[kind, 2] == 0:
                        continue
                    unusable = idle
                    if shapes[kind, 0] <= has_cpu and shapes[kind, 4] >> nodes[node, 3] & 1:
                        usable = 0
                        for device in range(nodes[node, 2]):
                            if trial[device] >= shapes[kind, 3]:
                                usable += trial[device]
                        if shapes[kind, 2] == 1 or whole >= shapes[kind, 2]:
                            unusable = idle - usable
                    lost += popular[kind] * unusable
                lost /= total
                if choice < 0:
                    before = lost
                    continue
                points = int(100.0 / (1.0 + math.exp(-(before - lost) / 1000.0)))
                rest = idle / 8000.0 + has_cpu / 128000.0
                if points > score[shape, node] or (tie and points == score[shape, node] and rest < left[shape, node]):
                    score[shape, node], left[shape, node], slot[shape, node] = points, rest, choice
        best = -1
        for node in range(machines):
            points = score[shape, node]
            if points >= 0 and (
                best < 0 or points > score[shape, best] or (tie and points == score[shape, best] and left[shape, node] < left[shape, best])
            ):
                best = node
        where[turn] = best
        if best < 0:
            continue
        cpu[best] -= c
        memory[best] -= m
        version[best] += 1
        if k == 1 and share < 1000:
            free[best, slot[shape, best]] -= share
            took[turn, slot[shape, best]] = share
        elif k > 0:
            taken = 0
            for device in range(width):
                if taken < k and free[best, device] == 1000:
                    free[best, device] = 0
                    took[turn, device] = 1000
                    taken += 1


def peer(nodes: Sequence[Node], known: Counter[Demand], drawn: Sequence[Demand], *, tie: bool) -> tuple[Array, Array, float]:
    models = sorted({node.device for node in nodes})
    numbered = {demand: number for number, demand in enumerate(known)}
    shapes = np.array(
        [
            (d.cpu_milli, d.memory_mib, d.devices, d.share, sum(1 << at for at, model in enumerate(models) if d.types is None or model in d.types))
            for d in known
        ],
        np.int64,
    )  # fmt: skip
    listed = np.array([(n.cpu_milli, n.memory_mib, n.devices, models.index(n.device)) for n in nodes], np.int64)
    where, took = np.full(len(drawn), -1, np.int64), np.zeros((len(drawn), max(n.devices for n in nodes)), np.int64)
    begun = time.process_time()
    asked = np.array([numbered[demand] for demand in drawn], np.int64)
    fgd(asked, shapes, np.array(list(known.values()), np.int64), listed, tie, where, took)
    return where, took, time.process_time() - begun


def ours(nodes: Sequence[Node], drawn: Sequence[Demand]) -> tuple[Array, Array, float, tuple[Node, ...]]:
    fleet = Fleet(nodes)
    begun = time.process_time()
    where, took = fleet.stream(drawn)
    cpu_seconds = time.process_time() - begun
    return np.array(where), np.array(took), cpu_seconds, fleet.nodes


def added_up(side: str, nodes: Sequence[Node], drawn: Sequence[Demand], where: Array, took: Array) -> tuple[float, int]:
    """Percent of the GPUs that have been given away, and tasks without GPUs that were not placed. From the inputs alone."""
    cpu: Counter[int] = Counter()
    memory: Counter[int] = Counter()
    gpus: Counter[tuple[int, int]] = Counter()
    missed = 0
    for task, at, parts in zip(drawn, where.tolist(), took.tolist(), strict=True):
        if at < 0:
            missed += task.devices == 0
            continue
        has = {device: part for device, part in enumerate(parts) if part}
        right = (
            len(has) == task.devices
            and set(has.values()) <= {task.share}
            and (task.types is None or not has or nodes[at].device in task.types)
        )
        if not right or any(device >= nodes[at].devices for device in has):
            raise SystemExit(f"{side}: {task} has {has} of {nodes[at]}: nothing was measured")
        cpu[at] += task.cpu_milli
        memory[at] += task.memory_mib
        for device, part in has.items():
            gpus[at, device] += part
    over = any(part > WHOLE for part in gpus.values()) or any(
        cpu[at] > node.cpu_milli or memory[at] > node.memory_mib for at, node in enumerate(nodes)
    )
    if over:
        raise SystemExit(f"{side}: a node or a GPU carries more than it has: nothing was measured")
    return 100 * sum(gpus.values()) / sum(node.devices * WHOLE for node in nodes), missed


def ceiling(nodes: Sequence[Node], drawn: Sequence[Demand], where: Array) -> float:
    """At most so many percent with these accepted tasks: each rest of less than a fifth of a GPU is idle but for the largest small task that fits it."""
    rests = Counter[int]()
    fillers = Counter[int]()
    for task, at in zip(drawn, where.tolist(), strict=True):
        if at >= 0 and task.devices == 1 and task.share < WHOLE:
            rest = WHOLE - task.share
            if rest < 200:
                rests[rest] += 1
            elif task.share < 200:
                fillers[task.share] += 1
    idle = 0
    small = sorted(fillers.elements(), reverse=True)
    for rest in sorted(rests.elements()):
        use = next((share for share in small if share <= rest), 0)
        if use:
            small.remove(use)
        idle += rest - use
    return 100 - 100 * idle / sum(node.devices * WHOLE for node in nodes)


def measured(folder: Path, mix: str, pods: Path, draws: int) -> dict[str, Any]:
    nodes = read_nodes(folder)
    tasks = read_tasks(pods)
    capacity = sum(node.devices * WHOLE for node in nodes)
    known = Counter(tasks)
    ours(nodes, tasks[:200])  # compiled, and learns nothing: the fleet is thrown away
    peer(nodes, known, tasks[:2], tie=True)
    shares: dict[str, dict[str, list[float]]] = {side: {} for side in ("nnix", "FGD", "FGD + tie")}
    missed, tasks_seen = Counter[str](), 0
    seconds: dict[str, float] = dict.fromkeys(shares, 0.0)
    most = []
    for seed in range(draws):
        drawn = arrivals(tasks, capacity, seed)
        for order, listed in orders(nodes).items():
            tasks_seen += len(drawn)
            where, took, cpu, placed_on = ours(listed, drawn)
            sides = {"nnix": (placed_on, where, took, cpu)}
            for side, tie in (("FGD", False), ("FGD + tie", True)):
                sides[side] = (tuple(listed), *peer(listed, known, drawn, tie=tie))
            for side, (machines, at, parts, cpu_seconds) in sides.items():
                percent, lost = added_up(side, machines, drawn, at, parts)
                shares[side].setdefault(order, []).append(percent)
                missed[side] += lost
                seconds[side] += cpu_seconds
            if order == "file":
                most.append(ceiling(listed, drawn, where))
    print(f"\n{mix}: {len(tasks)} tasks, {draws} draws, ceiling with ours' accepted tasks {statistics.fmean(most):.2f}")
    print(f"{'%':>10} {'worst':>8} {'best':>8} {'one draw':>9} {'missed':>7} {'decisions/CPU-s':>16}")
    found: dict[str, Any] = {"mix": mix, "ceiling": round(statistics.fmean(most), 2), "missed": missed["nnix"]}
    for side, by_order in shares.items():
        means = [statistics.fmean(each) for each in by_order.values()]
        speed = tasks_seen / seconds[side]
        print(
            f"{side:>10} {min(means):>8.2f} {max(means):>8.2f} {min(map(min, by_order.values())):>9.2f} {missed[side]:>7} {speed:>16,.0f}"
        )
        found[side] = {"worst": round(min(means), 2), "best": round(max(means), 2), "decisions": round(speed)}
    alike = len({tuple(each) for each in shares["nnix"].values()}) == 1
    found["holds"] = (
        alike
        and not missed["nnix"]
        and found["nnix"]["worst"] >= BOUNDS.get(mix, found["FGD"]["worst"])
        and found["nnix"]["decisions"] >= DECISIONS_PER_CPU_SECOND
    )
    return found


def main() -> int:
    words = sys.argv[1:]
    quick = "--quick" in words
    elsewhere = []
    while "--pods" in words:
        elsewhere.append(Path(words.pop(words.index("--pods") + 1)))
        words.remove("--pods")
    mixes = [words.pop(words.index("--mix") + 1)] if "--mix" in words else [] if elsewhere else list(BOUNDS)
    folder = Path(next((word for word in words if not word.startswith("--")), OPENB))
    if not folder.is_dir():
        raise SystemExit(f"the trace is not in {folder}: data/csv of github.com/hkust-adsl/kubernetes-scheduler-simulator has it")
    lists = [(mix, folder / f"openb_pod_list_{mix}.csv.gz") for mix in mixes]
    lists += [(path.name.removeprefix("openb_pod_list_").split(".")[0], path) for path in elsewhere]
    print(CLAIM)
    found = [measured(folder, mix, path, 1 if quick else 10) for mix, path in lists]
    first = found[0]
    print(
        json.dumps(
            {
                "claim": CLAIM,
                "ours": first["nnix"]["worst"],
                "peer": first["FGD"]["worst"],
                "ratio": round(first["nnix"]["worst"] / first["FGD"]["worst"], 4),
                "mixes": found,
                "holds": all(each["holds"] for each in found),
            }
        )
    )
    return 0 if all(each["holds"] for each in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
