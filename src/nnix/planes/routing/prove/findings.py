"""What the operator or a member should mend in the sources of a policy, told with every plan and check. Nothing of it stops a change."""

from __future__ import annotations

from collections.abc import Iterable

from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Finding
from nnix.kernel.snapshot import Snapshot
from nnix.planes.routing.compile import policy


def findings(snapshot: Snapshot, evidence: Evidence) -> Iterable[Finding]:
    """One for each thing that was left out of the sources, or named and not found. Raises Refused as policy() does."""
    return tuple(Finding(f"routing-policy/{each.policy.name}", said) for each in policy(snapshot, evidence) for said in each.findings)
