"""What is counted of a day, that it stays small, and that it says nothing of who asked."""

from __future__ import annotations

import ipaddress
import json
import random
from pathlib import Path

import pytest
import yaml

from nnix.planes.naming.ask import wire
from nnix.planes.naming.counting import Counter, Loads, Ways, trips_learned
from nnix.planes.naming.dnstap import Kind, Message
from nnix.planes.naming.rssac002 import documents
from nnix.planes.naming.tally import ASKED_SECONDS_MAX, NAMES_MAX, WAITING_MAX, Day, Distinct, lameness

NOON = 1_795_694_400.0


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def day(**more: object) -> Day:
    return Day("2026-11-26", bytes(32), {packed("192.0.2.1"): "alice"}.get, **more)  # type: ignore[arg-type]


def dns(
    name: str, *, number: int = 1, flags: int = 0, code: int = 0, answers: bytes = b"", authority: bytes = b"", extra: bytes = b""
) -> bytes:
    counts = [1, bool(answers), bool(authority), bool(extra)]
    head = number.to_bytes(2, "big") + bytes([flags, code]) + b"".join(int(each).to_bytes(2, "big") for each in counts)
    return head + wire(name) + b"\0\1\0\1" + answers + authority + extra


def opt(*options: tuple[int, bytes]) -> bytes:
    rdata = b"".join(kind.to_bytes(2, "big") + len(each).to_bytes(2, "big") + each for kind, each in options)
    return b"\0\0\x29\x04\xd0\0\0\0\0" + len(rdata).to_bytes(2, "big") + rdata


def asked(
    who: str = "192.0.2.1", at: float = NOON, *, name: str = "www.zj.", number: int = 1, protocol: int = 1, kind: Kind = Kind.AUTH_QUERY
) -> Message:
    return Message(kind, protocol, packed(who), 4000 + number % 1000, b"", 53, at, 0.0, dns(name, number=number), b"", b"")


def answered(
    who: str = "192.0.2.1",
    at: float = NOON,
    *,
    name: str = "www.zj.",
    number: int = 1,
    code: int = 0,
    extra: bytes = b"",
    kind: Kind = Kind.AUTH_RESPONSE,
) -> Message:
    return Message(kind, 1, packed(who), 4000 + number % 1000, b"", 53, 0.0, at, b"", dns(name, number=number, code=code, extra=extra), b"")  # fmt: skip


def test_the_way_is_known_of_those_who_asked_over_tcp() -> None:
    """As the kernel has learned it since the last look; not of whoever has some other connection, asked long ago, or belongs to nobody. It survives a restart."""
    counted = day()
    counted.take(asked(protocol=2))
    counted.take(asked("192.0.2.9", number=2, protocol=2))
    counted.take(asked("192.0.2.2", number=3))
    entries = [
        {"dst": "192.0.2.1", "age": 1.0, "rtt": 0.0101, "rttvar": 0.001, "source": "203.0.113.61"},
        {"dst": "192.0.2.9", "age": 1.0, "rtt": 0.5},
        {"dst": "192.0.2.2", "age": 1.0, "rtt": 0.5},
        {"dst": "192.0.2.1", "age": 1.0},
        {"dst": "nonsense", "age": 1.0, "rtt": 0.5},
        {"dst": "192.0.2.1", "age": "?", "rtt": 0.5},
    ]
    found = list(trips_learned(entries, NOON + 2))
    assert found[0] == (packed("192.0.2.1"), 0.0101, NOON + 1)
    assert len(found) == 3
    for asker, seconds, _ in found:
        counted.travelled(asker, seconds, NOON + 2)
    counted.travelled(packed("192.0.2.1"), 0.5, NOON + ASKED_SECONDS_MAX)
    assert {name: sum(each.steps.values()) for name, each in counted.trips.items()} == {"alice": 1}
    again = day()
    again.resume(json.loads(json.dumps(counted.record())))
    assert 0.0101 <= (again.trips["alice"].seconds(0.5) or 0) < 0.0101 * 2**0.25


def test_questions_and_answers_are_counted_as_rssac002_has_it() -> None:
    """Volume by protocol and family, sizes in steps of 16 octets, response codes, and how many sources; each file is YAML."""
    counted = day()
    counted.take(asked())
    counted.take(answered())
    counted.take(asked("2001:db8::1", number=2, protocol=2))
    counted.take(asked("2001:db8::2", number=3, protocol=2))
    counted.take(answered("2001:db8::1", number=2, code=3))
    counted.loads = {"zj.": {"7": 2.2}}
    record = json.loads(json.dumps(counted.record()))
    found = {
        path: yaml.safe_load(text) for path, text in documents("ns-hz", record, counted.sources, {"zj.": {"7": 1839}}, "a note").items()
    }
    volume = found["2026/11/traffic-volume/ns-hz-20261126-traffic-volume.yaml"]
    assert (volume["dns-udp-queries-received-ipv4"], volume["dns-tcp-queries-received-ipv6"]) == (1, 2)
    assert (volume["version"], volume["service"], volume["start-period"]) == ("rssac002v3", "ns-hz", "2026-11-26T00:00:00Z")
    assert found["2026/11/rcode-volume/ns-hz-20261126-rcode-volume.yaml"]["3"] == 1
    assert found["2026/11/traffic-sizes/ns-hz-20261126-traffic-sizes.yaml"]["udp-request-sizes"] == {"16-31": 1}
    sources = found["2026/11/unique-sources/ns-hz-20261126-unique-sources.yaml"]
    assert [sources[f"num-sources-{each}"] for each in ("ipv4", "ipv6", "ipv6-aggregate")] == [1, 2, 1]
    assert found["2026/11/zone-size/ns-hz-zj-20261126-zone-size.yaml"]["size"] == {"7": 1839}
    assert found["2026/11/load-time/ns-hz-zj-20261126-load-time.yaml"]["time"] == {"7": 2}


@pytest.mark.parametrize("number", [10, 3_000, 200_000])
def test_how_many_different_sources_to_a_few_in_a_hundred(number: int) -> None:
    """4,096 registers: standard error 1.6 %; three of them are allowed here."""
    chance, found = random.Random(number), Distinct()
    for _ in range(number):
        hashed = chance.getrandbits(64)
        found.add(hashed)
        found.add(hashed)
    assert abs(found.count() - number) <= max(1, 0.049 * number)


def test_no_address_is_in_what_is_kept() -> None:
    """Neither as text nor as octets nor in hexadecimal, while their number is there; the same address on another day hashes otherwise."""
    counted = day()
    for n in range(200):
        counted.take(asked(f"198.51.100.{n}", number=n))
    kept = json.dumps(counted.record())
    assert "198.51.100" not in kept
    assert "c6336" not in kept
    assert abs(counted.sources["ipv4"].count() - 200) < 20
    other = Day("2026-11-27", bytes(31) + b"\1", counted.of)
    other.take(asked("198.51.100.1"))
    assert other.sources["ipv4"].registers != day().sources["ipv4"].registers


def test_latency_by_member_and_what_never_was_answered() -> None:
    """Alice's answers take a millisecond; somebody elsewhere gets none."""
    counted = day()
    counted.of = lambda address: "alice" if address == packed("192.0.2.1") else "elsewhere"
    for n in range(100):
        counted.take(asked(at=NOON + n, number=n))
        counted.take(answered(at=NOON + n + 0.001, number=n))
    counted.take(asked("203.0.113.9", NOON + 101, number=500))
    counted.age(NOON + 103)
    assert counted.unanswered == 0
    counted.age(NOON + 107)
    assert counted.unanswered == 1
    half = counted.members["alice"].seconds(0.5)
    assert half is not None
    assert 0.001 <= half < 0.0012
    assert set(counted.members) == {"alice"}


def test_a_flood_from_everywhere_for_everything_stays_small() -> None:
    """What waits, what fails and what is lame has a most; the counts themselves lose nothing."""
    counted = day()
    counted.of = lambda address: f"member-{address.hex()}"
    for n in range(WAITING_MAX + 1000):
        who = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        counted.take(asked(who, number=n % 60_000))
        if n % 20 == 0:
            counted.take(answered(who, number=n % 60_000, name=f"d{n}.zj.", code=2, kind=Kind.CLIENT_RESPONSE))
    assert len(counted._waiting) <= WAITING_MAX
    assert len(counted.failing.counts) == NAMES_MAX
    assert sum(counted.failing.counts.values()) == counted.rcodes[2]
    assert counted.volume["dns-udp-queries-received-ipv4"] == WAITING_MAX + 1000
    assert len(json.dumps(counted.record())) < 500_000


def test_servfail_has_the_cause_that_the_daemon_says_or_what_was_wrong_with_the_servers() -> None:
    """RFC 8914: DNSSEC bogus is code 6; without one, the fault of the delegation that the name is in."""
    counted = day()
    counted.take(answered(code=2, name="a.bad.zj.", extra=opt((10, b"12345678"), (15, b"\0\6no")), kind=Kind.CLIENT_RESPONSE))
    refused = Message(
        Kind.RESOLVER_RESPONSE, 1, b"", 1, packed("192.0.2.9"), 53, NOON, NOON + 1, b"", dns("x.lame.zj.", code=5), wire("lame.zj.")
    )
    counted.take(refused)
    counted.take(answered(code=2, name="x.lame.zj.", kind=Kind.CLIENT_RESPONSE))
    counted.take(answered(code=2, name="x.fine.zj.", kind=Kind.CLIENT_RESPONSE))
    assert counted.causes.counts == {"DNSSEC bogus": 1, "lame delegation: refused": 1, "unexplained": 1}
    assert counted.lame.counts == {"lame.zj. 192.0.2.9 refused": 1}
    assert counted.failing.counts == {"bad.zj. DNSSEC bogus": 1, "lame.zj. lame delegation: refused": 1, "fine.zj. unexplained": 1}


def test_a_server_that_says_nothing_is_lame_and_one_that_said_something_else_is_not() -> None:
    """Silence for five seconds."""
    counted = day()
    for number, server in ((1, "192.0.2.9"), (2, "192.0.2.8")):
        counted.take(
            Message(Kind.RESOLVER_QUERY, 1, b"", number, packed(server), 53, NOON, 0, dns("x.zj.", number=number), b"", wire("zj."))
        )
    counted.take(
        Message(Kind.RESOLVER_RESPONSE, 1, b"", 9, packed("192.0.2.8"), 53, NOON, NOON + 1, b"", dns("y.zj.", flags=4), wire("zj."))
    )
    counted.age(NOON + 6)
    assert counted.lame.counts == {"zj. 192.0.2.9 no answer": 1}


NS_BELOW = wire("sub.zj.") + b"\0\2\0\1\0\0\0\1\0\2\xc0\x0c"
NS_ABOVE = wire(".") + b"\0\2\0\1\0\0\0\1\0\2\xc0\x0c"


@pytest.mark.parametrize(
    ("response", "fault"),
    [
        (dns("x.sub.zj.", flags=4), ""),
        (dns("x.sub.zj.", authority=NS_BELOW), ""),
        (dns("x.sub.zj.", authority=NS_ABOVE), "leads nowhere"),
        (dns("x.sub.zj."), "leads nowhere"),
        (dns("x.sub.zj.", answers=NS_BELOW), "answers without authority"),
        (dns("x.sub.zj.", code=5), "refused"),
        (dns("x.sub.zj.", code=2), "servfail"),
        (dns("x.sub.zj.", flags=4, code=3), ""),
        (dns("x.sub.zj.", flags=2), ""),
    ],
    ids=["authority", "referral", "upward", "nothing", "no-authority", "refused", "servfail", "nxdomain", "truncated"],
)
def test_what_makes_a_delegation_lame(response: bytes, fault: str) -> None:
    assert lameness(response, wire("zj.")) == fault


@pytest.mark.parametrize(
    "response",
    [b"", b"\0" * 11, dns("x.zj.", code=2)[:14], b"\0\0\0\2" + b"\xff" * 60, dns("x.zj.", code=2)[:12] + b"\xc0"],
    ids=["empty", "short", "cut", "counts", "half-a-pointer"],
)
def test_an_answer_that_cannot_be_read_is_counted_as_that(response: bytes) -> None:
    """And no exception leaves the tally."""
    counted = day()
    counted.take(Message(Kind.CLIENT_RESPONSE, 1, packed("192.0.2.1"), 1, b"", 53, 0, NOON, b"", response, b""))
    counted.take(Message(77, 1, b"", 1, b"", 53, 0, NOON, b"", b"", b""))
    assert counted.unreadable >= 1


@pytest.mark.parametrize("zone", [b"\xc0", b"\x05zj", b"\x40"])
def test_a_stranger_whose_answer_cannot_be_read_does_not_end_the_counting(zone: bytes) -> None:
    """What a resolver is told comes from anybody, and goes into its tap as it came."""
    counted = day()
    for response in (dns("x.zj.")[:12] + b"\xc0", dns("x.zj.", code=5)):
        counted.take(Message(4, 1, b"", 1, packed("192.0.2.9"), 53, NOON, NOON, b"", response, zone))
    assert (counted.unreadable, sum(counted.lame.counts.values())) == (1, 1)


def started(now: float) -> Counter:
    counter = Counter(lambda _: "alice", frozenset(), 35)
    counter.begin(now)
    return counter


def test_who_starts_anew_goes_on_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed two seconds after the last writing, started a minute later: the counts go on, the gap is told, and by the daemon's own count it is known
    how many questions came in it. A file that was damaged is not gone on with."""
    monkeypatch.chdir(tmp_path)

    first = started(NOON)
    first.day.audited(1000)
    first.day.take(asked())
    first.day.audited(1001)
    first.keep(NOON + 5)
    second = started(NOON + 65)
    second.day.take(asked(number=2))
    second.day.audited(1010)
    assert second.day.volume == {"dns-udp-queries-received-ipv4": 2}
    assert second.day.sources["ipv4"].count() == 1
    assert second.day.gaps == [[NOON - 43_200, NOON], [NOON + 5, NOON + 65]]
    assert second.day.untold == 8
    second.keep(NOON + 70)
    (tmp_path / "day-2026-11-26.json").write_text("{}")
    assert started(NOON + 80).day.volume == {}
    monkeypatch.setattr("nnix.planes.naming.counting.date_of", lambda now: "2026-11-27")
    second.keep(NOON + 50_000)
    assert second.day.date == "2026-11-27"
    assert second.day.salt.hex() in (tmp_path / "salt").read_text()
    assert second.day.gaps == []


def test_a_clock_set_back_over_midnight_takes_no_day_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was counted of the day before stands; and a clock that was years ahead does not keep its year."""
    monkeypatch.chdir(tmp_path)
    midnight = NOON + 43_200
    counter = started(midnight - 10)
    counter.day.take(asked())
    counter.keep(midnight + 0.5)
    for now in (midnight - 0.5, midnight - 3600, midnight + 1):
        counter.keep(now)
        assert (counter.day.date, json.loads((tmp_path / "day-2026-11-26.json").read_text())["volume"]) == (
            "2026-11-27",
            {"dns-udp-queries-received-ipv4": 1},
        )
    counter.keep(midnight - 86_400 * 365)
    assert counter.day.date == "2025-11-27"


def test_an_asker_belongs_to_the_member_over_whose_router_he_is_reached() -> None:
    """His own address on the LAN, else the longest route that leads over a member's; what the exchange's routers do not know is elsewhere."""
    ways = Ways({packed("203.0.113.101"): "alice", packed("203.0.113.102"): "bob", packed("2001:db8:1::101"): "alice"})
    ways.learn(
        [
            "198.18.0.0/15 via 203.0.113.101 dev eth0 proto bird metric 32",
            "198.18.7.0/24 via 203.0.113.102 dev eth0",
            "3fff:1::/48 via 2001:db8:1::101 dev eth0",
            "10.0.0.0/8 via 203.0.113.9 dev eth0",
            "default via 203.0.113.101 dev eth0",
            "nonsense via nowhere",
            "203.0.113.0/24 dev eth0 proto kernel",
        ]
    )
    asked_from = ("203.0.113.102", "198.18.7.1", "198.19.0.1", "3fff:1::9", "10.1.1.1", "192.0.2.1")
    assert [ways.of(packed(each)) for each in asked_from] == ["bob", "bob", "alice", "alice", "elsewhere", "elsewhere"]


def test_a_version_is_loaded_as_late_as_the_herald_sees_it_after_the_gate(tmp_path: Path) -> None:
    """What was there at the first look is no new version; of a later one the seconds count from when the gate had it."""
    herald, counted = Loads(tmp_path / "state"), day()

    def look(at: float, serial: int, at_gate: int | None) -> None:
        herald.herald.write_text(json.dumps({"at": at, "zones": {"zj.": {"serial": serial, "gate_serial": at_gate}}}))
        herald.look(counted)

    herald.look(counted)
    look(NOON, 7, 7)
    look(NOON + 10, 7, 8)
    look(NOON + 11, 7, 8)
    look(NOON + 13, 8, 8)
    look(NOON + 20, 8, None)
    herald.herald.write_text("no JSON")
    herald.look(counted)
    assert counted.loads == {"zj.": {"8": 3.0}}
