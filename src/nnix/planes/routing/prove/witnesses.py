"""Witnesses: routes that show whether a configuration means what the policy says.

A witness breaks one rule and no other, starting from its twin: a route of the same client for the same prefix that every rule lets pass. If the
rule is lost, the witness is accepted, and no other rule hides that. Each rule is witnessed on both sides of its edge: the bogon itself, inside
of it and beside it; a path exactly as long as allowed and one longer; the lowest and highest ASN of each range and their neighbours.

Rules that all clients share are witnessed once in each address family, spread over the clients; what a client's own text holds (its as-set, its
addresses, its ASN, its session) is witnessed from, and towards, every client. Wishes name clients by halves: of eight routes the n-th names those
whose number has bit n, so that no two of 200 receivers are told the same, and one that is mistaken for another is noticed.

What cannot be witnessed, since the registries authorise nobody for a route that would show it, is told (`Plan.silent`) and not passed over.

A plan is a series of rounds. A prefix can show one thing at a time, so a client with few registered prefixes needs more rounds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from itertools import count, islice, pairwise
from typing import TypeVar

from nnix.planes.routing.communities import BLACKHOLE, CONTROLS, GRACEFUL_SHUTDOWN, NO_ADVERTISE, NO_EXPORT, NO_EXPORT_SUBCONFED
from nnix.planes.routing.kinds import Role, Rpki
from nnix.planes.routing.naming import Family
from nnix.planes.routing.prove.evaluate import Client, Evaluator, number_of, origin_of
from nnix.planes.routing.prove.route import Community, Prefix, Route, Segment, community_text, extended

SLOTS_MAX = 6  # prefixes of one client that are used at a time
TWINS_MAX = 240  # of all clients together, in each address family: each twin is told to everybody
LISTED_MAX = 64  # of a list of ASNs or prefixes, so many are witnessed one by one
STRANGER = 19  # an ASN of the US Navy's, which is no client of anybody's here; the next free one is taken where it is

Side = tuple[str, Family]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Witness:
    """A route that `session` announces, and in words what it is there to show."""

    session: str
    route: Route
    says: str


@dataclass(frozen=True)
class Plan:
    """Rounds of witnesses; what one round does not replace stays announced. `silent` is what cannot be witnessed, in words. `several` are paths of one
    client to one prefix each (RFC 7911), the best first."""

    rounds: tuple[tuple[Witness, ...], ...]
    silent: tuple[str, ...]
    several: tuple[tuple[Witness, ...], ...] = ()

    def __len__(self) -> int:
        return sum(map(len, (*self.rounds, *self.several)))


def families(evaluator: Evaluator) -> tuple[Family, ...]:
    """Those that the route server speaks."""
    spoken: tuple[tuple[Family, object], ...] = ((4, evaluator.server.v4), (6, evaluator.server.v6))
    return tuple(family for family, address in spoken if address is not None)


def sides(evaluator: Evaluator) -> tuple[Side, ...]:
    """Every session in every address family that both ends speak."""
    return tuple((name, family) for family in families(evaluator) for name, client in evaluator.clients.items() if client.speaks(family))


Make = Callable[["Slot"], Route | None]


@dataclass(frozen=True, slots=True)
class Slot:
    """A prefix that a client may announce, as its twin does."""

    session: str
    twin: Route

    @property
    def asn(self) -> int:
        first = self.twin.path[0]
        return first if isinstance(first, int) else 0

    def by(self, *path: Segment) -> Route:
        """The twin with another path."""
        return replace(self.twin, path=path)

    def behind(self, *segments: Segment) -> Route:
        """The twin with something put between its first AS and its origin, which stay."""
        return replace(self.twin, path=(self.asn, *segments, origin_of(self.twin.path)))


def plan(evaluator: Evaluator, absent: Container[str] = ()) -> Plan:
    """The witnesses of one route server's policy, none of them from `absent` sessions. Pure, and the same for the same policy."""
    return _Planning(evaluator, absent).plan()


class _Planning:
    def __init__(self, evaluator: Evaluator, absent: Container[str]) -> None:
        self.of = evaluator
        self.families: tuple[Family, ...] = families(evaluator)
        self.sides = tuple(side for side in sides(evaluator) if side[0] not in absent)
        self.slots_max = max(1, min(SLOTS_MAX, TWINS_MAX // max(1, len(evaluator.clients))))
        self.stranger = next(asn for asn in count(STRANGER) if self._nobody(asn))
        self.first: list[Witness] = []
        self.queues: dict[Side, list[tuple[str, Make]]] = defaultdict(list)
        self.slots: dict[Side, list[Slot]] = {}
        self.silent: list[str] = []
        self.held: dict[tuple[int, int], list[Prefix]] = defaultdict(list)  # (family, origin) → registered prefixes
        self._turn: dict[Family, int] = defaultdict(int)
        self._free = {family: _free(family, self._lengths(family)[1]) for family in self.families}

    def _nobody(self, asn: int) -> bool:
        """Whether `asn` is in no client's as-sets and in none of the lists."""
        of = self.of
        return (
            not of._bogon_asn(asn)
            and asn not in of.never
            and asn not in of.transit_free
            and all(asn != each.policy.asn and (each.origins is None or asn not in each.origins) for each in of.clients.values())
        )

    def plan(self) -> Plan:
        self._find_slots()
        for each in self.of.server.snippets:
            self.silent.append(f"local-snippet/{each.name}: the evaluator cannot read it; shown is that witnesses fare as without it")
        for family in self.families:
            here = [side for side in self.sides if side[1] == family]
            if not here:
                continue
            for number, side in enumerate(here):
                self._personal(side, here[(number + 1) % len(here)])
            self._prefixes(family)
            self._paths(family)
            self._communities(family)
            self._blackholes(family)
            self._origins(family)
        later = self._rounds()
        for family in self.families:
            later += self._contests(family)
        several = tuple(self._several(side, slots[-1]) for side, slots in self.slots.items() if slots and self._sends_several(side))
        return Plan((tuple(self.first), *(tuple(each) for each in later if each)), tuple(dict.fromkeys(self.silent)), several)

    # -- prefixes that clients may announce

    def _find_slots(self) -> None:
        server = self.of.server
        for family, tables in (
            (4, (server.registered_v4, server.registered_longer_v4)),
            (6, (server.registered_v6, server.registered_longer_v6)),
        ):
            for text, _, origin in (roa for table in tables for roa in table.roas):
                self.held[family, origin].append(number_of(text))
        taken: set[Prefix] = set()
        possible = {side: self._authorised(self.of.clients[side[0]], side[1]) for side in self.sides}
        self.slots = {side: [] for side in self.sides}
        invalid: set[Side] = set()
        for _ in range(self.slots_max):  # in turn, so that sessions of one member share what it has registered
            for side in self.sides:
                slot = self._slot(side, possible[side], taken, invalid)
                if slot is not None:
                    self.slots[side].append(slot)
                    self.first.append(Witness(side[0], slot.twin, "an all-authorised route"))
        for side in self.sides:
            if side not in invalid:
                self._slot(side, islice(possible[side], LISTED_MAX), set(taken), invalid)
        for (session, family), slots in self.slots.items():
            if not slots:
                self.silent.append(
                    f"session/{session} IPv{family}: nothing that it announces would be accepted, so only refusals are shown"
                )

    def _slot(self, side: Side, possible: Iterator[tuple[Prefix, int]], taken: set[Prefix], invalid: set[Side]) -> Slot | None:
        """The next prefix that the client may announce. On the way, one that only the RPKI forbids is a witness itself."""
        session, _ = side
        for prefix, origin in possible:
            if prefix in taken:
                continue
            twin = self._plain(self.of.clients[session], prefix, origin)
            reason = self.of.imported(session, twin).reason
            if not reason:
                taken.add(prefix)
                return Slot(session, twin)
            if reason == "rpki_invalid" and side not in invalid:
                taken.add(prefix)
                invalid.add(side)
                self.first.append(Witness(session, twin, "rpki_invalid: authorised by the registries, invalid by the RPKI"))
        return None

    def _authorised(self, client: Client, family: Family) -> Iterator[tuple[Prefix, int]]:
        """(prefix, origin) that the registries may let `client` announce: its own first, then of its customers; and a few that they let nobody."""
        asn = client.policy.asn
        if client.strict:
            origins = sorted(client.origins or (), key=lambda each: (each != asn, each))
            for origin in origins:
                yield from ((prefix, origin) for prefix in self.held.get((family, origin), ()))
            patterns = client.policy.prefixes_v4 if family == 4 else client.policy.prefixes_v6
            for text in patterns:
                yield number_of(text.partition("{")[0]), asn
        else:
            others = [each for each in client.origins or () if each != asn and not self.of._bogon_asn(each)][:1]
            for origin in (asn, asn, *others, *others):
                yield self.free(family), origin

    def free(self, family: Family) -> Prefix:
        """A prefix that nobody else has here: public, of an allowed length, and covered by no ROA."""
        return next(
            prefix
            for prefix in self._free[family]
            if not any(each[family].covers(prefix) for each in (self.of.bogons, self.of.lans, self.of.blacklist))
            and self.of.vrps[family].validity(prefix, self.stranger) == "unknown"
        )

    def _plain(self, client: Client, prefix: Prefix, origin: int | None = None) -> Route:
        asn = client.policy.asn
        path: tuple[Segment, ...] = (asn,) if origin is None or origin == asn else (asn, origin)
        return Route(prefix, path, self._hop(client, prefix.family))

    def _lengths(self, family: Family) -> tuple[int, int]:
        """What the policy accepts; a client may have lengths of its own."""
        lengths = self.of.policy.prefix_lengths
        return (lengths.v4_min, lengths.v4_max) if family == 4 else (lengths.v6_min, lengths.v6_max)

    def _hop(self, client: Client, family: Family) -> IPv4Address | IPv6Address:
        address = client.policy.v4 if family == 4 and not client.policy.v4_over_v6 else client.policy.v6
        if address is None:
            raise ValueError(f"{client.policy.session} does not speak IPv{family}")
        return address

    # -- who bears a witness

    def _next(self, family: Family) -> Side:
        """Clients in turn, so that a rule's witnesses come from many."""
        here = [side for side in self.sides if side[1] == family]
        self._turn[family] += 1
        return here[self._turn[family] % len(here)]

    def _shared(self, family: Family, says: str, make: Make) -> None:
        """A witness that any client may bear: the one with prefixes of its own and the least to do."""
        able = [side for side in self.sides if side[1] == family and self.slots[side]]
        if able:
            side = min(able, key=lambda each: len(self.queues[each]) / len(self.slots[each]))
            self.queues[side].append((says, make))
            return
        session, _ = self._next(family)  # nobody has a prefix that would be accepted: the verdict's name alone shows it
        made = make(Slot(session, self._plain(self.of.clients[session], self.free(family))))
        if made is not None:
            self.first.append(Witness(session, made, says))

    def _of(self, side: Side, says: str, make: Make) -> None:
        """A witness of one client."""
        if self.slots[side]:
            self.queues[side].append((says, make))
            return
        session, family = side
        made = make(Slot(session, self._plain(self.of.clients[session], self.free(family))))
        if made is not None:
            self.first.append(Witness(session, made, says))

    def _rounds(self) -> list[list[Witness]]:
        rounds: list[list[Witness]] = []
        for side, queue in self.queues.items():
            slots = self.slots[side]
            for number, (says, make) in enumerate(queue):
                made = make(slots[number % len(slots)])
                if made is None:
                    continue
                at = number // len(slots)
                while len(rounds) <= at:
                    rounds.append([])
                rounds[at].append(Witness(side[0], made, says))
        return rounds

    # -- what each client's own text holds

    def _personal(self, side: Side, other: Side) -> None:
        session, family = side
        client = self.of.clients[session]
        plain = self._plain(client, self.free(family))
        if client.origins is not None:
            self._of(side, "irrdb_origin_as_filtered: the origin is in none of its as-sets", lambda slot: slot.by(slot.asn, self.stranger))
        if client.strict:
            self.first.append(Witness(session, plain, "irrdb_prefix_filtered: no route object"))
            wide = next((slot for slot in self.slots[side] if slot.twin.prefix.length < client.lengths[family][1]), None)
            if wide is not None:
                inner = replace(wide.twin, prefix=Prefix(family, wide.twin.prefix.address, wide.twin.prefix.length + 1))
                self.first.append(Witness(session, inner, "irrdb_prefix_filtered: a more specific of what is registered"))
        neighbour = self._hop(self.of.clients[other[0]], family)
        if neighbour not in client.hops[family]:
            self._of(side, f"next_hop_not_peer_ip: that of session/{other[0]}", lambda slot: replace(slot.twin, next_hop=neighbour))
        for hop in sorted(client.hops[family] - {self._hop(client, family)}, key=int)[:3]:
            self._of(side, "the next hop of another router of the same member", lambda slot, hop=hop: replace(slot.twin, next_hop=hop))  # type: ignore[misc]
        self._of(side, "first_as_not_peer_as", lambda slot: slot.by(self.stranger, slot.asn, origin_of(slot.twin.path)))
        self._of(side, "as_path_too_short: an empty path", lambda slot: slot.by())
        self._of(side, "GRACEFUL_SHUTDOWN", lambda slot: slot.twin.with_communities(GRACEFUL_SHUTDOWN))
        if client.policy.role is Role.PEER and self.of.policy.roles:
            self._of(side, "otc_leak: a peer calls it another's", lambda slot: replace(slot.twin, otc=self.stranger))
            self._of(side, "a peer's own OTC", lambda slot: replace(slot.twin, otc=slot.asn))
        if client.policy.as_sets_in_paths:
            self._of(side, "an AS_SET, by an exception", lambda slot: slot.behind(frozenset({self.stranger})))
        low, high = client.lengths[family]
        for length, words in (
            (low - 1, "prefix_len_too_short: one shorter than the shortest"),
            (low, "prefix_len_too_short: the shortest allowed"),
            (high, "prefix_len_too_long: the longest allowed"),
            (high + 1, "prefix_len_too_long: one longer than the longest"),
        ):
            if 0 < length <= plain.prefix.bits:
                self.first.append(Witness(session, replace(plain, prefix=_cut(family, self.free(family).address, length)), words))
        for kin in sorted(client.kin & self.of.transit_free):
            self._of(side, f"transit_free_asn: AS{kin} is of one house with it", lambda slot, kin=kin: slot.behind(kin))  # type: ignore[misc]
        self._exceptions(side)
        self._ascent(side)

    def _exceptions(self, side: Side) -> None:
        """Prefixes that an exception lets pass: themselves, and what just does not fit."""
        session, family = side
        client = self.of.clients[session]
        for each in client.policy.accepted_v4 if family == 4 else client.policy.accepted_v6:
            prefix = number_of(each.prefix)
            for length in sorted({each.shortest, each.longest, each.longest + 1}):
                if length <= prefix.bits:
                    route = self._plain(client, Prefix(family, prefix.address, length), each.origin)
                    self.first.append(Witness(session, route, f"an exception for {each.prefix}, length {length}"))
                    wrong = replace(route, path=(client.policy.asn, self.stranger))
                    self.first.append(Witness(session, wrong, f"an exception for {each.prefix}, another origin"))

    def _ascent(self, side: Side) -> None:
        """Paths whose origin has named its providers: over one of them, and over a stranger (ASPA)."""
        client = self.of.clients[side[0]]
        if client.policy.aspa is Rpki.OFF:
            return
        self._of(side, "ASPA: over a network that its origin has not named", lambda slot: slot.behind(self.stranger))
        for slot in self.slots[side][:1]:
            for provider in sorted(self.of.providers.get(origin_of(slot.twin.path), ()))[:1]:
                self._of(side, "ASPA: over a provider of its origin", lambda slot, provider=provider: slot.behind(provider))  # type: ignore[misc]

    # -- prefixes

    def _prefixes(self, family: Family) -> None:
        of = self.of
        bits = 32 if family == 4 else 128
        low, _ = self._lengths(family)
        shown: dict[Prefix, str] = {Prefix(family, 0, 0): "default_route"}
        own = [each for name, f in self.sides if f == family for each in of.clients[name].blacklist[family]]
        for what, listed in (
            ("exchange_lan", of.lans[family]),
            ("bogon", of.bogons[family]),
            ("blacklisted", (*of.blacklist[family], *own)),
        ):
            for each in _some(listed):
                for words, prefix in _edges(each):
                    shown.setdefault(prefix, f"{what} {each}, {words}")
        if family == 6:
            for address, length, words in (
                (0x2000 << 112, low, "the first prefix inside of 2000::/3"),
                (0x3FFF_FFFF << 96, 32, "the last inside of 2000::/3"),
                (0x1FFF_FFFF << 96, 32, "just before 2000::/3"),
                (0x4000 << 112, 32, "just behind 2000::/3"),
                (0xFC00 << 112, 32, "a unique local prefix"),
            ):
                shown.setdefault(Prefix(family, address, length), f"not_global_unicast: {words}")
        shown.setdefault(_cut(family, self.free(family).address, bits), "prefix_len_too_long: a host route")
        for prefix, words in shown.items():
            session, _ = self._next(family)
            self.first.append(Witness(session, self._plain(of.clients[session], prefix), words))

    # -- paths

    def _paths(self, family: Family) -> None:
        of = self.of
        longest = of.policy.path_length_max
        self._shared(family, "as_path_too_long: exactly as long as allowed", lambda slot: _stretched(slot, longest))
        self._shared(family, "as_path_too_long: one longer", lambda slot: _stretched(slot, longest + 1))
        self._shared(family, "own_asn_in_path", lambda slot: slot.behind(of.asn))
        self._shared(family, "as_set_in_path: between", lambda slot: slot.behind(frozenset({self.stranger, self.stranger + 1})))
        self._shared(family, "as_set_in_path: of one", lambda slot: slot.behind(frozenset({self.stranger})))
        self._shared(family, "as_set_in_path: last", lambda slot: slot.by(slot.asn, frozenset({origin_of(slot.twin.path)})))
        self._shared(family, "as_set_in_path: first", lambda slot: slot.by(frozenset({slot.asn}), origin_of(slot.twin.path)))
        edges: dict[int, str] = {}
        for first, last in of.server.bogon_asns:
            words = f"bogon_asn {first}-{last}"
            for asn, which in ((first, "the lowest"), (last, "the highest"), (first - 1, "one below"), (last + 1, "one above")):
                if 0 <= asn < 1 << 32:
                    edges.setdefault(asn, f"{words}, {which}: AS{asn}")
        for asn, words in edges.items():
            self._shared(family, words, lambda slot, asn=asn: slot.behind(asn))  # type: ignore[misc]
        for what, listed in (("transit_free_asn", of.transit_free), ("never_via_route_server", of.never)):
            for asn in _some(sorted(listed)):
                self._shared(family, f"{what}: AS{asn} behind the client", lambda slot, asn=asn: slot.behind(asn))  # type: ignore[misc]
        for side in (side for side in self.sides if side[1] == family and self.of.clients[side[0]].policy.asn in of.transit_free):
            self._of(side, "transit_free_asn: it announces its own", lambda slot: slot.twin)
        lan = of.our_lan[family]
        if lan is not None:
            beside = IPv4Address(int(lan.network_address) - 1) if family == 4 else IPv6Address(int(lan.network_address) - 1)
            self._shared(family, "next_hop_not_peer_ip: not on the LAN", lambda slot: replace(slot.twin, next_hop=beside))
        self._shared(family, "otc_leak: meant for customers only", lambda slot: replace(slot.twin, otc=self.stranger))

    # -- communities

    def _communities(self, family: Family) -> None:
        rs = self.of.asn
        foreign: tuple[Community, ...] = (
            (self.stranger, 1), (self.stranger, 0, 7), (self.stranger, rs, rs),
            extended("rt", self.stranger, 9), extended("ro", self.stranger, 9), 0x4300_0000_0000_0000,
        )  # fmt: skip
        self._shared(family, "transparent: what is not for us stays", lambda slot: replace(slot.twin.with_communities(*foreign), med=77))
        for each in (NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED):
            self._shared(family, f"well-known: {each[0]}:{each[1]}", lambda slot, each=each: slot.twin.with_communities(each))  # type: ignore[misc]
        for word in sorted(self.of.language.ours, key=str):
            self._shared(family, f"scrubbed: {community_text(word)}", lambda slot, word=word: slot.twin.with_communities(word))  # type: ignore[misc]
        most = self.of.policy.communities_max
        for number in () if most is None else (most, most + 1):
            many = [(self.stranger, value) for value in range(number)]
            self._shared(family, f"too_many_communities: {number}", lambda slot, many=many: slot.twin.with_communities(*many))  # type: ignore[misc]
        self._shared(family, "transparent: the origin attribute stays", lambda slot: replace(slot.twin, origin=2))
        stead: list[Community] = [(rs, function, value) for function in (1000, 1001, 1101) for value in (1, 2, 3, 13)]
        self._shared(family, "what only the route server may say", lambda slot: slot.twin.with_communities(*stead))
        for function in (2, 100, 104, 4294967295):
            self._shared(
                family,
                f"scrubbed: {rs}:{function}:1",
                lambda slot, function=function: slot.twin.with_communities((rs, function, 1)),  # type: ignore[misc]
            )
        self._wishes(family)

    def _wishes(self, family: Family) -> None:
        language, clients = self.of.language, self.of.clients
        asns = list(dict.fromkeys(client.policy.asn for client in clients.values() if client.speaks(family)))
        halves = [[asn for number, asn in enumerate(asns, 1) if number >> bit & 1] for bit in range(len(asns).bit_length())]
        about_all = [each.slug for each in CONTROLS if each.large.endswith(":0")]
        for slug in about_all:
            for wish in language.spelled(slug):
                self._shared(family, f"{slug}, {_form(wish)}", lambda slot, wish=wish: slot.twin.with_communities(wish))  # type: ignore[misc]
        for control in CONTROLS:
            if control.slug in about_all:
                continue
            base = [next(w for w in language.spelled("to-none") if _form(w) == "large")] if control.slug.startswith("to") else []
            if not control.large.endswith(":PEER"):
                for value in self.of.server.groups if control.large.endswith(":GROUP") else self.of.server.thresholds:
                    for wish in language.spelled(control.slug, value):
                        words = f"{control.slug} {value}, {_form(wish)}"
                        self._shared(family, words, lambda slot, said=(*base, wish): slot.twin.with_communities(*said))  # type: ignore[misc]
                continue
            forms = sorted({_form(wish) for asn in asns for wish in language.spelled(control.slug, asn)})
            for form in forms:
                # In the large form every receiver is told apart from every other; otherwise half of them are named.
                told_apart = form == "large" and control.slug in ("not-to", "prepend-2-to")
                for number, half in enumerate(halves if told_apart else halves[-1:]):
                    said = [*base, *(w for asn in half for w in language.spelled(control.slug, asn) if _form(w) == form)]
                    for part in _parts(said, keep=len(base)):
                        words = f"{control.slug}, {form}, group {number + 1}"
                        self._shared(family, words, lambda slot, part=part: slot.twin.with_communities(*part))  # type: ignore[misc]
        if len(asns) > 1:
            deny, allow = (next(w for w in language.spelled(slug, asns[0]) if _form(w) == "large") for slug in ("not-to", "to"))
            self._shared(family, "not-to beats to", lambda slot: slot.twin.with_communities(deny, allow))
            longest = next(w for w in language.spelled("prepend-3-all") if _form(w) == "large")
            closer = next(w for w in language.spelled("prepend-1-to", asns[0]) if _form(w) == "large")
            self._shared(family, "a prepend to one beats a prepend to all", lambda slot: slot.twin.with_communities(longest, closer))

    # -- blackholes and origins

    def _blackholes(self, family: Family) -> None:
        bits = 32 if family == 4 else 128
        for length in sorted({bits, self._lengths(family)[1] + 1}):
            if length <= bits:
                self._shared(
                    family,
                    f"a blackhole of length {length}",
                    lambda slot, length=length: (
                        replace(  # type: ignore[misc]
                            slot.twin, prefix=_cut(family, slot.twin.prefix.address | 1 << bits - length, length)
                        ).with_communities(BLACKHOLE)
                        if length > slot.twin.prefix.length
                        else None
                    ),
                )
                self._shared(
                    family,
                    f"no blackhole, but of length {length}",
                    lambda slot, length=length: (
                        replace(slot.twin, prefix=_cut(family, slot.twin.prefix.address | 1 << bits - length, length))  # type: ignore[misc]
                        if length > slot.twin.prefix.length
                        else None
                    ),
                )
        for word in (BLACKHOLE, *sorted(self.of.language.blackholes, key=str)):
            words = f"a blackhole of an ordinary length, {community_text(word)}"
            self._shared(family, words, lambda slot, word=word: slot.twin.with_communities(word))  # type: ignore[misc]
        session, _ = self._next(family)
        nowhere = _cut(family, self.free(family).address | 7, bits)
        self.first.append(
            Witness(
                session,
                self._plain(self.of.clients[session], nowhere).with_communities(BLACKHOLE),
                "blackhole_not_covered: no prefix of its own is around it",
            )
        )

    def _origins(self, family: Family) -> None:
        """Origin validation, where the registries authorise a route that the RPKI speaks of."""
        shown = {each.says.partition(":")[0] for each in self.first if each.route.prefix.family == family}
        if (
            any(each.policy.rpki is Rpki.REJECT for each in self.of.clients.values())
            and "rpki_invalid" not in shown
            and not self._foreign_origin(family)
        ):
            self.silent.append(f"IPv{family}: no route that the registries authorise is RPKI-invalid, so the refusal of one is not shown")
        invalid = next((w for w in self.first if w.route.prefix.family == family and w.says.startswith("rpki_invalid")), None)
        if invalid is not None and self.of.policy.blackhole:
            host = _cut(family, invalid.route.prefix.address | 5, 32 if family == 4 else 128)
            route = replace(invalid.route, prefix=host).with_communities(BLACKHOLE)
            self.first.append(Witness(invalid.session, route, "rpki_invalid: a blackhole inside of another's ROA"))

    def _foreign_origin(self, family: Family) -> bool:
        """Where no registry stands in the way, somebody else's ROA makes a route invalid."""
        table = self.of.server.vrps_v4 if family == 4 else self.of.server.vrps_v6
        for side in (side for side in self.sides if side[1] == family):
            client = self.of.clients[side[0]]
            if client.strict:
                continue
            for text, _, _ in table.roas[:LISTED_MAX]:
                route = self._plain(client, number_of(text))
                if self.of.broken(side[0], route) == ("rpki_invalid",):
                    self.first.append(Witness(side[0], route, "rpki_invalid: another's ROA"))
                    return True
        return False

    # -- which of two routes is told

    def _contests(self, family: Family) -> list[list[Witness]]:
        """Two clients announce one prefix: the better route is told, and the other one to whom the better one is not for (RFC 7947, 2.3.1)."""
        for one, other, prefix, origin in self._rivals(family):
            best = self._plain(self.of.clients[one], prefix, origin)
            second = self._plain(self.of.clients[other], prefix, origin)
            if not (self.of.imported(one, best).accepted and self.of.imported(other, second).accepted):
                continue
            longer = replace(second, path=(*second.path[:1] * 2, *second.path))
            rivals = [name for name, f in self.sides if f == family and name not in (one, other)]
            hiding = best
            if rivals:
                about = self.of.clients[rivals[0]].policy.asn
                hiding = best.with_communities(next(w for w in self.of.language.spelled("not-to", about) if _form(w) == "large"))
            return [
                [
                    Witness(one, hiding, "path hiding: the best route is not for everybody"),
                    Witness(other, longer, "path hiding: a second best route"),
                ],
                [Witness(one, best.with_communities(GRACEFUL_SHUTDOWN), "GRACEFUL_SHUTDOWN yields to a longer path")],
            ]
        self.silent.append(f"IPv{family}: no two clients may announce one prefix, so path hiding is not shown")
        return []

    def _sends_several(self, side: Side) -> bool:
        return self.of.clients[side[0]].policy.add_paths.receives

    def _several(self, side: Side, slot: Slot) -> tuple[Witness, ...]:
        """Four ways to one prefix: the twin, one longer than it, one still longer and not for everybody, and one that is refused."""
        session, family = side
        others = [self.of.clients[name].policy.asn for name, f in self.sides if f == family and name != session]
        hidden = replace(slot.twin, path=(*slot.twin.path[:1] * 2, *slot.twin.path))
        if others:
            hidden = hidden.with_communities(next(w for w in self.of.language.spelled("not-to", others[-1]) if _form(w) == "large"))
        return (
            Witness(session, slot.twin, "several paths: the best"),
            Witness(session, replace(slot.twin, path=(*slot.twin.path[:1], *slot.twin.path)), "several paths: the second best"),
            Witness(session, hidden, "several paths: the third, not for everybody"),
            Witness(session, slot.by(self.stranger, *slot.twin.path), "several paths: one that is refused"),
        )

    def _rivals(self, family: Family) -> Iterator[tuple[str, str, Prefix, int]]:
        """(session, session, prefix, origin): two clients who may both speak for an origin that has registered the prefix, or who need no registry."""
        here = [name for name, f in self.sides if f == family]
        speaking: dict[int, list[str]] = defaultdict(list)
        for name in here:
            for origin in self.of.clients[name].origins or ():
                speaking[origin].append(name)
        for origin, names in sorted(speaking.items()):
            for prefix in self.held.get((family, origin), ())[:SLOTS_MAX] if len(names) > 1 else ():
                yield names[0], names[1], prefix, origin
        loose = [name for name in here if not self.of.clients[name].strict]
        for one, other in pairwise(loose):
            common = self.of.clients[one].origins
            for origin in (self.stranger, *sorted((common or frozenset()) & (self.of.clients[other].origins or frozenset()))[:SLOTS_MAX]):
                yield one, other, self.free(family), origin


def _stretched(slot: Slot, length: int) -> Route:
    return slot.by(*[slot.asn] * (length - 1), origin_of(slot.twin.path))


def _some(listed: Iterable[T]) -> list[T]:
    """All of a list; of a long one some, evenly taken, with the first and the last."""
    every = list(listed)
    if len(every) <= LISTED_MAX:
        return every
    return [every[number * (len(every) - 1) // (LISTED_MAX - 1)] for number in range(LISTED_MAX)]


def _cut(family: Family, address: int, length: int) -> Prefix:
    bits = 32 if family == 4 else 128
    return Prefix(family, address >> (bits - length) << (bits - length), length)


def _edges(prefix: Prefix) -> Iterator[tuple[str, Prefix]]:
    """Itself, the first and the last inside of it, its neighbours, and what is around it."""
    bits, length = prefix.bits, prefix.length
    yield "itself", prefix
    if length < bits:
        yield "its first half", Prefix(prefix.family, prefix.address, length + 1)
        yield "its last half", Prefix(prefix.family, prefix.address | 1 << (bits - length - 1), length + 1)
    for step, words in ((-1, "the one before"), (1, "the one behind")):
        address = prefix.address + step * (1 << (bits - length))
        if 0 <= address < 1 << bits:
            yield words, Prefix(prefix.family, address, length)
    if length > 1:
        yield "what is around it", _cut(prefix.family, prefix.address, length - 1)


def _free(family: Family, longest: int) -> Iterator[Prefix]:
    """Public prefixes, one after another, of at most `longest` bits."""
    if family == 4:
        length = min(24, longest)
        yield from (Prefix(4, number << 32 - length, length) for number in range(5 << length - 8, 223 << length - 8))
    else:
        length = min(48, longest)
        yield from (Prefix(6, 0x2A10 << 112 | number << 128 - length, length) for number in range(1 << length - 16))


def _form(community: Community) -> str:
    if isinstance(community, int):
        return "rt" if community >> 48 == 2 else "ro"
    return "standard" if len(community) == 2 else "large"


def _parts(communities: list[Community], keep: int) -> Iterator[list[Community]]:
    """Parts that a message has room for; the first `keep` stand in each."""
    room = 250
    for at in range(keep, max(len(communities), keep + 1), room):
        yield [*communities[:keep], *communities[at : at + room]]
