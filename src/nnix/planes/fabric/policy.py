"""The switch of one site in values: what compile.py decides, and what iproute.py, nftables.py and frr.py spell."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel to a member's gateway: their end and ours. `vni` is what a port over it is known by."""

    theirs: IPv4Address
    ours: IPv4Address
    vni: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """A member's gateway behind a cable: its tunnel end and ours, and the VNIs that it may use there."""

    theirs: IPv4Address
    ours: IPv4Address
    vnis: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tag:
    """How a port is known on a tagged cable (IEEE 802.1Q): the cable's interface, and the VLAN."""

    cable: str
    vlan: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """A member's port, a route server's or an RTR cache's, on the switch. `about` names the resources that it is made from.

    up: whether there is light. lan and bridge: where it is plugged in; a port under test without a quarantine LAN has a bridge and no LAN.
    tester: a route server; on the quarantine LAN the one that ports under test may meet.
    private: on a circuit, where nothing is registered; learns: on one of more than two ends.
    cable: it has one, rather than being handed over on another's. gateway: behind the cable; tagged: it carries VLANs; the port of either is on no
    bridge. tunnel, tag: how it is handed over, where there is no cable.
    macs, v4, v6: who may speak there; v6 includes the link-local addresses that the MACs make.
    neighbours: address → the one MAC address that it is at, by which the LAN's switches answer for it. moving: some address has several,
    as while a router is replaced; which of them it is at can be said by nobody but itself, to all.
    """

    of: str
    interface: str
    up: bool
    lan: str | None
    bridge: str | None
    mtu: int
    isolated: bool
    drained: bool
    tester: bool
    private: bool
    learns: bool
    rate_bits_per_second: int | None
    macs: tuple[str, ...]
    v4: tuple[IPv4Address, ...]
    v6: tuple[IPv6Address, ...]
    about: frozenset[str]
    cable: bool = True
    gateway: Gateway | None = None
    tunnel: Tunnel | None = None
    tagged: bool = False
    tag: Tag | None = None
    neighbours: tuple[tuple[IPv4Address | IPv6Address, str], ...] = ()
    moving: bool = False


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """One end of a link. The latency is one way, in microseconds; `bfd_milliseconds` is how often either end says that it is there."""

    of: str
    interface: str
    mtu: int
    latency_microseconds: int
    bfd_milliseconds: int


@dataclass(frozen=True, slots=True)
class Pin:
    """How a pinned circuit leaves this switch: from its own tunnel end `local`, through `segments`, the last of which is the far switch."""

    local: IPv6Address
    segments: tuple[IPv6Address, ...]


@dataclass(frozen=True, slots=True)
class LanEnd:
    """A LAN or a circuit on this switch: its bridge and its tunnel (none where all its ends are here).

    pin: for a circuit whose way is chosen. neighbours: address → MAC address of everybody on it, at all sites, for whom the switch answers (RFC 9161);
    None: it answers for nobody, neither on circuits nor where ports are under test. flood: tunnel ends that broadcast and multicast are copied to. far: MAC address → the tunnel end that it is behind.
    mac: of the bridge. private: a circuit. learns: who is behind the ports is not registered, so far MAC addresses come from EVPN.
    tunnel_isolated: frames from the tunnel do not reach isolated ports, nor theirs the tunnel.
    """

    of: str
    lan: str
    bridge: str
    vxlan: str | None
    vni: int
    mtu: int
    pin: Pin | None
    flood: tuple[IPv4Address | IPv6Address, ...]
    far: tuple[tuple[str, IPv4Address], ...]
    tunnel_isolated: bool
    private: bool
    learns: bool
    mac: str | None = None
    neighbours: tuple[tuple[IPv4Address | IPv6Address, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """All that a site's switch is told.

    asn: of the exchange, inside which EVPN speaks. reflectors: tunnel ends of the route reflectors. clients: where this switch is
    one of them, the tunnel ends of all that are none. routes_v6: some circuit of the exchange is pinned, so links are routed for IPv6 too.
    passed: frames of a pinned circuit are led over this switch; pinned_end: they end here.
    """

    site: str
    machine: str
    asn: int
    vtep: IPv4Address
    reflectors: tuple[IPv4Address, ...]
    clients: tuple[IPv4Address, ...]
    links: tuple[LinkEnd, ...]
    routes_v6: bool
    passed: bool
    pinned_end: bool
    lans: tuple[LanEnd, ...]
    attachments: tuple[Attachment, ...]
    prefixes_v4: tuple[IPv4Network, ...]
    prefixes_v6: tuple[IPv6Network, ...]
    about: frozenset[str]
    underlay_about: frozenset[str]
