"""PDUs: what two other servers send replays octet for octet, and nothing that a peer claims is taken on trust."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from nnix.planes.trust.rtr import images
from nnix.planes.trust.rtr.history import History
from nnix.planes.trust.rtr.reading import Read, read
from nnix.planes.trust.rtr.wire import (
    PDU_OCTETS_MAX,
    Aspa,
    CacheReset,
    EndOfData,
    ErrorCode,
    ErrorReport,
    Intervals,
    Malformed,
    Pdu,
    Prefix,
    ResetQuery,
    RouterKey,
    SerialNotify,
    SerialQuery,
    decode,
    encode,
)
from tests.unit.trust.rtr.shadow import Shadow

CAPTURES = Path(__file__).parents[3] / "data/rtr"
FORT = [(0, 0xED1B, 3), (1, 0xED1B, 4), (2, 0xED1B, 4)]


def pdus(octets: bytes) -> list[Pdu]:
    found = []
    while octets:
        decoded = decode(octets)
        assert decoded is not None
        found.append(decoded[0])
        octets = octets[decoded[1] :]
    return found


def lab() -> Read:
    found = read((CAPTURES / "lab.json").read_bytes())
    assert isinstance(found, Read)
    return found


@pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*.bin")), ids=lambda path: path.stem)
def test_what_fort_and_stayrtr_send_is_read_and_spelled_octet_for_octet(capture: Path) -> None:
    octets = capture.read_bytes()
    assert b"".join(map(encode, pdus(octets))) == octets


@pytest.mark.parametrize(("version", "session", "serial"), FORT)
def test_our_full_set_is_forts_octet_for_octet(version: int, session: int, serial: int) -> None:
    """From the JSON that rpki-client wrote of the same tree: contents, order (8210bis-25, 11.2), session by version, serial, intervals."""
    history = History(session, serial, 0.0, lab().found)
    assert images.full(history, version, Intervals()) == (CAPTURES / f"fort-1.7.0-v{version}.bin").read_bytes()


@pytest.mark.parametrize("version", [0, 1, 2])
def test_stayrtrs_set_is_the_set_that_rpki_client_wrote(version: int) -> None:
    """Its order is another one, and its version 2 sends no ASPA: a version number alone promises nothing."""
    found = pdus((CAPTURES / f"stayrtr-0.5.1-v{version}.bin").read_bytes())
    document = json.loads((CAPTURES / "lab.json").read_bytes())
    assert sum(isinstance(each, Prefix) for each in found) == len(document["roas"])
    assert not any(isinstance(each, Aspa) for each in found)


def test_the_shadow_reads_forts_version_2_as_well() -> None:
    shadow = Shadow(2)
    assert shadow.hear((CAPTURES / "fort-1.7.0-v2.bin").read_bytes())
    assert (len(shadow.vrps), len(shadow.aspas)) == (60, 12)
    assert shadow.aspas[4200000000] == (64496, 64497, 64498)


EVERY: list[Pdu] = [
    SerialNotify(1, 7, 2**32 - 1),
    SerialQuery(2, 65535, 0),
    ResetQuery(0),
    CacheReset(2),
    Prefix(0, True, bytes([10, 0, 0, 0]), 8, 24, 64512),
    Prefix(2, False, bytes([0x20, 1, 0xD, 0xB8, *([0] * 12)]), 32, 48, 2**32 - 1),
    EndOfData(0, 3, 9, None),
    EndOfData(1, 3, 9, Intervals(1, 2, 600)),
    RouterKey(1, True, bytes(range(20)), 64512, b"\x30\x59"),
    Aspa(2, True, 64512, (64496, 64497)),
    Aspa(2, True, 64512, (0,)),
    Aspa(2, False, 64512, ()),
    ErrorReport(2, ErrorCode.ORDERING, b"\x02\x02\x00\x00\x00\x00\x00\x08", "Übel"),
]


@pytest.mark.parametrize("pdu", EVERY, ids=lambda pdu: type(pdu).__name__)
def test_a_pdu_comes_back_as_it_went_and_is_waited_for_until_it_is_whole(pdu: Pdu) -> None:
    octets = encode(pdu)
    assert decode(octets + b"next") == (pdu, len(octets))
    assert all(decode(octets[:cut]) is None for cut in range(len(octets)))


def head(version: int, kind: int, middle: int, length: int) -> bytes:
    return struct.pack(">BBHI", version, kind, middle, length)


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (head(1, 2, 0, 0xFFFFFFFF), ErrorCode.CORRUPT_DATA),
        (head(1, 2, 0, 0), ErrorCode.CORRUPT_DATA),
        (head(1, 1, 0, 8), ErrorCode.CORRUPT_DATA),
        (head(1, 10, 0, PDU_OCTETS_MAX + 1), ErrorCode.CORRUPT_DATA),
        (head(1, 5, 0, 8), ErrorCode.UNSUPPORTED_PDU_TYPE),
        (head(1, 255, 0, 8), ErrorCode.UNSUPPORTED_PDU_TYPE),
        (head(1, 11, 256, 16), ErrorCode.UNSUPPORTED_PDU_TYPE),
        (head(0, 9, 256, 33), ErrorCode.UNSUPPORTED_PDU_TYPE),
        (head(0, 7, 0, 24), ErrorCode.CORRUPT_DATA),
        (head(1, 7, 0, 12), ErrorCode.CORRUPT_DATA),
        (head(2, 11, 256, 12) + bytes(4), ErrorCode.ASPA_PROVIDER_LIST),
        (head(2, 11, 0, 16) + bytes(8), ErrorCode.ASPA_PROVIDER_LIST),
        (head(2, 11, 256, 20) + struct.pack(">III", 1, 5, 5), ErrorCode.ASPA_PROVIDER_LIST),
        (head(2, 11, 256, 20) + struct.pack(">III", 1, 0, 5), ErrorCode.ASPA_PROVIDER_LIST),
        (head(2, 11, 256, 18) + bytes(10), ErrorCode.CORRUPT_DATA),
        (head(1, 4, 0, 20) + bytes([1, 24, 16, 0, 10, 0, 0, 0, 0, 0, 0, 1]), ErrorCode.CORRUPT_DATA),
        (head(1, 4, 0, 20) + bytes([1, 24, 33, 0, 10, 0, 0, 0, 0, 0, 0, 1]), ErrorCode.CORRUPT_DATA),
        (head(1, 4, 0, 20) + bytes([1, 8, 24, 0, 10, 0, 0, 1, 0, 0, 0, 1]), ErrorCode.CORRUPT_DATA),
        (head(1, 10, 0, 16) + struct.pack(">II", 0xFFFFFFF0, 0), ErrorCode.CORRUPT_DATA),
        (head(1, 10, 0, 16) + struct.pack(">II", 0, 1), ErrorCode.CORRUPT_DATA),
        (head(1, 10, 0, 17) + struct.pack(">II", 0, 0) + b"x", ErrorCode.CORRUPT_DATA),
    ],
)
def test_a_pdu_that_cannot_be_is_refused_as_soon_as_that_is_seen(octets: bytes, code: ErrorCode) -> None:
    with pytest.raises(Malformed) as refused:
        decode(octets)
    assert refused.value.code is code


def test_what_is_reserved_is_ignored_when_received_and_zero_when_sent() -> None:
    assert decode(head(1, 2, 0xFFFF, 8)) == (ResetQuery(1), 8)
    assert encode(ResetQuery(1)) == head(1, 2, 0, 8)


@pytest.mark.parametrize(
    "pdu", [Aspa(1, True, 1, (2,)), RouterKey(0, True, bytes(20), 1, b"x"), EndOfData(0, 1, 1, Intervals()), EndOfData(1, 1, 1, None)]
)
def test_no_version_is_made_to_say_what_it_has_no_words_for(pdu: Pdu) -> None:
    with pytest.raises(ValueError, match="in version"):
        encode(pdu)
