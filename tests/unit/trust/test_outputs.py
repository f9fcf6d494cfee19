"""What validators write is read to the last bit or refused whole; what is served is read by routing as it was meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnix.kernel.evidence import Item
from nnix.planes.routing import rpki
from nnix.planes.trust.outputs import Unreadable, from_fort, from_rpki_client, served
from nnix.planes.trust.payloads import Damaged, Payloads, RouterKey, Vrp, rows_of

HEAD = b"ASN,IP Prefix,Max Length,Trust Anchor,Expires\n"
NO_KEYS = b"ASN,Subject Key Identifier,Subject Public Key Info\n"

V4 = st.builds(
    lambda bits, length: ip_network((bits >> (32 - length) << (32 - length), length)), st.integers(0, 2**32 - 1), st.integers(0, 32)
)
V6 = st.builds(
    lambda bits, length: ip_network((bits >> (128 - length) << (128 - length), length)), st.integers(2**96, 2**128 - 1), st.integers(0, 128)
)
VRPS = st.sets(
    st.builds(
        lambda prefix, more, asn: Vrp(prefix, min(prefix.prefixlen + more, prefix.max_prefixlen), asn),
        V4 | V6,
        st.integers(0, 40),
        st.integers(0, 2**32 - 1),
    ),
    max_size=30,
)


def fort_csv(vrps: set[Vrp]) -> bytes:
    return b"ASN,Prefix,Max prefix length\n" + "".join(f"AS{each.origin},{each.prefix},{each.length_max}\n" for each in vrps).encode()


@given(VRPS)
def test_every_vrp_survives_reading_storing_and_serving(vrps: set[Vrp]) -> None:
    """By FORT's CSV, by rpki-client's, by the canonical bytes, and by the document that routing reads."""
    payloads = Payloads(from_fort({"lab": (fort_csv(vrps), NO_KEYS)}).anchors["lab"].rows)
    assert set(payloads) == vrps and len(payloads) == len(vrps)
    lines = "".join(f"AS{each.origin},{each.prefix},{each.length_max},lab,1795600000\n" for each in sorted(vrps, key=str)).encode()
    again = from_rpki_client(HEAD + lines, b'{"roas": [],\n"bgpsec_keys": [], "aspas": []}').anchors
    assert Payloads(again["lab"].rows if vrps else rows_of(())).digest == payloads.digest
    assert Payloads.of(payloads.content) == payloads
    if vrps:
        table = rpki.vrps(Item(served(payloads, datetime(2026, 11, 26, tzinfo=UTC))))
        read = {Vrp(ip_network(prefix), longest, origin) for prefix, longest, origin in (*table.v4.roas, *table.v6.roas)}
        mapped = {each for each in vrps if each.prefix.version == 6 and each.prefix.network_address.ipv4_mapped is not None}
        assert read == vrps - mapped and len(table.findings) == len(mapped)


def test_each_anchor_has_its_own_vrps_and_times() -> None:
    csv = HEAD + b"AS1,10.0.0.0/8,8,apnic,1795600000\nAS1,11.0.0.0/8,8,ripe,1795600001\nAS2,12.0.0.0/8,9,apnic,1795600002\n"
    anchors = from_rpki_client(csv, b'{"bgpsec_keys": []}').anchors
    assert {name: (len(each), each.expires.tolist()) for name, each in anchors.items()} == {
        "apnic": (2, [1795600000, 1795600002]),
        "ripe": (1, [1795600001]),
    }


@pytest.mark.parametrize(
    "line",
    [
        "AS1,10.0.0.0/8,8,lab",
        "AS1,10.0.0.0/8,8,lab,1,2",
        "1,10.0.0.0/8,8,lab,1",
        "AS,10.0.0.0/8,8,lab,1",
        "AS4294967296,10.0.0.0/8,8,lab,1",
        "AS-1,10.0.0.0/8,8,lab,1",
        "AS1,10.0.0/8,8,lab,1",
        "AS1,10.0.0.0.0/8,8,lab,1",
        "AS1,10.0.0.256/32,32,lab,1",
        "AS1,10.0.0.0,8,lab,1",
        "AS1,10.0.0.1/8,8,lab,1",
        "AS1,10.0.0.0/8,7,lab,1",
        "AS1,10.0.0.0/8,33,lab,1",
        "AS1,2001:db8::/32,129,lab,1",
        "AS1,2001:db8::1/64,64,lab,1",
        "AS1,2001:db8:/32,32,lab,1",
        "AS1,::\0/128,128,lab,1",
        "AS1,10.0.0/8,8,lab,1",
        "AS1,10.0.0.0/8,8,lab,x",
        "AS1,10.0.0.0/8/9,8,lab,1",
        "",
        "AS1;10.0.0.0/8;8;lab;1",
    ],
)
def test_one_line_that_is_no_vrp_refuses_the_document(line: str) -> None:
    sound = b"AS1,10.0.0.0/8,8,lab,1795600000\n"
    with pytest.raises(Unreadable):
        from_rpki_client(HEAD + sound + line.encode() + b"\n" + sound, b'{"bgpsec_keys": []}')


def test_an_ipv6_prefix_may_end_as_an_ipv4_one_does() -> None:
    """inet_ntop writes ::ffff:0:0/96 and what is in it so. One such ROA is no reason to take both validators for dead."""
    lines = b"AS1,::ffff:192.0.2.0/120,120,lab,1\nAS1,10.0.0.0/8,8,lab,1\nAS1,::192.0.2.0/120,120,lab,1\n"
    found = from_rpki_client(HEAD + lines, b'{"bgpsec_keys": []}').anchors["lab"]
    assert {str(each) for each in Payloads(found.rows)} == {"10.0.0.0/8 AS1", "::c000:200/120 AS1", "::ffff:c000:200/120 AS1"}


@pytest.mark.parametrize("cut", [b"", b"AS1,10.0.0.0/8,8,lab,1795600000\n", HEAD[:-1], HEAD + b"AS1,10.0.0.0/8,8,lab,179560"])
def test_a_document_that_was_cut_off_is_refused(cut: bytes) -> None:
    with pytest.raises(Unreadable):
        from_rpki_client(cut, b'{"bgpsec_keys": []}')


@pytest.mark.parametrize(
    "document",
    [
        b"", b"{}", b'{"bgpsec_keys": [', b'{"bgpsec_keys": [{"asn": 1}]}', b'{"bgpsec_keys": [], "aspas": [1]}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": 1e999, "providers": [2]}]}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": 1.5, "providers": [2]}]}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": true, "providers": [2]}]}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": 1, "providers": [4294967296]}]}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": 1, "providers": {"2": 3, "x": 4}}]}',
        b'{"bgpsec_keys": [{"asn": -1, "ski": "' + b"00" * 20 + b'", "pubkey": "MFk="}]}',
        b'{"bgpsec_keys": [{"asn": 1, "ski": "00", "pubkey": "MFk="}]}',
        b'{"bgpsec_keys": [{"asn": 1, "ski": "' + b"00" * 20 + b'", "pubkey": "M!k="}]}',
        b'{"bgpsec_keys": [{"asn": 1, "ski": "' + b"00" * 20 + b'", "pubkey": null}]}',
        b'{"bgpsec_keys": ' + b"[" * 100_000,
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": 1, "providers": []}]}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": 1, "providers": {}}]}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": 1, "providers": ""}]}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": 1, "customer_asid": 2, "providers": [3]}]}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": 1, "providers": [2]}], "aspas": []}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": NaN, "providers": [2]}]}',
        b'{"bgpsec_keys": [], "aspas": [{"customer_asid": ' + b"9" * 5000 + b', "providers": [2]}]}',
        b'{"bgpsec_keys": [{"asn": "\\udcff", "ski": "' + b"00" * 20 + b'", "pubkey": "MFk="}]}',
        b'{"bgpsec_keys": [{"asn": 1, "ski": "\\ud800", "pubkey": "MFk="}]}',
        b'{"bgpsec_keys": [{"asn": 1, "ski": "' + b"00" * 20 + b'", "pubkey": ""}]}',
        b'{"bgpsec_keys": [{"asn": 1, "ski": "' + b"00" * 20 + b'", "pubkey": "' + b"AAAA" * 2000 + b'"}]}',
    ],
)  # fmt: skip
def test_a_broken_json_is_refused(document: bytes) -> None:
    with pytest.raises(Unreadable) as error:
        from_rpki_client(HEAD, document)
    assert str(error.value).encode(), "it goes into findings and the ledger, where half a character cannot go"


@pytest.mark.parametrize("line", [b"AS1_0,7O3u7_Dx8vP09fb3-Pn6-_z9_v8,MFn__v0", b"AS\xd9\xa1,7O3u7_Dx8vP09fb3-Pn6-_z9_v8,MFn__v0",
                                  b"AS1,7O3u7_Dx8vP09fb3-Pn6-_z9_v8,%%%", b"AS1,7O3u7_Dx8vP09fb3-Pn6-_z9_v8,", b"AS1,7O3u7_Dx8vP09fb3-Pn6-_z9_v8,M!Fn"])  # fmt: skip
def test_a_router_key_that_is_none_refuses_what_fort_wrote(line: bytes) -> None:
    with pytest.raises(Unreadable):
        from_fort({"lab": (fort_csv(set()), NO_KEYS + line + b"\n")})


@pytest.mark.parametrize(
    "aspas",
    [
        {"aspas": [{"customer_asid": 945, "providers": [13213, 150369]}]},
        {
            "provider_authorizations": {
                "ipv4": [{"customer_asid": 945, "providers": [13213]}],
                "ipv6": [{"customer_asid": 945, "providers": [150369]}],
            }
        },
    ],
)
def test_aspas_are_read_in_both_spellings(aspas: dict[str, object]) -> None:
    """rpki-client 9.5 lists them; 8.2 did so for each address family."""
    document = json.dumps({"metadata": {}, "roas": [], "bgpsec_keys": [], **aspas}).encode()
    assert from_rpki_client(HEAD, document).aspas == {945: frozenset({13213, 150369})}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_a_validator_wrote_is_read_or_refused(data: st.DataObject) -> None:
    """Cut off, overwritten, doubled, at any place: nothing but Unreadable comes of it, so the gate counts that validator as dead and goes on."""
    csv = (
        HEAD
        + b"".join(b"AS%d,10.%d.0.0/16,24,lab,1795600000\n" % (each, each) for each in range(5))
        + b"AS1,2001:db8::/32,48,lab,1795600000\n"
    )
    document = (
        b'{"aspas": [{"customer_asid": 1, "providers": [2]}], "bgpsec_keys": [{"asn": 1, "ski": "' + b"AB" * 20 + b'", "pubkey": "MFk="}]}'
    )
    router_csv = NO_KEYS + b"AS1,7O3u7_Dx8vP09fb3-Pn6-_z9_v8,MFn__v0\n"

    def spoilt(content: bytes) -> bytes:
        at = data.draw(st.integers(0, len(content)))
        until = data.draw(st.integers(at, len(content)))
        piece = st.sampled_from(
            [b"", b"-1", b"1e999", b"null", b"true", b"9" * 40, b"\xff", b"\0", b",", b"\n", b"[" * 2000, content]
        ) | st.binary(max_size=8)
        return content[:at] + data.draw(piece) + content[until:]

    reads: tuple[Callable[[], object], ...] = (
        lambda: from_rpki_client(spoilt(csv), document),
        lambda: from_rpki_client(csv, spoilt(document)),
        lambda: from_fort({"lab": (spoilt(fort_csv(set()) + b"AS1,10.0.0.0/8,8\n"), router_csv)}),
        lambda: from_fort({"lab": (fort_csv(set()), spoilt(router_csv))}),
    )
    for read in reads:
        with suppress(Unreadable):
            read()


def test_router_keys_are_the_same_in_both_spellings() -> None:
    """rpki-client writes the identifier in hexadecimal; FORT all of it in URL-safe base64 without padding."""
    ski, key = bytes(range(0xEC, 0x100)), b"\x30\x59\xff\xfe\xfd"
    theirs = from_rpki_client(HEAD, json.dumps({"bgpsec_keys": [{"asn": 1, "ski": ski.hex().upper(), "pubkey": "MFn//v0="}]}).encode())
    ours = from_fort({"lab": (fort_csv(set()), NO_KEYS + b"AS1,7O3u7_Dx8vP09fb3-Pn6-_z9_v8,MFn__v0\n")})
    assert ours.router_keys == theirs.router_keys == frozenset({RouterKey(1, ski.hex().upper(), "MFn//v0=")})
    assert key.hex() == "3059fffefd"


def test_what_is_no_payloads_is_not_read_as_some() -> None:
    content = Payloads(rows_of([Vrp(ip_network("10.0.0.0/8"), 8, 1)])).content
    for wrong in (b"", content[:-1], content[:-24], content + bytes(24), content.replace(b"vrps", b"vrp5")):
        with pytest.raises(Damaged):
            Payloads.of(wrong)
