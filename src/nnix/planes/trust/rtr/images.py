"""Images: the octets of an answer, made once for all routers that get it.

A full set of half a million VRPs is 11 MB of PDUs. To spell it for each router is what costs a server its time; so it is
spelled once for each version, by filling columns, and whoever asks is sent the same octets.

The order is that of 8210bis, 11.2, in every version, since it spares routers the moment between two PDUs in which a route looks
invalid: by type; announcements before withdrawals; of prefixes the announcements from the highest row down, so that a more
specific comes before what covers it, and the withdrawals from the lowest up; of keys and ASPAs from the lowest up.

An ASPA is announced whole and replaces the one before, so only a customer who has none any more is withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nnix.planes.trust.rtr.history import History
from nnix.planes.trust.rtr.records import FIELDS4, FIELDS6, Change, Records, Rows
from nnix.planes.trust.rtr.wire import LENGTHS, Aspa, CacheResponse, EndOfData, Intervals, Pdu, PduType, RouterKey, encode


def _pdus(octets: int, address: str) -> np.dtype[Any]:
    made = np.dtype(
        [
            ("version", "u1"),
            ("type", "u1"),
            ("zero", ">u2"),
            ("octets", ">u4"),
            ("flags", "u1"),
            ("length", "u1"),
            ("length_max", "u1"),
            ("pad", "u1"),
            ("address", address),
            ("asn", "V4"),
        ]
    )
    if made.itemsize != octets:
        raise ValueError("the columns do not make a PDU")
    return made


_SPELLED = {
    FIELDS4: (PduType.IPV4_PREFIX, _pdus(20, "V4")),
    FIELDS6: (PduType.IPV6_PREFIX, _pdus(32, "V16")),
}


def full(history: History, version: int, intervals: Intervals) -> bytes:
    """What answers a Reset Query: everything, from Cache Response to End of Data."""
    return _answer(history, version, intervals, Change(history.newest, Records()))


def partial(history: History, version: int, intervals: Intervals, serial: int) -> bytes:
    """What answers a Serial Query with a serial that `history` remembers."""
    return _answer(history, version, intervals, history.since(serial))


def _answer(history: History, version: int, intervals: Intervals, what: Change) -> bytes:
    session = history.session_of(version)
    end = EndOfData(version, session, history.serial, intervals if version else None)
    return b"".join((encode(CacheResponse(version, session)), *_payload(version, what), encode(end)))


def _payload(version: int, what: Change) -> Iterator[bytes]:
    for fields, added, removed in ((FIELDS4, what.added.v4, what.removed.v4), (FIELDS6, what.added.v6, what.removed.v6)):
        yield _prefixes(version, fields, added[::-1], 1)
        yield _prefixes(version, fields, removed, 0)
    few: list[Pdu] = []
    if PduType.ROUTER_KEY in LENGTHS[version]:
        few += [RouterKey(version, True, ski, asn, spki) for ski, spki, asn in what.added.keys]
        few += [RouterKey(version, False, ski, asn, spki) for ski, spki, asn in what.removed.keys]
    if PduType.ASPA in LENGTHS[version]:
        replaced = {customer for customer, _ in what.added.aspas}
        few += [Aspa(version, True, customer, providers) for customer, providers in what.added.aspas]
        few += [Aspa(version, False, customer, ()) for customer, _ in what.removed.aspas if customer not in replaced]
    yield b"".join(map(encode, few))


def _prefixes(version: int, fields: np.dtype[Any], rows: Rows, flags: int) -> bytes:
    kind, spelled = _SPELLED[fields]
    found = np.ascontiguousarray(rows).view(fields)
    made = np.zeros(len(found), spelled)
    made["version"], made["type"], made["octets"], made["flags"] = version, kind, spelled.itemsize, flags
    for column in ("length", "length_max", "address", "asn"):
        made[column] = found[column]
    return made.tobytes()
