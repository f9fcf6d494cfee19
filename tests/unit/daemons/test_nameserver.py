"""What a plan says of name servers, and that no secret gets into what is kept or complained of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nnix.daemons import knot, nsd, unbound
from nnix.daemons.nameserver import Make, lacks, steps
from nnix.daemons.secrets import Secrets
from nnix.kernel.world import Failed

BEFORE = b"""# names: name-node/n1, zone/cn
server:
    ip-address: 192.0.2.1
key:
    name: "k."
zone:
    name: "cn."
zone:
    name: "old."
"""


def test_zones_come_and_go_while_the_others_are_answered() -> None:
    """Only who asks for the zone that goes is disturbed; nothing is restarted."""
    after = BEFORE.replace(b'"old."', b'"new."')
    found = {step.does: step.disturbs for step in steps(nsd.MAKE, BEFORE, after)}
    assert found == {"add zone new.": frozenset(), "remove zone old.": frozenset({"zone/cn"})}


def test_another_address_is_a_restart_that_disturbs_all_who_are_served_here() -> None:
    """By what the former configuration says of itself."""
    found = steps(nsd.MAKE, BEFORE, BEFORE.replace(b"192.0.2.1", b"192.0.2.2"))
    assert [(step.does, step.disturbs) for step in found] == [("restart NSD", frozenset({"name-node/n1", "zone/cn"}))]


def test_start_stop_and_nothing() -> None:
    """A new key alone is read while it runs."""
    assert [step.does for step in steps(nsd.MAKE, None, BEFORE)] == ["start NSD with 2 zones"]
    assert [(step.does, step.disturbs) for step in steps(nsd.MAKE, BEFORE, None)] == [
        ("stop NSD with 2 zones", frozenset({"name-node/n1", "zone/cn"}))
    ]
    assert steps(nsd.MAKE, BEFORE, BEFORE) == ()
    assert [step.does for step in steps(nsd.MAKE, BEFORE, BEFORE.replace(b'"k."', b'"k2."'))] == ["let NSD read its configuration anew"]


@pytest.mark.parametrize(
    ("make", "old", "new", "gained"),
    [
        (nsd.MAKE, "4.6.1", "4.12.0", {"catalog", "proxy"}),
        (knot.MAKE, "3.2.6", "3.4.6", {"dot", "doq"}),
        (unbound.MAKE, "1.17.1", "1.26.2", {"cookies", "keep-cache"}),
    ],
    ids=["NSD", "Knot", "Unbound"],
)
def test_what_debian_13_has_that_debian_12_lacks(make: Make, old: str, new: str, gained: set[str]) -> None:
    """By the versions of both."""
    assert lacks(make, old).keys() - lacks(make, new).keys() == gained


@pytest.mark.parametrize(
    ("make", "said", "version"),
    [
        (knot.MAKE, "knotd (Knot DNS), version 3.2.6", "3.2.6"),
        (knot.MAKE, "knotd, Knot DNS 3.4.6", "3.4.6"),
        (nsd.MAKE, "NSD version 4.12.0\nWritten by NLnet Labs.", "4.12.0"),
        (unbound.MAKE, "Version 1.26.2\n\nConfigure line: --build", "1.26.2"),
    ],
)
def test_a_version_is_read_in_the_words_of_its_time(make: Make, said: str, version: str) -> None:
    """As Debian 12's and Debian 13's say it."""
    found = re.search(make.version[1], said)
    assert found is not None
    assert found[1] == version


def test_a_secret_is_filled_in_on_the_way_and_masked_for_parsers(tmp_path: Path) -> None:
    """The mask has the secret's shape, so that a parser takes it; files are laid empty."""
    (tmp_path / "tsig").write_bytes(b"c2VjcmV0/+==\n")
    (tmp_path / "pem").write_bytes(b"-----BEGIN")
    secrets = Secrets(tmp_path)
    content = b'secret: "@SECRET:tsig@"\nkey-file: @SECRETFILE:pem@\n'
    assert secrets.reveal(content).content == b'secret: "c2VjcmV0/+=="\nkey-file: @HOME@/pem.pem\n'
    assert secrets.reveal(content).files == {"pem.pem": b"-----BEGIN\n"}
    assert secrets.masked(content).content == b'secret: "AAAAAAAAAA=="\nkey-file: @HOME@/pem.pem\n'
    assert secrets.masked(content).files == {"pem.pem": b""}


def test_a_secret_that_is_not_there_is_named() -> None:
    """All of them at once."""
    secrets = Secrets(Path("/nowhere"))
    content = b"@SECRET:b@ @SECRETFILE:a@"
    assert secrets.complaint(content).endswith("secret:a, secret:b")
    with pytest.raises(Failed, match="secret:a"):
        secrets.reveal(content)
