"""Lives: things that pass through states, written as the table in the standard.

A life is a pure table `(state, event) → (state, effect)`. An event without a row is refused by name, never ignored. The
edge performs the effects; state, ledger record and effects to come are kept in one transaction by whoever owns the life.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

State = TypeVar("State", bound=StrEnum)
Table = Mapping[tuple[State, str], tuple[State, tuple[str, ...]]]


class Impossible(Exception):
    """An event that has no row in the state it came in."""

    def __init__(self, state: StrEnum, event: str, possible: Iterable[str]) -> None:
        self.state, self.event, self.possible = state, event, tuple(possible)
        super().__init__(f"{event!r} is not possible when {state}; possible: {', '.join(self.possible) or 'nothing, it has ended'}")


def advance(table: Table[State], state: State, event: str) -> tuple[State, tuple[str, ...]]:
    """The next state and the effects to perform. Raises Impossible."""
    row = table.get((state, event))
    if row is None:
        raise Impossible(state, event, sorted(name for origin, name in table if origin is state))
    return row


def follow(table: Table[State], state: State, events: Iterable[str]) -> State:
    """The state after `events`, from `state`. Raises Impossible at the first that has no row."""
    for event in events:
        state, _ = advance(table, state, event)
    return state
