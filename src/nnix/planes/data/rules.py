"""Admission of data contracts."""

from __future__ import annotations

from collections.abc import Iterator

from nnix.kernel.rule import Broken, Rule, rule
from nnix.kernel.snapshot import Snapshot
from nnix.planes.data.kinds import DataContract

SECURITY = "Data Security Law of the PRC, article 33; Network Data Security Regulation (State Council No. 790), article 12"


@rule("data.contract-two-parties", source=SECURITY)
def contract_two_parties(contract: DataContract, snapshot: Snapshot) -> Iterator[Broken]:
    """A contract is between two members."""
    if contract.provider == contract.consumer:
        yield Broken("consumer", contract.consumer, "another member than the provider")


@rule("data.contract-passes-on", source=SECURITY)
def contract_passes_on(contract: DataContract, snapshot: Snapshot) -> Iterator[Broken]:
    """Who passes data on has them by a contract of its own: of that dataset at that place, no smaller and no shorter."""
    if contract.under is None:
        return
    above = snapshot.at(contract.under)
    if above.name == contract.name or above.consumer != contract.provider:
        yield Broken("under", contract.under, f"a contract whose consumer is {contract.provider}")
    elif (above.dataset, above.site) != (contract.dataset, contract.site):
        yield Broken("under", contract.under, f"a contract of {contract.dataset} at {contract.site}")
    elif above.until < contract.until or above.gigabytes < contract.gigabytes:
        yield Broken(
            "under", f"{above.id}: {above.gigabytes} GB until {above.until}", f"one of {contract.gigabytes} GB until {contract.until}"
        )


RULES: tuple[Rule, ...] = (contract_two_parties, contract_passes_on)
