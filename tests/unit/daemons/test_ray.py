"""What the foreman of Ray keeps of gangs, without Ray; with it: tests/lab/test_compute.py."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nnix.daemons.ray.foreman import Foreman, Gang


class Idle(Foreman):
    """Its gangs end when they are told to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._gangs: dict[str, Gang] = {}

    def _run(self, name: str, gang: Gang, order: Mapping[str, Any]) -> None:
        assert gang.stopping.wait(60)


@pytest.fixture
def foreman(tmp_path: Path) -> Idle:
    return Idle(tmp_path)


def _told(foreman: Idle, name: str) -> Gang:
    gang = foreman._gangs[name] = Gang(1, statuses=[None])
    thread = threading.Thread(target=foreman._follow, args=(name, gang, {}))
    thread.start()
    foreman.stop(name, 0.0)
    thread.join(60)
    return gang


def test_of_a_gang_that_has_ended_no_file_is_left(foreman: Idle, tmp_path: Path) -> None:
    """Its name may be used again, and that gang would be told to stop as it begins."""
    assert _told(foreman, "j.1").state == "ended"
    assert list(tmp_path.iterdir()) == []
    foreman.stop("j.1", 0.0)
    foreman.stop("unknown", 0.0)
    assert list(tmp_path.iterdir()) == []
