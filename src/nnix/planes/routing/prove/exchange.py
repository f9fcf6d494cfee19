"""All routes of all clients at once: what stands in a route server's table, and what each client is told.

Half a million routes towards a thousand receivers are half a thousand million decisions. Hardly any two differ: a receiver is told a route or
not because of who announced it, what was asked with communities, and whether it is a blackhole. So the decision is made once for each such class
of routes and receiver, by the evaluator, and then looked up in columns. The routes of one prefix stand side by side in order of preference; a
receiver is told the first of them that is for it, so that nothing is hidden behind a best path that it may not have (RFC 7947, 2.3.1).
Who takes several paths (ADD-PATH, RFC 7911) is told all of them that are for it: then nothing is chosen, and nothing can be hidden.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cmp_to_key
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnix.planes.routing.compile import ClientPolicy
from nnix.planes.routing.naming import Family
from nnix.planes.routing.prove.evaluate import FAMILIES, Evaluator, Verdict
from nnix.planes.routing.prove.route import Address, Prefix, Route

Rows = NDArray[np.intp]


class Candidate(NamedTuple):
    """A route that passed import."""

    announcer: str
    verdict: Verdict
    rank: tuple[int, int, int, int, int]

    @property
    def prefix(self) -> Prefix:
        return self.verdict.route.prefix


def compared(one: Candidate, other: Candidate) -> int:
    """Below 0: `one` is preferred. MED counts between routes of one neighbouring AS, after the origin attribute (RFC 4271, 9.1.2.2 c)."""
    if one.rank[:3] == other.rank[:3] and one.verdict.route.path[:1] == other.verdict.route.path[:1]:
        difference = (one.verdict.route.med or 0) - (other.verdict.route.med or 0)
        if difference:
            return difference
    return -1 if one.rank < other.rank else 1


PREFERRED = cmp_to_key(compared)


class Exchange:
    """What one route server does with `announced`, pairs of session and route; of one session's routes for one prefix the last counts.

    `router_ids` are the clients' BGP identifiers; the address of a client, IPv4 first, stands in for one that is not known. `alone` are the sessions, in
    one family each, that take one path although several are offered, since their routers have not agreed to it. `besides` are further paths of sessions
    that send several for one prefix.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        announced: Iterable[tuple[str, Route]],
        router_ids: Mapping[str, int] | None = None,
        alone: Container[tuple[str, Family]] = (),
        besides: Iterable[tuple[str, Route]] = (),
    ) -> None:
        self.evaluator = evaluator
        offered = [name for name, each in evaluator.clients.items() if each.policy.add_paths.sends]
        self._several = {name: tuple(family for family in FAMILIES if (name, family) not in alone) for name in offered}
        self.refused: list[tuple[str, Verdict]] = []
        by_prefix: dict[Prefix, list[Candidate]] = {}
        ids = router_ids or {}
        ranks = {name: (ids.get(name, int(c.policy.v4 or c.policy.v6 or 0)), c) for name, c in evaluator.clients.items()}
        latest = {(session, route.prefix): route for session, route in announced}
        for session, route in chain(((session, route) for (session, _), route in latest.items()), besides):
            prefix = route.prefix
            verdict = evaluator.imported(session, route)
            if verdict.reason:
                self.refused.append((session, verdict))
                continue
            router_id, client = ranks[session]
            address = client.policy.v4 if prefix.family == 4 and not client.policy.v4_over_v6 else client.policy.v6
            rank = evaluator.preference(verdict, router_id, _known(address))
            by_prefix.setdefault(prefix, []).append(Candidate(session, verdict, rank))
        self.accepted: list[Candidate] = []
        numbers: list[int] = []
        for number, group in enumerate(by_prefix.values()):
            self.accepted += group if len(group) == 1 else sorted(group, key=PREFERRED)
            numbers += [number] * len(group)
        self._groups = {prefix: tuple(group) for prefix, group in by_prefix.items()}
        self._prefixes = np.array(numbers, dtype=np.int32)
        known: dict[str, int] = {name: number for number, name in enumerate(evaluator.clients)}
        self._numbers = known
        self._announcers = np.array([known[each.announcer] for each in self.accepted], dtype=np.int32)
        self._families = np.array([each.prefix.family for each in self.accepted], dtype=np.int8)
        picky = any(each.policy.hear_only is not None or each.policy.hear_not for each in evaluator.clients.values())
        classes: dict[tuple[object, ...], int] = {}
        self._classes = np.array([classes.setdefault(_kind(each, picky), len(classes)) for each in self.accepted], dtype=np.int32)
        first: dict[int, int] = {}
        for row, of in enumerate(self._classes.tolist()):
            first.setdefault(of, row)
        self._examples = [self.accepted[first[number]].verdict for number in range(len(classes))]
        self._about: dict[int, list[int]] = {}  # ASN → classes with a wish about it
        for number, example in enumerate(self._examples):
            for _, aim, value in example.wishes.said:
                if aim == "peer":
                    self._about.setdefault(value, []).append(number)
        self._open: dict[tuple[object, ...], NDArray[np.bool_]] = {}

    def chosen(self, receiver: str) -> Rows:
        """Which rows of `accepted` are chosen for `receiver`: one a prefix, all where it takes several. All are told but those that lead to itself."""
        if not self.accepted:
            return np.empty(0, dtype=np.intp)
        mine = self._open_to(self.evaluator.clients[receiver].policy)[self._classes] & (self._announcers != self._numbers[receiver])
        if several := self._several.get(receiver):
            return self._all_and_first(mine, several)
        if not self.evaluator.policy.path_hiding_solved:  # the best for all, or nothing
            return np.flatnonzero(mine & _first(self._prefixes))
        rows = np.flatnonzero(mine)
        return rows[_first(self._prefixes[rows])]

    def several(self, receiver: str, family: Family) -> bool:
        """Whether `receiver` takes several paths for a prefix."""
        return family in self._several.get(receiver, ())

    def _all_and_first(self, mine: NDArray[np.bool_], several: tuple[Family, ...]) -> Rows:
        """Of the routes that are for a receiver, all in the families `several`, and one a prefix in the other."""
        every = np.isin(self._families, several)
        if not self.evaluator.policy.path_hiding_solved:
            return np.flatnonzero(mine & (every | _first(self._prefixes)))
        rows = np.flatnonzero(mine)
        return rows[every[rows] | _first(self._prefixes[rows])]

    def _open_to(self, receiver: ClientPolicy) -> NDArray[np.bool_]:
        """Which classes of routes are for a receiver, whoever announced them: as for all like it, but for wishes about itself."""
        nobody = replace(receiver, asn=-1)
        like = (
            *(receiver.v4 is None, receiver.v6 is None, receiver.v4_over_v6, receiver.blackhole, receiver.role),
            *(receiver.groups, receiver.nearer, receiver.farther, receiver.hear_only, receiver.hear_not),
        )
        known = self._open.get(like)
        if known is None:
            known = self._open[like] = np.array([not self.evaluator.barred(each, nobody) for each in self._examples], dtype=np.bool_)
        found = known.copy()
        for number in self._about.get(receiver.asn, ()):
            found[number] = not self.evaluator.barred(self._examples[number], receiver)
        return found

    def told(self, receiver: str, family: Family | None = None) -> Iterator[tuple[Candidate, Route]]:
        """What `receiver` hears: whose route it is, and how it arrives."""
        for row in self.chosen(receiver).tolist():
            each = self.accepted[row]
            if family in (None, each.prefix.family) and not self.evaluator.to_itself(each.verdict, receiver):
                yield each, self.evaluator.told(each.verdict, receiver)

    def candidates(self, prefix: Prefix) -> tuple[Candidate, ...]:
        """The accepted routes for a prefix, the most preferred first."""
        return tuple(sorted(self._groups.get(prefix, ()), key=PREFERRED))

    def withheld(self, announcer: str, prefix: Prefix, receiver: str) -> str:
        """Why `receiver` is not told the route that `announcer` has there: a key of `evaluate.WITHHELD`; empty when it is told."""
        several = self.several(receiver, prefix.family)
        taken = False
        for each in self.candidates(prefix):
            why = self.evaluator.withheld(each.announcer, each.verdict, receiver)
            if each.announcer == announcer:
                if not why and taken and not several:
                    return "another_is_better"
                return why or ("its_own_next_hop" if self.evaluator.to_itself(each.verdict, receiver) else "")
            taken = taken or not why or not self.evaluator.policy.path_hiding_solved
        raise KeyError(f"{announcer} has no accepted route for {prefix}")


def _kind(each: Candidate, picky: bool) -> tuple[object, ...]:
    """What decides for whom a route is, besides who announced it."""
    verdict = each.verdict
    first = verdict.route.path[0] if picky else 0
    route = verdict.route
    return verdict.wishes, verdict.blackhole, verdict.kept, each.prefix.family, route.next_hop.version, route.otc is None, first


def _first(prefixes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which rows begin another prefix."""
    fresh = np.ones(len(prefixes), dtype=np.bool_)
    fresh[1:] = prefixes[1:] != prefixes[:-1]
    return fresh


def _known(address: Address | None) -> Address:
    if address is None:
        raise ValueError("a route in a family that its session does not speak")
    return address
