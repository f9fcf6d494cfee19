"""Reading a SLURM file (RFC 8416; version 2 of its successor draft, with ASPAs): another relying party's local exceptions, as resources.

SLURM has neither an end nor anybody who answers for an entry. Here both are needed, so whoever takes a file over says them once, for all that is in it.

Whatever deviates from the specification makes the whole file an error (3.1): an exception that is overlooked is a route that is let in or thrown out
unseen. So nothing of such a file is taken, and all that is wrong with it is named at once, entry by entry.

A resource is named by what its entry says. So a file that is read again, however it is sorted, makes the same resources, and an entry that stands twice one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from nnix.kernel.rule import Refusal, Refused, judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.trust.kinds import About, Action, LocalException
from nnix.planes.trust.outputs import each_once
from nnix.planes.trust.rules import exception_length, exception_says_what, exception_two_approvers

RULE, SOURCE = "trust.slurm-file", "RFC 8416, 3"
OCTETS_MAX = 64 << 20
FILTERS, ASSERTIONS = "validationOutputFilters", "locallyAddedAssertions"

# (section, list) → (what its entries do, what they are about, member → field); those of ASPAs from version 2 on
_PREFIX, _KEY = {"prefix": "prefix", "asn": "asn"}, {"asn": "asn", "SKI": "key_id"}
_CUSTOMER = {"customerAsid": "asn", "customerAsn": "asn"}  # the draft has had both
LISTS: Mapping[tuple[str, str], tuple[Action, About, Mapping[str, str]]] = {
    (FILTERS, "prefixFilters"): (Action.FILTER, About.PREFIX, _PREFIX),
    (FILTERS, "bgpsecFilters"): (Action.FILTER, About.ROUTER_KEY, _KEY),
    (FILTERS, "aspaFilters"): (Action.FILTER, About.ASPA, _CUSTOMER),
    (ASSERTIONS, "prefixAssertions"): (Action.ASSERT, About.PREFIX, {**_PREFIX, "maxPrefixLength": "length_max"}),
    (ASSERTIONS, "bgpsecAssertions"): (Action.ASSERT, About.ROUTER_KEY, {**_KEY, "routerPublicKey": "public_key"}),
    (ASSERTIONS, "aspaAssertions"): (Action.ASSERT, About.ASPA, {**_CUSTOMER, "providerAsns": "providers"}),
}
ASPA_VERSION = 2
ADDED = frozenset({"until", "approvers", "why"})
NUMBERS, KEYS = frozenset({"asn", "length_max"}), frozenset({"key_id", "public_key"})


def read_slurm(content: bytes, *, until: str, approvers: Sequence[str], why: str) -> list[LocalException]:
    """The exceptions of a file, by name. `until` as files have it. Raises Refused."""
    faults: list[Refusal] = []
    found: dict[str, LocalException] = {}
    for path, action, about, members, entry in _entries(_document(content), faults):
        fields = _fields(path, entry, members, faults)
        if fields is None:
            continue
        comment = entry.get("comment", "")
        said = {"action": action, "about": about, **fields}
        name = f"slurm-{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]}"
        record = {
            "name": name,
            **said,
            "until": until,
            "approvers": [{"contact": each} for each in approvers],
            "why": "; ".join(filter(None, (comment, why)))[:500],
        }
        try:
            made = LocalException.model_validate(record)
        except ValidationError as invalid:
            wrong = [_refusal(path, str(each["loc"][0]), each["input"], each["msg"]) for each in invalid.errors(include_url=False)]
        else:
            wrong = [
                replace(each, resource=path)
                for each in judge(Snapshot([made]), (exception_says_what, exception_length, exception_two_approvers))
            ]
            found[name] = made
        faults += (replace(each, resource="what you add") if each.field.partition("[")[0] in ADDED else each for each in wrong)
    if faults:
        raise Refused(dict.fromkeys(faults))
    return sorted(found.values(), key=lambda each: each.name)


def _refusal(path: str, field: str, found: object, accept: str) -> Refusal:
    return Refusal(path, field, ascii(found)[:60], accept, RULE, SOURCE)


def _document(content: bytes) -> Any:
    """The JSON value. Raises Refused."""
    if len(content) > OCTETS_MAX:
        raise Refused([_refusal("document", "", f"{len(content)} octets", f"at most {OCTETS_MAX} octets")])
    try:
        return json.loads(content.decode(), object_pairs_hook=each_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused([_refusal("document", "", f"{error or type(error).__name__}", "JSON in UTF-8 (RFC 8259)")]) from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _entries(document: Any, faults: list[Refusal]) -> Iterator[tuple[str, Action, About, Mapping[str, str], dict[str, Any]]]:
    """(where, action, about, members, entry) of all lists; what is wrong around them goes to `faults`."""
    version = document.get("slurmVersion") if isinstance(document, dict) else None
    if type(version) is not int or version not in (1, ASPA_VERSION):
        faults.append(_refusal("slurmVersion", "", version, "1, or 2 with ASPAs"))
        return
    lists = {place: each for place, each in LISTS.items() if version >= ASPA_VERSION or each[1] is not About.ASPA}
    faults += _members("document", document, {"slurmVersion", FILTERS, ASSERTIONS})
    for section in (FILTERS, ASSERTIONS):
        of = document.get(section, {})
        if not isinstance(of, dict):
            faults.append(_refusal(section, "", of, "an object with lists"))
            continue
        names = {name for part, name in lists if part == section}
        faults += _members(section, of, names)
        for name in sorted(names & of.keys()):
            entries = of[name]
            if not isinstance(entries, list):
                faults.append(_refusal(f"{section}.{name}", "", entries, "a list"))
                continue
            for number, entry in enumerate(entries):
                path = f"{section}.{name}[{number}]"
                if isinstance(entry, dict):
                    yield path, *lists[section, name], entry
                else:
                    faults.append(_refusal(path, "", entry, "an object"))


def _members(path: str, of: Mapping[str, Any], names: set[str]) -> Iterator[Refusal]:
    """An object has these members and no other."""
    for name in sorted(names - of.keys()):
        yield _refusal(path, name, "is missing", "all that the RFC has; a list may be empty")
    for name in sorted(of.keys() - names):
        yield _refusal(path, name, "is no member of it", f"{', '.join(sorted(names))}")


def _fields(path: str, entry: dict[str, Any], members: Mapping[str, str], faults: list[Refusal]) -> dict[str, Any] | None:
    """What an entry says, as fields of the resource; None where something is wrong with it."""
    wrong: list[Refusal] = []
    fields: dict[str, Any] = {}
    for name in sorted(entry):
        value = entry[name]
        field = members.get(name)
        if name == "comment" and isinstance(value, str):
            continue
        if name == "comment":
            wrong.append(_refusal(path, name, value, "text"))
        elif field is None:
            wrong.append(_refusal(path, name, "is no member of it", f"{', '.join(members)}, comment"))
        elif field in fields:
            wrong.append(_refusal(path, name, "says what another member says", "one of them"))
        elif field in NUMBERS and type(value) is not int:
            wrong.append(_refusal(path, name, value, "a number, without quotation marks"))
        elif field == "providers" and not (isinstance(value, list) and all(type(each) is int for each in value)):
            wrong.append(_refusal(path, name, value, "a list of numbers"))
        elif field == "prefix" and not isinstance(value, str):
            wrong.append(_refusal(path, name, value, "a prefix, as text"))
        elif field in KEYS:
            if (octets := _octets(value)) is None:
                wrong.append(_refusal(path, name, value, "base64url without padding (RFC 4648, 5)"))
            else:
                fields[field] = octets.hex().upper() if field == "key_id" else base64.b64encode(octets).decode()
        else:
            fields[field] = value
    faults += wrong
    return None if wrong else fields


def _octets(value: object) -> bytes | None:
    """Of base64url without padding (3.3.2); None where it is none."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", value) or len(value) % 4 == 1:
        return None
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
