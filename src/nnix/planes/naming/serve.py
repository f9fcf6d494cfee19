"""The herald: announces a node's prefix while the node is healthy, and takes the announcement back when it is not.

Once a second it asks the name server beside it, the gate, and BIRD; `health.judge` decides; and what was decided is written as a route into the
health table, from which BIRD announces (bird.py). The herald asks what is, not what it did last: when it starts, a route that is there
says that the node is announced, and while it is dead nothing changes.

A route `blackhole PREFIX` in that table forwards nothing, since no rule looks there.

What it saw and decided stands in `state`, as JSON, written anew at each look: for `nnix naming`, for status, and as its pulse.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
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
BIRD_SECONDS = 3.0  # for all that is asked of it at one look
LACKS = frozenset({2, 5, 9})
"""SERVFAIL, REFUSED, NOTAUTH: what servers say of a zone of which they have no version (RFC 1035, 4.1.1; RFC 2136, 2.2)"""
NOT_IN_TABLE = "8001"  # BIRD: "Network not found"


def look(zone: Wants, own: Sequence[str], gates: Sequence[str], silent: set[str]) -> ZoneSeen:
    """What the server says of a zone, beside what the gate has. It must answer under each of its own addresses; more is asked under the first.

    Who has said nothing stands in `silent` and is not asked again for the other zones of this look: a server that hangs would else make a look at a hundred zones
    last a minute, and three of them be bad before it leaves.
    """
    try:
        soa = _asked(own[0], zone.origin, ask.SOA, silent)
        keys = _asked(own[0], zone.origin, ask.DNSKEY, silent)
        servers = _asked(own[0], zone.origin, ask.NS, silent)
        serial = soa.serial
        for each in own[1:]:
            _asked(each, zone.origin, ask.SOA, silent)
    except (OSError, ask.Unreadable):
        return ZoneSeen(False)
    ends = [each.expires for each in (soa, keys, servers) if each.expires is not None]
    at_gate = [found for each in gates if (found := _at_gate(each, zone.origin, silent)) is not None]
    return ZoneSeen(
        answers=soa.code == 0,
        authoritative=soa.authoritative,
        serial=serial,
        gate_serial=next((there for _, there in at_gate if there is not None), None),
        expires=min(ends) if ends else None,
        keys=keys.keys,
        lacks=soa.code in LACKS,
        gate_lacks=bool(at_gate) and all(code in LACKS for code, _ in at_gate),
    )


def _asked(address: str, origin: str, kind: int, silent: set[str]) -> ask.Reply:
    """Raises OSError, Unreadable."""
    if address in silent:
        raise TimeoutError
    try:
        return ask.ask(address, origin, kind, timeout_seconds=ASK_SECONDS)
    except OSError:
        silent.add(address)
        raise


def _at_gate(address: str, origin: str, silent: set[str]) -> tuple[int, int | None] | None:
    """Response code and serial; None where the gate says nothing."""
    try:
        reply = _asked(address, origin, ask.SOA, silent)
        return reply.code, reply.serial
    except (OSError, ask.Unreadable):
        return None


def around(control: str, prefixes: Sequence[str]) -> Around:
    """How many others announce the prefix, by what BIRD hears from the route servers; of two prefixes, the one that fewer announce.

    What cannot be read, or comes from no session that is up, is not "nobody": a node that took it for that would come back ill, or stay.
    Of a family in which it has no session at all (bird.py names them `…_v4`, `…_v6`) it announces nothing either.
    """
    commands = ["show protocols", *(f"show route {prefix}" for prefix in prefixes)]
    try:
        protocols, *routes = asked(control, commands)
    except (OSError, ValueError) as error:
        return Around(None, f"BIRD {error}")
    sessions = [line.split() for line in protocols if line.split()[1:2] == ["BGP"]]
    counts = []
    for prefix, lines in zip(prefixes, routes, strict=True):
        family = [each for each in sessions if each[0].endswith("_v6" if ":" in prefix else "_v4")]
        if family and not any("Established" in each for each in family):
            return Around(None, ", ".join(f"{each[0]} {' '.join(each[5:]) or each[3]}" for each in family))
        if family:
            counts.append(len({line.split()[1] for line in lines if line.strip().startswith("via ")}))
    return Around(min(counts)) if counts else Around(None, "none is configured")


def asked(control: str, commands: Sequence[str]) -> list[list[str]]:
    """What BIRD answers to each command, line by line, on one connection to its control socket.

    Not by birdc: three of it a second are three programs to be started by a machine that may be busy, and each tells of failure only by
    being late. A reply is lines of `NNNN-text`, ` text` (as NNNN before), and a last one, `NNNN text`; from 8000 on NNNN is a refusal.
    Raises OSError when nobody listens or nothing comes in time, ValueError for a refusal or an end in the middle.
    """
    until = time.monotonic() + BIRD_SECONDS
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(BIRD_SECONDS)
        try:
            _connect(asking, Path(control))
            pending = b""
            replies = []
            for command in (None, "restrict", *commands):
                if command is not None:
                    asking.sendall(f"{command}\n".encode())
                lines: list[str] = []
                done = False
                while not done:
                    while b"\n" not in pending:
                        asking.settimeout(max(0.01, until - time.monotonic()))
                        if not (more := asking.recv(65536)):
                            raise ValueError("ended the conversation")
                        pending += more
                    line, _, pending = pending.partition(b"\n")
                    text = line.decode(errors="replace")
                    lines.append(text[1:] if text[:1] == " " else text[5:])
                    done = text[:4].isdigit() and text[4:5] == " "
                    if done and text[:1] in "89" and not text.startswith(NOT_IN_TABLE):
                        raise ValueError(f"refuses {command}: {text[5:]}")
                replies.append(lines)
        except TimeoutError:
            raise TimeoutError(f"does not answer within {BIRD_SECONDS:g} s") from None
        except OSError as error:
            raise OSError(f"cannot be asked: {error.strerror or error}") from None
    return replies[2:]


def _connect(asking: socket.socket, control: Path) -> None:
    """Connect to a socket whatever the length of its path, of which the kernel takes 107 octets (unix(7)). Raises OSError."""
    folder = os.open(control.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        asking.connect(f"/proc/self/fd/{folder}/{control.name}")
    finally:
        os.close(folder)


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
    """Write `state`, whole or not at all. On a full disk it stays what it was, and looking goes on: whoever ended for that would forget how often he found a server ill,
    and never withdraw it."""
    said = {
        "state": memory.state,
        "announced": memory.state in ANNOUNCED,
        "others": others.others,
        "deaf": others.deaf,
        "wrong": list(wrong),
        "zones": {origin: asdict(each) for origin, each in seen.items()},
        "at": now,
    }
    with contextlib.suppress(OSError):
        Path("state.new").write_text(json.dumps(said))
        Path("state.new").replace("state")


def main(settings: Mapping[str, Any]) -> None:
    """Look and act, for ever."""
    prefixes, table = settings["prefixes"], settings["table"]
    wants = [
        Wants(each["origin"], each["lag_seconds_max"], each["life_seconds_min"], tuple(each["anchors"]), tuple(each["algorithms"]))
        for each in settings["zones"]
    ]
    pace = Pace(settings["ill_checks"], settings["well_seconds"], settings["turn_seconds"])
    memory = Memory(State.IN if announced(prefixes, table) else State.OUT, time.monotonic())
    while True:
        started = time.monotonic()
        silent: set[str] = set()
        seen = {each.origin: look(each, settings["own"], settings["gate"], silent) for each in wants}
        others = around(settings["bird"], prefixes)
        was, now = memory.state, time.time()
        memory, wrong = judge(memory, wants, seen, others, pace, clock=started, now=now)
        if memory.state is not was:
            with contextlib.suppress(OSError):  # as with `state`
                print(
                    f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(now))} {was} -> {memory.state}: {'; '.join(wrong) or 'well'}",
                    flush=True,
                )
        if (wanted := memory.state in ANNOUNCED) != announced(prefixes, table):
            announce(prefixes, table, wanted=wanted)
        tell(memory, seen, others, wrong, now)
        time.sleep(max(0.05, settings["check_seconds"] - (time.monotonic() - started)))


if __name__ == "__main__":
    os.umask(0o077)
    main(json.loads(Path(sys.argv[1]).read_text()))
