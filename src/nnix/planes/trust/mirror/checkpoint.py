"""Checkpoints: what we published, in a few signed lines.

    rpki.nnix.example/apnic                         whose mirror of which repository
    31415                                           objects in it
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=    Merkle root over their names and hashes (tree.root)
    session 7c2f0a52-…                              our RRDP session
    serial 17                                       and serial
    time 2026-11-26T02:00:00Z                       when it was the newest that there was
    from https://rrdp.apnic.net/… SESSION SERIAL    where it was fetched, and what it was there; rsync has `- -`

    — rpki.nnix.example Az3grlgtzPIC…               signatures, a line each

The form is that of transparency logs: a signed note (C2SP signed-note) whose text begins as a tlog-checkpoint. The publisher signs with Ed25519 (type
0x01). Who co-signs does it as tlog-cosignature (type 0x04), which covers the time of co-signing, and so says: at that time I had fetched the
same objects from the same place. What is counted here is a tree that changes, not a log that grows, so witnesses of logs, which
want to see growth, cannot co-sign; other mirrors can (witness.py).

Keys are written as `NAME+ID+KEY`, the verifier keys of signed notes.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nnix.planes.trust.mirror.uris import SESSION

SIGNED, COSIGNED = b"\x01", b"\x04"
NOTE_OCTETS_MAX = 64 << 10
SIGNATURES_MAX = 64
NAME = re.compile(r"[!-*,-~]{1,255}")  # printable, no blank, no +
STAMP = "%Y-%m-%dT%H:%M:%SZ"
DASH = "— "

Sign = Callable[[bytes], bytes]


class Malformed(ValueError):
    """No checkpoint, or no key. The message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """`fetched` is (URI, session, serial) at the origin; session and serial are - for rsync."""

    origin: str
    size: int
    root: bytes
    session: str
    serial: int
    at: datetime
    fetched: tuple[str, str, str]

    def text(self) -> bytes:
        lines = (
            self.origin,
            str(self.size),
            b64encode(self.root).decode(),
            f"session {self.session}",
            f"serial {self.serial}",
            f"time {self.at.astimezone(UTC):{STAMP}}",
            f"from {' '.join(self.fetched)}",
        )
        return "".join(f"{line}\n" for line in lines).encode()


def parsed(text: bytes) -> Checkpoint:
    """Raises Malformed, also for another spelling of the same."""
    try:
        origin, size, root, session, serial, at, fetched, end = text.decode("ascii").split("\n")
        words = {
            name: line.removeprefix(f"{name} ")
            for name, line in (("session", session), ("serial", serial), ("time", at), ("from", fetched))
        }
        uri, their_session, their_serial = words["from"].split(" ")
        moment = datetime.strptime(words["time"], STAMP).replace(tzinfo=UTC)
        made = Checkpoint(
            origin,
            int(size),
            b64decode(root, validate=True),
            words["session"],
            int(words["serial"]),
            moment,
            (uri, their_session, their_serial),
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise Malformed(f"no checkpoint of a mirror: {error}") from None
    if end or len(made.root) != 32 or made.size < 0 or not SESSION.fullmatch(made.session) or made.text() != text:
        raise Malformed("no checkpoint of a mirror: a line of it is spelled otherwise")
    return made


# --- keys ---


@dataclass(frozen=True)
class Key:
    """A public key under a name. Who is asked whether he signed is named by it; only the key counts."""

    name: str
    public: bytes

    def id(self, kind: bytes) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + kind + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id(SIGNED).hex()}+{b64encode(SIGNED + self.public).decode()}"


def key(text: str) -> Key:
    """From `NAME+ID+KEY`. Raises Malformed."""
    name, _, rest = text.strip().partition("+")
    given, _, encoded = rest.partition("+")
    try:
        content = b64decode(encoded, validate=True)
    except ValueError:  # binascii.Error is one, and so is text beyond ASCII
        content = b""
    if not NAME.fullmatch(name) or len(content) != 33 or content[:1] not in (SIGNED, COSIGNED):
        raise Malformed(f"{text[:80]!r} is no Ed25519 verifier key, NAME+ID+KEY")
    made = Key(name, content[1:])
    if made.id(content[:1]).hex() != given:
        raise Malformed(f"{text[:80]!r} has an ID that is not its own: a letter of it is wrong")
    return made


# --- signing ---


def _line(name: str, content: bytes) -> bytes:
    return f"{DASH}{name} {b64encode(content).decode()}\n".encode()


def signed(this: Checkpoint, by: Key, sign: Sign) -> bytes:
    """The note, with the publisher's signature."""
    text = this.text()
    return text + b"\n" + _line(by.name, by.id(SIGNED) + sign(text))


def _cosigned_text(text: bytes, seconds: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % seconds + text


def cosigned(note: bytes, by: Key, sign: Sign, at: datetime) -> bytes:
    """The note with one more signature. Raises Malformed."""
    text, lines = _split(note)
    seconds = int(at.timestamp())
    mine = _line(by.name, by.id(COSIGNED) + seconds.to_bytes(8, "big") + sign(_cosigned_text(text, seconds)))
    head = f"{DASH}{by.name} ".encode()
    others = [
        line for line in lines if not (line.startswith(head) and _content(line)[:4] == by.id(COSIGNED))
    ]  # an older one of ours says less
    return b"".join((text, b"\n", *others, mine))


# --- verifying ---


@dataclass(frozen=True)
class Signature:
    """Whose signature is good; `at`: when it was co-signed, None for the publisher's own."""

    key: Key
    at: datetime | None


@dataclass(frozen=True)
class Opened:
    """A note that was read. `signatures` are good ones of known keys, as publisher only by whom its origin names; `unknown` names who else claims to
    have signed."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]
    unknown: tuple[str, ...]

    @property
    def signers(self) -> int:
        """Different keys, however many names each has."""
        return len({each.key.public for each in self.signatures})


def opened(note: bytes, known: Iterable[Key]) -> Opened:
    """Raises Malformed, also when a signature that bears the name and ID of a known key is not good: somebody altered the note."""
    text, lines = _split(note)
    this = parsed(text)
    by_id = {(each.name, each.id(kind)): (each, kind) for each in known for kind in (SIGNED, COSIGNED)}
    good: dict[tuple[bytes, bytes], Signature] = {}
    unknown = []
    for line in lines:
        name = line.decode().removeprefix(DASH).split(" ")[0]
        content = _content(line)
        found = by_id.get((name, content[:4]))
        if found is None:
            unknown.append(name)
            continue
        who, kind = found
        if kind == SIGNED and not this.origin.startswith(f"{who.name}/"):
            unknown.append(name)  # nobody publishes in another's name; he may co-sign
            continue
        at = None
        said, signature = text, content[4:]
        try:
            if kind == COSIGNED:
                seconds, signature = int.from_bytes(content[4:12]), content[12:]
                at = datetime.fromtimestamp(seconds, UTC)
                said = _cosigned_text(text, seconds)
            Ed25519PublicKey.from_public_bytes(who.public).verify(signature, said)
        except (InvalidSignature, ValueError, OverflowError, OSError):
            raise Malformed(f"the signature of {name} is not good: the checkpoint was altered") from None
        good[who.public, kind] = Signature(who, at)
    return Opened(this, tuple(good.values()), tuple(unknown))


def _split(note: bytes) -> tuple[bytes, list[bytes]]:
    """(text, signature lines). Raises Malformed."""
    if len(note) > NOTE_OCTETS_MAX:
        raise Malformed(f"a note of more than {NOTE_OCTETS_MAX} octets")
    text, gap, rest = note.rpartition(b"\n\n")
    lines = rest.splitlines(keepends=True)
    if not gap or not lines or len(lines) > SIGNATURES_MAX:
        raise Malformed("no signed note: text, an empty line, signatures")
    for line in lines:
        try:
            words = line.decode().removesuffix("\n").removeprefix(DASH).split(" ")
        except UnicodeDecodeError:
            words = []
        if not line.startswith(DASH.encode()) or not line.endswith(b"\n") or len(words) != 2 or not NAME.fullmatch(words[0]):
            raise Malformed("a line that is no signature")
        if len(_content(line)) < 5:
            raise Malformed("a signature that is none")
    return text + b"\n", lines


def _content(line: bytes) -> bytes:
    try:
        return b64decode(line.rstrip(b"\n").rpartition(b" ")[2], validate=True)
    except binascii.Error:
        return b""
