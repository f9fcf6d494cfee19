"""The RTR server: one process that holds the tables, the routers' connections and the files (`rtr` says what is answered).

    python -m nnix.planes.trust.serve CONFIGURATION.json

One thread waits on epoll for listeners, routers and the loader's end; nothing in it waits for anything else. An answer is an
image that all routers share, sent from the page cache. A document is read by a child process.

A table is in one of three states:

    serving    the newest document was taken
    held       the newest document is missing or refused; the set before it is served on, and the reason is told
    no data    there is no set, or it was made longer ago than age_seconds_max: queries get Error Report 2

What is deliberately not here: validation, comparison and exceptions (the gate's), dropping single VRPs whose objects have expired
(the gate's as well: losing one VRP turns its route invalid in more than half of all cases), SSH (sshd's), and TCP-AO.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import secrets
import select
import signal
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

from pydantic import ValidationError

from nnix.kernel.rule import Refusal, Refused
from nnix.planes.trust.rtr import images
from nnix.planes.trust.rtr.history import SERIALS, SESSIONS, History, begun
from nnix.planes.trust.rtr.keeping import Corrupt, read_back
from nnix.planes.trust.rtr.loader import LOAD_SECONDS_MAX, Loading, Outcome, Task, load
from nnix.planes.trust.rtr.peer import Gone, Image, Peer
from nnix.planes.trust.rtr.routers import STATUS
from nnix.planes.trust.rtr.session import Complain, Full, Heard, Leave, Offer, Partial, StartAnew, hear
from nnix.planes.trust.rtr.tables import Caches, Md5, Table
from nnix.planes.trust.rtr.wire import LENGTHS, CacheReset, ErrorCode, ErrorReport, PduType, SerialNotify, encode

ACCEPTS_A_TURN = 64
IMAGES_MAX, IMAGES_OCTETS_MAX = 256, 64 << 20  # of changes, in memory at once, also those that only slow routers still take
AGAIN_SECONDS = 10.0  # until a document is looked at again that a clock, a permission or a want of memory has refused
STATUS_SECONDS = 10.0  # when nothing happens; otherwise with every look
ROW_OCTETS = LENGTHS[0][PduType.IPV6_PREFIX][1]  # the larger of those that are many
DESCRIPTORS_SPARE = 256
TCP_MD5SIG_EXT, TCP_MD5SIG_FLAG_PREFIX = 32, 1  # linux/tcp.h
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Served:
    """A table at work."""

    table: Table
    kept_at: Path
    history: History | None = None
    held: str = ""  # why the newest document is not what is served
    loaded_digest: str = ""
    dated: bool = True  # the document says when it was made
    looked: tuple[int, ...] | None = None  # what the file was when it was loaded last
    again_at: float | None = None  # when that is loaded once more, though it is the same
    loading: Loading | None = None
    tls: ssl.SSLContext | None = None
    peers: dict[int, Peer] = field(default_factory=dict)
    addresses: Counter[str] = field(default_factory=Counter)
    images: dict[tuple[int, int | None], Image] = field(default_factory=dict)  # of the newest serial
    changes: WeakSet[Image] = field(default_factory=WeakSet)  # images of changes that somebody holds still
    accepted: int = 0
    turned_away: int = 0
    last_gone: dict[str, Any] | None = None

    def offer(self, now: float) -> Offer:
        """What may be served at `now`, in seconds since 1970."""
        return Offer(self.table.versions, self.history if self.alive(now) else None)

    def has_news(self, peer: Peer) -> bool:
        """Whether there is a serial that the router has not, and was not told of."""
        return self.history is not None and self.history.serial not in (peer.serial, peer.notified_serial)

    def alive(self, now: float) -> bool:
        return self.history is not None and now - self.history.built <= self.table.age_seconds_max

    def room_for(self, version: int, serial: int, history: History) -> bool:
        """Whether a router at `serial` may be told what changed; otherwise it gets the full set, which all share.

        Routers, or one that pretends, may be at any of 300 serials in three versions, and may take each as slowly as they like. What is made for
        one of them takes no more than half of the room that is left, so that small changes find some always.
        """
        if (version, serial) in self.images:
            return True
        left = IMAGES_OCTETS_MAX - sum(each.size for each in self.changes)
        return len(self.changes) < IMAGES_MAX and 2 * history.rows_since(serial) * ROW_OCTETS <= left

    def state(self, now: float) -> tuple[str, str]:
        """One word, and the reason."""
        if self.alive(now):
            return ("held", self.held) if self.held else ("serving", "")
        if self.history is None:
            return "no data", self.held or "no document was loaded yet"
        return "no data", self.held or f"the newest document is older than {self.table.age_seconds_max} s"


class Server:
    """All tables. `run` returns after SIGTERM or SIGINT."""

    def __init__(self, caches: Caches, say: Callable[[str], None]) -> None:
        self.caches, self.say = caches, say
        self.state = Path(caches.state)
        self.state.mkdir(parents=True, exist_ok=True, mode=0o755)
        self.lock = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.served = [Served(each, self.state / f"{each.name}.history") for each in caches.tables]
        self.epoll = select.epoll()
        self.listeners: dict[int, tuple[Served, socket.socket, str]] = {}
        self.tables_of: dict[int, Served] = {}
        self.loaders: dict[int, Served] = {}
        self.paused: list[int] = []
        self.stopping = False
        self.look_now, self.nudged = True, False
        self.touched = True
        self.written_at = 0.0

    # beginning

    def begin(self) -> None:
        """Take the folder, the histories and the sockets. Raises OSError; Refused, where it is a field of the configuration that cannot be."""
        signal.signal(signal.SIGHUP, self._look)  # before waiting: it would end us, and a reload during a start is no reason to
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.say("another server, or its loader, has the state folder; waiting for it to end")
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        wanted = sum(each.peers_max + len(each.listen) + IMAGES_MAX for each in self.caches.tables) + DESCRIPTORS_SPARE
        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most != resource.RLIM_INFINITY and wanted > most:
            raise _refused("", "peers_max", f"{wanted} open files are asked for, and {most} are allowed", "rtr.files-allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, now), most))
        for each in self.served:
            each.history = self._kept(each)
            each.tls = _tls(each.table)
            for number, listener in enumerate(each.table.listen):
                try:
                    self._listen(each, listener.address, listener.port, listener.transport)
                except OSError as error:
                    where = f"{listener.address} port {listener.port} ({listener.transport}): {error.strerror or error}"
                    raise _refused(each.table.name, f"listen.{number}", where, "rtr.can-listen") from None

    def _kept(self, served: Served) -> History | None:
        try:
            octets = served.kept_at.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.say(f"{served.table.name}: its history cannot be read ({error.strerror}): a new session begins")
            return None
        try:
            history = read_back(octets)
            fault = history.fault()
        except Corrupt as wrong:
            fault = str(wrong)
        if fault:
            self.say(f"{served.table.name}: its history is not trusted ({fault}): a new session begins")
            return None
        return history

    def _listen(self, served: Served, address: str, port: int, transport: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        link = socket.socket(family, socket.SOCK_STREAM)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for each in served.table.md5 if transport == "md5" else ():
            if each.prefix.version == (6 if family == socket.AF_INET6 else 4):
                _sign(link, each)
        link.bind((address, port))
        link.listen(1024)
        link.setblocking(False)
        self.listeners[link.fileno()] = (served, link, transport)
        self.epoll.register(link.fileno(), select.EPOLLIN)
        self.say(f"{served.table.name}: listens on {address} port {link.getsockname()[1]} ({transport})")

    # the loop

    def run(self) -> None:
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        self.epoll.register(woken, select.EPOLLIN)
        next_look = 0.0
        while not self.stopping:
            for descriptor, events in self.epoll.poll(max(0.0, next_look - time.monotonic())):
                if descriptor == woken:
                    os.read(woken, 4096)
                elif descriptor in self.listeners:
                    self._accept(descriptor)
                elif descriptor in self.loaders:
                    self._take(descriptor)
                else:
                    self._serve(descriptor, events)
            if self.look_now or time.monotonic() >= next_look:
                self.look_now = False
                self._tick()
                next_look = time.monotonic() + self.caches.look_seconds
        self._end()

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _look(self, *_: object) -> None:
        self.look_now = self.nudged = True

    def _tick(self) -> None:
        now = time.monotonic()
        for descriptor in self.paused:
            self.epoll.register(descriptor, select.EPOLLIN)
        self.paused = []
        if self.nudged:
            self.nudged = False
            self._anew()
        for served in self.served:
            self._look_at(served, now)
            for descriptor, peer in list(served.peers.items()):
                if why := peer.overdue(now):
                    self._let_go(descriptor, why)
                elif peer.waits or served.has_news(peer):
                    peer.waits = False
                    self._serve(descriptor, 0)
        if self.touched or now - self.written_at >= STATUS_SECONDS:
            self._write_status(now)

    def _end(self) -> None:
        for served in self.served:
            if served.loading is not None:
                served.loading.stop()
                served.loading.ended()
            for descriptor in list(served.peers):
                self._let_go(descriptor, "the server ends")
        for _, link, _ in self.listeners.values():
            link.close()
        self._write_status(time.monotonic())
        self.epoll.close()
        os.close(self.lock)

    def _anew(self) -> None:
        """Look at every document and certificate as if never seen."""
        for served in self.served:
            served.looked = None
            try:
                served.tls = _tls(served.table)
            except Refused as refused:
                self.say(f"{served.table.name}: the certificate before is used on: {refused}")

    # documents

    def _look_at(self, served: Served, now: float) -> None:
        """Load the file when it is not the one that was loaded last."""
        if served.loading is not None:
            if now - served.loading.begun_at > LOAD_SECONDS_MAX:
                served.loading.stop()
            return
        try:
            about = Path(served.table.file).stat()
        except OSError as error:
            self._hold(served, f"the document {served.table.file} cannot be found: {error.strerror}")
            served.looked = None
            return
        looked = (about.st_ino, about.st_size, about.st_mtime_ns)
        if looked == served.looked and (served.again_at is None or now < served.again_at):
            return
        served.looked, served.again_at = looked, None
        task = Task(
            served.table.file,
            str(served.kept_at),
            served.loaded_digest,
            served.table.may_be_empty,
            served.table.marked,
            served.table.any_length,
            secrets.choice(SESSIONS),
            secrets.randbelow(SERIALS),
            time.time(),
        )
        try:
            served.loading = load(task, served.history, self.lock, now)
        except OSError as error:  # no process, no memory, no descriptor: the next look tries again
            self._hold(served, f"the document cannot be loaded: {error.strerror}")
            served.looked = None
            return
        self.loaders[served.loading.watch] = served
        self.epoll.register(served.loading.watch, select.EPOLLIN)

    def _take(self, descriptor: int) -> None:
        """The loader has ended."""
        served = self.loaders.pop(descriptor)
        self.epoll.unregister(descriptor)
        if served.loading is None:
            raise RuntimeError("a loader that nobody began has ended")
        outcome, found = served.loading.ended()
        served.loading = None
        if outcome.what == "refused":
            served.again_at = time.monotonic() + AGAIN_SECONDS if outcome.again else None
            self._hold(served, outcome.reason)
            return
        served.held = ""
        if found is not None:
            served.loaded_digest, served.dated = outcome.digest, outcome.dated
            self._adopt(served, outcome, found)
        elif served.history is not None and not served.dated:  # the same document was written again
            served.history = replace(served.history, built=outcome.built)
        self.touched = True

    def _hold(self, served: Served, reason: str) -> None:
        if served.held != reason:
            served.held = reason
            self.touched = True
            self.say(f"{served.table.name}: held: {reason}")

    def _adopt(self, served: Served, outcome: Outcome, found: History) -> None:
        before = served.history
        if outcome.unkept:
            others = [each for each in SESSIONS if each != found.session]
            found = begun(secrets.choice(others), secrets.randbelow(SERIALS), found.newest, found.built)
            self.say(
                f"{served.table.name}: the history cannot be kept ({outcome.unkept}): a new session begins, which a restart will not know"
            )
        served.history = found
        if before is not None and (before.session, before.serial) == (found.session, found.serial):
            return
        served.images.clear()
        counts = f"{found.newest.vrps} VRPs, {len(found.newest.keys)} router keys, {len(found.newest.aspas)} ASPAs"
        self.say(f"{served.table.name}: session {found.session}, serial {found.serial}: {counts}")
        if before is not None and before.session != found.session:
            for descriptor in list(served.peers):
                self._let_go(descriptor, "a new session has begun")
        for descriptor in list(served.peers):
            self._serve(descriptor, 0)

    # routers

    def _accept(self, descriptor: int) -> None:
        served, listener, transport = self.listeners[descriptor]
        for _ in range(ACCEPTS_A_TURN):
            try:
                link, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):  # would wake us without end
                    self.epoll.unregister(descriptor)
                    self.paused.append(descriptor)
                    return
                continue
            served.accepted += 1
            self.touched = True
            full = len(served.peers) >= served.table.peers_max and not self._made_room(served)
            if full or served.addresses[address[0]] >= served.table.peers_per_address_max:
                served.turned_away += 1
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                link.close()
                continue
            try:
                if transport == "tls" and served.tls is not None:
                    link = served.tls.wrap_socket(link, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True)
                peer = Peer(link, (address[0], address[1]), transport, time.monotonic())
            except OSError:
                link.close()
                continue
            served.peers[link.fileno()] = peer
            served.addresses[address[0]] += 1
            self.tables_of[link.fileno()] = served
            self.epoll.register(link.fileno(), peer.events)

    def _made_room(self, served: Served) -> bool:
        """Whether one could go who has not asked for anything yet, the oldest first."""
        for descriptor, peer in served.peers.items():
            if peer.session.version is None:
                self._let_go(descriptor, "made room: had asked for nothing yet")
                return True
        return False

    def _serve(self, descriptor: int, events: int) -> None:
        """A router has said something, or has room for more."""
        served = self.tables_of.get(descriptor)
        if served is None:
            return
        peer = served.peers[descriptor]
        now = time.monotonic()
        try:
            if events & select.EPOLLOUT or peer.busy:
                peer.send(now)
            if not peer.busy:
                if events & ~select.EPOLLOUT:
                    peer.receive(now)
                self._answer(served, peer, now)
                while peer.pending() and not peer.busy and len(peer.inbox) == 0:
                    peer.receive(now)
                    self._answer(served, peer, now)
            self._notify(served, peer, now)
            self.epoll.modify(descriptor, peer.events)
        except Gone as gone:
            self._let_go(descriptor, str(gone))
        except Exception as error:  # one router's answer must not end everybody's
            self.say(f"{served.table.name}: {peer.address[0]}: {type(error).__name__}: {error}")
            self._break_off(served, descriptor, peer, now)

    def _break_off(self, served: Served, descriptor: int, peer: Peer, now: float) -> None:
        """Our own fault: say so, and end it."""
        version = peer.session.version if peer.session.version is not None else served.table.version_most
        try:
            if not peer.busy:
                peer.put(encode(ErrorReport(version, ErrorCode.INTERNAL_ERROR, b"", "the cache has failed")), now)
                peer.send(now)
        except Gone:
            pass
        self._let_go(descriptor, "our own failure; see the log")

    def _answer(self, served: Served, peer: Peer, now: float) -> None:
        """Answer what is in the inbox, one query after the other, until an answer does not go out at once."""
        while not peer.busy and peer.parting_at is None:
            heard = hear(peer.session, peer.inbox, served.offer(time.time()))
            if heard is None or not peer.may_ask(now):
                return
            del peer.inbox[: heard.octets]
            peer.session, peer.asked_at = heard.session, now
            self.touched = True
            self._put(served, peer, heard, now)
            peer.send(now)

    def _put(self, served: Served, peer: Peer, heard: Heard, now: float) -> None:
        history = served.history
        match heard.answer:
            case Full(version) if history is not None:
                peer.put(
                    self._image(served, version, None, lambda: images.full(history, version, served.table.intervals)), now, history.serial
                )
            case Partial(version, serial) if history is not None and not served.room_for(version, serial, history):
                peer.put(encode(CacheReset(version)), now)
            case Partial(version, serial) if history is not None:
                made = self._image(served, version, serial, lambda: images.partial(history, version, served.table.intervals, serial))
                served.changes.add(made)
                peer.put(made, now, history.serial)
            case StartAnew(version):
                peer.put(encode(CacheReset(version)), now)
            case Complain(report, ends):
                peer.put(encode(report), now)
                if ends:
                    peer.part(report.text, now)
            case Leave(why):
                raise Gone(why)
            case _:
                raise RuntimeError("an answer from a history that is not there")

    def _image(self, served: Served, version: int, since: int | None, make: Callable[[], bytes]) -> Image:
        made = served.images.get((version, since))
        if made is None:
            made = served.images[version, since] = Image(make())
        return made

    def _notify(self, served: Served, peer: Peer, now: float) -> None:
        """Tell a router that there is something new; not before it has a version, nor within an answer, nor too often (RFC 8210, 5.2). Raises Gone."""
        history, version = served.history, peer.session.version
        if history is None or version is None or peer.busy or peer.parting_at is not None or not peer.session.told:
            return
        if not served.has_news(peer) or not served.alive(time.time()):
            return
        if peer.notified_at is not None and now - peer.notified_at < served.table.notify_seconds_min:
            return
        peer.notified_at, peer.notified_serial = now, history.serial
        peer.put(encode(SerialNotify(version, history.session_of(version), history.serial)), now)
        peer.send(now)

    def _let_go(self, descriptor: int, why: str) -> None:
        """Close a router's connection, and remember why."""
        served = self.tables_of.pop(descriptor, None)
        if served is None:
            return
        peer = served.peers.pop(descriptor)
        served.addresses[peer.address[0]] -= 1
        if not served.addresses[peer.address[0]]:
            del served.addresses[peer.address[0]]
        if why:
            served.last_gone = {"address": peer.address[0], "at": time.time(), "why": why}
        self.touched = True
        with suppress(OSError, ValueError):
            self.epoll.unregister(descriptor)
        peer.close()

    # status

    def _write_status(self, now: float) -> None:
        self.written_at, self.touched = now, False
        wall = time.time()
        status = {"written": wall, "tables": [_status(each, now, wall) for each in self.served]}
        beside = self.state / f"{STATUS}.new"
        try:
            beside.write_text(json.dumps(status))
            beside.replace(self.state / STATUS)
        except OSError as error:
            self.say(f"the status cannot be written: {error.strerror}")


def _status(served: Served, now: float, wall: float) -> dict[str, Any]:
    state, reason = served.state(wall)
    history = served.history
    return {
        "name": served.table.name,
        "file": served.table.file,
        "state": state,
        "reason": reason,
        "session": None if history is None else history.session,
        "serial": None if history is None else history.serial,
        "built": None if history is None else history.built,
        "vrps": 0 if history is None else history.newest.vrps,
        "router_keys": 0 if history is None else len(history.newest.keys),
        "aspas": 0 if history is None else len(history.newest.aspas),
        "digest": None if history is None else history.newest.digest,
        "changes_remembered": 0 if history is None else len(history.changes),
        "accepted": served.accepted,
        "turned_away": served.turned_away,
        "last_gone": served.last_gone,
        "peers": [
            {
                "address": peer.address[0],
                "port": peer.address[1],
                "transport": peer.transport,
                "version": peer.session.version,
                "serial": peer.serial,
                "asked_seconds": None if peer.asked_at is None else round(now - peer.asked_at, 1),
                "in_step_seconds": None if peer.in_step_at is None else round(now - peer.in_step_at, 1),
                "connected_seconds": round(now - peer.connected_at, 1),
                "octets_sent": peer.octets_sent,
                "sending": peer.busy,
            }
            for peer in served.peers.values()
        ],
    }


def _tls(table: Table) -> ssl.SSLContext | None:
    if table.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, file in (("certificate", table.tls.certificate), ("key", table.tls.key), ("client_ca", table.tls.client_ca)):
        try:
            if file is not None:
                Path(file).read_bytes()
        except OSError as error:
            raise _refused(table.name, f"tls.{name}", f"{file}: {error.strerror}", "rtr.tls-files-are-right") from None
    try:
        context.load_cert_chain(table.tls.certificate, table.tls.key, password=lambda: b"")
    except ssl.SSLError as error:
        found = f"{table.tls.certificate} and {table.tls.key} do not make a server: {error.reason or 'no certificate or no key in PEM'}"
        raise _refused(table.name, "tls.certificate", found, "rtr.tls-files-are-right") from None
    if table.tls.client_ca is not None:
        try:
            context.load_verify_locations(table.tls.client_ca)
        except ssl.SSLError as error:
            found = f"{table.tls.client_ca}: {error.reason or 'no certificate in PEM'}"
            raise _refused(table.name, "tls.client_ca", found, "rtr.tls-files-are-right") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


_MENDS = {
    "rtr.configuration-reads": (
        "what docs/rtr.md lists, By hand",
        "give the field that is named such a value, or leave it out for its default",
    ),
    "rtr.can-listen": (
        "an address of this machine, and a port that nobody else has",
        "`ip address` lists the addresses, `ss -ltnp` who has the port; below 1024 it takes root or CAP_NET_BIND_SERVICE",
    ),
    "rtr.files-allowed": ("as many as `ulimit -Hn` says", "raise LimitNOFILE of the service (`ulimit -Hn` in a shell), or lower peers_max"),
    "rtr.tls-files-are-right": (
        "files in PEM: the chain with the server's own first, its key without a passphrase, and the CA of the routers",
        "`openssl x509 -in FILE -noout -subject` and `openssl pkey -in FILE -noout` read them as this server does",
    ),
}


def _refused(table: str, field_name: str, found: str, rule: str) -> Refused:
    accept, mend = _MENDS[rule]
    return Refused([Refusal(f"table/{table}" if table else "tables", field_name, found, accept, rule, "docs/rtr.md", mend)])


def _sign(link: socket.socket, key: Md5) -> None:
    """Segments from and to these peers are signed, and others are dropped by the kernel (tcp(7), TCP_MD5SIG_EXT). Raises OSError."""
    family, octets = (socket.AF_INET, 4) if key.prefix.version == 4 else (socket.AF_INET6, 8)  # where the address begins in its sockaddr
    address = struct.pack("=H", family).ljust(octets, b"\0") + key.prefix.network_address.packed
    secret = key.key.encode()
    told = address.ljust(128, b"\0") + struct.pack("=BBHi80s", TCP_MD5SIG_FLAG_PREFIX, key.prefix.prefixlen, len(secret), 0, secret)
    try:
        link.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG_EXT, told)
    except OSError as error:
        raise OSError(error.errno, f"TCP-MD5 is not to be had ({error.strerror}): a kernel with CONFIG_TCP_MD5SIG has it") from None


def _say(words: str) -> None:
    """For the log. That nobody reads it any more is no reason to stop serving."""
    with suppress(OSError):
        print(words, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Serve what the configuration says, until SIGTERM."""
    if len(arguments) != 1:
        print("usage: python -m nnix.planes.trust.serve CONFIGURATION.json", file=sys.stderr)
        return 2
    try:
        caches = Caches.model_validate_json(Path(arguments[0]).read_bytes())
    except OSError as error:
        print(f"{arguments[0]}: {error.strerror}", file=sys.stderr)
        return 2
    except ValidationError as error:
        found = error.errors(include_url=False)
        for each in found:  # what is wrong within a part is said there, and not once more of the part
            if not any(len(other["loc"]) > len(each["loc"]) and other["loc"][: len(each["loc"])] == each["loc"] for other in found):
                accept, mend = _MENDS["rtr.configuration-reads"]
                field_name = ".".join(map(str, each["loc"]))
                print(
                    Refusal(arguments[0], field_name, each["msg"], accept, "rtr.configuration-reads", "docs/rtr.md", mend), file=sys.stderr
                )
        return 2
    try:
        server = Server(caches, _say)
        server.begin()
    except Refused as refused:
        print(f"cannot serve:\n{refused}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot serve: {error}", file=sys.stderr)
        return 1
    server.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
