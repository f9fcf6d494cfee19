"""The query protocol of IRRd, as RADB and its mirrors speak it on port 43 (IRRd 4, "IRRd-style queries").

A line that begins with `!` asks; the answer says its length before it comes:

    !mas-set,AS-X      A42\\n…object…\\nC\\n      found, 42 octets
    !iAS-X             C\\n                       done, and there is nothing to say
    !gAS64500          D\\n                       not known
                       F message\\n              not understood

`!!` keeps the connection open; questions may be sent before earlier ones are answered, which is what makes thousands of them quick. As-sets are asked
for one by one, and unfolded here, not there (`!i…,1` would): the way from a member to an origin is to be shown later, and it is here that
a set which names itself, or half the Internet, is stopped.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nnix import __version__
from nnix.planes.routing.irr import ASNS_MAX, SET_NAME, SETS_MAX, asn_of, read_rpsl
from nnix.planes.routing.registries.answers import Answers
from nnix.planes.routing.rpki import canonical

PORT = 43
AT_ONCE = 200
"""questions under way: their text and the small answers fit into socket buffers, so that neither side waits for the other to read"""
ANSWER_OCTETS_MAX = 64 << 20
ORIGINS_MAX = 200_000
SILENCE_SECONDS = 30.0

_SOURCE = re.compile(r"^source:[ \t]*([A-Za-z0-9-]+)", re.MULTILINE | re.IGNORECASE)


class Unanswered(Exception):
    """The server could not be asked to the end: what it said so far is not used. The message says why."""


@dataclass
class Connection:
    """One conversation. Raises Unanswered for everything that keeps it from its end."""

    server: str
    until: float
    """on the monotonic clock"""
    _socket: socket.socket = field(init=False)
    _read: bytearray = field(init=False, default_factory=bytearray)

    def __enter__(self) -> Connection:
        host, port = address(self.server)
        try:
            self._socket = socket.create_connection((host, port), timeout=self._left())
            self._send("!!\n")
            self.told([f"!nnnix {__version__}"])
        except OSError as error:
            raise Unanswered(f"{self.server}: {error.strerror or error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def told(self, commands: Sequence[str]) -> None:
        """Say what must be agreed to."""
        for command, answer in zip(commands, self.asked(commands), strict=True):
            if answer is None:
                raise Unanswered(f"{self.server} does not agree to {command}")

    def asked(self, questions: Iterable[str]) -> Iterator[str | None]:
        """What is answered to each, in order; None where something is not known."""
        waiting = list(questions)
        for start in range(0, len(waiting), AT_ONCE):
            batch = waiting[start : start + AT_ONCE]
            self._send("".join(f"{each}\n" for each in batch))
            for question in batch:
                yield self._answer(question)

    def _answer(self, question: str) -> str | None:
        line = self._until_newline()
        kind, rest = line[:1], line[1:]
        if kind == "C":
            return ""
        if kind in ("D", "E"):
            return None
        if kind == "F":
            raise Unanswered(f"{self.server} says of {question}: {rest.strip()[:200]}")
        if kind != "A" or not rest.isdecimal():
            raise Unanswered(f"{self.server} answers {question} with {line[:60]!r}, which is no answer of this protocol")
        length = int(rest)
        if length > ANSWER_OCTETS_MAX:
            raise Unanswered(f"{self.server} wants to say {length} octets to {question}; {ANSWER_OCTETS_MAX} are heard")
        self._fill(length)
        text = bytes(self._read[:length]).decode("utf-8", "replace")
        del self._read[:length]
        if (end := self._until_newline()) != "C":
            raise Unanswered(f"{self.server} ends its answer to {question} with {end[:60]!r}")
        return text

    def _until_newline(self) -> str:
        while (end := self._read.find(b"\n")) < 0:
            if len(self._read) > 4096:
                raise Unanswered(f"{self.server} says a line without an end")
            self._more()
        line = bytes(self._read[:end]).decode("utf-8", "replace")
        del self._read[: end + 1]
        return line.rstrip("\r")

    def _fill(self, octets: int) -> None:
        while len(self._read) < octets:
            self._more()

    def _more(self) -> None:
        try:
            self._socket.settimeout(self._left())
            piece = self._socket.recv(1 << 16)
        except OSError as error:
            raise Unanswered(f"{self.server}: {error.strerror or error or 'silent'}") from None
        if not piece:
            raise Unanswered(f"{self.server} closed the connection in the middle of an answer")
        self._read += piece

    def _send(self, text: str) -> None:
        self._socket.settimeout(self._left())
        self._socket.sendall(text.encode())

    def _left(self) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise Unanswered(f"{self.server} took too long for all of it")
        return min(left, SILENCE_SECONDS)


def address(server: str) -> tuple[str, int]:
    """`host`, `host:port`, `[v6]:port`."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s]+))(?::(\d{1,5}))?", server)
    if match is None:
        raise Unanswered(f"{server} is no server: HOST or HOST:PORT is wanted")
    return match[1] or match[2], int(match[3] or PORT)


def asked(
    server: str, databases: Sequence[str], names: Iterable[str], seconds: float, *, routes: bool = True, vias: bool = False
) -> Answers:
    """The as-sets among `names` (AS-X, RIPE::AS-X) with all that they name; with `routes` the route objects of all ASNs there; with `vias` what the ASNs
    among `names` say of route servers in their aut-nums. Raises Unanswered."""
    findings: list[str] = []
    with Connection(server, time.monotonic() + seconds) as connection:
        # Where no databases are named, the server's own choice is what one goes back to after a set of one registry.
        [chosen] = [",".join(databases)] if databases else connection.asked(["!s-lc"])
        usual = f"!s{(chosen or '').strip()}"
        if databases:
            connection.told([usual])
        sets = _sets(connection, usual, [each.upper() for each in names], findings)
        origins = sorted(
            {number for members in sets.values() for each in members if (number := asn_of(each))}
            | {number for each in names if (number := asn_of(each.rpartition("::")[2]))}
        )
        if len(origins) > ORIGINS_MAX:
            findings.append(f"{len(origins)} ASNs are named together; the route objects of the first {ORIGINS_MAX} are asked for")
        found = _routes(connection, origins[:ORIGINS_MAX], findings) if routes else {}
        said = _vias(connection, [number for each in names if (number := asn_of(each))]) if vias else {}
    return Answers(sets, found, {}, said, tuple(findings))


def _vias(connection: Connection, asns: Sequence[int]) -> dict[int, tuple[str, ...]]:
    objects = connection.asked(f"!maut-num,AS{asn}" for asn in asns)
    return {asn: said for asn, told in zip(asns, objects, strict=True) if (said := read_rpsl(f"AS{asn}", told or "").vias.get(asn))}


def _sets(connection: Connection, usual: str, names: Sequence[str], findings: list[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Level by level, every set once. Beyond SETS_MAX sets nothing more is asked; irr.py refuses what is so large."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    seen: set[str] = set()
    level = [each for each in dict.fromkeys(names) if asn_of(each.rpartition("::")[2]) is None]
    while level:
        seen.update(level)
        inner: dict[str, None] = {}
        for registry, group in _by_registry(level).items():
            if registry:
                connection.told([f"!s{registry}"])
            bare = [each.rpartition("::")[2] for each in group]
            answers = list(connection.asked(question for each in bare for question in (f"!mas-set,{each}", f"!i{each}")))
            for name, told, members in zip(bare, answers[::2], answers[1::2], strict=True):
                if told is None and members is None:
                    if registry:  # what is named inside of a set of one registry may stand in another
                        inner[name] = None
                    continue
                words = _members(name, members or "", findings)
                source = _SOURCE.search(told or "")
                found.setdefault((source[1].upper() if source else registry, name), words)
                for each in words:
                    if asn_of(each) is None:
                        inner[each if "::" in each or not registry else f"{registry}::{each}"] = None
            if registry:
                connection.told([usual])
        if len(found) > SETS_MAX:
            findings.append(f"more than {SETS_MAX} as-sets hang together; no more were asked for")
            break
        level = [each for each in inner if each not in seen]
    return found


def _by_registry(names: Iterable[str]) -> Mapping[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for each in names:
        groups.setdefault(each.rpartition("::")[0], []).append(each)
    return groups


def _members(name: str, text: str, findings: list[str]) -> tuple[str, ...]:
    members: dict[str, None] = {}
    for word in text.split():
        if (number := asn_of(word)) is not None:
            members[f"AS{number}"] = None
        elif SET_NAME.fullmatch(word):
            members[word.upper()] = None
        else:
            findings.append(f"as-set {name}: member {word[:60]!r} is neither ASN nor as-set; left out")
        if len(members) > ASNS_MAX + SETS_MAX:
            findings.append(f"as-set {name} has more than {ASNS_MAX + SETS_MAX} members; the rest was not read")
            break
    return tuple(members)


def _routes(connection: Connection, origins: Sequence[int], findings: list[str]) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    answers = connection.asked(question for origin in origins for question in (f"!gAS{origin}", f"!6AS{origin}"))
    for origin in origins:
        words: dict[str, None] = {}
        for family in (4, 6):
            for word in (next(answers) or "").split():
                known = canonical(word.lower())
                if known is None or known[0] != family:
                    findings.append(f"AS{origin}: {word[:60]!r} is no IPv{family} prefix; left out")
                else:
                    words[known[1]] = None
        if words:
            found[origin] = tuple(words)
    return found
