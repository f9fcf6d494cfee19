"""RTR caches of a running exchange: kept like any daemon, fed by plans and validations, taken by members' routers and by the route servers.

One lab for all: two caches at two sites, two route servers that have neither VRPs nor route objects in their configuration, three members.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nnix.cli.root import ALL_PLANES
from nnix.kernel.change import admit
from nnix.kernel.drive import converge
from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Status
from nnix.kernel.resource import Resource
from nnix.planes.routing.read import refused_routes
from nnix.planes.routing.routes import routes_of
from nnix.planes.trust.read import read
from tests.lab.exchange import Lab, frame, member, resource

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the daemons want root")]

CACHES = {"rtr-east": "203.0.113.8", "rtr-south": "203.0.113.9"}
FIRST, SECOND, THIRD = "198.18.240.0/24", "198.18.241.0/24", "198.18.242.0/24"
IRR = "".join(f"route: {prefix}\norigin: AS{64496 + number}\nsource: T\n\n" for number, prefix in enumerate((FIRST, SECOND, THIRD)))
ALL = {(FIRST, 64496), (SECOND, 64497), (THIRD, 64498)}


def vrps(*rows: tuple[str, int]) -> bytes:
    return json.dumps({"roas": [{"asn": asn, "prefix": prefix, "maxLength": 24} for prefix, asn in rows]}).encode()


def exchange() -> list[Resource]:
    fed = {
        "rpki": "reject",
        "rpki_sources": ["rpki/vrps.json"],
        "rpki_caches": [*CACHES],
        "irr_sources": ["irr.rpsl"],
        "irr_caches": [*CACHES],
    }
    made = [each for each in frame() if each.id != "routing-policy/open"] + [resource("RoutingPolicy", "open", **fed)]
    for site, (name, v4) in zip(("east", "south"), CACHES.items(), strict=True):
        made.append(resource("RtrCache", name, site=site, lan="lan", v4=v4, v6=f"2001:db8:1::{v4.rpartition('.')[2]}", expire="600s", refresh="60s",
                             retry="10s"))  # fmt: skip
    for number, (prefix, daemon) in enumerate(((FIRST, "bird"), (SECOND, "frr"), (THIRD, "bird")), 1):
        made += member(number)
        caches = {"caches": [*CACHES]} if number < 3 else {}
        made.append(resource("Router", f"m{number}", session=f"m{number}", daemon=daemon, announces=[{"prefix": prefix}], **caches))
    return made


class Fed:
    """The lab, and what it rests on."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.evidence = {"file:irr.rpsl": IRR.encode(), "file:rpki/vrps.json": vrps((FIRST, 64496))}
        self.apply()

    def apply(self) -> None:
        office = self.lab.setting.office
        wanted = admit(ALL_PLANES, exchange(), office.book.model().snapshot)
        applied = self.lab.run(office.apply(office.draft(wanted, Evidence(self.evidence)), "a test"))
        assert applied.verified, applied.failures

    def cache(self, name: str) -> Status:
        statuses = self.lab.run(read(self.lab.snapshot, self.lab.setting.machines))
        return next(each for each in statuses if each.resource == f"rtr-cache/{name}")

    def tables(self, name: str) -> dict[str, Any]:
        return {each["name"]: each for each in (self.cache(name).facts or {}).get("tables", ())}

    def accepted(self, server: str = "rs-a") -> set[tuple[str, int]]:
        found = self.lab.run(routes_of(self.lab.snapshot, self.lab.setting.machines, server=server))
        return {(each.prefix, int(each.as_path.split()[-1])) for each in found}

    def refused(self) -> set[tuple[str, str]]:
        found = self.lab.run(refused_routes(self.lab.snapshot, self.lab.setting.machines, server="rs-a"))
        return {(each.prefix, each.reason) for each in found if each.prefix in (FIRST, SECOND, THIRD)}

    def bird(self, machine: str, name: str, words: str) -> str:
        return self.lab.host_run(machine, "birdc", "-s", f"{self.lab.setting.homes}/{machine}/bird/{name}/bird.ctl", words)

    def frr(self, words: str) -> str:
        place = f"{self.lab.setting.homes}/m2/frr/router"
        return self.lab.host_run("m2", "sh", "-c", f"cd {place} && vtysh --vty_socket . --config_dir . -c '{words}'")

    def pid(self, name: str) -> int:
        return int((self.lab.setting.homes / name / "rtr" / name / "python3.pid").read_text())

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)


def until(claim: Callable[[], bool], what: Callable[[], object], seconds: float = 30.0) -> float:
    """Look until it holds; how long that took."""
    began = time.monotonic()
    while not claim():
        assert time.monotonic() < began + seconds, what()
        time.sleep(0.1)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    lab = Lab(tmp_path_factory.mktemp("caches") / "state")
    try:
        yield Fed(lab)
    finally:
        assert lab.close() == []


def test_route_servers_and_members_take_what_both_caches_hand_out(fed: Fed) -> None:
    """No VRP and no route object stands in the route servers' configuration; all three members' routes pass, one of them as RPKI-valid."""
    until(lambda: fed.accepted() == ALL and fed.accepted("rs-b") == ALL, lambda: (fed.accepted(), fed.refused()))
    text = (fed.lab.setting.homes / "rs-a/bird/rs-a/bird.conf").read_text()
    assert FIRST not in text and "protocol rpki vrp_rtr_east" in text
    assert "(65551, 1000, 1)" in fed.bird("rs-a", "rs-a", f"show route {FIRST} all")
    until(lambda: FIRST in fed.bird("m1", "router", "show route table vrps4"), lambda: fed.bird("m1", "router", "show protocols"))
    until(lambda: "198.18.240.0" in fed.frr("show rpki prefix-table"), lambda: fed.frr("show rpki cache-connection"))
    for name in CACHES:
        seen = fed.tables(name)
        assert {each: seen[each]["vrps"] for each in seen} == {"vrps": 1, "vrp": 3, "vrp-covering": 3, "irr": 5, "irr-covering": 5}
    who = {row["address"] for row in fed.tables("rtr-east")["vrps"]["peers"]}
    assert {"203.0.113.101", "203.0.113.102"} <= who


def test_all_caches_are_shown_without_being_told_where(fed: Fed) -> None:
    environment = {**os.environ, "NNIX_STATE": str(fed.lab.setting.state)}
    argv = [sys.executable, "-c", "from nnix.cli import main; main()", "trust", "routers"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(name in done.stdout for name in CACHES) and "203.0.113.101" in done.stdout
    status = subprocess.run([*argv[:-2], "status", "rtr-cache", "--json"], env=environment, capture_output=True, text=True, check=False)
    assert {row["state"] for row in json.loads(status.stdout)} == {"serving"}, status.stdout


def test_a_killed_cache_comes_back_with_the_same_session_and_data(fed: Fed) -> None:
    """The loop finds it gone; routers that were in step get nothing again, and the route servers lose no route meanwhile."""
    before = fed.tables("rtr-east")
    fed.kill("rtr-east")
    assert any(key[1] == "rtr" and "not running" in why for key, why in fed.lab.differences().items())
    assert fed.accepted() == ALL
    fed.lab.put_right()
    after = fed.tables("rtr-east")
    assert {n: (t["session"], t["serial"], t["digest"]) for n, t in before.items()} == {
        n: (t["session"], t["serial"], t["digest"]) for n, t in after.items()
    }
    assert fed.lab.differences() == {}


def test_a_lost_or_edited_document_is_brought_again(fed: Fed) -> None:
    """Nonsense in its place is not handed out meanwhile: the table is held."""
    place = fed.lab.setting.homes / "rtr-east/document/vrps/content"
    serial = fed.tables("rtr-east")["vrps"]["serial"]
    place.write_text("nonsense")
    until(lambda: fed.cache("rtr-east").state == "faulty", lambda: fed.cache("rtr-east"))
    assert "held" in fed.cache("rtr-east").reason
    place.unlink()
    assert {key[1] for key in fed.lab.differences()} == {"document"}
    fed.lab.put_right()
    until(lambda: fed.cache("rtr-east").state == "serving", lambda: fed.cache("rtr-east"))
    assert fed.tables("rtr-east")["vrps"]["serial"] == serial


def test_a_new_set_reaches_routers_and_route_servers_without_a_restart(fed: Fed) -> None:
    """SECOND gets a VRP of another origin, so it is invalid: refused within seconds, though no route server was configured anew."""
    pids = {name: fed.pid(name) for name in CACHES}
    configured = (fed.lab.setting.homes / "rs-a/bird/rs-a/bird.conf").read_bytes()
    fed.evidence["file:rpki/vrps.json"] = vrps((FIRST, 64496), (SECOND, 64511))
    fed.apply()
    until(lambda: (SECOND, "rpki_invalid") in fed.refused(), fed.refused)
    assert (SECOND, 64497) not in fed.accepted()
    assert {name: fed.pid(name) for name in CACHES} == pids
    assert (fed.lab.setting.homes / "rs-a/bird/rs-a/bird.conf").read_bytes() == configured
    until(lambda: SECOND in fed.bird("m1", "router", "show route table vrps4"), lambda: fed.bird("m1", "router", "show protocols"))
    fed.evidence["file:rpki/vrps.json"] = vrps((FIRST, 64496))
    fed.apply()
    until(lambda: fed.accepted() == ALL, fed.refused)


def test_a_route_object_that_goes_takes_its_route_along(fed: Fed) -> None:
    configured = (fed.lab.setting.homes / "rs-a/bird/rs-a/bird.conf").read_bytes()
    fed.evidence["file:irr.rpsl"] = IRR.replace(THIRD, "198.18.99.0/24").encode()
    fed.apply()
    until(lambda: (THIRD, "irrdb_prefix_filtered") in fed.refused(), fed.refused)
    assert (fed.lab.setting.homes / "rs-a/bird/rs-a/bird.conf").read_bytes() == configured


def test_before_the_first_data_and_after_the_last_nothing_passes_unchecked(fed: Fed) -> None:
    """Both caches are dead and the route server is started anew: it has no data, so it refuses, and says why; as soon as one is there, it accepts."""
    for name in CACHES:
        fed.kill(name)
    homes = fed.lab.setting.homes
    os.kill(int((homes / "rs-a/bird/rs-a/bird.pid").read_text()), signal.SIGKILL)
    model = fed.lab.setting.book.model()
    mine = {key: each for key, each in fed.lab.setting.office.wanted(model).items() if key[0] == "rs-a" and key[1] == "bird"}
    fed.lab.run(converge(fed.lab.setting.world, mine))
    until(lambda: (FIRST, "irrdb_prefix_filtered") in fed.refused(), fed.refused)
    assert fed.accepted() == set()
    fed.lab.put_right()
    until(lambda: (FIRST, 64496) in fed.accepted(), fed.refused)
