"""What holds of every exchange, shown on ones that are drawn: whatever members announce, and whatever stands in the files in which order."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from nnix.kernel.change import edits
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.routing.compile import compile, policy
from nnix.planes.routing.kinds import Session
from nnix.planes.routing.prove.evaluate import Evaluator
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.route import Prefix, Route, extended
from tests.unit.routing.drawn import announcement, drawn, with_several_paths
from tests.unit.routing.proving import given

SEEDS = range(30)


def _world(seed: int) -> tuple[Snapshot, Evaluator, list[tuple[str, Route]]]:
    plain, routes = drawn(seed)
    snapshot = with_several_paths(plain, seed)
    return snapshot, Evaluator(policy(snapshot, given())[0]), routes


@pytest.mark.parametrize("seed", SEEDS)
def test_no_route_reaches_a_receiver_whom_its_announcer_excluded(seed: int) -> None:
    """In whichever form the wish was said: who is named by a not-to is told nothing of that route, whatever else stands on it."""
    _, of, routes = _world(seed)
    world = Exchange(of, routes)
    said = {(session, route.prefix): route for session, route in routes}
    for name, client in of.clients.items():
        asn, short = client.policy.asn, client.policy.short_asn
        for chosen, _ in world.told(name):
            route = said[chosen.announcer, chosen.prefix]

            assert (of.asn, 0, asn) not in route.large
            assert (0, short) not in route.standard
            assert {extended("rt", 0, asn), extended("ro", 0, asn)}.isdisjoint(route.extended)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_resources_changes_no_byte(seed: int) -> None:
    """Members may stand in the files as they like: every artifact is the same."""
    snapshot, _ = drawn(seed)
    resources: list[Resource] = list(snapshot)
    random.Random(seed).shuffle(resources)

    assert {each.key: each.content for each in compile(Snapshot(resources), given())} == {
        each.key: each.content for each in compile(snapshot, given())
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_a_members_mistake_changes_nothing_between_others(seed: int) -> None:
    """One client announces only rubbish besides what it announced: what all others hear of one another stays as it was."""
    _, of, routes = _world(seed)
    draw = random.Random(seed)
    culprit = draw.choice(list(of.clients))
    own = {route.prefix for session, route in routes if session == culprit}
    rubbish: list[tuple[str, Route]] = []
    while len(rubbish) < 60:
        session, route = announcement(draw, of.server)
        wrong = replace(route, path=(7, *route.path))
        if session != culprit and wrong.prefix not in own and of.clients[culprit].speaks(wrong.prefix.family):
            rubbish.append((culprit, wrong))
    assert all(not of.imported(session, route).accepted for session, route in rubbish)

    before, after = _between_others(Exchange(of, routes), culprit), _between_others(Exchange(of, [*routes, *rubbish]), culprit)

    assert before == after


def _between_others(world: Exchange, culprit: str) -> dict[tuple[str, Prefix, str], Route]:
    return {
        (name, chosen.prefix, chosen.announcer): told
        for name in world.evaluator.clients
        if name != culprit
        for chosen, told in world.told(name)
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_taking_a_change_back_brings_back_every_byte(seed: int) -> None:
    """compile(undo(change)) = compile(before): a client that is changed, removed or added leaves no trace when that is undone."""
    snapshot, _ = drawn(seed)
    draw = random.Random(seed)
    session = draw.choice(snapshot.of(Session))
    changed = draw.choice(
        (
            snapshot.replaced([session.changed(blackhole=not session.blackhole, passive=not session.passive)]),
            snapshot.replaced(gone=[session.id]),
        )
    )
    undone = changed.replaced(
        (edit.old for edit in edits(snapshot, changed) if edit.old is not None),
        [edit.resource.id for edit in edits(snapshot, changed) if edit.old is None],
    )

    assert compile(changed, given()) != compile(snapshot, given())
    assert compile(undone, given()) == compile(snapshot, given())
