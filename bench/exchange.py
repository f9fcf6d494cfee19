"""An exchange of N members as files, always the same for the same N: what the benches feed to both sides.

It has the shape of a 1+2+X exchange: a hub, two backbone connect points and four nodes on a ring with spokes, one peering LAN,
two route servers at different sites, the strictest policy (IRR strict, RPKI reject), and for every member a port and a session
in both address families. Each member has registered and authorised two IPv4 prefixes and one of IPv6: as-set and route objects
stand in one RPSL file, the VRPs in one JSON file. Members are spread over all sites in turn.

AS numbers are of the four-octet space of the registries, since admission takes no private ones; prefixes look public for the same
reason. None of them stands for the network that may hold them, and nothing leaves the namespaces that a bench makes.

`routers` members get a router of their own, which announces the three prefixes; a lab would give one to everybody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

EXCHANGE_ASN = 64500
LAN_V4, LAN_V6 = IPv4Network("198.18.0.0/20"), IPv6Network("2001:db8:18::/64")
ROUTE_SERVERS = (("rs1", "hub", 1), ("rs2", "east", 2))
SITES = ("hub", "east", "west", "node-1", "node-2", "node-3", "node-4")
LINKS = (
    *(("hub", "east"), ("hub", "west"), ("east", "west")),
    *(("east", "node-1"), ("node-1", "node-2"), ("node-2", "west"), ("west", "node-3"), ("node-3", "node-4"), ("node-4", "hub")),
)
CARRIERS = {"carrier-a": 212001, "carrier-b": 212002, "carrier-c": 212003}
CLASSES = ("isp", "content", "cdn", "cloud", "enterprise", "sme", "research", "carrier")
FIRST_ASN = 207000
MEMBERS_MAX = 4000  # addresses of the LAN, and AS numbers below those of the carriers
MEMBERS_A_FILE = 100
RPSL, VRPS = "irr/members.rpsl", "rpki/vrps.json"


@dataclass(frozen=True)
class Client:
    """A member with its one session; `number` counts from 1. It has so many prefixes of each family."""

    number: int
    v4_count: int = 2
    v6_count: int = 1

    @property
    def name(self) -> str:
        return f"m{self.number:04}"

    @property
    def asn(self) -> int:
        return FIRST_ASN + self.number

    @property
    def as_set(self) -> str:
        return f"AS{self.asn}:AS-CUSTOMERS"

    @property
    def site(self) -> str:
        return SITES[self.number % len(SITES)]

    @property
    def v4(self) -> IPv4Address:
        return LAN_V4[15 + self.number]

    @property
    def v6(self) -> IPv6Address:
        return LAN_V6[0x1000 + self.number]

    @property
    def mac(self) -> str:
        return f"02:00:5e:00:{self.number >> 8:02x}:{self.number & 255:02x}"

    @property
    def prefixes_v4(self) -> tuple[IPv4Network, ...]:
        return tuple(IPv4Network((0x17000000 + (self.v4_count * self.number + each << 8), 24)) for each in range(self.v4_count))

    @property
    def prefixes_v6(self) -> tuple[IPv6Network, ...]:
        return tuple(IPv6Network((0x2A10 << 112 | self.v6_count * self.number + each << 80, 48)) for each in range(self.v6_count))

    @property
    def prefixes(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return (*self.prefixes_v4, *self.prefixes_v6)


def clients(members: int, v4_count: int = 2, v6_count: int = 1) -> list[Client]:
    """Raises ValueError for more than MEMBERS_MAX."""
    if not 0 <= members <= MEMBERS_MAX:
        raise ValueError(f"{members} members: from 0 to {MEMBERS_MAX}")
    return [Client(number, v4_count, v6_count) for number in range(1, members + 1)]


def exchange(members: int, *, routers: int = 0) -> dict[str, str]:
    """path → text of every file of an exchange with `members` members, the first `routers` of which have a router of their own."""
    return files_of(clients(members), routers=routers)


def files_of(everybody: list[Client], *, routers: int = 0, asked: bool = False, caches: bool = False) -> dict[str, str]:
    """The same for these clients. asked: route objects come from a registry that was asked, so that there is no RPSL file. caches: VRPs and route objects
    reach the route servers by RTR, from two caches."""
    members = len(everybody)
    files = {
        "exchange.yaml": _documents(_ground()),
        "sites.yaml": _documents(_sites()),
        "routing.yaml": _documents(_routing(asked=asked, caches=caches)),
        VRPS: vrps(everybody),
    }
    if not asked:
        files[RPSL] = "\n".join(_rpsl(everybody))
    for start in range(0, members, MEMBERS_A_FILE):
        some = everybody[start : start + MEMBERS_A_FILE]
        files[f"members/{some[0].name}.yaml"] = _documents(text for each in some for text in _member(each))
    if routers:
        files["lab.yaml"] = _documents(map(_router, everybody[:routers]))
    return files


def yaml_of(files: dict[str, str]) -> dict[str, str]:
    """Those of `files` that declare resources."""
    return {path: text for path, text in files.items() if path.endswith(".yaml")}


def written(files: dict[str, str], folder: Path) -> Path:
    """Put `files` below `folder`, which must not hold others."""
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder


def _documents(texts: Iterator[str] | map[str]) -> str:
    return "---\n".join(texts)


def _ground() -> Iterator[str]:
    yield f"""# An exchange as large as one likes, for measurements; see bench/exchange.py.

kind: Exchange
name: bench
title:
  en: An exchange to measure with
  zh: 测量用交换中心
asn: {EXCHANGE_ASN}
country: CN
city: Hangzhou
lab: true
"""
    for name, asn in CARRIERS.items():
        yield f"kind: Carrier\nname: {name}\ntitle:\n  en: {name.title()}\nasns: [{asn}]\n"
    yield f"""kind: Lan
name: peering
title:
  en: Peering LAN
  zh: 对等互联网段
v4: {LAN_V4}
v6: {LAN_V6}
vni: 4001
"""


def _sites() -> Iterator[str]:
    for index, site in enumerate(SITES):
        role, level = ("hub", "national") if site == "hub" else ("backbone", "province") if index < 3 else ("node", "city")
        carriers = list(CARRIERS) if index < 3 else list(CARRIERS)[:2]
        yield f"""kind: Site
name: {site}
title:
  en: {site.title()}
role: {role}
level: {level}
city: Hangzhou
country: CN
latitude: {30 + index / 10:.2f}
longitude: {120 + index / 10:.2f}
carriers: [{", ".join(carriers)}]
"""
    for a, b in LINKS:
        yield f"kind: Link\nname: {a}-{b}\na: {a}\nb: {b}\ncapacity: 400G\nlatency: 880us\n"


def _routing(*, asked: bool, caches: bool) -> Iterator[str]:
    source = "irr_registries: [bench]" if asked else f"irr_sources: [{RPSL}]"
    if asked:
        yield "kind: RoutingRegistry\nname: bench\nserver: irr.example\n"
    names = ", ".join(f"rtr-{site}" for _, site, _ in ROUTE_SERVERS)
    fed = f"rpki_caches: [{names}]\nirr_caches: [{names}]\n" if caches else ""
    yield f"kind: RoutingPolicy\nname: standard\nirr: strict\n{source}\nrpki: reject\nrpki_sources: [{VRPS}]\n{fed}"
    for _, site, host in ROUTE_SERVERS if caches else ():
        yield f"kind: RtrCache\nname: rtr-{site}\nsite: {site}\nlan: peering\nv4: {LAN_V4[host + 8]}\nsource: {VRPS}\n"
    for name, site, host in ROUTE_SERVERS:
        yield f"kind: RouteServer\nname: {name}\nsite: {site}\nlan: peering\npolicy: standard\nv4: {LAN_V4[host]}\nv6: {LAN_V6[host]}\n"


def _member(client: Client) -> Iterator[str]:
    yield f"""kind: Member
name: {client.name}
title:
  en: Network number {client.number}
  zh: 网络 {client.number}
asn: {client.asn}
class: {CLASSES[client.number % len(CLASSES)]}
country: CN
as_sets: ["{client.as_set}"]
prefixes_max:
  v4: {10 * len(client.prefixes_v4)}
  v6: {10 * len(client.prefixes_v6)}
contact:
  technical: contact:noc-{client.name}
"""
    yield f"kind: Port\nname: {client.name}\nmember: {client.name}\nsite: {client.site}\nspeed: 100G\n"
    yield f"""kind: Session
name: {client.name}
member: {client.name}
lan: peering
port: {client.name}
v4: {client.v4}
v6: {client.v6}
macs: ["{client.mac}"]
"""


def _router(client: Client) -> str:
    rows = "".join(f"  - prefix: {each}\n" for each in client.prefixes)
    return f"kind: Router\nname: {client.name}\nsession: {client.name}\nannounces:\n{rows}"


def _rpsl(everybody: list[Client]) -> Iterator[str]:
    tail = "mnt-by:         MAINT-BENCH\nsource:         BENCH\n"
    for client in everybody:
        yield f"as-set:         {client.as_set}\ndescr:          {client.name}\nmembers:        AS{client.asn}\n{tail}"
        for prefix in client.prefixes:
            word = "route:          " if prefix.version == 4 else "route6:         "
            yield f"{word}{prefix}\ndescr:          {client.name}\norigin:         AS{client.asn}\n{tail}"


def vrps(everybody: list[Client]) -> str:
    """Of the first prefixes of each client, however many it has registered."""
    roas = [
        {"asn": client.asn, "prefix": str(prefix), "maxLength": prefix.prefixlen, "ta": "apnic"}
        for client in everybody
        for prefix in client.prefixes[:2] + client.prefixes_v6[:1]
    ]
    return json.dumps({"metadata": {"vrps": len(roas)}, "roas": roas}, indent=1) + "\n"
