"""What is published is whole at every moment: for who follows it, for who comes fresh, and after any crash."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import uuid
from functools import partial
from pathlib import Path

import pytest

from nnix.planes.trust.archive import Archive
from nnix.planes.trust.mirror import rrdp, tree
from nnix.planes.trust.mirror.publishing import Press, Record, read_record
from tests.rpki.killed import killed_at
from tests.rpki.powercut import Loss, cut_at

PLACES = ("rpki.lab.test/repo/",)
FIRST, SECOND = ({f"{PLACES[0]}{name}": f"{name} {age}".encode() for name in names} for age, names in (("old", "ab"), ("new", "bc")))
FIRST[f"{PLACES[0]}ca/x.mft"] = SECOND[f"{PLACES[0]}ca/x.mft"] = b"the same in both"


def press(folder: Path, deltas_max: int = 100) -> Press:
    numbers = itertools.count(os.getpid() * 1000)
    return Press(folder / "published", Archive(folder / "archive"), deltas_max, lambda: f"{next(numbers):x}", lambda: str(uuid.uuid4()))


def kept(archive: Archive, files: dict[str, bytes]) -> dict[str, str]:
    return {path: archive.keep(content) for path, content in files.items()}


def publish(this: Press, files: dict[str, bytes]) -> Record:
    return this.publish("lab", kept(this.archive, files), lambda record: f"note {record.serial}")


def _file(place: Path, url: str, digest: str) -> list[bytes]:
    content = (place / url.removeprefix("https://m.test/lab/")).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    return [content]


def as_a_stranger_reads_it(place: Path) -> tuple[rrdp.Notification, dict[str, bytes]]:
    """By the notification in force and the files that it names, all of which must be whole; and rsync's folder must hold the same."""
    record = read_record(place)
    assert record is not None
    found = rrdp.notification([record.notification("https://m.test/lab")], "https://m.test/lab/notification.xml")
    got: dict[str, bytes] = {}
    for serial, link in found.deltas.items():
        list(rrdp.changes(_file(place, link.uri, link.digest), "delta", found.session, serial, PLACES, 10_000))
    for each in rrdp.changes(
        _file(place, found.snapshot.uri, found.snapshot.digest), "snapshot", found.session, found.serial, PLACES, 10_000
    ):
        assert isinstance(each, rrdp.Publish)
        got[each.path] = each.content
    assert record.note == f"note {record.serial}"
    return found, got


def laid(place: Path) -> dict[str, bytes]:
    """What rsync serves."""
    top = (place / "current").resolve(strict=True)
    return {str(each.relative_to(top)): each.read_bytes() for each in top.rglob("*") if each.is_file()}


def test_who_follows_by_deltas_and_who_takes_the_snapshot_come_to_the_same(tmp_path: Path) -> None:
    """Over 40 random publications, for followers that come by now and then."""
    chance = random.Random(8)
    this = press(tmp_path)
    place = this.folder / "lab"
    follower: dict[str, str] = {}
    at = 0
    by_deltas = 0
    files = {f"{PLACES[0]}{n}": chance.randbytes(400) for n in range(50)}
    for _ in range(40):
        for path in chance.sample(sorted(files), chance.randrange(3)):
            del files[path]
        files |= {f"{PLACES[0]}{n}": chance.randbytes(chance.randrange(1, 3)) * 200 for n in chance.sample(range(60), 2)}
        publish(this, files)
        found, got = as_a_stranger_reads_it(place)
        assert got == files == laid(place)
        if chance.random() < 0.6:
            wanted = range(at + 1, found.serial + 1)
            if at and all(serial in found.deltas for serial in wanted):
                by_deltas += 1
                for serial in wanted:
                    link = found.deltas[serial]
                    told = rrdp.changes(_file(place, link.uri, link.digest), "delta", found.session, serial, PLACES, 10_000)
                    follower = tree.applied(follower, told, this.archive.keep)
            else:
                follower = kept(this.archive, got)
            at = found.serial
            assert {path: this.archive.get(digest) for path, digest in follower.items()} == files
    assert by_deltas > 5


def test_the_same_again_is_no_new_serial(tmp_path: Path) -> None:
    this = press(tmp_path)
    first = publish(this, FIRST)
    again = this.publish("lab", kept(this.archive, FIRST), lambda record: "a newer note")
    assert (again.session, again.serial, again.snapshot, again.note) == (first.session, 1, first.snapshot, "a newer note")


def test_deltas_are_bounded_by_number_and_by_the_snapshots_size(tmp_path: Path) -> None:
    this = press(tmp_path, deltas_max=3)
    base = {f"{PLACES[0]}{n}": bytes(1000) for n in range(100)}
    for number in range(6):
        record = publish(this, {**base, f"{PLACES[0]}x": bytes([number])})
    assert list(record.deltas) == [4, 5, 6]
    record = publish(this, dict.fromkeys(base, b"all of it is new"))
    assert sum(each.octets for each in record.deltas.values()) <= record.snapshot.octets
    as_a_stranger_reads_it(this.folder / "lab")


def test_who_has_just_read_the_notification_can_follow_it(tmp_path: Path) -> None:
    """Files of the former publication stay for one more, and then they go."""
    this = press(tmp_path)
    first = publish(this, FIRST)
    second = publish(this, SECOND)
    place = this.folder / "lab"
    assert (place / first.snapshot.path).exists()
    assert (place / first.tree).is_dir()
    assert first.snapshot.path in second.former
    third = publish(this, FIRST)
    assert not (place / first.snapshot.path).exists()
    assert not (place / first.tree).exists()
    publish(this, SECOND)
    files = {str(each.relative_to(place)) for each in place.rglob("*.xml")}
    assert not any(each.startswith(f"{third.session}/1/") for each in files)


@pytest.mark.parametrize("loss", ["record", "snapshot", "tree", "index"])
def test_after_a_loss_a_session_begins_anew(tmp_path: Path, loss: str) -> None:
    this = press(tmp_path)
    record = publish(this, FIRST)
    place = this.folder / "lab"
    gone = {"record": "record", "snapshot": record.snapshot.path, "tree": record.tree, "index": record.index}[loss]
    (place / gone).rename(tmp_path / "gone")
    again = publish(this, FIRST)
    assert again.session != record.session
    assert as_a_stranger_reads_it(place)[1] == FIRST == laid(place)


def test_a_publication_that_is_killed_at_any_moment_is_not_seen(tmp_path: Path) -> None:
    """SIGKILL before each touch of the file system in turn: all that is served is the old or the new, whole; and the next publication goes on."""
    killed = old = 0
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        this = press(folder)
        publish(this, FIRST)
        place = this.folder / "lab"
        if not killed_at(number, partial(publish, this, SECOND)):
            break
        killed += 1
        found, got = as_a_stranger_reads_it(place)
        assert got == (FIRST if found.serial == 1 else SECOND)
        assert laid(place) in (FIRST, SECOND)
        old += found.serial == 1
        publish(this, SECOND)
        found, got = as_a_stranger_reads_it(place)
        assert (found.serial, got) == (2, SECOND)
        assert laid(place) == SECOND
        record = read_record(place)
        assert record is not None
        named = {each.path for each in record.files} | set(record.former)
        assert {str(each.relative_to(place)) for each in place.rglob("*.xml")} <= named, "nothing that was half written is left lying"
    assert killed > 30
    assert 0 < old < killed


@pytest.mark.parametrize("loss", Loss)
def test_a_power_cut_at_any_moment_leaves_the_old_or_the_new(tmp_path: Path, loss: Loss) -> None:
    """What was not flushed is lost: all that is served is whole nevertheless, and the next publication goes on."""
    cut = 0
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        this = press(folder)
        publish(this, FIRST)
        place = this.folder / "lab"
        if not cut_at(number, partial(publish, this, SECOND), folder, loss):
            break
        cut += 1
        found, got = as_a_stranger_reads_it(place)
        assert got == (FIRST if found.serial == 1 else SECOND), number
        assert laid(place) in (FIRST, SECOND), number
        publish(this, SECOND)
        found, got = as_a_stranger_reads_it(place)
        assert (found.serial, got, laid(place)) == (2, SECOND, SECOND), number
    assert cut > 30
