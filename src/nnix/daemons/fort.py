"""FORT (https://nicmx.github.io/FORT-validator/), NIC Mexico's validator, run once (`--mode=standalone`).

It is run for one trust anchor at a time. Its output does not say which anchor a VRP is from; and when one TAL fails, FORT throws away what it found
below all of them.

1.5 reads the mirror where it lies, offline, and writes nothing there. 1.6 has a cache with an index of its own, and throws out what it did not fetch itself; so it is
run as if online, with a program in rsync's place (`deliver`) that copies from the mirror.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping

from nnix.daemons.process import lacking
from nnix.daemons.validator import Run, version
from nnix.kernel.world import Host

USER = "fort"
ROAS, ROUTER_KEYS = "out/roas", "out/router-keys"

FEATURES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "aspa": ((1, 7), "ASPAs need FORT 1.7"),
    "router-key": ((1, 7), "FORT 1.5.4 and 1.6.8 report no BGPsec router key, though their list of them has a head line"),
}


def lacks(number: str) -> dict[str, str]:
    """feature → why it is not to be had with that version."""
    return lacking(FEATURES, number)


async def found(host: Host) -> str:
    """Its version on `host`. Raises Failed, Unreachable."""
    return await version(host, ["fort", "--version"], r"fort (\S+)", "fort-validator")


FETCHES_SINCE = (1, 6)

DELIVER = """#!/bin/sh
for word; do source=$target; target=$word; done
path=${source#rsync://}
case $path in *..*) exit 1 ;; esac
[ -d TREE/"$path" ] && mkdir -p "$target" && exec cp -r TREE/"$path". "$target"/
"""
CONFIG = {"rsync": {"enabled": True, "program": "./deliver", "retry": {"count": 0}}, "http": {"enabled": False}}


def run(tree: str, tal: str, number: str) -> Run:
    """One run of version `number`. `tree` is the mirror and `tal` the TAL file, relative to the run's folder."""
    common = [
        "--mode=standalone", f"--tal={tal}", f"--output.roa={ROAS}", f"--output.bgpsec={ROUTER_KEYS}", "--output.format=csv",
        "--log.output=console", "--validation-log.enabled=true", "--validation-log.output=console",
    ]  # fmt: skip
    lend = f"mkdir -p cache out && chown {USER} cache out || exit 1"
    if tuple(int(part) for part in re.findall(r"\d+", number)[:2]) < FETCHES_SINCE:
        return Run(USER, lend, ["fort", "--work-offline=true", f"--local-repository={tree}", *common], (ROAS, ROUTER_KEYS))
    files = f"printf %s {shlex.quote(DELIVER.replace('TREE', shlex.quote(tree)))} >deliver; printf %s {shlex.quote(json.dumps(CONFIG))} >config.json"
    script = f"{lend}\n{files}; chmod 755 deliver"
    return Run(USER, script, ["fort", "--configuration-file=config.json", "--local-repository=cache", *common], (ROAS, ROUTER_KEYS))
