"""Claim: what a route server with 1,000 members does with 500,000 routes is worked out, towards every member, within 60 CPU s of one core.

The exchange of bench/exchange.py, strict in registries and RPKI. Its members announce for themselves and for 200,000 customers' prefixes that they have registered;
every second of those is announced by two or three members. One route of twenty carries wishes about some members, as many break a rule. Judged is all of it:
import with its reason, which of several routes is told, and to whom, a thousand times half a million.

Ours: planes.routing.prove.exchange, which decides once for each class of routes and looks the rest up in columns. Peer: the same evaluator, asked about every pair of
route and receiver in turn, as one writes it first; for a few receivers, since all would take hours, and the figure is scaled up. Both must choose the same routes for
those receivers.

CPU seconds, in one thread, since what else runs on the machine is nobody's fault; peak memory of the whole process.

Run: python bench/routing_prove.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from exchange import exchange, written
from nnix.cli.files import admitted
from nnix.kernel.snapshot import Snapshot
from nnix.planes.routing.compile import ServerPolicy, policy
from nnix.planes.routing.prove.evaluate import Evaluator
from nnix.planes.routing.prove.exchange import Exchange
from nnix.planes.routing.prove.route import Prefix, Route
from nnix.planes.routing.rpki import RoaTable

CLAIM = "CPU seconds to judge 500,000 routes of 1,000 members towards every member, beside asking pair by pair"
BOUND_SECONDS = 60.0
MEMBERS, ROUTES, CUSTOMERS = 1_000, 500_000, 200_000
FIRST_CUSTOMER = 300_000
WISHES_SHARE, WRONG_SHARE = 0.05, 0.05
ASKED_PAIR_BY_PAIR = 2


def world(members: int, routes: int, customers: int) -> tuple[ServerPolicy, list[tuple[str, Route]]]:
    """A route server's policy and what its clients announce, always the same for the same numbers."""
    with tempfile.TemporaryDirectory() as folder:
        found = admitted(written(exchange(members), Path(folder)), Snapshot())
        server = policy(found.snapshot, found.evidence)[0]
    drawn = random.Random(members)
    origins = [FIRST_CUSTOMER + number for number in range(customers)]
    registered = [(str(_customer(number)), 24, origin) for number, origin in enumerate(origins)]
    everybody = (*(each.asn for each in server.clients), *origins)
    clients = tuple(replace(each, origins=everybody) for each in server.clients)
    server = replace(server, clients=clients, registered_v4=RoaTable([*server.registered_v4.roas, *registered]))
    announced: list[tuple[str, Route]] = []
    while len(announced) < routes:
        number = len(announced) % customers
        client = clients[drawn.randrange(members)]
        prefix = _customer(number)
        hop = client.v4 or IPv4Address(0)
        route = Route(prefix, (client.asn, *[origins[number]] * drawn.randint(1, 3)), hop)
        chance = drawn.random()
        if chance < WISHES_SHARE:
            some = {clients[drawn.randrange(members)].asn for _ in range(drawn.randint(1, 6))}
            route = route.with_communities(*((server.asn, drawn.choice((0, 0, 101, 103)), asn) for asn in sorted(some)))
        elif chance < WISHES_SHARE + WRONG_SHARE:
            route = drawn.choice(
                (
                    replace(route, prefix=Prefix(4, prefix.address, 25)),
                    replace(route, path=(client.asn, 64512)),
                    replace(route, path=(7, *route.path)),
                )
            )
        announced.append((client.session, route))
    return server, announced


def _customer(number: int) -> Prefix:
    return Prefix(4, (0x20 << 24) + (number << 8), 24)


def pair_by_pair(made: Exchange, receiver: str) -> list[int]:
    """The rows that `receiver` is told, every route asked about in turn."""
    rows: list[int] = []
    last: Prefix | None = None
    for row, each in enumerate(made.accepted):
        if each.prefix != last and not made.evaluator.withheld(each.announcer, each.verdict, receiver):
            rows.append(row)
            last = each.prefix
    return rows


def main() -> int:
    quick = "--quick" in sys.argv[1:]
    members, routes, customers = (200, 50_000, 20_000) if quick else (MEMBERS, ROUTES, CUSTOMERS)
    server, announced = world(members, routes, customers)
    start = time.process_time()
    made = Exchange(Evaluator(server), announced)
    imported = time.process_time() - start
    told = {client.session: made.chosen(client.session) for client in server.clients}
    ours = time.process_time() - start
    peer = imported * ASKED_PAIR_BY_PAIR / members
    for client in server.clients[:ASKED_PAIR_BY_PAIR]:
        start = time.process_time()
        rows = pair_by_pair(made, client.session)
        peer += time.process_time() - start
        if rows != told[client.session].tolist():
            raise SystemExit(f"the two sides tell {client.session} different routes: nothing was measured")
    peer *= members / ASKED_PAIR_BY_PAIR
    number = sum(map(len, told.values()))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{CLAIM}\n{members} members announce {len(announced)} routes: {len(made.accepted)} accepted, {len(made.refused)} refused; {number} told\n"
    )
    print(
        f"import {imported:.1f} s, all {ours:.1f} s, peak {memory} MiB; pair by pair {peer:.0f} s (of {ASKED_PAIR_BY_PAIR} receivers, scaled up)"
    )
    bound = BOUND_SECONDS * (routes / ROUTES if quick else 1)
    holds = ours <= bound
    figures = {"ours": round(ours, 2), "peer": round(peer, 1), "ratio": round(peer / ours, 2), "bound": bound, "peak_mib": memory}
    print(json.dumps({"claim": CLAIM, **figures, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
