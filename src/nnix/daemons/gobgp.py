"""GoBGP (https://github.com/osrg/gobgp): gobgpd, configured by a TOML file and told its own routes through its API.

A file cannot say what to announce, so contents carry it in comments of their own, in the words of `gobgp global rib add`:

    #! announce 192.0.2.0/24 nexthop 10.0.0.1 community 65001:1

The API has no login. It listens on a socket in the daemon's folder, and neither on the default port 50051, which is the
same for every gobgpd of a namespace and open to all who reach it, nor does the profiler on 6060.

SIGHUP makes gobgpd read its file again and add, change and remove neighbours. Anything else that changed needs a restart,
which interrupts all sessions; a plan says so. A neighbour that changed in what its OPEN message or its connection is made of is taken away
and added anew, which interrupts its session; policies, timers and limits are taken over. Whose session it is stands in a comment inside
its block, `# session: session/NAME`. How often it read its file, by its log, is the mark by which a reload by
somebody else is noticed. What was typed into `gobgp` is not noticed.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nnix.daemons.process import SILENT, Seen, act, difference, differing, digest, lacking, parsed, placed, probe, remove
from nnix.kernel.world import Failed, Host, Step

CONFIG = "gobgpd.toml"
SOCKET = "gobgpd.sock"
COMMS = ("gobgpd",)
RELOADED = frozenset({"neighbors"})  # what SIGHUP takes over for sure

FEATURES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "roles": ((99,), "GoBGP has no BGP roles (RFC 9234)"),
    "aspa": ((99,), "GoBGP has no ASPA"),
    "tcp-ao": ((99,), "GoBGP has no TCP-AO"),
}


def lacks(version: str) -> dict[str, str]:
    """feature → why it is not to be had with GoBGP `version` ("3.10.0")."""
    return lacking(FEATURES, version)


async def version(host: Host) -> str:
    """GoBGP's version on `host`, such as "3.10.0". Raises Failed when there is none, Unreachable."""
    result = await host.run(["gobgpd", "--version"])
    found = re.search(r"version (\S+)", result.out)
    if result.status != 0 or found is None:
        raise Failed(f"{host.name}: no GoBGP (package gobgpd): {result.err.strip()}")
    return found[1]


def announcements(content: bytes) -> tuple[tuple[str, ...], ...]:
    """What `content` announces, as the words after `gobgp global rib add`. Raises ValueError with the line and the mistake."""
    found: list[tuple[str, ...]] = []
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        if not line.startswith("#!"):
            continue
        try:
            words = shlex.split(line.removeprefix("#!"))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if len(words) < 2 or words[0] != "announce":
            raise ValueError(f"line {number}: {line[:60]!r} is not understood: `#! announce 192.0.2.0/24` would be")
        try:
            prefix = ipaddress.ip_network(words[1])
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        found.append(("-a", f"ipv{prefix.version}", str(prefix), *words[2:]))
    return tuple(found)


ASK = f"""
rib() {{ timeout 10 gobgp --target unix:{SOCKET} global rib "$@"; }}
readings() {{ grep -cE 'Finished reading the config file|Reload the config file' log; }}
asked() {{ [ -S {SOCKET} ] && timeout 3 gobgp --target unix:{SOCKET} global >/dev/null 2>&1 && mark=$(readings; true); }}
"""
LOOK = f"{ASK}\nif asked; then echo \"$mark\"; else echo '{SILENT}'; fi"

DRIVE = f"""{ASK}
up_or_dead() {{ asked || ! stands "$pid"; }}
settle wanted.toml || exit 1
gobgpd -d -f wanted.toml >complaint 2>&1 || {{ cat complaint >&2; rm -f complaint wanted.toml; exit 1; }}
rm -f complaint applied
mv -f wanted.toml {CONFIG}
if [ "$mode" = reload ] && alive gobgpd && asked; then
  before=$(readings)
  kill -HUP "$pid"
  said_so() {{ [ "$(readings)" -gt "$before" ]; }}
  until_true 20 said_so || {{ echo 'does not read its configuration again' >&2; last_words; exit 1; }}
elif [ "$mode" = rewrite ] && alive gobgpd && asked; then :
else
  stop 2 gobgpd || {{ echo 'a hung gobgpd does not die' >&2; exit 1; }}
  rm -f {SOCKET}
  : >>log
  start gobgpd gobgpd -f {CONFIG} -p --api-hosts unix://{SOCKET} --pprof-disable
  until_true 30 up_or_dead
  stands "$pid" || {{ last_words; exit 1; }}
  asked || {{ echo 'started, but does not answer' >&2; exit 1; }}
  withdrawn() {{ :; }}
fi
withdrawn && announced || exit 1
asked
applied {CONFIG} "$mark" gobgpd
"""


@dataclass(frozen=True, slots=True)
class GobgpDriver:
    """Drives GoBGP. The content is a gobgpd.toml with `#! announce` lines; `@HOME@` is the daemon's folder."""

    name: str = "gobgp"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        return steps(old, new)

    async def check(self, host: Host, content: bytes) -> str:
        try:
            announcements(content)
        except ValueError as error:
            return str(error)
        words = await parsed(host, content, f"gobgpd -d -p -f {CONFIG}", file=CONFIG)
        found = re.search(r'Error="(.*?)"(?: Topic=|$)', words, re.S)
        return " ".join(found[1].replace("\\n", " ").replace('\\"', '"').split()) if found else words

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        seen = await self._seen(host, wanted)
        return differing(seen, {name: placed(host, self.name, name, each) for name, each in wanted.items()}, COMMS)

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            await remove(host, self.name, name, COMMS)
            return
        content = placed(host, self.name, name, wanted)
        seen = (await self._seen(host, [name]))[name]
        if not difference(seen, digest(content), COMMS):
            return
        try:
            announced = announcements(content)
        except ValueError as error:
            raise Failed(f"{host.name}: gobgp {name}: {error}") from None
        mode, withdrawn = "restart", tuple[tuple[str, ...], ...]()
        if seen.pids == seen.applied_pids and seen.mark != SILENT:
            if seen.applied == digest(content):
                mode = "rewrite" if seen.mark == seen.marked else "reload"
            else:
                former = (await host.get([f"{self.name}/{name}/{CONFIG}"]))[f"{self.name}/{name}/{CONFIG}"]
                if former is not None and digest(former) == seen.applied and not restarts(former, content):
                    mode, withdrawn = "reload", tuple(each for each in announcements(former) if each not in announced)
        await act(host, self.name, name, "\n".join([f"mode={mode}", *_functions(withdrawn, announced), DRIVE]), stdin=content)

    async def _seen(self, host: Host, names: Iterable[str]) -> dict[str, Seen]:
        return await probe(host, self.name, CONFIG, dict.fromkeys(names, COMMS), ask=LOOK)


GOBGP = GobgpDriver()


def _functions(withdrawn: Iterable[tuple[str, ...]], announced: Iterable[tuple[str, ...]]) -> list[str]:
    """The shell functions by which routes go and come. The family and prefix name a route that goes."""
    lines = ["withdrawn() { :", *(f"rib del {shlex.join(each[:3])} || return 1" for each in withdrawn), "}"]
    return [*lines, "announced() { :", *(f"rib add {shlex.join(each)} || return 1" for each in announced), "}"]


def _settings(content: bytes | None) -> dict[str, Any]:
    try:
        return tomllib.loads((content or b"").decode(errors="replace"))
    except tomllib.TOMLDecodeError:
        return {}


def restarts(old: bytes, new: bytes) -> bool:
    """Whether going from `old` to `new` needs a restart: anything but neighbours and announcements differs."""
    before, after = ({key: value for key, value in _settings(text).items() if key not in RELOADED} for text in (old, new))
    return before != after


_SESSION = re.compile(r"^\s*#\s*session:\s*(\S+)\s*$", re.M)
_NEIGHBOR = re.compile(r"^\s*\[\[\s*neighbors\s*\]\]", re.M)

# By GoBGP's own function NeedsResendOpenMessage, and tried on 3.10, which does not count the last two yet.
RESETTING = ("config", "transport", "add-paths", "as-path-options", "graceful-restart", "ebgp-multihop", "ttl-security")
RESETTING_FAMILY = ("config", "add-paths", "mp-graceful-restart")


def neighbors(content: bytes) -> dict[str, tuple[frozenset[str], dict[str, Any]]]:
    """address → (whose session, what of the neighbour interrupts it when it changes). Empty where the TOML cannot be read."""
    blocks = _NEIGHBOR.split(content.decode(errors="replace"))[1:]
    tables = _settings(content).get("neighbors", [])
    if not isinstance(tables, list) or len(tables) != len(blocks):
        return {}
    found = {}
    for block, table in zip(blocks, tables, strict=True):
        wish = _picked(table, RESETTING)
        families = table.get("afi-safis")
        wish["afi-safis"] = [_picked(each, RESETTING_FAMILY) for each in families] if isinstance(families, list) else families
        address = _picked(wish["config"], ["neighbor-address"])["neighbor-address"]
        found[str(address)] = frozenset(_SESSION.findall(block)), wish
    return found


def _picked(table: object, keys: Iterable[str]) -> dict[str, Any]:
    return {key: table.get(key) if isinstance(table, dict) else None for key in keys}


def steps(old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
    """What becomes of GoBGP. Who is disturbed by a restart stands in comments, `# session: session/NAME`."""
    if old == new:
        return ()
    everybody = frozenset(_SESSION.findall((old or b"").decode(errors="replace")))
    if old is None:
        return (Step("start GoBGP"),)
    if new is None:
        return (Step("stop GoBGP", everybody),)
    if restarts(old, new):
        return (Step("restart GoBGP: more than its neighbours changes", everybody),)
    if _settings(old) != _settings(new):
        before, after = neighbors(old), neighbors(new)
        interrupted = (whose for name, (whose, wish) in before.items() if name not in after or after[name][1] != wish)
        return (Step("change GoBGP's neighbours", frozenset().union(*interrupted)),)
    return (Step("change what GoBGP announces"),)
