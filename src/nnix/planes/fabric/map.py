"""A picture of the exchange: sites, the links between them, who has joined where, and the route servers.

Sites stand where they are (latitude, longitude) when all say so and are far enough apart to be read; else on a circle around the hub. A site's part
is told by shape as well as by colour: hub a hexagon, backbone a square, node a circle, a site in another country than the
exchange a diamond. The colours are those of Okabe and Ito, which all kinds of colour vision tell apart.

The same snapshot gives the same bytes: no clock, no random numbers, no measuring of fonts. Labels are placed by a small
search: the first of a fixed list of places that covers nothing already drawn; where none is free, the one that covers least.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Link, Port
from nnix.planes.members.kinds import Exchange, Member, Site, SiteRole
from nnix.planes.routing.kinds import RouteServer

WIDTH, HEIGHT = 1200, 860
LEFT, TOP, RIGHT, BOTTOM = 150, 150, 1050, 690
SITE_RADIUS = 22
APART_MIN = 150.0  # closer sites cannot be labelled
FONT = "'Noto Sans','Noto Sans CJK SC','DejaVu Sans','Helvetica Neue',Arial,sans-serif"

# Okabe & Ito, Color Universal Design (2008)
COLOURS = {"hub": "#D55E00", "backbone": "#0072B2", "node": "#009E73", "overseas": "#CC79A7"}
WORDS = {
    "hub": ("hub", "枢纽"),
    "backbone": ("backbone connect point", "骨干直联点"),
    "node": ("node", "节点"),
    "overseas": ("overseas", "海外"),
}
CLASS_WORDS_MAX = 3

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle that something is drawn in."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return across * down if across > 0 and down > 0 else 0.0


def draw(snapshot: Snapshot) -> str:
    """The picture as SVG 1.1, ending in a newline. An exchange without sites gives a picture that says so."""
    sites = snapshot.of(Site)
    places = positions(snapshot)
    taken = [Box(x - SITE_RADIUS, y - SITE_RADIUS, 2 * SITE_RADIUS, 2 * SITE_RADIUS) for x, y in places.values()]
    taken += [Box(0, 0, WIDTH, 96), Box(0, HEIGHT - 92, WIDTH, 92)]
    links = [link for link in snapshot.of(Link) if link.a != link.b and link.a in places and link.b in places]
    lines = [*_head(snapshot)]
    curves = _curves(links, places)
    for link in links:
        lines.append(_curve(link, *curves[link.name]))
    along = [_spot(_at(curve, t / 40)) for curve in curves.values() for t in range(41)]
    site_labels = []
    for site in sites:
        site_labels += _site_label(site, snapshot, places, taken, along)
    for link in links:
        crossing = [_spot(_at(curve, t / 40)) for name, curve in curves.items() if name != link.name for t in range(41)]
        lines += _link_label(link, curves[link.name], taken, crossing)
    lines += [_shape(part_of(site, snapshot), *places[site.name]) for site in sites]
    lines += site_labels
    lines += _legend(snapshot)
    if not sites:
        lines.append(_text(WIDTH / 2, HEIGHT / 2, "no sites are declared · 尚无站点", 20, anchor="middle"))
    return "\n".join([*lines, "</svg>", ""])


def part_of(site: Site, snapshot: Snapshot) -> str:
    """hub, backbone, node, or overseas for one in another country than the exchange."""
    exchange = next(iter(snapshot.of(Exchange)), None)
    if site.role is SiteRole.NODE and exchange is not None and site.country != exchange.country:
        return "overseas"
    return site.role.value


# --- where things stand


def positions(snapshot: Snapshot) -> dict[str, Point]:
    """site name → where it stands in the picture. On the ground when that can be read, else on a circle around the hub."""
    sites = snapshot.of(Site)
    if not sites:
        return {}
    if all(site.latitude is not None and site.longitude is not None for site in sites) and len(sites) > 1:
        on_ground = _pushed_apart(_on_ground(sites))
        if _apart(on_ground) >= APART_MIN * 0.9:
            return on_ground
    return _on_circle(sites)


def _on_ground(sites: Sequence[Site]) -> dict[str, Point]:
    """West is left of east and north above south, but distances are evened: half by degrees, half by rank, so that one site
    across the sea does not press all others into a corner."""
    middle = math.radians(sorted(site.latitude or 0.0 for site in sites)[len(sites) // 2])
    east = _evened({site.name: (site.longitude or 0.0) * math.cos(middle) for site in sites})
    south = _evened({site.name: -(site.latitude or 0.0) for site in sites})
    return _fitted({site.name: (east[site.name], south[site.name]) for site in sites})


def _evened(values: dict[str, float]) -> dict[str, float]:
    order = sorted(set(values.values()))
    span = order[-1] - order[0] or 1.0
    steps = max(1, len(order) - 1)
    return {name: 0.35 * (value - order[0]) / span + 0.65 * order.index(value) / steps for name, value in values.items()}


def _fitted(places: dict[str, Point]) -> dict[str, Point]:
    xs, ys = [x for x, _ in places.values()], [y for _, y in places.values()]
    width, height = max(xs) - min(xs) or 1.0, max(ys) - min(ys) or 1.0
    return {
        name: (LEFT + (x - min(xs)) / width * (RIGHT - LEFT), TOP + (y - min(ys)) / height * (BOTTOM - TOP))
        for name, (x, y) in places.items()
    }


def _pushed_apart(places: dict[str, Point]) -> dict[str, Point]:
    """Sites too close to be labelled move away from one another, step by step, within the picture."""
    found = dict(places)
    names = sorted(found)
    for _ in range(300):
        moved = False
        for index, one in enumerate(names):
            for other in names[index + 1 :]:
                (x1, y1), (x2, y2) = found[one], found[other]
                distance = math.hypot(x2 - x1, y2 - y1)
                if distance >= APART_MIN:
                    continue
                moved = True
                push = (APART_MIN - distance) / 2 + 0.5
                # Two at one place part along a direction of their own, so that three do not stay in a line.
                angle = math.atan2(y2 - y1, x2 - x1) if distance > 1e-6 else index * 2.4
                dx, dy = math.cos(angle) * push, math.sin(angle) * push
                found[one], found[other] = _inside((x1 - dx, y1 - dy)), _inside((x2 + dx, y2 + dy))
        if not moved:
            break
    return found


def _inside(point: Point) -> Point:
    return min(max(point[0], LEFT), RIGHT), min(max(point[1], TOP), BOTTOM)


def _apart(places: dict[str, Point]) -> float:
    points = sorted(places.values())
    return min(math.dist(one, other) for index, one in enumerate(points) for other in points[index + 1 :])


def _on_circle(sites: Sequence[Site]) -> dict[str, Point]:
    """The hub in the middle, backbone connect points first in the round, from the top clockwise."""
    middle = ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2)
    hub = next((site for site in sites if site.role is SiteRole.HUB), None)
    order = list(SiteRole)
    around = sorted((site for site in sites if site is not hub), key=lambda site: (order.index(site.role), site.name))
    places = {hub.name: middle} if hub else {}
    for index, site in enumerate(around):
        angle = 2 * math.pi * index / len(around) - math.pi / 2
        places[site.name] = (middle[0] + (RIGHT - LEFT) / 2 * math.cos(angle), middle[1] + (BOTTOM - TOP) / 2 * math.sin(angle))
    return places


def _curves(links: Sequence[Link], places: dict[str, Point]) -> dict[str, tuple[Point, Point, Point]]:
    """link name → its two ends and the point that bends it. Parallel links, and those that would run through a third site, are bent."""
    beside: Counter[tuple[str, str]] = Counter()
    curves = {}
    for link in links:
        pair = (min(link.a, link.b), max(link.a, link.b))
        nth = beside[pair]
        beside[pair] += 1
        a, b = places[pair[0]], places[pair[1]]
        bends = [(nth + 1) // 2 * 46 * (1 if nth % 2 else -1)] if nth else [0, 44, -44, 84, -84]
        candidates = [(a, b, _bent(a, b, bend)) for bend in bends]
        others = [point for name, point in places.items() if name not in pair]
        clear = (
            each
            for each in candidates
            if all(math.dist(_at(each, t / 12), other) > SITE_RADIUS + 12 for t in range(13) for other in others)
        )
        curves[link.name] = next(clear, candidates[0])
    return curves


def _bent(a: Point, b: Point, by: float) -> Point:
    length = math.dist(a, b) or 1.0
    return (a[0] + b[0]) / 2 - (b[1] - a[1]) / length * by * 2, (a[1] + b[1]) / 2 + (b[0] - a[0]) / length * by * 2


def _at(curve: tuple[Point, Point, Point], t: float) -> Point:
    a, b, c = curve
    return tuple((1 - t) ** 2 * a[axis] + 2 * t * (1 - t) * c[axis] + t**2 * b[axis] for axis in (0, 1))  # type: ignore[return-value]


# --- how they are drawn


def _head(snapshot: Snapshot) -> Iterator[str]:
    exchange = next(iter(snapshot.of(Exchange)), None)
    title = exchange.title.en if exchange else "Exchange"
    chinese = exchange.title.zh if exchange else None
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' role="img" font-family="{FONT}" fill="#1A1A1A">'
    )
    yield f"<title>{escape(f'{title} · {chinese}' if chinese else title)}</title>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#FFFFFF"/>'
    yield _text(40, 48, title, 26, weight=600)
    if chinese:
        yield _text(40, 80, chinese, 20, colour="#444444")
    counts = (
        (len(snapshot.of(Site)), "sites", "站点"),
        (len(snapshot.of(Link)), "links", "链路"),
        (len(snapshot.of(Member)), "members", "成员"),
        (len(snapshot.of(RouteServer)), "route servers", "路由服务器"),
    )
    yield _text(WIDTH - 40, 48, " · ".join(f"{number} {english}" for number, english, _ in counts), 16, anchor="end", colour="#444444")
    yield _text(WIDTH - 40, 74, " · ".join(f"{number} {word}" for number, _, word in counts), 14, anchor="end", colour="#666666")


def _curve(link: Link, a: Point, b: Point, c: Point) -> str:
    # 1G is a thin line, each factor of ten a step thicker.
    width = min(9.0, max(1.5, 1.5 + 2 * (math.log10(max(int(link.capacity), 1)) - 9)))
    dash = ' stroke-dasharray="9 5"' if link.carrier is not None else ""
    return (
        f'<path d="M{a[0]:.1f} {a[1]:.1f}Q{c[0]:.1f} {c[1]:.1f} {b[0]:.1f} {b[1]:.1f}" fill="none"'
        f' stroke="#7A869A" stroke-width="{width:.1f}"{dash}/>'
    )


def _shape(part: str, x: float, y: float) -> str:
    style = f'fill="{COLOURS[part]}" stroke="#FFFFFF" stroke-width="3"'
    r = float(SITE_RADIUS)
    match part:
        case "hub":
            corners = [(x + (r + 6) * math.cos(math.pi / 3 * n), y + (r + 6) * math.sin(math.pi / 3 * n)) for n in range(6)]
        case "backbone":
            corners = [(x - r + 2, y - r + 2), (x + r - 2, y - r + 2), (x + r - 2, y + r - 2), (x - r + 2, y + r - 2)]
        case "overseas":
            corners = [(x, y - r - 4), (x + r + 4, y), (x, y + r + 4), (x - r - 4, y)]
        case _:
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r - 3:.1f}" {style}/>'
    return f'<polygon points="{" ".join(f"{px:.1f},{py:.1f}" for px, py in corners)}" {style}/>'


def _site_label(site: Site, snapshot: Snapshot, places: dict[str, Point], taken: list[Box], along: Sequence[Box]) -> list[str]:
    x, y = places[site.name]
    lines = [(site.title.en, 15, 600, "#1A1A1A")]
    if site.title.zh:
        lines.append((site.title.zh, 14, 400, "#444444"))
    classes = Counter(
        snapshot.at(name).member_class.value for name in sorted({each.member for each in snapshot.where(Port, site=site.name)})
    )
    if classes:
        shown = sorted(classes.items(), key=lambda item: (-item[1], item[0]))
        words = ", ".join(f"{number} {name}" for name, number in shown[:CLASS_WORDS_MAX])
        more = sum(number for _, number in shown[CLASS_WORDS_MAX:])
        lines.append((words + (f" + {more}" if more else ""), 12, 400, "#444444"))
    if servers := snapshot.where(RouteServer, site=site.name):
        lines.append(("RS  " + ", ".join(each.name for each in servers), 12, 600, "#0B5394"))
    width = max(_width(text, size) for text, size, _, _ in lines)
    height = sum(size + 4 for _, size, _, _ in lines)
    gap = SITE_RADIUS + 8
    candidates = [
        (Box(x - width / 2, y + gap, width, height), "middle"),
        (Box(x - width / 2, y - gap - height, width, height), "middle"),
        (Box(x + gap, y - height / 2, width, height), "start"),
        (Box(x - gap - width, y - height / 2, width, height), "end"),
        (Box(x + gap * 0.7, y + gap * 0.7, width, height), "start"),
        (Box(x - gap * 0.7 - width, y + gap * 0.7, width, height), "end"),
        (Box(x + gap * 0.7, y - gap * 0.7 - height, width, height), "start"),
        (Box(x - gap * 0.7 - width, y - gap * 0.7 - height, width, height), "end"),
    ]
    box, anchor = _freest(candidates, taken, along)
    taken.append(box)
    at = {"middle": box.x + width / 2, "start": box.x, "end": box.x + width}[anchor]
    drawn, top = [], box.y
    for text, size, weight, colour in lines:
        top += size + 4
        drawn.append(_text(at, top - 4, text, size, anchor=anchor, weight=weight, colour=colour, halo=True))
    return drawn


def _link_label(link: Link, curve: tuple[Point, Point, Point], taken: list[Box], crossing: Sequence[Box]) -> list[str]:
    words = f"{link.capacity} · {link.latency}"
    width, height = _width(words, 12), 16
    points = [_at(curve, t) for t in (0.5, 0.42, 0.58, 0.34, 0.66, 0.27, 0.73)]
    candidates = [(Box(x - width / 2, y - height / 2 + dy, width, height), "middle") for dy in (0, -14, 14) for x, y in points]
    box, _ = _freest(candidates, taken, crossing)
    taken.append(box)
    return [_text(box.x + width / 2, box.y + 12, words, 12, anchor="middle", colour="#3C4654", halo=True)]


def _spot(point: Point) -> Box:
    """What a piece of a line covers."""
    return Box(point[0] - 5, point[1] - 5, 10, 10)


def _freest(candidates: Sequence[tuple[Box, str]], taken: Sequence[Box], lines: Sequence[Box]) -> tuple[Box, str]:
    """The first candidate that covers nothing and stays in the picture; else the one that covers least. Better a line than a word."""

    def cost(candidate: tuple[Box, str]) -> float:
        box, _ = candidate
        within = Box(8, 8, WIDTH - 16, HEIGHT - 16)
        covered = 4 * sum(box.overlap(other) for other in taken) + sum(box.overlap(other) for other in lines)
        return covered + (box.width * box.height - box.overlap(within)) * 8

    return min(candidates, key=cost)


def _legend(snapshot: Snapshot) -> Iterator[str]:
    y = HEIGHT - 52
    yield f'<line x1="40" y1="{y - 34}" x2="{WIDTH - 40}" y2="{y - 34}" stroke="#D0D5DD"/>'
    x = 62.0
    present = {part_of(site, snapshot) for site in snapshot.of(Site)}
    for part in (each for each in WORDS if each in present):
        english, chinese = WORDS[part]
        yield f'<g transform="translate({x:.1f} {y}) scale(0.62)">{_shape(part, 0, 0)}</g>'
        yield _text(x + 24, y - 1, english, 13)
        yield _text(x + 24, y + 15, chinese, 12, colour="#555555")
        x += 62 + max(_width(english, 13), _width(chinese, 12))
    for dash, english, chinese in (("", "own fibre", "自有光纤"), (' stroke-dasharray="9 5"', "leased from a carrier", "租用链路")):
        yield f'<line x1="{x - 14:.1f}" y1="{y}" x2="{x + 26:.1f}" y2="{y}" stroke="#7A869A" stroke-width="4"{dash}/>'
        yield _text(x + 34, y - 1, english, 13)
        yield _text(x + 34, y + 15, chinese, 12, colour="#555555")
        x += 78 + max(_width(english, 13), _width(chinese, 12))
    yield _text(
        40,
        HEIGHT - 12,
        "capacity each way · one-way latency; thicker lines carry more  |  带宽（单向）· 单向时延；线越粗带宽越大",
        12,
        colour="#555555",
    )


def _width(text: str, size: int) -> float:
    """About how wide a text is: fonts differ, and none is here to be measured."""
    return sum(1.0 if ord(letter) > 0x2E7F else 0.57 for letter in text) * size


def _text(
    x: float, y: float, text: str, size: int, *, anchor: str = "start", weight: int = 400, colour: str = "#1A1A1A", halo: bool = False
) -> str:
    behind = ' stroke="#FFFFFF" stroke-width="4" stroke-linejoin="round" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{colour}"{behind}>'
        f"{escape(text)}</text>"
    )
