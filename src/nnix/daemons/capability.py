"""What the kernel of a machine can do: found out on the machine itself, by trying, once.

Kernels are built with and without a part, as a module that is loaded when it is first asked for, or not at all; a list of modules or a
configuration file tells only some of that. So a command is tried that would need the part, on `lo`, where it leaves nothing behind. What it says
where the part is missing is known, and is the only thing taken for that: whatever else goes wrong is a failure, not an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from nnix.kernel.world import Failed, Host


@dataclass(frozen=True, slots=True)
class Capability:
    """A part of the kernel called `what`. `missing`: what `probe` (a shell's line) says where there is none. `there`: what else than success says that there is."""

    what: str
    probe: bytes
    missing: str
    there: str
    _found: WeakKeyDictionary[Host, bool] = field(default_factory=WeakKeyDictionary, repr=False, compare=False)

    async def possible(self, host: Host) -> bool:
        """Whether the kernel of `host` has it: tried once for each host, and known from then on. Raises Unreachable, Failed."""
        known = self._found.get(host)
        if known is None:
            result = await host.run(["sh"], stdin=self.probe)
            if self.missing in result.err:
                known = False
            elif result.status == 0 or self.there in result.err:
                known = True
            else:
                raise Failed(f"{host.name}: whether its kernel has {self.what} cannot be found out: {result.err.strip() or result.status}")
            self._found[host] = known
        return known
