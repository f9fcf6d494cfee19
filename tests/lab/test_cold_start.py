"""A route server that starts, and its members, who come back one after another and announce at once.

Members are played by one process; BIRD is started by its driver, as in production. What a member is told is counted in octets, never in seconds.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from nnix.daemons.bird import BIRD, BirdDriver
from nnix.planes.routing.asking import ASKING
from nnix.planes.routing.compile import SPEAKERS
from nnix.planes.routing.prove import messages
from nnix.planes.routing.trial.stand import stand
from tests.lab.crowd import Crowd, Members, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
]

CROWD = Crowd(50, 100, {"rs": "bird"})
CONTENT = SPEAKERS["bird"].spell(CROWD.policies()["rs"]).encode()
HASTY = replace(BIRD, held_sessions_min=CROWD.members + 1)
SAID = frozenset([(64500, 1000, 3), (64500, 1001, 2)])  # what the route server says of each: held against nothing
AT_ONCE = 10


@asynccontextmanager
async def started(driver: BirdDriver) -> AsyncIterator[Members]:
    policies = CROWD.policies()
    async with stand(policies.values(), "nnc") as place:
        await driver.drive(place.host, "rs", CONTENT)
        members = Members(CROWD, place, policies)
        try:
            yield members
        finally:
            members.close()
            await driver.drive(place.host, "rs", None)


def run(work: Coroutine[object, object, None]) -> None:
    asyncio.run(work)


def test_members_that_come_back_while_bird_starts_are_told_all_in_full_messages() -> None:
    """No more than three tenths above the least, which is what the announcers' own messages take; without waiting it is half as much again."""
    octets: list[int] = []

    async def tried(driver: BirdDriver) -> None:
        async with started(driver) as members:
            await members.come("rs", at_once=AT_ONCE)
            await members.complete("rs")
            octets.append(sum(each.octets for each in members.sessions.values()))

    numbers = range(1, CROWD.members + 1)
    said = sum(len(messages.announcing(replace(CROWD.route(each), large=SAID), CROWD.prefixes(each))) for each in numbers)
    least = said * (CROWD.members - 1)
    for driver in (BIRD, HASTY):
        run(tried(driver))
    waited, hasty = octets
    print(f"least {least}, waited {waited}, hasty {hasty} octets")
    assert waited <= 1.3 * least
    assert hasty >= 1.4 * least, "the trial shows nothing: nobody was away while BIRD fed"


def test_while_it_waits_it_says_so_and_it_does_not_wait_for_those_who_stay_away() -> None:
    """Half of the members come. Their routes are refused as `starting`; after a while they are told one another's, and who comes later is told at once."""

    async def tried() -> None:
        async with started(BIRD) as members:
            host = members.place.host
            await members.come("rs", range(1, 26), at_once=AT_ONCE)
            assert {each.reason for each in await ASKING["bird"].refused(host, "rs")} == {"starting"}
            assert await BIRD.look(host, {"rs": CONTENT}) == {}
            await members.complete("rs")
            await members.come("rs", range(26, 51))
            await members.complete("rs")
            assert await BIRD.look(host, {"rs": CONTENT}) == {}

    run(tried())


def test_a_waiter_that_was_killed_is_noticed_and_a_change_ends_the_wait() -> None:
    """Nobody is kept out by a process that is gone: the driver's next look says so, and what it then does lets everybody in."""

    async def tried() -> None:
        async with started(BIRD) as members:
            host = members.place.host
            await members.come("rs", [1, 2])
            waiter = int(Path(host.home, "bird/rs/sh.pid").read_text())
            os.kill(waiter, signal.SIGKILL)
            await until(lambda: not Path(f"/proc/{waiter}/cwd").exists(), lambda: waiter)
            assert "changed" in (await BIRD.look(host, {"rs": CONTENT}))["rs"]
            await BIRD.drive(host, "rs", CONTENT)
            assert await BIRD.look(host, {"rs": CONTENT}) == {}
            await members.complete("rs")

    run(tried())
