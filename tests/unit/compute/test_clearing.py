"""What a clearing promises, on markets that are drawn: nobody loses, no fen is left over, no name has a say, the bound holds, and every figure can be had again."""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnix.planes.compute.market import clear as clear_module
from nnix.planes.compute.market import verify
from nnix.planes.compute.market.clear import SOLVED_TIMES, Clearing, bound_of, clear, greedy, last_asks, paid, welfare_of
from nnix.planes.compute.market.model import Programme
from nnix.planes.compute.market.orders import Buy, Orders, Sell, Want, feasible
from nnix.planes.compute.market.publish import published
from nnix.planes.compute.market.record import WANT, digest_of
from nnix.planes.compute.market.verify import faults
from nnix.planes.members.kinds import MONEY_FEN_MAX

SITES, DEVICES, HOURS = ("hz", "nb", "wz"), ("a/x", "b/y"), 3
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@st.composite
def markets(draw: st.DrawFn, buys_max: int = 6) -> Orders:
    """Small markets with bundles over hours and sites, transfer, one link that is scarce, and a port that takes one circuit or two."""
    numbers = st.integers
    sells = [
        Sell(
            f"o{n}",
            f"p{n % 4}",
            f"m{n % 3}",
            draw(st.sampled_from(SITES)),
            draw(st.sampled_from(DEVICES)),
            draw(numbers(50, 150)),
            start,
            lots,
        )
        for n in range(draw(numbers(1, 6)))
        for start in [draw(numbers(0, HOURS - 1))]
        for lots in [tuple(draw(st.lists(numbers(0, 6), min_size=HOURS - start, max_size=HOURS - start)))]
    ]
    buys = []
    for n in range(draw(numbers(1, buys_max))):
        wants = []
        for _ in range(draw(numbers(1, 3))):
            site, device, devices = draw(st.sampled_from(SITES)), draw(st.sampled_from(DEVICES)), draw(numbers(1, 6))
            start = draw(numbers(0, HOURS - 1))
            hours = draw(numbers(1, HOURS - start))
            limit = devices * hours * draw(numbers(40, 250))
            links = ("hz-nb",) if draw(st.booleans()) else ()
            ends = ("port-1",) if draw(st.booleans()) else ()
            wants.append(Want(site, device, devices, start, hours, limit, draw(numbers(0, 200)) if links else 0, 6 * 10**9, links, ends))
        buys.append(Buy(f"b{n}", f"n{n % 4}", tuple(dict.fromkeys(wants))))
    return feasible(Orders("now", tuple(sells), tuple(buys), {"hz-nb": 10 * 10**9}, {"port-1": draw(numbers(1, 2))}))


def possible(orders: Orders) -> Iterator[list[tuple[int, Want]]]:
    """Every set of trades there is."""
    for chosen in itertools.product(*([None, *buy.wants] for buy in orders.buys)):
        won = [(number, want) for number, want in enumerate(chosen) if want is not None]
        lots: Counter[tuple[str, str, int]] = Counter()
        links: Counter[str] = Counter()
        ends: Counter[str] = Counter()
        for _, want in won:
            lots.update(dict.fromkeys(want.cells(), want.devices))
            links.update(dict.fromkeys(want.links, want.rate))
            ends.update(want.ends)
        supply = {cell: sum(n for _, n in steps) for cell, steps in orders.supply().items()}
        there = all(n <= supply.get(cell, 0) for cell, n in lots.items())
        if (
            there
            and all(n <= orders.room[port] for port, n in ends.items())
            and all(rate <= orders.free[link] for link, rate in links.items())
        ):
            yield won


@quick
@given(markets())
def test_nobody_loses_and_no_fen_is_left_over(orders: Orders) -> None:
    """Added up here, from orders and prices: buyers within limits, sellers at their asks or above, what is paid is received."""
    found = clear(orders)
    spent = 0
    for _, want in found.won:
        cost = want.devices * sum(found.prices[cell] for cell in want.cells())
        assert cost + want.transfer <= want.limit
        spent += cost
    received = 0
    for sell, sold in zip(orders.sells, found.sold, strict=True):
        for hour, (had, gone) in enumerate(zip(sell.lots, sold, strict=True), sell.start):
            price = found.prices.get((sell.site, sell.device, hour))
            assert 0 <= gone <= had
            if gone:
                assert price is not None and price >= sell.ask
                received += gone * price
            if price is not None and price > sell.ask:
                assert gone == had, "an offer below the price is sold out"
    assert spent == received
    assert faults(published(found)) == ()


@quick
@given(markets(buys_max=5))
def test_the_bound_holds_and_the_best_is_found_where_one_price_allows_it(orders: Orders) -> None:
    """Against every set of trades there is. What is lost to the best is no more than was banned, or the gap at which the solver may stop."""
    best = max(welfare_of(orders, won) for won in possible(orders))
    found = clear(orders)
    assert found.welfare == welfare_of(orders, found.won) <= best <= found.bound == bound_of(orders, found.duals)
    assert found.gap_ppm == -(-(found.bound - found.welfare) * 10**6 // found.bound) if found.bound else found.gap_ppm == 0
    if not found.banned:
        assert found.welfare >= best * (1 - 5e-4) - 1
    assert set(found.rejected) == {buy.bid for buy in orders.buys} - {orders.buys[number].bid for number, _ in found.won}


@quick
@given(markets(buys_max=5))
def test_what_one_price_for_all_costs_is_no_more_than_half_of_what_nobody_can_prove(orders: Orders) -> None:
    """Against every set of trades at which nobody loses, unless it was given up after the last round."""
    fair = max(
        welfare_of(orders, won)
        for won in possible(orders)
        for last in [{cell: last for cell, (last, _) in last_asks(orders, won).items()}]
        if all(paid(want, last) <= want.worth for _, want in won)
    )
    found = clear(orders)
    assert found.rounds == SOLVED_TIMES or found.welfare >= fair - (found.bound - fair) / 2 - 5e-4 * found.bound - 1


def shape(found: Clearing, bids: dict[str, str], sites: dict[str, str]) -> Any:
    """A clearing with names given back."""
    won = {(bids[found.orders.buys[n].bid], sites[w.site], w.device, w.devices, w.start, w.hours, w.limit) for n, w in found.won}
    return won, {(sites[site], device, hour): price for (site, device, hour), price in found.prices.items()}, found.welfare, found.bound


@quick
@given(markets(), st.randoms(use_true_random=False))
def test_the_order_in_which_orders_came_in_has_no_say(orders: Orders, chance: Any) -> None:
    """The same record, byte for byte."""
    sells, buys = list(orders.sells), [replace(b, wants=tuple(chance.sample(b.wants, len(b.wants)))) for b in orders.buys]
    chance.shuffle(sells)
    chance.shuffle(buys)
    assert published(clear(feasible(replace(orders, sells=tuple(sells), buys=tuple(buys))))) == published(clear(orders))


@quick
@given(markets(), st.permutations(range(3)), st.permutations(range(6)))
def test_names_of_sites_and_bids_have_no_say(orders: Orders, sites: list[int], bids: list[int]) -> None:
    """Other names, same trades; unless orders are alike in all but their name, where something has to decide."""
    site = {old: f"s{sites[n]}" for n, old in enumerate(SITES)}
    bid = {f"b{n}": f"x{bids[n]}" for n in range(6)}
    renamed = feasible(
        replace(
            orders,
            sells=tuple(replace(each, site=site[each.site]) for each in orders.sells),
            buys=tuple(
                replace(each, bid=bid[each.bid], wants=tuple(replace(want, site=site[want.site]) for want in each.wants))
                for each in orders.buys
            ),
        )
    )
    before, after = clear(orders), clear(renamed)
    assert (before.welfare, before.bound) == (after.welfare, after.bound)
    alike = len({each.wants for each in orders.buys}) < len(orders.buys) or len({replace(s, offer="") for s in orders.sells}) < len(
        orders.sells
    )
    if not alike:
        same = {name: name for name in (*SITES, *bid)}
        back = {new: old for old, new in {**site, **bid}.items()}
        assert Counter(w.limit for _, w in before.won) == Counter(w.limit for _, w in after.won)
        assert shape(before, same, same) == shape(after, back, back)


def test_under_other_names_the_solver_gets_the_very_same_programme() -> None:
    """On ways of several links that all fill up, with ports that several bids need: its columns and rows stand in an order of content, down to the last entry."""
    chance = random.Random(24)
    names = {sort: [f"{sort}{n}" for n in range(6)] for sort in ("site", "link", "port", "bid", "offer")}
    fresh = {old: new for each in names.values() for old, new in zip(each, reversed([f"x{old}" for old in each]), strict=True)}
    sells = [
        Sell(offer, f"p{n}", f"m{n}", site, "a/x", chance.randint(50, 150), 0, (chance.randint(1, 9), 4))
        for n, (offer, site) in enumerate(zip(names["offer"], names["site"], strict=True))
    ]
    buys = [
        Buy(bid, f"n{n}", tuple(
            Want(site, "a/x", chance.randint(1, 4), 0, 2, chance.randint(900, 3000), 0, 6 * 10**9, tuple(sorted(chance.sample(names["link"], 3))), tuple(sorted(chance.sample(names["port"], 2))))
            for site in chance.sample(names["site"], 4)
        ))
        for n, bid in enumerate(names["bid"])
    ]  # fmt: skip
    free, room = ({name: chance.randint(7, 13) * 10**9 for name in names["link"]}, {name: chance.randint(1, 3) for name in names["port"]})

    def called(name: str) -> str:
        return fresh[name]

    def renamed(want: Want) -> Want:
        return replace(
            want, site=called(want.site), links=tuple(sorted(map(called, want.links))), ends=tuple(sorted(map(called, want.ends)))
        )

    before = feasible(Orders("now", tuple(sells), tuple(buys), free, room))
    after = feasible(
        Orders(
            "now",
            tuple(replace(each, offer=called(each.offer), site=called(each.site)) for each in sells),
            tuple(replace(each, bid=called(each.bid), wants=tuple(map(renamed, each.wants))) for each in buys),
            {called(name): bits for name, bits in free.items()},
            {called(name): circuits for name, circuits in room.items()},
        )
    )
    assert len(before.buys[0].wants) > 1
    assert Programme(before).spelled() == Programme(after).spelled()


def test_bids_that_are_alike_are_not_tried_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 bids want the same: each would gain from the cheap lots, and lose at the one price that the dear ones make. One that wants less is filled instead."""
    tried = []

    def counted(*given: Any) -> list[tuple[int, Want]]:
        tried.append(given)
        return greedy(*given)

    monkeypatch.setattr(clear_module, "greedy", counted)
    sells = (Sell("cheap", "p1", "east", "hz", "a/x", 100, 0, (10,)), Sell("dear", "p2", "west", "hz", "a/x", 300, 0, (100,)))
    alike = tuple(Buy(f"b{n:03}", f"n{n}", (Want("hz", "a/x", 16, 0, 1, 3200, 0, 0, ()),)) for n in range(200))
    small = Buy("small", "m", (Want("hz", "a/x", 4, 0, 1, 500, 0, 0, ()),))
    found = clear(feasible(Orders("now", sells, (*alike, small), {})))
    assert [found.orders.buys[number].bid for number, _ in found.won] == ["small"]
    assert faults(published(found)) == ()
    assert len(tried) < 20


def test_the_largest_amounts_are_solved_as_well_as_small_ones() -> None:
    """Sixty bids that each give the most that money can be, for lots that cost little: those that want few are filled, and as many as with a limit of 1,000 yuan."""

    def filled(limit: int) -> int:
        chance = random.Random(7)
        sells = tuple(Sell(f"o{n}", f"p{n}", "east", SITES[n], "a/x", 100 + n, 0, (40, 40)) for n in range(3))
        buys = tuple(
            Buy(
                f"b{n:02}",
                f"n{n}",
                tuple(Want(site, "a/x", chance.randint(3, 11), hour, 1, limit, 0, 0, ()) for site in SITES for hour in (0, 1)),
            )
            for n in range(60)
        )
        found = clear(feasible(Orders("now", sells, buys, {})))
        assert faults(published(found)) == ()
        return len(found.won)

    assert filled(MONEY_FEN_MAX) == filled(10**5)


# --- the proof ----------------------------------------------------------------------------------------------------------


def example() -> dict[str, Any]:
    """Two sites; a bundle that is filled at either, one that is outbid, one that nobody can serve."""
    sells = (
        Sell("cheap", "p1", "east", "hz", "a/x", 100, 0, (8, 8)),
        Sell("dear", "p2", "west", "hz", "a/x", 140, 0, (8, 8)),
        Sell("far", "p3", "north", "nb", "a/x", 90, 0, (8, 8)),
    )
    buys = (
        Buy(
            "train",
            "n1",
            (Want("hz", "a/x", 10, 0, 2, 4000, 0, 10**9, ("hz-nb",)), Want("nb", "a/x", 8, 0, 2, 2500, 300, 10**9, ("hz-nb",))),
        ),
        Buy("search", "n2", (Want("nb", "a/x", 6, 0, 1, 900, 100, 10**9, ("hz-nb",)),)),
        Buy("low", "n3", (Want("hz", "a/x", 8, 0, 2, 1650, 0, 0, ()),)),
        Buy("late", "n4", (Want("wz", "a/x", 1, 0, 1, 500, 0, 0, ()),)),
    )
    return published(clear(feasible(Orders("now", sells, buys, {"hz-nb": 10 * 10**9}))))


def test_names_do_not_decide_between_bids_on_other_links_or_ports() -> None:
    """Two bids alike but for the link that they take, one with more room than the other; or for the port that one of them shares with a third."""
    sells = (Sell("o", "p", "m", "hz", "a/x", 100, 0, (4,)),)

    def want(limit: int, links: tuple[str, ...], ends: tuple[str, ...]) -> tuple[Want, ...]:
        return (Want("hz", "a/x", 4, 0, 1, limit, 0, 10**9, links, ends),)

    def winner(one: str, other: str, *, ports: bool) -> set[str]:
        free = {"l1": 10 * 10**9, "l2": 90 * 10**9}
        room = {"p1": 1, "p2": 1}
        first, second = (((), ("p1",)), ((), ("p2",))) if ports else ((("l1",), ()), (("l2",), ()))
        third = Buy("low", "w", want(500, (), ("p2",)))
        found = clear(
            feasible(Orders("now", sells, (Buy(one, "u", want(1000, *first)), Buy(other, "v", want(1000, *second)), third), free, room))
        )
        return {"first" if found.orders.buys[number].bid == one else "second" for number, _ in found.won}

    for ports in (False, True):
        assert winner("a", "b", ports=ports) == winner("b", "a", ports=ports)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list) and value:
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, (*path, key))
    else:
        yield path


def altered(record: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    fresh = copy.deepcopy(record)
    where: Any = fresh
    for key in path[:-1]:
        where = where[key]
    old = where[path[-1]]
    where[path[-1]] = (
        not old if isinstance(old, bool) else old + 1 if isinstance(old, int) else f"{old}x" if isinstance(old, str) else ["x"]
    )
    return fresh


def test_whatever_is_altered_is_found() -> None:
    """Every number and every word of a record, one by one."""
    record = example()
    assert faults(record) == ()
    places = list(leaves(record))
    assert len(places) > 100
    for path in places:
        assert faults(altered(record, path)), path


def test_who_alters_and_signs_anew_is_found_where_somebody_is_harmed() -> None:
    """With a digest that fits again: trades, deals, reasons, the bound and its proof do not add up any more."""
    record = example()
    for path in leaves(record):
        if path[0] in ("accepted", "deals", "rejected", "welfare", "bound", "gap_ppm"):
            fresh = altered(record, path)
            fresh["digest"] = digest_of(fresh)
            assert faults(fresh), path
    for key, row in (("deals", 0), ("prices", 0)):
        fresh = copy.deepcopy(record)
        del fresh[key][row]
        fresh["digest"] = digest_of(fresh)
        assert faults(fresh), key


CHEATS: dict[str, tuple[str, Any]] = {
    "a price below an ask": ("C5", lambda r: r["prices"][0].update(fen=1)),
    "a price above a limit": ("C6", lambda r: r["prices"][0].update(fen=5000)),
    "two prices": ("C4", lambda r: r["prices"].append(dict(r["prices"][0], fen=r["prices"][0]["fen"] + 1))),
    "lots that were not there": ("C3", lambda r: r["inputs"]["sells"][0].update(lots=[0, 0])),
    "a member that sells to itself": ("C10", lambda r: [each.update(seller="n1") for each in r["inputs"]["sells"]]),
    "a link that carries too much": ("C9", lambda r: r["inputs"]["free"].update({"hz-nb": 1})),
    "a bid that is forgotten": ("C8", lambda r: r["rejected"].clear()),
    "a dual below nothing": ("C2", lambda r: r["duals"]["products"][0].update(millifen=-(10**9))),
    "a bound that the duals do not prove": ("C11", lambda r: r.update(bound=r["welfare"], gap_ppm=0) or r["duals"]["products"][0].update(millifen=10**8)),
    "a field more": ("C2", lambda r: r.update(note="trust me")),
    "more hours than anybody can count": ("C2", lambda r: r["inputs"]["buys"][0]["wants"][0].__setitem__(WANT.index("hours"), 10**8)),
    "a way that is none": ("C2", lambda r: r["inputs"]["buys"][0]["wants"][0].__setitem__(WANT.index("way"), 99)),
    "an hour that no calendar has": ("C2", lambda r: r["inputs"]["buys"][0]["wants"][0].__setitem__(WANT.index("start"), 10**9)),
    "a deal in an hour that no calendar has": ("C2", lambda r: r["deals"][0]["hours"].append(10**9)),
    "a want of other fields": ("C2", lambda r: r["inputs"]["buys"][0]["wants"][0].pop()),
    "no numbers": ("C2", lambda r: r["prices"][0].update(fen=1.5)),
}  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
def test_each_check_finds_what_it_is_for(cheat: str) -> None:
    check, doing = CHEATS[cheat]
    record = example()
    doing(record)
    record["digest"] = digest_of(record)
    assert check in {each.check for each in faults(record)}


def test_keys_may_stand_in_any_order_and_values_may_not() -> None:
    """A record that another program wrote again has the same digest, whichever of its keys come first; a list in another order is another record."""

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(each) for each in value] if isinstance(value, list) else value

    record = example()
    one_row = copy.deepcopy(record)
    one_row["inputs"]["buys"][-1] = turned(one_row["inputs"]["buys"][-1])
    for same in (turned(record), one_row):
        assert json.dumps(same) != json.dumps(record)
        assert digest_of(same) == record["digest"]
        assert faults(same) == ()
    other = {**record, "deals": record["deals"][::-1]}
    assert {each.check for each in faults(other)} == {"C1"}


def test_amounts_beyond_64_bits_are_added_up_as_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is altered, and signed anew, the same is found in Python's numbers; and numbers that are too large for anything else are read and added up."""
    record = example()
    for path in leaves(record):
        fresh = altered(record, path)
        fresh["digest"] = digest_of(fresh)
        found = faults(fresh)
        with monkeypatch.context() as patched:
            patched.setattr(verify, "_exact", lambda *_: object)
            assert faults(fresh) == found, path
        where: Any = fresh
        for key in path[:-1]:
            where = where[key]
        if type(where[path[-1]]) is int:
            where[path[-1]] = 10**30
            fresh["digest"] = digest_of(fresh)
            assert not [str(each) for each in faults(fresh) if "cannot be read" in each.what], path


@pytest.mark.parametrize("rubbish", [None, [], {}, {"format": 1}, "x", {"digest": 3}])
def test_what_is_no_record_is_a_fault_and_no_exception(rubbish: Any) -> None:
    assert faults(rubbish)
