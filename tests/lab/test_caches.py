"""RTR caches of a running exchange: kept like any daemon, fed by plans and validations, taken by members' routers and by the route servers.

One lab for all: two caches at two sites, two route servers that have neither VRPs nor route objects in their configuration, three members.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
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
from tests.rpki.deviations import DEVIATIONS, authority
from tests.rpki.tree import Validity, anchor
from tests.rpki.tree import write as write_tree

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the daemons want root")]

CACHES = {"rtr-east": "203.0.113.8", "rtr-south": "203.0.113.9"}
FIRST, SECOND, THIRD = "198.18.240.0/24", "198.18.241.0/24", "198.18.242.0/24"
IRR = "".join(f"route: {prefix}\norigin: AS{64496 + number}\nsource: T\n\n" for number, prefix in enumerate((FIRST, SECOND, THIRD)))
ALL = {(FIRST, 64496), (SECOND, 64497), (THIRD, 64498)}


def vrps(*rows: tuple[str, int]) -> bytes:
    return json.dumps({"roas": [{"asn": asn, "prefix": prefix, "maxLength": 24} for prefix, asn in rows]}).encode()


VRPS = {"rpki": "reject", "rpki_sources": ["rpki/vrps.json"], "rpki_caches": [*CACHES]}
OBJECTS = {"irr_sources": ["irr.rpsl"], "irr_caches": [*CACHES]}


def exchange() -> list[Resource]:
    made = [each for each in frame() if each.id != "routing-policy/open"] + [resource("RoutingPolicy", "open", **VRPS, **OBJECTS)]
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

    def apply(self, *more: Resource) -> None:
        """`more` is added, or takes the place of what has its name."""
        office = self.lab.setting.office
        resources = {each.id: each for each in (*exchange(), *more)}
        wanted = admit(ALL_PLANES, resources.values(), office.book.model().snapshot)
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

    def nnix(self, *words: str, status: int = 0, **environment: str) -> Any:
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", *words, "--json"]
        known = {**os.environ, "NNIX_STATE": str(self.lab.setting.state), **environment}
        done = subprocess.run(argv, env=known, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    def pid(self, name: str) -> int:
        return int((self.lab.setting.homes / name / "rtr" / name / "python3.pid").read_text())

    def begin_without_data(self) -> None:
        """Both caches die, and rs-a is started anew."""
        for name in CACHES:
            self.kill(name)
        os.kill(int((self.lab.setting.homes / "rs-a/bird/rs-a/bird.pid").read_text()), signal.SIGKILL)
        wanted = self.lab.setting.office.wanted(self.lab.setting.book.model())
        self.lab.run(converge(self.lab.setting.world, {key: each for key, each in wanted.items() if key[:2] == ("rs-a", "bird")}))

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)


def until(claim: Callable[[], bool], what: Callable[[], object], seconds: float = 120.0) -> float:
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


def test_whoever_takes_it_is_known_at_the_cache(fed: Fed) -> None:
    """One that was not there yet is tried again within seconds."""

    def who(name: str) -> set[str]:
        return {row["address"] for row in fed.tables(name)["vrps"]["peers"]}

    until(lambda: all("203.0.113.101" in who(name) for name in CACHES), lambda: fed.bird("m1", "router", "show protocols"))
    until(lambda: any("203.0.113.102" in who(name) for name in CACHES), lambda: fed.frr("show rpki cache-connection"))


def test_all_caches_are_shown_without_being_told_where(fed: Fed) -> None:
    shown = fed.nnix("trust", "routers")
    assert set(shown) == set(CACHES)
    assert "203.0.113.101" in {peer["address"] for table in shown["rtr-south"]["tables"] for peer in table["peers"]}
    assert {row["state"] for row in fed.nnix("status", "rtr-cache")} == {"serving"}


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


class Watched:
    """What two members' own daemons have, asked again and again, while a third announces and withdraws its route without a pause."""

    def __init__(self, fed: Fed) -> None:
        self.sockets = {name: f"{fed.lab.setting.homes}/{name}/bird/router/bird.ctl" for name in ("m1", "m3")}
        self.seen: list[tuple[str, frozenset[str]]] = []
        self.flaps = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._watch, self._flap)]

    def _ask(self, name: str, *words: str) -> str:
        return subprocess.run(["birdc", "-s", self.sockets[name], *words], capture_output=True, text=True, timeout=60, check=False).stdout

    def _watch(self) -> None:
        while not self._over.is_set():
            for name in self.sockets:
                said = self._ask(name, "show", "route")
                if "ready" in said:
                    self.seen.append((name, frozenset(prefix for prefix in (FIRST, SECOND, THIRD) if prefix in said)))

    def _flap(self) -> None:
        while not self._over.is_set():
            for turn in ("disable", "enable"):
                self._ask("m1", turn, "own_v4")
            self.flaps += 1

    def __enter__(self) -> Watched:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()


def test_a_route_object_that_goes_takes_its_route_along_and_no_other(fed: Fed) -> None:
    """Under load: m1 announces and withdraws without a pause. Only THIRD goes, at m1; nobody is without SECOND at any look."""
    configured = (fed.lab.setting.homes / "rs-a/bird/rs-a/bird.conf").read_bytes()
    fed.evidence["file:irr.rpsl"] = IRR.replace(THIRD, "198.18.99.0/24").encode()
    with Watched(fed) as watched:
        fed.apply()
        until(lambda: (THIRD, "irrdb_prefix_filtered") in fed.refused(), fed.refused)
        until(lambda: [seen for name, seen in watched.seen if name == "m1"][-1].isdisjoint({THIRD}), lambda: watched.seen[-4:])
    assert (fed.lab.setting.homes / "rs-a/bird/rs-a/bird.conf").read_bytes() == configured
    assert watched.flaps > 2 and {FIRST in seen for name, seen in watched.seen if name == "m3"} == {True, False}, "nothing flowed"
    assert [each for each in watched.seen if SECOND not in each[1]] == []
    assert THIRD in watched.seen[0][1]


def test_before_the_first_data_and_after_the_last_nothing_passes_unchecked(fed: Fed) -> None:
    """Both caches are dead and the route server is started anew: it has no data, so it refuses, and says why; as soon as one is there, it accepts."""
    fed.begin_without_data()
    until(lambda: (FIRST, "irrdb_prefix_filtered") in fed.refused(), fed.refused)
    assert fed.accepted() == set()
    fed.lab.put_right()
    until(lambda: (FIRST, 64496) in fed.accepted(), fed.refused)


def test_an_exchange_may_choose_to_accept_unchecked_until_there_are_data(fed: Fed) -> None:
    """`rpki_without_data: accept`: in the same case every route passes, marked as not checked; as soon as a cache is there, the invalid one is refused."""
    fed.evidence["file:rpki/vrps.json"] = vrps((FIRST, 64496), (SECOND, 64511))
    fed.apply(resource("RoutingPolicy", "open", **VRPS, irr="off", rpki_without_data="accept"))
    until(lambda: (SECOND, "rpki_invalid") in fed.refused(), fed.refused)
    fed.begin_without_data()
    until(lambda: fed.accepted() == ALL, lambda: (fed.accepted(), fed.refused()))
    assert "(65551, 1000, 1)" not in fed.bird("rs-a", "rs-a", f"show route {FIRST} all"), "not checked is not valid"
    fed.lab.put_right()
    until(lambda: (SECOND, "rpki_invalid") in fed.refused(), fed.refused)
    until(lambda: "(65551, 1000, 1)" in fed.bird("rs-a", "rs-a", f"show route {FIRST} all"), fed.accepted)
    fed.evidence["file:rpki/vrps.json"] = vrps((FIRST, 64496))
    fed.apply()
    until(lambda: (SECOND, 64497) in fed.accepted(), fed.refused)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that validators' users may enter."""
    made = Path(tempfile.mkdtemp(prefix="nnix-abroad-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_cut_off_from_abroad_everything_is_as_the_drill_foretold(fed: Fed, place: Path) -> None:
    """The west is abroad. What was fetched from an origin is validated and handed out; with its links dark and the origin out of reach the same set is found,
    kept by caches and routers; and what lapses in 10 hours and in 300 days falls out then."""
    index = list(DEVIATIONS).index("sound")
    ca = authority("sound", index)
    ca.object("hit.roa").ee.validity = Validity(-timedelta(days=1), timedelta(hours=10))
    root = anchor("lab", ca)
    origin, mirror = place / "origin", place / "mirror"
    write_tree(root.files(datetime.now(UTC)), origin)
    modules = "".join(f"[{name}]\npath = {origin}/rpki.lab.test/{name}\n" for name in ("repo", "ta"))
    (place / "rsyncd.conf").write_text(f"use chroot = no\nreverse lookup = no\n{modules}")
    reached = (
        f"/sbin/ip link show lo | grep -q LOWER_UP && exec rsync --daemon --config={place}/rsyncd.conf"  # only where there is a network
    )
    fed.evidence["file:rpki/lab.tal"] = root.tal()
    relying = (
        resource("Site", "west", title={"en": "west"}, role="node", level="cross-border", city="west", country="SG"),
        resource("TrustAnchor", "lab", tal="rpki/lab.tal", drop_free=1000),
        resource("RelyingParty", "national", site="east", anchors=["lab"], mirror=str(mirror)),
    )
    fed.apply(*relying)
    fed.nnix("trust", "fetch", RSYNC_CONNECT_PROG=reached)
    served = fed.nnix("trust", "validate")["vrps"]
    assert served == 4
    until(lambda: fed.tables("rtr-south")["vrps"]["vrps"] == 4, lambda: fed.cache("rtr-south"))
    held = str(ca.ips[0]).partition("/")[0]
    until(lambda: held in fed.bird("m1", "router", "show route table vrps4") and held in fed.frr("show rpki prefix-table"),
          lambda: (fed.bird("m1", "router", "show route table vrps4"), fed.frr("show rpki cache-connection")), 400)  # fmt: skip
    clocks = {each["cache"]: each for each in fed.nnix("trust", "status")["clocks"]["caches"]}
    assert set(clocks) == set(CACHES)
    assert 0 <= clocks["rtr-east"]["age_seconds"] < 2000 and 0 < clocks["rtr-east"]["routers_keep_for_seconds"] <= 600
    argv = [sys.executable, "-c", "from nnix.cli import main; main()", "drill", "foreign", "--json"]
    known = {**os.environ, "NNIX_STATE": str(fed.lab.setting.state), "RSYNC_CONNECT_PROG": reached}
    done = subprocess.run(argv, env=known, capture_output=True, text=True, timeout=600, check=False)
    (came,) = json.loads(done.stdout)
    abroad = came["abroad"]
    assert abroad["holds"], json.dumps(abroad, indent=1)
    assert sorted(abroad["links_cut"]) == ["south-west", "west-east"] and abroad["not_fetched"]
    assert came["predicted_unreachable"] == came["observed_unreachable"] == [["east", "west"], ["south", "west"]]
    assert [(each["predicted"], each["found"]) for each in abroad["horizons"]] == [(2, 2), (0, 0)]
    assert abroad["routers_vrps"] == {"m1": [4, 4], "m2": [4, 4]}
    assert all(new["age_seconds"] > old["age_seconds"] for old, new in abroad["caches"].values())

    # what is decided here against the RPKI has no effect before two logins have approved it
    why = {"until": "2099-01-01T00:00:00Z", "why": "a test", "approvers": [{"contact": "contact:noc"}, {"contact": "contact:director"}]}
    fed.apply(*relying, resource("LocalException", "no-v4", action="filter", prefix=str(ca.ips[0]), **why))
    for login, contact, left in ((None, None, 4), ("li", "contact:noc", 4), ("wang", "contact:director", 2)):
        if login:
            argv = [sys.executable, "-c", "from nnix.cli import main; main()", "approve", "local-exception/no-v4", "--as", str(contact)]
            subprocess.run(argv, env={**known, "SUDO_USER": login}, check=True, capture_output=True, timeout=100)
        told = fed.nnix("trust", "validate")
        waits = any("local-exception/no-v4 has no effect" in each for each in told["findings"])
        assert (told["vrps"], waits) == (left, left == 4), told
    until(lambda: fed.tables("rtr-south")["vrps"]["vrps"] == 2, lambda: fed.cache("rtr-south"))
