"""Evidence: what was found outside and decisions rest on, such as validated ROA payloads, as-sets, prices.

It is kept by digest. A plan pins the digests, and every pure function gets the same bytes again, so that "why" can name
the very object that decided, even when the world has moved on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property


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
