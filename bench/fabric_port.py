"""Claim: what a port lets through is tested at no more than a quarter of the packets a second that it could pass without any test.

One switch in a namespace: a bridge and two ports, as nnix makes them. A member at one sends as fast as the kernel takes it (sendmmsg on a
raw socket, no queue in between), minimal UDP frames to the other. Everything from the sender's system call to the receiver's interface is done
by one processor, and packets a second of its time are what that path costs, whatever else the machine does. The receiver's interface has
another MAC address than the registered one, so that its own kernel throws everything away at once and adds little to either side. Ours: the table that nnix loads, spelled by the fabric itself, with one
member registered and with 1,000. Peer: the same bridge without a table. All take turns in one run, for each address family.

Counted by the receiver's interface; a round in which it did not get every frame that was sent says nothing and ends the bench. Medians of CPU
seconds of this process, in which the kernel does that work; packets a second by the clock beside them.

Run as root: python bench/fabric_port.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypeVar

from nnix.hosts.namespace import inside
from nnix.planes.fabric import nftables
from nnix.planes.fabric.compile import link_local
from nnix.planes.fabric.policy import Attachment, Switch

CLAIM = (
    "packets a CPU second through a port with nnix's policy, at least 75 % of those through the same bridge without it; 1 and 1,000 members"
)
BOUND = 0.75
PREFIX = f"nnb-port-{os.getpid() % 10000}-"
SWITCH, SENDER, RECEIVER = (f"{PREFIX}{name}" for name in ("switch", "sender", "receiver"))
LAN_V4, LAN_V6 = IPv4Network("198.18.0.0/20"), IPv6Network("2001:db8:18::/64")
BATCH = 512
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20

T = TypeVar("T")


class IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Message(ctypes.Structure):
    """struct mmsghdr of a 64-bit Linux; padding is put in by ctypes as by the compiler."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(IoVec)),
        ("vectors_number", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint32),
    )


def mac(number: int) -> str:
    return f"02:00:5e:00:{number >> 8:02x}:{number & 255:02x}"


def member(number: int) -> Attachment:
    """The port of member `number`: the first two are really plugged in."""
    own = mac(number)
    return Attachment(
        of=f"port/m{number}", interface=f"p-m{number}", up=True, lan="peering", bridge="br-peering", mtu=1500, isolated=False, drained=False,
        tester=False, private=False, learns=False, rate_bits_per_second=None, macs=(own,), v4=(LAN_V4[number],),
        v6=(LAN_V6[number], link_local(own)), about=frozenset({f"port/m{number}"}),
    )  # fmt: skip


def table(members: int) -> bytes:
    """What nnix loads on a switch with so many members besides the receiver."""
    ports = (member(2), *(member(number) for number in (1, *range(3, members + 2))))
    values: dict[str, Any] = {
        **dict.fromkeys(Switch.__dataclass_fields__, ()), "site": "bench", "machine": "bench", "asn": 64500, "vtep": IPv4Address("10.255.0.1"), "attachments": ports,
        "prefixes_v4": (LAN_V4,), "prefixes_v6": (LAN_V6,), "about": frozenset(), "underlay_about": frozenset(),
    }  # fmt: skip
    return nftables.spell(Switch(**values))


def packet(version: int) -> bytes:
    """A frame of 60 octets (78 in IPv6), of UDP between addresses beyond the LAN: traffic in transit, as nearly all is."""
    ethernet = bytes.fromhex((mac(2) + mac(1)).replace(":", ""))
    body = struct.pack("!HHHH", 9, 9, 8 + 16, 0) + bytes(16)
    if version == 4:
        ends = IPv4Address("100.64.7.9").packed + IPv4Address("100.64.8.9").packed
        return (ethernet + struct.pack("!HBBHHHBBH", 0x0800, 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0) + ends + body).ljust(60, b"\0")
    ends = IPv6Address("3fff:fe::9").packed + IPv6Address("3fff:fd::9").packed
    return ethernet + struct.pack("!HIHBB", 0x86DD, 6 << 28, len(body), 17, 64) + ends + body


def lay() -> None:
    """The switch, two members, their cables; ports as nnix sets them: nothing is learnt, nothing flooded."""
    lines = [f"netns add {each}" for each in (SWITCH, SENDER, RECEIVER)]
    lines.append(f"-n {SWITCH} link add br-peering type bridge mcast_snooping 0")
    for number, station in ((1, SENDER), (2, RECEIVER)):
        lines.append(f"link add p-m{number} netns {SWITCH} type veth peer name eth0 netns {station} address {mac(0xFF00 + number)}")
        lines.append(f"-n {station} link set eth0 up")
        lines.append(f"-n {SWITCH} link set p-m{number} master br-peering up")
    lines.append(f"-n {SWITCH} link set br-peering up addrgenmode none")
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True)
    calls = "for each in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $each ] || echo 0 > $each; done"  # as on nnix's switches
    subprocess.run(["ip", "netns", "exec", SWITCH, "sh", "-c", calls], check=True)
    for number in (1, 2):
        for words in (f"link set dev p-m{number} learning off flood off", f"fdb replace {mac(number)} dev p-m{number} master static"):
            subprocess.run(["bridge", "-n", SWITCH, *words.split()], check=True)


def take_down() -> None:
    for each in (SWITCH, SENDER, RECEIVER):
        subprocess.run(["ip", "netns", "del", each], capture_output=True, check=False)


def load(text: bytes | None) -> None:
    """Have this table and no other; None: none."""
    script = b"flush ruleset\n" + (text or b"")
    subprocess.run(["ip", "netns", "exec", SWITCH, "nft", "-f", "-"], input=script, check=True)


def received() -> int:
    shown = subprocess.run(["ip", "-n", RECEIVER, "-s", "-j", "link", "show", "eth0"], capture_output=True, check=True).stdout
    return int(json.loads(shown)[0]["stats64"]["rx"]["packets"])


@dataclass(frozen=True)
class Round:
    """What one side did in one family."""

    packets: int
    wall_seconds: float
    cpu_seconds: float

    @property
    def per_cpu_second(self) -> float:
        return self.packets / self.cpu_seconds


class Sender:
    """Sends one frame over and over, BATCH a system call."""

    def __init__(self) -> None:
        def opened() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            made.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
            made.bind(("eth0", 0))
            return made

        self.socket = inside(SENDER, opened)
        self.sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg

    def sends(self, frame: bytes, seconds: float) -> Round:
        buffer = ctypes.create_string_buffer(frame, len(frame))
        vector = IoVec(ctypes.cast(buffer, ctypes.c_void_p), len(frame))
        messages = (Message * BATCH)(*[Message(vectors=ctypes.pointer(vector), vectors_number=1) for _ in range(BATCH)])
        number = self.socket.fileno()
        before, sent = received(), 0
        wall, cpu = time.perf_counter(), time.process_time()
        while (spent := time.perf_counter() - wall) < seconds:
            done = self.sendmmsg(number, messages, BATCH, 0)
            if done < 0:
                raise SystemExit(f"sendmmsg: {os.strerror(ctypes.get_errno())}")
            sent += done
        cpu = time.process_time() - cpu
        time.sleep(0.05)
        arrived = received() - before
        if not sent <= arrived <= sent + STRAY_FRAMES_MAX:
            raise SystemExit(f"{sent} frames were sent and {arrived} arrived: nothing was measured")
        return Round(sent, spent, cpu)


STRAY_FRAMES_MAX = 8  # what a kernel says by itself when an interface is young


def main() -> int:
    if os.geteuid() != 0:
        raise SystemExit("namespaces are made here: run it as root")
    quick = "--quick" in sys.argv[1:]
    rounds, seconds = (5, 0.3) if quick else (15, 1.0)
    sides: dict[str, bytes | None] = {"no table": None, "1 member": table(1), "1,000 members": table(1000)}
    print(f"{CLAIM}\n{rounds} interleaved rounds of {seconds:g} s a side and family, medians\n")
    found: dict[tuple[int, str], list[Round]] = {(version, side): [] for version in (4, 6) for side in sides}
    try:
        lay()
        sender = Sender()
        for number in range(-1, rounds):
            for version in (4, 6):
                for side, text in sides.items():
                    load(text)
                    spent = sender.sends(packet(version), seconds if number >= 0 else 0.1)
                    if number >= 0:  # the first one warms up
                        found[version, side].append(spent)
    finally:
        take_down()
    print(f"{'':>6} {'':>14} {'kpps':>7} {'least':>7} {'most':>7} {'CPU us/packet':>14} {'of no table':>12}")
    ratios = {}
    for (version, side), group in found.items():
        rates = [each.packets / each.wall_seconds / 1000 for each in group]
        cost = 1e6 / statistics.median(each.per_cpu_second for each in group)
        base = found[version, "no table"]
        ratio = statistics.median(a.per_cpu_second / b.per_cpu_second for a, b in zip(group, base, strict=True))
        if side != "no table":
            ratios[version, side] = ratio
        print(
            f"{f'IPv{version}':>6} {side:>14} {statistics.median(rates):>7.0f} {min(rates):>7.0f} {max(rates):>7.0f} {cost:>14.2f} {ratio:>12.2f}"
        )
    mine, theirs = (
        statistics.median(each.per_cpu_second for version in (4, 6) for each in found[version, side])
        for side in ("1,000 members", "no table")
    )
    holds = min(ratios.values()) >= BOUND
    figures = {f"v{version} {side}": round(ratio, 3) for (version, side), ratio in ratios.items()}
    print()
    print(
        json.dumps(
            {
                "claim": CLAIM,
                "ours": round(mine),
                "peer": round(theirs),
                "ratio": round(min(ratios.values()), 3),
                "ratios": figures,
                "bound": BOUND,
                "holds": holds,
            }
        )
    )
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
