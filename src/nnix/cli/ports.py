"""Commands about ports: what each one is, what passed there, and what was refused under which rule."""

from __future__ import annotations

from collections.abc import Mapping

import click

from nnix.cli import tables
from nnix.cli.command import DISAGREES, DONE, as_root, begun, json_option, pass_setting
from nnix.cli.root import Setting
from nnix.kernel.document import nearest
from nnix.kernel.snapshot import Snapshot
from nnix.planes.fabric.counters import PASSED, PortCounters, by_member, port_counters
from nnix.planes.fabric.kinds import Port
from nnix.planes.fabric.nftables import REASONS
from nnix.planes.members.kinds import Member


@click.group("port")
def port_group() -> None:
    """Ports of the running exchange."""


@port_group.command("show")
@click.argument("port", required=False)
@click.option("--member", metavar="NAME", help="The sums over all ports of this member.")
@click.option("--members", is_flag=True, help="The same for every member.")
@json_option
@pass_setting
def show(setting: Setting, port: str | None, member: str | None, members: bool, as_json: bool) -> int:
    """Each port with what was registered for it, what passed there, and what was refused, by the rule that refused it.

    \b
      nnix port show                      all ports
      nnix port show alibaba-1            one, in full
      nnix port show --member alibaba     the sums over its ports
    """
    begun(setting)
    if sum((port is not None, member is not None, members)) > 1:
        raise click.UsageError("a port, or --member, or --members: one of them")
    as_root(setting)
    snapshot = setting.book.model().snapshot
    counted = setting.run(port_counters(snapshot, setting.machines, _chosen(snapshot, port, member)))
    if member is not None or members:
        _members(counted, as_json)
    elif as_json:
        tables.as_json([each.record() for each in counted])
    elif port is not None:
        _in_full(counted[0])
    else:
        rows = (
            (e.port, e.member, e.site, e.state, _light(e), e.interface, e.speed, *_passed(e.passed), _brief(e.refused)) for e in counted
        )
        tables.table("", ("port", "member", "site", "state", "light", "interface", "speed", *HEADS, "refused"), rows)
    silent = sorted({each.trouble for each in counted if each.trouble})
    for trouble in silent:
        tables.err.print(f"✗ {trouble}", style=tables.BAD, markup=False)
    return DISAGREES if silent else DONE


HEADS = ("in frames", "in octets", "out frames", "out octets")


def _chosen(snapshot: Snapshot, port: str | None, member: str | None) -> list[Port]:
    if port is not None:
        name = port.removeprefix("port/")
        found = snapshot.get(Port, name)
        if found is None:
            near = nearest(name, (each.name for each in snapshot.of(Port)))
            raise click.UsageError(f"no port {name!r}; " + (f"did you mean {near}?" if near else "`nnix port show` lists them"))
        return [found]
    if member is not None:
        if snapshot.get(Member, member) is None:
            near = nearest(member, (each.name for each in snapshot.of(Member)))
            raise click.UsageError(f"no member {member!r}" + (f"; did you mean {near}?" if near else ""))
        return list(snapshot.where(Port, member=member))
    return list(snapshot.of(Port))


def _members(counted: list[PortCounters], as_json: bool) -> None:
    sums = by_member(counted)
    if as_json:
        tables.as_json([{"member": name, **each} for name, each in sums.items()])
        return
    rows = ((name, each["ports"], *_passed(each), _brief(each["refused"])) for name, each in sums.items())
    tables.table("", ("member", "ports", *HEADS, "refused"), rows)


def _in_full(each: PortCounters) -> None:
    head = (
        ("member", each.member),
        ("site", f"{each.site}, {each.interface}"),
        ("state", f"{each.state}, {_light(each)}"),
        ("speed", each.speed),
        ("MAC", " ".join(each.macs) or "any: nothing is registered"),
        ("addresses", " ".join(each.addresses) or "none"),
    )
    for word, says in head:
        tables.out.print(f"{word:<10} {says}", markup=False)
    for word, number in zip(HEADS, _passed(each.passed), strict=True):
        tables.out.print(f"{word:<10} {number}", markup=False)
    tables.out.print()
    tables.table("Refused", ("rule", "frames", "what"), ((reason, each.refused.get(reason, 0), says) for reason, says in REASONS.items()))


def _light(each: PortCounters) -> str:
    return "unknown" if each.light is None else "light" if each.light else "dark"


def _passed(numbers: Mapping[str, int]) -> tuple[int | None, ...]:
    return tuple(numbers.get(name) for name in PASSED)


def _brief(refused: Mapping[str, int]) -> str:
    return " ".join(f"{reason} {number}" for reason, number in refused.items())


COMMANDS = (port_group,)
