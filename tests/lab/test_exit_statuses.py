"""How `up`, `status` and `down` end: 0 when all is as it should be, 1 refused or taken back, 2 wrong use, 3 when the world disagrees (docs/change.md)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from nnix.cli.root import Setting
from nnix.kernel.document import write
from nnix.kernel.resource import Resource
from nnix.planes.routing.kinds import Session
from tests.lab.exchange import member, resource

pytestmark = pytest.mark.lab

SOUND = [
    resource("Exchange", "one", title={"en": "One"}, asn=65551, country="CN", lab=True),
    resource("Lan", "lan", title={"en": "LAN"}, v4="203.0.113.0/24", v6="2001:db8:1::/64"),
    resource("Site", "east", title={"en": "east"}, role="hub", level="city", city="east", country="CN"),
    *(
        each.changed(route_servers=False) if isinstance(each, Session) else each
        for number in (1, 2)
        for each in member(number, site="east")
    ),
]
"""one switch and two members' routers, that peer with one another only"""
FAR = [
    resource("Machine", "far-switch", reach="ssh", address="127.0.0.1", port=9),  # discard: nobody answers there
    resource("Site", "far", title={"en": "far"}, role="node", level="city", city="far", country="CN", machine="far-switch"),
    resource("Link", "east-far", a="east", b="far", capacity="10G", latency="1ms"),
]
"""a site whose switch cannot be reached"""


class Nnix:
    """The command, with a state folder and files of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder / "exchange", folder / "state"
        self.folder.mkdir()
        self.environment = {**os.environ, "NNIX_STATE": str(self.state)}
        self.namespace = f"{Setting(self.state, None).prefix}east"

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", *words]
        return subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=120, check=False)

    def up(self, resources: Iterable[Resource]) -> subprocess.CompletedProcess[str]:
        (self.folder / "exchange.yaml").write_text(write(list(resources)))
        return self("up", str(self.folder))


@pytest.fixture(scope="module")
def nnix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nnix]:
    made = Nnix(tmp_path_factory.mktemp("statuses"))
    try:
        first = made.up(SOUND)
        assert (first.returncode, "Up in" in first.stdout) == (0, True), first.stderr
        yield made
    finally:
        made("down")


def test_what_is_up_ends_with_0_and_again_changes_nothing(nnix: Nnix) -> None:
    again = nnix.up(SOUND)
    assert (again.returncode, "Nothing had to be changed" in again.stdout) == (0, True), again.stderr
    assert nnix("status").returncode == 0


def test_files_that_are_not_sound_end_with_1_and_wrong_use_with_2(nnix: Nnix) -> None:
    """And what ran runs on."""
    refused = nnix.up([*SOUND, resource("Link", "loop", a="east", b="east", capacity="10G", latency="1ms")])
    assert (refused.returncode, "fabric.link-two-ends" in refused.stderr) == (1, True)
    assert nnix("up", str(nnix.folder / "nowhere")).returncode == 2
    assert nnix("status").returncode == 0


def test_a_change_that_cannot_be_brought_about_is_taken_back_and_ends_with_1(nnix: Nnix) -> None:
    """The switch of the new site cannot be reached; the old exchange is as it was."""
    done = nnix.up([*SOUND, *FAR])
    assert done.returncode == 1, done.stdout
    assert "far-switch" in done.stdout + done.stderr
    assert '"site/far"' not in nnix("status", "--json").stdout
    assert nnix("status").returncode == 0


def test_a_world_that_disagrees_is_told_by_3_until_it_is_put_right(nnix: Nnix) -> None:
    """A port without light; `up` gives it back."""
    subprocess.run(["ip", "-n", nnix.namespace, "link", "set", "p-m1", "down"], check=True)
    told = nnix("status")
    assert (told.returncode, "p-m1" in told.stdout) == (3, True), told.stdout
    assert nnix.up(SOUND).returncode == 0
    assert nnix("status").returncode == 0


def test_the_first_change_has_nothing_to_go_back_to_and_ends_with_3(tmp_path: Path) -> None:
    """What could be brought up is up; and what cannot be taken away on a machine that does not answer ends `down` with 1."""
    lonely = Nnix(tmp_path)
    try:
        assert lonely.up([*SOUND, *FAR]).returncode == 3
        assert subprocess.run(["ip", "-n", lonely.namespace, "link", "show", "p-m1"], capture_output=True, check=False).returncode == 0
    finally:
        done = lonely("down")
    assert (done.returncode, "far-switch" in done.stderr) == (1, True), done.stderr
    assert subprocess.run(["ip", "-n", lonely.namespace, "link", "show"], capture_output=True, check=False).returncode != 0


def test_down_ends_with_1_while_somebody_keeps_the_exchange_up_and_else_with_0(nnix: Nnix) -> None:
    """`nnix run` would put everything back. Down twice is down."""
    argv = [sys.executable, "-c", "from nnix.cli import main; main()", "run"]
    with subprocess.Popen(argv, env=nnix.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as keeper:
        try:
            deadline = time.monotonic() + 30
            while not (nnix.state / "loop.json").exists():
                assert time.monotonic() < deadline, "the loop does not start"
                time.sleep(0.05)
            held = nnix("down")
            assert (held.returncode, "stop it first" in held.stderr) == (1, True)
        finally:
            keeper.terminate()
            keeper.wait(30)
    assert nnix("down").returncode == 0
    assert subprocess.run(["ip", "-n", nnix.namespace, "link", "show"], capture_output=True, check=False).returncode != 0
    assert nnix("down").returncode == 0
