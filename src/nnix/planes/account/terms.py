"""What holds between the parties of a deal: its prices from the market, its fees, credits and subsidies from the tariff of its first hour.

Terms are values. Rating sees them and the meter, and nothing else of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nnix.kernel.snapshot import Snapshot
from nnix.planes.account.kinds import Subsidy, Tariff, Tier
from nnix.planes.compute.kinds import Deal, hour_number
from nnix.planes.members.kinds import Member

FEE_PARTS = 100_000
"""fees are permille of an amount times percent of a tier"""


@dataclass(frozen=True, slots=True)
class Help:
    """A subsidy, as far as one deal is concerned. Amounts are fen."""

    name: str
    percent: int
    settlement_max: int | None = None
    member_max: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Amounts are fen, hours are numbers since 1970, fees are parts of 100,000, credits are cause → percent. made_ms: when the deal was made."""

    deal: str
    buyer: str
    seller: str
    pool: str
    devices: int
    prices: Mapping[int, int]
    transfer: int = 0
    buyer_fee: int = 0
    seller_fee: int = 0
    credits: Mapping[str, int] = field(default_factory=dict)
    reserved_percent: int = 0
    made_ms: int = 0
    subsidies: tuple[Help, ...] = ()


def terms_of(deal: Deal, snapshot: Snapshot, made_ms: int = 0) -> Terms:
    """The terms of a deal that was made then."""
    pool = snapshot.at(deal.pool)
    buyer, seller = snapshot.at(snapshot.at(deal.bid).member), snapshot.at(pool.member)
    tariff = tariff_at(snapshot, deal.hours[0])
    bare = Terms(
        deal=deal.name,
        buyer=buyer.name,
        seller=seller.name,
        pool=pool.name,
        devices=deal.devices,
        prices={hour_number(hour): int(price) for hour, price in zip(deal.hours, deal.prices, strict=True)},
        transfer=int(deal.transfer),
        made_ms=made_ms,
    )
    return bare if tariff is None else _under(bare, tariff, buyer, seller)


def _under(bare: Terms, tariff: Tariff, buyer: Member, seller: Member) -> Terms:
    return replace(
        bare,
        buyer_fee=tariff.buyer_fee_permille * _fee_percent(tariff, buyer),
        seller_fee=tariff.seller_fee_permille * _fee_percent(tariff, seller),
        credits={str(each.cause): each.percent for each in tariff.credits},
        reserved_percent=tariff.reserved_percent,
        subsidies=tuple(
            Help(
                each.name,
                each.percent,
                None if each.settlement_max is None else int(each.settlement_max),
                None if each.member_max is None else int(each.member_max),
            )
            for each in tariff.subsidies
            if is_for(each, buyer)
        ),
    )


def tariff_at(snapshot: Snapshot, hour: str) -> Tariff | None:
    """The tariff that holds in an hour: the newest that has started, unless it has ended."""
    started = [each for each in snapshot.of(Tariff) if each.start <= hour]
    newest = max(started, key=lambda each: each.start, default=None)
    return newest if newest is None or newest.end is None or hour < newest.end else None


def is_for(terms: Tier | Subsidy, member: Member) -> bool:
    return member.member_class in terms.classes or member.name in terms.members


def tier_of(tariff: Tariff, member: Member) -> Tier | None:
    """The first tier that fits a member."""
    return next((each for each in tariff.tiers if is_for(each, member)), None)


def _fee_percent(tariff: Tariff, member: Member) -> int:
    tier = tier_of(tariff, member)
    return 100 if tier is None else tier.fee_percent
