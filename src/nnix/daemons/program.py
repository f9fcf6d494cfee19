"""Our own daemons: Python programs of nnix that run on a machine of the exchange, driven like any other daemon.

A machine need not have nnix for that: the driver lays the program's files beside its settings, as they would lie in the package, and starts
`python3 -m MODULE settings.json` there. Most of these programs import the standard library and one another, and nothing else, so that
Debian's python3 is enough; one that needs more says so, and a machine that lacks it is refused before anything is touched. What they were
started with counts as part of the configuration: a newer nnix replaces them, and so does a new certificate.

A program ends at SIGTERM. It says that it is alive by writing a file, whose age is its pulse.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnix.daemons.process import Seen, act, difference, digest, parsed, placed, probe, remove
from nnix.daemons.secrets import Revealed, Secrets
from nnix.kernel.world import Host, Step

CONFIG = "settings.json"
COMMS = ("python3",)
PULSE_SECONDS_MAX = 15

LOOK = "echo runs"

DRIVE = f"""
beating() {{ [ -f "$pulse" ] && [ $(($(date +%s) - $(stat -c %Y "$pulse"))) -le {PULSE_SECONDS_MAX} ]; }}
up_or_dead() {{ beating || ! stands "$pid"; }}
settle {CONFIG} || exit 1
stop 5 python3 || {{ echo 'does not end' >&2; exit 1; }}
rm -f "$pulse"
start python3 env -i PATH="$PATH" LC_ALL=C PYTHONPATH="$here" $python -B -m "$module" {CONFIG}
until_true 20 up_or_dead
stands "$pid" || {{ last_words; exit 1; }}
beating || {{ echo 'started, but does not work' >&2; exit 1; }}
applied {CONFIG} runs python3
"""


@dataclass(frozen=True, slots=True)
class ProgramDriver:
    """Drives the program `module`, which consists of `files` (path in the package → where it lies here). The content is its settings, JSON.

    `farewell` is a shell command for what the program leaves behind when it is taken away. `pulse` is the file that it writes to say that it is
    alive. `needs` are packages beyond the standard library, and `interpreter` has them on this computer; where there is none of that path,
    python3 must.
    """

    name: str
    module: str
    files: Mapping[str, Path]
    farewell: str = ""
    pulse: str = "state"
    needs: tuple[str, ...] = ()
    interpreter: str = "python3 -S"
    secrets: Secrets | None = None

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
        if self.secrets and (complaint := self.secrets.complaint(content)):
            return complaint
        # Looked for, not imported: for Ray alone that would be a second of CPU time in every plan.
        imports = "".join(
            f'import importlib.util; assert importlib.util.find_spec("{each}"), "there is no {each}"; ' for each in self.needs
        )
        version = 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11")'
        said = await parsed(host, content, f"{self._python()}; $python -c '{imports}{version}'", file=CONFIG)
        return f"needs python3 with {' and '.join(self.needs)}: {said.splitlines()[-1]}" if said and self.needs else said

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        seen = await self._seen(host, wanted)
        found: dict[str, str] = {}
        for name, content in wanted.items():
            if self.secrets and (complaint := self.secrets.complaint(content)):
                found[name] = f"cannot be compared: {complaint}"
            elif words := difference(seen[name], digest(self._whole(host, name, content)[0]), COMMS):
                found[name] = words
        return found

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            await remove(host, self.name, name, COMMS, after=self.farewell)
            return
        content, beside = self._whole(host, name, wanted)
        seen = (await self._seen(host, [name]))[name]
        if difference(seen, digest(content), COMMS):
            await host.put({f"{self.name}/{name}/{path}": each for path, each in {**self._sources(), **beside}.items()})
            words = f"module={self.module}; pulse={self.pulse}; {self._python()}\n"
            await act(host, self.name, name, words + DRIVE, stdin=content)

    def _python(self) -> str:
        """The shell words that set $python."""
        path, _, options = self.interpreter.partition(" ")
        return f'python={shlex.quote(path)}; command -v "$python" >/dev/null || python=python3; python="$python {options}"'

    def _sources(self) -> dict[str, bytes]:
        return {path: place.read_bytes() for path, place in self.files.items()}

    def _whole(self, host: Host, name: str, content: bytes) -> tuple[bytes, dict[str, bytes]]:
        """The settings as they stand on the host, and the files of secrets beside them; the digest of the program and of these stands in them.
        Raises Failed for a secret that is not to be had."""
        revealed = self.secrets.reveal(content) if self.secrets else Revealed(content, {})
        program = hashlib.sha256(b"".join((*self._sources().values(), *revealed.files.values()))).hexdigest()
        whole = json.dumps({"program": program, **json.loads(revealed.content)}, sort_keys=True, indent=1).encode()
        return placed(host, self.name, name, whole), revealed.files

    async def _seen(self, host: Host, names: Iterable[str]) -> dict[str, Seen]:
        return await probe(host, self.name, CONFIG, dict.fromkeys(names, COMMS), ask=LOOK)
