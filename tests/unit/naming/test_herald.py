"""The herald's looks, at servers on real sockets that say nothing; and what it does on a disk that is full."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from nnix.planes.naming import ask, serve
from nnix.planes.naming.ask import HEADER
from nnix.planes.naming.health import Around, Memory, State, Wants
from nnix.planes.naming.serve import look, tell

ZONES = [Wants(f"zone{n}.", 60, 3600) for n in range(100)]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """A server that hears all and says nothing. It is asked at 127.0.0.1."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.setblocking(False)
    asked = ask.ask
    monkeypatch.setattr(serve, "ASK_SECONDS", 0.05)
    monkeypatch.setattr(ask, "ask", lambda *words, **more: asked(*words, port=server.getsockname()[1], **more))
    return server


def heard(server: socket.socket) -> int:
    """How many questions wait there."""
    count = 0
    while True:
        try:
            server.recv(2000)
        except BlockingIOError:
            return count
        count += 1


def test_a_server_that_hangs_is_waited_for_once_a_look_however_many_zones_it_has(silent: socket.socket) -> None:
    """Else three bad looks at a hundred zones would last minutes, and as long it would be announced."""
    unheard: set[str] = set()
    seen = [look(each, ["127.0.0.1"], ["127.0.0.1"], unheard) for each in ZONES]
    assert not any(each.answers or each.lacks for each in seen)
    assert heard(silent) == 1
    look(ZONES[0], ["127.0.0.1"], [], set())
    assert heard(silent) == 1, "and at the next look again"


@pytest.mark.parametrize(("code", "lacks"), [(2, True), (5, True), (9, True), (3, False), (4, False)])
def test_a_server_that_has_no_version_says_so(monkeypatch: pytest.MonkeyPatch, code: int, lacks: bool) -> None:
    """SERVFAIL, REFUSED or NOTAUTH: the server lives, which silence does not say. Any other code is an answer of something else."""
    reply = ask.Reply(code, False, (), HEADER.pack(1, 0x8000 | code, 1, 0, 0, 0))
    monkeypatch.setattr(ask, "ask", lambda *_, **__: reply)
    seen = look(ZONES[0], ["192.0.2.1"], ["192.0.2.2"], set())
    assert (seen.answers, seen.lacks, seen.gate_lacks) == (False, lacks, lacks)


def test_a_full_disk_ends_no_herald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever began anew for it would count bad looks from nothing each time, and never withdraw an ill server."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state.new").symlink_to("/dev/full")
    tell(Memory(State.IN, 0.0), {}, Around(1), (), 1.0)
    assert not (tmp_path / "state").exists()
    (tmp_path / "state.new").unlink()
    tell(Memory(State.IN, 0.0), {}, Around(1), (), 1.0)
    assert (tmp_path / "state").exists()
