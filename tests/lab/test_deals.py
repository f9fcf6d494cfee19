"""Deals in a running exchange: the choice of site follows what becomes of the links, and whoever kills the clearing leaves a deal whole or no deal.

A triangle of sites. The buyer's data are at east, devices of one type are for sale at south and, a little dearer, at west. Moving data costs by the link: so
south is the choice while the way there is one link, and west as soon as it would be two. The pools' engine is the one that needs nothing on their
machines: what runs on lots is the subject of test_compute.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from nnix.cli import clearing
from nnix.kernel.loop import Loop
from nnix.kernel.resource import Resource
from nnix.lab.compile import circuit_addresses, customer
from nnix.lab.failures import failure
from nnix.planes.compute.derive import circuit_of
from nnix.planes.compute.kinds import Deal
from nnix.planes.data.kinds import DataContract
from nnix.planes.fabric.kinds import Circuit
from nnix.planes.fabric.kinds import FailureSort as Sort
from tests.lab.exchange import SITES, Lab, resource
from tests.unit.cli.test_cli import Nnix
from tests.unit.cli.test_cli import nnix as command

__all__ = ["command"]

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

DEVICE = "huawei/ascend-910b"
ASKS = {"south": "8yuan", "west": "8.50yuan"}
PORTS = ("data-1", "data-2")
DIRECT = "link/east-south"
CIRCUITS = ("bc-", "vc-")
"""how names of interfaces begin that are a circuit's"""
PATIENCE_SECONDS = 60.0  # on a machine on which everything runs at once
TURNS, TURNS_MAX, DRIVING_LEAST = 8, 60, 3
"""kills that are tried at least and at most, and how many must come while machines are being driven"""


def exchange(**market: Any) -> list[Resource]:
    """Three sites, a pool at two of them, the buyer at the third; what is for sale, from this hour on, and no bids yet."""
    now = datetime.now(UTC)
    start, end = (f"{now + timedelta(hours=hours):%Y-%m-%dT%HZ}" for hours in (0, 6))
    made = [resource("Exchange", "small", title={"en": "Small"}, asn=65551, country="CN", lab=True)]
    for name in SITES:
        role = "hub" if name == "east" else "node"
        made.append(resource("Site", name, title={"en": name}, role=role, level="city", city=name, country="CN"))
    for a, b in (("east", "south"), ("south", "west"), ("west", "east")):
        made.append(resource("Link", f"{a}-{b}", a=a, b=b, capacity="20M", latency="1ms"))
    for number, name in enumerate(("buyer", *ASKS), 1):
        made.append(resource("Member", name, title={"en": name}, asn=64495 + number, **{"class": "compute"}))
    made += [resource("Port", name, member="buyer", site="east", speed="10G") for name in PORTS]
    for name, ask in ASKS.items():
        made += [
            resource("Port", name, member=name, site=name, speed="10G"),
            resource(
                "Pool", f"npus-{name}", member=name, site=name, device=DEVICE, devices=4, memory_gigabytes=64, port=name,
                engine="kubernetes",
            ),
            resource("Offer", name, pool=f"npus-{name}", lots=4, ask=ask, start=start, end=end),
        ]  # fmt: skip
    return [*made, resource("Market", "market", transfer="1yuan", **market)]


def bid(name: str, port: str) -> dict[str, Any]:
    """Four devices for two hours, and a way for five gigabytes of data that would fill a link. It may begin later: no full hour comes in between."""
    now = datetime.now(UTC)
    start, latest = (f"{now + timedelta(hours=hours):%Y-%m-%dT%HZ}" for hours in (0, 1))
    return {
        "kind": "Bid", "name": name, "member": "buyer", "limit": "100yuan", "port": port, "rate": "18M",
        "data": {"dataset": "cargo", "site": "east", "gigabytes": 5},
        "bundles": [{"device": DEVICE, "devices": 4, "hours": 2, "start": start, "latest": latest}],
    }  # fmt: skip


class Trading:
    """The lab, the command, and what is seen of deals: in the model, and on the wire."""

    def __init__(self, lab: Lab, command: Nnix, folder: Any) -> None:
        self.lab, self.command, self.folder = lab, command, folder

    def nnix(self, *words: str) -> Any:
        """What `nnix compute …` says, as JSON."""
        said = self.command(*self.lab.setting.options, "compute", *words, "--json")
        assert said.status == 0, (words, said.out, said.err)
        return said.json

    def bid(self, name: str, port: str = PORTS[0]) -> None:
        file = self.folder / f"{name}.yaml"
        file.write_text(json.dumps(bid(name, port)))
        self.nnix("bid", str(file))

    def chosen(self) -> dict[str, str]:
        """bid → the site at which it would be filled."""
        return {each["bid"]: each["offer"] for each in self.nnix("clear", "--dry-run")["deals"]}

    def sites(self) -> dict[str, str]:
        """bid → the site of its deal."""
        return {str(each.bid): str(self.lab.snapshot.at(each.pool).site) for each in self.lab.snapshot.of(Deal)}

    def until(self, holds: Callable[[], object], what: str) -> None:
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < PATIENCE_SECONDS, (what, self.lab.differences(), self.sites())
            time.sleep(0.1)

    def good(self, resource: str, good: bool = True) -> None:
        """Wait until `nnix status` says so."""
        self.until(lambda: self.lab.status(resource).good is good, f"{resource} is {'up' if good else 'down'}")

    @property
    def parts(self) -> tuple[int, int, int]:
        """How many deals, circuits and data contracts the model has."""
        return tuple(len(self.lab.snapshot.of(kind)) for kind in (Deal, Circuit, DataContract))  # type: ignore[return-value]

    def bridged(self) -> set[str]:
        """Sites whose switch has anything of a circuit."""
        return {site for site in SITES if any(each.startswith(CIRCUITS) for each in self.lab.interfaces(site))}

    def addressed(self) -> set[str]:
        """Machines at the ends of circuits that have an address on one."""
        ends = (*map(customer, PORTS), *(f"npus-{name}" for name in ASKS))
        return {each for each in ends if "198.19." in self.lab.host_run(each, "ip", "-4", "address")}

    def passes(self, bid: str) -> bool:
        """Whether packets of both families pass from the pool's machine to where the buyer's data are."""
        circuit = self.lab.snapshot.get(Circuit, circuit_of(bid))
        assert circuit is not None
        (far,) = (each for each in map(str, circuit.ends) if each in PORTS)
        (near,) = (each for each in map(str, circuit.ends) if each not in PORTS)
        argv = ("ping", "-n", "-q", "-c", "1", "-W", "1")
        machine = self.lab.setting.machines.host(f"npus-{near}")
        return all(self.lab.run(machine.run([*argv, str(each.ip)])).status == 0 for each in circuit_addresses(circuit)[far])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("deals"))
    try:
        assert lab.apply(exchange()).verified, lab.differences()
        yield lab
    finally:
        assert lab.close() == []


@pytest.fixture
def trading(lab: Lab, command: Nnix, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Trading:
    """The exchange without bids or deals, its links up."""
    monkeypatch.setattr(clearing, "LOAD_SECONDS", 0.5)
    made = Trading(lab, command, tmp_path)
    assert lab.apply(exchange()).verified, lab.differences()
    for link in ("east-south", "south-west", "west-east"):
        made.good(f"link/{link}")
    return made


@contextmanager
def failed(trading: Trading, sort: Sort) -> Iterator[None]:
    """The direct link is really out of service, as the lab's drills make it."""
    (once,) = failure(trading.lab.snapshot, sort, DIRECT).rounds
    for machine, line in once.make.items():
        trading.lab.host_run(f"@{machine}", "sh", "-c", line)
    try:
        trading.good(DIRECT, good=False)
        yield
    finally:
        for machine, line in once.heal.items():
            trading.lab.host_run(f"@{machine}", "sh", "-c", line)
        trading.good(DIRECT)


@contextmanager
def loaded(trading: Trading) -> Iterator[None]:
    """Something else fills a quarter of the direct link: 400 echoes a second of 1,442 octets each way, from switch to switch."""
    far = next(str(each.vtep) for each in trading.lab.snapshot if each.id == "site/south")  # type: ignore[attr-defined]
    namespace = f"{trading.lab.setting.prefix}east"
    argv = ["ip", "netns", "exec", namespace, "ping", "-n", "-q", "-i", "0.0025", "-s", "1400", far]
    flood = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        flood.kill()
        flood.wait()


def test_a_link_that_is_cut_moves_the_deal_and_its_circuit_to_another_site(trading: Trading) -> None:
    """Between two clearings the direct link keeps its light and carries nothing: the deal is made with the dearer pool, whose circuit works meanwhile; when
    the link is back, the next one is made with the cheaper. Before that and after, the bid would have gone to south."""
    trading.bid("first")
    assert trading.chosen() == {"first": "south"}
    with failed(trading, Sort.SILENT):
        trading.nnix("clear")
        assert trading.sites() == {"first": "west"}
        trading.until(lambda: trading.passes("first"), "packets pass to west while the other link is silent")
        assert trading.bridged() == {"east", "west"}
    trading.bid("second", PORTS[1])
    trading.nnix("clear")
    assert trading.sites() == {"first": "west", "second": "south"}
    trading.until(lambda: trading.passes("first") and trading.passes("second"), "packets pass on both circuits")
    assert trading.lab.differences() == {}
    for each in trading.lab.setting.ledger.entries(what="clearing"):
        assert trading.nnix("verify", str(each.seq))["ok"]


def test_a_link_without_light_moves_the_choice_there_and_back(trading: Trading) -> None:
    trading.bid("train")
    assert trading.chosen() == {"train": "south"}
    with failed(trading, Sort.CUT):
        assert trading.chosen() == {"train": "west"}
    assert trading.chosen() == {"train": "south"}


def test_a_link_that_carries_too_much_else_moves_the_choice_there_and_back(trading: Trading) -> None:
    """Not sold, only measured: with a quarter of it in use a circuit of nine tenths is not to be had there."""
    trading.bid("train")
    assert trading.chosen() == {"train": "south"}
    with loaded(trading):
        trading.until(lambda: trading.chosen() == {"train": "west"}, "what the link carries is seen")
    trading.until(lambda: trading.chosen() == {"train": "south"}, "it is seen to be free again")


def test_whoever_kills_the_clearing_leaves_a_deal_whole_or_no_deal(trading: Trading) -> None:
    """kill -9 at drawn moments, every second one after the change is recorded, of what makes the deal and of what takes it back. After one look of the loop, lots,
    circuit and contract are all in the model and packets pass; or none is, and no switch has anything of it."""
    seed = int(os.environ.get("NNIX_SEED", time.time_ns() % 2**32))
    print(f"seed {seed}")
    chance = random.Random(seed)
    lab = trading.lab
    trading.bid("train")
    options, ledger = lab.setting.options, lab.setting.ledger

    def words() -> list[str]:
        change = max((each.seq for each in ledger.entries(what="change")), default=0)
        return ["undo", str(change), "--yes"] if lab.snapshot.of(Deal) else ["compute", "clear"]

    whole: dict[str, tuple[float, float]] = {}  # first word → seconds until its change is recorded, and from there to its end
    for _ in range(2):
        said = words()
        began, before = time.monotonic(), ledger.head
        child = forked(trading, [*options, *said])
        recorded = seconds_until_change(trading, child, before.seq)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, said
        whole[said[0]] = recorded, time.monotonic() - began - recorded
    print(whole)

    loop = Loop(lab.setting.office, lab.setting.lock, lab.setting.state / "loop.json", lambda line: None)
    in_time, driving, turn = 0, 0, 0
    while turn < TURNS or (driving < DRIVING_LEAST and turn < TURNS_MAX):
        said, before = words(), ledger.head
        until_change, until_end = whole[said[0]]
        child = forked(trading, [*options, *said])
        if turn % 2:
            seconds_until_change(trading, child, before.seq)
            time.sleep(chance.uniform(0, until_end))  # the moment of the kill is what is drawn; nothing is waited for
        else:
            time.sleep(chance.uniform(0, until_change + until_end))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        in_time += os.WIFSIGNALED(status)
        driving += not lab.setting.book.model().brought_about
        where = f"seed {seed}, turn {turn}: {' '.join(said)}"
        assert len(set(trading.parts)) == 1, (where, trading.parts)
        lab.run(loop.sweep())
        trading.until(lambda: not lab.differences(), where)
        assert ledger.verify() == (), where
        if trading.parts[0]:
            trading.until(lambda: trading.passes("train"), where)
            site = trading.sites()["train"]
            assert trading.bridged() == {"east", site}, where
            assert trading.addressed() == {customer(PORTS[0]), f"npus-{site}"}, where
        else:
            assert trading.bridged() == set(), where
            assert trading.addressed() == set(), where
        turn += 1
    print(f"{in_time} of {turn} kills came in time, {driving} while machines were being driven")
    assert driving >= DRIVING_LEAST, f"seed {seed}: {driving} of {turn} kills came while machines were being driven"


def forked(trading: Trading, words: list[str]) -> int:
    """The command, in a process that can be killed."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = trading.command(*words).status
        finally:
            os._exit(status)
    return child


def seconds_until_change(trading: Trading, child: int, before: int) -> float:
    """How long until a change is recorded after entry `before`."""
    began = time.monotonic()
    while not any(each.seq > before for each in trading.lab.setting.ledger.entries(what="change")):
        assert os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None, "it ended, and no change was recorded"
        assert time.monotonic() - began < PATIENCE_SECONDS, "no change was recorded"
        time.sleep(0.002)
    return time.monotonic() - began


def filled(trading: Trading, name: str) -> bool:
    return name in trading.sites()


def told(trading: Trading) -> bool:
    """Whether the newest clearing of the ledger is what the loop's last round of spot came to."""
    newest = trading.lab.setting.ledger.last("clearing")
    rounds = {each["round"]: each["words"] for each in trading.nnix("book")["rounds"]}
    return newest is not None and rounds.get("spot") == f"1 bids filled by clearing {newest.body['digest'][:12]}"


def test_nnix_run_clears_by_its_rounds_and_drives_what_came_of_it(trading: Trading) -> None:
    """Spot every ten seconds: nobody gives the command, and the bid has its deal within two rounds, with a circuit on which packets pass. A second bid is
    filled by a later round, and the ledger says that both were cleared apart."""
    lab = trading.lab
    assert lab.apply(exchange(spot_every="10s")).verified
    argv = [sys.executable, "-c", "from nnix.cli import main; main()", *lab.setting.options, "run"]
    before = len(list(lab.setting.ledger.entries(what="clearing")))
    keeper = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for name, port in zip(("one", "two"), PORTS, strict=True):
            trading.bid(name, port)
            trading.until(partial(filled, trading, name), f"{name} is filled by a round")
            trading.until(partial(trading.passes, name), f"packets pass on the circuit of {name}")
            trading.until(partial(told, trading), f"the round that filled {name} has ended, and says so")
        rounds = {each["round"]: each for each in trading.nnix("book")["rounds"]}
    finally:
        keeper.send_signal(signal.SIGTERM)
        said, _ = keeper.communicate(timeout=PATIENCE_SECONDS)
    assert trading.sites() == {"one": "south", "two": "west"}, said
    assert len(list(lab.setting.ledger.entries(what="clearing"))) == before + 2, said
    assert (rounds["spot"]["every_seconds"], rounds["spot"]["failed"]) == (10, 0), rounds
    assert lab.setting.ledger.verify() == ()
