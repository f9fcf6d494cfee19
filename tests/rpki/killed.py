"""kill -9 at every moment: work is done in a child that SIGKILL ends before its nth touch of the file system, for every n."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

TOUCHES = frozenset({"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod"})


def killed_at(number: int, work: Callable[[], Any]) -> bool:
    """Do `work` in such a child; whether it was killed before it was done. What is killed this way does not even run its `finally`."""
    child = os.fork()
    if child == 0:
        left = number

        def hook(event: str, _: tuple[Any, ...]) -> None:
            nonlocal left
            if event in TOUCHES:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)
