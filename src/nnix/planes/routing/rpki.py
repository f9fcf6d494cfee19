"""VRPs: who may originate what, as the relying party found it (RFC 6811).

Read from the JSON that rpki-client and Routinator write: a list of roas with asn (a number, or text with or without AS),
prefix and maxLength. What cannot be read is left out and reported; a document that holds no VRP at all is refused, since
an empty table would turn every invalid route into one that is merely unknown.

The whole table goes to the daemon, because nobody can say beforehand which prefix a member will announce. 723,000 VRPs are
read in some 6 s of CPU time and are 29 MB of configuration; the result is kept, and found again by the document's bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property, lru_cache
from ipaddress import IPv6Network
from itertools import chain
from typing import Any, NamedTuple

from nnix.kernel.evidence import Item

Roa = tuple[str, int, int]
"""(prefix, longest, origin): `origin` may announce `prefix` and its more specifics up to `longest`. Prefix as text, in its one canonical spelling."""


class Chunk:
    """ROAs that come and go together, such as all of one origin: made and spelled once, however often a table with them is."""

    def __init__(self, roas: Iterable[Roa]) -> None:
        self.roas = tuple(dict.fromkeys(roas))

    @cached_property
    def routes(self) -> str:
        """In BIRD's words, a line each."""
        return "".join([f" route {prefix} max {longest} as {origin};\n" for prefix, longest, origin in self.roas])

    @cached_property
    def _coverings(self) -> dict[int, Chunk]:
        return {}

    def covering(self, longest: int) -> Chunk:
        """The same with every length down to `longest` allowed."""
        found = self._coverings.get(longest)
        if found is None:
            found = self._coverings[longest] = Chunk([(prefix, longest, origin) for prefix, _, origin in self.roas])
        return found


CHUNKS_KEPT = 1 << 15


@lru_cache(maxsize=CHUNKS_KEPT)
def of_origin(prefixes: tuple[str, ...], origin: int, longest_v4: int | None, longest_v6: int | None) -> tuple[Chunk, Chunk]:
    """Route objects of one origin as ROAs, IPv4 and IPv6: each allows its own length only, or down to `longest_…` where that is longer."""
    found: tuple[list[Roa], list[Roa]] = ([], [])
    for prefix in prefixes:
        family, longest = (found[1], longest_v6) if ":" in prefix else (found[0], longest_v4)
        length = int(prefix.rpartition("/")[2])
        family.append((prefix, length if longest is None or longest < length else longest, origin))
    return Chunk(found[0]), Chunk(found[1])


class RoaTable:
    """ROAs of one address family, each once. Tables are large and shared between route servers, so what is made of one is kept with it."""

    def __init__(self, roas: Iterable[Roa] = (), *, chunks: Iterable[Chunk] | None = None) -> None:
        """Of ROAs, or of chunks that have none in common."""
        self._chunks = (Chunk(roas),) if chunks is None else tuple(chunks)

    @cached_property
    def roas(self) -> tuple[Roa, ...]:
        return tuple(chain.from_iterable(each.roas for each in self._chunks))

    def __len__(self) -> int:
        return sum(len(each.roas) for each in self._chunks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RoaTable) and self.roas == other.roas

    def __hash__(self) -> int:
        return hash(len(self))

    def __repr__(self) -> str:
        return f"RoaTable({len(self)} ROAs)"

    @cached_property
    def routes(self) -> str:
        """The table in BIRD's words, a line each."""
        return "".join([each.routes for each in self._chunks])

    @cached_property
    def _coverings(self) -> dict[tuple[frozenset[int] | None, int], RoaTable]:
        return {}

    def covering(self, origins: frozenset[int] | None, longest: int) -> RoaTable:
        """Those of `origins` (None: of all) with every length down to `longest` allowed: who may blackhole inside of what."""
        found = self._coverings.get((origins, longest))
        if found is None:
            if origins is None:
                found = RoaTable(chunks=[each.covering(longest) for each in self._chunks])
            else:
                found = RoaTable([(prefix, longest, origin) for prefix, _, origin in self.roas if origin in origins])
            self._coverings[origins, longest] = found
        return found


class Vrps(NamedTuple):
    """All VRPs of a document by address family, sorted, each once; and what could not be read."""

    v4: RoaTable
    v6: RoaTable
    findings: tuple[str, ...]


class Unreadable(ValueError):
    """The document is no VRP list. The message says why."""


_V4 = re.compile(
    r"(25[0-5]|2[0-4]\d|1?\d?\d)\.(25[0-5]|2[0-4]\d|1?\d?\d)\.(25[0-5]|2[0-4]\d|1?\d?\d)\.(25[0-5]|2[0-4]\d|1?\d?\d)/(3[0-2]|[12]?\d)"
)


def canonical(prefix: str) -> tuple[int, str, int] | None:
    """(address family, canonical text, length) of `prefix`; None when it is none, or has bits beyond its length.

    `192.0.02.0/24` is read as people mean it. Much faster than ipaddress for IPv4, where most prefixes are.
    """
    match = _V4.fullmatch(prefix) or _V4.fullmatch(re.sub(r"\b0+(?=\d)", "", prefix))
    if match is not None:
        a, b, c, d, length = map(int, match.groups())
        if ((a << 24) | (b << 16) | (c << 8) | d) & ((1 << (32 - length)) - 1):
            return None
        return 4, f"{a}.{b}.{c}.{d}/{length}", length
    if ":" not in prefix or "/" not in prefix or "%" in prefix:
        return None
    try:
        network = IPv6Network(prefix)
    except ValueError:
        return None
    if network.network_address.ipv4_mapped is not None:
        return None
    return 6, str(network), network.prefixlen


@lru_cache(maxsize=8)
def vrps(item: Item) -> Vrps:
    """The VRPs of one document; the same bytes are read once. Raises Unreadable for one that is no VRP list or holds none."""
    try:
        document = json.loads(item.content)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no JSON: {error}") from None
    entries: Any = document.get("roas") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        raise Unreadable("no VRP list: a JSON object with a list `roas` is wanted, as rpki-client -j and Routinator write it")
    found: tuple[set[Roa], set[Roa]] = (set(), set())
    findings: list[str] = []
    for index, entry in enumerate(entries):
        try:
            asn, prefix, longest = entry["asn"], entry["prefix"], entry["maxLength"]
            origin = asn if type(asn) is int else int(asn.upper().removeprefix("AS"))
            known = canonical(prefix)
            if known is None or not 0 <= origin < 1 << 32 or type(longest) is not int:
                raise ValueError
            family, text, length = known
            if not length <= longest <= (32 if family == 4 else 128):
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError):
            findings.append(f"roas[{index}] is no VRP and is left out: {entry!r:.120}")
            continue
        found[family == 6].add((text, longest, origin))
    if not found[0] and not found[1]:
        raise Unreadable("it holds no VRP; an empty table would let every invalid route pass as unknown")
    return Vrps(RoaTable(sorted(found[0])), RoaTable(sorted(found[1])), tuple(findings))


@lru_cache(maxsize=8)
def aspas(item: Item) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Customers and their providers (ASPA) of a document, as rpki-client (`customer_asid`, numbers) and Routinator (`customer`, AS…) write
    them; none where it has none. What cannot be read is left out: its customer then has named no providers, which makes no path invalid."""
    try:
        document = json.loads(item.content)
    except (ValueError, RecursionError):
        return ()
    found: dict[int, tuple[int, ...]] = {}
    entries: Any = document.get("aspas") if isinstance(document, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        try:
            customer = _number(entry.get("customer_asid", entry.get("customer")))
            found[customer] = tuple(sorted({_number(each) for each in entry["providers"]}))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return tuple(sorted(found.items()))


def _number(asn: Any) -> int:
    """An ASN, as a number or as text. Raises ValueError, AttributeError for what is none."""
    number = asn if type(asn) is int else int(asn.upper().removeprefix("AS"))
    if not 0 <= number < 1 << 32:
        raise ValueError(asn)
    return number
