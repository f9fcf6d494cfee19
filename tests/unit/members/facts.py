"""What a member list says, fact by fact, and how two lists differ: the measure of what an import and an export lose or make up.

A fact has a key, a value and a place. Keys do not depend on how a list is ordered or on which number it gives a thing, so that
two lists that say the same have the same facts: a VLAN goes by the addresses on it, a connection by its addresses.
Only spelling is brought together (case, MACs' separators, words for one state); what is said in other words is another fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from nnix.planes.members.sheet import Finding, Log
from nnix.planes.members.spelling import STATES, as_sets_of

Key = tuple[Any, ...]
Document = dict[str, Any]


@dataclass(frozen=True)
class Fact:
    """What is said, and where: `member_list[3].connection_list[0].state`."""

    value: Any
    where: str


@dataclass(frozen=True)
class Difference:
    """A fact that one list says and the other does not, or not so."""

    key: Key
    given: Fact | None
    back: Fact | None

    def __str__(self) -> str:
        given = f"{self.given.value!r} at {self.given.where}" if self.given else "not said"
        return f"{' '.join(map(str, self.key))}: {given} → {self.back.value if self.back else 'not said'!r}"


def differences(given: Document, back: Document) -> list[Difference]:
    """Every fact that differs between two member lists."""
    before, after = dict(facts(given)), dict(facts(back))
    return [
        Difference(key, before.get(key), after.get(key))
        for key in {**before, **after}
        if (before[key].value if key in before else None) != (after[key].value if key in after else None)
    ]


def told_by(findings: Iterable[Finding], difference: Difference) -> bool:
    """Whether the import said that it mended what stands there, or left it out, alone or with what it stands in or holds."""
    where = difference.given.where if difference.given else ""

    def holds(outer: str, inner: str) -> bool:
        return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))

    def tells(finding: Finding) -> bool:
        place = finding.where.removesuffix(".asnum")  # where it is no number of a network, the member goes
        left_out = finding.done.startswith("left out: ") and "[" in place and holds(place, where)
        return holds(where, finding.where) or left_out

    return bool(where) and any(map(tells, findings))


def facts(document: Document) -> Iterator[tuple[Key, Fact]]:
    """All facts of a list, by key. What is null, empty or of no meaning is not said."""
    for key, value, where in _facts(document):
        if value not in (None, "", [], ()):
            yield key, Fact(value, where)


def _facts(document: Document) -> Iterator[tuple[Key, Any, str]]:
    for i, exchange in enumerate(document.get("ixp_list") or ()):
        at = f"ixp_list[{i}]"
        for field in ("shortname", "name", "country", "url", "peeringdb_id"):
            yield ("exchange", field), exchange.get(field), f"{at}.{field}"
        yield ("exchange", "ixf_id"), exchange.get("ixf_id") or None, f"{at}.ixf_id"  # 0: none
        for j, vlan in enumerate(exchange.get("vlan") or ()):
            name = ("vlan", vlan.get("id"))
            yield (*name, "name"), " ".join((vlan.get("name") or "").split()), f"{at}.vlan[{j}].name"
            for family in ("ipv4", "ipv6"):
                side = vlan.get(family) or {}
                prefix = f"{side['prefix']}/{side['mask_length']}".lower() if side.get("prefix") and side.get("mask_length") else None
                yield (*name, family), prefix, f"{at}.vlan[{j}].{family}"
        for j, switch in enumerate(exchange.get("switch") or ()):
            place = _place(switch)
            for field in ("city", "country", "pdb_facility_id"):
                yield ("place", place, field), switch.get(field), f"{at}.switch[{j}].{field}"
    switches = {s.get("id"): _place(s) for x in document.get("ixp_list") or () for s in x.get("switch") or ()}
    seen: dict[int, int] = {}
    for i, member in enumerate(document["member_list"]):
        at, asn = f"member_list[{i}]", member.get("asnum")
        for field in ("name", "member_type", "url"):
            yield ("member", asn, field), " ".join((member.get(field) or "").split()), f"{at}.{field}"
        yield ("member", asn, "member_since"), (member.get("member_since") or "")[:10], f"{at}.member_since"
        for j, connection in enumerate(member.get("connection_list") or ()):
            yield from _connection(asn, connection, f"{at}.connection_list[{j}]", switches, seen)


def _place(switch: dict[str, Any]) -> str:
    return str(switch.get("colo") or switch.get("name"))


def _connection(
    asn: int, connection: dict[str, Any], at: str, switches: dict[Any, str], seen: dict[int, int]
) -> Iterator[tuple[Key, Any, str]]:
    entries = [(k, each) for k, each in enumerate(connection.get("vlan_list") or ())]
    sides = [(k, e, f, e[f]) for k, e in entries for f in ("ipv4", "ipv6") if (e.get(f) or {}).get("address")]
    addresses = sorted(_address(side["address"]) for *_, side in sides)
    if not addresses:
        seen[asn] = seen.get(asn, 0) + 1
    name = ("connection", asn, addresses[0] if addresses else f"without address {seen[asn]}")
    yield (*name, "addresses"), tuple(addresses) or "none", at
    state = connection.get("state")
    yield (*name, "state"), STATES.get(str(state).lower(), state) if state else None, f"{at}.state"
    interfaces = connection.get("if_list") or []
    yield (*name, "speed"), sum(s for each in interfaces if isinstance(s := each.get("if_speed"), int)) or None, f"{at}.if_list"
    yield (
        (*name, "places"),
        tuple(sorted({switches[s] for each in interfaces if (s := each.get("switch_id")) in switches})),
        f"{at}.if_list",
    )
    for k, entry, family, side in sides:
        where, address = f"{at}.vlan_list[{k}].{family}", _address(side["address"])
        one = ("address", asn, address)
        yield (*one, "vlan"), entry.get("vlan_id"), f"{at}.vlan_list[{k}].vlan_id"
        other = entry.get("ipv6" if family == "ipv4" else "ipv4") or {}
        yield (*one, "in one entry with"), _address(other["address"]) if other.get("address") else None, f"{at}.vlan_list[{k}]"
        yield (*one, "routeserver"), side.get("routeserver"), f"{where}.routeserver"
        yield (*one, "max_prefix"), side.get("max_prefix") or None, f"{where}.max_prefix"  # 0: no limit known
        as_sets = as_sets_of(side.get("as_macro"), "", Log())
        yield (*one, "as_macro"), as_sets or side.get("as_macro"), f"{where}.as_macro"
        macs = [mac for said in (entry.get("mac_address"), side.get("mac_addresses"), side.get("mac_address")) for mac in _listed(said)]
        yield (*one, "macs"), tuple(sorted({re.sub(r"[-:. ]", "", str(mac)).lower() for mac in macs})), f"{where}.mac_addresses"
        offered = [*(side.get("service_type") or ()), *(each.get("type") for each in side.get("services") or ())]
        yield (*one, "is a route server"), "ixrouteserver" in offered or None, where


def _listed(said: object) -> list[Any]:
    return said if isinstance(said, list) else [said] if said else []


def _address(text: object) -> str:
    try:
        return str(ip_address(str(text)))
    except ValueError:
        return str(text)
