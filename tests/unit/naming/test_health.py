"""Whether a node announces its prefix: every row of the table, and what three nodes do together when all are ill."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nnix.planes.naming.health import ANNOUNCED, TABLE, Around, Memory, Pace, State, Wants, ZoneSeen, complaints, event, judge, older

ANCHOR = "1 13 2 " + "A" * 64
WANTS = Wants("lab.", lag_seconds_max=60, life_seconds_min=3600, anchors=(ANCHOR,), algorithms=(13,))
GOOD = ZoneSeen(True, True, serial=5, gate_serial=5, expires=1_000_000, keys=(ANCHOR,))
NOW = 900_000.0
PACE = Pace(ill_checks=3, well_seconds=5, turn_seconds=3)


@pytest.mark.parametrize(
    ("seen", "behind", "words"),
    [
        (GOOD, 0, ""),
        (ZoneSeen(False), 0, "no answer"),
        (ZoneSeen(False, lacks=True), 0, "lab.: no version of it"),
        (ZoneSeen(False, lacks=True, gate_lacks=True), 0, "lab.: no version of it, nor has the gate one"),
        (replace(GOOD, authoritative=False), 0, "no authority"),
        (replace(GOOD, serial=None), 0, "no authority"),
        (replace(GOOD, gate_serial=6), 60, ""),
        (replace(GOOD, gate_serial=6), 61, "serial 5, and the gate has had 6 for 61 s"),
        (replace(GOOD, gate_serial=None), 10_000, ""),
        (replace(GOOD, gate_serial=4), 10_000, ""),
        (replace(GOOD, expires=int(NOW) + 3600), 0, ""),
        (replace(GOOD, expires=int(NOW) + 3599), 0, "signatures end in 3599 s"),
        (replace(GOOD, expires=int(NOW) - 1), 0, "signatures have expired"),
        (replace(GOOD, keys=("2 13 2 " + "B" * 64,)), 0, "none of its keys is an anchor"),
        (replace(GOOD, keys=()), 0, "no DNSKEY"),
        (replace(GOOD, keys=(ANCHOR, "7 5 2 " + "C" * 64)), 0, "signed with algorithm 5"),
    ],
)  # fmt: skip
def test_a_zone_is_complained_of_for_what_is_wrong_with_it(seen: ZoneSeen, behind: float, words: str) -> None:
    """One thing each, at its very bound."""
    said = complaints(WANTS, seen, behind, NOW)
    assert words in "; ".join(said)
    assert bool(said) == bool(words)


@pytest.mark.parametrize(
    ("serial", "than", "is_older"),
    [
        (1, 2, True),
        (2, 1, False),
        (1, 1, False),
        (2**32 - 1, 0, True),
        (0, 2**32 - 1, False),
        (0, 2**31, False),
        (2**31, 0, False),
        (0, 2**31 - 1, True),
    ],
)
def test_serials_go_in_a_circle(serial: int, than: int, is_older: bool) -> None:
    """RFC 1982, 3.2; two that are half the circle apart are not comparable, so nobody is ill for that."""
    assert older(serial, than) is is_older


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("ill", [False, True])
@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("others", [None, 0, 1, 2])
@pytest.mark.parametrize("waited", [0.0, 4.0, 6.0])
def test_every_event_that_can_happen_has_a_row(state: State, ill: bool, answers: bool, others: int | None, waited: float) -> None:
    """Nothing that is seen can leave a node without a decision."""
    memory = Memory(state, 100.0)
    assert (state, event(memory, ill, answers, Around(others), PACE, 100.0 + waited)) in TABLE


def test_no_event_makes_the_last_one_withdraw() -> None:
    """From any state in which it is announced, nothing leads out of it while no other announces the prefix, or none can be heard."""
    for state in ANNOUNCED:
        for others in (0, None):
            for waited in (0.0, 1e6):
                happened = event(Memory(state, 0.0), True, False, Around(others), PACE, waited)
                assert TABLE[state, happened] in ANNOUNCED


class Node:
    """A node in a small world of its own clock."""

    def __init__(self, turn: int) -> None:
        self.pace = replace(PACE, turn_seconds=3.0 * turn)
        self.memory = Memory(State.OUT, 0.0)
        self.seen = GOOD
        self.wrong: tuple[str, ...] = ()

    def look(self, others: int | None, clock: float) -> None:
        self.memory, self.wrong = judge(self.memory, [WANTS], {"lab.": self.seen}, Around(others), self.pace, clock=clock, now=NOW)

    @property
    def announced(self) -> bool:
        return self.memory.state in ANNOUNCED


def live(nodes: list[Node], seconds: range) -> list[int]:
    """Each second all nodes look at once, and hear what was announced the second before; how many announced, each second."""
    counts = []
    for second in seconds:
        heard = [each.announced for each in nodes]
        for index, node in enumerate(nodes):
            node.look(sum(heard) - heard[index], float(second))
        counts.append(sum(each.announced for each in nodes))
    return counts


def test_nodes_that_fall_ill_together_leave_one_by_one_and_the_last_stays() -> None:
    """An expired zone everywhere: there is never a moment without anybody."""
    nodes = [Node(turn) for turn in range(3)]
    live(nodes, range(10))
    assert [each.memory.state for each in nodes] == [State.IN] * 3
    for each in nodes:
        each.seen = replace(GOOD, expires=int(NOW) - 1)
    counts = live(nodes, range(10, 60))
    assert min(counts) == 1
    assert counts[-1] == 1
    assert [each.memory.state for each in nodes] == [State.OUT, State.OUT, State.LAST]
    for each in nodes:
        each.seen = GOOD
    assert live(nodes, range(60, 80))[-1] == 3


def test_one_lost_answer_is_no_illness() -> None:
    """Two bad looks pass; the third in a row makes it ill; one good one makes it well again."""
    node = Node(0)
    for second in range(10):
        node.look(2, float(second))
    for pattern, state in ((("bad", "bad", "good"), State.IN), (("bad", "bad", "bad"), State.ILL), (("good",), State.IN)):
        for each in pattern:
            node.seen = GOOD if each == "good" else ZoneSeen(False)
            node.look(2, 10.0)
        assert node.memory.state is state


def test_who_was_out_comes_back_when_all_others_are_gone_but_only_if_it_can_answer() -> None:
    """A late answer is better than none; no answer is not better than none."""
    node = Node(0)
    node.seen = ZoneSeen(False)
    node.look(0, 1.0)
    assert not node.announced
    node.seen = replace(GOOD, expires=int(NOW) - 1)
    node.look(0, 2.0)
    assert node.announced
    assert node.memory.state is State.LAST


def test_a_node_that_has_just_started_proves_itself_first() -> None:
    """Healthy for five seconds before it draws queries."""
    node = Node(0)
    states = []
    for second in range(8):
        node.look(2, float(second))
        states.append(node.memory.state)
    assert states[:6] == [State.PROVING] * 6 or states.index(State.IN) >= 5
    assert states[-1] is State.IN


# -- one zone of many ------------------------------------------------------------------------------------------------

NEW = replace(WANTS, origin="new.")


class Host(Node):
    """A node of two zones: one that is well, and `self.new`."""

    def __init__(self) -> None:
        super().__init__(0)
        self.new: ZoneSeen | None = None

    def look(self, others: int | None, clock: float) -> None:
        seen = {"lab.": self.seen} | ({"new.": self.new} if self.new else {})
        wants = [WANTS, NEW] if self.new else [WANTS]
        self.memory, self.wrong = judge(self.memory, wants, seen, Around(others), self.pace, clock=clock, now=NOW)

    def lives(self, seconds: range) -> set[State]:
        states = set()
        for each in seconds:
            self.look(2, float(each))
            states.add(self.memory.state)
        return states


@pytest.fixture
def announced() -> Host:
    node = Host()
    node.lives(range(10))
    assert node.memory.state is State.IN
    return node


def test_a_zone_that_the_gate_lacks_as_well_is_told_and_takes_no_site_from_the_others(announced: Host) -> None:
    """A registry that does not answer yet, hosted beside others: seen with the example, two of three sites left."""
    announced.new = ZoneSeen(False, lacks=True, gate_lacks=True)
    assert announced.lives(range(10, 1000)) == {State.IN}
    assert announced.wrong == ("new.: no version of it, nor has the gate one",)
    fresh = Host()
    fresh.new = announced.new
    assert fresh.lives(range(10)) == {State.PROVING, State.IN}
    fresh.seen = ZoneSeen(False, lacks=True, gate_lacks=True)
    assert State.OUT in fresh.lives(range(10, 20)), "a node that answers nothing at all"


def test_a_server_that_says_nothing_is_ill_whatever_its_gate_has(announced: Host) -> None:
    announced.new = ZoneSeen(False, gate_lacks=True)
    assert State.OUT in announced.lives(range(10, 20))


def test_a_new_zone_may_take_as_long_as_a_new_serial_and_one_that_was_there_may_not_go(announced: Host) -> None:
    """Its first version is a minute on its way where it is large. A node that comes back has no such time: others have it already."""
    announced.new = ZoneSeen(False, lacks=True, gate_serial=5)
    assert announced.lives(range(10, 71)) == {State.IN}
    announced.new = GOOD
    assert announced.lives(range(71, 73)) == {State.IN}
    announced.new = ZoneSeen(False, lacks=True, gate_serial=5)
    assert State.OUT in announced.lives(range(73, 80))
    assert announced.lives(range(80, 200)) == {State.OUT}
    late = Host()
    late.lives(range(10))
    late.new = announced.new
    assert State.OUT in late.lives(range(10, 80))


@pytest.mark.parametrize("unheard", [replace(GOOD, serial=5, gate_serial=None), ZoneSeen(False)], ids=["the-gate", "the-server"])
def test_a_lost_question_does_not_make_a_lag_a_new_one(unheard: ZoneSeen) -> None:
    """One look in ten tells nothing: with lag_max 60 s the node leaves nevertheless, soon after, and does not begin to count again."""
    node = Node(0)
    live([node], range(10))
    for second in range(10, 90):
        node.seen = unheard if second % 10 == 0 else replace(GOOD, gate_serial=6)
        node.look(2, float(second))
    assert node.memory.state is State.OUT
    node.seen = replace(GOOD, serial=6, gate_serial=6)
    node.look(2, 90.0)
    assert node.memory.behind_since == {}
