"""The way from what was seen to what shall be, as lines for `ip`, `tc` and `bridge`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from nnix.daemons.iproute.difference import foreign, left_over, missing, renamed, stale, strangers
from nnix.daemons.iproute.facts import (
    FLOOD,
    ORDER,
    PORT_FLAGS,
    Addr,
    Behaviour,
    Bridge,
    Fact,
    Fdb,
    Key,
    Link,
    Neighbour,
    Route,
    Shaper,
    Sid,
    Slave,
    Sysctl,
    Vlan,
    Vxlan,
    Wire,
)
from nnix.daemons.iproute.seen import LinkSeen, Seen

BEHAVIOURS = {Behaviour.END: "End", Behaviour.END_DT6: "End.DT6 table 255"}  # 255: the machine's own addresses (RFC 8986, 4.6, in Linux)


BARE = LinkSeen(kind="", mtu=0, up=False, master=None, addresses_itself=True, details={}, port={})


class Batch(NamedTuple):
    """Lines for each tool, in the order in which the tools run."""

    settings: list[str]
    ip: list[str]
    tc: list[str]
    bridge: list[str]

    @property
    def lines(self) -> Mapping[str, list[str]]:
        return {"ip": self.ip, "tc": self.tc, "bridge": self.bridge}

    def script(self) -> str:
        parts = [*self.settings]
        for tool, lines in self.lines.items():
            if lines:
                parts += [f"echo @{tool} >&2", f"{tool} -force -batch - <<'END OF {tool}'", *lines, f"END OF {tool}"]
        return "\n".join([*parts, ""])


def way(wanted: Mapping[Key, Fact], before: Mapping[Key, Fact], found: Mapping[str, str], seen: Seen) -> Batch:
    """What makes `seen` into `wanted`, where `before` was ours and `found` are the settings before us. Pure; empty when they agree."""
    batch = Batch([], [], [], [])
    gone = [fact for key, fact in before.items() if key not in wanted]
    going = {each.link for each in gone if isinstance(each, Bridge | Vxlan | Vlan)}
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
        if isinstance(each, Vxlan | Vlan) and (there := seen.links.get(each.link)) and not foreign(each, there) and stale(each, there)
    }
    for fact in sorted(gone, key=making_order, reverse=True):  # an address that goes takes routes along
        if getattr(fact, "dev", None) not in going | renewed:
            _take_away(fact, seen, found, batch)
    for stranger in strangers(wanted, before, seen):
        if isinstance(stranger, Neighbour):
            batch.ip.append(f"neigh delete {stranger.neighbour} dev {stranger.dev}")
        elif stranger.dev not in renewed:
            batch.bridge.append(f"fdb delete {stranger.fdb} dev {stranger.dev} dst {stranger.dst} self")
    batch.ip.extend(f"link delete dev {name}" for name in sorted(renewed))
    links = {name: there for name, there in seen.links.items() if name not in renewed}
    far = {key: ends for key, ends in seen.far.items() if key[0] not in renewed}
    forgetful = {each.link for each in wanted.values() if isinstance(each, Link) and each.link in links and renamed(each, links[each.link])}
    neighbours = {key: whom for key, whom in seen.neighbours.items() if key[0] not in forgetful}
    behind = frozenset(each for each in seen.behind if each[0] not in renewed)
    seen = replace(seen, links=links, far=far, behind=behind, neighbours=neighbours)
    missing_wires = {each.link for each in wanted.values() if isinstance(each, Wire) and each.link not in links}
    unusable = missing_wires | {
        each.link for each in wanted.values() if isinstance(each, Link) and each.link in links and foreign(each, links[each.link])
    }
    unusable |= {each.link for each in wanted.values() if isinstance(each, Vlan) and each.over in unusable}
    for fact in sorted((each for each in wanted.values() if missing(each, seen)), key=making_order):
        # What cannot be done is said by drive() once everything else has been done.
        if not {getattr(fact, "dev", None), getattr(fact, "link", None)} & unusable:
            _make(fact, seen, batch)
    return batch


def arrived(before: Mapping[Key, Fact], facts: Mapping[Key, Fact]) -> list[Fact]:
    """What `facts` have more than `before`, where they differ in nothing else; none where a setting is among it, whose value must be known
    first. Pure."""
    changed = [fact for key, fact in facts.items() if (was := before.get(key)) is not fact and was != fact]
    if not before.keys() <= facts.keys() or any(fact.key in before or isinstance(fact, Sysctl) for fact in changed):
        return []
    return sorted(changed, key=making_order)


def mere_entries(facts: Collection[Fact]) -> bool:
    """Whether these are forwarding entries and neighbours, and some: no port joins by them, and no filter is passed by. Pure."""
    return bool(facts) and all(isinstance(each, Fdb | Neighbour) for each in facts)


def anew(facts: Collection[Fact]) -> Batch:
    """What makes `facts` where nothing is in their place but the wires, bare. Entries, neighbours and interfaces fail where something is. Pure."""
    batch = Batch([], [], [], [])
    bare = Seen({each.link: BARE for each in facts if isinstance(each, Wire)})
    for fact in facts:
        _make(fact, bare, batch, "add")
    return batch


def making_order(fact: Fact) -> tuple[int, int, Key]:
    """A bridge before what is plugged into it, a cable before its VLANs."""
    return ORDER.index(fact.key[0]), 0 if isinstance(fact, Bridge) else 2 if isinstance(fact, Vlan) else 1, fact.key


def _make(fact: Fact, seen: Seen, batch: Batch, verb: str = "replace") -> None:
    match fact:
        case Sysctl():
            batch.settings.append(f"printf '%s\\n' '{fact.value}' > {fact.path}")
        case Link():
            batch.ip.extend(_link_lines(fact, seen.links.get(fact.link)))
        case Addr():
            batch.ip.append(f"address replace {fact.addr} dev {fact.dev}{' nodad' if fact.addr.version == 6 else ''}")
        case Neighbour():
            router = " router" if fact.neighbour.version == 6 else ""
            batch.ip.append(f"neigh {verb} {fact.neighbour} lladdr {fact.mac} dev {fact.dev} nud permanent{router}")
        case Route():
            segments = f"encap seg6 mode encap segs {','.join(map(str, fact.segments))}" if fact.segments else ""
            words = [
                segments,
                f"via {fact.via}" if fact.via else "",
                f"dev {fact.dev}" if fact.dev else "",
                "onlink" if fact.onlink else "",
            ]
            batch.ip.append(" ".join(["route replace", str(fact.route), *filter(None, words)]))
        case Sid():
            batch.ip.append(f"route replace {fact.sid}/128 encap seg6local action {BEHAVIOURS[fact.behaviour]} count dev {fact.dev}")
        case Shaper():
            batch.tc.append(
                f"qdisc replace dev {fact.dev} root tbf rate {fact.rate_bits_per_second}bit"
                f" burst {fact.burst_octets} latency {fact.latency_microseconds}us"
            )
        case Fdb(dst=None):
            batch.bridge.append(f"fdb {verb} {fact.fdb} dev {fact.dev} master static")
        case Fdb():
            ends = seen.far.get((fact.dev, fact.fdb), frozenset())
            if str(fact.dst) not in ends:
                batch.bridge.append(
                    f"fdb {'append' if fact.fdb == FLOOD else verb} {fact.fdb} dev {fact.dev} dst {fact.dst} self permanent"
                )
            if fact.fdb != FLOOD and (fact.dev, fact.fdb) not in seen.behind:
                batch.bridge.append(f"fdb {verb} {fact.fdb} dev {fact.dev} master static")


def _link_lines(link: Link, there: LinkSeen | None) -> Iterator[str]:
    name = f"dev {link.link}"
    if there is None:
        if isinstance(link, Vxlan):
            yield f"link add {name} type vxlan id {link.vni} local {link.local} dstport {link.port} nolearning"
        elif isinstance(link, Vlan):
            yield f"link add link {link.over} {name} type vlan id {link.vlan}"
        else:
            yield f"link add {name} type bridge mcast_snooping 0 stp_state 0"
    elif isinstance(link, Bridge):
        yield f"link set {name} type bridge mcast_snooping 0 stp_state 0"
    words = [f"mtu {link.mtu}"] if link.mtu is not None else []
    if isinstance(link, Bridge) and link.mac is not None and (there is None or there.mac != link.mac):
        words.append(f"address {link.mac}")
    if isinstance(link, Slave) and (there.master if there else None) != link.master:
        words.append(f"master {link.master}" if link.master else "nomaster")
    if link.link != "lo" and (not isinstance(link, Wire) or link.master):
        words.append("addrgenmode none")
    if isinstance(link, Vxlan) and link.gso_max_segs is not None:
        words.append(f"gso_max_segs {link.gso_max_segs}")
    if words:
        yield f"link set {name} {' '.join(words)}"
    if isinstance(link, Slave) and link.master:
        flags = (f"{flag} {'on' if getattr(link, flag) else 'off'}" for flag in PORT_FLAGS)
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
            case Neighbour():
                batch.ip.append(f"neigh delete {fact.neighbour} dev {fact.dev}")
            case Route():
                batch.ip.append(f"route delete {fact.route}")
            case Sid():
                batch.ip.append(f"route delete {fact.sid}/128")
            case Shaper():
                batch.tc.append(f"qdisc delete dev {fact.dev} root")
            case Fdb():
                if fact.dst is not None:
                    batch.bridge.append(f"fdb delete {fact.fdb} dev {fact.dev} dst {fact.dst} self")
                if (fact.dev, fact.fdb) in seen.behind:
                    batch.bridge.append(f"fdb delete {fact.fdb} dev {fact.dev} master")
