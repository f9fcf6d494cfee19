"""What is said of circuits and links: what is dark by declaration is no fault, what is drained goes on, and a line that stands by is heard or down."""

from __future__ import annotations

import pytest

from nnix.kernel.resource import Ref
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric import iproute
from nnix.planes.fabric.compile import switches
from nnix.planes.fabric.kinds import Circuit, Link, Port
from nnix.planes.fabric.prove.survival import Survival
from nnix.planes.fabric.read import Seen, circuit_status, link_status, port_status, shortest
from tests.unit.fabric.exchanges import Fields, exchange

GROUP: dict[str, Fields | None] = {
    "Port/carol-2": {"member": "bob", "site": "wz", "speed": "10G"},
    "Circuit/private": {"ends": ["alice-2", "bob-2", "carol-2"]},
}
CABLE: Fields = {"member": "bob", "site": "nb", "speed": "10G", "gateway": {"ours": "198.18.0.0", "theirs": "198.18.0.1"}}
OVER: dict[str, Fields | None] = {
    "Port/cable": CABLE,
    "Port/bob-2": {"over": "cable", "vni": 7001},
}


def as_wanted(snapshot: Snapshot, *unlit: str) -> dict[str, Seen]:
    """What switches answer when everything is as it was compiled, but for interfaces in `unlit`, which have no carrier."""
    seen = {}
    for each in switches(snapshot):
        names = [name for end in each.lans for name in (end.bridge, end.vxlan) if name]
        names += [port.interface for port in each.attachments if port.up]
        masters = {end.vxlan: end.bridge for end in each.lans if end.vxlan}
        links = {
            name: {"flags": ["UP"] if name in unlit else ["UP", "LOWER_UP"], **({"master": masters[name]} if name in masters else {})}
            for name in names
        }
        seen[each.site] = Seen(links=links)
    return seen


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({}, "up", ""),
        ({"Port/bob-2": {"state": "drained"}}, "up", ""),
        ({"Port/bob-2": {"state": "reserved"}}, "off", "port/bob-2 is reserved"),
        ({"Port/bob-2": {"state": "quarantine"}}, "off", "port/bob-2 is quarantine"),
        (GROUP | {"Port/bob-2": {"state": "suspended"}}, "up", "port/bob-2 is suspended"),
        (GROUP | {"Port/bob-2": {"state": "suspended"}, "Port/alice-2": {"state": "reserved"}}, "off", "port/alice-2 is reserved; port/bob-2 is suspended"),
        (OVER, "up", ""),
        (OVER | {"Port/cable": {**CABLE, "state": "suspended"}}, "off", "port/cable is suspended"),
    ],
)  # fmt: skip
def test_a_circuit_is_judged_by_the_ends_that_are_in_service(changes: dict[str, Fields | None], state: str, reason: str) -> None:
    """A drained end is on its circuit as before. One that is dark by declaration takes no part: that is as it should be, and the proof says the same."""
    snapshot = exchange(changes)
    circuit = snapshot.of(Circuit)[0]

    said = circuit_status(circuit, snapshot, {each.site: each for each in switches(snapshot)}, as_wanted(snapshot))

    assert (said.state, said.reason, said.good) == (state, reason, True)
    assert [each.name for each in Survival(snapshot).circuits.all] == (["private"] if state == "up" else [])


def test_an_end_without_light_takes_a_circuit_down() -> None:
    snapshot = exchange()
    said = circuit_status(
        snapshot.of(Circuit)[0], snapshot, {each.site: each for each in switches(snapshot)}, as_wanted(snapshot, "p-alice-2")
    )
    assert (said.state, said.reason, said.good) == ("down", "no light at port/alice-2", False)


def test_what_is_off_by_declaration_is_down_where_a_switch_cannot_be_asked() -> None:
    snapshot = exchange({"Port/bob-2": {"state": "reserved"}})
    seen = as_wanted(snapshot) | {"hz": Seen(trouble="hz does not answer")}
    said = circuit_status(snapshot.of(Circuit)[0], snapshot, {each.site: each for each in switches(snapshot)}, seen)
    assert (said.state, said.reason, said.good) == ("down", "hz cannot be asked; port/bob-2 is reserved", False)


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({"Circuit/private": None}, "idle", "no circuit ends at it"),
        ({"Port/bob-2": {"over": "cable", "vni": 7001, "state": "reserved"}}, "reserved", ""),
        ({"Port/cable": {**CABLE, "state": "suspended"}}, "production", "port/cable is suspended"),
    ],
)
def test_a_hand_off_that_leads_nowhere_is_no_fault(changes: dict[str, Fields | None], state: str, reason: str) -> None:
    """A cloud may order the number first and the circuit later: until then there is no interface, and none is missed, nor is it a drill's to cut."""
    snapshot = exchange(OVER | changes)
    plans = {each.site: each for each in switches(snapshot)}
    unused = next(each for each in plans["nb"].attachments if each.of == "port/bob-2")
    assert not unused.up
    assert b"p-bob-2" not in iproute.spell(plans["nb"])

    said = port_status(snapshot.at(Ref.to(Port, "bob-2")), snapshot, plans, as_wanted(snapshot))

    assert (said.state, said.reason, said.good) == (state, reason, True)


@pytest.mark.parametrize(
    ("adjacent", "state", "reason"),
    [
        (frozenset({"l-backup", "l-hz-nb"}), "up", ""),
        (frozenset({"l-hz-nb"}), "down", "hz has light on it but hears nobody over it; wz has light on it but hears nobody over it"),
        (None, "unknown", "OSPF at hz cannot be asked; OSPF at wz cannot be asked"),
    ],
)
def test_a_line_that_stands_by_is_up_while_its_ends_hear_one_another(adjacent: frozenset[str] | None, state: str, reason: str) -> None:
    """No route leads over it as long as the shorter way works, so that its silent death would be found out on the day on which it is needed."""
    snapshot = exchange({"Link/backup": {"a": "hz", "b": "wz", "capacity": "10G", "latency": "40ms"}})
    assert "backup" not in shortest(snapshot)
    lit = {"l-backup": {"flags": ["UP", "LOWER_UP"]}}
    seen = {site: Seen(links=lit, adjacent=adjacent) for site in ("hz", "nb", "wz")}

    said = link_status(snapshot.at(Ref.to(Link, "backup")), False, {each.site: each for each in switches(snapshot)}, seen)

    assert (said.state, said.reason, said.good) == (state, reason, state == "up")
