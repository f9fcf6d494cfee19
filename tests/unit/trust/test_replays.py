"""Publication points whose manifest went back, or was put there by a stranger, count as they were."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nnix.planes.trust.replays import not_replayed, own
from tests.rpki.deviations import authority
from tests.rpki.tree import CONTENT_MANIFEST, HOST, Certificate, SignedObject, anchor

OBJECTS = Path(__file__).parents[4] / "shared/data/rpki/objects"
NOW = datetime(2026, 11, 26, tzinfo=UTC)
MANIFEST = f"{HOST}/repo/sound/sound.mft"


def tree(number: int, *, key: str = "sound", known: bool = True, flipped: bool = False, **files: bytes) -> dict[str, bytes]:
    """A mirror in which the point `sound` has a manifest of that number, with a good signature or a `flipped` one, by the CA of that key, whose certificate is there where it is
    `known`; and beside that `files`."""
    ca = authority("sound", 0)
    ca.name, ca.manifest.number = key, number
    if flipped:
        ca.manifest.signed = SignedObject("sound.mft", CONTENT_MANIFEST, bytes, Certificate(ips=None, asns=None), flipped=True)
    made = anchor("lab", ca).files(NOW)
    certificates = {path: content for path, content in made.items() if path.endswith(".cer") and known}
    mft = next(content for path, content in made.items() if path.endswith("sound.mft"))
    return {**certificates, MANIFEST: mft, **{f"{HOST}/repo/{path.replace('_', '/')}.x": content for path, content in files.items()}}


def judged(before: dict[str, bytes], now: dict[str, bytes]) -> tuple[set[str], list[str]]:
    """(which of the additional files are there then, the findings)"""
    kept = {hashlib.sha256(content).hexdigest(): content for each in (before, now) for content in each.values()}
    first, second = ({path: hashlib.sha256(content).hexdigest() for path, content in each.items()} for each in (before, now))
    found, findings = not_replayed(first, second, kept.__getitem__)
    return {kept[digest].decode() for path, digest in found.items() if path.endswith(".x")}, findings


def test_a_publication_point_whose_manifest_went_back_is_as_it_was() -> None:
    """All of it, and nothing else. Another key begins to count anew."""
    there, findings = judged(tree(9, sound_a=b"old a", b=b"old b"), tree(8, sound_c=b"new c", b=b"new b"))
    assert there == {"old a", "new b"}
    assert ["went back from 9 to 8" in each for each in findings] == [True]
    assert judged(tree(9, sound_a=b"old a"), tree(10, sound_a=b"new a")) == ({"new a"}, [])
    assert judged(tree(9, sound_a=b"old a"), tree(1, key="rekeyed", sound_a=b"new a")) == ({"new a"}, [])


@pytest.mark.parametrize(
    "forged",
    [tree(1 << 150, flipped=True), tree(1 << 150, key="stranger", known=False), tree(1 << 20_000, flipped=True), {MANIFEST: b"rubbish"}, {MANIFEST: b""}],
    ids=["a-signature-that-is-none", "a-strangers", "a-number-without-end", "rubbish", "nothing"],
)  # fmt: skip
def test_a_forged_manifest_is_not_fetched_and_bars_none_that_follows(forged: dict[str, bytes]) -> None:
    """Also where it came in before anything else, when there was nothing to hold it against."""
    good = tree(9, sound_a=b"a")
    there, findings = judged(good, {**good, **forged, f"{HOST}/repo/sound/a.x": b"forged"})
    assert there == {"a"}
    assert ["not signed by its CA" in each for each in findings] == [True]
    assert judged({**good, **forged}, tree(10, sound_a=b"b")) == ({"b"}, [])
    unsettled = {path: b"rubbish" for path in good if path.endswith("sound.cer")}
    assert judged(good, {**good, **forged, **unsettled, f"{HOST}/repo/sound/a.x": b"forged"})[0] == {"a"}, (
        "the issuer's certificate is spoiled, too"
    )


def test_a_point_of_which_no_manifest_was_its_cas_own_is_the_validators_affair() -> None:
    there, findings = judged(tree(9, known=False, sound_a=b"a"), tree(8, known=False, sound_a=b"b"))
    assert (there, findings) == ({"b"}, [])


def test_many_points_that_go_back_at_once_are_told_in_one_go() -> None:
    """The mirror is gone through once, not once for each of them."""
    old, new = tree(9), tree(8)
    points = [f"h.test/repo/{n}/sound.mft" for n in range(300)]
    digests = {hashlib.sha256(each[MANIFEST]).hexdigest(): each[MANIFEST] for each in (old, new)}
    first, second = digests
    certificates = {path: hashlib.sha256(content).hexdigest() for path, content in old.items() if path.endswith(".cer")}
    contents = digests | {hashlib.sha256(each).hexdigest(): each for path, each in old.items()}
    found, findings = not_replayed(
        certificates | dict.fromkeys(points, first), certificates | dict.fromkeys(points, second), contents.__getitem__
    )
    assert len(findings) == 300
    assert {found[each] for each in points} == {first}


@pytest.mark.skipif(not OBJECTS.is_dir(), reason="the archive of real objects is not here")
def test_real_manifests_in_ber_are_their_cas_own() -> None:
    """RIPE's of 2019, with lengths without an end and octets in pieces."""
    issuer, other = (
        (OBJECTS / "cer" / f"{name}.cer").read_bytes()
        for name in ("2a7dd1d787d793e4c8af56e197d4eed92af6ba13", "aaI5ikDRYL7nJH9kwrv4b80iIAI")
    )
    content = (OBJECTS / "mft/Kn3R14fXk-TIr1bhl9Tu2Sr2uhM.mft").read_bytes()
    assert content[:2] == b"\x30\x80"
    assert own(content, lambda _: [other, issuer])
    assert not own(content, lambda _: [other, b"rubbish"])
