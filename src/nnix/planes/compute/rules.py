"""Admission of what is offered, asked and agreed on the compute market.

Rules hold whatever the hour is. That a window is not past already is judged where orders come in, since only there a clock is at hand
(`compute.window-ahead`), and again by every clearing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from nnix.kernel.resource import Duration
from nnix.kernel.rule import Broken, Rule, rule
from nnix.kernel.snapshot import Snapshot
from nnix.planes.compute.derive import circuit_of
from nnix.planes.compute.kinds import (
    HOURS_MAX,
    Bid,
    Deal,
    DealState,
    Engine,
    Job,
    Market,
    Offer,
    Pool,
    hour_named,
    hour_number,
    hours_between,
)
from nnix.planes.compute.states import GRACE_MAX_SECONDS
from nnix.planes.compute.wanted import alternatives
from nnix.planes.fabric.kinds import Circuit, Port
from nnix.planes.members.kinds import Money

MODEL = "nnix, kinds of the compute plane"
LOTS = "uniform price auction: one price for what is alike"
BUNDLES = "Lehmann, Mueller, Sandholm: The winner determination problem, 2006 (XOR bids)"
PRUDENT = "guidelines for new-type exchange points, compute trading: orders are checked before they enter the book"
RATIONAL = "individual rationality: nobody trades at a loss"
BATCHES = "frequent batch auctions (Budish, Cramton, Shim, 2015)"
ROUND_LEAST, SPOT_MOST = Duration.parse("10s"), Duration.parse("1h")
MATCH_LEAST = Duration.parse("1s")


def market_of(snapshot: Snapshot) -> Market:
    """The exchange's market, or the defaults."""
    return next(iter(snapshot.of(Market)), Market(name="market"))


@rule("compute.market-once", source=MODEL)
def market_once(market: Market, snapshot: Snapshot) -> Iterator[Broken]:
    """There is at most one market, since a lot has one price."""
    first = snapshot.of(Market)[0]
    if market is not first:
        yield Broken("name", market.name, f"one market; {first.id} is there")


@rule("compute.clearing-rhythm", source=BATCHES)
def clearing_rhythm(market: Market, snapshot: Snapshot) -> Iterator[Broken]:
    """A round takes seconds, and what is spot has its hour: one that is never cleared within it would pass unsold. A round of everything is one of spot too."""
    spot, forwards = market.spot_every, market.forwards_every
    for field, every, least in (
        ("spot_every", spot, ROUND_LEAST),
        ("forwards_every", forwards, ROUND_LEAST),
        ("match_every", market.match_every, MATCH_LEAST),
    ):
        if every is not None and every < least:
            yield Broken(field, every, f"{least} or more")
    if spot is not None and spot > SPOT_MOST:
        yield Broken("spot_every", spot, f"{SPOT_MOST} or less")
    if spot is not None and forwards is not None and forwards < spot:
        yield Broken("forwards_every", forwards, f"{spot} or more, as often as spot")


# --- pools ------------------------------------------------------------------------------------------------------------


@rule("compute.pool-port-at-home", source=MODEL)
def pool_port_at_home(pool: Pool, snapshot: Snapshot) -> Iterator[Broken]:
    """A pool is plugged in at a port of its own member at its own site."""
    if pool.port is None:
        return
    port = snapshot.at(pool.port)
    if (port.member, port.site) != (pool.member, pool.site):
        yield Broken("port", f"{port.id}, of {port.member} at {port.site}", f"a port of {pool.member} at {pool.site}")
    first, *_ = snapshot.where(Pool, port=pool.port)
    if pool is not first:
        yield Broken("port", pool.port, f"a port of its own; {first.id} is behind this one")


@rule("compute.pool-nodes-add-up", source=MODEL)
def pool_nodes_add_up(pool: Pool, snapshot: Snapshot) -> Iterator[Broken]:
    """A pool has the devices of its nodes, each of which is named once."""
    if pool.nodes and sum(each.devices for each in pool.nodes) != pool.devices:
        yield Broken("devices", pool.devices, f"{sum(each.devices for each in pool.nodes)}, as many as its nodes have")
    for name, times in Counter(each.name for each in pool.nodes).items():
        if times > 1:
            yield Broken("nodes", f"{times} named {name}", "a name of its own for each node")


@rule("compute.pool-on-one-machine", source=MODEL)
def pool_on_one_machine(pool: Pool, snapshot: Snapshot) -> Iterator[Broken]:
    """A pool is one machine, and a machine one pool: engines are driven on one machine each, and would listen at the same ports."""
    own = str(pool.machine or pool.name)
    for node in pool.nodes:
        if node.machine is not None and str(node.machine) != own:
            yield Broken("nodes", f"{node.name} on {node.machine}", f"all of them on {own}; or a pool for each machine")
    others = sorted(each.id for each in snapshot.of(Pool) if each.name != pool.name and str(each.machine or each.name) == own)
    if others:
        yield Broken("machine", f"{own}, which is {', '.join(others)} already", "a machine of its own")


@rule("compute.lots-alike", source=LOTS)
def lots_alike(pool: Pool, snapshot: Snapshot) -> Iterator[Broken]:
    """Devices of one type at one site are one product, so they have one memory and one assurance level."""
    alike = [each for each in snapshot.where(Pool, site=pool.site) if each.device == pool.device]
    for field in ("assurance", "memory_gigabytes"):
        first, ours = getattr(alike[0], field), getattr(pool, field)
        if ours != first:
            yield Broken(field, ours, f"{first}, as {alike[0].id} has", "give the better devices a type of their own")


@rule("compute.pool-identified-once", source="MIIT [2025] 119: identifiers of compute resources")
def pool_identified_once(pool: Pool, snapshot: Snapshot) -> Iterator[Broken]:
    """An identifier of a national node names one pool."""
    for index, each in enumerate(pool.identifiers):
        others = [other.id for other in snapshot.of(Pool) if other.name < pool.name and each in other.identifiers]
        if others or each in pool.identifiers[:index]:
            yield Broken(f"identifiers[{index}]", each.value, f"an identifier that {others[0] if others else 'it'} does not have already")


# --- offers -----------------------------------------------------------------------------------------------------------


@rule("compute.window-has-hours", source=PRUDENT)
def window_has_hours(offer: Offer, snapshot: Snapshot) -> Iterator[Broken]:
    """A window ends after it begins, and is no longer than a year."""
    hours = hour_number(offer.end) - hour_number(offer.start)
    if not 1 <= hours <= HOURS_MAX:
        yield Broken("end", offer.end, f"an hour after {offer.start}, at most {HOURS_MAX} later")


@rule("compute.offer-once", source=PRUDENT)
def offer_once(offer: Offer, snapshot: Snapshot) -> Iterator[Broken]:
    """An offer that says word for word what another says is a slip, not more supply."""
    for other in snapshot.where(Offer, pool=offer.pool):
        if other.name < offer.name and (other.lots, other.ask, other.start, other.end) == (offer.lots, offer.ask, offer.start, offer.end):
            yield Broken("", f"the same as {other.id}", "one offer of all its lots", "raise the lots of one, withdraw the other")
            return


@rule("compute.offer-within-pool", source="no short sales: what is sold is there", whole=True)
def offer_within_pool(pool: Pool, snapshot: Snapshot) -> Iterator[Broken]:
    """In no hour more lots of a pool are on offer than it has devices."""
    steps: dict[int, int] = defaultdict(int)
    for each in snapshot.where(Offer, pool=pool.name):
        steps[hour_number(each.start)] += each.lots
        steps[hour_number(each.end)] -= each.lots
    lots = 0
    for hour in sorted(steps):
        lots += steps[hour]
        if lots > pool.devices:
            yield Broken("devices", pool.devices, f"at least {lots}, which are on offer at {hour_named(hour)}", "withdraw an offer")
            return


@rule("compute.ask-in-bounds", source=PRUDENT)
def ask_in_bounds(offer: Offer, snapshot: Snapshot) -> Iterator[Broken]:
    """An ask is more than nothing, and no more than the market's highest price."""
    highest = market_of(snapshot).price_max
    if not 0 < offer.ask <= highest:
        yield Broken("ask", offer.ask, f"from 1fen to {highest}")


# --- bids -------------------------------------------------------------------------------------------------------------


@rule("compute.bid-asks-something", source=BUNDLES)
def bid_asks_something(bid: Bid, snapshot: Snapshot) -> Iterator[Broken]:
    """A bid has bundles, or work with conversions and a first hour, and not both."""
    by_work = (bid.work is not None, bool(bid.conversions), bid.start is not None)
    if bid.bundles and any((*by_work, bid.latest)):
        yield Broken("bundles", "bundles and work", "one of the two")
    elif not bid.bundles and not all(by_work):
        yield Broken("bundles", "none", "at least one bundle; or work, conversions and start")


@rule("compute.start-before-latest", source=PRUDENT)
def start_before_latest(bid: Bid, snapshot: Snapshot) -> Iterator[Broken]:
    """The latest hour of beginning is not before the first, nor more than a year after it."""
    windows = [(f"bundles[{index}].latest", each.start, each.latest) for index, each in enumerate(bid.bundles)]
    if bid.start is not None:
        windows.append(("latest", bid.start, bid.latest))
    for field, start, latest in windows:
        if latest is not None and not 0 <= hour_number(latest) - hour_number(start) <= HOURS_MAX:
            yield Broken(field, latest, f"{start} or later, by at most {HOURS_MAX} hours")


@rule("compute.bundle-once", source=BUNDLES)
def bundle_once(bid: Bid, snapshot: Snapshot) -> Iterator[Broken]:
    """No alternative of a bid stands there twice."""
    for index, each in enumerate(bid.bundles):
        if each in bid.bundles[:index]:
            yield Broken(f"bundles[{index}]", "the same as an earlier one", "alternatives that differ")
    for index, conversion in enumerate(bid.conversions):
        if (conversion.device, conversion.devices) in [(c.device, c.devices) for c in bid.conversions[:index]]:
            yield Broken(f"conversions[{index}]", conversion.device, "one conversion for each device and number of them")


@rule("compute.bid-once", source=PRUDENT)
def bid_once(bid: Bid, snapshot: Snapshot) -> Iterator[Broken]:
    """A bid that says word for word what another of its member says is a slip; who wants twice as much says so in a bundle."""
    said = bid.model_dump(exclude={"name", "owner"})
    for other in snapshot.where(Bid, member=bid.member):
        if other.name < bid.name and other.limit == bid.limit and other.model_dump(exclude={"name", "owner"}) == said:
            yield Broken("", f"the same as {other.id}", "another bid", "withdraw one of them")
            return


@rule("compute.device-known", source=MODEL)
def device_known(bid: Bid, snapshot: Snapshot) -> Iterator[Broken]:
    """What a bid asks for is a type of device that some pool has: at the site that it names, where it names one."""
    there = snapshot.index(Pool, "device")
    known = ", ".join(sorted(there)) or "none yet"
    for index, each in enumerate(bid.bundles):
        if each.device not in there:
            yield Broken(f"bundles[{index}].device", each.device, f"a type that is there: {known}")
        elif each.site is not None and all(pool.site != each.site for pool in there[each.device]):
            sites = ", ".join(sorted({str(pool.site) for pool in there[each.device]}))
            yield Broken(f"bundles[{index}].site", each.site, f"a site that has {each.device}: {sites}")
    for index, conversion in enumerate(bid.conversions):
        if conversion.device not in there:
            yield Broken(f"conversions[{index}].device", conversion.device, f"a type that is there: {known}")


@rule("compute.limit-in-bounds", source=PRUDENT)
def limit_in_bounds(bid: Bid, snapshot: Snapshot) -> Iterator[Broken]:
    """A limit is more than nothing, and not above the market's highest price for as many device-hours."""
    highest = market_of(snapshot).price_max
    for index, each in enumerate(bid.bundles):
        limit, field = (bid.limit, "limit") if each.limit is None else (each.limit, f"bundles[{index}].limit")
        most = int(highest) * each.devices * each.hours
        if not 0 < limit <= most:
            yield Broken(
                field, limit, f"from 1fen to {Money(most)}, that is {highest} for each of {each.devices * each.hours} device-hours"
            )
    by_work = [] if bid.bundles else [each.devices * min(each.hours, HOURS_MAX) for each in alternatives(bid)]
    if by_work:
        most = int(highest) * max(by_work)
        if not 0 < bid.limit <= most:
            yield Broken(
                "limit", bid.limit, f"from 1fen to {Money(most)}, that is {highest} for each device-hour that its work takes at most"
            )


@rule("compute.bid-port-fits", source="E-Line: MEF 6.3; " + MODEL)
def bid_port_fits(bid: Bid, snapshot: Snapshot) -> Iterator[Broken]:
    """A circuit to data ends where these lie, at a port of the bidder or of whoever provides them; any other ends at a port of the bidder."""
    if bid.port is None:
        if bid.latency_max is not None:
            yield Broken("port", "unset", "the port from which the latency counts")
        return
    port: Port = snapshot.at(bid.port)
    owners = {str(bid.member)}
    if bid.data is not None and bid.data.contract is not None:
        owners.add(str(snapshot.at(bid.data.contract).provider))
    if port.member not in owners:
        yield Broken("port", f"{port.id}, of {port.member}", f"a port of {' or '.join(sorted(owners))}")
    if bid.data is not None and port.site != bid.data.site:
        yield Broken("port", f"{port.id}, at {port.site}", f"a port at {bid.data.site}, where the data lies")


@rule("compute.data-by-contract", source="Data Security Law of the PRC, article 33")
def data_by_contract(bid: Bid, snapshot: Snapshot) -> Iterator[Broken]:
    """Data of others are read by a contract with the bidder: of that dataset, there, as much of it."""
    if bid.data is None or bid.data.contract is None:
        return
    contract = snapshot.at(bid.data.contract)
    if contract.consumer != bid.member:
        yield Broken("data.contract", f"{contract.id}, of {contract.consumer}", f"a contract of {bid.member}")
    elif (contract.dataset, contract.site) != (bid.data.dataset, bid.data.site):
        yield Broken(
            "data.contract", f"{contract.id}: {contract.dataset} at {contract.site}", f"one of {bid.data.dataset} at {bid.data.site}"
        )
    elif contract.gigabytes < bid.data.gigabytes:
        yield Broken("data.gigabytes", bid.data.gigabytes, f"at most {contract.gigabytes}, as {contract.id} says")


@rule("compute.conversion-measured", source="issue of the compute plane: conversions are declared or measured, never assumed")
def conversion_measured(bid: Bid, snapshot: Snapshot) -> Iterator[Broken]:
    """What is called measured was measured by a probe of the bidder's own, in a pool of that type which lets itself be probed."""
    for index, each in enumerate(bid.conversions):
        if each.measured_by is None:
            continue
        job = snapshot.at(each.measured_by)
        pool = snapshot.at(job.probe) if job.probe is not None else None
        if pool is None or pool.device != each.device or job.member != bid.member:
            yield Broken(f"conversions[{index}].measured_by", job.id, f"a probe of {bid.member} in a pool of {each.device}")


# --- deals and jobs -----------------------------------------------------------------------------------------------------


@rule("compute.deal-adds-up", source=MODEL)
def deal_adds_up(deal: Deal, snapshot: Snapshot) -> Iterator[Broken]:
    """A deal is about lots of one pool, in hours of its offer, each with a price."""
    offer = snapshot.at(deal.offer)
    if offer.pool != deal.pool:
        yield Broken("pool", deal.pool, f"{offer.pool}, which {offer.id} is about")
    if len(deal.prices) != len(deal.hours):
        yield Broken("prices", len(deal.prices), f"{len(deal.hours)}, one for each hour")
    if list(deal.hours) != sorted(set(deal.hours)) or not offer.start <= deal.hours[0] <= deal.hours[-1] < offer.end:
        yield Broken("hours", f"{deal.hours[0]} … {deal.hours[-1]}", f"ascending, from {offer.start} and before {offer.end}")


@rule("compute.deal-at-no-loss", source=RATIONAL, whole=True)
def deal_at_no_loss(deal: Deal, snapshot: Snapshot) -> Iterator[Broken]:
    """No lot is sold below its ask; and what a bid pays in all, transfer included, is no more than its limit."""
    offer = snapshot.at(deal.offer)
    for index, price in enumerate(deal.prices):
        if price < offer.ask:
            yield Broken(f"prices[{index}]", price, f"at least the ask, {offer.ask}")
    same = snapshot.where(Deal, bid=deal.bid)
    if deal is same[0]:
        bid = snapshot.at(deal.bid)
        hours = sorted({hour_number(hour) for each in same for hour in each.hours})
        limits = [
            each.limit
            for each in alternatives(bid)
            if each.is_of(snapshot.at(deal.pool)) and each.allows(_devices(same), len(hours), hours[0])
        ]
        paid = sum(int(each.transfer) + sum(map(int, each.prices)) * each.devices for each in same)
        most = max(limits, default=int(bid.limit))
        if paid > most:
            yield Broken("prices", f"{Money(paid)} in all", f"at most {Money(most)}, the limit of {bid.id}")


def _devices(deals: Sequence[Deal]) -> int:
    """How many devices the deals of a bid have together in their first hour."""
    first = min(deal.hours[0] for deal in deals)
    return sum(deal.devices for deal in deals if first in deal.hours)


@rule("compute.lots-sold-once", source="no short sales: what is sold is there", whole=True)
def lots_sold_once(offer: Offer, snapshot: Snapshot) -> Iterator[Broken]:
    """In no hour more lots of an offer are sold than it has."""
    sold: Counter[str] = Counter()
    for deal in snapshot.where(Deal, offer=offer.name):
        for hour in deal.hours:
            sold[hour] += deal.devices
    for hour in sorted(sold):
        if sold[hour] > offer.lots:
            yield Broken("lots", offer.lots, f"at least {sold[hour]}, which deals have at {hour}")
            return


@rule("compute.bid-filled-whole", source=BUNDLES, whole=True)
def bid_filled_whole(bid: Bid, snapshot: Snapshot) -> Iterator[Broken]:
    """What deals give a bid is one of its alternatives, whole."""
    deals = snapshot.where(Deal, bid=bid.name)
    if not deals:
        return
    pools = [snapshot.at(each.pool) for each in deals]
    got: Counter[str] = Counter()
    for deal in deals:
        for hour in deal.hours:
            got[hour] += deal.devices
    hours, counts = sorted(got), set(got.values())
    one = len({(str(each.site), each.device) for each in pools}) == 1 and len(counts) == 1
    unbroken = hours == list(hours_between(hours[0], hour_named(hour_number(hours[-1]) + 1)))
    wanted = any(each.is_of(pools[0]) and each.allows(min(counts), len(hours), hour_number(hours[0])) for each in alternatives(bid))
    if not (one and unbroken and wanted):
        yield Broken("", f"deals give it {sum(got.values())} lots that are none of its alternatives", "one alternative, whole")


@rule("compute.deal-has-circuit", source="a deal is lots, circuit and contract, or nothing", whole=True)
def deal_has_circuit(deal: Deal, snapshot: Snapshot) -> Iterator[Broken]:
    """A deal of a bid that has a port has a circuit from there to its pool, as long as it lives: lots that nobody reaches are not delivered."""
    bid = snapshot.at(deal.bid)
    if bid.port is None or deal.state is not DealState.RESERVED:
        return
    pool = snapshot.at(deal.pool)
    if pool.port is None:
        yield Broken("pool", pool.id, "a pool with a port: the bid's circuit ends there", "release the deal, or give the pool a port")
        return
    circuit = snapshot.get(Circuit, circuit_of(bid.name))
    ends = [snapshot.at(each) for each in circuit.ends] if circuit is not None else []
    joined = {str(each.over or each.name) for each in ends}
    for field, port in (("bid", bid.port), ("pool", pool.port)):
        if port not in joined:
            yield Broken(
                field,
                f"no circuit ends at port/{port}",
                "a circuit from the bid's port to the pool's",
                "make room: each circuit needs a tag there",
            )


@rule("compute.job-has-place", source=MODEL)
def job_has_place(job: Job, snapshot: Snapshot) -> Iterator[Broken]:
    """A job runs on a deal of its member that is not over, or is a probe in a pool that lets itself be probed."""
    if (job.deal is None) == (job.probe is None):
        yield Broken("deal", "a deal and a probe" if job.deal else "neither deal nor probe", "one of the two")
        return
    if job.probe is not None:
        if not snapshot.at(job.probe).probes:
            yield Broken("probe", job.probe, "a pool with probes: true")
        return
    if job.deal is not None:
        deal = snapshot.at(job.deal)
        buyer = snapshot.at(deal.bid).member
        if buyer != job.member:
            yield Broken("member", job.member, f"{buyer}, whose deal it is")
        if deal.state is DealState.RELEASED and job.deadline is not None and job.deadline > deal.hours[-1]:
            yield Broken("deal", f"{deal.id} was over after {deal.hours[-1]}", "a deal that is reserved")


@rule("compute.job-fits-deal", source="gang scheduling: all workers at once", whole=True)
def job_fits_deal(job: Job, snapshot: Snapshot) -> Iterator[Broken]:
    """The gang of a job needs no more devices at once than its deal has."""
    if job.device_percent is not None and job.devices != 1:
        yield Broken("device_percent", job.device_percent, "with devices: 1, of which it is a part")
    if job.deal is not None:
        has = snapshot.at(job.deal).devices
        needs = -(-job.workers // (100 // job.device_percent)) if job.device_percent is not None else job.workers * job.devices
        if needs > has:
            yield Broken("workers", f"{job.workers} with {needs} devices in all", f"at most {has}, as {job.deal} has")


@rule("compute.checkpoint-in-time", source="docs/compute.md, jobs")
def checkpoint_in_time(job: Job, snapshot: Snapshot) -> Iterator[Broken]:
    """A job saves itself in ten minutes at most: it is told so long before its deal ends, and whoever preempts it waits so long."""
    if job.checkpoint is not None and job.checkpoint.seconds > GRACE_MAX_SECONDS:
        yield Broken("checkpoint", job.checkpoint, f"at most {GRACE_MAX_SECONDS / 60:g}min")


@rule("compute.job-can-start", source="docs/compute.md, engines")
def job_can_start(job: Job, snapshot: Snapshot) -> Iterator[Broken]:
    """An image needs a container runtime, which only a cluster has; a cluster runs nothing but images. Slurm gives out whole devices."""
    if job.deal is None and job.probe is None:
        return
    pool = snapshot.at(job.probe) if job.probe is not None else snapshot.at(snapshot.at(job.deal).pool) if job.deal is not None else None
    if pool is None:
        return
    if job.image is not None and pool.engine is not Engine.KUBERNETES:
        yield Broken("image", job.image, f"unset: {pool.id} runs {pool.engine} without a container runtime")
    if job.image is None and pool.engine is Engine.KUBERNETES:
        yield Broken("image", "unset", f"an image: {pool.id} is a cluster")
    if job.device_percent is not None and pool.engine is not Engine.RAY:
        yield Broken("device_percent", job.device_percent, f"whole devices: {pool.engine} shares none")


RULES: tuple[Rule, ...] = (
    market_once,
    clearing_rhythm,
    pool_port_at_home,
    pool_nodes_add_up,
    pool_on_one_machine,
    lots_alike,
    pool_identified_once,
    window_has_hours,
    offer_once,
    offer_within_pool,
    ask_in_bounds,
    bid_asks_something,
    start_before_latest,
    bundle_once,
    bid_once,
    device_known,
    limit_in_bounds,
    bid_port_fits,
    data_by_contract,
    conversion_measured,
    deal_adds_up,
    deal_at_no_loss,
    lots_sold_once,
    bid_filled_whole,
    deal_has_circuit,
    job_has_place,
    job_fits_deal,
    checkpoint_in_time,
    job_can_start,
)
