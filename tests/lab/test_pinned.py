"""Pinned circuits on real switches: frames pass the chosen site though a shorter way is there, and go on doing so when links fail."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from nnix.kernel.world import Result
from nnix.lab.compile import circuit_addresses, customer
from nnix.planes.fabric import srv6
from nnix.planes.fabric.kinds import Circuit
from tests.lab.exchange import SITES, Lab, frame, member, resource
from tests.lab.test_circuits import AT_ONCE_SECONDS, SLACK_SECONDS, passes, ping, port, soon, vtep

pytestmark = pytest.mark.lab

CONVERGENCE_SECONDS = 20.0  # OSPFv3 starts, finds its neighbours and floods
HEALS_SECONDS = 10.0
LARGE = 1400
COUNT = 50

PROBE = ["ping", "-n", "-q", "-i", "0.01", "-c", "400", "-W", "1", "203.0.113.102"]

BASE = [*frame(), *member(1), *member(2), *member(3), *(port(f"{site[0]}{n}", site, "m1") for site in ("east", "west") for n in (1, 2))]
OVER_SOUTH = resource("Circuit", "over", ends=["e1", "w1"], via=["south"])
PLAIN = resource("Circuit", "plain", ends=["e2", "w2"])
BOTH = resource("Circuit", "both", ends=["w2", "e2"], via=["south"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("pinned"))
    try:
        assert made.apply(BASE).verified
        deadline = time.monotonic() + 60
        while not (ping(made, "m1", "203.0.113.102") and ping(made, "m1", "203.0.113.103")):
            assert time.monotonic() < deadline, "the underlay does not converge"
        yield made
    finally:
        assert made.close() == []


def converged(lab: Lab, name: str, a: str, b: str, seconds: float) -> float:
    """Until packets pass; how long it took. Fails after `seconds`."""
    started = time.monotonic()
    while not passes(lab, name, a, b):
        assert time.monotonic() - started < seconds, f"{name} does not pass packets"
    return time.monotonic() - started


def sent(lab: Lab, site: str, link: str) -> int:
    """Octets that a switch has sent over a link so far."""
    (shown,) = json.loads(lab.host_run(site, "ip", "-j", "-s", "link", "show", "dev", f"l-{link}"))
    return int(shown["stats64"]["tx"]["bytes"])


def load(lab: Lab, name: str, a: str, b: str) -> dict[str, bool]:
    """Which links carry large packets from end to end and back, by counters: (switch)link → whether."""
    ends = [("east", "east-south"), ("south", "east-south"), ("south", "south-west"), ("west", "south-west"), ("west", "west-east")]
    before = {end: sent(lab, *end) for end in [*ends, ("east", "west-east")]}
    assert passes(lab, name, a, b, "-c", str(COUNT), "-i", "0.01", "-s", str(LARGE))
    return {f"{site} {link}": sent(lab, site, link) - was > COUNT * LARGE for (site, link), was in before.items()}


def settles(lab: Lab, name: str, a: str, b: str, expected: dict[str, bool]) -> float:
    """Until the links that carry the circuit are those expected, as neighbours may meet one after another; how long it took."""
    started = time.monotonic()
    while (found := load(lab, name, a, b)) != expected:
        assert time.monotonic() - started < CONVERGENCE_SECONDS, found
    return time.monotonic() - started


ROUND = {"east east-south": True, "south east-south": True, "south south-west": True, "west south-west": True}
STRAIGHT = {"east west-east": True, "west west-east": True}


def test_the_first_pinned_circuit_passes_once_ipv6_is_routed_and_disturbs_nobody(lab: Lab) -> None:
    """Its frames take the long way, both directions, by the counters of all links; no daemon restarts, no member loses a packet."""
    running = {site: pids(lab, site) for site in SITES}

    pinging = lab.loop.create_task(lab.setting.machines.host("m1").run(PROBE))
    assert lab.apply([*BASE, OVER_SOUTH]).verified
    took = converged(lab, "over", "e1", "w1", CONVERGENCE_SECONDS)
    print(f"order to packets: {took:.2f} s after it was applied")
    said = lab.run(_result(pinging)).out
    assert "400 received" in said, said
    assert all(running[site].items() <= pids(lab, site).items() for site in SITES)
    settles(lab, "over", "e1", "w1", {**dict.fromkeys(STRAIGHT, False), **ROUND})
    assert lab.differences() == {}


async def _result(running: asyncio.Task[Result]) -> Result:
    return await running


def pids(lab: Lab, site: str) -> dict[str, str]:
    """daemon → pid, of a switch."""
    home = lab.setting.homes / site / "frr/underlay"
    return {each.stem: each.read_text() for each in home.glob("*.pid")}


def test_a_second_one_passes_at_once(lab: Lab) -> None:
    """IPv6 is routed already: no more than any other circuit needs. One that is not pinned goes straight."""
    lab.apply([*BASE, OVER_SOUTH, PLAIN])
    assert soon(lab, "plain", "e2", "w2")
    assert load(lab, "plain", "e2", "w2") == {**dict.fromkeys(ROUND, False), **STRAIGHT}
    assert lab.apply([*BASE, OVER_SOUTH, BOTH]).verified
    took = converged(lab, "both", "w2", "e2", AT_ONCE_SECONDS + SLACK_SECONDS)
    print(f"order to packets: {took:.2f} s after it was applied")
    assert load(lab, "both", "w2", "e2") == {**dict.fromkeys(STRAIGHT, False), **ROUND}
    assert passes(lab, "both", "w2", "e2", "-s", "1452", "-M", "do"), "as large as on any circuit"


def test_streams_are_not_slowed_by_the_envelope(lab: Lab) -> None:
    """A stream of TCP, which the kernel passes on in batches: 64 MB within seconds, not at 0.15 Mbit/s."""
    lab.apply([*BASE, OVER_SOUTH])
    converged(lab, "over", "e1", "w1", CONVERGENCE_SECONDS)
    took = lab.run(stream(lab, 64_000_000))
    print(f"64 MB in {took:.2f} s")
    assert took < 15


async def stream(lab: Lab, octets: int) -> float:
    circuit = lab.snapshot.get(Circuit, "over")
    assert circuit is not None
    there = str(circuit_addresses(circuit)["w1"][0].ip)
    listen = (
        f"import socket; s=socket.create_server(('{there}', 5001)); c,_=s.accept(); n=0\nwhile n<{octets}: n+=len(c.recv(1<<18)) or exit(1)"
    )
    send = f"import socket; socket.create_connection(('{there}', 5001), timeout=20).sendall(bytes({octets}))"
    host = lab.setting.machines.host
    listening = asyncio.create_task(host(customer("w1")).run(["python3", "-c", listen], timeout_seconds=60))
    await asyncio.sleep(0.5)
    started = time.monotonic()
    assert (await host(customer("e1")).run(["python3", "-c", send], timeout_seconds=60)).status == 0
    assert (await listening).status == 0
    return time.monotonic() - started


def test_between_its_pins_a_circuit_heals(lab: Lab) -> None:
    """The link to the pinned site is lost: its frames reach it the other way, still pass it, and turn back when the link does."""
    lab.apply([*BASE, OVER_SOUTH])
    converged(lab, "over", "e1", "w1", CONVERGENCE_SECONDS)
    lab.host_run("east", "ip", "link", "set", "dev", "l-east-south", "down")
    try:
        print(f"healed after {converged(lab, 'over', 'e1', 'w1', HEALS_SECONDS):.2f} s")
        lost = {"east east-south": False, "south east-south": False}
        kept = ("east west-east", "west west-east", "west south-west", "south south-west")
        assert load(lab, "over", "e1", "w1") == {**lost, **dict.fromkeys(kept, True)}
    finally:
        lab.host_run("east", "ip", "link", "set", "dev", "l-east-south", "up")
    settles(lab, "over", "e1", "w1", {**dict.fromkeys(STRAIGHT, False), **ROUND})


def test_a_pinned_circuit_is_not_up_when_the_site_that_it_must_pass_is_dead(lab: Lab) -> None:
    """All links of the site lost: the circuit is down, the site is named, a circuit that goes straight is up; when it is back, so is the circuit."""
    lab.apply([*BASE, OVER_SOUTH, PLAIN])
    converged(lab, "over", "e1", "w1", CONVERGENCE_SECONDS)
    assert lab.status("circuit/over").state == "up"
    for link in ("l-east-south", "l-south-west"):
        lab.host_run("south", "ip", "link", "set", "dev", link, "down")
    try:
        started = time.monotonic()
        while (status := lab.status("circuit/over")).good:
            assert time.monotonic() - started < HEALS_SECONDS
        assert status.state == "down"
        assert "no way from" in status.reason and "south" in status.reason
        assert lab.status("circuit/plain").state == "up"
        assert not passes(lab, "over", "e1", "w1")
    finally:
        for link in ("l-east-south", "l-south-west"):
            lab.host_run("south", "ip", "link", "set", "dev", link, "up")
    converged(lab, "over", "e1", "w1", CONVERGENCE_SECONDS)
    assert lab.status("circuit/over").state == "up"


@pytest.mark.parametrize(
    ("site", "segment", "words"),
    [
        ("south", srv6.end, "south, which it must pass, does not hand it on"),
        ("west", srv6.end_dt6, "west does not take it out of its envelope"),
        ("east", None, "east does not put it into its envelope"),
    ],
)
def test_a_pinned_circuit_is_not_up_when_a_segment_of_its_way_is_gone(
    lab: Lab, site: str, segment: Callable[[IPv4Address], IPv6Address] | None, words: str
) -> None:
    lab.apply([*BASE, OVER_SOUTH])
    converged(lab, "over", "e1", "w1", CONVERGENCE_SECONDS)
    circuit = lab.snapshot.get(Circuit, "over")
    assert circuit is not None
    west = IPv4Address(vtep(lab, "west"))
    gone = segment(IPv4Address(vtep(lab, site))) if segment else srv6.circuit_end(west, circuit.vni or 0)
    lab.host_run(site, "ip", "-6", "route", "delete", f"{gone}/128")
    status = lab.status("circuit/over")
    assert (status.state, status.good) == ("down", False)
    assert words in status.reason
    lab.put_right()
    assert lab.status("circuit/over").state == "up"


def test_a_switch_that_lost_its_segments_gets_them_back(lab: Lab) -> None:
    """What was taken away by hand is drift, named, and put back."""
    lab.apply([*BASE, OVER_SOUTH])
    lab.host_run("south", "ip", "link", "delete", "dev", "br--segments")
    assert ["bridge br--segments is missing" in each for each in lab.differences().values()] == [True]
    lab.apply([*BASE, OVER_SOUTH])


def test_release_takes_every_trace(lab: Lab) -> None:
    """Segments, addresses, the daemon that routes IPv6: all gone; no other daemon restarts, no member loses a packet."""
    lab.apply([*BASE, OVER_SOUTH])
    pinging = lab.loop.create_task(lab.setting.machines.host("m1").run(PROBE))
    running = {site: {name: pid for name, pid in pids(lab, site).items() if name != "ospf6d"} for site in SITES}
    assert lab.apply(BASE).verified
    said = lab.run(_result(pinging)).out
    assert "400 received" in said, said
    for site in SITES:
        shown = lab.host_run(site, "ip", "-6", "address") + lab.host_run(site, "ip", "-6", "route")
        assert not re.search(r"(?<![0-9a-f:])5f00:", shown), shown  # within an address of a link, made from a drawn MAC, it may stand
        assert not [each for each in lab.interfaces(site) if each.startswith(("br--segments", "bc-", "vc-"))]
        assert pids(lab, site) == running[site]
        assert "ospf6" not in lab.host_run(site, "cat", str(lab.setting.homes / site / "frr/underlay/frr.conf"))
    assert lab.differences() == {}
