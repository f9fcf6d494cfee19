"""iproute2: which interfaces, addresses, forwarding entries, routes, shapers and kernel settings a machine shall have.

There is no daemon here, and no parser of one: the kernel itself holds the state, `ip`, `bridge` and `tc` carry it. An
artifact is a list of facts that shall be, one JSON object a line. `look` reads the kernel once, by one shell that asks a
handful of tools; `drive` computes what is missing from what was seen, and hands it over in one more shell that runs each
tool once, with a batch. However many ports a switch has, that is two commands.

Bridges and tunnels (VXLAN, RFC 7348) are made and taken away here. A *wire* belongs to the machine, as hardware does, or
to the lab that laid it: it is set up, never made and never deleted. What nobody wished for is left alone; what we wished
for once and no longer do is taken away. That needs a memory: the file `iproute/<name>/applied`. It is widened to
old-and-new before the kernel is touched and narrowed to new afterwards, so that after a kill at any point everything
of ours is still known to be ours. Kernel settings go back to what was found before us.

Pitfalls kept here: an interface is always named behind the word `dev` (one called `a` would be read as `address`); a
batch goes on behind a mistake (-force), so that one bad port does not cost the others theirs.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_interface, ip_network
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, StringConstraints, ValidationError

from nnix.kernel.resource import Record
from nnix.kernel.world import Failed, Host, Step

INTERFACE_PATTERN = r"^[A-Za-z][A-Za-z0-9._-]{0,14}$"  # IFNAMSIZ is 16 with the closing zero
MAC_PATTERN = r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$"
FLOOD = "00:00:00:00:00:00"  # VXLAN's entry for all that has none of its own: one copy to each destination

PROC = "/proc/sys/"
SWAPPED = str.maketrans("./", "/.")

Interface = Annotated[str, StringConstraints(pattern=INTERFACE_PATTERN)]
Address = IPv4Address | IPv6Address
Key = tuple[str, ...]


class Fact(Record):
    """One thing that shall be. `key` says which thing of the machine it speaks about."""

    noun: ClassVar[str]

    @property
    def key(self) -> Key:
        raise NotImplementedError

    @property
    def title(self) -> str:
        return f"{self.noun} {self.key[-1]}"


class Link(Fact):
    """An interface. `of` names the resource whose traffic passes here and nowhere else, so that plans can say whom a step disturbs."""

    link: Interface
    mtu: int | None = Field(default=None, ge=68, le=65535)
    up: bool = True
    of: str | None = None

    @property
    def key(self) -> Key:
        return "link", self.link


class Bridge(Link):
    """A bridge of ours. It runs no spanning tree, watches no multicast and has no address: what passes it is no business of its own."""

    noun: ClassVar[str] = "bridge"
    type: Literal["bridge"] = "bridge"


class Slave(Link):
    """An interface that can be a port of a bridge. `flood` is for unicast to unknown addresses only; broadcast and multicast always pass."""

    master: Interface | None = None
    learning: bool = False
    flood: bool = False
    isolated: bool = False


class Vxlan(Slave):
    """A tunnel of ours that learns nothing by itself; `local` is its own end."""

    noun: ClassVar[str] = "tunnel"
    type: Literal["vxlan"] = "vxlan"
    vni: int = Field(ge=1, le=16777215)
    local: Address
    port: int = Field(default=4789, ge=1, le=65535)


class Wire(Slave):
    """An interface that is there without us: a physical one, or a veth end that the lab laid."""

    noun: ClassVar[str] = "wire"
    type: Literal["wire"] = "wire"


class Addr(Fact):
    """An address on an interface, with the length of its prefix."""

    noun: ClassVar[str] = "address"
    addr: IPv4Interface | IPv6Interface
    dev: Interface

    @property
    def key(self) -> Key:
        return "addr", self.dev, str(self.addr)


class Fdb(Fact):
    """A static forwarding entry: `mac` is behind the bridge port `dev`; on a tunnel, at the far end `dst`."""

    noun: ClassVar[str] = "forwarding entry"
    fdb: Annotated[str, StringConstraints(pattern=MAC_PATTERN)]
    dev: Interface
    dst: Address | None = None

    @property
    def key(self) -> Key:
        return ("fdb", self.dev, str(self.dst), self.fdb) if self.fdb == FLOOD else ("fdb", self.dev, self.fdb)


class Route(Fact):
    """A route in the main table."""

    noun: ClassVar[str] = "route"
    route: IPv4Network | IPv6Network
    via: Address | None = None
    dev: Interface | None = None
    onlink: bool = False

    @property
    def key(self) -> Key:
        return "route", str(self.route)


class Shaper(Fact):
    """A token bucket at the way out of an interface: its capacity, where the wire itself has none."""

    noun: ClassVar[str] = "shaper"
    qdisc: Literal["tbf"] = "tbf"
    dev: Interface
    rate_bits_per_second: int = Field(ge=8000)
    burst_octets: int = Field(default=131072, ge=1600)
    latency_microseconds: int = Field(default=50_000, ge=1)

    @property
    def key(self) -> Key:
        return "qdisc", self.dev


class Sysctl(Fact):
    """A kernel setting, spelt as sysctl(8) does: an interface name that has dots has slashes here.

    optional: where the kernel has no such setting (a module is not loaded), there is nothing to set.
    """

    noun: ClassVar[str] = "setting"
    sysctl: Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_/-]+)+$")]
    value: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ._-]{1,200}$")]
    optional: bool = False

    @property
    def key(self) -> Key:
        return "sysctl", self.sysctl

    @property
    def path(self) -> str:
        return PROC + self.sysctl.translate(SWAPPED)


LINKS: Mapping[str, type[Link]] = {"bridge": Bridge, "vxlan": Vxlan, "wire": Wire}
FACTS: Mapping[str, type[Fact]] = {"addr": Addr, "fdb": Fdb, "route": Route, "qdisc": Shaper, "sysctl": Sysctl}
ORDER = ("sysctl", "link", "addr", "route", "qdisc", "fdb")


def encode(facts: Iterable[Fact]) -> bytes:
    """The artifact that `facts` make: a line each, sorted. Raises ValueError when two facts speak about one thing."""
    found: dict[Key, Fact] = {}
    for fact in facts:
        if found.setdefault(fact.key, fact) != fact:
            raise ValueError(f"{fact.title} is wanted in two ways")
    lines = (json.dumps(each.model_dump(mode="json", exclude_none=True), sort_keys=True) for each in found.values())
    return "".join(f"{line}\n" for line in sorted(lines)).encode()


def decode(content: bytes) -> dict[Key, Fact]:
    """The facts of an artifact by what they speak about. Raises ValueError naming the line."""
    facts: dict[Key, Fact] = {}
    for number, line in enumerate(content.decode().splitlines(), start=1):
        try:
            fact = _fact(json.loads(line))
        except ValidationError as error:
            words = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise ValueError(f"line {number}: {words}") from None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if facts.setdefault(fact.key, fact) != fact:
            raise ValueError(f"line {number}: {fact.title} is wanted in two ways")
    return facts


def _fact(data: object) -> Fact:
    if not isinstance(data, dict):
        raise ValueError("an object is wanted")
    if "link" in data:
        kind: type[Fact] | None = LINKS.get(str(data.get("type")))
    else:
        kind = next((each for name, each in FACTS.items() if name in data), None)
    if kind is None:
        raise ValueError(f"an object with link (of type {', '.join(LINKS)}), or {', '.join(FACTS)}")
    return kind.model_validate(data)


# --- what is seen


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """An interface as the kernel has it."""

    kind: str
    mtu: int
    up: bool
    master: str | None
    addresses_itself: bool
    details: Mapping[str, Any]
    port: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel has. `far` are entries of tunnels, by interface and MAC; `behind` those of bridges."""

    links: Mapping[str, LinkSeen]
    addresses: frozenset[tuple[str, str]] = frozenset()
    far: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    behind: frozenset[tuple[str, str]] = frozenset()
    routes: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    shapers: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


QUESTIONS: Mapping[str, str] = {
    "link": "ip -d -j link show",
    "addr": "ip -j addr show",
    "fdb": "bridge -j fdb show",
    "route": "ip -j -4 route show; echo; echo @route6; ip -j -6 route show",
    "qdisc": "tc -j qdisc show",
}


async def seen_on(host: Host, facts: Iterable[Fact]) -> Seen:
    """Read from the kernel what concerns `facts`, by one command. Raises Unreachable, Failed."""
    facts = tuple(facts)
    asked = {each.key[0] for each in facts} | {"link"}
    script = [f"echo; echo @{name}; {question} || exit 1" for name, question in QUESTIONS.items() if name in asked]
    if paths := sorted({each.path for each in facts if isinstance(each, Sysctl)}):
        # Not the shell's own read: it asks for one octet at a time, and the kernel gives no more than the first.
        script.append(f"echo; echo @sysctl; grep -sH . {' '.join(paths)}")
    result = await host.run(["sh"], stdin="\n".join([*script, "exit 0", ""]).encode())
    if result.status != 0:
        raise Failed(f"{host.name}: its interfaces cannot be read: {result.err.strip() or result.out.strip() or f'status {result.status}'}")
    return _parsed(result.out)


def _parsed(out: str) -> Seen:
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
    routes = {
        _prefix(row["dst"], family): (row.get("gateway") or (row.get("via") or {}).get("host"), row.get("dev"))
        for section, family in (("route", 4), ("route6", 6))
        for row in rows(section)
    }
    shapers = {row["dev"]: int(row["options"]["rate"]) * 8 for row in rows("qdisc") if row.get("root") and row["kind"] == "tbf"}
    settings = {_setting(path): value for path, _, value in (line.partition(":") for line in sections["sysctl"])}
    return Seen(links, addresses, {key: frozenset(value) for key, value in far.items()}, frozenset(behind), routes, shapers, settings)


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
    )


def _setting(path: str) -> str:
    return path.removeprefix(PROC).translate(SWAPPED)


def _prefix(text: str, family: int) -> str:
    default = "0.0.0.0/0" if family == 4 else "::/0"
    return default if text == "default" else str(ip_network(text, strict=False))


# --- what separates the two


def missing(fact: Fact, seen: Seen) -> str:
    """In words, how `seen` falls short of `fact`; empty when it does not. Pure."""
    match fact:
        case Link():
            return _link_missing(fact, seen)
        case Addr():
            return "" if (fact.dev, str(fact.addr)) in seen.addresses else f"address {fact.addr} is missing on {fact.dev}"
        case Fdb(dst=None):
            return "" if (fact.dev, fact.fdb) in seen.behind else f"forwarding entry of {fact.fdb} is missing on {fact.dev}"
        case Fdb():
            if str(fact.dst) not in (there := seen.far.get((fact.dev, fact.fdb), frozenset())):
                return f"forwarding entry of {fact.fdb} to {fact.dst} is missing on {fact.dev}"
            if fact.fdb != FLOOD and (len(there) > 1 or (fact.dev, fact.fdb) not in seen.behind):
                return f"forwarding entry of {fact.fdb} on {fact.dev} is not whole"
            return ""
        case Route():
            there_route = seen.routes.get(str(fact.route))
            if there_route is None:
                return f"route to {fact.route} is missing"
            via, dev = there_route
            same = (fact.via is None or str(fact.via) == via) and (fact.dev is None or fact.dev == dev)
            return "" if same else f"route to {fact.route} goes via {via or dev}"
        case Shaper():
            rate = seen.shapers.get(fact.dev)
            if rate is None:
                return f"shaper is missing on {fact.dev}"
            # The kernel keeps whole octets per second and tc prints them rounded.
            return (
                ""
                if abs(rate - fact.rate_bits_per_second) * 1000 <= fact.rate_bits_per_second
                else f"shaper on {fact.dev} lets {rate} bit/s pass"
            )
        case Sysctl():
            value = seen.settings.get(fact.sysctl)
            if value is None and fact.optional:
                return ""
            return (
                ""
                if value is not None and value.split() == fact.value.split()
                else f"setting {fact.sysctl} is {value or 'missing'}, not {fact.value}"
            )
    return ""


def _link_missing(link: Link, seen: Seen) -> str:
    there = seen.links.get(link.link)
    if there is None:
        return f"{link.title} is missing"
    if _foreign(link, there):
        return f"{link.link} is no {link.noun} but a {there.kind or 'device of the machine'}"
    wrong = []
    if link.mtu is not None and there.mtu != link.mtu:
        wrong.append(f"its mtu is {there.mtu}, not {link.mtu}")
    if there.up != link.up:
        wrong.append(f"it is {'up' if there.up else 'down'}")
    if not isinstance(link, Wire) and there.addresses_itself:
        wrong.append("it gives itself addresses")
    if isinstance(link, Bridge) and (there.details.get("mcast_snooping") or there.details.get("stp_state")):
        wrong.append("it snoops or runs a spanning tree")
    if isinstance(link, Vxlan) and (stale := _stale(link, there)):
        wrong.append(stale)
    if isinstance(link, Slave):
        if there.master != link.master:
            wrong.append(f"it is in {there.master or 'no bridge'}, not in {link.master or 'any'}")
        elif link.master is not None:
            wrong += [f"its {flag} is {'off' if getattr(link, flag) else 'on'}" for flag in _flags_wrong(link, there)]
            if there.addresses_itself and "it gives itself addresses" not in wrong:
                wrong.append("it gives itself addresses")
    return f"{link.title}: {', '.join(wrong)}" if wrong else ""


def _foreign(link: Link, there: LinkSeen) -> bool:
    return not isinstance(link, Wire) and there.kind != ("bridge" if isinstance(link, Bridge) else "vxlan")


def _stale(link: Vxlan, there: LinkSeen) -> str:
    """What of a tunnel cannot be changed while it stands."""
    details = there.details
    if (details.get("id"), details.get("local", details.get("local6")), details.get("port")) != (link.vni, str(link.local), link.port):
        return f"it is VNI {details.get('id')} from {details.get('local', details.get('local6'))}, not {link.vni} from {link.local}"
    return "it learns" if details.get("learning") else ""


def _flags_wrong(link: Slave, there: LinkSeen) -> list[str]:
    return [flag for flag in ("learning", "flood", "isolated") if there.port.get(flag) != getattr(link, flag)]


def left_over(fact: Fact, seen: Seen) -> bool:
    """Whether something of `fact`, which is no longer wanted, is still there. A wire counts while it is in our bridge."""
    match fact:
        case Wire():
            return fact.link in seen.links and fact.master is not None and seen.links[fact.link].master == fact.master
        case Link():
            return fact.link in seen.links and not _foreign(fact, seen.links[fact.link])
        case Fdb(dst=None):
            return (fact.dev, fact.fdb) in seen.behind
        case Fdb():
            return str(fact.dst) in seen.far.get((fact.dev, fact.fdb), frozenset())
        case Addr():
            return (fact.dev, str(fact.addr)) in seen.addresses
        case Route():
            return str(fact.route) in seen.routes and not missing(fact, seen)
        case Shaper():
            return fact.dev in seen.shapers
    return False


def strangers(wanted: Mapping[Key, Fact], before: Mapping[Key, Fact], seen: Seen) -> list[Fdb]:
    """Entries of our tunnels that nobody wished for: frames would leave for a place that we do not know.

    Those that `before` knows and `wanted` does not are left over, not strange.
    """
    tunnels = {each.link for each in wanted.values() if isinstance(each, Vxlan)}
    found = (Fdb(fdb=mac, dev=dev, dst=_address(dst)) for (dev, mac), ends in seen.far.items() if dev in tunnels for dst in ends)
    known = {**before, **wanted}
    return [each for each in found if not isinstance(fact := known.get(each.key), Fdb) or fact.dst != each.dst]


def _address(text: str) -> Address:
    return ip_interface(text).ip


# --- the way from one to the other


class Batch(NamedTuple):
    """Lines for each tool, in the order in which the tools run."""

    settings: list[str]
    ip: list[str]
    tc: list[str]
    bridge: list[str]

    def script(self) -> str:
        parts = [*self.settings]
        for tool, lines in (("ip", self.ip), ("tc", self.tc), ("bridge", self.bridge)):
            if lines:
                parts += [f"echo @{tool} >&2", f"{tool} -force -batch - <<'END OF {tool}'", *lines, f"END OF {tool}"]
        return "\n".join([*parts, "exit 0", ""])


def way(wanted: Mapping[Key, Fact], before: Mapping[Key, Fact], found: Mapping[str, str], seen: Seen) -> Batch:
    """What makes `seen` into `wanted`, where `before` was ours and `found` are the settings before us. Pure; empty when they agree."""
    batch = Batch([], [], [], [])
    gone = [fact for key, fact in before.items() if key not in wanted]
    going = {each.link for each in gone if isinstance(each, Bridge | Vxlan)}
    # A port that leaves its bridge loses its entries there with it, and one that comes to another has none yet.
    leaving = {each.link for each in gone if isinstance(each, Wire)} | {
        each.link
        for each in wanted.values()
        if isinstance(each, Slave) and (was := seen.links.get(each.link)) and was.master != each.master
    }
    orphaned = {name for name, was in seen.links.items() if was.master in going}
    seen = replace(seen, behind=frozenset(each for each in seen.behind if each[0] not in leaving | orphaned))
    renewed = {
        each.link
        for each in wanted.values()
        if isinstance(each, Vxlan) and (there := seen.links.get(each.link)) and not _foreign(each, there) and _stale(each, there)
    }
    for fact in gone:
        if getattr(fact, "dev", None) not in going | renewed:
            _take_away(fact, seen, found, batch)
    for stranger in strangers(wanted, before, seen):
        if stranger.dev not in renewed:
            batch.bridge.append(f"fdb delete {stranger.fdb} dev {stranger.dev} dst {stranger.dst} self")
    batch.ip.extend(f"link delete dev {name}" for name in sorted(renewed))
    links = {name: there for name, there in seen.links.items() if name not in renewed}
    far = {key: ends for key, ends in seen.far.items() if key[0] not in renewed}
    seen = replace(seen, links=links, far=far, behind=frozenset(each for each in seen.behind if each[0] not in renewed))
    missing_wires = {each.link for each in wanted.values() if isinstance(each, Wire) and each.link not in links}
    unusable = missing_wires | {
        each.link for each in wanted.values() if isinstance(each, Link) and each.link in links and _foreign(each, links[each.link])
    }
    for fact in sorted(wanted.values(), key=_making_order):
        # What cannot be done is said by drive() once everything else has been done.
        named = {getattr(fact, "dev", None), getattr(fact, "link", None)}
        if not named & unusable and missing(fact, seen):
            _make(fact, seen, batch)
    return batch


def _making_order(fact: Fact) -> tuple[int, int, Key]:
    return ORDER.index(fact.key[0]), 0 if isinstance(fact, Bridge) else 1, fact.key


def _make(fact: Fact, seen: Seen, batch: Batch) -> None:
    match fact:
        case Sysctl():
            batch.settings.append(f"printf '%s\\n' '{fact.value}' > {fact.path}")
        case Link():
            batch.ip.extend(_link_lines(fact, seen.links.get(fact.link)))
        case Addr():
            batch.ip.append(f"address replace {fact.addr} dev {fact.dev}{' nodad' if fact.addr.version == 6 else ''}")
        case Route():
            words = [f"via {fact.via}" if fact.via else "", f"dev {fact.dev}" if fact.dev else "", "onlink" if fact.onlink else ""]
            batch.ip.append(" ".join(["route replace", str(fact.route), *filter(None, words)]))
        case Shaper():
            batch.tc.append(
                f"qdisc replace dev {fact.dev} root tbf rate {fact.rate_bits_per_second}bit"
                f" burst {fact.burst_octets} latency {fact.latency_microseconds}us"
            )
        case Fdb(dst=None):
            batch.bridge.append(f"fdb replace {fact.fdb} dev {fact.dev} master static")
        case Fdb():
            ends = seen.far.get((fact.dev, fact.fdb), frozenset())
            verb = "append" if fact.fdb == FLOOD else "replace"
            if str(fact.dst) not in ends:
                batch.bridge.append(f"fdb {verb} {fact.fdb} dev {fact.dev} dst {fact.dst} self permanent")
            if fact.fdb != FLOOD and (fact.dev, fact.fdb) not in seen.behind:
                batch.bridge.append(f"fdb replace {fact.fdb} dev {fact.dev} master static")


def _link_lines(link: Link, there: LinkSeen | None) -> Iterator[str]:
    name = f"dev {link.link}"
    if there is None:
        if isinstance(link, Vxlan):
            yield f"link add {name} type vxlan id {link.vni} local {link.local} dstport {link.port} nolearning"
        else:
            yield f"link add {name} type bridge mcast_snooping 0 stp_state 0"
    elif isinstance(link, Bridge):
        yield f"link set {name} type bridge mcast_snooping 0 stp_state 0"
    words = [f"mtu {link.mtu}"] if link.mtu is not None else []
    if isinstance(link, Slave) and (there.master if there else None) != link.master:
        words.append(f"master {link.master}" if link.master else "nomaster")
    if link.link != "lo" and (not isinstance(link, Wire) or link.master):
        words.append("addrgenmode none")
    if words:
        yield f"link set {name} {' '.join(words)}"
    if isinstance(link, Slave) and link.master:
        flags = (f"{flag} {'on' if getattr(link, flag) else 'off'}" for flag in ("learning", "flood", "isolated"))
        yield f"link set {name} type bridge_slave {' '.join(flags)}"
    yield f"link set {name} {'up' if link.up else 'down'}"


def _take_away(fact: Fact, seen: Seen, found: Mapping[str, str], batch: Batch) -> None:
    if isinstance(fact, Sysctl):
        if fact.sysctl in found and seen.settings.get(fact.sysctl) not in (None, found[fact.sysctl]):
            batch.settings.append(f"printf '%s\\n' '{found[fact.sysctl]}' > {fact.path}")
    elif left_over(fact, seen):
        match fact:
            case Wire():
                batch.ip.append(f"link set dev {fact.link} nomaster down")
            case Link():
                batch.ip.append(f"link delete dev {fact.link}")
            case Addr():
                batch.ip.append(f"address delete {fact.addr} dev {fact.dev}")
            case Route():
                batch.ip.append(f"route delete {fact.route}")
            case Shaper():
                batch.tc.append(f"qdisc delete dev {fact.dev} root")
            case Fdb():
                if fact.dst is not None:
                    batch.bridge.append(f"fdb delete {fact.fdb} dev {fact.dev} dst {fact.dst} self")
                if (fact.dev, fact.fdb) in seen.behind:
                    batch.bridge.append(f"fdb delete {fact.fdb} dev {fact.dev} master")


# --- in words


def _said(verb: str, facts: Sequence[Fact], named_max: int = 3) -> Iterator[str]:
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        groups[fact.noun].append(fact)
    for noun, group in groups.items():
        if len(group) <= named_max:
            yield from (f"{verb} {each.title}" for each in group)
        else:
            yield f"{verb} {len(group)} {noun if not noun.endswith('y') else noun[:-1] + 'ie'}{'es' if noun.endswith('ss') else 's'}"


def _disturbed(old: Mapping[Key, Fact], changed: Iterable[Fact]) -> frozenset[str]:
    """The resources behind the interfaces in `changed`, and, where a bridge or a tunnel is among them, those behind all ports of the bridge."""
    found = set()
    for fact in changed:
        if isinstance(fact, Link) and fact.of:
            found.add(fact.of)
        bridge = fact.link if isinstance(fact, Bridge) else fact.master if isinstance(fact, Vxlan) else None
        if bridge:
            found |= {each.of for each in old.values() if isinstance(each, Slave) and each.master == bridge and each.of}
    return frozenset(found)


def _cut_by_change(old: Fact, new: Fact) -> bool:
    """Whether traffic over the interface stops, if for a moment."""
    fields = ("up", "master", "vni", "local", "port")
    return isinstance(old, Link) and any(getattr(old, name, None) != getattr(new, name, None) for name in fields)


@dataclass(frozen=True, slots=True)
class IprouteDriver:
    """Interfaces, addresses, forwarding entries, routes, shapers and settings; see the module."""

    name: str = "iproute"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        """What makes `old` into `new`, many of one sort counted; disturbed are the resources whose interface goes, moves or closes."""
        before, after = decode(old or b""), decode(new or b"")
        gone = [fact for key, fact in before.items() if key not in after]
        added = [fact for key, fact in after.items() if key not in before]
        changed = [fact for key, fact in after.items() if key in before and before[key] != fact]
        cut = [before[each.key] for each in changed if _cut_by_change(before[each.key], each)]
        steps = [Step(f"remove {each.title}", _disturbed(before, [each])) for each in gone if isinstance(each, Link)]
        steps += [Step(words) for words in _said("remove", [each for each in gone if not isinstance(each, Link)])]
        steps += [Step(words) for words in _said("add", sorted(added, key=_making_order))]
        steps += [Step(f"change {each.title}", _disturbed(before, [each])) for each in cut]
        steps += [Step(words) for words in _said("change", [each for each in changed if before[each.key] not in cut])]
        return tuple(steps)

    async def check(self, host: Host, content: bytes) -> str:
        """Only the shape is checked, for there is no daemon that could parse an artifact: the kernel judges when it is told."""
        try:
            decode(content)
        except ValueError as error:
            return str(error)
        return ""

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        remembered = await host.get([f"{self.name}/{name}/applied" for name in wanted])
        facts = {name: decode(content) for name, content in wanted.items()}
        before = {name: _remembered(remembered[f"{self.name}/{name}/applied"]) for name in wanted}
        seen = await seen_on(host, [fact for group in (*facts.values(), *before.values()) for fact in group.values()])
        differing = {}
        for name, group in facts.items():
            words = [said for fact in sorted(group.values(), key=_making_order) if (said := missing(fact, seen))]
            words += [f"{fact.title} is left over" for key, fact in before[name].items() if key not in group and left_over(fact, seen)]
            words += [
                f"forwarding entry of {each.fdb} to {each.dst} on {each.dev} is not ours" for each in strangers(group, before[name], seen)
            ]
            if words:
                differing[name] = "; ".join(words[:5]) + (f"; and {len(words) - 5} more" if len(words) > 5 else "")
        return differing

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        facts = decode(wanted or b"")
        applied, found_path = f"{self.name}/{name}/applied", f"{self.name}/{name}/found"
        files = await host.get([applied, found_path])
        before = _remembered(files[applied])
        found: dict[str, str] = json.loads(files[found_path] or b"{}")
        seen = await seen_on(host, [*before.values(), *facts.values()])
        found |= {
            fact.sysctl: seen.settings[fact.sysctl]
            for fact in facts.values()
            if isinstance(fact, Sysctl) and fact.sysctl not in found and fact.sysctl in seen.settings
        }
        content = encode(facts.values())
        # A fact that changed its value stays known by its key: the newer spelling takes away what the older one put there.
        memory = {applied: encode({**before, **facts}.values()), found_path: json.dumps(found, sort_keys=True).encode()}
        if changed := {path: kept for path, kept in memory.items() if files[path] != kept and (facts or files[path] is not None)}:
            await host.put(changed)
        batch = way(facts, before, found, seen)
        complaints = await _run(host, batch) if any(batch) else []
        complaints += _impossible(facts, seen)
        if complaints:
            raise Failed(f"{host.name}: {'; '.join(complaints[:8])}" + (f"; and {len(complaints) - 8} more" if len(complaints) > 8 else ""))
        if wanted is None:
            await host.put({f"{self.name}/{name}": None})
        elif memory[applied] != content:
            await host.put({applied: content})


IPROUTE = IprouteDriver()


def _remembered(content: bytes | None) -> dict[Key, Fact]:
    """What was ours. A line that a newer or older nnix wrote otherwise is left out rather than in the way."""
    facts: dict[Key, Fact] = {}
    for line in (content or b"").splitlines():
        try:
            facts |= decode(line)
        except ValueError:
            continue
    return facts


def _impossible(facts: Mapping[Key, Fact], seen: Seen) -> list[str]:
    """Why some of `facts` cannot be had: a wire that nobody laid, a name that somebody else uses."""
    complaints = []
    for fact in facts.values():
        if isinstance(fact, Link):
            there = seen.links.get(fact.link)
            if isinstance(fact, Wire) and there is None:
                complaints.append(
                    f"interface {fact.link}{f' ({fact.of})' if fact.of else ''} is not there; it must be plugged in before it can be set up"
                )
            elif there is not None and _foreign(fact, there):
                complaints.append(f"{_link_missing(fact, seen)}; it is not ours, so it was left alone")
    return complaints


async def _run(host: Host, batch: Batch) -> list[str]:
    result = await host.run(["sh"], stdin=batch.script().encode(), timeout_seconds=120.0)
    lines: Mapping[str, list[str]] = {"ip": batch.ip, "tc": batch.tc, "bridge": batch.bridge}
    complaints: list[str] = []
    words: list[str] = []
    tool = ""
    for line in result.err.splitlines():
        if line.startswith("@"):
            complaints += [f"settings: {word}" for word in words]
            tool, words = line[1:], []
        elif match := re.fullmatch(r"Command failed -:(\d+)", line.strip()):
            number = int(match[1]) - 1
            command = lines[tool][number] if tool in lines and number < len(lines[tool]) else ""
            complaints.append(f"{tool} {command}: {' '.join(words) or 'failed'}")
            words = []
        elif line.strip():
            words.append(line.strip())
    # Warnings that belong to no failed command are not complaints; a shell that could not run at all is one.
    if result.status != 0:
        complaints.append(" ".join(words) or f"sh ended with status {result.status}")
    elif not lines.get(tool) or re.search("not found|No such file or directory|Permission denied", " ".join(words)):
        complaints += words
    return complaints
