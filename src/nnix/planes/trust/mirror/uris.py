"""Names of objects. An rsync URI says where an object lies in every mirror: `rsync://HOST/MODULE/PATH` at `HOST/MODULE/PATH` (RFC 6481, RFC 5781).

An RRDP server at one host publishes objects with names at another (rrdp.lacnic.net: repository.lacnic.net), so nothing in RRDP keeps it from
publishing objects of a third. Here each repository is declared with its *places*, beginnings of paths that its objects may have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from nnix.planes.trust.mirror.reasons import Reason, Rejected

SEGMENT = r"[A-Za-z0-9_~%+:=@,-][A-Za-z0-9._~%+:=@,-]{0,254}"  # none begins with a dot: those names are the fetching programs' own
HOST = r"[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?(?::[0-9]{1,5})?"
RSYNC = re.compile(rf"rsync://({HOST}(?:/{SEGMENT}){{2,32}})")
PLACE = re.compile(rf"{HOST}(?:/{SEGMENT})+/")
HTTPS = re.compile(rf"https://({HOST})(/[!-~]*)")
PATH_OCTETS_MAX = 1024  # far below what a file system takes (4,096 from the root on), since a mirror is laid out below several folders
PORTS = range(1, 1 << 16)
SESSION = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")  # of RRDP: a UUID


class Origin(NamedTuple):
    """Host and port of an HTTPS URI (RFC 6454)."""

    host: str
    port: int


def rsync_path(uri: str, places: Iterable[str]) -> str:
    """Where the object `uri` lies in a mirror, if it is in one of `places`. Raises Rejected."""
    found = RSYNC.fullmatch(uri)
    if found is None or len(uri) > PATH_OCTETS_MAX:
        raise Rejected(Reason.BAD_URI, f"{uri[:200]!r} is no rsync URI of an object")
    path = found[1]
    if not any(path.startswith(place) for place in places):
        raise Rejected(Reason.OUTSIDE, f"rsync://{path} is outside of what this repository may publish")
    return path


def origin(uri: str) -> Origin:
    """Raises Rejected."""
    found = HTTPS.fullmatch(uri)
    if found is None or len(uri) > PATH_OCTETS_MAX or "#" in uri:
        raise Rejected(Reason.BAD_URI, f"{uri[:200]!r} is no https URI")
    host, _, port = found[1].partition(":")
    if int(port or 443) not in PORTS:
        raise Rejected(Reason.BAD_URI, f"{uri[:200]!r} has a port that is none")
    return Origin(host, int(port or 443))


def target(uri: str) -> str:
    """Path and query of an HTTPS URI."""
    parts = urlsplit(uri)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def beside(uri: str, of: str) -> str:
    """`uri`, if it has the same origin as `of` (RFC 9674). Raises Rejected."""
    if origin(uri) != origin(of):
        raise Rejected(Reason.ELSEWHERE, f"{uri} is not at the origin of {of}")
    return uri


def redirected(uri: str, location: str) -> str:
    """Where a redirection from `uri` leads. Raises Rejected when that is another origin (RFC 9674)."""
    try:
        to = urljoin(uri, location)
        same = origin(to) == origin(uri)
    except (Rejected, ValueError):  # urljoin's, of brackets without an address in them
        same = False
    if not same:
        raise Rejected(Reason.REDIRECTED, f"{uri} leads to {location[:200]!r}")
    return to
