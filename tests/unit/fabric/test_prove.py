"""What is proved of an exchange under failures is what a slow and simple evaluator finds: no code in common, every case by itself."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Circuit, Link, Port
from nnix.planes.fabric.prove.findings import findings
from nnix.planes.fabric.prove.mend import kilometres, mends, removes
from nnix.planes.fabric.prove.network import Failure, Part, failures, network
from nnix.planes.fabric.prove.promises import breaches
from nnix.planes.fabric.prove.survival import Survival
from nnix.planes.fabric.prove.traffic import measured
from nnix.planes.members.kinds import Level, Site

from .exchanges import KINDS, Fields, exchange

Arc = tuple[str, str, str]  # link, from, to


def made(kind: str, name: str, **fields: Any) -> Resource:
    return KINDS[kind].model_validate({"name": name, **fields})


def a_site(name: str, role: str = "node", **more: Any) -> Resource:
    return made("Site", name, **{"title": {"en": name}, "role": role, "level": "city", "city": name, "country": "CN", **more})


def a_link(name: str, a: str, b: str, latency: int, **more: Any) -> Resource:
    return made("Link", name, **{"a": a, "b": b, "capacity": "100G", "latency": f"{latency}us", **more})


def a_member(number: int, *ports: tuple[str, str]) -> list[Resource]:
    """A member with a port of the given speed at each of the given sites."""
    name = f"m{number}"
    member = made("Member", name, **{"title": {"en": name}, "asn": number + 1, "class": "isp"})
    return [member, *(made("Port", f"{name}-{i}", member=name, site=site, speed=speed) for i, (site, speed) in enumerate(ports))]


def a_circuit(name: str, sites: list[str], gigabits: int, **more: Any) -> list[Resource]:
    """A circuit with an end at each of the given sites, at ports of m0."""
    ports = [f"{name}-{end}" for end in range(len(sites))]
    made_ports = [made("Port", port, member="m0", site=site, speed="10G") for port, site in zip(ports, sites, strict=True)]
    return [*made_ports, made("Circuit", name, ends=ports, capacity=f"{gigabits}G", **more)]


@st.composite
def exchanges(draw: st.DrawFn) -> Snapshot:
    """Up to seven sites with any links between them, also several between two; members with one to three ports; few costs, so that many ways are equal."""
    count = draw(st.integers(2, 7))
    names = [f"s{i}" for i in range(count)]
    found: list[Resource] = [made("Carrier", "c1", title={"en": "C"}), a_site(names[0], "hub"), *map(a_site, names[1:])]
    ends = st.tuples(st.sampled_from(names), st.sampled_from(names)).filter(lambda pair: pair[0] != pair[1])
    for number, (a, b) in enumerate(draw(st.lists(ends, max_size=11))):
        carrier = {"carrier": "c1"} if draw(st.booleans()) else {}
        found.append(a_link(f"l{number:02}", a, b, 10 * draw(st.integers(1, 3)), **carrier))
    speeds = st.sampled_from(["1G", "10G", "40G"])
    for number in range(draw(st.integers(1, 6))):
        homes = draw(st.lists(st.tuples(st.sampled_from(names), speeds), min_size=1, max_size=3))
        found += a_member(number, *homes)
    for number in range(draw(st.integers(0, 3))):
        where = draw(st.lists(st.sampled_from(names), min_size=2, max_size=4))
        pins = [each for each in draw(st.lists(st.sampled_from(names), unique=True, max_size=2)) if each not in where]
        via = pins if len(where) == 2 and where[0] != where[1] else []
        found += a_circuit(f"c{number}", where, draw(st.integers(1, 9)), via=via, within=draw(st.sampled_from([None, "city", "national"])))
    return Snapshot(found)


# --- the slow evaluator


def main_part(snapshot: Snapshot, dead_sites: set[str], dead_links: set[str]) -> set[str]:
    """The part with the most ports; of equals that with the hub, then that with the first site."""
    ports = [each.site for each in snapshot.of(Port)]  # of circuits as well
    return min(
        every_part(snapshot, dead_sites, dead_links),
        key=lambda part: (-sum(1 for port in ports if port in part), "s0" not in part, min(part)),
        default=set(),
    )


def every_part(snapshot: Snapshot, dead_sites: set[str], dead_links: set[str]) -> list[set[str]]:
    """What is left, in connected parts."""
    sites = [each.name for each in snapshot.of(Site) if each.name not in dead_sites]
    links = [each for each in snapshot.of(Link) if each.name not in dead_links]
    found = []
    while sites:
        part, before = {sites[0]}, set[str]()
        while part != before:
            before = set(part)
            for each in links:
                a, b = each.a, each.b
                if a not in dead_sites and b not in dead_sites and part & {a, b}:
                    part |= {a, b}
        found.append(part)
        sites = [each for each in sites if each not in part]
    return found


def on_lans(snapshot: Snapshot) -> list[Port]:
    private = {end for each in snapshot.of(Circuit) for end in each.ends}
    return [each for each in snapshot.of(Port) if each.name not in private]


def shares(snapshot: Snapshot, member: str, alive: set[str]) -> dict[str, Fraction]:
    ports = [each for each in on_lans(snapshot) if each.member == member and each.site in alive]
    whole = sum(int(each.speed) for each in ports)
    found: dict[str, Fraction] = {}
    for each in ports:
        found[each.site] = found.get(each.site, Fraction(0)) + Fraction(int(each.speed), whole)
    return found


def slow_ways(snapshot: Snapshot, alive: set[str], dead_links: set[str]) -> Any:
    """(arc → cost, (from, to) → cost of the shortest way)."""
    arcs: dict[Arc, int] = {}
    for each in snapshot.of(Link):
        a, b = str(each.a), str(each.b)
        if each.name not in dead_links and {a, b} <= alive:
            cost = int(each.latency) // 10
            arcs |= {(each.name, a, b): cost, (each.name, b, a): cost}
    far = 10**9
    between = {(a, b): 0 if a == b else far for a in alive for b in alive}
    for _ in alive:
        for (_, a, b), cost in arcs.items():
            for to in alive:
                between[a, to] = min(between[a, to], cost + between[b, to])
    return arcs, between


def next_arcs(here: str, to: str, arcs: dict[Arc, int], between: dict[tuple[str, str], int]) -> list[Arc]:
    return [arc for arc, cost in arcs.items() if arc[1] == here and between[here, to] == cost + between[arc[2], to]]


def slow_loads(snapshot: Snapshot, dead_sites: set[str], dead_links: set[str], factor: Fraction) -> tuple[dict[Arc, Fraction], Fraction]:
    """(arc → bit/s, what members' traffic gets through), member by member, circuit by circuit, way by way: exact."""
    alive = main_part(snapshot, dead_sites, dead_links)
    standing = {each.name for each in snapshot.of(Site)} - dead_sites
    arcs, between = slow_ways(snapshot, standing, dead_links)
    members = sorted({each.member for each in on_lans(snapshot)})
    bought = {m: sum(int(p.speed) for p in on_lans(snapshot) if p.member == m) for m in members}
    whole = sum(bought.values())
    found: dict[Arc, Fraction] = {}
    through = Fraction(0)

    def send(here: str, to: str, amount: Fraction) -> None:
        if here == to:
            return
        onwards = next_arcs(here, to, arcs, between)
        for arc in onwards:
            found[arc] = found.get(arc, Fraction(0)) + amount / len(onwards)
            send(arc[2], to, amount / len(onwards))

    for one in members:
        for other in members:
            if one == other or whole == bought[one]:
                continue
            rate = factor * bought[one] * Fraction(bought[other], whole - bought[one])
            for here, part in shares(snapshot, one, alive).items():
                for to, share in shares(snapshot, other, alive).items():
                    through += rate * part * share
                    send(here, to, rate * part * share)
    for circuit in snapshot.of(Circuit):
        for _, _, stations in alive_pairs(circuit, snapshot, dead_sites, dead_links):
            rate = Fraction(int(circuit.capacity or 0) // (len(circuit.ends) - 1))
            for a, b in pairwise(stations):
                send(a, b, rate)
                send(b, a, rate)
    return found, through


def alive_pairs(circuit: Circuit, snapshot: Snapshot, dead_sites: set[str], dead_links: set[str]) -> list[tuple[str, str, list[str]]]:
    """(end, end, sites that its frames pass for sure) of each two ends that still reach one another."""
    everywhere = every_part(snapshot, dead_sites, dead_links)
    site = {each.name: str(each.site) for each in snapshot.of(Port)}
    found = []
    for one, other in combinations(circuit.ends, 2):
        stations = [site[one], *map(str, circuit.via), site[other]]
        if any(set(stations) <= part for part in everywhere):
            found.append((str(one), str(other), stations))
    return found


def slow_circuits(snapshot: Snapshot, dead_sites: set[str], dead_links: set[str]) -> tuple[set[str], set[str], set[str]]:
    """Circuits that are down, that have lost some of their ends, and whose frames leave their scope."""
    standing = {each.name for each in snapshot.of(Site)} - dead_sites
    arcs, between = slow_ways(snapshot, standing, dead_links)
    sites = {each.name: each for each in snapshot.of(Site)}
    down, parted, outside = set[str](), set[str](), set[str]()
    for circuit in snapshot.of(Circuit):
        left = alive_pairs(circuit, snapshot, dead_sites, dead_links)
        every = len(list(combinations(circuit.ends, 2)))
        if not left:
            down.add(circuit.name)
            continue
        if len(left) < every:
            parted.add(circuit.name)
        for _, _, stations in left:
            for a, b in pairwise(stations):
                passed, queue = {a}, [a]
                while queue:
                    for arc in next_arcs(queue.pop(), b, arcs, between):
                        if arc[2] not in passed:
                            passed.add(arc[2])
                            queue.append(arc[2])
                cities = {sites[each].city for each in passed}
                if circuit.within is Level.CITY and len(cities) > 1:  # all of them are in one country
                    outside.add(circuit.name)
    return down, parted, outside


def dead(snapshot: Snapshot, *found: Failure) -> tuple[set[str], set[str]]:
    """(dead sites, dead links) of failures, from their names alone."""
    sites, links = set[str](), set[str]()
    for each in found:
        name = each.of.partition("/")[2]
        if each.part is Part.SITE:
            sites.add(name)
        for link in snapshot.of(Link):
            carrier, ends = link.carrier, {link.a, link.b}
            owner, _, where = name.partition("@")
            hit = {
                Part.LINK: link.name == name,
                Part.SITE: name in ends,
                Part.CARRIER: carrier == name,
                Part.HAND_OFF: carrier == owner and where in ends,
                Part.REFLECTOR: False,
            }
            if hit[each.part]:
                links.add(link.name)
    return sites, links


def arcs_of(survival: Survival, loads: Any) -> Iterator[tuple[Arc, float]]:
    for number, link in enumerate(survival.net.links):
        yield (link.name, str(link.a), str(link.b)), loads[2 * number]
        yield (link.name, str(link.b), str(link.a)), loads[2 * number + 1]


def assert_same(survival: Survival, snapshot: Snapshot, loads: Any, lost_traffic: float, cut_off: int, *found: Failure) -> None:
    sites, links = dead(snapshot, *found)
    alive = main_part(snapshot, sites, links)
    expected, through = slow_loads(snapshot, sites, links, Fraction(1, 5))
    for arc, amount in arcs_of(survival, loads):
        assert amount == pytest.approx(float(expected.get(arc, 0)), rel=1e-9, abs=1.0), (arc, [each.of for each in found])
    assert lost_traffic == pytest.approx(survival.traffic.offered - float(through), rel=1e-6, abs=100.0)
    members = {each.member for each in on_lans(snapshot)}
    assert cut_off == sum(1 for each in members if not shares(snapshot, each, alive))


@settings(max_examples=60, deadline=None)
@given(exchanges())
def test_every_failure_alone_is_as_a_slow_evaluator_finds_it(snapshot: Snapshot) -> None:
    """Who is cut off, what is lost, which circuits lose what, and what every link carries each way, normally and after each failure."""
    survival = Survival(snapshot)
    normal = survival.normal()
    assert_same(survival, snapshot, normal.load, normal.traffic_lost, len(normal.outcome.cut_off))
    for case in survival.alone():
        assert_same(survival, snapshot, case.load, case.traffic_lost, len(case.outcome.cut_off), case.outcome.failure)
        down, parted, outside = slow_circuits(snapshot, *dead(snapshot, case.outcome.failure))
        assert (set(case.harm.down), set(case.harm.parted), set(case.harm.outside)) == (down, parted, outside)


@settings(max_examples=25, deadline=None)
@given(exchanges())
def test_every_pair_of_failures_is_as_a_slow_evaluator_finds_it(snapshot: Snapshot) -> None:
    """The same for pairs, of whatever two parts; the busiest link is that of the full calculation."""
    survival = Survival(snapshot)
    pairs = survival.in_pairs()
    assert [pairs.names(number) for number in range(len(pairs))] == [(a.of, b.of) for a, b in combinations(survival.failures, 2)]
    for number, (one, other) in enumerate(combinations(survival.failures, 2)):
        whole = survival.several(one, other)
        assert pairs.lost[number] == whole.outcome.lost
        if len(survival.net.links):
            assert pairs.utilisation[number] == pytest.approx(survival.utilisation(whole.load).max(), rel=1e-9, abs=1e-9)
        assert_same(survival, snapshot, whole.load, float(pairs.traffic_lost[number]), int(pairs.cut_off[number]), one, other)
        down, parted, outside = slow_circuits(snapshot, *dead(snapshot, one, other))
        assert set(survival.circuits.named(survival.circuits.hit(pairs.dead[number]))) == down | parted
        assert pairs.circuits[number] == len(down | parted)
        assert set(survival.circuits.named(pairs.outside[number])) - down == outside
        assert set(whole.harm.outside) == outside


@settings(max_examples=10, deadline=None)
@given(exchanges())
def test_compiled_and_plain_give_the_same(snapshot: Snapshot) -> None:
    """Large exchanges are worked out by compiled code, small ones by the same code as it stands."""
    plain = Survival(snapshot, compiled=False).in_pairs()
    fast = Survival(snapshot, compiled=True).in_pairs()
    assert fast.lost == plain.lost
    assert np.allclose(fast.utilisation, plain.utilisation, rtol=1e-9, atol=1e-9)
    assert np.allclose(fast.traffic_lost, plain.traffic_lost, rtol=1e-9, atol=1e-3)


# --- what fails with what


def triangle() -> Snapshot:
    """Three sites in a ring, one of them reached by lines of one carrier only; a fourth behind a single link. Members everywhere, one at two sites."""
    where = {"hz": (30.27, 120.15), "nb": (29.87, 121.55), "jh": (29.08, 119.65), "wz": (28.0, 120.7)}
    carriers = [made("Carrier", name, title={"en": name}) for name in ("telecom", "unicom")]
    sites = [
        a_site(
            name,
            "hub" if name == "hz" else "backbone" if name == "nb" else "node",
            latitude=north,
            longitude=east,
            carriers=["telecom", "unicom"],
        )
        for name, (north, east) in where.items()
    ]
    links = [
        a_link("hz-nb", "hz", "nb", 890),
        a_link("hz-jh", "hz", "jh", 880, carrier="unicom"),
        a_link("nb-jh", "nb", "jh", 1270, carrier="unicom"),
        a_link("jh-wz", "jh", "wz", 1030, carrier="telecom"),
    ]
    members = [
        *a_member(1, ("hz", "10G")),
        *a_member(2, ("nb", "10G")),
        *a_member(3, ("hz", "10G"), ("wz", "10G")),
        *a_member(4, ("wz", "10G")),
    ]
    return Snapshot([*carriers, *sites, *links, *members, *a_member(5, ("hz", "10G"))])


def outcome_of(snapshot: Snapshot, name: str) -> Any:
    survival = Survival(snapshot)
    (failure,) = (each for each in survival.failures if each.of == name)
    return survival.several(failure).outcome


def test_what_may_fail_is_named() -> None:
    """Sites, links, hand-offs at every site where a carrier is, carriers, and a reflector at each backbone connect point."""
    found = [each.of for each in failures(network(triangle()))]
    assert found[:8] == ["site/hz", "site/jh", "site/nb", "site/wz", "link/hz-jh", "link/hz-nb", "link/jh-wz", "link/nb-jh"]
    assert found[8:16] == [f"hand-off/{carrier}@{site}" for carrier in ("telecom", "unicom") for site in ("hz", "jh", "nb", "wz")]
    assert found[16:] == ["carrier/telecom", "carrier/unicom", "route-reflector/nb"]


def test_a_single_link_cuts_off_whoever_is_only_behind_it() -> None:
    """A member with a port elsewhere loses that port and stays."""
    outcome = outcome_of(triangle(), "link/jh-wz")
    assert (outcome.cut_off, outcome.behind) == (("m4",), ("m4",))
    assert outcome.loses == {"m3": ("port/m3-1",)}


def test_a_site_takes_its_own_members_and_those_behind_it() -> None:
    """Which are told apart."""
    outcome = outcome_of(triangle().replaced(a_member(6, ("jh", "10G"))), "site/jh")
    assert (outcome.cut_off, outcome.own_site, outcome.behind) == (("m4", "m6"), ("m6",), ("m4",))


def test_a_carrier_takes_all_its_lines_and_a_hand_off_those_that_end_there() -> None:
    """Both lines to jh are leased from unicom: either way jh and what is behind it are cut off."""
    for name in ("carrier/unicom", "hand-off/unicom@jh"):
        assert outcome_of(triangle(), name).cut_off == ("m4",)
    assert outcome_of(triangle(), "hand-off/unicom@hz").cut_off == ()
    assert "carrier/unicom at site/hz" in outcome_of(triangle(), "hand-off/unicom@hz").loses["m1"]


def test_losing_reflectors_loses_nobody_anything() -> None:
    """Registered members go on being forwarded."""
    outcome = outcome_of(triangle(), "route-reflector/nb")
    assert (outcome.cut_off, outcome.loses, outcome.lost) == ((), {}, 0)


def test_members_lose_one_route_server_or_all() -> None:
    """By LAN, as far as they use them, and unless they are cut off altogether."""
    second: dict[str, Any] = {
        "RouteServer/rs2": {"site": "hz", "lan": "peering", "policy": "open", "v4": "192.0.2.252", "mac": "02:00:5e:10:00:fc"}
    }
    assert outcome_of(exchange(), "site/nb").loses == {"alice": ("all route servers of lan/peering",)}
    assert outcome_of(exchange(second), "site/nb").loses == {"alice": ("route-server/rs1",)}
    assert outcome_of(exchange({"Session/alice": {"route_servers": False}}), "site/nb").loses == {}


# --- promises and mends


def promising(snapshot: Snapshot, port: str, *survives: str) -> Snapshot:
    (found,) = (each for each in snapshot.of(Port) if each.name == port)
    return snapshot.replaced([found.changed(survives=list(survives))])


@pytest.mark.parametrize(
    ("port", "survives", "broken"),
    [
        ("m1-0", ["link", "carrier"], []),
        ("m1-0", ["site"], ["site/hz"]),
        ("m3-0", ["link", "site", "carrier"], []),
        ("m4-0", ["link"], ["link/jh-wz"]),
        ("m4-0", ["carrier"], ["hand-off/telecom@jh", "hand-off/telecom@wz", "hand-off/unicom@jh", "carrier/telecom", "carrier/unicom"]),
        ("m4-0", ["site"], ["site/jh", "site/wz"]),
    ],
)
def test_a_port_promises_for_its_member(port: str, survives: list[str], broken: list[str]) -> None:
    """Any single failure of what is promised that cuts the member off breaks it."""
    assert [each.failure for each in breaches(promising(triangle(), port, *survives))] == broken


def test_the_mend_is_a_link_where_one_helps_and_else_a_second_port() -> None:
    """And a link that is to survive a carrier is not leased from it."""
    by_failure = {each.failure: each.mend for each in breaches(promising(triangle(), "m4-0", "link", "site", "carrier"))}
    assert by_failure["link/jh-wz"] == "add a Link wz – jh of 100G (158 km)"
    assert by_failure["site/wz"] == "give m4 a port at a second site"
    assert by_failure["carrier/telecom"].endswith("not leased from telecom")


def test_a_lan_promises_for_all_on_it_but_those_who_are_only_at_the_site_that_fails() -> None:
    """bob is only behind nb, whose failure cuts bob off from alice; that of wz, where bob is, breaks no promise."""
    found = breaches(exchange({"Lan/peering": {"survives": ["site"]}, "Port/bob-2": None, "Circuit/private": None}))
    assert [(each.of, each.failure, each.cut_off) for each in found] == [("lan/peering", "site/nb", ("bob",))]


def test_the_cheapest_link_joins_what_was_parted_and_its_price_grows_with_length_and_rate() -> None:
    """158 km of 100 Gbit/s at 3 fen per km and Gbit/s. The link past jh mends more than the one beside the old one."""
    net = network(triangle())
    points = [each for each in failures(net) if each.of in ("link/jh-wz", "site/jh")]
    beside, past = (mends(net, each, 3)[0] for each in reversed(points))
    assert (beside.a, beside.b, beside.fen) == ("wz", "jh", round((beside.kilometres or 0) * 300))
    assert removes(net, beside, points) == ("link/jh-wz",)
    assert (past.a, past.b) == ("wz", "nb")
    assert set(removes(net, past, points)) == {"link/jh-wz", "site/jh"}
    assert mends(net, next(each for each in failures(net) if each.of == "link/hz-nb")) == ()


def test_lengths_are_great_circles() -> None:
    """A quarter of the way around the earth; nothing is guessed without coordinates."""
    pole, equator = a_site("p", latitude=90, longitude=0), a_site("e", latitude=0, longitude=50)
    assert kilometres(pole, equator) == pytest.approx(10007.6, abs=0.5)  # type: ignore[arg-type]
    assert kilometres(pole, a_site("x")) is None  # type: ignore[arg-type]


# --- matrices


def test_declared_traffic_comes_before_gravity() -> None:
    """m1 sends m4 8 Gbit/s, over hz-jh and jh-wz. A second port of m1 at nb takes half of it, and all of it when the first is lost."""
    traffic = made("Traffic", "t", a={"member": "m1"}, b={"member": "m4"}, a_to_b="8G")
    snapshot = triangle().replaced([traffic])
    survival = Survival(snapshot)
    assert survival.traffic.says == "declared: 1 resources of kind Traffic"
    carried = {arc: load for arc, load in arcs_of(survival, survival.normal().load) if load}
    assert carried == {("hz-jh", "hz", "jh"): 8e9, ("jh-wz", "jh", "wz"): 8e9}
    second = Survival(snapshot.replaced([made("Port", "m1-1", member="m1", site="nb", speed="10G")]))
    carried = {arc: load for arc, load in arcs_of(second, second.normal().load) if load}
    assert carried == {("hz-jh", "hz", "jh"): 4e9, ("nb-jh", "nb", "jh"): 4e9, ("jh-wz", "jh", "wz"): 8e9}
    case = second.several(next(each for each in second.failures if each.of == "site/hz"))
    assert {arc: load for arc, load in arcs_of(second, case.load) if load} == {("nb-jh", "nb", "jh"): 8e9, ("jh-wz", "jh", "wz"): 8e9}
    assert case.traffic_lost == 0


def test_a_measured_matrix_is_read_and_used() -> None:
    """Ends are sites or members; empty lines do not matter."""
    snapshot = triangle()
    text = b"a,b,bits_per_second\nsite/hz,site/wz,2e9\n\nmember/m4,member/m1,500\n"
    survival = Survival(snapshot, measured(text, "m.csv", snapshot, network(snapshot)))
    carried = dict(arcs_of(survival, survival.normal().load))
    assert (carried["jh-wz", "jh", "wz"], carried["jh-wz", "wz", "jh"]) == (2e9, 500)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "the first line is missing"),
        (b"from,to,rate\n", "the first line is from,to,rate"),
        (b"a,b,bits_per_second\nhz,site/wz,1\n", "m.csv:2"),
        (b"a,b,bits_per_second\nsite/xx,site/wz,1\n", "'site/xx'"),
        (b"a,b,bits_per_second\nsite/hz,member/nobody,1\n", "'member/nobody'"),
        (b"a,b,bits_per_second\nsite/hz,site/wz,10G\n", "10G"),
        (b"a,b,bits_per_second\nsite/hz,site/wz,-1\n", "-1"),
        (b"a,b,bits_per_second\nsite/hz,site/wz,nan\n", "nan"),
        (b"a,b,bits_per_second\nsite/hz,site/wz\n", "2 columns"),
        (b'a,b,bits_per_second\n"site/hz,site/wz,1\n', "no CSV"),
        (b"\xff\xfe", "no CSV"),
    ],
)
def test_a_matrix_that_cannot_be_used_says_where_and_why(text: bytes, says: str) -> None:
    """Every line at once, each with its number."""
    snapshot = exchange()
    with pytest.raises(Refused) as refused:
        measured(text, "m.csv", snapshot, network(snapshot))
    assert says in str(refused.value)
    assert all(each.accept for each in refused.value.refusals)


def test_a_member_without_a_port_can_have_no_measured_traffic() -> None:
    """Its ends would be nowhere."""
    snapshot = triangle().replaced([made("Port", "m4-0", member="m4", site="wz", speed="10G", state="reserved")])
    with pytest.raises(Refused, match="member/m4 has no port in production"):
        measured(b"a,b,bits_per_second\nmember/m4,site/hz,1\n", "m.csv", snapshot, network(snapshot))


def test_an_exchange_without_sites_has_nothing_to_prove() -> None:
    """And says so."""
    with pytest.raises(ValueError, match="no sites"):
        Survival(Snapshot())


def test_a_plan_tells_single_points_of_failure() -> None:
    """The tail of a chain hangs on what is before it, a member with a second port on less; a ring on nothing. A circuit hangs on what is between
    its ends, and its port keeps no member on the exchange."""
    told = {each.about: each.says for each in findings(exchange(), Evidence())}
    assert "without it bob, circuit/private would" in told["link/hz-nb"]
    assert "without it bob would" in told["site/nb"], "the circuit ends there itself"
    assert "without it bob would" in told["link/nb-wz"]
    second: dict[str, Fields | None] = {"Circuit/private": None}
    assert "link/nb-wz" not in {each.about for each in findings(exchange(second), Evidence())}
    ring: dict[str, Fields | None] = {"Link/wz-hz": {"a": "wz", "b": "hz", "capacity": "100G", "latency": "2ms"}}
    assert not list(findings(exchange(ring), Evidence()))


# --- circuits


def private() -> Snapshot:
    """The triangle and its tail with a wire, one pinned over nb, a group of three, and two tenants of one gateway at nb: by a wire, and in a group."""
    trunk = {"member": "m2", "site": "nb", "speed": "100G", "gateway": {"ours": "198.51.100.0", "theirs": "198.51.100.1"}}
    handed = {"member": "m2", "site": "nb", "speed": "10G", "over": "cloud"}
    return triangle().replaced(
        [
            *a_circuit("wire", ["hz", "jh"], 2),
            *a_circuit("pinned", ["hz", "jh"], 1, via=["nb"]),
            *a_circuit("group", ["hz", "nb", "wz"], 4),
            made("Port", "cloud", **trunk),
            made("Port", "tenant-1", vni=7001, **handed),
            made("Port", "tenant-2", vni=7002, **handed),
            *(made("Port", name, member="m1", site=site, speed="10G") for name, site in (("t1", "hz"), ("t2", "hz"), ("t3", "jh"))),
            made("Circuit", "tenant", ends=["t1", "tenant-1"]),
            made("Circuit", "tenants", ends=["t2", "t3", "tenant-2"], capacity="2G"),
        ]
    )


def harm_of(snapshot: Snapshot, *names: str) -> Any:
    survival = Survival(snapshot)
    return survival.several(*(each for each in survival.failures if each.of in names)).harm


def test_a_pinned_wire_dies_with_the_site_that_it_was_to_pass() -> None:
    """Others between the same sites do not; a link to it that fails is gone around, also by the pinned one."""
    harm = harm_of(private(), "site/nb")
    assert set(harm.down) == {"pinned", "tenant"}
    assert (harm.behind, harm.over) == (("pinned",), {"pinned": ("nb",)})
    assert harm_of(private(), "link/hz-nb").hit == ()


def test_a_group_goes_on_without_the_end_that_is_cut_off() -> None:
    """And is down when each of its ends is alone."""
    assert harm_of(private(), "link/jh-wz").parted == {"group": ("group-2",)}
    assert "group" in harm_of(private(), "link/jh-wz", "site/hz").down


def test_a_gateway_takes_all_that_is_handed_over_its_cable() -> None:
    """A wire to it is down, a group goes on; and it is no member of the exchange that is cut off."""
    survival = Survival(private())
    case = survival.several(next(each for each in survival.failures if each.of == "gateway/cloud"))
    assert (case.harm.down, case.harm.parted, case.harm.behind) == (("tenant",), {"tenants": ("tenant-2",)}, ())
    assert case.outcome.cut_off == ()


def test_a_circuit_is_carried_where_its_ends_meet_though_the_exchange_is_elsewhere() -> None:
    """jh and wz are parted from the exchange together: what runs between them goes on, and loads the link between them."""
    snapshot = triangle().replaced(a_circuit("local", ["jh", "wz"], 3))
    survival = Survival(snapshot)
    case = survival.several(next(each for each in survival.failures if each.of == "carrier/unicom"))
    assert survival.net.named(case.outcome.lost) == ("jh", "wz")
    assert case.harm.hit == ()
    assert {arc: load for arc, load in arcs_of(survival, case.load) if load and arc[0] == "jh-wz"} == {
        ("jh-wz", "jh", "wz"): 3e9,
        ("jh-wz", "wz", "jh"): 3e9,
    }


def test_a_circuit_loads_links_with_its_capacity_and_a_pinned_one_where_it_is_led() -> None:
    """Each way. Without a capacity it is what the slowest port can carry; each end of a group gets it in equal parts from the others."""
    silent = [made("Traffic", "t", a={"site": "hz"}, b={"site": "jh"}, a_to_b="1k")]
    survival = Survival(private().replaced(silent))
    carried = {arc: round(load / 1e9, 3) for arc, load in arcs_of(survival, survival.normal().load)}
    # hz-nb: pinned 1, group hz to nb 2, tenant 10, tenants 1; hz-jh: wire 2, group hz to wz 2, tenants 1; nb-jh: pinned 1, group 2, tenants 1
    assert [carried[arc] for arc in (("hz-nb", "hz", "nb"), ("hz-jh", "hz", "jh"), ("nb-jh", "nb", "jh"))] == [14, 5, 4]
    assert carried["jh-wz", "jh", "wz"] == 4


def test_two_failures_may_take_a_circuit_out_of_the_level_that_none_alone_takes_it_from() -> None:
    """hz and jh are in one province, nb is too, and sh is in another: only without the direct line and nb it goes through there."""
    zj = {"province": "Zhejiang"}
    sites = [a_site("hz", "hub", **zj), a_site("jh", **zj), a_site("nb", **zj), a_site("sh", province="Shanghai")]
    ends = [("hz", "jh", 10), ("hz", "nb", 10), ("nb", "jh", 10), ("hz", "sh", 50), ("sh", "jh", 50)]
    links = [a_link(f"{a}-{b}", a, b, cost) for a, b, cost in ends]
    survival = Survival(Snapshot([*sites, *links, *a_member(0, ("hz", "1G")), *a_circuit("records", ["hz", "jh"], 1, within="province")]))
    pairs = survival.in_pairs()
    out = {pairs.names(number) for number in range(len(pairs)) if pairs.outside[number]}
    assert out == {("site/nb", "link/hz-jh"), ("link/hz-jh", "link/hz-nb"), ("link/hz-jh", "link/nb-jh")}
    assert not any(case.harm.outside for case in survival.alone())


@pytest.mark.parametrize(
    ("circuit", "survives", "broken"),
    [
        ("wire", ["link", "site", "carrier"], ["hand-off/unicom@jh", "carrier/unicom"]),
        ("pinned", ["link"], []),
        ("pinned", ["site"], ["site/nb"]),
        ("group", ["link", "site"], ["link/jh-wz", "site/jh"]),
    ],
)
def test_a_circuit_promises_for_its_ends_but_not_for_their_own_sites(circuit: str, survives: list[str], broken: list[str]) -> None:
    """What takes it from an end that stands breaks it. The mend of a pinned one is another way, else a link."""
    (found,) = (each for each in private().of(Circuit) if each.name == circuit)
    found_breaches = breaches(private().replaced([found.changed(survives=survives)]))
    assert [each.failure for each in found_breaches] == broken
    for each in found_breaches:
        assert each.cut_off == (f"circuit/{circuit}",)
        assert each.mend.startswith("leave nb out of via" if circuit == "pinned" else "add a Link")


def test_a_circuit_with_a_dark_end_is_not_in_service() -> None:
    """A wire not at all, so nothing can take it; a group without that end."""
    dark = [made("Port", f"{name}-0", member="m0", site="hz", speed="10G", state="reserved") for name in ("wire", "group")]
    survival = Survival(private().replaced(dark))
    assert {each.name for each in survival.circuits.all} == {"group", "pinned", "tenant", "tenants"}
    assert harm_of(private().replaced(dark), "site/wz").down == ("group",)
