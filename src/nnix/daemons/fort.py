"""FORT (https://nicmx.github.io/FORT-validator/), NIC Mexico's validator, run once (`--mode=standalone`) over a local repository, offline.

It is run for one trust anchor at a time. Its output does not say which anchor a VRP is from; and when one TAL fails, FORT throws away what it found
below all of them. It reads the mirror where it lies, and writes nothing there.
"""

from __future__ import annotations

from collections.abc import Mapping

from nnix.daemons.process import lacking
from nnix.daemons.validator import Run, version
from nnix.kernel.world import Host

USER = "fort"
ROAS, ROUTER_KEYS = "out/roas", "out/router-keys"

FEATURES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "aspa": ((1, 7), "ASPAs need FORT 1.7"),
    "router-key": ((1, 6), "FORT 1.5.4 reports no BGPsec router key, though its list of them has a head line"),
}


def lacks(number: str) -> dict[str, str]:
    """feature → why it is not to be had with that version."""
    return lacking(FEATURES, number)


async def found(host: Host) -> str:
    """Its version on `host`. Raises Failed, Unreachable."""
    return await version(host, ["fort", "--version"], r"fort (\S+)", "fort-validator")


def run(tree: str, tal: str) -> Run:
    """One run. `tree` is the mirror and `tal` the TAL file, relative to the run's folder."""
    argv = [
        "fort", "--mode=standalone", "--work-offline=true", f"--tal={tal}", f"--local-repository={tree}",
        f"--output.roa={ROAS}", f"--output.bgpsec={ROUTER_KEYS}", "--output.format=csv",
        "--log.output=console", "--validation-log.enabled=true", "--validation-log.output=console",
    ]  # fmt: skip
    return Run(USER, f"mkdir -p out && chown {USER} out || exit 1", argv, (ROAS, ROUTER_KEYS))
