"""RRDP's three files (RFC 8182, 3.5): the notification says where a repository is, a snapshot is all of it, a delta what changed from one serial to the next.

They are read as a stream, because a snapshot may be larger than the memory, by Expat, of which as little is used as can be: a document type
declaration ends the reading, so there are no entities that could be expanded; nothing is nested deeper than the schema says; and a
single token or text that grows beyond what an object may have ends it, too, as do prefixes of namespaces, which Expat remembers one and all. Whatever the schema
does not know is rejected, not skipped.

They are in US-ASCII (3.5.1.3), or say that they are in UTF-8, as many servers do. Other encodings, of which Expat and Python know a hundred, are rejected: what
one reader takes for a tag might be none for another.

Deltas may be listed in any order; they must be without a gap and none twice, up to the serial of the notification (3.5.1.3).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from xml.parsers import expat

from nnix.planes.trust.archive import OBJECT_OCTETS_MAX
from nnix.planes.trust.mirror.reasons import Reason, Rejected
from nnix.planes.trust.mirror.uris import SESSION, beside, rsync_path

NAMESPACE = "http://www.ripe.net/rpki/rrdp"
NOTIFICATION_OCTETS_MAX = 8 << 20
DELTAS_LISTED_MAX = 20_000
PREFIXES_MAX = 16
ENCODINGS = frozenset({"US-ASCII", "ASCII", "UTF-8"})
TOKEN_OCTETS_MAX = 128 << 10
CHUNK_OCTETS = 64 << 10
TEXT_MAX = OBJECT_OCTETS_MAX * 4 // 3 + OBJECT_OCTETS_MAX // 8
SERIAL = re.compile(r"[1-9][0-9]{0,30}")
HASH = re.compile(r"[0-9a-fA-F]{64}")
BLANKS = str.maketrans("", "", " \t\r\n")

Attributes = Mapping[str, str]


class Link(NamedTuple):
    """A file that a notification names, and its SHA-256."""

    uri: str
    digest: str


@dataclass(frozen=True)
class Notification:
    """`deltas` by the serial that they lead to."""

    session: str
    serial: int
    snapshot: Link
    deltas: Mapping[int, Link]


class Publish(NamedTuple):
    """An object that is there from now on; `replaces` is the digest of the one that was, None where there was none."""

    path: str
    content: bytes
    replaces: str | None


class Withdraw(NamedTuple):
    """An object that is there no longer, and what it was."""

    path: str
    was: str


Change = Publish | Withdraw


# --- reading ---

START, TEXT, END = "start", "text", "end"
Event = tuple[str, str, dict[str, str]]


def _events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """What stands in a document, element by element. Raises Rejected."""
    queue: list[Event] = []

    def refuse(*_: Any) -> None:
        raise Rejected(Reason.DOCTYPE, "it has a document type declaration")

    prefixes = 0

    def another(*_: Any) -> None:
        nonlocal prefixes
        prefixes += 1
        if prefixes > PREFIXES_MAX:
            raise Rejected(Reason.SCHEMA, f"more than {PREFIXES_MAX} declarations of namespaces")

    def declared(_: str, encoding: str | None, __: int) -> None:
        if encoding is not None and encoding.upper() not in ENCODINGS:
            raise Rejected(Reason.NOT_XML, f"in {encoding[:40]!r}, not in US-ASCII")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.XmlDeclHandler = declared
    parser.buffer_text = True
    parser.buffer_size = CHUNK_OCTETS
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartNamespaceDeclHandler = another
    parser.StartElementHandler = lambda name, attributes: queue.append((START, name, attributes))
    parser.EndElementHandler = lambda name: queue.append((END, name, {}))
    parser.CharacterDataHandler = lambda text: queue.append((TEXT, text, {}))
    fed = 0
    for chunk in chunks:
        fed += len(chunk)
        if b"\0" in chunk:
            raise Rejected(Reason.NOT_XML, "an octet of zero, as UTF-16 has them, which no XML in US-ASCII has")
        _parse(parser, chunk, False)
        yield from queue
        queue.clear()
        if fed - max(parser.CurrentByteIndex, 0) > TOKEN_OCTETS_MAX + CHUNK_OCTETS:
            raise Rejected(Reason.TOO_LARGE, f"a single tag of more than {TOKEN_OCTETS_MAX} octets")
    _parse(parser, b"", True)
    yield from queue


def _parse(parser: expat.XMLParserType, chunk: bytes, last: bool) -> None:
    try:
        parser.Parse(chunk, last)
    except expat.ExpatError as error:
        raise Rejected(Reason.NOT_XML, str(error)) from None
    except (ValueError, LookupError) as error:  # an encoding that nobody knows
        raise Rejected(Reason.NOT_XML, str(error)) from None


def _elements(chunks: Iterable[bytes], root: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """First the root, then each element in it as (name, attributes, text). Raises Rejected for what is deeper, or text where none belongs."""
    depth = 0
    texts: list[str] = []
    length = 0
    attributes: dict[str, str] = {}
    for what, value, given in _events(chunks):
        if what == TEXT:
            length += len(value)
            if depth == 2:
                if length > TEXT_MAX:
                    raise Rejected(Reason.TOO_LARGE, f"an object of more than {OBJECT_OCTETS_MAX} octets")
                texts.append(value)
            elif value.strip():
                raise Rejected(Reason.SCHEMA, f"text outside of an element: {value.strip()[:40]!r}")
        elif what == START:
            depth += 1
            name = _local(value)
            if depth == 1:
                if name != root:
                    raise Rejected(Reason.SCHEMA, f"a {name[:40]} where a {root} was expected")
                yield name, given, ""
            elif depth == 2:
                attributes, length = given, 0
                texts.clear()
            else:
                raise Rejected(Reason.SCHEMA, f"a {name[:40]} inside of an element that has no elements")
        else:
            if depth == 2:
                yield _local(value), attributes, "".join(texts)
            depth -= 1


def _local(name: str) -> str:
    namespace, _, local = name.rpartition(" ")
    if namespace != NAMESPACE:
        raise Rejected(Reason.SCHEMA, f"{name[:80]!r} is not of the namespace {NAMESPACE}")
    return local


def _fields(name: str, attributes: Attributes, needed: Sequence[str], allowed: Sequence[str] = ()) -> list[str]:
    """The values of `needed`, all of which must be there, and nothing besides `allowed`. Raises Rejected."""
    unknown = [each for each in attributes if each not in needed and each not in allowed]
    missing = [each for each in needed if each not in attributes]
    if unknown or missing:
        words = [f"has no {', '.join(missing)}"] if missing else []
        words += [f"has {', '.join(each[:40] for each in unknown)}"] if unknown else []
        raise Rejected(Reason.SCHEMA, f"{name[:40]} {' and '.join(words)}")
    return [attributes[each] for each in needed]


def _head(name: str, attributes: Attributes) -> tuple[str, int]:
    version, session, serial = _fields(name, attributes, ("version", "session_id", "serial"))
    if version != "1":
        raise Rejected(Reason.SCHEMA, f"version {version[:20]!r}, not 1")
    if not SESSION.fullmatch(session):
        raise Rejected(Reason.SCHEMA, f"session_id {session[:60]!r} is no UUID")
    return session.lower(), _serial(serial)


def _serial(text: str) -> int:
    if not SERIAL.fullmatch(text):
        raise Rejected(Reason.SCHEMA, f"serial {text[:40]!r} is no positive number")
    return int(text)


def _digest(text: str) -> str:
    if not HASH.fullmatch(text):
        raise Rejected(Reason.SCHEMA, f"hash {text[:80]!r} is no SHA-256")
    return text.lower()


def notification(chunks: Iterable[bytes], uri: str) -> Notification:
    """The notification that was found at `uri`; all it names must have the same origin (RFC 9674). Raises Rejected."""
    session, serial = "", 0
    snapshot: Link | None = None
    deltas: dict[int, Link] = {}
    for name, attributes, text in _elements(chunks, "notification"):
        if name == "notification":
            session, serial = _head(name, attributes)
            continue
        if text.strip():
            raise Rejected(Reason.SCHEMA, f"text in a {name[:40]}")
        if name == "snapshot":
            if snapshot is not None:
                raise Rejected(Reason.SCHEMA, "two snapshots")
            where, digest = _fields(name, attributes, ("uri", "hash"))
            snapshot = Link(beside(where, uri), _digest(digest))
        elif name == "delta":
            number, where, digest = _fields(name, attributes, ("serial", "uri", "hash"))
            to = _serial(number)
            if to in deltas:
                raise Rejected(Reason.DELTA_TWICE, f"two deltas for serial {to}")
            if len(deltas) >= DELTAS_LISTED_MAX:
                raise Rejected(Reason.TOO_MANY, f"more than {DELTAS_LISTED_MAX} deltas")
            deltas[to] = Link(beside(where, uri), _digest(digest))
        else:
            raise Rejected(Reason.SCHEMA, f"a {name[:40]} in a notification")
    if snapshot is None:
        raise Rejected(Reason.SCHEMA, "no snapshot")
    if deltas and (max(deltas) != serial or len(deltas) != serial - min(deltas) + 1):
        missing = next((each for each in range(min(deltas), serial + 1) if each not in deltas), None)
        words = f"no delta for serial {missing}" if missing else f"a delta for serial {max(deltas)}, beyond {serial}"
        raise Rejected(Reason.GAP, f"{words}; deltas go from {min(deltas)} to {max(deltas)}, the notification is of {serial}")
    return Notification(session, serial, snapshot, dict(sorted(deltas.items())))


def changes(chunks: Iterable[bytes], kind: str, session: str, serial: int, places: Sequence[str], objects_max: int) -> Iterator[Change]:
    """What a snapshot or delta (`kind`) says, while it is being read. Raises Rejected, possibly after many changes."""
    count = 0
    for name, attributes, text in _elements(chunks, kind):
        if name == kind:
            found = _head(name, attributes)
            if found[0] != session:
                raise Rejected(Reason.SESSION, f"a {kind} of session {found[0]}, not {session}")
            if found[1] != serial:
                raise Rejected(Reason.SERIAL, f"a {kind} of serial {found[1]}, not {serial}")
            continue
        count += 1
        if count > objects_max:
            raise Rejected(Reason.TOO_MANY, f"more than {objects_max} objects")
        if name == "publish":
            (uri,) = _fields(name, attributes, ("uri",), ("hash",) if kind == "delta" else ())
            path = rsync_path(uri, places)
            replaces = attributes.get("hash")
            yield Publish(path, _content(text, path), _digest(replaces) if replaces is not None else None)
        elif name == "withdraw" and kind == "delta":
            uri, was = _fields(name, attributes, ("uri", "hash"))
            if text.strip():
                raise Rejected(Reason.SCHEMA, "text in a withdraw")
            yield Withdraw(rsync_path(uri, places), _digest(was))
        else:
            raise Rejected(Reason.SCHEMA, f"a {name[:40]} in a {kind}")


def _content(text: str, path: str) -> bytes:
    try:
        content = binascii.a2b_base64(text.translate(BLANKS), strict_mode=True)
    except ValueError as error:  # binascii.Error is one, and so is text beyond ASCII
        raise Rejected(Reason.BASE64, f"rsync://{path}: {error}") from None
    if len(content) > OBJECT_OCTETS_MAX:
        raise Rejected(Reason.TOO_LARGE, f"rsync://{path}: {len(content)} octets, more than {OBJECT_OCTETS_MAX}")
    return content


# --- spelling: names are of our alphabet (uris.SEGMENT), so nothing needs to be escaped ---


def _opened(name: str, session: str, serial: int) -> str:
    return f'<{name} xmlns="{NAMESPACE}" version="1" session_id="{session}" serial="{serial}">\n'


def spelled(kind: str, session: str, serial: int, told: Iterable[Change]) -> Iterator[bytes]:
    """A snapshot or delta, piece by piece."""
    yield _opened(kind, session, serial).encode()
    for each in told:
        if isinstance(each, Withdraw):
            yield f'<withdraw uri="rsync://{each.path}" hash="{each.was}"/>\n'.encode()
        else:
            replaced = f' hash="{each.replaces}"' if each.replaces else ""
            yield b"".join((f'<publish uri="rsync://{each.path}"{replaced}>'.encode(), b64encode(each.content), b"</publish>\n"))
    yield f"</{kind}>\n".encode()


def spelled_notification(this: Notification) -> bytes:
    """The newest delta first, as most servers have it."""
    lines = [_opened("notification", this.session, this.serial), f'<snapshot uri="{this.snapshot.uri}" hash="{this.snapshot.digest}"/>\n']
    lines += [f'<delta serial="{n}" uri="{each.uri}" hash="{each.digest}"/>\n' for n, each in sorted(this.deltas.items(), reverse=True)]
    return "".join([*lines, "</notification>\n"]).encode()
