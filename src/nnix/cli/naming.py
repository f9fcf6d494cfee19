"""Commands about names: where each zone stands, which nodes announce it and why, and keys for transfers."""

from __future__ import annotations

import base64
import os
import secrets
import time
from collections.abc import Mapping
from typing import Any

import click

from nnix.cli import tables
from nnix.cli.command import DISAGREES, DONE, as_root, begun, json_option, pass_setting
from nnix.cli.root import Setting
from nnix.kernel.plane import Status
from nnix.kernel.snapshot import Snapshot
from nnix.planes.naming.compile import site_of
from nnix.planes.naming.kinds import NameNode, Resolver, TransferKey, TsigAlgorithm, Zone
from nnix.planes.naming.read import read

SECRET_OCTETS = {TsigAlgorithm.SHA256: 32, TsigAlgorithm.SHA384: 48, TsigAlgorithm.SHA512: 64}
"""as long as the hash (RFC 2104, 3)"""


@click.group("naming")
def naming_group() -> None:
    """Zones, public name servers and resolvers of the running exchange."""


@naming_group.command("show")
@json_option
@pass_setting
def show(setting: Setting, as_json: bool) -> int:
    """Each zone with its serial at the gate and what was refused; each node with what it serves and whether it announces the service."""
    begun(setting)
    as_root(setting)
    snapshot = setting.book.model().snapshot
    statuses = {each.resource: each for each in setting.run(_statuses(snapshot, setting))}
    if as_json:
        tables.as_json([_record(each) for each in statuses.values()])
    else:
        zones = [(each.origin, statuses[each.id]) for each in snapshot.of(Zone)]
        rows = ((origin, s.state, (s.facts or {}).get("serial"), (s.facts or {}).get("served"), s.reason) for origin, s in zones)
        tables.table("Zones", ("zone", "state", "serial at the gate", "served at", "reason"), rows)
        tables.out.print()
        nodes = ((each, statuses[each.id]) for each in snapshot.of(NameNode))
        tables.table(
            "Nodes",
            ("node", "site", "daemon", "state", "others", "serials", "signatures live", "reason"),
            (_node(n, s, snapshot) for n, s in nodes),
        )
        if resolvers := snapshot.of(Resolver):
            tables.out.print()
            found = ((each.name, statuses[each.id]) for each in resolvers)
            tables.table(
                "Resolvers",
                ("resolver", "state", "root", "reason"),
                ((n, s.state, (s.facts or {}).get("root"), s.reason) for n, s in found),
            )
    return DONE if all(each.good for each in statuses.values()) else DISAGREES


async def _statuses(snapshot: Snapshot, setting: Setting) -> list[Status]:
    return list(await read(snapshot, setting.machines))


def _record(status: Status) -> Mapping[str, Any]:
    return {
        "resource": status.resource,
        "state": status.state,
        "reason": status.reason,
        "good": status.good,
        "facts": dict(status.facts or {}),
    }


def _node(node: NameNode, status: Status, snapshot: Snapshot) -> tuple[object, ...]:
    facts = status.facts or {}
    zones: Mapping[str, Mapping[str, Any]] = facts.get("zones", {})
    serials = " ".join(f"{origin} {seen['serial']}" for origin, seen in zones.items() if seen["serial"] is not None)
    ends = [seen["expires"] for seen in zones.values() if seen["expires"]]
    life = f"{(min(ends) - time.time()) / 3600:.0f} h" if ends else ""
    return node.name, site_of(node, snapshot).name, node.daemon, status.state, facts.get("others"), serials, life, status.reason


@naming_group.command("key")
@click.argument("key")
@pass_setting
def key(setting: Setting, key: str) -> int:
    """Make the secret of TransferKey KEY, where there is none yet, and say where it lies. It has to reach the other end by a safe way."""
    found = setting.book.model().snapshot.get(TransferKey, key.removeprefix("transfer-key/"))
    reference = found.secret if found else f"secret:{key}"
    octets = SECRET_OCTETS[found.algorithm if found else TsigAlgorithm.SHA256]
    place = setting.state / "secrets" / reference.removeprefix("secret:")
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.ClickException(f"{reference} is there already, at {place}; remove it first if it shall be another") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(octets)) + b"\n")
    tables.out.print(f"✓ {reference}: {octets} random octets, at {place}", markup=False)
    return DONE


COMMANDS = (naming_group,)
