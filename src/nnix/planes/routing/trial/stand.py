"""Namespaces for a trial: the LAN as one cable, with the route server at one end and all of its clients at the other.

The daemon has done its work when all its processes sleep, nothing lies unread in its sockets, and nothing arrives any more. That is asked
of /proc, since BGP has no word for it: waiting for a fixed time would be slow where little is to be done and wrong where much is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from itertools import count
from pathlib import Path

from nnix.hosts.namespace import NAMESPACES, NamespaceHost
from nnix.kernel.world import Failed, Host
from nnix.planes.routing.compile import ServerPolicy

_NUMBERS = count()
CABLE = "lan0"
ESTABLISHED, LISTENING = "01", "0A"


@dataclass(frozen=True)
class Stand:
    """Where one candidate runs. `members` is the namespace of the clients."""

    host: Host
    server: str
    members: str

    def pids(self) -> tuple[int, ...]:
        """Processes in the route server's namespace."""
        here = (NAMESPACES / self.server).stat().st_ino
        found = []
        for place in Path("/proc").iterdir():
            if place.name.isdigit():
                with contextlib.suppress(OSError):
                    if (place / "ns/net").stat().st_ino == here:
                        found.append(int(place.name))
        return tuple(found)


def working(pids: Iterable[int]) -> bool:
    """Whether one of the daemon's processes runs, or has something to read or to send that was not taken yet."""
    namespace = ""
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "SZ":
            return True
        namespace = f"/proc/{pid}/net"
    if not namespace:
        return False
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for row in Path(namespace, table).read_text().splitlines()[1:]:
                fields = row.split()
                if fields[3] == ESTABLISHED and fields[4] != "00000000:00000000":
                    return True
    return False


def _lan(server: ServerPolicy, family: int) -> IPv4Network | IPv6Network | None:
    address = server.v4 if family == 4 else server.v6
    lans: Iterable[IPv4Network | IPv6Network] = server.lans_v4 if family == 4 else server.lans_v6
    return None if address is None else next((lan for lan in lans if address in lan), None)


@contextlib.asynccontextmanager
async def stand(servers: Iterable[ServerPolicy], prefix: str) -> AsyncIterator[Stand]:
    """A stand for candidates of `servers`, which share a LAN. All of it is gone afterwards. Raises Failed.

    `prefix` begins the namespaces' names, so that what was left behind by a kill can be found by whose it is.
    """
    known = tuple(servers)
    number = next(_NUMBERS)
    names = [f"{prefix}proof{os.getpid()}-{number}{end}" for end in ("s", "m")]
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="nnix-proof-"))
    here = ["link set lo up", f"link set {CABLE} addrgenmode none", f"link set {CABLE} up"]
    there = list(here)
    for family in (4, 6):
        lan = _lan(known[0], family)
        if lan is None:
            continue
        plain = "" if family == 4 else " nodad"
        ours = {each.v4 if family == 4 else each.v6 for each in known}
        here += [f"address add {each}/{lan.prefixlen} dev {CABLE}{plain}" for each in sorted(map(str, ours - {None}))]
        theirs = {address for each in known for client in each.clients if (address := client.v4 if family == 4 else client.v6) is not None}
        there += [f"address add {each}/{lan.prefixlen} dev {CABLE}{plain}" for each in sorted(map(str, theirs))]
        # Who is several hops away has an address outside of the LAN; it stands at the end of the cable all the same.
        here += [f"route add {each} dev {CABLE}" for each in sorted(str(each) for each in theirs if each not in lan)]
    ground = [f"netns add {name}" for name in names]
    ground.append(f"link add {CABLE} netns {names[0]} type veth peer name {CABLE} netns {names[1]}")
    try:
        for where, lines in (([], ground), (["-n", names[0]], here), (["-n", names[1]], there)):
            await _ip(where, lines)
        yield Stand(NamespaceHost(known[0].machine, names[0], home), *names)
    finally:
        for name in names:
            with contextlib.suppress(Failed):
                await _ip([], [f"netns delete {name}"])
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


async def _ip(where: list[str], lines: list[str]) -> None:
    process = await asyncio.create_subprocess_exec("ip", *where, "-batch", "-", stdin=-1, stdout=-1, stderr=-1)
    _, err = await process.communicate("\n".join(lines).encode())
    if process.returncode:
        raise Failed(f"no place for a trial: ip: {err.decode().strip()}")
