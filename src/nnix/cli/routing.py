"""nnix prove, verify and explain for routing, and what-if: what route servers would do with routes, do, and why."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnix.cli import tables
from nnix.cli.command import DISAGREES, DONE, REFUSED, as_root, begun, json_option, pass_setting
from nnix.cli.files import admitted
from nnix.cli.root import Setting
from nnix.kernel.change import Draft
from nnix.kernel.document import nearest
from nnix.kernel.evidence import Evidence
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact, Failed, Unreachable
from nnix.planes.routing.compile import SPEAKERS, ServerPolicy, compile, policy
from nnix.planes.routing.prove.route import Community, Prefix, Route, Segment, extended, prefix_of

if TYPE_CHECKING:  # NumPy takes long to import, and most commands need none
    from nnix.planes.routing.prove.effects import Foreseen
    from nnix.planes.routing.prove.grounds import Explained, Step
    from nnix.planes.routing.trial.run import Proof

SHOWN_MAX = 20
WORDS_MAX = 600
SESSIONS_MAX = 150  # of all changed route servers, in both address families: so many are proven before a change without being asked for


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


def proven(setting: Setting, made: Draft, *, always: bool, quiet: bool) -> None:
    """Try the route servers whose configuration a plan changes. Raises Refused where one does not do what its policy says. Without `always`, a
    proof that would take long, or cannot be made here, is passed over, and that is said."""
    changed = {action.key for action in made.plan.actions if action.digest}
    chosen = [each for each in candidates(made.snapshot, made.evidence) if each[1].key in changed]
    sessions = sum((each.v4 is not None) + (each.v6 is not None) for server, _ in chosen for each in server.clients)
    if not sessions:
        return
    passed_over = ""
    if not always and sessions > SESSIONS_MAX:
        passed_over = f"{sessions} sessions of changed route servers; --prove tries them"
    elif not always and os.geteuid() != 0:
        passed_over = "changed route servers, since that needs root"
    proofs: tuple[Proof, ...] = ()
    try:
        proofs = () if passed_over else setting.run(_proved(setting, chosen))
    except Failed as failed:
        if always:
            raise
        passed_over = f"changed route servers: {failed}"
    if passed_over and not quiet:
        tables.out.print(f"not proven: {passed_over}", style=tables.QUIET, markup=False)
    for each in () if quiet else proofs:
        told(each)
    differing = [each for each in proofs if not each.holds]
    if differing:
        raise Refused(
            Refusal(
                f"route-server/{proof.server}",
                "",
                f"{difference.where}, {difference.about}: {difference.seen[:WORDS_MAX]}",
                f"{difference.expected[:WORDS_MAX]}, as its policy says"
                + (f" (witness: {difference.witness})" if difference.witness else ""),
                "kernel.proved",
                mend="nothing was touched; `nnix prove routing DIR` shows all of it, --no-prove goes ahead all the same",
            )
            for proof in differing
            for difference in proof.differences[:SHOWN_MAX]
        )


# --- what a plan means ------------------------------------------------------------------------------------------------

SECONDS_WORTH_SAYING = 0.1


def foreseen(setting: Setting, made: Draft) -> tuple[list[Foreseen], list[str]]:
    """What a plan changes for members, by the routes that they announce at this moment; and, in words, what could not be foreseen. For route servers
    that the plan touches and that run already."""
    if not any(action.driver in SPEAKERS for action in made.plan.actions) or not setting.begun or not setting.book.model().driven:
        return [], []
    from nnix.planes.routing.prove import effects
    from nnix.planes.routing.prove.evaluate import Unjudged
    from nnix.planes.routing.trial.running import announced

    model = setting.book.model()
    wanted = {each.name: each for each in policy(made.snapshot, made.evidence)}
    found: list[Foreseen] = []
    unknown: list[str] = []

    async def asked() -> None:
        for old in policy(model.snapshot, setting.vault.evidence(model.evidence)):
            new = wanted.get(old.name)
            if new is None or new == old:
                continue
            try:
                routes, ids = await announced(old, setting.machines)
                found.append(effects.foreseen(old, new, routes, ids))
            except (Unreachable, Failed, Unjudged) as error:
                unknown.append(f"route-server/{old.name}: {error}")

    setting.run(asked())
    return found, unknown


def told_foreseen(found: Sequence[Foreseen], unknown: Sequence[str], limit: int) -> None:
    """For people: what is alike is counted."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for each in found:
        for effect in each.effects:
            own = effect.what in ("accepted", "refused") or effect.member == effect.of
            what = f"{effect.what}{'' if own else f', of {effect.of}'}"
            rows.setdefault((effect.server, effect.member, what, effect.cause), []).append(effect.prefix)
    shown = [
        (server, member, what, f"{prefixes[0]}{f' and {len(prefixes) - 1} more' if len(prefixes) > 1 else ''}", cause)
        for (server, member, what, cause), prefixes in rows.items()
    ]
    if shown:
        tables.out.print("\nWhat members will notice, by what they announce now:")
        tables.table("", ("route server", "member", "routes", "prefixes", "because"), shown[:limit])
        if len(shown) > limit:
            tables.out.print(f"… and {len(shown) - limit} more (--all)", style=tables.QUIET)
    for each in found:
        work = each.work
        if work.cpu_seconds >= SECONDS_WORTH_SAYING:
            why = f", since {work.everybody} is for all" if work.everybody else ""
            tables.out.print(
                f"route-server/{work.server} reads {work.imports} routes in and {work.exports} out again, some {work.cpu_seconds:.1f} CPU s{why}",
                markup=False,
            )
    for words in unknown:
        tables.out.print(f"not foreseen: {words}", style=tables.QUIET, markup=False)


# --- what runs --------------------------------------------------------------------------------------------------------


def _policies(setting: Setting, server: str | None) -> list[ServerPolicy]:
    """The policies of the model's route servers, or of one."""
    begun(setting)
    as_root(setting)
    model = setting.book.model()
    found = [each for each in policy(model.snapshot, setting.vault.evidence(model.evidence)) if server in (None, each.name)]
    if not found:
        raise click.UsageError(f"no route server {server!r}" if server else "there is no route server")
    return found


@click.command("routing")
@click.option("--server", metavar="NAME", help="Only this route server.")
@json_option
@pass_setting
def verify_routing(setting: Setting, server: str | None, as_json: bool) -> int:
    """Do the running route servers do what their policies say? What members have announced is judged anew, and held against the daemons' tables.

    Nothing is changed, and no member notices. `nnix prove routing` shows the same of a configuration that does not run yet.

    Exit status 3: they differ, or one cannot be asked.
    """
    from nnix.planes.routing.trial.running import agree

    found = setting.run(agree(_policies(setting, server), setting.machines))
    if as_json:
        tables.as_json([each.record() for each in found])
        return DONE if all(each.holds for each in found) else DISAGREES
    for each in found:
        head = f"route-server/{each.server}: {each.routes} routes of {each.established} of {each.sessions} sessions, {each.told} told"
        head += f", to {each.several} of them over several paths" if each.several else ""
        aside = [
            f"{number} {words} left out"
            for number, words in (
                (each.moved, "that moved"),
                (each.cut, "with too many communities to print, or over several paths from one session,"),
            )
            if number
        ]
        head += f" ({'; '.join(aside)})" if aside else ""
        if each.holds:
            tables.out.print(f"✓ {head}: as the policy says", markup=False)
        else:
            tables.out.print(f"✗ {head}: {each.trouble or f'{len(each.differences)} differences'}", markup=False)
        for difference in each.differences[:SHOWN_MAX]:
            tables.out.print(f"  {str(difference)[:WORDS_MAX]}", markup=False)
    return DONE if all(each.holds for each in found) else DISAGREES


# --- why --------------------------------------------------------------------------------------------------------------


def _prefix(context: click.Context, parameter: click.Parameter, value: str) -> Prefix:
    try:
        return prefix_of(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no prefix like 192.0.2.0/24 or 2001:db8::/32") from None


def _sessions(server: ServerPolicy, text: str) -> list[str]:
    """The clients that are meant by an ASN, a member's or a session's name."""
    wanted = text.upper().removeprefix("AS")
    return [each.session for each in server.clients if text in (each.member, each.session) or str(each.asn) == wanted]


def _since(setting: Setting) -> str:
    """From when the model's evidence is."""
    model = setting.book.model()
    entry = setting.book.change(model.seq)
    return f"of change {entry.seq}, {entry.at:%Y-%m-%d %H:%M} UTC"


from_option: Callable[..., Any] = click.option("--from", "announcer", metavar="AS|NAME", help="Only as this member announces it.")
to_option: Callable[..., Any] = click.option(
    "--to", "receiver", metavar="AS|NAME", help="Whether and how this member is told; else all are."
)
server_option: Callable[..., Any] = click.option("--server", metavar="NAME", help="Only on this route server.")


@click.command("route")
@click.argument("prefix", callback=_prefix)
@from_option
@to_option
@server_option
@json_option
@pass_setting
def explain_route(setting: Setting, prefix: Prefix, announcer: str | None, receiver: str | None, server: str | None, as_json: bool) -> int:
    """What became of a route, and why: the walk through the policy, the ROA, as-set, route object or community that decided, and the mend.

    Looked up is what members announce to the running route servers.

    \b
      nnix explain route 203.0.113.0/24
      nnix explain route 203.0.113.0/24 --from AS4134 --to AS9808
    """
    from nnix.planes.routing.trial.running import announced

    found: list[Explained] = []
    for known in _concerned(_policies(setting, server), announcer, receiver):
        routes, ids = setting.run(announced(known, setting.machines, prefix))
        found += _explained(setting, known, routes, ids, announcer, receiver)
    return _told_why(found, as_json, f"nobody announces {prefix}" + (f" as {announcer}" if announcer else ""))


def _explained(
    setting: Setting,
    server: ServerPolicy,
    routes: Mapping[tuple[str, Prefix], Route],
    ids: Mapping[str, int],
    announcer: str | None,
    receiver: str | None,
) -> list[Explained]:
    from nnix.planes.routing.prove.evaluate import Evaluator
    from nnix.planes.routing.prove.exchange import Exchange
    from nnix.planes.routing.prove.grounds import Grounds

    model = setting.book.model()
    evaluator = Evaluator(server)
    exchange = Exchange(evaluator, [(session, route) for (session, _), route in routes.items()], ids)
    grounds = Grounds(evaluator, model.snapshot, setting.vault.evidence(model.evidence), _since(setting))
    to = _sessions(server, receiver) if receiver else None
    chosen = _sessions(server, announcer) if announcer else list(evaluator.clients)
    return [grounds.explain(exchange, session, route, to) for (session, _), route in routes.items() if session in chosen]


def _concerned(policies: Sequence[ServerPolicy], *names: str | None) -> list[ServerPolicy]:
    """The route servers of which all of `names` are clients. Raises a usage error that suggests the right name."""
    for text in filter(None, names):
        if not any(_sessions(server, text) for server in policies):
            near = nearest(text, (word for server in policies for each in server.clients for word in (each.member, f"AS{each.asn}")))
            raise click.UsageError(f"{text!r} is no client of a route server" + (f"; did you mean {near}?" if near else ""))
    found = [each for each in policies if all(_sessions(each, text) for text in filter(None, names))]
    if not found:
        raise click.UsageError(f"no route server has both {' and '.join(map(str, names))} as clients")
    return found


def _told_why(found: Sequence[Explained], as_json: bool, nothing: str) -> int:
    if as_json:
        tables.as_json([each.record() for each in found])
        return DONE if found else REFUSED
    if not found:
        tables.out.print(nothing, markup=False)
        return REFUSED
    for each in found:
        tables.out.print(f"route-server/{each.server}, session/{each.session} ({each.member}): {each.route}", style="bold", markup=False)
        for step in each.walk:
            _step(step, "  ")
        tables.out.print(
            f"  → {'accepted: ' + str(each.verdict.route) if each.verdict.accepted else 'refused, ' + each.verdict.reason}", markup=False
        )
        for step in each.receivers:
            _step(step, "    ")
        tables.out.print("")
    return DONE


def _step(step: Step, indent: str) -> None:
    tables.out.print(f"{indent}{'✓' if step.good else '✗'} {step.words}", markup=False)
    for ground in step.grounds:
        tables.out.print(f"{indent}    {ground}", style=tables.QUIET, markup=False)
    if step.mend:
        tables.out.print(f"{indent}    mend: {step.mend}", markup=False)


# --- what if ----------------------------------------------------------------------------------------------------------


@click.group("whatif")
def whatif_group() -> None:
    """What would become of routes if somebody did something. Nothing is touched."""


def _path(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[Segment, ...]:
    """`64500 64510 {64511 64512}`"""
    found: list[Segment] = []
    for word in re.findall(r"\{[^}]*\}|\S+", value or ""):
        try:
            asns = [int(each.upper().removeprefix("AS")) for each in word.strip("{}").replace(",", " ").split()]
        except ValueError:
            raise click.BadParameter(f"{word!r} is neither an ASN nor a set of them") from None
        found += [frozenset(asns)] if word.startswith("{") else asns
    return tuple(found)


def _communities(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Community, ...]:
    """`65535:666`, `139136:0:64500`, `rt:0:64500`"""
    found: list[Community] = []
    for text in values:
        kind, _, rest = text.partition(":")
        try:
            numbers = tuple(map(int, (rest if kind in ("rt", "ro") else text).split(":")))
        except ValueError:
            numbers = ()
        if kind in ("rt", "ro") and len(numbers) == 2:
            found.append(extended("rt" if kind == "rt" else "ro", *numbers))
        elif len(numbers) == 2 or len(numbers) == 3:
            found.append(numbers)
        else:
            raise click.BadParameter(f"{text!r} is no community like 65535:666, rt:0:64500 or 64500:0:1")
    return tuple(found)


@whatif_group.command("announce")
@click.argument("prefix", callback=_prefix)
@click.option("--from", "announcer", metavar="AS|NAME", required=True, help="Who would announce it.")
@click.option("--path", "path", metavar="PATH", callback=_path, help="The AS path, such as '64500 64510'; else the announcer's own ASN.")
@click.option("--next-hop", metavar="ADDRESS", help="Instead of the session's own address.")
@click.option(
    "--community",
    "communities",
    metavar="COMMUNITY",
    multiple=True,
    callback=_communities,
    help="65535:666, rt:0:64500 or 64500:0:1; several times.",
)
@to_option
@server_option
@json_option
@pass_setting
def whatif_announce(
    setting: Setting,
    prefix: Prefix,
    announcer: str,
    path: tuple[Segment, ...],
    next_hop: str | None,
    communities: tuple[Community, ...],
    receiver: str | None,
    server: str | None,
    as_json: bool,
) -> int:
    """What would become of a route if a member announced it: the same walk as `nnix explain route`, and who would be told.

    Route servers that run are asked who else announces the prefix; without any, this route stands alone.

    \b
      nnix whatif announce 203.0.113.0/24 --from AS64501 --path "64501 64510"
      nnix whatif announce 203.0.113.7/32 --from AS64501 --community 65535:666 --to AS9808
    """
    from nnix.planes.routing.trial.running import announced

    found: list[Explained] = []
    for known in _concerned(_policies(setting, server), announcer, receiver):
        try:
            routes, ids = setting.run(announced(known, setting.machines, prefix))
        except Unreachable as error:
            tables.err.print(f"route-server/{known.name} cannot be asked who else announces it: {error}", markup=False)
            routes, ids = {}, {}
        for session in _sessions(known, announcer):
            client = next(each for each in known.clients if each.session == session)
            own = client.v4 if prefix.family == 4 and not client.v4_over_v6 else client.v6
            if own is None:
                continue
            hop = _address(next_hop) if next_hop else own
            route = Route(prefix, path or (client.asn,), hop).with_communities(*communities)
            theirs = {**routes, (session, prefix): route}
            found += _explained(setting, known, theirs, ids, session, receiver)
    return _told_why(found, as_json, f"{announcer} has no session in IPv{prefix.family}")


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no address", param_hint="--next-hop") from None


@whatif_group.command("member-leaves")
@click.argument("member", metavar="AS|NAME")
@server_option
@json_option
@pass_setting
def whatif_member_leaves(setting: Setting, member: str, server: str | None, as_json: bool) -> int:
    """What the other members would no longer hear if this one left, and what they would hear from others instead. Of routes announced now.

    \b
      nnix whatif member-leaves AS4134
    """
    from nnix.planes.routing.prove.evaluate import Evaluator
    from nnix.planes.routing.prove.leaving import losses
    from nnix.planes.routing.trial.running import announced

    records: list[dict[str, Any]] = []
    for known in _concerned(_policies(setting, server), member):
        leaving = frozenset(_sessions(known, member))
        routes, ids = setting.run(announced(known, setting.machines))
        pairs = [(session, route) for (session, _), route in routes.items()]
        hit = losses(Evaluator(known), pairs, leaving, ids)
        records.append({"server": known.name, "leaving": sorted(leaving), "losses": [each.record() for each in hit]})
        if as_json:
            continue
        sent = sum(1 for session, _ in pairs if session in leaving)
        tables.out.print(
            f"route-server/{known.name}: {', '.join(sorted(leaving))} would take {sent} routes along", style="bold", markup=False
        )
        rows = [(each.session, f"AS{each.asn}", len(each.gone), len(each.otherwise), ", ".join(map(str, each.gone[:3]))) for each in hit]
        tables.table("", ("session", "", "prefixes gone", "by others", "such as"), rows)
    if as_json:
        tables.as_json(records)
    return DONE


PROVING = (prove_routing,)
EXPLAINING = (explain_route,)
VERIFYING = (verify_routing,)
COMMANDS = (whatif_group,)
