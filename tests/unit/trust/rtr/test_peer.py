"""One connection: what is held for it, and when its time is up, by a clock that the test turns."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from nnix.planes.trust.rtr.peer import (
    ANSWER_SECONDS,
    ASKS_BURST,
    HALF_PDU_SECONDS,
    OPENING_SECONDS,
    PARTING_SECONDS,
    SLICE_OCTETS,
    STALLED_SECONDS,
    Gone,
    Image,
    Peer,
)
from nnix.planes.trust.rtr.session import HEARD_OCTETS_MAX, Session


@pytest.fixture()
def ends() -> Iterator[tuple[Peer, socket.socket]]:
    """The server's end, connected at 0, and the router's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        router = socket.create_connection(listener.getsockname(), timeout=5)
        link, address = listener.accept()
    peer = Peer(link, address, "tcp", 0.0)
    yield peer, router
    peer.close()
    router.close()


def test_who_asks_nothing_is_let_go_and_who_has_asked_may_be_silent(ends: tuple[Peer, socket.socket]) -> None:
    peer, _ = ends
    assert peer.overdue(OPENING_SECONDS) == ""
    assert "asked nothing" in peer.overdue(OPENING_SECONDS + 1)
    peer.session = Session(1)
    assert peer.overdue(86_400.0) == ""


def test_a_pdu_that_was_begun_must_end_however_often_an_octet_comes(ends: tuple[Peer, socket.socket]) -> None:
    peer, router = ends
    peer.session = Session(1)
    for second in range(5):
        router.send(b"\x01")
        select.select([peer.link], [], [], 5)
        peer.receive(float(second))
    assert peer.overdue(HALF_PDU_SECONDS) == ""
    assert "5 octets of a PDU" in peer.overdue(HALF_PDU_SECONDS + 1)


def test_who_takes_nothing_is_let_go_and_so_is_who_takes_an_octet_now_and_then(ends: tuple[Peer, socket.socket]) -> None:
    peer, router = ends
    peer.session = Session(1)
    peer.put(Image(bytes(64 << 20)), 0.0, 7)
    while (before := peer.octets_sent) == 0 or peer.octets_sent > before:
        peer.send(0.0)
        if peer.octets_sent == before:
            break
    assert peer.busy and peer.events == select.EPOLLOUT
    assert peer.overdue(STALLED_SECONDS) == ""
    assert "took nothing" in peer.overdue(STALLED_SECONDS + 1)
    now = 0.0
    while not peer.overdue(now) and peer.busy:
        now += STALLED_SECONDS / 2
        sent = peer.octets_sent
        while peer.octets_sent == sent:
            router.recv(1 << 20)
            peer.send(now)
        if peer.octets_sent > 50 << 20:
            break
    assert "for an answer" in peer.overdue(ANSWER_SECONDS + 1)
    assert peer.serial is None


def test_the_serial_is_the_routers_when_all_is_out_and_not_before(ends: tuple[Peer, socket.socket]) -> None:
    peer, router = ends
    octets = os.urandom(3 * SLICE_OCTETS)
    peer.put(Image(octets), 0.0, 7)
    got = bytearray()
    while peer.busy:
        assert peer.serial is None
        peer.send(0.0)
        if peer.busy:
            got += router.recv(1 << 20)
    assert peer.serial == 7
    while len(got) < len(octets):
        got += router.recv(1 << 20)
    assert got == octets


def test_no_more_is_read_than_one_pdu_can_have(ends: tuple[Peer, socket.socket]) -> None:
    peer, router = ends
    router.send(bytes(3 * HEARD_OCTETS_MAX))
    select.select([peer.link], [], [], 5)
    peer.receive(0.0)
    assert len(peer.inbox) == HEARD_OCTETS_MAX


def test_who_asks_without_end_waits(ends: tuple[Peer, socket.socket]) -> None:
    peer, _ = ends
    asked = 0
    while peer.may_ask(0.0):
        asked += 1
    assert asked == ASKS_BURST
    assert peer.events == 0
    assert peer.may_ask(0.5) and not peer.may_ask(0.5)
    assert sum(peer.may_ask(1000.0) for _ in range(100)) == ASKS_BURST


def test_who_was_told_to_go_hears_why_and_has_a_moment_for_it(ends: tuple[Peer, socket.socket]) -> None:
    peer, router = ends
    peer.put(b"why", 0.0)
    peer.part("why", 0.0)
    peer.send(0.0)
    assert router.recv(10) == b"why" and router.recv(10) == b""
    assert peer.overdue(PARTING_SECONDS) == "" and peer.overdue(PARTING_SECONDS + 1) == "why"
    router.send(b"more")
    select.select([peer.link], [], [], 5)
    peer.receive(0.0)
    assert not peer.inbox
    router.close()
    select.select([peer.link], [], [], 5)
    with pytest.raises(Gone):
        peer.receive(0.0)


def test_an_image_goes_with_the_last_who_needs_it() -> None:
    image = Image(b"octets")
    descriptor = image.descriptor
    assert os.pread(descriptor, 10, 0) == b"octets"
    del image
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
