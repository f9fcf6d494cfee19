"""Reference pages that are made from the code: all commands, all kinds, all rules.

`python -m nnix.cli.pages docs` writes them into a folder; a test holds them to the code.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from nnix.cli.command import SECTIONS, cli, whole_cli
from nnix.cli.reference import KERNEL_RULES, all_rules, schema_of
from nnix.cli.root import ALL_PLANES
from nnix.kernel.resource import Resource
from nnix.planes.routing import features

MADE = "<!-- Made from the code by `python -m nnix.cli.pages docs`; a change here would be lost. -->"


# --- commands


def commands_page() -> str:
    """Every command with its help and options."""
    whole_cli()
    lines = [
        "# Commands",
        MADE,
        "",
        "Every command that reads prints a table for people and, with `--json`, the same facts for programs.",
        "",
        "| exit status | says |",
        "| --- | --- |",
        "| 0 | done |",
        "| 1 | refused, or not so |",
        "| 2 | wrong use |",
        "| 3 | the world disagrees with the model |",
        "",
        "Options before the command hold for all of them:",
        "",
        *_options(cli),
    ]
    sectioned = {name for names in SECTIONS.values() for name in names}
    sections = {**SECTIONS, "Besides": tuple(sorted(set(cli.commands) - sectioned))}
    for title, names in sections.items():
        there = [name for name in names if name in cli.commands and not cli.commands[name].hidden]
        if there:
            lines += ["", f"## {title}"]
            for name in there:
                lines += _command(cli.commands[name], ("nnix", name))
    return "\n".join(lines) + "\n"


def _command(command: click.Command, path: tuple[str, ...]) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(path))
    yield from ("", f"### {' '.join(path)}", "")
    yield from (f"    {' '.join(command.get_usage(context).split()).removeprefix('Usage: ')}", "")
    yield from _help(command.help or "")
    if isinstance(command, click.Group):
        for name in command.commands:
            yield from _command(command.commands[name], (*path, name))
        return
    options = list(_options(command))
    if options:
        yield from ("", *options)


def _help(text: str) -> Iterator[str]:
    """click's help as Markdown: paragraphs, and behind \\b the examples, set apart."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ""
        first, *lines = paragraph.splitlines()
        if first.strip() != "\b":
            yield from (first, *lines)
            continue
        said = [line.strip() for line in lines if not line.startswith("  ")]
        shown = [f"    {line.strip()}" for line in lines if line.startswith("  ")]
        yield from (*said, *([""] if said and shown else []), *shown)


def _options(command: click.Command) -> Iterator[str]:
    rows = []
    context = click.Context(command)
    for option in command.params:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record:
            rows.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
    if rows:
        yield from ("| option | means |", "| --- | --- |", *rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# --- kinds


def kinds_page() -> str:
    """Every kind of every plane, field by field."""
    lines = [
        "# Kinds",
        MADE,
        "",
        "What an exchange can be made of. `nnix explain KIND` says the same on the command line, `nnix schema` to editors. Every resource has a",
        "`kind` and a `name`; [files](files.md) says how they are written.",
    ]
    for plane in ALL_PLANES:
        lines += ["", f"## {plane.name}"]
        for kind in plane.kinds:
            lines += _kind(kind)
    return "\n".join(lines) + "\n"


def _kind(kind: type[Resource]) -> Iterator[str]:
    yield from ("", f"### {kind.kind()}", "")
    yield from (line.strip() for line in (kind.__doc__ or "").strip().splitlines())
    schema = schema_of([kind])
    fields = {name: each for name, each in schema["properties"].items() if name not in ("kind", "name")}
    yield from ("", "| field | type | means | default |", "| --- | --- | --- | --- |")
    yield from _fields(fields, schema["required"], schema["$defs"], "")
    judged = [f"`{rule.name}`" for rule in all_rules() if rule.kind is kind]
    if judged:
        yield from ("", f"Rules: {', '.join(judged)}")


def _fields(fields: Mapping[str, Any], required: list[str], defs: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, field in fields.items():
        says = field.get("description", "")
        if field.get("examples"):
            example = field["examples"][0]
            says += f" (like {', '.join(map(str, example)) if isinstance(example, list) else example})"
        default = field.get("default")
        given = "**required**" if name in required else _default(default)
        yield f"| `{prefix}{name}` | {_type(field, defs)} | {_cell(says)} | {given} |"
        inner = _record(field, defs)
        if inner:
            yield from _fields(inner["properties"], inner.get("required", []), defs, f"{prefix}{name}.")


def _default(value: Any) -> str:
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items() if each is not None)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _record(field: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The record that a field, or each item of it, consists of."""
    for each in (field, *field.get("anyOf", ()), field.get("items", {})):
        target = defs.get(str(each.get("$ref", "")).rsplit("/", 1)[-1])
        if target and "properties" in target:
            return dict(target)
    return None


def _type(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """A field's type in words."""
    if "$ref" in field:
        target = defs[field["$ref"].rsplit("/", 1)[1]]
        return _type(target, defs)
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(each, defs) for each in field["anyOf"] if each.get("type") != "null"))
    if "x-ref" in field:
        return f"name of a [{field['x-ref']}](#{field['x-ref'].lower()})"
    match field.get("type"):
        case "array":
            return f"list of {_type(field['items'], defs)}".replace("list of name of a", "names of")
        case "object":
            return "fields"
        case ["integer", "string"] | "integer":
            least, most = field.get("minimum"), field.get("maximum")
            return "number" if least is None else f"{least} – {most}" if most is not None else f"at least {least}"
        case "number":
            return f"{field['minimum']} – {field['maximum']}" if "minimum" in field else "number"
        case "boolean":
            return "`true` or `false`"
    words = {
        "ipv4": "IPv4 address",
        "ipv6": "IPv6 address",
        "ipv4network": "IPv4 prefix",
        "ipv6network": "IPv6 prefix",
        "ipvanyaddress": "IP address",
    }
    return words.get(
        field.get("format", ""),
        "quantity" if "units" in field or "bit/s" in field.get("pattern", "") or "us|ms" in field.get("pattern", "") else "text",
    )


# --- rules


def rules_page() -> str:
    """Every rule, with its source."""
    lines = [
        "# Rules",
        MADE,
        "",
        "A change is admitted when no rule objects. All refusals come at once, each with resource, field, place and mend. `nnix rules` lists them,",
        "`nnix explain RULE` says what one demands; [add a rule](add-a-rule.md) shows how they are written.",
    ]
    rows = {"kernel": [(name, "", source, says) for name, source, says in KERNEL_RULES]}
    for plane in ALL_PLANES:
        rows[plane.name] = [(each.name, each.kind.kind(), each.source, each.description) for each in plane.rules]
    for title, listed in rows.items():
        lines += ["", f"## {title}", "", "| rule | judges | says | source |", "| --- | --- | --- | --- |"]
        lines += [f"| `{name}` | {kind} | {_cell(says)} | {_cell(source)} |" for name, kind, source, says in listed]
    return "\n".join(lines) + "\n"


# --- features of route servers


def features_page() -> str:
    """What route servers do, and which test shows it on which daemon."""
    return f"""# Route servers: features
{MADE}

Numbers are those of the list by which route servers were compared. A name in code is a test that shows the row on the real daemon; other words say
how far it was seen, or why it is not there. Fields without a kind are RoutingPolicy's.

{features.page()}"""


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "kinds.md": kinds_page,
    "rules.md": rules_page,
    "routing/features.md": features_page,
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page())
