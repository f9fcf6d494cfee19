"""The guard: stands between a gate's Knot and the registry's primaries, and lets no zone through whose keys are not the declared ones.

Knot validates a zone against the keys *in* it. So a zone that was signed anew by a stranger, and came with the registry's TSIG, would be served
by the gate. Here every transfer is watched on its way (transfer.py): all of it is passed on as it comes but for its last message, without which
Knot has nothing; that one follows only when an anchor signs the zone's DNSKEY set as it will be then (anchored.py). Otherwise the connection ends,
Knot keeps what it had, and `state` says why.

Octets are not touched, so TSIG, whose secret the guard has not, holds from the registry to Knot. Over UDP only the question for the SOA passes.
Whoever is killed here takes the way to the registry along, not what is served; fail closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnix.planes.naming import ask
from nnix.planes.naming.anchored import trouble
from nnix.planes.naming.transfer import AXFR, IXFR, Query, Watch, query_of

HERE = "127.0.0.1"
CONNECTIONS_MAX = 64
PATIENCE_SECONDS = 60.0
UDP_SECONDS = 3.0
ACCEPT_AGAIN_SECONDS = 0.1
BEAT_SECONDS = 2.0


class Ended(Exception):
    """The connection is over. The words are for the operator; empty when nothing is wrong."""


@dataclass(frozen=True)
class Way:
    """One primary of one zone: where Knot finds it here, and where it is. Zones share the port for their first primary, and so on, and a question says which zone is
    meant: so a zone that comes or goes moves no other's port, and no Knot asks at one that has become another's."""

    origin: str
    port: int
    primary: tuple[str, int]
    source: str
    own: str
    anchors: tuple[str, ...]


@dataclass
class Guard:
    """What was refused, by zone, until something good came."""

    refused: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(CONNECTIONS_MAX))

    def judged(self, way: Way, words: str) -> None:
        with self.lock:
            if words:
                if self.refused.get(way.origin) != words:
                    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {way.origin} refused: {words}", flush=True)
                self.refused[way.origin] = words
            elif self.refused.pop(way.origin, ""):
                print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {way.origin} passed", flush=True)
        self.tell()

    def tell(self) -> None:
        with self.lock:
            Path("state.new").write_text(json.dumps({"at": time.time(), "refused": self.refused}))
            Path("state.new").replace("state")

    # -- TCP --------------------------------------------------------------------------------------------------------

    def over_tcp(self, ways: Mapping[str, Way], listening: socket.socket) -> None:
        """Of one port; `ways` by the zone's name in lower case."""
        while listening.fileno() >= 0:
            try:
                peer, _ = listening.accept()
            except OSError:  # no descriptor, or whoever came has gone: without this way there is no other to the registry
                time.sleep(ACCEPT_AGAIN_SECONDS)
                continue
            if self.room.acquire(blocking=False):
                threading.Thread(target=self._connection, args=(ways, peer), daemon=True).start()
            else:
                peer.close()

    def _connection(self, ways: Mapping[str, Way], peer: socket.socket) -> None:
        way = None
        try:
            with peer:
                peer.settimeout(PATIENCE_SECONDS)
                message = _message(peer)
                if (way := ways.get(query_of(message[2:]).name)) is not None:
                    with _towards(way, socket.SOCK_STREAM) as primary:
                        self._relay(way, message, peer, primary)
        except Ended as ended:
            if way and str(ended):
                self.judged(way, str(ended))
        except ask.Unreadable as error:
            if way:
                self.judged(way, f"a transfer that cannot be read: {error}")
        except OSError:
            return
        finally:
            self.room.release()

    def _relay(self, way: Way, message: bytes, peer: socket.socket, primary: socket.socket) -> None:
        """Question by question, until one side has enough; all of them of one zone."""
        primary.settimeout(PATIENCE_SECONDS)
        while (query := query_of(message[2:])).name == way.origin.lower():
            primary.sendall(message)
            if query.type in (AXFR, IXFR):
                self._transfer(way, query, peer, primary)
            else:
                peer.sendall(_message(primary))
            message = _message(peer)

    def _transfer(self, way: Way, query: Query, peer: socket.socket, primary: socket.socket) -> None:
        watch = Watch(query, *(_present(way) if query.type == IXFR else (set(), set())))
        while not watch.take((message := _message(primary))[2:]):
            peer.sendall(message)
        if not watch.refused:
            if words := trouble(way.origin, watch.keys, watch.signatures, way.anchors, int(time.time())):
                raise Ended(f"serial {watch.serial}: {words}")
            self.judged(way, "")
        peer.sendall(message)

    # -- UDP --------------------------------------------------------------------------------------------------------

    def over_udp(self, ways: Mapping[str, Way], listening: socket.socket) -> None:
        while True:
            with contextlib.suppress(OSError, ask.Unreadable):
                message, peer = listening.recvfrom(65535)
                query = query_of(message)
                if query.type == ask.SOA and (way := ways.get(query.name)):
                    with _towards(way, socket.SOCK_DGRAM) as primary:
                        primary.settimeout(UDP_SECONDS)
                        primary.send(message)
                        listening.sendto(primary.recv(65535), peer)


def _towards(way: Way, kind: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in way.primary[0] else socket.AF_INET, kind)
    try:
        made.settimeout(PATIENCE_SECONDS)
        made.bind((way.source, 0))
        made.connect(way.primary)
    except OSError:
        made.close()
        raise
    return made


def _message(peer: socket.socket) -> bytes:
    """One message with its length before it. Raises Ended; OSError, as TimeoutError when all of it is not there in time: whoever sends an octet now and then would
    else hold a place for ever, and the places are all zones'."""
    try:
        return ask.framed(peer, time.monotonic() + PATIENCE_SECONDS)
    except EOFError:
        raise Ended from None
    finally:
        peer.settimeout(PATIENCE_SECONDS)


def _present(way: Way) -> tuple[set[bytes], set[bytes]]:
    """The DNSKEY set that the gate's Knot has now, and the signatures over it; empty where it has no version yet. Raises OSError, Unreadable."""
    reply = ask.ask(way.own, way.origin, ask.DNSKEY, timeout_seconds=5.0)
    if reply.code:
        return set(), set()
    keys = {each.rdata for each in reply.records if each.type == ask.DNSKEY}
    return keys, {each.rdata for each in reply.records if each.type == ask.RRSIG}


def main(settings: Mapping[str, Any]) -> None:
    """Guard, for ever."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    guard = Guard()
    ports: dict[int, dict[str, Way]] = {}
    for each in settings["ways"]:
        way = Way(each["origin"], each["port"], tuple(each["primary"]), each["source"], settings["own"], tuple(each["anchors"]))
        ports.setdefault(way.port, {})[way.origin.lower()] = way
    for port, ways in ports.items():
        listening = socket.create_server((HERE, port))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((HERE, port))
        threading.Thread(target=guard.over_tcp, args=(ways, listening), daemon=True).start()
        threading.Thread(target=guard.over_udp, args=(ways, datagrams), daemon=True).start()
    guard.tell()
    refresh(settings["knot"], sorted({each["origin"] for each in settings["ways"]}))
    while True:
        time.sleep(BEAT_SECONDS)
        guard.tell()


def refresh(socket_path: str, origins: Sequence[str]) -> None:
    """Let Knot, where it runs already, try again at once: with other anchors what was refused may pass."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(["knotc", "-s", socket_path, "zone-refresh", *origins], capture_output=True, check=False, timeout=5)


if __name__ == "__main__":
    os.umask(0o077)
    main(json.loads(Path(sys.argv[1]).read_text()))
