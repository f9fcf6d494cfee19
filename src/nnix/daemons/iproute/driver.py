"""The driver: looks at a host and drives it, by two commands however many facts there are; see the package."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from nnix.daemons.capability import Capability
from nnix.daemons.iproute.difference import impossible, left_over, missing, stranger_said, strangers
from nnix.daemons.iproute.facts import Fact, Fdb, Key, Neighbour, Sysctl, Vlan, decode, encode, remembered
from nnix.daemons.iproute.seen import Seen, asking, parsed, seen_on
from nnix.daemons.iproute.steps import steps
from nnix.daemons.iproute.watch import MONITOR, TAKEN, came_back, gone, script
from nnix.daemons.iproute.way import anew, arrived, making_order, mere_entries, way
from nnix.kernel.world import Failed, Following, Host, Lack, Lost, Step

DONE = "echo @done >&2\n"

# Tried on lo, which takes no VLAN: so it fails everywhere, and what it says tells why.
DOT1Q = Capability(
    "802.1Q",
    b"ip link add link lo dev nnix-try type vlan id 1 && ip link delete dev nnix-try\n",
    missing="Unknown device type",
    there="VLANs not supported on device",
)
DOT1Q_MEND = "load the module 8021q or boot a kernel that has it (CONFIG_VLAN_8021Q), as Debian's has; or do without the VLAN"


@dataclass(frozen=True, slots=True)
class IprouteDriver:
    """Interfaces, addresses, forwarding entries, routes, shapers and settings; see the package."""

    name: str = "iproute"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        return steps(old, new)

    def alone(self, old: bytes | None, new: bytes | None) -> bool:
        return old is not None and new is not None and mere_entries(arrived(remembered(old), decode(new)))

    async def check(self, host: Host, content: bytes) -> str:
        """Only the shape is checked, for there is no daemon that could parse an artifact: the kernel judges when it is told."""
        try:
            decode(content)
        except ValueError as error:
            return str(error)
        return ""

    async def lacks(self, host: Host, content: bytes) -> tuple[Lack, ...]:
        vlans = [each for each in decode(content).values() if isinstance(each, Vlan)]
        if not vlans or await DOT1Q.possible(host):
            return ()
        return tuple(Lack(each.of or each.link, f"802.1Q, for VLAN {each.vlan} of {each.over},", DOT1Q_MEND) for each in vlans)

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        kept = await host.get([f"{self.name}/{name}/applied" for name in wanted])
        facts = {name: decode(content) for name, content in wanted.items()}
        before = {name: remembered(kept[f"{self.name}/{name}/applied"]) for name in wanted}
        seen = await seen_on(host, *facts.values(), *before.values())
        differing = {name: said for name, group in facts.items() if (said := _difference(group, before[name], seen))}
        return {name: _listed(said, 5) for name, said in differing.items()}

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        facts = decode(wanted or b"")
        applied, found_path = f"{self.name}/{name}/applied", f"{self.name}/{name}/found"
        files = await host.get([applied, found_path])
        before = remembered(files[applied])
        found: dict[str, str] = json.loads(files[found_path] or b"{}")
        if (come := arrived(before, facts)) and files[found_path] is not None:
            # Most changes are an arrival: it is tried at once, as if nothing were in the way. A member's entries, told to every site, the kernel
            # takes only where there are none, and says so: what it took without a word is there, and what was there before is not touched.
            await host.put({applied: wanted})
            batch = anew(come)
            mere = mere_entries(come)
            out, said = await _run(host, f"{batch.script()}{DONE}{'exit 0' if mere else asking(facts)}\n", batch.lines)
            if not said and (mere or not _difference(facts, before, parsed(out))):
                return
            files = {**files, applied: wanted}
            before = facts
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
        complaints = impossible(facts, seen)
        if any(batch):
            out, said = await _run(host, f"{batch.script()}{DONE}{asking(before, facts)}", batch.lines)
            complaints = [*said, *complaints] or _difference(facts, before, parsed(out))
        if complaints:
            raise Failed(f"{host.name}: {_listed(complaints, 8)}")
        if wanted is None:
            await host.put({f"{self.name}/{name}": None})
        elif memory[applied] != content:
            await host.put({applied: content})

    # --- in haste: see watch.py

    async def watch(self, host: Host) -> AsyncGenerator[Collection[Lost], None]:
        if not isinstance(host, Following):
            return
        async with aclosing(host.follow(MONITOR)) as told:
            async for lines in told:
                if lost := gone(lines):
                    yield lost

    def heeds(self, wanted: bytes) -> bool:
        return any(isinstance(each, Fdb | Neighbour) for each in decode(wanted).values())

    def concerned(self, wanted: bytes, lost: Collection[Lost]) -> frozenset[Lost]:
        facts = decode(wanted)
        return frozenset(each for each in lost if each in facts)

    async def put_back(self, host: Host, wanted: bytes, lost: Collection[Lost]) -> str:
        facts = decode(wanted)
        mine = [facts[key] for key in sorted(lost) if key in facts]
        adding, lines = script(mine)
        out, complaints = await _run(host, f"{adding}{DONE}exit 0\n", lines)
        if wrong := [each for each in complaints if TAKEN not in each]:
            raise Failed(f"{host.name}: {_listed(wrong, 5)}")
        return _listed([missing(each, Seen({})) for each in came_back(mine, out, complaints)], 5)


IPROUTE = IprouteDriver()


def _difference(facts: Mapping[Key, Fact], before: Mapping[Key, Fact], seen: Seen) -> list[str]:
    """In words, how `seen` differs from `facts`, where `before` was ours."""
    lacking = {making_order(fact): said for fact in facts.values() if (said := missing(fact, seen))}
    words = [lacking[order] for order in sorted(lacking)]
    words += [f"{fact.title} is left over" for key, fact in before.items() if key not in facts and left_over(fact, seen)]
    return words + [stranger_said(each) for each in strangers(facts, before, seen)]


def _listed(words: list[str], most: int) -> str:
    return "; ".join(words[:most]) + (f"; and {len(words) - most} more" if len(words) > most else "")


async def _run(host: Host, script: str, lines: Mapping[str, Sequence[str]]) -> tuple[str, list[str]]:
    """What a script that runs tools with `lines`, and says DONE behind them, prints; and of what the tools complained."""
    result = await host.run(["sh"], stdin=script.encode(), timeout_seconds=120.0)
    if result.status != 0:
        raise Failed(f"{host.name}: {result.err.strip()[:1000] or f'sh ended with status {result.status}'}")
    complaints: list[str] = []
    words: list[str] = []
    tool = ""
    for line in map(str.strip, result.err.splitlines()):
        if line.startswith("@"):
            # What belongs to no failed command is a warning, unless the tool could not run at all; a setting is no command.
            if not tool:
                complaints += [f"settings: {word}" for word in words]
            elif re.search("not found|No such file or directory|Permission denied", " ".join(words)):
                complaints += words
            tool, words = line[1:], []
        elif match := re.fullmatch(r"Command failed -:(\d+)", line):
            number = int(match[1]) - 1
            command = lines[tool][number] if tool in lines and number < len(lines[tool]) else ""
            complaints.append(f"{tool} {command}: {' '.join(words) or 'failed'}")
            words = []
        elif line:
            words.append(line)
    return result.out, complaints
