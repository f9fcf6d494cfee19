"""RRDP's files as strangers may send them: what is right is read whole, and what is not ends the reading under its name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nnix.planes.trust.mirror import rrdp
from nnix.planes.trust.mirror.reasons import SOURCES, Reason, Rejected
from tests.rpki.origin import published, spelled, withdrawn

URI = "https://rrdp.lab.test/notification.xml"
SESSION = "a2d845c4-5b91-4015-a2b7-988c03ce232a"
PLACES = ("rpki.lab.test/repo/",)
HASH = "0" * 64
SNAPSHOT = f'<snapshot uri="https://rrdp.lab.test/s.xml" hash="{HASH}"/>'
A = "rpki.lab.test/repo/a.roa"


def delta(serial: int, where: str = "https://rrdp.lab.test/d.xml", digest: str = HASH) -> str:
    return f'<delta serial="{serial}" uri="{where}" hash="{digest}"/>'


def chunks(content: bytes, size: int = 7) -> Iterator[bytes]:
    step = size if len(content) < 50_000 else rrdp.CHUNK_OCTETS  # Expat looks again at a tag that is not whole with every piece
    yield from (content[at : at + step] for at in range(0, len(content), step))


def noted(body: str, serial: int = 9) -> rrdp.Notification:
    return rrdp.notification(chunks(spelled("notification", SESSION, serial, body)), URI)


def told(content: bytes, kind: str = "delta", objects_max: int = 100) -> list[rrdp.Change]:
    return list(rrdp.changes(chunks(content), kind, SESSION, 9, PLACES, objects_max))


def test_deltas_may_be_listed_in_any_order() -> None:
    """RFC 8182, 3.5.1.3: contiguous, but not sorted; RIPE's are from the newest down."""
    found = noted(SNAPSHOT + delta(8) + delta(9) + delta(7))
    assert list(found.deltas) == [7, 8, 9]
    assert noted(SNAPSHOT).deltas == {}


NOTIFICATIONS: dict[str, tuple[str, Reason]] = {
    "a gap": (SNAPSHOT + delta(9) + delta(7), Reason.GAP),
    "the newest delta is missing": (SNAPSHOT + delta(8) + delta(7), Reason.GAP),
    "a delta beyond the serial": (SNAPSHOT + delta(10) + delta(9), Reason.GAP),
    "a delta twice": (SNAPSHOT + delta(9) + delta(9), Reason.DELTA_TWICE),
    "no snapshot": (delta(9), Reason.SCHEMA),
    "two snapshots": (SNAPSHOT + SNAPSHOT, Reason.SCHEMA),
    "the snapshot at another host": (SNAPSHOT.replace("rrdp.lab.test", "rrdp.evil.test"), Reason.ELSEWHERE),
    "a delta at another port": (SNAPSHOT + delta(9, "https://rrdp.lab.test:8443/d.xml"), Reason.ELSEWHERE),
    "a delta over plain HTTP": (SNAPSHOT + delta(9, "http://rrdp.lab.test/d.xml"), Reason.BAD_URI),
    "a host in front of the host": (SNAPSHOT + delta(9, "https://rrdp.lab.test@evil.test/d.xml"), Reason.BAD_URI),
    "a port that is none": (SNAPSHOT + delta(9, "https://rrdp.lab.test:99999/d.xml"), Reason.BAD_URI),
    "a file of the machine": (SNAPSHOT + delta(9, "file:///etc/passwd"), Reason.BAD_URI),
    "a hash that is none": (SNAPSHOT + delta(9, digest="0" * 63), Reason.SCHEMA),
    "serial 0": (SNAPSHOT + delta(0), Reason.SCHEMA),
    "a negative serial": (SNAPSHOT + delta(-1), Reason.SCHEMA),
    "a serial in other digits": (SNAPSHOT + f'<delta serial="٩" uri="https://rrdp.lab.test/d" hash="{HASH}"/>', Reason.SCHEMA),
    "an element that nobody knows": (SNAPSHOT + "<surprise/>", Reason.SCHEMA),
    "an attribute that nobody knows": (SNAPSHOT.replace("hash=", 'size="1" hash='), Reason.SCHEMA),
    "text between elements": (f"{SNAPSHOT}hello", Reason.SCHEMA),
    "an element in an element": (SNAPSHOT.replace("/>", "><b/></snapshot>"), Reason.SCHEMA),
    "another namespace": ('<snapshot xmlns="urn:x" uri="https://rrdp.lab.test/s" hash="00"/>', Reason.SCHEMA),
    "more deltas than anybody needs": (SNAPSHOT + "".join(map(delta, range(30_000, 0, -1))), Reason.TOO_MANY),
    "prefixes of namespaces without an end": (
        "".join(f'<delta xmlns:p{n}="x"/>' for n in range(30)).replace(
            "/>", f' serial="9" uri="https://rrdp.lab.test/d" hash="{HASH}"/>', 1
        ),
        Reason.SCHEMA,
    ),
    "a tag without an end": (f'{SNAPSHOT}<delta uri="{"x" * 400_000}', Reason.TOO_LARGE),
}


@pytest.mark.parametrize("name", NOTIFICATIONS)
def test_a_notification_that_is_wrong_is_rejected_by_name(name: str) -> None:
    body, reason = NOTIFICATIONS[name]
    with pytest.raises(Rejected) as error:
        noted(body)
    assert error.value.reason is reason
    assert SOURCES[reason] in str(error.value)


BOMB = '<!DOCTYPE n [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
WHOLE: dict[str, tuple[bytes, Reason]] = {
    "an entity bomb": (f"{BOMB}<notification>&c;</notification>".encode(), Reason.DOCTYPE),
    "an external entity": (b'<!DOCTYPE n [<!ENTITY x SYSTEM "file:///etc/passwd">]><n>&x;</n>', Reason.DOCTYPE),
    "a bare document type": (b"<!DOCTYPE notification><notification/>", Reason.DOCTYPE),
    "an external document type": (b'<!DOCTYPE n SYSTEM "https://evil.test/x.dtd"><n/>', Reason.DOCTYPE),
    "an entity that is not declared": (b'<notification xmlns="http://www.ripe.net/rpki/rrdp">&x;</notification>', Reason.NOT_XML),
    "a page of HTML": (b"<html><body>404</body></html>", Reason.SCHEMA),
    "nothing": (b"", Reason.NOT_XML),
    "a document that is cut off": (spelled("notification", SESSION, 9, SNAPSHOT)[:-5], Reason.NOT_XML),
    "two documents": (spelled("notification", SESSION, 9, SNAPSHOT) * 2, Reason.NOT_XML),
    "an encoding that nobody knows": (b'<?xml version="1.0" encoding="x-none"?><n/>', Reason.NOT_XML),
    "UTF-16": (spelled("notification", SESSION, 9, SNAPSHOT).decode().encode("utf-16"), Reason.NOT_XML),
    "an encoding of Python's": (
        b'<?xml version="1.0" encoding="unicode_escape"?>' + spelled("notification", SESSION, 9, SNAPSHOT),
        Reason.NOT_XML,
    ),
    "Latin-1": (b'<?xml version="1.0" encoding="ISO-8859-1"?>' + spelled("notification", SESSION, 9, SNAPSHOT), Reason.NOT_XML),
    "zeros": (bytes(1000), Reason.NOT_XML),
    "a session that is no UUID": (spelled("notification", "../../etc", 9, SNAPSHOT), Reason.SCHEMA),
    "version 2": (spelled("notification", SESSION, 9, SNAPSHOT).replace(b'version="1"', b'version="2"'), Reason.SCHEMA),
    "a snapshot in its place": (spelled("snapshot", SESSION, 9, ""), Reason.SCHEMA),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_notification_is_rejected_by_name(name: str) -> None:
    content, reason = WHOLE[name]
    with pytest.raises(Rejected) as error:
        rrdp.notification(chunks(content), URI)
    assert error.value.reason is reason


DELTAS: dict[str, tuple[str, Reason]] = {
    "an object of another host": (published("rpki.evil.test/repo/a.roa", b"x"), Reason.OUTSIDE),
    "an object of another module": (published("rpki.lab.test/ta/a.cer", b"x"), Reason.OUTSIDE),
    "a withdrawal elsewhere": (withdrawn("rpki.evil.test/repo/a.roa", b"x"), Reason.OUTSIDE),
    "a way out of the folder": (published("rpki.lab.test/repo/../../etc/cron.d/x", b"x"), Reason.BAD_URI),
    "a hidden name": (published("rpki.lab.test/repo/.a.roa", b"x"), Reason.BAD_URI),
    "an empty name": (published("rpki.lab.test/repo//a.roa", b"x"), Reason.BAD_URI),
    "the module itself": (published("rpki.lab.test/repo/", b"x"), Reason.BAD_URI),
    "a name of a thousand folders": (published("rpki.lab.test/repo/" + "a/" * 1000 + "a.roa", b"x"), Reason.BAD_URI),
    "a name with a line break": (published("rpki.lab.test/repo/a&#10;b.roa", b"x"), Reason.BAD_URI),
    "no rsync URI": (published(A, b"x").replace("rsync:", "https:"), Reason.BAD_URI),
    "text that is no base64": (f'<publish uri="rsync://{A}">!!!!</publish>', Reason.BASE64),
    "base64 with too little padding": (f'<publish uri="rsync://{A}">QUI</publish>', Reason.BASE64),
    "base64 with something behind": (f'<publish uri="rsync://{A}">QQ==QQ==</publish>', Reason.BASE64),
    "base64 in other letters": (f'<publish uri="rsync://{A}">ＱＵＪＤ</publish>', Reason.BASE64),
    "an object of five megabytes": (published(A, bytes(5_000_000)), Reason.TOO_LARGE),
    "a withdrawal without a hash": (f'<withdraw uri="rsync://{A}"/>', Reason.SCHEMA),
    "an element in an object": (f'<publish uri="rsync://{A}">QUJD<b/></publish>', Reason.SCHEMA),
    "more objects than there may be": ("".join(published(f"rpki.lab.test/repo/{n}.roa", b"x") for n in range(101)), Reason.TOO_MANY),
}


@pytest.mark.parametrize("name", DELTAS)
def test_a_delta_that_is_wrong_is_rejected_by_name(name: str) -> None:
    body, reason = DELTAS[name]
    content = spelled("delta", SESSION, 9, body)
    with pytest.raises(Rejected) as error:
        list(rrdp.changes(chunks(content, 50_000), "delta", SESSION, 9, PLACES, 100))
    assert error.value.reason is reason


def test_a_file_of_another_session_or_serial_is_rejected() -> None:
    other = "00000000-0000-4000-8000-000000000000"
    for kind, session, serial, reason in (
        ("delta", other, 9, Reason.SESSION), ("snapshot", other, 9, Reason.SESSION), ("delta", SESSION, 8, Reason.SERIAL),
    ):  # fmt: skip
        with pytest.raises(Rejected) as error:
            told(spelled(kind, session, serial, ""), kind)
        assert error.value.reason is reason
    with pytest.raises(Rejected) as error:
        told(spelled("snapshot", SESSION, 9, withdrawn(A, b"x")), "snapshot")
    assert error.value.reason is Reason.SCHEMA


def test_what_we_spell_is_read_as_it_was_meant() -> None:
    changes: list[rrdp.Change] = [
        rrdp.Withdraw(A, "1" * 64),
        rrdp.Publish("rpki.lab.test/repo/x-_~%20+:=@,.mft", bytes(range(256)), None),
        rrdp.Publish("rpki.lab.test/repo/empty", b"", "2" * 64),
    ]
    assert told(b"".join(rrdp.spelled("delta", SESSION, 9, changes))) == changes
    this = rrdp.Notification(
        SESSION, 9, rrdp.Link("https://rrdp.lab.test/s", HASH), {n: rrdp.Link("https://rrdp.lab.test/d", HASH) for n in (8, 9)}
    )
    assert rrdp.notification(chunks(rrdp.spelled_notification(this)), URI) == this
