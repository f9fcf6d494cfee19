"""NSD (https://nlnetlabs.nl/nsd): answers for the zones it was given, and nothing else.

Its processes rename themselves: the one that was started becomes `nsd: xfrd`, which speaks with the primaries; `nsd: main` forks the servers
anew whenever a zone has changed (one server, so that all have known names), so an update never stops the answers. `nsd-control reconfig` takes zones, patterns and keys;
addresses, ports and certificates want a restart.

The control socket is a Unix socket named by way of the working folder, since NSD wants a path that begins with a slash and a
socket's path is bounded to 107 bytes. The driver adds that section; contents must not have one.

NSD verifies nothing by itself: what stands behind a gate may trust it, what stands alone may not.
"""

from __future__ import annotations

from nnix.daemons.nameserver import Make, NameServerDriver
from nnix.daemons.secrets import Secrets

CONTROL = """remote-control:
    control-enable: yes
    control-interface: /proc/self/cwd/nsd.ctl
"""

# What a version lacks, by its ChangeLog; 4.6.1 is Debian 12's, 4.12.0 Debian 13's.
FEATURES = {
    "ixfr-out": ((4, 5), "serving IXFR needs NSD 4.5"),
    "cookies": ((4, 4), "DNS cookies (RFC 7873) need NSD 4.4"),
    "dot": ((4, 2), "DNS over TLS (RFC 7858) needs NSD 4.2"),
    "catalog": ((4, 9), "catalog zones (RFC 9432) need NSD 4.9"),
    "proxy": ((4, 7), "the PROXY protocol needs NSD 4.7"),
    "dnssec-validation": ((99,), "NSD does not validate what it is given; put a gate before it"),
    "zonemd": ((99,), "NSD does not verify ZONEMD (RFC 8976); put a gate before it"),
    "doq": ((99,), "NSD has no DNS over QUIC (RFC 9250)"),
}

MAKE = Make(
    name="nsd",
    program="NSD",
    package="nsd",
    comms=("nsd: xfrd", "nsd", "nsd: main", "nsd: server 1"),
    config="nsd.conf",
    parse="nsd-checkconf nsd.conf",
    prepare="",
    start="nsd -d -c nsd.conf",
    ask="timeout 2 nsd-control -c nsd.conf status",
    reload="timeout 20 nsd-control -c nsd.conf reconfig",
    cold=("server", "remote-control", "dnstap"),
    version=(("nsd", "-v"), r"NSD version (\S+)"),
    features=FEATURES,
)


def nsd(secrets: Secrets) -> NameServerDriver:
    return NameServerDriver(MAKE, secrets)
