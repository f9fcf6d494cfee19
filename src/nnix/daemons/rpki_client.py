"""rpki-client (https://www.rpki-client.org), OpenBSD's validator.

It is run over all trust anchors at once; its CSV says which of them each VRP is from.

It has an offline mode, -n, which is not used. In 8.2 its parser dies of signal 11 in that mode at the first manifest that cannot be
used, and with it everything that was concluded; and whatever happens, an empty result is written with exit status 0. So it is run as
if it were online, by rsync alone (-R), with a program in rsync's place that fetches nothing (-e): the mirror lies already where rsync would have put
it, as hard links in `.rsync`, and the certificates of the anchors in `ta/ANCHOR`. Then 8.2 goes on past every broken manifest.

The folders are lent to its user, because it moves what is valid out of `.rsync`; the files stay root's.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime

from nnix.daemons.process import lacking
from nnix.daemons.validator import Run, version
from nnix.kernel.world import Host

USER = "_rpki-client"
CSV, JSON = "out/csv", "out/json"

FEATURES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "clock": ((9, 5), "-P, which sets the time that counts, was seen with rpki-client 9.5; 8.2 has none"),
    "aspa": ((9, 5), "ASPAs as their profile has them now are read by rpki-client 9.5; 8.2 reads an older form"),
}


def lacks(number: str) -> dict[str, str]:
    """feature → why it is not to be had with that version."""
    return lacking(FEATURES, number)


async def found(host: Host) -> str:
    """Its version on `host`. Raises Failed, Unreachable."""
    return await version(host, ["rpki-client", "-V"], r"rpki-client(?:-portable)? (\S+)", "rpki-client")


def run(
    tree: str, tals: Mapping[str, str], certificates: Mapping[str, str], seconds_max: int, number: str, at: datetime | None = None
) -> Run:
    """One run of version `number`, as of `at` where it has a clock of its own to set. `tree` is the mirror and `tals` are the TAL files (by anchor), relative to the run's folder; `certificates` are those of the anchors,
    paths inside the tree. A TAL's file must have the anchor's name."""
    lines = ["mkdir -p cache/.rsync out", f"cp -al {shlex.quote(tree)}/. cache/.rsync/"]
    for anchor, path in certificates.items():
        place = shlex.quote(f"cache/ta/{anchor}")
        lines.append(f"mkdir -p {place} && cp -al {shlex.quote(f'{tree}/{path}')} {place}/")
    lines.append(f"find cache out -type d -exec chown {USER} {{}} +")
    argv = ["rpki-client", "-R", "-e", "/bin/true", "-s", str(seconds_max), "-c", "-j"]
    own_clock = "clock" not in lacks(number)
    if at is not None and own_clock:
        argv += ["-P", str(int(at.timestamp()))]
    for tal in tals.values():
        argv += ["-t", tal]
    return Run(USER, " || exit 1\n".join([*lines, ""]), [*argv, "-d", "cache", "out"], (CSV, JSON), own_clock)
