"""What a herald reads of BIRD, over a socket that says what BIRD 2.0.12 was seen to say; and what it makes of a BIRD that says nothing, nonsense, or half of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from nnix.planes.naming import serve
from nnix.planes.naming.health import Around
from nnix.planes.naming.read import _words
from nnix.planes.naming.serve import around

V4, V6 = "198.18.200.0/24", "3fff:200::/48"
GREETING, RESTRICTED = b"0001 BIRD 2.0.12 ready.\n", b"0016 Access restricted\n"
HEAD = b"2002-Name       Proto      Table      State  Since         Info\n1002-device1    Device     ---        up     08:20:37.277  \n"
NONE = b"8001 Network not found\n"


def protocols(**sessions: str) -> bytes:
    rows = (f" {name:10} BGP        ---        {said}  \n".encode() for name, said in sessions.items())
    return HEAD + b"".join(rows) + b"0000 \n"


def routes(prefix: str, *vias: str) -> bytes:
    rows = (f" {prefix}      unicast [rs_a 08:20:37.277] (100) [AS64510i]\n \tvia {via} on eth0\n" for via in vias)
    return (
        b"1007-Table master4:\n"
        + f" {prefix}   blackhole [health_v4 08:20:37.277] * (200)\n".encode()
        + "".join(rows).encode()
        + b"0000 \n"
    )


UP, DOWN = "up     08:20:37.291  Established", "start  08:20:37.291  Active        Socket: No route to host"


@contextmanager
def speaking(place: Path, replies: Sequence[bytes]) -> Iterator[str]:
    """Something at a socket that answers each line with the next reply; after the last one it says nothing more. An empty reply: it hangs up."""
    path = str(place / "bird.ctl")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def serve_one() -> None:
            with contextlib.suppress(OSError):
                peer, _ = listening.accept()
                with peer:
                    for number, reply in enumerate(replies):
                        if number:
                            peer.recv(4096)
                        if not reply:
                            return
                        for octet in range(0, len(reply), 7):  # in pieces, as a stream may come
                            peer.sendall(reply[octet : octet + 7])
                    while peer.recv(4096):
                        pass

        serving = threading.Thread(target=serve_one)
        serving.start()
        try:
            yield path
        finally:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as waking:
                waking.connect(path)
            serving.join()


@pytest.mark.parametrize(
    ("sessions", "v4", "v6", "others"),
    [
        ({"rs_a_v4": UP, "rs_a_v6": UP}, routes(V4, "203.0.113.61", "203.0.113.62"), routes(V6, "2001:db8:1::61"), 1),
        ({"rs_a_v4": UP, "rs_a_v6": UP}, routes(V4, "203.0.113.61"), NONE, 0),
        ({"rs_a_v4": UP, "rs_b_v4": DOWN, "rs_a_v6": DOWN, "rs_b_v6": UP}, routes(V4, "203.0.113.61"), routes(V6, "2001:db8:1::61"), 1),
        ({"rs_a_v4": UP}, routes(V4, "203.0.113.61"), NONE, 1),
    ],
)
def test_others_are_counted_where_a_route_server_is_heard(
    tmp_path: Path, sessions: dict[str, str], v4: bytes, v6: bytes, others: int
) -> None:
    """Of two families the one with fewer; one in which the node has no session says nothing."""
    with speaking(tmp_path, [GREETING, RESTRICTED, protocols(**sessions), v4, v6]) as control:
        assert around(control, [V4, V6]) == Around(others)


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        (
            [GREETING, RESTRICTED, protocols(rs_a_v4=UP, rs_a_v6=DOWN), routes(V4, "203.0.113.61"), NONE],
            "rs_a_v6 Active Socket: No route to host",
        ),
        ([GREETING, RESTRICTED, protocols(), NONE, NONE], "none is configured"),
        ([], "BIRD does not answer within 0.3 s"),
        ([GREETING, RESTRICTED], "BIRD does not answer within 0.3 s"),
        ([GREETING, RESTRICTED, protocols(rs_a_v4=UP, rs_a_v6=UP)[:90]], "BIRD does not answer within 0.3 s"),
        ([GREETING, RESTRICTED, b""], "BIRD ended the conversation"),
        ([GREETING, RESTRICTED, b"9001 syntax error\n"], "BIRD refuses show protocols: syntax error"),
    ],
)
def test_what_cannot_be_read_is_not_nobody(tmp_path: Path, replies: list[bytes], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hears no route server knows not whether he is the last, and his status says that, and why; he does not say that he waits for his turn."""
    monkeypatch.setattr(serve, "BIRD_SECONDS", 0.3)
    with speaking(tmp_path, replies) as control:
        seen = around(control, [V4, V6])
    assert seen == Around(None, why)
    words = _words({"state": "ill", "wrong": ["lab.: signatures have expired"], "deaf": seen.deaf})[1]
    assert words == f"ill, and cannot know whether it is the last, since no route server is heard ({why}): lab.: signatures have expired"
    assert "waits for its turn" in _words({"state": "ill", "wrong": ["lab.: no answer"], "deaf": ""})[1]


def test_a_bird_that_is_gone_is_not_nobody(tmp_path: Path) -> None:
    assert around(str(tmp_path / "bird.ctl"), [V4]) == Around(None, "BIRD cannot be asked: No such file or directory")


def test_a_control_socket_may_lie_deeper_than_the_kernel_takes(tmp_path: Path) -> None:
    """An address of a socket has 107 octets (unix(7)), and a state folder may be longer."""
    deep = tmp_path / ("deep" * 30)
    deep.symlink_to(tmp_path)
    with speaking(tmp_path, [GREETING, RESTRICTED, protocols(rs_a_v4=UP), routes(V4, "203.0.113.61")]) as control:
        assert around(str(deep / Path(control).name), [V4]) == Around(1)
