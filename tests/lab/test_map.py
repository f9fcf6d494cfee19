"""The map of a running exchange: `nnix map --watch` sees light that goes, light that deceives, and a member cut off."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nnix.planes.fabric.kinds import Link
from nnix.planes.fabric.names import link_interface

from .exchange import Lab, frame, member

pytestmark = pytest.mark.lab

SECONDS_MAX = 30.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("map"))
    try:
        assert made.apply([*frame(), *member(1, site="east"), *member(2, site="west")]).verified
        yield made
    finally:
        assert made.close() == []


@pytest.fixture
def lines(lab: Lab, tmp_path: Path) -> Iterator[tuple[list[str], Path]]:
    """What the command says, line by line as it comes, and the file that it draws."""
    picture, log = tmp_path / "live.svg", tmp_path / "log"
    said: list[str] = []
    with log.open("w") as output:
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", "map", "--watch", "--every", "0.5", "-o", str(picture)]
        watcher = subprocess.Popen(argv, env={**os.environ, "NNIX_STATE": str(lab.setting.state)}, stdout=output, stderr=output)
        try:
            until(lambda: bool(re.search(r"3 of 3 links up.*; 0 members cut off", last(log, said))), said)
            yield said, picture
        finally:
            watcher.send_signal(signal.SIGTERM)
            assert watcher.wait(timeout=30) == 0
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".live")] == []


def last(log: Path, said: list[str]) -> str:
    said[:] = log.read_text().splitlines()
    return said[-1] if said else ""


def until(holds: Callable[[], bool], said: list[str]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline, said[-3:]
        time.sleep(0.1)


def interface(lab: Lab, link: str, site: str) -> str:
    return link_interface(next(each for each in lab.snapshot.of(Link) if each.name == link), site)


def test_a_site_that_loses_both_lines_is_drawn_as_lost_with_its_member(lab: Lab, lines: tuple[list[str], Path]) -> None:
    """And comes back on the map when they do."""
    said, picture = lines
    ends = [interface(lab, link, "west") for link in ("south-west", "west-east")]
    for end in ends:
        lab.host_run("west", "ip", "link", "set", end, "down")
    until(lambda: "1 members cut off: m2" in last(picture.with_name("log"), said), said)
    assert "link/south-west, link/west-east, site/west" in said[-1]
    assert "✕ 1 members cut off · 断开的成员: m2" in picture.read_text()
    for end in ends:
        lab.host_run("west", "ip", "link", "set", end, "up")
    until(lambda: bool(re.search(r"3 of 3 links up.*; 0 members cut off", last(picture.with_name("log"), said))), said)
    assert "断开的成员" not in picture.read_text()


def test_a_line_that_is_cut_under_its_light_is_drawn_as_failed(lab: Lab, lines: tuple[list[str], Path]) -> None:
    """Its ends keep their carrier; nothing arrives, so the underlay goes around it."""
    said, picture = lines
    end = interface(lab, "west-east", "west")
    table = f"table netdev cut {{ chain c {{ type filter hook ingress device {end} priority 0; policy drop; }}; }}"
    lab.host_run("west", "sh", "-c", f"printf '%s\\n' '{table}' | nft -f -")
    until(lambda: "failed: link/west-east;" in last(picture.with_name("log"), said), said)
    assert "0 members cut off" in said[-1]
    lab.host_run("west", "nft", "delete", "table", "netdev", "cut")
    until(lambda: "3 of 3 links up" in last(picture.with_name("log"), said), said)
