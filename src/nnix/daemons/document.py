"""Documents: what a daemon reads that is larger, or changes more often, than what is configured.

The first line of an artifact is JSON and says which document it is; the document itself follows, or is looked up when it is driven:

    {"source": "rpki/vrps.json"}                      the newest that was accepted under that name
    {"source": "rpki/vrps.json", "sha256": "9f…"}     this one, which the change has pinned
    {"source": "irr"}                                 what follows the line

So a document that comes every ten minutes needs no change of the model, and no daemon is restarted for it: it lies in `content` of a folder
of its own, put there whole or not at all, and whoever reads it looks at it himself. One that was edited, lost or left behind by a newer one
differs like anything else, and the loop brings it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nnix.kernel.world import Failed, Host, Step

DOCUMENT = "document"
CONTENT = "content"
Find = Callable[[str, str | None], bytes | None]
"""(source, pinned SHA-256 or None for the newest) → the document, None where there is none"""


@dataclass(frozen=True, slots=True)
class DocumentDriver:
    """Brings documents to machines. `find` knows those that do not stand in the artifact."""

    find: Find
    name: str = DOCUMENT

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        if old == new:
            return ()
        if new is None:
            return (Step(f"remove the document {_head(old or b'')['source']}"),)
        return (Step(f"bring the document {_head(new)['source']}"),)

    async def check(self, host: Host, content: bytes) -> str:
        try:
            _head(content)
        except (ValueError, KeyError, TypeError) as error:
            return f"its first line does not say which document it is: {error}"
        return ""

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        paths = " ".join(f"'{host.home}/{self.name}/{name}/{CONTENT}'" for name in wanted)
        result = await host.run(["sh", "-c", f'for each in {paths}; do sha256sum <"$each" 2>/dev/null | grep . || echo -; done'])
        there = [line.split()[0] for line in result.out.splitlines()]
        if len(there) != len(wanted):
            raise Failed(f"{host.name}: looking at documents failed: {result.err.strip()}")
        found = {}
        for (name, content), digest in zip(wanted.items(), there, strict=True):
            try:
                shall = hashlib.sha256(self._whole(content)).hexdigest()
            except Failed as lost:
                found[name] = str(lost)
                continue
            if digest != shall:
                found[name] = "not there" if digest == "-" else "is not the newest"
        return found

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            await host.put({f"{self.name}/{name}": None})
        else:
            await host.put({f"{self.name}/{name}/{CONTENT}": self._whole(wanted)}, mode=0o644)

    def _whole(self, content: bytes) -> bytes:
        """Raises Failed where it is not to be had."""
        head, _, body = content.partition(b"\n")
        if body:
            return body
        said = json.loads(head)
        found = self.find(said["source"], said.get("sha256"))
        if found is None:
            raise Failed(f"there is no document {said['source']} yet")
        return found


def _head(content: bytes) -> dict[str, str]:
    found = json.loads(content.partition(b"\n")[0])
    return {"source": str(found["source"])}
