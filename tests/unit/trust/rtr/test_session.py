"""What a cache answers: versions, queries and errors, by the tables of RFC 8210 and 8210bis."""

from __future__ import annotations

import struct

import pytest

from nnix.planes.trust.rtr.history import History, begun
from nnix.planes.trust.rtr.session import HEARD_OCTETS_MAX, Complain, Full, Heard, Leave, Offer, Partial, Session, StartAnew, hear
from nnix.planes.trust.rtr.wire import ErrorCode, ErrorReport, Prefix, ResetQuery, SerialNotify, SerialQuery, encode
from tests.unit.trust.rtr.test_history import vrps

HISTORY = begun(8, 100, vrps(1), 0.0).updated(vrps(2), 0.0)
ALL = (0, 1, 2)


def heard(octets: bytes, session: Session | None = None, history: History | None = HISTORY, versions: tuple[int, ...] = ALL) -> Heard:
    found = hear(session or Session(), octets, Offer(versions, history))
    assert found is not None
    return found


def complaint(found: Heard) -> tuple[int, int, bool]:
    assert isinstance(found.answer, Complain)
    return found.answer.report.version, found.answer.report.code, found.answer.ends


@pytest.mark.parametrize("version", ALL)
def test_the_first_query_chooses_the_version(version: int) -> None:
    found = heard(encode(ResetQuery(version)))
    assert (found.session.version, found.answer, found.octets) == (version, Full(version), 8)


def test_a_router_one_change_behind_gets_the_change_and_one_in_step_gets_none() -> None:
    for serial in (100, 101):
        assert heard(encode(SerialQuery(1, 9, serial))).answer == Partial(1, serial)


@pytest.mark.parametrize("serial", [99, 102, 0, 2**32 - 1, 101 + 2**31])
def test_a_serial_that_is_not_remembered_is_told_to_start_anew(serial: int) -> None:
    assert heard(encode(SerialQuery(1, 9, serial))).answer == StartAnew(1)


def test_a_router_from_another_life_of_the_cache_starts_anew_and_keeps_what_it_has() -> None:
    """Error 0 would make it flush; it has been told no session of ours, so nothing is corrupt."""
    found = heard(encode(SerialQuery(1, 77, 100)))
    assert found.answer == StartAnew(1)
    assert heard(encode(ResetQuery(1)), found.session).answer == Full(1)


def test_a_session_of_another_version_is_another_session() -> None:
    assert heard(encode(SerialQuery(0, 9, 100))).answer == StartAnew(0)


def test_a_router_that_names_another_session_than_it_was_told_is_corrupt() -> None:
    """RFC 8210, 5.1."""
    told = heard(encode(ResetQuery(1))).session
    assert complaint(heard(encode(SerialQuery(1, 77, 100)), told)) == (1, ErrorCode.CORRUPT_DATA, True)


def test_without_data_a_query_gets_error_2_and_the_connection_stays() -> None:
    for query in (ResetQuery(1), SerialQuery(1, 9, 100)):
        found = heard(encode(query), history=None)
        assert complaint(found) == (1, ErrorCode.NO_DATA_AVAILABLE, False)
        assert heard(encode(ResetQuery(1)), found.session).answer == Full(1)


def test_a_newer_router_is_told_our_version_and_may_ask_again() -> None:
    """RFC 8210, 7; twice, then no more."""
    found = heard(encode(ResetQuery(1)).replace(b"\x01", b"\x03", 1))
    assert complaint(found) == (2, ErrorCode.UNSUPPORTED_VERSION, False)
    assert heard(encode(ResetQuery(2)), found.session).answer == Full(2)
    for ends in (False, True):
        found = heard(b"\x09" + encode(ResetQuery(1))[1:], found.session)
        assert complaint(found) == (2, ErrorCode.UNSUPPORTED_VERSION, ends)


def test_a_version_that_a_table_does_not_serve_is_refused_with_the_highest_that_it_does() -> None:
    assert complaint(heard(encode(ResetQuery(2)), versions=(0, 1))) == (1, ErrorCode.UNSUPPORTED_VERSION, False)
    assert complaint(heard(encode(ResetQuery(0)), versions=(1, 2))) == (2, ErrorCode.UNSUPPORTED_VERSION, True)


@pytest.mark.parametrize(
    ("agreed", "code"), [(0, ErrorCode.UNSUPPORTED_VERSION), (1, ErrorCode.UNEXPECTED_VERSION), (2, ErrorCode.UNEXPECTED_VERSION)]
)
def test_the_version_does_not_change_once_agreed(agreed: int, code: ErrorCode) -> None:
    for other in {0, 1, 2, 7} - {agreed}:
        found = heard(bytes((other,)) + encode(ResetQuery(1))[1:], Session(agreed))
        assert complaint(found) == (agreed, code, True)


def test_an_error_report_is_never_answered_by_another() -> None:
    for octets in (
        encode(ErrorReport(1, ErrorCode.DUPLICATE_ANNOUNCEMENT, b"", "twice\0")),
        encode(ErrorReport(0, ErrorCode.CORRUPT_DATA, encode(ResetQuery(0)), "")),
        encode(ErrorReport(2, 4711, b"", "?")),
        struct.pack(">BBHIII", 1, 10, 0, 16, 99, 0),
        struct.pack(">BBHI", 1, 10, 7, HEARD_OCTETS_MAX + 1),
        struct.pack(">BBHI", 9, 10, 3, 0),
    ):
        assert isinstance(heard(octets, Session(1)).answer, Leave)
        assert isinstance(heard(octets).answer, Leave)
    answer = heard(encode(ErrorReport(1, 7, b"", "twice\0"))).answer
    assert answer == Leave("the router reports DUPLICATE_ANNOUNCEMENT: twice", 7)


def test_what_only_a_cache_says_is_an_invalid_request_and_what_nobody_says_an_unsupported_one() -> None:
    announced = encode(Prefix(1, True, bytes(4), 0, 0, 1))
    for session in (Session(), Session(1)):
        assert complaint(heard(announced[:8], session)) == (1, ErrorCode.INVALID_REQUEST, True)
        assert complaint(heard(struct.pack(">BBHI", 1, 42, 0, 8), session)) == (1, ErrorCode.UNSUPPORTED_PDU_TYPE, True)
        assert complaint(heard(struct.pack(">BBHI", 1, 2, 0, 9), session)) == (1, ErrorCode.CORRUPT_DATA, True)


def test_nothing_is_waited_for_that_no_router_sends() -> None:
    """Of whatever header, at most HEARD_OCTETS_MAX octets are kept until there is an answer."""
    for version in (0, 1, 2, 3, 255):
        for kind in (*range(13), 255):
            for length in (0, 7, 8, 12, 16, 4096, 4097, 65_535, 2**31, 2**32 - 1):
                octets = struct.pack(">BBHI", version, kind, 0, length) + bytes(HEARD_OCTETS_MAX - 8)
                for session in (Session(), Session(1, told=True), Session(tries=2)):
                    assert hear(session, octets, Offer(ALL, HISTORY)) is not None


def test_a_complaint_carries_the_culprit_and_can_be_read() -> None:
    found = heard(encode(Prefix(1, True, bytes(4), 0, 0, 1)))
    assert isinstance(found.answer, Complain)
    assert found.answer.report.culprit == encode(Prefix(1, True, bytes(4), 0, 0, 1))
    assert encode(found.answer.report)


def test_a_complaint_carries_the_culprit_alone_and_not_what_was_said_after_it() -> None:
    """RFC 8210, 5.11: a copy of the erroneous PDU; a router that pipelines would look for the fault in its next query otherwise."""
    culprit = encode(SerialNotify(1, 5, 7))
    heard = hear(Session(version=1), culprit + encode(ResetQuery(1)) * 3, Offer(ALL, HISTORY))
    assert heard is not None and isinstance(heard.answer, Complain)
    assert heard.answer.report.culprit == culprit
