"""What counters have counted, read back from the machines, and put into words.

A counter keeps a file for each day (counting.py). Here the days of several servers become one report: rates, failures and their causes, lame
delegations, latency by member, and how much of the day was not counted. Nothing of it says who asked what.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import log10
from typing import Any

from nnix.kernel.plane import Machines
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed, Unreachable
from nnix.planes.naming.compile import addresses_of, key_of, machine_of
from nnix.planes.naming.kinds import NameNode, Resolver, Zone
from nnix.planes.naming.tally import DAY_SECONDS, SLOT_SECONDS, Distinct, seconds_within

Server = NameNode | Resolver


@dataclass(frozen=True, slots=True)
class Counted:
    """One day at one server; `record` is what its counter wrote, `trouble` why there is none."""

    server: Server
    record: Mapping[str, Any]
    trouble: str = ""

    @property
    def queries(self) -> int:
        return sum(count for name, count in self.record["volume"].items() if "queries" in name)

    @property
    def responses(self) -> int:
        return sum(count for name, count in self.record["volume"].items() if "responses" in name)

    @property
    def sources(self) -> dict[str, Distinct]:
        return {name: Distinct(bytearray(base64.b64decode(each))) for name, each in self.record["sources"].items()}

    @property
    def missing_seconds(self) -> float:
        """How much of the day, until the last writing, was not counted."""
        return float(sum(end - start for start, end in self.record["gaps"]))

    @property
    def note(self) -> str:
        """In words what is missing; empty when nothing is."""
        words = []
        if missing := self.missing_seconds:
            words.append(f"not counted: {missing:.0f} s of the day, in {len(self.record['gaps'])} gaps")
        if (untold := self.record["untold"]) > 0:  # the two counts are not taken in the same instant, so it may be below
            words.append(f"not told by the daemon: {untold} questions")
        if passed := self.record["passed_over"]:
            words.append(f"passed over in floods: {passed} messages")
        if unreadable := self.record["unreadable"]:
            words.append(f"unreadable: {unreadable} messages")
        return "; ".join(words)

    def latency(self) -> dict[str, tuple[int, float, float, float]]:
        """member → answers, and within how many seconds half, nine tenths and 99 of a hundred came."""
        return self._spread("members")

    def trips(self) -> dict[str, tuple[int, float, float, float]]:
        """The same of the way to its resolvers and back, of those that asked over TCP."""
        return self._spread("trips")

    def seen(self) -> dict[str, float]:
        """member → within how many seconds half of the answers are there, as its own resolvers see it: the middle of what the server took and the middle of the way."""
        taken, trips = self.latency(), self.trips()
        return {name: taken[name][1] + trips[name][1] for name in taken if name in trips}

    def _spread(self, key: str) -> dict[str, tuple[int, float, float, float]]:
        found = {}
        for name, steps in self.record.get(key, {}).items():
            taken = {int(step): int(count) for step, count in steps.items()}
            if taken:
                half, most, nearly = (seconds_within(taken, part) or 0.0 for part in (0.5, 0.9, 0.99))
                found[name] = (sum(taken.values()), half, most, nearly)
        return dict(sorted(found.items(), key=lambda pair: -pair[1][0]))

    def report(self) -> dict[str, Any]:
        """As JSON has it."""
        record = self.record
        return {
            "server": self.server.id,
            "day": record["date"],
            "queries": self.queries,
            "responses": self.responses,
            "unanswered": record["unanswered"],
            "rcodes": record["rcodes"],
            "volume": record["volume"],
            "sources": {name: each.count() for name, each in self.sources.items()},
            "latency": {
                name: {"answers": answers, "p50_seconds": half, "p90_seconds": most, "p99_seconds": nearly}
                for name, (answers, half, most, nearly) in self.latency().items()
            },
            "round_trip": {
                name: {"samples": samples, "p50_seconds": half, "p90_seconds": most, "p99_seconds": nearly}
                for name, (samples, half, most, nearly) in self.trips().items()
            },
            "as_seen_p50_seconds": self.seen(),
            "causes": record["causes"],
            "failing": record["failing"],
            "lame": record["lame"],
            "load_seconds": record["loads"],
            "per_5_minutes": {int(slot) * SLOT_SECONDS: counts for slot, counts in record["slots"].items()},
            "own_looks": record["looks"],
            "not_counted_seconds": round(self.missing_seconds, 1),
            "gaps": record["gaps"],
            "not_told": max(0, record["untold"]),
            "passed_over": record["passed_over"],
            "unreadable": record["unreadable"],
            "until": record["until"],
        }


def counting(snapshot: Snapshot) -> tuple[Server, ...]:
    """The servers that are counted."""
    servers: tuple[Server, ...] = (*snapshot.of(NameNode), *snapshot.of(Resolver))
    return tuple(each for each in servers if each.statistics)


async def counted(snapshot: Snapshot, machines: Machines, day: str, name: str | None = None) -> list[Counted]:
    """A day at each server, or at the one called `name`."""
    wanted = [each for each in counting(snapshot) if name in (None, each.name, each.id)]
    return list(await asyncio.gather(*(_one(each, machines, day) for each in wanted)))


async def _one(server: Server, machines: Machines, day: str) -> Counted:
    path = f"counter/{server.name}/day-{day}.json"
    try:
        content = (await machines.host(machine_of(server)).get([path]))[path]
        found = Counted(server, json.loads(content) if content else {}, "" if content else f"nothing was counted on {day}")
        if content:
            found.report()  # all of it can be read
    except (Unreachable, Failed) as error:
        return Counted(server, {}, str(error))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Counted(server, {}, f"{path} cannot be read: {error!r}")
    return found


async def zone_octets(node: NameNode, zone: Zone, snapshot: Snapshot, machines: Machines, secret: str) -> int | None:
    """How many octets a whole transfer of the zone has, fetched once more from the gate as the node fetches it; None when that fails."""
    gate, key = snapshot.at(node.gate), key_of(snapshot.at(snapshot.at(node.gate).key))
    own = addresses_of(node, snapshot)[0]
    there = next((each for each in addresses_of(gate, snapshot) if each.version == own.version), None)
    if there is None:
        return None
    argv = ["kdig", "+noall", "+stats", "+time=60", "-k", "/dev/stdin", "-b", str(own), f"@{there}", zone.origin, "AXFR"]
    try:
        done = await machines.host(machine_of(node)).run(argv, stdin=f"{key.algorithm}:{key.name}:{secret}\n".encode(), timeout_seconds=120)
    except (Unreachable, Failed):
        return None
    words = next((line.split() for line in done.out.splitlines() if line.startswith(";; Received ")), [])
    return int(words[2]) if len(words) > 2 and words[2].isdigit() else None


def chart(days: list[Counted]) -> str:
    """The day as an SVG: above, questions a second of each server and in dark what failed; below, latency by member."""
    width, height, left = 960, 150, 150
    parts = []
    top = 20
    for each in days:
        slots = {int(slot): counts for slot, counts in each.record["slots"].items()}
        most = max((counts[0] for counts in slots.values()), default=0) or 1
        parts.append(f'<text x="8" y="{top + 14}" class="name">{each.server.name}</text>')
        parts.append(f'<text x="8" y="{top + 32}">at most {most / SLOT_SECONDS:.3g} queries/s</text>')
        for slot, counts in sorted(slots.items()):
            x, wide = left + slot * SLOT_SECONDS / DAY_SECONDS * (width - left - 20), (width - left - 20) * SLOT_SECONDS / DAY_SECONDS
            for count, kind in ((counts[0], "asked"), (counts[1], "failed")):
                tall = count / most * (height - 40)
                parts.append(
                    f'<rect class="{kind}" x="{x:.1f}" y="{top + height - 40 - tall:.1f}" width="{max(wide, 1):.1f}" height="{tall:.1f}"/>'
                )
        for hour in range(0, 25, 6):
            x = left + hour / 24 * (width - left - 20)
            parts.append(f'<text x="{x:.0f}" y="{top + height - 24}" text-anchor="middle">{hour:02d}:00</text>')
        top += height
        for name, (answers, half, most_seconds, _) in list(each.latency().items())[:12]:
            parts.append(f'<text x="{left - 8}" y="{top + 4}" text-anchor="end">{name}</text>')
            for seconds, kind in ((most_seconds, "most"), (half, "half")):
                parts.append(f'<rect class="{kind}" x="{left}" y="{top - 7}" width="{_long(seconds):.0f}" height="12"/>')
            label = f"{half * 1e3:.3g} ms half, {most_seconds * 1e3:.3g} ms nine tenths, of {answers}"
            parts.append(f'<text x="{left + _long(most_seconds) + 6:.0f}" y="{top + 4}">{label}</text>')
            top += 18
        top += 24
    style = "text{font:12px sans-serif;fill:#333}.name{font-weight:bold}.asked{fill:#7aa6d8}.failed{fill:#b35900}.half{fill:#2f6db5}.most{fill:#c6d9ee}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}">'
    return f"{head}<style>{style}</style>{''.join(parts)}</svg>\n"


def _long(seconds: float) -> float:
    """On a scale of decades: 1 µs is nothing, 10 s is all of it."""
    return max(1.0, min(7.0, log10(max(seconds, 1e-6)) + 6) / 7 * 420)
