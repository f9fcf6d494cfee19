"""How long a bring-up waits: for what is ours until it is up, and not for members who are kept out for a known reason."""

from __future__ import annotations

import asyncio
import time

import pytest

from nnix.cli import running
from nnix.cli.running import converged
from nnix.kernel.plane import Status

FULL = Status("member/m1", "partial", "max-prefix limit reached (16 routes)", good=False)
FULL_SESSION = Status("session/m1-a", "partial", "rs-a IPv4: max-prefix limit reached (16 routes)", good=False)
UP, DARK = Status("link/a-b", "up"), Status("link/a-b", "down", "a has light on it but sends nothing over it", good=False)


@pytest.mark.parametrize("others", [(), (FULL, FULL_SESSION)], ids=["alone", "beside members at their limit"])
def test_a_line_without_routes_is_waited_for(others: tuple[Status, ...]) -> None:
    """OSPF takes its time; half a second without change means nothing."""
    begun = time.monotonic()

    async def ask() -> list[Status]:
        return [*others, DARK if time.monotonic() < begun + 2 * running.QUIET_SECONDS + 0.5 else UP]

    assert UP in asyncio.run(converged(ask))


def test_what_stays_down_is_told_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "RETRY_SECONDS", 1.0)

    async def ask() -> list[Status]:
        return [DARK]

    assert asyncio.run(converged(ask)) == [DARK]


def test_members_at_their_limit_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "RETRY_SECONDS", float("inf"))
    monkeypatch.setattr(running, "CONVERGED_SECONDS_MAX", float("inf"))

    async def ask() -> list[Status]:
        return [FULL, FULL_SESSION, UP]

    assert UP in asyncio.run(converged(ask))
