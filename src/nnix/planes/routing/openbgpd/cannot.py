"""What no version of OpenBGPD does, refused by name when it is planned. What only some versions lack is for the driver (`# needs:`, spell.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnix.kernel.rule import Refusal
from nnix.planes.routing.kinds import Counted, LimitAction, Rpki

if TYPE_CHECKING:
    from nnix.planes.routing.compile import ServerPolicy


def cannot(server: ServerPolicy) -> Iterator[Refusal]:
    """What of `server` no version of OpenBGPD does, or what is not spelled for it: refused by name, since to leave it out would be a hole that
    nobody sees."""
    policy = server.policy

    def refusal(resource: str, field: str, found: object, accept: str) -> Refusal:
        mend = "or daemon: bird there, or a policy of its own for it"
        return Refusal(
            resource, field, f"{found}, by route-server/{server.name} (openbgpd)", accept, "routing.daemon-can", "bgpd.conf(5)", mend
        )

    if policy.communities_max is not None:
        yield refusal(policy.id, "communities_max", policy.communities_max, "none: OpenBGPD counts each form by itself")
    if policy.tells_announcer:
        yield refusal(policy.id, "tells_announcer", "true", "false: its rules have no word for the origin of a route")
    counting = (
        [policy.id]
        if policy.limit_counts is Counted.ACCEPTED
        else [f"session/{each.session}" for each in server.clients if each.limit_counts is Counted.ACCEPTED]
    )
    for each in counting:
        yield refusal(each, "limit_counts", Counted.ACCEPTED, "received, which OpenBGPD counts")
    if policy.pauses is not None:
        yield refusal(policy.id, "pauses", "set", "none: OpenBGPD's pauses are its own, 30 s and doubling")
    for field in ("graceful_restart_seconds", "long_lived_seconds"):
        if getattr(policy, field):
            yield refusal(policy.id, field, getattr(policy, field), "0: OpenBGPD grants it and does not ask for it")
    for field in ("rpki_caches", "irr_caches"):
        if getattr(policy, field, ()):
            why = "none: its filters cannot ask whether VRPs have arrived, so it would let everything pass until then, and it has one table"
            yield refusal(policy.id, field, ", ".join(getattr(policy, field)), why)
    actions = dict.fromkeys((policy.limit_action, *(client.limit_action for client in server.clients)))
    for action in actions:
        if action not in (LimitAction.RESTART, LimitAction.SHUTDOWN):
            whose = (
                [policy.id]
                if action is policy.limit_action
                else [f"session/{each.session}" for each in server.clients if each.limit_action is action]
            )
            for each in whose:
                yield refusal(each, "limit_action", action, "restart or shutdown, as OpenBGPD ends the session above a limit")
    if LimitAction.RESTART in actions and policy.limit_restart_seconds % 60:
        yield refusal(policy.id, "limit_restart_seconds", policy.limit_restart_seconds, "whole minutes: a multiple of 60")
    asking = (
        [policy.id] if policy.aspa is not Rpki.OFF else [f"session/{each.session}" for each in server.clients if each.aspa is not Rpki.OFF]
    )
    for each in asking:
        yield refusal(each, "aspa", "asked for", "off: 8.8 forgets what it found when rules change, and lets the route pass from then on")
    for client in server.clients:
        for field, is_set, accept in (
            ("prefix_lengths", client.lengths != policy.prefix_lengths, "the policy's own"),
            ("as_sets_in_paths", client.as_sets_in_paths, "false"),
            ("tcp_ao", client.tcp_key is not None, "password (TCP MD5), since OpenBGPD on Linux has no TCP-AO"),
            ("multihop", client.multihop is not None, "none: OpenBGPD would put its own address for a next hop outside of the LAN"),
            ("bfd", client.bfd, "false: OpenBGPD has no BFD"),
        ):
            if is_set:
                yield refusal(f"session/{client.session}", field, "set", accept)
