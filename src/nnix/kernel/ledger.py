"""The ledger: what was changed, decided and found, by whom, when and why; and the proof that nobody rewrote it.

Entries are only ever appended. Each names the digest of the one before, so that altering or dropping one breaks every
later one; the newest digest is signed and kept apart, so that cutting off the end shows as well. Whoever wrote down a head
somewhere else (on paper, in a mail, at the neighbour's) can check the whole past against it.

An entry is appended *after a head*: the writer says which entry it has seen last. When another one came first the writer is
told (`Moved`), looks, and decides again. So a plan that was made on yesterday's exchange cannot be applied to today's, and
there is never a fork.

What `append` has returned is on disk, and its head is signed on disk. A writer that is killed before that may leave its
entry behind, whole and in its place, past the signed head: `verify` accepts it, the next append signs over it. Only who
heard the answer knows that it counts; who did not hear one looks at the head.

Invariants. They are checked when an entry is written and whenever one is read, by raise.
    I1  an entry names the digest of the one before; the first names 64 zeros
    I2  time does not go back. A clock may: then the entry is dated like the one before it and keeps the clock's word in `clock`
    I3  entries are numbered from 1, without gap
    I4  the digest of an entry is SHA-256 over the canonical JSON (RFC 8785) of all its other fields
    I5  the fields are well-formed, and the body is kept in canonical form
    I6  the signed head is an entry of the ledger: the ledger is never shorter than was signed

Deliberately not here: a clock (time is an argument), meaning (what `what` and `body` say is the writer's affair), secrets and
personal data (they stand by reference, since nothing can be taken out again), and status (it is observed anew, not logged).

`ledger_entry` judges one entry, `ledger_head` signs, `ledger_sql` keeps rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nnix.kernel.ledger_entry import (
    EMPTY,
    GENESIS,
    ROOT,
    Entry,
    Fault,
    Head,
    Link,
    Malformed,
    Row,
    canonical,
    compose,
    moment,
    problems,
    read,
    spelled,
    uncanonical,
)
from nnix.kernel.ledger_head import SignedHead, Unsigned
from nnix.kernel.ledger_sql import Store, Unavailable, Unreadable, open_store

__all__ = ["EMPTY", "GENESIS", "Damaged", "Entry", "Fault", "Head", "Ledger", "Moved", "Unavailable", "open_ledger"]


class Moved(Exception):
    """Another entry came first. Nothing was written; look at what `found` brought, and decide again."""

    def __init__(self, expected: Head, found: Head) -> None:
        self.expected, self.found = expected, found
        super().__init__(
            f"the ledger has moved: expected entry {expected.seq} ({expected.digest[:12]}) to be the last, found {found.seq} ({found.digest[:12]})"
        )


class Damaged(Exception):
    """The ledger is not what was written, so it is neither believed nor continued. Run verify to see all that is wrong."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("the ledger is damaged: " + "; ".join(map(str, faults)))


class Ledger:
    """A ledger that is open for reading and appending. May be shared by threads; a file or database may be shared by processes.

    Every method raises Unavailable when the database cannot be used now, and, but for `verify`, Damaged when what it read breaks an invariant.
    """

    def __init__(self, store: Store, signed: SignedHead) -> None:
        self._store, self._signed = store, signed
        self._newest: Link | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._store.close()

    @property
    def head(self) -> Head:
        """The newest entry, asked of the database; Head(0, GENESIS) when there is none."""
        return self._link().head

    @property
    def signed(self) -> Head:
        """The newest head that was signed here. Behind `head` after a crash, or when others append from another machine."""
        return self._heads()[0]

    def append(self, expected: Head, *, at: datetime, who: str, what: str, why: str, body: Mapping[str, Any]) -> Entry:
        """Append after `expected`, durably: entry and signed head are on disk when this returns.

        `at` must be aware; where it is earlier than the entry before, the entry gets that one's time, and `at` stands in its `clock`.
        Raises Moved when `expected` is not the newest entry; ValueError, naming the field, for what canonical JSON cannot carry;
        Damaged when the ledger does not continue what was signed. In all these cases nothing was written. After Unavailable it may
        have been: look at `head` before trying again.
        """
        canon = canonical(body)
        # The signed head is read before the database: heads are signed after commits, so it can then never be the newer one.
        signed = self._heads()[0]
        link = self._newest
        if link is None or link.head != expected or signed != expected:
            link = self._link()
            self._continues(signed, link)
        if link.head != expected:
            raise Moved(expected, link.head)
        try:
            self._signed.ready()
        except Unsigned as lost:
            raise Unavailable(f"nothing was appended: {lost}") from lost
        entry, row = compose(link, at, who=who, what=what, why=why, body=canon)
        try:
            kept = self._store.add(row)
        except Unreadable as broken:
            raise Damaged(Fault(entry.seq, str(broken))) from broken
        if not kept:
            raise Moved(expected, self._link().head)
        self._newest = Link(entry.seq, entry.at, entry.digest)
        try:
            self._signed.write(entry.head)
        except (OSError, Unsigned) as lost:
            raise Unavailable(f"entry {entry.seq} was written, but its head could not be signed: {lost}") from lost
        return entry

    def entries(self, since: int = 0, until: int | None = None, what: str | None = None) -> Iterator[Entry]:
        """In order, `since` exclusive, `until` inclusive; with `what`, only those. The ledger may be appended to meanwhile."""
        link = None if what is not None else ROOT if since <= 0 else self._link_at(since)
        for row in self._rows(max(since, 0), until, what):
            entry = self._sound(row, link)
            link = None if what is not None else Link(entry.seq, entry.at, entry.digest)
            yield entry

    def entry(self, seq: int) -> Entry | None:
        return self._single(lambda: self._store.row(seq) if 0 < seq < 2**63 else None)

    def last(self, what: str | None = None) -> Entry | None:
        """The newest entry, or the newest of kind `what`."""
        return self._single(lambda: self._store.newest(what))

    def backwards(self, what: str) -> Iterator[Entry]:
        """Entries of kind `what`, the newest first, each asked for when it is wanted: for who stops at the first that answers."""
        before: int | None = None
        while (entry := self._single(partial(self._store.newest, what, before))) is not None:
            yield entry
            before = entry.seq

    def as_of(self, at: datetime) -> Entry | None:
        """The newest entry that is not later than `at` (aware); None when the ledger began later."""
        return self._single(lambda: self._store.as_of(spelled(at)))

    def verify(self, noted: Iterable[Head] = ()) -> tuple[Fault, ...]:
        """Everything that is not as it was written; empty when all is well.

        Reads every entry once and holds few of them at a time. `noted` are heads that were written down elsewhere: each must be an
        entry of this ledger. Entries past the signed head are no fault as long as the chain is sound.
        """
        faults: list[Fault] = []
        wanted = dict.fromkeys(noted, "noted elsewhere")
        try:
            wanted |= dict.fromkeys(self._signed.read(), "signed")
        except Unsigned as lost:
            faults.append(Fault(0, f"{lost} (I6)"))
        numbers = {head.seq for head in wanted}
        digests = {0: GENESIS}
        last = 0
        try:
            for seq, digest, found in _audit(self._store.rows(0, None, None)):
                faults += found
                last = seq
                if seq in numbers:
                    digests[seq] = digest
        except Unreadable as broken:
            faults.append(Fault(last + 1, str(broken)))
            return tuple(faults)
        told = {fault.seq for fault in faults}
        for head, how in wanted.items():
            if head.seq not in told and digests.get(head.seq, head.digest) != head.digest:
                faults.append(Fault(head.seq, f"is not the one that was {how}: that had the digest {head.digest[:12]}… (I6)"))
        longest = max(wanted, key=lambda head: head.seq, default=EMPTY)
        if last < longest.seq:
            faults.append(
                Fault(
                    longest.seq,
                    f"{_missing(last + 1, longest.seq)}: {wanted[longest]}, but the ledger ends at {last}: its tail was cut (I6)",
                )
            )
        return tuple(faults)

    def sign_anew(self) -> Head:
        """Begin a signed head for a ledger that has none here: another machine's, or one restored from a copy. Makes a key unless there is one.

        What was cut before is not seen any more, so this is for an operator to decide. Raises ValueError when a signed head is there
        (to give it up, move it away first), Damaged when the chain itself is not sound.
        """
        with self._signed.turn():
            if self._signed.exists():
                raise ValueError(f"{self._signed.place} is there; move it away (and keep it) before signing anew")
            faults = [fault for _, _, found in _audit(self._rows(0, None, None)) for fault in found]
            if faults:
                raise Damaged(*faults)
            head = self.head
            self._signed.begin(head)
            return head

    def _heads(self) -> tuple[Head, ...]:
        try:
            return self._signed.read()
        except Unsigned as lost:
            raise Damaged(Fault(0, f"{lost} (I6)")) from lost

    def _continues(self, signed: Head, link: Link) -> None:
        """Raise Damaged unless the ledger goes on soundly from the signed head to `link`, so that signing `link` hides nothing (I6)."""
        if link.seq < signed.seq:
            raise Damaged(
                Fault(signed.seq, f"{_missing(link.seq + 1, signed.seq)}: signed, but the ledger ends at {link.seq}: its tail was cut (I6)")
            )
        root = self._link_at(signed.seq) if signed.seq else ROOT
        if root is None or root.digest != signed.digest:
            raise Damaged(Fault(signed.seq, f"is not the one that was signed: that had the digest {signed.digest[:12]}… (I6)"))
        if link.seq > signed.seq:
            for _ in self.entries(signed.seq, link.seq):
                pass

    def _link(self) -> Link:
        found = self._store_link(None)
        return ROOT if found is None else found

    def _link_at(self, seq: int) -> Link | None:
        return self._store_link(seq)

    def _store_link(self, seq: int | None) -> Link | None:
        try:
            found = self._store.link(seq)
        except Unreadable as broken:
            raise Damaged(Fault(seq or 0, str(broken))) from broken
        if found is None:
            return None
        number, at, digest = found
        try:
            return Link(number, moment(at.decode()), digest.decode())
        except (ValueError, AttributeError):
            raise Damaged(Fault(number, "its time or digest cannot be read (I5)")) from None

    def _rows(self, since: int, until: int | None, what: str | None) -> Iterator[Row]:
        try:
            yield from self._store.rows(since, until, what)
        except Unreadable as broken:
            raise Damaged(Fault(since, str(broken))) from broken

    def _single(self, ask: Any) -> Entry | None:
        try:
            row = ask()
        except Unreadable as broken:
            raise Damaged(Fault(0, str(broken))) from broken
        return None if row is None else self._sound(row, None)

    def _sound(self, row: Row, link: Link | None) -> Entry:
        try:
            entry, true = read(row)
        except Malformed as wrong:
            raise Damaged(Fault(row.seq, str(wrong))) from None
        found = problems(entry, true, link)
        if found:
            raise Damaged(*(Fault(entry.seq, problem) for problem in found))
        return entry


def _missing(first: int, last: int) -> str:
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"


def _audit(rows: Iterable[Row]) -> Iterator[tuple[int, str, list[Fault]]]:
    """(seq, digest of the content, faults) of each row. A fault is told once: what follows is judged by what the damaged entry says it is."""
    link: Link | None = ROOT
    seen, content = 0, GENESIS
    for row in rows:
        faults = []
        if row.seq != seen + 1:
            faults.append(Fault(seen + 1, f"{_missing(seen + 1, row.seq - 1)}: {seen or 'the beginning'} is followed by {row.seq} (I3)"))
            link = None
        seen = row.seq
        try:
            entry, true = read(row)
        except Malformed as wrong:
            yield seen, "", [*faults, Fault(seen, str(wrong))]
            link = None
            continue
        # An altered entry has lost its content or the digest that it carries; the other one is what this entry names.
        if link is not None and entry.before == content:
            link = link._replace(digest=content)
        faults += [Fault(seen, problem) for problem in problems(entry, true, link)]
        if entry.digest == true and uncanonical(entry, row.body):
            faults.append(Fault(seen, "the body is not kept in canonical form (I5)"))
        yield seen, true, faults
        content = true
        # The time of an altered entry is not to be held against the next one.
        past = link.at if link is not None else ROOT.at
        link = Link(seen, entry.at if entry.digest == true else past, entry.digest)


def open_ledger(url_or_path: str | Path, keys: Path) -> Ledger:
    """Open the ledger in a file, or at `postgresql://…`; make it when it is not there.

    `keys` is the folder that holds the signing key and the signed head: better on another disk than the ledger, and copied away by
    other hands. On first use, with an empty ledger, both are made. Raises ValueError for a URL of another kind, Unavailable, Damaged.
    """
    signed = SignedHead(keys)
    try:
        with signed.turn():
            ledger = Ledger(open_store(str(url_or_path)), signed)
            try:
                if not signed.exists() and ledger.head == EMPTY:
                    signed.begin()
            except BaseException:
                ledger.close()
                raise
    except OSError as lost:
        raise Unavailable(f"the folder for the ledger's keys, {keys}, cannot be used: {lost}") from lost
    except Unreadable as broken:
        raise Damaged(Fault(0, str(broken))) from broken
    return ledger
