"""Our own daemons: Python programs of nnix that run on a machine of the exchange, driven like any other daemon.

A machine need not have nnix for that, only Debian's python3: the driver lays the program's files beside its settings, as they would lie in the
package, and starts `python3 -S -m MODULE settings.json` there. So these programs import the standard library and one another, and nothing
else. What they were started with counts as part of the configuration: a newer nnix replaces them.

A program ends at SIGTERM. It says that it is alive by writing its file `state`, whose age is its pulse.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnix.daemons.process import Seen, act, difference, digest, parsed, placed, probe, remove
from nnix.kernel.world import Host, Step

CONFIG = "settings.json"
STATE = "state"
COMMS = ("python3",)
PULSE_SECONDS_MAX = 15

LOOK = "echo runs"

DRIVE = f"""
beating() {{ [ -f {STATE} ] && [ $(($(date +%s) - $(stat -c %Y {STATE}))) -le {PULSE_SECONDS_MAX} ]; }}
up_or_dead() {{ beating || ! stands "$pid"; }}
settle {CONFIG} || exit 1
stop 5 python3 || {{ echo 'does not end' >&2; exit 1; }}
rm -f {STATE}
start python3 env -i PATH="$PATH" LC_ALL=C PYTHONPATH="$here" python3 -S -B -m "$module" {CONFIG}
until_true 20 up_or_dead
stands "$pid" || {{ last_words; exit 1; }}
beating || {{ echo 'started, but does not work' >&2; exit 1; }}
applied {CONFIG} runs python3
"""


@dataclass(frozen=True, slots=True)
class ProgramDriver:
    """Drives the program `module`, which consists of `files` (path in the package → where it lies here). The content is its settings, JSON.

    `farewell` is a shell command for what the program leaves behind when it is taken away.
    """

    name: str
    module: str
    files: Mapping[str, Path]
    farewell: str = ""

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        if old == new:
            return ()
        if old is None:
            return (Step(f"start the {self.name}"),)
        return (Step(f"stop the {self.name}"),) if new is None else (Step(f"restart the {self.name} with new settings"),)

    async def check(self, host: Host, content: bytes) -> str:
        try:
            json.loads(content)
        except ValueError as error:
            return f"not JSON: {error}"
        return await parsed(
            host, content, "python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and \"needs Python 3.11\")'", file=CONFIG
        )

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        seen = await self._seen(host, wanted)
        found = {name: difference(seen[name], digest(self._whole(host, name, content)), COMMS) for name, content in wanted.items()}
        return {name: words for name, words in found.items() if words}

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            await remove(host, self.name, name, COMMS, after=self.farewell)
            return
        content = self._whole(host, name, wanted)
        seen = (await self._seen(host, [name]))[name]
        if difference(seen, digest(content), COMMS):
            await host.put({f"{self.name}/{name}/{path}": source for path, source in self._sources().items()})
            await act(host, self.name, name, f"module={self.module}\n{DRIVE}", stdin=content)

    def _sources(self) -> dict[str, bytes]:
        return {path: place.read_bytes() for path, place in self.files.items()}

    def _whole(self, host: Host, name: str, content: bytes) -> bytes:
        """The settings as they stand on the host; the digest of the program stands in them."""
        program = hashlib.sha256(b"".join(self._sources().values())).hexdigest()
        return placed(host, self.name, name, json.dumps({"program": program, **json.loads(content)}, sort_keys=True, indent=1).encode())

    async def _seen(self, host: Host, names: Iterable[str]) -> dict[str, Seen]:
        return await probe(host, self.name, CONFIG, dict.fromkeys(names, COMMS), ask=LOOK)
