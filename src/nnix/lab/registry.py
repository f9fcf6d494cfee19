"""A registry for labs, spelled: a hidden primary that signs its zones, with DNSSEC and a digest (RFC 8976), as real registries do.

It is Knot DNS itself. A zone is what the Registry resource says; Knot adds keys, signatures, NSEC, ZONEMD and a new serial whenever the records
have changed.

Its signing keys are Ed25519 (RFC 8080), and the private ones are SHA-256 of a phrase that stands below and the zone's name. So anybody can work
them out, they protect nothing, and nobody could take them for secrets; but the anchors of a zone are the same in every lab, and can stand
in an example's files before anything runs.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from nnix.kernel.snapshot import Snapshot
from nnix.lab.kinds import Registry
from nnix.planes.naming.ask import key_tag, wire
from nnix.planes.naming.compile import addresses_of, key_of
from nnix.planes.naming.kinds import Address, Zone
from nnix.planes.naming.knot import zone_file

PHRASE = b"nnix lab, no secret: "
ED25519 = 15
KSK, ZSK = 257, 256


def private_key(origin: str, flags: int) -> Ed25519PrivateKey:
    """The zone's key signing key (257) or zone signing key (256)."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(PHRASE + f"{origin.lower()} {flags}".encode()).digest())


def anchor(origin: str) -> str:
    """The DS (RFC 4509) of the zone's key signing key, as Zone.anchors has it."""
    public = private_key(origin, KSK).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    rdata = struct.pack("!HBB", KSK, 3, ED25519) + public
    return f"{key_tag(rdata)} {ED25519} 2 {hashlib.sha256(wire(origin) + rdata).hexdigest().upper()}"


def spell(registry: Registry, snapshot: Snapshot) -> str:
    """knot.conf of the hidden primary, with zones and keys laid beside it."""
    return "\n".join(_lines(registry, snapshot)) + "\n"


def _lines(registry: Registry, snapshot: Snapshot) -> Iterator[str]:
    session, key = snapshot.at(registry.session), key_of(snapshot.at(registry.key))
    listen = [each for each in (session.v4, session.v6) if each is not None]
    told = {zone.origin: _gates(zone.origin, listen, snapshot) for zone in registry.zones}
    yield f"# {registry.name}: a registry's hidden primary in the lab"
    yield f"# names: {registry.id}"
    for zone in registry.zones:
        file = zone_file(zone.origin)
        yield f"# beside {file}"
        yield from (f"#| {record}" for record in zone.records)
        for flags, word in ((KSK, "ksk"), (ZSK, "zsk")):
            yield f"# beside {file.removesuffix('.zone')}.{word}.pem"
            pem = private_key(zone.origin, flags).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            yield from (f"#| {line}" for line in pem.decode().splitlines())
    yield "server:"
    yield '    rundir: "."'
    yield f"    listen: [ {', '.join(f'{each}@53' for each in listen)} ]"
    yield "log:"
    yield "  - target: stdout"
    yield "    any: info"
    yield "database:"
    yield '    storage: "db"'
    yield "key:"
    yield f'  - id: "{key.name}"'
    yield f"    algorithm: {key.algorithm}"
    yield f"    secret: {key.secret}"
    if remotes := sorted({each for gates in told.values() for each in gates}, key=str):
        yield "remote:"
        for number, each in enumerate(remotes):
            yield f"  - id: gate{number}"
            yield f"    address: {each}@53"
            yield f'    key: "{key.name}"'
    yield "acl:"
    yield "  - id: fetched"
    yield f'    key: "{key.name}"'
    yield "    action: transfer"
    yield "policy:"
    yield "  - id: lab"
    yield "    algorithm: ED25519"
    yield "    manual: on"
    yield "    dnskey-ttl: 300"
    life = max(60, int(registry.signature_life.seconds))
    yield f"    rrsig-lifetime: {life}s"
    yield f"    rrsig-refresh: {life // 2}s"
    yield "zone:"
    for zone in registry.zones:
        yield f'  - domain: "{zone.origin}"'
        yield f'    file: "{zone_file(zone.origin)}"'
        yield '    storage: "."'
        yield "    acl: fetched"
        if gates := told[zone.origin]:
            yield f"    notify: [ {', '.join(f'gate{remotes.index(each)}' for each in gates)} ]"
        yield "    dnssec-signing: on"
        yield "    dnssec-policy: lab"
        yield "    zonemd-generate: zonemd-sha384"
        yield "    serial-policy: unixtime"
        yield "    zonefile-sync: -1"
        yield "    zonefile-load: difference-no-serial"
        yield "    journal-content: all"


def _gates(origin: str, ours: Sequence[Address], snapshot: Snapshot) -> tuple[Address, ...]:
    """Who is told of a new version: the gates that host the zone, under one address each."""
    families = {each.version for each in ours}
    gates = [snapshot.at(each.gate) for each in snapshot.of(Zone) if each.origin.lower() == origin.lower()]
    return tuple(next(each for each in addresses_of(gate, snapshot) if each.version in families) for gate in gates)
