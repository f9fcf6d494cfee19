"""What the gate serves, judged by an evaluator of its own: RFC 6811 as it is written, over a handful of VRPs and every route that they could concern."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnix.planes.trust import payloads
from nnix.planes.trust.gate import EXPIRY_ASSUMED_SECONDS, Accepted, Content, Outcome, Standing, Verdict, judged, withheld
from nnix.planes.trust.kinds import TrustAnchor
from nnix.planes.trust.objects import PROVIDERS_MAX
from nnix.planes.trust.outputs import Concluded, Found
from nnix.planes.trust.payloads import Network, RouterKey, Vrp, rows_of, vrp_of
from nnix.planes.trust.rtr import wire

NOW = 1_795_600_000
LATER = NOW + 86_400
LAB = TrustAnchor(name="lab", tal="lab.tal", drop_free=0)


def vrp(text: str) -> Vrp:
    """ "10.0.0.0/8-24 AS1" or "10.0.0.0/8 AS1"."""
    prefix, asn = text.split(" AS")
    network, _, longest = prefix.partition("-")
    parsed = ip_network(network)
    return Vrp(parsed, int(longest or parsed.prefixlen), int(asn))


def found(*texts: str, expires: int = LATER) -> Found:
    rows = rows_of(map(vrp, texts))
    return Found(rows, np.full(len(rows), expires, dtype=np.int64))


def verdict(who: str, *texts: str, expires: int = LATER) -> Verdict:
    return Verdict(who, Concluded({"lab": found(*texts, expires=expires)}))


def dead(who: str) -> Verdict:
    return Verdict(who, None, "it ended with status 1")


def before(*texts: str, expires: int = LATER) -> dict[str, Accepted]:
    mine = found(*texts, expires=expires)
    return {"lab": Accepted(mine.rows, mine.expires, Standing.CONFIRMED)}


def served(outcome: Outcome) -> set[str]:
    return {str(each) for each in outcome.served}


def validity(prefix: Network, origin: int, vrps: Iterable[Vrp]) -> str:
    """RFC 6811, section 2."""
    covering = [each for each in vrps if each.prefix.version == prefix.version and prefix.subnet_of(each.prefix)]  # type: ignore[arg-type]
    if not covering:
        return "NotFound"
    return "Valid" if any(each.origin == origin and prefix.prefixlen <= each.length_max for each in covering) else "Invalid"


def test_what_both_say_is_served() -> None:
    outcome = judged(
        [LAB], [verdict("a", "10.0.0.0/8 AS1", "2001:db8::/32-48 AS2"), verdict("b", "2001:db8::/32-48 AS2", "10.0.0.0/8 AS1")], {}, NOW
    )
    assert served(outcome) == {"10.0.0.0/8 AS1", "2001:db8::/32-48 AS2"}
    assert (outcome.anchors["lab"].standing, outcome.findings) == (Standing.CONFIRMED, ())


def test_a_contested_prefix_is_left_without_any_vrp() -> None:
    """The one above it and the one inside it go along, since either would make its route Invalid; the neighbour stays."""
    common = ["10.0.0.0/8 AS1", "10.1.2.0/24 AS3", "10.2.0.0/16 AS4", "11.0.0.0/8 AS5"]
    outcome = judged([LAB], [verdict("a", *common, "10.1.0.0/16 AS2"), verdict("b", *common)], {}, NOW)
    assert served(outcome) == {"10.2.0.0/16 AS4", "11.0.0.0/8 AS5"}
    (contest,) = outcome.contests
    assert str(contest) == "10.1.0.0/16: only a has 10.1.0.0/16 AS2; withheld with it: 10.0.0.0/8 AS1, 10.1.2.0/24 AS3"
    assert validity(IPv4Network("10.1.0.0/16"), 2, outcome.served) == "NotFound"


def test_a_vrp_that_was_withheld_leaves_no_route_of_its_own_invalid() -> None:
    """AS1 may announce 10.2.0.0/16 by its /8. When that is withheld, AS4's VRP for the same /16 must not stand alone."""
    common = ["10.0.0.0/8-24 AS1", "10.2.0.0/16 AS4"]
    outcome = judged([LAB], [verdict("a", *common, "10.1.0.0/16 AS2"), verdict("b", *common)], {}, NOW)
    assert served(outcome) == set()
    assert validity(IPv4Network("10.2.0.0/16"), 1, outcome.served) == "NotFound"


SMALL = st.builds(
    lambda bits, length, more, origin: Vrp(
        IPv4Network((bits << 28 & ~((1 << (32 - length)) - 1) & 0xFFFFFFFF, length)), min(length + more, 4), origin
    ),
    st.integers(0, 15),
    st.integers(0, 4),
    st.integers(0, 2),
    st.integers(1, 3),
)
ROUTES = [
    (prefix, origin) for length in range(5) for prefix in IPv4Network("0.0.0.0/0").subnets(new_prefix=length) for origin in (1, 2, 3, 4)
]


@settings(max_examples=300, deadline=None)
@given(st.sets(SMALL, max_size=6), st.sets(SMALL, max_size=3), st.sets(SMALL, max_size=3))
def test_no_route_that_either_validator_lets_pass_is_invalid(agreed: set[Vrp], only_a: set[Vrp], only_b: set[Vrp]) -> None:
    """I1 and I2, over every route of a world of sixteen addresses and four origins."""
    a, b = agreed | only_a, agreed | only_b
    rows = rows_of(a & b)
    gone, _ = withheld(rows, {"a": rows_of(a - b), "b": rows_of(b - a)})
    left = [vrp_of(row) for index, row in enumerate(rows.tolist()) if index not in set(gone.tolist())]
    assert set(left) <= a & b
    for prefix, origin in ROUTES:
        if validity(prefix, origin, a) != "Invalid" or validity(prefix, origin, b) != "Invalid":
            assert validity(prefix, origin, left) != "Invalid", (prefix, origin)


V6 = st.builds(
    lambda bits, length, more, origin: Vrp(
        IPv6Network((0x20010DB8 << 96 | bits << 60 & ~((1 << (128 - length)) - 1) & ((1 << 128) - 1), length)),
        min(length + more, 128),
        origin,
    ),
    st.integers(0, 255),
    st.integers(60, 68),
    st.integers(0, 3),
    st.integers(1, 2),
)


@settings(max_examples=200, deadline=None)
@given(st.sets(V6, max_size=6), st.sets(V6, min_size=1, max_size=2))
def test_overlap_is_found_across_the_middle_of_an_ipv6_address(agreed: set[Vrp], contested: set[Vrp]) -> None:
    """Addresses are kept in two halves; prefixes on both sides of /64 overlap as they do for `ipaddress`."""
    rows = rows_of(agreed)
    gone, _ = withheld(rows, {"a": rows_of(contested)})
    missing = {vrp_of(rows[index]) for index in gone.tolist()}
    assert {each for each in agreed if any(each.prefix.overlaps(other.prefix) for other in contested)} <= missing


@pytest.mark.parametrize("steps_max", [0, 10_000])
@settings(max_examples=100, deadline=None)
@given(st.sets(SMALL | V6, max_size=12), st.sets(SMALL | V6, max_size=12))
def test_what_two_sets_have_in_common_is_found_both_ways(steps_max: int, a: set[Vrp], b: set[Vrp]) -> None:
    """Going along both, and, for sets that differ much, sorted together."""
    with patch.object(payloads, "STEPS_MAX", steps_max):
        in_a, in_b = payloads.both(rows_of(a), rows_of(b))
    assert {vrp_of(row) for row in rows_of(a)[in_a].tolist()} == {vrp_of(row) for row in rows_of(b)[in_b].tolist()} == a & b


def test_one_dead_validator_leaves_the_other_unconfirmed() -> None:
    outcome = judged([LAB], [dead("a"), verdict("b", "10.0.0.0/8 AS1")], {}, NOW)
    assert served(outcome) == {"10.0.0.0/8 AS1"}
    assert outcome.anchors["lab"].standing is Standing.UNCONFIRMED
    assert outcome.findings == ("a is dead: it ended with status 1", "trust-anchor/lab: unconfirmed, by b alone")


def test_an_empty_result_is_not_taken_for_the_truth() -> None:
    """rpki-client that found everything expired writes no VRP and exits 0."""
    outcome = judged([LAB], [verdict("a"), verdict("b", "10.0.0.0/8 AS1")], {}, NOW)
    assert served(outcome) == {"10.0.0.0/8 AS1"}
    outcome = judged([LAB], [verdict("a"), verdict("b")], before("10.0.0.0/8 AS1"), NOW)
    assert served(outcome) == {"10.0.0.0/8 AS1"}
    assert outcome.anchors["lab"].standing is Standing.HELD


def test_with_nothing_now_and_nothing_before_there_is_nothing_to_serve() -> None:
    outcome = judged([LAB], [dead("a"), dead("b")], {}, NOW)
    assert not outcome.sound
    assert outcome.anchors["lab"].standing is Standing.LOST


MANY = [f"10.0.{number}.0/24 AS1" for number in range(100)]


def test_a_sudden_loss_is_held_and_a_small_one_is_not() -> None:
    """10 of 100 may go at once; the 11th makes the guard hold, until an operator lets go."""

    def both(count: int) -> list[Verdict]:
        return [verdict("a", *MANY[:count]), verdict("b", *MANY[:count])]

    assert len(judged([LAB], both(90), before(*MANY), NOW).served) == 90
    held = judged([LAB], both(89), before(*MANY), NOW)
    assert (len(held.served), held.anchors["lab"].standing) == (100, Standing.HELD)
    assert "--let-go lab" in held.findings[0]
    assert len(judged([LAB], both(89), before(*MANY), NOW, frozenset({"lab"})).served) == 89


def test_what_one_validator_lost_is_contested_and_no_loss() -> None:
    """The guard asks what nobody has any more; here one still has all."""
    outcome = judged([LAB], [verdict("a", *MANY), verdict("b", *MANY[:50])], before(*MANY), NOW)
    assert (len(outcome.served), len(outcome.contests), outcome.anchors["lab"].standing) == (50, 50, Standing.CONFIRMED)


def test_held_vrps_lapse_with_their_certificates() -> None:
    outcome = judged([LAB], [dead("a"), dead("b")], before(*MANY, expires=NOW - 1), NOW)
    assert not outcome.sound
    assert "100 of them lapsed" in outcome.findings[2]


def test_an_expiry_that_nobody_told_is_that_of_last_time_or_eight_hours() -> None:
    outcome = judged([LAB], [dead("a"), verdict("b", "10.0.0.0/8 AS1", "11.0.0.0/8 AS1", expires=0)], before("10.0.0.0/8 AS1"), NOW)
    assert outcome.anchors["lab"].expires.tolist() == [LATER, NOW + EXPIRY_ASSUMED_SECONDS]


def test_an_anchor_is_believed_inside_its_constraints_only() -> None:
    anchor = LAB.changed(only=["10.0.0.0/8"], never=["10.9.0.0/16"])
    said = ["10.1.0.0/16 AS1", "10.9.1.0/24 AS1", "10.8.0.0/15 AS1", "11.0.0.0/8 AS1", "2001:db8::/32 AS1"]
    outcome = judged([anchor], [verdict("a", *said), verdict("b", *said)], {}, NOW)
    assert served(outcome) == {"10.1.0.0/16 AS1"}
    assert "a has 4 VRPs outside its constraints" in outcome.findings[0]


def test_one_anchors_trouble_is_not_anothers() -> None:
    other = TrustAnchor(name="other", tal="other.tal", drop_free=0)
    a = Verdict("a", Concluded({"lab": found("10.0.0.0/8 AS1"), "other": found("11.0.0.0/8 AS1")}))
    b = Verdict("b", Concluded({"lab": found("10.0.0.0/8 AS1")}))
    outcome = judged([LAB, other], [a, b], {}, NOW)
    assert [outcome.anchors[name].standing for name in ("lab", "other")] == [Standing.CONFIRMED, Standing.UNCONFIRMED]


KEY = RouterKey(1, "00" * 20, "MFk=")


@pytest.mark.parametrize(
    ("theirs", "served_too", "told"),
    [
        ({1: {2, 3}}, True, ""),
        ({1: {2}}, False, "ASPA of AS1: withheld, since a: AS2, AS3; b: AS2"),
        ({}, False, "ASPA of AS1: withheld, since a: AS2, AS3; b: none"),
        (None, True, "1 ASPAs unconfirmed: only a validates them"),
    ],
)
def test_aspas_pass_when_those_who_read_them_agree(theirs: dict[int, set[int]] | None, served_too: bool, told: str) -> None:
    a = Verdict("a", Concluded({"lab": found("10.0.0.0/8 AS1")}, {1: frozenset({2, 3})}), reads=frozenset({"aspa"}))
    sets = {customer: frozenset(providers) for customer, providers in (theirs or {}).items()}
    b = Verdict("b", Concluded({"lab": found("10.0.0.0/8 AS1")}, sets), reads=frozenset() if theirs is None else frozenset({"aspa"}))
    outcome = judged([LAB], [a, b], {}, NOW)
    assert outcome.served.aspas == ({1: frozenset({2, 3})} if served_too else {})
    assert "".join(outcome.findings) == told


def test_a_router_key_that_only_one_of_two_readers_has_is_withheld() -> None:
    """Where only one of them reads router keys, its word is taken, unconfirmed."""
    router_key = frozenset({"router-key"})
    a = Verdict("a", Concluded({"lab": found("10.0.0.0/8 AS1")}, router_keys=frozenset({KEY})), reads=router_key)
    b = verdict("b", "10.0.0.0/8 AS1")
    outcome = judged([LAB], [a, Verdict("b", b.concluded, reads=router_key)], {}, NOW)
    assert outcome.served.router_keys == frozenset()
    assert "only a has it" in outcome.findings[0]
    outcome = judged([LAB], [a, b], {}, NOW)
    assert outcome.served.router_keys == {KEY}
    assert outcome.findings == ("1 router keys unconfirmed: only a validates them",)


def test_more_providers_than_a_router_can_be_told_of_are_withheld() -> None:
    """Else one CA would keep every cache from its next set: the document would be refused whole."""
    many = frozenset(range(1, PROVIDERS_MAX + 2))
    sides = [
        Verdict(who, Concluded({"lab": found("10.0.0.0/8 AS1")}, {1: many, 2: frozenset({3})}), reads=frozenset({"aspa"})) for who in "ab"
    ]
    outcome = judged([LAB], sides, {}, NOW)
    assert outcome.served.aspas == {2: frozenset({3})}
    assert outcome.findings == (
        f"ASPA of AS1: withheld, since {len(many)} providers are more than a router can be told of (at most {PROVIDERS_MAX})",
    )
    assert PROVIDERS_MAX <= wire.PROVIDERS_MAX


def test_as_many_providers_as_a_router_can_be_told_of_are_served() -> None:
    """At the very bound, one more of which is withheld."""
    most = frozenset(range(1, PROVIDERS_MAX + 1))
    sides = [Verdict(who, Concluded({"lab": found("10.0.0.0/8 AS1")}, {1: most}), reads=frozenset({"aspa"})) for who in "ab"]
    outcome = judged([LAB], sides, {}, NOW)
    assert (outcome.served.aspas, outcome.findings) == ({1: most}, ())


def test_what_one_reader_alone_concludes_must_stand_in_some_object() -> None:
    """Our own reader is no validator, so it confirms content and not validity; what no object says is withheld."""
    reads = frozenset({"aspa", "router-key"})
    a = Verdict("a", Concluded({"lab": found("10.0.0.0/8 AS1")}, {1: frozenset({2, 3}), 4: frozenset({5})}, frozenset({KEY})), reads=reads)
    b = verdict("b", "10.0.0.0/8 AS1")
    some = Content({1: [frozenset({3}), frozenset({2}), frozenset({9})], 4: [frozenset({5, 6})]}, frozenset())
    outcome = judged([LAB], [a, b], {}, NOW, content=some)
    assert (outcome.served.aspas, outcome.served.router_keys) == ({1: frozenset({2, 3})}, frozenset())
    assert outcome.findings == (
        f"router key {KEY.key_id} of AS1: a has it, but no router certificate of the mirror; withheld",
        "ASPA of AS4: withheld, since no object of the mirror says what a does: AS5",
        "1 ASPAs confirmed in content, unconfirmed in validity: only a validates them",
    )
    both_read = judged([LAB], [a, Verdict("b", a.concluded, reads=reads)], {}, NOW, content=some)
    assert len(both_read.served.aspas) == 2 and both_read.findings == (), "two validators need no third reader"
