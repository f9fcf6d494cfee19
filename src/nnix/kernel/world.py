"""The world as the kernel sees it: hosts that can run and hold things, and drivers that make a host agree with an artifact.

An *artifact* is what one daemon on one machine shall have, as bytes: a configuration, a rule set, a list of interfaces.
A *driver* knows one kind of daemon: what separates two artifacts (`steps`, pure), what separates an artifact from the
machine (`look`), and how to make them agree (`drive`). Driving is idempotent and starts from what is there, so that a
restart, a lost event, a half-done change and a hand edit are one case.

A driver may also be a *watcher*: it hears at once when something goes, and puts back just that. It is a matter of haste only: whatever it
misses is found by the next look.

The kernel drives by these protocols alone; `nnix.hosts` and `nnix.daemons` fill them.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""of an OSError: our own disk is full. No stranger's fault, and no reason for a traceback"""


class Result(NamedTuple):
    """How a command ended: exit status and what it printed."""

    status: int
    out: str
    err: str


class Unreachable(Exception):
    """A host could not be used at all: no route, no login, no such namespace. The message says which and why."""


class Absent(Unreachable):
    """The machine does not exist any more, so nothing of ours can be on it."""


class Failed(Exception):
    """A host was reached and something on it did not work. The message carries the daemon's own words."""


class Host(Protocol):
    """A machine, however it is reached."""

    @property
    def name(self) -> str: ...

    @property
    def home(self) -> str:
        """Absolute path of the folder on that machine that belongs to nnix; daemons' files stand below it."""
        ...

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        """Run a command to its end, in the machine's own network. A status other than 0 is returned, not raised; 124 means that
        the time was up and the command was killed. Raises Unreachable."""
        ...

    async def put(self, files: Mapping[str, bytes | None], *, mode: int = 0o600) -> None:
        """Write files, each whole or not at all; paths are relative to `home`, folders are made. None removes a file, or a folder with
        all that is in it. Raises Unreachable, Failed."""
        ...

    async def get(self, paths: Sequence[str]) -> Mapping[str, bytes | None]:
        """Read files relative to `home`; None for one that is not there. Raises Unreachable."""
        ...


@runtime_checkable
class Following(Host, Protocol):
    """A machine on which one can also listen to a command that has no end."""

    def follow(self, argv: Sequence[str]) -> AsyncGenerator[Sequence[str], None]:
        """The lines that a command prints, as it prints them, those together that come together, until it ends. It is killed when nobody asks
        on, also when that is because the asking process has died. Raises Unreachable, also when the machine is lost meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that will be done on a machine, in words; and whom it disturbs (resource ids whose traffic is interrupted)."""

    does: str
    disturbs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Artifact:
    """What `driver` shall have on `machine` under `name`. `about` names the resources that it is made from."""

    machine: str
    driver: str
    name: str
    content: bytes
    about: frozenset[str] = frozenset()

    @property
    def key(self) -> tuple[str, str, str]:
        return self.machine, self.driver, self.name

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a machine cannot do, whatever is driven there: `what`, for which resource, and what would mend it."""

    resource: str
    what: str
    mend: str


@runtime_checkable
class Asking(Protocol):
    """A driver whose artifacts may ask for more than every machine can do."""

    async def lacks(self, host: Host, content: bytes) -> tuple[Lack, ...]:
        """What of `content` the machine cannot do. Writes nothing. Raises Unreachable, Failed."""
        ...


@runtime_checkable
class Alone(Protocol):
    """A driver some of whose changes lean on nothing but what it has brought about itself."""

    def alone(self, old: bytes | None, new: bytes | None) -> bool:
        """Whether what makes `old` into `new` may be driven without a look at what comes before it on its machine. Pure."""
        ...


class Driver(Protocol):
    """Makes one kind of daemon agree with its artifacts."""

    @property
    def name(self) -> str: ...

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        """What makes `old` into `new`, in words, for a plan. None: not there. Pure."""
        ...

    async def check(self, host: Host, content: bytes) -> str:
        """The daemon's own parser on `content`, touching nothing that runs. Empty: accepted; else its complaint. Raises Unreachable."""
        ...

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        """name → in words, how the machine differs from what is wanted; those that agree are left out. Changes nothing. Raises Unreachable."""
        ...

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        """Make the machine agree, and see that it does; None: take it away without a trace. Disturbs nothing that already agrees. Safe to
        repeat after being killed at any point. Raises Unreachable; Failed where the machine does not agree in the end, saying how."""
        ...


Lost = tuple[str, ...]
"""What went, in the words of the driver that saw it go."""


@runtime_checkable
class Watcher(Protocol):
    """What a driver offers besides, if its machine tells it what goes."""

    def watch(self, host: Host) -> AsyncGenerator[Collection[Lost], None]:
        """What goes on the machine, as it goes, ours or not; what went together, together. Raises Unreachable."""
        ...

    def heeds(self, wanted: bytes) -> bool:
        """Whether there is anything in `wanted` of which the machine would tell. Pure."""
        ...

    def concerned(self, wanted: bytes, lost: Collection[Lost]) -> frozenset[Lost]:
        """Those of `lost` that are wanted. Pure."""
        ...

    async def put_back(self, host: Host, wanted: bytes, lost: Collection[Lost]) -> str:
        """Put back what is wanted of `lost` and is not there: in words, what was put back. Left alone, for the next look to judge, is what
        something else has taken the place of, and what would be of no use now. Raises Unreachable, Failed."""
        ...
