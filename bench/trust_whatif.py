"""Claim: what the loss of a ROA, or its change into another, would do to 700,000 routes is known within 5 ms for 99 ROAs of 100.

ROAs are drawn at random from 723,000 VRPs, grouped by origin and by prefixes that lie together, as ROAs are; every second is taken out, the others become a ROA of
another origin for the same prefixes, and every route whose validity would change is found. Ours: planes.trust.whatif, which keeps for each route how many VRPs cover and match it. Peer: what one does without that,
in plain Python: a dict of VRPs by prefix, and for each route below the ROA a walk up its prefix, before and after.

Both judge the same ROAs, in turns, and must find the same routes with the same verdicts. CPU milliseconds of each ROA, in one thread, since what else runs on the
machine is nobody's fault; `wall` is our p99 by the clock on the wall. Ours must be ready first, which takes the seconds that are told.

The routes follow from the VRPs: most are Valid, some have another origin or are more specific, and others no VRP covers. `--real FILE` takes the VRPs
of a JSON of rpki-client (.bz2 or not).

Run: python bench/trust_whatif.py [--quick] [--real FILE]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnix.planes.trust.outputs import from_fort
from nnix.planes.trust.payloads import ASN_MASK, HIGH, LENGTH_SHIFT, LONGEST_SHIFT, OCTET, REST, Numbers, prefix_of
from nnix.planes.trust.whatif import Forecast, Routes, Validity
from trust_gate import VRPS, real, world

CLAIM = "CPU milliseconds to know what the loss or change of one ROA does to 700,000 routes, p99, beside a walk over a dict of VRPs"
BOUND_MS = 5.0
ROUTES = 700_000
ROA_VRPS_MAX = 40

Key = tuple[int, int]
Changes = dict[tuple[int, Key, int], set[tuple[int, int]]]
ByPrefix = dict[tuple[int, Key, int], list[tuple[int, int]]]


def vrps(rows: list[tuple[str, str, int]]) -> Numbers:
    csv = "ASN,Prefix,Max prefix length\n" + "".join(f"{asn},{prefix},{longest}\n" for asn, prefix, longest in rows)
    return from_fort({"lab": (csv.encode(), b"")}).anchors["lab"].rows


def routes(table: Numbers) -> Numbers:
    """As rows. Three in five are a VRP's own prefix and origin; one in ten has another origin, one in ten is more specific, one in five is moved elsewhere."""
    chance = np.random.default_rng(6811)
    made = table[chance.integers(0, len(table), ROUTES)].copy()
    kind = chance.random(ROUTES)
    length = made[:, REST] >> LENGTH_SHIFT & OCTET
    other = (kind >= 0.6) & (kind < 0.7)
    made[other, REST] ^= np.uint64(1)
    deeper = (kind >= 0.7) & (kind < 0.8) & (length < 32)
    made[deeper, REST] += np.uint64(1) << LENGTH_SHIFT
    moved = kind >= 0.8
    made[moved, HIGH] ^= np.uint64(0x80 << 52)
    made[:, REST] &= ~(OCTET << LONGEST_SHIFT)
    return made


def roas(table: Numbers) -> list[NDArray[np.intp]]:
    """Rows of the VRPs of each ROA: those of one origin that lie next to one another, at most ROA_VRPS_MAX."""
    origins = (table[:, REST] & ASN_MASK).astype(np.int64)
    found = []
    for origin in random.Random(8416).sample(sorted(set(origins.tolist())), 20_000):
        mine = np.flatnonzero(origins == origin)
        found.append(mine[:ROA_VRPS_MAX])
        if len(found) == 2_000:
            break
    return found


class Walk:
    """The peer: VRPs by prefix, routes by the prefixes of VRPs above them."""

    def __init__(self, made: Routes, table: Numbers) -> None:
        self.vrps: ByPrefix = defaultdict(list)
        for row in table.tolist():
            family, high, low, length = prefix_of(row)
            self.vrps[family, (high, low), length].append((row[REST] & 0xFFFFFFFF, row[REST] >> 40 & 0xFF))
        self.routes = [(*prefix_of(row), row[REST] & 0xFFFFFFFF) for row in made.rows.tolist()]
        self.below: dict[tuple[int, Key, int], list[int]] = defaultdict(list)
        for index, (family, high, low, length, _) in enumerate(self.routes):
            for each in self._above(family, high, low, length):
                self.below[each].append(index)

    def _above(self, family: int, high: int, low: int, length: int) -> list[tuple[int, Key, int]]:
        address = high << 64 | low
        found = []
        for shorter in range(length + 1):
            masked = address >> (128 - shorter) << (128 - shorter)
            key = (family, (masked >> 64, masked & 0xFFFFFFFFFFFFFFFF), shorter)
            if key in self.vrps:
                found.append(key)
        return found

    def validity(self, index: int, gone: Changes, come: Changes) -> Validity:
        family, high, low, length, origin = self.routes[index]
        covered = False
        for key in self._above(family, high, low, length):
            for vrp in (*self.vrps[key], *come.get(key, ())):
                if vrp in come.get(key, ()) or vrp not in gone.get(key, ()):
                    covered = True
                    if vrp[0] == origin != 0 and length <= vrp[1]:
                        return Validity.VALID
        return Validity.INVALID if covered else Validity.NOT_FOUND

    def changed(self, gone_rows: Numbers, come_rows: Numbers) -> dict[int, tuple[Validity, Validity]]:
        """`come_rows` have prefixes that some VRP has already."""
        gone: Changes = defaultdict(set)
        come: Changes = defaultdict(set)
        for rows, found in ((gone_rows, gone), (come_rows, come)):
            for row in rows.tolist():
                family, high, low, length = prefix_of(row)
                found[family, (high, low), length].add((row[REST] & 0xFFFFFFFF, row[REST] >> 40 & 0xFF))
        touched = {index for key in gone for index in self.below.get(key, ())}
        turns = {index: (self.validity(index, {}, {}), self.validity(index, gone, come)) for index in touched}
        return {index: turn for index, turn in turns.items() if turn[0] is not turn[1]}


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def main() -> int:
    words = sys.argv[1:]
    quick = "--quick" in words
    table = vrps(real(Path(words[words.index("--real") + 1])) if "--real" in words else world(VRPS))
    rows = routes(table)
    begun = time.process_time()
    made = Routes.of_rows(rows, np.zeros(len(rows), dtype=np.int32), ["member"])
    ready = Forecast(made, table)
    ready_seconds = time.process_time() - begun
    chosen = roas(table)[: 300 if quick else 2_000]
    walk = Walk(made, table)
    ours, peer, wall = [], [], []
    for number, roa in enumerate(chosen):
        come = table[roa] if number % 2 else table[:0]
        come = np.column_stack([come[:, :REST], come[:, REST] ^ np.uint64(1)])
        start, start_wall = time.process_time(), time.perf_counter()
        found = ready.changed(roa, come)
        ours.append((time.process_time() - start) * 1e3)
        wall.append((time.perf_counter() - start_wall) * 1e3)
        start = time.process_time()
        other = walk.changed(table[roa], come)
        peer.append((time.process_time() - start) * 1e3)
        mine = {
            row: (Validity(a), Validity(b))
            for row, a, b in zip(found.rows.tolist(), found.before.tolist(), found.after.tolist(), strict=True)
        }
        if mine != other:
            raise SystemExit(f"the two sides disagree on the ROA of VRPs {roa.tolist()}: nothing was measured")
    print(f"{CLAIM}\n{len(made)} routes, {len(table)} VRPs, {len(chosen)} ROAs in turns; ours was ready after {ready_seconds:.1f} CPU s\n")
    counts = np.bincount(ready.validity, minlength=3).tolist()
    print(", ".join(f"{counts[each]} {each}" for each in Validity))
    figures = {}
    print(f"{'ms':>10} {'median':>8} {'p99':>8} {'most':>8}")
    for side, times in (("nnix", ours), ("walk", peer)):
        figures[side] = _p99(times)
        print(f"{side:>10} {statistics.median(times):>8.3f} {figures[side]:>8.2f} {max(times):>8.2f}")
    holds = figures["nnix"] <= BOUND_MS
    numbers = {"ours": round(figures["nnix"], 3), "peer": round(figures["walk"], 3), "ratio": round(figures["walk"] / figures["nnix"], 3)}
    print(
        json.dumps(
            {
                "claim": CLAIM,
                **numbers,
                "median": round(statistics.median(ours), 4),
                "wall": round(_p99(wall), 3),
                "bound": BOUND_MS,
                "holds": holds,
            }
        )
    )
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
