"""Knot DNS (https://www.knot-dns.cz): the gate that verifies what it is given before it serves it, and a public server beside NSD.

`dnssec-validation` holds every change of a zone against the keys in it, and `zonemd-verify` (RFC 8976) against its digest, before the change
is served, journalled or passed on; what fails leaves the zone as it was, and the log says why. An incremental transfer is
validated where it changed something, while the digest is always that of the whole zone.

Knot validates against the keys *in* the zone, not against a trust anchor: a zone signed anew by a stranger's key would pass. That the stranger
cannot speak for the primary is TSIG's part, and that the keys are the right ones the guard's, through which it fetches (planes/naming/guard.py).

What one version wants otherwise than another stands in a configuration as comments, `#<3.4 LINE` and `#>=3.4 LINE`; those that are for the version
here are laid into `limits.conf`, which the configuration includes.

Sockets are named without their path, since `knotd` stands in its own folder.

Where it signs (a registry in the lab), `cn.ksk.pem` and `cn.zsk.pem` beside the configuration are the zone's Ed25519 keys; they are taken into
Knot's key database once.
"""

from __future__ import annotations

from nnix.daemons.nameserver import Make, NameServerDriver
from nnix.daemons.secrets import Secrets

# A zone of a million names is a tree over some hundred megabytes, and an answer is a walk through it, each step on another page; so is the table of
# the rate limit. Huge pages spare the steps their own walk through the page tables. glibc (from 2.35 on) asks for them, but not in the arenas that
# it gives to threads, and a thread loads the zones: hence one arena. An answer takes no memory from it, so nobody waits for anybody there.
HUGE_PAGES = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"

# What a version lacks, by its NEWS; 3.2.6 is Debian 12's, 3.4.6 Debian 13's.
FEATURES = {
    "dnssec-validation": ((3, 1), "validating what was transferred needs Knot DNS 3.1"),
    "zonemd": ((3, 1), "verifying ZONEMD (RFC 8976) needs Knot DNS 3.1"),
    "catalog": ((3, 0), "catalog zones (RFC 9432) need Knot DNS 3.0"),
    "dot": ((3, 4), "DNS over TLS (RFC 7858) needs Knot DNS 3.4"),
    "doq": ((3, 3), "DNS over QUIC (RFC 9250) needs Knot DNS 3.3"),
}

TAKE_KEYS = """mkdir -p db
for key in *.ksk.pem *.zsk.pem; do
  [ -s "$key" ] && ! cmp -s "$key" "db/$key" || continue
  zone=${key%.?sk.pem}; [ "$zone" != root ] || zone=.
  case $key in *.ksk.pem) use='ksk=yes zsk=no' ;; *) use='ksk=no zsk=yes' ;; esac
  keymgr -D db/keys "$zone" import-pem "$key" algorithm=ED25519 $use >/dev/null && cp "$key" "db/$key" || exit 1
done"""

# A zone file `NAME.zone.in` is one whose first serial is a matter of this machine's clock, @NOW@: whoever has an older one takes it, also where the journal is lost.
LAY_ZONES = """for each in *.zone.in; do
  [ ! -f "$each" ] || sed "s/@NOW@/$(date +%s)/" "$each" >"${each%.in}" || exit 1
done"""

LIMITS = """case $(knotd -V) in *' 2.'* | *' 3.'[0-3].*) era='<3.4' ;; *) era='>=3.4' ;; esac
sed -n "s/^#$era //p" knot.conf >limits.conf"""

MAKE = Make(
    name="knot",
    program="Knot DNS",
    package="knot",
    comms=("knotd",),
    config="knot.conf",
    parse=f"{LIMITS}\nknotc -c knot.conf conf-check",
    prepare=f"{TAKE_KEYS}\n{LAY_ZONES}",
    start="knotd -c knot.conf",
    ask="timeout 2 knotc -s knot.sock status",
    reload="timeout 20 knotc -s knot.sock reload",
    cold=("server", "database", "mod-dnstap", "mod-stats"),
    version=(("knotd", "-V"), r"(?:version|Knot DNS) (\d\S*)"),
    features=FEATURES,
    environment=HUGE_PAGES,
    stale=("knot.pid",),  # by which it holds itself to be running already
)


def knot(secrets: Secrets) -> NameServerDriver:
    return NameServerDriver(MAKE, secrets)
