"""nnix irr: ask routing registries, see what they said and when, and let through what the guard holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from nnix.cli import answers, tables
from nnix.cli.changing import carry_out
from nnix.cli.command import DISAGREES, DONE, applied_argument, as_root, begun, folder_argument, json_option, pass_setting
from nnix.cli.files import files_of, files_pinned, renewed, sound
from nnix.cli.root import Setting, clock
from nnix.kernel.evidence import Evidence
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.members.kinds import Exchange
from nnix.planes.routing.kinds import Asked, RoutingRegistry
from nnix.planes.routing.registries import bgpq4, dump, whois
from nnix.planes.routing.registries.answers import Answers
from nnix.planes.routing.registries.guard import Lost, guarded
from nnix.planes.routing.registries.whois import Unanswered
from nnix.planes.routing.sources import Wanted, own_as_set, wanted_of

FINDINGS_SHOWN = 20


@click.group("irr")
def irr_group() -> None:
    """Routing registries: what members registered, asked for and guarded."""


def _asked(registry: RoutingRegistry, folder: Path, wanted: Wanted) -> Answers:
    names, routes, vias = wanted
    match registry.asked:
        case Asked.DUMP:
            return dump.asked([folder / each for each in registry.dumps], names, routes=routes, vias=vias)
        case Asked.BGPQ4:
            return bgpq4.asked(registry.server or "", registry.databases, names, registry.seconds_max, routes=routes, vias=vias)
        case Asked.WHOIS:
            return whois.asked(registry.server or "", registry.databases, names, registry.seconds_max, routes=routes, vias=vias)


def _chosen(snapshot: Snapshot, names: tuple[str, ...]) -> Iterator[RoutingRegistry]:
    known = [each.name for each in snapshot.of(RoutingRegistry)]
    if unknown := [each for each in names if each not in known]:
        raise click.UsageError(f"no registry {unknown[0]!r}; {', '.join(known) or 'none is declared'}")
    yield from (each for each in snapshot.of(RoutingRegistry) if not names or each.name in names)


@irr_group.command()
@folder_argument
@click.argument("registries", nargs=-1, metavar="[REGISTRY]...")
@json_option
@pass_setting
def fetch(setting: Setting, folder: Path, registries: tuple[str, ...], as_json: bool) -> int:
    """Ask the registries that DIR names for the as-sets and route objects of its members. What runs is not touched: `nnix apply` takes it up.

    \b
      nnix irr fetch my-exchange && nnix apply my-exchange
      nnix irr fetch my-exchange radb         only this one

    What was good last stays where a registry cannot be asked, or answers what cannot be believed. An as-set that has become many times larger or
    smaller stays as it was until `nnix irr accept`; all others go on. Exit status 3: something failed, or is held.
    """
    snapshot = sound(folder, setting.book.model().snapshot if setting.begun else Snapshot())[1]
    whole = _ask(setting, folder, snapshot, files_of(folder, snapshot), registries)
    _show(setting, snapshot, as_json)
    return DONE if whole else DISAGREES


def _ask(setting: Setting, folder: Path, snapshot: Snapshot, files: Evidence, registries: tuple[str, ...]) -> bool:
    """Ask, guard and note. Whether all of it was answered, and nothing is held."""
    whole = True
    for registry in _chosen(snapshot, registries):
        wanted = wanted_of(registry, snapshot, files)
        if not wanted.names:
            answers.note_failure(setting, registry, "no member's as-set is asked for here")
            continue
        stands = answers.standing(setting, registry.name)
        try:
            last = None if answers.EVERYTHING in stands.accepted else answers.given(setting, stands)
            with tables.err.status(f"{registry.id}: {len(wanted.names)} names"):
                fresh = _asked(registry, folder, wanted)
            taken = guarded(fresh, last, wanted.names, registry.growth_max, stands.accepted)
        except (Unanswered, Lost) as error:
            answers.note_failure(setting, registry, str(error))
            whole = False
        else:
            answers.note(setting, registry, taken)
            whole &= not taken.held
    return whole


@irr_group.command()
@click.argument("registries", nargs=-1, metavar="[REGISTRY]...")
@pass_setting
def refresh(setting: Setting, registries: tuple[str, ...]) -> int:
    """Ask the registries of the running exchange, and take up what they answer: the model stays, and is compiled with it. `nnix run` does so for those that
    say `every`.

    \b
      nnix irr refresh
      nnix irr refresh radb

    Route servers whose configuration changes are proved, as by `nnix apply`. What somebody is writing in the exchange's folder is not taken up. Exit
    status 3: something could not be asked, or is held; what was good last stays. 1: it is too old for that, and the registry says `when_old: refuse`.
    """
    begun(setting)
    as_root(setting)
    snapshot = setting.book.model().snapshot
    whole = _ask(setting, setting.folder or Path(), snapshot, files_pinned(setting), registries)
    why = f"refresh {', '.join(registries) or 'all registries'}"
    try:
        made = setting.office.draft(snapshot, renewed(setting))
    except Refused as refused:
        setting.office.refuse(refused, why)
        raise
    status = carry_out(setting, made, why, yes=True, offline=False, as_json=False, prove=None)
    return DISAGREES if status == DONE and not whole else status


@irr_group.command("object")
@click.argument("name", metavar="AS-SET")
@applied_argument
@click.option("--registry", metavar="NAME", help="Compare with what this registry has. Exit status 3: it has another.")
@click.option("--mnt-by", default="MNT-", show_default=True, help="The maintainer.")
@click.option("--source", default="", help="The registry's name, for the object.")
@pass_setting
def object_command(setting: Setting, name: str, folder: Path | None, registry: str | None, mnt_by: str, source: str) -> int:
    """The route servers' own as-set as an RPSL object, to be sent to a registry: what members announce through them, so that others can filter by it.

    \b
      nnix irr object AS-EXAMPLE-RS my-exchange --mnt-by MNT-EXAMPLE --source RIPE
      nnix irr object AS-EXAMPLE-RS --registry radb         is what radb has still so?

    Without DIR: of what was applied.
    """
    if folder is None:
        begun(setting)
        snapshot, files, folder = setting.book.model().snapshot, files_pinned(setting), setting.folder or Path()
    else:
        snapshot = sound(folder, setting.book.model().snapshot if setting.begun else Snapshot())[1]
        files = files_of(folder, snapshot)
    members = own_as_set(snapshot, files)
    if registry is None:
        title = next((each.title.en for each in snapshot.of(Exchange)), "the exchange")
        rows = [("as-set", name.upper()), ("descr", f"what members of {title} announce through its route servers")]
        rows += [("members", each) for each in members] + [("mnt-by", mnt_by), *([("source", source)] if source else [])]
        for key, value in rows:
            tables.out.print(f"{key + ':':<12}{value}", markup=False, highlight=False, soft_wrap=True)
        return DONE
    [chosen] = _chosen(snapshot, (registry,))
    there = {
        each
        for (_, found), inner in _asked(chosen, folder, Wanted((name,), False, False)).sets.items()
        if found == name.upper()
        for each in inner
    }
    for sign, lines in (("+", [each for each in members if each not in there]), ("-", sorted(there - {*members}))):
        for each in lines:
            tables.out.print(f"{sign} members: {each}", markup=False, highlight=False)
    return DONE if there == {*members} else DISAGREES


@irr_group.command()
@json_option
@pass_setting
def show(setting: Setting, as_json: bool) -> int:
    """Each registry of the running exchange: when it answered last, how old that may become, and what is held."""
    begun(setting)
    _show(setting, setting.book.model().snapshot, as_json)
    return DONE


def _show(setting: Setting, snapshot: Snapshot, as_json: bool) -> None:
    now = clock()
    rows, records = [], []
    findings: list[str] = []
    for each in snapshot.of(RoutingRegistry):
        stands = answers.standing(setting, each.name)
        answered = answers.given(setting, stands) or Answers()
        age = stands.age(now)
        hours = age.total_seconds() / 3600 if age else None
        held = [*(stands.held or {}).values()]
        findings += [f"{each.id}: {finding}" for finding in answered.findings]
        rows.append(
            (
                each.name,
                each.asked,
                each.server or ", ".join(each.dumps),
                "never" if hours is None else f"{hours:.1f} h of {each.age_max_hours}",
                len(answered.sets),
                answered.routes_count,
                "; ".join([*([stands.failed] if stands.failed else []), *held]) or "✓",
            )
        )
        records.append(
            {
                "registry": each.id,
                "asked": each.asked,
                "answered_at": stands.at.isoformat() if stands.at else None,
                "age_hours": hours,
                "age_max_hours": each.age_max_hours,
                "when_old": each.when_old,
                "sets": len(answered.sets),
                "routes": answered.routes_count,
                "failed": stands.failed or None,
                "held": dict(stands.held or {}),
                "findings": list(answered.findings),
            }
        )
    if as_json:
        tables.as_json(records)
        return
    tables.table("Registries", ("registry", "asked by", "where", "last good answer", "as-sets", "route objects", "state"), rows)
    for finding in findings[:FINDINGS_SHOWN]:
        tables.out.print(finding, markup=False)
    if len(findings) > FINDINGS_SHOWN:
        tables.out.print(f"and {len(findings) - FINDINGS_SHOWN} more; --json has them all")


@irr_group.command()
@click.argument("registry")
@click.argument("as_sets", nargs=-1, required=True, metavar="AS-SET...")
@click.option("--why", required=True, help="Why, for the ledger.")
@pass_setting
def accept(setting: Setting, registry: str, as_sets: tuple[str, ...], why: str) -> int:
    """Let through what the guard holds: these as-sets, or '*' for all that a registry says, with the next `nnix irr fetch`.

    \b
      nnix irr accept radb AS-EXAMPLE --why "they have bought another network, ticket 4711"
    """
    held = answers.standing(setting, registry).held or {}
    names = {each.upper() for each in as_sets}
    if unknown := sorted(names - held.keys() - {answers.EVERYTHING}):
        raise click.UsageError(f"{unknown[0]} is not held; {', '.join(held) or 'nothing is'}")
    answers.accept(setting, registry, names, why)
    return DONE


COMMANDS = (irr_group,)
