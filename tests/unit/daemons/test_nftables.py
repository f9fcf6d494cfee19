"""Tables taken apart and compared, without a kernel: the driver itself is tried in tests/lab."""

from __future__ import annotations

import pytest

from nnix.daemons.nftables import NFTABLES, member_changes, parse

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
