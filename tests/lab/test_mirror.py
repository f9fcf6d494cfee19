"""The mirror between a real origin and real validators, over HTTPS and rsync, in a network namespace of its own.

There are two machines in it, as far as addresses go: the origin at 127.0.0.1, the mirror at 127.0.0.2. Which of them the origin's name leads to is said by the namespace's
/etc/hosts; whom TLS trusts, by its /etc/ssl. rpki-client 8.2 has no option for either.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from nnix.kernel.document import write
from nnix.planes.trust.payloads import Vrp
from tests.lab.exchange import frame, resource
from tests.rpki.deviations import deviating
from tests.rpki.origin import authority
from tests.rpki.tree import HOST, Anchor, Ca
from tests.rpki.tree import write as write_tree

pytestmark = pytest.mark.lab

NOTIFY = f"https://{HOST}/notification.xml"
MIRROR = "mirror.lab.test"
ORIGIN_AT, MIRROR_AT = "127.0.0.1", "127.0.0.2"
SOUND = ("sound", "ca-inherits", "unknown-extension", "policy-with-qualifier")


def notifying(root: Anchor) -> Anchor:
    """Every authority of it says where its RRDP is."""

    def told(ca: Ca) -> None:
        ca.notify = NOTIFY
        for child in ca.children:
            told(child)

    told(root.ca)
    return root


class World:
    """A namespace, an exchange with a mirror, and an origin that can be cut off."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.namespace = f"nnix-mirror-{os.getpid()}"
        self.etc = Path("/etc/netns") / self.namespace
        self.exchange, self.tree = folder / "exchange", folder / "tree"
        self.environment = {**os.environ, "NNIX_STATE": str(folder / "state"), "PYTHONPATH": os.pathsep.join(sys.path)}
        self.now, self.generation = datetime.now(UTC), 0
        self.origin: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        folder = self.folder
        folder.chmod(0o755)
        (self.etc / "ssl" / "certs").mkdir(parents=True)
        (folder / "tls").mkdir()
        ca, _, _ = authority(folder / "tls", HOST, MIRROR)
        shutil.copy(ca, self.etc / "ssl" / "certs" / "ca-certificates.crt")
        (self.etc / "ssl" / "cert.pem").symlink_to("certs/ca-certificates.crt")
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "lo", "up"], check=True)
        self.lead(ORIGIN_AT)
        root = self.publish(*SOUND)
        (self.exchange / "rpki").mkdir(parents=True)
        content = f"# lab, for tests\nhttps://{HOST}/ta/lab.cer\n".encode() + root.tal()
        (self.exchange / "rpki/lab.tal").write_bytes(content)
        shutil.copy(ca, self.exchange / "rpki/ca.pem")
        made = [
            resource("TrustAnchor", "lab", tal="rpki/lab.tal", drop_free=1000),
            resource("Repository", "lab", rrdp=NOTIFY, publishes=[f"rsync://{HOST}/repo/"], authorities="rpki/ca.pem"),
            resource("Mirror", "home", site="east", repositories=["lab"], anchors=["lab"], operator=MIRROR, uri=f"https://{MIRROR}",
                     rsync_uri=f"rsync://{MIRROR}", led_home=True),
            resource("RelyingParty", "national", site="east", anchors=["lab"], follows="home"),
        ]  # fmt: skip
        (self.exchange / "small.yaml").write_text(write([*frame(), *made]))

    def end(self) -> None:
        self.cut()
        subprocess.run(["ip", "netns", "del", self.namespace], check=False)
        shutil.rmtree(self.etc, ignore_errors=True)

    def lead(self, origin_at: str) -> None:
        (self.etc / "hosts").write_text(f"127.0.0.1 localhost\n{origin_at} {HOST}\n{MIRROR_AT} {MIRROR}\n")

    def publish(self, *names: str) -> Anchor:
        root = notifying(deviating(*names))
        self.generation += 1
        root.ca.manifest.number = self.generation
        root.ca.manifest.since += timedelta(
            seconds=self.generation
        )  # rpki-client 9.5 takes no manifest that is not issued later (RFC 9286, 4.2.1)
        shutil.rmtree(self.tree, ignore_errors=True)
        write_tree(root.files(self.now), self.tree)
        if self.origin is not None:
            assert self.origin.stdin is not None and self.origin.stdout is not None
            self.origin.stdin.write("again\n")
            self.origin.stdin.flush()
            assert int(self.origin.stdout.readline()) > 1
        return root

    def open(self) -> None:
        """The origin is there."""
        argv = self.inside(sys.executable, "-m", "tests.rpki.origin", str(self.folder / "tls"), HOST, ORIGIN_AT, str(self.tree))
        self.origin = subprocess.Popen(argv, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.origin.stdout is not None
        assert self.origin.stdout.readline().strip() == "1"

    def cut(self) -> None:
        """The origin is gone."""
        if self.origin is not None:
            self.origin.kill()
            self.origin.wait(10)
            self.origin = None

    def inside(self, *argv: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *argv]

    def nnix(self, *words: str, status: int = 0) -> Any:
        argv = self.inside(sys.executable, "-c", "from nnix.cli import main; main()", "trust", *words)
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout) if "--json" in words else done.stdout

    def fetch(self, status: int = 0) -> Any:
        return self.nnix("mirror", "fetch", str(self.exchange), "--json", status=status)["repositories"]

    @contextmanager
    def serving(self, *, rsync: bool) -> Iterator[None]:
        """The mirror serves by HTTPS at its address, and by rsync, too."""
        tls = self.folder / "tls"
        words = ["--listen", MIRROR_AT, "--certificate", str(tls / "server.pem"), "--key", str(tls / "server.key")]
        words += ["--rsync-port", "873"] if rsync else []
        argv = self.inside(
            sys.executable, "-c", "from nnix.cli import main; main()", "trust", "mirror", "serve", str(self.exchange), *words
        )
        server = subprocess.Popen(argv, env=self.environment, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            assert "is served" in server.stdout.readline()
            until = time.monotonic() + 120
            while rsync and subprocess.run(self.inside("rsync", f"rsync://{MIRROR}/"), capture_output=True, check=False).returncode:
                assert time.monotonic() < until
            yield
        finally:
            server.terminate()
            assert server.wait(120) == 0

    def tal(self) -> Path:
        self.nnix("mirror", "tals", str(self.exchange), "-o", str(self.folder / "tals"))
        return self.folder / "tals" / "lab.tal"

    def rpki_client(self, name: str, tal: Path, *words: str) -> set[Vrp]:
        """What rpki-client concludes from a fresh cache, fetching by itself."""
        place = self.folder / name
        for each in ("cache", "out"):
            (place / each).mkdir(parents=True, exist_ok=True)
            shutil.chown(place / each, "_rpki-client")
        place.chmod(0o755)
        argv = self.inside("rpki-client", *words, "-t", str(tal), "-d", str(place / "cache"), "-j", str(place / "out"))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=400, check=False)
        (place / "log").write_text(done.stderr)
        assert (place / "out/json").exists(), done.stderr
        found = json.loads((place / "out/json").read_text())["roas"]
        return {Vrp(ip_network(each["prefix"]), each["maxLength"], each["asn"]) for each in found}

    def fort(self, name: str, tal: Path, *words: str) -> set[Vrp]:
        """What FORT concludes from a fresh cache, fetching by itself."""
        place = self.folder / name
        (place / "cache").mkdir(parents=True)
        argv = self.inside("fort", "--mode=standalone", f"--tal={tal}", f"--local-repository={place}/cache", f"--output.roa={place}/roas",
                           "--output.format=csv", "--log.output=console", *words)  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, timeout=400, check=False)
        (place / "log").write_text(done.stdout + done.stderr)
        rows = [line.split(",") for line in (place / "roas").read_text().splitlines()[1:]]
        return {Vrp(ip_network(prefix), int(longest), int(asn.removeprefix("AS"))) for asn, prefix, longest in rows}


@pytest.fixture
def world() -> Iterator[World]:
    made = World(Path(tempfile.mkdtemp(prefix="nnix-mirror-")))  # not below pytest's folder, which validators' users cannot enter
    try:
        made.begin()
        yield made
    finally:
        made.end()
        shutil.rmtree(made.folder)


def test_with_all_origins_down_the_mirror_gives_the_same_set(world: World) -> None:
    """rpki-client and FORT, each from a fresh cache: first from the origin, then, with the origin dead, from the mirror, by RRDP and by rsync.
    The gate, too: what it served of the mirror while the origin was there is what it serves after."""
    world.open()
    plain = world.exchange / "rpki/lab.tal"
    before = world.rpki_client("client-origin", plain)
    assert len(before) == 16
    assert world.fort("fort-origin", plain) == before
    first = world.fetch()
    assert {name: each["standing"] for name, each in first.items()} == {"lab": "fresh", "anchors": "fresh"}
    at_home = world.nnix("validate", str(world.exchange), "--json")
    assert at_home["vrps"] == len(before)
    world.cut()
    held = world.fetch(status=3)
    assert held["lab"]["standing"] == "held"
    assert held["lab"]["published"] == first["lab"]["published"]
    world.lead(MIRROR_AT)
    ours = world.tal()
    with world.serving(rsync=False):
        assert ours.read_text().startswith(
            f"# lab, for tests\nhttps://{MIRROR}/ta/lab.cer\nrsync://{MIRROR}/anchors/{HOST}/ta/lab.cer\nhttps://{HOST}/"
        )
        assert world.rpki_client("client-rrdp", ours) == before
        assert world.fort("fort-rrdp", ours, "--rsync.enabled=false") == before
        into, ca = world.folder / "relayed", str(world.exchange / "rpki/ca.pem")
        for asked_least in (10, 2):  # the second time the index and the partitions alone
            told = world.nnix("mirror", "erik", f"https://{MIRROR}", HOST, str(into), "--authorities", ca, "--json")
            assert told["asked"] >= asked_least
        assert told["asked"] < 10
        relayed = {path.relative_to(into) for path in into.rglob("*") if path.is_file()}
        assert relayed == {path.relative_to(world.tree) for path in (world.tree / HOST / "repo").rglob("*") if path.is_file()}
        assert all((into / path).read_bytes() == (world.tree / path).read_bytes() for path in relayed)
    with world.serving(rsync=True):
        assert world.rpki_client("client-rsync", ours, "-R") == before
        assert world.fort("fort-rsync", ours, "--http.enabled=false") == before
    again = world.nnix("validate", str(world.exchange), "--json")
    assert again["digest"] == at_home["digest"]


def test_a_validator_goes_along_by_our_deltas(world: World) -> None:
    """Two authorities leave at the origin. Through the mirror rpki-client, with its cache, comes to the same; and it was sent no second snapshot."""
    world.open()
    world.fetch()
    ours = world.tal()
    world.lead(MIRROR_AT)
    with world.serving(rsync=False):
        before = world.rpki_client("client", ours)
        world.lead(ORIGIN_AT)
        world.publish(*SOUND[:2])
        found = world.fetch()["lab"]
        assert found["how"] == "deltas from serial 1 to 2"
        assert found["published"]["serial"] == 2
        world.lead(MIRROR_AT)
        shutil.rmtree(world.folder / "client/out")
        after = world.rpki_client("client", ours, "-v")
        assert after < before
        assert len(after) == 8
        log = (world.folder / "client/log").read_text()
        assert "downloading 1 deltas" in log
