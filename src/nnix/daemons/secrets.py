"""Secrets in configurations: by reference everywhere but on the machine that needs them.

An artifact is kept in the vault, shown in plans and named in the ledger, so it holds no secret, only where one belongs:

    @SECRET:NAME@       the secret itself, in the configuration (a TSIG key in base64)
    @SECRETFILE:NAME@   the path of a file in the daemon's folder that holds it (a private key in PEM)

The driver fills them in on the way to the machine, from the operator's folder of secrets, one file each. A secret that is not there
is a complaint of `check`, by name, before anything is touched. One that has changed is a difference like any other, and `drive` brings it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nnix.kernel.world import Failed

INLINE = re.compile(rb"@SECRET:([A-Za-z0-9._-]{1,64})@")
FILE = re.compile(rb"@SECRETFILE:([A-Za-z0-9._-]{1,64})@")
SHAPE = re.compile(rb"[A-Za-z0-9+/]")  # of base64 and of hexadecimal digits; A is either


@dataclass(frozen=True, slots=True)
class Revealed:
    """A configuration with its secrets in place, and the files that must lie beside it (name → content)."""

    content: bytes
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Quotable:
    """What a daemon takes between quotation marks, and how to say so."""

    pattern: re.Pattern[bytes]
    words: str


def unfit(secrets: Secrets | None, content: bytes, quotable: Quotable) -> str:
    """Why the secrets that stand inside of `content` cannot be put into it; empty when they can."""
    named = sorted({each.decode() for each in INLINE.findall(content)})
    if not named:
        return ""
    if secrets is None:
        return f"no folder of secrets, but secret:{named[0]} is named"
    if complaint := secrets.complaint(content):
        return complaint
    odd = [f"secret:{name}" for name in named if not quotable.pattern.fullmatch(secrets.get(name) or b"")]
    return f"{', '.join(odd)}: {quotable.words}" if odd else ""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The operator's folder of secrets. `secret:NAME` is the file NAME."""

    folder: Path

    def get(self, name: str) -> bytes | None:
        """The secret, without white space around it; None where there is none."""
        try:
            return (self.folder / name).read_bytes().strip() or None
        except OSError:
            return None

    def missing(self, content: bytes) -> list[str]:
        """The secrets that `content` names and that are not here."""
        named = {found.decode() for pattern in (INLINE, FILE) for found in pattern.findall(content)}
        return sorted(name for name in named if self.get(name) is None)

    def complaint(self, content: bytes) -> str:
        """In words, why `content` cannot be filled in; empty when it can."""
        lost = self.missing(content)
        return f"not in {self.folder}: {', '.join(f'secret:{name}' for name in lost)}" if lost else ""

    def reveal(self, content: bytes) -> Revealed:
        """Fill them in. Raises Failed for one that is not here."""
        if complaint := self.complaint(content):
            raise Failed(complaint)
        names = sorted({found.decode() for found in FILE.findall(content)})
        files = {f"{name}.pem": (self.get(name) or b"") + b"\n" for name in names}
        content = FILE.sub(lambda found: b"@HOME@/" + found[1] + b".pem", content)
        return Revealed(INLINE.sub(lambda found: self.get(found[1].decode()) or b"", content), files)

    def masked(self, content: bytes) -> Revealed:
        """The same with stand-ins of the same shape, for a parser whose complaint may quote a line. Raises Failed as `reveal` does."""
        hidden = INLINE.sub(lambda found: SHAPE.sub(b"A", self.get(found[1].decode()) or b""), content)
        revealed = self.reveal(hidden)
        return Revealed(revealed.content, dict.fromkeys(revealed.files, b""))
