"""Session: what a cache answers to what a router says (RFC 8210, 7, 8 and 12; 8210bis, 7).

A connection has no version until the first query has chosen one. A router begins with the highest that it knows; when we do not
know it, it is told ours and may ask again on the same connection. From then on every PDU has that version, or the connection ends.

    heard                           not agreed yet                       agreed on a version
    query, version we have          agreed; answered                     answered
    query, version above ours       Error 4 with ours; again, twice      Error 8, end (version 0: Error 4)
    query, version below ours       Error 4 with ours, end               Error 8, end
    Error Report                    end, never answered                  end, never answered
    another PDU that exists         Error 3, end                         Error 3, end
    a PDU that does not             Error 5, end                         Error 5, end
    a length that it cannot have    Error 0, end                         Error 0, end

A Serial Query from another session is answered by Cache Reset while we have told the router none of ours: it comes back from
another life of this cache, keeps what it has and asks for everything. Later it is corrupt data, which makes a router throw away
everything (RFC 8210, 5.1).

While there is nothing that may be served, queries get Error 2, which ends nothing: the router keeps what it has until its own
expiry and asks again.

A router's PDUs are short. What cannot be one is refused by its header, before the remainder is received.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nnix.planes.trust.rtr.history import History
from nnix.planes.trust.rtr.wire import HEADER, LENGTHS, ErrorCode, ErrorReport, Malformed, PduType, ResetQuery, SerialQuery, decode

HEARD_OCTETS_MAX = 4096  # an Error Report that carries one of our longer PDUs back is cut off here
TRIES_MAX = 2
CULPRIT_OCTETS_MAX = 256
TEXT_MAX = 200


@dataclass(frozen=True, slots=True)
class Session:
    """`version` is None until agreed. `told`: this router has had a session from us. `tries`: versions it asked for in vain."""

    version: int | None = None
    told: bool = False
    tries: int = 0


@dataclass(frozen=True)
class Offer:
    """What can be served: the versions, the least first, and the history; None while there is nothing."""

    versions: tuple[int, ...]
    history: History | None


@dataclass(frozen=True, slots=True)
class Full:
    """Answer with everything."""

    version: int


@dataclass(frozen=True, slots=True)
class Partial:
    """Answer with what changed since `serial`."""

    version: int
    serial: int


@dataclass(frozen=True, slots=True)
class StartAnew:
    """Answer with a Cache Reset."""

    version: int


@dataclass(frozen=True, slots=True)
class Complain:
    """Answer with an Error Report; `ends` says whether the connection is over."""

    report: ErrorReport
    ends: bool = True


@dataclass(frozen=True, slots=True)
class Leave:
    """Say nothing and close. `why` is for the operator; `code` is the router's own complaint, if there was one."""

    why: str
    code: int | None = None


Answer = Full | Partial | StartAnew | Complain | Leave


@dataclass(frozen=True)
class Heard:
    """What became of the session, what to answer, and how many octets that was the answer to."""

    session: Session
    answer: Answer
    octets: int


def hear(session: Session, inbox: bytes | bytearray, offer: Offer) -> Heard | None:
    """The answer to the PDU at the front of `inbox`; None while it is not all there. Never waits for more than HEARD_OCTETS_MAX."""
    if len(inbox) < HEADER.size:
        return None
    version, kind, code, length = HEADER.unpack_from(inbox)
    if kind == PduType.ERROR_REPORT:
        return _hear_complaint(session, inbox, code, length)
    expected = offer.versions if session.version is None else (session.version,)
    if version not in expected:
        return _hear_other_version(session, inbox, version, length, offer)
    if kind in LENGTHS[version] and kind not in (PduType.RESET_QUERY, PduType.SERIAL_QUERY):
        return _ended(session, inbox, version, ErrorCode.INVALID_REQUEST, f"a router does not send {PduType(kind).name}")
    try:
        decoded = decode(inbox)
    except Malformed as wrong:
        return _ended(session, inbox, version, wrong.code, wrong.text)
    if decoded is None:
        return None
    query, octets = decoded
    if not isinstance(query, ResetQuery | SerialQuery):
        raise TypeError(f"{query} is no query")
    return _hear_query(replace(session, version=version), query, offer, bytes(inbox[:octets]))


def _hear_query(session: Session, query: ResetQuery | SerialQuery, offer: Offer, culprit: bytes) -> Heard:
    version, history = query.version, offer.history
    if history is None:
        report = ErrorReport(version, ErrorCode.NO_DATA_AVAILABLE, culprit, "no data that may be served; ask again later")
        return Heard(session, Complain(report, ends=False), len(culprit))
    if isinstance(query, ResetQuery):
        return Heard(replace(session, told=True), Full(version), len(culprit))
    if query.session != history.session_of(version):
        if session.told:
            text = f"session {query.session} instead of {history.session_of(version)}"
            return _ended(session, culprit, version, ErrorCode.CORRUPT_DATA, text)
        return Heard(session, StartAnew(version), len(culprit))
    if not history.remembers(query.serial):
        return Heard(session, StartAnew(version), len(culprit))
    return Heard(replace(session, told=True), Partial(version, query.serial), len(culprit))


def _hear_other_version(session: Session, inbox: bytes | bytearray, version: int, length: int, offer: Offer) -> Heard | None:
    """A version that we do not have, or not the agreed one."""
    if session.version is not None:
        code = ErrorCode.UNEXPECTED_VERSION if session.version else ErrorCode.UNSUPPORTED_VERSION
        return _ended(session, inbox, session.version, code, f"version {version} where {session.version} was agreed on")
    ours = offer.versions[-1]
    text = f"version {version} is not served here, {ours} is"
    again = version > ours and session.tries < TRIES_MAX and HEADER.size <= length <= CULPRIT_OCTETS_MAX
    if not again:
        return _ended(session, inbox, ours, ErrorCode.UNSUPPORTED_VERSION, text)
    if len(inbox) < length:
        return None
    report = ErrorReport(ours, ErrorCode.UNSUPPORTED_VERSION, bytes(inbox[:length]), text)
    return Heard(replace(session, tries=session.tries + 1), Complain(report, ends=False), length)


def _hear_complaint(session: Session, inbox: bytes | bytearray, code: int, length: int) -> Heard | None:
    """An Error Report is never answered by another (RFC 8210, 5.11)."""
    name = ErrorCode(code).name if code in set(ErrorCode) else f"code {code}"
    if length > HEARD_OCTETS_MAX:
        return Heard(session, Leave(f"the router reports {name}, in {length} octets", code), len(inbox))
    try:
        decoded = decode(inbox)
    except Malformed as wrong:
        return Heard(session, Leave(f"the router reports {name}, in {wrong.text}", code), len(inbox))
    if decoded is None:
        return None
    report, octets = decoded
    text = report.text.rstrip("\0") if isinstance(report, ErrorReport) else ""
    return Heard(session, Leave(f"the router reports {name}{': ' if text else ''}{text[:TEXT_MAX]}", code), octets)


def _ended(session: Session, inbox: bytes | bytearray, version: int, code: ErrorCode, text: str) -> Heard:
    """An Error Report on the PDU at the front, and the end. What else stands in the inbox is not looked at any more, and not sent back.

    A length that no PDU can have says nothing of where it ends: as much as there is comes back then (RFC 8210, 5.11).
    """
    length = HEADER.unpack_from(inbox)[3]
    end = min(length, CULPRIT_OCTETS_MAX) if length >= HEADER.size else CULPRIT_OCTETS_MAX
    return Heard(session, Complain(ErrorReport(version, code, bytes(inbox[:end]), text)), len(inbox))
