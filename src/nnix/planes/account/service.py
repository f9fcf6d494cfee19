"""Ports and circuits, rated by the time that they were in service. What they were and when, the ledger says.

The ledger holds every change; so a port's time in service at a speed is what lies between two entries, and needs no meter. A port is in service while
its state is production or drained. A month has the milliseconds that it has: a port that was there for half of February pays half of a
month, and two settlements of one month add up to the whole of it.

A port over another port is a customer of that port's member, and pays nothing here; nor do the circuit and ports that follow from a deal. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from nnix.kernel.resource import BitRate, Json
from nnix.kernel.snapshot import Snapshot
from nnix.planes.account.fen import apportioned
from nnix.planes.account.kinds import Tariff
from nnix.planes.account.rate import HOUR_MS, Line, LineKind, Part
from nnix.planes.account.terms import tier_of
from nnix.planes.compute.kinds import hour_number
from nnix.planes.members.kinds import Member

DAY_MS = 24 * HOUR_MS
MONTHS_DAYS = 28 * 29 * 15 * 31
"""divided by each length of a month without rest"""
IN_SERVICE = frozenset({"production", "drained"})
MONTH = "milliseconds in service, priced by the month"


@dataclass(frozen=True, slots=True)
class Changed:
    """A change as the ledger has it: entry, its digest, Unix milliseconds, what was put and what went."""

    seq: int
    digest: str
    at_ms: int
    put: Sequence[Json]
    gone: Sequence[str]


@dataclass(frozen=True, slots=True)
class Span:
    """A port, or one end of a circuit, in service and unchanged for a while. `rate` is bits per second: speed, or capacity."""

    kind: LineKind
    about: str
    end: str
    member: str
    rate: int
    seq: int
    digest: str
    from_ms: int
    to_ms: int


def spans(changes: Iterable[Changed], since_ms: int, until_ms: int) -> tuple[Span, ...]:
    """What was in service between two moments. `changes` are all of the ledger, in order."""
    ports: dict[str, Json] = {}
    circuits: dict[str, Json] = {}
    open_: dict[tuple[str, str], Span] = {}
    found: list[Span] = []

    def close(at_ms: int, wanted: Mapping[tuple[str, str], Span]) -> None:
        for key, span in list(open_.items()):
            new = wanted.get(key)
            if new is None or (new.member, new.rate) != (span.member, span.rate):
                found.append(replace(open_.pop(key), to_ms=at_ms))
        for key, span in wanted.items():
            open_.setdefault(key, span)

    for change in changes:
        touched = False
        for record in change.put:
            if (kept := {"Port": ports, "Circuit": circuits}.get(record["kind"])) is not None:
                kept[record["name"]], touched = record, True
        for resource in change.gone:
            kind, _, name = resource.partition("/")
            touched |= {"port": ports, "circuit": circuits}.get(kind, {}).pop(name, None) is not None
        if touched:
            close(change.at_ms, {(each.about, each.end): each for each in _serving(ports, circuits, change)})
    close(until_ms, {})
    clipped = (replace(each, from_ms=max(each.from_ms, since_ms), to_ms=min(each.to_ms, until_ms)) for each in found)
    return tuple(sorted((each for each in clipped if each.from_ms < each.to_ms), key=lambda each: (each.about, each.end, each.from_ms)))


def _serving(ports: Mapping[str, Json], circuits: Mapping[str, Json], change: Changed) -> Iterator[Span]:
    for name, port in ports.items():
        if not port.get("owner") and not port.get("over") and port["state"] in IN_SERVICE:
            yield _span(LineKind.PORT, f"port/{name}", name, port, BitRate.parse(port["speed"]), change)
    for name, circuit in circuits.items():
        ends = [ports[each] for each in circuit["ends"] if each in ports]
        if circuit.get("owner") or not ends:
            continue
        rate = BitRate.parse(circuit["capacity"]) if circuit.get("capacity") else min(BitRate.parse(each["speed"]) for each in ends)
        for port in ends:
            if port["state"] in IN_SERVICE:
                yield _span(LineKind.CIRCUIT, f"circuit/{name}", str(port["name"]), port, rate, change)


def _span(kind: LineKind, about: str, end: str, port: Json, rate: int, change: Changed) -> Span:
    return Span(kind, about, end, str(port["member"]), int(rate), change.seq, change.digest, change.at_ms, change.at_ms)


def months_of(from_ms: int, to_ms: int) -> Iterator[tuple[str, int, int, int]]:
    """(month, its days, from, to) of each month (UTC) that a time touches."""
    while from_ms < to_ms:
        at = datetime.fromtimestamp(from_ms // 1000, UTC)
        first = datetime(at.year, at.month, 1, tzinfo=UTC)
        following = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
        end_ms = min(to_ms, int(following.timestamp()) * 1000)
        yield f"{at:%Y-%m}", (following - first).days, from_ms, end_ms
        from_ms = end_ms


def service_lines(served: Iterable[Span], snapshot: Snapshot) -> list[Line]:
    """One line for each port, or end of a circuit, in each month and under each tariff; rounded member by member."""
    exact: dict[str, dict[str, int]] = defaultdict(dict)
    lines: dict[str, Line] = {}
    denominator = MONTHS_DAYS * DAY_MS * 100
    for span in served:
        member = snapshot.get(Member, span.member)
        for tariff, from_ms, to_ms in _under_tariffs(snapshot, span):
            price, percent = _price(tariff, span, member)
            for month, days, begin, end in months_of(from_ms, to_ms):
                if not price:
                    continue
                name = "/".join((span.about, span.end, month, tariff.name, str(price), str(percent)))
                exact[span.member][name] = exact[span.member].get(name, 0) + price * percent * (end - begin) * (MONTHS_DAYS // days)
                part = Part(span.seq, span.digest, begin, end, end - begin)
                before = lines[name].parts if name in lines else ()
                lines[name] = Line(
                    id=name,
                    kind=span.kind,
                    about=span.about,
                    payer=f"buyer/{span.member}",
                    payee=f"exchange/{span.kind}",
                    amount=0,
                    hour=month,
                    unit=MONTH,
                    quantity=sum(each.quantity for each in (*before, part)),
                    price=price,
                    percent=percent,
                    chain="ledger",
                    parts=(*before, part),
                )
    amounts = {name: amount for each in exact.values() for name, amount in apportioned(each, denominator).items()}
    return [replace(line, amount=amounts[name]) for name, line in sorted(lines.items())]


def _under_tariffs(snapshot: Snapshot, span: Span) -> Iterator[tuple[Tariff, int, int]]:
    tariffs = sorted(snapshot.of(Tariff), key=lambda each: each.start)
    for index, tariff in enumerate(tariffs):
        ends = [each for each in (tariff.end, tariffs[index + 1].start if index + 1 < len(tariffs) else None) if each is not None]
        begin = max(span.from_ms, hour_number(tariff.start) * HOUR_MS)
        end = min([span.to_ms, *(hour_number(each) * HOUR_MS for each in ends)])
        if begin < end:
            yield tariff, begin, end


def _price(tariff: Tariff, span: Span, member: Member | None) -> tuple[int, int]:
    """Fen a month, and what percent of it the member pays."""
    tier = tier_of(tariff, member) if member else None
    if span.kind is LineKind.PORT:
        listed = {int(each.speed): int(each.month) for each in tariff.ports}
        return listed.get(span.rate, 0), tier.port_percent if tier else 100
    by_capacity = sorted((int(each.capacity), int(each.month)) for each in tariff.circuits)
    enough = [month for capacity, month in by_capacity if capacity >= span.rate]
    return enough[0] if enough else by_capacity[-1][1] if by_capacity else 0, tier.circuit_percent if tier else 100
