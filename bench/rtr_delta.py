"""Claim: 500 VRPs that come and 500 that go, of 500,000, are with the last of 10 routers within 2.5 s and 2.5 CPU seconds; StayRTR beside it.

From the moment when the new document is moved to its place until the last client has its End of Data. Ours looks at the file twice
a second, as configured by default. Peer: Debian's StayRTR, which is sent SIGHUP at that moment, so that its clock
does not count against it. Clients of both are in step before, wait for the Serial Notify, ask from their serial, and count
PDUs by type and flag: exactly 500 announced and 500 withdrawn, or nothing is measured.

CPU seconds are those of the server and of the children that it began and that ended: reading, comparing, sending. Serial Notifies are
not held back here (RFC 8210, 5.2 wants a minute between two to one router), since each round brings one.

Run: python bench/rtr_delta.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
import time
from typing import NamedTuple

from rtr_sides import RESET_QUERY, SERIAL_NOTIFY, Clients, Side, document, running

CLAIM = "CPU seconds of the server from a new document with 500 VRPs more and 500 less, of 500,000, to the last of 10 clients; within 2.5 s; beside StayRTR"
VRPS, MOVED, CLIENTS = 500_000, 500, 10
CPU_SECONDS_MAX, LAST_SECONDS_MAX = 2.5, 2.5
PATIENCE_SECONDS = 120.0


class Round(NamedTuple):
    """CPU seconds; seconds to the last client."""

    cpu: float
    last: float


def changed(side: Side, clients: Clients, octets: bytes) -> Round:
    """One change, from the file to the last client."""
    cpu, begun = side.cpu_seconds(), time.perf_counter()
    side.put(octets)
    if side.name == "stayrtr":
        side.process.send_signal(signal.SIGHUP)
    asked = set[int]()
    for each in clients.all:
        each.counts.clear()
        each.flags.clear()
        each.ended_at = None
    deadline = begun + PATIENCE_SECONDS
    while any(each.ended_at is None for each in clients.all):
        if time.perf_counter() > deadline:
            raise SystemExit(f"{side.name} did not bring the change within {PATIENCE_SECONDS:.0f} s: nothing was measured")
        clients.turn(0.2)
        for index, each in enumerate(clients.all):
            if index not in asked and each.counts[SERIAL_NOTIFY]:
                asked.add(index)
                each.begin(each.serial_query())
    last = max(each.ended_at or 0.0 for each in clients.all)
    for each in clients.all:
        if (each.flags[1], each.flags[0]) != (MOVED, MOVED):
            raise SystemExit(f"{side.name} sent {each.flags[1]} announcements and {each.flags[0]} withdrawals: nothing was measured")
    side.until_idle()  # what it still does with the change is its work as well
    return Round(side.cpu_seconds() - cpu, last - begun)


def rounds(name: str, documents: tuple[bytes, bytes], number: int) -> list[Round]:
    """`number` changes there and back."""
    with running(name, documents[0]) as side:
        clients = Clients(side.port, CLIENTS)
        for each in clients.all:
            each.begin(RESET_QUERY)
        clients.until_ended(PATIENCE_SECONDS)
        side.until_idle()
        found = [changed(side, clients, documents[(step + 1) % 2]) for step in range(number)]
        clients.close()
        return found


def main() -> int:
    quick = "--quick" in sys.argv[1:]
    number = 2 if quick else 6
    documents = document(VRPS), document(VRPS, MOVED)
    print(f"{CLAIM}\n{number} changes on each side, medians\n")
    found = {name: rounds(name, documents, number) for name in ("ours", "stayrtr")}
    print(f"{'':>10} {'CPU s':>7} {'last after s':>13} {'least':>7} {'most':>7}")
    middle = {
        name: Round(statistics.median(each.cpu for each in seen), statistics.median(each.last for each in seen))
        for name, seen in found.items()
    }
    for name, seen in found.items():
        lasts = [each.last for each in seen]
        print(f"{name:>10} {middle[name].cpu:>7.2f} {middle[name].last:>13.2f} {min(lasts):>7.2f} {max(lasts):>7.2f}")
    ours, peer = middle["ours"], middle["stayrtr"]
    holds = ours.cpu <= CPU_SECONDS_MAX and ours.last <= LAST_SECONDS_MAX and ours.cpu < peer.cpu
    print()
    ratio = peer.cpu / ours.cpu
    print(json.dumps({"claim": CLAIM, "ours": round(ours.cpu, 2), "peer": round(peer.cpu, 2), "ratio": round(ratio, 2), "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
