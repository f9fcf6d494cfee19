"""Running route servers held against their policy: what members have announced to them, and what became of it.

No witness is needed here, since members announce enough. What each session has sent is read where the daemon keeps it unfiltered (BIRD's import
tables, OpenBGPD's Adj-RIB-In), the evaluator says what ought to be accepted, refused and told, and the daemon's tables say what was.
Nothing is changed, and no member notices.

The world does not stand still while it is read. So what was announced is read before and after, and what changed in between is left out of the
comparison and counted; of a session that is down there is nothing to compare.

Whether a session carries several paths for a prefix (ADD-PATH, RFC 7911) is for its two ends to agree on, so the member's OPEN, as the daemon has kept it, says
whether sets of routes are held against one another, or one route a prefix. A route server that was told by its policy to offer several, and does not, differs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address
from itertools import islice
from typing import Any

from nnix.daemons.openbgpd import SOCKET
from nnix.kernel.plane import Machines
from nnix.kernel.world import Host, Unreachable
from nnix.planes.routing import bgpctl, birdc
from nnix.planes.routing.asking import ASKING
from nnix.planes.routing.compile import ServerPolicy
from nnix.planes.routing.naming import protocol_name
from nnix.planes.routing.prove.compare import Difference, Held, Paths, Seen, Side, differences
from nnix.planes.routing.prove.evaluate import NOT_TRANSITIVE, Evaluator
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.messages import Attributes
from nnix.planes.routing.prove.route import Prefix, Route, prefix_of
from nnix.planes.routing.prove.witnesses import sides
from nnix.planes.routing.trial.bird import held_of

DIFFERENCES_MAX = 200
ANSWER_SECONDS = 120.0
_END = "Daemon is up and running"  # the last line of `show status`, which is asked after every question

Announced = dict[tuple[str, Prefix], Route]
Told = dict[Side, dict[Prefix, Paths]]


@dataclass(frozen=True)
class Agreement:
    """Whether a running route server does what its policy says. `moved` routes changed while it was read; `cut` ones have more communities than
    the daemon prints, or came over several paths from one session; neither is compared. `several` sessions are told several paths for one prefix (RFC
    7911), which are compared as sets."""

    server: str
    sessions: int
    established: int
    routes: int
    told: int
    moved: int
    cut: int
    several: int
    differences: tuple[Difference, ...]
    trouble: str = ""

    @property
    def holds(self) -> bool:
        return not self.differences and not self.trouble

    def record(self) -> dict[str, Any]:
        """For programs (`--json`)."""
        return {
            "server": self.server,
            "holds": self.holds,
            "sessions": self.sessions,
            "established": self.established,
            "routes": self.routes,
            "told": self.told,
            "moved": self.moved,
            "cut": self.cut,
            "several": self.several,
            "trouble": self.trouble,
            "differences": [each.record() for each in self.differences],
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """How one make is read: what was announced, of one prefix or all (and which of it is not printed in full), and what is told. Both raise Unreachable."""

    announced: Callable[[Host, str, Mapping[str, Side], Prefix | None], Awaitable[tuple[Announced, frozenset[tuple[str, Prefix]]]]]
    told: Callable[[Host, str, Mapping[str, Side], Evaluator], Awaitable[Told]]


async def agree(servers: Sequence[ServerPolicy], machines: Machines) -> tuple[Agreement, ...]:
    """Every route server of `servers` against its daemon. Raises Unjudged."""
    return tuple(await asyncio.gather(*(_agree(server, machines) for server in servers)))


async def _agree(server: ServerPolicy, machines: Machines) -> Agreement:
    evaluator = Evaluator(server)
    by_protocol = {protocol_name(*side): side for side in sides(evaluator)}
    try:
        host = machines.host(server.machine)
        known = (await ASKING[server.daemon].sessions(host, server.name)).protocols
        up = {name: side for name, side in by_protocol.items() if name in known and known[name].established}
        before, cut = await READING[server.daemon].announced(host, server.name, up, None)
        heard = await READING[server.daemon].told(host, server.name, up, evaluator)
        mine = [each for each in await ASKING[server.daemon].accepted(host, server.name) if each.protocol in up]
        held = {(up[each.protocol][0], prefix_of(each.prefix)): held_of(each) for each in mine}
        bad = await ASKING[server.daemon].refused(host, server.name)
        refused = {(up[e.route.protocol][0], prefix_of(e.route.prefix)): e.reason for e in bad if e.route.protocol in up}
        after, _ = await READING[server.daemon].announced(host, server.name, up, None)
    except Unreachable as error:
        return Agreement(server.name, len(by_protocol), 0, 0, 0, 0, 0, 0, (), str(error))
    moved = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    thrown = {key: reason for key, reason in refused.items() if key not in before}  # the daemon has it not even among what it received
    left_out = {prefix for _, prefix in moved | cut}
    ids = {up[name][0]: int(IPv4Address(each.router_id)) for name, each in known.items() if name in up and each.router_id}
    alone = {side for name, side in up.items() if side[1] not in known[name].takes_several}
    expected = Exchange(evaluator, [(session, route) for (session, prefix), route in before.items() if prefix not in left_out], ids, alone)
    several = {side for side in heard if expected.several(*side)}
    told = sum(each.total() for routes in heard.values() for each in routes.values())
    heard = {side: {prefix: each for prefix, each in routes.items() if prefix not in left_out} for side, routes in heard.items()}
    seen = Seen(
        {side: {prefix: next(iter(each)) for prefix, each in heard[side].items()} for side in heard.keys() - several},
        {key: each for key, each in held.items() if key[1] not in left_out},
        {key: reason for key, reason in refused.items() if key not in thrown and key[1] not in left_out},
        {side: heard[side] for side in several},
    )
    found = tuple(islice(differences(expected, seen, {}), DIFFERENCES_MAX))
    return Agreement(server.name, len(by_protocol), len(up), len(before), told, len(moved), len(cut), len(several), found)


async def announced(server: ServerPolicy, machines: Machines, only: Prefix | None = None) -> tuple[Announced, dict[str, int]]:
    """What the sessions of a running route server have sent, of one prefix or all; and their BGP identifiers. Raises Unreachable."""
    evaluator = Evaluator(server)
    by_protocol = {protocol_name(*side): side for side in sides(evaluator)}
    host = machines.host(server.machine)
    known = (await ASKING[server.daemon].sessions(host, server.name)).protocols
    up = {name: side for name, side in by_protocol.items() if name in known and known[name].established}
    found, _ = await READING[server.daemon].announced(host, server.name, up, only)
    return found, {up[name][0]: int(IPv4Address(each.router_id)) for name, each in known.items() if name in up and each.router_id}


def route_of(prefix: Prefix, held: Held) -> Route:
    return held.attributes.route(prefix)


def written(attributes: Attributes, evaluator: Evaluator) -> Attributes:
    """What daemons do only when they write the message, so that no table shows it: the ONLY_TO_CUSTOMER attribute is put on (RFC 9234, 5),
    non-transitive communities are left out (RFC 4360, 6)."""
    return attributes._replace(
        otc=evaluator.asn if attributes.otc is None and evaluator.policy.roles else attributes.otc,
        extended=frozenset(each for each in attributes.extended if not each >> 56 & NOT_TRANSITIVE),
    )


# --- BIRD -------------------------------------------------------------------------------------------------------------


async def _bird(host: Host, name: str, questions: Sequence[str]) -> list[str]:
    """An answer for each question, in one go."""
    text = "".join(f"{each}\nshow status\n" for each in questions) + "quit\n"
    control = f"{host.home}/bird/{name}/bird.ctl"
    result = await host.run(["birdc", "-r", "-s", control], stdin=text.encode(), timeout_seconds=ANSWER_SECONDS)
    if result.status != 0:
        raise Unreachable((result.err or result.out).strip().split("\n")[-1] or f"birdc ended with {result.status}")
    answers = result.out.split(_END)
    if len(answers) != len(questions) + 1:
        raise Unreachable(f"bird {name} gave {len(answers) - 1} answers to {len(questions)} questions")
    return answers[:-1]


async def _bird_announced(
    host: Host, name: str, up: Mapping[str, Side], only: Prefix | None
) -> tuple[Announced, frozenset[tuple[str, Prefix]]]:
    known = [(protocol, side) for protocol, side in up.items() if only is None or side[1] == only.family]
    which = "" if only is None else f"{only} "
    answers = await _bird(host, name, [f"show route {which}all import table {protocol}.ipv{side[1]}" for protocol, side in known])
    found: Announced = {}
    cut: set[tuple[str, Prefix]] = set()
    for (_, (session, _)), answer in zip(known, answers, strict=True):
        for each in birdc.routes(answer):
            prefix, held = prefix_of(each.prefix), held_of(each)
            if held.cut or (session, prefix) in found:
                cut.add((session, prefix))
            found[session, prefix] = route_of(prefix, held)
    return found, frozenset(cut)


async def _bird_told(host: Host, name: str, up: Mapping[str, Side], evaluator: Evaluator) -> Told:
    """What was sent, by BIRD's own account of it (`exported`), in the shape that the export filter gives it (`export`)."""
    known = list(up.items())
    sent = await _bird(host, name, [f"show route all exported {protocol}" for protocol, _ in known])
    shaped = await _bird(host, name, [f"show route all export {protocol}" for protocol, _ in known])
    found: Told = {}
    for (_, side), one, other in zip(known, sent, shaped, strict=True):
        mine = evaluator.clients[side[0]].policy
        whose = {(each.prefix, each.protocol) for each in birdc.routes(one)}
        heard: dict[Prefix, Paths] = {}
        for each in birdc.routes(other):
            prefix, attributes = prefix_of(each.prefix), held_of(each).attributes
            if prefix.family != side[1] or (each.prefix, each.protocol) not in whose or attributes.next_hop in (mine.v4, mine.v6):
                continue
            heard.setdefault(prefix, Counter())[written(attributes, evaluator)] += 1
        found[side] = heard
    return found


# --- OpenBGPD ---------------------------------------------------------------------------------------------------------


async def _rib(host: Host, name: str, *words: str) -> list[birdc.Entry]:
    result = await host.run(
        ["bgpctl", "-s", f"{host.home}/openbgpd/{name}/{SOCKET}", "-j", "show", "rib", *words], timeout_seconds=ANSWER_SECONDS
    )
    if result.status != 0 or not result.out.strip():
        raise Unreachable((result.err or result.out).strip().split("\n")[-1] or f"bgpctl ended with {result.status}")
    return list(bgpctl.routes(result.out, datetime(1970, 1, 1)))


def _of(entries: Iterable[birdc.Entry], up: Mapping[str, Side]) -> Iterable[tuple[Side, Prefix, Held]]:
    return ((up[each.protocol], prefix_of(each.prefix), held_of(each)) for each in entries if each.protocol in up)


async def _openbgpd_announced(
    host: Host, name: str, up: Mapping[str, Side], only: Prefix | None
) -> tuple[Announced, frozenset[tuple[str, Prefix]]]:
    entries = await _rib(host, name, "detail", "table", "Adj-RIB-In", *(() if only is None else (str(only),)))
    found: Announced = {}
    several: set[tuple[str, Prefix]] = set()
    for (session, _), prefix, held in _of(entries, up):
        if only in (None, prefix):
            if (session, prefix) in found:
                several.add((session, prefix))
            found[session, prefix] = route_of(prefix, held)
    return found, frozenset(several)


async def _openbgpd_told(host: Host, name: str, up: Mapping[str, Side], evaluator: Evaluator) -> Told:
    found: Told = {side: {} for side in up.values()}
    for side, prefix, held in _of(await _rib(host, name, "out", "detail"), up):
        found[side].setdefault(prefix, Counter())[written(held.attributes, evaluator)] += 1
    return found


READING: Mapping[str, Reading] = {
    "bird": Reading(_bird_announced, _bird_told),
    "openbgpd": Reading(_openbgpd_announced, _openbgpd_told),
}
