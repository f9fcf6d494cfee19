"""Trees: deltas lead where snapshots are, hashes guard every step, and one root stands for all."""

from __future__ import annotations

import hashlib
import random

import pytest

from nnix.planes.trust.mirror import tree
from nnix.planes.trust.mirror.reasons import Reason, Rejected
from nnix.planes.trust.mirror.rrdp import Change, Publish, Withdraw

HELD: dict[str, bytes] = {}


def keep(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    HELD[digest] = content
    return digest


def some(chance: random.Random) -> dict[str, str]:
    return {f"h/m/{n}.roa": keep(chance.randbytes(2)) for n in chance.sample(range(40), chance.randrange(40))}


def test_deltas_lead_to_what_the_snapshot_is() -> None:
    """Over 300 random steps; and the roots agree exactly when the trees do."""
    chance = random.Random(5)
    held: dict[str, str] = {}
    for _ in range(300):
        wanted = some(chance)
        before = dict(held)
        held = tree.applied(held, tree.difference(held, wanted, HELD.__getitem__), keep)
        snapshot = tree.unpacked(tree.difference({}, wanted, HELD.__getitem__), keep)
        assert held == snapshot == wanted == tree.read(tree.index(held))
        assert (tree.root(before) == tree.root(held)) == (before == held)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Publish("h/m/a", b"new", None), Reason.THERE),
        (Publish("h/m/a", b"new", "0" * 64), Reason.OBJECT_HASH),
        (Publish("h/m/b", b"new", "0" * 64), Reason.NOT_THERE),
        (Withdraw("h/m/a", "0" * 64), Reason.OBJECT_HASH),
        (Withdraw("h/m/b", "0" * 64), Reason.NOT_THERE),
        (Publish("h/m/a/b", b"new", None), Reason.CLASH),
    ],
)
def test_a_delta_that_does_not_fit_changes_nothing(change: Change, reason: Reason) -> None:
    held = {"h/m/a": keep(b"old")}
    before = dict(held)
    with pytest.raises(Rejected) as error:
        tree.applied(held, [Publish("h/m/z", b"first", None), change], keep)
    assert error.value.reason is reason
    assert held == before


def test_an_object_twice_in_a_snapshot_is_rejected() -> None:
    with pytest.raises(Rejected) as error:
        tree.unpacked([Publish("h/m/a", b"1", None), Publish("h/m/a", b"2", None)], keep)
    assert error.value.reason is Reason.TWICE


def test_every_object_of_a_tree_can_be_proved_and_no_other() -> None:
    """For trees of 1 to 20 objects: with a handful of hashes, and with none of them altered."""
    for size in range(1, 21):
        made = {f"h/m/{n:02}": keep(bytes([n])) for n in range(size)}
        root = tree.root(made)
        for path, digest in made.items():
            at, beside = tree.proof(made, path)
            assert tree.proves(path, digest, at, size, beside, root)
            assert not tree.proves(path, keep(b"other"), at, size, beside, root)
            assert not tree.proves(path, digest, at, size, (*beside, root), root)
            assert not tree.proves(path, digest, at, size, beside[:-1], root) or not beside
            assert not tree.proves(path, digest, size, size, beside, root)


def test_the_root_is_that_of_certificate_transparency() -> None:
    """RFC 6962, 2.1: the split is at the largest power of two below the number of leaves."""

    def by_the_book(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return hashlib.sha256(b"\0" + leaves[0]).digest()
        k = 1
        while k * 2 < len(leaves):
            k *= 2
        return hashlib.sha256(b"\1" + by_the_book(leaves[:k]) + by_the_book(leaves[k:])).digest()

    for size in range(1, 34):
        made = {f"h/m/{n:02}": keep(bytes([n])) for n in range(size)}
        assert tree.root(made) == by_the_book([f"{made[path]} rsync://{path}\n".encode() for path in sorted(made)])
    assert tree.root({}) == hashlib.sha256(b"").digest()
