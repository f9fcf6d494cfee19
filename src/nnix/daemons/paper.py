"""The driver of nothing: artifacts are files and agree when they are equal.

The kernel is tried with it, on paper hosts and on real ones, since it needs nothing of a host but files. It has a parser
of its own, so that refusals can be tried as well: a line that starts with `!refuse` is a mistake, and what follows it is
the complaint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnix.kernel.world import Failed, Host, Step

MISTAKE = b"!refuse"


@dataclass(frozen=True, slots=True)
class PaperDriver:
    """Keeps the artifact `name` in the file `paper/<name>`. `name` is the driver's own name, for tests that want several."""

    name: str = "paper"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        if old == new:
            return ()
        if old is None:
            return (Step("write the file"),)
        return (Step("remove the file") if new is None else Step("write the file anew"),)

    async def check(self, host: Host, content: bytes) -> str:
        for number, line in enumerate(content.splitlines(), start=1):
            if line.startswith(MISTAKE):
                return f"line {number}: {line.removeprefix(MISTAKE).decode(errors='replace').strip() or 'refused'}"
        return ""

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        if not wanted:
            return {}
        there = await host.get([self._path(name) for name in wanted])
        return {
            name: "not there" if there[self._path(name)] is None else "differs from what is wanted"
            for name, content in wanted.items()
            if there[self._path(name)] != content
        }

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is not None and (complaint := await self.check(host, wanted)):
            raise Failed(f"{host.name}: {self._path(name)}: {complaint}")
        there = (await host.get([self._path(name)]))[self._path(name)]
        if there != wanted:
            await host.put({self._path(name): wanted})

    def _path(self, name: str) -> str:
        return f"{self.name}/{name}"


PAPER = PaperDriver()
