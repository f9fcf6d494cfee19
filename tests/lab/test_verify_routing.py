"""Model and running daemon agree on every route: on exchanges drawn at random, and on route tables of real exchanges.

Two ways of looking must both find no difference: what receivers heard and the daemon holds, as a trial sees it; and what `nnix verify routing` reads of a daemon
that runs, from its own account of what it was told and tells.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import random
import shutil
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from nnix.daemons.bird import BIRD
from nnix.daemons.openbgpd import OPENBGPD, PROGRAM
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact, Driver, Host
from nnix.planes.fabric.kinds import Lan, Port
from nnix.planes.members.kinds import Exchange, Member, Site
from nnix.planes.routing.compile import ServerPolicy, compile, policy
from nnix.planes.routing.kinds import RouteServer, RoutingPolicy, Session
from nnix.planes.routing.prove.compare import Difference
from nnix.planes.routing.prove.effects import Foreseen, foreseen
from nnix.planes.routing.prove.evaluate import Evaluator
from nnix.planes.routing.prove.route import Prefix, Route, Segment, prefix_of
from nnix.planes.routing.prove.witnesses import Witness
from nnix.planes.routing.trial.run import Trial
from nnix.planes.routing.trial.running import Agreement, agree, announced
from nnix.planes.routing.trial.stand import stand
from tests.unit.routing.drawn import drawn, with_several_paths
from tests.unit.routing.proving import given

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
]

RIB, MRT = Path("../shared/data/rib"), Path("../shared/data/mrt")


@dataclass(frozen=True)
class OneHost:
    """All machines are this one."""

    one: Host

    def host(self, machine: str) -> Host:
        return self.one


async def _lived(
    server: ServerPolicy, snapshot: Snapshot, evidence: Evidence, routes: Iterable[tuple[str, Route]], driver: Driver = BIRD
) -> tuple[list[Difference], Agreement]:
    """What a trial and what `verify` find when `routes` have been announced."""
    artifact = next(each for each in compile(snapshot, evidence) if each.name == server.name)
    async with stand([server], f"nnt{os.getpid()}") as place:
        trial = Trial(Evaluator(server), artifact, driver, place)
        try:
            found = await trial.begin()
            trial.announce(Witness(session, route, "") for session, route in routes)
            found += await trial.routes()
            (agreement,) = await agree([server], OneHost(place.host))
        finally:
            await trial.end()
    return found, agreement


# --- drawn at random --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_model_and_daemon_agree_on_exchanges_drawn_at_random(seed: int) -> None:
    """300 announcements to an exchange whose policy was drawn as well, and who takes several paths: wire, tables and `verify` say what the evaluator says,
    all of it."""
    plain, routes = drawn(seed)
    snapshot = with_several_paths(plain, seed)
    server = policy(snapshot, given())[0]

    found, agreement = asyncio.run(_lived(server, snapshot, given(), routes))

    assert found == []
    assert agreement.holds, agreement
    assert agreement.established == 12
    assert agreement.several > 0
    assert agreement.routes > 100


@pytest.mark.skipif(not Path(PROGRAM).exists(), reason="openbgpd is not installed")
@pytest.mark.parametrize("seed", (1, 3, 5))
def test_the_other_make_agrees_as_well(seed: int) -> None:
    """OpenBGPD with what was drawn, but for what it cannot do: refused routes in the table and beside it, path hiding left and solved, other roles."""
    plain, routes = drawn(seed)
    snapshot = with_several_paths(plain, seed).replaced(
        [
            *(each.changed(communities_max=None, tells_announcer=False, limit_restart_seconds=60) for each in plain.of(RoutingPolicy)),
            *(each.changed(daemon="openbgpd") for each in plain.of(RouteServer)),
        ]
    )

    found, agreement = asyncio.run(_lived(policy(snapshot, given())[0], snapshot, given(), routes, OPENBGPD))

    assert found == []
    assert agreement.holds, agreement
    assert agreement.several > 0
    assert agreement.routes > 100


# --- real tables ------------------------------------------------------------------------------------------------------

Announcements = dict[str, dict[Prefix, tuple[Segment, ...]]]


def _looking_glass(name: str, most: int) -> Announcements:
    """next hop → prefix → path, at most so many of each, of a table that an exchange's looking glass printed."""
    found: Announcements = defaultdict(dict)
    with gzip.open(RIB / name, "rt") as file:
        for row in csv.DictReader(file):
            try:
                prefix = prefix_of(f"{row['network.address']}/{row['network.mask']}")
                path = tuple(map(int, row["path"].split()))
            except ValueError:
                continue
            if path and len(found[row["next.hop"]]) < most:
                found[row["next.hop"]][prefix] = path
    return found


def _dump(name: str, most: int) -> Announcements:
    """The same of an MRT dump, TABLE_DUMP (RFC 6396, 4.2)."""
    data = (MRT / name).read_bytes()
    found: Announcements = defaultdict(dict)
    while data:
        kind, subtype, size = struct.unpack("!HHI", data[4:12])
        body, data = data[12 : 12 + size], data[12 + size :]
        if (kind, subtype) == (12, 1):
            path, hop = _attributes(body[22:])
            if path and hop and len(found[hop]) < most:
                found[hop][Prefix(4, int.from_bytes(body[4:8], "big"), body[8])] = path
    return found


def _attributes(data: bytes) -> tuple[tuple[Segment, ...], str]:
    """Path and next hop. ASNs have two octets here, those that do not fit are in AS4_PATH (RFC 6793, 4.2.3)."""
    paths: dict[int, tuple[Segment, ...]] = {}
    hop = ""
    while data:
        long = bool(data[0] & 0x10)
        size = struct.unpack("!H", data[2:4])[0] if long else data[2]
        head, code = 4 if long else 3, data[1]
        value, data = data[head : head + size], data[head + size :]
        if code == 3:
            hop = str(IPv4Address(value))
        width, letter = (2, "H") if code == 2 else (4, "I")
        while code in (2, 17) and value:
            asns = struct.unpack(f"!{value[1]}{letter}", value[2 : 2 + width * value[1]])
            paths[code] = (*paths.get(code, ()), *([frozenset(asns)] if value[0] == 1 else asns))
            value = value[2 + width * value[1] :]
    old, new = paths.get(2, ()), paths.get(17, ())
    return (*old[: len(old) - len(new)], *new), hop


def _replayed(
    found: Mapping[str, Mapping[Prefix, tuple[Segment, ...]]], lan: IPv4Network, asn: int
) -> tuple[Snapshot, Evidence, list[tuple[str, Route]]]:
    """An exchange around a table: a member for each next hop. Four of five routes are registered, and of twenty VRPs one is somebody else's."""
    draw = random.Random(len(found))
    made: list[Resource] = [
        Exchange.model_validate({"name": "x", "title": {"en": "x"}, "asn": asn, "country": "BR"}),
        Lan.model_validate({"name": "lan", "title": {"en": "lan"}, "v4": str(lan)}),
        Site.model_validate({"name": "east", "title": {"en": "east"}, "role": "hub", "level": "city", "city": "H", "country": "BR"}),
        RoutingPolicy.model_validate(
            {
                "name": "safe",
                "irr_sources": ["i.rpsl"],
                "rpki_sources": ["v.json"],
                "transit_free": [174, 701, 1299, 2914, 3257, 3356, 7018],
                "prefixes_max": {"v4": 50_000},
            }
        ),
    ]
    free = iter(each for each in reversed(list(lan.hosts())) if str(each) not in found)
    made.append(RouteServer.model_validate({"name": "rs1", "site": "east", "lan": "lan", "policy": "safe", "v4": str(next(free))}))
    text, roas, routes = "", [], list[tuple[str, Route]]()
    for number, (hop, table) in enumerate(sorted(found.items())):
        own = Counter(path[0] for path in table.values() if isinstance(path[0], int)).most_common(1)[0][0]
        name = f"m{number}"
        origins = sorted({path[-1] for path in table.values() if isinstance(path[-1], int)})
        text += f"as-set: AS-M{number}\nmembers: {', '.join(f'AS{each}' for each in origins if draw.random() < 0.9)}\nsource: T\n\n"
        made += [
            Member.model_validate({"name": name, "title": {"en": name}, "asn": own, "class": "isp", "as_sets": [f"AS-M{number}"]}),
            Port.model_validate({"name": name, "member": name, "site": "east", "speed": "10G"}),
            Session.model_validate(
                {
                    "name": name,
                    "member": name,
                    "lan": "lan",
                    "port": name,
                    "v4": hop,
                    "macs": [f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"],
                }
            ),
        ]
        for prefix, path in table.items():
            routes.append((name, Route(prefix, path, ip_address(hop))))
            if draw.random() < 0.8:
                text += f"route: {prefix}\norigin: AS{path[-1]}\nsource: T\n\n"
            if draw.random() < 0.2:
                roas.append(
                    {
                        "asn": path[-1] if draw.random() < 0.95 and isinstance(path[-1], int) else 64999,
                        "prefix": str(prefix),
                        "maxLength": prefix.length,
                    }
                )
    return Snapshot(made), Evidence({"file:i.rpsl": text.encode(), "file:v.json": json.dumps({"roas": roas}).encode()}), routes


def _tables() -> Iterator[Any]:
    for words, file, read, lan, asn in (
        ("Curitiba, 2015", RIB / "ix-br-pr.ipv4.csv.gz", lambda: _looking_glass("ix-br-pr.ipv4.csv.gz", 40), "200.219.140.0/23", 26162),
        ("Rome, a route server's own dump", MRT / "namex-rs-ipv4.mrt", lambda: _dump("namex-rs-ipv4.mrt", 12), "193.201.28.0/23", 2128),
    ):
        yield pytest.param(read, ip_network(lan), asn, id=words, marks=pytest.mark.skipif(not file.exists(), reason=f"{file} is not there"))


@pytest.mark.parametrize(("read", "lan", "asn"), list(_tables()))
def test_model_and_daemon_agree_on_tables_of_real_exchanges(read: Any, lan: IPv4Network, asn: int) -> None:
    """What members of real exchanges announced, replayed: wire, tables and `verify` say what the evaluator says, all of it."""
    found = {hop: table for hop, table in read().items() if table and ip_address(hop) in lan}
    snapshot, evidence, routes = _replayed(found, lan, asn)
    server = policy(snapshot, evidence)[0]

    differences, agreement = asyncio.run(_lived(server, snapshot, evidence, routes))

    assert differences == []
    assert agreement.holds, agreement
    assert agreement.routes > 500


# --- what a plan foresees -----------------------------------------------------------------------------------------------


async def _changed(
    server: ServerPolicy, old: Artifact, later: ServerPolicy, new: Artifact, routes: Iterable[tuple[str, Route]]
) -> tuple[Foreseen, set[tuple[str, str]]]:
    """What is foreseen of a change; and, as (member, prefix), where what a member has heard is another thing after it than before."""
    async with stand([server], f"nnt{os.getpid()}") as place:
        trial = Trial(Evaluator(server), old, BIRD, place)
        try:
            await trial.begin()
            trial.announce(Witness(session, route, "") for session, route in routes)
            assert await trial.routes() == []
            before = {each: dict(speaker.heard) for each, speaker in trial.speakers.items()}
            known, ids = await announced(server, OneHost(place.host))
            found = foreseen(server, later, known, ids)
            await BIRD.drive(place.host, new.name, new.content)
            trial.of, trial.artifact = Evaluator(later), new
            assert await trial.routes() == []
            assert all(each.up for each in trial.speakers.values()), "a soft change ends no session"
            heard = {
                (server_client(server, side[0]), str(prefix))
                for side, speaker in trial.speakers.items()
                for prefix in before[side].keys() | speaker.heard.keys()
                if before[side].get(prefix) != speaker.heard.get(prefix)
            }
        finally:
            await trial.end()
    return found, heard


def server_client(server: ServerPolicy, session: str) -> str:
    return next(each.member for each in server.clients if each.session == session)


@pytest.mark.parametrize(
    "change",
    [{"path_length_max": 1}, {"irr": "off", "rpki": "off"}, {"communities_max": 2, "blackhole": False}],
    ids=["shorter paths", "nothing checked", "fewer communities"],
)
def test_what_a_plan_foresees_is_what_members_hear(change: dict[str, Any]) -> None:
    """BIRD runs one policy and then the other; on the wire changes what was foreseen, and nothing else."""
    snapshot, routes = drawn(3)
    rules = snapshot.of(RoutingPolicy)[0]
    rest = {"irr_more_specifics": False, "roas_are_route_objects": False} if "irr" in change else {}
    planned = snapshot.replaced([rules.changed(**change, **rest)])
    server, later = policy(snapshot, given())[0], policy(planned, given())[0]
    old, new = (next(each for each in compile(of, given()) if each.name == server.name) for of in (snapshot, planned))

    found, heard = asyncio.run(_changed(server, old, later, new, routes))

    assert heard
    assert {(each.member, each.prefix) for each in found.effects if each.what in ("told", "withdrawn", "changed")} == heard
