"""The ledger over both databases: what is appended stays, in order, and one writer at a time comes first."""

from __future__ import annotations

import hashlib
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from nnix.kernel.ledger import EMPTY, GENESIS, Damaged, Entry, Head, Ledger, Moved, Unavailable, open_ledger
from nnix.kernel.ledger_entry import canonical

from .ledger_places import NOON, Place, PostgresServer, write


def append(ledger: Ledger, body: dict[str, Any], expected: Head | None = None, **fields: Any) -> Entry:
    given = {"at": NOON, "who": "ops", "what": "change", "why": "a test", **fields}
    return ledger.append(expected or ledger.head, body=body, **given)


def test_a_new_ledger_is_empty_and_in_order(ledger: Ledger) -> None:
    """Nothing was written, so there is nothing to find and nothing wrong."""
    assert ledger.head == Head(0, GENESIS) == EMPTY == ledger.signed
    assert (list(ledger.entries()), ledger.last(), ledger.entry(1), ledger.as_of(NOON), ledger.verify()) == ([], None, None, None, ())


def test_what_was_appended_is_read_back_the_same_after_opening_again(place: Place) -> None:
    """Every field of every entry, from another connection, equals what append returned."""
    with place.open() as ledger:
        written = write(ledger, 5)

    with place.open() as again:
        assert list(again.entries()) == written
        assert again.head == again.signed == written[-1].head
        assert [again.entry(seq) for seq in (0, 1, 5, 6, -1, 2**70)] == [None, written[0], written[4], None, None, None]
        assert again.verify() == ()


def test_anybody_can_compute_the_digest(ledger: Ledger) -> None:
    """SHA-256 over RFC 8785 of all other fields, by the reference encoder alone; each names the one before (I1, I4)."""
    before = GENESIS
    for entry in write(ledger, 3):
        record = entry.record()
        assert record["before"] == before
        before = record.pop("digest")
        assert hashlib.sha256(rfc8785.dumps(record)).hexdigest() == before == entry.digest


def test_entries_are_found_by_number_word_and_time(ledger: Ledger) -> None:
    """`since` is exclusive and `until` inclusive; as_of is what was known at a moment."""
    first = write(ledger, 4)
    verified = write(ledger, 1, "verified")
    rest = write(ledger, 2)

    assert list(ledger.entries(2, 4)) == first[2:]
    assert list(ledger.entries(4)) == verified + rest
    assert list(ledger.entries(99)) == []
    assert list(ledger.entries(what="verified")) == [ledger.last("verified")] == verified
    assert (ledger.last(), ledger.last("drift")) == (rest[-1], None)
    assert list(ledger.backwards(first[0].what)) == [*first, *rest][::-1]
    assert list(ledger.backwards("drift")) == []
    assert ledger.as_of(NOON + timedelta(seconds=2.5)) == first[2]
    assert ledger.as_of(NOON - timedelta(microseconds=1)) is None
    assert ledger.as_of((NOON + timedelta(days=1)).astimezone(timezone(timedelta(hours=8)))) == rest[-1]


def test_one_may_append_while_reading(ledger: Ledger) -> None:
    """A reader holds no lock and no stale view that would keep a writer out."""
    write(ledger, 3)
    for entry in ledger.entries(until=3):
        append(ledger, {"answers": entry.seq})

    assert [entry.seq for entry in ledger.entries()] == [1, 2, 3, 4, 5, 6]


def test_many_entries_are_read_over_several_pages(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages end by number and by size; whichever comes first, no entry is left out or told twice."""
    monkeypatch.setattr("nnix.kernel.ledger_sql.ROWS_PER_PAGE", 3)
    monkeypatch.setattr("nnix.kernel.ledger_sql.PAGE_BYTES", 1000)
    for step in range(10):
        append(ledger, {"step": step, "much": "x" * (step % 4) * 600})

    assert [entry.body["step"] for entry in ledger.entries()] == list(range(10))
    assert [entry.seq for entry in ledger.entries(3, 8, "change")] == [4, 5, 6, 7, 8]
    assert ledger.verify() == ()


def test_a_writer_who_has_not_seen_the_newest_entry_is_told(place: Place) -> None:
    """Two writers, one head: the first wins, the other learns both heads and writes nothing; it may follow afterwards."""
    with place.open() as ours, place.open() as theirs:
        head = ours.head
        first = append(ours, {"who": "ours"}, head)
        with pytest.raises(Moved) as told:
            append(theirs, {"who": "theirs"}, head)

        assert (told.value.expected, told.value.found) == (EMPTY, first.head)
        assert append(theirs, {"who": "theirs"}, first.head).seq == 2
        with pytest.raises(Moved):
            append(ours, {}, first.head)
        assert (len(list(ours.entries())), ours.verify()) == (2, ())


@pytest.mark.parametrize("expected", [Head(1, "ab" * 32), Head(7, "ab" * 32), Head(0, "ab" * 32), Head(1, GENESIS)])
def test_a_head_that_never_was_is_refused(ledger: Ledger, expected: Head) -> None:
    """Number and digest both count: neither the right number with another digest nor a number from the future is followed."""
    (only,) = write(ledger, 1)
    with pytest.raises(Moved) as told:
        append(ledger, {}, expected)
    assert (told.value.found, ledger.head) == (only.head, only.head)


def test_the_database_itself_lets_only_one_follow(place: Place) -> None:
    """Two who read the same head at the same instant: the condition is part of the insertion, so the second finds the place taken."""
    with place.open() as ours, place.open() as theirs:
        write(ours, 1)
        late = theirs._link()
        first = append(ours, {})
        theirs._newest = late
        theirs._signed.read = lambda: (late.head, late.head)  # type: ignore[method-assign]
        with pytest.raises(Moved) as told:
            append(theirs, {}, late.head)
        assert (told.value.found, theirs.head) == (first.head, first.head)


def test_threads_that_all_want_to_be_next_come_one_after_another(place: Place) -> None:
    """Four threads, two connections; whoever is told Moved tries again. Nothing is lost, doubled or forked."""
    answered: list[Entry] = []

    def insist(ledger: Ledger, name: str) -> None:
        for step in range(15):
            while True:
                try:
                    answered.append(append(ledger, {"by": name, "step": step}))
                    break
                except Moved:
                    continue

    with place.open() as one, place.open() as two:
        threads = [threading.Thread(target=insist, args=(ledger, f"{index}")) for index, ledger in enumerate((one, one, two, two))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(answered, key=lambda entry: entry.seq) == list(one.entries())
        assert (len(answered), one.verify(), one.signed) == (60, (), one.head)


def test_a_clock_that_stepped_back_is_recorded_and_time_stands_still(ledger: Ledger) -> None:
    """I2: the entry is dated like the one before, and keeps what the clock said; the digest covers both."""
    append(ledger, {}, at=NOON)
    back = append(ledger, {}, at=NOON - timedelta(hours=1))
    on = append(ledger, {}, at=NOON + timedelta(microseconds=1))

    assert (back.at, back.clock) == (NOON, NOON - timedelta(hours=1))
    assert (on.at, on.clock) == (NOON + timedelta(microseconds=1), None)
    assert list(ledger.entries())[1] == back
    record = back.record()
    assert record.pop("digest") == hashlib.sha256(rfc8785.dumps(record)).hexdigest()
    assert ledger.verify() == ()


def test_time_is_kept_to_the_microsecond_in_utc(ledger: Ledger) -> None:
    """Whatever zone the writer lives in."""
    at = datetime(2026, 11, 24, 20, 0, 0, 123456, tzinfo=timezone(timedelta(hours=8)))
    entry = append(ledger, {}, at=at)
    assert (entry.at, entry.at.tzinfo, entry.record()["at"]) == (at, UTC, "2026-11-24T12:00:00.123456Z")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"a": {"b": [1, float("nan")]}}, "body.a.b.1: nan is not a number"),
        ({"a": float("-inf")}, "body.a: -inf is not a number"),
        ({"a": 2**53}, "body.a: 9007199254740992 is beyond 2^53 - 1"),
        ({"a": -(10**5000)}, "body.a: a whole number of 16610 bits is beyond"),
        ({"a": 1e300}, "body.a: 1e+300 is beyond"),
        ({"a": b"bytes"}, "body.a: bytes is not JSON"),
        ({"a": {1, 2}}, "body.a: set is not JSON"),
        ({"a": NOON}, "body.a: datetime is not JSON"),
        ({"a": {1: 2}}, "body.a: the key 1 is not text"),
        ({"a": {None: 2}}, "body.a: the key None is not text"),
        ({"a": {True: 2, "b": 1}}, "body.a: the key True is not text"),
        ({"a": "\ud800"}, "body.a: a lone surrogate (U+D800)"),
        ({"\udfff": 1}, "a key of body: a lone surrogate (U+DFFF)"),
    ],
)
def test_what_json_cannot_carry_is_refused_by_place(ledger: Ledger, body: dict[str, Any], says: str) -> None:
    """RFC 8785 and 7493: the message names where it stands, and nothing is written."""
    write(ledger, 1)
    with pytest.raises(ValueError) as refused:
        append(ledger, body)
    assert says in str(refused.value)
    assert (ledger.head.seq, ledger.verify()) == (1, ())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"what": ""}, "what:"),
        ({"what": "Change"}, "what:"),
        ({"what": "x" * 33}, "what:"),
        ({"what": "change\n"}, "what:"),
        ({"who": ""}, "who:"),
        ({"who": "a\nb"}, "who:"),
        ({"who": "\ud800"}, "who: a lone surrogate"),
        ({"why": "\udc00"}, "why: a lone surrogate"),
        ({"why": "a\x00b"}, "why: U+0000"),
        ({"at": datetime(2026, 1, 1)}, "at:"),
        ({"at": datetime.min.replace(tzinfo=timezone(timedelta(hours=8)))}, "at:"),
    ],
)
def test_a_field_that_is_not_well_formed_is_refused(ledger: Ledger, fields: dict[str, Any], says: str) -> None:
    """I5 on write: ValueError names the field, and nothing is written."""
    with pytest.raises(ValueError) as refused:
        append(ledger, {}, **fields)
    assert str(refused.value).startswith(says)
    assert ledger.head == EMPTY


def test_bodies_that_are_too_deep_are_refused(ledger: Ledger) -> None:
    """Deeper than 100 levels, or holding itself: a reader's stack must hold too."""
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"in": deep}
    itself: dict[str, Any] = {}
    itself["me"] = itself
    for body in (deep, itself, {"f": 0.5, **itself}):
        with pytest.raises(ValueError, match="deeper than 100"):
            append(ledger, body)
    assert append(ledger, deep["in"]).body == deep["in"]


def test_a_large_snapshot_and_odd_text_survive(ledger: Ledger) -> None:
    """4,000 resources, control characters, characters beyond the basic plane, fractions: read back the same, and sound."""
    bodies: list[dict[str, Any]] = [
        {"resources": [{"kind": "Member", "name": f"m{n}", "note": "说" * 300, "number": n} for n in range(4000)]},
        {"\U0001f600": 1, "\uffff": 2, "\x00": '\x00\x1f\x7f\u2028"\\/', "": {}},
        {"half": 0.5, "small": 1e-7, "one": 1.0, "minus": -0.0, "list": [], "true": True, "none": None},
    ]
    for body in bodies:
        assert append(ledger, body).body == body
    assert [entry.body for entry in ledger.entries()] == bodies
    assert ledger.verify() == ()


def test_the_entry_does_not_change_with_what_the_caller_does_to_the_body_later(ledger: Ledger) -> None:
    """What append returns is what was written."""
    body = {"list": [1]}
    entry = append(ledger, body)
    body["list"].append(2)
    assert entry.body == {"list": [1]} == next(ledger.entries()).body


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), _JSON, max_size=5))
def test_the_fast_canonical_form_is_the_reference_one(body: dict[str, Any]) -> None:
    """Byte for byte what rfc8785 gives, stable when read back, and equal to what went in."""
    content, plain = canonical(body)
    assert content == rfc8785.dumps(body)
    assert canonical(plain)[0] == content
    assert plain == body


@pytest.mark.parametrize("statement", ["UPDATE entries SET why = 'nothing'", "DELETE FROM entries", "DELETE FROM entries WHERE seq = 2"])
def test_a_slip_of_the_hand_changes_nothing(place: Place, statement: str) -> None:
    """UPDATE and DELETE are forbidden by triggers in both databases."""
    import sqlite3

    import psycopg

    with place.open() as ledger:
        written = write(ledger, 2)
        if place.kind == "sqlite":
            with sqlite3.connect(place.url) as file, pytest.raises(sqlite3.Error, match="append-only"):
                file.execute(statement)
            file.close()
        else:
            with psycopg.connect(place.url) as db, pytest.raises(psycopg.Error, match="append-only"):
                db.execute(statement.encode())
        assert list(ledger.entries()) == written


def test_commits_are_flushed(place: Place) -> None:
    """SQLite: write-ahead log and synchronous=FULL (2); PostgreSQL: synchronous_commit on, even where the role's default is off."""
    from nnix.kernel.ledger_sql import PostgresStore, SqliteStore

    if place.kind == "postgresql":
        place.url = place.url.replace("options=", "options=-csynchronous_commit%3Doff%20")
    with place.open() as ledger:
        store = ledger._store
        if isinstance(store, SqliteStore):
            assert store._db.execute("PRAGMA journal_mode").fetchone() == (b"wal",)
            assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
        else:
            assert isinstance(store, PostgresStore)
            assert store._db.execute("SHOW synchronous_commit").fetchone() == (b"on",)


def test_the_key_is_for_the_owner_alone(place: Place) -> None:
    """Made on first use, 0600, and kept: opening again signs with the same."""
    with place.open() as ledger:
        write(ledger, 1)
    key = place.keys / "ledger-key"
    content = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.keys.stat().st_mode) == 0o700
    with place.open() as ledger:
        write(ledger, 1)
        assert ledger.verify() == ()
    assert key.read_bytes() == content


def test_an_auditor_reads_without_the_private_key(place: Place) -> None:
    """Head and public key are enough to verify; to append they are not."""
    with place.open() as ledger:
        write(ledger, 2)
    (place.keys / "ledger-key").unlink()
    with place.open() as ledger:
        assert ledger.verify() == ()
        assert ledger.signed == ledger.head
        with pytest.raises(Unavailable, match="signing key"):
            append(ledger, {})
        assert ledger.head.seq == 2


def test_what_is_no_ledger_is_named(tmp_path: Path) -> None:
    """Another kind of URL, a file that is no database, a database that is no ledger, a folder: each is refused in words."""
    import sqlite3

    with pytest.raises(ValueError, match="mysql://"):
        open_ledger("mysql://x/y", tmp_path / "keys")
    (tmp_path / "text").write_text("this is a letter to my aunt, and no database at all. " * 40)
    with pytest.raises(Damaged, match="no ledger"):
        open_ledger(tmp_path / "text", tmp_path / "keys")
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE entries (seq INTEGER, title TEXT)")
    other.close()
    with pytest.raises(Damaged, match="no ledger"):
        open_ledger(tmp_path / "other", tmp_path / "keys")
    with pytest.raises(Unavailable, match="cannot be opened"):
        open_ledger(tmp_path, tmp_path / "keys")


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Unavailable, with the server's or the network's own words; a URL that cannot be read is a ValueError."""
    with pytest.raises(Unavailable, match="cannot be reached"):
        open_ledger(f"postgresql://nobody@/none?host={tmp_path}", tmp_path / "keys")
    with pytest.raises(ValueError, match="URL"):
        open_ledger("postgresql://x/y?colour=blue", tmp_path / "keys")


@pytest.fixture
def remote(postgres: PostgresServer, tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(postgres.place(), tmp_path / "keys") as opened:
        yield opened


def test_a_lost_connection_is_made_anew(remote: Ledger, postgres: PostgresServer) -> None:
    """The server goes down hard and comes back: reading and appending go on, and nothing acknowledged is gone."""
    written = write(remote, 3)
    postgres.stop()
    with pytest.raises(Unavailable):
        _ = remote.head
    with pytest.raises(Unavailable):
        append(remote, {}, written[-1].head)
    postgres.start()

    assert remote.head == written[-1].head
    postgres.stop()
    postgres.start()
    added = append(remote, {"after": "restart"}, written[-1].head)
    assert list(remote.entries()) == [*written, added]
    assert remote.verify() == ()


def test_a_commit_whose_answer_was_lost_is_recognised(remote: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks after the commit and before the answer: the entry that is there is ours, and is acknowledged once."""
    import psycopg

    from nnix.kernel.ledger_sql import PostgresStore

    store = remote._store
    assert isinstance(store, PostgresStore)
    written = write(remote, 1)
    database = store._db
    execute = database.execute

    def committed_and_lost(query: Any, *rest: Any) -> Any:
        execute(query, *rest)
        if str(query).startswith("INSERT"):
            database.close()
            monkeypatch.setattr(type(database), "broken", property(lambda self: True))
            raise psycopg.OperationalError("the connection was lost")

    monkeypatch.setattr(database, "execute", committed_and_lost)
    added = append(remote, {"n": 2}, written[-1].head)

    assert store._db is not database
    assert list(remote.entries()) == [*written, added]
    with pytest.raises(Moved):
        append(remote, {"n": 2}, written[-1].head)
