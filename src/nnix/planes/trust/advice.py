"""Advice: which ROAs a member should create, and the proof that they do what is said of them.

For each route of a member that is not Valid there is one exact ROA: its prefix, its origin, no more specifics (RFC 9319). What the ROA would do, to that
route and to every other below the prefix, is judged here (whatif), and then by BIRD, whose verdict it is that throws a route out: the served VRPs and the new ROA
are loaded into a BIRD of its own, and roa_check is asked about each of these routes, for each ROA alone and for all of them together.

    I1  nothing is advised unless both say the same of every route that was asked about, before and after

What the two disagree on is a fault of one of them. It is told, with both verdicts, and then nobody is advised to sign anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nnix.daemons import bird as daemon
from nnix.kernel.world import Failed, Host
from nnix.planes.trust import bird
from nnix.planes.trust.payloads import REST, Indices, Network, Vrp, rows_of
from nnix.planes.trust.whatif import Forecast, Turn, Validity

ASKED_SECONDS_MAX = 600.0
WORDS = {str(each): each for each in Validity}
Announced = tuple[Network, int]  # prefix and origin: all that origin validation looks at


class Judged(NamedTuple):
    """A route at or below an advised prefix, before and after: as we judge it and as BIRD does."""

    prefix: Network
    origin: int
    members: tuple[str, ...]
    before: Validity
    after: Validity
    bird_before: Validity
    bird_after: Validity

    @property
    def agreed(self) -> bool:
        return (self.before, self.after) == (self.bird_before, self.bird_after)

    def __str__(self) -> str:
        return (
            f"{self.prefix} of AS{self.origin} ({', '.join(self.members)}): {self.before} → {self.after}, "
            f"BIRD: {self.bird_before} → {self.bird_after}"
        )


class Advice(NamedTuple):
    """A ROA to create: one prefix, no maximum length beyond it (RFC 9319), with the routes that it makes Valid and those that it would break."""

    vrp: Vrp
    mends: int
    breaks: tuple[Turn, ...]

    def __str__(self) -> str:
        harm = f"; first get ROAs for what it would break: {', '.join(map(str, self.breaks[:4]))}" if self.breaks else ""
        return f"create a ROA: {self.vrp.prefix}, maxLength {self.vrp.length_max}, AS{self.vrp.origin} ({self.mends} routes become Valid){harm}"


@dataclass(frozen=True)
class Checked:
    """Advice with BIRD's word for it. `routes` by ROA, and those of the member when all of the ROAs are there; `findings` where the two disagree."""

    advice: tuple[Advice, ...]
    version: str
    routes: Mapping[Vrp, tuple[Judged, ...]]
    together: tuple[Judged, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        alone = (f"with a ROA {vrp}: {each}" for vrp, routes in self.routes.items() for each in routes if not each.agreed)
        return (*alone, *(f"with all of these ROAs: {each}" for each in self.together if not each.agreed))


def advised(made: Forecast, member: str) -> tuple[Advice, ...]:
    """For each route of a member that is not Valid the ROA that makes it so, and what that ROA would do to the routes of others."""
    if member not in made.routes.names:
        return ()
    mine = np.flatnonzero((made.routes.members == made.routes.names.index(member)) & (made.validity != Validity.VALID))
    found = []
    for vrp in dict.fromkeys(Vrp(r.prefix, r.prefix.prefixlen, r.origin) for r in map(made.routes.route, mine.tolist()) if r.origin):
        consequence = made.changed(np.empty(0, dtype=np.intp), rows_of([vrp]))
        others = tuple(each for each in consequence.turns() if each.after is Validity.INVALID)
        found.append(Advice(vrp, int((consequence.after == Validity.VALID).sum()), others))
    return tuple(found)


async def checked(made: Forecast, member: str, advice: Sequence[Advice], host: Host, folder: str) -> Checked:
    """`advice` held against the verdicts of a BIRD on `host`, in `folder`. Raises Failed where there is no BIRD or it gives no answer, Unreachable."""
    version = await daemon.version(host)
    mine = np.flatnonzero(made.routes.members == made.routes.names.index(member))
    protocols = {each.vrp: bird.protocol_of(index) for index, each in enumerate(advice)}
    below = {vrp: _below(made, vrp) for vrp in protocols}
    every = np.unique(np.concatenate([mine, *below.values()]))
    plan: list[tuple[tuple[Vrp, ...], Indices]] = [((), every), *(((vrp,), rows) for vrp, rows in below.items()), (tuple(protocols), every)]
    routes = [_announced(made, rows) for _, rows in plan]
    said = await daemon.asked(
        host,
        folder,
        bird.configured(made.vrps, list(protocols)),
        [
            daemon.Round(tuple(protocols[vrp] for vrp in coming), _filled(made, coming), [bird.question(*each) for each in asked])
            for (coming, _), asked in zip(plan, routes, strict=True)
        ],
        timeout_seconds=ASKED_SECONDS_MAX,
    )
    before, *after = [dict(zip(asked, map(_verdict, answers), strict=True)) for asked, answers in zip(routes, said, strict=True)]
    judged = [_judged(made, rows, coming, before, then) for (coming, rows), then in zip(plan[1:], after, strict=True)]
    return Checked(tuple(advice), version, dict(zip(protocols, judged[:-1], strict=True)), judged[-1])


def _below(made: Forecast, vrp: Vrp) -> Indices:
    """Rows of the routes at or below its prefix."""
    begin, end = made.routes.below(rows_of([vrp]))
    return np.arange(begin[0], end[0])


def _verdict(answer: str) -> Validity:
    if answer not in WORDS:
        raise Failed(f"BIRD gave no verdict, but {answer!r}")
    return WORDS[answer]


def _announced(made: Forecast, rows: Indices) -> tuple[Announced, ...]:
    """Each pair of prefix and origin once, whoever announces it."""
    return tuple(dict.fromkeys((each.prefix, each.origin) for each in map(made.routes.route, rows.tolist())))


def _filled(made: Forecast, coming: Sequence[Vrp]) -> dict[str, int]:
    """How many VRPs BIRD's tables must hold."""
    families = made.vrps[:, REST] >> np.uint64(56)
    return {
        table: int((families == family).sum()) + sum(each.prefix.version == family for each in coming)
        for family, table in bird.TABLES.items()
    }


def _judged(
    made: Forecast, rows: Indices, coming: Sequence[Vrp], before: Mapping[Announced, Validity], after: Mapping[Announced, Validity]
) -> tuple[Judged, ...]:
    consequence = made.changed(np.empty(0, dtype=np.intp), rows_of(coming))
    turned = dict(zip(consequence.rows.tolist(), map(Validity, consequence.after.tolist()), strict=True))
    members: dict[Announced, dict[str, None]] = {}
    ours: dict[Announced, tuple[Validity, Validity]] = {}
    for row in rows.tolist():
        route, now = made.routes.route(row), Validity(made.validity[row])
        members.setdefault((route.prefix, route.origin), {})[route.member] = None
        ours[route.prefix, route.origin] = now, turned.get(row, now)
    return tuple(Judged(*each, tuple(members[each]), *verdicts, before[each], after[each]) for each, verdicts in ours.items())
