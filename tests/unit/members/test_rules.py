"""Each admission rule of the members plane is broken by one small change to an exchange that is right, and by nothing else."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from nnix.kernel.resource import Resource
from nnix.kernel.rule import judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.members.kinds import KINDS
from nnix.planes.members.numbers import SET_ASIDE, set_aside
from nnix.planes.members.rules import RULES, as_set_well_named

Fields = dict[str, Any]
Wish = dict[str, Fields | None]

RIGHT: dict[str, Fields] = {
    "Exchange/zj": {"title": {"en": "Zhejiang"}, "asn": 139136, "country": "CN"},
    "Carrier/telecom": {"title": {"en": "China Telecom"}, "asns": [4134, 4809]},
    "Carrier/mobile": {"title": {"en": "China Mobile"}, "asns": [9808]},
    "Site/hz": {
        "title": {"en": "Hangzhou"},
        "role": "hub",
        "level": "province",
        "city": "Hangzhou",
        "country": "CN",
        "carriers": ["telecom"],
    },
    "Site/nb": {
        "title": {"en": "Ningbo"},
        "role": "backbone",
        "level": "province",
        "city": "Ningbo",
        "country": "CN",
        "vtep": "10.255.0.2",
    },
    "Site/wz": {"title": {"en": "Wenzhou"}, "role": "backbone", "level": "city", "city": "Wenzhou", "country": "CN", "machine": "wz-1"},
    "Site/sg": {"title": {"en": "Singapore"}, "role": "node", "level": "cross-border", "city": "Singapore", "country": "SG"},
    "Machine/wz-1": {"reach": "ssh", "address": "192.0.2.10", "host_key": "ssh-ed25519 AAAA"},
    "Member/ali": {"title": {"en": "Alibaba"}, "asn": 37963, "class": "cloud", "as_sets": ["APNIC::AS-ALIBABA"], "country": "CN"},
    "Member/netease": {"title": {"en": "NetEase"}, "asn": 45062, "class": "content", "joined": "2021-11-24"},
}
LAB: Wish = {"Exchange/zj": {"lab": True}}


def exchange(*wishes: Wish) -> Snapshot:
    """RIGHT with fields changed (a dict), resources added (a dict under a new id) or taken away (None)."""
    kinds = {kind.kind(): kind for kind in KINDS}
    fields = {key: dict(value) for key, value in RIGHT.items()}
    for wish in wishes:
        for key, change in wish.items():
            if change is None:
                del fields[key]
            else:
                fields[key] = {**fields.get(key, {}), **change}
    made: list[Resource] = []
    for key, value in fields.items():
        kind, _, name = key.partition("/")
        made.append(kinds[kind].model_validate({"name": name, **value}))
    return Snapshot(made)


def broken(*wishes: Wish) -> list[tuple[str, str, str]]:
    """(rule, resource, field) of each refusal."""
    return [(each.rule, each.resource, each.field) for each in judge(exchange(*wishes), RULES)]


SITES_GONE: Wish = {key: None for key in RIGHT if key.startswith("Site/")}
OTHER_MEMBER: Fields = {"title": {"en": "Other"}, "class": "isp"}
NODE: Fields = {"title": {"en": "Node"}, "role": "node", "level": "city", "city": "Jinhua", "country": "CN"}
CASES: list[tuple[str, str, str, Wish]] = [
    ("members.exchange-once", "exchange/zj-2", "name", {"Exchange/zj-2": RIGHT["Exchange/zj"]}),
    ("members.exchange-of-sites", "site/hz", "", {"Exchange/zj": None}),
    ("members.exchange-of-members", "member/ali", "", {"Exchange/zj": None, **SITES_GONE}),
    ("members.hub-exists", "exchange/zj", "", {"Site/hz": {"role": "node"}}),
    ("members.hub-once", "site/sg", "role", {"Site/sg": {"role": "hub", "carriers": ["mobile"]}}),
    ("members.backbone-two", "exchange/zj", "", {"Site/nb": {"role": "node"}}),
    ("members.backbone-two", "exchange/zj", "", {"Site/jh": {**NODE, "role": "backbone"}}),
    ("members.hub-joins-carriers", "site/hz", "carriers", {"Site/hz": {"carriers": []}}),
    ("members.level-fits-country", "site/sg", "level", {"Site/sg": {"level": "national"}}),
    ("members.position-whole", "site/hz", "longitude", {"Site/hz": {"latitude": 30.27}}),
    ("members.position-whole", "site/hz", "latitude", {"Site/hz": {"longitude": 120.15}}),
    ("members.site-country-assigned", "site/sg", "country", {"Site/sg": {"country": "UK"}}),
    ("members.country-assigned", "member/ali", "country", {"Member/ali": {"country": "ZZ"}}),
    ("members.asn-once", "member/other", "asn", {"Member/other": {**OTHER_MEMBER, "asn": 37963}}),
    ("members.asn-public", "member/ali", "asn", {"Member/ali": {"asn": 64512}}),
    ("members.asn-public", "member/ali", "asn", {"Member/ali": {"asn": 65534}}),
    ("members.asn-public", "member/ali", "asn", {"Member/ali": {"asn": 65535}}),
    ("members.asn-public", "member/ali", "asn", {"Member/ali": {"asn": 23456}}),
    ("members.asn-public", "member/ali", "asn", {"Member/ali": {"asn": 65552}}),
    ("members.asn-public", "member/ali", "asn", {"Member/ali": {"asn": 4200000000}}),
    ("members.asn-public", "member/ali", "asn", {"Member/ali": {"asn": 4294967294}}),
    ("members.asn-documentation", "member/ali", "asn", {"Member/ali": {"asn": 64496}}),
    ("members.asn-documentation", "member/ali", "asn", {"Member/ali": {"asn": 65551}}),
    ("members.asn-not-the-exchanges", "member/ali", "asn", {"Member/ali": {"asn": 139136}}),
    ("members.exchange-asn-public", "exchange/zj", "asn", {"Exchange/zj": {"asn": 64512}}),
    ("members.exchange-asn-public", "exchange/zj", "asn", {"Exchange/zj": {"asn": 64500}}),
    ("members.carrier-asn-public", "carrier/mobile", "asns.1", {"Carrier/mobile": {"asns": [9808, 65000]}}),
    ("members.carrier-asn-once", "carrier/telecom", "asns.2", {"Carrier/telecom": {"asns": [4134, 4809, 9808]}}),
    ("members.carrier-asn-once", "carrier/mobile", "asns.1", {"Carrier/mobile": {"asns": [9808, 9808]}}),
    ("members.as-set-name", "member/ali", "as_sets.0", {"Member/ali": {"as_sets": ["ASFOO"]}}),
    ("members.as-set-name", "member/ali", "as_sets.1", {"Member/ali": {"as_sets": ["AS-FOO", "AS64500:AS64501"]}}),
    ("members.as-set-registry", "member/ali", "as_sets.0", {"Member/ali": {"as_sets": ["APNCI::AS-ALIBABA"]}}),
    ("members.prefixes-below-full-table", "member/ali", "prefixes_max.v4", {"Member/ali": {"prefixes_max": {"v4": 1_000_000}}}),
    ("members.prefixes-below-full-table", "member/ali", "prefixes_max.v6", {"Member/ali": {"prefixes_max": {"v6": 200_000}}}),
    ("members.joined-on-a-day", "member/ali", "joined", {"Member/ali": {"joined": "2021-02-30"}}),
    ("members.vtep-once", "site/sg", "vtep", {"Site/sg": {"vtep": "10.255.0.2"}}),
    ("members.vtep-unicast", "site/sg", "vtep", {"Site/sg": {"vtep": "224.0.0.1"}}),
    ("members.vtep-unicast", "site/sg", "vtep", {"Site/sg": {"vtep": "::"}}),
    ("members.machine-of-one-site", "site/wz", "machine", {"Site/nb": {"machine": "wz-1"}}),
    ("members.machine-of-one-site", "site/nb", "machine", {"Machine/hz": {"reach": "namespace"}, "Site/nb": {"machine": "hz"}}),
    ("members.machine-reachable", "machine/wz-1", "address", {"Machine/wz-1": {"address": None}}),
    ("members.machine-reachable", "machine/wz-1", "host_key", {"Machine/wz-1": {"host_key": None}}),
    ("members.machine-once", "machine/wz-2", "address", {"Machine/wz-2": RIGHT["Machine/wz-1"]}),
]


def test_an_exchange_that_is_right_is_admitted() -> None:
    """No rule objects to a hub with carriers, two backbone points, a node abroad and two members."""
    assert broken() == []


@pytest.mark.parametrize(("rule", "resource", "field", "wish"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_a_rule_refuses_what_breaks_it_and_no_other_rule_does(rule: str, resource: str, field: str, wish: Wish) -> None:
    """One fault, one refusal: it names rule, resource and field."""
    assert broken(wish) == [(rule, resource, field)]


def test_an_exchange_under_a_country_that_is_none_is_refused() -> None:
    """ISO 3166-1 assigns no UK. Its sites, in CN, are then abroad as well, and are told so."""
    found = judge(exchange({"Exchange/zj": {"country": "UK"}}), RULES)

    assert ("members.exchange-country-assigned", "write GB") in [(each.rule, each.mend) for each in found]
    assert {each.rule for each in found} == {"members.exchange-country-assigned", "members.level-fits-country"}


def test_every_rule_has_a_case() -> None:
    """No rule goes untested: the cases and the tests above name them all."""
    assert {each.name for each in RULES} == {case[0] for case in CASES} | {"members.exchange-country-assigned"}


def test_rule_names_are_unique_and_sourced() -> None:
    """Operators search rules by name, and ask who says so."""
    assert len({each.name for each in RULES}) == len(RULES)
    assert all(each.source and each.description for each in RULES)


@pytest.mark.parametrize(
    "wish",
    [
        {"Member/ali": {"asn": 64496}},
        {"Member/ali": {"asn": 65551}},
        {"Exchange/zj": {"asn": 64500}},
        {"Carrier/mobile": {"asns": [64501]}},
        {"Member/ali": {"country": "ZZ"}},
        {"Machine/wz-1": {"address": None, "host_key": None}},
        {"Member/ali": {"as_sets": ["LAB::AS-ALIBABA"]}},
    ],
)
def test_a_laboratory_may(wish: Wish) -> None:
    """Documentation numbers, unknown countries, registries of its own and machines without a key are for laboratories."""
    assert broken(wish) != []
    assert broken(wish, LAB) == []


@pytest.mark.parametrize("wish", [{"Member/ali": {"asn": 64512}}, {"Member/ali": {"asn": 23456}}, {"Member/ali": {"country": "UK"}}])
def test_a_laboratory_may_not(wish: Wish) -> None:
    """Private and reserved numbers, and codes of no country, are refused in a laboratory as well."""
    assert broken(wish, LAB) != []


@pytest.mark.parametrize(
    "wish",
    [
        {"Site/nb": None, "Site/wz": None},
        dict.fromkeys(RIGHT),
        {"Carrier/telecom": None, "Carrier/mobile": None, "Site/hz": {"carriers": []}},
        {"Site/hz": {"latitude": 30.27, "longitude": 120.15}},
        {"Member/ali": {"country": "XK"}},
        {"Member/ali": {"asn": 64495}},
        {"Member/ali": {"asn": 131072}},
        {"Member/ali": {"asn": 4199999999}},
        {"Member/ali": {"as_sets": ["AS64500", "AS64500:AS-FOO", "RIPE::AS-FOO:AS-BAR"]}},
        {"Member/ali": {"prefixes_max": {"v4": 899_999, "v6": 199_999}}},
        {"Machine/wz-2": {**RIGHT["Machine/wz-1"], "home": "/var/lib/nnix/second"}},
        {"Machine/wz-2": {"reach": "namespace"}},
        {"Site/hk": {**NODE, "level": "cross-border"}},
    ],
)
def test_what_only_looks_unusual_is_admitted(wish: Wish) -> None:
    """A rule refuses what is wrong; its neighbours just inside the limit pass."""
    assert broken(wish) == []


def test_ranges_set_aside_do_not_overlap() -> None:
    """Each AS number has one fate."""
    for earlier, later in pairwise(SET_ASIDE):
        assert earlier.first <= earlier.last < later.first
    assert set_aside(4294967295) == SET_ASIDE[-1]


@pytest.mark.parametrize(
    "name", ["AS-", "AS--", "ASFOO", "AS64500:", ":AS-FOO", "AS64500:AS64501", "AS4294967296", "AS01", "AS-FOO::AS-BAR"]
)
def test_ill_named_as_sets(name: str) -> None:
    """RFC 2622, 5.1: letters, digits, - and _, ended by a letter or digit, each part an AS or AS-something."""
    assert not as_set_well_named(name)
