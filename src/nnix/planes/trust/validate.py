"""One validation: the mirror as it was, two validators over it, the gate, local exceptions; and the record from which it can be repeated.

    take in the mirror → lay it out → rpki-client ∥ FORT → gate → SLURM → the document that is served

A run is made of an *order*: everything that its result depends on but the validators themselves, by digest or in full. Orders are kept in the archive and named in
the ledger, so that `nnix trust at TIME` carries out the order that was newest then, with the clock set back, and comes to the same digest.

The validators must run on the computer where the archive is, since the mirror is laid out as hard links: `host` is that computer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nnix.daemons import fort, rpki_client
from nnix.daemons.validator import Left, ran
from nnix.kernel.world import Failed, Host
from nnix.planes.trust import slurm, tal
from nnix.planes.trust.archive import Archive, Lost
from nnix.planes.trust.gate import READS, Accepted, Content, Contest, Outcome, Standing, Verdict, judged
from nnix.planes.trust.kinds import LocalException, TrustAnchor
from nnix.planes.trust.objects import Words, aspas_said, router_keys_said, saying
from nnix.planes.trust.outputs import Unreadable, from_fort, from_rpki_client, served
from nnix.planes.trust.payloads import Damaged, Payloads

CONTESTS_NAMED_MAX = 200
Json = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """What shall be validated. `exceptions` are those that are approved; `index` is the mirror in the archive; `tals` and `before` are by anchor; `at` is the time that counts."""

    anchors: tuple[TrustAnchor, ...]
    exceptions: tuple[LocalException, ...]
    tals: Mapping[str, bytes]
    index: str
    at: datetime
    seconds_max: int
    before: Mapping[str, Accepted]
    let_go: frozenset[str] = frozenset()

    @property
    def now(self) -> int:
        return int(self.at.timestamp())

    def kept(self, archive: Archive) -> str:
        """Its digest, after it was stored with all that it names."""
        record = {
            "anchors": [each.record() for each in self.anchors],
            "exceptions": [each.record() for each in self.exceptions],
            "tals": {name: archive.keep(content) for name, content in self.tals.items()},
            "index": self.index,
            "at": self.at.astimezone(UTC).isoformat(),
            "seconds_max": self.seconds_max,
            "before": {name: kept_accepted(archive, each) for name, each in self.before.items()},
            "let_go": sorted(self.let_go),
        }
        return archive.keep(json.dumps(record, sort_keys=True).encode())

    @classmethod
    def of(cls, archive: Archive, digest: str) -> Order:
        """An order that was kept. Raises Lost."""
        record = json.loads(archive.get(digest))
        return cls(
            tuple(TrustAnchor.recorded(each) for each in record["anchors"]),
            tuple(LocalException.recorded(each) for each in record["exceptions"]),
            {name: archive.get(content) for name, content in record["tals"].items()},
            record["index"],
            datetime.fromisoformat(record["at"]),
            record["seconds_max"],
            {name: accepted(archive, each) for name, each in record["before"].items()},
            frozenset(record["let_go"]),
        )


def kept_accepted(archive: Archive, each: Accepted) -> Json:
    """What was accepted below an anchor, as a record that names its bytes."""
    return {
        "vrps": archive.keep(Payloads(each.rows).content),
        "expires": archive.keep(each.expires.astype(">i8").tobytes()),
        "count": len(each.rows),
        "standing": each.standing.value,
        "why": each.why,
    }


def accepted(archive: Archive, record: Json) -> Accepted:
    """The reverse of kept_accepted. Raises Lost."""
    try:
        rows = Payloads.of(archive.get(record["vrps"])).vrps
    except Damaged as error:
        raise Lost(str(error)) from None
    expires = np.frombuffer(archive.get(record["expires"]), dtype=">i8").astype(np.int64)
    return Accepted(rows, expires, Standing(record["standing"]), record["why"])


@dataclass(frozen=True)
class Validated:
    """What came of an order. `payloads` are served, as `document`; `versions` are the validators'. `named`: findings with objects and words."""

    outcome: Outcome
    payloads: Payloads
    document: bytes
    versions: Mapping[str, str]
    vrps: Mapping[str, Mapping[str, int]]
    findings: tuple[str, ...]
    exceptions: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether there is something to serve: what was validated, and what local exceptions leave of it."""
        return self.outcome.sound and not self.payloads.empty

    def record(self, archive: Archive) -> Json:
        """For the ledger."""
        return {
            "digest": archive.keep(self.payloads.content),
            "document": hashlib.sha256(self.document).hexdigest(),
            "vrps": len(self.payloads),
            "aspas": len(self.payloads.aspas),
            "router_keys": len(self.payloads.router_keys),
            "validators": {
                name: {"version": number, "fault": self.outcome.dead.get(name, ""), "vrps": dict(self.vrps.get(name, {}))}
                for name, number in self.versions.items()
            },
            "anchors": {name: kept_accepted(archive, each) for name, each in self.outcome.anchors.items()},
            "contested": len(self.outcome.contests),
            "withheld": self.outcome.withheld,
            "findings": archive.keep(json.dumps([*self.findings, *self.exceptions], ensure_ascii=False).encode()),
        }


class Nothing(Failed):
    """Nothing can be served: no validator found anything, and nothing was accepted before. The message says why."""


async def validated(order: Order, archive: Archive, host: Host, name: str, *, set_clock: bool) -> Validated:
    """Carry out an order in the folder `name` of `host`. With `set_clock` nothing is left there; else the tree is kept, so that the next run has only
    to bring it up to date. Raises Lost, Unreachable, Failed, tal.Unreadable."""
    tals = {anchor.name: tal.read(order.tals[anchor.name]) for anchor in order.anchors}
    run, folder = f"{name}/run", Path(host.home) / name
    await host.put({name if set_clock else run: None})
    (folder / "run").mkdir(parents=True, mode=0o755)
    try:
        await asyncio.to_thread(archive.lay_out, order.index, folder / "tree")
        await host.put({f"{run}/tals/{anchor}.tal": each.written() for anchor, each in tals.items()}, mode=0o644)
        (folder / "run/tals").chmod(0o755)
        verdicts, versions, logs = await _both(order, tals, host, name, order.at if set_clock else None)
    finally:
        await host.put({name if set_clock else run: None})
    content = await asyncio.to_thread(_content, verdicts, archive, order.index)
    outcome = judged(order.anchors, verdicts, order.before, order.now, order.let_go, content)
    if not set_clock and any(each.standing is Standing.HELD for each in outcome.anchors.values()):
        await asyncio.to_thread(archive.examined, order.index, folder / "tree")  # a loss is not told as the CAs' when it is the disk's
    payloads, did = slurm.applied(outcome.served, slurm.in_force(order.exceptions, order.at))
    findings = await asyncio.to_thread(_with_objects, outcome, logs, archive, order.index)
    counts = {each.validator: {a: len(f) for a, f in each.concluded.anchors.items()} for each in verdicts if each.concluded}
    return Validated(outcome, payloads, served(payloads, order.at), versions, counts, findings, did)


async def _both(
    order: Order, tals: Mapping[str, tal.Tal], host: Host, name: str, at: datetime | None
) -> tuple[list[Verdict], dict[str, str], dict[str, str]]:
    """Both validators at once; (verdicts, versions, logs)."""
    results = await asyncio.gather(_rpki_client(order, tals, host, name, at), _fort(order, host, name, at))
    return [each[0] for each in results], {each[0].validator: each[1] for each in results}, {each[0].validator: each[2] for each in results}


def _reads(lacks: Mapping[str, str]) -> frozenset[str]:
    return frozenset(READS) - frozenset(lacks)


async def _rpki_client(order: Order, tals: Mapping[str, tal.Tal], host: Host, name: str, at: datetime | None) -> tuple[Verdict, str, str]:
    who = "rpki-client"
    try:
        number = await rpki_client.found(host)
    except Failed as absent:
        return Verdict(who, None, str(absent)), "", ""
    tree = Path(host.home) / name / "tree"
    certificates = {anchor: next((path for path in each.paths if (tree / path).is_file()), "") for anchor, each in tals.items()}
    present = {anchor: path for anchor, path in certificates.items() if path}
    run = rpki_client.run("../../tree", {anchor: f"../tals/{anchor}.tal" for anchor in present}, present, order.seconds_max, number, at)
    folder = f"{name}/run/{who}"
    (Path(host.home) / folder).mkdir(mode=0o755)
    left = await ran(host, run, folder, at=at, timeout_seconds=order.seconds_max)
    reads = _reads(rpki_client.lacks(number))
    if left.fault:
        return Verdict(who, None, left.fault, reads), number, left.log
    try:
        found = from_rpki_client(left.files[rpki_client.CSV], left.files[rpki_client.JSON])
    except Unreadable as error:
        return Verdict(who, None, f"its output cannot be read: {error}", reads), number, left.log
    return Verdict(who, found, "", reads), number, left.log


async def _fort(order: Order, host: Host, name: str, at: datetime | None) -> tuple[Verdict, str, str]:
    who = "fort"
    try:
        number = await fort.found(host)
    except Failed as absent:
        return Verdict(who, None, str(absent)), "", ""
    outputs: dict[str, tuple[bytes, bytes]] = {}
    faults: dict[str, str] = {}
    logs = []
    for anchor in order.anchors:
        folder = f"{name}/run/{who}/{anchor.name}"
        (Path(host.home) / folder).mkdir(parents=True, mode=0o755)
        run = fort.run("../../../tree", f"../../tals/{anchor.name}.tal", number)
        left: Left = await ran(host, run, folder, at=at, timeout_seconds=order.seconds_max)
        logs.append(left.log)
        if left.fault:
            faults[anchor.name] = left.fault
        else:
            outputs[anchor.name] = (left.files[fort.ROAS], left.files[fort.ROUTER_KEYS])
    log = "\n".join(logs)
    if not outputs:
        return Verdict(who, None, "; ".join(f"{anchor}: {fault}" for anchor, fault in faults.items())), number, log
    try:
        return Verdict(who, from_fort(outputs), "", _reads(fort.lacks(number))), number, log
    except Unreadable as error:
        return Verdict(who, None, f"its output cannot be read: {error}"), number, log


def _content(verdicts: Sequence[Verdict], archive: Archive, index: str) -> Content:
    """What a reader of our own finds of the ASPAs and router keys that were concluded. Where none was, nothing is read."""
    found = [each.concluded for each in verdicts if each.concluded]
    return Content(
        aspas_said(archive.read(index, ".asa")) if any(each.aspas for each in found) else {},
        router_keys_said({key for each in found for key in each.router_keys}, archive.read(index, ".cer")),
    )


def _with_objects(outcome: Outcome, logs: Mapping[str, str], archive: Archive, index: str) -> tuple[str, ...]:
    """The findings, and after each contested prefix the objects that say it and what validators said of these."""
    told = outcome.contests[:CONTESTS_NAMED_MAX]
    where = saying((vrp for each in told for vrps in each.says.values() for vrp in vrps), archive.read(index, ".roa"))
    words = {who: Words(log) for who, log in logs.items()}
    named = {str(each): "".join(_objects(each, where, words)) for each in told}
    return tuple(f"{finding}{named.get(finding, '')}" for finding in outcome.findings)


def _objects(contest: Contest, where: Mapping[Any, Sequence[str]], words: Mapping[str, Words]) -> list[str]:
    lines = []
    paths = dict.fromkeys(path for vrps in contest.says.values() for vrp in vrps for path in where.get(vrp, ()))
    for path in paths:
        lines.append(f"\n  object  rsync://{path}")
        for who, each in words.items():
            said = each.about(path)
            if said and who not in contest.says:
                lines.append(f"\n    {who}: {said}")
    return lines
