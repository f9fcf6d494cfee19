"""The life of a dispute about an invoice, and what each event does to the money in question.

    FILED ──answer──▶ ANSWERED ──uphold──▶ UPHELD      the buyer was right: what is held goes back
      │  │                │ ├────reject──▶ REJECTED    the seller was right: what is held is released
      │  │                │ └────settle──▶ SETTLED     they met in between: part of it goes back
      │  └────lapse───────┼──────────────▶ UPHELD      no answer in time counts for the buyer
      └───────withdraw────┴──────────────▶ WITHDRAWN   as if rejected

From the day of filing until one of these, the amount in question is held in escrow: the seller is not paid it, and the buyer does not get it
back. Effects are values; book.py makes entries of them.
"""

from __future__ import annotations

from enum import StrEnum

from nnix.kernel.life import Table


class DisputeState(StrEnum):
    """Where a dispute stands."""

    FILED = "filed"
    ANSWERED = "answered"
    UPHELD = "upheld"
    REJECTED = "rejected"
    SETTLED = "settled"
    WITHDRAWN = "withdrawn"


HOLD, REFUND, RELEASE, SPLIT = "hold", "refund", "release", "split"

DISPUTE: Table[DisputeState] = {
    (DisputeState.FILED, "answer"): (DisputeState.ANSWERED, ()),
    (DisputeState.FILED, "lapse"): (DisputeState.UPHELD, (REFUND,)),
    (DisputeState.FILED, "withdraw"): (DisputeState.WITHDRAWN, (RELEASE,)),
    (DisputeState.ANSWERED, "uphold"): (DisputeState.UPHELD, (REFUND,)),
    (DisputeState.ANSWERED, "reject"): (DisputeState.REJECTED, (RELEASE,)),
    (DisputeState.ANSWERED, "settle"): (DisputeState.SETTLED, (SPLIT,)),
    (DisputeState.ANSWERED, "withdraw"): (DisputeState.WITHDRAWN, (RELEASE,)),
}
EVENTS = tuple(sorted({event for _, event in DISPUTE}))
