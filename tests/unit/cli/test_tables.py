"""What people read: strangers' words are shown, and obeyed by no terminal."""

from __future__ import annotations

import json

import pytest

from nnix.cli import tables

HOSTILE = "a\x1b[2J\x9b31mb\u202ec\udc80d\n中\u00a0文"


def test_a_terminal_obeys_nothing_that_a_stranger_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of both kinds, a turn of the writing, half a character; lines and blanks of all scripts stay."""
    tables.out.print(HOSTILE, markup=False)
    assert capsys.readouterr().out == "a\ufffd[2J\ufffd31mb\ufffdc\ufffdd\n中\u00a0文\n"
    tables.table("", ["said"], [[HOSTILE.partition("\n")[0]]])
    assert "\ufffd[2J\ufffd31mb\ufffdc\ufffdd" in capsys.readouterr().out


def test_a_program_gets_all_of_it_and_a_terminal_that_shows_it_obeys_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    tables.as_json({"said": HOSTILE})
    text = capsys.readouterr().out
    assert not tables.UNSEEN.search(text)
    assert json.loads(text) == {"said": HOSTILE}
