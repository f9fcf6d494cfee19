"""Claim: the files of 1,000 members are read into typed resources sooner than PyYAML's C loader merely loads them, and completing and judging
them brings the whole to no more than 1 s of CPU.

Ours: the folder's files are read, their 3,000 resources typed; then names are allocated, what follows is derived (1,000 routers), and every
rule of every plane is asked. Peer: `yaml.load_all` with CSafeLoader, libyaml's parser and PyYAML's own constructor, over the same bytes;
what it ends with are dicts that nobody has looked at. It guesses at types (YAML 1.1), ours takes them from the kind. The ratio is
of loading to reading, since the peer has nothing that would correspond to judging; the table also shows that of loading to all of it, which is
below 1: admission as a whole takes longer than loading alone.

Both run in this process, in turns, with what the other left behind collected first; CPU seconds of the process, medians. Before
anything is measured, both must have found the same documents by kind and name, and ours must have refused none.

Run: python bench/check.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from exchange import exchange, written
from nnix.cli.files import read_folder, yaml_files
from nnix.cli.root import ALL_PLANES
from nnix.kernel.change import admit
from nnix.kernel.document import Read
from nnix.kernel.snapshot import Snapshot

CLAIM = "CPU seconds to read 1,000 members' files into typed resources, beside PyYAML's C loader loading them; with judging, at most 1 s"
BOUND_SECONDS = 1.0
MEMBERS = 1000


def judged(found: Read) -> Snapshot:
    """Raises Refused."""
    return admit(ALL_PLANES, found.resources, Snapshot())


def peer(folder: Path) -> list[Any]:
    return [document for path in yaml_files(folder) for document in yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader)]


def cpu_seconds(work: Callable[[], object]) -> float:
    gc.collect()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def same_work(folder: Path) -> tuple[int, int]:
    """(documents, resources after derivation). Ends the bench when the two sides did not see the same documents."""
    found = read_folder(folder)
    if found.refusals:
        raise SystemExit(f"the exchange is not admitted: nothing was measured\n{found.refusals[0]}")
    snapshot = judged(found)
    ours = sorted((type(each).kind(), each.name) for each in found.resources)
    theirs = sorted((each["kind"], each["name"]) for each in peer(folder))
    if ours != theirs:
        raise SystemExit("the two sides did not see the same documents: nothing was measured")
    return len(theirs), len(snapshot)


def main() -> int:
    rounds = 7 if "--quick" in sys.argv[1:] else 25
    print(f"{CLAIM}\n{rounds} interleaved rounds in one process, medians\n")
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        folder = written(exchange(MEMBERS), Path(name))
        documents, resources = same_work(folder)
        size = sum(path.stat().st_size for path in yaml_files(folder))
        found = read_folder(folder)
        works: dict[str, Callable[[], object]] = {
            "nnix, all": lambda: judged(read_folder(folder)),
            "CSafeLoader": lambda: peer(folder),
            "nnix, reading": lambda: read_folder(folder),
            "nnix, judging": lambda: judged(found),
        }
        spent: dict[str, list[float]] = {label: [] for label in works}
        for _ in range(rounds):
            for label, work in works.items():
                spent[label].append(cpu_seconds(work))
    print(f"{documents} documents, {size} octets of YAML; {resources} resources with those derived\n")
    print(f"{'':>14} {'CPU s':>7} {'least':>7} {'most':>7} {'ratio':>6}")
    ratios = {label: statistics.median(b / a for a, b in zip(times, spent["CSafeLoader"], strict=True)) for label, times in spent.items()}
    for label, times in spent.items():
        print(f"{label:>14} {statistics.median(times):>7.3f} {min(times):>7.3f} {max(times):>7.3f} {ratios[label]:>6.2f}")
    mine, theirs, whole = (statistics.median(spent[label]) for label in ("nnix, reading", "CSafeLoader", "nnix, all"))
    ratio = ratios["nnix, reading"]
    holds = ratio > 1 and whole <= BOUND_SECONDS
    print()
    figures = {"ours": round(mine, 3), "peer": round(theirs, 3), "ratio": round(ratio, 3)}
    print(json.dumps({"claim": CLAIM, **figures, "whole": round(whole, 3), "bound": BOUND_SECONDS, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
