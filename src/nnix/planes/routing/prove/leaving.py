"""What members would hear less, or otherwise, if one of them left: two evaluations of one exchange, with its routes and without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nnix.planes.routing.prove.evaluate import Evaluator
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.route import Prefix, Route


@dataclass(frozen=True, slots=True)
class Loss:
    """What one receiver would have lost: prefixes that nobody else has, and those that it would hear from others."""

    session: str
    member: str
    asn: int
    gone: tuple[Prefix, ...]
    otherwise: tuple[Prefix, ...]

    def record(self) -> dict[str, Any]:
        """For programs (`--json`)."""
        return {
            "session": self.session,
            "member": self.member,
            "asn": self.asn,
            "gone": [str(each) for each in self.gone],
            "otherwise": [str(each) for each in self.otherwise],
        }


def losses(
    evaluator: Evaluator, announced: Iterable[tuple[str, Route]], leaving: frozenset[str], router_ids: Mapping[str, int]
) -> tuple[Loss, ...]:
    """For each client that stays, if the sessions in `leaving` went. Who loses nothing is left out; the hardest hit first."""
    every = tuple(announced)
    before = Exchange(evaluator, every, router_ids)
    after = Exchange(evaluator, [(session, route) for session, route in every if session not in leaving], router_ids)
    found: list[Loss] = []
    for name, client in evaluator.clients.items():
        if name in leaving:
            continue
        mine = tuple(dict.fromkeys(each.prefix for each, _ in before.told(name) if each.announcer in leaving))
        if mine:
            left = {each.prefix for each, _ in after.told(name)}
            gone = tuple(prefix for prefix in mine if prefix not in left)
            otherwise = tuple(prefix for prefix in mine if prefix in left)
            found.append(Loss(name, client.policy.member, client.policy.asn, gone, otherwise))
    return tuple(sorted(found, key=lambda each: (-len(each.gone), -len(each.otherwise), each.session)))
