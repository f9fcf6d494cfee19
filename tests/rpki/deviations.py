"""What can be wrong in an RPKI: one row each, in a certificate authority of its own below one trust anchor.

Every authority holds a /22 and a /40 and publishes two ROAs: `hit.roa` for the first half, on which most deviations are, and `other.roa` for the second. So
what validators make of a deviation can be read off the prefixes: neither lost, `hit` lost, or the whole authority lost. Which of the three the
RFCs want is not ours to say here; what each version does is measured, and stands in verdicts.txt.

The row of a deviation is its function: the name is how findings and verdicts call it, the docstring what is wrong and where that is forbidden.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network

from tests.rpki import der
from tests.rpki.tree import SHA1, Anchor, Ca, Validity, anchor, aspa, family_block, networks, roa

HOUR = timedelta(hours=1)
FAR = timedelta(days=365 * 7000)
Deviation = Callable[[Ca], None]
DEVIATIONS: dict[str, Deviation] = {}
FIRST_V4, FIRST_V6 = int(IPv4Network("198.18.0.0/15").network_address), int(IPv6Network("2001:db8::/32").network_address)
FIRST_ASN = 64496


def deviation(function: Deviation) -> Deviation:
    DEVIATIONS[function.__name__.replace("_", "-")] = function
    return function


def half(ca: Ca) -> IPv4Network:
    """The IPv4 prefix of the hit ROA."""
    return next(IPv4Network(ca.ips[0]).subnets())


# --- the control, and what differs without being wrong ---


@deviation
def sound(ca: Ca) -> None:
    """Nothing is wrong."""


@deviation
def object_without_signing_time(ca: Ca) -> None:
    """No signing-time; RFC 9589 demands it, RFC 6488 did not."""
    ca.object("hit.roa").signing_time = False


@deviation
def object_with_binary_signing_time(ca: Ca) -> None:
    """binary-signing-time; RFC 9589, 4 forbids it, RFC 6488 allowed it."""
    ca.object("hit.roa").binary_time = True


@deviation
def policy_with_qualifier(ca: Ca) -> None:
    """The certificate policy carries a CPS URI, which RFC 7318 allows."""
    ca.object("hit.roa").ee.policy_qualifier = True


@deviation
def unknown_extension(ca: Ca) -> None:
    """An extension that nobody knows, not critical; RFC 6487, 4.8 forbids it."""
    ca.object("hit.roa").ee.unknown_plain = True


# --- the ROA and its end-entity certificate ---


@deviation
def roa_expired(ca: Ca) -> None:
    """The end-entity certificate ended an hour ago (RFC 5280, 4.1.2.5)."""
    ca.object("hit.roa").ee.validity = Validity(-10 * HOUR, -HOUR)


@deviation
def roa_not_yet_valid(ca: Ca) -> None:
    """The end-entity certificate begins in an hour (RFC 5280, 4.1.2.5)."""
    ca.object("hit.roa").ee.validity = Validity(HOUR, 10 * HOUR)


@deviation
def roa_revoked(ca: Ca) -> None:
    """The end-entity certificate is on the CRL (RFC 5280, 6.3)."""
    ca.object("hit.roa").revoked = True


@deviation
def roa_beyond_its_certificate(ca: Ca) -> None:
    """A prefix that the end-entity certificate does not hold (RFC 9582, 5)."""
    ca.object("hit.roa").ee.ips = ca.object("other.roa").ee.ips


@deviation
def certificate_beyond_its_issuer(ca: Ca) -> None:
    """The end-entity certificate claims what the authority does not hold (RFC 6487, 7.2)."""
    this = ca.object("hit.roa")
    this.ee.ips = (*(this.ee.ips or ()), *networks("203.0.113.0/24"))


@deviation
def roa_maxlength_below_the_prefix(ca: Ca) -> None:
    """maxLength is shorter than the prefix (RFC 9582, 4.3.2.2)."""
    _content(ca, family_block(1, [(half(ca), half(ca).prefixlen - 1)]))


@deviation
def roa_maxlength_above_the_family(ca: Ca) -> None:
    """maxLength 33 on an IPv4 prefix (RFC 9582, 4.3.2.2)."""
    _content(ca, family_block(1, [(half(ca), 33)]))


@deviation
def roa_without_prefixes(ca: Ca) -> None:
    """An empty list of address blocks (RFC 9582, 4.3)."""
    _content(ca)


@deviation
def roa_family_twice(ca: Ca) -> None:
    """Two blocks of one address family (RFC 9582, 4.3.1)."""
    low, high = half(ca).subnets()
    _content(ca, family_block(1, [(low, None)]), family_block(1, [(high, None)]))


@deviation
def roa_family_unknown(ca: Ca) -> None:
    """A block of address family 25, L2VPN (RFC 9582, 4.3.1)."""
    _content(ca, family_block(25, [(half(ca), None)]))


@deviation
def roa_bits_beyond_the_prefix(ca: Ca) -> None:
    """Unused bits of the BIT STRING are set, which DER forbids (X.690, 11.2.1)."""
    prefix = half(ca)
    packed = bytearray(prefix.network_address.packed[:3])
    packed[2] |= 1
    block = der.sequence(der.octets(b"\0\1"), der.sequence(der.sequence(der.bits(bytes(packed), 24 - prefix.prefixlen))))
    _content(ca, block)


@deviation
def roa_asn_beyond_32_bits(ca: Ca) -> None:
    """AS number 2^32 (RFC 9582, 4.2)."""
    _content(ca, family_block(1, [(half(ca), None)]), asn=1 << 32)


@deviation
def roa_version_1(ca: Ca) -> None:
    """A version that there is not (RFC 9582, 4.1)."""
    _content(ca, family_block(1, [(half(ca), None)]), head=der.explicit(0, der.integer(1)))


@deviation
def roa_version_0_spelled(ca: Ca) -> None:
    """The default is spelled out, which DER forbids (X.690, 11.5)."""
    _content(ca, family_block(1, [(half(ca), None)]), head=der.explicit(0, der.integer(0)))


@deviation
def roa_inherits(ca: Ca) -> None:
    """The end-entity certificate inherits its prefixes (RFC 9582, 5)."""
    ca.object("hit.roa").ee.ips = None


@deviation
def roa_with_as_resources(ca: Ca) -> None:
    """The end-entity certificate holds AS numbers (RFC 9582, 5)."""
    ca.object("hit.roa").ee.asns = ca.asns


@deviation
def roa_certificate_is_a_ca(ca: Ca) -> None:
    """The end-entity certificate says that it is a CA (RFC 6487, 4.8.1)."""
    ca.object("hit.roa").ee.is_ca = True


@deviation
def roa_key_usage(ca: Ca) -> None:
    """The end-entity key may encipher (RFC 6487, 4.8.4)."""
    ca.object("hit.roa").ee.key_usage = (5, b"\xa0")


@deviation
def roa_without_policy(ca: Ca) -> None:
    """No certificate policy (RFC 6487, 4.8.9)."""
    ca.object("hit.roa").ee.policy = False


@deviation
def roa_without_crl_point(ca: Ca) -> None:
    """No CRL distribution point (RFC 6487, 4.8.6)."""
    ca.object("hit.roa").ee.crl_point = False


@deviation
def roa_without_authority_key(ca: Ca) -> None:
    """No authority key identifier (RFC 6487, 4.8.3)."""
    ca.object("hit.roa").ee.authority_key = False


@deviation
def roa_without_object_access(ca: Ca) -> None:
    """No URI of the object itself (RFC 6487, 4.8.8.2)."""
    ca.object("hit.roa").ee.object_access = False


@deviation
def roa_wrong_key_identifier(ca: Ca) -> None:
    """A subject key identifier that is not the key's (RFC 6487, 4.8.2)."""
    ca.object("hit.roa").ee.wrong_key_id = True


@deviation
def roa_key_of_1024_bits(ca: Ca) -> None:
    """An RSA key of 1,024 bits (RFC 7935, 3)."""
    ca.object("hit.roa").ee.key_bits = 1024


@deviation
def roa_certificate_signature(ca: Ca) -> None:
    """The signature on the end-entity certificate is wrong."""
    ca.object("hit.roa").ee.flipped = True


@deviation
def roa_certificate_version(ca: Ca) -> None:
    """An X.509 certificate of version 1 with extensions (RFC 6487, 4.1)."""
    ca.object("hit.roa").ee.version = 0


@deviation
def roa_issuer_name(ca: Ca) -> None:
    """The issuer's name is somebody else's (RFC 6487, 4.4)."""
    ca.object("hit.roa").ee.issuer = "somebody-else"


@deviation
def unknown_critical_extension(ca: Ca) -> None:
    """A critical extension that nobody knows (RFC 5280, 4.2)."""
    ca.object("hit.roa").ee.unknown_critical = True


# --- the envelope ---


@deviation
def signature_flipped(ca: Ca) -> None:
    """The signature on the object is wrong (RFC 6488, 3)."""
    ca.object("hit.roa").flipped = True


@deviation
def message_digest(ca: Ca) -> None:
    """The signed digest is not the content's (RFC 6488, 2.1.6.4.2)."""
    ca.object("hit.roa").wrong_digest = True


@deviation
def digest_sha1(ca: Ca) -> None:
    """The object is digested with SHA-1 (RFC 7935, 2)."""
    ca.object("hit.roa").digest = SHA1


@deviation
def signer_unknown(ca: Ca) -> None:
    """The signer's identifier names no certificate that is there (RFC 6488, 2.1.6.2)."""
    ca.object("hit.roa").wrong_signer = True


@deviation
def cms_version(ca: Ca) -> None:
    """SignedData of version 1 (RFC 6488, 2.1.1)."""
    ca.object("hit.roa").cms_version = 1


@deviation
def content_type_attribute(ca: Ca) -> None:
    """The signed content type is a manifest's (RFC 6488, 2.1.6.4.1)."""
    ca.object("hit.roa").attribute_type = "1.2.840.113549.1.9.16.1.26"


@deviation
def certificate_absent(ca: Ca) -> None:
    """No certificate in the envelope (RFC 6488, 2.1.4)."""
    ca.object("hit.roa").without_certificate = True


@deviation
def certificate_twice(ca: Ca) -> None:
    """The certificate stands twice in the envelope (RFC 6488, 2.1.4)."""
    ca.object("hit.roa").certificate_twice = True


@deviation
def object_truncated(ca: Ca) -> None:
    """The last 20 octets are missing, and were when the manifest was made."""
    ca.object("hit.roa").after = lambda content: content[:-20]


@deviation
def octets_behind_the_object(ca: Ca) -> None:
    """Octets behind the end of the object, which the manifest's hash covers."""
    ca.object("hit.roa").after = lambda content: content + b"\0\0\0\0"


@deviation
def indefinite_length(ca: Ca) -> None:
    """The outermost length is indefinite: BER, not DER (RFC 6488, 2)."""
    ca.object("hit.roa").after = lambda content: b"\x30\x80" + content[4:] + b"\0\0"


@deviation
def object_empty(ca: Ca) -> None:
    """A file of no octets, as the manifest says."""
    ca.object("hit.roa").after = lambda content: b""


# --- the manifest ---


@deviation
def file_altered(ca: Ca) -> None:
    """A listed ROA is another one than was hashed (RFC 9286, 6.5)."""
    ca.spoil["hit.roa"] = lambda content: content[:-1] + bytes((content[-1] ^ 1,))


@deviation
def file_missing(ca: Ca) -> None:
    """A listed ROA is not there (RFC 9286, 6.4)."""
    ca.spoil["hit.roa"] = lambda content: None


@deviation
def file_unlisted(ca: Ca) -> None:
    """A ROA is there that the manifest does not list (RFC 9286, 6.4)."""
    ca.manifest.listed["hit.roa"] = None


@deviation
def manifest_stale(ca: Ca) -> None:
    """nextUpdate was an hour ago (RFC 9286, 6.3)."""
    ca.manifest.until = -HOUR


@deviation
def manifest_of_the_future(ca: Ca) -> None:
    """thisUpdate is in an hour (RFC 9286, 6.3)."""
    ca.manifest.since = HOUR


@deviation
def manifest_missing(ca: Ca) -> None:
    """There is no manifest (RFC 9286, 6.2)."""
    ca.spoil[ca.manifest_name] = lambda content: None


@deviation
def manifest_altered(ca: Ca) -> None:
    """The manifest's signature is wrong (RFC 9286, 6.2)."""
    ca.spoil[ca.manifest_name] = lambda content: content[:-1] + bytes((content[-1] ^ 1,))


@deviation
def manifest_hash_sha1(ca: Ca) -> None:
    """Files are hashed with SHA-1 (RFC 9286, 4.2.1)."""
    ca.manifest.hash_algorithm = SHA1


@deviation
def manifest_number_negative(ca: Ca) -> None:
    """A negative manifest number (RFC 9286, 4.2.1)."""
    ca.manifest.number = -1


@deviation
def manifest_number_of_21_octets(ca: Ca) -> None:
    """A manifest number beyond 20 octets (RFC 9286, 4.2.1)."""
    ca.manifest.number = 1 << 160


@deviation
def manifest_version_1(ca: Ca) -> None:
    """A version that there is not (RFC 9286, 4.2.1)."""
    ca.manifest.version = 1


@deviation
def manifest_lists_a_file_twice(ca: Ca) -> None:
    """One name, two hashes (RFC 9286, 4.2.1)."""
    ca.manifest.extra.append(("other.roa", bytes(32)))


@deviation
def manifest_lists_a_path(ca: Ca) -> None:
    """A name that leads out of the folder (RFC 9286, 4.2.2)."""
    ca.manifest.extra.append(("../sound/hit.roa", bytes(32)))


@deviation
def manifest_lists_no_crl(ca: Ca) -> None:
    """The CRL is not on the manifest (RFC 9286, 6.4)."""
    ca.manifest.listed[ca.crl_name] = None


# --- the CRL ---


@deviation
def crl_expired(ca: Ca) -> None:
    """nextUpdate was an hour ago (RFC 6487, 5)."""
    ca.crl.until = -HOUR


@deviation
def crl_of_the_future(ca: Ca) -> None:
    """thisUpdate is in an hour (RFC 6487, 5)."""
    ca.crl.since = HOUR


@deviation
def crl_missing(ca: Ca) -> None:
    """The listed CRL is not there (RFC 9286, 6.4)."""
    ca.spoil[ca.crl_name] = lambda content: None


@deviation
def crl_of_another_key(ca: Ca) -> None:
    """The CRL is signed by a key that is not the authority's (RFC 6487, 5)."""
    ca.crl.another_key = True


@deviation
def crl_without_number(ca: Ca) -> None:
    """No CRL number (RFC 6487, 5)."""
    ca.crl.number = None


@deviation
def crl_without_authority_key(ca: Ca) -> None:
    """No authority key identifier (RFC 6487, 5)."""
    ca.crl.authority_key = False


@deviation
def crl_version_1(ca: Ca) -> None:
    """A CRL of version 1 with extensions (RFC 6487, 5)."""
    ca.crl.version = 0


# --- the authority ---


@deviation
def ca_expired(ca: Ca) -> None:
    """The authority's certificate ended an hour ago (RFC 5280, 4.1.2.5)."""
    ca.certificate.validity = Validity(-10 * HOUR, -HOUR)


@deviation
def ca_revoked(ca: Ca) -> None:
    """The authority's certificate is on its parent's CRL (RFC 5280, 6.3)."""
    ca.revoked = True


@deviation
def ca_without_manifest_access(ca: Ca) -> None:
    """The authority's certificate does not say where its manifest is (RFC 6487, 4.8.8.1)."""
    ca.certificate.manifest_access = False


@deviation
def ca_key_usage(ca: Ca) -> None:
    """The authority's key may sign anything (RFC 6487, 4.8.4)."""
    ca.certificate.key_usage = (1, b"\x86")


@deviation
def ca_signature(ca: Ca) -> None:
    """The signature on the authority's certificate is wrong."""
    ca.certificate.flipped = True


@deviation
def ca_inherits(ca: Ca) -> None:
    """The authority inherits all resources of its parent, which RFC 6487, 4.8.10 allows."""
    ca.certificate.ips = ca.certificate.asns = None


@deviation
def aspa_of_the_customer_itself(ca: Ca) -> None:
    """An ASPA whose customer is one of its providers (ASPA profile, 3.3)."""
    customer = ca.asns[0][0]
    ca.objects.append(aspa("self.asa", customer, customer, customer + 1))


# --- what is meant to hurt: sizes, times and numbers that nobody needs ---


@deviation
def valid_until_the_year_9000(ca: Ca) -> None:
    """Everything ends in a time that 32-bit clocks and two-digit years do not have (RFC 5280, 4.1.2.5.2)."""
    for each in ca.objects:
        each.ee.validity.until = FAR
    ca.certificate.validity.until = ca.crl.until = ca.manifest.until = FAR


@deviation
def valid_since_the_year_200(ca: Ca) -> None:
    """The certificate of a ROA begins before there were certificates."""
    ca.object("hit.roa").ee.validity.since = -timedelta(days=365 * 1800)


@deviation
def valid_backwards(ca: Ca) -> None:
    """The certificate of a ROA ends before it begins, and now is between the two."""
    ca.object("hit.roa").ee.validity = Validity(48 * HOUR, -48 * HOUR)


@deviation
def manifest_backwards(ca: Ca) -> None:
    """nextUpdate lies before thisUpdate, and now is between the two (RFC 9286, 4.2.1)."""
    ca.manifest.since, ca.manifest.until = 48 * HOUR, -48 * HOUR


@deviation
def manifest_lists_itself(ca: Ca) -> None:
    """With a hash that it cannot have."""
    ca.manifest.extra.append((ca.manifest_name, bytes(32)))


@deviation
def manifest_lists_5000_octets_of_name(ca: Ca) -> None:
    """A name longer than any file system has."""
    ca.manifest.extra.append((f"{'x' * 5000}.roa", bytes(32)))


@deviation
def manifest_lists_a_name_with_a_zero(ca: Ca) -> None:
    """What ends a string in C stands in the middle of a name."""
    ca.manifest.extra.append(("a\0b.roa", bytes(32)))


@deviation
def manifest_hash_of_one_octet(ca: Ca) -> None:
    """A hash that is shorter than its algorithm makes them."""
    ca.manifest.extra.append(("a.roa", b"\0"))


@deviation
def manifest_of_sixty_thousand_files(ca: Ca) -> None:
    """3 MB of names, none of which is there."""
    ca.manifest.extra += [(f"{number:08}.roa", bytes(32)) for number in range(60_000)]


@deviation
def manifest_in_ber(ca: Ca) -> None:
    """The outermost length is indefinite: BER, not DER (RFC 6488, 2)."""
    ca.spoil[ca.manifest_name] = lambda content: b"\x30\x80" + content[4:] + b"\0\0"


@deviation
def crl_of_eighty_thousand(ca: Ca) -> None:
    """80,000 certificates are revoked that never were."""
    ca.crl.revoked += range(1_000_000, 1_080_000)


@deviation
def crl_number_of_26_octets(ca: Ca) -> None:
    """Longer than the 20 octets that a CRL number may have (RFC 5280, 5.2.3)."""
    ca.crl.number = 1 << 200


@deviation
def crl_number_negative(ca: Ca) -> None:
    """A number below zero (RFC 5280, 5.2.3)."""
    ca.crl.number = -5


@deviation
def crl_length_of_4_gigabytes(ca: Ca) -> None:
    """The CRL says that it has 4,294,967,295 octets."""
    ca.spoil[ca.crl_name] = lambda content: b"\x30\x84\xff\xff\xff\xff" + content


@deviation
def object_of_four_megabytes(ca: Ca) -> None:
    """A ROA with nearly 4 MB behind its end."""
    ca.spoil["hit.roa"] = lambda content: content + bytes(3_990_000)


@deviation
def object_nested_200_000_deep(ca: Ca) -> None:
    """A ROA that only begins, again and again."""
    ca.spoil["hit.roa"] = lambda content: b"\x30\x80" * 200_000


@deviation
def roa_of_twenty_thousand_prefixes(ca: Ca) -> None:
    """Every address of the hit prefix, as often as it takes."""
    addresses = [(each, None) for each in half(ca).subnets(new_prefix=32)]
    _content(ca, family_block(1, addresses * 40))


@deviation
def serial_of_38_octets(ca: Ca) -> None:
    """Longer than the 20 octets that a serial number may have (RFC 5280, 4.1.2.2)."""
    ca.serial = 1 << 300


@deviation
def serial_zero(ca: Ca) -> None:
    """The serial number of the hit ROA's certificate is 0 (RFC 5280, 4.1.2.2)."""
    ca.serial = -1


@deviation
def fifteen_authorities_below(ca: Ca) -> None:
    """Each below the one before, deeper than anybody delegates."""
    last = ca
    for number in range(15):
        last.children.append(Ca(f"{ca.name}-{number}", ca.ips, ca.asns))
        last = last.children[0]


@deviation
def child_of_no_octets(ca: Ca) -> None:
    """The certificate of an authority below it is an empty file."""
    ca.children.append(Ca(f"{ca.name}-child", ca.ips, ca.asns))
    ca.spoil[f"{ca.name}-child.cer"] = lambda content: b""


def _content(ca: Ca, *blocks: bytes, asn: int | None = None, head: bytes = b"") -> None:
    """Give the hit ROA another content."""
    number = ca.asns[0][0] if asn is None else asn
    ca.object("hit.roa").content = lambda: der.sequence(head, der.integer(number), der.sequence(*blocks))


def authority(name: str, index: int) -> Ca:
    """The authority `name`, the `index`th of its tree, without a fault."""
    v4 = IPv4Network((FIRST_V4 + (index << 10), 22))
    v6 = IPv6Network((FIRST_V6 + (index << 88), 40))
    asn = FIRST_ASN + 4 * index
    hit_v4, other_v4 = v4.subnets()
    hit_v6, other_v6 = v6.subnets()
    objects = [roa("hit.roa", asn, f"{hit_v4}-24", str(hit_v6)), roa("other.roa", asn + 1, str(other_v4), f"{other_v6}-48")]
    return Ca(name, (v4, v6), ((asn, asn + 3),), objects)


def deviating(*names: str) -> Anchor:
    """A trust anchor `lab` with one authority for each of `names`; none: for every deviation."""
    made = []
    for index, name in enumerate(DEVIATIONS):
        if not names or name in names:
            ca = authority(name, index)
            DEVIATIONS[name](ca)
            made.append(ca)
    return anchor("lab", *made)


def published(now: datetime, *names: str) -> tuple[dict[str, bytes], bytes]:
    """(the tree's files, the TAL) of `deviating`."""
    root = deviating(*names)
    return root.files(now), root.tal()


assert ip_network("198.18.0.0/15").num_addresses >> 10 >= len(DEVIATIONS), "more deviations than the benchmarking prefix has /22s"
