"""Unbound (https://nlnetlabs.nl/unbound): the resolver of the exchange's members, with a root zone of its own (RFC 8806).

An `auth-zone` with `zonemd-check` is verified, digest and signatures both, before it is used; where `zonemd-reject-absence` is set, a zone
without a digest is refused as well. Unbound transfers without TSIG: it is the digest and the signatures that make the zone good, not the
way that it came.

A reload empties the cache before 1.19.2; `reload_keep_cache` does not, and is used where it is there. Addresses, ports and certificates want a
restart.
"""

from __future__ import annotations

from nnix.daemons.nameserver import Make, NameServerDriver
from nnix.daemons.secrets import Secrets

CONTROL = """remote-control:
    control-enable: yes
    control-interface: /proc/self/cwd/unbound.ctl
    control-use-cert: no
"""

# What a version lacks, by its Changelog; 1.17.1 is Debian 12's, 1.26.2 Debian 13's.
FEATURES = {
    "zonemd": ((1, 13, 2), "verifying ZONEMD (RFC 8976) needs Unbound 1.13.2"),
    "serve-stale": ((1, 6), "serving stale answers (RFC 8767) needs Unbound 1.6"),
    "stale-timer": ((1, 11), "a client's time until it gets a stale answer (RFC 8767) needs Unbound 1.11"),
    "cookies": ((1, 18), "DNS cookies (RFC 7873) need Unbound 1.18"),
    "doq": ((99,), "Debian builds Unbound without DNS over QUIC (RFC 9250)"),
    "keep-cache": ((1, 19, 2), "a reload that keeps the cache needs Unbound 1.19.2"),
    "xfr-tsig": ((99,), "Unbound transfers zones without TSIG (RFC 8945)"),
}

MAKE = Make(
    name="unbound",
    program="Unbound",
    package="unbound",
    comms=("unbound",),
    config="unbound.conf",
    parse="unbound-checkconf unbound.conf",
    prepare="",
    start="unbound -d -p -c unbound.conf",
    ask="timeout 2 unbound-control -c unbound.conf status",
    reload="timeout 20 unbound-control -c unbound.conf reload_keep_cache || timeout 20 unbound-control -c unbound.conf reload",
    cold=("server", "remote-control", "dnstap"),
    version=(("unbound", "-V"), r"Version (\S+)"),
    features=FEATURES,
)


def unbound(secrets: Secrets) -> NameServerDriver:
    return NameServerDriver(MAKE, secrets)
