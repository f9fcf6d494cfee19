"""BIRD (https://bird.network.cz): started in the foreground, asked over its control socket, changed without a restart.

`birdc configure` compares the new configuration with the old one and touches only protocols that differ: a session whose
own block is unchanged goes on, while filters are applied anew to what it sent. That is why a change here is always the
whole file and never a command. The daemon says `Reconfigured`, or `Reconfiguration in progress` where sessions must first
go down; a mistake leaves the running configuration as it was, and then the former file comes back as well.

`show status` tells when the daemon started and when it last took a configuration. The time between the two, kept in `applied`,
is how a reconfiguration by somebody else is noticed, even when the file was put back afterwards. The instants alone would not
do: BIRD keeps them on a monotonic clock and works them out anew, so they move when the machine's clock is set.

BIRD 3 switches a protocol off for good when a limit with `action restart` is hit twice within 5 s, which two routes too many in one
message do. Its `restart time` mends that, but BIRD 2 does not know the words. So the driver lays them beside the configuration
where BIRD is that new, and a protocol that wants them says `include "restart-time*.conf";`, which includes nothing elsewhere.

*A change of what all share on the way out.* BIRD would tell everybody everything again, in messages of a route or two: 26 CPU s and 700 MB for 12 million routes, of
which hardly one has changed. A configuration may say `# told anew by import: NUMBER`: that routes which such a change concerns are marked with NUMBER on import. Where
the number is another one, BIRD is configured softly, reads again what it was sent, and so tells anew the routes that differ now; sessions whose own block
has changed are fed in full. What is still to be read again stands in `again` until it was.

*What ROA tables change.* Before it judges routes anew a BIRD 2 waits a second for more, unless a table says otherwise; the driver lays `min settle time`, which BIRD 3 does not
know, beside the configuration as well, for tables that say `include "settle-time*.conf";` on a line of theirs. And a BIRD 2 that has nothing else to do then sleeps for
three seconds: what a timer gave it to do it sees when it wakes. So whoever has changed ROA tables is asked something a little later.

*Cold start.* BIRD tells a session that comes up all that it has, in the order of its hash table, which puts a few routes into each message at best; what
comes in while everybody is there goes out in messages as full as those that brought it. Where many members come back one after another and
announce at once, that was four times the octets and twice the CPU time (bench/routing_start.py). So a BIRD with many sessions is started with
`held.conf` beside its configuration, from which a configuration that says `include "held*.conf";` after `roa4 table nnix_held;` learns, and only then, a
route of that table: as long as it is there the filters accept nothing. A small process (`waiter`) takes it away when all sessions are up and nothing more comes
in, when nothing has happened for a while, or in the end when the time is up. BIRD then reads again what it was sent meanwhile. Whatever
else takes place, a change, a start by hand, opens it at once; a waiter that was killed is noticed as any hand edit is.

Where a configuration asks members to keep its routes while it restarts (`graceful restart on`), the daemon is started to recover (-R): it tells
nobody that it has told all (End-of-RIB, RFC 4724) before the members that were there have done so themselves. That is a way of waiting,
too, so it does not hold besides.

A configuration may say what it needs of what not every version has, in comments, `# needs: FEATURE RESOURCE: MEND`; the driver answers it before a
plan is carried out, so that nothing is left out in silence. `# farewell: TEXT` is what members read when the daemon is taken away
(RFC 9003). Secrets (passwords of TCP) stand by reference, see secrets.py; one that would not stay inside its quotation marks is refused.

What a plan says of a change is read from the text: protocols, filters and functions are compared block by block. A session
is interrupted when its block is removed, or changes in anything but its import and export policies, limits and
description, which BIRD changes in a running channel. Who that is stands in the block as a comment, `# session: session/NAME`;
without one nobody is named.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nnix.daemons.process import SILENT, Seen, act, difference, digest, lacking, needs, parsed, placed, probe, remove, unmet
from nnix.daemons.secrets import Quotable, Secrets, unfit
from nnix.kernel.world import Failed, Host, Lack, Step

CONFIG = "bird.conf"
SOCKET = "bird.ctl"
RESTART_TIME, SETTLE_TIME = "restart-time.conf", "settle-time.conf"
COMMS = ("bird",)
ANSWER_SECONDS = 2

SETTLED_SECONDS = 0.1
"""when a BIRD is woken after a change: the settle time of its tables is over"""

HELD = "held.conf"
WAITER = "waiter"
HELD_SESSIONS_MIN = 50  # with fewer, members would wait for nothing worth it
HELD_SECONDS_MAX = 60
HELD_QUIET_SECONDS = 5  # nobody has come and nothing was sent: whoever is still away is not expected
HELD_COMPLETE_SECONDS = 2  # the same where all sessions are up

# What a version lacks, and since when it has it. Debian builds 2.x without BMP. 2.0.12 measured; the rest by its NEWS.
FEATURES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "roles": ((2, 0, 11), "BGP roles (RFC 9234) need BIRD 2.0.11"),
    "typed-functions": ((2, 15), "functions with a declared result need BIRD 2.15"),
    "aspa": ((2, 16), "ASPA tables need BIRD 2.16"),
    "rtr-v2": ((2, 16), "RTR version 2 needs BIRD 2.16"),
    "tcp-ao": ((2, 17), "TCP-AO (RFC 5925) needs BIRD 2.17"),
    "bmp": ((3,), "BMP (RFC 7854) needs BIRD 3 as Debian builds it"),
    "threads": ((3,), "more than one thread needs BIRD 3"),
}


def lacks(version: str) -> dict[str, str]:
    """feature → why it is not to be had with BIRD `version` ("2.0.12")."""
    return lacking(FEATURES, version)


async def version(host: Host) -> str:
    """BIRD's version on `host`, such as "2.0.12". Raises Failed when there is none, Unreachable."""
    result = await host.run(["bird", "--version"])
    found = re.search(r"BIRD version (\S+)", result.out + result.err)
    if result.status != 0 or found is None:
        raise Failed(f"{host.name}: no BIRD (package bird2): {result.err.strip()}")
    return found[1]


TCP_AO = " tcp_inbound_ao_hash$"  # a symbol that only a kernel with TCP-AO has

# `asked` puts the mark of the running configuration into $mark; it fails when the daemon does not answer.
ASK = f"""
asked() {{
  answer=$(timeout {ANSWER_SECONDS} birdc -r -s {SOCKET} show status 2>&1) || return 1
  mark=$(printf '%s\\n' "$answer" | sed -n 's/^Last re[a-z]* on //p' | paste -sd'|')
  case $mark in *'|'*) ;; *) return 1 ;; esac
}}
"""

# A BIRD that holds is let go of by its waiter alone, so one that is gone without a word is a fault.
LOOK = f"""{ASK}
if [ -e sh.pid ] && ! alive sh; then echo 'holds members back, and nobody waits for them any more'
elif asked; then echo "$mark"; else echo '{SILENT}'; fi"""

HOLD = """protocol static nnix_hold {
  roa4 { table nnix_held; };
  route 0.0.0.0/0 max 0 as 0;
}
"""

# Memory of tables says at once, in any BIRD, whether routes still come in; to count them takes long where there are many.
WAIT = f"""pid=$1 left={HELD_SECONDS_MAX} quiet=0 before=
say() {{ timeout {ANSWER_SECONDS} birdc -r -s {SOCKET} "$@" 2>/dev/null; }}
while [ "$left" -gt 0 ] && [ -e "/proc/$pid/cwd" ]; do
  sleep 1
  left=$((left - 1))
  sessions=$(say show protocols | grep ' BGP ' | grep -v ' down ')
  all=$(printf '%s' "$sessions" | grep -c .)
  up=$(printf '%s' "$sessions" | grep -c Established)
  now="$up of $all, $(say show memory | grep '^Routing tables')"
  if [ "$now" = "$before" ]; then quiet=$((quiet + 1)); else quiet=0; fi
  before=$now
  if [ "$up" -gt 0 ] && [ "$up" -eq "$all" ]; then enough={HELD_COMPLETE_SECONDS}; else enough={HELD_QUIET_SECONDS}; fi
  [ "$up" -eq 0 ] || [ "$quiet" -lt "$enough" ] || break
done
timeout {HELD_SECONDS_MAX} birdc -s {SOCKET} disable nnix_hold
rm -f sh.pid
"""

STOP_WAITING = 'if alive sh; then reap 2 $(brood "$pid"); fi; rm -f sh.pid'

SPLITS_RELOADS = (3, 1)
"""since when `reload` says whether filters are meant, or the other side is asked: `reload filters in all`, `reload bgp in all`"""

SPLITS = f"""splits_reloads() {{ # $answer, as `asked` heard it, begins: BIRD 3.1.8 ready.
  set -- $(printf '%s\\n' "$answer" | sed -n 's/^BIRD \\([0-9]*\\)\\.\\([0-9]*\\).*/\\1 \\2/p')
  [ $(($1 * 1000 + $2)) -ge {SPLITS_RELOADS[0] * 1000 + SPLITS_RELOADS[1]} ]
}}"""

DRIVE = f"""{ASK}
{SPLITS}
settled() {{ asked && ! printf '%s\\n' "$answer" | grep -q '^Reconfiguration in progress'; }}
up_or_dead() {{ settled || ! stands "$pid"; }}
settle wanted.conf || exit 1
case $(bird --version 2>&1) in
  'BIRD version '[012].*) rm -f {RESTART_TIME}; echo 'min settle time 10 ms;' | settle {SETTLE_TIME} ;;
  *) rm -f {SETTLE_TIME}; echo 'restart time 1 us;' | settle {RESTART_TIME} ;;
esac
rm -f former.conf {HELD}
{STOP_WAITING}
if [ -z "$hung" ] && alive bird && asked; then
  [ ! -f {CONFIG} ] || cp -p {CONFIG} former.conf
  mv -f wanted.conf {CONFIG}
  [ -z "$again" ] || printf '%s\n' "$again" >>again
  said=$(birdc -s {SOCKET} configure ${{again:+soft}} 2>&1); status=$?
  case $status$said in
    0*Reconfigured* | 0*'in progress'*) ;;
    *)
      [ ! -f former.conf ] || mv -f former.conf {CONFIG}
      printf '%s\\n' "$said" | sed '/^BIRD .* ready/d;/^Reading configuration/d' >&2
      exit 1 ;;
  esac
  until_true 60 settled || {{ echo 'the reconfiguration does not come to an end' >&2; exit 1; }}
  if grep -q '^roa[46] table ' {CONFIG}; then
    {{ sleep {SETTLED_SECONDS}; timeout {ANSWER_SECONDS} birdc -r -s {SOCKET} show status; }} </dev/null >/dev/null 2>&1 &
  fi
  if [ -s again ]; then
    reload=reload
    ! splits_reloads || reload='reload filters'
    while read -r words; do
      said=$(birdc -s {SOCKET} $reload ${{words#reload }} 2>&1 </dev/null) || {{ printf '%s\\n' "$said" >&2; exit 1; }}
    done <again
    rm -f again
  fi
else
  rm -f again
  bird -p -c wanted.conf >&2 || {{ rm -f wanted.conf; exit 1; }}
  mv -f wanted.conf {CONFIG}
  stop 1 bird || {{ echo 'a hung bird does not die' >&2; exit 1; }}  # it does not answer, so it will not say goodbye either
  rm -f {SOCKET}
  recover=
  ! grep -q '^[[:space:]]*graceful restart on;' {CONFIG} || recover=-R
  if [ -z "$recover" ] && grep -q '^include "held' {CONFIG} && [ "$(grep -c '^protocol bgp ' {CONFIG})" -ge "$held_from" ]; then
    settle {HELD} <<'EOF'
{HOLD}EOF
    settle {WAITER} <<'EOF'
{WAIT}EOF
  fi
  start bird bird -f $recover -c {CONFIG} -s {SOCKET}
  until_true 60 up_or_dead
  if ! stands "$pid"; then
    rm -f {SOCKET} bird.pid
    last_words; exit 1
  fi
  settled || {{ echo 'started, but does not answer' >&2; exit 1; }}
  if [ -e {HELD} ]; then
    start sh sh {WAITER} "$pid"
    until_true 10 alive sh || birdc -s {SOCKET} disable nnix_hold
    rm -f {HELD}
  fi
fi
rm -f former.conf
applied {CONFIG} "$mark" bird
"""


QUOTABLE = Quotable(re.compile(rb"[ !#-~]{1,80}"), "BIRD takes 1 to 80 printable ASCII characters, no quotation mark")
FAREWELL = f"""
text=$(sed -n 's/^# farewell: //p' {CONFIG} 2>/dev/null | head -n 1)
[ -z "$text" ] || ! alive bird || timeout {ANSWER_SECONDS} birdc -s {SOCKET} disable '"c_*"' "\\"$text\\"" >/dev/null 2>&1
"""


@dataclass(frozen=True, slots=True)
class BirdDriver:
    """Drives BIRD. The content is a bird.conf in which `@HOME@` is the daemon's folder."""

    name: str = "bird"
    secrets: Secrets | None = None
    held_sessions_min: int = HELD_SESSIONS_MIN

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        return steps(old, new)

    def alone(self, old: bytes | None, new: bytes | None) -> bool:
        """A daemon that runs is told what is new to it; what it stands on is no other than before."""
        return old is not None and new is not None

    async def check(self, host: Host, content: bytes) -> str:
        if complaint := unfit(self.secrets, content, QUOTABLE):
            return complaint
        masked = self.secrets.masked(content).content if self.secrets else content
        words = await parsed(host, masked, f"bird -p -c {CONFIG}", file=CONFIG)
        return re.sub(rf"^bird: (?:{re.escape(CONFIG)}:)?", "", words, flags=re.M)

    async def lacks(self, host: Host, content: bytes) -> tuple[Lack, ...]:
        if not (wanted := {feature for feature, _, _ in needs(content)}):
            return ()
        missing = lacks(await version(host))
        if "tcp-ao" in wanted - missing.keys() and (await host.run(["grep", "-q", TCP_AO, "/proc/kallsyms"])).status != 0:
            missing["tcp-ao"] = "the kernel is built without TCP-AO (CONFIG_TCP_AO, Linux 6.7)"
        return unmet(content, missing)

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        seen = await self._seen(host, wanted)
        found: dict[str, str] = {}
        for name, content in wanted.items():
            if complaint := unfit(self.secrets, content, QUOTABLE):
                found[name] = f"cannot be compared: {complaint}"
            elif words := difference(seen[name], digest(self._whole(host, name, content)), COMMS):
                found[name] = words
        return found

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            await remove(host, self.name, name, COMMS, before=f'( cd "$here" 2>/dev/null || exit 0\n{STOP_WAITING}\n{FAREWELL})')
            return
        if complaint := unfit(self.secrets, wanted, QUOTABLE):
            raise Failed(f"{host.name}: bird {name}: {complaint}")
        content = self._whole(host, name, wanted)
        seen = (await self._seen(host, [name]))[name]
        if difference(seen, digest(content), COMMS):
            hung = "1" if seen.mark == SILENT else ""
            file = f"{self.name}/{name}/{CONFIG}"
            again = shlex.quote("\n".join(read_again((await host.get([file]))[file] or b"", content)))
            settings = f"hung={hung} held_from={self.held_sessions_min} again={again}"
            await act(host, self.name, name, f"{settings}\n{DRIVE}", stdin=content)

    def _whole(self, host: Host, name: str, content: bytes) -> bytes:
        """The configuration as it stands on the host."""
        return placed(host, self.name, name, self.secrets.reveal(content).content if self.secrets else content)

    async def _seen(self, host: Host, names: Iterable[str]) -> dict[str, Seen]:
        seen = await probe(host, self.name, CONFIG, dict.fromkeys(names, COMMS), ask=LOOK)
        return {name: replace(each, mark=each.marked) if same_reading(each.mark, each.marked) else each for name, each in seen.items()}


BIRD = BirdDriver()


def same_reading(mark: str, marked: str) -> bool:
    """Whether two marks, `start|last reconfiguration`, are of one reading: the spans are equal but for rounding to milliseconds."""
    try:
        (start, read), (start_then, read_then) = (map(datetime.fromisoformat, each.split("|")) for each in (mark, marked))
    except ValueError:
        return mark == marked
    return abs((read - start) - (read_then - start_then)) <= timedelta(milliseconds=2)


# -- what a plan says ---------------------------------------------------------------------------------------------

NOUNS = {"bgp": "session"}
_STATEMENT = re.compile(r"^(protocol|filter|function|template)\s+(\S+)(?:[ \t]+([A-Za-z_]\w*))?", re.M)
_SESSION = re.compile(r"^\s*#\s*session:\s*(\S+)\s*$", re.M)
_SKIPPED = re.compile(r'"[^"\n]*"|#[^\n]*|/\*.*?\*/', re.S)
_SOFT = frozenset({"import", "export", "receive", "description", "preference"})
_LASTING = frozenset({"table", "keep"})  # `import table`, `import keep filtered`: what the channel holds, not what passes


def blocks(text: str) -> tuple[dict[tuple[str, str], str], str]:
    """The top-level blocks of `text`, (what, name) → text; and the rest of it. Comments and strings may hold any brace."""
    found: dict[tuple[str, str], str] = {}
    rest: list[str] = []
    plain = _SKIPPED.sub(_blank, text)
    end = 0
    for opening in _STATEMENT.finditer(plain):
        if opening.start() < end:
            continue
        rest.append(text[end : opening.start()])
        end = _block_end(plain, opening.end())
        what = f"{opening[1]} {opening[2]}" if opening[1] in ("protocol", "template") else opening[1]
        name = opening[3] if opening[1] in ("protocol", "template") else opening[2].split("(")[0]
        found[what, name or ""] = text[opening.start() : end]
    rest.append(text[end:])
    return found, "".join(rest)


def _blank(skipped: re.Match[str]) -> str:
    """As many spaces, on as many lines."""
    return " " * len(skipped[0]) if "\n" not in skipped[0] else re.sub(r"[^\n]", " ", skipped[0])


def _block_end(plain: str, start: int) -> int:
    depth, end = 0, start
    while (closing := plain.find("}", end)) >= 0:
        depth += plain.count("{", end, closing) - 1
        end = closing + 1
        if depth == 0:
            return end
    return len(plain)


def lasting(block: str) -> tuple[str, ...]:
    """The statements of a protocol block that cannot change without its session going down."""
    plain = _SKIPPED.sub(lambda skipped: skipped[0] if skipped[0].startswith('"') else " ", block)
    tokens = re.findall(r'"[^"\n]*"|[{};]|[^\s{};"]+', plain)
    kept: list[str] = []
    statement: list[str] = []
    depth, soft_depth = 0, -1  # soft_depth: how deep the soft statement that is being skipped stands
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if not statement and soft_depth < 0 and token in _SOFT and following not in _LASTING:
            soft_depth = depth
        depth += {"{": 1, "}": -1}.get(token, 0)
        if soft_depth >= 0:
            if depth <= soft_depth and token in (";", "}"):
                soft_depth = -1
            continue
        statement.append(token)
        if token in ("{", "}", ";"):
            kept.append(" ".join(statement))
            statement.clear()
    return tuple(each for each in kept if each != ";")


def steps(old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
    """What becomes of BIRD when `old` is replaced by `new`, session by session."""
    if old == new:
        return ()
    before, before_rest = blocks((old or b"").decode(errors="replace"))
    after, after_rest = blocks((new or b"").decode(errors="replace"))
    if old is None:
        return (Step(f"start BIRD with {_count(after)}"),)
    if new is None:
        return (Step(f"stop BIRD with {_count(before)}", frozenset().union(*map(_sessions, before.values()))),)
    found: list[Step] = []
    for key in sorted(before.keys() | after.keys()):
        noun, name = _noun(key[0]), key[1]
        if key not in before:
            found.append(Step(f"add {noun} {name}"))
        elif key not in after:
            found.append(Step(f"remove {noun} {name}", _sessions(before[key])))
        elif before[key] != after[key]:
            interrupted: frozenset[str] = frozenset()
            if key[0] in ("protocol bgp", "template bgp") and lasting(before[key]) != lasting(after[key]):
                interrupted = _sessions(before[key]).union(*(_sessions(each) for each in before.values() if _follows(each, name)))
            found.append(Step(f"change {noun} {name}", interrupted))
    if before_rest.split() != after_rest.split():
        found.append(Step("change what all sessions share"))
    return tuple(found) or (Step("write the configuration anew; nothing in it matters to a session"),)


_TOLD_ANEW = re.compile(r"^# told anew by import: (\d+)$", re.M)


def read_again(old: bytes, new: bytes) -> tuple[str, ...]:
    """What BIRD, configured softly, is to read again, in birdc's words of before SPLITS_RELOADS; empty where it is to find out by itself. Pure.

    Only where both texts say by which number import marks what a change of theirs concerns, and the numbers differ.
    """
    texts = old.decode(errors="replace"), new.decode(errors="replace")
    numbers = [_TOLD_ANEW.findall(each) for each in texts]
    if not all(numbers) or numbers[0] == numbers[1]:
        return ()
    (before, _), (after, _) = map(blocks, texts)
    changed = (key for key, block in after.items() if before.get(key, block) != block)
    return ("reload in all", *(f"reload out {name}" for kind, name in changed if kind == "protocol bgp"))


def _follows(block: str, template: str) -> bool:
    return re.match(rf"protocol\s+\w+\s+\w*\s*from\s+{re.escape(template)}\b", block) is not None


def _noun(what: str) -> str:
    kind, _, protocol = what.partition(" ")
    return NOUNS.get(protocol, f"{protocol} protocol") if kind == "protocol" else kind


def _count(found: Mapping[tuple[str, str], str]) -> str:
    sessions = sum(1 for what, _ in found if what == "protocol bgp")
    return f"{sessions} session{'' if sessions == 1 else 's'}"


def _sessions(block: str) -> frozenset[str]:
    return frozenset(_SESSION.findall(block))


# -- asked without running -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Round:
    """Questions (`eval …`) that are put while some protocols are enabled. `tables`: how many routes each table must have by then."""

    enabled: tuple[str, ...]
    tables: Mapping[str, int]
    questions: Sequence[str]


# Protocols start and stop behind birdc's back, in BIRD 3 on threads of their own; so each round waits until the tables have their routes.
ROUNDS = """
bird -f -c bird.conf -s bird.ctl >log 2>&1 & pid=$!
trap 'kill "$pid" 2>/dev/null; wait "$pid"' EXIT
say() { birdc -s bird.ctl "$@"; }
filled() { # COUNT TABLE...: every table has that many routes
  while [ $# -gt 0 ]; do say show route table "$2" count | grep -q "^$1 of " || return 1; shift 2; done
}
settled() { # ARGUMENTS OF filled
  tries=0
  until filled "$@" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || { cat log >&2; exit 1; }
    tries=$((tries + 1))
    [ "$tries" -le 1200 ] || { echo "BIRD's tables never held $*" >&2; exit 1; }
    sleep 0.05
  done
}
turn() { # enable|disable PROTOCOL...
  how=$1; shift
  for each; do say "$how" "$each" >/dev/null || exit 1; done
}
number=0
while read -r protocols && read -r tables; do
  turn enable $protocols
  settled $tables
  echo "round $number"
  say <"questions.$number" || exit 1
  turn disable $protocols
  number=$((number + 1))
done <rounds
"""


async def asked(host: Host, folder: str, config: bytes, rounds: Sequence[Round], *, timeout_seconds: float) -> list[list[str]]:
    """The answers of a BIRD that lives as long as its questions take, round by round; without network, in `folder` below the host's home, of which nothing is left.

    The configuration must need no privileges: tables and static protocols. Raises Failed, with BIRD's words, Unreachable.
    """
    plan = "".join(f"{' '.join(each.enabled)}\n{' '.join(f'{count} {table}' for table, count in each.tables.items())}\n" for each in rounds)
    files = {
        f"questions.{number}": "".join(f"{line}\n" for line in (*each.questions, "quit")).encode() for number, each in enumerate(rounds)
    }
    try:
        await host.put({f"{folder}/{name}": content for name, content in {**files, CONFIG: config, "rounds": plan.encode()}.items()})
        script = f"cd {shlex.quote(f'{host.home}/{folder}')} || exit 1\n{ROUNDS}"
        result = await host.run(["sh", "-c", script], timeout_seconds=timeout_seconds)
    finally:
        await host.put({folder: None})
    if result.status != 0:
        raise Failed(f"{host.name}: BIRD was asked in vain: {(result.err or result.out).strip()[-500:] or f'status {result.status}'}")
    return [_answers(part, each) for part, each in zip(re.split(r"^round \d+\n", result.out, flags=re.M)[1:], rounds, strict=True)]


def _answers(text: str, asked_in: Round) -> list[str]:
    """What birdc prints to its own echo of a question: the prompt, the question; the prompt wiped as the terminal wants it, the answer."""
    said = [line.removeprefix("bird> ").rsplit("\r")[-1].removeprefix("\x1b[K") for line in text.split("\n") if line.startswith("bird> ")]
    questions, answers = said[:-1:2], said[1:-1:2]
    if questions != list(asked_in.questions):
        raise Failed(f"BIRD answered something else than what it was asked: {text.strip()[-300:]}")
    return answers
