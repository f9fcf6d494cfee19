"""What a policy may say beyond the ordinary, on route servers of both makes: wishes about groups and round-trip times, who hears whom, exceptions with
an end, communities of one's own. Whatever BIRD tells a member, OpenBGPD tells it as well.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnix.daemons import openbgpd
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refused, judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Port
from nnix.planes.members.kinds import Member
from nnix.planes.routing.kinds import RouteServer, RoutingException, RoutingPolicy, Session
from nnix.planes.routing.plane import PLANE
from tests.lab.test_route_server import (
    BLACKHOLE,
    DRIVERS,
    GRACEFUL_SHUTDOWN,
    NO_EXPORT,
    RS,
    TCP_MD5SIG,
    VRPS,
    Lab,
    Speaker,
    exchange,
    inside,
    md5_key,
    rt,
    running,
    until,
)

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
    pytest.mark.skipif(not Path(openbgpd.PROGRAM).exists(), reason="openbgpd is not installed"),
]

KEY = b"a key of zeta's"
NO_ADVERTISE = (65535, 65282)
SAYS = {(RS, 1000, 2), (RS, 1001, 1)}
POLICY: dict[str, Any] = {
    "groups": [{"number": 571, "title": "the two", "members": ["gamma", "delta"]}],
    "rtt_thresholds": [5, 20],
    "short_asns": [{"asn": 65550, "short": 64600}],
    "blacklist": ["198.18.90.0/24"],
    "blackhole_communities": ["65010:666"],
    "reason_communities": [{"reason": "rpki_invalid", "community": "65010:4"}],
    "refused_tells_announcer": True,
    "transit_free_warns": True,
}
SESSIONS: dict[str, dict[str, Any]] = {
    "alpha": {"communities": ["64500:77"], "blacklist": ["198.18.40.0/24"]},
    "gamma": {"rtt": "5ms", "blackhole": True, "blackhole_community": "64502:666", "blackhole_community_alone": True},
    "delta": {"rtt": "30ms", "prepend_route_server": True},
    "epsilon": {"announces": {"but": [64502]}, "irr": "strict"},
    "zeta": {"hears": {"only": [64501]}, "role_strict": False, "password": "secret:zeta", "gtsm": True},
}


def wide(daemon: str) -> Snapshot:
    plain = exchange(daemon)
    policy = plain.of(RoutingPolicy)[0]
    sessions = [next(each for each in plain.of(Session) if each.name == f"{name}-1") for name in SESSIONS]
    let_off = {"session": "beta-1", "until": "2099-01-01T00:00:00Z", "answers": "contact:noc", "why": "a test"}
    return plain.replaced(
        [
            RoutingPolicy.model_validate({**policy.model_dump(mode="json", exclude_defaults=True), **POLICY}),
            *(
                Session.model_validate({**each.model_dump(mode="json", exclude_defaults=True), **changes})
                for each, changes in zip(sessions, SESSIONS.values(), strict=True)
            ),
            RoutingException.model_validate({"name": "beta", **let_off, "prefixes": [{"prefix": "198.18.95.0/24", "le": 24}]}),
            RoutingException.model_validate(
                {"name": "beta-too", **let_off, "prefixes": [{"prefix": "198.18.96.0/24", "origin": 64509}], "origins": [64508]}
            ),
        ]
    )


@pytest.fixture(scope="module", params=sorted(DRIVERS))
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("wide")
    (home / "secrets").mkdir()
    (home / "secrets/zeta").write_bytes(KEY)
    with running(request.param, wide(request.param), home) as lab:
        lab.speakers["zeta4"] = Speaker(lab.members, 64504, "192.0.2.16", "192.0.2.1", key=KEY, hops=255)
        yield lab


@pytest.mark.parametrize("daemon", sorted(DRIVERS))
def test_the_exchange_of_these_tests_is_admitted(daemon: str) -> None:
    """What follows is about an exchange that the rules admit."""
    assert judge(wide(daemon), PLANE.rules) == ()


PREFIX = "203.0.113.0/24"
TOLD: tuple[tuple[str, dict[str, Any], dict[str, int], dict[str, set[tuple[int, int]]]], ...] = (
    # what AS64501 sends, how often its ASN stands in the path that each hears (0: nothing), and which standard communities came with it
    ("not to the group", {"large": [(RS, 10, 571)]}, {"alpha": 1, "gamma": 0, "delta": 0, "epsilon": 1}, {}),
    ("not to the group, standard", {"standard": [(65410, 571)]}, {"alpha": 1, "gamma": 0, "delta": 0, "epsilon": 1}, {}),
    ("not to the group, extended", {"extended": [rt(65410, 571)]}, {"alpha": 1, "gamma": 0, "delta": 0, "epsilon": 1}, {}),
    ("to none but the group", {"large": [(RS, 0, 0), (RS, 11, 571)]}, {"alpha": 0, "gamma": 1, "delta": 1, "epsilon": 0}, {}),
    ("one beats its group", {"large": [(RS, 10, 571), (RS, 1, 64502)]}, {"alpha": 1, "gamma": 1, "delta": 0, "epsilon": 1}, {}),
    ("no such group", {"large": [(RS, 10, 999)]}, {"alpha": 1, "gamma": 1, "delta": 1, "epsilon": 1}, {}),
    ("not to the near", {"large": [(RS, 20, 5)]}, {"alpha": 1, "gamma": 0, "delta": 1, "epsilon": 1}, {}),
    ("not to the far", {"large": [(RS, 30, 20)]}, {"alpha": 1, "gamma": 1, "delta": 0, "epsilon": 1}, {}),
    ("prepend to the far, standard", {"standard": [(65434, 20)]}, {"alpha": 1, "gamma": 1, "delta": 4, "epsilon": 1}, {}),
    ("the group beats all", {"large": [(RS, 101, 0), (RS, 113, 571)]}, {"alpha": 2, "gamma": 4, "delta": 4, "epsilon": 2}, {}),
    ("stood for, not to", {"standard": [(0, 64600)]}, {"alpha": 1, "gamma": 1, "delta": 0, "epsilon": 1}, {}),
    ("stood for, prepend", {"standard": [(65502, 64600)]}, {"alpha": 1, "gamma": 1, "delta": 3, "epsilon": 1}, {}),
    ("no-export to all", {"large": [(RS, 104, 0)]}, {"alpha": 1, "gamma": 1, "delta": 1, "epsilon": 1}, {"alpha": {NO_EXPORT}}),
    ("no-advertise to one", {"standard": [(65505, 64502)]}, {"alpha": 1, "gamma": 1, "delta": 1, "epsilon": 1}, {"gamma": {NO_ADVERTISE}}),
)


def test_who_has_the_key_comes_in_and_no_other(lab: Lab) -> None:
    """TCP MD5 (RFC 2385): another key, or none, is not even answered; and the key stands in no log."""
    until(lab.speakers["zeta4"].decided, "who has the key does not come in")
    assert lab.speakers["zeta4"].up.is_set()
    for key in (b"another key", b""):
        with inside(lab.members):
            stranger = socket.socket(socket.AF_INET6)
        with contextlib.closing(stranger):
            stranger.settimeout(0.3)
            stranger.bind(("2001:db8:ffff::16", 0))
            if key:
                stranger.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, md5_key("2001:db8:ffff::1", key))
            with pytest.raises(TimeoutError):
                stranger.connect(("2001:db8:ffff::1", 179))
    logs = [each.read_bytes() for each in Path(lab.host_.home).rglob("*log*") if each.is_file()]
    assert logs
    assert not any(KEY in each for each in logs)


def test_who_is_not_next_door_is_not_heard(lab: Lab) -> None:
    """GTSM (RFC 5082): packets with a TTL below 255 may have come from anywhere, also with the right key. No session comes of them."""
    until(lab.speakers["zeta4"].decided, "who is next door does not come in")
    far = Speaker(lab.members, 64504, "2001:db8:ffff::16", "2001:db8:ffff::1", key=KEY, hops=254)
    far.up.wait(0.5)  # what came with the connection is read; the KEEPALIVE that would complete the session is not

    assert lab.protocols()["c_zeta_1_v4"].established
    assert not lab.protocols()["c_zeta_1_v6"].established
    far.close()


def test_wishes_reach_groups_and_bands_of_round_trip_time(lab: Lab) -> None:
    """Every aim in its spellings: a wish about one beats one about its groups and bands, and that beats one about all; nothing of it stays on the route."""
    beta = lab.speaker("beta")
    others = {name: lab.speaker(name) for name in ("alpha", "gamma", "delta", "epsilon")}
    for number, (what, sent, wanted, added) in enumerate(TOLD):
        beta.announce(PREFIX, med=1000 + number, **sent)

        def as_wished(number: int = number, wanted: dict[str, int] = wanted) -> bool:
            heard = {name: each.heard.get(PREFIX) for name, each in others.items()}
            return wanted == {
                name: sum(asn == 64501 for asn in told.path) if told and told.med == 1000 + number else 0 if told is None else -1
                for name, told in heard.items()
            }

        until(as_wished, f"{what}: { ({name: each.heard.get(PREFIX) for name, each in others.items()}) }", 5)
        for name, each in others.items():
            told = each.heard.get(PREFIX)
            if told is not None:
                standard = set().union(*added.values()) if "all" in what and added else added.get(name, set())
                assert (set(told.standard), told.extended, set(told.large)) == (standard, frozenset(), SAYS), (what, name)
                assert told.path[: len(told.path) - wanted[name]] == ((RS,) if name == "delta" else ()), (what, name)
    beta.withdraw(PREFIX)


def test_who_hears_whom(lab: Lab) -> None:
    """AS64503 does not announce to AS64502, as if it had said so; AS64504 hears AS64501 alone. The member's wishes hold besides."""
    beta, epsilon = lab.speaker("beta"), lab.speaker("epsilon")
    alpha, gamma, zeta = lab.speaker("alpha"), lab.speaker("gamma"), lab.speaker("zeta")
    epsilon.announce("198.18.20.0/24")
    beta.announce(PREFIX)
    for each in (gamma, zeta):
        each.hears(PREFIX)
    told = alpha.hears("198.18.20.0/24")

    assert (told.path, set(told.large)) == ((64503,), SAYS)
    assert "198.18.20.0/24" not in gamma.heard
    assert set(zeta.heard) == {PREFIX}
    epsilon.withdraw("198.18.20.0/24")
    beta.withdraw(PREFIX)


def test_what_an_exception_lets_pass_is_said(lab: Lab) -> None:
    """A prefix from any of its origins, a prefix from a certain one, an origin more: these and nothing else."""
    alpha, beta = lab.speaker("alpha"), lab.speaker("beta")
    beta.announce("198.18.95.0/24")
    beta.announce("198.18.96.0/24", path=[64501, 64509])
    beta.announce("198.18.97.0/24", path=[64501, 64509])
    beta.announce("198.18.98.0/24", path=[64501, 64508])
    assert set(alpha.hears("198.18.95.0/24").large) == SAYS
    assert set(alpha.hears("198.18.96.0/24").large) == {(RS, 1000, 2), (RS, 1001, 3)}
    until(
        lambda: (
            {(each.prefix, each.reason) for each in lab.refused("beta")}
            == {("198.18.97.0/24", "irrdb_origin_as_filtered"), ("198.18.98.0/24", "irrdb_prefix_filtered")}
        ),
        "not these are refused",
    )
    for number in range(95, 99):
        beta.withdraw(f"198.18.{number}.0/24")


def test_communities_of_a_members_own_are_its_own(lab: Lab) -> None:
    """64500:77 stands on what AS64500 announces, and on nothing else, whoever sends it."""
    alpha, beta, gamma = lab.speaker("alpha"), lab.speaker("beta"), lab.speaker("gamma")
    alpha.announce("198.18.6.0/24", standard=[(64500, 1)])
    beta.announce(PREFIX, standard=[(64500, 77), (64500, 78)])

    assert gamma.hears("198.18.6.0/24").standard == {(64500, 1), (64500, 77)}
    assert gamma.hears(PREFIX).standard == {(64500, 78)}
    alpha.withdraw("198.18.6.0/24")
    beta.withdraw(PREFIX)


def test_lists_of_refused_prefixes_and_what_a_refusal_tells(lab: Lab) -> None:
    """The exchange's list and the session's; a reason's own community and the announcer's ASN reach nobody."""
    alpha, beta = lab.speaker("alpha"), lab.speaker("beta")
    alpha.announce("198.18.90.128/25")
    alpha.announce("198.18.40.0/24")
    alpha.announce("198.18.5.0/24")
    beta.announce("198.18.40.0/24")
    until(
        lambda: (
            {(each.member, each.prefix, each.reason) for each in lab.refused()}
            == {
                ("alpha", "198.18.90.128/25", "blacklisted"),
                ("alpha", "198.18.40.0/24", "blacklisted"),
                ("alpha", "198.18.5.0/24", "rpki_invalid"),
                ("beta", "198.18.40.0/24", "irrdb_prefix_filtered"),
            }
        ),
        "not these are refused",
    )
    for prefix in ("198.18.90.128/25", "198.18.40.0/24", "198.18.5.0/24"):
        alpha.withdraw(prefix)
    beta.withdraw("198.18.40.0/24")


def test_a_leak_that_is_only_warned_of_is_said(lab: Lab) -> None:
    """transit_free_warns: the route passes and says RS:1003:1."""
    alpha, beta = lab.speaker("alpha"), lab.speaker("beta")
    alpha.announce("198.51.100.0/24", path=[64500, 64506, 64510])

    assert set(beta.hears("198.51.100.0/24").large) == {*SAYS, (RS, 1003, 1)}
    alpha.withdraw("198.51.100.0/24")


def test_a_blackhole_by_another_name_reaches_each_under_its_own(lab: Lab) -> None:
    """65010:666 means BLACKHOLE here; AS64502 has it as 64502:666 and nothing else."""
    alpha, beta, gamma = lab.speaker("alpha"), lab.speaker("beta"), lab.speaker("gamma")
    alpha.announce("198.51.100.7/32", standard=[(65010, 666)])

    assert beta.hears("198.51.100.7/32").standard == {BLACKHOLE, NO_EXPORT, (64500, 77)}
    assert gamma.hears("198.51.100.7/32").standard == {(64502, 666), NO_EXPORT, (64500, 77)}
    alpha.withdraw("198.51.100.7/32")


def test_paths_are_held_against_aspas(lab: Lab) -> None:
    """Who has named its providers is not reached through another; who has named none is unknown. Refused, or only said (RS:1002:…)."""
    plain = lab.snapshot
    policy = plain.of(RoutingPolicy)[0]
    vrps = {**VRPS, "aspas": [{"customer_asid": 64510, "providers": [64500]}]}
    judging = {how: plain.replaced([policy.changed(aspa=how)]) for how in ("reject", "tag")}
    if lab.daemon == "openbgpd":  # whose 8.8 forgets it with the next change of rules, and lets the route pass: refused by name
        with pytest.raises(Refused) as refused:
            lab.configure(judging["reject"], vrps)
        assert {each.field for each in refused.value.refusals} == {"aspa"}
        lab.configure(plain)
        return
    if lacking := lab.lacks(judging["reject"]):
        pytest.skip(lacking)
    alpha, beta, gamma = lab.speaker("alpha"), lab.speaker("beta"), lab.speaker("gamma")
    lab.configure(judging["reject"], vrps)
    alpha.announce("198.51.100.0/24", path=[64500, 64510])
    beta.announce(PREFIX, path=[64501, 64510])
    beta.announce("198.18.95.0/24", path=[64501, 64508])
    assert set(gamma.hears("198.51.100.0/24").large) == {*SAYS, (RS, 1002, 1)}
    assert set(gamma.hears("198.18.95.0/24").large) == {*SAYS, (RS, 1002, 2)}
    until(lambda: (PREFIX, "aspa_invalid") in {(each.prefix, each.reason) for each in lab.refused("beta")}, "it is not refused")
    assert PREFIX not in gamma.heard
    lab.configure(judging["tag"], vrps)
    assert set(gamma.hears(PREFIX).large) == {*SAYS, (RS, 1002, 3)}
    lab.configure(plain)
    alpha.withdraw("198.51.100.0/24")
    beta.withdraw(PREFIX)
    beta.withdraw("198.18.95.0/24")


def test_ipv4_goes_over_ipv6_to_those_who_can(lab: Lab) -> None:
    """RFC 8950: an IPv4 route with an IPv6 next hop reaches another such member, and none with an IPv4 session; theirs reach it."""
    plain = lab.snapshot
    let_off = {"until": "2099-01-01T00:00:00Z", "answers": "contact:noc", "why": "a test", "prefixes": [{"prefix": "198.18.99.0/24"}]}
    more: list[Resource] = []
    for name, asn, host in (("eta", 64505, 17), ("theta", 64508, 18)):
        session = {"name": f"{name}-1", "member": name, "lan": "lan", "port": name, "v6": f"2001:db8:ffff::{host}", "v4_over_v6": True}
        more += [
            Member.model_validate({"name": name, "title": {"en": name}, "asn": asn, "class": "isp"}),
            Port.model_validate({"name": name, "member": name, "site": "east", "speed": "10G"}),
            Session.model_validate(session),
            RoutingException.model_validate({"name": name, "session": f"{name}-1", **let_off}),
        ]
    if lab.daemon == "openbgpd":  # which would tell of beta's route with its own address for a next hop: refused by name
        with pytest.raises(Refused) as refused:
            lab.configure(plain.replaced(more))
        assert {each.field for each in refused.value.refusals} == {"v4_over_v6"}
        lab.configure(plain)
        return
    lab.configure(plain.replaced(more))
    eta, theta = (
        Speaker(lab.members, asn, f"2001:db8:ffff::{host}", "2001:db8:ffff::1", v4_over_v6=True) for asn, host in ((64505, 17), (64508, 18))
    )
    beta, gamma = lab.speaker("beta"), lab.speaker("gamma")
    try:
        until(lambda: eta.up.is_set() and theta.up.is_set(), "they do not come up")
        eta.announce("198.18.99.0/24")
        beta.announce(PREFIX)
        told = theta.hears("198.18.99.0/24")
        gamma.hears(PREFIX)

        assert (told.path, told.next_hop) == ((64505,), "2001:db8:ffff::17")
        assert "198.18.99.0/24" not in gamma.heard
        assert (theta.hears(PREFIX).path, theta.hears(PREFIX).next_hop) == ((64501,), beta.address)
        theta.announce("198.18.98.0/24")
        until(
            lambda: ("198.18.98.0/24", "irrdb_prefix_filtered") in {(each.prefix, each.reason) for each in lab.refused("theta")}, "passed"
        )
    finally:
        eta.close()
        theta.close()
        lab.configure(plain)
        beta.withdraw(PREFIX)


def test_a_route_server_that_goes_says_so_on_every_route(lab: Lab) -> None:
    """RFC 8326 of the route server itself: GRACEFUL_SHUTDOWN stands on all that it tells, and goes again; no session ends."""
    beta, gamma = lab.speaker("beta"), lab.speaker("gamma")
    beta.announce(PREFIX)
    gamma.hears(PREFIX)
    plain = lab.snapshot
    server = plain.get(RouteServer, "rs1")
    assert server is not None
    lab.configure(plain.replaced([server.changed(shutting_down=True)]))
    until(lambda: GRACEFUL_SHUTDOWN in gamma.heard[PREFIX].standard, "it is not said")
    lab.configure(plain)
    until(lambda: GRACEFUL_SHUTDOWN not in gamma.heard[PREFIX].standard, "it is still said")

    assert (beta.notification, gamma.notification) == (None, None)
    beta.withdraw(PREFIX)
