"""examples/names, as a newcomer runs it: one command, no network, no key made by hand; and what the commands say of it is true."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.test_exchange import Nnix, until

pytestmark = pytest.mark.lab

RESOLVER, NODE = "203.0.113.70", "203.0.113.63"
KILLED = {"ns-hz": "nsd/ns-hz/nsd: xfrd", "ns-nb": "knot/ns-nb/knotd", "gate": "knot/gate/knotd"}


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
    return nnix.inside(machine, "kdig", "+retry=0", "+time=3", *question).stdout


def test_after_up_everything_is_served_and_announced(nnix: Nnix) -> None:
    """`up` has waited for it."""
    states = shown(nnix)
    assert {states[f"name-node/{each}"] for each in ("ns-hz", "ns-nb", "ns-jh")} == {"announced"}
    assert {states["zone/root"], states["zone/zj"]} == {"served"}
    assert states["resolver/resolver"] == "resolving"


def test_a_member_resolves_with_signatures_verified_by_the_root_of_the_model(nnix: Nnix) -> None:
    """From the anchors in names.yaml over the lab's root to the name (AD); a lame delegation is SERVFAIL."""
    said = asked(nnix, "tea-hill", f"@{RESOLVER}", "+dnssec", "www.zj", "TXT")
    assert '"hello"' in said
    assert re.search(r"Flags:.* ad", said), said
    assert "198.18.1.80" in asked(nnix, "west-lake", f"@{RESOLVER}", "www.tea.zj", "A")
    assert "status: SERVFAIL" in asked(nnix, "tea-hill", f"@{RESOLVER}", "+time=9", "www.lame.zj", "A")
    assert '"hello"' in asked(nnix, "west-lake", f"@{NODE}", "www.zj", "TXT")


def test_what_is_killed_comes_back_and_is_told_meanwhile(nnix: Nnix) -> None:
    """`kill -9` of an NSD, a Knot and the gate's Knot: show says so at once, and `nnix run` has all of them back."""
    for machine, comm in KILLED.items():
        os.kill(int(Path(f"{nnix.home(machine) / comm}.pid").read_text()), signal.SIGKILL)
    assert shown(nnix)["name-gate/gate"] == "down"
    assert any(each["name"] == "gate" and not each["good"] for each in nnix.json("status", "name-gate", status=3))
    loop = nnix.started("run")
    try:
        until(lambda: set(shown(nnix).values()) == {"running", "served", "announced", "resolving"}, 40, "all is as it was")
    finally:
        loop.send_signal(signal.SIGINT)
        said, _ = loop.communicate(timeout=30)
    for machine, comm in KILLED.items():
        assert f"{machine}/{comm.split('/')[0]}/{machine}" in said
