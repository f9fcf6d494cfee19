"""What the plane asks for, refuses and says before anything is validated."""

from __future__ import annotations

import pytest

from nnix.cli.root import KINDS
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Json
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.trust.compile import compile, evidence, prove
from nnix.planes.trust.rtr.tables import Caches

RIGHT: dict[str, Json] = {
    "TrustAnchor/lab": {"tal": "rpki/lab.tal"},
    "RelyingParty/one": {"site": "hz", "anchors": ["lab"], "mirror": "mirror"},
    "RoutingPolicy/safe": {"rpki_sources": ["rpki/vrps.json"]},
}


def snapshot(**more: Json) -> Snapshot:
    merged = {**RIGHT, **{f"RelyingParty/{name}": fields for name, fields in more.items()}}
    return Snapshot(
        KINDS[name.partition("/")[0]].model_validate({"name": name.partition("/")[2], **fields}) for name, fields in merged.items()
    )


def test_tals_are_evidence() -> None:
    """A plan pins whom one believes."""
    assert list(evidence(snapshot())) == ["file:rpki/lab.tal"]


def test_a_tal_that_is_none_stops_the_change() -> None:
    with pytest.raises(Refused) as refused:
        compile(snapshot(), Evidence({"file:rpki/lab.tal": b"rsync://a.example/ta.cer\n"}))
    (refusal,) = refused.value.refusals
    assert (refusal.resource, refusal.field, refusal.rule) == ("trust-anchor/lab", "tal", "trust.tal-is-readable")


def caches(**more: Json) -> Snapshot:
    """A lab with a cache at each of two sites, and a policy that takes VRPs from one of them."""
    place = {"title": {"en": "P"}, "role": "node", "level": "city", "city": "P", "country": "CN"}
    wanted: dict[str, Json] = {
        "Lan/lan": {"title": {"en": "LAN"}, "v4": "192.0.2.0/24"},
        "Site/hz": place,
        "Site/nb": place,
        "RoutingPolicy/safe": {"rpki_sources": ["rpki/vrps.json"], "rpki_caches": ["one"]},
        "RtrCache/one": {"site": "hz", "lan": "lan", "v4": "192.0.2.8", "tls": "secret:rtr", "md5": "secret:key", "listen": ["10.0.0.8"]},
        "RtrCache/two": {"site": "nb", "lan": "lan", "v4": "192.0.2.9"},
        **more,
    }
    return Snapshot(
        KINDS[name.partition("/")[0]].model_validate({"name": name.partition("/")[2], **fields}) for name, fields in wanted.items()
    )


def test_a_cache_has_the_tables_that_somebody_takes() -> None:
    """The server takes its settings as they are; a policy's tables are marked, and stand on their own ports."""
    made = {each.key: each for each in compile(caches(), Evidence({"file:rpki/vrps.json": b"{}"}))}
    one, two = (Caches.model_validate_json(made[name, "rtr", name].content) for name in ("one", "two"))
    assert [(each.name, each.marked, each.any_length) for each in one.tables] == [
        ("vrps", False, False),
        ("vrp", True, False),
        ("vrp-covering", True, True),
    ]
    assert [(each.address, each.port, each.transport) for each in one.tables[0].listen] == [
        ("192.0.2.8", 323, "tcp"),
        ("10.0.0.8", 323, "tcp"),
        ("192.0.2.8", 324, "tls"),
        ("10.0.0.8", 324, "tls"),
        ("192.0.2.8", 325, "md5"),
    ]
    assert [(str(each.prefix), each.key) for each in one.tables[0].md5] == [("192.0.2.0/24", "@SECRET:key@")]
    assert [each.name for each in two.tables] == ["vrps"]


def test_a_document_is_pinned_unless_a_relying_party_writes_it() -> None:
    """Then the newest that the gate has accepted counts, and no validation changes an artifact."""
    pinned = {each.key: each.content for each in compile(caches(), Evidence({"file:rpki/vrps.json": b"{}"}))}
    assert b'"sha256"' in pinned["one", "document", "vrps"]
    party: Json = {"site": "hz", "anchors": ["lab"], "mirror": "/mirror"}
    accepted = caches(**{"RelyingParty/national": party, "TrustAnchor/lab": {"tal": "rpki/lab.tal"}})
    contents = [
        {each.key: each.content for each in compile(accepted, Evidence({"file:rpki/vrps.json": document}))} for document in (b"{}", b"[]")
    ]
    assert contents[0] == contents[1] and b"sha256" not in contents[0]["one", "document", "vrps"]


def test_a_cache_that_stands_alone_is_a_single_point_of_failure_by_name() -> None:
    assert list(prove(caches(), Evidence())) == []
    (found,) = prove(caches(**{"RtrCache/two": {"site": "hz", "lan": "lan", "v4": "192.0.2.9"}}), Evidence())
    assert "site/hz is a single point of failure: rtr-cache/one and rtr-cache/two alone hand out rpki/vrps.json on lan/lan" in str(found)


def test_what_is_served_and_read_by_nobody_is_told() -> None:
    assert list(prove(snapshot(), Evidence())) == []
    (found,) = prove(snapshot(two={"site": "hz", "anchors": ["lab"], "mirror": "mirror", "serves": "rpki/other.json"}), Evidence())
    assert str(found) == "relying-party/two: no routing policy reads rpki/other.json; name it in rpki_sources"
