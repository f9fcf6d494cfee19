"""The guard before answers are believed: what has changed beyond all measure stays as it was until somebody has looked at it.

A member's as-set that names ten times as many networks as yesterday is a mistake far more often than a merger; one that is gone, or has lost
nearly all, as well. Then the former set stays for this member, and all others go on with what is new. An answer that has lost most of all its
routes is the registry's own mistake, and is not taken at all.

Somebody who has looked says so (`nnix irr accept`), and from then on the new one counts. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from nnix.planes.routing.irr import Registries, of_answers
from nnix.planes.routing.registries.answers import Answers

SMALL = 20
"""networks that an as-set may come to without being looked at, whatever it was before"""
ROUTES_LEFT_MIN = 0.5


class Lost(Exception):
    """Most of what was there is gone: not taken."""


@dataclass(frozen=True)
class Guarded:
    """What is to be believed; `held`: as-set → in words, why it stays as it was."""

    answers: Answers
    held: Mapping[str, str]


def guarded(fresh: Answers, last: Answers | None, names: Iterable[str], growth_max: int, accepted: Collection[str] = ()) -> Guarded:
    """`names` are the as-sets that members give. Raises Lost."""
    if fresh.empty:
        raise Lost("it answered, and knows none of the as-sets, and no route object")
    if last is None:
        return Guarded(fresh, {})
    if "*" not in accepted and last.routes_count and fresh.routes_count < ROUTES_LEFT_MIN * last.routes_count:
        raise Lost(f"of {last.routes_count} route objects {fresh.routes_count} are left")
    now, before = Registries([of_answers("", fresh)]), Registries([of_answers("", last)])
    held: dict[str, str] = {}
    sets, routes, prefixes = dict(fresh.sets), dict(fresh.routes), dict(fresh.prefixes)
    for name in dict.fromkeys(each.upper() for each in names):
        was, becomes = before.cone(0, [name]).origins - {0}, now.cone(0, [name]).origins - {0}
        many, few = max(len(was), len(becomes)), min(len(was), len(becomes))
        if name in accepted or not was or many <= SMALL or many <= growth_max * max(few, 1):
            continue
        held[name] = (
            f"as-set {name} went from {len(was)} networks to {len(becomes) or 'more than are read'}; it stays as it was until `nnix irr accept` lets it"
        )
        registry, _, bare = name.rpartition("::")
        for key in [key for key in sets if key[1] == bare and registry in ("", key[0])]:
            del sets[key]
        sets[registry, bare] = tuple(f"AS{origin}" for origin in sorted(was))
        routes.update({origin: last.routes[origin] for origin in was if origin in last.routes and origin not in routes})
        if name in last.prefixes:
            prefixes[name] = last.prefixes[name]
    return Guarded(replace(fresh, sets=sets, routes=routes, prefixes=prefixes), held)
