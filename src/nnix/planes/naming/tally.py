"""A day of questions and answers, counted: what RSSAC002 asks of root servers, latency by member, and why answers failed.

Everything here is bounded, whatever is asked: numbers by protocol, size and response code are few; members are those of the exchange; domains,
delegations and questions that wait for an answer have a most, and what was turned away for it is counted too.

Who asked is counted, not kept. Of an address only its hash, under a salt that is drawn anew each day, reaches a HyperLogLog: 4,096 registers
that each hold the longest run of zeros seen, which say how many different ones there were (to about 1.6 %), and not which. A question's
name is looked at only when it failed, and then down to its last two labels.

Latency is from question to answer at the server itself, in steps of a quarter of an octave, by the member over whose router the asker is
reached. What an asker sees is that and the way there and back. The way is known of those who ask over TCP, by their handshakes (Moura and others, "Old but
Gold", 2022): one sample for each look at the kernel's memory at which an asker has been heard of anew.

Standard library only, since it also runs on machines that have no nnix. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from nnix.planes.naming.ask import NS, Unreadable, name_at
from nnix.planes.naming.dnstap import UDP, Kind, Message

WAITING_MAX = 65_536
WAITED_SECONDS_MAX = 5.0
NAMES_MAX = 500
MEMBERS_MAX = 5_000
ASKERS_MAX = 65_536
ASKED_SECONDS_MAX = 120.0  # so long after a question its connection may still be open, and its handshake be told of
SERIALS_MAX = 200
SLOT_SECONDS = 300
DAY_SECONDS = 86_400
SIZE_STEP = 16
SIZES_MAX = 4096
HASH_BITS, REGISTER_BITS = 64, 12
ELSEWHERE = "elsewhere"
SERVFAIL = 2
OPT, EDE = 41, 15

ERRORS = {
    0: "other error", 1: "unsupported DNSKEY algorithm", 2: "unsupported DS digest type", 3: "stale answer", 4: "forged answer",
    5: "DNSSEC indeterminate", 6: "DNSSEC bogus", 7: "signature expired", 8: "signature not yet valid", 9: "DNSKEY missing",
    10: "RRSIGs missing", 11: "no zone key bit set", 12: "NSEC missing", 13: "cached error", 14: "not ready", 15: "blocked",
    16: "censored", 17: "filtered", 18: "prohibited", 19: "stale NXDOMAIN answer", 20: "not authoritative", 21: "not supported",
    22: "no reachable authority", 23: "network error", 24: "invalid data",
}  # fmt: skip
"""RFC 8914, 4"""
UNEXPLAINED = "unexplained"
RCODES = {1: "formerr", 2: "servfail", 4: "notimp", 5: "refused", 9: "notauth"}
NO_ANSWER = "no answer"


@dataclass(slots=True)
class Distinct:
    """How many different ones (HyperLogLog, Flajolet and others 2007)."""

    registers: bytearray = field(default_factory=lambda: bytearray(1 << REGISTER_BITS))

    def add(self, hashed: int) -> None:
        """`hashed` has 64 even bits."""
        place = hashed & ((1 << REGISTER_BITS) - 1)
        run = HASH_BITS - REGISTER_BITS + 1 - (hashed >> REGISTER_BITS).bit_length()
        self.registers[place] = max(self.registers[place], run)

    def count(self) -> int:
        many = len(self.registers)
        raw = 0.7213 / (1 + 1.079 / many) * many * many / sum(2.0**-each for each in self.registers)
        empty = self.registers.count(0)
        return round(many * math.log(many / empty) if empty and raw <= 2.5 * many else raw)


@dataclass(slots=True)
class Bounded:
    """The keys that came most often, at most `most` (Space-Saving, Metwally and others 2005): a new one takes the place and the count of the rarest."""

    most: int
    counts: dict[str, int] = field(default_factory=dict)
    displaced: int = 0

    def add(self, key: str, number: int = 1) -> None:
        if key not in self.counts and len(self.counts) >= self.most:
            rarest = min(self.counts, key=self.counts.__getitem__)
            number += self.counts.pop(rarest)
            self.displaced += 1
        self.counts[key] = self.counts.get(key, 0) + number


@dataclass(slots=True)
class Latency:
    """How long answers took: step → how many. Step n ends at 2^(n/4) microseconds."""

    steps: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float) -> None:
        step = 0 if seconds <= 1e-6 else min(120, math.ceil(4 * math.log2(seconds * 1e6)))
        self.steps[step] = self.steps.get(step, 0) + 1

    def seconds(self, part: float) -> float | None:
        """Within which `part` of the answers came, to the next step up."""
        return seconds_within(self.steps, part)


def seconds_within(steps: Mapping[int, int], part: float) -> float | None:
    """Within which `part` of the answers came; None where there were none."""
    left = part * sum(steps.values())
    for step in sorted(steps):
        left -= steps[step]
        if left <= 0:
            return float(2 ** (step / 4) / 1e6)
    return None


@dataclass(slots=True)
class Day:
    """One day (UTC) at one server. `of` says which member an asker belongs to; `own` are addresses whose questions are the exchange's own looks."""

    date: str
    salt: bytes
    of: Callable[[bytes], str]
    own: frozenset[bytes] = frozenset()
    volume: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, dict[int, int]] = field(default_factory=dict)
    rcodes: dict[int, int] = field(default_factory=dict)
    sources: dict[str, Distinct] = field(default_factory=lambda: {"ipv4": Distinct(), "ipv6": Distinct(), "ipv6-aggregate": Distinct()})
    members: dict[str, Latency] = field(default_factory=dict)
    trips: dict[str, Latency] = field(default_factory=dict)  # to the members' askers and back
    slots: dict[int, list[int]] = field(default_factory=dict)
    causes: Bounded = field(default_factory=lambda: Bounded(len(ERRORS) + len(RCODES) + 4))
    failing: Bounded = field(default_factory=lambda: Bounded(NAMES_MAX))
    lame: Bounded = field(default_factory=lambda: Bounded(NAMES_MAX))
    upstream: Latency = field(default_factory=Latency)
    loads: dict[str, dict[str, float]] = field(default_factory=dict)
    looks: int = 0
    unanswered: int = 0
    unreadable: int = 0
    passed_over: int = 0
    turned_away: int = 0
    untold: int = 0  # questions that the daemon has counted itself and not told of
    daemon_mark: int = -1  # the daemon's count at the last audit, -1 before the first
    told_mark: int = 0  # and ours
    gaps: list[list[float]] = field(default_factory=list)
    until: float = 0.0
    _waiting: dict[tuple[bytes, int, bytes], float] = field(default_factory=dict)
    _asking: dict[tuple[bytes, int, bytes], tuple[float, bytes]] = field(default_factory=dict)
    _by_tcp: dict[bytes, float] = field(default_factory=dict)  # who asked so, and when last
    _heard: dict[bytes, float] = field(default_factory=dict)
    _faults: dict[str, str] = field(default_factory=dict)

    def take(self, tapped: Message) -> None:
        """Count one message. Raises nothing: what cannot be read is counted as that."""
        try:
            _TAKEN[tapped.kind](self, tapped)
        except (KeyError, Unreadable, IndexError):
            self.unreadable += 1

    def _asked(self, tapped: Message) -> None:
        if tapped.asker in self.own:
            self.looks += 1
            return
        self._volume("queries-received", tapped)
        self._size("request", tapped.protocol, len(tapped.query))
        self._source(tapped.asker)
        self._slot(tapped.asked_at)[0] += 1
        if tapped.protocol not in UDP:
            self._by_tcp.pop(tapped.asker, None)
            self._by_tcp[tapped.asker] = tapped.asked_at
            if len(self._by_tcp) > ASKERS_MAX:
                del self._by_tcp[next(iter(self._by_tcp))]
        if len(self._waiting) >= WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
            self.turned_away += 1
        self._waiting[tapped.asker, tapped.asker_port, tapped.query[:2]] = tapped.asked_at

    def _answered(self, tapped: Message) -> None:
        if tapped.asker in self.own:
            return
        code = tapped.response[3] & 15
        self._volume("responses-sent", tapped)
        self._size("response", tapped.protocol, len(tapped.response))
        self.rcodes[code] = self.rcodes.get(code, 0) + 1
        asked_at = self._waiting.pop((tapped.asker, tapped.asker_port, tapped.response[:2]), tapped.asked_at)
        if asked_at:
            self._member(tapped.asker).add(tapped.answered_at - asked_at)
        if code == SERVFAIL:
            self._slot(tapped.answered_at)[1] += 1
            name = name_at(tapped.response, 12)[0]
            self.causes.add(cause := explained(tapped.response) or self._blamed(name))
            self.failing.add(f"{registered(name)} {cause}")

    def _blamed(self, name: str) -> str:
        """Where the daemon does not say why, what was last wrong with the servers of a zone that the name is in."""
        labels = name.split(".")
        for start in range(len(labels)):
            if fault := self._faults.get(".".join(labels[start:]) or "."):
                return f"lame delegation: {fault}"
        return UNEXPLAINED

    def _blame(self, zone: bytes, server: bytes, fault: str) -> None:
        name = spelled(zone)
        self.lame.add(f"{name} {address(server)} {fault}")
        self._faults.pop(name, None)
        self._faults[name] = fault
        if len(self._faults) > NAMES_MAX:
            del self._faults[next(iter(self._faults))]

    def _asks(self, tapped: Message) -> None:
        if len(self._asking) >= WAITING_MAX:
            del self._asking[next(iter(self._asking))]
            self.turned_away += 1
        self._asking[tapped.server, tapped.asker_port, tapped.query[:2]] = (tapped.asked_at, tapped.zone)

    def _told(self, tapped: Message) -> None:
        self._asking.pop((tapped.server, tapped.asker_port, tapped.response[:2]), None)
        if tapped.asked_at:
            self.upstream.add(tapped.answered_at - tapped.asked_at)
        self._heard.pop(tapped.server, None)
        self._heard[tapped.server] = tapped.answered_at
        if len(self._heard) > WAITING_MAX:
            del self._heard[next(iter(self._heard))]
        if fault := lameness(tapped.response, tapped.zone):
            self._blame(tapped.zone, tapped.server, fault)
        else:
            self._faults.pop(spelled(tapped.zone), None)

    def age(self, now: float) -> None:
        """Give up on what has waited long enough: nothing came. A server that answered something else meanwhile is not silent (Unbound asks twice, and
        tells only one of the answers)."""
        for key, asked_at in list(self._waiting.items()):
            if now - asked_at < WAITED_SECONDS_MAX:
                break
            del self._waiting[key]
            self.unanswered += 1
        for key, (asked_at, zone) in list(self._asking.items()):
            if now - asked_at < WAITED_SECONDS_MAX:
                break
            del self._asking[key]
            if self._heard.get(key[0], 0.0) < asked_at:
                self._blame(zone, key[0], NO_ANSWER)

    def audited(self, count: int) -> None:
        """The daemon's own count of questions, since it started. Those that came while nobody listened here are in it too."""
        told = self.looks + sum(number for name, number in self.volume.items() if "queries" in name)
        if self.daemon_mark >= 0:
            self.untold += (count - self.daemon_mark if count >= self.daemon_mark else count) - (told - self.told_mark)
        self.daemon_mark, self.told_mark = count, told

    def loaded(self, origin: str, serial: int, seconds: float) -> None:
        """A new version of a zone is served, so long after the gate had it."""
        serials = self.loads.setdefault(origin, {})
        if len(serials) < SERIALS_MAX:
            serials.setdefault(str(serial), round(seconds, 1))

    def travelled(self, asker: bytes, seconds: float, now: float) -> None:
        """The kernel knows anew how long the way to `asker` and back takes. Of those who did not ask over TCP lately it says nothing about answers (a BGP
        session, a resolver's own questions), and of strangers to all members there is nobody to tell."""
        if now - self._by_tcp.get(asker, -ASKED_SECONDS_MAX) >= ASKED_SECONDS_MAX or (name := self.of(asker)) in (None, ELSEWHERE):
            return
        if name in self.trips or len(self.trips) < MEMBERS_MAX:
            self.trips.setdefault(name, Latency()).add(seconds)

    def _volume(self, what: str, tapped: Message) -> None:
        key = f"dns-{'udp' if tapped.protocol in UDP else 'tcp'}-{what}-{'ipv4' if len(tapped.asker) == 4 else 'ipv6'}"
        self.volume[key] = self.volume.get(key, 0) + 1

    def _size(self, what: str, protocol: int, octets: int) -> None:
        sizes = self.sizes.setdefault(f"{'udp' if protocol in UDP else 'tcp'}-{what}-sizes", {})
        step = min(octets, SIZES_MAX) // SIZE_STEP
        sizes[step] = sizes.get(step, 0) + 1

    def _source(self, asker: bytes) -> None:
        if len(asker) == 4:
            self.sources["ipv4"].add(self._hashed(asker))
        else:
            self.sources["ipv6"].add(self._hashed(asker))
            self.sources["ipv6-aggregate"].add(self._hashed(asker[:8]))

    def _hashed(self, asker: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(asker, key=self.salt, digest_size=8).digest(), "big")

    def _member(self, asker: bytes) -> Latency:
        name = self.of(asker)
        if name not in self.members and len(self.members) >= MEMBERS_MAX:
            name = ELSEWHERE
        return self.members.setdefault(name, Latency())

    def _slot(self, at: float) -> list[int]:
        return self.slots.setdefault(int(at % DAY_SECONDS) // SLOT_SECONDS, [0, 0])

    # -- kept and read again ----------------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "date": self.date,
            "volume": self.volume,
            "sizes": self.sizes,
            "rcodes": self.rcodes,
            "sources": {name: base64.b64encode(each.registers).decode() for name, each in self.sources.items()},
            "members": {name: each.steps for name, each in self.members.items()},
            "trips": {name: each.steps for name, each in self.trips.items()},
            "slots": self.slots,
            "causes": self.causes.counts,
            "failing": self.failing.counts,
            "lame": self.lame.counts,
            "displaced": self.failing.displaced + self.lame.displaced,
            "upstream": self.upstream.steps,
            "loads": self.loads,
            **{each: getattr(self, each) for each in NUMBERS},
            "gaps": self.gaps,
            "until": self.until,
        }

    def resume(self, record: Mapping[str, Any]) -> None:
        """Go on where `record` ended. Raises KeyError, TypeError, ValueError for one that cannot be read."""
        self.volume = dict(record["volume"])
        self.sizes = {name: _steps(each) for name, each in record["sizes"].items()}
        self.rcodes = _steps(record["rcodes"])
        for name, registers in record["sources"].items():
            self.sources[name] = Distinct(bytearray(base64.b64decode(registers)))
        self.members = {name: Latency(_steps(each)) for name, each in record["members"].items()}
        self.trips = {name: Latency(_steps(each)) for name, each in record.get("trips", {}).items()}
        self.slots = {int(slot): list(each) for slot, each in record["slots"].items()}
        for name in ("causes", "failing", "lame"):
            getattr(self, name).counts = dict(record[name])
        self.upstream = Latency(_steps(record["upstream"]))
        self.loads = {origin: dict(each) for origin, each in record["loads"].items()}
        for name in NUMBERS:
            setattr(self, name, int(record.get(name, getattr(self, name))))
        self.gaps, self.until = list(record["gaps"]), float(record["until"])


NUMBERS = ("looks", "unanswered", "unreadable", "passed_over", "turned_away", "untold", "daemon_mark", "told_mark")

_TAKEN: Mapping[int, Callable[[Day, Message], None]] = {
    Kind.AUTH_QUERY: Day._asked,
    Kind.AUTH_RESPONSE: Day._answered,
    Kind.CLIENT_QUERY: Day._asked,
    Kind.CLIENT_RESPONSE: Day._answered,
    Kind.RESOLVER_QUERY: Day._asks,
    Kind.RESOLVER_RESPONSE: Day._told,
}


def _steps(record: Mapping[str, int]) -> dict[int, int]:
    return {int(step): int(number) for step, number in record.items()}


# -- what an answer says ------------------------------------------------------------------------------------------


def explained(response: bytes) -> str:
    """Why an answer is an error, by its first Extended DNS Error (RFC 8914); empty where it says nothing. Raises Unreadable, IndexError."""
    for kind, start, length, _ in _records(response):
        if kind != OPT:
            continue
        here, end = start, start + length
        while here + 4 <= end:
            option, octets = int.from_bytes(response[here : here + 2], "big"), int.from_bytes(response[here + 2 : here + 4], "big")
            if option == EDE and octets >= 2:
                code = int.from_bytes(response[here + 4 : here + 6], "big")
                return ERRORS.get(code, ERRORS[0])
            here += 4 + octets
    return ""


def registered(name: str) -> str:
    """The last two labels of a name."""
    labels = name.split(".")
    return ".".join(labels[-3:]) if len(labels) > 2 else ".".join(labels)


def lameness(response: bytes, zone: bytes) -> str:
    """What is wrong with an answer of a server to which `zone` is delegated; empty when it is an answer or leads on. Raises Unreadable, IndexError."""
    flags, code = response[2], response[3] & 15
    if code in RCODES:
        return RCODES[code]
    if code or flags & 4 or flags & 2:  # a name that does not exist, authority, or cut short: asked again over TCP
        return ""
    if int.from_bytes(response[6:8], "big"):
        return "answers without authority"
    own = spelled(zone)
    for kind, _, _, owner in _records(response):
        if kind == NS and owner != own and (own == "." or owner.endswith(f".{own}")):
            return ""
    return "leads nowhere"


def _records(message: bytes) -> Iterable[tuple[int, int, int, str]]:
    """(type, start of the rdata, its length, owner) of every record behind the question. Raises Unreadable, IndexError."""
    questions, *counts = (int.from_bytes(message[n : n + 2], "big") for n in (4, 6, 8, 10))
    here = 12
    for _ in range(questions):
        here = name_at(message, here)[1] + 4
    for _ in range(sum(counts)):
        owner, here = name_at(message, here)
        kind, length = int.from_bytes(message[here : here + 2], "big"), int.from_bytes(message[here + 8 : here + 10], "big")
        if here + 10 + length > len(message):
            raise Unreadable("a record longer than its message")
        yield kind, here + 10, length, owner
        here += 10 + length


def spelled(zone: bytes) -> str:
    try:
        return name_at(zone, 0)[0] if zone else "."
    except (Unreadable, IndexError):
        return "?"


def address(octets: bytes) -> str:
    return str(ip_address(octets)) if len(octets) in (4, 16) else "?"
