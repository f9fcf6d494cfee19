"""Tunnel ends are allocated once, and stay."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.members import allocate as allocation
from nnix.planes.members.kinds import Site
from nnix.planes.members.plane import PLANE
from nnix.planes.members.rules import RULES


def site(name: str, vtep: str | None = None) -> Site:
    fields = {"name": name, "title": {"en": name}, "role": "node", "level": "city", "city": name, "country": "CN"}
    return Site.model_validate(fields | ({"vtep": vtep} if vtep else {}))


def completed(snapshot: Snapshot, before: Snapshot) -> Snapshot:
    assert PLANE.allocate is not None
    return snapshot.replaced(PLANE.allocate(snapshot, before))


def vteps(snapshot: Snapshot) -> dict[str, str]:
    return {each.name: str(each.vtep) for each in snapshot.of(Site)}


def test_new_sites_get_the_lowest_free_addresses_by_name() -> None:
    """An address that a site declares is never given to another."""
    wish = Snapshot([site("b"), site("a"), site("c", "10.255.0.2")])

    assert vteps(completed(wish, Snapshot())) == {"a": "10.255.0.1", "b": "10.255.0.3", "c": "10.255.0.2"}


def test_a_site_keeps_its_address_when_others_come_and_go() -> None:
    """Sticky: b was second, and stays at .2 when a leaves and 0 joins in front of it."""
    before = completed(Snapshot([site("a"), site("b")]), Snapshot())
    after = completed(Snapshot([site("b"), site("0")]), before)

    assert vteps(after) == {"b": "10.255.0.2", "0": "10.255.0.1"}


def test_a_declared_address_wins_over_one_that_was_allocated() -> None:
    """When a newcomer claims what another had by allocation, the other moves; admission would refuse both at one address."""
    before = completed(Snapshot([site("a")]), Snapshot())
    after = completed(Snapshot([site("a"), site("b", "10.255.0.1")]), before)

    assert vteps(after) == {"a": "10.255.0.2", "b": "10.255.0.1"}


def test_a_pool_that_is_used_up_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The site that finds no address left is named, with the mend."""
    monkeypatch.setattr(allocation, "VTEPS", IPv4Network("10.255.0.0/30"))

    with pytest.raises(Refused, match=r"site/c +vtep: no address is left"):
        completed(Snapshot([site("a"), site("b"), site("c")]), Snapshot())


NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NAMES, st.none() | st.integers(0, 9)), max_size=6))
def test_through_any_history_addresses_are_unique_and_sticky(history: list[tuple[list[str], int | None]]) -> None:
    """Sites come and go, and one of them may declare an address: nobody shares one, and who need not move does not."""
    before = Snapshot()
    for names, claimed in history:
        wish = Snapshot(_sites(names, claimed))
        after = completed(wish, before)
        found, earlier = vteps(after), vteps(before)
        assert len(set(found.values())) == len(found)
        assert all(IPv4Address(address) in allocation.VTEPS for address in found.values())
        declared = {each.name: str(each.vtep) for each in wish.of(Site) if each.vtep}
        for name, address in found.items():
            if name in earlier and name not in declared and earlier[name] not in declared.values():
                assert address == earlier[name]
        before = after


def _sites(names: Iterable[str], claimed: int | None) -> Iterable[Site]:
    for index, name in enumerate(names):
        yield site(name, f"10.255.0.{claimed + 1}" if claimed is not None and index == 0 else None)


def test_the_plane_has_its_doors() -> None:
    """The record carries kinds, rules and allocation."""
    assert (PLANE.name, PLANE.rules) == ("members", RULES)
    assert Site in PLANE.kinds
