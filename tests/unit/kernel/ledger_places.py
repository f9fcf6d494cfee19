"""Places where a ledger can be kept, for tests: an SQLite file, or a PostgreSQL server that is started here and stopped again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest

from nnix.kernel.ledger import Entry, Ledger, open_ledger

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def _user() -> str:
    """PostgreSQL refuses to run as root; any other user will do."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


class PostgresServer:
    """A server of our own on a socket in a temporary folder; nothing on the network. It dies with us."""

    def __init__(self, binaries: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nnt-pg-", dir="/tmp"))
        self._names = count()
        user = _user()
        as_user = (
            ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"] if os.geteuid() == 0 else ["setpriv"]
        )
        shutil.chown(self.folder, user) if os.geteuid() == 0 else None
        self._argv = [
            *as_user,
            "--pdeathsig",
            "QUIT",
            str(binaries / "postgres"),
            "-D",
            str(self.folder / "data"),
            "-k",
            str(self.folder),
            "-c",
            "listen_addresses=",
        ]
        made = subprocess.run(
            [
                *as_user,
                "--",
                str(binaries / "initdb"),
                "-D",
                str(self.folder / "data"),
                "-U",
                "nnt",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        assert made.returncode == 0, made.stdout + made.stderr
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://nnt@/postgres?host={self.folder}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """At once, as when the machine goes away."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def base(self) -> str:
        """The URL of a database of its own in this server."""
        name = f"nnt{next(self._names)}_{os.getpid()}"
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://nnt@/{name}?host={self.folder}"

    def place(self) -> str:
        """The URL of a place in this server where no ledger is yet."""
        name = f"nnt{next(self._names)}_{os.getpid()}"
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url}&options=-csearch_path%3D{name}"


@dataclass
class Place:
    """A place for one ledger, in one of the two databases, and the folder of its keys."""

    kind: str
    url: str
    keys: Path

    def open(self, keys: Path | None = None) -> Ledger:
        return open_ledger(self.url, keys or self.keys)

    def tamper(self, *statements: str) -> None:
        """What somebody with the database's password can do: past the triggers, behind the ledger's back."""
        if self.kind == "sqlite":
            import sqlite3

            with sqlite3.connect(self.url) as file:
                file.executescript("DROP TRIGGER IF EXISTS entries_stay; DROP TRIGGER IF EXISTS entries_keep;" + ";".join(statements))
            file.close()
        else:
            with psycopg.connect(self.url, autocommit=True) as db:
                db.execute("ALTER TABLE entries DISABLE TRIGGER ALL")
                for statement in statements:
                    db.execute(statement.encode())


def write(ledger: Ledger, number: int, what: str = "change") -> list[Entry]:
    """Append `number` entries, a second apart."""
    return [
        ledger.append(
            ledger.head,
            at=NOON + timedelta(seconds=ledger.head.seq),
            who="ops@example.net",
            what=what,
            why=f"because of {step} – 因为",
            body={"step": step, "put": [{"kind": "Member", "name": f"m-{step}"}]},
        )
        for step in range(number)
    ]
