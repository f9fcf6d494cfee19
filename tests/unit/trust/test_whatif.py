"""What would happen to routes, against RFC 6811 as it is written."""

from __future__ import annotations

from ipaddress import ip_network

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nnix.planes.trust.advice import advised
from nnix.planes.trust.payloads import Vrp, rows_of, vrp_of
from nnix.planes.trust.whatif import Forecast, Route, Routes, Validity
from tests.unit.trust.test_gate import SMALL, V6, validity


def forecast(routes: list[tuple[str, int, str]], *vrps: str) -> Forecast:
    made = []
    for text in vrps:
        prefix, asn = text.split(" AS")
        network, _, longest = prefix.partition("-")
        made.append(Vrp(ip_network(network), int(longest or network.split("/")[1]), int(asn)))
    return Forecast(Routes(Route(ip_network(prefix), origin, member) for prefix, origin, member in routes), rows_of(made))


ROUTE = st.builds(lambda vrp, member: Route(vrp.prefix, vrp.origin, member), SMALL | V6, st.sampled_from(["a", "b"]))


@settings(max_examples=300, deadline=None)
@given(st.lists(ROUTE, max_size=12), st.sets(SMALL | V6, max_size=10), st.data())
def test_every_turn_is_what_the_rfc_says(routes: list[Route], vrps: set[Vrp], data: st.DataObject) -> None:
    """Some VRPs go and others come; each route is judged anew from the beginning."""
    gone = data.draw(st.sets(st.sampled_from(sorted(vrps, key=str)))) if vrps else set()
    come = data.draw(st.sets(SMALL | V6, max_size=3))
    made = Forecast(Routes(routes), rows_of(vrps))
    rows = [each for each in range(len(made.vrps)) if vrp_of(made.vrps[each].tolist()) in gone]
    found = made.changed(np.array(rows, dtype=np.intp), rows_of(come))
    after = (vrps - gone) | come
    turns = [(r, validity(r.prefix, r.origin, vrps), validity(r.prefix, r.origin, after)) for r in routes]
    assume(not come & gone)  # both at once has no meaning
    expected = sorted((str(r.prefix), r.origin, r.member, old, new) for r, old, new in turns if old != new)
    assert sorted((str(t.route.prefix), t.route.origin, t.route.member, str(t.before), str(t.after)) for t in found.turns()) == expected


def test_losing_one_vrp_of_two_makes_a_route_invalid() -> None:
    """With the covering one gone as well it is NotFound: worse is better."""
    made = forecast([("10.1.0.0/16", 2, "tea-hill")], "10.0.0.0/8 AS1", "10.1.0.0/16 AS2")
    (turn,) = made.without(np.array([1])).turns()
    assert str(turn) == "10.1.0.0/16 of AS2 (tea-hill): Valid → Invalid"
    (turn,) = made.without(np.array([0, 1])).turns()
    assert turn.after is Validity.NOT_FOUND


def test_members_are_told_what_lapses_when() -> None:
    routes = [("10.1.0.0/16", 1, "a"), ("10.2.0.0/16", 1, "a"), ("10.2.0.0/16", 1, "b")]
    made = forecast(routes, "10.1.0.0/16 AS1", "10.2.0.0/16 AS1")
    soon = made.expired(np.array([100, 200], dtype=np.int64), 150)
    assert made.members(soon) == {"a": {Validity.NOT_FOUND: 1, Validity.VALID: 1}, "b": {Validity.VALID: 1}}
    assert made.expired(np.array([100, 200], dtype=np.int64), 99).turns() == ()


def test_advice_is_the_exact_roa_and_says_whom_it_would_break() -> None:
    """A customer's more specific route with an origin of its own would turn Invalid."""
    routes = [("10.1.0.0/16", 1, "a"), ("10.1.2.0/24", 2, "b"), ("10.9.0.0/16", 1, "a"), ("10.1.3.0/24", 0, "a")]
    made = forecast(routes, "10.9.0.0/16 AS1")
    (advice,) = advised(made, "a")
    assert (str(advice.vrp), advice.mends, [str(each.route.prefix) for each in advice.breaks]) == (
        "10.1.0.0/16 AS1",
        1,
        ["10.1.2.0/24", "10.1.3.0/24"],
    )
    assert str(advice).startswith(
        "create a ROA: 10.1.0.0/16, maxLength 16, AS1 (1 routes become Valid); first get ROAs for what it would break"
    )
    assert advised(made, "nobody") == ()


def test_nobody_may_originate_what_as0_has() -> None:
    """RFC 6483, 4; and a path that ends in a set has no origin."""
    made = forecast([("10.0.0.0/8", 0, "a")], "10.0.0.0/8 AS0")
    assert made.validity.tolist() == [Validity.INVALID]
