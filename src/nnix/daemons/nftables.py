"""nftables: one table of packet rules, loaded whole or not at all.

An artifact is the text of exactly one table, `table bridge nnix { … }`. It is replaced in one transaction, so there is no
instant without rules; and where only members of sets differ from what was loaded last, only those are added and deleted,
so that counters go on counting and a thousand ports do not move because one came.

What the kernel has cannot be compared with what was asked for: nft prints a table otherwise than it was written, and each
version prints it otherwise. So the table is read back right after loading, and the digest of that reading is kept together
with the digest of the artifact (`nftables/<name>/loaded`). Looking means to read again and compare reading with reading.
A new version of nft looks like a hand edit once, is loaded anew, and agrees from then on.

A reading leaves out what changes by itself (counters: `nft -s`; members of sets that packets fill) and the order in which
the kernel lists members, which says nothing.

Sets that shall be changed in place are written as `set NAME { … elements = { … } … }`; members may carry a counter or a
limit. Everything else is the table's skeleton, and a change there reloads the table.

Whom a change interrupts, no rule can tell. The artifact says it in comments, which nft does not keep:

    # behind "p-alice": session/alice-1 session/alice-2
    # interrupted by leaving: macs own4 own6
    # interrupted by joining: drained

A member of a set names the interface that it speaks about first (`"p-alice" . 02:00:5e:10:00:01`). When it leaves a set of the second
line, or joins one of the third, everybody behind that interface is interrupted; a filter knows ports, so it is all sessions of the
port. What is loaded in one transaction interrupts nobody else. Where there is no such comment, nobody is named.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from nnix.kernel.world import Failed, Host, Step

HEAD = re.compile(r"\s*table\s+(ip|ip6|inet|arp|bridge|netdev)\s+([A-Za-z_][A-Za-z0-9_]*)\s*\{")
SET = re.compile(r"\b(?:set|map)\s+([A-Za-z_][A-Za-z0-9_.-]*)\s*\{")
ELEMENTS = re.compile(r"elements\s*=\s*\{")
STATE = re.compile(r"\s+(?:counter|limit|quota|timeout|expires|last)\b.*$", re.DOTALL)
COMMENT = re.compile(r"#[^\n]*")
BEHIND = re.compile(r'^#[ \t]*behind "([^"\n]+)":([^\n]*)$', re.MULTILINE)
INTERRUPTED = re.compile(r"^#[ \t]*interrupted by (leaving|joining):([^\n]*)$", re.MULTILINE)
INTERFACE = re.compile(r'"([^"]+)"')
ELEMENTS_SAID_MAX = 3


@dataclass(frozen=True)
class Table:
    """A table's text, taken apart: `skeleton` is everything but the members of its sets, white space evened."""

    family: str
    name: str
    skeleton: str
    elements: Mapping[str, frozenset[str]]
    filled: frozenset[str]  # sets whose members packets add

    @property
    def reading(self) -> str:
        """SHA-256 over what stays as long as nobody changes the table."""
        members = {name: sorted(group) for name, group in self.elements.items() if name not in self.filled}
        return hashlib.sha256(json.dumps([self.family, self.name, self.skeleton, members], sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=256)  # one change asks many times for the same text, and a table of a thousand ports is long
def parse(text: str) -> Table:
    """Take the text of one table apart. Raises ValueError when it is not exactly one table."""
    text = COMMENT.sub("", text)
    head = HEAD.match(text)
    if head is None:
        raise ValueError("exactly one table is wanted, like: table bridge nnix { … }")
    if text[_closing(text, head.end() - 1) + 1 :].strip():
        raise ValueError("something stands behind the table's end")
    skeleton: list[str] = []
    elements: dict[str, frozenset[str]] = {}
    filled: set[str] = set()
    position = 0
    for found in SET.finditer(text):
        end = _closing(text, found.end() - 1)
        body = text[found.end() : end]
        members: frozenset[str] = frozenset()
        if inner := ELEMENTS.search(body):
            close = _closing(body, inner.end() - 1)
            members = frozenset(_members(body[inner.end() : close]))
            body = body[: inner.start()] + body[close + 1 :]
        if re.search(r"\bdynamic\b", body):
            filled.add(found[1])
        elements[found[1]] = members
        skeleton += [text[position : found.end()], body]
        position = end
    skeleton.append(text[position:])
    return Table(head[1], head[2], " ".join("".join(skeleton).replace(";", " ; ").split()), elements, frozenset(filled))


def _closing(text: str, opening: int) -> int:
    """Where the brace at `opening` closes; braces in quotes do not count. Raises ValueError when it does not."""
    depth, quoted = 0, False
    for found in re.compile(r'["{}]').finditer(text, opening):
        if found[0] == '"':
            quoted = not quoted
        elif not quoted:
            depth += 1 if found[0] == "{" else -1
            if depth == 0:
                return found.start()
    raise ValueError("a brace is not closed")


def _members(text: str) -> Iterator[str]:
    for member in re.findall(r'(?:"[^"]*"|[^,"])+', text):
        if evened := " ".join(member.split()):
            yield evened


def member_changes(old: Table, new: Table) -> str | None:
    """nft commands that turn `old` into `new` by members of sets alone; None when more than that differs. Pure."""
    if (old.family, old.name, old.skeleton) != (new.family, new.name, new.skeleton):
        return None
    commands = []
    for verb, here, there in (("delete", old, new), ("add", new, old)):
        for name, members in here.elements.items():
            if changed := sorted(members - there.elements.get(name, frozenset())):
                # A member is named by its key alone when it goes; what it carries is no part of the name.
                listed = ", ".join(STATE.sub("", each) if verb == "delete" else each for each in changed)
                commands.append(f"{verb} element {new.family} {new.name} {name} {{ {listed} }}\n")
    return "".join(commands)


# -- what a plan says ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Concerned:
    """What an artifact's comments say: interface → who is behind it; and the sets that one must not leave, or not join."""

    behind: Mapping[str, frozenset[str]]
    leaving: frozenset[str]
    joining: frozenset[str]

    @property
    def everybody(self) -> frozenset[str]:
        return frozenset().union(*self.behind.values())

    def interrupted(self, members: Iterable[str]) -> frozenset[str]:
        """Who is behind the interfaces that `members` of a set speak about."""
        interfaces = {found[1] for each in members if (found := INTERFACE.match(each))}
        return frozenset().union(*(self.behind.get(each, frozenset()) for each in interfaces))


NOBODY = Concerned({}, frozenset(), frozenset())


def concerned(text: str) -> Concerned:
    """Who is concerned by the table in `text`; nobody where it does not say."""
    sets = {word: frozenset(names.split()) for word, names in INTERRUPTED.findall(text)}
    behind = {interface: frozenset(names.split()) for interface, names in BEHIND.findall(text)}
    return Concerned(behind, sets.get("leaving", frozenset()), sets.get("joining", frozenset()))


def steps(old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
    """What becomes of the table. Disturbed are those who were behind a port before, by the comments; see the module."""
    if old == new:
        return ()
    if old is None:
        return (Step(f"load {_titled(new or b'')}"),)
    who = concerned(old.decode(errors="replace"))
    if new is None:
        return (Step(f"remove {_titled(old)}", who.everybody),)
    before, after = _parsed(old), _parsed(new)
    if before is None or after is None:
        return (Step(f"load {_titled(new)} anew", who.everybody),)
    if (before.family, before.name) != (after.family, after.name):
        return (Step(f"remove {_titled(old)}", who.everybody), Step(f"load {_titled(new)}"))
    if who == NOBODY:  # written by an nnix that did not say
        who = concerned(new.decode(errors="replace"))
    found = []
    interrupted: frozenset[str] = frozenset()
    for name, members in after.elements.items():
        there = before.elements.get(name, frozenset())
        for verb, where, group in (("delete", "from", sorted(there - members)), ("add", "in", sorted(members - there))):
            if group:
                said = ", ".join(group) if len(group) <= ELEMENTS_SAID_MAX else f"{len(group)} members"
                concerns = name in (who.leaving if verb == "delete" else who.joining) and name in before.elements
                disturbed = who.interrupted(group) if concerns else frozenset()
                found.append(Step(f"{verb} {said} {where} set {name}", disturbed))
                interrupted |= disturbed
    if before.skeleton != after.skeleton:
        return (Step(f"load {_titled(new)} anew, in one transaction", interrupted),)
    return tuple(found) or (Step("note anew who is behind which port; no rule changes"),)


@dataclass(frozen=True, slots=True)
class NftablesDriver:
    """Loads tables and recognises them again; see the module."""

    name: str = "nftables"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        return steps(old, new)

    async def check(self, host: Host, content: bytes) -> str:
        """nft's own parser, and the kernel's judgement, without loading (`nft -c`)."""
        try:
            table = parse(content.decode())
        except ValueError as error:
            return str(error)
        result = await host.run(["nft", "-c", "-f", "-"], stdin=_replacing(table, content))
        return "" if result.status == 0 else result.err.strip() or f"nft ended with status {result.status}"

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        kept = await host.get([self._path(name, "loaded") for name in wanted])
        tables = {name: parse(content.decode()) for name, content in wanted.items()}
        readings = await _readings(host, *tables.values())
        differing = {}
        for (name, table), reading in zip(tables.items(), readings, strict=True):
            if words := _difference(wanted[name], reading, _loaded(kept[self._path(name, "loaded")])):
                differing[name] = f"table {table.family} {table.name} {words}"
        return differing

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        paths = [self._path(name, "loaded"), self._path(name, "applied")]
        kept = await host.get(paths)
        loaded, applied = _loaded(kept[paths[0]]), kept[paths[1]]
        before = _parsed(applied)
        if wanted is None:
            await self._take_away(host, name, before)
            return
        table = parse(wanted.decode())
        if before is not None and (before.family, before.name) != (table.family, table.name):
            await self._take_away(host, name, before)
            before = None
        # The table's name is kept before it is loaded, so that it can be taken away whenever this is killed; the stale
        # `loaded` agrees with no reading, so a load that was not recorded is done again.
        begun: dict[str, bytes | None] = {paths[1]: wanted, paths[0]: None}
        after: str | None = None
        changes = member_changes(before, table) if before is not None and applied != wanted else None
        if changes is not None and loaded is not None and loaded[0] == _digest(applied):
            await host.put(begun)
            after = await _changed(host, table, changes, loaded[1])
        else:
            [reading] = await _readings(host, table)
            if not _difference(wanted, reading, loaded):
                return
            await host.put(begun)
        if after is None:
            after = await _replaced(host, table, wanted)
        await host.put({paths[0]: f"{_digest(wanted)} {after}\n".encode()})

    async def _take_away(self, host: Host, name: str, before: Table | None) -> None:
        if before is not None:
            # Adding first makes deleting a table that is not there no error, in one transaction.
            text = f"add table {before.family} {before.name}\ndelete table {before.family} {before.name}\n"
            result = await host.run(["nft", "-f", "-"], stdin=text.encode())
            if result.status != 0:
                raise Failed(f"{host.name}: nft: {result.err.strip()}")
        await host.put({f"{self.name}/{name}": None})

    def _path(self, name: str, file: str) -> str:
        return f"{self.name}/{name}/{file}"


NFTABLES = NftablesDriver()


def _titled(content: bytes) -> str:
    head = HEAD.match(COMMENT.sub("", content.decode(errors="replace")))
    return f"table {head[1]} {head[2]}" if head else "the table"


def _parsed(content: bytes | None) -> Table | None:
    try:
        return parse(content.decode()) if content is not None else None
    except ValueError:
        return None


def _replacing(table: Table, content: bytes) -> bytes:
    return f"add table {table.family} {table.name}\ndelete table {table.family} {table.name}\n".encode() + content


def _digest(content: bytes | None) -> str:
    return hashlib.sha256(content or b"").hexdigest()


def _loaded(content: bytes | None) -> tuple[str, str] | None:
    """(digest of the artifact, digest of the reading) of the last load that was finished."""
    digests = (content or b"").decode(errors="replace").split()
    return (digests[0], digests[1]) if len(digests) == 2 else None


def _difference(content: bytes, reading: str | None, loaded: tuple[str, str] | None) -> str:
    if reading is None:
        return "is missing"
    if loaded is None:
        return "is there, but was not loaded by nnix to the end"
    if loaded[0] != _digest(content):
        return "is not what is wanted now"
    return "" if loaded[1] == reading else "was changed by somebody else"


async def _asked(host: Host, *commands: str) -> list[tuple[int, str, str]]:
    """(status, what was printed, what was complained of) of each command, all run by one shell whatever becomes of them. Raises Unreachable, Failed."""
    lines = [f"{each}\necho @$?; echo @ >&2" for each in commands]
    result = await host.run(["sh"], stdin="\n".join([*lines, "exit 0", ""]).encode())
    answers = re.findall(r"(.*?)^@(\d+)$\n?", result.out, re.DOTALL | re.MULTILINE)
    complaints = result.err.split("@\n")
    if result.status != 0 or len(answers) != len(commands) or len(complaints) != len(commands) + 1:
        raise Failed(f"{host.name}: nft cannot be asked: {result.err.strip() or f'status {result.status}'}")
    return [(int(status), said, complaint.strip()) for (said, status), complaint in zip(answers, complaints, strict=False)]


def _listing(table: Table) -> str:
    return f"nft -s list table {table.family} {table.name}"


def _reading(host: Host, table: Table, answer: tuple[int, str, str]) -> str | None:
    """The digest of what `_listing` said; None where the kernel has no such table. Raises Failed."""
    status, said, complaint = answer
    if status == 0:
        return parse(said).reading
    if "No such file or directory" in complaint:
        return None
    raise Failed(f"{host.name}: nft cannot list table {table.family} {table.name}: {complaint or f'status {status}'}")


async def _readings(host: Host, *tables: Table) -> list[str | None]:
    """The digest of what the kernel has of each, by one command; None where it has no such table. Raises Unreachable, Failed."""
    answers = await _asked(host, *map(_listing, tables))
    return [_reading(host, table, answer) for table, answer in zip(tables, answers, strict=True)]


async def _changed(host: Host, table: Table, changes: str, expected: str) -> str | None:
    """Change members in place and give the new reading, by one command. None where that did not work, or where the kernel had something else
    than `expected` before: then the whole table is to be loaded. Raises Unreachable, Failed."""
    was, done, then = await _asked(host, _listing(table), f"nft -f - <<'END OF CHANGES'\n{changes}END OF CHANGES", _listing(table))
    after = _reading(host, table, then)
    return after if done[0] == 0 and _reading(host, table, was) == expected else None


async def _replaced(host: Host, table: Table, content: bytes) -> str:
    """Load the whole table, in one transaction, and give the new reading. Raises Unreachable, Failed."""
    result = await host.run(["nft", "-f", "-"], stdin=_replacing(table, content))
    if result.status != 0:
        raise Failed(f"{host.name}: nft: {result.err.strip() or f'status {result.status}'}")
    [after] = await _readings(host, table)
    if after is None:
        raise Failed(f"{host.name}: table {table.family} {table.name} was loaded and is not there")
    return after
