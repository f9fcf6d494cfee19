"""nnix trust: validate, and account for what was believed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnix.cli import tables
from nnix.cli.command import DISAGREES, DONE, REFUSED, applied_argument, as_root, begun, folder_argument, json_option, pass_setting
from nnix.cli.files import gathered, put_whole, sound
from nnix.cli.history import moment_of
from nnix.cli.root import Setting, clock, who
from nnix.cli.validating import VALIDATED, tries_file
from nnix.daemons.document import DOCUMENT
from nnix.hosts.namespace import NamespaceHost
from nnix.kernel.approval import WHAT as APPROVED
from nnix.kernel.approval import standing
from nnix.kernel.drive import converge
from nnix.kernel.evidence import Evidence
from nnix.kernel.ledger import Entry, Moved
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed, Unreachable
from nnix.lab.foreign import Abroad
from nnix.planes.trust import slurm
from nnix.planes.trust.compile import compile
from nnix.planes.trust.kinds import LocalException, RelyingParty, RtrCache, TrustAnchor
from nnix.planes.trust.read import cache_status
from nnix.planes.trust.rtr.routers import span

if TYPE_CHECKING:  # NumPy takes long to import, and most commands need none
    from nnix.planes.trust.archive import Archive
    from nnix.planes.trust.gate import Accepted
    from nnix.planes.trust.validate import Order, Validated

TRIES = 5


@click.group("trust")
def trust_group() -> None:
    """The relying party: two validators, one truth, and every truth that there was."""


def archive_of(setting: Setting) -> Archive:
    from nnix.planes.trust.archive import Archive

    return Archive(setting.state / "trust")


@dataclass(frozen=True)
class Declared:
    """An exchange as files say it, or as it was applied. `folder` is where paths that are not absolute begin."""

    folder: Path
    snapshot: Snapshot
    evidence: Callable[[Snapshot], Evidence]


def said(setting: Setting, folder: Path | None) -> Declared:
    """What `folder` says; without one, what was applied last, and the folder from which it was. Raises LookupError."""
    if folder is not None:
        snapshot = sound(folder, setting.book.model().snapshot if setting.begun else Snapshot())[1]
        return Declared(folder, snapshot, lambda part: gathered(folder, part, None))
    begun(setting)
    model = setting.book.model()
    return Declared(setting.folder or setting.state, model.snapshot, lambda part: setting.vault.evidence(model.evidence))


def _party(snapshot: Snapshot, name: str | None) -> RelyingParty:
    parties = snapshot.of(RelyingParty)
    chosen = [each for each in parties if name is None or each.name == name]
    if len(chosen) != 1:
        known = ", ".join(each.name for each in parties) or "none is declared"
        raise click.UsageError(f"which relying party? {known}" if name is None else f"no relying party {name!r}; {known}")
    return chosen[0]


def _approved(setting: Setting, snapshot: Snapshot) -> tuple[tuple[LocalException, ...], list[str]]:
    """The local exceptions that all of their approvers have approved as they stand; and of the others, in words, that they have no effect."""
    entries = tuple(setting.ledger.entries(what=APPROVED)) if setting.begun else ()
    found, waiting = [], []
    for each in snapshot.of(LocalException):
        so_far = standing(each, entries)
        if so_far.complete:
            found.append(each)
        else:
            lacking = so_far.lacking[0].contact
            waiting.append(
                f"{each.id} has no effect: {so_far} approvals; {lacking} has not approved it (nnix approve {each.id} --as {lacking})"
            )
    return tuple(found), waiting


def _carry_out(setting: Setting, order: Order, party: str, *, set_clock: bool) -> Validated:
    from nnix.planes.trust.validate import validated

    archive = archive_of(setting)
    host = NamespaceHost("relying-party", None, setting.runs)
    with archive.alone():
        return setting.run(validated(order, archive, host, party, set_clock=set_clock))


def _before(archive: Archive, last: Entry | None, let_go: tuple[str, ...]) -> dict[str, Accepted]:
    """What was accepted last time. Raises LookupError where the archive has lost it, unless it is let go: without it nothing guards against a loss."""
    from nnix.planes.trust.archive import Lost
    from nnix.planes.trust.validate import accepted

    found = {}
    for name, record in (last.body["anchors"] if last else {}).items():
        try:
            found[name] = accepted(archive, record)
        except Lost as lost:
            if name not in let_go:
                raise LookupError(
                    f"{lost}, so a loss below {name} would not be noticed; restore it, or go on with --let-go {name}"
                ) from None
    return found


def _last(setting: Setting, party: str, until: int | None = None) -> Entry | None:
    """The newest validation of `party` in the ledger."""
    if not setting.begun:
        return None
    found = [each for each in setting.ledger.entries(until=until, what=VALIDATED) if each.body["relying_party"] == party]
    return found[-1] if found else None


def _mirrored(
    setting: Setting, archive: Archive, snapshot: Snapshot, folder: Path, party: RelyingParty
) -> tuple[dict[str, str | int], tuple[str, ...]]:
    """What is validated, as an index in the archive; and what of it was left out."""
    from nnix.cli.mirror import declared, home

    if party.follows is not None:
        this = declared(snapshot, folder, party.follows)
        index, files = home(setting, this).index(this)
        return {"index": index, "files": files}, ()
    mirror = folder / (party.mirror or "")
    if not mirror.is_dir():
        raise LookupError(f"{party.id}: there is no folder {mirror}; its mirror must have been fetched before")
    with archive.alone():
        indexed = archive.index(mirror)
    return {"index": indexed.digest, "files": indexed.files}, indexed.left_out


@trust_group.command()
@applied_argument
@click.option("--party", metavar="NAME", help="Which relying party, where there are several.")
@json_option
@pass_setting
def fetch(setting: Setting, folder: Path | None, party: str | None, as_json: bool) -> int:
    """Bring the mirror up to date by rsync: every publication point that the trust anchors lead to. Exit status 3: something could not be fetched.

    \b
      nnix trust fetch examples/zhejiang && nnix trust validate examples/zhejiang

    Without DIR: for what was applied.
    """
    from nnix.planes.trust import tal
    from nnix.planes.trust.mirror import walk

    declared = said(setting, folder)
    snapshot = declared.snapshot
    chosen = _party(snapshot, party)
    if chosen.mirror is None:
        raise click.UsageError(f"{chosen.id} follows mirror/{chosen.follows}; `nnix trust mirror fetch` fetches that")
    anchors = Snapshot(snapshot.at(each) for each in chosen.anchors)
    evidence = declared.evidence(anchors)
    compile(anchors, evidence)
    place = (declared.folder / chosen.mirror).absolute()
    place.mkdir(parents=True, exist_ok=True, mode=0o755)
    tals = {each.name: tal.read(evidence[f"file:{each.tal}"].content) for each in anchors.of(TrustAnchor)}
    with archive_of(setting).alone():
        made = setting.run(walk.fetched(tals, NamespaceHost("relying-party", None, place), place))
    if as_json:
        tables.as_json({"whole": made.whole, "faults": dict(made.faults)})
    else:
        tables.table("", ("what", "fetched"), [(name, fault or "✓") for name, fault in sorted(made.faults.items())])
    return DONE if made.whole else DISAGREES


@trust_group.command()
@applied_argument
@click.option("--party", metavar="NAME", help="Which relying party, where there are several.")
@click.option("--let-go", multiple=True, metavar="ANCHOR", help="Accept that most of a trust anchor's VRPs are gone; named in the ledger.")
@click.option("--why", default="", help="Why, for the ledger.")
@json_option
@pass_setting
def validate(setting: Setting, folder: Path | None, party: str | None, let_go: tuple[str, ...], why: str, as_json: bool) -> int:
    """Validate the mirror with rpki-client and FORT, compare, and write what both agree on where routing reads it.

    \b
      nnix trust validate examples/zhejiang && nnix apply examples/zhejiang

    Without DIR: for what was applied. Validators run as users of their own, which takes root or a user namespace (`nnix up` says what that needs). The mirror as it was, the order and the outcome are archived, and the ledger says so. Where
    nothing can be served the file stays as it is. Exit status 3: something is contested, unconfirmed or held.
    """
    from nnix.planes.trust.validate import Order

    as_root(setting, for_now=True)
    declared = said(setting, folder)
    snapshot, folder = declared.snapshot, declared.folder
    chosen = _party(snapshot, party)
    anchors = tuple(snapshot.at(each) for each in chosen.anchors)
    for name in let_go:
        if name not in chosen.anchors:
            raise click.UsageError(f"{chosen.id} has no trust anchor {name!r}")
    tals = declared.evidence(Snapshot(anchors))
    compile(Snapshot(anchors), tals)
    archive = archive_of(setting)
    mirrored, left_behind = _mirrored(setting, archive, snapshot, folder, chosen)
    last = _last(setting, chosen.name)
    replayed = [] if let_go or last is None else _without_replays(archive, mirrored, last)
    exceptions, waiting = _approved(setting, snapshot)
    order = Order(
        anchors,
        exceptions,
        {each.name: tals[f"file:{each.tal}"].content for each in anchors},
        str(mirrored["index"]),
        clock().replace(microsecond=0),
        chosen.validation_seconds_max,
        _before(archive, last, let_go),
        frozenset(let_go),
    )
    digest = order.kept(archive)
    made = _carry_out(setting, order, chosen.name, set_clock=False)
    served = made.sound
    record = {"relying_party": chosen.name, "order": digest, "mirror": mirrored, "replayed": len(replayed),
              "served": served, **made.record(archive)}  # fmt: skip
    archive.flush()
    entry = _recorded(setting, order, record, why or ("let go: " + ", ".join(let_go) if let_go else "validation"))
    if served:
        for place in (folder / chosen.serves, setting.accepted(chosen.serves)):
            place.parent.mkdir(parents=True, exist_ok=True)
            put_whole(place, made.document)
        setting.run(_handed_out(setting))
    left_out = [*waiting, *replayed, *(f"left out of the mirror: {each}" for each in left_behind)]
    if as_json:
        tables.as_json(
            {
                **record,
                "entry": entry.seq,
                "at": entry.at.isoformat(),
                "findings": [*left_out, *made.findings],
                "exceptions": list(made.exceptions),
            }
        )
    else:
        _shown(record, [*left_out, *made.findings], list(made.exceptions))
        where = f"; written to {folder / chosen.serves}" if served else "; nothing can be served, so the file stays as it is"
        tables.out.print(f"\nentry {entry.seq}, digest {made.payloads.digest[:16]}{where}", markup=False)
    return REFUSED if not served else DONE if _calm(record) else DISAGREES


def abroad(setting: Setting, told: Callable[[str], None]) -> Abroad:
    """The hands with which the drill `foreign` looks after trust, for the first relying party of what was applied."""
    declared = said(setting, None)
    party = next(iter(declared.snapshot.of(RelyingParty)), None)
    archive = archive_of(setting)

    async def fetch() -> tuple[str, ...]:
        if party is None:
            return ()
        words = ("mirror", "fetch", "--mirror", str(party.follows)) if party.follows else ("fetch", "--party", party.name)
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", *setting.options, "trust", *words, "--json"]
        process = await asyncio.create_subprocess_exec("unshare", "--net", *argv, stdin=-3, stdout=-1, stderr=-1)
        out, err = await process.communicate()
        if process.returncode == DONE:
            return ()
        try:
            seen = json.loads(out)
        except ValueError:
            return (err.decode(errors="replace").strip().splitlines()[-1][:300],)
        faults = seen.get("faults") or {name: each["standing"] for name, each in seen.get("repositories", {}).items()}
        return tuple(f"{name}: {fault}" for name, fault in sorted(faults.items()) if fault)

    async def validate(at: datetime | None) -> Validated:
        from nnix.planes.trust.validate import Order, validated

        if party is None:
            raise LookupError("the exchange has no relying party")
        anchors = tuple(declared.snapshot.at(each) for each in party.anchors)
        tals = declared.evidence(Snapshot(anchors))
        mirrored, _ = _mirrored(setting, archive, declared.snapshot, declared.folder, party)
        order = Order(
            anchors,
            _approved(setting, declared.snapshot)[0],
            {each.name: tals[f"file:{each.tal}"].content for each in anchors},
            str(mirrored["index"]),
            (at or clock()).replace(microsecond=0),
            party.validation_seconds_max,
            {},
        )
        with archive.alone():
            host = NamespaceHost("relying-party", None, setting.runs)
            return await validated(order, archive, host, f"{party.name}-drill", set_clock=True)

    return Abroad(declared.snapshot, setting.machines, party.name if party else None, fetch, validate, told)


async def _handed_out(setting: Setting) -> None:
    """Let the caches have it now, rather than when the loop comes round. One that cannot be reached is the loop's business."""
    if not setting.begun:
        return
    wanted = setting.office.wanted(setting.book.model())
    documents = {key: each for key, each in wanted.items() if key[1] == DOCUMENT}
    if documents:
        async with setting.lock.held():
            for outcome in await converge(setting.world, documents):
                if outcome.failure:
                    tables.err.print(f"{'/'.join(outcome.key)}: {outcome.failure}", markup=False)


def _without_replays(archive: Archive, mirrored: dict[str, str | int], last: Entry) -> list[str]:
    """Put back in `mirrored` what a replay has taken away since the last validation; the findings. Where the archive has lost what was, nothing is put back."""
    from nnix.planes.trust.archive import Lost
    from nnix.planes.trust.mirror import tree
    from nnix.planes.trust.replays import not_replayed

    try:
        before, now = (dict(archive.files(str(each))) for each in (last.body["mirror"]["index"], mirrored["index"]))
        found, findings = not_replayed(before, now, archive.get)
    except Lost as lost:
        return [f"whether manifests went back cannot be told: {lost}"]
    if findings:
        mirrored |= {"index": archive.keep(tree.index(found)), "files": len(found)}
    return findings


def _recorded(setting: Setting, order: Order, record: Mapping[str, Any], why: str) -> Entry:
    for _ in range(TRIES):
        try:
            return setting.ledger.append(setting.ledger.head, at=order.at, who=who(), what=VALIDATED, why=why, body=record)
        except Moved:
            continue
    raise TimeoutError("others keep writing to the ledger; try again")


def _calm(record: Mapping[str, Any]) -> bool:
    """Whether both validators agreed on everything."""
    return (
        record["contested"] == 0
        and not record.get("replayed")
        and all(each["standing"] == "confirmed" for each in record["anchors"].values())
    )


def _shown(record: Mapping[str, Any], findings: list[str], exceptions: list[str], *, limit: int = 40) -> None:
    validators = record["validators"]
    columns = ("anchor", "standing", "accepted", *(f"{name} {each['version']}" for name, each in validators.items()), "why")
    rows = [
        (
            name,
            each["standing"],
            each["count"],
            *(validators[v]["vrps"].get(name, "dead" if validators[v]["fault"] else 0) for v in validators),
            each["why"],
        )
        for name, each in record["anchors"].items()
    ]
    tables.table("", columns, rows)
    tables.out.print(
        f"\nserved: {record['vrps']} VRPs, {record['aspas']} ASPAs, {record['router_keys']} router keys; "
        f"{record['contested']} prefixes contested, {record['withheld']} VRPs withheld with them"
    )
    for each in [*exceptions, *findings[:limit]]:
        tables.out.print(f"  · {each}", markup=False)
    if len(findings) > limit:
        tables.out.print(f"  … and {len(findings) - limit} more (`nnix trust status --all` shows them)")


@trust_group.command()
@click.option("--party", metavar="NAME", help="Which relying party, where there are several.")
@click.option("--all", "everything", is_flag=True, help="Do not cut long lists.")
@json_option
@pass_setting
def status(setting: Setting, party: str | None, everything: bool, as_json: bool) -> int:
    """What was concluded last, who agreed, and what was found; and the three clocks that run when nothing comes in any more: the objects' own expiry,
    the age of what caches hand out, and how long routers keep what they have. Exit status 3: something is contested, unconfirmed or held."""
    archive = archive_of(setting)
    entry = newest(setting, party, None)
    findings: list[str] = json.loads(archive.get(entry.body["findings"]))
    age_seconds, lapse = _clocks(archive, entry)
    caches = _cache_clocks(setting, entry.body["relying_party"])
    tried = _tried(setting, entry.body["relying_party"])
    if as_json:
        clocks = {"age_seconds": age_seconds, "lapse_in_seconds": lapse, "caches": caches}
        told = {"entry": entry.seq, "at": entry.at.isoformat(), "clocks": clocks, "tried": tried, "findings": findings}
        tables.as_json({**entry.body, **told})
    else:
        tables.out.print(
            f"{entry.body['relying_party']}: validated {entry.at:%Y-%m-%d %H:%M:%S} UTC, {age_seconds // 60} min ago (entry {entry.seq})"
        )
        if tried and tried["status"] not in (DONE, DISAGREES):
            tables.out.print(
                f"✗ the newest try of the loop failed, {span(clock().timestamp() - tried['ended'])} ago: {tried['words']}", markup=False
            )
        tables.table("", ("clock", "now", "when nothing comes in any more"), list(_clock_rows(age_seconds, lapse, caches)))
        _shown(entry.body, findings, [], limit=10**9 if everything else 40)
    return DONE if _calm(entry.body) else DISAGREES


def _clocks(archive: Archive, entry: Entry) -> tuple[int, dict[str, int]]:
    """How old a validation is, and in how many seconds the first, half and the last of its VRPs will have lapsed. Routers have a clock of their own,
    `nnix trust routers`."""
    import numpy as np

    from nnix.planes.trust.validate import accepted

    now = clock()
    expires = np.sort(np.concatenate([accepted(archive, each).expires for each in entry.body["anchors"].values()]))
    marks = {"first": 0, "half": len(expires) // 2, "last": -1}
    lapse = {name: int(expires[at]) - int(now.timestamp()) for name, at in marks.items()} if len(expires) else {}
    return int((now - entry.at).total_seconds()), lapse


def _cache_clocks(setting: Setting, party: str) -> list[dict[str, Any]]:
    """Of each cache that hands out what `party` writes: how old that is, how long it still may be, and of its routers how soon the first would have
    nothing left if the cache died now. Nothing of caches that cannot be asked, which `nnix trust routers` tells."""
    model = setting.book.model()
    party_now = model.snapshot.get(RelyingParty, party)
    caches = [each for each in model.snapshot.of(RtrCache) if party_now is not None and each.source == party_now.serves]
    if not caches or os.geteuid() != 0:
        return []
    status, _ = setting.run(_of_the_exchange(setting))
    now, found = clock().timestamp(), []
    for cache in caches:
        table = next((each for each in status.get(cache.name, {}).get("tables", ()) if each["name"] == "vrps"), None)
        if table is None:
            continue
        written = max(0.0, now - status[cache.name]["written"])
        in_step = [each["in_step_seconds"] + written for each in table["peers"] if each.get("in_step_seconds") is not None]
        age = None if table["built"] is None else round(now - table["built"])
        found.append({
            "cache": cache.name,
            "age_seconds": age,
            "handed_out_for_seconds": None if age is None else round(cache.age_max.seconds) - age,
            "routers": len(in_step),
            "routers_keep_for_seconds": round(cache.expire.seconds - max(in_step)) if in_step else None,
        })  # fmt: skip
    return found


def _clock_rows(age_seconds: int, lapse: Mapping[str, int], caches: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    if lapse:
        first, half, last = (f"{seconds / 3600:.1f} h" for seconds in lapse.values())
        yield "objects", f"validated {span(age_seconds)} ago", f"the first VRP lapses in {first}, half have in {half}, the last in {last}"
    for each in caches:
        if each["age_seconds"] is not None:
            yield (
                f"data of {each['cache']}",
                f"{span(each['age_seconds'])} old",
                f"are handed out for {span(each['handed_out_for_seconds'])} more",
            )
        if each["routers"]:
            words = f"keep what they have for {span(each['routers_keep_for_seconds'])} or longer, should the cache die now"
            yield f"routers of {each['cache']}", f"{each['routers']} have it", words


def _tried(setting: Setting, party: str) -> dict[str, Any]:
    """How the loop's newest round for `party` went; empty where it made none."""
    try:
        found = json.loads(tries_file(setting).read_bytes()).get(party, {})
    except (OSError, ValueError):
        return {}
    return dict(found)


def newest(setting: Setting, party: str | None, moment: datetime | None) -> Entry:
    """The newest validation, of `party` where it is named, until `moment`. Raises LookupError."""
    if not setting.begun:
        raise LookupError(f"nothing was validated in {setting.state} yet; `nnix trust validate DIR` does")
    fitting = (
        each
        for each in setting.ledger.backwards(VALIDATED)
        if (party is None or each.body["relying_party"] == party) and (moment is None or each.at <= moment)
    )
    if (found := next(fitting, None)) is None:
        raise LookupError(
            "nothing was validated"
            + (f" until {moment:%Y-%m-%d %H:%M:%S}" if moment else "")
            + "; `nnix log --what validated` lists what was"
        )
    return found


@trust_group.command("at")
@click.argument("moment", metavar="TIME")
@click.option("--party", metavar="NAME", help="Which relying party, where there are several.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write what was served then into this file.")
@json_option
@pass_setting
def at_command(setting: Setting, moment: str, party: str | None, output: Path | None, as_json: bool) -> int:
    """Validate again as of TIME, from the archive: the same mirror, anchors and exceptions, with the validators' clock set back.

    \b
      nnix trust at 2026-11-25T09:00

    Exit status 3: it does not come to the digest that was served then. The words say what differs; another version of a validator may be why.
    """
    from nnix.planes.trust.validate import Order

    when = moment_of(moment)
    as_root(setting, for_now=True)
    entry = newest(setting, party, when)
    archive = archive_of(setting)
    order = Order.of(archive, entry.body["order"])
    made = _carry_out(setting, order, f"{entry.body['relying_party']}-again", set_clock=True)
    same = made.payloads.digest == entry.body["digest"]
    versions = [
        f"{name} is {number} now and was {entry.body['validators'][name]['version']} then"
        for name, number in made.versions.items()
        if number != entry.body["validators"][name]["version"]
    ]
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        put_whole(output, made.document)
    if as_json:
        tables.as_json({"entry": entry.seq, "at": order.at.isoformat(), "digest": made.payloads.digest, "then": entry.body["digest"], "same": same,
                        "vrps": len(made.payloads), "versions": versions})  # fmt: skip
    else:
        tables.out.print(
            f"entry {entry.seq}, validated {order.at:%Y-%m-%d %H:%M:%S} UTC: {len(made.payloads)} VRPs, digest {made.payloads.digest[:16]}"
        )
        for each in versions:
            tables.out.print(f"  · {each}", markup=False)
        tables.out.print(
            "✓ the same as was served then" if same else f"✗ then {entry.body['vrps']} VRPs were served, digest {entry.body['digest'][:16]}"
        )
    return DONE if same else DISAGREES


@trust_group.command("slurm")
@folder_argument
@pass_setting
def slurm_command(setting: Setting, folder: Path) -> int:
    """The local exceptions in force as a SLURM file (RFC 8416), for other relying parties: approved as they stand, and not at their end."""
    exceptions, waiting = _approved(setting, said(setting, folder).snapshot)
    for each in waiting:
        tables.err.print(each, markup=False)
    tables.as_json(slurm.document(slurm.in_force(exceptions, clock())))
    return DONE


@trust_group.command("routers")
@click.argument("folders", type=click.Path(path_type=Path), nargs=-1, metavar="[STATE]...")
@json_option
@pass_setting
def routers_command(setting: Setting, folders: tuple[Path, ...], as_json: bool) -> int:
    """Who takes VRPs by RTR: version, serial, how far behind, when last asked; of each table, how old its data are.

    \b
      nnix trust routers                     all caches of the exchange
      nnix trust routers /var/lib/nnix/rtr   a server that was started by hand

    STATE is the `state` folder of an RTR server, or several. Exit status 3: a table is held or has no data, or a cache does not run.
    """
    from nnix.planes.trust.rtr.routers import COLUMNS, rows

    status, troubles = _by_hand(folders) if folders else setting.run(_of_the_exchange(setting))
    now = clock().timestamp()
    found = {name: list(rows(each, now)) for name, each in status.items()}
    if as_json:
        tables.as_json({**status, **{name: {"trouble": words} for name, words in troubles.items()}})
    else:
        tables.table("", ("cache", *COLUMNS), [(name, *row) for name, seen in found.items() for row in seen])
    for name, words in troubles.items():
        tables.err.print(f"✗ {name}: {words}", markup=False)
    return DONE if not troubles and all(row.state == "serving" for seen in found.values() for row in seen) else DISAGREES


def _by_hand(folders: tuple[Path, ...]) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    from nnix.planes.trust.rtr.routers import read_status

    try:
        return {str(folder): read_status(folder) for folder in folders}, {}
    except OSError as error:
        raise click.UsageError(f"no RTR server can be asked there: {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise click.UsageError(f"no RTR server can be asked there: {error}") from None


async def _of_the_exchange(setting: Setting) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """Each cache's status; and, in words, why others cannot be asked."""
    begun(setting)
    snapshot = setting.book.model().snapshot
    status: dict[str, Mapping[str, Any]] = {}
    troubles: dict[str, str] = {}
    caches = snapshot.of(RtrCache)
    if not caches:
        raise LookupError("the exchange has no RtrCache; docs/rtr.md says how to declare one")
    for cache in caches:
        try:
            status[cache.name] = await cache_status(cache, setting.machines)
        except (Unreachable, Failed) as error:
            troubles[cache.id] = str(error)
    return status, troubles


COMMANDS = (trust_group,)
