"""The counter: takes what a name server tells by dnstap, and counts it (tally.py), day by day.

It listens on a Unix socket in its own folder; the daemon beside it connects, and tries again for ever when nobody listens. So neither has to
be there first, and the end of one is no harm to the other: a daemon whose counter is gone answers as before, and forgets what it would
have told.

*Floods.* Frames are always taken off the socket, so that the daemon never waits; but only so many are looked into as a share of one CPU allows, and
the others are counted as passed over. All that is kept is bounded.

*Kills.* Counts are written every five seconds, whole or not at all. Whoever starts anew reads them, and notes the time from the last writing
on as a gap: what is lost is said, to the second. The same for the part of a day before the first start.

*What was not told.* A daemon that is busy tells less than it answers, NSD for one. So its own count of questions, which its control tool knows, is
looked at as well, and the difference is reported: over a gap too.

*How far an asker is*: a server that answers over UDP never learns it, but a kernel times every TCP handshake, and remembers for each address how long the way there
and back took last (ip-tcp_metrics(8)). Every five seconds those are looked at that it has learned anew, and of them those who asked over TCP. Resolvers come over TCP
for long answers, and where the rate limit cuts one short.

*Whose an asker is*: a member's own address on the LAN, or the member over whose router the way back to the asker leads, by the kernel's
routes, which BIRD keeps.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from nnix.planes.naming import dnstap
from nnix.planes.naming.tally import DAY_SECONDS, ELSEWHERE, Day

SOCKET = "tap"
CONNECTIONS_MAX = 32
READ_OCTETS = 262_144
LOOK_EVERY = 64  # frames between two looks at the CPU's clock
WRITE_SECONDS = 5.0
ROUTES_SECONDS = (10.0, 60.0, 300.0)  # after a start, BGP needs a while
ROUTES_MAX = 2_000_000
GAPS_MAX = 200


@dataclass(slots=True)
class Ways:
    """Which member an address belongs to."""

    neighbours: Mapping[bytes, str]
    prefixes: dict[tuple[int, int], dict[int, str]] = field(default_factory=dict)
    lengths: dict[int, list[int]] = field(default_factory=dict)

    def of(self, address: bytes) -> str:
        if found := self.neighbours.get(address):
            return found
        number, bits = int.from_bytes(address, "big"), 8 * len(address)
        for length in self.lengths.get(bits, ()):
            if found := self.prefixes[bits, length].get(number >> (bits - length)):
                return found
        return ELSEWHERE

    def learn(self, lines: Iterable[str]) -> None:
        """Routes as `ip route show` prints them; those over nobody's router are left out."""
        prefixes: dict[tuple[int, int], dict[int, str]] = {}
        for line, _ in zip(lines, range(ROUTES_MAX), strict=False):
            words = line.split()
            if len(words) < 3 or words[1] != "via" or words[0] == "default":
                continue
            with contextlib.suppress(ValueError):
                if member := self.neighbours.get(ip_address(words[2]).packed):
                    prefix = ip_network(words[0])
                    bits = prefix.max_prefixlen
                    number = int(prefix.network_address) >> (bits - prefix.prefixlen)
                    prefixes.setdefault((bits, prefix.prefixlen), {})[number] = member
        self.prefixes = prefixes
        self.lengths = {bits: sorted({length for b, length in prefixes if b == bits}, reverse=True) for bits in (32, 128)}


@dataclass
class Trips:
    """How long the way to each address and back takes, by the kernel's memory of TCP; `until` is when it was looked at last, in Unix seconds."""

    until: float

    def look(self, day: Day, now: float) -> None:
        """Tell the day of those that the kernel has learned since."""
        try:
            done = subprocess.run(["ip", "-j", "tcp_metrics", "show"], capture_output=True, text=True, check=False, timeout=10)
            entries = json.loads(done.stdout or "[]")
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return
        for asker, seconds, at in trips_learned(entries, now):
            if at > self.until:
                day.travelled(asker, seconds, now)
        self.until = now


def trips_learned(entries: Iterable[Mapping[str, Any]], now: float) -> Iterator[tuple[bytes, float, float]]:
    """(address, seconds there and back, when that was learned) of what `ip -j tcp_metrics show` prints; entries without are left out. Pure."""
    for each in entries:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            yield ip_address(each["dst"]).packed, float(each["rtt"]), now - float(each["age"])


def routes() -> list[str]:
    """The kernel's routes of both families; what cannot be had is left out."""
    found: list[str] = []
    for family in ("-4", "-6"):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(["ip", family, "route", "show"], capture_output=True, text=True, check=False, timeout=30)
            found += done.stdout.splitlines()
    return found


@dataclass
class Counter:
    """The day that is counted, and where it is kept."""

    of: Callable[[bytes], str]
    own: frozenset[bytes]
    days_kept: int
    day: Day = field(init=False)

    def begin(self, now: float) -> None:
        """Go on with today's counts, where there are some."""
        date = date_of(now)
        if not self._resume(date):
            self._fresh(date)
        self._gap(now)

    def _resume(self, date: str) -> bool:
        """Whether there are counts of this day that can be read."""
        try:
            kept = json.loads(Path("salt").read_text())
            if kept["date"] != date:
                return False
            day = Day(date, bytes.fromhex(kept["salt"]), self.of, self.own)
            day.resume(json.loads(file_of(date).read_text()))
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            print(f"counts of {date} cannot be gone on with: {error!r}", flush=True)
            return False
        self.day = day
        return True

    def _gap(self, now: float) -> None:
        since = max(self.day.until, now // DAY_SECONDS * DAY_SECONDS)
        self.day.gaps = [*self.day.gaps, [round(since, 1), round(now, 1)]][-GAPS_MAX:]
        self.day.until = now

    def _fresh(self, date: str) -> None:
        self.day = Day(date, secrets.token_bytes(32), self.of, self.own)
        write(Path("salt"), json.dumps({"date": date, "salt": self.day.salt.hex()}))
        for old in sorted(Path().glob("day-*.json"))[: -self.days_kept]:
            old.unlink()

    def keep(self, now: float) -> None:
        """Write what was counted; at midnight begin anew. A clock that is set back over midnight does not: of the day before the salt is gone, so that it would begin with
        nothing, and be written over what was counted."""
        self.day.until = now
        write(file_of(self.day.date), json.dumps(self.day.record()))
        if (date := date_of(now)) > self.day.date or date_of(now + DAY_SECONDS) < self.day.date:
            mark = self.day.daemon_mark
            self._fresh(date)
            self.day.until, self.day.daemon_mark = now, mark  # and of questions, none is told yet


def date_of(now: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(now))


def file_of(date: str) -> Path:
    return Path(f"day-{date}.json")


def write(place: Path, text: str) -> None:
    """Whole or not at all."""
    draft = place.with_name(f"{place.name}.new")
    draft.write_text(text)
    draft.replace(place)


@dataclass
class Loads:
    """How long after the gate each version came to be served, by what the herald sees once a second."""

    herald: Path
    first: dict[tuple[str, int], float] = field(default_factory=dict)

    def look(self, day: Day) -> None:
        try:
            said = json.loads(self.herald.read_text())
            zones = {str(origin): (each["serial"], each["gate_serial"]) for origin, each in said["zones"].items()}
            at = float(said["at"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        seen = {(origin, serial) for origin, pair in zones.items() for serial in pair if isinstance(serial, int)}
        begun = not self.first
        self.first = {key: self.first.get(key, 0.0 if begun else at) for key in seen}
        for origin, (serial, _) in zones.items():
            if isinstance(serial, int) and (since := self.first[origin, serial]):
                day.loaded(origin, serial, at - since)


@dataclass(frozen=True, slots=True)
class Audit:
    """How the daemon's own count of questions is asked for: a command in its folder, and what the lines that hold it begin with."""

    argv: tuple[str, ...]
    folder: str
    begins: str

    def count(self) -> int | None:
        """The sum over those lines; None when the daemon does not say."""
        try:
            done = subprocess.run(self.argv, cwd=self.folder, capture_output=True, text=True, check=False, timeout=5)
            found = [int(line.rpartition("=")[2]) for line in done.stdout.splitlines() if line.startswith(self.begins)]
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
        return sum(found) if found else None


class Taps:
    """The socket, and who is connected."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.selector = selectors.DefaultSelector()
        Path(SOCKET).unlink(missing_ok=True)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(SOCKET)
        self.listening.listen(16)
        self.listening.setblocking(False)
        self.selector.register(self.listening, selectors.EVENT_READ)
        self.streams: dict[socket.socket, dnstap.Stream] = {}
        self.second, self.spent = 0, 0.0

    def wait(self, day: Day, seconds: float) -> None:
        """Take what comes within `seconds`."""
        for key, _ in self.selector.select(seconds):
            if key.fileobj is self.listening:
                with contextlib.suppress(OSError):
                    self._accept(self.listening.accept()[0])
            elif isinstance(key.fileobj, socket.socket):
                self._read(key.fileobj, day)

    def _accept(self, peer: socket.socket) -> None:
        if len(self.streams) >= CONNECTIONS_MAX:
            peer.close()
            return
        peer.settimeout(1.0)
        self.streams[peer] = dnstap.Stream.fresh()
        self.selector.register(peer, selectors.EVENT_READ)

    def _read(self, peer: socket.socket, day: Day) -> None:
        stream = self.streams[peer]
        try:
            octets = peer.recv(READ_OCTETS)
            for number, frame in enumerate(stream.feed(octets)):
                if number % LOOK_EVERY == 0:
                    may = self._may_look()
                if not may:
                    day.passed_over += 1
                    continue
                try:
                    day.take(dnstap.message(frame))
                except dnstap.Unreadable:
                    day.unreadable += 1
            if stream.replies:
                peer.sendall(stream.replies)
                stream.replies.clear()
        except (dnstap.Unreadable, OSError) as error:
            print(f"a connection ended: {error}", flush=True)
            day.unreadable += isinstance(error, dnstap.Unreadable)
            octets = b""
        if not octets or stream.finished:
            self.selector.unregister(peer)
            del self.streams[peer]
            peer.close()

    def _may_look(self) -> bool:
        """Whether this second's share of the CPU is not yet used up."""
        if (second := int(time.monotonic())) != self.second:
            self.second, self.spent = second, time.process_time()
        return time.process_time() - self.spent < self.share


def main(settings: Mapping[str, Any]) -> None:
    """Count, for ever."""
    ways = Ways({ip_address(each).packed: member for each, member in settings["neighbours"].items()})
    counter = Counter(ways.of, frozenset(ip_address(each).packed for each in settings["own"]), settings["days_kept"])
    counter.begin(time.time())
    counter.keep(time.time())
    audit = Audit(tuple(settings["audit"]["argv"]), settings["audit"]["folder"], settings["audit"]["begins"])
    taps = Taps(settings["cpu_share"])
    loads = Loads(Path(settings["herald"])) if settings["herald"] else None
    trips = Trips(time.time())
    started = written = ticked = time.monotonic()
    learn_after, learned = list(ROUTES_SECONDS), started - ROUTES_SECONDS[-1]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            taps.wait(counter.day, 1.0)
            clock, now = time.monotonic(), time.time()
            if clock - ticked < 1.0:
                continue
            ticked = clock
            counter.day.age(now)
            if loads:
                loads.look(counter.day)
            if clock - learned >= (learn_after[0] if len(learn_after) > 1 else ROUTES_SECONDS[-1]):
                ways.learn(routes())
                learned, learn_after = clock, learn_after[1:] or learn_after
            if clock - written >= WRITE_SECONDS:
                trips.look(counter.day, now)
            if clock - written >= WRITE_SECONDS and (count := audit.count()) is not None:
                counter.day.audited(count)
            if clock - written >= WRITE_SECONDS or date_of(now) != counter.day.date:
                counter.keep(now)
                written = clock
            write(Path("state"), json.dumps({"at": now, "connections": len(taps.streams), "date": counter.day.date}))
    finally:
        counter.keep(time.time())


if __name__ == "__main__":
    os.umask(0o077)
    main(json.loads(Path(sys.argv[1]).read_text()))
