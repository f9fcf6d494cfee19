"""What was reserved and not used: devices of a deal on which nobody ran anything, though they were kept for its buyer.

A lot is perishable. Whoever buys an hour and leaves it empty has kept others out of it, and a market in which that costs nothing fills with orders that
are not meant. So a tariff may say that devices which were reserved and not used pay a part of their price (`reserved_percent`, from none to all of it).

No meter counts what did not happen: it follows from what did. In each hour of a deal that is over, at each moment, what was kept is the devices of the deal,
and what was used is what its records hold; the rest is a gap, and lasts until a record begins or ends. The gaps of an hour are the parts of its line, each
after the record of the deal that had begun last, or record 0 where none had. Nothing is kept before the deal was made, which the ledger says:
spot is sold in the middle of its hour.

    devices ┌─────────────────────────────┐        use and gaps of an hour never come to more than was bought: where a deal once ran
          4 │░░░░░░░░┌────────┐░░░░░░┌────┤        on more devices than it had, that is taken off its last gaps
          3 │░░░░░░░░│ job a  │░░░░░░│ b  │
            └────────┴────────┴──────┴────┘

A gap that the pool made is nobody's to pay: from an outage (a lost node or meter, a preemption) until the same job runs again, or else the deal ends,
what the outage took is not counted as kept.

Hours are rated once they are over. A record that comes late, since its meter was down, fills a gap that was charged already: then the hour is taken back to
the fen, and rated anew. To be able to, each hour is rounded for itself.

Deliberately not here: whether the devices could have been used. A meter that was silent and a job that nobody ordered look alike; who was kept from
using what it bought contests the line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from nnix.planes.account.fen import half_even
from nnix.planes.account.kinds import Outage
from nnix.planes.account.rate import DEVICE_HOUR, HOUR_DEVICE_MICROSECONDS, HOUR_MS, Line, LineKind, Metered, Part, hours_of
from nnix.planes.account.terms import Terms
from nnix.planes.compute.kinds import hour_named

UNUSED, TAKEN_BACK = "unused", "late-record"
"""causes of such lines: nobody ran on it; a record that came late tells otherwise than what was charged before"""
DEALS_OWN = (0, "0" * 64)
"""stands for the record before the first one of a deal"""


class Held(NamedTuple):
    """So many thousandths of a device, from one moment to another."""

    from_ms: int
    to_ms: int
    thousandths: int


def reserved(terms: Terms, records: Iterable[Metered], *, since: int = 0, since_ms: int = 0, until_ms: int) -> tuple[Line, ...]:
    """The lines of a deal for its hours that were over by `until_ms`. `records` are all of the deal so far.

    The settlement before knew records up to `since`, and rated hours that were over by `since_ms`; such an hour has lines only where what is known now
    says otherwise: one that takes back what was charged, and one that charges anew.
    """
    if not terms.reserved_percent:
        return ()
    own = sorted((each for each in records if (each.pool, each.deal) == (terms.pool, terms.deal)), key=lambda each: each.seq)
    known = [each for each in own if each.seq <= since]
    now, then = Seen(terms, own), Seen(terms, known) if len(known) < len(own) else None
    found: list[Line] = []
    for hour in sorted(terms.prices):
        end_ms = (hour + 1) * HOUR_MS
        if end_ms > until_ms or (end_ms <= since_ms and then is None):
            continue
        gaps = now.gaps(hour)
        if end_ms <= since_ms and then is not None:
            before = then.gaps(hour)
            if sum(each.quantity for each in before) == sum(each.quantity for each in gaps):
                continue
            found += _line(terms, hour, TAKEN_BACK, before)
        found += _line(terms, hour, UNUSED, gaps)
    return tuple(found)


class Seen:
    """What a number of records say of the hours of a deal."""

    def __init__(self, terms: Terms, own: Sequence[Metered]) -> None:
        self._terms, self._own = terms, own
        self._used = _by_hour(Held(each.begin_ms, each.end_ms, each.share_thousandths) for each in own)
        self._excused = _by_hour(_excuses(terms, own))

    def gaps(self, hour: int) -> tuple[Part, ...]:
        """What of an hour was kept and not used, in the order of time."""
        begin_ms, end_ms = max(hour * HOUR_MS, self._terms.made_ms), (hour + 1) * HOUR_MS
        used, devices = self._used.get(hour, ()), self._terms.devices
        room = devices * HOUR_DEVICE_MICROSECONDS - sum(each.thousandths * (each.to_ms - each.from_ms) for each in used)
        found = []
        for gap in _left(1000 * devices, (*used, *self._excused.get(hour, ())), begin_ms, end_ms):
            quantity = min(room, gap.thousandths * (gap.to_ms - gap.from_ms))
            if quantity > 0:
                found.append(Part(*self._last_begun(gap.from_ms), gap.from_ms, gap.to_ms, quantity))
                room -= quantity
        return tuple(found)

    def _last_begun(self, at_ms: int) -> tuple[int, str]:
        """Number and digest of the record that had begun last; of several the newest."""
        begun = ((each.begin_ms, each.seq, each.digest) for each in self._own if each.begin_ms <= at_ms)
        return max(begun, default=(0, *DEALS_OWN))[1:]


def _by_hour(spans: Iterable[Held]) -> Mapping[int, Sequence[Held]]:
    found: dict[int, list[Held]] = defaultdict(list)
    for each in spans:
        for hour, from_ms, to_ms in hours_of(each.from_ms, each.to_ms):
            if from_ms < to_ms:
                found[hour].append(Held(from_ms, to_ms, each.thousandths))
    return found


def _excuses(terms: Terms, own: Sequence[Metered]) -> Iterator[Held]:
    """What outages took: from each until a later run of its job begins, or the deal is over. A run that goes on with the devices that it has left is cut by
    the clock and at checkpoints, and has not got back what it lost."""
    over_ms = (max(terms.prices) + 1) * HOUR_MS
    begins: dict[str, dict[int, int]] = defaultdict(dict)
    for each in own:
        runs = begins[each.job]
        runs[each.run] = min(runs.get(each.run, each.begin_ms), each.begin_ms)
    for each in own:
        if each.cause in set(Outage):
            later = (begin for run, begin in begins[each.job].items() if run > each.run and begin >= each.end_ms)
            again_ms = min(later, default=over_ms)
            if each.end_ms < again_ms:
                yield Held(each.end_ms, again_ms, each.share_thousandths)


def _left(whole: int, taken: Sequence[Held], begin_ms: int, end_ms: int) -> Iterator[Held]:
    """What of `whole` thousandths is left between two moments, as long as the same is left, without times when nothing is."""
    changes: dict[int, int] = defaultdict(int)
    for each in taken:
        changes[max(each.from_ms, begin_ms)] += each.thousandths
        changes[max(each.to_ms, begin_ms)] -= each.thousandths
    level, at_ms = 0, begin_ms
    for moment_ms, change in (*sorted(changes.items()), (end_ms, 0)):
        if change == 0 and moment_ms < end_ms:
            continue
        if at_ms < moment_ms and level < whole:
            yield Held(at_ms, moment_ms, whole - level)
        level, at_ms = level + change, max(at_ms, moment_ms)


def _line(terms: Terms, hour: int, cause: str, gaps: Sequence[Part]) -> Iterator[Line]:
    """A line for the gaps of an hour; none where there are none."""
    quantity, price, percent = sum(each.quantity for each in gaps), terms.prices[hour], terms.reserved_percent
    between = f"buyer/{terms.buyer}", f"seller/{terms.seller}"
    payer, payee = between if cause == UNUSED else between[::-1]
    if quantity:
        yield Line(
            id=f"{terms.deal}/{LineKind.RESERVED}/{hour_named(hour)}/{cause}",
            kind=LineKind.RESERVED,
            about=f"deal/{terms.deal}",
            payer=payer,
            payee=payee,
            amount=half_even(quantity * price * percent, HOUR_DEVICE_MICROSECONDS * 100),
            hour=hour_named(hour),
            cause=cause,
            unit=DEVICE_HOUR,
            quantity=quantity,
            price=price,
            percent=percent,
            chain=f"meter/{terms.pool}",
            parts=tuple(gaps),
        )
