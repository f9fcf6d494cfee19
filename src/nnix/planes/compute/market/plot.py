"""Pictures of the market: the book of a product as a stair of asks, and prices over hours. SVG, the same bytes for the same figures.

Colours are those of Okabe and Ito; lines are told apart by their dashes as well, 28 of them, and the margin names each beside a piece of it. The margin is as
wide as the longest name and the picture as high as all of them need, so that nothing is cut off. A line ends where nothing was traded: it does not
go on to the next price as if there had been one in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

ACROSS, UP, LEFT, TOP, BOTTOM = 640, 330, 70, 40, 50
KEY, ROW, TICKS, TINY = 30, 18, 4, 1e-9
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("", "6 3", "2 3", "10 3 2 3")
FONT = "'Noto Sans','Noto Sans CJK SC','DejaVu Sans',Arial,sans-serif"
NARROW, WIDE = 7.4, 12.5
"""room for a letter at 12 units, in the widest of these fonts; of a Chinese one"""

Point = tuple[float, float]


def lines(
    title: str,
    across: str,
    up: str,
    series: Mapping[str, Sequence[Point]],
    labels: Mapping[float, str] | None = None,
    *,
    stairs: bool = False,
    apart_max: float = math.inf,
) -> str:
    """A chart. `series`: name → points by x; `labels`: words for places on the x axis; stairs: each value holds until the next x.

    apart_max: points that are further apart in x are not joined.
    """
    points = [point for each in series.values() for point in each]
    x_min, x_max = min((x for x, _ in points), default=0.0), max((x for x, _ in points), default=1.0)
    x_max = x_max if x_max > x_min else x_min + 1
    step = _step(max((y for _, y in points), default=1.0))
    y_max = step * TICKS
    width = LEFT + ACROSS + 20 + KEY + max(map(_room, series), default=0)
    height = TOP + BOTTOM + max(UP, ROW * len(series))
    floor = height - BOTTOM

    def place(x: float, y: float) -> Point:
        return LEFT + (x - x_min) / (x_max - x_min) * ACROSS, floor - y / y_max * (floor - TOP)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img" font-family="{escape(FONT, {chr(34): "&quot;"})}" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width:.0f}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="15" font-weight="bold">{escape(title)}</text>',
        f'<text x="{LEFT}" y="{height - 10}">{escape(across)}</text>',
        f'<text x="{LEFT - 6}" y="{TOP - 12}" text-anchor="end">{escape(up)}</text>',
    ]
    for tick in range(TICKS + 1):
        y = place(x_min, step * tick)[1]
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + ACROSS}" y2="{y:.1f}" stroke="#D0D5DD"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{step * tick:.2f}</text>')
    shown = labels or {x_min + (x_max - x_min) * tick / 4: f"{x_min + (x_max - x_min) * tick / 4:g}" for tick in range(5)}
    for x, word in list(shown.items())[:: max(1, math.ceil(len(shown) / 9))]:
        out.append(f'<text x="{place(x, 0)[0]:.1f}" y="{floor + 16}" text-anchor="middle">{escape(word)}</text>')
    for index, (name, each) in enumerate(series.items()):
        drawn = f'fill="none" stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="2"'
        if dash := DASHES[index // len(COLOURS) % len(DASHES)]:
            drawn += f' stroke-dasharray="{dash}"'
        for piece in _pieces(each, apart_max):
            path: list[Point] = []
            for x, y in piece:
                if stairs and path:
                    path.append((place(x, 0)[0], path[-1][1]))
                path.append(place(x, y))
            out.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in path)}" {drawn}/>')
            for x, y in path if not stairs else ():
                out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[index % len(COLOURS)]}"/>')
        x, y = LEFT + ACROSS + 14, TOP + 12 + ROW * index
        out.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + KEY - 6}" y2="{y - 4}" {drawn}/>')
        out.append(f'<text x="{x + KEY}" y="{y}">{escape(name)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def _step(most: float) -> float:
    """Between two ticks: a round number that is no larger than it takes to reach `most`; whole hundredths, as fen are."""
    ten = 10.0 ** max(-2, math.floor(math.log10(most / TICKS)) if most > 0 else -2)
    round_ones = (ten * each for each in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5))
    return next((each for each in round_ones if each * TICKS >= most and abs(each - round(each, 2)) < TINY), ten * 10)


def _pieces(points: Sequence[Point], apart_max: float) -> Iterator[Sequence[Point]]:
    begin = 0
    for index in range(1, len(points) + 1):
        if index == len(points) or points[index][0] - points[index - 1][0] > apart_max:
            yield points[begin:index]
            begin = index


def _room(name: str) -> float:
    return sum(WIDE if east_asian_width(each) in "WF" else NARROW for each in name)
