"""Routes that a route server has taken, and what became of each member: the good half of what `read` tells."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nnix.kernel.plane import Machines, Status
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Unreachable
from nnix.planes.members.kinds import Member
from nnix.planes.routing.asking import ASKING
from nnix.planes.routing.kinds import RouteServer, Session
from nnix.planes.routing.naming import sessions_by_protocol
from nnix.planes.routing.read import RefusedRoute


@dataclass(frozen=True, slots=True)
class AcceptedRoute:
    """A route that passed a route server's import. `as_path` as the daemon prints it; `since` is the route server's local time."""

    server: str
    member: str
    session: str
    prefix: str
    as_path: str
    next_hop: str
    since: str

    def record(self) -> dict[str, Any]:
        """For programs (`--json`)."""
        return asdict(self)


async def routes_of(snapshot: Snapshot, machines: Machines, server: str | None = None, member: str | None = None) -> list[AcceptedRoute]:
    """Every accepted route, of one server or member where these are named; sorted. Raises Unreachable for a server that cannot be asked."""
    asked = [each for each in snapshot.of(RouteServer) if server is None or each.name == server]
    found = await asyncio.gather(*(_accepted(each, snapshot, machines) for each in asked))
    return sorted(
        (route for routes in found for route in routes if member is None or route.member == member),
        key=lambda route: (route.server, route.session, ":" in route.prefix, route.prefix),
    )


async def _accepted(server: RouteServer, snapshot: Snapshot, machines: Machines) -> list[AcceptedRoute]:
    try:
        found = await ASKING[server.daemon].accepted(machines.host(str(server.machine or server.name)), server.name)
    except Unreachable as error:
        raise Unreachable(f"{server.id}: {error}") from None
    known = sessions_by_protocol(snapshot.where(Session, lan=server.lan))
    return [
        AcceptedRoute(server.name, str(known[e.protocol][0].member), known[e.protocol][0].name, e.prefix, e.path, e.next_hop, e.since)
        for e in found
        if e.protocol in known
    ]


EXPLAINING = ("mac", "arp", "address")
"""what a port drops when its member speaks as somebody else; the rest (a stray router solicitation) keeps no session down"""


def member_statuses(
    snapshot: Snapshot, statuses: Iterable[Status], refused: Iterable[RefusedRoute], drop_words: Mapping[str, str]
) -> Iterator[Status]:
    """What became of each member: of its sessions, and of the routes that it announced. `drop_words` say why ports drop frames. Pure."""
    by_id = {each.resource: each for each in statuses}
    refusals: dict[str, Counter[str]] = {}
    for name, reason, _ in {(route.member, route.reason, route.prefix) for route in refused}:
        refusals.setdefault(name, Counter())[reason] += 1
    for member in snapshot.of(Member):
        sessions = [each for each in snapshot.where(Session, member=member.name) if each.id in by_id]
        mine = [by_id[each.id] for each in sessions]
        said = []
        for session, became in zip(sessions, mine, strict=True):
            if not became.good:
                port = by_id.get(session.port.id)
                dropped = (port.facts or {}).get("dropped", {}) if port else {}
                blocked = "".join(
                    f"; its port dropped {dropped[why]} frames: {drop_words.get(why, why)}" for why in EXPLAINING if why in dropped
                )
                said.append(f"{session.name} {became.reason}{blocked}")
        if member.name in refusals:
            reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(refusals[member.name].items()))
            said.append(f"routes refused: {reasons}")
        bad = [each for each in mine if not each.good]
        state = "absent" if not mine else "down" if len(bad) == len(mine) else "partial" if bad else "up"
        if state == "up" and all(each.state == "off" for each in mine):
            state = "off"
        yield Status(member.id, state, "; ".join(said), good=not bad)
