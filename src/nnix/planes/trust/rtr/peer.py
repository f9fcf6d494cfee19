"""Peer: one router's connection, which may be slow, silent or hostile without anybody else noticing.

A peer has one answer under way at most. Until it is out, nothing more is read from the socket, so a flood of queries fills the
router's own send buffer and then stops. What is held for a peer is its inbox, of HEARD_OCTETS_MAX octets at most, and how far it
has got in an image that all share. The kernel holds what is on its way: NOT_SENT_OCTETS bounds that.

Images go from the page cache to the socket by sendfile(2), SLICE_OCTETS a turn, so that all peers with room get their turn. TLS
encrypts in this process and has no sendfile. Who asks more often than ASKS_PER_SECOND, after ASKS_BURST at once, has to wait
until it is read again: an old change takes up to 50 ms to put together, and nobody may spend ours without end.

Clocks that end a connection: OPENING for the first query, the TLS handshake included; HALF_PDU for the remainder of a PDU that
was begun; STALLED without a single octet taken; ANSWER for an answer as a whole, which ends those who take an octet now and
then; PARTING for those who were told to go.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from nnix.planes.trust.rtr.session import HEARD_OCTETS_MAX, Session

SLICE_OCTETS = 1 << 20
TLS_PIECE_OCTETS = 1 << 16
NOT_SENT_OCTETS = 1 << 18
OPENING_SECONDS = 10.0
HALF_PDU_SECONDS = 10.0
STALLED_SECONDS = 60.0
ANSWER_SECONDS = 900.0
PARTING_SECONDS = 5.0
ASKS_BURST, ASKS_PER_SECOND = 20.0, 2.0

T = TypeVar("T")


class Image:
    """Octets that many are sent: a file in memory, which goes when the last who needs it lets go."""

    def __init__(self, octets: bytes) -> None:
        self.size = len(octets)
        self.descriptor = os.memfd_create("rtr-image", os.MFD_CLOEXEC)
        view = memoryview(octets)
        while view:
            view = view[os.write(self.descriptor, view) :]

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self.descriptor)


class Gone(Exception):
    """The connection is over. The message says why; empty when the router just left."""


class Peer:
    """A connection and what is known of the router. The methods raise Gone when it is over; `close` is left to the caller."""

    def __init__(self, link: socket.socket, address: tuple[str, int], transport: str, now: float) -> None:
        self.link, self.address, self.transport = link, address, transport
        self.session = Session()
        self.connected_at = self.inbox_since = self.sent_at = now
        self.asked_at: float | None = None
        self.inbox = bytearray()
        self.octets_sent = 0
        self.serial: int | None = None  # of the last End of Data that is all out
        self.in_step_at: float | None = None  # when that was: from then on the router counts until it expires
        self.notified_at: float | None = None
        self.notified_serial: int | None = None
        self.parting_at: float | None = None
        self.why = ""
        self._outbox: deque[tuple[bytes | Image, int]] = deque()
        self._answer_serial: int | None = None
        self._answer_at = now
        self._asks, self._asks_at = ASKS_BURST, now
        self.waits = False  # for its next question to be heard
        self._shaking = isinstance(link, ssl.SSLSocket)
        self._tls_wants = 0
        link.setblocking(False)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", 25), NOT_SENT_OCTETS)
        for option, value in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)):
            link.setsockopt(socket.IPPROTO_TCP, option, value)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @property
    def busy(self) -> bool:
        """An answer is under way."""
        return bool(self._outbox)

    @property
    def events(self) -> int:
        """What to wait for, in epoll's words."""
        if self._tls_wants:
            return self._tls_wants
        if self.waits:
            return 0
        return select.EPOLLOUT if self._outbox else select.EPOLLIN

    def put(self, what: bytes | Image, now: float, serial: int | None = None) -> None:
        """Queue an answer; `serial` is what the router has when it is all out."""
        if not self._outbox:
            self._answer_at = self.sent_at = now
        self._outbox.append((what, 0))
        self._answer_serial = serial if serial is not None else self._answer_serial

    def may_ask(self, now: float) -> bool:
        """Whether another question is heard already; it is counted then."""
        self._asks = min(ASKS_BURST, self._asks + (now - self._asks_at) * ASKS_PER_SECOND)
        self._asks_at = now
        self.waits = self._asks < 1
        if not self.waits:
            self._asks -= 1
        return not self.waits

    def part(self, why: str, now: float) -> None:
        """Send what is queued, then close; nothing is read any more."""
        self.why, self.parting_at = why, now
        self.inbox.clear()

    def receive(self, now: float) -> None:
        """Read what there is, as far as there is room for it."""
        if self._shaking and not self._shake():
            return
        room = HEARD_OCTETS_MAX - len(self.inbox)
        octets = self._guarded(lambda: self.link.recv(room))
        if octets is None:
            return
        if octets == b"":
            raise Gone(self.why)
        if self.parting_at is not None:
            return
        if not self.inbox:
            self.inbox_since = now
        self.inbox += octets

    def pending(self) -> bool:
        """TLS has octets that epoll does not know of."""
        return isinstance(self.link, ssl.SSLSocket) and not self._shaking and self.link.pending() > 0

    def send(self, now: float) -> None:
        """Send what the socket takes, a slice at most."""
        if self._shaking and not self._shake():
            return
        room = SLICE_OCTETS
        while self._outbox and room > 0:
            what, at = self._outbox[0]
            size = what.size if isinstance(what, Image) else len(what)
            sent = self._guarded(partial(self._sent, what, at, min(room, size - at)))
            if sent is None:
                return
            self.octets_sent += sent
            self.sent_at = now
            room -= sent
            if at + sent < size:
                self._outbox[0] = (what, at + sent)
                continue
            self._outbox.popleft()
        if not self._outbox:
            if self._answer_serial is not None:
                self.serial, self._answer_serial, self.in_step_at = self._answer_serial, None, now
            self.inbox_since = now
            if self.parting_at is not None:
                with suppress(OSError):
                    self.link.shutdown(socket.SHUT_WR)

    def _sent(self, what: bytes | Image, at: int, room: int) -> int:
        if isinstance(what, bytes):
            return self.link.send(what[at : at + room])
        if isinstance(self.link, ssl.SSLSocket):
            return self.link.send(os.pread(what.descriptor, min(room, TLS_PIECE_OCTETS), at))
        return os.sendfile(self.link.fileno(), what.descriptor, at, room)

    def _shake(self) -> bool:
        """Whether TLS is ready."""

        def shake() -> bool:
            if isinstance(self.link, ssl.SSLSocket):
                self.link.do_handshake()
            return True

        self._shaking = not self._guarded(shake)
        return not self._shaking

    def _guarded(self, act: Callable[[], T]) -> T | None:
        """What `act` returns; None when the socket is not ready for it. Raises Gone."""
        self._tls_wants = 0
        try:
            return act()
        except ssl.SSLWantReadError:
            self._tls_wants = select.EPOLLIN
        except ssl.SSLWantWriteError:
            self._tls_wants = select.EPOLLOUT
        except BlockingIOError:
            return None
        except OSError as error:
            raise Gone(self.why or error.strerror or str(error)) from None
        return None

    def overdue(self, now: float) -> str:
        """Why its time is up; empty while it is not."""
        if self.parting_at is not None:
            return self.why if now - self.parting_at > PARTING_SECONDS else ""
        if self._outbox:
            if now - self.sent_at > STALLED_SECONDS:
                return f"took nothing for {STALLED_SECONDS:.0f} s"
            return f"took more than {ANSWER_SECONDS:.0f} s for an answer" if now - self._answer_at > ANSWER_SECONDS else ""
        if self.session.version is None and now - self.connected_at > OPENING_SECONDS:
            return f"asked nothing within {OPENING_SECONDS:.0f} s"
        if self.inbox and not self.waits and now - self.inbox_since > HALF_PDU_SECONDS:
            return f"sent no more than {len(self.inbox)} octets of a PDU within {HALF_PDU_SECONDS:.0f} s"
        return ""

    def close(self) -> None:
        """At once. A loader that was forked meanwhile has the socket too, so it is shut down first."""
        with suppress(OSError, ValueError):
            self.link.shutdown(socket.SHUT_RDWR)
        self.link.close()
