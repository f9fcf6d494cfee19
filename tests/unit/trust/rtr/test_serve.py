"""The RTR server without its loop: what it holds for routers, what it says of them, and what it says when it cannot begin."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnix.kernel.rule import Refused
from nnix.planes.trust import serve
from nnix.planes.trust.rtr.history import History, begun
from nnix.planes.trust.rtr.peer import Peer
from nnix.planes.trust.rtr.records import ROW4, Change, Records, Rows
from nnix.planes.trust.rtr.routers import is_status
from nnix.planes.trust.rtr.session import Session
from nnix.planes.trust.rtr.tables import Caches
from nnix.planes.trust.rtr.wire import PduType, ResetQuery, SerialQuery, encode

SERIAL, STEPS, ROWS = 1000, 300, 500


def rows(first: int, number: int) -> Rows:
    """Prefixes of AS64512, in order."""
    return np.frombuffer(b"".join(struct.pack(">IBBI", (first + each) << 8, 24, 24, 64512) for each in range(number)), ROW4)


@pytest.fixture(scope="module")
def long_history() -> History:
    """300 changes of 500 rows."""
    steps = tuple(Change(Records(rows(each * ROWS, ROWS)), Records()) for each in range(STEPS))
    return History(4, SERIAL, time.time(), Records(rows(0, STEPS * ROWS)), steps)


def caches(home: Path, **more: Any) -> Caches:
    table = {"name": "vrps", "file": str(home / "vrps.json"), "listen": [{"address": "127.0.0.1", "port": 0}], **more}
    return Caches.model_validate({"state": str(home / "state"), "tables": [table]})


class Served:
    """A server, and routers whose other ends the test holds."""

    def __init__(self, home: Path, history: History) -> None:
        self.said: list[str] = []
        self.server = serve.Server(caches(home), self.said.append)
        [self.table] = self.server.served
        self.table.history = history
        self.routers: list[socket.socket] = []

    def router(self, session: Session | None = None) -> tuple[int, socket.socket]:
        ours, theirs = socket.create_server(("127.0.0.1", 0)), socket.socket()
        theirs.connect(ours.getsockname())
        link, address = ours.accept()
        ours.close()
        peer = Peer(link, (address[0], address[1]), "tcp", time.monotonic())
        peer.session = session or Session()
        self.table.peers[link.fileno()] = peer
        self.table.addresses[address[0]] += 1
        self.server.tables_of[link.fileno()] = self.table
        self.server.epoll.register(link.fileno(), peer.events)
        self.routers.append(theirs)
        return link.fileno(), theirs

    def hears(self, descriptor: int, theirs: socket.socket, octets: bytes) -> None:
        theirs.sendall(octets)
        select.select([descriptor], [], [])
        self.server._serve(descriptor, select.EPOLLIN)

    def end(self) -> None:
        for descriptor in list(self.server.tables_of):
            self.server._let_go(descriptor, "")
        for each in self.routers:
            each.close()
        self.server.epoll.close()
        os.close(self.server.lock)


@pytest.fixture()
def served(tmp_path: Path, long_history: History) -> Iterator[Served]:
    made = Served(tmp_path, long_history)
    yield made
    made.end()


def held_in_images() -> int:
    """Octets of all images that this process holds."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            found += each.stat().st_size if "memfd:rtr-image" in str(each.readlink()) else 0
        except FileNotFoundError:
            continue
    return found


def test_routers_at_a_hundred_serials_that_take_nothing_cost_a_bounded_memory(served: Served) -> None:
    """Each would have an answer of its own, of 2 to 3 MB; when there is no room they are sent the full set, which all share. A small change finds room."""
    begun_with = held_in_images()
    kinds = []
    for back in range(STEPS - 100, STEPS):
        descriptor, theirs = served.router()
        served.hears(descriptor, theirs, encode(SerialQuery(1, 5, SERIAL - back)))
        kinds.append(theirs.recv(8)[1])
    assert held_in_images() - begun_with < serve.IMAGES_OCTETS_MAX
    assert kinds[0] == PduType.CACHE_RESPONSE and kinds[-1] == PduType.CACHE_RESET
    late, theirs = served.router()
    served.hears(late, theirs, encode(SerialQuery(1, 5, SERIAL - 1)))
    assert theirs.recv(8)[1] == PduType.CACHE_RESPONSE
    reset, theirs = served.router()
    served.hears(reset, theirs, encode(SerialQuery(1, 5, SERIAL - STEPS)) + encode(ResetQuery(1)))
    assert [theirs.recv(8)[1] for _ in range(2)] == [PduType.CACHE_RESET, PduType.CACHE_RESPONSE]


def test_room_comes_back_when_routers_have_taken_what_they_asked_for(served: Served) -> None:
    for back in range(STEPS - 60, STEPS):
        descriptor, theirs = served.router()
        served.hears(descriptor, theirs, encode(SerialQuery(1, 5, SERIAL - back)))
    assert served.table.history is not None
    assert not served.table.room_for(2, SERIAL - STEPS, served.table.history)
    for descriptor in list(served.server.tables_of):
        served.server._let_go(descriptor, "")
    served.table.images.clear()  # as with the next serial
    assert served.table.room_for(2, SERIAL - STEPS, served.table.history)


def test_a_router_that_was_told_there_is_no_data_is_not_counted_as_in_step(served: Served, long_history: History) -> None:
    """It asked, and its own clock runs on: what it has expires as if it had not asked (RFC 8210, 6)."""
    fresh, theirs = served.router()
    served.hears(fresh, theirs, encode(SerialQuery(1, 5, SERIAL)))
    served.table.history = History(4, SERIAL, 0.0, long_history.newest)
    stale, theirs = served.router()
    served.hears(stale, theirs, encode(ResetQuery(1)))
    assert theirs.recv(8)[1] == PduType.ERROR_REPORT
    later = time.monotonic() + 7
    in_step, told_nothing = serve._status(served.table, later, time.time())["peers"]
    assert in_step["in_step_seconds"] >= 6.9
    assert (told_nothing["in_step_seconds"], told_nothing["serial"]) == (None, None) and told_nothing["asked_seconds"] is not None


def test_a_router_that_leaves_while_it_is_notified_is_no_failure_of_ours(served: Served) -> None:
    descriptor, theirs = served.router(Session(version=1, told=True))
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    served.server._serve(descriptor, 0)
    assert served.said == [] and served.table.peers == {}


@pytest.fixture()
def signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        (
            {"listen": [{"address": "127.0.0.1", "port": 0}, {"address": "192.0.2.77", "port": 323}]},
            ["table/vrps  listen.1: 192.0.2.77 port 323"],
        ),
        (
            {"listen": [{"address": "127.0.0.1", "port": 0, "transport": "tls"}], "tls": {"certificate": "/gone.pem", "key": "/gone.key"}},
            ["table/vrps  tls.certificate: /gone.pem: No such file"],
        ),
        (
            {
                "listen": [{"address": "127.0.0.1", "port": 0, "transport": "tls"}],
                "tls": {"certificate": "/etc/passwd", "key": "/etc/passwd"},
            },
            ["table/vrps  tls.certificate: /etc/passwd and /etc/passwd do not make a server"],
        ),
        ({"peers_max": 2_000_000_000}, ["tables  peers_max: 2000000", "files are asked for"]),
    ],
)
def test_what_cannot_be_begun_names_the_table_the_field_and_the_mend(
    tmp_path: Path, signals: None, more: dict[str, Any], names: list[str]
) -> None:
    with pytest.raises(Refused) as refused:
        serve.Server(caches(tmp_path, **more), lambda _: None).begin()
    assert all(each in str(refused.value) for each in [*names, "  rule    rtr.", "  accept  ", "  mend    "])


def test_a_wrong_field_is_named_once_with_its_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not that the part around it has too few members then."""
    file = tmp_path / "caches.json"
    file.write_text(json.dumps({"state": "s", "tables": [{"name": "vrps", "file": "f", "listen": [{"address": "::1", "port": 70_000}]}]}))
    assert serve.main([str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{file}  tables.0.listen.0.port: ") and said.count("  mend    ") == said.count("  rule    ") == 1


@pytest.mark.parametrize("found", [None, [], {"tables": []}, {"tables": [{}], "written": 1}, {"tables": [{"name": "x"}], "written": 1.5}])
def test_what_is_no_status_is_not_taken_for_one(found: object) -> None:
    assert not is_status(found)


def test_a_written_status_is_one(served: Served) -> None:
    served.server._write_status(time.monotonic())
    assert is_status(json.loads((served.server.state / "status.json").read_bytes()))
    served.table.history = begun(4, 7, Records(), 0.0)
    served.server._write_status(time.monotonic())
    assert is_status(json.loads((served.server.state / "status.json").read_bytes()))
