"""What the plane asks for, refuses and says before anything is validated."""

from __future__ import annotations

import pytest

from nnix.cli.root import KINDS
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Json
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.trust.compile import compile, evidence, prove

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


def test_what_is_served_and_read_by_nobody_is_told() -> None:
    assert list(prove(snapshot(), Evidence())) == []
    (found,) = prove(snapshot(two={"site": "hz", "anchors": ["lab"], "mirror": "mirror", "serves": "rpki/other.json"}), Evidence())
    assert str(found) == "relying-party/two: no routing policy reads rpki/other.json; name it in rpki_sources"
