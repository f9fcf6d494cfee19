"""A power cut at every moment: work is done in a child that ends before its nth touch of the file system, and then what it had not flushed is lost.

What the disk promises (POSIX; man 2 fsync): the content of a file is there after fsync of the file, a name after fsync of its folder, everything after sync. What was not
flushed may be there or not, each by itself; four ways in which that goes wrong are tried:

    SHORT     names are there, contents are not: files of no length, as ext4 and XFS have left them
    ABSENT    neither names nor contents are there, but what was renamed over something else is
    BEHIND    as ABSENT, and the renaming did not take place either, though what was removed after it is gone
    SOME      of contents and names, each is there or not by lot
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.rpki.killed import TOUCHES


class Loss(StrEnum):
    SHORT = "short"
    ABSENT = "absent"
    BEHIND = "behind"
    SOME = "some"


class _Disk:
    """What was done and not flushed: inodes that were written, names that were made, files that were renamed over (and what they were)."""

    def __init__(self) -> None:
        self.opened: list[Path] = []
        self.written: set[int] = set()
        self.named: dict[str, None] = {}
        self.replaced: dict[str, str] = {}

    def touched(self, event: str, arguments: tuple[Any, ...]) -> None:
        self._settle()
        if event == "open" and isinstance(arguments[0], str | Path) and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            if not os.path.lexists(arguments[0]):
                self.named[str(arguments[0])] = None
            self.opened.append(Path(arguments[0]))
        elif event in ("os.link", "os.symlink"):
            self.named[str(arguments[1])] = None
        elif event == "os.rename":
            target = Path(arguments[1])
            if target.is_file() and not target.is_symlink():
                self.replaced.setdefault(str(target), target.read_bytes().hex())
            elif not os.path.lexists(target):
                self.named[str(target)] = None
            self.named.pop(str(arguments[0]), None)

    def _settle(self) -> None:
        for path in self.opened:
            if path.is_file():
                self.written.add(path.stat().st_ino)
        self.opened.clear()

    def flushed(self, descriptor: int) -> None:
        self._settle()
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self.named = {each: None for each in self.named if Path(each).parent != path}
            self.replaced = {each: before for each, before in self.replaced.items() if Path(each).parent != path}
        else:
            self.written.discard(os.fstat(descriptor).st_ino)

    def record(self) -> str:
        self._settle()
        return json.dumps([sorted(self.written), list(self.named), self.replaced])


def cut_at(number: int, work: Callable[[], Any], folder: Path, loss: Loss) -> bool:
    """Do `work`, which writes below `folder`, in such a child; whether the power went before it was done."""
    note = folder.with_name(f"{folder.name}.lost")
    note.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        disk, left, busy = _Disk(), number, False

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left, busy
            if event in TOUCHES and not busy:
                busy = True
                left -= 1
                if left == 0:
                    note.write_text(disk.record())
                    os.kill(os.getpid(), signal.SIGKILL)
                disk.touched(event, arguments)
                busy = False

        flush = os.fsync

        def fsync(descriptor: int) -> None:
            flush(descriptor)
            disk.flushed(descriptor)

        def sync() -> None:
            disk.__init__()  # type: ignore[misc]

        os.fsync, os.sync = fsync, sync  # type: ignore[assignment]
        try:
            sys.addaudithook(hook)
            work()
            hook("os.rename", ("", ""))  # the power may go when all is done
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return False
    written, named, replaced = json.loads(note.read_text())
    _lost(folder, frozenset(written), named, replaced, loss, random.Random(number))
    return True


def _lost(folder: Path, written: frozenset[int], named: list[str], replaced: dict[str, str], loss: Loss, lot: random.Random) -> None:
    before = {path: bytes.fromhex(content) for path, content in replaced.items()}
    unflushed = [each for each in sorted(folder.rglob("*")) if each.is_file() and not each.is_symlink() and each.stat().st_ino in written]
    for path in unflushed:
        if loss is Loss.SOME and lot.random() < 0.5:
            continue
        absent = lot.random() < 0.5 if loss is Loss.SOME else loss is not Loss.SHORT
        if absent and str(path) not in before:
            path.unlink()
        else:
            mode = path.stat().st_mode
            path.chmod(0o600)
            path.write_bytes(b"")
            path.chmod(mode)
    if loss is not Loss.SHORT:
        for name in map(Path, named):
            if loss is Loss.SOME and lot.random() < 0.5:
                continue
            if name.is_symlink() or name.is_file():
                name.unlink()
    if loss is Loss.BEHIND:
        for replaced_path, content in before.items():
            Path(replaced_path).unlink(missing_ok=True)
            Path(replaced_path).write_bytes(content)
