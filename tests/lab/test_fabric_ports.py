"""Three sites, five members, one switch each: what passes between ports in each of their states, what is mended, and what is left behind.

Frames are put on the members' wires byte by byte and looked for at all other members. Absence is not waited for: behind what must not
arrive the sender puts one frame that must, and when that has come, the other would have come before it. What no port may
send is in test_attacks.py.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from nnix.daemons.frr import FRR
from nnix.daemons.iproute import IPROUTE
from nnix.daemons.nftables import NFTABLES
from nnix.hosts.namespace import NamespaceHost, inside
from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Status
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Driver, Failed, Result
from nnix.planes.fabric.compile import compile
from nnix.planes.fabric.kinds import Port
from nnix.planes.fabric.read import read
from nnix.planes.routing.kinds import Session
from tests.lab.frames import ATTACKS, BGP, BROADCAST, LEGITIMATE, Make, Scene, arp, frame, ns, octets
from tests.lab.switches import DEADLINE_SECONDS, LOST, PREFIX, Fabric, exchange, mac_of, station

pytestmark = pytest.mark.lab

ALICE, BOB, DAVE = station("alice"), station("bob"), station("dave")
A, B, D = ALICE.mac, BOB.mac, DAVE.mac
SCENE = Scene(ALICE, DAVE, BOB)
TESTER = station("tester")


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    made = Fabric(tmp_path_factory.mktemp("fabric"))
    try:
        made.lay()
        yield made
    finally:
        made.take_down()


@pytest.fixture
def production(fabric: Fabric) -> Fabric:
    fabric.move(exchange())
    return fabric


@pytest.mark.parametrize(
    "whom", ["192.0.2.4", "192.0.2.2", "192.0.2.3", "192.0.2.251", "2001:db8:1::4", "2001:db8:1::2", "2001:db8:1::3", "2001:db8:1::fb"]
)
def test_members_reach_one_another_and_the_route_server_over_both_address_families(production: Fabric, whom: str) -> None:
    """At the same site, at the next one, and at the one behind it."""
    assert production.pings("alice", whom)


def test_a_switch_itself_says_nothing_on_the_lan(production: Fabric) -> None:
    """What it would send itself, by any program or accident, reaches neither its ports nor its tunnels; without the two rules it would."""

    def speak(token: bytes) -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as bridge:
            bridge.bind(("br-peering", 0))
            bridge.send(frame("02:00:5e:10:00:aa", BROADCAST, 0x9000, token))

    def dropped() -> list[int]:
        """Frames to ports, and into tunnels."""
        rules = production.on("a", "nft", "list", "chain", "bridge", "nnix", "output").stdout
        return [int(each) for each in re.findall(r"oifname @(?:ports|tunnels) counter packets (\d+)", rules)]

    ears = {name: production.wire(name) for name in ("alice", "dave", "bob")}
    try:
        before = dropped()
        inside(PREFIX + "a", lambda: speak(b"nnt-silent"))
        production.send("alice", arp(A, "192.0.2.1", "192.0.2.250", b"nnt-after-alice"))
        production.send("dave", arp(D, "192.0.2.4", "192.0.2.250", b"nnt-after-dave"))
        assert all(ears[name].hears(b"nnt-after-alice", DEADLINE_SECONDS) for name in ("dave", "bob"))
        assert ears["alice"].hears(b"nnt-after-dave", DEADLINE_SECONDS)
        assert not any(ear.hears(b"nnt-silent", 0) for ear in ears.values())
        to_ports, to_tunnels = (now - then for now, then in zip(dropped(), before, strict=True))
        assert to_ports >= 2
        assert to_tunnels >= 1

        production.on("a", "nft", "flush", "chain", "bridge", "nnix", "output")
        inside(PREFIX + "a", lambda: speak(b"nnt-loud"))
        assert all(ear.hears(b"nnt-loud", DEADLINE_SECONDS) for ear in ears.values())
    finally:
        for ear in ears.values():
            ear.close()


def test_a_drained_port_loses_bgp_and_keeps_pinging(fabric: Fabric) -> None:
    """BCP 214: TCP 179 is dropped both ways, between addresses of the LAN; all else passes."""
    fabric.move(exchange())
    assert fabric.pings("alice", "192.0.2.2")
    assert fabric.connects("alice", "192.0.2.2", 179)
    assert fabric.connects("bob", "2001:db8:1::1", 179)

    fabric.move(exchange({"alice": "drained"}))

    assert fabric.pings("alice", "192.0.2.2")
    assert fabric.pings("bob", "2001:db8:1::1")
    assert not fabric.connects("alice", "192.0.2.2", 179)
    assert not fabric.connects("bob", "192.0.2.1", 179)
    assert not fabric.connects("bob", "2001:db8:1::1", 179)
    assert fabric.connects("alice", "192.0.2.2", 22)
    assert fabric.connects("dave", "192.0.2.2", 179)


@pytest.mark.parametrize("drained", ["alice", "bob"])
def test_bgp_of_a_drained_port_is_culled_whichever_end_is_drained(fabric: Fabric, drained: str) -> None:
    """Segments of a session that stands are dropped too, so that both ends' hold timers run out; BGP in transit passes (RFC 8327, 3.2)."""
    fabric.move(exchange())
    assert set(fabric.arriving("alice", SCENE, BGP, ("bob",))) == set(BGP)
    fabric.move(exchange({drained: "drained"}))
    assert fabric.arriving("alice", SCENE, BGP, ("bob",)) == {}
    assert fabric.arriving("alice", SCENE, {"transit": LEGITIMATE["transit of BGP"][0]}, ("bob",)) == {"transit": {"bob"}}


def test_a_port_in_quarantine_reaches_nobody(fabric: Fabric) -> None:
    """Without a quarantine LAN it is alone, even beside another port in quarantine at its site; the others do not notice."""
    fabric.move(exchange({"alice": "quarantine", "dave": "quarantine"}))

    assert fabric.on("alice", "ping", "-c1", "-W1", "-n", "192.0.2.4").returncode != 0
    assert fabric.on("alice", "ping", "-c1", "-W1", "-n", "192.0.2.2").returncode != 0
    assert fabric.on("bob", "ping", "-c1", "-W1", "-n", "192.0.2.1").returncode != 0
    assert fabric.pings("bob", "192.0.2.3")


def test_ports_in_quarantine_meet_the_tester_and_not_one_another(fabric: Fabric) -> None:
    """The tester stands at site a; alice and dave are there, erin is two sites away."""
    fabric.move(exchange({"alice": "quarantine", "dave": "quarantine", "erin": "quarantine"}, tester=True))
    ears = {name: fabric.wire(name) for name in ("tester", "alice", "dave", "bob")}
    try:
        for who, number in (("erin", 5), ("alice", 1)):
            token = b"nnt-" + who.encode()
            fabric.send(who, arp(mac_of(number), f"192.0.2.{number}", "192.0.2.251", token))
            assert ears["tester"].hears(token, DEADLINE_SECONDS)
        fabric.send("tester", arp(TESTER.mac, TESTER.v4, "192.0.2.9", b"nnt-tester"))
        assert ears["alice"].hears(b"nnt-tester", DEADLINE_SECONDS)
        assert ears["dave"].hears(b"nnt-tester", DEADLINE_SECONDS)
        assert not ears["alice"].hears(b"nnt-erin", 0)
        assert not ears["dave"].hears(b"nnt-erin", 0)
        assert not ears["dave"].hears(b"nnt-alice", 0)
        assert not ears["bob"].hears(b"nnt-", 0)
    finally:
        for ear in ears.values():
            ear.close()


def test_the_tester_answers_a_port_in_quarantine_at_the_addresses_it_will_keep(fabric: Fabric) -> None:
    """Both families, both ways, from the tester's site and from another; all others are out of reach, until the port is in production."""
    fabric.move(exchange({"alice": "quarantine", "erin": "quarantine"}, tester=True))
    for who, v4, v6 in (("alice", "192.0.2.1", "2001:db8:1::1"), ("erin", "192.0.2.5", "2001:db8:1::5")):
        assert all(fabric.pings(who, tester) for tester in ("192.0.2.252", "2001:db8:1::252"))
        assert all(fabric.pings("tester", address) for address in (v4, v6))
    assert set(fabric.arriving("alice", SCENE, {name: make for name, (make, _) in LEGITIMATE.items()}, ("dave", "bob", "erin"))) == {LOST}
    fabric.move(exchange({"erin": "quarantine"}, tester=True))
    assert all(fabric.pings("alice", whom) for whom in ("192.0.2.2", "2001:db8:1::4", "192.0.2.251"))
    assert not fabric.pings("alice", "192.0.2.252", tries_seconds=0.5)


def test_a_port_under_test_may_send_no_more_than_in_production(fabric: Fabric) -> None:
    """What the tester does not see from it, nobody will."""
    fabric.move(exchange({"alice": "quarantine", "dave": "quarantine"}, tester=True))
    assert set(fabric.arriving("alice", Scene(ALICE, DAVE, TESTER), ATTACKS, ("tester",))) - {LOST} == set()


@pytest.mark.parametrize("state", ["reserved", "suspended"])
def test_a_port_that_may_not_speak_is_dark(fabric: Fabric, state: str) -> None:
    """The member's router sees no carrier."""
    fabric.move(exchange({"dave": state}))
    assert (fabric.on("dave", "cat", "/sys/class/net/eth0/carrier").stdout.strip() or "0") == "0"


# --- who is asked for is answered for (RFC 9161)

NOBODY_V4, NOBODY_V6 = "192.0.2.250", "2001:db8:1::250"
NOBODY_SECONDS = 0.1  # behind the question went a frame to the farthest, and it has come
OTHERS = ("dave", "bob", "carol", "erin")
ROUTER_SOLICITED_OVERRIDE = 0xE0  # RFC 4861, 4.4: the first three bits


def question(address: str) -> Make:
    """alice's, for whoever has `address`."""
    return lambda scene, token: arp(A, ALICE.v4, address, token) if "." in address else ns(scene, ALICE.ip6, address, token)


def answers(fabric: Fabric, address: str, mac: str, within_seconds: float = 2.0) -> list[bytes]:
    """Those that have come to alice since she was last listened to: an ARP reply, or an advertisement, by which `address` is at `mac`."""
    packed = ip_address(address).packed
    said = b"\0\2" + octets(mac) + packed if len(packed) == 4 else packed + b"\2\1" + octets(mac)
    wire = fabric.wires["alice"]
    wire.heard = []
    return [heard for heard in wire.heard if said in heard] if wire.hears(said, within_seconds) else []


REMOTE = {
    BOB.v4: B,
    BOB.ip6: B,
    BOB.local: B,
    "192.0.2.3": mac_of(3),
    "2001:db8:1::5": mac_of(5),
    "192.0.2.251": mac_of(0xFB),
    "2001:db8:1::fb": mac_of(0xFB),
}


def test_a_question_for_somebody_at_another_site_is_answered_here_and_carried_nowhere(production: Fabric) -> None:
    """Members and the route server, IPv4, IPv6 and link-local: with the registered MAC; 0 of the questions arrive at any other site."""
    arrived = production.arriving("alice", SCENE, {address: question(address) for address in REMOTE}, OTHERS)
    assert {address: where - {"dave"} for address, where in arrived.items() if where - {"dave"}} == {}
    assert set(arrived) == set(REMOTE), "ports of the same switch hear it, so it was sent"
    production.arriving("alice", SCENE, {address: question(address) for address in REMOTE}, ("bob",))
    for address, mac in REMOTE.items():
        production.send("alice", question(address)(SCENE, b""))
        (answer, *_) = answers(production, address, mac)
        assert answer[6:12] == octets(mac)
        assert ":" not in address or answer[58] == ROUTER_SOLICITED_OVERRIDE


def test_the_answer_does_not_need_the_one_who_is_asked_for(production: Fabric) -> None:
    """bob has no light; who asks is answered all the same, and by nobody when the tunnel answers for nobody."""
    production.on("b", "ip", "link", "set", "p-bob", "down")
    for address in (BOB.v4, BOB.ip6):
        production.arriving("alice", SCENE, {"": question(address)}, ("carol",))
        assert answers(production, address, B)
    production.on("a", "bridge", "link", "set", "dev", "vx-peering", "neigh_suppress", "off")
    assert production.arriving("alice", SCENE, {"": question(BOB.v4)}, ("carol",)) == {"": {"carol"}}
    assert not answers(production, BOB.v4, B, NOBODY_SECONDS)


def test_somebody_at_the_same_site_answers_himself_and_no_other_site_hears_of_it(production: Fabric) -> None:
    """Linux answers for those behind the tunnel only."""
    for address in (DAVE.v4, DAVE.ip6):
        assert production.arriving("alice", SCENE, {"": question(address)}, OTHERS) == {"": {"dave"}}
        assert answers(production, address, D)


@pytest.mark.parametrize("address", [NOBODY_V4, NOBODY_V6, "192.0.2.1"])
def test_nobody_answers_for_whom_nobody_knows(production: Fabric, address: str) -> None:
    """An address that is not registered is asked for everywhere, and nobody answers; nor does anybody for one's own address."""
    arrived = production.arriving("alice", SCENE, {"": question(address)}, OTHERS)
    assert arrived == {"": {"dave"} if address == ALICE.v4 else set(OTHERS)}
    assert not any(answers(production, address, mac, NOBODY_SECONDS) for mac in (B, D, mac_of(3), mac_of(5)))


@pytest.mark.parametrize("state", ["reserved", "quarantine", "suspended", "drained"])
def test_only_who_is_on_the_lan_is_answered_for(fabric: Fabric, state: str) -> None:
    """A drained port is, and still pings; in the name of the others nobody speaks, and no trace of them is left on any switch."""
    fabric.move(exchange({"bob": state}))
    for address in (BOB.v4, BOB.ip6):
        arrived = fabric.arriving("alice", SCENE, {"": question(address)}, ("carol",))
        assert bool(answers(fabric, address, B, 2.0 if state == "drained" else NOBODY_SECONDS)) == (state == "drained")
        assert arrived == ({} if state == "drained" else {"": {"carol"}})
    assert (B in fabric.on("c", "ip", "neigh", "show", "nud", "all").stdout) == (state == "drained")


def test_a_router_that_is_being_replaced_is_heard_by_all(fabric: Fabric) -> None:
    """Two MAC addresses registered: only the router knows which it is. It tells everybody, also from another site, and is asked itself; with one
    left, it is answered for with that."""
    before = exchange()
    session = next(each for each in before.of(Session) if each.name == "alice")
    both = ("02:00:5e:10:00:91", A)
    announcements: Mapping[str, Make] = {
        "gratuitous ARP": lambda s, t: arp(A, ALICE.v4, ALICE.v4, t),
        "unsolicited advertisement": LEGITIMATE["neighbour advertisement"][0],
    }
    fabric.move(before)
    assert fabric.arriving("alice", SCENE, announcements, ("bob", "carol")) == {}
    fabric.move(before.replaced([session.changed(macs=both)]))
    assert fabric.arriving("alice", SCENE, announcements, ("bob", "carol")) == {each: {"bob", "carol"} for each in announcements}
    assert ALICE.v4 not in fabric.on("b", "ip", "neigh", "show", "dev", "br-peering").stdout
    assert fabric.pings("bob", ALICE.v4)
    fabric.move(before.replaced([session.changed(macs=both[:1])]))
    assert f"{ALICE.v4} lladdr {both[0]} PERMANENT" in fabric.on("b", "ip", "neigh", "show", "dev", "br-peering").stdout


DAMAGE = {
    "the bridge is deleted": (["ip", "link", "del", "br-peering"], "br-peering is missing"),
    "the tunnel is deleted": (["ip", "link", "del", "vx-peering"], "vx-peering is missing"),
    "a port is pulled out of the bridge": (["ip", "link", "set", "p-alice", "nomaster"], "it is in no bridge, not in br-peering"),
    "a port learns": (["bridge", "link", "set", "dev", "p-alice", "learning", "on"], "its learning is on"),
    "a port is put down": (["ip", "link", "set", "p-alice", "down"], "it is down"),
    "a forwarding entry is deleted": (["bridge", "fdb", "del", mac_of(2), "dev", "vx-peering", "self"], "is missing on vx-peering"),
    "a foreign tunnel end is added": (
        ["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vx-peering", "dst", "10.9.9.9"],
        "10.9.9.9 on vx-peering is not ours",
    ),
    "a neighbour is deleted": (["ip", "neigh", "del", "192.0.2.2", "dev", "br-peering"], "neighbour 192.0.2.2 is missing on br-peering"),
    "a neighbour is said to be elsewhere": (
        ["ip", "neigh", "replace", "2001:db8:1::2", "lladdr", mac_of(3), "dev", "br-peering", "nud", "permanent"],
        f"neighbour 2001:db8:1::2 on br-peering is at {mac_of(3)}, not at {mac_of(2)}",
    ),
    "a neighbour may be forgotten": (
        ["ip", "neigh", "replace", "192.0.2.2", "lladdr", mac_of(2), "dev", "br-peering", "nud", "reachable"],
        "neighbour 192.0.2.2 on br-peering is not whole",
    ),
    "a foreign neighbour is added": (
        ["ip", "neigh", "add", "192.0.2.9", "lladdr", mac_of(3), "dev", "br-peering", "nud", "permanent"],
        f"neighbour 192.0.2.9 at {mac_of(3)} on br-peering is not ours",
    ),
    "the tunnel carries questions": (["bridge", "link", "set", "dev", "vx-peering", "neigh_suppress", "off"], "its neigh_suppress is off"),
    "the bridge gets another address": (
        ["ip", "link", "set", "br-peering", "address", "02:00:5e:10:00:ee"],
        "its address is 02:00:5e:10:00:ee",
    ),
    "the address is taken": (["ip", "addr", "del", "10.255.0.1/32", "dev", "lo"], "address 10.255.0.1/32 is missing"),
    "forwarding is switched off": (["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"], "net.ipv4.ip_forward is 0"),
    "the table is deleted": (["nft", "delete", "table", "bridge", "nnix"], "table bridge nnix is missing"),
    "the table is flushed": (["nft", "flush", "table", "bridge", "nnix"], "was changed by somebody else"),
    "a MAC is let in by hand": (["nft", 'add element bridge nnix macs { "p-alice" . 02:00:00:00:00:66 }'], "was changed by somebody else"),
    "a rule is added by hand": (["nft", "insert rule bridge nnix port accept"], "was changed by somebody else"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_seen_and_mended(production: Fabric, name: str) -> None:
    """look() says in words what is wrong; drive() makes it right, and pings pass again."""
    command, words = DAMAGE[name]
    assert production.differing("a") == {}
    assert production.on("a", *command).returncode == 0

    assert words in " ".join(production.differing("a").values())
    production.move(production.snapshot)

    assert production.differing("a") == {}
    assert production.pings("alice", "192.0.2.3")
    assert production.pings("alice", "2001:db8:1::4")


def test_driving_what_agrees_changes_nothing(production: Fabric) -> None:
    """Neither indices of interfaces nor handles of rules move; counters go on from where they were (stations chat by themselves)."""

    def there() -> tuple[tuple[list[str], str], list[int]]:
        links, rules, counters = (
            production.on("a", *command.split()).stdout
            for command in ("ip -o link", "nft -s -a list table bridge nnix", "nft list table bridge nnix")
        )
        return (re.findall(r"^\d+: \S+", links, re.M), rules), [int(each) for each in re.findall(r"counter packets (\d+)", counters)]

    assert production.pings("alice", "192.0.2.2")
    assert production.pings("alice", "192.0.2.4")
    production.send("alice", *[frame(A, B, 0x9000, b"counted")] * 3)
    same, counts = there()
    production.move(production.snapshot)
    same_then, counts_then = there()

    assert same_then == same
    assert len(counts_then) == len(counts)
    assert all(then >= before for then, before in zip(counts_then, counts, strict=True))
    assert max(counts) >= 3


def test_a_member_that_leaves_takes_only_its_members_of_sets_along(production: Fabric) -> None:
    """The rules keep their handles, so no packet of another member met a moment without them, and no counter was reset."""
    production.send("dave", frame(D, B, 0x9000, b"counted"))
    handles = production.on("a", "nft", "-a", "list", "chain", "bridge", "nnix", "port").stdout
    without = production.snapshot.replaced(gone=["session/alice", "port/alice", "member/alice"])
    production.move(without)

    assert production.on("a", "nft", "-a", "list", "chain", "bridge", "nnix", "port").stdout == handles
    table = production.on("a", "nft", "list", "table", "bridge", "nnix").stdout
    assert "p-alice" not in table
    assert '"p-dave" counter packets 1 ' in production.on("a", "nft", "list", "set", "bridge", "nnix", "dropped_ethertype").stdout
    assert mac_of(1) not in production.on("b", "bridge", "fdb", "show").stdout
    assert mac_of(1) not in production.on("b", "ip", "neigh", "show", "nud", "all").stdout
    assert production.differing("a") == {}


def test_a_table_that_somebody_edited_is_whole_again_after_a_change_of_members(production: Fabric) -> None:
    """Members would be changed in place; the edit is noticed on the way, and everything is loaded anew."""
    rules = production.on("a", "nft", "list", "chain", "bridge", "nnix", "port").stdout
    production.on("a", "nft", "flush", "chain", "bridge", "nnix", "port")
    production.move(production.snapshot.replaced(gone=["session/alice", "port/alice", "member/alice"]))
    assert production.on("a", "nft", "list", "chain", "bridge", "nnix", "port").stdout == rules
    assert production.differing("a") == {}


def test_a_wire_that_nobody_laid_is_named_and_the_rest_is_set_up(production: Fabric) -> None:
    """A port whose cable is missing does not cost the others theirs."""
    port = Port.model_validate({"name": "frank", "member": "dave", "site": "a", "speed": "10G"})
    with pytest.raises(Failed, match=r"interface p-frank \(port/frank\) is not there"):
        production.move(Snapshot([*exchange(), port]))
    assert production.pings("alice", "192.0.2.2")


class Dying(Exception):
    """nnix was killed here."""


class Mortal:
    """A host before whose n-th command or write nnix is killed. One that comes after it is never reached."""

    def __init__(self, host: NamespaceHost, calls: int) -> None:
        self.inner = host
        self.calls = calls
        self.name, self.home = host.name, host.home

    def live(self) -> None:
        if self.calls == 0:
            raise Dying
        self.calls -= 1

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        self.live()
        return await self.inner.run(argv, stdin=stdin, timeout_seconds=timeout_seconds)

    async def put(self, files: Mapping[str, bytes | None], *, mode: int = 0o600) -> None:
        for path, content in files.items():
            self.live()
            await self.inner.put({path: content}, mode=mode)

    async def get(self, paths: Sequence[str]) -> Mapping[str, bytes | None]:
        return await self.inner.get(paths)


NAMES = {"iproute": "fabric", "nftables": "ports"}


async def taken_away(fabric: Fabric) -> None:
    """Everything of the fabric, from every switch."""
    by_name: dict[str, Driver] = {"iproute": IPROUTE, "nftables": NFTABLES}
    for host in fabric.switches.values():
        await IPROUTE.drive(host, "static", None)
    for each in reversed(list(compile(fabric.snapshot, Evidence()))):
        if each.driver in by_name:
            await by_name[each.driver].drive(fabric.switches[each.machine], each.name, None)


@pytest.mark.parametrize("driver", [IPROUTE, NFTABLES], ids=lambda driver: driver.name)
def test_being_killed_between_any_two_commands_loses_nothing(fabric: Fabric, driver: Driver) -> None:
    """From nothing to one exchange, to another, and to nothing again: whatever came first, what is driven last is what is there."""
    host = fabric.switches["b"]
    states = [None, exchange(), exchange({"alice": "suspended", "bob": "quarantine"}).replaced(gone=["session/carol", "port/carol"]), None]

    def content(snapshot: Snapshot | None) -> bytes | None:
        made = compile(snapshot or Snapshot(), Evidence())
        return next(
            (each.content for each in made if (each.machine, each.driver, each.name) == ("b", driver.name, NAMES[driver.name])), None
        )

    def traces() -> str:
        return fabric.on(
            "b",
            "sh",
            "-c",
            "ip -o addr | grep -o '10.255[^ ]*'; ip -o link | grep -o 'br-[^:]*\\|vx-[^:]*'; nft list tables; cat /proc/sys/net/ipv4/ip_forward",
        ).stdout

    async def killed(wanted: bytes | None, calls: int) -> bool:
        try:
            await driver.drive(Mortal(host, calls), "try", wanted)
        except Dying:
            return True
        return False

    asyncio.run(taken_away(fabric))
    clean = traces()
    kills = 0
    for first, second in pairwise(states):
        for calls in range(12):
            asyncio.run(driver.drive(host, "try", content(first)))
            died = asyncio.run(killed(content(second), calls))
            kills += died
            last = exchange({"carol": "drained"})
            asyncio.run(driver.drive(host, "try", content(last)))
            wanted = content(last)
            assert wanted is not None
            assert asyncio.run(driver.look(host, {"try": wanted})) == {}
            asyncio.run(driver.drive(host, "try", first_content := content(first)))
            if first_content is not None:
                assert asyncio.run(driver.look(host, {"try": first_content})) == {}
            asyncio.run(killed(content(second), calls))
            asyncio.run(driver.drive(host, "try", None))
            assert traces() == clean
            if not died:
                break
        else:
            pytest.fail("a drive of more than twelve commands")
    assert kills >= 9


class Machines:
    """The switches, for read()."""

    def __init__(self, hosts: dict[str, NamespaceHost]) -> None:
        self.hosts = hosts

    def host(self, machine: str) -> NamespaceHost:
        return self.hosts[machine]


def statuses(fabric: Fabric) -> dict[str, Status]:
    return {each.resource: each for each in asyncio.run(_read(fabric))}


async def _read(fabric: Fabric) -> list[Status]:
    return list(await read(fabric.snapshot, Machines(fabric.switches)))


def test_the_underlay_finds_its_ways_itself(production: Fabric) -> None:
    """FRR on unnumbered links, instead of static routes: all tunnel ends are reached, and read() says so of every resource."""
    content = {each.machine: each.content for each in compile(production.snapshot, Evidence()) if each.driver == "frr"}

    async def drive(wanted: dict[str, bytes | None]) -> None:
        for name, host in production.switches.items():
            await FRR.drive(host, "underlay", wanted[name])

    async def static(wanted: bytes | None) -> None:
        for host in production.switches.values():
            await IPROUTE.drive(host, "static", wanted)

    asyncio.run(static(None))
    try:
        assert statuses(production)["site/a"].state == "cut"
        asyncio.run(drive(dict(content)))
        end = time.monotonic() + 30
        while (wrong := [each for each in statuses(production).values() if not each.good]) and time.monotonic() < end:
            select.select([], [], [], 0.1)
        assert wrong == []
        assert production.pings("alice", "192.0.2.3")
        asyncio.run(drive(dict(content)))
        assert asyncio.run(FRR.look(production.switches["a"], {"underlay": content["a"]})) == {}
    finally:
        asyncio.run(drive(dict.fromkeys(content)))


def test_what_is_wrong_is_read_by_resource(production: Fabric) -> None:
    """A cable pulled, a bridge gone, a filter gone, frames dropped: each is told of the resource that it concerns, with the reason."""
    production.send("alice", *[frame(A, B, 0x88CC, b"lldp")] * 3)
    found = statuses(production)
    assert {each.state for each in found.values()} == {"up"}
    facts = found["port/alice"].facts
    assert facts is not None
    assert facts["dropped"]["ethertype"] >= 3

    production.on("b", "ip", "link", "set", "l-bc", "down")
    production.on("a", "nft", "delete", "table", "bridge", "nnix")
    production.on("c", "ip", "link", "del", "br-peering")
    production.on("erin", "ip", "link", "set", "eth0", "down")
    found = statuses(production)
    production.on("erin", "ip", "link", "set", "eth0", "up")

    assert (found["link/bc"].good, found["link/bc"].reason) == (False, "no carrier at b; no carrier at c")
    assert found["link/ab"].good
    assert (found["lan/peering"].state, found["lan/peering"].reason) == ("partial", "not whole at c")
    assert "is not guarded" in found["port/alice"].reason
    assert "it is in no bridge" in found["port/carol"].reason
    assert "no light from the member" in found["port/erin"].reason
    assert found["port/bob"].good


@pytest.mark.parametrize("state", ["quarantine", "drained", "reserved", "suspended"])
def test_a_port_is_read_in_its_state(fabric: Fabric, state: str) -> None:
    """And it is as it should be."""
    fabric.move(exchange({"alice": state}))
    assert (statuses(fabric)["port/alice"].state, statuses(fabric)["port/alice"].good) == (state, True)


def test_taking_away_leaves_nothing(fabric: Fabric) -> None:
    """No bridge, no tunnel, no table, no address, no file; settings as they were; wires are still plugged in, and dark."""
    fabric.move(exchange())

    asyncio.run(taken_away(fabric))
    links = fabric.on("a", "ip", "-o", "link").stdout
    assert "br-peering" not in links
    assert "vx-peering" not in links
    assert "p-alice" in links
    assert "10.255.0.1" not in fabric.on("a", "ip", "-o", "addr").stdout
    assert fabric.on("a", "nft", "list", "ruleset").stdout == ""
    assert not [path for path in Path(fabric.switches["a"].home).rglob("*") if path.is_file()]
