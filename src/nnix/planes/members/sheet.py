"""A member list as it was read, whatever form it came in: the common ground between IX-F, PeeringDB and our resources.

Every member list says the same few things: an exchange, its places and VLANs, networks, their connections and the
addresses these have. A reader (`ixf_read`, `peeringdb`) turns a document into a `Sheet`, mending or leaving out what is
broken, each time with a `Finding` that says where and why; `assemble` makes resources of the sheet. What a list does not
say stays None here: unknown is not false.

Documents come from strangers. `Node` walks JSON of any shape without ever raising: what is not there, or is of another
type than wanted, is None and, where somebody wrote it down, a finding.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refusal, Refused
from nnix.planes.fabric.kinds import PortState
from nnix.planes.members.kinds import MemberClass

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DOCUMENT_BYTES_MAX = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """What was wrong in a document or missing from it, where, and what was made of it.

    `where` is a path from the root (`member_list[3].connection_list[0]`), `done` begins with `repaired: ` or `left out: `.
    """

    where: str
    problem: str
    done: str

    def __str__(self) -> str:
        return f"{self.where or 'document'}: {self.problem}; {self.done}"


@dataclass(frozen=True, slots=True)
class Imported:
    """A whole exchange made of a member list, and what had to be repaired or left out on the way."""

    resources: tuple[Resource, ...]
    findings: tuple[Finding, ...]


class Log:
    """Gathers findings while a document is read; nothing is said twice."""

    def __init__(self) -> None:
        self._findings: dict[Finding, None] = {}

    def repaired(self, where: str, problem: str, done: str) -> None:
        self._findings[Finding(where, problem, f"repaired: {done}")] = None

    def left_out(self, where: str, problem: str, what: str) -> None:
        self._findings[Finding(where, problem, f"left out: {what}")] = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._findings)


# --- the sheet


@dataclass(frozen=True, slots=True)
class Presence:
    """One address on a VLAN, and what the list says of it. `routes` are prefixes announced at most."""

    where: str
    address: Address
    route_servers: bool | None = None
    as_sets: tuple[str, ...] = ()
    routes_max: int | None = None
    macs: tuple[str, ...] = ()
    is_route_server: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """The addresses of one router on one VLAN, by the VLAN's key; None where the list does not say which."""

    where: str
    vlan: str | None
    presences: tuple[Presence, ...]


@dataclass(frozen=True, slots=True)
class Connection:
    """A cable: where it ends (key of a place), how fast it is in Mbit/s, and the addresses behind it."""

    where: str
    place: str | None
    speed_mbit: int | None
    state: PortState
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Participant:
    """A network in the list."""

    where: str
    asn: int
    title: str | None
    member_class: MemberClass | None
    connections: tuple[Connection, ...]
    ixf_type: str | None = None
    website: str | None = None
    joined: str | None = None
    as_sets: tuple[str, ...] = ()
    routes_max: tuple[int | None, int | None] = (None, None)


@dataclass(frozen=True, slots=True)
class Vlan:
    """A VLAN that the list declares; `key` is unique in the sheet, `ixf_id` is its number in the list."""

    key: str
    where: str
    title: str | None
    v4: IPv4Network | None = None
    v6: IPv6Network | None = None
    ixf_id: int | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where switches stand; `key` is unique in the sheet. `assumed`: not in the list."""

    key: str
    where: str
    title: str
    city: str | None = None
    country: str | None = None
    facility: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """A member list as it was read."""

    short_title: str | None
    title: str | None
    country: str | None
    city: str | None
    website: str | None
    peeringdb_ix: int | None
    ixf_id: int | None
    asn: int | None
    places: tuple[Place, ...]
    vlans: tuple[Vlan, ...]
    participants: tuple[Participant, ...]
    never_via_route_servers: tuple[int, ...] = ()


# --- JSON from strangers


def parsed(document: bytes, form: str) -> object:
    """The JSON value in `document`, which may be gzipped. Raises Refused with line and column when it is none."""
    if document[:2] == b"\x1f\x8b":
        document = _unzipped(document, form)
    if len(document) > DOCUMENT_BYTES_MAX:
        raise refused(form, "", f"{len(document)} octets", f"at most {DOCUMENT_BYTES_MAX} octets")
    try:
        return json.loads(document.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = document[: error.start].count(b"\n") + 1
        column = error.start - (document.rfind(b"\n", 0, error.start) + 1) + 1
        raise refused(form, f"line {line}, column {column}", "octets that are no UTF-8", "JSON in UTF-8 (RFC 8259, 8.1)") from None
    except json.JSONDecodeError as error:
        raise refused(form, f"line {error.lineno}, column {error.colno}", error.msg, "JSON (RFC 8259)") from None
    except RecursionError:
        raise refused(form, "", "nested too deeply", "a member list; nothing in one is nested more than ten levels deep") from None
    except ValueError as error:
        raise refused(form, "", str(error), "JSON with numbers that are numbers (RFC 8259, 6)") from None


def _unzipped(document: bytes, form: str) -> bytes:
    try:
        # Sized before it is kept: a few octets of gzip can stand for gigabytes.
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        plain = stream.decompress(document, DOCUMENT_BYTES_MAX + 1)
        if not stream.eof and len(plain) <= DOCUMENT_BYTES_MAX:
            raise refused(form, "", "a gzip file that ends too early", "a whole gzip file", "fetch it again")
    except (zlib.error, gzip.BadGzipFile) as error:
        raise refused(form, "", f"a damaged gzip file: {error}", "a whole gzip file", "fetch it again") from None
    return plain


def refused(form: str, field_path: str, found: str, accept: str, mend: str = "", rule: str = "readable") -> Refused:
    """A refusal of a whole document. `form` is `ixf` or `peeringdb`."""
    source = {"ixf": "Euro-IX JSON schemas", "peeringdb": "PeeringDB API"}[form]
    return Refused([Refusal("document", field_path, found, accept, f"{form}.{rule}", source, mend)])


def shown(value: object) -> str:
    """`value` as a message quotes it: JSON, at most 60 characters."""
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Node:
    """A JSON object, and where it stands. No method raises, whatever the object holds."""

    value: dict[str, object]
    where: str
    log: Log = field(repr=False, compare=False)

    def path(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def get(self, key: str) -> object:
        return self.value.get(key)

    def _odd(self, key: str, accept: str) -> None:
        value = self.value.get(key)
        if key in self.value:
            self.log.left_out(self.path(key), f"{shown(value)} is not {accept}", key)

    def text(self, key: str, length_max: int = 200) -> str | None:
        """Text without surrounding blanks and control characters; None when absent or empty."""
        value = self.value.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.log.repaired(self.path(key), f"{shown(value)} is a number", "taken as text")
            value = shown(value)
        if not isinstance(value, str):
            self._odd(key, "text")
            return None
        clean = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", " ", value).split())
        if len(clean) > length_max:
            self.log.repaired(self.path(key), f"{len(clean)} characters", f"cut to {length_max}")
            clean = clean[:length_max].rstrip()
        return clean or None

    def number(self, key: str, least: int = 0, most: int = 2**53) -> int | None:
        """A whole number from `least` to `most`; None when absent or anything else."""
        value = self.value.get(key)
        if isinstance(value, str) and re.fullmatch(r"\s*(AS)?[0-9]{1,16}\s*", value, re.ASCII | re.IGNORECASE):
            self.log.repaired(self.path(key), f"{shown(value)} is text", "taken as a number")
            value = int(re.sub(r"\D", "", value, flags=re.ASCII))
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self._odd(key, "a whole number")
            return None
        if not least <= value <= most:
            self._odd(key, f"from {least} to {most}")
            return None
        return value

    def real(self, key: str, least: float, most: float) -> float | None:
        """A number from `least` to `most`; None when absent or anything else."""
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            if value is not None:
                self._odd(key, f"a number from {least} to {most}")
            return None
        return float(value)

    def flag(self, key: str) -> bool | None:
        """True or false; None when absent or anything else."""
        value = self.value.get(key)
        if isinstance(value, bool):
            return value
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        meant = words.get(str(value).strip().lower()) if isinstance(value, str | int) else None
        if meant is None:
            self._odd(key, "true or false")
        else:
            self.log.repaired(self.path(key), f"{shown(value)} is not true or false", f"taken as {str(meant).lower()}")
        return meant

    def node(self, key: str) -> Node | None:
        """An object; None when absent or anything else."""
        value = self.value.get(key)
        if isinstance(value, dict):
            return Node(value, self.path(key), self.log)
        self._odd(key, "an object")
        return None

    def items(self, key: str) -> Iterator[tuple[str, object]]:
        """(path, value) of each item of a list; none when absent or anything else. A single value stands for a list of one."""
        value = self.value.get(key)
        if isinstance(value, list):
            yield from ((f"{self.path(key)}[{index}]", item) for index, item in enumerate(value))
        elif isinstance(value, str | dict) and value:
            self.log.repaired(self.path(key), "not a list", "taken as a list of one")
            yield self.path(key), value
        else:
            self._odd(key, "a list")

    def nodes(self, key: str) -> Iterator[Node]:
        """The objects of a list."""
        for where, value in self.items(key):
            if isinstance(value, dict):
                yield Node(value, where, self.log)
            else:
                self.log.left_out(where, f"{shown(value)} is not an object", "the entry")
