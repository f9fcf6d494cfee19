"""The examples: what is made by a script is what the script makes, and both are as large as they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nnix.cli.files import admitted
from nnix.cli.root import ALL_PLANES
from nnix.kernel.change import compile_all
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.kinds import Port
from nnix.planes.fabric.prove.network import network
from nnix.planes.members.kinds import Member, MemberClass, Site
from nnix.planes.routing.kinds import RouteServer

EXAMPLES = Path(__file__).parents[2] / "examples"
NOT_NETWORKS = {MemberClass.IXP, MemberClass.ROUTE_SERVER}


def test_national_is_what_its_script_makes(tmp_path: Path) -> None:
    """Every file but the script and SOURCE.txt, to the byte."""
    subprocess.run([sys.executable, EXAMPLES / "national/make.py", tmp_path], check=True)
    made = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {str(path.relative_to(EXAMPLES / "national")) for path in (EXAMPLES / "national").rglob("*") if path.is_file()}
    assert {name for name in kept if "__pycache__" not in name} == {*made, "make.py", "SOURCE.txt"}
    assert all((EXAMPLES / "national" / name).read_bytes() == text for name, text in made.items())


@pytest.mark.parametrize(("name", "sites", "members"), [("zhejiang", 12, 60), ("national", 32, 300)])
def test_an_example_is_large_and_whole(name: str, sites: int, members: int) -> None:
    """Members of every class, somebody at each site, two lines at least to each site, and two sites abroad."""
    snapshot = admitted(EXAMPLES / name, Snapshot()).snapshot
    net = network(snapshot)
    assert (len(net.sites) >= sites, len(snapshot.of(Member)) >= members) == (True, True)
    assert {each.member_class for each in snapshot.of(Member)} == set(MemberClass) - NOT_NETWORKS
    assert {each.site for each in snapshot.of(Port)} == {each.name for each in snapshot.of(Site)}
    assert min(len({other for other, _ in around}) for around in net.around) >= 2
    assert sum(each.country != "CN" for each in net.sites) == 2


def test_two_route_servers_of_different_make_follow_one_policy() -> None:
    """`two-makes` is admitted, and its one policy is spelled for BIRD and for OpenBGPD."""
    found = admitted(EXAMPLES / "two-makes", Snapshot())
    servers = found.snapshot.of(RouteServer)
    configured = {each.driver for each in compile_all(ALL_PLANES, found.snapshot, found.evidence).values() if each.name.startswith("rs-")}

    assert len({each.policy for each in servers}) == 1
    assert {each.daemon for each in servers} == {"bird", "openbgpd"} <= configured
