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
    until: str = Field(
        pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])Z$",
        description="end of use: an hour in UTC",
        examples=["2026-12-31T00Z"],
    )
    under: Ref[DataContract] | None = Field(
        default=None, description="the contract that lets the provider pass on what is not its own; unset: it is its own"
    )


DataContract.model_rebuild()
KINDS: tuple[type[Resource], ...] = (DataContract,)
