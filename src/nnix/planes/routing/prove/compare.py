"""What was expected of a trial and what was seen of it, held side by side.

Three places are looked at, because each shows what another hides: the wire (what receivers heard), the route server's own tables (what it
accepted and in which shape, what it refused and under which name), and the sessions (roles, timers, limits). A difference names the witness.

Who takes several paths for a prefix (ADD-PATH, RFC 7911) hears a set of routes. Which number a path bears is the route server's business, so sets are
held side by side, equal routes counted: one that is missing, one too many, or one of the same next hop that was altered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nnix.planes.routing.kinds import RefusedRoutes
from nnix.planes.routing.naming import Family
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.messages import Attributes
from nnix.planes.routing.prove.route import Prefix, Route

Side = tuple[str, Family]
"""a session in one address family"""
Paths = Counter[Attributes]
"""all routes that a receiver hears for one prefix, and how often each"""
BY_ITSELF = "the daemon itself calls it bogus"
"""thrown out before any filter, such as 127.0.0.0/8 by BIRD: refused for whatever reason we have"""


class Held(NamedTuple):
    """An accepted route as it stands in the route server's table. `cut`: the daemon has not printed all of its communities."""

    attributes: Attributes
    local_pref: int
    cut: bool = False

    def shows(self, wanted: Held) -> bool:
        """Whether this is `wanted`, as far as it can be seen."""
        if not self.cut:
            return self == wanted
        one, other = self.attributes, wanted.attributes
        parts = all(getattr(one, name) <= getattr(other, name) for name in ("standard", "extended", "large"))
        whole = one._replace(standard=other.standard, extended=other.extended, large=other.large)
        return parts and whole == other and self.local_pref == wanted.local_pref


class SessionFacts(NamedTuple):
    """What can be seen of a session: of the route server's OPEN, and of its own account."""

    up: bool
    asn: int | None
    router_id: str
    hold_time_seconds: int | None
    role: int | None
    limit: int | None
    limit_action: str
    add_paths: str


@dataclass(frozen=True)
class Seen:
    """What a trial observed. Prefixes by session; `refused` by slug, or BY_ITSELF; `paths` instead of `heard` of sessions that take several."""

    heard: Mapping[Side, Mapping[Prefix, Attributes]]
    held: Mapping[tuple[str, Prefix], Held]
    refused: Mapping[tuple[str, Prefix], str]
    paths: Mapping[Side, Mapping[Prefix, Paths]]


@dataclass(frozen=True)
class Difference:
    """Something that was not as expected. `witness` says what was announced, `about` whose session or which prefix it is about."""

    where: str
    about: str
    witness: str
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{self.where}, {self.about}: expected {self.expected}, seen {self.seen}" + (
            f" (witness: {self.witness})" if self.witness else ""
        )

    def record(self) -> dict[str, Any]:
        """For programs (`--json`)."""
        return {"where": self.where, "about": self.about, "witness": self.witness, "expected": self.expected, "seen": self.seen}


@dataclass
class Expected:
    """What an exchange shall bring about. What is told depends on a receiver in few ways, and is worked out once for each."""

    exchange: Exchange
    _told: dict[tuple[int, tuple[object, ...]], Attributes] = field(default_factory=dict)

    def heard(self, receiver: str, family: Family) -> dict[Prefix, Attributes]:
        return dict(self._every(receiver, family))

    def paths(self, receiver: str, family: Family) -> dict[Prefix, Paths]:
        """Of a receiver that takes several paths."""
        found: dict[Prefix, Paths] = {}
        for prefix, attributes in self._every(receiver, family):
            found.setdefault(prefix, Counter())[attributes] += 1
        return found

    def _every(self, receiver: str, family: Family) -> Iterator[tuple[Prefix, Attributes]]:
        evaluator = self.exchange.evaluator
        for row in self.exchange.chosen(receiver).tolist():
            each = self.exchange.accepted[row]
            if each.prefix.family != family or evaluator.to_itself(each.verdict, receiver):
                continue
            key = row, evaluator.manner(each.verdict, receiver)
            attributes = self._told.get(key)
            if attributes is None:
                attributes = self._told[key] = Attributes.of(evaluator.told(each.verdict, receiver))
            yield each.prefix, attributes


def differences(expected: Exchange, seen: Seen, witnesses: Mapping[tuple[str, Prefix], str]) -> Iterator[Difference]:
    """Where the two minds differ about routes. `witnesses` says in words what each announcement is there for."""
    yield from table_differences(expected, seen, witnesses)
    yield from wire_differences(expected, seen, witnesses)


def table_differences(expected: Exchange, seen: Seen, witnesses: Mapping[tuple[str, Prefix], str]) -> Iterator[Difference]:
    """What was accepted, and in which shape, and what refused."""
    forgets = expected.evaluator.policy.refused is RefusedRoutes.REJECT
    held = {(each.announcer, each.prefix): each.verdict for each in expected.accepted}
    refused = {(session, verdict.route.prefix): verdict.reason for session, verdict in expected.refused}
    for key in sorted(held.keys() | refused.keys() | seen.held.keys() | seen.refused.keys()):
        session, prefix = key
        about, witness = f"{prefix} of session/{session}", witnesses.get(key, "")
        if key in held:
            verdict = held[key]
            there = seen.held.get(key)
            wanted = Held(Attributes.of(verdict.route), verdict.local_pref)
            if there is None:
                reason = seen.refused.get(key)
                yield Difference("table", about, witness, "accepted", f"refused, {reason}" if reason else "nothing")
            elif not there.shows(wanted):
                yield Difference("table", about, witness, *_apart(prefix, wanted, there))
        elif key in refused:
            if key in seen.held:
                yield Difference("table", about, witness, f"refused, {refused[key]}", "accepted")
            elif seen.refused.get(key) not in (refused[key], BY_ITSELF) and not forgets:
                reason = seen.refused.get(key)
                yield Difference("table", about, witness, f"refused, {refused[key]}", f"refused, {reason}" if reason else "nothing")
        else:
            yield Difference("table", about, witness, "nothing", "a route")


def wire_differences(expected: Exchange, seen: Seen, witnesses: Mapping[tuple[str, Prefix], str]) -> Iterator[Difference]:
    """What receivers hear."""
    by_prefix: dict[Prefix, list[str]] = {}
    for (_, prefix), words in witnesses.items():
        by_prefix.setdefault(prefix, []).append(words)
    known = Expected(expected)
    for (receiver, family), there_heard in sorted(seen.heard.items()):
        heard = known.heard(receiver, family)
        if heard == there_heard:
            continue
        for prefix in sorted(heard.keys() | there_heard.keys()):
            one, other = heard.get(prefix), there_heard.get(prefix)
            if one != other:
                words = "; ".join(dict.fromkeys(by_prefix.get(prefix, ())))
                yield Difference("wire", f"{prefix} to session/{receiver}", words, *_apart(prefix, one, other))
    for (receiver, family), there_paths in sorted(seen.paths.items()):
        paths = known.paths(receiver, family)
        if paths == there_paths:
            continue
        for prefix in sorted(paths.keys() | there_paths.keys()):
            words = "; ".join(dict.fromkeys(by_prefix.get(prefix, ())))
            for wanted_path, path in _unlike(paths.get(prefix, Counter()), there_paths.get(prefix, Counter())):
                about = f"{prefix} to session/{receiver}, one of several paths"
                yield Difference("wire", about, words, *_apart(prefix, wanted_path, path))


def _unlike(expected: Paths, seen: Paths) -> Iterator[tuple[Attributes | None, Attributes | None]]:
    """(expected, seen) of paths that were altered, by their next hop; else one without the other, missing or too many."""
    surplus = list((seen - expected).elements())
    for wanted in (expected - seen).elements():
        altered = next((each for each in surplus if each.next_hop == wanted.next_hop), None)
        if altered is not None:
            surplus.remove(altered)
        yield wanted, altered
    yield from ((None, each) for each in surplus)


def session_differences(expected: Mapping[Side, SessionFacts], seen: Mapping[Side, SessionFacts]) -> Iterator[Difference]:
    """Where sessions are not as the policy wants them."""
    for side, wanted in expected.items():
        there = seen.get(side)
        about = f"session/{side[0]} IPv{side[1]}"
        if there is None:
            yield Difference("session", about, "", "configured", "not there")
            continue
        for name, one, other in zip(SessionFacts._fields, wanted, there, strict=True):
            if one != other:
                yield Difference("session", about, "", f"{name} {one}", f"{name} {other}")
    for session, family in sorted(seen.keys() - expected.keys()):
        yield Difference("session", f"session/{session} IPv{family}", "", "not there", "configured")


def _apart(prefix: Prefix, expected: Held | Attributes | None, seen: Held | Attributes | None) -> tuple[str, str]:
    """Both in words."""
    return _words(prefix, expected), _words(prefix, seen)


def _words(prefix: Prefix, what: Held | Attributes | None) -> str:
    if what is None:
        return "nothing"
    if isinstance(what, Held):
        return f"{_words(prefix, what.attributes)} local preference {what.local_pref}"
    return "a route without a next hop" if what.next_hop is None else str(_route(prefix, what)).removeprefix(f"{prefix} ")


def _route(prefix: Prefix, attributes: Attributes) -> Route:
    return attributes.route(prefix)
