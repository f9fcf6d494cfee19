"""Claim: 500,000 VRPs go to 100 routers at no more than 5 ms of server CPU each, the last has them after 2 s, in 300 MB; StayRTR beside it.

Ours: the server as operators run it, over TCP. Peer: Debian's StayRTR, over TCP. Both read the same document, and speak version 1 to
clients that connect first and then all ask for everything at once. Each client counts every PDU by type; a round counts only when
every client of both sides was sent the same numbers.

CPU seconds are the server's own from the first query to the last End of Data, divided by the clients. Memory is the most that server
and children held, looked at ten times a second from start to end, loading included; pages that several hold count once. The
clients share the machine's processors with the server they ask, on both sides alike.

Run: python bench/rtr_full.py [--quick], where quick has 20 clients. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from typing import NamedTuple

from rtr_sides import IPV4, IPV6, RESET_QUERY, Clients, Side, document, running

CLAIM = "server CPU milliseconds a client, 500,000 VRPs to 100 clients, beside StayRTR; the last has them within 2 s, in 300 MB"
VRPS = 500_000
CPU_MS_MAX, LAST_SECONDS_MAX, MEMORY_OCTETS_MAX = 5.0, 2.0, 300_000_000
PATIENCE_SECONDS = 900.0


class Round(NamedTuple):
    """CPU milliseconds a client; seconds to the last; octets."""

    cpu_ms: float
    last_seconds: float
    memory_octets: int


class Memory(threading.Thread):
    """The most that a side holds."""

    def __init__(self, side: Side) -> None:
        super().__init__(daemon=True)
        self.side, self.most, self.stopped = side, 0, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.1):
            self.most = max(self.most, self.side.memory_octets())

    def end(self) -> int:
        self.stopped.set()
        self.join()
        return max(self.most, self.side.memory_octets())


def one_round(name: str, octets: bytes, number: int) -> tuple[Round, list[Counter[int]]]:
    with running(name, octets) as side:
        memory = Memory(side)
        memory.start()
        side.put(octets + b" ")  # loaded once more while it is watched
        side.process.send_signal(signal.SIGHUP)
        time.sleep(2)
        side.until_idle()
        clients = Clients(side.port, number)
        cpu, begun = side.cpu_seconds(), time.perf_counter()
        for each in clients.all:
            each.begin(RESET_QUERY)
        last = clients.until_ended(PATIENCE_SECONDS)
        spent = side.cpu_seconds() - cpu
        clients.close()
        return Round(1000 * spent / number, last - begun, memory.end()), [each.counts for each in clients.all]


def main() -> int:
    quick = "--quick" in sys.argv[1:]
    number, rounds = (20, 1) if quick else (100, 1)
    octets = document(VRPS)
    print(
        f"{CLAIM}\n{VRPS} VRPs, {len(octets)} octets of JSON; {number} clients, {rounds} interleaved rounds; medians, and the most of memory\n"
    )
    found: dict[str, list[Round]] = {"ours": [], "stayrtr": []}
    wanted = [(VRPS - VRPS // 5, VRPS // 5, 1)] * number
    for _ in range(rounds):
        for name, seen in found.items():
            spent, counts = one_round(name, octets, number)
            if [(each[IPV4], each[IPV6], each[7]) for each in counts] != wanted:
                raise SystemExit(f"{name} did not send every client every VRP once: nothing was measured\n{counts[0]}")
            seen.append(spent)
    print(f"{'':>10} {'CPU ms a client':>16} {'last after s':>13} {'memory MB':>10}")
    middle = {
        name: Round(
            statistics.median(each.cpu_ms for each in seen),
            statistics.median(each.last_seconds for each in seen),
            max(each.memory_octets for each in seen),
        )
        for name, seen in found.items()
    }
    for name, (cpu, last, memory) in middle.items():
        print(f"{name:>10} {cpu:>16.2f} {last:>13.2f} {memory / 1e6:>10.0f}")
    ours, peer = middle["ours"], middle["stayrtr"]
    holds = ours.cpu_ms <= CPU_MS_MAX and ours.last_seconds <= LAST_SECONDS_MAX and ours.memory_octets <= MEMORY_OCTETS_MAX
    holds = holds and ours.cpu_ms < peer.cpu_ms and ours.last_seconds < peer.last_seconds
    ratio = peer.cpu_ms / max(ours.cpu_ms, 0.01)
    print()
    print(
        json.dumps({"claim": CLAIM, "ours": round(ours.cpu_ms, 2), "peer": round(peer.cpu_ms, 2), "ratio": round(ratio, 1), "holds": holds})
    )
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
