"""Each rule of trust: what is right breaks none, and one small change breaks that one rule and no other."""

from __future__ import annotations

import pytest

from nnix.cli.root import KINDS
from nnix.kernel.resource import Json
from nnix.kernel.rule import judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.trust.rules import RULES

COMMON: Json = {"until": "2026-12-01T00:00:00Z", "approvers": [{"contact": "contact:a"}, {"contact": "contact:b"}], "why": "ticket 1"}
RIGHT: dict[str, Json] = {
    "TrustAnchor/apnic": {"tal": "rpki/apnic.tal", "only": ["1.0.0.0/8"], "never": ["1.1.0.0/16"]},
    "TrustAnchor/ripe": {"tal": "rpki/ripe.tal"},
    "RelyingParty/one": {"site": "hz", "anchors": ["apnic", "ripe"], "mirror": "/var/lib/mirror"},
    "RelyingParty/two": {"site": "hz", "anchors": ["apnic"], "mirror": "mirror", "serves": "rpki/two.json"},
    "RelyingParty/three": {"site": "hz", "anchors": ["apnic"], "follows": "home", "serves": "rpki/three.json"},
    "Repository/apnic": {
        "rrdp": "https://rrdp.apnic.net/notification.xml",
        "rsync": ["rsync://rpki.apnic.net/repository/"],
        "publishes": ["rsync://rpki.apnic.net/repository/"],
    },
    "Repository/member": {"rsync": ["rsync://rpki.apnic.net/member/a/"], "publishes": ["rsync://rpki.apnic.net/member/"]},
    "Mirror/home": {
        "site": "hz",
        "repositories": ["apnic", "member"],
        "operator": "rpki.nnix.example",
        "uri": "https://rpki.nnix.example",
        "cosigners": ["PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"],
    },
    "Exchange/lab": {"title": {"en": "Lab"}, "asn": 139136, "country": "CN"},
    "Site/hz": {"title": {"en": "Hangzhou"}, "role": "hub", "level": "city", "city": "Hangzhou", "country": "CN"},
    "Lan/lan": {"title": {"en": "LAN"}, "v4": "192.0.2.0/24", "v6": "2001:db8:1::/64"},
    "Lan/test": {"title": {"en": "Test"}, "purpose": "quarantine", "v4": "192.0.2.0/24"},
    "RoutingPolicy/open": {"rpki_sources": ["rpki/vrps.json"]},
    "RouteServer/rs1": {"site": "hz", "lan": "lan", "policy": "open", "v4": "192.0.2.1", "mac": "02:00:00:00:00:01"},
    "RtrCache/one": {
        "site": "hz",
        "lan": "lan",
        "v4": "192.0.2.8",
        "v6": "2001:db8:1::8",
        "mac": "02:00:00:00:00:08",
        "listen": ["10.0.0.8"],
    },
    "RtrCache/two": {"site": "hz", "lan": "lan", "v6": "2001:db8:1::9", "mac": "02:00:00:00:00:09", "tls": "secret:rtr"},
    "LocalException/filter-prefix": {"action": "filter", "prefix": "192.0.2.0/24", **COMMON},
    "LocalException/assert-prefix": {"action": "assert", "prefix": "192.0.2.0/24", "length_max": 25, "asn": 64496, **COMMON},
    "LocalException/filter-key": {"action": "filter", "about": "router-key", "asn": 64496, **COMMON},
    "LocalException/assert-key": {
        "action": "assert",
        "about": "router-key",
        "asn": 64496,
        "key_id": "0" * 40,
        "public_key": "MFk=",
        **COMMON,
    },
    "LocalException/filter-aspa": {"action": "filter", "about": "aspa", "asn": 64496, **COMMON},
    "LocalException/assert-aspa": {"action": "assert", "about": "aspa", "asn": 64496, "providers": [64497], **COMMON},
}
BROKEN: list[tuple[str, dict[str, Json], set[tuple[str, str]]]] = [
    ("trust.exception-says-what", {"LocalException/assert-prefix": {"asn": None, "length_max": None}}, {("local-exception/assert-prefix", "asn")}),
    ("trust.exception-says-what", {"LocalException/filter-prefix": {"prefix": None}}, {("local-exception/filter-prefix", "asn")}),
    ("trust.exception-says-what", {"LocalException/filter-prefix": {"length_max": 24}}, {("local-exception/filter-prefix", "length_max")}),
    ("trust.exception-says-what", {"LocalException/assert-aspa": {"providers": []}}, {("local-exception/assert-aspa", "providers")}),
    ("trust.exception-length", {"LocalException/assert-prefix": {"length_max": 23}}, {("local-exception/assert-prefix", "length_max")}),
    ("trust.exception-length", {"LocalException/assert-prefix": {"length_max": 33}}, {("local-exception/assert-prefix", "length_max")}),
    (
        "trust.exception-two-approvers",
        {"LocalException/filter-aspa": {"approvers": [{"contact": "contact:a"}]}},
        {("local-exception/filter-aspa", "approvers")},
    ),
    (
        "trust.exception-two-approvers",
        {"LocalException/filter-aspa": {"approvers": [{"contact": "contact:a"}, {"contact": "contact:a"}]}},
        {("local-exception/filter-aspa", "approvers[1].contact")},
    ),
    (
        "trust.exception-two-approvers",
        {"LocalException/filter-aspa": {"approvers": [{"contact": "contact:a", "login": "li"}, {"contact": "contact:b", "login": "li"}]}},
        {("local-exception/filter-aspa", "approvers[1].login")},
    ),
    (
        "trust.exception-once",
        {"LocalException/again": {"action": "assert", "about": "aspa", "asn": 64496, "providers": [64498], **COMMON}},
        {("local-exception/again", "asn"), ("local-exception/assert-aspa", "asn")},
    ),
    ("trust.anchor-leaves-something", {"TrustAnchor/apnic": {"never": ["0.0.0.0/0"]}}, {("trust-anchor/apnic", "only")}),
    ("trust.tal-once", {"TrustAnchor/ripe": {"tal": "rpki/apnic.tal"}}, {("trust-anchor/apnic", "tal"), ("trust-anchor/ripe", "tal")}),
    ("trust.mirror-is-named", {"RelyingParty/two": {"mirror": "../mirror"}}, {("relying-party/two", "mirror")}),
    ("trust.mirror-is-named", {"RelyingParty/two": {"follows": "home"}}, {("relying-party/two", "follows")}),
    ("trust.mirror-is-named", {"RelyingParty/three": {"follows": None}}, {("relying-party/three", "follows")}),
    ("trust.repository-has-a-way", {"Repository/apnic": {"rrdp": None, "rsync": []}}, {("repository/apnic", "rrdp")}),
    ("trust.repository-has-a-way", {"Repository/member": {"rsync": ["rsync://rpki.apnic.net/others/"]}}, {("repository/member", "rsync")}),
    ("trust.places-apart", {"Repository/member": {"publishes": ["rsync://rpki.apnic.net/member/", "rsync://rpki.apnic.net/repository/x/"]}}, {("mirror/home", "repositories")}),
    (
        "trust.mirror-names",
        {"Repository/ta": {"rrdp": "https://a.example/", "publishes": ["rsync://a.example/ta/"]}, "Mirror/home": {"repositories": ["apnic", "ta"]}},
        {("mirror/home", "repositories")},
    ),
    ("trust.cosigners-are-keys", {"Mirror/home": {"cosigners": ["PeterNewmann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]}}, {("mirror/home", "cosigners")}),
    ("trust.validated-by-the-loop", {"RelyingParty/two": {"every": "10min"}}, {("relying-party/two", "mirror")}),
    ("trust.validated-by-the-loop", {"RelyingParty/one": {"every": "10ms"}}, {("relying-party/one", "every")}),
    ("trust.cache-on-its-lan", {"RtrCache/two": {"lan": "test", "v6": None, "v4": "192.0.2.9"}}, {("rtr-cache/two", "lan")}),
    ("trust.cache-on-its-lan", {"RtrCache/two": {"v6": None}}, {("rtr-cache/two", "v4")}),
    ("trust.cache-on-its-lan", {"RtrCache/one": {"v4": "192.0.2.255"}}, {("rtr-cache/one", "v4")}),
    ("trust.cache-on-its-lan", {"RtrCache/one": {"v4": "192.0.2.1"}}, {("rtr-cache/one", "v4")}),
    ("trust.cache-on-its-lan", {"RtrCache/one": {"v6": "2001:db8:1::9"}}, {("rtr-cache/one", "v6"), ("rtr-cache/two", "v6")}),
    ("trust.cache-on-its-lan", {"RtrCache/one": {"listen": ["224.0.0.9", "192.0.2.77"]}}, {("rtr-cache/one", "listen.0"), ("rtr-cache/one", "listen.1")}),
    ("trust.cache-mac-once", {"RtrCache/one": {"mac": "02:00:00:00:00:01"}}, {("rtr-cache/one", "mac")}),
    ("trust.cache-mac-once", {"RtrCache/one": {"mac": "01:00:00:00:00:01"}}, {("rtr-cache/one", "mac")}),
    ("trust.cache-stands-alone", {"RtrCache/rs1": {"site": "hz", "lan": "lan", "v4": "192.0.2.10"}}, {("rtr-cache/rs1", "machine")}),
    ("trust.cache-clocks", {"RtrCache/one": {"retry": "3h", "expire": "4h"}}, {("rtr-cache/one", "retry")}),
    ("trust.cache-clocks", {"RtrCache/one": {"refresh": "2h"}}, {("rtr-cache/one", "expire")}),
    ("trust.cache-clocks", {"RtrCache/one": {"refresh": "1500ms"}}, {("rtr-cache/one", "refresh")}),
    ("trust.cache-clocks", {"RtrCache/one": {"age_max": "59s"}}, {("rtr-cache/one", "age_max")}),
    ("trust.cache-ports", {"RtrCache/one": {"port": 8323}}, {("rtr-cache/one", "port")}),
    ("trust.served-once", {"RelyingParty/two": {"serves": "rpki/vrps.json"}}, {("relying-party/one", "serves"), ("relying-party/two", "serves")}),
]  # fmt: skip


def snapshot(changes: dict[str, Json]) -> Snapshot:
    merged = {name: {**RIGHT.get(name, {}), **changes.get(name, {})} for name in RIGHT | changes}
    return Snapshot(
        KINDS[name.partition("/")[0]].model_validate({"name": name.partition("/")[2], **{f: v for f, v in fields.items() if v is not None}})
        for name, fields in merged.items()
    )


def test_what_is_right_breaks_nothing() -> None:
    assert judge(snapshot({}), RULES) == ()


@pytest.mark.parametrize(("rule", "changes", "named"), BROKEN, ids=[f"{rule}-{index}" for index, (rule, _, _) in enumerate(BROKEN)])
def test_one_change_breaks_one_rule(rule: str, changes: dict[str, Json], named: set[tuple[str, str]]) -> None:
    found = judge(snapshot(changes), RULES)
    assert ({each.rule for each in found}, {(each.resource, each.field) for each in found}) == ({rule}, named)


def test_every_rule_is_broken_here() -> None:
    assert {each.name for each in RULES} == {rule for rule, _, _ in BROKEN}
