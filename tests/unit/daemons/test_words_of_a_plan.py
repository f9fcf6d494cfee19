"""What drivers know without a machine: what a change means, how findings are worded, what a content must look like."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnix.daemons import bird, frr, gobgp, openbgpd
from nnix.daemons.process import Seen, difference
from nnix.daemons.sshd import SSHD, Access
from nnix.kernel.world import Driver, Step

BIRD_CONF = """
define OUR_AS = 64500;
filter from_one { if bgp_path.len > 9 then { reject "brace } in words"; } accept; } # brace { in a comment
function f(int x) { return x; }
template bgp member { local 10.0.0.1 as OUR_AS; hold time 90; }
protocol bgp one from member {
  # session: session/one
  neighbor 10.0.0.2 as 64501;
  description "one { two";
  ipv4 { import filter from_one; export where f(1) = 1; import limit 10 action restart; };
}
protocol bgp two from member {
  # session: session/two
  neighbor 10.0.0.3 as 64502;
  ipv4 { import none; export none; };
}
protocol device {}
"""


def bird_steps(old: str, new: str, was: str = BIRD_CONF) -> list[tuple[str, set[str]]]:
    assert old in was
    return [(step.does, set(step.disturbs)) for step in bird.steps(was.encode(), was.replace(old, new, 1).encode())]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import filter from_one", "import filter { if f(2) = 2 then { accept; } reject; }"),
        ("export where f(1) = 1", "export none"),
        ("import limit 10 action restart", "import limit 20 action block"),
        ('description "one { two"', 'description "another; one"'),
        ("neighbor 10.0.0.2", "/* a } comment */ neighbor 10.0.0.2"),
    ],
)
def test_bird_changes_policy_without_interrupting(old: str, new: str) -> None:
    """Filters, limits and descriptions change in a running channel."""
    assert bird_steps(old, new) == [("change session one", set())]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("as 64501", "as 64511"),
        ("import filter from_one", "import keep filtered; import filter from_one"),
        ("export where", "import table; export where"),
        ("ipv4 { import filter", "ipv6 { import none; export none; }; ipv4 { import filter"),
        ("from member", "from other"),
    ],
)
def test_bird_names_whom_a_lasting_change_interrupts(old: str, new: str) -> None:
    """And only that one."""
    assert bird_steps(old, new) == [("change session one", {"session/one"})]


def test_bird_counts_a_template_as_a_change_of_all_that_follow_it() -> None:
    """Their own blocks did not change by a letter."""
    assert bird_steps("hold time 90", "hold time 30") == [("change template member", {"session/one", "session/two"})]


def test_bird_says_what_comes_and_goes() -> None:
    """Sessions, filters, functions, what stands between them; starting and stopping."""
    start = BIRD_CONF.index("protocol bgp two")
    end = BIRD_CONF.index("protocol device")
    assert bird_steps(BIRD_CONF[start:end], "") == [("remove session two", {"session/two"})]
    assert bird_steps("protocol device {}", "protocol device {}\nprotocol bgp three { }") == [("add session three", set())]
    assert bird_steps("> 9", "> 8") == [("change filter from_one", set())]
    assert bird_steps("return x", "return 2") == [("change function f", set())]
    assert bird_steps("64500", "64499") == [("change what all sessions share", set())]
    assert [step.does for step in bird.steps(None, BIRD_CONF.encode())] == ["start BIRD with 2 sessions"]
    assert bird.steps(BIRD_CONF.encode(), None) == (Step("stop BIRD with 2 sessions", frozenset({"session/one", "session/two"})),)


@settings(max_examples=1000, deadline=None)
@given(st.text(alphabet='protcl bgfi{}"#;/*\nxa', max_size=200), st.text(alphabet='protcl bgfi{}"#;/*\nxa', max_size=200))
def test_no_text_makes_a_plan_fail(old: str, new: str) -> None:
    """A plan is shown before anything is checked, so drivers must bear with any bytes."""
    drivers: tuple[Driver, ...] = (bird.BIRD, frr.FRR, gobgp.GOBGP, openbgpd.OPENBGPD, SSHD)
    for driver in drivers:
        steps = driver.steps(old.encode(), new.encode())
        assert bool(steps) == (old != new)
        assert driver.steps(None, new.encode())
        assert driver.steps(old.encode(), None)


@pytest.mark.parametrize(("version", "missing"), [("2.0.12", {"aspa", "rtr-v2", "tcp-ao", "bmp"}), ("2.17.6", {"bmp"}), ("3.1.8", set())])
def test_bird_lacks_what_its_version_lacks(version: str, missing: set[str]) -> None:
    """Each with a reason that names the version it came with."""
    lacking = bird.lacks(version)
    assert missing == lacking.keys() & {"aspa", "rtr-v2", "tcp-ao", "bmp"}
    assert all("need" in reason for reason in lacking.values())


def test_a_version_that_cannot_be_read_lacks_everything() -> None:
    """Nothing is spelled on trust."""
    for daemon in (bird, frr, gobgp, openbgpd):
        assert daemon.lacks("unknown").keys() == daemon.FEATURES.keys()


def test_bird_knows_a_reading_again_when_the_clock_was_set() -> None:
    """Both instants move alike, to a millisecond; another reading moves one of them."""
    kept = "2026-11-24 21:00:00.100|2026-11-24 21:05:00.200"
    assert bird.same_reading("2026-11-24 21:10:07.001|2026-11-24 21:15:07.102", kept)
    assert not bird.same_reading("2026-11-24 21:00:00.100|2026-11-24 21:05:00.210", kept)
    assert not bird.same_reading("no answer", kept)
    assert bird.same_reading("", "")


FRR_CONF = """! daemons: zebra bgpd
interface lo
 ip address 10.0.0.1/32
exit
router bgp 64500
 no bgp ebgp-requires-policy
 neighbor 10.0.0.2 remote-as 64501
 neighbor 10.0.0.2 description two
 address-family ipv4 unicast
  network 10.0.0.0/24
  neighbor 10.0.0.2 soft-reconfiguration inbound
 exit-address-family
exit
"""


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (" ip address 10.0.0.1/32\n", "", ["interface lo", "no ip address 10.0.0.1/32", "exit"]),
        ("interface lo\n ip address 10.0.0.1/32\nexit\n", "", ["interface lo", "no ip address 10.0.0.1/32", "exit"]),
        (" no bgp ebgp-requires-policy\n", "", ["router bgp 64500", "bgp ebgp-requires-policy", "exit"]),
        (
            "  network 10.0.0.0/24\n",
            "",
            ["router bgp 64500", "address-family ipv4 unicast", "no network 10.0.0.0/24", "exit-address-family", "exit"],
        ),
        ("10.0.0.2", "10.0.0.3", ["router bgp 64500", "no neighbor 10.0.0.2 remote-as 64501", "exit"]),
        ("64500", "64499", ["no router bgp 64500"]),
        ("! daemons", "!\n! daemons", []),
    ],
)
def test_frr_takes_lines_back_in_their_context(old: str, new: str, lines: list[str]) -> None:
    """What a neighbour or a block takes along is not taken back twice; interfaces and address families cannot go as a whole."""
    assert frr.taken_back(FRR_CONF, FRR_CONF.replace(old, new)) == lines
    assert frr.taken_back(FRR_CONF, FRR_CONF) == []


def test_frr_says_which_daemons_come_and_go_and_whom_that_disturbs() -> None:
    """One that comes disturbs nobody; with bgpd all sessions go."""
    old = FRR_CONF + "! session: session/one\n"
    more = old.replace("zebra bgpd", "zebra bgpd bfdd")
    assert frr.steps(old.encode(), more.encode()) == (Step("start bfdd beside the others"),)
    assert frr.steps(more.encode(), old.encode()) == (Step("end bfdd"),)
    gone = frr.steps(old.encode(), old.replace("zebra bgpd", "zebra").encode())
    assert gone == (Step("end bgpd", frozenset({"session/one"})),)
    (step,) = frr.steps(old.encode(), old.replace("description two", "description three").encode())
    assert (step.does, step.disturbs) == ("change FRR while it runs (1 line new, 1 taken back)", frozenset())


def test_frr_names_the_links_on_which_ospf_starts_anew() -> None:
    """Those whose MTU changes. One that comes or goes has no neighbour to lose."""
    old = "! daemons: zebra ospfd\n! link: link/a-b mtu 1800\ninterface l-a-b\n ip ospf area 0\nexit\n! link: link/a-c mtu 1800\n"
    (step,) = frr.steps(old.encode(), old.replace("a-b mtu 1800", "a-b mtu 9050").encode())
    assert (step.does, step.disturbs) == ("OSPF starts anew on each link whose MTU changes", frozenset({"link/a-b"}))
    more = old + "! link: link/a-d mtu 9050\n"
    for before, after in ((old, more), (more, old)):
        (step,) = frr.steps(before.encode(), after.encode())
        assert step.disturbs == frozenset()


FRR_SESSIONS = """! daemons: zebra bgpd
router bgp 64500
 bgp router-id 10.0.0.1
 neighbor rack peer-group
 neighbor rack update-source 10.0.0.1
 ! session: session/one
 neighbor 10.0.0.2 remote-as 64501
 neighbor 10.0.0.2 password once
 ! session: session/two
 neighbor 10.0.0.3 remote-as 64502
 neighbor 10.0.0.3 peer-group rack
 neighbor 10.0.0.4 remote-as 64504
 address-family ipv4 unicast
  neighbor 10.0.0.2 activate
  neighbor 10.0.0.2 route-map own out
  neighbor 10.0.0.3 activate
 exit-address-family
exit
"""


@pytest.mark.parametrize(
    ("old", "new", "whom"),
    [
        ("remote-as 64501", "remote-as 64511", {"session/one"}),
        ("password once", "password again", {"session/one"}),
        (" neighbor 10.0.0.2 password once\n", "", {"session/one"}),
        ("10.0.0.2 password once", "10.0.0.2 update-source 10.0.0.1", {"session/one"}),
        ("10.0.0.2 password once", "10.0.0.2 password once\n neighbor 10.0.0.3 ttl-security hops 1", {"session/two"}),
        ("10.0.0.2 password once", "10.0.0.2 password once\n neighbor 10.0.0.3 capability extended-nexthop", {"session/two"}),
        ("  neighbor 10.0.0.3 activate\n", "", {"session/two"}),
        (" exit-address-family", " exit-address-family\n address-family ipv6 unicast\n  neighbor 10.0.0.3 activate", {"session/two"}),
        ("rack update-source 10.0.0.1", "rack update-source 10.0.0.9", {"session/two"}),
        ("router-id 10.0.0.1", "router-id 10.0.0.9", {"session/one", "session/two"}),
        ("router bgp 64500", "router bgp 64499", {"session/one", "session/two"}),
        (FRR_SESSIONS[FRR_SESSIONS.index(" ! session: session/two") : FRR_SESSIONS.index(" neighbor 10.0.0.4")], "", {"session/two"}),
        ("route-map own out", "route-map other out", set()),
        ("10.0.0.2 password once", "10.0.0.2 password once\n neighbor 10.0.0.2 description one", set()),
        ("10.0.0.2 password once", "10.0.0.2 password once\n neighbor 10.0.0.2 timers 5 20", set()),
        ("10.0.0.4 remote-as 64504", "10.0.0.4 remote-as 64514", set()),
        ("exit\n", "exit\ninterface lo\n ip address 10.0.0.1/32\nexit\n", set()),
    ],
)
def test_frr_names_whom_a_change_of_a_neighbour_interrupts(old: str, new: str, whom: set[str]) -> None:
    """What needs another OPEN or another connection, of the neighbour itself or of its group; all else is taken over while it stands."""
    assert old in FRR_SESSIONS
    (step,) = frr.steps(FRR_SESSIONS.encode(), FRR_SESSIONS.replace(old, new, 1).encode())
    assert step.does.startswith("change FRR while it runs")
    assert step.disturbs == whom


@pytest.mark.parametrize(
    ("line", "asked"), [("! daemons: bgpd zebra ospfd", ("zebra", "bgpd", "ospfd")), ("! daemons: bgpd", ("zebra", "bgpd"))]
)
def test_frr_starts_zebra_first(line: str, asked: tuple[str, ...]) -> None:
    """Wherever it stands, and also when it was forgotten: the others need it."""
    assert frr.daemons(f"{line}\nrouter bgp 1\n".encode()) == asked


def test_gobgp_reads_announcements_of_both_families() -> None:
    """The words are those of `gobgp global rib add`."""
    assert gobgp.announcements(b"#! announce 192.0.2.0/24 community 1:2\n# a comment\n#! announce 2001:db8::/32\n") == (
        ("-a", "ipv4", "192.0.2.0/24", "community", "1:2"),
        ("-a", "ipv6", "2001:db8::/32"),
    )


def test_gobgp_reloads_for_neighbours_and_restarts_for_the_rest() -> None:
    """As far as SIGHUP goes."""
    old = b"[global.config]\nas = 1\n[[neighbors]]\n[neighbors.config]\npeer-as = 2\n"
    assert not gobgp.restarts(old, old.replace(b"peer-as = 2", b"peer-as = 3"))
    assert gobgp.restarts(old, old.replace(b"\nas = 1", b"\nas = 9"))


GOBGP_SESSIONS = """[global.config]
as = 64500
[[neighbors]]
# session: session/one
[neighbors.config]
neighbor-address = "10.0.0.2"
peer-as = 64501
[neighbors.timers.config]
hold-time = 90
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[neighbors.afi-safis.prefix-limit.config]
max-prefixes = 10
[[neighbors]]
# session: session/two
[neighbors.config]
neighbor-address = "10.0.0.3"
peer-as = 64502
"""


@pytest.mark.parametrize(
    ("old", "new", "whom"),
    [
        ("peer-as = 64501", "peer-as = 64511", {"session/one"}),
        ("peer-as = 64501", 'peer-as = 64501\nauth-password = "s"', {"session/one"}),
        ("peer-as = 64502", 'peer-as = 64502\n[neighbors.transport.config]\nlocal-address = "10.0.0.1"', {"session/two"}),
        ("peer-as = 64502", "peer-as = 64502\n[neighbors.graceful-restart.config]\nenabled = true", {"session/two"}),
        ("ipv4-unicast", "ipv6-unicast", {"session/one"}),
        (GOBGP_SESSIONS[GOBGP_SESSIONS.rindex("[[neighbors]]\n# session: session/two") :], "", {"session/two"}),
        ('"10.0.0.3"', '"10.0.0.4"', {"session/two"}),
        ("hold-time = 90", "hold-time = 30", set()),
        ("max-prefixes = 10", "max-prefixes = 20", set()),
        ("peer-as = 64502", 'peer-as = 64502\n[neighbors.apply-policy.config]\ndefault-import-policy = "accept-route"', set()),
        ("[[neighbors]]", '[[neighbors]]\n[neighbors.config]\nneighbor-address = "10.0.0.9"\npeer-as = 1\n[[neighbors]]', set()),
    ],
)
def test_gobgp_names_whom_a_change_of_a_neighbour_interrupts(old: str, new: str, whom: set[str]) -> None:
    """What its OPEN or its connection is made of; timers, limits and policies are taken over, and a new neighbour disturbs nobody."""
    assert old in GOBGP_SESSIONS
    (step,) = gobgp.steps(GOBGP_SESSIONS.encode(), GOBGP_SESSIONS.replace(old, new, 1).encode())
    assert (step.does, set(step.disturbs)) == ("change GoBGP's neighbours", whom)


def test_openbgpd_gets_a_control_socket_where_none_is_named() -> None:
    """At the end, so that line numbers of complaints stay the author's."""
    assert openbgpd.whole(b"AS 1\n") == b'AS 1\nsocket "bgpd.sock"\n'
    named = b'AS 1\nsocket "@HOME@/other.sock"\n'
    assert openbgpd.whole(named) == named


def test_openbgpd_names_the_neighbour_that_changes() -> None:
    """Others, and what they share, are told apart."""
    one, two = "neighbor 10.0.0.2 {\n  # session: session/one\n  remote-as 1\n}\n", "neighbor 10.0.0.3 {\n  remote-as 2\n}\n"
    old = f"AS 1\n{one}{two}".encode()
    assert openbgpd.steps(old, old.replace(b"as 1\n", b"as 9\n")) == (Step("change neighbour 10.0.0.2", frozenset({"session/one"})),)
    assert openbgpd.steps(old, old.replace(two.encode(), b"")) == (Step("remove neighbour 10.0.0.3"),)
    assert openbgpd.steps(old, old.replace(b"AS 1", b"AS 1\nfib-update no")) == (Step("change what all neighbours share"),)


def test_openbgpd_opens_anew_what_is_agreed_on_when_a_session_opens() -> None:
    """An ASN, a role, the hold time of all: yes. A limit, a description, a rule: they change in a running session, and disturb nobody."""
    one, two = (
        "neighbor 10.0.0.2 {\n  # session: session/one\n  remote-as 1\n  max-prefix 5\n}\n",
        "neighbor 10.0.0.3 {\n  remote-as 2\n}\n",
    )
    old = f"AS 1\nholdtime 90\n{one}{two}deny from any\n".encode()

    def anew(was: bytes, now: bytes) -> list[str]:
        return openbgpd.reopened(old, old.replace(was, now))

    assert anew(b"remote-as 1", b"remote-as 9") == ["10.0.0.2"]
    assert anew(b"holdtime 90", b"holdtime 30") == ["10.0.0.2", "10.0.0.3"]
    assert anew(b"max-prefix 5", b'max-prefix 6 restart 15\n  descr "one"\n  passive') == []
    assert anew(b"deny from any", b"allow from any") == []
    assert openbgpd.steps(old, old.replace(b"prefix 5", b"prefix 6")) == (Step("change neighbour 10.0.0.2"),)


@pytest.mark.parametrize(("version", "missing"), [("7.7", {"otc-unasked", "aspa", "rtr-v2", "extended-nexthop"}), ("8.8", set())])
def test_openbgpd_lacks_what_its_version_lacks(version: str, missing: set[str]) -> None:
    """Each with a reason that names the version it came with."""
    lacking = openbgpd.lacks(version)
    assert missing == lacking.keys() - {"tcp-ao"}
    assert all("need" in reason for feature, reason in lacking.items() if feature != "tcp-ao")


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDpcqmgVEJzhm1xBptEJ7OSJ+VF1BVFpKYe2X+sWkVY somebody"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"address": "10.0.0.1"}, "address, port and authorized_keys"),
        ({"address": "ten", "port": 22, "authorized_keys": [KEY]}, "address: 'ten' is no IP address"),
        ({"address": "10.0.0.1", "port": True, "authorized_keys": [KEY]}, "port: True is no number"),
        ({"address": "10.0.0.1", "port": 22, "authorized_keys": []}, "at least one"),
        ({"address": "10.0.0.1", "port": 22, "authorized_keys": [f"{KEY}\n{KEY}"]}, "a list of public keys"),
        ({"address": "10.0.0.1", "port": 22, "authorized_keys": [f'command="x" {KEY}']}, "a list of public keys"),
    ],
)
def test_sshd_refuses_an_access_that_is_not_plain(fields: dict[str, object], words: str) -> None:
    """A field that is wrong is named with what would be accepted; no key line carries options, nor a second key."""
    with pytest.raises(ValueError, match=words):
        Access.read(json.dumps(fields).encode())


AGREEING = Seen("d1", ("7", "8"), "d1", ("7", "8"), "mark", "mark")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (AGREEING, ""),
        (Seen("-", ("-", "-")), "not there"),
        (Seen("d1", ("7", "-"), "d1", ("7", "8")), "b not running"),
        (Seen("d1", ("-", "-"), "d1", ("7", "8")), "a and b not running"),
        (Seen("-", ("7", "8"), "d1", ("7", "8")), "its configuration file is gone"),
        (Seen("dx", ("7", "8"), "d1", ("7", "8")), "its configuration file was edited"),
        (Seen("d0", ("7", "8"), "d0", ("7", "8")), "runs an older configuration"),
        (Seen("dx", ("7", "8"), "d0", ("7", "8")), "its configuration file is not the one wanted"),
        (Seen("d1", ("7", "8"), "d0", ("7", "8")), "has not taken its configuration"),
        (Seen("d1", ("7", "9"), "d1", ("7", "8"), "mark", "mark"), "was restarted by somebody else"),
        (Seen("d1", ("7", "8"), "d1", ("7", "8"), "mark", "no answer"), "runs, but does not answer"),
        (Seen("d1", ("7", "8"), "d1", ("7", "8"), "mark", "other"), "was changed by somebody else while it ran"),
    ],
)
def test_every_way_to_differ_has_its_words(seen: Seen, words: str) -> None:
    """The loop records them; an operator can tell a crash from a hand edit from an unfinished change."""
    assert difference(seen, "d1", ("a", "b")) == words


@pytest.mark.parametrize(
    ("version", "splits"), [("2.0.12", False), ("2.17.6", False), ("3.0.1", False), ("3.1.8", True), ("3.10.0", True), ("4.0", True)]
)
def test_birds_of_3_1_and_newer_are_told_which_reload_is_meant(version: str, splits: bool) -> None:
    """By what their answer begins with; their `reload in all` is no command any more."""
    script = f"answer='BIRD {version} ready.\nBIRD {version}'\n{bird.SPLITS}\nsplits_reloads"
    assert (subprocess.run(["sh", "-c", script], check=False).returncode == 0) is splits


def test_what_bird_reads_again_by_itself_and_what_it_is_told_to() -> None:
    """Told softly only where both texts name the number by which import marks what is concerned, and it is another one; whose own block changed is fed in full."""
    old, new = (f"# told anew by import: {number}\n{BIRD_CONF}".encode() for number in (7, 9))
    assert bird.read_again(old, new) == ("reload in all",)
    assert bird.read_again(old, new.replace(b"export none", b"export all")) == ("reload in all", "reload out two")
    for one, other in ((old, old), (BIRD_CONF.encode(), new), (old, BIRD_CONF.encode()), (b"", new)):
        assert bird.read_again(one, other) == ()
