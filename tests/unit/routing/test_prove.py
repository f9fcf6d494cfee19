"""The evaluator: what becomes of routes by the policy in values; and the witnesses that show whether a daemon agrees."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address

import pytest

from nnix.planes.routing.communities import (
    AIMS,
    BLACKHOLE,
    CONTROLS,
    NO_EXPORT,
    REASON,
    REASONS,
    SAID,
    VOCABULARY,
    WISHES,
    large_function,
)
from nnix.planes.routing.compile import ORDER, ServerPolicy, policy
from nnix.planes.routing.naming import Family
from nnix.planes.routing.prove.compare import Seen, wire_differences
from nnix.planes.routing.prove.evaluate import TESTS, WITHHELD, Evaluator, Unjudged
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.messages import (
    SENDS,
    TAKES,
    UPDATE,
    Attributes,
    Malformed,
    announcing,
    open_message,
    opened,
    taken,
    updated,
    withdrawing,
)
from nnix.planes.routing.prove.route import Prefix, Route, extended, prefix_of
from nnix.planes.routing.prove.witnesses import plan
from nnix.planes.routing.trial.bird import bogus
from tests.unit.routing.exchange import evidence, exchange, member
from tests.unit.routing.proving import given, showing

RS = 139136
NOT_HERE = {"aspa_invalid", "rpki_no_data", "starting"}  # no ASPAs are asked here; and that VRPs or members are missing is no route's doing


def server(**rules: object) -> ServerPolicy:
    return policy(exchange(policy=rules), evidence())[0]


def route(prefix: str = "20.0.0.0/24", *path: int, hop: str = "10.9.0.11") -> Route:
    return Route(prefix_of(prefix), path or (1001,), ip_address(hop))


def test_every_reason_is_evaluated() -> None:
    """No test of the policy is unknown to the evaluator, and it knows none that the policy has not."""
    assert set(TESTS) == set(ORDER) == set(REASON)


def test_every_reason_has_a_number_of_its_own() -> None:
    """Two reasons under one number could not be told apart, and one of them would be taken for the other."""
    assert len(REASONS) == len(REASON)


def test_what_the_evaluator_does_not_know_is_named_and_not_passed_over() -> None:
    """A policy that was given something new since: the field is named, and nothing is judged."""

    @dataclass(frozen=True, slots=True)
    class Newer(ServerPolicy):
        guest_list: tuple[int, ...] = ()

    known = server()
    fields = {name: getattr(known, name) for name in ServerPolicy.__dataclass_fields__}

    Evaluator(Newer(**fields))
    with pytest.raises(Unjudged, match="route-server/rs1 guest_list"):
        Evaluator(Newer(**fields, guest_list=(7,)))


def test_a_route_is_refused_under_the_first_test_that_it_fails() -> None:
    """As in `compile.ORDER`: a bogon that is too long is a bogon."""
    of = Evaluator(server())

    assert of.imported("m1-s", route()).accepted
    assert of.imported("m1-s", route("10.0.0.0/25")).reason == "bogon"
    assert of.broken("m1-s", route("10.0.0.0/25")) == ("bogon", "prefix_len_too_long", "blackhole_not_covered")
    assert of.imported("m1-s", route("20.0.0.0/24", 1001, 9)).reason == "irrdb_origin_as_filtered"


def test_a_daemon_judges_otc_and_foreign_networks_before_all_filters() -> None:
    """RFC 9234, 5: thrown out whatever else is wrong with the route, and not even counted."""
    of = Evaluator(server())
    leak = replace(route("10.0.0.0/8"), otc=9)

    assert of.imported("m1-s", leak).reason == "otc_leak"
    assert of.imported("m1-s", route("10.0.0.0/8", hop="203.0.113.1")).reason == "next_hop_not_peer_ip"
    assert of.thrown_out("m1-s", leak)
    assert not of.thrown_out("m1-s", route("10.0.0.0/8"))


def test_a_wish_about_one_beats_a_wish_about_all() -> None:
    """Not-to beats to, to beats to-none; who is told, and why the others are not, has a name."""
    of = Evaluator(server())
    to_none = of.imported("m1-s", route().with_communities((RS, 0, 0), extended("rt", 65000, 1002)))
    both = of.imported("m1-s", route().with_communities((RS, 1, 1002), (0, 1002)))

    assert [of.withheld("m1-s", to_none, name) for name in ("m1-s", "m2-s", "m3-s")] == ["own_route", "", "to_none"]
    assert [of.withheld("m1-s", both, name) for name in ("m2-s", "m3-s")] == ["not_to_receiver", ""]
    assert of.told(to_none, "m2-s").large == {(RS, 1000, 1), (RS, 1001, 1)}
    assert not of.told(to_none, "m2-s").extended
    assert {"own_route", "to_none", "not_to_receiver"} <= set(WITHHELD)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda each: each.slug)
def test_every_control_is_understood_in_every_form(control: object) -> None:
    """What the table for members says, the evaluator reads back from the wire's numbers."""
    speaking = server(groups=[{"number": 571, "title": "east", "sites": ["east"]}], rtt_thresholds=[571])
    language = Evaluator(speaking).language
    slug = control.slug  # type: ignore[attr-defined]
    peer = 0 if control.large.endswith(":0") else 571  # type: ignore[attr-defined]
    said = list(language.spelled(slug, peer))

    assert len(said) == 4
    assert {language.wish(each) for each in said} == {(slug, peer)}


def test_the_second_best_is_told_to_whom_the_best_is_not_for() -> None:
    """Path hiding, RFC 7947 2.3.1; and who hears nothing can be told why."""
    known = policy(exchange(*member(2, {"as_sets": ["AS-ONE"]})), evidence())[0]
    best = route().with_communities((RS, 0, 1003))
    longer = Route(prefix_of("20.0.0.0/24"), (1002, 1001), ip_address("10.9.0.12"))
    world = Exchange(Evaluator(known), [("m1-s", best), ("m2-s", longer)])

    assert [each.path for _, each in world.told("m3-s")] == [(1002, 1001)]
    assert [each.path for _, each in world.told("m2-s")] == [(1001,)]
    assert world.withheld("m1-s", best.prefix, "m3-s") == "not_to_receiver"
    assert world.withheld("m2-s", best.prefix, "m1-s") == ""
    alone = Exchange(Evaluator(known), [("m1-s", route()), ("m2-s", longer)])
    assert alone.withheld("m2-s", best.prefix, "m3-s") == "another_is_better"


def taking(several: str = "send", **rules: object) -> ServerPolicy:
    """AS1003 takes several paths; AS1001 and AS1002 may announce the same."""
    return policy(exchange(*member(2, {"as_sets": ["AS-ONE"]}), *member(3, add_paths=several), policy=rules), evidence())[0]


BEST = route().with_communities((RS, 101, 1003))
LONGER = Route(prefix_of("20.0.0.0/24"), (1002, 1001), ip_address("10.9.0.12"))


def paths_told(world: Exchange, receiver: str) -> list[tuple[object, ...]]:
    return [each.path for _, each in world.told(receiver)]


@pytest.mark.parametrize("solved", [True, False])
def test_who_takes_several_paths_is_told_all_that_are_for_it(solved: bool) -> None:
    """ADD-PATH, RFC 7911: each as it is for this receiver; nothing is hidden, whether path hiding is solved for others or not. Others are told the best."""
    world = Exchange(Evaluator(taking(path_hiding_solved=solved)), [("m1-s", BEST), ("m2-s", LONGER)])

    assert paths_told(world, "m3-s") == [(1001, 1001), (1002, 1001)]
    assert paths_told(world, "m2-s") == [(1001,)]
    assert [world.withheld(name, BEST.prefix, "m3-s") for name in ("m1-s", "m2-s")] == ["", ""]
    hidden = Exchange(Evaluator(taking(path_hiding_solved=solved)), [("m1-s", route().with_communities((RS, 0, 1003))), ("m2-s", LONGER)])
    assert paths_told(hidden, "m3-s") == [(1002, 1001)]
    assert hidden.withheld("m1-s", BEST.prefix, "m3-s") == "not_to_receiver"


def test_who_is_not_offered_several_paths_or_has_not_agreed_is_told_one() -> None:
    """A session that only sends several, and one whose router has not agreed to take them in that family."""
    announced = [("m1-s", BEST), ("m2-s", LONGER)]
    sends = Exchange(Evaluator(taking("receive")), announced)
    alone = Exchange(Evaluator(taking("both")), announced, alone={("m3-s", 4)})

    assert paths_told(sends, "m3-s") == paths_told(alone, "m3-s") == [(1001, 1001)]
    assert alone.withheld("m2-s", BEST.prefix, "m3-s") == "another_is_better"
    assert (alone.several("m3-s", 4), alone.several("m3-s", 6), sends.several("m3-s", 6)) == (False, True, False)


def test_several_paths_of_one_client_are_judged_one_by_one() -> None:
    """Who takes one hears the best that was accepted; who takes several hears every accepted one; its sender hears none of them."""
    own = [("m1-s", replace(route(), path=(1001, 1001))), ("m1-s", replace(route(), path=(1001, 9)))]
    world = Exchange(Evaluator(taking()), [("m1-s", route())], besides=own)

    assert paths_told(world, "m3-s") == [(1001,), (1001, 1001)]
    assert paths_told(world, "m2-s") == [(1001,)]
    assert paths_told(world, "m1-s") == []
    assert [verdict.reason for _, verdict in world.refused] == ["irrdb_origin_as_filtered"]


def test_sets_of_paths_are_compared_each_path_for_itself() -> None:
    """What is missing, what is too many (also a second time) and what was altered are three differences, and name the receiver and the prefix."""
    world = Exchange(Evaluator(taking()), [("m1-s", BEST), ("m2-s", LONGER)])
    first, second = (Attributes.of(each) for _, each in world.told("m3-s"))

    def found(*heard: Attributes) -> list[tuple[str, str]]:
        seen = Seen({}, {}, {}, {("m3-s", 4): {BEST.prefix: Counter(heard)} if heard else {}})
        differences = list(wire_differences(world, seen, {}))
        assert {each.about for each in differences} <= {"20.0.0.0/24 to session/m3-s, one of several paths"}
        return [(each.expected[:9], each.seen[:9]) for each in differences]

    assert found(second, first) == []
    assert found(first) == [("path 1002", "nothing")]
    assert found() == [("path 1001", "nothing"), ("path 1002", "nothing")]
    assert found(first, second, second) == [("nothing", "path 1002")]
    assert found(first, second._replace(med=7)) == [("path 1002", "path 1002")]
    assert found(first, second._replace(next_hop=ip_address("10.9.0.13"))) == [("path 1002", "nothing"), ("nothing", "path 1002")]


def test_who_may_send_several_paths_does() -> None:
    """Three that are accepted, the third not for everybody, and one that is refused; in both families."""
    of = Evaluator(policy(showing(sessions={3: {"add_paths": "receive"}}), given())[0])
    several = plan(of).several

    assert [each[0].route.prefix.family for each in several] == [4, 6]
    for paths in several:
        verdicts = [of.imported(each.session, each.route) for each in paths]
        assert [each.reason for each in verdicts] == ["", "", "", "first_as_not_peer_as"]
        assert len({each.route.prefix for each in paths}) == 1
        assert [len(each.route.path) for each in paths[:3]] == [1, 2, 3]
        assert [of.withheld("m3-s", each, "m6-s") for each in verdicts[:3]] == ["", "", "not_to_receiver"]
    assert plan(Evaluator(policy(showing(), given())[0])).several == ()


def test_a_blackhole_is_marked_and_told_to_the_willing_only() -> None:
    """RFC 7999: NO_EXPORT is added, the next hop is the sink's; a host route is right where the prefix around it would be."""
    known = policy(exchange(*member(3, blackhole=False), policy={"blackhole_v4": "10.9.0.66"}), evidence())[0]
    of = Evaluator(known)
    host = of.imported("m1-s", route("20.0.0.7/32").with_communities(BLACKHOLE))

    assert NO_EXPORT in host.route.standard
    assert str(host.route.next_hop) == "10.9.0.66"
    assert (of.withheld("m1-s", host, "m2-s"), of.withheld("m1-s", host, "m3-s")) == ("", "blackhole_not_wanted")
    assert of.imported("m1-s", route("20.0.1.7/32").with_communities(BLACKHOLE)).reason == "blackhole_not_covered"
    assert of.imported("m1-s", route("20.0.0.7/32")).reason == "prefix_len_too_long"


def test_the_exchanges_own_large_communities_are_its_own_to_give() -> None:
    """Under its own ASN, beside the vocabulary (RFC 8092, 2.1): on who has been given them they stay, whatever was wished; of everybody else's routes
    they are taken off; and one may be the exchange's word for BLACKHOLE."""
    rules = {"said_communities": [{"said": "irrdb_valid", "community": "139136:65530:1"}], "blackhole_communities": ["139136:666:0"]}
    snapshot = exchange(*member(1, {"as_sets": ["AS-ONE"]}, communities=["139136:65501:7"]), policy=rules)
    of = Evaluator(policy(snapshot, evidence())[0])
    given = of.imported("m1-s", route().with_communities((RS, 0, 1002)))
    feigned = of.imported("m1-s", route().with_communities((RS, 65530, 2), (RS, 65530, 1)))
    black = of.imported("m1-s", route("20.0.0.7/32").with_communities((RS, 666, 0)))

    assert of.told(given, "m3-s").large >= {(RS, 65501, 7), (RS, 65530, 1)}
    assert (RS, 65530, 2) not in feigned.route.large
    assert black.blackhole
    assert (RS, 666, 0) not in black.route.large
    assert all(any(said.function in taken for taken in VOCABULARY) for said in SAID.values())
    assert all(any(large_function(wish, aim) in taken for taken in VOCABULARY) for wish in WISHES for aim in AIMS)


def test_every_reason_has_a_witness_on_both_sides() -> None:
    """Of the rules that this exchange can show, none lacks a route that breaks it alone; what it cannot show is said."""
    known = policy(showing(policy={"blacklist": ["50.0.0.0/8", "2a05::/32"], "communities_max": 20}), given())[0]
    of = Evaluator(known)
    made = plan(of)
    alone = {of.broken(each.session, each.route) for rounds in made.rounds for each in rounds}

    assert () in alone
    assert {reasons[0] for reasons in alone if reasons} == set(ORDER) - NOT_HERE
    assert made.silent == ()
    assert plan(of) == made


def test_what_is_written_is_read_back() -> None:
    """An UPDATE of ours says what was meant, in both families, also over several messages."""
    six = Route(prefix_of("2a00:1::/48"), (1001, frozenset({2, 3}), 2001), ip_address("2406:5340::11"), med=7, otc=9, origin=2)
    six = six.with_communities((1, 2), (1, 2, 3), extended("rt", 1, 2))
    many = [Prefix(4, (20 << 24) + (number << 8), 24) for number in range(3000)]
    for sent, prefixes in ((six, [six.prefix]), (route(), many)):
        buffer = bytearray(announcing(sent, prefixes))
        heard = [updated(body) for kind, body in taken(buffer) if kind == UPDATE]

        assert [prefix for each in heard for prefix in each.reached] == prefixes
        assert {each.attributes.route(sent.prefix) for each in heard} == {sent}


@pytest.mark.parametrize(
    ("thrown_out", "prefixes"),
    [
        (True, "0.128.0.0/9 127.0.0.0/8 127.128.0.0/9 224.0.0.0/3 224.0.0.0/4 239.0.0.0/8 255.255.255.255/32"),
        (True, "::1/128 ::ffff:0:0/96 ::ffff:7f00:0/104 ::2:0:0/96 fe80::/10 fe80::/9 fe80:1::/32 ff00::/8 ff02::/16"),
        (False, "0.0.0.0/0 0.0.0.0/8 0.0.0.0/9 126.0.0.0/7 128.0.0.0/8 223.0.0.0/8 240.0.0.0/4 248.0.0.0/5 169.254.0.0/16"),
        (False, "::/0 ::/8 ::/96 100::/64 fc00::/7 fec0::/10 2001:db8::/32"),
    ],
)
def test_what_bird_throws_out_before_any_filter_is_known_by_its_first_address(thrown_out: bool, prefixes: str) -> None:
    """As BIRD 2.0.12 and 3.1.8 do: each was announced to them, and they counted it as invalid, or did not."""
    for each in prefixes.split():
        assert bogus(prefix_of(each)) is thrown_out, each


NUMBERED: frozenset[Family] = frozenset({4, 6})
OVER_V6 = replace(route(), next_hop=ip_address("2406:5340::11"))  # IPv4 in MP_REACH (RFC 8950)
SIX = Route(prefix_of("2a00:1::/48"), (1001,), ip_address("2406:5340::11"))


@pytest.mark.parametrize("sent", [route(), SIX, OVER_V6], ids=["NLRI", "MP_REACH", "MP_REACH of IPv4"])
def test_path_identifiers_are_written_and_read_back(sent: Route) -> None:
    """RFC 7911, 3: four octets before each prefix, in all four places, where that family has them."""
    more = [sent.prefix, sent.prefix._replace(address=0x20 << sent.prefix.bits - 8, length=8), sent.prefix._replace(address=0, length=0)]
    for number in (0, 7, 0xFFFFFFFF):
        [reached] = [updated(body, NUMBERED) for _, body in taken(bytearray(announcing(sent, more, number)))]
        gone = [updated(body, NUMBERED) for _, body in taken(bytearray(withdrawing(more, number)))]

        assert reached.reached_paths == tuple((each, number) for each in more)
        assert reached.attributes.route(sent.prefix) == sent
        assert [path for each in gone for path in each.withdrawn_paths] == [(each, number) for each in more]
        assert not any((each.reached, each.withdrawn) != ((), ()) for each in (reached, *gone))


def test_one_family_may_have_path_identifiers_and_the_other_none() -> None:
    """They are agreed on for each family (RFC 7911, 4)."""
    [(_, four)], [(_, six)] = taken(bytearray(announcing(route()))), taken(bytearray(announcing(SIX, (), 5)))

    assert updated(four, {6}).reached == (route().prefix,)
    assert updated(six, {6}).reached_paths == ((SIX.prefix, 5),)


def test_prefixes_that_end_too_early_are_malformed() -> None:
    """Every cut of an NLRI with path identifiers, and one of a length that no prefix has, is refused and not misread."""
    [(_, body)] = taken(bytearray(announcing(route(), (), 0x01020304)))
    whole = len(body)
    octets = 4 + 1 + 3  # of identifier, length and prefix

    assert updated(body, NUMBERED).reached_paths == ((route().prefix, 0x01020304),)
    for kept in range(1, octets):
        with pytest.raises(Malformed):
            updated(body[: whole - octets + kept], NUMBERED)
    with pytest.raises(Malformed):
        updated(body[:-4] + bytes([33]) + body[-3:] + bytes(2), NUMBERED)
    [(_, withdrawn)] = taken(bytearray(withdrawing([route().prefix])))
    with pytest.raises(Malformed):  # without an identifier, read as with one
        updated(withdrawn, NUMBERED)


@pytest.mark.parametrize("several", [0, TAKES, SENDS, TAKES | SENDS])
def test_several_paths_are_agreed_on_in_the_open(several: int) -> None:
    """RFC 7911, 4: by family; a mode that is none of the three, and another SAFI, are passed over."""
    [(_, body)] = taken(bytearray(open_message(1001, IPv4Address(1), (4, 6), hold_time_seconds=90, role=2, several=several)))
    said = opened(body)
    assert said.several == ({4: several, 6: several} if several else {})
    assert (said.asn, said.role, sorted(said.families)) == (1001, 2, [4, 6])
    if several:
        odd = body.replace(bytes([0, 1, 1, several, 0, 2, 1, several]), bytes([0, 1, 1, 4, 0, 2, 128, several]))
        assert odd != body
        assert opened(odd).several == {}
        with pytest.raises(Malformed):
            opened(body.replace(bytes([69, 8]), bytes([69, 7])))
