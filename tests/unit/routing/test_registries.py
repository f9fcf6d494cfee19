"""Registries are asked within bounds, and what they say is guarded before it counts."""

from __future__ import annotations

import gzip
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nnix.kernel.evidence import Item
from nnix.planes.routing import irr
from nnix.planes.routing.irr import of_answers
from nnix.planes.routing.registries import answers, bgpq4, dump, whois
from nnix.planes.routing.registries.answers import Answers
from nnix.planes.routing.registries.guard import SMALL, Lost, guarded
from nnix.planes.routing.registries.whois import Unanswered

from ...irr.speaker import FAULTS, Speaker, speaking

RIPE = """\
as-set:     AS-EXAMPLE
members:    AS3333, AS-CUSTOMERS,
            AS-AGAIN, odd!
source:     RIPE

as-set:     AS-CUSTOMERS
members:    AS12654
mbrs-by-ref: MNT-X
source:     RIPE

as-set:     AS-AGAIN
members:    AS-EXAMPLE, AS-NOWHERE
source:     RIPE

aut-num:    AS25152
member-of:  AS-CUSTOMERS
mnt-by:     MNT-X
source:     RIPE

route:      192.0.2.0/24
origin:     AS3333
source:     RIPE

route:      198.51.100.0/24
origin:     AS12654
source:     RIPE

route6:     2001:db8::/32
origin:     AS12654
source:     RIPE

route:      203.0.113.0/24
origin:     AS64999
source:     RIPE
"""
RADB = """\
as-set:     AS-EXAMPLE
members:    AS65535
source:     RADB

as-set:     AS-CUSTOMERS
members:    AS64666
source:     RADB

as-set:     AS-ELSEWHERE
members:    AS64777
source:     RADB
"""


@pytest.fixture
def server() -> Iterator[Speaker]:
    with speaking({"RIPE": RIPE, "RADB": RADB}) as speaker:
        yield speaker


def cone(given: Answers, *names: str) -> set[int]:
    return set(irr.Registries([of_answers("", given)]).cone(0, names).origins) - {0}


def test_an_as_set_is_unfolded_with_all_that_it_names_and_only_their_routes_are_asked_for(server: Speaker) -> None:
    """Sets that name each other end; who says that he is a member, and may, is one."""
    given = whois.asked(server.server, ["RIPE", "RADB"], ["AS-EXAMPLE", "AS3333"], 10)
    assert cone(given, "AS-EXAMPLE") == {3333, 12654, 25152}
    assert given.routes == {3333: ("192.0.2.0/24",), 12654: ("198.51.100.0/24", "2001:db8::/32")}
    assert "gAS64999" not in server.asked
    assert server.asked.count("iAS-EXAMPLE") == 1


def test_of_several_databases_the_first_that_knows_an_as_set_wins(server: Speaker) -> None:
    assert cone(whois.asked(server.server, ["RADB", "RIPE"], ["AS-EXAMPLE"], 10), "AS-EXAMPLE") == {65535}


def test_a_registry_in_a_name_is_asked_and_what_is_named_inside_is_looked_for_there_first(server: Speaker) -> None:
    """RADB::AS-EXAMPLE is RADB's, whatever the order; RIPE::AS-EXAMPLE's customers are those of RIPE."""
    given = whois.asked(server.server, ["RADB", "RIPE"], ["RIPE::AS-EXAMPLE", "RADB::AS-EXAMPLE"], 10)
    assert cone(given, "RIPE::AS-EXAMPLE") == {3333, 12654, 25152}
    assert cone(given, "RADB::AS-EXAMPLE") == {65535}


def test_after_a_set_of_one_registry_all_that_the_server_has_counts_again(server: Speaker) -> None:
    """Where no databases are named: what is in RADB alone is found, and so are routes of RIPE, after RIPE::AS-EXAMPLE was asked for and the other way round."""
    for first in ("RIPE::AS-EXAMPLE", "RADB::AS-EXAMPLE"):
        given = whois.asked(server.server, [], [first, "AS-ELSEWHERE", "AS3333"], 10)
        assert cone(given, "AS-ELSEWHERE") == {64777}
        assert given.routes[3333] == ("192.0.2.0/24",)


def test_a_database_that_the_server_does_not_have_is_named(server: Speaker) -> None:
    with pytest.raises(Unanswered, match="!sNTTCOM: One or more selected sources"):
        whois.asked(server.server, ["NTTCOM"], ["AS-EXAMPLE"], 10)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_in_the_middle_gives_no_answers_at_all(server: Speaker, fault: str) -> None:
    """Half of an as-set would shut a member's customers out, and look like the truth."""
    server.fault = fault
    begun = time.monotonic()
    with pytest.raises(Unanswered, match=r"127\.0\.0\.1"):
        whois.asked(server.server, ["RIPE"], ["AS-EXAMPLE"], 1)
    assert time.monotonic() - begun < 2.5


def test_nobody_listening_is_said_and_so_is_a_name_that_is_no_server() -> None:
    with pytest.raises(Unanswered, match="refused"):
        whois.asked("127.0.0.1:1", [], ["AS-EXAMPLE"], 1)
    with pytest.raises(Unanswered, match="no server"):
        whois.address("two words")
    assert whois.address("[2001:db8::1]:4343") == ("2001:db8::1", 4343)


@pytest.mark.skipif(shutil.which("bgpq4") is None, reason="bgpq4 is not installed")
def test_bgpq4_says_the_same_networks_and_prefixes(server: Speaker) -> None:
    """The same server asked by a program that others wrote: it finds what we find, but for who announces what."""
    ours = whois.asked(server.server, ["RIPE"], ["AS-EXAMPLE", "AS12654"], 10)
    theirs = bgpq4.asked(server.server, ["RIPE"], ["AS-EXAMPLE", "AS12654"], 10)
    assert cone(theirs, "AS-EXAMPLE") == cone(ours, "AS-EXAMPLE") == {3333, 12654, 25152}
    assert set(theirs.prefixes["AS-EXAMPLE"]) == {each for routes in ours.routes.values() for each in routes}
    assert set(theirs.prefixes["AS12654"]) == set(ours.routes[12654])


@pytest.mark.skipif(shutil.which("bgpq4") is None, reason="bgpq4 is not installed")
def test_what_bgpq4_leaves_out_without_a_word_in_its_status_is_told(server: Speaker) -> None:
    """It ends with status 0 and an empty list where it takes an ASN for a bogon."""
    server.databases["RIPE"] = RIPE.replace("3333", "64500")
    assert "bgpq4 says of AS-EXAMPLE: ERROR:Invalid AS number: 64500" in bgpq4.asked(server.server, ["RIPE"], ["AS-EXAMPLE"], 5).findings


@pytest.mark.skipif(shutil.which("bgpq4") is None, reason="bgpq4 is not installed")
def test_bgpq4_without_a_server_is_no_answer() -> None:
    with pytest.raises(Unanswered, match="bgpq4"):
        bgpq4.asked("127.0.0.1:1", [], ["AS-EXAMPLE"], 5)


def test_a_whole_database_says_the_same_and_nothing_else_of_it_is_kept(tmp_path: Path, server: Speaker) -> None:
    """Packed or not; a broken object costs itself only."""
    (tmp_path / "ripe.db.gz").write_bytes(gzip.compress((RIPE + "\nroute: 300.0.0.0/8\norigin: AS3333\n\n").encode()))
    given = dump.asked([tmp_path / "ripe.db.gz"], ["AS-EXAMPLE", "AS3333"])
    assert cone(given, "AS-EXAMPLE") == {3333, 12654, 25152}
    assert given.routes == whois.asked(server.server, ["RIPE"], ["AS-EXAMPLE", "AS3333"], 10).routes
    assert "203.0.113.0/24" not in given.text()
    assert any("300.0.0.0/8" in each for each in given.findings)


def test_a_database_that_was_cut_short_is_not_used(tmp_path: Path) -> None:
    """Its members would lose what stands behind the cut."""
    whole = gzip.compress(RIPE.encode() * 50)
    (tmp_path / "ripe.db.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unanswered, match=r"ripe\.db\.gz is cut short"):
        dump.asked([tmp_path / "ripe.db.gz"], ["AS-EXAMPLE"])
    with pytest.raises(Unanswered, match=r"nowhere\.db"):
        dump.asked([tmp_path / "nowhere.db"], ["AS-EXAMPLE"])


def test_answers_are_read_back_as_they_were_and_tell_their_time() -> None:
    given = Answers(
        {("RIPE", "AS-X"): ("AS1", "AS-Y"), ("", "AS-Y"): ()},
        {1: ("192.0.2.0/24",)},
        {"AS-X": ("198.51.100.0/24{24,28}",)},
        {1: ("import-via AS2 from AS-ANY accept ANY", "export-via AS2 to AS3 announce AS-X")},
        ("odd  thing",),
    )
    read = answers.read(given.text())
    assert (read.sets, read.routes, read.prefixes, read.findings) == (given.sets, given.routes, given.prefixes, ("odd thing",))
    assert read.vias == given.vias
    dated = answers.dated("registry/radb", datetime(2026, 11, 26, tzinfo=UTC), given.text(), ["held"])
    source = irr.read("registry/radb", Item(dated))
    assert source.findings == ("registry/radb: held", "registry/radb: odd thing")
    assert irr.Registries([source]).cone(5, ["AS-X"]).origins == {1, 5}
    with pytest.raises(ValueError, match="line 1"):
        answers.read("nonsense\n")


# the guard -------------------------------------------------------------------------------------------------------------


def of(**sets: int) -> Answers:
    """Answers with as-sets of so many networks, each with a route."""
    numbers = {name: range(1000 * (index + 1), 1000 * (index + 1) + size) for index, (name, size) in enumerate(sets.items())}
    routes = {origin: (f"10.{origin // 256 % 256}.{origin % 256}.0/24",) for group in numbers.values() for origin in group}
    return Answers({("RIPE", f"AS-{name}"): tuple(f"AS{each}" for each in group) for name, group in numbers.items()}, routes)


NAMES = ["AS-A", "AS-B"]


@pytest.mark.parametrize(("before", "after", "held"), [(30, 290, False), (30, 310, True), (300, 29, True), (300, 31, False), (30, 0, True)])
def test_an_as_set_that_changes_beyond_measure_stays_and_all_others_go_on(before: int, after: int, held: bool) -> None:
    last, fresh = of(A=before, B=600), of(A=after, B=610)
    taken = guarded(fresh, last, NAMES, growth_max=10)
    assert list(taken.held) == (["AS-A"] if held else [])
    assert len(cone(taken.answers, "AS-A")) == (before if held else after)
    assert len(cone(taken.answers, "AS-B")) == 610
    if held:
        assert all(origin in taken.answers.routes for origin in cone(taken.answers, "AS-A"))
    assert guarded(fresh, last, NAMES, growth_max=10, accepted={"AS-A"}).held == {}


def test_a_small_as_set_may_become_anything_small() -> None:
    assert guarded(of(A=SMALL, B=600), of(A=1, B=600), NAMES, growth_max=2).held == {}


def test_what_is_held_is_held_again_next_time() -> None:
    """The former set is what the next answer is compared with."""
    last = guarded(of(A=310, B=600), of(A=30, B=600), NAMES, growth_max=10).answers
    assert guarded(of(A=310, B=600), last, NAMES, growth_max=10).held.keys() == {"AS-A"}


def test_an_answer_without_most_of_the_routes_is_none() -> None:
    """A mirror that has lost its data answers all the same."""
    last = of(A=300, B=600)
    with pytest.raises(Lost, match="of 900 route objects 310 are left"):
        guarded(of(A=300, B=10), last, NAMES, growth_max=1000)
    with pytest.raises(Lost, match="knows none"):
        guarded(Answers(), last, NAMES, growth_max=1000)
    assert guarded(of(A=300, B=10), last, NAMES, growth_max=1000, accepted={"*"}).answers.routes_count == 310


def test_what_members_say_of_route_servers_is_asked_for_where_it_is_wanted(server: Speaker, tmp_path: Path) -> None:
    """import-via and export-via of the ASNs asked for, by whois and of a dump; bgpq4 cannot tell, and says so."""
    server.databases["RIPE"] = RIPE + "\naut-num: AS3333\nexport-via: AS64500 to AS-ANY announce AS3333\nsource: RIPE\n"
    (tmp_path / "ripe.db").write_text(server.databases["RIPE"])
    wanted = {3333: ("export-via AS64500 to AS-ANY announce AS3333",)}

    assert whois.asked(server.server, ["RIPE"], ["AS3333", "AS12654"], 5, vias=True).vias == wanted
    assert whois.asked(server.server, ["RIPE"], ["AS3333"], 5).vias == {}
    assert dump.asked([tmp_path / "ripe.db"], ["AS3333"], vias=True).vias == wanted
    assert dump.asked([tmp_path / "ripe.db"], ["AS12654"], vias=True).vias == {}
