"""Tables taken apart and compared, without a kernel: the driver itself is tried in tests/lab."""

from __future__ import annotations

import pytest

from nnix.daemons.nftables import NFTABLES, member_changes, parse
from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.compile import compile
from tests.unit.fabric.exchanges import exchange

TABLE = """
table bridge nnix {
	set ports {
		type ifname
		elements = { "p-a", "p-b" }
	}
	set seen { type ifname; flags dynamic; elements = { "p-a" } }
	set dropped {
		type ifname
		counter
		elements = { "p-a" counter, "p-b" counter }
	}
	chain port {
		ether type != { ip, arp } drop # "braces" { in comments
		iifname "odd } name" drop
	}
}
"""


def test_a_table_falls_into_rules_and_members() -> None:
    """Braces in quotes and comments are text."""
    table = parse(TABLE)
    assert (table.family, table.name, table.filled) == ("bridge", "nnix", frozenset({"seen"}))
    assert table.elements["ports"] == {'"p-a"', '"p-b"'}
    assert table.elements["dropped"] == {'"p-a" counter', '"p-b" counter'}
    assert 'iifname "odd } name" drop' in table.skeleton
    assert "elements" not in table.skeleton


@pytest.mark.parametrize("text", ["", "flush ruleset", "table bridge nnix {", TABLE + TABLE, TABLE + "flush ruleset", "table odd x { }"])
def test_only_exactly_one_table_is_taken(text: str) -> None:
    """Anything else could reach what is not ours."""
    with pytest.raises(ValueError, match=r"table|brace"):
        parse(text)


def test_a_reading_does_not_depend_on_the_order_of_members_nor_on_white_space() -> None:
    """The kernel lists members as its hash table has them, and versions of nft break lines otherwise."""
    turned = TABLE.replace('"p-a", "p-b"', '"p-b",\n\t\t\t     "p-a"').replace("\t", "  ")
    assert parse(turned).reading == parse(TABLE).reading


def test_a_reading_leaves_out_what_packets_filled_in() -> None:
    """A set that traffic fills is no hand edit."""
    assert parse(TABLE.replace('dynamic; elements = { "p-a" }', 'dynamic; elements = { "p-a", "p-z" }')).reading == parse(TABLE).reading


@pytest.mark.parametrize(("old", "new"), [('"p-a", "p-b"', '"p-a"'), ("drop #", "accept #"), ("ip, arp", "ip, arp, ip6")])
def test_a_reading_shows_every_other_change(old: str, new: str) -> None:
    """A member more or less, a verdict, a member of an anonymous set."""
    assert parse(TABLE.replace(old, new)).reading != parse(TABLE).reading


def test_where_only_members_differ_only_members_are_changed() -> None:
    """Deletion names the key alone, whatever the member carries."""
    after = parse(TABLE.replace('"p-b" }', '"p-c" }').replace('"p-b" counter', '"p-c" counter'))
    assert member_changes(parse(TABLE), after) == (
        'delete element bridge nnix ports { "p-b" }\n'
        'delete element bridge nnix dropped { "p-b" }\n'
        'add element bridge nnix ports { "p-c" }\n'
        'add element bridge nnix dropped { "p-c" counter }\n'
    )
    assert member_changes(parse(TABLE), parse(TABLE)) == ""
    assert member_changes(parse(TABLE), parse(TABLE.replace("arp } drop", "arp } accept"))) is None


def test_a_plan_says_what_is_loaded_and_what_only_changes_members() -> None:
    """Few members by name, many by number."""
    old = TABLE.encode()
    assert [each.does for each in NFTABLES.steps(None, old)] == ["load table bridge nnix"]
    assert [each.does for each in NFTABLES.steps(old, None)] == ["remove table bridge nnix"]
    assert NFTABLES.steps(old, old) == ()
    assert [each.does for each in NFTABLES.steps(old, old.replace(b"arp } drop", b"arp } accept"))] == [
        "load table bridge nnix anew, in one transaction"
    ]
    assert [each.does for each in NFTABLES.steps(old, old.replace(b'"p-a", "p-b"', b'"p-a"'))] == ['delete "p-b" from set ports']
    many = ", ".join(f'"p-{number}"' for number in range(40)).encode()
    assert [each.does for each in NFTABLES.steps(old, old.replace(b'"p-a", "p-b"', b'"p-a", "p-b", ' + many))] == [
        "add 40 members in set ports"
    ]


NAMED = """# behind "p-a": session/a-1 session/a-2
# behind "p-b": session/b
# interrupted by leaving: ports
# interrupted by joining: seen
""" + TABLE.lstrip()


def disturbed(old: str, new: str, was: str = NAMED) -> set[str]:
    assert old in was
    return {each for step in NFTABLES.steps(was.encode(), was.replace(old, new, 1).encode()) for each in step.disturbs}


@pytest.mark.parametrize(
    ("old", "new", "whom"),
    [
        ('"p-a", "p-b" }', '"p-a" }', {"session/b"}),
        ('"p-a", "p-b" }', '"p-c" }', {"session/a-1", "session/a-2", "session/b"}),
        ('dynamic; elements = { "p-a" }', 'dynamic; elements = { "p-a", "p-b" }', {"session/b"}),
        ("table bridge nnix", "table bridge other", {"session/a-1", "session/a-2", "session/b"}),
        ("chain port", "chain {", {"session/a-1", "session/a-2", "session/b"}),
        ('"p-a", "p-b" }\n\t}', '"p-a" }\n\t}\n\tchain more { }', {"session/b"}),
    ],
)
def test_a_plan_names_exactly_those_behind_the_interfaces_concerned(old: str, new: str, whom: set[str]) -> None:
    """A member that goes, one that comes where that interrupts, a table that goes; and of a reload only those whose members go."""
    assert disturbed(old, new) == whom


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"p-a", "p-b" }', '"p-a", "p-b", "p-c" }'),
        ('dynamic; elements = { "p-a" }', "dynamic;"),
        ('"p-a" counter, "p-b" counter', '"p-a" counter'),
        ("{ ip, arp } drop", "{ ip, arp, ip6 } drop"),
        ("\tchain port", "\tchain between { }\n\tchain port"),
        ("session/b\n", "session/b session/b-2\n"),
    ],
)
def test_a_plan_names_nobody_where_nobody_is_interrupted(old: str, new: str) -> None:
    """Somebody new is let in, a counter goes, common rules are exchanged in one transaction, or only a comment changes."""
    assert disturbed(old, new) == set()
    assert NFTABLES.steps(NAMED.encode(), NAMED.replace(old, new, 1).encode())


def test_removing_a_table_disturbs_everybody_and_loading_it_nobody() -> None:
    """As far as it says who is behind its ports; and a new port that is drained from the start had no traffic."""
    (removed,) = NFTABLES.steps(NAMED.encode(), None)
    assert removed.disturbs == {"session/a-1", "session/a-2", "session/b"}
    assert [each.disturbs for each in NFTABLES.steps(None, NAMED.encode())] == [frozenset()]
    assert [each.disturbs for each in NFTABLES.steps(TABLE.encode(), None)] == [frozenset()]
    fresh = '# behind "p-c": session/c\n' + NAMED.replace('dynamic; elements = { "p-a" }', 'dynamic; elements = { "p-a", "p-c" }')
    assert not {each for step in NFTABLES.steps(NAMED.encode(), fresh.encode()) for each in step.disturbs}


def test_what_an_older_nnix_did_not_say_is_read_from_the_new_text() -> None:
    """The first change after an upgrade names those concerned too."""
    without_b = NAMED.replace('"p-a", "p-b" }', '"p-a" }')
    assert {each for step in NFTABLES.steps(TABLE.encode(), without_b.encode()) for each in step.disturbs} == {"session/b"}


def whole(snapshot: Snapshot) -> dict[str, bytes]:
    return {each.machine: each.content for each in compile(snapshot, Evidence()) if each.driver == "nftables"}


@pytest.mark.parametrize(
    ("changes", "whom"),
    [
        ({"Session/alice": {"macs": ["02:00:5e:10:00:99"]}}, {"session/alice"}),
        ({"Session/alice": {"v4": "192.0.2.99"}}, {"session/alice"}),
        ({"Session/alice": {"macs": ["02:00:5e:10:00:01", "02:00:5e:10:00:99"]}}, set()),
        ({"Port/alice": {"state": "suspended"}}, {"session/alice"}),
        ({"Port/alice": {"state": "drained"}}, {"session/alice"}),
        ({"Session/alice": None, "Port/alice": None}, {"session/alice"}),
    ],
)
def test_a_change_at_one_port_disturbs_whoever_is_behind_it(changes: dict[str, dict[str, object] | None], whom: set[str]) -> None:
    """With the filter as the fabric spells it: its other MAC or address, its light, its removal; another MAC besides disturbs nobody."""
    before, after = whole(exchange()), whole(exchange(changes))
    assert before != after
    assert {who for name in before for step in NFTABLES.steps(before[name], after[name]) for who in step.disturbs} == whom


def test_another_lan_disturbs_nobody() -> None:
    """The rules change with its prefix; they are exchanged in one transaction."""
    fields = {"title": {"en": "More"}, "v4": "203.0.113.0/24", "v6": "2001:db8:7::/64", "vni": 4077}
    before, after = whole(exchange()), whole(exchange({"Lan/more": fields}))
    steps = [step for name in before for step in NFTABLES.steps(before[name], after[name])]
    assert any("anew, in one transaction" in each.does for each in steps)
    assert not any(each.disturbs for each in steps)
