"""The shelf over real HTTPS: what is published and nothing besides; at our names, and at origins' names that are led home."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnix.planes.trust.archive import Archive
from nnix.planes.trust.mirror import rrdp, serving
from nnix.planes.trust.mirror.publishing import Press, Record
from nnix.planes.trust.mirror.serving import CER, Shelf, serve
from tests.rpki.origin import authority

SESSION = "7c2f0a52-0000-4000-8000-000000000001"


class Served:
    """A shelf with one repository, `lab`."""

    def __init__(self, folder: Path) -> None:
        numbers = itertools.count()
        self.press = Press(folder / "published", Archive(folder / "archive"), 10, lambda: f"{next(numbers)}", lambda: SESSION)
        self.record = self.publish({"rpki.lab.test/repo/a.roa": b"a" * 1000, "rpki.lab.test/repo/b.roa": b"b" * 600_000})
        (folder / "lab.cer").write_bytes(b"certificate")
        (folder / "secret").write_bytes(b"secret")
        (self.press.folder / "lab" / SESSION / "1" / "unnamed.xml").write_bytes(b"half writ")
        led = {"https://rrdp.lab.test/n/notification.xml": "lab"}
        documents = {"/ta/lab.cer": (CER, folder / "lab.cer"), "https://rpki.lab.test/ta.cer": (CER, folder / "lab.cer")}
        self.shelf = Shelf(self.press.folder, "https://mirror.test", frozenset({"lab"}), led, documents)
        ca, certificate, key = authority(folder, "mirror.test", "rrdp.lab.test", "rpki.lab.test")
        self.trusts = ssl.create_default_context(cafile=str(ca))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)

    def publish(self, files: dict[str, bytes]) -> Record:
        return self.press.publish("lab", {path: self.press.archive.keep(content) for path, content in files.items()}, lambda _: "the note")

    def say(self, *requests: bytes, host: str = "mirror.test") -> list[bytes]:
        """Everything that the server answers on one connection, split at the heads."""

        async def talk() -> bytes:
            server = await serve(self.shelf, "127.0.0.1", 0, self.tls)
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self.trusts, server_hostname=host)
            writer.write(b"".join(requests))
            with contextlib.suppress(ConnectionError):
                answer = await asyncio.wait_for(reader.read(-1), 20)
            writer.close()
            server.close()
            return answer

        return [b"HTTP/1.1" + each for each in asyncio.run(talk()).split(b"HTTP/1.1")[1:]]

    def get(self, path: str, host: str = "mirror.test") -> tuple[int, bytes]:
        (answer,) = self.say(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(), host=host)
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield Served(tmp_path)


def test_a_repository_is_found_by_its_notification(served: Served) -> None:
    uri = "https://mirror.test/lab/notification.xml"
    status, body = served.get("/lab/notification.xml")
    found = rrdp.notification([body], uri)
    assert (status, found.session, found.serial) == (200, SESSION, 1)
    status, snapshot = served.get(found.snapshot.uri.removeprefix("https://mirror.test"))
    assert (status, len(snapshot)) == (200, served.record.snapshot.octets)
    assert served.get("/lab/checkpoint") == (200, b"the note")
    assert served.get("/ta/lab.cer") == (200, b"certificate")


def test_at_an_origins_name_everything_is_at_that_name(served: Served) -> None:
    """RFC 9674: who follows the origin's notification must not be led to another host."""
    uri = "https://rrdp.lab.test/n/notification.xml"
    found = rrdp.notification([served.get("/n/notification.xml", "rrdp.lab.test")[1]], uri)
    status, snapshot = served.get(found.snapshot.uri.removeprefix("https://rrdp.lab.test"), "rrdp.lab.test")
    assert (status, len(snapshot)) == (200, served.record.snapshot.octets)
    assert served.get("/ta.cer", "rpki.lab.test") == (200, b"certificate")
    assert served.get("/n/notification.xml")[0] == 404, "under our own name that path is nothing"


@pytest.mark.parametrize(
    "path",
    [
        "/", "/lab", "/lab/", "/lab/record", "/lab/index", "/lab/current", "/lab/../../secret", "/lab/%2e%2e/secret", "//secret", "/secret",
        f"/lab/{SESSION}/1/unnamed.xml", f"/lab/{SESSION}/1/", "/lab/trees/x.xml", "/other/notification.xml", "/../published/lab/notification.xml",
        "/lab/notification.xml/", "*", "",
    ],
)  # fmt: skip
def test_nothing_else_can_be_had(served: Served, path: str) -> None:
    """Above all no file that is not whole yet."""
    assert served.get(path or "?")[0] == 404


def test_several_requests_on_one_connection_and_heads_without_bodies(served: Served) -> None:
    head = b"HEAD /lab/%s HTTP/1.1\r\nHost: mirror.test\r\n\r\n" % served.record.snapshot.path.encode()
    last = b"GET /lab/checkpoint HTTP/1.1\r\nHost: mirror.test\r\nConnection: close\r\n\r\n"
    answers = served.say(head, head, last)
    assert len(answers) == 3
    assert all(f"Content-Length: {served.record.snapshot.octets}".encode() in each for each in answers[:2])
    assert answers[2].endswith(b"the note")


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"POST /lab/notification.xml HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"405"),
        (b"GET /lab/notification.xml HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"400"),
        (b"GET /lab/notification.xml HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"DELETE / HTTP/1.0\r\n\r\n", b"405"),
        (b"\0\1\2\3\r\n\r\n", b"405"),
    ],
)
def test_what_is_no_reading_is_refused(served: Served, request_: bytes, status: bytes) -> None:
    (answer,) = served.say(request_)
    assert answer.split()[1] == status


def test_a_request_without_an_end_is_cut_off(served: Served) -> None:
    assert served.say(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000) == []


def test_who_holds_many_connections_takes_no_place_of_others(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow readers are let be for a while, so an address has so many places and no more."""
    monkeypatch.setattr(serving, "CONNECTIONS_PER_ADDRESS_MAX", 3)

    async def talk() -> list[bytes]:
        server = await serve(served.shelf, "127.0.0.1", 0, served.tls)
        port = server.sockets[0].getsockname()[1]

        async def opened(source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection(
                "127.0.0.1", port, ssl=served.trusts, server_hostname="mirror.test", local_addr=(source, 0)
            )

        async def first_line(source: str) -> bytes:
            with contextlib.suppress(OSError):
                reader, writer = await opened(source)
                writer.write(b"GET /tals/none HTTP/1.1\r\n\r\n")
                line = await asyncio.wait_for(reader.readline(), 20)
                writer.close()
                return line
            return b""

        held = [await opened("127.0.0.2") for _ in range(3)]
        answers = [await first_line("127.0.0.2"), await first_line("127.0.0.1")]
        held.pop()[1].close()
        until = asyncio.get_running_loop().time() + 20
        again = b""
        while not again and asyncio.get_running_loop().time() < until:
            again = await first_line("127.0.0.2")
        for _, writer in held:
            writer.close()
        server.close()
        return [*answers, again]

    assert [each[9:12] for each in asyncio.run(talk())] == [b"", b"404", b"404"]


def test_a_former_notification_can_still_be_followed(served: Served) -> None:
    former = served.record.snapshot.path
    served.publish({"rpki.lab.test/repo/a.roa": b"new"})
    assert served.get(f"/lab/{former}")[0] == 200
    served.publish({"rpki.lab.test/repo/a.roa": b"newer"})
    assert served.get(f"/lab/{former}")[0] == 404


def test_an_object_is_found_by_its_digest(served: Served) -> None:
    """RFC 6920: what is published and nothing else that the archive holds; what was withdrawn is gone."""

    def name(content: bytes) -> str:
        return f"/.well-known/ni/sha-256/{base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')}"

    assert served.get(name(b"a" * 1000)) == (200, b"a" * 1000)
    served.press.archive.keep(b"an order, of no repository")
    assert served.get(name(b"an order, of no repository"))[0] == 404
    served.publish({"rpki.lab.test/repo/b.roa": b"newer"})
    assert served.get(name(b"newer")) == (200, b"newer")
    assert served.get(name(b"a" * 1000))[0] == 404
    for bad in (
        name(b"newer") + "=",
        name(b"newer")[:-1],
        name(b"newer").replace("256", "256-128"),
        "/.well-known/ni/sha-256/../../secret",
    ):
        assert served.get(bad)[0] == 404
