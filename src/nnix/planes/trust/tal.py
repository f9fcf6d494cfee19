"""Trust anchor locators (RFC 8630): where an anchor's certificate is, and which key it must have.

A TAL is lines of comment (#), then URIs, an empty line, then the key (SubjectPublicKeyInfo) in base64. The mirror is laid out by rsync URIs, so that is
what validators are handed: the same key, and the rsync URIs alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

URI = re.compile(r"rsync://([A-Za-z0-9.-]+(?::[0-9]+)?/(?:[A-Za-z0-9._~%+-]+/)*[A-Za-z0-9._~%+-]+\.cer)")


class Tal(NamedTuple):
    """`paths` are where the certificate lies in a mirror: HOST/MODULE/FILE. `key` is the public key, DER."""

    paths: tuple[str, ...]
    key: bytes

    def written(self) -> bytes:
        """The TAL with its rsync URIs alone."""
        return "".join(f"rsync://{each}\n" for each in self.paths).encode() + b"\n" + base64.encodebytes(self.key)


class Unreadable(ValueError):
    """No TAL. The message says why."""


def read(content: bytes) -> Tal:
    """Raises Unreadable."""
    try:
        lines = content.decode("ascii").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise Unreadable("it is not ASCII text") from None
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    try:
        gap = lines.index("")
    except ValueError:
        raise Unreadable("there is no empty line between URIs and key") from None
    paths = tuple(found[1] for found in map(URI.fullmatch, lines[:gap]) if found and ".." not in found[1].split("/"))
    if not paths:
        raise Unreadable("none of its URIs is an rsync one")
    try:
        key = base64.b64decode("".join(lines[gap:]), validate=True)
    except binascii.Error:
        raise Unreadable("its key is no base64") from None
    if not key.startswith(b"\x30"):
        raise Unreadable("its key is no SubjectPublicKeyInfo")
    return Tal(paths, key)
