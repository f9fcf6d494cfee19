"""The life of a job at its pool, as a table.

A job waits until its hours have begun, its devices are free and its engine is up; it is started as a whole, runs, and ends in one of five ways.
Where it is stopped for another's sake, or its engine fails under it, it waits again, and goes on from what it saved.

An event without a row is refused by name: a job that has ended never comes back, and nothing is ended twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

GRACE_MAX_SECONDS = 600.0
"""to save itself a job has no longer: others wait for its devices meanwhile"""
PROBE_SECONDS = 600.0
"""a probe runs no longer: it measures a speed, and pays nothing"""


class JobState(StrEnum):
    """Where a job is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    KILLED = "killed"
    REFUSED = "refused"


class JobEvent(StrEnum):
    """What happens to it."""

    START = "start"
    BEGAN = "began"
    DONE = "done"
    BROKE = "broke"
    LOST = "lost"
    STOP = "stop"
    RESUME = "resume"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REFUSE = "refuse"


W, S, R, T = JobState.WAITING, JobState.STARTING, JobState.RUNNING, JobState.STOPPING
JOB: Mapping[tuple[JobState, JobEvent], JobState] = {
    (W, JobEvent.START): S,
    (W, JobEvent.REFUSE): JobState.REFUSED,
    (W, JobEvent.CANCEL): JobState.CANCELLED,
    (W, JobEvent.EXPIRE): JobState.KILLED,
    (S, JobEvent.BEGAN): R,
    (S, JobEvent.REFUSE): JobState.REFUSED,
    (S, JobEvent.LOST): W,
    (S, JobEvent.STOP): T,
    (R, JobEvent.DONE): JobState.FINISHED,
    (R, JobEvent.BROKE): JobState.FAILED,
    (R, JobEvent.LOST): W,
    (R, JobEvent.STOP): T,
    (T, JobEvent.DONE): JobState.FINISHED,  # it was quicker than the signal
    (T, JobEvent.RESUME): W,
    (T, JobEvent.CANCEL): JobState.CANCELLED,
    (T, JobEvent.EXPIRE): JobState.KILLED,
}
OVER = frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.KILLED, JobState.REFUSED})


def probe(job: str) -> str:
    """What stands for the deal of a job that has none."""
    return f"probe/{job}"


def after(state: JobState, event: JobEvent) -> JobState:
    """The state after `event`. Raises ValueError for an event that cannot happen in it."""
    try:
        return JOB[state, event]
    except KeyError:
        raise ValueError(f"a job that is {state} cannot {event}") from None
