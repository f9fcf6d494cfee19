"""Commands about names: where each zone stands, which nodes announce it and why, and keys for transfers."""

from __future__ import annotations

import base64
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nnix.cli import tables
from nnix.cli.command import DISAGREES, DONE, as_root, begun, json_option, pass_setting
from nnix.cli.naming_stats import stats
from nnix.cli.root import Setting
from nnix.kernel.plane import Status
from nnix.kernel.snapshot import Snapshot
from nnix.planes.naming.compile import site_of
from nnix.planes.naming.kinds import FILE_NAME, Anycast, NameNode, Resolver, TransferKey, TsigAlgorithm, Zone
from nnix.planes.naming.read import read

SECRET_OCTETS = {TsigAlgorithm.SHA256: 32, TsigAlgorithm.SHA384: 48, TsigAlgorithm.SHA512: 64}
"""as long as the hash (RFC 2104, 3)"""
COOKIE_OCTETS = 16
"""RFC 9018, 4.4"""


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
                ("resolver", "state", "root", "keys followed", "reason"),
                ((n, s.state, (s.facts or {}).get("root"), _keys(s), s.reason) for n, s in found),
            )
    return DONE if all(each.good for each in statuses.values()) else DISAGREES


async def _statuses(snapshot: Snapshot, setting: Setting) -> list[Status]:
    return list(await read(snapshot, setting.machines))


def _keys(status: Status) -> str | None:
    """Tag and state of each key of the root that a resolver follows by RFC 5011."""
    anchors: Mapping[str, str] = (status.facts or {}).get("anchors", {})
    return ", ".join(f"{anchor.split()[0]} {state}" for anchor, state in sorted(anchors.items())) or None


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
@click.argument("key", required=False)
@pass_setting
def key(setting: Setting, key: str | None) -> int:
    """Make the secret of TransferKey KEY, where there is none yet, and say where it lies. It has to reach the other end by a safe way.

    Without KEY: all that keys and cookies of the exchange name and that are not there yet.
    """
    snapshot = setting.book.model().snapshot if setting.begun else Snapshot()
    if key is None:
        for reference in lay(snapshot, setting):
            _told(setting, reference)
        return DONE
    found = snapshot.get(TransferKey, key.removeprefix("transfer-key/"))
    if found is None and (not re.fullmatch(FILE_NAME, key) or key in (".", "..")):
        raise click.BadParameter(
            f"{key}: neither a TransferKey nor the name of a secret, which is a file in {setting.state / 'secrets'}: at most 64 letters, digits, dots, hyphens and underscores",
            param_hint="KEY",
        )
    reference = found.secret if found else f"secret:{key}"
    octets = SECRET_OCTETS[found.algorithm if found else TsigAlgorithm.SHA256]
    if not _laid(setting, reference, base64.b64encode(secrets.token_bytes(octets))):
        raise click.ClickException(f"{reference} is there already, at {_place(setting, reference)}; remove it first if it shall be another")
    _told(setting, reference)
    return DONE


def lay(snapshot: Snapshot, setting: Setting) -> list[str]:
    """Make every secret of transfers and cookies that is named and not there yet; which ones."""
    wanted = {each.secret: base64.b64encode(secrets.token_bytes(SECRET_OCTETS[each.algorithm])) for each in snapshot.of(TransferKey)}
    wanted |= {each.cookie_secret: secrets.token_hex(COOKIE_OCTETS).encode() for each in snapshot.of(Anycast) if each.cookie_secret}
    return [name for name, secret in wanted.items() if _laid(setting, name, secret)]


def _place(setting: Setting, reference: str) -> Path:
    return setting.state / "secrets" / reference.removeprefix("secret:")


def _laid(setting: Setting, reference: str, secret: bytes) -> bool:
    """Write a secret where there is none; whether there was none."""
    place = _place(setting, reference)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret + b"\n")
    return True


def _told(setting: Setting, reference: str) -> None:
    tables.out.print(f"✓ {reference}: made at random, at {_place(setting, reference)}", markup=False)


naming_group.add_command(stats)
COMMANDS = (naming_group,)
