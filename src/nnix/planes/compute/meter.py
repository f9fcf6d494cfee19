"""The meter: who held which device of a pool, from when to when, and why it ended; written so that nobody can change it unseen.

Beside each pool stands a meter. It writes one record for each device-interval: a time during which one run of a job held one device, or a
share of it. Shares are thousandths of a device, times are Unix milliseconds, so that all amounts are whole numbers:

    share_thousandths x (end_ms - begin_ms) = device-microseconds; a device-hour has 3,600,000,000 of them

A record says the cause that ended its interval, so that each interval is charged to what caused it. Where a job is resized the intervals
of the old size end at that millisecond, and those of the new begin: nothing is ever rounded to an hour. An interval that outlives the hour
is cut there (`ran`), or a bill would have to wait for the end of a long job. `saved` says that the work was kept when the interval ended.

Records are lines of canonical JSON in one file, which is only appended to. Each names the digest of the one before:

    {"before":"00..","begin_ms":..,"cause":"ran",..,"digest":"5d..","end_ms":..,"seq":1,"share_thousandths":1000}

Invariants. They are checked when a record is written and whenever one is read, by raise.
    M1  a record names the digest of the one before; the first names 64 zeros
    M2  records are numbered from 1, without gap
    M3  the digest is SHA-256 over the canonical JSON (RFC 8785, of which only text and whole numbers occur) of the other fields
    M4  the fields are well-formed, the line is in canonical form, and all are of one pool
    M5  every head that was noted is a record of the chain: it is never shorter than was noted
    M6  at no time is more of a device charged than the device

The newest digest is kept apart (`head.json`), so that cutting off the end shows too. Whoever has the machine can rewrite both; so the head
is to be noted elsewhere as well, as an invoice does in the ledger. What was noted there is proven to be as it was when it was noted; that
the meter told the truth then is not proven by any chain.

There is one writer: it holds a lock on the file for as long as it lives, and a second one is refused. Killed at any byte it leaves whole
records and at most one torn line, which counts as nothing and is cut off by the next writer. What was being held then stands in
`open.json`, with the moment of the last look, so that the next writer can end it there (nothing is charged that nobody saw) or go on with it,
if the job did.

Deliberately not here: prices, and who pays for which cause (the account plane), and a clock (times are arguments). Standard library only,
since it also runs on machines that have no nnix.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

GENESIS = "0" * 64
THOUSANDTHS = 1000
MS_MAX = 2**53 - 1  # what every reader of JSON keeps (RFC 7493, 2.2)
RUN_MAX = 1_000_000
CHAIN, HEAD, OPEN = "meter.jsonl", "head.json", "open.json"

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class Cause(StrEnum):
    """What ended an interval."""

    RAN = "ran"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RESIZED = "resized"
    KILLED = "killed"
    PREEMPTED = "preempted"
    NODE_LOST = "node-lost"
    METER_LOST = "meter-lost"


CAUSES: Mapping[Cause, str] = {
    Cause.RAN: "cut by the clock or at a checkpoint; the job goes on",
    Cause.FINISHED: "the job ended well",
    Cause.FAILED: "the job ended by its own fault",
    Cause.CANCELLED: "the buyer ended it",
    Cause.RESIZED: "the job was given more or fewer devices, at its buyer's wish",
    Cause.KILLED: "the job was ended for breaking its limits: memory, deadline, end of its deal",
    Cause.PREEMPTED: "the pool took the device back for other work",
    Cause.NODE_LOST: "the device or its machine failed",
    Cause.METER_LOST: "the meter itself was down; ended at its last look",
}


class Malformed(ValueError):
    """A line that no record can be read from, or an interval that none can be made of. The message says which field."""


class Busy(Exception):
    """Another meter writes here."""


class Damaged(Exception):
    """The chain is not what was written, so it is not continued."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("the meter's chain is damaged: " + "; ".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class Held:
    """A device, or a share of it, in the hands of one run of a job since `begin_ms`. A job that is started anew has the next `run`."""

    pool: str
    device: str
    deal: str
    job: str
    run: int
    share_thousandths: int
    begin_ms: int


@dataclass(frozen=True, slots=True)
class Interval(Held):
    """What was held, until `end_ms`, and the cause that ended it. Raises Malformed."""

    end_ms: int
    cause: Cause
    saved: bool = False

    def __post_init__(self) -> None:
        for name in ("pool", "device", "deal", "job"):
            value = getattr(self, name)
            if not isinstance(value, str) or not _WORD.fullmatch(value):
                raise Malformed(f"{name}: {value!r} is no name of 1 to 128 letters, digits and . _ : / @ - (M4)")
        for name, least, most in (
            ("run", 1, RUN_MAX),
            ("share_thousandths", 1, THOUSANDTHS),
            ("begin_ms", 0, MS_MAX),
            ("end_ms", 0, MS_MAX),
        ):
            number = getattr(self, name)
            if type(number) is not int or not least <= number <= most:
                raise Malformed(f"{name}: {number!r} is no whole number from {least} to {most} (M4)")
        if self.end_ms < self.begin_ms:
            raise Malformed(f"end_ms: {self.end_ms} is before begin_ms, {self.begin_ms} (M4)")
        if type(self.cause) is not Cause:
            raise Malformed(f"cause: {self.cause!r} is none of {', '.join(Cause)} (M4)")
        if type(self.saved) is not bool:
            raise Malformed(f"saved: {self.saved!r} is neither true nor false (M4)")

    @property
    def device_microseconds(self) -> int:
        """Thousandths of a device times milliseconds."""
        return self.share_thousandths * (self.end_ms - self.begin_ms)


class Head(NamedTuple):
    """Where a chain ends: number and digest of its newest record."""

    seq: int
    digest: str


EMPTY = Head(0, GENESIS)


@dataclass(frozen=True, slots=True)
class Record:
    """An interval at its place in the chain."""

    seq: int
    before: str
    interval: Interval
    digest: str

    @property
    def head(self) -> Head:
        return Head(self.seq, self.digest)

    def line(self) -> bytes:
        """The one spelling of the record, with its line feed."""
        return f"{_ENCODE({**_body(self.seq, self.before, self.interval), 'digest': self.digest})}\n".encode()


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written. `seq` is the record where it shows; 0 is the chain as a whole."""

    seq: int
    what: str

    def __str__(self) -> str:
        return f"record {self.seq}: {self.what}" if self.seq else self.what


@dataclass(frozen=True, slots=True)
class Audit:
    """What a chain says, and all that is wrong with it. Only one without faults is to be charged by. `torn_bytes` follow its last whole line."""

    records: tuple[Record, ...]
    faults: tuple[Fault, ...]
    torn_bytes: int = 0

    @property
    def head(self) -> Head:
        return self.records[-1].head if self.records else EMPTY


def _body(seq: int, before: str, interval: Interval) -> dict[str, Any]:
    return {**asdict(interval), "seq": seq, "before": before}


_FIELDS = frozenset({*(each.name for each in fields(Interval)), "seq", "before", "digest"})


def chained(head: Head, intervals: Iterable[Interval]) -> Iterator[Record]:
    """The records of `intervals`, in that order, as they follow `head`."""
    for interval in intervals:
        seq = head.seq + 1
        record = Record(seq, head.digest, interval, hashlib.sha256(_ENCODE(_body(seq, head.digest, interval)).encode()).hexdigest())
        yield record
        head = record.head


def parsed(line: bytes) -> Record:
    """The record that a line holds, whatever digest it bears. Raises Malformed (M4)."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise Malformed("the line is not JSON (M4)") from None
    if not isinstance(said, dict) or said.keys() != _FIELDS:
        raise Malformed(f"the line has other fields than {', '.join(sorted(_FIELDS))} (M4)")
    seq, before, digest, cause = (said.pop(name) for name in ("seq", "before", "digest", "cause"))
    if type(seq) is not int or not all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in (before, digest)):
        raise Malformed("seq, before or digest is none (M4)")
    if cause not in list(Cause):
        raise Malformed(f"cause: {cause!r} is none of {', '.join(Cause)} (M4)")
    record = Record(seq, before, Interval(**said, cause=Cause(cause)), digest)
    if record.line() != line + b"\n":
        raise Malformed("the line is not in canonical form (M4)")
    return record


def audit(content: bytes, noted: Iterable[Head] = ()) -> Audit:
    """Read a whole chain and judge it; never raises for what it says. `noted` are heads that were written down elsewhere.

    A fault is told once: what follows an altered record is judged by the digest that it bears and by the one that it ought to.
    """
    lines = content.split(b"\n")
    torn = lines.pop()
    records: list[Record] = []
    faults: list[Fault] = []
    digests: dict[int, str] = {0: GENESIS}
    told: set[int] = set()
    last, accepted = EMPTY, {GENESIS}
    for line in lines:
        try:
            record = parsed(line)
        except Malformed as wrong:
            last, accepted = Head(last.seq + 1, ""), set()
            told.add(last.seq)
            faults.append(Fault(last.seq, str(wrong)))
            continue
        true = next(chained(Head(record.seq - 1, record.before), (record.interval,))).digest
        if record.digest != true:
            faults.append(Fault(record.seq, f"was altered after it was written: its content has the digest {true[:12]}… (M3)"))
        faults += _out_of_place(record, last, accepted, digests)
        if records and record.interval.pool != records[0].interval.pool:
            faults.append(Fault(record.seq, f"is of pool {record.interval.pool}, the others of {records[0].interval.pool} (M4)"))
        records.append(record)
        digests.setdefault(record.seq, record.digest)
        last, accepted = record.head, {record.digest, true}
    end = max(digests)
    for head in sorted(set(noted)):
        if head.seq in told:
            continue
        if head.seq > end:
            faults.append(Fault(head.seq, f"was noted, but the chain ends at {end}: its tail was cut (M5)"))
        elif head.seq in digests and digests[head.seq] != head.digest:
            faults.append(Fault(head.seq, f"is not the one that was noted: that had the digest {head.digest[:12]}… (M5)"))
    return Audit(tuple(records), (*faults, *_charged_twice(records)), len(torn))


def _out_of_place(record: Record, last: Head, accepted: set[str], digests: Mapping[int, str]) -> Iterator[Fault]:
    """Which of M1 and M2 do not hold for `record` behind `last`, whose digest is or ought to be one of `accepted` (none: it could not be read)."""
    if record.seq in digests and record.seq <= last.seq:
        again = (
            "stands here a second time"
            if digests[record.seq] == record.digest
            else "stands twice, with different content: two have written"
        )
        yield Fault(record.seq, f"{again} (M2)")
    elif record.seq != last.seq + 1:
        first, final = last.seq + 1, record.seq - 1
        missing = (
            f"{first} is missing" if first == final else f"{first} to {final} are missing" if first < final else "it is out of its place"
        )
        yield Fault(record.seq, f"follows record {last.seq}: {missing} (M2)")
    elif accepted and record.before not in accepted:
        yield Fault(record.seq, f"names {record.before[:12]}… as the digest of the record before, which is {last.digest[:12]}… (M1)")


def _charged_twice(records: Iterable[Record]) -> Iterator[Fault]:
    """Where more of a device is charged than there is of it (M6), once for each device."""
    turns: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for each in records:
        held = each.interval
        if held.end_ms > held.begin_ms:
            turns[held.device] += [(held.begin_ms, held.share_thousandths, each.seq), (held.end_ms, -held.share_thousandths, each.seq)]
    for device, changes in sorted(turns.items()):
        share = 0
        for at_ms, change, seq in sorted(changes):  # at one moment, what is given back sorts before what is taken
            share += change
            if share > THOUSANDTHS:
                yield Fault(seq, f"device {device} is charged twice: {share} thousandths of it at {at_ms} ms (M6)")
                break


class Meter:
    """The one writer of a pool's chain, in `folder`. Raises Busy where another one lives, Damaged where the chain is not sound, OSError.

    Times are Unix milliseconds, given by the caller. An end that lies before the last look is taken for that look, and a beginning before the last
    end of the same device for that end: a clock that was set back gives nobody time, and takes none that was seen.
    """

    def __init__(self, folder: Path, pool: str) -> None:
        self._folder, self.pool = folder, pool
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / CHAIN, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"another meter writes in {folder}") from None
            self._take_up()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back. What is held stays held, for the next one."""
        os.close(self._file)

    def _take_up(self) -> None:
        content = (self._folder / CHAIN).read_bytes()
        if not content and not (self._folder / HEAD).exists():
            _replace(self._folder / HEAD, EMPTY._asdict())  # before the first record: a lost head is never taken for a new chain
        found = audit(content, noted(self._folder))
        strange = [
            Fault(0, f"it is of pool {each.interval.pool}, not of {self.pool} (M4)")
            for each in found.records[:1]
            if each.interval.pool != self.pool
        ]
        if found.faults or strange:
            raise Damaged((*found.faults, *strange))
        self.head, self._bytes = found.head, len(content) - found.torn_bytes
        if found.torn_bytes:
            os.ftruncate(self._file, self._bytes)
            os.fsync(self._file)
        held, seen_ms = _opened(self._folder)
        self._ends_ms: dict[str, int] = {}
        self._ended(each.interval for each in found.records)
        self.seen_ms = max([seen_ms, *self._ends_ms.values()])
        # Killed between a record and the note of it: what is written is no longer held, or since then only.
        written = {_key(each.interval): each.interval for each in found.records}
        ended = {key for key in held if key in written and written[key].cause is not Cause.RAN}
        gone_on = [_from(written[key]) if key in written else each for key, each in held.items() if key not in ended]
        self._held = {_key(each): each for each in gone_on}

    @property
    def held(self) -> tuple[Held, ...]:
        """What is held now; after a start, what the meter before left behind, last seen at `seen_ms`."""
        return tuple(self._held.values())

    def start(self, taken: Iterable[Held]) -> tuple[Held, ...]:
        """Note that devices were handed over, before the job has them, and give what is held now. Raises Malformed, and ValueError for a
        device that has not so much left (M6), or is of another pool."""
        fresh = [replace(each, begin_ms=max(each.begin_ms, self._ends_ms.get(each.device, 0))) for each in taken]
        shares = Counter[str]()
        for each in self._held.values():
            shares[each.device] += each.share_thousandths
        for each in fresh:
            Interval(**asdict(each), end_ms=each.begin_ms, cause=Cause.RAN)
            shares[each.device] += each.share_thousandths
            if each.pool != self.pool:
                raise ValueError(f"{each.device} is of pool {each.pool}; this meter is of {self.pool}")
            if shares[each.device] > THOUSANDTHS:
                raise ValueError(f"{each.device}: {shares[each.device]} thousandths of it would be held (M6)")
        self._note({**self._held, **{_key(each): each for each in fresh}}, max([self.seen_ms, *(each.begin_ms for each in fresh)]))
        return tuple(fresh)

    def look(self, at_ms: int) -> None:
        """Note that all that is held was seen to be held at `at_ms`."""
        self._note(self._held, max(self.seen_ms, at_ms))

    def stop(self, given_back: Iterable[Held], at_ms: int, cause: Cause, *, saved: bool = False) -> tuple[Record, ...]:
        """End intervals, durably: their records and the head are on disk when this returns. METER_LOST ends them where they were seen last.
        Raises KeyError for what is not held."""
        if cause is Cause.RAN:
            raise ValueError("an interval that ends for good needs another cause than `ran`")
        return self._end(given_back, at_ms, cause, saved=saved)

    def cut(self, held: Iterable[Held], at_ms: int, *, saved: bool = False) -> tuple[Record, ...]:
        """End intervals (`ran`) and go on from there: at the full hour, and with `saved` at a checkpoint."""
        return self._end(held, at_ms, Cause.RAN, saved=saved, goes_on=True)

    def _end(self, held: Iterable[Held], at_ms: int, cause: Cause, *, saved: bool, goes_on: bool = False) -> tuple[Record, ...]:
        ended = {_key(each): self._held[_key(each)] for each in held}
        at_ms = max(at_ms, self.seen_ms) if cause is not Cause.METER_LOST else self.seen_ms
        intervals = [Interval(**asdict(each), end_ms=max(at_ms, each.begin_ms), cause=cause, saved=saved) for each in ended.values()]
        records = tuple(chained(self.head, intervals))
        self._append(b"".join(each.line() for each in records))
        self._ended(intervals)
        if records:
            self.head = records[-1].head
            _replace(self._folder / HEAD, self.head._asdict())
        left = {key: each for key, each in self._held.items() if key not in ended}
        if goes_on:
            left |= {_key(each): each for each in map(_from, intervals)}
        self._note(left, max(self.seen_ms, at_ms))
        return records

    def _ended(self, intervals: Iterable[Interval]) -> None:
        for each in intervals:
            self._ends_ms[each.device] = max(each.end_ms, self._ends_ms.get(each.device, 0))

    def _append(self, lines: bytes) -> None:
        try:
            done = 0
            while done < len(lines):
                done += os.pwrite(self._file, lines[done:], self._bytes + done)
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._bytes)  # a full disk leaves no half of a record
            raise
        self._bytes += len(lines)

    def _note(self, held: Mapping[tuple[str, str, int, int], Held], seen_ms: int) -> None:
        _replace(self._folder / OPEN, {"held": [asdict(each) for each in held.values()], "seen_ms": seen_ms})
        self._held, self.seen_ms = dict(held), seen_ms


def noted(folder: Path) -> tuple[Head, ...]:
    """The head that the meter in `folder` keeps apart. Raises Damaged where there is none that can be read."""
    try:
        content = (folder / HEAD).read_bytes()
    except OSError as lost:
        raise Damaged([Fault(0, f"its head {folder / HEAD} cannot be read, so a cut tail could not be seen: {lost}")]) from lost
    return (head_of(content, str(folder / HEAD)),)


def head_of(content: bytes, place: str) -> Head:
    """What a head file says. Raises Damaged."""
    try:
        said = json.loads(content)
        return Head(int(said["seq"]), str(said["digest"]))
    except (ValueError, KeyError, TypeError) as lost:
        raise Damaged([Fault(0, f"the head {place} cannot be read, so a cut tail could not be seen: {lost}")]) from lost


def _key(held: Held) -> tuple[str, str, int, int]:
    return held.device, held.job, held.run, held.begin_ms


def _from(past: Interval) -> Held:
    """What goes on where `past` ended."""
    return Held(past.pool, past.device, past.deal, past.job, past.run, past.share_thousandths, past.end_ms)


def _opened(folder: Path) -> tuple[dict[tuple[str, str, int, int], Held], int]:
    """What `open.json` says is held, and when it was seen last."""
    try:
        said = json.loads((folder / OPEN).read_bytes())
        found = [Held(**each) for each in said["held"]]
        return {_key(each): each for each in found}, int(said["seen_ms"])
    except FileNotFoundError:
        return {}, 0
    except (ValueError, KeyError, TypeError) as lost:
        raise Damaged([Fault(0, f"{folder / OPEN} cannot be read: {lost}")]) from lost


def _replace(path: Path, said: Mapping[str, Any]) -> None:
    """A file that is there whole, old or new, also after a power cut."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(descriptor, _ENCODE(said).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
