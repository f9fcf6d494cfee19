"""The archive: every object that a mirror ever had, once, by its digest; and what the mirror was at each run.

A mirror of the world holds some 300,000 objects of which a few thousand change in an hour, so what a run needs beyond the last is little. An *index*
is what the mirror was: a line for each file, `SHA-256 path`, sorted; it is kept by its own digest like any object. From an index the
tree is laid out again as hard links, which validators can read and nobody can write. That is how every validation is run,
today's as well: so that one of last year is run in the same way. What is laid out is read first: to a validator an object that the disk has spoiled is a
CA's fault, and its VRPs would be gone without a word of the disk.

A file that was not changed since the last run (size, inode and time of change, which no fetch can forge) is not read again.

What is no plain file, is too large (4 MB, as rpki-client has it), lies too deep or has a name that no rsync URI can spell is left out and told.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nnix.planes.trust.mirror.uris import PATH_OCTETS_MAX

OBJECT_OCTETS_MAX = 4_000_000
FILES_MAX = 5_000_000
LOST_NAMED_MAX = 10
NAME = re.compile(r"[A-Za-z0-9._~%+:=@,-]{1,255}")


class Lost(LookupError):
    """Something that the archive should hold is not there, or is no longer what it was."""


@dataclass(frozen=True)
class Indexed:
    """A mirror as it was. `left_out` says of what is not in the index, and why."""

    digest: str
    files: int
    fresh: int
    left_out: tuple[str, ...]


@contextmanager
def alone_in(folder: Path, busy: str) -> Iterator[None]:
    """Have `folder`, which is made if need be, to oneself. Raises TimeoutError with `busy` while somebody else has."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TimeoutError(f"{busy}; try again when it is done") from None
        yield
    finally:
        os.close(descriptor)


class Archive:
    """Content-addressed objects below `folder`, which is made on first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._objects = folder / "objects"

    def place(self, digest: str) -> Path:
        return self._objects / digest[:2] / digest[2:]

    def has(self, digest: object) -> bool:
        """Whether there is such an object. Asked for every file of a mirror at every run, so no Path is made."""
        return os.access(f"{self._objects}/{str(digest)[:2]}/{str(digest)[2:]}", os.F_OK)

    def keep(self, content: bytes) -> str:
        """Store it; its digest. What is there already is left alone, unless a power cut or the disk has made something else of it."""
        digest = hashlib.sha256(content).hexdigest()
        place = self.place(digest)
        try:
            there = place.stat().st_size == len(content) and place.read_bytes() == content
        except OSError:
            there = False
        if not there:
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
            try:
                draft.write_bytes(content)
                draft.chmod(0o444)
                draft.rename(place)
            except OSError:  # such as a full disk, which the draft would help to keep full
                draft.unlink(missing_ok=True)
                raise
        return digest

    def flush(self) -> None:
        """Whatever was kept is on the disk when this returns: to be called before something that lasts names it. One sync(2) for all objects, since one
        fsync(2) for each would take minutes for a repository; it flushes the whole machine."""
        os.sync()

    def get(self, digest: str) -> bytes:
        """Raises Lost."""
        try:
            content = self.place(digest).read_bytes()
        except OSError:
            raise Lost(f"{digest[:12]} is not in the archive {self.folder}") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise Lost(f"{digest[:12]} in the archive {self.folder} is not what it was")
        return content

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One validation at a time. Raises TimeoutError while another one runs."""
        with alone_in(self.folder, "another validation is running"):
            yield

    # --- mirrors ---

    def index(self, mirror: Path) -> Indexed:
        """Take in what `mirror` holds now. Raises FileNotFoundError for a mirror that is not there."""
        known_file = self.folder / "known.json"
        try:
            known: dict[str, list[object]] = json.loads(known_file.read_text())
        except (OSError, ValueError):
            known = {}
        seen: dict[str, list[object]] = {}
        left_out: list[str] = []
        fresh = 0
        for path, entry in files_below(mirror, left_out):
            facts = entry.stat(follow_symlinks=False)
            mark: list[object] = [facts.st_size, facts.st_ino, facts.st_ctime_ns]
            before = known.get(path)
            if before is not None and before[:3] == mark and self.has(before[3]):
                seen[path] = before
                continue
            if facts.st_size > OBJECT_OCTETS_MAX:
                left_out.append(f"{path}: {facts.st_size} octets, more than {OBJECT_OCTETS_MAX}")
                continue
            try:
                content = Path(entry.path).read_bytes()
            except OSError as error:
                left_out.append(f"{path}: {error.strerror}")
                continue
            fresh += 1
            seen[path] = [*mark, self.keep(content)]
        index = "".join(f"{seen[path][3]} {path}\n" for path in sorted(seen)).encode()
        draft = known_file.with_suffix(f".{os.getpid()}")
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = self.keep(index)
        draft.write_text(json.dumps(seen))
        if fresh:
            self.flush()
        draft.rename(known_file)
        return Indexed(digest, len(seen), fresh, tuple(left_out))

    def files(self, index: str) -> Iterator[tuple[str, str]]:
        """(path, digest) of an index. Raises Lost."""
        for line in self.get(index).decode().splitlines():
            digest, _, path = line.partition(" ")
            yield path, digest

    def read(self, index: str, ending: str) -> Iterator[tuple[str, bytes]]:
        """(path, content) of the files whose name ends so. Raises Lost."""
        for path, digest in self.files(index):
            if path.endswith(ending):
                yield path, self.get(digest)

    def lay_out(self, index: str, folder: Path) -> None:
        """The mirror of an index as hard links in `folder`: readable by all, writable by nobody but root. Raises Lost.

        What was laid out there before is brought up to date, by the index that is noted beside it. The note is away while the tree is in between, so one that was
        left half done is laid out anew. What comes in is read before anything is touched, and all that is lost or spoiled is named.
        """
        note = _note(folder)
        try:
            before = dict(self.files(note.read_text()))
        except (OSError, Lost):
            before = {}
            shutil.rmtree(folder, ignore_errors=True)
        after = dict(self.files(index))
        self._whole((path, digest) for path, digest in after.items() if before.get(path) != digest)
        note.unlink(missing_ok=True)
        for path in [path for path, digest in before.items() if after.get(path) != digest]:
            take_out(folder, path)
        self.lay(((path, digest) for path, digest in after.items() if before.get(path) != digest), folder)
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(index)

    def examined(self, index: str, folder: Path) -> None:
        """Read all that is laid out in `folder`, whose links share the archive's fate. Raises Lost; then it is laid out anew the next time."""
        try:
            self._whole(self.files(index))
        except Lost:
            _note(folder).unlink(missing_ok=True)
            raise

    def _whole(self, files: Iterable[tuple[str, str]]) -> None:
        """Raises Lost, naming those of `files` that are not what they were."""
        lost = []
        for path, digest in files:
            try:
                self.get(digest)
            except Lost:
                lost.append(f"rsync://{path} ({self.place(digest)})")
        if lost:
            more = f" and {len(lost) - LOST_NAMED_MAX} more" if len(lost) > LOST_NAMED_MAX else ""
            raise Lost(
                f"the archive has lost, or holds spoiled, {', '.join(lost[:LOST_NAMED_MAX])}{more}; restore it from a backup. Where the mirror still has it: "
                "remove the file from the archive, fetch, and validate again"
            )

    def lay(self, files: Iterable[tuple[str, str]], folder: Path) -> None:
        """(path, digest) as hard links in `folder`, where none of these is yet. Raises Lost."""
        made: set[str] = set()
        for path, digest in files:
            parent = path.rpartition("/")[0]
            if parent not in made:
                (folder / parent).mkdir(parents=True, exist_ok=True)
                made.add(parent)
            self._link(digest, folder / path)

    def _link(self, digest: str, place: Path) -> None:
        try:
            os.link(self.place(digest), place)
        except FileNotFoundError:
            raise Lost(f"{place.name} ({digest[:12]}) is not in the archive {self.folder}") from None
        except OSError:  # another file system, or as many links as an inode can have
            place.write_bytes(self.get(digest))
            place.chmod(0o444)


def _note(folder: Path) -> Path:
    """Beside a tree that is laid out: by which index."""
    return folder.with_name(f"{folder.name}.index")


def take_out(folder: Path, path: str) -> None:
    """Remove the file `path` of the tree in `folder`, and the folders that it leaves empty: a file may come where one was."""
    (folder / path).unlink()
    for parent in (folder / path).parents:
        if parent == folder or any(parent.iterdir()):
            break
        parent.rmdir()


def files_below(folder: Path, left_out: list[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every plain file below `folder`, by its path, however deep strangers have nested it. Hidden names are the fetching program's own."""
    queue: list[tuple[Path | str, str]] = [(folder, "")]
    count = 0
    while queue:
        place, path = queue.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                below = f"{path}{entry.name}"
                if entry.name.startswith("."):
                    continue
                if not NAME.fullmatch(entry.name):
                    left_out.append(f"{below!r}: a name that no rsync URI can spell")
                elif len(below) > PATH_OCTETS_MAX:
                    left_out.append(f"{below[:80]}…: a path of more than {PATH_OCTETS_MAX} octets")
                elif entry.is_dir(follow_symlinks=False):
                    queue.append((entry.path, f"{below}/"))
                elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    left_out.append(f"{below}: no plain file")
                elif (count := count + 1) > FILES_MAX:
                    left_out.append(f"more than {FILES_MAX} files; the rest of {path} is left out")
                    return
                else:
                    yield below, entry
