"""The Erik protocol (draft-ietf-sidrops-rpki-erik-protocol-07), experimental as long as it is a draft: what a relay says of its mirror, and how a client comes to the same.

    /.well-known/erik/index/HOST                     ErikIndex of all objects with names at HOST: the hash of each partition
    /.well-known/ni/sha-256/DIGEST   a partition     the manifests whose issuers' key identifiers begin with one and the same octet
                                     a manifest      the names and hashes of all else that its CA has published
                                     any object      (RFC 6920, 4)

So there are no sessions and no deltas: whoever has most of it already asks for what differs, from any relay, and can check each answer by its name. A manifest is fetched
where the number that the relay tells is higher than one's own.

A relay is to tell of manifests that are current; this one goes by their own `nextUpdate`, as nothing is validated in a mirror. Deliberately not here: snapshots and
segments to fetch in bulk (section 6), which are an optimisation, and HTTP/2.

Everything that is read here may come from anybody, so it is read as DER of exactly the shape that the draft has, within bounds; of manifests alone also as BER, in which some CAs have written theirs.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise

from nnix.planes.trust.mirror.reasons import Reason, Rejected
from nnix.planes.trust.mirror.uris import PATH_OCTETS_MAX, RSYNC
from nnix.planes.trust.objects import Malformed, definite, value_at

INDEX, PARTITION = "application/rpki-erikindex", "application/rpki-erikpartition"
INDEX_TYPE = bytes.fromhex("060b2a864886f70d0109100137")  # 1.2.840.113549.1.9.16.1.55
PARTITION_TYPE = bytes.fromhex("060b2a864886f70d0109100138")  # 1.2.840.113549.1.9.16.1.56
SIGNED_TYPE = bytes.fromhex("06092a864886f70d010702")  # id-signedData
MANIFEST_TYPE = bytes.fromhex("060b2a864886f70d010910011a")  # id-ct-rpkiManifest
SHA256 = bytes.fromhex("300b0609608648016503040201")  # an AlgorithmIdentifier without parameters (RFC 5754, 2)
AUTHORITY_KEY, SUBJECT_ACCESS = bytes.fromhex("0603551d23"), bytes.fromhex("06082b0601050507010b")
SIGNED_OBJECT = bytes.fromhex("06082b0601050507300b")  # id-ad-signedObject, 1.3.6.1.5.5.7.48.11

INTEGER, BITS, OCTETS, OID, TEXT, TIME, SEQUENCE, SET = 0x02, 0x03, 0x04, 0x06, 0x16, 0x18, 0x30, 0x31
FIRST, URI = 0xA0, 0x86  # [0] constructed; GeneralName's uniformResourceIdentifier

PARTITIONS_MAX = 256
INDICES_KEPT = 4  # of each host, of which the partitions can still be had
PARTITION_OCTETS_MIN, MANIFEST_OCTETS_MIN = 100, 1000  # bounds of the ASN.1 module
PARTITION_OCTETS_MAX, OBJECT_OCTETS_MAX = 64 << 20, 64 << 20
TREE_OCTETS_MAX, OBJECTS_MAX = 4 << 30, 4_000_000
MANIFESTS_MAX, FILES_MAX, NUMBER_OCTETS_MAX = 200_000, 2_000_000, 20  # a manifest's number has at most 20 octets (RFC 9286, 4.2.1)
ZULU = re.compile(rb"[0-9]{14}Z")
FILE = re.compile(r"[A-Za-z0-9_-]{1,251}\.[a-z]{3}")  # RFC 9286, 4.2.2; as long as a file system takes
SCOPE = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+"
)  # RFC 1123, 2.1; no dot at the end


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """What is told of a manifest. Times as the objects have them, `YYYYMMDDHHMMSSZ`; `locations` is the DER of its AccessDescriptions, and `path` where it lies in a mirror."""

    digest: bytes
    octets: int
    key: bytes
    number: int
    since: bytes
    locations: bytes
    path: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says of itself and lists."""

    ref: ManifestRef
    until: bytes
    files: tuple[tuple[str, bytes], ...]


# --- DER ---------------------------------------------------------------------------------------------------------------


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    octets = (size.bit_length() + 7) // 8
    return bytes((tag,)) + (bytes((size,)) if size < 0x80 else bytes((0x80 | octets,)) + size.to_bytes(octets, "big")) + content


def _number(value: int) -> bytes:
    return _der(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _parts(content: bytes, tag: int, *, most: int = 64) -> list[tuple[int, bytes, bytes]]:
    """(tag, content, all of it) of each value in `content`, which is one value with `tag` and nothing behind it. Raises Malformed."""
    found, begin, end = _value(content, 0, len(content))
    if found != tag or end != len(content):
        raise Malformed("another value than is due here, or something behind it")
    parts: list[tuple[int, bytes, bytes]] = []
    while begin < end:
        if len(parts) == most:
            raise Malformed(f"more than {most} values")
        inner, at, past = _value(content, begin, end)
        parts.append((inner, content[at:past], content[begin:past]))
        begin = past
    return parts


def _value(content: bytes, start: int, end: int) -> tuple[int, int, int]:
    if content[start + 1 : start + 2] == b"\x80":
        raise Malformed("an indefinite length, which DER has not")
    return value_at(content, start, end)


def _shape(parts: Sequence[tuple[int, bytes, bytes]], *tags: int) -> list[bytes]:
    """The contents, if there are as many as `tags`, of those tags. Raises Malformed."""
    if [each[0] for each in parts] != list(tags):
        raise Malformed("not the values that are due here")
    return [each[1] for each in parts]


def _natural(content: bytes, octets_max: int = 8) -> int:
    if not content or len(content) > octets_max + 1 or content[0] & 0x80:
        raise Malformed("no number from 0 on, or one too long")
    return int.from_bytes(content)


def _time(content: bytes) -> bytes:
    if not ZULU.fullmatch(content):
        raise Malformed("a time that is not YYYYMMDDHHMMSSZ")
    return content


def _content(content: bytes, kind: bytes) -> bytes:
    """What stands in a ContentInfo of that type. Raises Malformed."""
    parts = _parts(content, SEQUENCE)
    if len(parts) != 2 or parts[0][2] != kind or parts[1][0] != FIRST:
        raise Malformed("another type of content")
    return parts[1][1]


def _rising(hashes: Sequence[bytes]) -> None:
    if any(a >= b for a, b in pairwise(hashes)):
        raise Malformed("hashes twice, or not in ascending order")


# --- manifests ---------------------------------------------------------------------------------------------------------


def manifest(content: bytes) -> Manifest:
    """A signed object with a manifest in it (RFC 9286), not validated. Raises Malformed."""
    signed = _parts(_content(definite(content), SIGNED_TYPE), SEQUENCE)
    if len(signed) < 4 or signed[2][0] != SEQUENCE or signed[3][0] != FIRST:
        raise Malformed("no signed data with a certificate")
    capsule = _parts(signed[2][2], SEQUENCE)
    if len(capsule) != 2 or capsule[0][2] != MANIFEST_TYPE or capsule[1][0] != FIRST:
        raise Malformed("no manifest in it")
    (said,) = _shape(_parts(capsule[1][2], FIRST), OCTETS)
    parts = _parts(said, SEQUENCE)
    number, since, until, _, listed = _shape(parts[1:] if parts and parts[0][0] == FIRST else parts, INTEGER, TIME, TIME, OID, SEQUENCE)
    files = []
    for _, _, whole in _parts(_der(SEQUENCE, listed), SEQUENCE, most=FILES_MAX):
        name, bits = _shape(_parts(whole, SEQUENCE), TEXT, BITS)
        text = name.decode("latin-1")
        if not FILE.fullmatch(text) or len(bits) != 33 or bits[0]:
            raise Malformed("a file with such a name or hash")
        files.append((text, bits[1:]))
    if len({name for name, _ in files}) < len(files):
        raise Malformed("a file twice")  # RFC 9286, 4.2.1
    key, locations = _access(signed[3][1])
    ref = ManifestRef(hashlib.sha256(content).digest(), len(content), key, _natural(number, NUMBER_OCTETS_MAX), _time(since), locations, "")
    return Manifest(_placed(ref), _time(until), tuple(files))


def _access(certificate: bytes) -> tuple[bytes, bytes]:
    """(key identifier of the issuer, AccessDescriptions of the Subject Information Access) of an end-entity certificate. Raises Malformed."""
    body = _parts(certificate, SEQUENCE)
    if not body or body[0][0] != SEQUENCE:
        raise Malformed("no certificate")
    fields = _parts(body[0][2], SEQUENCE)
    if not fields or fields[-1][0] != 0xA3:
        raise Malformed("no extensions")
    found: dict[bytes, bytes] = {}
    (extensions,) = _shape(_parts(fields[-1][2], 0xA3), SEQUENCE)
    for _, _, whole in _parts(_der(SEQUENCE, extensions), SEQUENCE):
        parts = _parts(whole, SEQUENCE)
        if len(parts) >= 2 and parts[-1][0] == OCTETS:
            found.setdefault(parts[0][2], parts[-1][1])
    try:
        keys, places = _parts(found[AUTHORITY_KEY], SEQUENCE), found[SUBJECT_ACCESS]
    except KeyError:
        raise Malformed("no issuer's key, or no place") from None
    if not keys or keys[0][0] != 0x80 or len(keys[0][1]) != 20:
        raise Malformed("no key identifier of 20 octets")
    return keys[0][1], b"".join(whole for _, _, whole in _parts(places, SEQUENCE))


def _placed(ref: ManifestRef) -> ManifestRef:
    """With the path of its rsync URI; all URIs of an object lie at one host. Raises Malformed."""
    uris = []
    for _, _, whole in _parts(_der(SEQUENCE, ref.locations), SEQUENCE):
        parts = _parts(whole, SEQUENCE)
        if len(parts) == 2 and parts[0][2] == SIGNED_OBJECT and parts[1][0] == URI:
            uris.append(parts[1][1].decode("latin-1"))
    paths = [found[1] for each in uris if len(each) <= PATH_OCTETS_MAX and (found := RSYNC.fullmatch(each))]
    if not paths or len({scope_of(each) for each in paths}) > 1 or any(not each.startswith(("rsync://", "https://")) for each in uris):
        raise Malformed("no rsync URI, or several hosts")
    return replace(ref, path=paths[0])


def scope_of(path: str) -> str:
    return path.partition("/")[0].partition(":")[0].lower()


# --- index and partitions ----------------------------------------------------------------------------------------------


def spelled_partition(refs: Iterable[ManifestRef]) -> bytes:
    """An ErikPartition of manifests that belong together."""
    listed = sorted({each.digest: each for each in refs}.values(), key=lambda each: each.digest)
    lines = (
        _der(
            SEQUENCE,
            _der(OCTETS, each.digest),
            _number(each.octets),
            _der(OCTETS, each.key),
            _number(each.number),
            _der(TIME, each.since),
            _der(SEQUENCE, each.locations),
        )
        for each in listed
    )
    said = _der(SEQUENCE, _der(TIME, max(each.since for each in listed)), SHA256, _der(SEQUENCE, *lines))
    return _der(SEQUENCE, PARTITION_TYPE, _der(FIRST, said))


def published(scope: str, refs: Iterable[ManifestRef]) -> tuple[bytes, dict[bytes, bytes]] | None:
    """(the ErikIndex of a host, its partitions by digest); None where nothing is published there. Pure: the same manifests make the same octets at every relay."""
    groups: dict[int, list[ManifestRef]] = {}
    for each in refs:
        if scope_of(each.path) == scope and each.octets >= MANIFEST_OCTETS_MIN:
            groups.setdefault(each.key[0], []).append(each)
    if not groups:
        return None
    partitions = {hashlib.sha256(each).digest(): each for each in map(spelled_partition, groups.values())}
    listed = (_der(SEQUENCE, _der(OCTETS, digest), _number(len(partitions[digest]))) for digest in sorted(partitions))
    newest = max(each.since for group in groups.values() for each in group)
    said = _der(SEQUENCE, _der(TEXT, scope.encode()), _der(TIME, newest), SHA256, _der(SEQUENCE, *listed))
    return _der(SEQUENCE, INDEX_TYPE, _der(FIRST, said)), partitions


def index(content: bytes, scope: str) -> list[tuple[bytes, int]]:
    """(digest, octets) of each partition in an ErikIndex of that host. Raises Malformed."""
    parts = _parts(_content(content, INDEX_TYPE), SEQUENCE)
    text, newest, _, listed = _shape(parts, TEXT, TIME, SEQUENCE, SEQUENCE)
    _time(newest)
    if parts[2][2] != SHA256:
        raise Malformed("another hash than SHA-256")
    if text.decode("latin-1").lower() != scope:
        raise Malformed(f"an index of {text.decode('latin-1')[:80]!r}")
    found = []
    for _, _, whole in _parts(_der(SEQUENCE, listed), SEQUENCE, most=PARTITIONS_MAX):
        digest, octets = _shape(_parts(whole, SEQUENCE), OCTETS, INTEGER)
        if len(digest) != 32 or not PARTITION_OCTETS_MIN <= (size := _natural(octets)) <= PARTITION_OCTETS_MAX:
            raise Malformed("a partition with such a hash or size")
        found.append((digest, size))
    _rising([digest for digest, _ in found])
    if not found:
        raise Malformed("no partition")
    return found


def partition(content: bytes, scope: str) -> list[ManifestRef]:
    """The manifests in an ErikPartition, all of that host. Raises Malformed."""
    parts = _parts(_content(content, PARTITION_TYPE), SEQUENCE)
    newest, _, listed = _shape(parts, TIME, SEQUENCE, SEQUENCE)
    _time(newest)
    if parts[1][2] != SHA256:
        raise Malformed("another hash than SHA-256")
    found = []
    for _, _, whole in _parts(_der(SEQUENCE, listed), SEQUENCE, most=MANIFESTS_MAX):
        digest, octets, key, number, since, places = _shape(_parts(whole, SEQUENCE), OCTETS, INTEGER, OCTETS, INTEGER, TIME, SEQUENCE)
        if len(digest) != 32 or len(key) != 20 or not MANIFEST_OCTETS_MIN <= (size := _natural(octets)) <= OBJECT_OCTETS_MAX:
            raise Malformed("a manifest with such a hash, key or size")
        ref = _placed(ManifestRef(digest, size, key, _natural(number, NUMBER_OCTETS_MAX), _time(since), places, ""))
        if scope_of(ref.path) != scope:
            raise Malformed(f"a manifest at another host: rsync://{ref.path}")
        found.append(ref)
    _rising([each.digest for each in found])
    if not found or len({each.key[0] for each in found}) > 1:
        raise Malformed("no manifest, or keys that do not belong together")
    return found


# --- the relay ---------------------------------------------------------------------------------------------------------


@dataclass
class Relay:
    """What is told of the trees in force, made when it is asked for. The partitions of the last indices of each host are kept, for who has read one of those."""

    _told: dict[tuple[str, object, str], bytes | None] = field(default_factory=dict)
    _partitions: dict[str, list[dict[bytes, bytes]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def index(self, scope: str, version: Hashable, found: Callable[[], Iterable[tuple[ManifestRef, bytes]]], now: datetime) -> bytes | None:
        """The ErikIndex of a host; None where there is nothing. `version` is another one whenever `found`, manifests and when they expire, is something else."""
        minute = f"{now:%Y%m%d%H%M}"
        with self._lock:
            if (scope, version, minute) not in self._told:
                moment = f"{minute}00Z".encode()
                made = published(scope, (ref for ref, until in found() if until > moment))
                self._told = {key: each for key, each in self._told.items() if key[0] != scope} | {
                    (scope, version, minute): made and made[0]
                }
                kept = self._partitions.get(scope, [])
                if made and made[1] not in kept[-1:]:
                    self._partitions[scope] = [*kept, made[1]][-INDICES_KEPT:]
            return self._told[scope, version, minute]

    def partition(self, digest: bytes) -> bytes | None:
        return next((each[digest] for kept in list(self._partitions.values()) for each in kept if digest in each), None)


def readable(manifests: Iterable[tuple[str, bytes]]) -> tuple[tuple[ManifestRef, bytes], ...]:
    """What there is to tell of manifests, given by path, and when they expire. Those that cannot be read are left out, and those that say of themselves that they
    lie elsewhere: a client lays them out by that, in the place of another CA's."""
    found = []
    for path, content in manifests:
        with suppress(Malformed):
            each = manifest(content)
            if each.ref.path == path:
                found.append((each.ref, each.until))
    return tuple(found)


# --- the client --------------------------------------------------------------------------------------------------------

Ask = Callable[[str, int], bytes]
"""(path at the relay, octets at most) → what is there. Raises Rejected."""


def synchronized(scope: str, held: Mapping[str, bytes], ask: Ask) -> dict[str, bytes]:
    """Path → object of all that the relay has below current manifests at host `scope`, what is `held` kept where it is the same or its manifest is no older. Raises
    Rejected for a relay that tells something else than the draft has, or gives something else than it was asked for."""
    octets_left = TREE_OCTETS_MAX
    known = {hashlib.sha256(content).digest(): content for content in held.values()}

    def by_digest(digest: bytes, octets_max: int) -> bytes:
        nonlocal octets_left
        if (content := known.get(digest)) is None:
            name = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            content = ask(f"/.well-known/ni/sha-256/{name}", octets_max)
            if hashlib.sha256(content).digest() != digest:
                raise Rejected(Reason.OBJECT_HASH, f"{name} is another object than its name says")
            known[digest] = content
            octets_left -= len(content)
            if octets_left < 0 or len(known) > OBJECTS_MAX:
                raise Rejected(Reason.TOO_LARGE, f"{scope}: more than {TREE_OCTETS_MAX} octets or {OBJECTS_MAX} objects")
        return content

    try:
        made: dict[str, bytes] = {}

        def lay(path: str, content: bytes) -> None:
            if made.setdefault(path, content) != content:
                raise Malformed(f"rsync://{path} twice, and not the same")
            if len(path) > PATH_OCTETS_MAX:
                raise Malformed(f"rsync://{path[:80]}… has more than {PATH_OCTETS_MAX} octets")

        for digest, octets in index(ask(f"/.well-known/erik/index/{scope}", 1 << 20), scope):
            for ref in partition(by_digest(digest, octets), scope):
                content = _newest(ref, held, by_digest)
                listed = manifest(content)
                lay(ref.path, content)
                folder = ref.path.rpartition("/")[0]
                for name, hashed in listed.files:
                    lay(f"{folder}/{name}", by_digest(hashed, OBJECT_OCTETS_MAX))
        return made
    except Malformed as error:
        raise Rejected(Reason.ERIK, f"{scope}: {error}") from None


def _newest(ref: ManifestRef, held: Mapping[str, bytes], by_digest: Callable[[bytes, int], bytes]) -> bytes:
    """The manifest that is told of, or the one that is held where that one's number is no lower. Raises Malformed, Rejected."""
    with suppress(KeyError, Malformed):
        ours = manifest(held[ref.path])
        if ours.ref.key == ref.key and ours.ref.number >= ref.number:
            return held[ref.path]
    content = by_digest(ref.digest, ref.octets)
    found = manifest(content)
    if found.ref != ref:
        raise Malformed(f"rsync://{ref.path} is told of otherwise than it is")
    return content
