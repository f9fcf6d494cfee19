"""The vocabulary of accounts: Tariff, ServiceCredit, Settlement, Invoice, Dispute.

A Tariff says what the exchange charges and gives back. A Settlement is one reading of all meters: it rates what ran since the one before, for all deals
at once, so that what buyers owe is what sellers are owed. An Invoice is what of a settlement concerns one member. Settlements and invoices are issued,
not written: they hold digests of documents that anybody with meters, deals and tariff computes again, and they hold names, not references, since an
invoice outlives the membership that it is about.

Small companies and subsidies are data of the tariff, since they change from year to year and from city to city.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from nnix.kernel.resource import BitRate, Name, Record, Ref, Resource
from nnix.planes.account.states import EVENTS
from nnix.planes.data.kinds import HOUR_PATTERN, Hour
from nnix.planes.members.kinds import Member, MemberClass, Money, Title

Percent = Annotated[int, Field(ge=0, le=100)]
Permille = Annotated[int, Field(ge=0, le=1000)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 over canonical JSON (RFC 8785)")]


def instant_ms(instant: str) -> int:
    """Unix milliseconds of `2026-12-03T09:00:00Z`. Raises ValueError for what no calendar has."""
    return int(datetime.fromisoformat(instant).timestamp()) * 1000


Instant = Annotated[
    str,
    Field(
        pattern=f"{HOUR_PATTERN.removesuffix('Z$')}:[0-5][0-9]:[0-5][0-9]Z$",
        description="a second in UTC",
        examples=["2026-12-03T09:00:00Z"],
    ),
]
EVENT_PATTERN = rf"^({'|'.join(EVENTS)})$"


class Outage(StrEnum):
    """What ends an interval by the pool's fault or at its wish: the causes for which a buyer can be owed a credit."""

    PREEMPTED = "preempted"
    NODE_LOST = "node-lost"
    METER_LOST = "meter-lost"


class CreditTerm(Record):
    """What is given back of work that an outage destroyed: all that its run did since it was last saved."""

    cause: Outage = Field(description="preempted, node-lost or meter-lost")
    percent: int = Field(ge=1, le=100, description="of the price of what was lost", examples=[100])


class Tier(Record):
    """Members who pay less of the exchange's own charges. A member is in the first tier that fits."""

    name: Word = Field(description="unique within the tariff", examples=["small"])
    title: Title = Field(description="what it is called")
    classes: tuple[MemberClass, ...] = Field(default=(), description="members of these classes", examples=[["sme"]])
    members: tuple[Ref[Member], ...] = Field(default=(), description="and these")
    fee_percent: Percent = Field(default=100, description="of the fee on deals that they pay")
    port_percent: Percent = Field(default=100, description="of the price of ports that they pay", examples=[50])
    circuit_percent: Percent = Field(default=100, description="of the price of circuits that they pay")


class Subsidy(Record):
    """A part of what computing costs a member, paid by a fund."""

    name: Word = Field(description="unique within the tariff; the fund's account", examples=["compute-vouchers"])
    title: Title = Field(description="what it is called")
    classes: tuple[MemberClass, ...] = Field(default=(), description="for members of these classes", examples=[["sme"]])
    members: tuple[Ref[Member], ...] = Field(default=(), description="and these")
    percent: int = Field(ge=1, le=100, description="of what the member's deals cost, after credits", examples=[30])
    settlement_max: Money | None = Field(default=None, description="most for one member in one settlement", examples=["20000yuan"])
    member_max: Money | None = Field(default=None, description="most for one member in all", examples=["100000yuan"])


class PortPrice(Record):
    """What a port of a speed costs."""

    speed: BitRate = Field(description="line rate", examples=["100G"])
    month: Money = Field(description="a month in service, in proportion for less", examples=["8000yuan"])


class CircuitPrice(Record):
    """What a circuit costs that carries at most so much."""

    capacity: BitRate = Field(description="capacity, at most", examples=["10G"])
    month: Money = Field(description="a month in service at each of its ends, in proportion for less", examples=["1500yuan"])


class Tariff(Resource):
    """What the exchange charges and gives back, from one hour on. What it says of deals holds for those whose first hour is under it."""

    columns: ClassVar = ("start", "end", "buyer_fee_permille", "seller_fee_permille")

    title: Title = Field(description="what it is called")
    start: Hour = Field(description="first hour (UTC) for which it holds", examples=["2026-01-01T00Z"])
    end: Hour | None = Field(default=None, description="end (UTC), not part of it; unset: until another follows")
    buyer_fee_permille: Permille = Field(default=0, description="of what a deal comes to, from its buyer", examples=[10])
    seller_fee_permille: Permille = Field(default=0, description="of what a deal comes to, from its seller", examples=[10])
    reserved_percent: Percent = Field(
        default=0, description="of the price of devices that were reserved and not used, from the buyer to the seller", examples=[30]
    )
    credits: tuple[CreditTerm, ...] = Field(default=(), description="what is given back after an outage; unset: nothing")
    ports: tuple[PortPrice, ...] = Field(default=(), description="by speed; a port of a speed that is not listed costs nothing")
    circuits: tuple[CircuitPrice, ...] = Field(
        default=(), description="by capacity: the least that is enough; circuits of deals cost nothing"
    )
    tiers: tuple[Tier, ...] = Field(default=(), description="who pays less")
    subsidies: tuple[Subsidy, ...] = Field(default=(), description="who is helped, and by which fund")


class ServiceCredit(Resource):
    """What is given back to a member besides what a tariff says: granted by a person, for a reason, and paid with the next settlement."""

    booked: ClassVar = True
    columns: ClassVar = ("member", "amount", "giver", "reason")

    member: Ref[Member] = Field(description="who gets it")
    amount: Money = Field(description="how much", examples=["120yuan"])
    giver: Ref[Member] | None = Field(default=None, description="who gives it: the member of a pool; unset: the exchange")
    about: str = Field(
        pattern=r"^[a-z-]{1,40}/[a-z0-9][a-z0-9-]*$", description="the resource that failed its promise", examples=["circuit/train-7"]
    )
    reason: str = Field(min_length=1, max_length=500, description="what happened", examples=["cut off for 40 minutes on 3 November"])


class MeterHead(Record):
    """How far a meter had got."""

    pool: Name = Field(description="whose meter")
    seq: int = Field(ge=0, description="number of its newest record")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="and its digest")


class Settlement(Resource):
    """One reading of all meters, rated. It covers what meters recorded after the heads of the settlement before, up to its own."""

    booked: ClassVar = True
    columns: ClassVar = ("number", "until", "lines", "turnover")

    number: int = Field(ge=1, description="counted from 1")
    until: Instant = Field(description="end (UTC) of what it covers, not part of it", examples=["2026-12-01T00:00:00Z"])
    model: int = Field(ge=1, description="entry of the ledger whose deals and tariffs were used")
    heads: tuple[MeterHead, ...] = Field(default=(), description="how far each meter was read")
    credits: tuple[Name, ...] = Field(default=(), description="service credits that were paid with it")
    lines: int = Field(ge=0, description="how many it has")
    turnover: Money = Field(description="sum of all its lines")
    digest: Digest


class Paid(Record):
    """What a fund has paid for a member."""

    subsidy: Word
    amount: Money


class Invoice(Resource):
    """What of a settlement concerns one member: what it owes the exchange, and what it is owed."""

    booked: ClassVar = True
    columns: ClassVar = ("member", "settlement", "owes", "owed")

    member: Name = Field(description="whose")
    settlement: Ref[Settlement] = Field(description="of what")
    owes: Money = Field(description="sum of the lines that it pays")
    owed: Money = Field(description="sum of the lines that are paid to it")
    subsidized: tuple[Paid, ...] = Field(default=(), description="what funds have paid for it so far, this invoice included")
    digest: Digest


class DisputeEvent(Record):
    """A step in a dispute."""

    event: str = Field(pattern=EVENT_PATTERN, description=", ".join(EVENTS))
    at: Instant = Field(description="when (UTC)", examples=["2026-12-03T09:00:00Z"])
    refund: Money | None = Field(default=None, description="with settle: what goes back to the buyer")


class Dispute(Resource):
    """A member contests a line of an invoice that it has to pay. What is contested is held until it is decided."""

    booked: ClassVar = True
    columns: ClassVar = ("invoice", "line", "amount", "reason")

    invoice: Ref[Invoice] = Field(description="which invoice")
    line: str = Field(min_length=1, max_length=300, description="which of its lines, by its id")
    amount: Money = Field(description="how much of it", examples=["12yuan"])
    reason: str = Field(min_length=1, max_length=1000, description="why", examples=["the job was killed by the pool, not by its deadline"])
    events: tuple[DisputeEvent, ...] = Field(default=(), description="what happened since it was filed, in order")


KINDS: tuple[type[Resource], ...] = (Tariff, ServiceCredit, Settlement, Invoice, Dispute)
