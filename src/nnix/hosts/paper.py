"""A machine on paper: it holds files, remembers what was asked of it, understands nothing, and fails on purpose.

It exists so that what stands above can be stopped at *every* step: `fail_at(n, …)` lets the n-th operation fail, before or
after it took effect. A command does nothing here; what it would have answered is set by the test. Whoever wants a daemon's
behaviour takes the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nnix.hosts import below_home, checked_argv
from nnix.kernel.world import Failed, Result, Unreachable

Answer = Callable[[Sequence[str]], Result]


def silence(argv: Sequence[str]) -> Result:
    """Every command succeeds and says nothing."""
    return Result(0, "", "")


@dataclass
class _Fault:
    operation: int
    error: type[BaseException]
    after: bool


@dataclass
class PaperHost:
    """A host whose `files` (path relative to home → bytes) live in memory.

    `ran` lists the commands, `stdins` what each was given, `written` the paths put or removed, in order. `operations` counts
    what was asked so far: every run, every get, and within a put every single file, because a real machine can die between
    two of them. `answer` says what commands say; `printed`, what a followed one prints. `unreachable`, when not empty, is why nothing works at present.
    """

    name: str
    home: str = "/paper"
    answer: Answer = silence
    files: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    ran: list[tuple[str, ...]] = field(default_factory=list)
    stdins: list[bytes] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    operations: int = 0
    unreachable: str = ""
    printed: asyncio.Queue[Sequence[str] | None] = field(default_factory=asyncio.Queue)
    _faults: list[_Fault] = field(default_factory=list)

    def fail_at(self, operation: int, error: type[BaseException] = Failed, *, after: bool = False) -> None:
        """Let operation number `operation` (counted from 1 since the host was made) raise `error`, once.

        `after`: the operation takes effect and only then fails, as when the machine did it and the answer got lost.
        """
        self._faults.append(_Fault(operation, error, after))

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        argv = checked_argv(argv)
        after = self._count()
        self.ran.append(argv)
        self.stdins.append(stdin)
        result = self.answer(argv)
        self._fail(after)
        return result

    async def follow(self, argv: Sequence[str]) -> AsyncGenerator[Sequence[str], None]:
        """What the test has put into `printed`, each element when its time comes; None ends it."""
        argv = checked_argv(argv)
        self._fail(self._count())
        self.ran.append(argv)
        while (lines := await self.printed.get()) is not None:
            self._fail(self._count())
            yield lines

    async def put(self, files: Mapping[str, bytes | None], *, mode: int = 0o600) -> None:
        checked = {str(below_home(self.name, path)): content for path, content in files.items()}
        for path, content in checked.items():
            after = self._count()
            self.written.append(path)
            if content is None:
                for each in [known for known in self.files if known == path or known.startswith(f"{path}/")]:
                    del self.files[each], self.modes[each]
            elif any(known.startswith(f"{path}/") for known in self.files):
                raise Failed(f"{self.name}: {self.home}/{path}: Is a directory")
            else:
                self.files[path] = bytes(content)
                self.modes[path] = mode
            self._fail(after)

    async def get(self, paths: Sequence[str]) -> Mapping[str, bytes | None]:
        checked = {path: str(below_home(self.name, path)) for path in paths}
        after = self._count()
        found = {path: self.files.get(pure) for path, pure in checked.items()}
        self._fail(after)
        return found

    def _count(self) -> _Fault | None:
        """Count one operation; the fault that shall follow it, if any. Raises the one that shall prevent it."""
        if self.unreachable:
            raise Unreachable(f"{self.name}: {self.unreachable}")
        self.operations += 1
        for fault in self._faults:
            if fault.operation == self.operations:
                if not fault.after:
                    self._fail(fault)
                return fault
        return None

    def _fail(self, fault: _Fault | None) -> None:
        if fault is not None:
            self._faults.remove(fault)
            raise fault.error(f"{self.name}: operation {fault.operation} was to fail")
