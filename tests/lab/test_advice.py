"""Advice and what-if against the daemon whose verdict counts: a BIRD of its own, and the route servers of a small exchange that runs."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nnix.cli.command import whole_cli
from nnix.hosts.namespace import NamespaceHost
from nnix.kernel.document import write
from nnix.planes.trust.advice import Checked, advised, checked
from nnix.planes.trust.payloads import Vrp, rows_of
from nnix.planes.trust.whatif import Forecast, Route, Routes, Validity
from tests.lab.exchange import frame, member, resource
from tests.lab.test_trust import Party
from tests.rpki.tree import Ca, SignedObject, anchor, networks, roa

pytestmark = pytest.mark.lab


def world(seed: int) -> Forecast:
    """Routes and VRPs crowded into 10.0.0.0/12 and 2001:db8::/36, so that most of them overlap."""
    chance = random.Random(seed)

    def prefix() -> str:
        if chance.random() < 0.3:
            length = chance.randrange(36, 49)
            bits = chance.getrandbits(length - 32) << (128 - length)
            return f"{ip_network((int(ip_network('2001:db8::/32').network_address) | bits, length))}"
        length = chance.randrange(12, 25)
        return f"{ip_network((10 << 24 | chance.getrandbits(length - 8) << (32 - length) & 0xFFFFF0 << 4, length), strict=False)}"

    def vrp() -> Vrp:
        network = ip_network(prefix())
        return Vrp(network, min(network.prefixlen + chance.randrange(6), 24 if network.version == 4 else 48), chance.choice([0, 1, 2, 3]))

    routes = [Route(ip_network(prefix()), chance.choice([0, 1, 2, 3]), chance.choice("ab")) for _ in range(120)]
    return Forecast(Routes(dict.fromkeys(routes)), rows_of(vrp() for _ in range(80)))


def proved(made: Forecast, folder: Path) -> Checked:
    return asyncio.run(checked(made, "a", advised(made, "a"), NamespaceHost("advice", None, folder), "bird"))


def test_bird_says_the_same_of_each_roa_alone_and_of_all_together(tmp_path: Path) -> None:
    made = world(6811)
    proof = proved(made, tmp_path)
    assert len(proof.advice) > 20 and len(proof.together) > 60
    assert proof.findings == ()
    assert any(each.breaks for each in proof.advice)
    turned = {(each.before, each.after) for routes in proof.routes.values() for each in routes}
    assert {(Validity.NOT_FOUND, Validity.VALID), (Validity.INVALID, Validity.VALID), (Validity.NOT_FOUND, Validity.INVALID)} <= turned
    assert not list(tmp_path.iterdir()), "nothing of that BIRD is left"


def test_a_fault_of_ours_is_found_by_bird_and_told_with_both_verdicts(tmp_path: Path) -> None:
    """Here maximum lengths are forgotten, as a wrong evaluator would: what BIRD says of the routes differs."""
    made = world(6483)
    shortened = made.vrps.copy()
    shortened[:, 2] = shortened[:, 2] & ~np.uint64(0xFF << 40) | (shortened[:, 2] >> np.uint64(48) & np.uint64(0xFF)) << np.uint64(40)
    wrong = Forecast(made.routes, rows_of([]))
    wrong.vrps, wrong.covering, wrong.matching = made.vrps, made.covering, Forecast(made.routes, shortened).matching
    proof = proved(wrong, tmp_path)
    assert any("NotFound → Valid" not in each and "BIRD: " in each for each in proof.findings)
    assert len(proof.findings) > 3


# -- a running exchange ---------------------------------------------------------------------------------------------------

WITHIN_SECONDS = 60.0
ROAS = [roa("one.roa", 64496, "198.19.240.0/24"), roa("forged.roa", 64999, "198.19.241.0/24"), roa("wide.roa", 64498, "3fff:0:fbf2::/47")]
"""m1 (AS64496) has signed its IPv4 prefix; that of m2 (AS64497) is signed for somebody else, and m3 (AS64498) has signed a shorter IPv6 prefix than it
announces, so both are refused"""


class Running:
    """Two sites, two route servers that reject Invalid, three members, and a relying party with one trust anchor; run by the command."""

    def __init__(self, folder: Path) -> None:
        self.party = Party(folder)
        scrap = {"west", "south-west", "west-east"}
        made = [each for each in frame() if each.name not in {*scrap, "open"}]
        made.append(resource("RoutingPolicy", "open", irr="off", rpki="reject", rpki_sources=["rpki/vrps.json"]))
        made += [resource("TrustAnchor", "lab", tal="rpki/lab.tal")]
        made += [resource("RelyingParty", "national", site="east", anchors=["lab"], mirror="mirror")]
        made += [each for number in (1, 2, 3) for each in member(number, site="south")]
        (self.party.folder / "small.yaml").write_text(write(made))
        self.publish()

    def publish(self, *more: SignedObject) -> None:
        root = anchor("lab", Ca("holder", networks("198.18.0.0/15", "3fff::/20"), ((64496, 64999),), [*ROAS, *more]))
        self.party.publish(root.files(datetime.now(UTC)), root.tal())

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN_SECONDS
        while not holds():
            assert time.monotonic() < deadline, self.raw("status")
            time.sleep(0.3)

    def raw(self, *words: str) -> str:
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", *words]
        done = subprocess.run(argv, env=self.party.environment, capture_output=True, text=True, timeout=240, check=False)
        return done.stdout + done.stderr

    def ask(self, *words: str) -> Any:
        """In this process, which has loaded everything already."""
        done = CliRunner().invoke(whole_cli(), ["--state", str(self.party.state), *words, "--json"], standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        return json.loads(done.output)

    def routes(self, *words: str) -> set[tuple[str, str]]:
        """(member, prefix) of what both route servers have."""
        listed = [{(e["member"], e["prefix"]) for e in self.ask("routes", "--server", rs, *words)} for rs in ("rs-a", "rs-b")]
        return set.intersection(*listed)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("live"))
    try:
        assert made.party("validate", str(made.party.folder))["vrps"] == 3
        made.raw("up", str(made.party.folder))
        made.until(lambda: (len(made.routes()), len(made.routes("--refused"))) == (4, 2))
        yield made
    finally:
        made.raw("down")


def test_the_live_route_servers_say_what_would_become_of_their_routes(running: Running) -> None:
    """Nothing is handed over: routes are read from the running route servers, those among them that it refused as Invalid."""
    assert running.routes("--refused") == {("m2", "198.19.241.0/24"), ("m3", "3fff:0:fbf2::/48")}
    gone = running.ask("trust", "what-if", "--object", "rpki.lab.test/repo/holder/one.roa")
    assert (gone["routes"], gone["turns"]) == (6, {"Valid → NotFound": 1})
    assert running.ask("trust", "what-if", "--anchor", "lab")["turns"] == {"Valid → NotFound": 1, "Invalid → NotFound": 2}
    dry = running.ask("trust", "what-if", "--add", "198.19.240.0/21,3fff::/20,AS64500")
    assert dry["invalid_by_member"] == {"m1": 1, "m2": 1, "m3": 1}
    ahead = running.ask("trust", "forecast", "--hours", "8760")["forecast"]
    assert [(each["hours"], each["Valid"], each["Invalid"], each["NotFound"]) for each in ahead if each["member"] is None] == [
        (0, 1, 2, 3),
        (8760, 0, 0, 6),
    ]


def test_a_roa_that_becomes_another_is_one_question(running: Running) -> None:
    """By its place in the mirror, or by what it says. What both say does not go; what is not served cannot change."""
    back = running.ask("trust", "what-if", "--change", "rpki.lab.test/repo/holder/forged.roa", "198.19.241.0/24,AS64497")
    assert (back["vrps_gone"], back["turns"]) == (1, {"Invalid → Valid": 1})
    longer = running.ask("trust", "what-if", "--change", "3fff:0:fbf2::/47,AS64498", "3fff:0:fbf2::/47-48,AS64498")
    assert (longer["vrps_gone"], longer["turns"]) == (1, {"Invalid → Valid": 1})
    moved = running.ask("trust", "what-if", "--change", "198.19.240.0/24,AS64496", "198.19.240.0/24,198.19.242.0/24,AS64499")
    assert moved["turns"] == {"NotFound → Invalid": 1, "Valid → Invalid": 1}
    same = running.ask("trust", "what-if", "--change", "198.19.240.0/24,AS64496", "198.19.240.0/24,198.19.248.0/24,AS64496")
    assert (same["vrps_gone"], same["turns"]) == (0, {})
    assert "no VRP 198.19.240.0/24 AS1 is served" in running.raw(
        "trust", "what-if", "--change", "198.19.240.0/24,AS1", "198.19.240.0/24,AS2"
    )


def test_whoever_follows_the_advice_is_let_in(running: Running) -> None:
    """BIRD's verdict comes with the advice; with the ROAs signed as advised, those of the route servers are the same."""
    advice = running.ask("trust", "advice", "m2")
    assert [(each["prefix"], each["maxLength"], each["asn"], each["mends"]) for each in advice] == [
        ("198.19.241.0/24", 24, 64497, 1),
        ("3fff:0:fbf1::/48", 48, 64497, 1),
    ]
    assert [(r["before"], r["after"], r["bird_before"], r["bird_after"]) for each in advice for r in each["routes"]] == [
        ("Invalid", "Valid", "Invalid", "Valid"),
        ("NotFound", "Valid", "NotFound", "Valid"),
    ]
    running.publish(*(roa(f"advised{index}.roa", each["asn"], each["prefix"]) for index, each in enumerate(advice)))
    assert running.party("validate", str(running.party.folder))["vrps"] == 5
    running.raw("apply", str(running.party.folder), "--yes")
    running.until(lambda: running.routes("--refused") == {("m3", "3fff:0:fbf2::/48")})
    assert ("m2", "198.19.241.0/24") in running.routes()
    assert running.ask("trust", "advice", "m2") == []
