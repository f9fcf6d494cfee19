"""What the trust plane asks for and says beforehand: TALs as evidence, and what an operator should know of them.

Nothing is compiled to machines here. A validation is carried out, not configured (validate.py), and its result comes back as evidence: the file that
a relying party serves is one that routing policies read, pinned by every plan like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Finding
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact
from nnix.planes.routing.kinds import RoutingPolicy
from nnix.planes.trust import tal
from nnix.planes.trust.kinds import RelyingParty, TrustAnchor


def evidence(snapshot: Snapshot) -> Iterator[str]:
    """The TALs."""
    for anchor in snapshot.of(TrustAnchor):
        yield f"file:{anchor.tal}"


def compile(snapshot: Snapshot, evidence: Evidence) -> Iterable[Artifact]:
    """No artifact. Raises Refused for a TAL that is none: whoever believes a misread key believes anybody."""
    refusals = []
    for anchor in snapshot.of(TrustAnchor):
        try:
            tal.read(evidence[f"file:{anchor.tal}"].content)
        except KeyError:
            continue  # gathering it is refused already
        except tal.Unreadable as error:
            refusals.append(
                Refusal(
                    anchor.id,
                    "tal",
                    f"{anchor.tal}: {error}",
                    "a trust anchor locator (RFC 8630)",
                    "trust.tal-is-readable",
                    "RFC 8630, 2.2",
                )
            )
    if refusals:
        raise Refused(refusals)
    return ()


def prove(snapshot: Snapshot, evidence: Evidence) -> Iterator[Finding]:
    """What is served, and read by nobody."""
    read = {source for policy in snapshot.of(RoutingPolicy) for source in policy.rpki_sources}
    for party in snapshot.of(RelyingParty):
        if party.serves not in read:
            yield Finding(party.id, f"no routing policy reads {party.serves}; name it in rpki_sources")
