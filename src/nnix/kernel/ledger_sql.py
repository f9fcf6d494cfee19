"""Where the ledger's rows are kept: SQLite in a file, or PostgreSQL by URL. One schema, the same questions to both.

A store keeps rows and adds one at the end, durably, on condition that the end is where the writer believes it to be. That
condition and the primary key on `seq` are the whole of concurrency control: of two writers who want to follow the same
entry one inserts it, the other finds the number taken. There is no lock that could be left behind.

Durable means flushed to disk before `add` returns. SQLite: write-ahead log with synchronous=FULL, so that each commit
flushes the log. PostgreSQL: synchronous_commit at least `on`, and a server that flushes (fsync = on).

Triggers forbid UPDATE and DELETE. They guard against slips; whoever means harm can drop them, and is found by `verify`.

Rows come back as raw bytes and are judged elsewhere: a database that was tampered with may hold anything.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg.adapt import Buffer, Loader

from nnix.kernel.ledger_entry import Row

ROWS_PER_PAGE = 256
PAGE_BYTES = 8 * 1024 * 1024
BUSY_SECONDS = 30.0

T = TypeVar("T")

# The body stands last, so that nothing has to be read past it.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq    {bigint} PRIMARY KEY CHECK (seq >= 1),
    at     TEXT NOT NULL,
    before TEXT NOT NULL,
    clock  TEXT,
    what   TEXT NOT NULL,
    who    TEXT NOT NULL,
    why    TEXT NOT NULL,
    digest TEXT NOT NULL,
    body   TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_what ON entries (what, seq);
"""
_SQLITE = (
    _SCHEMA.format(bigint="INTEGER")
    + """
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_keep BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""
)
_POSTGRES = (
    _SCHEMA.format(bigint="BIGINT")
    + """
ALTER TABLE entries ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE OR REPLACE FUNCTION entries_stay() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''the ledger is append-only''; END';
CREATE OR REPLACE TRIGGER entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION entries_stay();
"""
)

_FIELDS = ", ".join(Row._fields)
_NEWEST = "(SELECT digest FROM entries ORDER BY seq DESC LIMIT 1)"
_ADD = f"INSERT INTO entries ({_FIELDS}) SELECT {', '.join('?' * len(Row._fields))} WHERE ? = COALESCE({_NEWEST}, ?)"
_GENESIS = "0" * 64


class Unavailable(Exception):
    """The database cannot be reached or takes nothing now: no connection, disk full, locked too long. The message carries its words."""


class Unreadable(Exception):
    """The database was reached and is damaged below the level of rows. The message carries its words."""


class Store(ABC):
    """Rows by number, in order. Every method may raise Unavailable and Unreadable."""

    @abstractmethod
    def add(self, row: Row) -> bool:
        """Keep `row` durably, right after the one whose digest it names. False, and nothing kept, when that one is not the last."""

    @abstractmethod
    def rows(self, since: int, until: int | None, what: str | None) -> Iterator[Row]:
        """In order, `since` exclusive, `until` inclusive. Fetched in pages of bounded size; nothing is held or locked between pages."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _one(self, fields: str, rest: str, *values: object) -> Any:
        """The first row of `SELECT fields FROM entries rest`, or None."""

    def newest(self, what: str | None = None, before: int | None = None) -> Row | None:
        """The last row, or the last of kind `what`, of all or of those before number `before`."""
        kind = "" if what is None else "AND what = ?"
        end = _END if before is None else before
        found = self._one(_FIELDS, f"WHERE seq < ? {kind} ORDER BY seq DESC LIMIT 1", end, *(() if what is None else (what,)))
        return found and Row(*found)

    def row(self, seq: int) -> Row | None:
        found = self._one(_FIELDS, "WHERE seq = ?", seq)
        return found and Row(*found)

    def as_of(self, at: str) -> Row | None:
        """The newest row that is not later than `at`."""
        found = self._one(_FIELDS, "WHERE at <= ? ORDER BY seq DESC LIMIT 1", at)
        return found and Row(*found)

    def link(self, seq: int | None = None) -> tuple[Any, Any, Any] | None:
        """seq, at and digest of one row, or of the last: without the body, which may be large."""
        fields = "seq, at, digest"
        found: tuple[Any, Any, Any] | None = (
            self._one(fields, "ORDER BY seq DESC LIMIT 1") if seq is None else self._one(fields, "WHERE seq = ?", seq)
        )
        return found


def _clauses(what: str | None) -> str:
    return "seq > ? AND seq <= ?" + ("" if what is None else " AND what = ?")


_END = 2**63 - 1


class SqliteStore(Store):
    """Rows in an SQLite file, which several processes may use at once."""

    def __init__(self, path: Path) -> None:
        """Open `path`, or make it. Raises Unavailable, Unreadable."""
        self._path = path
        self._lock = threading.RLock()
        made = not path.exists()
        try:
            if made:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as lost:
            raise Unavailable(f"the ledger {path} cannot be opened: {lost}") from lost
        self._db.text_factory = bytes
        try:
            self._guarded(self._prepare)
        except BaseException:
            self._db.close()
            raise
        if made:
            # The file's name must survive a power cut as well.
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _prepare(self) -> None:
        (mode,) = self._db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != b"wal":
            raise Unavailable(f"the ledger {self._path} lies where SQLite cannot keep a write-ahead log (a network file system?)")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA journal_size_limit = 67108864")
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries_keep'").fetchone():
            self._db.executescript("BEGIN IMMEDIATE;" + _SQLITE + "COMMIT;")
        self._db.execute(f"SELECT {_FIELDS} FROM entries LIMIT 0")  # noqa: S608

    def _guarded(self, act: Callable[[], T]) -> T:
        with self._lock:
            try:
                return act()
            except sqlite3.Error as wrong:
                code = getattr(wrong, "sqlite_errorcode", None)
                if code is None:
                    raise Unavailable(f"the ledger {self._path}: {wrong}") from wrong
                passing = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM}
                passing |= {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH}
                if code & 0xFF in passing:
                    raise Unavailable(f"the ledger {self._path}: {wrong}") from wrong
                raise Unreadable(f"the database {self._path} is damaged, or is no ledger: {wrong}") from wrong

    def add(self, row: Row) -> bool:
        values = (*row[:-1], row.body.decode(), row.before, _GENESIS)

        def insert() -> bool:
            try:
                return self._db.execute(_ADD, values).rowcount == 1
            except sqlite3.IntegrityError as taken:
                if taken.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
                    return False
                raise

        return self._guarded(insert)

    def _one(self, fields: str, rest: str, *values: object) -> Any:
        return self._guarded(lambda: self._db.execute(f"SELECT {fields} FROM entries {rest}", values).fetchone())  # noqa: S608

    def rows(self, since: int, until: int | None, what: str | None) -> Iterator[Row]:
        query = f"SELECT {_FIELDS} FROM entries WHERE {_clauses(what)} ORDER BY seq LIMIT {ROWS_PER_PAGE}"  # noqa: S608

        def page(after: int) -> list[Row]:
            # A page ends early when its bodies are large: SQLite reads no row before it is asked for.
            kept, size = [], 0
            with closing(self._db.execute(query, (after, _END if until is None else until, *([] if what is None else [what])))) as found:
                for each in found:
                    kept.append(Row(*each))
                    size += len(each[-1]) if isinstance(each[-1], bytes) else 0
                    if size > PAGE_BYTES:
                        break
            return kept

        while kept := self._guarded(partial(page, since)):
            yield from kept
            since = kept[-1].seq

    def close(self) -> None:
        with self._lock:
            self._db.close()


class _Raw(Loader):
    """Text as the server sends it: bytes that damage may have left without meaning."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class PostgresStore(Store):
    """Rows in a PostgreSQL database, in the first schema of its search path."""

    def __init__(self, url: str) -> None:
        """Connect and make the table unless it is there. Raises Unavailable, Unreadable; ValueError for a URL that cannot be read."""
        self._url = url
        self._lock = threading.RLock()
        self._ended = False
        self._db = self._connected()
        try:
            self._guarded(self._prepare)
        except BaseException:
            self._db.close()
            raise

    def _connected(self) -> psycopg.Connection[Any]:
        try:
            db = psycopg.connect(self._url, autocommit=True, connect_timeout=10, client_encoding="utf8")
        except psycopg.ProgrammingError as wrong:
            raise ValueError(f"the ledger's URL cannot be read: {wrong}") from None
        except psycopg.Error as lost:
            raise Unavailable(f"the ledger's PostgreSQL cannot be reached: {lost}") from lost
        try:
            settings = "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('server_encoding')"
            flushes, commits, encoding = db.execute(settings).fetchone() or ("", "", "")
            if flushes != "on":
                raise Unavailable("the ledger's PostgreSQL runs with fsync = off: what it acknowledges, a power cut can take back")
            if encoding != "UTF8":
                raise Unavailable(f"the ledger's database is encoded in {encoding}; make one with ENCODING 'UTF8'")
            if commits in ("off", "local"):
                db.execute("SET synchronous_commit = on")
            db.execute("SET default_transaction_isolation = 'read committed'")
        except psycopg.Error as lost:
            db.close()
            raise Unavailable(f"the ledger's PostgreSQL: {lost}") from lost
        except BaseException:
            db.close()
            raise
        db.adapters.register_loader("text", _Raw)
        return db

    def _prepare(self) -> None:
        if not self._db.execute("SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass('entries') AND tgname = 'entries_stay'").fetchone():
            with self._db.transaction():
                self._db.execute("SELECT pg_advisory_xact_lock(hashtext('nnix ledger'))")
                self._db.execute(_POSTGRES)
        self._db.execute(f"SELECT {_FIELDS} FROM entries LIMIT 0")  # noqa: S608

    def _guarded(self, act: Callable[[], T], again: bool = False) -> T:
        """Do `act`; when the connection turns out to be lost, connect anew and do it once more, if that is asked for."""
        with self._lock:
            if self._ended:
                raise Unavailable("the ledger was closed")
            try:
                if again and self._db.closed:
                    self._db = self._connected()
                return act()
            except (pg.DataCorrupted, pg.IndexCorrupted, pg.UndefinedTable, pg.UndefinedColumn) as wrong:
                raise Unreadable(f"the ledger's table is damaged, or is none: {wrong}") from wrong
            except psycopg.Error as lost:
                if again and self._db.broken:
                    self._db = self._connected()
                    return self._guarded(act)
                raise Unavailable(f"the ledger's PostgreSQL: {lost}") from lost

    def _all(self, query: str, *values: object) -> list[Any]:
        return self._guarded(lambda: self._db.execute(query.replace("?", "%s"), values).fetchall(), again=True)

    def add(self, row: Row) -> bool:
        values = (*row[:-1], row.body.decode(), row.before, _GENESIS)
        tries = 0

        def insert() -> bool:
            nonlocal tries
            tries += 1
            try:
                if self._db.execute(_ADD.replace("?", "%s"), values).rowcount == 1:
                    return True
            except pg.UniqueViolation:
                pass
            # The connection may have been lost after the row was kept and before we heard of it: then the row that is there is ours.
            return tries > 1 and (found := self.link(row.seq)) is not None and found[2] == row.digest.encode()

        return self._guarded(insert, again=True)

    def _one(self, fields: str, rest: str, *values: object) -> Any:
        found = self._all(f"SELECT {fields} FROM entries {rest}", *values)  # noqa: S608
        return found[0] if found else None

    def rows(self, since: int, until: int | None, what: str | None) -> Iterator[Row]:
        where = f"FROM entries WHERE {_clauses(what)} ORDER BY seq"
        while True:
            # The whole answer comes at once, so the sizes are asked for first; PostgreSQL knows them without reading the bodies.
            rest = (_END if until is None else until, *([] if what is None else [what]))
            last, size = None, 0
            for seq, octets in self._all(f"SELECT seq, octet_length(body) {where} LIMIT {ROWS_PER_PAGE}", since, *rest):
                last, size = seq, size + octets
                if size > PAGE_BYTES:
                    break
            if last is None:
                return
            yield from (Row(*each) for each in self._all(f"SELECT {_FIELDS} {where}", since, last, *rest[1:]))
            since = last

    def close(self) -> None:
        with self._lock:
            self._ended = True
            self._db.close()


def open_store(url_or_path: str) -> Store:
    """PostgreSQL for `postgresql://…`, else SQLite in the file of that name. Raises ValueError for a URL of another kind; Unavailable, Unreadable."""
    scheme, separator, _ = url_or_path.partition("://")
    if not separator:
        return SqliteStore(Path(url_or_path))
    if scheme in ("postgresql", "postgres"):
        return PostgresStore(url_or_path)
    raise ValueError(f"a ledger is kept in a file or at postgresql://…, not at {scheme}://…")
