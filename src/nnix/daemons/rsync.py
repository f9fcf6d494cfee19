"""rsync as what fetches RPKI repositories (RFC 6481, 3): one module, or one file, into a folder.

What the far end sends is a stranger's: rsync runs as the validators' user, gains no privileges, takes plain files alone, of at most 4 MB each and of the kinds that
there are, and gives up when nothing comes for 30 s or when its time is over. What is gone at the far end goes here too; the archive has it. An ordinary user cannot become
another one, and fetches as himself.

And as what serves them: a daemon that only reads, whose connections are bounded in number.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnix.kernel.world import Host, Result

USER = "_rpki-client"
KINDS = ("cer", "crl", "mft", "roa", "asa", "gbr", "tak", "spl")
SILENCE_SECONDS_MAX, CONNECT_SECONDS_MAX, FILE_OCTETS_MAX = 30, 15, 4_000_000


def argv(source: str, target: str) -> Sequence[str]:
    """`source` is HOST/MODULE/ with all below it, or one file; `target` its place, from where it runs: a host with a port would else be taken for a far end."""
    whole = source.endswith("/")
    return [
        "rsync", "-t", "--no-motd", f"--max-size={FILE_OCTETS_MAX}", f"--timeout={SILENCE_SECONDS_MAX}", f"--contimeout={CONNECT_SECONDS_MAX}",
        *(["-r", "--delete", "--include=*/", *(f"--include=*.{kind}" for kind in KINDS), "--exclude=*"] if whole else []),
        f"rsync://{source}", f"./{target}",
    ]  # fmt: skip


async def fetched(host: Host, folder: str, source: str, target: str, *, seconds_max: float) -> Result:
    """Fetch into `target` below `folder`, an absolute path; folders on the way are made. Raises Unreachable.

    rsync names its target from the root, and the folders above may be closed to its user. So it sees `folder` as /mnt, in a mount namespace of its own.
    """
    parent = target.rstrip("/") if source.endswith("/") else target.rpartition("/")[0]
    confined = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--no-new-privs", "--", *argv(source, target)]
    lend = f"mkdir -p {shlex.quote(parent)} && find {shlex.quote(parent.split('/')[0])} -type d -exec chown {USER} {{}} + || exit 1"
    inside = f"mount --bind . /mnt && cd /mnt && exec {shlex.join(confined)}"
    alone = f'[ "$(id -u)" = 0 ] || {{ mkdir -p {shlex.quote(parent)} && exec {shlex.join(argv(source, target))}; }}'
    script = f"umask 022; cd {shlex.quote(folder)} || exit 1\n{alone}\n{lend}\nexec unshare --mount -- sh -c {shlex.quote(inside)}"
    return await host.run(["sh", "-c", script], timeout_seconds=seconds_max)


def daemon_config(modules: Mapping[str, Path], *, chroot: bool) -> str:
    """rsyncd.conf that serves module → folder. A folder may be a symbolic link: a connection keeps to what it led to when it began.

    Checksums are refused because they make the server read everything.
    """
    lines = [
        f"use chroot = {'yes' if chroot else 'no'}", "read only = yes", "list = yes", "max connections = 100", "timeout = 300",
        "reverse lookup = no", "munge symlinks = no", "refuse options = checksum", "log file = /dev/null",
        *(("uid = nobody", "gid = nogroup") if chroot else ()),
    ]  # fmt: skip
    for name, path in modules.items():
        lines += [f"[{name}]", f"path = {path}"]
    return "\n".join(lines) + "\n"
