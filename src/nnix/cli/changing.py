"""Commands that check, plan, apply, approve and undo: one pipeline for every way in."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from nnix.cli import tables
from nnix.cli.command import (
    DISAGREES,
    DONE,
    REFUSED,
    as_root,
    begun,
    folder_argument,
    json_option,
    kind_named,
    pass_setting,
    resource_named,
)
from nnix.cli.files import Folder, admitted, read_folder, yaml_files
from nnix.cli.progress import progress
from nnix.cli.root import ALL_PLANES, Setting
from nnix.cli.routing import foreseen, proven, told_foreseen
from nnix.kernel.apply import Applied, able
from nnix.kernel.approval import WHAT as APPROVED
from nnix.kernel.approval import plan_approved
from nnix.kernel.change import Draft, Model, compile_all, draft, inverse, loaded, proved
from nnix.kernel.document import Unreadable
from nnix.kernel.drive import look
from nnix.kernel.editing import NotFound, edited
from nnix.kernel.evidence import Evidence
from nnix.kernel.rule import Place, Refusal, Refused
from nnix.kernel.snapshot import Snapshot


@click.command()
@folder_argument
@json_option
@pass_setting
def check(setting: Setting, folder: Path, as_json: bool) -> int:
    """Is the exchange in DIR sound? Reads and judges every file; touches nothing.

    \b
    Every fault is told at once, with file, line, rule and mend:
      nnix check examples/zhejiang
    """
    try:
        found = admitted(folder, Snapshot(), asked=setting)
        compile_all(ALL_PLANES, found.snapshot, found.evidence)
        findings = proved(ALL_PLANES, found.snapshot, found.evidence)
    except Refused as refused:
        if as_json:
            tables.as_json({"ok": False, "refusals": [each.record() for each in refused.refusals]})
            return REFUSED
        raise
    counts = _counts(found.snapshot.declared)
    if as_json:
        tables.as_json({"ok": True, "refusals": [], "resources": counts, "digest": found.snapshot.digest,
                        "findings": [asdict(each) for each in findings]})  # fmt: skip
    else:
        tables.findings(findings)
        tables.out.print(f"✓ sound: {', '.join(f'{number} {kind}' for kind, number in counts.items())}")
    return DONE


def _counts(snapshot: Snapshot) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in snapshot:
        counts[type(each).slug()] = counts.get(type(each).slug(), 0) + 1
    return counts


@click.command("compile")
@folder_argument
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Write every artifact below this folder.")
@click.option("-m", "--machine", help="Print the artifacts of one machine.")
@json_option
@pass_setting
def compile_command(setting: Setting, folder: Path, output: Path | None, machine: str | None, as_json: bool) -> int:
    """What daemons would be told: every configuration that DIR compiles to.

    \b
      nnix compile examples/zhejiang                   a list
      nnix compile examples/zhejiang --machine rs1     what rs1 would run
      nnix compile examples/zhejiang -o /tmp/out       all of it as files
    """
    found = admitted(folder, Snapshot(), asked=setting)
    artifacts = compile_all(ALL_PLANES, found.snapshot, found.evidence)
    if machine is not None:
        chosen = [each for each in artifacts.values() if each.machine == machine]
        if not chosen:
            raise click.UsageError(f"no machine {machine!r}; there are: {', '.join(sorted({a.machine for a in artifacts.values()}))}")
        for each in chosen:
            tables.out.print(f"# {'/'.join(each.key)}  sha256 {each.digest[:16]}", markup=False)
            sys.stdout.write(each.content.decode())
        return DONE
    if output is not None:
        for each in artifacts.values():
            path = output / each.machine / each.driver / each.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(each.content)
    rows = [(a.machine, a.driver, a.name, len(a.content), a.digest[:16]) for a in sorted(artifacts.values(), key=lambda a: a.key)]
    if as_json:
        tables.as_json([dict(zip(("machine", "driver", "name", "octets", "sha256"), row, strict=True)) for row in rows])
    else:
        tables.table("", ("machine", "driver", "name", "octets", "sha256"), rows)
    return DONE


def _model(setting: Setting) -> Model:
    return setting.book.model() if setting.begun else Model()


def _draft(setting: Setting, found: Folder) -> Draft:
    """A plan against the ledger's model, or against nothing where no ledger has begun."""
    wanted = found.snapshot
    if setting.begun:
        return setting.office.draft(wanted, found.evidence)
    return draft(ALL_PLANES, setting.world.drivers, Model(), wanted, found.evidence, lambda key: None)


@click.command()
@folder_argument
@click.option("--offline", is_flag=True, help="Ask no machine; compare with the model alone.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Save the plan, to be approved and applied later.")
@click.option("--all", "everything", is_flag=True, help="Do not cut long lists.")
@json_option
@pass_setting
def plan(setting: Setting, folder: Path, offline: bool, output: Path | None, everything: bool, as_json: bool) -> int:
    """What would change: resources, then steps on machines, then whom it disturbs; and for members, whose routes are accepted, refused, told or
    withdrawn by it, and why, as they announce them at this moment.

    \b
      nnix plan examples/zhejiang
      nnix plan examples/zhejiang -o friday.plan && nnix approve friday.plan && nnix apply friday.plan
    """
    if not offline:
        as_root(setting)
    found = admitted(folder, _model(setting).snapshot, setting, pure=offline and output is None)
    made = _draft(setting, found)
    if not offline:
        setting.run(able(setting.world, made))
    findings = proved(ALL_PLANES, found.snapshot, found.evidence)
    drift = {} if offline or not setting.begun else _drift(setting)
    effects, unforeseen = ([], []) if offline else foreseen(setting, made)
    if output:
        setting.vault.keep(item.content for item in made.evidence.values())  # a saved plan must find its evidence again
        output.write_text(made.plan.saved())
    if as_json:
        tables.as_json({**made.plan.record(), "digest": made.plan.digest, "drift": {"/".join(key): why for key, why in drift.items()},
                        "findings": [asdict(each) for each in findings],
                        "routes": [effect.record() for each in effects for effect in each.effects],
                        "work": [each.work.record() for each in effects], "unforeseen": unforeseen})  # fmt: skip
        return DONE
    tables.plan(made, limit=10**9 if everything else 40)
    told_foreseen(effects, unforeseen, 10**9 if everything else 20)
    tables.findings(findings, limit=10**9 if everything else 10)
    if drift:
        tables.out.print("\nBesides, the world has drifted from the model (`nnix run` puts it right):")
        for key, why in list(drift.items())[:20]:
            tables.out.print(f"  {'/'.join(key)}: {why}", markup=False)
    if output:
        tables.out.print(f"\nSaved as {output}; approve it with `nnix approve {output}`", markup=False)
    return DONE


def _drift(setting: Setting) -> dict[tuple[str, str, str], str]:
    model = setting.book.model()
    return setting.run(look(setting.world, setting.office.wanted(model).values()))


@click.command()
@click.argument("what", metavar="DIR|PLAN", type=click.Path(exists=True, path_type=Path))
@click.option("--yes", is_flag=True, help="Go ahead without asking.")
@click.option("--offline", is_flag=True, help="Admit and record only; drive nothing.")
@click.option(
    "--prove/--no-prove", default=None, help="Try changed route servers first, as `nnix prove routing` does. [where that takes seconds]"
)
@click.option("--why", default="", help="The reason, for the ledger.")
@json_option
@pass_setting
def apply(setting: Setting, what: Path, yes: bool, offline: bool, prove: bool | None, why: str, as_json: bool) -> int:
    """Make it so: carry out DIR, or a saved plan, and verify it.

    A saved plan that was approved needs no --yes. When the world cannot be brought to it, the change is taken back.

    Route servers whose configuration changes are tried first, beside production, where they have no more sessions than a proof takes some
    seconds for: what their daemons then do is what the policy says, or nothing is touched.
    """
    if what.is_dir():
        made, approved = _admitted_or_recorded(setting, what, why), False
        setting.remember(what)
    else:
        made = setting.office.redraft(loaded(what.read_text()))
        approved = plan_approved(made.plan.digest, setting.ledger.entries(what=APPROVED))
    return carry_out(setting, made, why or f"apply {what}", yes=yes or approved, offline=offline, as_json=as_json, prove=prove)


def _admitted_or_recorded(setting: Setting, folder: Path, why: str) -> Draft:
    """Admit a folder; a refusal is recorded, since somebody meant it."""
    try:
        return setting.office.draft(*_parts(admitted(folder, setting.book.model().snapshot, setting)))
    except Refused as refused:
        setting.office.refuse(refused, why or f"apply {folder}")
        raise


def _parts(found: Folder) -> tuple[Snapshot, Evidence]:
    return found.snapshot, found.evidence


def carry_out(
    setting: Setting,
    made: Draft,
    why: str,
    *,
    yes: bool,
    offline: bool,
    as_json: bool,
    whole: bool = False,
    prove: bool | None = False,
) -> int:
    """Show, ask, prove, apply, tell: what `apply`, `undo` and `up` share. `whole`: put right what has drifted elsewhere as well. `prove`: try changed
    route servers before; None: where that takes seconds."""
    if made.plan.empty:
        if as_json:
            tables.as_json({"change": None, "verified": True, "empty": True})
        else:
            tables.out.print("Nothing to do: the model is what the files say.")
        return DONE
    if not offline:
        as_root(setting, start=any(setting.world.ground(each.machine) for each in made.artifacts.values()))
    if not yes:
        if not as_json:
            tables.plan(made)
        if as_json or not sys.stdin.isatty():
            raise click.UsageError("this changes the exchange; say --yes, or apply an approved plan")
        click.confirm("\nApply this?", abort=True)
    if offline:
        entry = setting.office.record(made, why, drive=False)
        if as_json:
            tables.as_json({"change": entry.seq, "verified": False, "offline": True})
        else:
            tables.out.print(f"✓ change {entry.seq} is recorded; nothing was driven")
        return DONE

    async def work() -> Applied:
        async with setting.lock.held():
            with progress("applying", len(made.artifacts), quiet=as_json) as told:
                return await setting.office.apply(made, why, told=told, whole=whole)

    try:
        if prove is not False:
            proven(setting, made, always=bool(prove), quiet=as_json)
        what = setting.run(work())
    except Refused as refused:
        setting.office.refuse(refused, why)
        raise
    if as_json:
        tables.as_json(
            {
                "change": what.entry.seq,
                "verified": what.verified,
                "reverted": what.reverted,
                "failures": [{"artifact": "/".join(o.key), "failure": o.failure} for o in what.failures],
            }
        )
    else:
        tables.applied(what)
    return DONE if what.verified else REFUSED if what.reverted else DISAGREES


@click.command()
@click.argument("what", metavar="PLAN|KIND/NAME...", nargs=-1, required=True)
@click.option("--as", "contact", metavar="CONTACT", help="For whom, where your login does not say it: contact:director-operations.")
@click.option("--why", default="", help="The reason, for the ledger.")
@pass_setting
def approve(setting: Setting, what: tuple[str, ...], contact: str | None, why: str) -> int:
    """Approve a saved plan, or resources that name who has to; the approval is in the ledger, bound to the digest of what was read.

    \b
      nnix approve friday.plan
      nnix approve emergency-plan/hub-dark --as contact:director-operations --why "read on Monday"

    What changes afterwards, if only by a word, is not approved any more.
    """
    path = Path(what[0])
    if len(what) == 1 and path.is_file():
        if contact:
            raise click.UsageError("--as is for resources that name their approvers; a saved plan names none")
        made = setting.office.redraft(loaded(path.read_text()))
        entry = setting.office.approve_plan(made.plan, why or f"approve {path}")
        tables.out.print(f"✓ approved as entry {entry.seq}: plan {made.plan.digest[:16]}; `nnix apply {path}` carries it out")
        return DONE
    for each in what:
        if "/" not in each or Path(each).suffix:
            raise click.UsageError(f"{each!r} is neither a file nor a resource like emergency-plan/NAME")
    begun(setting)
    snapshot = setting.book.model().snapshot
    for found in [resource_named(snapshot, each) for each in what]:
        given = setting.office.approve(
            found, f"contact:{contact.removeprefix('contact:')}" if contact else None, why or f"approve {found.id}"
        )
        now = setting.office.approvals(found)
        tables.out.print(f"✓ {found.id}, digest {now.digest[:16]}, is approved by {given}", markup=False)
        if now.lacking:
            tables.out.print(f"lacking   {', '.join(each.contact for each in now.lacking)}", markup=False)
    return DONE


@click.command()
@click.argument("change", type=click.IntRange(min=1))
@click.option("--yes", is_flag=True, help="Go ahead without asking.")
@click.option("--offline", is_flag=True, help="Record only; drive nothing.")
@click.option("--why", default="", help="The reason, for the ledger.")
@json_option
@pass_setting
def undo(setting: Setting, change: int, yes: bool, offline: bool, why: str, as_json: bool) -> int:
    """Take a change back, and leave all later ones. `nnix log` shows the numbers."""
    from nnix.kernel.change import admit

    why = why or f"undo change {change}"
    try:
        declared = inverse(setting.book, change).declared
        wanted = admit(ALL_PLANES, declared, setting.book.model().snapshot)
    except Refused as refused:
        setting.office.refuse(refused, why)
        raise
    evidence = setting.vault.evidence(setting.book.model_at(change - 1).evidence or setting.book.model().evidence)
    made = setting.office.draft(wanted, evidence, undoes=change)
    return carry_out(setting, made, why, yes=yes, offline=offline, as_json=as_json)


@click.command("set")
@folder_argument
@click.argument("resource", metavar="KIND/NAME")
@click.argument("assignments", metavar="FIELD=VALUE…", nargs=-1, required=True)
def set_command(folder: Path, resource: str, assignments: tuple[str, ...]) -> int:
    """Edit one resource in its file, in place: comments and layout stay. An empty VALUE takes the field out.

    \b
      nnix set examples/zhejiang port/alibaba-1 state=drained
      nnix set examples/zhejiang member/alibaba prefixes_max.v4=5000
    """
    word, _, name = resource.partition("/")
    kind = kind_named(word)
    faults: list[Refusal] = []
    for path in yaml_files(folder):
        before = path.read_bytes()
        try:
            fresh = before.decode()
            for assignment in assignments:
                field, equals, value = assignment.partition("=")
                if not equals:
                    raise click.UsageError(f"{assignment!r} is not FIELD=VALUE")
                items = [each.strip() for each in value[1:-1].split(",") if each.strip()] if value.startswith("[") else value
                fresh = edited(fresh, kind.kind(), name, field, items if value else None)
        except (NotFound, UnicodeDecodeError):
            continue
        except Unreadable as fault:  # perhaps another file declares it
            faults.append(Refusal(str(path), "", fault.found, fault.accept, "kernel.yaml", place=Place(str(path), fault.line)))
            continue
        draft_file = path.with_suffix(".new")
        draft_file.write_bytes(fresh.encode())
        draft_file.rename(path)
        faults = [each for each in read_folder(folder).refusals if each.place and each.place.file == str(path)]
        if faults:
            path.write_bytes(before)  # as it was: a field that does not fit must not stay
            raise Refused(faults)
        tables.out.print(f"✓ {path}: {resource} {' '.join(assignments)}", markup=False)
        return DONE
    if faults:
        raise Refused(faults)
    raise click.UsageError(f"no file in {folder} declares {kind.slug()}/{name}")


COMMANDS = (check, compile_command, plan, apply, approve, undo, set_command)
