"""Admission to the trust plane: whom the exchange believes, and what it decides against them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nnix.kernel.approval import named_once
from nnix.kernel.rule import Broken, rule
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import LanPurpose
from nnix.planes.members.kinds import Site
from nnix.planes.naming.kinds import NameGate, NameNode, Resolver
from nnix.planes.routing.kinds import RouteServer, Session
from nnix.planes.trust.kinds import TAKEN_PORTS, About, Action, LocalException, Mirror, RelyingParty, Repository, RtrCache, TrustAnchor
from nnix.planes.trust.mirror.checkpoint import Malformed, key

APPROVERS_MIN = 2
RESERVED = frozenset({"anchors", "ta", "tals"})
CLOCKS = {"refresh": (1, 86_400), "retry": (1, 7_200), "expire": (600, 172_800)}  # seconds (RFC 8210, 6)

# (action, about) → fields that must be there, fields that may be there; where the first are none, at least one of the second
FIELDS: dict[tuple[Action, About], tuple[frozenset[str], frozenset[str]]] = {
    (Action.FILTER, About.PREFIX): (frozenset(), frozenset({"prefix", "asn"})),
    (Action.FILTER, About.ROUTER_KEY): (frozenset(), frozenset({"asn", "key_id"})),
    (Action.FILTER, About.ASPA): (frozenset({"asn"}), frozenset()),
    (Action.ASSERT, About.PREFIX): (frozenset({"prefix", "asn"}), frozenset({"length_max"})),
    (Action.ASSERT, About.ROUTER_KEY): (frozenset({"asn", "key_id", "public_key"}), frozenset()),
    (Action.ASSERT, About.ASPA): (frozenset({"asn", "providers"}), frozenset()),
}
ALL_FIELDS = ("prefix", "length_max", "asn", "providers", "key_id", "public_key")


@rule("trust.exception-says-what", source="RFC 8416, 3.3 and 3.4")
def exception_says_what(exception: LocalException, snapshot: Snapshot) -> Iterator[Broken]:
    """A local exception has the fields of what it does, and no other."""
    needed, allowed = FIELDS[exception.action, exception.about]
    what = f"{exception.action} {exception.about}"
    given = {field for field in ALL_FIELDS if getattr(exception, field) not in (None, ())}
    for field in sorted(needed - given):
        yield Broken(field, "unset", f"a value, since it shall {what}")
    for field in sorted(given - needed - allowed):
        yield Broken(field, getattr(exception, field), f"nothing, since it shall {what}")
    if not needed and not given & allowed:
        yield Broken(sorted(allowed)[0], "unset", f"at least one of {', '.join(sorted(allowed))}; else it would {what} everything")


@rule("trust.exception-length", source="RFC 8416, 3.4.1")
def exception_length(exception: LocalException, snapshot: Snapshot) -> Iterator[Broken]:
    """A maximum length is at least that of the prefix, and at most that of its family."""
    if exception.prefix is not None and exception.length_max is not None:
        least, most = exception.prefix.prefixlen, exception.prefix.max_prefixlen
        if not least <= exception.length_max <= most:
            yield Broken("length_max", exception.length_max, f"{least} to {most}")


@rule("trust.exception-two-approvers", source="docs/trust.md")
def exception_two_approvers(exception: LocalException, snapshot: Snapshot) -> Iterator[Broken]:
    """Two or more have to approve a local exception, each named once and none with another's login: four eyes."""
    if len(exception.approvers) < APPROVERS_MIN:
        yield Broken("approvers", ", ".join(each.contact for each in exception.approvers) or "nobody", "two different approvers")
    yield from named_once(exception.approvers)


@rule("trust.exception-once", source="RFC 8416, 3.4.1")
def exception_once(exception: LocalException, snapshot: Snapshot) -> Iterator[Broken]:
    """No router key and no ASPA is asserted twice: of two that differ one would be lost."""
    if exception.action is Action.ASSERT and exception.about is not About.PREFIX:
        others = [
            each.id
            for each in snapshot.where(LocalException, asn=exception.asn)
            if each.name != exception.name
            and (each.action, each.about, each.key_id) == (exception.action, exception.about, exception.key_id)
        ]
        if others:
            yield Broken("asn", exception.asn, f"one that {others[0]} does not assert already")


@rule("trust.anchor-leaves-something", source="docs/trust.md")
def anchor_leaves_something(anchor: TrustAnchor, snapshot: Snapshot) -> Iterator[Broken]:
    """The constraints of a trust anchor leave some of the prefixes that it is believed for."""
    for prefix in anchor.only:
        if any(prefix.version == each.version and prefix.subnet_of(each) for each in anchor.never):  # type: ignore[arg-type]
            yield Broken("only", prefix, "prefixes that `never` does not take back")


@rule("trust.tal-once", source="RFC 8630, 2")
def tal_once(anchor: TrustAnchor, snapshot: Snapshot) -> Iterator[Broken]:
    """Two trust anchors have different TALs: the same one twice would count as two."""
    others = [each.id for each in snapshot.where(TrustAnchor, tal=anchor.tal) if each.name != anchor.name]
    if others:
        yield Broken("tal", anchor.tal, f"a TAL that {others[0]} does not have")


@rule("trust.mirror-is-named", source="docs/trust.md")
def mirror_is_named(party: RelyingParty, snapshot: Snapshot) -> Iterator[Broken]:
    """A relying party has one mirror, ours or a folder. A folder's path has no `..`, and what is served lies inside the exchange's folder."""
    if (party.mirror is None) == (party.follows is None):
        yield Broken("follows", party.follows or "unset", "either a mirror to follow or a folder as `mirror`, and not both")
    for field in ("mirror", "serves"):
        if ".." in (getattr(party, field) or "").split("/"):
            yield Broken(field, getattr(party, field), "a path without ..")


@rule("trust.served-once", source="docs/trust.md")
def served_once(party: RelyingParty, snapshot: Snapshot) -> Iterator[Broken]:
    """No two relying parties write one file."""
    others = [each.id for each in snapshot.where(RelyingParty, serves=party.serves) if each.name != party.name]
    if others:
        yield Broken("serves", party.serves, f"a file that {others[0]} does not write")


@rule("trust.repository-has-a-way", source="RFC 8182, 3.4.5; RFC 9286, 6.6")
def repository_has_a_way(repository: Repository, snapshot: Snapshot) -> Iterator[Broken]:
    """A repository can be fetched, by RRDP or by rsync; and what rsync brings lies in its places."""
    if repository.rrdp is None and not repository.rsync:
        yield Broken("rrdp", "unset", "a notification's URI, or folders in `rsync`")
    for each in repository.rsync:
        if not any(each.startswith(place) for place in repository.publishes):
            yield Broken("rsync", each, f"a folder inside of what it publishes: {', '.join(repository.publishes)}")


@rule("trust.places-apart", source="docs/mirror.md")
def places_apart(mirror: Mirror, snapshot: Snapshot) -> Iterator[Broken]:
    """No name can come from two repositories of a mirror: else one of them could replace the objects of the other."""
    found = [(each.name, place) for each in map(snapshot.at, mirror.repositories) for place in each.publishes]
    for index, (name, place) in enumerate(found):
        for other, theirs in found[:index]:
            if name != other and (place.startswith(theirs) or theirs.startswith(place)):
                yield Broken("repositories", name, f"one whose place {place} is apart from {theirs} of {other}")


@rule("trust.mirror-names", source="docs/mirror.md")
def mirror_names(mirror: Mirror, snapshot: Snapshot) -> Iterator[Broken]:
    """No repository of a mirror has a name that its server uses otherwise."""
    for name in mirror.repositories:
        if name in RESERVED:
            yield Broken("repositories", name, f"another name than {', '.join(sorted(RESERVED))}")


@rule("trust.cosigners-are-keys", source="C2SP signed-note")
def cosigners_are_keys(mirror: Mirror, snapshot: Snapshot) -> Iterator[Broken]:
    """Each co-signer of a mirror is a verifier key, and none has two."""
    seen: dict[bytes, str] = {}
    for each in mirror.cosigners:
        try:
            found = key(each)
        except Malformed as error:
            yield Broken("cosigners", each, str(error))
            continue
        if found.public in seen:
            yield Broken("cosigners", each, f"a key that is not also {seen[found.public]}'s")
        seen[found.public] = found.name


@rule("trust.validated-by-the-loop", source="docs/trust.md")
def validated_by_the_loop(party: RelyingParty, snapshot: Snapshot) -> Iterator[Broken]:
    """The loop knows no folder but by its whole path, and gives a validation the time that it may take."""
    if party.every is None:
        return
    if party.mirror is not None and not party.mirror.startswith("/"):
        yield Broken("mirror", party.mirror, "an absolute path, since `every` lets the loop validate")
    if party.every.seconds < 1:
        yield Broken("every", party.every, "1s or more")


@rule("trust.cache-on-its-lan", source="RFC 8210, 9")
def cache_on_its_lan(cache: RtrCache, snapshot: Snapshot) -> Iterator[Broken]:
    """A cache has host addresses of its LAN, a peering LAN, where nobody else has them; what it listens at besides lies outside."""
    lan = snapshot.at(cache.lan)
    if lan.purpose is not LanPurpose.PEERING:
        yield Broken("lan", cache.lan, "a peering LAN")
    if cache.v4 is None and cache.v6 is None:
        yield Broken("v4", "unset", "an address on the LAN, v4, v6 or both")
    for field in ("v4", "v6"):
        address, prefix = getattr(cache, field), getattr(lan, field)
        if address is None:
            continue
        if prefix is None or address not in prefix or address in (prefix.network_address, prefix.broadcast_address):
            yield Broken(field, address, f"a host address of {cache.lan.id}" + (f", {prefix}" if prefix else f", which has no IP{field}"))
        yield from _not_alone(cache, field, address, snapshot.where(Session, **{field: address}))
        yield from _not_alone(cache, field, address, snapshot.where(RouteServer, **{field: address}))
        yield from _not_alone(cache, field, address, snapshot.where(RtrCache, **{field: address}))
    for index, each in enumerate(cache.listen):
        if each.is_unspecified or each.is_multicast or any(each in prefix for prefix in (lan.v4, lan.v6) if prefix is not None):
            yield Broken(f"listen.{index}", each, "one address of its machine, outside of the LAN")


def _not_alone(cache: RtrCache, field: str, value: object, others: Iterable[Session | RouteServer | RtrCache]) -> Iterator[Broken]:
    for other in others:
        if other.id != cache.id and other.lan == cache.lan:
            yield Broken(field, value, f"one that nobody else on {cache.lan.id} has; {other.id} has this one")


@rule("trust.cache-mac-once", source="IEEE 802.1Q, 8.7")
def cache_mac_once(cache: RtrCache, snapshot: Snapshot) -> Iterator[Broken]:
    """A cache's MAC address is that of one station, and nobody else's on its LAN."""
    if cache.mac is None:
        return
    if int(cache.mac[:2], 16) & 1 or cache.mac == "00:00:00:00:00:00":
        yield Broken("mac", cache.mac, "the MAC address of one station, not a multicast or zero one")
    yield from _not_alone(cache, "mac", cache.mac, snapshot.where(Session, macs=cache.mac))
    yield from _not_alone(cache, "mac", cache.mac, snapshot.where(RouteServer, mac=cache.mac))
    yield from _not_alone(cache, "mac", cache.mac, snapshot.where(RtrCache, mac=cache.mac))


@rule("trust.cache-stands-alone", source="docs/rtr.md")
def cache_stands_alone(cache: RtrCache, snapshot: Snapshot) -> Iterator[Broken]:
    """A cache has a machine to itself: what routers depend on does not die of its neighbours."""
    taken = {site.name: site.id for site in snapshot.of(Site)}
    taken |= {str(each.machine or each.name): each.id for each in snapshot.of(RouteServer)}
    for stations in (snapshot.of(NameGate), snapshot.of(NameNode), snapshot.of(Resolver)):
        taken |= {str(each.machine or each.name): each.id for each in stations}
    taken |= {each.runs_on: each.id for each in snapshot.of(RtrCache) if each.id != cache.id}
    if cache.runs_on in taken:
        yield Broken("machine", cache.runs_on, f"a machine of its own; {taken[cache.runs_on]} runs there")


@rule("trust.cache-clocks", source="RFC 8210, 6")
def cache_clocks(cache: RtrCache, snapshot: Snapshot) -> Iterator[Broken]:
    """What routers are told lies within the protocol's bounds, in whole seconds; they expire later than they refresh and retry."""
    for field, (least, most) in CLOCKS.items():
        seconds = getattr(cache, field).seconds
        if not least <= seconds <= most or seconds % 1:
            yield Broken(field, getattr(cache, field), f"whole seconds, {least}s to {most}s")
    if cache.expire <= max(cache.refresh, cache.retry):
        yield Broken("expire", cache.expire, f"more than refresh ({cache.refresh}) and retry ({cache.retry})")
    if cache.age_max.seconds < 60:
        yield Broken("age_max", cache.age_max, "1min or more")


@rule("trust.cache-ports", source="RFC 8210, 14")
def cache_ports(cache: RtrCache, snapshot: Snapshot) -> Iterator[Broken]:
    """Its port is none that it needs otherwise."""
    if cache.port in TAKEN_PORTS:
        yield Broken("port", cache.port, f"another port than {', '.join(map(str, sorted(TAKEN_PORTS)))}, such as 323")


RULES = (
    exception_says_what,
    exception_length,
    exception_two_approvers,
    exception_once,
    anchor_leaves_something,
    tal_once,
    mirror_is_named,
    served_once,
    repository_has_a_way,
    places_apart,
    mirror_names,
    cosigners_are_keys,
    validated_by_the_loop,
    cache_on_its_lan,
    cache_mac_once,
    cache_stands_alone,
    cache_clocks,
    cache_ports,
)
