"""Progress on long work: a bar on a terminal, a few plain lines in a log, nothing for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nnix.cli.tables import err
from nnix.kernel.drive import Outcome, Told


@contextmanager
def progress(verb: str, total: int, *, quiet: bool = False) -> Iterator[Told]:
    """A function to call with each outcome, which shows how far the work has come."""
    if quiet:
        yield lambda outcome: None
        return
    if not err.is_terminal:
        started, count = time.monotonic(), 0

        def line(outcome: Outcome) -> None:
            nonlocal count
            count += 1
            elapsed = time.monotonic() - started
            if elapsed > 1 and (count == total or count % max(total // 5, 1) == 0):  # what is quick needs no progress
                err.print(f"{verb}: {count} of {total} ({elapsed:.1f} s)")

        yield line
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err, transient=True
    ) as bar:
        task = bar.add_task(verb, total=total)

        def advance(outcome: Outcome) -> None:
            bar.update(task, advance=1, description=f"{verb} {outcome.key[0]}")

        yield advance
