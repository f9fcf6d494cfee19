"""Whether a zone's keys are the ones that were declared: its DNSKEY set, held against the anchors (RFC 4035, 5.2 and 5.3).

That an anchor's key is *in* the set proves nothing, since it is public and anybody can put it beside his own. It must sign the set, while that
signature is valid, and must not be revoked (RFC 5011, 2.1). From there on the zone's own signatures go on, which the gate's Knot verifies.

Signatures are verified by OpenSSL, which every Debian has: here is only what it is given, a public key as SubjectPublicKeyInfo and an ECDSA signature as
DER. A set of many keys and signatures that all claim one tag (KeyTrap, CVE-2023-50387) is tried so many times and no more.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nnix.planes.naming.ask import DNSKEY, IN, Unreadable, key_tag, name_at, wire

ZONE_KEY, REVOKED = 0x0100, 0x0080
TRIES_MAX = 16
HALF = 2**31
RSA, EC, ED = "rsa", "ec", "ed"
ALGORITHMS = {
    8: (RSA, "sha256", ""),
    10: (RSA, "sha512", ""),
    13: (EC, "sha256", "3059301306072a8648ce3d020106082a8648ce3d03010703420004"),
    14: (EC, "sha384", "3076301006072a8648ce3d020106052b8104002203620004"),
    15: (ED, "", "302a300506032b6570032100"),
    16: (ED, "", "3043300506032b6571033a00"),
}
"""DNSSEC algorithm → kind, digest, and what stands before the key in its SubjectPublicKeyInfo (RFC 5480, RFC 8410)"""
RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")


@dataclass(frozen=True, slots=True)
class Signature:
    """An RRSIG over a DNSKEY set (RFC 4034, 3.1). `head` is its rdata without the signature, as it is signed."""

    algorithm: int
    ttl: int
    expires: int
    begins: int
    tag: int
    signer: str
    head: bytes
    signature: bytes


def signature_of(rdata: bytes) -> Signature:
    """Raises Unreadable."""
    try:
        _, algorithm, _, ttl, expires, begins, tag = struct.unpack_from("!HBBIIIH", rdata)
        signer, end = name_at(rdata, 18)
    except (struct.error, IndexError):
        raise Unreadable("a signature that is cut short") from None
    return Signature(algorithm, ttl, expires, begins, tag, signer, rdata[:18] + wire(signer), rdata[end:])


def trouble(origin: str, keys: Iterable[bytes], signatures: Iterable[bytes], anchors: Iterable[str], now: int) -> str:
    """Why the DNSKEY set (rdata of its keys, rdata of the RRSIGs over it) is not the declared one, in words; empty when it is. `now` is Unix time."""
    declared, whole = frozenset(anchors), sorted(set(keys))
    if not whole:
        return "no DNSKEY"
    known = [each for each in whole if ds(origin, each) in declared and int.from_bytes(each[:2], "big") & (ZONE_KEY | REVOKED) == ZONE_KEY]
    if not known:
        return f"none of its keys is an anchor ({'; '.join(sorted(declared))})"
    tries = 0
    for rdata in signatures:
        try:
            made = signature_of(rdata)
        except Unreadable:
            continue
        for key in known:
            if (made.algorithm, made.tag, made.signer) != (key[3], key_tag(key), origin.lower()) or not _valid(made, now):
                continue
            if (tries := tries + 1) > TRIES_MAX:
                return f"more than {TRIES_MAX} signatures over its keys that claim to be an anchor's"
            if verifies(key, made.signature, made.head + _canonical(origin, whole, made.ttl)):
                return ""
    return "no anchor signs its keys now"


def ds(origin: str, key: bytes) -> str:
    """As Zone.anchors has it (RFC 4509)."""
    return f"{key_tag(key)} {key[3] if len(key) > 3 else 0} 2 {hashlib.sha256(wire(origin) + key).hexdigest().upper()}"


def _valid(made: Signature, now: int) -> bool:
    """Serial arithmetic, since times have 32 bits (RFC 4034, 3.1.5)."""
    return (made.expires - now) % 2**32 < HALF and (now - made.begins) % 2**32 < HALF


def _canonical(origin: str, keys: Iterable[bytes], ttl: int) -> bytes:
    """RFC 4034, 3.1.8.1 and 6.3."""
    head = wire(origin) + struct.pack("!HHI", DNSKEY, IN, ttl)
    return b"".join(head + struct.pack("!H", len(each)) + each for each in keys)


def verifies(key: bytes, signature: bytes, signed: bytes) -> bool:
    """Whether `signature` over `signed` is of the DNSKEY `key`. False for an algorithm that is not known here. Raises OSError without OpenSSL."""
    kind, digest, head = ALGORITHMS.get(key[3], ("", "", ""))
    try:
        if kind == RSA:
            public = _rsa(key[4:])
        elif kind in (EC, ED):
            public = bytes.fromhex(head) + key[4:]
        else:
            return False
        if kind == EC:
            half = len(signature) // 2
            signature = _der(0x30, _integer(signature[:half]) + _integer(signature[half:]))
    except (IndexError, ValueError):
        return False
    with tempfile.TemporaryDirectory(prefix="anchored-") as folder:
        place = Path(folder)
        for name, content in (("key", public), ("signature", signature), ("signed", signed)):
            (place / name).write_bytes(content)
        argv = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin"]
        argv += [*(["-digest", digest] if digest else []), "-in", "signed", "-sigfile", "signature"]
        try:
            return subprocess.run(argv, cwd=place, capture_output=True, check=False, timeout=10).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def _rsa(key: bytes) -> bytes:
    """The public key of RFC 3110, 2 as SubjectPublicKeyInfo."""
    length, start = (key[0], 1) if key[0] else (int.from_bytes(key[1:3], "big"), 3)
    exponent, modulus = key[start : start + length], key[start + length :]
    if not exponent or not modulus:
        raise ValueError("no RSA key")
    return _der(0x30, RSA_ENCRYPTION + _der(0x03, b"\0" + _der(0x30, _integer(modulus) + _integer(exponent))))


def _integer(octets: bytes) -> bytes:
    number = int.from_bytes(octets, "big")
    return _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 | len(octets)]) + octets + content
