"""nnix trust what-if, forecast, advice: what would become of the exchange's own routes."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnix.cli import tables
from nnix.cli.command import DISAGREES, DONE, as_root, begun, json_option, pass_setting
from nnix.cli.root import Setting
from nnix.cli.trust import archive_of, newest
from nnix.hosts.namespace import NamespaceHost
from nnix.kernel.ledger import Entry
from nnix.planes.routing.read import refused_routes
from nnix.planes.routing.routes import routes_of

if TYPE_CHECKING:  # NumPy takes long to import, and most commands need none
    import numpy as np
    from numpy.typing import NDArray

    from nnix.planes.trust.advice import Advice, Checked
    from nnix.planes.trust.archive import Archive
    from nnix.planes.trust.payloads import Vrp
    from nnix.planes.trust.whatif import Consequence, Forecast, Routes

SHOWN_MAX = 40
HORIZONS_HOURS = (8, 24, 48, 168)
INVALID = "rpki_invalid"
"""the reason under which route servers refuse what the RPKI makes Invalid"""
ASN_WRITTEN = re.compile(r"(?:[Aa][Ss])?([0-9]{1,10})")
PREFIX_WRITTEN = re.compile(r"[0-9A-Fa-f.:]{2,43}/[0-9]{1,3}(?:-[0-9]{1,3})?")
"""ip_network() takes zones, netmasks and single addresses as well, and int() takes 1_0 and +24"""
NEVER = 1 << 62
"""when a VRP expires that a local exception put in; its own end is in `nnix get local-exception`"""

routes_option = click.option(
    "--routes",
    "routes_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `nnix routes --json` printed, instead of asking the route servers.",
)
party_option = click.option("--party", metavar="NAME", help="Which relying party, where there are several.")


def _routes(setting: Setting, routes_file: Path | None) -> Routes:
    """What members announce, each member's route once, whichever route servers have it: what these have accepted, and what they refused as Invalid alone,
    since a ROA that comes may let it in."""
    from nnix.planes.trust.whatif import Route, Routes

    if routes_file is not None:
        try:
            listed = [_listed(each) for each in _list(json.loads(routes_file.read_bytes()))]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise click.UsageError(f"{routes_file} is not what `nnix routes --json` prints: {error}") from None
    else:
        begun(setting)
        as_root(setting)
        listed = setting.run(_live(setting))
    return Routes(dict.fromkeys(Route(ip_network(prefix), _origin(path), member) for prefix, path, member in listed))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("it is no list")
    return value


def _listed(each: Any) -> tuple[str, str, str]:
    """(prefix, path, member) of a route in a file. Raises ValueError, KeyError, TypeError."""
    prefix, path, member = each["prefix"], each["as_path"], each["member"]
    if not (isinstance(prefix, str) and isinstance(path, str) and isinstance(member, str)):
        raise TypeError(f"prefix, as_path and member are not all words in {each!r:.80}")
    ip_network(prefix)
    if not 0 <= _origin(path) < 1 << 32:
        raise ValueError(f"{path[-40:]!r} ends in an AS beyond 32 bits")
    return prefix, path, member


async def _live(setting: Setting) -> list[tuple[str, str, str]]:
    """(prefix, path, member) of the running route servers."""
    snapshot = setting.book.model().snapshot
    accepted = [(each.prefix, each.as_path, each.member) for each in await routes_of(snapshot, setting.machines)]
    refused = await refused_routes(snapshot, setting.machines)
    return accepted + [(each.prefix, each.as_path, each.member) for each in refused if each.reason == INVALID]


def _origin(path: str) -> int:
    """The last AS of a path; 0 where it ends in a set."""
    last = path.split()[-1:] or [""]
    return int(last[0]) if last[0].isascii() and last[0].isdigit() else 0


def _forecast(setting: Setting, party: str | None, routes_file: Path | None) -> tuple[Forecast, NDArray[np.int64], Entry, Archive]:
    """Routes against what is served now; and when each served VRP expires."""
    import numpy as np

    from nnix.planes.trust.payloads import Payloads, both
    from nnix.planes.trust.validate import accepted
    from nnix.planes.trust.whatif import Forecast

    entry = newest(setting, party, None)
    archive = archive_of(setting)
    rows = Payloads.of(archive.get(entry.body["digest"])).vrps
    expires = np.full(len(rows), NEVER, dtype=np.int64)
    for record in entry.body["anchors"].values():
        each = accepted(archive, record)
        mine, theirs = both(rows, each.rows)
        expires[mine] = each.expires[theirs]
    return Forecast(_routes(setting, routes_file), rows), expires, entry, archive


def _roa(text: str) -> tuple[Vrp, ...]:
    """PREFIX[-MAXLENGTH][,PREFIX…],ASN: the VRPs of one ROA."""
    from nnix.planes.trust.payloads import Vrp

    *prefixes, asn = text.split(",")
    found = []
    try:
        if not (spelled := ASN_WRITTEN.fullmatch(asn)) or not all(map(PREFIX_WRITTEN.fullmatch, prefixes)):
            raise ValueError(text)
        origin = int(spelled[1])
        for each in prefixes:
            network, _, longest = each.partition("-")
            parsed = ip_network(network)
            found.append(Vrp(parsed, int(longest or parsed.prefixlen), origin))
    except ValueError:
        found = []
    if not found:
        raise click.BadParameter(f"{text!r} is not like 192.0.2.0/24-25,AS64496")
    if any(not each.prefix.prefixlen <= each.length_max <= each.prefix.max_prefixlen for each in found) or not 0 <= origin < 1 << 32:
        raise click.BadParameter(f"{text!r}: a maximum length from that of the prefix to that of its family, and an AS of 32 bits")
    return tuple(found)


def _roas(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Vrp, ...]:
    return tuple(vrp for each in values for vrp in _roa(each))


def _changes(context: click.Context, parameter: click.Parameter, values: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    for old, new in values:
        _roa(new)
        if not old.endswith(".roa"):
            _roa(old)
    return values


@click.command("what-if")
@click.option("--object", "path", metavar="PATH", help="This ROA vanishes (HOST/MODULE/…/x.roa), or this CA with all below it (…/folder/).")
@click.option("--anchor", metavar="NAME", help="This trust anchor vanishes.")
@click.option(
    "--change",
    "changes",
    type=(str, str),
    multiple=True,
    callback=_changes,
    metavar="OLD NEW",
    help="This ROA becomes that one. OLD may be its PATH.",
)
@click.option("--remove", multiple=True, callback=_roas, metavar="ROA", help="These VRPs vanish: 192.0.2.0/24-25,AS64496.")
@click.option("--add", multiple=True, callback=_roas, metavar="ROA", help="This ROA comes: its dry run.")
@routes_option
@party_option
@json_option
@pass_setting
def what_if(
    setting: Setting,
    path: str | None,
    anchor: str | None,
    changes: tuple[tuple[str, str], ...],
    remove: tuple[Vrp, ...],
    add: tuple[Vrp, ...],
    routes_file: Path | None,
    party: str | None,
    as_json: bool,
) -> int:
    """Which of the members' routes change their validity when a ROA, a CA or a trust anchor goes, comes or changes. Nothing is touched.

    \b
      nnix trust what-if --object rpki.example.net/repo/tea-hill/1.roa
      nnix trust what-if --object rpki.example.net/repo/tea-hill/
      nnix trust what-if --anchor apnic
      nnix trust what-if --change 192.0.2.0/24,AS64496 192.0.2.0/24-25,AS64496
      nnix trust what-if --change rpki.example.net/repo/tea-hill/1.roa 192.0.2.0/24,198.51.100.0/24,AS64497

    A ROA is written as its prefixes, each with a maximum length where it has one, and its AS. What another object says as well does not vanish. A CA
    takes along the CAs that its certificates lead to.
    """
    import numpy as np

    from nnix.planes.trust.payloads import both, rows_of
    from nnix.planes.trust.validate import accepted

    if not (path or anchor or changes or remove or add):
        raise click.UsageError("say what goes, comes or changes: --object, --anchor, --change, --remove or --add")
    made, _, entry, archive = _forecast(setting, party, routes_file)
    removed, added = set(remove), set(add)
    if path is not None:
        removed |= _said_at(entry, archive, path)
    for old, new in changes:
        removed |= _said_at(entry, archive, old) if old.endswith(".roa") else _there(made, _roa(old))
        added |= set(_roa(new))
    gone = rows_of(removed - added)  # what the old ROA and the new one both say stays
    if anchor is not None:
        if anchor not in entry.body["anchors"]:
            raise click.UsageError(f"no trust anchor {anchor!r}; there are: {', '.join(entry.body['anchors'])}")
        below = {name: accepted(archive, record).rows for name, record in entry.body["anchors"].items()}
        alone = below.pop(anchor)
        for other in below.values():
            alone = alone[~both(alone, other)[0]]
        gone = np.concatenate([alone, gone]) if len(alone) else gone
    present = [row for row in map(made.at, gone) if row is not None]
    _told(made, made.changed(np.unique(np.array(present, dtype=np.intp)), rows_of(added)), len(set(present)), as_json)
    return DONE


def _said_at(entry: Entry, archive: Archive, path: str) -> set[Vrp]:
    """The VRPs that are said at a path of the mirror and nowhere else. Raises a usage error where nothing is said."""
    from nnix.planes.trust.objects import said_below

    path = path.removeprefix("rsync://")
    files = [
        (name, archive.get(digest)) for name, digest in archive.files(entry.body["mirror"]["index"]) if name.endswith((".roa", ".cer"))
    ]
    said, elsewhere = said_below(path, files)
    if not said:
        raise click.UsageError(f"the mirror has no ROA at {path}")
    return said - elsewhere


def _there(made: Forecast, vrps: tuple[Vrp, ...]) -> set[Vrp]:
    """`vrps`, all of which must be served: a change of what is not there is a mistake. Raises a usage error."""
    from nnix.planes.trust.payloads import rows_of

    for each in vrps:
        if made.at(rows_of([each])[0]) is None:
            raise click.UsageError(f"no VRP {each} is served, so it cannot change; --add is for a ROA that is new")
    return set(vrps)


def _told(made: Forecast, found: Consequence, vrps: int, as_json: bool) -> None:
    turns = found.turns()
    counts = {f"{before} → {after}": count for (before, after), count in sorted(found.counts.items())}
    by_member = Counter(each.route.member for each in turns if str(each.after) == "Invalid")
    if as_json:
        tables.as_json({"routes": len(made.routes), "vrps_gone": vrps, "turns": counts, "invalid_by_member": dict(by_member),
                        "changed": [{"prefix": str(t.route.prefix), "origin": t.route.origin, "member": t.route.member, "before": str(t.before), "after": str(t.after)} for t in turns]})  # fmt: skip
        return
    words = ", ".join(f"{count} {turn}" for turn, count in counts.items()) or "no route changes"
    tables.out.print(f"{vrps} served VRPs go; of {len(made.routes)} routes: {words}")
    for each in turns[:SHOWN_MAX]:
        tables.out.print(f"  {each}", markup=False)
    if len(turns) > SHOWN_MAX:
        tables.out.print(f"  … and {len(turns) - SHOWN_MAX} more (--json has all)")
    if by_member:
        tables.out.print(
            "route servers would throw out: " + ", ".join(f"{count} of {name}" for name, count in by_member.most_common()), markup=False
        )


@click.command()
@click.option(
    "--hours", type=click.IntRange(0, 24 * 366), multiple=True, help="After how many hours; may be given several times. [8 24 48 168]"
)
@click.option("--member", metavar="NAME", help="Only this member.")
@routes_option
@party_option
@json_option
@pass_setting
def forecast(
    setting: Setting, hours: tuple[int, ...], member: str | None, routes_file: Path | None, party: str | None, as_json: bool
) -> int:
    """What is left of the served VRPs, and of members' validity, if nothing is renewed from now on: as when foreign links are cut.

    Counted from the last validation. A VRP lapses when a certificate, manifest or CRL above it does; a route can turn Invalid by it when another
    VRP that covers it lives on.
    """
    import numpy as np

    made, expires, entry, _ = _forecast(setting, party, routes_file)
    begun_at = int(entry.at.timestamp())
    rows: list[dict[str, Any]] = []
    for horizon in (0, *(hours or HORIZONS_HOURS)):
        found = made.expired(expires, begun_at + horizon * 3600)
        alive = int((expires > begun_at + horizon * 3600).sum())
        shares = made.members(found)
        if member is not None:
            if member not in shares:
                raise click.UsageError(f"{member!r} announces nothing that is accepted, or refused as Invalid")
            shares = {member: shares[member]}
        total: Counter[str] = Counter()
        for name, counts in shares.items():
            spelled = {str(each): count for each, count in counts.items()}
            total.update(spelled)
            rows.append({"hours": horizon, "member": name, "vrps_alive": alive, **_three(spelled)})
        rows.append({"hours": horizon, "member": None, "vrps_alive": alive, **_three(total)})
    lapses = _lapses(made, expires, member)
    if as_json:
        prefixes = [{"prefix": prefix, "origin": origin, "until": until, "then": then} for prefix, origin, until, then in lapses]
        tables.as_json({"validated": entry.at.isoformat(), "vrps": len(made.vrps), "forecast": rows, "prefixes": prefixes})
        return DONE
    share = 100 / max(len(made.vrps), 1)
    tables.out.print(f"{len(made.vrps)} VRPs served, validated {entry.at:%Y-%m-%d %H:%M} UTC; {len(made.routes)} routes\n")
    shown = [r for r in rows if r["member"] is None or member is not None or r["Invalid"] or r["hours"] == 0]
    tables.table(
        "",
        ("after", "VRPs alive", "member", "Valid", "Invalid", "NotFound"),
        [
            (f"{r['hours']} h", f"{r['vrps_alive'] * share:.0f} %", r["member"] or "all", r["Valid"], r["Invalid"], r["NotFound"])
            for r in shown
        ],
    )
    if member is not None:
        tables.out.print()
        told = ((prefix, f"AS{origin}", _after(until, begun_at), then) for prefix, origin, until, then in lapses)
        tables.table("", ("prefix", "origin", "is Valid for", "then"), told)
    lasting = np.sort(expires[expires < NEVER])
    if lasting.size:
        first, last = ((int(lasting[at]) - begun_at) / 3600 for at in (0, -1))
        tables.out.print(f"\nthe first VRP lapses {first:.1f} h after the validation, the last after {last:.1f} h")
    return DONE


def _lapses(made: Forecast, expires: NDArray[np.int64], member: str | None) -> list[tuple[str, int, int | None, str]]:
    """(prefix, origin, until when it is Valid, what then) of a member's routes that are Valid, the first to go first; until is None where only a local
    exception holds it. Nothing without a member."""
    found: list[tuple[str, int, int | None, str]] = []
    for row in range(len(made.routes)) if member is not None else ():
        route = made.routes.route(row)
        if route.member == member and (lapse := made.lapse(row, expires)) is not None:
            until, then = lapse
            found.append((str(route.prefix), route.origin, until if until < NEVER else None, str(then)))
    return sorted(found, key=lambda each: (each[2] or NEVER, each[0]))


def _after(until: int | None, begun_at: int) -> str:
    return "as long as its exception" if until is None else f"{(until - begun_at) / 3600:.1f} h"


def _three(counts: dict[str, int] | Counter[str]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in ("Valid", "Invalid", "NotFound")}


@click.command()
@click.argument("member")
@routes_option
@party_option
@json_option
@pass_setting
def advice(setting: Setting, member: str, routes_file: Path | None, party: str | None, as_json: bool) -> int:
    """The ROAs that a member should create, for its routes that are not Valid; and whose routes each would break.

    One prefix a ROA, no more specifics (RFC 9319). BIRD is asked what it makes of these routes with the new ROAs, each alone and all together; where its
    verdict differs from ours, that is told and nothing is advised (exit status 3). `nnix trust what-if --add` shows in full what a ROA does.
    """
    from nnix.planes.trust import advice as roas

    made, _, _, _ = _forecast(setting, party, routes_file)
    if member not in made.routes.names:
        raise click.UsageError(f"{member!r} announces nothing that is accepted, or refused as Invalid")
    found = roas.advised(made, member)
    proof = roas.Checked((), "", {}, ())
    if found:
        with tempfile.TemporaryDirectory(prefix="nnix-advice-") as folder:
            proof = setting.run(roas.checked(made, member, found, NamespaceHost("advice", None, Path(folder)), "bird"))
    if proof.findings:
        _disagreed(proof, as_json)
        return DISAGREES
    if as_json:
        tables.as_json([_advice_record(each, proof) for each in proof.advice])
    elif not found:
        tables.out.print(f"✓ every route of {member} is Valid")
    for each in () if as_json else proof.advice:
        tables.out.print(f"· {each}", markup=False)
        for route in proof.routes[each.vrp][:SHOWN_MAX]:
            tables.out.print(f"    {route}", markup=False)
        if len(proof.routes[each.vrp]) > SHOWN_MAX:
            tables.out.print(f"    … and {len(proof.routes[each.vrp]) - SHOWN_MAX} more (--json has all)")
    if found and not as_json:
        tables.out.print(
            f"\nBIRD {proof.version} says the same of all {len(proof.together)} routes, with each ROA alone and with all of them"
        )
    return DONE


def _disagreed(proof: Checked, as_json: bool) -> None:
    """The finding in place of advice. Programs find no list, so that none takes it for advice."""
    if as_json:
        tables.as_json({"bird": proof.version, "findings": list(proof.findings)})
        return
    tables.out.print(f"BIRD {proof.version} and we differ, so nothing is advised:")
    for each in proof.findings:
        tables.out.print(f"  · {each}", markup=False)


def _advice_record(each: Advice, proof: Checked) -> dict[str, Any]:
    return {
        "prefix": str(each.vrp.prefix),
        "maxLength": each.vrp.length_max,
        "asn": each.vrp.origin,
        "mends": each.mends,
        "breaks": [{"prefix": str(t.route.prefix), "origin": t.route.origin, "member": t.route.member} for t in each.breaks],
        "bird": proof.version,
        "routes": [
            {"prefix": str(r.prefix), "origin": r.origin, "members": list(r.members),
             "before": str(r.before), "after": str(r.after), "bird_before": str(r.bird_before), "bird_after": str(r.bird_after)}
            for r in proof.routes[each.vrp]
        ],
    }  # fmt: skip


COMMANDS = (what_if, forecast, advice)
