"""Each rule of trust: what is right breaks none, and one small change breaks that one rule and no other."""

from __future__ import annotations

import pytest

from nnix.cli.root import KINDS
from nnix.kernel.resource import Json
from nnix.kernel.rule import judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.trust.rules import RULES

COMMON: Json = {"until": "2026-12-01T00:00:00Z", "approvers": ["contact:a", "contact:b"], "why": "ticket 1"}
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
        {"LocalException/filter-aspa": {"approvers": ["contact:a", "contact:a"]}},
        {("local-exception/filter-aspa", "approvers")},
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
