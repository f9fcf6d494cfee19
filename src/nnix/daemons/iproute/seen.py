"""What a kernel has, as `ip`, `bridge` and `tc` print it: one shell asks a handful of tools, however many ports there are."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from nnix.daemons.iproute.facts import PROC, SWAPPED, Fact, Key, Slave, Sysctl
from nnix.kernel.world import Failed, Host


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """An interface as the kernel has it. over: the interface that it is a part of, as a VLAN is of a cable."""

    kind: str
    mtu: int
    up: bool
    master: str | None
    addresses_itself: bool
    details: Mapping[str, Any]
    port: Mapping[str, Any]
    gso_max_segs: int | None = None
    over: str | None = None
    mac: str | None = None


@dataclass(frozen=True, slots=True)
class NeighbourSeen:
    """A neighbour as the kernel has it. `stays`: nothing that is heard changes it. `router`: told to be one."""

    mac: str
    stays: bool
    router: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel has. `far` are entries of tunnels, by interface and MAC; `behind` those of bridges.

    `neighbours`: by interface and address; not those of groups. `segments`: route → what its packets are led through. `sids`: segment of this machine → the name of its behaviour.
    """

    links: Mapping[str, LinkSeen]
    addresses: frozenset[tuple[str, str]] = frozenset()
    far: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    behind: frozenset[tuple[str, str]] = frozenset()
    neighbours: Mapping[tuple[str, str], NeighbourSeen] = field(default_factory=dict)
    routes: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    segments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sids: Mapping[str, str] = field(default_factory=dict)
    shapers: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


GROUP, GROUP_DIGITS = "01:", "13579bdf"  # the last bit of the first octet (IEEE 802)
QUESTIONS: Mapping[str, str] = {
    "link": "ip -d -j link show",
    "addr": "ip -j addr show",
    "fdb": "bridge -j fdb show",
    "neighbour": "ip -j neigh show nud all",
    "route": "ip -j -4 route show; echo; echo @route6; ip -j -6 route show",
    "qdisc": "tc -j qdisc show",
}


def asking(*groups: Mapping[Key, Fact]) -> str:
    """The shell lines whose output `parsed` reads: what the kernel has that concerns these facts."""
    asked = {key[0] for group in groups for key in group} | {"link"}
    if any(isinstance(each, Slave) and each.neigh_suppress for group in groups for each in group.values()):
        asked.add("neighbour")  # the bridge answers for those alone whom we wish for
    script = [f"echo; echo @{name}; {question} || exit 1" for name, question in QUESTIONS.items() if name in asked]
    if paths := sorted({each.path for group in groups for each in group.values() if isinstance(each, Sysctl)}):
        # Not the shell's own read: it asks for one octet at a time, and the kernel gives no more than the first.
        script.append(f"echo; echo @sysctl; grep -sH . {' '.join(paths)}")
    return "\n".join([*script, "exit 0", ""])


async def seen_on(host: Host, *groups: Mapping[Key, Fact]) -> Seen:
    """Read from the kernel what concerns these facts, by one command. Raises Unreachable, Failed."""
    result = await host.run(["sh"], stdin=asking(*groups).encode())
    if result.status != 0:
        raise Failed(f"{host.name}: its interfaces cannot be read: {result.err.strip() or result.out.strip() or f'status {result.status}'}")
    return parsed(result.out)


def parsed(out: str) -> Seen:
    sections: dict[str, list[str]] = defaultdict(list)
    name = ""
    for line in out.splitlines():
        if line.startswith("@"):
            name = line[1:]
        elif line.strip():
            sections[name].append(line)

    def rows(section: str) -> list[dict[str, Any]]:
        return [row for row in json.loads("".join(sections[section]) or "[]") if row]

    links = {row["ifname"]: _link_seen(row) for row in rows("link")}
    addresses = frozenset(
        (row["ifname"], f"{a['local']}/{a['prefixlen']}") for row in rows("addr") for a in row["addr_info"] if "local" in a
    )
    far: dict[tuple[str, str], set[str]] = defaultdict(set)
    behind: set[tuple[str, str]] = set()
    for row in rows("fdb"):
        # What a routing daemon put there (EVPN) comes and goes by its own will; it is neither ours nor missing.
        if "extern_learn" in row.get("flags", ()):
            continue
        if "dst" in row:
            far[row["ifname"], row["mac"]].add(row["dst"])
        elif row.get("state") == "static" and "master" in row:
            behind.add((row["ifname"], row["mac"]))
    neighbours = {
        (row["dev"], row["dst"]): NeighbourSeen(row["lladdr"], "PERMANENT" in row["state"], "router" in row)
        for row in rows("neighbour")
        if row.get("lladdr", GROUP)[1] not in GROUP_DIGITS and "extern_learn" not in row
    }
    routes = {
        _prefix(row["dst"], family): (row.get("gateway") or (row.get("via") or {}).get("host"), row.get("dev"))
        for section, family in (("route", 4), ("route6", 6))
        for row in rows(section)
    }
    led = [_encapsulated(row) for row in rows("route6") if "encap" in row]
    sids = {str(ip_address(row["dst"])): row["action"] for row in led if row["encap"] == "seg6local" and "/" not in row["dst"]}
    segments = {_prefix(row["dst"], 6): tuple(str(ip_address(each)) for each in row["segs"]) for row in led if row["encap"] == "seg6"}
    shapers = {row["dev"]: int(row["options"]["rate"]) * 8 for row in rows("qdisc") if row.get("root") and row["kind"] == "tbf"}
    settings = {_setting(path): value for path, _, value in (line.partition(":") for line in sections["sysctl"])}
    return Seen(
        links=links,
        addresses=addresses,
        far={key: frozenset(value) for key, value in far.items()},
        behind=frozenset(behind),
        neighbours=neighbours,
        routes=routes,
        segments=segments,
        sids=sids,
        shapers=shapers,
        settings=settings,
    )


def _encapsulated(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A route with an encapsulation, as iproute2 6.1 says it; 6.15 has an object of its own for what belongs to the encapsulation."""
    inner = row["encap"]
    return {**row, **inner, "encap": inner["encap_type"]} if isinstance(inner, dict) else row


def _link_seen(row: Mapping[str, Any]) -> LinkSeen:
    info = row.get("linkinfo", {})
    return LinkSeen(
        kind=info.get("info_kind", ""),
        mtu=row["mtu"],
        up="UP" in row["flags"],
        master=row.get("master"),
        addresses_itself=row.get("inet6_addr_gen_mode", "none") != "none",
        details=info.get("info_data", {}),
        port=info.get("info_slave_data", {}) if info.get("info_slave_kind") == "bridge" else {},
        gso_max_segs=row.get("gso_max_segs"),
        over=row.get("link"),
        mac=row.get("address"),
    )


def _setting(path: str) -> str:
    return path.removeprefix(PROC).translate(SWAPPED)


def _prefix(text: str, family: int) -> str:
    default = "0.0.0.0/0" if family == 4 else "::/0"
    return default if text == "default" else str(ip_network(text, strict=False))
