"""examples/names, as a newcomer runs it: one command, no network, no key made by hand; and what the commands say of it is true."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.test_exchange import Nnix, until

pytestmark = pytest.mark.lab

RESOLVER, NODE = "203.0.113.70", "203.0.113.63"
BUSY_SECONDS = 120.0  # by when it must have come about, however busy the machine
SERVERS = ("name-node/ns-hz", "name-node/ns-nb", "resolver/resolver")
KILLED = {
    "ns-hz": "nsd/ns-hz/nsd: xfrd",
    "ns-nb": "knot/ns-nb/knotd",
    "gate": "knot/gate/knotd",
    "ns-jh": "counter/ns-jh/python3",
}


@pytest.fixture(scope="module")
def nnix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nnix]:
    command = Nnix(tmp_path_factory.mktemp("names"), "names")
    try:
        command("up", str(command.example))
        yield command
    finally:
        command.raw("down")


def shown(nnix: Nnix) -> dict[str, str]:
    """resource → state, as `nnix naming show` has it."""
    return {each["resource"]: each["state"] for each in nnix.json("naming", "show", status=None)}


def asked(nnix: Nnix, machine: str, *question: str) -> str:
    return nnix.inside(machine, "kdig", "+retry=0", "+time=15", *question).stdout


def test_after_up_everything_is_served_and_announced(nnix: Nnix) -> None:
    """`up` has waited for it."""
    states = shown(nnix)
    assert {states[f"name-node/{each}"] for each in ("ns-hz", "ns-nb", "ns-jh")} == {"announced"}
    assert {states["zone/root"], states["zone/zj"]} == {"served"}
    assert states["resolver/resolver"] == "resolving"
    asked(nnix, "tea-hill", f"@{RESOLVER}", "zj", "DS")
    until(lambda: "7460 valid" in nnix("naming", "show"), BUSY_SECONDS, "the root's key is followed")


def test_a_member_resolves_with_signatures_verified_by_the_root_of_the_model(nnix: Nnix) -> None:
    """From the anchors in names.yaml over the lab's root to the name (AD); a lame delegation is SERVFAIL."""
    said = asked(nnix, "tea-hill", f"@{RESOLVER}", "+dnssec", "www.zj", "TXT")
    assert '"hello"' in said
    assert re.search(r"Flags:.* ad", said), said
    assert "198.18.1.80" in asked(nnix, "west-lake", f"@{RESOLVER}", "www.tea.zj", "A")
    assert "status: SERVFAIL" in asked(nnix, "tea-hill", f"@{RESOLVER}", "www.lame.zj", "A")
    assert '"hello"' in asked(nnix, "west-lake", f"@{NODE}", "www.zj", "TXT")


def test_what_was_asked_is_counted_by_member_with_causes_and_as_rssac002(nnix: Nnix, tmp_path: Path) -> None:
    """Over UDP and TCP, at three makes of daemon; a SERVFAIL has its lame delegation as cause; who sends rubbish to a counter changes nothing."""

    def counted() -> dict[str, Any]:
        return {each["server"]: each for each in nnix.json("naming", "stats", status=None)}

    def answers() -> list[int]:  # to the registry, which asks nothing of its own
        found = counted()
        return [found[each]["latency"].get("registry", {}).get("answers", 0) for each in SERVERS]

    def trips() -> dict[str, Any]:
        return {name: each["round_trip"] for name, each in counted().items()}

    for junk in (b"GET / HTTP/1.1\r\n\r\n", bytes(4) + b"\xff" * 4, os.urandom(70_000)):
        with socket.socket(socket.AF_UNIX) as peer, contextlib.suppress(OSError):
            peer.connect(f"/proc/self/fd/{os.open(nnix.home('ns-hz') / 'counter/ns-hz', os.O_PATH)}/tap")
            peer.sendall(junk)
    for number in range(10):
        asked(nnix, "registry", "@203.0.113.61", "+tcp" if number % 2 else "+notcp", f"x{number}.zj", "A")
        asked(nnix, "registry", "@203.0.113.62", f"x{number}.zj", "A")
    asked(nnix, "registry", f"@{RESOLVER}", "another.lame.zj", "A")
    until(lambda: answers() == [10, 10, 1], BUSY_SECONDS, "all is counted")
    until(
        lambda: trips()["name-node/ns-hz"].get("registry", {}).get("samples", 0) > 0, BUSY_SECONDS, "the way to who asked over TCP is known"
    )
    told = counted()
    seen = told["name-node/ns-hz"]["as_seen_p50_seconds"]["registry"]
    assert seen > told["name-node/ns-hz"]["latency"]["registry"]["p50_seconds"]
    assert 0 < told["name-node/ns-hz"]["round_trip"]["registry"]["p50_seconds"] < 5
    assert told["name-node/ns-nb"]["round_trip"] == {}, "nobody asked it over TCP"
    assert "half, as seen" in nnix("naming", "stats")
    node, _, resolver = (told[each] for each in SERVERS)
    assert any(each.endswith("203.0.113.102 refused") for each in resolver["lame"]), resolver["lame"]
    assert "lame.zj. lame delegation: refused" in resolver["failing"]
    assert node["volume"]["dns-tcp-queries-received-ipv4"] >= 5
    assert node["unreadable"] >= 2
    assert node["not_told"] < 0.1 * (node["own_looks"] + node["queries"]), (
        "NSD tells less when it is busy, and the counter says how much less"
    )
    nnix("naming", "stats", "--rssac002", str(tmp_path / "published"), "--plot", str(tmp_path / "day.svg"))
    found = {path.parent.name: yaml.safe_load(path.read_text()) for path in (tmp_path / "published").rglob("ns-hz*.yaml")}
    assert found["rcode-volume"]["3"] >= 10
    assert found["zone-size"]["metric"] == "zone-size"
    assert (tmp_path / "day.svg").read_text().startswith("<svg")
    assert "did you mean resolver" in nnix.raw("naming", "stats", "resolvr").stderr


def test_what_is_killed_comes_back_and_is_told_meanwhile(nnix: Nnix) -> None:
    """`kill -9` of an NSD, a Knot, the gate's Knot and a counter: show says so at once, and `nnix run` has all of them back; the counter says how many
    seconds it was away."""
    gaps = len(nnix.json("naming", "stats", "ns-jh")[0]["gaps"])
    for machine, comm in KILLED.items():
        os.kill(int(Path(f"{nnix.home(machine) / comm}.pid").read_text()), signal.SIGKILL)
    until(lambda: shown(nnix)["name-gate/gate"] == "down", BUSY_SECONDS, "the gate is down")
    assert any(each["name"] == "gate" and not each["good"] for each in nnix.json("status", "name-gate", status=3))
    loop = nnix.started("run")
    try:
        until(lambda: set(shown(nnix).values()) == {"running", "served", "announced", "resolving"}, BUSY_SECONDS, "all is as it was")
    finally:
        loop.send_signal(signal.SIGINT)
        said, _ = loop.communicate(timeout=BUSY_SECONDS)
    until(lambda: len(nnix.json("naming", "stats", "ns-jh")[0]["gaps"]) > gaps, BUSY_SECONDS, "the counter says that it was away")
    for machine, comm in KILLED.items():
        assert f"{machine}/{comm.split('/')[0]}/{machine}" in said
