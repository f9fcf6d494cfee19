"""The meter's chain: what was changed shows, and what was cut short by kill -9 loses nothing and invents nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import nnix.planes.compute.meter as module
from nnix.planes.compute.meter import (
    CAUSES,
    CHAIN,
    EMPTY,
    GENESIS,
    HEAD,
    OPEN,
    Busy,
    Cause,
    Damaged,
    Head,
    Held,
    Interval,
    Malformed,
    Meter,
    audit,
    chained,
    noted,
    parsed,
)

HOUR_MS = 3_600_000


def held(device: str = "gpu-0", begin_ms: int = 0, *, job: str = "train", run: int = 1, share: int = 1000) -> Held:
    return Held("hz-ai", device, "deal-1", job, run, share, begin_ms)


def interval(device: str, begin_ms: int, end_ms: int, cause: Cause = Cause.RAN, **other: Any) -> Interval:
    return Interval("hz-ai", device, "deal-1", "train", 1, 1000, begin_ms, end_ms, cause, **other)


def chain(count: int) -> list[bytes]:
    """The lines of a sound chain: one device, one second each."""
    return [each.line() for each in chained(EMPTY, (interval("gpu-0", n * 1000, n * 1000 + 1000) for n in range(count)))]


def said(lines: list[bytes], *heads: Head) -> list[str]:
    return [str(each) for each in audit(b"".join(lines), heads).faults]


def test_a_sound_chain_has_no_fault_and_gives_back_what_was_written() -> None:
    lines = chain(5)
    found = audit(b"".join(lines), [EMPTY, parsed(lines[2][:-1]).head])
    assert found.faults == ()
    assert [each.interval.begin_ms for each in found.records] == [0, 1000, 2000, 3000, 4000]
    assert [each.line() for each in found.records] == lines
    assert sum(each.interval.device_microseconds for each in found.records) == 5 * 1_000_000


def test_a_share_of_a_device_is_measured_in_thousandths() -> None:
    """A device-hour has 3,600,000,000 device-microseconds; a quarter of a device for an hour has a quarter of them."""
    quarter = Interval("hz-ai", "gpu-0", "deal-1", "train", 1, 250, 0, HOUR_MS, Cause.RAN)
    assert interval("gpu-0", 0, HOUR_MS).device_microseconds == 3_600_000_000
    assert quarter.device_microseconds == 900_000_000


def test_the_digest_can_be_recomputed_with_a_json_library_and_sha256() -> None:
    """By code that shares nothing with the meter's."""
    import hashlib

    for line in chain(3):
        fields = json.loads(line)
        digest = fields.pop("digest")
        assert digest == hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("field", sorted(asdict(interval("gpu-0", 0, 1))))
def test_any_field_of_any_row_that_is_altered_is_found(place: int, field: str) -> None:
    lines = chain(6)
    fields = json.loads(lines[place])
    other = {"cause": "node-lost", "saved": True, "share_thousandths": 999, "end_ms": fields["end_ms"] - 1}
    fields[field] = other.get(field, fields[field] + 1 if isinstance(fields[field], int) else "other")
    lines[place] = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert any(f"record {place + 1}: " in each and ("M3" in each or "M4" in each) for each in said(lines)), said(lines)


def test_an_altered_row_is_told_once_and_not_held_against_its_successors() -> None:
    lines = chain(6)
    lines[2] = lines[2].replace(b'"end_ms":3000', b'"end_ms":2999')
    (fault,) = said(lines)
    assert fault.startswith("record 3: was altered after it was written") and "M3" in fault


def test_a_row_that_is_altered_together_with_its_digest_breaks_the_next_and_the_noted_head() -> None:
    lines = chain(4)
    head = parsed(lines[-1][:-1]).head
    (forged,) = chained(parsed(lines[1][:-1]).head, [interval("gpu-0", 2000, 2500)])
    assert said([*lines[:2], forged.line(), lines[3]]) == [
        f"record 4: names {parsed(lines[3][:-1]).before[:12]}… as the digest of the record before, which is {forged.digest[:12]}… (M1)"
    ]
    rewritten = [
        *lines[:2],
        *(each.line() for each in chained(parsed(lines[1][:-1]).head, [interval("gpu-0", 2000, 2500), interval("gpu-0", 3000, 4000)])),
    ]
    assert said(rewritten) == []  # whoever rewrites all that follows is caught by what was noted elsewhere, and by nothing else
    assert said(rewritten, head) == [f"record 4: is not the one that was noted: that had the digest {head.digest[:12]}… (M5)"]


@pytest.mark.parametrize("place", range(5))
def test_a_missing_row_is_found(place: int) -> None:
    lines = chain(6)
    del lines[place]
    assert said(lines) == [f"record {place + 2}: follows record {place}: {place + 1} is missing (M2)"]


@pytest.mark.parametrize("left", range(6))
def test_a_dropped_tail_is_found_by_the_head_that_was_kept_apart(left: int) -> None:
    lines = chain(6)
    head = parsed(lines[-1][:-1]).head
    assert said(lines[:left]) == []
    assert said(lines[:left], head) == [f"record 6: was noted, but the chain ends at {left}: its tail was cut (M5)"]


def test_two_writers_are_found() -> None:
    lines = chain(3)
    (other,) = chained(parsed(lines[1][:-1]).head, [interval("gpu-1", 0, 10)])
    assert said([*lines, other.line()]) == ["record 3: stands twice, with different content: two have written (M2)"]
    assert said([*lines, lines[2]])[0] == "record 3: stands here a second time (M2)"


def test_rows_that_changed_places_are_found() -> None:
    lines = chain(4)
    assert said([lines[0], lines[2], lines[1], lines[3]])


def test_a_device_is_not_charged_twice() -> None:
    """Two halves fit into one device; a third share does not (M6)."""
    half = replace(interval("gpu-0", 0, 1000), share_thousandths=500)
    fits = [half, replace(half, job="infer"), replace(half, begin_ms=1000, end_ms=2000)]
    assert audit(b"".join(each.line() for each in chained(EMPTY, fits))).faults == ()
    third = replace(half, job="third", share_thousandths=1, begin_ms=500)
    (fault,) = audit(b"".join(each.line() for each in chained(EMPTY, [*fits, third]))).faults
    assert str(fault) == "record 4: device gpu-0 is charged twice: 1001 thousandths of it at 500 ms (M6)"


ILL_FORMED: list[tuple[str, Any]] = [
    ("end_ms", -1), ("begin_ms", 2**53), ("begin_ms", 1.0), ("run", 0), ("run", True), ("share_thousandths", 0), ("share_thousandths", 1001),
    ("cause", "eaten"), ("saved", 1), ("device", ""), ("job", "a b"), ("deal", "x" * 129), ("pool", None), ("end_ms", 5),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), ILL_FORMED)
def test_an_ill_formed_interval_is_neither_made_nor_read(field: str, value: Any) -> None:
    good = interval("gpu-0", 10, 20)
    with pytest.raises(Malformed, match=field):
        replace(good, **{field: value})
    fields = {**json.loads(next(chained(EMPTY, [good])).line()), field: value}
    with pytest.raises(Malformed):
        parsed(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 10_000, b'{"seq":1}', b" " + chain(1)[0][:-1]])
def test_a_line_that_is_no_record_is_a_fault_and_never_an_exception(line: bytes) -> None:
    lines = chain(3)
    assert said([lines[0], line + b"\n", lines[2]])[0].startswith("record 2: ")


def test_every_cause_says_what_it_is() -> None:
    assert set(CAUSES) == set(Cause)


# The writer.


def test_what_is_held_is_ended_by_its_cause_and_at_its_millisecond(tmp_path: Path) -> None:
    """A resize in mid-hour: two devices for a quarter of an hour, then one for the rest."""
    with Meter(tmp_path, "hz-ai") as meter:
        both = meter.start([held("gpu-0"), held("gpu-1")])
        meter.stop(both, HOUR_MS // 4, Cause.RESIZED)
        one = meter.start([held("gpu-0", HOUR_MS // 4)])
        one = (meter.cut(one, HOUR_MS), meter.held)[1]
        meter.stop(one, HOUR_MS + 7, Cause.FINISHED, saved=True)
    found = audit((tmp_path / CHAIN).read_bytes(), noted(tmp_path))
    assert found.faults == ()
    assert [(each.interval.device, each.interval.begin_ms, each.interval.end_ms, str(each.interval.cause)) for each in found.records] == [
        ("gpu-0", 0, 900_000, "resized"),
        ("gpu-1", 0, 900_000, "resized"),
        ("gpu-0", 900_000, 3_600_000, "ran"),
        ("gpu-0", 3_600_000, 3_600_007, "finished"),
    ]


def test_a_second_writer_is_refused_for_as_long_as_the_first_lives(tmp_path: Path) -> None:
    with Meter(tmp_path, "hz-ai"), pytest.raises(Busy):
        Meter(tmp_path, "hz-ai")
    Meter(tmp_path, "hz-ai").close()


def test_a_meter_does_not_hand_out_more_of_a_device_than_there_is(tmp_path: Path) -> None:
    with Meter(tmp_path, "hz-ai") as meter:
        meter.start([held(share=600)])
        with pytest.raises(ValueError, match="1200 thousandths"):
            meter.start([held(job="other", share=600)])
        with pytest.raises(ValueError, match="of pool"):
            meter.start([replace(held("gpu-1"), pool="nb-ai")])
        assert [each.job for each in meter.held] == ["train"]


def test_a_clock_that_is_set_back_charges_nothing_twice(tmp_path: Path) -> None:
    with Meter(tmp_path, "hz-ai") as meter:
        first = meter.start([held(begin_ms=1000)])
        meter.look(5000)
        (record,) = meter.stop(first, 2000, Cause.FINISHED)
        (second,) = meter.start([held(begin_ms=3000, run=2)])
        meter.stop([second], 4000, Cause.FINISHED)
    assert (record.interval.begin_ms, record.interval.end_ms) == (1000, 5000)
    assert second.begin_ms == 5000
    assert audit((tmp_path / CHAIN).read_bytes()).faults == ()


def test_a_device_is_charged_from_its_own_beginning_whatever_was_looked_at_meanwhile(tmp_path: Path) -> None:
    with Meter(tmp_path, "hz-ai") as meter:
        meter.start([held("gpu-0", 1000)])
        meter.look(5000)
        (late,) = meter.start([held("gpu-1", 4500, job="other")])
        meter.stop([late], 5500, Cause.FINISHED)
    (record,) = audit((tmp_path / CHAIN).read_bytes(), noted(tmp_path)).records
    assert (record.interval.begin_ms, record.interval.end_ms) == (4500, 5500)


def test_what_a_dead_meter_held_is_ended_where_it_was_seen_last(tmp_path: Path) -> None:
    with Meter(tmp_path, "hz-ai") as meter:
        meter.start([held(begin_ms=1000)])
        meter.look(61_000)
    with Meter(tmp_path, "hz-ai") as meter:
        (record,) = meter.stop(meter.held, 500_000, Cause.METER_LOST)
    assert (record.interval.end_ms, record.interval.cause) == (61_000, Cause.METER_LOST)


def test_a_meter_goes_on_where_its_job_did(tmp_path: Path) -> None:
    with Meter(tmp_path, "hz-ai") as meter:
        meter.start([held(begin_ms=1000)])
    with Meter(tmp_path, "hz-ai") as meter:
        (record,) = meter.stop(meter.held, 500_000, Cause.FINISHED)
    assert (record.interval.begin_ms, record.interval.end_ms) == (1000, 500_000)


@pytest.mark.parametrize(
    "spoil", [lambda lines: lines[:-1], lambda lines: lines[1:], lambda lines: [lines[0][:-9] + b"x" + lines[0][-8:], *lines[1:]]]
)
def test_a_damaged_chain_is_not_continued(tmp_path: Path, spoil: Callable[[list[bytes]], list[bytes]]) -> None:
    with Meter(tmp_path, "hz-ai") as meter:
        for second in range(3):
            meter.stop(meter.start([held(begin_ms=second * 1000)]), second * 1000 + 500, Cause.FINISHED)
    lines = (tmp_path / CHAIN).read_bytes().splitlines(keepends=True)
    (tmp_path / CHAIN).write_bytes(b"".join(spoil(lines)))
    with pytest.raises(Damaged):
        Meter(tmp_path, "hz-ai")


@pytest.mark.parametrize("lost", [HEAD, CHAIN])
def test_a_lost_head_or_a_lost_chain_is_not_taken_for_a_new_one(tmp_path: Path, lost: str) -> None:
    with Meter(tmp_path, "hz-ai") as meter:
        meter.stop(meter.start([held()]), 10, Cause.FINISHED)
    (tmp_path / lost).unlink()
    with pytest.raises(Damaged):
        Meter(tmp_path, "hz-ai")


def test_a_full_disk_leaves_no_half_of_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Meter(tmp_path, "hz-ai") as meter:
        meter.stop(meter.start([held()]), 10, Cause.FINISHED)
        taken = meter.start([held(begin_ms=10)])
        write = os.pwrite

        def full(file: int, content: bytes, offset: int) -> int:
            if len(content) <= 100:
                raise OSError(28, "No space left on device")
            return write(file, content[:100], offset)

        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", full)
            with pytest.raises(OSError, match="No space"):
                meter.stop(taken, 20, Cause.FINISHED)
        assert (tmp_path / CHAIN).read_bytes().count(b"\n") == 1 and (tmp_path / CHAIN).read_bytes().endswith(b"\n")
        meter.stop(taken, 30, Cause.FINISHED)
    found = audit((tmp_path / CHAIN).read_bytes(), noted(tmp_path))
    assert found.faults == () and [each.interval.end_ms for each in found.records] == [10, 30]


# Killed. What the kernel was given survives a process, so these need no disk to be waited for.


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)


def killed_child(work: Callable[[], None]) -> bool:
    """Run `work` in a process of its own; whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def begun(folder: Path) -> list[bytes]:
    """A meter with one record written, two devices in hand, both seen at 2000."""
    with Meter(folder, "hz-ai") as meter:
        meter.stop(meter.start([held("gpu-9")]), 1000, Cause.FINISHED)
        meter.start([held("gpu-0", 1000), held("gpu-1", 1000)])
        meter.look(2000)
    return (folder / CHAIN).read_bytes().splitlines(keepends=True)


def ends_both(folder: Path) -> None:
    with Meter(folder, "hz-ai") as meter:
        meter.stop(meter.held, 3000, Cause.PREEMPTED)


def after_the_kill(folder: Path, before: list[bytes]) -> None:
    """The next meter finds a sound chain that begins with what was there, and each device ends exactly once."""
    with Meter(folder, "hz-ai") as meter:
        meter.stop(meter.held, 9000, Cause.METER_LOST)
    found = audit((folder / CHAIN).read_bytes(), noted(folder))
    assert found.faults == () and found.torn_bytes == 0
    assert [each.line() for each in found.records[: len(before)]] == before
    ended = sorted((each.interval.device, each.interval.begin_ms, each.interval.end_ms) for each in found.records[len(before) :])
    assert [each[:2] for each in ended] == [("gpu-0", 1000), ("gpu-1", 1000)]
    assert all(end in (2000, 3000) for _, _, end in ended)


def test_killed_at_any_byte_of_an_append_nothing_before_is_lost_and_nothing_is_invented(tmp_path: Path, quick_disk: None) -> None:
    """A write of two records, with a real SIGKILL after some numbers of bytes; the same files come of just as many bytes of it, which is tried
    for every number from none to all."""
    write = os.pwrite
    before = begun(tmp_path / "before")
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    ends_both(tmp_path / "after")
    whole = (tmp_path / "after" / CHAIN).read_bytes()
    start = len(b"".join(before))
    for cut in range(len(whole) - start + 1):
        folder = tmp_path / str(cut)
        shutil.copytree(tmp_path / "before", folder)
        (folder / CHAIN).write_bytes(whole[: start + cut])
        if cut % 97 == 0:
            really = tmp_path / f"{cut}-killed"
            shutil.copytree(tmp_path / "before", really)

            def work(folder: Path = really, cut: int = cut) -> None:
                def torn(file: int, content: bytes, offset: int) -> int:
                    write(file, content[:cut], offset)
                    os.kill(os.getpid(), signal.SIGKILL)
                    return 0

                os.pwrite = torn  # type: ignore[assignment]
                ends_both(folder)

            assert killed_child(work)
            assert all((really / each).read_bytes() == (folder / each).read_bytes() for each in (CHAIN, HEAD, OPEN))
        after_the_kill(folder, before)


def test_a_torn_line_is_cut_off_before_anything_is_written(tmp_path: Path, quick_disk: None) -> None:
    """However long it is: nothing of it may stand behind a shorter record."""
    before = begun(tmp_path)
    with (tmp_path / CHAIN).open("ab") as chain:
        chain.write(b"x" * 5000)
    assert audit((tmp_path / CHAIN).read_bytes(), noted(tmp_path)).torn_bytes == 5000
    Meter(tmp_path, "hz-ai").close()
    assert (tmp_path / CHAIN).read_bytes() == b"".join(before)


def test_killed_before_any_call_that_touches_the_disk_each_device_ends_once(tmp_path: Path, quick_disk: None) -> None:
    """Between record, head and note of what is held there is no step at which a device would be lost or charged twice."""
    steps = 0
    while steps < 100:
        folder = tmp_path / str(steps)
        before = begun(folder)

        def work(folder: Path = folder, left: list[int] = [steps]) -> None:  # noqa: B006  each child has its own
            def counted(call: Callable[..., Any]) -> Callable[..., Any]:
                def wrapped(*arguments: Any) -> Any:
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left[0] -= 1
                    return call(*arguments)

                return wrapped

            for name in ("pwrite", "write", "fsync", "fdatasync", "rename", "open", "close"):
                setattr(os, name, counted(getattr(os, name)))
            Path.rename = counted(Path.rename)  # type: ignore[method-assign]
            ends_both(folder)

        if not killed_child(work):
            break
        after_the_kill(folder, before)
        steps += 1
    assert 15 < steps < 100


def test_killed_after_a_cut_the_job_that_goes_on_is_charged_on_without_a_gap(tmp_path: Path) -> None:
    before = begun(tmp_path)
    note = Meter._note

    def work() -> None:
        Meter._note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        with Meter(tmp_path, "hz-ai") as meter:
            meter.cut(meter.held, 3000)

    assert killed_child(work) and Meter._note is note
    with Meter(tmp_path, "hz-ai") as meter:
        assert sorted((each.device, each.begin_ms) for each in meter.held) == [("gpu-0", 3000), ("gpu-1", 3000)]
        meter.stop(meter.held, 4000, Cause.FINISHED)
    found = audit((tmp_path / CHAIN).read_bytes(), noted(tmp_path))
    assert found.faults == () and len(found.records) == len(before) + 4


WRITER = """
import os, sys
from pathlib import Path
from nnix.planes.compute.meter import Cause, Held, Meter
os.fsync = os.fdatasync = lambda _: None
with Meter(Path(sys.argv[1]), "hz-ai") as meter:
    meter.stop(meter.held, 0, Cause.METER_LOST)
    while True:
        (record,) = meter.stop(meter.start([Held("hz-ai", "gpu-0", "deal-1", "train", 1, 1000, meter.seen_ms)]), meter.seen_ms + 1000, Cause.FINISHED)
        print(record.seq, record.digest, flush=True)
"""


def test_what_a_writer_has_said_to_be_written_is_there_after_kill_9(tmp_path: Path) -> None:
    """Three processes one after the other, each killed while it writes as fast as it can."""
    told: dict[int, str] = {}
    chance = random.Random(7)
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, 30)):
            seq, digest = writer.stdout.readline().split()
            told[int(seq)] = digest
        writer.kill()
        for line in writer.stdout.read().splitlines():
            if len(line.split()) == 2 and len(line.split()[1]) == 64:
                told[int(line.split()[0])] = line.split()[1]
        writer.stdout.close()
        writer.wait()
    found = audit((tmp_path / CHAIN).read_bytes(), noted(tmp_path))
    assert found.faults == ()
    kept = {each.seq: each.digest for each in found.records}
    assert told.items() <= kept.items()


def test_the_meter_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """It is laid on machines that have python3 and no nnix."""
    there = tmp_path / "nnix" / "planes" / "compute"
    there.mkdir(parents=True)
    (there / "meter.py").write_bytes(Path(module.__file__).read_bytes())
    words = "import nnix.planes.compute.meter as m; print(m.GENESIS)"
    ran = subprocess.run(
        [sys.executable, "-S", "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {words}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.strip() == GENESIS, ran.stderr


def test_open_json_that_cannot_be_read_stops_the_meter(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / OPEN).write_text('{"held": [')
    with pytest.raises(Damaged, match="cannot be read"):
        Meter(tmp_path, "hz-ai")


def drawn(chance: random.Random) -> Iterator[tuple[str, int]]:
    at_ms = 0
    for _ in range(60):
        at_ms += chance.randrange(1, 50_000)
        yield chance.choice(["start", "stop", "cut", "look", "die"]), at_ms


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_to_a_meter_its_records_are_what_was_held(tmp_path: Path, quick_disk: None, seed: int) -> None:
    """Against a model that adds up device by device: the sum of all records is the time that was held, once."""
    chance, expected, since = random.Random(seed), 0, dict[str, int]()
    meter = Meter(tmp_path, "hz-ai")
    for number, (event, at_ms) in enumerate(drawn(chance)):
        if event == "start":
            free = [f"gpu-{n}" for n in range(4) if f"gpu-{n}" not in since]
            meter.start([held(device, at_ms, run=number + 1) for device in free[:2]])
            since |= dict.fromkeys(free[:2], at_ms)
        elif event == "look":
            meter.look(at_ms)
        elif event == "cut":
            meter.cut(meter.held, at_ms)
        elif event == "die":
            meter.close()
            meter = Meter(tmp_path, "hz-ai")
        elif meter.held:
            gone = chance.choice(meter.held)
            meter.stop([gone], at_ms, chance.choice([each for each in Cause if each not in (Cause.RAN, Cause.METER_LOST)]))
            expected += at_ms - since.pop(gone.device)
    meter.stop(meter.held, at_ms, Cause.FINISHED)
    meter.close()
    expected += sum(at_ms - each for each in since.values())
    found = audit((tmp_path / CHAIN).read_bytes(), noted(tmp_path))
    assert found.faults == ()
    assert sum(each.interval.device_microseconds for each in found.records) == expected * 1000
