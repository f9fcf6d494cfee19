"""Failures really made in the lab, and healed: each as the commands that the lab's hands give on the machines concerned.

A *cut* takes a link's light away. A *silent* cut leaves the light on and lets frames die: at both ends everything that arrives is
dropped at the hook of the interface (nftables, netdev family) before anybody but a packet socket sees it, as if it had died on the way;
OSPF and BFD, which use the kernel's own sockets, hear nothing. A *dark* site does neither send nor hear, with its neighbours' light still on, which is the worse case: transport gear in
between often keeps it on. Killed daemons are brought back by the driver, as the loop would.

The lab's hands enter a machine's namespace directly (@NAME), so that no failure cuts them off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from nnix.kernel.document import nearest
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.lab.compile import ETHERNET
from nnix.lab.foreign import overseas
from nnix.lab.kinds import Router
from nnix.planes.fabric.compile import attachments, reflectors
from nnix.planes.fabric.kinds import EmergencyPlan, Link, Port
from nnix.planes.fabric.kinds import FailureSort as Sort
from nnix.planes.fabric.names import link_interface, switch_machine
from nnix.planes.members.kinds import Site

DAEMONS = ("bgpd", "ospfd", "bfdd", "zebra")


WHAT: Mapping[Sort, str] = {
    Sort.CUT: "a link loses its light",
    Sort.SILENT: "a link keeps its light and carries nothing",
    Sort.DARK: "a site loses its power; its neighbours' light stays on",
    Sort.FLAP: "a link goes and comes, twice at each end",
    Sort.REFLECTORS: "both route reflectors' bgpd die",
    Sort.KILL: "a routing daemon of one site dies",
    Sort.LOOP: "somebody loops a member's port: what comes out goes back in",
    Sort.FOREIGN: "every link abroad loses its light, and no repository can be fetched from",
    Sort.LACP: "a member's router sends LACP, where nobody has a bundle",
}

QUICK, HEARD, MENDED = 0.05, 0.25, 10.0
"""seconds without an arrival that are promised, with BFD at 50 ms: what the switch itself sees; what BFD must find out; what the loop must
bring back"""


@dataclass(frozen=True)
class Round:
    """Once down and up again: machine → shell lines for its namespace."""

    make: Mapping[str, str] = field(default_factory=dict)
    heal: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """What is made, round by round. `links`, `sites`: what is out of service for as long. `daemons`: (machine, daemon) that are killed, and
    brought back by the driver. `own`: the router whose own traffic goes as well, and is not counted."""

    sort: Sort
    of: str
    rounds: tuple[Round, ...] = (Round(),)
    links: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    daemons: tuple[tuple[str, str], ...] = ()
    own: str | None = None

    @property
    def promised(self) -> tuple[float, float]:
        """Seconds without an arrival that flows which survive may have: when it fails, and when it heals."""
        if self.sort in (Sort.SILENT, Sort.DARK):
            return HEARD, QUICK
        if self.daemons and any(daemon != "bgpd" for _, daemon in self.daemons):
            return QUICK, MENDED  # the underlay's own daemons: without OSPF a switch is left alone until the loop has mended it
        return QUICK, QUICK


class Impossible(Exception):
    """A failure that this exchange cannot have. The message says what could be named instead."""


def failure(snapshot: Snapshot, sort: Sort, target: str | None, daemon: str = "bgpd") -> Failure:
    """The failure of `sort` at `target` (`link/NAME`, `site/NAME`, `port/NAME`). Raises Impossible."""
    match sort:
        case Sort.CUT | Sort.FLAP:
            link = _of(snapshot, Link, target)
            ends = [snapshot.at(end) for end in (link.a, link.b)]
            rounds = [
                Round(
                    {switch_machine(snapshot, end): f"ip link set dev {link_interface(link, end.name)} down"},
                    {switch_machine(snapshot, end): f"ip link set dev {link_interface(link, end.name)} up"},
                )
                for end in ends
            ]
            rounds = rounds[:1] if sort is Sort.CUT else [rounds[0], rounds[0], rounds[1], rounds[1]]
            return Failure(sort, link.id, tuple(rounds), frozenset({link.name}))
        case Sort.SILENT:
            link = _of(snapshot, Link, target)
            wires = {switch_machine(snapshot, snapshot.at(end)): link_interface(link, end) for end in (link.a, link.b)}
            once = Round({each: _deaf(wire) for each, wire in wires.items()}, dict.fromkeys(wires, HEARS))
            return Failure(sort, link.id, (once,), frozenset({link.name}))
        case Sort.DARK:
            site = _of(snapshot, Site, target)
            links = [each for each in snapshot.of(Link) if site.name in (each.a, each.b)]
            interfaces = [link_interface(each, site.name) for each in links]
            interfaces += [each.interface for each in attachments(snapshot, site) if each.up]
            machine = switch_machine(snapshot, site)
            once = Round({machine: _deaf(*interfaces, dumb=True)}, {machine: HEARS})
            return Failure(sort, site.id, (once,), frozenset(each.name for each in links), frozenset({site.name}))
        case Sort.FOREIGN:
            links = list(overseas(snapshot))
            if not links:
                raise Impossible("this exchange has no link that leads abroad")
            wires_at: dict[str, list[str]] = {}
            for link in links:
                wires_at.setdefault(switch_machine(snapshot, snapshot.at(link.a)), []).append(link_interface(link, link.a))
            once = Round(
                *(
                    {at: "".join(f"ip link set dev {wire} {way}\n" for wire in dark) for at, dark in wires_at.items()}
                    for way in ("down", "up")
                )
            )
            return Failure(sort, "all links abroad", (once,), frozenset(each.name for each in links))
        case Sort.REFLECTORS:
            names = reflectors(snapshot)
            if not names:
                raise Impossible("an exchange with one switch has no route reflectors")
            machines = [switch_machine(snapshot, site) for site in snapshot.of(Site) if site.name in names]
            return Failure(sort, " and ".join(f"site/{name}" for name in names), daemons=tuple((each, "bgpd") for each in machines))
        case Sort.KILL:
            site = _of(snapshot, Site, target)
            if daemon not in DAEMONS:
                raise Impossible(f"no daemon {daemon!r}; one of {', '.join(DAEMONS)} would be accepted")
            alone = frozenset({site.name} if daemon in ("ospfd", "bfdd") else ())  # neighbours that hear no OSPF or BFD go round it
            return Failure(sort, f"{daemon} of {site.id}", sites=alone, daemons=((switch_machine(snapshot, site), daemon),))
        case Sort.LOOP | Sort.LACP:
            port = _of(snapshot, Port, target)
            router = next((each for each in snapshot.of(Router) if snapshot.at(each.session).port == port.name), None)
            if router is None:
                raise Impossible(f"no router of the lab stands behind {port.id}")
            if sort is Sort.LOOP:
                back = f"action mirred egress redirect dev {ETHERNET}"
                make = f"tc qdisc add dev {ETHERNET} clsact && tc filter add dev {ETHERNET} ingress protocol all u32 match u32 0 0 {back}"
                return Failure(
                    sort, port.id, (Round({router.name: make}, {router.name: f"tc qdisc del dev {ETHERNET} clsact"}),), own=router.name
                )
            frame = "0180c2000002" + "020000000001" + "8809" + "01" * 110
            send = (
                "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); "
                f"s.bind(({ETHERNET!r}, 0)); f = bytes.fromhex({frame!r}); [s.send(f) for _ in range(1000)]"
            )
            return Failure(sort, port.id, (Round({router.name: f'exec python3 -c "{send}"'}),))
    raise Impossible(f"no failure {sort}")


R = TypeVar("R", bound=Resource)


def planned(snapshot: Snapshot, name: str | None) -> tuple[EmergencyPlan, Failure]:
    """The emergency plan called `name`, and the failure that it is for. Raises Impossible."""
    plan = _of(snapshot, EmergencyPlan, f"emergency-plan/{(name or '').removeprefix('emergency-plan/')}")
    return plan, failure(snapshot, plan.failure, plan.target)


def _of(snapshot: Snapshot, kind: type[R], target: str | None) -> R:
    word, _, name = (target or "").partition("/")
    found = snapshot.get(kind, name) if word == kind.slug() else None
    if found is None:
        near = nearest(name or word, (each.name for each in snapshot.of(kind)))
        hint = f"did you mean {kind.slug()}/{near}?" if near else f"there are {', '.join(each.id for each in snapshot.of(kind)[:8])} …"
        raise Impossible(f"{target or 'nothing'} is no {kind.slug()} of this exchange; {hint}")
    return found


HEARS = "nft delete table netdev nnix-drill"


def _deaf(*interfaces: str, dumb: bool = False) -> str:
    """Nothing that arrives at these interfaces is heard any more; with `dumb`, nothing leaves them either."""
    wires = ", ".join(f'"{each}"' for each in interfaces)
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} devices = {{ {wires} }} priority -400; policy drop; }}\n"
        for hook in (("ingress", "egress") if dumb else ("ingress",))
    )
    return f"nft -f - <<'END'\ntable netdev nnix-drill {{\n{chains}}}\nEND"


def leftovers(snapshot: Snapshot) -> dict[str, str]:
    """machine → what takes back whatever a killed drill may have left there. Links and daemons are the loop's business."""
    found = {switch_machine(snapshot, site): f"{HEARS} 2>/dev/null || true" for site in snapshot.of(Site)}
    found |= {router.name: f"tc qdisc del dev {ETHERNET} clsact 2>/dev/null || true" for router in snapshot.of(Router)}
    return found


def every(snapshot: Snapshot) -> Iterator[Failure]:
    """Each link silently, and each site."""
    yield from (failure(snapshot, Sort.SILENT, link.id) for link in snapshot.of(Link) if link.a != link.b)
    yield from (failure(snapshot, Sort.DARK, site.id) for site in snapshot.of(Site))
