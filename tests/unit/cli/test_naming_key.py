"""`nnix naming key` writes into the folder of secrets, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from nnix.cli.command import whole_cli


def key(state: Path, name: str) -> Result:
    return CliRunner().invoke(whole_cli(), ["--state", str(state), "naming", "key", name], standalone_mode=False)


@pytest.mark.parametrize("name", ["../../there", "/tmp/there", "sub/there", "there/", "..", ".", "", "a" * 65, "a\nb"])
def test_a_name_that_is_no_files_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    """Seen before: `../../there` laid a secret beside the state folder."""
    done = key(tmp_path / "a" / "state", name)
    assert isinstance(done.exception, click.BadParameter), repr(done.exception)
    assert "the name of a secret" in done.exception.message
    assert not [each for each in tmp_path.rglob("*") if each.is_file() and each.parent.name != "state"]
    assert not (tmp_path / "there").exists()


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """Under a name that only its owner reads; a second time would cut off whoever has the first."""
    assert key(tmp_path, "tsig-cn").exception is None
    made = tmp_path / "secrets" / "tsig-cn"
    assert made.stat().st_mode & 0o777 == 0o600
    before = made.read_bytes()
    assert isinstance(key(tmp_path, "tsig-cn").exception, click.ClickException)
    assert made.read_bytes() == before
