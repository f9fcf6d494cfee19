"""Following an origin over real HTTPS: by deltas where they lead there, by the snapshot where they do not, and nowhere when the origin is hostile."""

from __future__ import annotations

import errno
import gzip
import hashlib
import itertools
import os
import shutil
import socket
import subprocess
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from nnix.planes.trust.archive import Archive
from nnix.planes.trust.mirror import https
from nnix.planes.trust.mirror.following import Followed, Follower, Kept, Source, Standing
from nnix.planes.trust.mirror.https import Web, trusting
from nnix.planes.trust.mirror.reasons import Reason
from tests.rpki.killed import killed_at
from tests.rpki.origin import Origin, authority, origin, published, spelled

NOW = datetime(2026, 11, 26, tzinfo=UTC)
HOST = "rpki.lab.test/repo"
ONE = {f"{HOST}/{name}": name.encode() * 100 for name in ("a.roa", "b.roa", "ca/c.mft")}
TWO = {**ONE, f"{HOST}/a.roa": b"another", f"{HOST}/d.cer": b"new"}
THREE = {path: content for path, content in TWO.items() if not path.endswith("b.roa")}


class Relying:
    """One that follows one origin."""

    def __init__(self, folder: Path, at: Origin, ca: Path) -> None:
        self.archive = Archive(folder / "archive")
        self.kept = Kept(folder / "kept")
        self.follower = Follower(Web(trusting(ca)), self.archive, self.kept, folder / "work")
        self.origin = at
        self.rsync: tuple[str, ...] = ()
        self.places: tuple[str, ...] = (f"{HOST}/",)
        self.seconds_max = 20.0
        self.octets_max = 1_000_000

    def follow(self) -> Followed:
        source = Source("lab", self.origin.uri, self.rsync, self.places, self.octets_max, 100, self.seconds_max)
        return self.follower.follow(source, NOW)

    @property
    def files(self) -> dict[str, bytes]:
        state = self.kept.read("lab")
        return {path: self.archive.get(digest) for path, digest in self.kept.objects("lab", state).items()} if state else {}


@pytest.fixture
def relying(tmp_path: Path) -> Iterator[Relying]:
    (tmp_path / "tls").mkdir()
    with origin(tmp_path / "tls") as (at, ca):
        yield Relying(tmp_path, at, ca)


def test_a_snapshot_first_then_deltas_then_nothing(relying: Relying) -> None:
    relying.origin.begin(ONE)
    first = relying.follow()
    assert (first.standing, first.findings) == (Standing.FRESH, ())
    assert relying.files == ONE
    relying.origin.publish(TWO)
    relying.origin.publish(THREE)
    relying.origin.asked.clear()
    second = relying.follow()
    assert second.how == "deltas from serial 1 to 3"
    assert not any("snapshot" in each for each in relying.origin.asked)
    assert relying.files == THREE
    assert relying.follow().standing is Standing.UNCHANGED


def test_a_session_that_came_apart_is_taken_from_the_snapshot(relying: Relying) -> None:
    """A new session; a delta that is another one than it was (RFC 9697); deltas that begin too late; another snapshot for one serial."""
    relying.origin.begin(ONE)
    relying.follow()
    relying.origin.begin(TWO)
    assert "another session" in relying.follow().how
    assert relying.files == TWO
    relying.origin.publish(THREE)
    relying.follow()
    relying.origin.delta(2, published(f"{HOST}/z.roa", b"z"))
    relying.origin.publish(ONE)
    assert "come apart" in relying.follow().how
    assert relying.files == ONE
    for files in (TWO, THREE):
        relying.origin.publish(files)
    relying.origin.deltas = {relying.origin.serial: relying.origin.deltas[relying.origin.serial]}
    relying.origin.publish(THREE)
    assert "no delta from serial 3" in relying.follow().how
    relying.origin.snapshot("".join(published(path, content) for path, content in TWO.items()))
    assert "another snapshot" in relying.follow().how
    assert relying.files == TWO


WRONG_DELTAS: dict[str, tuple[Callable[[Origin], None], Reason]] = {
    "withdraws what it does not know": (
        lambda o: o.delta(2, f'<withdraw uri="rsync://{HOST}/a.roa" hash="{"0" * 64}"/>'), Reason.OBJECT_HASH,
    ),
    "replaces another object": (lambda o: o.delta(2, published(f"{HOST}/a.roa", b"another", b"never was")), Reason.OBJECT_HASH),
    "publishes what is there": (lambda o: o.delta(2, published(f"{HOST}/a.roa", b"another")), Reason.THERE),
    "is of another serial": (lambda o: o._delta(2, spelled("delta", o.session, 3, "")), Reason.SERIAL),
    "is not to be had": (lambda o: o.forget(f"/{o.session}/2/delta.xml"), Reason.STATUS),
    "is not what was promised": (lambda o: o.answers.update({f"/{o.session}/2/delta.xml": b"<delta/>"}), Reason.HASH),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_DELTAS)
def test_a_wrong_delta_is_named_and_the_snapshot_taken(relying: Relying, name: str) -> None:
    spoil, reason = WRONG_DELTAS[name]
    relying.origin.begin(ONE)
    relying.follow()
    relying.origin.publish(TWO)
    spoil(relying.origin)
    relying.origin.snapshot("".join(published(path, content) for path, content in TWO.items()))
    if reason in (Reason.STATUS, Reason.HASH):
        spoil(relying.origin)
    done = relying.follow()
    assert "a delta was rejected" in done.how
    assert [each.split(":")[0] for each in done.findings] == [reason]
    assert relying.files == TWO


def _bomb(handler: BaseHTTPRequestHandler) -> None:
    """Forty megabytes in forty kilobytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(40)) + packer.flush()
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _packed(body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65536)


def _before_zero(handler: BaseHTTPRequestHandler) -> None:
    """A chunk of -1 octets, which does not end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
    handler.close_connection = True
    for _ in range(160):
        handler.wfile.write(b" " * (1 << 20))


def _cut(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"<notification")
    handler.close_connection = True


def _to(location: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def _said(*fields: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in zip(fields[::2], fields[1::2], strict=True):
            handler.send_header(name, value)
        handler.send_header("Connection", "close")
        handler.end_headers()

    return answer


NOTE = "/notification.xml"
HOSTILE: dict[str, tuple[Callable[[Origin], None], Reason]] = {
    "a bomb in gzip": (lambda o: o.answers.update({NOTE: _bomb}), Reason.TOO_LARGE),
    "gzip that is none": (lambda o: o.answers.update({NOTE: _packed(b"hello")}), Reason.ENCODING),
    "gzip that is cut off": (lambda o: o.answers.update({NOTE: _packed(gzip.compress(bytes(100_000))[:-9])}), Reason.ENCODING),
    "something behind the gzip": (lambda o: o.answers.update({NOTE: _packed(gzip.compress(b"x") * 2)}), Reason.ENCODING),
    "a body without an end": (lambda o: o.answers.update({NOTE: _endless}), Reason.TOO_LARGE),
    "a chunk of less than nothing": (lambda o: o.answers.update({NOTE: _before_zero}), Reason.TOO_LARGE),
    "a body that is cut off": (lambda o: o.answers.update({NOTE: _cut}), Reason.UNREACHABLE),
    "a way to another host": (lambda o: o.answers.update({NOTE: _to("https://rrdp.evil.test/n.xml")}), Reason.REDIRECTED),
    "a way to plain HTTP": (lambda o: o.answers.update({NOTE: _to(o.base.replace("https", "http") + "/n.xml")}), Reason.REDIRECTED),
    "a way to a file": (lambda o: o.answers.update({NOTE: _to("file:///etc/passwd")}), Reason.REDIRECTED),
    "a way to brackets": (lambda o: o.answers.update({NOTE: _to("//[x")}), Reason.REDIRECTED),
    "a way in a circle": (lambda o: o.answers.update({NOTE: _to(NOTE)}), Reason.REDIRECTED),
    "a way to another port": (lambda o: o.answers.update({NOTE: _to("https://localhost:1/n.xml")}), Reason.REDIRECTED),
    "a length in other digits": (lambda o: o.answers.update({NOTE: _said("Content-Length", "\u00b2")}), Reason.UNREACHABLE),
    "a length of five thousand digits": (lambda o: o.answers.update({NOTE: _said("Content-Length", "9" * 5000)}), Reason.UNREACHABLE),
    "a thousand lines of a head": (lambda o: o.answers.update({NOTE: _said(*["X", "x"] * 1000)}), Reason.UNREACHABLE),
    "a way to nowhere": (lambda o: o.answers.update({NOTE: _to("")}), Reason.REDIRECTED),
    "an error": (lambda o: o.forget(NOTE), Reason.STATUS),
    "an entity bomb": (lambda o: o.answers.update({NOTE: b'<!DOCTYPE n [<!ENTITY a "b">]><n>&a;</n>'}), Reason.DOCTYPE),
    "a snapshot of another hash": (lambda o: o.answers.update({f"/{o.session}/{o.serial}/snapshot.xml": b"<snapshot/>"}), Reason.HASH),
    "a snapshot of others' objects": (lambda o: o.snapshot(published("rpki.evil.test/repo/a.roa", b"x")), Reason.OUTSIDE),
    "an object twice": (lambda o: o.snapshot(published(f"{HOST}/a.roa", b"x") * 2), Reason.TWICE),
    "an object that is a folder": (lambda o: o.snapshot(published(f"{HOST}/a", b"x") + published(f"{HOST}/a/b", b"x")), Reason.CLASH),
    "a snapshot too large": (lambda o: o.snapshot(published(f"{HOST}/a.roa", bytes(900_000))), Reason.TOO_LARGE),
    "too many objects": (lambda o: o.snapshot("".join(published(f"{HOST}/{n}.roa", b"x") for n in range(101))), Reason.TOO_MANY),
    "an empty repository": (lambda o: o.snapshot(""), Reason.EMPTY),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_the_last_good_state_is_held_against_a_hostile_origin(relying: Relying, name: str) -> None:
    """Whatever it does, under a new session so that all of it must be fetched: it is named, and what was held is held."""
    relying.origin.begin(ONE)
    relying.follow()
    before = relying.kept.read("lab")
    relying.origin.begin(TWO)
    spoil, reason = HOSTILE[name]
    spoil(relying.origin)
    done = relying.follow()
    assert (done.standing, done.state) == (Standing.HELD, before)
    assert [each.split(":")[0] for each in done.findings] == [reason]
    assert relying.files == ONE


def test_a_body_that_does_not_end_is_not_collected(relying: Relying) -> None:
    """160 MB are sent, and less than 40 MB are there at any time: what is refused for its size is not kept until it is."""
    relying.origin.begin(ONE)
    relying.origin.answers[NOTE] = _before_zero
    tracemalloc.start()
    relying.follow()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40 << 20


def test_a_serial_as_high_as_can_be_is_followed_by_the_snapshot(relying: Relying) -> None:
    relying.origin.begin(ONE)
    relying.follow()
    relying.origin.serial = 10**30
    relying.origin.snapshot(published(f"{HOST}/a.roa", b"x"))
    assert relying.follow().how == f"snapshot of serial {10**30}: no delta from serial 1"


def test_what_a_stranger_wrote_is_cut(relying: Relying) -> None:
    relying.origin.answers[NOTE] = lambda handler: (handler.wfile.write(b"all is well" + b"!" * 9000 + b"\r\n\r\n"), None)[1]
    (words,) = relying.follow().findings
    assert len(words) < 2200


def test_a_serial_that_went_back_is_held_against(relying: Relying) -> None:
    relying.origin.begin(ONE)
    relying.origin.publish(TWO)
    relying.follow()
    relying.origin.serial = 1
    relying.origin.deltas.clear()
    relying.origin.snapshot("".join(published(path, content) for path, content in ONE.items()))
    done = relying.follow()
    assert done.findings[0].startswith("serial-went-back: serial 1 after 2")
    assert relying.files == TWO


def test_a_redirection_at_one_origin_is_followed(relying: Relying) -> None:
    relying.origin.begin(ONE)
    relying.origin.answers["/elsewhere.xml"] = relying.origin.answers[NOTE]
    relying.origin.answers[NOTE] = _to("/elsewhere.xml")
    assert relying.follow().standing is Standing.FRESH


def test_packed_files_are_unpacked_and_hashed_as_unpacked(relying: Relying) -> None:
    relying.origin.begin(ONE)
    for path, answer in list(relying.origin.answers.items()):
        assert isinstance(answer, bytes)
        relying.origin.answers[path] = _packed(gzip.compress(answer))
    assert relying.follow().standing is Standing.FRESH
    assert relying.files == ONE


def test_what_did_not_change_is_not_sent_again(relying: Relying) -> None:
    relying.origin.begin(ONE)
    body = relying.origin.answers[NOTE]
    assert isinstance(body, bytes)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        known = handler.headers["If-None-Match"] == '"7"'
        handler.send_response(304 if known else 200)
        handler.send_header("ETag", '"7"')
        handler.send_header("Content-Length", "0" if known else str(len(body)))
        handler.end_headers()
        handler.wfile.write(b"" if known else body)

    relying.origin.answers[NOTE] = answer
    assert relying.follow().octets > 0
    again = relying.follow()
    assert (again.standing, again.octets) == (Standing.UNCHANGED, 0)


@pytest.mark.parametrize("pause", ["before the head", "in the head", "in the body"])
def test_a_slow_server_ends_with_the_time_that_it_has(relying: Relying, pause: str) -> None:
    """A letter every tenth of a second would keep any limit for a single read alive for ever."""
    relying.origin.begin(ONE)
    relying.follow()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if pause == "in the body":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
        elif pause == "in the head":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(100):
            time.sleep(0.1)
            if pause != "before the head":
                handler.wfile.write(b"x")
                handler.wfile.flush()

    relying.origin.answers[NOTE] = answer
    relying.seconds_max = 0.7
    began = time.monotonic()
    done = relying.follow()
    assert time.monotonic() - began < 4
    assert done.standing is Standing.HELD
    assert done.findings[0].startswith("slow:")


def test_a_host_of_many_addresses_has_no_more_time_than_one_of_one(relying: Relying, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first of them nobody takes the connection; the second sends a letter now and then, when the time is already over."""
    relying.origin.begin(ONE)

    def drips(handler: BaseHTTPRequestHandler) -> None:
        for _ in range(100):
            time.sleep(0.1)
            handler.wfile.write(b"x")

    relying.origin.answers[NOTE] = drips
    with socket.socket() as deaf, socket.socket() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting.connect(deaf.getsockname())  # takes the one place there is; whoever comes now is not answered
        port = int(relying.origin.base.rpartition(":")[2])
        each = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(*each, deaf.getsockname()), (*each, ("127.0.0.1", port))])
        relying.seconds_max = 0.7
        began = time.monotonic()
        done = relying.follow()
    assert time.monotonic() - began < 4
    assert done.findings[0].startswith("slow:")


def test_a_certificate_of_nobody_is_not_spoken_to(relying: Relying, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    relying.origin.begin(ONE)
    with origin(tmp_path / "other") as (_, other_ca):
        relying.follower = Follower(Web(trusting(other_ca)), relying.archive, relying.kept, tmp_path / "work")
        done = relying.follow()
    assert done.standing is Standing.LOST
    assert done.findings[0].startswith("unreachable:")


@pytest.mark.parametrize(("name", "days"), [("elsewhere.lab.test", 30), ("localhost", -0.5)], ids=["another-name", "expired"])
def test_a_certificate_of_another_name_or_time_is_not_spoken_to(tmp_path: Path, name: str, days: float) -> None:
    authority(tmp_path, name, days=days)
    with origin(tmp_path) as (at, ca):
        at.begin(ONE)
        done = Relying(tmp_path, at, ca).follow()
    assert done.standing is Standing.LOST
    assert done.findings[0].startswith("unreachable:")
    assert "certificate verify failed" in done.findings[0]
    assert at.asked == []


def test_a_state_that_was_damaged_is_fetched_anew(relying: Relying) -> None:
    relying.origin.begin(ONE)
    relying.follow()
    (relying.kept.folder / "lab" / "state").write_text('{"by": ')
    assert relying.follow().how.startswith("snapshot")
    assert relying.files == ONE


@pytest.fixture
def rsyncd(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real rsync daemon with the module `repo` on a port of its own: (host:port, folder)."""
    if shutil.which("rsync") is None:
        pytest.skip("needs the program rsync")
    folder = tmp_path / "module"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = tmp_path / "rsyncd.conf"
    config.write_text(f"use chroot = no\nreverse lookup = no\nread only = yes\nlog file = {tmp_path}/rsyncd.log\n[repo]\npath = {folder}\n")
    argv = ["rsync", "--daemon", "--no-detach", f"--config={config}", "--address=127.0.0.1", f"--port={port}"]
    daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert daemon.poll() is None
        yield f"localhost:{port}", folder
    finally:
        daemon.terminate()
        daemon.wait(10)


@pytest.fixture
def bury(tmp_path: Path) -> Iterator[Callable[[Path, str, int], None]]:
    """Puts a file so deep below a folder that from the root on its path is longer than any path may be; and what clears that away, which Python cannot."""

    def buried(folder: Path, name: str, deep: int) -> None:
        here = os.open(folder, os.O_RDONLY)
        for _ in range(deep):
            os.mkdir(name, dir_fd=here)
            here, above = os.open(name, os.O_RDONLY, dir_fd=here), here
            os.close(above)
        os.close(os.open("deep.cer", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)

    yield buried
    subprocess.run(["rm", "-rf", str(tmp_path)], check=False)


def test_rsync_stands_in_where_rrdp_is_rejected(relying: Relying, rsyncd: tuple[str, Path], bury: Callable[[Path, str, int], None]) -> None:
    """Plain files with proper names, and nothing else; and RRDP again, from its snapshot, when it is back."""
    host, folder = rsyncd
    (folder / "ca").mkdir()
    (folder / "a.roa").write_bytes(b"by rsync")
    (folder / "ca" / "b.mft").write_bytes(b"too")
    (folder / "link.roa").symlink_to("/etc/passwd")
    (folder / "bad name.roa").write_bytes(b"x")
    (folder / "large.roa").write_bytes(bytes(5_000_000))
    bury(folder, "d" * 250, 16)
    relying.origin.begin(ONE)
    relying.follow()
    whole = relying.origin.answers[NOTE]
    relying.origin.answers[NOTE] = b"<html/>"
    relying.rsync, relying.places = (f"rsync://{host}/repo/",), (f"{HOST}/", f"{host}/repo/")
    followed = relying.follow()
    assert (followed.standing, followed.how) == (Standing.FRESH, "rsync")
    assert relying.files == {f"{host}/repo/a.roa": b"by rsync", f"{host}/repo/ca/b.mft": b"too"}
    assert [each.split(":")[0] for each in followed.findings] == ["not-by-schema", "bad-uri"]
    relying.origin.answers[NOTE] = whole
    assert relying.follow().how.startswith("snapshot")
    assert relying.files == ONE


def test_our_own_full_disk_is_no_fault_of_the_server(relying: Relying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is rejected and nothing is tried by rsync; what was held is in force."""
    relying.origin.begin(ONE)
    relying.follow()
    relying.origin.publish(TWO)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(https, "_written", full)
        with pytest.raises(OSError, match="No space left"):
            relying.follow()
    assert relying.files == ONE
    assert relying.follow().standing is Standing.FRESH


def test_by_rsync_a_file_becomes_a_folder_and_a_folder_a_file(relying: Relying, rsyncd: tuple[str, Path]) -> None:
    """Between two fetches, in the folder where the first one still lies."""
    host, folder = rsyncd
    (folder / "b.roa").mkdir()
    (folder / "b.roa/inner.roa").write_bytes(b"inner")
    (folder / "a.roa").write_bytes(b"file")
    relying.rsync, relying.places = (f"rsync://{host}/repo/",), (f"{host}/repo/",)
    relying.origin.answers[NOTE] = b"<html/>"
    relying.follow()
    assert relying.files == {f"{host}/repo/b.roa/inner.roa": b"inner", f"{host}/repo/a.roa": b"file"}
    shutil.rmtree(folder / "b.roa")
    (folder / "a.roa").unlink()
    (folder / "b.roa").write_bytes(b"file")
    (folder / "a.roa").mkdir()
    (folder / "a.roa/inner.roa").write_bytes(b"inner")
    assert relying.follow().how == "rsync"
    assert relying.files == {f"{host}/repo/a.roa/inner.roa": b"inner", f"{host}/repo/b.roa": b"file"}


def test_a_dead_rsync_server_leaves_the_last_good_state(relying: Relying) -> None:
    relying.origin.begin(ONE)
    relying.follow()
    relying.origin.answers[NOTE] = b""
    relying.rsync = ("rsync://localhost:1/repo/",)
    done = relying.follow()
    assert done.standing is Standing.HELD
    assert [each.split(":")[0] for each in done.findings] == ["not-xml", "rsync-failed"]
    assert relying.files == ONE


def test_a_fetch_that_is_killed_at_any_moment_leaves_a_whole_state(relying: Relying) -> None:
    """SIGKILL before each touch of the file system, while deltas and while a snapshot are taken: the old or the new, and every object of it whole."""
    ways = {"snapshot": 0, "deltas": 0}
    for way in ways:
        for number in itertools.count(1):
            one, two = ({f"{HOST}/{name}": f"{way} {number} {name} {age}".encode() for name in "a"} for age in (1, 2))
            if way == "deltas":
                relying.origin.begin(one)
                relying.follow()
                relying.origin.publish(two)
            else:
                relying.origin.begin(two)
            before = relying.files
            ended = not killed_at(number, relying.follow)
            assert relying.files in (before, two)
            relying.follow()
            assert relying.files == two
            if ended:
                break
            ways[way] += 1
    assert min(ways.values()) > 10, ways


def test_every_object_is_kept_once(relying: Relying) -> None:
    relying.origin.begin({f"{HOST}/{n}.roa": b"the same" for n in range(50)})
    relying.follow()
    kept = [each for each in (relying.archive.folder / "objects").rglob("*") if each.is_file()]
    assert [each.parent.name + each.name for each in kept] == [hashlib.sha256(b"the same").hexdigest()]
