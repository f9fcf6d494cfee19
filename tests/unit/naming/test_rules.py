"""Each rule of naming: a plane that is right breaks none, and one small change breaks that one rule."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from nnix.cli.root import KINDS
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Json
from nnix.kernel.rule import judge
from nnix.kernel.snapshot import Snapshot
from nnix.planes.naming.compile import compile
from nnix.planes.naming.prove import prove
from nnix.planes.naming.rules import RULES

Changes = dict[str, Json | None]
DS = "20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
SITES = ("hz", "nb", "wz")


def _session(number: int, member: str = "op") -> Json:
    return {
        "member": member,
        "lan": "peering",
        "port": f"p{number}",
        "v4": f"192.0.2.{number}",
        "v6": f"2001:db8:1::{number}",
        "macs": [f"02:00:5e:10:00:0{number}"],
    }


def _zone(origin: str) -> Json:
    return {
        "origin": origin,
        "member": "registry",
        "gate": "gate",
        "primaries": [{"address": "192.0.2.200"}],
        "key": "registry",
        "anchors": [DS],
    }


RIGHT: dict[str, Json] = {
    "Exchange/lab": {"title": {"en": "Lab"}, "asn": 139136, "country": "CN", "lab": True},
    **{f"Site/{each}": {"title": {"en": each}, "role": "node", "level": "city", "city": each, "country": "CN"} for each in SITES},
    "Lan/peering": {"title": {"en": "Peering"}, "v4": "192.0.2.0/24", "v6": "2001:db8:1::/64", "vni": 4000},
    "RoutingPolicy/open": {"irr": "off", "rpki": "off"},
    "RouteServer/rs1": {"site": "hz", "lan": "peering", "policy": "open", "v4": "192.0.2.251", "mac": "02:00:5e:10:00:f1"},
    "Member/op": {"title": {"en": "Operator"}, "asn": 64510, "class": "content"},
    "Member/registry": {"title": {"en": "Registry"}, "asn": 64500, "class": "enterprise"},
    **{f"Port/p{n}": {"member": "op", "site": SITES[n % 3], "speed": "10G"} for n in range(1, 7)},
    **{f"Session/s{n}": _session(n) for n in range(1, 7)},
    "TransferKey/registry": {"key_name": "registry.", "secret": "secret:tsig-registry"},
    "TransferKey/nodes": {"key_name": "nodes.", "secret": "secret:tsig-nodes"},
    "NameGate/gate": {"session": "s1", "key": "nodes", "catalog": "catalog.nnix."},
    "Anycast/tld": {"member": "op", "prefixes": ["198.18.200.0/24", "3fff:200::/48"], "addresses": ["198.18.200.53", "3fff:200::53"], "cookie_secret": "secret:cookies"},
    "Zone/root": _zone("."),
    "Zone/cn": _zone("cn."),
    "NameNode/n2": {"session": "s2", "anycast": "tld", "gate": "gate", "daemon": "nsd"},
    "NameNode/n3": {"session": "s3", "anycast": "tld", "gate": "gate", "daemon": "knot", "catalog": True},
    "NameNode/n4": {"session": "s4", "anycast": "tld", "gate": "gate", "daemon": "nsd"},
    "Resolver/r": {"session": "s5", "root": "root"},
}  # fmt: skip

WRONG: list[tuple[str, Changes, str]] = [
    ("naming.zone-once", {"Zone/again": _zone("CN.")}, "zone/again"),
    ("naming.gate-verifies", {"Zone/cn": {"dnssec": False, "zonemd": False}}, "zone/cn"),
    ("naming.primaries-reachable", {"Session/s1": {"v6": None}, "Zone/cn": {"primaries": [{"address": "2001:db8::1"}]}}, "zone/cn"),
    ("naming.catalog-is-no-zone", {"NameGate/gate": {"catalog": "cn."}}, "name-gate/gate"),
    ("naming.catalog-is-there", {"NameGate/gate": {"catalog": None}}, "name-node/n3"),
    ("naming.service-address-inside", {"Anycast/tld": {"addresses": ["198.18.201.53", "3fff:200::53"]}}, "anycast/tld"),
    ("naming.one-prefix-a-family", {"Anycast/tld": {"prefixes": ["198.18.200.0/25", "198.18.200.0/24", "3fff:200::/48"]}}, "anycast/tld"),
    ("naming.at-enough-sites", {"Anycast/tld": {"sites_min": 4}}, "anycast/tld"),
    ("naming.node-of-its-member", {"Anycast/tld": {"member": "registry"}}, "name-node/n2"),
    ("naming.node-announces", {"Session/s2": {"route_servers": False}}, "name-node/n2"),
    ("naming.cookies-good-everywhere", {"Anycast/tld": {"cookie_secret": None}}, "name-node/n2"),
    ("naming.quic-has-a-certificate", {"NameNode/n3": {"quic": True}}, "name-node/n3"),
    ("naming.gate-family", {"Session/s1": {"v6": None}, "Session/s2": {"v4": None}}, "name-node/n2"),
    ("naming.local-root", {"Resolver/r": {"root": "cn"}}, "resolver/r"),
    ("naming.key-name-once", {"TransferKey/nodes": {"key_name": "registry."}}, "transfer-key/nodes"),
    ("naming.gate-stands-alone", {"NameGate/gate": {"session": "s2"}}, "name-gate/gate"),
    ("naming.node-stands-alone", {"NameNode/hz": {"session": "s6", "anycast": "tld", "gate": "gate"}}, "name-node/hz"),
    ("naming.resolver-stands-alone", {"Resolver/r": {"session": "s2"}}, "resolver/r"),
]  # fmt: skip


def snapshot(changes: Changes) -> Snapshot:
    given = dict(RIGHT)
    for name, change in changes.items():
        given[name] = {key: value for key, value in {**given.get(name, {}), **(change or {})}.items() if value is not None}
    return Snapshot(
        KINDS[kind].model_validate({"name": name, **fields})
        for (kind, name), fields in ((tuple(k.split("/")), v) for k, v in given.items())
    )


def test_what_is_right_breaks_no_rule() -> None:
    assert judge(snapshot({}), RULES) == ()


@pytest.mark.parametrize(("rule", "changes", "resource"), WRONG, ids=[rule for rule, _, _ in WRONG])
def test_each_rule_refuses_what_it_is_for(rule: str, changes: Changes, resource: str) -> None:
    """By name, and naming the resource."""
    assert (rule, resource) in {(each.rule, each.resource) for each in judge(snapshot(changes), RULES)}


def test_every_rule_of_naming_is_broken_here() -> None:
    assert {each.name for each in RULES} == {rule for rule, _, _ in WRONG}


def test_the_same_snapshot_gives_the_same_bytes_and_no_secret() -> None:
    """Artifacts hold tokens where secrets belong, and a machine has one name server, one BIRD, a herald if it announces, and a guard where zones have anchors."""
    first, second = ([(each.key, each.content) for each in compile(snapshot({}), Evidence())] for _ in range(2))
    assert first == second
    by_machine: dict[str, list[str]] = {}
    for (machine, driver, _), _ in first:
        by_machine.setdefault(machine, []).append(driver)
    assert by_machine["n2"] == ["iproute", "nsd", "bird", "herald"]
    assert by_machine["n3"] == ["iproute", "knot", "bird", "herald"]
    assert by_machine["gate"] == ["knot", "guard", "bird"]
    assert by_machine["r"] == ["unbound", "bird"]
    held = b"".join(content for _, content in first)
    assert held.count(b"@SECRET:tsig-registry@") == 1
    assert b"@SECRET:cookies@" in held


def test_what_weakens_a_gate_is_told_before_it_is_applied() -> None:
    """A zone without a digest, without anchors, and a service of one make."""
    changes: Changes = {"Zone/cn": {"zonemd": False, "anchors": []}, "NameNode/n3": {"daemon": "nsd", "catalog": False}}
    said = {each.about: each.says for each in prove(snapshot(changes), Evidence())}
    told = "\n".join(f"{each.about}: {each.says}" for each in prove(snapshot(changes), Evidence()))
    assert "zone/cn: its digest is not verified" in told
    assert "zone/cn: no anchors" in told
    assert said["anycast/tld"].startswith("all its nodes run nsd")
    assert list(prove(snapshot({}), Evidence())) == []


@pytest.mark.parametrize(("octets", "taken"), [(1023, False), (1024, True), (1 << 40, True), ((1 << 40) + 1, False), (-1, False)])
def test_the_largest_version_of_a_zone_has_bounds_and_its_gate_is_told(octets: int, taken: bool) -> None:
    """At their very edge; of each zone its own, and without a word a GiB."""
    changes: Changes = {"Zone/cn": {"octets_max": octets}}
    if not taken:
        with pytest.raises(ValidationError, match="octets_max"):
            snapshot(changes)
        return
    told = {each.key[:2]: each.content.decode() for each in compile(snapshot(changes), Evidence())}["gate", "knot"]
    sizes = dict(re.findall(r'- domain: "([^"]+)"(?:(?!- domain).)*?zone-max-size: (\d+)', told, re.S))
    assert sizes == {".": str(1 << 30), "cn.": str(octets)}


def test_a_zone_that_comes_moves_no_other_zones_way_through_the_guard() -> None:
    """Each of its primaries is asked at a port of its place in the list: what a gate that was not yet told of the new zone knows, stays right."""

    def ways(changes: Changes) -> dict[tuple[str, str], int]:
        guard = next(each for each in compile(snapshot(changes), Evidence()) if each.key[1] == "guard")
        return {(each["origin"], each["primary"][0]): each["port"] for each in json.loads(guard.content)["ways"]}

    two = {"primaries": [{"address": "192.0.2.200"}, {"address": "192.0.2.201"}]}
    before = ways({"Zone/root": two})
    after = ways({"Zone/root": two, "Zone/a": _zone("a.")})
    assert len(before) == 3
    assert {each: after[each] for each in before} == before
    assert len({after[".", "192.0.2.200"], after[".", "192.0.2.201"]}) == 2
