"""What a candidate that runs in BIRD holds and has refused, in the evaluator's terms."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address

from nnix.daemons.bird import SPLITS_RELOADS
from nnix.kernel.world import Failed, Host
from nnix.planes.routing import birdc
from nnix.planes.routing.asking import reason_of_complaint
from nnix.planes.routing.communities import REASONS, REFUSED
from nnix.planes.routing.compile import ClientPolicy
from nnix.planes.routing.naming import Family, protocol_name
from nnix.planes.routing.prove.compare import BY_ITSELF, Held, Side
from nnix.planes.routing.prove.messages import Attributes
from nnix.planes.routing.prove.route import RO, RT, Prefix, Segment, prefix_of

HOLD = "nnix_hold"
LIST_CHARACTERS_MAX = 400  # of a long list of communities BIRD 2 prints only the beginning, and does not say so
ANSWER_LINE_OCTETS = 1 << 22
_ORIGINS = {"IGP": 0, "EGP": 1, "Incomplete": 2}
COUNTS_NOTHING_BOGUS = (3, 0)
"""since when what BIRD throws out by itself does not count towards a limit (seen: 2.0.12 and 2.17.6 count it, 3.1.8 does not)"""
_NO_UNICAST = tuple(map(prefix_of, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/64", "fe80::/10", "ff00::/8")))
_BOGUS = re.compile(r"Ignoring bogus route (\S+) received via (\S+)")
_NUMBERS = re.compile(r"\(([^)]*)\)")


def bogus(prefix: Prefix) -> bool:
    """Whether BIRD takes it into no table, whatever the filters say: it looks at the first address alone, and calls no unicast what is neither a host's
    nor reaches beyond the link. All zeros pass; an IPv4 address within ::/96 or ::ffff:0:0/96 is judged as such."""
    family, address, _ = prefix
    if family == 6 and address > 1 and address >> 32 in (0, 0xFFFF):
        family, address = 4, address & 0xFFFFFFFF
    first = Prefix(family, address, 32 if family == 4 else 128)
    return prefix.address != 0 and any(first.inside(each) for each in _NO_UNICAST)


async def asked(host: Host, name: str, *questions: str) -> str:
    """BIRD's answers, as `birdc` prints them. A candidate runs on this machine, so its socket is at hand. Raises Failed."""
    try:
        reader, writer = await asyncio.open_unix_connection(f"{host.home}/bird/{name}/bird.ctl", limit=ANSWER_LINE_OCTETS)
        try:
            await _answer(reader)
            said = []
            for question in questions:
                writer.write(f"{question}\n".encode())
                said.append(await _answer(reader))
        finally:
            writer.close()
    except OSError as error:
        raise Failed(f"bird {name} cannot be asked: {error}") from None
    return "\n".join(said)


async def _answer(reader: asyncio.StreamReader) -> str:
    """One answer: lines with a code of four digits, the last of them followed by a space; lines without a code begin with a space."""
    lines: list[str] = []
    while True:
        line = (await reader.readline()).decode("utf-8", "replace").rstrip("\n")
        if not line:
            raise Failed("bird hung up")
        coded = line[:4].isdigit()
        lines.append(line[5:] if coded else line[1:])
        if coded and line[4:5] == " ":
            if line[0] in "89":
                raise Failed(f"bird: {line[5:]}")
            return "\n".join(lines)


async def tables(
    host: Host, name: str, sides: Mapping[str, Side], announced: Collection[tuple[str, Prefix]]
) -> tuple[dict[tuple[str, Prefix], Held], dict[tuple[str, Prefix], str]]:
    """(accepted, refused). `sides` are sessions by protocol. What BIRD has thrown out by itself stands in its log only, for ever, so it counts
    for what is `announced` now. Raises Failed."""
    families = sorted({prefix.family for _, prefix in announced})
    good = await asked(host, name, *(f"show route all table master{family}" for family in families))
    held: dict[tuple[str, Prefix], Held] = {}
    refused: dict[tuple[str, Prefix], str] = {}
    for each in birdc.routes(good):
        if each.protocol in sides:
            key = _session(each, sides), prefix_of(each.prefix)
            if any(function == REFUSED for _, function, _ in each.large):  # kept in the table, with its reason, for nobody
                refused[key] = _reason(each)
            else:
                held[key] = held_of(each)
    bad = await asked(host, name, *(f"show route all filtered table master{family}" for family in families))
    for each in birdc.routes(bad):
        if each.protocol in sides:
            refused[_session(each, sides), prefix_of(each.prefix)] = _reason(each)
    log = (await host.get([f"bird/{name}/bird.log"]))[f"bird/{name}/bird.log"] or b""
    words = log.decode("utf-8", "replace")
    for prefix, protocol in _BOGUS.findall(words):
        if protocol in sides and (key := (sides[protocol][0], prefix_of(prefix))) in announced:
            refused.setdefault(key, BY_ITSELF)
    for key in announced:  # BIRD 3 names few of them in its log
        if key not in held and bogus(key[1]):
            refused.setdefault(key, BY_ITSELF)
    for (protocol, prefix), complaint in birdc.complaints(words).items():
        if protocol not in sides:
            continue
        key = sides[protocol][0], prefix_of(prefix)
        if key in announced and key not in held and key not in refused:
            refused[key] = reason_of_complaint(complaint.words)[0]
    return held, refused


def _session(entry: birdc.Entry, sides: Mapping[str, Side]) -> str:
    return sides[entry.protocol][0]


def _reason(entry: birdc.Entry) -> str:
    number = next((value for _, function, value in reversed(entry.large) if function == REFUSED), 0)
    reason = REASONS.get(number)
    return reason.slug if reason else f"reason {number}"


async def protocols(host: Host, name: str) -> Mapping[str, birdc.Protocol]:
    """Its BGP sessions. Raises Failed."""
    return birdc.protocols(await asked(host, name, "show protocols all"))


async def reload(host: Host, name: str) -> None:
    """The policy is applied anew to all that members have sent. Raises Failed."""
    splits = await _version(host, name) >= SPLITS_RELOADS
    await asked(host, name, "reload filters in all" if splits else "reload in all")


async def uncounted(host: Host, name: str) -> Callable[[Prefix], bool]:
    """What does not count towards a limit, whatever else it is. Raises Failed."""
    return bogus if await _version(host, name) >= COUNTS_NOTHING_BOGUS else lambda _: False


async def _version(host: Host, name: str) -> tuple[int, int]:
    """(0, 0) where it does not say. Raises Failed."""
    said = re.search(r"BIRD (\d+)\.(\d+)", await asked(host, name, "show status"))
    return (int(said[1]), int(said[2])) if said else (0, 0)


async def reopen(host: Host, name: str, client: ClientPolicy, family: Family) -> None:
    """A session that has ended may begin again at once. Raises Failed."""
    await asked(host, name, f"restart {protocol_name(client.session, family)}")


async def let_in(host: Host, name: str) -> None:
    """A candidate waits for nobody (see daemons/bird.py, cold start). Raises Failed."""
    if HOLD in await asked(host, name, "show protocols"):
        await asked(host, name, f"disable {HOLD}")


def held_of(entry: birdc.Entry) -> Held:
    said = entry.attributes
    return Held(
        Attributes(
            path=path_of(entry.path),
            next_hop=ip_address(entry.next_hop),
            standard=frozenset((a, b) for a, b in map(_pair, _NUMBERS.findall(said.get("community", "")))),
            extended=frozenset(map(_extended, _NUMBERS.findall(said.get("ext_community", "")))),
            large=frozenset(entry.large),
            med=int(said["med"]) if "med" in said else None,
            otc=int(said["otc"]) if "otc" in said else None,
            origin=_ORIGINS[said.get("origin", "IGP")],
        ),
        int(said.get("local_pref", "0")),
        any(len(said.get(name, "")) > LIST_CHARACTERS_MAX for name in ("community", "ext_community", "large_community")),
    )


def path_of(text: str) -> tuple[Segment, ...]:
    """`64500 {64501 64502}` as BIRD prints a path."""
    found: list[Segment] = []
    for word in re.findall(r"\{[^}]*\}|\d+", text):
        found.append(frozenset(map(int, word.strip("{}").split())) if word.startswith("{") else int(word))
    return tuple(found)


def _pair(text: str) -> tuple[int, int]:
    a, _, b = text.partition(",")
    return int(a), int(b)


def _extended(text: str) -> int:
    kind, key, value = (word.strip() for word in text.split(","))
    if kind == "generic":
        return int(key, 16) << 32 | int(value, 16)
    number = int(key)
    if number > 65535:  # the form of four-octet ASNs (RFC 5668)
        return ((0x0200 | (RT if kind == "rt" else RO)) << 48) | number << 16 | int(value)
    return (RT if kind == "rt" else RO) << 48 | number << 32 | int(value)
