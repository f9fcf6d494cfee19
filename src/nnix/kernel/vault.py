"""The vault: bytes by their digest, in a folder. What plans and ledger entries name by SHA-256 is found here again.

A file appears whole or not at all, and is checked whenever it is read. Nothing in it is secret, and losing it loses no
decision: artifacts can be compiled again; evidence cannot, so a plan whose evidence is lost is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from nnix.kernel.evidence import Evidence


class Vault:
    """Content-addressed bytes below `folder`, which is made on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, contents: Iterable[bytes]) -> None:
        """Store each, durably; what is there already is left alone."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = False
        for content in contents:
            path = self._folder / hashlib.sha256(content).hexdigest()
            if not path.exists():
                draft = path.with_suffix(f".{os.getpid()}")
                draft.write_bytes(content)
                draft.rename(path)
                fresh = True
        if fresh:
            os.sync()

    def get(self, digest: str) -> bytes | None:
        """The bytes with that digest; None when they are not here or are no longer what they were."""
        try:
            content = (self._folder / digest).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return content if hashlib.sha256(content).hexdigest() == digest else None

    def evidence(self, pins: Mapping[str, str]) -> Evidence:
        """The evidence that `pins` (key → digest) name. Raises LookupError for an item that is lost or altered."""
        found = {key: self.get(digest) for key, digest in pins.items()}
        lost = [key for key, content in found.items() if content is None]
        if lost:
            raise LookupError(f"evidence {', '.join(lost)} is no longer in the vault; plan anew to gather it again")
        return Evidence({key: content for key, content in found.items() if content is not None})
