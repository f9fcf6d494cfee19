"""Names of BGP protocols inside of a routing daemon, and back to sessions.

BIRD's words are letters, digits and underscores, at most 63, and clash with keywords; a session's name has hyphens. So
`alibaba-hz-1` over IPv4 is `c_alibaba_hz_1_v4`. A name that would be too long is cut and told apart by a digest, so the way back
goes through the names of all sessions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from nnix.planes.routing.kinds import Session

Family = Literal[4, 6]
_LENGTH_MAX = 56


def word(session: Session | str) -> str:
    """The part of all daemon names that stands for the session."""
    name = session if isinstance(session, str) else session.name
    plain = name.replace("-", "_")
    return plain if len(plain) <= _LENGTH_MAX else f"{plain[: _LENGTH_MAX - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def protocol_name(session: Session | str, family: Family) -> str:
    """`alibaba-hz-1`, 4 → `c_alibaba_hz_1_v4`."""
    return f"c_{word(session)}_v{family}"


def sessions_by_protocol(sessions: Iterable[Session]) -> dict[str, tuple[Session, Family]]:
    """`c_alibaba_hz_1_v4` → (session, 4), for both families of every session that has the address."""
    families: tuple[Family, ...] = (4, 6)
    return {
        protocol_name(each, family): (each, family)
        for each in sessions
        for family in families
        if (each.v4 if family == 4 else each.v6) is not None
    }
