"""nnix trust mirror, as two operators use it who mirror the same origin: what each says of it, and what comes out when it lies to one of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nnix.cli.command import whole_cli
from nnix.cli.files import sound
from nnix.cli.mirror import brought, declared
from nnix.kernel.document import write
from nnix.kernel.ledger_head import SignedHead
from nnix.kernel.snapshot import Snapshot
from nnix.planes.trust import tal
from nnix.planes.trust.archive import Archive
from nnix.planes.trust.mirror.checkpoint import key, parsed, signed
from nnix.planes.trust.mirror.home import Home
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


def test_nobody_publishes_in_the_name_of_another(operators: tuple[Operator, Operator], tmp_path: Path) -> None:
    """b, whom a knows, signs as its publisher a checkpoint of a's mirror that a never made: a does not co-sign it, nobody counts it, and a's own is no fork."""
    a, b = operators
    a.fetch()
    b.fetch()
    a.declare(b.key())
    own = parsed(a.checkpoint(tmp_path / "own").read_bytes().partition(b"\n\n")[0] + b"\n")
    forged = tmp_path / "forged"
    forged.write_bytes(signed(replace(own, root=bytes(32)), key(b.key()), SignedHead(b.state / "keys").vouch))
    assert b.verify(forged, b.key(), status=1)["verdict"] == "unsigned"
    forged.write_bytes(signed(replace(own, serial=9), key(b.key()), SignedHead(b.state / "keys").vouch))
    assert "has published it" in a("cosign", str(forged), "--repository", "lab", status=1)
    assert b.verify(tmp_path / "own", a.key())["verdict"] == "fresh"


def test_an_object_outside_of_places_declared_anew_goes(operators: tuple[Operator, Operator]) -> None:
    """Its origin says that nothing changed, and would say so for ever; what a repository held before must not stand in the place that is another's by now."""
    a, _ = operators
    a.at.begin({f"{PLACE}/a.roa": b"a", f"{PLACE}/theirs/b.roa": b"b"})
    a.fetch()
    text = (a.folder / "small.yaml").read_text()
    assert f"rsync://{PLACE}/" in text
    (a.folder / "small.yaml").write_text(text.replace(f"rsync://{PLACE}/", f"rsync://{PLACE}/theirs/"))
    found = a.fetch(status=3)["repositories"]["lab"]
    assert (
        f"1 objects that are held lie outside of its places by now, such as rsync://{PLACE}/a.roa; all is fetched anew" in found["findings"]
    )
    assert any(each.startswith("outside:") for each in found["findings"]), "and the origin, which goes on publishing them, is rejected"
    archive = Archive(a.state / "trust")
    snapshot = sound(a.folder, Snapshot())[1]
    index, _ = Home(a.state / "trust/mirror/home", archive).index(declared(snapshot, a.folder, None))
    assert [path for path, _ in archive.files(index) if path.endswith(".roa")] == [f"{PLACE}/theirs/b.roa"], "what is validated"
    a.at.publish({f"{PLACE}/theirs/b.roa": b"b"})
    assert a.fetch(status=3)["repositories"]["lab"]["how"].startswith("snapshot")
    again = a.fetch()["repositories"]["lab"]
    assert (again["published"]["objects"], again["findings"]) == (1, [])


def test_a_file_that_became_a_folder_and_a_folder_that_became_a_file(tmp_path: Path) -> None:
    """In the folder into which a relay's objects are brought."""
    held = {"h/m/a.roa": b"file", "h/m/b.roa/c.roa": b"inner", "h/m/same.roa": b"same"}
    found = {"h/m/a.roa/d.roa": b"inner", "h/m/b.roa": b"file", "h/m/same.roa": b"same"}
    brought(tmp_path, {}, held)
    brought(tmp_path, held, found)
    assert {str(each.relative_to(tmp_path)): each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == found


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
    """Gone from the archive, while the origin says that nothing changed: it is fetched whole at once, and told."""
    a, _ = operators
    a.fetch()
    for each in (a.state / "trust/objects").rglob("*"):
        if each.is_file():
            each.unlink()
    found = a.fetch(status=3)["repositories"]["lab"]
    assert "2 objects are gone from the archive, such as rsync://rpki.lab.test/repo/" in found["findings"][0]
    assert found["how"].startswith("snapshot")
    assert a.fetch()["repositories"]["lab"]["standing"] == "unchanged"


def test_an_object_that_the_disk_has_spoiled_is_fetched_again(operators: tuple[Operator, Operator]) -> None:
    """As long as it was, and something else: nothing of it is published as if it were whole, and the next round brings it back."""
    a, _ = operators
    a.fetch()
    for each in (a.state / "trust/objects").rglob("*"):
        if each.is_file():
            spoiled = bytes((each.read_bytes()[0] ^ 1,)) + each.read_bytes()[1:]
            each.unlink()  # the published tree has a link to it, which is another story
            each.write_bytes(spoiled)
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
