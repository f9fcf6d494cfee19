"""Whole databases, as registries publish them: split files of RPSL, often packed, of which a few objects in a million are needed.

They are read twice, object by object: first for as-sets and for aut-nums that say whose member they are, then for the route objects of the
ASNs that these come to. Nothing is held but what is needed. A file that ends in the middle of its packing is cut short, and not used.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from nnix.planes.routing.irr import Registries, Source, answers_of, asn_of, read_rpsl, together
from nnix.planes.routing.registries.answers import Answers
from nnix.planes.routing.registries.whois import Unanswered

OBJECT_OCTETS_MAX = 8 << 20
BATCH_OBJECTS = 2000
SETS = (b"as-set:", b"aut-num:")
ROUTES = (b"route:", b"route6:")


def asked(files: Sequence[Path], names: Iterable[str], *, routes: bool = True, vias: bool = False) -> Answers:
    """Raises Unanswered where a file cannot be read to its end."""
    wanted = [each.upper() for each in names]
    sets = together(_read(path, SETS) for path in files)
    origins = Registries([sets]).cone(0, wanted).origins - {0}
    found = together(_read(path, ROUTES, origins) for path in files) if routes else Source()
    told = answers_of(sets, wanted, found.routes)
    return replace(told, vias=told.vias if vias else {}, findings=(*told.findings, *found.findings))


def _read(path: Path, classes: Sequence[bytes], origins: frozenset[int] | None = None) -> Source:
    parts: list[Source] = []
    batch: list[bytes] = []
    for each in _objects(path, tuple(classes)):
        if origins is not None and not _of(each, origins):
            continue
        batch.append(each)
        if len(batch) == BATCH_OBJECTS:
            parts.append(_rpsl(path, batch))
            batch.clear()
    return together([*parts, _rpsl(path, batch)])


def _rpsl(path: Path, objects: Sequence[bytes]) -> Source:
    return read_rpsl(path.name, b"\n\n".join(objects).decode("utf-8", "replace"))


def _of(text: bytes, origins: frozenset[int]) -> bool:
    """Whether a route object is of one of these; one that does not say is left to the reader, who reports it."""
    for line in text.split(b"\n"):
        if line[:7].lower() == b"origin:":
            return asn_of(line[7:].split(b"#")[0].decode("ascii", "replace")) in origins
    return False


def _objects(path: Path, classes: tuple[bytes, ...]) -> Iterator[bytes]:
    """Objects of these classes. Raises Unanswered."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            lines: list[bytes] = []
            octets = 0
            for line in gzip.GzipFile(fileobj=raw) if packed else io.BufferedReader(raw):
                if line.strip():
                    if octets <= OBJECT_OCTETS_MAX:
                        lines.append(line.rstrip(b"\r\n"))
                    octets += len(line)
                    continue
                if lines and octets <= OBJECT_OCTETS_MAX and lines[0].lower().startswith(classes):
                    yield b"\n".join(lines)
                lines, octets = [], 0
            if lines and lines[0].lower().startswith(classes):
                yield b"\n".join(lines)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unanswered(f"{path.name} is cut short or damaged: {error}") from None
    except OSError as error:
        raise Unanswered(f"{path}: {error.strerror or error}") from None
