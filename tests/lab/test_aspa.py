"""ASPA: on drawn paths a real BIRD comes to the verdict of the evaluator (draft-ietf-sidrops-aspa-verification, 6.1: upstream paths, as a route server has them
from its clients). Needs BIRD 2.16; Debian 12 has an older one, which is refused by name there."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from collections import Counter

import pytest

from nnix.daemons.bird import BIRD, lacks, version
from nnix.kernel.evidence import Evidence
from nnix.planes.routing.compile import compile, policy
from nnix.planes.routing.kinds import RoutingException
from nnix.planes.routing.prove.evaluate import Evaluator
from nnix.planes.routing.prove.route import Route, Segment, prefix_of
from nnix.planes.routing.prove.witnesses import Plan, Witness
from nnix.planes.routing.sources import past
from nnix.planes.routing.trial.run import Proof, tried
from nnix.planes.routing.trial.stand import stand
from tests.unit.routing.proving import given, showing

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
]

PATHS = 300  # in each family
FIRST = 1001  # the announcing client
NETWORKS = (2001, 3356, 6939, 174, 4134, 4837, 9808, 20473)
ASPAS = {
    FIRST: (2001, 3356),
    2001: (FIRST, 3356),
    3356: (0,),
    6939: (3356, 174),
    174: (FIRST, 2001, 6939),
    4134: (FIRST, 4837, 174),
    9808: (4134, 4837, 2001),
}


def drawn(draw: random.Random) -> tuple[Segment, ...]:
    """From the client on: often along what somebody has attested, sometimes against it, with prepends, loops and now and then an AS_SET."""
    origin = draw.choice(NETWORKS)
    path: list[Segment] = [origin]
    for _ in range(draw.choice((0, 1, 1, 2, 3))):
        last = path[0]
        named = [each for each in ASPAS.get(last, ()) if each] if isinstance(last, int) else []
        path.insert(0, draw.choice(named) if named and draw.random() < 0.75 else draw.choice(NETWORKS))
        if draw.random() < 0.2:
            path.insert(0, path[0])
    if draw.random() < 0.05:
        path.insert(draw.randrange(len(path) + 1), frozenset({2001, 3356}))
    return (FIRST, *path) if draw.random() < 0.95 else (FIRST,)


@pytest.mark.parametrize("how", ["tag", "reject"])
def test_a_real_daemon_and_the_evaluator_come_to_the_same_verdict_on_every_path(how: str) -> None:
    """Valid, unknown and invalid, each many times; said on the route, or refused."""
    let_off = RoutingException.model_validate(
        {
            "name": "sets",
            "session": "m1-s",
            "as_sets_in_paths": True,
            "until": "2099-01-01T00:00:00Z",
            "answers": "contact:noc",
            "why": "a test",
        }
    )
    rules = {"aspa": how, "irr": "off", "prefixes_max": {"v4": 5000, "v6": 5000}, "transit_free": [], "never_via_route_servers": []}
    snapshot = showing(let_off, policy=rules)
    document = json.loads(given()["file:v.json"].content)
    document["aspas"] = [{"customer_asid": customer, "providers": providers} for customer, providers in ASPAS.items()]
    evidence = Evidence(
        {"file:i.rpsl": given()["file:i.rpsl"].content, "file:v.json": json.dumps(document).encode(), past(let_off.until): b"no"}
    )
    server = policy(snapshot, evidence)[0]
    artifact = next(each for each in compile(snapshot, evidence) if each.name == "rs1")
    client = next(each for each in server.clients if each.asn == FIRST)
    assert client.v4 is not None
    assert client.v6 is not None
    draw = random.Random(20261126)
    witnesses = [
        Witness(client.session, Route(prefix_of(prefix), drawn(draw), hop), f"path {number}")
        for number in range(PATHS)
        for prefix, hop in ((f"9.{number // 250}.{number % 250}.0/24", client.v4), (f"2a09:{number:x}::/48", client.v6))
    ]
    evaluator = Evaluator(server)
    verdicts = Counter(evaluator.climbed(each.route) for each in witnesses)

    async def prove() -> Proof:
        async with stand([server], f"nnt{os.getpid()}") as place:
            if "aspa" in (lacking := lacks(await version(place.host))):
                pytest.skip(lacking["aspa"])
            return await tried(server, artifact, BIRD, place, planned=Plan((tuple(witnesses),), ()))

    proof = asyncio.run(prove())

    assert min(verdicts[each] for each in ("valid", "unknown", "invalid")) > 50, verdicts
    assert proof.differences == ()
    assert proof.witnesses == 2 * PATHS
