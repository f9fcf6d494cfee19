"""The mirror: every publication point that the trust anchors lead to, fetched by rsync.

It begins with the anchors' certificates, which count only with the very key that their TALs name (RFC 8630, 3). A CA's certificate says where that CA publishes
(caRepository, RFC 6487, 4.8.8.1). The module of that place is fetched whole, its certificates say where to go on, and so forth until nothing new is named.
Nothing is validated on the way: whoever forges a certificate makes us fetch, and no more. So hosts and modules are bounded in number.

What cannot be fetched stays as it was, and is told: validators judge what is there by its own dates.

Deliberately not here: RRDP (RFC 8182), for which repositories must be declared (home.py).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnix.daemons import rsync
from nnix.kernel.world import Host
from nnix.planes.trust.archive import files_below
from nnix.planes.trust.objects import points_of
from nnix.planes.trust.tal import Tal

MODULE = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)+(?::[0-9]{1,5})?/[A-Za-z0-9][A-Za-z0-9._-]*)/")
MODULES_MAX = 2_000
AT_ONCE = 8
MODULE_SECONDS_MAX = 900.0


@dataclass(frozen=True)
class Fetched:
    """What was fetched: module, or an anchor's certificate, → why it was not; empty: it was."""

    faults: Mapping[str, str]

    @property
    def whole(self) -> bool:
        return not any(self.faults.values())


async def fetched(tals: Mapping[str, Tal], host: Host, folder: Path, *, seconds_max: float = MODULE_SECONDS_MAX) -> Fetched:
    """Bring the mirror in `folder`, on `host`, up to date. Raises Unreachable."""
    faults: dict[str, str] = {}
    wanted: set[str] = set()
    for anchor, each in tals.items():
        content, fault = await _certificate(each, host, folder, seconds_max)
        faults[f"{anchor}: {each.paths[0]}"] = fault
        wanted |= set(_modules(content))
    gate = asyncio.Semaphore(AT_ONCE)

    async def module(name: str) -> None:
        async with gate:
            result = await rsync.fetched(host, str(folder), f"{name}/", f"{name}/", seconds_max=seconds_max)
        faults[name] = "" if result.status == 0 else _last(result.err, result.status)

    done: set[str] = set()
    while fresh := sorted(wanted - done)[: MODULES_MAX - len(done)]:
        await asyncio.gather(*map(module, fresh))
        done |= set(fresh)
        for name in fresh:
            wanted |= await asyncio.to_thread(_named, folder / name)
    for name in sorted(wanted - done):
        faults[name] = f"more than {MODULES_MAX} modules are named"
    return Fetched(faults)


async def _certificate(each: Tal, host: Host, folder: Path, seconds_max: float) -> tuple[bytes, str]:
    """(an anchor's certificate, why it could not be fetched). Of another key than the TAL's it is not taken; then the former one counts."""
    fault = ""
    for path in each.paths:
        place, draft = folder / path, f".draft/{path}"
        result = await rsync.fetched(host, str(folder), path, draft, seconds_max=seconds_max)
        if result.status != 0:
            fault = _last(result.err, result.status)
        elif (content := _plain(folder / draft)) is None:
            fault = "nothing came: it is no plain file, or too large"  # rsync leaves such out, and is content
        elif each.key not in content:
            fault = "its key is not the one that the TAL names"
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            (folder / draft).replace(place)
            return content, ""
    return next((content for path in each.paths if (content := _plain(folder / path)) is not None), b""), fault


def _plain(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def _modules(certificate: bytes) -> Iterator[str]:
    """HOST/MODULE of where a CA publishes."""
    for point in points_of(certificate):
        found = MODULE.match(point)
        if found is not None and ".." not in point:
            yield found[1]


def _named(folder: Path) -> set[str]:
    """The modules that certificates below `folder` name."""
    return {name for path, entry in files_below(folder, []) if path.endswith(".cer") for name in _modules(Path(entry.path).read_bytes())}


def _last(words: str, status: int) -> str:
    lines = words.strip().splitlines()
    return lines[0] if lines else f"rsync ended with status {status}"
