"""The paper host and its driver: what tests of the kernel lean on."""

from __future__ import annotations

import asyncio

import pytest

from nnix.daemons.paper import PAPER
from nnix.hosts.paper import PaperHost
from nnix.kernel.world import Failed, Result, Unreachable


class Died(BaseException):
    """The process was killed: nothing that catches Exception may swallow it."""


def test_an_operation_fails_before_it_takes_effect_or_after() -> None:
    """Both halves of "the machine died": it was never asked, or it did it and the answer got lost."""
    host = PaperHost("p1")
    host.fail_at(1, Died)
    host.fail_at(2, Unreachable, after=True)

    with pytest.raises(Died):
        asyncio.run(host.put({"a": b"1"}))
    assert host.files == {}
    with pytest.raises(Unreachable):
        asyncio.run(host.put({"a": b"1"}))
    assert host.files == {"a": b"1"}
    asyncio.run(host.put({"b": b"2"}))
    assert host.operations == 3


def test_a_put_of_several_files_can_die_between_two_of_them() -> None:
    """Whole or not at all is said of each file, not of all of them."""
    host = PaperHost("p1")
    host.fail_at(2)

    with pytest.raises(Failed):
        asyncio.run(host.put({"a": b"1", "b": b"2", "c": b"3"}))

    assert host.files == {"a": b"1"}


def test_it_remembers_commands_and_answers_as_it_was_told() -> None:
    """A command changes nothing on paper; only the answer function speaks."""
    host = PaperHost("p1", answer=lambda argv: Result(len(argv), "said", ""))

    assert asyncio.run(host.run(["a", "b c"], stdin=b"in")) == (2, "said", "")
    assert (host.ran, host.stdins) == ([("a", "b c")], [b"in"])


def test_an_unreachable_host_does_nothing_and_counts_nothing() -> None:
    """Otherwise a test could not tell an attempt from a deed."""
    host = PaperHost("p1", unreachable="it was sold")

    with pytest.raises(Unreachable, match="p1: it was sold"):
        asyncio.run(host.run(["true"]))
    assert (host.ran, host.operations) == ([], 0)


def test_driving_paper_twice_writes_once() -> None:
    """What already agrees is not disturbed."""
    host = PaperHost("p1")

    for _ in range(2):
        asyncio.run(PAPER.drive(host, "x", b"content"))

    assert host.written == ["paper/x"]
    assert asyncio.run(PAPER.look(host, {"x": b"content"})) == {}


def test_paper_tells_what_is_missing_and_what_was_edited() -> None:
    """look() finds both kinds of drift and drive() mends them."""
    host = PaperHost("p1", files={"paper/x": b"edited"}, modes={"paper/x": 0o600})
    wanted = {"x": b"content", "y": b"content"}

    assert asyncio.run(PAPER.look(host, wanted)) == {"x": "differs from what is wanted", "y": "not there"}
    for name, content in wanted.items():
        asyncio.run(PAPER.drive(host, name, content))
    assert asyncio.run(PAPER.look(host, wanted)) == {}


def test_paper_takes_an_artifact_away_without_a_trace() -> None:
    """None means: as if it had never been; also when it never was."""
    host = PaperHost("p1")
    asyncio.run(PAPER.drive(host, "x", b"content"))

    asyncio.run(PAPER.drive(host, "x", None))
    asyncio.run(PAPER.drive(host, "never", None))

    assert host.files == {}


def test_a_mistake_is_refused_with_its_line() -> None:
    """The refusal reaches whoever asks, and nothing is written."""
    host = PaperHost("p1")
    wrong = b"fine\n!refuse no such word\n"

    assert asyncio.run(PAPER.check(host, wrong)) == "line 2: no such word"
    with pytest.raises(Failed, match="no such word"):
        asyncio.run(PAPER.drive(host, "x", wrong))
    assert host.files == {}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [(None, b"1", "write the file"), (b"1", b"2", "write the file anew"), (b"1", None, "remove the file"), (b"1", b"1", "")],
)
def test_steps_say_what_a_change_does(old: bytes | None, new: bytes | None, words: str) -> None:
    """No step when nothing changes."""
    assert " ".join(step.does for step in PAPER.steps(old, new)) == words
