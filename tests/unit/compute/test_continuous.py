"""What the continuous book promises, on books that are drawn: nothing is sold twice, whoever is first is first, nobody trades with itself, and none is left that could."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from nnix.planes.compute.kinds import hour_named, hour_number
from nnix.planes.compute.market.clear import clear
from nnix.planes.compute.market.continuous import Ask, Call, Fill, match, matched
from nnix.planes.compute.market.orders import orders
from tests.unit.compute.exchanges import GPU, Changes, snapshot

quick = settings(max_examples=300, deadline=None)
Book = tuple[list[Ask], list[Call]]


@st.composite
def books(draw: st.DrawFn) -> Book:
    """One product: few prices, members and moments, so that much is equal and much crosses."""
    numbers = st.integers
    asks = [
        Ask(draw(numbers(1, 8)), f"o{n}", f"p{n % 2}", f"m{draw(numbers(0, 3))}", draw(numbers(5, 10)), offered, draw(numbers(1, offered)))
        for n, offered in enumerate(draw(st.lists(numbers(1, 6), max_size=6)))
    ]
    calls = [
        Call(draw(numbers(1, 8)), f"b{n}", f"m{draw(numbers(0, 4))}", draw(numbers(5, 12)), draw(numbers(1, 6)))
        for n in range(draw(numbers(0, 6)))
    ]
    return asks, calls


def there_first(one: Ask | Call, other: Ask | Call) -> bool:
    """By the entry; within one entry, offers before bids."""
    return (one.entry, isinstance(one, Call)) < (other.entry, isinstance(other, Call))


def by_call(fills: tuple[Fill, ...]) -> dict[Call, list[Fill]]:
    found: dict[Call, list[Fill]] = {}
    for fill in fills:
        found.setdefault(fill.call, []).append(fill)
    return found


def last_of(call: Call, mine: list[Fill]) -> Ask | Call:
    """Of the orders that came together, the one whose arrival did it."""
    orders: list[Ask | Call] = [call, *(each.ask for each in mine)]
    return max(orders, key=lambda each: each.arrival)


def left_of(book: Book, fills: tuple[Fill, ...]) -> Counter[Ask]:
    left = Counter({ask: ask.lots for ask in book[0]})
    left.subtract({ask: sum(each.lots for each in fills if each.ask == ask) for ask in book[0]})
    return left


@quick
@given(books())
def test_lots_are_sold_once_and_bids_filled_whole(book: Book) -> None:
    fills = matched(*book)
    assert min(left_of(book, fills).values(), default=0) >= 0
    for call, mine in by_call(fills).items():
        assert sum(each.lots for each in mine) == call.lots
        assert len({each.ask for each in mine}) == len(mine)
    assert all(each.lots > 0 and each.ask in book[0] and each.call in book[1] for each in fills)


@quick
@given(books())
def test_the_price_is_that_of_whoever_was_there_first(book: Book) -> None:
    """So nobody sells below the ask, and nobody pays more than the limit; and nobody is on both sides."""
    for each in matched(*book):
        assert each.fen == (each.call.fen if there_first(each.call, each.ask) else each.ask.fen)
        assert each.ask.fen <= each.fen <= each.call.fen
        assert each.ask.seller != each.call.buyer


@quick
@given(books())
def test_no_book_is_left_crossing(book: Book) -> None:
    """No bid stands unfilled for which the asks that it reaches have lots enough."""
    fills = matched(*book)
    left = left_of(book, fills)
    for call in set(book[1]) - set(by_call(fills)):
        assert sum(lots for ask, lots in left.items() if ask.fen <= call.fen and ask.seller != call.buyer) < call.lots


@quick
@given(books())
def test_no_ask_is_traded_through(book: Book) -> None:
    """Nobody buys from an ask while a cheaper one, or as cheap a one that was there before it, has lots left."""
    fills = matched(*book)
    left = left_of(book, fills)
    for call, mine in by_call(fills).items():
        latest = last_of(call, mine)
        for fill in mine:
            for ask in book[0]:
                better = ask.fen < fill.ask.fen or (ask.fen == fill.ask.fen and there_first(ask, fill.ask))
                if better and ask.seller != call.buyer and not there_first(latest, ask) and latest.entry != ask.entry:
                    assert not left[ask], (call, fill.ask, ask)


@quick
@given(books())
def test_no_bid_is_passed_by_for_one_that_has_less_right(book: Book) -> None:
    """Whoever gives more, or as much and was there before, and wants no more lots, is not left waiting when another one is filled."""
    filled = by_call(matched(*book))
    for call, mine in filled.items():
        latest = last_of(call, mine)
        sellers = {each.ask.seller for each in mine}
        for other in set(book[1]) - set(filled):
            first = other.fen > call.fen or (other.fen == call.fen and other.entry < call.entry)
            if first and other.lots <= call.lots and other.buyer not in sellers:
                assert other.entry >= latest.entry, (other, call)


@quick
@given(books(), st.randoms(use_true_random=False))
def test_the_order_in_which_orders_are_handed_in_has_no_say(book: Book, chance: random.Random) -> None:
    asks, calls = list(book[0]), list(book[1])
    chance.shuffle(asks)
    chance.shuffle(calls)
    assert matched(asks, calls) == matched(*book)


SOLD_IN_PARTS: Book = (
    [Ask(2, "a-small", "p", "m0", 5, 1, 1), Ask(2, "b-large", "p", "m0", 5, 2, 2)],
    [Call(1, "before", "m1", 5, 1), Call(3, "after", "m1", 5, 1)],
)


@quick
@given(books())
@example(SOLD_IN_PARTS)
def test_matching_after_each_arrival_is_matching_once_after_all(book: Book) -> None:
    """What was sold and filled before is taken out, as the book does once there are deals; the same lots change hands at the same prices."""
    done: list[tuple[str, str, int, int]] = []
    for entry in range(1, 9):
        sold = Counter[str]()
        for _, offer, lots, _ in done:
            sold[offer] += lots
        asks = [
            replace(each, lots=each.lots - sold[each.offer]) for each in book[0] if each.entry <= entry and each.lots > sold[each.offer]
        ]
        gone = {bid for bid, *_ in done}
        calls = [each for each in book[1] if each.entry <= entry and each.bid not in gone]
        done += [(each.call.bid, each.ask.offer, each.lots, each.fen) for each in matched(asks, calls)]
    once = [(each.call.bid, each.ask.offer, each.lots, each.fen) for each in matched(*book)]
    assert sorted(done) == sorted(once)


def test_price_then_time_and_the_resting_price() -> None:
    """Told by hand: two asks and three bids."""
    early, late, dear = (Ask(n, name, "p", "s", fen, 4, 4) for n, name, fen in ((1, "early", 800), (2, "late", 800), (3, "dear", 900)))
    big = Call(4, "big", "u", 950, 9)
    assert [(each.ask.offer, each.lots, each.fen) for each in matched([dear, late, early], [big])] == [
        ("early", 4, 800),
        ("late", 4, 800),
        ("dear", 1, 900),
    ]
    waits = [Call(1, "low", "u", 850, 4), Call(3, "second", "v", 900, 4), Call(2, "z-first", "w", 900, 4)]
    comes = Ask(5, "comes", "p", "s", 800, 9, 9)
    assert [(each.call.bid, each.lots, each.fen) for each in matched([comes], waits)] == [("z-first", 4, 900), ("second", 4, 900)]


# --- from the book ------------------------------------------------------------------------------------------------------

FIRST = hour_number("2026-11-26T08Z")
LOTS = {"device": GPU, "devices": 4, "hours": 1, "start": "2026-11-26T09Z", "site": "hz"}
ALONE: Changes = {"Deal/train-1": None, "Job/train": None, "Bid/search": None, "Bid/train": None}


def deals(bid: dict[str, object], changes: Changes | None = None) -> list[tuple[str, int, int]]:
    """Of one bid in the exchange of the tests, whose offers came first."""
    made = snapshot({**ALONE, "Bid/lots": {"member": "buyer", "limit": "40yuan", "bundles": [LOTS], **bid}, **(changes or {})})
    came = {"offer/gpus-day": 1, "offer/npus-day": 1, "bid/lots": 2}
    return [(str(each.offer), each.devices, int(each.prices[0])) for each in match(made, came, "now", FIRST, FIRST + 24).deals()]


def test_what_is_no_standard_lot_waits_for_the_clearing() -> None:
    """Several alternatives, hours, sites, a start that may move, data or a circuit, too low an assurance, hours that are over: each alone."""
    assert deals({}) == [("gpus-day", 4, 800)]
    others: list[dict[str, object]] = [
        {"bundles": [LOTS, {**LOTS, "devices": 3}]},
        {"bundles": [{**LOTS, "hours": 2}]},
        {"bundles": [{**LOTS, "latest": "2026-11-26T10Z"}]},
        {"bundles": [{**LOTS, "site": None}]},
        {"bundles": [{**LOTS, "start": "2026-11-26T07Z"}]},
        {"port": "buyer"},
        {"data": {"dataset": "cargo", "site": "nb", "gigabytes": 1, "contract": "cargo"}},
        {"assurance": 2},
        {"member": "east"},
    ]
    for each in others:
        assert deals(each) == [], each


def test_a_limit_is_shared_by_the_lots_and_rounded_down() -> None:
    """3199 fen for four lots reach no ask of 800; that of a bundle goes before that of the bid."""
    assert deals({"limit": "3199fen"}) == []
    assert deals({"limit": "3200fen"}) == [("gpus-day", 4, 800)]
    assert deals({"limit": "3199fen", "bundles": [{**LOTS, "limit": "3200fen"}]}) == [("gpus-day", 4, 800)]


def test_the_clearing_afterwards_sells_what_is_left() -> None:
    """Of 16 lots four are gone at nine: a bundle of 13 for that hour cannot be had any more, one of 12 can; and the bid that is filled is in no clearing."""
    made = snapshot({**ALONE, "Bid/lots": {"member": "buyer", "limit": "40yuan", "bundles": [LOTS]}})
    came = {"offer/gpus-day": 1, "offer/npus-day": 1, "bid/lots": 2}
    found = match(made, came, "now", FIRST, FIRST + 24)
    for devices, won in ((12, 1), (13, 0)):
        more = {"member": "archive", "limit": "2000yuan", "bundles": [{**LOTS, "devices": devices, "hours": 2}]}
        after = snapshot({**ALONE, "Bid/lots": {"member": "buyer", "limit": "40yuan", "bundles": [LOTS]}, "Bid/more": more}).replaced(
            found.deals()
        )
        given_ = orders(after, {}, {}, "now", FIRST, FIRST + 24)
        assert [each.bid for each in given_.buys] == ["more"]
        assert given_.sells[0].lots[:3] == (16, 12, 16) or given_.sells[1].lots[:3] == (16, 12, 16)
        assert len(clear(given_).won) == won
        assert not match(after, {**came, "bid/more": 3}, "now", FIRST, FIRST + 24).fills
    (deal,) = found.deals()
    assert (deal.clearing, deal.hours) == (None, (hour_named(FIRST + 1),))
