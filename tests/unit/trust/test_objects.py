"""Objects are found by what they say, also malformed ones; TALs are read or refused."""

from __future__ import annotations

import base64
import time
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnix.planes.trust import tal
from nnix.planes.trust.objects import (
    PROVIDERS_MAX,
    ROA_TYPE,
    Malformed,
    Words,
    aspas_said,
    roa,
    router_keys_said,
    said_below,
    saying,
    value_at,
)
from nnix.planes.trust.payloads import RouterKey, Vrp
from tests.rpki import der
from tests.rpki.deviations import authority, published
from tests.rpki.tree import anchor, aspa, public, router_key
from tests.rpki.tree import roa as roa_object

NOW = datetime(2026, 11, 26, tzinfo=UTC)
CA = authority("sound", 0)
FILES = anchor("lab", CA).files(NOW)
HIT = FILES["rpki.lab.test/repo/sound/hit.roa"]
SAYS = (Vrp(ip_network("198.18.0.0/23"), 24, 64496), Vrp(ip_network("2001:db8::/41"), 41, 64496))


def test_a_roa_says_what_it_was_made_to_say() -> None:
    assert roa(HIT) == SAYS


def test_vrps_are_found_among_all_objects() -> None:
    missing = Vrp(ip_network("198.18.0.0/23"), 23, 64496)
    roas = [(path, content) for path, content in FILES.items() if path.endswith(".roa")]
    assert saying([*SAYS, missing], roas) == dict.fromkeys(SAYS, ("rpki.lab.test/repo/sound/hit.roa",))


@settings(max_examples=2000, deadline=None)
@given(st.integers(0, len(HIT) - 1), st.binary(min_size=1, max_size=4))
def test_what_is_malformed_says_nothing_or_something_else(where: int, octets: bytes) -> None:
    """Never another exception, and never without an end."""
    with suppress(Malformed):
        roa(HIT[:where] + octets + HIT[where + len(octets) :])


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_no_roa(noise: bytes) -> None:
    with pytest.raises(Malformed):
        roa(noise)


def said(asn: int, address: bytes, longest: int | None = None, family: bytes = b"\0\1") -> bytes:
    """A ROA of one prefix, as bare as it is looked for."""
    prefix = der.sequence(der.bits(address), *([] if longest is None else [der.integer(longest)]))
    content = der.sequence(der.integer(asn), der.sequence(der.sequence(der.octets(family), der.sequence(prefix))))
    return ROA_TYPE + der.explicit(0, der.octets(content))


@pytest.mark.parametrize(
    "content",
    [
        said(1 << 32, b"\xc6\x12"), said(-1, b"\xc6\x12"), said(1 << 4_000_000, b"\xc6\x12"), said(1, b"\xc6\x12", 33), said(1, b"\xc6\x12", -1),
        said(1, b"\xc6\x12", 15), said(1, b"\xc6\x12", 1 << 70), said(1, b"\xc6\x12", family=b"\0\3"), said(1, b"\xc6\x12", family=b"\0\1\1"),
        said(1, b"\xc6\x12\0\0\0"), said(1, b"\xc6\x12")[:-2],
    ],
    ids=["asn-33-bits", "asn-negative", "asn-endless", "longest-33", "longest-negative", "longest-below", "longest-endless",
         "family-3", "family-with-safi", "prefix-40", "cut"],
)  # fmt: skip
def test_a_roa_whose_numbers_cannot_be_says_nothing(content: bytes) -> None:
    """Nobody can compute with them, and what-if reads all ROAs there are."""
    assert roa(said(1, b"\xc6\x12", 24)) == (Vrp(ip_network("198.18.0.0/16"), 24, 1),)
    with pytest.raises(Malformed):
        roa(content)


def in_pieces(content: bytes) -> bytes:
    """A signed object as Bouncy Castle writes it in BER: no length where a value has an end, and the octets in two pieces."""
    at = content.index(ROA_TYPE) + len(ROA_TYPE)
    _, begin, end = value_at(content, value_at(content, at, len(content))[1], len(content))
    middle = (begin + end) // 2
    pieces = der.octets(content[begin:middle]) + der.octets(content[middle:end])
    return b"\x30\x80" + ROA_TYPE + b"\xa0\x80\x24\x80" + pieces + bytes(6)


def test_a_roa_in_ber_says_what_it_says_in_der() -> None:
    """Both are met; and what has no end is malformed, however deep."""
    assert roa(in_pieces(HIT)) == SAYS
    for wrong in (in_pieces(HIT)[:-6], b"\x30\x80" * 5_000, b"\x30\x80" + ROA_TYPE, b"\x04\x80\0\0", b"\x30\x80"):
        with pytest.raises(Malformed):
            roa(wrong)


def test_a_ca_takes_along_what_its_certificates_lead_to() -> None:
    """And not what others say as well."""
    parent, child, other = authority("sound", 0), authority("roa-expired", 1), authority("roa-revoked", 2)
    parent.children.append(child)
    other.ips += child.ips
    other.objects.append(roa_object("twice.roa", child.asns[0][0], f"{next(iter(child.ips[0].subnets()))}-24"))
    files = list(anchor("lab", parent, other).files(NOW).items())
    said, elsewhere = said_below("rpki.lab.test/repo/sound/", files)
    assert (len(said), len(said - elsewhere)) == (8, 7)
    assert said_below("rpki.lab.test/repo/sound/hit.roa", files)[0] == set(SAYS)
    assert said_below("rpki.lab.test/repo/nothing/", files)[0] == set()


@pytest.mark.parametrize(("count", "read"), [(PROVIDERS_MAX, PROVIDERS_MAX), (PROVIDERS_MAX + 1, 0)])
def test_an_aspa_of_more_providers_than_a_router_takes_is_not_read(count: int, read: int) -> None:
    """At the very bound."""
    ca = authority("sound", 0)
    ca.objects = [aspa("many.asa", 64496, *range(1, count + 1))]
    said = aspas_said((name, content) for name, content in anchor("lab", ca).files(NOW).items() if name.endswith(".asa"))
    assert [len(each) for each in said.get(64496, [])] == ([read] if read else [])


def test_the_content_of_aspas_and_router_certificates_is_read() -> None:
    """What is cut off, or is something else, says nothing."""
    ca = authority("sound", 0)
    ca.objects = [aspa("one.asa", 64496, 64497, 4200000000), aspa("two.asa", 64496, 1), aspa("older.asa", 64499, 2, version=None)]
    ca.routers.append((64496, "router.cer"))
    files = [*anchor("lab", ca).files(NOW).items()]
    asas = [(name, content) for name, content in files if name.endswith(".asa")]
    assert {customer: sorted(map(sorted, each)) for customer, each in aspas_said(asas).items()} == {64496: [[1], [64497, 4200000000]]}
    assert aspas_said((name, content[:cut]) for name, content in asas for cut in range(0, 60)) == {}
    spki = base64.b64encode(public(router_key())).decode()
    ours, other, moved = RouterKey(64496, "00", spki), RouterKey(64496, "00", spki[:-8] + "AAAAAA=="), RouterKey(64497, "00", spki)
    certificates = [(name, content) for name, content in files if name.endswith(".cer")]
    assert router_keys_said([ours, other, moved], certificates) == {ours}
    assert router_keys_said([ours], ((name, content[: len(content) // 2]) for name, content in certificates)) == frozenset()


def test_words_are_quoted_from_both_logs() -> None:
    """Of the object; else of another at its publication point, since a bad manifest or CRL takes all along."""
    ours = Words(
        "rpki-client: .rsync/rpki.lab.test/repo/a/hit.roa: certificate has expired\nrpki-client: all files parsed: generating output"
    )
    theirs = Words("Nov 26 01:31:05 ERR [Validation]: rsync://rpki.lab.test/repo/b/b.crl: CRL version (0) is not v2 (1).")
    assert ours.about("rpki.lab.test/repo/a/hit.roa") == "certificate has expired"
    assert theirs.about("rpki.lab.test/repo/b/hit.roa") == "b.crl: CRL version (0) is not v2 (1)."
    assert ours.about("rpki.lab.test/repo/b/hit.roa") == ""


@pytest.mark.parametrize("line", ["a." * 40_000, "x.y/" * 20_000, "x.y/a.ro" * 10_000], ids=["a-host", "hosts", "almost"])
def test_a_line_of_a_log_as_long_as_strangers_like_takes_no_time(line: str) -> None:
    began = time.process_time()
    assert Words(f"rpki-client: {line}").about("a.test/x.roa") == ""
    assert time.process_time() - began < 1, "it was 44 s"


TAL = published(NOW, "sound")[1]


def test_a_tal_is_handed_on_with_its_rsync_uris_alone() -> None:
    found = tal.read(b"# a comment\n# another\nhttps://rpki.lab.test/ta/lab.cer\r\n" + TAL)
    assert found.paths == ("rpki.lab.test/ta/lab.cer",)
    assert tal.read(found.written()) == found


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b"", "no empty line|none of its URIs"),
        (TAL.replace(b"rsync:", b"https:"), "none of its URIs is an rsync one"),
        (TAL.replace(b"/ta/", b"/../"), "none of its URIs is an rsync one"),
        (TAL.replace(b"\n\n", b"\n"), "."),
        (TAL + b"!", "no base64"),
        (b"rsync://a.example/ta/a.cer\n\nAAAA\n", "no SubjectPublicKeyInfo"),
        (b"\xff" + TAL, "not ASCII"),
    ],
)
def test_what_is_no_tal_is_refused(wrong: bytes, why: str) -> None:
    with pytest.raises(tal.Unreadable, match=why):
        tal.read(wrong)
