"""The archive holds every object once, lays a mirror out as it was, and takes nothing in that is no plain file."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from functools import partial
from pathlib import Path

import pytest

from nnix.planes.trust.archive import OBJECT_OCTETS_MAX, Archive, Lost
from tests.rpki.powercut import Loss, cut_at


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    (folder / "a.example/repo").mkdir(parents=True)
    (folder / "a.example/repo/one.roa").write_bytes(b"one")
    (folder / "a.example/repo/same.roa").write_bytes(b"one")
    return folder


def test_a_mirror_is_laid_out_as_it_was(mirror: Path, tmp_path: Path) -> None:
    """Also after it has changed; and what did not change is not stored again."""
    archive = Archive(tmp_path / "archive")
    before, first = tree(mirror), archive.index(mirror)
    assert (first.files, first.fresh) == (2, 2)
    again = archive.index(mirror)
    assert (again.digest, again.fresh) == (first.digest, 0)
    (mirror / "a.example/repo/one.roa").write_bytes(b"two")
    (mirror / "a.example/repo/same.roa").unlink()
    assert archive.index(mirror).digest != first.digest
    archive.lay_out(first.digest, tmp_path / "out")
    assert tree(tmp_path / "out") == before
    assert (tmp_path / "out/a.example/repo/one.roa").stat().st_mode & 0o777 == 0o444


def test_a_tree_is_brought_up_to_date(mirror: Path, tmp_path: Path) -> None:
    """A file that became a folder, a folder that became a file, one that changed, one that went; also after a layout that was cut short."""
    archive, out = Archive(tmp_path / "archive"), tmp_path / "out"
    first, before = archive.index(mirror).digest, tree(mirror)
    archive.lay_out(first, out)
    repo = mirror / "a.example/repo"
    (repo / "one.roa").unlink()
    (repo / "one.roa").mkdir()
    (repo / "one.roa/inner.roa").write_bytes(b"three")
    (repo / "same.roa").write_bytes(b"changed")
    second, after = archive.index(mirror).digest, tree(mirror)
    archive.lay_out(second, out)
    assert tree(out) == after
    archive.lay_out(first, out)
    assert tree(out) == before
    (tmp_path / "out.index").unlink()
    (out / "stray").write_bytes(b"of a run that was killed")
    archive.lay_out(second, out)
    assert tree(out) == after


@pytest.mark.parametrize("how", ["flipped", "cut", "folder", "link", "gone"])
def test_an_object_that_the_disk_has_spoiled_is_named_and_comes_back(mirror: Path, tmp_path: Path, how: str) -> None:
    """A validator would take it for its CA's fault. The tree stays as it was; once the mirror is read again, so is the object."""
    archive, out = Archive(tmp_path / "archive"), tmp_path / "out"
    (mirror / "a.example/repo/other.roa").write_bytes(b"other")
    index = archive.index(mirror).digest
    place = archive.place(hashlib.sha256(b"one").hexdigest())
    place.unlink()
    if how == "flipped":
        place.write_bytes(b"onf")
    elif how == "cut":
        place.write_bytes(b"on")
    elif how == "folder":
        place.mkdir()
    elif how == "link":
        place.symlink_to("/etc/passwd")
    with pytest.raises(Lost, match=r"rsync://a\.example/repo/one\.roa .*rsync://a\.example/repo/same\.roa .*backup") as told:
        archive.lay_out(index, out)
    assert "other.roa" not in str(told.value)
    assert not out.exists()
    if how == "folder":
        place.rmdir()
    archive.keep(b"one")
    archive.lay_out(index, out)
    assert tree(out) == tree(mirror)


def test_what_was_spoiled_after_it_was_laid_out_is_laid_out_anew(mirror: Path, tmp_path: Path) -> None:
    """A tree shares the fate of the archive, since its files are links; what is examined and found spoiled must not stay in it once the archive is mended."""
    archive, out = Archive(tmp_path / "archive"), tmp_path / "out"
    index = archive.index(mirror).digest
    archive.lay_out(index, out)
    archive.examined(index, out)
    place = archive.place(hashlib.sha256(b"one").hexdigest())
    place.chmod(0o644)
    place.write_bytes(b"onf")
    with pytest.raises(Lost, match=r"rsync://a\.example/repo/one\.roa"):
        archive.examined(index, out)
    place.unlink()
    archive.lay_out(archive.index(mirror).digest, out)
    assert tree(out) == tree(mirror)


def test_a_full_disk_is_not_kept_full_by_drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        Archive(tmp_path).keep(b"an object")
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


def test_only_plain_files_are_taken_in(mirror: Path, tmp_path: Path) -> None:
    repo = mirror / "a.example/repo"
    (repo / "link.roa").symlink_to("/etc/passwd")
    (repo / "folder").symlink_to("/etc")
    os.mkfifo(repo / "pipe.roa")
    (repo / "bad\nname.roa").write_bytes(b"x")
    (repo / "large.roa").write_bytes(bytes(OBJECT_OCTETS_MAX + 1))
    (repo / ".hidden").write_bytes(b"x")
    found = Archive(tmp_path / "archive").index(mirror)
    assert found.files == 2
    assert sorted(each.partition(": ")[2] for each in found.left_out) == [
        "4000001 octets, more than 4000000", "a name that no rsync URI can spell", "no plain file", "no plain file", "no plain file",
    ]  # fmt: skip


def test_what_is_lost_or_altered_is_told(mirror: Path, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    digest = archive.keep(b"content")
    assert archive.get(digest) == b"content"
    place = archive.place(digest)
    place.chmod(0o644)
    place.write_bytes(b"altered")
    with pytest.raises(Lost, match="is not what it was"):
        archive.get(digest)
    index = archive.index(mirror).digest
    archive.place(next(iter(archive.files(index)))[1]).unlink()
    with pytest.raises(Lost, match="has lost, or holds spoiled, rsync://"):
        archive.lay_out(index, tmp_path / "out")


def test_one_validation_at_a_time(tmp_path: Path) -> None:
    with Archive(tmp_path).alone(), pytest.raises(TimeoutError, match="another validation"), Archive(tmp_path).alone():
        pass


@pytest.mark.parametrize("loss", Loss)
def test_after_a_power_cut_the_mirror_is_taken_in_again(mirror: Path, tmp_path: Path, loss: Loss) -> None:
    """Whenever it came: what was not flushed is not taken for kept, and what was kept before is there."""
    cut = 0
    for number in itertools.count(1):
        folder = tmp_path / f"archive-{number}"
        (mirror / "a.example/repo/one.roa").write_bytes(b"one")
        first = Archive(folder).index(mirror).digest
        (mirror / "a.example/repo/one.roa").write_bytes(f"one of run {number}".encode())
        if not cut_at(number, partial(Archive(folder).index, mirror), folder, loss):
            break
        cut += 1
        Archive(folder).lay_out(Archive(folder).index(mirror).digest, tmp_path / f"out-{number}")
        assert tree(tmp_path / f"out-{number}") == tree(mirror), number
        Archive(folder).lay_out(first, tmp_path / f"first-{number}")
        assert tree(tmp_path / f"first-{number}")["a.example/repo/one.roa"] == b"one", number
    assert cut > 5
