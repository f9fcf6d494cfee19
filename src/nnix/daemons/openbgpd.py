"""OpenBGPD (https://www.openbgpd.org): bgpd(8), with a parent and three children that it locks into an empty folder.

`bgpctl reload` compares like BIRD does: neighbours that did not change go on. It answers 0 whatever happens, so its words
decide. The daemon has no memory of when it last read its configuration, but it says so each time; how often it did, by its
log, is the mark by which a reload by somebody else is noticed.

A reload never ends a session, so what is agreed on when a session opens (the ASN, a role, the hold time, a key) would wait for the next time
that it happens to open. The driver therefore compares neighbour by neighbour, and clears those that are not what they were; it keeps their
list until that is done. Limits, descriptions and filters change in a running session.

The control socket is named in the configuration. Contents may leave it out; the driver then adds `socket "bgpd.sock"`,
which lies in the daemon's folder. Where the daemon's kernel tables must stay as they are, contents say `fib-update no`.

Versions spell a role (RFC 9234) differently. So that one content fits all, the driver lays macros with the words of the version that is
there beside the configuration, in `words.conf`; a content that speaks of roles includes it and says `$role_rs` and `$announce_role` or
`$announce_role_strict`, or `$announce_no_role`; for the roles provider and peer, `$role_peer`, `$announce_role_peer` and so on. What a version
lacks altogether a content asks for in a comment, with what would do instead, and the driver answers it before a plan is carried out:
`# needs: FEATURE RESOURCE: MEND`.

`# farewell: TEXT` is what neighbours read when the daemon is taken away (RFC 9003). Secrets stand in contents by reference, `@SECRET:NAME@`.

The children are confined to /run/openbgpd, the home of Debian's user `_openbgpd`. It is empty, and must exist; when the
driver made it, it goes with the last bgpd on the machine. That is the one thing outside of the daemon's folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nnix.daemons.process import SILENT, Seen, act, difference, digest, lacking, needs, parsed, placed, probe, remove, unmet
from nnix.daemons.secrets import Quotable, Secrets, unfit
from nnix.kernel.world import Failed, Host, Lack, Step

CONFIG = "bgpd.conf"
SOCKET = "bgpd.sock"
WORDS = "words.conf"
REOPEN = "reopen"
COMMS = ("bgpd",)
PROGRAM = "/usr/sbin/bgpd"  # FRR has a bgpd of its own, elsewhere
CONFINEMENT = "/run/openbgpd"

FEATURES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "roles": ((7, 5), "BGP roles (RFC 9234) need OpenBGPD 7.5"),
    "otc-unasked": ((7, 8), "OTC (RFC 9234) on sessions where only we send a role needs OpenBGPD 7.8"),
    "aspa": ((7, 8), "ASPA sets need OpenBGPD 7.8"),
    "extended-nexthop": ((8, 8), "IPv4 routes with IPv6 next hops (RFC 8950) need OpenBGPD 8.8"),
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


LAY = f"""lay_words() {{ # the macros that a content may use, in this version's words
  case $({PROGRAM} -V 2>&1) in 'OpenBGPD 7.'[0-7]*) old=1 ;; *) old= ;; esac
  for role in rs provider peer; do
    suffix=_$role; [ $role != rs ] || suffix=
    before="role $role"; said=yes; enforced=enforce
    [ -z "$old" ] || {{ before=; said=$role; enforced="$role enforce"; }}
    printf '%s\\n' "role_$role=\\"$before\\"" "announce_role$suffix=\\"announce policy $said\\"" \\
      "announce_role${{suffix}}_strict=\\"announce policy $enforced\\""
  done >{WORDS}.new && echo 'announce_no_role="announce policy no"' >>{WORDS}.new && mv -f {WORDS}.new {WORDS}
}}
"""

ASK = f"""
socket_of() {{ sed -n 's/^[[:space:]]*socket[[:space:]]*"\\([^"]*\\)"[[:space:]]*$/\\1/p' {CONFIG} | head -n 1; }}
ctl() {{ timeout 3 bgpctl -s "$(socket_of)" "$@"; }}
readings() {{ grep -c '^rereading config' log; }}
asked() {{ ctl show summary terse >/dev/null 2>&1 && mark=$(readings; true); }}
"""
LOOK = f"{ASK}\nif asked; then echo \"$mark\"; else echo '{SILENT}'; fi"

DRIVE = f"""{ASK}{LAY}
up_or_dead() {{ asked || ! stands "$pid"; }}
settle wanted.conf && lay_words || exit 1
{PROGRAM} -n -f wanted.conf >complaint 2>&1 || {{ cat complaint >&2; rm -f complaint wanted.conf; exit 1; }}
rm -f complaint former.conf
[ ! -f {CONFIG} ] || cp -p {CONFIG} former.conf
if [ -z "$hung" ] && alive bgpd && asked; then
  before=$(readings)
  former_socket=$(socket_of)
  [ -z "$changed" ] || printf '%s\\n' $changed >>{REOPEN}
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
  if [ -s {REOPEN} ]; then
    while read -r neighbour; do ctl neighbor "$neighbour" clear 'its configuration has changed' >/dev/null </dev/null; done <{REOPEN}
    rm -f {REOPEN}
  fi
  asked || {{ echo 'does not answer after the reload' >&2; exit 1; }}
else
  mv -f wanted.conf {CONFIG}
  rm -f {REOPEN}
  stop 2 bgpd || {{ echo 'a hung bgpd does not die' >&2; exit 1; }}
  rm -f "$(socket_of)"
  : >>log
  # The last bgpd of another machine may take the folder along between these two, so that a child of ours finds none: then it starts again.
  for turn in 1 2 3 4 5; do
    lend {CONFINEMENT} || exit 1
    said=$(wc -l <log)
    start bgpd {PROGRAM} -d -f {CONFIG}
    until_true 60 up_or_dead
    if stands "$pid" || ! tail -n "+$((said + 1))" log | grep -q 'fatal in .*: chroot: No such file'; then break; fi
  done
  stands "$pid" || {{ last_words; exit 1; }}
  asked || {{ echo 'started, but does not answer' >&2; exit 1; }}
fi
rm -f former.conf
applied {CONFIG} "$mark" bgpd
"""

FAREWELL = f"""{ASK}
text=$(sed -n 's/^# farewell: //p' {CONFIG} 2>/dev/null | head -n 1)
if [ -n "$text" ] && alive bgpd && asked; then
  sed -n 's/^neighbor \\([^ ]*\\) .*/\\1/p' {CONFIG} | while read -r neighbour; do
    ctl neighbor "$neighbour" down "$text" >/dev/null 2>&1 </dev/null
  done
fi
"""

QUOTABLE = Quotable(re.compile(rb"[ !#-\[\]-~]{1,80}"), "OpenBGPD takes 1 to 80 printable ASCII characters, no quotation mark or backslash")
_SOCKET_LINE = re.compile(rb'^[ \t]*socket[ \t]+"[^"\n]*"[ \t]*$', re.M)


def whole(content: bytes) -> bytes:
    """`content` with its control socket named. At the end, so that the parser's line numbers stay the author's."""
    return content if _SOCKET_LINE.search(content) else content.rstrip(b"\n") + f'\nsocket "{SOCKET}"\n'.encode()


@dataclass(frozen=True, slots=True)
class OpenbgpdDriver:
    """Drives OpenBGPD. The content is a bgpd.conf in which `@HOME@` is the daemon's folder."""

    name: str = "openbgpd"
    secrets: Secrets | None = None

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        return steps(old, new)

    async def check(self, host: Host, content: bytes) -> str:
        if complaint := unfit(self.secrets, content, QUOTABLE):
            return complaint
        masked = self.secrets.masked(content).content if self.secrets else content
        words = await parsed(host, whole(masked), f"{LAY}\nlay_words && {PROGRAM} -n -f {CONFIG}", file=CONFIG)
        return re.sub(rf"^{re.escape(CONFIG)}:", "", words, flags=re.M)

    async def lacks(self, host: Host, content: bytes) -> tuple[Lack, ...]:
        return unmet(content, lacks(await version(host))) if needs(content) else ()

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        seen = await self._seen(host, wanted)
        found: dict[str, str] = {}
        for name, content in wanted.items():
            if complaint := unfit(self.secrets, content, QUOTABLE):
                found[name] = f"cannot be compared: {complaint}"
            elif words := difference(seen[name], digest(self._placed(host, name, content)), COMMS):
                found[name] = words
        return found

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            goodbye = f'( cd "$here" 2>/dev/null || exit 0\n{FAREWELL})'
            await remove(host, self.name, name, COMMS, before=goodbye, after=f"take_back {CONFINEMENT} {PROGRAM}")
            return
        if complaint := unfit(self.secrets, wanted, QUOTABLE):
            raise Failed(f"{host.name}: openbgpd {name}: {complaint}")
        content = self._placed(host, name, wanted)
        seen = (await self._seen(host, [name]))[name]
        if difference(seen, digest(content), COMMS):
            hung = "1" if seen.mark == SILENT else ""
            file = f"{self.name}/{name}/{CONFIG}"
            changed = " ".join(reopened((await host.get([file]))[file] or b"", content))
            await act(host, self.name, name, f"hung={hung}\nchanged='{changed}'\n{DRIVE}", stdin=content)

    def _placed(self, host: Host, name: str, content: bytes) -> bytes:
        """The configuration as it stands on the host."""
        return placed(host, self.name, name, whole(self.secrets.reveal(content).content if self.secrets else content))

    async def _seen(self, host: Host, names: Iterable[str]) -> dict[str, Seen]:
        return await probe(host, self.name, CONFIG, dict.fromkeys(names, COMMS), ask=LOOK)


OPENBGPD = OpenbgpdDriver()

_NEIGHBOR = re.compile(r"^neighbor\s+([0-9A-Fa-f.:/]+)\s*\{(.*?)^\}", re.M | re.S)
_SESSION = re.compile(r"^\s*#\s*session:\s*(\S+)\s*$", re.M)
_OPENS_WITH = re.compile(r"^[ \t]*(?:AS|router-id|holdtime)[ \t].*$", re.M)  # said in every OPEN
_IN_PASSING = re.compile(r"^[ \t]*(?:descr|max-prefix|passive|log|rde evaluate)\b.*$|#.*$", re.M)


def _neighbours(text: str) -> dict[str, str]:
    return dict(_NEIGHBOR.findall(text))


def _lasting(block: str) -> list[str]:
    """What of a neighbour's block only a new session makes true."""
    return _IN_PASSING.sub("", block).split()


def reopened(old: bytes, new: bytes) -> list[str]:
    """Neighbours in both `old` and `new` whose sessions have to be opened anew. Pure."""
    texts = old.decode(errors="replace"), new.decode(errors="replace")
    before, after = map(_neighbours, texts)
    said_to_all = [_OPENS_WITH.findall(_NEIGHBOR.sub("", text)) for text in texts]
    return sorted(
        each for each in before.keys() & after.keys() if said_to_all[0] != said_to_all[1] or _lasting(before[each]) != _lasting(after[each])
    )


def steps(old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
    """What becomes of OpenBGPD, neighbour by neighbour. Who is disturbed stands in their blocks, `# session: session/NAME`."""
    if old == new:
        return ()
    before, after = (_neighbours((text or b"").decode(errors="replace")) for text in (old, new))
    everybody = frozenset(session for block in before.values() for session in _SESSION.findall(block))
    if old is None:
        return (Step(f"start OpenBGPD with {len(after)} neighbours"),)
    if new is None:
        return (Step(f"stop OpenBGPD with {len(before)} neighbours", everybody),)
    found = [Step(f"add neighbour {each}") for each in sorted(after.keys() - before.keys())]
    found += [Step(f"remove neighbour {each}", frozenset(_SESSION.findall(before[each]))) for each in sorted(before.keys() - after.keys())]
    opened_anew = reopened(old, new)
    for each in sorted(before.keys() & after.keys()):
        if before[each] != after[each] or each in opened_anew:
            disturbed = frozenset(_SESSION.findall(before[each] + after[each])) if each in opened_anew else frozenset[str]()
            found.append(Step(f"change neighbour {each}", disturbed))
    rests = [_NEIGHBOR.sub("", (text or b"").decode(errors="replace")).split() for text in (old, new)]
    if rests[0] != rests[1]:
        found.append(Step("change what all neighbours share"))
    return tuple(found) or (Step("write the configuration anew; nothing in it matters to a neighbour"),)
