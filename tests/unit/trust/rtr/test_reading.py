"""Documents of a relying party: taken whole or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnix.planes.trust.rtr import reading
from nnix.planes.trust.rtr.reading import Read, Refused, read

VRP: dict[str, Any] = {"asn": 64512, "prefix": "192.0.2.0/24", "maxLength": 24, "ta": "lab", "expires": 1821466875}


def document(**parts: object) -> bytes:
    return json.dumps({"metadata": {"roas": 1}, "roas": [VRP], **parts}).encode()


def taken(octets: bytes) -> Read:
    found = read(octets)
    assert isinstance(found, Read), found
    return found


def refused(octets: bytes) -> Refused:
    found = read(octets)
    assert isinstance(found, Refused)
    return found


def test_one_vrp_that_several_roas_give_is_one() -> None:
    """RFC 8210, 5.6."""
    found = taken(document(roas=[VRP, {**VRP, "ta": "other"}, {**VRP, "asn": "AS64512"}])).found
    assert found.vrps == 1


def test_aspas_of_one_customer_are_one_and_as0_beside_others_goes() -> None:
    """8210bis, 5.12."""
    aspas = [
        {"customer_asid": 1, "providers": [3, 2]},
        {"customer": "AS1", "providers": ["AS4", 0]},
        {"customer_asid": 5, "providers": [0]},
    ]
    assert taken(document(aspas=aspas)).found.aspas == ((1, (2, 3, 4)), (5, (0,)))


def test_router_keys_are_read_as_both_validators_write_them() -> None:
    keys = [{"asn": 15562, "ski": "5D" * 20, "pubkey": "MFkwEw=="}, {"asn": "AS1", "SKI": "ab" * 20, "routerPublicKey": "MFkwEw"}]
    assert len(taken(document(bgpsec_keys=keys)).found.keys) == len(taken(document(routerKeys=keys)).found.keys) == 2


@pytest.mark.parametrize(
    ("about", "built"),
    [
        ({"buildtime": "2025-07-20T09:31:33Z"}, 1753003893.0),
        ({"generated": 1753003893}, 1753003893.0),
        ({"buildtime": "soon"}, None),
        ({"generated": 10**400}, None),
        ([], None),
    ],
)
def test_when_it_was_made_is_read_where_it_is_said(about: object, built: float | None) -> None:
    assert taken(document(metadata=about)).built == built


@pytest.mark.parametrize(
    "row",
    [
        {**VRP, "asn": True},
        {**VRP, "asn": -1},
        {**VRP, "asn": 2**32},
        {**VRP, "asn": 10**30},
        {**VRP, "asn": "ASx"},
        {**VRP, "asn": 64512.0},
        {**VRP, "prefix": "192.0.2.1/24"},
        {**VRP, "prefix": "192.0.2.0"},
        {**VRP, "prefix": "192.0.2.0/024"},
        {**VRP, "prefix": "192.0.2.0/33"},
        {**VRP, "prefix": "192.0.2/24"},
        {**VRP, "prefix": None},
        {**VRP, "prefix": "2001:db8::/32", "maxLength": 129},
        {**VRP, "prefix": "2001:db8::1/32", "maxLength": 64},
        {**VRP, "maxLength": 23},
        {**VRP, "maxLength": 33},
        {"asn": 64512, "prefix": "192.0.2.0/24"},
        7,
        None,
        [],
    ],
)
def test_one_row_that_cannot_be_right_refuses_all_and_is_named(row: object) -> None:
    """A set with holes turns valid routes into invalid ones."""
    found = refused(document(roas=[VRP, VRP, row]))
    assert found.rule == "rtr.row-is-right"
    assert "number 2 of roas" in found.found


@pytest.mark.parametrize(
    "parts",
    [
        {"aspas": [{"customer_asid": 1, "providers": []}]},
        {"aspas": [{"customer_asid": 1, "providers": "AS2"}]},
        {"aspas": [{"customer_asid": 1}]},
        {"aspas": {}},
        {"bgpsec_keys": [{"asn": 1, "ski": "ab", "pubkey": "MFkwEw=="}]},
        {"bgpsec_keys": [{"asn": 1, "ski": "ab" * 20, "pubkey": ""}]},
        {"bgpsec_keys": [{"asn": 1, "ski": "ab" * 20, "pubkey": 7}]},
    ],
)
def test_so_do_aspas_and_router_keys(parts: dict[str, object]) -> None:
    assert refused(document(**parts)).rule == "rtr.row-is-right"


def test_a_document_without_a_vrp_is_refused_unless_the_table_may_be_empty() -> None:
    """rpki-client -n with everything expired writes one, and ends with success."""
    empty = document(roas=[], aspas=[{"customer_asid": 1, "providers": [2]}])
    assert refused(empty).rule == "rtr.set-not-empty"
    found = read(empty, may_be_empty=True)
    assert isinstance(found, Read) and found.found.vrps == 0


@pytest.mark.parametrize(
    "octets", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b"[]", b"{}", b'{"roas": 7}', b'{"roas": {}}', b'{"roas": [{}']
)
def test_what_is_no_such_document_is_refused_by_name(octets: bytes) -> None:
    assert refused(octets).rule in {"rtr.document-is-json", "rtr.document-has-roas"}


def test_a_list_of_roas_somewhere_else_is_not_the_list() -> None:
    assert refused(b'{"roas": 7, "older": {"roas": [%s]}}' % json.dumps(VRP).encode()).rule == "rtr.document-has-roas"


TRICKS = [
    b'{"a": {"roas": [1]}, "roas": [%s]}',
    b'{"a": "\\"roas\\": [", "roas": [%s]}',
    b'{"roas": [], "roas": [%s]}',
    b'{"roas" :\n[ %s ]\n, "z": ["]"]}',
    b'{"z": [[["}, {"]]], "roas": [%s]}',
    b'{"roas": [%s], "roas2": "roas"}',
]


@pytest.mark.parametrize("trick", TRICKS)
def test_parsed_by_the_piece_a_document_says_what_it_says_parsed_whole(trick: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**VRP, "asn": number, "note": 'a }, { or "]" in text', "more": {"inner": [number]}} for number in range(40)]
    plain = [{**VRP, "asn": number} for number in range(40)]
    monkeypatch.setattr(reading, "PIECE_OCTETS", 100)
    for each in (rows, plain):
        octets = trick % json.dumps(each)[1:-1].encode()
        assert len(json.loads(octets)["roas"]) == 40
        assert taken(octets).found.vrps == 40


@pytest.mark.parametrize(
    "broken", [b'{"roas": [%s,]}', b'{"roas": [%s}', b'{"roas": [%s]', b'{"roas": [%s]]}', b'{"roas": [,%s]}', b'{"roas": [%s,,%s]}']
)
def test_parsed_by_the_piece_nothing_passes_that_is_no_json(broken: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE_OCTETS", 100)
    rows = json.dumps([{**VRP, "asn": number} for number in range(40)])[1:-1].encode()
    octets = broken.replace(b"%s", rows)
    with pytest.raises(ValueError, match=r"."):
        json.loads(octets)
    assert refused(octets).rule == "rtr.document-is-json"


def test_real_documents_of_three_validators_are_taken() -> None:
    assert taken((Path(__file__).parents[3] / "data/rtr/lab.json").read_bytes()).found.vrps == 60
