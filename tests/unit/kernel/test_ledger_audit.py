"""What an audit finds: every invariant broken in turn, every bit flipped, entries dropped, the tail cut, the head altered."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from nnix.kernel.ledger import EMPTY, GENESIS, Damaged, Fault, Head, Ledger, Unavailable, open_ledger
from nnix.kernel.ledger_entry import ROOT, Link, Row, canonical, compose, digest_of, problems, spelled
from nnix.kernel.ledger_head import SLOT_BYTES, SignedHead

from .ledger_places import NOON, Place, write

TEXTS = ("at", "before", "what", "who", "why", "digest", "body")


def rows(place: Place) -> list[dict[str, Any]]:
    query = "SELECT {} FROM entries ORDER BY seq".format(", ".join(Row._fields))  # noqa: S608
    if place.kind == "sqlite":
        with sqlite3.connect(place.url) as file:
            found = file.execute(query).fetchall()
        file.close()
    else:
        with psycopg.connect(place.url) as db:
            found = db.execute(query.encode()).fetchall()
    return [dict(zip(Row._fields, each, strict=True)) for each in found]


def put(place: Place, number: int, **fields: object) -> None:
    """Overwrite fields of one entry."""
    said = ", ".join(
        "{} = {}".format(name, value if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'")
        for name, value in fields.items()
    )
    place.tamper(f"UPDATE entries SET {said} WHERE seq = {number}")  # noqa: S608


def forge(place: Place, number: int, **fields: Any) -> None:
    """Alter an entry and make digests right again, from there to the end, as somebody who knows how would; only the signature is beyond him."""
    before = ""
    for row in rows(place):
        if row["seq"] < number:
            continue
        fresh = {**row, **(fields if row["seq"] == number else {"before": before})}
        content = {name: value for name, value in fresh.items() if name not in ("digest", "body", "seq")}
        fresh["digest"] = before = digest_of(fresh["seq"], fresh["body"].encode(), **content)
        put(place, row["seq"], **{name: value for name, value in fresh.items() if value != row[name]})


def said(faults: tuple[Fault, ...]) -> list[tuple[int, str]]:
    return [(fault.seq, fault.what[fault.what.rindex("(") :]) for fault in faults]


def broken(place: Place) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """What verify finds, and what a reader is stopped by."""
    with place.open() as ledger:
        found = said(ledger.verify())
        try:
            list(ledger.entries())
        except Damaged as stopped:
            return found, said(stopped.faults)
        return found, []


@pytest.fixture
def five(place: Place) -> Place:
    """A place with five entries."""
    with place.open() as ledger:
        write(ledger, 5)
    return place


def test_i1_an_entry_names_the_one_before(five: Place) -> None:
    """The third entry names another predecessor, all digests are right: the chain does not hold there, and the signature not at the end."""
    forge(five, 3, before="ab" * 32)
    assert broken(five) == ([(3, "(I1)"), (5, "(I6)"), (4, "(I6)")], [(3, "(I1)")])


def test_i1_the_first_names_zeros(five: Place) -> None:
    """Nothing is before the first entry: somebody who cuts off the beginning and forges the rest is seen."""
    forge(five, 1, before="ab" * 32)
    assert (1, "(I1)") in broken(five)[0]


def test_i2_time_does_not_go_back(five: Place) -> None:
    """The third entry is dated before the second."""
    forge(five, 3, at=spelled(NOON - timedelta(days=1)))
    found, stopped = broken(five)
    assert (found[0], stopped) == ((3, "(I2)"), [(3, "(I2)")])


def test_i2_a_clock_that_is_kept_was_behind(five: Place) -> None:
    """An entry cannot say that its clock was behind when it was not."""
    forge(five, 3, clock=spelled(NOON + timedelta(days=1)))
    found, stopped = broken(five)
    assert (found[0], stopped) == ((3, "(I2)"), [(3, "(I2)")])


def test_i3_entries_are_numbered_without_gap(five: Place) -> None:
    """The fifth is renumbered to the seventh, with a right digest."""
    forge(five, 5, seq=7)
    found, stopped = broken(five)
    assert found[0] == (5, "(I3)")
    assert stopped == [(7, "(I3)")]


@pytest.mark.parametrize("field", TEXTS)
def test_i4_the_digest_is_of_the_content(five: Place, field: str) -> None:
    """Any field altered into another well-formed one is one fault, at that entry and no other, for auditor and reader alike."""
    row = rows(five)[2]
    altered = {"at": spelled(NOON + timedelta(seconds=2, microseconds=1)), "body": '{"step":0}', "before": "cd" * 32, "digest": "cd" * 32}
    put(five, 3, **{field: altered.get(field, row[field][:-1])})
    found, stopped = broken(five)
    assert {seq for seq, _ in found} == {3}
    assert (3, "(I4)") in found
    assert (3, "(I4)") in stopped


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "2026-11-24 12:00"),
        ("at", "2026-02-30T12:00:00.000000Z"),
        ("what", "A Change"),
        ("who", ""),
        ("body", "[]"),
        ("body", "{"),
        ("body", "[" * 100_000),
    ],
)
def test_i5_fields_are_well_formed(five: Place, field: str, value: str) -> None:
    """Even with right digests everywhere."""
    forge(five, 3, **{field: value})
    found, stopped = broken(five)
    assert (found[0], stopped) == ((3, "(I5)"), [(3, "(I5)")])


def test_i5_the_body_is_canonical(five: Place) -> None:
    """A blank in the body, all digests right: an auditor with another JSON library would compute another digest."""
    forge(five, 3, body='{"step": 2}')
    assert broken(five)[0][0] == (3, "(I5)")


def test_i6_a_rewritten_past_is_not_the_signed_one(five: Place) -> None:
    """Every digest after the alteration is right again; only the signature says otherwise. Nothing is appended to it either."""
    forge(five, 2, why="nothing to see here")
    assert broken(five) == ([(5, "(I6)"), (4, "(I6)")], [])
    with five.open() as ledger, pytest.raises(Damaged, match="not the one that was signed"):
        write(ledger, 1)
    assert len(rows(five)) == 5


def test_the_invariants_are_judged_before_anything_is_written() -> None:
    """What compose gives holds; with any part of it exchanged, the judge names the invariant."""
    link = Link(6, NOON, "ab" * 32)
    entry, row = compose(link, NOON, who="ops", what="change", why="", body=canonical({"n": 1}))
    assert problems(entry, row.digest, link) == []
    for change, named in (
        ({"before": GENESIS}, "(I1)"),
        ({"at": NOON - timedelta(seconds=1)}, "(I2)"),
        ({"clock": NOON}, "(I2)"),
        ({"seq": 8}, "(I3)"),
        ({"digest": "cd" * 32}, "(I4)"),
    ):
        (problem,) = problems(replace(entry, **change), row.digest, link)
        assert named in problem
    first, _ = compose(ROOT, NOON, who="ops", what="change", why="", body=canonical({}))
    assert (first.seq, first.before) == (1, GENESIS)


def test_a_dropped_entry_is_missed(five: Place) -> None:
    """Dropped from the middle: told once, by number."""
    five.tamper("DELETE FROM entries WHERE seq IN (2, 3)")
    with five.open() as ledger:
        assert [str(fault) for fault in ledger.verify()] == ["entry 2: entries 2 to 3 are missing: 1 is followed by 4 (I3)"]
        with pytest.raises(Damaged):
            list(ledger.entries())


def test_a_dropped_beginning_is_missed(five: Place) -> None:
    """The first entry has no one before it, but its number is 1."""
    five.tamper("DELETE FROM entries WHERE seq = 1")
    assert broken(five) == ([(1, "(I3)")], [(2, "(I3)")])


@pytest.mark.parametrize("left", [4, 3, 0])
def test_a_cut_tail_is_missed(five: Place, left: int) -> None:
    """What is left is a sound chain; the signed head tells that it was longer. Nothing is appended over the gap."""
    five.tamper(f"DELETE FROM entries WHERE seq > {left}")  # noqa: S608
    with five.open() as ledger:
        (fault,) = ledger.verify()
        assert fault.seq == 5
        assert f"signed, but the ledger ends at {left}: its tail was cut (I6)" in fault.what
        assert len(list(ledger.entries())) == left
        with pytest.raises(Damaged, match="tail was cut"):
            write(ledger, 1)


def test_a_tail_that_was_replaced_is_seen(five: Place) -> None:
    """The last entry is exchanged for another of the same number, properly chained."""
    forge(five, 5, why="another reason")
    assert broken(five) == ([(5, "(I6)")], [])


def test_a_ledger_that_was_put_away_is_missed(place: Place) -> None:
    """Another, empty database in its place: not a new ledger, but a cut one."""
    with place.open() as ledger:
        write(ledger, 3)
    place.tamper("DROP TABLE entries")
    if place.kind == "sqlite":
        Path(place.url).unlink()
    with place.open() as ledger:
        assert said(ledger.verify()) == [(3, "(I6)")]


def test_entries_past_the_signed_head_are_what_a_crash_leaves(five: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between commit and signing: no fault, and the next append signs over it. The same entries cut off are a fault afterwards."""
    with five.open() as ledger:
        monkeypatch.setattr(SignedHead, "write", _fails)
        with pytest.raises(Unavailable, match="entry 6 was written"):
            write(ledger, 1)
    monkeypatch.undo()
    with five.open() as ledger:
        assert (ledger.head.seq, ledger.signed.seq, ledger.verify()) == (6, 5, ())
        write(ledger, 1)
        assert (ledger.head.seq, ledger.signed.seq, ledger.verify()) == (7, 7, ())
    five.tamper("DELETE FROM entries WHERE seq > 5")
    assert broken(five)[0] == [(7, "(I6)")]


def _fails(self: SignedHead, head: Head) -> None:
    raise OSError("no space left on device")


def test_an_unsound_chain_past_the_signed_head_is_not_signed(five: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies between the signed head and the end is checked before it is signed over."""
    with five.open() as ledger:
        monkeypatch.setattr(SignedHead, "write", _fails)
        for _ in range(2):
            with pytest.raises(Unavailable):
                write(ledger, 1)
    monkeypatch.undo()
    put(five, 6, why="altered")
    with five.open() as ledger, pytest.raises(Damaged, match="I4"):
        write(ledger, 1)


def test_a_head_noted_elsewhere_is_checked_too(five: Place) -> None:
    """Whoever wrote down a head can check the past without our key."""
    with five.open() as ledger:
        third = list(ledger.entries())[2].head
        assert ledger.verify([third, ledger.head, EMPTY]) == ()
        assert said(ledger.verify([Head(3, "ab" * 32), Head(9, "cd" * 32)])) == [(3, "(I6)"), (9, "(I6)")]
        assert "noted elsewhere" in ledger.verify([Head(3, "ab" * 32)])[0].what


ALTERATIONS: dict[str, Callable[[Path], object]] = {
    "a lower number": lambda head: head.write_bytes(head.read_bytes().replace(b'"seq":5', b'"seq":3')),
    "another digest": lambda head: head.write_bytes(head.read_bytes()[:12] + b"0000" + head.read_bytes()[16:]),
    "half of it": lambda head: head.write_bytes(head.read_bytes()[:SLOT_BYTES]),
    "one slot blank": lambda head: head.write_bytes(b" " * SLOT_BYTES + head.read_bytes()[SLOT_BYTES:]),
    "something else": lambda head: head.write_bytes(b"[]".ljust(SLOT_BYTES) * 2),
    "nothing": lambda head: head.write_bytes(b""),
    "no file": lambda head: head.unlink(),
    "another key": lambda head: _another_key(head.parent),
}


def _another_key(folder: Path) -> None:
    other = folder.parent / "other-keys"
    open_ledger(folder.parent / "other.sqlite", other).close()
    (folder / "ledger-key.pub").write_bytes((other / "ledger-key.pub").read_bytes())


@pytest.mark.parametrize("how", ALTERATIONS)
def test_an_altered_signed_head_is_a_fault_and_nothing_is_appended(five: Place, how: str) -> None:
    """A head that does not bear our signature proves nothing; that is said rather than passed over. What was written can be read."""
    ALTERATIONS[how](five.keys / "ledger-head")
    with five.open() as ledger:
        assert said(ledger.verify()) == [(0, "(I6)")]
        assert len(list(ledger.entries())) == 5
        with pytest.raises(Damaged, match="I6"):
            write(ledger, 1)


def test_every_bit_of_the_signed_head_counts(five: Place) -> None:
    """One flipped bit anywhere in the file is found, blanks included."""
    head = five.keys / "ledger-head"
    sound = head.read_bytes()
    draw = random.Random(7)
    with five.open() as ledger:
        for position in draw.sample(range(len(sound) * 8), 200):
            flipped = bytearray(sound)
            flipped[position // 8] ^= 1 << position % 8
            head.write_bytes(flipped)
            assert len(ledger.verify()) == 1, f"bit {position} of the head was flipped and not found"
        head.write_bytes(sound)
        assert ledger.verify() == ()


def test_the_newer_head_goes_over_the_older_and_never_back(tmp_path: Path) -> None:
    """Two slots in turn, so that a write cut short leaves the other; a late writer does not take back what another signed."""
    signed = SignedHead(tmp_path)
    heads = [Head(seq, f"{seq:064x}") for seq in range(1, 6)]
    with signed.turn():
        signed.begin()
    for head in heads:
        signed.write(head)
    late = SignedHead(tmp_path)
    late.write(heads[1])
    assert signed.read() == late.read() == (heads[4], heads[3])


def test_keys_for_a_ledger_that_has_a_past_are_made_by_decision_only(five: Place, tmp_path: Path) -> None:
    """Another machine on the same database, or a lost folder: nothing is signed until somebody says so, and then the chain is checked first."""
    fresh = tmp_path / "fresh"
    with five.open(fresh) as ledger:
        assert said(ledger.verify()) == [(0, "(I6)")]
        with pytest.raises(Damaged):
            write(ledger, 1)
        assert not (fresh / "ledger-key").exists()

        assert ledger.sign_anew() == ledger.head
        assert ledger.verify() == ()
        write(ledger, 1)
        with pytest.raises(ValueError, match="move it away"):
            ledger.sign_anew()
    # The first machine sees the other's entry as one past its own head, and goes on.
    with five.open() as ledger:
        assert (ledger.signed.seq, ledger.head.seq, ledger.verify()) == (5, 6, ())
        write(ledger, 1)
        assert (ledger.signed.seq, ledger.verify()) == (7, ())
    put(five, 3, why="altered")
    with five.open(tmp_path / "third") as ledger, pytest.raises(Damaged, match="I4"):
        ledger.sign_anew()


def test_one_flipped_bit_in_any_field_is_found(five: Place) -> None:
    """120 random bits of what is kept, one at a time, in both databases; each is found at its entry, and mended again."""
    draw = random.Random(11)
    kept = {row["seq"]: row for row in rows(five)}
    for _ in range(120):
        seq, field = draw.randint(1, 5), draw.choice(TEXTS)
        sound = kept[seq][field]
        position = draw.randrange(len(sound))
        flipped = sound[:position] + chr(ord(sound[position]) ^ 1 << draw.randrange(7)) + sound[position + 1 :]
        if "\x00" in flipped:
            continue
        put(five, seq, **{field: flipped})
        found, stopped = broken(five)
        assert {number for number, _ in found} == {seq}, f"{field} of {seq}: {flipped!r}"
        assert stopped
        put(five, seq, **{field: sound})
    assert broken(five) == ([], [])


def test_a_bit_flipped_in_the_file_is_found_or_harms_nothing(tmp_path: Path) -> None:
    """SQLite: any bit of the file, structure included. Either a fault is told or every entry still reads as it was written; never a crash."""
    path, keys = tmp_path / "ledger.sqlite", tmp_path / "keys"
    with open_ledger(path, keys) as ledger:
        written = write(ledger, 40)
    sound = path.read_bytes()
    draw = random.Random(13)
    told = 0
    for _ in range(300):
        position = draw.randrange(len(sound) * 8)
        flipped = bytearray(sound)
        flipped[position // 8] ^= 1 << position % 8
        for leftover in tmp_path.glob("ledger.sqlite-*"):
            leftover.unlink()
        path.write_bytes(flipped)
        try:
            with open_ledger(path, keys) as ledger:
                faults = ledger.verify()
                told += bool(faults)
                assert faults or list(ledger.entries()) == written, f"bit {position}"
        except (Damaged, Unavailable):
            told += 1
    assert told > 50


def test_bytes_that_are_no_text_are_found(tmp_path: Path) -> None:
    """A bit that makes invalid UTF-8, numbers and nothing where text should be: faults, by field."""
    path, keys = tmp_path / "ledger.sqlite", tmp_path / "keys"
    place = Place("sqlite", str(path), keys)
    with open_ledger(path, keys) as ledger:
        write(ledger, 4)
    place.tamper("UPDATE entries SET why = CAST(x'ff' AS TEXT) WHERE seq = 1", "UPDATE entries SET body = x'00ff' WHERE seq = 2")
    with open_ledger(path, keys) as ledger:
        assert [str(fault) for fault in ledger.verify()] == [
            "entry 1: the field why is not UTF-8 (I5)",
            "entry 2: the field body is not UTF-8 (I5)",
        ]


def test_verify_holds_few_entries_at_a_time(ledger: Ledger) -> None:
    """60 entries of 400 kB are verified in a fraction of the memory that all of them take."""
    import tracemalloc

    for step in range(60):
        ledger.append(ledger.head, at=NOON, who="ops", what="change", why="", body={"step": step, "much": "x" * 400_000})
    tracemalloc.start()
    assert ledger.verify() == ()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 * 400_000
