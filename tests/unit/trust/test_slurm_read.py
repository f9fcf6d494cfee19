"""A SLURM file becomes the local exceptions that it says, or is refused whole, with everything that is wrong with it."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nnix.kernel.rule import Refused
from nnix.planes.trust.kinds import LocalException
from nnix.planes.trust.slurm import document
from nnix.planes.trust.slurm_read import ASSERTIONS, FILTERS, read_slurm

PUBLISHED = Path(__file__).parents[4] / "shared/data/rpki/slurm"
BOTH = ("contact:noc-lead", "contact:director-operations")
UNTIL = "2027-01-01T00:00:00Z"
SKI, KEY = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA", "Ymx1YmI"

SOUND: dict[str, Any] = {
    "slurmVersion": 2,
    FILTERS: {
        "prefixFilters": [{"prefix": "192.0.2.0/24", "comment": "lapsed"}, {"asn": 64496}, {"prefix": "198.51.100.0/24", "asn": 64497}],
        "bgpsecFilters": [{"asn": 64496}, {"SKI": SKI}],
        "aspaFilters": [{"customerAsid": 64496}],
    },
    ASSERTIONS: {
        "prefixAssertions": [{"asn": 64496, "prefix": "2001:DB8::/32", "maxPrefixLength": 48}],
        "bgpsecAssertions": [{"asn": 64496, "SKI": SKI, "routerPublicKey": KEY}],
        "aspaAssertions": [{"customerAsn": 64496, "providerAsns": [64497, 64498]}],
    },
}


def read(of: object, *, until: str = UNTIL, approvers: tuple[str, ...] = BOTH) -> list[LocalException]:
    return read_slurm(json.dumps(of).encode(), until=until, approvers=approvers, why="ticket 1")


def changed(*path: str | int, to: object) -> Any:
    """SOUND with one value another one; `...` takes the member out."""
    whole = json.loads(json.dumps(SOUND))
    inner = whole
    for step in path[:-1]:
        inner = inner[step]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return whole


def test_what_it_says_is_what_is_written_again() -> None:
    """Through resources and back: the same file, but for the order of its entries and the comments."""

    def bare(of: dict[str, Any]) -> Any:
        return {
            section: {name: sorted(json.dumps({k: v for k, v in each.items() if k != "comment"}, sort_keys=True) for each in entries) for name, entries in of[section].items()}
            for section in (FILTERS, ASSERTIONS)
        }  # fmt: skip

    found = read(SOUND)
    spelled = json.loads(json.dumps(SOUND).replace("2001:DB8", "2001:db8"))
    assert bare(document(found)) == bare(spelled)
    assert len(found) == 9
    assert {each.until for each in found} == {datetime(2027, 1, 1, tzinfo=UTC)}
    assert [each.why for each in found if str(each.prefix) == "192.0.2.0/24"] == ["lapsed; ticket 1"]


def test_sequence_and_repetition_have_no_say() -> None:
    other = json.loads(json.dumps(SOUND))
    for section in (FILTERS, ASSERTIONS):
        for entries in other[section].values():
            entries.append(entries[0])
            random.Random(1).shuffle(entries)
    assert read(other) == read(SOUND)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published examples are not at hand")
@pytest.mark.parametrize(("name", "count"), [("full.json", 9), ("full_v2.json", 11)])
def test_published_examples_are_read(name: str, count: int) -> None:
    assert len(read_slurm((PUBLISHED / name).read_bytes(), until=UNTIL, approvers=BOTH, why="an example")) == count


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        (changed("slurmVersion", to=3), "slurmVersion"),
        (changed("slurmVersion", to=True), "slurmVersion"),
        (changed("slurmVersion", to=1), FILTERS),  # which has no ASPAs then
        (changed(FILTERS, to=...), "document"),
        (changed("extra", to=1), "document"),
        (changed(FILTERS, to=[]), FILTERS),
        (changed(FILTERS, "bgpsecFilters", to=...), FILTERS),
        (changed(FILTERS, "prefixFilters", to={}), f"{FILTERS}.prefixFilters"),
        (changed(FILTERS, "prefixFilters", 1, to=7), f"{FILTERS}.prefixFilters[1]"),
        (changed(FILTERS, "prefixFilters", 1, to={}), f"{FILTERS}.prefixFilters[1]"),
        (changed(FILTERS, "prefixFilters", 1, to={"comment": "of nothing"}), f"{FILTERS}.prefixFilters[1]"),
        (changed(FILTERS, "prefixFilters", 1, "asn", to="64496"), f"{FILTERS}.prefixFilters[1]"),
        (changed(FILTERS, "prefixFilters", 1, "asn", to=1 << 32), f"{FILTERS}.prefixFilters[1]"),
        (changed(FILTERS, "prefixFilters", 1, "asn", to=-1), f"{FILTERS}.prefixFilters[1]"),
        (changed(FILTERS, "prefixFilters", 0, "prefix", to="192.0.2.1/24"), f"{FILTERS}.prefixFilters[0]"),
        (changed(FILTERS, "prefixFilters", 0, "prefix", to=7), f"{FILTERS}.prefixFilters[0]"),
        (changed(FILTERS, "prefixFilters", 0, "comment", to=7), f"{FILTERS}.prefixFilters[0]"),
        (changed(FILTERS, "prefixFilters", 0, "maxPrefixLength", to=24), f"{FILTERS}.prefixFilters[0]"),
        (changed(FILTERS, "bgpsecFilters", 1, "SKI", to=f"{SKI}="), f"{FILTERS}.bgpsecFilters[1]"),
        (changed(FILTERS, "bgpsecFilters", 1, "SKI", to="MTIz"), f"{FILTERS}.bgpsecFilters[1]"),
        (changed(FILTERS, "aspaFilters", 0, "customerAsn", to=64497), f"{FILTERS}.aspaFilters[0]"),
        (changed(ASSERTIONS, "prefixAssertions", 0, "asn", to=...), f"{ASSERTIONS}.prefixAssertions[0]"),
        (changed(ASSERTIONS, "prefixAssertions", 0, "maxPrefixLength", to=16), f"{ASSERTIONS}.prefixAssertions[0]"),
        (changed(ASSERTIONS, "prefixAssertions", 0, "maxPrefixLength", to=200), f"{ASSERTIONS}.prefixAssertions[0]"),
        (changed(ASSERTIONS, "bgpsecAssertions", 0, "routerPublicKey", to=...), f"{ASSERTIONS}.bgpsecAssertions[0]"),
        (changed(ASSERTIONS, "aspaAssertions", 0, "providerAsns", to=["64497"]), f"{ASSERTIONS}.aspaAssertions[0]"),
        (changed(ASSERTIONS, "aspaAssertions", 0, "providerAsns", to=[]), f"{ASSERTIONS}.aspaAssertions[0]"),
    ],
)  # fmt: skip
def test_what_deviates_is_refused_with_its_place(wrong: object, where: str) -> None:
    """RFC 8416, 3.1: any deviation is an error."""
    with pytest.raises(Refused) as refused:
        read(wrong)
    assert where in {each.resource for each in refused.value.refusals}


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"slurmVersion": 1, "slurmVersion": 2}', '{"slurmVersion": NaN}', "[" * 100_000, "\ud800"]
)
def test_what_is_no_such_file_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        read_slurm(text.encode(errors="surrogatepass"), until=UNTIL, approvers=BOTH, why="nothing")
    assert {each.rule for each in refused.value.refusals} == {"trust.slurm-file"}


def test_all_that_is_wrong_is_named_at_once() -> None:
    wrong = changed(FILTERS, "prefixFilters", to=[{"asn": "x"}, {"prefix": "no"}, {"as": 1}])
    with pytest.raises(Refused) as refused:
        read(wrong)
    assert {each.resource for each in refused.value.refusals} == {f"{FILTERS}.prefixFilters[{number}]" for number in range(3)}


@pytest.mark.parametrize(
    ("until", "approvers", "field"),
    [
        ("soon", BOTH, "until"),
        ("2027-01-01T00:00:00", BOTH, "until"),
        (UNTIL, BOTH[:1], "approvers"),
        (UNTIL, BOTH[:1] * 2, "approvers[1].contact"),
    ],
)
def test_an_end_and_two_approvers_are_asked_for_once(until: str, approvers: tuple[str, ...], field: str) -> None:
    with pytest.raises(Refused) as refused:
        read(SOUND, until=until, approvers=approvers)
    assert [(each.resource, each.field) for each in refused.value.refusals] == [("what you add", field)]
