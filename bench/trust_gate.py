"""Claim: two validators' outputs of 723,000 VRPs each are read, compared and judged within 2 CPU seconds and 1.4 GB.

Ours: the CSV that rpki-client writes and the one that FORT writes, in another order, from bytes to the decision what is served, by planes.trust: 300 VRPs that one of the
two has alone are contested, and whatever overlaps them is withheld. Peer: what a script does that keeps nothing but the agreed set, in plain
Python: both files into sets of tuples, and their intersection, sorted; it withholds nothing and checks nothing, so it has less to do. Writing the document
that is served comes after, is timed by itself, and counts towards the memory.

Each side runs in a process of its own, in turns; CPU seconds once it has started, and peak memory, of that process, medians. Both must have found the same VRPs
in common and the same 300 in dispute.

The VRPs are made here, with the mix of lengths and families that the world has. `--real FILE` takes those of a JSON of rpki-client (.bz2 or not) instead.

Run: python bench/trust_gate.py [--quick] [--real FILE]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import bz2
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from nnix.planes.trust.gate import Verdict, judged
from nnix.planes.trust.kinds import TrustAnchor
from nnix.planes.trust.outputs import from_fort, from_rpki_client, served

CLAIM = "CPU seconds to read, compare and judge two validators' CSVs of 723,000 VRPs, beside plain Python sets"
BOUND_SECONDS, BOUND_OCTETS = 2.0, 1_400_000_000
VRPS, DISPUTED = 723_000, 300
NOW = 1_795_600_000
LENGTHS_V4 = {24: 62, 23: 8, 22: 14, 21: 4, 20: 5, 19: 3, 18: 2, 17: 1, 16: 1}
LENGTHS_V6 = {48: 55, 32: 15, 40: 5, 44: 8, 36: 6, 46: 4, 47: 3, 29: 2, 64: 2}

Row = tuple[str, str, int]


def world(count: int) -> list[Row]:
    """(AS, prefix, maximum length): `count` of them, four in five IPv4."""
    chance = random.Random(8210)
    found: dict[Row, None] = {}
    while len(found) < count:
        v4 = chance.random() < 0.8
        table = LENGTHS_V4 if v4 else LENGTHS_V6
        length = chance.choices(list(table), list(table.values()))[0]
        bits = chance.getrandbits(length)
        asn = f"AS{chance.randrange(1, 400_000)}"
        if v4:
            address: IPv4Address | IPv6Address = IPv4Address((1 << 24) + (bits << (32 - length)) & 0xDFFFFFFF & ~((1 << (32 - length)) - 1))
        else:
            address = IPv6Address((0x2 << 124 | (bits & ((1 << max(length - 4, 0)) - 1)) << (128 - length)) & ~((1 << (128 - length)) - 1))
        longest = length if chance.random() < 0.8 else min(length + chance.randrange(1, 4), 32 if v4 else 128)
        found[asn, f"{address}/{length}", longest] = None
    return list(found)


def real(path: Path) -> list[Row]:
    content = bz2.decompress(path.read_bytes()) if path.suffix == ".bz2" else path.read_bytes()
    return list(dict.fromkeys((f"AS{each['asn']}", each["prefix"], each["maxLength"]) for each in json.loads(content)["roas"]))


def written(rows: list[Row], folder: Path) -> None:
    """The files of two validators: FORT lacks some that rpki-client has, and the other way round."""
    half = DISPUTED // 2
    chance = random.Random(6811)
    alone = set(chance.sample(range(len(rows)), DISPUTED))
    ordered = sorted(alone)
    first = [row for index, row in enumerate(rows) if index not in set(ordered[:half])]
    second = [row for index, row in enumerate(rows) if index not in set(ordered[half:])]
    chance.shuffle(second)
    head = "ASN,IP Prefix,Max Length,Trust Anchor,Expires\n"
    (folder / "rpki-client.csv").write_text(head + "".join(f"{a},{p},{m},lab,{NOW + 86400}\n" for a, p, m in first))
    (folder / "rpki-client.json").write_text('{"roas": [], "bgpsec_keys": [], "aspas": []}')
    (folder / "fort.csv").write_text("ASN,Prefix,Max prefix length\n" + "".join(f"{a},{p},{m}\n" for a, p, m in second))
    (folder / "keys.csv").write_text("ASN,Subject Key Identifier,Subject Public Key Info\n")


Found = tuple[dict[str, int], Callable[[], bytes]]


def ours(folder: Path) -> Found:
    a = from_rpki_client((folder / "rpki-client.csv").read_bytes(), (folder / "rpki-client.json").read_bytes())
    b = from_fort({"lab": ((folder / "fort.csv").read_bytes(), (folder / "keys.csv").read_bytes())})
    outcome = judged([TrustAnchor(name="lab", tal="lab.tal")], [Verdict("rpki-client", a), Verdict("fort", b)], {}, NOW)
    disputed = sum(len(vrps) for each in outcome.contests for vrps in each.says.values())
    return {"common": len(outcome.anchors["lab"].rows), "disputed": disputed, "withheld": outcome.withheld}, lambda: served(
        outcome.served, datetime.fromtimestamp(NOW, UTC)
    )


def peer(folder: Path) -> Found:
    def rows(name: str) -> set[Row]:
        lines = (folder / name).read_text().splitlines()[1:]
        return {(parts[0], parts[1], int(parts[2])) for parts in (line.split(",") for line in lines)}

    a, b = rows("rpki-client.csv"), rows("fort.csv")
    common = sorted(a & b)

    def document() -> bytes:
        return json.dumps({"roas": [{"asn": asn, "prefix": prefix, "maxLength": longest} for asn, prefix, longest in common]}).encode()

    return {"common": len(common), "disputed": len(a ^ b), "withheld": 0}, document


SIDES = {"nnix": ours, "plain sets": peer}


def child(side: str, folder: Path) -> dict[str, Any]:
    """Run one side in a process of its own; what it found, its CPU seconds and its peak memory."""
    done = subprocess.run([sys.executable, __file__, "--side", side, str(folder)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measured(side: str, folder: Path) -> None:
    begun = time.process_time()
    found, document = SIDES[side](folder)
    judged_at = time.process_time()
    octets = len(document())
    written_at = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**found, "seconds": judged_at - begun, "writing": written_at - judged_at, "peak": peak, "octets": octets}))


def main() -> int:
    words = sys.argv[1:]
    if words[:1] == ["--side"]:
        measured(words[1], Path(words[2]))
        return 0
    rounds = 3 if "--quick" in words else 7
    rows = real(Path(words[words.index("--real") + 1])) if "--real" in words else world(VRPS)
    print(f"{CLAIM}\n{len(rows)} VRPs, {DISPUTED} of them in dispute; {rounds} rounds in turns, each in a process of its own, medians\n")
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        folder = Path(name)
        written(rows, folder)
        spent: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for _ in range(rounds):
            for side, runs in spent.items():
                runs.append(child(side, folder))
    mine, theirs = (runs[0] for runs in spent.values())
    if any(mine[what] != theirs[what] for what in ("common", "disputed")) or mine["disputed"] != DISPUTED:
        raise SystemExit("the two sides did not find the same: nothing was measured")
    print(f"{'':>12} {'CPU s':>7} {'least':>7} {'most':>7} {'writing':>8} {'peak MB':>8}")
    seconds, peaks = {}, {}
    for side, runs in spent.items():
        times = [each["seconds"] for each in runs]
        seconds[side], peaks[side] = statistics.median(times), max(each["peak"] for each in runs)
        writing = statistics.median(each["writing"] for each in runs)
        print(f"{side:>12} {seconds[side]:>7.2f} {min(times):>7.2f} {max(times):>7.2f} {writing:>8.2f} {peaks[side] / 1e6:>8.0f}")
    print(f"\n{mine['common']} in common; {mine['withheld']} of them withheld because {DISPUTED} are in dispute")
    ratio = seconds["plain sets"] / seconds["nnix"]
    holds = seconds["nnix"] <= BOUND_SECONDS and peaks["nnix"] <= BOUND_OCTETS
    figures = {"ours": round(seconds["nnix"], 3), "peer": round(seconds["plain sets"], 3), "ratio": round(ratio, 3)}
    print(json.dumps({"claim": CLAIM, **figures, "peak": peaks["nnix"], "bounds": [BOUND_SECONDS, BOUND_OCTETS], "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
