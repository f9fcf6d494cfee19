"""Single points of failure, told with every plan and check: what cuts off members, or the ends of circuits, whose own sites stand.

That a circuit is down when a site dies over which it was pinned is what was ordered, so it is told by `nnix prove fabric` alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Finding
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.prove.circuits import Circuits
from nnix.planes.fabric.prove.cuts import remains
from nnix.planes.fabric.prove.network import Part, failures, network
from nnix.planes.fabric.prove.outcome import Members

SHOWN_MAX = 4


def findings(snapshot: Snapshot, evidence: Evidence) -> Iterator[Finding]:
    """One for each thing that would cut somebody off by failing alone. A site that fails takes its own members along; that is no news."""
    net = network(snapshot)
    members = Members(snapshot, net)
    circuits = Circuits(snapshot, net)
    for each in failures(net):
        left = remains(net, each)
        harm = circuits.harm(left, each)
        parted = [f"circuit/{name}" for name in harm.behind if name not in harm.over]
        behind = [*members.outcome(each, left).behind, *parted] if each.part is not Part.REFLECTOR else []
        if behind:
            more = f" and {len(behind) - SHOWN_MAX} more" if len(behind) > SHOWN_MAX else ""
            who = f"{', '.join(behind[:SHOWN_MAX])}{more}"
            yield Finding(
                each.of, f"a single point of failure: without it {who} would be cut off; `nnix prove fabric` names the cheapest mend"
            )
