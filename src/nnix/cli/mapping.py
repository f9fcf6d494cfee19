"""nnix map: the exchange as a picture, as it is declared, as it would be after a failure, and as it runs."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from nnix.cli import tables
from nnix.cli.command import DONE, as_root, begun, pass_setting
from nnix.cli.files import admitted, put_whole
from nnix.cli.proving import FACTOR, found_failure
from nnix.cli.root import Setting, clock
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Circuit, Link
from nnix.planes.fabric.look import Look, Octets, observed, rates, supposed
from nnix.planes.fabric.map import NOTHING_SEEN, carried, draw
from nnix.planes.fabric.read import octets, read
from nnix.planes.members.kinds import Site


@click.command("map")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the picture here instead of printing it.")
@click.option("--load", "show_load", is_flag=True, help="What links carry, as `nnix prove fabric` works it out.")
@click.option("--failure", "named", multiple=True, metavar="NAME", help="As it would be if this failed; given twice: both at once.")
@click.option("--watch", is_flag=True, help="The running exchange: redraw the file until stopped.")
@click.option("--every", "every_seconds", type=click.FloatRange(0.5, 3600), default=3, show_default=True, help="Seconds between pictures.")
@pass_setting
def map_command(
    setting: Setting, folder: Path | None, output: Path | None, show_load: bool, named: tuple[str, ...], watch: bool, every_seconds: float
) -> int:
    """Draw the exchange as a picture (SVG): of DIR, or of the model.

    \b
      nnix map examples/zhejiang -o zhejiang.svg
      nnix map examples/zhejiang --load
      nnix map examples/zhejiang --failure site/ningbo --failure carrier/unicom
      nnix map --watch -o live.svg               links and loads as measured, drawn anew every few seconds
    """
    if watch:
        if folder or show_load or named or output is None:
            raise click.UsageError("--watch draws the running exchange into a file: nnix map --watch -o FILE")
        return _watched(setting, output, every_seconds)
    snapshot = admitted(folder, Snapshot()).snapshot if folder else setting.book.model().snapshot if setting.begun else Snapshot()
    if not len(snapshot):
        raise LookupError("there is no exchange to draw; name a folder")
    picture = draw(snapshot, _supposed(snapshot, named) if show_load or named else NOTHING_SEEN)
    if output:
        put_whole(output, picture.encode())
        tables.out.print(f"✓ {output}", markup=False)
    else:
        sys.stdout.write(picture)
    return DONE


def _supposed(snapshot: Snapshot, named: tuple[str, ...]) -> Look:
    from nnix.planes.fabric.prove.survival import Survival

    if not snapshot.of(Site):
        raise LookupError("there are no sites, so nothing can fail or carry a load")
    survival = Survival(snapshot, factor=FACTOR)
    failures = [found_failure(survival, name) for name in named]
    case = survival.several(*failures) if failures else survival.normal()
    return supposed(survival, case, failure=bool(failures))


def _watched(setting: Setting, output: Path, every_seconds: float) -> int:
    begun(setting)
    as_root(setting)
    snapshot = setting.book.model().snapshot

    async def keep() -> int:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        before: tuple[Octets, float] = (await octets(snapshot, setting.machines), time.monotonic())
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every_seconds)
            statuses = tuple(await read(snapshot, setting.machines))
            now: tuple[Octets, float] = (await octets(snapshot, setting.machines), time.monotonic())
            load = rates(before[0], now[0], now[1] - before[1])
            before = now
            look = observed(snapshot, statuses, load, f"{clock():%Y-%m-%d %H:%M:%S} UTC")
            put_whole(output, draw(snapshot, look).encode())
            tables.out.print(f"{time.strftime('%H:%M:%S')}  {_line(snapshot, look)}", markup=False)
        return DONE

    return setting.run(keep())


def _line(snapshot: Snapshot, look: Look) -> str:
    """What the picture shows, in a line."""
    links = snapshot.of(Link)
    up = sum(link.id not in look.failed | look.unknown for link in links)
    fullest = max(links, key=lambda link: max(look.load.get(link.name, (0.0,))) / int(link.capacity), default=None)
    words = [f"{up} of {len(links)} links up"]
    if fullest is not None and fullest.name in look.load:
        words.append(f"fullest {fullest.id} {carried(fullest, max(look.load[fullest.name]))}")
    if look.failed:
        words.append("failed: " + ", ".join(sorted(look.failed)))
    if look.unknown:
        words.append("not known: " + ", ".join(sorted(look.unknown)))
    words.append(f"{len(look.cut_off)} members cut off" + (f": {', '.join(look.cut_off)}" if look.cut_off else ""))
    if snapshot.of(Circuit):
        words.append(f"{len(look.circuits)} circuits down" + (f": {', '.join(look.circuits)}" if look.circuits else ""))
    if look.parted:
        words.append("in part: " + ", ".join(look.parted))
    return "; ".join(words)


COMMANDS = (map_command,)
