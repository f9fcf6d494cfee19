"""The vocabulary of data: DataContract.

A contract says that one member lets another use a dataset, where it lies, how large it is, and until when. It is the smallest that a job on
somebody else's machines needs: nobody computes on data without one.

Not here yet: offers of data, negotiation (Dataspace Protocol), policies of use, transfers and the border gate.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from nnix.kernel.resource import Ref, Resource
from nnix.planes.members.kinds import Member, Site

HOUR_PATTERN = (
    r"^(20[0-9]{2}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    r"|20([02468][048]|[13579][26])-02-29)T([01][0-9]|2[0-3])Z$"
)
"""days that the calendar has, 29 February in leap years"""
Hour = Annotated[str, Field(pattern=HOUR_PATTERN, description="an hour in UTC", examples=["2026-11-26T08Z"])]

Dataset = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$", description="name of a dataset at its provider", examples=["cargo-images-2026"]),
]
GIGABYTES_MAX = 10**9
"""an exabyte: more than anybody moves for a job"""


class DataContract(Resource):
    """One member may use a dataset of another, for a while."""

    booked: ClassVar = True
    columns: ClassVar = ("provider", "consumer", "dataset", "site", "gigabytes", "until")

    provider: Ref[Member] = Field(description="whose data it is, or who may pass it on")
    consumer: Ref[Member] = Field(description="who may use it")
    dataset: Dataset = Field(description="which data")
    site: Ref[Site] = Field(description="where the data lies")
    gigabytes: int = Field(ge=1, le=GIGABYTES_MAX, description="its size, in GB of 10^9 octets", examples=[400])
    until: Hour = Field(description="end of use: an hour in UTC", examples=["2026-12-31T00Z"])
    under: Ref[DataContract] | None = Field(
        default=None, description="the contract that lets the provider pass on what is not its own; unset: it is its own"
    )


DataContract.model_rebuild()
KINDS: tuple[type[Resource], ...] = (DataContract,)
