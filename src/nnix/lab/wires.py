"""Cables and namespaces: what a real exchange finds in its racks.

The artifact lists namespaces and veth pairs, one JSON object a line. Everything missing is laid by one `ip -batch`; what is
no longer listed is taken out. Looking costs no process: a thread steps into each namespace and asks the kernel for its
interfaces. A namespace that is taken out takes its end of every cable along, and the far end disappears with it.

All namespaces together have one table of neighbours for each address family (arp(7), gc_thresh3), of 1,024 entries by default.
Where it is full, nobody learns anybody's MAC address: of 946 routers' sessions most stayed down. So it is made as large as
the lab needs; never smaller, and not put back, since other labs on this machine may have come to need it.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nnix.daemons.iproute import DOT1Q, DOT1Q_MEND
from nnix.hosts.namespace import NAMESPACES, apart, enter_namespace
from nnix.kernel.world import Failed, Host, Lack, Step

MTU_OCTETS = 9200
VANISHING_TRIES = 150
NEIGHBOUR_TABLES = (Path("/proc/sys/net/ipv4/neigh/default"), Path("/proc/sys/net/ipv6/neigh/default"))
NEIGHBOURS_PER_MACHINE = 8  # a router and each of two route servers know one another, and as much again


@dataclass(frozen=True, order=True)
class End:
    """One end of a cable: the machine, the interface there, and its MAC address where it matters."""

    machine: str
    interface: str
    mac: str | None = None


@dataclass(frozen=True, order=True)
class Cable:
    """A veth pair."""

    a: End
    b: End


def encode(machines: Iterable[str], cables: Iterable[Cable], tagged: Iterable[str] = ()) -> bytes:
    """The artifact: ports that need VLANs first, since all namespaces have this machine's kernel; then namespaces, then cables, sorted."""
    lines: list[object] = [{"tagged": port} for port in sorted(tagged)]
    lines += [{"namespace": machine} for machine in sorted(set(machines))]
    lines += [{"cable": [[e.machine, e.interface, e.mac] for e in (c.a, c.b)]} for c in sorted(cables)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@lru_cache(maxsize=4)  # one change asks many times for the old and the new
def decode(content: bytes | None) -> tuple[frozenset[str], frozenset[Cable]]:
    """(namespaces, cables) of an artifact. Raises ValueError."""
    machines: set[str] = set()
    cables: set[Cable] = set()
    for line in (content or b"").splitlines():
        item = json.loads(line)
        if "namespace" in item:
            machines.add(item["namespace"])
        elif "cable" in item:
            a, b = item["cable"]
            cables.add(Cable(End(*a), End(*b)))
    return frozenset(machines), frozenset(cables)


ON_CABLES = ("iproute", "latency")  # drivers of what a cable that is pulled takes along: interfaces, and what reads from them


def shaken(key: tuple[str, str, str], old: bytes | None, new: bytes | None) -> frozenset[tuple[str, str]]:
    """(machine, driver) of what a change of the ground reaches: what was on a cable that is taken out, and all where the machine's hand moves.

    Nothing can have been on a cable that is new; where it stands for one that was pulled, that one counts."""
    machine, driver, _ = key
    if driver != "wires":
        return frozenset((machine.removeprefix("@"), each) for each in ON_CABLES)
    (_, before), (_, after) = decode(old), decode(new)
    return frozenset((end.machine, each) for cable in before - after for end in (cable.a, cable.b) for each in ON_CABLES)


@dataclass(frozen=True)
class WiresDriver:
    """Lays cables. `prefix` goes before every machine's name, so that two labs on one machine do not meet."""

    prefix: str
    name: str = "wires"

    def namespace(self, machine: str) -> str:
        return f"{self.prefix}{machine}"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        (old_machines, old_cables), (machines, cables) = decode(old), decode(new)
        said = [
            *_counted("make namespace", sorted(machines - old_machines)),
            *_counted("lay cable", [f"{c.a.machine}–{c.b.machine}" for c in sorted(cables - old_cables)]),
            *_counted("take out cable", [f"{c.a.machine}–{c.b.machine}" for c in sorted(old_cables - cables)]),
            *_counted("remove namespace", sorted(old_machines - machines)),
        ]
        return tuple(Step(each) for each in said)

    async def check(self, host: Host, content: bytes) -> str:
        try:
            decode(content)
        except (ValueError, KeyError, TypeError) as error:
            return str(error)
        return ""

    async def lacks(self, host: Host, content: bytes) -> tuple[Lack, ...]:
        tagged = [item["tagged"] for item in map(json.loads, content.splitlines()) if "tagged" in item]
        if not tagged or await DOT1Q.possible(host):
            return ()
        return tuple(Lack(port, "802.1Q, for its VLAN,", DOT1Q_MEND) for port in tagged)

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        different = {}
        for name, content in wanted.items():
            machines, cables = decode(content)
            seen = await self._seen(machines)
            missing = [f"namespace {machine} is missing" for machine in sorted(machines - seen.keys())]
            missing += [f"cable {c.a.machine}–{c.b.machine} is missing" for c in _unlaid(cables, seen)]
            missing += [f"{limit} is lower than {neighbours(machines)}" for limit in too_low(NEIGHBOUR_TABLES, neighbours(machines))]
            applied = (await host.get([f"wires/{name}"]))[f"wires/{name}"]
            if not missing and applied != content:
                missing = ["cables that are no longer wanted are there"]
            if missing:
                different[name] = "; ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        return different

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        memory = f"wires/{name}"
        known = (await host.get([memory]))[memory]
        old_machines, old_cables = decode(known)
        machines, cables = decode(wanted)
        await host.put({memory: encode(old_machines | machines, old_cables | cables)})  # a kill from here on loses nothing
        make_room(NEIGHBOUR_TABLES, neighbours(machines))
        seen = await self._seen(old_machines | machines)
        lines = [f"netns del {self.namespace(machine)}" for machine in sorted((old_machines - machines) & seen.keys())]
        lines += [f"netns add {self.namespace(machine)}" for machine in sorted(machines - seen.keys())]
        if lines:
            await _batch(host, ["ip", "-force", "-batch", "-"], lines)
        seen = {machine: seen.get(machine, frozenset()) for machine in machines}
        seen |= await self._without(host, old_cables - cables, machines)
        laid = _unlaid(cables, seen)
        await _batch(host, ["ip", "-batch", "-"], self._laying(laid, seen))
        await host.put({memory: wanted or None})
        seen |= await self._seen({end.machine for cable in laid for end in (cable.a, cable.b)})
        if still := _unlaid(laid, seen):
            raise Failed(
                f"{host.name}: cables are gone as soon as they are laid: {', '.join(f'{c.a.machine}–{c.b.machine}' for c in still)}"
            )

    async def _seen(self, machines: Iterable[str]) -> dict[str, frozenset[str]]:
        return await _interfaces({machine: self.namespace(machine) for machine in machines})

    async def _without(self, host: Host, cables: Iterable[Cable], machines: frozenset[str]) -> dict[str, frozenset[str]]:
        """Take `cables` out; what those of `machines` that had an end have afterwards. The kernel removes the far end of a cable, and what
        was in a removed namespace, in its own time: an end may vanish before we come to it, and must have vanished before its name is used
        again."""
        pairs = [[end for end in (cable.a, cable.b) if end.machine in machines] for cable in cables]
        concerned = {end.machine for ends in pairs for end in ends}
        for tried in range(VANISHING_TRIES):
            seen = await self._seen(concerned)
            there = [left for ends in pairs if (left := [end for end in ends if end.interface in seen.get(end.machine, ())])]
            if not there:
                return seen
            nearer: dict[str, list[str]] = defaultdict(list)  # the far end of each goes with it
            for near, *_ in there:
                nearer[near.machine].append(f"link del {near.interface}")
            # Fails where one is just gone; and one machine's do not wait for another's.
            await asyncio.gather(*(self._unlay(host, machine, lines) for machine, lines in nearer.items()))
            if tried:  # mostly both ends are gone by now; only what was in a removed namespace takes its time
                await asyncio.sleep(0.01)
        raise Failed(f"cables do not come out: {', '.join(f'{end.machine} {end.interface}' for ends in there for end in ends)}")

    async def _unlay(self, host: Host, machine: str, lines: Sequence[str]) -> None:
        stdin = "".join(f"{line}\n" for line in lines).encode()
        await host.run(["ip", "-n", self.namespace(machine), "-force", "-batch", "-"], stdin=stdin, timeout_seconds=120)

    def _laying(self, cables: Sequence[Cable], seen: Mapping[str, frozenset[str]]) -> list[str]:
        lines = []
        for cable in cables:
            for end in (cable.a, cable.b):
                if end.interface in seen.get(end.machine, ()):  # a veth end without its other end cannot be: this one is foreign
                    raise Failed(
                        f"{end.machine} has an interface {end.interface} that is not the cable {cable.a.machine}–{cable.b.machine}"
                    )
            a, b = (
                f"{end.interface} netns {self.namespace(end.machine)} mtu {MTU_OCTETS}{f' address {end.mac}' if end.mac else ''}"
                for end in (cable.a, cable.b)
            )
            lines.append(f"link add {a} type veth peer name {b}")
        return lines


def neighbours(machines: Collection[str]) -> int:
    """How many entries the neighbour table of one address family needs for a lab of `machines`."""
    return NEIGHBOURS_PER_MACHINE * len(machines)


def too_low(tables: Iterable[Path], entries: int) -> list[Path]:
    """The limits that are lower than `entries`. In a network other than the machine's own they cannot be seen, and none is told."""
    limits = (table / limit for table in tables for limit in ("gc_thresh2", "gc_thresh3"))
    return [each for each in limits if each.exists() and int(each.read_text()) < entries]


def make_room(tables: Iterable[Path], entries: int) -> None:
    """Raise each limit that is lower than `entries`. Raises Failed when the kernel does not let us."""
    for limit in too_low(tables, entries):
        try:
            limit.write_text(f"{entries}\n")
        except OSError as error:
            raise Failed(f"{limit} must be {entries} at least for a lab of this size, and cannot be set: {error.strerror}") from None


def _unlaid(cables: Iterable[Cable], seen: Mapping[str, frozenset[str]]) -> list[Cable]:
    return [c for c in sorted(cables) if not all(e.interface in seen.get(e.machine, frozenset()) for e in (c.a, c.b))]


def _counted(verb: str, items: Sequence[str]) -> list[str]:
    if len(items) > 4:
        return [f"{verb}: {len(items)} of them ({', '.join(items[:3])} …)"]
    return [f"{verb} {item}" for item in items]


async def _batch(host: Host, argv: Sequence[str], lines: Sequence[str]) -> None:
    if not lines:
        return
    result = await host.run(argv, stdin="".join(f"{line}\n" for line in lines).encode(), timeout_seconds=120)
    if result.status:
        raise Failed(f"{host.name}: {' '.join(argv)}: {result.err.strip()[:500]}")


async def _interfaces(namespaces: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """machine → names of the interfaces in its namespace; a machine without namespace is left out."""

    def ask() -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        root = NAMESPACES.stat().st_dev if NAMESPACES.exists() else None
        for machine, namespace in namespaces.items():
            path = NAMESPACES / namespace
            if path.exists() and path.stat().st_dev != root:
                enter_namespace(namespace)
                found[machine] = frozenset(interface for _, interface in socket.if_nameindex())
        return found

    return await asyncio.to_thread(apart, ask)


def left_behind(prefix: str) -> list[Path]:
    """Namespaces that carry `prefix`, in case a state folder was lost while its lab ran."""
    return sorted(NAMESPACES.glob(f"{prefix}*")) if NAMESPACES.exists() else []
