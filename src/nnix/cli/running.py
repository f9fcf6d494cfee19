"""Commands for the running exchange: bring it up, keep it, see it, take it down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from nnix.cli import tables
from nnix.cli.asking import Askings
from nnix.cli.batching import Batches
from nnix.cli.changing import carry_out
from nnix.cli.command import DISAGREES, DONE, REFUSED, as_root, begun, folder_argument, json_option, kind_named, pass_setting
from nnix.cli.files import admitted
from nnix.cli.naming import lay
from nnix.cli.progress import progress
from nnix.cli.root import ALL_PLANES, Setting
from nnix.cli.validating import Validations
from nnix.hosts import rootless
from nnix.kernel.document import nearest
from nnix.kernel.drive import Outcome, converge, look
from nnix.kernel.loop import Loop
from nnix.kernel.plane import Status
from nnix.kernel.rule import Refused
from nnix.kernel.world import Failed, Unreachable
from nnix.lab.compile import is_lab
from nnix.lab.sweep import sweep
from nnix.planes.fabric.nftables import REASONS
from nnix.planes.members.kinds import Member
from nnix.planes.routing.kinds import Session
from nnix.planes.routing.read import refused_routes
from nnix.planes.routing.routes import member_statuses, routes_of

CONVERGED_SECONDS_MAX = 150.0
QUIET_SECONDS = 0.5
RETRY_SECONDS = 70.0
OUTLIVING = ("sshd", "openbgpd", "ray", "slurm")
"""drivers that lend their daemons a folder of this machine, or a short name for their own, and take it back"""
FAR_ENDS = ("member", "session")
"""kinds whose state depends on what a member does with his own router: told, but no disagreement of ours"""


@click.command()
@folder_argument
@click.option("--no-wait", is_flag=True, help="Do not wait for BGP sessions.")
@pass_setting
def up(setting: Setting, folder: Path, no_wait: bool) -> int:
    """Bring DIR up on this machine, wait until it has converged, and show what became of it.

    Running it again changes nothing. `nnix down` takes everything away again.
    """
    as_root(setting, start=True)
    started = time.monotonic()
    try:
        found = admitted(folder, setting.book.model().snapshot, setting)
    except Refused as refused:
        setting.office.refuse(refused, f"up {folder}")
        raise
    if is_lab(found.snapshot):  # nobody else has them: both ends of every transfer are here
        lay(found.snapshot, setting)
    setting.remember(folder)
    made = setting.office.draft(found.snapshot, found.evidence)
    status = DONE if made.plan.empty else carry_out(setting, made, f"up {folder}", yes=True, offline=False, as_json=False, whole=True)

    async def bring() -> tuple[int, list[str], list[Status]]:
        outcomes: tuple[Outcome, ...] = ()
        if made.plan.empty:  # otherwise the change has driven everything
            model = setting.book.model()
            wanted = setting.office.wanted(model)
            async with setting.lock.held():
                with progress("bringing up", len(wanted)) as told:
                    if model.brought_about:
                        outcomes = await converge(setting.world, wanted, told=told)
                    else:
                        outcomes = await setting.office.settle(told)
        failures = [f"{'/'.join(each.key)}: {each.failure}" for each in outcomes if each.failure]
        changed = sum(1 for each in outcomes if each.found)
        waited = [] if no_wait or (made.plan.empty and not changed) else await converged(partial(_statuses, setting))
        return changed, failures, waited or await _statuses(setting)

    changed, failures, statuses = setting.run(bring())
    for failure in failures:
        tables.err.print(Text(f"✗ {failure}", style=tables.BAD))
    if status == DONE and (failures or (not no_wait and any(map(_ours, statuses)))):
        status = DISAGREES
    _status_table(statuses, brief=True)
    if made.plan.empty and not changed:
        tables.out.print(f"\nNothing had to be changed ({time.monotonic() - started:.1f} s).")
    else:
        tables.out.print(f"\nUp in {time.monotonic() - started:.1f} s.")
    tables.out.print("\nTry next:", style="bold")
    for command, says in (
        ("nnix status", "every resource, its state and the reason"),
        ("nnix routes --refused", "what was refused, and by which rule"),
        (f"nnix ping {_two_members(setting)}", "across the fabric, IPv4 and IPv6"),
        ("nnix run", "keep it so: kill a daemon and see it come back (Ctrl-C ends it)"),
        ("nnix log", "who changed what, when and why"),
    ):
        tables.out.print(f"  {command:<34} {says}", markup=False)
    return status


def _ours(status: Status) -> bool:
    """Whether it is not as it should be, and that is ours to mend."""
    return not status.good and status.resource.partition("/")[0] not in FAR_ENDS


def _two_members(setting: Setting) -> str:
    there = [s for s in setting.book.model().snapshot.of(Session) if s.v4 and s.v6]
    first = there[0] if there else None
    other = next((s for s in there if first and s.member != first.member and s.lan == first.lan), None)
    return f"{first.member} {other.member}" if first and other else "A B"


async def _statuses(setting: Setting) -> list[Status]:
    snapshot = setting.book.model().snapshot
    parts = await asyncio.gather(*(plane.read(snapshot, setting.machines) for plane in ALL_PLANES if plane.read))
    statuses = [status for part in parts for status in part]
    try:
        refused = await refused_routes(snapshot, setting.machines)
    except (Unreachable, Failed):
        refused = []  # the route server's own status says that it cannot be asked
    return [*statuses, *member_statuses(snapshot, statuses, refused, REASONS)]


async def converged(ask: Callable[[], Awaitable[list[Status]]]) -> list[Status]:
    """Wait until nothing changes any more: all up, or the same ones down for a while. It is a short while when only members' ends are down and the
    reason is known (a limit, a filter), and as long as the slowest daemon's second try takes when a member merely has not called yet, or when
    something of ours is down: a line over which no routes go yet, a zone that is still on its way."""
    deadline = time.monotonic() + CONVERGED_SECONDS_MAX
    last: frozenset[str] = frozenset()
    quiet_since = time.monotonic()
    with tables.err.status("waiting for BGP sessions") as spinner:
        while True:
            statuses = await ask()
            sessions = [each for each in statuses if each.resource.startswith("session/")]
            down = frozenset(each.resource for each in statuses if not each.good and not each.resource.startswith("member/"))
            if down != last:
                last, quiet_since = down, time.monotonic()
            spinner.update(f"waiting for BGP sessions: {sum(each.good for each in sessions)} of {len(sessions)} as they should be")
            members = [each for each in statuses if each.resource.startswith("member/") and not each.good]
            known = all("limit reached" in each.reason or REASONS["mac"] in each.reason for each in members)
            known = known and not any(_ours(each) for each in statuses)
            now = time.monotonic()
            if not down or now > deadline or now - quiet_since > (QUIET_SECONDS if known else RETRY_SECONDS):
                return statuses
            await asyncio.sleep(0.5)


def _status_table(statuses: list[Status], *, brief: bool = False) -> None:
    rows = []
    hidden = 0
    for each in sorted(statuses, key=lambda s: s.resource):
        kind, _, name = each.resource.partition("/")
        if brief and each.good and not each.reason and kind not in ("site", "route-server"):
            hidden += 1
            continue
        sign = Text("✓", style=tables.GOOD) if each.good else Text("✗", style=tables.BAD)
        rows.append((sign, kind, name, each.state, each.reason))
    tables.table("", ("", "kind", "name", "state", "reason"), rows)
    if hidden:
        tables.out.print(f"… and {hidden} more, all as they should be (`nnix status` shows them)", style=tables.QUIET)


@click.command()
@click.argument("kind", required=False)
@click.argument("name", required=False)
@json_option
@pass_setting
def status(setting: Setting, kind: str | None, name: str | None, as_json: bool) -> int:
    """What became of everything, and why it is not otherwise.

    \b
      nnix status                   all
      nnix status session           one kind
      nnix status session alibaba-1
    """
    begun(setting)
    as_root(setting)

    async def ask() -> tuple[list[Status], dict[tuple[str, str, str], str]]:
        model = setting.book.model()
        return await _statuses(setting), await look(setting.world, setting.office.wanted(model).values())

    statuses, drift = setting.run(ask())
    statuses += [Status(f"artifact/{'/'.join(key)}", "drifted", why, good=False) for key, why in drift.items()]
    chosen = statuses
    if kind is not None:
        if kind != "artifact":
            kind = kind_named(kind).slug()
        chosen = [each for each in statuses if each.resource.partition("/")[0] == kind]
    if name is not None:
        chosen = [each for each in chosen if each.resource.partition("/")[2] == name]
        if not chosen:
            near = nearest(name, (each.resource.partition("/")[2] for each in statuses if each.resource.startswith(f"{kind}/")))
            raise click.UsageError(f"no {kind} {name!r}; " + (f"did you mean {near}?" if near else f"`nnix status {kind}` lists them"))
    if as_json:
        tables.as_json([_status_record(each) for each in chosen])
    else:
        _status_table(chosen)
        bad = sum(1 for each in chosen if not each.good)
        tables.out.print(f"\n{len(chosen)} resources, {bad} not as they should be", style="bold")
    ours = [each for each in chosen if not each.good and each.resource.partition("/")[0] not in FAR_ENDS]
    return DISAGREES if ours else DONE


def _status_record(status: Status) -> dict[str, Any]:
    kind, _, name = status.resource.partition("/")
    return {
        "kind": kind,
        "name": name,
        "state": status.state,
        "reason": status.reason,
        "good": status.good,
        **({"facts": dict(status.facts)} if status.facts else {}),
    }


@click.command("run")
@click.option("--once", is_flag=True, help="Look and mend once, then stop.")
@click.option("--every", "every_seconds", type=click.FloatRange(0.2, 3600), default=1.5, show_default=True, help="Seconds between looks.")
@pass_setting
def run_command(setting: Setting, once: bool, every_seconds: float) -> int:
    """Keep the world as the newest change says, until stopped. What had to be put right is in `nnix log --what drift`.

    A relying party that says `every` is fetched for and validated meanwhile; `nnix trust status` says when that went well last. A routing registry that
    says `every` is asked, and what it answered is taken up; `nnix irr show` says when. A market that says `spot_every`, `forwards_every` or `match_every` is
    cleared, and its standard lots matched, by itself; deals whose hours are over are let go; `nnix compute book` says when.
    """
    begun(setting)
    as_root(setting, start=is_lab(setting.book.model().snapshot))
    loop = Loop(setting.office, setting.lock, setting.state / "loop.json", _said, every_seconds)

    async def keep() -> int:
        if once:
            outcomes = await loop.sweep()
            return DISAGREES if any(each.failure for each in outcomes) else DONE
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        _said(f"keeping change {setting.book.model().seq}, process {os.getpid()}")
        rounds = (each(setting, _said).run(stop) for each in (Validations, Askings, Batches))
        await asyncio.gather(loop.run(stop), *rounds)
        _said("stopped; the exchange runs on")
        return DONE

    try:
        return setting.run(keep())
    finally:
        loop.status_file.unlink(missing_ok=True)


def _said(line: str) -> None:
    tables.out.print(f"{time.strftime('%H:%M:%S')}  {line}", markup=False)


@click.command()
@click.option("--forget", is_flag=True, help="Remove the state folder as well: ledger, keys and all.")
@pass_setting
def down(setting: Setting, forget: bool) -> int:
    """Take everything away that `up` or `run` has made. The ledger stays, so `nnix up` brings it back."""
    if os.geteuid() != 0:
        return _down_without_root(setting, forget)
    loop = setting.state / "loop.json"
    if loop.exists():
        pid = json.loads(loop.read_text())["pid"]
        if Path(f"/proc/{pid}").exists():
            raise TimeoutError(f"`nnix run` (process {pid}) would put everything back at once; stop it first")
    failures = []
    if setting.begun:
        model = setting.book.model()
        keys = [*model.artifacts, *model.leftovers]
        ground = [key for key in keys if setting.world.ground(key[0])]
        # What is in a namespace goes with it; only what reaches out of it, or is elsewhere, must be asked to go.
        away = [key for key in keys if key not in ground and (key[1] in OUTLIVING or setting.machines.elsewhere(key[0]))]

        async def take() -> list[str]:
            async with setting.lock.held():
                with progress("taking down", len(away) + len(ground)) as told:
                    outcomes = await setting.office.take_down([*away, *(key for key in ground if key[1] in OUTLIVING)], told)
                    left = await asyncio.to_thread(sweep, setting.prefix, setting.homes)
                    outcomes += await setting.office.take_down([key for key in ground if key[1] not in OUTLIVING], told)
            return [*left, *(f"{'/'.join(o.key)}: {o.failure}" for o in outcomes if o.failure)]

        failures = setting.run(take())
        setting.office.note("down", "taken down", {})
    left = sweep(setting.prefix, setting.homes)
    for each in dict.fromkeys([*failures, *left]):
        tables.err.print(Text(f"✗ {each}", style=tables.BAD))
    if failures or left:  # the ledger knows what they are, so it is not forgotten
        tables.out.print("some things could not be taken away; try again once they can be reached")
        return REFUSED
    if forget:
        _forget(setting.state)
    tables.out.print("✓ down: nothing is left but the state folder")
    return DONE


def _down_without_root(setting: Setting, forget: bool) -> int:
    """The place of the lab ends, and with it everything inside: `nnix run`, daemons, interfaces, hosts' folders."""
    place = rootless.Rootless(setting.state)
    if place.holder is None:
        tables.out.print("nothing is up: there is no lab of yours on this machine")
    else:
        place.end()
        if setting.begun:
            setting.office.note("down", "taken down", {})
        (setting.state / "loop.json").unlink(missing_ok=True)
        tables.out.print("✓ down: nothing is left but the state folder")
    if forget:
        _forget(setting.state)
    return DONE


def _forget(state: Path) -> None:
    import shutil

    shutil.rmtree(state, ignore_errors=True)


@click.command()
@click.option("--refused", is_flag=True, help="Only what was refused, with the reason.")
@click.option("--server", help="Only at this route server.")
@click.option("--member", help="Only this member's.")
@json_option
@pass_setting
def routes(setting: Setting, refused: bool, server: str | None, member: str | None, as_json: bool) -> int:
    """Routes at the route servers; with --refused, the ones that were not accepted, and by which rule."""
    begun(setting)
    as_root(setting)
    snapshot = setting.book.model().snapshot
    if member is not None and snapshot.get(Member, member) is None:
        near = nearest(member, (each.name for each in snapshot.of(Member)))
        raise click.UsageError(f"no member {member!r}" + (f"; did you mean {near}?" if near else ""))
    ask: Callable[..., Any] = refused_routes if refused else routes_of
    found = setting.run(ask(snapshot, setting.machines, server=server, member=member))
    records = [each.record() for each in found]
    if as_json:
        tables.as_json(records)
        return DONE
    columns = tuple(records[0]) if records else ("server", "member", "prefix")
    tables.table("", columns, ([" ".join(map(str, v)) if isinstance(v, list) else v for v in each.values()] for each in records))
    tables.out.print(f"\n{len(records)} routes", style="bold")
    return DONE


@click.command()
@click.argument("source", metavar="MEMBER|SESSION")
@click.argument("target", metavar="MEMBER|SESSION")
@click.option("-c", "--count", type=click.IntRange(1, 100), default=3, show_default=True)
@json_option
@pass_setting
def ping(setting: Setting, source: str, target: str, count: int, as_json: bool) -> int:
    """Ping from one member's router to another's, across the fabric (lab only: a real exchange has no foot at its members)."""
    begun(setting)
    as_root(setting)
    snapshot = setting.book.model().snapshot

    def sessions(word: str) -> list[Session]:
        one = snapshot.get(Session, word)
        found = [one] if one else list(snapshot.where(Session, member=word))
        if not found:
            near = nearest(word, [each.name for each in snapshot.of(Member)] + [each.name for each in snapshot.of(Session)])
            raise click.UsageError(f"no member or session {word!r}" + (f"; did you mean {near}?" if near else ""))
        return found

    pairs = [(a, b) for a in sessions(source) for b in sessions(target) if a.lan == b.lan and a.name != b.name][:1]
    if not pairs:
        raise click.UsageError(f"{source} and {target} have no LAN in common")
    ((a, b),) = pairs

    async def go() -> list[dict[str, Any]]:
        results = []
        for ours, theirs in ((a.v4, b.v4), (a.v6, b.v6)):
            if ours and theirs:
                result = await setting.machines.host(a.name).run(
                    ["ping", "-n", "-q", "-i", "0.2", "-W", "1", "-c", str(count), "-I", str(ours), str(theirs)], timeout_seconds=count + 10
                )
                answer = [line for line in result.out.splitlines() if "packet loss" in line or line.startswith("rtt")]
                results.append(
                    {"from": str(ours), "to": str(theirs), "passes": result.status == 0, "said": "; ".join(answer) or result.err.strip()}
                )
        return results

    results = setting.run(go())
    if as_json:
        tables.as_json(results)
    else:
        for each in results:
            sign = Text("✓ ", style=tables.GOOD) if each["passes"] else Text("✗ ", style=tables.BAD)
            tables.out.print(sign + Text(f"{a.name} {each['from']} → {b.name} {each['to']}: {each['said']}"))
    return DONE if results and all(each["passes"] for each in results) else REFUSED


COMMANDS = (up, run_command, down, status, routes, ping)
