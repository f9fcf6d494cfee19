"""Registries and VRPs: what people write is read as it was meant, and nothing that is written crashes the reader."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnix.kernel.evidence import Item
from nnix.planes.members.kinds import PrefixLimit
from nnix.planes.routing import irr, peeringdb, rpki
from nnix.planes.routing.via import Chosen, chosen

SHARED = Path(__file__).parents[4] / "shared" / "data"


def shared(path: str) -> Item:
    """A file of the shared data; the test is skipped where that is not."""
    if not (SHARED / path).exists():
        pytest.skip(f"shared data are not here: {path}")
    return Item((SHARED / path).read_bytes())


def rpsl(*texts: str) -> irr.Registries:
    return irr.registries([(f"{number}.rpsl", Item(text.encode())) for number, text in enumerate(texts)])


def origins(registries: irr.Registries, *names: str, own: int = 1) -> set[int]:
    return set(registries.cone(own, names).origins) - {own}


ODD = """
% a comment of the server
# and one of ours

AS-SET:   as-odd   # the name
descr:    text with members: AS99 in it
members:  AS10, as011,AS12 # , AS98
          AS13,
+         as-Inner,
members:
mp-members: AS14
source:   radb

route:    192.0.02.0/24
origin:   as010 # comment
source:   RADB
\r
route6:   2001:DB8:0::/48\r
origin:   AS10\r
source:   RADB
"""


def test_odd_spellings_are_read_as_they_were_meant() -> None:
    """Case, leading zeros, continuation lines, comments inside of lists, trailing commas, CR LF."""
    source = irr.read("odd.rpsl", Item(ODD.encode()))

    assert source.sets["RADB", "AS-ODD"].asns == (10, 11, 12, 13, 14)
    assert source.sets["RADB", "AS-ODD"].sets == ("AS-INNER",)
    assert source.routes == {10: ("192.0.2.0/24", "2001:db8::/48")}
    assert source.findings == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("route: 192.0.2.0/33\norigin: AS1\n", "its prefix is none"),
        ("route: 192.0.2.1/24\norigin: AS1\n", "its prefix is none"),
        ("route: 2001:db8::/32\norigin: AS1\n", "its prefix is none"),
        ("route6: 192.0.2.0/24\norigin: AS1\n", "its prefix is none"),
        ("route: 192.0.2.0/24\n", "its origin is no ASN"),
        ("route: 192.0.2.0/24\norigin: AS0\n", "its origin is no ASN"),
        ("route: 192.0.2.0/24\norigin: AS4294967296\n", "its origin is no ASN"),
        ("as-set: CUSTOMERS\nmembers: AS1\n", "no as-set name"),
        ("aut-num: ASX\n", "no ASN"),
        ("as-set: AS-X\nmembers: AS1, rs-foo\n", "neither ASN nor as-set"),
    ],
)
def test_a_broken_object_costs_itself_only_and_is_told_with_its_line(text: str, words: str) -> None:
    """The objects before and after it stand."""
    whole = f"route: 20.0.0.0/24\norigin: AS7\n\n{text}\nroute: 21.0.0.0/24\norigin: AS7\n"
    source = irr.read("broken.rpsl", Item(whole.encode()))

    assert source.routes[7] == ("20.0.0.0/24", "21.0.0.0/24")
    assert len(source.findings) == 1
    assert source.findings[0].startswith("broken.rpsl:4: ")
    assert words in source.findings[0]


def test_sets_that_name_each_other_end() -> None:
    """A cycle, and a set that names itself, are unfolded once."""
    known = rpsl("as-set: AS-A\nmembers: AS10, AS-B, AS-A\n\nas-set: AS-B\nmembers: AS11, AS-A\n")

    assert origins(known, "AS-A") == origins(known, "AS-B") == {10, 11}


def test_a_chain_of_any_depth_is_unfolded() -> None:
    """5,000 sets, each naming the next: no recursion limit."""
    text = "\n\n".join(f"as-set: AS-D{number}\nmembers: AS{number + 10}, AS-D{number + 1}" for number in range(5000))

    assert len(origins(rpsl(text), "AS-D0")) == 5000


def test_a_set_that_names_half_the_internet_is_not_used() -> None:
    """Its member is left with its own ASN, and the finding says why."""
    text = f"as-set: AS-ALL\nmembers: {', '.join(f'AS{number}' for number in range(10, irr.ASNS_MAX + 20))}\n"
    cone = rpsl(text).cone(7, ["AS-ALL"])

    assert cone.origins == {7}
    assert "no list of customers" in cone.findings[0]


def test_the_first_source_that_knows_a_set_wins_and_a_named_registry_is_obeyed() -> None:
    """APNIC::AS-X is looked for there only, and so, first, are the sets inside of it."""
    one = "as-set: AS-X\nmembers: AS10, AS-Y\nsource: RADB\n\nas-set: AS-Y\nmembers: AS11\nsource: RADB\n"
    two = "as-set: AS-X\nmembers: AS20, AS-Y, AS-Z\nsource: APNIC\n\nas-set: AS-Y\nmembers: AS21\nsource: APNIC\n\nas-set: AS-Z\nmembers: AS22\nsource: RIPE\n"

    assert origins(rpsl(one, two), "AS-X") == {10, 11}
    assert origins(rpsl(two, one), "AS-X") == {20, 21, 22}
    assert origins(rpsl(one, two), "APNIC::AS-X") == {20, 21, 22}
    assert origins(rpsl(one, two), "RIPE::AS-X") == set()


def test_who_may_join_a_set_by_itself_does() -> None:
    """mbrs-by-ref and member-of (RFC 2622, 5.1): the maintainer decides, and the registry must be the same."""
    text = """
as-set: AS-R
members: AS10
mbrs-by-ref: MNT-A
source: T

aut-num: AS11
member-of: AS-R
mnt-by: MNT-A
source: T

aut-num: AS12
member-of: AS-R
mnt-by: MNT-B
source: T

aut-num: AS13
member-of: AS-R
mnt-by: MNT-A
source: OTHER
"""
    assert origins(rpsl(text), "AS-R") == {10, 11}
    assert origins(rpsl(text.replace("mbrs-by-ref: MNT-A", "mbrs-by-ref: ANY")), "AS-R") == {10, 11, 12}
    assert origins(rpsl(text.replace("mbrs-by-ref: MNT-A\n", "")), "AS-R") == {10}


def test_what_bgpq4_prints_is_a_source() -> None:
    """-j gives prefixes, -jt gives origins; a name that is no as-set is told, with the option that mends it."""
    source = irr.read(
        "q.json",
        Item(b'{"AS-Q": [{"prefix": "192.31.196.0\\/24", "exact": true}, 112, {"prefix": "x"}, -1], "NN": [{"prefix": "1.0.0.0\\/24"}]}'),
    )

    assert source.sets["", "AS-Q"].asns == (112,)
    assert source.prefixes == {"AS-Q": ("192.31.196.0/24",)}
    cone = irr.Registries([source]).cone(7, ["APNIC::AS-Q"])
    assert (cone.origins, cone.prefixes, cone.findings) == (frozenset({7, 112}), ("192.31.196.0/24",), ())
    assert len(source.findings) == 3
    assert "with -l" in source.findings[2]


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(),
        st.binary().map(lambda rest: b"\x1f\x8b" + rest),
        st.text(alphabet="AS1|2./x,").map(lambda rest: f"AS1|{rest}".encode()),
        st.text(alphabet="asroute6-num:member AS-1.2/4\n\t+#,%\x00ï").map(str.encode),
    ),
    st.sampled_from(["x.rpsl", "x.json", "x.csv", "x.txt.gz"]),
)
def test_no_bytes_crash_the_reader(content: bytes, key: str) -> None:
    """Whatever a registry sends, the result is a source, and a member's own ASN is its own."""
    assert 5 in irr.registries([(key, Item(content))]).cone(5, ["AS-X"]).origins


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["roas", "asn", "prefix", "maxLength", "AS-X"]), inner, max_size=4)
    ),
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_no_document_crashes_the_vrp_reader(document: object) -> None:
    """It is read, or refused by name."""
    import json

    try:
        found = rpki.vrps(Item(json.dumps(document).encode()))
    except rpki.Unreadable:
        return
    assert len(found.v4) + len(found.v6) > 0


def test_vrps_are_read_in_both_spellings_and_broken_ones_left_out() -> None:
    """rpki-client writes numbers, Routinator AS-numbers; double ones count once; AS0 is a VRP (RFC 6483, 4)."""
    found = rpki.vrps(
        Item(
            b"""{"roas": [
            {"asn": 1, "prefix": "20.0.0.0/24", "maxLength": 24}, {"asn": "AS1", "prefix": "20.0.0.0/24", "maxLength": 24, "ta": "x"},
            {"asn": "0", "prefix": "2A00::/16", "maxLength": 48}, {"asn": 1, "prefix": "20.0.0.0/24", "maxLength": 23},
            {"asn": 1, "prefix": "20.0.0.1/24", "maxLength": 24}, {"asn": true, "prefix": "20.0.0.0/24", "maxLength": 24}, 7]}"""
        )
    )

    assert found.v4.roas == (("20.0.0.0/24", 24, 1),)
    assert found.v6.roas == (("2a00::/16", 48, 0),)
    assert len(found.findings) == 4


@pytest.mark.parametrize(
    ("path", "v4", "v6"),
    [
        ("rpki/rpki-client-sample.json", 1451, 358),
        ("rpki/vrps-cn-operators.json", 481, 102),
        ("rpki/vrps-rpki-validator-test.json", 4455, 545),
        ("rpki/routinator-output/111.json", 1, 0),
    ],
)
def test_real_vrp_files_are_read_whole(path: str, v4: int, v6: int) -> None:
    """Nothing of them is left out."""
    found = rpki.vrps(shared(path))

    assert (len(found.v4), len(found.v6), found.findings) == (v4, v6, ())


@pytest.mark.parametrize(
    ("path", "routes"),
    [
        ("irr/ripe-route.rpsl", 62),
        ("irr/ripe-mixed.rpsl", 10),
        ("irr/nrtm/radb.db.sample", 2),
        ("irr/objects/route.rpsl", 1),
        ("irr/objects/route6.rpsl", 1),
    ],
)
def test_real_registry_files_are_read_whole(path: str, routes: int) -> None:
    """As many route objects as stand in them; nothing is left out."""
    source = irr.read(path, shared(path))

    assert sum(map(len, source.routes.values())) == routes
    assert source.findings == ()


def test_a_roa_table_covers_host_routes_of_the_origins_asked_for() -> None:
    """Who may announce a prefix may blackhole inside of it."""
    table = rpki.RoaTable([("20.0.0.0/24", 24, 1), ("21.0.0.0/24", 24, 2)])

    assert table.covering(frozenset({1}), 32).roas == (("20.0.0.0/24", 32, 1),)
    assert len(table.covering(None, 32)) == 2


# what registries publish that is no RPSL ------------------------------------------------------------------------------


def test_nic_brs_list_tells_whose_prefixes_are_whose() -> None:
    """ASN, name, document, prefixes; a row that the registry could not fill is passed over, a broken one costs itself and is told with its line."""
    text = (
        "AS22548|N\u00facleo de Inf. e Coord. do Ponto BR|05.506.560/0001-36|200.160.0.0/20|2001:12ff::/32\n"
        "AS1|--whois err--\n"
        "AS64500|X|1|200.0.0.0/33|200.1.0.0/16\n"
        "nonsense\n"
    )
    source = irr.read("nicbr.txt", Item(text.encode("latin-1", "replace")))

    assert source.routes == {22548: ("200.160.0.0/20", "2001:12ff::/32"), 64500: ("200.1.0.0/16",)}
    assert [each.partition(" ")[0] for each in source.findings] == ["nicbr.txt:3:", "nicbr.txt:4:"]


def test_arins_whois_is_read_as_a_table_and_as_json() -> None:
    """The same pairs either way; packed or not."""
    table = b"prefix,origin_as,net_name\n3.0.0.0/15,AS38895,NET-3\n2600::/29,13335,\nx,AS1,\n"
    records = {
        "json_schema": "0.0.1",
        "source": "ARIN-WHOIS",
        "whois_records": {
            "v4": [{"prefix": "3.0.0.0/15", "originas": "AS38895"}, 7],
            "v6": [{"prefix": "2600::/29", "originas": "AS13335"}],
        },
    }
    wanted = {38895: ("3.0.0.0/15",), 13335: ("2600::/29",)}
    for key, content in (
        ("arin.csv", table),
        ("arin.csv.gz", gzip.compress(table)),
        ("arin.json", json.dumps(records).encode()),
        ("arin.json.bz2", bz2.compress(json.dumps(records).encode())),
    ):
        source = irr.read(key, Item(content))
        assert source.routes == wanted, key
        assert len(source.findings) == 1, key


def test_arins_whole_table_is_read() -> None:
    """117,503 pairs of 2022, of which 875 stand there twice; nothing is left out."""
    source = irr.read("arin.csv.gz", shared("irr/arin-originas-2022-09-25.csv.gz"))

    assert sum(map(len, source.routes.values())) == 117503 - 875
    assert source.findings == ()


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"route: 20.0.0.0/24\norigin: AS1\n", mtime=0)[:-6], b"\x1f\x8bxyz", b"BZh9odd"],
    ids=["short", "gzip", "bzip2"],
)
def test_a_packed_file_that_is_cut_short_is_not_used(content: bytes) -> None:
    """Half of a registry would shut members out and look like the truth."""
    source = irr.read("x.rpsl.gz", Item(content))

    assert source.empty
    assert "nothing is taken from it" in source.findings[0]


def test_route_objects_of_all_sources_count_and_as_sets_of_the_first() -> None:
    """A registry's whois adds to what stands in RPSL; the order of sources decides of as-sets only."""
    known = irr.registries(
        [
            ("one.rpsl", Item(b"as-set: AS-X\nmembers: AS10\nsource: A\n\nroute: 20.0.0.0/24\norigin: AS10\n")),
            ("two.rpsl", Item(b"as-set: AS-X\nmembers: AS11\nsource: B\n")),
            ("arin.csv", Item(b"21.0.0.0/24,10\n")),
            ("nicbr.txt", Item(b"AS10|x|1|22.0.0.0/24|2801::/32\n")),
        ]
    )

    assert origins(known, "AS-X") == {10}
    assert origins(known, "B::AS-X") == {11}
    v4, v6 = known.registered(frozenset({10}), None, None)
    assert [each[0] for each in v4.roas] == ["20.0.0.0/24", "21.0.0.0/24", "22.0.0.0/24"]
    assert [each[0] for each in v6.roas] == ["2801::/32"]


# PeeringDB ------------------------------------------------------------------------------------------------------------


def test_what_networks_say_of_themselves_is_taken_where_it_is_spelled_like_one() -> None:
    """Several as-sets, registries before or behind; what is none is told; 0 prefixes is nothing said."""
    rows = [
        {"asn": 1, "irr_as_set": "RIPE::AS-A, as-b@radb AS3 AS5413:RS-X", "info_prefixes4": 20, "info_prefixes6": 0},
        {"asn": 2, "irr_as_set": "", "info_never_via_route_servers": True},
        {"asn": "3"},
        7,
    ]
    found = peeringdb.networks(Item(json.dumps({"data": rows}).encode()))

    assert found is not None
    assert set(found) == {1, 2}
    assert found[1].as_sets == ("RIPE::AS-A", "RADB::AS-B", "AS3")
    assert found[1].prefixes_max == PrefixLimit(v4=20)
    assert "RS-X" in found[1].findings[0]
    assert found[2].never_via_route_servers
    assert peeringdb.networks(Item(b"{}")) is None


def test_pages_of_the_real_api_are_read() -> None:
    """500 networks: nobody's as-set is lost but route-sets, which are no as-sets."""
    for page in (1, 2):
        found = peeringdb.networks(shared(f"peeringdb/2026-api-pages/net-page{page}.json"))
        assert found is not None
        assert len(found) == 250
        assert all("RS-" in finding for each in found.values() for finding in each.findings)


# import-via, export-via -----------------------------------------------------------------------------------------------

RS = 64500
FRIENDS = frozenset({64501, 64502})


@pytest.mark.parametrize(
    ("lines", "wanted", "told"),
    [
        (["import-via AS64500 from AS-ANY accept ANY"], Chosen(None), 0),
        (["import-via afi any.unicast AS64500 from AS-ANY EXCEPT AS64501 accept ANY"], Chosen(None, frozenset({64501})), 0),
        (["import-via AS64500 from AS64501 OR AS64503 accept ANY"], Chosen(frozenset({64501, 64503})), 0),
        (["import-via AS64500 from AS-FRIENDS EXCEPT AS64502 accept ANY;"], Chosen(frozenset({64501})), 0),
        (["import-via AS64500 from AS-ANY AND AS-FRIENDS accept ANY"], Chosen(FRIENDS), 0),
        (["import-via AS64500 from AS-ANY EXCEPT AS-FRIENDS accept ANY", "import-via AS64500 from AS64502 accept ANY"], Chosen(None, frozenset({64501})), 0),
        (["import-via AS64500 from AS64501 action pref=100; accept ANY"], Chosen(frozenset({64501})), 1),
        (["import-via AS64500 from AS64501 accept AS64501"], Chosen(frozenset({64501})), 1),
        (["import-via AS64500 from (AS64501 OR AS64502) accept ANY"], Chosen(frozenset()), 1),
        (["import-via afi ipv6.unicast AS64500 from AS-ANY accept ANY"], Chosen(frozenset()), 1),
        (["import-via AS64500 odd"], Chosen(frozenset()), 1),
        (["import-via AS64999 from AS64501 accept ANY"], None, 0),
        (["export-via AS64500 to AS-ANY announce AS1"], None, 0),
        ([], None, 0),
    ],
)  # fmt: skip
def test_import_via_says_whose_routes_a_member_wants(lines: list[str], wanted: Chosen | None, told: int) -> None:
    """From left to right; several lines add; what cannot be read allows nobody and is told; lines about another route server are not for us."""
    findings: list[str] = []

    assert chosen(lines, "import-via", RS, lambda name: FRIENDS, findings) == wanted
    assert len(findings) == told


def test_via_lines_are_found_in_aut_nums() -> None:
    """Continuation and case as people write them; the first source that has an ASN's lines counts."""
    text = "aut-num: AS7\nexport-via: as64500 to AS-ANY\n  announce AS7 # all\nimport-via: AS64500 from AS9 accept ANY\nsource: T\n"
    known = rpsl(text, "aut-num: AS7\nimport-via: AS64500 from AS8 accept ANY\nsource: U\n")

    assert known.vias(7) == ("export-via as64500 to AS-ANY announce AS7", "import-via AS64500 from AS9 accept ANY")
    assert chosen(known.vias(7), "export-via", RS, lambda name: FRIENDS, []) == Chosen(None)
