"""Loader: a document becomes the next history in a process of its own.

To read 75 MB of JSON takes more than a second, in which a single process would serve nobody; and it takes memory that Python
does not give back. So the server forks: the child has the history as it is, reads the document, writes the next history to its
file and leaves it in a memory file for the parent, which only takes it over. What goes wrong with a document (a bomb, a truncated
file, no memory) ends the child, and the parent serves on.

The order is what makes serials safe (H1): the next history is on the disk before any router hears of it. When the disk does not
take it, the parent is told, and begins a new session that the disk never knew.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import resource
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from nnix.planes.trust.rtr.history import History, begun
from nnix.planes.trust.rtr.keeping import kept, read_back
from nnix.planes.trust.rtr.reading import Refused, read
from nnix.planes.trust.rtr.records import any_length, marked

DOCUMENT_OCTETS_MAX = 1 << 30
MEMORY_OCTETS_MAX = 4 << 30
LOAD_SECONDS_MAX = 120.0
BUILT_AHEAD_SECONDS_MAX = 600


@dataclass(frozen=True, slots=True)
class Task:
    """What to load, and what to begin with when there is no history yet."""

    file: str
    kept_at: str
    digest: str  # of the document that was loaded last
    may_be_empty: bool
    marked: bool
    any_length: bool
    session: int
    serial: int
    now: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went: `taken` with a history that follows, `same` when the document is the one that was loaded last, `refused` with the reason.

    `unkept` says why the history is not on the disk; empty when it is. `built` is when the document was made; `dated` says whether
    the document says so itself, and not only the file. `again`: the same document may be taken a little later; what refused it was a clock, a
    permission or a want of memory.
    """

    what: str
    digest: str = ""
    built: float = 0.0
    reason: str = ""
    unkept: str = ""
    dated: bool = True
    again: bool = False


@dataclass(frozen=True)
class Loading:
    """A child at work. `watch` becomes readable when it ends."""

    child: int
    watch: int
    memory: int
    begun_at: float

    def ended(self) -> tuple[Outcome, History | None]:
        """What it left, once it has ended."""
        _, status = os.waitpid(self.child, 0)
        try:
            with os.fdopen(os.dup(self.memory), "rb") as file:
                file.seek(0)
                line, history = file.readline(), file.read()
            if status:
                how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
                return Outcome("refused", reason=f"reading the document ended with {how}", again=True), None
            return Outcome(**json.loads(line)), read_back(history) if history else None
        finally:
            os.close(self.watch)
            os.close(self.memory)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.child, signal.SIGKILL)


def load(task: Task, history: History | None, keep_open: int, now: float) -> Loading:
    """Begin to load. The child keeps only `keep_open`, the lock of the state folder, so that nobody else serves from it meanwhile.

    Raises OSError when there is no room for another process.
    """
    memory = os.memfd_create("rtr-history", os.MFD_CLOEXEC)
    try:
        child = os.fork()
    except OSError:
        os.close(memory)
        raise
    if child == 0:
        _child(task, history, memory, keep_open)
    try:
        return Loading(child, os.pidfd_open(child), memory, now)
    except OSError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(memory)
        raise


def _child(task: Task, history: History | None, memory: int, keep_open: int) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        kept_open = sorted({memory, keep_open})
        for low, high in zip((2, *kept_open), (*kept_open, os.sysconf("SC_OPEN_MAX")), strict=True):
            os.closerange(low + 1, high)
        gc.disable()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_OCTETS_MAX, MEMORY_OCTETS_MAX))
        outcome, octets = loaded(task, history)
        with os.fdopen(memory, "wb", closefd=False) as file:
            file.write(json.dumps(asdict(outcome)).encode() + b"\n" + octets)
        status = 0
    except BaseException as error:  # whatever it is, it must not run the parent's loop in a second process
        with suppress(BaseException):
            os.write(2, f"rtr: loading {task.file}: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


def loaded(task: Task, history: History | None) -> tuple[Outcome, bytes]:
    """The outcome, and the octets of the next history when the document is taken."""
    try:
        with Path(task.file).open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_size > DOCUMENT_OCTETS_MAX:
                return Outcome("refused", reason=f"the document has {about.st_size} octets, more than {DOCUMENT_OCTETS_MAX}"), b""
            document = file.read()
    except OSError as error:
        return Outcome("refused", reason=f"the document cannot be read: {error.strerror}", again=True), b""
    digest = hashlib.sha256(document).hexdigest()
    if history is not None and digest == task.digest:
        return Outcome("same", digest, about.st_mtime), b""
    found = read(document, may_be_empty=task.may_be_empty)
    if isinstance(found, Refused):
        return Outcome("refused", digest, reason=str(found)), b""
    built = about.st_mtime if found.built is None else found.built
    if built > task.now + BUILT_AHEAD_SECONDS_MAX:
        ahead = f"the document says that it was made {built - task.now:.0f} s from now"
        return Outcome("refused", digest, reason=ahead, again=True), b""
    records = any_length(found.found) if task.any_length else found.found
    records = marked(records) if task.marked else records
    following = begun(task.session, task.serial, records, built) if history is None else history.updated(records, built)
    octets = kept(following)
    return Outcome("taken", digest, built, unkept=_keep(octets, Path(task.kept_at)), dated=found.built is not None), octets


def _keep(octets: bytes, place: Path) -> str:
    """Write it whole or not at all; why it could not be written."""
    beside = place.with_suffix(".new")
    try:
        with beside.open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        return error.strerror or str(error)
    return ""
