"""Resources of every kind, generated from what the kinds publish about themselves.

The strategies are made from the JSON Schema of a kind, so a new kind or field is generated, written, read and edited by the
tests without a line for it here; and what the schema allows but the kind refuses is found as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from nnix.cli.root import KINDS
from nnix.kernel.resource import Resource

AWKWARD = (
    "# x", "x # y", "a: b", "a:", ":a", "~", "null", "Null", "- x", "-", "? x", "[x", "x]", "{x: y}", "x, y", "'x'", '"x"', "it's",
    'say "x"', "back\\slash", "line\nbreak", "\n", "two\n\nbreaks\n", "tab\there", " lead", "trail ", "a  b", "&x", "*x", "!x", "|", ">",
    "%x", "@x", "`x", "true", "no", "123", "1.5", "0x1f", "1e3", "2021-11-06", "12:30:45", "=", "<<", "---", "...", "--- x", "", "杭州核心枢纽", "杭州: 枢纽",
    "杭州 #1", "Köln (Süd)", "ŉ · ·", "\u00a0", "\u2028", "\ufeff", "\x00", "\x1b[2J", "\x85", "😀", "e\u0301", "١٢٣", "\r\n", "x\r",
)  # fmt: skip
"""strings that mean something else to YAML, or to one of its versions, when they stand there unquoted"""

TEXTS = st.one_of(st.sampled_from(AWKWARD), st.text(max_size=12), st.lists(st.sampled_from(AWKWARD), max_size=3).map("".join))
SPANS = {"v4": (32, 8), "v6": (128, 16)}


@cache
def resources(kind: type[Resource]) -> SearchStrategy[Resource]:
    """Resources of `kind`, with any of its optional fields."""
    schema = kind.model_json_schema(by_alias=True)
    fields = {name: each for name, each in schema["properties"].items() if name != "owner"}
    return _object({**schema, "properties": fields}, schema.get("$defs", {})).map(kind.model_validate)


def any_resource() -> SearchStrategy[Resource]:
    return st.sampled_from(sorted(KINDS)).flatmap(lambda name: resources(KINDS[name]))


@cache
def field_values(kind: type[Resource], field: str) -> SearchStrategy[Any]:
    """Values for one field of `kind`, as JSON has them."""
    schema = kind.model_json_schema(by_alias=True)
    return _value(schema["properties"][field], schema.get("$defs", {}))


def _object(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> SearchStrategy[dict[str, Any]]:
    fields = {name: _value(each, defs) for name, each in schema["properties"].items()}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=fields)


def _value(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> SearchStrategy[Any]:
    if "$ref" in schema:
        target = defs[schema["$ref"].rsplit("/", 1)[1]]
        return _value(target, defs)
    if "anyOf" in schema:
        return st.one_of([_value(each, defs) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            return _object(schema, defs)
        case "array":
            return st.lists(_value(schema["items"], defs), min_size=schema.get("minItems", 0), max_size=4)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum", -(2**53) + 1), schema.get("maximum", 2**53 - 1))
        case "number":
            return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False)
        case "null":
            return st.none()
        case "string":
            return _text(schema)
    raise AssertionError(f"no strategy for {schema}")


def _text(schema: Mapping[str, Any]) -> SearchStrategy[str]:
    match schema.get("format"):
        case "ipv4":
            return st.ip_addresses(v=4).map(str)
        case "ipv6":
            return st.ip_addresses(v=6).map(str)
        case "ipvanyaddress":
            return st.ip_addresses().map(str)
        case "ipv4network":
            return _networks(4, 32)
        case "ipv6network":
            return _networks(6, 128)
        case "date-time":
            return st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
    pattern = schema.get("pattern")
    if pattern is None:
        least, most = schema.get("minLength", 0), schema.get("maxLength", 10**9)
        return TEXTS.filter(lambda text: least <= len(text) <= most)
    units = re.fullmatch(r"\^\[0-9\]\+\(\\\.\[0-9\]\+\)\?\(([^)]*)\)\$", pattern)
    if units:  # a quantity
        return st.builds(lambda n, unit: f"{n}{unit}", st.integers(0, 9999), st.sampled_from(units[1].split("|")))
    return st.from_regex(pattern, fullmatch=True)


def _networks(version: int, bits: int) -> SearchStrategy[str]:
    import ipaddress

    def network(address: int, length: int) -> str:
        kept = address >> (bits - length) << (bits - length)
        made = ipaddress.IPv4Network((kept, length)) if version == 4 else ipaddress.IPv6Network((kept, length))
        return str(made)

    return st.builds(network, st.integers(0, 2**bits - 1), st.integers(0, bits))
