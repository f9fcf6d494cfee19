"""Latency: a frame leaves a link's interface as much later as the link's declared one-way latency says.

Each end delays what it sends by the whole of it, so a ping over a link comes back after twice the latency. `netem` (tc-netem(8)) holds the
frames. It stands below the token bucket that iproute keeps for the capacity, and a queue as long as the bucket's own stands below netem:

    tbf (iproute's)  ←  bfifo: what came faster than the link carries  ←  netem: frames on their way

Without that queue the excess would wait in netem, which counts frames and not octets: either a full line of small frames would be dropped
before they have travelled, or large ones would wait for seconds. A bucket that changes its rate keeps what is below it; one that is made
anew has lost it, and it is put back. The root is never touched: it belongs to iproute.

Not every kernel has netem. That is found out once for each host by trying it on `lo`; where it fails, nothing can be different and nothing
is driven, and read.py says so. What we put there is remembered in `latency/<name>`, wider before the kernel is touched and exact
afterwards, so that a kill at any point leaves nothing unknown.

Pitfall kept here: a bucket whose queue is deleted drops every frame. Telling the bucket its own parameters again makes it a new queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, ValidationError

from nnix.daemons.capability import Capability
from nnix.daemons.iproute.facts import Shaper
from nnix.kernel.resource import Record
from nnix.kernel.world import Failed, Host, Step

FRAME_OCTETS_MIN = 64  # IEEE 802.3, 3.2.7
FRAMES_SPARE = 1000  # netem's own default; a frame is there a little longer than it must be
NUMBER_MAX = 2**32 - 1  # struct tc_netem_qopt and tc_fifo_qopt count in 32 bits
NETEM, QUEUE, STOPGAP = "2:", "3:", "4:"  # handles of our own, below those that the kernel gives (8000: and up)

Row = Mapping[str, Any]
"""one qdisc as `tc -j qdisc show` prints it"""


class Delay(Record):
    """What leaves through the interface of `shaper` is `microseconds` on its way."""

    shaper: Shaper
    microseconds: int = Field(ge=1)

    @property
    def dev(self) -> str:
        return self.shaper.dev

    @property
    def frames_max(self) -> int:
        """Room in netem for all frames that can be on their way, were they the smallest."""
        octets = self.shaper.rate_bits_per_second * self.microseconds // (8 * 10**6)
        return min(octets // FRAME_OCTETS_MIN + FRAMES_SPARE, NUMBER_MAX)

    @property
    def queue_octets_max(self) -> int:
        """As much as the bucket lets wait where nothing is delayed (tc-tbf(8), latency)."""
        waiting = self.shaper.rate_bits_per_second * self.shaper.latency_microseconds // (8 * 10**6)
        return min(waiting + self.shaper.burst_octets, NUMBER_MAX)


def encode(delays: Iterable[Delay]) -> bytes:
    """The artifact: one JSON object a line, by interface."""
    lines = [json.dumps(each.model_dump(mode="json"), sort_keys=True) for each in sorted(delays, key=lambda each: each.dev)]
    return "".join(f"{line}\n" for line in lines).encode()


def decode(content: bytes | None) -> dict[str, Delay]:
    """Interface → its delay. Raises ValueError naming the line."""
    found: dict[str, Delay] = {}
    for number, line in enumerate((content or b"").decode().splitlines(), start=1):
        try:
            delay = Delay.model_validate_json(line)
        except ValidationError as error:
            words = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise ValueError(f"line {number}: {words}") from None
        if found.setdefault(delay.dev, delay) is not delay:
            raise ValueError(f"line {number}: {delay.dev} is delayed twice")
    return found


def missing(delay: Delay, rows: Sequence[Row]) -> str:
    """In words, how the interface falls short of `delay`; empty when it does not. `rows` are of all interfaces. Pure."""
    root = _root(delay.dev, rows)
    if root is None:
        return f"interface {delay.dev} is not there"
    netem = _netem(delay.dev, rows)
    if netem is None:
        return f"{delay.dev} does not delay"
    options = netem["options"]
    seen = options.get("delay", {})
    microseconds = seen.get("delay", 0) * 1e6
    if abs(microseconds - delay.microseconds) > max(1, delay.microseconds / 10**5):  # tc prints six digits
        return f"{delay.dev} delays by {microseconds:g} µs, not by {delay.microseconds}"
    more = sorted(options.keys() - {"limit", "delay", "ecn", "gap", "seed"}) + (["jitter"] if seen.get("jitter") else [])
    if more:
        return f"{delay.dev} does more than delay: {', '.join(more)}"
    if options["limit"] != delay.frames_max:
        return f"{delay.dev} holds {options['limit']} frames, not {delay.frames_max}"
    queues = (row for row in rows if row["dev"] == delay.dev and row.get("parent") == f"{netem['handle']}1" and row["kind"] == "bfifo")
    queue = next(queues, None)
    if queue is None or queue["options"]["limit"] != delay.queue_octets_max:
        return f"the queue behind the delay of {delay.dev} is {'missing' if queue is None else 'not as long as that of its shaper'}"
    return ""


def way(wanted: Mapping[str, Delay], before: Mapping[str, Delay], rows: Sequence[Row]) -> list[str]:
    """Lines for tc that make `rows` into `wanted`, where `before` was ours. Pure; empty when they agree and nothing has to go."""
    lines = []
    for dev in sorted(before.keys() - wanted.keys()):
        netem, root = _netem(dev, rows), _root(dev, rows)
        if netem is not None:
            lines.append(f"qdisc delete dev {dev} {_place(dev, rows)}")
        if root is not None and root["kind"] == "tbf":  # also when the delay is gone: we may have been killed just here
            shaper = before[dev].shaper
            lines.append(
                f"qdisc change dev {dev} root tbf rate {shaper.rate_bits_per_second}bit"
                f" burst {shaper.burst_octets} latency {shaper.latency_microseconds}us"
            )
    for dev, delay in sorted(wanted.items()):
        if missing(delay, rows):
            if _netem(dev, rows) is not None:  # changed where it stands, netem would keep what somebody else has told it
                lines.append(f"qdisc replace dev {dev} {_place(dev, rows)} handle {STOPGAP} bfifo limit {delay.queue_octets_max}")
            lines.append(
                f"qdisc replace dev {dev} {_place(dev, rows)} handle {NETEM} netem limit {delay.frames_max} delay {delay.microseconds}us"
            )
            lines.append(f"qdisc replace dev {dev} parent {NETEM}1 handle {QUEUE} bfifo limit {delay.queue_octets_max}")
    return lines


def _root(dev: str, rows: Sequence[Row]) -> Row | None:
    return next((row for row in rows if row["dev"] == dev and row.get("root")), None)


def _place(dev: str, rows: Sequence[Row]) -> str:
    """Where a delay stands, as tc names it: below the bucket, or at the root where there is none."""
    root = _root(dev, rows)
    return f"parent {root['handle']}1" if root is not None and root["kind"] == "tbf" else "root"


def _netem(dev: str, rows: Sequence[Row]) -> Row | None:
    place = _place(dev, rows)
    here = (row for row in rows if row["dev"] == dev and row["kind"] == "netem")
    return next((row for row in here if (row.get("root") if place == "root" else f"parent {row.get('parent')}" == place)), None)


def _netem_there() -> Capability:
    """Exclusivity: another process of ours is just trying it."""
    probe = b"tc qdisc add dev lo root netem && tc qdisc delete dev lo root\n"
    return Capability("netem", probe, missing="kind is unknown", there="Exclusivity flag on")


@dataclass(frozen=True)
class LatencyDriver:
    """Delays what leaves through links, where the kernel can; see the module."""

    name: str = "latency"
    netem: Capability = field(default_factory=_netem_there, repr=False, compare=False)

    async def possible(self, host: Host) -> bool:
        """Whether the kernel of `host` has netem. Raises Unreachable, Failed."""
        return await self.netem.possible(host)

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        before, after = decode(old), decode(new)
        said = [f"delay what leaves {dev} by {each.microseconds} µs" for dev, each in after.items() if before.get(dev) != each]
        said += [f"no longer delay what leaves {dev}" for dev in before if dev not in after]
        return tuple(Step(each) for each in said)

    async def check(self, host: Host, content: bytes) -> str:
        """Only the shape is checked: there is no daemon that could parse an artifact."""
        try:
            decode(content)
        except ValueError as error:
            return str(error)
        return ""

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        if not await self.possible(host):
            return {}
        kept = await host.get([_memory(name) for name in wanted])
        rows = await _rows(host)
        different = {}
        for name, content in wanted.items():
            delays, before = decode(content), decode(kept[_memory(name)])
            words = [said for each in delays.values() if (said := missing(each, rows))]
            words += [f"{dev} still delays" for dev in before.keys() - delays.keys() if _netem(dev, rows) is not None]
            if words:
                different[name] = "; ".join(words[:3]) + (f"; and {len(words) - 3} more" if len(words) > 3 else "")
        return different

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        memory = _memory(name)
        known = (await host.get([memory]))[memory]
        content = wanted if wanted and await self.possible(host) else None
        if known is None and content is None:
            return
        before, after = decode(known), decode(content)
        widened = encode({**before, **after}.values())
        if widened != known:
            await host.put({memory: widened})
        rows = await _rows(host)
        if lines := way(after, before, rows):
            result = await host.run(["tc", "-force", "-batch", "-"], stdin="".join(f"{line}\n" for line in lines).encode())
            if result.status:
                raise Failed(f"{host.name}: tc: {' '.join(result.err.split())[:500]}")
        if widened != content:
            await host.put({memory: content})


LATENCY = LatencyDriver()


def _memory(name: str) -> str:
    return f"latency/{name}"


async def _rows(host: Host) -> list[Row]:
    result = await host.run(["tc", "-j", "qdisc", "show"])
    if result.status:
        raise Failed(f"{host.name}: its queues cannot be read: {result.err.strip()}")
    rows: list[Row] = json.loads(result.out or "[]")
    return rows
