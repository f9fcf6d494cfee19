"""A picture of the exchange: sites, the links between them, who has joined where, the route servers; what links carry, what failed, which members and
circuits are cut off.

Sites stand where they are (latitude, longitude) when all say so and are far enough apart to be read; else on a circle around the hub. A site's part
is told by shape as well as by colour: hub a hexagon, backbone a square, node a circle, a site in another country than the
exchange a diamond. The colours are those of Okabe and Ito, which all kinds of colour vision tell apart.

What links carry and what has failed comes in as a Look (look.py) and is told twice as well: load by colour and by one sign or two, a failed link by
dots and a cross, a failed site by an empty shape and a cross, one that cannot be asked by a question mark.

The same snapshot and look give the same bytes: no clock, no random numbers, no measuring of fonts. Labels are placed by a small
search: the first of a fixed list of places that covers nothing already drawn; where none is free, the one that covers least.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar
from xml.sax.saxutils import escape

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Link, Port
from nnix.planes.fabric.look import Look
from nnix.planes.members.kinds import Exchange, Member, Site, SiteRole
from nnix.planes.routing.kinds import RouteServer

SITE_RADIUS = 22
SITES_MAX = 16  # more of them need a larger sheet
LINK_LABELS_MAX = 40  # of more links, only those are labelled that carry much or have failed
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
LINE, HARM, BUSY, FULL = "#7A869A", "#7A2600", "#E69F00", "#D55E00"
BUSY_FROM, FULL_FROM = 0.6, 0.9  # of a link's capacity
CLASS_WORDS_MAX = 3

Point = tuple[float, float]
NOTHING_SEEN = Look(says=("", ""))


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


@dataclass(frozen=True, slots=True)
class Sheet:
    """How large the picture is. Sites stand within left, top, right, bottom."""

    width: int = 1200
    height: int = 860

    left: ClassVar[int] = 150
    top: ClassVar[int] = 150

    @property
    def right(self) -> int:
        return self.width - 150

    @property
    def bottom(self) -> int:
        return self.height - 170


def sheet_for(sites: int) -> Sheet:
    """The sheet on which so many sites can be read."""
    scale = math.sqrt(max(1.0, sites / SITES_MAX))
    return Sheet(round(1200 * scale), round(860 * scale))


def draw(snapshot: Snapshot, look: Look = NOTHING_SEEN) -> str:
    """The picture as SVG 1.1, ending in a newline. An exchange without sites gives a picture that says so."""
    sites = snapshot.of(Site)
    sheet = sheet_for(len(sites))
    places = positions(snapshot)
    taken = [Box(x - SITE_RADIUS, y - SITE_RADIUS, 2 * SITE_RADIUS, 2 * SITE_RADIUS) for x, y in places.values()]
    taken += [Box(0, 0, sheet.width, 96), Box(0, sheet.height - 92, sheet.width, 92)]
    links = [link for link in snapshot.of(Link) if link.a != link.b and link.a in places and link.b in places]
    lines = [*_head(snapshot, look, sheet)]
    curves = _curves(links, places)
    for link in links:
        lines += _curve(link, curves[link.name], look)
    along = [_spot(_at(curve, t / 40)) for curve in curves.values() for t in range(41)]
    site_labels = []
    for site in sites:
        site_labels += _site_label(site, snapshot, look, sheet, places, taken, along)
    marked = [link for link in links if link.id in look.failed | look.unknown]
    taken += [Box(x - 11, y - 11, 22, 22) for x, y in (_at(curves[link.name], 0.5) for link in marked)]
    for link in (each for each in links if each not in marked):  # a cross says enough
        if len(links) <= LINK_LABELS_MAX or _used(link, look) >= BUSY_FROM:
            crossing = [_spot(_at(curve, t / 40)) for name, curve in curves.items() if name != link.name for t in range(41)]
            lines += _link_label(link, look, sheet, curves[link.name], taken, crossing)
    for site in sites:
        lines += _site(site, part_of(site, snapshot), places[site.name], look)
    lines += site_labels
    lines += _legend(snapshot, links, look, sheet)
    if not sites:
        lines.append(_text(sheet.width / 2, sheet.height / 2, "no sites are declared · 尚无站点", 20, anchor="middle"))
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
    sheet = sheet_for(len(sites))
    if not sites:
        return {}
    if all(site.latitude is not None and site.longitude is not None for site in sites) and len(sites) > 1:
        on_ground = _pushed_apart(_on_ground(sites, sheet), sheet)
        if _apart(on_ground) >= APART_MIN * 0.9:
            return on_ground
    return _on_circle(sites, sheet)


def _on_ground(sites: Sequence[Site], sheet: Sheet) -> dict[str, Point]:
    """West is left of east and north above south, but distances are evened: half by degrees, half by rank, so that one site
    across the sea does not press all others into a corner."""
    middle = math.radians(sorted(site.latitude or 0.0 for site in sites)[len(sites) // 2])
    east = _evened({site.name: (site.longitude or 0.0) * math.cos(middle) for site in sites})
    south = _evened({site.name: -(site.latitude or 0.0) for site in sites})
    return _fitted({site.name: (east[site.name], south[site.name]) for site in sites}, sheet)


def _evened(values: dict[str, float]) -> dict[str, float]:
    order = sorted(set(values.values()))
    span = order[-1] - order[0] or 1.0
    steps = max(1, len(order) - 1)
    return {name: 0.35 * (value - order[0]) / span + 0.65 * order.index(value) / steps for name, value in values.items()}


def _fitted(places: dict[str, Point], sheet: Sheet) -> dict[str, Point]:
    xs, ys = [x for x, _ in places.values()], [y for _, y in places.values()]
    width, height = max(xs) - min(xs) or 1.0, max(ys) - min(ys) or 1.0
    return {
        name: (
            sheet.left + (x - min(xs)) / width * (sheet.right - sheet.left),
            sheet.top + (y - min(ys)) / height * (sheet.bottom - sheet.top),
        )
        for name, (x, y) in places.items()
    }


def _pushed_apart(places: dict[str, Point], sheet: Sheet) -> dict[str, Point]:
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
                found[one], found[other] = _inside((x1 - dx, y1 - dy), sheet), _inside((x2 + dx, y2 + dy), sheet)
        if not moved:
            break
    return found


def _inside(point: Point, sheet: Sheet) -> Point:
    return min(max(point[0], sheet.left), sheet.right), min(max(point[1], sheet.top), sheet.bottom)


def _apart(places: dict[str, Point]) -> float:
    points = sorted(places.values())
    return min(math.dist(one, other) for index, one in enumerate(points) for other in points[index + 1 :])


def _on_circle(sites: Sequence[Site], sheet: Sheet) -> dict[str, Point]:
    """The hub in the middle, backbone connect points first in the round, from the top clockwise."""
    middle = ((sheet.left + sheet.right) / 2, (sheet.top + sheet.bottom) / 2)
    wide, high = (sheet.right - sheet.left) / 2, (sheet.bottom - sheet.top) / 2
    hub = next((site for site in sites if site.role is SiteRole.HUB), None)
    order = list(SiteRole)
    around = sorted((site for site in sites if site is not hub), key=lambda site: (order.index(site.role), site.name))
    places = {hub.name: middle} if hub else {}
    for index, site in enumerate(around):
        angle = 2 * math.pi * index / len(around) - math.pi / 2
        places[site.name] = (middle[0] + wide * math.cos(angle), middle[1] + high * math.sin(angle))
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


def _head(snapshot: Snapshot, look: Look, sheet: Sheet) -> Iterator[str]:
    exchange = next(iter(snapshot.of(Exchange)), None)
    title = exchange.title.en if exchange else "Exchange"
    chinese = exchange.title.zh if exchange else None
    english_says, chinese_says = look.says
    right = sheet.width - 40
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {sheet.width} {sheet.height}" width="{sheet.width}" height="{sheet.height}"'
        f' role="img" font-family="{FONT}" fill="#1A1A1A">'
    )
    yield f"<title>{escape(' · '.join(each for each in (title, chinese, english_says, chinese_says) if each))}</title>"
    yield f'<rect width="{sheet.width}" height="{sheet.height}" fill="#FFFFFF"/>'
    yield _text(40, 48, title, 26, weight=600)
    if chinese:
        yield _text(40, 80, chinese, 20, colour="#444444")
    counts = (
        (len(snapshot.of(Site)), "sites", "站点"),
        (len(snapshot.of(Link)), "links", "链路"),
        (len(snapshot.of(Member)), "members", "成员"),
        (len(snapshot.of(RouteServer)), "route servers", "路由服务器"),
    )
    yield _text(right, 40, " · ".join(f"{number} {english}" for number, english, _ in counts), 16, anchor="end", colour="#444444")
    yield _text(right, 62, " · ".join(f"{number} {word}" for number, _, word in counts), 14, anchor="end", colour="#666666")
    if english_says:
        harmed = bool(look.failed or look.cut_off or look.circuits)
        words = f"{english_says} · {chinese_says}"
        yield _text(right, 86, words, 15, anchor="end", weight=600, colour=HARM if harmed else "#0B5394")


def _used(link: Link, look: Look) -> float:
    """Load by capacity of the fuller way; 0 where none is known."""
    return max(look.load.get(link.name, (0.0, 0.0))) / max(int(link.capacity), 1)


def _percent(part: float) -> str:
    """Whole percents."""
    return f"{100 * part:.0f} %"


def carried(link: Link, rate: float) -> str:
    """Bit/s on a link in words: percents of its capacity, and below one of them, as in a lab, the rate itself (to three digits: 12.3k)."""
    part = rate / max(int(link.capacity), 1)
    if part >= 0.01 or rate < 1:
        return _percent(part)
    unit, size = next(((unit, size) for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)) if rate >= size), (" bit/s", 1.0))
    return f"{rate / size:.3g}{unit}"


def _curve(link: Link, curve: tuple[Point, Point, Point], look: Look) -> Iterator[str]:
    """Its line, with all that is known of it for whoever points at it, and a cross or a question mark where it is not simply up."""
    a, b, c = curve
    # 1G is a thin line, each factor of ten a step thicker.
    width = min(9.0, max(1.5, 1.5 + 2 * (math.log10(max(int(link.capacity), 1)) - 9)))
    used = _used(link, look)
    colour = FULL if used >= FULL_FROM else BUSY if used >= BUSY_FROM else COLOURS["backbone"] if link.name in look.load else LINE
    dash = ' stroke-dasharray="9 5"' if link.carrier is not None else ""
    if link.id in look.failed:
        colour, dash = HARM, ' stroke-dasharray="1.5 7" stroke-linecap="round"'
    elif link.id in look.unknown:
        colour, dash = LINE, ' stroke-dasharray="1.5 7" stroke-linecap="round"'
    says = [link.id, str(link.capacity), str(link.latency), *([f"carrier {link.carrier}"] if link.carrier is not None else [])]
    if link.name in look.load:
        ways = zip((link.b, link.a), look.load[link.name], strict=True)
        says += [f"to {end}: {carried(link, rate)}" for end, rate in ways]
    yield (
        f'<path d="M{a[0]:.1f} {a[1]:.1f}Q{c[0]:.1f} {c[1]:.1f} {b[0]:.1f} {b[1]:.1f}" fill="none"'
        f' stroke="{colour}" stroke-width="{width:.1f}"{dash}><title>{escape(" · ".join(says))}</title></path>'
    )
    if link.id in look.failed:
        yield _cross(*_at(curve, 0.5), 9)
    elif link.id in look.unknown:
        x, y = _at(curve, 0.5)
        yield _text(x, y + 8, "?", 22, anchor="middle", weight=700, colour="#444444", halo=True)


def _cross(x: float, y: float, half: float) -> str:
    way = f"M{x - half:.1f} {y - half:.1f}L{x + half:.1f} {y + half:.1f}M{x + half:.1f} {y - half:.1f}L{x - half:.1f} {y + half:.1f}"
    return f'<path d="{way}" stroke="#FFFFFF" stroke-width="9" fill="none"/><path d="{way}" stroke="{HARM}" stroke-width="5" fill="none"/>'


def _site(site: Site, part: str, place: Point, look: Look) -> Iterator[str]:
    """Its shape; empty when it is no longer part of the exchange, and with a cross when it has failed itself."""
    gone = site.id in look.failed or site.name in look.lost
    yield _shape(part, *place, empty=gone)
    if site.id in look.failed:
        yield _cross(*place, 14)
    elif site.id in look.unknown:
        yield _text(place[0], place[1] + 8, "?", 22, anchor="middle", weight=700, colour="#1A1A1A", halo=True)


def _shape(part: str, x: float, y: float, *, empty: bool = False) -> str:
    filled = f'fill="{COLOURS[part]}" stroke="#FFFFFF" stroke-width="3"'
    style = f'fill="#FFFFFF" stroke="{COLOURS[part]}" stroke-width="4" stroke-dasharray="5 4"' if empty else filled
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


def _site_label(
    site: Site, snapshot: Snapshot, look: Look, sheet: Sheet, places: dict[str, Point], taken: list[Box], along: Sequence[Box]
) -> list[str]:
    x, y = places[site.name]
    lines = [(site.title.en, 15, 600, "#1A1A1A")]
    if site.title.zh:
        lines.append((site.title.zh, 14, 400, "#444444"))
    here = sorted({each.member for each in snapshot.where(Port, site=site.name)})
    classes = Counter(snapshot.at(name).member_class.value for name in here)
    if classes:
        shown = sorted(classes.items(), key=lambda item: (-item[1], item[0]))
        words = ", ".join(f"{number} {name}" for name, number in shown[:CLASS_WORDS_MAX])
        more = sum(number for _, number in shown[CLASS_WORDS_MAX:])
        lines.append((words + (f" + {more}" if more else ""), 12, 400, "#444444"))
    if servers := snapshot.where(RouteServer, site=site.name):
        lines.append(("RS  " + ", ".join(each.name for each in servers), 12, 600, "#0B5394"))
    if site.name in look.lost and (cut_off := len(set(look.cut_off) & set(here))):
        lines.append((f"✕ {cut_off} cut off · 断开", 13, 600, HARM))
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
    box, anchor = _freest(candidates, taken, along, sheet)
    taken.append(box)
    at = {"middle": box.x + width / 2, "start": box.x, "end": box.x + width}[anchor]
    drawn, top = [], box.y
    for text, size, weight, colour in lines:
        top += size + 4
        drawn.append(_text(at, top - 4, text, size, anchor=anchor, weight=weight, colour=colour, halo=True))
    return drawn


def _link_label(
    link: Link, look: Look, sheet: Sheet, curve: tuple[Point, Point, Point], taken: list[Box], crossing: Sequence[Box]
) -> list[str]:
    used = _used(link, look)
    sign = "▲▲ " if used >= FULL_FROM else "▲ " if used >= BUSY_FROM else ""
    words = f"{sign}{link.capacity} · {carried(link, max(look.load[link.name])) if link.name in look.load else link.latency}"
    width, height = _width(words, 12), 16
    points = [_at(curve, t) for t in (0.5, 0.42, 0.58, 0.34, 0.66, 0.27, 0.73)]
    candidates = [(Box(x - width / 2, y - height / 2 + dy, width, height), "middle") for dy in (0, -14, 14) for x, y in points]
    box, _ = _freest(candidates, taken, crossing, sheet)
    taken.append(box)
    weight, colour = (600, HARM) if sign else (400, "#3C4654")
    return [_text(box.x + width / 2, box.y + 12, words, 12, anchor="middle", weight=weight, colour=colour, halo=True)]


def _spot(point: Point) -> Box:
    """What a piece of a line covers."""
    return Box(point[0] - 5, point[1] - 5, 10, 10)


def _freest(candidates: Sequence[tuple[Box, str]], taken: Sequence[Box], lines: Sequence[Box], sheet: Sheet) -> tuple[Box, str]:
    """The first candidate that covers nothing and stays in the picture; else the one that covers least. Better a line than a word."""

    def cost(candidate: tuple[Box, str]) -> float:
        box, _ = candidate
        within = Box(8, 8, sheet.width - 16, sheet.height - 16)
        covered = 4 * sum(box.overlap(other) for other in taken) + sum(box.overlap(other) for other in lines)
        return covered + (box.width * box.height - box.overlap(within)) * 40

    return min(candidates, key=cost)


def _legend(snapshot: Snapshot, links: Sequence[Link], look: Look, sheet: Sheet) -> Iterator[str]:
    y = sheet.height - 52
    yield f'<line x1="40" y1="{y - 34}" x2="{sheet.width - 40}" y2="{y - 34}" stroke="#D0D5DD"/>'
    x = 62.0
    present = {part_of(site, snapshot) for site in snapshot.of(Site)}
    for part in (each for each in WORDS if each in present):
        english, chinese = WORDS[part]
        yield f'<g transform="translate({x:.1f} {y}) scale(0.62)">{_shape(part, 0, 0)}</g>'
        yield _text(x + 24, y - 1, english, 13)
        yield _text(x + 24, y + 15, chinese, 12, colour="#555555")
        x += 46 + max(_width(english, 13), _width(chinese, 12))
    loaded = bool(look.load)
    calm = COLOURS["backbone"] if loaded else LINE
    rows = [(calm, "", "own fibre", "自有光纤"), (calm, "9 5", "leased from a carrier", "租用链路")]
    if loaded:
        rows += [(BUSY, "", f"▲ {_percent(BUSY_FROM)} full", "负载较高"), (FULL, "", f"▲▲ {_percent(FULL_FROM)}", "负载过高")]
    if look.failed:
        rows.append((HARM, "1.5 7", "✕ failed", "故障"))
    for colour, dash, english, chinese in rows:
        style = f' stroke-dasharray="{dash}"' if dash else ""
        style += ' stroke-linecap="round"' if colour == HARM else ""
        yield f'<line x1="{x - 14:.1f}" y1="{y}" x2="{x + 22:.1f}" y2="{y}" stroke="{colour}" stroke-width="4"{style}/>'
        yield _text(x + 30, y - 1, english, 13)
        yield _text(x + 30, y + 15, chinese, 12, colour="#555555")
        x += 48 + max(_width(english, 13), _width(chinese, 12))
    if look.cut_off or look.circuits or look.parted:
        parts = [
            (f"✕ {len(look.cut_off)} members cut off · 断开的成员", look.cut_off),
            (f"✕ {len(look.circuits)} circuits down · 中断的专线", look.circuits),
            (f"{len(look.parted)} circuits in part · 部分中断", look.parted),
        ]
        shown = [(words, names) for words, names in parts if names]
        for row, (words, names) in enumerate(shown):
            x, room = 40 + row * (sheet.width - 80) / len(shown), (sheet.width - 80) / len(shown) - 16
            yield _text(x, sheet.height - 12, _listed(words, names, room), 13, weight=600, colour=HARM)
        return
    english, chinese = ("load of the fuller way", "较满方向的负载") if loaded else ("one-way latency", "单向时延")
    few = len(links) <= LINK_LABELS_MAX
    words = (
        f"capacity each way · {english}; thicker lines carry more  |  带宽（单向）· {chinese}；线越粗带宽越大"
        if few
        else "thicker lines carry more; point at a line to read of it  |  线越粗带宽越大；指向线可读详情"
    )
    yield _text(40, sheet.height - 12, words, 12, colour="#555555")


def _listed(words: str, names: Sequence[str], room: float) -> str:
    """`words: a, b + 3`: as many names as there is room for."""
    line = f"{words}: "
    for shown, name in enumerate(names):
        more = f"+ {len(names) - shown}"
        if _width(f"{line}{name}, {more}", 13) > room:
            return line + more
        line += f"{name}, "
    return line.removesuffix(", ")


def _width(text: str, size: int) -> float:
    """About how wide a text is: fonts differ, and none is here to be measured."""
    return sum(1.0 if ord(letter) > 0x24FF else 0.57 for letter in text) * size


def _text(
    x: float, y: float, text: str, size: int, *, anchor: str = "start", weight: int = 400, colour: str = "#1A1A1A", halo: bool = False
) -> str:
    behind = ' stroke="#FFFFFF" stroke-width="4" stroke-linejoin="round" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{colour}"{behind}>'
        f"{escape(text)}</text>"
    )
