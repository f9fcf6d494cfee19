"""Claim: an update of a zone of a million delegations is verified and served by the public node within 3 s of being at the registry.

Ours: a registry's primary (Knot) that has just signed a new version, our gate (Knot: every changed signature and the digest of the whole zone),
a public node behind it (NSD), each with the configuration that planes/naming spells. The clock runs from the first answer of the primary with
the new serial to the first answer of the node with it. Peers: NSD and Knot bare, as secondaries of the same primary, which verify nothing
and fetch the zone whole, from the order to transfer to the first answer with the serial; beside them the same by increments.

A round counts only if it was the same zone: all have the same serial, the newest delegation is there and the one after it is not, and the gate's log says that digest and signatures were verified.

The zone: delegations with two NS each, one in twenty signed (DS), NSEC3 with opt-out (RFC 5155), ECDSA P-256, ZONEMD (RFC 8976).
An update adds 1,500 delegations. Wall-clock seconds, medians.

Run as root: python bench/naming_update.py [--quick]. The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

from nnix.daemons.knot import knot
from nnix.daemons.nsd import CONTROL, nsd
from nnix.daemons.secrets import Secrets
from nnix.hosts.namespace import NamespaceHost, apart, enter_namespace
from nnix.planes.naming import ask
from nnix.planes.naming import knot as knot_spelling
from nnix.planes.naming import nsd as nsd_spelling
from nnix.planes.naming.compile import GatePolicy, GateZone, Key, NodePolicy, Server

T = TypeVar("T")

CLAIM = "seconds from a new version at the registry until a public node serves it, verified; beside unverified transfers of the whole zone"
SECONDS_MAX = 3.0
NAMESPACE = f"nnb{os.getpid() % 100000}"
REGISTRY, GATE, NODE, BARE_NSD, BARE_KNOT = (IPv4Address(f"127.0.0.{last}") for last in range(11, 16))
KEY = Key("key.", "hmac-sha256", "@SECRET:tsig@")
CHANGES = 1500
ORIGIN = "bench."

PRIMARY = f"""# names: zone/bench
server:
    rundir: "."
    listen: {REGISTRY}@53
log:
  - target: stdout
    any: info
database:
    storage: "db"
key:
  - id: "{KEY.name}"
    algorithm: {KEY.algorithm}
    secret: {KEY.secret}
remote:
  - id: gate
    address: {GATE}@53
    via: {REGISTRY}
    key: "{KEY.name}"
acl:
  - id: fetched
    key: "{KEY.name}"
    action: transfer
policy:
  - id: bench
    algorithm: ECDSAP256SHA256
    signing-threads: 2
    nsec3: on
    nsec3-opt-out: on
    nsec3-iterations: 0
    nsec3-salt-length: 0
    rrsig-lifetime: 14d
    rrsig-refresh: 7d
zone:
  - domain: "{ORIGIN}"
    file: "bench.zone"
    storage: "."
    acl: fetched
    notify: gate
    dnssec-signing: on
    dnssec-policy: bench
    zonemd-generate: zonemd-sha384
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    journal-max-usage: 4G
"""


def zone(delegations: int, added: int) -> bytes:
    """The registry's zone before it is signed, with `added` delegations more."""
    head = [
        f"{ORIGIN} 86400 SOA ns.{ORIGIN} host.{ORIGIN} 1 1800 900 604800 900",
        f"{ORIGIN} 86400 NS ns.{ORIGIN}",
        f"ns.{ORIGIN} 86400 A 127.0.0.13",
    ]
    rows = []
    for n in range(delegations + added):
        rows.append(f"d{n} 86400 NS ns1.h{n % 997}.example.\nd{n} 86400 NS ns2.h{n % 997}.example.")
        if n % 20 == 0:
            rows.append(f"d{n} 86400 DS {n % 65536} 13 2 {n:064X}")
    return ("\n".join([f"$ORIGIN {ORIGIN}", *head, *rows]) + "\n").encode()


def serial(address: IPv4Address) -> int:
    try:
        return ask.ask(str(address), ORIGIN, ask.SOA, timeout_seconds=2).serial or 0
    except (OSError, ask.Unreadable):
        return 0


def ends_at(address: IPv4Address, count: int) -> bool:
    """Whether the newest delegation is there (a referral) and the one after it is not (NXDOMAIN)."""
    codes = [ask.ask(str(address), f"d{n}.{ORIGIN}", ask.NS, timeout_seconds=2).code for n in (count - 1, count)]
    return codes == [0, 3]


def until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """When it held first, on the steady clock."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds} s: {what}: nothing was measured")
        time.sleep(0.005)
    return time.monotonic()


def bare_nsd() -> bytes:
    paths = "".join(f'    {word}: ""\n' for word in ("username", "zonesdir", "database", "pidfile", "cookie-secret-file"))
    text = (
        f'server:\n    ip-address: {BARE_NSD}\n{paths}    xfrdfile: "xfrd.state"\n    zonelistfile: "zone.list"\n    xfrdir: "."\n{CONTROL}'
    )
    key = f'key:\n    name: "{KEY.name}"\n    algorithm: {KEY.algorithm}\n    secret: "{KEY.secret}"\n'
    return f'{text}{key}zone:\n    name: "{ORIGIN}"\n    zonefile: "bench.zone"\n    request-xfr: {REGISTRY}@53 "{KEY.name}"\n'.encode()


def bare_knot() -> bytes:
    return f"""server:
    rundir: "."
    listen: {BARE_KNOT}@53
log:
  - target: stdout
    any: info
database:
    storage: "db"
key:
  - id: "{KEY.name}"
    algorithm: {KEY.algorithm}
    secret: {KEY.secret}
remote:
  - id: registry
    address: {REGISTRY}@53
    key: "{KEY.name}"
zone:
  - domain: "{ORIGIN}"
    file: "bench.zone"
    storage: "."
    master: registry
    zonefile-sync: -1
    journal-content: none
""".encode()


class Bench:
    """All five servers in one namespace."""

    def __init__(self, folder: Path, delegations: int) -> None:
        secret = folder / "secrets"
        secret.mkdir()
        (secret / "tsig").write_bytes(base64.b64encode(os.urandom(32)))
        (secret / "cookies").write_text(os.urandom(16).hex())
        self.host = NamespaceHost("bench", NAMESPACE, folder / "home")
        self.knot, self.nsd = knot(Secrets(secret)), nsd(Secrets(secret))
        self.delegations, self.added = delegations, 0

    def lay(self) -> None:
        """The registry's next version in its file."""
        asyncio.run(self.host.put({"knot/registry/bench.zone": zone(self.delegations, self.added)}))

    def told(self, folder: str, *words: str) -> None:
        """A word to a daemon over its socket."""
        place = f"{self.host.home}/{folder}"
        tool = ["knotc", "-s", "knot.sock"] if folder.startswith("knot") else ["nsd-control", "-c", "nsd.conf"]
        subprocess.run(["nsenter", f"--net=/run/netns/{NAMESPACE}", "--", *tool, *words], cwd=place, check=True, capture_output=True)

    def start(self) -> None:
        zone_kept = GateZone(ORIGIN, (Server("registry", ((REGISTRY, 53),), KEY),), True, True, ())
        gate = GatePolicy("gate", (GATE,), (zone_kept,), (Server("node", ((NODE, 53),), KEY),), KEY, None, ())
        node = NodePolicy(
            "node", (NODE,), (), (NODE,), Server("gate", ((GATE, 53),), KEY), (ORIGIN,), None, 200, True, "@SECRET:cookies@", None, ()
        )
        self.lay()
        asyncio.run(self.knot.drive(self.host, "registry", PRIMARY.encode()))
        apart_in(lambda: until(lambda: serial(REGISTRY) > 0, 300, "the registry has signed"))
        asyncio.run(self.knot.drive(self.host, "gate", knot_spelling.spell_gate(gate).encode()))
        asyncio.run(self.nsd.drive(self.host, "node", nsd_spelling.spell(node).encode()))
        apart_in(lambda: until(lambda: serial(NODE) == serial(REGISTRY), 300, "the node serves the first version"))

    def update(self) -> float:
        """One update through the gate; seconds."""
        self.added += CHANGES
        self.lay()
        was = apart_in(lambda: serial(REGISTRY))
        self.told("knot/registry", "zone-reload", ORIGIN)

        def measured() -> float:
            began = until(lambda: serial(REGISTRY) != was, 300, "the registry has signed the new version")
            wanted = serial(REGISTRY)
            return until(lambda: serial(NODE) == wanted, 300, f"the node serves {wanted}") - began

        took: float = apart_in(measured)
        log = (Path(self.host.home) / "knot/gate/log").read_text().splitlines()
        for words in ("ZONEMD, verification successful", "DNSSEC, incremental validation successful"):
            if not any(words in line for line in log[-30:]):
                raise SystemExit(f"the gate did not say `{words}`: nothing was measured\n" + "\n".join(log[-30:]))
        self.same(NODE)
        return took

    def same(self, address: IPv4Address) -> None:
        """Whether it is the same zone; an old server process of NSD may answer once more beside the new one, so it has a moment."""
        apart_in(
            lambda: until(
                lambda: ends_at(address, self.delegations + self.added), 10, f"{address} serves the newest delegation and no more"
            )
        )

    def peer(self, make: str) -> tuple[float, float]:
        """A bare secondary: seconds for the whole zone, and for the next increment."""
        address, folder = (BARE_NSD, "nsd/bare") if make == "nsd" else (BARE_KNOT, "knot/bare")
        driver, content = (self.nsd, bare_nsd()) if make == "nsd" else (self.knot, bare_knot())
        asyncio.run(driver.drive(self.host, "bare", content))
        apart_in(lambda: until(lambda: serial(address) == serial(REGISTRY), 300, f"bare {make} has the zone"))
        asyncio.run(driver.drive(self.host, "bare", None))
        began = time.monotonic()
        asyncio.run(driver.drive(self.host, "bare", content))
        whole = apart_in(lambda: until(lambda: serial(address) == serial(REGISTRY), 300, "the whole zone")) - began
        self.added += CHANGES
        self.lay()
        was = apart_in(lambda: serial(REGISTRY))
        self.told("knot/registry", "zone-reload", ORIGIN)
        apart_in(lambda: until(lambda: serial(REGISTRY) != was, 300, "the registry has signed the new version"))
        began = time.monotonic()
        self.told(folder, *(("transfer", ORIGIN) if make == "nsd" else ("zone-refresh", ORIGIN)))
        step = apart_in(lambda: until(lambda: serial(address) == serial(REGISTRY), 300, "the increment")) - began
        for each in (address, REGISTRY):
            self.same(each)
        asyncio.run(driver.drive(self.host, "bare", None))
        apart_in(lambda: until(lambda: serial(NODE) == serial(REGISTRY), 300, "the node has caught up"))
        return whole, step


def apart_in(act: Callable[[], T]) -> T:
    """Asked from inside the namespace."""

    def entered() -> T:
        enter_namespace(NAMESPACE)
        return act()

    return apart(entered)


def main() -> int:
    if os.geteuid() != 0:
        raise SystemExit("namespaces are made here: run it as root")
    delegations, rounds = (50_000, 2) if "--quick" in sys.argv[1:] else (1_000_000, 3)
    print(f"{CLAIM}\n{delegations} delegations, updates of {CHANGES}, {rounds} rounds, medians\n")
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    found: dict[str, list[float]] = {}
    try:
        subprocess.run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"], check=True)
        with tempfile.TemporaryDirectory(prefix="nnix-bench-") as name:
            bench = Bench(Path(name), delegations)
            try:
                bench.start()
                for _ in range(rounds):
                    found.setdefault("ours", []).append(bench.update())
                    for make in ("nsd", "knot"):
                        whole, step = bench.peer(make)
                        found.setdefault(f"{make}, whole", []).append(whole)
                        found.setdefault(f"{make}, increment", []).append(step)
                    print("  ".join(f"{label} {seconds[-1]:.2f}" for label, seconds in found.items()), flush=True)
            finally:
                for daemon, kept in (("nsd", ("node", "bare")), ("knot", ("bare", "gate", "registry"))):
                    for each in kept:
                        asyncio.run({"nsd": bench.nsd, "knot": bench.knot}[daemon].drive(bench.host, each, None))
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)
    for label, seconds in found.items():
        verified = "verified at the gate, served by NSD" if label == "ours" else "unverified"
        print(f"{label:>16}: {statistics.median(seconds):6.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})  {verified}")
    mine = statistics.median(found["ours"])
    theirs = min(statistics.median(found[f"{make}, whole"]) for make in ("nsd", "knot"))
    holds = mine <= SECONDS_MAX
    print()
    print(json.dumps({"claim": CLAIM, "ours": round(mine, 2), "peer": round(theirs, 2), "ratio": round(theirs / mine, 2), "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
