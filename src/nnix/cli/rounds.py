"""Rounds: what `nnix run` does again and again beside keeping the world, such as validating and asking registries.

Each round is a process of its own, by the same command that an operator gives. So whatever a hostile repository or a broken server does to it, and
wherever it is killed, the loop goes on; and who wants to know what a round does gives the command himself. When one was made last is asked of what
stands written, in the ledger or in the state folder, so that a loop that starts again goes on where the last one ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from nnix.cli.root import Setting
from nnix.kernel.ledger import Unavailable

LOOK_SECONDS = 1.0
RETRY_SHARE = 4
"""of the time between rounds, after one that failed"""


async def again(look: Callable[[], Awaitable[None]], what: str, report: Callable[[str], None], stop: asyncio.Event) -> None:
    """`look` every second, until `stop` is set; a round that is under way is ended then."""
    while not stop.is_set():
        try:
            await look()
        except Unavailable as error:  # the database restarts: no reason to give up
            report(f"could not look when {what} are due: {error}")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)


async def ended(setting: Setting, words: tuple[str, ...], seconds_max: float, stop: asyncio.Event) -> tuple[int, str]:
    """Run a command to its end, its status and its last words; killed after `seconds_max`, or when the loop shall stop."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from nnix.cli import main; main()", *setting.options, *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    talking = asyncio.ensure_future(process.communicate())
    stopping = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait((talking, stopping), timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if talking not in done:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await talking
        return 1, "stopped" if stop.is_set() else f"took more than {seconds_max:g} s"
    _, said = talking.result()
    lines = said.decode(errors="replace").strip().splitlines()
    return process.returncode or 0, lines[-1][:300] if lines else ""
