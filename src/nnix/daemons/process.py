"""Processes that outlive whoever started them: how daemons are started, recognised, looked at and reaped.

*Detached.* A daemon runs in a session of its own with its output in a file: neither nnix's end nor a cut SSH connection
nor a time limit on the command that started it reaches it. It stays in the foreground of that session, so its pid is known
before it is a daemon at all: the shell writes it down and then becomes the daemon. Being killed between the two leaves
nothing unaccounted for.

*Recognised.* Pids are used again. A process is the daemon when it has the pid that was written down, the daemon's name
(/proc/PID/comm), and stands in the daemon's folder (/proc/PID/cwd). A zombie stands nowhere, so it counts as gone.

*Reaped.* SIGTERM, a bounded wait, SIGKILL; of whatever has the name and belongs to the folder, so also of a daemon whose pid
file was deleted, and of their children, since some daemons leave theirs behind.

*Looked at.* All daemons of one kind on a host are looked at in one round trip.

The scripts are for POSIX sh with coreutils and findutils. `here` is the daemon's folder in all of them.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnix.kernel.world import Failed, Host, Lack

HOME_TOKEN = b"@HOME@"
APPLIED = "applied"
LOG = "log"
SILENT = "no answer"  # the mark of a daemon that runs but does not speak

STOP_SECONDS = 10
START_SECONDS = 60  # BIRD 2.0.12 parsed 15 MB of route-server configuration in 15 s
LOG_BYTES_KEPT = 262_144
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

SHELL = f"""
stands() {{ # PID: there is such a process, and no zombie
  [ -e "/proc/$1/cwd" ]
}}
ours() {{ # PID COMM: it is called so and belongs to our folder
  {{ read -r comm <"/proc/$1/comm"; }} 2>/dev/null && [ "$comm" = "$2" ] &&
    {{ [ "$(readlink "/proc/$1/cwd")" = "$here" ] || [ "$(readlink "/proc/$1/fd/2")" = "$here/{LOG}" ]; }}
}}
alive() {{ # COMM: its pid in $pid
  pid=
  {{ read -r pid <"$here/$1.pid"; }} 2>/dev/null && ours "$pid" "$1"
}}
pids() {{ # COMM...: one line of pids, - for each that does not run
  for each; do alive "$each" && printf '%s ' "$pid" || printf -- '- '; done
}}
digest() {{ # FILE: its SHA-256, or -
  [ -f "$1" ] && sha256sum <"$1" | cut -c1-64 || echo -
}}
start() {{ # COMM ARGV...: start it detached, in our folder; its pid in $pid
  name=$1; shift
  if [ -f "$here/{LOG}" ] && [ "$(stat -c %s "$here/{LOG}")" -gt {LOG_BYTES_KEPT} ]; then
    # In place, as another process of this daemon may be writing to it.
    tail -c {LOG_BYTES_KEPT} "$here/{LOG}" >"$here/{LOG}.new" && cat "$here/{LOG}.new" >"$here/{LOG}"; rm -f "$here/{LOG}.new"
  fi
  rm -f "$here/$name.pid"
  ( cd "$here" && exec setsid sh -c 'echo $$ >"$0.pid.new" && mv -f "$0.pid.new" "$0.pid" && exec "$@"' "$name" "$@" \\
    </dev/null >>"$here/{LOG}" 2>&1 ) &
  pid=$!
}}
until_true() {{ # SECONDS COMMAND...: 0 as soon as it holds
  left=$(($1 * 20)); shift
  while ! "$@"; do
    left=$((left - 1)); [ "$left" -gt 0 ] || return 1
    sleep 0.05
  done
}}
gone() {{ # PID...: none stands
  for each; do ! stands "$each" || return 1; done
}}
reap() {{ # SECONDS PID...: end them, by force when they do not
  seconds=$1; shift
  [ $# -gt 0 ] || return 0
  kill "$@" 2>/dev/null
  until_true "$seconds" gone "$@" && return 0
  kill -9 "$@" 2>/dev/null
  until_true 5 gone "$@"
}}
strays() {{ # COMM...: pids of all that are called so and belong to our folder
  called=
  for place in /proc/[0-9]*; do # by name first: to follow the links of every process costs more
    {{ read -r comm <"$place/comm"; }} 2>/dev/null || continue
    case " $* " in *" $comm "*) called="$called $place/cwd $place/fd/2" ;; esac
  done
  [ -n "$called" ] || return 0
  find $called -maxdepth 0 -printf '%l\\t%h\\n' 2>/dev/null | while IFS='	' read -r target place; do
    case $target in
      "$here" | "$here (deleted)" | "$here/{LOG}" | "$here/{LOG} (deleted)")
        place=${{place%/fd}}
        printf '%s ' "${{place##*/}}" ;;
    esac
  done
}}
brood() {{ # PID...: these and all their descendants
  for each; do
    printf '%s ' "$each"
    brood $(cat "/proc/$each/task/"*/children 2>/dev/null)
  done
}}
stop() {{ # SECONDS COMM...: end them all, also those whose pid file is lost
  seconds=$1; shift
  reap "$seconds" $(brood $(strays "$@")) && for each; do rm -f "$here/$each.pid"; done
}}
lend() {{ # FOLDER: a folder outside of ours that a daemon insists on; remember that we made it
  # Another machine's daemon may be making it this very moment.
  if mkdir -m 755 "$1" 2>/dev/null; then : >"$1/.made-by-nnix"; else [ -d "$1" ] || mkdir -m 755 "$1"; fi
}}
take_back() {{ # FOLDER PROGRAM: remove it if we made it and nobody runs PROGRAM any more
  [ -e "$1/.made-by-nnix" ] || return 0
  find /proc/[0-9]*/exe -maxdepth 0 -lname "$2" 2>/dev/null | grep -q . || {{ rm -f "$1/.made-by-nnix"; rmdir "$1" 2>/dev/null; }}
  return 0
}}
settle() {{ # FILE: it becomes FILE's content from standard input, whole or not at all
  cat >"$here/.$1.new" && mv -f "$here/.$1.new" "$here/$1"
}}
applied() {{ # CONFIG MARK COMM...: note what is true now
  config=$1; mark=$2; shift 2
  printf '%s\\t%s\\t%s\\n' "$(digest "$here/$config")" "$(pids "$@")" "$mark" | settle {APPLIED}
}}
last_words() {{ # the end of the log, as a complaint
  tail -n 5 "$here/{LOG}" >&2
}}
"""


def folder(host: Host, driver: str, name: str) -> str:
    """Absolute path of the folder that belongs to the daemon `name`. Raises Failed for a name that cannot be a folder's."""
    if not NAME_PATTERN.fullmatch(name):
        raise Failed(f"{host.name}: {name!r} cannot be the name of a {driver} daemon")
    return f"{host.home.rstrip('/')}/{driver}/{name}"


def standing(host: Host, driver: str, name: str) -> str:
    """The shell words that set $here, as /proc would say it: a home may be reached through a symbolic link."""
    home, place = shlex.quote(host.home.rstrip("/")), folder(host, driver, name)
    return f"here=$(cd {home} 2>/dev/null && pwd -P || printf %s {home}){shlex.quote(place.removeprefix(host.home.rstrip('/')))}"


def placed(host: Host, driver: str, name: str, content: bytes) -> bytes:
    """`content` as it stands on the host: with the daemon's folder instead of @HOME@."""
    return content.replace(HOME_TOKEN, folder(host, driver, name).encode())


def lacking(features: Mapping[str, tuple[tuple[int, ...], str]], version: str) -> dict[str, str]:
    """feature → why it is not to be had with `version`, such as "2.0.12". `features` says since which version there is each, and the reason.

    An unreadable version lacks everything.
    """
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return {feature: reason for feature, (since, reason) in features.items() if parts < since}


NEEDS = re.compile(r"^# needs: (\S+) (\S+): (.+)$", re.M)


def needs(content: bytes) -> list[tuple[str, str, str]]:
    """(feature, resource, mend) of what a configuration says that it needs of what not every version has: `# needs: FEATURE RESOURCE: MEND`."""
    return NEEDS.findall(content.decode(errors="replace"))


def unmet(content: bytes, missing: Mapping[str, str]) -> tuple[Lack, ...]:
    """What `content` needs of what is missing, by feature with the reason."""
    return tuple(Lack(resource, f"{missing[feature]}, which", mend) for feature, resource, mend in needs(content) if feature in missing)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def act(
    host: Host, driver: str, name: str, body: str, *, stdin: bytes = b"", timeout_seconds: float = START_SECONDS + 2 * STOP_SECONDS
) -> str:
    """Run `body` in the daemon's folder (which is made); what it printed. Raises Failed with its complaint when its status is not 0."""
    make = f"umask 077; mkdir -p {shlex.quote(folder(host, driver, name))} || exit 1"
    script = f'{make}\n{standing(host, driver, name)}\ncd "$here" || exit 1\n{SHELL}\n{body}'
    result = await host.run(["sh", "-c", script], stdin=stdin, timeout_seconds=timeout_seconds)
    if result.status != 0:
        words = result.err.strip() or result.out.strip() or f"status {result.status}"
        raise Failed(f"{host.name}: {driver} {name}: {words}")
    return result.out


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found of one daemon. `mark` is the daemon's own answer, `marked` what it was when last driven."""

    config: str = "-"  # digest of its configuration file, or -
    pids: tuple[str, ...] = ()  # of its processes, in order; - for one that does not run
    applied: str = "-"  # digest of the configuration that was last made true
    applied_pids: tuple[str, ...] = ()
    marked: str = ""
    mark: str = ""


async def probe(
    host: Host, driver: str, config: str, comms: Mapping[str, Sequence[str]], *, ask: str = "echo", timeout_seconds: float = 60.0
) -> dict[str, Seen]:
    """Look at the daemons in `comms` (name → names of its processes), all in one round trip. Changes nothing.

    `config` is the name of the configuration file. `ask` is a shell command, run in the daemon's folder when the first
    process runs; its first line is the mark.
    """
    if not comms:
        return {}
    lines = [SHELL]
    for name, processes in comms.items():
        words = shlex.join(processes)
        lines.append(
            f"{standing(host, driver, name)}; mark=\n"
            f'if cd "$here" 2>/dev/null; then\n'
            f"  if alive {shlex.quote(processes[0])}; then mark=$( {{ {ask}\n}} 2>&1 | head -n 1); fi\n"
            f'  printf \'%s\\t%s\\t%s\\n\' "$(digest {shlex.quote(config)})" "$(pids {words})" "$mark"\n'
            f"  if [ -s {APPLIED} ]; then head -n 1 {APPLIED}; else echo; fi\n"
            f"else echo; echo; fi"
        )
    result = await host.run(["sh", "-c", "\n".join(lines)], timeout_seconds=timeout_seconds)
    rows = [line.split("\t") for line in result.out.splitlines()]
    if result.status != 0 or len(rows) != 2 * len(comms):
        raise Failed(f"{host.name}: looking at {driver} failed: {result.err.strip() or f'status {result.status}'}")
    return {
        name: Seen(
            config=now[0] if len(now) == 3 else "-",
            pids=tuple(now[1].split()) if len(now) == 3 else ("-",) * len(comms[name]),
            mark=now[2] if len(now) == 3 else "",
            applied=then[0] if len(then) == 3 else "-",
            applied_pids=tuple(then[1].split()) if len(then) == 3 else (),
            marked=then[2] if len(then) == 3 else "",
        )
        for name, now, then in zip(comms, rows[::2], rows[1::2], strict=True)
    }


def differing(seen: Mapping[str, Seen], wanted: Mapping[str, bytes], comms: Sequence[str]) -> dict[str, str]:
    """`difference` of each configuration in `wanted`, as it is to lie there, by name; those that agree are left out."""
    found = {name: difference(seen[name], digest(content), comms) for name, content in wanted.items()}
    return {name: words for name, words in found.items() if words}


def difference(seen: Seen, wanted: str, comms: Sequence[str]) -> str:
    """How `seen` differs from a daemon that runs the configuration with digest `wanted`, in words; empty when it does not."""
    missing = [comm for comm, pid in zip(comms, seen.pids, strict=True) if pid == "-"]
    if seen.config == "-" and len(missing) == len(comms):
        return "not there"
    if missing:
        return f"{' and '.join(missing)} not running"
    if seen.config != wanted:
        if seen.config == "-":
            return "its configuration file is gone"
        if seen.applied == wanted:
            return "its configuration file was edited"
        return "runs an older configuration" if seen.applied == seen.config else "its configuration file is not the one wanted"
    if seen.applied != wanted:
        return "has not taken its configuration"
    if seen.applied_pids != seen.pids:
        return "was restarted by somebody else"
    if seen.mark == SILENT:
        return "runs, but does not answer"
    if seen.mark != seen.marked:
        return "was changed by somebody else while it ran"
    return ""


async def parsed(host: Host, content: bytes, command: str, *, file: str) -> str:
    """What a daemon's own parser has against `content`; empty: nothing.

    `command` is a shell command that reads `file` in the folder where it runs: a new one, which also stands for @HOME@, as
    some parsers open the log files that they read of, and which is removed again. Raises Unreachable.
    """
    script = (
        'umask 077; here=$(mktemp -d) && cd "$here" || exit 1; trap \'rm -rf "$here"\' EXIT; '
        f'sed "s|{HOME_TOKEN.decode()}|$here|g" >{shlex.quote(file)} && {{ {command}\n}} </dev/null'
    )
    result = await host.run(["sh", "-c", script], stdin=content, timeout_seconds=START_SECONDS)
    return "" if result.status == 0 else result.err.strip() or result.out.strip() or f"status {result.status}"


async def remove(host: Host, driver: str, name: str, comms: Sequence[str], *, before: str = "", after: str = "") -> None:
    """Stop the daemon's processes and remove its folder. Done already: does nothing. `before` and `after` are shell commands."""
    stopped = f"stop {STOP_SECONDS} {shlex.join(comms)} || {{ echo 'does not die' >&2; exit 1; }}"
    body = f"{standing(host, driver, name)}\n{SHELL}\n{before}\n{stopped}\n{after}"
    result = await host.run(["sh", "-c", body], timeout_seconds=3 * STOP_SECONDS)
    if result.status != 0:
        raise Failed(f"{host.name}: {driver} {name}: {result.err.strip() or f'status {result.status}'}")
    await host.put({f"{driver}/{name}": None})
