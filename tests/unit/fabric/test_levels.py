"""How far traffic between two sites reaches, and which failure widens it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.levels import ORDER, Levels, scope, widened
from nnix.planes.fabric.prove.network import failures, network
from nnix.planes.members.kinds import Level, Site

from .exchanges import KINDS
from .test_prove import a_link, a_site, dead, exchanges


def ring(**of_link: str) -> Snapshot:
    """Hangzhou and Ningbo in Zhejiang, joined directly; the way round leads through Shanghai, and a longer one through Singapore."""
    return Snapshot(
        [
            a_site("hz", "hub", province="Zhejiang"),
            a_site("nb", province="Zhejiang"),
            a_site("sh", province="Shanghai"),
            a_site("sg", country="SG"),
            a_link("hz-nb", "hz", "nb", 1000, **of_link),
            a_link("hz-sh", "hz", "sh", 1000),
            a_link("sh-nb", "sh", "nb", 1000),
            a_link("hz-sg", "hz", "sg", 20000),
            a_link("sg-nb", "sg", "nb", 20000),
        ]
    )


def place(city: str, province: str | None = None, country: str = "CN") -> Site:
    found = a_site(city.lower(), city=city, country=country, **({"province": province} if province else {}))
    assert isinstance(found, Site)
    return found


@pytest.mark.parametrize(
    ("sites", "level"),
    [
        ([place("Hangzhou", "Zhejiang")], Level.CITY),
        ([place("Hangzhou", "Zhejiang"), place("Hangzhou", "Zhejiang")], Level.CITY),
        ([place("Hangzhou", "Zhejiang"), place("Ningbo", "Zhejiang")], Level.PROVINCE),
        ([place("Hangzhou", "Zhejiang"), place("Ningbo", "Zhejiang"), place("Shanghai", "Shanghai")], Level.NATIONAL),
        ([place("Hangzhou"), place("Ningbo")], Level.NATIONAL),
        ([place("Hangzhou"), place("Hangzhou")], Level.CITY),
        ([place("Suzhou", "Jiangsu"), place("Suzhou", "Anhui")], Level.NATIONAL),
        ([place("Hangzhou", "Zhejiang"), place("Singapore", country="SG")], Level.CROSS_BORDER),
        ([place("Hangzhou", "Zhejiang"), place("Shanghai", "Shanghai"), place("Singapore", country="SG")], Level.CROSS_BORDER),
    ],
)
def test_the_level_is_the_smallest_scope_that_contains_all(sites: list[Site], level: Level) -> None:
    """In whatever order they stand; an unknown province is no common one."""
    assert {scope(sites), scope(sites[::-1])} == {level}


def test_the_failure_that_takes_traffic_out_of_the_province_is_named() -> None:
    """And the way that it then takes."""
    found = widened(ring(), "hz", "nb", Level.PROVINCE)
    assert [(each.failure, each.level, each.path) for each in found] == [("link/hz-nb", Level.NATIONAL, ("hz", "sh", "nb"))]
    assert widened(ring(), "hz", "nb", Level.NATIONAL) == []


def test_what_is_too_wide_already_is_said_first() -> None:
    """With no failure named."""
    found = widened(ring(), "hz", "sh", Level.PROVINCE)
    assert (found[0].failure, found[0].level) == (None, Level.NATIONAL)


def test_a_link_may_go_farther_than_its_ends() -> None:
    """A line of one province that is led through another country."""
    found = widened(ring(level="cross-border"), "hz", "nb", Level.PROVINCE)
    assert (found[0].failure, found[0].level, found[0].path) == (None, Level.CROSS_BORDER, ("hz", "nb"))


def test_of_equally_short_ways_all_count() -> None:
    """A packet may take any of them."""
    snapshot = ring().replaced([a_link("hz-nb", "hz", "nb", 2000)])
    assert Levels(snapshot).normal("hz", "nb").level is Level.NATIONAL


def test_a_failure_that_leaves_no_way_takes_nothing_anywhere() -> None:
    """Cut off is not led astray."""
    snapshot = Snapshot([a_site("hz", "hub", province="Z"), a_site("nb", province="Z"), a_link("hz-nb", "hz", "nb", 1000)])
    assert widened(snapshot, "hz", "nb", Level.PROVINCE) == []
    assert [each.level for each in Levels(snapshot).after_each("hz", "nb")] == [None]


def test_an_unknown_site_is_named() -> None:
    """Rather than taken for one without a way."""
    with pytest.raises(LookupError, match="no site xx"):
        widened(ring(), "hz", "xx", Level.CITY)


@settings(max_examples=40, deadline=None)
@given(exchanges())
def test_no_failure_that_widens_is_left_out(snapshot: Snapshot) -> None:
    """Only failures that touch a way are looked at; looking at each one, with all of it gone from the files, finds no other."""
    country = {"s0": "CN", "s1": "CN", "s2": "SG"}
    sites = [each.changed(country=country.get(each.name, "CN")) for each in snapshot.of(Site)]
    snapshot = snapshot.replaced(sites)
    found = {each.failure for each in widened(snapshot, "s0", "s1", Level.NATIONAL)}
    expected = set()
    for failure in failures(network(snapshot)):
        dead_sites, dead_links = dead(snapshot, failure)
        if dead_sites & {"s0", "s1"}:
            continue
        left = snapshot.replaced(gone=[f"link/{name}" for name in dead_links])
        reach = Levels(left).normal("s0", "s1")
        if reach.level is Level.CROSS_BORDER:
            expected.add(failure.of)
    normal = Levels(snapshot).normal("s0", "s1").level
    if normal is not Level.CROSS_BORDER:
        assert found == expected
    else:
        assert None in found
        assert found - {None} <= expected


def test_levels_are_in_order() -> None:
    """From the smallest to the largest, and all of them."""
    assert tuple(Level) == ORDER
    assert KINDS["Site"] is Site
