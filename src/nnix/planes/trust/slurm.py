"""Local exceptions as SLURM (RFC 8416): what is taken out of, and put into, what the RPKI says.

Filters come first, then assertions (4.2), so an assertion is never filtered away. An exception whose `until` has come has no effect. The document
is that of RFC 8416; with ASPAs in it, of its successor draft (version 2), since the RFC has no word for them.

The gate applies exceptions itself, once, to what was agreed. Validators are not handed them: two different readings of one SLURM file would be
two truths again.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from nnix.planes.trust.kinds import About, Action, LocalException
from nnix.planes.trust.payloads import Payloads, RouterKey, Table, Vrp, canonical, key_of, rows_of


def in_force(exceptions: Iterable[LocalException], now: datetime) -> tuple[LocalException, ...]:
    """Those whose end has not come."""
    return tuple(each for each in exceptions if now < each.until.astimezone(UTC))


def applied(payloads: Payloads, exceptions: Iterable[LocalException]) -> tuple[Payloads, tuple[str, ...]]:
    """`payloads` after `exceptions`, which are in force; and what each of them did, in words."""
    ordered = sorted(exceptions, key=lambda each: (each.action is Action.ASSERT, each.name))
    words = []
    for each in ordered:
        before = payloads
        payloads = _filtered(payloads, each) if each.action is Action.FILTER else _asserted(payloads, each)
        count = _size(payloads) - _size(before)
        did = f"{abs(count)} {'put in' if count > 0 else 'taken out'}" if count else "changes nothing"
        words.append(f"{each.id}: {did}, until {each.until:%Y-%m-%d %H:%M} ({each.why})")
    return payloads, tuple(words)


def _size(payloads: Payloads) -> int:
    return len(payloads.vrps) + len(payloads.aspas) + len(payloads.router_keys)


def _filtered(payloads: Payloads, each: LocalException) -> Payloads:
    rows, aspas, keys = payloads.vrps, payloads.aspas, payloads.router_keys
    match each.about:
        case About.PREFIX:
            table = Table(rows)
            hit = np.full(len(rows), each.prefix is None)
            if each.prefix is not None:
                hit[table.inside(*key_of(each.prefix))] = True
            if each.asn is not None:
                hit &= table.origins == each.asn
            rows = np.ascontiguousarray(rows[~hit])
        case About.ASPA:
            aspas = {customer: providers for customer, providers in aspas.items() if customer != each.asn}
        case About.ROUTER_KEY:
            keys = frozenset(
                key
                for key in keys
                if not ((each.asn is None or key.asn == each.asn) and (each.key_id is None or key.key_id == each.key_id))
            )
    return Payloads(rows, aspas, keys)


def _asserted(payloads: Payloads, each: LocalException) -> Payloads:
    """Fields that the rules demand are there; an exception without them was not admitted."""
    asn = each.asn or 0
    match each.about:
        case About.PREFIX if each.prefix is not None:
            added = rows_of([Vrp(each.prefix, each.length_max or each.prefix.prefixlen, asn)])
            return Payloads(canonical(np.concatenate([payloads.vrps, added]))[0], payloads.aspas, payloads.router_keys)
        case About.ASPA:
            return Payloads(payloads.vrps, {**payloads.aspas, asn: frozenset(each.providers)}, payloads.router_keys)
        case About.ROUTER_KEY:
            key = RouterKey(asn, each.key_id or "", each.public_key or "")
            return Payloads(payloads.vrps, payloads.aspas, payloads.router_keys | {key})
    return payloads


def document(exceptions: Iterable[LocalException]) -> dict[str, Any]:
    """The SLURM file that says the same, for other relying parties."""
    groups: dict[tuple[Action, About], list[dict[str, Any]]] = {(action, about): [] for action in Action for about in About}
    for each in sorted(exceptions, key=lambda each: each.name):
        groups[each.action, each.about].append(
            {**_spelled(each), "comment": f"{each.why} (until {each.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ})"}
        )
    version = 2 if groups[Action.FILTER, About.ASPA] or groups[Action.ASSERT, About.ASPA] else 1
    filters = {"prefixFilters": groups[Action.FILTER, About.PREFIX], "bgpsecFilters": groups[Action.FILTER, About.ROUTER_KEY]}
    assertions = {"prefixAssertions": groups[Action.ASSERT, About.PREFIX], "bgpsecAssertions": groups[Action.ASSERT, About.ROUTER_KEY]}
    if version == 2:
        filters["aspaFilters"], assertions["aspaAssertions"] = groups[Action.FILTER, About.ASPA], groups[Action.ASSERT, About.ASPA]
    return {"slurmVersion": version, "validationOutputFilters": filters, "locallyAddedAssertions": assertions}


def _spelled(each: LocalException) -> dict[str, Any]:
    """One exception in SLURM's words. Key identifiers and keys are base64 without padding (3.3.2, 3.4.2)."""
    key_id = base64.urlsafe_b64encode(bytes.fromhex(each.key_id)).decode().rstrip("=") if each.key_id else None
    public = base64.urlsafe_b64encode(base64.b64decode(each.public_key)).decode().rstrip("=") if each.public_key else None
    asserts = each.action is Action.ASSERT
    found: dict[str, Any]
    match each.about:
        case About.PREFIX:
            found = {"asn": each.asn, "prefix": str(each.prefix) if each.prefix else None, "maxPrefixLength": each.length_max}
        case About.ROUTER_KEY:
            found = {"asn": each.asn, "SKI": key_id, "routerPublicKey": public}
        case About.ASPA:
            found = {"customerAsn": each.asn, "providerAsns": list(each.providers)} if asserts else {"customerAsid": each.asn}
    return {name: value for name, value in found.items() if value is not None}
