"""Fetching wherever certificates lead, from a real rsync daemon that offers what is no certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from nnix.hosts.namespace import NamespaceHost
from nnix.planes.trust import tal
from nnix.planes.trust.archive import Archive
from nnix.planes.trust.mirror.walk import Fetched, _named, fetched
from tests.unit.trust.mirror.test_following import bury, rsyncd

__all__ = ["bury", "rsyncd"]
KEY = b"\x30the key"
CERTIFICATE = b"a certificate with " + KEY


def walked(host: str, folder: Path) -> Fetched:
    anchor = tal.Tal((f"{host}/repo/ta.cer",), KEY)
    return asyncio.run(fetched({"lab": anchor}, NamespaceHost("mirror", None, folder), folder, seconds_max=30))


@pytest.mark.parametrize("what", ["a link", "a folder", "too large", "nothing"])
def test_an_anchor_that_is_no_plain_file_is_told_and_the_former_one_counts(rsyncd: tuple[str, Path], tmp_path: Path, what: str) -> None:
    """rsync leaves such out and ends with success."""
    host, folder = rsyncd
    place, mirror = folder / "ta.cer", tmp_path / "mirror"
    mirror.mkdir()
    place.write_bytes(CERTIFICATE)
    assert walked(host, mirror).faults[f"lab: {host}/repo/ta.cer"] == ""
    place.unlink()
    if what == "a link":
        place.symlink_to("/etc/passwd")
    elif what == "a folder":
        place.mkdir()
    elif what == "too large":
        place.write_bytes(CERTIFICATE + bytes(5_000_000))
    assert walked(host, mirror).faults[f"lab: {host}/repo/ta.cer"] != ""
    assert (mirror / host / "repo/ta.cer").read_bytes() == CERTIFICATE


def test_a_mirror_as_deep_as_it_goes_is_taken_in_without_what_lies_too_deep(tmp_path: Path, bury: Callable[[Path, str, int], None]) -> None:
    """Neither the path nor the number of folders above a file ends the reading of all others."""
    (tmp_path / "mirror/h.test/repo").mkdir(parents=True)
    (tmp_path / "mirror/h.test/repo/a.roa").write_bytes(b"a")
    bury(tmp_path / "mirror/h.test/repo", "d", 1_200)
    archive = Archive(tmp_path / "archive")
    made = archive.index(tmp_path / "mirror")
    assert [path for path, _ in archive.files(made.digest)] == ["h.test/repo/a.roa"]
    assert len(made.left_out) == 1 and "more than 1024 octets" in made.left_out[0]
    assert _named(tmp_path / "mirror") == set()
