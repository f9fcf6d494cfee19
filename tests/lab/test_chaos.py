"""A random walk of changes, undos, kills and hand edits, with a route server of each make: at each step the daemons equal the model, at the end the
ledger is true."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Iterator

import pytest

from nnix.kernel.change import inverse
from nnix.kernel.evidence import Evidence
from nnix.kernel.loop import Loop
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refused
from nnix.planes.fabric.kinds import Lan, Port
from nnix.planes.fabric.names import lan_bridge
from nnix.planes.routing.kinds import RouteServer, Session
from nnix.planes.routing.naming import protocol_name

from .exchange import SITES, Lab, frame, member

pytestmark = pytest.mark.lab

STEPS = 200
MEMBERS = range(1, 8)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("chaos"))
    yield lab
    assert lab.close() == []


class Walk:
    """What the exchange is declared to be, and the steps that may be taken from there."""

    def __init__(self, lab: Lab, chance: random.Random) -> None:
        self.lab, self.chance = lab, chance
        self.states = dict.fromkeys(MEMBERS[:4], "production")
        self.sites = {number: SITES[number % 3] for number in MEMBERS}
        self.keeper = Loop(lab.setting.office, lab.setting.lock, lab.setting.state / "loop.json", lambda line: None)

    def declared(self) -> list[Resource]:
        return [*frame(second="openbgpd"), *(r for n, state in self.states.items() for r in member(n, site=self.sites[n], state=state))]

    def change(self) -> str:
        """Join, leave, move, or change the state of a port."""
        number = self.chance.choice(MEMBERS)
        if number not in self.states:
            self.states[number] = "production"
            said = f"m{number} joins"
        elif self.chance.random() < 0.3 and len(self.states) > 2:
            del self.states[number]
            said = f"m{number} leaves"
        elif self.chance.random() < 0.3:
            self.sites[number] = self.chance.choice(SITES)
            said = f"m{number} moves to {self.sites[number]}"
        else:
            self.states[number] = self.chance.choice(["production", "drained", "suspended", "quarantine"])
            said = f"m{number} is {self.states[number]}"
        done = self.lab.apply(self.declared(), said)
        assert done.verified, [f"{o.key}: {o.failure}" for o in done.failures]
        return said

    def undo(self) -> str:
        """Take the newest change back, when it is not the first."""
        office = self.lab.setting.office
        newest = office.book.model().seq
        try:
            wanted = inverse(office.book, newest)
        except Refused:
            return "nothing to undo"
        if not wanted.of(RouteServer):
            return "the first change is not undone"
        done = self.lab.run(office.apply(office.draft(wanted, Evidence(), undoes=newest), f"undo {newest}"))
        assert done.verified
        self.states = {int(p.name[1:]): str(p.state.value) for p in wanted.of(Port)}
        self.sites |= {int(p.name[1:]): str(p.site) for p in wanted.of(Port)}
        return f"undo {newest}"

    def kill(self) -> str:
        """kill -9 on a daemon, found by its pid file."""
        home = self.lab.setting.state / "hosts"
        pid_file = self.chance.choice(sorted(each for daemon in ("bird", "frr", "openbgpd") for each in home.glob(f"*/{daemon}/*/*.pid")))
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        return f"kill {pid_file.relative_to(home)}"

    def edit(self) -> str:
        """A hand edit of a configuration file."""
        home = self.lab.setting.state / "hosts"
        file = self.chance.choice(sorted(home.glob("*/bird/*/bird.conf")) + sorted(home.glob("*/openbgpd/*/bgpd.conf")))
        file.write_text(file.read_text() + "# somebody was here\n")
        return f"edit {file.relative_to(home)}"

    def break_bridge(self) -> str:
        """A bridge is deleted."""
        site, bridge = self.chance.choice(SITES), lan_bridge(self.lab.snapshot.of(Lan)[0])
        self.lab.host_run(site, "ip", "link", "del", bridge)
        return f"delete {bridge} at {site}"

    def break_filter(self) -> str:
        """The filters of a site are flushed."""
        site = self.chance.choice(SITES)
        self.lab.host_run(site, "nft", "flush", "ruleset")
        return f"flush nftables at {site}"

    def step(self) -> str:
        act = self.chance.choices(
            [self.change, self.undo, self.kill, self.edit, self.break_bridge, self.break_filter], weights=[8, 2, 4, 3, 2, 2]
        )[0]
        return act()


@pytest.mark.timeout(1200)
def test_two_hundred_random_steps(lab: Lab) -> None:
    """After each step and one look of the loop, every daemon holds what the model says, no more and no less."""
    seed = int(os.environ.get("NNIX_SEED", time.time_ns() % 2**32))
    print(f"seed {seed}")
    walk = Walk(lab, random.Random(seed))
    begun = lab.apply(walk.declared(), "begin")
    assert begun.verified, [f"{o.key}: {o.failure}" for o in begun.failures]
    for number in range(STEPS):
        said = walk.step()
        lab.run(walk.keeper.sweep())
        where = f"seed {seed}, step {number}: {said}"
        assert lab.differences() == {}, where
        _equal(lab, where)
    assert lab.setting.ledger.verify() == ()
    drifts = list(lab.setting.ledger.entries(what="drift"))
    assert len(drifts) > STEPS / 10, "drift is recorded"


def _equal(lab: Lab, where: str) -> None:
    """The route servers' sessions and the sites' filters, read back from the daemons themselves, without our drivers."""
    snapshot = lab.snapshot
    served = [s for s in snapshot.of(Session) if snapshot.at(s.port).state.value in ("production", "drained")]
    expected = {protocol_name(s, 4) for s in served} | {protocol_name(s, 6) for s in served}
    for server in snapshot.of(RouteServer):
        home = lab.setting.state / "hosts" / server.name / server.daemon / server.name
        if server.daemon == "bird":
            shown = lab.host_run(server.name, "birdc", "-r", "-s", str(home / "bird.ctl"), "show", "protocols")
            found = {line.split()[0] for line in shown.splitlines() if re.match(r"c_\S+\s+BGP", line)}
        else:
            shown = lab.host_run(server.name, "bgpctl", "-s", str(home / "bgpd.sock"), "show", "summary")
            found = {line.split()[0] for line in shown.splitlines() if line.startswith("c_")}
        assert found == expected, where
    for site in SITES:
        rules = lab.host_run(site, "nft", "list", "set", "bridge", "nnix", "macs")
        here = [s for s in snapshot.of(Session) if snapshot.at(s.port).site == site]
        assert all(mac in rules for s in here for mac in s.macs if snapshot.at(s.port).state.value == "production"), where
        assert not any(mac in rules for s in snapshot.of(Session) if s not in here for mac in s.macs), where
