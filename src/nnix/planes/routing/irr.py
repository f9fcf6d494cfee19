"""Routing registries: which origins a member speaks for, and which prefixes they have registered (RFC 2622, RFC 4012).

Sources are RPSL files, as registries publish them, what `bgpq4 -j` prints, or answers that were asked for (registries/). An as-set names ASNs and other as-sets; it is
unfolded with every set visited once, so that sets which name each other end, and up to ASNS_MAX, because a set that names
half the Internet is no list of customers and would let everything pass. Such a set is refused as a whole: its member is
left with its own ASN, and a finding says so. Of several files that know a name the first wins; `APNIC::AS-X` is looked for
in that registry only, and the names inside it first there.

A broken object is left out and reported; the rest stands. People write RPSL by hand: `as065537`, `192.0.02.0/24`, comments
inside of lists, continuation lines, trailing commas, bytes that are no UTF-8. All that is read as it was meant.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from nnix.kernel.evidence import Item
from nnix.planes.routing.registries import answers, published
from nnix.planes.routing.registries.answers import HEAD, Answers
from nnix.planes.routing.rpki import RoaTable, canonical, of_origin

ASKED = "irr:"  # evidence of a registry: what it answered, by its name
ASNS_MAX = 50_000
OCTETS_MAX = 512 << 20  # of one file below the exchange's folder, unpacked
SETS_MAX = 20_000

_ASN = re.compile(r"AS0*(\d{1,10})", re.IGNORECASE)
SET_NAME = re.compile(r"(?:[A-Z][A-Z0-9-]*::)?(?:AS\d+:)*AS-[A-Z0-9_-]+(?::AS-[A-Z0-9_-]+|:AS\d+)*", re.IGNORECASE)


def asn_of(text: str) -> int | None:
    """`AS64500`, `as064500` → 64500; None for what is no ASN, or 0."""
    match = _ASN.fullmatch(text.strip())
    number = int(match[1]) if match else 0
    return number if 0 < number < 1 << 32 else None


@dataclass(frozen=True, slots=True)
class AsSetObject:
    """An as-set as one registry has it. `by_reference`: maintainers whose aut-nums may add themselves (mbrs-by-ref)."""

    name: str
    registry: str
    asns: tuple[int, ...]
    sets: tuple[str, ...]
    by_reference: frozenset[str] = frozenset()


class Membership(NamedTuple):
    """An aut-num that says it is a member of `as_set` (member-of)."""

    asn: int
    as_set: str
    registry: str
    maintainers: frozenset[str]


@dataclass(frozen=True)
class Source:
    """One file, read."""

    sets: Mapping[tuple[str, str], AsSetObject] = field(default_factory=dict)  # (registry, name) → object
    routes: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # origin → prefixes
    memberships: tuple[Membership, ...] = ()
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # bgpq4: as-set → prefixes whose origin is not told
    vias: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # ASN → its import-via and export-via lines (via.py)
    findings: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """It says nothing of anybody."""
        return not (self.sets or self.routes or self.memberships or self.prefixes or self.vias)


@lru_cache(maxsize=64)
def read(key: str, item: Item) -> Source:
    """Read one source, and the same bytes once; it may be packed (gzip, bzip2). `.json` is bgpq4's or ARIN's, `.csv` and NIC.BR's lines a registry's whois
    (registries/published.py), everything else RPSL. Never raises for what stands in it: findings say what was left out."""
    try:
        content = _unpacked(item.content)
    except (OSError, EOFError, ValueError) as error:
        return Source(findings=(f"{key}: {error}; nothing is taken from it",))
    text = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    named = re.sub(r"\.(?:gz|bz2)$", "", key)
    if HEAD.match(text):
        return of_answers(key, answers.read(text))
    if published.HOLDERS.match(text):
        return Source(routes=(told := published.holders(key, text)).routes, findings=told.findings)
    if named.endswith(".csv"):
        return Source(routes=(told := published.table(key, text)).routes, findings=told.findings)
    return _json(key, text) if named.endswith(".json") else read_rpsl(key, text)


def _unpacked(content: bytes) -> bytes:
    """Raises OSError, EOFError or ValueError for what is damaged, cut short, or too large for a file here."""
    try:
        if content[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(content)) as packed:
                unpacked = packed.read(OCTETS_MAX + 1)
        elif content[:2] == b"BZ":
            with bz2.open(io.BytesIO(content)) as packed:
                unpacked = packed.read(OCTETS_MAX + 1)
        else:
            return content
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(unpacked) > OCTETS_MAX:
        raise ValueError(f"it has more than {OCTETS_MAX >> 20} MiB; a database as large as that is for a RoutingRegistry with asked: dump")
    return unpacked


def together(sources: Iterable[Source]) -> Source:
    """Several files as one; of two objects of one name in one registry the first counts."""
    sets: dict[tuple[str, str], AsSetObject] = {}
    routes: dict[int, tuple[str, ...]] = {}
    memberships: list[Membership] = []
    prefixes: dict[str, tuple[str, ...]] = {}
    vias: dict[int, tuple[str, ...]] = {}
    findings: list[str] = []
    for each in sources:
        sets = {**each.sets, **sets}
        for origin, more in each.routes.items():
            routes[origin] = tuple(dict.fromkeys((*routes.get(origin, ()), *more)))
        memberships += each.memberships
        prefixes = {**each.prefixes, **prefixes}
        vias = {**each.vias, **vias}
        findings += each.findings
    return Source(sets, routes, tuple(memberships), prefixes, vias, tuple(findings))


# answers ------------------------------------------------------------------------------------------------------------


def of_answers(key: str, given: Answers) -> Source:
    """Answers as a source."""
    sets: dict[tuple[str, str], AsSetObject] = {}
    for (registry, name), members in given.sets.items():
        numbers = {each: number for each in members if (number := asn_of(each)) is not None}
        inner = tuple(each for each in members if each not in numbers)
        sets[registry, name] = AsSetObject(name, registry, tuple(numbers.values()), inner)
    return Source(sets, given.routes, (), given.prefixes, given.vias, tuple(f"{key}: {each}" for each in given.findings))


def answers_of(source: Source, names: Collection[str], routes: Mapping[int, tuple[str, ...]]) -> Answers:
    """What `source` says of `names` and of all that they name, as answers; who is a member by reference is a member."""
    cones = Registries([source])
    sets: dict[tuple[str, str], tuple[str, ...]] = {}
    for key in cones.reached(names):
        each = source.sets[key]
        numbers = dict.fromkeys((*each.asns, *sorted(cones.referring(each))))
        sets[key] = (*(f"AS{number}" for number in numbers), *each.sets)
    vias = {asn: source.vias[asn] for asn in filter(None, map(asn_of, names)) if asn in source.vias}
    return Answers(sets, routes, source.prefixes, vias, source.findings)


# RPSL ---------------------------------------------------------------------------------------------------------------

_WANTED = re.compile(r"(?:as-set|aut-num|route6?)[ \t]*:", re.IGNORECASE)


def objects(text: str) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """(line, attributes) of each object of a class that is wanted here; names in lower case, values without comments, continuation joined."""
    line = 1
    for block in re.split(r"(\n[ \t]*(?=\n))", text):
        start, line = line, line + block.count("\n")
        lines = [each for each in block.split("\n") if each.strip() and each[0] not in "%#"]
        if not lines or not _WANTED.match(lines[0]):
            continue
        attributes: list[tuple[str, str]] = []
        for each in lines:
            value = each
            if each[0] in " \t+":
                if attributes:
                    name, before = attributes[-1]
                    attributes[-1] = name, f"{before} {each[1:].split('#', 1)[0].strip()}"
                continue
            name, colon, value = each.partition(":")
            if colon:
                attributes.append((name.strip().lower(), value.split("#", 1)[0].strip()))
            else:
                attributes.append(("", each))
        yield start + (len(block) - len(block.lstrip("\n"))), attributes


def read_rpsl(key: str, text: str) -> Source:
    """The objects in `text` that matter here. Never raises."""
    sets: dict[tuple[str, str], AsSetObject] = {}
    routes: dict[int, dict[str, None]] = {}
    memberships: list[Membership] = []
    vias: dict[int, tuple[str, ...]] = {}
    findings: list[str] = []
    for line, attributes in objects(text):
        kind, subject = attributes[0]
        where = f"{key}:{line}: {kind} {subject}"
        values: dict[str, list[str]] = {}
        for name, value in attributes[1:]:
            values.setdefault(name, []).append(value)
        registry = (values.get("source") or [""])[0].upper()
        if kind in {"route", "route6"}:
            known, origin = canonical(subject.lower()), asn_of((values.get("origin") or [""])[0])
            if known is None or origin is None or (known[0] == 6) != (kind == "route6"):
                wrong = "its prefix is none" if known is None or (known[0] == 6) != (kind == "route6") else "its origin is no ASN"
                findings.append(f"{where}: {wrong}; left out")
                continue
            routes.setdefault(origin, {})[known[1]] = None
        elif kind == "as-set":
            if not SET_NAME.fullmatch(subject) or "::" in subject:
                findings.append(f"{where}: no as-set name; left out")
                continue
            asns: dict[int, None] = {}
            inner: dict[str, None] = {}
            for word in _words(values.get("members", []) + values.get("mp-members", [])):
                number = asn_of(word)
                if number is not None:
                    asns[number] = None
                elif SET_NAME.fullmatch(word):
                    inner[word.upper()] = None
                else:
                    findings.append(f"{where}: member {word[:60]!r} is neither ASN nor as-set; left out")
            by_reference = frozenset(word.upper() for word in _words(values.get("mbrs-by-ref", [])))
            sets.setdefault((registry, subject.upper()), AsSetObject(subject.upper(), registry, tuple(asns), tuple(inner), by_reference))
        elif kind == "aut-num":
            number = asn_of(subject)
            if number is None:
                findings.append(f"{where}: no ASN; left out")
                continue
            maintainers = frozenset(word.upper() for word in _words(values.get("mnt-by", [])))
            memberships += [
                Membership(number, word.upper(), registry, maintainers)
                for word in _words(values.get("member-of", []))
                if SET_NAME.fullmatch(word)
            ]
            said = tuple(f"{name} {' '.join(value.split())}" for name, value in attributes if name in ("import-via", "export-via"))
            if said:
                vias.setdefault(number, said)
    return Source(sets, {origin: tuple(each) for origin, each in routes.items()}, tuple(memberships), {}, vias, tuple(findings))


def _words(values: Iterable[str]) -> list[str]:
    return [word for value in values for word in re.split(r"[\s,]+", value) if word]


# bgpq4 --------------------------------------------------------------------------------------------------------------


def bgpq4_answers(document: Mapping[str, Sequence[object]]) -> Answers:
    """What bgpq4 printed of several as-sets, as answers."""
    found = _bgpq4_source("bgpq4", document)
    return Answers(
        {(each.registry, each.name): tuple(f"AS{number}" for number in each.asns) for each in found.sets.values()},
        {},
        found.prefixes,
        {},
        found.findings,
    )


def _json(key: str, text: str) -> Source:
    """ARIN's whois; or bgpq4's: `bgpq4 -j -l AS-X` gives {"AS-X": [{"prefix": …, "exact": true}]}; `bgpq4 -jt -l AS-X` gives {"AS-X": [64500, …]}."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Source(findings=(f"{key}: no JSON ({error}); nothing is taken from it",))
    if not isinstance(document, dict):
        return Source(findings=(f"{key}: not what bgpq4 -j prints; nothing is taken from it",))
    if "whois_records" in document:
        return Source(routes=(told := published.records(key, document)).routes, findings=told.findings)
    return _bgpq4_source(key, document)


def _bgpq4_source(key: str, document: Mapping[str, object]) -> Source:
    sets: dict[tuple[str, str], AsSetObject] = {}
    prefixes: dict[str, tuple[str, ...]] = {}
    findings: list[str] = []
    for name, entries in document.items():
        subject = str(name).upper()
        if not (SET_NAME.fullmatch(subject) or asn_of(subject)) or not isinstance(entries, list):
            findings.append(f"{key}: {str(name)[:60]!r} names no as-set; run bgpq4 with -l and the as-set's name; left out")
            continue
        asns: dict[int, None] = {}
        found: dict[str, None] = {}
        for entry in entries:
            known = canonical(entry["prefix"]) if isinstance(entry, dict) and isinstance(entry.get("prefix"), str) else None
            if type(entry) is int and 0 < entry < 1 << 32:
                asns[entry] = None
            elif known is not None and isinstance(entry, dict):
                low, high = entry.get("greater-equal", known[2]), entry.get("less-equal", known[2])
                if type(low) is not int or type(high) is not int or not known[2] <= low <= high <= (32 if known[0] == 4 else 128):
                    findings.append(f"{key}: {subject}: {str(entry)[:80]} has odd lengths; left out")
                else:
                    found[known[1] if high == known[2] else f"{known[1]}{{{low},{high}}}"] = None
            else:
                findings.append(f"{key}: {subject}: {str(entry)[:80]} is neither prefix nor ASN; left out")
        if asns:
            registry, _, bare = subject.rpartition("::")
            sets[registry, bare] = AsSetObject(bare, registry, tuple(asns), ())
        if found:
            prefixes[subject] = tuple(found)
    return Source(sets, {}, (), prefixes, {}, tuple(findings))


# together -----------------------------------------------------------------------------------------------------------


class Cone(NamedTuple):
    """Whom an announcer speaks for: origins, prefixes that came without an origin, and what went wrong on the way."""

    origins: frozenset[int]
    prefixes: tuple[str, ...]
    findings: tuple[str, ...]


class Registries:
    """All sources of one policy, in the order of their rank."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._by_name: dict[str, list[AsSetObject]] = {}
        for source in self._sources:
            for each in source.sets.values():
                self._by_name.setdefault(each.name, []).append(each)
        self._referring: dict[str, list[Membership]] = {}
        for source in self._sources:
            for membership in source.memberships:
                self._referring.setdefault(membership.as_set, []).append(membership)
        self._cones: dict[str, Cone] = {}
        self._seen: dict[str, set[tuple[str, str]]] = {}  # name → the sets that unfolding it comes to
        self._registered: dict[tuple[frozenset[int], int | None, int | None], tuple[RoaTable, RoaTable]] = {}
        self.findings = tuple(finding for source in self._sources for finding in source.findings)

    def cone(self, own: int, as_sets: Iterable[str]) -> Cone:
        """Origins of `as_sets` together, and always `own`, the announcer's ASN: for itself everybody may speak."""
        parts = [self._unfolded(name.upper()) for name in as_sets]
        return Cone(
            frozenset((own,)).union(*(part.origins for part in parts)),
            tuple(
                dict.fromkeys(
                    prefix
                    for name in (*as_sets, f"AS{own}")
                    for source in self._sources
                    for spelled in dict.fromkeys((name.upper(), name.upper().rpartition("::")[2]))
                    for prefix in source.prefixes.get(spelled, ())
                )
            ),
            tuple(finding for part in parts for finding in part.findings),
        )

    def vias(self, asn: int) -> tuple[str, ...]:
        """What an ASN says with import-via and export-via, as the first source has it that has any."""
        return next((source.vias[asn] for source in self._sources if asn in source.vias), ())

    def registered(self, origins: frozenset[int], longest_v4: int | None, longest_v6: int | None) -> tuple[RoaTable, RoaTable]:
        """Route objects of `origins` as ROAs, IPv4 and IPv6: each allows its own length only, or down to `longest_…` where that is longer.
        Ordered by origin, then as first seen."""
        key = (origins, longest_v4, longest_v6)
        found = self._registered.get(key)
        if found is None:
            chunks = [
                of_origin(prefixes, origin, longest_v4, longest_v6)
                for origin in sorted(origins)
                if (prefixes := tuple(chain.from_iterable(source.routes.get(origin, ()) for source in self._sources)))
            ]
            found = self._registered[key] = RoaTable(chunks=[v4 for v4, _ in chunks]), RoaTable(chunks=[v6 for _, v6 in chunks])
        return found

    def referring(self, each: AsSetObject) -> frozenset[int]:
        """ASNs that say that they are members of a set, and whom it lets (mbrs-by-ref, RFC 2622, 5.1)."""
        return frozenset(
            membership.asn
            for membership in self._referring.get(each.name, ())
            if each.by_reference
            and membership.registry == each.registry
            and ("ANY" in each.by_reference or membership.maintainers & each.by_reference)
        )

    def reached(self, names: Iterable[str]) -> frozenset[tuple[str, str]]:
        """(registry, name) of each as-set that unfolding `names` comes to."""
        for name in (wanted := [each.upper() for each in names]):
            self._unfolded(name)
        return frozenset().union(*(self._seen.get(name, frozenset()) for name in wanted))

    def chain(self, as_sets: Iterable[str], asn: int) -> tuple[AsSetObject, ...]:
        """The shortest way from one of `as_sets` to `asn`: the sets, each naming the next one, the last of them naming `asn`. Empty: there is none."""
        queue: list[tuple[tuple[AsSetObject, ...], str, str]] = [((), name.upper(), "") for name in as_sets]
        seen: set[tuple[str, str]] = set()
        for way, wanted, near in queue:  # it grows while it is walked
            each = self._find(wanted, near)
            if each is None or (each.registry, each.name) in seen:
                continue
            seen.add((each.registry, each.name))
            if asn in each.asns or asn in self.referring(each):
                return (*way, each)
            if len(seen) <= SETS_MAX:
                queue += [((*way, each), inner, near or ("::" in wanted and each.registry) or "") for inner in each.sets]
        return ()

    def _find(self, name: str, near: str) -> AsSetObject | None:
        registry, _, bare = name.rpartition("::")
        candidates = self._by_name.get(bare, ())
        for wanted in filter(None, (registry, near)):
            for each in candidates:
                if each.registry == wanted:
                    return each
        if registry:  # bgpq4 was asked for a registry when it was run, and does not say which
            return next((each for each in candidates if not each.registry), None)
        return candidates[0] if candidates else None

    def _unfolded(self, name: str) -> Cone:
        found = self._cones.get(name)
        if found is None:
            found = self._cones[name] = self._unfold(name)
        return found

    def _unfold(self, name: str) -> Cone:
        own = asn_of(name.rpartition("::")[2])
        if own is not None:
            return Cone(frozenset((own,)), (), ())
        asns: set[int] = set()
        findings: list[str] = []
        seen = self._seen.setdefault(name, set())
        queue: list[tuple[str, str]] = [(name, "")]
        while queue:
            wanted, near = queue.pop()
            each = self._find(wanted, near)
            if each is None:
                findings.append(f"as-set {wanted} is in none of the sources" + ("" if wanted == name else f" (named by {name})"))
                continue
            if (each.registry, each.name) in seen:
                continue
            seen.add((each.registry, each.name))
            asns.update(each.asns)
            asns.update(self.referring(each))
            if len(asns) > ASNS_MAX or len(seen) > SETS_MAX:
                return Cone(frozenset(), (), (f"as-set {name} names more than {ASNS_MAX} networks: no list of customers, not used",))
            qualified = near or ("::" in wanted and each.registry) or ""
            queue += [(inner, qualified) for inner in reversed(each.sets)]
        return Cone(frozenset(asns), (), tuple(findings))


def registries(items: Sequence[tuple[str, Item]]) -> Registries:
    """The sources of one policy, by (key, item); the same sources are put together once, with all that was unfolded from them."""
    return _together(tuple(items))


@lru_cache(maxsize=16)
def _together(items: tuple[tuple[str, Item], ...]) -> Registries:
    return Registries(tuple(read(key, item) for key, item in items))
