"""Unbound, spelled: a resolver that validates, asks as little as it must, and keeps answering when the outside is cut.

The root zone is its own (RFC 8806), verified by digest and signatures against the anchors of the model before it is used; when it has
expired, the root's own servers are asked (fallback). Names are minimised on the way (RFC 9156), and what the zone's NSEC prove not to exist is
not asked for (RFC 8198). With `follow_anchors` the root's keys are followed from there on (RFC 5011), by what they say of themselves. What has expired is given when no server answers in 1.8 s, for 30 s at a time (RFC 8767, 5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from nnix.daemons.unbound import CONTROL

if TYPE_CHECKING:
    from nnix.planes.naming.compile import ResolverPolicy

STALE_AFTER_MILLISECONDS = 1800
STALE_TTL_SECONDS = 30


def spell(policy: ResolverPolicy) -> str:
    """unbound.conf of a resolver."""
    return "\n".join(_lines(policy)) + "\n"


def followed_file(anchors: Iterable[str]) -> str:
    """Where Unbound keeps the keys that it follows. Other anchors are another file, so that a change of the model begins anew."""
    return f"root-{hashlib.sha256(' '.join(sorted(anchors)).encode()).hexdigest()[:12]}.key"


def _lines(policy: ResolverPolicy) -> Iterator[str]:
    yield f"# {policy.name}"
    yield f"# names: {', '.join(policy.names)}"
    yield "# needs: zonemd, serve-stale, stale-timer"
    if policy.follow_anchors:
        yield f"# once {followed_file(policy.anchors)}"
        yield from (f"#| . IN DS {anchor}" for anchor in policy.anchors)
    yield "server:"
    yield '    directory: "@HOME@"'
    yield '    chroot: ""'
    yield '    username: ""'
    yield '    pidfile: ""'
    yield "    use-syslog: no"
    yield '    logfile: ""'
    yield "    verbosity: 1"
    yield "    val-log-level: 2"
    for address in policy.listen:
        yield f"    interface: {address}@53"
        if policy.certificate:
            yield f"    interface: {address}@853"
    for address in policy.listen:
        yield f"    outgoing-interface: {address}"
    yield from (f"    access-control: {each} allow" for each in policy.clients)
    yield f'    nsid: "ascii_{policy.name}"'
    yield "    hide-identity: yes"
    yield "    hide-version: yes"
    yield '    module-config: "validator iterator"'
    if policy.follow_anchors:
        yield f'    auto-trust-anchor-file: "{followed_file(policy.anchors)}"'
    else:
        yield from (f'    trust-anchor: ". IN DS {anchor}"' for anchor in policy.anchors)
    yield "    harden-glue: yes"
    yield "    harden-dnssec-stripped: yes"
    yield "    harden-below-nxdomain: yes"
    yield "    harden-algo-downgrade: yes"
    yield "    aggressive-nsec: yes"
    yield "    qname-minimisation: yes"
    yield "    prefetch: yes"
    yield "    prefetch-key: yes"
    yield "    serve-expired: yes"
    yield f"    serve-expired-ttl: {policy.serve_stale_seconds}"
    yield f"    serve-expired-client-timeout: {STALE_AFTER_MILLISECONDS}"
    yield f"    serve-expired-reply-ttl: {STALE_TTL_SECONDS}"
    if policy.certificate:
        yield "    tls-port: 853"
        yield f'    tls-service-key: "{policy.certificate}"'
        yield f'    tls-service-pem: "{policy.certificate}"'
    if policy.tap:
        yield "    ede: yes"
        yield "dnstap:"
        yield "    dnstap-enable: yes"
        yield f'    dnstap-socket-path: "/proc/self/cwd/{policy.tap}"'
        yield from (f"    dnstap-log-{who}-{what}-messages: yes" for who in ("client", "resolver") for what in ("query", "response"))
    yield from CONTROL.splitlines()
    yield "auth-zone:"
    yield '    name: "."'
    for address, _ in policy.gate.addresses:
        yield f"    primary: {address}"
        yield f"    allow-notify: {address}"
    yield '    zonefile: "root.zone"'
    yield "    for-downstream: no"
    yield "    for-upstream: yes"
    yield "    fallback-enabled: yes"
    yield "    zonemd-check: yes"
    yield "    zonemd-reject-absence: yes"
