"""What people read on a terminal: tables, plans, refusals, progress. Programs get the same facts as JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nnix.kernel.apply import Applied
from nnix.kernel.change import Draft, Edit
from nnix.kernel.document import scalar
from nnix.kernel.plane import Finding
from nnix.kernel.rule import Refusal

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys rather than shows, and halves of characters, which it cannot show: strangers' words are quoted here."""


class _Paper(Console):
    """rich's console, which shows what it is given and obeys nothing in it, and leaves it to the command's root what a reader who has seen enough means."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*(UNSEEN.sub("\ufffd", each) if isinstance(each, str) else each for each in objects), **how)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


out = _Paper(highlight=False, soft_wrap=True)
err = _Paper(highlight=False, stderr=True, soft_wrap=True)

# Signs carry the meaning; colour (from a palette that colour-blind people can tell apart: blue and orange) only repeats it.
GOOD, BAD, QUIET = "blue", "dark_orange3", "dim"


def as_json(value: Any) -> None:
    """Print a value for programs."""
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    sys.stdout.write(UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under `columns`; cells that are rich Text keep their style."""
    shown = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(_cell(cell)) for cell in row))
    # A table that goes into a file or a pipe is not folded at 80 columns.
    _Paper(highlight=False, width=None if out.is_terminal else 240).print(shown)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return str(value.get("en") or scalar(dict(value)))
    return UNSEEN.sub("\ufffd", scalar(value) if isinstance(value, list | tuple | bool) else str(value))


def refusals(found: Sequence[Refusal]) -> None:
    """Print every refusal once, and how many there are."""
    for each in found:
        head, *rest = str(each).splitlines()
        err.print(Text("✗ ", style=BAD) + Text(head, style="bold"))
        for line in rest:
            err.print(Text(line))
    err.print(Text(f"{len(found)} refusal{'s' if len(found) != 1 else ''}; nothing was changed", style=BAD))


def _edit_lines(edit: Edit) -> list[Text]:
    sign = "+" if edit.old is None else "-" if edit.new is None else "~"
    style = {"+": GOOD, "-": BAD, "~": ""}[sign]
    head = Text(f"  {sign} {edit.resource.id}", style=style)
    if sign == "~":
        return [head, *(Text(f"      {path}: {_was(old)} → {_was(new)}") for path, old, new in edit.fields())]
    brief = ", ".join(f"{path} {_was(old if new is None else new)}" for path, old, new in list(edit.fields())[:4])
    return [head + Text(f"  {brief}", style=QUIET)]


def _was(value: Any) -> str:
    text = "unset" if value is None else scalar(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def plan(made: Draft, *, limit: int = 40) -> None:
    """Print a plan: resources, then what is done on which machine, then whom it disturbs. Long lists are cut, and say so."""
    if made.plan.empty:
        out.print("Nothing to do: the model is what the files say.")
        return
    added = sum(1 for e in made.edits if e.old is None)
    gone = sum(1 for e in made.edits if e.new is None)
    out.print(Text(f"Resources: {added} to add, {len(made.edits) - added - gone} to change, {gone} to remove", style="bold"))
    for edit in made.edits[:limit]:
        for line in _edit_lines(edit):
            out.print(line)
    if len(made.edits) > limit:
        out.print(Text(f"  … and {len(made.edits) - limit} more (--all shows them)", style=QUIET))
    machines: dict[str, list[str]] = {}
    for action in made.plan.actions:
        lines = machines.setdefault(action.machine, [])
        lines.extend(f"{action.driver} {action.name}: {step.does}" for step in action.steps or ())
        if not action.steps:
            lines.append(f"{action.driver} {action.name}: write anew")
    out.print(Text(f"\nMachines: {len(machines)} touched", style="bold"))
    for machine, lines in list(machines.items())[:limit]:
        out.print(f"  {machine}")
        for text in lines[:8]:
            out.print(f"      {text}")
        if len(lines) > 8:
            out.print(Text(f"      … and {len(lines) - 8} more steps", style=QUIET))
    if len(machines) > limit:
        out.print(Text(f"  … and {len(machines) - limit} more machines", style=QUIET))
    if made.plan.disturbs:
        out.print(Text(f"\nDisturbed: traffic of {len(made.plan.disturbs)} resource(s) is interrupted", style=BAD))
        for each in made.plan.disturbs[:limit]:
            out.print(f"  ! {each}")
    else:
        out.print(Text("\nDisturbed: nobody", style="bold"))


def findings(found: Sequence[Finding], *, limit: int = 10) -> None:
    """Print what should be known though nothing refuses it; a long list is cut, and says so."""
    if found:
        out.print(Text(f"\nTo know: {len(found)} finding{'s' if len(found) != 1 else ''}", style="bold"))
    for each in found[:limit]:
        out.print(Text(f"  · {each}"))
    if len(found) > limit:
        out.print(Text(f"  … and {len(found) - limit} more (`nnix plan --all` shows them)", style=QUIET))


def applied(what: Applied) -> None:
    """Print what became of a change."""
    number = what.entry.seq
    if what.verified:
        out.print(Text("✓ ", style=GOOD) + Text(f"change {number} is applied and verified"))
        return
    for each in what.failures[:20]:
        err.print(Text("✗ ", style=BAD) + Text(f"{'/'.join(each.key)}: {each.failure}"))
    if what.reverted:
        err.print(Text(f"change {number} could not be brought about and was taken back; both are in the ledger", style=BAD))
    else:
        err.print(Text(f"change {number} is recorded; `nnix run` goes on trying", style=BAD))
