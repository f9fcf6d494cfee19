"""Exchanges and announcements drawn at random, always the same for the same seed."""

from __future__ import annotations

import random
from typing import Any

from nnix.kernel.snapshot import Snapshot
from nnix.planes.routing.communities import BLACKHOLE, GRACEFUL_SHUTDOWN
from nnix.planes.routing.compile import ServerPolicy, policy
from nnix.planes.routing.kinds import AddPaths, Session
from nnix.planes.routing.prove.route import Community, Prefix, Route, Segment, prefix_of
from tests.unit.routing.proving import ASNS, CUSTOMER, given, prefixes_of, showing


def drawn(seed: int) -> tuple[Snapshot, list[tuple[str, Route]]]:
    """An exchange with a policy and with exceptions of its own, and 300 announcements, half of which break something or ask for something."""
    draw = random.Random(seed)
    rules: dict[str, Any] = {
        "irr": draw.choice(("strict", "strict", "origin", "off", "tag")),
        "rpki": draw.choice(("reject", "reject", "tag", "off")),
        "irr_more_specifics": draw.random() < 0.3,
        "roas_are_route_objects": draw.random() < 0.3,
        "blackhole": draw.random() < 0.8,
        "graceful_shutdown": draw.random() < 0.8,
        "roles": draw.random() < 0.7,
        "path_hiding_solved": draw.random() < 0.8,
        "no_export": draw.choice(("pass", "obey")),
        "next_hop": draw.choice(("same-as", "strict")),
        "refused": draw.choice(("tag-and-reject", "tag")),
        "tells_announcer": draw.random() < 0.3,
        "communities_max": draw.choice((None, 4)),
        "path_length_max": draw.choice((4, 32)),
        "transit_free_warns": draw.random() < 0.3,
        "groups": [{"number": 7, "title": "some", "members": [f"m{draw.randint(1, 6)}" for _ in range(2)]}] if draw.random() < 0.5 else [],
        "rtt_thresholds": draw.choice(([], [5, 20])),
        "blackhole_communities": draw.choice(([], ["65100:666"])),
        "prefixes_max": {"v4": 400, "v6": 400},
    }
    if rules["irr"] == "off" and rules["rpki"] == "off":
        rules |= {"irr_more_specifics": False, "roas_are_route_objects": False}
    sessions: dict[int, dict[str, Any]] = {
        number: {
            "role_strict": False,
            "blackhole": draw.random() < 0.7,
            "rtt": draw.choice((None, "3ms", "30ms")),
            "communities": draw.choice(([], [f"65201:{number}"])),
            "hears": draw.choice(({}, {}, {"but": [ASNS[draw.randint(1, 6)]]})),
            "announces": draw.choice(({}, {}, {"only": [ASNS[draw.randint(1, 6)], 1003]})),
            "prepend_route_server": draw.random() < 0.2,
            "blackhole_community": draw.choice((None, "65202:666")),
        }
        for number in ASNS
    }
    later = random.Random(-1 - seed)  # drawn apart, so that what came before stays as it was
    if later.random() < 0.5:
        says = [{"said": "rpki_unknown", "community": "65203:1"}, {"said": "irrdb_valid", "community": "ro:65203:2"}]
        rules |= {"said_communities": [*says, {"said": "rpki_valid", "community": "65203:3:3"}]}
    for each in sessions.values():
        if later.random() < 0.3:
            each |= dict(zip(("our_role", "their_role"), later.choice((("peer", "peer"), ("provider", "customer"))), strict=True))
        each |= {"graceful_shutdown": later.choice((None, None, True, False)), "next_hop": later.choice((None, "strict"))}
    snapshot = showing(policy=rules, sessions=sessions)
    server = policy(snapshot, given())[0]
    return snapshot, [announcement(draw, server) for _ in range(300)]


def with_several_paths(snapshot: Snapshot, seed: int) -> Snapshot:
    """The same, where each session carries several paths to a prefix (RFC 7911) one way, both ways or not at all."""
    draw = random.Random(seed)
    return snapshot.replaced([each.changed(add_paths=draw.choice(list(AddPaths))) for each in snapshot.of(Session)])


def announcement(draw: random.Random, server: ServerPolicy) -> tuple[str, Route]:
    number = draw.randint(1, 6)
    client = next(each for each in server.clients if each.session == f"m{number}-s")
    text, origin = draw.choice([*prefixes_of(number), ("30.0.0.0/24", CUSTOMER), ("2a02::/48", CUSTOMER), *prefixes_of(draw.randint(1, 6))])
    prefix = prefix_of(text)
    if draw.random() < 0.2:
        length = draw.randint(max(1, prefix.length - 2), min(prefix.bits, prefix.length + 9))
        shift = prefix.bits - length
        prefix = Prefix(prefix.family, prefix.address >> shift << shift, length)
    path: list[Segment] = [client.asn, *([origin] if origin != client.asn else [])]
    path[1:1] = [draw.choice((7018, 701, 64512, 3356, 2001)) for _ in range(draw.choice((0, 0, 0, 1, 3)))]
    if draw.random() < 0.03:
        path[1:1] = [frozenset({3356, 2001})]
    hop = client.v4 if prefix.family == 4 else client.v6
    assert hop is not None
    if draw.random() < 0.05:
        hop = type(hop)(int(hop) + 1)
    route = Route(prefix, tuple(path), hop, med=draw.choice((None, None, 5)), otc=draw.choice((None,) * 29 + (client.asn, 9)))
    rs = server.asn
    wishes: tuple[Community, ...] = (
        *((rs, 0, asn) for asn in ASNS.values()), (rs, 0, 0), (rs, 1, 1002), (rs, 1, 200004), (0, 1003), (0, 65000), (65000, 1005),
        (65501, 1002), (rs, 102, 0), (rs, 103, 1001), (rs, 104, 1003), (65505, 65000), (rs, 10, 7), (rs, 21, 5), (65410, 7), (rs, 1101, 3),
        BLACKHOLE, BLACKHOLE, GRACEFUL_SHUTDOWN, (65100, 666), (65535, 65281), (9, 9), (9, 9, 9), (65201, 3), 0x0002_0000_0000_03EB,
    )  # fmt: skip
    return client.session, route.with_communities(*draw.sample(wishes, draw.choice((0, 0, 1, 2, 3, 6))))
