"""The way out: whom a route reaches, by what its announcer asks for and what the receiver wants, and what of ours still stands on it then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from nnix.planes.routing.communities import (
    BLACKHOLE,
    GRACEFUL_SHUTDOWN,
    ORIGIN_VALIDITY,
    PEER,
    PREPENDS,
    SAID,
    WISH,
    WISHES,
    Aim,
    Wish,
    large_function,
    short_key,
)
from nnix.planes.routing.kinds import NoExport, Place, RefusedRoutes
from nnix.planes.routing.naming import word
from nnix.planes.routing.openbgpd.marks import CLOSED, HELD_BACK, HOP6, IN_FRONT, NOBODY, OWN, SAY_FUNCTIONS, SESSION, UNHEARD, WELL_KNOWN
from nnix.planes.routing.openbgpd.neighbours import group_name, peers, several_sessions
from nnix.planes.routing.openbgpd.words import (
    KINDS_OF_EXTENDED,
    any_form,
    aside,
    controls,
    local_text,
    ours,
    own_large,
    set_aside,
    standard,
    together,
    without,
)

if TYPE_CHECKING:
    from nnix.planes.routing.compile import ServerPolicy


def outward(server: ServerPolicy) -> Iterator[str]:
    """Whom the announcer wants to reach: a wish about one member beats one about its groups and bands, and that beats one about all; of two about
    the same, not-to beats to. What is said of the route, and what the receiver wants, comes last."""
    policy = server.policy
    allowed = ours(server, ORIGIN_VALIDITY)
    closed, unheard = ours(server, CLOSED, 0), ours(server, UNHEARD, 0)
    if policy.blackhole:
        for client in server.clients:
            if not client.blackhole:
                yield from (f"deny quick to {peer} {standard(BLACKHOLE)}" for peer in peers(client))
    for client in server.clients:
        name = word(client.session)
        for peer in peers(client):
            if client.hear_not:
                yield f'deny quick to {peer} peer-as as-set "n_{name}"'
            if client.hear_only is not None:
                yield f"match to {peer} set {unheard}"
                if client.hear_only:
                    yield f'match to {peer} peer-as as-set "h_{name}" set {without(server, UNHEARD)}'
                yield f"deny quick to {peer} {unheard}"
    yield from _not_back(server)
    if server.shutting_down:
        yield f"match to any set {standard(GRACEFUL_SHUTDOWN)}"
    yield from local_text(server, Place.EXPORT)
    in_front = [peer for client in server.clients if client.prepend_route_server for peer in peers(client)]
    yield from (f"allow quick to {peer} {allowed} set prepend-self 1" for peer in in_front)
    yield f"allow quick to any {allowed}"
    if policy.refused is RefusedRoutes.TAG or policy.no_export is NoExport.OBEY:
        yield f"deny quick to any {ours(server, NOBODY, 0)}"
    over = [str(client.v6) for client in server.clients if client.v4_over_v6]
    if over:
        yield from (f"match to {peer} set {without(server, HOP6)}" for peer in over)
        yield f"deny quick to any {ours(server, HOP6, 0)}"
    open_again = without(server, CLOSED)
    levels = _levels(server)
    for level in levels:
        if level.everybody:
            yield from level.about(WISH["not"], f"set {closed}")
        else:
            yield from level.about(WISH["to"], f"set {open_again}")
            yield from level.about(WISH["not"], f"set {closed}")
    yield f"deny quick to any {closed}"
    for level in levels:
        for prepends, wish in PREPENDS.items():
            yield from level.about(wish, f"set {together(without(server, IN_FRONT), ours(server, IN_FRONT, prepends))}")
    for prepends in PREPENDS:
        yield f"match to any {ours(server, IN_FRONT, prepends)} set prepend-neighbor {prepends}"
    yield from (f"match to {peer} set prepend-self 1" for peer in in_front)
    for number, name in WELL_KNOWN.items():
        yield f"match to any {ours(server, HELD_BACK, number)} set community {name}"
    for slug, name in (("no-export", "NO_EXPORT"), ("no-advertise", "NO_ADVERTISE")):
        for level in levels:
            yield from level.about(WISH[slug], f"set community {name}")
    tidy = [each.replace("community ", "community delete ", 1) for each in (*controls(server), f"large-community {server.asn}:*:*")]
    yield f"match to any set {together(*tidy)}"
    if policy.blackhole:
        for client in server.clients:
            if client.blackhole and client.blackhole_community is not None:
                instead = [f"community delete {BLACKHOLE[0]}:{BLACKHOLE[1]}"] if client.blackhole_community_alone else []
                change = together(*instead, any_form(client.blackhole_community))
                yield from (f"match to {peer} {standard(BLACKHOLE)} set {change}" for peer in peers(client))
    for said in SAID.values():
        yield f"match to any {aside(said.function, said.value)} set {ours(server, said.function, said.value)}"
    yield from (f"match to any {set_aside(each)} set {any_form(each)}" for each in own_large(server))
    gone = (*(aside(function, delete="delete ") for function in SAY_FUNCTIONS), *(set_aside(each, "delete ") for each in own_large(server)))
    yield f"allow quick to any {aside(ORIGIN_VALIDITY)} set {together(*gone)}"


class _Level(NamedTuple):
    """Receivers that a wish is about: (rule's peer, tests by wish)."""

    everybody: bool
    rows: tuple[tuple[str, dict[str, tuple[str, ...]]], ...]

    def about(self, wish: Wish, change: str) -> Iterator[str]:
        for peer, tests in self.rows:
            yield from (f"match to {peer} {test} {change}" for test in tests[wish.slug])


def _levels(server: ServerPolicy) -> tuple[_Level, ...]:
    """All; then the receiver's groups and bands; then the receiver itself. Each wish in its four spellings."""
    short, rs = server.stand_in, server.asn

    def four(wish: Wish, aim: Aim, large: int | str, standard: int | str | None, extended: int | str) -> tuple[str, ...]:
        key = short_key(wish, aim, short)
        return (
            ours(server, large_function(wish, aim), large),
            *([f"community {key}:{standard}"] if standard is not None else []),
            *(f"ext-community {kind} {key}:{extended}" for kind in KINDS_OF_EXTENDED),
        )

    everybody = {wish.slug: four(wish, PEER, 0, short, rs) for wish in WISHES}
    aimed: dict[str, dict[str, tuple[str, ...]]] = {}
    for client in server.clients:
        if (name := group_name(client)) and name not in aimed:
            aimed[name] = {
                wish.slug: tuple(
                    test for aim, values in client.targets for value in values for test in four(wish, aim, value, value, value)
                )
                for wish in WISHES
            }
    itself = {wish.slug: four(wish, PEER, "neighbor-as", "neighbor-as", "neighbor-as") for wish in WISHES}
    stood_for: list[tuple[str, dict[str, tuple[str, ...]]]] = [
        (peer, {wish.slug: (f"community {short_key(wish, PEER, short)}:{client.short_asn}",) for wish in WISHES})
        for client in server.clients
        if client.short_asn is not None and client.short_asn != client.asn
        for peer in peers(client)
    ]
    return (
        _Level(True, (("any", everybody),)),
        *([_Level(False, tuple((f'group "{name}"', tests) for name, tests in sorted(aimed.items())))] if aimed else []),
        _Level(False, (("any", itself), *stood_for)),
    )


def _not_back(server: ServerPolicy) -> Iterator[str]:
    """No route goes to the session on which it came. A path begins with its announcer's ASN, so that ASN tells, unless it has several sessions; a
    route whose next hop is the receiver's own address is of no use to it, either (RFC 4271, 5.1.3)."""
    own = ours(server, OWN, 0)
    several = tuple(several_sessions(server))
    if not several:
        yield "deny quick to any peer-as neighbor-as"
        return
    yield f"match to any peer-as neighbor-as set {own}"
    yield f"match to any {ours(server, SESSION)} set {without(server, OWN)}"
    yield from (f"match to {peer} {ours(server, SESSION, number)} set {own}" for peer, number in several)
    yield from (f"match to {peer} nexthop {peer} set {own}" for peer, _ in several)
    yield f"deny quick to any {own}"
    yield f"match to any {ours(server, SESSION)} set {without(server, SESSION)}"
