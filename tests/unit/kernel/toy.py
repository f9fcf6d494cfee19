"""A toy plane of two kinds: books stand on shelves. It knows no network, and neither does the kernel.

A shelf is a machine; what it shall hold is one artifact of the paper driver. Whole pipeline, no root, no daemon.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import Field

from nnix.daemons.paper import PaperDriver
from nnix.hosts.paper import PaperHost
from nnix.kernel.apply import Office
from nnix.kernel.change import Book, admit
from nnix.kernel.drive import World
from nnix.kernel.evidence import Evidence
from nnix.kernel.ledger import Ledger, open_ledger
from nnix.kernel.plane import Plane, kinds_of
from nnix.kernel.resource import Ref, Resource
from nnix.kernel.rule import Broken, rule
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.vault import Vault
from nnix.kernel.world import Artifact, Host


class Shelf(Resource):
    """A place for books."""

    width_cm: int = Field(default=80, ge=1, le=1000, description="room for books, in centimetres")
    number: int | None = Field(default=None, description="inventory number; allocated when unset")


class Volume(Resource):
    """A book."""

    shelf: Ref[Shelf] = Field(description="where it stands")
    thickness_cm: int = Field(ge=1, le=50, description="in centimetres")


@rule("toy.fits", source="carpenter's law")
def fits(shelf: Shelf, snapshot: Snapshot) -> Iterator[Broken]:
    """Books on a shelf take no more room than it has."""
    taken = sum(each.thickness_cm for each in snapshot.where(Volume, shelf=shelf.name))
    if taken > shelf.width_cm:
        yield Broken("width_cm", shelf.width_cm, f"at least {taken}")


def allocate(snapshot: Snapshot, before: Snapshot) -> Iterator[Shelf]:
    known = {each.name: each.number for each in before.of(Shelf)}
    taken = {n for n in [*known.values(), *(each.number for each in snapshot.of(Shelf))] if n}
    for shelf in snapshot.of(Shelf):
        if shelf.number is None:
            number = known.get(shelf.name) or next(n for n in range(1, 10_000) if n not in taken)
            taken.add(number)
            yield shelf.changed(number=number)


def compile(snapshot: Snapshot, evidence: Evidence) -> Iterable[Artifact]:
    for shelf in snapshot.of(Shelf):
        books = snapshot.where(Volume, shelf=shelf.name)
        lines = [f"shelf {shelf.number}", *(f"{each.name} {each.thickness_cm}" for each in books)]
        yield Artifact(shelf.name, "paper", "books", "\n".join(lines).encode(), frozenset({shelf.id, *(b.id for b in books)}))


TOY = Plane(name="toy", kinds=(Shelf, Volume), rules=(fits,), allocate=allocate, compile=compile)
KINDS = kinds_of([TOY])


@dataclass
class Shelves:
    """Machines of the toy world: one paper host a shelf, made when first named."""

    hosts: dict[str, PaperHost] = field(default_factory=dict)

    def host(self, machine: str) -> Host:
        return self.hosts.setdefault(machine, PaperHost(machine))


class Ticking:
    """A clock that the test owns: every reading is a second later."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass
class Library:
    """Everything that the pipeline needs, on paper and in a folder of the test."""

    folder: Path
    shelves: Shelves = field(default_factory=Shelves)
    clock: Ticking = field(default_factory=Ticking)

    def ledger(self) -> Ledger:
        return open_ledger(str(self.folder / "ledger.db"), self.folder / "keys")

    def office(self, ledger: Ledger) -> Office:
        world = World(self.shelves, {"paper": PaperDriver()})
        return Office(Book(ledger, KINDS), Vault(self.folder / "vault"), (TOY,), world, self.clock, "librarian")


def wanted(office: Office, *resources: Resource) -> Snapshot:
    """An admitted snapshot of `resources`."""
    return admit((TOY,), resources, office.book.model().snapshot)


def shelf(name: str, width_cm: int = 80) -> Shelf:
    return Shelf.model_validate({"name": name, "width_cm": width_cm})


def volume(name: str, on: str, thickness_cm: int = 3) -> Volume:
    return Volume.model_validate({"name": name, "shelf": on, "thickness_cm": thickness_cm})
