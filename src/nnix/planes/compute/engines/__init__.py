"""Engines: what starts a gang on a pool's machine, and knows whether it still runs.

An engine is asked four things, and decides none: start these ranks all at once or not at all; which gangs are there; stop one, with time to save
itself; forget one that has ended. All that is worth knowing afterwards lies in files, the same for every engine, so that a job agent that comes
back after a crash, and an engine that comes back without its memory, find the truth in the same place. In a gang's `records`:

    0.began     Unix seconds at which rank 0 began
    0.ended     its exit status (128 + n where signal n ended it), and when
    0.log       what it printed
    0.progress  what it said of its progress: lines of JSON, see serve.py

A record is whole or counts as not there: a job can reach its own, and a machine can fail while one is written.

A rank without `ended` in a gang that has ended was lost: its machine or its engine failed, and that is not its fault.

    ray.py         a Ray of its own, through the foreman (daemons/ray)
    slurm.py       a Slurm, through its commands
    kubernetes.py  manifests for a cluster that is elsewhere

Standard library only: this runs on the pool's machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from nnix.planes.compute.place.values import Together

BEGAN = re.compile(r"([0-9]{1,12}\.[0-9]{3})\n?")
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENDED = re.compile(r"(-?[0-9]{1,4}) ([0-9]{1,12}\.[0-9]{3})\n?")


class Down(Exception):
    """The engine cannot be asked now. The message says why; it may come back."""


class Refused(Exception):
    """The engine will never start this. The message says why and what would help."""


@dataclass(frozen=True, slots=True)
class Gang:
    """What is to be started: `ranks` times `argv`, each with `devices` (a part of one, or whole ones) and `cpus`.

    `nodes` names for each rank the node on which the agent has seated it, `seats` the numbers of its devices there, joined by commas: it has them as
    NNIX_DEVICES and in the variable `visible`, by which its maker's runtime is told. `folder` is where the command runs, `records` where its records lie.
    """

    name: str
    ranks: int
    argv: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    records: Path
    devices: float
    cpus: int
    memory_gigabytes: int
    nodes: tuple[str, ...]
    seats: tuple[str, ...]
    together: Together
    image: str | None = None
    visible: str | None = None


def env_of(gang: Gang, rank: int) -> Mapping[str, str]:
    """What one rank is told besides the gang's environment."""
    return {name: gang.seats[rank] for name in ("NNIX_DEVICES", gang.visible) if name is not None}


class Engine(Protocol):
    """One way to run gangs."""

    look_seconds: float
    """how often it may be asked what there is: one costs microseconds, another starts a process"""

    def start(self, gang: Gang) -> None:
        """Start a gang, unless one of its name was started. Raises Down, Refused."""
        ...

    def seen(self) -> Mapping[str, bool]:
        """name → whether it still waits or runs, of all gangs that the engine knows. Raises Down."""
        ...

    def stop(self, name: str, grace_seconds: float) -> None:
        """Tell a gang to end (SIGTERM); with no grace, end it (SIGKILL). Returns at once; whoever gave grace comes again. Raises Down."""
        ...

    def forget(self, name: str) -> None:
        """A gang that has ended is of no interest any more. Raises Down."""
        ...


class End(NamedTuple):
    """How and when a rank ended."""

    status: int
    at: float


def began(records: Path, ranks: int) -> Sequence[float]:
    """When the ranks began that have begun, in Unix seconds."""
    found = (BEGAN.fullmatch(_read(records / f"{rank}.began")) for rank in range(ranks))
    return [float(each[1]) for each in found if each]


def ended(records: Path, ranks: int) -> Sequence[End | None]:
    """How each rank ended; None for one that has not, or was lost."""
    found = (ENDED.fullmatch(_read(records / f"{rank}.ended")) for rank in range(ranks))
    return [End(int(each[1]), float(each[2])) if each else None for each in found]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
