"""Single points of failure, told with every plan and check: what cuts off members whose own sites stand."""

from __future__ import annotations

from collections.abc import Iterator

from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Finding
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.prove.network import Part, failures, network
from nnix.planes.fabric.prove.outcome import Members

SHOWN_MAX = 4


def findings(snapshot: Snapshot, evidence: Evidence) -> Iterator[Finding]:
    """One for each thing that would cut somebody off by failing alone. A site that fails takes its own members along; that is no news."""
    net = network(snapshot)
    members = Members(snapshot, net)
    for each in failures(net):
        behind = members.outcome(each).behind if each.part is not Part.REFLECTOR else ()
        if behind:
            more = f" and {len(behind) - SHOWN_MAX} more" if len(behind) > SHOWN_MAX else ""
            who = f"{', '.join(behind[:SHOWN_MAX])}{more}"
            yield Finding(
                each.of, f"a single point of failure: without it {who} would be cut off; `nnix prove fabric` names the cheapest mend"
            )
