"""What things of the fabric are called on a switch: the one place where names of interfaces are made.

Linux allows 15 octets for the name of an interface. A name that fits stands behind its prefix as it is, so that an operator recognises
it; a longer one keeps its beginning and gets six hexadecimal digits of its SHA-256 in place of the rest, so that it is the
same on every run and on every machine. The prefix says what an interface is: `l-` a link to another site, `p-` a member's
port, `rs-` a route server, `rc-` an RTR cache, `br-` the bridge and `vx-` the tunnel of a LAN, `bc-` and `vc-` those of a circuit.
"""

from __future__ import annotations

import hashlib

from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Circuit, Lan, Link, Port
from nnix.planes.members.kinds import Site
from nnix.planes.routing.kinds import RouteServer
from nnix.planes.trust.kinds import RtrCache

NAME_OCTETS_MAX = 15
PREFIXES = ("l-", "p-", "rs-", "rc-", "br-", "vx-", "bc-", "vc-")
LOOPBACK = "lo"

# No name of a LAN begins with a hyphen, so no LAN's bridge is ever called this.
QUARANTINE_BRIDGE = "br--quarantine"

# Holds the segments of a switch, and has no ports: the kernel forgets IPv6 routes of an interface that goes down, and this one never does.
SEGMENTS = "br--segments"


def fitted(prefix: str, name: str) -> str:
    """`name` behind `prefix`, shortened to what Linux allows; deterministic."""
    whole = prefix + name
    if len(whole) <= NAME_OCTETS_MAX:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{whole[: NAME_OCTETS_MAX - 7].rstrip('-')}-{digest}"


def port_interface(port: Port) -> str:
    """The interface of the site's switch that `port` is: the one it names, else `p-` and its name."""
    return port.interface if port.interface is not None else fitted("p-", port.name)


def link_interface(link: Link, site_name: str) -> str:
    """The interface in which `link` ends at the site. Raises ValueError when it does not end there.

    Both ends are called the same, after the link: two links between the same two sites stay apart.
    """
    if site_name not in (link.a, link.b):
        raise ValueError(f"{link.id} ends at {link.a} and {link.b}, not at {site_name}")
    return fitted("l-", link.name)


def route_server_interface(route_server: RouteServer) -> str:
    """The interface of its site's switch that a route server is plugged into."""
    return fitted("rs-", route_server.name)


def cache_interface(cache: RtrCache) -> str:
    """The interface of its site's switch that an RTR cache is plugged into."""
    return fitted("rc-", cache.name)


def lan_bridge(lan: Lan) -> str:
    """The bridge of a LAN, the same at each site."""
    return fitted("br-", lan.name)


def lan_vxlan(lan: Lan) -> str:
    """The tunnel end of a LAN, the same at each site."""
    return fitted("vx-", lan.name)


def circuit_bridge(circuit: Circuit) -> str:
    """The bridge of a circuit, the same at each of its ends."""
    return fitted("bc-", circuit.name)


def circuit_vxlan(circuit: Circuit) -> str:
    """The tunnel end of a circuit, the same at each of its ends."""
    return fitted("vc-", circuit.name)


def switch_machine(snapshot: Snapshot, site: Site) -> str:
    """The machine that is the switch of `site`: the one it names, else one of its own name."""
    return str(site.machine) if site.machine is not None else site.name
