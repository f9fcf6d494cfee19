"""What a bid would be content with: its alternatives, spelled out, whether it wrote bundles or work that several devices can do.

Work becomes a bundle for each device that can do it: as many whole hours as that many devices need at the speed that was declared or measured. The last
hour is begun, so it is paid. Nothing is assumed of a device for which the bid has no conversion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.kinds import Bid, Deal, Pool, hour_number


@dataclass(frozen=True, slots=True)
class Alternative:
    """Devices of one type for hours in a row, beginning at an hour from `start` to `latest`, at `site` (None: any), for at most `limit` fen."""

    device: str
    devices: int
    hours: int
    start: int
    latest: int
    site: str | None
    limit: int

    def is_of(self, pool: Pool) -> bool:
        """Whether a pool has such devices at such a site."""
        return self.device == pool.device and self.site in (None, pool.site)

    def allows(self, devices: int, hours: int, start: int) -> bool:
        """Whether so many devices for so many hours from `start` on are just what it asks for, wherever they are."""
        return (self.devices, self.hours) == (devices, hours) and self.start <= start <= self.latest


def unfilled(snapshot: Snapshot) -> list[Bid]:
    """Bids that have no deal."""
    filled = {str(each.bid) for each in snapshot.of(Deal)}
    return [each for each in snapshot.of(Bid) if each.name not in filled]


def hours_of_work(work: int, per_hour: int, devices: int) -> int:
    """Hours in which so many devices do a work of which each does `per_hour`."""
    return -(-work // (per_hour * devices))


def alternatives(bid: Bid) -> Iterator[Alternative]:
    """In the order in which the bid has them."""
    for each in bid.bundles:
        start = hour_number(each.start)
        latest = hour_number(each.latest) if each.latest else start
        site = None if each.site is None else str(each.site)
        limit = bid.limit if each.limit is None else each.limit
        yield Alternative(each.device, each.devices, each.hours, start, latest, site, int(limit))
    if bid.work is not None and bid.start is not None:
        start = hour_number(bid.start)
        latest = hour_number(bid.latest) if bid.latest else start
        for conversion in bid.conversions:
            hours = hours_of_work(bid.work, conversion.work_per_hour, conversion.devices)
            yield Alternative(conversion.device, conversion.devices, hours, start, latest, None, int(bid.limit))
