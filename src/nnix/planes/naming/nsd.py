"""NSD, spelled: a public node, which trusts its gate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnix.daemons.nsd import CONTROL
from nnix.planes.naming.knot import zone_file

if TYPE_CHECKING:
    from nnix.planes.naming.compile import NodePolicy

# NSD counts in one bucket for each hash of an answer and its network, and whoever else falls into it begins a count anew. The default's million lie in
# 40 MB, where each count waits for memory; these in 5. A flood got no more whole answers with them (4.6.1, beside 24,000 to 41,000 other questions a
# second: 80 a second at a limit of 200, as with nobody beside it); with 32,768 it got 105 to 253.
RATE_LIMIT_BUCKETS = 131_072


def spell(policy: NodePolicy) -> str:
    """nsd.conf of a public node."""
    return "\n".join(_lines(policy)) + "\n"


def _lines(policy: NodePolicy) -> Iterator[str]:
    yield f"# {policy.name}"
    yield f"# names: {', '.join(policy.names)}"
    needs = [
        "ixfr-out",
        *(["cookies"] if policy.cookies else []),
        *(["dot"] if policy.certificate else []),
        *(["doq"] if policy.quic else []),
        *(["catalog"] if policy.catalog else []),
    ]
    yield f"# needs: {', '.join(needs)}"
    yield "server:"
    for address in (*policy.service, *policy.listen):
        yield f"    ip-address: {address}"
        if policy.certificate:
            yield f"    ip-address: {address}@853"
    yield '    username: ""'
    yield '    chroot: ""'
    yield '    zonesdir: ""'
    yield '    database: ""'
    yield '    pidfile: ""'
    yield '    xfrdfile: "xfrd.state"'
    yield '    zonelistfile: "zone.list"'
    yield '    xfrdir: "."'
    yield "    server-count: 1"
    yield "    verbosity: 1"
    yield "    hide-version: yes"
    yield f'    identity: "{policy.name}"'
    yield f'    nsid: "ascii_{policy.name}"'
    yield f"    rrl-ratelimit: {policy.responses_per_second}"
    yield "    rrl-slip: 2"
    yield f"    rrl-size: {RATE_LIMIT_BUCKETS}"
    yield f"    answer-cookie: {'yes' if policy.cookies else 'no'}"
    yield '    cookie-secret-file: ""'
    if policy.cookie_secret:
        yield f"    cookie-secret: {policy.cookie_secret}"
    if policy.certificate:
        yield "    tls-port: 853"
        yield f'    tls-service-key: "{policy.certificate}"'
        yield f'    tls-service-pem: "{policy.certificate}"'
    if policy.tap:
        yield "dnstap:"
        yield "    dnstap-enable: yes"
        yield f'    dnstap-socket-path: "/proc/self/cwd/{policy.tap}"'
        yield "    dnstap-log-auth-query-messages: yes"
        yield "    dnstap-log-auth-response-messages: yes"
    yield from CONTROL.splitlines()
    key = policy.gate.key
    if key:
        yield "key:"
        yield f'    name: "{key.name}"'
        yield f"    algorithm: {key.algorithm}"
        yield f'    secret: "{key.secret}"'
    yield "pattern:"
    yield '    name: "hosted"'
    for address, port in policy.gate.addresses:
        with_key = f'"{key.name}"' if key else "NOKEY"
        yield f"    request-xfr: {address}@{port} {with_key}"
        yield f"    allow-notify: {address} {with_key}"
    for address in policy.outgoing:
        yield f"    outgoing-interface: {address}"
    if policy.catalog:
        yield "zone:"
        yield f'    name: "{policy.catalog}"'
        yield f'    zonefile: "{zone_file(policy.catalog)}"'
        yield "    catalog: consumer"
        yield '    catalog-member-pattern: "hosted"'
        yield '    include-pattern: "hosted"'
    for origin in policy.zones:
        yield "zone:"
        yield f'    name: "{origin}"'
        yield f'    zonefile: "{zone_file(origin)}"'
        yield '    include-pattern: "hosted"'
