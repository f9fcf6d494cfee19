"""An exchange in which every rule of the policy can be shown: six clients with several prefixes each, two of whom may announce one and the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nnix.kernel.evidence import Evidence
from nnix.kernel.snapshot import Snapshot
from tests.unit.routing.exchange import exchange, member

ASNS = {1: 1001, 2: 1002, 3: 1003, 4: 200004, 5: 1005, 6: 1006}
PREFIXES = 5
CUSTOMER = 2001  # of the first two
POLICY: Mapping[str, Any] = {
    "transit_free": [7018],
    "never_via_route_servers": [701],
    "blackhole_v4": "10.9.0.66",
    "prefixes_max": {"v4": 150, "v6": 150},
}


def prefixes_of(number: int) -> list[tuple[str, int]]:
    """(prefix, origin) that member `number` has registered."""
    asn = ASNS[number]
    own = [(f"20.{number}.{each}.0/24", asn) for each in range(PREFIXES)]
    own += [(f"2a00:{number}:{each}::/48", asn) for each in range(PREFIXES)]
    own += [(f"22.{number}.0.0/23", asn), (f"2a04:{number}::/47", asn)]
    return [*own, (f"31.{number}.0.0/24", asn), (f"2a01:{number}::/48", asn)]


def given() -> Evidence:
    """Registries and VRPs: of each member one prefix is valid and one invalid, the rest is unknown."""
    registered = [each for number in ASNS for each in prefixes_of(number)] + [("30.0.0.0/24", CUSTOMER), ("2a02::/48", CUSTOMER)]
    text = "".join(f"as-set: AS-M{n}\nmembers: AS{asn}{f', AS{CUSTOMER}' if n < 3 else ''}\nsource: T\n\n" for n, asn in ASNS.items())
    text += "".join(f"route{'6' if ':' in prefix else ''}: {prefix}\norigin: AS{origin}\nsource: T\n\n" for prefix, origin in registered)
    roas = [{"asn": 64999, "prefix": prefix, "maxLength": 48 if ":" in prefix else 24} for n in ASNS for prefix, _ in prefixes_of(n)[-2:]]
    roas += [{"asn": asn, "prefix": f"20.{n}.0.0/24", "maxLength": 24} for n, asn in ASNS.items()]
    roas += [{"asn": asn, "prefix": f"2a00:{n}::/48", "maxLength": 48} for n, asn in ASNS.items()]
    return Evidence({"file:i.rpsl": text.encode(), "file:v.json": json.dumps({"roas": roas}).encode()})


def showing(*more: Any, policy: Mapping[str, Any] | None = None, sessions: Mapping[int, Mapping[str, Any]] | None = None) -> Snapshot:
    """The exchange; `policy` and `sessions` (by number) set besides."""
    made = [
        each
        for number, asn in ASNS.items()
        for each in member(
            number,
            {"asn": asn, "as_sets": [f"AS-M{number}"]},
            **{"blackhole": number != 3, "role_strict": number == 5, **(sessions or {}).get(number, {})},
        )
    ]
    return exchange(*made, *more, policy={**POLICY, **(policy or {})})
