"""Pictures of the market: the book of a product as a stair of asks, and prices over hours. SVG, the same bytes for the same figures.

Colours are those of Okabe and Ito; lines are told apart by their dashes as well, and named in the margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 420, 70, 190, 40, 50
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("", "6 3", "2 3", "10 3 2 3")
FONT = "'Noto Sans','Noto Sans CJK SC','DejaVu Sans',Arial,sans-serif"

Point = tuple[float, float]


def lines(
    title: str,
    across: str,
    up: str,
    series: Mapping[str, Sequence[Point]],
    labels: Mapping[float, str] | None = None,
    *,
    stairs: bool = False,
) -> str:
    """A chart. `series`: name → points by x; `labels`: words for places on the x axis; stairs: each value holds until the next x."""
    points = [point for each in series.values() for point in each]
    x_min, x_max = min((x for x, _ in points), default=0.0), max((x for x, _ in points), default=1.0)
    y_max = max((y for _, y in points), default=1.0) * 1.05 or 1.0
    x_max = x_max if x_max > x_min else x_min + 1

    def place(x: float, y: float) -> Point:
        return (
            LEFT + (x - x_min) / (x_max - x_min) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / y_max * (HEIGHT - TOP - BOTTOM),
        )

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="{escape(FONT, {chr(34): "&quot;"})}" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 10}">{escape(across)}</text>',
        f'<text x="8" y="{TOP - 6}">{escape(up)}</text>',
    ]
    for step in range(5):
        value = y_max * step / 4
        y = place(x_min, value)[1]
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#D0D5DD"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    shown = labels or {x_min + (x_max - x_min) * step / 4: f"{x_min + (x_max - x_min) * step / 4:g}" for step in range(5)}
    for x, word in list(shown.items())[:: max(1, len(shown) // 8)]:
        out.append(f'<text x="{place(x, 0)[0]:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{escape(word)}</text>')
    for index, (name, each) in enumerate(series.items()):
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]
        path: list[Point] = []
        for x, y in each:
            if stairs and path:
                path.append((place(x, 0)[0], path[-1][1]))
            path.append(place(x, y))
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
        out.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        for x, y in path if not stairs else ():
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 10}" y="{TOP + 14 + 18 * index}" fill="{colour}">{escape(name)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
