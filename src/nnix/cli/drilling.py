"""`nnix drill`: failures rehearsed on the running lab, and what came of it, for people, programs and the ledger."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Set
from dataclasses import replace
from pathlib import Path

import click
from rich.text import Text

from nnix.cli import tables
from nnix.cli.command import DONE, REFUSED, as_root, begun, json_option, pass_setting
from nnix.cli.root import Setting, clock
from nnix.cli.trust import abroad
from nnix.kernel.approval import Standing
from nnix.kernel.resource import Json
from nnix.kernel.world import Failed
from nnix.lab.compile import is_lab
from nnix.lab.drill import BFD_SECONDS_DRILLED, RATE_PER_SECOND, Drill, Drilled
from nnix.lab.failures import DAEMONS, WHAT, Failure, Impossible, every, failure, planned
from nnix.lab.rehearsal import REHEARSAL, evidence, ready
from nnix.lab.report import html
from nnix.planes.fabric.kinds import EmergencyPlan
from nnix.planes.fabric.kinds import FailureSort as Sort

EVERY, PLAN, HEAL = "every", "plan", "heal"


@click.command()
@click.argument("scenario", type=click.Choice([*(sort.value for sort in Sort), EVERY, PLAN, HEAL]))
@click.argument("target", required=False, metavar="[link/NAME|site/NAME|port/NAME|PLAN]")
@click.option("--daemon", type=click.Choice(DAEMONS), help="Which one, for kill. [bgpd]")
@click.option("--repeat", type=click.IntRange(1, 20), default=1, show_default=True, help="How often; figures are medians.")
@click.option("--bfd", "bfd_milliseconds", type=click.IntRange(10, 1000), default=round(BFD_SECONDS_DRILLED * 1000), show_default=True,
              help="BFD's pace while it lasts, in milliseconds.")  # fmt: skip
@click.option(
    "--rate", type=click.IntRange(100, 500), default=RATE_PER_SECOND, show_default=True, help="Packets a second, each flow and way."
)
@click.option("--unapproved", is_flag=True, help="Rehearse a plan that not all of its approvers have approved; the evidence says so.")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Where the report goes. [below the state folder]")
@json_option
@pass_setting
def drill(
    setting: Setting,
    scenario: str,
    target: str | None,
    daemon: str | None,
    repeat: int,
    bfd_milliseconds: int,
    rate: int,
    unapproved: bool,
    output: Path | None,
    as_json: bool,
) -> int:
    """Rehearse a failure on the running lab: predicted, really made, measured, healed, compared.

    \b
      nnix drill silent link/hangzhou-ningbo    the light stays on, frames die between
      nnix drill cut link/hangzhou-ningbo       the light goes
      nnix drill flap link/hangzhou-ningbo      it goes and comes, twice at each end
      nnix drill dark site/jinhua               a site loses its power
      nnix drill reflectors                     both route reflectors die
      nnix drill kill site/ningbo --daemon bgpd
      nnix drill loop port/alibaba-1            somebody loops a port; lacp: sends LACP
      nnix drill every                          each link and each site, one after another
      nnix drill foreign                        every link abroad is cut, and every repository
      nnix drill plan hub-dark                  an approved emergency plan, against its own target
      nnix drill heal                           what a killed drill has left is taken back

    Exit status 0: the promise was kept and reachability was as predicted; 1: not so, or the plan is not approved, or the drill could not be made; 2: there
    is nothing of that name to break. The report is HTML with plots, and JSON.
    """
    if daemon and scenario != Sort.KILL:
        raise click.UsageError(f"--daemon is for kill; {scenario} kills none of your choosing")
    if unapproved and scenario != PLAN:
        raise click.UsageError(f"--unapproved is for plan; {scenario} needs no approval")
    begun(setting)
    as_root(setting)
    model = setting.book.model()
    if not is_lab(model.snapshot):
        raise Failed("a drill breaks things on purpose, so it runs in a lab only (`lab: true` at the Exchange)")
    if scenario == HEAL:
        setting.run(_healed(setting))
        tables.out.print("✓ nothing of a drill is left, and everything is as the model says")
        return DONE
    if target and scenario in (EVERY, Sort.REFLECTORS, Sort.FOREIGN):
        raise click.UsageError(f"{scenario} takes no target")
    try:
        plan: EmergencyPlan | None = None
        if scenario == EVERY:
            chosen = list(every(model.snapshot))
        elif scenario == PLAN:
            plan, once = planned(model.snapshot, target)
            chosen = [once]
        else:
            chosen = [failure(model.snapshot, Sort(scenario), target, daemon or "bgpd")]
    except Impossible as wrong:
        raise click.UsageError(str(wrong)) from None
    approved = setting.office.approvals(plan) if plan else None
    if plan and approved:
        if not unapproved:
            ready(plan, approved)
        if not as_json:
            _told_approvals(plan, approved)
    began = clock()
    try:
        done = setting.run(_rehearsed(setting, chosen, plan, approved, repeat, bfd_milliseconds / 1000, rate))
    except (asyncio.CancelledError, Exception) as ended:
        stopped = isinstance(ended, asyncio.CancelledError)
        if plan and approved:
            reason = "stopped" if stopped else str(ended)[:500]
            _written_down(setting, evidence(plan, approved, model.seq, began, clock(), None, reason=reason))
        if stopped:
            raise click.exceptions.Abort from None
        raise
    folder = output or setting.state / "drills" / f"{clock():%Y%m%dT%H%M%SZ}-{scenario}"
    folder.mkdir(parents=True, exist_ok=True)
    reports = {
        "report.json": (json.dumps([each.record() for each, _ in done], indent=1, ensure_ascii=False) + "\n").encode(),
        "report.html": html([each for each, _ in done]).encode(),
    }
    for name, content in reports.items():
        (folder / name).write_bytes(content)
    if plan and approved:
        ((came, entry),) = done
        _written_down(setting, evidence(plan, approved, model.seq, began, clock(), came, drill=entry, reports=reports))
    return _shown([each for each, _ in done], folder, as_json)


def _written_down(setting: Setting, found: Json) -> None:
    setting.office.note(REHEARSAL, f"{found['plan']}: {found['outcome']}", found)


def _told_approvals(plan: EmergencyPlan, approved: Standing) -> None:
    for given in approved.given:
        tables.out.print(f"{plan.id} is approved by {given}", markup=False)
    for lacking in approved.lacking:
        tables.out.print(f"{plan.id} is a draft: not approved by {lacking.contact}", markup=False)


def _shown(done: list[Drilled], folder: Path, as_json: bool) -> int:
    """Tell what came of it; the status."""
    if as_json:
        tables.as_json([each.record() for each in done])
    else:
        _told(done)
        tables.out.print(f"\nReport: {folder / 'report.html'}", markup=False)
    return DONE if all(each.agrees and each.kept for each in done) else REFUSED


async def _rehearsed(
    setting: Setting,
    chosen: list[Failure],
    plan: EmergencyPlan | None,
    approved: Standing | None,
    repeat: int,
    bfd_seconds: float,
    rate: int,
) -> list[tuple[Drilled, int]]:
    """One after another, with the number of its entry: what came of each is in the ledger before the next begins."""
    done: list[tuple[Drilled, int]] = []
    with tables.err.status("drilling") as spinner:
        work = _work(setting, spinner.update)
        drilling = asyncio.current_task()
        if drilling is not None:  # stopped from outside, it still heals what it broke
            for number in (signal.SIGTERM, signal.SIGINT):  # the latter is ignored by whoever was started in the background
                asyncio.get_running_loop().add_signal_handler(number, drilling.cancel)
        async with setting.lock.held(), work.quicker(bfd_seconds):
            for each in chosen:
                spinner.update(f"{each.sort.value} {each.of}: {WHAT[each.sort]}")
                trust = abroad(setting, spinner.update) if each.sort is Sort.FOREIGN else None
                at = f"{clock():%Y-%m-%d %H:%M:%S} UTC"
                came = await work.run(each, at=at, repeat=repeat, rate_per_second=rate, abroad=trust)
                came = replace(came, plan=plan, approved=approved)
                entry = setting.office.note("drill", f"{plan.id if plan else each.sort.value} {each.of}", came.record())
                done.append((came, entry.seq))
                if len(chosen) > 1:
                    tables.err.print(
                        f"{len(done)} of {len(chosen)}: {each.sort.value} {each.of}, {came.failing * 1000:.0f} ms", markup=False
                    )
    return done


async def _healed(setting: Setting) -> None:
    async with setting.lock.held():
        await _work(setting, lambda line: None).heal()


def _work(setting: Setting, told: Callable[[str], None]) -> Drill:
    model = setting.book.model()
    return Drill(model.snapshot, setting.world, setting.office.wanted(model), lambda machine: f"{setting.prefix}{machine}", told)


def _told(done: list[Drilled]) -> None:
    rows = []
    for each in done:
        failing, healing = each.promised
        sign = Text("✓", style=tables.GOOD) if each.agrees and each.kept else Text("✗", style=tables.BAD)
        over = "–" if each.crossed is None else f"{each.crossed:.0f} of {each.sent:.0f}"
        rows.append(
            (
                sign,
                each.failure.sort.value,
                each.failure.of,
                len(each.flows),
                over,
                f"{each.failing * 1000:.0f} (≤ {failing * 1000:.0f})",
                f"{each.healing * 1000:.0f} (≤ {healing * 1000:.0f})",
                "nothing to measure" if not each.measured else _compared(each.predicted, each.observed),
                _compared(each.circuits_predicted, each.circuits_observed) if each.circuits_watched else "–",
            )
        )
    trust = [words for each in done if each.abroad for words in each.abroad.words()]
    columns = ("", "failure", "of", "flows", "packets/s over it", "outage, ms", "at heal, ms", "pairs of sites cut", "ends of circuits cut")
    tables.table("", columns, rows)
    for words in trust:
        tables.out.print(f"  · {words}", markup=False)


def _compared(predicted: Set[object], observed: Set[object]) -> str:
    if predicted == observed:
        return f"{len(observed)}, as predicted"
    return f"predicted {len(predicted)}, seen {len(observed)}"


COMMANDS = (drill,)
