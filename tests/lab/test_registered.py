"""What registries and PeeringDB say of members, on route servers of both makes and in both families: whichever source it came from, and whether it decides or
is only said. Whatever BIRD does with it, OpenBGPD does as well.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnix.daemons import openbgpd
from nnix.planes.routing.communities import SAID
from nnix.planes.routing.kinds import RoutingPolicy, Session
from tests.lab.test_route_server import DRIVERS, RPSL, RS, VRPS, Lab, Told, exchange, running, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
    pytest.mark.skipif(not Path(openbgpd.PROGRAM).exists(), reason="openbgpd is not installed"),
]

MINE, NEXT = "198.51.100.0/24", "2001:db8:100::/48"  # AS64500's, in RPSL


@pytest.fixture(scope="module", params=sorted(DRIVERS))
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(request.param, exchange(request.param), tmp_path_factory.mktemp("registered")) as lab:
        for member in ("alpha", "beta"):
            for family in (4, 6):
                lab.speaker(member, family)
        yield lab


def under(
    lab: Lab, files: dict[str, bytes] | None = None, vrps: object = VRPS, sessions: dict[str, dict[str, Any]] | None = None, **policy: Any
) -> None:
    """The route server follows another policy from here on, and rests on other files; nobody's session goes down."""
    plain = exchange(lab.daemon)
    rules = plain.of(RoutingPolicy)[0].model_dump(mode="json", exclude_defaults=True)
    changed: list[Any] = [RoutingPolicy.model_validate({**rules, **policy})]
    for name, fields in (sessions or {}).items():
        session = plain.get(Session, f"{name}-1")
        assert session is not None
        changed.append(Session.model_validate({**session.model_dump(mode="json", exclude_defaults=True), **fields}))
    lab.files = files or {}
    lab.configure(plain.replaced(changed), vrps)


def said(told: Told) -> set[str]:
    """What the route server says of a route as regards registries, by slug."""
    slugs = {(RS, each.function, each.value): slug for slug, each in SAID.items() if slug.startswith("irrdb")}
    return {slugs[each] for each in told.large if each in slugs}


def refused(lab: Lab, member: str) -> set[tuple[str, str]]:
    return {(each.prefix, each.reason) for each in lab.refused(member)}


def withdrawn(lab: Lab, member: str, *prefixes: str) -> None:
    """Taken back, and gone from whoever heard of them."""
    for each in prefixes:
        lab.speaker(member, 6 if ":" in each else 4).withdraw(each)
    others = [speaker for name, speaker in lab.speakers.items() if not name.startswith(member) and speaker.notification is None]
    until(lambda: not any(each in other.heard for other in others for each in prefixes), "they are told still")


def test_registries_that_only_inform_refuse_nothing_and_say_what_they_know(lab: Lab) -> None:
    """irr: tag. Origin and prefix each known or not, in both families."""
    under(lab, irr="tag")
    four, six = lab.speaker("alpha"), lab.speaker("alpha", 6)
    four.announce(MINE)
    four.announce("198.18.70.0/24")
    four.announce("198.18.71.0/24", path=[64500, 64509])
    six.announce(NEXT)
    six.announce("2001:db8:101::/48", path=[64500, 64509])
    hears4, hears6 = lab.speaker("beta"), lab.speaker("beta", 6)

    assert said(hears4.hears(MINE)) == {"irrdb_origin_known", "irrdb_prefix_known"}
    assert said(hears4.hears("198.18.70.0/24")) == {"irrdb_origin_known", "irrdb_prefix_unknown"}
    assert said(hears4.hears("198.18.71.0/24")) == {"irrdb_origin_unknown", "irrdb_prefix_unknown"}
    assert said(hears6.hears(NEXT)) == {"irrdb_origin_known", "irrdb_prefix_known"}
    assert said(hears6.hears("2001:db8:101::/48")) == {"irrdb_origin_unknown", "irrdb_prefix_unknown"}
    withdrawn(lab, "alpha", MINE, "198.18.70.0/24", "198.18.71.0/24", NEXT, "2001:db8:101::/48")


def test_a_roa_does_for_a_route_object_where_the_policy_says_so(lab: Lab) -> None:
    """Down to its maximum length and no further; of an origin that is not the member's it does for nothing."""
    roas = [
        {"asn": 64500, "prefix": "198.18.72.0/22", "maxLength": 23},
        {"asn": 64509, "prefix": "198.18.80.0/24", "maxLength": 24},
        {"asn": 64500, "prefix": "2001:db8:200::/44", "maxLength": 48},
    ]
    under(lab, vrps={"roas": roas}, roas_are_route_objects=True, rpki="tag")
    four, six = lab.speaker("alpha"), lab.speaker("alpha", 6)
    for prefix in ("198.18.72.0/22", "198.18.74.0/23", "198.18.75.0/24"):
        four.announce(prefix)
    four.announce("198.18.80.0/24", path=[64500, 64509])
    six.announce("2001:db8:20f::/48")
    six.announce("2001:db8:300::/48")
    wanted = {
        ("198.18.75.0/24", "irrdb_prefix_filtered"),
        ("198.18.80.0/24", "irrdb_origin_as_filtered"),
        ("2001:db8:300::/48", "irrdb_prefix_filtered"),
    }
    until(lambda: refused(lab, "alpha") == wanted, f"not these are refused: {refused(lab, 'alpha')}")
    for prefix in ("198.18.72.0/22", "198.18.74.0/23"):
        assert (RS, 1000, 1) in lab.speaker("beta").hears(prefix).large
    lab.speaker("beta", 6).hears("2001:db8:20f::/48")
    under(lab, vrps={"roas": roas}, rpki="tag")
    until(lambda: ("198.18.72.0/22", "irrdb_prefix_filtered") in refused(lab, "alpha"), "without that, a ROA is no route object")
    withdrawn(
        lab, "alpha", "198.18.72.0/22", "198.18.74.0/23", "198.18.75.0/24", "198.18.80.0/24", "2001:db8:20f::/48", "2001:db8:300::/48"
    )


def test_route_objects_are_exact_or_let_more_specifics_pass(lab: Lab) -> None:
    """irr_more_specifics: down to the longest length that the policy accepts, in both families."""
    rpsl = RPSL + "\nroute: 198.18.64.0/22\norigin: AS64500\nsource: LAB\n\nroute6: 2001:db8:400::/44\norigin: AS64500\nsource: LAB\n"
    files = {"file:lab.rpsl": rpsl.encode()}
    under(lab, files)
    lab.speaker("alpha").announce("198.18.64.0/22")
    lab.speaker("alpha").announce("198.18.66.0/24")
    lab.speaker("alpha").announce("198.18.67.0/25")
    lab.speaker("alpha", 6).announce("2001:db8:40e::/48")
    exact = {
        ("198.18.66.0/24", "irrdb_prefix_filtered"),
        ("198.18.67.0/25", "prefix_len_too_long"),
        ("2001:db8:40e::/48", "irrdb_prefix_filtered"),
    }
    until(lambda: refused(lab, "alpha") == exact, f"not these are refused: {refused(lab, 'alpha')}")
    lab.speaker("beta").hears("198.18.64.0/22")
    under(lab, files, irr_more_specifics=True)
    lab.speaker("beta").hears("198.18.66.0/24")
    lab.speaker("beta", 6).hears("2001:db8:40e::/48")
    until(lambda: refused(lab, "alpha") == {("198.18.67.0/25", "prefix_len_too_long")}, "what is longer than accepted stays refused")
    withdrawn(lab, "alpha", "198.18.64.0/22", "198.18.66.0/24", "198.18.67.0/25", "2001:db8:40e::/48")


def test_what_registries_publish_of_their_whois_counts_as_route_objects(lab: Lab) -> None:
    """ARIN's table, packed, and NIC.BR's list, behind an RPSL file: what stands in any of them passes, the next prefix of the same origin does not."""
    files = {
        "file:arin.csv.gz": gzip.compress(b"prefix,origin_as,net_name\n198.18.61.0/24,AS64500,NET\n2001:db8:500::/48,AS64500,NET6\n"),
        "file:nicbr.txt": b"AS64510|Someone|1|198.18.62.0/24|2001:db8:600::/48\n",
    }
    under(lab, files, irr_sources=["lab.rpsl", "arin.csv.gz", "nicbr.txt"])
    four, six = lab.speaker("alpha"), lab.speaker("alpha", 6)
    four.announce("198.18.61.0/24")
    four.announce("198.18.62.0/24", path=[64500, 64510])
    four.announce("198.18.62.0/24")
    four.announce("198.18.63.0/24")
    six.announce("2001:db8:500::/48")
    six.announce("2001:db8:600::/48", path=[64500, 64510])
    wanted = {("198.18.62.0/24", "irrdb_prefix_filtered"), ("198.18.63.0/24", "irrdb_prefix_filtered")}
    until(lambda: refused(lab, "alpha") == wanted, f"not these are refused: {refused(lab, 'alpha')}")
    lab.speaker("beta").hears("198.18.61.0/24")
    lab.speaker("beta", 6).hears("2001:db8:500::/48")
    lab.speaker("beta", 6).hears("2001:db8:600::/48")
    four.announce("198.18.62.0/24", path=[64500, 64510])
    lab.speaker("beta").hears("198.18.62.0/24")
    withdrawn(lab, "alpha", "198.18.61.0/24", "198.18.62.0/24", "198.18.63.0/24", "2001:db8:500::/48", "2001:db8:600::/48")


def test_what_peeringdb_says_holds_where_a_member_has_said_nothing(lab: Lab) -> None:
    """AS64502 has told the exchange no as-set: PeeringDB's counts, with its registry; its limit as well, with a margin. AS64500 has told one. Who is never to be
    reached through route servers is refused, unless a member here."""
    rpsl = (
        RPSL
        + "".join(f"\nas-set: AS-GAMMA\nmembers: AS{asn}\nsource: {source}\n" for asn, source in ((64509, "ODD"), (64508, "LAB")))
        + "".join(
            f"\nroute: {prefix}\norigin: AS{asn}\nsource: LAB\n"
            for prefix, asn in (("198.18.81.0/24", 64508), ("198.18.82.0/24", 64509), ("198.18.83.0/24", 64502))
        )
    )
    networks = [
        {"asn": 64500, "irr_as_set": "AS-GAMMA"},
        {"asn": 64502, "irr_as_set": "LAB::AS-GAMMA", "info_prefixes4": 2},
        {"asn": 64510, "info_never_via_route_servers": True},
        {"asn": 64501, "info_never_via_route_servers": True},
    ]
    files = {"file:lab.rpsl": rpsl.encode(), "file:net.json": json.dumps({"data": networks}).encode()}
    under(lab, files, peeringdb=["net.json"], never_via_sources=["net.json"], blackhole=False, prefixes_max_margin_percent=50)
    gamma, alpha, beta = lab.speaker("gamma"), lab.speaker("alpha"), lab.speaker("beta")
    gamma.announce("198.18.81.0/24", path=[64502, 64508])
    gamma.announce("198.18.82.0/24", path=[64502, 64509])
    alpha.announce("198.18.81.0/24", path=[64500, 64508])
    alpha.announce(MINE, path=[64500, 64510])
    beta.announce("203.0.113.0/24")
    alpha.hears("203.0.113.0/24")
    assert beta.hears("198.18.81.0/24").path == (64502, 64508)
    until(
        lambda: refused(lab, "gamma") == {("198.18.82.0/24", "irrdb_origin_as_filtered")}, "the registry that PeeringDB names is not heeded"
    )
    until(
        lambda: refused(lab, "alpha") == {("198.18.81.0/24", "irrdb_origin_as_filtered"), (MINE, "never_via_route_server")},
        f"not these are refused: {refused(lab, 'alpha')}",
    )
    gamma.announce("198.18.83.0/24")
    beta.hears("198.18.83.0/24")
    gamma.announce("198.18.84.0/24")
    until(lambda: gamma.notification is not None, "the fourth prefix is more than PeeringDB's two and half of them")
    assert gamma.notification is not None and gamma.notification[0] == 6
    under(lab)
    withdrawn(lab, "alpha", "198.18.81.0/24", MINE)
    withdrawn(lab, "beta", "203.0.113.0/24")


def test_whom_a_members_routes_reach_its_aut_num_may_say(lab: Lab) -> None:
    """import-via and export-via (RPSL), where the policy asks for them and the session is silent; both families."""
    rpsl = RPSL + f"\naut-num: AS64500\nexport-via: AS{RS} to AS-ANY EXCEPT AS64501 announce AS-ALPHA\nsource: LAB\n"
    rpsl += f"\naut-num: AS64503\nimport-via: AS{RS} from AS64502 accept ANY\nsource: LAB\n"
    files = {"file:lab.rpsl": rpsl.encode()}
    under(lab, files, rpsl_via=True)
    lab.speaker("alpha").announce(MINE)
    lab.speaker("alpha", 6).announce(NEXT)
    lab.speaker("beta").announce("203.0.113.0/24")
    delta, delta6, epsilon = lab.speaker("delta"), lab.speaker("delta", 6), lab.speaker("epsilon")
    delta.hears(MINE)
    delta6.hears(NEXT)
    delta.hears("203.0.113.0/24")
    assert MINE not in lab.speaker("beta").heard
    assert NEXT not in lab.speaker("beta", 6).heard
    assert not epsilon.heard
    under(lab, files)
    lab.speaker("beta").hears(MINE)
    lab.speaker("beta", 6).hears(NEXT)
    epsilon.hears(MINE)
    withdrawn(lab, "alpha", MINE, NEXT)
    withdrawn(lab, "beta", "203.0.113.0/24")
