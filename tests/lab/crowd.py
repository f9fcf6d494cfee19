"""A LAN with very many members, played by one process, and its route servers, which are real and driven as in production.

A member has a session with each route server, and keeps what it hears on each. What it loses is noted as it is lost: by a withdrawal, or with a session. A prefix
that a member may have and has on no session any more is *dark*; nobody else can know of such a moment, since at the next look it may be gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from nnix.cli.root import KINDS
from nnix.daemons.bird import BIRD
from nnix.daemons.openbgpd import OPENBGPD
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Driver
from nnix.planes.routing.compile import SPEAKERS, ClientPolicy, ServerPolicy, policy
from nnix.planes.routing.prove import messages
from nnix.planes.routing.prove.messages import Attributes
from nnix.planes.routing.prove.route import Prefix, Route
from nnix.planes.routing.trial.speakers import Speaker, speakers
from nnix.planes.routing.trial.stand import Stand
from tests.lab.exchange import resource

FIRST_ASN = 207000
DRIVERS: Mapping[str, Driver] = {"bird": BIRD, "openbgpd": OPENBGPD}
PATIENCE_SECONDS = 240.0
AT_ONCE = 50
BUSY = 2  # the member who may have no rest, see `busy`
FLAPPING = Prefix(4, int(ip_address("198.51.100.0")), 24)


@dataclass(frozen=True)
class Crowd:
    """So many members with so many routes each. `servers`: name → make. `changed`: session → fields that differ. `registered`: held against route objects."""

    members: int
    routes: int
    servers: Mapping[str, str]
    registered: bool = False
    changed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unregistered: frozenset[Prefix] = frozenset()
    server: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)

    def prefixes(self, number: int) -> list[Prefix]:
        start = int(ip_address("20.0.0.0"))
        return [Prefix(4, start + (self.routes * number + each << 8), 24) for each in range(self.routes)]

    def policies(self) -> dict[str, ServerPolicy]:
        rules = {"irr": "strict", "irr_sources": ["irr.rpsl"]} if self.registered else {"irr": "off"}
        made = [
            resource("Exchange", "crowd", title={"en": "Crowd"}, asn=64500, country="CN", lab=True),
            resource("Site", "east", title={"en": "east"}, role="hub", level="city", city="east", country="CN"),
            resource("Lan", "lan", title={"en": "LAN"}, v4="198.18.0.0/20"),
            resource("RoutingPolicy", "open", rpki="off", roles=False, **rules, **self.policy),
        ]
        for host, (name, make) in enumerate(self.servers.items(), start=1):
            made.append(
                resource(
                    "RouteServer",
                    name,
                    site="east",
                    lan="lan",
                    policy="open",
                    v4=f"198.18.0.{host}",
                    daemon=make,
                    **self.server.get(name, {}),
                )
            )
        rpsl: list[str] = []
        for number in range(1, self.members + 1):
            name = f"m{number}"
            member = {"name": name, "title": {"en": name}, "asn": FIRST_ASN + number, "class": "isp"}
            session = {"name": name, "member": name, "lan": "lan", "port": name, "v4": address(number), **self.changed.get(name, {})}
            made += [KINDS["Member"].model_validate(member), resource("Port", name, member=name, site="east", speed="10G")]
            made.append(KINDS["Session"].model_validate(session))
            rpsl += [
                f"route: {each}\norigin: AS{FIRST_ASN + number}\nsource: T\n"
                for each in self.prefixes(number)
                if each not in self.unregistered
            ]
        rpsl.append(f"route: {FLAPPING}\norigin: AS{FIRST_ASN + BUSY}\nsource: T\n")
        evidence = Evidence({"file:irr.rpsl": "\n".join(rpsl).encode()} if self.registered else {})
        return {each.name: each for each in policy(Snapshot(made), evidence)}

    def route(self, number: int) -> Route:
        return Route(self.prefixes(number)[0], (FIRST_ASN + number,), ip_address(address(number)))


def address(number: int) -> str:
    return str(ip_address("198.18.0.15") + number)


def number_of(client: ClientPolicy) -> int:
    return client.asn - FIRST_ASN


class Heard(dict[Prefix, Attributes]):
    """What a session has told and not withdrawn; says what is lost."""

    lost: Callable[[Prefix], None]

    def pop(self, prefix: Prefix, *default: Any) -> Any:
        there = prefix in self
        gone = super().pop(prefix, *default)
        if there:
            self.lost(prefix)
        return gone


class Member(Speaker):
    """One session of a member. `answers` is told of what is lost."""

    answers: Members
    server_name: str
    heard: Heard

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.answers.ended.append((self.server_name, self.session))
        for prefix in list(self.heard):
            self.heard.pop(prefix)


@dataclass
class Members:
    """All of them, on a stand with all route servers.

    dark    (member, prefix) that it had on no session although it may have it
    lost    (route server, member, prefix), each time
    ended   (route server, member), each time
    """

    crowd: Crowd
    place: Stand
    policies: Mapping[str, ServerPolicy]
    sessions: dict[tuple[str, str], Member] = field(default_factory=dict)
    may_have: set[Prefix] = field(default_factory=set)
    dark: list[tuple[str, Prefix]] = field(default_factory=list)
    lost: list[tuple[str, str, Prefix]] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)

    async def drive(self, server: str, crowd: Crowd | None = None) -> None:
        """Make what `crowd` says true at one route server, which is started where it does not run."""
        self.crowd = crowd or self.crowd
        self.policies = self.crowd.policies()
        wanted = self.policies[server]
        content = SPEAKERS[wanted.daemon].spell(wanted).encode()
        await DRIVERS[wanted.daemon].drive(self.place.host, server, content)
        assert await DRIVERS[wanted.daemon].look(self.place.host, {server: content}) == {}

    async def stop(self, server: str) -> None:
        await DRIVERS[self.crowd.servers[server]].drive(self.place.host, server, None)

    async def come(self, server: str, numbers: Iterable[int] | None = None, *, at_once: int = AT_ONCE) -> None:
        """Sessions with `server` come up, some at a time, and say at once all that they have to say."""
        wanted = self.policies[server]
        chosen = set(range(1, self.crowd.members + 1) if numbers is None else numbers)
        clients = [each for each in wanted.clients if number_of(each) in chosen]
        for start in range(0, len(clients), at_once):
            some: Sequence[Speaker] = await speakers(wanted, [(each, 4) for each in clients[start : start + at_once]], self.place.members)
            for each in some:
                self._watched(each, server)
                number = number_of(each.client)
                each.announce(self.crowd.route(number), self.crowd.prefixes(number))

    def _watched(self, speaker: Speaker, server: str) -> None:
        heard = Heard(speaker.heard)
        speaker.__class__ = Member
        assert isinstance(speaker, Member)
        speaker.heard, speaker.answers, speaker.server_name = heard, self, server
        heard.lost = lambda prefix: self._lost(server, speaker.session, prefix)
        self.sessions[server, speaker.session] = speaker

    def _lost(self, server: str, member: str, prefix: Prefix) -> None:
        self.lost.append((server, member, prefix))
        others = (each for (_, session), each in self.sessions.items() if session == member) if prefix in self.may_have else ()
        if prefix in self.may_have and not any(prefix in each.heard for each in others):
            self.dark.append((member, prefix))

    def forget(self) -> None:
        """What was noted so far is no longer asked about."""
        self.dark.clear()
        self.lost.clear()
        self.ended.clear()

    async def complete(self, server: str, without: Iterable[Prefix] = ()) -> None:
        """Wait until everybody who has a session with `server` hears on it all routes of everybody else who has one."""
        missing = set(without)
        there = [each for (name, _), each in self.sessions.items() if name == server and each.up]
        own = {each.session: set(self.crowd.prefixes(number_of(each.client))) for each in there}
        every = set().union(*own.values()) - missing

        def all_there() -> bool:
            return all(every - own[each.session] <= each.heard.keys() and missing.isdisjoint(each.heard) for each in there)

        await until(
            all_there,
            lambda: (server, [(each.session, len(each.heard), sorted(map(str, missing & each.heard.keys()))) for each in there if not each.heard.keys() >= every - own[each.session]][:5]),
        )  # fmt: skip

    async def alive(self) -> None:
        """Say now and then that they are there; to be cancelled."""
        while True:
            for each in self.sessions.values():
                each.say(messages.message(messages.KEEPALIVE))
            await asyncio.sleep(20)

    def close(self) -> None:
        for each in self.sessions.values():
            each.close()


async def until(claim: Callable[[], bool], what: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Look until `claim` holds; fail with `what` when the time is up."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def busy(members: Members) -> AsyncIterator[list[int]]:
    """Meanwhile one member announces and withdraws one route more again and again, to every route server it has a session with. How often, so far."""
    route = replace(members.crowd.route(BUSY), prefix=FLAPPING)
    told = [0]

    async def flapping() -> None:
        while True:
            for (_, session), each in list(members.sessions.items()):
                if session == f"m{BUSY}":
                    if told[0] % 2:
                        each.withdraw([route.prefix])
                    else:
                        each.announce(route)
            told[0] += 1
            await asyncio.sleep(0.02)

    work = asyncio.ensure_future(flapping())
    try:
        yield told
    finally:
        work.cancel()
