"""The herald: announces a node's prefix while the node is healthy, and takes the announcement back when it is not.

Once a second it asks the name server beside it, the gate, and BIRD; `health.judge` decides; and what was decided is written as a route into the
health table, from which BIRD announces (bird.py). The herald asks what is, not what it did last: when it starts, a route that is there
says that the node is announced, and while it is dead nothing changes.

A route `blackhole PREFIX` in that table forwards nothing, since no rule looks there.

What it saw and decided stands in `state`, as JSON, written anew at each look: for `nnix naming`, for status, and as its pulse.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnix.planes.naming import ask
from nnix.planes.naming.health import ANNOUNCED, Around, Memory, Pace, State, Wants, ZoneSeen, judge

ASK_SECONDS = 0.5


def look(zone: Wants, own: Sequence[str], gates: Sequence[str]) -> ZoneSeen:
    """What the server says of a zone, beside what the gate has. It must answer under each of its own addresses; more is asked under the first."""
    try:
        soa = ask.ask(own[0], zone.origin, ask.SOA, timeout_seconds=ASK_SECONDS)
        keys = ask.ask(own[0], zone.origin, ask.DNSKEY, timeout_seconds=ASK_SECONDS)
        servers = ask.ask(own[0], zone.origin, ask.NS, timeout_seconds=ASK_SECONDS)
        serial = soa.serial
        for each in own[1:]:
            ask.ask(each, zone.origin, ask.SOA, timeout_seconds=ASK_SECONDS)
    except (OSError, ask.Unreadable):
        return ZoneSeen(False)
    ends = [each.expires for each in (soa, keys, servers) if each.expires is not None]
    return ZoneSeen(
        answers=soa.code == 0,
        authoritative=soa.authoritative,
        serial=serial,
        gate_serial=next((there for each in gates if (there := _serial(each, zone.origin)) is not None), None),
        expires=min(ends) if ends else None,
        keys=keys.keys,
    )


def _serial(address: str, origin: str) -> int | None:
    try:
        return ask.ask(address, origin, ask.SOA, timeout_seconds=ASK_SECONDS).serial
    except (OSError, ask.Unreadable):
        return None


def around(birdc: Sequence[str], prefixes: Sequence[str]) -> Around:
    """How many others announce the prefix, by what BIRD hears from the route servers; of two prefixes, the one that fewer announce."""
    said = _said([*birdc, "show", "protocols"])
    if said is None or not any(line.split()[1:2] == ["BGP"] and "Established" in line for line in said.splitlines()):
        return Around(None)
    counts = []
    for prefix in prefixes:
        routes = _said([*birdc, "show", "route", prefix]) or ""
        counts.append(len({line.split()[1] for line in routes.splitlines() if line.strip().startswith("via ")}))
    return Around(min(counts))


def announced(prefixes: Sequence[str], table: int) -> bool:
    """Whether every prefix stands in the health table."""
    there = {
        line.split()[1]
        for family in ("-4", "-6")
        for line in (_said(["ip", family, "route", "show", "table", str(table)]) or "").splitlines()
    }
    return set(prefixes) <= there


def announce(prefixes: Sequence[str], table: int, *, wanted: bool) -> None:
    """Write the routes, or take them away. Raises CalledProcessError."""
    for prefix in prefixes:
        family = "-6" if ":" in prefix else "-4"
        action = "replace" if wanted else "delete"
        done = subprocess.run(
            ["ip", family, "route", action, "blackhole", prefix, "table", str(table), "proto", "static"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and wanted:
            raise subprocess.CalledProcessError(done.returncode, done.args, stderr=done.stderr)


def _said(argv: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=2)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def tell(memory: Memory, seen: Mapping[str, ZoneSeen], others: Around, wrong: Sequence[str], now: float) -> None:
    """Write `state`, whole or not at all."""
    said = {
        "state": memory.state,
        "announced": memory.state in ANNOUNCED,
        "others": others.others,
        "wrong": list(wrong),
        "zones": {origin: asdict(each) for origin, each in seen.items()},
        "at": now,
    }
    Path("state.new").write_text(json.dumps(said))
    Path("state.new").replace("state")


def main(settings: Mapping[str, Any]) -> None:
    """Look and act, for ever."""
    prefixes, table = settings["prefixes"], settings["table"]
    birdc = ["birdc", "-r", "-s", settings["bird"]]
    wants = [
        Wants(each["origin"], each["lag_seconds_max"], each["life_seconds_min"], tuple(each["anchors"]), tuple(each["algorithms"]))
        for each in settings["zones"]
    ]
    pace = Pace(settings["ill_checks"], settings["well_seconds"], settings["turn_seconds"])
    memory = Memory(State.IN if announced(prefixes, table) else State.OUT, time.monotonic())
    while True:
        started = time.monotonic()
        seen = {each.origin: look(each, settings["own"], settings["gate"]) for each in wants}
        others = around(birdc, prefixes)
        was, now = memory.state, time.time()
        memory, wrong = judge(memory, wants, seen, others, pace, clock=started, now=now)
        if memory.state is not was:
            print(
                f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(now))} {was} -> {memory.state}: {'; '.join(wrong) or 'well'}", flush=True
            )
        if (wanted := memory.state in ANNOUNCED) != announced(prefixes, table):
            announce(prefixes, table, wanted=wanted)
        tell(memory, seen, others, wrong, now)
        time.sleep(max(0.05, settings["check_seconds"] - (time.monotonic() - started)))


if __name__ == "__main__":
    os.umask(0o077)
    main(json.loads(Path(sys.argv[1]).read_text()))
