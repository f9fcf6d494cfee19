"""Asking by bgpq4, for operators who have tuned it: three runs for each as-set, for its networks and for the prefixes of both families.

bgpq4 does not say who announces a prefix, so a prefix counts for every network of its as-set. Where IRRd is asked directly (`whois`) it counts for its
own origin only, which is stricter. Nothing is aggregated (no -A): two prefixes are not the one that covers both.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from nnix.planes.routing.irr import bgpq4_answers
from nnix.planes.routing.registries.answers import Answers
from nnix.planes.routing.registries.whois import Unanswered

PROGRAM = "bgpq4"


def asked(
    server: str, databases: Sequence[str], names: Iterable[str], seconds: float, *, routes: bool = True, vias: bool = False
) -> Answers:
    """Raises Unanswered."""
    if shutil.which(PROGRAM) is None:
        raise Unanswered(f"{PROGRAM} is not installed (Debian package bgpq4)")
    until = time.monotonic() + seconds
    whom = ["-h", server, *(["-S", ",".join(databases)] if databases else [])]
    document: dict[str, list[object]] = {}
    complaints: dict[str, None] = {}
    for name in dict.fromkeys(each.upper() for each in names):
        for form in ("-jt", "-j4", "-j6") if routes else ("-jt",):
            document.setdefault(name, []).extend(_run([*whom, form, "-l", name, name], name, until, complaints))
    given = bgpq4_answers(document)
    untold = [f"{PROGRAM} does not tell import-via and export-via; ask by whois, or of a dump"] if vias else []
    return replace(given, findings=(*complaints, *given.findings, *untold))


def _run(words: Sequence[str], name: str, until: float, complaints: dict[str, None]) -> list[object]:
    try:
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=max(0.1, until - time.monotonic()), check=False)
    except subprocess.TimeoutExpired:
        raise Unanswered(f"{PROGRAM} took too long over {name}") from None
    if done.returncode != 0:
        raise Unanswered(f"{PROGRAM} {' '.join(words)}: {done.stderr.strip()[:300] or f'status {done.returncode}'}")
    # It ends with status 0 also where it left something out, such as ASNs that it takes for bogons.
    complaints |= dict.fromkeys(f"{PROGRAM} says of {name}: {line[:200]}" for line in done.stderr.splitlines() if line.startswith("ERROR"))
    try:
        entries = json.loads(done.stdout)[name]
    except (ValueError, KeyError, TypeError):
        raise Unanswered(f"{PROGRAM} {' '.join(words)} prints what is no answer: {done.stdout[:60]!r}") from None
    return list(entries) if isinstance(entries, list) else []
