"""A stopwatch for outages: numbered packets, both ways, between namespaces, and which of them arrived.

It runs as a process of its own, so that nothing else that nnix does delays a packet: `python -m nnix.lab.probe` reads the flows as one
JSON line, says `ready`, and measures until it reads another line; then it prints what was sent when, and what arrived, as JSON.

Sockets are made inside the namespaces and used from outside (a socket belongs for ever to the namespace in which it was made). A
flow sends at every tick, or at every n-th. What was lost is known by number, and when it was sent by the clock at that tick, so a sender
that is late for a moment is not taken for an outage.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import struct
import sys
import threading
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nnix.hosts.namespace import inside

HEAD = struct.Struct("!II")  # flow, tick
TICKS_MAX = 600_000
PAD = b"nnix drill" + bytes(38)


@dataclass(frozen=True, slots=True)
class Flow:
    """Packets from `source` to `target` (namespace, address) and back; one each way at every `every`-th tick."""

    name: str
    source: tuple[str, str]
    target: tuple[str, str]
    every: int = 1


@dataclass(frozen=True)
class Trace:
    """What became of one flow in one direction. `sent`: seconds on the monotonic clock; `arrived[n]`: whether packet n did."""

    flow: str
    back: bool
    sent: Sequence[float]
    arrived: Sequence[bool]

    def lost(self, since: float, until: float) -> tuple[int, int]:
        """(packets sent, packets lost) of those sent in that time."""
        within = [ok for at, ok in zip(self.sent, self.arrived, strict=True) if since <= at < until]
        return len(within), within.count(False)

    def outage(self, since: float, until: float) -> float:
        """Seconds of the longest time without an arrival, of what was sent in that time; the whole of it when nothing arrived."""
        longest, began, last = 0.0, None, None
        for at, ok in zip(self.sent, self.arrived, strict=True):
            if at < since:
                continue
            if at >= until:
                break
            last = at
            if ok:
                if began is not None:
                    longest = max(longest, at - began)
                began = None
            elif began is None:
                began = at
        if last is None:
            return until - since  # nothing was sent, so nothing is known to have passed
        return max(longest, last - began) if began is not None else longest


class Probe:
    """The process, seen from outside."""

    def __init__(self, flows: Sequence[Flow], rate_per_second: int) -> None:
        self._flows, self._rate = flows, rate_per_second

    def command(self) -> list[str]:
        return [sys.executable, "-m", "nnix.lab.probe"]

    def order(self) -> bytes:
        """What the process reads first."""
        return json.dumps({"rate": self._rate, "flows": [asdict(each) for each in self._flows]}).encode() + b"\n"

    def read(self, said: bytes) -> list[Trace]:
        """The traces, from what the process printed last."""
        found: Mapping[str, Any] = json.loads(said)
        ticks = array("d", base64.b64decode(found["ticks"]))
        traces = []
        for index, flow in enumerate(self._flows):
            sent = [ticks[n] for n in range(0, len(ticks), flow.every)]
            for back in (False, True):
                marks = base64.b64decode(found["arrived"][2 * index + back])
                traces.append(Trace(flow.name, back, sent, [bool(marks[n]) for n in range(0, len(ticks), flow.every)]))
        return traces


def opened(namespace: str, address: str) -> socket.socket:
    """A UDP socket in `namespace`, bound to `address`. Raises OSError."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind((address, 0))
        made.setblocking(False)
        return made

    return inside(namespace, make)


def measure(
    flows: Sequence[Flow], rate_per_second: int, stop: threading.Event, ready: threading.Event
) -> tuple[array[float], list[bytearray]]:
    """Send and listen until `stop`: when each tick was, and the arrivals of each flow, there and back."""
    ends = [(opened(*flow.source), opened(*flow.target)) for flow in flows]
    arrived = [bytearray(TICKS_MAX) for _ in range(2 * len(flows))]
    ticks: array[float] = array("d")
    listening = threading.Thread(target=_listen, args=(ends, arrived, stop), daemon=True)
    listening.start()
    ready.set()
    addresses = [(there.getsockname(), here.getsockname()) for here, there in ends]
    began = time.monotonic()
    while not stop.is_set() and len(ticks) < TICKS_MAX:
        tick = len(ticks)
        ticks.append(time.monotonic())
        for index, flow in enumerate(flows):
            if tick % flow.every:
                continue
            for back in (0, 1):
                try:
                    ends[index][back].sendto(HEAD.pack(2 * index + back, tick) + PAD, addresses[index][back])
                except OSError:
                    continue  # no route, no buffer: the packet is lost, which is what we count
        late = began + (tick + 1) / rate_per_second - time.monotonic()
        if late > 0:
            time.sleep(late)
        else:
            began -= late  # do not send in a burst what could not be sent in time
    time.sleep(0.3)
    stop.set()
    listening.join(2)
    return ticks, arrived


def _listen(ends: Iterable[tuple[socket.socket, socket.socket]], arrived: list[bytearray], stop: threading.Event) -> None:
    selector = selectors.DefaultSelector()
    for pair in ends:
        for each in pair:
            selector.register(each, selectors.EVENT_READ)
    while not stop.is_set():
        for key, _ in selector.select(0.1):
            try:
                while True:
                    flow, tick = HEAD.unpack_from(key.fileobj.recv(64))  # type: ignore[union-attr]
                    arrived[flow][tick] = 1
            except (OSError, struct.error, IndexError):
                continue  # nothing more to read, or nothing of ours


def main() -> None:
    order = json.loads(sys.stdin.buffer.readline())
    flows = [Flow(each["name"], tuple(each["source"]), tuple(each["target"]), each["every"]) for each in order["flows"]]
    stop, ready = threading.Event(), threading.Event()

    def until_told() -> None:
        ready.wait()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        os.read(sys.stdin.fileno(), 1)  # without the lock of sys.stdin: when measuring fails, that error shall be the last that is heard
        stop.set()

    threading.Thread(target=until_told, daemon=True).start()
    ticks, arrived = measure(flows, order["rate"], stop, ready)
    json.dump(
        {
            "ticks": base64.b64encode(ticks.tobytes()).decode(),
            "arrived": [base64.b64encode(bytes(each[: len(ticks)])).decode() for each in arrived],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
