"""What BIRD answered is read as it was meant; the answers are real ones of three versions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnix.kernel.plane import Status
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Host, Result, Unreachable
from nnix.planes.routing import birdc
from nnix.planes.routing.asking import reason_of_complaint
from nnix.planes.routing.communities import CONTROLS, REASONS, SAID, STAND_IN
from nnix.planes.routing.read import read, reason_of, refused_in, refused_routes
from tests.unit.routing.exchange import exchange, member

DATA = Path(__file__).parents[2] / "data" / "routing"
DOCS = Path(__file__).parents[3] / "docs" / "routing.md"
VERSIONS = ("2.0.12", "2.17.6", "3.1.8")
MEMBERS = {"c_alpha_1_v4": ("alpha", "alpha-1"), "c_alpha_1_v6": ("alpha", "alpha-1"), "c_beta_1_v4": ("beta", "beta-1")}


def answer(version: str, name: str) -> str:
    return (DATA / f"bird-{version}" / name).read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_protocols_are_read(version: str) -> None:
    """State, counts, limit and error of each BGP protocol; others are passed over."""
    text = answer(version, "protocols.txt")
    found = birdc.protocols(text)

    assert birdc.version(text) == version
    assert set(found) == {"c_alpha_1_v4", "c_alpha_1_v6", "c_beta_1_v6", "c_epsilon_1_v4", "c_zeta_1_v4"}
    alpha = found["c_alpha_1_v4"]
    assert (alpha.state, alpha.imported, alpha.filtered, alpha.exported, alpha.limit, alpha.limit_hit) == (
        "Established",
        1,
        4,
        0,
        1010,
        False,
    )
    assert reason_of(alpha) == ""
    assert reason_of(found["c_beta_1_v6"]) == "waits for the member to connect"
    assert reason_of(found["c_zeta_1_v4"]) == "BGP Error: Role mismatch"
    assert reason_of(found["c_epsilon_1_v4"]) == "max-prefix limit reached (16 routes)"


def test_who_takes_several_paths_is_read_from_what_the_member_has_opened_with() -> None:
    """RFC 7911, 4: what we offer ourselves says nothing of it, nor does a member's wish to send several."""
    head = "c_delta_1_v6 BGP        ---        up     2026-11-26 16:28:14  Established\n  BGP state:          Established\n"
    ours = "    Local capabilities\n      Route refresh\n      ADD-PATH\n        RX: ipv4 ipv6\n        TX: ipv6\n      Role: rs_server\n"
    theirs = (
        "    Neighbor capabilities\n      Multiprotocol\n        AF announced: ipv4 ipv6\n      ADD-PATH\n        RX:{}\n        TX: ipv4\n"
    )
    plain = "    Neighbor capabilities\n      Route refresh\n"
    last = "    Session:          external route-server AS4\n"

    def takes(text: str) -> frozenset[int]:
        return frozenset(birdc.protocols(head + text + last)["c_delta_1_v6"].takes_several)

    assert takes(ours + theirs.format(" ipv6")) == {6}
    assert takes(ours + theirs.format(" ipv4 ipv6")) == {4, 6}
    assert takes(ours + theirs.format("")) == takes(ours + plain) == frozenset()


@pytest.mark.parametrize("version", VERSIONS)
def test_refused_routes_are_read_with_their_reasons(version: str) -> None:
    """Also the second route of a prefix, an empty path and an AS_SET; whoever is not asked about is left out."""
    found = refused_in(answer(version, "filtered.txt"), "rs1", MEMBERS)

    assert {(each.session, each.prefix, each.as_path, each.next_hop, each.reason) for each in found} == {
        ("alpha-1", "10.0.0.0/16", "64500", "192.0.2.11", "bogon"),
        ("beta-1", "10.0.0.0/16", "64501", "192.0.2.12", "bogon"),
        ("alpha-1", "198.18.1.0/24", "64500", "192.0.2.12", "next_hop_not_peer_ip"),
        ("alpha-1", "198.18.4.0/24", "", "192.0.2.11", "as_path_too_short"),
        ("alpha-1", "198.18.7.0/24", "64500 {64510 64511}", "192.0.2.11", "as_set_in_path"),
        ("alpha-1", "fd00::/32", "64500", "2001:db8:ffff::11", "not_global_unicast"),
    }
    assert all(each.since.startswith("20") for each in found)
    assert refused_in(answer(version, "filtered.txt"), "rs1", {}) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_what_bird_threw_out_is_read_from_its_log(version: str) -> None:
    """A complaint, then the route that it is about."""
    found = birdc.complaints(answer(version, "bird.log"))

    assert set(found) == {("c_alpha_1_v4", "198.18.2.0/24"), ("c_alpha_1_v4", "198.18.3.0/24")}
    assert reason_of_complaint(found["c_alpha_1_v4", "198.18.3.0/24"].words)[0] == "otc_leak"
    slug, words, next_hop = reason_of_complaint(found["c_alpha_1_v4", "198.18.2.0/24"].words)
    assert (slug, next_hop) == ("next_hop_not_peer_ip", "203.0.113.9")
    assert "not directly reachable" in words


@given(st.text(), st.sampled_from(["protocols", "routes", "complaints"]))
def test_no_answer_crashes_the_reader(text: str, name: str) -> None:
    """A daemon that is dying may print anything."""
    assert birdc.protocols(text) is not None
    assert list(birdc.routes(text)) is not None
    assert birdc.complaints(text) is not None


class Silent(NamedTuple):
    """A machine that answers every command in the same way, or cannot be reached: what a daemon that is not there looks like."""

    result: Result | None
    name: str = "rs"
    home: str = "/h"

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        if self.result is None:
            raise Unreachable("no route to it")
        return self.result

    async def put(self, files: Mapping[str, bytes | None], *, mode: int = 0o600) -> None: ...

    async def get(self, paths: Sequence[str]) -> Mapping[str, bytes | None]:
        return dict.fromkeys(paths)

    def host(self, machine: str) -> Host:
        return self


def statuses(snapshot: Snapshot, machines: Silent) -> dict[str, Status]:
    return {each.resource: each for each in asyncio.run(read(snapshot, machines))}


GONE = Result(1, "", "Unable to connect to server control socket")


@pytest.mark.parametrize(
    ("machines", "words"), [(Silent(None), "no route to it"), (Silent(GONE), "Unable to connect to server control socket")]
)
def test_a_route_server_that_cannot_be_asked_is_a_status(machines: Silent, words: str) -> None:
    """Never an exception; its sessions are unknown, not down."""
    found = statuses(exchange(), machines)

    assert (found["route-server/rs1"].state, found["route-server/rs1"].reason, found["route-server/rs1"].good) == ("down", words, False)
    assert (found["session/m1-s"].state, found["session/m1-s"].good) == ("unknown", False)
    with pytest.raises(Unreachable):
        asyncio.run(refused_routes(exchange(), machines))


@pytest.mark.parametrize(
    ("fields", "port", "state", "good"),
    [
        ({}, "production", "down", False),
        ({}, "drained", "drained", True),
        ({}, "suspended", "off", True),
        ({}, "quarantine", "off", True),
        ({"route_servers": False}, "production", "bilateral", True),
    ],
)
def test_a_session_is_as_wanted_by_the_state_of_its_port(fields: dict[str, Any], port: str, state: str, good: bool) -> None:
    """An empty daemon: what should be up is not; what should not be is as wanted."""
    empty = Silent(Result(0, "BIRD 2.0.12 ready.\n", ""))
    found = statuses(exchange(*member(1, port={"state": port}, **fields)), empty)["session/m1-s"]

    assert (found.state, found.good) == (state, good)
    if state == "down":
        assert found.reason == "rs1 IPv4, rs1 IPv6, rs2 IPv4, rs2 IPv6: not configured there"
        assert statuses(exchange(), empty)["route-server/rs1"].state == "differs"


def reference() -> str:
    """The tables of the reference page, from the tables of the program."""
    reasons = ["| value | slug | a route is refused because | source |", "| --- | --- | --- | --- |"]
    reasons += [f"| RS:1101:{each.number} | `{each.slug}` | {each.words} | {each.source} |" for each in REASONS.values()]
    said = ["| value | slug | meaning |", "| --- | --- | --- |"]
    said += [f"| RS:{each.function}:{each.value} | `{slug}` | {each.words} |" for slug, each in SAID.items()]
    controls = ["| wish | standard | extended | large |", "| --- | --- | --- | --- |"]
    controls += [f"| {each.words} | {each.standard} | {each.extended} | {each.large} |" for each in CONTROLS]
    return "\n\n".join("\n".join(table) for table in (controls, said, reasons))


def test_the_reference_page_has_the_programs_tables() -> None:
    """Every community stands in the page as it is in the program; a mended table is printed here to be pasted."""
    page = DOCS.read_text()

    for table in reference().split("\n\n"):
        assert table in page, f"put into {DOCS.name}:\n{table}"
    assert str(STAND_IN) in page
