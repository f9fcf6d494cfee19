"""RPKI validators: programs that run once over a mirror of the repositories, say what they conclude, and end.

All of them are run in the same way, because none is trusted. Each works in a folder of its own, as the user that Debian's package made for it; the
mirror belongs to root and cannot be written by it; there is no network; processor time, time and the size of every file are
bounded; and it cannot gain privileges. What a validator has read was written by strangers all over the world.

The clock can be set: by the validator's own option where it has one (rpki-client 9.5: -P), else by libfaketime (package faketime). That clock starts there
and goes on, so that time limits still work. rpki-client 9.5 does not get on with libfaketime: it waits for fetches that never end.

A validator's file says how its command is spelled and which files it leaves; what is in them is read by the plane (planes.trust.outputs).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nnix.kernel.world import Failed, Host

FILE_OCTETS_MAX = 1 << 30
PROCESSOR_SECONDS_MAX = 1800
LOG = "log"
LOG_OCTETS_MAX = 64 << 20


@dataclass(frozen=True)
class Run:
    """One run of a validator. `script` prepares its folder as root, `argv` is the validator itself, `leaves` the files that it must leave there;
    `own_clock`: it is told the time by its own words."""

    user: str
    script: str
    argv: Sequence[str]
    leaves: tuple[str, ...]
    own_clock: bool = False


@dataclass(frozen=True)
class Left:
    """What a run left. `fault` says why it counts for nothing; empty: it ended well."""

    fault: str
    files: Mapping[str, bytes]
    log: str


def spelled(run: Run, folder: str, at: datetime | None) -> str:
    """The shell script of one run in `folder`, which must exist and hold what `script` wants."""
    clock = ["faketime", "-f", f"@{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"] if at and not run.own_clock else []
    confined = [
        "prlimit", f"--fsize={FILE_OCTETS_MAX}", f"--cpu={PROCESSOR_SECONDS_MAX}", "--core=0", "--",
        "unshare", "--net", "--",
        "setpriv", "--reuid", run.user, "--regid", run.user, "--clear-groups", "--no-new-privs", "--",
        *clock, *run.argv,
    ]  # fmt: skip
    return f"umask 022; cd {shlex.quote(folder)} || exit 1\n{run.script}\nTZ=UTC exec {shlex.join(confined)} >{LOG} 2>&1 </dev/null"


async def ran(host: Host, run: Run, folder: str, *, at: datetime | None, timeout_seconds: float) -> Left:
    """Run it to its end in `folder`, relative to the host's home. A validator that fails is a value. Raises Unreachable."""
    result = await host.run(["sh", "-c", spelled(run, f"{host.home}/{folder}", at)], timeout_seconds=timeout_seconds)
    got = await host.get([f"{folder}/{each}" for each in (*run.leaves, LOG)])
    files = {each: got[f"{folder}/{each}"] for each in run.leaves}
    log = (got[f"{folder}/{LOG}"] or b"")[:LOG_OCTETS_MAX].decode(errors="replace")
    there = {name: content for name, content in files.items() if content is not None}
    if result.status == 124:
        return Left(f"it did not end within {timeout_seconds:g} s", there, log)
    if result.status != 0:
        last = (log or result.err).strip().splitlines()
        return Left(f"it ended with status {result.status}: {last[-1] if last else 'without a word'}", there, log)
    missing = [name for name in run.leaves if name not in there]
    return Left(f"it left no {', '.join(missing)}" if missing else "", there, log)


async def version(host: Host, argv: Sequence[str], pattern: str, package: str) -> str:
    """Its version, such as "8.2". Raises Failed where it is not installed, Unreachable."""
    result = await host.run(argv)
    found = re.search(pattern, result.out + result.err)
    if found is None:
        raise Failed(f"{host.name}: no {argv[0]} (package {package}): {(result.err or result.out).strip()}")
    return found[1]
