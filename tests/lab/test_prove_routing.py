"""The proof itself, put to the proof: a configuration that means something else than the policy is found out, in a real daemon of its make, before it is touched.

Each mutation changes the compiled text as a slip of the spelling would. Most of them are nothing to the daemon's own parser.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnix.cli import routing
from nnix.cli.root import ALL_PLANES, Setting
from nnix.daemons import openbgpd
from nnix.daemons.bird import BIRD, BirdDriver
from nnix.daemons.openbgpd import OPENBGPD, OpenbgpdDriver
from nnix.daemons.secrets import Secrets
from nnix.kernel.change import Model, draft
from nnix.kernel.rule import Refused
from nnix.kernel.world import Artifact, Driver, Failed
from nnix.planes.routing.compile import ServerPolicy, compile, policy
from nnix.planes.routing.kinds import RouteServer
from nnix.planes.routing.prove.compare import Difference
from nnix.planes.routing.prove.evaluate import Evaluator
from nnix.planes.routing.prove.witnesses import plan
from nnix.planes.routing.trial.run import Proof, tried
from nnix.planes.routing.trial.stand import Stand, stand
from tests.unit.routing.proving import given, showing

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is not installed"),
    pytest.mark.skipif(not Path(openbgpd.PROGRAM).exists(), reason="openbgpd is not installed"),
]

AT_ONCE = 4  # most of a trial is waiting

# What is lost or turned round: in words, the text that is there (a pattern), and what stands there instead.
MUTATIONS: tuple[tuple[str, str, str], ...] = (
    # prefixes
    ("an IPv4 bogon is dropped", r"100\.64\.0\.0/10\+, ", ""),
    ("the last IPv4 bogon is dropped", r", 240\.0\.0\.0/4\+\]", "]"),
    ("an IPv6 bogon is dropped", r"2001:20::/28\+, ", ""),
    ("a bogon is refused without its more specifics", r"192\.168\.0\.0/16\+", "192.168.0.0/16"),
    ("a bogon is too short by one", r"172\.16\.0\.0/12\+", "172.0.0.0/11+"),
    ("IPv6 is forgotten in the test for bogons", r"  if net ~ NNIX_BOGONS6 .*\n", ""),
    ("the exchange's own LAN may be announced", r"  if net ~ NNIX_LANS4 .*\n", ""),
    ("a default route is accepted", r"  if net = 0\.0\.0\.0/0 .*\n", ""),
    ("the test for 2000::/3 is turned round", r"if ! \(net ~ \[2000::/3\+\]\)", "if (net ~ [2000::/3+])"),
    ("2000::/3 is one bit too wide", r"\[2000::/3\+\]", "[::/2+]"),
    ("the longest prefix is too long by one", r"(nnix_sane4\(1002, 8, )24", r"\g<1>25"),
    ("the shortest prefix is too short by one", r"(nnix_sane6\(1002, )12", r"\g<1>11"),
    ("host routes need no BLACKHOLE", r"  if net\.len > nnix_longest then \{ if ! .*\n", ""),
    # paths
    ("the longest path is too long by one", r"bgp_path\.len > 32", "bgp_path.len > 33"),
    ("the longest path is too short by one", r"bgp_path\.len > 32", "bgp_path.len > 31"),
    ("an empty path is accepted", r"  if bgp_path\.len < 1 .*\n", ""),
    ("a loop over the route server is accepted", r"  if bgp_path ~ \[RS\] .*\n", ""),
    ("AS_SETs are accepted", r"  if ! nnix_sets then nnix_flat4.*\n", ""),
    ("an AS_SET at the end is not seen", r"  if bgp_path\.last = 0 .*\n", ""),
    ("a range of ASNs begins one too high", r"64512\.\.65534", "64513..65534"),
    ("a range of ASNs ends one too low", r"4200000000\.\.4294967294", "4200000000..4294967293"),
    ("AS_TRANS is no bogon", r" 23456,", ""),
    ("bogon ASNs are not looked for in IPv6", r"  if bgp_path ~ NNIX_BOGON_ASNS6 .*\n", ""),
    ("leaks behind a transit-free network pass", r"  if nnix_behind .*\n", ""),
    ("never-via-route-servers is not heeded", r"  if bgp_path ~ NNIX_NEVER4 .*\n", ""),
    ("the first AS is not checked", r"  if bgp_path\.first != nnix_peer .*\n", ""),
    ("one client's own ASN is another's", r"nnix_sane4\(1003,", "nnix_sane4(1002,"),
    # next hop, registries, RPKI
    ("a foreign next hop is accepted from one client", r"      nnix_next\(1002, 10\.9\.0\.12\);\n", ""),
    ("one client's as-set is lost", r"define NNIX_O_m3_s = \[1003\]", "define NNIX_O_m3_s = [1..4294967295]"),
    ("one client's customer is lost", r"define NNIX_O_m1_s = \[1001,2001\]", "define NNIX_O_m1_s = [1001]"),
    ("one client's as-set is another's", r", NNIX_O_m5_s\)", ", NNIX_O_m4_s)"),
    ("route objects are not asked for", r"      nnix_registered4\(1002, 24\);\n", ""),
    ("a route object is lost", r" route 20\.3\.1\.0/24 max 24 as 1003;\n", ""),
    ("route objects let more specifics pass", r"(22\.3\.0\.0/23) max 23", r"\1 max 24"),
    ("invalid origins pass", r"nnix_valid4\(1005, 24, NNIX_YES\)", "nnix_valid4(1005, 24, NNIX_NO)"),
    ("IPv6 is not held against the RPKI", r"ROA_INVALID: \{ if nnix_rejects then nnix_refuse\(13, nnix_peer\); (bgp_l[^}]*\})\n(?=[^}]*\n[^}]*\n  \}\n\}\n\nfunction nnix_mark6)", r"ROA_INVALID: { \1\n"),
    ("valid and unknown are exchanged", r"ROA_VALID: (.*), 1\)\);", r"ROA_VALID: \1, 2));"),
    # reasons and what is said
    ("a reason is another's", r"(if net ~ NNIX_BOGONS4 then nnix_refuse\()3", r"\g<1>103"),
    ("inbound communities are left unscrubbed", r"  nnix_scrub\(\);\n", ""),
    ("scrubbing ends one too early", r"\(RS, 2\.\.100, \*\)", "(RS, 2..99, *)"),
    ("refused routes are not kept", r"    import keep filtered on;\n", ""),
    # blackholes and shutdown
    ("NO_EXPORT is not put on blackholes", r"    bgp_community\.add\(\(65535, 65281\)\);\n    bgp_next", "    bgp_next"),
    ("the sink's address is not set", r"    bgp_next_hop = 10\.9\.0\.66;\n", ""),
    ("a blackhole goes to whom wants none", r"        if defined\(nnix_blackhole\) then reject;\n", ""),
    ("a blackhole needs no cover", r"    if roa_check\(irr6_covering.*\n", ""),
    ("GRACEFUL_SHUTDOWN is not heeded", r"  if nnix_going then .*\n", ""),
    ("GRACEFUL_SHUTDOWN of one client is not heeded", r"nnix_mark6\(200004, NNIX_YES\)", "nnix_mark6(200004, NNIX_NO)"),
    # wishes
    ("not-to is not heeded", r"  if \(RS, 0, nnix_peer\) ~ bgp_large_community then nnix_told = false;\n", ""),
    ("to-none is turned round", r"(\(RS, 0, 0\) ~ bgp_large_community then nnix_told =) false", r"\1 true"),
    ("standard communities are not heeded", r"  if bgp_community ~ NNIX_CONTROLS_STANDARD .*\n", ""),
    ("a wish about one client is heeded for another", r"nnix_heed\(1003, 1003\)", "nnix_heed(1002, 1002)"),
    ("prepends are one too few", r"  if nnix_prepends > 2 .*\n", ""),
    ("prepends of two and three are exchanged", r"\(RS, 102, 0\) ~ bgp_large_community then nnix_closer = 2", "(RS, 102, 0) ~ bgp_large_community then nnix_closer = 3"),
    ("a wish about all beats one about one", r"(  if \(RS, 101, )nnix_peer(\) ~ bgp_large_community then nnix_closer)", r"\g<1>0\2"),
    ("wishes are left on the route", r"  bgp_large_community\.delete\(NNIX_CONTROLS_LARGE\);\n", ""),
    ("two clients' export filters are exchanged", r"nnix_heed\(1001, 1001\)", "nnix_heed(1006, 1006)"),
    # sessions and the table
    ("the best path is hidden", r"    secondary on;\n", ""),
    ("the next hop is the route server's own", r"next hop keep on", "next hop self on"),
    ("the route server puts itself into the path", r"  rs client;\n", ""),
    ("NO_EXPORT is the route server's to heed", r"  interpret communities off;\n", ""),
    ("the role is another", r"local role rs_server", "local role provider"),
    ("a strict role is not asked for", r"  require roles on;\n", ""),
    ("a receive limit is lost", r"    receive limit 160 action restart;\n  \};\n\}\n\Z", "  };\n}\n"),
    ("a receive limit is too high by one", r"receive limit 160", "receive limit 161"),
    ("a limit only warns", r"action restart", "action warn"),
    ("the hold time is another", r"hold time 90", "hold time 180"),
    ("what members sent is not kept", r"    import table on;\n", ""),
    ("a client is missing", r"protocol bgp c_m6_s_v6 (?s:.)*\Z", ""),
)  # fmt: skip


# The same for OpenBGPD's, where a rule stands twice: for what is passed on, and for what is kept as refused (`rib refused`).
OPENBGPD_MUTATIONS: tuple[tuple[str, str, str], ...] = (
    # prefixes
    ("an IPv4 bogon is dropped", r"  100\.64\.0\.0/10 or-longer\n", ""),
    ("an IPv6 bogon is dropped", r"  2001:20::/28 or-longer\n", ""),
    ("a bogon is refused without its more specifics", r"192\.168\.0\.0/16 or-longer", "192.168.0.0/16"),
    ("a default route is too short, no default route", r"\n(?:deny quick|allow quick rib refused) from any prefix 0\.0\.0\.0/0(?= set|\n)[^\n]*", ""),
    ("the exchange's own LAN is a bogon like any other", r'\n(?:deny quick|allow quick rib refused) from any prefix-set "lans"[^\n]*', ""),
    ("2000::/3 is one bit too wide", r"2000::/3 or-longer", "::/2 or-longer"),
    ("the longest prefix is too long by one", r"prefixlen > 24 set large-community 139136:1101:1\n", "prefixlen > 25 set large-community 139136:1101:1\n"),
    ("the shortest prefix is too short by one", r"::/0 prefixlen < 12", "::/0 prefixlen < 11"),
    ("a host route is none with BLACKHOLE", r"\nmatch from any community 65535:666 set large-community delete 139136:1101:1\n", "\n"),
    # paths
    ("the longest path is too long by one", r"max-as-len 32", "max-as-len 33"),
    ("a loop over the route server is accepted", r"\ndeny quick from any AS 139136\n", "\n"),
    ("AS_SETs are accepted", r"reject as-set yes", "reject as-set no"),
    ("a range of ASNs begins one too high", r"AS 64512 - 65534", "AS 64513 - 65534"),
    ("AS_TRANS is no bogon", r"\ndeny quick from any AS 23456\n", "\n"),
    ("leaks behind a transit-free network pass", r'\nmatch from any AS as-set "transit_free" [^\n]*', ""),
    ("never-via-route-servers is not heeded", r'\ndeny quick from any AS as-set "never"', ""),
    ("the first AS is not checked", r"(\nmatch from any )peer-as neighbor-as (set)", r"\1\2"),
    # next hop, registries, RPKI
    ("a foreign next hop is accepted", r"(\nmatch from any )nexthop neighbor (set)", r"\1\2"),
    ("one client's customer is lost", r'(as-set "o_m1_s" \{\n  1001\n)  2001\n', r"\1"),
    ("one client's as-set is another's", r'10\.9\.0\.15 source-as as-set "o_m5_s"', '10.9.0.15 source-as as-set "o_m4_s"'),
    ("a route object is lost", r"  20\.3\.1\.0/24 maxlen 24 source-as 1003\n", ""),
    ("route objects let more specifics pass", r"(22\.3\.0\.0/23) maxlen 23", r"\1 maxlen 24"),
    ("route objects are not asked for", r"\ndeny quick from any large-community 139136:1101:9\n", "\n"),
    ("invalid origins pass", r"\ndeny quick from any large-community 139136:1101:13\n", "\n"),
    ("valid is said to be unknown", r"ovs valid set large-community 139136:1000:1", "ovs valid set large-community 139136:1000:2"),
    # reasons and what is said
    ("a reason is another's", r'(rib refused from any prefix-set "bogons" set [^\n]*):3 ', r"\1:103 "),
    ("inbound communities are left unscrubbed", r"\nmatch from any set \{ large-community delete [^\n]*", ""),
    ("refused routes are not kept", r"\nallow quick rib refused from any AS 23456 [^\n]*", ""),
    # blackholes and shutdown
    ("NO_EXPORT is not put on blackholes", r"(139136:4294960008:\*) large-community 139136:4294960000:1 ", r"\1 "),
    ("the sink's address is not set", r"\nmatch from any inet community 65535:666 set nexthop [^\n]*", ""),
    ("a blackhole goes to whom wants none", r"\ndeny quick to 10\.9\.0\.13 community 65535:666", ""),
    ("a blackhole needs no cover", r"\ndeny quick from any large-community 139136:1101:108\n", "\n"),
    ("GRACEFUL_SHUTDOWN is not heeded", r"\nmatch from any community 65535:0 set localpref 0", ""),
    # wishes
    ("not-to is not heeded", r"\nmatch to any large-community 139136:0:neighbor-as [^\n]*", ""),
    ("to is not heeded", r"\nmatch to any large-community 139136:1:neighbor-as [^\n]*", ""),
    ("standard to-none is not heeded", r"\nmatch to any community 0:65000 [^\n]*", ""),
    ("an extended wish is not heeded", r"\nmatch to any ext-community rt 0:neighbor-as [^\n]*", ""),
    ("prepends are one too few", r"set prepend-neighbor 3", "set prepend-neighbor 2"),
    ("wishes are left on the route", r"\nmatch to any set \{ community delete [^\n]*", ""),
    # sessions and the table
    ("the best path is hidden", r"rde evaluate all", "rde evaluate default"),
    ("the route server puts itself into the path", r"transparent-as yes", "transparent-as no"),
    ("a route goes back to its announcer, and none takes its place", r"\ndeny quick to any peer-as neighbor-as", ""),
    ("a strict role is not asked for", r"\$announce_role_strict", "$announce_role"),
    ("a limit is too high by one", r"max-prefix 160", "max-prefix 161"),
    ("the hold time is another", r"holdtime 90", "holdtime 180"),
)  # fmt: skip

# Sessions with several paths: two clients are told them, two may send them.
SEVERAL: Mapping[int, Mapping[str, str]] = {3: {"add_paths": "both"}, 4: {"add_paths": "send"}, 5: {"add_paths": "receive"}}
OUT_M4 = r"(nnix_heed\(200004, 0\);\n      \}\n)"  # of m4's export filter
SEVERAL_MUTATIONS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "bird": (
        ("one client is told one path", r"add paths tx", "add paths off"),
        ("one client may not send several", r"add paths on", "add paths tx"),
        ("a path too many: a wish about one client is heeded for another", r"nnix_heed\(1003, 1003\)", "nnix_heed(1006, 1006)"),
        ("a path too few: the second of two clients", OUT_M4, r"\1      if bgp_path.first = 1002 && bgp_path.len > 3 then reject;\n"),
        ("a path too few: the third of one client", OUT_M4, r"\1      if bgp_path.first = 1003 && bgp_path.len = 3 && bgp_path.last = 1003 && net ~ [22.3.0.0/23] then reject;\n"),
        ("one of two paths is altered", OUT_M4, r"\1      if bgp_path.first = 1002 && bgp_path.len > 3 then bgp_med = 7;\n"),
    ),
    "openbgpd": (
        ("one client is told one path", r"(AS200004(?s:.)*?)announce add-path send all\n", r"\1"),
        ("one client may not send several", r"announce add-path recv yes\n", ""),
        ("a path too many: not-to is not heeded", r"\nmatch to any large-community 139136:0:neighbor-as [^\n]*", ""),
        ("a path too few: one more than the best, and no third", r"add-path send all", "add-path send best plus 1"),
        ("one of two paths is altered", r"\ndeny quick to any peer-as neighbor-as", r"\g<0>\nmatch to 10.9.0.14 AS 1002 set med 7"),
    ),
}  # fmt: skip


TABLES: Mapping[str, tuple[Driver, tuple[tuple[str, str, str], ...]]] = {
    "bird": (BIRD, MUTATIONS),
    "openbgpd": (OPENBGPD, OPENBGPD_MUTATIONS),
}


def of_make(make: str, sessions: Mapping[int, Mapping[str, Any]] | None = None) -> tuple[ServerPolicy, Artifact]:
    plain = showing(sessions=sessions)
    first = plain.get(RouteServer, "rs1")
    assert first is not None
    snapshot = plain.replaced([first.changed(daemon=make)])
    artifact = next(each for each in compile(snapshot, given()) if each.name == "rs1")
    return policy(snapshot, given())[0], artifact


@pytest.fixture(scope="module")
def candidate() -> tuple[ServerPolicy, Artifact]:
    return of_make("bird")


@asynccontextmanager
async def _place(server: ServerPolicy) -> AsyncIterator[Stand]:
    async with stand([server], f"nnt{os.getpid()}") as place:
        yield place


@pytest.mark.parametrize("make", sorted(TABLES))
def test_the_candidate_is_what_its_policy_says(make: str) -> None:
    """Some 500 witnesses over twelve sessions: wire, tables and sessions are as the evaluator says, and nothing could not be shown."""
    server, artifact = of_make(make)

    async def prove() -> Proof:
        async with _place(server) as place:
            return await tried(server, artifact, TABLES[make][0], place)

    proof = asyncio.run(prove())

    assert proof.differences == ()
    assert proof.silent == ()
    assert proof.sessions == 12
    assert proof.witnesses > 400


@pytest.mark.parametrize("make", sorted(TABLES))
def test_every_mutation_is_found(make: str) -> None:
    """More than 60 of BIRD's text, more than 40 of OpenBGPD's; the difference that gives each away names a place, and what was expected and seen there."""
    driver, mutations = TABLES[make]

    seen = _found_out(*of_make(make), driver, mutations)

    _all_found_out(seen)
    assert len(seen) == len(mutations) > (60 if make == "bird" else 40)


@pytest.mark.parametrize("make", sorted(SEVERAL_MUTATIONS))
def test_several_paths_are_as_the_policy_says_and_one_too_many_or_too_few_is_found(make: str) -> None:
    """ADD-PATH (RFC 7911) is agreed on with whom it is declared for, and sets are compared: of routes of two clients, and of several that one client sends."""
    server, artifact = of_make(make, SEVERAL)
    driver, mutations = TABLES[make][0], SEVERAL_MUTATIONS[make]

    async def prove() -> Proof:
        async with _place(server) as place:
            return await tried(server, artifact, driver, place)

    proof = asyncio.run(prove())
    assert (proof.differences, proof.silent, proof.sessions) == ((), (), 12)

    seen = _found_out(server, artifact, driver, mutations)
    _all_found_out(seen)
    assert len(seen) == len(mutations)
    for words, each in seen.items():
        expected = "session" if words.startswith("one client") else "wire"
        assert isinstance(each, Difference)
        assert each.where == expected, f"{words}: {each}"
        if expected == "session":
            assert "add_paths" in each.expected
    few = [each for words, each in seen.items() if "too few" in words]
    assert all(isinstance(each, Difference) and each.seen == "nothing" and "one of several paths" in each.about for each in few), few


def _all_found_out(seen: Mapping[str, object]) -> None:
    assert [words for words, each in seen.items() if each is None] == []
    assert {words: str(each) for words, each in seen.items() if isinstance(each, Failed)} == {}


def _found_out(server: ServerPolicy, artifact: Artifact, driver: Driver, mutations: tuple[tuple[str, str, str], ...]) -> dict[str, object]:
    """What gives each mutation away: a difference, None where nothing does, and what went wrong where it could not even be tried."""
    text = artifact.content.decode()
    planned = plan(Evaluator(server))

    async def some(waiting: Iterator[tuple[str, str, str]], seen: dict[str, object]) -> None:
        async with _place(server) as place:
            for words, pattern, instead in waiting:
                mutant = re.sub(pattern, instead, text)
                assert mutant != text, f"{words}: nothing was mutated"
                changed = replace(artifact, content=mutant.encode())
                try:
                    proof = await tried(server, changed, driver, place, planned=planned, first_only=True)
                except Failed as failed:
                    seen[words] = failed
                else:
                    seen[words] = proof.differences[0] if proof.differences else None

    async def found() -> dict[str, object]:
        waiting, seen = iter(mutations), dict[str, object]()
        await asyncio.gather(*(some(waiting, seen) for _ in range(AT_ONCE)))
        return seen

    return asyncio.run(found())


def test_a_change_whose_route_server_means_something_else_is_refused(
    candidate: tuple[ServerPolicy, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`nnix apply` proves before it touches: a spelling that lost a bogon and a client with a strict role is refused by kernel.proved, with the witness
    that shows the one, and the name of the other."""
    server, artifact = candidate
    without = re.sub(rb"protocol bgp c_m5_s_v6 (?s:.)*?\n\}\n", b"", artifact.content)
    assert without != artifact.content
    faulty = replace(artifact, content=without.replace(b"100.64.0.0/10+, ", b""))
    setting = Setting(tmp_path, None)
    made = draft(ALL_PLANES, setting.world.drivers, Model(), showing(), given(), lambda key: None)
    monkeypatch.setattr(routing, "candidates", lambda *_: [(server, faulty)])

    with pytest.raises(Refused) as refused:
        routing.proven(setting, made, always=True, quiet=True)

    assert {each.rule for each in refused.value.refusals} == {"kernel.proved"}
    assert any("witness: bogon 100.64.0.0/10" in each.accept for each in refused.value.refusals)
    assert "session, session/m5-s IPv6: not there" in {each.found for each in refused.value.refusals}


@pytest.mark.parametrize("make", ["bird", "openbgpd"])
def test_sessions_with_a_key_with_other_roles_and_from_afar_are_played(make: str, tmp_path: Path) -> None:
    """TCP MD5 (RFC 2385), the roles provider and peer (RFC 9234), what is the exchange's own to say; and, where the make can, a router several hops away:
    none of it is left out of the proof, and all of it is as the policy says."""
    if make == "openbgpd" and not Path(openbgpd.PROGRAM).exists():
        pytest.skip("openbgpd is not installed")
    (tmp_path / "m2").write_bytes(b"a key of m2's\n")
    far: dict[str, Any] = {"v4": "11.0.0.14", "v6": "2a00:ffff::14", "multihop": 3} if make == "bird" else {}
    snapshot = showing(
        policy={
            "path_hiding_solved": make != "bird",
            "said_communities": [
                {"said": "rpki_valid", "community": "65203:1"},
                {"said": "irrdb_valid", "community": "65203:2:2"},
                {"said": "rpki_not_checked", "community": "139136:65203:3"},
            ],
            "reason_communities": [{"reason": "bogon", "community": "139136:65520:3"}],
            "blackhole_communities": ["139136:666:0", "65203:666"],
            "limit_restart_seconds": 60,
        },
        sessions={
            1: {"our_role": "peer", "their_role": "peer", "role_strict": True},
            2: {"password": "secret:m2", "graceful_shutdown": False, "communities": ["139136:65203:2"]},
            3: {"our_role": "provider", "their_role": "customer", "next_hop": "strict", "passive": False},
            4: far,
            6: {"our_role": "peer", "their_role": "peer"},
        },
    )
    snapshot = snapshot.replaced([each.changed(daemon=make) for each in snapshot.of(RouteServer)])
    artifact = next(each for each in compile(snapshot, given()) if each.name == "rs1")
    server = policy(snapshot, given())[0]
    secrets = Secrets(tmp_path)
    driver = BirdDriver(secrets=secrets) if make == "bird" else OpenbgpdDriver(secrets=secrets)

    async def prove() -> Proof:
        async with _place(server) as place:
            return await tried(server, artifact, driver, place)

    proof = asyncio.run(prove())

    assert proof.differences == ()
    assert not any("not played" in each for each in proof.silent)
    assert proof.sessions == 12
