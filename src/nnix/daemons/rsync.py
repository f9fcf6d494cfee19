"""rsync as what fetches RPKI repositories (RFC 6481, 3): one module, or one file, into a folder.

What the far end sends is a stranger's: rsync runs as the validators' user, gains no privileges, takes plain files alone, of at most 4 MB each and of the kinds that
there are, and gives up when nothing comes for 30 s or when its time is over. What is gone at the far end goes here too; the archive has it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from nnix.kernel.world import Host, Result

USER = "_rpki-client"
KINDS = ("cer", "crl", "mft", "roa", "asa", "gbr", "tak", "spl")
SILENCE_SECONDS_MAX, CONNECT_SECONDS_MAX, FILE_OCTETS_MAX = 30, 15, 4_000_000


def argv(source: str, target: str) -> Sequence[str]:
    """`source` is HOST/MODULE/ with all below it, or one file; `target` its place."""
    whole = source.endswith("/")
    return [
        "rsync", "-t", "--no-motd", f"--max-size={FILE_OCTETS_MAX}", f"--timeout={SILENCE_SECONDS_MAX}", f"--contimeout={CONNECT_SECONDS_MAX}",
        *(["-r", "--delete", "--include=*/", *(f"--include=*.{kind}" for kind in KINDS), "--exclude=*"] if whole else []),
        f"rsync://{source}", target,
    ]  # fmt: skip


async def fetched(host: Host, folder: str, source: str, target: str, *, seconds_max: float) -> Result:
    """Fetch into `target` below `folder`, an absolute path; folders on the way are made. Raises Unreachable.

    rsync names its target from the root, and the folders above may be closed to its user. So it sees `folder` as /mnt, in a mount namespace of its own.
    """
    parent = target.rstrip("/") if source.endswith("/") else target.rpartition("/")[0]
    confined = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--no-new-privs", "--", *argv(source, target)]
    lend = f"mkdir -p {shlex.quote(parent)} && find {shlex.quote(parent.split('/')[0])} -type d -exec chown {USER} {{}} + || exit 1"
    inside = f"mount --bind . /mnt && cd /mnt && exec {shlex.join(confined)}"
    script = f"umask 022; cd {shlex.quote(folder)} || exit 1\n{lend}\nexec unshare --mount -- sh -c {shlex.quote(inside)}"
    return await host.run(["sh", "-c", script], timeout_seconds=seconds_max)
