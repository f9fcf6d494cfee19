"""The words of rules: communities as tests and as changes, and the three steps of a test that must fail to refuse (suspect, clear, judge)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from nnix.planes.routing.communities import (
    REASON,
    REFUSED,
    SAID,
    WISHES,
    Community,
    short_key,
)
from nnix.planes.routing.kinds import Place, RefusedRoutes
from nnix.planes.routing.naming import Family
from nnix.planes.routing.openbgpd.marks import ASIDE, LAST_SHORT_ASN, NOBODYS_ASN

if TYPE_CHECKING:
    from nnix.planes.routing.compile import ServerPolicy

KINDS_OF_EXTENDED = ("rt", "soo")
EVERYTHING: dict[Family, str] = {4: "0.0.0.0/0", 6: "::/0"}
WIDEST: dict[Family, int] = {4: 32, 6: 128}


class Rule(NamedTuple):
    """A rule on what `peer` announces: whoever passes `test` is refused as `refused`, or else changed by `change`.

    `known` says that it is for accepted routes only, so that the table of refused ones does without it.
    """

    test: str = ""
    change: str = ""
    refused: str = ""
    peer: str = "any"
    known: bool = False


def line(*words: str) -> str:
    return " ".join(filter(None, words))


def together(*changes: str) -> str:
    """Several changes, each once: the grammar takes none twice."""
    return f"{{ {' '.join(dict.fromkeys(changes))} }}"


def ours(server: ServerPolicy, function: int, value: int | str = "*") -> str:
    return f"large-community {server.asn}:{function}:{value}"


def without(server: ServerPolicy, function: int, value: int | str = "*") -> str:
    return f"large-community delete {server.asn}:{function}:{value}"


def aside(function: int, value: int | str = "*", delete: str = "") -> str:
    return f"large-community {delete}{NOBODYS_ASN}:{function + ASIDE}:{value}"


def standard(pair: tuple[int, int]) -> str:
    return f"community {pair[0]}:{pair[1]}"


def any_form(each: Community, delete: str = "") -> str:
    numbers = ":".join(map(str, each.values))
    if each.form in ("rt", "ro"):
        return f"ext-community {delete}{'soo' if each.form == 'ro' else 'rt'} {numbers}"
    return f"{'large-community' if each.form == 'large' else 'community'} {delete}{numbers}"


def own_large(server: ServerPolicy) -> list[Community]:
    """The exchange's own large communities that begin with our ASN, and stand on routes that go out."""
    own = {*server.attached, *(each for _, each in server.says)}
    return sorted(each for each in own if each.form == "large" and each.values[0] == server.asn)


def set_aside(each: Community, delete: str = "") -> str:
    """One of `own_large`, where all else that begins with our ASN is taken off."""
    return f"large-community {delete}{':'.join(map(str, (LAST_SHORT_ASN, *each.values[1:])))}"


def saying(server: ServerPolicy, slug: str) -> str:
    return ours(server, SAID[slug].function, SAID[slug].value)


def instead(server: ServerPolicy, slug: str) -> str:
    """`slug` is said, and nothing else of its kind."""
    return together(without(server, SAID[slug].function), saying(server, slug))


def suspect(server: ServerPolicy, slug: str, test: str = "", peer: str = "any") -> Rule:
    """Who passes `test` bears the mark of `slug` from here on."""
    return Rule(test, ours(server, REFUSED, REASON[slug].number), peer=peer)


def clear(server: ServerPolicy, slug: str, test: str = "", peer: str = "any") -> Rule:
    """Who passes `test` does not bear the mark of `slug` any longer."""
    return Rule(test, without(server, REFUSED, REASON[slug].number), peer=peer)


def judge(server: ServerPolicy, slug: str) -> Rule:
    """Who still bears the mark is refused."""
    return Rule(ours(server, REFUSED, REASON[slug].number), refused=slug)


def longest_accepted(server: ServerPolicy, family: Family) -> int:
    return server.policy.prefix_lengths.v4_max if family == 4 else server.policy.prefix_lengths.v6_max


def longer_than_accepted(server: ServerPolicy) -> dict[Family, str]:
    """The test for prefixes that are longer than the policy accepts: host routes, where they are to be blackholed."""
    return {
        family: f"prefix {EVERYTHING[family]} prefixlen > {longest_accepted(server, family)}"
        for family in server.families
        if longest_accepted(server, family) < WIDEST[family]
    }


def controls(server: ServerPolicy) -> list[str]:
    """Standard and extended communities that are wishes; large ones are all that begin with our ASN."""
    keys = sorted({short_key(wish, aim, server.stand_in) for aim in server.aims for wish in WISHES})
    return [
        *(f"community {key}:*" for key in keys),
        *(f"ext-community {kind} {key}:*" for kind in KINDS_OF_EXTENDED for key in keys),
    ]


def keeps_refused(server: ServerPolicy) -> bool:
    return server.policy.refused is RefusedRoutes.TAG_AND_REJECT


def local_text(server: ServerPolicy, place: Place) -> Iterator[str]:
    for each in server.snippets:
        if each.place is place:
            yield f"# local-snippet/{each.name}\n{each.text.rstrip()}\n# end of local-snippet/{each.name}"
