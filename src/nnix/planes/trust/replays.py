"""Publication points that go back, or whose manifest is a stranger's: what a mirror held before counts then.

A manifest with a lower number than one by the same key before it is a replay, or comes from a backup; and one that its CA has not signed is none. What was fetched then counts
as not fetched (RFC 9286, 4.2.1 and 6.6). Our validators cannot see the first, since they start with an empty cache each time, and after the second they have nothing left
of that point, although it is still there.

That a manifest is its CA's own (RFC 6488, 3; RFC 6487, 4.8.3) must be seen for both. Else whoever can put one forged manifest into the mirror, once (rsync is not so much as
encrypted), could give it the highest number there is, and all that the CA publishes from then on would be a replay. An issuer's key is named by its own hash, so no chain is
needed to see that a stranger has not signed: the manifest's certificate says where the issuer's lies, and what lies there has either that key or not.

Deliberately not here: validity, revocation, resources, and all else that makes an object valid. That is the validators' affair, and so is a point of which no manifest was ever
seen to be its CA's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from nnix.planes.trust.certificates import Look, issued, read
from nnix.planes.trust.objects import Malformed, definite, manifest, value_at, values

MESSAGE_DIGEST = bytes.fromhex("06092a864886f70d010904")  # id-messageDigest, 1.2.840.113549.1.9.4
SEQUENCE, SET, OCTETS, FIRST = 0x30, 0x31, 0x04, 0xA0

Part = tuple[int, bytes, bytes]
"""(tag, content, all of it)"""


def not_replayed(before: Mapping[str, str], now: Mapping[str, str], get: Callable[[str], bytes]) -> tuple[dict[str, str], list[str]]:
    """`now`, a mirror as path → digest, in which each publication point whose manifest went back or is a stranger's is as it was `before`; and which these are."""

    def at(path: str) -> Iterator[bytes]:
        yield from map(get, dict.fromkeys(each[path] for each in (now, before) if path in each))

    points: set[str] = set()
    findings = []
    for path, digest in now.items():
        former = before.get(path)
        if not path.endswith(".mft") or former is None or former == digest:
            continue
        fault = _fault(get(former), get(digest), at)
        if fault:
            points.add(point := path.rpartition("/")[0])
            findings.append(f"rsync://{path}: {fault}; {point}/ counts as it was before")
    found = {path: digest for path, digest in now.items() if path.rpartition("/")[0] not in points}
    return found | {path: digest for path, digest in before.items() if path.rpartition("/")[0] in points}, findings


def _fault(former: bytes, fresh: bytes, at: Look) -> str:
    """Why a manifest does not take the place of the `former` one, in words; empty when it does."""
    if not own(fresh, at):
        return "it is not signed by its CA, as the one before was (RFC 9286, 6.6)" if own(former, at) else ""
    with suppress(Malformed):
        (key, number), (key_before, number_before) = manifest(fresh), manifest(former)
        if key == key_before and number < number_before and own(former, at):
            return f"its number went back from {number_before} to {number} (RFC 9286, 4.2.1)"
    return ""


def own(content: bytes, at: Look) -> bool:
    """Whether `content` is a signed object by the key that it names as its issuer's. `at`: path in the mirror → what lies or lay there. Never raises."""
    try:
        signed = _parts(_parts(_parts(definite(content), SEQUENCE)[1][2], FIRST)[0][2], SEQUENCE)
        said = _parts(_parts(signed[2][2], SEQUENCE)[1][2], FIRST)[0]
        certificate = read(_parts(signed[3][2], FIRST)[0][2])
        signer = _parts(_parts(signed[-1][2], SET)[0][2], SEQUENCE)
        attributes, signature = signer[3], signer[5]
        digests = [_parts(_parts(each[2], SEQUENCE)[1][2], SET)[0][1] for each in _parts(attributes[2], FIRST) if MESSAGE_DIGEST in each[1]]
        if said[0] != OCTETS or digests != [hashlib.sha256(said[1]).digest()]:
            return False
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            return False
        signed_as = bytes((SET,)) + attributes[2][1:]  # and not under their tag (RFC 5652, 5.4)
        key.verify(signature[1], signed_as, PKCS1v15(), SHA256())
        return issued(certificate, at)
    except (Malformed, IndexError, InvalidSignature):
        return False


def _parts(content: bytes, tag: int) -> list[Part]:
    """What stands in the value that `content` is, which has `tag`. Raises Malformed."""
    found, start, end = value_at(content, 0, len(content))
    if found != tag:
        raise Malformed("another value than is due here")
    parts = []
    for inner, at, past in values(content, start, end):
        parts.append((inner, content[at:past], content[start:past]))
        start = past
    return parts
