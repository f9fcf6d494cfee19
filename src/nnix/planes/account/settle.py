"""A settlement: all meters read once, all deals rated, and what of it concerns each member.

Its document is canonical JSON (RFC 8785): how far each meter was read, and every line with the records that it opens to. Whoever has the same
meters, deals and tariff computes the same bytes, so that the digest in the ledger proves the bill as well as the bill's inputs: the heads in it
are noted for good, and a meter that loses its tail afterwards is found by them.

Each record is in one settlement only: those after the heads of the one before, up to the first that ends later than `until`. One that comes late,
since its meter was down, is in the next. So nothing is charged twice, however often or seldom one settles.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import rfc8785

from nnix.kernel.resource import Ref
from nnix.kernel.snapshot import Snapshot
from nnix.planes.account.kinds import Invoice, MeterHead, Paid, ServiceCredit, Settlement, instant_ms
from nnix.planes.account.rate import Line, LineKind, Metered, Part, rate, subsidies
from nnix.planes.account.reserved import reserved
from nnix.planes.account.service import Changed, service_lines, spans
from nnix.planes.account.terms import terms_of
from nnix.planes.compute.kinds import Deal
from nnix.planes.members.kinds import Money

NAME_MAX = 63
GENESIS = "0" * 64


class Unrated(NamedTuple):
    """A record of a meter that names a deal of which the model knows nothing."""

    pool: str
    seq: int
    digest: str
    deal: str


@dataclass(frozen=True)
class Settled:
    """What a settlement comes to. `unrated` are records that no deal is known for: they are charged to nobody."""

    number: int
    until: str
    model: int
    heads: Mapping[str, tuple[int, str]]
    lines: tuple[Line, ...]
    unrated: tuple[Unrated, ...]
    credits: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        return {
            "nnix": "settlement",
            "number": self.number,
            "until": self.until,
            "model": self.model,
            "heads": [{"pool": pool, "seq": seq, "digest": digest} for pool, (seq, digest) in sorted(self.heads.items())],
            "lines": [each.record() for each in self.lines],
            "unrated": [each._asdict() for each in self.unrated],
            "credits": list(self.credits),
        }

    @cached_property
    def content(self) -> bytes:
        return rfc8785.dumps(self.record())

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @classmethod
    def read(cls, content: bytes) -> Settled:
        """The inverse of `content`. Raises ValueError for what is no settlement."""
        said = json.loads(content)
        if not isinstance(said, dict) or said.get("nnix") != "settlement":
            raise ValueError("no settlement")
        return cls(
            number=said["number"],
            until=said["until"],
            model=said["model"],
            heads={each["pool"]: (each["seq"], each["digest"]) for each in said["heads"]},
            lines=tuple(_line_read(each) for each in said["lines"]),
            unrated=tuple(Unrated(**each) for each in said["unrated"]),
            credits=tuple(said["credits"]),
        )

    @property
    def name(self) -> str:
        return f"{self.number:04}"

    def of(self, member: str) -> Statement:
        """What concerns one member."""
        pays = tuple(each for each in self.lines if member_of(each.payer) == member)
        gets = tuple(each for each in self.lines if member_of(each.payee) == member)
        return Statement(member, self.name, self.until, self.digest, pays, gets)

    @property
    def members(self) -> tuple[str, ...]:
        """Whom it concerns."""
        return tuple(sorted({name for each in self.lines for name in (member_of(each.payer), member_of(each.payee)) if name}))


def _line_read(said: Mapping[str, Any]) -> Line:
    listed = {"parts": tuple(Part(**each) for each in said.get("parts", ())), "of": tuple(said.get("of", ()))}
    return Line(**{**said, "kind": LineKind(said["kind"]), **listed})


@dataclass(frozen=True)
class Statement:
    """What of a settlement concerns one member: lines that it pays, and lines that are paid to it."""

    member: str
    settlement: str
    until: str
    settlement_digest: str
    pays: tuple[Line, ...]
    gets: tuple[Line, ...]

    @property
    def owes(self) -> int:
        return sum(each.amount for each in self.pays)

    @property
    def owed(self) -> int:
        return sum(each.amount for each in self.gets)

    def record(self) -> dict[str, Any]:
        return {
            "nnix": "invoice",
            "member": self.member,
            "settlement": self.settlement,
            "settlement_digest": self.settlement_digest,
            "until": self.until,
            "owes": self.owes,
            "owed": self.owed,
            "pays": [each.record() for each in self.pays],
            "gets": [each.record() for each in self.gets],
        }

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(rfc8785.dumps(self.record())).hexdigest()

    @property
    def subsidized(self) -> tuple[tuple[str, int], ...]:
        """(fund, fen) that funds paid; less where it was paid back."""
        sums: dict[str, int] = defaultdict(int)
        for sign, lines in ((1, self.gets), (-1, self.pays)):
            for each in lines:
                if each.kind is LineKind.SUBSIDY:
                    sums[(each.payer if sign > 0 else each.payee).partition("/")[2]] += sign * each.amount
        return tuple(sorted(sums.items()))

    @property
    def name(self) -> str:
        """The name of its Invoice."""
        whole = f"{self.settlement}-{self.member}"
        return whole if len(whole) <= NAME_MAX else f"{self.settlement}-{hashlib.sha256(self.member.encode()).hexdigest()[:32]}"


MEMBERS_ACCOUNTS = ("buyer", "seller", "credit")


def member_of(account: str) -> str:
    """The member whose account it is; empty for the exchange, funds and escrows."""
    sort, _, name = account.partition("/")
    return name if sort in MEMBERS_ACCOUNTS else ""


def last_settlement(snapshot: Snapshot) -> Settlement | None:
    return max(snapshot.of(Settlement), key=lambda each: each.number, default=None)


def settle(snapshot: Snapshot, model: int, meters: Mapping[str, Iterable[Metered]], changes: Iterable[Changed], until: str) -> Settled:
    """The settlement that follows the last one of `snapshot`, which is the model after entry `model`; `changes` lead up to it. Pure.

    `meters` has all records of each pool's meter. Raises ValueError where a meter does not go as far as was settled before.
    """
    before = last_settlement(snapshot)
    since = {each.pool: each.seq for each in before.heads} if before else {}
    until_ms = instant_ms(until)
    read = {pool: _read(pool, records, since.get(pool, 0), until_ms) for pool, records in sorted(meters.items())}
    if missing := sorted(pool for pool, seq in since.items() if seq and pool not in read):
        raise ValueError(f"the meter of {', '.join(missing)} cannot be read, and was settled before")
    by_deal: dict[tuple[str, str], list[Metered]] = defaultdict(list)
    for pool, records in read.items():
        for each in records:
            by_deal[pool, each.deal].append(each)
    whole_history = tuple(changes)
    made = deals_made(whole_history)
    terms = [terms_of(deal, snapshot, made.get(deal.name, 0)) for deal in snapshot.of(Deal)]
    since_ms = instant_ms(before.until) if before else 0
    lines: dict[str, tuple[Line, ...]] = {}
    for deal in terms:
        own, read_before = by_deal.get((deal.pool, deal.deal), ()), since.get(deal.pool, 0)
        kept = reserved(deal, own, since=read_before, since_ms=since_ms, until_ms=until_ms)
        lines[deal.deal] = rate(deal, own, read_before, kept)
    known = {(each.pool, each.deal) for each in terms}
    unrated = tuple(
        Unrated(each.pool, each.seq, each.digest, each.deal)
        for pool, records in read.items()
        for each in records
        if each.seq > since.get(pool, 0) and (pool, each.deal) not in known
    )
    paid = subsidized_so_far(snapshot)
    done = {name for each in snapshot.of(Settlement) for name in each.credits}
    granted = [each for each in snapshot.of(ServiceCredit) if each.name not in done]
    whole = [
        *(line for each in lines.values() for line in each),
        *subsidies(terms, lines, paid),
        *map(_granted, granted),
        *service_lines(spans(whole_history, since_ms, until_ms), snapshot),
    ]
    return Settled(
        number=before.number + 1 if before else 1,
        until=until,
        model=model,
        heads={pool: (records[-1].seq, records[-1].digest) if records else (0, GENESIS) for pool, records in read.items()},
        lines=tuple(sorted(whole, key=lambda each: each.id)),
        unrated=unrated,
        credits=tuple(each.name for each in granted),
    )


def deals_made(changes: Iterable[Changed]) -> dict[str, int]:
    """Deal → Unix milliseconds of the change that made it. `changes` are all of the ledger, in order."""
    found: dict[str, int] = {}
    for change in changes:
        for each in change.put:
            if each["kind"] == "Deal":
                found.setdefault(str(each["name"]), change.at_ms)
        for gone in change.gone:
            kind, _, name = gone.partition("/")
            if kind == "deal":
                found.pop(name, None)
    return found


def subsidized_so_far(snapshot: Snapshot) -> dict[tuple[str, str], int]:
    """(fund, member) → fen, from the newest invoice that speaks of both."""
    found: dict[tuple[str, str], int] = {}
    for invoice in sorted(snapshot.of(Invoice), key=lambda each: snapshot.at(each.settlement).number):
        found |= {(each.subsidy, invoice.member): int(each.amount) for each in invoice.subsidized}
    return found


def _read(pool: str, records: Iterable[Metered], since: int, until_ms: int) -> Sequence[Metered]:
    """The records of a meter up to the first that ends later, whatever order they come in."""
    whole = sorted(records, key=lambda each: each.seq)
    if len(whole) < since:
        raise ValueError(f"the meter of {pool} ends at {len(whole)}, and was settled up to {since}")
    later = next((index for index, each in enumerate(whole) if each.end_ms > until_ms), len(whole))
    return whole[: max(later, since)]


def _granted(credit: ServiceCredit) -> Line:
    payer = f"credit/{credit.giver}" if credit.giver else "exchange/credits"
    return Line(
        f"{LineKind.SERVICE_CREDIT}/{credit.name}",
        LineKind.SERVICE_CREDIT,
        credit.about,
        payer,
        f"buyer/{credit.member}",
        int(credit.amount),
    )


def money(fen: int) -> Money:
    """Raises ValueError for more than can be written down."""
    return Money.parse(f"{fen}fen")


def issued(settled: Settled, snapshot: Snapshot) -> tuple[Settlement | Invoice, ...]:
    """The resources that a settlement is kept as."""
    settlement = Settlement(
        name=settled.name,
        number=settled.number,
        until=settled.until,
        model=settled.model,
        heads=tuple(MeterHead(pool=pool, seq=seq, digest=digest) for pool, (seq, digest) in sorted(settled.heads.items())),
        credits=settled.credits,
        lines=len(settled.lines),
        turnover=money(sum(each.amount for each in settled.lines)),
        digest=settled.digest,
    )
    statements = [settled.of(member) for member in settled.members]
    before = subsidized_so_far(snapshot)
    return (
        settlement,
        *(
            Invoice(
                name=each.name,
                member=each.member,
                settlement=Ref.to(Settlement, settlement.name),
                owes=money(each.owes),
                owed=money(each.owed),
                subsidized=tuple(
                    Paid(subsidy=fund, amount=money(before.get((fund, each.member), 0) + paid)) for fund, paid in each.subsidized
                ),
                digest=each.digest,
            )
            for each in statements
        ),
    )
