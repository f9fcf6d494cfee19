"""The driver: looks at a host and drives it, by two commands however many facts there are; see the package."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nnix.daemons.iproute.difference import impossible, left_over, missing, strangers
from nnix.daemons.iproute.facts import Sysctl, decode, encode, remembered
from nnix.daemons.iproute.seen import seen_on
from nnix.daemons.iproute.steps import steps
from nnix.daemons.iproute.way import Batch, making_order, way
from nnix.kernel.world import Failed, Host, Step


@dataclass(frozen=True, slots=True)
class IprouteDriver:
    """Interfaces, addresses, forwarding entries, routes, shapers and settings; see the package."""

    name: str = "iproute"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        return steps(old, new)

    async def check(self, host: Host, content: bytes) -> str:
        """Only the shape is checked, for there is no daemon that could parse an artifact: the kernel judges when it is told."""
        try:
            decode(content)
        except ValueError as error:
            return str(error)
        return ""

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        kept = await host.get([f"{self.name}/{name}/applied" for name in wanted])
        facts = {name: decode(content) for name, content in wanted.items()}
        before = {name: remembered(kept[f"{self.name}/{name}/applied"]) for name in wanted}
        seen = await seen_on(host, *facts.values(), *before.values())
        differing = {}
        for name, group in facts.items():
            lacking = {making_order(fact): said for fact in group.values() if (said := missing(fact, seen))}
            words = [lacking[order] for order in sorted(lacking)]
            words += [f"{fact.title} is left over" for key, fact in before[name].items() if key not in group and left_over(fact, seen)]
            words += [
                f"forwarding entry of {each.fdb} to {each.dst} on {each.dev} is not ours" for each in strangers(group, before[name], seen)
            ]
            if words:
                differing[name] = "; ".join(words[:5]) + (f"; and {len(words) - 5} more" if len(words) > 5 else "")
        return differing

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        facts = decode(wanted or b"")
        applied, found_path = f"{self.name}/{name}/applied", f"{self.name}/{name}/found"
        files = await host.get([applied, found_path])
        before = remembered(files[applied])
        found: dict[str, str] = json.loads(files[found_path] or b"{}")
        seen = await seen_on(host, before, facts)
        found |= {
            fact.sysctl: seen.settings[fact.sysctl]
            for fact in facts.values()
            if isinstance(fact, Sysctl) and fact.sysctl not in found and fact.sysctl in seen.settings
        }
        content = wanted or b""
        # A fact that changed its value stays known by its key: the newer spelling takes away what the older one put there.
        widened = encode({**before, **facts}.values()) if before.keys() - facts.keys() else content
        memory = {applied: widened, found_path: json.dumps(found, sort_keys=True).encode()}
        if changed := {path: kept for path, kept in memory.items() if files[path] != kept and (facts or files[path] is not None)}:
            await host.put(changed)
        batch = way(facts, before, found, seen)
        complaints = await _run(host, batch) if any(batch) else []
        complaints += impossible(facts, seen)
        if complaints:
            raise Failed(f"{host.name}: {'; '.join(complaints[:8])}" + (f"; and {len(complaints) - 8} more" if len(complaints) > 8 else ""))
        if wanted is None:
            await host.put({f"{self.name}/{name}": None})
        elif memory[applied] != content:
            await host.put({applied: content})


IPROUTE = IprouteDriver()


async def _run(host: Host, batch: Batch) -> list[str]:
    result = await host.run(["sh"], stdin=batch.script().encode(), timeout_seconds=120.0)
    lines: Mapping[str, list[str]] = {"ip": batch.ip, "tc": batch.tc, "bridge": batch.bridge}
    complaints: list[str] = []
    words: list[str] = []
    tool = ""
    for line in result.err.splitlines():
        if line.startswith("@"):
            complaints += [f"settings: {word}" for word in words]
            tool, words = line[1:], []
        elif match := re.fullmatch(r"Command failed -:(\d+)", line.strip()):
            number = int(match[1]) - 1
            command = lines[tool][number] if tool in lines and number < len(lines[tool]) else ""
            complaints.append(f"{tool} {command}: {' '.join(words) or 'failed'}")
            words = []
        elif line.strip():
            words.append(line.strip())
    # Warnings that belong to no failed command are not complaints; a shell that could not run at all is one.
    if result.status != 0:
        complaints.append(" ".join(words) or f"sh ended with status {result.status}")
    elif not lines.get(tool) or re.search("not found|No such file or directory|Permission denied", " ".join(words)):
        complaints += words
    return complaints
