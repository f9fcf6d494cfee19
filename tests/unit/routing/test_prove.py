"""The evaluator: what becomes of routes by the policy in values; and the witnesses that show whether a daemon agrees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address

import pytest

from nnix.planes.routing.communities import BLACKHOLE, CONTROLS, NO_EXPORT, REASON, REASONS
from nnix.planes.routing.compile import ORDER, ServerPolicy, policy
from nnix.planes.routing.prove.evaluate import TESTS, WITHHELD, Evaluator, Unjudged
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.messages import UPDATE, announcing, taken, updated
from nnix.planes.routing.prove.route import Prefix, Route, extended, prefix_of
from nnix.planes.routing.prove.witnesses import plan
from tests.unit.routing.exchange import evidence, exchange, member
from tests.unit.routing.proving import given, showing

RS = 139136
NOT_HERE = {"aspa_invalid", "rpki_no_data", "starting"}  # no ASPAs are asked here; and that VRPs or members are missing is no route's doing


def server(**rules: object) -> ServerPolicy:
    return policy(exchange(policy=rules), evidence())[0]


def route(prefix: str = "20.0.0.0/24", *path: int, hop: str = "10.9.0.11") -> Route:
    return Route(prefix_of(prefix), path or (1001,), ip_address(hop))


def test_every_reason_is_evaluated() -> None:
    """No test of the policy is unknown to the evaluator, and it knows none that the policy has not."""
    assert set(TESTS) == set(ORDER) == set(REASON)


def test_every_reason_has_a_number_of_its_own() -> None:
    """Two reasons under one number could not be told apart, and one of them would be taken for the other."""
    assert len(REASONS) == len(REASON)


def test_what_the_evaluator_does_not_know_is_named_and_not_passed_over() -> None:
    """A policy that was given something new since: the field is named, and nothing is judged."""

    @dataclass(frozen=True, slots=True)
    class Newer(ServerPolicy):
        guest_list: tuple[int, ...] = ()

    known = server()
    fields = {name: getattr(known, name) for name in ServerPolicy.__dataclass_fields__}

    Evaluator(Newer(**fields))
    with pytest.raises(Unjudged, match="route-server/rs1 guest_list"):
        Evaluator(Newer(**fields, guest_list=(7,)))


def test_a_route_is_refused_under_the_first_test_that_it_fails() -> None:
    """As in `compile.ORDER`: a bogon that is too long is a bogon."""
    of = Evaluator(server())

    assert of.imported("m1-s", route()).accepted
    assert of.imported("m1-s", route("10.0.0.0/25")).reason == "bogon"
    assert of.broken("m1-s", route("10.0.0.0/25")) == ("bogon", "prefix_len_too_long", "blackhole_not_covered")
    assert of.imported("m1-s", route("20.0.0.0/24", 1001, 9)).reason == "irrdb_origin_as_filtered"


def test_a_daemon_judges_otc_and_foreign_networks_before_all_filters() -> None:
    """RFC 9234, 5: thrown out whatever else is wrong with the route, and not even counted."""
    of = Evaluator(server())
    leak = replace(route("10.0.0.0/8"), otc=9)

    assert of.imported("m1-s", leak).reason == "otc_leak"
    assert of.imported("m1-s", route("10.0.0.0/8", hop="203.0.113.1")).reason == "next_hop_not_peer_ip"
    assert of.thrown_out("m1-s", leak)
    assert not of.thrown_out("m1-s", route("10.0.0.0/8"))


def test_a_wish_about_one_beats_a_wish_about_all() -> None:
    """Not-to beats to, to beats to-none; who is told, and why the others are not, has a name."""
    of = Evaluator(server())
    to_none = of.imported("m1-s", route().with_communities((RS, 0, 0), extended("rt", 65000, 1002)))
    both = of.imported("m1-s", route().with_communities((RS, 1, 1002), (0, 1002)))

    assert [of.withheld("m1-s", to_none, name) for name in ("m1-s", "m2-s", "m3-s")] == ["own_route", "", "to_none"]
    assert [of.withheld("m1-s", both, name) for name in ("m2-s", "m3-s")] == ["not_to_receiver", ""]
    assert of.told(to_none, "m2-s").large == {(RS, 1000, 1), (RS, 1001, 1)}
    assert not of.told(to_none, "m2-s").extended
    assert {"own_route", "to_none", "not_to_receiver"} <= set(WITHHELD)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda each: each.slug)
def test_every_control_is_understood_in_every_form(control: object) -> None:
    """What the table for members says, the evaluator reads back from the wire's numbers."""
    speaking = server(groups=[{"number": 571, "title": "east", "sites": ["east"]}], rtt_thresholds=[571])
    language = Evaluator(speaking).language
    slug = control.slug  # type: ignore[attr-defined]
    peer = 0 if control.large.endswith(":0") else 571  # type: ignore[attr-defined]
    said = list(language.spelled(slug, peer))

    assert len(said) == 4
    assert {language.wish(each) for each in said} == {(slug, peer)}


def test_the_second_best_is_told_to_whom_the_best_is_not_for() -> None:
    """Path hiding, RFC 7947 2.3.1; and who hears nothing can be told why."""
    known = policy(exchange(*member(2, {"as_sets": ["AS-ONE"]})), evidence())[0]
    best = route().with_communities((RS, 0, 1003))
    longer = Route(prefix_of("20.0.0.0/24"), (1002, 1001), ip_address("10.9.0.12"))
    world = Exchange(Evaluator(known), [("m1-s", best), ("m2-s", longer)])

    assert [each.path for _, each in world.told("m3-s")] == [(1002, 1001)]
    assert [each.path for _, each in world.told("m2-s")] == [(1001,)]
    assert world.withheld("m1-s", best.prefix, "m3-s") == "not_to_receiver"
    assert world.withheld("m2-s", best.prefix, "m1-s") == ""
    alone = Exchange(Evaluator(known), [("m1-s", route()), ("m2-s", longer)])
    assert alone.withheld("m2-s", best.prefix, "m3-s") == "another_is_better"


def test_a_blackhole_is_marked_and_told_to_the_willing_only() -> None:
    """RFC 7999: NO_EXPORT is added, the next hop is the sink's; a host route is right where the prefix around it would be."""
    known = policy(exchange(*member(3, blackhole=False), policy={"blackhole_v4": "10.9.0.66"}), evidence())[0]
    of = Evaluator(known)
    host = of.imported("m1-s", route("20.0.0.7/32").with_communities(BLACKHOLE))

    assert NO_EXPORT in host.route.standard
    assert str(host.route.next_hop) == "10.9.0.66"
    assert (of.withheld("m1-s", host, "m2-s"), of.withheld("m1-s", host, "m3-s")) == ("", "blackhole_not_wanted")
    assert of.imported("m1-s", route("20.0.1.7/32").with_communities(BLACKHOLE)).reason == "blackhole_not_covered"
    assert of.imported("m1-s", route("20.0.0.7/32")).reason == "prefix_len_too_long"


def test_every_reason_has_a_witness_on_both_sides() -> None:
    """Of the rules that this exchange can show, none lacks a route that breaks it alone; what it cannot show is said."""
    known = policy(showing(policy={"blacklist": ["50.0.0.0/8", "2a05::/32"], "communities_max": 20}), given())[0]
    of = Evaluator(known)
    made = plan(of)
    alone = {of.broken(each.session, each.route) for rounds in made.rounds for each in rounds}

    assert () in alone
    assert {reasons[0] for reasons in alone if reasons} == set(ORDER) - NOT_HERE
    assert made.silent == ()
    assert plan(of) == made


def test_what_is_written_is_read_back() -> None:
    """An UPDATE of ours says what was meant, in both families, also over several messages."""
    six = Route(prefix_of("2a00:1::/48"), (1001, frozenset({2, 3}), 2001), ip_address("2406:5340::11"), med=7, otc=9, origin=2)
    six = six.with_communities((1, 2), (1, 2, 3), extended("rt", 1, 2))
    many = [Prefix(4, (20 << 24) + (number << 8), 24) for number in range(3000)]
    for sent, prefixes in ((six, [six.prefix]), (route(), many)):
        buffer = bytearray(announcing(sent, prefixes))
        heard = [updated(body) for kind, body in taken(buffer) if kind == UPDATE]

        assert [prefix for each in heard for prefix in each.reached] == prefixes
        assert {each.attributes.route(sent.prefix) for each in heard} == {sent}
