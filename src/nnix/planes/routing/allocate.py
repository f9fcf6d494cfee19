"""Addresses and MACs that nobody has written down: chosen at plan time, kept from then on.

A session without addresses gets the lowest free host address of its LAN, or the one that it had before. MACs follow from names, so
that they need no memory (`mac_of`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Lan, mac_of
from nnix.planes.members.kinds import Exchange
from nnix.planes.routing.kinds import RouteServer, Session
from nnix.planes.trust.kinds import RtrCache

Address = IPv4Address | IPv6Address


def allocate(snapshot: Snapshot, before: Snapshot) -> Iterable[Resource]:
    """Sessions and route servers completed. Where the LAN is full or not there, the resource stays as it is, and a rule says so."""
    lab = any(each.lab for each in snapshot.of(Exchange))
    taken: dict[str, set[Address]] = defaultdict(set)
    speakers: tuple[Session | RouteServer | RtrCache, ...] = (*snapshot.of(Session), *snapshot.of(RouteServer), *snapshot.of(RtrCache))
    for each in speakers:
        taken[each.lan].update(address for address in (each.v4, each.v6) if address is not None)
    lowest: dict[IPv4Network | IPv6Network, int] = {}
    bare = [each for each in snapshot.of(Session) if each.v4 is None and each.v6 is None]
    kept: dict[str, dict[str, Address]] = {}
    for session in bare:  # first what they had, so that a newcomer does not take it
        lan, past = snapshot.get(Lan, session.lan), before.get(Session, session.name)
        if lan is None or past is None or past.lan != session.lan:
            continue
        for field, address, prefix in (("v4", past.v4, lan.v4), ("v6", past.v6, lan.v6)):
            if address is not None and prefix is not None and address in prefix and address not in taken[session.lan]:
                kept.setdefault(session.name, {})[field] = address
                taken[session.lan].add(address)
    for session in snapshot.of(Session):
        chosen: dict[str, object] = {}
        lan = snapshot.get(Lan, session.lan)
        if session.v4 is None and session.v6 is None and lan is not None:
            for field, prefix in (("v4", lan.v4), ("v6", lan.v6)):
                address = kept.get(session.name, {}).get(field) or _free(prefix, taken[session.lan], lowest)
                if address is not None:
                    chosen[field] = address
        if lab and not session.macs:
            chosen["macs"] = (mac_of(session.id),)
        if chosen:
            yield session.changed(**chosen)
    for server in snapshot.of(RouteServer):
        if server.mac is None:
            yield server.changed(mac=mac_of(server.id))


def _free(prefix: IPv4Network | IPv6Network | None, taken: set[Address], lowest: dict[IPv4Network | IPv6Network, int]) -> Address | None:
    """The lowest host address of `prefix` that is not in `taken`, and takes it. `lowest` remembers how far was looked before."""
    if prefix is None:
        return None
    top = prefix.num_addresses - (1 if prefix.version == 4 and prefix.prefixlen < 31 else 0)
    offset = lowest.get(prefix, 0 if prefix.version == 4 and prefix.prefixlen >= 31 else 1)
    while offset < top:
        address = prefix.network_address + offset
        offset += 1
        if address not in taken:
            taken.add(address)
            lowest[prefix] = offset
            return address
    return None
