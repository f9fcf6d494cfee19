"""What OpenBGPD answered is read into the records of BIRD's; the answers are real ones of two versions."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from nnix.planes.routing import bgpctl
from nnix.planes.routing.asking import refusal
from nnix.planes.routing.openbgpd.marks import meant
from nnix.planes.routing.read import reason_of

DATA = Path(__file__).parents[2] / "data" / "routing"
VERSIONS = ("7.7", "8.8")
NOW = datetime(2026, 11, 26, 6, 0, 0)
RS = 139136


def answer(version: str, name: str) -> str:
    return (DATA / f"openbgpd-{version}" / f"{name}.json").read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_neighbours_are_read(version: str) -> None:
    """State, counts, limit and error of each; who waits for the member is Passive, as BIRD says it."""
    found = bgpctl.protocols(answer(version, "neighbors"), NOW, {"c_alpha_1_v4": 3})
    alpha, beta, epsilon, zeta = (found[f"c_{name}"] for name in ("alpha_1_v4", "beta_1_v6", "epsilon_1_v4", "zeta_1_v4"))

    assert (alpha.state, alpha.imported, alpha.filtered, alpha.limit, alpha.limit_action) == ("Established", 1, 3, 1010, "restart")
    assert alpha.since.startswith("2026-11-26 05:59:")
    assert reason_of(alpha) == ""
    assert (beta.state, reason_of(beta)) == ("Passive", "waits for the member to connect")
    assert reason_of(epsilon) == "max-prefix limit reached (16 routes)"
    assert reason_of(zeta) == "error in OPEN message, role mismatch"


def test_who_takes_several_paths_is_read_from_what_the_member_has_opened_with() -> None:
    """RFC 7911, 4: `recv` and `bidir` of the remote end; what we offer ourselves, or a member would send, says nothing of it."""

    def takes(mode: str, family: str = "IPv6 unicast") -> frozenset[int]:
        ours = {"capabilities": {"add-path": [{"family": "IPv4 unicast", "mode": "bidir"}]}}
        theirs = {"capabilities": {"add-path": [{"family": family, "mode": mode}]}}
        known = {"description": "c_delta_1_v6", "state": "Established", "session": {"local": ours, "remote": theirs}}
        return frozenset(bgpctl.protocols(json.dumps({"neighbors": [known]}), NOW, {})["c_delta_1_v6"].takes_several)

    assert takes("recv") == takes("bidir") == {6}
    assert takes("recv", "IPv4 unicast") == {4}
    assert takes("send") == takes("recv", "IPv4 vpn") == frozenset()


@pytest.mark.parametrize("version", VERSIONS)
def test_routes_are_read_as_they_were_meant(version: str) -> None:
    """With a wish, and NO_EXPORT that is held back meanwhile: the marks that a route bears only inside are not told."""
    text = answer(version, "rib")
    (route,) = map(meant, bgpctl.routes(text, NOW))

    assert (route.protocol, route.prefix, route.path, route.next_hop) == ("c_alpha_1_v4", "198.18.6.0/24", "64500", "192.0.2.11")
    assert set(route.large) == {(64500, 1, 2), (RS, 0, 64502), (RS, 1000, 1), (RS, 1001, 1)}
    assert route.attributes["community"] == "(64500,1) (65535,65281)"
    assert route.attributes["ext_community"] == "(rt, 64500, 9)"
    assert (route.attributes["med"], route.attributes["local_pref"]) == ("7", "100")
    assert bgpctl.eligible(text) == {("c_alpha_1_v4", "198.18.6.0/24")}


@pytest.mark.parametrize("version", VERSIONS)
def test_refused_routes_are_read_with_their_reasons(version: str) -> None:
    """What rules refused bears the reason; what the daemon itself threw out is told apart by its path and its attributes."""
    refused = {each.prefix: refusal(each).reason for each in bgpctl.routes(answer(version, "refused"), NOW)}
    malformed = {each.prefix: each.path for each in bgpctl.routes(answer(version, "error"), NOW)}
    leaks = bgpctl.with_otc(answer(version, "error" if version == "7.7" else "leaked"))

    assert refused["198.18.86.0/24"] == "irrdb_prefix_filtered"
    assert malformed["198.18.74.0/24"] == "64500 {64510 64511}"
    assert leaks == {("c_alpha_1_v4", "198.18.88.0/24")}
    assert bgpctl.counted([answer(version, "refused"), answer(version, "error")])["c_alpha_1_v4"] == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_a_question_that_was_not_answered_is_no_empty_answer(version: str) -> None:
    """bgpctl ends with 0 whatever happens, so its words decide; no routes at all are an answer."""
    assert bgpctl.trouble(answer(version, "no-table")) == "no such RIB"
    with pytest.raises(ValueError, match="no such RIB"):
        list(bgpctl.routes(answer(version, "no-table"), NOW))
    assert list(bgpctl.routes("{\n\n}\n", NOW)) == []
