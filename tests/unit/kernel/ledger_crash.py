"""Kill a ledger's writer with signal 9 at random instants, many times, and compare what it was told with what is there.

One interpreter forks a writer per round. The writer opens the ledger (which recovers what the one before left), appends as
fast as it can, and says through a pipe the number and digest of each entry that `append` returned. It is killed after a
random time, which may fall into the opening, the insertion, the flush, the commit, the signing, or between any two. After each
kill everything that was acknowledged must be there with its digest, in a chain that verifies; beyond it there may be at most
one entry, whole, which was written and not acknowledged any more.

Every tenth round begins a new ledger, so that making one is interrupted too.

Run as `python ledger_crash.py KILLS SEED FOLDER [POSTGRESQL-URL]`; prints one JSON object. A URL must be of a database to play in.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from nnix.kernel.ledger import EMPTY, Head, open_ledger

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
NEW_EVERY = 10
DELAY_SECONDS = 0.06
"""the longest that a writer lives; longer where the machine is so busy that most writers die before their first answer"""


@dataclass
class Tally:
    """What was seen. `unheard`: entries written and not acknowledged; `lagging`: heads that were not signed any more; `unopened`: killed before the first answer."""

    seed: int
    kills: int = 0
    acknowledged: int = 0
    unheard: int = 0
    lagging: int = 0
    unopened: int = 0
    ledgers: int = 0


def write(url: str, keys: Path, seed: int, pipe: int) -> None:
    """Append until killed. Sizes differ, so that some entries fit a page and some spill over many."""
    draw = random.Random(seed)
    with open_ledger(url, keys) as ledger:
        head = ledger.head
        while True:
            size = draw.choice((10, 10, 1000, 20_000, 200_000))
            at = NOON + timedelta(seconds=head.seq)
            head = ledger.append(head, at=at, who="writer", what="change", why="", body={"seed": seed, "much": "x" * size}).head
            os.write(pipe, f"{head.seq} {head.digest}\n".encode())


def killed(url: str, keys: Path, seed: int, delay_seconds: float) -> list[Head]:
    """What a writer had acknowledged when it was killed after `delay_seconds`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write(url, keys, seed, writing)
        except BaseException as failed:  # it must not go on in the parent's code; what it says fails the round
            os.write(writing, f"{failed!r}\n".encode())
        finally:
            os._exit(3)
    os.close(writing)
    time.sleep(delay_seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    if not os.WIFSIGNALED(status):
        raise AssertionError(f"the writer ended by itself: {said.splitlines()[-1:]}")
    return [Head(int(seq), digest) for seq, digest in (line.split() for line in said.splitlines())]


def compare(url: str, keys: Path, known: Head, told: list[Head], lag: int, tally: Tally) -> tuple[Head, int]:
    """Raise AssertionError when something acknowledged is not there. `lag`: how
    many entries were not signed before. Returns the head that is there now, and how many are not signed."""
    with open_ledger(url, keys) as ledger:
        there = [entry.head for entry in ledger.entries(known.seq)]
        if there[: len(told)] != told:
            raise AssertionError(f"acknowledged {told[:3]}… {told[-3:]}, found {there[:3]}… {there[-3:]}")
        unheard = len(there) - len(told)
        if unheard > 1:
            raise AssertionError(f"{unheard} entries that nobody was told of; one writer can leave one")
        if known.seq and ((kept := ledger.entry(known.seq)) is None or kept.head != known):
            raise AssertionError(f"entry {known.seq} is not what it was")
        signed, head = ledger.signed, ledger.head
        # A writer that was killed leaves at most one entry unsigned; the next one's first answer means that all are signed.
        lag_max = 1 if told else lag + 1
        if not 0 <= head.seq - signed.seq <= lag_max or (told and signed.seq < told[-1].seq):
            raise AssertionError(f"signed {signed.seq}, acknowledged {len(told)} after {known.seq}, head {head.seq}")
        tally.unheard += unheard
        tally.lagging += head.seq > signed.seq
        tally.unopened += not told
        tally.acknowledged += len(told)
    return head, head.seq - signed.seq


def settled(server: str) -> None:
    """Wait until the server has done with the killed writer: it may still be about to commit what the writer had sent."""
    deadline = time.monotonic() + 10
    with psycopg.connect(server, autocommit=True) as db:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        while db.execute(query).fetchone() != (0,):
            if time.monotonic() > deadline:
                raise AssertionError("the killed writer's session does not end")
            time.sleep(0.001)


def audit(url: str, keys: Path) -> None:
    with open_ledger(url, keys) as ledger:
        faults = ledger.verify()
    if faults:
        raise AssertionError(f"verify: {[str(fault) for fault in faults[:5]]}")


def crash(kills: int, seed: int, folder: Path, server: str | None) -> Tally:
    """Kill `kills` writers, one after another."""
    draw = random.Random(seed)
    tally = Tally(seed)
    url, keys, known, lag = "", folder, EMPTY, 0
    delay_max = DELAY_SECONDS
    for turn in range(kills):
        if turn % NEW_EVERY == 0:
            if url:
                audit(url, keys)
            tally.ledgers += 1
            place = f"crash{tally.ledgers}"
            keys, known, lag = folder / f"{place}-keys", EMPTY, 0
            url = str(folder / f"{place}.sqlite")
            if server:
                with psycopg.connect(server, autocommit=True) as db:
                    db.execute(f"CREATE SCHEMA {place}".encode())
                url = f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{place}"
        told = killed(url, keys, draw.getrandbits(32), draw.random() * delay_max)
        delay_max = max(DELAY_SECONDS, delay_max * (0.9 if told else 1.15))
        tally.kills += 1
        if server:
            settled(server)
        try:
            known, lag = compare(url, keys, known, told, lag, tally)
        except Exception as wrong:
            raise AssertionError(f"seed {seed}, kill {turn}: {wrong}") from wrong
    audit(url, keys)
    return tally


if __name__ == "__main__":
    print(json.dumps(asdict(crash(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None))))
