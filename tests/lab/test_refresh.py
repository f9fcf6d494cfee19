"""A running exchange keeps up with a registry by itself: what a member registers reaches the route servers of both makes while `nnix run` runs, what the
registry loses does not, and nobody's session notices."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nnix.cli.answers import standing
from nnix.cli.root import Setting
from nnix.daemons import openbgpd
from nnix.kernel.document import write
from nnix.planes.routing.asking import ASKING
from tests.irr.speaker import Speaker, speaking
from tests.lab.exchange import frame, member, resource

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
    pytest.mark.skipif(not Path(openbgpd.PROGRAM).exists(), reason="openbgpd is not installed"),
]

REGISTERED = "route: 198.18.7.0/24\norigin: AS64496\nsource: T\n\nroute6: 2001:2:7::/48\norigin: AS64496\nsource: T\n"
LATER = "\nroute: 198.18.8.0/24\norigin: AS64497\nsource: T\n\nroute6: 2001:2:8::/48\norigin: AS64497\nsource: T\n"
MAKES = {"rs-a": "bird", "rs-b": "openbgpd"}


@dataclass
class Running:
    folder: Path
    setting: Setting
    registry: Speaker

    def declare(self, **fields: Any) -> None:
        found = {each.id: each for each in [*frame(second="openbgpd"), *member(1, site="east"), *member(2, site="south")]}
        made = [
            resource("RoutingRegistry", "main", server=self.registry.server, databases=["T"], seconds_max=5, every="2s", **fields),
            resource("RoutingPolicy", "open", irr="strict", irr_registries=["main"], rpki="off"),
            resource("RoutingPolicy", "without-roles", irr="strict", irr_registries=["main"], rpki="off", roles=False),
            resource("Router", "m1", session="m1", announces=[{"prefix": "198.18.7.0/24"}, {"prefix": "2001:2:7::/48"}]),
            resource("Router", "m2", session="m2", announces=[{"prefix": "198.18.8.0/24"}, {"prefix": "2001:2:8::/48"}]),
        ]
        (self.folder / "all.yaml").write_text(write([*({**found, **{each.id: each for each in made}}).values()]))

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", "from nnix.cli import main; main()", "--state", str(self.setting.state), *words]

    def __call__(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def accepted(self) -> dict[str, set[str]]:
        """Route server → what stands in its tables."""

        async def asked() -> dict[str, set[str]]:
            found = {}
            for name, make in MAKES.items():
                found[name] = {each.prefix for each in await ASKING[make].accepted(self.setting.machines.host(name), name)}
            return found

        return asyncio.run(asked())

    def sessions(self) -> dict[str, Any]:
        async def asked() -> dict[str, Any]:
            return {
                f"{name} {protocol}": each.since
                for name, make in MAKES.items()
                for protocol, each in (await ASKING[make].sessions(self.setting.machines.host(name), name)).protocols.items()
                if each.established
            }

        return asyncio.run(asked())

    def failed(self) -> str:
        return standing(self.setting, "main").failed

    def until(self, claim: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < deadline, f"{what}; accepted are {self.accepted()}; the registry: {standing(self.setting, 'main')}"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("refresh")
    (folder / "exchange").mkdir()
    with speaking({"T": REGISTERED}) as registry:
        running = Running(folder / "exchange", Setting(folder / "state", None), registry)
        running.declare()
        running("irr", "fetch", str(running.folder))
        running("up", str(running.folder))
        yield running
        running("down", "--forget")


def assert_same_sessions(now: dict[str, Any], before: dict[str, Any]) -> None:
    """All stand since the same instant. OpenBGPD says for how many seconds, so that an instant may come out a second or two apart."""
    assert now.keys() == before.keys()
    apart = {name: datetime.fromisoformat(now[name]) - datetime.fromisoformat(before[name]) for name in now}
    assert {name: each for name, each in apart.items() if abs(each) > timedelta(seconds=3)} == {}


def test_what_is_registered_while_it_runs_is_taken_up_and_what_the_registry_loses_is_not(exchange: Running) -> None:
    """Both makes, IPv4 and IPv6; no session goes down. A registry that falls silent, or has lost its data, changes nothing and is asked again; and what somebody
    is writing in the folder meanwhile is not taken up."""
    first, both = {"198.18.7.0/24", "2001:2:7::/48"}, {"198.18.7.0/24", "2001:2:7::/48", "198.18.8.0/24", "2001:2:8::/48"}
    exchange.until(lambda: exchange.accepted() == dict.fromkeys(MAKES, first), "what is registered is not accepted, or more than that")
    up = exchange.sessions()
    log = (exchange.setting.state / "run.log").open("w")
    keeper = subprocess.Popen(exchange.command("run"), stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        exchange.registry.databases["T"] = REGISTERED + LATER
        (exchange.folder / "all.yaml").write_text("half a sent")
        exchange.until(lambda: exchange.accepted() == dict.fromkeys(MAKES, both), "what was registered is not taken up")
        assert_same_sessions(exchange.sessions(), up)
        exchange.registry.fault = "cut"
        exchange.until(lambda: bool(exchange.failed()), "nobody noticed that it is away")
        exchange.registry.fault, exchange.registry.databases["T"] = "", ""
        exchange.until(lambda: "knows none" in exchange.failed(), "it was not asked again")
        assert exchange.accepted() == dict.fromkeys(MAKES, both)
        assert_same_sessions(exchange.sessions(), up)
    finally:
        keeper.send_signal(signal.SIGTERM)
        keeper.wait(60)
        log.close()
    said = (exchange.setting.state / "run.log").read_text()
    assert "routing-registry/main: asked" in said


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
def test_when_the_last_good_answer_is_too_old_a_refresh_is_refused_and_what_runs_stays(exchange: Running) -> None:
    """when_old: refuse. Two hours later by the clock, with a registry that cannot be asked and an age of one hour allowed."""
    exchange.registry.fault = ""
    exchange.registry.databases["T"] = REGISTERED + LATER
    exchange.declare(age_max_hours=1)
    exchange("irr", "fetch", str(exchange.folder))
    exchange("apply", str(exchange.folder), "--yes")
    before = exchange.accepted()
    exchange.registry.fault = "cut"
    late = ["faketime", "-f", "+2h", *exchange.command("irr", "refresh")]
    done = subprocess.run(late, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "routing.evidence-is-fresh" in done.stdout + done.stderr
    assert exchange.accepted() == before
