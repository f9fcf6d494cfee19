"""OpenBGPD (https://www.openbgpd.org): bgpd(8), with a parent and three children that it locks into an empty folder.

`bgpctl reload` compares like BIRD does: neighbours that did not change go on. It answers 0 whatever happens, so its words
decide. The daemon has no memory of when it last read its configuration, but it says so each time; how often it did, by its
log, is the mark by which a reload by somebody else is noticed.

The control socket is named in the configuration. Contents may leave it out; the driver then adds `socket "bgpd.sock"`,
which lies in the daemon's folder. Where the daemon's kernel tables must stay as they are, contents say `fib-update no`.

The children are confined to /run/openbgpd, the home of Debian's user `_openbgpd`. It is empty, and must exist; when the
driver made it, it goes with the last bgpd on the machine. That is the one thing outside of the daemon's folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nnix.daemons.process import SILENT, Seen, act, difference, digest, lacking, parsed, placed, probe, remove
from nnix.kernel.world import Failed, Host, Step

CONFIG = "bgpd.conf"
SOCKET = "bgpd.sock"
COMMS = ("bgpd",)
PROGRAM = "/usr/sbin/bgpd"  # FRR has a bgpd of its own, elsewhere
CONFINEMENT = "/run/openbgpd"

FEATURES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "roles": ((7, 5), "BGP roles (RFC 9234) need OpenBGPD 7.5"),
    "aspa": ((7, 8), "ASPA sets need OpenBGPD 7.8"),
    "rtr-v2": ((8, 1), "RTR version 2 needs OpenBGPD 8.1"),
    "tcp-ao": ((99,), "OpenBGPD on Linux has no TCP-AO"),
}


def lacks(version: str) -> dict[str, str]:
    """feature → why it is not to be had with OpenBGPD `version` ("7.7")."""
    return lacking(FEATURES, version)


async def version(host: Host) -> str:
    """OpenBGPD's version on `host`, such as "7.7". Raises Failed when there is none, Unreachable."""
    result = await host.run([PROGRAM, "-V"])
    found = re.search(r"OpenBGPD (\S+)", result.out + result.err)
    if result.status != 0 or found is None:
        raise Failed(f"{host.name}: no OpenBGPD (package openbgpd): {result.err.strip()}")
    return found[1]


ASK = f"""
socket_of() {{ sed -n 's/^[[:space:]]*socket[[:space:]]*"\\([^"]*\\)"[[:space:]]*$/\\1/p' {CONFIG} | head -n 1; }}
ctl() {{ timeout 3 bgpctl -s "$(socket_of)" "$@"; }}
readings() {{ grep -c '^rereading config' log; }}
asked() {{ ctl show summary terse >/dev/null 2>&1 && mark=$(readings; true); }}
"""
LOOK = f"{ASK}\nif asked; then echo \"$mark\"; else echo '{SILENT}'; fi"

DRIVE = f"""{ASK}
up_or_dead() {{ asked || ! stands "$pid"; }}
settle wanted.conf || exit 1
{PROGRAM} -n -f wanted.conf >complaint 2>&1 || {{ cat complaint >&2; rm -f complaint wanted.conf; exit 1; }}
rm -f complaint former.conf
[ ! -f {CONFIG} ] || cp -p {CONFIG} former.conf
if [ -z "$hung" ] && alive bgpd && asked; then
  before=$(readings)
  former_socket=$(socket_of)
  mv -f wanted.conf {CONFIG}
  # The daemon still listens where its former configuration said.
  said=$(timeout 60 bgpctl -s "$former_socket" reload 2>&1)
  case $said in
    *'request processed'*) ;;
    *)
      [ ! -f former.conf ] || mv -f former.conf {CONFIG}
      {{ printf '%s\\n' "$said" | grep -v '^reload request sent'; tail -n 3 log; }} >&2
      exit 1 ;;
  esac
  said_so() {{ [ "$(readings)" -gt "$before" ]; }}
  until_true 20 said_so
  asked || {{ echo 'does not answer after the reload' >&2; exit 1; }}
else
  mv -f wanted.conf {CONFIG}
  lend {CONFINEMENT} || exit 1
  stop 2 bgpd || {{ echo 'a hung bgpd does not die' >&2; exit 1; }}
  rm -f "$(socket_of)"
  : >>log
  start bgpd {PROGRAM} -d -f {CONFIG}
  until_true 60 up_or_dead
  stands "$pid" || {{ last_words; exit 1; }}
  asked || {{ echo 'started, but does not answer' >&2; exit 1; }}
fi
rm -f former.conf
applied {CONFIG} "$mark" bgpd
"""

_SOCKET_LINE = re.compile(rb'^[ \t]*socket[ \t]+"[^"\n]*"[ \t]*$', re.M)


def whole(content: bytes) -> bytes:
    """`content` with its control socket named. At the end, so that the parser's line numbers stay the author's."""
    return content if _SOCKET_LINE.search(content) else content.rstrip(b"\n") + f'\nsocket "{SOCKET}"\n'.encode()


@dataclass(frozen=True, slots=True)
class OpenbgpdDriver:
    """Drives OpenBGPD. The content is a bgpd.conf in which `@HOME@` is the daemon's folder."""

    name: str = "openbgpd"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        return steps(old, new)

    async def check(self, host: Host, content: bytes) -> str:
        words = await parsed(host, whole(content), f"{PROGRAM} -n -f {CONFIG}", file=CONFIG)
        return re.sub(rf"^{re.escape(CONFIG)}:", "", words, flags=re.M)

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        seen = await self._seen(host, wanted)
        found = {name: difference(seen[name], digest(placed(host, self.name, name, whole(each))), COMMS) for name, each in wanted.items()}
        return {name: words for name, words in found.items() if words}

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            await remove(host, self.name, name, COMMS, after=f"take_back {CONFINEMENT} {PROGRAM}")
            return
        content = placed(host, self.name, name, whole(wanted))
        seen = (await self._seen(host, [name]))[name]
        if difference(seen, digest(content), COMMS):
            hung = "1" if seen.mark == SILENT else ""
            await act(host, self.name, name, f"hung={hung}\n{DRIVE}", stdin=content)

    async def _seen(self, host: Host, names: Iterable[str]) -> dict[str, Seen]:
        return await probe(host, self.name, CONFIG, dict.fromkeys(names, COMMS), ask=LOOK)


OPENBGPD = OpenbgpdDriver()

_NEIGHBOR = re.compile(r"^neighbor\s+(\S+)\s*\{(.*?)^\}", re.M | re.S)
_SESSION = re.compile(r"^\s*#\s*session:\s*(\S+)\s*$", re.M)


def steps(old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
    """What becomes of OpenBGPD, neighbour by neighbour. Who is disturbed stands in their blocks, `# session: session/NAME`."""
    if old == new:
        return ()
    before, after = (dict(_NEIGHBOR.findall((text or b"").decode(errors="replace"))) for text in (old, new))
    everybody = frozenset(session for block in before.values() for session in _SESSION.findall(block))
    if old is None:
        return (Step(f"start OpenBGPD with {len(after)} neighbours"),)
    if new is None:
        return (Step(f"stop OpenBGPD with {len(before)} neighbours", everybody),)
    found = [Step(f"add neighbour {each}") for each in sorted(after.keys() - before.keys())]
    found += [Step(f"remove neighbour {each}", frozenset(_SESSION.findall(before[each]))) for each in sorted(before.keys() - after.keys())]
    for each in sorted(before.keys() & after.keys()):
        if before[each] != after[each]:
            found.append(Step(f"change neighbour {each}", frozenset(_SESSION.findall(before[each] + after[each]))))
    rests = [_NEIGHBOR.sub("", (text or b"").decode(errors="replace")).split() for text in (old, new)]
    if rests[0] != rests[1]:
        found.append(Step("change what all neighbours share"))
    return tuple(found) or (Step("write the configuration anew; nothing in it matters to a neighbour"),)
