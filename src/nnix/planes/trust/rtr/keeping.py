"""Keeping: a history as octets, so that a restart forgets nothing.

A cache that restarts with a new session sends every router everything again; one that goes on from the wrong place makes them
believe a wrong set without a word. So the history is kept with its session and serial, whole and with its SHA-256, and is read
back only when it is exactly what was written. At a start it must lead where it says as well (`History.fault`). Otherwise there is
a new session (H4).

A file put back from a backup is right by itself and wrong in the world: serials were given out since. Nothing in it can tell;
whoever puts back a state folder must leave this file out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np

from nnix.planes.trust.rtr.history import History
from nnix.planes.trust.rtr.records import ROW4, ROW6, Change, Records, Rows

FORMAT = "nnix rtr history 1"
_DIGEST_OCTETS = 32


class Corrupt(ValueError):
    """The octets are no history. The message says why."""


def kept(history: History) -> bytes:
    """The octets of `history`: a line of JSON that says what follows, the rows, and the SHA-256 of all."""
    sets = [history.newest, *(part for step in history.changes for part in (step.added, step.removed))]
    about = {
        "format": FORMAT,
        "session": history.session,
        "serial": history.serial,
        "built": history.built,
        "sets": [
            {
                "v4": len(each.v4),
                "v6": len(each.v6),
                "keys": [[ski.hex(), spki.hex(), asn] for ski, spki, asn in each.keys],
                "aspas": each.aspas,
            }
            for each in sets
        ],
    }
    whole = b"".join((json.dumps(about).encode(), b"\n", *(rows.tobytes() for each in sets for rows in (each.v4, each.v6))))
    return whole + hashlib.sha256(whole).digest()


def read_back(octets: bytes) -> History:
    """The history that `kept` wrote. Raises Corrupt for anything else."""
    whole, digest = octets[:-_DIGEST_OCTETS], octets[-_DIGEST_OCTETS:]
    if hashlib.sha256(whole).digest() != digest:
        raise Corrupt("it is not as it was written")
    line, _, _ = whole.partition(b"\n")
    try:
        about = json.loads(line)
        if about["format"] != FORMAT:
            raise Corrupt(f"its format is {about['format']}, not {FORMAT}")
        sets = list(_sets(about["sets"], whole, len(line) + 1))
        changes = tuple(Change(added, removed) for added, removed in zip(sets[1::2], sets[2::2], strict=True))
        return History(about["session"], about["serial"], float(about["built"]), sets[0], changes)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Corrupt(str(error)) from None


def _sets(about: list[dict[str, object]], whole: bytes, at: int) -> Iterator[Records]:
    for each in about:
        parts: list[Rows] = []
        for name, dtype in (("v4", ROW4), ("v6", ROW6)):
            number = each[name]
            if not isinstance(number, int) or number < 0 or at + number * dtype.itemsize > len(whole):
                raise Corrupt("it says that it holds more than it does")
            parts.append(np.frombuffer(whole, dtype, number, at))
            at += number * dtype.itemsize
        keys, aspas = each["keys"], each["aspas"]
        if not isinstance(keys, list) or not isinstance(aspas, list):
            raise Corrupt("its keys or ASPAs are no lists")
        yield Records(
            parts[0],
            parts[1],
            tuple((bytes.fromhex(ski), bytes.fromhex(spki), asn) for ski, spki, asn in keys),
            tuple((customer, tuple(providers)) for customer, providers in aspas),
        )
    if at != len(whole):
        raise Corrupt("it holds more than it says")
