"""What a failure takes from members: the exchange, a port, route servers, a carrier.

A port at a lost site is lost, though it may still have light: what it reaches is no longer the exchange. Members that keep another port
lose only that one. Ports that lead to no LAN are the business of circuits (circuits.py). Route servers count by LAN: a member behind the
last one of its LAN keeps its link and loses its routes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Port
from nnix.planes.fabric.prove.cuts import Homes, Left
from nnix.planes.fabric.prove.network import CONNECTED, Failure, Network, Part, private
from nnix.planes.routing.kinds import RouteServer, Session


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of the exchange when `failure` happens.

    lost: the bits of sites that are no longer part of it. cut_off: members that no longer are; `own_site` those of them that were only at
    the site that died. loses: member → what it loses while it stays.
    """

    failure: Failure
    lost: int
    cut_off: tuple[str, ...]
    own_site: tuple[str, ...]
    loses: Mapping[str, tuple[str, ...]]

    @property
    def behind(self) -> tuple[str, ...]:
        """Members cut off although their own site stands."""
        return tuple(each for each in self.cut_off if each not in set(self.own_site))


class Members:
    """Who is where in a snapshot, and what a failure takes from whom."""

    def __init__(self, snapshot: Snapshot, net: Network) -> None:
        self._net = net
        self._homes = Homes(net.homes)
        number = {site.name: index for index, site in enumerate(net.sites)}
        self._ports_at: dict[int, list[Port]] = defaultdict(list)
        elsewhere = private(snapshot)
        for port in snapshot.of(Port):
            if port.state in CONNECTED and port.site in number and port.name not in elsewhere:
                self._ports_at[number[port.site]].append(port)
        self._at_site = {name: sorted({port.member for port in self._ports_at[index]}) for name, index in number.items()}
        self._servers: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for server in snapshot.of(RouteServer):
            if server.site in number:
                self._servers[server.lan].append((server.id, 1 << number[server.site]))
        self._clients: dict[str, list[str]] = defaultdict(list)
        for session in snapshot.of(Session):
            if session.route_servers and session.member not in self._clients[session.lan]:
                self._clients[session.lan].append(session.member)

    def outcome(self, failure: Failure, left: Left) -> Outcome:
        """What `failure`, which leaves `left`, takes from whom."""
        sites = left.lost
        cut_off = self._homes.cut_off(sites)
        gone = set(cut_off)
        loses: dict[str, list[str]] = defaultdict(list)
        for site, ports in self._ports_at.items():
            if sites >> site & 1:
                for port in ports:
                    loses[port.member].append(port.id)
        for lan, servers in self._servers.items():
            away = [server for server, site in servers if site & sites]
            words = [f"all route servers of lan/{lan}"] if len(away) == len(servers) else away
            for member in self._clients[lan] if away else ():
                loses[member] += words
        for carrier, site_name in failure.hand_offs:
            for member in self._at_site.get(site_name, ()):
                loses[member].append(f"carrier/{carrier} at site/{site_name}")
        return Outcome(
            failure=failure,
            lost=sites,
            cut_off=cut_off,
            own_site=self._homes.cut_off(failure.sites) if failure.part is Part.SITE else (),
            loses={member: tuple(what) for member, what in sorted(loses.items()) if member not in gone},
        )

    def cut_off_count(self, sites: int) -> int:
        """How many members are cut off when `sites` are lost."""
        return self._homes.count(sites)

    def cut_off(self, sites: int) -> tuple[str, ...]:
        """Who is cut off when `sites` are lost."""
        return self._homes.cut_off(sites)
