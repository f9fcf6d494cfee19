"""Trust anchors: their certificates, fetched and checked against the key that is believed, and their TALs with our URIs added.

A TAL names one key and any number of places where the certificate with that key can be had (RFC 8630, 2). So a national mirror can be
added to it without anybody's leave: wherever a certificate comes from, it counts only with that key and a good signature by it. A certificate that
has neither, or one that is older than the one we hold, does not take its place.

In the mirror a certificate lies where the TAL's first rsync URI says.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nnix.planes.trust import tal
from nnix.planes.trust.archive import Archive, Lost
from nnix.planes.trust.certificates import UNREADABLE, read
from nnix.planes.trust.mirror.https import Web
from nnix.planes.trust.mirror.reasons import Reason, Rejected
from nnix.planes.trust.mirror.rsync import one_by_rsync
from nnix.planes.trust.objects import Malformed

CERTIFICATE_OCTETS_MAX = 64 << 10


def https_uris(content: bytes) -> tuple[str, ...]:
    """The https URIs of a TAL, in its order."""
    head = content.decode("ascii", "replace").replace("\r\n", "\n").partition("\n\n")[0]
    return tuple(line for line in head.split("\n") if line.startswith("https://"))


def with_uris(content: bytes, ours: Sequence[str], *, front: bool) -> bytes:
    """The TAL with `ours` before its own URIs or behind them; comments, order and key stay as they are. Raises tal.Unreadable."""
    before = tal.read(content)
    lines = content.decode("ascii").replace("\r\n", "\n").split("\n")
    first = next(at for at, line in enumerate(lines) if not line.startswith("#"))
    gap = lines.index("", first)
    uris = [each for each in lines[first:gap] if each not in ours]
    joined = [*ours, *uris] if front else [*uris, *ours]
    made = "\n".join([*lines[:first], *joined, *lines[gap:]]).encode()
    if tal.read(made).key != before.key:
        raise tal.Unreadable("another key came out than went in")
    return made


def checked(certificate: bytes, key: bytes) -> x509.Certificate:
    """A trust anchor's certificate: it has `key`, and its signature is good by it. Raises Rejected."""
    try:
        found = read(certificate)
        own = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Malformed as error:
        raise Rejected(Reason.WRONG_KEY, str(error)) from None
    if own != key:
        raise Rejected(Reason.WRONG_KEY, "the certificate's key is not the one in the TAL")
    try:
        found.verify_directly_issued_by(found)
    except (InvalidSignature, *UNREADABLE):
        raise Rejected(Reason.WRONG_KEY, "the certificate's signature is not by its own key") from None
    return found


def fetched(
    tals: Mapping[str, bytes], held: Mapping[str, str], web: Web, archive: Archive, work: Path, findings: list[str], seconds_max: float
) -> dict[str, str]:
    """The tree of all anchors' certificates: path → digest. What cannot be had stays as it is `held`. Raises tal.Unreadable."""
    work.mkdir(parents=True, exist_ok=True)
    made: dict[str, str] = {}
    for name, content in tals.items():
        read = tal.read(content)
        path = read.paths[0]
        now = held.get(path)
        for uri in (*https_uris(content), *(f"rsync://{each}" for each in read.paths)):
            try:
                certificate = _one(uri, web, work / f"{name}.cer", seconds_max)
                fresh = checked(certificate, read.key)
                if now is not None and _older(fresh, archive, now):
                    raise Rejected(Reason.SERIAL_BACK, "an older certificate than the one that is held")
            except Rejected as error:
                findings.append(f"{name}: {uri}: {error}")
                continue
            now = archive.keep(certificate)
            break
        if now is not None:
            made[path] = now
    return made


def _one(uri: str, web: Web, file: Path, seconds_max: float) -> bytes:
    if urlsplit(uri).scheme == "https":
        web.get(uri, file, CERTIFICATE_OCTETS_MAX, time.monotonic() + seconds_max)
        return file.read_bytes()
    return one_by_rsync(uri.removeprefix("rsync://"), file.with_suffix(".rsync"), CERTIFICATE_OCTETS_MAX, seconds_max)


def _older(fresh: x509.Certificate, archive: Archive, held: str) -> bool:
    try:
        before = read(archive.get(held))
    except (Lost, Malformed):
        return False
    return fresh.not_valid_before_utc < before.not_valid_before_utc
