"""Our own programs on a machine: what they need beyond the standard library is looked for before anything is touched."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath

import pytest

from nnix.cli.root import drivers
from nnix.daemons.program import ProgramDriver
from nnix.hosts.namespace import NamespaceHost


@pytest.mark.parametrize(("needs", "words"), [((), ""), (("json",), ""), (("json", "no_such_package"), "there is no no_such_package")])
def test_a_machine_that_lacks_a_package_is_refused(needs: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """In its own words, and by which packages."""
    driver = ProgramDriver("odd", "nnix.odd", {}, needs=needs, interpreter="python3")
    said = asyncio.run(driver.check(NamespaceHost("here", None, tmp_path), b"{}"))
    assert bool(said) == bool(words)
    assert words in said
    assert not words or said.startswith("needs python3 with json and no_such_package")


def test_what_is_delivered_is_what_runs(tmp_path: Path) -> None:
    """A Python that has packages may have nnix itself, and a folder without `__init__.py` gives way to it (PEP 420): then another version would run."""
    programs = [each for each in drivers("t", tmp_path).values() if isinstance(each, ProgramDriver) and each.needs]
    assert {"ray", "rtr"} <= {each.name for each in programs}
    for program in programs:
        folders = {str(folder) for file in program.files for folder in PurePosixPath(file).parents if str(folder) != "."}
        missing = {folder for folder in folders if f"{folder}/__init__.py" not in program.files}
        assert not missing, f"{program.name}: {missing}"
