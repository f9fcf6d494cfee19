"""The guard between a hostile registry and the gate's Knot, over real sockets: what Knot would take for a whole zone does not get that far."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nnix.planes.naming import guard
from nnix.planes.naming.ask import wire
from nnix.planes.naming.guard import Guard, Way
from tests.unit.naming.test_anchored import A, key, sig, soa

AXFR = struct.pack("!2H", 252, 1)
Told = Callable[[socket.socket], None]


def told(*messages: list[bytes]) -> Told:
    """Answers to question 9, one after the other."""

    def tell(link: socket.socket) -> None:
        for each in messages:
            message = struct.pack("!6H", 9, 0x8400, 1, len(each), 0, 0) + wire("zj.") + AXFR + b"".join(each)
            link.sendall(struct.pack("!H", len(message)) + message)

    return tell


def dripping(link: socket.socket) -> None:
    for _ in range(100):
        link.sendall(b"\1")
        time.sleep(0.05)


class Between:
    """A guard, the registry behind it, and what Knot got."""

    def __init__(self) -> None:
        self.registry, self.listening = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.guard = Guard()
        anchor = f"1 15 2 {'0' * 64}"
        way = Way("zj.", self.listening.getsockname()[1], self.registry.getsockname(), "127.0.0.1", "127.0.0.1", (anchor,))
        threading.Thread(target=self.guard.over_tcp, args=({"zj.": way}, self.listening), daemon=True).start()

    def empty(self) -> bool:
        """Whether, after a while, nobody is connected, and what was judged is written."""
        taken = [self.guard.room.acquire(timeout=5) for _ in range(guard.CONNECTIONS_MAX)]
        self.guard.room.release(sum(taken))
        return all(taken)

    def fetched(self, tell: Told) -> bytes:
        """All that Knot was given of a transfer, until the connection ended."""

        def answer() -> None:
            link, _ = self.registry.accept()
            with link:
                try:
                    link.recv(1000)
                    tell(link)
                    link.recv(1)
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        got = b""
        with socket.create_connection(self.listening.getsockname()) as knot:
            knot.settimeout(10)
            question = struct.pack("!6H", 9, 0, 1, 0, 0, 0) + wire("zj.") + AXFR
            knot.sendall(struct.pack("!H", len(question)) + question)
            while octets := knot.recv(65535):
                got += octets
        return got


@pytest.fixture
def between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    monkeypatch.chdir(tmp_path)
    made = Between()
    yield made
    assert made.empty(), "a place was not given back"
    made.registry.close()
    made.listening.close()


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (soa(2), "none of its keys is an anchor"),
        (soa(2, "www.zj."), "an SOA of www.zj."),
        (soa(2, group=3), "a record of class 3"),
    ],
    ids=["its-soa", "an-soa-of-another-name", "an-soa-of-another-class"],
)
def test_the_message_that_would_end_a_strangers_zone_is_not_passed_on(between: Between, end: bytes, words: str) -> None:
    """Knot 3.2.6 ends a transfer at an SOA of any name and class, and has a zone then: seen with each of the three, without a guard."""
    got = between.fetched(told([soa(2), key(9), sig(9)], [A, end], [A, soa(2)]))
    assert (key(9) in got, A in got) == (True, False)
    deadline = time.monotonic() + 5
    while words not in between.guard.refused.get("zj.", ""):
        assert time.monotonic() < deadline, between.guard.refused
        time.sleep(0.01)


def test_a_registry_that_drips_holds_no_place(between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    """The places are all zones': one registry that sends an octet now and then must not take them away from the others."""
    monkeypatch.setattr(guard, "PATIENCE_SECONDS", 0.3)
    began = time.monotonic()
    assert between.fetched(dripping) == b""
    assert time.monotonic() - began < 3
    assert between.empty()


def test_a_moment_without_descriptors_does_not_cut_the_way_to_the_registry(between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    """accept(2) fails three times, as with EMFILE; then the next one is heard."""
    failing = iter([OSError(24, "Too many open files")] * 3)
    accept = socket.socket.accept

    def accepted(link: socket.socket) -> tuple[socket.socket, object]:
        if link is between.listening and (error := next(failing, None)):
            raise error
        return accept(link)

    monkeypatch.setattr(socket.socket, "accept", accepted)
    for _ in range(2):  # whoever waits in accept(2) already hears the first
        assert key(9) in between.fetched(told([soa(2), key(9), sig(9)], [A, soa(2)]))
    assert next(failing, None) is None


def test_a_question_says_which_zone_is_meant_and_a_strange_one_is_nobodys_fault(between: Between) -> None:
    """Zones share a port. With a port each, a zone that came moved the others', and a Knot that asked where it was told before was answered with a refusal of another zone:
    seen with the example, where all zones were held for 15 minutes after one was added."""
    strange = struct.pack("!6H", 9, 0, 1, 0, 0, 0) + wire("other.") + AXFR
    with socket.create_connection(between.listening.getsockname()) as knot:
        knot.settimeout(10)
        knot.sendall(struct.pack("!H", len(strange)) + strange)
        assert knot.recv(1) == b""
    assert between.empty()
    assert between.guard.refused == {}
