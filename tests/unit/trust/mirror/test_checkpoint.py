"""Checkpoints: who said what, what he said before, and who says the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nnix.kernel.ledger_head import SignedHead
from nnix.planes.trust.mirror.checkpoint import Checkpoint, Key, Malformed, cosigned, key, opened, parsed, signed
from nnix.planes.trust.mirror.following import Past, State
from nnix.planes.trust.mirror.witness import Judged, Memory, Verdict, judged, vouches

NOW = datetime(2026, 11, 26, 2, tzinfo=UTC)
ORIGIN = ("https://rrdp.lab.test/notification.xml", "a2d845c4-5b91-4015-a2b7-988c03ce232a", "7")
THIS = Checkpoint("rpki.a.test/lab", 5, bytes(range(32)), "7c2f0a52-0000-4000-8000-000000000001", 17, NOW, ORIGIN)


class Operator:
    def __init__(self, name: str) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.sign = self.private.sign
        self.key = Key(name, self.private.public_key().public_bytes_raw())


A, B, C = Operator("rpki.a.test"), Operator("rpki.b.test"), Operator("rpki.c.test")


def test_who_signed_is_told_and_who_is_not_known_is_not_counted() -> None:
    note = cosigned(cosigned(signed(THIS, A.key, A.sign), B.key, B.sign, NOW), C.key, C.sign, NOW + timedelta(seconds=5))
    found = opened(note, [A.key, B.key])
    assert found.checkpoint == THIS
    assert [(each.key.name, each.at) for each in found.signatures] == [("rpki.a.test", None), ("rpki.b.test", NOW)]
    assert (found.signers, found.unknown) == (2, ("rpki.c.test",))


def test_a_cosignature_is_renewed_and_not_piled_up() -> None:
    note = signed(THIS, A.key, A.sign)
    twice = cosigned(cosigned(note, B.key, B.sign, NOW), B.key, B.sign, NOW + timedelta(hours=1))
    assert twice.count("— rpki.b.test ".encode()) == 1
    assert opened(twice, [B.key]).signatures[0].at == NOW + timedelta(hours=1)


def test_nobody_publishes_in_the_name_of_another_but_anybody_may_co_sign() -> None:
    note = signed(THIS, B.key, B.sign)
    assert (opened(note, [A.key, B.key]).signatures, opened(note, [A.key, B.key]).unknown) == ((), ("rpki.b.test",))
    assert opened(cosigned(note, B.key, B.sign, NOW), [B.key]).signers == 1
    near = Operator("rpki.a")
    assert opened(signed(THIS, near.key, near.sign), [near.key]).signers == 0, "rpki.a is not rpki.a.test"


def test_one_key_under_two_names_is_one_signer() -> None:
    alias = Key("rpki.alias.test", A.key.public)
    note = cosigned(signed(THIS, A.key, A.sign), alias, A.sign, NOW)
    assert opened(note, [A.key, alias]).signers == 1


@pytest.mark.parametrize(
    "old, new", [(b"serial 17", b"serial 18"), (b"\n5\n", b"\n6\n"), (b"time 2026", b"time 2027"), (b"/lab\n", b"/lob\n")]
)
def test_a_letter_that_was_altered_is_seen(old: bytes, new: bytes) -> None:
    note = cosigned(signed(THIS, A.key, A.sign), B.key, B.sign, NOW)
    for known in (A.key, B.key):
        with pytest.raises(Malformed, match="altered"):
            opened(note.replace(old, new), [known])


def test_a_cosignature_of_another_time_is_not_good() -> None:
    """The time of co-signing is covered by the signature."""
    later = cosigned(signed(THIS, A.key, A.sign), B.key, lambda _: B.sign(b"something else"), NOW)
    with pytest.raises(Malformed):
        opened(later, [B.key])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        b"text\n\n- a b\n",
        THIS.text(),
        THIS.text() + b"\n",
        THIS.text() + b"\n\xe2\x80\x94 a AAAA\n",
        b"x" * 100_000,
        b"\xff\n\n\xff\n",
    ],
)
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(Malformed):
        opened(note, [A.key])


def test_another_spelling_of_the_same_is_refused() -> None:
    assert parsed(THIS.text()) == THIS
    for old, new in ((b"serial 17", b"serial 017"), (b"serial 17", b"serial +17"), (b"\n5\n", b"\n05\n"), (b"Z\n", b"+00:00\n")):
        with pytest.raises(Malformed):
            parsed(THIS.text().replace(old, new))


def test_keys_are_read_as_they_are_written_and_a_wrong_letter_is_seen() -> None:
    """The example key of the signed-note specification's Go implementation."""
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert str(key(text)) == text
    assert key(str(A.key)) == A.key
    for wrong in (
        text.replace("Neumann", "Newmann"),
        text[:-1],
        text.replace("c74f", "c74e"),
        "a",
        "a+b+c",
        "a+00000000+ü",
        f"{text[:-1]}ü",
    ):
        with pytest.raises(Malformed):
            key(wrong)


def said(*before: Checkpoint, then: Checkpoint) -> Judged:
    return judged(then, before)


def test_two_trees_for_one_serial_are_a_fork() -> None:
    other = replace(THIS, root=bytes(32), at=NOW + timedelta(hours=1))
    assert said(THIS, then=other).verdict is Verdict.FORK
    assert said(THIS, replace(THIS, serial=18, at=NOW + timedelta(minutes=1), fetched=("u", "s", "8")), then=other).verdict is Verdict.FORK


def test_two_mirrors_that_differ_on_one_serial_of_the_origin_are_a_fork() -> None:
    """Whichever of them lies, or the origin, that showed one thing to one and another to the other."""
    theirs = replace(THIS, origin="rpki.b.test/lab", session="7c2f0a52-0000-4000-8000-000000000002", serial=3)
    assert said(THIS, then=theirs).verdict is Verdict.FRESH
    found = said(THIS, then=replace(theirs, root=bytes(32)))
    assert found.verdict is Verdict.FORK
    assert found.against == THIS


def test_what_was_true_once_is_a_replay() -> None:
    newer = replace(THIS, serial=18, at=NOW + timedelta(hours=1), root=bytes(32), fetched=("u", "s", "8"))
    assert said(THIS, then=newer).verdict is Verdict.FRESH
    assert said(THIS, newer, then=THIS).verdict is Verdict.REPLAY
    assert said(newer, then=replace(THIS, at=NOW + timedelta(hours=2))).verdict is Verdict.REPLAY
    assert said(THIS, newer, then=newer).verdict is Verdict.AGAIN
    assert said(newer, then=replace(newer, at=NOW + timedelta(hours=3))).verdict is Verdict.FRESH
    begun = replace(newer, session="7c2f0a52-0000-4000-8000-000000000009", serial=1, at=NOW + timedelta(hours=3))
    assert said(newer, then=begun).verdict is Verdict.SESSION


def test_a_memory_that_was_damaged_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "seen")
    assert memory.read() == ()
    memory.add(THIS)
    memory.add(THIS)
    assert memory.read() == (THIS,)
    memory.file.write_text("[")
    with pytest.raises(Malformed):
        memory.read()


def test_only_what_was_seen_here_is_cosigned() -> None:
    past = Past(ORIGIN[1], 7, THIS.root.hex(), 5)
    state = State("rrdp", ORIGIN[0], ORIGIN[1], 9, "index", 6, "ff", "2026-11-26T02:00:00Z", past=(past,))
    assert vouches(THIS, state) == ""
    assert vouches(replace(THIS, root=bytes(32)), state).startswith("a fork")
    assert "was not seen here" in vouches(replace(THIS, fetched=(*ORIGIN[:2], "8")), state)
    assert "was fetched from" in vouches(replace(THIS, fetched=("https://else.test/n.xml", *ORIGIN[1:])), state)
    assert vouches(THIS, None)


def test_the_ledgers_key_signs_checkpoints_and_nothing_that_looks_like_a_head(tmp_path: Path) -> None:
    head = SignedHead(tmp_path)
    with head.turn():
        head.begin()
    mine = Key("rpki.a.test", head.public())
    assert opened(signed(THIS, mine, head.vouch), [mine]).signers == 1
    with pytest.raises(ValueError, match="ledger"):
        head.vouch(b'{"digest":"00","nnix":"ledger-head","seq":9}')
