"""kill -9 in the middle of apply, many times at random points: the old or the new state, and the ledger true."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from nnix.hosts.namespace import NamespaceHost
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.world import Host

from .toy import Library, Shelf, shelf, volume, wanted

KILLS = 60
SHELVES = ("a", "b", "c", "d")


@dataclass
class Folders:
    """The toy's machines as real folders, so that what a killed process wrote is there afterwards."""

    root: Path

    def host(self, machine: str) -> Host:
        return NamespaceHost(machine, None, self.root / machine)


def _apply(library: Library, resources: list[Resource]) -> None:
    with library.ledger() as ledger:
        office = library.office(ledger)
        office.world = type(office.world)(Folders(library.folder / "hosts"), office.world.drivers)
        made = office.draft(wanted(office, *resources), Evidence())
        asyncio.run(office.apply(made, "round"))


def test_kill_9_in_the_middle_of_apply(tmp_path: Path) -> None:
    """A child applies a change and is killed after a random time; the next one settles what was begun. Sixty times over."""
    seed = int(os.environ.get("NNIX_SEED", time.time_ns() % 2**32))
    print(f"seed {seed}")
    chance = random.Random(seed)
    library = Library(tmp_path)
    shelves = [shelf(name) for name in SHELVES]
    started = time.monotonic()
    _apply(library, list(shelves))
    usual = time.monotonic() - started
    finished = 0
    for turn in range(KILLS):
        books = [volume(f"v{turn}-{n}", chance.choice(SHELVES)) for n in range(chance.randrange(1, 6))]
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _apply(library, [*shelves, *books])
                code = 0
            finally:
                os._exit(code)
        time.sleep(chance.uniform(0, usual * 1.5))  # the kill's moment is what is drawn here; nothing is waited for
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        finished += os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
        with library.ledger() as ledger:
            office = library.office(ledger)
            office.world = type(office.world)(Folders(tmp_path / "hosts"), office.world.drivers)
            asyncio.run(office.settle())
            model = office.book.model()
            assert model.settled
            assert not ledger.verify(), f"seed {seed}, turn {turn}"
            for name in SHELVES:
                held = (tmp_path / "hosts" / name / "paper/books").read_bytes().decode()
                expected = [r.name for r in model.snapshot if not isinstance(r, Shelf) and getattr(r, "shelf", "") == name]
                assert [line.split()[0] for line in held.splitlines()[1:]] == expected, f"seed {seed}, turn {turn}"
    assert finished < KILLS, "no kill came in time; nothing was tried"
