"""nnix naming stats: what was asked and answered, from where in the exchange, how quickly, and why not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from nnix.cli import tables
from nnix.cli.command import DISAGREES, DONE, as_root, begun, json_option, pass_setting
from nnix.cli.files import put_whole
from nnix.cli.root import Setting, clock
from nnix.daemons.secrets import Secrets
from nnix.kernel.document import nearest
from nnix.kernel.snapshot import Snapshot
from nnix.planes.naming.counted import Counted, chart, counted, counting, zone_octets
from nnix.planes.naming.kinds import NameNode, Zone
from nnix.planes.naming.read import gate_seen
from nnix.planes.naming.rssac002 import documents

SHOWN = 10


@click.command("stats")
@click.argument("server", required=False)
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="Of which day (UTC). [today]")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the day into this file (SVG).")
@click.option(
    "--rssac002", "folder", type=click.Path(file_okay=False, path_type=Path), help="Write RSSAC002 measurements (YAML) below this folder."
)
@json_option
@pass_setting
def stats(setting: Setting, server: str | None, day: object, plot: Path | None, folder: Path | None, as_json: bool) -> int:
    """What was asked of each node and resolver that has `statistics: true`, or of SERVER alone: how much, by which members, how quickly
    it was answered, why answers failed, and which delegations are lame. Who asked is counted, not kept.

    \b
      nnix naming stats
      nnix naming stats resolver --day 2026-11-26 --json
      nnix naming stats --plot day.svg
      nnix naming stats --rssac002 /srv/rssac002
    """
    begun(setting)
    as_root(setting)
    snapshot = setting.book.model().snapshot
    able = counting(snapshot)
    if not able:
        raise LookupError("nothing is counted; set `statistics: true` at a NameNode or Resolver")
    if server is not None and not any(server in (each.name, each.id) for each in able):
        near = nearest(server, [each.name for each in able])
        raise LookupError(f"{server} is no server that is counted" + (f"; did you mean {near}?" if near else ""))
    date = f"{day or clock():%Y-%m-%d}"
    days = setting.run(counted(snapshot, setting.machines, date, server))
    there = [each for each in days if not each.trouble]
    if folder is not None:
        for each in there:
            if isinstance(each.server, NameNode):
                _put(folder, each, setting.run(_sizes(each.server, snapshot, setting)))
    if plot is not None:
        put_whole(plot, chart(there).encode())
    if as_json:
        tables.as_json([each.report() if not each.trouble else {"server": each.server.id, "trouble": each.trouble} for each in days])
    else:
        _show(days)
        for path in (plot, folder):
            if path is not None:
                tables.out.print(f"✓ {path}", markup=False)
    return DONE if len(there) == len(days) else DISAGREES


async def _sizes(node: NameNode, snapshot: Snapshot, setting: Setting) -> dict[str, dict[str, int]]:
    """origin → octets of the zone in its present version, by serial."""
    gate = snapshot.at(node.gate)
    secret = Secrets(setting.state / "secrets").get(snapshot.at(gate.key).secret.removeprefix("secret:"))
    zones = snapshot.where(Zone, gate=gate.name)
    if secret is None:
        return {}
    found = await asyncio.gather(*(zone_octets(node, each, snapshot, setting.machines, secret.decode()) for each in zones))
    serials = (await gate_seen(gate, setting.machines)).serials
    return {z.origin: {str(serials[z.origin]): octets} for z, octets in zip(zones, found, strict=True) if octets and z.origin in serials}


def _put(folder: Path, day: Counted, sizes: dict[str, dict[str, int]]) -> None:
    for path, text in documents(day.server.name, day.record, day.sources, sizes, day.note).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        put_whole(place, text.encode())


def _show(days: list[Counted]) -> None:
    rows: list[tuple[object, ...]] = []
    for each in days:
        if each.trouble:
            rows.append((each.server.name, None, None, None, None, None, each.trouble))
            continue
        rcodes, sources = each.record["rcodes"], each.sources
        failed = rcodes.get("2", 0)
        networks = f"{sources['ipv4'].count()} + {sources['ipv6-aggregate'].count()} /64"
        rows.append((each.server.name, each.queries, each.responses, rcodes.get("3", 0), failed, networks, each.note))
    tables.table("Asked and answered", ("server", "queries", "responses", "no such name", "SERVFAIL", "sources", "note"), rows)
    latency = [
        (each.server.name, name, answers, _milliseconds(half), _milliseconds(most), _milliseconds(nearly), *_way(each, name))
        for each in days
        if not each.trouble
        for name, (answers, half, most, nearly) in list(each.latency().items())[:SHOWN]
    ]
    if latency:
        tables.out.print()
        tables.table(
            "From question to answer, by member",
            ("server", "member", "answers", "half", "90 %", "99 %", "way there and back", "half, as seen"),
            latency,
        )
    for title, key, columns in (
        ("Why SERVFAIL", "failing", ("server", "domain", "cause", "times")),
        ("Lame delegations", "lame", ("server", "zone", "name server", "fault", "times")),
    ):
        found = [
            (each.server.name, *name.split(" ", len(columns) - 3), count)
            for each in days
            if not each.trouble
            for name, count in sorted(each.record[key].items(), key=lambda pair: -pair[1])[:SHOWN]
        ]
        if found:
            tables.out.print()
            tables.table(title, columns, found)


def _way(day: Counted, member: str) -> tuple[str | None, str | None]:
    """How long the way to its resolvers and back is, and within which time half of the answers are there as they see it; None where none asked over TCP."""
    if (seen := day.seen().get(member)) is None:
        return None, None
    return _milliseconds(day.trips()[member][1]), _milliseconds(seen)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
