"""Delays: what separates declared latency from what `tc -j qdisc show` prints, the way there, and a kernel that has no netem."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from nnix.cli.root import KINDS
from nnix.daemons.iproute.facts import Shaper
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Absent, Failed, Host, Result
from nnix.lab.compile import compile
from nnix.lab.latency import LATENCY, Delay, LatencyDriver, decode, encode, missing, way
from nnix.lab.read import read

UNKNOWN = Result(2, "", "Error: Specified qdisc kind is unknown.\n")
DELAY = Delay(shaper=Shaper(dev="l-ab", rate_bits_per_second=10**9), microseconds=2000)
BUCKET = {"kind": "tbf", "handle": "8001:", "dev": "l-ab", "root": True, "options": {"rate": 125000000, "burst": 131072, "lat": 50000}}


def netem(**options: Any) -> dict[str, Any]:
    seen = {"delay": 0.002, "jitter": 0, "correlation": 0}
    said = {"limit": 4906, "delay": seen, "ecn": False, "gap": 0, **options}
    return {"kind": "netem", "handle": "2:", "dev": "l-ab", "parent": "8001:1", "options": said}


QUEUE = {"kind": "bfifo", "handle": "3:", "dev": "l-ab", "parent": "2:1", "options": {"limit": 6381072}}


class Machine:
    """A host that answers every command alike, and remembers what it was asked."""

    name, home = "m", "/m"

    def __init__(self, answer: Result) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.files: dict[str, bytes] = {}

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        self.asked.append(f"{' '.join(argv)}\n{stdin.decode()}")
        return self.answer

    async def put(self, files: Mapping[str, bytes | None], *, mode: int = 0o600) -> None:
        for path, content in files.items():
            self.files.pop(path, None)
            self.files |= {} if content is None else {path: content}

    async def get(self, paths: Sequence[str]) -> Mapping[str, bytes | None]:
        return {path: self.files.get(path) for path in paths}


class Machines:
    def __init__(self, **hosts: Machine) -> None:
        self.hosts = hosts

    def host(self, machine: str) -> Host:
        if machine not in self.hosts:
            raise Absent(f"{machine}: no namespace")
        return self.hosts[machine]


def lab(latency: str = "2ms") -> Snapshot:
    def made(kind: str, name: str, **fields: Any) -> Resource:
        return KINDS[kind].model_validate({"name": name, **fields})

    sites = [made("Site", s, title={"en": s}, role="hub", level="city", city=s, country="CN") for s in ("a", "b")]
    exchange = made("Exchange", "x", title={"en": "X"}, asn=65551, country="CN", lab=True)
    return Snapshot([exchange, *sites, made("Link", "ab", a="a", b="b", capacity="1G", latency=latency)])


def test_each_end_delays_by_the_whole_latency_which_is_one_way() -> None:
    """So that a round trip takes twice as long as declared."""
    made = {each.machine: each.content for each in compile(lab(), Evidence()) if each.driver == "latency"}
    assert {machine: decode(content)["l-ab"].microseconds for machine, content in made.items()} == {"a": 2000, "b": 2000}
    shapers = {each.machine: json.loads(each.content) for each in compile(lab(), Evidence()) if each.name == "capacity"}
    assert shapers["a"] == decode(made["a"])["l-ab"].shaper.model_dump(mode="json")


def test_a_link_without_latency_is_not_delayed() -> None:
    assert not [each for each in compile(lab("0us"), Evidence()) if each.driver == "latency"]


def test_netem_has_room_for_a_full_line_of_the_smallest_frames() -> None:
    """1 Gbit/s for 2 ms are 250,000 octets; and as much waits behind it as in a token bucket alone (50 ms and a burst)."""
    assert DELAY.frames_max >= 250_000 / 64
    assert DELAY.queue_octets_max == 10**9 // 8 // 20 + 131072


def test_what_does_not_fit_into_the_kernels_numbers_is_cut() -> None:
    huge = Delay(shaper=Shaper(dev="l-ab", rate_bits_per_second=10**13), microseconds=10**7)
    assert huge.frames_max == huge.queue_octets_max == 2**32 - 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([BUCKET, netem(), QUEUE], ""),
        ([BUCKET, netem(seed=17), QUEUE], ""),
        ([BUCKET], "l-ab does not delay"),
        ([], "interface l-ab is not there"),
        ([BUCKET, {**netem(), "dev": "l-cd"}, QUEUE], "l-ab does not delay"),
        ([BUCKET, {**netem(), "parent": "8002:1"}, QUEUE], "l-ab does not delay"),
        ([BUCKET, netem(delay={"delay": 0.003, "jitter": 0}), QUEUE], "l-ab delays by 3000 µs, not by 2000"),
        ([BUCKET, netem(delay={"delay": 0.002, "jitter": 0.001}), QUEUE], "l-ab does more than delay: jitter"),
        ([BUCKET, netem(**{"loss-random": {"loss": 0.5}}), QUEUE], "l-ab does more than delay: loss-random"),
        ([BUCKET, netem(limit=1000), QUEUE], "l-ab holds 1000 frames, not 4906"),
        ([BUCKET, netem()], "the queue behind the delay of l-ab is missing"),
        ([BUCKET, netem(), {**QUEUE, "options": {"limit": 9}}], "the queue behind the delay of l-ab is not as long as that of its shaper"),
    ],
)
def test_a_difference_is_named(rows: list[dict[str, Any]], said: str) -> None:
    assert missing(DELAY, rows) == said
    assert bool(way({"l-ab": DELAY}, {}, rows)) == bool(said)


def test_the_delay_stands_below_the_bucket_and_a_queue_below_the_delay() -> None:
    assert way({"l-ab": DELAY}, {}, [BUCKET]) == [
        "qdisc replace dev l-ab parent 8001:1 handle 2: netem limit 4906 delay 2000us",
        "qdisc replace dev l-ab parent 2:1 handle 3: bfifo limit 6381072",
    ]


def test_without_a_bucket_the_delay_stands_alone() -> None:
    bare = {"kind": "noqueue", "handle": "0:", "dev": "l-ab", "root": True, "options": {}}
    assert way({"l-ab": DELAY}, {}, [bare])[0] == "qdisc replace dev l-ab root handle 2: netem limit 4906 delay 2000us"


def test_taking_away_gives_the_bucket_its_own_queue_back() -> None:
    """A bucket whose queue is deleted drops every frame; also one that was left so by a kill gets its queue."""
    again = "qdisc change dev l-ab root tbf rate 1000000000bit burst 131072 latency 50000us"
    assert way({}, {"l-ab": DELAY}, [BUCKET, netem(), QUEUE]) == ["qdisc delete dev l-ab parent 8001:1", again]
    assert way({}, {"l-ab": DELAY}, [BUCKET]) == [again]
    assert way({}, {"l-ab": DELAY}, []) == []


def test_an_artifact_reads_back_and_a_foreign_word_does_not() -> None:
    assert decode(encode([DELAY])) == {"l-ab": DELAY}
    evil = encode([DELAY]).replace(b"l-ab", b"l-ab root; reboot")
    assert "line 1: shaper.dev" in asyncio.run(LATENCY.check(Machine(UNKNOWN), evil))
    assert "delayed twice" in asyncio.run(LATENCY.check(Machine(UNKNOWN), encode([DELAY, DELAY])))


def test_a_plan_says_by_how_much() -> None:
    longer = DELAY.model_copy(update={"microseconds": 3000})
    assert [each.does for each in LATENCY.steps(encode([DELAY]), encode([longer]))] == ["delay what leaves l-ab by 3000 µs"]
    assert [each.does for each in LATENCY.steps(encode([DELAY]), None)] == ["no longer delay what leaves l-ab"]
    assert LATENCY.steps(encode([DELAY]), encode([DELAY])) == ()


def test_a_kernel_without_netem_is_asked_once_and_then_left_alone() -> None:
    driver, machine = LatencyDriver(), Machine(UNKNOWN)

    async def go() -> None:
        for _ in range(3):
            assert await driver.look(machine, {"links": encode([DELAY])}) == {}
            await driver.drive(machine, "links", encode([DELAY]))

    asyncio.run(go())
    assert len(machine.asked) == 1
    assert machine.files == {}


def test_whatever_else_goes_wrong_is_not_taken_for_a_kernel_without_netem() -> None:
    with pytest.raises(Failed, match="tc: not found"):
        asyncio.run(LatencyDriver().possible(Machine(Result(127, "", "sh: 1: tc: not found\n"))))


def test_two_who_try_at_once_do_not_mislead_each_other() -> None:
    busy = Machine(Result(2, "", "Error: Exclusivity flag on, cannot modify.\n"))
    assert asyncio.run(LatencyDriver().possible(busy))


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [
        ({"a": UNKNOWN, "b": UNKNOWN}, "links' declared latency steers routing only: this kernel has no netem"),
        ({"a": Result(0, "", ""), "b": UNKNOWN}, "links' declared latency steers routing only at b: the kernel there has no netem"),
        ({"a": Result(0, "", ""), "b": Result(0, "", "")}, ""),
        ({"a": Result(0, "", "")}, ""),
    ],
)
def test_the_exchange_says_where_latency_is_not_kept(hosts: dict[str, Result], reason: str) -> None:
    machines = Machines(**{name: Machine(answer) for name, answer in hosts.items()})
    (status,) = asyncio.run(read(lab(), machines))
    assert (status.resource, status.state, status.reason, status.good) == ("exchange/x", "lab", reason, True)


def test_a_real_exchange_has_no_status_of_the_lab() -> None:
    exchange = KINDS["Exchange"].model_validate({"name": "x", "title": {"en": "X"}, "asn": 65551, "country": "CN"})
    assert asyncio.run(read(Snapshot([exchange]), Machines())) == ()
