"""What members and route servers agree on about their sessions, on real daemons of both makes and in both address families: several paths (ADD-PATH), who
opens, roles, timers, limits, next hops, restarts, words of farewell, BFD. What a make cannot do is refused before anything is touched.

The namespaces and the members' speakers are those of test_route_server.py. One exchange serves all claims; where a claim needs another policy, it is
configured for as long as the claim lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from nnix.daemons import openbgpd
from nnix.daemons.frr import FRR
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refused, judge
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Asking
from nnix.planes.members.kinds import Member
from nnix.planes.routing.compile import policy as policy_of
from nnix.planes.routing.kinds import LocalSnippet, RouteServer, RoutingPolicy, Session
from nnix.planes.routing.plane import PLANE
from nnix.planes.routing.prove.compare import Difference
from nnix.planes.routing.routes import routes_of
from nnix.planes.routing.trial.running import agree
from tests.lab.test_route_server import (
    DRIVERS,
    GRACEFUL_SHUTDOWN,
    NO_EXPORT,
    RPSL,
    RS,
    VRPS,
    Lab,
    NamespaceHost,
    Speaker,
    Told,
    exchange,
    rt,
    running,
    six,
    until,
)

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
    pytest.mark.skipif(not Path(openbgpd.PROGRAM).exists(), reason="openbgpd is not installed"),
]

FAMILIES = (4, 6)
ALPHAS, BETAS = "198.51.100.0/24", "203.0.113.0/24"  # AS64501 and AS64510 may originate both
ELSEWHERE = "192.0.2.203"  # on the LAN, and not in the members' namespace: no BIRD there would take a next hop of its own
POLICY: dict[str, Any] = {
    "blackhole": False,  # or ten host routes might come beyond every limit
    "prefixes_max_margin_routes": 1,
    "prefixes_max_margin_percent": 0,
    "connect_retry_seconds": 1,
    "said_communities": [
        {"said": "rpki_valid", "community": "64512:1"},
        {"said": "rpki_unknown", "community": "rt:64512:2"},
        {"said": "irrdb_valid", "community": "64512:3:3"},
    ],
}
SESSIONS: dict[str, dict[str, Any]] = {
    "alpha-1": {"graceful_shutdown": False, "next_hops": [ELSEWHERE]},
    "beta-1": {"next_hop": "strict", "next_hops": ["192.0.2.201", "2001:db8:ffff::201"]},
    "gamma-1": {"our_role": "peer", "their_role": "peer"},
    "delta-1": {"add_paths": "both"},
    "epsilon-1": {"limit_action": "shutdown", "hold_time_seconds": 30, "prefixes_max": {"v4": 3, "v6": 3}},
    "zeta-1": {"passive": False, "our_role": "peer", "their_role": "peer", "role_strict": False},
}
FAREWELL = "maintenance 4711, back at 06:00 UTC"


def changed(
    snapshot: Snapshot, policy: Mapping[str, Any], server: Mapping[str, Any], sessions: Mapping[str, Mapping[str, Any]]
) -> Snapshot:
    """`snapshot` with some fields of its policy, its route servers and its sessions set."""

    def given(each: Resource) -> Mapping[str, Any]:
        if isinstance(each, Session):
            return sessions.get(each.name, {})
        return policy if isinstance(each, RoutingPolicy) else server if isinstance(each, RouteServer) else {}

    return snapshot.replaced(
        type(each).model_validate({**each.model_dump(mode="json", exclude_defaults=True), **given(each)})
        for each in snapshot
        if given(each)
    )


def agreed(daemon: str) -> Snapshot:
    """The exchange of these claims: AS64502 and AS65550 have AS64510 for a customer; AS64500 and AS64501 have second routers."""
    plain = exchange(daemon)
    customers = [
        Member.model_validate({**each.model_dump(mode="json", by_alias=True, exclude_defaults=True), "as_sets": ["AS64510"]})
        for each in plain.of(Member)
        if each.name in ("gamma", "delta")
    ]
    second = [
        Session.model_validate(
            {"name": f"{name}-2", "member": name, "lan": "lan", "port": name, "v4": f"192.0.2.{host}", "v6": f"2001:db8:ffff::{host}"}
        )
        for name, host in (("alpha", 17), ("beta", 18))
    ]
    wanted = plain.replaced([*customers, *second])
    assert PLANE.allocate is not None
    return changed(wanted.replaced(PLANE.allocate(wanted, wanted)), POLICY, {"shutdown_text": FAREWELL}, SESSIONS)


@pytest.fixture(scope="module", params=sorted(DRIVERS))
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(request.param, agreed(request.param), tmp_path_factory.mktemp("sessions")) as lab:
        yield lab


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each claim all is withdrawn, so that none hears of another's routes."""
    yield
    if "lab" in request.fixturenames:
        lab: Lab = request.getfixturevalue("lab")
        for each in lab.speakers.values():
            with contextlib.suppress(OSError):
                for prefix in each.announced:
                    each.withdraw(prefix)
            each.announced.clear()
        up = [each for each in lab.speakers.values() if each.notification is None]
        until(lambda: not any(each.heard for each in up), f"something is left: {[each.heard for each in up]}")


@contextlib.contextmanager
def otherwise(
    lab: Lab, policy: Mapping[str, Any] | None = None, server: Mapping[str, Any] | None = None, **sessions: Mapping[str, Any]
) -> Iterator[None]:
    """The route server with something set otherwise, for a while."""
    plain = lab.snapshot
    lab.configure(changed(plain, policy or {}, server or {}, {f"{name}-1": each for name, each in sessions.items()}))
    try:
        yield
    finally:
        lab.configure(plain)


def speaker(lab: Lab, member: str, family: int) -> Speaker:
    """A member's router; one that is a peer says so."""
    return lab.speaker(member, family, 4 if member in ("gamma", "zeta") else 2)


def zeta(lab: Lab, family: int) -> Speaker:
    """AS64504's router, to which the route server opens the connection."""
    key = f"zeta{family}"
    if key not in lab.speakers or not lab.speakers[key].alive:
        address, server = ends(16, family)
        lab.speakers[key] = Speaker(lab.members, 64504, address, server, 4, waits=True)
        until(lab.speakers[key].decided, "zeta does not come up")
        assert lab.speakers[key].up.is_set()
    return lab.speakers[key]


def gone(lab: Lab, *members: str) -> None:
    """Members' routers leave, and may come back at once: OpenBGPD would wait for 30 s after a session that the other side has ended."""
    for key in [f"{member}{family}" for member in members for family in FAMILIES]:
        if (known := lab.speakers.pop(key, None)) is not None:
            known.close()
            at_once(lab, known.address)


def at_once(lab: Lab, address: str) -> None:
    """OpenBGPD lets a session begin anew."""
    if lab.daemon == "openbgpd":
        control = f"{lab.host_.home}/openbgpd/rs1/{openbgpd.SOCKET}"
        subprocess.run(["bgpctl", "-s", control, "neighbor", address, "clear"], check=True, capture_output=True)


def of(prefix: str, family: int) -> str:
    return prefix if family == 4 else six(prefix)


def ends(host: int, family: int) -> tuple[str, str]:
    """A member's address, and the route server's."""
    return (f"192.0.2.{host}", "192.0.2.1") if family == 4 else (f"2001:db8:ffff::{host}", "2001:db8:ffff::1")


def refused_by_name(lab: Lab, wanted: Mapping[str, str], policy: Mapping[str, Any] | None = None, **sessions: Mapping[str, Any]) -> None:
    """A plan with this is refused, under these fields (`resource` → field), and nothing of it reaches the daemon."""
    with pytest.raises(Refused) as refused:
        lab.compiled(changed(lab.snapshot, policy or {}, {}, {f"{name}-1": each for name, each in sessions.items()}))
    assert {each.resource: each.field for each in refused.value.refusals} == wanted
    assert {each.rule for each in refused.value.refusals} == {"routing.daemon-can"}


def _verified(lab: Lab, several: int = 1, **sessions: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What `nnix verify routing` finds to be otherwise than the policy says, or one with `sessions` set otherwise would; `several` sessions take several
    paths."""
    known = {"file:lab.rpsl": RPSL.encode(), "file:vrps.json": json.dumps(VRPS).encode()}
    wanted = changed(lab.snapshot, {}, {}, {f"{name}-1": each for name, each in sessions.items()})
    server = next(each for each in policy_of(wanted, Evidence(known)) if each.name == "rs1")
    (agreement,) = asyncio.run(agree([server], lab))
    assert (agreement.trouble, agreement.several) == ("", several)
    return agreement.differences


def paths(heard: Mapping[int, Told]) -> list[tuple[int, ...]]:
    return sorted(each.path for each in heard.values())


@pytest.mark.parametrize("daemon", sorted(DRIVERS))
def test_the_exchange_of_these_tests_is_admitted(daemon: str) -> None:
    """What follows is about an exchange that the rules admit."""
    assert judge(agreed(daemon), PLANE.rules) == ()


# --- several paths ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=FAMILIES)
def many(lab: Lab, request: pytest.FixtureRequest) -> Iterator[tuple[int, Speaker]]:
    """A family, and delta's router on a session that carries several paths for one prefix."""
    address, server = ends(14, request.param)
    gone(lab, "delta")
    known = Speaker(lab.members, 65550, address, server, paths=True)
    until(known.decided, "delta does not come up")
    assert known.up.is_set()
    try:
        yield request.param, known
    finally:
        known.close()
        at_once(lab, address)


def test_several_paths_reach_who_can_take_them(lab: Lab, many: tuple[int, Speaker]) -> None:
    """ADD-PATH (RFC 7911): both ways to a prefix reach AS65550, each under a number of its own; everybody else is told the better one."""
    family, delta = many
    alpha, beta, gamma = (speaker(lab, name, family) for name in ("alpha", "beta", "gamma"))
    prefix = of(ALPHAS, family)
    alpha.announce(prefix)
    beta.announce(prefix, path=[64501, 64510])
    until(lambda: paths(delta.heard_paths.get(prefix, {})) == [(64500,), (64501, 64510)], f"not both: {delta.heard_paths}")
    assert len(delta.heard_paths[prefix]) == 2
    assert {each.next_hop for each in delta.heard_paths[prefix].values()} == {ends(11, family)[0], ends(12, family)[0]}
    until(lambda: gamma.hears(prefix).path == (64500,), "the better one is not told")
    assert _verified(lab) == ()
    one_too_many = _verified(lab, delta={**SESSIONS["delta-1"], "hears": {"but": [64500]}})
    assert [(each.about, each.expected) for each in one_too_many] == [(f"{prefix} to session/delta-1, one of several paths", "nothing")]
    assert "path 64500 via" in one_too_many[0].seen

    alpha.withdraw(prefix)
    until(lambda: paths(delta.heard_paths.get(prefix, {})) == [(64501, 64510)], f"the withdrawn path stays: {delta.heard_paths}")
    until(lambda: gamma.hears(prefix).path == (64501, 64510), "the other one does not take its place")


def test_a_path_that_a_member_may_not_have_is_not_among_several(lab: Lab, many: tuple[int, Speaker]) -> None:
    """AS64500 keeps its route from AS65550, which hears the other one and only that."""
    family, delta = many
    alpha, beta, gamma = (speaker(lab, name, family) for name in ("alpha", "beta", "gamma"))
    prefix = of(ALPHAS, family)
    alpha.announce(prefix, large=[(RS, 0, 65550)])
    beta.announce(prefix, path=[64501, 64510])
    until(lambda: gamma.hears(prefix).path == (64500,), "the best is not told")
    until(lambda: paths(delta.heard_paths.get(prefix, {})) == [(64501, 64510)], f"not this one: {delta.heard_paths}")


def test_several_paths_of_one_member_are_held_and_judged_one_by_one(lab: Lab, many: tuple[int, Speaker]) -> None:
    """AS65550 announces three paths to one prefix, one of which the registries know nothing of; the best of the others is told, then the second."""
    family, delta = many
    alpha = speaker(lab, "alpha", family)
    prefix = of(BETAS, family)
    delta.announce(prefix, path=[65550, 64510], number=7)
    delta.announce(prefix, path=[65550, 65550, 64510], number=8)
    delta.announce(prefix, path=[65550, 64999], number=9)
    until(lambda: alpha.hears(prefix).path == (65550, 64510), f"not the best: {alpha.heard}")
    assert _verified(lab) == ()
    delta.withdraw(prefix, number=7)
    until(
        lambda: alpha.heard.get(prefix) is not None and alpha.heard[prefix].path == (65550, 65550, 64510), f"not the second: {alpha.heard}"
    )
    delta.withdraw(prefix, number=8)
    until(lambda: prefix not in alpha.heard, "what the registries know nothing of is told")
    delta.withdraw(prefix, number=9)


@pytest.mark.parametrize("family", FAMILIES)
def test_who_cannot_take_several_paths_is_told_one_and_nothing_is_hidden_from_it(lab: Lab, family: int) -> None:
    """The route server offers ADD-PATH and the router does not: it is told one path, the best that it may have (RFC 7947, 2.3.1)."""
    alpha, beta, delta = (speaker(lab, name, family) for name in ("alpha", "beta", "delta"))
    prefix = of(ALPHAS, family)
    alpha.announce(prefix, large=[(RS, 0, 65550)])
    beta.announce(prefix, path=[64501, 64510])
    assert delta.hears(prefix).path == (64501, 64510)
    assert _verified(lab, several=0) == ()
    alpha.announce(prefix)
    until(lambda: delta.heard[prefix].path == (64500,), "the best that it may have is not told")


# --- who opens, and what is agreed on then ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_route_server_opens_the_connection_where_it_shall(lab: Lab, family: int) -> None:
    """`passive: false`: AS64504 only listens, and the session comes up."""
    listening, alpha = zeta(lab, family), speaker(lab, "alpha", family)
    alpha.announce(of(ALPHAS, family))
    assert listening.hears(of(ALPHAS, family)).path == (64500,)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_peer_is_told_what_is_for_peers_and_its_own_goes_to_customers_only(lab: Lab, family: int) -> None:
    """RFC 9234, 5, with a local role other than the route server's own: what comes from the peer AS64502 bears its ASN in OTC, and does not reach the
    peer AS64504; what it calls another's is a leak."""
    other_peer = zeta(lab, family)
    alpha, beta, gamma = (speaker(lab, name, family) for name in ("alpha", "beta", "gamma"))
    prefix = of(BETAS, family)
    gamma.announce(prefix, path=[64502, 64510])
    alpha.announce(of(ALPHAS, family))

    assert gamma.offered[9] == [bytes([4])]
    assert beta.offered[9] == [bytes([1])]
    assert beta.hears(prefix).otc == 64502
    assert gamma.hears(of(ALPHAS, family)).otc == RS
    assert other_peer.hears(of(ALPHAS, family)).otc == RS
    assert prefix not in other_peer.heard
    gamma.announce(prefix, path=[64502, 64510], otc=64999)
    until(lambda: prefix not in beta.heard, "a leak is told")
    until(lambda: (prefix, "otc_leak") in {(each.prefix, each.reason) for each in lab.refused("gamma")}, f"no reason: {lab.refused()}")
    gamma.announce(prefix, path=[64502, 64510], otc=64502, med=5)
    until(lambda: prefix in beta.heard and beta.heard[prefix].otc == 64502, "its own OTC is no leak")


def test_a_role_that_does_not_fit_a_peers_is_refused(lab: Lab) -> None:
    """RFC 9234, 4.2: towards AS64502 the route server is a peer, and an rs-client does not fit."""
    gone(lab, "gamma")
    address, server = ends(13, 4)
    until(lambda: _refused(lab, 64502, address, server) == (2, 11), "it comes in")


def _refused(lab: Lab, asn: int, address: str, server: str) -> tuple[int, int] | None:
    wrong = Speaker(lab.members, asn, address, server, 2)
    until(wrong.decided, "nothing is decided")
    wrong.close()
    at_once(lab, address)
    return wrong.notification


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sessions_own_hold_time_is_proposed_to_it_alone(lab: Lab, family: int) -> None:
    """RFC 4271, 4.2: 30 s to AS64503, 90 s to the others."""
    assert speaker(lab, "epsilon", family).hold_time_seconds == 30
    assert speaker(lab, "alpha", family).hold_time_seconds == 90


def test_who_failed_waits_before_it_comes_back(lab: Lab) -> None:
    """Flap hold-down: after an error the session pauses for as long as the policy says. OpenBGPD's pauses are its own, and are refused by name."""
    pauses = {"first_seconds": 3, "longest_seconds": 6, "forget_seconds": 60}
    if lab.daemon == "openbgpd":
        refused_by_name(lab, {"routing-policy/safe": "pauses"}, {"pauses": pauses})
        return
    with otherwise(lab, {"pauses": pauses}):
        gone(lab, "gamma")
        address, server = ends(13, 4)
        until(lambda: _refused(lab, 64502, address, server) == (2, 11), "it comes in")
        failed = time.monotonic()
        tries = 0
        while True:
            again = Speaker(lab.members, 64502, address, server, 4)
            until(again.decided, "nothing is decided")
            if again.up.is_set():
                break
            tries += 1
            again.close()
            assert time.monotonic() - failed < 30, "it never comes back"
            time.sleep(0.1)
        assert tries
        assert time.monotonic() - failed > 2, "it need not wait"
        again.close()


# --- how much may come --------------------------------------------------------------------------------------------------

FOUR = [f"198.18.{number}.0/24" for number in range(20, 24)]


def _counts(lab: Lab, family: int) -> Mapping[str, Any]:
    facts = (lab.statuses()["session/epsilon-1"].facts or {})["rs1"]
    found: Mapping[str, Any] = facts[f"v{family}"]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_above_its_limit_a_session_ends_and_stays_down(lab: Lab, family: int) -> None:
    """It states 3, the margin is 1 route: 4 pass, and refused routes count; the next one ends the session for good (`shutdown`). The other family goes on."""
    other = speaker(lab, "epsilon", 10 - family)
    epsilon = speaker(lab, "epsilon", family)
    for prefix in FOUR[:3]:
        epsilon.announce(of(prefix, family))
    epsilon.announce(of("198.18.99.0/24", family))
    until(lambda: _counts(lab, family)["received"] == 4, f"4 do not arrive: {_counts(lab, family)}")
    assert (_counts(lab, family)["limit"], _counts(lab, family)["accepted"], epsilon.notification) == (4, 3, None)
    epsilon.announce(of(FOUR[3], family))
    until(lambda: epsilon.notification == (6, 1), "no end to it")
    until(lambda: "max-prefix limit reached" in lab.statuses()["session/epsilon-1"].reason, "no reason is given")

    assert other.notification is None
    again = Speaker(lab.members, 64503, *ends(15, family))
    until(again.decided, "nothing is decided")
    assert not again.up.is_set()
    again.close()
    with otherwise(lab, epsilon={"route_servers": False}):  # taken away and put back, it may begin anew
        gone(lab, "epsilon")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_comes_above_a_limit_may_be_left_out_or_only_told(lab: Lab, family: int) -> None:
    """`block` takes no more than the limit, `warn` takes it all and says so; counted is what was received, or what passed. OpenBGPD only ends the
    session, and counts what it receives."""
    if lab.daemon == "openbgpd":
        for action in ("block", "warn"):
            refused_by_name(lab, {"session/epsilon-1": "limit_action"}, epsilon={"limit_action": action})
            refused_by_name(lab, {"routing-policy/safe": "limit_action"}, {"limit_action": action})
        refused_by_name(lab, {"session/epsilon-1": "limit_counts"}, epsilon={"limit_counts": "accepted"})
        refused_by_name(lab, {"routing-policy/safe": "limit_counts"}, {"limit_counts": "accepted"})
        return
    bad = [f"198.18.{number}.0/24" for number in range(96, 100)]
    for action, counts, received, accepted in (("block", "received", 4, 4), ("warn", "received", 10, 6), ("block", "accepted", 10, 4)):
        wanted = {"received": received, "accepted": accepted, "reason": "max-prefix limit reached (4 routes)"}
        with otherwise(lab, epsilon={"limit_action": action, "limit_counts": counts}):
            gone(lab, "epsilon")
            epsilon = speaker(lab, "epsilon", family)
            for prefix in (*FOUR, *bad, "198.18.24.0/24", "198.18.25.0/24"):
                epsilon.announce(of(prefix, family))
            until(
                lambda wanted=wanted: {name: _counts(lab, family)[name] for name in wanted} == wanted,  # type: ignore[misc]
                f"{action} {counts}: {_counts(lab, family)}",
            )
            assert epsilon.notification is None


# --- what is accepted, and what is said of it ---------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_next_hops_are_the_sessions_own_and_those_that_it_names(lab: Lab, family: int) -> None:
    """RFC 7948, 4.8. AS64500's may be any router of its own on the LAN; AS64501's (`strict`) only the session's own address, or one of its list."""
    alpha, beta, delta = (speaker(lab, name, family) for name in ("alpha", "beta", "delta"))
    alpha.announce(of(ALPHAS, family), next_hop=ends(17, family)[0])
    assert delta.hears(of(ALPHAS, family)).next_hop == ends(17, family)[0]
    for host in (12, 201):
        beta.announce(of(BETAS, family), next_hop=ends(host, family)[0])
        until(lambda host=host: delta.hears(of(BETAS, family)).next_hop == ends(host, family)[0], f"{host} is refused")  # type: ignore[misc]
    for host in (18, 11, 202):
        beta.announce(of(BETAS, family), next_hop=ends(host, family)[0])
        until(lambda: of(BETAS, family) not in delta.heard, f"{host} passes")
        until(lambda: [each.reason for each in lab.refused("beta")] == ["next_hop_not_peer_ip"], f"{host}: {lab.refused('beta')}")
        beta.announce(of(BETAS, family))
        delta.hears(of(BETAS, family))


@pytest.mark.parametrize("family", FAMILIES)
def test_routes_of_an_address_family_that_was_not_agreed_on_reach_nobody(lab: Lab, family: int) -> None:
    """RFC 4760: an IPv6 route on an IPv4 session, and the other way round. BIRD passes it over, OpenBGPD ends the session."""
    others = [speaker(lab, name, each) for name in ("alpha", "delta") for each in FAMILIES]
    address, server = ends(18, family)
    second = Speaker(lab.members, 64501, address, server)
    until(second.decided, "beta's second router does not come up")
    second.announce(of(BETAS, 10 - family), next_hop="2001:db8:ffff::18")
    if lab.daemon == "openbgpd":
        until(lambda: second.notification is not None and second.notification[0] == 3, "the session goes on")
    else:
        second.announce(of(ALPHAS, family), path=[64501, 64510])
        speaker(lab, "alpha", family).hears(of(ALPHAS, family))  # what it says afterwards is taken
    assert all(of(BETAS, 10 - family) not in each.heard for each in others)
    assert all(each.prefix != of(BETAS, 10 - family) for each in lab.refused("beta"))
    second.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_exchanges_own_communities_go_with_what_is_said(lab: Lab, family: int) -> None:
    """The states of origin validation, and what the registries said, in communities of the exchange's own, in all three forms; nobody says them in its
    stead, nor RFC 8097's."""
    alpha, delta = speaker(lab, "alpha", family), speaker(lab, "delta", family)
    forged = bytes([0x43, 0, 0, 0, 0, 0, 0, 0])
    lie: dict[str, Any] = {"standard": [(64512, 1), (64512, 9)], "extended": [rt(64512, 2), rt(64512, 9), forged], "large": [(64512, 3, 3)]}
    alpha.announce(of("198.18.6.0/24", family), **lie)
    alpha.announce(of(ALPHAS, family), **lie)
    valid, unknown = delta.hears(of("198.18.6.0/24", family)), delta.hears(of(ALPHAS, family))

    assert valid.standard == {(64512, 1), (64512, 9)}
    assert valid.extended == {rt(64512, 9)}
    assert valid.large == {(64512, 3, 3), (RS, 1000, 1), (RS, 1001, 1)}
    assert unknown.standard == {(64512, 9)}
    assert unknown.extended == {rt(64512, 2), rt(64512, 9)}
    assert unknown.large == {(64512, 3, 3), (RS, 1000, 2), (RS, 1001, 1)}


@pytest.mark.parametrize("family", FAMILIES)
def test_graceful_shutdown_is_obeyed_of_those_of_whom_it_shall_be(lab: Lab, family: int) -> None:
    """RFC 8326: a route of AS64501 that will go yields to a longer one; one of AS64500, whose session says otherwise, does not. The community stays."""
    alpha, beta, delta = (speaker(lab, name, family) for name in ("alpha", "beta", "delta"))
    alpha.announce(of(BETAS, family), path=[64500, 64500, 64510])
    beta.announce(of(BETAS, family), standard=[GRACEFUL_SHUTDOWN])
    alpha.announce(of(ALPHAS, family), standard=[GRACEFUL_SHUTDOWN])
    beta.announce(of(ALPHAS, family), path=[64501, 64510])

    until(lambda: delta.hears(of(BETAS, family)).path == (64500, 64500, 64510), f"what will go is still the best: {delta.heard}")
    until(lambda: delta.hears(of(ALPHAS, family)).path == (64500,), f"it yields: {delta.heard}")
    assert GRACEFUL_SHUTDOWN in delta.heard[of(ALPHAS, family)].standard
    alpha.withdraw(of(BETAS, family))
    until(lambda: delta.hears(of(BETAS, family)).path == (64501,), "the last way is not used")
    assert GRACEFUL_SHUTDOWN in delta.heard[of(BETAS, family)].standard


def test_a_route_server_that_goes_says_so_in_both_families(lab: Lab) -> None:
    """RFC 8326 of the route server itself: on all that it tells, and off again; no session ends."""
    known = {family: (speaker(lab, "alpha", family), speaker(lab, "delta", family)) for family in FAMILIES}
    for family, (alpha, delta) in known.items():
        alpha.announce(of(ALPHAS, family))
        delta.hears(of(ALPHAS, family))
    with otherwise(lab, server={"shutting_down": True}):
        for family, (_, delta) in known.items():
            until(lambda d=delta, f=family: GRACEFUL_SHUTDOWN in d.heard[of(ALPHAS, f)].standard, "it is not said")  # type: ignore[misc]
    for family, (alpha, delta) in known.items():
        until(lambda d=delta, f=family: GRACEFUL_SHUTDOWN not in d.heard[of(ALPHAS, f)].standard, "it is still said")  # type: ignore[misc]
        assert (alpha.notification, delta.notification) == (None, None)


def test_a_refused_route_may_be_forgotten(lab: Lab) -> None:
    """`refused: reject`: it reaches nobody, as ever, and nothing is kept of it."""
    with otherwise(lab, {"refused": "reject"}):
        for family in FAMILIES:
            alpha, delta = speaker(lab, "alpha", family), speaker(lab, "delta", family)
            alpha.announce(of("198.18.5.0/24", family))
            alpha.announce(of(ALPHAS, family))
            delta.hears(of(ALPHAS, family))
            assert of("198.18.5.0/24", family) not in delta.heard
        assert lab.refused() == []


def test_no_export_is_obeyed_where_it_shall_be_and_refused_routes_stay_where_they_shall(lab: Lab) -> None:
    """RFC 1997 obeyed: nobody hears of it. `refused: tag`: the refused route stays in the table with its reason, and reaches nobody either."""
    with otherwise(lab, {"no_export": "obey", "refused": "tag"}):
        for family in FAMILIES:
            alpha, beta, delta = (speaker(lab, name, family) for name in ("alpha", "beta", "delta"))
            beta.announce(of(BETAS, family), standard=[NO_EXPORT])
            alpha.announce(of("198.18.5.0/24", family))
            alpha.announce(of(ALPHAS, family))
            delta.hears(of(ALPHAS, family))
            own = of(BETAS, family)
            until(lambda own=own: own in _held(lab), "it is not even held")  # type: ignore[misc]
            kept = ("alpha", of("198.18.5.0/24", family), "rpki_invalid")
            until(lambda kept=kept: kept in {(each.member, each.prefix, each.reason) for each in lab.refused()}, "its reason is not told")  # type: ignore[misc]
            assert of(ALPHAS, family) in _held(lab)
            assert kept[1] not in _held(lab)
            assert delta.heard.keys() == {of(ALPHAS, family)}


def _held(lab: Lab) -> set[str]:
    """Prefixes of the routes that the route server has accepted."""
    return {each.prefix for each in asyncio.run(routes_of(lab.snapshot, lab, server="rs1"))}


def test_invalid_routes_pass_and_say_so_where_the_policy_only_informs(lab: Lab) -> None:
    """`rpki: tag` (RFC 6811): nothing is refused for its origin; members read the state, in the route server's words and in the exchange's own."""
    says = [*POLICY["said_communities"], {"said": "rpki_invalid", "community": "64512:4"}]
    with otherwise(lab, {"rpki": "tag", "said_communities": says}):
        for family in FAMILIES:
            alpha, delta = speaker(lab, "alpha", family), speaker(lab, "delta", family)
            for prefix in ("198.18.5.0/24", "198.18.6.0/24", ALPHAS):
                alpha.announce(of(prefix, family))
            states = {prefix: delta.hears(of(prefix, family)) for prefix in ("198.18.5.0/24", "198.18.6.0/24", ALPHAS)}
            assert [sorted(each.large)[1:] for each in states.values()] == [[(RS, 1000, n), (RS, 1001, 1)] for n in (4, 1, 2)]
            assert [each.standard for each in states.values()] == [{(64512, 4)}, {(64512, 1)}, frozenset()]


def test_local_text_takes_effect(lab: Lab) -> None:
    """A LocalSnippet in the daemon's own language changes the routes that it is about, and no others."""
    text = {"bird": "if bgp_path.first = 64500 then bgp_med = 42;", "openbgpd": "match from AS 64500 set metric 42"}[lab.daemon]
    where = {"policy": "safe", "daemon": lab.daemon, "place": "import", "answers": "contact:noc", "why": "a test"}
    plain = lab.snapshot
    lab.configure(plain.replaced([LocalSnippet.model_validate({"name": "med", "text": text, **where})]))
    for family in FAMILIES:
        alpha, beta, delta = (speaker(lab, name, family) for name in ("alpha", "beta", "delta"))
        alpha.announce(of(ALPHAS, family))
        beta.announce(of(BETAS, family))
        assert (delta.hears(of(ALPHAS, family)).med, delta.hears(of(BETAS, family)).med) == (42, None)
    lab.configure(plain)


# --- restarts and farewells ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_member_that_restarts_keeps_its_routes_meanwhile(lab: Lab, family: int) -> None:
    """RFC 4724: AS64501's router asks for it, dies without a word, and comes back with less to say. What it has not said again goes when it has said all."""
    address, server = ends(18, family)
    delta = speaker(lab, "delta", family)
    second = Speaker(lab.members, 64501, address, server, restarts_seconds=60)
    until(second.decided, "it does not come up")
    second.announce(of(BETAS, family))
    second.announce(of(ALPHAS, family), path=[64501, 64510])
    for each in (ALPHAS, BETAS):
        delta.hears(of(each, family))
    second.close(silently=True)
    until(lambda: not lab.protocols()[f"c_beta_2_v{family}"].established, "its death is not noticed")
    assert {of(ALPHAS, family), of(BETAS, family)} <= delta.heard.keys()

    back = Speaker(lab.members, 64501, address, server, restarts_seconds=60)
    until(back.decided, "it does not come back")
    assert back.up.is_set()
    back.announce(of(BETAS, family))
    back.end_of_rib()
    until(lambda: of(ALPHAS, family) not in delta.heard, "what it has not said again stays")
    assert of(BETAS, family) in delta.heard
    back.close()


def test_a_member_reads_why_the_route_server_goes(lab: Lab) -> None:
    """RFC 9003: every session ends with Administrative Shutdown and the operator's words."""
    known = [speaker(lab, name, family) for name in ("alpha", "delta") for family in FAMILIES]
    asyncio.run(lab.driver.drive(lab.host_, "rs1", None))
    for each in known:
        until(lambda each=each: each.notification is not None, "no word of farewell")  # type: ignore[misc]
    assert {(each.notification, each.farewell) for each in known} == {((6, 2), FAREWELL)}
    lab.speakers.clear()
    lab.configure(lab.snapshot)


BIRD_MEMBER = """log "{log}" all;
router id 192.0.2.12;
protocol device {{}}
protocol bfd {{}}
protocol static {{ ipv4; route 203.0.113.0/24 blackhole; }}
protocol static {{ ipv6; route {six} blackhole; }}
template bgp to_rs {{ local as 64501; local role rs_client; enforce first as off; connect delay time 1; connect retry time 1; error wait time 1, 1; {more} }}
protocol bgp to4 from to_rs {{ source address 192.0.2.12; neighbor 192.0.2.1 as 139136; ipv4 {{ import all; export all; next hop self; }}; }}
protocol bgp to6 from to_rs {{ source address 2001:db8:ffff::12; neighbor 2001:db8:ffff::1 as 139136; ipv6 {{ import all; export all; next hop self; }}; }}
"""


@contextlib.contextmanager
def bird_as_beta(lab: Lab, folder: Path, more: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[str], str]]]:
    """AS64501's router, a BIRD: the process, and what it answers when asked."""
    gone(lab, "beta")
    (folder / "b.conf").write_text(BIRD_MEMBER.format(six=six(BETAS), more=more, log=folder / "log"))
    command = ["nsenter", f"--net=/run/netns/{lab.members}", "bird", "-f", "-c", str(folder / "b.conf"), "-s", str(folder / "b.ctl")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def asked(question: str) -> str:
        return subprocess.run(["birdc", "-s", str(folder / "b.ctl"), *question.split()], check=False, capture_output=True, text=True).stdout

    try:
        yield process, asked
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(10)


def _both_up(lab: Lab) -> bool:
    return all(lab.protocols()[f"c_beta_1_v{family}"].established for family in FAMILIES)


def test_bfd_tells_at_once_that_a_member_is_gone(lab: Lab, tmp_path: Path) -> None:
    """RFC 5880 with a BIRD for a member: it hangs, its connection stands, and its routes go long before the hold time of 90 s is over."""
    if lab.daemon == "openbgpd":
        refused_by_name(lab, {"session/beta-1": "bfd"}, beta={"bfd": True})
        return
    with otherwise(lab, beta={"bfd": True}), bird_as_beta(lab, tmp_path, "bfd on;") as (process, asked):
        delta = {family: speaker(lab, "delta", family) for family in FAMILIES}
        for family, each in delta.items():
            until(lambda f=family, e=each: of(BETAS, f) in e.heard, "its routes do not arrive", 240)  # type: ignore[misc]
        until(lambda: asked("show bfd sessions").count(" Up ") == 2, f"no BFD: {asked('show bfd sessions')}", 240)
        process.send_signal(signal.SIGSTOP)
        hung = time.monotonic()
        until(lambda: all(of(BETAS, family) not in each.heard for family, each in delta.items()), "its routes stay", 240)
        assert time.monotonic() - hung < 60
        assert "BFD session down" in lab.statuses()["session/beta-1"].reason


FRR_MEMBER = """! daemons: zebra bgpd bfdd
frr defaults traditional
no zebra nexthop kernel enable
ip route 203.0.113.0/24 blackhole
router bgp 64501
 bgp router-id 192.0.2.12
 no bgp ebgp-requires-policy
 neighbor 192.0.2.1 remote-as 139136
 neighbor 192.0.2.1 update-source 192.0.2.12
 neighbor 192.0.2.1 bfd
 neighbor 2001:db8:ffff::1 remote-as 139136
 neighbor 2001:db8:ffff::1 update-source 2001:db8:ffff::12
 neighbor 2001:db8:ffff::1 bfd
 !
 address-family ipv4 unicast
  network 203.0.113.0/24
  no neighbor 2001:db8:ffff::1 activate
 exit-address-family
 !
 address-family ipv6 unicast
  neighbor 2001:db8:ffff::1 activate
 exit-address-family
exit
"""


@pytest.mark.skipif(shutil.which("vtysh") is None, reason="frr is not installed")
def test_bfd_with_a_member_of_another_make(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same with FRR, whose bfdd and bgpd are processes of their own."""
    if lab.daemon == "openbgpd":
        pytest.skip("refused by name, as the claim before shows")
    home = tmp_path_factory.mktemp("frr")
    for each in (home, *home.parents[:3]):
        each.chmod(each.stat().st_mode | 0o055)  # FRR is not root
    member = NamespaceHost(lab.members, str(home))
    gone(lab, "beta")
    with otherwise(lab, beta={"bfd": True}):
        try:
            asyncio.run(FRR.drive(member, "beta", FRR_MEMBER.encode()))
            until(lambda: _both_up(lab), f"it does not come up: {lab.statuses()['session/beta-1'].reason}", 240)
            sessions = ["birdc", "-s", f"{lab.host_.home}/bird/rs1/bird.ctl", "show", "bfd", "sessions"]
            until(lambda: subprocess.run(sessions, check=True, capture_output=True).stdout.count(b" Up ") == 2, "no BFD", 240)
            names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in _processes(lab.members)}
            hung = [pid for pid, name in names.items() if name in ("bgpd", "bfdd")]
            for pid in hung:
                os.kill(pid, signal.SIGSTOP)
            until(lambda: "BFD session down" in lab.statuses()["session/beta-1"].reason, "it is not noticed", 240)
            for pid in hung:
                os.kill(pid, signal.SIGCONT)
        finally:
            asyncio.run(FRR.drive(member, "beta", None))


def _processes(namespace: str) -> list[int]:
    found = subprocess.run(["ip", "netns", "pids", namespace], check=True, capture_output=True, text=True)
    return [int(each) for each in found.stdout.split()]


def test_members_keep_what_a_restarting_route_server_told_them(lab: Lab, tmp_path: Path) -> None:
    """RFC 4724 of the route server itself: killed and started again, it is never without AS64500's route in the table of AS64501's BIRD. OpenBGPD grants
    this to members and does not ask for it itself: refused by name."""
    if lab.daemon == "openbgpd":
        for field in ("graceful_restart_seconds", "long_lived_seconds"):
            refused_by_name(lab, {"routing-policy/safe": field}, {field: 60})
        return
    with otherwise(lab, {"graceful_restart_seconds": 60, "long_lived_seconds": 600}), bird_as_beta(lab, tmp_path, "") as (_, asked):
        alpha = speaker(lab, "alpha", 4)
        alpha.announce(ALPHAS, next_hop=ELSEWHERE)
        until(lambda: ALPHAS in asked(f"show route {ALPHAS}"), f"the route does not arrive: {asked('show protocols all to4')}", 240)
        assert alpha.offered[64][0][:2] == bytes([0, 60])
        assert alpha.offered[71][0][:3] == bytes([0, 1, 1])  # IPv4 unicast, for so long
        assert int.from_bytes(alpha.offered[71][0][4:7], "big") == 600
        started = next(pid for pid in _processes(lab.host_.name) if Path(f"/proc/{pid}/comm").read_text().strip() == "bird")
        os.kill(started, signal.SIGKILL)
        until(lambda: "Established" not in asked("show protocols to4"), "its death is not noticed")
        lab.speakers.clear()
        kept = ALPHAS in asked(f"show route {ALPHAS}")

        def back() -> bool:
            nonlocal kept
            kept = kept and ALPHAS in asked(f"show route {ALPHAS}")
            return _both_up(lab)

        lab.configure(lab.snapshot)
        until(back, "the member's session does not come back", 240)
        for _ in range(10):  # AS64500 is not there yet, and nobody has said that all is told
            back()
            time.sleep(0.05)
        assert kept, "the member was without the route"
        speaker(lab, "alpha", 4).announce(ALPHAS, next_hop=ELSEWHERE)
        until(lambda: ALPHAS in _held(lab), "it is not taken")
        assert ALPHAS in asked(f"show route {ALPHAS}")


# --- further away, and signed -------------------------------------------------------------------------------------------


def test_a_router_several_hops_away(lab: Lab) -> None:
    """`multihop`: AS64501's router is not on the LAN; its route is preferred where it is shorter, though the route server knows no way to its next hop.
    OpenBGPD would put itself into the next hop: refused by name."""
    far = {"multihop": 2, "v4": "10.99.0.12", "v6": "2001:db8:99::12", "next_hops": [], "next_hop": None}
    if lab.daemon == "openbgpd":
        refused_by_name(lab, {"session/beta-1": "multihop"}, {"path_hiding_solved": False}, beta=far)
        return
    for address, network, way in (
        ("10.99.0.12/32", "10.99.0.0/24", "192.0.2.12"),
        ("2001:db8:99::12/128", "2001:db8:99::/64", "2001:db8:ffff::12"),
    ):
        subprocess.run(["ip", "-n", lab.members, "address", "replace", address, "dev", "lo"], check=True)
        subprocess.run(["ip", "-n", lab.host_.name, "route", "replace", network, "via", way], check=True)
    gone(lab, "beta")
    with otherwise(lab, {"path_hiding_solved": False}, beta=far):
        assert judge(lab.snapshot, PLANE.rules) == ()
        for family, address, server in ((4, "10.99.0.12", "192.0.2.1"), (6, "2001:db8:99::12", "2001:db8:ffff::1")):
            beta = Speaker(lab.members, 64501, address, server, hops=2)
            until(beta.decided, "it does not come up")
            assert beta.up.is_set()
            alpha, delta = speaker(lab, "alpha", family), speaker(lab, "delta", family)
            alpha.announce(of(ALPHAS, family), path=[64500, 64510])
            beta.announce(of(ALPHAS, family))
            until(lambda d=delta, f=family: d.hears(of(ALPHAS, f)).path == (64501,), f"not the shorter one: {delta.heard}")  # type: ignore[misc]
            assert delta.heard[of(ALPHAS, family)].next_hop == address
            beta.close()


def test_segments_signed_by_tcp_ao_are_refused_by_name_where_they_cannot_be(lab: Lab) -> None:
    """TCP-AO (RFC 5925) needs BIRD 2.17 and a kernel that has it; OpenBGPD has none on Linux. Either is said before anything is touched."""
    signed = {"tcp_ao": {"id": 1, "secret": "secret:beta"}}
    if lab.daemon == "openbgpd":
        refused_by_name(lab, {"session/beta-1": "tcp_ao"}, beta=signed)
        return
    snapshot = changed(lab.snapshot, {}, {}, {"beta-1": signed})
    driver = lab.driver
    assert isinstance(driver, Asking)
    lacking = asyncio.run(driver.lacks(lab.host_, lab.compiled(snapshot)))
    possible = b" tcp_inbound_ao_hash\n" in Path("/proc/kallsyms").read_bytes()
    old = any("needs BIRD 2.17" in each.what for each in lacking)
    assert [each.resource for each in lacking] == ([] if possible and not old else ["session/beta-1"])
    assert all("TCP-AO" in each.what and "TCP MD5" in each.mend for each in lacking)


# --- at last: a policy that hides -----------------------------------------------------------------------------------------


def test_with_path_hiding_left_several_paths_still_reach_who_can_take_them(lab: Lab) -> None:
    """`path_hiding_solved: false`: the best is not for AS65550 nor for AS64502. The one hears the second best by ADD-PATH, the other nothing."""
    with otherwise(lab, {"path_hiding_solved": False}):
        for family in FAMILIES:
            gone(lab, "delta")
            prefix = of(ALPHAS, family)
            delta = Speaker(lab.members, 65550, *ends(14, family), paths=True)
            until(delta.decided, "delta does not come up")
            alpha, beta, gamma, epsilon = (speaker(lab, name, family) for name in ("alpha", "beta", "gamma", "epsilon"))
            alpha.announce(prefix, large=[(RS, 0, 65550), (RS, 0, 64502)])
            until(lambda e=epsilon, p=prefix: p in e.heard, "the best is not told")  # type: ignore[misc]
            beta.announce(prefix, path=[64501, 64510])
            until(lambda d=delta, p=prefix: paths(d.heard_paths.get(p, {})) == [(64501, 64510)], f"not this one: {delta.heard_paths}")  # type: ignore[misc]
            assert epsilon.heard[prefix].path == (64500,)
            assert prefix not in gamma.heard
            delta.close()
