"""What the objects of a mirror say: which of them say a VRP, so that a finding can name them; and whether any says an ASPA or a router key.

A ROA (RFC 9582) or ASPA (draft-ietf-sidrops-aspa-profile) lies in a signed object (RFC 6488) in DER, a router key in a certificate (RFC 8209). Nothing is validated
here; what a validator refused can be malformed in any way, so the content is looked for by its type, and what cannot be read says nothing. To find a few VRPs among
hundreds of thousands of objects, the bits of their prefixes are searched for in the raw octets first.

ASPAs and router keys are read by rpki-client alone (FORT 1.5.4 and 1.6.8 do not so much as have the word ASPA in them). This second reader takes the place of a second
validator for half of what one does: that what is concluded stands in an object. Whether the object is valid it cannot say.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network

from nnix.planes.trust.payloads import Network, RouterKey, Vrp

ROA_TYPE = bytes.fromhex("060b2a864886f70d0109100118")  # id-ct-routeOriginAuthz, 1.2.840.113549.1.9.16.1.24
ASPA_TYPE = bytes.fromhex("060b2a864886f70d0109100131")  # id-ct-ASPA, 1.2.840.113549.1.9.16.1.49
MANIFEST_TYPE = bytes.fromhex("060b2a864886f70d010910011a")  # id-ct-rpkiManifest, 1.2.840.113549.1.9.16.1.26
AUTHORITY_KEY = bytes.fromhex("0603551d23")  # id-ce-authorityKeyIdentifier, 2.5.29.35
AS_NUMBERS = bytes.fromhex("06082b06010505070108")  # id-pe-autonomousSysIds, 1.3.6.1.5.5.7.1.8 (RFC 3779)
ROUTER_PURPOSE = bytes.fromhex("06082b0601050507031e")  # id-kp-bgpsec-router, 1.3.6.1.5.5.7.3.30 (RFC 8209, 3.1.3.2)
ADDRESSES_MAX = 100_000
PROVIDERS_MAX = 16_000
FAMILIES = {b"\0\1": True, b"\0\2": False}  # addressFamily of a ROA (RFC 9582, 4.3.1) → whether it is IPv4
ASN_MAX = (1 << 32) - 1
MANIFEST_NUMBER_OCTETS_MAX = 20  # RFC 9286, 4.2.1
CONSTRUCTED, DEPTH_MAX = 0x20, 16


class Malformed(ValueError):
    """No DER, or not of the shape that a ROA has."""


def value_at(content: bytes, start: int, end: int) -> tuple[int, int, int]:
    """(tag, where its content begins, where it ends) of the value at `start`. An indefinite length ends with its surroundings."""
    if start + 2 > end:
        raise Malformed("a value is cut off")
    tag, size = content[start], content[start + 1]
    begin = start + 2
    if size == 0x80:
        return tag, begin, end
    if size > 0x80:
        count = size & 0x7F
        size = int.from_bytes(content[begin : begin + count])
        begin += count
    if begin + size > end:
        raise Malformed("a value is cut off")
    return tag, begin, begin + size


def values(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    while start < end:
        found = value_at(content, start, end)
        yield found
        start = found[2]


def definite(content: bytes) -> bytes:
    """A signed object in BER, as some CAs have written theirs (RFC 6488, 2 wants DER), with lengths in place of ends and its octets in one piece: nothing else in it is
    another than it was, so what is signed still is. One in DER comes back as it is. Raises Malformed."""
    if content[1:2] != b"\x80":
        return content
    return _definite(content, 0, 0)[0]


def _definite(content: bytes, start: int, depth: int) -> tuple[bytes, int]:
    """The value at `start`, and where what follows it begins."""
    if content[start + 1 : start + 2] != b"\x80":
        end = value_at(content, start, len(content))[2]
        return content[start:end], end
    tag = content[start]
    if not tag & CONSTRUCTED or depth == DEPTH_MAX:
        raise Malformed("a length without an end where there is none, or too deep")
    parts, here = [], start + 2
    while content[here : here + 2] != b"\0\0":
        part, here = _definite(content, here, depth + 1)
        parts.append(part)
    if tag == CONSTRUCTED | 0x04:  # an OCTET STRING in pieces
        tag, parts = 0x04, [each[slice(*value_at(each, 0, len(each))[1:])] for each in parts]
    inner = b"".join(parts)
    octets = (len(inner).bit_length() + 7) // 8
    size = bytes((len(inner),)) if len(inner) < 0x80 else bytes((0x80 | octets,)) + len(inner).to_bytes(octets)
    return bytes((tag,)) + size + inner, here + 2


def _natural(content: bytes, most: int) -> int:
    """The INTEGER that `content` is. Raises Malformed for one that is negative, or more than `most`."""
    number = int.from_bytes(content, signed=True)
    if not content or not 0 <= number <= most:
        raise Malformed(f"no number from 0 to {most}")
    return number


def _signed(content: bytes, kind: bytes) -> list[tuple[int, int, int]]:
    """The parts of what a signed object says, without its version. Raises Malformed."""
    where = content.find(kind)
    if where < 0:
        raise Malformed("no such content")
    _, begin, end = value_at(content, where + len(kind), len(content))  # [0] EXPLICIT
    _, begin, end = value_at(content, begin, end)  # OCTET STRING
    _, begin, end = value_at(content, begin, end)  # the SEQUENCE in it
    return [each for each in values(content, begin, end) if each[0] != 0xA0]


def aspa(content: bytes) -> tuple[int, frozenset[int]]:
    """(customer, providers) of a signed object with an ASPA in it. Raises Malformed."""
    content = definite(content)
    parts = _signed(content, ASPA_TYPE)
    if len(parts) != 2 or parts[0][0] != 0x02 or parts[1][0] != 0x30:
        raise Malformed("not the shape of an ASPA")
    providers: set[int] = set()
    for tag, begin, end in values(content, *parts[1][1:]):
        if tag != 0x02 or len(providers) == PROVIDERS_MAX:
            raise Malformed("no providers, or too many")
        providers.add(_natural(content[begin:end], ASN_MAX))
    return _natural(content[parts[0][1] : parts[0][2]], ASN_MAX), frozenset(providers)


def aspas_said(files: Iterable[tuple[str, bytes]]) -> dict[int, list[frozenset[int]]]:
    """Customer → the providers that each of its ASPAs names."""
    found: dict[int, list[frozenset[int]]] = {}
    for _, content in files:
        with suppress(Malformed):
            customer, providers = aspa(content)
            found.setdefault(customer, []).append(providers)
    return found


def router_keys_said(keys: Iterable[RouterKey], files: Iterable[tuple[str, bytes]]) -> frozenset[RouterKey]:
    """Those of `keys` that a router certificate among `files` has, with that AS number."""
    wanted = {each: base64.b64decode(each.public_key) for each in keys}
    if not wanted:
        return frozenset()
    found: set[RouterKey] = set()
    for _, content in files:
        if ROUTER_PURPOSE in content:
            numbers = as_numbers(content)
            found.update(each for each, key in wanted.items() if key in content and each.asn in numbers)
    return frozenset(found)


def as_numbers(certificate: bytes) -> frozenset[int]:
    """The AS numbers that a certificate names one by one (RFC 3779, 3.2.3); none where it cannot be read."""
    where = certificate.find(AS_NUMBERS)
    if where < 0:
        return frozenset()
    try:
        parts = [each for each in values(certificate, where + len(AS_NUMBERS), len(certificate)) if each[0] == 0x04][:1]
        _, begin, end = value_at(certificate, parts[0][1], parts[0][2])  # ASIdentifiers
        _, begin, end = value_at(certificate, begin, end)  # asnum [0]
        _, begin, end = value_at(certificate, begin, end)  # asIdsOrRanges
        return frozenset(int.from_bytes(certificate[a:b]) for tag, a, b in values(certificate, begin, end) if tag == 0x02)
    except (Malformed, IndexError):
        return frozenset()


def manifest(content: bytes) -> tuple[bytes, int]:
    """(the identifier of the key that signed it, its number) of a signed object with a manifest in it (RFC 9286). Raises Malformed."""
    content = definite(content)
    parts = _signed(content, MANIFEST_TYPE)
    where = content.find(AUTHORITY_KEY)
    if not parts or parts[0][0] != 0x02 or where < 0 or parts[0][2] - parts[0][1] > MANIFEST_NUMBER_OCTETS_MAX + 1:
        raise Malformed("not the shape of a manifest")
    _, begin, end = value_at(content, where + len(AUTHORITY_KEY), len(content))
    return content[begin:end], int.from_bytes(content[parts[0][1] : parts[0][2]], signed=True)


def roa(content: bytes) -> tuple[Vrp, ...]:
    """The VRPs of a signed object with a ROA in it. Raises Malformed."""
    content = definite(content)
    parts = _signed(content, ROA_TYPE)
    if len(parts) != 2 or parts[0][0] != 0x02:
        raise Malformed("not the shape of a ROA")
    origin = _natural(content[parts[0][1] : parts[0][2]], ASN_MAX)
    found: list[Vrp] = []
    for _, family_begin, family_end in values(content, *parts[1][1:]):
        block = list(values(content, family_begin, family_end))
        if len(block) != 2:
            raise Malformed("not the shape of a block of addresses")
        family, addresses = block
        if (v4 := FAMILIES.get(content[family[1] : family[2]])) is None:
            raise Malformed("no family of addresses")
        for _, address_begin, address_end in values(content, *addresses[1:]):
            if len(found) == ADDRESSES_MAX:
                raise Malformed(f"more than {ADDRESSES_MAX} prefixes")
            found.append(_vrp(content, list(values(content, address_begin, address_end)), v4, origin))
    return tuple(found)


def _vrp(content: bytes, parts: list[tuple[int, int, int]], v4: bool, origin: int) -> Vrp:
    bits = content[parts[0][1] : parts[0][2]] if parts else b""
    width = 32 if v4 else 128
    if not bits or bits[0] > 7 or (len(bits) - 1) * 8 - bits[0] not in range(width + 1):
        raise Malformed("no prefix")
    length = (len(bits) - 1) * 8 - bits[0]
    address = int.from_bytes(bits[1:].ljust(width // 8, b"\0")) >> (width - length) << (width - length)
    prefix: Network = IPv4Network((address, length)) if v4 else IPv6Network((address, length))
    longest = _natural(content[parts[1][1] : parts[1][2]], width) if len(parts) > 1 else length
    if longest < length:
        raise Malformed("a maximum length below the length")
    return Vrp(prefix, longest, origin)


def needle(prefix: Network) -> bytes:
    """The BIT STRING of a prefix (RFC 3779, 2.2.3.8), without the unused bits, which an object that is not DER may have set."""
    size = prefix.prefixlen
    whole = size // 8
    return bytes((0x03, (size + 7) // 8 + 1, -size % 8)) + prefix.network_address.packed[:whole]


def saying(vrps: Iterable[Vrp], files: Iterable[tuple[str, bytes]]) -> dict[Vrp, tuple[str, ...]]:
    """VRP → the names of those of `files` whose ROA says it."""
    wanted = set(vrps)
    if not wanted:
        return {}
    pattern = re.compile(b"|".join(re.escape(needle(each)) for each in sorted({vrp.prefix for vrp in wanted}, key=str)), re.S)
    found: dict[Vrp, list[str]] = {}
    for name, content in files:
        if pattern.search(content):
            try:
                said = wanted.intersection(roa(content))
            except Malformed:
                continue
            for vrp in said:
                found.setdefault(vrp, []).append(name)
    return {vrp: tuple(names) for vrp, names in found.items()}


URI = re.compile(rb"\x86(?:\x81|\x82.)?(.)rsync://", re.S)  # GeneralName, uniformResourceIdentifier, and its length


def points_of(certificate: bytes) -> Iterator[str]:
    """Where a CA publishes: of all rsync URIs in a certificate caRepository alone ends in /."""
    for found in URI.finditer(certificate):
        uri = certificate[found.start(1) + 1 : found.start(1) + 1 + found[1][0]]
        if uri.endswith(b"/"):
            yield uri.decode(errors="replace").removeprefix("rsync://")


def said_below(path: str, files: Iterable[tuple[str, bytes]]) -> tuple[set[Vrp], set[Vrp]]:
    """The VRPs that ROAs at `path` say, and those that others say. A path that ends in / is a publication point: of all that lies in it, and of the points that
    certificates there lead to. `files` are ROAs and certificates."""
    listed = list(files)
    certificates = [(name, set(points_of(content))) for name, content in listed if name.endswith(".cer")]
    points, queue = {path}, [path] if path.endswith("/") else []
    while queue:
        point = queue.pop()
        fresh = {each for name, found in certificates if name.startswith(point) for each in found} - points
        points |= fresh
        queue.extend(fresh)
    inside: set[Vrp] = set()
    outside: set[Vrp] = set()
    for name, content in listed:
        if name.endswith(".roa"):
            with suppress(Malformed):
                (inside if any(name == each or (each.endswith("/") and name.startswith(each)) for each in points) else outside).update(
                    roa(content)
                )
    return inside, outside


OBJECT = re.compile(
    r"(?<![A-Za-z0-9.-])([A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++(?::[0-9]{1,5})?/[A-Za-z0-9._~%+/-]{1,1024}\.(?:roa|mft|crl|cer|asa|gbr))"
)
LINE_MAX = 2048  # of a log, whose names are strangers': a search in a line of its own length squared would take minutes


class Words:
    """What a validator said of each object, out of its log: rpki-client names files of its cache, FORT names URIs."""

    def __init__(self, log: str) -> None:
        self._of: dict[str, str] = {}
        self._in: dict[str, str] = {}
        for line in log.splitlines():
            found = OBJECT.search(line[:LINE_MAX])
            if found is None:
                continue
            path, said = found[1], line[found.end() :].lstrip(": ")
            if said.startswith(("->", "libcrypto error stack", "End of libcrypto")):
                continue
            self._of.setdefault(path, said)
            self._in.setdefault(path.rsplit("/", 1)[0], f"{path.rsplit('/', 1)[1]}: {said}")

    def about(self, path: str) -> str:
        """What it said of that object, else of another at the same publication point; empty: nothing."""
        return self._of.get(path) or self._in.get(path.rsplit("/", 1)[0], "")
