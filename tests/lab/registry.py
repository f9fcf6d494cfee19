"""A registry for tests: zones signed with a key of its own, with a digest (RFC 8976), served by a hidden primary that is Knot itself."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnix.daemons.knot import knot
from nnix.daemons.secrets import Secrets
from nnix.kernel.world import Host
from nnix.planes.naming.knot import zone_file

DNS = Path(__file__).parents[3] / "shared/data/dns"
DNSSEC_TYPES = frozenset({"RRSIG", "NSEC", "DNSKEY", "ZONEMD", "CDS", "CDNSKEY"})
SIGNING = """
server:
    rundir: .
database:
    storage: db
policy:
  - id: lab
    algorithm: ECDSAP256SHA256
    manual: on
    propagation-delay: 1s
    dnskey-ttl: {key_ttl}
    rrsig-lifetime: {life}s
    rrsig-refresh: {refresh}s
zone:
  - domain: "{origin}"
    file: zone
    storage: .
    dnssec-signing: on
    dnssec-policy: lab
    zonemd-generate: zonemd-sha384
    zonefile-load: difference
"""


@dataclass
class Registry:
    """Signs in `folder`; each zone has a key of its own, made when it is signed first."""

    folder: Path
    key_ttl_seconds: int = 60

    def signed(self, origin: str, lines: Iterable[str], life_seconds: int = 14 * 86400) -> str:
        """The zone as a file, signed now, with a digest over all of it. `lines` are its records without any of DNSSEC."""
        place = self._place(origin, life_seconds)
        (place / "zone").write_text("\n".join(lines) + "\n")
        subprocess.run(["kzonesign", "-c", "knot.conf", "-o", "out", origin], cwd=place, check=True, capture_output=True)
        return (place / "out/zone").read_text()

    def anchors(self, origin: str) -> list[str]:
        """DS (SHA-256) of the zone's keys, as Zone.anchors has them."""
        self._place(origin, 14 * 86400)
        said = self._keymgr(origin, "ds")
        return [f"{tag} {algorithm} 2 {digest.upper()}" for tag, algorithm, digest in re.findall(r" DS (\d+) (\d+) 2 ([0-9a-f]+)", said)]

    def add_key(self, origin: str) -> None:
        """One more key signing key, with which the set of keys is signed as well from now on."""
        self._keymgr(origin, "generate", "algorithm=ECDSAP256SHA256", "ksk=yes", "zsk=no")

    def drop_key(self, origin: str, tag: str) -> None:
        """Sign without that key from now on."""
        self._keymgr(origin, "delete", tag)

    def revoke(self, origin: str, tag: str) -> None:
        """Say of that key that it is revoked (RFC 5011, 2.1); it still signs, so that everybody may believe it."""
        self._keymgr(origin, "set", tag, "revoke=+0")

    def _keymgr(self, origin: str, *words: str) -> str:
        argv = ["keymgr", "-c", "knot.conf", origin, *words]
        return subprocess.run(argv, cwd=self.folder / zone_file(origin), check=True, capture_output=True, text=True).stdout

    def _place(self, origin: str, life_seconds: int) -> Path:
        place = self.folder / zone_file(origin)
        (place / "db").mkdir(parents=True, exist_ok=True)
        (place / "out").mkdir(exist_ok=True)
        fresh = not (place / "knot.conf").exists()
        (place / "knot.conf").write_text(
            SIGNING.format(origin=origin, life=life_seconds, refresh=life_seconds // 2, key_ttl=self.key_ttl_seconds)
        )
        if fresh:
            self.add_key(origin)
            self._keymgr(origin, "generate", "algorithm=ECDSAP256SHA256", "ksk=no", "zsk=yes")
        return place


def real_root(*, without: frozenset[str] = DNSSEC_TYPES) -> list[str]:
    """The records of the real root zone of 2026-08-22 without those of DNSSEC: delegations, addresses, DS."""
    with gzip.open(DNS / "lab-root-2026082201.zone.gz", "rt") as file:
        return [line.rstrip("\n") for line in file if not line.startswith(";") and line.split()[2] not in without]


def serial_set(zone: str, serial: int) -> str:
    """The zone with another serial in its SOA, and nothing else changed."""
    return re.sub(r"(\sSOA\s+\S+\s+\S+\s+)\d+", rf"\g<1>{serial}", zone, count=1)


def primary(address: str, port: int, key: tuple[str, str], told: Iterable[tuple[str, int]], zones: Iterable[str]) -> bytes:
    """knot.conf of a hidden primary. It serves files as they are, so that a test can put anything into them. `key`: name, secret by token."""
    remotes = "remote:\n" * bool(told := list(told)) + "".join(
        f'  - id: told{n}\n    address: {where}@{at}\n    key: "{key[0]}"\n' for n, (where, at) in enumerate(told)
    )
    names = ", ".join(f"told{n}" for n, _ in enumerate(told))
    notify = f"    notify: [{names}]\n" if names else ""
    text = f"""# names: zone/none
server:
    rundir: "."
    listen: {address}@{port}
log:
  - target: stdout
    any: info
database:
    storage: "db"
key:
  - id: "{key[0]}"
    algorithm: hmac-sha256
    secret: {key[1]}
{remotes}acl:
  - id: fetched
    key: "{key[0]}"
    action: transfer
zone:
"""
    for origin in zones:
        text += f"""  - domain: "{origin}"
    file: "{zone_file(origin)}"
    storage: "."
    acl: fetched
{notify}    semantic-checks: off
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: changes
    journal-max-depth: 1000
"""
    return text.encode()


@dataclass
class HiddenPrimary:
    """A registry's hidden primary on a machine."""

    host: Host
    secrets: Secrets
    content: bytes
    name: str = "primary"

    async def publish(self, zones: Mapping[str, str]) -> None:
        """Put files there, see to it that Knot runs, and let it load what has changed."""
        await self.host.put({f"knot/{self.name}/{zone_file(origin)}": text.encode() for origin, text in zones.items()})
        await knot(self.secrets).drive(self.host, self.name, self.content)
        await self.reload(*zones)

    async def change(self, zones: Mapping[str, str]) -> None:
        """The same where it runs already."""
        await self.host.put({f"knot/{self.name}/{zone_file(origin)}": text.encode() for origin, text in zones.items()})
        await self.reload(*zones)

    async def reload(self, *origins: str) -> None:
        done = await self.host.run(["knotc", "-s", f"{self.host.home}/knot/{self.name}/knot.sock", "-b", "zone-reload", *origins])
        assert done.status == 0, done.err + done.out

    async def remove(self) -> None:
        await knot(self.secrets).drive(self.host, self.name, None)
