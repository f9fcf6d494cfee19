"""The signed head: a note, kept apart from the ledger, of how far the ledger went.

A hash chain shows that nothing inside it was altered; it cannot show that its end was cut off. So after every append the
new head is signed (Ed25519, RFC 8032) and written into a file in a folder of its own. A ledger that is shorter than its
signed head was cut. One that goes on past it, in a sound chain, is what a crash leaves between the commit of an entry and
the writing of the head: such an entry may be there, but nobody was told so.

The file has two slots of 512 bytes, each a line of JSON padded with blanks. A new head goes over the older one, so that a
write that was cut short leaves the other to read; a slot fits a disk sector, which disks write whole or not at all. Writing
in place costs one flush, a temporary file with a rename would cost two, and every append waits for it.

Several processes may append to one ledger: they take turns by flock(2), and nobody writes an older head over a newer one.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from nnix.kernel.ledger_entry import EMPTY, Head, is_digest

SLOT_BYTES = 512


class Unsigned(Exception):
    """The signed head cannot be had: no file, no key, or a slot that was altered. The message says which."""


class SignedHead:
    """The files `ledger-key` (private, 0600), `ledger-key.pub` and `ledger-head` in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._key, self._public, self._file = folder / "ledger-key", folder / "ledger-key.pub", folder / "ledger-head"
        self._folder = folder
        self._signer: Ed25519PrivateKey | None = None
        self._known: tuple[bytes, tuple[Head, ...]] | None = None

    @property
    def place(self) -> Path:
        return self._file

    def exists(self) -> bool:
        return self._file.exists()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the folder while files are made in it, so that two processes that start at once make one key."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def begin(self, head: Head = EMPTY) -> None:
        """Make a key unless there is one, and sign `head` as the first. To be called in a `turn`."""
        if not self._key.exists():
            signer = Ed25519PrivateKey.generate()
            pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            public = signer.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            self._create(self._public, public, 0o644)
            self._create(self._key, signer.private_bytes(*pem), 0o600)
        self._create(self._file, self._slot(head) * 2, 0o644)

    def read(self) -> tuple[Head, ...]:
        """The two heads that were signed last, the newest first. Raises Unsigned."""
        try:
            descriptor = os.open(self._file, os.O_RDONLY)
        except OSError as lost:
            raise Unsigned(f"the signed head {self._file} cannot be read ({lost.strerror}), so a cut tail could not be seen") from lost
        try:
            known, content = self._known, os.pread(descriptor, 2 * SLOT_BYTES + 1, 0)
            if known is not None and known[0] == content:
                return known[1]
            # Whoever is just writing holds the lock; what is read under it is whole.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            content = os.pread(descriptor, 2 * SLOT_BYTES + 1, 0)
            heads = self._parse(content)
            self._known = content, heads
            return heads
        finally:
            os.close(descriptor)

    def ready(self) -> None:
        """Make sure that a head can be signed, before anything is written that needs it. Raises Unsigned."""
        self._private()

    def vouch(self, text: bytes) -> bytes:
        """Sign something else with the same key: a text that no head can be, since none begins with a brace. Raises Unsigned, ValueError."""
        if text.startswith(b"{"):
            raise ValueError("a text that begins with a brace could be taken for a head of the ledger")
        return self._private().sign(text)

    def public(self) -> bytes:
        """The public key, 32 octets. Raises Unsigned."""
        return self._private().public_key().public_bytes_raw()

    def write(self, head: Head) -> None:
        """Sign `head` and make it durable, unless a newer one already is. Raises Unsigned, OSError."""
        slot = self._slot(head)
        descriptor = os.open(self._file, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            known, content = self._known, os.pread(descriptor, 2 * SLOT_BYTES + 1, 0)
            heads = known[1] if known is not None and known[0] == content else self._parse(content)
            if heads[0].seq >= head.seq:
                return
            newest_first = content.startswith(f'{{"digest":"{heads[0].digest}","seq":{heads[0].seq},'.encode())
            os.pwrite(descriptor, slot, SLOT_BYTES if newest_first else 0)
            os.fdatasync(descriptor)
            self._known = content[:SLOT_BYTES] + slot if newest_first else slot + content[SLOT_BYTES:], (head, heads[0])
        finally:
            os.close(descriptor)

    def _slot(self, head: Head) -> bytes:
        return _line(head, self._private().sign(_statement(head)))

    def _parse(self, content: bytes) -> tuple[Head, ...]:
        if len(content) != 2 * SLOT_BYTES:
            raise Unsigned(f"the signed head {self._file} has not its {2 * SLOT_BYTES} bytes: it was altered")
        try:
            public = serialization.load_pem_public_key(self._public.read_bytes())
        except (OSError, ValueError) as lost:
            raise Unsigned(f"the public key {self._public} cannot be read, so the signed head proves nothing: {lost}") from lost
        if not isinstance(public, Ed25519PublicKey):
            raise Unsigned(f"{self._public} is no Ed25519 key")
        heads = []
        for index in (0, 1):
            slot = content[index * SLOT_BYTES : (index + 1) * SLOT_BYTES]
            try:
                head = _claimed(slot)
                signature = bytes.fromhex(json.loads(slot)["signature"])
                public.verify(signature, _statement(head))
                if slot != _line(head, signature):
                    raise ValueError("another spelling of the same")
            except (ValueError, KeyError, TypeError, InvalidSignature) as wrong:
                raise Unsigned(f"line {index + 1} of the signed head {self._file} does not bear our signature: it was altered") from wrong
            heads.append(head)
        return tuple(sorted(heads, key=lambda head: -head.seq))

    def _private(self) -> Ed25519PrivateKey:
        if self._signer is None:
            try:
                signer = serialization.load_pem_private_key(self._key.read_bytes(), password=None)
            except (OSError, ValueError) as lost:
                raise Unsigned(f"the signing key {self._key} cannot be read, so nothing can be appended: {lost}") from lost
            if not isinstance(signer, Ed25519PrivateKey):
                raise Unsigned(f"{self._key} is no Ed25519 key")
            self._signer = signer
        return self._signer

    def _create(self, path: Path, content: bytes, mode: int) -> None:
        """A file that is there whole or not at all, also after a power cut."""
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _statement(head: Head) -> bytes:
    """The bytes that are signed: canonical JSON, with a word that keeps the signature from meaning anything else."""
    return f'{{"digest":"{head.digest}","nnix":"ledger-head","seq":{head.seq}}}'.encode()


def _line(head: Head, signature: bytes) -> bytes:
    """The one spelling of a slot."""
    line = f'{{"digest":"{head.digest}","seq":{head.seq},"signature":"{signature.hex()}"}}'
    return line.encode().ljust(SLOT_BYTES - 1) + b"\n"


def _claimed(slot: bytes) -> Head:
    """What a slot says, whoever wrote it. Raises ValueError, KeyError, TypeError."""
    said = json.loads(slot)
    if type(said["seq"]) is not int or not is_digest(said["digest"]):
        raise ValueError("no head")
    return Head(said["seq"], said["digest"])
