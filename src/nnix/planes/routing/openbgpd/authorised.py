"""What a client is authorised to announce, as rules on the way in: by the registries (RFC 7948, 4.6.2) and by ROAs (RFC 6811)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnix.planes.routing.communities import REASON, REFUSED, SAID
from nnix.planes.routing.kinds import Irr, Rpki
from nnix.planes.routing.naming import word
from nnix.planes.routing.openbgpd.marks import EXCEPTED
from nnix.planes.routing.openbgpd.neighbours import peers
from nnix.planes.routing.openbgpd.sets import excepted_by_origin, judges_origins, listed_prefixes
from nnix.planes.routing.openbgpd.words import Rule, clear, instead, judge, longer_than_accepted, ours, saying, suspect, together, without

if TYPE_CHECKING:
    from nnix.planes.routing.compile import ServerPolicy


def registries(server: ServerPolicy) -> Iterator[Rule]:
    """Origins by the client's as-sets, prefixes by route objects; a host route is right where the prefix around it would be."""
    policy = server.policy
    excepted = ours(server, EXCEPTED, 0)
    yield Rule(change=saying(server, "irrdb_valid"), known=True)
    yield suspect(server, "irrdb_origin_as_filtered")
    for client in server.clients:
        known = f'source-as as-set "o_{word(client.session)}"'
        for peer in peers(client):
            if client.origins is None:
                yield clear(server, "irrdb_origin_as_filtered", peer=peer)
                yield Rule("", instead(server, "irrdb_not_checked"), peer=peer, known=True)
            elif client.irr is Irr.TAG:
                yield clear(server, "irrdb_origin_as_filtered", peer=peer)
                yield Rule("", instead(server, "irrdb_origin_unknown"), peer=peer, known=True)
                yield Rule(known, instead(server, "irrdb_origin_known"), peer=peer, known=True)
            else:
                yield clear(server, "irrdb_origin_as_filtered", known, peer)
                for origin, _ in excepted_by_origin(client):
                    test = f'source-as {origin} prefix-set "e_{word(client.session)}_{origin}"'
                    yield Rule(test, together(without(server, REFUSED), excepted), peer=peer)
                    yield Rule(excepted, instead(server, "irrdb_excepted"), peer=peer, known=True)
    yield judge(server, "irrdb_origin_as_filtered")
    if not any(client.irr in (Irr.STRICT, Irr.TAG) for client in server.clients):
        return
    registered = bool(server.registered_v4.roas or server.registered_v6.roas)
    longer = bool(server.registered_longer_v4.roas or server.registered_longer_v6.roas)
    beyond = tuple(longer_than_accepted(server).values()) if policy.blackhole else ()
    yield suspect(server, "irrdb_prefix_filtered")
    if registered:
        yield clear(server, "irrdb_prefix_filtered", 'origin-set "registered"')
    if policy.roas_are_route_objects:
        yield clear(server, "irrdb_prefix_filtered", "ovs valid")
    for each in beyond:
        number = REASON["blackhole_not_covered"].number
        yield Rule(each, together(without(server, REFUSED), ours(server, REFUSED, number)))
        for name, tables in (
            ("registered_covering", (server.registered_covering_v4, server.registered_covering_v6)),
            ("vrps_covering", (server.vrps_covering_v4, server.vrps_covering_v6) if policy.roas_are_route_objects else ()),
        ):
            if any(table.roas for table in tables):
                yield clear(server, "blackhole_not_covered", f'{each} origin-set "{name}"')
    everything = without(server, REFUSED)
    if any(excepted_by_origin(client) for client in server.clients):
        yield Rule(excepted, everything)
    for client in server.clients:
        listed = any(True for _ in listed_prefixes(client, server))
        own = f'prefix-set "p_{word(client.session)}"'
        let_off = client.irr_more_specifics and not policy.irr_more_specifics and longer
        for peer in peers(client):
            if client.irr is Irr.STRICT:
                if let_off:
                    yield clear(server, "irrdb_prefix_filtered", 'origin-set "registered_longer"', peer)
                if listed:
                    yield Rule(own, everything, peer=peer)
                continue
            yield Rule("", everything, peer=peer)
            if client.irr is Irr.TAG:
                yield Rule("", saying(server, "irrdb_prefix_unknown"), peer=peer, known=True)
                tests = [
                    *(['origin-set "registered"'] if registered else []),
                    *(['origin-set "registered_longer"'] if let_off else []),
                    *([own] if listed else []),
                ]
                found = SAID["irrdb_prefix_unknown"]
                change = together(without(server, found.function, found.value), saying(server, "irrdb_prefix_known"))
                yield from (Rule(test, change, peer=peer, known=True) for test in tests)
    if beyond:
        yield judge(server, "blackhole_not_covered")
    yield judge(server, "irrdb_prefix_filtered")


def origins(server: ServerPolicy) -> Iterator[Rule]:
    """Origin validation (RFC 6811). A host route is right where the prefix around it would be, and nothing is said of it."""
    if not judges_origins(server):
        yield Rule(change=saying(server, "rpki_not_checked"), known=True)
        return
    beyond = tuple(longer_than_accepted(server).values()) if server.policy.blackhole else ()
    invalid = ours(server, REFUSED, REASON["rpki_invalid"].number)
    yield suspect(server, "rpki_invalid", "ovs invalid")
    if server.vrps_covering_v4.roas or server.vrps_covering_v6.roas:
        for each in beyond:
            yield clear(server, "rpki_invalid", f'{each} origin-set "vrps_covering"')
    yield Rule("ovs valid", saying(server, "rpki_valid"), known=True)
    yield Rule("ovs not-found", saying(server, "rpki_unknown"), known=True)
    yield Rule("ovs invalid", saying(server, "rpki_invalid"), known=True)
    for client in server.clients:
        for peer in peers(client) if client.rpki is not Rpki.REJECT else ():
            yield clear(server, "rpki_invalid", invalid, peer)
            if client.rpki is Rpki.OFF:
                yield Rule("", instead(server, "rpki_not_checked"), peer=peer, known=True)
    yield judge(server, "rpki_invalid")
    for each in beyond:
        yield Rule(each, instead(server, "rpki_not_checked"), known=True)
