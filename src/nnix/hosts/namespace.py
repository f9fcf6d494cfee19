"""A machine that is a network namespace here: own links, addresses and routes; files and processes are this machine's.

Commands enter by `nsenter`, which replaces itself by the command, so there is no process in between. A command runs in a
session of its own; when its time is up the whole process group is killed, so a shell takes its children along, while a
daemon that made itself a session of its own (as `daemons.process` does) stays. Files need no process at all.

`dial_in_namespace` is the one thing done inside a namespace by this process itself: a socket belongs for ever to the
namespace in which it was made, so a thread enters, connects, hands the socket over and ends. The thread is never reused:
whoever got it from a pool afterwards would find himself in another network.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from nnix.hosts import FOLLOWED, LINES_OCTETS, SEARCH_PATH, STATUS_NOT_FOUND, STATUS_TIME_UP, Lines, below_home, checked_argv
from nnix.kernel.world import Absent, Failed, Result, Unreachable

NAMESPACES = Path("/run/netns")  # where ip-netns(8) keeps them

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # sched.h; Python has setns only since 3.12
TRIES_BESIDE_A_REMOVAL = 5
STILL_THERE_SECONDS = 1.0


class NamespaceHost:
    """A host in the namespace called `namespace`; None: this machine's own network.

    A namespace that does not exist makes the host unreachable, but only when it is used, so hosts can be named before the
    lab has made them.
    """

    def __init__(self, name: str, namespace: str | None, home: Path) -> None:
        self._name = name
        self._namespace = namespace
        self._home = home.absolute()

    @property
    def name(self) -> str:
        return self._name

    @property
    def home(self) -> str:
        return str(self._home)

    @property
    def namespace(self) -> str | None:
        return self._namespace

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        argv = checked_argv(argv)
        self._reachable()
        try:
            process = await self._started(argv, asyncio.subprocess.PIPE)
        except (FileNotFoundError, PermissionError) as error:
            if self._namespace is not None:
                raise Unreachable(f"{self._name}: nsenter (package util-linux) cannot be run: {error.strerror}") from None
            return Result(STATUS_NOT_FOUND, "", f"{argv[0]}: {error.strerror}\n")
        try:
            out, err = await asyncio.wait_for(process.communicate(stdin), timeout_seconds)
        except TimeoutError:
            return Result(
                STATUS_TIME_UP, "", f"killed after {timeout_seconds:g} s: {argv[-1] if len(argv) == 1 else ' '.join(argv)[:200]}\n"
            )
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await asyncio.shield(process.wait())
        status = process.returncode if process.returncode is not None and process.returncode >= 0 else 128 - (process.returncode or 0)
        return Result(status, out.decode(errors="replace"), err.decode(errors="replace"))

    async def follow(self, argv: Sequence[str]) -> AsyncGenerator[Sequence[str], None]:
        argv = checked_argv(argv)
        self._reachable()
        there = self._identity()
        try:
            process = await self._started(("sh", "-c", FOLLOWED, "follow", *argv), asyncio.subprocess.DEVNULL)
        except (FileNotFoundError, PermissionError) as error:
            raise Unreachable(f"{self._name}: {argv[0]} cannot be followed: {error.strerror}") from None
        lines, printed = Lines(), process.stdout or asyncio.StreamReader()
        reading: asyncio.Task[bytes] | None = None
        try:
            while True:
                reading = reading or asyncio.ensure_future(printed.read(LINES_OCTETS))
                await asyncio.wait([reading], timeout=STILL_THERE_SECONDS)
                if not reading.done():
                    # Our own process would keep a deleted namespace alive, and its interfaces with it.
                    if self._identity() != there:
                        raise Absent(f"{self._name}: namespace {self._namespace} is gone")
                    continue
                piece, reading = reading.result(), None
                if not piece:
                    return
                if whole := lines.of(piece):
                    yield whole
        finally:
            if reading is not None:
                reading.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())

    async def _started(self, argv: Sequence[str], err: int) -> asyncio.subprocess.Process:
        if self._namespace is not None:
            argv = ("nsenter", f"--net={NAMESPACES / self._namespace}", "--", *argv)
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=err,
            start_new_session=True,
            cwd="/",
            env={**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', SEARCH_PATH)}:{SEARCH_PATH}"},
        )

    def _identity(self) -> int | None:
        """Which namespace it is, of those that have had the name; None for one that is gone."""
        try:
            return None if self._namespace is None else (NAMESPACES / self._namespace).stat().st_ino
        except OSError:
            return None

    async def put(self, files: Mapping[str, bytes | None], *, mode: int = 0o600) -> None:
        checked = {below_home(self._name, path): content for path, content in files.items()}
        self._reachable()
        await asyncio.to_thread(self._put, checked, mode)

    async def get(self, paths: Sequence[str]) -> Mapping[str, bytes | None]:
        checked = {path: below_home(self._name, path) for path in paths}
        self._reachable()
        return await asyncio.to_thread(lambda: {path: self._read(pure) for path, pure in checked.items()})

    def _reachable(self) -> None:
        if self._namespace is None:
            return
        if not self._namespace or "/" in self._namespace:
            raise Unreachable(f"{self._name}: {self._namespace!r} cannot be a namespace's name")
        try:
            # A namespace is a mount of its own; a plain file there is what a reboot or a half-done removal left over.
            mounted = (NAMESPACES / self._namespace).stat().st_dev != NAMESPACES.stat().st_dev
        except OSError as error:
            raise Absent(f"{self._name}: no namespace {self._namespace} on this machine ({error.strerror})") from None
        if not mounted:
            raise Unreachable(f"{self._name}: {NAMESPACES / self._namespace} is a left-over file, no namespace")

    def _put(self, files: Mapping[PurePosixPath, bytes | None], mode: int) -> None:
        for path, content in files.items():
            place = self._home / path
            try:
                if content is None:
                    self._remove(place)
                else:
                    self._write(place, content, mode)
            except OSError as error:
                raise Failed(f"{self._name}: {place}: {error.strerror}") from error

    def _write(self, place: Path, content: bytes, mode: int) -> None:
        fresh = place.with_name(f".{place.name}.new")
        for tries_left in reversed(range(TRIES_BESIDE_A_REMOVAL)):
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
            except FileNotFoundError:  # somebody removed the last file here and, with it, the empty folder
                if not tries_left:
                    raise
                continue
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(content)
            fresh.replace(place)
            return

    def _remove(self, place: Path) -> None:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        for folder in place.parents:
            if folder == self._home:
                break
            try:
                folder.rmdir()
            except OSError:  # not empty: somebody else's files are there
                break

    def _read(self, path: PurePosixPath) -> bytes | None:
        try:
            return (self._home / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise Failed(f"{self._name}: {self._home / path}: {error.strerror}") from error


def enter_namespace(namespace: str) -> None:
    """Move the calling thread into `namespace`, for good. Raises OSError."""
    with (NAMESPACES / namespace).open("rb") as file:
        if hasattr(os, "setns"):
            os.setns(file.fileno(), CLONE_NEWNET)
            return
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def apart(act: Callable[[], T]) -> T:
    """What `act` gives, done in a thread of its own that ends with it; what it raises is raised. Never a pooled thread: one that enters a
    namespace stays there."""
    results: list[T] = []
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            results.append(act())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def inside(namespace: str, act: Callable[[], T]) -> T:
    """What `act` gives inside `namespace`; a socket that it makes belongs there for ever. Raises OSError, and what `act` raises."""

    def entered() -> T:
        enter_namespace(namespace)
        return act()

    return apart(entered)


async def dial_in_namespace(namespace: str, address: str, port: int, *, timeout_seconds: float = 5.0) -> socket.socket:
    """A TCP socket connected to `address` port `port` from inside `namespace`, not blocking. Raises OSError."""
    loop = asyncio.get_running_loop()
    dialled: asyncio.Future[socket.socket] = loop.create_future()

    def hand_over(connected: socket.socket | None, error: OSError | None) -> None:
        if dialled.done():  # the caller went away
            if connected is not None:
                connected.close()
        elif connected is not None:
            dialled.set_result(connected)
        elif error is not None:
            dialled.set_exception(error)

    def dial() -> None:
        connected, failure = None, None
        try:
            enter_namespace(namespace)
            connected = socket.create_connection((address, port), timeout=timeout_seconds)
            connected.setblocking(False)
        except OSError as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(hand_over, connected, failure)

    threading.Thread(target=dial, name=f"dial-{namespace}", daemon=True).start()
    return await dialled
