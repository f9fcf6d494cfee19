"""What a candidate that runs in OpenBGPD holds and has refused, in the evaluator's terms."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from nnix.daemons.openbgpd import SOCKET
from nnix.kernel.world import Failed, Host, Unreachable
from nnix.planes.routing import birdc
from nnix.planes.routing.asking import ASKING
from nnix.planes.routing.compile import ClientPolicy
from nnix.planes.routing.naming import Family
from nnix.planes.routing.prove.compare import Held, Side
from nnix.planes.routing.prove.route import Prefix, prefix_of
from nnix.planes.routing.trial.bird import held_of


async def tables(
    host: Host, name: str, sides: Mapping[str, Side], announced: Collection[tuple[str, Prefix]]
) -> tuple[dict[tuple[str, Prefix], Held], dict[tuple[str, Prefix], str]]:
    """(accepted, refused). `sides` are sessions by name. Nothing is left of what is not `announced` any more. Raises Failed."""
    ask = ASKING["openbgpd"]
    try:
        good, bad = await ask.accepted(host, name), await ask.refused(host, name)
    except Unreachable as error:
        raise Failed(str(error)) from None
    held = {(sides[each.protocol][0], prefix_of(each.prefix)): held_of(each) for each in good if each.protocol in sides}
    refused = {(sides[each.route.protocol][0], prefix_of(each.route.prefix)): each.reason for each in bad if each.route.protocol in sides}
    return held, refused


async def protocols(host: Host, name: str) -> Mapping[str, birdc.Protocol]:
    """Its BGP sessions. Raises Failed."""
    try:
        return (await ASKING["openbgpd"].sessions(host, name)).protocols
    except Unreachable as error:
        raise Failed(str(error)) from None


async def reload(host: Host, name: str) -> None:
    """The configuration is read again. Raises Failed."""
    await _bgpctl(host, name, "reload")


async def uncounted(host: Host, name: str) -> Callable[[Prefix], bool]:
    """OpenBGPD counts all that it receives towards a limit."""
    return lambda _: False


async def reopen(host: Host, name: str, client: ClientPolicy, family: Family) -> None:
    """A session that has ended may begin again at once. Raises Failed."""
    await _bgpctl(host, name, "neighbor", str(client.v4 if family == 4 else client.v6), "clear")


async def let_in(host: Host, name: str) -> None:
    """OpenBGPD lets everybody in at once."""


async def _bgpctl(host: Host, name: str, *words: str) -> None:
    result = await host.run(["bgpctl", "-s", f"{host.home}/openbgpd/{name}/{SOCKET}", *words])
    if result.status != 0 or "request processed" not in result.out:
        raise Failed(f"openbgpd {name}: {(result.err or result.out).strip()}")
