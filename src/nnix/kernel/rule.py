"""Rules and refusals: what may be, and what is said when something may not.

A rule is a small function with a name and a source. It looks at one resource in its snapshot and yields a `Broken` for
each thing wrong. A refusal is a value: resource, field, rule, what would be accepted, the mend, and the place in the file.
All of them are gathered before anything is said, and nothing is said twice.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from nnix.kernel.resource import Resource

if TYPE_CHECKING:
    from nnix.kernel.snapshot import Snapshot


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in a file; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Broken:
    """What a rule found: the field, what stands there, and what would be accepted instead. `mend` says what to do, where that is not plain."""

    field: str
    found: object
    accept: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not admitted, complete enough to mend it."""

    resource: str
    field: str
    found: str
    accept: str
    rule: str
    source: str = ""
    mend: str = ""
    place: Place | None = None

    def __str__(self) -> str:
        head = f"{self.resource}  {self.field}: {self.found}" if self.field else f"{self.resource}  {self.found}"
        rule = f"{self.rule} ({self.source})" if self.source else self.rule
        lines = [head, f"  rule    {rule}", f"  accept  {self.accept}"]
        if self.mend:
            lines.append(f"  mend    {self.mend}")
        if self.place:
            lines.append(f"  at      {self.place}")
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """The refusal for programs (`--json`)."""
        return {
            "resource": self.resource,
            "field": self.field,
            "found": self.found,
            "rule": self.rule,
            "source": self.source,
            "accept": self.accept,
            "mend": self.mend,
            "file": self.place.file if self.place else None,
            "line": self.place.line if self.place else None,
        }


class Refused(Exception):
    """Carries refusals to the edge, where they are printed once."""

    def __init__(self, refusals: Iterable[Refusal]) -> None:
        self.refusals = tuple(refusals)
        super().__init__("\n".join(map(str, self.refusals)))


Check = Callable[[Any, "Snapshot"], Iterator[Broken]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named check of one kind. `description` is the first paragraph of the function's docstring.

    A `whole` rule counts or compares over the whole snapshot, so it says nothing while some documents cannot be read.
    """

    name: str
    source: str
    kind: type[Resource]
    check: Check
    description: str
    whole: bool = False


def rule(name: str, source: str, *, whole: bool = False) -> Callable[[Check], Rule]:
    """Make a rule of a function `(resource, snapshot) -> Iterator[Broken]`; its first parameter's type is the kind it judges."""

    def made(check: Check) -> Rule:
        first = next(iter(inspect.signature(check).parameters))
        kind = get_type_hints(check, localns={"Snapshot": object, "Iterator": Iterator, "Broken": Broken})[first]
        return Rule(name, source, kind, check, " ".join((inspect.getdoc(check) or "").split("\n\n")[0].split()), whole)

    return made


def judge(snapshot: Snapshot, rules: Iterable[Rule]) -> tuple[Refusal, ...]:
    """Every refusal that `rules` have for `snapshot`, in the order of the rules; empty when it may be admitted."""
    return tuple(
        Refusal(resource.id, broken.field, str(broken.found), broken.accept, each.name, each.source, broken.mend)
        for each in rules
        for resource in snapshot.of(each.kind)
        for broken in each.check(resource, snapshot)
    )
