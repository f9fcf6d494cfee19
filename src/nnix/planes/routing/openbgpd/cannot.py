"""What no version of OpenBGPD does, refused by name when it is planned: to leave it out would be a hole that nobody sees.

One table, of which docs/routing/features.md is made as well. What only some versions lack is for the driver (`# needs:`, spell.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from nnix.kernel.rule import Refusal
from nnix.planes.routing.kinds import Counted, LimitAction, Rpki

if TYPE_CHECKING:
    from nnix.planes.routing.compile import ClientPolicy, ServerPolicy
    from nnix.planes.routing.kinds import RoutingPolicy

ENDING = (LimitAction.RESTART, LimitAction.SHUTDOWN)

Asked = Iterator[tuple[str, object]]
"""(resource, what it says) of each that asks for it"""


class Never(NamedTuple):
    """A field that asks for what OpenBGPD does not do; `accept`: what it may say instead, and why."""

    field: str
    asked: Callable[[ServerPolicy], Asked]
    accept: str


def _policy(field: str, asks: Callable[[RoutingPolicy], object], accept: str) -> Never:
    """`asks`: what the policy says, or nothing where that is no more than OpenBGPD does."""

    def asked(server: ServerPolicy) -> Asked:
        if found := asks(server.policy):
            yield server.policy.id, found

    return Never(field, asked, accept)


def _session(field: str, asks: Callable[[ClientPolicy, RoutingPolicy], bool], accept: str) -> Never:
    def asked(server: ServerPolicy) -> Asked:
        yield from ((f"session/{client.session}", "set") for client in server.clients if asks(client, server.policy))

    return Never(field, asked, accept)


def _limit_action(server: ServerPolicy) -> Asked:
    own = server.policy.limit_action
    if own not in ENDING:
        yield server.policy.id, own
    for client in server.clients:
        if client.limit_action not in ENDING and client.limit_action is not own:
            yield f"session/{client.session}", client.limit_action


def _limit_counts(server: ServerPolicy) -> Asked:
    if server.policy.limit_counts is Counted.ACCEPTED:
        yield server.policy.id, Counted.ACCEPTED
    else:
        yield from ((f"session/{client.session}", Counted.ACCEPTED) for client in server.clients if client.limit_counts is Counted.ACCEPTED)


def _odd_minutes(server: ServerPolicy) -> Asked:
    used = {server.policy.limit_action, *(client.limit_action for client in server.clients)}
    if LimitAction.RESTART in used and server.policy.limit_restart_seconds % 60:
        yield server.policy.id, server.policy.limit_restart_seconds


def _aspa(server: ServerPolicy) -> Asked:
    if server.policy.aspa is not Rpki.OFF:
        yield server.policy.id, "asked for"
    else:
        yield from ((f"session/{client.session}", "asked for") for client in server.clients if client.aspa is not Rpki.OFF)


def _v4_over_v6(server: ServerPolicy) -> Asked:
    """Where all of IPv4 goes over IPv6, all next hops are of one network with those who hear of them."""
    if server.policy.blackhole_v4 is not None or any(client.v4 is not None for client in server.clients):
        yield from ((f"session/{client.session}", "true") for client in server.clients if client.v4_over_v6)


_NO_CACHES = "none: its filters cannot ask whether VRPs have arrived, so it would let everything pass until then, and it has one table"

NEVER: tuple[Never, ...] = (
    _policy("communities_max", lambda policy: policy.communities_max, "none: OpenBGPD counts each form by itself"),
    _policy("tells_announcer", lambda policy: policy.tells_announcer, "false: its rules have no word for the origin of a route"),
    Never("limit_counts", _limit_counts, "received, which OpenBGPD counts"),
    _policy("pauses", lambda policy: policy.pauses and "set", "none: OpenBGPD's pauses are its own, 30 s and doubling"),
    _policy("graceful_restart_seconds", lambda policy: policy.graceful_restart_seconds, "0: OpenBGPD grants it and does not ask for it"),
    _policy("long_lived_seconds", lambda policy: policy.long_lived_seconds, "0: OpenBGPD grants it and does not ask for it"),
    _policy("rpki_caches", lambda policy: ", ".join(policy.rpki_caches), _NO_CACHES),
    _policy("irr_caches", lambda policy: ", ".join(policy.irr_caches), _NO_CACHES),
    Never("limit_action", _limit_action, "restart or shutdown, as OpenBGPD ends the session above a limit"),
    Never("limit_restart_seconds", _odd_minutes, "whole minutes: a multiple of 60"),
    Never("aspa", _aspa, "off: 8.8 forgets what it found when rules change, and lets the route pass from then on"),
    _session("prefix_lengths", lambda client, policy: client.lengths != policy.prefix_lengths, "the policy's own"),
    _session("as_sets_in_paths", lambda client, _: client.as_sets_in_paths, "false"),
    _session("tcp_ao", lambda client, _: client.tcp_key is not None, "password (TCP MD5), since OpenBGPD on Linux has no TCP-AO"),
    _session(
        "multihop",
        lambda client, _: client.multihop is not None,
        "none: OpenBGPD would put its own address for a next hop outside of the LAN",
    ),
    Never(
        "v4_over_v6",
        _v4_over_v6,
        "false, or no IPv4 session and no blackhole_v4 beside it: OpenBGPD puts its own address for a next hop of another network (RFC 4271, 5.1.3)",
    ),
    _session("bfd", lambda client, _: client.bfd, "false: OpenBGPD has no BFD"),
)


def cannot(server: ServerPolicy) -> Iterator[Refusal]:
    """What of `server` no version of OpenBGPD does."""
    for never in NEVER:
        for resource, found in never.asked(server):
            yield Refusal(
                resource,
                never.field,
                f"{str(found).lower() if found is True else found}, by route-server/{server.name} (openbgpd)",
                never.accept,
                "routing.daemon-can",
                "bgpd.conf(5)",
                "or daemon: bird there, or a policy of its own for it",
            )
