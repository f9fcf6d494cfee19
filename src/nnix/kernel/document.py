"""Files: YAML in, resources out, and back, with every fault named by file and line.

A file holds documents, one resource each: `kind`, `name`, then the kind's own fields. The subset of YAML is the plain
one: mappings, lists, scalars, comments. Anchors, tags and duplicate keys are refused, since what they mean is not on the
line where a reader looks. Scalars keep their text; the kind's types say what it means.

Reading gathers all faults before it speaks. Places (file and line of a field) are worked out only for the faulty, so that
thousands of sound resources load fast. Editing files in place is the business of editing.py.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, get_args

import rfc8785
import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from yaml.cyaml import CParser  # type: ignore[attr-defined]

from nnix.kernel.resource import NAME_PATTERN, Json, Record, Resource
from nnix.kernel.rule import Place, Refusal

_NULL = "null"
_NESTING_MAX = 64
_WIDTH_MAX = 130
BYTE_ORDER_MARK = "\ufeff"
_FAR_NUMBERS = (re.compile(r"e\+?\d{3}"), re.compile(r"[\d_]{16}"))  # one after the other: together they take three times as long


class _Composer(CParser):
    """libyaml's parser without YAML 1.1's guesses: a scalar is text, or null when it says so without quotes."""

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: Any) -> str:
        return _NULL if kind is yaml.ScalarNode and implicit[0] and value in ("", "~", "null") else ""

    def descend_resolver(self, parent: object, index: object) -> None: ...

    def ascend_resolver(self) -> None: ...


class Unreadable(Exception):
    """A document that is not in our subset of YAML: what is wrong, what would be accepted, at which line."""

    def __init__(self, line: int, found: str, accept: str) -> None:
        super().__init__(found)
        self.line, self.found, self.accept = line, found, accept


@dataclass(frozen=True)
class Read:
    """What files said: the resources, where each stands, and what had to be refused."""

    resources: tuple[Resource, ...]
    places: Mapping[str, Place]
    refusals: tuple[Refusal, ...]
    files: Mapping[str, str]
    kinds: Mapping[str, type[Resource]]

    def place(self, resource_id: str, field: str = "") -> Place | None:
        """The line of `field` of a resource, or of the resource itself where it has no such field written."""
        home = self.places.get(resource_id)
        if home is None or not field:
            return home
        node = _by_line(self.files[home.file]).get(home.line)
        return Place(home.file, line_of(node_near(node, field.split(".")))) if node else home


@lru_cache(maxsize=4)
def _by_line(text: str) -> Mapping[int, yaml.Node]:
    """The documents of a file by their lines, parsed once for all the faults that have to be placed in it."""
    found: dict[int, yaml.Node] = {}
    with suppress(Unreadable):  # what could be read before it is there
        found.update((line_of(node), node) for node in documents(text))
    return found


def read(files: Mapping[str, str], kinds: Mapping[str, type[Resource]]) -> Read:
    """Read all resources of `files` (path → text). Never raises for what a file says; every fault becomes a refusal."""
    resources: dict[str, Resource] = {}
    places: dict[str, Place] = {}
    refusals: list[Refusal] = []
    for file, text in sorted(files.items()):
        try:
            far = _may_be_far(text.lower())
            for node in documents(text):
                found = _resource(node, text.removeprefix(BYTE_ORDER_MARK), file, kinds)
                if far and isinstance(found, Resource):
                    found = _beyond_json(found, node, file) or found
                if not isinstance(found, Resource):
                    refusals.extend(found)
                elif found.id in places:
                    taken = f"is already taken at {places[found.id]}"
                    accept = "one document for each resource"
                    refusals.append(Refusal(found.id, "name", taken, accept, "kernel.name-unique", place=Place(file, line_of(node))))
                else:
                    resources[found.id], places[found.id] = found, Place(file, line_of(node))
        except Unreadable as fault:
            refusals.append(_unreadable(file, fault))
    return Read(tuple(resources.values()), places, tuple(refusals), dict(files), kinds)


def _resource(node: yaml.Node, text: str, file: str, kinds: Mapping[str, type[Resource]]) -> Resource | list[Refusal]:
    """What one document says, or all that is wrong with it."""
    try:
        data = plain(node, text)
    except Unreadable as fault:
        return [_unreadable(file, fault)]
    if not isinstance(data, dict):
        here = Place(file, line_of(node))
        return [Refusal(file, "", "this document is not a mapping", "`kind: …`, `name: …`, fields", "kernel.document", place=here)]

    def spot(*path: str | int) -> Place:
        return Place(file, line_of(node_near(node, path)))

    written, name = data.pop("kind", None), _short(data.get("name") or "?")
    kind = kinds.get(written) if isinstance(written, str) else None
    if kind is None:
        near = nearest(str(written), kinds) if written else ""
        mend = f"did you mean {near}?" if near else ""
        found = _short(written) if written else "is missing"
        accept = f"one of {', '.join(sorted(kinds))}"
        return [Refusal(f"{_short(written or '?')}/{name}", "kind", found, accept, "kernel.kind", mend=mend, place=spot("kind"))]
    label = f"{kind.slug()}/{name}"
    if "owner" in data:
        accept = "nothing: only derived resources have an owner"
        return [Refusal(label, "owner", "is set", accept, "kernel.owner", mend="delete the line", place=spot("owner"))]
    try:
        return kind.model_validate(data)
    except ValidationError as invalid:
        refusals: dict[tuple[str, str], Refusal] = {}
        for error in invalid.errors(include_url=False):
            path = _field_path(kind, error["loc"])
            fresh = _refusal(kind, label, error, path, spot(*path))
            known = refusals.setdefault((fresh.field, fresh.rule), fresh)
            if fresh.accept != known.accept:  # the branches of a union, each with its own complaint
                refusals[fresh.field, fresh.rule] = replace(
                    known, accept=f"{known.accept}; or {fresh.accept.removeprefix(_described(kind, path)).strip(' ()')}"
                )
        return list(refusals.values())


def _may_be_far(text: str) -> bool:
    """Whether something in lower-case `text` looks like a number beyond JSON's; texts without such words need no closer look."""
    return "inf" in text or "nan" in text or any(each.search(text) for each in _FAR_NUMBERS)


def _beyond_json(resource: Resource, node: yaml.Node, file: str) -> list[Refusal]:
    """Numbers that the ledger's JSON cannot hold: RFC 8785, 3.2.2.3 knows those of an IEEE 754 double, and integers below 2^53."""
    refusals = []
    for path, value in _leaves(resource.record()):
        try:
            rfc8785.dumps(value)
        except rfc8785.CanonicalizationError:
            place = Place(file, line_of(node_near(node, path)))
            accept = "a number between -9007199254740991 and 9007199254740991"
            refusals.append(
                Refusal(resource.id, ".".join(map(str, path)), _short(value), accept, "kernel.field-type", "RFC 8785, 3.2.2.3", place=place)
            )
    return refusals


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict | list):
        for part, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*path, part))
    else:
        yield path, value


def _unreadable(file: str, fault: Unreadable) -> Refusal:
    return Refusal(file, "", fault.found, fault.accept, "kernel.yaml", "YAML 1.2; docs/files.md", place=Place(file, fault.line))


# --- YAML nodes -------------------------------------------------------------------------------------------------------


def documents(text: str) -> Iterator[yaml.Node]:
    """The documents of a file. Raises Unreadable at the first that cannot be parsed; the ones before it have been yielded."""
    try:
        composer = _Composer(text)  # its parser itself gives up at 1,000 levels, long before its composer's recursion hurts
        while composer.check_node():
            node = composer.get_node()
            if node is not None and not (isinstance(node, yaml.ScalarNode) and node.tag == _NULL and node.value == ""):
                yield node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(filter(None, (error.context, error.problem)))
        raise Unreadable(mark.line + 1 if mark else 1, f"not YAML: {said}", "indented `field: value` lines") from None
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        said = " ".join(str(error).split())[:160]
        raise Unreadable(1, f"not YAML: {said}", "UTF-8 text without control characters") from None


def plain(node: yaml.Node, text: str, depth: int = 0) -> Any:
    """A node as dicts, lists, str and None. Raises Unreadable for what our subset leaves out.

    A node that is anchored or tagged begins with that mark, and an alias shows the very node that it stands for.
    """
    if text[node.start_mark.index : node.start_mark.index + 1] in ("&", "!"):
        mark = re.match(r"[^\s,\[\]{}]*", text[node.start_mark.index :])
        found = f"the {'anchor' if mark and mark[0].startswith('&') else 'tag'} {_short(mark[0] if mark else '')}"
        raise Unreadable(line_of(node), found, "the value itself, written out where it is meant, without anchors, aliases and tags")
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == _NULL else node.value
    if depth > _NESTING_MAX:
        raise Unreadable(line_of(node), f"more than {_NESTING_MAX} levels of nesting", "a flatter document")
    if isinstance(node, yaml.SequenceNode):
        return [plain(item, text, depth + 1) for item in node.value]
    mapping: Json = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise Unreadable(line_of(key), "a key that is a list or a mapping", "plain field names")
        plain(key, text, depth)
        if key.value in mapping:
            raise Unreadable(line_of(key), f"the field {_short(key.value)} stands twice", "each field once")
        mapping[key.value] = plain(value, text, depth + 1)
    return mapping


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def node_near(node: yaml.Node, path: Iterable[str | int]) -> yaml.Node:
    """The node at `path`, or the deepest one on the way; for a mapping's field, its key (whose line people look for)."""
    spot = node
    for part in path:
        inner = child(node, part)
        if inner is None:
            break
        spot, node = inner
    return spot


def child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """(node to show, node to descend into) of one step."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return key, value
    elif isinstance(node, yaml.SequenceNode) and str(part).isdigit() and int(part) < len(node.value):
        return node.value[int(part)], node.value[int(part)]
    return None


# --- what pydantic says, as refusals ------------------------------------------------------------------------------------


def _refusal(kind: type[Resource], label: str, error: ErrorDetails, path: list[int | str], place: Place) -> Refusal:
    field = ".".join(map(_short, path))
    given, context = error.get("input"), error.get("ctx", {})
    found, mend = _short(given), ""
    match error["type"]:
        case "missing":
            return Refusal(label, field, "is missing", _described(kind, path), "kernel.field-required", place=place)
        case "extra_forbidden":
            known = _fields_at(kind, path[:-1])
            near = nearest(str(path[-1]), known)
            mend = f"did you mean {near}?" if near else "delete the line"
            return Refusal(label, field, "no such field", f"one of {', '.join(known)}", "kernel.field-known", mend=mend, place=place)
        case "enum" | "literal_error":
            accept = f"one of {context.get('expected', '')}".replace("'", "")
            near = nearest(str(given), re.findall(r"[\w-]+", accept)[2:])
            mend = f"did you mean {near}?" if near else ""
        case "string_pattern_mismatch" if context.get("pattern") == NAME_PATTERN:
            accept = "a name: lower-case letters, digits and hyphens, at most 63"
        case "value_error":
            accept = str(context.get("error", error["msg"]))
        case _:
            accept = f"{_described(kind, path)} ({error['msg'][:1].lower()}{error['msg'][1:]})"
    return Refusal(label, field, found, accept, "kernel.field-type", mend=mend, place=place)


def _field_path(kind: type[Record], loc: tuple[int | str, ...]) -> list[int | str]:
    """pydantic's location without the parts that name a union's branch instead of a field."""
    path: list[int | str] = []
    for part in loc:
        if isinstance(part, int) or not path or _record_at(kind, path) is not None:
            path.append(part)
    return path


def _record_at(kind: type[Record], path: Iterable[int | str]) -> type[Record] | None:
    """The record type whose fields stand at `path`."""
    current: type[Record] | None = kind
    for part in path:
        if isinstance(part, int):
            continue
        if current is None:
            return None
        field = next((f for n, f in current.model_fields.items() if (f.alias or n) == part), None)
        current = _record_in(field.annotation) if field else None
    return current


def _record_in(annotation: Any) -> type[Record] | None:
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _record_in(inner)
        if found:
            return found
    return None


def _fields_at(kind: type[Record], path: Iterable[int | str]) -> list[str]:
    record = _record_at(kind, path)
    return [field.alias or name for name, field in record.model_fields.items() if name != "owner"] if record else []


def _described(kind: type[Record], path: list[int | str]) -> str:
    """A field's own description and example, as what would be accepted."""
    names = [part for part in path if isinstance(part, str)]
    record = _record_at(kind, names[:-1]) if names else None
    field = next((f for n, f in record.model_fields.items() if (f.alias or n) == names[-1]), None) if record else None
    if field is None:
        return "a value of the field's type"
    said = (_item_described(field.annotation) if isinstance(path[-1], int) else None) or field
    example = f", like {said.examples[0]}" if said.examples else ""
    return f"{said.description or field.description or 'a value'}{example}"


def _item_described(annotation: Any) -> FieldInfo | None:
    """What a list's type says about its items, when they have a description of their own."""
    for each in (*getattr(annotation, "__metadata__", ()), *get_args(annotation)):
        found = each if isinstance(each, FieldInfo) else _item_described(each) if get_args(each) else None
        if found is not None and found.description:
            return found
    return None


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; empty when none is near."""
    by_folded = {each.lower(): each for each in known}
    close = difflib.get_close_matches(word.lower(), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else ""


def _short(value: object) -> str:
    text = "nothing" if value is None else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(value)[:81])
    return text if len(text) <= 80 else f"{text[:77]}…"


# --- writing ----------------------------------------------------------------------------------------------------------

_BARE = re.compile(r"[A-Za-z0-9_./+][A-Za-z0-9_./:+@% ()&'-]*")


def write(resources: Iterable[Resource]) -> str:
    """Resources as a file: one document each, fields in the order of their kind, defaults left out. The same bytes for the same input."""
    return "---\n".join("".join(_lines(resource.written(), 0)) for resource in resources)


def _lines(record: Mapping[str, Any], indent: int) -> Iterator[str]:
    margin = "  " * indent
    for field, value in record.items():
        if isinstance(value, Mapping) and value:
            yield f"{margin}{field}:\n"
            yield from _lines(value, indent + 1)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield f"{margin}{field}:\n"
            for item in value:
                first, *rest = _lines(item, indent + 2) if item else ("{}\n",)
                yield f"{margin}  - {first.lstrip()}"
                yield from rest
        elif isinstance(value, list) and len(margin) + len(field) + sum(len(scalar(item)) + 2 for item in value) > _WIDTH_MAX:
            yield f"{margin}{field}:\n"
            yield from (f"{margin}  - {scalar(item)}\n" for item in value)
        else:
            yield f"{margin}{field}: {scalar(value)}\n"


def scalar(value: Any) -> str:
    """A value as it stands behind `field: `, quoted only where YAML needs it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return f"[{', '.join(scalar(item) for item in value)}]"
        case dict():
            return "{" + ", ".join(f"{key}: {scalar(item)}" for key, item in value.items()) + "}"
        case StrEnum():
            return value.value
    text = str(value)
    plain = _BARE.fullmatch(text) and not text.endswith((" ", ":")) and ": " not in text and " #" not in text
    if plain and text not in ("null", "~"):
        return text
    if text and text.isprintable() and "\\" not in text and '"' not in text and text.isascii() is False and _WORDS.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


_WORDS = re.compile(r"\w[\w ()·-]*(?<! )")
