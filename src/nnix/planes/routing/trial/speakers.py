"""Clients of a route server, played: hundreds of BGP sessions in one event loop.

A speaker says exactly what it is told to say, wrong or right, and keeps what it hears. It opens the connection itself, also towards a route
server that would do so; who is told to wait hears it all the same (RFC 4271, 8.2.1.3).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, ip_address
from types import MappingProxyType

from nnix.hosts.namespace import inside
from nnix.planes.routing.compile import ClientPolicy, ServerPolicy
from nnix.planes.routing.kinds import Role
from nnix.planes.routing.naming import Family
from nnix.planes.routing.prove import messages
from nnix.planes.routing.prove.messages import RS_CLIENT, SENDS, TAKES, Attributes, Opened
from nnix.planes.routing.prove.route import Prefix, Route

THEIR_ROLE: Mapping[Role, int] = {Role.RS: RS_CLIENT, Role.PROVIDER: 3, Role.PEER: 4}  # by the route server's own (RFC 9234, 4.1)
TCP_MD5SIG = 14  # tcp(7)
SOCKADDR_OCTETS = 128  # of struct __kernel_sockaddr_storage
HOLD_TIME_SECONDS = 240
FIRST_PATH = 1  # the path identifier of what a session announces, where it could announce more
CONNECT_SECONDS = 60.0  # of a machine that has much else to do
AGAIN_SECONDS = 0.05
AT_ONCE = 6  # connections: OpenBGPD listens with a backlog of 5, BIRD with 8; whose SYN finds no room is sent again after 1 s, then 2, 4 …


class Speaker(asyncio.Protocol):
    """One session. `heard` is what the route server has told and not withdrawn; `notification` how it ended the session.

    Who has several paths declared agrees to it (RFC 7911): then `paths` is what was told, by prefix and path identifier, and what it announces itself
    bears one.
    """

    def __init__(self, client: ClientPolicy, family: Family, router_id: IPv4Address, role: int | None) -> None:
        self.client, self.family, self.router_id, self.role = client, family, router_id, role
        self.families: tuple[Family, ...] = (4, 6) if family == 6 and client.v4_over_v6 else (family,)
        self.heard: dict[Prefix, Attributes] = {}
        self.paths: dict[Prefix, dict[int, Attributes]] = {}
        self.offers = (TAKES if client.add_paths.sends else 0) | (SENDS if client.add_paths.receives else 0)
        self._numbered: frozenset[Family] = frozenset()
        self.opened: Opened | None = None
        self.notification: tuple[int, int] | None = None
        self.ended = asyncio.Event()
        self.octets = 0
        self.refreshes = 0  # how often the route server asked for everything again (RFC 2918)
        self.decided: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    @property
    def session(self) -> str:
        return self.client.session

    @property
    def up(self) -> bool:
        return self.decided.done() and self.decided.result() and self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(transport)
        self._transport = transport
        transport.write(
            messages.open_message(
                self.client.asn, self.router_id, self.families, hold_time_seconds=HOLD_TIME_SECONDS, role=self.role, several=self.offers
            )
        )

    def data_received(self, data: bytes) -> None:
        self.octets += len(data)
        self._buffer += data
        for kind, body in messages.taken(self._buffer):
            if kind == messages.UPDATE:
                said = messages.updated(body, self._numbered)
                for prefix in said.withdrawn:
                    self.heard.pop(prefix, None)
                for prefix in said.reached:
                    self.heard[prefix] = said.attributes
                for prefix, number in said.withdrawn_paths:
                    self.paths.get(prefix, {}).pop(number, None)
                for prefix, number in said.reached_paths:
                    self.paths.setdefault(prefix, {})[number] = said.attributes
            elif kind == messages.OPEN:
                self.opened = messages.opened(body)
                self._numbered = self._agreed(TAKES, SENDS)
                self.say(messages.message(messages.KEEPALIVE))
            elif kind == messages.KEEPALIVE:
                if self.decided.done():
                    self.say(messages.message(messages.KEEPALIVE))
                else:
                    self.decided.set_result(True)
            elif kind == messages.ROUTE_REFRESH:
                self.refreshes += 1
            elif kind == messages.NOTIFICATION:
                self.notification = body[0], body[1]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.ended.set()
        if not self.decided.done():
            self.decided.set_result(False)

    def say(self, octets: bytes) -> None:
        if self._transport is not None:
            self._transport.write(octets)

    def _agreed(self, mine: int, theirs: int) -> frozenset[Family]:
        """Families in which we offer `mine`, and the route server `theirs`."""
        if self.opened is None or not self.offers & mine:
            return frozenset()
        return frozenset(family for family in self.families if self.opened.several.get(family, 0) & theirs)

    def _number(self, family: Family, number: int) -> int | None:
        return number if family in self._agreed(SENDS, TAKES) else None

    def announce(self, route: Route, prefixes: Iterable[Prefix] = (), number: int = FIRST_PATH) -> None:
        """`number` is for those who send several paths; of others, what is said last counts."""
        self.say(messages.announcing(route, prefixes, self._number(route.prefix.family, number)))

    def withdraw(self, prefixes: Iterable[Prefix], number: int = FIRST_PATH) -> None:
        for prefix in prefixes:
            self.say(messages.withdrawing([prefix], self._number(prefix.family, number)))

    def told(self, family: Family) -> dict[Prefix, Counter[Attributes]]:
        """All that the route server tells it, where it takes several paths; one a prefix where it was told so."""
        found = {prefix: Counter([each]) for prefix, each in self.heard.items() if prefix.family == family}
        return found | {prefix: Counter(each.values()) for prefix, each in self.paths.items() if each and prefix.family == family}

    @property
    def unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        self.say(messages.message(messages.NOTIFICATION, bytes(messages.ADMINISTRATIVE_SHUTDOWN)))
        if self._transport is not None:
            self._transport.close()


def _sockets(ends: Sequence[tuple[str, Family, str, bytes]]) -> list[socket.socket]:
    """For (own address, family, the route server's address, key of TCP MD5; empty: none)."""
    made = []
    for address, family, server, key in ends:
        each = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        each.setblocking(False)
        level, option = (socket.IPPROTO_IP, socket.IP_TTL) if family == 4 else (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
        each.setsockopt(level, option, 255)  # some are heard with no other (RFC 5082)
        if key:
            each.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, _signature(server, family, key))
        each.bind((address, 0))
        made.append(each)
    return made


def _signature(peer: str, family: Family, key: bytes) -> bytes:
    """struct tcp_md5sig (tcp(7)): with whom, and by which key (RFC 2385)."""
    host = ip_address(peer).packed
    v6 = struct.pack("=HHI", socket.AF_INET6, 0, 0)  # family, port, flow
    address = v6 + host if family == 6 else struct.pack("=HH", socket.AF_INET, 0) + host
    return address.ljust(SOCKADDR_OCTETS, b"\0") + struct.pack("=BBHI80s", 0, 0, len(key), 0, key)


async def speakers(
    server: ServerPolicy,
    wanted: Sequence[tuple[ClientPolicy, Family]],
    namespace: str,
    *,
    names_role: bool = True,
    keys: Mapping[str, bytes] = MappingProxyType({}),
) -> list[Speaker]:
    """Sessions with the route server, up or refused; `keys` are those of TCP MD5 by the secret's name. Raises TimeoutError where it does not answer
    at all."""
    loop = asyncio.get_running_loop()
    ends = [
        (
            str(client.v4 if family == 4 else client.v6),
            family,
            str(server.v4 if family == 4 else server.v6),
            keys.get(client.password or "", b""),
        )
        for client, family in wanted
    ]
    made = [Speaker(client, family, router_id(client), THEIR_ROLE[client.role] if names_role else None) for client, family in wanted]
    left = list(range(len(made)))
    deadline = loop.time() + CONNECT_SECONDS
    while left:
        some, later = left[:AT_ONCE], left[AT_ONCE:]
        places = [ends[number] for number in some]
        sockets = await asyncio.to_thread(inside, namespace, lambda places=places: _sockets(places))
        outcomes = await asyncio.gather(
            *(_connected(each, made[number], server, ends[number][1]) for number, each in zip(some, sockets, strict=True))
        )
        again = [number for number, good in zip(some, outcomes, strict=True) if not good]
        if len(again) < len(some):
            deadline = loop.time() + CONNECT_SECONDS
        elif loop.time() > deadline:
            raise TimeoutError(f"nobody answers {', '.join(ends[number][0] for number in again[:5])}")
        for number in again:
            made[number] = Speaker(*wanted[number], made[number].router_id, made[number].role)
        left = [*later, *again]
        if again:
            await asyncio.sleep(AGAIN_SECONDS)
    async with asyncio.timeout(CONNECT_SECONDS):
        await asyncio.gather(*(each.decided for each in made))
    return made


async def _connected(end: socket.socket, speaker: Speaker, server: ServerPolicy, family: Family) -> bool:
    """Whether there was anybody. A route server that is not ready yet hangs up at once, and is asked again."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.sock_connect(end, (str(server.v4 if family == 4 else server.v6), 179))
        await loop.create_connection(lambda: speaker, sock=end)
        await speaker.decided
    except (OSError, TimeoutError):
        end.close()
        return False
    return speaker.opened is not None


def router_id(client: ClientPolicy) -> IPv4Address:
    """A BGP identifier for a client that is played: its IPv4 address, or one that follows from its IPv6 address."""
    return client.v4 if client.v4 is not None else IPv4Address(1 << 24 | int(client.v6 or 0) & 0xFFFFFF)
