"""What became of gates, zones, nodes and resolvers: asked of the running daemons, and of the herald's own words.

A zone is as wanted when the gate has verified it and every node serves the gate's serial. What the gate refused last, and why, stands in its log
until a good version came.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnix.kernel.plane import Machines, Status
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed, Unreachable
from nnix.planes.naming.anchored import REVOKED, ds
from nnix.planes.naming.compile import machine_of
from nnix.planes.naming.kinds import NameGate, NameNode, Resolver, Zone
from nnix.planes.naming.unbound import followed_file

LOG_BYTES = 65536
TAKEN = ("zone updated", "zone is up-to-date")
VERDICTS = ("ZONEMD", "DNSSEC")
UNFETCHED = ("refresh", "zone event")
_VERDICT = re.compile(
    r"^(\S+) (?:error|warning|info): \[([^\]]+)\] (ZONEMD, .*|DNSSEC, .*|.*zone updated.*|.*zone is up-to-date.*|refresh, failed.*|.*zone event 'load' failed.*)$"
)


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """What a node's herald said; `trouble` where it could not be asked."""

    said: Mapping[str, Any]
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class GateSeen:
    """Serial of each zone at the gate, and what was refused last (origin → words)."""

    serials: Mapping[str, int]
    refused: Mapping[str, str]
    trouble: str = ""


async def read(snapshot: Snapshot, machines: Machines) -> Iterable[Status]:
    """A status for every gate, zone, node and resolver. A machine that cannot be asked makes statuses, not exceptions."""
    gates, nodes = snapshot.of(NameGate), snapshot.of(NameNode)
    at_gates = dict(zip((g.name for g in gates), await asyncio.gather(*(gate_seen(g, machines) for g in gates)), strict=True))
    at_nodes = dict(zip((n.name for n in nodes), await asyncio.gather(*(node_seen(n, machines) for n in nodes)), strict=True))
    resolvers = await asyncio.gather(*(_resolver(each, snapshot, machines) for each in snapshot.of(Resolver)))
    return (
        *(_gate(each, snapshot, at_gates[each.name]) for each in gates),
        *(_zone(each, snapshot, at_gates[each.gate], at_nodes) for each in snapshot.of(Zone)),
        *(_node(each, at_nodes[each.name]) for each in nodes),
        *resolvers,
    )


async def node_seen(node: NameNode, machines: Machines) -> NodeSeen:
    """What the herald of a node wrote last."""
    path = f"herald/{node.name}/state"
    try:
        content = (await machines.host(machine_of(node)).get([path]))[path]
        return NodeSeen(json.loads(content)) if content else NodeSeen({}, "its herald has not spoken yet")
    except (Unreachable, Failed, ValueError) as error:
        return NodeSeen({}, str(error))


async def gate_seen(gate: NameGate, machines: Machines) -> GateSeen:
    """What Knot says of its zones, and what its log says of those that it refused."""
    try:
        host = machines.host(machine_of(gate))
        place = f"{host.home}/knot/{gate.name}"
        result = await host.run(["sh", "-c", f'knotc -s "$0/knot.sock" zone-status; tail -c {LOG_BYTES} "$0/log" >&2', place])
        guard = (await host.get([path := f"guard/{gate.name}/state"]))[path]
    except (Unreachable, Failed) as error:
        return GateSeen({}, {}, str(error))
    if not result.out:
        return GateSeen({}, {}, "Knot does not answer")
    return GateSeen(serials(result.out), {**refusals(result.err), **guarded(guard or b"{}")})


def guarded(state: bytes) -> dict[str, str]:
    """origin → why the guard let its newest version not through. Pure."""
    try:
        return {str(origin): str(words) for origin, words in json.loads(state).get("refused", {}).items()}
    except (ValueError, AttributeError):
        return {}


def serials(said: str) -> dict[str, int]:
    """origin → serial, from `knotc zone-status`; zones without one are left out. Pure."""
    found = re.findall(r"^\[([^\]]+)\] role: \w+ \| serial: (\d+)", said, re.M)
    return {origin: int(serial) for origin, serial in found}


def refusals(log: str) -> dict[str, str]:
    """origin → why its newest version was refused, or could not be fetched; empty for zones whose newest is here. What was wrong with a version stands for as long as
    its fetching fails; of failures the newest. Pure."""
    found: dict[str, str] = {}
    for line in log.splitlines():
        if match := _VERDICT.match(line):
            origin, words = match[2], match[3]
            if "successful" in words:
                continue
            if any(each in words for each in TAKEN):
                found.pop(origin, None)
            elif words.startswith(VERDICTS) or not found.get(origin, "").startswith(VERDICTS):
                found[origin] = words
    return found


def _gate(gate: NameGate, snapshot: Snapshot, seen: GateSeen) -> Status:
    if seen.trouble:
        return Status(gate.id, "down", seen.trouble, good=False)
    zones = snapshot.where(Zone, gate=gate.name)
    return Status(gate.id, "running", facts={"zones": len(zones), "serials": dict(seen.serials)})


def _zone(zone: Zone, snapshot: Snapshot, gate: GateSeen, nodes: Mapping[str, NodeSeen]) -> Status:
    serial = gate.serials.get(zone.origin)
    refused = gate.refused.get(zone.origin, "")
    facts: dict[str, Any] = {"serial": serial, "refused": refused}
    if gate.trouble:
        return Status(zone.id, "unknown", f"{zone.gate.id}: {gate.trouble}", good=False, facts=facts)
    if serial is None:
        return Status(
            zone.id, "missing", f"the gate has no version that it could verify{f': {refused}' if refused else ''}", good=False, facts=facts
        )
    serving = snapshot.where(NameNode, gate=zone.gate)
    behind = [each.name for each in serving if _served(nodes[each.name], zone.origin) != serial]
    facts["served"] = f"{len(serving) - len(behind)} of {len(serving)}"
    if refused:
        why = "and no newer one can be fetched" if refused.startswith(UNFETCHED) else "since the newer one was refused"
        return Status(zone.id, "held", f"serial {serial} is kept, {why}: {refused}", good=False, facts=facts)
    if behind:
        return Status(zone.id, "spreading", f"serial {serial} is not yet at {', '.join(behind)}", good=False, facts=facts)
    return Status(zone.id, "served", facts=facts)


def _served(seen: NodeSeen, origin: str) -> int | None:
    found: int | None = seen.said.get("zones", {}).get(origin, {}).get("serial")
    return found


def _node(node: NameNode, seen: NodeSeen) -> Status:
    if seen.trouble:
        return Status(node.id, "unknown", seen.trouble, good=False)
    return Status(node.id, *_words(seen.said), good=seen.said["state"] == "in", facts=dict(seen.said))


def _words(said: Mapping[str, Any]) -> tuple[str, str]:
    wrong: Sequence[str] = said["wrong"]
    reason = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
    deaf = said.get("deaf", "")
    waits = (
        f"ill, and cannot know whether it is the last, since no route server is heard ({deaf})"
        if deaf
        else "ill, waits for its turn to withdraw"
    )
    return {
        "in": ("announced", reason),
        "ill": ("announced", f"{waits}: {reason}"),
        "last": ("announced", f"ill, but nobody else announces the prefix: {reason}"),
        "proving": ("proving", "healthy; announced as soon as it stays so"),
        "out": ("withdrawn", reason),
    }[said["state"]]


async def _resolver(resolver: Resolver, snapshot: Snapshot, machines: Machines) -> Status:
    zone = snapshot.at(resolver.root)
    try:
        host = machines.host(machine_of(resolver))
        argv = ["sh", "-c", 'cd "$0" && unbound-control -c unbound.conf list_auth_zones', f"{host.home}/unbound/{resolver.name}"]
        result = await host.run(argv)
        path = f"unbound/{resolver.name}/{followed_file(zone.anchors)}"
        keys = followed(((await host.get([path]))[path] or b"").decode(errors="replace")) if resolver.follow_anchors else {}
    except (Unreachable, Failed) as error:
        return Status(resolver.id, "unknown", str(error), good=False)
    if result.status != 0:
        return Status(resolver.id, "down", (result.err or result.out).strip(), good=False)
    found = re.search(r"^\.\s+serial (\d+)", result.out, re.M)
    if found is None:
        return Status(resolver.id, "fallback", f"no root zone of its own: {result.out.strip() or 'none'} ({zone.id})", good=False)
    facts: dict[str, Any] = {"root": int(found[1])} | ({"anchors": keys} if resolver.follow_anchors else {})
    if gone := sorted(each for each in zone.anchors if keys.get(each) in GONE):
        which = ", ".join(f"{each.split()[0]} ({keys[each]})" for each in gone)
        return Status(resolver.id, "resolving", f"take out of {zone.id} what its owner has withdrawn: {which}", good=False, facts=facts)
    new = sorted(each for each, state in keys.items() if state == "valid" and each not in zone.anchors)
    return Status(resolver.id, "resolving", f"trusted by RFC 5011, write into {zone.id}: {'; '.join(new)}" if new else "", facts=facts)


GONE = frozenset({"revoked", "missing", "removed"})
_FOLLOWED = re.compile(r"^(\S+)\s+\d+\s+IN\s+DNSKEY\s+(\d+) (\d+) (\d+) (\S+).*;;state=\d \[\s*(\w+)\s*\]", re.M)


def followed(text: str) -> dict[str, str]:
    """DS of each key that Unbound follows → its state (RFC 5011, 4.2): addpend, valid, missing, revoked, removed. A revoked key under the DS that
    it had before. Pure."""
    found = {}
    for origin, flags, protocol, algorithm, public, state in _FOLLOWED.findall(text):
        try:
            rdata = struct.pack("!HBB", int(flags) & ~REVOKED, int(protocol), int(algorithm)) + base64.b64decode(public, validate=True)
        except (ValueError, struct.error):
            continue
        found[ds(origin, rdata)] = state.lower()
    return found
