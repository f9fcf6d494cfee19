"""One file over HTTPS, within bounds: of size, as sent and as unpacked; of time, for all of it together; and of place.

A server can be slow in every way there is: it has many addresses at which nobody answers, it accepts and is silent, sends its head a letter at a time, or a body
without an end. Time limits of single reads do not end that, so what is left of the time goes from one address to the next, and an alarm shuts the
connection when it is over, whatever is going on in it.

Redirections are followed within one origin and not beyond (RFC 9674), a few times. A packed body is unpacked piece by piece, so that a small one that
would become a huge one ends at the same limit as a huge one.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nnix import __version__
from nnix.kernel.world import DISK_FULL
from nnix.planes.trust.mirror.reasons import Reason, Rejected
from nnix.planes.trust.mirror.uris import origin, redirected, target

REDIRECTIONS_MAX = 3
CHUNK_OCTETS = 64 << 10


class Got(NamedTuple):
    """A file that was fetched. `digest` is its SHA-256; `tags` are what a later request can ask about, to be told that nothing changed."""

    digest: str
    octets: int
    tags: Mapping[str, str]


UNCHANGED = Got("", 0, {})


@dataclass(frozen=True)
class Web:
    """How HTTPS is spoken: `context` says whose certificates count."""

    context: ssl.SSLContext

    def get(self, uri: str, into: Path, octets_max: int, until: float, tags: Mapping[str, str] | None = None) -> Got:
        """Fetch `uri` into the file `into`; UNCHANGED where the server says so about `tags`. `until` is on the monotonic clock. Raises Rejected;
        OSError when our own disk is full."""
        for _ in range(REDIRECTIONS_MAX + 1):
            found = self._once(uri, into, octets_max, until, tags or {})
            if isinstance(found, Got):
                return found
            uri = redirected(uri, found)
        raise Rejected(Reason.REDIRECTED, f"{uri}: more than {REDIRECTIONS_MAX} redirections")

    def _once(self, uri: str, into: Path, octets_max: int, until: float, tags: Mapping[str, str]) -> Got | str:
        """The file, or where it is said to be."""
        if time.monotonic() >= until:
            raise Rejected(Reason.SLOW, f"{uri}: no time is left for it")
        host, port = origin(uri)
        connection = http.client.HTTPSConnection(host, port)
        over = threading.Event()
        alarm: threading.Timer | None = None
        try:
            connection.sock = link = self._connected(host, port, until)

            def ring() -> None:
                over.set()
                with suppress(OSError):
                    socket.socket.shutdown(link, socket.SHUT_RDWR)  # not SSLSocket's, which touches what another thread is using

            alarm = threading.Timer(until - time.monotonic(), ring)
            alarm.daemon = True
            alarm.start()
            connection.request("GET", target(uri), headers={"User-Agent": f"nnix/{__version__}", "Accept-Encoding": "gzip", **tags})
            answer = connection.getresponse()
            if answer.status in (301, 302, 303, 307, 308):
                return answer.getheader("Location") or ""
            if answer.status == 304 and tags:
                return UNCHANGED
            if answer.status != 200:
                raise Rejected(Reason.STATUS, f"{uri}: status {answer.status}")
            got = _written(_body(answer, octets_max, uri), into, _tags(answer))
            if over.is_set():
                raise TimeoutError
            return got
        except Rejected:
            if over.is_set():  # then the end that was seen was our own doing
                raise Rejected(Reason.SLOW, f"{uri}: it did not end in time") from None
            raise
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:  # the last of a port that is none
            if over.is_set() or isinstance(error, TimeoutError):
                raise Rejected(Reason.SLOW, f"{uri}: it did not end in time") from None
            if isinstance(error, OSError) and error.errno in DISK_FULL:  # ours: no fault of the server
                raise
            raise Rejected(Reason.UNREACHABLE, f"{uri}: {error or type(error).__name__}") from None
        finally:
            if alarm is not None:
                alarm.cancel()
            connection.close()

    def _connected(self, host: str, port: int, until: float) -> ssl.SSLSocket:
        """TLS with the first of the host's addresses that takes us. Raises OSError, OverflowError."""
        fault: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            link = socket.socket(family, kind, protocol)
            try:
                link.settimeout(_left(until))
                link.connect(address)
                link.settimeout(_left(until))  # a handshake has it for all of its messages together
                return self.context.wrap_socket(link, server_hostname=host)
            except OSError as error:
                link.close()
                fault = error
        raise fault


def _left(until: float) -> float:
    """Raises TimeoutError when nothing is."""
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _tags(answer: http.client.HTTPResponse) -> dict[str, str]:
    """What to send next time: If-None-Match or, where the server gives no ETag, If-Modified-Since (RFC 8182, 3.4.1; RFC 9110, 13.1)."""
    for given, asked in (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since")):
        value = (answer.getheader(given) or "").strip()
        if value and len(value) <= 256 and value.isascii() and value.isprintable():
            return {asked: value}
    return {}


def _body(answer: http.client.HTTPResponse, octets_max: int, uri: str) -> Iterator[bytes]:
    """The unpacked body. Raises Rejected."""
    encoding = (answer.getheader("Content-Encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise Rejected(Reason.ENCODING, f"{uri}: content encoding {encoding[:40]!r}, which nobody asked for")
    length = answer.getheader("Content-Length")
    expected = int(length) if length and length.isdigit() else None
    if expected is not None and expected > octets_max:
        raise Rejected(Reason.TOO_LARGE, f"{uri}: {length} octets, more than {octets_max}")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding != "identity" else None
    total = received = 0
    while chunk := answer.read1(CHUNK_OCTETS):  # read() takes a chunk of -1 octets for all that will ever come, and puts that into memory
        received += len(chunk)
        while chunk:
            if unpacker is None:
                piece, chunk = chunk, b""
            else:
                piece = _unpacked(unpacker, chunk, uri)
                if unpacker.unused_data:
                    raise Rejected(Reason.ENCODING, f"{uri}: something behind the end of the packed body")
                chunk = unpacker.unconsumed_tail
            total += len(piece)
            if total > octets_max or received > octets_max:
                raise Rejected(Reason.TOO_LARGE, f"{uri}: more than {octets_max} octets")
            yield piece
    if expected is not None and received != expected:
        raise Rejected(Reason.UNREACHABLE, f"{uri}: ended after {received} of {expected} octets")
    if unpacker is not None:
        while piece := _unpacked(unpacker, unpacker.unconsumed_tail, uri):
            total += len(piece)
            if total > octets_max:
                raise Rejected(Reason.TOO_LARGE, f"{uri}: more than {octets_max} octets")
            yield piece
        if not unpacker.eof:
            raise Rejected(Reason.ENCODING, f"{uri}: the packed body is cut off")


def _unpacked(unpacker: zlib._Decompress, chunk: bytes, uri: str) -> bytes:
    """What comes of `chunk`, as far as CHUNK_OCTETS. Raises Rejected."""
    try:
        return unpacker.decompress(chunk, CHUNK_OCTETS)
    except zlib.error as error:
        raise Rejected(Reason.ENCODING, f"{uri}: {error}") from None


def _written(pieces: Iterator[bytes], into: Path, tags: Mapping[str, str]) -> Got:
    digest, octets = hashlib.sha256(), 0
    with into.open("wb") as file:
        for piece in pieces:
            digest.update(piece)
            octets += len(piece)
            file.write(piece)
    return Got(digest.hexdigest(), octets, tags)


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """TLS as clients speak it; `authorities` is a file of certificates that count instead of the system's. Raises OSError."""
    context = ssl.create_default_context(cafile=str(authorities) if authorities else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
