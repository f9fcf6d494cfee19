"""import-via and export-via: what a member says in its aut-num of whose routes it wants through a route server, and who shall have its own
(draft-snijders-rpsl-via).

    import-via: afi any.unicast AS64500 from AS-ANY EXCEPT AS64511 accept ANY
    export-via: AS64500 to AS64501 OR AS-FRIENDS announce AS-EXAMPLE

The first AS is the route server's; lines about another one are not for us. Then stand peers: ASNs, as-sets and AS-ANY, joined by OR, AND and EXCEPT from
left to right. Of several lines each adds to what the others allow. What is accepted or announced is for the registries to say, so that a filter here other
than ANY, or an action, is not heeded, and told.

A line about us that cannot be read allows nobody, so that a slip shuts a door and opens none; a member without such a line has said nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from nnix.planes.routing.irr import SET_NAME, asn_of

WAYS = {"import-via": ("FROM", "ACCEPT"), "export-via": ("TO", "ANNOUNCE")}
_BOTH = {"ANY", "ANY.UNICAST", "IPV4.UNICAST,IPV6.UNICAST", "IPV6.UNICAST,IPV4.UNICAST", "IPV4,IPV6", "IPV6,IPV4"}

MembersOf = Callable[[str], frozenset[int]]
"""as-set → ASNs of members here that are in it"""


class Chosen(NamedTuple):
    """All but `but`; or none but `only`, and of these none of `but`."""

    only: frozenset[int] | None
    but: frozenset[int] = frozenset()

    def joined(self, other: Chosen) -> Chosen:
        """Whom either allows."""
        if self.only is None or other.only is None:
            barred = [each.but if each.only is None else None for each in (self, other)]
            named = frozenset().union(*(each.only - each.but for each in (self, other) if each.only is not None))
            return Chosen(None, frozenset.intersection(*(each for each in barred if each is not None)) - named)
        return Chosen((self.only - self.but) | (other.only - other.but))


NOBODY = Chosen(frozenset())


def chosen(lines: Iterable[str], way: str, route_server: int, members_of: MembersOf, findings: list[str]) -> Chosen | None:
    """What `lines` (`import-via …`, `export-via …`, as they stand in an aut-num) say of `way` through `route_server`; None where they say nothing of it."""
    found: Chosen | None = None
    for line in lines:
        kind, _, text = line.partition(" ")
        if kind != way:
            continue
        words = re.sub(r"\s*,\s*", ",", text.upper()).split()
        if words[:1] == ["AFI"]:
            families, words = words[1:2], words[2:]
        else:
            families = ["ANY"]
        if asn_of(words[0] if words else "") != route_server:
            continue
        try:
            one = _peers(words[1:], way, members_of, findings) if families and families[0] in _BOTH else _odd(f"afi {' '.join(families)}")
        except ValueError as error:
            findings.append(f"{way}: {text[:100]!r}: {error}; it allows nobody")
            one = NOBODY
        found = one if found is None else found.joined(one)
    return found


def _odd(what: str) -> Chosen:
    raise ValueError(f"{what} is not understood")


def _peers(words: list[str], way: str, members_of: MembersOf, findings: list[str]) -> Chosen:
    """What stands behind the route server's ASN. Raises ValueError."""
    towards, ending = WAYS[way]
    if words[:1] != [towards] or ending not in words:
        raise ValueError(f"{towards.lower()} … {ending.lower()} is wanted behind the route server's ASN")
    end = words.index(ending)
    peers, said = words[1:end], words[end + 1 :]
    if "ACTION" in peers:
        findings.append(f"{way}: its action is not heeded; communities say such things")
        peers = peers[: peers.index("ACTION")]
    if way == "import-via" and said[:1] not in (["ANY"], ["ANY;"]):
        findings.append(f"{way}: its filter {' '.join(said)[:60]!r} is not heeded; all of these peers' routes are told")
    if len(peers) % 2 == 0:
        raise ValueError("peers are wanted, with OR, AND or EXCEPT between them")
    found = _term(peers[0], members_of)
    for operator, word in zip(peers[1::2], peers[2::2], strict=True):
        found = _OPERATORS.get(operator, _unknown)(found, _term(word, members_of))
    return found


def _term(word: str, members_of: MembersOf) -> Chosen:
    if word == "AS-ANY":
        return Chosen(None)
    if (number := asn_of(word)) is not None:
        return Chosen(frozenset((number,)))
    if SET_NAME.fullmatch(word):
        return Chosen(members_of(word))
    return _odd(word[:40])


def _and(one: Chosen, other: Chosen) -> Chosen:
    if one.only is None and other.only is None:
        return Chosen(None, one.but | other.but)
    both = one.only if other.only is None else other.only if one.only is None else one.only & other.only
    return Chosen((both or frozenset()) - one.but - other.but)


def _except(one: Chosen, other: Chosen) -> Chosen:
    if other.only is None:
        return NOBODY
    return Chosen(one.only, one.but | other.only) if one.only is None else Chosen(one.only - other.only)


def _unknown(one: Chosen, other: Chosen) -> Chosen:
    raise ValueError("OR, AND or EXCEPT is wanted between peers")


_OPERATORS: dict[str, Callable[[Chosen, Chosen], Chosen]] = {"OR": Chosen.joined, "AND": _and, "EXCEPT": _except}
