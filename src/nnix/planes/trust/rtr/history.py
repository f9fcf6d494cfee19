"""History: the session of a table, its serial, and the changes that led there (RFC 8210, 5.1; RFC 1982).

    H1  a serial names one set: within a session no serial ever stands for two sets.
    H2  a new set gets the next serial; the same set keeps the one it has.
    H3  the newest change leads to the newest set: applied to the one before, it gives it.
    H4  when it is not certain what a serial stood for, there is a new session.

A serial is 32 bits wide and wraps. Which of two is older is asked of their distance (RFC 1982, 3.2), never of their size. A
router that is behind gets one change from its serial to ours, in which what came and went again does not appear. A router that
is ahead, or further behind than is remembered, or of another session, starts anew.

Sessions of different versions are different sessions (8210bis, 5.1), so that a router that changed its version cannot take a
serial along: a session is a multiple of four here, and the version is added to it.

Changes are kept while they are fewer than `CHANGES_MAX` and smaller, all together, than the set itself; beyond that a full set
is the shorter answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnix.planes.trust.rtr.records import Change, Records, change, joined, less

SERIALS = 2**32
SESSIONS = range(0, 2**16, 4)
CHANGES_MAX = 300  # two days of a validator that runs every ten minutes
ROWS_ALWAYS = 10_000  # changes of a small table may be larger than the table


def next_serial(serial: int) -> int:
    """RFC 1982, 3.1."""
    return (serial + 1) % SERIALS


def age(serial: int, now: int) -> int | None:
    """How many steps `serial` is behind `now`; None when it is not behind: RFC 1982, 3.2 calls it newer, or cannot say."""
    steps = (now - serial) % SERIALS
    return steps if steps < SERIALS // 2 else None


@dataclass(frozen=True, eq=False)
class History:
    """A table's newest set, and the changes that led there, the oldest first.

    `built` is when the relying party made the newest set: seconds since 1970.
    """

    session: int
    serial: int
    built: float
    newest: Records
    changes: tuple[Change, ...] = ()

    def session_of(self, version: int) -> int:
        return self.session + version

    def remembers(self, serial: int) -> bool:
        """Whether a router at `serial` can be told what changed; otherwise it has to start anew."""
        steps = age(serial, self.serial)
        return steps is not None and steps <= len(self.changes)

    def rows_since(self, serial: int) -> int:
        """How many rows changed since `serial`, those that came and went among them; no more than these are told of."""
        steps = age(serial, self.serial)
        return sum(map(len, self.changes[len(self.changes) - steps :])) if steps else 0

    def since(self, serial: int) -> Change:
        """What changed since `serial`, as one change. Raises ValueError when that is not remembered."""
        steps = age(serial, self.serial)
        if steps is None or steps > len(self.changes):
            raise ValueError(f"serial {serial} is not remembered at {self.serial}")
        return joined(self.changes[len(self.changes) - steps :])

    def updated(self, found: Records, built: float) -> History:
        """With `found` as the newest set. A set that is not new makes no serial (H2)."""
        step = change(self.newest, found)
        if not len(step):
            return History(self.session, self.serial, built, self.newest, self.changes)
        return History(self.session, next_serial(self.serial), built, found, _remembered((*self.changes, step), len(found)))

    def fault(self) -> str:
        """What is wrong with a history that was read back from somewhere; empty when nothing is.

        The sets in between are not there any more; the changes must be able to follow one another, and to end in the newest.
        """
        if self.session not in SESSIONS or not 0 <= self.serial < SERIALS:
            return "its session or serial is none"
        try:
            whole = joined(self.changes)
        except ValueError:
            return "a change does not follow the one before"
        if not all(map(len, self.changes)):
            return "a change changes nothing"
        if len(less(whole.added, self.newest)) or len(less(whole.removed, self.newest)) != len(whole.removed):
            return "its changes do not lead to its newest set"
        return ""


def begun(session: int, serial: int, found: Records, built: float) -> History:
    """A history without a past. `session` and `serial` are drawn at random by the caller, so that neither is likely to have been used."""
    if session not in SESSIONS:
        raise ValueError(f"a session is a multiple of four below 65536, not {session}")
    return History(session, serial % SERIALS, built, found)


def _remembered(changes: tuple[Change, ...], rows: int) -> tuple[Change, ...]:
    room = max(rows, ROWS_ALWAYS)
    kept = 0
    for step in reversed(changes[-CHANGES_MAX:]):
        room -= len(step)
        if room < 0:
            break
        kept += 1
    return changes[len(changes) - kept :]
