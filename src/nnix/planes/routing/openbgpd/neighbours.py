"""Neighbours: one for each family of a client, in a group named after what wishes can name the client by, so that a new one changes nobody else's."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from nnix.planes.routing.kinds import LimitAction, Role
from nnix.planes.routing.naming import Family, protocol_name

if TYPE_CHECKING:
    from nnix.planes.routing.compile import ClientPolicy, ServerPolicy


_ANNOUNCED = {Role.RS: "", Role.PROVIDER: "_provider", Role.PEER: "_peer"}  # those that a route server may have (routing.roles-fit)


def neighbours(server: ServerPolicy) -> Iterator[str]:
    """Neighbours by their groups: those that wishes cannot aim at by group or round-trip time have none."""
    grouped: dict[str, list[ClientPolicy]] = {}
    for client in server.clients:
        grouped.setdefault(group_name(client), []).append(client)
    for name, clients in sorted(grouped.items()):
        blocks = [_neighbour(client, server, family) for client in clients for family in families(client)]
        yield from [f'group "{name}" {{', *blocks, "}"] if name else blocks


def _neighbour(client: ClientPolicy, server: ServerPolicy, family: Family) -> str:
    policy = server.policy
    limit = client.routes_max_v4 if family == 4 else client.routes_max_v6
    if client.v4_over_v6:
        limit += client.routes_max_v4
    pause = f" restart {policy.limit_restart_seconds // 60}" if client.limit_action is LimitAction.RESTART else ""
    rows = [
        f"# session: session/{client.session}",
        f"remote-as {client.asn}",
        f'descr "{protocol_name(client.session, family)}"',
        ""
        if client.password is not None
        else f"local-address {server.v4 if family == 4 else server.v6}",  # or 7.7 gives its listener no key
        f"announce IPv{family} unicast",
        "announce IPv4 unicast" if client.v4_over_v6 and family == 6 else "",
        "announce extended nexthop yes" if client.v4_over_v6 and family == 6 else "",
        "announce add-path send all" if client.add_paths.sends else "",
        "announce add-path recv yes" if client.add_paths.receives else "",
        "passive" if client.passive else "",
        "enforce neighbor-as no",
        "enforce local-as no",
        f"holdtime {client.hold_time_seconds}" if client.hold_time_seconds != policy.hold_time_seconds else "",
        f'tcp md5sig password "@SECRET:{client.password}@"' if client.password is not None else "",
        "ttl-security yes" if client.gtsm else "",
        f"max-prefix {limit}{pause}",
        *(_role(client) if policy.roles else ("$announce_no_role",)),
    ]
    body = "".join(f"  {row}\n" for row in rows if row)
    return f"neighbor {address_of(client, family)} {{ # member/{client.member}, AS{client.asn}\n{body}}}"


def _role(client: ClientPolicy) -> tuple[str, str]:
    """In the words that the driver lays beside the configuration: 7.7 names the role where it announces it, 8.8 before that."""
    strict = "_strict" if client.role_strict else ""
    return f"$role_{client.role.replace('-', '_')}", f"$announce_role{_ANNOUNCED[client.role]}{strict}"


def families(client: ClientPolicy) -> tuple[Family, ...]:
    both: tuple[Family, ...] = (4, 6)
    return tuple(family for family in both if address_of(client, family) is not None)


def address_of(client: ClientPolicy, family: Family) -> IPv4Address | IPv6Address | None:
    return client.v4 if family == 4 else client.v6


def peers(client: ClientPolicy) -> list[str]:
    """The neighbours that a client is."""
    return [str(address_of(client, family)) for family in families(client)]


def several_sessions(server: ServerPolicy) -> Iterator[tuple[str, int]]:
    """(address, number) of each session of clients that have more than one in a family. The number is the session's own, whoever else is there."""
    both: tuple[Family, ...] = (4, 6)
    for family in both:
        asns = Counter(client.asn for client in server.clients if address_of(client, family) is not None)
        for client in server.clients:
            address = address_of(client, family)
            if address is not None and asns[client.asn] > 1:
                yield str(address), zlib.crc32(address.packed)


def group_name(client: ClientPolicy) -> str:
    return f"aimed_{client.targets_key}" if client.targets else ""
