"""What a drill predicts, whom it measures, and how it reads the stopwatch; on paper."""

from __future__ import annotations

import subprocess

import pytest

from nnix.cli.root import ALL_PLANES
from nnix.kernel.change import admit
from nnix.kernel.snapshot import Snapshot
from nnix.lab.drill import crossing, ends_apart, flows_for, unreachable
from nnix.lab.failures import Impossible, every, failure, planned
from nnix.lab.probe import Probe, Trace
from nnix.planes.fabric.kinds import FailureSort as Sort
from nnix.planes.members.kinds import Site
from tests.lab.exchange import frame, member, resource


def small(*more: object) -> Snapshot:
    """Three sites in a triangle, a member at each, and a fourth site behind the west."""
    tail = [
        resource("Site", "far", title={"en": "far"}, role="node", level="city", city="far", country="CN"),
        resource("Link", "west-far", a="west", b="far", capacity="10G", latency="1ms"),
        resource("EmergencyPlan", "tail", title={"en": "Tail"}, trigger="x", failure="silent", target="link/west-far", steps=["y"],
                 approvers=[{"contact": "contact:z"}], expects="far is off", restore_within="1s"),
    ]  # fmt: skip
    return admit(ALL_PLANES, [*frame(), *member(1), *member(2), *member(3), *tail], Snapshot())


def test_a_ring_survives_any_one_link_and_a_tail_does_not() -> None:
    assert unreachable(small(), failure(small(), Sort.SILENT, "link/east-south")) == frozenset()
    assert unreachable(small(), failure(small(), Sort.CUT, "link/west-far")) == {("east", "far"), ("far", "south"), ("far", "west")}


def test_a_dark_site_reaches_nobody_and_takes_what_is_behind_it() -> None:
    assert unreachable(small(), failure(small(), Sort.DARK, "site/west")) == {
        ("east", "far"), ("east", "west"), ("far", "south"), ("far", "west"), ("south", "west"),
    }  # fmt: skip


def test_the_death_of_reflectors_is_predicted_to_cut_nobody() -> None:
    assert unreachable(small(), failure(small(), Sort.REFLECTORS, None)) == frozenset()


def test_every_link_abroad_goes_dark_at_one_end_and_no_other() -> None:
    """Far is in another country; a drill that has nothing to cut is refused."""
    with pytest.raises(Impossible, match="no link that leads abroad"):
        failure(small(), Sort.FOREIGN, None)
    far = small().get(Site, "far")
    assert far is not None
    world = small().replaced([far.changed(country="SG")])
    made = failure(world, Sort.FOREIGN, None)
    assert made.links == {"west-far"} and len(made.rounds) == 1
    assert unreachable(world, made) == {("east", "far"), ("far", "south"), ("far", "west")}


def with_circuits() -> Snapshot:
    """A wire from east to west, one from east to south pinned over west, one that stays at west, and a group of east, west and far."""
    ends = {"wire": ["east", "west"], "pinned": ["east", "south"], "local": ["west", "west"], "group": ["east", "west", "far"]}
    ports = [
        resource("Port", f"{name}-{index}", member="m1", site=site, speed="10G")
        for name, sites in ends.items()
        for index, site in enumerate(sites)
    ]
    circuits = [
        resource("Circuit", name, ends=[f"{name}-{index}" for index in range(len(sites))], via=["west"] if name == "pinned" else [])
        for name, sites in ends.items()
    ]
    return admit(ALL_PLANES, [*small().declared, *ports, *circuits], Snapshot())


@pytest.mark.parametrize(
    ("sort", "target", "daemon", "apart"),
    [
        (Sort.SILENT, "link/west-east", "bgpd", set()),
        (Sort.CUT, "link/west-far", "bgpd", {("group", 0, 2), ("group", 1, 2)}),
        (Sort.DARK, "site/west", "bgpd", {("wire", 0, 1), ("pinned", 0, 1), ("local", 0, 1), ("group", 0, 1), ("group", 0, 2), ("group", 1, 2)}),
        (Sort.KILL, "site/west", "bfdd", {("wire", 0, 1), ("pinned", 0, 1), ("group", 0, 1), ("group", 0, 2), ("group", 1, 2)}),
        (Sort.KILL, "site/west", "ospfd", {("wire", 0, 1), ("group", 0, 1), ("group", 0, 2), ("group", 1, 2)}),
        (Sort.REFLECTORS, None, "bgpd", {("group", 0, 1), ("group", 0, 2), ("group", 1, 2)}),
        (Sort.KILL, "site/far", "bgpd", {("group", 0, 2), ("group", 1, 2)}),
        (Sort.KILL, "site/west", "zebra", set()),
    ],
)  # fmt: skip
def test_ends_of_circuits_lose_one_another_as_the_graph_says(
    sort: Sort, target: str | None, daemon: str, apart: set[tuple[str, int, int]]
) -> None:
    """A site without power serves nobody; one that only lost its neighbours still serves its own ports; OSPF leads no pinned circuit. An end of a group loses the
    others with the bgpd of its own switch (east and far reflect)."""
    snapshot = with_circuits()
    predicted = ends_apart(snapshot, failure(snapshot, sort, target, daemon))
    assert predicted == {(name, f"{name}-{one}", f"{name}-{other}") for name, one, other in apart}


@pytest.mark.parametrize(
    ("target", "apart"),
    [
        ("site/east", {("clouds", "clouds-0", "clouds-1")}),
        ("site/west", {("clouds", "clouds-0", "clouds-1")}),
        ("site/far", {("clouds", "clouds-0", "clouds-2"), ("clouds", "clouds-1", "clouds-2")}),
    ],
)
def test_nothing_is_forgotten_of_a_site_where_a_circuit_is_handed_over_by_vni(target: str, apart: set[tuple[str, str, str]]) -> None:
    """Of such a site no MAC address is told by EVPN, so who loses his bgpd keeps what is declared of it; what it heard of others it loses itself."""
    ports = [resource("Port", f"clouds-{index}", member="m1", site=site, speed="10G") for index, site in enumerate(["east", "west", "far"])]
    ports[2] = ports[2].changed(over="cable", vni=7001)
    cable = resource("Port", "cable", member="m1", site="far", speed="10G", gateway={"ours": "198.18.0.0", "theirs": "198.18.0.1"})
    clouds = resource("Circuit", "clouds", ends=[each.name for each in ports])
    snapshot = admit(ALL_PLANES, [*small().declared, cable, *ports, clouds], Snapshot())
    assert ends_apart(snapshot, failure(snapshot, Sort.KILL, target)) == apart


def test_each_two_ends_of_a_circuit_have_a_witness_between_customers() -> None:
    snapshot = with_circuits()
    flows = flows_for(snapshot, failure(snapshot, Sort.SILENT, "link/east-south"), lambda machine: f"x-{machine}", 16)
    between = {flow.name: (flow.source[0], flow.target[0]) for flow in flows if flow.name.startswith("circuit/")}
    assert len(between) == 6
    assert between["circuit/group: group-0~group-2"] == ("x-ce-group-0", "x-ce-group-2")


def test_flows_cross_what_fails_and_survive_it() -> None:
    """Between the ends of the link, whose only shortest path it is; not between those that it cuts off, nor between others."""
    assert crossing(small(), failure(small(), Sort.SILENT, "link/east-south")) == {("east", "south")}
    assert crossing(small(), failure(small(), Sort.SILENT, "link/west-far")) == frozenset()


def test_there_are_as_many_flows_as_asked_and_a_witness_for_each_pair_of_sites() -> None:
    flows = flows_for(small(), failure(small(), Sort.SILENT, "link/east-south"), lambda machine: f"x-{machine}", 16)
    assert len([flow for flow in flows if "~" not in flow.name]) == 16
    assert {flow.name for flow in flows if "~" in flow.name} == {
        "east~far", "east~south", "east~west", "far~south", "far~west", "south~west",
    }  # fmt: skip
    assert all(flow.source[0].startswith("x-") for flow in flows)


def test_every_link_and_every_site_has_its_drill() -> None:
    assert [each.of for each in every(small())] == [
        "link/east-south", "link/south-west", "link/west-east", "link/west-far", "site/east", "site/far", "site/south", "site/west",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sort", "target", "hint"),
    [
        (Sort.CUT, "link/east-suoth", "did you mean link/east-south?"),
        (Sort.CUT, "site/east", "no link"),
        (Sort.DARK, None, "no site"),
        (Sort.LOOP, "port/m9", "no port"),
    ],
)
def test_what_cannot_fail_is_said_with_what_could(sort: Sort, target: str | None, hint: str) -> None:
    with pytest.raises(Impossible, match=hint.replace("?", r"\?")):
        failure(small(), sort, target)


def test_an_emergency_plan_brings_its_own_target() -> None:
    plan, once = planned(small(), "tail")
    assert (once.of, plan.restore_within.seconds) == ("link/west-far", 1.0)
    with pytest.raises(Impossible, match="did you mean emergency-plan/tail"):
        planned(small(), "tali")


def trace(marks: str) -> Trace:
    """x: arrived, .: lost; one packet every 10 ms from 100 s on."""
    return Trace("f", False, [100 + n / 100 for n in range(len(marks))], [mark == "x" for mark in marks])


@pytest.mark.parametrize(
    ("marks", "seconds"),
    [("xxxxx", 0.0), ("xx..xx", 0.02), ("x.x..x.x", 0.02), ("xx....", 0.03), ("......", 0.05), ("..xx", 0.02)],
)
def test_an_outage_is_the_longest_time_without_an_arrival(marks: str, seconds: float) -> None:
    assert trace(marks).outage(100, 200) == pytest.approx(seconds)


def test_a_window_in_which_nothing_was_sent_is_an_outage() -> None:
    """Otherwise a stopwatch that has stopped would praise everybody."""
    assert trace("xxxx").outage(200, 201.5) == 1.5


def test_only_what_was_sent_in_the_window_counts() -> None:
    assert trace("..xxxx....xx").outage(100.015, 100.055) == pytest.approx(0.0)
    assert trace("..xxxx....xx").lost(100, 100.105) == (11, 6)


def test_flows_run_between_addresses_of_one_family() -> None:
    """Of two members one may have IPv6 alone: it is measured to those who have it too, never from IPv6 to IPv4."""
    *bare, session = member(4, site="west")
    for others in ([*member(1), *member(2)], [*member(1)]):
        snapshot = admit(ALL_PLANES, [*frame(), *others, *bare, session.changed(v4=None)], Snapshot())
        flows = [each for each in flows_for(snapshot, failure(snapshot, Sort.REFLECTORS, None), str) if "~" not in each.name]
        assert flows
        assert all((":" in each.source[1]) == (":" in each.target[1]) for each in flows), flows
    assert any(each.source[0] == "m4" or each.target[0] == "m4" for each in flows)


def test_a_probe_that_fails_says_why() -> None:
    """Once it is ready it waits for a word of ours, and even then its last word is its own."""
    probe = Probe([], 0)  # packets a second: none
    with subprocess.Popen(probe.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(probe.order())
        process.stdin.flush()
        said = process.stderr.read().decode()
    assert process.returncode == 1
    assert said.strip().endswith("ZeroDivisionError: division by zero"), said
