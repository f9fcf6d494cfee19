"""The whole configuration, part by part: head, sets, neighbours, the way in, the way out.

Roles are spelled differently by version. The driver lays the words beside the configuration (`@HOME@/words.conf`), and says what a version
lacks of that which a line `# needs: FEATURE RESOURCE: MEND` asks for. It puts secrets in the place of `@SECRET:NAME@`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnix.planes.routing.kinds import Place
from nnix.planes.routing.openbgpd.inward import inward
from nnix.planes.routing.openbgpd.marks import TABLE_REFUSED
from nnix.planes.routing.openbgpd.neighbours import neighbours
from nnix.planes.routing.openbgpd.outward import outward
from nnix.planes.routing.openbgpd.sets import sets
from nnix.planes.routing.openbgpd.words import local_text

if TYPE_CHECKING:
    from nnix.planes.routing.compile import ServerPolicy


def spell(server: ServerPolicy) -> str:
    """The whole configuration of one route server."""
    parts = [_head(server), *local_text(server, Place.HEAD), sets(server), *neighbours(server), "", *inward(server), "", *outward(server)]
    return "\n".join(part for part in parts if part is not None) + "\n"


def _needs(server: ServerPolicy) -> Iterator[tuple[str, str, str]]:
    """What not every version has: (the driver's name of the feature, who wants it, what would mend it)."""
    if server.policy.roles and any(not client.role_strict for client in server.clients):
        mend = "set role_strict: true on every session, so that all send a role, or roles: false in its policy"
        yield "otc-unasked", f"route-server/{server.name}", mend
    for client in server.clients:
        if client.v4_over_v6:
            yield "extended-nexthop", f"session/{client.session}", "give it an IPv4 address instead, or use a newer OpenBGPD"


def _head(server: ServerPolicy) -> str:
    policy = server.policy
    rows = [
        f"# nnix: route-server/{server.name}, AS{server.asn}. Written by a program; what is changed here by hand does not stay.",
        *(f"# needs: {feature} {who}: {mend}" for feature, who, mend in _needs(server)),
        *([f"# farewell: {server.shutdown_text}"] if server.shutdown_text else []),
        'include "@HOME@/words.conf"',
        f"AS {server.asn}",
        f"router-id {server.router_id}",
        *(f"listen on {address}" for address in (server.v4, server.v6) if address is not None),
        "fib-update no",
        "transparent-as yes",
        f"rde evaluate {'all' if policy.path_hiding_solved else 'default'}",
        "rde med compare strict",
        "rde route-age ignore",
        "reject as-set yes",  # RFC 9774; 7.7 takes them by default, 8.8 does not
        f"rde rib {TABLE_REFUSED} no evaluate",  # also where nothing is kept in it, since 7.7 does not survive a reload that takes a table away
        f"holdtime {policy.hold_time_seconds}",
        f"connect-retry {policy.connect_retry_seconds}",
    ]
    return "\n".join(rows)
