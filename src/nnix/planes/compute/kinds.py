"""The vocabulary of compute: Market, Pool, Offer, Bid, Deal, Job.

What is traded is the *lot*: one device of one type at one site for one hour (UTC). All lots that agree in these three are alike and have one price.
A Pool is where lots come from, an Offer sells some, a Bid asks for several together or for none, a Deal says who got which and at what price, and
a Job is what runs on them.

A bid has alternatives of which it gets one at most: bundles, each so many devices of one type for so many hours in a row at one site. Work that may
run on several makes of device says how fast it is on each (`conversions`), as declared or as measured by a probe; nnix knows no table of its own by
which one device would be worth another.

Deliberately not here: what national nodes call a resource. Their identifiers are kept as they are beside the resolver that knows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from nnix.kernel.resource import BitRate, Duration, Record, Ref, Resource
from nnix.planes.data.kinds import GIGABYTES_MAX, DataContract, Dataset, Hour
from nnix.planes.fabric.kinds import Port
from nnix.planes.members.kinds import Machine, Member, Money, Site

# --- hours ------------------------------------------------------------------------------------------------------------

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOURS_MAX = 24 * 366
"""of one window: a year"""
DEVICES_MAX = 100_000


def hour_number(hour: str) -> int:
    """Hours since 1970 of `2026-11-26T08Z`."""
    return int((datetime.strptime(hour, "%Y-%m-%dT%HZ").replace(tzinfo=UTC) - EPOCH).total_seconds()) // 3600


def hour_named(number: int) -> str:
    """The inverse of `hour_number`."""
    return f"{EPOCH + timedelta(hours=number):%Y-%m-%dT%HZ}"


def hour_of(instant: datetime) -> int:
    """The hour in which an aware instant lies, by number."""
    return int((instant - EPOCH).total_seconds()) // 3600


DeviceType = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9.-]{0,31}/[a-z0-9][a-z0-9.-]{0,63}$",
        description="make/model of a device, lower case; devices of one type are alike",
        examples=["huawei/ascend-910b"],
    ),
]
Assurance = Annotated[
    int,
    Field(ge=1, le=5, description="classified protection level of the system that it belongs to (GB/T 22240-2020): 1 to 5", examples=[3]),
]


# --- what is offered ----------------------------------------------------------------------------------------------------


class Market(Resource):
    """How the exchange clears compute. At most one; without one, the defaults hold."""

    columns: ClassVar = ("transfer", "price_max")

    transfer: Money = Field(
        default=Money(0),
        description="price of moving one gigabyte over one link, which a buyer's bundle has to be worth besides",
        examples=["5fen"],
    )
    price_max: Money = Field(
        default=Money(10**7), description="highest ask and limit for one device-hour; more is taken for a slip", examples=["1000yuan"]
    )
    forward_hours_max: int = Field(default=HOURS_MAX, ge=1, le=HOURS_MAX, description="how far ahead lots are traded, in hours")
    spot_every: Duration | None = Field(
        default=None,
        description="how often `nnix run` clears what begins in this hour or the next; unset: only `nnix compute clear --spot` does",
        examples=["1min"],
    )
    forwards_every: Duration | None = Field(
        default=None, description="how often `nnix run` clears everything; unset: only `nnix compute clear` does", examples=["1h"]
    )
    match_every: Duration | None = Field(
        default=None,
        description="how often `nnix run` matches standard lots of which orders meet, between clearings; unset: only `nnix compute match` and `--match` do",
        examples=["5s"],
    )
    corner_percent: int = Field(
        default=50, ge=1, le=100, description="of the lots of one product, held by one buyer: from here on it is a finding"
    )
    spike_percent: int = Field(
        default=200, ge=1, le=100_000, description="above the median of the product's earlier prices: from here on it is a finding"
    )


class Engine(StrEnum):
    """What starts jobs in a pool."""

    RAY = "ray"
    SLURM = "slurm"
    KUBERNETES = "kubernetes"


class Identifier(Record):
    """What a national node calls a compute resource. No syntax is public, so none is checked: the resolver that is named knows it."""

    resolver: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$", description="who can resolve it", examples=["national-node"])
    value: str = Field(min_length=1, max_length=500, description="as it was given")


class Node(Record):
    """One machine of a pool, with its devices."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="unique within the pool", examples=["n1"])
    machine: Ref[Machine] | None = Field(default=None, description="the machine itself; unset: that of the pool")
    devices: int = Field(ge=0, le=1024, description="of the pool's type", examples=[8])
    cpus: int = Field(default=1, ge=1, le=4096, description="processor cores for jobs", examples=[96])
    memory_gigabytes: int = Field(default=1, ge=1, le=10**6, description="main memory for jobs, in GB", examples=[768])
    domain: str = Field(
        default="",
        pattern=r"^([a-z0-9-]{1,32}(/[a-z0-9-]{1,32}){0,4})?$",
        description="where it stands in the pool's network, from the largest domain to the smallest",
        examples=["leaf-1/rack-3"],
    )


class Conversion(Record):
    """How much of a work one device of a type does in an hour."""

    device: DeviceType
    work_per_hour: int = Field(ge=1, le=10**9, description="whole units of the work that one device does in one hour", examples=[120])
    devices: int = Field(default=1, ge=1, le=DEVICES_MAX, description="how many at once", examples=[8])
    measured_by: Ref[Job] | None = Field(default=None, description="the probe that measured it; unset: it is the bidder's word")


class Pool(Resource):
    """Devices of one type at one site, which its member lets others use."""

    columns: ClassVar = ("member", "site", "device", "devices", "engine", "assurance")

    member: Ref[Member] = Field(description="who offers it")
    site: Ref[Site] = Field(description="where it is")
    device: DeviceType
    devices: int = Field(ge=1, le=DEVICES_MAX, description="how many", examples=[64])
    memory_gigabytes: int = Field(ge=1, le=10**5, description="memory of one device, in GB", examples=[64])
    nodes: tuple[Node, ...] = Field(default=(), description="its machines; unset: one, with all devices")
    engine: Engine = Field(default=Engine.RAY, description="what starts jobs there: ray, slurm or kubernetes")
    machine: Ref[Machine] | None = Field(default=None, description="where its engine is spoken to; unset: a machine of the pool's own name")
    port: Ref[Port] | None = Field(
        default=None, description="where its machines are plugged in, so that circuits can end there; a tagged one takes several at once"
    )
    assurance: Assurance = 1
    probes: bool = Field(default=False, description="true: short jobs that measure a conversion run here without a deal")
    identifiers: tuple[Identifier, ...] = Field(default=(), description="what national nodes call it")


class Offer(Resource):
    """Lots of a pool for sale: so many devices in every hour of a window, each at no less than the ask. It stands until withdrawn, sold or past."""

    booked: ClassVar = True
    columns: ClassVar = ("pool", "lots", "ask", "start", "end")

    pool: Ref[Pool] = Field(description="of which pool")
    lots: int = Field(ge=1, le=DEVICES_MAX, description="devices in each hour of the window; any part of them may be sold", examples=[16])
    ask: Money = Field(description="least price of one device for one hour", examples=["8.50yuan"])
    start: Hour = Field(description="first hour of the window (UTC)", examples=["2026-11-26T08Z"])
    end: Hour = Field(description="end of the window (UTC), not part of it", examples=["2026-11-27T08Z"])


# --- what is asked ------------------------------------------------------------------------------------------------------


class Bundle(Record):
    """One alternative of a bid: devices of one type for hours in a row at one site, all of them or none."""

    device: DeviceType
    devices: int = Field(ge=1, le=DEVICES_MAX, description="how many at once", examples=[8])
    hours: int = Field(ge=1, le=HOURS_MAX, description="for how many hours in a row", examples=[4])
    start: Hour = Field(description="first hour (UTC)", examples=["2026-11-26T08Z"])
    latest: Hour | None = Field(default=None, description="it may begin at any hour until this one; unset: at `start` only")
    site: Ref[Site] | None = Field(default=None, description="where; unset: at any one site")
    limit: Money | None = Field(default=None, description="most for this alternative, transfer included; unset: the bid's limit")


class Data(Record):
    """What a job needs to read, and where it is."""

    dataset: Dataset
    site: Ref[Site] = Field(description="where it lies")
    gigabytes: int = Field(ge=1, le=GIGABYTES_MAX, description="how much of it is moved, in GB of 10^9 octets", examples=[400])
    contract: Ref[DataContract] | None = Field(
        default=None, description="by which the bidder may use it and pass it on; unset: it is the bidder's own"
    )
    at: str | None = Field(
        default=None,
        pattern=r"^https?://[A-Za-z0-9.\[\]:-]+(/[!-~]*)?$",
        description="where the job reads it, over the deal's circuit; told to it as NNIX_DATA",
        examples=["http://198.18.7.2:8480/cargo-images-2026"],
    )


class Bid(Resource):
    """Devices wanted: one of several bundles, whole or not at all, for no more than the limit. It stands until withdrawn, filled or past."""

    booked: ClassVar = True
    columns: ClassVar = ("member", "limit", "bundles")

    member: Ref[Member] = Field(description="who buys")
    limit: Money = Field(description="most for the whole of it, transfer included", examples=["272yuan"])
    bundles: tuple[Bundle, ...] = Field(default=(), max_length=64, description="alternatives, of which at most one is bought")
    work: int | None = Field(default=None, ge=1, le=10**12, description="units of work to be done, with `conversions`", examples=[4000])
    conversions: tuple[Conversion, ...] = Field(
        default=(), max_length=16, description="devices that can do the work; each is an alternative of as many hours as it then takes"
    )
    start: Hour | None = Field(default=None, description="first hour of the work (UTC), with `conversions`")
    latest: Hour | None = Field(default=None, description="the work may begin at any hour until this one; unset: at `start` only")
    data: Data | None = Field(default=None, description="what the job reads")
    port: Ref[Port] | None = Field(
        default=None,
        description="where the circuit to the pool ends: with `data`, where these come out, else the bidder's own port; unset: no circuit is needed",
    )
    rate: BitRate = Field(default=BitRate(10**9), description="capacity of that circuit", examples=["10G"])
    latency_max: Duration | None = Field(default=None, description="one way, from that port's site to the pool's", examples=["2ms"])
    assurance: Assurance = 1


# --- what was agreed ----------------------------------------------------------------------------------------------------


class DealState(StrEnum):
    """The life of a deal: its lots are reserved, and let go when its hours are over."""

    RESERVED = "reserved"
    RELEASED = "released"


class Deal(Resource):
    """Lots that changed hands. A bid that was filled from several offers has a deal with each of them; all were made by one change.

    The lots, the circuit that joins the pool with the buyer's port, and the contract under which the pool's member may read the data are one:
    the latter two follow from the deal, and go with it.
    """

    booked: ClassVar = True
    columns: ClassVar = ("bid", "pool", "devices", "hours", "state")

    bid: Ref[Bid] = Field(description="who bought, and what for")
    offer: Ref[Offer] = Field(description="whose lots they were")
    pool: Ref[Pool] = Field(description="where they are")
    devices: int = Field(ge=1, le=DEVICES_MAX, description="in each of the hours")
    hours: tuple[Hour, ...] = Field(min_length=1, max_length=HOURS_MAX, description="which hours (UTC), ascending")
    prices: tuple[Money, ...] = Field(min_length=1, max_length=HOURS_MAX, description="of one device in each of these hours")
    transfer: Money = Field(default=Money(0), description="what the buyer pays for moving data, once for all deals of a bid: on the first")
    clearing: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="digest of the clearing that made it; unset: matched between clearings"
    )
    state: DealState = Field(default=DealState.RESERVED, description="reserved, or released when its hours are over")
    pool_vlan: int | None = Field(default=None, ge=1, le=4094, description="tag of its circuit at the pool's port; allocated")
    port_vlan: int | None = Field(default=None, ge=1, le=4094, description="tag of its circuit at the buyer's port; allocated")


class Job(Resource):
    """What is run on the lots of a deal: a gang of equal workers, all of them at once or none."""

    booked: ClassVar = True
    columns: ClassVar = ("member", "deal", "workers", "devices", "deadline")

    member: Ref[Member] = Field(description="whose job it is")
    deal: Ref[Deal] | None = Field(default=None, description="on whose lots it runs")
    probe: Ref[Pool] | None = Field(default=None, description="instead of a deal: the pool whose speed it measures")
    image: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,255}$", description="container image; unset: as the engine is"
    )
    entry: tuple[Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00\r]+$")], ...] = Field(
        min_length=1, max_length=256, description="program and arguments of each worker", examples=[["python3", "train.py"]]
    )
    workers: int = Field(default=1, ge=1, le=DEVICES_MAX, description="gang size: they start together or not at all")
    devices: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="of each worker: lots are devices, and a worker that has none would run for nothing",
        examples=[8],
    )
    device_percent: int | None = Field(default=None, ge=1, le=99, description="part of one device, instead of whole ones")
    cpus: int = Field(
        default=1, ge=1, le=4096, description="processor cores of each worker: kept by slurm and kubernetes; ray gives out devices only"
    )
    memory_gigabytes: int = Field(
        default=1,
        ge=1,
        le=10**6,
        description="main memory of each worker, in GB: kept by kubernetes; in a pool with slurm seats are given by it, and ray does not ask",
    )
    together: str | None = Field(
        default=None,
        pattern=r"^(node|domain|pool)$",
        description="how close the workers have to be: on one node, in one smallest domain, or anywhere in the pool",
    )
    priority: int = Field(default=0, ge=-1000, le=1000, description="a higher one goes first")
    checkpoint: Duration | None = Field(
        default=None,
        description="how long it takes to save itself when told to stop, at most 10min; it is told so long before its deal ends. Unset: it cannot save itself, and is never preempted",
    )
    deadline: Hour | None = Field(default=None, description="it has to be done by then (UTC)")


Conversion.model_rebuild()
Bid.model_rebuild()


def hours_between(start: str, end: str) -> Iterator[str]:
    """Every hour from `start` to `end`, exclusive."""
    return (hour_named(number) for number in range(hour_number(start), hour_number(end)))


KINDS: tuple[type[Resource], ...] = (Market, Pool, Offer, Bid, Deal, Job)
