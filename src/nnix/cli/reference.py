"""Commands that need no exchange and no root: rules, schemas, explanations, and member lists in and out."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click
from pydantic.json_schema import models_json_schema

from nnix.cli import tables
from nnix.cli.command import DONE, REFUSED, cli, json_option, kind_named, pass_setting, resource_named
from nnix.cli.files import admitted
from nnix.cli.otherwise import Otherwise
from nnix.cli.root import ALL_PLANES, KINDS, Setting, clock
from nnix.kernel.approval import approvers_of
from nnix.kernel.change import Model
from nnix.kernel.document import nearest, write
from nnix.kernel.resource import NAME_PATTERN, Resource
from nnix.kernel.rule import Rule
from nnix.kernel.snapshot import Snapshot
from nnix.lab.rehearsal import REHEARSAL
from nnix.planes.members.ixf_read import read_ixf
from nnix.planes.members.ixf_write import write_ixf
from nnix.planes.members.peeringdb import read_peeringdb
from nnix.planes.trust.slurm_read import read_slurm

KERNEL_RULES = (
    ("kernel.folder", "docs/files.md", "A folder has at least one *.yaml file."),
    ("kernel.file", "docs/files.md", "A file can be read, and is UTF-8 text of at most 64 MiB."),
    ("kernel.yaml", "docs/files.md", "A file is UTF-8 text in the plain subset of YAML: no anchors, tags or duplicate keys."),
    ("kernel.document", "docs/files.md", "A document is one mapping: kind, name, fields."),
    ("kernel.kind", "docs/files.md", "The kind is one that a plane has."),
    ("kernel.field-required", "docs/files.md", "Required fields are there."),
    ("kernel.field-known", "docs/files.md", "Every field is one that the kind has."),
    ("kernel.field-type", "docs/files.md", "Every value is of its field's type and within its bounds."),
    ("kernel.name-unique", "docs/files.md", "A name stands once within its kind."),
    ("kernel.owner", "docs/files.md", "Only derived resources have an owner."),
    ("kernel.derived-once", "docs/change.md", "Nothing else is derived under the name of what is derived already."),
    ("kernel.reference", "docs/files.md", "What is referred to exists, and what is referred to is not removed."),
    ("kernel.evidence", "docs/files.md", "Evidence files exist inside the exchange's folder."),
    ("kernel.daemon-accepts", "docs/change.md", "The daemon's own parser accepts every configuration before anything is touched."),
    ("kernel.proved", "docs/proof.md", "A changed route server does what its policy says, tried in its daemon before anything is touched."),
    ("kernel.approver-named", "docs/change.md", "Whoever approves is named for it, with that login where one is named, and approves once."),
    ("kernel.approved", "docs/change.md", "What is rehearsed was approved by all of its approvers, as it stands."),
    ("kernel.machine-able", "docs/change.md", "Every machine can do what is asked of it: its kernel has the parts that this needs."),
    ("kernel.undo-newest-first", "docs/change.md", "A change is taken back only while what it touched is as it left it."),
    ("members.vtep-pool", "docs/kinds.md", "There is an address for the tunnel end of every site without one."),
    ("routing.evidence-is-there", "docs/files.md", "A policy's IRR and RPKI files can be read as what they are."),
    ("routing.evidence-is-fresh", "docs/registries.md", "What a registry answered last is no older than it may be."),
    (
        "routing.daemon-can",
        "docs/routing.md",
        "A route server's daemon can do what its policy asks of it, or the plan says what it cannot.",
    ),
    ("trust.slurm-file", "docs/trust.md", "A SLURM file has all that RFC 8416 (3) has, and nothing else."),
    ("trust.tal-is-readable", "docs/trust.md", "A trust anchor locator is one, with at least one rsync URI (RFC 8630, 2.2)."),
    ("account.meter-sound", "docs/account.md", "Nothing is charged by a meter that is not what was written."),
    ("compute.conversion-as-measured", "docs/compute.md", "A bid says no more of what a probe measured than the probe did."),
    ("compute.window-ahead", "docs/compute.md", "An order that comes in is not about hours that are over."),
    ("fabric.matrix-file", "docs/survival.md", "A measured matrix is CSV (a, b, bits_per_second) whose ends are sites and members."),
    ("ixf.readable", "docs/import-export.md", "A member list is JSON in UTF-8 of at most 256 MiB, gzipped or not."),
    ("ixf.member-list", "docs/import-export.md", "A member list is an object with a list of members."),
    ("ixf.version-known", "docs/import-export.md", "A member list is of a version from 0.4 to 1.0."),
    ("ixf.exchange-known", "docs/import-export.md", "The exchange that is asked for is in the list."),
    ("peeringdb.readable", "docs/import-export.md", "PeeringDB's rows are JSON in UTF-8 of at most 256 MiB, gzipped or not."),
    ("peeringdb.table", "docs/import-export.md", "PeeringDB's rows are an answer of its API, or one for each table, netixlan among them."),
    (
        "peeringdb.exchange-known",
        "docs/import-export.md",
        "The rows are those of one exchange, or --ix says which, and some stand (status ok).",
    ),
)


def all_rules() -> list[Rule]:
    return [each for plane in ALL_PLANES for each in plane.rules]


@click.command()
@json_option
def rules(as_json: bool) -> int:
    """Every rule of admission, with its source."""
    rows = [(name, "", source, text) for name, source, text in KERNEL_RULES]
    rows += [(each.name, each.kind.slug(), each.source, each.description) for each in all_rules()]
    if as_json:
        tables.as_json([dict(zip(("rule", "kind", "source", "says"), row, strict=True)) for row in rows])
    else:
        tables.table("", ("rule", "kind", "source", "says"), rows)
        tables.out.print(f"\n{len(rows)} rules", style="bold")
    return DONE


def schema_of(kinds: Sequence[type[Resource]]) -> dict[str, Any]:
    """JSON Schema (2020-12) of files that hold resources of `kinds`, with `kind` as the field that tells them apart."""
    refs, definitions = models_json_schema([(kind, "validation") for kind in kinds], by_alias=True, ref_template="#/$defs/{model}")
    defs: dict[str, Any] = definitions.get("$defs", {})
    choices = []
    for kind in kinds:
        shape = dict(defs[refs[kind, "validation"]["$ref"].rsplit("/", 1)[1]])
        properties = {name: field for name, field in shape.get("properties", {}).items() if name != "owner"}
        shape["properties"] = {"kind": {"const": kind.kind(), "description": shape.get("description", "")}, **properties}
        shape["required"] = ["kind", *shape.get("required", [])]
        choices.append(shape)
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nnix resources",
        "type": "object",
        "required": ["kind", "name"],
        **({"oneOf": choices} if len(choices) > 1 else choices[0]),
        "$defs": {name: shape for name, shape in defs.items() if name not in {kind.__name__ for kind in kinds}},
    }
    return cast("dict[str, Any]", _as_editors_read(whole))


def _as_editors_read(schema: Any) -> Any:
    """Editors take a bare `2024` for a number; where any text may stand, or a name, that is as good as `"2024"` to us."""
    if isinstance(schema, list):
        return [_as_editors_read(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    relaxed = {key: _as_editors_read(each) for key, each in schema.items()}
    if schema.get("type") == "string" and "enum" not in schema and "format" not in schema and schema.get("pattern") in (None, NAME_PATTERN):
        relaxed["type"] = ["string", "number"]
    return relaxed


@click.command()
@click.argument("kind", required=False)
def schema(kind: str | None) -> int:
    """JSON Schema of all kinds, or one, for editors that complete and check.

    \b
      nnix schema > nnix.schema.json
      # yaml-language-server: $schema=nnix.schema.json      (first line of a file)
    """
    tables.as_json(schema_of([kind_named(kind)] if kind else list(KINDS.values())))
    return DONE


@click.command("explain")
@click.argument("what", metavar="KIND|KIND/NAME|RULE")
@json_option
@pass_setting
def explain(setting: Setting, what: str, as_json: bool) -> int:
    """What a kind and its fields mean; what stands around a resource; what a rule demands.

    \b
      nnix explain session
      nnix explain session/alibaba-1
      nnix explain routing.roles-fit
    """
    by_name = {each.name: each for each in all_rules()}
    if what in by_name:
        found = by_name[what]
        record: dict[str, Any] = {"rule": found.name, "kind": found.kind.slug(), "source": found.source, "says": found.description}
    elif what in {name for name, _, _ in KERNEL_RULES}:
        record = next({"rule": name, "source": source, "says": text} for name, source, text in KERNEL_RULES if name == what)
    elif "/" in what:
        record = _around(setting, what)
    elif "." in what:
        near = nearest(what, [*by_name, *(name for name, _, _ in KERNEL_RULES)])
        raise click.UsageError(f"no rule {what!r}" + (f"; did you mean {near}?" if near else "; `nnix rules` lists them"))
    else:
        return _explain_kind(kind_named(what), as_json)
    if as_json:
        tables.as_json(record)
        return DONE
    for key, value in record.items():
        if isinstance(value, list):
            tables.out.print(f"{key}:", style="bold")
            for each in value:
                tables.out.print(f"  {each}", markup=False)
        else:
            tables.out.print(f"[bold]{key}[/]: ", end="")
            tables.out.print(str(value), markup=False)
    return DONE


def _explain_kind(kind: type[Resource], as_json: bool) -> int:
    if as_json:
        tables.as_json(schema_of([kind]))
        return DONE
    plane = next(p.name for p in ALL_PLANES if kind in p.kinds)
    tables.out.print(f"{kind.kind()} (plane {plane})", style="bold")
    tables.out.print((kind.__doc__ or "").strip() + "\n", markup=False)
    rows = []
    for name, field in kind.model_fields.items():
        if name == "owner":
            continue
        example = field.examples[0] if field.examples else ""
        needed = "required" if field.is_required() else "optional"
        rows.append((field.alias or name, needed, field.description or "", example))
    tables.table("", ("field", "", "means", "example"), rows)
    tables.out.print("\nRules that judge it:", style="bold")
    for each in all_rules():
        if each.kind is kind:
            tables.out.print(f"  {each.name} ({each.source}): {each.description}", markup=False)
    return DONE


def _around(setting: Setting, what: str) -> dict[str, Any]:
    model = setting.book.model() if setting.begun else Model()
    resource = resource_named(model.snapshot, what)
    artifacts = setting.office.wanted(model).values()
    about: dict[str, Any] = {}
    if approvers_of(resource):
        known = setting.office.approvals(resource)
        about = {
            "digest": known.digest,
            "approved by": list(map(str, known.given)),
            "approval lacking": [each.contact for each in known.lacking],
            "approved in an older wording by": list(map(str, known.older)),
            "rehearsed": [
                f"entry {e.seq}, {e.at:%Y-%m-%d %H:%M:%S} UTC, {e.who}: {e.body['outcome']}"
                + ("" if e.body["digest"] == known.digest else ", in an older wording")
                for e in setting.ledger.entries(what=REHEARSAL)
                if e.body["plan"] == resource.id
            ],
        }
    return {
        "resource": resource.id,
        "refers to": [f"{path}: {ref.id}" for path, ref in resource.references()],
        "is referred to by": list(model.snapshot.dependents.get(resource.id, ())),
        "stands in": ["/".join(each.key) for each in artifacts if resource.id in each.about],
        "changed by": [
            f"entry {e.seq}, {e.at:%Y-%m-%d %H:%M:%S} UTC, {e.who}: {e.why}"
            for e in setting.ledger.entries(what="change")
            if resource.id in e.body["gone"] or any(setting.book.resource(r).id == resource.id for r in e.body["put"])
        ],
        **about,
    }


@click.group("import")
def import_group() -> None:
    """Make an exchange of a member list (IX-F, PeeringDB), or resources of a SLURM file."""


def _write_exchange(resources: Sequence[Resource], output: Path) -> list[Path]:
    """A folder that people can go on with: one file a kind, members with their ports and sessions."""
    if output.exists() and any(output.iterdir()):
        raise PermissionError(f"{output} is not empty; give a new folder, so that nothing is overwritten")
    output.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[Resource]] = {}
    for each in resources:
        files.setdefault(f"{type(each).slug()}s.yaml", []).append(each)
    for name, group in files.items():
        (output / name).write_text(write(group))
    return [output / name for name in files]


def _imported(found: Any, output: Path, as_json: bool) -> int:
    files = _write_exchange(found.resources, output)
    if as_json:
        tables.as_json(
            {
                "resources": len(found.resources),
                "files": [str(path) for path in files],
                "findings": [{"where": f.where, "problem": f.problem, "done": f.done} for f in found.findings],
            }
        )
        return DONE
    for finding in found.findings:
        tables.err.print(f"! {finding.where}: {finding.problem} → {finding.done}", markup=False)
    tables.out.print(f"✓ {len(found.resources)} resources in {output}; go on with `nnix check {output}`", markup=False)
    return DONE


def _fetched(source: str) -> bytes:
    """A file's or a URL's bytes."""
    if re.match(r"https?://", source):
        from urllib.error import URLError
        from urllib.request import urlopen

        try:
            with urlopen(source, timeout=60) as answer:  # noqa: S310 - the scheme was checked
                content: bytes = answer.read()
        except (URLError, OSError) as error:
            raise LookupError(f"{source}: {error}") from None
    else:
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise LookupError(f"{source}: {error.strerror}") from None
    return content


@import_group.command("ixf")
@click.argument("source", metavar="FILE|URL")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to make.")
@click.option("--ixp", "ixp_id", type=int, help="Which exchange, where the document lists several.")
@json_option
def import_ixf(source: str, output: Path, ixp_id: int | None, as_json: bool) -> int:
    """From an IX-F member export (0.4 to 1.0): nnix import ixf members.json -o my-exchange"""
    return _imported(read_ixf(_fetched(source), ixp_id=ixp_id), output, as_json)


@import_group.command("peeringdb")
@click.argument("source", metavar="FILE|URL")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to make.")
@click.option("--ix", "ix_id", type=int, help="Which exchange, by its id in PeeringDB.")
@json_option
def import_peeringdb(source: str, output: Path, ix_id: int | None, as_json: bool) -> int:
    """From PeeringDB's rows (netixlan): nnix import peeringdb netixlan.json --ix 3654 -o my-exchange"""
    return _imported(read_peeringdb(_fetched(source), ix_id=ix_id), output, as_json)


@import_group.command("slurm")
@click.argument("source", metavar="FILE|URL")
@click.option("--until", required=True, metavar="TIME", help="They have no effect from then on: 2027-01-01T00:00:00Z.")
@click.option(
    "--approver", "approvers", required=True, multiple=True, metavar="CONTACT", help="Who has to approve them; twice, two different ones."
)
@click.option("--why", required=True, help="The reason; an entry's own comment stands before it.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A new file, in the exchange's folder. [standard output]"
)
def import_slurm(source: str, until: str, approvers: tuple[str, ...], why: str, output: Path | None) -> int:
    """Local exceptions of a SLURM file (RFC 8416), as resources with an end and two who have to approve them.

    \b
      nnix import slurm slurm.json --until 2027-01-01T00:00:00Z --why "ticket 4711"
        --approver contact:noc-lead --approver contact:director-operations -o my-exchange/exceptions.yaml

    A file that deviates from the RFC is refused whole, and everything that is wrong with it is named. Once applied, they wait for approval:
      nnix approve local-exception/NAME ... --as contact:noc-lead
    """
    text = write(read_slurm(_fetched(source), until=until, approvers=approvers, why=why))
    if output is None:
        sys.stdout.write(text)
    elif output.exists():
        raise PermissionError(f"{output} is there already; give a new file, so that nothing is overwritten")
    else:
        output.write_text(text)
    return DONE


@click.group("export")
def export_group() -> None:
    """Publish the exchange for others: the IX-F member export."""


@export_group.command("ixf")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--version", "version", type=click.Choice(["0.7", "1.0"]), default="1.0", show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
@pass_setting
def export_ixf(setting: Setting, folder: Path | None, version: Any, output: Path | None) -> int:
    """The member export of DIR, or of the model."""
    snapshot = admitted(folder, Snapshot()).snapshot if folder else setting.book.model().snapshot if setting.begun else Snapshot()
    if not len(snapshot):
        raise LookupError("there is no exchange to export; name a folder")
    text = json.dumps(write_ixf(snapshot, version, clock()), ensure_ascii=False, indent=1) + "\n"
    if output:
        output.write_text(text)
    else:
        sys.stdout.write(text)
    return DONE


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Shell completion: eval "$(nnix completion bash)" in your shell's start file."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        return REFUSED
    sys.stdout.write(kind(cli, {}, "nnix", "_NNIX_COMPLETE").source())
    return DONE


explain_group = Otherwise("explain", otherwise=explain, help=explain.help)
COMMANDS = (rules, schema, explain_group, import_group, export_group, completion)
