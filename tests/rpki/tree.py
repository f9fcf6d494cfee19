"""A synthetic RPKI: a trust anchor, certificate authorities, ROAs, ASPAs, router certificates, manifests and CRLs, all of it wrong on demand.

A tree is written as validators find it after a fetch: `HOST/MODULE/…` below one folder, by the rsync URIs that certificates name (RFC 6481). Every
field in which an object can deviate from its profile is a field of its record here, set to what the profile says; a deviation
(deviations.py) sets one of them, or spoils a file after its authority has listed it. Nothing here judges: the validators do.

Keys are made once a process and shared, because making one takes longer than validating a tree. So authorities are told apart by names and
places, each with a key of its own as far as KEYS go; end-entity keys are one for all, which no profile forbids.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from ipaddress import ip_network
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.rpki import der
from tests.rpki.der import Network

HOST = "rpki.lab.test"
RSA, SHA256_RSA = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.11"
SHA1, SHA256 = "1.3.14.3.2.26", "2.16.840.1.101.3.4.2.1"
CONTENT_ROA, CONTENT_MANIFEST, CONTENT_ASPA = (f"1.2.840.113549.1.9.16.1.{arc}" for arc in (24, 26, 49))
HASHES = {SHA1: hashlib.sha1, SHA256: hashlib.sha256}
DAY = timedelta(days=1)


@cache
def key(name: str, size: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


@cache
def router_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def public(owner: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """SubjectPublicKeyInfo."""
    return owner.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@cache
def key_id(owner: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """SHA-1 of the public key's bits (RFC 6487, 4.8.2)."""
    form = PublicFormat.PKCS1 if isinstance(owner, rsa.RSAPrivateKey) else PublicFormat.UncompressedPoint
    encoding = Encoding.DER if isinstance(owner, rsa.RSAPrivateKey) else Encoding.X962
    return hashlib.sha1(owner.public_key().public_bytes(encoding, form), usedforsecurity=False).digest()


def signed(owner: rsa.RSAPrivateKey, content: bytes, flipped: bool = False) -> bytes:
    signature = owner.sign(content, padding.PKCS1v15(), hashes.SHA256())
    return bytes((signature[0] ^ 1,)) + signature[1:] if flipped else signature


def algorithm(dotted: str, *, parameters: bool = True) -> bytes:
    return der.sequence(der.oid(dotted), der.null() if parameters else b"")


def name_of(common: str) -> bytes:
    return der.sequence(der.tlv(der.SET, der.sequence(der.oid("2.5.4.3"), der.printable(common))))


# --- resources ---------------------------------------------------------------------------------------------------------


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(each) for each in texts)


def ip_blocks(found: Iterable[Network] | None) -> bytes:
    """RFC 3779 IPAddrBlocks, by family and address; None: inherit, both families."""
    if found is None:
        return der.sequence(*(der.sequence(der.octets(bytes((0, family))), der.null()) for family in (1, 2)))
    ordered = sorted(found, key=lambda each: (int(each.network_address), each.prefixlen))
    families: dict[int, list[Network]] = {1: [], 2: []}
    for each in ordered:
        families[1 if each.version == 4 else 2].append(each)
    return der.sequence(
        *(
            der.sequence(der.octets(bytes((0, family))), der.sequence(*(der.prefix_bits(each) for each in group)))
            for family, group in families.items()
            if group
        )
    )


def as_ids(numbers: Iterable[tuple[int, int]] | None) -> bytes:
    """RFC 3779 ASIdentifiers; None: inherit."""
    if numbers is None:
        return der.sequence(der.explicit(0, der.null()))
    ranges = (der.integer(a) if a == b else der.sequence(der.integer(a), der.integer(b)) for a, b in sorted(numbers))
    return der.sequence(der.explicit(0, der.sequence(*ranges)))


# --- certificates and CRLs ---------------------------------------------------------------------------------------------


@dataclass
class Validity:
    """From when to when, relative to the tree's `now`."""

    since: timedelta = -DAY
    until: timedelta = 300 * DAY


@dataclass
class Certificate:
    """What makes a certificate of RFC 6487, and all that may be wrong about it. `ips` None: inherit; `asns` None: inherit; empty: no such extension."""

    validity: Validity = field(default_factory=Validity)
    ips: tuple[Network, ...] | None = ()
    asns: tuple[tuple[int, int], ...] | None = ()
    is_ca: bool = False
    key_usage: tuple[int, bytes] | None = None
    key_bits: int = 2048
    policy: bool = True
    policy_qualifier: bool = False
    crl_point: bool = True
    authority_key: bool = True
    authority_info: bool = True
    wrong_key_id: bool = False
    manifest_access: bool = True
    object_access: bool = True
    flipped: bool = False
    version: int = 2
    issuer: str | None = None
    unknown_critical: bool = False
    unknown_plain: bool = False


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    return der.sequence(der.oid(dotted), der.boolean(True) if critical else b"", der.octets(value))


def access(method: int, where: str) -> bytes:
    return der.sequence(der.oid(f"1.3.6.1.5.5.7.48.{method}"), der.uri(where))


def certificate(
    each: Certificate,
    now: datetime,
    *,
    serial: int,
    subject: str,
    subject_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    issuer: Ca,
    self_signed: bool = False,
    info_access: Iterable[bytes] = (),
    purposes: Iterable[str] = (),
) -> bytes:
    subject_id = key_id(subject_key)
    extensions = [extension("2.5.29.14", der.octets(subject_id[::-1] if each.wrong_key_id else subject_id))]
    if each.is_ca:
        extensions.append(extension("2.5.29.19", der.sequence(der.boolean(True)), critical=True))
    unused, usage = each.key_usage or ((1, b"\x06") if each.is_ca else (7, b"\x80"))
    extensions.append(extension("2.5.29.15", der.bits(usage, unused), critical=True))
    if purposes:
        extensions.append(extension("2.5.29.37", der.sequence(*map(der.oid, purposes))))
    if not self_signed:
        if each.authority_key:
            extensions.append(extension("2.5.29.35", der.sequence(der.implicit(0, key_id(issuer.key)))))
        if each.crl_point:
            point = der.sequence(der.sequence(der.explicit(0, der.explicit(0, der.uri(issuer.uri(issuer.crl_name))))))
            extensions.append(extension("2.5.29.31", point))
        if each.authority_info:
            extensions.append(extension("1.3.6.1.5.5.7.1.1", der.sequence(access(2, issuer.certificate_uri))))
    places = list(info_access)
    if places:
        extensions.append(extension("1.3.6.1.5.5.7.1.11", der.sequence(*places)))
    if each.policy:
        statement = der.sequence(der.sequence(der.oid("1.3.6.1.5.5.7.2.1"), der.ia5("https://rpki.lab.test/cps")))
        policy = der.sequence(der.oid("1.3.6.1.5.5.7.14.2"), statement if each.policy_qualifier else b"")
        extensions.append(extension("2.5.29.32", der.sequence(policy), critical=True))
    if each.ips is None or each.ips:
        extensions.append(extension("1.3.6.1.5.5.7.1.7", ip_blocks(each.ips), critical=True))
    if each.asns is None or each.asns:
        extensions.append(extension("1.3.6.1.5.5.7.1.8", as_ids(each.asns), critical=True))
    if each.unknown_critical or each.unknown_plain:
        extensions.append(extension("1.3.6.1.4.1.32473.1", der.null(), critical=each.unknown_critical))
    body = der.sequence(
        der.explicit(0, der.integer(each.version)),
        der.integer(serial),
        algorithm(SHA256_RSA),
        name_of(each.issuer or issuer.name),
        der.sequence(der.time(now + each.validity.since), der.time(now + each.validity.until)),
        name_of(subject),
        public(subject_key),
        der.explicit(3, der.sequence(*extensions)),
    )
    return der.sequence(body, algorithm(SHA256_RSA), der.bits(signed(issuer.key, body, each.flipped)))


@dataclass
class Crl:
    """RFC 6487, 5."""

    since: timedelta = -DAY
    until: timedelta = 300 * DAY
    revoked: list[int] = field(default_factory=list)
    number: int | None = 1
    authority_key: bool = True
    another_key: bool = False
    version: int = 1


def crl(each: Crl, now: datetime, issuer: Ca) -> bytes:
    signer = key("stranger") if each.another_key else issuer.key
    extensions = [extension("2.5.29.35", der.sequence(der.implicit(0, key_id(issuer.key))))] if each.authority_key else []
    if each.number is not None:
        extensions.append(extension("2.5.29.20", der.integer(each.number)))
    entries = [der.sequence(der.integer(serial), der.time(now + each.since)) for serial in each.revoked]
    body = der.sequence(
        der.integer(each.version),
        algorithm(SHA256_RSA),
        name_of(issuer.name),
        der.time(now + each.since),
        der.time(now + each.until),
        der.sequence(*entries) if entries else b"",
        der.explicit(0, der.sequence(*extensions)) if extensions else b"",
    )
    return der.sequence(body, algorithm(SHA256_RSA), der.bits(signed(signer, body)))


# --- signed objects ----------------------------------------------------------------------------------------------------


@dataclass
class SignedObject:
    """A signed object (RFC 6488): an end-entity certificate, the content, and one signer. `after` rewrites the finished bytes, before they are hashed."""

    name: str
    content_type: str
    content: Callable[[], bytes]
    ee: Certificate = field(default_factory=Certificate)
    digest: str = SHA256
    flipped: bool = False
    wrong_digest: bool = False
    wrong_signer: bool = False
    signing_time: bool = True
    binary_time: bool = False
    cms_version: int = 3
    attribute_type: str | None = None
    without_certificate: bool = False
    certificate_twice: bool = False
    after: Callable[[bytes], bytes] = lambda content: content
    revoked: bool = False
    serial: int = 0

    def build(self, ca: Ca, now: datetime) -> bytes:
        ee_key = key("ee", self.ee.key_bits)
        places = [access(11, ca.uri(self.name))] if self.ee.object_access else []
        ee = certificate(self.ee, now, serial=self.serial, subject=f"ee-{self.serial}", subject_key=ee_key, issuer=ca, info_access=places)
        content = self.content()
        digest = HASHES[self.digest](content + (b"!" if self.wrong_digest else b"")).digest()
        attributes = [
            der.sequence(der.oid("1.2.840.113549.1.9.3"), der.set_of(der.oid(self.attribute_type or self.content_type))),
            der.sequence(der.oid("1.2.840.113549.1.9.4"), der.set_of(der.octets(digest))),
        ]
        if self.signing_time:
            attributes.append(der.sequence(der.oid("1.2.840.113549.1.9.5"), der.set_of(der.time(now - DAY))))
        if self.binary_time:
            attributes.append(der.sequence(der.oid("1.2.840.113549.1.9.16.2.46"), der.set_of(der.integer(int(now.timestamp())))))
        to_sign = der.set_of(*attributes)
        algorithm_of = {SHA1: hashes.SHA1(), SHA256: hashes.SHA256()}[self.digest]  # noqa: S303 - wrong on purpose
        signature = ee_key.sign(to_sign, padding.PKCS1v15(), algorithm_of)
        signer = key_id(key("stranger") if self.wrong_signer else ee_key)
        certificates = b"" if self.without_certificate else ee * (2 if self.certificate_twice else 1)
        info = der.sequence(
            der.integer(3),
            der.implicit(0, signer),
            algorithm(self.digest, parameters=False),
            b"\xa0" + to_sign[1:],
            algorithm(RSA),
            der.octets(bytes((signature[0] ^ 1,)) + signature[1:] if self.flipped else signature),
        )
        body = der.sequence(
            der.integer(self.cms_version),
            der.set_of(algorithm(self.digest, parameters=False)),
            der.sequence(der.oid(self.content_type), der.explicit(0, der.octets(content))),
            der.explicit(0, certificates) if certificates else b"",
            der.set_of(info),
        )
        return self.after(der.sequence(der.oid("1.2.840.113549.1.7.2"), der.explicit(0, body)))


def family_block(family: int, addresses: Iterable[tuple[Network, int | None]]) -> bytes:
    items = (der.sequence(der.prefix_bits(each), b"" if longest is None else der.integer(longest)) for each, longest in addresses)
    return der.sequence(der.octets(bytes((0, family))), der.sequence(*items))


def roa(name: str, asn: int, *prefixes: str) -> SignedObject:
    """A ROA (RFC 9582) for `prefixes`, each "PREFIX" or "PREFIX-MAXLENGTH"."""
    pairs = [(ip_network(text), int(longest) if longest else None) for text, _, longest in (each.partition("-") for each in prefixes)]

    def content() -> bytes:
        by_family = {1: [p for p in pairs if p[0].version == 4], 2: [p for p in pairs if p[0].version == 6]}
        return der.sequence(der.integer(asn), der.sequence(*(family_block(f, found) for f, found in by_family.items() if found)))

    return SignedObject(name, CONTENT_ROA, content, Certificate(ips=tuple(each for each, _ in pairs)))


def aspa(name: str, customer: int, *providers: int, version: int | None = 1) -> SignedObject:
    """An ASPA. `version` 1 as the profile draft has it since its 16th edition; None: as it had it before, which rpki-client 8.2 reads."""

    def content() -> bytes:
        if version is None:
            return der.sequence(der.integer(customer), der.sequence(*(der.sequence(der.integer(each)) for each in sorted(providers))))
        head = der.explicit(0, der.integer(version))
        return der.sequence(head, der.integer(customer), der.sequence(*map(der.integer, sorted(providers))))

    return SignedObject(name, CONTENT_ASPA, content, Certificate(asns=((customer, customer),)))


@dataclass
class Manifest:
    """RFC 9286. `listed` maps names to what is said of them instead of the file's hash; None: not listed."""

    number: int = 1
    since: timedelta = -DAY
    until: timedelta = 300 * DAY
    hash_algorithm: str = SHA256
    listed: dict[str, bytes | None] = field(default_factory=dict)
    extra: list[tuple[str, bytes]] = field(default_factory=list)
    version: int | None = None
    signed: SignedObject | None = None


@dataclass
class Ca:
    """A certificate authority and its publication point. `spoil` rewrites a file after it was listed; None removes it."""

    name: str
    ips: tuple[Network, ...]
    asns: tuple[tuple[int, int], ...]
    objects: list[SignedObject] = field(default_factory=list)
    routers: list[tuple[int, str]] = field(default_factory=list)
    children: list[Ca] = field(default_factory=list)
    certificate: Certificate = field(default_factory=lambda: Certificate(is_ca=True))
    crl: Crl = field(default_factory=Crl)
    manifest: Manifest = field(default_factory=Manifest)
    spoil: dict[str, Callable[[bytes], bytes | None]] = field(default_factory=dict)
    revoked: bool = False
    certificate_uri: str = ""
    manifest_name: str = ""
    crl_name: str = ""
    serial: int = 0
    notify: str = ""  # URI of its RRDP notification, where it has one (RFC 8182, 3.2)

    def __post_init__(self) -> None:
        self.certificate.ips, self.certificate.asns = self.ips, self.asns
        self.manifest_name, self.crl_name = f"{self.name}.mft", f"{self.name}.crl"

    @property
    def key(self) -> rsa.RSAPrivateKey:
        return key(f"ca-{self.name}", self.certificate.key_bits)

    def uri(self, file: str) -> str:
        return f"rsync://{HOST}/repo/{self.name}/{file}"

    def next_serial(self) -> int:
        self.serial += 1
        return self.serial

    def object(self, name: str) -> SignedObject:
        return next(each for each in self.objects if each.name == name)

    def places(self) -> list[bytes]:
        """What its own certificate says of where it publishes."""
        found = [access(5, self.uri(""))]
        if self.certificate.manifest_access:
            found.append(access(10, self.uri(self.manifest_name)))
        return [*found, access(13, self.notify)] if self.notify else found

    def files(self, now: datetime) -> dict[str, bytes]:
        """path below the tree → bytes, of this authority and all below it."""
        found: dict[str, bytes] = {}
        below: dict[str, bytes] = {}
        for child in self.children:
            child.certificate_uri = self.uri(f"{child.name}.cer")
            serial = self.next_serial()
            if child.revoked:
                self.crl.revoked.append(serial)
            found[f"{child.name}.cer"] = certificate(
                child.certificate,
                now,
                serial=serial,
                subject=child.name,
                subject_key=child.key,
                issuer=self,
                info_access=child.places(),
            )
            below |= child.files(now)
        for asn, name in self.routers:
            found[name] = certificate(
                Certificate(asns=((asn, asn),)),
                now,
                serial=self.next_serial(),
                subject=f"ROUTER-{asn:08X}",
                subject_key=router_key(),
                issuer=self,
                purposes=("1.3.6.1.5.5.7.3.30",),
            )
        for each in self.objects:
            each.serial = self.next_serial()
            if each.revoked:
                self.crl.revoked.append(each.serial)
            found[each.name] = each.build(self, now)
        found[self.crl_name] = crl(self.crl, now, self)
        found[self.manifest_name] = self._manifest(now, found)
        for name, spoilt in self.spoil.items():
            content = spoilt(found.pop(name))
            if content is not None:
                found[name] = content
        return {f"{HOST}/repo/{self.name}/{name}": content for name, content in found.items()} | below

    def _manifest(self, now: datetime, files: dict[str, bytes]) -> bytes:
        this = self.manifest
        hashes_of = {name: HASHES[this.hash_algorithm](content).digest() for name, content in files.items()} | this.listed
        entries = [(name, found) for name, found in sorted(hashes_of.items()) if found is not None] + this.extra

        def content() -> bytes:
            return der.sequence(
                b"" if this.version is None else der.explicit(0, der.integer(this.version)),
                der.integer(this.number),
                der.generalized(now + this.since),
                der.generalized(now + this.until),
                der.oid(this.hash_algorithm),
                der.sequence(*(der.sequence(der.ia5(name), der.bits(found)) for name, found in entries)),
            )

        made = this.signed or SignedObject(self.manifest_name, CONTENT_MANIFEST, content, Certificate(ips=None, asns=None))
        made.content = content
        made.ee.validity.until = min(made.ee.validity.until, max(this.until, timedelta(hours=1)))
        made.serial = self.next_serial()
        return made.build(self, now)


@dataclass
class Anchor:
    """A trust anchor: a self-signed authority and its TAL (RFC 8630)."""

    ca: Ca

    @property
    def uri(self) -> str:
        return f"rsync://{HOST}/ta/{self.ca.name}.cer"

    def tal(self) -> bytes:
        encoded = base64.encodebytes(public(self.ca.key)).decode()
        return f"{self.uri}\n\n{encoded}".encode()

    def files(self, now: datetime) -> dict[str, bytes]:
        self.ca.certificate_uri = self.uri
        own = certificate(
            self.ca.certificate,
            now,
            serial=self.ca.next_serial(),
            subject=self.ca.name,
            subject_key=self.ca.key,
            issuer=self.ca,
            self_signed=True,
            info_access=self.ca.places(),
        )
        return {f"{HOST}/ta/{self.ca.name}.cer": own} | self.ca.files(now)


def anchor(name: str, *children: Ca) -> Anchor:
    """A trust anchor that holds all resources."""
    return Anchor(Ca(name, networks("0.0.0.0/0", "::/0"), ((0, 4294967295),), children=list(children)))


def write(files: dict[str, bytes], folder: Path) -> None:
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
