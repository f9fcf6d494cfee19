"""Who sends how much to whom: the matrix that links are loaded with.

Three sources, and the output says which one it was. Measured: a CSV file of ends and bits per second. Declared: the resources of kind
Traffic. Where there is neither, gravity: each member sends a given share of what it has bought, to the others in proportion to what they
have bought. Gravity is a guess that is right on average and wrong for every single pair.

A member with several ports splits its traffic over them by what it has bought on each; of what is lost, the others take over. So
the matrix between sites depends on which sites are lost, and `within` is asked for each case. Traffic whose end has no port left is lost.
Rates are bits per second; matrices are [to site, from site], numbered as in the network, and hold on their diagonal what stays at a site.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nnix.kernel.rule import Place, Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Port, PortState, Traffic, TrafficEnd
from nnix.planes.fabric.prove.network import Network, bits, private
from nnix.planes.members.kinds import Member, Site

Rates = NDArray[np.float64]
Shares = Mapping[int, float]  # site → its part of what an end sends or receives

COLUMNS = ("a", "b", "bits_per_second")
RATE_MAX = 10**18
NAMED_MAX = 20


class Matrix(Protocol):
    """Traffic between sites. `says`: where it comes from, in words. `offered`: all of it, in bit/s, whatever fails."""

    says: str
    offered: float

    def within(self, lost: int) -> Rates:
        """Traffic between the sites that are left when those in `lost` are; never below 0."""
        ...


@dataclass(frozen=True, slots=True)
class Flow:
    """Traffic from one end to another."""

    a: Shares
    b: Shares
    bits_per_second: float


class Flows:
    """A matrix of single flows: measured or declared."""

    def __init__(self, sites: int, flows: Iterable[Flow], says: str) -> None:
        self.says = says
        self._flows = tuple(flows)
        self.offered = sum(each.bits_per_second for each in self._flows)
        self._all = np.zeros((sites, sites))
        self._touching: dict[int, set[int]] = defaultdict(set)
        for index, flow in enumerate(self._flows):
            self._add(self._all, flow, 0, 1.0)
            for site in (*flow.a, *flow.b):
                self._touching[site].add(index)

    def within(self, lost: int) -> Rates:
        found = self._all.copy()
        for index in sorted(set[int]().union(*(self._touching[site] for site in bits(lost)))):
            self._add(found, self._flows[index], 0, -1.0)
            self._add(found, self._flows[index], lost, 1.0)
        return np.maximum(found, 0.0)

    @staticmethod
    def _add(matrix: Rates, flow: Flow, lost: int, sign: float) -> None:
        a, b = left(flow.a, lost), left(flow.b, lost)
        for here, part in a.items():
            for there, share in b.items():
                matrix[there, here] += sign * flow.bits_per_second * part * share


class Gravity:
    """Every member sends `factor` times what it has bought: T(i, j) = factor · c(i) · c(j) / (all others' c).

    Between sites that is a product of two vectors, less what members would send to themselves.
    """

    def __init__(self, sites: int, bought: Mapping[str, Shares], factor: float) -> None:
        """`bought`: member → site → bits per second. factor: 0 to 1."""
        self.says = f"gravity: each member sends {factor:g} times what its ports have bought, to the others in proportion to theirs"
        ends = [shares for _, shares in sorted(bought.items())]
        sizes = [sum(shares.values()) for shares in ends]
        whole = sum(sizes)
        sends = [factor * size / (whole - size) if whole > size else 0.0 for size in sizes]
        self.offered = sum(send * (whole - size) for send, size in zip(sends, sizes, strict=True))
        self._sites, self._sends, self._sizes = sites, np.array(sends), np.array(sizes, dtype=np.float64)
        # one entry for each member at each of its sites, and one couple for each two entries of a member, itself with itself among them
        self._site = np.array([site for shares in ends for site in shares], dtype=np.intp)
        # where nothing is bought, all sites are equal
        self._speed = np.array([speed if size else 1.0 for shares, size in zip(ends, sizes, strict=True) for speed in shares.values()])
        self._first = np.cumsum([0, *map(len, ends)])
        self._entries = [np.arange(self._first[member], self._first[member + 1]) for member in range(len(ends))]
        self._couples = [np.array([(one, other) for one in each for other in each]).reshape(-1, 2) for each in self._entries]
        self._members_at: dict[int, list[int]] = defaultdict(list)
        for member, shares in enumerate(ends):
            if len(shares) > 1:  # of the others nothing is left but in rows and columns of lost sites
                for site in shares:
                    self._members_at[site].append(member)
        self._nowhere = np.zeros(sites, dtype=bool)
        self._out, self._in, self._self = np.zeros(sites), np.zeros(sites), np.zeros((sites, sites))
        self._add(self._out, self._in, self._self, range(len(ends)), self._nowhere, 1.0)

    def within(self, lost: int) -> Rates:
        gone = self._nowhere.copy()
        gone[list(bits(lost))] = True
        out, into, itself = self._out.copy(), self._in.copy(), self._self.copy()
        moving = sorted(set[int]().union(*(self._members_at.get(site, ()) for site in bits(lost))))
        self._add(out, into, itself, moving, self._nowhere, -1.0)
        self._add(out, into, itself, moving, gone, 1.0)
        found: Rates = np.outer(into, out) - itself
        found[gone, :] = 0.0
        found[:, gone] = 0.0
        return np.maximum(found, 0.0, out=found)

    def _add(self, out: Rates, into: Rates, itself: Rates, members: Sequence[int], gone: NDArray[np.bool_], sign: float) -> None:
        """Add what `members` send, get and would send to themselves, with the sites in `gone` lost."""
        if not members:
            return
        entries = np.concatenate([self._entries[member] for member in members])
        couples = np.concatenate([self._couples[member] for member in members])
        chosen = np.array(members, dtype=np.intp)
        counts = self._first[chosen + 1] - self._first[chosen]
        # from here on entries and members are numbered among those chosen, since few of many move at a time
        member, site = np.repeat(np.arange(len(chosen)), counts), self._site[entries]
        speed = np.where(gone[site], 0.0, self._speed[entries])
        whole = np.bincount(member, speed, minlength=len(chosen))
        kept = np.bincount(member, ~gone[site], minlength=len(chosen))
        # where only sites with nothing bought are left, they are equal
        none = (whole == 0) & (kept > 0)
        speed = np.where(none[member] & ~gone[site], 1.0, speed)
        whole = np.where(none, kept, np.where(whole == 0, 1.0, whole))
        part = speed / whole[member]
        sends, sizes = self._sends[chosen], self._sizes[chosen]
        np.add.at(out, site, sign * sends[member] * part)
        np.add.at(into, site, sign * sizes[member] * part)
        owner = np.repeat(np.arange(len(chosen)), counts**2)
        one, other = (couples - (self._first[chosen] - (np.cumsum(counts) - counts))[owner, None]).T
        amount = sign * (sends * sizes)[owner] * part[one] * part[other]
        np.add.at(itself, (site[other], site[one]), amount)


def left(shares: Shares, lost: int) -> Shares:
    """The parts of the sites that are not in `lost`, summing to 1; empty when none is left. Where all are 0, they are equal."""
    kept = {site: share for site, share in shares.items() if not lost >> site & 1}
    whole = sum(kept.values())
    return {site: share / whole if whole else 1 / len(kept) for site, share in kept.items()}


def bought(snapshot: Snapshot, net: Network) -> dict[str, dict[int, float]]:
    """member → site → bits per second bought there, on ports in production that are free for LANs."""
    number = {site.name: index for index, site in enumerate(net.sites)}
    found: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    elsewhere = private(snapshot)
    for port in snapshot.of(Port):
        if port.state is PortState.PRODUCTION and port.site in number and port.name not in elsewhere:
            found[port.member][number[port.site]] += int(port.speed if port.committed is None else port.committed)
    return {member: dict(sites) for member, sites in found.items()}


def matrix(snapshot: Snapshot, net: Network, factor: float) -> Matrix:
    """The declared matrix, or gravity with `factor` where none is declared."""
    declared = snapshot.of(Traffic)
    ports = bought(snapshot, net)
    if not declared:
        return Gravity(len(net.sites), ports, factor)
    number = {site.name: index for index, site in enumerate(net.sites)}

    def shares(end: TrafficEnd) -> Shares:
        return {number[end.site]: 1.0} if end.site is not None else ports.get(str(end.member), {})

    flows = [
        Flow(shares(one), shares(other), float(rate))
        for each in declared
        for one, other, rate in ((each.a, each.b, each.a_to_b), (each.b, each.a, each.b_to_a))
        if rate is not None
    ]
    return Flows(len(net.sites), flows, f"declared: {len(declared)} resources of kind Traffic")


def measured(text: bytes, file: str, snapshot: Snapshot, net: Network) -> Matrix:
    """The matrix of a CSV file: a header `a,b,bits_per_second`, then one line a flow; ends are `site/NAME` or `member/NAME`.

    Raises Refused with the lines that cannot be used, the first 20 of them.
    """
    number = {site.name: index for index, site in enumerate(net.sites)}
    ports = bought(snapshot, net)
    refusals: list[Refusal] = []
    flows: list[Flow] = []

    def refuse(line: int, field: str, found: str, accept: str) -> None:
        refusals.append(Refusal(file, field, found, accept, "fabric.matrix-file", "docs/survival.md", place=Place(file, line)))

    def shares(line: int, field: str, name: str) -> Shares:
        kind, _, word = name.strip().partition("/")
        if kind == Site.slug() and word in number:
            return {number[word]: 1.0}
        if kind == Member.slug() and snapshot.get(Member, word) is not None:
            if word in ports:
                return ports[word]
            refuse(line, field, f"{name} has no port in production", "a member that can send and receive")
        else:
            refuse(line, field, repr(name), "site/NAME or member/NAME of the exchange, as `nnix get site` and `nnix get member` list them")
        return {}

    try:
        rows = list(_rows(text.decode("utf-8-sig")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused([Refusal(file, "", f"is no CSV: {error}", "UTF-8 text, comma-separated", "fabric.matrix-file")]) from None
    if not rows or tuple(cell.strip() for cell in rows[0][1]) != COLUMNS:
        refuse(1, "", f"the first line is {','.join(rows[0][1]) if rows else 'missing'}", ",".join(COLUMNS))
        raise Refused(refusals)
    for line, row in rows[1:]:
        if len(row) != len(COLUMNS):
            refuse(line, "", f"{len(row)} columns", "three: " + ", ".join(COLUMNS))
            continue
        try:
            rate = float(row[2])
        except ValueError:
            rate = -1.0
        if not 0 <= rate <= RATE_MAX:
            refuse(line, "bits_per_second", row[2], "a number of bits per second, 0 or more, like 20000000000")
        ends = shares(line, "a", row[0]), shares(line, "b", row[1])
        flows.append(Flow(*ends, rate))
    if refusals:
        raise Refused(refusals[:NAMED_MAX])
    return Flows(len(net.sites), flows, f"measured: {len(flows)} flows of {file}")


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells), without empty lines."""
    reader = csv.reader(io.StringIO(text), strict=True)
    for row in reader:
        if row:
            yield reader.line_num, row
