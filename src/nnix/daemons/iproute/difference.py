"""What separates the facts that shall be from what was seen: missing, left over, strange, or not to be had. Pure, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_interface

from nnix.daemons.iproute.facts import (
    FLOOD,
    PORT_FLAGS,
    Addr,
    Address,
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
        case Neighbour():
            whom = seen.neighbours.get((fact.dev, fact.spelled))
            if whom is None:
                return f"neighbour {fact.neighbour} is missing on {fact.dev}"
            if whom.mac != fact.mac:
                return f"neighbour {fact.neighbour} on {fact.dev} is at {whom.mac}, not at {fact.mac}"
            whole = whom.stays and (whom.router or fact.neighbour.version == 4)
            return "" if whole else f"neighbour {fact.neighbour} on {fact.dev} is not whole"
        case Route():
            there_route = seen.routes.get(str(fact.route))
            if there_route is None:
                return f"route to {fact.route} is missing"
            via, dev = there_route
            segments = tuple(map(str, fact.segments or ()))
            if segments != (led := seen.segments.get(str(fact.route), ())):
                return f"route to {fact.route} leads through {' and '.join(led) or 'no segments'}"
            same = (fact.via is None or str(fact.via) == via) and (fact.dev is None or fact.dev == dev)
            return "" if same else f"route to {fact.route} goes via {via or dev}"
        case Sid():
            behaviour = seen.sids.get(str(fact.sid))
            if behaviour is None:
                return f"segment {fact.sid} is missing"
            return "" if behaviour == fact.behaviour else f"segment {fact.sid} is {behaviour}, not {fact.behaviour}"
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
    if foreign(link, there):
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
    if renamed(link, there):
        wrong.append(f"its address is {there.mac}")
    if isinstance(link, Vxlan) and link.gso_max_segs not in (None, there.gso_max_segs):
        wrong.append(f"it takes {there.gso_max_segs} segments at once, not {link.gso_max_segs}")
    if isinstance(link, Vxlan | Vlan) and (standing := stale(link, there)):
        wrong.append(standing)
    if isinstance(link, Slave):
        if there.master != link.master:
            wrong.append(f"it is in {there.master or 'no bridge'}, not in {link.master or 'any'}")
        elif link.master is not None:
            wrong += [f"its {flag} is {'off' if getattr(link, flag) else 'on'}" for flag in _flags_wrong(link, there)]
            if there.addresses_itself and "it gives itself addresses" not in wrong:
                wrong.append("it gives itself addresses")
    return f"{link.title}: {', '.join(wrong)}" if wrong else ""


KERNEL_KINDS: Mapping[type[Link], str] = {Bridge: "bridge", Vxlan: "vxlan", Vlan: "vlan"}


def foreign(link: Link, there: LinkSeen) -> bool:
    return not isinstance(link, Wire) and there.kind != KERNEL_KINDS[type(link)]


def renamed(link: Link, there: LinkSeen) -> bool:
    """Whether it has another MAC address than it should; once that is mended, none of its neighbours is left."""
    return isinstance(link, Bridge) and link.mac not in (None, there.mac)


def stale(link: Vxlan | Vlan, there: LinkSeen) -> str:
    """What of a tunnel or a VLAN interface cannot be changed while it stands."""
    details = there.details
    if isinstance(link, Vlan):
        seen = (details.get("protocol"), details.get("id"), there.over)
        return (
            ""
            if seen == ("802.1Q", link.vlan, link.over)
            else f"it is VLAN {details.get('id')} of {there.over}, not {link.vlan} of {link.over}"
        )
    if (details.get("id"), details.get("local", details.get("local6")), details.get("port")) != (link.vni, str(link.local), link.port):
        return f"it is VNI {details.get('id')} from {details.get('local', details.get('local6'))}, not {link.vni} from {link.local}"
    return "it learns" if details.get("learning") else ""


def _flags_wrong(link: Slave, there: LinkSeen) -> list[str]:
    return [flag for flag in PORT_FLAGS if there.port.get(flag) != getattr(link, flag)]


def left_over(fact: Fact, seen: Seen) -> bool:
    """Whether something of `fact`, which is no longer wanted, is still there. A wire counts while it is in our bridge."""
    match fact:
        case Wire():
            return fact.link in seen.links and fact.master is not None and seen.links[fact.link].master == fact.master
        case Link():
            return fact.link in seen.links and not foreign(fact, seen.links[fact.link])
        case Fdb(dst=None):
            return (fact.dev, fact.fdb) in seen.behind
        case Fdb():
            return str(fact.dst) in seen.far.get((fact.dev, fact.fdb), frozenset())
        case Addr():
            return (fact.dev, str(fact.addr)) in seen.addresses
        case Neighbour():
            return (fact.dev, fact.spelled) in seen.neighbours
        case Route():
            return str(fact.route) in seen.routes and not missing(fact, seen)
        case Sid():
            return str(fact.sid) in seen.sids
        case Shaper():
            return fact.dev in seen.shapers
    return False


def strangers(wanted: Mapping[Key, Fact], before: Mapping[Key, Fact], seen: Seen) -> list[Fdb | Neighbour]:
    """Entries of our tunnels, and neighbours of bridges that answer for theirs, which nobody wished for: frames would leave for a place that
    we do not know, and be drawn away from where they belong. (Who is a neighbour on other bridges matters to nobody: the machine hears of some.)

    Those that `before` knows and `wanted` does not are left over, not strange.
    """
    tunnels = {each.link for each in wanted.values() if isinstance(each, Vxlan)}
    bridges = {each.master for each in wanted.values() if isinstance(each, Slave) and each.neigh_suppress}
    known = {**before, **wanted}
    wished = {(each.dev, each.fdb, str(each.dst)) for each in known.values() if isinstance(each, Fdb)}
    there = ((dev, mac, dst) for (dev, mac), ends in seen.far.items() if dev in tunnels for dst in ends)
    entries = [Fdb(fdb=mac, dev=dev, dst=_address(dst)) for dev, mac, dst in there if (dev, mac, dst) not in wished]
    strange = [
        Neighbour(neighbour=_address(address), dev=dev, mac=each.mac)
        for (dev, address), each in seen.neighbours.items()
        if dev in bridges and ("neighbour", dev, address) not in known
    ]
    return [*entries, *strange]


def stranger_said(each: Fdb | Neighbour) -> str:
    """In words, what is wrong with it."""
    where = f"to {each.dst}" if isinstance(each, Fdb) else f"at {each.mac}"
    return f"{each.noun} {'of ' if isinstance(each, Fdb) else ''}{each.key[-1]} {where} on {each.dev} is not ours"


def _address(text: str) -> Address:
    return ip_interface(text).ip


def impossible(facts: Mapping[Key, Fact], seen: Seen) -> list[str]:
    """Why some of `facts` cannot be had: a wire that nobody laid, a name that somebody else uses."""
    complaints = []
    for fact in facts.values():
        if isinstance(fact, Link):
            there = seen.links.get(fact.link)
            if isinstance(fact, Wire) and there is None:
                complaints.append(
                    f"interface {fact.link}{f' ({fact.of})' if fact.of else ''} is not there; it must be plugged in before it can be set up"
                )
            elif there is not None and foreign(fact, there):
                complaints.append(f"{_link_missing(fact, seen)}; it is not ours, so it was left alone")
    return complaints
