"""nnix prove: what would happen, worked out before anything is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnix.cli import tables
from nnix.cli.command import DONE, REFUSED, begun, json_option, pass_setting
from nnix.cli.files import admitted
from nnix.cli.root import Setting
from nnix.kernel.document import nearest
from nnix.kernel.resource import BitRate
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Circuit, Lan, Port
from nnix.planes.fabric.levels import ORDER, Levels
from nnix.planes.fabric.prove.mend import mends, removes
from nnix.planes.fabric.prove.network import Failure, Part
from nnix.planes.fabric.prove.promises import Breach, breaches, unpinned

if TYPE_CHECKING:  # NumPy takes long to import, and most commands need none
    from nnix.planes.fabric.prove.survival import Case, Pairs, Survival

SHOWN_MAX = 10
FACTOR = 0.2


@click.group("prove")
def prove_group() -> None:
    """What would happen if something failed: proved on the files, before anything is touched."""


@prove_group.command("fabric")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--pairs", is_flag=True, help="Every two failures at once as well (N-2).")
@click.option("--failure", "named", multiple=True, metavar="NAME", help="Only this one, in full; given twice: both at once.")
@click.option("--levels", "show_levels", is_flag=True, help="Instead: how far traffic between sites reaches, and which failure widens it.")
@click.option(
    "--matrix", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Measured traffic: CSV with a,b,bits_per_second."
)
@click.option(
    "--factor",
    type=click.FloatRange(0, 1),
    default=FACTOR,
    show_default=True,
    help="Without any matrix: what members send of what they bought.",
)
@click.option(
    "--fen-per-km-gbit", "price", type=click.IntRange(min=1), help="Price of a new link per km and Gbit/s, for the cost of mends."
)
@json_option
@pass_setting
def fabric(
    setting: Setting,
    folder: Path | None,
    pairs: bool,
    named: tuple[str, ...],
    show_levels: bool,
    matrix: Path | None,
    factor: float,
    price: int | None,
    as_json: bool,
) -> int:
    """Which members and circuits are cut off, and what links then carry, if a link, a site, a carrier, its hand-off, a gateway or a route reflector failed.

    Of DIR, or of the model. Links are loaded from a measured matrix (--matrix), else from declared Traffic, else by a guess from what
    ports have bought; the first lines say which. Circuits are added with their capacity.

    \b
      nnix prove fabric examples/zhejiang
      nnix prove fabric examples/zhejiang --pairs
      nnix prove fabric examples/zhejiang --failure link/hangzhou-ningbo
      nnix prove fabric examples/zhejiang --failure site/ningbo --failure carrier/unicom
      nnix prove fabric examples/zhejiang --levels

    Exit status 1: a promise (`survives` of a Lan, Port or Circuit) would be broken.
    """
    snapshot = _snapshot(setting, folder)
    if show_levels:
        return _levels(snapshot, as_json)
    survival = _survival(snapshot, matrix, factor)
    if named:
        return _in_full(survival, [found_failure(survival, name) for name in named], price, as_json)
    cases = survival.alone()
    both = survival.in_pairs() if pairs else None
    broken = breaches(snapshot)
    if as_json:
        tables.as_json(_facts(survival, cases, both, broken, price))
    else:
        _overview(survival, snapshot, cases)
        _points(survival, cases, price)
        _worst(survival, cases)
        if both is not None:
            _pairs(survival, cases, both)
        _promises(snapshot, broken)
    return REFUSED if broken else DONE


def _snapshot(setting: Setting, folder: Path | None) -> Snapshot:
    if folder is not None:
        return admitted(folder, Snapshot()).snapshot
    begun(setting)
    return setting.book.model().snapshot


def _survival(snapshot: Snapshot, file: Path | None, factor: float) -> Survival:
    from nnix.planes.fabric.prove.network import network
    from nnix.planes.fabric.prove.survival import Survival
    from nnix.planes.fabric.prove.traffic import measured

    try:
        traffic = measured(file.read_bytes(), str(file), snapshot, network(snapshot)) if file else None
        return Survival(snapshot, traffic, factor)
    except ValueError as error:
        raise LookupError(str(error)) from None


def found_failure(survival: Survival, name: str) -> Failure:
    """What can fail under that name. Raises a usage error that suggests the right one."""
    by_name = {each.of: each for each in survival.failures}
    if name not in by_name:
        near = nearest(name, by_name)
        raise click.UsageError(
            f"nothing called {name!r} can fail" + (f"; did you mean {near}?" if near else "; link/NAME, site/NAME, carrier/NAME …")
        )
    return by_name[name]


# --- words


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _rate(bits_per_second: float) -> str:
    """To three digits: 1.31T."""
    if bits_per_second < 1:
        return "0"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if bits_per_second >= size:
            return f"{bits_per_second / size:.3g}{unit}"
    return f"{bits_per_second:.0f}bit/s"


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _busiest(survival: Survival, load: Any) -> str:
    found = survival.busiest(load)
    return "–" if found is None else f"{_percent(found.utilisation)} {found.link} to {found.towards}"


# --- tables


def _overview(survival: Survival, snapshot: Snapshot, cases: Sequence[Case]) -> None:
    net = survival.net
    tables.out.print(f"{len(net.sites)} sites, {len(net.links)} links, {len(net.homes)} members with ports", style="bold")
    tables.out.print(f"traffic   {survival.traffic.says}; {_rate(survival.traffic.offered)} in all", markup=False)
    if circuits := survival.circuits.all:
        tables.out.print(f"circuits  {len(circuits)}, with their capacity; {_rate(survival.circuits.offered)} in all", markup=False)
    normal = survival.normal()
    tables.out.print(f"normally  busiest: {_busiest(survival, normal.load)}\n", markup=False)
    rows = []
    for part in Part:
        of_part = [case for case in cases if case.outcome.failure.part is part]
        if not of_part:
            continue
        cut = [case for case in of_part if case.outcome.cut_off]
        behind = sum(1 for case in of_part if case.outcome.behind)
        full = sum(1 for case in of_part if survival.utilisation(case.load).max(initial=0) > 1)
        most = max(of_part, key=lambda case: len(case.outcome.cut_off))
        says = f"{len(most.outcome.cut_off)} ({most.outcome.failure.of})" if cut else "0"
        most_circuits = max(len(case.harm.hit) for case in of_part)
        rows.append((part.value, len(of_part), len(cut), behind, says, most_circuits, full))
    columns = ("what fails", "number", "cut members off", "of other sites", "most members", "most circuits", "a link above 100 %")
    tables.table("One failure", columns, rows)
    reflectors = [case.outcome.failure.of for case in cases if case.outcome.failure.part is Part.REFLECTOR]
    if reflectors:
        tables.out.print("Route reflectors: what is registered goes on being forwarded without them; new members wait.", style=tables.QUIET)


def _cuts_behind(case: Case) -> bool:
    """Whether members are cut off who were not at the very site that died, or circuits from ends that stand."""
    return bool(case.outcome.behind or case.harm.behind)


def _behind(case: Case) -> list[str]:
    """Who those are: members by name, then circuits by id."""
    return [*case.outcome.behind, *_circuits(case.harm.behind)]


def _circuits(names: Iterable[str]) -> list[str]:
    return [f"{Circuit.slug()}/{name}" for name in names]


def _points(survival: Survival, cases: Sequence[Case], price: int | None) -> None:
    points = [case for case in cases if _cuts_behind(case)]
    tables.out.print()
    if points:
        failures = [case.outcome.failure for case in points if not case.harm.over]
        rows = []
        for case in points:
            failure, behind = case.outcome.failure, _behind(case)
            shown = (failure.of, len(behind), _some(behind))
            links = mends(survival.net, failure, price) if len(case.harm.over) < len(behind) else ()
            for new in links:
                also = [each for each in removes(survival.net, new, failures) if each != failure.of]
                rows.append((*shown, str(new), _some(also) or "–"))
            rows += [(*shown, words, "–") for words in _unpinned(case)]
            if not links and not case.harm.over:
                rows.append((*shown, "–", "–"))
        tables.table("Single points of failure", ("what fails", "cut off", "members and circuits", "mend", "also mends"), rows)
    else:
        tables.out.print("Single points of failure: none. Whoever is cut off was only at the site that failed.", style="bold")
    alone = Counter({case.outcome.failure.of: len(case.outcome.own_site) for case in cases if case.outcome.own_site})
    if alone:
        said = ", ".join(f"{number} at {site}" for site, number in alone.most_common(SHOWN_MAX))
        tables.out.print(f"Members at one site only: {alone.total()} ({said}). Mend: a second port at another site.", markup=False)
    handed = [case for case in cases if case.outcome.failure.part is Part.GATEWAY and case.harm.hit]
    if handed:
        said = ", ".join(f"{len(case.harm.hit)} over {case.outcome.failure.of}" for case in handed[:SHOWN_MAX])
        total = len({each for case in handed for each in case.harm.hit})
        tables.out.print(
            f"Circuits handed over one cable only: {total} ({said}). Mend: a second gateway, and a circuit over it.", markup=False
        )


def _unpinned(case: Case) -> list[str]:
    """The mends of circuits that are pinned over what failed."""
    return [f"{circuit}: {unpinned(case.harm.over[circuit.partition('/')[2]])}" for circuit in _circuits(case.harm.over)]


def _worst(survival: Survival, cases: Sequence[Case]) -> None:
    def fullest(case: Case) -> float:
        return float(survival.utilisation(case.load).max(initial=0))

    by_load = sorted(cases, key=lambda case: (-fullest(case), case.outcome.failure.of))[:SHOWN_MAX]
    by_members = sorted((case for case in cases if case.outcome.cut_off), key=lambda case: (-len(case.outcome.cut_off), -case.traffic_lost))
    by_circuits = sorted((case for case in cases if case.harm.hit), key=lambda case: (-len(case.harm.hit), case.outcome.failure.of))
    tables.out.print()
    tables.table(
        "Worst failures, by members cut off",
        ("what fails", "cut off", "traffic lost", "members", "busiest link then"),
        [
            (c.outcome.failure.of, len(c.outcome.cut_off), _rate(c.traffic_lost), _some(c.outcome.cut_off), _busiest(survival, c.load))
            for c in by_members[:SHOWN_MAX]
        ],
    )
    if by_circuits:
        tables.out.print()
        tables.table(
            "Worst failures, by circuits",
            ("what fails", "down", "in part", "circuits", "of them pinned over it"),
            [
                (c.outcome.failure.of, len(c.harm.down), len(c.harm.parted), _some(c.harm.hit), _some(tuple(c.harm.over)) or "–")
                for c in by_circuits[:SHOWN_MAX]
            ],
        )
    tables.out.print()
    tables.table(
        "Worst failures, by load",
        ("what fails", "busiest link then", "links above 100 %"),
        [(c.outcome.failure.of, _busiest(survival, c.load), int((_each_link(survival, c) > 1).sum())) for c in by_load],
    )


def _each_link(survival: Survival, case: Case) -> Any:
    """Load by capacity of every link, the fuller way of it."""
    return survival.utilisation(case.load).reshape(-1, 2).max(axis=1)


def _beyond(survival: Survival, cases: Sequence[Case], both: Pairs) -> list[int]:
    """Pairs that cut off members whom neither failure cuts off alone."""
    alone = [case.outcome.lost for case in cases]
    return [
        number
        for number in range(len(both))
        if both.cut_off[number] > survival.members.cut_off_count(alone[both.first[number]] | alone[both.second[number]])
    ]


def _circuits_beyond(survival: Survival, cases: Sequence[Case], both: Pairs) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Pairs that take service from circuits which neither failure takes alone, or take them out of their scope: pair → (which, which)."""
    hit = [set(case.harm.hit) for case in cases]
    outside = [set(case.harm.outside) for case in cases]
    found = {}
    for number in range(len(both)):
        if not both.circuits[number] and not both.outside[number]:
            continue
        one, other = both.first[number], both.second[number]
        both_hit = survival.circuits.named(survival.circuits.hit(both.dead[number]))
        more = tuple(each for each in both_hit if each not in hit[one] and each not in hit[other])
        out = tuple(
            each for each in survival.circuits.named(both.outside[number]) if each not in outside[one] and each not in outside[other]
        )
        if more or out:
            found[number] = (more, out)
    return found


def _pairs(survival: Survival, cases: Sequence[Case], both: Pairs) -> None:
    beyond = _beyond(survival, cases, both)
    full = int((both.utilisation > 1).sum())
    tables.out.print(f"\nTwo failures at once: {len(both)} pairs", style="bold")
    tables.out.print(f"{len(beyond)} cut off members whom neither of the two cuts off alone; {full} fill a link above 100 %", markup=False)
    alone = [case.outcome.lost for case in cases]
    rows = []
    for number in sorted(beyond, key=lambda number: (-both.cut_off[number], number))[:SHOWN_MAX]:
        known = set(survival.members.cut_off(alone[both.first[number]] | alone[both.second[number]]))
        more = [each for each in survival.members.cut_off(both.lost[number]) if each not in known]
        rows.append((*both.names(number), int(both.cut_off[number]), _some(more), _rate(both.traffic_lost[number])))
    if rows:
        tables.table("Worst pairs, by members cut off", ("one", "other", "cut off", "of these only by both", "traffic lost"), rows)
    circuits = _circuits_beyond(survival, cases, both)
    if circuits:
        parted, out = (sum(bool(each[index]) for each in circuits.values()) for index in (0, 1))
        said = f"{parted} take service from circuits that neither of the two takes alone"
        tables.out.print(f"{said}; {out} take circuits out of the level that they must not leave", markup=False)
        tables.table(
            "Worst pairs, by circuits",
            ("one", "other", "losing service", "of these only by both", "leaving their level only by both"),
            [
                (*both.names(number), int(both.circuits[number]), _some(more) or "–", _some(out) or "–")
                for number, (more, out) in sorted(circuits.items(), key=lambda each: (-len(each[1][0]), -len(each[1][1]), each[0]))[
                    :SHOWN_MAX
                ]
            ],
        )
    worst = sorted(range(len(both)), key=lambda number: (-both.utilisation[number], number))[:SHOWN_MAX]
    tables.table(
        "Worst pairs, by load",
        ("one", "other", "busiest link then"),
        [(*both.names(number), f"{_percent(both.utilisation[number])} {_arc(survival, both.arc[number])}") for number in worst],
    )


def _arc(survival: Survival, arc: int) -> str:
    if arc < 0:
        return "–"
    link = survival.net.links[arc >> 1]
    return f"{link.id} to {link.a if arc & 1 else link.b}"


def _promises(snapshot: Snapshot, broken: Sequence[Breach]) -> None:
    tables.out.print()
    if broken:
        tables.table(
            "Broken promises",
            ("who promised", "what fails", "cut off", "mend"),
            [(b.of, b.failure, _some(b.cut_off), b.mend) for b in broken],
        )
        return
    lans = [f"{lan.id} ({', '.join(lan.survives)})" for lan in snapshot.of(Lan) if lan.survives]
    ports = sum(1 for port in snapshot.of(Port) if port.survives)
    circuits = sum(1 for circuit in snapshot.of(Circuit) if circuit.survives)
    kept = [*lans, *([f"{ports} ports"] if ports else []), *([f"{circuits} circuits"] if circuits else [])]
    if kept:
        tables.out.print(f"✓ promises kept: {', '.join(kept)}", markup=False)
    else:
        words = "Nothing is promised: `survives` of a Lan, a Port or a Circuit says what must not cut off who is on it."
        tables.out.print(words, style=tables.QUIET)


# --- one case in full, levels, facts


def _in_full(survival: Survival, found: Sequence[Failure], price: int | None, as_json: bool) -> int:
    case = survival.several(*found)
    normal = survival.normal()
    if as_json:
        tables.as_json(_case_facts(survival, case, price))
        return DONE
    outcome = case.outcome
    tables.out.print(outcome.failure.of, style="bold", markup=False)
    tables.out.print(f"cut off   {len(outcome.cut_off)} members: {', '.join(outcome.cut_off) or 'none'}", markup=False)
    tables.out.print(f"sites     {', '.join(survival.net.named(outcome.lost)) or 'none'} no longer part of the exchange", markup=False)
    tables.out.print(
        f"traffic   {_rate(case.traffic_lost)} of {_rate(survival.traffic.offered)} lost; {survival.traffic.says}", markup=False
    )
    if survival.circuits.all:
        harm = case.harm
        tables.out.print(f"circuits  {len(harm.down)} down: {', '.join(harm.down) or 'none'}", markup=False)
        for name, ends in harm.parted.items():
            tables.out.print(f"          {name} goes on without {', '.join(ends)}", markup=False)
        for name, reach in harm.outside.items():
            tables.out.print(f"          {name} leaves its level: {' - '.join(reach.path)} is {reach.level}", markup=False)
    for words in (*mends(survival.net, outcome.failure, price), *_unpinned(case)):
        tables.out.print(f"mend      {words}", markup=False)
    if outcome.loses:
        tables.out.print()
        tables.table(
            "Members that stay and lose something", ("member", "loses"), [(m, ", ".join(what)) for m, what in outcome.loses.items()]
        )
    tables.out.print()
    before, after = survival.utilisation(normal.load), survival.utilisation(case.load)
    rows = [
        (
            link.id,
            str(link.capacity),
            *(f"{_rate(case.load[arc])} {_percent(after[arc])} (was {_percent(before[arc])})" for arc in (2 * n, 2 * n + 1)),
        )
        for n, link in enumerate(survival.net.links)
        if not outcome.failure.links >> n & 1
    ]
    tables.table("What links then carry", ("link", "capacity", "from a to b", "from b to a"), rows)
    return DONE


def _levels(snapshot: Snapshot, as_json: bool) -> int:
    from nnix.planes.members.kinds import Site

    levels = Levels(snapshot)
    facts = []
    for one, other in combinations(snapshot.of(Site), 2):
        normal = levels.normal(one.name, other.name)
        worst = normal
        for each in levels.after_each(one.name, other.name):
            if each.level and (worst.level is None or ORDER.index(each.level) > ORDER.index(worst.level)):
                worst = each
        facts.append((one.name, other.name, normal, worst))
    if as_json:
        tables.as_json(
            [
                {
                    "a": a,
                    "b": b,
                    "level": normal.level,
                    "path": normal.path,
                    "widest": {"level": worst.level, "failure": worst.failure, "path": worst.path},
                }
                for a, b, normal, worst in facts
            ]
        )
        return DONE
    rows = [
        (
            a,
            b,
            normal.level or "no way",
            " ".join(normal.path),
            *((worst.level, worst.failure, " ".join(worst.path)) if worst is not normal else ("–",) * 3),
        )
        for a, b, normal, worst in facts
    ]
    tables.table("", ("a", "b", "level", "over", "widened to", "by", "over"), rows)
    wide = sum(1 for *_, normal, worst in facts if worst is not normal)
    tables.out.print(f"\n{len(facts)} pairs of sites; a single failure widens the level of {wide}", style="bold")
    return DONE


def _case_facts(survival: Survival, case: Case, price: int | None) -> dict[str, Any]:
    outcome = case.outcome
    full = survival.utilisation(case.load)
    return {
        "failure": outcome.failure.of,
        "part": outcome.failure.part.value,
        "sites_lost": survival.net.named(outcome.lost),
        "cut_off": outcome.cut_off,
        "only_at_the_failed_site": outcome.own_site,
        "lose": outcome.loses,
        "circuits": {
            "down": case.harm.down,
            "parted": case.harm.parted,
            "outside": {name: {"level": reach.level, "path": reach.path} for name, reach in case.harm.outside.items()},
            "behind": case.harm.behind,
            "pinned_over_it": case.harm.over,
        },
        "traffic_lost_bits_per_second": round(case.traffic_lost),
        "links": {
            link.name: {
                "a_to_b_bits_per_second": round(float(case.load[2 * n])),
                "b_to_a_bits_per_second": round(float(case.load[2 * n + 1])),
                "utilisation": round(float(full[2 * n : 2 * n + 2].max()), 4),
            }
            for n, link in enumerate(survival.net.links)
            if not outcome.failure.links >> n & 1
        },
        "mends": [
            {
                "a": new.a,
                "b": new.b,
                "capacity": str(BitRate(new.capacity)),
                "kilometres": new.kilometres and round(new.kilometres, 1),
                "fen": new.fen,
            }
            for new in mends(survival.net, outcome.failure, price)
        ],
    }


def _facts(survival: Survival, cases: Sequence[Case], both: Pairs | None, broken: Sequence[Breach], price: int | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "sites": len(survival.net.sites),
        "links": len(survival.net.links),
        "members": len(survival.net.homes),
        "circuits": {"number": len(survival.circuits.all), "offered_bits_per_second": survival.circuits.offered},
        "traffic": {"source": survival.traffic.says, "offered_bits_per_second": round(survival.traffic.offered)},
        "normal": _case_facts(survival, survival.normal(), price),
        "failures": [_case_facts(survival, case, price) for case in cases],
        "single_points": [case.outcome.failure.of for case in cases if _cuts_behind(case)],
        "broken_promises": [{"of": b.of, "failure": b.failure, "cut_off": b.cut_off, "mend": b.mend} for b in broken],
    }
    if both is not None:
        beyond = set(_beyond(survival, cases, both))
        circuits = _circuits_beyond(survival, cases, both)
        facts["pairs"] = {
            "number": len(both),
            "above_100_percent": int((both.utilisation > 1).sum()),
            "cut_off_more_than_alone": len(beyond),
            "circuits_more_than_alone": len(circuits),
            "each": [
                {
                    "failures": both.names(number),
                    "sites_lost": survival.net.named(both.lost[number]),
                    "cut_off": int(both.cut_off[number]),
                    "circuits": survival.circuits.named(survival.circuits.hit(both.dead[number])),
                    "circuits_outside": survival.circuits.named(both.outside[number]),
                    "traffic_lost_bits_per_second": round(float(both.traffic_lost[number])),
                    "utilisation": round(float(both.utilisation[number]), 4),
                    "busiest": _arc(survival, int(both.arc[number])),
                }
                for number in range(len(both))
                if number in beyond or number in circuits or both.utilisation[number] > 1
            ],
        }
    return facts


COMMANDS = (prove_group,)
