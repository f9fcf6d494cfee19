"""Sessions and serials: a serial stands for one set, and what is not certain begins anew."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nnix.planes.trust.rtr.history import CHANGES_MAX, ROWS_ALWAYS, SERIALS, History, age, begun, next_serial
from nnix.planes.trust.rtr.keeping import Corrupt, kept, read_back
from nnix.planes.trust.rtr.records import ROW4, Change, Records, changed, joined, no_rows, records


def vrps(*numbers: int, aspas: dict[int, tuple[int, ...]] | None = None) -> Records:
    """10.0.0.0/24 for each of the origins `numbers`."""
    rows = [bytes((10, 0, 0, 0, 24, 24)) + struct.pack(">I", number) for number in numbers]
    return records(np.frombuffer(b"".join(rows), ROW4), no_rows(np.dtype("S22")), (), (aspas or {}).items())


@pytest.mark.parametrize(
    ("serial", "now", "steps"),
    [
        (5, 5, 0),
        (5, 6, 1),
        (6, 5, None),
        (SERIALS - 1, 0, 1),
        (0, SERIALS - 1, None),
        (0, 2**31 - 1, 2**31 - 1),
        (0, 2**31, None),
        (2**31, 0, None),
    ],
)
def test_which_serial_is_older_is_asked_of_their_distance(serial: int, now: int, steps: int | None) -> None:
    """RFC 1982, 3.2; at 2^31 apart there is no answer, so there is none here."""
    assert age(serial, now) == steps


def test_after_the_last_serial_comes_zero() -> None:
    assert next_serial(SERIALS - 1) == 0
    history = begun(4, SERIALS - 1, vrps(1), 0.0).updated(vrps(2), 1.0)
    assert history.serial == 0
    assert history.remembers(SERIALS - 1) and not history.remembers(1)


def test_the_same_set_keeps_its_serial_and_only_gets_younger() -> None:
    history = begun(4, 7, vrps(1, 2), 10.0).updated(vrps(2, 1), 20.0)
    assert (history.serial, history.built, history.changes) == (7, 20.0, ())


def test_what_came_and_went_is_not_told() -> None:
    """8210bis, 5.3, for VRPs and for an ASPA that was changed back."""
    history = begun(4, 7, vrps(1, aspas={9: (1,)}), 0.0)
    for found in (vrps(1, 2, aspas={9: (1, 2)}), vrps(3), vrps(1, aspas={9: (1,)})):
        history = history.updated(found, 0.0)
    assert history.serial == 10
    assert len(history.since(7)) == 0
    assert len(history.since(8)) == 3


def test_any_serial_that_is_remembered_leads_to_the_newest_set() -> None:
    sets = [vrps(*range(step % 7, step * 3 % 11 + step % 7), aspas={step % 3: (step + 1,)}) for step in range(40)]
    history = begun(4, SERIALS - 20, sets[0], 0.0)
    held = {history.serial: sets[0]}
    for found in sets[1:]:
        history = history.updated(found, 0.0)
        held[history.serial] = found
    assert all(changed(found, history.since(serial)) == history.newest for serial, found in held.items())


def test_a_serial_that_is_forgotten_or_still_to_come_is_not_remembered() -> None:
    history = begun(4, 0, vrps(0), 0.0)
    for step in range(1, CHANGES_MAX + 10):
        history = history.updated(vrps(step), 0.0)
    assert history.remembers(history.serial - CHANGES_MAX) and not history.remembers(history.serial - CHANGES_MAX - 1)
    assert not history.remembers(history.serial + 1)
    with pytest.raises(ValueError, match="not remembered"):
        history.since(0)


def test_changes_larger_than_the_set_are_forgotten_since_the_set_is_shorter() -> None:
    many = vrps(*range(ROWS_ALWAYS))
    history = begun(4, 0, many, 0.0).updated(vrps(), 0.0)
    assert history.remembers(0)
    history = history.updated(many, 0.0)
    assert history.remembers(1) and not history.remembers(0)


def test_sessions_of_different_versions_are_different() -> None:
    """8210bis, 5.1; and no version of one session is a version of another."""
    history = begun(65532, 0, vrps(1), 0.0)
    assert [history.session_of(version) for version in (0, 1, 2)] == [65532, 65533, 65534]
    with pytest.raises(ValueError, match="multiple of four"):
        begun(3, 0, vrps(1), 0.0)


def long_one() -> History:
    history = begun(8, SERIALS - 2, vrps(1, 2, aspas={7: (1, 2)}), 5.0)
    for found in (vrps(2, 3), vrps(), vrps(4, aspas={7: (3,)})):
        history = history.updated(found, 6.5)
    return history


def test_a_history_that_was_kept_goes_on_where_it_was() -> None:
    history = long_one()
    back = read_back(kept(history))
    assert (back.session, back.serial, back.built) == (history.session, history.serial, history.built)
    assert back.newest == history.newest
    assert all(back.since(serial % SERIALS).added == history.since(serial % SERIALS).added for serial in range(SERIALS - 2, SERIALS + 2))


@pytest.mark.parametrize("at", [0, 40, 200, -40, -1])
def test_a_history_with_one_bit_turned_is_not_believed(at: int) -> None:
    octets = bytearray(kept(long_one()))
    octets[at] ^= 1
    with pytest.raises(Corrupt):
        read_back(bytes(octets))


@pytest.mark.parametrize("length", [0, 10, 100, -1])
def test_a_history_that_was_cut_off_is_not_believed(length: int) -> None:
    with pytest.raises(Corrupt):
        read_back(kept(long_one())[:length])


def test_changes_that_do_not_lead_to_the_newest_set_are_found_out() -> None:
    """H3, where the digest is right because it was written so."""
    history = long_one()
    assert read_back(kept(history)).fault() == ""
    twice = (history.changes[0], *history.changes)
    for wrong in (
        replace(history, newest=vrps(9)),
        replace(history, changes=twice),
        replace(history, session=9),
        replace(history, serial=-1),
    ):
        assert read_back(kept(wrong)).fault() != ""


def test_an_old_change_is_put_together_at_the_cost_of_looking_at_its_rows_once() -> None:
    """Nobody else is served meanwhile: 300 serials cost what sorting their rows costs, and not 300 times the sum so far."""
    steps = tuple(
        Change(Records(np.frombuffer(b"".join(struct.pack(">IBBI", row * 300 + step, 32, 32, 1) for row in range(500)), ROW4)), Records())
        for step in range(CHANGES_MAX)
    )
    history = History(4, CHANGES_MAX, 0.0, Records(), steps)
    rows = np.concatenate([each.added.v4 for each in steps])

    def cpu_seconds(work: Callable[[], object]) -> float:
        begin = time.process_time()
        work()
        return time.process_time() - begin

    once = min(cpu_seconds(lambda: np.sort(rows, kind="stable")) for _ in range(5))
    assert len(history.since(0)) == len(rows)
    assert min(cpu_seconds(lambda: history.since(0)) for _ in range(5)) < 12 * once


@pytest.mark.parametrize("part", ["v4", "aspas"])
def test_changes_that_add_what_is_there_or_remove_what_is_not_are_not_joined(part: str) -> None:
    found = vrps(1) if part == "v4" else vrps(aspas={1: (2,)})
    came, went = Change(found, Records()), Change(Records(), found)
    assert len(joined([came, went, came]).added) == 1 and len(joined([went, came])) == 0
    for wrong in ([came, came], [went, went], [came, went, went]):
        with pytest.raises(ValueError, match="twice in a row"):
            joined(wrong)
