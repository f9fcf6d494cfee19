"""Why: the walk of one route through the policy in words, with the very object that decided, and what would mend it.

The evaluator decides; here its decision is put into words, and the evidence is looked up on which it rests: the ROA, the as-sets one inside of the other,
the route object, the community. Each names its source, so that whoever is told can look himself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nnix.kernel.evidence import Evidence, Item
from nnix.kernel.snapshot import Snapshot
from nnix.planes.routing import irr, rpki
from nnix.planes.routing.communities import CONTROLS, REASON
from nnix.planes.routing.irr import ASKED
from nnix.planes.routing.kinds import Irr, RoutingPolicy, Rpki, Session
from nnix.planes.routing.prove.evaluate import WITHHELD, Client, Evaluator, Verdict, asns_of, meaning, number_of, origin_of
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.route import Community, Prefix, Route, community_text, path_text
from nnix.planes.routing.rpki import Roa, RoaTable
from nnix.planes.routing.sources import as_sets_of, networks_of

PASSED: Mapping[str, str] = {
    "otc_leak": "it carries no mark that it is for customers only",
    "default_route": "it is no default route",
    "not_global_unicast": "it lies in 2000::/3",
    "exchange_lan": "it lies in no LAN of this exchange",
    "bogon": "it is public address space",
    "blacklisted": "nobody has excluded it",
    "prefix_len_too_long": "it is no longer than accepted, or a blackhole",
    "prefix_len_too_short": "it is no shorter than accepted",
    "too_many_communities": "it carries no more communities than accepted",
    "as_path_too_short": "its path is not empty",
    "as_path_too_long": "its path is no longer than accepted",
    "own_asn_in_path": "the route server is not in its path",
    "as_set_in_path": "its path holds no AS_SET, or may",
    "bogon_asn": "all ASNs in its path are public",
    "transit_free_asn": "no network that buys from no one stands behind another",
    "never_via_route_server": "nobody in its path wishes never to be reached so",
    "first_as_not_peer_as": "its path begins with the member's own ASN",
    "next_hop_not_peer_ip": "its next hop is the member's own",
    "irrdb_origin_as_filtered": "its origin is the member's to announce",
    "irrdb_prefix_filtered": "prefix and origin are registered",
    "blackhole_not_covered": "a prefix that is registered covers it",
    "rpki_invalid": "no ROA speaks against it, or the session's invalid routes are not refused",
    "aspa_invalid": "no ASPA speaks against it, or the session's invalid routes are not refused",
}
"""the tests of `compile.ORDER` that a route can pass, and what it means that it did"""

MENDS: Mapping[str, str] = {
    "otc_leak": "the member should keep routes of its providers and peers from the route server (RFC 9234, 5)",
    "exchange_lan": "the member should not announce the exchange's own LAN",
    "bogon_asn": "the member, or the network behind it, should take private ASNs out of the path",
    "as_path_too_long": "somebody on the way should prepend less",
    "as_set_in_path": "whoever aggregates should announce without an AS_SET (RFC 9774)",
    "transit_free_asn": "the member passes on what it has from a provider; it should filter towards the route server",
    "first_as_not_peer_as": "the member's router should put its own ASN in front",
    "next_hop_not_peer_ip": "the member's router should set its own address as next hop, or its session should list the other one (`next_hops`)",
    "irrdb_origin_as_filtered": "AS{origin} should be put into {as_sets}, in a registry that is asked: {sources}",
    "irrdb_prefix_filtered": "the holder should register {prefix} with origin AS{origin} in one of: {sources}",
    "blackhole_not_covered": "the prefix around it should be registered with origin AS{origin} in one of: {sources}",
    "rpki_invalid": "the holder should create a ROA for {prefix}, origin AS{origin}; `nnix whatif roa --add {prefix},AS{origin}` shows what else it does",
    "aspa_invalid": "the network that lacks a provider in its ASPA should add it",
    "prefix_len_too_long": "the member should announce what is around it, or mark it as a blackhole (65535:666)",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One test, or one receiver: whether it is good, its slug, and in words what was found. `grounds` name objects and where they stand."""

    good: bool
    slug: str
    words: str
    grounds: tuple[str, ...] = ()
    mend: str = ""

    def record(self) -> dict[str, Any]:
        return {"good": self.good, "slug": self.slug, "words": self.words, "grounds": list(self.grounds), "mend": self.mend}


@dataclass(frozen=True)
class Explained:
    """What becomes of one route on one route server, and why."""

    server: str
    session: str
    member: str
    route: Route
    verdict: Verdict
    walk: tuple[Step, ...]
    receivers: tuple[Step, ...]

    def record(self) -> dict[str, Any]:
        """For programs (`--json`)."""
        return {
            "server": self.server,
            "session": self.session,
            "member": self.member,
            "route": str(self.route),
            "accepted": self.verdict.accepted,
            "reason": self.verdict.reason,
            "walk": [each.record() for each in self.walk],
            "receivers": [each.record() for each in self.receivers],
        }


class Grounds:
    """The evidence of one policy, looked up. `since` says from when the evidence is, for people."""

    def __init__(self, evaluator: Evaluator, snapshot: Snapshot, evidence: Evidence, since: str = "") -> None:
        self.of, self.snapshot, self.since = evaluator, snapshot, since
        self.policy: RoutingPolicy = evaluator.policy
        asked = ((each.id, evidence.get(f"{ASKED}{each}")) for each in self.policy.irr_registries)
        self.registries = (*self._items(evidence, self.policy.irr_sources), *((name, item) for name, item in asked if item is not None))
        self.rpki = self._items(evidence, self.policy.rpki_sources)
        self.networks = networks_of(self.policy, evidence)

    @staticmethod
    def _items(evidence: Evidence, paths: Iterable[str]) -> tuple[tuple[str, Item], ...]:
        return tuple((path, item) for path in paths if (item := evidence.get(f"file:{path}")) is not None)

    def _from(self, path: str, item: Item) -> str:
        return f"{path} (sha256 {item.digest[:12]}{', ' + self.since if self.since else ''})"

    # -- one route

    def explain(self, exchange: Exchange, session: str, route: Route, to: Iterable[str] | None = None) -> Explained:
        """The walk of `route`, announced by `session`; and for each receiver in `to` (None: everybody in its family) whether it is told. `exchange` holds
        what all announce, this route among it."""
        client = self.of.clients[session]
        verdict = self.of.imported(session, route)
        walk = tuple(self._walk(client, route, verdict))
        receivers: tuple[Step, ...] = ()
        if verdict.accepted:
            names = list(self.of.clients) if to is None else list(to)
            receivers = tuple(
                self._receiver(exchange, session, verdict, name)
                for name in names
                if name != session and (to is not None or self.of.clients[name].speaks(route.prefix.family))
            )
        return Explained(self.of.server.name, session, client.policy.member, route, verdict, walk, receivers)

    def _walk(self, client: Client, route: Route, verdict: Verdict) -> Iterator[Step]:
        for slug in dict.fromkeys(slug for slug, _ in self.of.tests):
            if slug == verdict.reason:
                yield Step(False, slug, REASON[slug].words, tuple(self._against(slug, client, route)), self._mend(slug, client, route))
                return
            if slug in PASSED and not self._idle(slug, client, route):
                yield Step(True, slug, PASSED[slug], tuple(self._for(slug, client, route)))

    def _idle(self, slug: str, client: Client, route: Route) -> bool:
        """Whether there is nothing that a test could find, so that having passed it says nothing."""
        beyond = self.of.beyond(client, route)
        return {
            "otc_leak": not self.policy.roles,
            "not_global_unicast": route.prefix.family == 4,
            "blacklisted": not (*self.of.blacklist[route.prefix.family], *client.blacklist[route.prefix.family]),
            "too_many_communities": self.policy.communities_max is None,
            "transit_free_asn": not self.of.transit_free,
            "never_via_route_server": not self.of.never,
            "irrdb_prefix_filtered": beyond or not client.strict,
            "blackhole_not_covered": not beyond or not client.strict,
            "rpki_invalid": client.policy.rpki is Rpki.OFF,
            "aspa_invalid": client.policy.aspa is Rpki.OFF,
        }.get(slug, False)

    def _mend(self, slug: str, client: Client, route: Route) -> str:
        as_sets = self._as_sets(client)
        return MENDS.get(slug, "").format(
            prefix=route.prefix,
            origin=origin_of(route.path),
            as_sets=", ".join(as_sets) or f"an as-set of {client.policy.member}'s, which names none",
            sources=", ".join(path for path, _ in self.registries) or "none is asked",
        )

    def _as_sets(self, client: Client) -> tuple[str, ...]:
        session = self.snapshot.get(Session, client.policy.session)
        if session is None:
            return ()
        return as_sets_of(session, self.snapshot, self.networks)

    # -- what speaks for it

    def _for(self, slug: str, client: Client, route: Route) -> Iterator[str]:
        if slug == "irrdb_origin_as_filtered":
            yield from self._speaks_for(client, route)
        elif slug == ("blackhole_not_covered" if self.of.beyond(client, route) else "irrdb_prefix_filtered"):
            yield from self._registered(client, route)
        elif slug == "rpki_invalid":
            yield from self._roas(route) or ["no ROA covers it: its validity is unknown"]

    def _speaks_for(self, client: Client, route: Route) -> Iterator[str]:
        origin = origin_of(route.path)
        if client.origins is None:
            yield "the registries are not asked for this session"
        elif origin == client.policy.asn:
            yield f"AS{origin} is the member's own"
        elif self.of._excepted(client, route):
            yield "an exception lets it pass"
        else:
            way = irr.registries(self.registries).chain(self._as_sets(client), origin)
            if way:
                files = {
                    (each.registry, each.name): path
                    for path, item in reversed(self.registries)
                    for each in irr.read(path, item).sets.values()
                }
                said = " → ".join(f"{each.name} ({files.get((each.registry, each.name), each.registry)})" for each in way)
                yield f"{said} → AS{origin}"
            elif f"AS{origin}" in {name.upper() for name in self._as_sets(client)}:
                yield f"AS{origin} is named by the member itself"

    def _registered(self, client: Client, route: Route) -> Iterator[str]:
        if client.policy.irr is not Irr.STRICT:
            yield "route objects are not asked for"
            return
        origin = origin_of(route.path)
        for path, item in self.registries:
            source = irr.read(path, item)
            for text in source.routes.get(origin, ()):
                if route.prefix.inside(number_of(text)):
                    yield f"route object {text} of AS{origin} in {self._from(path, item)}"
            for name, texts in source.prefixes.items():
                for text in texts:
                    if route.prefix.inside(number_of(text.partition("{")[0])):
                        yield f"{text} of {name} in {self._from(path, item)}"
        for each in client.policy.accepted_v4 if route.prefix.family == 4 else client.policy.accepted_v6:
            if route.prefix.inside(number_of(each.prefix)):
                yield f"an exception for {each.prefix}"

    def _roas(self, route: Route) -> list[str]:
        origin = origin_of(route.path)
        table: RoaTable = self.of.server.vrps_v4 if route.prefix.family == 4 else self.of.server.vrps_v6
        found: list[str] = []
        for length, longest, holder in self.of.vrps[route.prefix.family].covering(route.prefix):
            covering = Prefix(route.prefix.family, _cut(route.prefix, length), length)
            roa = (str(covering), longest, holder)
            fits = holder == origin and route.prefix.length <= longest
            why = "allows it" if fits else "is for another origin" if holder != origin else f"allows no longer than /{longest}"
            found.append(f"ROA {covering} max /{longest} AS{holder} {why}{self._whence(roa, route.prefix.family, table)}")
        return found

    def _whence(self, roa: Roa, family: int, table: RoaTable) -> str:
        for path, item in self.rpki:
            known = rpki.vrps(item)
            if roa in (known.v4 if family == 4 else known.v6).roas:
                return f", {self._from(path, item)}"
        return ""

    # -- what speaks against it

    def _against(self, slug: str, client: Client, route: Route) -> Iterator[str]:
        of, family = self.of, route.prefix.family
        covers = {"bogon": (of.bogons,), "exchange_lan": (of.lans,), "blacklisted": (of.blacklist, client.blacklist)}
        for listed in covers.get(slug, ()):
            yield from (f"{each} is listed" for each in listed[family] if route.prefix.inside(each))
        if slug in ("prefix_len_too_long", "prefix_len_too_short"):
            low, high = client.lengths[family]
            yield f"/{route.prefix.length}; accepted are /{low} to /{high}"
        elif slug == "bogon_asn":
            yield from (f"AS{asn} in path {path_text(route.path)}" for asn in dict.fromkeys(asns_of(route.path)) if of._bogon_asn(asn))
        elif slug in ("transit_free_asn", "never_via_route_server"):
            listed_asns = of.transit_free - client.kin if slug == "transit_free_asn" else of.never
            yield from (f"AS{asn} in path {path_text(route.path)}" for asn in dict.fromkeys(asns_of(route.path)) if asn in listed_asns)
        elif slug in ("own_asn_in_path", "as_set_in_path", "first_as_not_peer_as", "as_path_too_long", "aspa_invalid"):
            yield f"path {path_text(route.path)}"
        elif slug == "next_hop_not_peer_ip":
            yield f"next hop {route.next_hop}; accepted are {', '.join(map(str, sorted(client.hops[family], key=int)))}"
        elif slug == "otc_leak":
            yield f"ONLY_TO_CUSTOMER of AS{route.otc}"
        elif slug == "irrdb_origin_as_filtered":
            names = ", ".join(self._as_sets(client)) or "no as-set"
            yield f"AS{origin_of(route.path)} is in none of: AS{client.policy.asn}, {names}"
        elif slug in ("irrdb_prefix_filtered", "blackhole_not_covered"):
            yield from self._other_objects(route)
        elif slug == "rpki_invalid":
            yield from self._roas(route)

    def _other_objects(self, route: Route) -> Iterator[str]:
        """What the registries have around the prefix instead."""
        near = False
        for origin_length, longest, holder in self.of.registered[route.prefix.family].covering(route.prefix):
            near = True
            around = Prefix(route.prefix.family, _cut(route.prefix, origin_length), origin_length)
            yield f"there is a route object {around}, max /{longest}, of AS{holder}"
        if not near:
            yield f"no route object for {route.prefix} or around it, of any origin that a client speaks for"

    # -- whom it reaches

    def _receiver(self, exchange: Exchange, announcer: str, verdict: Verdict, receiver: str) -> Step:
        mine = self.of.clients[receiver].policy
        why = exchange.withheld(announcer, verdict.route.prefix, receiver)
        name = f"session/{receiver} (AS{mine.asn})"
        if not why:
            told = self.of.told(verdict, receiver)
            return Step(
                True, receiver, f"{name} is told: path {path_text(told.path)} via {told.next_hop}", tuple(self._wishes(verdict, receiver))
            )
        grounds = list(self._wishes(verdict, receiver))
        if why == "another_is_better":
            better = next(
                (
                    each
                    for each in exchange.candidates(verdict.route.prefix)
                    if not self.of.withheld(each.announcer, each.verdict, receiver)
                ),
                None,
            )
            if better is not None:
                grounds = [
                    f"session/{better.announcer}: path {path_text(better.verdict.route.path)}, local preference {better.verdict.local_pref}"
                ]
        return Step(False, receiver, f"{name} is not told: {WITHHELD[why]} ({why})", tuple(grounds))

    def _wishes(self, verdict: Verdict, receiver: str) -> Iterator[str]:
        """The communities that concern the receiver."""
        mine = self.of.clients[receiver].policy
        words = {each.slug: each.words for each in CONTROLS}
        near = {("peer", mine.asn), ("all", 0), *(("group", each) for each in mine.groups)}
        near |= {("nearer", each) for each in mine.nearer} | {("farther", each) for each in mine.farther}
        route = verdict.route
        everything: list[Community] = [*sorted(route.standard), *sorted(route.extended), *sorted(route.large)]
        for each in everything:
            found = self.of.language.wish(each)
            if found is not None and (meaning(found[0])[1], found[1]) in near:
                about = str(found[1]) if meaning(found[0])[1] in ("group", "nearer", "farther") else f"AS{found[1]}"
                said = re.sub(r"\b(?:PEER|GROUP|MS)\b", about, words[found[0]])
                yield f"{community_text(each)}: {said}"


def _cut(prefix: Prefix, length: int) -> int:
    shift = prefix.bits - length
    return prefix.address >> shift << shift
