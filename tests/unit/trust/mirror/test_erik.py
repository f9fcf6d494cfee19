"""The relay of the Erik draft over real HTTPS, and a client that comes to the same tree; what a relay that lies, or a stranger's octets, make of it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnix.planes.trust.mirror import erik
from nnix.planes.trust.mirror.erik import Relay, manifest, published, readable, synchronized
from nnix.planes.trust.mirror.reasons import Reason, Rejected
from nnix.planes.trust.objects import Malformed
from tests.rpki.deviations import deviating
from tests.rpki.tree import HOST
from tests.unit.trust.mirror.test_serving import Served

OBJECTS = Path(__file__).parents[5] / "shared/data/rpki/objects"
NOW = datetime.now(UTC).replace(microsecond=0)
MOMENT = f"{NOW:%Y%m%d%H%M%S}Z".encode()
FILES = deviating("sound", "ca-inherits", "unknown-extension").files(NOW)
BELOW = {path: content for path, content in FILES.items() if not path.endswith("/ta/lab.cer")}
MANIFESTS = [(path, content) for path, content in FILES.items() if path.endswith(".mft")]


def told() -> tuple[bytes, dict[bytes, bytes]]:
    made = published(HOST, (ref for ref, _ in readable(MANIFESTS)))
    assert made is not None
    return made


class Shop:
    """A relay as a function, which counts what it is asked for."""

    def __init__(self, files: dict[str, bytes], lie: Callable[[str, bytes], bytes] = lambda _, content: content) -> None:
        made = published(HOST, (ref for ref, _ in readable(each for each in files.items() if each[0].endswith(".mft"))))
        assert made is not None
        self.lie, self.asked, self.given = lie, 0, 0
        named = [*files.values(), *made[1].values()]
        self.there = {
            f"/.well-known/ni/sha-256/{base64.urlsafe_b64encode(hashlib.sha256(each).digest()).rstrip(b'=').decode()}": each
            for each in named
        }
        self.there[f"/.well-known/erik/index/{HOST}"] = made[0]

    def __call__(self, path: str, octets_max: int) -> bytes:
        self.asked += 1
        if path not in self.there:
            raise Rejected(Reason.STATUS, path)
        content = self.lie(path, self.there[path])
        self.given += len(content)
        return content


def test_the_same_manifests_make_the_same_octets_whoever_tells_of_them() -> None:
    """Sorted by hash, one partition for each first octet of a key, its time that of its newest manifest; so two relays have one index."""
    refs = [ref for ref, _ in readable(MANIFESTS)]
    made, partitions = told()
    assert published(HOST, reversed(refs)) == (made, partitions)
    listed = erik.index(made, HOST)
    assert [(digest, len(partitions[digest])) for digest, _ in listed] == listed
    found = [ref for each in partitions.values() for ref in erik.partition(each, HOST)]
    assert sorted(found, key=lambda each: each.digest) == sorted(refs, key=lambda each: each.digest)
    assert {each.path for each in found} == {path for path in FILES if path.endswith(".mft")}
    assert published("another.test", refs) is None


def test_a_client_comes_to_the_same_tree_and_then_asks_for_what_differs() -> None:
    """From nothing: every object below current manifests. Again: the index and the partitions alone. After a change: the new manifest and what is new in it."""
    shop = Shop(FILES)
    first = synchronized(HOST, {}, shop)
    assert first == {path: each for path, each in BELOW.items() if path in first}
    assert {path for path in BELOW if path.endswith((".roa", ".mft", ".crl"))} <= set(first)
    partitions = len(told()[1])
    shop.asked = 0
    assert synchronized(HOST, first, shop) == first
    assert shop.asked == 1 + partitions
    root = deviating("sound", "ca-inherits", "unknown-extension")
    child = root.ca.children[0]
    child.manifest.number += 1
    child.objects = [each for each in child.objects if each.name != "other.roa"]
    later = root.files(NOW)
    changed = synchronized(HOST, first, Shop(later))
    gone = {path for path in first if path not in changed}
    assert [path.rpartition("/")[2] for path in gone] == ["other.roa"]


def test_an_older_manifest_is_not_taken_and_an_expired_one_not_told_of() -> None:
    """A relay that is behind takes nothing back; one that goes on telling after nextUpdate would tell of what nobody may use (RFC 9286, 6.3)."""
    root = deviating("sound")
    root.ca.children[0].manifest.number = 9
    newer = synchronized(HOST, {}, Shop(root.files(NOW)))
    root.ca.children[0].manifest.number = 8
    root.ca.children[0].objects.pop()
    assert set(synchronized(HOST, newer, Shop(root.files(NOW)))) == set(newer)
    relay, found = Relay(), readable(MANIFESTS)
    assert relay.index(HOST, 1, lambda: found, NOW) == told()[0]
    assert relay.index(HOST, 1, lambda: found, NOW + timedelta(days=3650)) is None
    assert all(relay.partition(digest) == each for digest, each in told()[1].items()), "who has read the former index may still follow it"


def test_a_relay_serves_it_over_https_and_says_when_nothing_changed(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.publish(FILES)
    status, index = served.get(f"/.well-known/erik/index/{HOST}")
    assert (status, index) == (200, told()[0])
    assert served.get("/.well-known/erik/index/other.test")[0] == served.get("/.well-known/erik/index/..")[0] == 404
    assert served.get(f"/.well-known/erik/index/{HOST}.")[0] == 404
    tag = f'"{hashlib.sha256(index).hexdigest()}"'
    (answer,) = served.say(f"GET /.well-known/erik/index/{HOST} HTTP/1.1\r\nIf-None-Match: {tag}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 304") and answer.endswith(b"\r\n\r\n")

    def ask(path: str, octets_max: int) -> bytes:
        status, body = served.get(path)
        assert status == 200 and len(body) <= octets_max
        return body

    assert synchronized(HOST, {}, ask) == synchronized(HOST, {}, Shop(FILES))


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (lambda path, content: content if "index" in path else content + b"x", Reason.OBJECT_HASH),
        (lambda path, content: content.replace(HOST.encode(), b"evil.lab.test") if "index" in path else content, Reason.ERIK),
        (lambda path, content: content[:-1] if "index" in path else content, Reason.ERIK),
        (lambda path, content: content + b"\0" if "index" in path else content, Reason.ERIK),
        (lambda path, content: next(iter(told()[1].values())) if "index" in path else content, Reason.ERIK),
    ],
)
def test_a_relay_that_gives_something_else_is_not_believed(lie: Callable[[str, bytes], bytes], reason: Reason) -> None:
    with pytest.raises(Rejected) as error:
        synchronized(HOST, {}, Shop(FILES, lie))
    assert error.value.reason is reason


def test_a_relay_without_an_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the object that is too much, which is not the last that there is."""
    whole = Shop(FILES)
    synchronized(HOST, {}, whole)
    index_octets, octets_max = len(told()[0]), whole.given // 2
    monkeypatch.setattr(erik, "TREE_OCTETS_MAX", octets_max)
    shop = Shop(FILES)
    with pytest.raises(Rejected) as error:
        synchronized(HOST, {}, shop)
    assert error.value.reason is Reason.TOO_LARGE
    assert octets_max < shop.given - index_octets <= octets_max + max(map(len, shop.there.values()))
    assert shop.asked < whole.asked


@pytest.mark.parametrize("what", ["another host", "another number", "keys that do not belong together", "twice", "out of order"])
def test_partitions_that_lie_are_not_believed(what: str) -> None:
    """Each is well formed, and its own hash stands in its index."""
    refs = sorted((ref for ref, _ in readable(MANIFESTS)), key=lambda each: each.digest)
    (one, *_), key = refs, refs[0].key
    changed = {
        "another host": [
            erik.ManifestRef(
                one.digest, one.octets, key, one.number, one.since, one.locations.replace(HOST.encode(), b"evil.lab.test"), one.path
            )
        ],
        "another number": [erik.ManifestRef(one.digest, one.octets, key, one.number + 1, one.since, one.locations, one.path)],
        "keys that do not belong together": [
            one,
            erik.ManifestRef(bytes(32), one.octets, bytes((key[0] ^ 1,)) + key[1:], one.number, one.since, one.locations, one.path),
        ],
        "twice": [one],
        "out of order": [one, erik.ManifestRef(b"\xff" * 32, one.octets, key, one.number, one.since, one.locations, one.path)],
    }[what]
    spelled = erik.spelled_partition(changed)
    if what in ("twice", "out of order"):
        lines = erik._parts(
            erik._parts(erik._parts(erik._content(spelled, erik.PARTITION_TYPE), erik.SEQUENCE)[2][2], erik.SEQUENCE)[0][2], erik.SEQUENCE
        )
        assert lines
        head, _, listed = (each[2] for each in erik._parts(erik._content(spelled, erik.PARTITION_TYPE), erik.SEQUENCE))
        entries = [each[2] for each in erik._parts(listed, erik.SEQUENCE)]
        again = [*entries, *entries] if what == "twice" else entries[::-1]
        spelled = erik._der(0x30, erik.PARTITION_TYPE, erik._der(0xA0, erik._der(0x30, head, erik.SHA256, erik._der(0x30, *again))))
    digest = hashlib.sha256(spelled).digest()
    entry = erik._der(0x30, erik._der(0x04, digest), erik._number(len(spelled)))
    body = erik._der(0x30, erik._der(0x16, HOST.encode()), erik._der(0x18, MOMENT), erik.SHA256, erik._der(0x30, entry))
    shop = Shop(FILES)
    shop.there[f"/.well-known/erik/index/{HOST}"] = erik._der(0x30, erik.INDEX_TYPE, erik._der(0xA0, body))
    shop.there[f"/.well-known/ni/sha-256/{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"] = spelled
    with pytest.raises(Rejected) as error:
        synchronized(HOST, {}, shop)
    assert error.value.reason is Reason.ERIK


def spoilt(what: str) -> dict[str, bytes]:
    """A tree in which one CA's manifest is not what it should be, properly signed."""
    root = deviating("sound", "ca-inherits")
    one = root.ca.children[0]
    if what == "a file twice":
        one.manifest.extra.append(("hit.roa", bytes(32)))
    else:
        one.manifest.extra.append(("a" * 5_000 + ".roa", hashlib.sha256(b"x").digest()))
    return root.files(NOW)


@pytest.mark.parametrize("what", ["a file twice", "a name as long as a book"])
def test_a_manifest_that_cannot_be_laid_out_is_not_told_of(what: str) -> None:
    """RFC 9286, 4.2.1 and 4.2.2; what others publish is."""
    manifests = [each for each in spoilt(what).items() if each[0].endswith(".mft")]
    assert len(readable(manifests)) == len(manifests) - 1
    assert synchronized(HOST, {}, Shop(spoilt(what)))


def test_a_manifest_that_says_it_lies_in_anothers_place_is_not_told_of_and_two_at_one_place_not_believed() -> None:
    """A client lays manifests out by what they say of themselves, so one CA could take away what another has published."""
    path, content = MANIFESTS[0]
    assert readable([(path, content)]) and not readable([(path.replace(".mft", "2.mft"), content)])
    first, second = deviating("sound"), deviating("sound")
    second.ca.children[0].manifest.number += 1
    both = [each for root in (first, second) for each in root.files(NOW).items() if each[0].endswith("sound.mft")]
    shop, lying = Shop(FILES), published(HOST, [ref for each in both for ref, _ in readable([each])])
    assert lying is not None
    for each in (*lying[1].values(), *first.files(NOW).values(), *second.files(NOW).values(), *(content for _, content in both)):
        shop.there[f"/.well-known/ni/sha-256/{base64.urlsafe_b64encode(hashlib.sha256(each).digest()).rstrip(b'=').decode()}"] = each
    shop.there[f"/.well-known/erik/index/{HOST}"] = lying[0]
    with pytest.raises(Rejected) as error:
        synchronized(HOST, {}, shop)
    assert error.value.reason is Reason.ERIK and "sound.mft twice" in str(error.value)


@pytest.mark.skipif(not OBJECTS.is_dir(), reason="the archive of real objects is not here")
def test_a_real_manifest_in_ber_is_told_of() -> None:
    content = (OBJECTS / "mft/ripe-ncc-ta.mft").read_bytes()
    found = manifest(content)
    assert (found.ref.digest, found.ref.octets) == (hashlib.sha256(content).digest(), len(content))
    assert (found.ref.path, found.ref.number) == ("rpki.ripe.net/repository/ripe-ncc-ta.mft", 51)
    assert len(found.files) == 2


@pytest.mark.parametrize("inside", [b"", b"\x30\0\x30\0", b"\x30\2\x30\0"], ids=["nothing", "two", "no-extension"])
def test_a_certificate_with_extensions_of_another_shape_is_malformed(inside: bytes) -> None:
    with pytest.raises(Malformed):
        erik._access(erik._der(0x30, erik._der(0x30, erik._der(0xA3, inside))))


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from([MANIFESTS[0][1], *told()[1].values(), told()[0]]), st.data())
def test_spoiled_octets_are_malformed_and_nothing_worse(content: bytes, data: st.DataObject) -> None:
    """Changed, cut or stretched anywhere: read, or Malformed."""
    start = data.draw(st.integers(0, len(content) - 1))
    spoiled = content[:start] + data.draw(st.binary(max_size=6)) + content[start + data.draw(st.integers(0, 6)) :]
    for read in (manifest, lambda each: erik.partition(each, HOST), lambda each: erik.index(each, HOST)):
        with contextlib.suppress(Malformed):
            read(spoiled)
