"""Evidence: what was found outside and decisions rest on, such as validated ROA payloads, as-sets, prices.

It is kept by digest. A plan pins the digests, and every pure function gets the same bytes again, so that "why" can name
the very object that decided, even when the world has moved on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Item:
    """One piece of evidence, and its SHA-256."""

    content: bytes

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class Evidence(Mapping[str, Item]):
    """key → item. Keys say where it came from: `file:rpki/vrps.json`. A key that is not there was not to be had."""

    def __init__(self, items: Mapping[str, bytes] | None = None) -> None:
        self._items = {key: Item(content) for key, content in sorted((items or {}).items())}

    def __getitem__(self, key: str) -> Item:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def pins(self) -> dict[str, str]:
        """key → digest, as plans and ledger entries carry it."""
        return {key: item.digest for key, item in self._items.items()}


class EvidenceStore:
    """Evidence by digest, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, evidence: Evidence) -> None:
        """Store every item. A file appears whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for item in evidence.values():
            path = self._folder / item.digest
            if not path.exists():
                fresh = path.with_suffix(".new")
                fresh.write_bytes(item.content)
                fresh.rename(path)

    def recall(self, pins: Mapping[str, str]) -> Evidence:
        """The evidence that `pins` name. Raises KeyError for an item that is not here, ValueError for one whose bytes have changed."""
        found: dict[str, bytes] = {}
        for key, digest in pins.items():
            try:
                content = (self._folder / digest).read_bytes()
            except FileNotFoundError:
                raise KeyError(f"evidence {key} ({digest[:12]}) is not in the store") from None
            if hashlib.sha256(content).hexdigest() != digest:
                raise ValueError(f"evidence {key} ({digest[:12]}) was altered in the store")
            found[key] = content
        return Evidence(found)
