"""What goes, as the kernel itself tells it, and how it comes back in haste.

The kernel tells of every forwarding entry and neighbour that goes, on netlink sockets that ask for it (rtnetlink(7), RTNLGRP_NEIGH). `ip
monitor neigh` holds such a socket on the machine, whether that is a namespace here or far away, and prints a line for each, the
entries of bridges and tunnels among them; one process a switch. Nothing is set over such a socket: what is put back goes the way of
everything else, by one shell that runs each tool once.

What has gone comes back at once only where that is surely right, and the kernel itself is asked at that very moment: what is *added* is
refused where something else has taken its place, moved there by hand or learnt; what ought to be there the next look decides. And behind
a tunnel end that no route of its own leads to (the underlay has one for each), nobody is waiting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from nnix.daemons.iproute.facts import FLOOD, Fact, Fdb
from nnix.daemons.iproute.way import anew
from nnix.kernel.world import Lost

MONITOR = ("ip", "monitor", "neigh")
GONE = re.compile(r"Deleted (?:([0-9a-f.:]+) )?dev (\S+)(?: lladdr (\S+))?")
TAKEN = "File exists"
"""How the kernel says that something is in its place."""


def gone(lines: Iterable[str]) -> frozenset[Lost]:
    """The keys of the facts that each line may speak of. A tunnel's entry and a neighbour look alike: an address, an interface, a MAC address."""
    found: set[Lost] = set()
    for match in filter(None, map(GONE.match, lines)):
        address, dev, mac = match.groups()
        if address:
            found.add(("neighbour", dev, address))
        if mac:
            found.add(("fdb", dev, address, mac) if address and mac == FLOOD else ("fdb", dev, mac))
    return frozenset(found)


def script(lost: Sequence[Fact]) -> tuple[str, Mapping[str, Sequence[str]]]:
    """What puts `lost` back, and its lines by tool. It prints the tunnel ends that are led to; a line that waits for another is left empty. Pure."""
    ends = sorted({str(each.dst) for each in lost if isinstance(each, Fdb) and each.dst is not None})
    parts = []
    if ends:
        families = sorted({"-6" if ":" in end else "-4" for end in ends})
        parts += [f'routes="\n{chr(10).join(f"$(ip {family} route show)" for family in families)}"']
        parts += [
            'led() { case $routes in *"\n$1 "*) ;; *) false ;; esac; }',
            f"for end in {' '.join(ends)}; do led $end && echo $end; done",
        ]
    lines: dict[str, list[str]] = {"ip": [], "bridge": []}
    guarded: dict[str, list[str]] = {"ip": [], "bridge": []}
    for fact in lost:
        unless = f"led {fact.dst} && " if isinstance(fact, Fdb) and fact.dst is not None else ""
        for tool, mine in anew([fact]).lines.items():
            lines.setdefault(tool, []).extend(mine)
            guarded.setdefault(tool, []).extend(f"{unless}echo '{line}'{' || echo' if unless else ''}" for line in mine)
    for tool, echoed in guarded.items():
        if echoed:
            parts += [f"echo @{tool} >&2", "{", *echoed, f"}} | {tool} -force -batch -"]
    return "\n".join([*parts, ""]), lines


def came_back(lost: Sequence[Fact], led: str, complaints: Sequence[str]) -> list[Fact]:
    """Those of `lost` of which something could be added."""
    ends = led.split()
    back = []
    for fact in lost:
        tried = [f"{tool} {line}" for tool, lines in anew([fact]).lines.items() for line in lines]
        if isinstance(fact, Fdb) and fact.dst is not None and str(fact.dst) not in ends:
            continue
        if any(not any(each.startswith(f"{line}: ") for each in complaints) for line in tried):
            back.append(fact)
    return back
