"""The life of a port, with real routers on both sides: what each state does to its light, to its BGP sessions, and to its pings."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from nnix.kernel.resource import Resource
from nnix.planes.routing.read import read
from tests.lab.exchange import Lab, frame, member, resource

pytestmark = pytest.mark.lab

HOLD_SECONDS = 9
ROUTE_SERVER, TESTER, NEIGHBOUR = ("203.0.113.1", "2001:db8:1::1"), ("203.0.113.3", "2001:db8:1::3"), ("203.0.113.102", "2001:db8:1::102")


def exchange(state: str) -> list[Resource]:
    """m1's port in `state`, m2's in production; the quarantine LAN has the same prefix and a tester."""
    ground = [each for each in frame() if each.id != "routing-policy/open"]
    return [
        *ground,
        resource("RoutingPolicy", "open", irr="off", rpki="off", hold_time_seconds=HOLD_SECONDS),
        resource("Lan", "test", title={"en": "Test"}, purpose="quarantine", v4="203.0.113.0/24", v6="2001:db8:1::/64"),
        resource("RouteServer", "tester", site="east", lan="test", policy="open", v4=TESTER[0], v6=TESTER[1]),
        *member(1, state=state),
        *member(2),
    ]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("states"))
    try:
        yield made
    finally:
        assert made.close() == []


def until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Poll until it holds; how long it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - started


def session(lab: Lab) -> str:
    """The state of m1's session, over both route servers and families."""
    return {each.resource: each.state for each in lab.run(read(lab.snapshot, lab.setting.machines))}["session/m1"]


def pings(lab: Lab, addresses: tuple[str, ...]) -> list[bool]:
    """Whether m1 reaches each."""
    host = lab.setting.machines.host("m1")
    return [lab.run(host.run(["ping", "-n", "-q", "-c", "1", "-W", "1", each])).status == 0 for each in addresses]


def in_production(lab: Lab) -> None:
    assert lab.apply(exchange("production")).verified
    until(lambda: session(lab) == "established", 60, "the session comes up")


def test_in_production_sessions_stand_and_neighbours_are_reached(lab: Lab) -> None:
    """The tester of the quarantine LAN is not."""
    in_production(lab)
    until(lambda: pings(lab, ROUTE_SERVER + NEIGHBOUR) == [True] * 4, 10, "pings pass")
    assert pings(lab, TESTER) == [False, False]


def test_drained_sessions_go_down_by_the_hold_time_while_every_ping_passes(lab: Lab) -> None:
    """BCP 214: nobody is told, the filter lets no BGP through, and traffic that is still on its way arrives."""
    in_production(lab)
    assert pings(lab, ROUTE_SERVER + NEIGHBOUR) == [True] * 4
    probes = [
        subprocess.Popen(
            ["ip", "netns", "exec", f"{lab.setting.prefix}m1", "ping", "-n", "-q", "-i", "0.1", "-w", str(2 * HOLD_SECONDS), address],
            stdout=subprocess.PIPE, text=True,
        )
        for address in NEIGHBOUR
    ]  # fmt: skip
    assert lab.apply(exchange("drained")).verified
    assert session(lab) in ("draining", "drained")
    until(lambda: session(lab) == "drained", HOLD_SECONDS + 5, "the session goes down")
    for probe in probes:
        said = probe.communicate(timeout=60)[0]
        sent, received = map(int, re.findall(r"(\d+) packets transmitted, (\d+) received", said)[0])
        assert sent > 50
        assert received >= sent - 1, said  # the last one may still be on its way when the time is up
    in_production(lab)


def test_in_quarantine_the_tester_answers_and_nobody_else(lab: Lab) -> None:
    """At the addresses that the member will have in production; then it goes back, and its session comes up by itself."""
    in_production(lab)
    assert lab.apply(exchange("quarantine")).verified
    until(lambda: pings(lab, TESTER) == [True, True], 10, "the tester answers")
    assert pings(lab, ROUTE_SERVER + NEIGHBOUR) == [False] * 4
    in_production(lab)


@pytest.mark.parametrize("state", ["reserved", "suspended"])
def test_reserved_and_suspended_ports_have_no_light(lab: Lab, state: str) -> None:
    """The member's router sees no carrier; back in production it does, and its session comes up by itself."""
    in_production(lab)
    assert lab.apply(exchange(state)).verified
    assert "LOWER_UP" not in lab.host_run("m1", "ip", "link", "show", "eth0")
    in_production(lab)
    assert "LOWER_UP" in lab.host_run("m1", "ip", "link", "show", "eth0")
