"""A place in which an ordinary user is root, so that a lab needs no root on the machine (user_namespaces(7)).

One process, the holder, keeps a user, a mount, a network and a process namespace for one state folder. Commands enter by
nsenter(1), find themselves root, and do there what root does elsewhere. When the holder ends, the kernel ends every
daemon inside and takes all interfaces along: nothing can be left behind.

*Users.* FRR, sshd and OpenBGPD give up root for users of their own, so one mapped user is not enough: newuidmap(1) maps the
range that /etc/subuid grants. *Folders.* Those users may not walk through a private home folder, and ip-netns(8) writes
below /run; so /run is a tmpfs here, and hosts' folders stand in it. They end with the lab, as they would with a reboot.
*Network.* Nothing outside can be reached from inside: neither a PostgreSQL ledger nor a real machine over SSH.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

INSIDE = "NNIX_ROOTLESS"
"""set for commands that run inside; not for people"""
HOMES = Path("/run/nnix/hosts")
PATIENCE_SECONDS = 10.0
READY = b"ready\n"

HOLD = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 755 /run/nnix /run/netns
# sshd takes an account whose password it cannot look up for a locked one, and this machine's own file is closed to us.
echo 'root:*::0:99999:7:::' >/run/nnix/shadow
mount --bind /run/nnix/shadow /etc/shadow
ip link set lo up
echo ready
exec sleep infinity
"""


class NotHere(Exception):
    """This machine or this account cannot have such a place. The message says why, in one sentence, and what would mend it."""


@dataclass(frozen=True)
class Rootless:
    """The place that belongs to `state`. It may be up or not; any process may ask, start, enter or end it."""

    state: Path

    @property
    def _file(self) -> Path:
        return self.state / "rootless"

    @property
    def holder(self) -> int | None:
        """The pid that keeps the place, None when it is not up. A pid that was used again since is not it: its start time differs."""
        with suppress(OSError, ValueError):
            pid, started = self._file.read_text().split()
            if _started(int(pid)) == started:
                return int(pid)
        return None

    def start(self) -> None:
        """Bring the place up, unless it is. Raises NotHere."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            if self.holder is None:
                self._start()

    def _start(self) -> None:
        for program, package in (("unshare", "util-linux"), ("newuidmap", "uidmap"), ("ip", "iproute2")):
            if shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") is None:
                raise NotHere(f"a lab without root needs {program} (Debian's package {package}); install it once, or run as root")
        process = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--map-auto", "--net", "--mount", "--pid", "--fork", "--mount-proc",
             "--kill-child", "sh", "-c", HOLD],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, cwd="/",
            env={**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"},
        )  # fmt: skip
        if not _ready(process):
            os.killpg(process.pid, signal.SIGKILL)
            _, words = process.communicate()
            said = words.decode(errors="replace").strip().splitlines()
            raise NotHere(
                f"a lab without root is not possible here ({said[-1] if said else 'unshare did not answer'}); the kernel must allow "
                "user namespaces, as it never does in a chroot, and /etc/subuid must grant this account 65536 ids, or run as root"
            )
        self._file.write_text(f"{process.pid} {_started(process.pid)}")
        process.returncode = 0  # it outlives us on purpose

    def run(self, argv: Sequence[str]) -> int:
        """Run a command inside, to its end, with this process's terminal; its exit status. Raises NotHere when the place is not up."""
        holder = self.holder
        inner = _children(holder) if holder is not None else []
        if not inner:
            raise NotHere("the place was ended meanwhile; `nnix up DIR` makes a new one")
        enter = ["nsenter", f"--target={inner[0]}", "--user", "--mount", "--net", "--pid", "--", *argv]
        process = subprocess.Popen(enter, env={**os.environ, INSIDE: "1", "NNIX_STATE": str(self.state)})
        before = {each: signal.signal(each, partial(_pass_on, process.pid)) for each in (signal.SIGTERM, signal.SIGHUP)}
        try:
            while True:
                try:
                    status = process.wait()
                    return status if status >= 0 else 128 - status
                except KeyboardInterrupt:
                    continue  # the command inside has got it as well, and ends in its own way
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def end(self) -> None:
        """End the holder, and with it everything inside."""
        with self._alone():
            holder = self.holder
            if holder is not None:
                os.kill(holder, signal.SIGKILL)
                deadline = time.monotonic() + PATIENCE_SECONDS
                while self.holder is not None and time.monotonic() < deadline:
                    time.sleep(0.02)
            self._file.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.state / "rootless.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _pass_on(entered: int, number: int, frame: FrameType | None) -> None:
    """nsenter waits for what runs inside, and passes no signal on."""
    for child in _children(entered):
        with suppress(ProcessLookupError):
            os.kill(child, number)


def this_command() -> list[str]:
    """The command line that is running, as another process could run it."""
    return [sys.executable, *sys.argv]


def inside() -> bool:
    """Whether this process runs in such a place."""
    return os.environ.get(INSIDE) == "1"


def _ready(process: subprocess.Popen[bytes]) -> bool:
    """Whether the holder, not yet waited for, says so in time. Its end is watched beside its pipe: an unshare(1) that the kernel refuses
    leaves a child behind, which was to map users, waits for ever, and keeps the pipe open (util-linux 2.38 and 2.41)."""
    if process.stdout is None:
        return False
    words, ended = process.stdout.fileno(), os.pidfd_open(process.pid)
    try:
        heard, _, _ = select.select([words, ended], [], [], PATIENCE_SECONDS)
    finally:
        os.close(ended)
    return words in heard and os.read(words, len(READY)) == READY


def _started(pid: int) -> str:
    """When a process began, in ticks since boot (proc_pid_stat(5), field 22). Raises OSError for one that is gone or a zombie."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(pid)
    return fields[19]


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
