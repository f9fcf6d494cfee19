"""The evaluator: what becomes of one route, and who is told of it, worked out from the policy in values.

It reads what `compile.policy()` decided, as `bird.py` and `openbgpd.py` do, and shares no code with them: prefixes are numbers here and
patterns there, registries are looked up here by length and there by the daemon. Where a table follows from another one (who may blackhole
inside of what), the evaluator follows it itself. So a slip of the spelling, or of a daemon, is a difference between the two.

A route meets the tests of `compile.ORDER` one after another and is refused under the name of the first that it fails. Two of them are the
daemon's own and come before all others: OTC (RFC 9234), and a next hop that is not on the LAN.

A policy may hold more than the evaluator understands, because it was written later. Then it does not guess: `Unjudged` names the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from nnix.planes.routing.communities import (
    BLACKHOLE,
    CONTROLS,
    GRACEFUL_SHUTDOWN,
    NO_ADVERTISE,
    NO_EXPORT,
    SAID,
)
from nnix.planes.routing.compile import ORDER, ClientPolicy, ServerPolicy
from nnix.planes.routing.kinds import AddPaths, Irr, Role, Rpki
from nnix.planes.routing.naming import Family
from nnix.planes.routing.prove.route import Address, Community, Prefix, Route, Segment, extended, prefix_of
from nnix.planes.routing.rpki import RoaTable

LOCAL_PREF = 100  # BIRD's and OpenBGPD's own
NOT_TRANSITIVE = 0x40  # of an extended community's type: it stays inside of one AS (RFC 4360, 6)
DROPS_NOT_TRANSITIVE = frozenset(["openbgpd"])  # on the way in; BIRD does so on the way out
GLOBAL_UNICAST = prefix_of("2000::/3")

JUDGED: Mapping[str, frozenset[str]] = {
    "RoutingPolicy": frozenset(
        [
            "kind",
            "name",
            "owner",
            "prefix_lengths",
            "path_length_max",
            "communities_max",
            "next_hop",
            "blacklist",
            "never_via_sources",
            "limit_counts",
            "pauses",
            "connect_retry_seconds",
            "graceful_restart_seconds",
            "long_lived_seconds",
            "irr",
            "irr_sources",
            "irr_registries",
            "irr_more_specifics",
            "rpki",
            "rpki_sources",
            "rpki_caches",
            "rpki_without_data",
            "irr_caches",
            "bogons",
            "never_via_route_servers",
            "transit_free",
            "blackhole",
            "blackhole_v4",
            "blackhole_v6",
            "graceful_shutdown",
            "roles",
            "prefixes_max",
            "prefixes_max_margin_percent",
            "limit_action",
            "limit_restart_seconds",
            "hold_time_seconds",
        ]
    ),
    "ServerPolicy": frozenset(
        [
            "name",
            "daemon",
            "machine",
            "asn",
            "stand_in",
            "router_id",
            "v4",
            "v6",
            "policy",
            "lans_v4",
            "lans_v6",
            "bogons_v4",
            "bogons_v6",
            "blacklist_v4",
            "blacklist_v6",
            "shutdown_text",
            "bogon_asns",
            "never",
            "transit_free",
            "clients",
            "registered_v4",
            "registered_v6",
            "registered_covering_v4",
            "registered_covering_v6",
            "vrps_v4",
            "vrps_v6",
            "vrps_covering_v4",
            "vrps_covering_v6",
            "feeds",
            "about",
            "findings",
        ]
    ),
    "ClientPolicy": frozenset(
        [
            "session",
            "member",
            "asn",
            "v4",
            "v6",
            "next_hops_v4",
            "next_hops_v6",
            "blacklist_v4",
            "blacklist_v6",
            "limit_action",
            "hold_time_seconds",
            "password",
            "tcp_key",
            "gtsm",
            "bfd",
            "kin",
            "irr",
            "origins",
            "prefixes_v4",
            "prefixes_v6",
            "routes_max_v4",
            "routes_max_v6",
            "passive",
            "role_strict",
            "blackhole",
        ]
    ),
}
"""what the evaluator takes into account, or knows to have no bearing on routes"""

WITHHELD: Mapping[str, str] = {
    "own_route": "the receiver announced it itself",
    "not_its_family": "the receiver has no session in this address family",
    "blackhole_not_wanted": "it is a blackhole, and the receiver does not want to be told of any (RFC 7999, 3.2)",
    "not_to_receiver": "its announcer asked that the receiver not be told",
    "to_none": "its announcer asked that no one be told, and did not name the receiver as an exception",
    "its_own_next_hop": "its next hop is the receiver's own address, and such a route is told to no one (RFC 4271, 5.1.3)",
    "another_is_better": "the receiver is told another route for this prefix, which is preferred (RFC 4271, 9.1.2)",
}
"""why an accepted route is not told to a receiver, in words"""


class Unjudged(Exception):
    """The policy uses something that the evaluator does not know. The message names it."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an announcer asked for with communities. Prepends: how often; for one receiver, or (key 0) for all."""

    to_none: bool = False
    not_to: frozenset[int] = frozenset()
    to: frozenset[int] = frozenset()
    prepends: tuple[tuple[int, int], ...] = ()
    added: tuple[tuple[int, tuple[int, int]], ...] = ()  # (receiver or 0, community)

    def added_for(self, asn: int) -> frozenset[tuple[int, int]]:
        """Communities that are put on the route for one receiver."""
        return frozenset(community for peer, community in self.added if peer in (0, asn))

    def prepends_to(self, asn: int) -> int:
        """A wish about one beats a wish about all; of several of one kind the longest counts."""
        closer = max((times for peer, times in self.prepends if peer == asn), default=0)
        return closer or max((times for peer, times in self.prepends if peer == 0), default=0)


NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a route on import. `reason` is a slug of `compile.ORDER`, empty where it was accepted; then `route` is what stands in
    the route server's table."""

    reason: str
    route: Route
    local_pref: int = LOCAL_PREF
    blackhole: bool = False
    wishes: Wishes = NO_WISHES

    @property
    def accepted(self) -> bool:
        return not self.reason


# --- ROAs -------------------------------------------------------------------------------------------------------------


class Roas:
    """ROAs by length of their prefix, so that those which cover a prefix are found in one look-up for each length that occurs."""

    def __init__(self, table: RoaTable, family: Family) -> None:
        self.bits = 32 if family == 4 else 128
        by_length: dict[int, dict[int, list[tuple[int, int]]]] = {}
        for text, longest, origin in table.roas:
            prefix = number_of(text)
            by_length.setdefault(prefix.length, {}).setdefault(prefix.address >> (self.bits - prefix.length), []).append((longest, origin))
        self._by_length = sorted(by_length.items())

    def covering(self, prefix: Prefix) -> Iterator[tuple[int, int, int]]:
        """(length, longest allowed, origin) of each ROA whose prefix is `prefix` or contains it."""
        for length, held in self._by_length:
            if length > prefix.length:
                return
            for longest, origin in held.get(prefix.address >> (self.bits - length), ()):
                yield length, longest, origin

    def validity(self, prefix: Prefix, origin: int) -> str:
        """`valid`, `invalid` or `unknown` (RFC 6811, 2)."""
        found = "unknown"
        for _, longest, holder in self.covering(prefix):
            if holder == origin and prefix.length <= longest:
                return "valid"
            found = "invalid"
        return found

    def speaks_for(self, prefix: Prefix, origin: int) -> bool:
        """Whether a ROA of `origin` covers `prefix`, at whatever length."""
        return any(holder == origin for _, _, holder in self.covering(prefix))


def number_of(text: str) -> Prefix:
    """A prefix in canonical text, as tables have it, IPv4 faster than by ipaddress."""
    if ":" in text:
        return prefix_of(text)
    address, _, length = text.partition("/")
    a, b, c, d = address.split(".")
    return Prefix(4, int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d), int(length))


@lru_cache(maxsize=16)
def roas(table: RoaTable, family: Family) -> Roas:
    """The index of a table. Tables are shared between route servers."""
    return Roas(table, family)


class Patterns:
    """Registered prefixes whose origin the source did not tell, each with the lengths that it allows."""

    def __init__(self, texts: Iterable[str], family: Family) -> None:
        self.bits = 32 if family == 4 else 128
        self._held: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for text in texts:
            network, _, lengths = text.partition("{")
            prefix = number_of(network)
            low, high = map(int, lengths.rstrip("}").split(",")) if lengths else (prefix.length, prefix.length)
            self._held.setdefault((prefix.length, prefix.address >> (self.bits - prefix.length)), []).append((low, high))
        self._lengths = sorted({length for length, _ in self._held})

    def allows(self, prefix: Prefix, *, down_to: int, host_routes: bool) -> bool:
        """Whether one of them allows `prefix`; its highest length is at least `down_to`, and `host_routes` are allowed inside of any."""
        for length in self._lengths:
            if length > prefix.length:
                return False
            for low, high in self._held.get((length, prefix.address >> (self.bits - length)), ()):
                if host_routes or low <= prefix.length <= max(high, down_to):
                    return True
        return False


# --- communities ------------------------------------------------------------------------------------------------------

_PREPEND = re.compile(r"prepend-(\d)-(all|to)")
_ADDED = {f"no-{what}-{whom}": added for what, added in (("export", NO_EXPORT), ("advertise", NO_ADVERTISE)) for whom in ("all", "to")}
_AIMED = ("GROUP", "MS")  # where a policy has such, it is not judged


class Language:
    """The communities of one route server, read from the table that members read (`communities.CONTROLS`)."""

    def __init__(self, asn: int, stand_in: int) -> None:
        self.asn = asn
        numbers = {"RS": asn}
        short = {"RS": stand_in}
        self._exact: dict[tuple[str, int, int], str] = {}
        self._about: dict[tuple[str, int], str] = {}
        for control in CONTROLS:
            for form, text in (
                ("standard", control.standard),
                ("extended", control.extended.removeprefix("rt ")),
                ("large", control.large),
            ):
                words = text.split(":")
                if form == "large":
                    head, key, value = words
                    if head != "RS":
                        raise Unjudged(f"control {control.slug}: {text}")
                else:
                    key, value = words
                if value in _AIMED:
                    continue
                first = int(key) if key.isdigit() else (numbers if form == "large" else short)[key]
                if value == "PEER":
                    self._about[form, first] = control.slug
                else:
                    self._exact[form, first, int(value) if value.isdigit() else (short if form == "standard" else numbers)[value]] = (
                        control.slug
                    )

    def _read(self, form: str, key: int, value: int) -> tuple[str, int] | None:
        exact = self._exact.get((form, key, value))
        if exact is not None:
            return exact, 0
        about = self._about.get((form, key))
        return None if about is None else (about, value)

    def wish(self, community: Community) -> tuple[str, int] | None:
        """(slug of the control, the ASN that it is about or 0); None for what is no wish to us."""
        if isinstance(community, int):
            if community >> 48 not in (0x0002, 0x0003):
                return None
            return self._read("extended", community >> 32 & 0xFFFF, community & 0xFFFFFFFF)
        if len(community) == 2:
            return self._read("standard", *community)
        return self._read("large", *community[1:]) if community[0] == self.asn else None

    def spelled(self, slug: str, peer: int = 0) -> Iterator[Community]:
        """Every way to say the wish `slug`, about `peer` where it is about one. A form that has no room for the number is left out."""
        for (form, first, second), known in self._exact.items():
            if known == slug:
                yield from self._written(form, first, second)
        for (form, first), known in self._about.items():
            if known == slug and (form != "standard" or peer < 65536):
                yield from self._written(form, first, peer)

    def _written(self, form: str, first: int, second: int) -> Iterator[Community]:
        if form == "extended":
            yield extended("rt", first, second)
            yield extended("ro", first, second)
        else:
            yield (first, second) if form == "standard" else (self.asn, first, second)

    def wishes(self, route: Route) -> Wishes:
        """All wishes on a route. Raises Unjudged for a control whose meaning is not known here."""
        if not route.standard and not route.extended and not route.large:
            return NO_WISHES
        return self._wishes(route.standard, route.extended, route.large)

    @lru_cache(maxsize=1 << 16)  # noqa: B019 - a language lives as long as its evaluator
    def _wishes(self, standard: frozenset[tuple[int, int]], extended: frozenset[int], large: frozenset[tuple[int, int, int]]) -> Wishes:
        to_none = False
        not_to: set[int] = set()
        to: set[int] = set()
        prepends: set[tuple[int, int]] = set()
        added: set[tuple[int, tuple[int, int]]] = set()
        for group in (standard, extended, large):
            for community in group:
                found = self.wish(community)
                if found is None:
                    continue
                slug, peer = found
                prepend = _PREPEND.fullmatch(slug)
                if prepend is not None:
                    prepends.add((peer, int(prepend[1])))
                elif slug in _ADDED:
                    added.add((peer, _ADDED[slug]))
                elif slug == "to-none":
                    to_none = True
                elif slug == "not-to":
                    not_to.add(peer)
                elif slug == "to":
                    to.add(peer)
                elif slug != "to-all":
                    raise Unjudged(f"control {slug}")
        return Wishes(to_none, frozenset(not_to), frozenset(to), tuple(sorted(prepends)), tuple(sorted(added)))

    def without_wishes(self, route: Route) -> tuple[frozenset[tuple[int, int]], frozenset[int], frozenset[tuple[int, int, int]]]:
        """The communities of a route that are not for us."""
        return (
            frozenset(each for each in route.standard if self.wish(each) is None),
            frozenset(each for each in route.extended if self.wish(each) is None),
            frozenset(each for each in route.large if self.wish(each) is None),
        )

    def not_in_our_stead(self, large: frozenset[tuple[int, int, int]]) -> frozenset[tuple[int, int, int]]:
        """Large communities without those that only we may say (RFC 7454, 11)."""
        return frozenset(each for each in large if each[0] != self.asn or self.wish(each) is not None)


# --- the evaluator ----------------------------------------------------------------------------------------------------


def unjudged(server: ServerPolicy) -> Iterator[str]:
    """Fields that are set in a policy and that the evaluator does not know."""
    policy = server.policy
    for name, described in type(policy).model_fields.items():
        if name not in JUDGED["RoutingPolicy"] and getattr(policy, name) != described.get_default(call_default_factory=True):
            yield f"{policy.id} {name}"
    for owner, record in (("ServerPolicy", server), *(("ClientPolicy", client) for client in server.clients)):
        for each in fields(record):  # type: ignore[arg-type]
            if each.name in JUDGED[owner]:
                continue
            value = getattr(record, each.name)
            if isinstance(record, ClientPolicy) and value == _as_the_policy_says(record, server).get(each.name):
                continue
            off = each.default if each.default is not MISSING else each.default_factory() if each.default_factory is not MISSING else None
            if value != off and bool(value):
                yield f"{'session/' + record.session if isinstance(record, ClientPolicy) else 'route-server/' + server.name} {each.name}"


def _as_the_policy_says(client: ClientPolicy, server: ServerPolicy) -> Mapping[str, object]:
    """What a client has in fields where it is no exception."""
    policy = server.policy
    return {
        "short_asn": client.asn if client.asn < 65536 else None,
        "lengths": policy.prefix_lengths,
        "irr_more_specifics": policy.irr_more_specifics,
        "rpki": policy.rpki,
        "aspa": Rpki.OFF,
        "add_paths": AddPaths.OFF,
        "role": Role.RS,
    }


class Client:
    """A client with what its routes are held against, ready to be asked often."""

    __slots__ = ("hops", "origins", "patterns", "policy", "strict")

    def __init__(self, policy: ClientPolicy) -> None:
        self.policy = policy
        self.origins = None if policy.origins is None else frozenset(policy.origins)
        self.hops: dict[int, frozenset[Address]] = {4: frozenset(policy.next_hops_v4), 6: frozenset(policy.next_hops_v6)}
        self.patterns = {4: Patterns(policy.prefixes_v4, 4), 6: Patterns(policy.prefixes_v6, 6)}
        self.strict = policy.irr is Irr.STRICT

    def speaks(self, family: int) -> bool:
        return (self.policy.v4 if family == 4 else self.policy.v6) is not None


Test = Callable[["Evaluator", Client, Route], bool]


class Evaluator:
    """One route server's policy, evaluated. Raises Unjudged where the policy uses what is not known here."""

    def __init__(self, server: ServerPolicy) -> None:
        unknown = list(unjudged(server))
        if unknown:
            raise Unjudged(f"the evaluator does not know {', '.join(unknown)}")
        self.server, self.policy, self.asn = server, server.policy, server.asn
        self.language = Language(server.asn, server.stand_in)
        self.clients = {each.session: Client(each) for each in server.clients}
        self.lans = {4: tuple(map(prefix_of, server.lans_v4)), 6: tuple(map(prefix_of, server.lans_v6))}
        self.bogons = {4: tuple(map(prefix_of, server.bogons_v4)), 6: tuple(map(prefix_of, server.bogons_v6))}
        lengths = server.policy.prefix_lengths
        self.lengths = {4: (lengths.v4_min, lengths.v4_max), 6: (lengths.v6_min, lengths.v6_max)}
        self.never, self.transit_free = frozenset(server.never), frozenset(server.transit_free)
        self.registered = {4: roas(server.registered_v4, 4), 6: roas(server.registered_v6, 6)}
        self.vrps = {4: roas(server.vrps_v4, 4), 6: roas(server.vrps_v6, 6)}
        self.our_lan = {4: _holding(server.v4, server.lans_v4), 6: _holding(server.v6, server.lans_v6)}
        self._bogon_asn = lru_cache(maxsize=1 << 18)(self._in_bogon_range)
        self._bogon = lru_cache(maxsize=1 << 16)(self._in_bogon)
        self.tests: tuple[tuple[str, Test], ...] = (
            ("otc_leak", TESTS["otc_leak"]),
            ("next_hop_not_peer_ip", _next_hop_off_the_lan),
            *((slug, TESTS[slug]) for slug in ORDER if slug in TESTS and slug != "otc_leak"),
        )

    # -- in

    def imported(self, session: str, route: Route) -> Verdict:
        """What becomes of `route` when the client with `session` announces it. Raises KeyError for a session that is none here."""
        client = self.clients[session]
        for slug, broken in self.tests:
            if broken(self, client, route):
                return Verdict(slug, route)
        return self._accepted(client, route)

    def thrown_out(self, session: str, route: Route) -> bool:
        """Whether the daemon itself takes `route` for withdrawn (RFC 7606), so that it does not even count as received."""
        client = self.clients[session]
        return any(broken(self, client, route) for _, broken in self.tests[:2])

    def broken(self, session: str, route: Route) -> tuple[str, ...]:
        """Every test that a route fails, each once, in order."""
        client = self.clients[session]
        return tuple(dict.fromkeys(slug for slug, broken in self.tests if broken(self, client, route)))

    def _accepted(self, client: Client, route: Route) -> Verdict:
        blackhole = self.blackholed(route)
        standard, next_hop = route.standard, route.next_hop
        if blackhole:
            standard = standard | {NO_EXPORT}
            next_hop = (self.policy.blackhole_v4 if route.prefix.family == 4 else self.policy.blackhole_v6) or next_hop
        large = self.language.not_in_our_stead(route.large) if route.large else route.large
        said = ["irrdb_not_checked" if client.origins is None else "irrdb_valid", self._validity_said(route)]
        large = large | {(self.asn, SAID[slug].function, SAID[slug].value) for slug in said}
        going = self.policy.graceful_shutdown and GRACEFUL_SHUTDOWN in route.standard
        extended = route.extended
        if extended and self.server.daemon in DROPS_NOT_TRANSITIVE:
            extended = frozenset(each for each in extended if not each >> 56 & NOT_TRANSITIVE)
        kept = Route(route.prefix, route.path, next_hop, standard, extended, large, route.med, route.otc, route.origin)
        return Verdict("", kept, 0 if going else LOCAL_PREF, blackhole, self.language.wishes(route))

    def _validity_said(self, route: Route) -> str:
        if self.policy.rpki is Rpki.OFF or self.beyond(route):
            return "rpki_not_checked"
        return "rpki_valid" if self.vrps[route.prefix.family].validity(route.prefix, origin_of(route.path)) == "valid" else "rpki_unknown"

    def blackholed(self, route: Route) -> bool:
        return self.policy.blackhole and BLACKHOLE in route.standard

    def beyond(self, route: Route) -> bool:
        """Whether it is longer than ordinary routes may be, and so can only be a blackhole."""
        return self.policy.blackhole and route.prefix.length > self.lengths[route.prefix.family][1]

    def _in_bogon_range(self, asn: int) -> bool:
        return any(first <= asn <= last for first, last in self.server.bogon_asns)

    def _in_bogon(self, prefix: Prefix) -> bool:
        return any(prefix.inside(each) for each in self.bogons[prefix.family])

    # -- out

    def withheld(self, announcer: str, verdict: Verdict, receiver: str) -> str:
        """Why an accepted route is not for `receiver`, a key of WITHHELD; empty when it is. Whether a better one takes its place is not asked."""
        client = self.clients[receiver]
        if announcer == receiver:
            return "own_route"
        if not client.speaks(verdict.route.prefix.family):
            return "not_its_family"
        if verdict.blackhole and not client.policy.blackhole:
            return "blackhole_not_wanted"
        wishes = verdict.wishes
        asn = client.policy.asn
        if asn in wishes.not_to:
            return "not_to_receiver"
        return "to_none" if wishes.to_none and asn not in wishes.to else ""

    def to_itself(self, verdict: Verdict, receiver: str) -> bool:
        """Whether the next hop is the receiver's own address. The daemon notices when it has chosen already, and tells nothing instead."""
        return verdict.route.next_hop in (self.clients[receiver].policy.v4, self.clients[receiver].policy.v6)

    def told(self, verdict: Verdict, receiver: str) -> Route:
        """The route as `receiver` hears it. Path, next hop, MED and what is not for us stay as they are (RFC 7947, 2.2)."""
        route = verdict.route
        times = verdict.wishes.prepends_to(self.clients[receiver].policy.asn)
        path: tuple[Segment, ...] = (*route.path[:1] * times, *route.path)
        standard, extended, large = self.language.without_wishes(route)
        standard = standard | verdict.wishes.added_for(self.clients[receiver].policy.asn)
        if extended:
            extended = frozenset(each for each in extended if not each >> 56 & NOT_TRANSITIVE)
        otc = route.otc if route.otc is not None or not self.policy.roles else self.asn
        return Route(route.prefix, path, route.next_hop, standard, extended, large, route.med, otc, route.origin)

    def preference(self, verdict: Verdict, router_id: int, address: Address) -> tuple[int, int, int, int, int]:
        """Routes of one prefix are told in this order, the first that is for the receiver (RFC 4271, 9.1.2.2; MED aside, see `exchange`)."""
        route = verdict.route
        return -verdict.local_pref, len(route.path), route.origin, router_id, int(address)


def _holding(address: Address | None, lans: Iterable[IPv4Network | IPv6Network]) -> IPv4Network | IPv6Network | None:
    return None if address is None else next((lan for lan in lans if address in lan), None)


def origin_of(path: tuple[Segment, ...]) -> int:
    """The last AS of a path; 0 where there is none, or it ends in a set."""
    last = path[-1] if path else 0
    return last if isinstance(last, int) else 0


def asns_of(path: tuple[Segment, ...]) -> Iterator[int]:
    """All ASNs in a path, those of sets too."""
    for each in path:
        if isinstance(each, int):
            yield each
        else:
            yield from each


# --- the tests, by the name under which they refuse ---------------------------------------------------------------------


def _next_hop_off_the_lan(of: Evaluator, client: Client, route: Route) -> bool:
    lan = of.our_lan[route.prefix.family]
    return lan is None or route.next_hop not in lan or route.next_hop in (of.server.v4, of.server.v6)


def _too_long(of: Evaluator, client: Client, route: Route) -> bool:
    return route.prefix.length > of.lengths[route.prefix.family][1] and not of.blackholed(route)


def _transit_free(of: Evaluator, client: Client, route: Route) -> bool:
    return bool(of.transit_free) and any(asn in of.transit_free and asn not in client.policy.kin for asn in asns_of(route.path))


def _unregistered(of: Evaluator, client: Client, route: Route) -> bool:
    """The registries know neither the prefix by itself nor a route object of this origin that allows it."""
    if not client.strict:
        return False
    longest = of.lengths[route.prefix.family][1]
    beyond = of.beyond(route)
    if client.patterns[route.prefix.family].allows(
        route.prefix, down_to=longest if of.policy.irr_more_specifics else 0, host_routes=beyond
    ):
        return False
    held = of.registered[route.prefix.family]
    origin = origin_of(route.path)
    return not (held.speaks_for(route.prefix, origin) if beyond else held.validity(route.prefix, origin) == "valid")


def _rpki_invalid(of: Evaluator, client: Client, route: Route) -> bool:
    if of.policy.rpki is Rpki.OFF:
        return False
    vrps, origin = of.vrps[route.prefix.family], origin_of(route.path)
    if vrps.validity(route.prefix, origin) != "invalid":
        return False
    return not (of.beyond(route) and vrps.speaks_for(route.prefix, origin))


def _blacklist(server: ServerPolicy, client: ClientPolicy, family: int) -> tuple[IPv4Network | IPv6Network, ...]:
    return (*server.blacklist_v4, *client.blacklist_v4) if family == 4 else (*server.blacklist_v6, *client.blacklist_v6)


TESTS: Mapping[str, Test] = {
    "otc_leak": lambda of, client, route: of.policy.roles and route.otc is not None,
    "default_route": lambda of, client, route: route.prefix.length == 0,
    "not_global_unicast": lambda of, client, route: route.prefix.family == 6 and not route.prefix.inside(GLOBAL_UNICAST),
    "exchange_lan": lambda of, client, route: any(route.prefix.inside(each) for each in of.lans[route.prefix.family]),
    "bogon": lambda of, client, route: of._bogon(route.prefix),
    "blacklisted": lambda of, client, route: any(
        route.prefix.inside(prefix_of(each)) for each in _blacklist(of.server, client.policy, route.prefix.family)
    ),
    "prefix_len_too_long": _too_long,
    "prefix_len_too_short": lambda of, client, route: route.prefix.length < of.lengths[route.prefix.family][0],
    "too_many_communities": lambda of, client, route: (
        of.policy.communities_max is not None and len(route.standard) + len(route.extended) + len(route.large) > of.policy.communities_max
    ),
    "as_path_too_short": lambda of, client, route: not route.path,
    "as_path_too_long": lambda of, client, route: len(route.path) > of.policy.path_length_max,
    "own_asn_in_path": lambda of, client, route: of.asn in asns_of(route.path),
    "as_set_in_path": lambda of, client, route: any(not isinstance(each, int) for each in route.path),
    "bogon_asn": lambda of, client, route: any(map(of._bogon_asn, asns_of(route.path))),
    "transit_free_asn": _transit_free,
    "never_via_route_server": lambda of, client, route: not of.never.isdisjoint(asns_of(route.path)),
    "first_as_not_peer_as": lambda of, client, route: route.path[:1] != (client.policy.asn,),
    "next_hop_not_peer_ip": lambda of, client, route: route.next_hop not in client.hops[route.prefix.family],
    "irrdb_origin_as_filtered": lambda of, client, route: client.origins is not None and origin_of(route.path) not in client.origins,
    "irrdb_prefix_filtered": lambda of, client, route: not of.beyond(route) and _unregistered(of, client, route),
    "blackhole_not_covered": lambda of, client, route: of.beyond(route) and _unregistered(of, client, route),
    "rpki_no_data": lambda of, client, route: (
        False
    ),  # a policy in values has its VRPs; whether a cache has given them yet is not a route's doing
    "rpki_invalid": _rpki_invalid,
    "aspa_invalid": lambda of, client, route: False,  # a policy that asks for it is not judged
}
"""slug → whether a route breaks that rule, whatever else it breaks. The order is `compile.ORDER`'s."""
