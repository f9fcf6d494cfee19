"""The evaluator: what becomes of one route, and who is told of it, worked out from the policy in values.

It reads what `compile.policy()` decided, as `bird.py` and `openbgpd` do, and shares no code with them: prefixes are numbers here and
patterns there, registries are looked up here by length and there by the daemon. Where a table follows from another one (who may blackhole
inside of what), the evaluator follows it itself. So a slip of the spelling, or of a daemon, is a difference between the two.

A route meets the tests of `compile.ORDER` one after another and is refused under the name of the first that it fails. Some are the daemon's
own and come before all others (`FOUND_FIRST`), such as OTC (RFC 9234).

A policy may hold more than the evaluator understands, because it was written later. Then it does not guess: `Unjudged` names the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from itertools import groupby, pairwise

from nnix.planes.routing import communities
from nnix.planes.routing.communities import (
    BLACKHOLE,
    CONTROLS,
    GRACEFUL_SHUTDOWN,
    LEARNT_FROM,
    NO_ADVERTISE,
    NO_EXPORT,
    NO_EXPORT_SUBCONFED,
    NOT,
    ORIGINATED_BY,
    SAID,
    TO,
)
from nnix.planes.routing.compile import ORDER, Accepted, ClientPolicy, ServerPolicy
from nnix.planes.routing.kinds import Irr, NoExport, Role, Rpki
from nnix.planes.routing.naming import Family
from nnix.planes.routing.prove.route import Address, Community, Prefix, Route, Segment, extended, prefix_of
from nnix.planes.routing.rpki import RoaTable

FAMILIES: tuple[Family, ...] = (4, 6)
LOCAL_PREF = 100  # BIRD's and OpenBGPD's own
VALIDITY_STATE = 0x4300  # RFC 8097
OBEYED = frozenset({NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED})
NOT_TRANSITIVE = 0x40  # of an extended community's type: it stays inside of one AS (RFC 4360, 6)
DROPS_NOT_TRANSITIVE = frozenset(["openbgpd"])  # on the way in; BIRD does so on the way out
GLOBAL_UNICAST = prefix_of("2000::/3")

ROLES = frozenset({Role.RS, Role.PROVIDER, Role.PEER})  # those that a route server may have towards a client (RFC 9234, 3)

JUDGED: Mapping[str, frozenset[str]] = {
    "RoutingPolicy": frozenset(
        [
            "kind",
            "name",
            "owner",
            "path_hiding_solved",
            "communities_max",
            "next_hop",
            "no_export",
            "refused",
            "tells_announcer",
            "refused_tells_announcer",
            "reason_communities",
            "said_communities",
            "prefix_lengths",
            "path_length_max",
            "irr",
            "irr_sources",
            "irr_registries",
            "irr_more_specifics",
            "peeringdb",
            "rpsl_via",
            "roas_are_route_objects",
            "rpki",
            "rpki_sources",
            "rpki_caches",
            "rpki_without_data",
            "irr_caches",
            "aspa",
            "bogons",
            "blacklist",
            "never_via_route_servers",
            "never_via_sources",
            "transit_free",
            "transit_free_warns",
            "blackhole",
            "blackhole_v4",
            "blackhole_v6",
            "blackhole_communities",
            "graceful_shutdown",
            "roles",
            "groups",
            "short_asns",
            "rtt_thresholds",
            "prefixes_max",
            "prefixes_max_margin_routes",
            "prefixes_max_margin_percent",
            "limit_action",
            "limit_counts",
            "limit_restart_seconds",
            "pauses",
            "hold_time_seconds",
            "connect_retry_seconds",
            "graceful_restart_seconds",
            "long_lived_seconds",
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
            "shutting_down",
            "shutdown_text",
            "policy",
            "lans_v4",
            "lans_v6",
            "bogons_v4",
            "bogons_v6",
            "blacklist_v4",
            "blacklist_v6",
            "bogon_asns",
            "never",
            "transit_free",
            "clients",
            "registered_v4",
            "registered_v6",
            "registered_longer_v4",
            "registered_longer_v6",
            "registered_covering_v4",
            "registered_covering_v6",
            "vrps_v4",
            "vrps_v6",
            "vrps_covering_v4",
            "vrps_covering_v6",
            "feeds",
            "aspas",
            "blackholes",
            "attached",
            "says",
            "short_asns",
            "groups",
            "thresholds",
            "snippets",
            "about",
            "findings",
        ]
    ),
    "ClientPolicy": frozenset(
        [
            "session",
            "member",
            "asn",
            "short_asn",
            "kin",
            "v4",
            "v6",
            "v4_over_v6",
            "next_hops_v4",
            "next_hops_v6",
            "lengths",
            "blacklist_v4",
            "blacklist_v6",
            "irr",
            "irr_more_specifics",
            "origins",
            "prefixes_v4",
            "prefixes_v6",
            "accepted_v4",
            "accepted_v6",
            "rpki",
            "aspa",
            "as_sets_in_paths",
            "routes_max_v4",
            "routes_max_v6",
            "limit_action",
            "limit_counts",
            "passive",
            "hold_time_seconds",
            "password",
            "tcp_key",
            "gtsm",
            "multihop",
            "bfd",
            "add_paths",
            "prepend_route_server",
            "role",
            "role_strict",
            "graceful_shutdown",
            "communities",
            "announce_only",
            "announce_not",
            "hear_only",
            "hear_not",
            "groups",
            "nearer",
            "farther",
            "blackhole",
            "blackhole_community",
            "blackhole_community_alone",
        ]
    ),
}
"""what the evaluator takes into account, or knows to have no bearing on routes"""

WITHHELD: Mapping[str, str] = {
    "own_route": "the receiver announced it itself",
    "not_its_family": "the receiver has no session in this address family",
    "refused_by_receiver": "the receiver wants nothing of this announcer's",
    "for_customers_only": "it came from a peer, so it is for customers only, and the receiver is a peer as well (RFC 9234, 5)",
    "kept_here": "it carries NO_EXPORT or NO_ADVERTISE, which the route server obeys (RFC 1997)",
    "next_hop_of_other_family": "it is an IPv4 route with an IPv6 next hop, and the receiver takes none (RFC 8950)",
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
    """What an announcer asked for with communities: (verb, aim, value), such as (`not`, `peer`, 64500) or (`prepend-2`, `all`, 0)."""

    said: frozenset[tuple[str, str, int]] = frozenset()

    def levels(self, receiver: ClientPolicy) -> Iterator[frozenset[str]]:
        """The verbs that concern a receiver, from the closest wish to the widest: about itself, about its groups and round-trip time, about all."""
        near = {("group", each) for each in receiver.groups}
        near |= {("nearer", each) for each in receiver.nearer} | {("farther", each) for each in receiver.farther}
        yield frozenset(verb for verb, aim, value in self.said if (aim, value) == ("peer", receiver.asn))
        yield frozenset(verb for verb, aim, value in self.said if (aim, value) in near)
        yield frozenset(verb for verb, aim, _ in self.said if aim == "all")

    def withheld(self, receiver: ClientPolicy) -> str:
        """`not_to_receiver` or `to_none`; empty where it is told. The closest wish counts; of equally close ones, not beats to."""
        if not self.said:
            return ""
        *closer, every = self.levels(receiver)
        for verbs in closer:
            if "not" in verbs:
                return "not_to_receiver"
            if "to" in verbs:
                return ""
        return "to_none" if "not" in every else ""

    def prepends(self, receiver: ClientPolicy) -> int:
        """How often the announcer's ASN is put in front: as the closest wish says, the longest of several."""
        for verbs in self.levels(receiver) if self.said else ():
            found = max((int(verb.removeprefix("prepend-")) for verb in verbs if verb.startswith("prepend-")), default=0)
            if found:
                return found
        return 0

    def added(self, receiver: ClientPolicy) -> frozenset[tuple[int, int]]:
        """Well-known communities that the receiver's copy gets."""
        if not self.said:
            return frozenset()
        verbs = frozenset().union(*self.levels(receiver))
        return frozenset(value for verb, value in (("no-export", NO_EXPORT), ("no-advertise", NO_ADVERTISE)) if verb in verbs)


NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a route on import. `reason` is a slug of `compile.ORDER`, empty where it was accepted; then `route` is what stands in
    the route server's table, and `kept` says that it goes to nobody."""

    reason: str
    route: Route
    local_pref: int = LOCAL_PREF
    blackhole: bool = False
    kept: bool = False
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


class Cover:
    """Prefixes that are refused, or left out, with their more specifics."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self.prefixes = tuple(map(prefix_of, networks))
        by_length: dict[int, set[int]] = {}
        for each in self.prefixes:
            by_length.setdefault(each.length, set()).add(each.address >> (each.bits - each.length))
        self._by_length = sorted(by_length.items())

    def __iter__(self) -> Iterator[Prefix]:
        return iter(self.prefixes)

    def covers(self, prefix: Prefix) -> bool:
        family, address, own = prefix
        bits = 32 if family == 4 else 128
        return any(own >= length and address >> (bits - length) in held for length, held in self._by_length)


def exception(each: Accepted) -> str:
    """An exception as a pattern."""
    return f"{each.prefix}{{{each.shortest},{each.longest}}}"


# --- communities ------------------------------------------------------------------------------------------------------

_AIMS = {"PEER": "peer", "GROUP": "group", "MS": ""}


def number(each: communities.Community) -> Community:
    """A community of the policy as it stands on a route."""
    if each.form == "standard":
        return each.values[0], each.values[1]
    if each.form == "large":
        return each.values[0], each.values[1], each.values[2]
    return extended("rt" if each.form == "rt" else "ro", *each.values)


class Language:
    """The communities of one route server, read from the table that members read (`communities.CONTROLS`).

    Wishes about groups, or about round-trip times, are words of it only where the policy has groups, or thresholds.
    """

    def __init__(self, server: ServerPolicy) -> None:
        self.asn = server.asn
        self.members = {short: asn for asn, short in server.short_asns}  # what a number of 16 bits stands for
        self.shorts = dict(server.short_asns)
        self.ours = frozenset(map(number, server.attached)) | frozenset(
            number(each)
            for each in (*(communities.community(e.community) for e in server.policy.reason_communities), *(c for _, c in server.says))
        )
        self.blackholes = frozenset(map(number, server.blackholes))
        spoken = {"RS", "0", "PEER"} | ({"GROUP"} if server.groups else set()) | ({"MS"} if server.thresholds else set())
        known, short = {"RS": server.asn}, {"RS": server.stand_in}
        self._exact: dict[tuple[str, int, int], str] = {}
        self._about: dict[tuple[str, int], str] = {}
        for control in CONTROLS:
            if control.large.rpartition(":")[2] not in spoken:
                continue
            for form, text in (
                ("standard", control.standard),
                ("extended", control.extended.removeprefix("rt ")),
                ("large", control.large),
            ):
                *head, key, value = text.split(":")
                if head != (["RS"] if form == "large" else []):
                    raise Unjudged(f"control {control.slug}: {text}")
                first = int(key) if key.isdigit() else (known if form == "large" else short)[key]
                if value in _AIMS:
                    self._about[form, first] = control.slug
                else:
                    self._exact[form, first, int(value) if value.isdigit() else (short if form == "standard" else known)[value]] = (
                        control.slug
                    )

    def _read(self, form: str, key: int, value: int) -> tuple[str, int] | None:
        exact = self._exact.get((form, key, value))
        if exact is not None:
            return exact, 0
        about = self._about.get((form, key))
        if about is not None and form == "standard" and meaning(about)[1] == "peer":
            return about, self.members.get(value, value)
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
            told = self.shorts.get(peer, peer) if form == "standard" and meaning(slug)[1] == "peer" else peer
            if known == slug and (form != "standard" or told < 65536):
                yield from self._written(form, first, told)

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
        found = (self.wish(each) for group in (standard, extended, large) for each in group)
        return Wishes(frozenset((*meaning(slug), value) for slug, value in filter(None, found)))

    def without_wishes(self, route: Route) -> tuple[frozenset[tuple[int, int]], frozenset[int], frozenset[tuple[int, int, int]]]:
        """The communities of a route that are not for us."""
        return (
            frozenset(each for each in route.standard if self.wish(each) is None),
            frozenset(each for each in route.extended if self.wish(each) is None),
            frozenset(each for each in route.large if self.wish(each) is None),
        )

    def scrubbed(self, route: Route) -> Route:
        """Without what only we may say (RFC 7454, 11), and with BLACKHOLE for every word that means it here."""
        if not route.standard and not route.extended and not route.large:
            return route
        said: frozenset[Community] = route.standard | route.extended | route.large
        black = said & self.blackholes
        taken = said & self.ours | {each for each in route.extended if each >> 48 == VALIDITY_STATE}
        taken |= {each for each in route.large if each[0] == self.asn and self.wish(each) is None}
        if not taken and not black:
            return route
        gone = taken | black
        return replace(
            route,
            standard=(route.standard - gone) | ({BLACKHOLE} if black else set()),
            extended=route.extended - gone,
            large=route.large - gone,
        )


@lru_cache(maxsize=256)
def meaning(slug: str) -> tuple[str, str]:
    """(verb, aim) of a control: `not-to` is (`not`, `peer`), `prepend-2-group` (`prepend-2`, `group`). Raises Unjudged."""
    if slug in ("to-none", "to-all", "to"):
        return {"to-none": ("not", "all"), "to-all": ("to", "all"), "to": ("to", "peer")}[slug]
    verb, _, aim = slug.rpartition("-")
    aim = {"to": "peer", "all": "all", "group": "group", "nearer": "nearer", "farther": "farther"}.get(aim, "")
    if not aim or verb not in ("not", "to", "prepend-1", "prepend-2", "prepend-3", "no-export", "no-advertise"):
        raise Unjudged(f"control {slug}")
    return verb, aim


# --- the evaluator ----------------------------------------------------------------------------------------------------


def unjudged(server: ServerPolicy) -> Iterator[str]:
    """Fields that are set in a policy and that the evaluator does not know."""
    policy = server.policy
    for name, described in type(policy).model_fields.items():
        if name not in JUDGED["RoutingPolicy"] and getattr(policy, name) != described.get_default(call_default_factory=True):
            yield f"{policy.id} {name}"
    for client in server.clients:
        if client.role not in ROLES:
            yield f"session/{client.session} our_role {client.role}"
    for owner, record in (("ServerPolicy", server), *(("ClientPolicy", client) for client in server.clients)):
        for each in fields(record):  # type: ignore[arg-type]
            if each.name in JUDGED[owner]:
                continue
            value = getattr(record, each.name)
            off = each.default if each.default is not MISSING else each.default_factory() if each.default_factory is not MISSING else None
            if value != off and bool(value):
                yield f"{'session/' + record.session if isinstance(record, ClientPolicy) else 'route-server/' + server.name} {each.name}"


class Client:
    """A client with what its routes are held against, ready to be asked often."""

    def __init__(self, policy: ClientPolicy, origins: frozenset[int] | None) -> None:
        self.policy = policy
        self.origins = origins
        self.kin = frozenset(policy.kin)
        six: frozenset[Address] = frozenset(policy.next_hops_v6)
        self.hops: dict[int, frozenset[Address]] = {4: six if policy.v4_over_v6 else frozenset(policy.next_hops_v4), 6: six}
        self.lengths = {4: (policy.lengths.v4_min, policy.lengths.v4_max), 6: (policy.lengths.v6_min, policy.lengths.v6_max)}
        self.blacklist = {4: Cover(policy.blacklist_v4), 6: Cover(policy.blacklist_v6)}
        self.patterns = {4: Patterns(policy.prefixes_v4, 4), 6: Patterns(policy.prefixes_v6, 6)}
        excepted = {4: policy.accepted_v4, 6: policy.accepted_v6}
        self.excepted = {family: Patterns((exception(e) for e in excepted[family] if e.origin is None), family) for family in FAMILIES}
        self.excepted_origins = {
            family: {
                origin: Patterns((exception(e) for e in excepted[family] if e.origin == origin), family)
                for origin in {each.origin for each in excepted[family]} - {None}
            }
            for family in FAMILIES
        }
        self.strict = policy.irr is Irr.STRICT
        self.tags = policy.irr is Irr.TAG
        added = {number(each) for each in policy.communities}
        self.added_standard = frozenset(each for each in added if isinstance(each, tuple) and len(each) == 2)
        self.added_extended = frozenset(each for each in added if isinstance(each, int))
        self.added_large = frozenset(each for each in added if isinstance(each, tuple) and len(each) == 3)

    def speaks(self, family: int) -> bool:
        return speaks(self.policy, family)

    def longest(self, route: Route) -> int:
        return self.lengths[route.prefix.family][1]


def speaks(client: ClientPolicy, family: int) -> bool:
    """Whether routes of that family come and go on the session."""
    return client.v6 is not None if family == 6 else client.v4 is not None or client.v4_over_v6


Test = Callable[["Evaluator", Client, Route], bool]


class Evaluator:
    """One route server's policy, evaluated. Raises Unjudged where the policy uses what is not known here."""

    def __init__(self, server: ServerPolicy) -> None:
        unknown = list(unjudged(server))
        if unknown:
            raise Unjudged(f"the evaluator does not know {', '.join(unknown)}")
        self.server, self.policy, self.asn = server, server.policy, server.asn
        self.language = Language(server)
        sets = {id(each.origins): frozenset(each.origins) for each in server.clients if each.origins is not None}
        self.clients = {each.session: Client(each, sets.get(id(each.origins))) for each in server.clients}
        self.lans = {4: Cover(server.lans_v4), 6: Cover(server.lans_v6)}
        self.bogons = {4: Cover(server.bogons_v4), 6: Cover(server.bogons_v6)}
        self.blacklist = {4: Cover(server.blacklist_v4), 6: Cover(server.blacklist_v6)}
        self.never, self.transit_free = frozenset(server.never), frozenset(server.transit_free)
        self.registered = {4: roas(server.registered_v4, 4), 6: roas(server.registered_v6, 6)}
        self.longer = {4: roas(server.registered_longer_v4, 4), 6: roas(server.registered_longer_v6, 6)}
        self.providers = {customer: frozenset(named) for customer, named in server.aspas}
        self.vrps = {4: roas(server.vrps_v4, 4), 6: roas(server.vrps_v6, 6)}
        self.our_lan = {4: _holding(server.v4, server.lans_v4), 6: _holding(server.v6, server.lans_v6)}
        self._bogon_asn = lru_cache(maxsize=1 << 18)(self._in_bogon_range)
        self.first = FOUND_FIRST[server.daemon]
        self.tests: tuple[tuple[str, Test], ...] = (*self.first, *((slug, TESTS[slug]) for slug in ORDER if slug in TESTS))

    # -- in

    def imported(self, session: str, route: Route) -> Verdict:
        """What becomes of `route` when the client with `session` announces it. Raises KeyError for a session that is none here."""
        client = self.clients[session]
        tidy = self.language.scrubbed(route)
        for slug, broken in self.tests:
            if broken(self, client, route if slug == "too_many_communities" else tidy):
                return Verdict(slug, route)
        return self._accepted(client, tidy)

    def thrown_out(self, session: str, route: Route) -> bool:
        """Whether the daemon itself takes `route` for withdrawn (RFC 7606), so that it does not even count as received."""
        client = self.clients[session]
        return any(broken(self, client, route) for _, broken in self.first)

    def broken(self, session: str, route: Route) -> tuple[str, ...]:
        """Every test that a route fails, each once, in order."""
        client = self.clients[session]
        tidy = self.language.scrubbed(route)
        return tuple(
            dict.fromkeys(slug for slug, broken in self.tests if broken(self, client, route if slug == "too_many_communities" else tidy))
        )

    def _accepted(self, client: Client, route: Route) -> Verdict:
        """`route` has been scrubbed."""
        policy, mine = self.policy, client.policy
        blackhole = self.blackholed(route)
        standard, next_hop = route.standard | client.added_standard, route.next_hop
        kept = policy.no_export is NoExport.OBEY and not blackhole and not OBEYED.isdisjoint(standard)
        going = mine.graceful_shutdown and GRACEFUL_SHUTDOWN in standard
        if blackhole:
            standard = standard | {NO_EXPORT}
            next_hop = (policy.blackhole_v4 if route.prefix.family == 4 else policy.blackhole_v6) or next_hop
        slugs = frozenset(self._said(client, route))
        said = {(self.asn, SAID[slug].function, SAID[slug].value) for slug in slugs}
        if mine.announce_only is not None:
            said |= {(self.asn, NOT, 0), *((self.asn, TO, asn) for asn in mine.announce_only)}
        said |= {(self.asn, NOT, asn) for asn in mine.announce_not}
        if policy.tells_announcer:
            said |= {(self.asn, LEARNT_FROM, mine.asn), (self.asn, ORIGINATED_BY, origin_of(route.path))}
        large = route.large | client.added_large | said
        added = route.extended | client.added_extended
        if added and self.server.daemon in DROPS_NOT_TRANSITIVE:
            added = frozenset(each for each in added if not each >> 56 & NOT_TRANSITIVE)
        otc = mine.asn if policy.roles and mine.role is Role.PEER else route.otc
        stands = Route(route.prefix, route.path, next_hop, standard, added, large, route.med, otc, route.origin)
        if self.server.says:
            stands = stands.with_communities(*(number(each) for slug, each in self.server.says if slug in slugs))
        return Verdict("", stands, 0 if going else LOCAL_PREF, blackhole, kept, self.language.wishes(stands))

    def _said(self, client: Client, route: Route) -> Iterator[str]:
        """What is said of an accepted route, by slug."""
        origin = origin_of(route.path)
        if client.origins is None:
            yield "irrdb_not_checked"
        elif client.tags:
            yield "irrdb_origin_known" if origin in client.origins else "irrdb_origin_unknown"
            yield "irrdb_prefix_known" if self._listed(client, route) or self._object(client, route) else "irrdb_prefix_unknown"
        else:
            yield "irrdb_excepted" if self._excepted(client, route) else "irrdb_valid"
        yield self.validity_said(client, route)
        if client.policy.aspa is not Rpki.OFF:
            yield f"aspa_{self.climbed(route)}"
        if self.policy.transit_free_warns and _transit_free(self, client, route):
            yield "transit_free_behind"

    def validity_said(self, client: Client, route: Route) -> str:
        if client.policy.rpki is Rpki.OFF or self.beyond(client, route):
            return "rpki_not_checked"
        return f"rpki_{self.vrps[route.prefix.family].validity(route.prefix, origin_of(route.path))}"

    def climbed(self, route: Route) -> str:
        """`valid`, `invalid` or `unknown`: whether every network in the path has named the next one as its provider, from the origin on, as it must
        towards a route server (draft-ietf-sidrops-aspa-verification, upstream paths). An AS_SET makes it invalid."""
        if any(not isinstance(each, int) for each in route.path):
            return "invalid"
        found = "valid"
        hops = [asn for asn, _ in groupby(reversed(list(asns_of(route.path))))]
        for customer, provider in pairwise(hops):
            named = self.providers.get(customer)
            if named is None:
                found = "unknown"
            elif provider not in named:
                return "invalid"
        return found

    def blackholed(self, route: Route) -> bool:
        return self.policy.blackhole and BLACKHOLE in route.standard

    def beyond(self, client: Client, route: Route) -> bool:
        """Whether it is longer than ordinary routes may be, and so can only be a blackhole."""
        return self.policy.blackhole and route.prefix.length > client.longest(route)

    def _excepted(self, client: Client, route: Route) -> bool:
        """Whether an exception for this very origin lets it pass without any registration."""
        patterns = client.excepted_origins[route.prefix.family].get(origin_of(route.path))
        return patterns is not None and patterns.allows(route.prefix, down_to=0, host_routes=self.beyond(client, route))

    def _listed(self, client: Client, route: Route) -> bool:
        """Whether it is registered, or excepted, for whatever origin of the client's."""
        family, beyond = route.prefix.family, self.beyond(client, route)
        lengths = self.policy.prefix_lengths
        down = (lengths.v4_max if family == 4 else lengths.v6_max) if client.policy.irr_more_specifics else 0
        if client.patterns[family].allows(route.prefix, down_to=down, host_routes=beyond):
            return True
        return client.excepted[family].allows(route.prefix, down_to=0, host_routes=beyond)

    def _object(self, client: Client, route: Route) -> bool:
        """Whether a route object of this origin allows it."""
        family, origin = route.prefix.family, origin_of(route.path)
        let_off = client.policy.irr_more_specifics and not self.policy.irr_more_specifics
        held = (self.longer if let_off else self.registered)[family]
        return held.validity(route.prefix, origin) == "valid"

    def registered_or_excepted(self, client: Client, route: Route) -> bool:
        """Whether a strict client may announce it, as far as registries go."""
        if self._listed(client, route):
            return True
        family, origin = route.prefix.family, origin_of(route.path)
        if self.beyond(client, route):
            tables = [self.registered[family], self.longer[family]]
            tables += [self.vrps[family]] if self.policy.roas_are_route_objects else []
            return any(each.speaks_for(route.prefix, origin) for each in tables)
        if self._object(client, route):
            return True
        return self.policy.roas_are_route_objects and self.vrps[family].validity(route.prefix, origin) == "valid"

    def _in_bogon_range(self, asn: int) -> bool:
        return any(first <= asn <= last for first, last in self.server.bogon_asns)

    # -- out

    def withheld(self, announcer: str, verdict: Verdict, receiver: str) -> str:
        """Why an accepted route is not for `receiver`, a key of WITHHELD; empty when it is. Whether a better one takes its place is not asked."""
        return "own_route" if announcer == receiver else self.barred(verdict, self.clients[receiver].policy)

    def barred(self, verdict: Verdict, mine: ClientPolicy) -> str:
        """The same for a receiver that is not the announcer."""
        route = verdict.route
        if not speaks(mine, route.prefix.family):
            return "not_its_family"
        if (mine.hear_only is not None and route.path[0] not in mine.hear_only) or route.path[0] in mine.hear_not:
            return "refused_by_receiver"
        if mine.role is Role.PEER and self.policy.roles and route.otc is not None:
            return "for_customers_only"
        if verdict.kept:
            return "kept_here"
        if route.prefix.family == 4 and route.next_hop.version == 6 and not mine.v4_over_v6:
            return "next_hop_of_other_family"
        if verdict.blackhole and not mine.blackhole:
            return "blackhole_not_wanted"
        return verdict.wishes.withheld(mine)

    def manner(self, verdict: Verdict, receiver: str) -> tuple[object, ...]:
        """What `told` depends on besides the verdict: receivers with equal manners are told the same."""
        mine = self.clients[receiver].policy
        own = (mine.blackhole_community, mine.blackhole_community_alone) if verdict.blackhole else ()
        return verdict.wishes.prepends(mine), verdict.wishes.added(mine), mine.prepend_route_server, own

    def to_itself(self, verdict: Verdict, receiver: str) -> bool:
        """Whether the next hop is the receiver's own address. The daemon notices when it has chosen already, and tells nothing instead."""
        return verdict.route.next_hop in (self.clients[receiver].policy.v4, self.clients[receiver].policy.v6)

    def told(self, verdict: Verdict, receiver: str) -> Route:
        """The route as `receiver` hears it. Path, next hop, MED and what is not for us stay as they are (RFC 7947, 2.2)."""
        route, mine = verdict.route, self.clients[receiver].policy
        path: tuple[Segment, ...] = (*route.path[:1] * verdict.wishes.prepends(mine), *route.path)
        if mine.prepend_route_server:
            path = (self.asn, *path)
        standard, extended, large = self.language.without_wishes(route)
        if extended:
            extended = frozenset(each for each in extended if not each >> 56 & NOT_TRANSITIVE)
        standard |= verdict.wishes.added(mine)
        if verdict.blackhole and mine.blackhole_community is not None:
            own = Route(
                route.prefix, path, route.next_hop, standard - ({BLACKHOLE} if mine.blackhole_community_alone else set()), extended, large
            )
            own = own.with_communities(number(mine.blackhole_community))
            standard, extended, large = own.standard, own.extended, own.large
        if self.server.shutting_down:
            standard |= {GRACEFUL_SHUTDOWN}
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


def _leaked(of: Evaluator, client: Client, route: Route) -> bool:
    """OTC on a route of a customer, or of a client of the route server; of a peer, another's (RFC 9234, 5)."""
    if not of.policy.roles or route.otc is None:
        return False
    return client.policy.role is not Role.PEER or route.otc != client.policy.asn


def _next_hop_off_the_lan(of: Evaluator, client: Client, route: Route) -> bool:
    if client.policy.multihop is not None:
        return False
    lan = of.our_lan[route.next_hop.version]
    return lan is None or route.next_hop not in lan or route.next_hop in (of.server.v4, of.server.v6)


def _too_long(of: Evaluator, client: Client, route: Route) -> bool:
    return route.prefix.length > client.longest(route) and not of.blackholed(route)


def _too_many(of: Evaluator, client: Client, route: Route) -> bool:
    most = of.policy.communities_max
    return most is not None and len(route.standard) + len(route.extended) + len(route.large) > most


def _blacklisted(of: Evaluator, client: Client, route: Route) -> bool:
    family = route.prefix.family
    return of.blacklist[family].covers(route.prefix) or client.blacklist[family].covers(route.prefix)


def _as_set(of: Evaluator, client: Client, route: Route) -> bool:
    return not client.policy.as_sets_in_paths and any(not isinstance(each, int) for each in route.path)


def _transit_free(of: Evaluator, client: Client, route: Route) -> bool:
    return bool(of.transit_free) and any(asn in of.transit_free and asn not in client.kin for asn in asns_of(route.path))


def _foreign_origin(of: Evaluator, client: Client, route: Route) -> bool:
    if client.origins is None or client.tags or of._excepted(client, route):
        return False
    return origin_of(route.path) not in client.origins


def _unregistered(of: Evaluator, client: Client, route: Route) -> bool:
    """The registries know neither the prefix by itself nor a route object of this origin that allows it."""
    return client.strict and not of._excepted(client, route) and not of.registered_or_excepted(client, route)


def _rpki_invalid(of: Evaluator, client: Client, route: Route) -> bool:
    if client.policy.rpki is not Rpki.REJECT:
        return False
    vrps, origin = of.vrps[route.prefix.family], origin_of(route.path)
    if vrps.validity(route.prefix, origin) != "invalid":
        return False
    return not (of.beyond(client, route) and vrps.speaks_for(route.prefix, origin))


TESTS: Mapping[str, Test] = {
    "otc_leak": _leaked,
    "starting": lambda of, client, route: False,  # what is proved is how a route server decides once it has started
    "default_route": lambda of, client, route: route.prefix.length == 0,
    "not_global_unicast": lambda of, client, route: route.prefix.family == 6 and not route.prefix.inside(GLOBAL_UNICAST),
    "exchange_lan": lambda of, client, route: of.lans[route.prefix.family].covers(route.prefix),
    "bogon": lambda of, client, route: of.bogons[route.prefix.family].covers(route.prefix),
    "blacklisted": _blacklisted,
    "prefix_len_too_long": _too_long,
    "prefix_len_too_short": lambda of, client, route: route.prefix.length < client.lengths[route.prefix.family][0],
    "too_many_communities": _too_many,
    "as_path_too_short": lambda of, client, route: not route.path,
    "as_path_too_long": lambda of, client, route: len(route.path) > of.policy.path_length_max,
    "own_asn_in_path": lambda of, client, route: of.asn in asns_of(route.path),
    "as_set_in_path": _as_set,
    "bogon_asn": lambda of, client, route: any(map(of._bogon_asn, asns_of(route.path))),
    "transit_free_asn": lambda of, client, route: not of.policy.transit_free_warns and _transit_free(of, client, route),
    "never_via_route_server": lambda of, client, route: not of.never.isdisjoint(asns_of(route.path)),
    "first_as_not_peer_as": lambda of, client, route: route.path[:1] != (client.policy.asn,),
    "next_hop_not_peer_ip": lambda of, client, route: route.next_hop not in client.hops[route.prefix.family],
    "irrdb_origin_as_filtered": _foreign_origin,
    "irrdb_prefix_filtered": lambda of, client, route: not of.beyond(client, route) and _unregistered(of, client, route),
    "blackhole_not_covered": lambda of, client, route: of.beyond(client, route) and _unregistered(of, client, route),
    # A policy in values has its VRPs; whether a cache has given them yet is not a route's doing.
    "rpki_no_data": lambda of, client, route: False,
    "rpki_invalid": _rpki_invalid,
    "aspa_invalid": lambda of, client, route: client.policy.aspa is Rpki.REJECT and of.climbed(route) == "invalid",
}
"""slug → whether a route breaks that rule, whatever else it breaks. The order is `compile.ORDER`'s."""

FOUND_FIRST: Mapping[str, tuple[tuple[str, Test], ...]] = {
    "bird": (("otc_leak", _leaked), ("next_hop_not_peer_ip", _next_hop_off_the_lan)),
    "openbgpd": (("as_set_in_path", _as_set), ("otc_leak", _leaked)),
}
"""what a daemon finds by itself, before any rule of ours is asked"""
