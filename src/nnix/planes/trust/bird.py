"""VRPs and questions in BIRD's words: what its own origin validation says of a route, by roa_check, the function that route servers' filters call.

A static protocol holds the VRPs that are served, and each ROA that may come has one of its own, which is down until it is asked for. No route is
announced and no session exists, so what runs here touches nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address

from nnix.planes.trust.payloads import HIGH, LOW, REST, Network, Numbers, Vrp

TABLES = {4: "vrp4", 6: "vrp6"}
VERDICTS = """
function verdict{family}(prefix route_of; int origin) {{
  case roa_check(vrp{family}, route_of, origin) {{ ROA_VALID: return "Valid"; ROA_INVALID: return "Invalid"; else: return "NotFound"; }}
}}
"""


def configured(vrps: Numbers, coming: Sequence[Vrp]) -> bytes:
    """bird.conf with the served VRPs, and with `coming`, each in a protocol of its own that is down (`protocol_of`)."""
    lines = ["router id 192.0.2.1;", "log stderr { warning, error, fatal, bug };"]  # an address for documentation: it is told to nobody
    for family, table in TABLES.items():
        lines += [f"roa{family} table {table};", VERDICTS.format(family=family)]
        lines += [f"protocol static served{family} {{\n roa{family} {{ table {table}; }};", *_routes(vrps, family), "}"]
    for index, vrp in enumerate(coming):
        family = vrp.prefix.version
        lines += [f"protocol static {protocol_of(index)} {{", " disabled;", f" roa{family} {{ table {TABLES[family]}; }};"]
        lines += [f" route {vrp.prefix} max {vrp.length_max} as {vrp.origin};", "}"]
    return ("\n".join(lines) + "\n").encode()


def protocol_of(index: int) -> str:
    return f"coming{index}"


def _routes(vrps: Numbers, family: int) -> Iterator[str]:
    for high, low, rest in zip(vrps[:, HIGH].tolist(), vrps[:, LOW].tolist(), vrps[:, REST].tolist(), strict=True):
        if rest >> 56 == family:
            address = (
                f"{high >> 56}.{high >> 48 & 255}.{high >> 40 & 255}.{high >> 32 & 255}" if family == 4 else IPv6Address(high << 64 | low)
            )
            yield f" route {address}/{rest >> 48 & 255} max {rest >> 40 & 255} as {rest & 0xFFFFFFFF};"


def question(prefix: Network, origin: int) -> str:
    """What becomes of a route. An `origin` of 0 stands for a path that ends in an AS_SET, as BIRD's bgp_path.last has it."""
    return f"eval verdict{prefix.version}({prefix}, {origin})"
