"""A route server that starts, and its members, who come back one after another and announce at once.

Members are played by one process; BIRD is started by its driver, as in production. What a member is told is counted in octets and messages, never in
seconds.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from nnix.cli.root import KINDS
from nnix.daemons.bird import BIRD, BirdDriver
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.planes.routing.asking import ASKING
from nnix.planes.routing.compile import SPEAKERS, ServerPolicy, policy
from nnix.planes.routing.prove import messages
from nnix.planes.routing.prove.route import Prefix, Route, prefix_of
from nnix.planes.routing.trial.speakers import Speaker, speakers
from nnix.planes.routing.trial.stand import Stand, stand
from tests.lab.exchange import resource

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
]

CLIENTS, ROUTES, AT_ONCE = 50, 100, 10
PATIENT = BirdDriver()
HASTY = replace(BIRD, held_sessions_min=CLIENTS + 1)


def exchange(clients: int = CLIENTS) -> ServerPolicy:
    """A route server for so many clients, without registries."""
    made = [
        resource("Exchange", "cold", title={"en": "Cold"}, asn=64500, country="CN", lab=True),
        resource("Site", "east", title={"en": "east"}, role="hub", level="city", city="east", country="CN"),
        resource("Lan", "lan", title={"en": "LAN"}, v4="203.0.113.0/24"),
        resource("RoutingPolicy", "open", irr="off", rpki="off"),
        resource("RouteServer", "rs", site="east", lan="lan", policy="open", v4="203.0.113.1"),
    ]
    for number in range(1, clients + 1):
        name = f"m{number}"
        made.append(KINDS["Member"].model_validate({"name": name, "title": {"en": name}, "asn": 207000 + number, "class": "isp"}))
        made.append(resource("Port", name, member=name, site="east", speed="10G"))
        made.append(resource("Session", name, member=name, lan="lan", port=name, v4=f"203.0.113.{10 + number}"))
    (server,) = policy(Snapshot(made), Evidence())
    return server


def prefixes(number: int) -> list[Prefix]:
    start = int(ip_address("20.0.0.0"))
    return [prefix_of(ip_network((start + (ROUTES * number + each << 8), 24))) for each in range(ROUTES)]


def route(number: int, said: frozenset[tuple[int, int, int]] = frozenset()) -> Route:
    return Route(prefixes(number)[0], (207000 + number,), ip_address(f"203.0.113.{10 + number}"), large=said)


class Member(Speaker):
    """Counts the messages that it is told something by."""

    updates = 0

    def data_received(self, data: bytes) -> None:
        before = len(self.heard)
        super().data_received(data)
        self.updates += len(self.heard) > before


@asynccontextmanager
async def started(server: ServerPolicy, driver: BirdDriver) -> AsyncIterator[tuple[Stand, bytes]]:
    content = SPEAKERS["bird"].spell(server).encode()
    async with stand([server], "nnc") as place:
        await driver.drive(place.host, server.name, content)
        try:
            yield place, content
        finally:
            await driver.drive(place.host, server.name, None)


async def come(server: ServerPolicy, place: Stand, first: int, last: int) -> list[Speaker]:
    """Members come, a few at a time, and announce as soon as their session is up."""
    made: list[Speaker] = []
    for start in range(first, last, AT_ONCE):
        some = await speakers(server, [(each, 4) for each in server.clients[start : min(start + AT_ONCE, last)]], place.members)
        for each in some:
            number = each.client.asn - 207000
            each.announce(route(number), prefixes(number))
        made += some
    return made


async def until(claim: Callable[[], bool], what: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.05)


async def told_everything(made: list[Speaker]) -> None:
    wanted = (len(made) - 1) * ROUTES
    await until(lambda: all(len(each.heard) == wanted for each in made), lambda: [len(each.heard) for each in made])


def test_members_that_come_back_while_bird_starts_are_told_all_in_full_messages() -> None:
    """No more than three tenths above the least, which is what the announcers' own messages take; without waiting it is half as much again."""

    async def octets(driver: BirdDriver) -> int:
        async with started(server, driver) as (place, _):
            made = await come(server, place, 0, CLIENTS)
            await told_everything(made)
            found = sum(each.octets for each in made)
            for each in made:
                each.close()
            return found

    server = exchange()
    said = frozenset([(64500, 1000, 3), (64500, 1001, 2)])  # what the route server says of each: held against nothing
    least = sum(len(messages.announcing(route(each, said), prefixes(each))) for each in range(1, CLIENTS + 1)) * (CLIENTS - 1)
    held, at_once = asyncio.run(octets(PATIENT)), asyncio.run(octets(HASTY))
    print(f"least {least}, held {held}, at once {at_once} octets")
    assert held <= 1.3 * least
    assert at_once >= 1.4 * least, "the trial shows nothing: nobody was away while BIRD fed"


def test_while_it_waits_it_says_so_and_it_does_not_wait_for_those_who_stay_away() -> None:
    """Half of the members come. Their routes are refused as `starting`; after a while they are told one another's, and who comes later is told at once."""

    async def tried() -> None:
        async with started(server, PATIENT) as (place, content):
            made = await come(server, place, 0, CLIENTS // 2)
            refused = await ASKING["bird"].refused(place.host, server.name)
            assert {each.reason for each in refused} == {"starting"}
            assert await PATIENT.look(place.host, {server.name: content}) == {}
            await told_everything(made)
            made += await come(server, place, CLIENTS // 2, CLIENTS)
            await told_everything(made)
            assert await PATIENT.look(place.host, {server.name: content}) == {}
            assert not Path(place.host.home, f"bird/{server.name}/held.conf").exists()

    server = exchange()
    asyncio.run(tried())


def test_a_change_ends_the_wait_and_a_waiter_that_was_killed_is_noticed() -> None:
    """Nobody is kept out by a process that is gone: the driver's next look says so, and what it then does lets everybody in."""

    async def tried() -> None:
        async with started(server, PATIENT) as (place, content):
            made = await come(server, place, 0, 2)
            waiter = int(Path(place.host.home, f"bird/{server.name}/sh.pid").read_text())
            os.kill(waiter, signal.SIGKILL)
            await until(lambda: not Path(f"/proc/{waiter}/cwd").exists(), lambda: waiter)
            assert (await PATIENT.look(place.host, {server.name: content}))[server.name]
            await PATIENT.drive(place.host, server.name, content)
            assert await PATIENT.look(place.host, {server.name: content}) == {}
            await told_everything(made)

    server = exchange()
    asyncio.run(tried())
