"""nnix trust what-if, forecast, advice: what would become of the exchange's own routes."""

from __future__ import annotations

import json
from collections import Counter
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnix.cli import tables
from nnix.cli.command import DONE, as_root, begun, json_option, pass_setting
from nnix.cli.root import Setting
from nnix.cli.trust import archive_of, newest
from nnix.kernel.ledger import Entry
from nnix.planes.routing.routes import routes_of

if TYPE_CHECKING:  # NumPy takes long to import, and most commands need none
    import numpy as np
    from numpy.typing import NDArray

    from nnix.planes.trust.archive import Archive
    from nnix.planes.trust.payloads import Vrp
    from nnix.planes.trust.whatif import Consequence, Forecast, Routes

SHOWN_MAX = 40
HORIZONS_HOURS = (8, 24, 48, 168)
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
    """The accepted routes of the exchange, each member's once, whichever route servers have it."""
    from nnix.planes.trust.whatif import Route, Routes

    if routes_file is not None:
        try:
            listed = [(each["prefix"], each["as_path"], each["member"]) for each in json.loads(routes_file.read_bytes())]
        except (ValueError, KeyError, TypeError):
            raise click.UsageError(f"{routes_file} is not what `nnix routes --json` prints") from None
    else:
        begun(setting)
        as_root(setting)
        found = setting.run(routes_of(setting.book.model().snapshot, setting.machines))
        listed = [(each.prefix, each.as_path, each.member) for each in found]
    return Routes(dict.fromkeys(Route(ip_network(prefix), _origin(path), member) for prefix, path, member in listed))


def _origin(path: str) -> int:
    """The last AS of a path; 0 where it ends in a set."""
    last = path.split()[-1:] or [""]
    return int(last[0]) if last[0].isdigit() else 0


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


def _vrp(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Vrp, ...]:
    """PREFIX[-MAXLENGTH],ASN"""
    from nnix.planes.trust.payloads import Vrp

    found = []
    for text in values:
        prefix, _, asn = text.partition(",")
        network, _, longest = prefix.partition("-")
        try:
            parsed = ip_network(network)
            vrp = Vrp(parsed, int(longest or parsed.prefixlen), int(asn.upper().removeprefix("AS")))
        except ValueError:
            raise click.BadParameter(f"{text!r} is not like 192.0.2.0/24-25,AS64496") from None
        if not parsed.prefixlen <= vrp.length_max <= parsed.max_prefixlen or not 0 <= vrp.origin < 1 << 32:
            raise click.BadParameter(f"{text!r}: a maximum length of {parsed.prefixlen} to {parsed.max_prefixlen}, and an AS of 32 bits")
        found.append(vrp)
    return tuple(found)


@click.command("what-if")
@click.option("--object", "path", metavar="PATH", help="This ROA vanishes (HOST/MODULE/…/x.roa), or this CA with all below it (…/folder/).")
@click.option("--anchor", metavar="NAME", help="This trust anchor vanishes.")
@click.option("--remove", multiple=True, callback=_vrp, metavar="VRP", help="This VRP vanishes: 192.0.2.0/24-25,AS64496.")
@click.option("--add", multiple=True, callback=_vrp, metavar="VRP", help="This VRP comes: the dry run of a ROA.")
@routes_option
@party_option
@json_option
@pass_setting
def what_if(
    setting: Setting,
    path: str | None,
    anchor: str | None,
    remove: tuple[Vrp, ...],
    add: tuple[Vrp, ...],
    routes_file: Path | None,
    party: str | None,
    as_json: bool,
) -> int:
    """Which accepted routes change their validity when a ROA, a CA, a trust anchor or a VRP goes or comes. Nothing is touched.

    \b
      nnix trust what-if --object rpki.example.net/repo/tea-hill/1.roa
      nnix trust what-if --object rpki.example.net/repo/tea-hill/
      nnix trust what-if --anchor apnic
      nnix trust what-if --remove 192.0.2.0/24,AS64496 --add 192.0.2.0/24-25,AS64496

    What another object says as well does not vanish. A CA takes along the CAs that its certificates lead to.
    """
    import numpy as np

    from nnix.planes.trust.objects import said_below
    from nnix.planes.trust.payloads import both, rows_of
    from nnix.planes.trust.validate import accepted

    if not (path or anchor or remove or add):
        raise click.UsageError("say what goes or comes: --object, --anchor, --remove or --add")
    made, _, entry, archive = _forecast(setting, party, routes_file)
    gone = rows_of(remove)
    if path is not None:
        path = path.removeprefix("rsync://")
        files = [
            (name, archive.get(digest)) for name, digest in archive.files(entry.body["mirror"]["index"]) if name.endswith((".roa", ".cer"))
        ]
        said, elsewhere = said_below(path, files)
        if not said:
            raise click.UsageError(f"the mirror has no ROA at {path}")
        gone = rows_of({*remove, *(said - elsewhere)})
    if anchor is not None:
        if anchor not in entry.body["anchors"]:
            raise click.UsageError(f"no trust anchor {anchor!r}; there are: {', '.join(entry.body['anchors'])}")
        below = {name: accepted(archive, record).rows for name, record in entry.body["anchors"].items()}
        alone = below.pop(anchor)
        for other in below.values():
            alone = alone[~both(alone, other)[0]]
        gone = rows_of(remove) if not len(alone) else np.concatenate([alone, gone])
    present = [row for row in map(made.at, gone) if row is not None]
    _told(made, made.changed(np.unique(np.array(present, dtype=np.intp)), rows_of(add)), len(set(present)), as_json)
    return DONE


def _told(made: Forecast, found: Consequence, vrps: int, as_json: bool) -> None:
    turns = found.turns()
    counts = {f"{before} → {after}": count for (before, after), count in sorted(found.counts.items())}
    by_member = Counter(each.route.member for each in turns if str(each.after) == "Invalid")
    if as_json:
        tables.as_json({"routes": len(made.routes), "vrps_gone": vrps, "turns": counts, "invalid_by_member": dict(by_member),
                        "changed": [{"prefix": str(t.route.prefix), "origin": t.route.origin, "member": t.route.member, "before": str(t.before), "after": str(t.after)} for t in turns]})  # fmt: skip
        return
    words = ", ".join(f"{count} {turn}" for turn, count in counts.items()) or "no route changes"
    tables.out.print(f"{vrps} served VRPs go; of {len(made.routes)} accepted routes: {words}")
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
                raise click.UsageError(f"{member!r} announces nothing that is accepted")
            shares = {member: shares[member]}
        total: Counter[str] = Counter()
        for name, counts in shares.items():
            spelled = {str(each): count for each, count in counts.items()}
            total.update(spelled)
            rows.append({"hours": horizon, "member": name, "vrps_alive": alive, **_three(spelled)})
        rows.append({"hours": horizon, "member": None, "vrps_alive": alive, **_three(total)})
    if as_json:
        tables.as_json({"validated": entry.at.isoformat(), "vrps": len(made.vrps), "forecast": rows})
        return DONE
    share = 100 / max(len(made.vrps), 1)
    tables.out.print(f"{len(made.vrps)} VRPs served, validated {entry.at:%Y-%m-%d %H:%M} UTC; {len(made.routes)} accepted routes\n")
    shown = [r for r in rows if r["member"] is None or member is not None or r["Invalid"] or r["hours"] == 0]
    tables.table(
        "",
        ("after", "VRPs alive", "member", "Valid", "Invalid", "NotFound"),
        [
            (f"{r['hours']} h", f"{r['vrps_alive'] * share:.0f} %", r["member"] or "all", r["Valid"], r["Invalid"], r["NotFound"])
            for r in shown
        ],
    )
    lasting = np.sort(expires[expires < NEVER])
    if lasting.size:
        first, last = ((int(lasting[at]) - begun_at) / 3600 for at in (0, -1))
        tables.out.print(f"\nthe first VRP lapses {first:.1f} h after the validation, the last after {last:.1f} h")
    return DONE


def _three(counts: dict[str, int] | Counter[str]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in ("Valid", "Invalid", "NotFound")}


@click.command()
@click.argument("member")
@routes_option
@party_option
@json_option
@pass_setting
def advice(setting: Setting, member: str, routes_file: Path | None, party: str | None, as_json: bool) -> int:
    """The ROAs that a member should create, for its accepted routes that are not Valid; and whose routes each would break.

    One prefix a ROA, no more specifics (RFC 9319). `nnix trust what-if --add` shows in full what one does.
    """
    made, _, _, _ = _forecast(setting, party, routes_file)
    if member not in made.routes.names:
        raise click.UsageError(f"{member!r} announces nothing that is accepted")
    found = made.advice(member)
    if as_json:
        tables.as_json([{"prefix": str(each.vrp.prefix), "maxLength": each.vrp.length_max, "asn": each.vrp.origin, "mends": each.mends,
                         "breaks": [{"prefix": str(t.route.prefix), "origin": t.route.origin, "member": t.route.member} for t in each.breaks]} for each in found])  # fmt: skip
    elif not found:
        tables.out.print(f"✓ every accepted route of {member} is Valid")
    for each in () if as_json else found:
        tables.out.print(f"· {each}", markup=False)
    return DONE


COMMANDS = (what_if, forecast, advice)
