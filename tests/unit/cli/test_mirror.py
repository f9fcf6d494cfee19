"""nnix trust mirror, as two operators use it who mirror the same origin: what each says of it, and what comes out when it lies to one of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nnix.cli.command import whole_cli
from nnix.kernel.document import write
from nnix.planes.trust import tal
from tests.lab.exchange import frame, resource
from tests.rpki.origin import Origin, origin, published
from tests.rpki.tree import anchor

PLACE = "rpki.lab.test/repo"
ONE = {f"{PLACE}/a.roa": b"a", f"{PLACE}/b.roa": b"b"}
TWO = {f"{PLACE}/a.roa": b"another", f"{PLACE}/c.roa": b"c"}


class Operator:
    """One with a mirror of `at`, in an exchange and a state folder of its own."""

    def __init__(self, folder: Path, name: str, at: Origin, ca: Path) -> None:
        self.name, self.folder, self.state, self.at = name, folder / name / "exchange", folder / name / "state", at
        (self.folder / "rpki").mkdir(parents=True)
        shutil.copy(ca, self.folder / "rpki/ca.pem")
        root = anchor("lab")
        at.answers["/lab.cer"] = next(iter(root.files(datetime.now(UTC)).values()))
        (self.folder / "rpki/lab.tal").write_bytes(f"# a comment\n{at.base}/lab.cer\n".encode() + root.tal())
        self.declare()

    def declare(self, *cosigners: str) -> None:
        made = [
            resource("TrustAnchor", "lab", tal="rpki/lab.tal"),
            resource("Repository", "lab", rrdp=self.at.uri, publishes=[f"rsync://{PLACE}/"], authorities="rpki/ca.pem"),
            resource("Mirror", "home", site="east", repositories=["lab"], anchors=["lab"], operator=self.name, uri=f"https://{self.name}",
                     rsync_uri=f"rsync://{self.name}", tal_uris="behind", cosigners=list(cosigners)),
        ]  # fmt: skip
        (self.folder / "small.yaml").write_text(write([*frame(), *made]))

    def __call__(self, word: str, *words: str, status: int = 0) -> str:
        place = [] if word == "verify" else [str(self.folder)]
        done = CliRunner().invoke(whole_cli(), ["--state", str(self.state), "trust", "mirror", word, *place, *words], standalone_mode=False)
        if done.exception is not None:
            assert status, repr(done.exception)
            return str(getattr(done.exception, "message", done.exception))
        assert done.return_value == status, done.output
        return done.output

    def fetch(self, status: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("fetch", "--json", status=status))
        return found

    def key(self) -> str:
        return self("key").strip()

    def checkpoint(self, file: Path) -> Path:
        record = self.state / "trust/mirror/home/published/lab/record"
        file.write_text(json.loads(record.read_text())["note"])
        return file

    def verify(self, file: Path, *keys: str, quorum: int = 1, status: int = 0) -> dict[str, Any]:
        words = [word for each in keys for word in ("--key", each)]
        (found,) = json.loads(self("verify", str(file), *words, "--quorum", str(quorum), "--json", status=status))
        return dict(found)


@pytest.fixture
def operators(tmp_path: Path) -> Iterator[tuple[Operator, Operator]]:
    (tmp_path / "tls").mkdir()
    with origin(tmp_path / "tls") as (at, ca):
        at.begin(ONE)
        yield Operator(tmp_path, "rpki.a.test", at, ca), Operator(tmp_path, "rpki.b.test", at, ca)


def test_one_mirror_publishes_and_the_other_says_the_same(operators: tuple[Operator, Operator], tmp_path: Path) -> None:
    a, b = operators
    first = a.fetch()
    assert (first["repositories"]["lab"]["published"]["serial"], first["repositories"]["anchors"]["published"]["objects"]) == (1, 1)
    note = a.checkpoint(tmp_path / "note")
    assert "has published it" in b("cosign", str(note), "--repository", "lab", status=1)
    b.declare(a.key())
    assert "nothing of that origin is mirrored here" in b("cosign", str(note), "--repository", "lab", status=1)
    b.fetch()
    b.at.publish(TWO)
    b.fetch()
    both = tmp_path / "both"
    b("cosign", str(note), "--repository", "lab", "-o", str(both))
    found = b.verify(both, a.key(), b.key(), quorum=2)
    assert (found["verdict"], [each["name"] for each in found["signed"]]) == ("fresh", ["rpki.a.test", "rpki.b.test"])
    assert b.verify(note, a.key(), b.key(), quorum=2, status=1)["verdict"] == "unsigned"
    assert b.verify(note, b.key(), status=1)["verdict"] == "unsigned"
    note.write_bytes(note.read_bytes().replace(b"serial 1\n", b"serial 2\n"))
    assert b.verify(note, a.key(), status=1)["verdict"] == "malformed"


def test_an_origin_that_tells_each_of_them_something_else_is_found_out(operators: tuple[Operator, Operator], tmp_path: Path) -> None:
    """One session, one serial, two trees. Neither mirror can know; together they do."""
    a, b = operators
    a.fetch()
    a.at.snapshot(published(f"{PLACE}/a.roa", b"forged"))
    b.fetch()
    b.declare(a.key())
    note = a.checkpoint(tmp_path / "note")
    assert "a fork" in b("cosign", str(note), "--repository", "lab", status=1)
    assert b.verify(b.checkpoint(tmp_path / "own"), b.key())["verdict"] == "fresh"
    assert b.verify(note, a.key(), status=1)["verdict"] == "fork"


def test_an_old_checkpoint_is_a_replay(operators: tuple[Operator, Operator], tmp_path: Path) -> None:
    a, b = operators
    a.fetch()
    old = a.checkpoint(tmp_path / "old")
    a.at.publish(TWO)
    a.fetch()
    new = a.checkpoint(tmp_path / "new")
    assert b.verify(new, a.key())["verdict"] == "fresh"
    assert b.verify(old, a.key(), status=1)["verdict"] == "replay"
    assert b.verify(new, a.key())["verdict"] == "again"


def test_what_is_held_is_told_and_goes_on_being_published(operators: tuple[Operator, Operator]) -> None:
    a, _ = operators
    first = a.fetch()["repositories"]["lab"]["published"]
    a.at.answers["/notification.xml"] = b"<!DOCTYPE x><x/>"
    held = a.fetch(status=3)["repositories"]["lab"]
    assert (held["standing"], held["published"]) == ("held", first)
    assert held["findings"][0].startswith("doctype:")
    status = json.loads(a("status", "--json"))["repositories"]["lab"]
    assert (status["serial"], status["objects"], status["origin_serial"]) == (1, 2, 1)


def test_an_object_that_was_lost_at_home_is_fetched_again(operators: tuple[Operator, Operator]) -> None:
    """The archive is damaged: nothing of it is published as if it were whole, and the next round brings it back."""
    a, _ = operators
    a.fetch()
    for each in (a.state / "trust/objects").rglob("*"):
        if each.is_file():
            each.unlink()
    a.at.publish({**ONE, f"{PLACE}/c.roa": b"c"})
    found = a.fetch(status=3)["repositories"]["lab"]
    assert "not published" in found["findings"][0]
    again = a.fetch()["repositories"]["lab"]
    assert again["how"].startswith("snapshot")
    assert again["published"]["objects"] == 3


def test_tals_are_handed_out_with_our_uris(operators: tuple[Operator, Operator], tmp_path: Path) -> None:
    a, _ = operators
    a("tals", "-o", str(tmp_path / "out"))
    made, given = (tmp_path / "out/lab.tal").read_text(), (a.folder / "rpki/lab.tal").read_text()
    ours = "https://rpki.a.test/ta/lab.cer\nrsync://rpki.a.test/anchors/rpki.lab.test/ta/lab.cer\n"
    assert made == given.replace("lab.cer\n\n", f"lab.cer\n{ours}\n")
    assert tal.read(made.encode()).key == tal.read(given.encode()).key
