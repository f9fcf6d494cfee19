"""Trust anchors: whoever hands out a certificate, the key decides; and our URIs change a TAL in nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nnix.planes.trust import tal
from nnix.planes.trust.archive import Archive
from nnix.planes.trust.mirror import anchors
from nnix.planes.trust.mirror.https import Web, trusting
from nnix.planes.trust.mirror.reasons import Reason, Rejected
from tests.rpki.origin import origin
from tests.rpki.tree import anchor

NOW = datetime.now(UTC)
OURS = ("https://mirror.test/ta/lab.cer", "rsync://mirror.test/anchors/rpki.lab.test/ta/lab.cer")
TAL = anchor("lab").tal().decode()
COMMENTED = f"# lab, for tests\n#\nhttps://rpki.lab.test/lab.cer\n{TAL}"


def certificate(name: str = "lab", now: datetime = NOW) -> bytes:
    made = anchor(name)
    return next(content for path, content in made.files(now).items() if path.endswith(f"ta/{name}.cer"))


def test_our_uris_stand_in_front_or_behind_and_nothing_else_changes() -> None:
    front = anchors.with_uris(COMMENTED.encode(), OURS, front=True).decode()
    assert front == COMMENTED.replace("https://rpki", f"{OURS[0]}\n{OURS[1]}\nhttps://rpki", 1)
    behind = anchors.with_uris(COMMENTED.encode(), OURS, front=False).decode()
    assert behind.split("\n\n")[0].split("\n")[-2:] == list(OURS)
    assert behind.startswith("# lab, for tests\n#\nhttps://rpki.lab.test/lab.cer\nrsync://")
    again = anchors.with_uris(front.encode(), OURS, front=True).decode()
    assert again == front, "added once, however often it is done"
    assert tal.read(front.encode()).key == tal.read(TAL.encode()).key


def test_lines_that_end_as_in_windows_are_read() -> None:
    made = anchors.with_uris(COMMENTED.replace("\n", "\r\n").encode(), OURS, front=True)
    assert tal.read(made).paths[0] == OURS[1].removeprefix("rsync://")


RSA = bytes.fromhex("06092a864886f70d010101")  # rsaEncryption


def test_only_a_certificate_with_the_key_and_a_good_signature_counts() -> None:
    key = tal.read(TAL.encode()).key
    good = certificate()
    anchors.checked(good, key)
    version_6, unknown_key = good.replace(b"\xa0\3\2\1\2", b"\xa0\3\2\1\5"), good.replace(RSA, RSA[:-1] + b"\x63")
    assert good not in (version_6, unknown_key)
    for wrong in (certificate("other"), good[:-1] + bytes([good[-1] ^ 1]), b"", b"hello", good[:100], version_6, unknown_key):
        with pytest.raises(Rejected) as error:
            anchors.checked(wrong, key)
        assert error.value.reason is Reason.WRONG_KEY


def test_a_certificate_is_taken_from_the_first_place_that_has_a_good_one_and_kept(tmp_path: Path) -> None:
    """A forged one is named; an older one does not replace the one that is held; and what cannot be had stays."""
    (tmp_path / "tls").mkdir()
    archive = Archive(tmp_path / "archive")
    with origin(tmp_path / "tls") as (at, ca):
        web = Web(trusting(ca))
        content = TAL.replace("rsync://", f"{at.base}/forged.cer\n{at.base}/good.cer\nrsync://", 1).encode()
        path = tal.read(content).paths[0]

        def fetch(held: dict[str, str]) -> tuple[dict[str, str], list[str]]:
            findings: list[str] = []
            return anchors.fetched({"lab": content}, held, web, archive, tmp_path / "work", findings, 10.0), findings

        at.answers |= {"/forged.cer": certificate("other"), "/good.cer": certificate()}
        first, findings = fetch({})
        assert archive.get(first[path]) == at.answers["/good.cer"]
        assert len(findings) == 1
        assert "wrong-key" in findings[0]
        at.answers["/good.cer"] = certificate(now=NOW - timedelta(days=9))
        held, findings = fetch(first)
        assert held == first
        assert any("an older certificate" in each for each in findings)
        at.answers["/good.cer"] = certificate(now=NOW + timedelta(hours=1))
        assert fetch(first)[0] != first
        at.answers.clear()
        assert fetch(first)[0] == first
        assert fetch({})[0] == {}
