"""One entry of the ledger: its fields, its canonical bytes, its digest, and what must hold of it. All pure.

The digest of an entry is SHA-256 over the canonical JSON (RFC 8785) of all its other fields, so that anybody with a JSON
library and an afternoon can check a ledger without us:

    {"at":"2026-11-24T08:00:00.000000Z","before":"…","body":{…},"seq":7,"what":"change","who":"ops","why":"…"}

The body is by far the largest part. It is brought into canonical form once, kept as those very bytes, and never spelled
again until an audit asks whether it still is what it should be.

The invariants I1 to I5 are named in `nnix.kernel.ledger`; here they are judged.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import rfc8785

GENESIS = "0" * 64
INTEGER_MAX = 2**53 - 1
DEPTH_MAX = 100
BODY_BYTES_MAX = 256 * 1024 * 1024

_WHAT = re.compile(r"[a-z-]{1,32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Head:
    """Where a ledger ends: the number and digest of its newest entry."""

    seq: int
    digest: str


EMPTY = Head(0, GENESIS)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written, in words for an auditor. `seq` is the entry where it shows."""

    seq: int
    what: str

    def __str__(self) -> str:
        return f"entry {self.seq}: {self.what}"


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened, who did it, when and why. `at` is aware UTC with microseconds.

    `clock` is what the writer's clock said, where that was earlier than the entry before (I2); None otherwise, which is nearly always.
    """

    seq: int
    at: datetime
    who: str
    what: str
    why: str
    body: dict[str, Any]
    before: str
    digest: str
    clock: datetime | None = None

    @property
    def head(self) -> Head:
        return Head(self.seq, self.digest)

    def record(self) -> dict[str, Any]:
        """The entry for programs (`--json`). Without `digest` it is what the digest is taken over."""
        return {
            "seq": self.seq,
            "at": spelled(self.at),
            "who": self.who,
            "what": self.what,
            "why": self.why,
            "body": self.body,
            "before": self.before,
            "digest": self.digest,
            **({"clock": spelled(self.clock)} if self.clock else {}),
        }


class Row(NamedTuple):
    """An entry as a database keeps it. One that was read has text as UTF-8 bytes, just as they were found; damage may have put anything here."""

    seq: Any
    at: Any
    before: Any
    clock: Any
    what: Any
    who: Any
    why: Any
    digest: Any
    body: Any


class Link(NamedTuple):
    """The part of an entry that the next one hangs on."""

    seq: int
    at: datetime
    digest: str

    @property
    def head(self) -> Head:
        return Head(self.seq, self.digest)


ROOT = Link(0, datetime.min.replace(tzinfo=UTC), GENESIS)


class Malformed(ValueError):
    """A kept row that no entry can be read from. The message says which field."""


def spelled(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds and `Z`: always the same length, so text order is time order."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """The inverse of `spelled`. Raises ValueError for any other spelling."""
    if not _AT.fullmatch(text):
        raise ValueError(f"{text!r} is no time like 2026-11-24T08:00:00.000000Z")
    return datetime.fromisoformat(text)


def canonical(body: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """`body` in canonical form (RFC 8785), and as plain JSON data: what a reader will find.

    Raises ValueError, naming the place, for what JSON cannot carry unchanged to every reader: NaN and infinities, numbers
    beyond 2^53 - 1, bytes, keys that are not text, lone surrogates, other types, nesting beyond 100.

    The json module's C encoder gives the canonical form too as long as there is no fraction (RFC 8785, 3.2.2.3 wants
    ECMAScript's) and no key beyond the basic plane (3.2.3 sorts by UTF-16). It is ten times faster, so it goes first; where
    reading back shows that one of these may have been there, or a type was bent into shape, the reference encoder decides.
    """
    given = dict(body)
    try:
        text = _FAST.encode(given)
        content = text.encode()
        plain = _PLAIN.decode(text)
        easy = plain == given and (text.isascii() or not _ASTRAL.search(text))
    except (ValueError, TypeError, RecursionError):
        easy = False
    if not easy:
        _admit(given, "body", 1)
        content = rfc8785.dumps(given)
        plain = json.loads(content)
    if content.count(b"[") + content.count(b"{") > DEPTH_MAX and _depth(plain) > DEPTH_MAX:
        raise ValueError(f"body is nested deeper than {DEPTH_MAX} levels")
    if len(content) > BODY_BYTES_MAX:
        raise ValueError(f"body is {len(content)} bytes long; an entry takes at most {BODY_BYTES_MAX}")
    return content, plain


def _too_fine(text: str) -> float:
    raise ValueError(text)


def _whole(text: str) -> int:
    number = int(text)
    if -INTEGER_MAX <= number <= INTEGER_MAX:
        return number
    raise ValueError(text)


_FAST = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_PLAIN = json.JSONDecoder(parse_float=_too_fine, parse_int=_whole)


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        depth += 1
        level = [part for each in level for part in (each.values() if type(each) is dict else each) if type(part) in (dict, list)]
    return depth


def _admit(value: Any, place: str, depth: int) -> None:
    """Raise ValueError for the first thing in `value` that canonical JSON has no form for."""
    if depth > DEPTH_MAX:
        raise ValueError(f"body is nested deeper than {DEPTH_MAX} levels")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _admit_text(value, place)
    elif isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{place}: {value} is not a number that JSON has (RFC 8785, 3.2.2.3)")
        if abs(value) > INTEGER_MAX:
            shown = repr(value) if isinstance(value, float) or value.bit_length() < 200 else f"a whole number of {value.bit_length()} bits"
            raise ValueError(f"{place}: {shown} is beyond 2^53 - 1, where readers of JSON lose digits (RFC 7493, 2.2); write it as text")
    elif isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{place}: the key {key!r} is not text")
            _admit_text(key, f"a key of {place}")
            _admit(part, f"{place}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            _admit(part, f"{place}.{index}", depth + 1)
    else:
        raise ValueError(f"{place}: {type(value).__name__} is not JSON; accepted are text, numbers, true, false, null, lists and objects")


def _admit_text(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as broken:
        raise ValueError(f"{place}: a lone surrogate (U+{ord(text[broken.start]):04X}) is not text (RFC 7493, 2.1)") from None


_TEXT = json.JSONEncoder(ensure_ascii=False)


def _quoted(text: str) -> str:
    return _TEXT.encode(text)


def digest_of(seq: int, body: bytes, *, at: str, before: str, clock: str | None, what: str, who: str, why: str) -> str:
    """SHA-256, in hex, over the canonical JSON of an entry whose body is in canonical form already."""
    stepped = "" if clock is None else f',"clock":{_quoted(clock)}'
    hasher = hashlib.sha256(f'{{"at":{_quoted(at)},"before":{_quoted(before)},"body":'.encode())
    hasher.update(body)
    hasher.update(f'{stepped},"seq":{seq},"what":{_quoted(what)},"who":{_quoted(who)},"why":{_quoted(why)}}}'.encode())
    return hasher.hexdigest()


def compose(link: Link, at: datetime, *, who: str, what: str, why: str, body: tuple[bytes, dict[str, Any]]) -> tuple[Entry, Row]:
    """The entry that follows `link`, and the row to keep; `body` as `canonical` gave it. Raises ValueError, naming the field that cannot be accepted."""
    if at.tzinfo is None:
        raise ValueError("at: a time without a zone is ambiguous; give an aware one")
    try:
        given = at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"at: {at} cannot be written in UTC") from None
    for problem in _fields(who, what):
        raise ValueError(problem)
    for field, text in (("who", who), ("why", why)):
        _admit_text(text, field)
    if "\x00" in why:
        raise ValueError("why: U+0000 cannot be kept")
    content, plain = body
    held = max(given, link.at)
    clock = None if held == given else given
    held_text, clock_text = spelled(held), None if clock is None else spelled(clock)
    digest = digest_of(link.seq + 1, content, at=held_text, before=link.digest, clock=clock_text, what=what, who=who, why=why)
    entry = Entry(link.seq + 1, held, who, what, why, plain, link.digest, digest, clock)
    row = Row(entry.seq, held_text, link.digest, clock_text, what, who, why, digest, content)
    for problem in problems(entry, digest, link):
        raise ValueError(problem)
    return entry, row


def _fields(who: str, what: str) -> list[str]:
    found = []
    if not _WHAT.fullmatch(what):
        found.append(f"what: {what!r} is not one word of 1 to 32 small letters and hyphens (I5)")
    if not who or _CONTROL.search(who):
        found.append(f"who: {who!r} is empty or has control characters (I5)")
    return found


def read(row: Row) -> tuple[Entry, str]:
    """The entry that `row` holds, and the digest that its content really has. Raises Malformed when it holds none (I5)."""
    fields = Row._fields[1:]
    texts: dict[str, str] = {}
    if type(row.seq) is not int:
        raise Malformed(f"its number is {row.seq!r} (I5)")
    for field, raw in zip(fields, row[1:], strict=True):
        if field == "clock" and raw is None:
            continue
        if not isinstance(raw, bytes):
            raise Malformed(f"the field {field} holds no text (I5)")
        try:
            texts[field] = raw.decode()
        except UnicodeDecodeError:
            raise Malformed(f"the field {field} is not UTF-8 (I5)") from None
    clock_text = texts.get("clock")
    try:
        at, clock = moment(texts["at"]), None if clock_text is None else moment(clock_text)
    except ValueError as wrong:
        raise Malformed(f"{wrong} (I5)") from None
    for problem in _fields(texts["who"], texts["what"]):
        raise Malformed(problem)
    try:
        body = json.loads(texts["body"])
    except (ValueError, RecursionError):
        raise Malformed("the body is not JSON (I5)") from None
    if not isinstance(body, dict):
        raise Malformed("the body is not a JSON object (I5)")
    true = digest_of(
        row.seq,
        row.body,
        at=texts["at"],
        before=texts["before"],
        clock=clock_text,
        what=texts["what"],
        who=texts["who"],
        why=texts["why"],
    )
    entry = Entry(row.seq, at, texts["who"], texts["what"], texts["why"], body, texts["before"], texts["digest"], clock)
    return entry, true


def problems(entry: Entry, true: str, link: Link | None) -> list[str]:
    """Which of I1 to I4 do not hold for `entry`, whose content has the digest `true`, when it stands after `link`. None: nothing is known of the one before."""
    found = []
    if entry.digest != true:
        found.append(f"was altered after it was written: its content has the digest {true[:12]}…, it says {entry.digest[:12]}… (I4)")
    if link is None:
        return found
    if entry.seq != link.seq + 1:
        found.append(f"follows entry {link.seq} (I3)")
    elif entry.before != link.digest:
        found.append(f"names {entry.before[:12]}… as the digest of the entry before, which is {link.digest[:12]}… (I1)")
    if entry.at < link.at:
        found.append(f"is dated {spelled(entry.at)}, before the entry that it follows ({spelled(link.at)}) (I2)")
    if entry.clock is not None and entry.clock >= entry.at:
        found.append("keeps a clock that was not behind (I2)")
    return found


def is_digest(text: object) -> bool:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def uncanonical(entry: Entry, content: bytes) -> bool:
    """Whether `content`, from which the body was read, is not its canonical form (I5)."""
    try:
        return canonical(entry.body)[0] != content
    except ValueError:
        return True
