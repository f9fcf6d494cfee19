"""What a policy's sources say: VRPs, routing registries, PeeringDB; which of them are needed at all, and what follows where one is not to be had.

A source of evidence that is named and not to be had, or holds nothing, stops the change with a refusal: what runs stays as it is. Going on without it
would either let wrong routes in (RPKI) or throw every member's routes out (IRR).

Of a member's as-sets those count that its session names; else those that it has told the exchange; else those that PeeringDB has of it; and always its own
ASN. Of its limits likewise, each family by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from nnix.kernel.evidence import Evidence, Item
from nnix.kernel.rule import Refusal
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import PortState
from nnix.planes.members.kinds import PrefixLimit
from nnix.planes.routing import irr, peeringdb, rpki
from nnix.planes.routing.irr import ASKED
from nnix.planes.routing.kinds import Irr, LocalSnippet, RouteServer, RoutingException, RoutingPolicy, RoutingRegistry, Rpki, Session
from nnix.planes.routing.peeringdb import Network
from nnix.planes.routing.rpki import RoaTable

PAST = "past:"  # evidence of an instant: whether it is past


def evidence(snapshot: Snapshot) -> Iterable[str]:
    """Keys of all that the policies in use rest on: `file:<path>`, relative to the exchange's folder; `irr:<name>`, what a registry answered;
    `past:<instant>`, whether it is past."""
    for policy in in_use(snapshot):
        if _asks_rpki(policy, snapshot):
            yield from (f"file:{path}" for path in policy.rpki_sources)
        if _asks_registries(policy, snapshot):
            yield from (f"file:{path}" for path in policy.irr_sources)
            yield from (f"{ASKED}{name}" for name in policy.irr_registries)
        yield from (f"file:{path}" for path in policy.peeringdb)
        yield from (f"file:{path}" for path in policy.never_via_sources)
    ends = [each.until for each in snapshot.of(RoutingException)]
    ends += [each.until for each in snapshot.of(LocalSnippet) if each.until is not None]
    yield from dict.fromkeys(past(each) for each in ends)


def past(instant: datetime) -> str:
    """The key of the evidence that says whether `instant` is past."""
    return f"{PAST}{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


class Wanted(NamedTuple):
    """What a registry is to be asked for: as-sets and ASNs; whether for the route objects of the ASNs in them, and for what the ASNs among `names` say
    of route servers (via.py)."""

    names: tuple[str, ...]
    routes: bool
    vias: bool


def wanted_of(registry: RoutingRegistry, snapshot: Snapshot, evidence: Evidence) -> Wanted:
    """Of `evidence` only PeeringDB's files are looked at; where one is not there, what it would say is not asked for. Pure."""
    names: dict[str, None] = {}
    strict = vias = False
    for rules in in_use(snapshot):
        if registry.name not in rules.irr_registries:
            continue
        known = networks_of(rules, evidence)
        for each in _sessions(rules, snapshot):
            how = each.irr or rules.irr
            if how is Irr.OFF and not rules.rpsl_via:
                continue
            names |= dict.fromkeys(name.upper() for name in (*as_sets_of(each, snapshot, known), f"AS{snapshot.at(each.member).asn}"))
            strict |= how in (Irr.STRICT, Irr.TAG)
            vias |= rules.rpsl_via
    return Wanted(tuple(names), strict, vias)


def as_sets_of(session: Session, snapshot: Snapshot, known: Mapping[int, Network]) -> tuple[str, ...]:
    """The session's own, else the member's, else PeeringDB's."""
    member = snapshot.at(session.member)
    if session.as_sets is not None:
        return session.as_sets
    return member.as_sets or (known[member.asn].as_sets if member.asn in known else ())


def own_as_set(snapshot: Snapshot, evidence: Evidence) -> tuple[str, ...]:
    """What stands in the route servers' own as-set: what each client announces, by its as-sets, else by its ASN; without registries, which RPSL has no way to
    name there. As registries sort: ASNs, then sets."""
    members: set[str] = set()
    for rules in in_use(snapshot):
        known = networks_of(rules, evidence)
        for each in _sessions(rules, snapshot):
            said = [name.upper().rpartition("::")[2] for name in as_sets_of(each, snapshot, known)]
            members.update(said or [f"AS{snapshot.at(each.member).asn}"])
    return tuple(sorted(members, key=lambda name: (irr.asn_of(name) is None, irr.asn_of(name) or 0, name)))


def limits_of(session: Session, snapshot: Snapshot, known: Mapping[int, Network]) -> PrefixLimit:
    """The same for how many prefixes it announces at most, each family by itself."""
    member = snapshot.at(session.member)
    said = [session.prefixes_max or PrefixLimit(), member.prefixes_max]
    said += [known[member.asn].prefixes_max] if member.asn in known else []
    return PrefixLimit(
        v4=next((each.v4 for each in said if each.v4 is not None), None), v6=next((each.v6 for each in said if each.v6 is not None), None)
    )


def networks_of(policy: RoutingPolicy, evidence: Evidence) -> dict[int, Network]:
    """ASN → what PeeringDB has of it; of several files the first that knows a network counts."""
    found: dict[int, Network] = {}
    for path in policy.peeringdb:
        item = evidence.get(f"file:{path}")
        found = {**((peeringdb.networks(item) if item is not None else None) or {}), **found}
    return found


def clients(server: RouteServer, snapshot: Snapshot) -> tuple[Session, ...]:
    """The sessions that `server` keeps configured, by name: on its LAN, meant for route servers, behind a port that is in service.

    A drained port's sessions stay configured; the fabric culls them (BCP 214), so that nothing has to be told twice.
    """
    return tuple(
        each
        for each in snapshot.where(Session, lan=server.lan)
        if each.route_servers and snapshot.at(each.port).state in (PortState.PRODUCTION, PortState.DRAINED)
    )


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a policy's sources say. `never`: those that PeeringDB marks as never via route servers. `networks`: what else it has of members here."""

    registries: irr.Registries
    vrps: rpki.Vrps
    aspas: tuple[tuple[int, tuple[int, ...]], ...]
    never: frozenset[int]
    networks: Mapping[int, Network]
    findings: tuple[str, ...]


def in_use(snapshot: Snapshot) -> tuple[RoutingPolicy, ...]:
    return tuple(each for each in snapshot.of(RoutingPolicy) if snapshot.where(RouteServer, policy=each.name))


def _sessions(policy: RoutingPolicy, snapshot: Snapshot) -> Iterable[Session]:
    for server in snapshot.where(RouteServer, policy=policy.name):
        yield from clients(server, snapshot)


def _asks_registries(policy: RoutingPolicy, snapshot: Snapshot) -> bool:
    return any(policy.rpsl_via or (each.irr or policy.irr) is not Irr.OFF for each in _sessions(policy, snapshot))


def _asks_rpki(policy: RoutingPolicy, snapshot: Snapshot) -> bool:
    return (
        policy.rpki is not Rpki.OFF
        or policy.aspa is not Rpki.OFF
        or policy.roas_are_route_objects
        or any((each.rpki or Rpki.OFF) is not Rpki.OFF or (each.aspa or Rpki.OFF) is not Rpki.OFF for each in _sessions(policy, snapshot))
    )


def grounds(policy: RoutingPolicy, snapshot: Snapshot, evidence: Evidence, refusals: list[Refusal]) -> Grounds:
    def had(path: str, field: str) -> Item | None:
        item = evidence.get(f"file:{path}")
        if item is None:
            refusals.append(_missing(policy, field, f"{path} is not to be had"))
        return item

    findings: list[str] = []
    parts: list[rpki.Vrps] = []
    providers: dict[int, set[int]] = {}
    for path in policy.rpki_sources if _asks_rpki(policy, snapshot) else ():
        item = had(path, "rpki_sources")
        if item is None:
            continue
        try:
            found = rpki.vrps(item)
        except rpki.Unreadable as error:
            refusals.append(_missing(policy, "rpki_sources", f"{path}: {error}"))
            continue
        parts.append(found)
        findings += [f"{path}: {finding}" for finding in found.findings]
        for customer, named in rpki.aspas(item):
            providers.setdefault(customer, set()).update(named)
    merged = (
        parts[0]
        if len(parts) == 1
        else rpki.Vrps(RoaTable(roa for part in parts for roa in part.v4.roas), RoaTable(roa for part in parts for roa in part.v6.roas), ())
    )
    never: set[int] = set()
    for field, paths in (("never_via_sources", policy.never_via_sources), ("peeringdb", policy.peeringdb)):
        for path in paths:
            if (item := had(path, field)) is None:
                continue
            known = peeringdb.networks(item)
            if known is None:
                refusals.append(_missing(policy, field, f"{path} is not what PeeringDB gives for net"))
            elif field == "never_via_sources":
                never |= {asn for asn, each in known.items() if each.never_via_route_servers}
    asks = _asks_registries(policy, snapshot)
    items: list[tuple[str, Item]] = []
    for path in policy.irr_sources if asks else ():
        if (item := had(path, "irr_sources")) is None:
            continue
        if (source := irr.read(path, item)).empty:
            refusals.append(_missing(policy, "irr_sources", next(iter(source.findings), f"{path}: it names no as-set and no route object")))
        items.append((path, item))
    for registry in policy.irr_registries if asks else ():
        if (answered := evidence.get(f"{ASKED}{registry}")) is not None:
            items.append((registry.id, answered))
        else:
            refusals.append(_missing(policy, "irr_registries", f"{registry.id} has never answered", mend="ask it: nnix irr fetch DIR"))
    registries = irr.registries(items)
    return Grounds(
        registries,
        merged,
        tuple((customer, tuple(sorted(named))) for customer, named in sorted(providers.items())),
        frozenset(never),
        networks_of(policy, evidence),
        (*findings, *registries.findings),
    )


def _missing(policy: RoutingPolicy, field: str, found: str, mend: str = "fetch it again, or take the source out") -> Refusal:
    return Refusal(
        policy.id,
        field,
        found,
        "evidence that can be read",
        "routing.evidence-is-there",
        "RFC 7454, 6.1",
        f"{mend}; until then what runs stays as it is",
    )
