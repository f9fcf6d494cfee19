"""What a policy can say beyond the common: on real BIRD, told and heard over real sockets.

The namespaces, members and their speakers are those of test_route_server.py; the policy is richer. Each claim is a row of docs/routing/features.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.rule import judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.members.kinds import Member
from nnix.planes.routing.kinds import LocalSnippet, RouteServer, RoutingException, RoutingPolicy, Session
from nnix.planes.routing.plane import PLANE
from nnix.planes.routing.routes import routes_of
from nnix.planes.routing.sources import past
from tests.lab.test_route_server import (
    BLACKHOLE,
    GRACEFUL_SHUTDOWN,
    MEMBERS,
    NO_EXPORT,
    RPSL,
    RS,
    VRPS,
    Lab,
    NamespaceHost,
    Speaker,
    exchange,
    rt,
    six,
    until,
)

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
]

FAMILIES = (4, 6)
PREFIX = "203.0.113.0/24"  # AS64501's
NO_ADVERTISE = (65535, 65282)
UNTIL = "2099-01-01T00:00:00Z"
POLICY: dict[str, Any] = {
    "communities_max": 5,
    "blacklist": ["198.18.90.0/24", six("198.18.90.0/24")],
    "groups": [{"number": 7, "title": "content", "classes": ["content"]}, {"number": 8, "title": "the east", "sites": ["east"]}],
    "rtt_thresholds": [10, 20],
    "short_asns": [{"asn": 65550, "short": 64600}],
    "blackhole_communities": ["65000:666"],
    "reason_communities": [{"reason": "blacklisted", "community": "64999:1"}],
    "tells_announcer": True,
}
SESSIONS: dict[str, dict[str, Any]] = {
    "alpha": {"communities": ["64500:777"], "blacklist": ["198.18.91.0/24", six("198.18.91.0/24")]},
    "gamma": {"rtt": "10ms", "prepend_route_server": True},
    "delta": {"rtt": "50ms", "blackhole_community": "65001:666", "blackhole_community_alone": True},
    "epsilon": {"hears": {"only": [64500]}, "announces": {"but": [64502]}},
}


def rich(policy: Mapping[str, Any] | None = None, server: Mapping[str, Any] | None = None) -> Snapshot:
    """The exchange of test_route_server.py with more to say."""
    plain = exchange("bird")
    changed: list[Resource] = []
    for each in plain:
        if isinstance(each, RoutingPolicy):
            changed.append(
                RoutingPolicy.model_validate({**each.model_dump(mode="json", exclude_defaults=True), **POLICY, **(policy or {})})
            )
        elif isinstance(each, RouteServer):
            changed.append(RouteServer.model_validate({**each.model_dump(mode="json", exclude_defaults=True), **(server or {})}))
        elif isinstance(each, Session):
            more = SESSIONS.get(each.name.removesuffix("-1"), {})
            changed.append(Session.model_validate({**each.model_dump(mode="json", exclude_defaults=True), **more}))
        elif isinstance(each, Member) and each.name == "gamma":
            changed.append(Member.model_validate({**each.model_dump(mode="json", exclude_defaults=True), "class": "content"}))
    changed.append(
        RoutingException.model_validate(
            {
                "name": "alpha",
                "session": "alpha-1",
                "rpki": "tag",
                "as_sets_in_paths": True,
                "prefixes": [
                    {"prefix": of("198.18.92.0/24", 4)},
                    {"prefix": of("198.18.92.0/24", 6)},
                    {"prefix": of("198.18.93.0/24", 4), "origin": 64509},
                    {"prefix": of("198.18.93.0/24", 6), "origin": 64509},
                ],
                "origins": [64508],
                "until": UNTIL,
                "answers": "contact:noc",
                "why": "a test",
            }
        )
    )
    changed.append(
        LocalSnippet.model_validate(
            {
                "name": "med",
                "policy": "safe",
                "daemon": "bird",
                "place": "import",
                "text": "if bgp_path.first = 64500 then bgp_med = 42;",
                "answers": "contact:noc",
                "why": "a test",
            }
        )
    )
    return plain.replaced(changed)


def of(prefix: str, family: int) -> str:
    """`prefix`, or the IPv6 one that stands beside it."""
    return prefix if family == 4 else six(prefix)


class PolicyLab(Lab):
    """A lab in which exceptions may come to their end. Each member has a session in either family."""

    def at(self, family: int, *names: str) -> tuple[Speaker, ...]:
        """Members' routers on their sessions of a family."""
        return tuple(self.speaker(name, family) for name in names)

    def set(self, snapshot: Snapshot, ended: bool = False) -> None:
        """Compile `snapshot` and have BIRD take it. `ended`: the end of its exception has come."""
        self.snapshot = snapshot
        items = {"file:lab.rpsl": RPSL.encode(), "file:vrps.json": json.dumps(VRPS).encode()}
        items |= {past(each.until): b"yes" if ended else b"no" for each in snapshot.of(RoutingException)}
        assert PLANE.compile is not None
        (artifact,) = [each for each in PLANE.compile(snapshot, Evidence(items)) if each.name == "rs1"]
        driver = self.driver
        assert asyncio.run(driver.check(self.host_, artifact.content)) == ""
        asyncio.run(driver.drive(self.host_, "rs1", artifact.content))


@pytest.fixture(autouse=True)
def nothing_is_left(lab: PolicyLab) -> Iterator[None]:
    """After each claim all is withdrawn, so that none hears of another's routes."""
    yield
    for each in lab.speakers.values():
        for prefix in each.announced:
            each.withdraw(prefix)
        each.announced.clear()
    until(lambda: not any(each.heard for each in lab.speakers.values()), "something is left")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyLab]:
    home = tmp_path_factory.mktemp("rp")
    server, members = f"nnt-rp-s{os.getpid()}", f"nnt-rp-m{os.getpid()}"
    batch = [f"netns add {server}", f"netns add {members}", f"link add m0 netns {members} type veth peer name s0 netns {server}"]
    there = ["link set lo up", "link set m0 up"]
    for _, _, host in MEMBERS:
        there += [f"address add 192.0.2.{host}/24 dev m0", f"address add 2001:db8:ffff::{host}/64 dev m0 nodad"]
    here = ["link set lo up", "link set s0 up", "address add 192.0.2.1/24 dev s0", "address add 2001:db8:ffff::1/64 dev s0 nodad"]
    running = PolicyLab("bird", Snapshot(), NamespaceHost(server, str(home)), members)
    try:
        for arguments, lines in (([], batch), (["-n", members], there), (["-n", server], here)):
            subprocess.run(["ip", *arguments, "-batch", "-"], input="\n".join(lines), text=True, check=True)
        running.set(rich())
        yield running
    finally:
        running.close()
        for each_namespace in (server, members):
            subprocess.run(["ip", "netns", "delete", each_namespace], check=False)


def test_the_exchange_of_these_tests_is_admitted() -> None:
    """What follows is about an exchange that the rules admit."""
    assert judge(rich(), PLANE.rules) == ()


# what is sent; how often AS64501 stands in the path that each member hears (gamma has the route server's ASN before it), 0: it hears nothing
AIMED: tuple[tuple[str, dict[str, Any], dict[str, int]], ...] = (
    ("no wish", {}, {"alpha": 1, "gamma": 1, "delta": 1}),
    ("not to a group, large", {"large": [(RS, 10, 7)]}, {"alpha": 1, "gamma": 0, "delta": 1}),
    ("not to a group, standard", {"standard": [(65410, 7)]}, {"alpha": 1, "gamma": 0, "delta": 1}),
    ("not to a group, extended", {"extended": [rt(65410, 7)]}, {"alpha": 1, "gamma": 0, "delta": 1}),
    ("not to a site", {"large": [(RS, 10, 8)]}, {"alpha": 0, "gamma": 0, "delta": 0}),
    ("to a group alone", {"large": [(RS, 0, 0), (RS, 11, 7)]}, {"alpha": 0, "gamma": 1, "delta": 0}),
    ("one beats its group", {"large": [(RS, 10, 8), (RS, 1, 65550)]}, {"alpha": 0, "gamma": 0, "delta": 1}),
    ("a group that is none", {"large": [(RS, 10, 9)]}, {"alpha": 1, "gamma": 1, "delta": 1}),
    ("prepend to a group", {"large": [(RS, 112, 7)]}, {"alpha": 1, "gamma": 3, "delta": 1}),
    ("prepend: one, group, all", {"large": [(RS, 103, 0), (RS, 112, 7), (RS, 101, 65550)]}, {"alpha": 4, "gamma": 3, "delta": 2}),
    ("not to the near, inclusive", {"large": [(RS, 20, 10)]}, {"alpha": 1, "gamma": 0, "delta": 1}),
    ("not to the far, exclusive", {"large": [(RS, 30, 10)]}, {"alpha": 1, "gamma": 1, "delta": 0}),
    ("to the far alone, extended", {"large": [(RS, 0, 0)], "extended": [rt(65431, 20)]}, {"alpha": 0, "gamma": 0, "delta": 1}),
    ("prepend to the near, standard", {"standard": [(65424, 20)]}, {"alpha": 1, "gamma": 4, "delta": 1}),
    ("a threshold that is none", {"large": [(RS, 30, 11)]}, {"alpha": 1, "gamma": 1, "delta": 1}),
    ("not to a 32-bit ASN, by its short one", {"standard": [(0, 64600)]}, {"alpha": 1, "gamma": 1, "delta": 0}),
    ("to none, standard, towards 32 bits", {"standard": [(0, 65000)]}, {"alpha": 0, "gamma": 0, "delta": 0}),
)


@pytest.mark.parametrize("family", FAMILIES)
def test_wishes_reach_groups_round_trip_times_and_short_asns(lab: PolicyLab, family: int) -> None:
    """By site, class and round-trip time, in all three forms; the closest wish counts; all of them are taken off."""
    beta = lab.speaker("beta", family)
    others = {name: lab.speaker(name, family) for name in ("alpha", "gamma", "delta")}
    for number, (what, sent, wanted) in enumerate(AIMED):
        beta.announce(of(PREFIX, family), med=1000 + number, **sent)

        def as_wished(number: int = number, wanted: dict[str, int] = wanted) -> bool:
            heard = {name: each.heard.get(of(PREFIX, family)) for name, each in others.items()}
            return wanted == {
                name: 0 if told is None else told.path.count(64501) if told.med == 1000 + number else -1 for name, told in heard.items()
            }

        until(as_wished, f"{what}: { ({name: each.heard.get(of(PREFIX, family)) for name, each in others.items()}) }", 5)
        for each in others.values():
            told = each.heard.get(of(PREFIX, family))
            assert told is None or (told.standard, told.extended) == (frozenset(), frozenset()), what
            assert told is None or told.large == {(RS, 1000, 2), (RS, 1001, 1), (RS, 1010, 64501), (RS, 1011, 64501)}, what


@pytest.mark.parametrize("family", FAMILIES)
def test_no_export_is_added_where_it_is_asked_for(lab: PolicyLab, family: int) -> None:
    """To one, to a group, to all: NO_EXPORT and NO_ADVERTISE, only there."""
    beta, alpha, gamma, delta = lab.at(family, "beta", "alpha", "gamma", "delta")
    beta.announce(of(PREFIX, family), med=1, standard=[(65504, 64500)], large=[(RS, 115, 7)])
    until(
        lambda: all(of(PREFIX, family) in each.heard and each.heard[of(PREFIX, family)].med == 1 for each in (alpha, gamma, delta)),
        "not told",
    )

    assert [each.heard[of(PREFIX, family)].standard for each in (alpha, gamma, delta)] == [{NO_EXPORT}, {NO_ADVERTISE}, frozenset()]
    beta.announce(of(PREFIX, family), med=2, extended=[rt(65504, RS)])
    until(lambda: all(each.heard[of(PREFIX, family)].med == 2 for each in (alpha, gamma, delta)), "not told again")
    assert [each.heard[of(PREFIX, family)].standard for each in (alpha, gamma, delta)] == [{NO_EXPORT}] * 3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_route_servers_asn_stands_in_front_for_who_wants_it(lab: PolicyLab, family: int) -> None:
    """RFC 7947, 2.2.2.1: for one client only; the others see a path without it."""
    beta, alpha, gamma = lab.speaker("beta", family), lab.speaker("alpha", family), lab.speaker("gamma", family)
    beta.announce(of(PREFIX, family))
    assert gamma.hears(of(PREFIX, family)).path == (RS, 64501)
    assert alpha.hears(of(PREFIX, family)).path == (64501,)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_session_hears_whom_it_wants_and_tells_whom_it_wants(lab: PolicyLab, family: int) -> None:
    """epsilon hears AS64500 alone, and its own routes never go to AS64502, without a community on them."""
    alpha, beta, gamma, delta, epsilon = lab.at(family, "alpha", "beta", "gamma", "delta", "epsilon")
    beta.announce(of(PREFIX, family))
    alpha.announce(of("198.51.100.0/24", family))
    epsilon.announce(of("198.18.20.0/24", family))
    epsilon.hears(of("198.51.100.0/24", family))
    delta.hears(of("198.18.20.0/24", family))
    gamma.hears(of(PREFIX, family))
    delta.hears(of(PREFIX, family))

    assert of(PREFIX, family) not in epsilon.heard
    assert of("198.18.20.0/24", family) not in gamma.heard


@pytest.mark.parametrize("family", FAMILIES)
def test_communities_of_a_members_own_are_put_on_its_routes_and_taken_off_others(lab: PolicyLab, family: int) -> None:
    """64500:777 is AS64500's: it stands on all that it announces, and on nothing else."""
    alpha, beta, delta = lab.speaker("alpha", family), lab.speaker("beta", family), lab.speaker("delta", family)
    alpha.announce(of("198.51.100.0/24", family))
    beta.announce(of(PREFIX, family), standard=[(64500, 777), (64500, 778)])

    assert delta.hears(of("198.51.100.0/24", family)).standard == {(64500, 777)}
    assert delta.hears(of(PREFIX, family)).standard == {(64500, 778)}


@pytest.mark.parametrize("family", FAMILIES)
def test_black_lists_and_too_many_communities_are_refused_by_name(lab: PolicyLab, family: int) -> None:
    """The exchange's list, one session's own, and one community more than five; a community of the exchange's own goes with a reason."""
    alpha, delta = lab.speaker("alpha", family), lab.speaker("delta", family)
    alpha.announce(of("198.18.90.0/24", family))
    alpha.announce(of("198.18.91.0/24", family))
    alpha.announce(of("198.18.5.0/24", family), standard=[(1, n) for n in range(6)])
    alpha.announce(of("198.51.100.0/24", family), standard=[(1, n) for n in range(5)])
    wanted = {
        (of("198.18.90.0/24", family), "blacklisted"),
        (of("198.18.91.0/24", family), "blacklisted"),
        (of("198.18.5.0/24", family), "too_many_communities"),
    }

    assert delta.hears(of("198.51.100.0/24", family)).standard >= {(1, 4)}
    until(lambda: {(each.prefix, each.reason) for each in lab.refused("alpha")} == wanted, f"not these: {lab.refused('alpha')}")


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exception_lets_pass_what_it_names_and_ends(lab: PolicyLab, family: int) -> None:
    """A prefix without route object, a prefix and origin, an origin in no as-set, an AS_SET, an invalid ROA: until the end has come."""
    alpha, delta = lab.speaker("alpha", family), lab.speaker("delta", family)
    alpha.announce(of("198.18.92.0/24", family))
    alpha.announce(of("198.18.93.0/24", family), path=[64500, 64509])
    alpha.announce(of("198.18.5.0/24", family))
    alpha.announce(of("198.18.6.0/24", family), path=[64500, frozenset({64510}), 64500])
    alpha.announce(of("198.18.94.0/24", family))

    assert (RS, 1001, 1) in delta.hears(of("198.18.92.0/24", family)).large
    assert (RS, 1001, 3) in delta.hears(of("198.18.93.0/24", family)).large
    assert (RS, 1000, 4) in delta.hears(of("198.18.5.0/24", family)).large
    assert delta.hears(of("198.18.6.0/24", family)).med == 42  # the local snippet
    assert of("198.18.94.0/24", family) not in delta.heard
    lab.set(rich(), ended=True)
    until(
        lambda: (
            not delta.heard.keys()
            & {of("198.18.92.0/24", family), of("198.18.93.0/24", family), of("198.18.5.0/24", family), of("198.18.6.0/24", family)}
        ),
        "an exception stays",
        30,
    )
    assert alpha.refreshes == 0
    assert (of("198.18.5.0/24", family), "rpki_invalid") in {(each.prefix, each.reason) for each in lab.refused("alpha")}
    lab.set(rich())


@pytest.mark.parametrize("family", FAMILIES)
def test_blackholes_by_another_word_and_in_the_receivers_own(lab: PolicyLab, family: int) -> None:
    """65000:666 means BLACKHOLE here; delta gets its own community instead of it, beta gets BLACKHOLE."""
    alpha, beta, delta = lab.speaker("alpha", family), lab.speaker("beta", family), lab.speaker("delta", family)
    alpha.announce(of("198.51.100.7/32", family), standard=[(65000, 666)])

    assert beta.hears(of("198.51.100.7/32", family)).standard == {BLACKHOLE, NO_EXPORT, (64500, 777)}
    assert delta.hears(of("198.51.100.7/32", family)).standard == {(65001, 666), NO_EXPORT, (64500, 777)}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_export_obeyed_shutting_down_and_refused_routes_in_the_table(lab: PolicyLab, family: int) -> None:
    """RFC 1997 obeyed: nobody hears it. RFC 8326: GRACEFUL_SHUTDOWN stands on all. `refused: tag`: the refused route stays, and reaches nobody."""
    alpha, beta, delta = lab.speaker("alpha", family), lab.speaker("beta", family), lab.speaker("delta", family)
    lab.set(rich({"no_export": "obey", "refused": "tag"}, {"shutting_down": True}))
    beta.announce(of(PREFIX, family), standard=[NO_EXPORT])
    alpha.announce(of("198.18.90.0/24", family))
    alpha.announce(of("198.51.100.0/24", family))

    delta.hears(of("198.51.100.0/24", family))
    until(lambda: GRACEFUL_SHUTDOWN in delta.heard[of("198.51.100.0/24", family)].standard, "it does not say that it will go")
    assert of(PREFIX, family) not in delta.heard
    assert of("198.18.90.0/24", family) not in delta.heard
    assert of("198.18.90.0/24", family) not in {each.prefix for each in asyncio.run(routes_of(lab.snapshot, lab, server="rs1"))}
    assert (of("198.18.90.0/24", family), "blacklisted") in {(each.prefix, each.reason) for each in lab.refused("alpha")}
    lab.set(rich())


@pytest.mark.parametrize("family", FAMILIES)
def test_with_path_hiding_nothing_takes_the_place_of_the_best(lab: PolicyLab, family: int) -> None:
    """path_hiding_solved: false: the best may not reach AS64502, and the second best does not either."""
    lab.set(rich({"path_hiding_solved": False}))
    alpha, beta, gamma, delta = lab.at(family, "alpha", "beta", "gamma", "delta")
    alpha.announce(of("198.51.100.0/24", family), standard=[(0, 64502)])
    beta.announce(of("198.51.100.0/24", family), path=[64501, 64510])
    # They come on two connections, so the longer one may be heard for a moment.
    until(lambda: delta.hears(of("198.51.100.0/24", family)).path == (64500,), "the best does not take the place of the other")
    beta.announce(of(PREFIX, family))
    gamma.hears(of(PREFIX, family))

    assert of("198.51.100.0/24", family) not in gamma.heard
