"""Tunnel ends: each site without one gets an address of the underlay.

An address that moved would cut every tunnel to its site, so a site keeps what it had before, whatever comes and goes
around it. A new site gets the lowest address that no site has, so that the same wish gives the same addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.members.kinds import Site

VTEPS = IPv4Network("10.255.0.0/16")


def allocate(snapshot: Snapshot, before: Snapshot) -> Iterator[Resource]:
    """Each Site of `snapshot` that has no `vtep`, completed with a host address of 10.255.0.0/16.

    What `before` says of the site is kept unless another site now claims it. Raises Refused when the pool is used up.
    """
    sites = snapshot.of(Site)
    taken = {str(site.vtep) for site in sites if site.vtep is not None}
    unset = [site for site in sites if site.vtep is None]

    kept: dict[str, str] = {}
    for site in unset:
        earlier = before.get(Site, site.name)
        if earlier is not None and earlier.vtep is not None and str(earlier.vtep) not in taken:
            kept[site.name] = str(earlier.vtep)
            taken.add(str(earlier.vtep))

    free = (str(address) for address in _hosts(VTEPS) if str(address) not in taken)
    for site in unset:
        vtep = kept.get(site.name) or next(free, None)
        if vtep is None:
            raise Refused([_used_up(site)])
        yield site.changed(vtep=vtep)


def _hosts(network: IPv4Network) -> Iterator[IPv4Address]:
    first, last = int(network.network_address), int(network.broadcast_address)
    return (IPv4Address(number) for number in range(first + 1, last))


def _used_up(site: Site) -> Refusal:
    return Refusal(
        resource=site.id,
        field="vtep",
        found=f"no address is left in {VTEPS}",
        accept=f"at most {VTEPS.num_addresses - 2} sites with allocated tunnel ends",
        rule="members.vtep-pool",
        source="nnix, underlay addressing",
        mend="give the site a vtep of its own from another range",
    )
