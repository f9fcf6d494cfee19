"""Claim: comparing, judging and archiving add at most 10 % to the processor time of the two validators themselves, which run side by side.

Ours: `planes.trust`, from taking the mirror in to the document that is served, on a mirror of 30,000 objects that was seen once before; one ROA in a hundred is expired.
Peer: rpki-client and FORT alone, one after the other, as the users and with the words with which ours runs them, over a tree that is ready for them.

Each side's CPU seconds are those of all its processes. In turns, medians. The two validators must have found the same number of VRPs on both sides. Cold is the
first run of ours, in which every object is stored.

Run as root: python bench/trust_validate.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the synthetic tree stands with the tests

from tests.rpki.tree import Ca, Validity, anchor, roa, write  # noqa: E402

from nnix.daemons import fort, rpki_client  # noqa: E402
from nnix.daemons.validator import Run, ran  # noqa: E402
from nnix.hosts.namespace import NamespaceHost  # noqa: E402
from nnix.planes.trust import tal  # noqa: E402
from nnix.planes.trust.archive import Archive  # noqa: E402
from nnix.planes.trust.kinds import TrustAnchor  # noqa: E402
from nnix.planes.trust.validate import Order, Validated, validated  # noqa: E402

CLAIM = "CPU seconds of a whole validation of {} objects with two validators, beside the validators alone; at most a tenth more"
OBJECTS, CAS = 30_000, 100
BOUND = 1.10


def tree(objects: int, authorities: int, now: datetime) -> tuple[dict[str, bytes], bytes]:
    """`authorities` below one trust anchor, each with its share of `objects`; one ROA in a hundred expired an hour ago."""
    each_has = objects // authorities - 3  # besides manifest, CRL and certificate
    made = []
    for index in range(authorities):
        block = IPv4Network(((10 << 24) + (index << 16), 16))
        prefixes = [IPv4Network((int(block.network_address) + (number << 6), 26)) for number in range(each_has)]
        objects_of = [roa(f"{number}.roa", 64496 + number, str(prefix)) for number, prefix in enumerate(prefixes)]
        for expired in objects_of[::100]:
            expired.ee.validity = Validity(-timedelta(days=1), -timedelta(hours=1))
        made.append(Ca(f"ca{index}", (block,), ((64496, 64496 + each_has),), objects_of))
    root = anchor("lab", *made)
    return root.files(now), root.tal()


def cpu_seconds() -> float:
    return sum(each.ru_utime + each.ru_stime for each in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def bare(host: NamespaceHost, folder: Path, locator: tal.Tal) -> tuple[float, float, list[int]]:
    """(CPU seconds, seconds, VRPs) of the validators alone. Their folders are made before the clock starts."""
    counts = []
    spent = elapsed = 0.0
    for name, run in (
        ("bare-r", rpki_client.run("../tree", {"lab": "../lab.tal"}, {"lab": locator.paths[0]}, 900, asyncio.run(rpki_client.found(host)))),
        ("bare-f", fort.run("../tree", "../lab.tal", asyncio.run(fort.found(host)))),
    ):
        asyncio.run(host.put({name: None}))
        (folder / name).mkdir(mode=0o755)
        asyncio.run(host.run(["sh", "-c", f"cd {folder / name} && {{ {run.script}\n}}"], timeout_seconds=300))
        alone = Run(run.user, "", run.argv, run.leaves)
        begun, started = cpu_seconds(), time.monotonic()
        left = asyncio.run(ran(host, alone, name, at=None, timeout_seconds=900))
        spent, elapsed = spent + cpu_seconds() - begun, elapsed + time.monotonic() - started
        if left.fault:
            raise SystemExit(f"{run.argv[0]}: {left.fault}: nothing was measured")
        counts.append(left.files[run.leaves[0]].count(b"\n") - 1)
    return spent, elapsed, counts


def main() -> int:
    if os.geteuid() != 0:
        raise SystemExit("validators run as users of their own: run it as root")
    quick = "--quick" in sys.argv[1:]
    objects, authorities, rounds = (3_000, 10, 3) if quick else (OBJECTS, CAS, 3)
    now = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
        place = Path(name)
        place.chmod(0o755)
        files, locator = tree(objects, authorities, now)
        write(files, place / "mirror")
        archive, host = Archive(place / "archive"), NamespaceHost("bench", None, place / "runs")
        (place / "runs").mkdir(mode=0o755)
        write(files, place / "runs/tree")
        (place / "runs/lab.tal").write_bytes(tal.read(locator).written())

        def whole() -> Validated:
            index = archive.index(place / "mirror").digest
            order = Order((TrustAnchor(name="lab", tal="lab.tal"),), (), {"lab": locator}, index, now, 900, {})
            order.kept(archive)
            made = asyncio.run(validated(order, archive, host, "whole", set_clock=False))
            made.record(archive)
            return made

        spent: dict[str, list[tuple[float, float]]] = {"cold": [], "nnix": [], "validators": []}
        for _ in range(1 + rounds):
            begun, started = cpu_seconds(), time.monotonic()
            made = whole()
            spent["nnix" if spent["cold"] else "cold"].append((cpu_seconds() - begun, time.monotonic() - started))
            alone_cpu, alone_time, counts = bare(host, place / "runs", tal.read(locator))
            spent["validators"].append((alone_cpu, alone_time))
            ours = [made.vrps[who]["lab"] for who in ("rpki-client", "fort")]
            if ours != counts or made.outcome.contests or made.outcome.dead:
                raise SystemExit(f"the two sides did not find the same ({ours}, {counts}): nothing was measured")
    claim = CLAIM.format(f"{objects:,}")
    print(f"{claim}\n{len(files)} objects, {counts[0]} VRPs; {', '.join(f'{who} {number}' for who, number in made.versions.items())}\n")
    print(f"{'':>12} {'CPU s':>7} {'least':>7} {'most':>7} {'s':>7}")
    for side, times in spent.items():
        cpus = [each[0] for each in times]
        print(
            f"{side:>12} {statistics.median(cpus):>7.2f} {min(cpus):>7.2f} {max(cpus):>7.2f} {statistics.median(each[1] for each in times):>7.2f}"
        )
    mine, theirs = (statistics.median(each[0] for each in spent[side]) for side in ("nnix", "validators"))
    holds = mine <= theirs * BOUND
    figures = {"ours": round(mine, 3), "peer": round(theirs, 3), "ratio": round(theirs / mine, 3)}
    print(json.dumps({"claim": claim, **figures, "cold": round(spent["cold"][0][0], 3), "bound": BOUND, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
