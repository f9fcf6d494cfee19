"""The root of the command line: options that hold for all commands, errors turned into words, misspelt words into hints."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nnix import __version__
from nnix.cli import tables
from nnix.cli.root import KINDS, Setting, state_folder
from nnix.hosts import rootless
from nnix.hosts.rootless import NotHere
from nnix.kernel.apply import Stale
from nnix.kernel.change import BadPlan, Unknown
from nnix.kernel.document import nearest
from nnix.kernel.ledger import Damaged, Unavailable
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import DISK_FULL, Failed, Unreachable

DONE, REFUSED, USAGE, DISAGREES = 0, 1, 2, 3

SECTIONS = {
    "Look before you touch (no root needed)": (
        "check",
        "compile",
        "plan",
        "prove",
        "whatif",
        "map",
        "schema",
        "rules",
        "explain",
        "import",
        "export",
        "set",
    ),
    "Change": ("apply", "approve", "undo"),
    "Run": ("up", "run", "drill", "down"),
    "Trust and names": ("trust", "naming"),
    "Trade compute": ("compute",),
    "See": ("status", "get", "port", "routes", "ping"),
    "Account for": ("log", "show", "verify"),
}


class Teaching(click.Group):
    """A group whose help is in sections, and which knows what was probably meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = nearest(args[0], self.commands)
            hint = f"Did you mean `nnix {near}`?" if near else "`nnix --help` lists them."
            raise click.UsageError(f"{error.message} {hint}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        listed: set[str] = set()
        for title, names in SECTIONS.items():
            rows = [(name, self.commands[name].get_short_help_str(90)) for name in names if name in self.commands]
            listed.update(name for name, _ in rows)
            with formatter.section(title):
                formatter.write_dl(rows)
        rest = [
            (name, each.get_short_help_str(90)) for name, each in sorted(self.commands.items()) if name not in listed and not each.hidden
        ]
        if rest:
            with formatter.section("Besides"):
                formatter.write_dl(rest)


@click.group(cls=Teaching, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="nnix")
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), default=None, help="State folder. [$NNIX_STATE, or /var/lib/nnix]"
)
@click.option("--ledger", envvar="NNIX_LEDGER", default=None, help="Ledger: a file, or postgresql://… [ledger.db in the state folder]")
@click.pass_context
def cli(context: click.Context, state: Path | None, ledger: str | None) -> None:
    """nnix runs an Internet exchange from files.

    \b
    Files say what shall be; rules say whether it may be; a plan says what would be
    done; applying does it, verifies it, and records it where nobody can rewrite it.

    \b
    Try:
      nnix check examples/zhejiang        is this exchange sound?
      nnix plan examples/zhejiang         what would be done, and whom would it disturb?
      nnix up examples/zhejiang           bring it up on this machine (root)
      nnix status                         what became of everything, and why
      nnix routes --refused               which routes were refused, by which rule

    Exit status: 0 done, 1 refused or not so, 2 wrong use, 3 the world disagrees with the model.
    """
    context.obj = Setting(state.absolute() if state else state_folder(), ledger)


pass_setting = click.make_pass_decorator(Setting)
json_option: Callable[..., Any] = click.option("--json", "as_json", is_flag=True, help="The same facts for programs.")
applied_argument: Callable[..., Any] = click.argument(
    "folder", metavar="[DIR]", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
folder_argument: Callable[..., Any] = click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))


def begun(setting: Setting) -> None:
    """Raises LookupError, naming the next step, where no exchange was ever applied."""
    if not setting.begun or setting.book.model().seq == 0:
        raise LookupError(f"there is no exchange in {setting.state} yet; `nnix up DIR` or `nnix apply DIR` makes one")


def as_root(setting: Setting, *, start: bool = False, for_now: bool = False) -> None:
    """Go on as root. Without root, the command is run again inside the state folder's rootless place and ends here with that status;
    where there is no such place, `start` makes one, `for_now` makes one for this command alone, and else the command goes on as it is. Raises NotHere."""
    place = rootless.Rootless(setting.state)
    there = place.holder is not None
    if os.geteuid() == 0 or not (there or start or for_now):
        return
    place.start()
    try:
        status = place.run(rootless.this_command())
    finally:
        if for_now and not there:
            place.end()
    raise click.exceptions.Exit(status)


def kind_named(text: str) -> type[Resource]:
    """`route-server`, `RouteServer` or `route-servers` → the kind. Raises a usage error that suggests the right one."""
    by_word = {word: kind for kind in KINDS.values() for word in (kind.kind(), kind.slug(), kind.slug() + "s")}
    folded = {word.lower(): kind for word, kind in by_word.items()}
    found = folded.get(text.lower()) or folded.get(text.lower().removesuffix("ies") + "y")
    if found is None:
        near = nearest(text, (kind.slug() for kind in KINDS.values()))
        hint = f"did you mean {near}?" if near else f"there are: {', '.join(sorted(kind.slug() for kind in KINDS.values()))}"
        raise click.UsageError(f"no kind {text!r}; {hint}")
    return found


def resource_named(snapshot: Snapshot, text: str) -> Resource:
    """`member/alibaba` → the resource. Raises a usage error that suggests the right one."""
    word, _, name = text.partition("/")
    kind = kind_named(word)
    found = snapshot.get(kind, name)
    if found is None:
        near = nearest(name, (each.name for each in snapshot.of(kind)))
        hint = f"did you mean {kind.slug()}/{near}?" if near else f"`nnix get {kind.slug()}` lists them"
        raise click.UsageError(f"no {kind.slug()} {name!r}; {hint}")
    return found


def whole_cli() -> click.Group:
    """The root with every command at its place. They are imported here, since each of them imports the root."""
    from nnix.cli import (
        account,
        ahead,
        changing,
        compute,
        drilling,
        history,
        irr,
        jobs,
        mapping,
        mirror,
        naming,
        ports,
        proving,
        reference,
        routing,
        running,
        trust,
    )

    for module in (reference, mapping, changing, proving, running, ports, drilling, trust, naming, irr, history, routing, compute):
        for command in module.COMMANDS:
            cli.add_command(command)
    for group, commands in (
        (proving.prove_group, routing.PROVING),
        (reference.explain_group, routing.EXPLAINING),
        (history.verify_group, routing.VERIFYING),
    ):
        for command in commands:
            group.add_command(command)
    for command in (*jobs.COMMANDS, *account.COMMANDS):
        compute.compute_group.add_command(command)
    routing.whatif_group.add_command(ahead.what_if, "roa")
    for command in (*ahead.COMMANDS, *mirror.COMMANDS):
        trust.trust_group.add_command(command)
    return cli


def run() -> None:
    """Run the command line and exit with its status."""
    try:
        status = whole_cli().main(standalone_mode=False)
    except click.exceptions.Abort:
        tables.err.print("stopped")
        status = REFUSED
    except click.ClickException as error:
        error.show()
        status = USAGE if isinstance(error, click.UsageError) else REFUSED
    except Refused as refused:
        tables.refusals(refused.refusals)
        status = REFUSED
    except (
        Stale,
        BadPlan,
        Unknown,
        Damaged,
        Unavailable,
        Unreachable,
        Failed,
        NotHere,
        TimeoutError,
        PermissionError,
        LookupError,
    ) as error:
        tables.err.print(f"nnix: {error}", markup=False)
        status = REFUSED
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain once more when it flushes
        status = DONE
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        where = f": {error.filename}" if error.filename else ""
        tables.err.print(f"nnix: {error.strerror}{where}; make room, and give the command again", markup=False)
        status = REFUSED
    sys.exit(status if isinstance(status, int) else DONE)
