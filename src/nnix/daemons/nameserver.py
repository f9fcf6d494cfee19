"""What the drivers of NSD, Knot and Unbound have in common: one way of placing, looking and driving, and versions that own up.

The three are alike in what matters here: a configuration in one file, a parser of their own, a control tool that is asked over a Unix socket
and tells them to read the file again. What they cannot take without a restart is what stands in some of its sections (addresses,
ports, certificates); the rest (zones, keys, remotes) they take while they answer. `Make` says in a few words of shell how each does it.

A configuration may say what it needs, in comments: `# needs: dot, catalog`. `check` holds that against the version on the machine and
complains by name, so a plan for a daemon that is too old is refused before it is carried out, and nothing is left out in silence.

`# names: zone/cn, name-node/cn-hz` says whose answers come from here, for plans that tell whom a restart disturbs.

`# beside cn.zone`, and after it lines that begin with `#| `, is a file that the daemon finds in its folder: a zone that is small enough to be
part of a configuration, and changes with it. `# once root.key` is one that is laid where there is none yet, since the daemon goes on with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nnix.daemons.process import SILENT, Seen, act, difference, digest, folder, lacking, parsed, placed, probe, remove
from nnix.daemons.secrets import Secrets
from nnix.kernel.world import Failed, Host, Step

NEEDS = re.compile(rb"^# needs: (.+)$", re.M)
NAMES = re.compile(r"^# names: (.+)$", re.M)
BESIDE = re.compile(rb"^# (beside|once) ([A-Za-z0-9][A-Za-z0-9._-]{0,99})\n((?:#\| ?.*\n)*)", re.M)

Features = Mapping[str, tuple[tuple[int, ...], str]]


@dataclass(frozen=True, slots=True)
class Make:
    """One make of name server.

    program    its own name, for people
    comms      what its processes are called; the first is the one whose pid is kept
    config     its configuration file
    parse      shell: the daemon's own parser on `config` in the folder where it runs
    prepare    shell: what must be there before it starts
    stale      files that a killed one leaves behind and that keep the next one from starting
    start      the argv
    environment  assignments that it starts with
    ask        shell: succeeds when the daemon answers over its socket
    reload     shell: read the configuration again; its words are a complaint when it fails
    cold       sections that only a restart changes
    version    argv and pattern of its version
    features   what some versions lack
    """

    name: str
    program: str
    package: str
    comms: tuple[str, ...]
    config: str
    parse: str
    prepare: str
    start: str
    ask: str
    reload: str
    cold: tuple[str, ...]
    version: tuple[tuple[str, ...], str]
    features: Features
    stale: tuple[str, ...] = ()
    environment: str = ""

    @property
    def look(self) -> str:
        return f"asked() {{ {self.ask} >/dev/null 2>&1; }}\nif asked; then echo answers; else echo '{SILENT}'; fi"

    def drive(self) -> str:
        """The script that makes the machine agree; the configuration comes on standard input."""
        cold = "|".join(self.cold)
        return f"""
asked() {{ {self.ask} >/dev/null 2>&1; }}
up_or_dead() {{ asked || ! stands "$pid"; }}
cold() {{ # FILE: the sections that only a restart changes
  awk -v cold='^({cold}):' '/^[a-z-]+:/ {{ keep = ($0 ~ cold) }} keep && !/^ *#/' "$1"
}}
{self.prepare}
rm -f former
[ ! -f {self.config} ] || cp -p {self.config} former
settle {self.config} || exit 1
back() {{ if [ -f former ]; then mv -f former {self.config}; else rm -f {self.config}; fi; }}
{{ {self.parse}
}} >complaint 2>&1 || {{ cat complaint >&2; rm -f complaint; back; exit 1; }}
rm -f complaint
if [ -z "$hung" ] && [ -z "$renewed" ] && alive '{self.comms[0]}' && asked && [ -f former ] && [ "$(cold former)" = "$(cold {self.config})" ]; then
  said=$( {{ {self.reload}
}} 2>&1) || {{ printf '%s\\n' "$said" >&2; back; exit 1; }}
  until_true 20 asked || {{ echo 'does not answer after it was told to read its configuration' >&2; exit 1; }}
else
  stop 5 {" ".join(f"'{each}'" for each in self.comms)} || {{ echo 'a hung {self.program} does not die' >&2; exit 1; }}
  rm -f complaint {" ".join(self.stale)}
  start '{self.comms[0]}' env {self.environment} {self.start}
  until_true 60 up_or_dead
  stands "$pid" || {{ last_words; exit 1; }}
  asked || {{ echo 'started, but does not answer' >&2; exit 1; }}
fi
rm -f former
applied {self.config} answers '{self.comms[0]}'
"""


def beside(content: bytes, word: bytes = b"beside") -> dict[str, bytes]:
    """The files that a configuration says lie beside it; with `once`, those that it begins with."""
    return {name.decode(): re.sub(rb"^#\| ?", b"", lines, flags=re.M) for how, name, lines in BESIDE.findall(content) if how == word}


def lacks(make: Make, version: str) -> dict[str, str]:
    """feature → why it is not to be had with `version` of this make ("3.2.6")."""
    return lacking(make.features, version)


async def version(make: Make, host: Host) -> str:
    """The version on `host`, such as "3.2.6". Raises Failed when there is none, Unreachable."""
    argv, pattern = make.version
    result = await host.run(argv)
    found = re.search(pattern, result.out + result.err)
    if found is None:
        raise Failed(f"{host.name}: no {make.program} (package {make.package}): {result.err.strip()}")
    return found[1]


@dataclass(frozen=True, slots=True)
class NameServerDriver:
    """Drives one make of name server. In its content `@HOME@` is the daemon's folder, and secrets stand by reference."""

    make: Make
    secrets: Secrets

    @property
    def name(self) -> str:
        return self.make.name

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        return steps(self.make, old, new)

    async def check(self, host: Host, content: bytes) -> str:
        if complaint := self.secrets.complaint(content):
            return complaint
        try:
            lacking = lacks(self.make, here := await version(self.make, host))
        except Failed as error:
            return str(error)
        needed = {each.strip() for line in NEEDS.findall(content) for each in line.decode().split(",")}
        if missing := sorted(needed & lacking.keys()):
            return f"{self.make.program} {here} cannot: {'; '.join(lacking[each] for each in missing)}"
        masked = self.secrets.masked(content)
        lay = "".join(f": >{name}; " for name in (*masked.files, *beside(content), *beside(content, b"once")))
        return await parsed(host, masked.content, f"{lay}{self.make.prepare}\n{self.make.parse}", file=self.make.config)

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        seen = await self._seen(host, wanted)
        found: dict[str, str] = {}
        for name, content in wanted.items():
            if complaint := self.secrets.complaint(content):
                found[name] = f"cannot be compared: {complaint}"
            elif words := difference(seen[name], digest(self._whole(host, name, content)[0]), self.make.comms[:1]):
                found[name] = words
        return found

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            await remove(host, self.name, name, self.make.comms)
            return
        content, files = self._whole(host, name, wanted)
        seen = (await self._seen(host, [name]))[name]
        if not difference(seen, digest(content), self.make.comms[:1]):
            return
        begun = beside(wanted, b"once")
        found = await host.get([f"{self.name}/{name}/{each}" for each in begun])
        if fresh := {path: each for path, each in zip(found, begun.values(), strict=True) if found[path] is None}:
            folder(host, self.name, name)
            await host.put(fresh)
        there = await host.get([f"{self.name}/{name}/{each}" for each in files])
        renewed = {path: each for path, each in zip(there, files.values(), strict=True) if there[path] != each}
        if renewed:
            folder(host, self.name, name)
            await host.put(renewed)
        settings = f"hung={'1' if seen.mark == SILENT else ''}; renewed={'1' if renewed else ''}"
        await act(host, self.name, name, f"{settings}\n{self.make.drive()}", stdin=content)

    def _whole(self, host: Host, name: str, content: bytes) -> tuple[bytes, dict[str, bytes]]:
        """The configuration as it stands on the host, and the files beside it. Their digest stands in it, so that a new key is a new
        configuration."""
        revealed = self.secrets.reveal(content)
        marks = "".join(f"# {each} {digest(content)[:16]}\n" for each, content in revealed.files.items())
        return placed(host, self.name, name, marks.encode() + revealed.content), {**revealed.files, **beside(content)}

    async def _seen(self, host: Host, names: Iterable[str]) -> dict[str, Seen]:
        comms = dict.fromkeys(names, self.make.comms[:1])
        return await probe(host, self.name, self.make.config, comms, ask=self.make.look)


# -- what a plan says ---------------------------------------------------------------------------------------------

_SECTION = re.compile(r"^([a-z][a-z-]*):[ \t]*$")
_ZONE = re.compile(r'^\s*-?\s*(?:domain|name): "?([^"\s]+)"?\s*$', re.M)


def sections(text: str) -> dict[str, list[str]]:
    """section → the texts that stand under it, in order; comments left out."""
    found: dict[str, list[str]] = {}
    under: list[str] = []
    for line in text.splitlines():
        if opening := _SECTION.match(line):
            under = []
            found.setdefault(opening[1], []).append("")
            name = opening[1]
        elif found and line.strip() and not line.lstrip().startswith("#"):
            under.append(line)
            found[name][-1] = "\n".join(under)
    return found


def steps(make: Make, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
    """What becomes of the daemon when `old` is replaced by `new`, zone by zone; a restart disturbs all whose names come from here."""
    if old == new:
        return ()
    before, after = ((each or b"").decode(errors="replace") for each in (old, new))
    everybody = frozenset(name for line in NAMES.findall(before) for name in line.split(", "))
    was, shall = sections(before), sections(after)
    if old is None:
        return (Step(f"start {make.program} with {_zones(shall)}"),)
    if new is None:
        return (Step(f"stop {make.program} with {_zones(was)}", everybody),)
    found = []
    if any(was.get(each) != shall.get(each) for each in make.cold):
        found.append(Step(f"restart {make.program}", everybody))
    zones = [{name for text in each.get("zone", ()) for name in _ZONE.findall(text)} for each in (was, shall)]
    found += [Step(f"add zone {each}") for each in sorted(zones[1] - zones[0])]
    found += [
        Step(f"remove zone {each}", frozenset({name for name in everybody if name.startswith("zone/")}))
        for each in sorted(zones[0] - zones[1])
    ]
    return tuple(found) or (Step(f"let {make.program} read its configuration anew"),)


def _zones(found: Mapping[str, list[str]]) -> str:
    count = sum(len(_ZONE.findall(text)) for text in found.get("zone", ()))
    return f"{count} zone{'' if count == 1 else 's'}"
