"""What became of sessions and route servers, and which routes were refused: asked of the running daemons.

A session is as wanted when every route server of its LAN has it Established in every family that both ends have; behind a drained
port it is as wanted when none has. What is found is put into words here and judged nowhere else.

How the daemons are asked, each make in its own way, stands in `asking.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nnix.kernel.plane import Machines, Status
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Unreachable
from nnix.planes.fabric.kinds import PortState
from nnix.planes.routing import birdc
from nnix.planes.routing.asking import ASKING, Refusal, refusal
from nnix.planes.routing.kinds import RouteServer, Session
from nnix.planes.routing.naming import protocol_name, sessions_by_protocol
from nnix.planes.routing.sources import clients


@dataclass(frozen=True, slots=True)
class RefusedRoute:
    """A route that a route server does not pass on. `reason` is the slug, `words` say it in full; `as_path` as the daemon prints it, empty
    where only the daemon's log knows of the route. `since` is the route server's local time."""

    server: str
    member: str
    session: str
    prefix: str
    as_path: str
    next_hop: str
    reason: str
    words: str
    since: str = ""

    def record(self) -> dict[str, Any]:
        """For programs (`--json`)."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one route server's daemon said; `trouble` in words when it could not be asked."""

    protocols: Mapping[str, birdc.Protocol]
    version: str = ""
    trouble: str = ""


async def read(snapshot: Snapshot, machines: Machines) -> Iterable[Status]:
    """A status for every session and every route server, by name. A machine that cannot be asked makes statuses, not exceptions."""
    servers = snapshot.of(RouteServer)
    answers = dict(zip((each.name for each in servers), await asyncio.gather(*(_ask(each, machines) for each in servers)), strict=True))
    return (
        *(_session(each, snapshot, answers) for each in snapshot.of(Session)),
        *(_server(each, snapshot, answers[each.name]) for each in servers),
    )


async def refused_routes(
    snapshot: Snapshot, machines: Machines, server: str | None = None, member: str | None = None
) -> list[RefusedRoute]:
    """Every refused route, of one server or member where these are named (resource names); sorted.

    Route servers that cannot be asked are passed over, as their statuses say so; Unreachable is raised when that leaves none.
    """
    asked = [each for each in snapshot.of(RouteServer) if server is None or each.name == server]
    answers = await asyncio.gather(*(_refused(each, snapshot, machines) for each in asked), return_exceptions=True)
    found = [answer for answer in answers if not isinstance(answer, BaseException)]
    for answer in answers:
        if isinstance(answer, BaseException) and (not found or not isinstance(answer, Unreachable)):
            raise answer
    return sorted(
        (route for routes in found for route in routes if member is None or route.member == member),
        key=lambda route: (route.server, route.session, ":" in route.prefix, route.prefix),
    )


async def _ask(server: RouteServer, machines: Machines) -> _Answer:
    try:
        found = await ASKING[server.daemon].sessions(machines.host(str(server.machine or server.name)), server.name)
    except Unreachable as error:
        return _Answer({}, trouble=str(error))
    return _Answer(found.protocols, found.version)


# sessions -----------------------------------------------------------------------------------------------------------


def _session(session: Session, snapshot: Snapshot, answers: Mapping[str, _Answer]) -> Status:
    if not session.route_servers:
        return Status(session.id, "bilateral", "not meant for the route servers")
    port = snapshot.at(session.port)
    if port.state not in (PortState.PRODUCTION, PortState.DRAINED):
        return Status(session.id, "off", f"{port.id} is {port.state}")
    facts: dict[str, dict[str, Any]] = {}
    up: list[str] = []
    down: list[tuple[str, str]] = []
    notes: list[tuple[str, str]] = []
    for server in snapshot.where(RouteServer, lan=session.lan):
        answer = answers[server.name]
        if answer.trouble:
            down.append((server.name, f"the route server cannot be asked: {answer.trouble}"))
            continue
        for family in (4, 6):
            field = f"v{family}"
            if getattr(session, field) is None or getattr(server, field) is None:
                continue
            where = f"{server.name} IP{field}"
            protocol = answer.protocols.get(protocol_name(session, 4 if family == 4 else 6))
            if protocol is None:
                down.append((where, "not configured there"))
                continue
            reason = reason_of(protocol)
            facts.setdefault(server.name, {})[field] = {
                "state": protocol.state.lower(),
                "since": protocol.since,
                "received": protocol.imported + protocol.filtered,
                "accepted": protocol.imported,
                "filtered": protocol.filtered,
                "exported": protocol.exported,
                "limit": protocol.limit,
                "reason": reason,
            }
            if protocol.established:
                up.append(where)
                if reason:
                    notes.append((where, reason))
            else:
                down.append((where, reason))
    if port.state is PortState.DRAINED:
        reason = f"{port.id} is drained" + (f"; still established: {', '.join(up)}" if up else "")
        return Status(session.id, "draining" if up else "drained", reason, good=not up, facts=facts)
    if not up and not down:
        return Status(session.id, "unserved", f"no route server speaks its address families on lan/{session.lan}", good=False, facts=facts)
    state = "established" if not down else "partial" if up else "down"
    if down and not up and all(reason.startswith("the route server cannot be asked") for _, reason in down):
        state = "unknown"
    return Status(session.id, state, _told(down + notes), good=not down and not notes, facts=facts)


def _told(parts: Sequence[tuple[str, str]]) -> str:
    """`rs1 IPv4, rs2 IPv4: waits …; rs1 IPv6: …`: what is the same is said once."""
    by_reason: dict[str, list[str]] = {}
    for where, reason in parts:
        by_reason.setdefault(reason, []).append(where)
    return "; ".join(f"{', '.join(wheres)}: {reason}" for reason, wheres in by_reason.items())


def reason_of(protocol: birdc.Protocol) -> str:
    """Why a protocol is not as one would have it, in words; empty when it is well. Pure."""
    if protocol.limit_hit or "limit exceeded" in protocol.error.lower():
        return f"max-prefix limit reached ({protocol.limit} routes)" if protocol.limit else "max-prefix limit reached"
    if protocol.established:
        return ""
    if protocol.error:
        return protocol.error
    return {
        "Passive": "waits for the member to connect",
        "Active": "tries to connect",
        "Connect": "tries to connect",
        "OpenSent": "the member has not answered our OPEN",
        "OpenConfirm": "waits for the first KEEPALIVE",
        "Down": "switched off",
    }.get(protocol.state, protocol.state)


def _server(server: RouteServer, snapshot: Snapshot, answer: _Answer) -> Status:
    if answer.trouble:
        return Status(server.id, "down", answer.trouble, good=False)
    wanted = {
        name: family
        for name, (_, family) in sessions_by_protocol(clients(server, snapshot)).items()
        if (server.v4 if family == 4 else server.v6) is not None
    }
    missing = sorted(wanted.keys() - answer.protocols.keys())
    surplus = sorted(answer.protocols.keys() - wanted.keys())
    facts = {
        "version": answer.version,
        "sessions": len(wanted),
        "established": sum(1 for name in wanted if name in answer.protocols and answer.protocols[name].established),
        "routes": sum(each.imported for each in answer.protocols.values()),
        "filtered": sum(each.filtered for each in answer.protocols.values()),
    }
    trouble = [
        f"{what}: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        for what, names in (("lacks", missing), ("has beyond the model", surplus))
        if names
    ]
    return Status(server.id, "differs" if trouble else "running", "; ".join(trouble), good=not trouble, facts=facts)


# refused routes -----------------------------------------------------------------------------------------------------


async def _refused(server: RouteServer, snapshot: Snapshot, machines: Machines) -> list[RefusedRoute]:
    try:
        found = await ASKING[server.daemon].refused(machines.host(str(server.machine or server.name)), server.name)
    except Unreachable as error:
        raise Unreachable(f"{server.id}: {error}") from None
    members = known_members(sessions_by_protocol(snapshot.where(Session, lan=server.lan)))
    return [_told_of(each, server.name, *members[each.route.protocol]) for each in found if each.route.protocol in members]


def _told_of(refused: Refusal, server: str, member: str, session: str) -> RefusedRoute:
    route = refused.route
    return RefusedRoute(server, member, session, route.prefix, route.path, route.next_hop, refused.reason, refused.words, route.since)


def known_members(known: Mapping[str, tuple[Session, int]]) -> dict[str, tuple[str, str]]:
    """protocol → (member, session)."""
    return {name: (str(session.member), session.name) for name, (session, _) in known.items()}


def refused_in(text: str, server: str, members: Mapping[str, tuple[str, str]]) -> list[RefusedRoute]:
    """Refused routes of BIRD's `show route all filtered`; those of protocols not in `members` (protocol → member, session) are left out. Pure."""
    return [_told_of(refusal(each), server, *members[each.protocol]) for each in birdc.routes(text) if each.protocol in members]
