"""What a machine has and what work asks for: processors in thousandths of a core, memory in MiB, devices in thousandths of one.

A Demand with a `share` below 1000 asks for a part of one device; any other asks for whole devices. `types` are the device types that it accepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WHOLE = 1000
"""thousandths of a device"""


class Together(StrEnum):
    """How close the workers of a gang have to be."""

    NODE = "node"
    DOMAIN = "domain"
    POOL = "pool"


@dataclass(frozen=True, slots=True)
class Node:
    """A machine. `domain` is its place in the pool's network, from the largest domain to the smallest: `leaf-1/rack-3`."""

    name: str
    device: str
    devices: int
    cpu_milli: int
    memory_mib: int
    domain: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Demand:
    """What one worker asks for. No device: `devices` 0. A part of one: `devices` 1 and a `share` below 1000."""

    cpu_milli: int
    memory_mib: int
    devices: int = 0
    share: int = WHOLE
    types: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if (
            min(self.cpu_milli, self.memory_mib, self.devices) < 0
            or not 1 <= self.share <= WHOLE
            or (self.share < WHOLE and self.devices != 1)
        ):
            raise ValueError(f"no work asks for this: {self}")


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a worker is: its machine, and how many thousandths of which of its devices it has."""

    node: str
    devices: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Why there is no room: what would have to be different, and on how many machines each thing is short."""

    why: str
    short: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return self.why + "".join(f"; {count} {word}" for word, count in self.short)
