"""Editing files in place: one field or one document changes, every other character stays as the operator left it.

An edit cuts out a span of characters and puts another in. Then the text is read back: only what was meant may mean something
else now. Where that fails (exotic YAML, which nnix itself never writes), the edit is refused rather than guessed.
"""

from __future__ import annotations

import re
from typing import Any, cast

import yaml

from nnix.kernel.document import BYTE_ORDER_MARK, Unreadable, child, documents, line_of, node_near, plain, scalar

_BOUNDARY = re.compile(r"(?m)^---(?=\s|$)")


class NotFound(Exception):
    """There is no such resource in the text that was to be edited."""


def edited(text: str, kind: str, name: str, field: str, value: Any) -> str:
    """`text` with one field of one resource set to `value` (None: taken out), all other characters as they were.

    `field` is a path like `prefixes_max.v4` or `announces.0.prefix`. A field that is not yet there is added at the end of its
    mapping; a mapping or list that loses its last item goes with it. Raises NotFound; Unreadable where the text is not in our
    subset of YAML, or cannot be edited at this place.
    """
    if text.startswith(BYTE_ORDER_MARK):
        return BYTE_ORDER_MARK + edited(text[1:], kind, name, field, value)
    index, node = _document_of(text, kind, name)
    path = field.split(".")
    before = _all_said(text)
    fresh = _taken_out(text, node, path) if value is None else _put(text, node, path, value)
    before[index] = _with(before[index], path, _textual(value))
    if _all_said(fresh) != before:
        raise Unreadable(line_of(node_near(node, path)), f"{field} cannot be changed at this place", "an edit by hand")
    return fresh


def without(text: str, kind: str, name: str) -> str:
    """`text` without the document of one resource, and the comments inside it; a comment that opens the file, with a blank line
    below it, stays. Raises NotFound, and Unreadable as `edited` does."""
    if text.startswith(BYTE_ORDER_MARK):
        return BYTE_ORDER_MARK + without(text[1:], kind, name)
    index, node = _document_of(text, kind, name)
    begins = int(node.start_mark.index)
    bounds = [found.start() for found in _BOUNDARY.finditer(text)]
    start = max((each for each in bounds if each <= begins), default=-1)
    end = min((each for each in bounds if each > begins), default=len(text))
    if start < 0:
        start = text.rfind("\n\n", 0, begins) + 2 if "\n\n" in text[:begins] else 0
    head, tail = text[:start], text[end:]
    if not _all_said(head):  # then what comes next is the first, and needs no line to set it off
        tail = re.sub(r"\A---[ \t]*\r?\n", "", tail)
    before = _all_said(text)
    del before[index]
    if _all_said(head + tail) != before:
        raise Unreadable(line_of(node), f"{kind} {name} cannot be taken out at this place", "an edit by hand")
    return head + tail


def _document_of(text: str, kind: str, name: str) -> tuple[int, yaml.MappingNode]:
    """The document of a resource, and how many come before it. Raises NotFound, Unreadable."""
    for index, node in enumerate(documents(text)):
        if isinstance(node, yaml.MappingNode) and _says(node, "kind") == kind and _says(node, "name") == name:
            plain(node, text)
            return index, node
    raise NotFound(f"no {kind} named {name}")


def _says(node: yaml.MappingNode, field: str) -> str | None:
    found = child(node, field)
    return cast("str", found[1].value) if found and isinstance(found[1], yaml.ScalarNode) else None


def _all_said(text: str) -> list[Any]:
    """What every document of a text says; what is wrong with those that cannot be read."""
    said: list[Any] = []
    try:
        for node in documents(text):
            try:
                said.append(plain(node, text))
            except Unreadable as fault:
                said.append(("unreadable", fault.found))
    except Unreadable as fault:
        said.append(("unreadable", fault.found))
    return said


def _textual(value: Any) -> Any:
    """A value as it will be read again: scalars are text."""
    match value:
        case None | str():
            return value if value is None else str(value)
        case list() | tuple():
            return [_textual(item) for item in value]
        case dict():
            return {str(key): _textual(item) for key, item in value.items()}
    return scalar(value).strip('"')


def _with(data: Any, path: list[str], value: Any) -> Any:
    """`data` with the value at `path` exchanged; None takes it out, and what is empty then goes with it."""
    part, *rest = path
    if isinstance(data, list):
        if not (part.isdigit() and int(part) < len(data)):
            return data if value is None else {part: _nested(rest, value)}
        inner = _with(data[int(part)], rest, value) if rest else value
        items = [*data[: int(part)], inner, *data[int(part) + 1 :]]
        return [each for index, each in enumerate(items) if index != int(part) or each is not None] or None
    if not isinstance(data, dict):
        return data if value is None else {part: _nested(rest, value)}
    if value is None and part not in data:
        return data
    inner = (_with(data[part], rest, value) if part in data else _nested(rest, value)) if rest else value
    return {key: each for key, each in {**data, part: inner}.items() if key != part or each is not None} or None


def _nested(path: list[str], value: Any) -> Any:
    for part in reversed(path):
        value = {part: value}
    return value


def _put(text: str, node: yaml.Node, path: list[str], value: Any) -> str:
    found = child(node, path[0])
    if found is None:
        if isinstance(node, yaml.MappingNode):
            return _added(text, node, path[0], _inline(path[1:], value))
        return text
    key, old = found
    if len(path) > 1 and isinstance(old, yaml.CollectionNode) and (isinstance(old, yaml.MappingNode) or child(old, path[1])):
        return _put(text, old, path[1:], value)
    start, end, said = int(old.start_mark.index), _end(text, old), _inline(path[1:], value)
    if key is not old and (end == start or (isinstance(old, yaml.CollectionNode) and not old.flow_style)):
        colon = text.find(":", int(key.end_mark.index)) + 1
        return f"{text[:colon]} {said}{text[max(end, colon) :]}"
    return text[:start] + said + text[end:]


def _inline(rest: list[str], value: Any) -> str:
    return scalar(_nested(rest, value))


def _added(text: str, node: yaml.MappingNode, field: str, said: str) -> str:
    if node.flow_style:
        at = _end(text, node.value[-1][1]) if node.value else int(node.start_mark.index) + 1
        return f"{text[:at]}{', ' if node.value else ''}{field}: {said}{text[at:]}"
    at = text.find("\n", _end(text, node.value[-1][1]))
    margin = " " * int(node.value[0][0].start_mark.column)
    if at < 0:
        return f"{text}\n{margin}{field}: {said}\n"
    newline = "\r\n" if text[at - 1 : at] == "\r" else "\n"
    return f"{text[: at + 1]}{margin}{field}: {said}{newline}{text[at + 1 :]}"


def _taken_out(text: str, node: yaml.Node, path: list[str]) -> str:
    """`text` without what stands at `path`: the outermost item that would be empty then."""
    gone: tuple[yaml.Node, int] | None = None
    for part in path:
        if child(node, part) is None:
            return text
        if not (gone and isinstance(node, yaml.CollectionNode) and len(node.value) == 1):
            gone = node, next(index for index, each in enumerate(_firsts(node)) if each is child(node, part)[0])  # type: ignore[index]
        node = child(node, part)[1]  # type: ignore[index]
    return _cut(text, *gone) if gone else text


def _firsts(node: yaml.Node) -> list[yaml.Node]:
    """The nodes with which a collection's items begin."""
    return [each[0] if isinstance(each, tuple) else each for each in node.value]


def _cut(text: str, node: yaml.Node, index: int) -> str:
    """`text` without one item of a collection."""
    items = node.value
    starts = [int(each.start_mark.index) for each in _firsts(node)]
    ends = [_end(text, each[1] if isinstance(each, tuple) else each) for each in items]
    if isinstance(node, yaml.CollectionNode) and node.flow_style:
        if index + 1 < len(items):
            return text[: starts[index]] + text[starts[index + 1] :]
        return text[: ends[index - 1] if index else starts[index]] + text[ends[index] :]
    line = text.rfind("\n", 0, starts[index]) + 1
    lead = text[line : starts[index]].replace("-", " ", 1) if isinstance(node, yaml.SequenceNode) else text[line : starts[index]]
    if lead.strip() and index + 1 < len(items):  # the first field behind a dash: the next one takes its place
        return text[: starts[index]] + text[starts[index + 1] :]
    end = text.find("\n", ends[index])
    return text[:line] + (text[end + 1 :] if end >= 0 else "")


def _end(text: str, node: yaml.Node) -> int:
    """Where a node's own characters end; libyaml counts the blank lines and comments behind a block as part of it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return start + len(text[start:end].rstrip())
    return end
