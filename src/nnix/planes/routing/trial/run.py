"""A candidate proved: every witness is announced to it, and all that it then does is held against the evaluator.

After each round the daemon is left to finish; then the wire, its tables and its sessions are compared. What differs is looked at once more after
a moment, because a timer may still have been due, and counts when it stays.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any

from nnix.daemons.bird import BirdDriver
from nnix.daemons.openbgpd import OpenbgpdDriver
from nnix.kernel.world import Artifact, Driver, Host
from nnix.planes.routing import birdc
from nnix.planes.routing.compile import ClientPolicy, ServerPolicy
from nnix.planes.routing.kinds import AddPaths, Counted, LimitAction, Role
from nnix.planes.routing.naming import Family, protocol_name
from nnix.planes.routing.prove.compare import Difference, Held, Seen, SessionFacts, Side, differences, session_differences, wire_differences
from nnix.planes.routing.prove.evaluate import Evaluator
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.messages import ROLE_MISMATCH, SENDS, TAKES, TOO_MANY_PREFIXES, Attributes
from nnix.planes.routing.prove.route import Prefix, Route
from nnix.planes.routing.prove.witnesses import Plan, Witness, families, plan, sides
from nnix.planes.routing.trial import bird, openbgpd
from nnix.planes.routing.trial.speakers import FIRST_PATH, Speaker, speakers
from nnix.planes.routing.trial.stand import Stand, stand, working

CANDIDATES_AT_ONCE = 2
SETTLED_SECONDS_MAX = 60.0
POLL_SECONDS = 0.003
MOMENT_SECONDS = 0.3
ENDED_SECONDS_MAX = 5.0  # BIRD 2 ends a session that is over its limit after 2 s
DIFFERENCES_MAX = 200
LIMIT_SHOWN_MAX = 20_000  # a limit above is not reached on the wire; the daemon's own account of it is compared all the same
OUR_ROLE: Mapping[Role, int] = {Role.RS: 1, Role.PROVIDER: 0, Role.PEER: 4}  # RFC 9234, 4.1
_ADD_PATHS = {0: AddPaths.OFF, TAKES: AddPaths.RECEIVE, SENDS: AddPaths.SEND, TAKES | SENDS: AddPaths.BOTH}
_ACTION = {LimitAction.RESTART: "restart", LimitAction.SHUTDOWN: "disable", LimitAction.BLOCK: "block", LimitAction.WARN: "warn"}


@dataclass(frozen=True)
class Proof:
    """What came of a trial. `silent` is what could not be witnessed, in words."""

    server: str
    sessions: int
    witnesses: int
    rounds: int
    differences: tuple[Difference, ...]
    silent: tuple[str, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        return not self.differences

    def record(self) -> dict[str, Any]:
        """For programs (`--json`)."""
        return {
            "server": self.server,
            "holds": self.holds,
            "sessions": self.sessions,
            "witnesses": self.witnesses,
            "rounds": self.rounds,
            "seconds": round(self.seconds, 3),
            "differences": [each.record() for each in self.differences],
            "silent": list(self.silent),
        }


async def prove(servers: Sequence[tuple[ServerPolicy, Artifact, Driver]], prefix: str) -> tuple[Proof, ...]:
    """Prove every candidate on a stand of its own, a few at a time: while one waits for its daemon, another is judged. Raises Unjudged; Failed where a candidate
    cannot be tried at all."""
    room = asyncio.Semaphore(CANDIDATES_AT_ONCE)

    async def proved(server: ServerPolicy, artifact: Artifact, driver: Driver) -> Proof:
        async with room, stand([server], prefix) as place:
            return await tried(server, artifact, driver, place)

    works = [asyncio.ensure_future(proved(*each)) for each in servers]
    try:
        return tuple(await asyncio.gather(*works))
    finally:  # where one cannot be tried, nothing of the others is left
        for each in works:
            each.cancel()
        await asyncio.gather(*works, return_exceptions=True)


async def tried(
    server: ServerPolicy, artifact: Artifact, driver: Driver, place: Stand, *, planned: Plan | None = None, first_only: bool = False
) -> Proof:
    """Try one candidate on a stand that is there. `first_only`: stop at the first round that differs."""
    began = monotonic()
    evaluator = Evaluator(server)
    absent = {each.session: why for each in server.clients if (why := unplayable(each))}
    unplayed = tuple(f"session/{session}: not played, since {why}" for session, why in absent.items())
    wanted = plan(evaluator, absent) if planned is None else planned
    trial = Trial(evaluator, artifact, driver, place)
    try:
        found = await trial.run(wanted, first_only=first_only)
    finally:
        await trial.end()
    return Proof(
        server.name,
        len(trial.sides),
        len(wanted),
        len(wanted.rounds),
        tuple(found[:DIFFERENCES_MAX]),
        (*unplayed, *wanted.silent, *trial.silent),
        monotonic() - began,
    )


@dataclass(frozen=True, slots=True)
class Looking:
    """How a candidate of one make is looked into. What the evaluator calls thrown out counts towards a limit where the daemon `counts_all`; what is
    `uncounted` never does."""

    tables: Callable[
        [Host, str, Mapping[str, Side], Collection[tuple[str, Prefix]]],
        Awaitable[tuple[dict[tuple[str, Prefix], Held], dict[tuple[str, Prefix], str]]],
    ]
    protocols: Callable[[Host, str], Awaitable[Mapping[str, birdc.Protocol]]]
    reload: Callable[[Host, str], Awaitable[None]]
    reopen: Callable[[Host, str, ClientPolicy, Family], Awaitable[None]]
    let_in: Callable[[Host, str], Awaitable[None]]
    uncounted: Callable[[Host, str], Awaitable[Callable[[Prefix], bool]]]
    counts_all: bool


LOOKING: Mapping[str, Looking] = {
    "bird": Looking(bird.tables, bird.protocols, bird.reload, bird.reopen, bird.let_in, bird.uncounted, counts_all=False),
    "openbgpd": Looking(
        openbgpd.tables, openbgpd.protocols, openbgpd.reload, openbgpd.reopen, openbgpd.let_in, openbgpd.uncounted, counts_all=True
    ),
}


class Trial:
    """One candidate on a stand: begun, announced to, compared with the evaluator as often as one likes, and ended."""

    def __init__(self, evaluator: Evaluator, artifact: Artifact, driver: Driver, place: Stand) -> None:
        self.of, self.artifact, self.driver, self.place = evaluator, artifact, driver, place
        self.families = families(evaluator)
        self.sides = tuple(side for side in sides(evaluator) if not unplayable(evaluator.clients[side[0]].policy))
        # IPv4 over an IPv6 session (RFC 8950) is a side of its own, and no session of its own.
        self.own = tuple(side for side in self.sides if side[1] == 6 or not evaluator.clients[side[0]].policy.v4_over_v6)
        self.by_protocol: Mapping[str, Side] = {protocol_name(*side): side for side in self.own}
        self.speakers: dict[Side, Speaker] = {}
        self.announced: dict[tuple[str, Prefix], Witness] = {}
        self.pids: tuple[int, ...] = ()
        self.silent: list[str] = []  # what this trial could not show, in words
        self.looking = LOOKING[artifact.driver]
        secrets = driver.secrets if isinstance(driver, BirdDriver | OpenbgpdDriver) else None
        named = {name for client in evaluator.clients.values() if (name := client.policy.password) is not None}
        self.keys = {name: secrets.get(name) or b"" for name in named} if secrets is not None else {}

    @property
    def host(self) -> Host:
        return self.place.host

    async def run(self, wanted: Plan, *, first_only: bool) -> list[Difference]:
        found = await self.begin()
        if found and first_only:
            return found
        if any(not each.up for each in self.speakers.values()):
            return found  # without a session its witnesses would say nothing
        for each in wanted.rounds:
            self.announce(each)
            found += await self.routes()
            if found and first_only:
                return found
        for show in (partial(self._several, wanted.several), self._reload, self._limits, self._strict_roles):
            found += await show()
            if found and first_only:
                return found
        return found

    async def begin(self) -> list[Difference]:
        """Start the daemon and bring all sessions up; how they differ from what the policy says."""
        await self.driver.drive(self.host, self.artifact.name, self.artifact.content)
        await self.looking.let_in(self.host, self.artifact.name)
        self.pids = self.place.pids()
        return list(session_differences(*await self._sessions()))

    async def end(self) -> None:
        for each in self.speakers.values():
            each.close()
        await self.driver.drive(self.host, self.artifact.name, None)

    # -- rounds

    def announce(self, witnesses: Iterable[Witness]) -> None:
        """Announce what was not announced before. What a session said of a prefix is replaced by what it says now."""
        for each in witnesses:
            if (each.session, each.route.prefix.family) not in self.speakers:
                continue
            key = each.session, each.route.prefix
            if (before := self.announced.get(key)) is None or before.route != each.route:
                self.speakers[each.session, each.route.prefix.family].announce(each.route)
            self.announced[key] = each

    async def settled(self) -> None:
        """Return when the daemon has nothing left to do. Raises TimeoutError."""
        deadline = monotonic() + SETTLED_SECONDS_MAX
        octets, quiet = -1, 0
        while quiet < 2:
            await asyncio.sleep(POLL_SECONDS)
            heard = sum(each.octets for each in self.speakers.values())
            idle = heard == octets and not any(each.unsent for each in self.speakers.values()) and not working(self.pids)
            octets, quiet = heard, quiet + 1 if idle else 0
            if monotonic() > deadline:
                raise TimeoutError(f"route-server/{self.of.server.name}: the candidate is still busy after {SETTLED_SECONDS_MAX:g} s")

    async def routes(self) -> list[Difference]:
        """How wire and tables differ from what the evaluator says of all that is announced, once the daemon has nothing left to do."""
        await self.settled()
        found = await self._routes()
        if found:
            await asyncio.sleep(MOMENT_SECONDS)
            await self.settled()
            found = await self._routes()
        return found

    async def _several(self, several: Iterable[tuple[Witness, ...]]) -> list[Difference]:
        """Clients that may send several paths do, then withdraw the best: what receivers hear of it. In the tables such paths bear no number that would
        tell them apart, so they are not held against anything there."""
        here = [paths for paths in several if (paths[0].session, paths[0].route.prefix.family) in self.speakers]
        shown = [paths for paths in here if self._has_room(paths)]
        if not shown:
            return []
        besides = [each for _, *more in shown for each in more]
        self.announce(best for best, *_ in shown)
        for _, *more in shown:
            for number, each in enumerate(more, FIRST_PATH + 1):
                self.speakers[each.session, each.route.prefix.family].announce(each.route, number=number)
        found = await self._wire(besides)
        for best, *_ in shown:
            prefix = best.route.prefix
            self.speakers[best.session, prefix.family].withdraw([prefix])
            del self.announced[best.session, prefix]
        found += await self._wire(besides)
        for best, *more in shown:
            prefix = best.route.prefix
            for number, _ in enumerate(more, FIRST_PATH + 1):
                self.speakers[best.session, prefix.family].withdraw([prefix], number=number)
        self.announce(best for best, *_ in shown)
        return found

    def _has_room(self, paths: Sequence[Witness]) -> bool:
        """Whether a client may send so many more; one that may not is named."""
        side = paths[0].session, paths[0].route.prefix.family
        if len(self._announced(side)) + len(paths) <= (self._expected(side).limit or 0):
            return True
        self.silent.append(f"session/{side[0]} IPv{side[1]}: its limit has no room for several paths to one prefix")
        return False

    async def _wire(self, besides: Sequence[Witness]) -> list[Difference]:
        """How what receivers hear differs, where `besides` are announced as further paths."""

        def against() -> list[Difference]:
            expected = self._exchange([(each.session, each.route) for each in besides])
            words = {(each.session, each.route.prefix): each.says for each in (*besides, *self.announced.values())}
            return list(islice(wire_differences(expected, self._what_is_heard({}, {}), words), DIFFERENCES_MAX))

        await self.settled()
        if not (found := against()):
            return found
        await asyncio.sleep(MOMENT_SECONDS)
        await self.settled()
        return against()

    async def _routes(self) -> list[Difference]:
        held, refused = await self.looking.tables(self.host, self.artifact.name, self.by_protocol, self.announced)
        return self._against(held, refused)

    def _against(self, held: Mapping[tuple[str, Prefix], Held], refused: Mapping[tuple[str, Prefix], str]) -> list[Difference]:
        words = {key: each.says for key, each in self.announced.items()}
        found = list(islice(differences(self._exchange(), self._what_is_heard(held, refused), words), DIFFERENCES_MAX))
        return found + [Difference("session", _side(each), "", "up", _end(each)) for each in self.speakers.values() if not each.up]

    def _exchange(self, besides: Iterable[tuple[str, Route]] = ()) -> Exchange:
        """What ought to come of all that is announced."""
        routes = ((session, each.route) for (session, _), each in self.announced.items())
        ids = {name: int(each.router_id) for (name, _), each in self.speakers.items()}
        return Exchange(self.of, routes, ids, besides=besides)

    def _what_is_heard(self, held: Mapping[tuple[str, Prefix], Held], refused: Mapping[tuple[str, Prefix], str]) -> Seen:
        several = {side for side in self.speakers if self.of.clients[side[0]].policy.add_paths.sends}
        heard = {side: self._heard(side) for side in self.speakers if side not in several}
        return Seen(heard, held, refused, {side: self.speakers[side].told(side[1]) for side in several})

    def _heard(self, side: Side) -> Mapping[Prefix, Attributes]:
        speaker = self.speakers[side]
        if len(speaker.families) == 1:
            return speaker.heard
        return {prefix: each for prefix, each in speaker.heard.items() if prefix.family == side[1]}

    # -- sessions

    async def _sessions(self) -> tuple[dict[Side, SessionFacts], dict[Side, SessionFacts]]:
        """(expected, seen) of every session, which are brought up for it."""
        configured = await self.looking.protocols(self.host, self.artifact.name)
        present = [side for side in self.own if protocol_name(*side) in configured]
        clients = self.of.clients
        wanted = [(clients[session].policy, family) for session, family in present]
        made = await speakers(self.of.server, wanted, self.place.members, keys=self.keys)
        self.speakers = dict(zip(present, made, strict=True))
        self.speakers |= {side: self.speakers[side[0], 6] for side in self.sides if side not in self.own and (side[0], 6) in self.speakers}
        await self.settled()
        known = await self.looking.protocols(self.host, self.artifact.name)
        expected = {side: self._expected(side) for side in self.own}
        unplayed = {protocol_name(*side) for side in sides(self.of)} - self.by_protocol.keys()
        seen = {self.by_protocol.get(name, (name, 4)): self._seen(name, each) for name, each in known.items() if name not in unplayed}
        return expected, seen

    def _expected(self, side: Side) -> SessionFacts:
        server, policy = self.of.server, self.of.policy
        client = self.of.clients[side[0]].policy
        return SessionFacts(
            up=True,
            asn=server.asn,
            router_id=str(server.router_id),
            hold_time_seconds=client.hold_time_seconds,
            role=OUR_ROLE[client.role] if policy.roles else None,
            limit=sum({4: client.routes_max_v4, 6: client.routes_max_v6}[family] for family in self._counted(side)),
            limit_action=_ACTION[client.limit_action],
            add_paths=client.add_paths,
        )

    def _counted(self, side: Side) -> tuple[Family, ...]:
        """The families whose routes count towards the limit of a session: OpenBGPD has one for all that it carries."""
        joined = self.of.server.daemon == "openbgpd" and self.of.clients[side[0]].policy.v4_over_v6
        return (4, 6) if joined else (side[1],)

    def _announced(self, side: Side) -> list[Route]:
        """What was announced and counts towards the limit of a session."""
        families = self._counted(side)
        return [each.route for (session, prefix), each in self.announced.items() if session == side[0] and prefix.family in families]

    def _seen(self, name: str, protocol: birdc.Protocol) -> SessionFacts:
        speaker = self.speakers.get(self.by_protocol.get(name, (name, 4)))
        said = speaker.opened if speaker is not None else None
        return SessionFacts(
            up=speaker is not None and speaker.up,
            asn=said and said.asn,
            router_id=str(said.router_id) if said else "",
            hold_time_seconds=said and said.hold_time_seconds,
            role=said and said.role,
            limit=protocol.limit,
            limit_action=protocol.limit_action,
            add_paths=_add_paths(said.several, speaker.families) if said and speaker else "",
        )

    # -- what is shown once, in the end

    async def _reload(self) -> list[Difference]:
        """A new policy is applied to what members sent before, and nothing is asked of them."""
        await self.looking.reload(self.host, self.artifact.name)
        found = await self.routes()
        return found + [
            Difference("session", _side(each), "the policy is applied anew", "nothing asked", "everything asked for again")
            for each in self.speakers.values()
            if each.refreshes
        ]

    async def _limits(self) -> list[Difference]:
        """One session in each family sends as much as it may, and then one more."""
        found: list[Difference] = []
        more: list[tuple[Speaker, Route, int]] = []
        uncounted = await self.looking.uncounted(self.host, self.artifact.name)
        for family in self.families:
            ending = [side for side in self.own if side[1] == family and side in self.speakers and self._ends_above(side)]
            side = min(ending, key=lambda each: self._expected(each).limit or 0, default=None)
            limit = self._expected(side).limit or 0 if side else 0
            if side is None or limit > LIMIT_SHOWN_MAX:
                continue
            speaker = self.speakers[side]
            mine = self._announced(side)
            counted = [route for route in mine if not uncounted(route.prefix)]
            sent = sum(1 for route in counted if self.looking.counts_all or not self.of.thrown_out(side[0], route))
            bits, start = (32, 44 << 24) if family == 4 else (128, 0x2A0F << 112)
            many = [Prefix(side[1], start + 3 + number, bits) for number in range(limit - sent + 1)]
            next_hop = next(each.next_hop for each in mine if each.prefix.family == family)
            route = Route(many[-1], (speaker.client.asn,), next_hop)
            if many[:-1]:
                speaker.announce(route, many[:-1])
            more.append((speaker, route, limit))
        await self.settled()
        await asyncio.sleep(MOMENT_SECONDS)
        for speaker, route, limit in more:
            if speaker.notification is not None or not speaker.up:
                said = f"{limit} routes, as many as it may"
                found.append(Difference("session", _side(speaker), said, "up", f"ended by {speaker.notification}"))
            speaker.announce(route)
        for speaker, _, limit in more:
            await self._ended(speaker)
            if speaker.notification != TOO_MANY_PREFIXES:
                said = f"{limit + 1} routes, one too many"
                found.append(Difference("session", _side(speaker), said, f"ended by {TOO_MANY_PREFIXES}", _end(speaker)))
        return found

    def _ends_above(self, side: Side) -> bool:
        """Whether whatever it sends above its limit ends the session."""
        client = self.of.clients[side[0]].policy
        return client.limit_counts is Counted.RECEIVED and client.limit_action in (LimitAction.RESTART, LimitAction.SHUTDOWN)

    async def _ended(self, speaker: Speaker) -> None:
        """Wait until the route server ends the session, or has had the time to."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDED_SECONDS_MAX):
                await speaker.ended.wait()

    async def _strict_roles(self) -> list[Difference]:
        """Who must name a role and does not is refused (RFC 9234, 4.2)."""
        if not self.of.policy.roles:
            return []
        strict = [side for side in self.own if side in self.speakers and self.of.clients[side[0]].policy.role_strict]
        if not strict:
            return []
        for side in strict:
            self.speakers.pop(side).close()
        await self.settled()
        for name, family in strict:  # or it would pause after the session that we ended
            await self.looking.reopen(self.host, self.artifact.name, self.of.clients[name].policy, family)
        again = await speakers(
            self.of.server,
            [(self.of.clients[name].policy, family) for name, family in strict],
            self.place.members,
            names_role=False,
            keys=self.keys,
        )
        found = [
            Difference("session", _side(each), "no role in its OPEN", f"ended by {ROLE_MISMATCH}", _end(each))
            for each in again
            if each.notification != ROLE_MISMATCH
        ]
        for each in again:
            each.close()
        return found


def unplayable(client: ClientPolicy) -> str:
    """Why a client cannot be played; empty when it can."""
    return "its segments are signed by TCP-AO" if client.tcp_key is not None else ""


def _add_paths(several: Mapping[Family, int], families: Collection[Family]) -> str:
    """What the route server's OPEN says of several paths, in the words of `Session.add_paths`; by family where they differ."""
    said = {family: _ADD_PATHS[several.get(family, 0)] for family in families}
    return said[min(said)] if len(set(said.values())) == 1 else ", ".join(f"IPv{family} {each}" for family, each in said.items())


def _side(speaker: Speaker) -> str:
    return f"session/{speaker.session} IPv{speaker.family}"


def _end(speaker: Speaker) -> str:
    return "up" if speaker.up else f"ended by {speaker.notification}"
