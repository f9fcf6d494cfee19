"""What is registered and goes from a switch is back before anybody misses it, while `nnix run` keeps the exchange; and what goes for a reason is not.

The loop looks once an hour here, so whatever comes back was heard. Time is what the kernel says: from its word on netlink that an entry went to its
word that it is there again.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from nnix.cli.root import ALL_PLANES
from nnix.hosts.namespace import inside
from nnix.kernel.change import admit
from nnix.kernel.drive import converge
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.planes.fabric.compile import switches
from nnix.planes.fabric.policy import LanEnd, Switch

from .exchange import Lab, frame, member, resource
from .frames import octets

pytestmark = pytest.mark.lab

RTM_NEWNEIGH, RTM_DELNEIGH, RTMGRP_NEIGH = 28, 29, 4  # linux/rtnetlink.h
NDA_DST, NDA_LLADDR, NDA_MASTER = 1, 2, 9  # linux/neighbour.h
SO_RCVBUFFORCE = 33  # asm/socket.h
BACK_MILLISECONDS_MAX = 250.0  # 10 to 40 where nobody else wants the processors, as while a suite runs
DEADLINE_SECONDS = 5.0
TRIES = 7
MANY = [f"02:00:5e:20:{number // 256:02x}:{number % 256:02x}" for number in range(100)]
"""MAC addresses of one session: as many forwarding entries at each other site, twice"""


@dataclass(frozen=True)
class Heard:
    """A word of the kernel about a forwarding entry or a neighbour: when, whether it went, and of which addresses."""

    seconds: float
    went: bool
    address: bytes
    mac: bytes
    bridged: bool

    @property
    def what(self) -> tuple[bytes, bytes, bool]:
        return self.address, self.mac, self.bridged


class Ear:
    """A netlink socket in a namespace that hears of forwarding entries and neighbours."""

    def __init__(self, namespace: str) -> None:
        def opened() -> socket.socket:
            made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
            made.bind((0, RTMGRP_NEIGH))
            return made

        self.socket = inside(namespace, opened)
        self.heard: list[Heard] = []
        self.deaf = False
        self.thread = threading.Thread(target=self._hear, daemon=True)
        self.thread.start()

    def _hear(self) -> None:
        """Each word at the time when it comes, whatever else is being done."""
        while not self.deaf:
            if not select.select([self.socket], [], [], 0.1)[0]:
                continue
            data = self.socket.recv(1 << 16)
            now, at = time.monotonic(), 0
            while at + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                said = _attributes(data[at + 28 : at + length])  # behind nlmsghdr and ndmsg
                address, mac = said.get(NDA_DST, b""), said.get(NDA_LLADDR, b"")
                self.heard.append(Heard(now, kind == RTM_DELNEIGH, address, mac, NDA_MASTER in said))
                at += (length + 3) & ~3

    def listen(self, enough: Callable[[list[Heard]], object], within_seconds: float = DEADLINE_SECONDS) -> bool:
        """Until `enough` has been heard, or the time is up."""
        end = time.monotonic() + within_seconds
        while not enough(self.heard[:]):
            if time.monotonic() > end:
                return False
            select.select([], [], [], 0.01)
        return True

    def close(self) -> None:
        self.deaf = True
        self.thread.join()
        self.socket.close()


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


class Kept:
    """A small exchange with `nnix run` over it."""

    def __init__(self, folder: Path) -> None:
        self.lab = Lab(folder)
        self.log = folder.parent / "run.log"
        self.process: subprocess.Popen[bytes] | None = None
        session = resource("Session", "m4", member="m4", lan="lan", port="m4", v4="203.0.113.104", v6="2001:db8:1::104", macs=MANY)
        self.resources = [*frame(), *member(1), *member(2), *member(3), *member(4)[:2], session]

    def begin(self) -> None:
        done = self.lab.apply(self.resources)
        assert done.verified, [f"{each.key}: {each.failure}" for each in done.failures]
        deadline = time.monotonic() + 60
        for address in ("203.0.113.101", "203.0.113.102", "203.0.113.104"):
            argv = ["ip", "netns", "exec", self.namespace("m3"), "ping", "-c1", "-W1", "-n", address]
            while subprocess.run(argv, capture_output=True, check=False).returncode:
                assert time.monotonic() < deadline, "the underlay does not converge"

    def change(self, resources: list[Resource]) -> bool:
        """Change the exchange as the command does, with the world to itself; whether it came about."""
        setting = self.lab.setting

        async def apply() -> bool:
            async with setting.lock.held():
                wanted = admit(ALL_PLANES, resources, setting.book.model().snapshot)
                return (await setting.office.apply(setting.office.draft(wanted, Evidence()), "a change")).verified

        return self.lab.run(apply())

    def repair(self) -> None:
        """Drive everything, as a look would."""
        setting = self.lab.setting

        async def repaired() -> list[str]:
            async with setting.lock.held():
                outcomes = await converge(setting.world, setting.office.wanted(setting.book.model()))
            return [f"{each.key}: {each.failure}" for each in outcomes if each.failure]

        assert self.lab.run(repaired()) == []

    def run(self) -> None:
        """Start `nnix run`, and wait until it listens to each of the three switches."""
        environment = {**os.environ, "NNIX_STATE": str(self.lab.setting.state)}
        with self.log.open("wb") as log:
            argv = [sys.executable, "-c", "from nnix.cli import main; main()", "run", "--every", "3600"]
            self.process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
        end = time.monotonic() + 20
        while len(self.listeners()) < 3 or not self.looked():
            assert time.monotonic() < end, self.log.read_text()
            select.select([], [], [], 0.02)

    def looked(self) -> bool:
        """Whether the process has looked once."""
        status = self.lab.setting.state / "loop.json"
        return self.process is not None and status.exists() and json.loads(status.read_text())["pid"] == self.process.pid

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def listeners(self) -> list[str]:
        """The namespaces in which somebody listens."""
        said = subprocess.run(["pgrep", "-fx", "ip monitor neigh"], capture_output=True, text=True, check=False).stdout.split()
        ours = {(Path("/run/netns") / self.namespace(site)).stat().st_ino: site for site in ("east", "south", "west") if self.there(site)}
        found = []
        for pid in said:
            try:
                inode = int(str(Path(f"/proc/{pid}/ns/net").readlink())[5:-1])
            except OSError:
                continue
            found += [ours[inode]] if inode in ours else []
        return found

    def there(self, site: str) -> bool:
        return (Path("/run/netns") / self.namespace(site)).exists()

    def namespace(self, machine: str) -> str:
        return f"{self.lab.setting.prefix}{machine}"

    def on(self, machine: str, *command: str, stdin: str | None = None) -> str:
        argv = ["ip", "netns", "exec", self.namespace(machine), *command]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout

    def switch(self, site: str) -> tuple[Switch, LanEnd]:
        switch = next(each for each in switches(self.lab.snapshot) if each.site == site)
        return switch, switch.lans[0]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    made = Kept(tmp_path_factory.mktemp("haste") / "state")
    try:
        made.begin()
        made.run()
        yield made
    finally:
        made.kill()
        assert made.lab.close() == []


@pytest.fixture
def east(kept: Kept) -> Iterator[Ear]:
    """What the kernel says at site east, from now on."""
    if kept.process is None:
        kept.run()
    ear = Ear(kept.namespace("east"))
    yield ear
    ear.close()


FAR = "02:00:5e:20:00:07"
"""one of m4's, who is at another site than east"""


def deletions(kept: Kept) -> dict[str, list[str]]:
    """How each sort of entry can be deleted by hand at site east."""
    switch, end = kept.switch("east")
    local = next(each for each in switch.attachments if each.of == "port/m3")
    address = {each.version: str(each) for each, mac in end.neighbours or () if str(each) in ("203.0.113.101", "2001:db8:1::101")}
    return {
        "a tunnel's": ["bridge", "fdb", "del", FAR, "dev", str(end.vxlan), "self"],
        "a tunnel's, on the bridge": ["bridge", "fdb", "del", FAR, "dev", str(end.vxlan), "master"],
        "the copy to a site": ["bridge", "fdb", "del", "00:00:00:00:00:00", "dev", str(end.vxlan), "dst", str(end.flood[0]), "self"],
        "a port's": ["bridge", "fdb", "del", local.macs[0], "dev", local.interface, "master"],
        "an IPv4 neighbour": ["ip", "neigh", "del", address[4], "dev", end.bridge],
        "an IPv6 neighbour": ["ip", "neigh", "del", address[6], "dev", end.bridge],
    }


SORTS = ("a tunnel's", "a tunnel's, on the bridge", "the copy to a site", "a port's", "an IPv4 neighbour", "an IPv6 neighbour")


def back(heard: list[Heard], count: int = 1) -> list[float]:
    """For what went and came again, how long it was away, in milliseconds; empty while fewer than `count` have come."""
    times = {}
    for gone in (each for each in heard if each.went):
        same = (each for each in heard if not each.went and each.seconds >= gone.seconds)
        came = next((each for each in same if _same(each, gone)), None)
        if came is not None:
            times[gone.what] = (came.seconds - gone.seconds) * 1000
    return list(times.values()) if len(times) >= count else []


def _same(came: Heard, gone: Heard) -> bool:
    """A neighbour that was deleted goes without its MAC address."""
    return came.bridged == gone.bridged and came.address == gone.address and gone.mac in (b"", came.mac)


@pytest.mark.parametrize("sort", SORTS)
def test_a_registered_entry_that_is_deleted_is_back_at_once(kept: Kept, east: Ear, sort: str) -> None:
    """Each sort of entry; median of several. It is there again as it was, and stands in the ledger as drift."""
    command = deletions(kept)[sort]
    before = kept.on("east", "bridge", "fdb", "show"), kept.on("east", "ip", "neigh", "show", "nud", "permanent")
    took = []
    for _ in range(TRIES):
        east.heard.clear()
        kept.on("east", *command)
        assert east.listen(back, 2.0), (sort, kept.log.read_text()[-500:])
        took += back(east.heard)
    print(f"{sort}: {', '.join(f'{each:.0f}' for each in took)} ms")
    after = kept.on("east", "bridge", "fdb", "show"), kept.on("east", "ip", "neigh", "show", "nud", "permanent")
    assert [sorted(each.split("\n")) for each in after] == [sorted(each.split("\n")) for each in before]
    assert statistics.median(took) <= BACK_MILLISECONDS_MAX
    assert any("is missing" in str(each.body["found"]) for each in kept.lab.setting.ledger.entries(what="drift"))


def test_a_hundred_that_go_at_once_are_all_back(kept: Kept, east: Ear) -> None:
    """Both halves of each."""
    _, end = kept.switch("east")
    lines = [f"fdb del {mac} dev {end.vxlan} {half}" for mac in MANY for half in ("self", "master")]
    kept.on("east", "bridge", "-batch", "-", stdin="\n".join(lines))
    assert east.listen(lambda heard: sum(not each.went for each in heard) >= 2 * len(MANY)), kept.log.read_text()[-500:]
    took = back(east.heard, 2 * len(MANY))
    print(f"100 entries: first {min(took):.0f} ms, last {max(took):.0f} ms")
    assert statistics.median(took) <= 4 * BACK_MILLISECONDS_MAX
    assert kept.lab.differences() == {}


def test_traffic_hardly_notices(kept: Kept, east: Ear) -> None:
    """m3 at east sends a thousand pings a second to m1 at another site, whose entry is deleted again and again: what is lost is what was sent meanwhile."""
    _, end = kept.switch("east")
    mac = next(mac for address, mac in end.neighbours or () if str(address) == "203.0.113.101")
    assert "1 received" in kept.on("m3", "ping", "-c1", "-W2", "-n", "203.0.113.101")
    said: list[str] = []
    pinging = threading.Thread(
        target=lambda: said.append(kept.on("m3", "ping", "-q", "-n", "-i", "0.001", "-c", "2000", "-W", "1", "203.0.113.101"))
    )
    pinging.start()
    took = []
    for _ in range(5):
        east.heard.clear()
        kept.on("east", "bridge", "fdb", "del", mac, "dev", str(end.vxlan), "master")
        assert east.listen(back, 2.0)
        took += back(east.heard)
        select.select([], [], [], 0.1)
    pinging.join()
    sent, received = (int(each) for each in re.findall(r"(\d+) (?:packets transmitted|received)", said[0]))
    print(f"{sum(took):.0f} ms away in all, {sent - received} of {sent} pings lost")
    assert 0 < sent - received <= sum(took) + 5 * 10


def test_what_something_else_has_taken_the_place_of_is_not_fought(kept: Kept, east: Ear) -> None:
    """An entry that goes and comes somewhere else before it can be put back stays there until a look decides; and so it does not flap."""
    _, end = kept.switch("east")
    mac, elsewhere = MANY[9], str(end.flood[1] if str(dict(end.far)[MANY[9]]) == str(end.flood[0]) else end.flood[0])
    moved = [f"fdb del {mac} dev {end.vxlan} self", f"fdb add {mac} dev {end.vxlan} dst {elsewhere} self extern_learn"]
    kept.on("east", "bridge", "-batch", "-", stdin="\n".join(moved))
    assert not east.listen(lambda heard: len([each for each in heard if each.mac == octets(mac)]) > 2, 1.0)
    assert f"{mac} dev {end.vxlan} dst {elsewhere} self extern_learn" in kept.on("east", "bridge", "fdb", "show")
    kept.on("east", "bridge", "fdb", "del", mac, "dev", str(end.vxlan), "self")
    assert east.listen(lambda heard: back([each for each in heard if each.address != ip_address(elsewhere).packed]))
    assert kept.lab.differences() == {}


def test_nothing_is_put_back_behind_a_tunnel_end_that_no_route_leads_to(kept: Kept, east: Ear) -> None:
    """Nobody is there to hear; the next look judges."""
    _, end = kept.switch("east")
    vtep = str(dict(end.far)[FAR])
    links = [each.interface for each in kept.switch("east")[0].links]
    for link in links:
        kept.on("east", "ip", "link", "set", link, "down")
    assert vtep not in kept.on("east", "ip", "route")
    try:
        kept.on("east", "bridge", "fdb", "del", FAR, "dev", str(end.vxlan), "self")
        kept.on("east", *deletions(kept)["a port's"])
        assert east.listen(back)
        assert not east.listen(lambda heard: len(back(heard)) > 1, 0.5)
    finally:
        for link in links:
            kept.on("east", "ip", "link", "set", link, "up")
    kept.repair()
    assert kept.lab.differences() == {}


def test_a_member_who_moves_is_let_go(kept: Kept, east: Ear) -> None:
    """A change takes m1's entries away at one site and makes them at another, while the loop listens: none comes back where it was."""
    _, end = kept.switch("east")
    mac = next(mac for address, mac in end.neighbours or () if str(address) == "203.0.113.101")
    was = dict(end.far)[mac]
    site = "west" if was == kept.switch("south")[0].vtep else "south"
    assert kept.change([each for each in kept.resources if each.id != "port/m1"] + [member(1, site=site)[1]])
    now = dict(kept.switch("east")[1].far)[mac]
    assert now != was
    east.listen(lambda heard: False, 1.0)
    about = [each for each in east.heard if each.mac == octets(mac) and each.address]
    assert about[-1].address == now.packed
    assert not [each for each in about if not each.went and each.address == was.packed]
    assert kept.lab.differences() == {}


def test_a_loop_that_was_killed_leaves_nobody_listening_and_goes_on_where_it_was(kept: Kept, east: Ear) -> None:
    """kill -9 while a hundred entries are being put back; what it left undone the next one finds by its first look, and then it listens."""
    _, end = kept.switch("east")
    lines = [f"fdb del {mac} dev {end.vxlan} {half}" for mac in MANY for half in ("self", "master")]
    kept.on("east", "bridge", "-batch", "-", stdin="\n".join(lines))
    kept.kill()
    until = time.monotonic() + DEADLINE_SECONDS
    while kept.listeners():
        assert time.monotonic() < until, "somebody still listens"
        select.select([], [], [], 0.02)
    kept.on("east", *deletions(kept)["an IPv4 neighbour"])
    kept.run()
    assert kept.lab.differences() == {}
    east.listen(lambda heard: False, 0.1)
    east.heard.clear()
    kept.on("east", *deletions(kept)["a port's"])
    assert east.listen(back)


def test_a_machine_that_vanishes_is_let_go_and_listened_to_again_when_it_is_back(kept: Kept, east: Ear) -> None:
    """Nobody keeps a deleted namespace alive by listening in it; the other switches are kept as before, and it is when it has come back."""
    west = Path("/run/netns") / kept.namespace("west")
    for pid in subprocess.run(["ip", "netns", "pids", kept.namespace("west")], capture_output=True, text=True, check=True).stdout.split():
        if "ip\0monitor" not in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", kept.namespace("west")], check=True)
    east.heard.clear()
    kept.on("east", *deletions(kept)["a port's"])
    assert east.listen(back)
    until = time.monotonic() + DEADLINE_SECONDS
    while "l-south-west" in kept.on("south", "ip", "-br", "link"):
        assert time.monotonic() < until, "the namespace is still alive"
        select.select([], [], [], 0.05)
    kept.repair()
    assert west.exists()
    until = time.monotonic() + 10
    while sorted(kept.listeners()) != ["east", "south", "west"]:
        assert time.monotonic() < until, kept.listeners()
        select.select([], [], [], 0.05)
