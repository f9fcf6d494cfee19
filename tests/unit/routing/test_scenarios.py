"""What published live-test scenarios of other people's route servers expect, put to the evaluator: who is let in, and why not, and who hears what.

The numbers are those scenarios', the resources ours. `docs/routing/scenarios.md` lists them all and says where we differ on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.planes.routing.communities import BLACKHOLE, GRACEFUL_SHUTDOWN
from nnix.planes.routing.compile import policy
from nnix.planes.routing.kinds import RoutingException
from nnix.planes.routing.prove.evaluate import LOCAL_PREF, Evaluator, Verdict
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.route import Community, Route, Segment, extended, prefix_of
from nnix.planes.routing.sources import past
from tests.unit.routing.exchange import RPSL, exchange, member

RS = 139136
STAND_IN = 65000  # of the route server, where only 16 bits are
UNTIL = datetime(2027, 1, 1, tzinfo=UTC)
ROAS = (
    ("20.8.0.0/24", 24, 2001),
    ("20.9.0.0/24", 24, 102),
    ("20.128.0.0/20", 23, 2001),
    ("22.0.0.0/17", 17, 2001),
    ("23.0.0.0/16", 24, 105),
)


def given(rpsl: str = RPSL) -> Evidence:
    roas = [{"asn": asn, "prefix": prefix, "maxLength": longest} for prefix, longest, asn in ROAS]
    whois = [{"originas": "AS2002", "prefix": "104.0.0.0/23"}]
    files = {
        "file:i.rpsl": rpsl.encode(),
        "file:v.json": json.dumps({"roas": roas}).encode(),
        "file:arin.json": json.dumps({"source": "ARIN-WHOIS", "whois_records": {"v4": whois, "v6": []}}).encode(),
        "file:nicbr.txt": b"AS2002|ACME|ACME_ID|104.1.1.0/24|3104:1:1::/48\n",
    }
    return Evidence({**files, past(UNTIL): b"no"})


def judged(*more: Resource, rpsl: str = RPSL, **rules: object) -> Evaluator:
    return Evaluator(policy(exchange(*more, policy=rules), given(rpsl))[0])


def route(prefix: str, *path: Segment, hop: str = "10.9.0.11", communities: tuple[Community, ...] = ()) -> Route:
    return Route(prefix_of(prefix), path or (1001,), ip_address(hop)).with_communities(*communities)


def let_off(**fields: object) -> Resource:
    plain = {"name": "m1", "session": "m1-s", "until": UNTIL, "answers": "contact:noc", "why": "a scenario"}
    return RoutingException.model_validate({**plain, **fields})


@pytest.mark.parametrize(
    ("prefix", "origin", "reason"),
    [
        ("11.1.1.0/24", 1011, ""),
        ("11.1.2.0/24", 1000, "irrdb_origin_as_filtered"),  # a listed prefix, of whom nobody listed
        ("11.2.1.0/24", 1011, "irrdb_prefix_filtered"),  # somebody listed, with a prefix that is not
        ("11.3.0.0/16", 1012, ""),
        ("11.3.1.0/24", 1012, "irrdb_origin_as_filtered"),  # inside of a route that is listed exactly
        ("11.4.1.0/24", 1000, ""),
    ],
)
def test_a_white_list_lets_pass_what_it_names_and_nothing_beside(prefix: str, origin: int, reason: str) -> None:
    """Prefixes and origins by themselves, and prefix with origin: exactly, or with more specifics."""
    listed = [
        {"prefix": "11.1.0.0/16", "le": 32},
        {"prefix": "11.3.0.0/16", "origin": 1012},
        {"prefix": "11.4.0.0/16", "le": 24, "origin": 1000},
    ]
    of = judged(let_off(prefixes=listed, origins=[1011]))

    assert of.imported("m1-s", route(prefix, 1001, origin)).reason == reason


@pytest.mark.parametrize(
    ("prefix", "path", "reason"),
    [
        ("22.0.0.0/17", (1001, 2001), ""),  # as a ROA says
        ("22.0.1.0/24", (1001, 2001), "irrdb_prefix_filtered"),  # longer than the ROA lets it be: no route object, before it is invalid
        ("23.0.0.0/24", (1001, 105), "irrdb_origin_as_filtered"),  # a ROA makes nobody a customer
        ("104.0.1.0/24", (1001, 2002), ""),  # as ARIN's whois says, and more specific
        ("104.1.1.0/24", (1001, 2002), ""),  # as NIC.BR's does
        ("20.8.0.0/24", (1001, 2001), ""),
        ("20.9.0.0/24", (1001, 2001), "rpki_invalid"),  # another's
        ("20.128.0.0/24", (1001, 2001), "rpki_invalid"),  # too long
        ("20.8.0.0/24", (1001, 2001, frozenset([2001])), "as_set_in_path"),  # whoever it is that is meant (RFC 9774; RFC 6907, 7.1.9)
    ],
)
def test_roas_and_whois_do_for_route_objects_and_for_no_more_than_that(prefix: str, path: tuple[Segment, ...], reason: str) -> None:
    """An origin must be in the member's as-sets whatever vouches for the prefix."""
    objects = "".join(f"\nroute: {each}\norigin: AS2001\nsource: T\n" for each in ("20.8.0.0/16", "20.9.0.0/24", "20.128.0.0/20"))
    sources = ["i.rpsl", "arin.json", "nicbr.txt"]
    of = judged(rpsl=RPSL + objects, irr_sources=sources, irr_more_specifics=True, roas_are_route_objects=True)

    assert of.imported("m1-s", route(prefix, *path)).reason == reason


NEAR = {"m1": "600ms", "m2": "5ms", "m3": "17.3ms", "m4": "123.8ms", "m5": "0.1ms"}


@pytest.mark.parametrize(
    ("communities", "prepends"),
    [
        (((0, STAND_IN), (65421, 15)), {"m2": 0, "m5": 0}),  # to none, but to 15 ms and less
        (((0, STAND_IN), (65421, 5)), {"m2": 0, "m5": 0}),  # 5 ms are 5 ms or less
        (((65430, 15),), {"m2": 0, "m5": 0}),  # not to more than 15 ms
        (((65430, 5), (STAND_IN, 1004)), {"m2": 0, "m4": 0, "m5": 0}),  # ... but to AS1004, however far
        (((65420, 5), (65430, 100)), {"m3": 0}),  # not to 5 ms and less, nor to more than 100 ms
        (((65434, 100), (65433, 10)), {"m2": 0, "m3": 2, "m4": 3, "m5": 0}),  # the longest that concerns the receiver
        (((65424, 5), (65423, 20), (65501, STAND_IN)), {"m2": 3, "m3": 2, "m4": 1, "m5": 3}),  # bands before all
        ((extended("rt", 65432, 10), extended("rt", 65433, 20)), {"m2": 0, "m3": 1, "m4": 2, "m5": 0}),
        (((65503, 1002), (65501, STAND_IN)), {"m2": 3, "m3": 1, "m4": 1, "m5": 1}),  # one before all
    ],
)
def test_wishes_by_round_trip_time_meet_those_about_one_and_about_all(
    communities: tuple[Community, ...], prepends: Mapping[str, int]
) -> None:
    """Receivers at 5, 17.3, 123.8 and 0.1 ms: who hears of it, and how often its announcer's ASN stands in front."""
    made = [each for name, rtt in NEAR.items() for each in member(int(name[1]), {"as_sets": ["AS-ONE"]} if name == "m1" else {}, rtt=rtt)]
    of = judged(*made, rtt_thresholds=[5, 10, 15, 20, 30, 50, 100, 200, 500])
    world = Exchange(of, [("m1-s", route("20.0.0.0/24", communities=communities))])
    heard = {name: [told for _, told in world.told(f"{name}-s")] for name in NEAR}

    assert {name: len(told[0].path) - 1 for name, told in heard.items() if told} == prepends
    assert not any(told[0].standard or told[0].extended for told in heard.values() if told)


def test_whose_graceful_shutdown_is_not_obeyed_keeps_its_place_and_its_word() -> None:
    """The route is as good as any other here; the community is passed on, and is each receiver's to heed (RFC 8326)."""
    of = judged(*member(2, {"as_sets": ["AS-ONE"]}, graceful_shutdown=False))

    def going(session: str, *path: int, hop: str) -> Verdict:
        return of.imported(session, route("20.0.0.0/24", *path, hop=hop, communities=(GRACEFUL_SHUTDOWN,)))

    obeyed, kept = going("m1-s", 1001, hop="10.9.0.11"), going("m2-s", 1002, 1001, hop="10.9.0.12")

    assert (obeyed.local_pref, kept.local_pref) == (0, LOCAL_PREF)
    assert of.told(kept, "m3-s").standard == {GRACEFUL_SHUTDOWN}


def test_next_hops_are_those_that_the_scenario_lists() -> None:
    """Strict, same-as and a list are one session's each: its own address, another router's of its AS, one that is no client at all."""
    second = member(4, {"asn": 1001, "as_sets": ["AS-ONE"]})[-1].changed(name="m1-t", member="m1", port="m1-p")
    first = member(1, {"as_sets": ["AS-ONE"]}, next_hop="strict")
    listed = member(2, {"as_sets": ["AS-ONE"]}, next_hop="strict", next_hops=["10.9.0.22"])
    of = judged(*first, second, *listed)

    def reason(session: str, hop: str, *path: int) -> str:
        return of.imported(session, route("20.0.0.0/24", *path, hop=hop)).reason

    assert [reason("m1-s", hop) for hop in ("10.9.0.11", "10.9.0.14")] == ["", "next_hop_not_peer_ip"]
    assert [reason("m1-t", hop) for hop in ("10.9.0.11", "10.9.0.14", "10.9.0.101")] == ["", "", "next_hop_not_peer_ip"]
    assert [reason("m2-s", hop, 1002, 1001) for hop in ("10.9.0.22", "10.9.0.23")] == ["", "next_hop_not_peer_ip"]


def test_a_blackhole_says_that_its_origin_was_not_validated() -> None:
    """Longer than its ROA lets it be, and right all the same: what it says of its validity is that nobody looked."""
    of = judged(rpsl=RPSL + "\nroute: 20.128.0.0/20\norigin: AS2001\nsource: T\n", blackhole_v4="10.9.0.66")
    black = of.imported("m1-s", route("20.128.0.1/32", 1001, 2001, communities=(BLACKHOLE,)))

    assert black.accepted
    assert (RS, 1000, 3) in of.told(black, "m2-s").large
    assert str(of.told(black, "m2-s").next_hop) == "10.9.0.66"
