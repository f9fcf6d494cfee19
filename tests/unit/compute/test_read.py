"""What is read of jobs: how much a probe's device did in an hour."""

from __future__ import annotations

from typing import Any

import pytest

from nnix.planes.compute.read import work_per_device_hour


@pytest.mark.parametrize(
    ("done", "device_seconds", "measured"),
    [(120, 60.0, 7200), (1, 7200.0, 0), (2.5, 3600, 2), (0, 60.0, None), (-3, 60.0, None), (True, 60.0, None), ("120", 60.0, None)],
)
def test_work_of_a_device_hour_is_whole_units_of_what_was_charged(done: Any, device_seconds: float, measured: int | None) -> None:
    assert work_per_device_hour({"progress": {"done": done}, "device_seconds": device_seconds}) == measured


@pytest.mark.parametrize("said", [{}, {"progress": {}}, {"progress": {"done": 3}}, {"progress": {"done": 3}, "device_seconds": 0.0},
                                  {"progress": {"done": float("nan")}, "device_seconds": 1.0}, {"progress": {"done": float("inf")}, "device_seconds": 1.0}])  # fmt: skip
def test_who_has_said_nothing_or_had_no_device_has_measured_nothing(said: dict[str, Any]) -> None:
    assert work_per_device_hour(said) is None
