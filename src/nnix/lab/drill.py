"""Drills: a failure is predicted, really made, measured, healed, measured again, and compared with what was predicted.

Two sorts of flows are measured. *Crossing* flows run between members' routers whose only shortest paths lead over what fails: for them
the outage is measured, when it fails and when it heals. One *witness* from each site to each other, between tunnel ends, tells which sites
reach one another while it lasts, and one between each two ends of a circuit, from customer to customer, which circuits still carry; both sets are
compared with those that the graph predicts.

That crossing flows do cross is not believed: the counters of the interfaces that fail are read before and after a second of traffic.

The drive lock is held throughout, so that no loop mends what is broken on purpose. Whatever happens, healing is the last thing done.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import combinations, cycle, islice
from typing import Any

from nnix.daemons.frr import FRR
from nnix.kernel.approval import Standing
from nnix.kernel.drive import World, converge
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact, Failed, Host, Unreachable
from nnix.lab.compile import circuit_addresses, end_machine
from nnix.lab.failures import Failure, Round, leftovers
from nnix.lab.foreign import Abroad, Foreign
from nnix.lab.kinds import Router
from nnix.lab.probe import Flow, Probe, Trace
from nnix.planes.fabric.compile import UNDERLAY
from nnix.planes.fabric.kinds import Circuit, EmergencyPlan, FailureSort, Link, Port, PortState
from nnix.planes.fabric.names import link_interface, switch_machine
from nnix.planes.fabric.prove.circuits import Circuits
from nnix.planes.fabric.prove.cuts import remains
from nnix.planes.fabric.prove.network import Failure as Cut
from nnix.planes.fabric.prove.network import Network, Part, network
from nnix.planes.members.kinds import Site
from nnix.planes.routing.kinds import RouteServer, Session

CROSSING = 16
RATE_PER_SECOND = 250
WITNESS_EVERY = 25
CROSSED_LEAST = 0.8
SETTLE_SECONDS = 1.5
BEFORE_SECONDS = 1.5
CONVERGED_SECONDS_MAX = 30.0
BFD_SECONDS_DRILLED = 0.05
Pair = tuple[str, str]
Ends = tuple[str, str, str]
"""a circuit, and two of its ends"""
Meeting = tuple[str, int]
"""a LAN, and the version of IP"""
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Measured:
    """One round: seconds without an arrival, the worst of the flows that should survive, when it failed and when it healed."""

    failing: float
    healing: float
    lost: int
    sent: int


@dataclass(frozen=True)
class Drilled:
    """What came out. `silent_before`: flows that had not worked before, and are not counted. `predicted`, `observed`: pairs of sites
    that do not reach one another; `circuits_…`: ends of circuits, of the `circuits_watched` pairs that there are. `sent`: packets a second that the crossing flows send, `crossed`: that were counted on what failed."""

    failure: Failure
    at: str
    flows: tuple[str, ...]
    silent_before: tuple[str, ...]
    rounds: tuple[Measured, ...]
    predicted: frozenset[Pair]
    observed: frozenset[Pair]
    circuits_watched: int
    circuits_predicted: frozenset[Ends]
    circuits_observed: frozenset[Ends]
    sent: float
    crossed: float | None
    took_seconds: float
    timeline: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    abroad: Foreign | None = None
    plan: EmergencyPlan | None = None
    approved: Standing | None = None

    @property
    def promised(self) -> tuple[float, float]:
        """Seconds without an arrival when it fails, and when it heals: the plan's where one is rehearsed."""
        failing, healing = self.failure.promised
        return (self.plan.restore_within.seconds, healing) if self.plan else (failing, healing)

    @property
    def failing(self) -> float:
        """The median of what failing cost, in seconds."""
        return statistics.median(each.failing for each in self.rounds)

    @property
    def healing(self) -> float:
        return statistics.median(each.healing for each in self.rounds)

    @property
    def agrees(self) -> bool:
        """Whether exactly those sites and ends of circuits lost one another that the graph said."""
        return self.predicted == self.observed and self.circuits_predicted == self.circuits_observed

    @property
    def measured(self) -> bool:
        """Whether there was something to measure: every flow that should cross what fails worked before, and was counted on it."""
        if self.silent_before:
            return False
        return self.crossed is None or not self.flows or self.crossed >= CROSSED_LEAST * self.sent

    @property
    def kept(self) -> bool:
        """Whether the promise of its sort was kept, as far as there was something to measure."""
        failing, healing = self.promised
        trusted = self.abroad is None or self.abroad.holds
        return self.measured and trusted and self.failing <= failing and self.healing <= healing

    def record(self) -> dict[str, object]:
        failing, healing = self.promised
        return {
            "plan": self.plan.id if self.plan else None,
            "plan_digest": self.approved.digest if self.approved else None,
            "approved_by": list(map(str, self.approved.given)) if self.approved else [],
            "approval_lacking": [each.contact for each in self.approved.lacking] if self.approved else [],
            "failure": self.failure.sort.value,
            "of": self.failure.of,
            "at": self.at,
            "flows": list(self.flows),
            "silent_before": list(self.silent_before),
            "rounds": [vars(each) for each in self.rounds],
            "failing_seconds_median": self.failing,
            "failing_seconds_promised": failing,
            "healing_seconds_median": self.healing,
            "healing_seconds_promised": healing,
            "measured": self.measured,
            "kept": self.kept,
            "predicted_unreachable": sorted(self.predicted),
            "observed_unreachable": sorted(self.observed),
            "circuit_ends_watched": self.circuits_watched,
            "circuit_ends_predicted_apart": sorted(self.circuits_predicted),
            "circuit_ends_observed_apart": sorted(self.circuits_observed),
            "agrees": self.agrees,
            "packets_per_second_sent": self.sent,
            "packets_per_second_over_it": self.crossed,
            "took_seconds": self.took_seconds,
            **({"abroad": self.abroad.record()} if self.abroad else {}),
        }


# -- what is predicted ---------------------------------------------------------------------------------------------


def unreachable(snapshot: Snapshot, failure: Failure) -> frozenset[Pair]:
    """Pairs of sites that do not reach one another while it lasts, by the declared graph."""
    net = network(snapshot)
    reach = _reach(net, failure)
    return frozenset((a, b) for a, b in combinations(sorted(site.name for site in net.sites), 2) if b not in reach[a])


def ends_apart(snapshot: Snapshot, failure: Failure) -> frozenset[Ends]:
    """Ends of circuits that do not reach one another while it lasts, by the declared graph.

    A site that only stopped routing goes on serving circuits between its own ports. What is pinned is routed by OSPFv3, so OSPF's daemon alone does
    not part it. Where bgpd dies, zebra forgets the far ends that it had heard of for groups of more than two, and takes the declared copies to
    them out of the kernel as well (FRR 8.4): until they are put back, an end there sends to no other site but those of which it heard nothing. That are
    sites where a cloud is handed the circuit by VNI: of the two tunnels on that bridge zebra takes the older one, the cloud's, for the one that MAC addresses
    are told of.
    """
    net = network(snapshot)
    circuits = Circuits(snapshot, net)
    dark = failure.sites if failure.sort is FailureSort.DARK else frozenset[str]()
    sites = sum(1 << index for index, site in enumerate(net.sites) if site.name in dark)

    def apart(without: frozenset[str]) -> frozenset[Ends]:
        links = sum(
            1 << index
            for index, link in enumerate(net.links)
            if link.name in failure.links or {str(link.a), str(link.b)} & (dark | without)
        )
        return circuits.ends_apart(remains(net, Cut(Part.LINK, "", sites, links)))

    mute = {site.name for site in net.sites if (switch_machine(snapshot, site), "bgpd") in failure.daemons}
    ports = {port.name: port for port in snapshot.of(Port)}

    def forgets(here: Port, there: Port, circuit: Circuit) -> bool:
        """Whether zebra at `here` loses bgpd, and had heard of the other site through it."""
        return here.site in mute and not any(ports[end].site == there.site and ports[end].vni is not None for end in circuit.ends)

    forgotten = [
        (circuits.all[each.circuit].name, *each.ends)
        for each in circuits.strands
        if len(circuits.all[each.circuit].ends) > 2
        and each.legs
        and any(forgets(ports[one], ports[other], circuits.all[each.circuit]) for one, other in (each.ends, each.ends[::-1]))
    ]
    pinned = {each.name for each in circuits.all if each.via}
    routed_v6 = frozenset[str]() if {daemon for _, daemon in failure.daemons} == {"ospfd"} else failure.sites
    return frozenset(
        [each for each in apart(failure.sites) if each[0] not in pinned]
        + [each for each in apart(routed_v6) if each[0] in pinned]
        + forgotten
    )


def _reach(net: Network, failure: Failure) -> dict[str, set[str]]:
    reached: dict[str, set[str]] = {}
    for start in net.sites:
        if start.name in failure.sites:
            reached[start.name] = set()
            continue
        found, queue = {start.name}, [net.number(start.name)]
        while queue:
            for there, link in net.around[queue.pop()]:
                name = net.sites[there].name
                if name not in found and name not in failure.sites and net.links[link].name not in failure.links:
                    found.add(name)
                    queue.append(there)
        reached[start.name] = found
    return reached


def crossing(snapshot: Snapshot, failure: Failure) -> frozenset[Pair]:
    """Pairs of surviving sites whose shortest paths all lead over what fails; all surviving pairs where nothing of the graph fails."""
    net = network(snapshot)
    names = [site.name for site in net.sites]
    whole, without = _distances(net, frozenset(), frozenset()), _distances(net, failure.links, failure.sites)
    alive = [name for name in names if name not in failure.sites]
    longer = (pair for pair in combinations(alive, 2) if whole[pair] < without.get(pair, float("inf")) < float("inf"))
    if failure.links or failure.sites:
        return frozenset(longer)
    return frozenset(combinations(alive, 2))


def _distances(net: Network, links: frozenset[str], sites: frozenset[str]) -> dict[Pair, float]:
    """The cost of the shortest path between any two sites, without these; those that do not reach one another are left out."""
    names = [site.name for site in net.sites if site.name not in sites]
    far: dict[Pair, float] = {(name, name): 0.0 for name in names}
    for (one, other), cost, link in zip(net.ends, net.costs, net.links, strict=True):
        x, y = net.sites[one].name, net.sites[other].name
        if link.name not in links and x not in sites and y not in sites:
            for pair in ((x, y), (y, x)):
                far[pair] = min(cost, far.get(pair, cost))
    for via in names:
        for a in names:
            if (first := far.get((a, via))) is not None:
                for b in names:
                    if (second := far.get((via, b))) is not None and first + second < far.get((a, b), float("inf")):
                        far[a, b] = first + second
    return far


# -- what is measured ----------------------------------------------------------------------------------------------


def flows_for(snapshot: Snapshot, failure: Failure, namespace: Callable[[str], str], count: int = CROSSING) -> list[Flow]:
    """Crossing flows between members, `count` of them (several over one pair where there are few), then the witnesses between sites and between
    the ends of circuits."""
    speakers = _speakers(snapshot, failure.own)
    pairs = sorted(crossing(snapshot, failure))
    able = [
        (a, b, here, there)
        for a, b in pairs
        for met in _met(speakers[a], speakers[b])
        for here, there in islice(zip(cycle(speakers[a][met]), cycle(speakers[b][met]), strict=False), max(len(speakers[a][met]), 2))
    ]
    place = {each: index for index, each in reversed(list(enumerate(able)))}  # where each stands first
    spread = sorted(able, key=lambda each: (place[each] % max(1, len(pairs)), each))
    chosen = list(islice(cycle(spread), count)) if spread else []
    flows = [
        Flow(f"{index}: {here[0]} ({a}) – {there[0]} ({b})", (namespace(here[0]), here[1]), (namespace(there[0]), there[1]))
        for index, (a, b, here, there) in enumerate(chosen, 1)
    ]
    ends = {site.name: str(site.vtep) for site in snapshot.of(Site) if isinstance(site.vtep, IPv4Address)}
    switch = {site.name: namespace(switch_machine(snapshot, site)) for site in snapshot.of(Site)}
    flows += [Flow(f"{a}~{b}", (switch[a], ends[a]), (switch[b], ends[b]), WITNESS_EVERY) for a, b in combinations(sorted(ends), 2)]
    return flows + list(circuit_witnesses(snapshot, namespace).values())


def circuit_witnesses(snapshot: Snapshot, namespace: Callable[[str], str]) -> dict[Ends, Flow]:
    """A flow between each two ends of a circuit in service, from the customer behind the one to the customer behind the other."""
    circuits = Circuits(snapshot, network(snapshot))
    found = {}
    for strand in circuits.strands:
        circuit = circuits.all[strand.circuit]
        addresses = circuit_addresses(circuit)
        one, other = ((namespace(end_machine(str(end), snapshot)), str(addresses[end][0].ip)) for end in strand.ends)
        found[circuit.name, *strand.ends] = Flow(f"{circuit.id}: {'~'.join(strand.ends)}", one, other, WITNESS_EVERY)
    return found


def _speakers(snapshot: Snapshot, without: str | None) -> dict[str, dict[Meeting, list[Pair]]]:
    """site → where they can be met → (machine, address) of members' routers and route servers that speak there as registered."""
    found: dict[str, dict[Meeting, list[Pair]]] = defaultdict(lambda: defaultdict(list))

    def speaks(machine: str, site: str, who: Session | RouteServer) -> None:
        for address in (who.v4, who.v6):
            if address is not None:
                found[site][str(who.lan), address.version].append((machine, str(address)))

    for router in snapshot.of(Router):
        session = snapshot.at(router.session)
        port = snapshot.at(session.port)
        if router.name != without and port.state is PortState.PRODUCTION and (router.mac is None or router.mac in session.macs):
            speaks(router.name, str(port.site), session)
    for server in snapshot.of(RouteServer):
        speaks(str(server.machine or server.name), str(server.site), server)
    return found


def _met(one: Iterable[Meeting], other: Iterable[Meeting]) -> set[Meeting]:
    """Where the speakers of two sites meet; on a LAN that has IPv4 at both, in IPv4 only."""
    both = set(one) & set(other)
    return {(lan, version) for lan, version in both if version == 4 or (lan, 4) not in both}


@dataclass
class Drill:
    """One drill on a running lab. `namespace`: machine → the name of its namespace. `told` gets a line for people for each thing done."""

    snapshot: Snapshot
    world: World
    artifacts: Mapping[Key, Artifact]
    namespace: Callable[[str], str]
    told: Callable[[str], None]

    async def run(
        self, failure: Failure, *, at: str, repeat: int = 1, rate_per_second: int = RATE_PER_SECOND, abroad: Abroad | None = None
    ) -> Drilled:
        """Rehearse `failure`, `repeat` times; `abroad` looks after trust meanwhile. Raises Failed when it cannot be made."""
        started = time.monotonic()
        if abroad is not None:
            await abroad.before()
        flows = flows_for(self.snapshot, failure, self.namespace)
        circuits = circuit_witnesses(self.snapshot, self.namespace)
        crossers = [flow.name for flow in flows if "~" not in flow.name]
        probe = Probe(flows, rate_per_second)
        windows: list[tuple[float, float, float]] = []
        async with self._measuring(probe) as traces:
            await self._converged()
            await self._answering([flow for flow in flows if flow.name in crossers] + list(circuits.values()))
            await asyncio.sleep(BEFORE_SECONDS)
            began = time.monotonic()
            before = await self._packets(failure)
            await asyncio.sleep(1.0)
            during = await self._packets(failure)
            counted = began, time.monotonic()
            for each in failure.rounds * repeat:
                failed = time.monotonic()
                try:
                    await self._make(failure, each)
                    await asyncio.sleep(SETTLE_SECONDS)
                    if abroad is not None:
                        await abroad.during()
                finally:  # also when the drill is stopped in between
                    healed = time.monotonic()
                    await asyncio.shield(self._heal(failure, each))
                await self._converged()
                await asyncio.sleep(SETTLE_SECONDS)
                windows.append((failed, healed, time.monotonic()))
                self.told(f"{failure.sort.value} {failure.of}: round {len(windows)} done")
        crossed = None if before is None or during is None else during - before
        begun = windows[0][0]
        silent = tuple(sorted({t.flow for t in traces if t.flow in crossers and _dead(t, begun - BEFORE_SECONDS, begun)}))
        alive = [t for t in traces if t.flow in crossers and t.flow not in silent]
        rounds = tuple(
            Measured(
                failing=max((t.outage(failed, healed) for t in alive), default=0.0),
                healing=max((t.outage(healed, after) for t in alive), default=0.0),
                lost=sum(t.lost(failed, after)[1] for t in alive),
                sent=sum(t.lost(failed, after)[0] for t in alive),
            )
            for failed, healed, after in windows
        )
        failed, healed, _ = windows[0]
        quiet = frozenset(t.flow for t in traces if "~" in t.flow and _dead(t, healed - 0.5, healed))
        ends = frozenset(each for each, flow in circuits.items() if flow.name in quiet)
        return Drilled(
            failure=failure,
            at=at,
            flows=tuple(name for name in crossers if name not in silent),
            silent_before=silent,
            rounds=rounds,
            predicted=unreachable(self.snapshot, failure),
            observed=frozenset(_pair(each) for each in quiet.difference(flow.name for flow in circuits.values())),
            circuits_watched=len(circuits),
            circuits_predicted=ends_apart(self.snapshot, failure),
            circuits_observed=ends,
            sent=float(sum(t.lost(*counted)[0] for t in alive)),
            crossed=crossed,
            took_seconds=time.monotonic() - started,
            timeline=_timeline(alive, failed),
            abroad=abroad.came if abroad else None,
        )

    @contextlib.asynccontextmanager
    async def _measuring(self, probe: Probe) -> AsyncIterator[list[Trace]]:
        """Traffic runs inside; the traces are there afterwards."""
        traces: list[Trace] = []
        process = await asyncio.create_subprocess_exec(
            *probe.command(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=1 << 28
        )
        try:
            if process.stdin is None or process.stdout is None:
                raise Failed("the probe cannot be spoken with")
            process.stdin.write(probe.order())
            await process.stdin.drain()
            if await process.stdout.readline() != b"ready\n":
                _, words = await process.communicate()
                raise Failed(f"the probe does not start: {words.decode(errors='replace').strip()[-300:]}")
            yield traces
            said, words = await process.communicate(b"stop\n")
            if process.returncode:
                raise Failed(f"the probe ended: {words.decode(errors='replace').strip()[-300:]}")
            traces.extend(probe.read(said))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _make(self, failure: Failure, each: Round) -> None:
        """Raises Failed when a part of it could not be made; all parts have been tried then."""
        await _all(self._shell(machine, lines) for machine, lines in each.make.items())
        await _all(self._shell(machine, self._killing(machine, daemon)) for machine, daemon in failure.daemons)

    async def _heal(self, failure: Failure, each: Round) -> None:
        """Raises Failed when a part of it could not be healed; all parts have been tried then."""
        await _all(self._shell(machine, lines) for machine, lines in each.heal.items())
        dead = {machine for machine, _ in failure.daemons}
        await self._put_right({key: a for key, a in self.artifacts.items() if key[0] in dead})

    async def _put_right(self, artifacts: Mapping[Key, Artifact]) -> None:
        came = await converge(self.world, artifacts)
        if wrong := [each for each in came if each.failure]:
            raise Failed(f"{'/'.join(wrong[0].key)}: {wrong[0].failure}")

    def _killing(self, machine: str, daemon: str) -> str:
        return f"kill -9 $(cat {self._frr(machine)}/{daemon}.pid)"

    def _hand(self, machine: str) -> Host:
        return self.world.machines.host(f"@{machine}")

    def _frr(self, machine: str) -> str:
        """The folder of the switch's FRR, as the machine itself has it, not its hand."""
        return self._hand(machine).home.replace(f"@{machine}", machine) + f"/{FRR.name}/{UNDERLAY}"

    async def _vtysh(self, machine: str, *words: str) -> str:
        told = " ".join(f"-c '{each}'" for each in words)
        return await self._shell(machine, f"cd {self._frr(machine)} && vtysh --vty_socket . --config_dir . {told}")

    async def _shell(self, machine: str, lines: str) -> str:
        result = await self._hand(machine).run(["sh", "-e"], stdin=lines.encode())
        if result.status:
            raise Failed(f"{machine}: {result.err.strip() or f'status {result.status}'}")
        return result.out

    async def heal(self) -> None:
        """Take back what a drill that was killed has left, and let the drivers put everything right."""
        room = self.world.room()

        async def one(machine: str, lines: str) -> None:
            async with room(machine):
                with contextlib.suppress(Unreachable):
                    await self._shell(machine, lines)

        await asyncio.gather(*(one(machine, lines) for machine, lines in leftovers(self.snapshot).items()))
        await self._put_right(self.artifacts)

    async def _converged(self) -> None:
        """Wait until every switch is adjacent over each of its links. Raises Failed after a while, naming one that is not."""
        deadline = time.monotonic() + CONVERGED_SECONDS_MAX
        wanted: dict[str, int] = defaultdict(int)
        for link in self.snapshot.of(Link):
            if link.a != link.b:
                for end in (link.a, link.b):
                    wanted[switch_machine(self.snapshot, self.snapshot.at(end))] += 1
        while late := [machine for machine, count in wanted.items() if await self._adjacent(machine) < count]:
            if time.monotonic() > deadline:
                raise Failed(f"{late[0]} has not found its neighbours again within {CONVERGED_SECONDS_MAX:g} s")
            await asyncio.sleep(0.2)

    async def _answering(self, flows: Iterable[Flow]) -> None:
        """Wait until both ends of every flow know one another; who does not after a while is reported as silent before."""
        pairs = {(flow.source[0].removeprefix(self.namespace("")), flow.target[1]) for flow in flows}
        deadline = time.monotonic() + CONVERGED_SECONDS_MAX

        async def answers(machine: str, address: str) -> bool:
            return (await self._hand(machine).run(["ping", "-n", "-q", "-c", "1", "-W", "1", address])).status == 0

        while pairs and time.monotonic() < deadline:
            asked = sorted(pairs)
            answered = await asyncio.gather(*(answers(*pair) for pair in asked))
            pairs -= {pair for pair, ok in zip(asked, answered, strict=True) if ok}

    async def _adjacent(self, machine: str) -> int:
        return (await self._vtysh(machine, "show ip ospf neighbor")).count("Full")

    async def _packets(self, failure: Failure) -> float | None:
        """Packets sent so far over the links that fail, both ways together."""
        total = 0.0
        if not failure.links:
            return None
        for link in self.snapshot.of(Link):
            if link.name in failure.links:
                for end in (link.a, link.b):
                    interface = link_interface(link, end)
                    shown = await self._shell(switch_machine(self.snapshot, self.snapshot.at(end)), f"ip -j -s link show dev {interface}")
                    total += json.loads(shown)[0]["stats64"]["tx"]["packets"]
        return total

    @contextlib.asynccontextmanager
    async def quicker(self, bfd_seconds: float = BFD_SECONDS_DRILLED) -> AsyncIterator[None]:
        """BFD at the drill's pace on every link; back to what is declared afterwards."""
        try:
            await self._pace(round(bfd_seconds * 1000))
            yield
        finally:
            await self._pace()

    async def _pace(self, drilled: int | None = None) -> None:
        """Let every link be heard every `drilled` milliseconds, or as it is declared. A switch is told of its own links' profiles only: another one would stay there."""
        told: dict[str, set[int]] = defaultdict(set)
        for link in self.snapshot.of(Link):
            for end in (link.a, link.b):
                told[switch_machine(self.snapshot, self.snapshot.at(end))].add(int(link.bfd) // 1000)

        def words(declared: Iterable[int]) -> Iterator[str]:
            yield from ("conf t", "bfd")
            for each in sorted(declared):
                pace = each if drilled is None else drilled
                yield from (f"profile every-{each}-ms", f"transmit-interval {pace}", f"receive-interval {pace}", "exit")

        await asyncio.gather(*(self._vtysh(machine, *words(declared)) for machine, declared in told.items()))


async def _all(work: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Everything to its end, whatever fails; then the first failure, if any."""
    for came in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(came, BaseException):
            raise came


def _pair(name: str) -> Pair:
    a, _, b = name.partition("~")
    return a, b


def _dead(trace: Trace, since: float, until: float) -> bool:
    sent, lost = trace.lost(since, until)
    return sent > 0 and sent == lost


def _timeline(traces: Sequence[Trace], zero: float) -> dict[str, tuple[tuple[float, float], ...]]:
    """flow → (seconds since the failure, share that arrived), in steps of 20 ms, the worse of both directions."""
    lines: dict[str, tuple[tuple[float, float], ...]] = {}
    for flow, group in _by_flow(traces):
        steps: dict[int, list[bool]] = defaultdict(list)
        for trace in group:
            for at, ok in zip(trace.sent, trace.arrived, strict=True):
                if -0.5 <= at - zero <= 2 * SETTLE_SECONDS:
                    steps[int((at - zero) * 50)].append(ok)
        lines[flow] = tuple((step / 50, sum(oks) / len(oks)) for step, oks in sorted(steps.items()))
    return lines


def _by_flow(traces: Iterable[Trace]) -> Iterator[tuple[str, list[Trace]]]:
    groups: dict[str, list[Trace]] = defaultdict(list)
    for each in traces:
        groups[each.flow].append(each)
    yield from groups.items()
