"""What must not disturb anybody, watched from members' daemons: a client more, changed or less; a route object that goes while updates flow; a route server
that is drained, replaced, killed and started anew while the other one, of the other make, serves.

Sixty members with three routes each, and a session with each route server. NNIX_CROWD=1000 makes it a thousand with one route each, which takes some minutes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from nnix.daemons import openbgpd
from nnix.planes.routing.trial.stand import stand
from tests.lab.crowd import FLAPPING, Crowd, Members, busy, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
    pytest.mark.skipif(not Path(openbgpd.PROGRAM).exists(), reason="openbgpd is not installed"),
]

T = TypeVar("T")
MEMBERS = int(os.environ.get("NNIX_CROWD", "60"))
MAKES = {"rs1": "bird", "rs2": "openbgpd"}
CROWD = Crowd(MEMBERS, 3 if MEMBERS < 500 else 1, MAKES, registered=True)
MORE = replace(CROWD, members=MEMBERS + 1)
GRACEFUL_SHUTDOWN = (65535, 0)


class Lab:
    """The running exchange, between tests as the first of them found it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, members: Members) -> None:
        self.loop, self.members = loop, members

    def run(self, work: Coroutine[object, object, T]) -> T:
        self.members.forget()
        return self.loop.run_until_complete(work)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        place = stand(MORE.policies().values(), "nnu")
        members = Members(CROWD, runner.run(place.__aenter__()), CROWD.policies())

        async def begin() -> None:
            for server in MAKES:
                await members.drive(server)
                await members.come(server)
            for server in MAKES:
                await members.complete(server)
            members.may_have |= {prefix for number in range(1, MEMBERS + 1) for prefix in CROWD.prefixes(number)}

        async def end() -> None:
            members.close()
            for server in MAKES:
                await members.stop(server)
            await place.__aexit__(None, None, None)

        try:
            runner.run(begin())
            alive = loop.create_task(members.alive())
            yield Lab(loop, members)
            alive.cancel()
        finally:
            runner.run(end())


@pytest.mark.parametrize("server", sorted(MAKES))
def test_a_client_more_changed_or_less_disturbs_nobody(lab: Lab, server: str) -> None:
    """No other session ends or is asked for anything, and of all routes that anybody was told only those of the member who goes are taken back."""
    changes = {"m5": {"blacklist": ["198.51.100.0/24"], "hears": {"but": [CROWD.route(7).path[0]]}}}
    changed = replace(MORE, changed=changes)
    new, theirs = set(MORE.prefixes(MEMBERS + 1)), set(CROWD.prefixes(7))
    name = f"m{MEMBERS + 1}"

    async def follow() -> None:
        members = lab.members
        await members.drive(server, MORE)
        await members.come(server, [MEMBERS + 1])
        await members.complete(server)
        assert (members.ended, members.lost) == ([], []), "somebody comes"

        await members.drive(server, changed)
        concerned = members.sessions[server, "m5"]
        await until(lambda: theirs.isdisjoint(concerned.heard), lambda: concerned.heard)
        assert members.ended == [], "somebody changes"
        assert set(members.lost) == {(server, "m5", each) for each in theirs}, "somebody changes"
        await members.drive(server, MORE)
        await members.complete(server)

        members.forget()
        await members.drive(server, CROWD)
        others = [each for (of, session), each in members.sessions.items() if of == server and session != name]
        await until(lambda: not any(new & each.heard.keys() for each in others), lambda: "its routes stay")
        assert set(members.ended) <= {(server, name)}, "somebody leaves"
        assert {prefix for _, member, prefix in members.lost if member != name} == new, "somebody leaves"
        assert not any(each.refreshes for each in others)
        members.sessions.pop((server, name)).close()

    lab.run(follow())


def test_a_route_object_that_goes_while_updates_flow_takes_its_route_and_no_other(lab: Lab) -> None:
    """One member announces and withdraws without a pause, at both route servers; a route object of another goes and comes back."""
    gone = CROWD.prefixes(9)[0]
    without = replace(CROWD, unregistered=frozenset([gone]))

    async def reload() -> None:
        members = lab.members
        async with busy(members) as told:
            for server in MAKES:
                await members.drive(server, without)
                await members.complete(server, [gone])
            for server in MAKES:
                await members.drive(server, CROWD)
                await members.complete(server)
            assert told[0] > 10 and FLAPPING in {prefix for _, _, prefix in members.lost}, "nothing flowed"
        assert members.ended == []
        assert {prefix for _, _, prefix in members.lost} <= {gone, FLAPPING}
        assert {(server, member) for server, member, prefix in members.lost if prefix == gone} == {
            each for each in members.sessions if each[1] != "m9"
        }
        assert {prefix for _, prefix in members.dark} == {gone}

    lab.run(reload())


def test_the_first_group_is_no_reason_to_tell_everybody_everything_again(lab: Lab) -> None:
    """What all receivers share on the way out changes. BIRD tells anew the one route that the change concerns, and who is in the group stops hearing it; that
    it tells all of the others nothing is counted in octets."""
    grouped = replace(CROWD, policy={"groups": [{"number": 571, "title": "one", "members": ["m4"]}]})
    wished = replace(CROWD.route(3), standard=frozenset([(65410, 571)]))

    async def follow() -> None:
        members = lab.members
        mine = {session: each for (of, session), each in members.sessions.items() if of == "rs1"}
        others = [each for session, each in mine.items() if session not in ("m3", "m4")]
        mine["m3"].announce(wished)
        await until(lambda: all(each.heard[wished.prefix].standard >= wished.standard for each in others), lambda: "it does not arrive")
        assert wished.prefix in mine["m4"].heard
        members.forget()
        octets = {each.session: each.octets for each in others}
        await members.drive("rs1", grouped)
        await until(
            lambda: (
                all(wished.standard.isdisjoint(each.heard[wished.prefix].standard) for each in others)
                and wished.prefix not in mine["m4"].heard
            ),
            lambda: (
                wished.prefix in mine["m4"].heard,
                [each.session for each in others if wished.standard & each.heard[wished.prefix].standard],
            ),
        )
        told = max(each.octets - octets[each.session] for each in others)
        routes = len(others[0].heard)
        print(f"at most {told} octets told to anybody who has {routes} routes")
        assert told < 4 * routes, "the table was told again"
        assert members.ended == []
        assert set(members.lost) == {("rs1", "m4", wished.prefix)}

        await members.drive("rs1", CROWD)
        await until(lambda: mine["m4"].heard.get(wished.prefix) is not None, lambda: "it does not come back")
        mine["m3"].announce(CROWD.route(3))
        await until(
            lambda: all(wished.standard.isdisjoint(each.heard[wished.prefix].standard) for each in others), lambda: "the wish stays"
        )

    lab.run(follow())


@pytest.mark.parametrize("server", sorted(MAKES))
def test_one_make_is_drained_and_replaced_while_the_other_serves(lab: Lab, server: str) -> None:
    """RFC 8326: first all its routes say GRACEFUL_SHUTDOWN, then it is taken away and another one started; no member is without a path at any update, and
    the other route server's sessions tell nothing of it."""
    (other,) = set(MAKES) - {server}
    draining = replace(CROWD, server={server: {"shutting_down": True}})

    async def replaced() -> None:
        members = lab.members
        async with busy(members):
            await members.drive(server, draining)
            mine = [each for (name, _), each in members.sessions.items() if name == server]
            await until(
                lambda: all(GRACEFUL_SHUTDOWN in told.standard for each in mine for told in each.heard.values()),
                lambda: "it is not said by all",
            )
            assert members.ended == []
            await members.stop(server)
            await until(lambda: not any(each.up for each in mine), lambda: [each.session for each in mine if each.up])
            await members.drive(server, CROWD)
            await members.come(server)
            await members.complete(server)
            heard = [told for (name, _), each in members.sessions.items() if name == server for told in each.heard.values()]
            assert not any(GRACEFUL_SHUTDOWN in told.standard for told in heard)
        assert members.dark == []
        assert {name for name, _ in members.ended} == {server}
        assert {prefix for name, _, prefix in members.lost if name == other} <= {FLAPPING}

    lab.run(replaced())


@pytest.mark.parametrize("server", sorted(MAKES))
def test_one_make_is_killed_and_comes_back_while_the_other_serves(lab: Lab, server: str) -> None:
    """kill -9 says no goodbye: sessions break, and yet no member is without a path at any update."""

    async def killed() -> None:
        members = lab.members
        home = Path(members.place.host.home, MAKES[server], server)
        mine = [each for (name, _), each in members.sessions.items() if name == server]
        for file in home.glob("*.pid"):
            os.kill(int(file.read_text().split()[0]), signal.SIGKILL)
        await until(lambda: not any(each.up for each in mine), lambda: [each.session for each in mine if each.up])
        await members.drive(server)
        await members.come(server)
        await members.complete(server)
        assert members.dark == []
        assert {name for name, _ in members.ended} == {server}
        assert {name for name, _, _ in members.lost} == {server}

    lab.run(killed())
