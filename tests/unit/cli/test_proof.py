"""A clearing is held against the deals that were made of it, by the change after it."""

from __future__ import annotations

from nnix.cli.proof import deals_differ
from nnix.planes.compute.market.clear import clear
from nnix.planes.compute.market.publish import deals, published
from nnix.planes.members.kinds import Money
from tests.unit.compute.test_network import asked

CLEARED = clear(asked({})[1])
RECORD = published(CLEARED)
MADE = list(deals(CLEARED, RECORD["digest"]))


def test_the_deals_that_were_published_were_made() -> None:
    """Or none, where the clearing was not carried out; another clearing's are not its own."""
    assert len(MADE) == 1
    assert list(deals_differ(MADE, RECORD)) == []
    assert list(deals_differ([], RECORD)) == []
    assert list(deals_differ([each.changed(clearing="0" * 64) for each in MADE], RECORD)) == []


def test_other_deals_are_found() -> None:
    """Fewer devices, another price, another offer, another fee for the transfer."""
    (deal,) = MADE
    dearer = tuple(Money(int(each) + 1) for each in deal.prices)
    for other in (deal.changed(devices=deal.devices - 1), deal.changed(prices=dearer), deal.changed(offer="gpus-day")):
        assert any("is not the one that was published" in each for each in deals_differ([other], RECORD)), other
    assert any("fen for transfer" in each for each in deals_differ([deal.changed(transfer=Money(int(deal.transfer) + 1))], RECORD))
