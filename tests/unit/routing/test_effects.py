"""What a plan says members will notice: whose routes are accepted, refused, told and withdrawn by a change of policy, and why."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from nnix.kernel.resource import Resource
from nnix.planes.routing.compile import ServerPolicy, policy
from nnix.planes.routing.prove.effects import Effect, foreseen
from nnix.planes.routing.prove.evaluate import WITHHELD, Evaluator
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.route import Prefix, Route, prefix_of
from tests.unit.routing.exchange import RPSL, evidence, exchange, member

MORE = RPSL + "\nroute: 22.0.0.0/24\norigin: AS1002\nsource: T\n\nroute: 22.0.0.0/24\norigin: AS1003\nsource: T\n"


def server(*more: Resource, rpsl: str = MORE, gone: tuple[str, ...] = (), **rules: Any) -> ServerPolicy:
    return policy(exchange(*more, policy=rules).replaced(gone=gone), evidence(rpsl))[0]


def route(prefix: str, *path: int, hop: int, **more: Any) -> Route:
    return Route(prefix_of(prefix), path, ip_address(f"10.9.0.{hop}"), **more)


def announced(*routes: tuple[str, Route]) -> dict[tuple[str, Prefix], Route]:
    return {(session, each.prefix): each for session, each in routes}


NOW = announced(
    ("m1-s", route("20.0.0.0/24", 1001, hop=11)),
    ("m2-s", route("22.0.0.0/24", 1002, hop=12)),
    ("m3-s", route("22.0.0.0/24", 1003, 1003, hop=13)),
)


def said(old: ServerPolicy, new: ServerPolicy) -> set[tuple[str, str, str, str]]:
    """(what, who notices, prefix, whose)"""
    return {(each.what, each.member, each.prefix, each.of) for each in foreseen(old, new, NOW, {}).effects}


def causes(old: ServerPolicy, new: ServerPolicy, what: str) -> set[str]:
    return {each.cause for each in foreseen(old, new, NOW, {}).effects if each.what == what}


def test_a_route_object_that_goes_takes_the_route_from_everybody_and_says_why() -> None:
    """m1's route is refused at once, and withdrawn from the two others."""
    old, new = server(), server(rpsl=MORE.replace("20.0.0.0/24", "20.0.1.0/24"))
    assert said(old, new) == {
        ("refused", "m1", "20.0.0.0/24", "m1"),
        ("withdrawn", "m2", "20.0.0.0/24", "m1"),
        ("withdrawn", "m3", "20.0.0.0/24", "m1"),
    }
    assert causes(old, new, "refused") == {"the routing registries hold no route object for this prefix and origin (irrdb_prefix_filtered)"}
    assert said(new, old) == {
        ("accepted", "m1", "20.0.0.0/24", "m1"),
        ("told", "m2", "20.0.0.0/24", "m1"),
        ("told", "m3", "20.0.0.0/24", "m1"),
    }
    assert causes(new, old, "told") == {"its announcer's route is now accepted"}


def test_a_member_that_leaves_gives_way_to_the_second_best() -> None:
    """Who was told its route hears of the other one; the other one's announcer was told it, too, and is told nothing."""
    found = said(server(), server(gone=("session/m2-s",)))
    assert ("changed", "m1", "22.0.0.0/24", "m3") in found
    assert ("withdrawn", "m3", "22.0.0.0/24", "m2") in found
    assert causes(server(), server(gone=("session/m2-s",)), "withdrawn") == {"session/m2-s is no client any more"}


def test_who_takes_several_paths_gains_and_loses_each_for_itself() -> None:
    """ADD-PATH, RFC 7911: m1 is told m3's route besides m2's, not instead of it, and keeps it when m2's goes."""
    one, several = server(), server(*member(1, {"as_sets": ["AS-ONE"]}, add_paths="send"))
    without = server(*member(1, {"as_sets": ["AS-ONE"]}, add_paths="send"), gone=("session/m2-s",))

    assert said(one, several) == {("told", "m1", "22.0.0.0/24", "m3")}
    assert said(several, one) == {("withdrawn", "m1", "22.0.0.0/24", "m3")}
    assert causes(several, one, "withdrawn") == {WITHHELD["another_is_better"]}
    assert {each for each in said(several, without) if each[1] == "m1"} == {("withdrawn", "m1", "22.0.0.0/24", "m2")}


def test_a_member_that_wants_nothing_of_another_is_told_the_next() -> None:
    """Only that receiver is concerned."""
    new = server(*member(1, {"as_sets": ["AS-ONE"]}, hears={"but": [1002]}))
    found = foreseen(server(), new, NOW, {})
    assert {(each.what, each.member, each.of) for each in found.effects} == {("changed", "m1", "m3")}
    assert "wants nothing of this announcer's" in found.effects[0].cause
    assert found.work.everybody == ""
    assert found.work.exports == len(NOW)


def test_what_all_share_is_named_with_its_cost() -> None:
    """Every filter reads everything again."""
    work = foreseen(server(), server(path_length_max=5), NOW, {}).work
    assert (work.everybody, work.imports, work.exports) == ("routing-policy/safe path_length_max", 3, 9)


def test_nothing_is_said_where_nothing_changes() -> None:
    assert foreseen(server(), server(), NOW, {}).effects == ()
    assert said(server(), server(hold_time_seconds=30)) == set()


CHANGES: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({}, {"irr": "off"}),
    ({"irr": "origin"}, {}),
    ({}, {"rpki": "off"}),
    ({}, {"path_hiding_solved": False}),
    ({}, {"bogons": ["22.0.0.0/8"]}),
    ({"transit_free": [1003]}, {"never_via_route_servers": [4711]}),
    ({"path_length_max": 1}, {}),
)


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=[str(index) for index in range(len(CHANGES))])
def test_what_is_foreseen_is_what_two_whole_evaluations_differ_in(old: dict[str, Any], new: dict[str, Any]) -> None:
    """The short way leaves nothing out: both policies judged from nothing, for every receiver and prefix."""
    one, other = server(**old), server(**new)

    def everything(of: ServerPolicy) -> dict[tuple[str, str], Route]:
        evaluator = Evaluator(of)
        told = Exchange(evaluator, [(session, each) for (session, _), each in NOW.items()])
        return {(c.policy.member, str(each.prefix)): heard for name, c in evaluator.clients.items() for each, heard in told.told(name)}

    before, after = everything(one), everything(other)
    differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    outward: tuple[Effect, ...] = tuple(
        each for each in foreseen(one, other, NOW, {}).effects if each.what in ("told", "withdrawn", "changed")
    )
    assert {(each.member, each.prefix) for each in outward} == differing


def test_the_first_group_costs_what_routes_with_wishes_cost() -> None:
    """BIRD reads all routes in once more, and tells anew only those whose announcer asked for something; and all to who is now in a group."""
    grouped: dict[str, Any] = {"groups": [{"number": 571, "title": "one", "members": ["m3"]}]}
    wishing = announced(("m1-s", route("20.0.0.0/24", 1001, hop=11, large=frozenset([(139136, 0, 1002)]))))
    work = foreseen(server(), server(**grouped), {**NOW, **wishing}, {}).work
    assert (work.imports, work.exports) == (3, 3 + 3)
