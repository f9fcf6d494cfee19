"""Every rule in both directions: what breaks it is refused by its name, and the exchange without that is admitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from nnix.kernel.resource import Resource
from nnix.kernel.rule import judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Lan, mac_of
from nnix.planes.routing.allocate import allocate
from nnix.planes.routing.kinds import LocalSnippet, RouteServer, RoutingException, RoutingPolicy, RoutingRegistry, Session
from nnix.planes.routing.rules import RULES
from nnix.planes.trust.kinds import RtrCache
from tests.unit.routing.exchange import exchange, member


def server(**fields: Any) -> Resource:
    plain = {"name": "rs1", "site": "east", "lan": "lan", "policy": "safe", "v4": "10.9.0.1", "v6": "2406:5340::1"}
    return RouteServer.model_validate({name: value for name, value in {**plain, **fields}.items() if value is not None})


def lan(**fields: Any) -> Resource:
    return Lan.model_validate({"name": "lan", "title": {"en": "lan"}, "v4": "10.9.0.0/24", "v6": "2406:5340::/64", **fields})


def session(**fields: Any) -> Resource:
    """A second session of m1."""
    return Session.model_validate(
        {"name": "m1-t", "member": "m1", "lan": "lan", "port": "m1-p", "v4": "10.9.0.99", "macs": ["02:00:00:00:00:01"], **fields}
    )


def registry(**fields: Any) -> Resource:
    return RoutingRegistry.model_validate({"name": "r", **fields})


def cache(name: str = "rtr", **fields: Any) -> Resource:
    return RtrCache.model_validate({"name": name, "site": "east", "lan": "lan", "v4": "10.9.0.201", "source": "v.json", **fields})


FAR = cache(lan="q", v4="10.8.0.1")
SPARE = RoutingPolicy.model_validate({"name": "earlier", "irr_caches": ["rtr"]})
QUARANTINE = Lan.model_validate({"name": "q", "title": {"en": "q"}, "purpose": "quarantine", "v4": "10.8.0.0/24"})


def exception(**fields: Any) -> Resource:
    plain = {"name": "m1", "session": "m1-s", "until": "2027-01-01T00:00:00Z", "answers": "contact:noc", "why": "a test"}
    return RoutingException.model_validate({**plain, **fields})


def snippet(text: str, place: str = "import") -> Resource:
    plain = {"name": "s", "policy": "safe", "daemon": "bird", "answers": "contact:noc", "why": "a test"}
    return LocalSnippet.model_validate({**plain, "text": text, "place": place})


def without_second_server() -> Snapshot:
    return exchange().replaced(gone=["route-server/rs2"])


def with_(*more: Resource, **policy: Any) -> Callable[[], Snapshot]:
    return lambda: exchange(*more, policy=policy)


BREAKS: tuple[tuple[str, str, str, Callable[[], Snapshot]], ...] = (
    ("routing.session-address-in-lan", "session/m1-s", "v4", with_(*member(1, v4="10.7.0.1"))),
    ("routing.session-address-in-lan", "session/m1-s", "v4", with_(*member(1, v4="10.9.0.0"))),
    ("routing.session-address-in-lan", "session/m1-s", "v4", with_(*member(1, v4="10.9.0.255"))),
    ("routing.session-address-in-lan", "session/m1-s", "v6", with_(*member(1, v6="2406:5341::1"))),
    ("routing.session-address-in-lan", "session/m1-s", "v6", with_(*member(1, v6="2406:5340::"))),
    ("routing.session-address-in-lan", "session/m1-s", "v6", with_(lan(v6=None), server(v6=None))),
    ("routing.route-server-address-in-lan", "route-server/rs1", "v4", with_(server(v4="10.7.0.1"))),
    ("routing.session-address-once", "session/m1-s", "v4", with_(*member(1, v4="10.9.0.12"))),
    ("routing.session-address-once", "session/m1-s", "v6", with_(*member(1, v6="2406:5340::1"))),
    ("routing.route-server-address-once", "route-server/rs1", "v4", with_(server(v4="10.9.0.2", router_id="10.9.0.1"))),
    ("routing.session-mac-once", "session/m1-s", "macs", with_(*member(1, macs=["02:00:00:00:00:02"]))),
    ("routing.session-mac-once", "session/m1-s", "macs", with_(*member(1, macs=["01:00:5e:00:00:01"]))),
    ("routing.route-server-mac-once", "route-server/rs1", "mac", with_(server(mac="02:00:00:00:00:02"))),
    ("routing.session-has-mac", "session/m1-s", "macs", with_(*member(1, macs=[]))),
    (
        "routing.session-has-address",
        "session/m1-s",
        "v4",
        lambda: exchange().replaced([each for each in member(1, v4=None, v6=None) if isinstance(each, Session)]),
    ),
    ("routing.session-port-is-the-members", "session/m1-t", "port", with_(session(port="m2-p", macs=["02:00:00:00:00:77"]))),
    ("routing.session-on-peering-lan", "session/m1-t", "lan", with_(QUARANTINE, session(lan="q", v4="10.8.0.9", route_servers=False))),
    ("routing.roles-fit", "session/m1-s", "their_role", with_(*member(1, their_role="provider"))),
    ("routing.roles-fit", "session/m1-s", "our_role", with_(*member(1, our_role="customer", their_role="provider"))),
    ("routing.roles-fit", "session/m1-s", "their_role", with_(*member(1, our_role="provider", their_role="peer", route_servers=False))),
    ("routing.two-route-servers", "lan/lan", "", without_second_server),
    ("routing.two-route-servers", "lan/lan", "", with_(server(site="west"))),
    ("routing.families-served", "route-server/rs1", "v6", with_(server(v6=None))),
    ("routing.router-id-once", "route-server/rs1", "router_id", with_(server(router_id="10.9.0.2"))),
    ("routing.router-id-once", "route-server/rs1", "router_id", with_(server(router_id="0.0.0.0"))),  # noqa: S104 (no binding)
    ("routing.router-id-once", "route-server/rs1", "router_id", with_(server(v4=None))),
    ("routing.route-server-asn", "route-server/rs1", "asn", with_(server(asn=64512))),
    ("routing.route-server-asn", "route-server/rs1", "asn", with_(server(asn=1002))),
    ("routing.blackhole-next-hop-in-lan", "routing-policy/safe", "blackhole_v4", with_(blackhole_v4="10.7.0.66")),
    ("routing.blackhole-next-hop-in-lan", "routing-policy/safe", "blackhole_v6", with_(blackhole_v6="2406:5340::1")),
    ("routing.prefix-lengths-in-order", "routing-policy/safe", "prefix_lengths.v4_min", with_(prefix_lengths={"v4_min": 25})),
    ("routing.prefix-lengths-in-order", "routing-policy/safe", "prefix_lengths.v6_min", with_(prefix_lengths={"v6_min": 49})),
    ("routing.irr-has-sources", "routing-policy/safe", "irr_sources", with_(irr_sources=[])),
    ("routing.rpki-has-sources", "routing-policy/safe", "rpki_sources", with_(rpki_sources=[])),
    ("routing.caches-within-reach", "routing-policy/safe", "rpki_caches.0", with_(QUARANTINE, FAR, rpki_caches=["rtr"])),
    ("routing.caches-within-reach", "routing-policy/safe", "irr_caches.0", with_(QUARANTINE, FAR, irr_caches=["rtr"])),
    ("routing.caches-hand-out-its-sources", "routing-policy/safe", "rpki_sources", with_(cache(source="w.json"), rpki_caches=["rtr"])),
    ("routing.one-policy-for-a-cache", "routing-policy/safe", "irr_caches.0", with_(cache(), SPARE, irr_caches=["rtr"])),
    ("routing.registry-can-be-asked", "routing-registry/r", "server", with_(registry())),
    ("routing.registry-can-be-asked", "routing-registry/r", "server", with_(registry(asked="dump", server="r.example", dumps=["r.db"]))),
    ("routing.registry-can-be-asked", "routing-registry/r", "dumps", with_(registry(server="r.example", dumps=["r.db"]))),
    ("routing.registry-can-be-asked", "routing-registry/r", "dumps", with_(registry(asked="dump"))),
    ("routing.member-as-sets-well-formed", "member/m1", "as_sets.0", with_(*member(1, {"as_sets": ["ASX"]}))),
    ("routing.session-as-sets-well-formed", "session/m1-s", "as_sets.1", with_(*member(1, as_sets=["AS-OK", "AS1:"]))),
    ("routing.loosening-is-an-exception", "session/m1-s", "irr", with_(*member(1, irr="off"))),
    ("routing.loosening-is-an-exception", "session/m1-s", "rpki", with_(*member(1, rpki="tag"))),
    ("routing.loosening-is-an-exception", "session/m1-s", "next_hop", with_(*member(1, next_hop="same-as"), next_hop="strict")),
    ("routing.exception-says-something", "routing-exception/m1", "", with_(exception())),
    (
        "routing.exception-says-something",
        "routing-exception/m1",
        "prefixes.0",
        with_(exception(prefixes=[{"prefix": "20.0.0.0/24", "le": 20}])),
    ),
    ("routing.exception-says-something", "routing-exception/m1", "session", with_(*member(1, route_servers=False), exception(irr="off"))),
    ("routing.session-communities-free", "session/m1-s", "communities.0", with_(*member(1, communities=["65501:1"]))),
    ("routing.session-communities-free", "session/m1-s", "communities.0", with_(*member(1, communities=["70000:1"]))),
    ("routing.session-communities-free", "session/m1-s", "communities.1", with_(*member(1, communities=["1001:1", "139136:5:5"]))),
    ("routing.session-communities-free", "session/m1-s", "blackhole_community", with_(*member(1, blackhole_community="65535:666"))),
    ("routing.session-communities-free", "session/m1-s", "blackhole_community", with_(*member(1, blackhole_community="139136:1101:3"))),
    ("routing.policy-communities-free", "routing-policy/safe", "blackhole_communities.0", with_(blackhole_communities=["65535:666"])),
    ("routing.policy-communities-free", "routing-policy/safe", "blackhole_communities.0", with_(blackhole_communities=["139136:0:666"])),
    (
        "routing.policy-communities-free",
        "routing-policy/safe",
        "reason_communities.0.reason",
        with_(reason_communities=[{"reason": "none_such", "community": "64999:1"}]),
    ),
    (
        "routing.policy-communities-free",
        "routing-policy/safe",
        "said_communities.0.said",
        with_(said_communities=[{"said": "rpki_great", "community": "64999:1"}]),
    ),
    (
        "routing.policy-communities-free",
        "routing-policy/safe",
        "said_communities.0.community",
        with_(said_communities=[{"said": "rpki_valid", "community": "65501:1"}]),
    ),
    (
        "routing.groups-told-apart",
        "routing-policy/safe",
        "groups.1.number",
        with_(groups=[{"number": 1, "title": "one", "levels": ["city"]}, {"number": 1, "title": "two", "levels": ["province"]}]),
    ),
    ("routing.groups-told-apart", "routing-policy/safe", "groups.0", with_(groups=[{"number": 1, "title": "nobody"}])),
    ("routing.short-asns-told-apart", "routing-policy/safe", "short_asns.0.asn", with_(short_asns=[{"asn": 1001, "short": 64600}])),
    ("routing.short-asns-told-apart", "routing-policy/safe", "short_asns.0.short", with_(short_asns=[{"asn": 70000, "short": 65000}])),
    ("routing.multihop-has-one-best", "session/m1-s", "multihop", with_(*member(1, v4="11.0.0.1", v6=None, multihop=2))),
    ("routing.v4-over-v6-has-no-v4", "session/m1-s", "v4", with_(*member(1, v4_over_v6=True))),
    ("routing.v4-over-v6-has-no-v4", "session/m1-s", "v6", with_(*member(1, v6=None, v4_over_v6=True))),
    (
        "routing.one-tcp-authentication",
        "session/m1-s",
        "tcp_ao",
        with_(*member(1, password="secret:a", tcp_ao={"id": 1, "secret": "secret:b"})),
    ),
    ("routing.blackhole-community-is-used", "session/m1-s", "blackhole_community_alone", with_(*member(1, blackhole_community_alone=True))),
    (
        "routing.blackhole-community-is-used",
        "session/m1-s",
        "blackhole_community",
        with_(*member(1, blackhole=False, blackhole_community="1001:666")),
    ),
    ("routing.snippet-stays-in-its-place", "local-snippet/s", "text", with_(snippet("} };"))),
    ("routing.snippet-stays-in-its-place", "local-snippet/s", "text", with_(snippet("if net.len > 1 then {"))),
    ("routing.snippet-stays-in-its-place", "local-snippet/s", "text", with_(snippet('print "open;'))),
    ("routing.snippet-stays-in-its-place", "local-snippet/s", "text", with_(snippet("accept; /* and"))),
    ("routing.snippet-stays-in-its-place", "local-snippet/s", "place", with_(snippet("protocol bgp x {}"))),
)


def test_the_exchange_of_these_tests_is_admitted() -> None:
    """What is broken below is broken by the change named there and by nothing else."""
    assert judge(exchange(), RULES) == ()


def test_every_rule_is_broken_once() -> None:
    """No rule without a case that it refuses."""
    assert {rule for rule, _, _, _ in BREAKS} == {each.name for each in RULES}


def test_every_rule_says_what_it_is_and_where_it_comes_from() -> None:
    """Names are unique, and each has a source and words."""
    assert len({each.name for each in RULES}) == len(RULES)
    assert all(each.source and each.description for each in RULES)


@pytest.mark.parametrize(
    ("rule", "resource", "field", "broken"), BREAKS, ids=[f"{rule}-{index}" for index, (rule, *_) in enumerate(BREAKS)]
)
def test_what_breaks_a_rule_is_refused_by_its_name(rule: str, resource: str, field: str, broken: Callable[[], Snapshot]) -> None:
    """Resource, field and rule are named, and what would be accepted."""
    refusals = judge(broken(), RULES)

    assert (resource, field) in {(each.resource, each.field) for each in refusals if each.rule == rule}
    assert all(each.accept and each.found for each in refusals)


ADMITTED: Mapping[str, Callable[[], Snapshot]] = {
    "two sessions of one router behind one port share a MAC": with_(session()),
    "an as-set below an ASN, behind its registry": with_(*member(1, {"as_sets": ["RIPE::AS64500:AS-CUSTOMERS:AS1", "AS15169"]})),
    "roles of a bilateral session": with_(*member(1, our_role="peer", their_role="peer", route_servers=False)),
    "no registries, in the open": with_(irr="off", irr_sources=[]),
    "no RPKI, in the open": with_(rpki="off", rpki_sources=[]),
    "a blackhole next hop in the LAN": with_(blackhole_v4="10.9.0.66"),
    "one route server where nobody uses it": lambda: exchange(
        *(each for number in (1, 2, 3) for each in member(number, route_servers=False))
    ).replaced(gone=["route-server/rs2"]),
    "no addresses: they are allocated": with_(*member(1, v4=None, v6=None)),
    "no MAC in a laboratory: it is allocated": lambda: exchange(*member(1, macs=[]), lab=True),
}


@pytest.mark.parametrize("what", ADMITTED)
def test_what_is_right_is_admitted(what: str) -> None:
    """The rules do not ask for more than they say."""
    assert judge(ADMITTED[what](), RULES) == ()


def bare(*numbers: int) -> list[Resource]:
    return [each for number in numbers for each in member(number, v4=None, v6=None)]


def test_a_session_without_addresses_gets_the_lowest_free_ones() -> None:
    """Both families that the LAN has; never one that is written down elsewhere."""
    first, second = (exchange(*bare(4, 5)).get(Session, name) for name in ("m4-s", "m5-s"))
    assert first is not None
    assert second is not None

    assert (str(first.v4), str(first.v6)) == ("10.9.0.3", "2406:5340::3")
    assert (str(second.v4), str(second.v6)) == ("10.9.0.4", "2406:5340::4")


def test_an_allocated_address_stays_when_others_come_and_go() -> None:
    """m5 keeps its address when m4 leaves and when a newcomer sorts before it."""
    before = exchange(*bare(5))
    plain = exchange().replaced(bare(4, 5))
    after = plain.replaced(allocate(plain, before))
    old, new, newcomer = before.get(Session, "m5-s"), after.get(Session, "m5-s"), after.get(Session, "m4-s")
    assert old is not None
    assert new is not None
    assert newcomer is not None

    assert (new.v4, new.v6) == (old.v4, old.v6)
    assert newcomer.v4 not in (None, old.v4)


def test_a_full_lan_is_a_refusal_and_no_crash() -> None:
    """A /29 for two route servers and three members has one host address left, for the first of two newcomers."""
    tiny = [
        Lan.model_validate({"name": "lan", "title": {"en": "lan"}, "v4": "10.9.0.0/29"}),
        *(each for number in (1, 2, 3) for each in member(number, v4=f"10.9.0.{number + 2}", v6=None)),
        *(server(name=f"rs{number}", site=site, v4=f"10.9.0.{number}", v6=None) for number, site in ((1, "east"), (2, "west"))),
        *bare(4, 5),
    ]

    assert {(each.resource, each.rule) for each in judge(exchange(*tiny), RULES)} == {("session/m5-s", "routing.session-has-address")}


def test_macs_are_allocated_in_laboratories_and_for_route_servers_always() -> None:
    """Locally administered, unicast, the same every time; a real member's MAC is never invented."""
    real, lab = exchange(*member(1, macs=[])), exchange(*member(1, macs=[]), lab=True)
    server_, invented, none = lab.get(RouteServer, "rs1"), lab.get(Session, "m1-s"), real.get(Session, "m1-s")
    assert server_ is not None
    assert invented is not None
    assert none is not None

    assert server_.mac == mac_of("route-server/rs1")
    assert invented.macs == (mac_of("session/m1-s"),)
    assert mac_of("session/m1-s").startswith("02:")
    assert none.macs == ()
