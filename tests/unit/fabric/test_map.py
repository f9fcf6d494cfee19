"""The picture: what is on it, and that it can be read."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import combinations

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.map import APART_MIN, HEIGHT, WIDTH, draw, part_of, positions
from nnix.planes.members.kinds import Site

from .exchanges import Fields, exchange, site

CITIES = {
    "hz": (30.27, 120.15),
    "nb": (29.87, 121.55),
    "wz": (28.0, 120.7),
    "jx": (30.75, 120.75),
    "sx": (30.0, 120.58),
    "sg": (1.3, 103.8),
}


def placed() -> Snapshot:
    """Five cities of one province, and one across the sea."""
    roles = {"hz": "hub", "nb": "backbone"}
    changes: dict[str, Fields | None] = {}
    for number, (name, (latitude, longitude)) in enumerate(CITIES.items(), start=1):
        more = {"latitude": latitude, "longitude": longitude, "country": "SG" if name == "sg" else "CN"}
        changes[f"Site/{name}"] = site(name, roles.get(name, "node"), number, **more)
    return exchange(changes)


def words(picture: str) -> str:
    return " ".join(text for each in ElementTree.fromstring(picture).iter() if (text := each.text))  # noqa: S314 - our own


def test_sites_links_members_and_route_servers_are_named_in_both_languages() -> None:
    """Capacity and latency stand at the links, members by class and route servers at their sites."""
    found = words(draw(exchange()))
    for word in ("Zhejiang", "浙江", "Hz", "站点", "400G · 1.2ms", "1 isp", "1 cloud", "RS  rs1", "枢纽", "leased from a carrier"):
        assert word in found


def test_the_same_exchange_gives_the_same_picture() -> None:
    """To the byte, in whatever order its resources came."""
    assert draw(placed()) == draw(Snapshot(reversed(list(placed()))))


def test_north_is_up_and_east_is_right() -> None:
    """Wherever sites have positions."""
    places = positions(placed())
    assert places["jx"][1] < places["hz"][1] < places["wz"][1] < places["sg"][1]
    assert places["sg"][0] < places["hz"][0] < places["nb"][0]


def test_sites_are_far_enough_apart_to_be_labelled() -> None:
    """Also where cities lie close together and one is far away."""
    for snapshot in (placed(), exchange()):
        places = positions(snapshot)
        assert all(((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5 > APART_MIN * 0.8 for a, b in combinations(places.values(), 2))
        assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in places.values())


def test_a_site_abroad_is_drawn_as_one() -> None:
    """By the country of the exchange."""
    snapshot = placed()
    assert {each.name: part_of(each, snapshot) for each in snapshot.of(Site)} == {
        "hz": "hub",
        "nb": "backbone",
        "wz": "node",
        "jx": "node",
        "sx": "node",
        "sg": "overseas",
    }


def test_titles_cannot_break_the_picture() -> None:
    """What people write is text, never markup."""
    picture = draw(exchange({"Exchange/zj": {"title": {"en": '<script>alert(1)</script> & "co"'}}}))
    assert "<script>" not in picture
    assert '<script>alert(1)</script> & "co"' in words(picture)


def test_an_empty_exchange_has_a_picture_that_says_so() -> None:
    """And so has one with a single site."""
    assert "no sites are declared" in words(draw(Snapshot()))
    alone: dict[str, Fields | None] = dict.fromkeys(
        ("Site/nb", "Site/wz", "Link/hz-nb", "Link/nb-wz", "RouteServer/rs1", "Port/bob", "Session/bob")
    )
    assert "1 sites" in words(draw(exchange(alone)))
