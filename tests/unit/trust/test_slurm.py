"""Local exceptions do what RFC 8416 says, for their time; and the SLURM file says the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from nnix.planes.trust.kinds import LocalException
from nnix.planes.trust.payloads import Payloads, RouterKey, Vrp, rows_of
from nnix.planes.trust.slurm import applied, document, in_force

NOW = datetime(2026, 11, 26, tzinfo=UTC)
KEY = RouterKey(64496, "5D4250E2D81D4448D8A29EFCE91D29FF075EC9E2", "MFk=")
BEFORE = Payloads(
    rows_of(
        Vrp(ip_network(prefix), ip_network(prefix).prefixlen, asn)
        for prefix, asn in (("192.0.2.0/24", 64496), ("192.0.2.128/25", 64497), ("198.51.100.0/24", 64496), ("192.0.0.0/16", 64496))
    ),
    {64496: frozenset({64497})},
    frozenset({KEY}),
)


def exception(name: str, **fields: object) -> LocalException:
    both = [{"contact": "contact:a"}, {"contact": "contact:b"}]
    return LocalException.model_validate({"name": name, "until": NOW + timedelta(days=1), "approvers": both, "why": "ticket 1", **fields})


def left(*exceptions: LocalException) -> set[str]:
    return {str(each) for each in applied(BEFORE, exceptions)[0]}


@pytest.mark.parametrize(
    ("fields", "gone"),
    [
        ({"prefix": "192.0.2.0/24"}, {"192.0.2.0/24 AS64496", "192.0.2.128/25 AS64497"}),
        ({"asn": 64496}, {"192.0.2.0/24 AS64496", "198.51.100.0/24 AS64496", "192.0.0.0/16 AS64496"}),
        ({"prefix": "192.0.2.0/24", "asn": 64497}, {"192.0.2.128/25 AS64497"}),
        ({"prefix": "203.0.113.0/24"}, set()),
    ],
)
def test_a_prefix_filter_takes_out_what_lies_inside(fields: dict[str, object], gone: set[str]) -> None:
    """RFC 8416, 3.3.1: the prefix is encompassed, the origin equal, or both where both are given. What covers the prefix stays."""
    assert {str(each) for each in BEFORE} - left(exception("one", action="filter", **fields)) == gone


def test_an_assertion_outlives_every_filter() -> None:
    """RFC 8416, 4.2, whatever the order of their names."""
    found = left(
        exception("a", action="assert", prefix="192.0.2.0/24", length_max=25, asn=64500),
        exception("b", action="filter", prefix="0.0.0.0/0"),
    )
    assert found == {"192.0.2.0/24-25 AS64500"}


def test_router_keys_and_aspas_go_and_come() -> None:
    after, words = applied(
        BEFORE,
        [
            exception("no-key", action="filter", about="router-key", asn=64496),
            exception("no-aspa", action="filter", about="aspa", asn=64496),
            exception("aspa", action="assert", about="aspa", asn=64499, providers=[64500]),
            exception("key", action="assert", about="router-key", asn=64499, key_id="00" * 20, public_key="MFk="),
        ],
    )
    assert (after.aspas, after.router_keys) == ({64499: frozenset({64500})}, frozenset({RouterKey(64499, "00" * 20, "MFk=")}))
    assert words[0] == "local-exception/no-aspa: 1 taken out, until 2026-11-27 00:00 (ticket 1)"


def test_its_end_ends_it() -> None:
    lasting, over = exception("a", action="filter", asn=1), exception("b", action="filter", asn=1, until=NOW)
    assert in_force([lasting, over], NOW) == (lasting,)
    assert in_force([lasting, over], NOW - timedelta(seconds=1)) == (lasting, over)


def test_the_slurm_file_is_that_of_the_rfc() -> None:
    """Version 1; an ASPA makes it version 2. Identifiers and keys are base64 without padding (3.3.2)."""
    found = document(
        [
            exception("a", action="filter", prefix="192.0.2.0/24"),
            exception("b", action="assert", prefix="2001:db8::/32", length_max=48, asn=64496),
            exception("c", action="filter", about="router-key", asn=64497, key_id=KEY.key_id),
        ]
    )
    assert found == {
        "slurmVersion": 1,
        "validationOutputFilters": {
            "prefixFilters": [{"prefix": "192.0.2.0/24", "comment": "ticket 1 (until 2026-11-27T00:00:00Z)"}],
            "bgpsecFilters": [{"asn": 64497, "SKI": "XUJQ4tgdREjYop786R0p_wdeyeI", "comment": "ticket 1 (until 2026-11-27T00:00:00Z)"}],
        },
        "locallyAddedAssertions": {
            "prefixAssertions": [
                {"asn": 64496, "prefix": "2001:db8::/32", "maxPrefixLength": 48, "comment": "ticket 1 (until 2026-11-27T00:00:00Z)"}
            ],
            "bgpsecAssertions": [],
        },
    }
    assert document([exception("a", action="assert", about="aspa", asn=64496, providers=[64497])])["slurmVersion"] == 2


@pytest.mark.parametrize(("count", "taken"), [(1000, True), (1001, False)])
def test_an_exception_names_a_thousand_providers_and_no_more(count: int, taken: bool) -> None:
    fields: dict[str, object] = {"action": "assert", "about": "aspa", "asn": 64499, "providers": list(range(1, count + 1))}
    if taken:
        assert len(exception("most", **fields).providers) == count
        return
    with pytest.raises(ValueError, match="providers"):
        exception("many", **fields)


def test_an_exception_of_a_year_ago_is_still_read() -> None:
    """In ledger and archive its approvers stand as words. Whoever was named then has to approve it now."""
    record = {**exception("old", action="assert", prefix="192.0.2.0/24", asn=64496).record(), "version": 1}
    assert LocalException.recorded({**record, "approvers": ["contact:a", "contact:b"]}) == LocalException.recorded({**record, "version": 2})
