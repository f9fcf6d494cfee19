"""Which LAN each address of a member list is on, and what prefix that LAN has.

A list names VLANs and their prefixes, and then often puts addresses where they cannot be: on a VLAN that it does not
name, outside the VLAN's prefix, inside another's. An address says more about where it is than a number beside it. So an
address inside a declared prefix is on that LAN; one outside all of them is on a LAN of its VLAN whose prefix is the
smallest that covers such addresses, leaves room for two route servers, and touches no other LAN.

A VLAN with addresses from several prefixes becomes several LANs with one `ixf_id`, which an export joins again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import islice, zip_longest

from nnix.planes.members.sheet import Address, Log, Network, Vlan

# Shortest prefix that is inferred for addresses without one, and the longest that is tried. IPv6 LANs are /64 (RFC 4291, 2.5.1)
# unless an address is all zeros there.
INFERRED: Mapping[int, tuple[int, int]] = {4: (19, 29), 6: (48, 64)}
ROUTE_SERVERS_MIN = 2
NO_VLAN = Vlan("", "ixp_list", None, ixf_id=1)
"""what stands for the VLAN of a list that names none"""


@dataclass(frozen=True, slots=True)
class Ground:
    """A LAN to be: its VLAN, its prefixes, and which of them were inferred from addresses (`v4`, `v6`)."""

    vlan: Vlan
    v4: IPv4Network | None = None
    v6: IPv6Network | None = None
    inferred: tuple[str, ...] = ()

    @property
    def declared(self) -> bool:
        """Whether the list says one of its prefixes at least."""
        return any(self.prefix(version) is not None and f"v{version}" not in self.inferred for version in (4, 6))

    def prefix(self, version: int) -> Network | None:
        return self.v4 if version == 4 else self.v6

    def with_prefix(self, network: Network, inferred: bool) -> Ground:
        marks = (*self.inferred, f"v{network.version}") if inferred else self.inferred
        if isinstance(network, IPv4Network):
            return replace(self, v4=network, inferred=marks)
        return replace(self, v6=network, inferred=marks)


@dataclass(frozen=True, slots=True)
class Standing:
    """An address, where the list has it, and the key of the VLAN that the list puts it on (None: not said)."""

    where: str
    address: Address
    vlan: str | None


def grounds(vlans: Sequence[Vlan], standings: Sequence[Standing], log: Log) -> tuple[tuple[Ground, ...], dict[Address, int]]:
    """The LANs, and for each address that has a place the index of its LAN. Addresses are taken to be unique."""
    lans = list(_declared(vlans, log))
    placed: dict[Address, int] = {}
    outside: dict[str, list[Standing]] = {}
    by_key = {each.vlan.key: index for index, each in enumerate(lans)}
    for standing in standings:
        index = _inside(lans, standing.address)
        if index is None:
            key = standing.vlan if standing.vlan in by_key else next(iter(by_key), "")
            outside.setdefault(key, []).append(standing)
        elif not is_host(standing.address, lans[index].prefix(standing.address.version)):
            log.left_out(standing.where, f"{standing.address} names a whole subnet, not a host on it", "the address")
        else:
            placed[standing.address] = index
            vlan = lans[index].vlan
            if standing.vlan is not None and standing.vlan != vlan.key:
                prefix = lans[index].prefix(standing.address.version)
                log.repaired(
                    standing.where,
                    f"{standing.address} lies in {prefix}, which is another VLAN's",
                    f"taken to be on VLAN {vlan.title or vlan.ixf_id}",
                )
    if outside and not lans:
        lans.append(Ground(NO_VLAN))
    for key, strays in outside.items():
        _infer(lans, by_key.get(key, 0), strays, placed, log)
    return _without_empty(lans, placed, log)


def is_host(address: Address, network: Network | None) -> bool:
    """Whether `address` can be a host's on `network`: not the subnet's own, nor in IPv4 its broadcast address (RFC 922; RFC 4291, 2.6.1)."""
    if network is None or address == network.network_address:
        return False
    return address.version == 6 or address != network.broadcast_address


def free_hosts(network: Network, used: Iterable[Address]) -> Iterator[Address]:
    """Host addresses of `network` that are not in `used`, lowest first."""
    taken = {each for each in used if each.version == network.version}
    last = int(network.broadcast_address)
    for number in range(int(network.network_address) + 1, last + 1):
        address = type(network.network_address)(number)
        if address not in taken and is_host(address, network):
            yield address


def _declared(vlans: Sequence[Vlan], log: Log) -> Iterator[Ground]:
    taken: list[tuple[Network, Vlan]] = []
    for vlan in vlans:
        ground = Ground(vlan)
        for network in (vlan.v4, vlan.v6):
            if network is None:
                continue
            other = next((each for prefix, each in taken if _overlap(prefix, network)), None)
            if other is not None:
                log.left_out(vlan.where, f"{network} overlaps the prefix of VLAN {other.title or other.ixf_id}", "the prefix")
                continue
            taken.append((network, vlan))
            ground = ground.with_prefix(network, inferred=False)
        yield ground


def _overlap(a: Network, b: Network) -> bool:
    if isinstance(a, IPv4Network) and isinstance(b, IPv4Network):
        return a.overlaps(b)
    return isinstance(a, IPv6Network) and isinstance(b, IPv6Network) and a.overlaps(b)


def _inside(lans: Sequence[Ground], address: Address) -> int | None:
    for index, each in enumerate(lans):
        prefix = each.prefix(address.version)
        if prefix is not None and address in prefix:
            return index
    return None


def _infer(lans: list[Ground], index: int, strays: Sequence[Standing], placed: dict[Address, int], log: Log) -> None:
    """Give the addresses outside all prefixes LANs of their VLAN: the VLAN's own where it has no prefix yet, else further ones."""
    vlan = lans[index].vlan
    where = {each.address: each.where for each in strays}
    found: dict[int, list[tuple[Network, Sequence[Address]]]] = {4: [], 6: []}
    taken = [prefix for each in lans for prefix in (each.v4, each.v6) if prefix is not None]
    homeless: list[Address] = []
    for version in (4, 6):
        addresses = sorted(each.address for each in strays if each.address.version == version)
        for group in _clusters(addresses, version):
            for network, members in _fit(group, version, taken):
                if network is None:
                    homeless.append(members[0])
                else:
                    taken.append(network)
                    found[version].append((network, members))
        found[version].sort(key=lambda each: -len(each[1]))

    targets = [index] if lans[index].v4 is None and lans[index].v6 is None else []
    for four, six in zip_longest(found[4], found[6]):
        for network, members in filter(None, (four, six)):
            target = _target(lans, index, targets, network)
            if target is None:
                lans.append(Ground(vlan))
                target = len(lans) - 1
                targets.append(target)
            lans[target] = lans[target].with_prefix(network, inferred=True)
            placed.update(dict.fromkeys(members, target))
            declared = vlan.v4 if network.version == 4 else vlan.v6
            problem = f"no IPv{network.version} prefix" if declared is None else f"{len(members)} addresses outside {declared}"
            name = vlan.title or (f"VLAN {vlan.ixf_id}" if vlan.ixf_id is not None else "the VLAN")
            log.repaired(
                vlan.where, f"{name} has {problem}", f"taken to be {network}, the smallest prefix around its {len(members)} addresses"
            )

    # Two VLANs whose addresses interleave cannot both have a prefix; the later one's addresses are where the earlier one's are.
    for address in homeless:
        home = _inside(lans, address)
        prefix = None if home is None else lans[home].prefix(address.version)
        if home is None or not is_host(address, prefix):
            log.left_out(where[address], f"no prefix covers {address} without touching another LAN's", "the address")
        else:
            placed[address] = home
            title = lans[home].vlan.title or lans[home].vlan.ixf_id
            log.repaired(where[address], f"{address} lies among the addresses of another VLAN, {prefix}", f"taken to be on VLAN {title}")


def _target(lans: Sequence[Ground], index: int, targets: Sequence[int], network: Network) -> int | None:
    """The LAN of this VLAN whose prefix of that family is still open."""
    candidates = [index, *targets]
    return next((each for each in candidates if lans[each].prefix(network.version) is None), None)


def _clusters(addresses: Sequence[Address], version: int) -> Iterator[Sequence[Address]]:
    """Neighbours that a prefix of the shortest length allowed would cover."""
    shortest, _ = INFERRED[version]
    groups: dict[str, list[Address]] = {}
    for address in addresses:
        groups.setdefault(str(ip_network((address, shortest), strict=False)), []).append(address)
    yield from groups.values()


def _fit(addresses: Sequence[Address], version: int, taken: Sequence[Network]) -> Iterator[tuple[Network | None, Sequence[Address]]]:
    """The smallest prefix around `addresses`; where it would touch another LAN, two around their halves; None for one that has none."""
    shortest, longest = INFERRED[version]
    for length in range(longest, shortest - 1, -1):
        network: Network = ip_network((addresses[0], length), strict=False)
        if all(each in network and is_host(each, network) for each in addresses):
            if any(_overlap(network, other) for other in taken):
                break
            if len(list(islice(free_hosts(network, addresses), ROUTE_SERVERS_MIN))) == ROUTE_SERVERS_MIN:
                yield network, addresses
                return
    if len(addresses) == 1:
        yield None, addresses
        return
    middle = len(addresses) // 2
    made = list(taken)
    for half in (addresses[:middle], addresses[middle:]):
        for found, members in _fit(half, version, made):
            if found is not None:
                made.append(found)
            yield found, members


def _without_empty(lans: Sequence[Ground], placed: Mapping[Address, int], log: Log) -> tuple[tuple[Ground, ...], dict[Address, int]]:
    kept: list[Ground] = []
    moved: dict[int, int] = {}
    for index, each in enumerate(lans):
        if each.v4 is None and each.v6 is None:
            log.left_out(each.vlan.where, f"VLAN {each.vlan.title or each.vlan.ixf_id} has neither prefix nor addresses", "the VLAN")
        else:
            moved[index] = len(kept)
            kept.append(each)
    return tuple(kept), {address: moved[index] for address, index in placed.items()}
