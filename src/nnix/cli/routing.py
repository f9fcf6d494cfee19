"""nnix prove routing: what route servers would do with routes, shown before they are told to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnix.cli import tables
from nnix.cli.command import DONE, REFUSED, as_root, begun, json_option, pass_setting
from nnix.cli.files import admitted
from nnix.cli.root import Setting
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact
from nnix.planes.routing.compile import SPEAKERS, ServerPolicy, compile, policy

if TYPE_CHECKING:  # NumPy takes long to import, and most commands need none
    from nnix.planes.routing.trial.run import Proof

SHOWN_MAX = 20
WORDS_MAX = 600


@click.command("routing")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--server", metavar="NAME", help="Only this route server.")
@json_option
@pass_setting
def prove_routing(setting: Setting, folder: Path | None, server: str | None, as_json: bool) -> int:
    """Does each route server's configuration do what its policy says? Tried in the real daemon, in a network of its own, before anything is touched.

    Of DIR, or of the model. The very bytes that would run are started beside production, every client is played, and routes are announced
    that break one rule each. What the daemon tells, holds and refuses is held against an evaluator that reads the policy and not the
    configuration. Needs root, for namespaces.

    \b
      nnix prove routing examples/zhejiang
      nnix prove routing examples/zhejiang --server rs1

    Exit status 1: the two differ; each difference names the witness, what was expected and what was seen.
    """
    as_root(setting)
    chosen = [(each, artifact) for each, artifact in candidates(*_sources(setting, folder)) if server in (None, each.name)]
    if not chosen:
        raise click.UsageError(f"no route server {server!r}" if server else "there is no route server")
    proofs = setting.run(_proved(setting, chosen))
    if as_json:
        tables.as_json([each.record() for each in proofs])
    else:
        for each in proofs:
            told(each)
    return DONE if all(each.holds for each in proofs) else REFUSED


def _sources(setting: Setting, folder: Path | None) -> tuple[Snapshot, Evidence]:
    if folder is not None:
        found = admitted(folder, Snapshot(), asked=setting)
        return found.snapshot, found.evidence
    begun(setting)
    model = setting.book.model()
    return model.snapshot, setting.vault.evidence(model.evidence)


def candidates(snapshot: Snapshot, evidence: Evidence) -> list[tuple[ServerPolicy, Artifact]]:
    """Each route server's policy with its configuration. Where ROA tables come by RTR, those that the evidence holds stand in the configuration
    instead, as there is no cache beside the trial; all else is what would run."""
    policies = {each.name: each for each in policy(snapshot, evidence)}
    configured = [(policies[each.name], each) for each in compile(snapshot, evidence) if each.driver in SPEAKERS and each.name in policies]
    return [
        (server, replace(each, content=SPEAKERS[each.driver].spell(replace(server, feeds=())).encode()) if server.feeds else each)
        for server, each in configured
    ]


async def _proved(setting: Setting, chosen: list[tuple[ServerPolicy, Artifact]]) -> tuple[Proof, ...]:
    from nnix.planes.routing.trial.run import prove

    drivers = setting.world.drivers
    return await prove([(server, artifact, drivers[artifact.driver]) for server, artifact in chosen], setting.prefix)


def told(proof: Proof) -> None:
    """A proof in words."""
    head = f"route-server/{proof.server}: {proof.witnesses} witnesses in {proof.rounds} rounds over {proof.sessions} sessions, {proof.seconds:.1f} s"
    if proof.holds:
        tables.out.print(f"✓ {head}: wire, tables and sessions are as the policy says", markup=False)
    else:
        tables.out.print(f"✗ {head}: {len(proof.differences)} differences", markup=False)
    for each in proof.differences[:SHOWN_MAX]:
        words = str(each)
        tables.out.print(f"  {words if len(words) <= WORDS_MAX else words[:WORDS_MAX] + ' …'}", markup=False)
    if len(proof.differences) > SHOWN_MAX:
        tables.out.print(f"  … and {len(proof.differences) - SHOWN_MAX} more (--json has all)")
    for words in proof.silent[:SHOWN_MAX]:
        tables.out.print(f"  not shown: {words}", style=tables.QUIET, markup=False)
    if len(proof.silent) > SHOWN_MAX:
        tables.out.print(f"  … and {len(proof.silent) - SHOWN_MAX} more that could not be shown", style=tables.QUIET)


PROVING = (prove_routing,)
