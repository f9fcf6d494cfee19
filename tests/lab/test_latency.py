"""A link of two namespaces and one cable: how long a ping takes, how much passes, how much waits. On a kernel that has netem."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import pytest

from nnix.daemons.iproute import IPROUTE
from nnix.daemons.iproute.facts import Shaper
from nnix.daemons.iproute.facts import encode as capacity
from nnix.hosts.namespace import NamespaceHost, inside
from nnix.lab.latency import LATENCY, Delay, encode

pytestmark = pytest.mark.lab

T = TypeVar("T")
PREFIX = f"nnt-lat-{os.getpid() % 10000}-"
LINK = "l-ab"
ADDRESSES = {"a": "192.0.2.1", "b": "192.0.2.2"}
MILLISECONDS_LATE_MAX = 10.0  # software emulation of a machine wakes up late; on a real one it is below one
DATAGRAM_OCTETS, OVERHEAD_OCTETS = 1400, 42  # UDP 8, IPv4 20, Ethernet 14 without its checksum: what tbf counts


def shaper(megabits_per_second: int) -> Shaper:
    return Shaper(dev=LINK, rate_bits_per_second=megabits_per_second * 10**6, burst_octets=20_000)


class Line:
    """Two namespaces, and a cable between them that ends in an interface of the same name at both."""

    def __init__(self, folder: Path) -> None:
        self.hosts = {name: NamespaceHost(name, PREFIX + name, folder / name) for name in ADDRESSES}
        ends = " peer ".join(f"name {LINK} netns {PREFIX}{name}" for name in ADDRESSES).split(" peer ")
        lines = [*(f"netns add {PREFIX}{name}" for name in ADDRESSES), f"link add {ends[0]} type veth peer {ends[1]}"]
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
        for name, address in ADDRESSES.items():
            self.on(name, "ip", "address", "add", f"{address}/24", "dev", LINK)
            self.on(name, "ip", "link", "set", "dev", LINK, "up")

    def on(self, name: str, *argv: str) -> str:
        return subprocess.run(["ip", "netns", "exec", PREFIX + name, *argv], capture_output=True, text=True, check=True).stdout

    def shaped(self, megabits_per_second: int | None) -> None:
        """The capacity of both ends, as iproute drives it."""
        wanted = capacity([shaper(megabits_per_second)]) if megabits_per_second else None
        for host in self.hosts.values():
            asyncio.run(IPROUTE.drive(host, "capacity", wanted))

    def delayed(self, milliseconds: int | None, megabits_per_second: int) -> None:
        wanted = self.wanted(milliseconds, megabits_per_second) if milliseconds else None
        for host in self.hosts.values():
            asyncio.run(LATENCY.drive(host, "links", wanted))
            if wanted:
                assert not asyncio.run(LATENCY.look(host, {"links": wanted}))

    @staticmethod
    def wanted(milliseconds: int, megabits_per_second: int) -> bytes:
        return encode([Delay(shaper=shaper(megabits_per_second), microseconds=milliseconds * 1000)])

    def different(self, milliseconds: int, megabits_per_second: int) -> set[str]:
        content = self.wanted(milliseconds, megabits_per_second)
        return {asyncio.run(LATENCY.look(host, {"links": content})).get("links", "") for host in self.hosts.values()}

    def round_trips_ms(self, count: int = 10) -> list[float]:
        """Round trips that came to an end. The first is left out: it waits for a neighbour's MAC address as well."""
        out = self.on("a", "ping", "-n", f"-c{count + 1}", "-i0.1", "-W5", ADDRESSES["b"])
        return [float(found) for found in re.findall(r"icmp_seq=(?!1 ).* time=([\d.]+)", out)]

    def queues(self, name: str) -> list[dict[str, Any]]:
        """Everything that queues at an end, the invisible too."""
        rows: list[dict[str, Any]] = json.loads(self.on(name, "tc", "-j", "qdisc", "show", "dev", LINK, "invisible"))
        return sorted(rows, key=lambda row: str(row["kind"]))

    def flood(self, seconds: float, bits_per_second: int, octets: int = DATAGRAM_OCTETS) -> float:
        """UDP from a to b at `bits_per_second`, more than the line carries; how many came once it was full, both as tbf counts them."""
        ear = inside(PREFIX + "b", lambda: _bound(9))
        mouth = inside(PREFIX + "a", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        frame_bits = (octets + OVERHEAD_OCTETS) * 8
        begun = time.monotonic()
        end = begun + seconds

        def speak() -> None:
            said = 0
            while (now := time.monotonic()) < end:
                due = int((now - begun) * bits_per_second / frame_bits)
                for _ in range(due - said):
                    mouth.sendto(bytes(octets), (ADDRESSES["b"], 9))
                said = due
                time.sleep(0.005)

        speaker = threading.Thread(target=speak)
        speaker.start()
        ear.settimeout(1.0)
        came: list[float] = []
        while (now := time.monotonic()) < end:
            ear.recv(2048)
            came.append(now)
        speaker.join()
        ear.close()
        mouth.close()
        return sum(1 for each in came if each >= end - seconds / 2) * frame_bits / (seconds / 2)


def _bound(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind(("", port))
    return made


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    try:
        yield Line(tmp_path)
    finally:
        for name in ADDRESSES:
            subprocess.run(["ip", "netns", "delete", PREFIX + name], check=False)


@pytest.fixture
def netem(line: Line) -> Line:
    if not asyncio.run(LATENCY.possible(line.hosts["a"])):
        pytest.skip("this kernel has no netem")
    return line


def test_a_kernel_without_netem_is_left_as_it_is(line: Line) -> None:
    """There is nothing to be different, nothing to be driven, and no file that says otherwise."""
    if asyncio.run(LATENCY.possible(line.hosts["a"])):
        pytest.skip("this kernel has netem")
    line.shaped(10)
    before = line.queues("a")
    line.delayed(20, 10)
    assert line.different(20, 10) == {""}
    assert line.queues("a") == before
    assert not (Path(line.hosts["a"].home) / "latency").exists()
    assert line.on("a", "tc", "qdisc", "show", "dev", "lo") == ""


@pytest.mark.parametrize("milliseconds", [5, 20, 75])
def test_a_ping_takes_twice_the_declared_latency(netem: Line, milliseconds: int) -> None:
    netem.shaped(100)
    netem.delayed(milliseconds, 100)
    trips = netem.round_trips_ms()
    print(f"declared {milliseconds} ms one way; round trips {min(trips)} to {max(trips)} ms")
    assert len(trips) == 10
    assert 2 * milliseconds <= min(trips) < 2 * milliseconds + MILLISECONDS_LATE_MAX


def test_finding_out_leaves_no_trace(netem: Line) -> None:
    assert netem.on("a", "tc", "qdisc", "show", "dev", "lo") == ""


@pytest.mark.parametrize("octets", [DATAGRAM_OCTETS, 40])
def test_the_line_still_carries_its_capacity(netem: Line, octets: int) -> None:
    """Frames large or small that are on their way for 75 ms: as much comes out as without delay, and no more."""
    netem.shaped(1)
    bare = netem.flood(4.0, 1_500_000, octets)
    netem.delayed(75, 1)
    delayed = netem.flood(4.0, 1_500_000, octets)
    print(f"1 Mbit/s, datagrams of {octets} octets: {bare / 1e6:.3f} Mbit/s without delay, {delayed / 1e6:.3f} with")
    assert 0.9e6 < delayed < 1.1e6
    assert bare == pytest.approx(delayed, rel=0.1)


@pytest.mark.parametrize("octets", [300, DATAGRAM_OCTETS])
def test_what_is_too_much_waits_no_longer_than_without_delay(netem: Line, octets: int) -> None:
    """The bucket lets 50 ms and a burst of 160 ms wait. The delay comes on top, each way, and one frame that netem has let go and the
    bucket has not: a bucket above a plain queue leaves that frame in it."""
    netem.shaped(1)
    bare = median(_round_trips_beside_a_flood(netem, octets))
    netem.delayed(20, 1)
    delayed = median(_round_trips_beside_a_flood(netem, octets))
    print(f"a line full of datagrams of {octets} octets: round trips of {bare} ms without delay, {delayed} with 20 ms one way")
    assert bare > 100
    frame_ms = (octets + OVERHEAD_OCTETS) * 8 / 1000
    assert delayed - bare == pytest.approx(40 + frame_ms, abs=MILLISECONDS_LATE_MAX)


def _round_trips_beside_a_flood(line: Line, octets: int) -> list[float]:
    flood = threading.Thread(target=lambda: line.flood(6.0, 1_500_000, octets))
    flood.start()
    time.sleep(2.5)
    trips = line.round_trips_ms(20)
    flood.join()
    return trips


def test_a_new_capacity_keeps_the_delay_and_a_new_bucket_gets_it_back(netem: Line) -> None:
    netem.shaped(100)
    netem.delayed(20, 100)
    netem.shaped(50)
    assert min(netem.round_trips_ms()) >= 40
    assert all(each.endswith("frames, not 2953") for each in netem.different(20, 50))
    netem.delayed(20, 50)
    for name in ADDRESSES:
        netem.on(name, "tc", "qdisc", "delete", "dev", LINK, "root")
    netem.shaped(50)
    assert netem.different(20, 50) == {"l-ab does not delay"}
    assert max(netem.round_trips_ms()) < 40
    netem.delayed(20, 50)
    assert 40 <= min(netem.round_trips_ms()) < 40 + MILLISECONDS_LATE_MAX


def test_a_bucket_that_comes_after_the_delay_gets_it_below(netem: Line) -> None:
    """Where the capacity could not be driven at first, the delay stands alone, and moves."""
    netem.delayed(20, 10)
    assert min(netem.round_trips_ms()) >= 40
    netem.shaped(10)
    assert netem.different(20, 10) == {"l-ab does not delay"}
    netem.delayed(20, 10)
    assert 40 <= min(netem.round_trips_ms()) < 40 + MILLISECONDS_LATE_MAX


@pytest.mark.parametrize("edit", ["delay 3ms", "delay 20ms loss 50%", "delay 20ms 5ms", "delay 20ms rate 1mbit", "delay 20ms limit 3"])
def test_a_hand_edit_is_seen_and_put_right(netem: Line, edit: str) -> None:
    netem.shaped(10)
    netem.delayed(20, 10)
    netem.on("a", "tc", "qdisc", "change", "dev", LINK, "handle", "2:", "netem", *edit.split())
    assert "" in netem.different(20, 10)
    assert len(netem.different(20, 10)) == 2
    netem.delayed(20, 10)
    assert len(netem.round_trips_ms()) == 10


@pytest.mark.parametrize("shaped", [10, None])
def test_taking_it_away_leaves_no_trace(netem: Line, shaped: int | None) -> None:
    netem.shaped(shaped)
    before = {name: netem.queues(name) for name in ADDRESSES}
    netem.delayed(20, 10)
    assert {name: netem.queues(name) for name in ADDRESSES} != before
    netem.delayed(None, 10)
    assert {name: netem.queues(name) for name in ADDRESSES} == before
    assert len(netem.round_trips_ms()) == 10
    assert max(netem.round_trips_ms()) < 40
    assert not (Path(netem.hosts["a"].home) / "latency").exists()


def test_taking_it_away_goes_on_where_it_was_killed(netem: Line) -> None:
    """Killed between two lines, the bucket has no queue and drops everything; the next try gives it one."""
    netem.shaped(10)
    before = netem.queues("a")
    netem.delayed(20, 10)
    netem.on("a", "tc", "qdisc", "delete", "dev", LINK, "handle", "2:", "parent", f"{_handle(netem)}1")
    netem.delayed(None, 10)
    assert netem.queues("a") == before
    assert len(netem.round_trips_ms()) == 10


def _handle(line: Line) -> str:
    rows = json.loads(line.on("a", "tc", "-j", "qdisc", "show", "dev", LINK))
    return next(str(row["handle"]) for row in rows if row["kind"] == "tbf")
