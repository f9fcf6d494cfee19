"""iproute2's artifacts and what is done about them, without a kernel: the driver itself is tried in tests/lab."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network

import pytest

from nnix.daemons.iproute import IPROUTE
from nnix.daemons.iproute.difference import missing, stranger_said, strangers
from nnix.daemons.iproute.facts import (
    FLOOD,
    Addr,
    Behaviour,
    Bridge,
    Fact,
    Fdb,
    Key,
    Neighbour,
    Route,
    Shaper,
    Sid,
    Sysctl,
    Vlan,
    Vxlan,
    Wire,
    decode,
    encode,
    remembered,
)
from nnix.daemons.iproute.seen import LinkSeen, NeighbourSeen, Seen, parsed
from nnix.daemons.iproute.watch import TAKEN, came_back, gone, script
from nnix.daemons.iproute.way import arrived, mere_entries, way
from nnix.kernel.world import Failed, Result

MAC = "02:00:5e:10:00:01"
FAR = IPv4Address("10.255.0.2")
BRIDGE = Bridge(link="br-peering", mtu=1500)
TUNNEL = Vxlan(link="vx-peering", mtu=1500, master="br-peering", vni=4000, local=IPv4Address("10.255.0.1"))
PORT = Wire(link="p-alice", mtu=1500, master="br-peering", of="port/alice")
WISH: tuple[Fact, ...] = (
    BRIDGE,
    TUNNEL,
    PORT,
    Addr(addr=ip_interface("10.255.0.1/32"), dev="lo"),
    Fdb(fdb=FLOOD, dev="vx-peering", dst=FAR),
    Fdb(fdb=MAC, dev="p-alice"),
    Route(route=ip_network("10.255.0.2/32"), via=FAR, dev="l-ab", onlink=True),
    Shaper(dev="l-ab", rate_bits_per_second=10**9),
    Sysctl(sysctl="net.ipv4.ip_forward", value="1"),
)


def keyed(*facts: Fact) -> dict[Key, Fact]:
    return {each.key: each for each in facts}


def link(kind: str = "veth", **changes: object) -> LinkSeen:
    flags = {"learning": False, "flood": False, "isolated": False, "neigh_suppress": False}
    seen = LinkSeen(kind=kind, mtu=1500, up=True, master=None, addresses_itself=False, details={}, port=flags)
    return replace(seen, **changes)  # type: ignore[arg-type]


WHOLE = Seen(
    links={
        "br-peering": link("bridge"),
        "vx-peering": link("vxlan", master="br-peering", details={"id": 4000, "local": "10.255.0.1", "port": 4789, "learning": False}),
        "p-alice": link(master="br-peering"),
        "l-ab": link(),
        "lo": link(""),
    },
    addresses=frozenset({("lo", "10.255.0.1/32")}),
    far={("vx-peering", FLOOD): frozenset({"10.255.0.2"})},
    behind=frozenset({("p-alice", MAC)}),
    routes={"10.255.0.2/32": ("10.255.0.2", "l-ab")},
    shapers={"l-ab": 10**9},
    settings={"net.ipv4.ip_forward": "1"},
)


def test_an_artifact_comes_back_as_it_was_written() -> None:
    """One object a line, sorted, so that a reader can compare two with diff."""
    content = encode(WISH)
    assert encode(decode(content).values()) == content == encode(reversed(WISH))
    assert content.splitlines() == sorted(content.splitlines())
    assert {"link": "br-peering", "mtu": 1500, "type": "bridge", "up": True} in [json.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "line 1"),
        ("[]", "an object is wanted"),
        ('{"link": "x1", "type": "bond"}', "bridge, vxlan, vlan, wire"),
        ('{"colour": "red"}', "addr, fdb, neighbour, route"),
        ('{"link": "a-name-that-is-too-long", "type": "wire"}', "link"),
        ('{"link": "x; reboot", "type": "wire"}', "link"),
        ('{"link": "br0", "type": "bridge", "colour": "red"}', "colour"),
        ('{"fdb": "02:00:5e:10:00:0g", "dev": "x1"}', "fdb"),
        ('{"addr": "10.0.0.256/24", "dev": "x1"}', "addr"),
        ('{"sysctl": "net.ipv4.ip_forward", "value": "1\\n2"}', "value"),
        ('{"sysctl": "net/../../etc/passwd", "value": "1"}', "sysctl"),
        ('{"link": "vx0", "type": "vxlan", "vni": 16777216, "local": "10.0.0.1"}', "vni"),
    ],
)
def test_a_line_that_cannot_be_is_refused_by_its_number(line: str, words: str) -> None:
    """Nothing of it can reach a shell."""
    with pytest.raises(ValueError, match="line 1") as refusal:
        decode(line.encode())
    assert words in str(refusal.value)


def test_one_thing_cannot_be_wanted_in_two_ways() -> None:
    """Two artifacts of one name would fight for ever."""
    with pytest.raises(ValueError, match="bridge br-peering is wanted in two ways"):
        encode([BRIDGE, Bridge(link="br-peering", mtu=9000)])


def test_nothing_is_done_where_all_is_as_wanted() -> None:
    """Not even said again."""
    facts = keyed(*WISH)
    assert [missing(each, WHOLE) for each in WISH] == [""] * len(WISH)
    assert not any(way(facts, facts, {}, WHOLE))


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (replace(WHOLE, links={}), "bridge br-peering is missing"),
        (replace(WHOLE, addresses=frozenset()), "address 10.255.0.1/32 is missing on lo"),
        (replace(WHOLE, far={}), f"forwarding entry of {FLOOD} to 10.255.0.2 is missing on vx-peering"),
        (replace(WHOLE, behind=frozenset()), f"forwarding entry of {MAC} is missing on p-alice"),
        (replace(WHOLE, routes={}), "route to 10.255.0.2/32 is missing"),
        (replace(WHOLE, routes={"10.255.0.2/32": ("10.255.0.9", "l-ac")}), "route to 10.255.0.2/32 goes via 10.255.0.9"),
        (replace(WHOLE, shapers={}), "shaper is missing on l-ab"),
        (replace(WHOLE, settings={"net.ipv4.ip_forward": "0"}), "setting net.ipv4.ip_forward is 0, not 1"),
        (replace(WHOLE, links={**WHOLE.links, "p-alice": link(master="br-other")}), "it is in br-other, not in br-peering"),
        (replace(WHOLE, links={**WHOLE.links, "br-peering": link("veth")}), "br-peering is no bridge but a veth"),
    ],
)
def test_what_is_missing_is_said_in_words(seen: Seen, words: str) -> None:
    """As an operator would say it."""
    assert any(words in missing(each, seen) for each in WISH)


def test_a_tunnel_of_another_number_is_made_anew_with_all_that_was_on_it() -> None:
    """A VNI cannot be changed while the tunnel stands."""
    old = replace(
        WHOLE,
        links={**WHOLE.links, "vx-peering": link("vxlan", master="br-peering", details={"id": 7, "local": "10.255.0.1", "port": 4789})},
    )
    batch = way(keyed(*WISH), {}, {}, old)
    assert batch.ip[0] == "link delete dev vx-peering"
    assert "link add dev vx-peering type vxlan id 4000 local 10.255.0.1 dstport 4789 nolearning" in batch.ip
    assert batch.bridge == [f"fdb append {FLOOD} dev vx-peering dst 10.255.0.2 self permanent"]


VLAN = Vlan(link="p-a", over="p-z", vlan=101, mtu=1500, master="br-peering", of="port/a")
CABLE = Wire(link="p-z", mtu=1500)


def test_a_vlan_comes_after_its_cable_and_its_bridge_and_goes_before_them() -> None:
    """Whatever their names are: a VLAN is a part of its cable."""
    none = Seen(links={"p-z": link(up=False), "lo": link("")})
    made = way(keyed(BRIDGE, VLAN, CABLE), {}, {}, none).ip
    assert made[-4:] == [
        "link add link p-z dev p-a type vlan id 101",
        "link set dev p-a mtu 1500 master br-peering addrgenmode none",
        "link set dev p-a type bridge_slave learning off flood off isolated off neigh_suppress off",
        "link set dev p-a up",
    ]
    assert "link set dev p-z up" in made[:-4]
    details = {"protocol": "802.1Q", "id": 101}
    whole = Seen(
        links={
            "p-z": link(master="br-peering"),
            "br-peering": link("bridge"),
            "p-a": link("vlan", master="br-peering", over="p-z", details=details),
        }
    )
    gone = way({}, keyed(BRIDGE, VLAN, CABLE), {}, whole).ip
    assert gone.index("link delete dev p-a") < gone.index("link delete dev br-peering")


@pytest.mark.parametrize(
    ("over", "details", "words"),
    [
        ("p-z", {"protocol": "802.1Q", "id": 101}, ""),
        ("p-z", {"protocol": "802.1Q", "id": 102}, "VLAN interface p-a: it is VLAN 102 of p-z, not 101 of p-z"),
        ("p-y", {"protocol": "802.1Q", "id": 101}, "VLAN interface p-a: it is VLAN 101 of p-y, not 101 of p-z"),
        ("p-z", {"protocol": "802.1ad", "id": 101}, "VLAN interface p-a: it is VLAN 101 of p-z, not 101 of p-z"),
    ],
)
def test_a_vlan_of_another_number_or_cable_is_made_anew(over: str, details: dict[str, object], words: str) -> None:
    seen = Seen(links={"p-z": link(), "br-peering": link("bridge"), "p-a": link("vlan", master="br-peering", over=over, details=details)})
    assert missing(VLAN, seen) == words
    made = way(keyed(BRIDGE, VLAN, CABLE), keyed(BRIDGE, VLAN, CABLE), {}, seen).ip
    assert (made[:2] == ["link delete dev p-a", "link add link p-z dev p-a type vlan id 101"]) == bool(words)


def test_a_vlan_whose_cable_is_not_there_is_not_tried() -> None:
    """The cable is named by drive(); there is nothing to be said of what it would carry."""
    assert not [each for each in way(keyed(BRIDGE, VLAN, CABLE), {}, {}, Seen(links={"lo": link("")})).ip if "p-a" in each]


class Kernel:
    """A machine that says the same to every command, and counts."""

    name, home = "m", "/m"

    def __init__(self, status: int, err: str) -> None:
        self.answer, self.asked = Result(status, "", err), 0

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        self.asked += 1
        return self.answer

    async def put(self, files: Mapping[str, bytes | None], *, mode: int = 0o600) -> None:
        raise AssertionError("nothing is written")

    async def get(self, paths: Sequence[str]) -> Mapping[str, bytes | None]:
        return dict.fromkeys(paths)


def test_a_kernel_without_802_1q_is_asked_once_and_only_where_a_vlan_is_wanted() -> None:
    """What is lacking is told for each resource that wants it, with the mend."""
    without, able = Kernel(2, "Error: Unknown device type.\n"), Kernel(2, "Error: 8021q: VLANs not supported on device.\n")

    def lacks(kernel: Kernel, *facts: Fact) -> list[str]:
        return [each.resource for each in asyncio.run(IPROUTE.lacks(kernel, encode(facts)))]

    assert lacks(without, BRIDGE, CABLE) == []
    assert without.asked == 0
    assert lacks(without, BRIDGE, CABLE, VLAN, VLAN.model_copy(update={"link": "p-b", "vlan": 102, "of": "port/b"})) == ["port/a", "port/b"]
    assert lacks(without, VLAN) == ["port/a"]
    assert without.asked == 1
    assert lacks(able, VLAN) == []
    with pytest.raises(Failed, match=r"whether its kernel has 802\.1Q cannot be found out: sh: 1: ip: not found"):
        lacks(Kernel(127, "sh: 1: ip: not found\n"), VLAN)


def test_a_port_is_set_before_it_is_lit() -> None:
    """Learning and flooding are off before the first frame can come in."""
    dark = replace(WHOLE, links={**WHOLE.links, "p-alice": link(up=False)}, behind=frozenset())
    lines = way(keyed(*WISH), {}, {}, dark).ip
    assert lines == [
        "link set dev p-alice mtu 1500 master br-peering addrgenmode none",
        "link set dev p-alice type bridge_slave learning off flood off isolated off neigh_suppress off",
        "link set dev p-alice up",
    ]


def test_what_is_not_ours_is_left_alone() -> None:
    """An interface that we never wished for, a wire's own being, and a name that somebody else uses."""
    seen = replace(WHOLE, links={**WHOLE.links, "docker0": link("bridge"), "br-peering": link("veth")})
    lines = way(keyed(BRIDGE), keyed(BRIDGE, PORT), {}, seen).ip
    assert lines == ["link set dev p-alice nomaster down"]
    assert way({}, keyed(BRIDGE), {}, seen).ip == []


def test_taking_away_goes_backwards_and_gives_settings_back() -> None:
    """Entries of a bridge or a tunnel that goes go with it, and are not deleted one by one."""
    batch = way({}, keyed(*WISH), {"net.ipv4.ip_forward": "0"}, WHOLE)
    assert sorted(batch.ip) == [
        "address delete 10.255.0.1/32 dev lo",
        "link delete dev br-peering",
        "link delete dev vx-peering",
        "link set dev p-alice nomaster down",
        "route delete 10.255.0.2/32",
    ]
    assert (batch.settings, batch.tc, batch.bridge) == (
        ["printf '%s\\n' '0' > /proc/sys/net/ipv4/ip_forward"],
        ["qdisc delete dev l-ab root"],
        [],
    )


def test_routes_go_before_the_addresses_that_would_take_them_along() -> None:
    """The last IPv4 address of an interface takes its routes with it, and what is gone cannot be deleted."""
    address, route = Addr(addr=ip_interface("10.0.0.1/32"), dev="l-ab"), Route(route=ip_network("10.0.0.2/32"), dev="l-ab")
    seen = replace(WHOLE, addresses=frozenset({("l-ab", "10.0.0.1/32")}), routes={"10.0.0.2/32": (None, "l-ab")})
    assert way({}, keyed(address, route), {}, seen).ip == ["route delete 10.0.0.2/32", "address delete 10.0.0.1/32 dev l-ab"]


def test_an_entry_of_our_tunnel_that_nobody_wished_for_is_found() -> None:
    """Frames would leave for an unknown place."""
    seen = replace(WHOLE, far={**WHOLE.far, ("vx-peering", MAC): frozenset({"10.9.9.9"}), ("vx-other", MAC): frozenset({"10.9.9.9"})})
    assert strangers(keyed(*WISH), {}, seen) == [Fdb(fdb=MAC, dev="vx-peering", dst=IPv4Address("10.9.9.9"))]


def test_an_entry_that_now_points_elsewhere_is_strange_until_it_does() -> None:
    """The member moved to another site; what the older wish put there is not wished for any more, although we remember it."""
    moved = Fdb(fdb=MAC, dev="vx-peering", dst=FAR)
    was = Fdb(fdb=MAC, dev="vx-peering", dst=IPv4Address("10.9.9.9"))
    seen = replace(WHOLE, far={**WHOLE.far, ("vx-peering", MAC): frozenset({"10.9.9.9"})})
    assert strangers(keyed(*WISH, moved), keyed(*WISH, was), seen) == [was]
    assert strangers(keyed(*WISH), keyed(*WISH, was), seen) == []


def test_what_another_nnix_remembered_is_kept_as_far_as_it_is_understood() -> None:
    """A line of another version costs the others nothing."""
    assert remembered(encode(WISH)) == keyed(*WISH)
    assert remembered(b'{"colour": "red"}\n' + encode([BRIDGE]) + b"nonsense\n") == keyed(BRIDGE)
    assert remembered(None) == {}


def test_a_plan_says_what_is_done_and_whom_it_disturbs() -> None:
    """A port that moves is disturbed; when its bridge goes, everybody on it is."""
    moved = Wire(link="p-alice", mtu=1500, master="br-test", of="port/alice")
    steps = IPROUTE.steps(encode([BRIDGE, PORT]), encode([BRIDGE, moved]))
    assert [(each.does, each.disturbs) for each in steps] == [("change wire p-alice", frozenset({"port/alice"}))]
    assert {"port/alice"} == next(
        each.disturbs for each in IPROUTE.steps(encode([BRIDGE, PORT]), None) if each.does == "remove bridge br-peering"
    )
    assert [each.does for each in IPROUTE.steps(None, encode([BRIDGE]))] == ["add bridge br-peering"]
    assert IPROUTE.steps(encode(WISH), encode(WISH)) == ()


def test_many_steps_of_one_sort_are_counted() -> None:
    """A plan for a thousand members can be read."""
    many = [Fdb(fdb=f"02:00:5e:10:00:{number:02x}", dev="p-alice") for number in range(40)]
    assert [each.does for each in IPROUTE.steps(None, encode(many))] == ["add 40 forwarding entries"]
    addresses = [Addr(addr=ip_interface(f"10.0.0.{number}/32"), dev="lo") for number in range(4)]
    assert [each.does for each in IPROUTE.steps(encode(addresses), None)] == ["remove 4 addresses"]


def test_an_interface_with_dots_in_its_name_has_slashes_in_its_settings() -> None:
    """As in sysctl(8)."""
    assert Sysctl(sysctl="net.ipv4.conf.eth0/7.rp_filter", value="0").path == "/proc/sys/net/ipv4/conf/eth0.7/rp_filter"


# -- neighbours -------------------------------------------------------------------------------------------------------

ADDRESSES = (IPv4Address("192.0.2.1"), IPv6Address("2001:db8:1::1"), IPv6Address("fe80::5eff:fe10:1"))
ANSWERING: tuple[Fact, ...] = (
    Bridge(link="br-peering", mac="02:00:5e:10:00:aa"),
    Vxlan(link="vx-peering", master="br-peering", vni=4000, local=IPv4Address("10.255.0.1"), neigh_suppress=True),
    *(Neighbour(neighbour=each, dev="br-peering", mac=MAC) for each in ADDRESSES),
)
# As `ip` of iproute2 6.1 and of 6.15 print it, to the letter.
PRINTED_NEIGHBOURS = """
@link
[{"ifname":"br-peering","mtu":1500,"flags":["UP"],"inet6_addr_gen_mode":"none","linkinfo":{"info_kind":"bridge"},"address":"02:00:5e:10:00:aa"},
 {"ifname":"vx-peering","mtu":1500,"flags":["UP"],"inet6_addr_gen_mode":"none","master":"br-peering","linkinfo":{"info_kind":"vxlan",
  "info_data":{"id":4000,"local":"10.255.0.1","port":4789,"learning":false},"info_slave_kind":"bridge",
  "info_slave_data":{"learning":false,"flood":false,"isolated":false,"neigh_suppress":true,"neigh_vlan_suppress":false}}}]
@neighbour
[{"dst":"192.0.2.1","dev":"br-peering","lladdr":"02:00:5e:10:00:01","state":["PERMANENT"]},
 {"dst":"10.255.0.2","dev":"l-ab","lladdr":"1a:e5:c7:3f:46:8e","state":["REACHABLE"]},
 {"dst":"192.0.2.7","dev":"br-peering","state":["FAILED"]},
 {"dst":"224.0.0.22","dev":"br-peering","lladdr":"01:00:5e:00:00:16","state":["NOARP"]},
 {"dst":"ff02::16","dev":"br-peering","lladdr":"33:33:00:00:00:16","state":["NOARP"]},
 {"dst":"2001:db8:1::1","dev":"br-peering","lladdr":"02:00:5e:10:00:01","router":null,"state":["PERMANENT"]},
 {"dst":"fe80::5eff:fe10:1","dev":"br-peering","lladdr":"02:00:5e:10:00:01","router":null,"state":["PERMANENT"]}]
"""


def test_neighbours_are_read_as_ip_prints_them() -> None:
    """Groups, other interfaces and what the kernel looks for in vain are none of ours; all that was wanted is there, so nothing is done."""
    seen = parsed(PRINTED_NEIGHBOURS)
    assert [missing(each, seen) for each in ANSWERING] == [""] * len(ANSWERING)
    assert not any(way(keyed(*ANSWERING), keyed(*ANSWERING), {}, seen))
    assert decode(encode(ANSWERING)) == keyed(*ANSWERING)


def test_neighbours_are_made_to_stay_and_taken_away() -> None:
    """An IPv6 neighbour is a router; who has left is forgotten, and who goes with the bridge need not be."""
    bare = parsed(PRINTED_NEIGHBOURS.partition("@neighbour")[0])
    assert way(keyed(*ANSWERING), {}, {}, bare).ip == [
        f"neigh replace 192.0.2.1 lladdr {MAC} dev br-peering nud permanent",
        f"neigh replace 2001:db8:1::1 lladdr {MAC} dev br-peering nud permanent router",
        f"neigh replace fe80::5eff:fe10:1 lladdr {MAC} dev br-peering nud permanent router",
    ]
    there = parsed(PRINTED_NEIGHBOURS)
    assert way(keyed(*ANSWERING[:2]), keyed(*ANSWERING), {}, there).ip == [
        f"neigh delete {each} dev br-peering" for each in reversed(ADDRESSES)
    ]
    assert way({}, keyed(*ANSWERING), {}, there).ip == ["link delete dev vx-peering", "link delete dev br-peering"]


@pytest.mark.parametrize(
    ("instead", "words"),
    [
        (None, "neighbour 2001:db8:1::1 is missing on br-peering"),
        (NeighbourSeen("02:00:5e:10:00:02", stays=True, router=True), "is at 02:00:5e:10:00:02, not at 02:00:5e:10:00:01"),
        (NeighbourSeen(MAC, stays=False, router=True), "neighbour 2001:db8:1::1 on br-peering is not whole"),
        (NeighbourSeen(MAC, stays=True, router=False), "neighbour 2001:db8:1::1 on br-peering is not whole"),
    ],
)
def test_a_neighbour_that_is_otherwise_is_told(instead: NeighbourSeen | None, words: str) -> None:
    """Gone, somewhere else, one that may be forgotten, one that is said to be no router."""
    seen, key = parsed(PRINTED_NEIGHBOURS), ("br-peering", "2001:db8:1::1")
    others = {name: each for name, each in seen.neighbours.items() if name != key}
    seen = replace(seen, neighbours=others if instead is None else {**others, key: instead})
    assert words in missing(ANSWERING[3], seen)
    assert way(keyed(*ANSWERING), keyed(*ANSWERING), {}, seen).ip == [
        f"neigh replace 2001:db8:1::1 lladdr {MAC} dev br-peering nud permanent router"
    ]


def test_nobody_else_is_answered_for() -> None:
    """A neighbour that somebody put on our bridge would draw traffic to where it does not belong; those of other
    interfaces are not our business, and on a bridge that does not answer, as that of a circuit, it matters to nobody."""
    there = parsed(PRINTED_NEIGHBOURS)
    foreign = {("br-peering", "192.0.2.9"): NeighbourSeen(MAC, stays=True, router=False)}
    seen = replace(there, neighbours={**there.neighbours, **foreign})
    strange = Neighbour(neighbour=IPv4Address("192.0.2.9"), dev="br-peering", mac=MAC)
    assert strangers(keyed(*ANSWERING), keyed(*ANSWERING), seen) == [strange]
    assert strangers(keyed(ANSWERING[0]), {}, seen) == []
    assert stranger_said(strange) == f"neighbour 192.0.2.9 at {MAC} on br-peering is not ours"
    assert way(keyed(*ANSWERING), keyed(*ANSWERING), {}, seen).ip == ["neigh delete 192.0.2.9 dev br-peering"]


def test_a_bridge_whose_address_is_mended_has_its_neighbours_made_anew() -> None:
    """The kernel forgets them all with the address, permanent ones too."""
    seen = parsed(PRINTED_NEIGHBOURS)
    moved = replace(seen, links={"br-peering": replace(seen.links["br-peering"], mac="02:00:5e:10:00:ee")})
    assert missing(ANSWERING[0], moved) == "bridge br-peering: its address is 02:00:5e:10:00:ee"
    lines = way(keyed(*ANSWERING), keyed(*ANSWERING), {}, moved).ip
    assert "link set dev br-peering address 02:00:5e:10:00:aa addrgenmode none" in lines
    assert sum(line.startswith("neigh replace") for line in lines) == len(ADDRESSES)


def test_only_who_is_wished_for_so_answers_at_a_port() -> None:
    """The flag is one of those that are looked at and set, on tunnels as on wires."""
    answering = TUNNEL.model_copy(update={"neigh_suppress": True})
    assert missing(answering, WHOLE) == "tunnel vx-peering: its neigh_suppress is off"
    assert (
        "link set dev vx-peering type bridge_slave learning off flood off isolated off neigh_suppress on"
        in way(keyed(BRIDGE, answering), {}, {}, WHOLE).ip
    )


# -- in haste ---------------------------------------------------------------------------------------------------------

# As `ip monitor neigh` of iproute2 6.1 and of 6.15 print it, to the letter.
TOLD = """
192.0.2.4 dev br-peering lladdr 02:00:5e:10:00:04 PERMANENT
Deleted 10.255.0.2 dev vx-peering lladdr 02:00:5e:10:00:02 NOARP PERMANENT
Deleted dev vx-peering lladdr 02:00:5e:10:00:02 NOARP
Deleted 10.255.0.2 dev vx-peering lladdr 00:00:00:00:00:00 NOARP PERMANENT
Deleted dev p-alice lladdr 02:00:5e:10:00:01 NOARP
192.0.2.2 dev br-peering FAILED
Deleted 192.0.2.2 dev br-peering FAILED
Deleted 2001:db8:1::2 dev br-peering lladdr 02:00:5e:10:00:02 router PERMANENT
"""
GOING: tuple[Fact, ...] = (
    Fdb(fdb="02:00:5e:10:00:02", dev="vx-peering", dst=FAR),
    Fdb(fdb=FLOOD, dev="vx-peering", dst=FAR),
    Fdb(fdb=MAC, dev="p-alice"),
    Neighbour(neighbour=IPv4Address("192.0.2.2"), dev="br-peering", mac="02:00:5e:10:00:02"),
    Neighbour(neighbour=IPv6Address("2001:db8:1::2"), dev="br-peering", mac="02:00:5e:10:00:02"),
)


def test_what_goes_is_known_by_the_kernels_own_words() -> None:
    """Each of our entries by its own key, and nothing that came."""
    wanted = encode([*WISH, *GOING, *ANSWERING[2:]])
    assert IPROUTE.concerned(wanted, gone(TOLD.splitlines())) == {each.key for each in GOING}
    assert IPROUTE.heeds(wanted)
    assert not IPROUTE.heeds(encode([BRIDGE, TUNNEL]))
    assert gone(["Deleted ??? something", "", "Deleted"]) == frozenset()


def test_what_came_back_is_what_the_kernel_let_in() -> None:
    """Not what waits for a route, nor what something else has taken the place of; an entry of a tunnel has two halves, and one may still be there."""
    lost = GOING
    _, lines = script(lost)
    assert lines["bridge"][0] == "fdb add 02:00:5e:10:00:02 dev vx-peering dst 10.255.0.2 self permanent"
    taken = [f"bridge {lines['bridge'][1]}: RTNETLINK answers: {TAKEN}"]
    assert came_back(lost, "10.255.0.2\n", []) == list(lost)
    assert came_back(lost, "10.255.0.2\n", taken) == list(lost)
    assert came_back(lost, "", []) == [each for each in lost if not (isinstance(each, Fdb) and each.dst)]
    assert came_back(lost[3:], "", [f"ip {line}: RTNETLINK answers: {TAKEN}" for line in lines["ip"]]) == []


# -- segment routing ----------------------------------------------------------------------------------------------

END, LAST, LED = (IPv6Address(f"5f00::aff:{each}") for each in ("2:e:0:0", "3:d6:0:0", "3:c:1:86a0"))
LEADING: tuple[Fact, ...] = (
    Bridge(link="br--segments"),
    Sid(sid=END, behaviour=Behaviour.END, dev="br--segments"),
    Sid(sid=LAST, behaviour=Behaviour.END_DT6, dev="br--segments"),
    Route(route=ip_network(LED), dev="br--segments", segments=(END, LAST)),
)
PRINTED = """
@link
[{"ifname": "br--segments", "mtu": 1500, "flags": ["UP"], "inet6_addr_gen_mode": "none", "linkinfo": {"info_kind": "bridge"}, "gso_max_segs": 65535}]
@route
[]
@route6
[{"dst":"5f00::aff:2:e:0:0","encap":"seg6local","action":"End","dev":"br--segments","metric":1024,"flags":[],"pref":"medium"},
 {"dst":"5f00::aff:3:d6:0:0","encap":"seg6local","action":"End.DT6","table":"local","dev":"br--segments","flags":[]},
 {"dst":"5f00:0:0:aff:2::/80","gateway":"fe80::1","dev":"l-ab","flags":[]},
 {"dst":"5f00::aff:3:c:1:86a0","encap":"seg6","mode":"encap","segs":["5f00::aff:2:e:0:0","5f00::aff:3:d6:0:0"],"dev":"br--segments","flags":[]}]
"""


PRINTED_SINCE = """
@route6
[{"dst":"5f00::aff:2:e:0:0","encap":{"encap_type":"seg6local","action":"End"},"dev":"br--segments","metric":1024,"flags":[],"pref":"medium"},
 {"dst":"5f00::aff:3:d6:0:0","encap":{"encap_type":"seg6local","action":"End.DT6","table":"local"},"dev":"br--segments","flags":[]},
 {"dst":"5f00:0:0:aff:2::/80","gateway":"fe80::1","dev":"l-ab","flags":[]},
 {"dst":"5f00::aff:3:c:1:86a0","encap":{"encap_type":"seg6","mode":"encap","segs":["5f00::aff:2:e:0:0","5f00::aff:3:d6:0:0"]},
  "dev":"br--segments","flags":[]}]
"""


@pytest.mark.parametrize("printed", [PRINTED, PRINTED.partition("@route6")[0] + PRINTED_SINCE], ids=["6.1", "6.15"])
def test_segments_and_what_is_led_through_them_are_read_as_ip_prints_them(printed: str) -> None:
    """As iproute2 of Debian 12 and of Debian 13 prints them; all of it is there, so nothing is done."""
    seen = parsed(printed)
    assert [missing(each, seen) for each in LEADING] == [""] * len(LEADING)
    assert not any(way(keyed(*LEADING), keyed(*LEADING), {}, seen))
    assert decode(encode(LEADING)) == keyed(*LEADING)


def test_segments_and_what_is_led_through_them_are_made_and_taken_away() -> None:
    """With a count of what passed, so that anyone can see that it did."""
    bare = parsed(PRINTED.partition("@route6")[0])
    assert way(keyed(*LEADING), {}, {}, bare).ip == [
        f"route replace {END}/128 encap seg6local action End count dev br--segments",
        f"route replace {LED}/128 encap seg6 mode encap segs {END},{LAST} dev br--segments",
        f"route replace {LAST}/128 encap seg6local action End.DT6 table 255 count dev br--segments",
    ]
    assert way(keyed(LEADING[0]), keyed(*LEADING), {}, parsed(PRINTED)).ip == [f"route delete {each}/128" for each in (LAST, LED, END)]


def test_a_route_that_leads_elsewhere_is_not_the_one_that_was_wanted() -> None:
    """Neither with other segments, nor with none, nor with segments where none are wanted; nor a segment that does something else."""
    seen, (_, sid, _, led) = parsed(PRINTED), LEADING
    assert missing(led, replace(seen, segments={f"{LED}/128": (str(LAST),)})) == f"route to {LED}/128 leads through {LAST}"
    assert missing(led, replace(seen, segments={})) == f"route to {LED}/128 leads through no segments"
    assert "leads through" in missing(Route(route=ip_network(LED), dev="br--segments"), seen)
    assert missing(sid, replace(seen, sids={str(END): "End.DT6"})) == f"segment {END} is End.DT6, not End"


def test_a_tunnel_inside_an_envelope_takes_one_tcp_segment_at_once() -> None:
    """Others are left as the kernel made them."""
    narrow = TUNNEL.model_copy(update={"gso_max_segs": 1})
    wide = replace(WHOLE, links={**WHOLE.links, "vx-peering": replace(WHOLE.links["vx-peering"], gso_max_segs=65535)})
    assert missing(narrow, wide) == "tunnel vx-peering: it takes 65535 segments at once, not 1"
    assert missing(TUNNEL, wide) == ""
    assert "link set dev vx-peering mtu 1500 addrgenmode none gso_max_segs 1" in way(keyed(BRIDGE, narrow), {}, {}, wide).ip


def test_an_arrival_is_told_from_every_other_change() -> None:
    """Only what came may be made without a look beforehand, and no setting, whose value must be known first."""
    here = [Fdb(fdb="02:00:5e:00:00:01", dev="vx", dst=IPv4Address("10.255.0.2")), Bridge(link="br", mtu=1500)]
    came = [Fdb(fdb="02:00:5e:00:00:02", dev="vx", dst=IPv4Address("10.255.0.3"))]
    before = {each.key: each for each in here}
    assert arrived(before, {each.key: each for each in [*here, *came]}) == came
    assert arrived(before, before) == []
    assert arrived(before, {each.key: each for each in [*came, here[1]]}) == [], "something left"
    assert arrived(before, {each.key: each for each in [here[0], *came, Bridge(link="br", mtu=9000)]}) == [], "something changed"
    assert arrived(before, {each.key: each for each in [*here, *came, Sysctl(sysctl="net.ipv4.ip_forward", value="1")]}) == [], "a setting"
    port = [Wire(link="p-b", master="br"), *came]
    assert arrived(before, {each.key: each for each in [*here, *port]}) == port
    assert (mere_entries(came), mere_entries(port), mere_entries([])) == (True, False, False)
