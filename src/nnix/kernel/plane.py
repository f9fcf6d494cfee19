"""A plane: one thing that members exchange, as a record of its doors.

Every plane has the same doors, and leaves out those that it does not need. The composition root holds one tuple of
planes; nothing registers itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Rule
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact, Host


@dataclass(frozen=True, slots=True)
class Status:
    """What became of a resource: a state in one word, and the reason where it is not as it should be.

    `good` says whether the world agrees with the model. `facts` are for programs and detailed views.
    """

    resource: str
    state: str
    reason: str = ""
    good: bool = True
    facts: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What an operator should know of a model before it is applied, though no rule refuses it: of which resource, and what."""

    about: str
    says: str

    def __str__(self) -> str:
        return f"{self.about}: {self.says}"


class Machines(Protocol):
    """Hosts by machine name."""

    def host(self, machine: str) -> Host:
        """Raises Unreachable for a machine that cannot be used."""
        ...


@dataclass(frozen=True)
class Plane:
    """The doors of a plane.

    kinds     the resource types: the only door that other planes import
    rules     admission
    evidence  which evidence a snapshot needs, by key
    allocate  resources completed with names that must stay (numbers, addresses). The second snapshot is the one before, whose choices are kept
    derive    resources that follow from others, each with its `owner`
    compile   (snapshot, evidence) → artifacts; pure
    prove     (snapshot, evidence) → what would happen that one should know of beforehand; pure
    read      what became of this plane's resources, asked of the running world
    """

    name: str
    kinds: tuple[type[Resource], ...] = ()
    rules: tuple[Rule, ...] = ()
    evidence: Callable[[Snapshot], Iterable[str]] | None = None
    allocate: Callable[[Snapshot, Snapshot], Iterable[Resource]] | None = None
    derive: Callable[[Snapshot], Iterable[Resource]] | None = None
    compile: Callable[[Snapshot, Evidence], Iterable[Artifact]] | None = None
    prove: Callable[[Snapshot, Evidence], Iterable[Finding]] | None = None
    read: Callable[[Snapshot, Machines], Awaitable[Iterable[Status]]] | None = None


def kinds_of(planes: Iterable[Plane]) -> dict[str, type[Resource]]:
    """`RouteServer` → the kind, over all planes. Raises ValueError when two planes claim one name."""
    kinds: dict[str, type[Resource]] = {}
    for plane in planes:
        for kind in plane.kinds:
            if kinds.setdefault(kind.kind(), kind) is not kind:
                raise ValueError(f"kind {kind.kind()} stands in two planes")
    return kinds
