"""Whose a zone's keys are: the root's own sets of three years, keys of every algorithm, strangers, and transfers in all their forms."""

from __future__ import annotations

import base64
import calendar
import gzip
import json
import random
import struct
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nnix.planes.naming.anchored import TRIES_MAX, ds, trouble
from nnix.planes.naming.ask import Unreadable, key_tag, wire
from nnix.planes.naming.transfer import AXFR, IXFR, Query, Watch, query_of

DNS = Path(__file__).parents[4] / "shared/data/dns"
NOW = 1_795_670_000
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

HASHES: dict[int, HashAlgorithm] = {8: SHA256(), 10: SHA512(), 13: SHA256(), 14: SHA384()}


def made(algorithm: int) -> Private:
    if algorithm in (8, 10):
        return rsa.generate_private_key(65537, 2048)
    if algorithm in (13, 14):
        return ec.generate_private_key(ec.SECP256R1() if algorithm == 13 else ec.SECP384R1())
    return ed25519.Ed25519PrivateKey.generate() if algorithm == 15 else ed448.Ed448PrivateKey.generate()


def dnskey(private: Private, algorithm: int, flags: int = 257) -> bytes:
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.public_key().public_numbers()
        public = b"\3" + numbers.e.to_bytes(3, "big") + numbers.n.to_bytes(256, "big")
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        public = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    else:
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return struct.pack("!HBB", flags, 3, algorithm) + public


def signed(
    private: Private, key: bytes, keys: list[bytes], *, begins: int = NOW - 1000, expires: int = NOW + 1000, tag: int | None = None
) -> bytes:
    """The rdata of an RRSIG over `keys` of zj. by `private`, whose DNSKEY is `key`."""
    algorithm = key[3]
    head = struct.pack("!HBBIIIH", 48, algorithm, 1, 300, expires, begins, key_tag(key) if tag is None else tag) + wire("zj.")
    data = head + b"".join(wire("zj.") + struct.pack("!HHIH", 48, 1, 300, len(each)) + each for each in sorted(keys))
    if isinstance(private, rsa.RSAPrivateKey):
        return head + private.sign(data, padding.PKCS1v15(), HASHES[algorithm])
    if isinstance(private, ec.EllipticCurvePrivateKey):
        octets = 32 if algorithm == 13 else 48
        return head + b"".join(n.to_bytes(octets, "big") for n in decode_dss_signature(private.sign(data, ec.ECDSA(HASHES[algorithm]))))
    return head + private.sign(data)


@pytest.mark.parametrize("algorithm", [8, 10, 13, 14, 15, 16])
def test_an_anchor_of_every_algorithm_that_signs_the_keys_is_enough(algorithm: int) -> None:
    """RFC 8624; one octet of the signature changed is not."""
    private = made(algorithm)
    key = dnskey(private, algorithm)
    good = signed(private, key, [key])
    assert trouble("zj.", [key], [good], [ds("zj.", key)], NOW) == ""
    assert trouble("zj.", [key], [good[:-1] + bytes([good[-1] ^ 1])], [ds("zj.", key)], NOW) == "no anchor signs its keys now"


def test_a_stranger_who_shows_the_anchors_key_beside_his_own_is_no_friend_of_the_zone() -> None:
    """The registry's key is public. In the set it stands rightly; but it is the stranger's that signs."""
    registry, stranger = made(15), made(15)
    true, false = dnskey(registry, 15), dnskey(stranger, 15)
    keys = [true, false]
    declared = [ds("zj.", true)]
    assert trouble("zj.", keys, [signed(stranger, false, keys)], declared, NOW) == "no anchor signs its keys now"
    assert trouble("zj.", keys, [signed(stranger, false, keys, tag=key_tag(true))], declared, NOW) == "no anchor signs its keys now"
    assert trouble("zj.", [false], [signed(stranger, false, [false])], declared, NOW).startswith("none of its keys is an anchor")
    old = signed(registry, true, [true])
    assert trouble("zj.", keys, [old], declared, NOW) == "no anchor signs its keys now"
    assert trouble("zj.", keys, [signed(registry, true, keys)], declared, NOW) == ""


def test_a_signature_is_good_in_its_time_only_and_a_revoked_key_never() -> None:
    """RFC 4035, 5.3.1; RFC 5011, 2.1."""
    private = made(13)
    key = dnskey(private, 13)
    declared = [ds("zj.", key)]
    assert trouble("zj.", [key], [signed(private, key, [key], expires=NOW - 1)], declared, NOW) == "no anchor signs its keys now"
    assert trouble("zj.", [key], [signed(private, key, [key], begins=NOW + 1)], declared, NOW) == "no anchor signs its keys now"
    revoked = dnskey(private, 13, 257 | 128)
    declared.append(ds("zj.", revoked))
    assert trouble("zj.", [revoked], [signed(private, revoked, [revoked])], declared, NOW).startswith("none of its keys is an anchor")


def test_many_signatures_that_claim_an_anchors_tag_are_not_all_tried() -> None:
    """KeyTrap: work is bounded, and what is beyond it is refused."""
    private, other = made(15), made(15)
    key = dnskey(private, 15)
    false = [signed(other, key, [key], begins=NOW - n) for n in range(1, TRIES_MAX + 2)]
    assert "more than" in trouble("zj.", [key], false, [ds("zj.", key)], NOW)


def test_rubbish_is_no_key_and_no_signature() -> None:
    """Whatever its octets are, there is an answer and no exception."""
    private = made(15)
    key, chance = dnskey(private, 15), random.Random(5)
    good = signed(private, key, [key])
    for _ in range(60):
        damaged = bytearray(good)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        assert trouble("zj.", [key], [bytes(damaged), good[: chance.randrange(30)]], [ds("zj.", key)], NOW) != ""
    for short in (b"", b"\1", b"\1\1\3\x08", b"\1\1\3\x08\0", b"\1\1\3\x0d"):
        assert trouble("zj.", [short], [good], [ds("zj.", key)], NOW) != ""


@pytest.mark.skipif(not DNS.is_dir(), reason="the shared data are not beside this checkout")
def test_the_roots_own_sets_of_three_years() -> None:
    """Each of the 102 with its authentic signature, at its time, under KSK 20326 alone; a tenth of them here, since each asks OpenSSL."""
    with gzip.open(DNS / "root-dnskey-history.jsonl.gz", "rt") as file:
        history = [json.loads(line) for line in file]
    anchor = "20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
    for each in history[::10]:
        keys = []
        for line in each["dnskey"]:
            flags, protocol, algorithm, public = line.split(" ", 3)
            keys.append(struct.pack("!HBB", int(flags), int(protocol), int(algorithm)) + base64.b64decode(public.replace(" ", "")))
        _, algorithm, labels, ttl, expires, begins, tag, _, blob = each["rrsig"].split(" ", 8)
        ends, starts = (calendar.timegm(time.strptime(word, "%Y%m%d%H%M%S")) for word in (expires, begins))
        head = struct.pack("!HBBIIIH", 48, int(algorithm), int(labels), int(ttl), ends, starts, int(tag))
        rdata = head + wire(".") + base64.b64decode(blob.replace(" ", ""))
        assert trouble(".", keys, [rdata], [anchor], starts + 86_400) == "", each["serial"]
        assert trouble(".", keys, [rdata], [anchor], ends + 1) != ""


# -- transfers -------------------------------------------------------------------------------------------------------


def record(owner: str, kind: int, rdata: bytes, group: int = 1) -> bytes:
    return wire(owner) + struct.pack("!HHIH", kind, group, 300, len(rdata)) + rdata


def soa(serial: int, owner: str = "zj.", group: int = 1) -> bytes:
    return record(owner, 6, wire("ns.zj.") + wire("h.zj.") + struct.pack("!5I", serial, 1, 2, 3, 4), group)


def key(n: int, owner: str = "zj.", group: int = 1) -> bytes:
    return record(owner, 48, struct.pack("!HBB", 257, 3, 15) + bytes([n]) * 32, group)


def sig(n: int) -> bytes:
    return record("zj.", 46, struct.pack("!HBBIIIH", 48, 15, 1, 300, 0, 0, n) + wire("zj.") + bytes(64))


A = record("www.zj.", 1, b"\xc0\0\2\1")


def answer(*records: bytes, number: int = 9, code: int = 0) -> bytes:
    return struct.pack("!6H", number, 0x8400 | code, 0, len(records), 0, 0) + b"".join(records)


def had(*records: bytes) -> set[bytes]:
    return {each[len(wire("zj.")) + 10 :] for each in records}


@pytest.mark.parametrize("together", [True, False], ids=["one-message", "a-record-each"])
@pytest.mark.parametrize(
    ("kind", "records", "keys", "signatures"),
    [
        (AXFR, [soa(2), key(1), key(2), sig(1), A, soa(2)], [key(1), key(2)], [sig(1)]),
        (IXFR, [soa(2), key(3), sig(3), A, soa(2)], [key(3)], [sig(3)]),
        (IXFR, [soa(2), soa(1), A, soa(2), A, soa(2)], [key(1)], [sig(1)]),
        (IXFR, [soa(2), soa(1), key(1), sig(1), soa(2), key(2), sig(2), soa(2)], [key(2)], [sig(2)]),
        (IXFR, [soa(3), soa(1), sig(1), soa(2), key(2), sig(2), soa(2), sig(2), soa(3), sig(3), soa(3)], [key(1), key(2)], [sig(3)]),
        (AXFR, [soa(2), soa(2)], [], []),
        (IXFR, [soa(1)], [key(1)], [sig(1)]),
    ],
    ids=["whole", "whole-for-ixfr", "step-without-keys", "keys-change", "two-steps", "empty", "nothing-new"],
)
def test_what_the_keys_are_after_a_transfer(
    kind: int, records: list[bytes], keys: list[bytes], signatures: list[bytes], *, together: bool
) -> None:
    """From key 1, signed by 1, at serial 1; and it ends with its last record, not before."""
    watch = Watch(Query(9, "zj.", kind, 1), had(key(1)), had(sig(1)))
    messages = [answer(*records)] if together else [answer(each) for each in records]
    assert [watch.take(each) for each in messages] == [False] * (len(messages) - 1) + [True]
    assert (watch.keys, watch.signatures) == (had(*keys), had(*signatures))


@pytest.mark.parametrize(
    "messages",
    [
        [answer(A)],
        [answer(soa(2), A), answer(soa(3))],
        [answer(soa(2), number=8)],
        [answer(soa(2), key(1))[:-5]],
        [answer(soa(2), *(key(n) for n in range(70)))],
        [answer(soa(2), soa(2), key(1))],
        [b"\0" * 5],
        [answer(soa(2), key(1)), answer(A, soa(7, "www.zj."))],
        [answer(soa(2), key(1)), answer(A, soa(2, group=3))],
        [answer(soa(2), key(1)), answer(A, key(9, group=3))],
        [answer(soa(2), key(1, group=255))],
        [answer(soa(2), key(1)), answer(A, record("x.zj.", 50, b"\1\0\xff\xff\0" + bytes(30)))],
        [answer(soa(2), key(1)), answer(A, record("zj.", 51, b"\1\0\xff\xff\0"))],
        [answer(soa(2), key(1)), answer(A)[:-3]],
        [answer(soa(2), key(1)), answer(b"\x40" + A)],
        [answer(soa(2), A), answer(b"\xc0\x0c" * 2 + A)],
    ],
    ids=[
        "no-soa", "two-serials", "another-question", "cut", "too-many-keys", "beyond-its-end", "short", "an-soa-of-another-name", "an-soa-of-another-class",
        "a-key-of-another-class", "a-key-of-any-class", "65535-iterations", "65535-iterations-in-its-parameters",
        "cut-where-nothing-matters", "no-label", "points-forward",
    ],
)  # fmt: skip
def test_a_transfer_that_is_none_is_unreadable(messages: list[bytes]) -> None:
    watch = Watch(Query(9, "zj.", AXFR))
    with pytest.raises(Unreadable):
        for each in messages:
            watch.take(each)


def test_a_key_is_not_taken_away_under_a_name_that_only_looks_like_the_zones() -> None:
    """Knot passes over what is outside of the zone: the label `a.zj` at the top, unlike `a` in `zj`. So it keeps the stranger's key, and so must the watch."""
    whose, registered, stranger = Query(9, "a.zj.", IXFR, 1), key(1, "a.zj."), key(9, "a.zj.")
    outside = b"\x04a.zj" + record(".", 48, stranger[-36:])
    watch = Watch(whose, {registered[-36:]})
    assert watch.take(
        answer(*(soa(each, "a.zj.") for each in (3, 1, 2)), stranger, soa(2, "a.zj."), outside, *(soa(3, "a.zj.") for _ in range(2)))
    )
    assert watch.keys == {registered[-36:], stranger[-36:]}


def test_a_primary_that_refuses_is_passed_on_as_it_is() -> None:
    watch = Watch(Query(9, "zj.", AXFR))
    assert watch.take(answer(code=5))
    assert watch.refused


def test_what_a_secondary_asks() -> None:
    """The serial that it has stands in the authority section (RFC 1995, 3)."""
    asked = struct.pack("!6H", 9, 0, 1, 0, 1, 0) + wire("zj.") + struct.pack("!2H", IXFR, 1) + soa(7)
    assert query_of(asked) == Query(9, "zj.", IXFR, 7)
    with pytest.raises(Unreadable):
        query_of(answer(soa(1)))
