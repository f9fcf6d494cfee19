"""The published files over HTTPS: RRDP, trust anchors' certificates, TALs, checkpoints. Read only, by a closed list of paths.

    /REPOSITORY/notification.xml                  made of the record in force, at each request
    /REPOSITORY/SESSION/SERIAL/*.xml              files that this record or the one before names; nothing else that lies there
    /REPOSITORY/checkpoint                        of the same record
    /ta/ANCHOR.cer, /tals/ANCHOR.tal
    /.well-known/ni/sha-256/DIGEST                an object of a repository in force by what it is (RFC 6920, 4), the digest in base64url
    /.well-known/erik/index/HOST                  what all repositories in force have with names at HOST

The last two are a relay of the Erik protocol, experimental as it is (erik.py).

Under the names of origins that are *led home* (docs/mirror.md) the same is found at the origin's own URIs: then the notification's
links lead to the origin's name too, because whoever follows it must stay at one origin (RFC 9674).

GET and HEAD alone; requests are bounded in size and time, connections in number, in all and from each address. A record that was just replaced holds its files for one generation, so who has read
a notification can follow it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

from nnix.planes.trust.mirror import erik, tree
from nnix.planes.trust.mirror.publishing import Record, read_record
from nnix.planes.trust.mirror.uris import origin, target

HEAD_OCTETS_MAX = 8 << 10
HEAD_SECONDS = 15.0
SEND_SECONDS = 120.0
CONNECTIONS_MAX = 1_000
CONNECTIONS_PER_ADDRESS_MAX = 50  # else one who reads slowly takes all places; behind a proxy all have its address
CHUNK_OCTETS = 256 << 10
XML, CER, TEXT = "application/xml", "application/pkix-cert", "text/plain; charset=utf-8"
OBJECT = "application/octet-stream"
OF_A_HOST = "/.well-known/erik/index/"
NAMED_BY_DIGEST = re.compile(r"/\.well-known/ni/sha-256/([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Shelf:
    """What is served, and at which names. `notifications` are origins' notification URIs that are led home → repository; `documents` are all other
    fixed files, by path or, led home, by URI: (media type, file)."""

    folder: Path
    uri: str
    repositories: frozenset[str]
    notifications: Mapping[str, str]
    documents: Mapping[str, tuple[str, Path]]
    relay: erik.Relay = field(default_factory=erik.Relay)

    def _base(self, host: str, repository: str) -> str:
        for uri in self.notifications:
            if _authority(uri) == host:
                return f"https://{host}/{repository}"
        return f"{self.uri}/{repository}"

    def _object(self, digest: str) -> tuple[str, bytes | Path] | None:
        """Of the trees in force, and of nothing else that the archive holds."""
        for repository in sorted(self.repositories):
            record = read_record(self.folder / repository)
            if record is None:
                continue
            with contextlib.suppress(OSError):  # the record was just replaced
                if path := _paths(self.folder / repository / record.index).get(digest):
                    return OBJECT, self.folder / repository / record.tree / path
        partition = self.relay.partition(bytes.fromhex(digest))
        return None if partition is None else (erik.PARTITION, partition)

    def _index(self, scope: str) -> tuple[str, bytes] | None:
        """What the Erik protocol tells of all objects with names at `scope`."""
        there = []
        for repository in sorted(self.repositories):
            record = read_record(self.folder / repository)
            with contextlib.suppress(OSError):  # the record was just replaced
                if record is not None and scope in _scopes(place := self.folder / repository / record.index):
                    there.append((place, self.folder / repository / record.tree))
        if not there:
            return None
        made = self.relay.index(scope, tuple(there), lambda: [ref for each in there for ref in _manifests(*each, scope)], datetime.now(UTC))
        return None if made is None else (erik.INDEX, made)

    def find(self, host: str, path: str) -> tuple[str, bytes | Path] | None:
        """(media type, content) of what is asked for; None: there is nothing."""
        if by_digest := NAMED_BY_DIGEST.fullmatch(path):
            return self._object(base64.urlsafe_b64decode(f"{by_digest[1]}=").hex())
        if path.startswith(OF_A_HOST):
            scope = path.removeprefix(OF_A_HOST).lower()
            return self._index(scope) if erik.SCOPE.fullmatch(scope) else None
        led = f"https://{host}{path}"
        if document := self.documents.get(led) or self.documents.get(path):
            return document
        if (repository := self.notifications.get(led)) is not None:
            name = "notification.xml"
        else:
            repository, _, name = path.removeprefix("/").partition("/")
        if repository not in self.repositories:
            return None
        record = read_record(self.folder / repository)
        if record is None:
            return None
        if name == "notification.xml":
            return XML, record.notification(self._base(host, repository))
        if name == "checkpoint":
            return TEXT, record.note.encode()
        return (XML, self.folder / repository / name) if _named(record, name) else None


@lru_cache(maxsize=64)
def _paths(index: Path) -> Mapping[str, str]:
    """Digest → a path. An index has its tree's root in its name, so it never changes. Raises OSError for one that was just replaced."""
    return {digest: path for path, digest in tree.read(index.read_bytes()).items()}


@lru_cache(maxsize=64)
def _scopes(index: Path) -> frozenset[str]:
    """The hosts at which an index has names."""
    return frozenset(erik.scope_of(path) for path in _paths(index).values())


@lru_cache(maxsize=256)
def _manifests(index: Path, laid: Path, scope: str) -> tuple[tuple[erik.ManifestRef, bytes], ...]:
    """What is told of a tree's manifests with names at `scope`; `laid` is where the tree lies as files."""
    paths = (path for path in _paths(index).values() if path.endswith(".mft") and erik.scope_of(path) == scope)
    return erik.readable((path, (laid / path).read_bytes()) for path in paths)


def _named(record: Record, name: str) -> bool:
    return name.endswith(".xml") and (name in record.former or any(each.path == name for each in record.files))


def _authority(uri: str) -> str:
    host, port = origin(uri)
    return host if port == 443 else f"{host}:{port}"


@dataclass
class Counted:
    """Connections that are open now, of all and by address."""

    connections: int = 0
    by_address: Counter[str] = field(default_factory=Counter)


async def serve(shelf: Shelf, address: str, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
    """Listen. Without `tls` it is plain HTTP, for a proxy that ends TLS in front of it. Raises OSError."""
    counted = Counted()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = str(writer.get_extra_info("peername")[0]) if tls else ""
        if counted.connections >= CONNECTIONS_MAX or (tls and counted.by_address[address] >= CONNECTIONS_PER_ADDRESS_MAX):
            writer.transport.abort()
            return
        counted.connections += 1
        counted.by_address[address] += 1
        try:
            while await _answered(shelf, reader, writer):
                pass
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError):
            pass  # they have gone, or said nothing that can be answered
        finally:
            counted.connections -= 1
            counted.by_address[address] -= 1
            if not counted.by_address[address]:
                del counted.by_address[address]
            writer.transport.abort() if writer.is_closing() else writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), HEAD_SECONDS)

    patience = {"ssl_handshake_timeout": HEAD_SECONDS} if tls else {}
    return await asyncio.start_server(connected, address, port, ssl=tls, limit=HEAD_OCTETS_MAX, backlog=256, **patience)


async def _answered(shelf: Shelf, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer one request; whether another one may follow on the connection."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    asked, _, version = rest.rpartition(" ")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    stays = version == "HTTP/1.1" and fields.get("connection", "").lower() != "close"
    if method not in ("GET", "HEAD"):
        await _send(writer, HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"GET or HEAD\n", method, False)
        return False
    if fields.get("content-length", "0") != "0" or "transfer-encoding" in fields:
        await _send(writer, HTTPStatus.BAD_REQUEST, TEXT, b"no body, please\n", method, False)
        return False
    host = fields.get("host", "").lower().removesuffix(":443")
    found = await asyncio.to_thread(shelf.find, host, _path(asked))
    if found is None:
        await _send(writer, HTTPStatus.NOT_FOUND, TEXT, b"there is no such thing\n", method, stays)
    else:
        kind, content = found
        tag = f'"{hashlib.sha256(content).hexdigest()}"' if isinstance(content, bytes) and kind == erik.INDEX else ""
        if tag and tag in fields.get("if-none-match", ""):
            writer.write(_head(HTTPStatus.NOT_MODIFIED, kind, 0, stays, tag))
        else:
            await _send(writer, HTTPStatus.OK, kind, content, method, stays, tag)
    return stays


def _path(asked: str) -> str:
    return target(asked) if asked.startswith("https://") else asked


async def _send(
    writer: asyncio.StreamWriter, status: HTTPStatus, kind: str, content: bytes | Path, method: str, stays: bool, tag: str = ""
) -> None:
    if isinstance(content, Path):
        try:
            file = content.open("rb")
        except OSError:
            await _send(writer, HTTPStatus.NOT_FOUND, TEXT, b"there is no such thing\n", method, stays)
            return
        with file:
            size = file.seek(0, 2)
            file.seek(0)
            writer.write(_head(status, kind, size, stays))
            left = size if method == "GET" else 0
            while left and (chunk := file.read(min(CHUNK_OCTETS, left))):
                left -= len(chunk)
                writer.write(chunk)
                await asyncio.wait_for(writer.drain(), SEND_SECONDS)
    else:
        writer.write(_head(status, kind, len(content), stays, tag) + (content if method == "GET" else b""))
    await asyncio.wait_for(writer.drain(), SEND_SECONDS)


def _head(status: HTTPStatus, kind: str, size: int, stays: bool, tag: str = "") -> bytes:
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {size}",
        "Cache-Control: no-cache" if kind != XML else "Cache-Control: max-age=60",
        *([f"ETag: {tag}"] if tag else []),
        "X-Content-Type-Options: nosniff",
        f"Connection: {'keep-alive' if stays else 'close'}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
