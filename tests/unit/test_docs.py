"""The documentation does what it says: pages are carried out as written, references are what the code would write today."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nnix.cli.pages import PAGES

ROOT = Path(__file__).parents[2]
CARRIED_OUT = ("add-a-kind.md", "add-a-rule.md", "add-a-plane.md", "files.md")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and the line at which it stands."""

    language: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    for found in re.finditer(r"(?ms)^```(\w+)\n(.*?)^```$", page):
        yield Block(found[1], found[2], page.count("\n", 0, found.start()) + 1)


def write_file(tree: Path, text: str) -> None:
    """A block whose first line is a comment with a path becomes that file."""
    first, _, rest = text.partition("\n")
    path = tree / first.removeprefix("# ").strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rest if path.suffix != ".yaml" else text)


def patch(tree: Path, text: str) -> None:
    """A diff without line numbers: what it takes away and keeps must stand there once."""
    first, *lines = text.splitlines()
    path = tree / first.removeprefix("--- ")
    old = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "-"))
    new = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "+"))
    whole = path.read_text()
    if whole.count(old) != 1 and len(lines) == 2:  # a piece of one line
        old, new = old.rstrip("\n"), new.rstrip("\n")
    assert whole.count(old) == 1, f"{path} has this {whole.count(old)} times:\n{old}"
    path.write_text(whole.replace(old, new))


def transcript(text: str) -> Iterator[tuple[str, str]]:
    """(command, what it must print) of a console block."""
    command, expected = "", ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:], ""
        else:
            expected += line.rstrip() + "\n"
    if command:
        yield command, expected


def fits(said: str, expected: str) -> bool:
    """Whether the output is what the page shows; `…` stands for anything, alone on a line for any lines. Column widths do not matter."""
    said, expected = (re.sub(r"(?<=\S) {2,}", "  ", text) for text in (said, expected))
    pattern = re.escape(expected).replace("…\\\n", "…\n")
    pattern = re.sub(r"(?m)^\s*(?:\\ )*…\n", "(?:.*\n)*?", pattern.replace("\\\n", "\n")).replace("…", ".*")
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in said.splitlines())) is not None


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a page may change, with an `nnix` of its own."""
    tree = tmp_path_factory.mktemp("docs") / "tree"
    for name in ("src/nnix", "examples"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "tests/unit/fabric").mkdir(parents=True)
    command = tree / "bin/nnix"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from nnix.cli import main; main()' \"$@\"\n")
    command.chmod(0o755)
    python = tree / "bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')  # not a link, which would not find its packages
    python.chmod(0o755)
    return tree


# How far it has come is told of what takes longer than a second; on a busy machine that may be anything.
PROGRESS = re.compile(r"^[a-z ]+: \d+ of \d+ \(\d+\.\d s\)\n", re.MULTILINE)


@pytest.mark.parametrize("name", CARRIED_OUT)
def test_the_page_is_carried_out_as_written(name: str, installed: Path, tmp_path: Path) -> None:
    """Files are written, differences applied, commands typed; what they print is what the page shows."""
    tree = shutil.copytree(installed, tmp_path / "tree", symlinks=True)
    environment = {
        "PATH": f"{tree}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(tree / "src"),
        "NNIX_STATE": str(tmp_path / "state"),
        "HOME": str(tmp_path),
        "COLUMNS": "160",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    ran = 0
    for block in blocks((ROOT / "docs" / name).read_text()):
        where = f"docs/{name}:{block.line}"
        match block.language:
            case "python" | "yaml" if block.text.startswith("# ") and "/" in block.text.partition("\n")[0]:
                write_file(tree, block.text)
            case "diff":
                patch(tree, block.text)
            case "console":
                for command, expected in transcript(block.text):
                    done = subprocess.run(
                        ["sh", "-c", command], check=False, cwd=tree, env=environment, capture_output=True, text=True, timeout=120
                    )
                    said = PROGRESS.sub("", done.stdout + done.stderr)
                    assert fits(said, expected), f"{where}\n$ {command}\n{said}\n--- the page shows\n{expected}"
                    ran += 1
    assert ran, f"{name} has no command to type"


@pytest.mark.parametrize("name", PAGES)
def test_references_are_what_the_code_says(name: str) -> None:
    """docs/commands.md, kinds.md and rules.md are generated; `python -m nnix.cli.pages docs` writes them anew."""
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "run: python -m nnix.cli.pages docs"


def test_every_page_that_is_named_is_there() -> None:
    """Links between pages, and pages that the code sends people to."""
    for page in sorted((ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([a-z-]+\.md)(?:#[a-z-]+)?\)", page.read_text()):
            assert (ROOT / "docs" / target).exists(), f"{page.name} → {target}"
    for source in (ROOT / "src").rglob("*.py"):
        for target in re.findall(r"docs/([a-z-]+\.md)", source.read_text()):
            assert (ROOT / "docs" / target).exists(), f"{source} → docs/{target}"
