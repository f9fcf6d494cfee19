"""The two RTR servers that rtr_full and rtr_delta compare, the document that both read, and the clients that count what they are sent.

The document has the form of rpki-client's, with AS numbers and prefixes that no registry gave anybody; one VRP in five is IPv6, as
in the real world. A client follows every PDU by its own length and counts it by type, so a side that sends less is found out. It
does so on whole chunks with NumPy: 100 clients get 50 million PDUs, and to count them one by one would measure the clients.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RESET_QUERY = struct.pack(">BBHI", 1, 2, 0, 8)
SERIAL_NOTIFY, CACHE_RESPONSE, IPV4, IPV6, END_OF_DATA = 0, 3, 4, 6, 7
TICKS = os.sysconf("SC_CLK_TCK")


def document(number: int, skip: int = 0) -> bytes:
    """`number` VRPs from the `skip`-th on: documents that overlap differ at their ends."""
    rows = []
    for index in range(skip, skip + number):
        if index % 5 == 4:
            prefix, longest = f"2001:{index >> 16:x}:{index & 0xFFFF:x}::/48", 48
        else:
            prefix, longest = f"{1 + (index >> 16)}.{index >> 8 & 255}.{index & 255}.0/24", 24
        rows.append(
            f'\t\t{{ "asn": {4200000000 + index % 70000}, "prefix": "{prefix}", "maxLength": {longest}, "ta": "bench", "expires": 4102444800 }}'
        )
    built = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    head = f'{{\n\t"metadata": {{\n\t\t"buildtime": "{built}"\n\t}},\n\t"roas": [\n'
    return (head + ",\n".join(rows) + "\n\t]\n}\n").encode()


@dataclass
class Client:
    """One router: what it has been sent, by type, in the answer under way."""

    link: socket.socket
    counts: Counter[int] = field(default_factory=Counter)
    flags: Counter[int] = field(default_factory=Counter)
    rest: bytes = b""
    ended_at: float | None = None
    session: int = 0
    serial: int = 0

    def begin(self, query: bytes) -> None:
        self.counts, self.flags, self.ended_at = Counter(), Counter(), None
        self.link.sendall(query)

    def serial_query(self) -> bytes:
        return struct.pack(">BBHII", 1, 1, self.session, 12, self.serial)

    def hear(self, octets: bytes, now: float) -> None:
        """Count the PDUs in the next octets."""
        data = self.rest + octets
        at = 0
        while at + 8 <= len(data):
            kind, length = data[at + 1], int.from_bytes(data[at + 4 : at + 8], "big")
            if length < 8 or data[at] != 1:
                raise SystemExit(f"a client was sent what is no PDU: {data[at : at + 16].hex()}")
            if at + length > len(data):
                break
            if kind in (IPV4, IPV6):
                at = self._run(data, at, kind, length)
                continue
            self.counts[kind] += 1
            if kind == END_OF_DATA:
                self.session, self.serial, self.ended_at = (
                    int.from_bytes(data[at + 2 : at + 4], "big"),
                    int.from_bytes(data[at + 8 : at + 12], "big"),
                    now,
                )
            at += length
        self.rest = data[at:]

    def _run(self, data: bytes, at: int, kind: int, length: int) -> int:
        """Count prefixes of one kind as long as they follow one another; where they end."""
        found = np.frombuffer(data, np.uint8, (len(data) - at) // length * length, at).reshape(-1, length)
        alike = (found[:, 1] == kind) & (found[:, 7] == length) & (found[:, 0] == 1)
        number = len(found) if alike.all() else int(alike.argmin())
        self.counts[kind] += number
        announced = int((found[:number, 8] & 1).sum())
        self.flags[1] += announced
        self.flags[0] += number - announced
        return at + number * length


class Clients:
    """Many routers in this process, by one epoll."""

    def __init__(self, port: int, number: int) -> None:
        self.all = [Client(socket.create_connection(("127.0.0.1", port))) for _ in range(number)]
        self._epoll = select.epoll()
        self._by = {each.link.fileno(): each for each in self.all}
        for each in self.all:
            each.link.setblocking(False)
            self._epoll.register(each.link.fileno(), select.EPOLLIN)

    def turn(self, seconds: float) -> None:
        """Take what has come within `seconds`."""
        for descriptor, _ in self._epoll.poll(seconds):
            client = self._by[descriptor]
            octets = client.link.recv(1 << 19)
            if not octets:
                raise SystemExit("a client was disconnected: nothing was measured")
            client.hear(octets, time.perf_counter())

    def until_ended(self, seconds: float) -> float:
        """Until every client has its End of Data; when the last had it."""
        deadline = time.perf_counter() + seconds
        while any(each.ended_at is None for each in self.all):
            if time.perf_counter() > deadline:
                raise SystemExit(f"not all clients were served within {seconds:.0f} s: nothing was measured")
            self.turn(0.5)
        return max(each.ended_at or 0.0 for each in self.all)

    def close(self) -> None:
        for each in self.all:
            each.link.close()
        self._epoll.close()


@dataclass(frozen=True)
class Side:
    """A server that runs."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    file: Path

    def cpu_seconds(self) -> float:
        """Of the server and of its children that have ended."""
        parts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, parts[11:15])) / TICKS

    def memory_octets(self) -> int:
        """What it and its children hold now, each page once, with the files in memory that nobody has mapped."""
        total = 0
        for pid in (self.process.pid, *self._children()):
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
            except (OSError, StopIteration):
                continue
        for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                if str(each.readlink()).startswith("/memfd:"):
                    total += each.stat().st_blocks * 512
            except OSError:
                continue
        return total

    def _children(self) -> list[int]:
        return [int(each) for each in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def until_idle(self) -> None:
        """Until it has done what it had to do with its document: no child, and no CPU second for a second."""
        spent, since = self.cpu_seconds(), time.monotonic()
        while time.monotonic() - since < 1 or self._children():
            time.sleep(0.1)
            if self.cpu_seconds() - spent > 0.03:
                spent, since = self.cpu_seconds(), time.monotonic()

    def put(self, octets: bytes) -> None:
        """A new document, moved to its place."""
        beside = self.file.with_suffix(".new")
        beside.write_bytes(octets)
        beside.replace(self.file)


def free_port() -> int:
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        number: int = link.getsockname()[1]
        return number


@contextmanager
def running(name: str, octets: bytes) -> Iterator[Side]:
    """`ours` or `stayrtr`, with `octets` as its document, once it answers with data."""
    with tempfile.TemporaryDirectory(prefix="nnix-bench-") as folder:
        home, port = Path(folder), free_port()
        file = home / "vrps.json"
        file.write_bytes(octets)
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(_argv(name, home, file, port), stdout=log, stderr=log, cwd=home)
            try:
                side = Side(name, process, port, file)
                _until_data(side, home / "log")
                yield side
            finally:
                process.kill()
                process.wait()


def _argv(name: str, home: Path, file: Path, port: int) -> list[str]:
    if name == "stayrtr":
        quiet = ["-loglevel", "error", "-checktime=false", "-metrics.addr", f"127.0.0.1:{free_port()}"]
        return ["stayrtr", "-bind", f"127.0.0.1:{port}", "-cache", str(file), "-refresh", "600", "-protocol", "1", *quiet]
    table: dict[str, Any] = {"name": "vrps", "file": str(file), "listen": [{"address": "127.0.0.1", "port": port}]}
    table |= {"notify_seconds_min": 0, "peers_per_address_max": 200}
    (home / "caches.json").write_text(json.dumps({"state": str(home / "state"), "tables": [table]}))
    return [sys.executable, "-m", "nnix.planes.trust.serve", str(home / "caches.json")]


def _until_data(side: Side, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if side.process.poll() is not None:
            raise SystemExit(f"{side.name} does not run:\n{log.read_text()}")
        try:
            with socket.create_connection(("127.0.0.1", side.port), 2) as link:
                link.sendall(RESET_QUERY)
                head = link.recv(8)
                if head[1:2] == bytes((CACHE_RESPONSE,)) and link.recv(8)[1:2] != bytes((END_OF_DATA,)):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{side.name} has no data after a minute:\n{log.read_text()}")
