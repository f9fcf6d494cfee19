"""A snapshot: all resources at one moment, immutable, with the indices that rules and compilers ask for.

Equality is by content: two snapshots with the same resources have the same digest, whatever files they came from.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

import rfc8785

from nnix.kernel.resource import Ref, Resource

R = TypeVar("R", bound=Resource)


class Snapshot:
    """An immutable set of resources. Iterating gives them sorted by kind and name."""

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._by_id: dict[str, Resource] = {each.id: each for each in sorted(resources, key=lambda r: (type(r).kind(), r.name))}
        self._indices: dict[tuple[type[Resource], str], Mapping[Any, tuple[Any, ...]]] = {}

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, resource_id: object) -> bool:
        return resource_id in self._by_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self._by_id == other._by_id

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _by_kind(self) -> Mapping[type[Resource], tuple[Resource, ...]]:
        groups: dict[type[Resource], list[Resource]] = defaultdict(list)
        for each in self:
            groups[type(each)].append(each)
        return {kind: tuple(group) for kind, group in groups.items()}

    def of(self, kind: type[R]) -> tuple[R, ...]:
        """All resources of `kind`, by name."""
        return self._by_kind.get(kind, ())  # type: ignore[return-value]

    def get(self, kind: type[R], name: str) -> R | None:
        return self._by_id.get(f"{kind.slug()}/{name}")  # type: ignore[return-value]

    def by_id(self, resource_id: str) -> Resource | None:
        return self._by_id.get(resource_id)

    def at(self, ref: Ref[R]) -> R:
        """What `ref` points to. Raises KeyError for a dangling one; an admitted snapshot has none."""
        return self._by_id[ref.id]  # type: ignore[return-value]

    def where(self, kind: type[R], **field: Any) -> tuple[R, ...]:
        """Resources of `kind` whose one given field equals the value, or, where the field is a list, contains it. Indexed on first use."""
        ((name, value),) = field.items()
        return self.index(kind, name).get(value, ())

    def index(self, kind: type[R], field: str) -> Mapping[Any, tuple[R, ...]]:
        """value → resources of `kind` that have it in `field`; unset fields are left out, list fields count once per item."""
        found = self._indices.get((kind, field))
        if found is None:
            groups: dict[Any, list[R]] = defaultdict(list)
            for each in self.of(kind):
                value = getattr(each, field)
                for item in dict.fromkeys(value) if isinstance(value, tuple | list) else (value,):
                    if item is not None:
                        groups[item].append(each)
            found = {value: tuple(group) for value, group in groups.items()}
            self._indices[kind, field] = found
        return found

    @cached_property
    def dependents(self) -> Mapping[str, tuple[str, ...]]:
        """resource id → ids of those that refer to it."""
        groups: dict[str, list[str]] = defaultdict(list)
        for each in self:
            for target in dict.fromkeys(ref.id for _, ref in each.references()):
                groups[target].append(each.id)
        return {target: tuple(group) for target, group in groups.items()}

    def impact(self, resource_ids: Iterable[str]) -> frozenset[str]:
        """`resource_ids` and all that depend on them, through any number of references."""
        reached: set[str] = set()
        queue = list(resource_ids)
        while queue:
            each = queue.pop()
            if each not in reached:
                reached.add(each)
                queue.extend(self.dependents.get(each, ()))
        return frozenset(reached)

    def ordered(self) -> tuple[Resource, ...]:
        """Referred-to before referrer: the order of creation; deletion is the reverse. A cycle is broken by name."""
        done: dict[str, Resource] = {}
        entered: set[str] = set()

        def visit(resource: Resource) -> None:
            if resource.id in entered:
                return
            entered.add(resource.id)
            for _, ref in resource.references():
                target = self._by_id.get(ref.id)
                if target is not None:
                    visit(target)
            done[resource.id] = resource

        for each in self:
            visit(each)
        return tuple(done.values())

    def replaced(self, put: Iterable[Resource] = (), gone: Iterable[str] = ()) -> Snapshot:
        """A snapshot with `put` added or replaced, and the ids in `gone` left out."""
        merged = {**self._by_id, **{each.id: each for each in put}}
        for resource_id in gone:
            merged.pop(resource_id, None)
        return Snapshot(merged.values())

    @cached_property
    def declared(self) -> Snapshot:
        """Only what was wished for: without the resources that planes derived."""
        return Snapshot(each for each in self if each.owner is None)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON (RFC 8785) of all resources."""
        return hashlib.sha256(rfc8785.dumps([each.record() for each in self])).hexdigest()
