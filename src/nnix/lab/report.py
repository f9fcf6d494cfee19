"""A drill's report for people: one HTML page that needs nothing else, with what was predicted, what was seen, and a picture of each flow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from nnix.lab.drill import Drilled
from nnix.lab.failures import WHAT

# Okabe and Ito's colours, which most colour-blind eyes tell apart; states are said in words as well.
ARRIVED, LOST, LINE = "#0072B2", "#D55E00", "#999999"
WIDTH, ROW, LEFT = 900, 16, 300

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin: 1rem 0 }} td, th {{ padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: left }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums }} .bad {{ color: {lost}; font-weight: 600 }} .good {{ color: {arrived} }}
</style></head><body><h1>{title}</h1>{body}</body></html>
"""


def html(drills: Sequence[Drilled]) -> str:
    """The page for one drill, or for many. A table first, then each drill with its plot."""
    title = f"Drill: {drills[0].failure.sort.value} {drills[0].failure.of}" if len(drills) == 1 else f"{len(drills)} drills"
    parts = [_summary(drills), *(_one(each) for each in drills)]
    return PAGE.format(title=escape(title), body="".join(parts), lost=LOST, arrived=ARRIVED)


def _summary(drills: Iterable[Drilled]) -> str:
    rows = []
    for each in drills:
        failing, healing = each.promised
        rows.append(
            f"<tr><td>{each.failure.sort.value}</td><td>{escape(each.failure.of)}</td><td class=n>{len(each.flows)}</td>"
            f"{_figure(each.failing, failing)}{_figure(each.healing, healing)}"
            f"<td class={'good' if each.agrees else 'bad'}>{'as predicted' if each.agrees else 'not as predicted'}</td></tr>"
        )
    head = "<tr><th>failure</th><th>of</th><th>flows</th><th>outage, median</th><th>at heal, median</th><th>reachability</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _figure(seconds: float, promised: float) -> str:
    kept = seconds <= promised
    words = f"{seconds * 1000:.0f} ms {'≤' if kept else '>'} {promised * 1000:.0f} ms"
    return f'<td class="n {"good" if kept else "bad"}">{words}</td>'


def _one(each: Drilled) -> str:
    facts = [
        f"<h2>{each.failure.sort.value} {escape(each.failure.of)}</h2>",
        f"<p>{escape(WHAT[each.failure.sort])}. Made {escape(each.at)}, {len(each.rounds)} round(s), {each.took_seconds:.0f} s in all.</p>",
    ]
    if each.plan is not None:
        steps = "".join(f"<li>{escape(step)}</li>" for step in each.plan.steps)
        facts.append(
            f"<p>Emergency plan <b>{escape(each.plan.title.en)}</b>. Trigger: {escape(each.plan.trigger)}. Expected: {escape(each.plan.expects)}. "
            f"{escape(_approved(each))}</p><ol>{steps}</ol>"
        )
    if each.crossed is not None:
        facts.append(f"<p>Over what failed went {each.crossed:.0f} packets a second, of {each.sent:.0f} that the flows sent.</p>")
    missing, extra = sorted(each.predicted - each.observed), sorted(each.observed - each.predicted)
    said = f"{len(each.predicted)} pairs of sites were predicted not to reach one another, {len(each.observed)} did not."
    if missing or extra:
        said += f" Reached though predicted otherwise: {missing}; not reached though predicted otherwise: {extra}."
    facts.append(f"<p>{escape(said)}</p>")
    if each.circuits_watched:
        facts.append(f"<p>{escape(_circuits(each))}</p>")
    if each.abroad is not None:
        facts.append(f"<h3>Trust</h3><ul>{''.join(f'<li>{escape(words)}</li>' for words in each.abroad.words())}</ul>")
    if each.silent_before:
        facts.append(f"<p>Not counted, since silent before: {escape(', '.join(each.silent_before))}.</p>")
    return "".join(facts) + _plot(each)


def _approved(each: Drilled) -> str:
    """By whom the plan is approved, and who has not agreed to it as it stands."""
    if each.approved is None:
        return ""
    words = [f"Approved by {', '.join(map(str, each.approved.given))}."] if each.approved.given else []
    if each.approved.lacking:
        words.append(f"A draft: not approved by {', '.join(lacking.contact for lacking in each.approved.lacking)}.")
    return " ".join([*words, f"Digest {each.approved.digest}."])


def _circuits(each: Drilled) -> str:
    """What circuits lost, and what of it was not foreseen."""
    said = f"Of {each.circuits_watched} pairs of ends of circuits {len(each.circuits_predicted)} were predicted to lose one another, {len(each.circuits_observed)} did"
    wrong = (
        ("passed though predicted otherwise", each.circuits_predicted - each.circuits_observed),
        ("did not pass though predicted otherwise", each.circuits_observed - each.circuits_predicted),
    )
    for words, ends in wrong:
        if ends:
            said += f"; {words}: {', '.join(f'{circuit} ({one} – {other})' for circuit, one, other in sorted(ends))}"
    if each.circuits_observed and each.circuits_observed == each.circuits_predicted:
        said += f": {', '.join(dict.fromkeys(circuit for circuit, _, _ in sorted(each.circuits_observed)))}"
    return said + "."


def _plot(each: Drilled) -> str:
    """A row for each flow, time to the right; blue what arrived, orange and taller what did not. The failure is at zero."""
    if not each.timeline:
        return ""
    steps = [at for line in each.timeline.values() for at, _ in line]
    first, last = min(steps), max(steps) + 0.02
    scale = (WIDTH - LEFT) / (last - first)
    rows = []
    for number, (flow, line) in enumerate(each.timeline.items()):
        y = number * ROW
        rows.append(f'<text x="0" y="{y + 11}" font-size="11">{escape(flow)}</text>')
        for at, share in line:
            x, width = LEFT + (at - first) * scale, max(1.0, 0.02 * scale)
            if share < 1:
                rows.append(f'<rect x="{x:.1f}" y="{y + 1}" width="{width:.1f}" height="{ROW - 2}" fill="{LOST}"/>')
            else:
                rows.append(f'<rect x="{x:.1f}" y="{y + 6}" width="{width:.1f}" height="{ROW - 12}" fill="{ARRIVED}"/>')
    height = len(each.timeline) * ROW
    zero = LEFT - first * scale
    rows.append(f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{height}" stroke="{LINE}"/>')
    rows.append(f'<text x="{zero + 3:.1f}" y="{height + 12}" font-size="11">fails</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 16}" width="{WIDTH}" role="img" '
        f'aria-label="arrivals of each flow around the failure">{"".join(rows)}</svg>'
    )
