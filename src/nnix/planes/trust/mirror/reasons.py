"""Why something that came from outside is not taken. What is rejected leaves the last good state as it is."""

from __future__ import annotations

from enum import StrEnum

WORDS_MAX = 2000


class Reason(StrEnum):
    """Its value is what operators search for and tests count; SOURCES says who forbids it."""

    UNREACHABLE = "unreachable"
    STATUS = "status"
    REDIRECTED = "redirected-elsewhere"
    ELSEWHERE = "not-same-origin"
    SLOW = "slow"
    TOO_LARGE = "too-large"
    TOO_MANY = "too-many"
    ENCODING = "bad-encoding"
    NOT_XML = "not-xml"
    DOCTYPE = "doctype"
    SCHEMA = "not-by-schema"
    BAD_URI = "bad-uri"
    OUTSIDE = "outside"
    BASE64 = "not-base64"
    GAP = "delta-gap"
    DELTA_TWICE = "delta-twice"
    SERIAL_BACK = "serial-went-back"
    SESSION = "another-session"
    SERIAL = "another-serial"
    HASH = "hash-mismatch"
    OBJECT_HASH = "object-hash-mismatch"
    NOT_THERE = "object-not-there"
    THERE = "object-there-already"
    TWICE = "object-twice"
    CLASH = "file-is-folder"
    EMPTY = "empty"
    RSYNC = "rsync-failed"
    WRONG_KEY = "wrong-key"
    ERIK = "not-by-erik"


SOURCES: dict[Reason, str] = {
    Reason.UNREACHABLE: "RFC 8182, 3.4.5",
    Reason.STATUS: "RFC 8182, 3.4.5",
    Reason.REDIRECTED: "RFC 9674, 3",
    Reason.ELSEWHERE: "RFC 9674, 3",
    Reason.SLOW: "RFC 8182, 3.4.5",
    Reason.TOO_LARGE: "docs/mirror.md, limits",
    Reason.TOO_MANY: "docs/mirror.md, limits",
    Reason.ENCODING: "RFC 9110, 8.4.1",
    Reason.NOT_XML: "RFC 8182, 3.5",
    Reason.DOCTYPE: "RFC 8182, 3.5.4: the schema knows no entities",
    Reason.SCHEMA: "RFC 8182, 3.5.4",
    Reason.BAD_URI: "RFC 6481, 2; RFC 5781",
    Reason.OUTSIDE: "docs/mirror.md, places",
    Reason.BASE64: "RFC 4648, 3.3",
    Reason.GAP: "RFC 8182, 3.5.1.3",
    Reason.DELTA_TWICE: "RFC 8182, 3.5.1.3",
    Reason.SERIAL_BACK: "RFC 8182, 3.3.1",
    Reason.SESSION: "RFC 8182, 3.5.2.3 and 3.5.3.3",
    Reason.SERIAL: "RFC 8182, 3.5.2.3 and 3.5.3.3",
    Reason.HASH: "RFC 8182, 3.4.2 and 3.4.3",
    Reason.OBJECT_HASH: "RFC 8182, 3.4.2",
    Reason.NOT_THERE: "RFC 8182, 3.4.2",
    Reason.THERE: "RFC 8182, 3.4.2",
    Reason.TWICE: "RFC 8182, 3.5.2.3",
    Reason.CLASH: "RFC 6481, 2",
    Reason.EMPTY: "docs/mirror.md, an empty tree",
    Reason.RSYNC: "RFC 5781",
    Reason.WRONG_KEY: "RFC 8630, 3",
    Reason.ERIK: "draft-ietf-sidrops-rpki-erik-protocol-07, 3 and 4",
}


class Rejected(Exception):
    """Not taken, for `reason`; the message says what exactly. What a stranger wrote may stand in it, so it is cut."""

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(words[:WORDS_MAX])
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}: {self.args[0]} ({SOURCES[self.reason]})"
