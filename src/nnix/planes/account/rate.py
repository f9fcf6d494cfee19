"""Rating: from meter records and the terms of a deal to lines of money. Pure; the same records in any order give the same lines.

A device-microsecond (a thousandth of a device for a millisecond) costs what the deal says for its hour, divided by 3,600,000,000. An interval that
lies in two hours is divided there, and nothing is ever rounded to an hour, a minute or a second: a job that is resized in mid-hour pays each size for
as long as it had it. A line gathers what one job had in one hour of one deal with one cause, and names every record that it is made of.

Not all that a meter counted is charged. What ran outside the hours of its deal, or on more devices than were bought, was not agreed, so it stands
there with no amount; every record is in exactly one line or divided among several, so that nothing is lost between meter and invoice.

What an outage destroyed is given back. When an interval ends by a cause for which the terms give credit, all that its run did since it
was last saved is worth nothing to the buyer, on whichever of its devices; that much is credited, in the settlement in which it becomes known. So work
that was saved at the moment of a preemption is paid, and an hour that was lost for want of a checkpoint is not.

Deliberately not here: devices that were reserved and not used, of which no record tells (reserved.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nnix.planes.account.fen import apportioned, half_even
from nnix.planes.account.terms import FEE_PARTS, Terms
from nnix.planes.compute.kinds import hour_named

HOUR_MS = 3_600_000
HOUR_DEVICE_MICROSECONDS = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Metered:
    """A record of a pool's meter, as planes/compute/meter.py wrote it: thousandths of a device, Unix milliseconds."""

    pool: str
    seq: int
    digest: str
    device: str
    deal: str
    job: str
    run: int
    share_thousandths: int
    begin_ms: int
    end_ms: int
    cause: str
    saved: bool

    @property
    def device_microseconds(self) -> int:
        return self.share_thousandths * (self.end_ms - self.begin_ms)


class LineKind(StrEnum):
    """What a line is about."""

    USE = "use"
    RESERVED = "reserved"
    OUTSIDE = "outside"
    EXCESS = "excess"
    CREDIT = "credit"
    TRANSFER = "transfer"
    BUYER_FEE = "buyer-fee"
    SELLER_FEE = "seller-fee"
    SUBSIDY = "subsidy"
    PORT = "port"
    CIRCUIT = "circuit"
    SERVICE_CREDIT = "service-credit"


@dataclass(frozen=True, slots=True)
class Part:
    """What of one record a line is made of. `seq` and `digest` are the record's in its chain: a meter's, or the ledger. Of what was reserved and not used:
    a gap between records, after that one."""

    seq: int
    digest: str
    from_ms: int
    to_ms: int
    quantity: int

    def record(self) -> dict[str, Any]:
        return {"seq": self.seq, "digest": self.digest, "from_ms": self.from_ms, "to_ms": self.to_ms, "quantity": self.quantity}


@dataclass(frozen=True, slots=True)
class Line:
    """`amount` fen that the account `payer` owes to the account `payee`; never negative.

    `quantity` is in `unit`; `price` is fen for so much of it as the unit says. `chain` is whose records the parts are: `meter/POOL` or `ledger`. A line
    that is taken from other lines (a fee, a subsidy) names them in `of`.
    """

    id: str
    kind: LineKind
    about: str
    payer: str
    payee: str
    amount: int
    job: str = ""
    hour: str = ""
    cause: str = ""
    unit: str = ""
    quantity: int = 0
    price: int = 0
    percent: int = 100
    chain: str = ""
    parts: tuple[Part, ...] = ()
    of: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """For canonical JSON: what is empty is left out."""
        words = {name: getattr(self, name) for name in ("job", "hour", "cause", "unit", "chain") if getattr(self, name)}
        counted = {"quantity": self.quantity, "price": self.price, "percent": self.percent} if self.unit else {}
        return {
            "id": self.id,
            "kind": str(self.kind),
            "about": self.about,
            "payer": self.payer,
            "payee": self.payee,
            "amount": self.amount,
            **words,
            **counted,
            **({"parts": [each.record() for each in self.parts]} if self.parts else {}),
            **({"of": list(self.of)} if self.of else {}),
        }


OVER = frozenset({"finished", "failed", "cancelled", "killed"})
"""causes by which a run ends: what it did by then no outage destroys, though a job of that name may run again"""
DEVICE_HOUR = "device-microseconds, priced by the device-hour"


def rate(terms: Terms, records: Iterable[Metered], since: int = 0, kept: Iterable[Line] = ()) -> tuple[Line, ...]:
    """The lines of a deal from all records of its pool's meter so far; what came up to record `since` was settled before and gives none. `kept` are its
    lines for what was reserved and not used; fees are taken from these as well.

    Records of other deals are passed over. Raises ValueError where one record stands twice.
    """
    own = sorted((each for each in records if each.deal == terms.deal and each.pool == terms.pool), key=lambda each: each.seq)
    if len({each.seq for each in own}) != len(own):
        raise ValueError(f"deal {terms.deal}: a record of meter {terms.pool} was given twice")
    pieces = tuple(_pieces(terms, own))
    use = _use(terms, [each for each in pieces if each.of.seq > since])
    credit = _credits(terms, own, pieces, since)
    lines = [*use, *credit, *kept]
    net = sum(each.amount if each.payer == f"buyer/{terms.buyer}" else -each.amount for each in lines)
    of = tuple(each.id for each in lines if each.amount)
    for kind, member, parts in (
        (LineKind.BUYER_FEE, f"buyer/{terms.buyer}", terms.buyer_fee),
        (LineKind.SELLER_FEE, f"seller/{terms.seller}", terms.seller_fee),
    ):
        if fee := half_even(net * parts, FEE_PARTS):
            lines.append(signed(f"{terms.deal}/{kind}", kind, f"deal/{terms.deal}", member, "exchange/fee", fee, of))
    if terms.transfer and own and own[0].seq > since:
        # Data is moved when a job first reads it; a deal on which nothing ever ran moves none.
        lines.append(
            signed(
                f"{terms.deal}/{LineKind.TRANSFER}",
                LineKind.TRANSFER,
                f"deal/{terms.deal}",
                f"buyer/{terms.buyer}",
                "exchange/transfer",
                terms.transfer,
                (),
            )
        )
    return tuple(sorted(lines, key=lambda each: each.id))


def signed(name: str, kind: LineKind, about: str, payer: str, payee: str, amount: int, of: tuple[str, ...]) -> Line:
    """A line for an amount that may be negative: then it is paid the other way."""
    if amount < 0:
        payer, payee, amount = payee, payer, -amount
    return Line(name, kind, about, payer, payee, amount, of=of)


@dataclass(frozen=True, slots=True)
class _Piece:
    """The part of a record that lies in one hour. Of its device-microseconds `charged` were agreed; what is beyond comes last."""

    of: Metered
    hour: int
    from_ms: int
    to_ms: int
    charged: int

    @property
    def quantity(self) -> int:
        return self.of.share_thousandths * (self.to_ms - self.from_ms)

    def charged_between(self, from_ms: int, to_ms: int) -> int:
        """How much of what is charged lies between two moments."""

        def until(at_ms: int) -> int:
            return min(self.charged, self.of.share_thousandths * max(0, min(at_ms, self.to_ms) - self.from_ms))

        return max(0, until(to_ms) - until(from_ms))


def _pieces(terms: Terms, own: Sequence[Metered]) -> Iterator[_Piece]:
    used: Counter[int] = Counter()
    for record in own:
        for hour, from_ms, to_ms in hours_of(record.begin_ms, record.end_ms):
            quantity = record.share_thousandths * (to_ms - from_ms)
            room = terms.devices * HOUR_DEVICE_MICROSECONDS - used[hour] if hour in terms.prices else 0
            charged = min(quantity, room)
            used[hour] += charged
            yield _Piece(record, hour, from_ms, to_ms, charged)


def hours_of(begin_ms: int, end_ms: int) -> Iterator[tuple[int, int, int]]:
    """(hour, from, to) of each hour that an interval touches; one without length is in the hour in which it is."""
    from_ms = begin_ms
    while True:
        hour = from_ms // HOUR_MS
        to_ms = min(end_ms, (hour + 1) * HOUR_MS)
        yield hour, from_ms, to_ms
        if to_ms >= end_ms:
            return
        from_ms = to_ms


_Key = tuple[LineKind, str, int, str]


def _use(terms: Terms, pieces: Iterable[_Piece]) -> list[Line]:
    parts: dict[_Key, list[Part]] = defaultdict(list)
    for each in pieces:
        agreed, beyond = LineKind.USE, LineKind.EXCESS
        if each.hour not in terms.prices:
            agreed = beyond = LineKind.OUTSIDE
        left = each.quantity - each.charged
        if each.charged or not left:
            parts[agreed, each.of.job, each.hour, each.of.cause].append(_part(each, each.charged))
        if left:
            parts[beyond, each.of.job, each.hour, each.of.cause].append(_part(each, left))
    quantities = {
        _name(terms, key): sum(each.quantity for each in of) * terms.prices[key[2]] for key, of in parts.items() if key[0] is LineKind.USE
    }
    amounts = apportioned(quantities, HOUR_DEVICE_MICROSECONDS)
    return [
        _line(terms, key, amounts.get(_name(terms, key), 0), terms.prices.get(key[2], 0) if key[0] is LineKind.USE else 0, 100, of)
        for key, of in parts.items()
    ]


def _credits(terms: Terms, own: Sequence[Metered], pieces: Sequence[_Piece], since: int) -> list[Line]:
    """Credit for what outages destroyed, as far as it became known after record `since`."""
    parts: dict[_Key, list[Part]] = defaultdict(list)
    for outage in _outages(terms, own):
        for each in pieces:
            run = each.of.job, each.of.run
            lost = each.charged_between(outage.saved_ms, outage.at_ms) if run == outage.run else 0
            if lost and max(each.of.seq, outage.seq) > since:
                parts[LineKind.CREDIT, each.of.job, each.hour, outage.cause].append(
                    _part(each, lost, max(each.from_ms, outage.saved_ms), min(each.to_ms, outage.at_ms))
                )
    exact = {
        _name(terms, key): sum(each.quantity for each in of) * terms.prices[key[2]] * terms.credits[key[3]] for key, of in parts.items()
    }
    amounts = apportioned(exact, HOUR_DEVICE_MICROSECONDS * 100)
    return [_line(terms, key, amounts[_name(terms, key)], terms.prices[key[2]], terms.credits[key[3]], of) for key, of in parts.items()]


@dataclass(frozen=True, slots=True)
class _Outage:
    """What one run lost: all since `saved_ms`, at `at_ms`, known from record `seq`."""

    run: tuple[str, int]
    cause: str
    saved_ms: int
    at_ms: int
    seq: int


def _outages(terms: Terms, own: Sequence[Metered]) -> Iterator[_Outage]:
    """In the order of time, run by run. What one outage destroyed no later one destroys again."""
    runs: dict[tuple[str, int], list[Metered]] = defaultdict(list)
    for each in own:
        runs[each.job, each.run].append(each)
    for run, records in sorted(runs.items()):
        ends: dict[int, list[Metered]] = defaultdict(list)
        for each in records:
            if each.cause in terms.credits:
                ends[each.end_ms].append(each)
        lost_ms = 0
        for at_ms, ended in sorted(ends.items()):
            saved_ms = max((each.end_ms for each in records if (each.saved or each.cause in OVER) and each.end_ms <= at_ms), default=0)
            worst = max(ended, key=lambda each: (terms.credits[each.cause], each.cause))
            if max(saved_ms, lost_ms) < at_ms:
                yield _Outage(run, worst.cause, max(saved_ms, lost_ms), at_ms, min(each.seq for each in ended))
            lost_ms = at_ms


def _part(piece: _Piece, quantity: int, from_ms: int | None = None, to_ms: int | None = None) -> Part:
    begin, end = piece.from_ms if from_ms is None else from_ms, piece.to_ms if to_ms is None else to_ms
    return Part(piece.of.seq, piece.of.digest, begin, end, quantity)


def _name(terms: Terms, key: _Key) -> str:
    kind, job, hour, cause = key
    return f"{terms.deal}/{kind}/{job}/{hour_named(hour)}/{cause}"


def _line(terms: Terms, key: _Key, amount: int, price: int, percent: int, parts: Iterable[Part]) -> Line:
    kind, job, hour, cause = key
    buyer, seller = f"buyer/{terms.buyer}", f"seller/{terms.seller}"
    listed = tuple(sorted(parts, key=lambda each: (each.seq, each.from_ms)))
    return Line(
        id=_name(terms, key),
        kind=kind,
        about=f"deal/{terms.deal}",
        payer=f"credit/{terms.seller}" if kind is LineKind.CREDIT else buyer,
        payee=buyer if kind is LineKind.CREDIT else seller,
        amount=amount,
        job=job,
        hour=hour_named(hour),
        cause=cause,
        unit=DEVICE_HOUR,
        quantity=sum(each.quantity for each in listed),
        price=price,
        percent=percent,
        chain=f"meter/{terms.pool}",
        parts=listed,
    )


def subsidies(terms: Iterable[Terms], lines: Mapping[str, Sequence[Line]], paid: Mapping[tuple[str, str], int]) -> list[Line]:
    """What funds pay of what members' deals came to, after credits. `lines` are those of each deal, `paid` what a fund has paid for a member so far."""
    bases: Counter[tuple[str, str]] = Counter()
    left: Counter[str] = Counter()
    helps, of = {}, defaultdict(list)
    for each in sorted(terms, key=lambda each: each.deal):
        signs = {LineKind.USE: 1, LineKind.CREDIT: -1}
        if each.subsidies:
            left[each.buyer] += sum(signs.get(line.kind, 0) * line.amount for line in lines[each.deal])
        for help_ in each.subsidies:
            key = help_.name, each.buyer
            helps[key] = help_  # of several tariffs under one name the last deal's terms hold
            for line in lines[each.deal]:
                sign = signs.get(line.kind, 0)
                bases[key] += sign * line.amount
                if sign and line.amount:
                    of[key].append(line.id)
    found = []
    for (name, buyer), base in sorted(bases.items(), key=lambda each: (each[1] > 0, each[0])):
        help_, before = helps[name, buyer], paid.get((name, buyer), 0)
        amount = max(half_even(base * help_.percent, 100), -before)  # of credits for earlier work a fund gets back what it paid
        if help_.settlement_max is not None:
            amount = min(amount, help_.settlement_max)
        if help_.member_max is not None:
            amount = min(amount, max(0, help_.member_max - before))
        if amount > 0:
            amount = min(amount, max(0, left[buyer]))  # each rounds for itself, and two halves of 3 fen would be 4
        left[buyer] -= amount
        if amount:
            about, sources = f"member/{buyer}", tuple(sorted(of[name, buyer]))
            found.append(
                signed(f"{buyer}/{LineKind.SUBSIDY}/{name}", LineKind.SUBSIDY, about, f"subsidy/{name}", f"buyer/{buyer}", amount, sources)
            )
    return found
