"""What a change of policy means for members: whose routes are newly accepted, refused, told or withdrawn, and why.

Both policies, the one that runs and the one that is planned, judge the same routes, those that members announce at this moment. What a route server is
told between the plan and the change is not foreseen; nor what a member announces that has no session yet.

A change seldom concerns everybody. What receivers are told is worked out anew only for prefixes with a route whose verdict changes, and for all
prefixes only towards receivers whose own policy changes; where something that all share changes, towards all. The same holds for the daemon: what it has
to do is foreseen from this, in routes that its filters read again (`Work`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from nnix.planes.routing.communities import REASON
from nnix.planes.routing.compile import ClientPolicy, ServerPolicy
from nnix.planes.routing.prove.evaluate import FAMILIES, WITHHELD, Evaluator, Verdict
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.route import Prefix, Route
from nnix.planes.routing.rpki import RoaTable

Announced = Mapping[tuple[str, Prefix], Route]

INWARD = frozenset(
    [
        *("irr", "irr_more_specifics", "origins", "prefixes_v4", "prefixes_v6", "accepted_v4", "accepted_v6", "rpki", "aspa", "lengths"),
        *("blacklist_v4", "blacklist_v6", "next_hops_v4", "next_hops_v6", "as_sets_in_paths", "kin"),
        *("routes_max_v4", "routes_max_v6", "limit_action", "limit_counts", "graceful_shutdown"),
        *("communities", "announce_only", "announce_not"),
    ]
)
"""fields of ClientPolicy that decide what comes in, and nothing of what the client is told"""
APART = frozenset(["clients", "findings", "about"])
"""fields of ServerPolicy that are compared client by client, or not at all"""
IN_MICROSECONDS, OUT_MICROSECONDS = 8.0, 2.5
"""of BIRD 2.0.12's CPU time for each route that an import filter reads, and for each that somebody is told again: in the order of the table, so that most take a message of
their own (measured: 6 million routes, 15.2 s, 353 MB)"""
ASKED_FOR = frozenset(["groups", "thresholds", "rtt_thresholds", "short_asns"])
"""what only routes with a wish of their announcer's depend on; BIRD tells no others again (planes/routing/bird.py, `told anew by import`)"""


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of a member's traffic with one route. `member` notices it; `of` announced the route."""

    server: str
    what: str
    """accepted, refused, told, withdrawn or changed"""
    member: str
    prefix: str
    of: str
    cause: str

    def record(self) -> dict[str, Any]:
        """For programs (`--json`)."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class Work:
    """What a daemon has to read again: routes through import filters, and routes through export filters, each receiver counted."""

    server: str
    imports: int
    exports: int
    everybody: str = ""
    """what all share and has changed, in words; empty where only single clients are concerned"""

    @property
    def cpu_seconds(self) -> float:
        return (self.imports * IN_MICROSECONDS + self.exports * OUT_MICROSECONDS) / 1e6

    def record(self) -> dict[str, Any]:
        """For programs (`--json`)."""
        return {**{each.name: getattr(self, each.name) for each in fields(self)}, "cpu_seconds": round(self.cpu_seconds, 2)}


@dataclass(frozen=True)
class Foreseen:
    """All that changes at one route server."""

    effects: tuple[Effect, ...]
    work: Work


def foreseen(old: ServerPolicy, new: ServerPolicy, announced: Announced, router_ids: Mapping[str, int]) -> Foreseen:
    """Pure. Raises Unjudged for a policy that the evaluator does not know."""
    before, after = Evaluator(old), Evaluator(new)
    routes = {key: route for key, route in announced.items() if key[0] in before.clients}
    shared = tuple(_shared(old, new))
    verdicts = {key: (before.imported(key[0], route), _imported(after, key[0], route)) for key, route in routes.items()}
    differing = {key: both for key, both in verdicts.items() if both[0] != both[1]}
    prefixes = {prefix for _, prefix in differing}
    effects = list(_inward(old.name, before, differing))
    receivers = [each for each in after.clients if each in before.clients]
    moved = [each for each in receivers if _outward(before.clients[each].policy) != _outward(after.clients[each].policy)]
    outward = [name for name in shared if name not in TABLES]
    whole = receivers if outward else moved
    for chosen, of in ((whole, None), ([each for each in receivers if each not in whole], prefixes)):
        if not chosen or of == set():
            continue
        mine = {key: route for key, route in routes.items() if of is None or key[1] in of}
        one = Exchange(before, [(session, route) for (session, _), route in mine.items()], router_ids)
        other = Exchange(after, [(s, route) for (s, _), route in mine.items() if s in after.clients], router_ids)
        for receiver in chosen:
            effects += _told(old.name, one, other, receiver, differing)
    clients = len(after.clients)
    changed = [each for each in receivers if before.clients[each].policy != after.clients[each].policy]
    few = new.daemon == "bird" and not new.snippets and {name.rpartition(" ")[2] for name in outward} <= ASKED_FOR
    wishing = sum(1 for verdicts_of in verdicts.values() if any(each is not None and each.wishes.said for each in verdicts_of))
    imports = len(routes) if shared else sum(1 for session, _ in routes if session in changed)
    new_ones = len(after.clients.keys() - before.clients.keys())
    exports = len(routes) * (clients if outward and not few else len(moved) + new_ones)
    exports += len(prefixes) * clients if not outward else wishing * clients if few else 0
    return Foreseen(tuple(effects), Work(old.name, imports, exports, ", ".join(shared)))


def _shared(old: ServerPolicy, new: ServerPolicy) -> Iterator[str]:
    """What concerns every client and has changed."""
    for each in fields(old):
        was, becomes = getattr(old, each.name), getattr(new, each.name)
        if each.name in APART or was == becomes:
            continue
        if each.name == "policy":
            yield from (
                f"{becomes.id} {name}" for name in type(becomes).model_fields if getattr(was, name, None) != getattr(becomes, name, None)
            )
        else:
            yield each.name


TABLES = frozenset(
    each.name
    for each in fields(ServerPolicy)
    if each.type in (RoaTable, "RoaTable") or each.name in ("aspas", "feeds", "bogons_v4", "bogons_v6")
)
"""what only import filters ask"""


def _outward(client: ClientPolicy) -> ClientPolicy:
    """A client's policy without what decides over its own routes."""
    plain: dict[str, Any] = dict.fromkeys(INWARD)
    return replace(client, **plain)


def _imported(evaluator: Evaluator, session: str, route: Route) -> Verdict | None:
    return evaluator.imported(session, route) if session in evaluator.clients else None


def _because(reason: str) -> str:
    known = REASON.get(reason)
    return f"{known.words} ({reason})" if known else reason


def _inward(server: str, before: Evaluator, differing: Mapping[tuple[str, Prefix], tuple[Verdict, Verdict | None]]) -> Iterator[Effect]:
    for (session, prefix), (was, becomes) in differing.items():
        member = before.clients[session].policy.member
        if becomes is None:
            if was.accepted:
                yield Effect(server, "withdrawn", member, str(prefix), member, f"session/{session} is no client any more")
        elif was.accepted and not becomes.accepted:
            yield Effect(server, "refused", member, str(prefix), member, _because(becomes.reason))
        elif becomes.accepted and not was.accepted:
            yield Effect(server, "accepted", member, str(prefix), member, f"no longer: {_because(was.reason)}")
        elif was.reason != becomes.reason:
            yield Effect(server, "refused", member, str(prefix), member, f"now because {_because(becomes.reason)}, before {was.reason}")


def _told(
    server: str,
    one: Exchange,
    other: Exchange,
    receiver: str,
    differing: Mapping[tuple[str, Prefix], tuple[Verdict, Verdict | None]],
) -> Iterator[Effect]:
    # One route a prefix changes into another's; of several (RFC 7911) each is somebody's, and stays apart.
    apart = {family for family in FAMILIES if one.several(receiver, family) or other.several(receiver, family)}

    def told(exchange: Exchange) -> dict[tuple[Prefix, str], tuple[str, Route]]:
        return {
            (each.prefix, each.announcer if each.prefix.family in apart else ""): (each.announcer, route)
            for each, route in exchange.told(receiver)
        }

    was, becomes = told(one), told(other)
    member = one.evaluator.clients[receiver].policy.member
    of = {name: each.policy.member for name, each in one.evaluator.clients.items()}
    for key in sorted(was.keys() | becomes.keys()):
        prefix, had, has = key[0], was.get(key), becomes.get(key)
        if had == has:
            continue
        if had is None and has is not None:
            cause = _opened(one, has[0], prefix, receiver)
            yield Effect(server, "told", member, str(prefix), of[has[0]], cause)
        elif has is None and had is not None:
            yield Effect(server, "withdrawn", member, str(prefix), of[had[0]], _closed(other, had[0], prefix, receiver, differing))
        elif had is not None and has is not None:
            if had[0] != has[0]:
                cause = f"instead of {of[had[0]]}'s, since {_closed(other, had[0], prefix, receiver, differing)}"
            else:
                cause = "; ".join(_changes(had[1], has[1]))
            yield Effect(server, "changed", member, str(prefix), of[has[0]], cause)


def _opened(before: Exchange, announcer: str, prefix: Prefix, receiver: str) -> str:
    try:
        why = before.withheld(announcer, prefix, receiver)
    except KeyError:
        return "its announcer's route is now accepted"
    return f"no longer: {WITHHELD.get(why, why)}"


def _closed(
    after: Exchange, announcer: str, prefix: Prefix, receiver: str, differing: Mapping[tuple[str, Prefix], tuple[Verdict, Verdict | None]]
) -> str:
    verdict = differing.get((announcer, prefix), (None, None))[1]
    if announcer not in after.evaluator.clients:
        return f"session/{announcer} is no client any more"
    if verdict is not None and not verdict.accepted:
        return f"it is refused: {_because(verdict.reason)}"
    why = after.withheld(announcer, prefix, receiver)
    return WITHHELD.get(why, why)


def _changes(was: Route, becomes: Route) -> Iterable[str]:
    for each in fields(was):
        had, has = getattr(was, each.name), getattr(becomes, each.name)
        if had != has:
            yield f"{each.name.replace('_', ' ')} is now {_spelled(has)}"


def _spelled(value: object) -> str:
    if isinstance(value, frozenset):
        return " ".join(sorted(":".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in value)) or "none"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
