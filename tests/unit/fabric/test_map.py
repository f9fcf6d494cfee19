"""The picture: what is on it, that it can be read, and that nothing is told by colour alone."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import pytest

from nnix.cli.files import admitted
from nnix.kernel.plane import Status
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.look import Look, observed, rates, supposed
from nnix.planes.fabric.map import APART_MIN, BUSY, COLOURS, FULL, HARM, LINE, draw, part_of, positions, sheet_for
from nnix.planes.fabric.prove.survival import Survival
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
        sheet = sheet_for(len(places))
        assert all(0 < x < sheet.width and 0 < y < sheet.height for x, y in places.values())


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


# --- load, failures, members cut off

EXAMPLES = Path(__file__).parents[3] / "examples"
AS_SEEN = ("as running", "运行中")
CALM = COLOURS["backbone"]


def line_of(picture: str, link: str) -> ElementTree.Element:
    """The drawn line of a link, by what it says to whoever points at it."""
    for each in ElementTree.fromstring(picture).iter():  # noqa: S314 - our own
        title = each.find("{http://www.w3.org/2000/svg}title")
        if title is not None and (title.text or "").startswith(f"{link} "):
            return each
    raise AssertionError(f"{link} is not drawn")


@pytest.mark.parametrize(
    ("part", "sign", "colour"),
    [(0.0, "400G · 1G", CALM), (0.59, "400G · 59 %", CALM), (0.6, "▲ 400G · 60 %", BUSY), (1.2, "▲▲ 400G · 120 %", FULL)],
)
def test_load_is_told_by_a_number_a_sign_and_a_colour(part: float, sign: str, colour: str) -> None:
    """The fuller way counts; both are there for whoever points at the line."""
    picture = draw(exchange(), Look(AS_SEEN, load={"hz-nb": (1e9, part * 400e9)}))
    assert sign in [each.text for each in ElementTree.fromstring(picture).iter()]  # noqa: S314 - our own
    line = line_of(picture, "link/hz-nb")
    assert line.get("stroke") == colour
    assert f"to hz: {100 * part:.0f} %" in words(picture)
    assert "to nb: 1G" in words(picture)


def test_a_link_without_known_load_keeps_its_latency() -> None:
    """Nothing is made up for it."""
    picture = draw(exchange(), Look(AS_SEEN, load={"hz-nb": (1e9, 1e9)}))
    assert "100G · 2.5ms" in words(picture)
    assert line_of(picture, "link/nb-wz").get("stroke") == LINE


def test_a_failed_link_has_dots_and_a_cross_and_an_unknown_one_a_question_mark() -> None:
    """Besides its colour."""
    sound = draw(exchange(), Look(AS_SEEN))
    failed = draw(exchange(), Look(AS_SEEN, failed=frozenset({"link/hz-nb"})))
    unknown = draw(exchange(), Look(AS_SEEN, unknown=frozenset({"link/hz-nb"})))
    assert line_of(sound, "link/hz-nb").get("stroke-dasharray") is None
    assert line_of(failed, "link/hz-nb").get("stroke-dasharray") == "1.5 7"
    crosses = [picture.count(f'stroke="{HARM}" stroke-width="5"') for picture in (sound, failed, unknown)]
    assert crosses == [0, 1, 0]
    assert [" ? " in f" {words(picture)} " for picture in (sound, failed, unknown)] == [False, False, True]


def test_members_cut_off_are_counted_where_they_are_and_named_below() -> None:
    """In both languages; a lost site is drawn empty."""
    look = Look(AS_SEEN, failed=frozenset({"site/wz"}), lost=frozenset({"wz"}), cut_off=("bob",))
    picture = draw(exchange(), look)
    assert "✕ 1 cut off · 断开" in words(picture)
    assert "✕ 1 members cut off · 断开的成员: bob" in words(picture)
    assert 'stroke-dasharray="5 4"' in picture
    assert 'stroke-dasharray="5 4"' not in draw(exchange(), Look(AS_SEEN))


def test_circuits_cut_off_are_named_beside_the_members() -> None:
    """Those that are down and those that go on without some ends; as supposed and as read from the switches."""
    snapshot = exchange()
    survival = Survival(snapshot)
    failure = next(each for each in survival.failures if each.of == "link/hz-nb")
    look = supposed(survival, survival.several(failure), failure=True)
    assert (look.circuits, look.parted) == (("private",), ())
    said = words(draw(snapshot, look))
    assert "✕ 1 circuits down · 中断的专线: private" in said
    assert "1 members cut off" in said
    assert "1 circuits in part · 部分中断: group" in words(draw(snapshot, Look(AS_SEEN, parted=("group",))))
    assert observed(snapshot, seen(link__hz_nb="down"), {}, "now").circuits == ("private",)
    assert observed(snapshot, seen(), {}, "now").circuits == ()
    assert observed(snapshot, [*seen(), Status("circuit/private", "down")], {}, "now").circuits == ("private",)
    assert observed(snapshot, [*seen(site__nb="unreachable"), Status("circuit/private", "down")], {}, "now").circuits == ()


def test_what_is_shown_is_said_in_both_languages() -> None:
    """In the picture and in its title."""
    picture = draw(exchange(), Look(AS_SEEN))
    assert "as running · 运行中" in words(picture)
    assert next(ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}title")).text == "Zhejiang · 浙江 · as running · 运行中"  # noqa: S314 - our own


def test_the_proof_and_the_picture_agree_on_a_failure() -> None:
    """Without the one link to wz, who is only there is cut off; nothing flows on it any more."""
    snapshot = exchange({"Port/bob-2": None, "Circuit/private": None})
    survival = Survival(snapshot)
    failure = next(each for each in survival.failures if each.of == "link/nb-wz")
    look = supposed(survival, survival.several(failure), failure=True)
    assert (set(look.failed), set(look.lost), look.cut_off) == ({"link/nb-wz"}, {"wz"}, ("bob",))
    assert set(look.load) == {"hz-nb"}
    assert look.says == ("if link/nb-wz failed", "假设 link/nb-wz 故障")
    assert supposed(survival, survival.normal(), failure=False).failed == frozenset()


def seen(**states: str) -> list[Status]:
    """Statuses of all sites and links; those not named are up."""
    named = {each.replace("__", "/").replace("_", "-"): state for each, state in states.items()}
    everything = ("site/hz", "site/nb", "site/wz", "link/hz-nb", "link/nb-wz")
    return [Status(each, named.get(each, "up")) for each in everything]


@pytest.mark.parametrize(
    ("states", "failed", "unknown", "lost", "cut_off"),
    [
        ({}, set(), set(), set(), ()),
        ({"link__nb_wz": "down"}, {"link/nb-wz", "site/wz"}, set(), {"wz"}, ("bob",)),
        ({"link__nb_wz": "unknown"}, set(), {"link/nb-wz"}, set(), ()),
        ({"site__wz": "unreachable"}, set(), {"site/wz"}, set(), ()),
        ({"site__wz": "cut"}, {"site/wz"}, set(), {"wz"}, ("bob",)),
        ({"site__wz": "partial"}, set(), set(), set(), ()),
    ],
)
def test_what_was_read_says_who_is_cut_off(
    states: dict[str, str], failed: set[str], unknown: set[str], lost: set[str], cut_off: tuple[str, ...]
) -> None:
    """What cannot be asked is not said to have failed."""
    look = observed(exchange({"Port/bob-2": None, "Circuit/private": None}), seen(**states), {}, "12:00:00 UTC")
    assert (set(look.failed), set(look.unknown), set(look.lost), look.cut_off) == (failed, unknown, lost, cut_off)
    assert look.says == ("as running, 12:00:00 UTC", "运行中")


def test_a_rate_is_what_was_counted_between_two_readings() -> None:
    """In bits, for each way. A counter that began anew, and a link that was not there before, say nothing."""
    before = {"one": (1000, 0), "anew": (5000, 5000)}
    assert rates(before, {"one": (3000, 500), "anew": (10, 6000), "fresh": (7, 7)}, 2.0) == {"one": (8000.0, 2000.0)}


@pytest.mark.parametrize("name", ["zhejiang", "national"])
def test_the_examples_stay_on_the_sheet(name: str) -> None:
    """Every word of the picture, with load and with a failure, begins and ends on it."""
    snapshot = admitted(EXAMPLES / name, Snapshot()).snapshot
    survival = Survival(snapshot)
    failure = next(each for each in survival.failures if each.of.startswith("carrier/"))
    sheet = sheet_for(len(snapshot.of(Site)))
    for look in (supposed(survival, survival.normal(), failure=False), supposed(survival, survival.several(failure), failure=True)):
        for each in ElementTree.fromstring(draw(snapshot, look)).iter("{http://www.w3.org/2000/svg}text"):  # noqa: S314 - our own
            wide = sum(1.0 if ord(letter) > 0x2E7F else 0.57 for letter in each.text or "") * float(each.get("font-size", "0"))
            left = float(each.get("x", "0")) - {"start": 0.0, "middle": wide / 2, "end": wide}[each.get("text-anchor", "start")]
            assert 0 <= left <= left + wide <= sheet.width, each.text


# Machado, Oliveira, Fernandes (2009), severity 1: what eyes without one kind of cone see of linear RGB.
EYES = {
    "three kinds of cone": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def lab(colour: str, eye: str) -> tuple[float, float, float]:
    """CIE L*a*b* (D65) of `#RRGGBB` as `eye` sees it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    r, g, b = (min(1.0, max(0.0, sum(m * each for m, each in zip(row, linear, strict=True)))) for row in EYES[eye])
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (each ** (1 / 3) if each > 0.008856 else 7.787 * each + 16 / 116 for each in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("eye", EYES)
def test_every_eye_tells_the_colours_of_lines_apart(eye: str) -> None:
    """At least 15 apart in L*a*b*; about 2 can be seen side by side."""
    for one, other in combinations((CALM, BUSY, FULL, HARM, LINE), 2):
        apart = sum((a - b) ** 2 for a, b in zip(lab(one, eye), lab(other, eye), strict=True)) ** 0.5
        assert apart > 15, (one, other)
