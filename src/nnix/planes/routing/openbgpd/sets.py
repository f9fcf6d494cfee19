"""Sets of prefixes, origins and ASNs, which rules ask for by name: registries, VRPs and lists once for all clients, and each client's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from nnix.planes.routing.kinds import Irr, Rpki
from nnix.planes.routing.naming import Family, word
from nnix.planes.routing.openbgpd.words import WIDEST, longest_accepted

if TYPE_CHECKING:
    from nnix.planes.routing.compile import Accepted, ClientPolicy, ServerPolicy
    from nnix.planes.routing.rpki import RoaTable


def sets(server: ServerPolicy) -> str:
    """Registries, VRPs and lists of ASNs, once for all clients."""
    rows: list[str] = []
    for name, tables in (
        ("registered", (server.registered_v4, server.registered_v6)),
        ("registered_longer", (server.registered_longer_v4, server.registered_longer_v6)),
        ("registered_covering", (server.registered_covering_v4, server.registered_covering_v6)),
        ("vrps_covering", (server.vrps_covering_v4, server.vrps_covering_v6)),
    ):
        rows += _braced(f'origin-set "{name}"', _roas(tables))
    if judges_origins(server) or server.policy.roas_are_route_objects:
        rows += _braced("roa-set", _roas((server.vrps_v4, server.vrps_v6)))
    rows += _braced('as-set "never"', map(str, server.never))
    rows += _braced('as-set "transit_free"', map(str, server.transit_free))
    for asn, others in transit_free_clients(server):
        rows += _braced(f'as-set "transit_free_for_{asn}"', map(str, others))
    for name, sets in (
        ("lans", (server.lans_v4, server.lans_v6)),
        ("bogons", (server.bogons_v4, server.bogons_v6)),
        ("blacklist", (server.blacklist_v4, server.blacklist_v6)),
    ):
        rows += _braced(f'prefix-set "{name}"', (f"{prefix} or-longer" for prefixes in sets for prefix in prefixes))
    for client in server.clients:
        name = word(client.session)
        if client.origins is not None:
            rows += _braced(f'as-set "o_{name}"', map(str, client.origins))
        if client.hear_only is not None:
            rows += _braced(f'as-set "h_{name}"', map(str, client.hear_only))
        if client.hear_not:
            rows += _braced(f'as-set "n_{name}"', map(str, client.hear_not))
        rows += _braced(f'prefix-set "b_{name}"', (f"{each} or-longer" for each in (*client.blacklist_v4, *client.blacklist_v6)))
        rows += _braced(f'prefix-set "p_{name}"', listed_prefixes(client, server))
        for origin, accepted in excepted_by_origin(client):
            rows += _braced(f'prefix-set "e_{name}_{origin}"', _patterns(accepted, server))
    return "\n".join(rows)


def _braced(head: str, entries: Iterable[str]) -> Iterator[str]:
    """A set; nothing where it would be empty, which the grammar does not know."""
    rows = list(dict.fromkeys(entries))
    if rows:
        yield f"{head} {{"
        yield from (f"  {row}" for row in rows)
        yield "}"


def _roas(tables: Iterable[RoaTable]) -> Iterator[str]:
    for table in tables:
        for prefix, longest, origin in table.roas:
            yield f"{prefix} maxlen {longest} source-as {origin}"


def judges_origins(server: ServerPolicy) -> bool:
    return any(client.rpki is not Rpki.OFF for client in server.clients)


def transit_free_clients(server: ServerPolicy) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(ASN, the transit-free ASNs that are a leak behind it) of clients that have some in their own organisation."""
    known = {client.asn: client.kin for client in server.clients if set(client.kin) & set(server.transit_free)}
    for asn, kin in sorted(known.items()):
        yield asn, tuple(each for each in server.transit_free if each not in kin)


def _family_of(prefix: str) -> Family:
    return 6 if ":" in prefix else 4


def _with_host_routes(prefix: str, low: int, high: int, server: ServerPolicy) -> Iterator[str]:
    """A prefix with its lengths; where blackholing is on, with the host routes inside."""
    family, length = _family_of(prefix), int(prefix.rpartition("/")[2])
    longest = longest_accepted(server, family)
    yield (
        prefix
        if (low, high) == (length, length)
        else f"{prefix} prefixlen = {low}"
        if low == high
        else f"{prefix} prefixlen {low} - {high}"
    )
    if server.policy.blackhole and longest < WIDEST[family]:
        first = max(longest + 1, length)
        yield (
            prefix
            if length == WIDEST[family]
            else f"{prefix} prefixlen {first} - {WIDEST[family]}"
            if first < WIDEST[family]
            else f"{prefix} prefixlen = {first}"
        )


def listed_prefixes(client: ClientPolicy, server: ServerPolicy) -> Iterator[str]:
    """Prefixes that the client may announce from any of its origins: registered ones without a known origin, and excepted ones."""
    if client.irr not in (Irr.STRICT, Irr.TAG):
        return
    for each in (*client.prefixes_v4, *client.prefixes_v6):
        prefix, _, pattern = each.partition("{")
        length = int(prefix.rpartition("/")[2])
        low, high = (int(part) for part in pattern.rstrip("}").split(",")) if pattern else (length, length)
        if client.irr_more_specifics:
            high = max(high, longest_accepted(server, _family_of(prefix)))
        yield from _with_host_routes(prefix, low, high, server)
    yield from _patterns((each for each in (*client.accepted_v4, *client.accepted_v6) if each.origin is None), server)


def _patterns(accepted: Iterable[Accepted], server: ServerPolicy) -> Iterator[str]:
    for each in accepted:
        yield from _with_host_routes(each.prefix, each.shortest, each.longest, server)


def excepted_by_origin(client: ClientPolicy) -> list[tuple[int, list[Accepted]]]:
    """Prefixes that need no registration where they come from a certain origin, by origin."""
    found: dict[int, list[Accepted]] = {}
    if client.irr in (Irr.STRICT, Irr.ORIGIN):
        for each in (*client.accepted_v4, *client.accepted_v6):
            if each.origin is not None:
                found.setdefault(each.origin, []).append(each)
    return sorted(found.items())
