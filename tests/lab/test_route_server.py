"""A route server on real daemons of both makes: what it refuses and under which name, what it tells whom, and what `read` finds of it.

Every claim is held against BIRD and against OpenBGPD, each spelled from the same policy and driven as in production. One namespace holds the route server, another the members. Members are small BGP speakers of this file's own, because no
honest daemon would send what they must: a foreign next hop, an empty path, an AS_SET, another's first AS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ipaddress
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nnix.daemons import openbgpd
from nnix.daemons.bird import BirdDriver
from nnix.daemons.openbgpd import OpenbgpdDriver
from nnix.daemons.secrets import Secrets
from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Status
from nnix.kernel.resource import Resource
from nnix.kernel.rule import judge
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Asking, Driver, Host, Result, Unreachable
from nnix.planes.fabric.kinds import Lan, Port
from nnix.planes.members.kinds import Exchange, Member, Site
from nnix.planes.routing.asking import ASKING
from nnix.planes.routing.birdc import Protocol
from nnix.planes.routing.communities import REASON, REASONS
from nnix.planes.routing.kinds import RouteServer, RoutingPolicy, Session
from nnix.planes.routing.plane import PLANE
from nnix.planes.routing.read import RefusedRoute, read, refused_routes

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
    pytest.mark.skipif(not Path(openbgpd.PROGRAM).exists(), reason="openbgpd is not installed"),
]

RS = 139136
BLACKHOLE, GRACEFUL_SHUTDOWN, NO_EXPORT = (65535, 666), (65535, 0), (65535, 65281)
DEADLINE_SECONDS = 15.0


def until(claim: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Look until `claim` holds; fail with `what` when the time is up."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


# a BGP speaker ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """A route as a member heard it."""

    path: tuple[int, ...]
    next_hop: str
    standard: frozenset[tuple[int, int]] = frozenset()
    extended: frozenset[bytes] = frozenset()
    large: frozenset[tuple[int, int, int]] = frozenset()
    med: int | None = None
    otc: int | None = None


def rt(key: int, value: int) -> bytes:
    """A route target: two octets of key, four of value (RFC 4360, 4)."""
    return struct.pack("!BBHI", 0x00, 0x02, key, value)


TCP_MD5SIG = 14  # tcp(7)


def md5_key(peer: str, key: bytes) -> bytes:
    """struct tcp_md5sig: with whom, and by which key (RFC 2385)."""
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    host = ipaddress.ip_address(peer).packed
    address = struct.pack("=HHI16s" if ":" in peer else "=HH4s", family, 0, *((0, host) if ":" in peer else (host,)))
    return address.ljust(128, b"\0") + struct.pack("=BBHI80s", 0, 0, len(key), 0, key)


def capabilities(octets: bytes) -> dict[int, list[bytes]]:
    """What an OPEN's optional parameters offer, by code (RFC 5492, 4)."""
    found: dict[int, list[bytes]] = {}
    while octets:
        offered, octets = (octets[2 : 2 + octets[1]] if octets[0] == 2 else b""), octets[2 + octets[1] :]
        while offered:
            found.setdefault(offered[0], []).append(offered[2 : 2 + offered[1]])
            offered = offered[2 + offered[1] :]
    return found


def _attribute(flags: int, code: int, value: bytes) -> bytes:
    return struct.pack("!BBH", flags | 0x10, code, len(value)) + value


def _prefix(prefix: str) -> bytes:
    network = ipaddress.ip_network(prefix)
    return bytes([network.prefixlen]) + network.network_address.packed[: (network.prefixlen + 7) // 8]


def _prefixes(data: bytes, width: int) -> Iterator[str]:
    while data:
        length = data[0]
        octets = (length + 7) // 8
        address = ipaddress.ip_address(data[1 : 1 + octets].ljust(width, b"\0"))
        yield f"{address}/{length}"
        data = data[1 + octets :]


def _numbered(data: bytes, width: int) -> Iterator[tuple[int, str]]:
    """Prefixes with their path identifiers (RFC 7911, 3)."""
    while data:
        size = 5 + (data[4] + 7) // 8
        (prefix,) = _prefixes(data[4:size], width)
        yield struct.unpack("!I", data[:4])[0], prefix
        data = data[size:]


class Speaker:
    """A member's router on one session: says what it is told to say, and keeps what it hears.

    `paths`: it takes and sends several paths for one prefix (RFC 7911); then `heard_paths` holds them by identifier. `restarts_seconds`: it asks
    that its routes be kept for so long when it goes without a word (RFC 4724). `waits`: the route server opens the connection.
    """

    def __init__(
        self,
        namespace: str,
        asn: int,
        address: str,
        server: str,
        role: int | None = 2,
        *,
        key: bytes = b"",
        hops: int = 64,
        v4_over_v6: bool = False,
        paths: bool = False,
        restarts_seconds: int | None = None,
        waits: bool = False,
        hold_time_seconds: int = 90,
    ) -> None:
        self.asn, self.address, self.role, self.key, self.hops, self.paths = asn, address, role, key, hops, paths
        self.v6 = ":" in address
        self.heard: dict[str, Told] = {}
        self.heard_paths: dict[str, dict[int, Told]] = {}
        self.offered: dict[int, list[bytes]] = {}  # the route server's capabilities
        self.hold_time_seconds: int | None = None  # as the route server proposes it
        self.farewell = ""  # what its NOTIFICATION said in words (RFC 9003)
        self.announced: set[str] = set()
        self.notification: tuple[int, int] | None = None
        self.refreshes = 0  # how often the route server asked for everything again
        if waits:
            self._called(namespace)
        else:
            until(lambda: self._connected(namespace, server), f"{address} finds no BGP speaker at {server}")
        family = 2 if self.v6 else 1
        offers = struct.pack("!BBHBB", 1, 4, family, 0, 1) + struct.pack("!BBI", 65, 4, asn) + bytes([2, 0])
        if role is not None:
            offers += bytes([9, 1, role])
        if v4_over_v6:  # RFC 8950, 4: IPv4 routes, and next hops of IPv6 with them
            offers += struct.pack("!BBHBB", 1, 4, 1, 0, 1) + struct.pack("!BBHHH", 5, 6, 1, 1, 2)
        if paths:
            offers += struct.pack("!BBHBB", 69, 4, family, 1, 3)
        if restarts_seconds is not None:  # its forwarding goes on meanwhile
            offers += struct.pack("!BBHHBB", 64, 6, restarts_seconds, family, 1, 0x80)
        options = bytes([2, len(offers)]) + offers
        router_id = socket.inet_aton("192.0.2.100" if self.v6 else address)
        self._send(
            1,
            struct.pack("!BHH4sB", 4, min(asn, 23456) if asn < 65536 else 23456, hold_time_seconds, router_id, len(options)) + options,
        )
        self.up = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _connected(self, namespace: str, server: str) -> bool:
        with inside(namespace):
            self._socket = socket.socket(socket.AF_INET6 if self.v6 else socket.AF_INET)
        self._socket.settimeout(1 if self.key else 10)
        try:
            self._socket.bind((self.address, 0))
            self._socket.setsockopt(
                *((socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if self.v6 else (socket.IPPROTO_IP, socket.IP_TTL)), self.hops
            )
            if self.key:
                self._socket.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, md5_key(server, self.key))
            self._socket.connect((server, 179))
        except OSError:
            self._socket.close()
            return False
        return True

    def _called(self, namespace: str) -> None:
        """Wait for the route server to open the connection."""
        with inside(namespace):
            listening = socket.socket(socket.AF_INET6 if self.v6 else socket.AF_INET)
        with contextlib.closing(listening):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.address, 179))
            listening.listen(1)
            listening.settimeout(3 * DEADLINE_SECONDS)
            self._socket, _ = listening.accept()
        self._socket.settimeout(10)

    def close(self, *, silently: bool = False) -> None:
        """Go, with a word or, as a router whose process has died, without."""
        with contextlib.suppress(OSError):
            if not silently:
                self._send(3, bytes([6, 2]))
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def announce(
        self,
        prefix: str,
        path: Sequence[int | frozenset[int]] | None = None,
        *,
        next_hop: str | None = None,
        standard: Sequence[tuple[int, int]] = (),
        extended: Sequence[bytes] = (),
        large: Sequence[tuple[int, int, int]] = (),
        med: int | None = None,
        otc: int | None = None,
        number: int = 0,
    ) -> None:
        """`number` is the path's identifier, where there may be several."""
        self.announced.add(prefix)
        reached = (struct.pack("!I", number) if self.paths else b"") + _prefix(prefix)
        segments = b""
        for each in (self.asn,) if path is None else path:
            asns = sorted(each) if isinstance(each, frozenset) else [each]
            segments += bytes([1 if isinstance(each, frozenset) else 2, len(asns)]) + b"".join(struct.pack("!I", asn) for asn in asns)
        hop = ipaddress.ip_address(next_hop or self.address).packed
        attributes = _attribute(0x40, 1, b"\0") + _attribute(0x40, 2, segments)
        if med is not None:
            attributes += _attribute(0x80, 4, struct.pack("!I", med))
        if standard:
            attributes += _attribute(0xC0, 8, b"".join(struct.pack("!HH", *each) for each in standard))
        if extended:
            attributes += _attribute(0xC0, 16, b"".join(extended))
        if large:
            attributes += _attribute(0xC0, 32, b"".join(struct.pack("!III", *each) for each in large))
        if otc is not None:
            attributes += _attribute(0xC0, 35, struct.pack("!I", otc))
        if ":" in prefix or len(hop) == 16:
            attributes += _attribute(0x80, 14, struct.pack("!HBB", 2 if ":" in prefix else 1, 1, 16) + hop + b"\0" + reached)
            self._send(2, struct.pack("!HH", 0, len(attributes)) + attributes)
        else:
            attributes += _attribute(0x40, 3, hop)
            self._send(2, struct.pack("!HH", 0, len(attributes)) + attributes + reached)

    def decided(self) -> bool:
        """The session is up, or the other side has ended it."""
        return self.up.is_set() or not self.alive

    @property
    def alive(self) -> bool:
        """Neither side has ended the connection."""
        return self._thread.is_alive()

    def withdraw(self, prefix: str, number: int = 0) -> None:
        data = (struct.pack("!I", number) if self.paths else b"") + _prefix(prefix)
        if self.v6:
            attributes = _attribute(0x80, 15, struct.pack("!HB", 2 if ":" in prefix else 1, 1) + data)
            self._send(2, struct.pack("!HH", 0, len(attributes)) + attributes)
        else:
            self._send(2, struct.pack("!H", len(data)) + data + b"\0\0")

    def end_of_rib(self) -> None:
        """It has said all (RFC 4724, 2)."""
        attributes = _attribute(0x80, 15, struct.pack("!HB", 2, 1)) if self.v6 else b""
        self._send(2, struct.pack("!HH", 0, len(attributes)) + attributes)

    def hears(self, prefix: str) -> Told:
        until(lambda: prefix in self.heard, f"AS{self.asn} never heard of {prefix}; it knows {sorted(self.heard)}")
        return self.heard[prefix]

    def _send(self, kind: int, body: bytes) -> None:
        self._socket.sendall(b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body)

    def _receive(self, octets: int) -> bytes:
        data = b""
        while len(data) < octets:
            more = self._socket.recv(octets - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._socket.settimeout(120)
                head = self._receive(19)
                body = self._receive(struct.unpack("!H", head[16:18])[0] - 19)
                if head[18] == 1:
                    self.hold_time_seconds, self.offered = struct.unpack("!H", body[3:5])[0], capabilities(body[10:])
                    self._send(4, b"")
                elif head[18] == 2:
                    self._learn(body)
                elif head[18] == 5:
                    self.refreshes += 1
                elif head[18] == 3:
                    if body[0] == 6 and len(body) > 2:
                        self.farewell = body[3 : 3 + body[2]].decode(errors="replace")
                    self.notification = (body[0], body[1])
                    return
                else:
                    if self.up.is_set():
                        self._send(4, b"")
                    self.up.set()

    def _learn(self, body: bytes) -> None:
        size = struct.unpack("!H", body[:2])[0]
        self._forget(body[2 : 2 + size], 4)
        attributes_size = struct.unpack("!H", body[2 + size : 4 + size])[0]
        attributes, rest = body[4 + size : 4 + size + attributes_size], body[4 + size + attributes_size :]
        found: dict[str, Any] = {"path": (), "next_hop": ""}
        reached = list(self._told(rest, 4))
        while attributes:
            flags, code = attributes[0], attributes[1]
            length, skip = (struct.unpack("!H", attributes[2:4])[0], 4) if flags & 0x10 else (attributes[2], 3)
            value, attributes = attributes[skip : skip + length], attributes[skip + length :]
            if code == 2:
                path: list[int] = []
                while value:
                    path += struct.unpack(f"!{value[1]}I", value[2 : 2 + 4 * value[1]])
                    value = value[2 + 4 * value[1] :]
                found["path"] = tuple(path)
            elif code == 3:
                found["next_hop"] = socket.inet_ntoa(value)
            elif code == 4:
                found["med"] = struct.unpack("!I", value)[0]
            elif code == 8:
                found["standard"] = frozenset(struct.iter_unpack("!HH", value))
            elif code == 14:
                hop_size = value[3]
                found["next_hop"] = str(ipaddress.ip_address(value[4 : 4 + min(hop_size, 16)]))
                reached += self._told(value[5 + hop_size :], 16 if value[1] == 2 else 4)
            elif code == 15:
                self._forget(value[3:], 16 if value[1] == 2 else 4)
            elif code == 16:
                found["extended"] = frozenset(value[at : at + 8] for at in range(0, len(value), 8))
            elif code == 32:
                found["large"] = frozenset(struct.iter_unpack("!III", value))
            elif code == 35:
                found["otc"] = struct.unpack("!I", value)[0]
        for number, prefix in reached:
            self.heard[prefix] = told = Told(**found)
            if self.paths:
                self.heard_paths.setdefault(prefix, {})[number] = told

    def _told(self, data: bytes, width: int) -> Iterator[tuple[int, str]]:
        return _numbered(data, width) if self.paths else ((0, prefix) for prefix in _prefixes(data, width))

    def _forget(self, data: bytes, width: int) -> None:
        for number, prefix in self._told(data, width):
            left = self.heard_paths.get(prefix, {})
            left.pop(number, None)
            if not left:
                self.heard_paths.pop(prefix, None)
                self.heard.pop(prefix, None)


_LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in another network namespace; a socket stays where it was opened."""
    with Path("/proc/thread-self/ns/net").open() as here, Path(f"/run/netns/{namespace}").open() as there:
        assert _LIBC.setns(there.fileno(), 0x40000000) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert _LIBC.setns(here.fileno(), 0x40000000) == 0


# the exchange -------------------------------------------------------------------------------------------------------


def six(prefix: str) -> str:
    """The IPv6 prefix that stands beside an IPv4 one, as long beyond its own /48 as that beyond its /24: 198.18.6.7/32 is 2001:db8:1206::7/128."""
    address, _, length = prefix.partition("/")
    octets = [int(each) for each in address.split(".")]
    bits = {32: 128}.get(int(length), int(length) + 24)
    host = f"{octets[3] << 8 if bits < 128 else 0:x}:" if octets[3] and bits < 128 else ""
    return str(ipaddress.ip_network(f"2001:db8:{octets[1] << 8 | octets[2]:x}:{host}:{octets[3] if bits == 128 else 0:x}/{bits}"))


RPSL = """
as-set:   AS-ALPHA
members:  AS64500, AS64510, AS64506, AS64507
members:  AS-ALPHA-LOOP
source:   LAB

as-set:   AS-ALPHA-LOOP
members:  AS-ALPHA
source:   LAB
""" + "".join(
    f"\nroute{'6' if ':' in prefix else ''}: {prefix}\norigin: AS{origin}\nsource: LAB\n"
    for registered, origin in (
        ("198.51.100.0/24", 64500),
        ("198.51.100.0/24", 64510),
        ("2001:db8:100::/48", 64500),
        ("203.0.113.0/24", 64501),
        ("203.0.113.0/24", 64510),
        ("198.18.5.0/24", 64500),
        ("198.18.6.0/24", 64500),
        *((f"198.18.{n}.0/24", 64503) for n in range(20, 60)),
        ("198.51.100.0/24", 64501),
    )
    for prefix in ((registered,) if ":" in registered else (registered, six(registered)))
)
VRPS = {
    "roas": [
        {"asn": "AS64999", "prefix": "198.18.5.0/24", "maxLength": 24},
        {"asn": 64500, "prefix": "198.18.6.0/24", "maxLength": 24},
        {"asn": "AS64999", "prefix": six("198.18.5.0/24"), "maxLength": 48},
        {"asn": 64500, "prefix": six("198.18.6.0/24"), "maxLength": 48},
    ]
}
MEMBERS = (
    ("alpha", 64500, 11),
    ("beta", 64501, 12),
    ("gamma", 64502, 13),
    ("delta", 65550, 14),
    ("epsilon", 64503, 15),
    ("zeta", 64504, 16),
)


DRIVERS: Mapping[str, Callable[[Secrets], Driver]] = {
    "bird": lambda secrets: BirdDriver(secrets=secrets),
    "openbgpd": lambda secrets: OpenbgpdDriver(secrets=secrets),
}
PAUSE_SECONDS = {"bird": 1, "openbgpd": 60}  # OpenBGPD counts in minutes


def exchange(daemon: str = "bird") -> Snapshot:
    wanted: list[Resource] = [
        Exchange.model_validate({"name": "lab", "title": {"en": "Lab"}, "asn": RS, "country": "CN", "lab": True}),
        Lan.model_validate({"name": "lan", "title": {"en": "LAN"}, "v4": "192.0.2.0/24", "v6": "2001:db8:ffff::/64"}),
        RoutingPolicy.model_validate(
            {
                "name": "safe",
                "irr_sources": ["lab.rpsl"],
                "rpki_sources": ["vrps.json"],
                "transit_free": [64506],
                "never_via_route_servers": [64507],
                "blackhole_v4": "192.0.2.66",
                "limit_restart_seconds": PAUSE_SECONDS[daemon],
            }
        ),
    ]
    for number, site in ((1, "east"), (2, "west")):
        wanted += [
            Site.model_validate({"name": site, "title": {"en": site}, "role": "hub", "level": "city", "city": "Hangzhou", "country": "CN"}),
            RouteServer.model_validate(
                {
                    "name": f"rs{number}",
                    "site": site,
                    "lan": "lan",
                    "policy": "safe",
                    "daemon": daemon,
                    "v4": f"192.0.2.{number}",
                    "v6": f"2001:db8:ffff::{number}",
                }
            ),
        ]
    for name, asn, host in MEMBERS:
        wanted += [
            Member.model_validate(
                {
                    "name": name,
                    "title": {"en": name},
                    "asn": asn,
                    "class": "isp",
                    "as_sets": ["AS-ALPHA"] if name == "alpha" else ["AS64510"] if name == "beta" else [],
                    "prefixes_max": {"v4": 5} if name == "epsilon" else {},
                }
            ),
            Port.model_validate({"name": name, "member": name, "site": "east", "speed": "10G"}),
            Session.model_validate(
                {
                    "name": f"{name}-1",
                    "member": name,
                    "lan": "lan",
                    "port": name,
                    "v4": f"192.0.2.{host}",
                    "v6": f"2001:db8:ffff::{host}",
                    "blackhole": name != "gamma",
                    "role_strict": name == "zeta",
                }
            ),
        ]
    snapshot = Snapshot(wanted)
    assert PLANE.allocate is not None
    return snapshot.replaced(PLANE.allocate(snapshot, Snapshot()))


@dataclass
class NamespaceHost:
    """A namespace as a host: enough of one for reading."""

    name: str
    home: str

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        process = await asyncio.create_subprocess_exec("nsenter", f"--net=/run/netns/{self.name}", *argv, stdin=-1, stdout=-1, stderr=-1)
        out, err = await asyncio.wait_for(process.communicate(stdin), timeout_seconds)
        return Result(process.returncode or 0, out.decode(), err.decode())

    async def put(self, files: Mapping[str, bytes | None], *, mode: int = 0o600) -> None:
        for path, content in files.items():
            assert content is None, "nothing is written here but by the driver's own scripts"
            shutil.rmtree(Path(self.home, path), ignore_errors=True)

    async def get(self, paths: Sequence[str]) -> Mapping[str, bytes | None]:
        return {path: each.read_bytes() if (each := Path(self.home, path)).exists() else None for path in paths}


@dataclass
class Lab:
    """A running route server, and its members' speakers, made as they are asked for."""

    daemon: str
    snapshot: Snapshot
    host_: NamespaceHost
    members: str
    speakers: dict[str, Speaker] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    """evidence besides RPSL and VRPS, or in their place"""

    def host(self, machine: str) -> Host:
        if machine != "rs1":
            raise Unreachable(f"{machine}: not built in this lab")
        return self.host_

    def speaker(self, member: str, family: int = 4, role: int | None = 2) -> Speaker:
        key = f"{member}{family}"
        known = self.speakers.get(key)
        if known is None or known.notification is not None:
            session = self.snapshot.get(Session, f"{member}-1")
            server = self.snapshot.get(RouteServer, "rs1")
            assert session is not None
            assert server is not None
            asn = self.snapshot.at(session.member).asn
            ours, theirs = (session.v4, server.v4) if family == 4 else (session.v6, server.v6)
            deadline = time.monotonic() + DEADLINE_SECONDS
            while True:  # a route server that pauses after an error hangs up at once; a router tries again
                assert time.monotonic() < deadline, f"{key} does not come up again: {self.protocols().get(f'c_{member}_1_v{family}')}"
                known = self.speakers[key] = Speaker(self.members, asn, str(ours), str(theirs), role)
                until(known.decided, f"{key} does not come up")
                if known.up.is_set() or known.notification not in (None, (6, 5)):
                    break
                known.close()
        return known

    @property
    def driver(self) -> Driver:
        return DRIVERS[self.daemon](Secrets(Path(self.host_.home, "secrets")))

    def refused(self, member: str | None = None) -> list[RefusedRoute]:
        return asyncio.run(refused_routes(self.snapshot, self, member=member))

    def statuses(self) -> dict[str, Status]:
        return {each.resource: each for each in asyncio.run(read(self.snapshot, self))}

    def protocols(self) -> Mapping[str, Protocol]:
        async def asked() -> Mapping[str, Protocol]:
            return (await ASKING[self.daemon].sessions(self.host_, "rs1")).protocols

        return asyncio.run(asked())

    def lacks(self, snapshot: Snapshot) -> str:
        """What of `snapshot` the installed version cannot do, in words; empty when it can all."""
        driver = self.driver
        assert isinstance(driver, Asking)
        found = asyncio.run(driver.lacks(self.host_, self.compiled(snapshot)))
        return "; ".join(each.what for each in found if "where only we send a role" not in each.what)  # members here send one

    def configure(self, snapshot: Snapshot, vrps: object = VRPS) -> None:
        """Compile `snapshot`, and have the daemon take what comes out: softly if it runs."""
        self.snapshot = snapshot
        driver, content = self.driver, self.compiled(snapshot, vrps)
        assert asyncio.run(driver.check(self.host_, content)) == ""
        asyncio.run(driver.drive(self.host_, "rs1", content))

    def compiled(self, snapshot: Snapshot, vrps: object = VRPS) -> bytes:
        assert PLANE.evidence is not None
        assert PLANE.compile is not None
        known = {"file:lab.rpsl": RPSL.encode(), "file:vrps.json": json.dumps(vrps).encode(), **self.files}
        evidence = Evidence(known | {key: b"no" for key in PLANE.evidence(snapshot) if key.startswith("past:")})
        (artifact,) = [each for each in PLANE.compile(snapshot, evidence) if each.name == "rs1"]
        assert artifact.driver == self.daemon
        return artifact.content

    def close(self) -> None:
        for each in self.speakers.values():
            each.close()
        asyncio.run(self.driver.drive(self.host_, "rs1", None))


@contextlib.contextmanager
def running(daemon: str, snapshot: Snapshot, home: Path) -> Iterator[Lab]:
    """The route server `rs1` of `snapshot` on a LAN with its members."""
    server, members = f"nnt-rs-s{os.getpid()}", f"nnt-rs-m{os.getpid()}"
    hosts = [*(host for _, _, host in MEMBERS), 17, 18]
    batch = [
        f"netns add {server}",
        f"netns add {members}",
        f"link add m0 netns {members} type veth peer name s0 netns {server}",
    ]
    there = ["link set lo up", "link set m0 up"]
    for host in hosts:
        there += [f"address add 192.0.2.{host}/24 dev m0", f"address add 2001:db8:ffff::{host}/64 dev m0 nodad"]
    here = ["link set lo up", "link set s0 up", "address add 192.0.2.1/24 dev s0", "address add 2001:db8:ffff::1/64 dev s0 nodad"]
    lab = Lab(daemon, Snapshot(), NamespaceHost(server, str(home)), members)
    try:
        for arguments, lines in (([], batch), (["-n", members], there), (["-n", server], here)):
            subprocess.run(["ip", *arguments, "-batch", "-"], input="\n".join(lines), text=True, check=True)
        lab.configure(snapshot)
        yield lab
    finally:
        lab.close()
        for each_namespace in (server, members):
            subprocess.run(["ip", "netns", "delete", each_namespace], check=False)


@pytest.fixture(scope="module", params=sorted(DRIVERS))
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(request.param, exchange(request.param), tmp_path_factory.mktemp("rs")) as lab:
        yield lab


# claims -------------------------------------------------------------------------------------------------------------

ALPHA = 64500
REFUSED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("default_route", "0.0.0.0/0", {}),
    ("default_route", "::/0", {}),
    ("not_global_unicast", "fd00::/32", {}),
    ("exchange_lan", "192.0.2.0/25", {}),
    ("exchange_lan", "2001:db8:ffff::/64", {}),
    ("bogon", "10.1.0.0/16", {}),
    ("bogon", "2002:c000::/24", {}),
    ("prefix_len_too_long", "198.18.70.0/25", {}),
    ("prefix_len_too_long", "2001:db8:100:1::/64", {}),
    ("prefix_len_too_short", "64.0.0.0/7", {}),
    ("as_path_too_short", "198.18.71.0/24", {"path": []}),
    ("as_path_too_long", "198.18.72.0/24", {"path": [ALPHA] * 33}),
    ("own_asn_in_path", "198.18.73.0/24", {"path": [ALPHA, RS]}),
    ("as_set_in_path", "198.18.74.0/24", {"path": [ALPHA, frozenset({64510, 64511})]}),
    ("as_set_in_path", "198.18.75.0/24", {"path": [ALPHA, frozenset({64509}), 64510]}),
    ("as_set_in_path", "198.18.76.0/24", {"path": [frozenset({ALPHA}), ALPHA]}),
    ("bogon_asn", "198.18.77.0/24", {"path": [ALPHA, 64512]}),
    ("bogon_asn", "198.18.78.0/24", {"path": [ALPHA, 23456, ALPHA]}),
    ("bogon_asn", "198.18.79.0/24", {"path": [ALPHA, 4200000000]}),
    ("transit_free_asn", "198.18.80.0/24", {"path": [ALPHA, 64506, 64510]}),
    ("never_via_route_server", "198.18.81.0/24", {"path": [ALPHA, 64507]}),
    ("first_as_not_peer_as", "198.18.82.0/24", {"path": [64501, ALPHA]}),
    ("next_hop_not_peer_ip", "198.18.83.0/24", {"next_hop": "192.0.2.12"}),
    ("next_hop_not_peer_ip", "198.18.84.0/24", {"next_hop": "203.0.113.9"}),
    ("irrdb_origin_as_filtered", "198.18.85.0/24", {"path": [ALPHA, 64508]}),
    ("irrdb_prefix_filtered", "198.18.86.0/24", {}),
    ("irrdb_prefix_filtered", "198.51.0.0/16", {}),
    ("blackhole_not_covered", "198.18.87.7/32", {"standard": [BLACKHOLE]}),
    ("rpki_invalid", "198.18.5.0/24", {}),
    ("rpki_invalid", "198.18.5.5/32", {"standard": [BLACKHOLE]}),
    ("otc_leak", "198.18.88.0/24", {"otc": 64999}),
)


@pytest.mark.parametrize("daemon", sorted(DRIVERS))
def test_the_exchange_of_these_tests_is_admitted(daemon: str) -> None:
    """What follows is about an exchange that the rules admit."""
    assert judge(exchange(daemon), PLANE.rules) == ()


ELSEWHERE = {
    "rpki_no_data",  # that there are no VRPs yet is no route's doing
    "starting",  # test_cold_start.py
    "too_many_communities",
    "blacklisted",  # test_route_server_wide.py
    "aspa_invalid",  # test_route_server_wide.py
}


def test_every_reason_has_a_witness() -> None:
    """No reason stands in the table that no route here is refused for, but those that this policy does not have."""
    assert {slug for slug, _, _ in REFUSED} == set(REASON) - ELSEWHERE


def test_no_two_reasons_have_one_number() -> None:
    """A member reads a number."""
    assert len(REASONS) == len(REASON)


def test_each_wrong_route_is_refused_under_its_name_and_stays_visible(lab: Lab) -> None:
    """31 wrong routes, 20 reasons: each is there with its reason, and reaches nobody."""
    alpha, alpha6, beta, beta6 = lab.speaker("alpha"), lab.speaker("alpha", 6), lab.speaker("beta"), lab.speaker("beta", 6)
    for _, prefix, how in REFUSED:
        (alpha6 if ":" in prefix else alpha).announce(prefix, **how)
    alpha.announce("198.18.6.0/24")
    alpha6.announce("2001:db8:100::/48")
    beta.hears("198.18.6.0/24")
    beta6.hears("2001:db8:100::/48")
    wanted = {(prefix, slug) for slug, prefix, _ in REFUSED}

    until(lambda: {(each.prefix, each.reason) for each in lab.refused("alpha")} == wanted, "not these are refused")

    assert beta.heard.keys().isdisjoint(prefix for prefix, _ in wanted)
    assert beta6.heard.keys().isdisjoint(prefix for prefix, _ in wanted)
    assert {(each.server, each.session) for each in lab.refused()} == {("rs1", "alpha-1")}
    for _, prefix, _ in REFUSED:
        (alpha6 if ":" in prefix else alpha).withdraw(prefix)


def test_a_route_that_the_daemon_itself_threw_out_is_no_longer_refused_when_it_comes_back_in_order(lab: Lab) -> None:
    """What the daemon found before any rule was asked is old news as soon as the same prefix is accepted."""
    alpha, beta = lab.speaker("alpha"), lab.speaker("beta")
    alpha.announce("198.18.6.0/24", otc=64999)
    until(lambda: ("198.18.6.0/24", "otc_leak") in {(each.prefix, each.reason) for each in lab.refused()}, "the leak is not told")
    alpha.announce("198.18.6.0/24")
    beta.hears("198.18.6.0/24")

    assert "198.18.6.0/24" not in {each.prefix for each in lab.refused()}


def test_the_route_server_is_transparent(lab: Lab) -> None:
    """RFC 7947, 2.2: path, next hop, MED and communities that are not for us arrive as they were sent; OTC is set (RFC 9234, 5)."""
    alpha, beta = lab.speaker("alpha"), lab.speaker("beta")
    alpha.announce("198.18.6.0/24", med=7, standard=[(64500, 1), NO_EXPORT], large=[(64500, 1, 2)], extended=[rt(64500, 9)])
    until(lambda: beta.hears("198.18.6.0/24").med == 7, "the route does not arrive")
    told = beta.hears("198.18.6.0/24")

    assert (told.path, told.next_hop, told.otc) == ((64500,), "192.0.2.11", RS)
    assert told.standard == {(64500, 1), NO_EXPORT}
    assert told.extended == {rt(64500, 9)}
    assert told.large == {(64500, 1, 2), (RS, 1000, 1), (RS, 1001, 1)}


def test_nobody_speaks_in_the_route_servers_stead(lab: Lab) -> None:
    """Informational and reason communities that a member sends are taken off on the way in (RFC 7454, 11)."""
    alpha, beta = lab.speaker("alpha"), lab.speaker("beta")
    alpha.announce("198.51.100.0/24", med=8, large=[(RS, 1000, 1), (RS, 1101, 3), (RS, 7, 7), (RS, 4294967295, 1), (64500, 5, 5)])
    until(lambda: beta.hears("198.51.100.0/24").med == 8, "the route does not arrive")

    assert beta.hears("198.51.100.0/24").large == {(64500, 5, 5), (RS, 1000, 2), (RS, 1001, 1)}
    alpha.withdraw("198.51.100.0/24")


def test_the_second_best_reaches_the_member_whom_the_best_may_not(lab: Lab) -> None:
    """Path hiding, RFC 7947 2.3.1: AS64500 keeps its route from AS64502; AS64501 has a longer one."""
    alpha, beta, gamma, delta = lab.speaker("alpha"), lab.speaker("beta"), lab.speaker("gamma"), lab.speaker("delta")
    alpha.announce("198.51.100.0/24", standard=[(0, 64502)])
    beta.announce("198.51.100.0/24", path=[64501, 64510])

    assert gamma.hears("198.51.100.0/24").path == (64501, 64510)
    assert delta.hears("198.51.100.0/24").path == (64500,)
    beta.withdraw("198.51.100.0/24")
    until(lambda: "198.51.100.0/24" not in gamma.heard, "the second best stays when it is gone")
    assert delta.hears("198.51.100.0/24").path == (64500,)
    alpha.withdraw("198.51.100.0/24")


PREFIX = "203.0.113.0/24"
TOLD: tuple[tuple[str, dict[str, Any], dict[str, int]], ...] = (
    # what is sent, and how often AS64501 stands in the path that each member hears; 0: it hears nothing
    ("no wish", {}, {"alpha": 1, "gamma": 1, "delta": 1}),
    ("to none, standard", {"standard": [(0, 65000)]}, {"alpha": 0, "gamma": 0, "delta": 0}),
    ("to none, extended", {"extended": [rt(0, RS)]}, {"alpha": 0, "gamma": 0, "delta": 0}),
    ("to none, large", {"large": [(RS, 0, 0)]}, {"alpha": 0, "gamma": 0, "delta": 0}),
    ("not to, standard", {"standard": [(0, 64502)]}, {"alpha": 1, "gamma": 0, "delta": 1}),
    ("not to, extended, 32-bit", {"extended": [rt(0, 65550)]}, {"alpha": 1, "gamma": 1, "delta": 0}),
    ("not to, large, 32-bit", {"large": [(RS, 0, 65550)]}, {"alpha": 1, "gamma": 1, "delta": 0}),
    ("to none but one, standard", {"standard": [(0, 65000), (65000, 64502)]}, {"alpha": 0, "gamma": 1, "delta": 0}),
    ("to none but one, extended", {"extended": [rt(0, RS), rt(65000, 65550)]}, {"alpha": 0, "gamma": 0, "delta": 1}),
    ("to none but one, large", {"large": [(RS, 0, 0), (RS, 1, 65550)]}, {"alpha": 0, "gamma": 0, "delta": 1}),
    ("to all, in every spelling", {"standard": [(65000, 65000)], "large": [(RS, 1, 0)]}, {"alpha": 1, "gamma": 1, "delta": 1}),
    ("deny beats allow", {"large": [(RS, 0, 64502), (RS, 1, 64502)]}, {"alpha": 1, "gamma": 0, "delta": 1}),
    ("mixed spellings", {"standard": [(0, 65000)], "large": [(RS, 1, 64500)]}, {"alpha": 1, "gamma": 0, "delta": 0}),
    ("prepend 1, standard", {"standard": [(65501, 65000)]}, {"alpha": 2, "gamma": 2, "delta": 2}),
    ("prepend 2, extended", {"extended": [rt(65502, RS)]}, {"alpha": 3, "gamma": 3, "delta": 3}),
    ("prepend 3, large", {"large": [(RS, 103, 0)]}, {"alpha": 4, "gamma": 4, "delta": 4}),
    ("prepend to one, standard", {"standard": [(65503, 64502)]}, {"alpha": 1, "gamma": 4, "delta": 1}),
    ("prepend to one, extended", {"extended": [rt(65501, 65550)]}, {"alpha": 1, "gamma": 1, "delta": 2}),
    ("prepend to one, large", {"large": [(RS, 102, 64500)]}, {"alpha": 3, "gamma": 1, "delta": 1}),
    ("to one beats to all", {"large": [(RS, 103, 0), (RS, 101, 64502)]}, {"alpha": 4, "gamma": 2, "delta": 4}),
)


def test_members_are_told_what_the_announcer_wishes(lab: Lab) -> None:
    """Every control in every spelling, to 16-bit and 32-bit members; all of them are taken off on the way out."""
    beta = lab.speaker("beta")
    others = {name: lab.speaker(name) for name in ("alpha", "gamma", "delta")}
    for number, (what, sent, wanted) in enumerate(TOLD):
        beta.announce(PREFIX, med=1000 + number, **sent)

        def as_wished(number: int = number, wanted: dict[str, int] = wanted) -> bool:
            heard = {name: each.heard.get(PREFIX) for name, each in others.items()}
            return wanted == {
                name: len(told.path) if told and told.med == 1000 + number and set(told.path) == {64501} else 0 if told is None else -1
                for name, told in heard.items()
            }

        until(as_wished, f"{what}: {sent}: { ({name: each.heard.get(PREFIX) for name, each in others.items()}) }", 5)
        for each in others.values():
            told = each.heard.get(PREFIX)
            if told is not None:
                assert (told.standard, told.extended) == (frozenset(), frozenset()), what
                assert told.large == {(RS, 1000, 2), (RS, 1001, 1)}, what
    beta.withdraw(PREFIX)


def test_a_covered_host_route_is_blackholed_for_those_who_want_it(lab: Lab) -> None:
    """RFC 7999: NO_EXPORT is added, the next hop is the LAN's sink, and who does not want blackholes hears nothing."""
    alpha, beta, gamma = lab.speaker("alpha"), lab.speaker("beta"), lab.speaker("gamma")
    alpha.announce("198.51.100.7/32", standard=[BLACKHOLE])
    alpha.announce("198.18.6.6/32", standard=[BLACKHOLE])
    alpha.announce("198.51.100.0/24")
    told = beta.hears("198.51.100.7/32")
    gamma.hears("198.51.100.0/24")

    assert told.standard == {BLACKHOLE, NO_EXPORT}
    assert told.next_hop == "192.0.2.66"
    assert beta.hears("198.18.6.6/32").large == {(RS, 1000, 3), (RS, 1001, 1)}
    assert "198.51.100.7/32" not in gamma.heard
    for prefix in ("198.51.100.7/32", "198.18.6.6/32", "198.51.100.0/24"):
        alpha.withdraw(prefix)


def test_a_graceful_shutdown_makes_the_other_way_best(lab: Lab) -> None:
    """RFC 8326: a shorter path that is about to go yields to a longer one; the community is passed on."""
    alpha, beta, gamma = lab.speaker("alpha"), lab.speaker("beta"), lab.speaker("gamma")
    beta.announce(PREFIX)
    assert gamma.hears(PREFIX).path == (64501,)
    alpha.announce(PREFIX, path=[64500, 64510])
    beta.announce(PREFIX, standard=[GRACEFUL_SHUTDOWN])
    until(lambda: gamma.hears(PREFIX).path == (64500, 64510), "the way that will go is still the best")
    alpha.withdraw(PREFIX)
    until(lambda: gamma.hears(PREFIX).path == (64501,), "the last way is not used")

    assert GRACEFUL_SHUTDOWN in gamma.hears(PREFIX).standard
    beta.withdraw(PREFIX)


def test_what_the_installed_version_lacks_is_said_by_name(lab: Lab) -> None:
    """OpenBGPD 7.7 does nothing about OTC where a member sends no role, so a plan that lets such members in is told so; BIRD and 8.8 lack nothing."""
    driver = lab.driver
    assert isinstance(driver, Asking)
    lacking = asyncio.run(driver.lacks(lab.host_, lab.compiled(exchange(lab.daemon))))
    old = lab.daemon == "openbgpd" and "otc-unasked" in openbgpd.lacks(asyncio.run(openbgpd.version(lab.host_)))

    assert [each.resource for each in lacking] == (["route-server/rs1"] if old else [])
    assert all("OTC" in each.what and "role_strict" in each.mend for each in lacking)


def test_roles_that_do_not_fit_are_refused_and_said(lab: Lab) -> None:
    """RFC 9234, 4.2: a customer is no rs-client; where the policy is strict, neither is one that says nothing."""
    assert lab.speaker("delta", 6, role=3).notification == (2, 11)
    assert lab.speaker("zeta", 4, role=None).notification == (2, 11)
    until(lambda: "role mismatch" in lab.statuses()["session/zeta-1"].reason.lower(), "the reason is not told")
    status = lab.statuses()["session/zeta-1"]

    assert (status.state, status.good) == ("down", False)


def test_more_prefixes_than_stated_end_the_session_and_it_comes_back(lab: Lab) -> None:
    """Stated 5, margin 10 %, 10 blackholes beside them: 16 pass, the 17th ends the session (RFC 4486, 4). BIRD lets the member back after the
    pause, OpenBGPD as soon as it connects."""
    epsilon = lab.speaker("epsilon")
    for number in range(20, 36):
        epsilon.announce(f"198.18.{number}.0/24")
    until(lambda: (lab.statuses()["session/epsilon-1"].facts or {})["rs1"]["v4"]["accepted"] == 16, "16 are not accepted")
    assert epsilon.notification is None
    epsilon.announce("198.18.36.0/24")
    until(lambda: epsilon.notification == (6, 1), "no end to it")
    status = lab.statuses()["session/epsilon-1"]
    assert "rs1 IPv4: max-prefix limit reached" in status.reason
    assert not status.good

    again = lab.speaker("epsilon")
    again.announce("198.18.20.0/24")
    lab.speaker("gamma").hears("198.18.20.0/24")


def test_a_new_member_disturbs_nobody(lab: Lab) -> None:
    """A member more: everybody else's session stays up, and nothing is asked of it again."""
    standing = [lab.speaker(name) for name in ("alpha", "beta", "gamma", "delta")]
    refreshes = [each.refreshes for each in standing]
    before = {name: each for name, each in lab.protocols().items() if each.established}
    eta = [
        Member.model_validate({"name": "eta", "title": {"en": "eta"}, "asn": 64505, "class": "isp"}),
        Port.model_validate({"name": "eta", "member": "eta", "site": "east", "speed": "10G"}),
        Session.model_validate({"name": "eta-1", "member": "eta", "lan": "lan", "port": "eta", "v4": "192.0.2.17"}),
    ]
    plain = lab.snapshot
    lab.configure(plain.replaced(eta))
    until(lambda: "c_eta_1_v4" in lab.protocols(), "the member is not there")
    after = lab.protocols()

    assert all(after[name].established and _seconds_apart(after[name].since, each.since) <= 1 for name, each in before.items())
    assert [each.notification for each in standing] == [None] * 4
    assert [each.refreshes for each in standing] == refreshes
    lab.configure(plain)
    until(lambda: "c_eta_1_v4" not in lab.protocols(), "the member stays")


def test_what_is_agreed_on_at_the_start_of_a_session_is_agreed_on_anew_when_it_changes(lab: Lab) -> None:
    """A member that sends no role, and shall from now on: its session ends, and it comes back with a role only. Nobody else's ends."""
    standing = [lab.speaker(name) for name in ("alpha", "beta", "delta")]
    silent = lab.speaker("gamma", 6, role=None)
    plain = lab.snapshot
    gamma = plain.get(Session, "gamma-1")
    assert gamma is not None
    assert silent.up.is_set()
    lab.configure(plain.replaced([gamma.changed(role_strict=True)]))
    until(lambda: silent.notification is not None and silent.notification[0] == 6, "the session goes on as it was")

    until(lambda: lab.speaker("gamma", 6, role=None).notification == (2, 11), "who sends no role comes in")
    lab.speakers.pop("gamma6").close()
    assert [each.notification for each in standing] == [None] * 3
    lab.configure(plain)
    if "gamma4" in lab.speakers:  # the same member's other session had to open anew as well
        lab.speakers.pop("gamma4").close()


def test_a_new_roa_takes_effect_without_asking_the_member(lab: Lab) -> None:
    """The import table holds what members sent: a VRP that makes a route invalid takes it away, and brings it back when it goes."""
    alpha, beta = lab.speaker("alpha"), lab.speaker("beta")
    alpha.announce("198.51.100.0/24")
    beta.hears("198.51.100.0/24")
    lab.configure(lab.snapshot, {"roas": [*VRPS["roas"], {"asn": 64999, "prefix": "198.51.100.0/24", "maxLength": 24}]})
    until(lambda: "198.51.100.0/24" not in beta.heard, "the invalid route stays", 30)
    assert ("198.51.100.0/24", "rpki_invalid") in {(each.prefix, each.reason) for each in lab.refused("alpha")}
    lab.configure(lab.snapshot)
    until(lambda: "198.51.100.0/24" in beta.heard, "the route does not come back", 30)

    assert (alpha.refreshes, alpha.notification) == (0, None)
    alpha.withdraw("198.51.100.0/24")


def test_what_the_route_server_is_can_be_read(lab: Lab) -> None:
    """Statuses say what became of each: running with its counts, or why it cannot be asked."""
    lab.speaker("alpha")
    statuses = lab.statuses()

    assert statuses["route-server/rs1"].state == "running"
    assert (statuses["route-server/rs1"].facts or {})["sessions"] == 12
    assert statuses["route-server/rs2"].reason == "rs2: not built in this lab"
    assert (statuses["session/alpha-1"].facts or {})["rs1"]["v4"]["state"] == "established"


def _seconds_apart(a: str, b: str) -> float:
    """OpenBGPD tells ages in whole seconds, so the instant that follows from one may be a second off."""
    return abs((datetime.fromisoformat(a[:19]) - datetime.fromisoformat(b[:19])).total_seconds())
