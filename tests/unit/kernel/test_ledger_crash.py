"""kill -9 at any instant loses nothing that was acknowledged, and two processes that write at once never fork the ledger."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from nnix.kernel.ledger import Head, Moved, open_ledger

from .ledger_places import NOON, Place, PostgresServer

KILLS = 200


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_kill_9_at_any_instant_loses_nothing_acknowledged(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """200 writers are killed at random instants from a printed seed; see ledger_crash.py for what is compared. NNIX_SEED repeats one run."""
    seed = int(os.environ.get("NNIX_SEED", random.SystemRandom().getrandbits(32)))
    print(f"NNIX_SEED={seed}")
    argv = [sys.executable, str(Path(__file__).with_name("ledger_crash.py")), str(KILLS), str(seed), str(tmp_path)]
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        argv.append(server.base())
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"NNIX_SEED={seed}\n{done.stderr}"
    tally = json.loads(done.stdout)
    print(tally)
    assert tally["kills"] == KILLS
    assert tally["acknowledged"] > KILLS, "the writers were killed before they could write; this proves nothing"
    assert tally["unheard"] > 0, "no kill fell between the commit and the answer; this proves little"


def test_processes_that_write_at_once_take_turns(place: Place) -> None:
    """Three processes, each insisting on 25 entries: all are there once, in one chain; whoever was told Moved came again."""
    place.open().close()
    pipes = []
    for name in range(3):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                told = 0
                with place.open() as ledger:
                    for step in range(25):
                        while True:
                            try:
                                entry = ledger.append(
                                    ledger.head, at=NOON, who=f"writer {name}", what="change", why="", body={"step": step}
                                )
                            except Moved:
                                told += 1
                                continue
                            os.write(writing, f"{entry.seq} {entry.digest}\n".encode())
                            break
                os.write(writing, f"told {told}\n".encode())
            finally:
                os._exit(0)
        os.close(writing)
        pipes.append((child, reading))
    heads: list[Head] = []
    for child, reading in pipes:
        with os.fdopen(reading) as pipe:
            *lines, last = pipe.read().splitlines()
        os.waitpid(child, 0)
        assert last.startswith("told "), last
        heads += [Head(int(seq), digest) for seq, digest in map(str.split, lines)]

    with place.open() as ledger:
        assert sorted(heads, key=lambda head: head.seq) == [entry.head for entry in ledger.entries()]
        assert len(heads) == 75
        assert (ledger.verify(), ledger.signed) == ((), ledger.head)


def test_processes_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    """Eight processes open a ledger that is not there yet: one key, one head, no error."""
    path, keys = tmp_path / "ledger.sqlite", tmp_path / "keys"
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                open_ledger(path, keys).close()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    with open_ledger(path, keys) as ledger:
        assert ledger.verify() == ()
    assert sorted(path.name for path in keys.iterdir()) == ["ledger-head", "ledger-key", "ledger-key.pub"]
