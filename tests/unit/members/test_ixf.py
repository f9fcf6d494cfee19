"""Member lists in and out, on real exports: what was said comes back, what is broken is named, nothing crashes."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, FormatChecker

from nnix.cli.root import ALL_PLANES, KINDS
from nnix.kernel.change import admit
from nnix.kernel.document import read, write
from nnix.kernel.rule import Refused
from nnix.kernel.snapshot import Snapshot
from nnix.planes.members.ixf_read import read_ixf
from nnix.planes.members.ixf_write import Version, schema, write_ixf
from nnix.planes.members.peeringdb import read_peeringdb

DATA = Path(__file__).parents[4] / "shared/data"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
needs_data = pytest.mark.skipif(not (DATA / "ixf").exists(), reason="the shared data are not beside this checkout")
EXPORTS = sorted([*(DATA / "ixf/exports").glob("*.json"), *(DATA / "ixf/derived").glob("*.json")])
CASES = sorted((DATA / "ixf/peeringdb-cases").glob("*.json"))


def imported(document: bytes) -> Snapshot:
    return Snapshot(read_ixf(document).resources)


def exported(snapshot: Snapshot, version: Version = "1.0") -> dict[str, Any]:
    document = write_ixf(snapshot, version, NOW)
    faults = list(Draft4Validator(schema(version), format_checker=FormatChecker()).iter_errors(document))
    assert not faults, [f"{list(f.absolute_path)}: {f.message}" for f in faults[:3]]
    return document


def facts(document: dict[str, Any]) -> set[tuple[Any, ...]]:
    """(asn, address, route server, limit, as-set, MACs) of every address in an export."""
    found = set()
    for member in document["member_list"]:
        for connection in member["connection_list"]:
            for entry in connection.get("vlan_list") or ():
                for family in ("ipv4", "ipv6"):
                    side = entry.get(family)
                    if side and side.get("address"):
                        macs = tuple(sorted(m.lower() for m in side.get("mac_addresses") or ()))
                        found.add(
                            (
                                member["asnum"],
                                side["address"].lower(),
                                side.get("routeserver"),
                                side.get("max_prefix") or None,
                                side.get("as_macro"),
                                macs,
                            )
                        )
    return found


@needs_data
@pytest.mark.parametrize("path", EXPORTS, ids=lambda p: p.stem)
def test_a_real_export_becomes_an_exchange_that_is_admitted(path: Path) -> None:
    """Every real export gives an exchange without a refusal."""
    admit(ALL_PLANES, read_ixf(path.read_bytes()).resources, Snapshot())


@needs_data
@pytest.mark.parametrize("version", ["0.7", "1.0"])
@pytest.mark.parametrize("path", EXPORTS, ids=lambda p: p.stem)
def test_the_export_is_valid_and_gives_the_same_facts_back(path: Path, version: Version) -> None:
    """Imported, exported, imported and exported again: valid by the schema, and equal to the first export."""
    first = exported(imported(path.read_bytes()), version)
    second = exported(imported(json.dumps(first).encode()), version)
    assert facts(first) == facts(second)


@needs_data
@pytest.mark.parametrize("name", ["derived/nnix.1.0", "derived/hkix.1.0", "derived/ams-ix.1.0", "exports/qcix-2020.1.0"])
def test_addresses_flags_and_speeds_of_a_sound_list_come_back(name: str) -> None:
    """What the list says of each address is in the export, and the speeds of each AS add up to the same."""
    document = json.loads((DATA / f"ixf/{name}.json").read_text())
    out = exported(imported(json.dumps(document).encode()))
    given = {row[:2]: row for row in facts(document)}
    back = {row[:2]: row for row in facts(out)}
    lost = [key for key in given if key not in back]
    assert len(lost) <= len(given) // 100, lost[:10]

    def speeds(of: dict[str, Any]) -> dict[int, int]:
        total: dict[int, int] = {}
        for member in of["member_list"]:
            for connection in member["connection_list"]:
                for interface in connection.get("if_list") or ():
                    total[member["asnum"]] = total.get(member["asnum"], 0) + (interface.get("if_speed") or 0)
        return total

    before, after = speeds(document), speeds(out)
    servers = {member["asnum"] for member in out["member_list"] if member.get("name", "").endswith("route servers")}
    assert {asn: (speed, after.get(asn)) for asn, speed in before.items() if asn not in servers and speed and after.get(asn) != speed} == {}


@needs_data
@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_broken_lists_are_repaired_or_refused_never_a_crash(path: Path) -> None:
    """Other importers' broken cases: either an exchange and findings, or a refusal that names rule and field."""
    try:
        found = read_ixf(path.read_bytes())
    except Refused as refused:
        assert all(each.rule.startswith("ixf.") and each.accept for each in refused.refusals)
        return
    assert found.resources
    assert all(each.problem and each.done.startswith(("repaired: ", "left out: ")) for each in found.findings)


@pytest.mark.parametrize(
    "nonsense", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"version": "1.0"}', b'{"version": "9", "member_list": []}', b"[" * 100_000]
)
def test_what_is_no_member_list_is_refused_with_the_reason(nonsense: bytes) -> None:
    """Not JSON, not an object, no list, an unknown version: one refusal, with what would be accepted."""
    with pytest.raises(Refused) as refused:
        read_ixf(nonsense)
    assert refused.value.refusals[0].accept


@needs_data
def test_random_damage_never_crashes() -> None:
    """A thousand documents with nodes deleted or replaced by other things: imported or refused."""
    chance = random.Random(7)
    whole = json.loads((DATA / "ixf/exports/ixpmanager-ci.1.0-auth.json").read_text())
    junk: list[Any] = [None, "", "x", -1, 10**30, 1.5, True, [], {}, [None], {"a": []}, "999.1.1.1", "::/0"]

    def damaged(node: Any) -> Any:
        if chance.random() < 0.02:
            return chance.choice(junk)
        if isinstance(node, dict):
            return {key: damaged(value) for key, value in node.items() if chance.random() > 0.01}
        if isinstance(node, list):
            return [damaged(value) for value in node if chance.random() > 0.02]
        return node

    for _ in range(1000):
        document = json.dumps(damaged(whole)).encode()
        try:
            found = read_ixf(document)
        except Refused:
            continue
        if found.resources:
            exported(Snapshot(found.resources))


@needs_data
def test_an_import_is_written_as_files_that_read_back_equal() -> None:
    """YAML out, YAML in: the same resources."""
    resources = read_ixf((DATA / "ixf/derived/hkix.1.0.json").read_bytes()).resources
    back = read({"x.yaml": write(resources)}, KINDS)
    assert not back.refusals
    assert Snapshot(back.resources) == Snapshot(resources)


@needs_data
def test_peeringdb_rows_make_an_exchange() -> None:
    """NNIX is exchange 3654: ten networks, fifteen connections."""
    import gzip

    rows = json.loads(gzip.decompress((DATA / "peeringdb/2022-10-06/netixlan.json.gz").read_bytes()))["data"]
    document = {"netixlan": {"data": [each for each in rows if each["ix_id"] == 3654]}}
    for table in ("ix", "ixlan", "ixpfx"):
        document[table] = json.loads(gzip.decompress((DATA / f"peeringdb/2022-10-06/{table}.json.gz").read_bytes()))
    found = read_peeringdb(json.dumps(document).encode(), ix_id=3654)
    snapshot = admit(ALL_PLANES, found.resources, Snapshot())
    asns = {each.asn for each in snapshot if type(each).kind() == "Member"}  # type: ignore[attr-defined]
    assert {37963, 45090, 45062} <= asns


@needs_data
def test_rows_of_several_exchanges_ask_which() -> None:
    """All of PeeringDB without --ix is refused, and the choice is named."""
    with pytest.raises(Refused) as refused:
        read_peeringdb((DATA / "peeringdb/2022-10-06/netixlan.json.gz").read_bytes())
    assert "--ix" in refused.value.refusals[0].mend


@pytest.mark.parametrize("nonsense", [b"", b"{}", b"3", b'{"data": 3}', b'{"data": []}', b'{"netixlan": 3}', b'{"data": [{"asn": "x"}]}'])
def test_what_are_no_rows_is_refused(nonsense: bytes) -> None:
    """Refused or repaired, never a crash."""
    try:
        read_peeringdb(nonsense)
    except Refused as refused:
        assert refused.refusals[0].accept
